// SPDX-License-Identifier: GPL-2.0-only
/*
 * The quick way: a MOVE of ordinary pages from one page table to another, or of
 * ordinary huge pages.
 *
 * Most calls are of this kind, and most of them are small: then the pages cost
 * less than what is around them.  So here is the same as in move.c and move_pte.c
 * for one batch of one run, with less bookkeeping.  The order of its steps is that
 * of uremap_batch_finish(), where it is explained.  It ends before whatever is out
 * of the ordinary; that is for uremap_move() to find.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "batch.h"
#include "pair.h"
#include "trace.h"

/* Bytes that mappings are held for without a break. */
#define UREMAP_QUICK_MAX	(64 * PMD_SIZE)

/**
 * struct uremap_quick - a move on the quick way
 * @ctx:     its context
 * @mm:      the address space
 * @mode:    UREMAP_MOVE_* bits
 * @src_vma: mapping of the source, locked
 * @dst_vma: mapping of the destination, locked
 * @p:       the entries, their tables locked
 * @src:     first source address
 * @dst:     first destination address
 * @nr:      pages
 * @saved:   source entries that were taken
 * @folios:  their folios
 */
struct uremap_quick {
	struct uremap_ctx *ctx;
	struct mm_struct *mm;
	u64 mode;
	struct vm_area_struct *src_vma;
	struct vm_area_struct *dst_vma;
	struct uremap_ptes p;
	unsigned long src;
	unsigned long dst;
	unsigned int nr;
	pte_t *saved;
	struct folio **folios;
};

/* Is it one run, and all of it in order?  If not, uremap_move() says why. */
static __always_inline bool uremap_quick_fits(const struct uremap_ctx *ctx,
					      u64 mode, u64 dst, u64 src,
					      u64 len)
{
	const u64 plain = UREMAP_MODES & ~UREMAP_MOVE_WP;
	u64 last = len - 1;

	/* Who mirrors page tables has to be told before; looked at again inside. */
	if ((mode & ~plain) || ctx->uffd || mm_has_notifiers(ctx->mm))
		return false;
	/* Mappings are going to cover them (uremap_vma_covers()): what is left to ask. */
	if (likely(last < PMD_SIZE)) {
		if (((src ^ (src + last)) | (dst ^ (dst + last))) & PMD_MASK)
			return false;
		if ((src | dst | len) & ~PAGE_MASK)
			return false;
	} else if (((src | dst | len) & ~PMD_MASK) ||
		   uremap_range_check(ctx->mm, dst, len) ||
		   uremap_range_check(ctx->mm, src, len)) {
		return false;
	}
	if (src <= dst + last && dst <= src + last)
		return false;
	return likely(ctx->all) ||
	       (uremap_set_covers(&ctx->dst, dst, dst + len) &&
		uremap_set_covers(&ctx->src, src, src + len));
}

static __always_inline void uremap_quick_count(unsigned int pages)
{
	uremap_stat_add(UREMAP_STAT_BATCHES, 1);
	uremap_stat_add(UREMAP_STAT_NOTIFIER_PAIRS, 1);
	uremap_stat_add(UREMAP_STAT_PAGES, pages);
}

/*
 * The same as uremap_quick_run() for large folios, each of them as a whole.  @q comes by
 * value, so that for small ones it can stay in registers.
 */
static noinline unsigned int uremap_quick_large(struct uremap_quick q,
						unsigned int nr)
{
	struct uremap_run r = {
		.src = q.src,
		.dst = q.dst,
		.src_pte = q.p.src,
		.dst_pte = q.p.dst,
		.saved = q.saved,
		.folios = q.folios,
		.nr = nr,
	};
	unsigned int n;

	r.seen = uremap_large_take(q.mm, uremap_rmap_last_held(q.ctx), &r, 0,
				   true);
	if (r.seen < nr) {
		uremap_run_put_back(q.mm, &r, 0);
		return 0;
	}
	uremap_batch_flush(q.mm, q.src, q.src + nr * PAGE_SIZE, PAGE_SHIFT);
	n = uremap_large_install(q.mm, q.dst_vma, &r, 0);
	if (unlikely(n < nr))
		uremap_run_put_back(q.mm, &r, n);
	uremap_quick_count(n);
	return n;
}

/*
 * Under all locks.  Returns the pages that have moved.  With something out of the
 * ordinary among them all stay, since uremap_move() does not need a flush more for
 * that; up to here there is none to be undone.
 */
