// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -n -M zram */
/*
 * Proves that moves and everything else that unmaps pages for a moment (page
 * migration, compaction, collapsing and splitting of huge pages, KSM) do not
 * disturb each other, and that the kernel still finds each page afterwards
 * (C12, C19, C20; B-migration, B-migration-huge, B-thp-race; C31).
 */
#include "util_peer.h"
#include "util_state.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>

#define KSM	"/sys/kernel/mm/ksm/"
#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

enum { WALL_MS = 15000 };

struct race {
	int fd;
	size_t pages;
	char *area[2];
	size_t run, align;		/* longest run, and its multiples */
	__u64 mode;
	int rounds;
	volatile bool stop;
	unsigned long moved, refused;
	volatile unsigned long other;
};

/*
 * Moves all pages to the other area, in runs, each time; owns them alone. Goes on
 * until the others had a part in it, too: on a busy machine they may start late.
 */
static void *moves(void *arg)
{
	uint64_t until = now_ms() + WALL_MS;
	struct race *w = arg;
	struct move_result r;
	size_t at, n, done;
	int round;
	char *t;

	for (round = 0; (round < w->rounds || !w->other) && now_ms() < until;
	     round++) {
		for (at = 0; at < w->pages; at += n) {
			n = (1 + rnd_below(w->run / w->align)) * w->align;
			n = n > w->pages - at ? w->pages - at : n;
			for (done = 0; done < n * PAGE; ) {
				r = try_move(w->fd,
					     w->area[1] + at * PAGE + done,
					     w->area[0] + at * PAGE + done,
					     n * PAGE - done, w->mode);
				done += r.move > 0 ? r.move : 0;
				w->moved += r.move > 0 ? r.move / PAGE : 0;
				if (!r.ret)
					continue;
				/* references of others keep a folio whole */
				if (r.error != EAGAIN &&
				    (r.error != EBUSY ||
				     r.reason != UREMAP_REASON_SPLIT_FAILED))
					ck_abort_msg("error %u reason %s", r.error,
						     reason_name(r.reason));
				w->refused++;
			}
		}
		at = rnd_below(w->pages);
		page_check(w->area[1] + at * PAGE, 1 + at, 1);
		t = w->area[0], w->area[0] = w->area[1], w->area[1] = t;
	}
	w->rounds = round;
	w->stop = true;
	return NULL;
}

static void race_init(struct race *w, size_t pages, size_t run, size_t align)
{
	memset(w, 0, sizeof(*w));
	w->fd = dev_open_all();
	w->pages = pages;
	w->run = run;
	w->align = align;
	w->rounds = 150;
	/* before 5.19 it makes entries under migration read-only (D rule 2) */
	file_write("/proc/sys/kernel/numa_balancing", "0");
}

