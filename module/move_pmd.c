// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mover of huge entries: a THP that one PMD entry maps.
 *
 * Aligned on both sides and asked for in full it moves as one entry, with the
 * page table that is deposited for splitting it.  If the destination has a page
 * table already, the THP's mapping is split, not the THP, and its PTEs move as
 * those of any large folio.  Everything else needs the THP itself split.  What
 * could make any of this fail is looked at before anything is changed, so a
 * move that fails leaves a THP a THP.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>

#include "batch.h"
#include "sym.h"

/* May the THP (NULL: the huge zero page) that @pmd maps in @vma be moved? */
static u32 uremap_thp_reason(struct vm_area_struct *vma, struct folio *folio,
			     pmd_t pmd)
{
	if (!folio)
		return UREMAP_REASON_NONE;
	if (unlikely(!uremap_folio_test_anon(folio)))
		return UREMAP_REASON_SRC_SPECIAL;
	if (unlikely(uremap_folio_hwpoisoned(folio)))
		return UREMAP_REASON_HWPOISON;
	if (unlikely(folio_maybe_dma_pinned(folio)))
		return UREMAP_REASON_PINNED;
	if (unlikely(!uremap_pmd_exclusive(folio, pmd)))
		return userfaultfd_huge_pmd_wp(vma, pmd) ?
		       UREMAP_REASON_NOT_EXCLUSIVE_WP :
		       UREMAP_REASON_NOT_EXCLUSIVE;
	return UREMAP_REASON_NONE;
}

/* The usual case of it, but for pins, which are asked about once it is invalid. */
static bool uremap_thp_plain(struct folio *folio, pmd_t pmd)
{
	return uremap_pmd_exclusive(folio, pmd) &&
	       uremap_folio_test_anon(folio) && !uremap_folio_hwpoisoned(folio);
}

static struct folio *uremap_pmd_folio(pmd_t pmd)
{
	return uremap_is_huge_zero_pmd(pmd) ? NULL :
					      page_folio(pmd_page(pmd));
}

/* Look at the THP without changing anything. */
static u32 uremap_thp_peek(struct uremap_mv *mv, pmd_t *src_pmd)
{
	spinlock_t *ptl = pmd_lock(mv->mm, src_pmd);
	pmd_t pmd = pmdp_get_lockless(src_pmd);
	u32 why = UREMAP_REASON_NONE;

	if (pmd_present(pmd) && pmd_trans_huge(pmd))
		why = uremap_thp_reason(mv->src_vma, uremap_pmd_folio(pmd),
					pmd);
	spin_unlock(ptl);
	return why;
}

/*
 * The move itself, under both locks and the folio lock, in the order that
 * uremap_batch_finish() explains: clear, flush, barrier, pins, rmap, install.
 *
 * Not cleared until it is sure to go, but made invalid, as for a split: neither
 * CPUs nor GUP-fast take it, but MADV_DONTNEED and write-protection, which pass
 * over an empty entry without asking for its lock, wait for the lock (C18).
 */
static u32 uremap_huge_run(const struct uremap_huge *h, struct folio *folio)
{
	pmd_t invalid = pmd_mkinvalid(pmdp_get_lockless(h->src_pmd));
	/* Exchanged, for CPUs set its bits until then. */
	pmd_t pmd = pmdp_establish(h->src_vma, h->src, h->src_pmd, invalid);

	uremap_batch_flush(h->mm, h->src, h->src + PMD_SIZE, PMD_SHIFT);
	if (folio && unlikely(folio_maybe_dma_pinned(folio) ||
			      !uremap_pmd_exclusive(folio, pmd))) {
		set_pmd_at(h->mm, h->src, h->src_pmd, pmd);
		uremap_stat_add(UREMAP_STAT_PUT_BACK, 1);
		return UREMAP_REASON_PINNED;
	}
	pmd_clear(h->src_pmd);
	if (folio)
		uremap_folio_set_anon_rmap(folio, h->dst_vma->anon_vma,
					   linear_page_index(h->dst_vma,
							     h->dst));
	set_pmd_at(h->mm, h->dst, h->dst_pmd, uremap_dst_pmd(h, pmd));
	pgtable_trans_huge_deposit(h->mm, h->dst_pmd,
				   pgtable_trans_huge_withdraw(h->mm,
							       h->src_pmd));
	return UREMAP_REASON_NONE;
}

