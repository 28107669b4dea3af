// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker: its threads, and what they do next.
 *
 * What a thread does in its operation number n follows from seed, worker,
 * generation, thread and n alone, whatever came of those before; so a run is
 * repeated by its seed, as far as the operations go.
 */
#include "torture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define OPS_PER_MELEE	150U

static const struct {
	op_fn *fn;
	uint8_t weight;
	uint8_t size;			/* 1: page, 2: some, 3: up to huge pages */
} ops[OP_MELEE] = {
	[OP_MOVE] = { op_move, 45, 3 },
	[OP_MOVEV] = { op_movev, 15, 3 },
	[OP_WRITE] = { op_write, 20, 2 },
	[OP_CHECK] = { op_check, 8, 2 },
	[OP_DISCARD] = { op_discard, 5, 3 },
	[OP_FREE] = { op_free, 4, 2 },
	[OP_PROTECT] = { op_protect, 4, 2 },
	[OP_LOCK] = { op_lock, 3, 2 },
	[OP_REMAP] = { op_remap, 2, 2 },
	[OP_MREMAP] = { op_mremap, 2, 2 },
	[OP_REGISTER] = { op_register, 5, 2 },
	[OP_WP] = { op_wp, 6, 2 },
	[OP_PIN] = { op_pin, 6, 2 },
	[OP_SPLICE] = { op_splice, 4, 1 },
	[OP_FORK] = { op_fork, 3, 2 },
	[OP_PAGEOUT] = { op_pageout, 6, 3 },
	[OP_COLD] = { op_cold, 2, 3 },
	[OP_COLLAPSE] = { op_collapse, 4, 3 },
	[OP_HUGE] = { op_huge, 4, 3 },
	[OP_THP] = { op_thp, 3, 3 },
	[OP_KSM] = { op_ksm, 3, 2 },
	[OP_NUMA] = { op_numa, 4, 2 },
	[OP_READ] = { op_read, 8, 2 },
	[OP_GUP] = { op_gup, 4, 2 },
	[OP_STORM] = { op_storm, 2, 1 },
	[OP_RIGHTS] = { op_rights, 3, 3 },
};

static __thread struct thread *self;

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

uint64_t rnd(struct thread *t)
{
	t->rng += 0x9e3779b97f4a7c15;
	return mix(t->rng);
}

static void seed_op(struct thread *t, uint32_t n)
{
	t->rng = mix(shared->opt.seed ^ mix((uint64_t)t->w->nr << 56 |
		     (uint64_t)t->w->generation << 40 | (uint64_t)t->nr << 32 | n));
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	struct thread *t = self;
	sigset_t set;

	if (!t || !t->may_fault)
		fail(t, "signal %d at address %p", sig, info->si_addr);
	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	siglongjmp(t->jump, 1);
}

/* The beginning of what a thread does, in a number: the same for a seed. */
static void note_sequence(struct thread *t)
{
	uint64_t *sum = &shared->worker[t->w->nr].sequence[t->nr];
	const struct log_entry *e = t->now;

	if (t->w->generation || t->ops >= SEQUENCE)
		return;
	*sum = mix(*sum ^ ((uint64_t)e->op << 32 | e->a));
	*sum = mix(*sum ^ ((uint64_t)e->len << 32 | e->b));
}

static enum op draw_op(struct thread *t)
{
	uint32_t sum = 0, i, n;

	for (i = 0; i < OP_MELEE; i++)
		sum += ops[i].weight;
	n = below(t, sum);
	for (i = 0; n >= ops[i].weight; i++)
		n -= ops[i].weight;
	return i;
}

static uint32_t draw_len(struct thread *t, uint8_t size)
{
	if (size == 1 || one_in(t, 4))
		return 1;
	if (size == 3 && one_in(t, 3))
		return one_in(t, 2) ? HPAGES : 1 + below(t, 2 * HPAGES);
	return 1 + below(t, 48);
}

/*
 * Operations stay inside an area, and huge ones are mostly aligned.  Some slots
 * are meant more often than others, so that much happens to the same page.
 */
static uint32_t draw_slot(struct thread *t, uint32_t len)
{
	uint32_t slot = below(t, AREAS) * t->w->area_pages;
	uint32_t n = one_in(t, 2) && len <= HOT ? HOT : t->w->area_pages;
	uint32_t off = below(t, n - len + 1);
	bool align = len >= HPAGES && !one_in(t, 4);

	return slot + (align ? off - off % HPAGES : off);
}

static void one_op(struct thread *t)
{
	uint32_t a, b, len;
	enum op op;

	seed_op(t, t->ops);
	op = draw_op(t);
	len = draw_len(t, ops[op].size);
	a = draw_slot(t, len);
	b = draw_slot(t, len);
	t->now = &t->log->entry[t->log->next % LOG_LEN];
	*t->now = (struct log_entry){
		.nr = t->ops, .op = op, .a = a, .b = b, .len = len,
	};
	__atomic_fetch_add(&t->log->next, 1, __ATOMIC_RELEASE);
	note_sequence(t);
	ops[op].fn(t, a, b, len);
	COUNT(ops[op], 1);
	COUNT(effect[op], t->now->result >= 0);
	t->ops++;
}

static void check_all(struct thread *t)
{
	struct worker *w = t->w;
	uint32_t i;

	for (i = t->nr * BLOCK; i < w->pages; i += BLOCK * shared->opt.threads)
		op_check(t, i, i, BLOCK);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	uint32_t epoch;

	self = t;
	t->uring = uring_create();
	if (pipe(t->pipe))
		fail(t, "pipe: %s", strerror(errno));
	for (epoch = 0; t->w->go_on; epoch++) {
		uint32_t i;

		for (i = 0; i < OPS_PER_MELEE && !shared->stop; i++)
			one_op(t);
		seed_op(t, 1U << 31 | epoch);
		melee(t, epoch);
	}
	seed_op(t, ~0U);
	t->now = &t->log->entry[t->log->next % LOG_LEN];
	peers_end(t);
	check_all(t);
	return NULL;
}

static bool kernel_at_least(int major, int minor)
{
	struct utsname u;
	int a = 0, b = 0;

	uname(&u);
	if (sscanf(u.release, "%d.%d", &a, &b) != 2)
		fail(NULL, "what release is %s?", u.release);
	return a > major || (a == major && b >= minor);
}

static void worker_prepare(struct worker *w)
{
	struct sigaction sa = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	w->pages = shared->opt.mib * 256 / shared->opt.workers;
	w->area_pages = w->pages / AREAS / HPAGES * HPAGES;
	w->pages = w->area_pages * AREAS;
	w->kernel_unshare = kernel_at_least(5, 19);
	w->go_on = true;
	w->dev = dev_open_all();
	w->dev_rights = dev_open_all();
	w->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	model_create(w);
	uffd_start(w);
	melee_create(w);
	pthread_barrier_init(&w->barrier, NULL, shared->opt.threads);
}

void worker_run(unsigned int nr, unsigned int generation)
{
	static struct worker worker;
	static struct thread threads[MAX_THREADS];
	pthread_t id[MAX_THREADS];
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	worker.nr = nr;
	worker.generation = generation;
	worker_prepare(&worker);
	for (i = 0; i < shared->opt.threads; i++) {
		threads[i].w = &worker;
		threads[i].nr = i;
		threads[i].log = &shared->worker[nr].log[i];
		threads[i].log->next = 0;
		if (pthread_create(&id[i], NULL, thread_main, &threads[i]))
			fail(NULL, "no thread");
	}
	for (i = 0; i < shared->opt.threads; i++)
		pthread_join(id[i], NULL);
	exit(0);
}
