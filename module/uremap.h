/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private types and prototypes.
 *
 * Lock order, outer to inner; read it with the tree at the top of mm/rmap.c:
 *
 *   ctx->lock                          (ioctl.c; moves read, registration writes)
 *     mm->mmap_lock, read              (move.c, or pair.h: dropped once it has led to)
 *     VMA locks, read                  (pair.h; kernels that have them)
 *       map_changing_lock, read        (attach.c; from 6.9, if one is attached)
 *         mmu notifier start           (move_pte.c, move_pmd.c; may sleep)
 *           anon_vma->root->rwsem, write (ptes.h; kernels before 6.19)
 *             page-table locks: one, trylock only for more (ptes.h, tables.c)
 *               folio lock, trylock only (ptes.h, run.c, move_large.c, move_pmd.c)
 *               ctx->hold_lock         (rmap.c; kernels before 6.8)
 *         folio lock, sleeping         (settle.c; none of the last four held)
 *
 * Who holds VMA locks never waits for the mmap lock: a writer that has it waits for
 * them.  So what has to be waited for is left to a second turn (move.c).
 *
 * The folio lock is outside the anon_vma and page-table locks in mm.  Inside
 * them it is only tried; whoever fails drops them all and waits outside.
 */
#ifndef _UREMAP_UREMAP_H
#define _UREMAP_UREMAP_H

#include <linux/mm_types.h>
#include <linux/percpu.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <linux/uremap.h>

struct file;
struct uremap_scratch;
struct seq_file;

#define UREMAP_VERSION		"0.1.0"

/* Modes and features that this module has on this kernel. */
#define UREMAP_MODES		(UREMAP_MOVE_DONTWAKE | \
				 UREMAP_MOVE_ALLOW_SRC_HOLES | \
				 UREMAP_MOVE_WP | UREMAP_MOVE_KEEP_WP | \
				 UREMAP_MOVE_UNSHARE)
#define UREMAP_FEATURES		(UREMAP_FEATURE_UNSHARE | \
				 UREMAP_FEATURE_THP | \
				 UREMAP_FEATURE_LARGE_FOLIO | \
				 UREMAP_FEATURE_ZEROPAGE | \
				 UREMAP_FEATURE_SWAP | \
				 (UREMAP_SWAP_ENTRIES ? \
				  UREMAP_FEATURE_SWAP_ENTRY : 0) | \
				 UREMAP_FEATURE_UFFD_WP | \
				 UREMAP_FEATURE_ATTACH | \
				 UREMAP_FEATURE_MOVEV)

/* Ranges one file may hold: bounds the kernel memory it can pin. */
#define UREMAP_MAX_RANGES	1048576U

/* Segments one MOVEV takes. */
#define UREMAP_MAX_SEGMENTS	65536U

/* anon_vmas one file may keep alive before it lets go of all (rmap.c). */
#define UREMAP_MAX_HOLDS	16

/* Attempts at splitting one folio, pauses of a tick for one page. */
#define UREMAP_MAX_SPLITS	16
#define UREMAP_MAX_PAUSES	2000

/* A shared page under userfaultfd's write-protection; not in the uABI. */
#define UREMAP_REASON_NOT_EXCLUSIVE_WP	0x80000001U
/* Just swapped in, not shared, but with a reference more; likewise. */
#define UREMAP_REASON_SWAPPED_IN	0x80000002U

/* The context holds as many anon_vmas as it may; likewise. */
#define UREMAP_REASON_HOLDS_FULL	0x80000003U

/* Attempts at one page before a move gives up with UREMAP_REASON_RETRY_LIMIT. */
#define UREMAP_MAX_RETRIES	64

/**
 * struct uremap_pair - the mappings a move goes between
 * @src: of the source
 * @dst: of the destination; may be the same
 */
struct uremap_pair {
	struct vm_area_struct *src;
	struct vm_area_struct *dst;
};

/**
 * struct uremap_known - a pair that was vetted, and until when that holds
 * @ctx:   number of the context; 0: none
 * @seq:   count of changes to the mappings of its address space
 * @until: in jiffies
 * @pair:  the pair; not to be looked into unless the rest fits
 */
struct uremap_known {
	u64 ctx;
	unsigned int seq;
	unsigned long until;
	struct uremap_pair pair;
};

/**
 * struct uremap_set - a set of addresses, as disjoint intervals
 * @root: struct uremap_interval, by address; no two touch
 */
struct uremap_set {
	struct rb_root root;
};

