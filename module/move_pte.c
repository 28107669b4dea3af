// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mover of PTEs: one batch inside one page table on each side.
 *
 * The order of the steps is the argument that it is safe; uremap_move_ptes()
 * has both.  Inside the page-table locks folios are only tried for; the first
 * that cannot be had ends the batch, and the next batch starts with waiting for
 * it outside of all locks.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "batch.h"
#include "sym.h"

/*
 * May this folio move?  It is locked, so reclaim, migration, KSM and splitting
 * stay away until the batch is through.  The pin test is repeated once no new
 * pin can come; here it saves clearing what would have to be put back.
 */
static u32 uremap_folio_reason(struct uremap_mv *mv, struct folio *folio,
			       struct page *page, pte_t pte)
{
	if (unlikely(!uremap_folio_test_anon(folio)))
		return folio_test_ksm(folio) ? UREMAP_REASON_KSM :
					       UREMAP_REASON_SRC_SPECIAL;
	if (unlikely(uremap_page_hwpoisoned(page)))
		return UREMAP_REASON_HWPOISON;
	if (unlikely(folio_maybe_dma_pinned(folio)))
		return UREMAP_REASON_PINNED;
	if (unlikely(!uremap_page_exclusive(page, folio, pte)))
		return pte_uffd_wp(pte) ? UREMAP_REASON_NOT_EXCLUSIVE_WP :
					  UREMAP_REASON_NOT_EXCLUSIVE;
	if (unlikely(!uremap_rmap_hold(mv->ctx,
				       uremap_folio_anon_vma(folio)))) {
		mv->let_go = true;
		return UREMAP_REASON_RETRY_LIMIT;
	}
	return UREMAP_REASON_NONE;
}

static void uremap_clear(struct uremap_batch *b, unsigned int i)
{
	b->saved[i] = ptep_get_and_clear(b->mv->mm, b->src + i * PAGE_SIZE,
					 b->src_pte + i);
	b->taken++;
}

/* What has no folio to lock: the zero page, and swap entries. */
static u32 uremap_take_bare(struct uremap_batch *b, unsigned int i, pte_t pte)
{
	u32 why;

	if (!pte_present(pte))
		why = uremap_src_leaf_reason(pte);
	else
		why = is_zero_pfn(pte_pfn(pte)) ? UREMAP_REASON_NONE :
						  UREMAP_REASON_SRC_SPECIAL;
	if (!why)
		uremap_clear(b, i);
	return why;
}

/* Lock the folio of entry @i and clear the entry, or say why not. */
static u32 uremap_take(struct uremap_batch *b, unsigned int i, pte_t pte)
{
	struct page *page;
	struct folio *folio;
	u32 why;

	if (unlikely(!uremap_pte_has_folio(pte)))
		return uremap_take_bare(b, i, pte);
	page = pte_page(pte);
	folio = page_folio(page);
	if (unlikely(!folio_trylock(folio))) {
		b->busy = folio;
		return UREMAP_REASON_FOLIO_BUSY;
	}
	why = uremap_folio_reason(b->mv, folio, page, pte);
	if (likely(!why)) {
		if (likely(!folio_test_large(folio)))
			uremap_clear(b, i);
		else
			why = uremap_take_large(b, i, folio, page);
	}
	if (unlikely(why))
		folio_unlock(folio);
	return why;
}

/* How many entries does what entry @i has taken occupy? */
static unsigned int uremap_taken_nr(struct uremap_batch *b, unsigned int i)
{
	pte_t pte = b->saved[i];

	if (likely(!uremap_pte_has_folio(pte)))
		return 1;
	return folio_nr_pages(page_folio(pte_page(pte)));
}

/* Take entries until the batch is full or one cannot be taken. */
static void uremap_batch_take(struct uremap_batch *b)
{
	bool holes = b->mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES;
	unsigned int i, n;

	for (i = 0; i < b->nr; i += n) {
		pte_t dst = ptep_get(b->dst_pte + i);
		pte_t src = ptep_get(b->src_pte + i);

		n = 1;
		if (unlikely(!pte_none(dst))) {
			b->why = uremap_dst_reason(dst);
			if (b->why)
				break;
			b->marked = true;
		}
		if (unlikely(pte_none(src))) {
			b->why = UREMAP_REASON_HOLE;
		} else {
			b->why = uremap_take(b, i, src);
			if (likely(!b->why)) {
				n = uremap_taken_nr(b, i);
				continue;
			}
		}
		/* A marker stays with the address it protects. */
		if (!holes || (b->why != UREMAP_REASON_HOLE &&
			       b->why != UREMAP_REASON_SRC_WP_MARKER))
			break;
		b->why = UREMAP_REASON_NONE;
		b->saved[i] = __pte(0);
	}
	b->seen = i;
	/* To be waited for it has to stay; nothing is held for it otherwise. */
	if (b->why == UREMAP_REASON_FOLIO_BUSY && !i)
		folio_get(b->busy);
}

