// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves B-lazyfree, B-softdirty, B-mlock and what G5 says of accessed and
 * dirty: what reclaim and trackers know of a page goes with it, and nothing
 * that was moved can vanish at its new place.
 */
#include "util_state.h"

/* After reclaim has had its chance, all of it is there. */
static void expect_survives(char *p, size_t pages, uint32_t id, uint32_t seq)
{
	size_t n = try_swap_out(p, pages);

	test_note("%zu of %zu pages swapped out", n, pages);
	ck_assert_uint_eq(count_populated(p, pages), pages);
	range_check(p, pages, id, seq);
}

/* The means of the next tests works: MADV_FREE memory does vanish. */
START_TEST(lazyfree_vanishes)
{
	enum { N = 300 };
	char *p;

	/* what is in another CPU's batch is out of reach of MADV_PAGEOUT */
	pin_cpu(0);
	p = map_filled(N, 1, 1);
	swap_need();
	expect_ok(madvise(p, N * PAGE, MADV_FREE));
	for (int i = 0; i < 20 && count_populated(p, N); i++)
		expect_ok(madvise(p, N * PAGE, MADV_PAGEOUT));
	ck_assert_uint_eq(count_populated(p, N), 0);
	page_check_zero(p);
}
END_TEST

/*
 * B-lazyfree.  The kernel marks pages in batches of 15 or 31, so that a few
 * pages are moved while the mark has still to come.
 */
START_TEST(lazyfree)
{
	static const int sizes[] = { 1, 5, 15, 31, 100, 700 };
	const size_t n = sizes[_i];
	int fd = dev_open_all();
	char *src = map_filled(n, 1, 1), *dst = map_anon(n);
	struct move_result r;

	swap_need();
	expect_ok(madvise(src, n * PAGE, MADV_FREE));
	r = matrix_move("freed by MADV_FREE", fd, dst, src, n * PAGE, 0);
	expect_result(r, .done = n * PAGE);
	expect_survives(dst, n, 1, 1);
	range_fill(dst, n, 1, 2);
	range_check(dst, n, 1, 2);
}
END_TEST

/* Moved many times, each time while it is about to be freed. */
START_TEST(lazyfree_again)
{
	enum { N = 200 };
	int fd = dev_open_all(), i;
	char *a = map_filled(N, 1, 1), *b = map_anon(N), *t;
	struct move_result r;

	swap_need();
	for (i = 0; i < 5; i++) {
		expect_ok(madvise(a, N * PAGE, MADV_FREE));
		expect_move(fd, b, a, N * PAGE, 0);
		t = a, a = b, b = t;
		expect_survives(a, N, 1, 1);
		/* before 5.19 what a read brings back from swap looks shared */
		r = try_move(fd, b, a, N * PAGE, UREMAP_MOVE_UNSHARE);
		expect_result(r, .done = N * PAGE,
			      .healed = kernel_has_pae() ? 0 : r.healed);
		t = a, a = b, b = t;
		range_check(a, N, 1, 1);
	}
}
END_TEST

/* A part was written to again, which takes that part back. */
START_TEST(lazyfree_written)
{
	enum { N = 100 };
	int fd = dev_open_all(), i;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	swap_need();
	expect_ok(madvise(src, N * PAGE, MADV_FREE));
	for (i = 0; i < N; i += 2)
		page_fill(src + i * PAGE, 1 + i, 1);
	expect_move(fd, dst, src, N * PAGE, 0);
	expect_survives(dst, N, 1, 1);
}
END_TEST

/* A huge page: by its own entry, by 512, and split. */
START_TEST(lazyfree_huge)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst;

	swap_need();
	dst = map_anon_aligned(HPAGES, PMD, _i == 2 ? 5 : 0);
	if (_i == 1) {
		dst[0] = 1;
		expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	}
	expect_ok(madvise(src, PMD, MADV_FREE));
	ck_assert_int_eq(huge_kb(src), PMD / 1024);
	expect_move(fd, dst, src, PMD, 0);
	expect_survives(dst, HPAGES, 1, 1);
}
END_TEST

/* ---- soft-dirty -------------------------------------------------------- */

static void soft_dirty_clear(const char *p)
{
	skip_if(!(pagemap(p) & PM_SOFT_DIRTY), "no soft-dirty tracking");
	skip_if(file_write("/proc/self/clear_refs", "4") ||
		pagemap(p) & PM_SOFT_DIRTY, "no soft-dirty tracking");
}

static void expect_soft_dirty(const char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		if (!(pagemap(p + i * PAGE) & PM_SOFT_DIRTY))
			ck_abort_msg("page %zu is not soft-dirty", i);
}

/* Cleared before the move: set after it, and the data moved. */
START_TEST(soft_dirty)
{
	enum { N = 64 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct move_result r;

	if (_i)
		swap_out(src, N);
	soft_dirty_clear(src);
	r = try_move(fd, dst, src, N * PAGE, UREMAP_MOVE_UNSHARE);
	if (!_i)
		matrix("soft-dirty tracked", r);
	/* before 5.19 a read-only entry has to be healed */
	expect_result(r, .done = N * PAGE,
		      .healed = kernel_has_pae() ? 0 : r.healed);
	expect_soft_dirty(dst, N);
	range_check(dst, N, 1, 1);
	/* and tracking goes on there */
	soft_dirty_clear(dst);
	page_fill(dst + 3 * PAGE, 4, 1);
	ck_assert(pagemap(dst + 3 * PAGE) & PM_SOFT_DIRTY);
	ck_assert(!(pagemap(dst + 4 * PAGE) & PM_SOFT_DIRTY));
}
END_TEST

START_TEST(soft_dirty_huge)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	struct move_result r;

	if (_i) {
		dst[0] = 1;
		expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	}
	soft_dirty_clear(src);
	r = try_move(fd, dst, src, PMD, UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = PMD,
		      .healed = kernel_has_pae() ? 0 : r.healed);
	expect_soft_dirty(dst, HPAGES);
	range_check(dst, HPAGES, 1, 1);
}
END_TEST

