// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves B-zero and B-hugezero: pages that were read but never written move as
 * the zero page that they are, no memory is allocated for them or lost by them,
 * and who tracks changes sees them come.
 */
#include "util_state.h"

#include <signal.h>

/* Pages that were read: the zero page, which the flags of its frame tell. */
static char *map_zero(size_t pages)
{
	char *p = map_anon(pages);
	size_t i;

	for (i = 0; i < pages; i++)
		page_check_zero(p + i * PAGE);
	if (!(kpageflags(p) & KPF_ZERO_PAGE))
		ck_abort_msg("a read fault brought no zero page");
	return p;
}

static void expect_zero_pages(const char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		if (!(kpageflags(p + i * PAGE) & KPF_ZERO_PAGE))
			ck_abort_msg("page %zu is not the zero page", i);
}

/* B-zero: there, still the zero page, and gone from the source. */
START_TEST(moved)
{
	enum { N = 700 };
	int fd = dev_open_all();
	char *src = map_zero(N), *dst = map_anon(N);
	long rss = status_kb(0, "RssAnon");
	struct move_result r;

	r = matrix_move("zero page", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	ck_assert_uint_eq(count_populated(dst, N), N);
	expect_zero_pages(dst, N);
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - rss), 64);
	/* a page of one's own on the first write, and zeros beside it */
	page_fill(dst + 5 * PAGE, 7, 1);
	page_check(dst + 5 * PAGE, 7, 1);
	page_check_zero(dst + 4 * PAGE);
	page_check_zero(dst + 6 * PAGE);
	page_check_zero(src);
	expect_move(fd, src + PAGE, dst + PAGE, (N - 1) * PAGE, 0);
	page_check(src + 5 * PAGE, 7, 1);
}
END_TEST

/* Among written pages and holes. */
START_TEST(mixed)
{
	enum { N = 900 };
	static char kind[N];
	int fd = dev_open_all(), i, holes = 0;
	char *src = map_anon_aligned(N, PMD, 300);
	char *dst = map_anon_aligned(N, PMD, 77);

	for (i = 0; i < N; i++) {
		kind[i] = rnd_below(3);
		if (kind[i] == 1)
			page_check_zero(src + i * PAGE);
		else if (kind[i] == 2)
			page_fill(src + i * PAGE, 1 + i, 1);
		else
			holes++;
	}
	expect_move_holes(fd, dst, src, N * PAGE, UREMAP_MOVE_ALLOW_SRC_HOLES,
			  holes * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	for (i = 0; i < N; i++) {
		ck_assert_int_eq(page_populated(dst + i * PAGE), !!kind[i]);
		if (kind[i] == 1)
			expect_zero_pages(dst + i * PAGE, 1);
		else if (kind[i] == 2)
			page_check(dst + i * PAGE, 1 + i, 1);
	}
}
END_TEST

/* G1: healing is for pages that somebody shares, and would allocate here. */
START_TEST(not_healed)
{
	enum { N = 100 };
	int fd = dev_open_all();
	char *src = map_zero(N), *dst = map_anon(N);
	pid_t pid = expect_ok(fork());

	if (!pid) {
		pause();
		_exit(0);
	}
	expect_move(fd, dst, src, N * PAGE, UREMAP_MOVE_UNSHARE);
	expect_zero_pages(dst, N);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* A destination that holds the zero page is a populated one. */
START_TEST(in_the_way)
{
	int fd = dev_open_all();
	char *src = map_filled(3, 1, 1), *dst = map_anon(3);

	page_check_zero(dst + PAGE);
	expect_move_part(fd, dst, src, 3 * PAGE, 0, PAGE, EEXIST, DST_BUSY,
			 ADDR(dst + PAGE));
	expect_move(fd, src, dst + PAGE, PAGE, 0);
	expect_zero_pages(src, 1);
}
END_TEST

static void soft_dirty_clear(void)
{
	skip_if(file_write("/proc/self/clear_refs", "4"),
		"no soft-dirty tracking");
}

/* B-softdirty: upstream leaves zero pages out. */
START_TEST(soft_dirty)
{
	enum { N = 20 };
	int fd = dev_open_all();
	char *src = map_zero(N), *dst = map_anon(N);

	soft_dirty_clear();
	skip_if(pagemap(src) & PM_SOFT_DIRTY, "no soft-dirty tracking");
	expect_move(fd, dst, src, N * PAGE, 0);
	for (int i = 0; i < N; i++)
		ck_assert(pagemap(dst + i * PAGE) & PM_SOFT_DIRTY);
	soft_dirty_clear();
	ck_assert(!(pagemap(dst) & PM_SOFT_DIRTY));
	dst[0] = 1;
	ck_assert(pagemap(dst) & PM_SOFT_DIRTY);
	ck_assert(!(pagemap(dst + PAGE) & PM_SOFT_DIRTY));
}
END_TEST

/* The frame is shared by all; its counts must not have been touched. */
START_TEST(many_times)
{
	enum { N = 512 };
	int fd = dev_open_all(), r;
	char *a = map_zero(N), *b = map_anon(N), *t;
	uint64_t pfn = page_pfn(a);

	for (r = 0; r < repeats(300); r++) {
		expect_move(fd, b, a, N * PAGE, 0);
		t = a, a = b, b = t;
	}
	ck_assert_uint_eq(page_pfn(a), pfn);
	expect_ok(munmap(a, N * PAGE));
	expect_ok(munmap(b, N * PAGE));
	a = map_zero(1);
	ck_assert_uint_eq(page_pfn(a), pfn);
}
END_TEST

/* B-hugezero: whole, the same frame, again and again. */
START_TEST(huge)
{
	enum { N = 3 };
	int fd = dev_open_all(), r;
	char *a = map_huge_zero(N), *b = map_thp_dst(N), *t;
	long rss = status_kb(0, "RssAnon"), pte;
	uint64_t pfn = page_pfn(a);
	struct move_result res;

	res = matrix_move("huge zero page", fd, b, a, N * PMD, 0);
	expect_result(res, .done = N * PMD);
	ck_assert_uint_eq(count_populated(a, N * HPAGES), 0);
	expect_move(fd, a, b, N * PMD, 0);
	pte = status_kb(0, "VmPTE");
	for (r = 0; r < 50; r++) {
		expect_move(fd, b, a, N * PMD, 0);
		t = a, a = b, b = t;
	}
	ck_assert_uint_eq(count_populated(a, N * HPAGES), N * HPAGES);
	ck_assert_uint_eq(page_pfn(a + PMD), pfn);
	ck_assert(kpageflags(a) & KPF_THP);
	ck_assert_int_eq(status_kb(0, "VmPTE"), pte);
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - rss), 64);
	page_check_zero(a + PMD + 3 * PAGE);
	page_fill(a + PMD, 1, 1);
	page_check(a + PMD, 1, 1);
	page_check_zero(a);
	page_check_zero(a + PMD + PAGE);
	page_check_zero(a + 2 * PMD);
}
END_TEST

