// SPDX-License-Identifier: GPL-2.0-only
/*
 * Movers against the rest of their process: what a page fault, with its share
 * of mmap() and munmap(), costs while another thread moves pages all the time,
 * what moving costs meanwhile, and how often the faulting thread had to sleep,
 * which is for the mmap lock.  The times are worth something on real hardware
 * only, and the CPUs must run side by side (no instruction counting), but the
 * sleeps tell anywhere who keeps whom from working.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bench.h"

#define FAULT_PAGES	64
#define ROUNDS		100	/* a repetition */

static atomic_bool over, moving;
static const struct op *mover_op;
static unsigned int mover_chunk;
static double mover_cost;

static void *mover(void *unused)
{
	unsigned long pages = 0;
	double cost = 0;

	clock_pin(1);
	while (!over) {
		struct pass p = { .op = mover_op, .chunk = mover_chunk, .pages = 4096 };
		uint64_t t;

		pass_begin(&p);
		moving = true;
		t = clock_now();
		p.op->run(&p);
		cost += (clock_now() - t) * clock_unit();
		moving = false;
		pages += p.pages;
		pass_end(&p);
	}
	mover_cost = cost / pages;
	return unused;
}

static long sleeps(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

static double fault_round(void)
{
	size_t len = FAULT_PAGES * PAGE;
	uint64_t t = clock_now();
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	for (unsigned int i = 0; i < FAULT_PAGES; i++)
		p[i * PAGE] = 1;
	munmap(p, len);
	return (clock_now() - t) * clock_unit() / FAULT_PAGES;
}

/*
 * Only rounds that a mover was busy in all the time count, if there is one.  In the
 * place of shootdowns: sleeps in a round.
 */
static struct result faults(bool with_mover, unsigned int rounds)
{
	static double cost[MAX_REPS * ROUNDS], none[MAX_REPS * ROUNDS];
	struct result r;
	long slept = 0;

	for (unsigned int n = 0; n < rounds; ) {
		bool before = moving;
		long s = sleeps();
		double c = fault_round();

		if (with_mover && (!before || !moving))
			continue;
		slept += sleeps() - s;
		cost[n++] = c;
	}
	r = result_of(cost, none, rounds);
	r.ipis = (double)slept / rounds;
	return r;
}

void storm(unsigned int reps)
{
	static const char *const names[] = { "uremap_move", "uffd_move", "mremap_du" };
	static const unsigned int chunks[] = { 1, 512 };
	char env[64];

	mem_want(FOLIO_4K);
	result_print("fault", "4k", "seq", "alone", FAULT_PAGES, faults(false, reps * ROUNDS),
		     FAULT_PAGES);
	for (unsigned int i = 0; i < 6; i++) {
		struct result r;
		pthread_t thread;

		mover_op = op_find(names[i / 2]);
		mover_chunk = chunks[i % 2];
		if (mover_op->there && !mover_op->there())
			continue;
		over = false;
		if (pthread_create(&thread, NULL, mover, NULL))
			die("no second thread");
		r = faults(true, reps * ROUNDS);
		over = true;
		pthread_join(thread, NULL);
		snprintf(env, sizeof(env), "during %s %u", mover_op->name, mover_chunk);
		result_print("fault", "4k", "seq", env, FAULT_PAGES, r, FAULT_PAGES);
		r = (struct result){ mover_cost, mover_cost, mover_cost, 0, -1 };
		result_print(mover_op->name, "4k", "seq", "during faults", mover_chunk, r, 4096);
	}
}
