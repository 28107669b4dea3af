// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a monitor that follows forks, remappings, removals and unmappings
 * can go on serving faults, and bringing pages ahead of them, by moves: nobody
 * ever sees a page at an old place or of an old time.
 */
#include "util.h"

#include <poll.h>

enum { N = 48, ID = 90, ROUNDS = 250 };

/*
 * The memory holds page n with sequence @seq[n]; a page that was removed comes
 * back with the next one.  There are two views of it: the worker's, which makes
 * the changes, and the monitor's, which is told.
 */
struct view {
	char *base;
	uint32_t seq[N];
};

struct world {
	int fd, uffd;
	int child;			/* userfaultfd of the last child, or -1 */
	struct view worker, monitor;
	struct view forked;		/* the monitor's, of the child */
	char *stage;
	volatile bool stop;
	unsigned long events, faults, ahead, changing;
};

/* Makes page @n anew, and moves it to where it belongs by what is known. */
static struct move_result bring(struct world *w, size_t n)
{
	page_fill(w->stage, ID + n, w->monitor.seq[n]);
	return try_move(w->fd, w->monitor.base + n * PAGE, w->stage, PAGE, 0);
}

static void on_fault(struct world *w, char *addr)
{
	size_t n = (addr - w->monitor.base) / PAGE;
	struct move_result r;

	ck_assert_uint_lt(n, N);
	do {
		r = bring(w, n);
	} while (r.ret && r.err == EAGAIN);
	/* it may have come ahead, when the thread was about to wait */
	if (r.ret && r.err != EEXIST)
		ck_abort_msg("page %zu: errno %d reason %s", n, r.err,
			     reason_name(r.reason));
	w->faults++;
}

/* Where it was before a remapping is none of ours: that place goes as well. */
static void on_removal(struct world *w, char *start, char *end)
{
	size_t n = (start - w->monitor.base) / PAGE;

	for (; start < end && n < N; start += PAGE)
		w->monitor.seq[n++]++;
}

static void on_event(struct world *w, const struct uffd_msg *msg)
{
	char *start = (char *)(uintptr_t)msg->arg.remove.start;
	char *end = (char *)(uintptr_t)msg->arg.remove.end;

	w->events += msg->event != UFFD_EVENT_PAGEFAULT;
	switch (msg->event) {
	case UFFD_EVENT_PAGEFAULT:
		on_fault(w, (char *)(uintptr_t)msg->arg.pagefault.address);
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		on_removal(w, start, end);
		break;
	case UFFD_EVENT_REMAP:
		ck_assert_uint_eq(msg->arg.remap.from, ADDR(w->monitor.base));
		w->monitor.base = (char *)(uintptr_t)msg->arg.remap.to;
		break;
	case UFFD_EVENT_FORK:
		if (w->child >= 0)
			close(w->child);
		w->child = msg->arg.fork.ufd;
		w->forked = w->monitor;
		break;
	default:
		ck_abort_msg("event %#x", msg->event);
	}
}

/* The child's memory is not ours to move to: it gets copies. */
static void serve_child(struct world *w)
{
	static char content[PAGE] __attribute__((aligned(PAGE)));
	struct uffd_msg msg;
	char *page;
	size_t n;

	while (w->child >= 0 && uffd_read(w->child, 0, &msg)) {
		page = (char *)(uintptr_t)(msg.arg.pagefault.address &
					   ~(PAGE - 1));
		n = (page - w->forked.base) / PAGE;
		ck_assert_uint_lt(n, N);
		page_fill(content, ID + n, w->forked.seq[n]);
		ck_assert_int_eq(try_uffd_copy(w->child, page, content, PAGE,
					       0), 0);
	}
}

/* A page that nobody has asked for. */
static void bring_ahead(struct world *w)
{
	struct move_result r = bring(w, rnd_below(N));

	if (!r.ret)
		w->ahead++;
	else if (r.err == EAGAIN && r.reason == UREMAP_REASON_CHANGING)
		w->changing++;
	else if (r.err != EEXIST && r.reason != UREMAP_REASON_DST_NO_VMA &&
		 r.reason != UREMAP_REASON_DST_NOT_UFFD)
		ck_abort_msg("ahead: errno %d reason %s", r.err,
			     reason_name(r.reason));
}

