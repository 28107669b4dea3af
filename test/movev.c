// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that MOVEV does with each segment what MOVE would do with it, one
 * after the other, whatever the segments have to do with each other, and that
 * segments between the same two mappings share one TLB flush.
 */
#include "util.h"

#define N	200

struct result {
	int ret, err;
	struct uremap_movev v;
};

static struct result try_movev(int fd, struct uremap_segment *segs,
			       unsigned int nr, __u64 mode, __u32 flags)
{
	struct result r = {
		.v = {
			.segs = ADDR(segs),
			.nr = nr,
			.seg_size = sizeof(*segs),
			.mode = mode,
			.flags = flags,
		},
	};

	errno = 0;
	r.ret = ioctl(fd, UREMAP_IOC_MOVEV, &r.v);
	r.err = r.ret ? errno : 0;
	return r;
}

static void check_movev(struct result r, int err, unsigned int done, __u64 move)
{
	ck_assert_int_eq(r.err, err);
	ck_assert_int_eq(r.ret, err ? -1 : 0);
	ck_assert_uint_eq(r.v.done, done);
	ck_assert_uint_eq(r.v.move, move);
}

static void shuffle(unsigned int *p, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		p[i] = i;
	for (unsigned int i = n; i > 1; i--) {
		unsigned int k = rnd_below(i), t = p[i - 1];

		p[i - 1] = p[k];
		p[k] = t;
	}
}

/* Single pages in random order from and to many page tables all arrive. */
START_TEST(scattered)
{
	const unsigned int nr = _i ? 3 * N : 64, tables = 24;
	int fd = dev_open_all();
	char *src = map_anon(tables * 512), *dst = map_anon(tables * 512);
	struct uremap_segment segs[3 * N];
	static unsigned int from[24 * 512], to[24 * 512];

	shuffle(from, tables * 512);
	shuffle(to, tables * 512);
	for (unsigned int i = 0; i < nr; i++) {
		page_fill(src + from[i] * PAGE, i, 7);
		segs[i] = seg(dst + to[i] * PAGE, src + from[i] * PAGE, 1);
	}
	check_movev(try_movev(fd, segs, nr, 0, 0), 0, nr, nr * PAGE);
	for (unsigned int i = 0; i < nr; i++) {
		ck_assert_int_eq(segs[i].move, PAGE);
		ck_assert_uint_eq(segs[i].reason, 0);
		page_check(dst + to[i] * PAGE, i, 7);
	}
	ck_assert_uint_eq(count_populated(src, tables * 512), 0);
	ck_assert_uint_eq(count_populated(dst, tables * 512), nr);
}
END_TEST

/*
 * 64 pages from 64 page tables to 64 others cause one TLB flush, whether these are
 * there already or have to be made.
 */
START_TEST(one_flush)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(64 * 512, PMD, 0);
	char *dst = map_anon_aligned(64 * 512, PMD, 0);
	struct uremap_segment segs[64];
	long flushes;

	for (int i = 0; i < 64; i++) {
		size_t at = i * 512 + (i * 37) % 512;

		page_fill(src + at * PAGE, i, 1);
		if (_i)
			page_fill(dst + (i * 512) * PAGE, i, 2);	/* a table */
		segs[i] = seg(dst + (i * 512 + 1 + i) * PAGE, src + at * PAGE, 1);
	}
	flushes = dev_stat("flushes");
	check_movev(try_movev(fd, segs, 64, 0, 0), 0, 64, 64 * PAGE);
	/* Lockdep follows 48 locks at a time: there 16 pairs of tables share. */
	ck_assert_int_eq(dev_stat("flushes") - flushes,
			 access("/proc/lockdep_stats", F_OK) ? 1 : 4);
	for (int i = 0; i < 64; i++)
		page_check(dst + (i * 512 + 1 + i) * PAGE, i, 1);
}
END_TEST

/* Tables are made ahead for what will be moved, and for no hole. */
START_TEST(no_table_ahead)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(512, PMD, 0);
	char *dst = map_anon_aligned(16 * 512, PMD, 0);
	struct uremap_segment segs[16];
	long before;

	for (int i = 0; i < 16; i++)
		segs[i] = seg(dst + i * PMD, src + i * PAGE, 1);
	page_fill(src, 1, 1);
	page_fill(src + 9 * PAGE, 9, 1);
	before = status_kb(0, "VmPTE");
	check_movev(try_movev(fd, segs, 16, UREMAP_MOVE_ALLOW_SRC_HOLES, 0), 0,
		    16, 16 * PAGE);
	/* two, and perhaps one for both of them to be in */
	ck_assert_int_le(status_kb(0, "VmPTE") - before, 3 * 4);
	page_check(dst, 1, 1);
	page_check(dst + 9 * PMD, 9, 1);
	ck_assert_uint_eq(count_populated(src, 512), 0);
	ck_assert_uint_eq(count_populated(dst, 16 * 512), 2);
}
END_TEST

