// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that moves survive anything that other threads do to the same memory
 * meanwhile: each page stays at exactly one place, whole, or goes with the
 * mapping that was taken away; nothing else is reported than what was done (C4,
 * C6, C18, C24, C33; C31).
 */
#include "util.h"

#include <sched.h>
#include <signal.h>

#define N	700			/* two page tables and more */
#define ROUNDS	150

struct scene {
	int fd;
	char *area[2];			/* page i is at one of them */
	volatile bool stop;
	unsigned long pages;		/* moved */
};

/* Is this error in the list of those that a scene allows?  0 ends it. */
static bool allowed(const int *list, int error)
{
	for (; *list; list++)
		if (*list == error)
			return true;
	return false;
}

/* Moves random runs to and fro until told to stop. */
static void move_runs(struct scene *s, const int *list)
{
	struct move_result r;
	int from, len, to;

	while (!s->stop) {
		from = rnd_below(N);
		len = 1 + rnd_below(rnd() & 1 ? 8 : N - from);
		if (len > N - from)
			len = N - from;
		to = rnd() & 1;
		r = try_move(s->fd, s->area[to] + from * PAGE,
			     s->area[!to] + from * PAGE, len * PAGE,
			     rnd() & 1 ? UREMAP_MOVE_ALLOW_SRC_HOLES : 0);
		if (r.ret && !allowed(list, r.error))
			ck_abort_msg("errno %d error %u reason %s move %lld",
				     r.err, r.error, reason_name(r.reason),
				     (long long)r.move);
		/* of all that is EINVAL only what mprotect may bring about */
		if (r.error == EINVAL && r.reason != UREMAP_REASON_VMA_PROT &&
		    r.reason != UREMAP_REASON_VMA_READONLY)
			ck_abort_msg("EINVAL, reason %s", reason_name(r.reason));
		if (r.move > 0)
			__sync_fetch_and_add(&s->pages, r.moved / PAGE);
		sched_yield();
	}
}

static void *moves(void *arg)
{
	/* one at a time finds the other's pages already moved */
	static const int list[] = { EEXIST, ENOENT, EAGAIN, 0 };

	move_runs(arg, list);
	return NULL;
}

/* The first pages of both areas, all at once, again and again. */
static void *moves_few(void *arg)
{
	struct scene *s = arg;
	struct move_result r;
	int to;

	for (to = 1; !s->stop; to = !to) {
		r = try_move(s->fd, s->area[to], s->area[!to], 64 * PAGE,
			     UREMAP_MOVE_ALLOW_SRC_HOLES);
		if (r.ret && r.error != EEXIST && r.error != EAGAIN)
			ck_abort_msg("error %u reason %s", r.error,
				     reason_name(r.reason));
		if (r.move > 0)
			__sync_fetch_and_add(&s->pages, r.moved / PAGE);
	}
	return NULL;
}

static void scene_init(struct scene *s)
{
	int i, len;

	memset(s, 0, sizeof(*s));
	s->fd = dev_open_all();
	for (i = 0; i < 2; i++)
		s->area[i] = map_anon_aligned(N, PMD, rnd_below(512));
	range_fill(s->area[0], N, 1, 1);
	/* somewhere in between to begin with */
	for (i = 0; i < N; i += len) {
		len = 1 + rnd_below(60);
		if (len > N - i)
			len = N - i;
		if (rnd() & 1)
			expect_move(s->fd, s->area[1] + i * PAGE,
				    s->area[0] + i * PAGE, len * PAGE, 0);
	}
}

/* Each page is at exactly one of both places, and right. */
static void scene_check(struct scene *s)
{
	uint64_t entry[2][N];
	int i, at;

	for (at = 0; at < 2; at++)
		pagemap_read(s->area[at], N, entry[at]);
	for (i = 0; i < N; i++) {
		at = !!(entry[1][i] & PM_POPULATED);
		ck_assert_msg(at != !!(entry[0][i] & PM_POPULATED),
			      "page %d is at both places, or none", i);
		page_check(s->area[at] + i * PAGE, 1 + i, 1);
	}
}

