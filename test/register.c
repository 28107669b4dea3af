// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that exactly the registered addresses can be moved from and to,
 * however registrations were given, merged, split and taken away.
 */
#include "util.h"

#define SRC	UREMAP_RANGE_SRC
#define DST	UREMAP_RANGE_DST
#define BOTH	RIGHTS_BOTH

/* Each right is needed on its side, and only there; dst is looked at first. */
START_TEST(rights)
{
	const __u64 src_rights = _i & 3, dst_rights = _i >> 2;
	int fd = dev_open();
	char *src = map_filled(2, 1, 1), *dst = map_anon(2);

	if (src_rights)
		dev_register(fd, src, 2 * PAGE, src_rights);
	if (dst_rights)
		dev_register(fd, dst, 2 * PAGE, dst_rights);
	if (!(dst_rights & DST))
		expect_no_move(fd, dst, src, 2 * PAGE, 0, EINVAL,
			       DST_UNREGISTERED, ADDR(dst));
	else if (!(src_rights & SRC))
		expect_no_move(fd, dst, src, 2 * PAGE, 0, EINVAL,
			       SRC_UNREGISTERED, ADDR(src));
	else
		expect_move(fd, dst, src, 2 * PAGE, 0);
	range_check(dst_rights & DST && src_rights & SRC ? dst : src, 2, 1, 1);
}
END_TEST

/* One byte range missing anywhere, and nothing moves. */
START_TEST(all_or_nothing)
{
	enum { N = 40 };
	int fd = dev_open(), at;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	for (at = 0; at < N; at++) {
		dev_register(fd, src, N * PAGE, SRC);
		dev_register(fd, dst, N * PAGE, DST);
		dev_unregister(fd, src + at * PAGE, PAGE, SRC);
		expect_no_move(fd, dst, src, N * PAGE, 0, EINVAL,
			       SRC_UNREGISTERED, ADDR(src));
		dev_register(fd, src + at * PAGE, PAGE, SRC);
		dev_unregister(fd, dst + at * PAGE, PAGE, DST);
		expect_no_move(fd, dst, src, N * PAGE, 0, EINVAL,
			       DST_UNREGISTERED, ADDR(dst));
	}
	range_check(src, N, 1, 1);
	ck_assert_uint_eq(count_populated(dst, N), 0);
	dev_register(fd, dst + (N - 1) * PAGE, PAGE, DST);
	expect_move(fd, dst, src, N * PAGE, 0);
}
END_TEST

static void shuffle(int *v, int n)
{
	int i, j, t;

	for (i = 0; i < n; i++)
		v[i] = i;
	for (i = n - 1; i > 0; i--) {
		j = rnd_below(i + 1);
		t = v[i], v[i] = v[j], v[j] = t;
	}
}

/* Ranges registered page by page, in any order, are one range. */
START_TEST(merge)
{
	enum { N = 200 };
	int fd = dev_open(), order[N], i;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	dev_register(fd, dst, N * PAGE, DST);
	shuffle(order, N);
	for (i = 0; i < N; i++) {
		expect_no_move(fd, dst, src, N * PAGE, 0, EINVAL,
			       SRC_UNREGISTERED, ADDR(src));
		dev_register(fd, src + order[i] * PAGE, PAGE, SRC);
	}
	expect_move(fd, dst, src, N * PAGE, 0);
	range_check(dst, N, 1, 1);
}
END_TEST

