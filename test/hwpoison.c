// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -m 1280 */
/*
 * Proves B-hwpoison: memory errors stay where they are and say so, on both
 * sides and beside pages that are well.
 *
 * A machine of its own: huge pages with a broken page in them, which stay whole,
 * are given out again, and must not be given to other suites.
 */
#include "util_state.h"

#include <setjmp.h>
#include <signal.h>

static sigjmp_buf env;

static void on_sigbus(int sig)
{
	siglongjmp(env, 1);
}

/* Reading it is a SIGBUS, and neither zeros nor what it held. */
static bool deadly(const char *page)
{
	struct sigaction act = { .sa_handler = on_sigbus }, old;
	bool died = true;

	sigaction(SIGBUS, &act, &old);
	if (!sigsetjmp(env, 1)) {
		(void)*(const volatile char *)page;
		died = false;
	}
	sigaction(SIGBUS, &old, NULL);
	return died;
}

/* What is before it moves, it does not, holes allowed or not. */
START_TEST(source)
{
	enum { N = 20 };
	const __u64 mode = _i ? UREMAP_MOVE_ALLOW_SRC_HOLES |
				UREMAP_MOVE_UNSHARE : 0;
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	struct move_result r;

	break_page(src + 7 * PAGE);
	expect_move_part(fd, dst, src, N * PAGE, mode, 7 * PAGE, EFAULT,
			 HWPOISON, ADDR(src + 7 * PAGE));
	r = matrix_move("memory error", fd, dst + 7 * PAGE, src + 7 * PAGE,
			PAGE, mode);
	expect_result(r, REFUSED(EFAULT, HWPOISON), .stop = ADDR(src + 7 * PAGE));
	ck_assert(deadly(src + 7 * PAGE));
	ck_assert(!page_populated(dst + 7 * PAGE));
	expect_move(fd, dst + 8 * PAGE, src + 8 * PAGE, (N - 8) * PAGE, mode);
	range_check(dst, 7, 1, 1);
	range_check(dst + 8 * PAGE, N - 8, 9, 1);
}
END_TEST

/* A destination that is broken is occupied. */
START_TEST(destination)
{
	enum { N = 20 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	page_fill(dst + 7 * PAGE, 99, 1);
	break_page(dst + 7 * PAGE);
	expect_move_part(fd, dst, src, N * PAGE, 0, 7 * PAGE, EEXIST, DST_BUSY,
			 ADDR(dst + 7 * PAGE));
	ck_assert(deadly(dst + 7 * PAGE));
	range_check(dst, 7, 1, 1);
	range_check(src + 7 * PAGE, N - 7, 8, 1);
}
END_TEST

/* One page of a huge one: the others are well, and move. */
START_TEST(huge)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	char *bad = src + 100 * PAGE;

	break_page(bad);
	expect_move_part(fd, dst, src, PMD, 0, 100 * PAGE, EFAULT, HWPOISON,
			 ADDR(bad));
	expect_move(fd, dst + 101 * PAGE, bad + PAGE, 411 * PAGE, 0);
	range_check(dst, 100, 1, 1);
	range_check(dst + 101 * PAGE, 411, 102, 1);
	ck_assert(deadly(bad));
	ck_assert_uint_eq(count_populated(dst + 100 * PAGE, 1), 0);
}
END_TEST

/*
 * What broke in a huge page that stays whole is given out again with it when the
 * process has gone, and cannot break a second time: take another.
 */
static char *map_sound_thp(void)
{
	char *p;
	size_t i;

	do {
		p = map_thp(1, 1, 1);
		for (i = 0; i < HPAGES; i++)
			if (kpageflags(p + i * PAGE) & KPF_HWPOISON)
				break;
	} while (i < HPAGES);
	return p;
}

/*
 * A huge page that could not be split, because somebody refers to it, has the
 * broken page among the others.  As long as that is so nothing moves; then what
 * is well, up to the broken page.  Mapped by one entry (0) all of it stays.
 * Before 5.16 the kernel does not note on the huge page that it is broken, so
 * there it moves, and the broken page with it.
 */
static void break_whole(char *src, char *bad)
{
	int write_end, fd = get_pages(src + 3 * PAGE, 1, &write_end);

	ck_assert_int_ne(try_break_page(bad), 0);
	ck_assert(kpageflags(bad) & KPF_HWPOISON);
	ck_assert(folio_whole(src, HPAGES));
	close(fd);
	close(write_end);
}

START_TEST(whole)
{
	int fd = dev_open_all();
	char *src = map_sound_thp(), *dst = map_thp_dst(1);
	char *bad = src + 100 * PAGE;

	if (_i)
		split_mapping(src);
	break_whole(src, bad);
	if (!kernel_at_least(5, 16)) {
		expect_move(fd, dst, src, PMD, 0);
		ck_assert(folio_whole(dst, HPAGES));
		range_check(dst, HPAGES, 1, 1);
	} else if (_i) {
		expect_move_part(fd, dst, src, PMD, 0, 100 * PAGE, EFAULT,
				 HWPOISON, ADDR(bad));
		range_check(dst, 100, 1, 1);
		ck_assert(!page_populated(dst + 100 * PAGE));
		expect_move(fd, dst + 101 * PAGE, bad + PAGE, 411 * PAGE, 0);
		range_check(dst + 101 * PAGE, 411, 102, 1);
	} else {
		expect_no_move(fd, dst, src, PMD, 0, EFAULT, HWPOISON,
			       ADDR(src));
		ck_assert_int_eq(huge_kb(src), PMD / 1024);
	}
}
END_TEST

START_TEST(whole_and_referenced)
{
	int fd = dev_open_all(), pipe, write_end;
	char *src = map_sound_thp(), *dst = map_thp_dst(1);

	skip_if(!kernel_at_least(5, 16), "nobody is told that it is broken");
	split_mapping(src);
	break_whole(src, src + 100 * PAGE);
	pipe = get_pages(src + 3 * PAGE, 1, &write_end);
	expect_no_move(fd, dst, src, PMD, 0, EBUSY, SPLIT_FAILED, ADDR(src));
	ck_assert(folio_whole(src, HPAGES));
	close(pipe);
	close(write_end);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(source, 2),
	UTEST(destination),
	UTEST(huge),
	UTEST_LOOP(whole, 2),
	UTEST(whole_and_referenced),
};
UTEST_MAIN("hwpoison", tests)
