// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that movers and threads that touch the same memory never see a page
 * at two places, at none, torn, or older than it was (C5 to C7; C31).
 */
#include "util.h"

#define N		96
#define COUNTER		100	/* word of a page that threads add to */

struct world {
	int fd;
	int uffd;
	char *area[2];		/* page i is at one of area[0], area[1] + i * PAGE */
	int touches;		/* each toucher does */
	volatile bool stop;
	unsigned long moved[2];	/* by handlers, to each area */
};

static char *page_of(struct world *w, int area, int i)
{
	return w->area[area] + i * PAGE;
}

/* The page a fault is about, to where it was touched from where it is. */
static void fetch(struct world *w, char *addr)
{
	int to = addr >= w->area[1] && addr < w->area[1] + N * PAGE;
	int i = (addr - w->area[to]) / PAGE;
	struct move_result r;

	do {
		r = try_move(w->fd, page_of(w, to, i), page_of(w, !to, i), PAGE,
			     0);
	} while (r.ret && r.err == EAGAIN);
	/*
	 * Both entries are looked at under both page-table locks, so a page is
	 * never found at none of them: no ENOENT.
	 */
	if (r.ret && (r.err != EEXIST || r.reason != UREMAP_REASON_DST_BUSY))
		ck_abort_msg("page %d to area %d: errno %d reason %s", i, to,
			     r.err, reason_name(r.reason));
	if (!r.ret)
		__sync_fetch_and_add(&w->moved[to], 1);
	uffd_wake(w->uffd, page_of(w, to, i), PAGE);
}

static void *handles(void *arg)
{
	struct world *w = arg;
	struct uffd_msg msg;

	while (!w->stop)
		if (uffd_read(w->uffd, 20, &msg))
			fetch(w, (char *)(uintptr_t)(msg.arg.pagefault.address &
						     ~(PAGE - 1)));
	return NULL;
}

/* Adds one to a page wherever it touches it; a lost or doubled page shows. */
static void *touches(void *arg)
{
	struct world *w = arg;
	uint64_t *page;
	int n;

	for (n = 0; n < w->touches; n++) {
		page = (uint64_t *)page_of(w, rnd() & 1, rnd_below(N));
		__sync_fetch_and_add(&page[COUNTER], 1);
	}
	return NULL;
}

/* Moves whole runs between the areas, whatever is where. */
static void *moves_runs(void *arg)
{
	struct world *w = arg;
	int from, len, area, i;
	struct move_result r;

	while (!w->stop) {
		from = rnd_below(N);
		len = 1 + rnd_below(N - from);
		area = rnd() & 1;
		r = try_move(w->fd, page_of(w, area, from),
			     page_of(w, !area, from), len * PAGE,
			     rnd() & 1 ? UREMAP_MOVE_ALLOW_SRC_HOLES : 0);
		if (r.ret && r.error != EEXIST && r.error != ENOENT &&
		    r.error != EAGAIN)
			ck_abort_msg("run: errno %d reason %s", r.err,
				     reason_name(r.reason));
		/* without an attached userfaultfd waking is the caller's job */
		for (i = 0; i < 2; i++)
			uffd_wake(w->uffd, page_of(w, i, from), len * PAGE);
		usleep(1000);
	}
	return NULL;
}

static void world_init(struct world *w, int touches)
{
	int i;

	memset(w, 0, sizeof(*w));
	w->touches = touches;
	w->fd = dev_open_all();
	w->uffd = uffd_open(0);
	for (i = 0; i < 2; i++) {
		w->area[i] = map_anon_aligned(N, PMD, rnd_below(512));
		uffd_register(w->uffd, w->area[i], N * PAGE,
			      UFFDIO_REGISTER_MODE_MISSING);
	}
	for (i = 0; i < N; i++) {
		static uint64_t page[PAGE / 8] __attribute__((aligned(PAGE)));

		page_fill(page, i, 1);
		page[COUNTER] = 0;
		ck_assert_int_eq(try_uffd_copy(w->uffd, page_of(w, i & 1, i),
					       page, PAGE, 0), 0);
	}
}

/* Each page at exactly one place, whole, and all additions in it. */
static void world_check(struct world *w, uint64_t expected)
{
	uint64_t sum = 0, *page, counter;
	char ref[PAGE];
	int i, at;

	for (i = 0; i < N; i++) {
		at = page_populated(page_of(w, 1, i));
		ck_assert_msg(at != page_populated(page_of(w, 0, i)),
			      "page %d is at both places, or none", i);
		page = (uint64_t *)page_of(w, at, i);
		counter = page[COUNTER];
		sum += counter;
		page_fill(ref, i, 1);
		memcpy(&page[COUNTER], ref + COUNTER * 8, 8);
		page_check(page, i, 1);
	}
	ck_assert_uint_eq(sum, expected);
}

/* Faults on either side, each answered by a move from the other. */
static void ping_pong(int nr_handlers, int nr_touchers, int nr_movers)
{
	struct world w;
	pthread_t handler[4], toucher[8], mover[4];
	int i;

	world_init(&w, repeats(6000) / nr_touchers);
	for (i = 0; i < nr_handlers; i++)
		handler[i] = thread_start(handles, &w);
	for (i = 0; i < nr_movers; i++)
		mover[i] = thread_start(moves_runs, &w);
	for (i = 0; i < nr_touchers; i++)
		toucher[i] = thread_start(touches, &w);
	for (i = 0; i < nr_touchers; i++)
		thread_join(toucher[i]);
	w.stop = true;
	for (i = 0; i < nr_handlers; i++)
		thread_join(handler[i]);
	for (i = 0; i < nr_movers; i++)
		thread_join(mover[i]);
	ck_assert(w.moved[0] && w.moved[1]);
	test_note("%lu and %lu pages fetched", w.moved[0], w.moved[1]);
	world_check(&w, repeats(6000) / nr_touchers * nr_touchers);
}

