// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves section E where a defect needs a race: page tables of the destination
 * are taken away while pages come (C16).  [0] is the kernel's own move, which
 * gets as long as it needs to lose the race, [1] uremap, which gets some time.
 */
#include "engine.h"

#include <stdatomic.h>
#include <time.h>

/* On a slow machine the kernel's own move loses within some seconds. */
static const int seconds[ENGINES] = { [NATIVE] = 100, [UREMAP] = 15 };

struct reclaim {
	char *dst;
	atomic_bool stop;
	atomic_long rounds;
};

/* Empties the whole of what a page table maps, which frees the table (6.14). */
static void *take_tables_away(void *arg)
{
	struct reclaim *r = arg;

	while (!atomic_load(&r->stop)) {
		madvise(r->dst, PMD, MADV_DONTNEED);
		atomic_fetch_add(&r->rounds, 1);
	}
	return NULL;
}

/* A valid request is called invalid because a page table went. */
START_TEST(spurious_einval)
{
	struct engine e = engine_open(_i, 0);
	struct reclaim r = { .dst = map_anon_aligned(HPAGES, PMD, 0) };
	char *src = map_anon(8), *dst = r.dst + 100 * PAGE;
	struct engine_result m;
	struct timespec t;
	long moves = 0, invalid = 0;
	pthread_t thread;
	time_t end;

	engine_dst(&e, r.dst, PMD);
	thread = thread_start(take_tables_away, &r);
	clock_gettime(CLOCK_MONOTONIC, &t);
	end = t.tv_sec + seconds[_i];
	while (t.tv_sec < end && !(_i == NATIVE && invalid)) {
		range_fill(src, 8, 1, moves);
		m = engine_move(&e, dst, src, 8 * PAGE,
				UREMAP_MOVE_ALLOW_SRC_HOLES);
		/* EEXIST: what came last has not been taken away yet */
		if (m.ret && m.err == EINVAL)
			invalid++;
		else if (m.ret && m.err != EAGAIN && m.err != EEXIST)
			ck_abort_msg("%s: %s", engine_name(_i),
				     strerrorname_np(m.err));
		moves++;
		clock_gettime(CLOCK_MONOTONIC, &t);
	}
	atomic_store(&r.stop, true);
	thread_join(thread);
	test_note("%ld moves, %ld tables emptied, EINVAL %ld times", moves,
		  atomic_load(&r.rounds), invalid);
	/* no table went before 6.14 */
	verdict_on(_i, "EINVAL for a request that is valid", invalid,
		   kernel_is(7, 2));
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP_SLOW(spurious_einval, ENGINES, 300),
};
UTEST_MAIN("defects_race", tests)