/**
 * struct uremap_hold - an anon_vma kept alive
 * @anon_vma: referenced
 */
struct uremap_hold {
	struct anon_vma *anon_vma;
};

/**
 * struct uremap_ctx - what one open file of /dev/uremap stands for
 * @mm:        address space of the opener, referenced by mm_count; constant
 * @id:        a number that no other context ever has; constant
 * @lock:      read for the time of a move, written to change what follows, so
 *             that when UNREGISTER returns no move touches the range any more
 * @src:       addresses that may be moved from
 * @dst:       addresses that may be moved to
 * @nr_ranges: intervals in both sets
 * @all:       both sets have every address
 * @uffd:      context of the attached userfaultfd, as a value only; NULL if none
 * @uffd_fd:   its descriptor, in the file table of the opener
 * @hold_lock: protects additions to @holds against each other
 * @holds:     anon_vmas whose folios were moved away (rmap.c)
 * @nr_holds:  entries of @holds; grows under @hold_lock, read without
 */
struct uremap_ctx {
	struct mm_struct *mm;
	u64 id;
	struct rw_semaphore lock;
	struct uremap_set src;
	struct uremap_set dst;
	unsigned int nr_ranges;
	bool all;
	void *uffd;
	int uffd_fd;
	spinlock_t hold_lock;
	struct uremap_hold holds[UREMAP_MAX_HOLDS];
	unsigned int nr_holds;
};

/**
 * struct uremap_mv - a call's segments on the move
 * @ctx:       the file it runs on
 * @mm:        the address space
 * @mode:      UREMAP_MOVE_* bits
 * @go_on:     a segment that fails does not end the call
 * @easy:      nothing may be waited for: only VMA locks are held
 * @strict:    by the rules of UFFDIO_MOVE where they are others than ours
 * @segs:      the segments; each gets its results when it ends
 * @nr_segs:   how many
 * @cur:       the one at work; in the end, how many were begun
 * @total:     bytes done of those that ended
 * @nr_failed: segments that ended before their end
 * @first_err: the negative errno of the first of them
 * @dst:       first destination address of the one at work
 * @src:       first source address
 * @len:       bytes
 * @head:      bytes of the first that were done before
 * @done:      bytes finished from the start
 * @holes:     bytes of @done that held nothing
 * @healed:    bytes of @done that needed a fault first
 * @stop:      address @reason is about
 * @reason:    UREMAP_REASON_* when it stopped
 * @err:       the negative errno of @reason
 * @checked:   it has been looked at under the locks
 * @let_go:    the context holds too many anon_vmas; see uremap_rmap_let_go()
 * @retries:   attempts since the last progress
 * @pauses:    ticks waited since then
 * @splits:    attempts at splitting since then
 * @drained:   the LRU batches were emptied since then
 * @waits_for: UREMAP_REASON_* of faulting in since then
 * @healing:   bytes at @done that were faulted in order to be unshared
 * @src_vma:   mapping of the source at @done; NULL: look it up and vet it
 * @dst_vma:   the same of the destination
 * @pair_end:  offset at which either mapping ends
 * @uffd:      the attached userfaultfd, referenced; NULL if none
 * @held:      folio mapping whose anon_vma was last found to be held (rmap.c)
 * @nr_passed: holes that the scratch memory has, for uremap_wake()
 * @scratch:   memory to work in
 */
struct uremap_mv {
	struct uremap_ctx *ctx;
	struct mm_struct *mm;
	u64 mode;
	bool go_on;
	bool easy;
	bool strict;

	struct uremap_segment *segs;
	unsigned int nr_segs;
	unsigned int cur;
	u64 total;
	unsigned int nr_failed;
	int first_err;

	unsigned long dst;
	unsigned long src;
	unsigned long len;
	unsigned long head;
	unsigned long done;
	unsigned long holes;
	unsigned long healed;
	unsigned long stop;
	u32 reason;
	int err;

	bool checked;
	bool let_go;
	unsigned int retries;
	unsigned int pauses;
	unsigned int splits;
	bool drained;
	u32 waits_for;
	unsigned long healing;

	struct vm_area_struct *src_vma;
	struct vm_area_struct *dst_vma;
	unsigned long pair_end;

	struct file *uffd;
	void *held;
	unsigned int nr_passed;
	struct uremap_scratch *scratch;
};

/* What a step of a move says when it neither got on nor has to stop. */
#define UREMAP_RETRY	1

