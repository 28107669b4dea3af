// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves that whatever way a page is moved it can be found from its frame afterwards,
 * which nothing but unmapping it shows: all of it is swapped out, and is right when it
 * is back (C14; B-present, B-folio, B-thp).  Also in a mapping whose offset is not that
 * of its address, as mremap() leaves it.  And that by each of these ways the entry says
 * what it has to: dirty, accessed or not, soft-dirty, write-protected (B-wp, C34).
 */
#include "util_state.h"

enum { LIST = 64, ID = 300 };

/* Maps @n pages, aligned, without page tables, at an address that is not its offset's. */
static char *map_displaced(size_t n)
{
	char *old = map_anon_aligned(n + 512, PMD, 0);
	char *new = map_anon_aligned(n + 512, PMD, 0);

	/* one page is enough to keep the offset, and it is not in the way */
	page_fill(old + (n + 511) * PAGE, 1, 1);
	map_shift(old, new, n + 512);
	return new;
}

static char *small(size_t n)
{
	return map_filled(n, ID, 1);
}

/* Clean of soft-dirty, so read-only: such entries are built anew. */
static char *track(char *p)
{
	ck_assert_int_eq(file_write("/proc/self/clear_refs", "4"), 0);
	return p;
}

static char *tracked(size_t n)
{
	return track(small(n));
}

static char *huge(size_t n)
{
	return map_thp(n / 512, ID, 1);
}

static char *huge_tracked(size_t n)
{
	return track(huge(n));
}

/* Splitting write-protects, and before 5.19 that has to be undone by a write. */
static char *huge_by_small(size_t n)
{
	char *p = huge(n);

	split_mapping(p);
	if (!kernel_has_pae())
		range_fill(p, n, ID, 1);
	return p;
}

static char *folios(size_t n)
{
	return map_folios(64, n, ID, 1);
}

static const struct way {
	const char *name;
	char *(*map)(size_t n);
	size_t pages;
	size_t seg;		/* pages of a segment of MOVEV; 0: MOVE */
	size_t at;		/* page of the destination */
	bool table;		/* the destination has a page table */
	bool splits;		/* the huge page has to be split */
} ways[] = {
	{ "a page", small, 1 },
	{ "some pages", small, 16 },
	{ "some pages, built anew", tracked, 16 },
	{ "pages of several tables", small, 1200, .at = 300 },
	{ "single pages of a list", small, 2 * LIST, 1 },
	{ "single pages of a list, built anew", tracked, 2 * LIST, 1 },
	{ "segments of a list", small, 3 * LIST, 3 },
	{ "segments of a list, several tables", small, 1200, 100, .at = 470 },
	{ "a huge page", huge, 512 },
	{ "a huge page, built anew", huge_tracked, 512 },
	{ "huge pages of a list", huge, 1024, 512 },
	{ "a huge page into a table", huge, 512, .table = true },
	{ "a huge page, misaligned", huge, 512, .at = 5, .splits = true },
	{ "a huge page in pieces", huge, 512, 64, .splits = true },
	{ "a huge page mapped by small entries", huge_by_small, 512 },
	{ "large folios", folios, 512 },
	{ "large folios, several tables", folios, 1024, .at = 16 },
	{ "large folios of a list", folios, 512, 32 },
	{ "large folios cut", folios, 64, .at = 5 },
};

static void move_list(int fd, char *dst, char *src, size_t pages, size_t each,
		      __u64 mode)
{
	size_t nr = pages / each, k;
	struct uremap_segment segs[2 * LIST];
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = nr, .seg_size = sizeof(*segs),
		.mode = mode,
	};

	ck_assert_uint_le(nr, ARRAY_SIZE(segs));
	for (k = 0; k < nr; k++)
		segs[k] = seg(dst + k * each * PAGE, src + k * each * PAGE, each);
	expect_ok(ioctl(fd, UREMAP_IOC_MOVEV, &v));
}

