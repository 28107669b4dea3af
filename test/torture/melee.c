// SPDX-License-Identifier: GPL-2.0-only
/*
 * The melee: all threads of a worker at once on a few hundred pages, without
 * any lock.  Where a page is nobody knows until all have stopped; then each
 * page must be at exactly one place, and what the threads have added to the
 * counters in the pages must be in there, no more and no less.
 *
 * Page i holds i in all words but the last MAX_THREADS, which are counters, one
 * a thread.  A thread that adds to a counter where no page is at the moment
 * makes a stray, a page of counters only, which takes part from then on.  In
 * a violent melee memory is also discarded and unmapped: then pages and counts
 * may be gone, but still nothing may be there twice or be mixed up.
 */
#include "torture.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES		1024U
#define PAGES		400U
#define ROUNDS		24U
#define FIRST_COUNTER	(WORDS - MAX_THREADS)

struct melee {
	char *area;
	uint64_t added[MAX_THREADS];	/* since the last scan */
	uint64_t sum;			/* of all counters at the last scan */
	uint8_t seen[PAGES];
	bool violent;
};

static char *place(const struct melee *m, uint32_t i)
{
	return m->area + i * PAGE;
}

static uint64_t melee_word(uint32_t id, unsigned int i)
{
	return (uint64_t)(0x3e1ee000 + id) << 32 | i;
}

static void fill(char *page, uint32_t id)
{
	volatile uint64_t *p = (void *)page;
	unsigned int i;

	for (i = 0; i < FIRST_COUNTER; i++)
		p[i] = melee_word(id, i);
}