static inline unsigned long uremap_mv_src(const struct uremap_mv *mv)
{
	return mv->src + mv->done;
}

static inline unsigned long uremap_mv_dst(const struct uremap_mv *mv)
{
	return mv->dst + mv->done;
}

/* Record why a move ends; to be returned by the step that found out. */
static inline int uremap_stop(struct uremap_mv *mv, int err, u32 reason,
			      unsigned long addr)
{
	mv->err = err;
	mv->reason = reason;
	mv->stop = addr;
	return err;
}

static inline int uremap_stop_src(struct uremap_mv *mv, int err, u32 reason)
{
	return uremap_stop(mv, err, reason, uremap_mv_src(mv));
}

static inline int uremap_stop_dst(struct uremap_mv *mv, int err, u32 reason)
{
	return uremap_stop(mv, err, reason, uremap_mv_dst(mv));
}

/* attach.c */
int uremap_attach(struct uremap_ctx *ctx, int fd);
struct file *uremap_uffd_fget(int fd);
long uremap_uffd_ask(struct file *file);
bool uremap_uffd_get(struct uremap_mv *mv);
void uremap_uffd_put(struct uremap_mv *mv);
int uremap_uffd_begin(struct uremap_mv *mv);
void uremap_uffd_end(struct uremap_mv *mv);
void uremap_note_hole(struct uremap_mv *mv, unsigned long start,
		      unsigned long len);
int uremap_wake_all(struct uremap_mv *mv, void __user *scratch,
		    unsigned long start, unsigned long len);
int uremap_wake(struct uremap_mv *mv, void __user *scratch);

/* context.c */
struct uremap_ctx *uremap_ctx_create(struct mm_struct *mm);
void uremap_ctx_destroy(struct uremap_ctx *ctx);
void uremap_ctx_show(struct uremap_ctx *ctx, struct seq_file *m);

/**
 * uremap_ctx_check_mm - may the caller act through this context?
 * @ctx: any context
 *
 * A file that was inherited or passed on still means its opener's memory.
 *
 * Context: any process context.
 * Return: 0 if the caller runs in the opener's address space; -ESRCH if that
 *	is gone (the opener ended or has called execve()), -EINVAL if the caller
 *	is another process, as UFFDIO_MOVE has it.
 */
static inline int uremap_ctx_check_mm(struct uremap_ctx *ctx)
{
	if (likely(current->mm == ctx->mm))
		return 0;
	return atomic_read(&ctx->mm->mm_users) ? -EINVAL : -ESRCH;
}

/* ioctl.c */
long uremap_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* move.c */
void uremap_move(struct uremap_mv *mv);
bool uremap_seg_ready(struct uremap_mv *mv, unsigned int seg);
void uremap_seg_skip(struct uremap_mv *mv, unsigned int nr);
void uremap_advance(struct uremap_mv *mv, unsigned long bytes,
		    unsigned long moved);

/* move_large.c */
int uremap_split_src(struct uremap_mv *mv, pmd_t *pmd);

/* move_pmd.c */
int uremap_move_huge(struct uremap_mv *mv, pmd_t *dst_pmd, pmd_t *src_pmd,
		     unsigned long len);

/* movev.c */
/* Bytes of a segment that ended which were memory. */
static inline u64 uremap_seg_moved(const struct uremap_segment *seg)
{
	return seg->move > 0 ? seg->move - seg->holes : 0;
}

long uremap_move_one(struct uremap_ctx *ctx, u64 mode,
		     struct uremap_segment *seg, unsigned long head,
		     struct uremap_move __user *umove);
long uremap_ioctl_move(struct uremap_ctx *ctx, struct uremap_move *move,
		       void __user *uarg);
long uremap_ioctl_movev(struct uremap_ctx *ctx, struct uremap_movev *movev,
			void __user *uarg);

long uremap_ioctl_movev_exact(struct uremap_ctx *ctx,
			      struct uremap_movev __user *umovev);

/* move_pte.c */
int uremap_move_ptes(struct uremap_mv *mv, pmd_t *dst_pmd, pmd_t *src_pmd,
		     unsigned long len);

/**
 * uremap_range_check - can a user's range be one of this address space?
 * @mm:    the address space
 * @start: first address
 * @len:   bytes
 *
 * The checks of validate_range() in mm/userfaultfd.c.
 *
 * Context: any.
 * Return: 0, or -EINVAL if not page aligned, empty, wrapping or too high.
 */
