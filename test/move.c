// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that resident pages arrive whole and in place, are the same physical
 * pages, and leave nothing behind, for any size and alignment.
 */
#include "util.h"

/* One page: content, physical page, an empty source, a writable destination. */
START_TEST(one_page)
{
	int fd = dev_open_all();
	char *src = map_filled(1, 7, 1), *dst = map_anon(1);

	expect_move(fd, dst, src, PAGE, 0);
	page_check(dst, 7, 1);
	ck_assert(!page_populated(src));
	page_check_zero(src);
	page_fill(dst, 7, 2);
	page_fill(src, 9, 1);
	page_check(dst, 7, 2);
	page_check(src, 9, 1);
}
END_TEST

/* Nothing is copied: each page has the frame number it had. */
START_TEST(same_frames)
{
	enum { N = 700 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	static uint64_t pfn[N];
	int i;

	for (i = 0; i < N; i++)
		pfn[i] = page_pfn(src + i * PAGE);
	expect_move(fd, dst, src, N * PAGE, 0);
	for (i = 0; i < N; i++)
		ck_assert_uint_eq(page_pfn(dst + i * PAGE), pfn[i]);
	ck_assert_uint_eq(count_populated(src, N), 0);
	range_check(dst, N, 1, 1);
}
END_TEST

static const int sizes[] = {
	1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128,
	255, 256, 257, 510, 511, 512, 513, 514, 1000, 1023, 1024, 1025, 1535,
	1536, 2048, 3000, 4095, 4096,
};

/* Moves @n pages, whose neighbours on both sides must stay what they are. */
static void move_among_neighbours(int fd, size_t n)
{
	char *src = map_filled(n + 2, 100, 3), *dst = map_anon(n + 2);

	page_fill(dst, 1, 1);
	page_fill(dst + (n + 1) * PAGE, 2, 1);
	expect_move(fd, dst + PAGE, src + PAGE, n * PAGE, 0);
	range_check(dst + PAGE, n, 101, 3);
	page_check(dst, 1, 1);
	page_check(dst + (n + 1) * PAGE, 2, 1);
	page_check(src, 100, 3);
	page_check(src + (n + 1) * PAGE, 101 + n, 3);
	ck_assert_uint_eq(count_populated(src + PAGE, n), 0);
	munmap(src, (n + 2) * PAGE);
	munmap(dst, (n + 2) * PAGE);
}

START_TEST(size)
{
	move_among_neighbours(dev_open_all(), sizes[_i]);
}
END_TEST

START_TEST(random_size)
{
	int fd = dev_open_all();
	int i;

	for (i = 0; i < 30; i++)
		move_among_neighbours(fd, 1 + rnd_below(1500));
}
END_TEST

/* Three page tables' worth between any two positions in a page table. */
static void move_misaligned(int fd, size_t src_off, size_t dst_off)
{
	const size_t n = 1100;
	char *src = map_anon_aligned(n, PMD, src_off);
	char *dst = map_anon_aligned(n, PMD, dst_off);

	range_fill(src, n, 50, src_off);
	expect_move(fd, dst, src, n * PAGE, 0);
	range_check(dst, n, 50, src_off);
	ck_assert_uint_eq(count_populated(src, n), 0);
	munmap(src, n * PAGE);
	munmap(dst, n * PAGE);
}

START_TEST(misaligned_tables)
{
	static const int offs[] = { 0, 1, 2, 255, 256, 510, 511 };
	int fd = dev_open_all();

	for (size_t i = 0; i < ARRAY_SIZE(offs); i++)
		move_misaligned(fd, offs[_i], offs[i]);
}
END_TEST

START_TEST(random_misaligned_tables)
{
	int fd = dev_open_all();
	int i;

	for (i = 0; i < 25; i++)
		move_misaligned(fd, rnd_below(512), rnd_below(512));
}
END_TEST

/* Where a source page is, and which are holes, changes from page to page. */
START_TEST(random_sparse)
{
	enum { N = 3000 };
	static bool there[N];
	static uint64_t entries[N];
	int fd = dev_open_all();
	char *src = map_anon_aligned(N, PMD, rnd_below(512));
	char *dst = map_anon_aligned(N, PMD, rnd_below(512));
	size_t i, run = 0, pages = 0;
	bool fill = rnd() & 1;

	for (i = 0; i < N; i++) {
		if (!run--) {
			fill = !fill;
			run = rnd_below(rnd() & 1 ? 8 : 400);
		}
		there[i] = fill;
		pages += fill;
		if (fill)
			page_fill(src + i * PAGE, i, 5);
	}
	expect_move_holes(fd, dst, src, N * PAGE, UREMAP_MOVE_ALLOW_SRC_HOLES,
			  (N - pages) * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	ck_assert_uint_eq(count_populated(dst, N), pages);
	pagemap_read(dst, N, entries);
	for (i = 0; i < N; i++) {
		ck_assert_int_eq(!!(entries[i] & PM_POPULATED), there[i]);
		if (there[i])
			page_check(dst + i * PAGE, i, 5);
	}
}
END_TEST

/* Single pages, in random order, to random places. */
START_TEST(permutation)
{
	enum { N = 1024 };
	static int to[N], order[N];
	int fd = dev_open_all();
	char *src = map_filled(N, 0, 2), *dst = map_anon(N);
	int i, j, t;

	for (i = 0; i < N; i++)
		to[i] = order[i] = i;
	for (i = N - 1; i > 0; i--) {
		j = rnd_below(i + 1);
		t = to[i], to[i] = to[j], to[j] = t;
		j = rnd_below(i + 1);
		t = order[i], order[i] = order[j], order[j] = t;
	}
	for (i = 0; i < N; i++)
		expect_move(fd, dst + to[order[i]] * PAGE, src + order[i] * PAGE,
			    PAGE, 0);
	for (i = 0; i < N; i++)
		page_check(dst + to[i] * PAGE, i, 2);
	ck_assert_uint_eq(count_populated(src, N), 0);
}
END_TEST

/* Back and forth many times: memory and page tables do not grow. */
START_TEST(back_and_forth)
{
	enum { N = 600 };
	int fd = dev_open_all(), rounds = repeats(1500);
	char *a = map_filled(N, 1, 0), *b = map_anon(N), *t;
	long rss, pte, r;
	size_t touched;

	expect_move(fd, b, a, N * PAGE, 0);
	expect_move(fd, a, b, N * PAGE, 0);
	rss = status_kb(0, "RssAnon");
	pte = status_kb(0, "VmPTE");
	for (r = 1; r <= rounds; r++) {
		expect_move(fd, b, a, N * PAGE, 0);
		touched = rnd_below(N);
		page_check(b + touched * PAGE, 1 + touched, 0);
		t = a, a = b, b = t;
	}
	range_check(a, N, 1, 0);
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - rss), 256);
	ck_assert_int_eq(status_kb(0, "VmPTE"), pte);
}
END_TEST

