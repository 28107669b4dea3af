// SPDX-License-Identifier: GPL-2.0-only
/*
 * A move from its first to its last byte: locks, progress, signals, retries.
 *
 * The work is done in steps.  A step is a hole, skipped at the largest level
 * the page table shows, or a batch inside one page table on each side.  Between
 * steps nothing but the mmap lock is held, and that is let go of when somebody
 * waits for it; mappings are then looked up and vetted again.
 */
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched/signal.h>

#include "uremap.h"

static bool uremap_overlaps(const struct uremap_mv *mv)
{
	return mv->src < mv->dst + mv->len && mv->dst < mv->src + mv->len;
}

static int uremap_check_registered(struct uremap_mv *mv)
{
	if (!uremap_set_covers(&mv->ctx->dst, mv->dst, mv->dst + mv->len))
		return uremap_stop(mv, -EINVAL,
				   UREMAP_REASON_DST_UNREGISTERED, mv->dst);
	if (!uremap_set_covers(&mv->ctx->src, mv->src, mv->src + mv->len))
		return uremap_stop(mv, -EINVAL,
				   UREMAP_REASON_SRC_UNREGISTERED, mv->src);
	return 0;
}

/*
 * A hole of the source.  The destination has to be empty there as well, as if
 * each page had been looked at in turn.
 */
static int uremap_skip_hole(struct uremap_mv *mv, unsigned long len)
{
	unsigned long dst = uremap_mv_dst(mv), free;
	u32 why;

	if (!(mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES))
		len = PAGE_SIZE;
	free = uremap_first_obstacle(mv->mm, dst, dst + len, &why) - dst;
	if (!free)
		return uremap_stop_dst(mv, -EEXIST, why);
	if (!(mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES))
		return uremap_stop_src(mv, -ENOENT, UREMAP_REASON_HOLE);
	mv->done += free;
	mv->holes += free;
	uremap_stat_add(UREMAP_STAT_HOLES, free >> PAGE_SHIFT);
	return 0;
}

/* Is the rest of this step empty?  Asked before a table is made for it. */
static bool uremap_src_empty(struct uremap_mv *mv, unsigned long len)
{
	unsigned long src = uremap_mv_src(mv);

	return uremap_first_populated(mv->mm, src, src + len) == src + len;
}

/* Get on by one step from where the move is. */
static int uremap_step(struct uremap_mv *mv)
{
	unsigned long src = uremap_mv_src(mv), dst = uremap_mv_dst(mv);
	unsigned long left = mv->pair_end - mv->done, len = left, next;
	pmd_t *src_pmd, *dst_pmd, pmdval, dst_pmdval;

	src_pmd = uremap_pmd_find(mv->mm, src, src + len, &next);
	if (!src_pmd || pmd_none(pmdp_get_lockless(src_pmd))) {
		next = uremap_first_populated(mv->mm, src, src + len);
		return next == src ? UREMAP_RETRY :
				     uremap_skip_hole(mv, next - src);
	}
	pmdval = pmdp_get_lockless(src_pmd);
	if (pmd_none(pmdval))
		return UREMAP_RETRY;
	len = min(len, pmd_addr_end(src, src + len) - src);
	len = min(len, pmd_addr_end(dst, dst + len) - dst);

	dst_pmd = uremap_pmd_find(mv->mm, dst, dst + len, &next);
	if (!dst_pmd || pmd_none(pmdp_get_lockless(dst_pmd))) {
		/* A table for nothing but holes is not worth having. */
		if (uremap_pmd_is_table(pmdval) && uremap_src_empty(mv, len))
			return uremap_skip_hole(mv, len);
		dst_pmd = uremap_pmd_alloc(mv->mm, dst);
		if (!dst_pmd)
			return uremap_stop_dst(mv, -ENOMEM,
					       UREMAP_REASON_NOMEM);
	}
	dst_pmdval = pmdp_get_lockless(dst_pmd);
	if (!pmd_none(dst_pmdval) && !uremap_pmd_is_table(dst_pmdval))
		return uremap_stop_dst(mv, -EEXIST, UREMAP_REASON_DST_BUSY);
	if (!uremap_pmd_is_table(pmdval))
		return uremap_move_huge(mv, dst_pmd, src_pmd, left);
	if (pte_alloc(mv->mm, dst_pmd))
		return uremap_stop_dst(mv, -ENOMEM, UREMAP_REASON_NOMEM);
	return uremap_move_ptes(mv, dst_pmd, src_pmd, len);
}