/* A segment may take what the one before has brought, and so on. */
START_TEST(chain)
{
	int fd = dev_open_all();
	char *area = map_filled(1, 5, 9);
	char *all = map_anon(N + 1);
	struct uremap_segment segs[N];

	segs[0] = seg(all, area, 1);
	for (int i = 1; i < N; i++)
		segs[i] = seg(all + i * PAGE, all + (i - 1) * PAGE, 1);
	check_movev(try_movev(fd, segs, N, 0, 0), 0, N, N * PAGE);
	page_check(all + (N - 1) * PAGE, 5, 9);
	ck_assert_uint_eq(count_populated(all, N + 1), 1);
}
END_TEST

/* Two segments to the same place: the second finds it taken. */
START_TEST(same_destination)
{
	int fd = dev_open_all();
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);
	struct uremap_segment segs[] = {
		seg(dst, src, 1), seg(dst, src + PAGE, 1),
		seg(dst + PAGE, src + 2 * PAGE, 1),
	};

	check_movev(try_movev(fd, segs, 3, 0, UREMAP_MOVEV_CONTINUE), EAGAIN, 3,
		    2 * PAGE);
	ck_assert_int_eq(segs[1].move, -EEXIST);
	ck_assert_uint_eq(segs[1].reason, UREMAP_REASON_DST_BUSY);
	ck_assert_uint_eq(segs[1].error, EEXIST);
	ck_assert_uint_eq(segs[1].stop, ADDR(dst));
	page_check(dst, 1, 1);
	page_check(src + PAGE, 2, 1);
	page_check(dst + PAGE, 3, 1);
}
END_TEST

/* Two segments from the same place: the second finds it empty. */
START_TEST(same_source)
{
	int fd = dev_open_all();
	char *src = map_filled(2, 1, 1), *dst = map_anon(4);
	struct uremap_segment segs[] = {
		seg(dst, src, 1), seg(dst + PAGE, src, 1),
		seg(dst + 2 * PAGE, src + PAGE, 1),
	};

	check_movev(try_movev(fd, segs, 3, 0, 0), EAGAIN, 2, PAGE);
	ck_assert_int_eq(segs[1].move, -ENOENT);
	ck_assert_uint_eq(segs[1].reason, UREMAP_REASON_HOLE);
	ck_assert_uint_eq(segs[2].move, 0);
	page_check(dst, 1, 1);
	page_check(src + PAGE, 2, 1);
	ck_assert_uint_eq(count_populated(dst, 4), 1);
}
END_TEST

/* A page to where another has just left from, in a circle of three. */
START_TEST(rotate)
{
	int fd = dev_open_all();
	char *a = map_filled(3, 1, 4), *spare = map_anon(1);
	struct uremap_segment segs[] = {
		seg(spare, a, 1), seg(a, a + PAGE, 1),
		seg(a + PAGE, a + 2 * PAGE, 1), seg(a + 2 * PAGE, spare, 1),
	};

	check_movev(try_movev(fd, segs, 4, 0, 0), 0, 4, 4 * PAGE);
	page_check(a, 2, 4);
	page_check(a + PAGE, 3, 4);
	page_check(a + 2 * PAGE, 1, 4);
	ck_assert(!page_populated(spare));
}
END_TEST

/* First, second, around the groups that share a flush, last. */
static const unsigned int ends[] = { 0, 1, 63, 64, 65, N - 1 };

/* Without CONTINUE the first failure ends the call, at every place. */
START_TEST(stops)
{
	const unsigned int bad = ends[_i];
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct uremap_segment segs[N];

	for (unsigned int i = 0; i < N; i++)
		segs[i] = seg(dst + i * PAGE, src + i * PAGE, 1);
	page_fill(dst + bad * PAGE, 999, 1);
	check_movev(try_movev(fd, segs, N, 0, 0), bad ? EAGAIN : EEXIST, bad + 1,
		    bad * PAGE);
	ck_assert_uint_eq(segs[bad].reason, UREMAP_REASON_DST_BUSY);
	range_check(dst, bad, 1, 1);
	page_check(dst + bad * PAGE, 999, 1);
	range_check(src + bad * PAGE, N - bad, 1 + bad, 1);
}
END_TEST

