// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves B-folio, B-folio-part and B-subpage for huge pages whose mapping has
 * been split while the folio was not: this is how every kernel has large folios
 * mapped by single entries.
 */
#include "util_state.h"

/* All of it: one folio still, the same frames. */
START_TEST(whole)
{
	static uint64_t frames[HPAGES];
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst;
	struct move_result r;

	dst = map_anon_aligned(HPAGES, PMD, 0);
	if (_i) {
		dst[0] = 1;
		expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	}
	split_mapping(src + 40 * PAGE);
	ck_assert_int_eq(huge_kb(src), 0);
	ck_assert(folio_whole(src, HPAGES));
	frames_read(src, HPAGES, frames);
	r = matrix_move("huge page, mapped by small entries", fd, dst, src,
			PMD, 0);
	expect_result(r, .done = PMD);
	check_frames(dst, HPAGES, frames);
	ck_assert(folio_whole(dst, HPAGES));
	ck_assert_uint_eq(count_populated(src, HPAGES), 0);
	range_check(dst, HPAGES, 1, 1);
	range_fill(dst, HPAGES, 1, 2);
	ck_assert(folio_whole(dst, HPAGES));
	expect_ok(munmap(src, PMD));
	swap_out(dst, HPAGES);
	range_check(dst, HPAGES, 1, 2);
}
END_TEST

/* Pages of it, to places of all kinds. */
START_TEST(scattered)
{
	enum { N = 512 };
	int fd = dev_open_all(), i, at;
	char *src = map_thp(1, 1, 1), *dst = map_anon(N);

	split_mapping(src + 5 * PAGE);
	for (i = 0; i < N; i++) {
		at = i * 77 % N;
		expect_move(fd, dst + i * PAGE, src + at * PAGE, PAGE,
			    UREMAP_MOVE_ALLOW_SRC_HOLES);
		page_check(dst + i * PAGE, 1 + at, 1);
	}
	ck_assert_uint_eq(count_populated(src, N), 0);
	ck_assert(folio_none(dst, N));
}
END_TEST

/* Part of it has been unmapped: split, and what is there moves. */
START_TEST(partly_unmapped)
{
	int fd = dev_open_all(), i;
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	struct move_result r;

	expect_ok(madvise(src + 7 * PAGE, 3 * PAGE, MADV_DONTNEED));
	r = matrix_move("large folio, partly unmapped", fd, dst, src, PMD,
			UREMAP_MOVE_ALLOW_SRC_HOLES);
	expect_result(r, .done = PMD, .holes = 3 * PAGE);
	for (i = 0; i < (int)HPAGES; i++) {
		if (i >= 7 && i < 10)
			ck_assert(!page_populated(dst + i * PAGE));
		else
			page_check(dst + i * PAGE, 1 + i, 1);
	}
}
END_TEST

/* Lies in a mapping whose pages are no longer side by side: split, and moved. */
START_TEST(out_of_order)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	char *t = map_anon(1);

	/* pages 3 and 4 change places */
	expect_move(fd, t, src + 3 * PAGE, PAGE, 0);
	expect_move(fd, src + 3 * PAGE, src + 4 * PAGE, PAGE, 0);
	expect_move(fd, src + 4 * PAGE, t, PAGE, 0);
	expect_move(fd, dst, src, PMD, 0);
	range_check(dst, 3, 1, 1);
	page_check(dst + 3 * PAGE, 5, 1);
	page_check(dst + 4 * PAGE, 4, 1);
	range_check(dst + 5 * PAGE, HPAGES - 5, 6, 1);
}
END_TEST

/* Half has gone to another mapping by mremap: the folio is in two places. */
START_TEST(in_two_places)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	char *other = map_nothing(256);

	map_shift(src + PMD / 2, other, HPAGES / 2);
	expect_move(fd, dst, src, PMD / 2, 0);
	expect_move(fd, dst + PMD / 2, other, PMD / 2, 0);
	range_check(dst, HPAGES, 1, 1);
	range_fill(dst, HPAGES, 1, 2);
	range_check(dst, HPAGES, 1, 2);
}
END_TEST

