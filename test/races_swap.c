// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram -M loop -M ext4 -s 3 */
/*
 * Proves that pages survive being paged out, read back and moved by different
 * threads at once, with the swap devices' own races, and that the books are
 * even afterwards (C8 to C11; C31; E CVE-2025-21984, CVE-2025-38242).
 */
#include "util_peer.h"
#include "util_state.h"
#include "util_swap.h"

#include <sys/swap.h>

enum { N = 192, OWNERS = 2, OWN = N / OWNERS, WALL_MS = 15000 };

struct race {
	int fd;
	char *area[2];
	int rounds;
	uint64_t until;
	long in, out;			/* pages swapped, before */
	volatile bool stop, paged;
	unsigned long moved, healed;
};

/* Only the owner of a page writes it, moves it, and knows where it is. */
struct owner {
	struct race *w;
	int first;
	int at;				/* area its pages are in */
	uint32_t seq;
};

static void race_init(struct race *w, int rounds)
{
	memset(w, 0, sizeof(*w));
	w->fd = dev_open_all();
	w->area[0] = map_filled(N, 0, 0);
	w->area[1] = map_anon(N);
	w->rounds = rounds;
	w->until = now_ms() + WALL_MS;
}

/*
 * Whoever reads where no page is brings the zero page there, which is in the
 * way; nothing else can be.
 */
static void move_run(struct race *w, char *to, char *from, size_t len)
{
	struct move_result r;
	size_t done = 0;

	while (done < len) {
		r = try_move(w->fd, to + done, from + done, len - done,
			     UREMAP_MOVE_UNSHARE);
		if (r.move > 0) {
			done += r.move;
			__sync_fetch_and_add(&w->moved, r.moved / PAGE);
			__sync_fetch_and_add(&w->healed, r.healed / PAGE);
		}
		if (r.ret && r.error == EEXIST)
			expect_ok(madvise(to + done, PAGE, MADV_DONTNEED));
		else if (r.ret && r.error != EAGAIN)
			ck_abort_msg("error %u reason %s", r.error,
				     reason_name(r.reason));
	}
}

static void *owns(void *arg)
{
	struct owner *o = arg;
	struct race *w = o->w;
	int i, from, n;

	for (o->seq = 1; now_ms() < w->until &&
	     ((int)o->seq <= w->rounds || !w->paged); o->seq++) {
		for (i = 0; i < OWN; i++)
			page_fill(w->area[o->at] + (o->first + i) * PAGE,
				  o->first + i, o->seq);
		for (from = 0; from < OWN; from += n) {
			n = 1 + rnd_below(24);
			n = n > OWN - from ? OWN - from : n;
			move_run(w, w->area[!o->at] + (o->first + from) * PAGE,
				 w->area[o->at] + (o->first + from) * PAGE,
				 n * PAGE);
		}
		o->at = !o->at;
		i = rnd_below(OWN);
		page_check(w->area[o->at] + (o->first + i) * PAGE, o->first + i,
			   o->seq);
	}
	o->seq--;
	return NULL;
}

/* Never another page, never an older one than seen before. */
static void *watches(void *arg)
{
	static __thread uint32_t last[N];
	struct race *w = arg;
	uint32_t id, seq;
	int i;

	while (!w->stop) {
		i = rnd_below(N);
		if (!page_read(w->area[rnd() & 1] + i * PAGE, &id, &seq)) {
			usleep(100);
			continue;
		}
		if (id != (uint32_t)i || seq < last[i])
			ck_abort_msg("page %d: id %u seq %u after %u", i, id,
				     seq, last[i]);
		last[i] = seq;
	}
	return NULL;
}

static void *pages_out(void *arg)
{
	struct race *w = arg;
	int from, n;

	while (!w->stop) {
		from = rnd_below(N);
		n = 1 + rnd_below(N - from);
		madvise(w->area[rnd() & 1] + from * PAGE, n * PAGE,
			MADV_PAGEOUT);
		usleep(rnd_below(2000));
		w->paged = vmstat("pswpin") > w->in + 100 &&
			   vmstat("pswpout") > w->out + 100;
	}
	return NULL;
}

static void race_run(struct race *w, void *(*extra)(void *))
{
	struct owner o[OWNERS];
	pthread_t t[OWNERS], watcher, pager, other;
	int i;

	w->in = vmstat("pswpin");
	w->out = vmstat("pswpout");
	watcher = thread_start(watches, w);
	pager = thread_start(pages_out, w);
	if (extra)
		other = thread_start(extra, w);
	for (i = 0; i < OWNERS; i++) {
		o[i] = (struct owner){ .w = w, .first = i * OWN };
		t[i] = thread_start(owns, &o[i]);
	}
	for (i = 0; i < OWNERS; i++)
		thread_join(t[i]);
	w->stop = true;
	thread_join(watcher);
	thread_join(pager);
	if (extra)
		thread_join(other);
	for (i = 0; i < OWNERS; i++)
		range_check(w->area[o[i].at] + o[i].first * PAGE, OWN,
			    o[i].first, o[i].seq);
	test_note("%u and %u rounds, %lu moved, %lu healed, %ld in, %ld out",
		  o[0].seq, o[1].seq, w->moved, w->healed,
		  vmstat("pswpin") - w->in, vmstat("pswpout") - w->out);
	ck_assert_int_gt(vmstat("pswpout"), w->out);
	ck_assert_int_gt(vmstat("pswpin"), w->in);
	/* reclaim still finds each page where it is now */
	lru_settle_all();
	for (i = 0; i < OWNERS; i++) {
		swap_out(w->area[o[i].at] + o[i].first * PAGE, OWN);
		range_check(w->area[o[i].at] + o[i].first * PAGE, OWN,
			    o[i].first, o[i].seq);
	}
	munmap(w->area[0], N * PAGE);
	munmap(w->area[1], N * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}

START_TEST(pageout)
{
	struct race w;

	swap_use(_i);
	race_init(&w, 80);
	race_run(&w, NULL);
}
END_TEST

static void *swaps_off_and_on(void *arg)
{
	struct race *w = arg;

	while (!w->stop) {
		usleep(100000);
		expect_ok(swapoff("/dev/zram0"));
		usleep(20000);
		expect_ok(swapon("/dev/zram0", 0));
	}
	return NULL;
}

/* The device goes away and comes back under the entries. */
START_TEST(swapoff_meanwhile)
{
	struct race w;

	swap_use(SWAP_ZRAM);
	race_init(&w, 80);
	race_run(&w, swaps_off_and_on);
}
END_TEST

static void *forks(void *arg)
{
	struct race *w = arg;
	pid_t pid;

	while (!w->stop) {
		pid = expect_ok(fork());
		if (!pid) {
			usleep(rnd_below(20000));
			_exit(0);
		}
		child_join(pid);
		usleep(rnd_below(5000));
	}
	return NULL;
}

/* Entries and cached pages are shared with children all the time. */
START_TEST(fork_meanwhile)
{
	struct race w;

	swap_use(_i);
	race_init(&w, 40);
	race_run(&w, forks);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP_SLOW(pageout, 2, 200),
	UTEST_SLOW(swapoff_meanwhile, 200),
	UTEST_LOOP_SLOW(fork_meanwhile, 2, 200),
};
UTEST_MAIN("races_swap", tests)
