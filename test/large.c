// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves B-folio and B-folio-part for folios smaller than a huge page: what is
 * asked for completely moves unsplit, what is not is split, and nothing else.
 */
#include "util_state.h"

/* Sizes that x86 knows between a page and a huge page */
static const int kbs[] = { 16, 32, 64, 128, 256, 512, 1024 };

/* Whole folios between places that are alike, and that are not. */
START_TEST(whole)
{
	static const int offs[] = { 0, 16, 3, 7 };
	const size_t n = kbs[_i] / 4;
	int fd = dev_open_all();
	uint64_t frames[256];
	struct move_result r;
	char *src, *dst;

	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		src = map_folios(kbs[_i], n, 1, 1);
		dst = map_anon_aligned(n, PMD, offs[i]);
		frames_read(src, n, frames);
		r = matrix_move("large folio, all of it", fd, dst, src,
				n * PAGE, 0);
		expect_result(r, .done = n * PAGE);
		check_frames(dst, n, frames);
		ck_assert(folio_whole(dst, n));
		ck_assert_uint_eq(count_populated(src, n), 0);
		range_check(dst, n, 1, 1);
		range_fill(dst, n, 1, 2);
		ck_assert(folio_whole(dst, n));
		range_check(dst, n, 1, 2);
	}
}
END_TEST

/* Many of them, a hole, a small page, and a folio cut at both ends. */
START_TEST(many)
{
	const size_t n = kbs[_i] / 4, total = 8 * n;
	int fd = dev_open_all();
	char *src = map_folios(kbs[_i], total, 1, 1);
	char *dst = map_anon_aligned(total, PMD, 0);
	const size_t first = n / 2, pages = 7 * n;

	expect_ok(madvise(src + 4 * n * PAGE, n * PAGE, MADV_DONTNEED));
	page_fill(src + 4 * n * PAGE, 1 + 4 * n, 1);
	expect_move_holes(fd, dst + first * PAGE, src + first * PAGE,
			  pages * PAGE, UREMAP_MOVE_ALLOW_SRC_HOLES,
			  (n - 1) * PAGE);
	/* what was cut has been split, the rest has not */
	for (size_t i = 1; i < 7; i++) {
		if (i == 4)
			continue;
		if (!folio_whole(dst + i * n * PAGE, n))
			ck_abort_msg("folio %zu was split for nothing", i);
	}
	ck_assert_uint_eq(count_populated(src, total), n);
	range_check(src, first, 1, 1);
	range_check(dst + first * PAGE, 4 * n - first + 1, 1 + first, 1);
	range_check(dst + 5 * n * PAGE, 2 * n + n / 2, 1 + 5 * n, 1);
	range_check(src + (7 * n + n / 2) * PAGE, n - n / 2,
		    1 + 7 * n + n / 2, 1);
}
END_TEST

/* A single page of each: the folio is split, its other pages stay. */
START_TEST(one_page)
{
	const size_t n = kbs[_i] / 4;
	const size_t at[] = { 0, 1, n / 2, n - 1 };
	int fd = dev_open_all();
	uint64_t frames[1024];
	struct move_result r;
	char *src, *dst, *p;

	src = map_folios(kbs[_i], 4 * n, 1, 1);
	dst = map_anon(4);
	frames_read(src, 4 * n, frames);
	for (size_t i = 0; i < 4; i++) {
		p = src + (i * n + at[i]) * PAGE;
		r = matrix_move("large folio, a part of it", fd, dst + i * PAGE,
				p, PAGE, 0);
		expect_result(r, .done = PAGE);
		page_check(dst + i * PAGE, 1 + i * n + at[i], 1);
		ck_assert_uint_eq(page_pfn(dst + i * PAGE),
				  frames[i * n + at[i]]);
		ck_assert(folio_none(dst + i * PAGE, 1));
		ck_assert(!page_populated(p));
		/* the next one is as it was */
		if (i < 3)
			ck_assert(folio_whole(src + (i + 1) * n * PAGE, n));
	}
	for (size_t i = 0; i < 4 * n; i++)
		if (page_populated(src + i * PAGE))
			page_check(src + i * PAGE, 1 + i, 1);
	ck_assert_uint_eq(count_populated(src, 4 * n), 4 * n - 4);
}
END_TEST