/* A page that is written in each of its places keeps its last value. */
START_TEST(written_on_the_way)
{
	enum { N = 40 };
	static uint32_t seq[N];
	int fd = dev_open_all(), rounds = repeats(3000);
	char *a = map_filled(N, 1, 0), *b = map_anon(N), *t;
	int r, i;

	for (r = 1; r <= rounds; r++) {
		i = rnd_below(N);
		page_fill(a + i * PAGE, 1 + i, r);
		seq[i] = r;
		expect_move(fd, b, a, N * PAGE, 0);
		i = rnd_below(N);
		page_check(b + i * PAGE, 1 + i, seq[i]);
		t = a, a = b, b = t;
	}
	for (i = 0; i < N; i++)
		page_check(a + i * PAGE, 1 + i, seq[i]);
}
END_TEST

/* Source and destination may be parts of one mapping, side by side. */
START_TEST(within_one_mapping)
{
	int fd = dev_open_all();
	char *p = map_anon(1400);

	range_fill(p + 700 * PAGE, 700, 1, 1);
	expect_move(fd, p, p + 700 * PAGE, 700 * PAGE, 0);
	range_check(p, 700, 1, 1);
	expect_move(fd, p + 700 * PAGE, p, 700 * PAGE, 0);
	range_check(p + 700 * PAGE, 700, 1, 1);
	/* and one page down, page by page, as a compactor would */
	for (int i = 0; i < 700; i++)
		expect_move(fd, p + (699 + i) * PAGE, p + (700 + i) * PAGE, PAGE,
			    0);
	range_check(p + 699 * PAGE, 700, 1, 1);
}
END_TEST

