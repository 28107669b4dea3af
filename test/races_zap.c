// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -s 3 */
/*
 * Proves that once a page is at its destination nothing reaches it through its
 * source any more, not even if it is freed and used by somebody else at once,
 * and that tables which are emptied, freed and replaced under a move do no harm
 * (C11, C15, C16, C18, C19; C31).
 */
#include "util_peer.h"
#include "util_state.h"

enum { N = 16, ID = 1, WALL_MS = 15000, ROUNDS = 4000 };

#define MAGIC	0xfeedfacecafebeefULL
#define WORD	77

struct race {
	char *src;
	volatile bool stop;
	unsigned long stores;
};

/* Stores through the source all the time, to one word of each page. */
static void *stores(void *arg)
{
	struct race *w = arg;
	int i;

	while (!w->stop) {
		for (i = 0; i < N; i++)
			((volatile uint64_t *)(w->src + i * PAGE))[WORD] = MAGIC;
		w->stores++;
	}
	return NULL;
}

/*
 * The pages just freed are the first to be given out again.  All that is stored
 * at the source goes to new pages there, so the magic word is never in ours.
 */
static void recycle(int round)
{
	char *pool = map_filled(2 * N, 1, round);
	int look, i;

	for (look = 0; look < 4; look++)
		for (i = 0; i < 2 * N; i++)
			ck_assert_uint_ne(((volatile uint64_t *)
					   (pool + i * PAGE))[WORD], MAGIC);
	range_check(pool, 2 * N, 1, round);
	munmap(pool, 2 * N * PAGE);
}

START_TEST(recycled_pages)
{
	uint64_t until = now_ms() + WALL_MS;
	int fd = dev_open_all(), round;
	struct race w = { .src = map_anon(N) };
	unsigned long moved = 0;
	char *dst;
	pthread_t t[2];
	int i;

	for (i = 0; i < 2; i++)
		t[i] = thread_start(stores, &w);
	for (round = 0; round < ROUNDS && now_ms() < until; round++) {
		struct move_result r;

		dst = map_anon(N);
		r = try_move(fd, dst, w.src, N * PAGE,
			     UREMAP_MOVE_ALLOW_SRC_HOLES);
		ck_assert_msg(!r.ret || r.err == EAGAIN, "errno %d reason %s",
			      r.err, reason_name(r.reason));
		moved += r.moved / PAGE;
		if (rnd() & 1)
			expect_ok(madvise(dst, N * PAGE, MADV_DONTNEED));
		munmap(dst, N * PAGE);
		recycle(round);
	}
	w.stop = true;
	for (i = 0; i < 2; i++)
		thread_join(t[i]);
	test_note("%d rounds, %lu pages moved, %lu stores", round, moved,
		  w.stores);
	ck_assert_uint_gt(moved, 0);
}
END_TEST

/*
 * The destination's table is emptied and, on newer kernels, freed; or becomes a
 * huge page, and is split again.  Moves may find the destination populated, but
 * never fail for another reason, and what they moved is there or was discarded.
 */
struct tables {
	int fd;
	char *dst;			/* one table */
	char *first;			/* to bring in before, so that there is one */
	bool huge;
	volatile bool stop;
	unsigned long emptied;
};

static void *empties(void *arg)
{
	struct tables *w = arg;

	while (!w->stop) {
		if (w->first)
			*(volatile char *)w->first = 1;
		expect_ok(madvise(w->dst, PMD, MADV_DONTNEED));
		if (w->huge) {
			/* a huge page comes by this, in one piece */
			*(volatile char *)w->dst = 1;
			usleep(rnd_below(500));
		}
		w->emptied++;
	}
	return NULL;
}