/* To where it lies in two page tables: in whatever shape, all of it arrives. */
START_TEST(across_tables)
{
	const size_t n = kbs[_i] / 4;
	int fd = dev_open_all();
	char *src = map_folios(kbs[_i], 4 * n, 1, 1);
	const size_t off = HPAGES - n - n / 2;
	char *dst = map_anon_aligned(4 * n, PMD, off);

	expect_move(fd, dst, src, 4 * n * PAGE, 0);
	range_check(dst, 4 * n, 1, 1);
	ck_assert_uint_eq(count_populated(src, 4 * n), 0);
	for (size_t i = 0; i < 4; i++)
		if ((off + i * n) / HPAGES == (off + i * n + n - 1) / HPAGES)
			ck_assert(folio_whole(dst + i * n * PAGE, n));
	range_fill(dst, 4 * n, 1, 2);
	expect_move(fd, src, dst, 4 * n * PAGE, 0);
	range_check(src, 4 * n, 1, 2);
}
END_TEST

/* Something is in its way: nothing of the folio moves, nothing is split. */
START_TEST(populated)
{
	const size_t n = kbs[_i] / 4;
	int fd = dev_open_all();
	char *src = map_folios(kbs[_i], 2 * n, 1, 1);
	char *dst = map_anon_aligned(2 * n, PMD, 0), *there;

	there = dst + (n + n / 2) * PAGE;
	page_fill(there, 99, 1);
	expect_move_part(fd, dst, src, 2 * n * PAGE, 0, n * PAGE, EEXIST,
			 DST_BUSY, ADDR(there));
	ck_assert(folio_whole(dst, n));
	ck_assert(folio_whole(src + n * PAGE, n));
	range_check(dst, n, 1, 1);
	range_check(src + n * PAGE, n, 1 + n, 1);
	page_check(there, 99, 1);
}
END_TEST

/* Pinned, referenced: refused whole, in bounded time, as it was. */
START_TEST(held)
{
	const size_t n = kbs[_i] / 4;
	int fd = dev_open_all(), pin, in, out;
	char *src = map_folios(kbs[_i], 2 * n, 1, 1);
	char *dst = map_anon_aligned(2 * n, PMD, 0);

	pin = pin_pages(src + (n + 1) * PAGE, 1);
	expect_move_part(fd, dst, src, 2 * n * PAGE, 0, n * PAGE, EBUSY, PINNED,
			 ADDR(src + n * PAGE));
	expect_no_move(fd, dst + n * PAGE, src + (n + 2) * PAGE, PAGE, 0, EBUSY,
		       PINNED, ADDR(src + (n + 2) * PAGE));
	ck_assert(folio_whole(src + n * PAGE, n));
	close(pin);
	in = get_pages(dst + PAGE, 1, &out);
	expect_no_move(fd, src, dst, PAGE, 0, EBUSY, SPLIT_FAILED, ADDR(dst));
	ck_assert(folio_whole(dst, n));
	expect_move(fd, src, dst, n * PAGE, 0);
	ck_assert(folio_whole(src, n));
	range_check(src, 2 * n, 1, 1);
	close(in);
	close(out);
}
END_TEST

/* Back and forth, then swapped out by the reverse mapping, then freed. */
START_TEST(aftermath)
{
	const size_t n = kbs[_i] / 4, total = 512;
	int fd = dev_open_all(), r;
	char *a = map_folios(kbs[_i], total, 1, 1);
	char *b = map_anon_aligned(total, PMD, 0), *t;
	long rss = status_kb(0, "RssAnon");

	for (r = 0; r < 51; r++) {
		expect_move(fd, b, a, total * PAGE, 0);
		t = a, a = b, b = t;
	}
	for (size_t i = 0; i < total; i += n)
		ck_assert(folio_whole(a + i * PAGE, n));
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - rss), 256);
	range_check(a, total, 1, 1);
	expect_ok(munmap(b, total * PAGE));
	swap_out(a, total);
	range_check(a, total, 1, 1);
	expect_ok(munmap(a, total * PAGE));
	ck_assert_int_le(status_kb(0, "RssAnon"), rss - (long)total * 4 + 256);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(whole, ARRAY_SIZE(kbs)),
	UTEST_LOOP(many, ARRAY_SIZE(kbs)),
	UTEST_LOOP(one_page, ARRAY_SIZE(kbs)),
	UTEST_LOOP(across_tables, ARRAY_SIZE(kbs)),
	UTEST_LOOP(populated, ARRAY_SIZE(kbs)),
	UTEST_LOOP(held, ARRAY_SIZE(kbs)),
	UTEST_LOOP_SLOW(aftermath, ARRAY_SIZE(kbs), 300),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(kbs); i++)
		if (mthp_available(kbs[i]))
			return utest_main("large", tests, ARRAY_SIZE(tests),
					  argc, argv);
	matrix_absent("large folio, all of it");
	matrix_absent("large folio, a part of it");
	return utest_skip_all("no large folios but huge pages");
}