/* Gone with the mapping, and the next one still finds it. */
START_TEST(huge_unmapped)
{
	int fd = dev_open_all(), i;

	for (i = 0; i < 20; i++) {
		char *src = map_huge_zero(1), *dst = map_thp_dst(1);

		expect_move(fd, dst, src, PMD, 0);
		if (i & 1)
			expect_ok(munmap(src, PMD));
		expect_ok(i & 2 ? munmap(dst, PMD) :
			  madvise(dst, PMD, MADV_DONTNEED));
	}
	page_check_zero(map_huge_zero(1));
}
END_TEST

/* A part of it, or all of it to where it does not fit. */
START_TEST(huge_in_parts)
{
	int fd = dev_open_all();
	char *src = map_huge_zero(1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	struct move_result r;

	r = matrix_move("huge zero page, a part of it", fd, dst, src + 5 * PAGE,
			PAGE, 0);
	expect_result(r, .done = PAGE);
	expect_zero_pages(dst, 1);
	ck_assert(!page_populated(src + 5 * PAGE));
	ck_assert_uint_eq(count_populated(src, HPAGES), HPAGES - 1);
	src = map_huge_zero(1);
	dst = map_anon_aligned(HPAGES, PMD, 9);
	expect_move(fd, dst, src, PMD, 0);
	expect_zero_pages(dst, HPAGES);
	ck_assert_uint_eq(count_populated(src, HPAGES), 0);
	page_fill(dst, 1, 1);
	page_check_zero(dst + PAGE);
}
END_TEST

/* Onto a page table, empty or not. */
START_TEST(huge_onto_table)
{
	int fd = dev_open_all();
	char *src = map_huge_zero(1), *dst = map_anon_aligned(HPAGES, PMD, 0);

	page_fill(dst + 100 * PAGE, 1, 1);
	expect_no_move(fd, dst, src, PMD, 0, EEXIST, DST_BUSY,
		       ADDR(dst + 100 * PAGE));
	ck_assert_uint_eq(count_populated(src, HPAGES), HPAGES);
	expect_ok(madvise(dst + 100 * PAGE, PAGE, MADV_DONTNEED));
	expect_move(fd, dst, src, PMD, 0);
	ck_assert_uint_eq(count_populated(dst, HPAGES), HPAGES);
	ck_assert_uint_eq(count_populated(src, HPAGES), 0);
	page_check_zero(dst + 100 * PAGE);
	page_fill(dst + 100 * PAGE, 1, 2);
	page_check(dst + 100 * PAGE, 1, 2);
}
END_TEST

START_TEST(huge_soft_dirty)
{
	int fd = dev_open_all();
	char *src = map_huge_zero(1), *dst = map_thp_dst(1);

	soft_dirty_clear();
	skip_if(pagemap(src) & PM_SOFT_DIRTY, "no soft-dirty tracking");
	expect_move(fd, dst, src, PMD, 0);
	ck_assert(pagemap(dst) & PM_SOFT_DIRTY);
	ck_assert(pagemap(dst + 511 * PAGE) & PM_SOFT_DIRTY);
}
END_TEST

static const struct utest tests[] = {
	UTEST(moved),
	UTEST(mixed),
	UTEST(not_healed),
	UTEST(in_the_way),
	UTEST(soft_dirty),
	UTEST(many_times),
	UTEST(huge),
	UTEST(huge_unmapped),
	UTEST(huge_in_parts),
	UTEST(huge_onto_table),
	UTEST(huge_soft_dirty),
};
UTEST_MAIN("zero", tests)
