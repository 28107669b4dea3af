// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves of G3 that write-protection of a moved page lasts: mprotect, fork,
 * mremap, swap leave it, nothing makes it stick where it is not wanted, and
 * who tracks writes sees a moved page as written.
 */
#include "util_state.h"

#include <signal.h>

#define WP		UREMAP_MOVE_WP
#define KEEP		UREMAP_MOVE_KEEP_WP
#define MODE_WP		UFFDIO_REGISTER_MODE_WP
#define N		40

/* Pages that arrived write-protected, or kept it, and the source is gone. */
static char *moved_protected(int fd, int uffd, bool keep)
{
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	uffd_register(uffd, dst, N * PAGE, MODE_WP);
	if (keep) {
		uffd_register(uffd, src, N * PAGE, MODE_WP);
		uffd_wp(uffd, src, N * PAGE, true);
	}
	expect_move(fd, dst, src, N * PAGE, keep ? KEEP : WP);
	check_wp_bits(dst, N, true);
	expect_ok(munmap(src, N * PAGE));
	return dst;
}

/* 2022: an mprotect round trip must not hand the write bit back. */
START_TEST(after_mprotect)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *p = moved_protected(fd, uffd, _i);

	expect_ok(mprotect(p, N * PAGE, PROT_READ));
	expect_ok(mprotect(p, N * PAGE, PROT_READ | PROT_WRITE));
	check_wp_bits(p, N, true);
	expect_trap(uffd, p, 1, 1);
	expect_ok(mprotect(p + 5 * PAGE, PAGE, PROT_NONE));
	expect_ok(mprotect(p + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	expect_trap(uffd, p + 5 * PAGE, 6, 1);
	expect_trap(uffd, p + 6 * PAGE, 7, 1);
	range_check(p + 7 * PAGE, N - 7, 8, 1);
}
END_TEST

/* A child that comes and goes makes the parent's pages read-only, not free. */
START_TEST(after_fork)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *p = moved_protected(fd, uffd, _i);
	pid_t pid = expect_ok(fork());

	if (!pid)
		_exit(0);
	child_join(pid);
	check_wp_bits(p, N, true);
	expect_trap(uffd, p, 1, 1);
	expect_trap(uffd, p + 9 * PAGE, 10, 1);
	range_check(p + 10 * PAGE, N - 10, 11, 1);
}
END_TEST

/* Out to swap and in again. */
START_TEST(after_swap)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *p = moved_protected(fd, uffd, _i);

	swap_out(p, N);
	check_wp_bits(p, N, true);
	range_check(p, N, 1, 1);
	check_wp_bits(p, N, true);
	expect_trap(uffd, p, 1, 1);
	swap_out(p + PAGE, N - 1);
	uffd_wp(uffd, p + PAGE, PAGE, false);
	expect_no_trap(uffd, p + PAGE, 2, 1);
}
END_TEST

/* And on: a page that has moved twice. */
START_TEST(after_move)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *p = moved_protected(fd, uffd, _i), *q = map_anon(N);

	uffd_register(uffd, q, N * PAGE, MODE_WP);
	expect_move(fd, q, p, N * PAGE, KEEP);
	check_wp_bits(q, N, true);
	expect_trap(uffd, q + 3 * PAGE, 4, 1);
	expect_move(fd, p, q, N * PAGE, 0);
	check_wp_bits(p, N, false);
	expect_no_trap(uffd, p, 1, 1);
	page_check(p + 3 * PAGE, 4, 2);
}
END_TEST

/* B-swapwp: swapped out while protected. */
START_TEST(swapped)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	__u64 mode = _i == 2 ? KEEP : 0;
	struct move_result r;

	uffd_register(uffd, src, N * PAGE, MODE_WP);
	uffd_wp(uffd, src, N * PAGE, true);
	swap_out(src, N);
	if (_i)
		uffd_register(uffd, dst, N * PAGE, MODE_WP);
	r = matrix_move(_i == 2 ? "swapped out, write-protected, KEEP_WP" :
			"swapped out, write-protected", fd, dst, src, N * PAGE,
			mode);
	expect_result(r, .done = N * PAGE);
	check_wp_bits(dst, N, _i == 2);
	range_check(dst, N, 1, 1);
	check_wp_bits(dst, N, _i == 2);
	if (_i == 2)
		expect_trap(uffd, dst, 1, 1);
	else
		expect_no_trap(uffd, dst, 1, 1);
	/* who comes later finds no bit left over */
	if (!_i) {
		uffd_register(uffd, dst, N * PAGE, MODE_WP);
		check_wp_bits(dst, N, false);
		expect_no_trap(uffd, dst + PAGE, 2, 1);
	}
}
END_TEST

/* WP for pages that are swapped out. */
START_TEST(swapped_mode_wp)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	swap_out(src, N);
	uffd_register(uffd, dst, N * PAGE, MODE_WP);
	expect_move(fd, dst, src, N * PAGE, WP);
	check_wp_bits(dst, N, true);
	expect_trap(uffd, dst, 1, 1);
	expect_trap(uffd, dst + 9 * PAGE, 10, 1);
}
END_TEST

