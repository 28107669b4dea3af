// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves B-thp, B-thp-table and the promise of G5 that a failure splits
 * nothing: a huge page moves as one where both sides allow it, as one folio
 * where the destination has a page table, and loses nothing where neither does.
 */
#include "util_state.h"

/* Moves @n huge pages as such, and proves that they are the same ones. */
static void move_whole(int fd, char *dst, char *src, size_t n, uint32_t id)
{
	uint64_t *frames = calloc(n * HPAGES, sizeof(*frames));

	frames_read(src, n * HPAGES, frames);
	expect_move(fd, dst, src, n * PMD, 0);
	check_frames(dst, n * HPAGES, frames);
	ck_assert_int_eq(huge_kb(dst), n * PMD / 1024);
	ck_assert_int_eq(huge_kb(src), 0);
	ck_assert_uint_eq(count_populated(src, n * HPAGES), 0);
	range_check(dst, n * HPAGES, id, 1);
	free(frames);
}

/* B-thp: aligned, nothing at dst. */
START_TEST(aligned)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_thp_dst(1);

	matrix("huge page, aligned",
	       try_move(fd, dst, src, PMD, 0));
	range_check(dst, HPAGES, 1, 1);
	expect_ok(madvise(src, PMD, MADV_DONTNEED));
	dst = map_thp_dst(1);
	src = map_thp(1, 1, 1);
	move_whole(fd, dst, src, 1, 1);
	ck_assert(kpageflags(dst) & KPF_THP);
	ck_assert(folio_whole(dst, HPAGES));
	/* it is memory like any other there, and the source starts anew */
	range_fill(dst, HPAGES, 1, 2);
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
	page_check_zero(src);
	range_check(dst, HPAGES, 1, 2);
}
END_TEST

/* Many in one call, and the smallest request for one in the middle of many. */
START_TEST(many)
{
	enum { N = 12 };
	int fd = dev_open_all();
	char *src = map_thp(N, 1, 1), *dst = map_thp_dst(N + 2);

	move_whole(fd, dst + PMD, src, N, 1);
	expect_move(fd, src + 5 * PMD, dst + 6 * PMD, PMD, 0);
	ck_assert_int_eq(huge_kb(dst), (N - 1) * PMD / 1024);
	ck_assert_int_eq(huge_kb(src), PMD / 1024);
	range_check(src + 5 * PMD, HPAGES, 1 + 5 * HPAGES, 1);
	range_check(dst + PMD, 5 * HPAGES, 1, 1);
	range_check(dst + 7 * PMD, (N - 6) * HPAGES, 1 + 6 * HPAGES, 1);
}
END_TEST

/* Where huge pages are not wanted the page stays what it is, as with mremap. */
START_TEST(to_nohugepage)
{
	int fd = dev_open_all();
	char *src = map_thp(2, 1, 1);
	char *dst = map_anon_aligned(2 * HPAGES, PMD, 0);

	expect_move(fd, dst, src, 2 * PMD, 0);
	ck_assert(folio_whole(dst, HPAGES));
	range_check(dst, 2 * HPAGES, 1, 1);
}
END_TEST

/* Back and forth: no page table, no memory, no huge page is lost. */
START_TEST(back_and_forth)
{
	enum { N = 3 };
	int fd = dev_open_all(), r;
	char *a = map_thp(N, 1, 1), *b = map_thp_dst(N), *t;
	long rss, pte;

	expect_move(fd, b, a, N * PMD, 0);
	expect_move(fd, a, b, N * PMD, 0);
	rss = status_kb(0, "RssAnon");
	pte = status_kb(0, "VmPTE");
	for (r = 0; r < repeats(200); r++) {
		expect_move(fd, b, a, N * PMD, 0);
		t = a, a = b, b = t;
	}
	ck_assert_int_eq(huge_kb(a), N * PMD / 1024);
	range_check(a, N * HPAGES, 1, 1);
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - rss), 256);
	ck_assert_int_eq(status_kb(0, "VmPTE"), pte);
}
END_TEST

