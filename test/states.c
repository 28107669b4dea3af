// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tells the support matrix of the states that every program meets; the rarer
 * ones are told by the suites that are about them.
 */
#include "util_peer.h"
#include "util_state.h"

#define HOLES		UREMAP_MOVE_ALLOW_SRC_HOLES
#define UNSHARE		UREMAP_MOVE_UNSHARE
#define N		20

START_TEST(present)
{
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct move_result r;

	r = matrix_move("present 4 KiB page", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	range_check(dst, N, 1, 1);
}
END_TEST

START_TEST(hole)
{
	int fd = dev_open_all();
	char *src = map_anon(N), *dst = map_anon(N);
	struct move_result r;

	r = matrix_move("hole", fd, dst, src, N * PAGE, 0);
	expect_result(r, REFUSED(ENOENT, HOLE), .stop = ADDR(src));
	r = matrix_move("hole, ALLOW_SRC_HOLES", fd, dst, src, N * PAGE, HOLES);
	expect_result(r, .done = N * PAGE, .holes = N * PAGE);
}
END_TEST

/* B-boundary: half of it is another mapping, which is as good. */
START_TEST(two_mappings)
{
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct move_result r;

	expect_ok(madvise(src, N / 2 * PAGE, MADV_DONTDUMP));
	r = matrix_move("range across mappings", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	range_check(dst, N, 1, 1);
}
END_TEST

START_TEST(populated)
{
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_filled(N, 50, 1);
	struct move_result r;

	r = matrix_move("onto a page", fd, dst, src, N * PAGE, 0);
	expect_result(r, REFUSED(EEXIST, DST_BUSY), .stop = ADDR(dst));
	range_check(src, N, 1, 1);
	range_check(dst, N, 50, 1);
}
END_TEST

static int child_looks(void *arg)
{
	char c;

	ck_assert_int_eq(read(0, &c, 1), 0);
	range_check(arg, N, 1, 1);
	return 0;
}

/* A child that lives until its end of the pipe is closed, or has gone already */
static pid_t share(char *p, bool lives, int *end)
{
	int fds[2];
	pid_t pid;

	expect_ok(pipe2(fds, O_CLOEXEC));
	expect_ok(dup2(fds[0], 0));
	*end = fds[1];
	pid = expect_ok(fork());
	if (!pid) {
		close(fds[1]);
		exit(lives ? child_looks(p) : 0);
	}
	if (!lives)
		child_join(pid);
	return pid;
}

START_TEST(forked)
{
	static const char *const plain[] = {
		"shared since a fork, child gone", "shared with a child",
	};
	static const char *const healed[] = {
		"shared since a fork, child gone, UNSHARE",
		"shared with a child, UNSHARE",
	};
	int fd = dev_open_all(), end;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	pid_t pid = share(src, _i, &end);
	struct move_result r;

	r = matrix_move(plain[_i], fd, dst, src, N * PAGE, 0);
	if (!_i && !kernel_has_pae()) {
		/* references are counted there: nobody else has any (D) */
		expect_result(r, .done = N * PAGE);
		r = matrix_move(healed[_i], fd, src, dst, N * PAGE, UNSHARE);
		expect_result(r, .done = N * PAGE);
		range_check(src, N, 1, 1);
		return;
	}
	expect_result(r, REFUSED(EBUSY, NOT_EXCLUSIVE), .stop = ADDR(src));
	r = matrix_move(healed[_i], fd, dst, src, N * PAGE, UNSHARE);
	expect_result(r, .done = N * PAGE, .healed = N * PAGE);
	range_fill(dst, N, 1, 2);
	close(end);
	if (_i)
		child_join(pid);
	range_check(dst, N, 1, 2);
}
END_TEST

static const struct utest tests[] = {
	UTEST(present),
	UTEST(hole),
	UTEST(two_mappings),
	UTEST(populated),
	UTEST_LOOP(forked, 2),
};
UTEST_MAIN("states", tests)