/* Movers are at work: what comes next comes in between. */
static void scene_await(struct scene *s, unsigned long pages)
{
	while (s->pages < pages)
		usleep(1000);
}

static void scene_end(struct scene *s, pthread_t *t, int nr)
{
	int i;

	s->stop = true;
	for (i = 0; i < nr; i++)
		thread_join(t[i]);
	ck_assert_uint_gt(s->pages, 0);
	test_note("%lu pages moved", s->pages);
}

/* A to B and B to A at once, by several threads, over each other. */
START_TEST(against_each_other)
{
	struct scene s;
	pthread_t t[4];
	int i;

	scene_init(&s);
	for (i = 0; i < 4; i++)
		t[i] = thread_start(moves, &s);
	scene_await(&s, 20000);
	scene_end(&s, t, 4);
	scene_check(&s);
}
END_TEST

static void *moves_protected(void *arg)
{
	static const int list[] = { EEXIST, ENOENT, EAGAIN, EINVAL, 0 };
	/* before 5.19 a page that lost its write bit may be a shared one */
	static const int old_list[] = { EEXIST, ENOENT, EAGAIN, EINVAL, EBUSY, 0 };

	move_runs(arg, kernel_has_pae() ? list : old_list);
	return NULL;
}

/* mprotect splits, merges and locks out; no page is lost to it. */
START_TEST(mprotect_meanwhile)
{
	static const int prots[] = { PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE };
	int round, from, len, i;
	struct scene s;
	pthread_t t[2];

	scene_init(&s);
	for (i = 0; i < 2; i++)
		t[i] = thread_start(moves_protected, &s);
	scene_await(&s, 2000);
	for (round = 0; round < repeats(ROUNDS * 8); round++) {
		from = rnd_below(N);
		len = 1 + rnd_below(N - from);
		expect_ok(mprotect(s.area[rnd() & 1] + from * PAGE, len * PAGE,
				   prots[rnd_below(3)]));
	}
	for (i = 0; i < 2; i++)
		expect_ok(mprotect(s.area[i], N * PAGE, PROT_READ | PROT_WRITE));
	scene_end(&s, t, 2);
	scene_check(&s);
}
END_TEST

/* One area moves about in the address space; its pages go with it. */
START_TEST(mremap_meanwhile)
{
	char *home, *away;
	struct scene s;
	pthread_t t[2];
	int round, i;

	scene_init(&s);
	home = s.area[1];
	for (i = 0; i < 2; i++)
		t[i] = thread_start(moves, &s);
	scene_await(&s, 2000);
	away = map_nothing(N);
	for (round = 0; round < repeats(ROUNDS); round++) {
		map_shift(home, away, N);
		map_shift(away, home, N);
		if (round % 8 == 0)
			usleep(1000);
	}
	scene_end(&s, t, 2);
	scene_check(&s);
}
END_TEST

/*
 * Other mappings in the same page tables are moved by mremap(), which takes the locks
 * of these tables in its own order: neither waits for the other for good (C33).
 */
START_TEST(mremap_beside)
{
	enum { AREA = 64, AWAY = 256 };
	struct scene s = { .fd = dev_open_all() };
	char *here, *there;
	pthread_t t[2];
	int i, round;

	for (i = 0; i < 2; i++) {
		s.area[i] = map_anon_aligned(512, PMD, 0);
		expect_ok(munmap(s.area[i] + AREA * PAGE, (512 - AREA) * PAGE));
	}
	here = s.area[0] + AWAY * PAGE;
	there = s.area[1] + AWAY * PAGE;
	map_again(here, AREA);
	range_fill(here, AREA, 1000, 1);
	range_fill(s.area[0], AREA, 1, 1);
	for (i = 0; i < 2; i++)
		t[i] = thread_start(moves_few, &s);
	scene_await(&s, 2000);
	for (round = 0; round < repeats(ROUNDS * 10); round++) {
		map_shift(here, there, AREA);
		map_shift(there, here, AREA);
	}
	scene_end(&s, t, 2);
	range_check(here, AREA, 1000, 1);
	for (i = 0; i < AREA; i++)
		page_check(s.area[page_populated(s.area[1] + i * PAGE)] +
			   i * PAGE, 1 + i, 1);
}
END_TEST

