// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves G3, B-wp and C34 for present pages: WP protects, KEEP_WP carries, neither
 * drops; protected always means that a write raises an event, on kernels too
 * whose own helper leaves the write bit.
 */
#include "util_state.h"

#define WP		UREMAP_MOVE_WP
#define KEEP		UREMAP_MOVE_KEEP_WP
#define MODE_WP		UFFDIO_REGISTER_MODE_WP
#define MODE_MISSING	UFFDIO_REGISTER_MODE_MISSING

/* Filled and registered for write-protection, which is on for all of it. */
static char *map_protected(int uffd, size_t pages)
{
	char *p = map_filled(pages, 1, 1);

	uffd_register(uffd, p, pages * PAGE, MODE_WP);
	uffd_wp(uffd, p, pages * PAGE, true);
	return p;
}

static char *map_registered(int uffd, size_t pages, __u64 mode)
{
	char *p = map_anon(pages);

	uffd_register(uffd, p, pages * PAGE, mode);
	return p;
}

/* Without a mode protection stays behind, wherever the page goes. */
START_TEST(by_default)
{
	enum { N = 530 };
	int fd = dev_open_all(), uffd = wp_open(0), i;
	char *src = map_protected(uffd, N), *dst;
	struct move_result r;

	dst = _i ? map_registered(uffd, N, MODE_WP) : map_anon(N);
	r = matrix_move("write-protected page", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	check_wp_bits(dst, N, false);
	for (i = 0; i < N; i += 51)
		expect_no_trap(uffd, dst + i * PAGE, 1 + i, 1);
	range_check(dst + PAGE, 50, 2, 1);
}
END_TEST

/* WP: an event at each of them, whatever the source was. */
START_TEST(mode_wp)
{
	enum { N = 530 };
	int fd = dev_open_all(), uffd = wp_open(0), i;
	char *src = _i ? map_protected(uffd, N) : map_filled(N, 1, 1);
	char *dst = map_registered(uffd, N, MODE_WP);
	struct move_result r;

	r = matrix_move(_i ? "write-protected page, WP" : "any page, WP", fd,
			dst, src, N * PAGE, WP);
	expect_result(r, .done = N * PAGE);
	check_wp_bits(dst, N, true);
	range_check(dst, N, 1, 1);
	for (i = 0; i < N; i += 51)
		expect_trap(uffd, dst + i * PAGE, 1 + i, 1);
	check_wp_bits(dst + PAGE, 50, true);
	/* and off again for all */
	uffd_wp(uffd, dst, N * PAGE, false);
	expect_no_trap(uffd, dst + PAGE, 2, 1);
}
END_TEST

/* WP into memory that nobody could unprotect is refused as UFFDIO_COPY is. */
START_TEST(mode_wp_refused)
{
	enum { N = 20 };
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	expect_no_move(fd, dst, src, N * PAGE, WP, EINVAL, WP_UNREGISTERED,
		       ADDR(dst));
	expect_no_move(fd, dst, src, N * PAGE, WP | KEEP, EINVAL,
		       WP_UNREGISTERED, ADDR(dst));
	uffd_register(uffd, dst, N * PAGE, MODE_MISSING);
	expect_no_move(fd, dst, src, N * PAGE, WP, EINVAL, WP_UNREGISTERED,
		       ADDR(dst));
	uffd_unregister(uffd, dst, N * PAGE);
	uffd_register(uffd, dst, 7 * PAGE, MODE_WP);
	expect_move_part(fd, dst, src, N * PAGE, WP, 7 * PAGE, EINVAL,
			 WP_UNREGISTERED, ADDR(dst + 7 * PAGE));
	check_wp_bits(dst, 7, true);
	range_check(dst, 7, 1, 1);
	range_check(src + 7 * PAGE, N - 7, 8, 1);
}
END_TEST

/* KEEP_WP: each page as it was. */
START_TEST(keep)
{
	enum { N = 700 };
	int fd = dev_open_all(), uffd = wp_open(0), i;
	char *src = map_filled(N, 1, 1);
	char *dst = map_registered(uffd, N, MODE_WP);
	struct move_result r;

	uffd_register(uffd, src, N * PAGE, MODE_WP);
	for (i = 0; i < N; i += 3)
		uffd_wp(uffd, src + i * PAGE, PAGE, true);
	r = matrix_move("write-protected page, KEEP_WP", fd, dst, src, N * PAGE,
			KEEP);
	expect_result(r, .done = N * PAGE);
	for (i = 0; i < N; i++)
		check_wp_bits(dst + i * PAGE, 1, i % 3 == 0);
	range_check(dst, N, 1, 1);
	for (i = 0; i < N; i += 90) {
		expect_trap(uffd, dst + i * PAGE, 1 + i, 1);
		expect_no_trap(uffd, dst + (i + 1) * PAGE, 2 + i, 1);
	}
}
END_TEST

/* Where dst is not registered for it, there is nothing to keep it by. */
START_TEST(keep_unregistered)
{
	enum { N = 50 };
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_protected(uffd, N);
	char *dst = _i ? map_registered(uffd, N, MODE_MISSING) : map_anon(N);

	expect_move(fd, dst, src, N * PAGE, KEEP);
	check_wp_bits(dst, N, false);
	expect_no_trap(uffd, dst, 1, 1);
	/* not stuck: a later owner starts without */
	if (_i)
		uffd_unregister(uffd, dst, N * PAGE);
	uffd_register(uffd, dst, N * PAGE, MODE_WP);
	check_wp_bits(dst, N, false);
	expect_no_trap(uffd, dst + PAGE, 2, 1);
}
END_TEST

static int exits(void *arg)
{
	return 0;
}

/*
 * In 5.10 the marks of a registration stay in the entries when it ends.  They protect
 * nobody: a write goes through, and no move takes one along, with KEEP_WP or without.
 */
START_TEST(left_behind)
{
	enum { N = 20 };
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_protected(uffd, N);
	char *dst = map_registered(uffd, N, MODE_WP);

	uffd_unregister(uffd, src, N * PAGE);
	range_fill(src, N / 2, 1, 2);
	expect_move(fd, dst, src, N / 2 * PAGE, _i ? KEEP : 0);
	expect_move(fd, dst + N / 2 * PAGE, src + N / 2 * PAGE, N / 2 * PAGE,
		    UREMAP_MOVE_UNSHARE | (_i ? KEEP : 0));
	check_wp_bits(dst, N, false);
	/* a fork takes the write bit away: now a mark would be seen */
	child_run(exits, NULL);
	expect_no_trap(uffd, dst, 1, 2);
	expect_no_trap(uffd, dst + (N - 1) * PAGE, N, 1);
}
END_TEST

static int waits(void *arg)
{
	pause();
	return 0;
}

/* Nor do they keep a page from being unshared, though a child has it, too. */
START_TEST(left_behind_shared)
{
	int fd = dev_open_all(), uffd = wp_open(0), status;
	char *src = map_protected(uffd, 2), *dst = map_registered(uffd, 2, MODE_WP);
	struct move_result r;
	pid_t pid;

	uffd_unregister(uffd, src, 2 * PAGE);
	pid = child_start(waits, NULL);
	r = try_move(fd, dst, src, 2 * PAGE, UREMAP_MOVE_UNSHARE);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	expect_result(r, .done = 2 * PAGE, .healed = 2 * PAGE);
	range_check(dst, 2, 1, 1);
}
END_TEST

struct protecting {
	int fd;
	char *src, *dst;
	size_t len;
	volatile bool stop;
	unsigned long moved;
};

/* Moves to and fro, protected one way, as long as that is possible. */
static void *moves_protected(void *arg)
{
	struct protecting *p = arg;
	struct move_result r;

	while (!p->stop) {
		r = try_move(p->fd, p->dst, p->src, p->len, WP);
		if (r.ret)
			ck_assert_uint_eq(r.reason, UREMAP_REASON_WP_UNREGISTERED);
		p->moved += r.moved;
		if (r.moved)
			expect_move(p->fd, p->src, p->dst, r.moved, 0);
	}
	return NULL;
}

/*
 * When unregistering has ended no page is protected that a move brings meanwhile: it
 * looks at all of the destination before a move that is long has come to its end.
 */
START_TEST(unregistered_meanwhile)
{
	enum { N = 16 * 512 };
	struct protecting p = { dev_open_all(), map_filled(N, 1, 1),
				map_anon(N), N * PAGE };
	int uffd = wp_open(0), round;
	pthread_t t = thread_start(moves_protected, &p);

	for (round = 0; round < 60 || !p.moved; round++) {
		uffd_register(uffd, p.dst, p.len, MODE_WP);
		usleep(rnd_below(4000));
		uffd_unregister(uffd, p.dst, p.len);
		check_wp_bits(p.dst + rnd_below(8) * 1024 * PAGE, 1024, false);
	}
	p.stop = true;
	thread_join(t);
	range_check(p.src, N, 1, 1);
}
END_TEST

/* Both: WP is the stronger. */
START_TEST(both)
{
	enum { N = 20 };
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_filled(N, 1, 1);
	char *dst = map_registered(uffd, N, MODE_WP);

	uffd_register(uffd, src, N * PAGE, MODE_WP);
	uffd_wp(uffd, src, 5 * PAGE, true);
	expect_move(fd, dst, src, N * PAGE, WP | KEEP);
	check_wp_bits(dst, N, true);
	expect_trap(uffd, dst, 1, 1);
	expect_trap(uffd, dst + 9 * PAGE, 10, 1);
}
END_TEST

/* A zero page is protected like any other. */
START_TEST(zero_page)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_anon(2), *dst = map_registered(uffd, 2, MODE_WP);
	struct uffd_msg msg;

	page_check_zero(src);
	page_check_zero(src + PAGE);
	expect_move(fd, dst, src, PAGE, WP);
	check_wp_bits(dst, 1, true);
	expect_move(fd, dst + PAGE, src + PAGE, PAGE, 0);
	check_wp_bits(dst + PAGE, 1, false);
	page_fill(dst + PAGE, 2, 1);
	expect_no_trap(uffd, dst + PAGE, 2, 1);
	page_check_zero(dst);
	ck_assert(!uffd_read(uffd, 0, &msg));
	uffd_wp(uffd, dst, PAGE, false);
	page_fill(dst, 1, 1);
	page_check(dst, 1, 1);
}
END_TEST