/* Undo the taking of everything from entry @i on. */
static void uremap_batch_put_back(struct uremap_batch *b, unsigned int i)
{
	unsigned int end = b->seen;

	b->seen = i;
	while (i < end) {
		unsigned int n = uremap_taken_nr(b, i);
		struct folio *folio = NULL;

		if (uremap_pte_has_folio(b->saved[i]))
			folio = page_folio(pte_page(b->saved[i]));
		for (; n; n--, i++) {
			if (pte_none(b->saved[i]))
				continue;
			set_pte_at(b->mv->mm, b->src + i * PAGE_SIZE,
				   b->src_pte + i, b->saved[i]);
			b->taken--;
			uremap_stat_add(UREMAP_STAT_PUT_BACK, 1);
		}
		if (folio)
			folio_unlock(folio);
	}
}

/* Give what was taken its new place, up to the first folio that is pinned. */
static void uremap_batch_install(struct uremap_batch *b)
{
	struct vm_area_struct *vma = b->mv->dst_vma;
	struct anon_vma *anon_vma = vma->anon_vma;
	pgoff_t index = linear_page_index(vma, b->dst);
	unsigned int i, n;

	for (i = 0; i < b->seen; i += n) {
		pte_t pte = b->saved[i];
		struct folio *folio = NULL;

		n = 1;
		if (pte_none(pte))
			continue;
		if (likely(uremap_pte_has_folio(pte))) {
			folio = page_folio(pte_page(pte));
			if (unlikely(uremap_folio_grabbed(folio, pte))) {
				uremap_batch_put_back(b, i);
				b->why = UREMAP_REASON_PINNED;
				return;
			}
			if (unlikely(folio_test_large(folio))) {
				n = folio_nr_pages(folio);
				uremap_install_large(b, i, folio);
				continue;
			}
			uremap_folio_set_anon_rmap(folio, anon_vma, index + i);
		}
		set_pte_at(b->mv->mm, b->dst + i * PAGE_SIZE, b->dst_pte + i,
			   uremap_dst_entry(b, i, pte));
		if (likely(folio))
			folio_unlock(folio);
	}
}

/*
 * Map both tables and lock them.  What the map functions saw may have changed
 * until the locks are had, so the PMD entries are compared then: a table that
 * was freed meanwhile (PT_RECLAIM) or replaced is not the one to work on.
 */
static bool uremap_batch_lock(struct uremap_batch *b, pmd_t *dst_pmd,
			      pmd_t *src_pmd)
{
	struct mm_struct *mm = b->mv->mm;
	pmd_t dst_pmdval, src_pmdval;

	b->dst_pte = pte_offset_map_rw_nolock(mm, dst_pmd, b->dst, &dst_pmdval,
					      &b->dst_ptl);
	if (!b->dst_pte)
		return false;
	b->src_pte = pte_offset_map_rw_nolock(mm, src_pmd, b->src, &src_pmdval,
					      &b->src_ptl);
	if (!b->src_pte) {
		pte_unmap(b->dst_pte);
		return false;
	}
	uremap_ptl_lock(b->dst_ptl, b->src_ptl);
	if (likely(pmd_same(dst_pmdval, pmdp_get_lockless(dst_pmd)) &&
		   pmd_same(src_pmdval, pmdp_get_lockless(src_pmd))))
		return true;
	uremap_ptl_unlock(b->dst_ptl, b->src_ptl);
	pte_unmap(b->src_pte);
	pte_unmap(b->dst_pte);
	return false;
}

static void uremap_batch_unlock(struct uremap_batch *b)
{
	uremap_ptl_unlock(b->dst_ptl, b->src_ptl);
	pte_unmap(b->src_pte);
	pte_unmap(b->dst_pte);
}

