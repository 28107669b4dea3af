// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that holes stop a move unless it allows them, that they are counted
 * apart, skipped at any level of the page table, and cost no memory (B-none);
 * and that threads that wait for the pages between them are woken, however far
 * apart.
 */
#include "util.h"

#define HOLES	UREMAP_MOVE_ALLOW_SRC_HOLES

/* Without leave the first hole is ENOENT, here at the first page. */
START_TEST(refused)
{
	int fd = dev_open_all();
	char *src = map_anon(10), *dst = map_anon(10);

	expect_no_move(fd, dst, src, 10 * PAGE, 0, ENOENT, HOLE, ADDR(src));
	page_fill(src + PAGE, 1, 1);
	expect_no_move(fd, dst, src, 10 * PAGE, 0, ENOENT, HOLE, ADDR(src));
	page_check(src + PAGE, 1, 1);
}
END_TEST

/* With leave a range of nothing is done at once, and says so. */
START_TEST(nothing_at_all)
{
	int fd = dev_open_all();
	char *src = map_anon(10), *dst = map_anon(10);

	expect_move_holes(fd, dst, src, 10 * PAGE, HOLES, 10 * PAGE);
	ck_assert_uint_eq(count_populated(dst, 10), 0);
	ck_assert_uint_eq(count_populated(src, 10), 0);
}
END_TEST