/* With CONTINUE every segment has its own result. */
START_TEST(continues)
{
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct uremap_segment segs[N];
	unsigned int good = 0;

	for (unsigned int i = 0; i < N; i++) {
		segs[i] = seg(dst + i * PAGE, src + i * PAGE, 1);
		if (i % 7 == 3)
			segs[i].len = 5;
		else if (i % 7 == 5)
			ck_assert_int_eq(madvise(src + i * PAGE, PAGE,
						 MADV_DONTNEED), 0);
		else
			good++;
	}
	check_movev(try_movev(fd, segs, N, 0, UREMAP_MOVEV_CONTINUE), EAGAIN, N,
		    good * PAGE);
	for (unsigned int i = 0; i < N; i++) {
		if (i % 7 == 3) {
			ck_assert_int_eq(segs[i].move, -EINVAL);
			ck_assert_uint_eq(segs[i].reason,
					  UREMAP_REASON_ARGUMENT);
			page_check(src + i * PAGE, 1 + i, 1);
		} else if (i % 7 == 5) {
			ck_assert_int_eq(segs[i].move, -ENOENT);
			ck_assert_uint_eq(segs[i].reason, UREMAP_REASON_HOLE);
		} else {
			ck_assert_int_eq(segs[i].move, PAGE);
			page_check(dst + i * PAGE, 1 + i, 1);
		}
	}
}
END_TEST

/* Segments of any size, with holes, between any mappings: as MOVE has it. */
START_TEST(mixed)
{
	const size_t pages = 8 * 512;
	int fd = dev_open_all();
	char *src = map_anon(pages), *dst[3], *expect = map_anon(pages);
	struct uremap_segment segs[N];
	size_t at = 0, holes[N], off[N];
	unsigned int nr = 0;

	for (int k = 0; k < 3; k++)
		dst[k] = map_anon(pages);
	for (size_t i = 0; i < pages; i++)
		if (rnd_below(4)) {
			page_fill(src + i * PAGE, i, 3);
			expect[i * PAGE] = 1;
		}
	while (nr < N && at < pages) {
		size_t n = 1 + rnd_below(rnd_below(8) ? 20 : 700);

		n = n < pages - at ? n : pages - at;
		off[nr] = at;
		holes[nr] = n - count_populated(src + at * PAGE, n);
		segs[nr] = seg(dst[rnd_below(3)] + at * PAGE, src + at * PAGE, n);
		nr++;
		at += n;
	}
	check_movev(try_movev(fd, segs, nr, UREMAP_MOVE_ALLOW_SRC_HOLES, 0), 0,
		    nr, at * PAGE);
	for (unsigned int k = 0; k < nr; k++) {
		size_t n = segs[k].len / PAGE;

		ck_assert_int_eq(segs[k].move, segs[k].len);
		ck_assert_uint_eq(segs[k].holes, holes[k] * PAGE);
		for (size_t i = 0; i < n; i++) {
			char *page = (char *)(uintptr_t)segs[k].dst + i * PAGE;

			if (expect[(off[k] + i) * PAGE])
				page_check(page, off[k] + i, 3);
			else
				ck_assert(!page_populated(page));
		}
	}
	ck_assert_uint_eq(count_populated(src, at), 0);
}
END_TEST

/* Bad calls say so and change nothing. */
START_TEST(bad_calls)
{
	int fd = dev_open_all();
	char *src = map_filled(2, 1, 1), *dst = map_anon(2);
	struct uremap_segment segs[] = { seg(dst, src, 1) };
	struct uremap_movev good = {
		.segs = ADDR(segs), .nr = 1, .seg_size = sizeof(segs[0]),
	}, v;
	char *ro = map_anon_prot(1, PROT_READ | PROT_WRITE);
	struct { struct uremap_segment s; __u64 more; } big = { .s = segs[0] };

#define BAD(e, field, value) do {					\
	v = good; v.field = (value);					\
	v.done = 77;							\
	v.move = 78;							\
	expect_errno(e, ioctl(fd, UREMAP_IOC_MOVEV, &v));		\
	ck_assert_uint_eq(v.done, 0);					\
	ck_assert_uint_eq(v.move, 0);					\
	page_check(src, 1, 1);						\
	ck_assert(!page_populated(dst));				\
} while (0)
	BAD(EINVAL, nr, 0);
	BAD(EINVAL, nr, dev_info(fd).max_segments + 1);
	BAD(EINVAL, seg_size, 0);
	BAD(EINVAL, seg_size, sizeof(segs[0]) - 1);
	BAD(EINVAL, mode, 1ULL << 63);
	BAD(EINVAL, flags, 2);
	BAD(EINVAL, reserved[0], 1);
	BAD(EINVAL, reserved[1], 1);
	BAD(EFAULT, segs, 0);
	BAD(EFAULT, segs, ~0ULL - 100);
	memcpy(ro, segs, sizeof(segs));
	ck_assert_int_eq(mprotect(ro, PAGE, PROT_READ), 0);
	BAD(EFAULT, segs, ADDR(ro));

	big.more = 1;
	v = good;
	v.segs = ADDR(&big);
	v.seg_size = sizeof(big);
	expect_errno(E2BIG, ioctl(fd, UREMAP_IOC_MOVEV, &v));
	page_check(src, 1, 1);
	big.more = 0;
	expect_ok(ioctl(fd, UREMAP_IOC_MOVEV, &v));
	page_check(dst, 1, 1);
}
END_TEST