/* Every page can still be found from its frame: reclaim and migration work. */
static void race_end(struct race *w)
{
	test_note("%d rounds, %lu pages moved, %lu times refused, %lu others",
		  w->rounds, w->moved, w->refused, w->other);
	ck_assert_uint_gt(w->moved, 0);
	ck_assert_uint_gt(w->other, 0);
	ck_assert_uint_eq(count_populated(w->area[1], w->pages), 0);
	range_check(w->area[0], w->pages, 1, 1);
	lru_settle_all();
	swap_out(w->area[0], w->pages);
	range_check(w->area[0], w->pages, 1, 1);
	munmap(w->area[0], w->pages * PAGE);
	munmap(w->area[1], w->pages * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}

static void race_run(struct race *w, void *(*other)(void *), int nr)
{
	pthread_t mover = thread_start(moves, w), t[4];
	int i;

	for (i = 0; i < nr; i++)
		t[i] = thread_start(other, w);
	thread_join(mover);
	for (i = 0; i < nr; i++)
		thread_join(t[i]);
	race_end(w);
}

/* move_pages(2) of random pages to the other node and back */
static void *migrates(void *arg)
{
	enum { N = 32 };
	struct race *w = arg;
	int node[N], status[N], i;
	void *page[N];

	while (!w->stop) {
		for (i = 0; i < N; i++) {
			page[i] = w->area[rnd() & 1] + rnd_below(w->pages) * PAGE;
			node[i] = rnd() & 1;
		}
		syscall(__NR_move_pages, 0, N, page, node, status,
			MPOL_MF_MOVE);
		for (i = 0; i < N; i++)
			__sync_fetch_and_add(&w->other, status[i] == node[i]);
	}
	return NULL;
}

START_TEST(move_pages_small)
{
	struct race w;

	skip_if(numa_nodes() < 2, "only one NUMA node");
	race_init(&w, 300, 64, 1);
	w.area[0] = map_filled(w.pages, 1, 1);
	w.area[1] = map_anon(w.pages);
	race_run(&w, migrates, 2);
}
END_TEST

/* mbind(2) with MPOL_MF_MOVE, which splits and merges the mappings, too */
static void *binds(void *arg)
{
	struct race *w = arg;
	unsigned long mask;
	size_t at, n;

	while (!w->stop) {
		mask = 1 + (rnd() & 1);
		at = rnd_below(w->pages);
		n = 1 + rnd_below(w->pages - at);
		if (!syscall(__NR_mbind, w->area[rnd() & 1] + at * PAGE,
			     n * PAGE, MPOL_BIND, &mask, 3UL, MPOL_MF_MOVE))
			__sync_fetch_and_add(&w->other, 1);
	}
	return NULL;
}

START_TEST(mbind_small)
{
	struct race w;

	skip_if(numa_nodes() < 2, "only one NUMA node");
	race_init(&w, 300, 64, 1);
	w.area[0] = map_filled(w.pages, 1, 1);
	w.area[1] = map_anon(w.pages);
	race_run(&w, binds, 1);
}
END_TEST

static void *compacts(void *arg)
{
	struct race *w = arg;

	while (!w->stop) {
		ck_assert_int_eq(file_write("/proc/sys/vm/compact_memory", "1"),
				 0);
		w->other++;
	}
	return NULL;
}

START_TEST(compaction)
{
	struct race w;
	size_t i;

	race_init(&w, 300, 64, 1);
	w.area[0] = map_anon(w.pages);
	w.area[1] = map_anon(w.pages);
	/* far apart in memory, for there to be something to compact */
	for (i = 0; i < w.pages; i++) {
		range_fill(map_anon(20), 20, 1, 1);
		page_fill(w.area[0] + i * PAGE, 1 + i, 1);
	}
	race_run(&w, compacts, 1);
}
END_TEST

/* Huge pages, moved whole while they migrate whole: entries of whole tables. */
START_TEST(move_pages_huge)
{
	struct race w;

	skip_if(numa_nodes() < 2, "only one NUMA node");
	race_init(&w, 3 * HPAGES, 3 * HPAGES, HPAGES);
	w.area[0] = map_thp(3, 1, 1);
	w.area[1] = map_thp_dst(3);
	race_run(&w, migrates, 1);
}
END_TEST

/* Huge pages, moved by parts: split while they migrate. */
START_TEST(move_pages_parts)
{
	struct race w;

	skip_if(numa_nodes() < 2, "only one NUMA node");
	race_init(&w, 3 * HPAGES, 700, 1);
	w.area[0] = map_thp(3, 1, 1);
	w.area[1] = map_thp_dst(3);
	w.rounds = 40;
	race_run(&w, migrates, 1);
}
END_TEST

/* Collapsing: by call where there is one, else by khugepaged in a hurry. */
static void *collapses(void *arg)
{
	struct race *w = arg;
	long before = vmstat("thp_collapse_alloc");
	size_t i;

	while (!w->stop) {
		for (i = 0; i < w->pages && !w->stop; i += HPAGES)
			if (madvise(w->area[rnd() & 1] + i * PAGE, PMD,
				    MADV_COLLAPSE) && errno == EINVAL)
				usleep(10000);
	}
	w->other = vmstat("thp_collapse_alloc") - before +
		   vmstat("thp_split_pmd");
	return NULL;
}

/*
 * Collapsing fills holes with zeros, at the source behind the mover, and at the
 * destination before it, where nothing else can be: that is taken away.
 */
static void *moves_over_zeros(void *arg)
{
	uint64_t until = now_ms() + WALL_MS;
	struct race *w = arg;
	struct move_result r;
	size_t i;
	int round;
	char *t;

	for (round = 0; round < w->rounds && now_ms() < until; round++) {
		for (i = 0; i < w->pages; ) {
			/* the last round is for this thread alone */
			w->stop = now_ms() >= until;
			r = try_move(w->fd, w->area[1] + i * PAGE,
				     w->area[0] + i * PAGE,
				     (w->pages - i) * PAGE, 0);
			i += r.move > 0 ? r.move / PAGE : 0;
			w->moved += r.move > 0 ? r.move / PAGE : 0;
			if (r.ret && r.error == EEXIST)
				expect_ok(madvise(w->area[1] + i * PAGE,
						  (w->pages - i) * PAGE,
						  MADV_DONTNEED));
			else if (r.ret && r.error != EAGAIN &&
				 r.reason != UREMAP_REASON_SPLIT_FAILED)
				ck_abort_msg("error %u reason %s", r.error,
					     reason_name(r.reason));
		}
		range_check(w->area[1], w->pages, 1, 1);
		t = w->area[0], w->area[0] = w->area[1], w->area[1] = t;
	}
	w->rounds = round;
	w->stop = true;
	return NULL;
}

START_TEST(collapse)
{
	pthread_t mover, other;
	struct race w;
	int i;

	skip_if(!thp_available(), "no transparent huge pages");
	race_init(&w, 2 * HPAGES, 0, 1);
	for (i = 0; i < 2; i++) {
		w.area[i] = map_huge_ok(w.pages, PMD);
		expect_ok(madvise(w.area[i], w.pages * PAGE, MADV_NOHUGEPAGE));
	}
	range_fill(w.area[0], w.pages, 1, 1);
	for (i = 0; i < 2; i++)
		expect_ok(madvise(w.area[i], w.pages * PAGE, MADV_HUGEPAGE));
	file_write(KHUGEPAGED "scan_sleep_millisecs", "0");
	file_write(KHUGEPAGED "pages_to_scan", "4096");
	mover = thread_start(moves_over_zeros, &w);
	other = thread_start(collapses, &w);
	thread_join(mover);
	thread_join(other);
	khugepaged_rest();
	for (i = 0; i < 2; i++)
		madvise(w.area[i], w.pages * PAGE, MADV_NOHUGEPAGE);
	madvise(w.area[1], w.pages * PAGE, MADV_DONTNEED);
	race_end(&w);
}
END_TEST

/* KSM merges what it finds equal, and moving takes it apart again. */
static void *counts_merged(void *arg)
{
	struct race *w = arg;

	while (!w->stop) {
		w->other += file_read_long(KSM "pages_sharing") > 0;
		usleep(1000);
	}
	return NULL;
}

START_TEST(ksm)
{
	pthread_t mover, other;
	struct race w;
	char *twin;

	skip_if(!ksm_available(), "no KSM");
	race_init(&w, 200, 50, 1);
	w.mode = UREMAP_MOVE_UNSHARE;
	w.area[0] = map_filled(w.pages, 1, 1);
	w.area[1] = map_anon(w.pages);
	twin = map_filled(w.pages, 1, 1);
	expect_ok(madvise(w.area[0], w.pages * PAGE, MADV_MERGEABLE));
	expect_ok(madvise(w.area[1], w.pages * PAGE, MADV_MERGEABLE));
	expect_ok(madvise(twin, w.pages * PAGE, MADV_MERGEABLE));
	file_write(KSM "smart_scan", "0");
	file_write(KSM "advisor_mode", "none");
	file_write(KSM "sleep_millisecs", "0");
	file_write(KSM "pages_to_scan", "1000");
	ck_assert_int_eq(file_write(KSM "run", "1"), 0);
	w.rounds = 4000;
	mover = thread_start(moves, &w);
	other = thread_start(counts_merged, &w);
	thread_join(mover);
	thread_join(other);
	/* merged pages are not paged out by MADV_PAGEOUT */
	file_write(KSM "run", "2");
	file_write(KSM "run", "0");
	range_check(twin, w.pages, 1, 1);
	race_end(&w);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(move_pages_small, 200),
	UTEST_SLOW(mbind_small, 200),
	UTEST_SLOW(compaction, 300),
	UTEST_SLOW(move_pages_huge, 200),
	UTEST_SLOW(move_pages_parts, 200),
	UTEST_SLOW(collapse, 200),
	UTEST_SLOW(ksm, 200),
};
UTEST_MAIN("races_migrate", tests)