/* What is taken away from the middle leaves both ends. */
START_TEST(split)
{
	int fd = dev_open();
	char *src = map_filled(30, 1, 1), *dst = map_anon(30);

	dev_register(fd, src, 30 * PAGE, BOTH);
	dev_register(fd, dst, 30 * PAGE, BOTH);
	dev_unregister(fd, src + 10 * PAGE, 10 * PAGE, SRC);
	expect_move(fd, dst, src, 10 * PAGE, 0);
	expect_move(fd, dst + 20 * PAGE, src + 20 * PAGE, 10 * PAGE, 0);
	expect_no_move(fd, dst + 10 * PAGE, src + 10 * PAGE, 10 * PAGE, 0,
		       EINVAL, SRC_UNREGISTERED, ADDR(src + 10 * PAGE));
	expect_no_move(fd, dst + 10 * PAGE, src + 19 * PAGE, PAGE, 0, EINVAL,
		       SRC_UNREGISTERED, ADDR(src + 19 * PAGE));
	/* DST was not taken away: the same range still takes */
	page_fill(dst + 15 * PAGE, 5, 5);
	expect_ok(madvise(src + 15 * PAGE, PAGE, MADV_DONTNEED));
	expect_move(fd, src + 15 * PAGE, dst + 15 * PAGE, PAGE, 0);
	page_check(src + 15 * PAGE, 5, 5);
}
END_TEST

/* Taking away across several ranges and gaps, and what was never there. */
START_TEST(unregister_across)
{
	int fd = dev_open(), i;
	char *src = map_filled(40, 1, 1), *dst = map_anon(40);

	dev_register(fd, dst, 40 * PAGE, DST);
	dev_unregister(fd, src, 40 * PAGE, BOTH);
	for (i = 0; i < 40; i += 4)
		dev_register(fd, src + i * PAGE, 2 * PAGE, SRC);
	dev_unregister(fd, src + 5 * PAGE, 30 * PAGE, SRC);
	dev_unregister(fd, src + 5 * PAGE, 30 * PAGE, SRC);
	for (i = 0; i < 40; i++) {
		bool there = i % 4 < 2 && (i < 5 || i >= 35);

		if (there)
			expect_move(fd, dst + i * PAGE, src + i * PAGE, PAGE, 0);
		else
			expect_no_move(fd, dst + i * PAGE, src + i * PAGE, PAGE,
				       0, EINVAL, SRC_UNREGISTERED,
				       ADDR(src + i * PAGE));
		page_check((there ? dst : src) + i * PAGE, 1 + i, 1);
	}
}
END_TEST

/* A registration speaks of addresses: it outlives what is mapped there. */
START_TEST(outlives_mapping)
{
	int fd = dev_open();
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);

	dev_register(fd, src, 4 * PAGE, SRC);
	dev_register(fd, dst, 4 * PAGE, DST);
	expect_ok(munmap(src, 4 * PAGE));
	expect_no_move(fd, dst, src, 4 * PAGE, 0, ENOENT, SRC_NO_VMA,
		       ADDR(src));
	map_again(src, 4);
	range_fill(src, 4, 9, 1);
	expect_move(fd, dst, src, 4 * PAGE, 0);
	range_check(dst, 4, 9, 1);
}
END_TEST

/* Nothing needs to be mapped to be registered, up to the end of everything. */
START_TEST(nothing_mapped)
{
	int fd = dev_open();
	__u64 end = dev_info(fd).va_end;
	char *p = map_nothing(4);

	dev_register(fd, p, 4 * PAGE, BOTH);
	ck_assert_int_eq(try_register(fd, 0, PAGE, BOTH), 0);
	ck_assert_int_eq(try_register(fd, end - PAGE, PAGE, BOTH), 0);
	ck_assert_int_eq(try_register(fd, 0, end, BOTH), 0);
	expect_no_move(fd, p, p + 2 * PAGE, PAGE, 0, ENOENT, DST_NO_VMA,
		       ADDR(p));
	ck_assert_int_eq(try_unregister(fd, 0, end, BOTH), 0);
	expect_no_move(fd, p, p + 2 * PAGE, PAGE, 0, EINVAL, DST_UNREGISTERED,
		       ADDR(p));
}
END_TEST