/* ---- accessed ----------------------------------------------------------- */

/* A huge page that nobody used does not look used. */
START_TEST(accessed_huge)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	const long all = PMD / 1024;

	if (_i) {
		dst[0] = 1;
		expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	}
	expect_move(fd, dst, src, PMD, 0);
	ck_assert_int_eq(smaps_kb(dst, "Referenced"), all);
	ck_assert_int_eq(file_write("/proc/self/clear_refs", "1"), 0);
	expect_move(fd, src, dst, PMD, 0);
	ck_assert_int_eq(smaps_kb(src, "Referenced"), 0);
	range_check(src, HPAGES, 1, 1);
	ck_assert_int_eq(smaps_kb(src, "Referenced"), all);
}
END_TEST

/* ---- mlock --------------------------------------------------------------- */

static long count_mlocked(void)
{
	/* what was unlocked waits in batches per CPU, which this empties */
	file_write("/proc/sys/vm/compact_memory", "1");
	/* counters are kept per CPU, and gathered on request */
	file_write("/proc/sys/vm/stat_refresh", "1");
	return vmstat("nr_mlock");
}

static char *map_locked(size_t pages)
{
	char *p = map_anon_aligned(pages, PMD, 0);

	skip_if(mlock2(p, pages * PAGE, MLOCK_ONFAULT), "mlock2: %s",
		strerror(errno));
	return p;
}

/* B-mlock: locked on both sides, counted all the way, and freed at the end. */
START_TEST(mlocked)
{
	enum { N = 600 };
	int fd = dev_open_all(), i;
	long before = count_mlocked();
	char *src = map_locked(N), *dst = map_locked(N);
	struct move_result r;

	range_fill(src, N, 1, 1);
	ck_assert_int_eq(count_mlocked() - before, N);
	r = matrix_move("mlocked on both sides", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	ck_assert_int_eq(count_mlocked() - before, N);
	for (i = 0; i < N; i += 50)
		ck_assert((kpageflags(dst + i * PAGE) &
			   (KPF_MLOCKED | KPF_UNEVICTABLE)) ==
			  (KPF_MLOCKED | KPF_UNEVICTABLE));
	expect_ok(munlock(src, N * PAGE));
	ck_assert_int_eq(count_mlocked() - before, N);
	expect_ok(munlock(dst, N * PAGE));
	ck_assert_int_eq(count_mlocked() - before, 0);
	swap_out(dst, N);
	range_check(dst, N, 1, 1);
}
END_TEST

/* Locked on one side only: neither gets what it must not have. */
START_TEST(mlocked_once)
{
	enum { N = 20 };
	int fd = dev_open_all();
	char *locked = map_locked(N), *plain = map_anon(N), *src, *dst;
	struct move_result r;

	src = _i ? locked : plain;
	dst = _i ? plain : locked;
	range_fill(src, N, 1, 1);
	r = matrix_move("mlocked on one side", fd, dst, src, N * PAGE, 0);
	expect_result(r, REFUSED(EINVAL, VMA_LOCKED), .stop = ADDR(dst));
	range_check(src, N, 1, 1);
	ck_assert_uint_eq(count_populated(dst, N), 0);
}
END_TEST

/* Huge pages, locked: whole, in a table, in part. */
START_TEST(mlocked_huge)
{
	int fd = dev_open_all();
	long before = count_mlocked();
	char *src = map_thp(2, 1, 1), *dst = map_locked(2 * HPAGES);

	expect_ok(mlock(src, 2 * PMD));
	ck_assert_int_eq(count_mlocked() - before, 2 * HPAGES);
	dst[PMD] = 1;
	expect_ok(munlock(dst, 2 * PMD));
	expect_ok(madvise(dst + PMD, PAGE, MADV_DONTNEED));
	expect_ok(mlock2(dst, 2 * PMD, MLOCK_ONFAULT));
	expect_move(fd, dst, src, 2 * PMD, 0);
	range_check(dst, 2 * HPAGES, 1, 1);
	expect_ok(munlock(src, 2 * PMD));
	expect_ok(munlock(dst, 2 * PMD));
	ck_assert_int_eq(count_mlocked() - before, 0);
	swap_out(dst, 2 * HPAGES);
	range_check(dst, 2 * HPAGES, 1, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST(lazyfree_vanishes),
	UTEST_LOOP(lazyfree, 6),
	UTEST(lazyfree_again),
	UTEST(lazyfree_written),
	UTEST_LOOP(lazyfree_huge, 3),
	UTEST_LOOP(soft_dirty, 2),
	UTEST_LOOP(soft_dirty_huge, 2),
	UTEST_LOOP(accessed_huge, 2),
	UTEST(mlocked),
	UTEST_LOOP(mlocked_once, 2),
	UTEST(mlocked_huge),
};
UTEST_MAIN("aging", tests)