static void empty_tables(bool huge, size_t run)
{
	uint64_t until = now_ms() + WALL_MS;
	struct tables w = { .fd = dev_open_all(), .huge = huge };
	unsigned long moved = 0, populated = 0;
	struct move_result r;
	pthread_t t;
	size_t from, n;
	char *src;
	int round;

	w.dst = huge ? map_thp_dst(1) : map_anon_aligned(512, PMD, 0);
	if (huge)
		expect_ok(madvise(w.dst, PMD, MADV_HUGEPAGE));
	t = thread_start(empties, &w);
	for (round = 1; round <= ROUNDS && now_ms() < until; round++) {
		n = run == 512 ? 512 : 1 + rnd_below(run);
		from = rnd_below(513 - n);
		src = run == 512 && huge ? map_thp(1, ID, round) :
					   map_filled(n, ID, round);
		r = try_move(w.fd, w.dst + from * PAGE, src, n * PAGE, 0);
		if (r.ret && r.error != EEXIST && r.error != EAGAIN)
			ck_abort_msg("error %u reason %s", r.error,
				     reason_name(r.reason));
		moved += r.move > 0 ? r.move / PAGE : 0;
		populated += r.error == EEXIST;
		/* what did not move is as it was */
		if (r.move < (__s64)(n * PAGE)) {
			size_t done = r.move > 0 ? r.move / PAGE : 0;

			range_check(src + done * PAGE, n - done, ID + done,
				    round);
		}
		munmap(src, n * PAGE);
	}
	w.stop = true;
	thread_join(t);
	test_note("%d rounds, %lu pages moved, %lu times populated, %lu emptied",
		  round - 1, moved, populated, w.emptied);
	ck_assert_uint_gt(moved, 0);
	ck_assert_uint_gt(w.emptied, 0);
	expect_ok(madvise(w.dst, PMD, MADV_DONTNEED));
	src = map_filled(512, 1, 1);
	expect_move(w.fd, w.dst, src, PMD, 0);
	range_check(w.dst, 512, 1, 1);
}

START_TEST(emptied_tables)
{
	empty_tables(false, 40);
}
END_TEST

START_TEST(emptied_tables_full)
{
	empty_tables(false, 512);
}
END_TEST

/* The table that goes is not the first of a batch; nothing else is in the way. */
START_TEST(emptied_further_tables)
{
	enum { HALF = 8 };
	uint64_t until = now_ms() + WALL_MS;
	struct tables w = { .fd = dev_open_all() };
	char *both = map_anon_aligned(2 * HPAGES, PMD, 0);
	char *dst = both + PMD - HALF * PAGE, *src;
	unsigned long moved = 0;
	struct move_result r;
	pthread_t t;
	int round;

	w.dst = both + PMD;
	w.first = both + 2 * PMD - PAGE;
	t = thread_start(empties, &w);
	for (round = 1; round <= ROUNDS && now_ms() < until; round++) {
		src = map_filled(2 * HALF, ID, round);
		r = try_move(w.fd, dst, src, 2 * HALF * PAGE, 0);
		if (r.ret && r.error != EAGAIN)
			ck_abort_msg("error %u reason %s", r.error,
				     reason_name(r.reason));
		if (!r.ret) {
			range_check(dst, HALF, ID, round);
			moved += 2 * HALF;
		}
		expect_ok(madvise(dst, 2 * HALF * PAGE, MADV_DONTNEED));
		munmap(src, 2 * HALF * PAGE);
	}
	w.stop = true;
	thread_join(t);
	test_note("%d rounds, %lu pages moved, %lu emptied", round - 1, moved,
		  w.emptied);
	ck_assert_uint_gt(moved, 0);
	ck_assert_uint_gt(w.emptied, 0);
}
END_TEST

START_TEST(huge_in_the_way)
{
	skip_if(!thp_available(), "no transparent huge pages");
	empty_tables(true, 40);
}
END_TEST

START_TEST(huge_into_huge)
{
	skip_if(!thp_available(), "no transparent huge pages");
	empty_tables(true, 512);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(recycled_pages, 200),
	UTEST_SLOW(emptied_tables, 200),
	UTEST_SLOW(emptied_tables_full, 200),
	UTEST_SLOW(emptied_further_tables, 200),
	UTEST_SLOW(huge_in_the_way, 200),
	UTEST_SLOW(huge_into_huge, 200),
};
UTEST_MAIN("races_zap", tests)
