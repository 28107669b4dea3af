// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves B-marker-src, B-marker-dst, B-poison and B-guard: entries that hold no
 * page but a note are honoured on both sides, none is overwritten, moved or
 * dropped, and each refusal names its own reason.
 */
#include "util_state.h"

#define HOLES		UREMAP_MOVE_ALLOW_SRC_HOLES
#define MODE_WP		UFFDIO_REGISTER_MODE_WP
#define MODE_MISSING	UFFDIO_REGISTER_MODE_MISSING

/* userfaultfd that can protect holes (6.4) */
static int marker_open(void)
{
	return wp_open(UFFD_FEATURE_WP_UNPOPULATED);
}

static int poison_open(void)
{
	return uffd_open(UFFD_FEATURE_POISON);
}

static bool has_poison(void)
{
	return uffd_features() & UFFD_FEATURE_POISON;
}

static bool has_markers(void)
{
	return uffd_features() & UFFD_FEATURE_WP_UNPOPULATED;
}

static bool try_guard(char *start, size_t pages)
{
	return !madvise(start, pages * PAGE, MADV_GUARD_INSTALL);
}

static bool has_guards(void)
{
	return try_guard(map_anon(1), 1);
}

static void guard(char *start, size_t pages)
{
	skip_if(!try_guard(start, pages), "no guard pages: %s", strerror(errno));
}

/* Pages proper: pagemap shows a marker as if it were swapped out. */
static size_t count_present(const char *start, size_t pages)
{
	return count_pages(start, pages, PM_PRESENT);
}

/* Reading what the page holds: false if there is nothing to read. */
static bool readable(const char *page)
{
	int fds[2];
	bool ok;

	expect_ok(pipe(fds));
	ok = write(fds[1], page, 1) == 1;
	close(fds[0]);
	close(fds[1]);
	return ok;
}

/* ---- write-protected holes -------------------------------------------- */

/* B-marker-src: a hole, and the protection stays behind. */
START_TEST(wp_at_source)
{
	enum { N = 30 };
	int fd = dev_open_all(), uffd;
	char *src = map_anon(N), *dst = map_anon(N);
	struct move_result r;

	if (!has_markers()) {
		matrix_absent("write-protected hole");
		matrix_absent("write-protected hole, ALLOW_SRC_HOLES");
	}
	uffd = marker_open();
	range_fill(src, 10, 1, 1);
	range_fill(src + 20 * PAGE, 10, 21, 1);
	uffd_register(uffd, src, N * PAGE, MODE_WP);
	uffd_wp(uffd, src + 10 * PAGE, 10 * PAGE, true);
	check_wp_bits(src + 10 * PAGE, 10, true);
	r = matrix_move("write-protected hole", fd, dst + 12 * PAGE,
			src + 12 * PAGE, PAGE, 0);
	expect_result(r, REFUSED(ENOENT, SRC_WP_MARKER),
		      .stop = ADDR(src + 12 * PAGE));
	r = matrix_move("write-protected hole, ALLOW_SRC_HOLES", fd,
			dst + 10 * PAGE, src + 10 * PAGE, 10 * PAGE, HOLES);
	expect_result(r, .done = 10 * PAGE, .holes = 10 * PAGE);
	expect_move_part(fd, dst, src, N * PAGE, 0, 10 * PAGE, ENOENT,
			 SRC_WP_MARKER, ADDR(src + 10 * PAGE));
	expect_move_holes(fd, dst + 10 * PAGE, src + 10 * PAGE, 20 * PAGE, HOLES,
			  10 * PAGE);
	range_check(dst, 10, 1, 1);
	range_check(dst + 20 * PAGE, 10, 21, 1);
	ck_assert_uint_eq(count_present(dst + 10 * PAGE, 10), 0);
	/* the first write to each is still an event */
	check_wp_bits(src + 10 * PAGE, 10, true);
	page_check_zero(src + 10 * PAGE);
	uffd_wp(uffd, src + 10 * PAGE, PAGE, true);
	check_wp_bits(src + 10 * PAGE, 1, true);
}
END_TEST

/* With KEEP_WP a marker is a hole still: there is nothing to carry. */
START_TEST(wp_at_source_keep)
{
	int fd = dev_open_all(), uffd = marker_open();
	char *src = map_anon(2), *dst = map_anon(2);

	uffd_register(uffd, src, 2 * PAGE, MODE_WP);
	uffd_register(uffd, dst, 2 * PAGE, MODE_WP);
	uffd_wp(uffd, src, 2 * PAGE, true);
	expect_move_holes(fd, dst, src, 2 * PAGE, HOLES | UREMAP_MOVE_KEEP_WP,
			  2 * PAGE);
	check_wp_bits(src, 2, true);
	check_wp_bits(dst, 2, false);
}
END_TEST