/* A move that fails leaves the source's protection, too, as it was. */
START_TEST(refused)
{
	enum { N = 10 };
	int fd = dev_open_all(), uffd = wp_open(0), pin;
	char *src = map_filled(N, 1, 1);
	char *dst = map_registered(uffd, N, MODE_WP);

	pin = pin_pages(src + 4 * PAGE, 1);
	uffd_register(uffd, src, N * PAGE, MODE_WP);
	uffd_wp(uffd, src, N * PAGE, true);
	expect_move_part(fd, dst, src, N * PAGE, KEEP, 4 * PAGE, EBUSY, PINNED,
			 ADDR(src + 4 * PAGE));
	expect_no_move(fd, dst + 4 * PAGE, src + 4 * PAGE, PAGE, WP, EBUSY,
		       PINNED, ADDR(src + 4 * PAGE));
	check_wp_bits(src + 4 * PAGE, N - 4, true);
	expect_trap(uffd, src + 5 * PAGE, 6, 1);
	expect_trap(uffd, dst + 3 * PAGE, 4, 1);
	close(pin);
}
END_TEST

/* Holes left in a registered range raise MISSING, one by one. */
START_TEST(source_missing)
{
	enum { N = 64 };
	int fd = dev_open_all(), uffd = wp_open(0), i;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	uffd_register(uffd, src, N * PAGE, MODE_MISSING | MODE_WP);
	uffd_wp(uffd, src, N * PAGE, true);
	for (i = 1; i < N; i += 2)
		expect_move(fd, dst + i * PAGE, src + i * PAGE, PAGE, 0);
	/* reading beside a hole maps nothing into it */
	for (i = 0; i < N; i += 2)
		page_check(src + i * PAGE, 1 + i, 1);
	for (i = 1; i < N; i += 2)
		ck_assert(!page_populated(src + i * PAGE));
	/* nor does a fault in one hole fill the next */
	for (i = 1; i < N; i += 2) {
		expect_missing(uffd, src + i * PAGE, 500 + i, 1);
		if (i + 2 < N)
			ck_assert(!page_populated(src + (i + 2) * PAGE));
	}
	/* the neighbours are protected still */
	expect_trap(uffd, src, 1, 1);
	expect_trap(uffd, src + 30 * PAGE, 31, 1);
}
END_TEST