static void *monitors(void *arg)
{
	struct world *w = arg;
	struct uffd_msg msg;

	while (!w->stop) {
		struct pollfd p[2] = {
			{ .fd = w->uffd, .events = POLLIN },
			{ .fd = w->child, .events = POLLIN },
		};

		expect_ok(poll(p, 2, 1));
		/* before the news is read: it must not do any harm */
		bring_ahead(w);
		while (uffd_read(w->uffd, 0, &msg))
			on_event(w, &msg);
		serve_child(w);
	}
	return NULL;
}

/* ---- the worker ---------------------------------------------------------- */

static void check_page(struct view *v, size_t n)
{
	page_check(v->base + n * PAGE, ID + n, v->seq[n]);
}

static void remove_some(struct world *w)
{
	struct view *v = &w->worker;
	size_t first = rnd_below(N), len = 1 + rnd_below(N - first), i;

	for (i = first; i < first + len; i++)
		v->seq[i]++;
	expect_ok(madvise(v->base + first * PAGE, len * PAGE, MADV_DONTNEED));
}

static void remap(struct world *w)
{
	struct view *v = &w->worker;
	char *to = map_nothing(N);

	map_shift(v->base, to, N);
	v->base = to;
}

static void watch(struct world *w)
{
	uffd_register(w->uffd, w->worker.base, N * PAGE,
		      UFFDIO_REGISTER_MODE_MISSING);
}

/* All of it goes, and comes again at the same place. */
static void map_anew(struct world *w)
{
	struct view *v = &w->worker;
	size_t i;

	for (i = 0; i < N; i++)
		v->seq[i]++;
	expect_ok(munmap(v->base, N * PAGE));
	ck_assert_ptr_eq(mmap(v->base, N * PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 v->base);
	expect_ok(madvise(v->base, N * PAGE, MADV_NOHUGEPAGE));
	watch(w);
}

static int checks_all(void *arg)
{
	struct world *w = arg;
	size_t n;

	for (n = 0; n < N; n++)
		check_page(&w->worker, n);
	return 0;
}

static void round_of(struct world *w)
{
	int i;

	switch (rnd_below(8)) {
	case 0:
		remap(w);
		break;
	case 1:
		map_anew(w);
		break;
	case 2:
		child_run(checks_all, w);
		break;
	default:
		remove_some(w);
	}
	for (i = 0; i < 12; i++)
		check_page(&w->worker, rnd_below(N));
}

static void world_open(struct world *w, __u64 features)
{
	w->fd = dev_open_all();
	w->uffd = uffd_open(features);
	w->child = -1;
	w->stage = map_anon(1);
	/* or it would be shared when it is moved */
	expect_ok(madvise(w->stage, PAGE, MADV_DONTFORK));
	w->worker.base = map_anon(N);
	w->monitor.base = w->worker.base;
	watch(w);
	dev_attach(w->fd, w->uffd);
}

START_TEST(follows)
{
	static struct world w;
	pthread_t t;
	int round;

	world_open(&w, UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
		   UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP);
	t = thread_start(monitors, &w);
	for (round = 0; round < repeats(ROUNDS); round++)
		round_of(&w);
	checks_all(&w);
	w.stop = true;
	thread_join(t);
	ck_assert_ptr_eq(w.monitor.base, w.worker.base);
	ck_assert_mem_eq(w.monitor.seq, w.worker.seq, sizeof(w.worker.seq));
	ck_assert_uint_ge(w.events, repeats(ROUNDS));
	ck_assert(w.faults && w.ahead && w.changing);
	test_note("%lu events, %lu faults, %lu pages ahead, %lu times changing",
		  w.events, w.faults, w.ahead, w.changing);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(follows, 1200),
};
UTEST_MAIN("monitor_events", tests)