/* B-marker-dst: filled, and protected as the marker said. */
START_TEST(wp_at_destination)
{
	enum { N = 60 };
	int fd = dev_open_all(), uffd, i;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct move_result r;

	if (!has_markers())
		matrix_absent("into a write-protected hole");
	uffd = marker_open();
	uffd_register(uffd, dst, N * PAGE, MODE_WP | (_i ? MODE_MISSING : 0));
	for (i = 0; i < N; i += 2)
		uffd_wp(uffd, dst + i * PAGE, PAGE, true);
	r = matrix_move("into a write-protected hole", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	for (i = 0; i < N; i++)
		check_wp_bits(dst + i * PAGE, 1, i % 2 == 0);
	range_check(dst, N, 1, 1);
	for (i = 0; i < N; i += 12) {
		expect_trap(uffd, dst + i * PAGE, 1 + i, 1);
		expect_no_trap(uffd, dst + (i + 1) * PAGE, 2 + i, 1);
	}
	ck_assert_uint_eq(count_present(src, N), 0);
}
END_TEST

/* A hole at src moved over a marker at dst leaves the marker. */
START_TEST(wp_on_both)
{
	int fd = dev_open_all(), uffd = marker_open();
	char *src = map_anon(4), *dst = map_anon(4);

	uffd_register(uffd, src, 4 * PAGE, MODE_WP);
	uffd_register(uffd, dst, 4 * PAGE, MODE_WP);
	page_fill(src + PAGE, 2, 1);
	uffd_wp(uffd, src + 2 * PAGE, 2 * PAGE, true);
	uffd_wp(uffd, dst, 4 * PAGE, true);
	expect_move_holes(fd, dst, src, 4 * PAGE, HOLES, 3 * PAGE);
	check_wp_bits(dst, 4, true);
	check_wp_bits(src, 2, false);
	check_wp_bits(src + 2 * PAGE, 2, true);
	ck_assert_uint_eq(count_present(dst, 4), 1);
	expect_trap(uffd, dst + PAGE, 2, 1);
}
END_TEST

/* Markers of the size of a page table. */
START_TEST(wp_under_huge_page)
{
	int fd = dev_open_all(), uffd = marker_open();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);

	uffd_register(uffd, dst, PMD, MODE_WP);
	if (_i)
		uffd_wp(uffd, dst + 9 * PAGE, PAGE, true);
	else
		uffd_wp(uffd, dst, PMD, true);
	expect_move(fd, dst, src, PMD, 0);
	check_wp_bits(dst, 9, !_i);
	check_wp_bits(dst + 9 * PAGE, 1, true);
	check_wp_bits(dst + 10 * PAGE, HPAGES - 10, !_i);
	range_check(dst, HPAGES, 1, 1);
	expect_trap(uffd, dst + 9 * PAGE, 10, 1);
	ck_assert_uint_eq(count_present(src, HPAGES), 0);
}
END_TEST

/* ---- poison and guards ------------------------------------------------- */

enum note { POISON, GUARD };

/*
 * Puts a note on page @at of a mapping of @pages; skips, telling the matrix,
 * without that note.
 */
static void put_note(enum note note, char *start, size_t pages, size_t at,
		     const char *state)
{
	char *page = start + at * PAGE;
	int uffd;

	if (note == GUARD) {
		if (state && !has_guards())
			matrix_absent(state);
		guard(page, 1);
		return;
	}
	if (state && !has_poison())
		matrix_absent(state);
	uffd = poison_open();
	uffd_register(uffd, start, pages * PAGE, MODE_MISSING);
	ck_assert_int_eq(try_uffd_poison(uffd, page, PAGE), 0);
}

/* At src: EFAULT, also where holes are allowed, and what is before it moved. */
START_TEST(note_at_source)
{
	static const char *const states[] = { "poisoned by UFFDIO_POISON", "guard page" };
	const __u32 reason = _i == GUARD ? UREMAP_REASON_SRC_GUARD :
					   UREMAP_REASON_SRC_POISON;
	int fd = dev_open_all();
	char *src = map_filled(10, 1, 1), *dst = map_anon(10);
	struct move_result r;

	expect_ok(madvise(src + 4 * PAGE, PAGE, MADV_DONTNEED));
	put_note(_i, src, 10, 4, states[_i]);
	r = matrix_move(states[_i], fd, dst, src + 4 * PAGE, PAGE, HOLES);
	expect_result(r, .error = EFAULT, .reason = reason,
		      .stop = ADDR(src + 4 * PAGE));
	expect_move_as(fd, dst, src, 10 * PAGE, HOLES, .done = 4 * PAGE,
		       .error = EFAULT, .reason = reason,
		       .stop = ADDR(src + 4 * PAGE));
	range_check(dst, 4, 1, 1);
	range_check(src + 5 * PAGE, 5, 6, 1);
	ck_assert(!readable(src + 4 * PAGE));
	ck_assert_uint_eq(count_present(dst + 4 * PAGE, 6), 0);
	expect_move(fd, dst + 5 * PAGE, src + 5 * PAGE, 5 * PAGE, 0);
	range_check(dst + 5 * PAGE, 5, 6, 1);
}
END_TEST