/* B-thp-table: dst has held something, so that a page table is left there. */
START_TEST(empty_table)
{
	static const int touched[] = { 0, 1, 255, 511 };
	static uint64_t frames[HPAGES];
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1);
	char *dst = map_anon_aligned(HPAGES, PMD, 0);
	struct move_result r;

	dst[touched[_i] * PAGE] = 1;
	expect_ok(madvise(dst + touched[_i] * PAGE, PAGE, MADV_DONTNEED));
	frames_read(src, HPAGES, frames);
	r = matrix_move("huge page, to where a page table is", fd, dst, src,
			PMD, 0);
	expect_result(r, .done = PMD);
	check_frames(dst, HPAGES, frames);
	ck_assert(folio_whole(dst, HPAGES));
	ck_assert_int_eq(huge_kb(dst), 0);
	ck_assert_uint_eq(count_populated(src, HPAGES), 0);
	range_check(dst, HPAGES, 1, 1);
	range_fill(dst, HPAGES, 1, 2);
	range_check(dst, HPAGES, 1, 2);
	/* the reverse mapping is right, for each page */
	expect_move(fd, src, dst, PMD, 0);
	range_check(src, HPAGES, 1, 2);
}
END_TEST

/* The same many times over: page tables are neither leaked nor lost. */
START_TEST(empty_table_many)
{
	enum { N = 4 };
	int fd = dev_open_all(), r;
	char *dst = map_anon_aligned(N * HPAGES, PMD, 0), *src;
	long pte = 0;

	for (r = 0; r < 12; r++) {
		for (size_t i = 0; i < N; i++) {
			dst[i * PMD] = 1;
			madvise(dst + i * PMD, PAGE, MADV_DONTNEED);
		}
		src = map_thp(N, r, 1);
		expect_move(fd, dst, src, N * PMD, 0);
		range_check(dst, N * HPAGES, r, 1);
		expect_ok(munmap(src, N * PMD));
		expect_ok(madvise(dst, N * PMD, MADV_DONTNEED));
		if (r == 1)
			pte = status_kb(0, "VmPTE");
	}
	/* PT_RECLAIM may have freed some of them */
	ck_assert_int_le(status_kb(0, "VmPTE"), pte + 4 * N);
}
END_TEST

/* One page is there already: EEXIST before anything has changed. */
START_TEST(populated)
{
	static const int at[] = { 0, 1, 100, 511 };
	static uint64_t frames[HPAGES];
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1);
	char *dst = map_anon_aligned(HPAGES, PMD, 0), *there;

	there = dst + at[_i] * PAGE;
	page_fill(there, 77, 1);
	frames_read(src, HPAGES, frames);
	expect_no_move(fd, dst, src, PMD, 0, EEXIST, DST_BUSY, ADDR(there));
	check_frames(src, HPAGES, frames);
	ck_assert_int_eq(huge_kb(src), PMD / 1024);
	range_check(src, HPAGES, 1, 1);
	page_check(there, 77, 1);
	ck_assert_uint_eq(count_populated(dst, HPAGES), 1);
	/* a huge page in the way likewise */
	dst = map_thp(1, 600, 1);
	expect_no_move(fd, dst, src, PMD, 0, EEXIST, DST_BUSY, ADDR(dst));
	expect_no_move(fd, dst + 5 * PAGE, src + 7 * PAGE, 9 * PAGE, 0, EEXIST,
		       DST_BUSY, ADDR(dst + 5 * PAGE));
	ck_assert_int_eq(huge_kb(src), PMD / 1024);
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
	range_check(dst, HPAGES, 600, 1);
}
END_TEST

/* Source and destination are not alike modulo 2 MiB. */
START_TEST(misaligned)
{
	static const int offs[] = { 1, 2, 8, 255, 256, 504, 511 };
	int fd = dev_open_all();
	char *src = map_thp(2, 1, 1);
	char *dst = map_anon_aligned(2 * HPAGES, PMD, offs[_i]);
	struct move_result r;

	r = matrix_move("huge page, misaligned", fd, dst, src, 2 * PMD, 0);
	expect_result(r, .done = 2 * PMD);
	ck_assert_uint_eq(count_populated(src, 2 * HPAGES), 0);
	range_check(dst, 2 * HPAGES, 1, 1);
	range_fill(dst, 2 * HPAGES, 1, 2);
	expect_move(fd, src, dst, 2 * PMD, 0);
	range_check(src, 2 * HPAGES, 1, 2);
}
END_TEST

struct part {
	size_t at, pages;
};