static __always_inline unsigned int uremap_quick_run(struct uremap_quick *q)
{
	unsigned int nr = min_t(unsigned int, q->nr, PTRS_PER_PTE), n;

	n = uremap_plain_take(q->mm, uremap_rmap_last_held(q->ctx), q->src,
			      q->p.src, q->p.dst, q->saved, q->folios, 0, nr,
			      true);
	if (unlikely(n < nr)) {
		if (!n)
			return uremap_quick_large(*q, nr);
		uremap_plain_put_back(q->mm, q->src, q->p.src, q->saved,
				      q->folios, 0, n);
		return 0;
	}
	uremap_batch_flush(q->mm, q->src, q->src + nr * PAGE_SIZE,
			   PAGE_SHIFT);
	n = uremap_plain_install(q->mm, q->dst_vma->anon_vma,
				 linear_page_index(q->dst_vma, q->dst), q->dst,
				 q->p.dst, q->saved, q->folios, 0, nr, true,
				 true);
	if (unlikely(n < nr)) {
		uremap_plain_put_back(q->mm, q->src, q->p.src, q->saved,
				      q->folios, n, nr);
		uremap_stat_add(UREMAP_STAT_PUT_BACK, nr - n);
	}
	uremap_quick_count(n);
	return n;
}

/* Huge pages, as many as follow one another in one table of PMD entries. */
static noinline unsigned int uremap_quick_huge(struct uremap_huge *h,
					       unsigned int nr)
{
	unsigned int n = 0;

	if ((h->dst | h->src) & ~PMD_MASK)
		return 0;
	while (nr - n >= PTRS_PER_PTE &&
	       uremap_pmd_ready(pmdp_get_lockless(h->src_pmd)) &&
	       pmd_none(pmdp_get_lockless(h->dst_pmd)) &&
	       !uremap_huge_move(h)) {
		n += PTRS_PER_PTE;
		h->dst += PMD_SIZE;
		h->src += PMD_SIZE;
		if (!(h->dst & ~PUD_MASK) || !(h->src & ~PUD_MASK) ||
		    fatal_signal_pending(current))
			break;
		h->dst_pmd++;
		h->src_pmd++;
		cond_resched();
	}
	return n;
}

/* Between the two mappings: the tables, and the locks inside the mappings'. */
static __always_inline unsigned int uremap_quick_tables(struct uremap_quick *q)
{
	pmd_t *src_pmd = uremap_pmd_lookup(q->mm, q->src), *dst_pmd;
	struct anon_vma *anon_vma;
	unsigned int n = 0;

	if (unlikely(!src_pmd))
		return 0;
	dst_pmd = uremap_pmd_beside(q->mm, q->dst, src_pmd, q->src);
	if (unlikely(!dst_pmd))
		return 0;
	if (unlikely(!uremap_pmd_is_table(pmdp_get_lockless(src_pmd)))) {
		struct uremap_huge h = {
			.ctx = q->ctx,
			.mm = q->mm,
			.mode = q->mode,
			.dst_vma = q->dst_vma,
			.src_vma = q->src_vma,
			.dst = q->dst,
			.src = q->src,
			.dst_pmd = dst_pmd,
			.src_pmd = src_pmd,
		};

		return uremap_quick_huge(&h, q->nr);
	}
	if (unlikely(pmd_none(pmdp_get_lockless(dst_pmd))) &&
	    !uremap_table_make(q->mm, dst_pmd, src_pmd, q->src))
		return 0;
	anon_vma = uremap_rmap_lock(q->src_vma);
	rcu_read_lock();
	if (likely(uremap_ptes_lock(q->mm, dst_pmd, q->dst, src_pmd, q->src,
				    &q->p))) {
		n = uremap_quick_run(q);
		uremap_ptl_unlock(q->p.dst_ptl, q->p.src_ptl);
	}
	rcu_read_unlock();
	uremap_rmap_unlock(anon_vma);
	return n;
}

static __always_inline unsigned int
uremap_quick_between(struct uremap_ctx *ctx, u64 mode,
		     const struct uremap_pair *pair, u64 dst, u64 src, u64 len,
		     struct uremap_scratch *scratch)
{
	struct uremap_quick q = {
		.ctx = ctx,
		.mm = ctx->mm,
		.mode = mode,
		.src_vma = pair->src,
		.dst_vma = pair->dst,
		.src = src,
		.dst = dst,
		.nr = min_t(u64, len, UREMAP_QUICK_MAX) >> PAGE_SHIFT,
		.saved = scratch->saved,
		.folios = scratch->folios,
	};

	/* Under these locks it stays so. */
	return likely(!mm_has_notifiers(q.mm)) ? uremap_quick_tables(&q) : 0;
}

static __always_inline unsigned int
uremap_quick_pair(struct uremap_ctx *ctx, u64 mode, u64 dst, u64 src, u64 len,
		  struct uremap_scratch *scratch)
{
	struct uremap_pair pair;
	unsigned int n;

	if (unlikely(!uremap_pair_lock(ctx, mode, src, dst, len,
				       &scratch->known, &pair)))
		return 0;
	n = uremap_quick_between(ctx, mode, &pair, dst, src, len, scratch);
	uremap_pair_unlock(ctx, &pair);
	return n;
}

/*
 * Move a segment, of which nothing has been checked, if it is ordinary.  Returns the
 * bytes moved from its start; uremap_move() is to go on from there.
 */