/* At dst: EEXIST, and it still says no to whoever reads. */
START_TEST(note_at_destination)
{
	static const char *const states[] = {
		"onto poison by UFFDIO_POISON", "onto a guard page",
	};
	const __u32 reason = _i == GUARD ? UREMAP_REASON_DST_GUARD :
					   UREMAP_REASON_DST_POISON;
	int fd = dev_open_all();
	char *src = map_filled(10, 1, 1), *dst = map_anon(10);
	struct move_result r;

	put_note(_i, dst, 10, 4, states[_i]);
	r = matrix_move(states[_i], fd, dst + 4 * PAGE, src, PAGE, 0);
	expect_result(r, .error = EEXIST, .reason = reason,
		      .stop = ADDR(dst + 4 * PAGE));
	expect_move_as(fd, dst, src, 10 * PAGE, 0, .done = 4 * PAGE,
		       .error = EEXIST, .reason = reason,
		       .stop = ADDR(dst + 4 * PAGE));
	range_check(dst, 4, 1, 1);
	range_check(src + 4 * PAGE, 6, 5, 1);
	ck_assert(!readable(dst + 4 * PAGE));
	/* a hole does not pass over it either */
	expect_ok(madvise(src + 4 * PAGE, PAGE, MADV_DONTNEED));
	expect_move_as(fd, dst + 4 * PAGE, src + 4 * PAGE, 2 * PAGE, HOLES,
		       .error = EEXIST, .reason = reason,
		       .stop = ADDR(dst + 4 * PAGE));
	ck_assert(!readable(dst + 4 * PAGE));
}
END_TEST

/* Notes on both sides: dst is looked at first, as upstream does. */
START_TEST(notes_on_both)
{
	int fd = dev_open_all();
	char *src = map_anon(2), *dst = map_anon(2);

	page_fill(src, 1, 1);
	put_note(_i & 1, src, 2, 1, NULL);
	put_note(_i >> 1, dst, 2, 1, NULL);
	expect_move_as(fd, dst, src, 2 * PAGE, HOLES, .done = PAGE,
		       .error = EEXIST, .stop = ADDR(dst + PAGE),
		       .reason = _i >> 1 ? UREMAP_REASON_DST_GUARD :
					   UREMAP_REASON_DST_POISON);
	ck_assert(!readable(src + PAGE));
	ck_assert(!readable(dst + PAGE));
}
END_TEST

/* Under a huge page: refused before it is touched. */
START_TEST(note_under_huge_page)
{
	const __u32 reason = _i == GUARD ? UREMAP_REASON_DST_GUARD :
					   UREMAP_REASON_DST_POISON;
	static uint64_t frames[HPAGES];
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);

	put_note(_i, dst, HPAGES, 300, NULL);
	frames_read(src, HPAGES, frames);
	expect_move_as(fd, dst, src, PMD, 0, .error = EEXIST, .reason = reason,
		       .stop = ADDR(dst + 300 * PAGE));
	check_frames(src, HPAGES, frames);
	ck_assert_int_eq(huge_kb(src), PMD / 1024);
	ck_assert_uint_eq(count_present(dst, HPAGES), 0);
	ck_assert(!readable(dst + 300 * PAGE));
}
END_TEST

/* ---- swap entries in the way ------------------------------------------ */

/* A page that is swapped out is there, whether or not the source is. */
START_TEST(swap_at_destination)
{
	int fd = dev_open_all();
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);

	page_fill(dst + 2 * PAGE, 9, 1);
	swap_out(dst + 2 * PAGE, 1);
	if (_i)
		swap_out(src, 4);
	expect_move_part(fd, dst, src, 4 * PAGE, 0, 2 * PAGE, EEXIST, DST_BUSY,
			 ADDR(dst + 2 * PAGE));
	range_check(dst, 2, 1, 1);
	page_check(dst + 2 * PAGE, 9, 1);
	range_check(src + 2 * PAGE, 2, 3, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST(wp_at_source),
	UTEST(wp_at_source_keep),
	UTEST_LOOP(wp_at_destination, 2),
	UTEST(wp_on_both),
	UTEST_LOOP(wp_under_huge_page, 2),
	UTEST_LOOP(note_at_source, 2),
	UTEST_LOOP(note_at_destination, 2),
	UTEST_LOOP(notes_on_both, 4),
	UTEST_LOOP(note_under_huge_page, 2),
	UTEST_LOOP(swap_at_destination, 2),
};
UTEST_MAIN("markers", tests)