/* Under both locks: is it still so, can the folio be had?  Then move it. */
static u32 uremap_huge_try(const struct uremap_huge *h)
{
	pmd_t pmd = pmdp_get_lockless(h->src_pmd);
	bool ready = uremap_pmd_ready(pmd);
	struct folio *folio;
	u32 why = UREMAP_REASON_NONE;

	if (!ready && (!pmd_present(pmd) || !pmd_trans_huge(pmd)))
		return UREMAP_REASON_RETRY_LIMIT;
	if (unlikely(!pmd_none(pmdp_get_lockless(h->dst_pmd))))
		return UREMAP_REASON_RETRY_LIMIT;
	/* The huge zero page is never mapped writable. */
	folio = ready ? page_folio(pmd_page(pmd)) : uremap_pmd_folio(pmd);
	if (folio && !folio_trylock(folio))
		return UREMAP_REASON_FOLIO_BUSY;
	if (unlikely(!ready || !uremap_thp_plain(folio, pmd)))
		why = uremap_thp_reason(h->src_vma, folio, pmd);
	if (!why && folio &&
	    !uremap_rmap_hold(h->ctx, uremap_folio_anon_vma(folio)))
		why = UREMAP_REASON_HOLDS_FULL;
	if (likely(!why))
		why = uremap_huge_run(h, folio);
	if (folio)
		folio_unlock(folio);
	return why;
}

/**
 * uremap_huge_move - move a THP as one entry
 * @h: from where to where
 *
 * Context: the mappings are locked, MMU notifiers have been told; may sleep.
 * Return: UREMAP_REASON_NONE if it moved, else why not.
 */
u32 uremap_huge_move(const struct uremap_huge *h)
{
	spinlock_t *dst_ptl = pmd_lockptr(h->mm, h->dst_pmd);
	spinlock_t *src_ptl = pmd_lockptr(h->mm, h->src_pmd);
	struct anon_vma *anon_vma = uremap_rmap_lock(h->src_vma);
	u32 why;

	uremap_ptl_lock(dst_ptl, src_ptl);
	why = uremap_huge_try(h);
	uremap_ptl_unlock(dst_ptl, src_ptl);
	uremap_rmap_unlock(anon_vma);
	uremap_stat_add(UREMAP_STAT_NOTIFIER_PAIRS, 1);
	if (likely(!why))
		uremap_stat_add(UREMAP_STAT_THPS, 1);
	return why;
}

static u32 uremap_move_pmd(struct uremap_mv *mv, pmd_t *dst_pmd, pmd_t *src_pmd)
{
	const struct uremap_huge h = {
		.ctx = mv->ctx,
		.mm = mv->mm,
		.mode = mv->mode,
		.dst_vma = mv->dst_vma,
		.src_vma = mv->src_vma,
		.dst = uremap_mv_dst(mv),
		.src = uremap_mv_src(mv),
		.dst_pmd = dst_pmd,
		.src_pmd = src_pmd,
	};
	struct mmu_notifier_range range;
	u32 why;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, mv->mm, h.src,
				h.src + PMD_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	why = uremap_huge_move(&h);
	mmu_notifier_invalidate_range_end(&range);
	if (likely(!why))
		uremap_advance(mv, PMD_SIZE, PMD_SIZE);
	if (why != UREMAP_REASON_HOLDS_FULL)
		return why;
	mv->let_go = true;
	return UREMAP_REASON_RETRY_LIMIT;
}