/* Each open file has its own registrations, a duplicate the same ones. */
START_TEST(per_file)
{
	int a = dev_open(), b = dev_open(), c = dup(a);
	char *src = map_filled(3, 1, 1), *dst = map_anon(3);

	dev_register(a, src, 3 * PAGE, SRC);
	dev_register(b, dst, 3 * PAGE, DST);
	expect_no_move(a, dst, src, PAGE, 0, EINVAL, DST_UNREGISTERED,
		       ADDR(dst));
	expect_no_move(b, dst, src, PAGE, 0, EINVAL, SRC_UNREGISTERED,
		       ADDR(src));
	dev_register(c, dst, 3 * PAGE, DST);
	expect_move(a, dst, src, PAGE, 0);
	close(a);
	expect_move(c, dst + PAGE, src + PAGE, PAGE, 0);
	range_check(dst, 2, 1, 1);
}
END_TEST

/*
 * Thousands of random registrations against a bitmap.  After each the bitmap
 * foretells what a random move says, whether it moves or not.
 */
START_TEST(random_ops)
{
	enum { N = 48, OPS = 6000 };
	static __u8 rights[2 * N];	/* first half a, second half b */
	int fd = dev_open(), all = dev_open_all();
	char *area = map_anon(2 * N), *src, *dst;
	int op, from, to, n, at, len, i;
	bool src_ok, dst_ok;
	__u64 bits;

	range_fill(area, N, 1, 1);
	for (op = 0; op < OPS; op++) {
		at = rnd_below(2 * N);
		len = 1 + rnd_below(2 * N - at < 12 ? 2 * N - at : 12);
		if (!rnd_below(50))
			at = 0, len = 2 * N;
		bits = 1 + rnd_below(3);
		if (rnd_below(100) < 45) {
			dev_unregister(fd, area + at * PAGE, len * PAGE, bits);
			for (i = at; i < at + len; i++)
				rights[i] &= ~bits;
		} else {
			dev_register(fd, area + at * PAGE, len * PAGE, bits);
			for (i = at; i < at + len; i++)
				rights[i] |= bits;
		}
		n = 1 + rnd_below(rnd() & 1 ? 3 : N / 2);
		from = rnd_below(N - n + 1);
		to = N + rnd_below(N - n + 1);
		src_ok = dst_ok = true;
		for (i = 0; i < n; i++) {
			src_ok &= !!(rights[from + i] & SRC);
			dst_ok &= !!(rights[to + i] & DST);
		}
		src = area + from * PAGE;
		dst = area + to * PAGE;
		if (!dst_ok) {
			expect_no_move(fd, dst, src, n * PAGE, 0, EINVAL,
				       DST_UNREGISTERED, ADDR(dst));
		} else if (!src_ok) {
			expect_no_move(fd, dst, src, n * PAGE, 0, EINVAL,
				       SRC_UNREGISTERED, ADDR(src));
		} else {
			expect_move(fd, dst, src, n * PAGE, 0);
			range_check(dst, n, 1 + from, 1);
			expect_move(all, src, dst, n * PAGE, 0);
		}
	}
	range_check(area, N, 1, 1);
	ck_assert_uint_eq(count_populated(area + N * PAGE, N), 0);
}
END_TEST

/*
 * max_ranges are accepted and not one more, merged ones count once, and what
 * is refused changes nothing.
 */