/* Every second page gone: each present one moves, each hole is a hole. */
START_TEST(every_second)
{
	enum { N = 2048 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	int i;

	for (i = _i; i < N; i += 2)
		expect_ok(madvise(src + i * PAGE, PAGE, MADV_DONTNEED));
	expect_move_holes(fd, dst, src, N * PAGE, HOLES, N / 2 * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	ck_assert_uint_eq(count_populated(dst, N), N / 2);
	for (i = 0; i < N; i++) {
		ck_assert_int_eq(page_populated(dst + i * PAGE), i % 2 != _i);
		if (i % 2 != _i)
			page_check(dst + i * PAGE, 1 + i, 1);
	}
}
END_TEST

/* Without leave the same layout stops at the first hole, at each start. */
START_TEST(every_second_refused)
{
	enum { N = 20 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	int i;

	for (i = 1; i < N; i += 2)
		expect_ok(madvise(src + i * PAGE, PAGE, MADV_DONTNEED));
	for (i = 0; i < N; i += 2)
		expect_move_part(fd, dst + i * PAGE, src + i * PAGE,
				 (N - i) * PAGE, 0, PAGE, ENOENT, HOLE,
				 ADDR(src + (i + 1) * PAGE));
	for (i = 0; i < N; i += 2)
		page_check(dst + i * PAGE, 1 + i, 1);
}
END_TEST

/*
 * Sparse over 16 GiB: holes of whole PMD and PUD tables, single pages between.
 * Page tables grow by what the pages need at the destination, not by the holes.
 */
START_TEST(large_levels)
{
	enum { N = 11 };
	const size_t span = 16 * PUD;
	static const size_t at[N] = {
		0, 1, 511, 512, 1024, 262143, 262144, 262144 * 3 + 5,
		262144 * 7 + 511, 262144 * 15, 262144 * 16 - 1
	};
	int fd = dev_open_all();
	char *src = map_anon_aligned(span / PAGE, PUD, 0);
	char *dst = map_anon_aligned(span / PAGE, PUD, 0);
	long before;
	int i;

	for (i = 0; i < N; i++)
		page_fill(src + at[i] * PAGE, i, 1);
	before = status_kb(0, "VmPTE");
	expect_move_holes(fd, dst, src, span, HOLES, span - N * PAGE);
	for (i = 0; i < N; i++)
		page_check(dst + at[i] * PAGE, i, 1);
	/* 9 PTE and 5 PMD tables have pages; 2 more may be needed above */
	ck_assert_int_le(status_kb(0, "VmPTE") - before, (9 + 5 + 2) * 4);
}
END_TEST

/* A gigabyte of nothing takes no page table, on either side. */
START_TEST(gigabyte_of_nothing)
{
	int fd = dev_open_all();
	char *src = map_anon(PUD / PAGE), *dst = map_anon(PUD / PAGE);
	long before;

	expect_move_holes(fd, dst, src, PAGE, HOLES, PAGE);
	before = status_kb(0, "VmPTE");
	expect_move_holes(fd, dst, src, PUD, HOLES, PUD);
	ck_assert_int_eq(status_kb(0, "VmPTE"), before);
}
END_TEST

/* Nor does a terabyte, which must not take for ever either. */
START_TEST(terabyte_of_nothing)
{
	const size_t tera = 1024 * PUD;
	int fd = dev_open_all();
	char *src = map_anon(tera / PAGE), *dst = map_anon(tera / PAGE);
	long before = status_kb(0, "VmPTE");

	page_fill(src + tera - PAGE, 1, 1);
	before = status_kb(0, "VmPTE");
	expect_move_holes(fd, dst, src, tera, HOLES, tera - PAGE);
	page_check(dst + tera - PAGE, 1, 1);
	ck_assert_int_le(status_kb(0, "VmPTE") - before, 3 * 4);
}
END_TEST

/* Source tables that exist but are empty are holes like missing ones. */
START_TEST(empty_tables)
{
	enum { N = 4096 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	long before;

	expect_ok(madvise(src, N * PAGE, MADV_DONTNEED));
	before = status_kb(0, "VmPTE");
	expect_move_holes(fd, dst, src, N * PAGE, HOLES, N * PAGE);
	/* the kernel may free empty tables of src behind our back */
	ck_assert_int_le(status_kb(0, "VmPTE"), before);
	ck_assert_uint_eq(count_populated(dst, N), 0);
	page_fill(src + 2000 * PAGE, 5, 5);
	expect_move_holes(fd, dst, src, N * PAGE, HOLES, (N - 1) * PAGE);
	page_check(dst + 2000 * PAGE, 5, 5);
}
END_TEST

/*
 * The destination has to be empty even where the source is, as if each page
 * were looked at in turn: UFFDIO_MOVE looks at the destination first.
 */
START_TEST(destination_of_a_hole)
{
	int fd = dev_open_all();
	char *src = map_filled(9, 1, 1), *dst = map_anon(9);

	expect_ok(madvise(src + 4 * PAGE, 2 * PAGE, MADV_DONTNEED));
	page_fill(dst + 5 * PAGE, 80, 1);
	expect_move_as(fd, dst, src, 9 * PAGE, HOLES, .done = 5 * PAGE,
		       .holes = PAGE, .error = EEXIST,
		       .reason = UREMAP_REASON_DST_BUSY,
		       .stop = ADDR(dst + 5 * PAGE));
	expect_no_move(fd, dst + 5 * PAGE, src + 5 * PAGE, PAGE, HOLES, EEXIST,
		       DST_BUSY, ADDR(dst + 5 * PAGE));
	expect_no_move(fd, dst + 5 * PAGE, src + 5 * PAGE, PAGE, 0, EEXIST,
		       DST_BUSY, ADDR(dst + 5 * PAGE));
	range_check(dst, 4, 1, 1);
	page_check(dst + 5 * PAGE, 80, 1);
	range_check(src + 6 * PAGE, 3, 7, 1);
}
END_TEST

/* The same where whole tables of the source are missing. */
START_TEST(destination_of_a_large_hole)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(2048, PMD, 0);
	char *dst = map_anon_aligned(2048, PMD, 0);

	page_fill(dst + 700 * PAGE, 80, 1);
	expect_move_as(fd, dst, src, 2048 * PAGE, HOLES, .done = 700 * PAGE,
		       .holes = 700 * PAGE, .error = EEXIST,
		       .reason = UREMAP_REASON_DST_BUSY,
		       .stop = ADDR(dst + 700 * PAGE));
	page_check(dst + 700 * PAGE, 80, 1);
}
END_TEST

/* A gap between mappings is no hole: nothing is mapped there. */
START_TEST(gap_is_no_hole)
{
	int fd = dev_open_all();
	char *src = map_filled(9, 1, 1), *dst = map_anon(9);

	expect_ok(munmap(src + 4 * PAGE, PAGE));
	expect_move_part(fd, dst, src, 9 * PAGE, HOLES, 4 * PAGE, ENOENT,
			 SRC_NO_VMA, ADDR(src + 4 * PAGE));
	range_check(dst, 4, 1, 1);
	range_check(src + 5 * PAGE, 4, 6, 1);
	expect_move(fd, dst + 5 * PAGE, src + 5 * PAGE, 4 * PAGE, HOLES);
	range_check(dst + 5 * PAGE, 4, 6, 1);
}
END_TEST

static void *waits(void *arg)
{
	page_check(arg, 1, 1);
	return NULL;
}

/*
 * The dozen pages around each 64 MiB of 320: of two neighbours one is awaited.
 * Pages to wake for are looked up 128 MiB at a time.
 */
START_TEST(far_apart)
{
	enum { N = 4, NEAR = 6, STEP = 16384, ALL = (N + 1) * STEP };
	int fd = dev_open_all(), uffd = uffd_open(0), i, k;
	char *src = map_anon(ALL), *dst = map_anon(ALL);
	pthread_t t[N * NEAR];
	struct uffd_msg msg;
	size_t at;

	dev_attach(fd, uffd);
	uffd_register(uffd, dst, ALL * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	for (i = 0; i < N; i++) {
		for (k = 0; k < 2 * NEAR; k++) {
			at = (i + 1) * STEP - NEAR + k;
			page_fill(src + at * PAGE, 1, 1);
			if (k % 2)
				continue;
			t[i * NEAR + k / 2] = thread_start(waits,
							   dst + at * PAGE);
			ck_assert(uffd_read(uffd, 20000, &msg));
		}
	}
	expect_move_holes(fd, dst, src, ALL * PAGE, HOLES,
			  (ALL - N * 2 * NEAR) * PAGE);
	for (i = 0; i < N * NEAR; i++)
		thread_join(t[i]);
}
END_TEST

static const struct utest tests[] = {
	UTEST(refused),
	UTEST(nothing_at_all),
	UTEST_LOOP(every_second, 2),
	UTEST(every_second_refused),
	UTEST(large_levels),
	UTEST(gigabyte_of_nothing),
	UTEST(terabyte_of_nothing),
	UTEST(empty_tables),
	UTEST(destination_of_a_hole),
	UTEST(destination_of_a_large_hole),
	UTEST(gap_is_no_hole),
	UTEST(far_apart),
};
UTEST_MAIN("holes", tests)