START_TEST(one_handler)
{
	ping_pong(1, 3, 0);
}
END_TEST

START_TEST(many_handlers)
{
	ping_pong(3, 6, 0);
}
END_TEST

START_TEST(handlers_and_movers)
{
	ping_pong(2, 4, 2);
}
END_TEST

/*
 * Without userfaultfd: readers look at both places at any time.  What they see
 * is nothing or the page, whole, and never older than what they saw before.
 */
struct slots {
	int fd;
	char *area[2];
	int rounds;
	volatile bool stop;
};

static void *watches(void *arg)
{
	struct slots *s = arg;
	static __thread uint32_t last[N];
	uint32_t id, seq;
	int i, area;

	while (!s->stop) {
		i = rnd_below(N);
		area = rnd() & 1;
		if (!page_read(s->area[area] + i * PAGE, &id, &seq)) {
			usleep(200);
			continue;
		}
		if (id != (uint32_t)i || seq < last[i])
			ck_abort_msg("page %d: id %u seq %u after %u", i, id,
				     seq, last[i]);
		last[i] = seq;
	}
	return NULL;
}

/* Owns every @stride-th page: writes it and moves it to its other place. */
struct owner {
	struct slots *s;
	int first, stride;
};

static void *owns(void *arg)
{
	struct owner *o = arg;
	struct slots *s = o->s;
	int at[N] = { 0 }, i, r;
	char *from, *to;
	struct move_result m;

	for (r = 1; r <= s->rounds; r++) {
		for (i = o->first; i < N; i += o->stride) {
			from = s->area[at[i]] + i * PAGE;
			to = s->area[!at[i]] + i * PAGE;
			page_fill(from, i, r);
			for (;;) {
				m = try_move(s->fd, to, from, PAGE, 0);
				if (!m.ret)
					break;
				/* a watcher has brought the zero page there */
				if (m.err == EEXIST)
					madvise(to, PAGE, MADV_DONTNEED);
				else if (m.err != EAGAIN)
					ck_abort_msg("errno %d reason %s", m.err,
						     reason_name(m.reason));
			}
			at[i] = !at[i];
			page_check(to, i, r);
		}
	}
	return NULL;
}

START_TEST(watched)
{
	struct slots s = { .fd = dev_open_all(), .rounds = repeats(40) };
	struct owner owner[3];
	pthread_t mover[3], watcher[3];
	int i;

	s.area[0] = map_filled(N, 0, 0);
	s.area[1] = map_anon(N);
	for (i = 0; i < 3; i++) {
		owner[i] = (struct owner){ &s, i, 3 };
		watcher[i] = thread_start(watches, &s);
		mover[i] = thread_start(owns, &owner[i]);
	}
	for (i = 0; i < 3; i++)
		thread_join(mover[i]);
	s.stop = true;
	for (i = 0; i < 3; i++)
		thread_join(watcher[i]);
	range_check(s.area[s.rounds & 1], N, 0, s.rounds);
}
END_TEST

/*
 * A thread stores to the source all the time.  Once the move has returned, no
 * store may reach the page at its destination, and none may be lost that was
 * done before.
 */
struct storing {
	volatile uint64_t *src;
	volatile uint64_t begun, done;
	volatile bool stop;
};

static void *stores(void *arg)
{
	struct storing *s = arg;

	while (!s->stop) {
		s->begun++;
		__sync_synchronize();
		*s->src = s->begun;
		__sync_synchronize();
		s->done = s->begun;
	}
	return NULL;
}

START_TEST(no_late_store)
{
	int fd = dev_open_all(), uffd = uffd_open(0), i, j;
	struct storing s = { 0 };
	uint64_t done, seen, *src, *dst;
	pthread_t t;

	src = (uint64_t *)map_filled(1, 1, 1);
	dst = (uint64_t *)map_anon(1);
	s.src = &src[7];
	*s.src = 0;
	uffd_register(uffd, src, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	t = thread_start(stores, &s);
	for (i = 0; i < repeats(3000); i++) {
		if (i % 8 == 0)
			usleep(300);
		done = s.done;
		while (try_move(fd, dst, src, PAGE, 0).ret)
			;
		seen = dst[7];
		ck_assert_uint_ge(seen, done);
		for (j = 0; j < 200; j++)
			ck_assert_uint_eq(*(volatile uint64_t *)&dst[7], seen);
		expect_move(fd, src, dst, PAGE, 0);
		uffd_wake(uffd, src, PAGE);
	}
	s.stop = true;
	thread_join(t);
	ck_assert_uint_eq(src[7], s.done);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(one_handler, 900),
	UTEST_SLOW(many_handlers, 900),
	UTEST_SLOW(handlers_and_movers, 900),
	UTEST_SLOW(watched, 900),
	UTEST_SLOW(no_late_store, 900),
};
UTEST_MAIN("faults", tests)