/* Parts are unmapped and mapped anew: pages there are gone, others are not. */
START_TEST(munmap_meanwhile)
{
	int round, from, len, i, at, gone = 0;
	struct scene s;
	pthread_t t[2];
	char *p;

	scene_init(&s);
	for (i = 0; i < 2; i++)
		t[i] = thread_start(moves, &s);
	scene_await(&s, 2000);
	for (round = 0; round < repeats(ROUNDS); round++) {
		from = rnd_below(N);
		len = 1 + rnd_below(N - from < 3 ? N - from : 3);
		p = s.area[rnd() & 1] + from * PAGE;
		expect_ok(munmap(p, len * PAGE));
		if (round % 8 == 0)
			usleep(500);
		ck_assert_ptr_eq(mmap(p, len * PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				      -1, 0), p);
		madvise(p, len * PAGE, MADV_NOHUGEPAGE);
	}
	scene_end(&s, t, 2);
	for (i = 0; i < N; i++) {
		at = page_populated(s.area[1] + i * PAGE);
		if (page_populated(s.area[at] + i * PAGE)) {
			page_check(s.area[at] + i * PAGE, 1 + i, 1);
			ck_assert(!at || !page_populated(s.area[0] + i * PAGE));
		} else {
			gone++;
		}
	}
	test_note("%d of %d pages unmapped", gone, N);
	/* all of it can be used as ever */
	expect_ok(madvise(s.area[0], N * PAGE, MADV_DONTNEED));
	expect_ok(madvise(s.area[1], N * PAGE, MADV_DONTNEED));
	range_fill(s.area[0], N, 1, 1);
	expect_move(s.fd, s.area[1], s.area[0], N * PAGE, 0);
	scene_check(&s);
}
END_TEST

/*
 * Whole page tables are emptied, which newer kernels then free at once.  Pages
 * are brought back by moves too: a page cannot be filled where others move it.
 */
START_TEST(dontneed_meanwhile)
{
	char *area, *stage = map_anon(1);
	struct move_result r;
	struct scene s;
	pthread_t t[2];
	int round, i, at;

	scene_init(&s);
	for (i = 0; i < 2; i++)
		t[i] = thread_start(moves, &s);
	scene_await(&s, 2000);
	for (round = 0; round < repeats(ROUNDS / 3); round++) {
		area = s.area[rnd() & 1];
		expect_ok(madvise(area, N * PAGE, MADV_DONTNEED));
		for (i = rnd_below(40); i < N; i += 1 + rnd_below(40)) {
			page_fill(stage, 1 + i, 1);
			r = try_move(s.fd, area + i * PAGE, stage, PAGE, 0);
			ck_assert(!r.ret || r.err == EEXIST || r.err == EAGAIN);
		}
	}
	scene_end(&s, t, 2);
	for (i = 0; i < N; i++)
		for (at = 0; at < 2; at++)
			if (page_populated(s.area[at] + i * PAGE))
				page_check(s.area[at] + i * PAGE, 1 + i, 1);
}
END_TEST