/* Overlap is refused in both directions, by one page or by all, untouched. */
START_TEST(overlap)
{
	static const int shift[] = { 0, 1, -1, 7, -7, 9, -9 };
	int fd = dev_open_all();
	char *p = map_filled(30, 1, 1);

	for (size_t i = 0; i < ARRAY_SIZE(shift); i++)
		expect_no_move(fd, p + (10 + shift[i]) * PAGE, p + 10 * PAGE,
			       10 * PAGE, 0, EINVAL, OVERLAP, STOP_ANY);
	range_check(p, 30, 1, 1);
	/* touching is not overlapping */
	madvise(p, 10 * PAGE, MADV_DONTNEED);
	expect_move(fd, p, p + 10 * PAGE, 10 * PAGE, 0);
	range_check(p, 10, 11, 1);
}
END_TEST

/*
 * UFFDIO_MOVE ([0]) allows it, and goes page by page: a page that has moved onto a hole
 * of the source moves on from there.  UFFD_MOVE ([1]) does the same.
 */
START_TEST(overlap_page_by_page)
{
	int fd = dev_open_all(), uffd;
	char *p = map_anon(6);
	struct native_move m = {
		.dst = ADDR(p + 2 * PAGE), .src = ADDR(p), .len = 4 * PAGE,
		.mode = UREMAP_MOVE_ALLOW_SRC_HOLES,
	};
	struct uremap_uffd_move um = { .arg = ADDR(&m) };

	skip_if(!_i && !has_native_move(), "no UFFDIO_MOVE");
	uffd = uffd_open(_i ? 0 : UFFD_FEATURE_MOVE);
	um.uffd = uffd;
	page_fill(p, 1, 1);
	page_fill(p + PAGE, 2, 1);
	uffd_register(uffd, p, 6 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	if (_i)
		expect_ok(ioctl(fd, UREMAP_IOC_UFFD_MOVE, &um));
	else
		expect_ok(ioctl(uffd, NATIVE_UFFDIO_MOVE, &m));
	ck_assert_int_eq(m.move, 4 * PAGE);
	ck_assert_uint_eq(count_populated(p, 4), 0);
	range_check(p + 4 * PAGE, 2, 1, 1);
}
END_TEST

/* UFFD_MOVE: who waits could not be woken where the module cannot write: nothing moves. */
START_TEST(uffd_move_no_room)
{
	int fd = dev_open_all(), uffd = uffd_open(0);
	char *src = map_filled(1, 1, 1), *dst = map_anon(1);
	struct uremap_uffd_move *um = (void *)map_anon(1);
	struct native_move m = { .dst = ADDR(dst), .src = ADDR(src), .len = PAGE };

	uffd_register(uffd, dst, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	um->uffd = uffd;
	um->arg = ADDR(&m);
	expect_ok(mprotect(um, PAGE, PROT_READ));
	expect_errno(EFAULT, ioctl(fd, UREMAP_IOC_UFFD_MOVE, um));
	ck_assert(!page_populated(dst));
	page_check(src, 1, 1);
	/* without waking there is no need for it */
	m.mode = UREMAP_MOVE_DONTWAKE;
	expect_ok(ioctl(fd, UREMAP_IOC_UFFD_MOVE, um));
	page_check(dst, 1, 1);
}
END_TEST

/* A destination that never held anything, one that did, one between others. */
START_TEST(destination_history)
{
	int fd = dev_open_all();
	char *src, *dst;

	/* page tables and anon_vma there already */
	src = map_filled(20, 1, 1);
	dst = map_filled(20, 90, 1);
	madvise(dst, 20 * PAGE, MADV_DONTNEED);
	expect_move(fd, dst, src, 20 * PAGE, 0);
	range_check(dst, 20, 1, 1);
	/* neighbours there */
	src = map_filled(20, 1, 2);
	dst = map_filled(60, 90, 1);
	madvise(dst + 20 * PAGE, 20 * PAGE, MADV_DONTNEED);
	expect_move(fd, dst + 20 * PAGE, src, 20 * PAGE, 0);
	range_check(dst, 20, 90, 1);
	range_check(dst + 20 * PAGE, 20, 1, 2);
	range_check(dst + 40 * PAGE, 20, 130, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST(one_page),
	UTEST(same_frames),
	UTEST_LOOP(size, ARRAY_SIZE(sizes)),
	UTEST(random_size),
	UTEST_LOOP(misaligned_tables, 7),
	UTEST(random_misaligned_tables),
	UTEST_LOOP(random_sparse, 8),
	UTEST(permutation),
	UTEST_SLOW(back_and_forth, 400),
	UTEST_SLOW(written_on_the_way, 400),
	UTEST(within_one_mapping),
	UTEST(overlap),
	UTEST_LOOP(overlap_page_by_page, 2),
	UTEST(uffd_move_no_room),
	UTEST(destination_history),
};
UTEST_MAIN("move", tests)