void melee_create(struct worker *w)
{
	struct melee *m = calloc(1, sizeof(*m));
	uint32_t i;

	/* With an end that is free: huge pages fit in, but not everywhere. */
	m->area = (char *)(0x200000000000UL + ((uintptr_t)w->nr << 36));
	if (mmap(m->area, PLACES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != m->area)
		fail(NULL, "mmap of the melee: %s", strerror(errno));
	for (i = 0; i < PAGES; i++)
		fill(place(m, i), i);
	w->melee = m;
}

/* ---- what threads do --------------------------------------------------- */

static void melee_move(struct thread *t, struct melee *m)
{
	uint32_t len = 1 + below(t, one_in(t, 4) ? HPAGES : 40);
	uint32_t src = below(t, PLACES - len + 1);
	uint32_t dst = below(t, PLACES - len + 1);
	struct uremap_move mv = {
		.len = len * PAGE,
		.mode = UREMAP_MOVE_ALLOW_SRC_HOLES,
	};

	if (len == HPAGES) {
		src -= src % HPAGES;
		dst = HPAGES - src;
	}
	if (one_in(t, 2))
		mv.mode |= UREMAP_MOVE_UNSHARE;
	mv.src = ADDR(place(m, src));
	mv.dst = ADDR(place(m, dst));
	ioctl(t->w->dev, UREMAP_IOC_MOVE, &mv);
	COUNT(melee_moves, 1);
	COUNT(pages, mv.moved / PAGE);
	if (mv.reason < MAX_REASONS)
		COUNT(refused[mv.reason], 1);
}

/* Each word by itself is of a page of ours, or zero. */
static void read_place(struct thread *t, void *arg)
{
	volatile uint64_t *p = arg;
	unsigned int i;

	for (i = 0; i < FIRST_COUNTER; i++) {
		uint64_t found = p[i];
		uint64_t id = (found >> 32) - 0x3e1ee000;

		if (found && ((uint32_t)found != i || id >= PAGES))
			fail(t, "a reader in the melee at %p: word %u is %016llx",
			     arg, i, (unsigned long long)found);
	}
}

static void add_one(struct thread *t, void *arg)
{
	uint64_t *counter = (uint64_t *)arg + FIRST_COUNTER + t->nr;

	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
	t->w->melee->added[t->nr]++;
}

static void take_away(struct thread *t, struct melee *m)
{
	uint32_t len = 1 + below(t, one_in(t, 8) ? HPAGES : 32);
	uint32_t i = below(t, PLACES - len + 1);

	if (one_in(t, 3)) {
		munmap(place(m, i), len * PAGE);
		mmap(place(m, i), len * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	} else {
		madvise(place(m, i), len * PAGE, MADV_DONTNEED);
	}
}

static void melee_fork(struct thread *t)
{
	pid_t pid = fork();

	if (!pid) {
		sched_yield();
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void melee_round(struct thread *t, struct melee *m)
{
	uint32_t what = below(t, 16), i = below(t, PLACES);

	switch (what) {
	default:
		melee_move(t, m);
		break;
	case 8 ... 10:
		try_touch(t, add_one, place(m, i));
		break;
	case 11:
	case 12:
		try_touch(t, read_place, place(m, i));
		break;
	case 13:
		madvise(place(m, i), (PLACES - i) * PAGE / 4 & ~(PAGE - 1),
			MADV_PAGEOUT);
		break;
	case 14:
		if (m->violent)
			take_away(t, m);
		else
			madvise(place(m, i - i % HPAGES), HPAGES * PAGE,
				MADV_COLLAPSE);
		break;
	case 15:
		if (one_in(t, 3))
			melee_fork(t);
		break;
	}
}

/* ---- what is there afterwards ------------------------------------------ */

/* The page's identity; PAGES if there is none, with or without counters. */
static uint32_t scan_page(struct thread *t, uint32_t i)
{
	const uint64_t *p = (const uint64_t *)place(t->w->melee, i);
	uint32_t id = p[0] ? (p[0] >> 32) - 0x3e1ee000 : PAGES;
	unsigned int k;

	if (p[0] && id >= PAGES)
		fail(t, "after the melee, place %u: word 0 is %016llx", i,
		     (unsigned long long)p[0]);
	for (k = 1; k < FIRST_COUNTER; k++)
		if (p[k] != (p[0] ? melee_word(id, k) : 0))
			fail(t, "after the melee, place %u, page %u: word %u is %016llx",
			     i, id, k, (unsigned long long)p[k]);
	return id;
}

/* No page twice, and none lost unless it may be; the sum likewise. */
static void scan(struct thread *t, struct melee *m)
{
	uint64_t sum = 0, expected = m->sum;
	uint32_t i, k, id;

	memset(m->seen, 0, sizeof(m->seen));
	for (i = 0; i < PLACES; i++) {
		const uint64_t *p = (const uint64_t *)place(m, i);

		id = scan_page(t, i);
		for (k = 0; k < MAX_THREADS; k++)
			sum += p[FIRST_COUNTER + k];
		if (id < PAGES && m->seen[id]++)
			fail(t, "after the melee page %u is there twice, once at place %u",
			     id, i);
	}
	for (id = 0; id < PAGES; id++)
		if (!m->seen[id] && !m->violent)
			fail(t, "after the melee page %u is lost", id);
	for (k = 0; k < MAX_THREADS; k++) {
		expected += m->added[k];
		m->added[k] = 0;
	}
	if (m->violent ? sum > expected : sum != expected)
		fail(t, "after the melee the counters say %llu, not %llu",
		     (unsigned long long)sum, (unsigned long long)expected);
	m->sum = sum;
}

/* Strays go, pages that were lost come back. */
static void tidy(struct thread *t, struct melee *m)
{
	uint32_t i, k, id = 0;

	for (i = 0; i < PLACES; i++) {
		const uint64_t *p = (const uint64_t *)place(m, i);

		if (p[0])
			continue;
		for (k = 0; k < MAX_THREADS; k++)
			m->sum -= p[FIRST_COUNTER + k];
		madvise(place(m, i), PAGE, MADV_DONTNEED);
		while (id < PAGES && m->seen[id])
			id++;
		if (id < PAGES)
			fill(place(m, i), id++);
	}
}

void melee(struct thread *t, uint32_t epoch)
{
	struct melee *m = t->w->melee;
	uint32_t i;

	if (!t->nr)
		m->violent = epoch % 3 == 2;
	pthread_barrier_wait(&t->w->barrier);
	for (i = 0; i < ROUNDS; i++)
		melee_round(t, m);
	pthread_barrier_wait(&t->w->barrier);
	if (!t->nr) {
		scan(t, m);
		tidy(t, m);
		COUNT(melees, 1);
		t->w->go_on = !shared->stop;
	}
	pthread_barrier_wait(&t->w->barrier);
}