/* The mapping of the THP is split, its folio stays whole. */
static int uremap_split_src_pmd(struct uremap_mv *mv, pmd_t *src_pmd)
{
	if (mv->easy)
		return UREMAP_RETRY;
	uremap_split_huge_pmd(mv->src_vma, src_pmd,
			      uremap_mv_src(mv) & PMD_MASK);
	return UREMAP_RETRY;
}

/* Only a part is asked for, or it does not fit where it goes. */
static int uremap_move_thp_part(struct uremap_mv *mv, pmd_t *dst_pmd,
				pmd_t *src_pmd, pmd_t pmd)
{
	unsigned long dst = uremap_mv_dst(mv);
	bool zero = uremap_is_huge_zero_pmd(pmd);
	u32 why;

	if (uremap_first_obstacle(mv->mm, dst, dst + PAGE_SIZE, &why) == dst)
		return uremap_stop_dst(mv, -EEXIST, why);
	why = zero ? 0 : uremap_thp_peek(mv, src_pmd);
	if (why)
		return uremap_settle(mv, src_pmd, why);
	/* A failure after the split would leave it split for nothing. */
	if (pte_alloc(mv->mm, dst_pmd))
		return uremap_stop_dst(mv, -ENOMEM, UREMAP_REASON_NOMEM);
	return zero ? uremap_split_src_pmd(mv, src_pmd) :
		      uremap_settle(mv, src_pmd, UREMAP_REASON_LARGE_FOLIO);
}

/*
 * The destination has a page table.  If it is empty the THP goes in as PTEs; if
 * not, the THP cannot go there whole, and is not broken for the attempt, unless
 * the caller counts on getting as far as that.
 */
static int uremap_move_thp_to_table(struct uremap_mv *mv, pmd_t *dst_pmd,
				    pmd_t *src_pmd, pmd_t pmd)
{
	unsigned long dst = uremap_mv_dst(mv), full;
	u32 why;

	full = uremap_first_obstacle(mv->mm, dst, dst + PMD_SIZE, &why);
	if (full < dst + PMD_SIZE && mv->strict)
		return uremap_move_thp_part(mv, dst_pmd, src_pmd, pmd);
	if (full < dst + PMD_SIZE)
		return uremap_stop(mv, -EEXIST, why, full);
	why = uremap_thp_peek(mv, src_pmd);
	return why ? uremap_settle(mv, src_pmd, why) :
		     uremap_split_src_pmd(mv, src_pmd);
}

/**
 * uremap_move_huge - get on where the source has a huge entry
 * @mv:      the move
 * @dst_pmd: PMD entry of the destination: empty or a page table
 * @src_pmd: the same of the source: neither
 * @len:     bytes inside both mappings
 *
 * Context: mmap_lock held, nothing else; may sleep.
 * Return: 0 if it got on, UREMAP_RETRY if something changed or was waited for,
 *	a negative errno with the reason recorded.
 */
int uremap_move_huge(struct uremap_mv *mv, pmd_t *dst_pmd, pmd_t *src_pmd,
		     unsigned long len)
{
	unsigned long src = uremap_mv_src(mv), dst = uremap_mv_dst(mv);
	pmd_t pmd = pmdp_get_lockless(src_pmd);
	u32 why;

	if (pmd_none(pmd) || uremap_pmd_is_table(pmd))
		return UREMAP_RETRY;
	/* Migration is waited for, device memory comes back. */
	if (!pmd_present(pmd))
		return uremap_settle(mv, src_pmd, pmd_is_migration_entry(pmd) ?
				     UREMAP_REASON_MIGRATING :
				     UREMAP_REASON_DEVICE);
	if (((src | dst) & ~PMD_MASK) || len < PMD_SIZE)
		return uremap_move_thp_part(mv, dst_pmd, src_pmd, pmd);
	if (!pmd_none(pmdp_get_lockless(dst_pmd)))
		return uremap_move_thp_to_table(mv, dst_pmd, src_pmd, pmd);

	why = uremap_move_pmd(mv, dst_pmd, src_pmd);
	return why ? uremap_settle(mv, src_pmd, why) : 0;
}