static char *map_dst(const struct way *w, bool displaced)
{
	size_t room = w->at + w->pages;
	char *dst = displaced ? map_displaced(room) : map_anon_aligned(room, PMD, 0);

	if (w->table) {
		page_fill(dst + PAGE, 1, 1);
		expect_ok(madvise(dst + PAGE, PAGE, MADV_DONTNEED));
	}
	return dst + w->at * PAGE;
}

static void move_by(const struct way *w, char *dst, char *src, __u64 mode)
{
	int fd = dev_open_all();

	pin_cpu(0);
	test_at("%s", w->name);
	if (w->seg)
		move_list(fd, dst, src, w->pages, w->seg, mode);
	else
		expect_move(fd, dst, src, w->pages * PAGE, mode);
}

static void moved_and_swapped(const struct way *w, bool displaced)
{
	char *src = w->map(w->pages), *dst = map_dst(w, displaced);

	move_by(w, dst, src, 0);
	range_check(dst, w->pages, ID, 1);
	swap_out(dst, w->pages);
	range_check(dst, w->pages, ID, 1);
	ck_assert_uint_eq(count_populated(src, w->pages), 0);
}

START_TEST(here)
{
	moved_and_swapped(&ways[_i], false);
}
END_TEST

START_TEST(displaced)
{
	moved_and_swapped(&ways[_i], true);
}
END_TEST

/* Written, so dirty and accessed; nobody touches the pages before they are looked at. */
START_TEST(dirty)
{
	const struct way *w = &ways[_i];
	char *src = w->map(w->pages), *dst = map_dst(w, false);

	move_by(w, dst, src, 0);
	ck_assert_int_eq(smaps_kb(dst, "Private_Dirty"), w->pages * 4);
	/* the migration entries of a split did not tell before 6.1 */
	if (!w->splits || kernel_at_least(6, 1))
		ck_assert_int_eq(smaps_kb(dst, "Referenced"), w->pages * 4);
}
END_TEST

/* Not touched since that was asked: a move is no touch, but is seen as a change. */
START_TEST(untouched)
{
	const struct way *w = &ways[_i];
	char *src = w->map(w->pages), *dst = map_dst(w, false);
	bool tracks = pagemap(map_filled(1, 1, 1)) & PM_SOFT_DIRTY;

	ck_assert_int_eq(file_write("/proc/self/clear_refs", "1"), 0);
	track(src);
	move_by(w, dst, src, 0);
	ck_assert_int_eq(smaps_kb(dst, "Private_Dirty"), w->pages * 4);
	ck_assert_int_eq(smaps_kb(dst, "Referenced"), 0);
	if (tracks)
		ck_assert_uint_eq(count_pages(dst, w->pages, PM_SOFT_DIRTY), w->pages);
}
END_TEST

/* Protected on the way, or before: every page of it is, at its place. */
START_TEST(write_protected)
{
	static const __u64 modes[] = { UREMAP_MOVE_WP, UREMAP_MOVE_KEEP_WP };
	const struct way *w = &ways[_i / 2];
	char *src = w->map(w->pages), *dst = map_dst(w, false);
	int uffd = wp_open(0);

	uffd_register(uffd, dst, w->pages * PAGE, UFFDIO_REGISTER_MODE_WP);
	if (_i % 2) {
		uffd_register(uffd, src, w->pages * PAGE, UFFDIO_REGISTER_MODE_WP);
		uffd_wp(uffd, src, w->pages * PAGE, true);
	}
	move_by(w, dst, src, modes[_i % 2]);
	check_wp_bits(dst, w->pages, true);
	range_check(dst, w->pages, ID, 1);
	expect_trap(uffd, dst + (w->pages - 1) * PAGE, ID + w->pages - 1, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(here, ARRAY_SIZE(ways)),
	UTEST_LOOP(displaced, ARRAY_SIZE(ways)),
	UTEST_LOOP(dirty, ARRAY_SIZE(ways)),
	UTEST_LOOP(untouched, ARRAY_SIZE(ways)),
	UTEST_LOOP(write_protected, 2 * ARRAY_SIZE(ways)),
};
UTEST_MAIN("installed", tests)