/* A child that inherits all but some pages, and holds on to them */
struct sharer {
	char *p;
	size_t at, pages;	/* what it does not inherit */
	int fds[2];		/* it waits for the other end to be closed */
	pid_t pid;
};

static int child_keeps(void *arg)
{
	struct sharer *s = arg;
	const size_t end = s->at + s->pages;
	char c;

	close(s->fds[1]);
	ck_assert_int_eq(read(s->fds[0], &c, 1), 0);
	range_check(s->p, s->at, 1, 1);
	range_check(s->p + end * PAGE, HPAGES - end, 1 + end, 1);
	return 0;
}

static void share_all_but(struct sharer *s, char *p, size_t at, size_t pages)
{
	s->p = p;
	s->at = at;
	s->pages = pages;
	expect_ok(pipe2(s->fds, O_CLOEXEC));
	expect_ok(madvise(p + at * PAGE, pages * PAGE, MADV_DONTFORK));
	s->pid = child_start(child_keeps, s);
	expect_ok(madvise(p + at * PAGE, pages * PAGE, MADV_DOFORK));
	ck_assert(folio_whole(p, HPAGES));
}

/* It has seen none of our writes. */
static void share_end(struct sharer *s)
{
	close(s->fds[1]);
	child_join(s->pid);
}

/* B-subpage: a page is judged by its own flag, not by the first page's. */
START_TEST(subpage)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon(HPAGES);
	struct sharer s;

	share_all_but(&s, src, 5, 2);
	expect_no_move(fd, dst, src + 4 * PAGE, PAGE, 0, EBUSY, NOT_EXCLUSIVE,
		       ADDR(src + 4 * PAGE));
	expect_no_move(fd, dst, src, PMD, 0, EBUSY, NOT_EXCLUSIVE, ADDR(src));
	ck_assert(folio_whole(src, HPAGES));
	matrix("exclusive page of a shared large folio",
	       try_move(fd, dst, src + 5 * PAGE, PAGE, 0));
	expect_move(fd, dst + PAGE, src + 6 * PAGE, PAGE, 0);
	range_check(dst, 2, 6, 1);
	range_check(src, 5, 1, 1);
	range_check(src + 7 * PAGE, HPAGES - 7, 8, 1);
	range_fill(src, 5, 1, 2);
	share_end(&s);
}
END_TEST

/* The other way round: the first page's flag is good for itself alone. */
START_TEST(first_page)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon(HPAGES);
	struct sharer s;

	share_all_but(&s, src, 0, 1);
	expect_no_move(fd, dst, src + PAGE, PAGE, 0, EBUSY, NOT_EXCLUSIVE,
		       ADDR(src + PAGE));
	expect_no_move(fd, dst + PAGE, src + PAGE, 511 * PAGE, 0, EBUSY,
		       NOT_EXCLUSIVE, ADDR(src + PAGE));
	ck_assert(folio_whole(src, HPAGES));
	expect_move(fd, dst, src, PAGE, 0);
	page_check(dst, 1, 1);
	range_check(src + PAGE, HPAGES - 1, 2, 1);
	share_end(&s);
}
END_TEST

/* With UNSHARE all of it moves, whatever is shared. */
START_TEST(healed)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	struct move_result r;
	struct sharer s;

	share_all_but(&s, src, 100, 50);
	r = try_move(fd, dst, src, PMD, UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = PMD, .healed = PMD - 50 * PAGE);
	range_check(dst, HPAGES, 1, 1);
	ck_assert_uint_eq(count_populated(src, HPAGES), 0);
	range_fill(dst, HPAGES, 1, 2);
	range_check(dst, HPAGES, 1, 2);
	share_end(&s);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(whole, 2),
	UTEST_SLOW(scattered, 300),
	UTEST(partly_unmapped),
	UTEST(out_of_order),
	UTEST(in_two_places),
	UTEST(subpage),
	UTEST(first_page),
	UTEST(healed),
};
UTEST_MAIN("large_thp", tests)
