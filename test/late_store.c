// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -s 3 */
/*
 * Proves of C15 that no store through the source lands once a page is visible
 * at the destination: to another thread at that very moment, and wherever in a
 * move the page lies.
 *
 * Where no page is, userfaultfd answers an access by SIGBUS: so a thread may try
 * all the time without bringing in anything, and sees a page as soon as it is
 * there.
 */
#include "util_state.h"

#include <setjmp.h>
#include <signal.h>

enum { N = 64, ROUNDS = 100, LOOKS = 3000 };

static __thread sigjmp_buf absent;

static void on_sigbus(int sig)
{
	siglongjmp(absent, 1);
}

struct race {
	int fd;
	char *src, *dst;
	size_t pages;
	size_t page;			/* the one that is written and watched */
	volatile unsigned int round, stored, looked;
	volatile unsigned long changed;
	volatile bool ready[2], stop;
};

static volatile uint64_t *word(char *range, size_t page)
{
	return (uint64_t *)(range + page * PAGE) + 7;
}

/* Stores until the page is gone. */
static void *stores(void *arg)
{
	struct race *r = arg;

	while (!r->stop) {
		if (r->stored == r->round)
			continue;
		r->stored = r->round;
		if (sigsetjmp(absent, 1))
			continue;
		while (!r->stop) {
			++*word(r->src, r->page);
			r->ready[0] = true;
		}
	}
	return NULL;
}

/* Waits for the page to come, and looks whether it still changes. */
static void *watches(void *arg)
{
	struct race *r = arg;
	uint64_t seen;
	int i;

	while (!r->stop) {
		if (r->looked == r->round)
			continue;
		sigsetjmp(absent, 1);
		r->ready[1] = true;
		seen = *word(r->dst, r->page);
		for (i = 0; i < LOOKS; i++)
			r->changed += *word(r->dst, r->page) != seen;
		r->looked = r->round;
	}
	return NULL;
}

enum kind { SMALL, LARGE, HUGE };

static void race_open(struct race *r, enum kind kind)
{
	int uffd = uffd_open(UFFD_FEATURE_SIGBUS);

	signal(SIGBUS, on_sigbus);
	r->fd = dev_open_all();
	r->pages = kind == HUGE ? HPAGES : N;
	r->src = kind == HUGE ? map_thp(1, 1, 1) :
		 kind == LARGE ? map_folios(64, N, 1, 1) : map_filled(N, 1, 1);
	r->dst = kind == HUGE ? map_thp_dst(1) : map_anon_aligned(N, PMD, 0);
	uffd_register(uffd, r->src, r->pages * PAGE,
		      UFFDIO_REGISTER_MODE_MISSING);
	uffd_register(uffd, r->dst, r->pages * PAGE,
		      UFFDIO_REGISTER_MODE_MISSING);
}

/* The page stays until it has been looked at. */
static void race_round(struct race *r, void (*move)(struct race *r))
{
	r->ready[0] = r->ready[1] = false;
	r->round++;
	while (!r->ready[0] || !r->ready[1])
		;
	move(r);
	while (r->looked != r->round)
		;
	expect_move(r->fd, r->src, r->dst, r->pages * PAGE, 0);
}

static void race_run(void (*move)(struct race *r), enum kind kind)
{
	struct race r = { 0 };
	pthread_t t[2];
	int i;

	race_open(&r, kind);
	t[0] = thread_start(stores, &r);
	t[1] = thread_start(watches, &r);
	for (i = 0; i < repeats(ROUNDS); i++) {
		r.page = i % 4 ? rnd_below(r.pages) : r.pages - 1;
		race_round(&r, move);
	}
	r.stop = true;
	thread_join(t[0]);
	thread_join(t[1]);
	ck_assert_uint_eq(r.changed, 0);
}

static void whole(struct race *r)
{
	expect_move(r->fd, r->dst, r->src, r->pages * PAGE, 0);
}

/* Page by page in one call, from the last to the first. */
static void scattered(struct race *r)
{
	struct uremap_segment segs[N] = { 0 };
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = N, .seg_size = sizeof(segs[0]),
	};
	int i;

	for (i = 0; i < N; i++)
		segs[i] = seg(r->dst + (N - 1 - i) * PAGE,
			      r->src + (N - 1 - i) * PAGE, 1);
	expect_ok(ioctl(r->fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_uint_eq(v.move, N * PAGE);
}

START_TEST(one_range)
{
	race_run(whole, SMALL);
}
END_TEST

START_TEST(segments)
{
	race_run(scattered, SMALL);
}
END_TEST

START_TEST(large_folios)
{
	race_run(whole, LARGE);
}
END_TEST

START_TEST(huge_page)
{
	race_run(whole, HUGE);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(one_range, 600),
	UTEST_SLOW(segments, 600),
	UTEST_SLOW(large_folios, 600),
	UTEST_SLOW(huge_page, 600),
};
UTEST_MAIN("late_store", tests)