/* fork makes pages shared, until they are written where they are. */
static void *moves_and_writes(void *arg)
{
	struct scene *s = arg;
	struct move_result r;
	char *from;
	int i, at;

	while (!s->stop) {
		i = rnd_below(N);
		at = page_populated(s->area[1] + i * PAGE);
		from = s->area[at] + i * PAGE;
		r = try_move(s->fd, s->area[!at] + i * PAGE, from, PAGE, 0);
		if (!r.ret) {
			s->pages++;
			continue;
		}
		if (r.err == EBUSY && r.reason == UREMAP_REASON_NOT_EXCLUSIVE)
			page_fill(from, 1 + i, 1);
		else if (r.err != EAGAIN)
			ck_abort_msg("page %d: errno %d reason %s", i, r.err,
				     reason_name(r.reason));
	}
	return NULL;
}

static int checks(void *arg)
{
	scene_check(arg);
	return 0;
}

/* A child sees each page at exactly one place, as it was at the fork. */
START_TEST(fork_meanwhile)
{
	struct scene s;
	pthread_t t;
	int round;

	scene_init(&s);
	t = thread_start(moves_and_writes, &s);
	scene_await(&s, 100);
	for (round = 0; round < repeats(60); round++)
		child_run(checks, &s);
	scene_end(&s, &t, 1);
	scene_check(&s);
}
END_TEST

/*
 * Random bulk moves while children come and go at once: here pages are often
 * shared, and may stay where they are, but never be lost.
 */
static void *moves_shared(void *arg)
{
	static const int list[] = { EEXIST, ENOENT, EAGAIN, EBUSY, 0 };

	move_runs(arg, list);
	return NULL;
}

static int exits(void *arg)
{
	(void)arg;
	_exit(0);
}

START_TEST(fork_storm)
{
	struct scene s;
	pthread_t t[2];
	int round, i, at;

	scene_init(&s);
	for (i = 0; i < 2; i++)
		t[i] = thread_start(moves_shared, &s);
	scene_await(&s, 2000);
	for (round = 0; round < repeats(200); round++) {
		child_run(exits, NULL);
		/*
		 * Nobody shares it any more: a write makes it movable again.
		 * One that comes too late leaves zeros at the empty place.
		 */
		for (i = 0; i < 20; i++) {
			int n = rnd_below(N);

			at = page_populated(s.area[1] + n * PAGE);
			madvise(s.area[at] + n * PAGE, PAGE,
				MADV_POPULATE_WRITE);
		}
	}
	scene_end(&s, t, 2);
	for (i = 0; i < N; i++) {
		at = page_same(s.area[1] + i * PAGE, 1 + i, 1, NULL, 0);
		page_check(s.area[at] + i * PAGE, 1 + i, 1);
		page_check_zero(s.area[!at] + i * PAGE);
	}
}
END_TEST

/* Signals that are handled do not disturb a move. */
static volatile unsigned long signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static void *moves_all(void *arg)
{
	struct scene *s = arg;
	int round;
	char *t;

	for (round = 0; round < repeats(600); round++) {
		expect_move(s->fd, s->area[1], s->area[0], N * PAGE, 0);
		t = s->area[0];
		s->area[0] = s->area[1];
		s->area[1] = t;
	}
	s->stop = true;
	return NULL;
}

START_TEST(signals_meanwhile)
{
	struct scene s = { .fd = dev_open_all() };
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_t t;

	s.area[0] = map_filled(N, 1, 1);
	s.area[1] = map_anon(N);
	sigaction(SIGUSR1, &sa, NULL);
	t = thread_start(moves_all, &s);
	while (!s.stop) {
		pthread_kill(t, SIGUSR1);
		sched_yield();
	}
	thread_join(t);
	ck_assert_uint_gt(signals, 0);
	scene_check(&s);
}
END_TEST

/* ---- where a move lets go --------------------------------------------- */

struct unmapping {
	char *start;
	size_t len;
	volatile bool over;
};

/* Unmaps the end of the destination as soon as a move has got to it. */
static void *unmaps_end(void *arg)
{
	struct unmapping *u = arg;

	while (!page_populated(u->start) && !u->over)
		;
	expect_ok(munmap(u->start, u->len));
	return NULL;
}

