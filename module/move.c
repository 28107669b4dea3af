// SPDX-License-Identifier: GPL-2.0-only
/*
 * A move from its first to its last segment: locks, progress, signals, retries.
 *
 * The work is done in steps.  A step is a hole, skipped at the largest level
 * the page table shows, a huge page, or a batch of PTEs.  As far as nothing has to
 * be waited for, that is done between two mappings that are locked by themselves
 * (pair.h).  For the rest, between steps nothing but the mmap lock is held, and that
 * is let go of when somebody waits for it; mappings are then looked up and vetted
 * again.  A MOVE comes here only for what quick.c leaves of it.
 */
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#include "batch.h"
#include "pair.h"
#include "trace.h"

/*
 * Bytes of a hole looked through in one step: what a move left behind has page
 * tables, all of which are read to find that out.
 */
#define UREMAP_HOLE_SPAN	SZ_1G

/* Steps between two mappings before they are let go of for a moment. */
#define UREMAP_EASY_STEPS	16

/* What is wrong with a segment in itself?  Checked as userfaultfd does. */
static __always_inline u32
uremap_seg_reason(const struct uremap_mv *mv, const struct uremap_segment *seg,
		  u64 *addr)
{
	*addr = seg->dst;
	if (uremap_range_check(mv->mm, seg->dst, seg->len))
		return UREMAP_REASON_ARGUMENT;
	*addr = seg->src;
	if (uremap_range_check(mv->mm, seg->src, seg->len) ||
	    mv->mode & ~UREMAP_MODES)
		return UREMAP_REASON_ARGUMENT;
	/* UFFDIO_MOVE goes page by page, and stops where one is in the way. */
	if (!mv->strict &&
	    seg->src < seg->dst + seg->len && seg->dst < seg->src + seg->len)
		return UREMAP_REASON_OVERLAP;
	if (likely(mv->ctx->all))
		return UREMAP_REASON_NONE;
	if (!uremap_set_covers(&mv->ctx->dst, seg->dst, seg->dst + seg->len)) {
		*addr = seg->dst;
		return UREMAP_REASON_DST_UNREGISTERED;
	}
	if (!uremap_set_covers(&mv->ctx->src, seg->src, seg->src + seg->len))
		return UREMAP_REASON_SRC_UNREGISTERED;
	return UREMAP_REASON_NONE;
}

/**
 * uremap_seg_ready - may a segment further on be moved together with this one?
 * @mv:  the move
 * @seg: its number
 *
 * Context: ctx->lock held for reading; does not sleep.
 * Return: true if it exists and nothing is wrong with it in itself.
 */
bool uremap_seg_ready(struct uremap_mv *mv, unsigned int seg)
{
	u64 addr;

	return seg < mv->nr_segs &&
	       !uremap_seg_reason(mv, &mv->segs[seg], &addr);
}

static void uremap_got_on(struct uremap_mv *mv)
{
	mv->retries = 0;
	mv->pauses = 0;
	mv->splits = 0;
	mv->drained = false;
	mv->waits_for = UREMAP_REASON_NONE;
	mv->healing = 0;
}

/* Turn to segment mv->cur. */
static void uremap_seg_begin(struct uremap_mv *mv)
{
	const struct uremap_segment *seg = &mv->segs[mv->cur];

	uremap_got_on(mv);
	mv->done = 0;
	mv->holes = 0;
	mv->healed = 0;
	mv->stop = 0;
	mv->reason = UREMAP_REASON_NONE;
	mv->err = 0;
	mv->pair_end = 0;
	mv->checked = false;
	mv->dst = seg->dst;
	mv->src = seg->src;
	mv->len = seg->len;
}

/* Segment mv->cur has ended, well or not: write down how. */
static void uremap_seg_end(struct uremap_mv *mv)
{
	struct uremap_segment *seg = &mv->segs[mv->cur];

	trace_uremap_move(mv);
	seg->move = mv->done ? (s64)mv->done : mv->err;
	seg->holes = mv->holes;
	seg->healed = mv->healed;
	seg->stop = mv->stop;
	seg->reason = mv->reason;
	seg->error = -mv->err;
	mv->total += mv->done;
	if (mv->err) {
		mv->nr_failed++;
		if (!mv->first_err)
			mv->first_err = mv->err;
	}
	if (++mv->cur < mv->nr_segs)
		uremap_seg_begin(mv);
}

/**
 * uremap_advance - book progress
 * @mv:    the move
 * @bytes: how far it got
 * @moved: how much of that was memory
 *
 * Context: any.
 */
void uremap_advance(struct uremap_mv *mv, unsigned long bytes,
		    unsigned long moved)
{
	if (unlikely(mv->healing))
		mv->healed += min(mv->healing, moved);
	mv->done += bytes;
	if (bytes != moved) {
		mv->holes += bytes - moved;
		uremap_stat_add(UREMAP_STAT_HOLES,
				(bytes - moved) >> PAGE_SHIFT);
	}
	if (mv->done == mv->len)
		uremap_seg_end(mv);
	else
		uremap_got_on(mv);
}

