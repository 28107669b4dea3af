// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves of B-thp and B-thp-pin what comes after: a moved huge page can be
 * split, shared, paged out and freed like one that was born there, and one that
 * could not be moved is still mapped as one.
 */
#include "util_state.h"

static char *moved_thp(int fd, size_t n)
{
	char *src = map_thp(n, 1, 1), *dst = map_thp_dst(n);

	expect_move(fd, dst, src, n * PMD, 0);
	ck_assert_int_eq(huge_kb(dst), n * PMD / 1024);
	expect_ok(munmap(src, n * PMD));
	return dst;
}

/* The deposited page table came along: splitting the mapping needs it. */
START_TEST(split_by_mprotect)
{
	int fd = dev_open_all();
	char *p = moved_thp(fd, 2);
	long pte = status_kb(0, "VmPTE");

	expect_ok(mprotect(p + 9 * PAGE, PAGE, PROT_READ));
	expect_ok(mprotect(p + 9 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	split_mapping(p + PMD + 511 * PAGE);
	ck_assert_int_eq(huge_kb(p), 0);
	ck_assert(folio_whole(p, HPAGES));
	ck_assert_int_eq(status_kb(0, "VmPTE"), pte);
	range_check(p, 2 * HPAGES, 1, 1);
	range_fill(p, 2 * HPAGES, 1, 2);
	range_check(p, 2 * HPAGES, 1, 2);
}
END_TEST

/* A page thrown away, an end unmapped, a piece moved by mremap. */
START_TEST(split_by_unmapping)
{
	int fd = dev_open_all();
	char *p = moved_thp(fd, 3), *q = map_nothing(1);

	expect_ok(madvise(p + 3 * PAGE, PAGE, MADV_DONTNEED));
	page_check_zero(p + 3 * PAGE);
	expect_ok(munmap(p + PMD + 100 * PAGE, PMD - 100 * PAGE));
	map_shift(p + 2 * PMD, q, 1);
	page_check(q, 1 + 2 * HPAGES, 1);
	range_check(p, 3, 1, 1);
	range_check(p + 4 * PAGE, HPAGES - 4 + 100, 5, 1);
	range_check(p + 2 * PMD + PAGE, HPAGES - 1, 2 + 2 * HPAGES, 1);
}
END_TEST

/* All of it goes at once: the kernel's log tells of counts that do not match. */
START_TEST(unmapped)
{
	int fd = dev_open_all(), i;

	for (i = 0; i < 8; i++) {
		long rss = status_kb(0, "RssAnon");
		char *p = moved_thp(fd, 2);

		ck_assert_int_ge(status_kb(0, "RssAnon"),
				 rss + 2 * (long)PMD / 1024 - 64);
		expect_ok(i & 1 ? munmap(p, 2 * PMD) :
			  madvise(p, 2 * PMD, MADV_DONTNEED));
		ck_assert_int_le(status_kb(0, "RssAnon"), rss + 256);
	}
}
END_TEST

static int child_writes(void *arg)
{
	char *p = arg;

	range_check(p, HPAGES, 1, 1);
	range_fill(p, HPAGES, 1, 2);
	range_check(p, HPAGES, 1, 2);
	return 0;
}

START_TEST(forked)
{
	int fd = dev_open_all();
	char *p = moved_thp(fd, 1);

	child_run(child_writes, p);
	range_check(p, HPAGES, 1, 1);
	range_fill(p, HPAGES, 1, 3);
	range_check(p, HPAGES, 1, 3);
}
END_TEST

/* Reclaim follows the reverse mapping: swapped out, and back as it was. */
START_TEST(paged_out)
{
	int fd = dev_open_all();
	char *p = moved_thp(fd, 2);

	swap_out(p, 2 * HPAGES);
	range_check(p, 2 * HPAGES, 1, 1);
	range_fill(p, 2 * HPAGES, 1, 2);
	range_check(p, 2 * HPAGES, 1, 2);
}
END_TEST

/* One folio mapped by 512 entries: likewise. */
START_TEST(paged_out_from_table)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);

	dst[0] = 1;
	expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	expect_move(fd, dst, src, PMD, 0);
	expect_ok(munmap(src, PMD));
	swap_out(dst, HPAGES);
	range_check(dst, HPAGES, 1, 1);
}
END_TEST