/*
 * The batch itself, under the page-table locks.  Why this order is safe:
 *
 *  1. Take: each folio is locked, then its entry cleared.  From here on only
 *     this batch can map, unmap, migrate, split or merge it, and a fault on
 *     either address waits for the page-table lock.
 *  2. Flush the source: no CPU can reach the pages through it any more.  It
 *     comes before anything is visible at the destination, so no store through
 *     the source lands after that, and before the locks are dropped, so the
 *     destination cannot be unmapped and a page freed that some CPU still
 *     writes to (C15).  It also covers entries that reclaim left for later
 *     (C11).
 *  3. A full barrier, then the pin test.  GUP-fast takes its reference and then
 *     reads the entry again; the entry was cleared before the barrier and the
 *     count is read after it, so one of both sees the other (C1).  A folio that
 *     is pinned goes back to where it was, and everything after it: nothing of
 *     it has been changed yet, and nobody could see that it was gone.
 *  4. Mapping and index, then the destination's entry, then the folio lock: who
 *     finds the folio by its lock finds it consistent (C14).
 */
static void uremap_batch_run(struct uremap_batch *b)
{
	struct uremap_mv *mv = b->mv;

	uremap_batch_take(b);
	if (!b->taken)
		return;
	flush_tlb_mm_range(mv->mm, b->src, b->src + b->seen * PAGE_SIZE,
			   PAGE_SHIFT, false);
	uremap_stat_add(UREMAP_STAT_FLUSHES, 1);
	/* Between clearing entries and reading pin counts: C1. */
	smp_mb();
	uremap_batch_install(b);
}

/* Book what a batch has done; see to the first page if that is nothing. */
static int uremap_batch_end(struct uremap_batch *b, pmd_t *src_pmd)
{
	struct uremap_mv *mv = b->mv;
	unsigned long seen = (unsigned long)b->seen << PAGE_SHIFT;
	unsigned long taken = (unsigned long)b->taken << PAGE_SHIFT;

	if (unlikely(!seen)) {
		/* What is in the way of a large folio may be further on. */
		if (b->obstacle)
			return uremap_stop(mv, -EEXIST, b->why,
					   b->dst + b->obstacle * PAGE_SIZE);
		if (b->why == UREMAP_REASON_FOLIO_BUSY)
			return uremap_wait_folio(mv, b->busy);
		return uremap_settle(mv, src_pmd, b->why);
	}
	if (unlikely(mv->healing) && !pte_none(b->saved[0]))
		mv->healed += PAGE_SIZE;
	mv->done += seen;
	mv->moved += taken;
	mv->holes += seen - taken;
	uremap_stat_add(UREMAP_STAT_PAGES, b->taken);
	uremap_stat_add(UREMAP_STAT_HOLES, b->seen - b->taken);
	return 0;
}

/**
 * uremap_move_ptes - move pages that one page table maps on each side
 * @mv:      the move
 * @dst_pmd: PMD entry of the destination, has or had a page table
 * @src_pmd: the same of the source
 * @len:     bytes, inside both tables and both mappings
 *
 * Per batch, not per page: one pair of MMU notifier calls, one anon_vma lock
 * where the kernel needs it, the two page-table locks, one TLB flush.
 *
 * Context: mmap_lock held for reading, pair vetted; may sleep.
 * Return: 0 if it got on, UREMAP_RETRY if something changed or was waited for,
 *	a negative errno with the reason recorded if the first page stays.
 */
int uremap_move_ptes(struct uremap_mv *mv, pmd_t *dst_pmd, pmd_t *src_pmd,
		     unsigned long len)
{
	struct uremap_batch b = {
		.mv = mv,
		.src = uremap_mv_src(mv),
		.dst = uremap_mv_dst(mv),
		.nr = len >> PAGE_SHIFT,
		.saved = mv->saved,
		.wp = mv->mode & UREMAP_MOVE_WP,
		.keep_wp = (mv->mode & UREMAP_MOVE_KEEP_WP) &&
			   userfaultfd_wp(mv->dst_vma),
	};
	struct mmu_notifier_range range;
	struct anon_vma *anon_vma;
	bool locked;

	/* Only the source: what has no entry has no secondary mapping (C21). */
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, mv->mm, b.src,
				b.src + len);
	mmu_notifier_invalidate_range_start(&range);
	anon_vma = uremap_rmap_lock(mv->src_vma);

	locked = uremap_batch_lock(&b, dst_pmd, src_pmd);
	if (likely(locked)) {
		uremap_batch_run(&b);
		uremap_batch_unlock(&b);
	}

	uremap_rmap_unlock(anon_vma);
	mmu_notifier_invalidate_range_end(&range);
	uremap_stat_add(UREMAP_STAT_BATCHES, 1);
	uremap_stat_add(UREMAP_STAT_NOTIFIER_PAIRS, 1);

	return locked ? uremap_batch_end(&b, src_pmd) : UREMAP_RETRY;
}