/* The same of holes at dst that a move with holes left. */
START_TEST(destination_missing)
{
	enum { N = 64 };
	int fd = dev_open_all(), uffd = wp_open(0), i;
	char *src = map_filled(N, 1, 1);
	char *dst = map_registered(uffd, N, MODE_MISSING | MODE_WP);

	for (i = 1; i < N; i += 2)
		expect_ok(madvise(src + i * PAGE, PAGE, MADV_DONTNEED));
	expect_move_holes(fd, dst, src, N * PAGE,
			  UREMAP_MOVE_ALLOW_SRC_HOLES | WP, N / 2 * PAGE);
	for (i = 0; i < N; i += 2)
		page_check(dst + i * PAGE, 1 + i, 1);
	for (i = 1; i < N; i += 2)
		expect_missing(uffd, dst + i * PAGE, 500 + i, 1);
	for (i = 0; i < N; i += 10)
		expect_trap(uffd, dst + i * PAGE, 1 + i, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(by_default, 2),
	UTEST_LOOP(mode_wp, 2),
	UTEST(mode_wp_refused),
	UTEST(keep),
	UTEST_LOOP(keep_unregistered, 2),
	UTEST_LOOP(left_behind, 2),
	UTEST(left_behind_shared),
	UTEST_SLOW(unregistered_meanwhile, 300),
	UTEST(both),
	UTEST(zero_page),
	UTEST(refused),
	UTEST(source_missing),
	UTEST(destination_missing),
};
UTEST_MAIN("wp", tests)