/* One such move.  Returns true if it ended where nothing was mapped any more. */
static bool move_while_unmapped(int fd, char *dst, char *src, size_t nr,
				size_t kept)
{
	struct unmapping u = { dst + kept * PAGE, (nr - kept) * PAGE };
	pthread_t t = thread_start(unmaps_end, &u);
	struct move_result r = try_move(fd, dst, src, nr * PAGE, 0);
	size_t moved = nr;

	u.over = true;
	thread_join(t);
	if (r.ret) {
		ck_assert_int_eq(r.error, ENOENT);
		ck_assert_uint_eq(r.reason, UREMAP_REASON_DST_NO_VMA);
		moved = r.move / PAGE;
	}
	ck_assert_uint_eq(count_populated(src, moved), 0);
	range_check(src + moved * PAGE, nr - moved, 1 + moved, 1);
	range_check(dst, kept, 1, 1);
	/* who maps there next finds it empty */
	map_again(u.start, nr - kept);
	ck_assert_uint_eq(count_populated(u.start, nr - kept), 0);
	return r.ret;
}

/*
 * A long move lets go of the mappings at times, with a userfaultfd (_i) of the mmap
 * lock.  Whoever unmaps the rest of the destination meanwhile waits for that; then
 * the move ends there, and what has not moved yet is where it was (C18).
 */
START_TEST(unmapped_at_a_break)
{
	/* a table is a step; a pair of mappings is let go of after 16 */
	const size_t nr = (_i ? 6 : 24) * 512;
	int fd = dev_open_all(), uffd = _i ? uffd_open(0) : -1, breaks = 0;
	char *src, *dst;

	if (_i)
		dev_attach(fd, uffd);
	while (breaks < 8) {
		src = map_filled(nr, 1, 1);
		dst = map_anon_aligned(nr, PMD, 0);
		if (_i)
			uffd_register(uffd, dst, nr * PAGE,
				      UFFDIO_REGISTER_MODE_MISSING);
		breaks += move_while_unmapped(fd, dst, src, nr, nr / 12);
		expect_ok(munmap(dst, nr * PAGE));
		expect_ok(munmap(src, nr * PAGE));
	}
}
END_TEST

struct table {
	char *start;
	volatile bool stop;
};

static void *replaces(void *arg)
{
	struct table *t = arg;

	while (!t->stop) {
		expect_ok(madvise(t->start, PMD, MADV_DONTNEED));
		*(volatile char *)(t->start + PMD - PAGE) = 1;
	}
	return NULL;
}

/*
 * The page table of the destination goes when it is empty (6.14), and comes again for
 * another page: what is passed over stays empty all the while, so nothing is in the
 * way (C35).
 */
START_TEST(table_replaced)
{
	int fd = dev_open_all(), round;
	char *src = map_anon_aligned(512, PMD, 0);
	struct table table = { map_anon_aligned(512, PMD, 0) };
	pthread_t t;

	t = thread_start(replaces, &table);
	for (round = 0; round < repeats(20000); round++)
		expect_move_holes(fd, table.start, src, PMD - PAGE,
				  UREMAP_MOVE_ALLOW_SRC_HOLES, PMD - PAGE);
	table.stop = true;
	thread_join(t);
	ck_assert_uint_eq(count_populated(table.start, 511), 0);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(against_each_other, 900),
	UTEST_SLOW(mprotect_meanwhile, 900),
	UTEST_SLOW(mremap_meanwhile, 900),
	UTEST_SLOW(mremap_beside, 900),
	UTEST_SLOW(munmap_meanwhile, 900),
	UTEST_SLOW(dontneed_meanwhile, 900),
	UTEST_SLOW(fork_meanwhile, 900),
	UTEST_SLOW(fork_storm, 900),
	UTEST_SLOW(signals_meanwhile, 900),
	UTEST_LOOP_SLOW(unmapped_at_a_break, 2, 900),
	UTEST_SLOW(table_replaced, 900),
};
UTEST_MAIN("upheaval", tests)