/**
 * uremap_seg_skip - on past segments whose results are written already
 * @mv: the move, at the beginning of the first of them
 * @nr: how many, each of one page that has moved
 *
 * Context: any.
 */
void uremap_seg_skip(struct uremap_mv *mv, unsigned int nr)
{
	mv->total += nr * PAGE_SIZE;
	mv->cur += nr;
	if (mv->cur < mv->nr_segs)
		uremap_seg_begin(mv);
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
	uremap_note_hole(mv, dst, free);
	uremap_advance(mv, free, 0);
	return 0;
}

/*
 * Without a page table at the source UFFDIO_MOVE does not look at the entries of
 * the destination, but at a huge page it does.
 */
static int uremap_stop_no_table(struct uremap_mv *mv, bool src_pmd)
{
	unsigned long dst = uremap_mv_dst(mv), next;
	pmd_t *dst_pmd = uremap_pmd_find(mv->mm, dst, dst + PAGE_SIZE, &next);

	if (src_pmd && dst_pmd && pmd_trans_huge(pmdp_get_lockless(dst_pmd)))
		return uremap_stop_dst(mv, -EEXIST, UREMAP_REASON_DST_BUSY);
	return uremap_stop_src(mv, -ENOENT, UREMAP_REASON_HOLE);
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

	src_pmd = uremap_pmd_lookup(mv->mm, src);
	if (!src_pmd || pmd_none(pmdp_get_lockless(src_pmd))) {
		len = min(len, mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES ?
			       UREMAP_HOLE_SPAN : PAGE_SIZE);
		next = uremap_first_populated(mv->mm, src, src + len);
		if (next == src)
			return UREMAP_RETRY;
		if (mv->strict && !(mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES))
			return uremap_stop_no_table(mv, src_pmd);
		return uremap_skip_hole(mv, next - src);
	}
	pmdval = pmdp_get_lockless(src_pmd);
	if (pmd_none(pmdval))
		return UREMAP_RETRY;
	len = min(len, PMD_SIZE - (src & ~PMD_MASK));
	len = min(len, PMD_SIZE - (dst & ~PMD_MASK));

	dst_pmd = uremap_pmd_beside(mv->mm, dst, src_pmd, src);
	if (!dst_pmd || pmd_none(pmdp_get_lockless(dst_pmd))) {
		/* A table for nothing but holes is not worth having. */
		if (uremap_pmd_is_table(pmdval) && uremap_src_empty(mv, len))
			return uremap_skip_hole(mv, len);
		if (!dst_pmd)
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
	/* Page by page what comes later may have been brought by what comes first. */
	if (unlikely(mv->strict && dst - src - 1 < len))
		len = dst - src;
	if (unlikely(pmd_none(dst_pmdval))) {
		if (pte_alloc(mv->mm, dst_pmd))
			return uremap_stop_dst(mv, -ENOMEM, UREMAP_REASON_NOMEM);
		uremap_tables_ahead(mv);
	}
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

/* Nothing done, nothing wrong: how often yet? */
static int uremap_retry(struct uremap_mv *mv)
{
	uremap_stat_add(UREMAP_STAT_RETRIES, 1);
	if (++mv->retries <= UREMAP_MAX_RETRIES)
		return 0;
	if (mv->waits_for == UREMAP_REASON_MIGRATING)
		return uremap_stop_src(mv, -EAGAIN, UREMAP_REASON_MIGRATING);
	if (mv->waits_for == UREMAP_REASON_DEVICE)
		return uremap_stop_src(mv, -EFAULT, UREMAP_REASON_DEVICE);
	return uremap_stop_src(mv, -EAGAIN, UREMAP_REASON_RETRY_LIMIT);
}

/* Get on by one step, between the pair of mappings there is, or the next. */
static int uremap_next_step(struct uremap_mv *mv)
{
	int ret = unlikely(mv->uffd) ? uremap_uffd_begin(mv) : 0;

	if (!ret && unlikely(!mv->src_vma || mv->done >= mv->pair_end))
		ret = uremap_pair_find(mv);
	if (!ret)
		ret = uremap_step(mv);
	if (unlikely(mv->uffd))
		uremap_uffd_end(mv);
	return ret;
}

/* Look at a segment before its first step under these locks. */
static int uremap_seg_check(struct uremap_mv *mv)
{
	u64 addr;
	u32 why;

	if (likely(mv->checked))
		return 0;
	why = uremap_seg_reason(mv, &mv->segs[mv->cur], &addr);
	mv->checked = true;
	return why ? uremap_stop(mv, -EINVAL, why, addr) : 0;
}

/* Does the call end with the segment that has just failed? */
static bool uremap_gives_up(const struct uremap_mv *mv)
{
	return !mv->go_on || fatal_signal_pending(current);
}

/* Everything between taking and dropping the mmap lock. */
static void uremap_move_steps(struct uremap_mv *mv)
{
	int ret;

	mv->easy = false;
	mv->src_vma = NULL;
	mv->held = UREMAP_HELD_NONE;
	while (mv->cur < mv->nr_segs && !mv->let_go) {
		ret = uremap_seg_check(mv);
		if (!ret)
			ret = uremap_next_step(mv);
		if (ret == UREMAP_RETRY)
			ret = uremap_retry(mv);
		if (!ret && mv->cur < mv->nr_segs)
			ret = uremap_breathe(mv);
		if (likely(!ret))
			continue;
		uremap_seg_end(mv);
		if (uremap_gives_up(mv)) {
			mv->let_go = false;
			return;
		}
		cond_resched();
	}
}

/* The call cannot go on at all: neither this segment nor another. */
static void uremap_abort(struct uremap_mv *mv, int err, u32 reason)
{
	uremap_stop_src(mv, err, reason);
	uremap_seg_end(mv);
}

/* Get on by one step between mappings that are locked, into a next segment, too. */
static int uremap_easy_step(struct uremap_mv *mv)
{
	int ret = uremap_seg_check(mv);

	if (ret)
		return ret;
	if (mv->done >= mv->pair_end && !uremap_pair_reach(mv))
		return UREMAP_RETRY;
	return uremap_step(mv);
}

/*
 * As far as it gets between two mappings without having to wait for anything.  They
 * are let go of now and then, for who wants to change them.  Returns what the last
 * step did, UREMAP_RETRY if the mmap lock is needed to get any further.
 */
static int uremap_easy_pair(struct uremap_mv *mv)
{
	unsigned int steps = 0;
	struct uremap_pair pair;
	int ret = uremap_seg_check(mv);

	if (ret)
		return ret;
	if (!uremap_pair_lock(mv->ctx, mv->mode, uremap_mv_src(mv),
			      uremap_mv_dst(mv), PAGE_SIZE, &mv->scratch->known,
			      &pair))
		return UREMAP_RETRY;
	mv->src_vma = pair.src;
	mv->dst_vma = pair.dst;
	mv->pair_end = 0;
	while (!ret && mv->cur < mv->nr_segs && !mv->let_go &&
	       steps < UREMAP_EASY_STEPS) {
		ret = uremap_easy_step(mv);
		steps += !ret;
	}
	uremap_pair_unlock(mv->ctx, &pair);
	/* What is outside of this pair may be inside of another. */
	return ret == UREMAP_RETRY && steps ? 0 : ret;
}

/*
 * Everything that can be done without the mmap lock.  Returns true if the call is at
 * its end.
 */
static bool uremap_move_easy(struct uremap_mv *mv)
{
	int ret = 0;

	mv->held = UREMAP_HELD_NONE;
	mv->easy = true;
	while (mv->cur < mv->nr_segs && !mv->let_go && ret != UREMAP_RETRY &&
	       !fatal_signal_pending(current)) {
		ret = uremap_easy_pair(mv);
		if (ret < 0) {
			uremap_seg_end(mv);
			if (uremap_gives_up(mv)) {
				mv->let_go = false;
				return true;
			}
		}
		cond_resched();
	}
	return mv->cur == mv->nr_segs;
}

/* One turn under the locks that a whole move holds. */
static void uremap_move_turn(struct uremap_mv *mv)
{
	struct uremap_ctx *ctx = mv->ctx;

	mv->checked = false;
	if (!down_read_trylock(&ctx->lock) && down_read_killable(&ctx->lock)) {
		uremap_abort(mv, -EINTR, UREMAP_REASON_SIGNAL);
		return;
	}
	if (unlikely(!uremap_uffd_get(mv))) {
		uremap_abort(mv, -EBADF, UREMAP_REASON_UFFD_GONE);
		goto unlock;
	}
	if (likely(!mv->uffd) && (uremap_move_easy(mv) || mv->let_go))
		goto unlock;
	if (!mmap_read_trylock(mv->mm) && mmap_read_lock_killable(mv->mm)) {
		uremap_abort(mv, -EINTR, UREMAP_REASON_SIGNAL);
	} else {
		uremap_move_steps(mv);
		mmap_read_unlock(mv->mm);
	}
unlock:
	up_read(&ctx->lock);
}

/**
 * uremap_move - move segments
 * @mv: the move: context, mode, scratch memory (NULL: there is none, which is the
 *	outcome), and segments nobody has looked at yet
 *
 * Context: process context of the address space; may sleep.  Each segment that
 *	was begun has its outcome written to it; @mv->cur is their number.
 */
void uremap_move(struct uremap_mv *mv)
{
	uremap_stat_add(UREMAP_STAT_CALLS, 1);
	mv->nr_passed = 0;
	uremap_seg_begin(mv);
	mv->done = mv->head;
	if (!mv->scratch) {
		uremap_abort(mv, -ENOMEM, UREMAP_REASON_NOMEM);
		return;
	}

	uremap_move_turn(mv);
	while (mv->let_go && mv->cur < mv->nr_segs) {
		mv->let_go = false;
		if (down_write_killable(&mv->ctx->lock)) {
			uremap_abort(mv, -EINTR, UREMAP_REASON_SIGNAL);
			break;
		}
		uremap_rmap_let_go(mv->ctx);
		up_write(&mv->ctx->lock);
		uremap_move_turn(mv);
	}
}
