// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making the page a move has come to movable, where that is possible: waiting,
 * faulting in, unsharing.
 *
 * The exported handle_mm_fault() heals most awkward states without any internal
 * of the kernel.  It is asked never to wait on its own (RETRY_NOWAIT), for the
 * source may be registered with a userfaultfd whose monitor is the caller: if
 * the entry changed into a hole meanwhile, waiting for the hole to be filled
 * would be waiting for oneself (C26).
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "sym.h"
#include "uremap.h"

/**
 * uremap_pause - let somebody else finish with a page
 * @mv: the move
 *
 * Context: mmap_lock held, nothing else; sleeps.
 * Return: UREMAP_RETRY, or -EINTR or -EAGAIN with the reason recorded.
 */
int uremap_pause(struct uremap_mv *mv)
{
	if (++mv->pauses > UREMAP_MAX_PAUSES)
		return uremap_stop_src(mv, -EAGAIN, UREMAP_REASON_FOLIO_BUSY);
	if (mv->pauses > 8)
		schedule_timeout_killable(1);
	else
		cond_resched();
	if (fatal_signal_pending(current))
		return uremap_stop_src(mv, -EINTR, UREMAP_REASON_SIGNAL);
	/* Pauses are counted by themselves: I/O takes as long as it takes. */
	mv->retries = 0;
	return UREMAP_RETRY;
}

/**
 * uremap_wait_folio - wait until nobody has a folio locked
 * @mv:    the move
 * @folio: the folio; gives up the caller's reference
 *
 * With a reference a large folio could not be split by who has the lock, so
 * that one is not waited for but tried again (livelock fixed in 6.14 by "mm:
 * userfaultfd: fix race of userfaultfd_move and large folio split").
 *
 * Context: mmap_lock held, nothing else; sleeps.
 * Return: as uremap_pause().
 */
int uremap_wait_folio(struct uremap_mv *mv, struct folio *folio)
{
	int err;

	if (folio_test_large(folio)) {
		folio_put(folio);
		return uremap_pause(mv);
	}
	err = folio_lock_killable(folio);
	if (!err)
		folio_unlock(folio);
	folio_put(folio);
	if (err)
		return uremap_stop_src(mv, -EINTR, UREMAP_REASON_SIGNAL);
	return UREMAP_RETRY;
}

static int uremap_fault(struct uremap_mv *mv, unsigned int flags)
{
	unsigned long addr = uremap_mv_src(mv);
	vm_fault_t ret;

	ret = handle_mm_fault(mv->src_vma, addr, flags | FAULT_FLAG_ALLOW_RETRY |
			      FAULT_FLAG_RETRY_NOWAIT, NULL);
	if (ret & VM_FAULT_OOM)
		return uremap_stop_src(mv, -ENOMEM, UREMAP_REASON_NOMEM);
	if (ret & (VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE))
		return uremap_stop_src(mv, -EFAULT, UREMAP_REASON_HWPOISON);
	if (ret & VM_FAULT_RETRY)
		return uremap_pause(mv);
	/* Other errors: the entry is not what it was.  Look again. */
	return UREMAP_RETRY;
}

/**
 * uremap_fault_in - bring back what a source entry stands for
 * @mv: the move
 *
 * Swaps in, waits for a migration, brings device memory back.
 *
 * Context: mmap_lock held, nothing else; may sleep.
 * Return: UREMAP_RETRY, or a negative errno with the reason recorded.
 */
int uremap_fault_in(struct uremap_mv *mv)
{
	return uremap_fault(mv, 0);
}

/*
 * Where references are counted (before 5.19), the LRU's own count as well, for
 * pages that have just come in: send them on their way, and look once more.
 */
static bool uremap_drain(struct uremap_mv *mv)
{
	if (!UREMAP_UNSHARE_IS_WRITE || mv->drained)
		return false;
	lru_add_drain();
	mv->drained = true;
	return true;
}

/*
 * The page came from swap, only we have it mapped and no swap entry stands for
 * it, but another CPU's LRU batch, say, refers to it.  A write fault sorts that
 * out, with a copy if need be: there is nobody the page could be shared with.
 */
static int uremap_swapped_in(struct uremap_mv *mv)
{
	return uremap_drain(mv) ? UREMAP_RETRY :
				  uremap_fault(mv, FAULT_FLAG_WRITE);
}