/* A part of a huge page: the rest stays where it is, and moves later. */
START_TEST(part_of_one)
{
	static const struct part parts[] = {
		{ 0, 1 }, { 1, 1 }, { 17, 1 }, { 511, 1 }, { 0, 511 },
		{ 1, 511 }, { 0, 256 }, { 256, 256 }, { 100, 300 },
	};
	const struct part p = parts[_i];
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1);
	char *dst = map_anon_aligned(HPAGES, PMD, 0);
	const size_t off = p.at * PAGE, len = p.pages * PAGE;
	struct move_result r;

	r = matrix_move("huge page, a part of it", fd, dst + off, src + off,
			len, 0);
	expect_result(r, .done = len);
	range_check(dst + off, p.pages, 1 + p.at, 1);
	ck_assert_uint_eq(count_populated(dst, HPAGES), p.pages);
	ck_assert_uint_eq(count_populated(src, HPAGES), HPAGES - p.pages);
	range_check(src, p.at, 1, 1);
	range_check(src + off + len, HPAGES - p.at - p.pages,
		    1 + p.at + p.pages, 1);
	expect_move_holes(fd, dst + (off ? 0 : len), src + (off ? 0 : len),
			  off ? off : PMD - len, UREMAP_MOVE_ALLOW_SRC_HOLES, 0);
	range_check(dst, p.at + p.pages, 1, 1);
}
END_TEST

/* Half of the first, all of the second, half of the third. */
START_TEST(crossing)
{
	static uint64_t frames[2 * HPAGES];
	int fd = dev_open_all();
	char *src = map_thp(3, 1, 1), *dst = map_thp_dst(3);

	expect_ok(madvise(dst, 3 * PMD, MADV_NOHUGEPAGE));
	frames_read(src + PMD / 2, 2 * HPAGES, frames);
	expect_move(fd, dst + PMD / 2, src + PMD / 2, 2 * PMD, 0);
	check_frames(dst + PMD / 2, 2 * HPAGES, frames);
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
	ck_assert(folio_whole(dst + PMD, HPAGES));
	range_check(dst + PMD / 2, 2 * HPAGES, 1 + HPAGES / 2, 1);
	range_check(src, HPAGES / 2, 1, 1);
	range_check(src + 5 * PMD / 2, HPAGES / 2, 1 + 5 * HPAGES / 2, 1);
}
END_TEST

/* Holes between huge pages, and huge pages beside small ones. */
START_TEST(mixed)
{
	enum { N = 6 };
	int fd = dev_open_all();
	char *src = map_thp(N, 1, 1), *dst = map_thp_dst(N);

	/* 1: gone, 3: small pages, 4: small and half gone */
	expect_ok(madvise(src + PMD, PMD, MADV_DONTNEED));
	expect_ok(madvise(src + 3 * PMD, 2 * PMD, MADV_NOHUGEPAGE));
	expect_ok(madvise(src + 3 * PMD, 2 * PMD, MADV_DONTNEED));
	range_fill(src + 3 * PMD, HPAGES, 1 + 3 * HPAGES, 1);
	range_fill(src + 4 * PMD, HPAGES / 2, 1 + 4 * HPAGES, 1);
	expect_no_move(fd, dst + PMD, src + PMD, 2 * PMD, 0, ENOENT, HOLE,
		       ADDR(src + PMD));
	expect_move_holes(fd, dst, src, N * PMD, UREMAP_MOVE_ALLOW_SRC_HOLES,
			  PMD + PMD / 2);
	ck_assert_uint_eq(count_populated(src, N * HPAGES), 0);
	ck_assert_int_eq(huge_kb(dst), 3 * PMD / 1024);
	range_check(dst, HPAGES, 1, 1);
	range_check(dst + 2 * PMD, 2 * HPAGES + HPAGES / 2, 1 + 2 * HPAGES, 1);
	range_check(dst + 5 * PMD, HPAGES, 1 + 5 * HPAGES, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST(aligned),
	UTEST(many),
	UTEST(to_nohugepage),
	UTEST_SLOW(back_and_forth, 300),
	UTEST_LOOP(empty_table, 4),
	UTEST_SLOW(empty_table_many, 300),
	UTEST_LOOP(populated, 4),
	UTEST_LOOP(misaligned, 7),
	UTEST_LOOP(part_of_one, 9),
	UTEST(crossing),
	UTEST(mixed),
};
UTEST_MAIN("thp", tests)