static int child_waits(void *arg)
{
	char *p = arg, c;

	/* until the parent has closed its end */
	ck_assert_int_eq(read(0, &c, 1), 0);
	range_check(p, N, 1, 1);
	return 0;
}

/* Shared with a living child and protected: healed by a copy, still protected. */
START_TEST(shared)
{
	int fd = dev_open_all(), uffd = wp_open(0), fds[2];
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct move_result r;
	pid_t pid;

	uffd_register(uffd, src, N * PAGE, MODE_WP);
	uffd_register(uffd, dst, N * PAGE, MODE_WP);
	uffd_wp(uffd, src, N * PAGE, true);
	expect_ok(pipe2(fds, O_CLOEXEC));
	expect_ok(dup2(fds[0], 0));
	pid = fork();
	if (!pid) {
		close(fds[1]);
		exit(child_waits(src));
	}
	r = matrix_move("write-protected and shared, KEEP_WP UNSHARE", fd, dst,
			src, N * PAGE, KEEP | UREMAP_MOVE_UNSHARE);
	if (kernel_has_pae()) {
		expect_result(r, .done = N * PAGE, .healed = N * PAGE);
		check_wp_bits(dst, N, true);
		expect_trap(uffd, dst, 1, 1);
	} else {
		/* D3: only a write could unshare it, and a write is trapped */
		expect_result(r, REFUSED(EBUSY, WP_SHARED), .stop = ADDR(src));
		range_check(src, N, 1, 1);
		check_wp_bits(src, N, true);
	}
	close(fds[1]);
	child_join(pid);
}
END_TEST

/* ---- write tracking without events (6.7) ------------------------------ */

struct scan_arg {
	__u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};

struct scan_region {
	__u64 start, end, categories;
};

#define PAGEMAP_SCAN_IOC	_IOWR('f', 16, struct scan_arg)
#define SCAN_WP_MATCHING	1
#define SCAN_WRITTEN		2

/* Pages written since the last call, which protects them again. */
static size_t scan_written(const char *start, size_t pages)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct scan_region regions[64];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = SCAN_WP_MATCHING,
		.start = ADDR(start),
		.end = ADDR(start + pages * PAGE),
		.vec = ADDR(regions),
		.vec_len = ARRAY_SIZE(regions),
		.category_mask = SCAN_WRITTEN,
		.return_mask = SCAN_WRITTEN,
	};
	size_t n = 0;
	long i, got = expect_ok(ioctl(fd, PAGEMAP_SCAN_IOC, &arg));

	for (i = 0; i < got; i++)
		n += (regions[i].end - regions[i].start) / PAGE;
	close(fd);
	return n;
}

static int async_open(void)
{
	return wp_open(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED);
}

/* Moved in: written, once; then clean until it is written to. */
START_TEST(async)
{
	int fd = dev_open_all(), uffd = async_open();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	uffd_register(uffd, dst, N * PAGE, MODE_WP);
	if (_i)
		/* with markers in the place of pages, as a tracker would begin */
		uffd_wp(uffd, dst, N * PAGE, true);
	expect_move(fd, dst, src, N / 2 * PAGE, 0);
	ck_assert_uint_eq(scan_written(dst, N / 2), N / 2);
	ck_assert_uint_eq(scan_written(dst, N / 2), 0);
	page_fill(dst + 3 * PAGE, 4, 2);
	ck_assert_uint_eq(scan_written(dst, N / 2), 1);
	page_check(dst + 3 * PAGE, 4, 2);
	range_check(dst + 4 * PAGE, N / 2 - 4, 5, 1);
}
END_TEST

/* KEEP_WP was asked for: what was clean for a tracker still is. */
START_TEST(async_keep)
{
	int fd = dev_open_all(), uffd = async_open();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	uffd_register(uffd, src, N * PAGE, MODE_WP);
	uffd_register(uffd, dst, N * PAGE, MODE_WP);
	uffd_wp(uffd, src, N * PAGE, true);
	page_fill(src + 7 * PAGE, 8, 1);
	expect_move(fd, dst, src, N * PAGE, KEEP);
	ck_assert_uint_eq(scan_written(dst, N), 1);
	page_fill(dst + 8 * PAGE, 9, 1);
	ck_assert_uint_eq(scan_written(dst, N), 1);
	range_check(dst, N, 1, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(after_mprotect, 2),
	UTEST_LOOP(after_fork, 2),
	UTEST_LOOP(after_swap, 2),
	UTEST_LOOP(after_move, 2),
	UTEST_LOOP(swapped, 3),
	UTEST(swapped_mode_wp),
	UTEST(shared),
	UTEST_LOOP(async, 2),
	UTEST(async_keep),
};
UTEST_MAIN("wp_track", tests)