/*
 * Make the source page this address space's own, with a copy if somebody still
 * shares it.  Before 5.19 only a write fault does that, and one on a page that
 * userfaultfd protects would be an event (G1).
 */
static int uremap_unshare(struct uremap_mv *mv, pmd_t *pmd, u32 why)
{
	int ret;

	if (uremap_drain(mv))
		return UREMAP_RETRY;
	if (why == UREMAP_REASON_NOT_EXCLUSIVE_WP && UREMAP_UNSHARE_IS_WRITE)
		why = UREMAP_REASON_WP_SHARED;
	else if (why == UREMAP_REASON_NOT_EXCLUSIVE_WP)
		why = UREMAP_REASON_NOT_EXCLUSIVE;
	if (!(mv->mode & UREMAP_MOVE_UNSHARE) || why == UREMAP_REASON_WP_SHARED)
		return uremap_stop_src(mv, -EBUSY, why);
	ret = uremap_fault(mv, UREMAP_FAULT_UNSHARE);
	/* A THP that nobody shares any more is healed as a whole. */
	mv->healing = pmd_trans_huge(pmdp_get_lockless(pmd)) ? PMD_SIZE :
							       PAGE_SIZE;
	return ret;
}

/* Is there anything to be done about it? */
static bool uremap_takes_time(u32 why)
{
	switch (why) {
	case UREMAP_REASON_RETRY_LIMIT:
	case UREMAP_REASON_FOLIO_BUSY:
	case UREMAP_REASON_SWAP:
	case UREMAP_REASON_MIGRATING:
	case UREMAP_REASON_DEVICE:
	case UREMAP_REASON_SWAPPED_IN:
	case UREMAP_REASON_NOT_EXCLUSIVE:
	case UREMAP_REASON_NOT_EXCLUSIVE_WP:
	case UREMAP_REASON_KSM:
	case UREMAP_REASON_LARGE_FOLIO:
		return true;
	default:
		return false;
	}
}

/**
 * uremap_settle - deal with the first page of a step that could not be taken
 * @mv:  the move
 * @pmd: PMD entry of the source
 * @why: what kept it from being taken, a UREMAP_REASON_*
 *
 * A move on VMA locks only does what takes time with the mmap lock, in another turn.
 *
 * Context: mmap_lock held, nothing else; may sleep.  Or VMA locks.
 * Return: UREMAP_RETRY if it is worth another attempt, else a negative errno
 *	with the reason recorded.
 */
int uremap_settle(struct uremap_mv *mv, pmd_t *pmd, u32 why)
{
	if (mv->easy && uremap_takes_time(why))
		return UREMAP_RETRY;
	switch (why) {
	case UREMAP_REASON_RETRY_LIMIT:
		return UREMAP_RETRY;
	case UREMAP_REASON_FOLIO_BUSY:
		return uremap_pause(mv);
	case UREMAP_REASON_SWAP:
	case UREMAP_REASON_MIGRATING:
	case UREMAP_REASON_DEVICE:
		mv->waits_for = why;
		return uremap_fault_in(mv);
	case UREMAP_REASON_SWAPPED_IN:
		return uremap_swapped_in(mv);
	case UREMAP_REASON_NOT_EXCLUSIVE:
	case UREMAP_REASON_NOT_EXCLUSIVE_WP:
	case UREMAP_REASON_KSM:
		return uremap_unshare(mv, pmd, why);
	case UREMAP_REASON_LARGE_FOLIO:
		return uremap_split_src(mv, pmd);
	case UREMAP_REASON_HOLE:
	case UREMAP_REASON_SRC_WP_MARKER:
		return uremap_stop_src(mv, -ENOENT, why);
	case UREMAP_REASON_DST_BUSY ... UREMAP_REASON_DST_WP_MARKER:
		return uremap_stop_dst(mv, -EEXIST, why);
	case UREMAP_REASON_HWPOISON:
	case UREMAP_REASON_SRC_POISON:
	case UREMAP_REASON_SRC_GUARD:
	case UREMAP_REASON_SRC_SPECIAL:
		return uremap_stop_src(mv, -EFAULT, why);
	default:
		return uremap_stop_src(mv, -EBUSY, why);
	}
}