static __always_inline unsigned long
uremap_move_quick(struct uremap_ctx *ctx, u64 mode, u64 dst, u64 src, u64 len)
{
	struct uremap_scratch *scratch;
	unsigned int n = 0;

	if (trace_uremap_move_enabled())
		return 0;
	scratch = uremap_scratch_get();
	if (unlikely(!scratch))
		return 0;
	if (likely(down_read_trylock(&ctx->lock))) {
		if (likely(uremap_quick_fits(ctx, mode, dst, src, len)))
			n = uremap_quick_pair(ctx, mode, dst, src, len,
					      scratch);
		up_read(&ctx->lock);
	}
	uremap_scratch_put(scratch);
	return (unsigned long)n << PAGE_SHIFT;
}

/*
 * Read the request, and find out whether the answer can be written: to the
 * first and to the last word of it, for it may straddle two pages.
 */
static int uremap_move_get(struct uremap_move __user *umove,
			   struct uremap_segment *seg, u64 *mode,
			   u64 *reserved)
{
	u64 reserved0, reserved1, move;

	if (!user_access_begin(umove, sizeof(*umove)))
		return -EFAULT;
	unsafe_get_user(seg->dst, &umove->dst, err_fault);
	unsafe_get_user(seg->src, &umove->src, err_fault);
	unsafe_get_user(seg->len, &umove->len, err_fault);
	unsafe_get_user(*mode, &umove->mode, err_fault);
	unsafe_get_user(reserved0, &umove->reserved[0], err_fault);
	unsafe_get_user(reserved1, &umove->reserved[1], err_fault);
	unsafe_get_user(move, (u64 __user *)&umove->move, err_fault);
	unsafe_put_user(move, (u64 __user *)&umove->move, err_fault);
	unsafe_put_user(reserved1, &umove->reserved[1], err_fault);
	user_access_end();
	*reserved = reserved0 | reserved1;
	return 0;

err_fault:
	user_access_end();
	return -EFAULT;
}

static int uremap_move_put(struct uremap_move __user *umove,
			   const struct uremap_segment *seg)
{
	if (!user_access_begin(umove, sizeof(*umove)))
		return -EFAULT;
	unsafe_put_user(seg->move, &umove->move, err_fault);
	unsafe_put_user(uremap_seg_moved(seg), &umove->moved, err_fault);
	unsafe_put_user(seg->holes, &umove->holes, err_fault);
	unsafe_put_user(seg->healed, &umove->healed, err_fault);
	unsafe_put_user(seg->stop, &umove->stop, err_fault);
	unsafe_put_user(seg->reason, &umove->reason, err_fault);
	unsafe_put_user(seg->error, &umove->error, err_fault);
	unsafe_put_user(0, &umove->reserved[0], err_fault);
	unsafe_put_user(0, &umove->reserved[1], err_fault);
	user_access_end();
	return 0;

err_fault:
	user_access_end();
	return -EFAULT;
}

/* The same for a request of which all @done bytes have moved, just so. */
static int uremap_move_put_done(struct uremap_move __user *umove,
				unsigned long done)
{
	if (!user_access_begin(umove, sizeof(*umove)))
		return -EFAULT;
	unsafe_put_user(done, (u64 __user *)&umove->move, err_fault);
	unsafe_put_user(done, &umove->moved, err_fault);
	unsafe_put_user(0, &umove->holes, err_fault);
	unsafe_put_user(0, &umove->healed, err_fault);
	unsafe_put_user(0, &umove->stop, err_fault);
	unsafe_put_user(0, &umove->reason, err_fault);
	unsafe_put_user(0, &umove->error, err_fault);
	user_access_end();
	return 0;

err_fault:
	user_access_end();
	return -EFAULT;
}

/**
 * uremap_ioctl_move_exact - UREMAP_IOC_MOVE with the structure we know
 * @ctx:   the context
 * @umove: the caller's structure
 *
 * For small moves the copies are a good part of the cost, so that they are done
 * word by word, without those bounds checks that the compiler could not make.
 *
 * Context: process context; may sleep.
 * Return: 0, or a negative errno as UFFDIO_MOVE has it.
 */
long uremap_ioctl_move_exact(struct uremap_ctx *ctx,
			     struct uremap_move __user *umove)
{
	struct uremap_segment seg;
	u64 mode, reserved;
	unsigned long done;
	long ret;
	int err;

	err = uremap_ctx_check_mm(ctx);
	if (!err)
		err = uremap_move_get(umove, &seg, &mode, &reserved);
	if (err)
		return err;
	if (reserved)
		return -EINVAL;
	done = uremap_move_quick(ctx, mode, seg.dst, seg.src, seg.len);
	if (likely(done && done == seg.len)) {
		uremap_stat_add(UREMAP_STAT_CALLS, 1);
		return uremap_move_put_done(umove, done);
	}
	ret = uremap_move_one(ctx, mode, &seg, done, umove);
	return uremap_move_put(umove, &seg) ? -EFAULT : ret;
}
