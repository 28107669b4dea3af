// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a child always has the bytes its parent had at fork(), while
 * threads of the parent heal, move and write the same pages: no lock is let go
 * of between healing and moving (C4, G1; C31).
 */
#include "util_peer.h"
#include "util_state.h"

#include <stdatomic.h>

enum { N = 64, OWNERS = 2, OWN = N / OWNERS, WALL_MS = 15000, CHILDREN = 250 };

/*
 * Page i is at one of two places, and its owner writes it only between moves.
 * What is written goes up by one each time, and is noted before and after: a
 * child knows by the notes it inherited what it must find.
 */
struct race {
	int fd;
	__u64 mode;
	char *area[2];
	_Atomic uint32_t begun[N], done[N];
	volatile bool stop;
	unsigned long moved, healed, refused;
};

struct owner {
	struct race *w;
	int first;
};

static void write_page(struct race *w, char *page, int i)
{
	uint32_t seq = w->begun[i] + 1;

	atomic_store(&w->begun[i], seq);
	page_fill(page, i, seq);
	atomic_store(&w->done[i], seq);
}

static void *owns(void *arg)
{
	struct owner *o = arg;
	struct race *w = o->w;
	int at[OWN] = { 0 }, i, n;
	struct move_result r;

	while (!w->stop) {
		i = rnd_below(OWN);
		n = o->first + i;
		r = try_move(w->fd, w->area[!at[i]] + n * PAGE,
			     w->area[at[i]] + n * PAGE, PAGE, w->mode);
		if (!r.ret) {
			at[i] = !at[i];
			__sync_fetch_and_add(&w->moved, 1);
			__sync_fetch_and_add(&w->healed, r.healed / PAGE);
		} else if (r.err == EBUSY &&
			   r.reason == UREMAP_REASON_NOT_EXCLUSIVE &&
			   !(w->mode & UREMAP_MOVE_UNSHARE)) {
			w->refused++;
		} else if (r.err != EAGAIN) {
			ck_abort_msg("errno %d reason %s", r.err,
				     reason_name(r.reason));
		}
		if (rnd() & 1)
			write_page(w, w->area[at[i]] + n * PAGE, n);
	}
	return NULL;
}

/*
 * fork() does not stop threads that write: of each owner one write may fall
 * between the copying of the notes and that of the page, and each word of it be
 * old or new.  More than one cannot, as moves wait for the end of the fork.
 */
static bool plausible(const char *page, uint32_t id, uint32_t from, uint32_t to)
{
	const uint64_t *word = (const uint64_t *)page;
	uint32_t seq;
	size_t i;

	for (i = 0; i < PAGE / 8; i++) {
		seq = word[i] >> 9 & 0x3fffff;
		if (word[i] >> 32 != id || (word[i] & 0x1ff) != i ||
		    seq < from || seq > to)
			return false;
	}
	return true;
}

/* In the child: what was there at the fork, and the same bytes ever after. */
static int looks(struct race *w)
{
	static char copy[N][PAGE];
	uint32_t done;
	char *page;
	int i, at;

	for (i = 0; i < N; i++) {
		at = page_populated(w->area[1] + i * PAGE);
		if (at == page_populated(w->area[0] + i * PAGE))
			return 2;
		page = w->area[at] + i * PAGE;
		done = w->done[i];
		if (!plausible(page, i, done ? done - 1 : 0, w->begun[i] + 1))
			return 3;
		memcpy(copy[i], page, PAGE);
	}
	usleep(rnd_below(15000));
	for (i = 0; i < N; i++) {
		at = page_populated(w->area[1] + i * PAGE);
		if (memcmp(copy[i], w->area[at] + i * PAGE, PAGE))
			return 5;
	}
	return 0;
}

static void fork_race(__u64 mode)
{
	uint64_t until = now_ms() + WALL_MS;
	struct race *w;
	struct owner o[OWNERS];
	pthread_t t[OWNERS];
	int i, children;
	pid_t pid;

	/* the notes are private memory, too: a child has those of its fork */
	w = calloc(1, sizeof(*w));
	w->fd = dev_open_all();
	w->mode = mode;
	w->area[0] = map_filled(N, 0, 0);
	w->area[1] = map_anon(N);
	for (i = 0; i < OWNERS; i++) {
		o[i] = (struct owner){ w, i * OWN };
		t[i] = thread_start(owns, &o[i]);
	}
	for (children = 0; children < CHILDREN && now_ms() < until; children++) {
		fflush(stdout);
		pid = expect_ok(fork());
		if (!pid)
			_exit(looks(w));
		if (rnd() & 1)
			usleep(rnd_below(5000));
		child_join(pid);
	}
	w->stop = true;
	for (i = 0; i < OWNERS; i++)
		thread_join(t[i]);
	test_note("%d children, %lu moved, %lu healed, %lu refused", children,
		  w->moved, w->healed, w->refused);
	ck_assert_uint_gt(w->moved, 0);
	ck_assert_uint_gt(mode ? w->healed : w->refused, 0);
	for (i = 0; i < N; i++) {
		int at = page_populated(w->area[1] + i * PAGE);

		ck_assert_int_ne(at, page_populated(w->area[0] + i * PAGE));
		page_check(w->area[at] + i * PAGE, i, w->done[i]);
	}
}

START_TEST(healing)
{
	fork_race(UREMAP_MOVE_UNSHARE);
}
END_TEST

START_TEST(refusing)
{
	fork_race(0);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(healing, 200),
	UTEST_SLOW(refusing, 200),
};
UTEST_MAIN("races_fork", tests)