static inline int uremap_range_check(struct mm_struct *mm, u64 start, u64 len)
{
	u64 task_size = mm->task_size;

	if ((start | len) & ~PAGE_MASK)
		return -EINVAL;
	if (!len || start >= task_size || len > task_size - start)
		return -EINVAL;
	return 0;
}

/* quick.c */
long uremap_ioctl_move_exact(struct uremap_ctx *ctx,
			     struct uremap_move __user *umove);

/* range.c */
bool uremap_set_covers(const struct uremap_set *set, unsigned long start,
		       unsigned long end);
bool uremap_set_narrow(const struct uremap_set *set, unsigned long addr,
		       unsigned long *start, unsigned long *end);
int uremap_register(struct uremap_ctx *ctx, unsigned long start,
		    unsigned long end, u64 rights);
int uremap_unregister(struct uremap_ctx *ctx, unsigned long start,
		      unsigned long end, u64 rights);
void uremap_set_clear(struct uremap_set *set);

/* rmap.c */
int uremap_rmap_init(void);
void uremap_rmap_exit(void);
#ifdef UREMAP_RMAP_ANON_VMA_HOLD
bool uremap_rmap_hold(struct uremap_ctx *ctx, struct anon_vma *anon_vma);
#else
static inline bool uremap_rmap_hold(struct uremap_ctx *ctx,
				    struct anon_vma *anon_vma)
{
	return true;
}
#endif
int uremap_rmap_let_go(struct uremap_ctx *ctx);

/* scratch.c */
struct uremap_scratch *uremap_scratch_alloc(void);
void uremap_scratch_exit(void);

/* settle.c */
int uremap_pause(struct uremap_mv *mv);
int uremap_wait_folio(struct uremap_mv *mv, struct folio *folio);
int uremap_fault_in(struct uremap_mv *mv);
int uremap_settle(struct uremap_mv *mv, pmd_t *pmd, u32 why);

/* stats.c */
enum uremap_stat {
	UREMAP_STAT_CALLS,
	UREMAP_STAT_BATCHES,
	UREMAP_STAT_FLUSHES,
	UREMAP_STAT_NOTIFIER_PAIRS,
	UREMAP_STAT_RMAP_LOCKS,
	UREMAP_STAT_PAGES,
	UREMAP_STAT_THPS,
	UREMAP_STAT_HOLES,
	UREMAP_STAT_PUT_BACK,
	UREMAP_STAT_RETRIES,
	UREMAP_STAT_NR
};

DECLARE_PER_CPU(unsigned long [UREMAP_STAT_NR], uremap_stats);

static inline void uremap_stat_add(enum uremap_stat stat, unsigned long n)
{
	this_cpu_add(uremap_stats[stat], n);
}

int uremap_stats_init(void);
void uremap_stats_exit(void);

/* uffdio.c */
long uremap_uffdio_move(struct uremap_ctx *ctx, int fd, void __user *arg,
			void __user *room);

/* vma.c */
bool uremap_pair_reach(struct uremap_mv *mv);
int uremap_pair_find(struct uremap_mv *mv);

/* Is the address one of the mapping's? */
static inline bool uremap_vma_has(const struct vm_area_struct *vma,
				  unsigned long addr)
{
	return addr - vma->vm_start < vma->vm_end - vma->vm_start;
}

/*
 * The same of a range, of which nothing else has to be known: one that ends where
 * addresses do, with an end of 0, is in no mapping.
 */
static inline bool uremap_vma_covers(const struct vm_area_struct *vma,
				     unsigned long start, unsigned long len)
{
	return start >= vma->vm_start && start < vma->vm_end &&
	       len <= vma->vm_end - start;
}

/*
 * Can write-protection be carried from one to the other?  Without a registration of
 * the source it is a mark that the last one left (bits.h).
 */
static inline bool uremap_pair_keeps_wp(struct vm_area_struct *src,
					struct vm_area_struct *dst)
{
	return userfaultfd_wp(src) && userfaultfd_wp(dst);
}

/* walk.c */
pmd_t *uremap_pmd_find(struct mm_struct *mm, unsigned long addr,
		       unsigned long end, unsigned long *next);
pmd_t *uremap_pmd_alloc(struct mm_struct *mm, unsigned long addr);
unsigned long uremap_first_populated(struct mm_struct *mm, unsigned long start,
				     unsigned long end);
unsigned long uremap_first_obstacle(struct mm_struct *mm, unsigned long start,
				    unsigned long end, u32 *why);

#endif /* _UREMAP_UREMAP_H */
