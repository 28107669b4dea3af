/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The torture program: what its parts share.
 *
 * A supervisor (main.c) starts workers, kills some of them now and then, and
 * disturbs the system they run on.  A worker has an arena of page slots and a
 * model that knows what each slot must hold; its threads do random operations
 * on the arena and compare.  What an operation changes is locked in the model,
 * block by block, so that the comparison is exact; what only disturbs (reclaim,
 * migration, readers ...) takes no lock.  Every now and then all threads of a
 * worker meet in a melee (melee.c), where nothing is locked at all.
 */
#ifndef UREMAP_TORTURE_H
#define UREMAP_TORTURE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <linux/uremap.h>

#define PAGE		4096UL
#define HPAGES		512U		/* pages in a huge page */
#define BLOCK		64U		/* pages in a block of the model */
#define AREAS		4U		/* mappings an arena starts as */
#define HOT		HPAGES		/* at the start of each, used more often */
#define WORDS		(PAGE / sizeof(uint64_t))
#define ADDR(p)		((__u64)(uintptr_t)(p))

#define MAX_WORKERS	8
#define MAX_THREADS	8
#define LOG_LEN		64
#define SEQUENCE	300		/* operations whose sequence is told */

#ifndef MADV_PAGEOUT
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

/* ---- what workers and supervisor share (main.c) ------------------------ */

enum op {
	OP_MOVE, OP_MOVEV, OP_WRITE, OP_CHECK, OP_DISCARD, OP_FREE, OP_PROTECT, OP_LOCK,
	OP_REMAP, OP_MREMAP, OP_REGISTER, OP_WP, OP_PIN, OP_SPLICE, OP_FORK,
	OP_PAGEOUT, OP_COLD, OP_COLLAPSE, OP_HUGE, OP_THP, OP_KSM, OP_NUMA, OP_READ,
	OP_GUP, OP_STORM, OP_RIGHTS, OP_MELEE, OP_NR
};

struct log_entry {
	uint32_t nr;			/* of the operation in its thread */
	uint8_t op;
	uint32_t a, b, len;		/* slots */
	uint32_t mode;
	int32_t result;
	uint32_t reason;
};

struct thread_log {
	uint32_t next;
	struct log_entry entry[LOG_LEN];
};

#define MAX_REASONS	128

/* What is done to the system as a whole (system.c), and to workers (main.c) */
enum disturbance {
	DO_COMPACT, DO_KSM, DO_KSM_ZERO, DO_HUGE, DO_LIMIT, DO_DROP, DO_SWAPOFF,
	DO_IDLE, DO_LRU_GEN, DO_RECLAIM, DO_KILL, DO_MRELEASE, DO_NR
};

struct counters {
	uint64_t ops[OP_NR];
	uint64_t effect[OP_NR];		/* of these were not refused or void */
	uint64_t disturbed[DO_NR], undisturbed[DO_NR];
	uint64_t restarts;
	uint64_t moves, pages, holes, healed;
	uint64_t refused[MAX_REASONS];
	uint64_t faults;		/* answered by userfaultfd monitors */
	uint64_t melees, melee_moves;
};

struct options {
	unsigned int seconds;
	uint64_t seed;
	unsigned int workers, threads;
	unsigned int mib;		/* all arenas together */
	bool numa, kill, system;
};

struct shared {
	struct options opt;
	bool stop;
	bool failed;
	unsigned int failed_worker;
	char message[2048];
	struct counters count;
	struct {
		pid_t pid;
		unsigned int generation;
		struct thread_log log[MAX_THREADS];
		uint64_t sequence[MAX_THREADS];
	} worker[MAX_WORKERS];
};

extern struct shared *shared;

#define COUNT(field, n) \
	__atomic_fetch_add(&shared->count.field, n, __ATOMIC_RELAXED)

/* ---- the model (model.c) ----------------------------------------------- */

/* Identities below this one are shared by many pages, for KSM to find. */
#define COMMON		16U

/*
 * EMPTY: nothing, or zeros, which readers may have brought in
 * FULL:  identity and sequence number in every word
 * LAZY:  FULL or EMPTY, since MADV_FREE
 */
enum state { EMPTY, FULL, LAZY };

struct slot {
	uint32_t id;
	uint32_t seq;
	uint8_t state;
	uint8_t pinned;
};

#define UFFD_MISSING	1
#define UFFD_WP		2

struct block {
	pthread_mutex_t lock;
	int prot;
	bool mlocked;
	uint8_t uffd;			/* what it is registered for */
};