/* A move that is refused: what it must not have touched. */
static void expect_untouched(char *src, const uint64_t *frames)
{
	check_frames(src, HPAGES, frames);
	if (huge_kb(src) != PMD / 1024)
		ck_abort_msg("a move that failed took the huge mapping apart");
	range_check(src, HPAGES, 1, 1);
}

/* G5: a pin anywhere in it, whatever part is asked for. */
START_TEST(pinned)
{
	static const int at[] = { 0, 5, 511 };
	static uint64_t frames[HPAGES];
	int fd = dev_open_all(), pin;
	char *src = map_thp(1, 1, 1);
	char *dst = map_anon_aligned(HPAGES + 1, PMD, 0);
	struct move_result r;

	pin = pin_pages(src + at[_i] * PAGE, 1);
	ck_assert_int_eq(huge_kb(src), PMD / 1024);
	frames_read(src, HPAGES, frames);
	r = matrix_move("huge page, a part of it pinned", fd, dst, src, PMD, 0);
	expect_result(r, REFUSED(EBUSY, PINNED), .stop = ADDR(src));
	expect_untouched(src, frames);
	/* another part, the same part, all of it to where it does not fit */
	expect_no_move(fd, dst, src + 7 * PAGE, PAGE, 0, EBUSY, PINNED,
		       ADDR(src + 7 * PAGE));
	expect_no_move(fd, dst, src + at[_i] * PAGE, PAGE, 0, EBUSY, PINNED,
		       ADDR(src + at[_i] * PAGE));
	expect_no_move(fd, dst + PAGE, src, PMD, 0, EBUSY, PINNED, ADDR(src));
	dst[0] = 1;
	expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	expect_no_move(fd, dst, src, PMD, UREMAP_MOVE_UNSHARE, EBUSY, PINNED,
		       ADDR(src));
	expect_untouched(src, frames);
	ck_assert_uint_eq(count_populated(dst, HPAGES + 1), 0);
	close(pin);
}
END_TEST

/* A reference that is no pin: nothing to fear for a whole page (B-get)... */
START_TEST(referenced_whole)
{
	int fd = dev_open_all(), in, out;
	char *src = map_thp(1, 1, 1), *dst = map_thp_dst(1);
	static char page[PAGE];

	in = get_pages(src + 5 * PAGE, 1, &out);
	expect_move(fd, dst, src, PMD, 0);
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
	range_check(dst, HPAGES, 1, 1);
	ck_assert_int_eq(read(in, page, PAGE), PAGE);
	page_check(page, 6, 1);
}
END_TEST

/* ... but the folio cannot be split, and the move must say so soon. */
START_TEST(referenced_part)
{
	static uint64_t frames[HPAGES];
	int fd = dev_open_all(), in, out;
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 1);

	in = get_pages(src + 5 * PAGE, 1, &out);
	frames_read(src, HPAGES, frames);
	expect_no_move(fd, dst, src + 7 * PAGE, PAGE, 0, EBUSY, SPLIT_FAILED,
		       ADDR(src + 7 * PAGE));
	expect_untouched(src, frames);
	expect_no_move(fd, dst, src, PMD, 0, EBUSY, SPLIT_FAILED, ADDR(src));
	expect_untouched(src, frames);
	ck_assert_uint_eq(count_populated(dst, HPAGES), 0);
	close(out);
	close(in);
}
END_TEST

static const struct utest tests[] = {
	UTEST(split_by_mprotect),
	UTEST(split_by_unmapping),
	UTEST(unmapped),
	UTEST(forked),
	UTEST(paged_out),
	UTEST(paged_out_from_table),
	UTEST_LOOP(pinned, 3),
	UTEST(referenced_whole),
	UTEST(referenced_part),
};
UTEST_MAIN("thp_after", tests)