/* Let others run, and writers of the mmap lock have their turn. */
static int uremap_breathe(struct uremap_mv *mv)
{
	if (fatal_signal_pending(current))
		return uremap_stop_src(mv, -EINTR, UREMAP_REASON_SIGNAL);
	cond_resched();
	if (likely(!mmap_lock_is_contended(mv->mm)))
		return 0;
	mmap_read_unlock(mv->mm);
	cond_resched();
	mmap_read_lock(mv->mm);
	mv->src_vma = NULL;
	return 0;
}

static int uremap_retry(struct uremap_mv *mv)
{
	uremap_stat_add(UREMAP_STAT_RETRIES, 1);
	if (++mv->retries <= UREMAP_MAX_RETRIES)
		return 0;
	return uremap_stop_src(mv, -EAGAIN, UREMAP_REASON_RETRY_LIMIT);
}

static void uremap_got_on(struct uremap_mv *mv)
{
	mv->retries = 0;
	mv->pauses = 0;
	mv->splits = 0;
	mv->healing = false;
}

/* Everything between taking and dropping the mmap lock. */
static void uremap_move_steps(struct uremap_mv *mv)
{
	int ret = 0;

	mv->src_vma = NULL;
	while (!ret && mv->done < mv->len && !mv->let_go) {
		ret = uremap_breathe(mv);
		if (ret)
			break;
		if (!mv->src_vma || mv->done == mv->pair_end)
			ret = uremap_pair_find(mv);
		if (!ret)
			ret = uremap_step(mv);
		if (ret == UREMAP_RETRY)
			ret = uremap_retry(mv);
		else
			uremap_got_on(mv);
	}
}

/* One turn under the locks that a whole move holds. */
static void uremap_move_turn(struct uremap_mv *mv)
{
	struct uremap_ctx *ctx = mv->ctx;

	if (down_read_killable(&ctx->lock)) {
		uremap_stop_src(mv, -EINTR, UREMAP_REASON_SIGNAL);
		return;
	}
	if (uremap_check_registered(mv) || uremap_uffd_get(mv))
		goto out;
	if (mmap_read_lock_killable(mv->mm)) {
		uremap_stop_src(mv, -EINTR, UREMAP_REASON_SIGNAL);
		goto out;
	}
	uremap_move_steps(mv);
	mmap_read_unlock(mv->mm);
out:
	up_read(&ctx->lock);
}

/**
 * uremap_move - move one range
 * @mv: the move: context, addresses and mode, each valid by itself
 *
 * Context: process context of the address space; may sleep.  The outcome is in
 *	@mv: how far it got, and @mv->err and @mv->reason if that is not all.
 */
void uremap_move(struct uremap_mv *mv)
{
	uremap_stat_add(UREMAP_STAT_CALLS, 1);
	if (uremap_overlaps(mv)) {
		uremap_stop(mv, -EINVAL, UREMAP_REASON_OVERLAP, mv->src);
		return;
	}
	mv->saved = uremap_scratch_get();
	if (!mv->saved) {
		uremap_stop(mv, -ENOMEM, UREMAP_REASON_NOMEM, mv->src);
		return;
	}

	uremap_move_turn(mv);
	while (mv->let_go) {
		mv->let_go = false;
		if (down_write_killable(&mv->ctx->lock)) {
			uremap_stop_src(mv, -EINTR, UREMAP_REASON_SIGNAL);
			break;
		}
		uremap_rmap_let_go(mv->ctx);
		up_write(&mv->ctx->lock);
		uremap_move_turn(mv);
	}

	uremap_scratch_put(mv->saved);
	uremap_trace_move(mv);
}