/* A later group cannot be read: what came before has been done, and no more is said. */
START_TEST(unreadable_later)
{
	const size_t nr = 2 * PAGE / sizeof(struct uremap_segment), first = nr / 2;
	int fd = dev_open_all();
	char *src = map_filled(nr, 1, 1), *dst = map_anon(nr);
	struct uremap_segment *segs = (void *)map_anon(2);
	struct uremap_movev v = { .segs = ADDR(segs), .nr = nr,
				  .seg_size = sizeof(*segs) };
	size_t i;

	for (i = 0; i < first; i++)
		segs[i] = seg(dst + i * PAGE, src + i * PAGE, 1);
	expect_ok(mprotect((char *)segs + PAGE, PAGE, PROT_NONE));
	expect_errno(EAGAIN, ioctl(fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_uint_eq(v.done, first);
	ck_assert_uint_eq(v.move, first * PAGE);
	range_check(dst, first, 1, 1);
	range_check(src + first * PAGE, nr - first, 1 + first, 1);
	/* again, now that nothing of it can be done: an error for each of the first */
	v.flags = UREMAP_MOVEV_CONTINUE;
	v.done = 0;
	expect_errno(EFAULT, ioctl(fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_uint_eq(v.done, first);
	ck_assert_uint_eq(v.move, 0);
}
END_TEST

/* The segments move away, and nobody brings their page back: no results, no word of any. */
START_TEST(results_moved_away)
{
	int fd = dev_open_all(), uffd = uffd_open(UFFD_FEATURE_SIGBUS);
	char *src = map_filled(2, 1, 1), *dst = map_anon(2);
	struct uremap_segment *segs = (void *)(src + PAGE);
	struct uremap_movev v = { .segs = ADDR(segs), .nr = 2,
				  .seg_size = sizeof(*segs) };

	uffd_register(uffd, src, 2 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	segs[0] = seg(dst, src, 1);
	segs[1] = seg(dst + PAGE, src + PAGE, 1);
	expect_errno(EAGAIN, ioctl(fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_uint_eq(v.done, 0);
	ck_assert_uint_eq(v.move, 2 * PAGE);
	page_check(dst, 1, 1);
	ck_assert_uint_eq(count_populated(src, 2), 0);
	segs = (void *)(dst + PAGE);
	ck_assert_uint_eq(segs[0].dst, ADDR(dst));
}
END_TEST

/* As many segments as allowed in one call. */
START_TEST(most)
{
	int fd = dev_open_all();
	unsigned int nr = dev_info(fd).max_segments;
	struct uremap_segment *segs = calloc(nr, sizeof(*segs));
	char *a = map_filled(1, 8, 8), *b = map_anon(1);

	ck_assert(segs);
	for (unsigned int i = 0; i < nr; i++)
		segs[i] = i & 1 ? seg(a, b, 1) : seg(b, a, 1);
	check_movev(try_movev(fd, segs, nr, 0, 0), 0, nr, nr * PAGE);
	page_check(nr & 1 ? b : a, 8, 8);
}
END_TEST

/* Nor for a segment that is not in order, though it has something to move. */
START_TEST(no_table_for_wrong)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(512, PMD, 0);
	char *dst = map_anon_aligned(16 * 512, PMD, 0);
	struct uremap_segment segs[16];
	struct result r;
	long before;

	range_fill(src, 16, 1, 1);
	for (int i = 0; i < 16; i++) {
		segs[i] = seg(dst + i * PMD, src + i * PAGE, 1);
		segs[i].len += i > 0;
	}
	before = status_kb(0, "VmPTE");
	r = try_movev(fd, segs, 16, 0, 0);
	ck_assert_int_eq(r.err, EAGAIN);
	ck_assert_uint_eq(r.v.move, PAGE);
	ck_assert_uint_eq(segs[1].reason, UREMAP_REASON_ARGUMENT);
	ck_assert_int_le(status_kb(0, "VmPTE") - before, 2 * 4);
	page_check(dst, 1, 1);
	range_check(src + PAGE, 15, 2, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(scattered, 2),
	UTEST_LOOP(one_flush, 2),
	UTEST(no_table_ahead),
	UTEST(no_table_for_wrong),
	UTEST(chain),
	UTEST(same_destination),
	UTEST(same_source),
	UTEST(rotate),
	UTEST_LOOP(stops, ARRAY_SIZE(ends)),
	UTEST(continues),
	UTEST(mixed),
	UTEST(bad_calls),
	UTEST(unreadable_later),
	UTEST(results_moved_away),
	UTEST(most),
};
UTEST_MAIN("movev", tests)