struct worker {
	unsigned int nr, generation;
	uint32_t pages, area_pages;
	char *arena;
	struct slot *slots;
	struct block *blocks;
	uint32_t next_id;
	unsigned int mlocked;		/* blocks */
	int dev, dev_attached, dev_rights;
	int uffd;			/* -1: none on this kernel */
	int pagemap;
	bool uffd_wp, uffd_events;
	bool kernel_unshare;		/* FAULT_FLAG_UNSHARE, by release */
	struct melee *melee;
	pthread_barrier_t barrier;
	bool go_on;
};

struct uring;
struct melee;

struct thread {
	struct worker *w;
	unsigned int nr;
	uint64_t rng;
	uint32_t ops;
	struct log_entry *now;
	struct thread_log *log;
	struct uring *uring;
	uint32_t pin_slot, pin_len;
	int pipe[2];
	uint32_t pipe_id;		/* 0: nothing in it */
	pid_t child[2];
	sigjmp_buf jump;
	volatile bool may_fault;
};

char *slot_addr(const struct worker *w, uint32_t slot);
void model_create(struct worker *w);
/* Blocks of one or two ranges of slots, in an order that is always the same. */
void model_lock(struct worker *w, uint32_t a, uint32_t b, uint32_t len);
void model_unlock(struct worker *w, uint32_t a, uint32_t b, uint32_t len);
static inline struct block *block_of(const struct worker *w, uint32_t slot)
{
	return &w->blocks[slot / BLOCK];
}
bool any_pinned(const struct worker *w, uint32_t slot, uint32_t len);

void page_fill(void *page, uint32_t id, uint32_t seq);
/* NULL, or what is wrong with it */
const char *page_differs(const void *page, uint32_t id, uint32_t seq);
const char *page_not_zero(const void *page);
/* Is each word by itself one this worker may have written, or zero? */
const char *page_foreign(const struct worker *w, const void *page);
/* Compares a slot with the memory; a LAZY one becomes what it is found to be. */
void slot_check(struct thread *t, uint32_t slot);
bool slot_readable(const struct worker *w, uint32_t slot);
bool slot_writable(const struct worker *w, uint32_t slot);
uint32_t new_id(struct worker *w);

/* ---- random numbers (worker.c) ----------------------------------------- */

uint64_t rnd(struct thread *t);
static inline uint32_t below(struct thread *t, uint32_t n)
{
	return rnd(t) % n;
}
static inline bool one_in(struct thread *t, uint32_t n)
{
	return !below(t, n);
}

/* The operation came to nothing: what it needs was not there. */
static inline void came_to_nothing(struct thread *t)
{
	t->now->result = -ECANCELED;
}

/* What a thread runs: the arguments have been drawn and logged. */
typedef void op_fn(struct thread *t, uint32_t a, uint32_t b, uint32_t len);

/* move.c, movev.c */
op_fn op_move, op_movev;
/* change.c */
op_fn op_write, op_check, op_discard, op_free, op_protect, op_lock, op_remap;
op_fn op_mremap, op_thp;
void slot_write(struct thread *t, uint32_t slot, bool common);
void discard(struct thread *t, uint32_t slot, uint32_t len);
/* uffd.c */
op_fn op_register, op_wp;
void uffd_start(struct worker *w);
void uffd_forget(struct worker *w, uint32_t block);
/* peers.c */
op_fn op_pin, op_splice, op_fork;
void peers_end(struct thread *t);
/* noise.c */
op_fn op_pageout, op_cold, op_collapse, op_huge, op_ksm, op_numa, op_read;
op_fn op_gup, op_storm, op_rights;
/* Runs @fn; false if it touched what is not mapped at the moment. */
bool try_touch(struct thread *t, void (*fn)(struct thread *t, void *arg),
	       void *arg);

/* melee.c */
void melee_create(struct worker *w);
void melee(struct thread *t, uint32_t epoch);

/* uring.c */
struct uring *uring_create(void);
int uring_pin(struct uring *u, void *start, size_t len);
int uring_unpin(struct uring *u);
int uring_read_fixed(struct uring *u, int fd, void *buf, size_t len);

/* worker.c */
void worker_run(unsigned int nr, unsigned int generation)
	__attribute__((noreturn));

/* system.c */
void system_prepare(void);
void system_disturb(uint64_t random);
void disturbed(enum disturbance what, bool ok);
void system_settle(void);
void system_restore(void);
bool write_text(const char *path, const char *text);
long read_long(const char *path);
int dev_open_all(void);

/* report.c */
void report_begin(void);
void fail(struct thread *t, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
void describe_slot(const struct worker *w, uint32_t slot, char *buf, size_t len);
void report_failure(void);
void report_progress(unsigned int seconds);
void report_end(unsigned int seconds);
const char *reason_name(uint32_t reason);
int reason_error(uint32_t reason);

#endif /* UREMAP_TORTURE_H */