START_TEST(limit)
{
	int fd = dev_open();
	__u64 max = dev_info(fd).max_ranges, i, base = 1ULL << 32;
	char *src = map_filled(3, 1, 1), *dst = map_anon(3);

	skip_if(!access("/sys/kernel/debug/kmemleak", F_OK),
		"kmemleak takes too long to follow %llu ranges",
		(unsigned long long)max);
	ck_assert_int_eq(try_register(fd, base, PAGE, SRC), 0);
	ck_assert_int_eq(try_unregister(fd, base, PAGE, SRC), 0);
	/* every second page of addresses that nothing is mapped at */
	for (i = 0; i < max - 1; i++)
		if (try_register(fd, base + 2 * i * PAGE, PAGE, SRC))
			ck_abort_msg("range %llu of %llu: %s",
				     (unsigned long long)i,
				     (unsigned long long)max, strerror(errno));
	dev_register(fd, src, 3 * PAGE, SRC);
	ck_assert_int_eq(try_register(fd, base + 2 * i * PAGE, PAGE, SRC),
			 ENOSPC);
	ck_assert_int_eq(try_register(fd, ADDR(dst), 3 * PAGE, DST), ENOSPC);
	expect_no_move(fd, dst, src, PAGE, 0, EINVAL, DST_UNREGISTERED,
		       ADDR(dst));
	/* nor may one be split */
	ck_assert_int_eq(try_unregister(fd, ADDR(src + PAGE), PAGE, SRC),
			 ENOSPC);
	/* what is there already, what only grows or shrinks needs no more */
	ck_assert_int_eq(try_register(fd, base, PAGE, SRC), 0);
	ck_assert_int_eq(try_unregister(fd, ADDR(src), PAGE, SRC), 0);
	ck_assert_int_eq(try_register(fd, ADDR(src), PAGE, SRC), 0);
	/* filling a gap makes two into one, which leaves room for another */
	ck_assert_int_eq(try_register(fd, base + PAGE, PAGE, SRC), 0);
	dev_register(fd, dst, 3 * PAGE, DST);
	expect_move(fd, dst, src, 3 * PAGE, 0);
	range_check(dst, 3, 1, 1);
	ck_assert_int_eq(try_unregister(fd, 0, dev_info(fd).va_end, BOTH), 0);
	dev_register(fd, src, 3 * PAGE, BOTH);
}
END_TEST

struct unregistering {
	int fd;
	char *src, *dst;
	volatile bool stop;
};

#define UNREG_PAGES	64

static void *moves_for_ever(void *arg)
{
	struct unregistering *u = arg;
	char *from = u->src, *to = u->dst, *t;
	struct move_result r;

	while (!u->stop) {
		r = try_move(u->fd, to, from, UNREG_PAGES * PAGE, 0);
		if (!r.ret)
			t = from, from = to, to = t;
		else if (r.err != EINVAL || r.move != -EINVAL)
			ck_abort_msg("errno %d, move %lld, reason %s", r.err,
				     (long long)r.move, reason_name(r.reason));
	}
	return from;
}

/*
 * When UNREGISTER has returned, no move under way touches the range any more,
 * and while it runs a move is done as a whole or not at all.
 */
START_TEST(unregister_during_moves)
{
	struct unregistering u = { .fd = dev_open() };
	pthread_t t;
	char *at;
	int i, j;

	u.src = map_filled(UNREG_PAGES, 1, 1);
	u.dst = map_anon(UNREG_PAGES);
	t = thread_start(moves_for_ever, &u);
	for (i = 0; i < repeats(1500); i++) {
		dev_register(u.fd, u.src, UNREG_PAGES * PAGE, BOTH);
		dev_register(u.fd, u.dst, UNREG_PAGES * PAGE, BOTH);
		if (i % 16 == 0)
			usleep(500);
		dev_unregister(u.fd, i & 1 ? u.src : u.dst, UNREG_PAGES * PAGE,
			       BOTH);
		at = page_populated(u.src) ? u.src : u.dst;
		for (j = 0; j < 10; j++)
			ck_assert_uint_eq(count_populated(at, UNREG_PAGES),
					  UNREG_PAGES);
	}
	u.stop = true;
	at = thread_join(t);
	range_check(at, UNREG_PAGES, 1, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(rights, 16),
	UTEST(all_or_nothing),
	UTEST(merge),
	UTEST(split),
	UTEST(unregister_across),
	UTEST(outlives_mapping),
	UTEST(nothing_mapped),
	UTEST(per_file),
	UTEST_SLOW(random_ops, 300),
	UTEST_SLOW(limit, 600),
	UTEST_SLOW(unregister_during_moves, 300),
};
UTEST_MAIN("register", tests)
