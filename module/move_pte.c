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

#include "sym.h"
#include "uremap.h"

/**
 * struct uremap_batch - entries of one page table on each side
 * @mv:       the move
 * @src:      address of the first source entry
 * @dst:      address of the first destination entry
 * @nr:       entries wanted
 * @seen:     entries taken or found to be holes
 * @taken:    entries taken
 * @src_pte:  first source entry
 * @dst_pte:  first destination entry
 * @src_ptl:  lock of the source's page table
 * @dst_ptl:  lock of the destination's
 * @saved:    source entries that were taken, none for holes
 * @busy:     the folio the batch ended at because its lock is taken, with a
 *            reference if it is the first
 * @why:      UREMAP_REASON_* of ending before @nr
 */
struct uremap_batch {
	struct uremap_mv *mv;
	unsigned long src;
	unsigned long dst;
	unsigned int nr;
	unsigned int seen;
	unsigned int taken;
	pte_t *src_pte;
	pte_t *dst_pte;
	spinlock_t *src_ptl;
	spinlock_t *dst_ptl;
	pte_t *saved;
	struct folio *busy;
	u32 why;
};

/* What an entry that is not empty means at the destination. */
static u32 uremap_dst_reason(pte_t pte)
{
	softleaf_t entry;

	if (pte_present(pte))
		return UREMAP_REASON_DST_BUSY;
	entry = softleaf_from_pte(pte);
	if (!softleaf_is_marker(entry))
		return UREMAP_REASON_DST_BUSY;
	if (softleaf_to_marker(entry) & PTE_MARKER_GUARD)
		return UREMAP_REASON_DST_GUARD;
	if (softleaf_to_marker(entry) & PTE_MARKER_POISONED)
		return UREMAP_REASON_DST_POISON;
	return UREMAP_REASON_DST_WP_MARKER;
}

/* What an entry that is neither empty nor present means at the source. */
static u32 uremap_src_leaf_reason(pte_t pte)
{
	softleaf_t entry = softleaf_from_pte(pte);

	if (softleaf_is_swap(entry))
		return UREMAP_REASON_SWAP;
	if (softleaf_is_migration(entry))
		return UREMAP_REASON_MIGRATING;
	if (softleaf_is_hwpoison(entry))
		return UREMAP_REASON_HWPOISON;
	if (softleaf_is_device_private(entry) ||
	    softleaf_is_device_exclusive(entry))
		return UREMAP_REASON_DEVICE;
	if (!softleaf_is_marker(entry))
		return UREMAP_REASON_SRC_SPECIAL;
	if (softleaf_to_marker(entry) & PTE_MARKER_GUARD)
		return UREMAP_REASON_SRC_GUARD;
	if (softleaf_to_marker(entry) & PTE_MARKER_POISONED)
		return UREMAP_REASON_SRC_POISON;
	return UREMAP_REASON_SRC_WP_MARKER;
}

static int uremap_reason_errno(u32 reason)
{
	switch (reason) {
	case UREMAP_REASON_HOLE:
		return -ENOENT;
	case UREMAP_REASON_DST_BUSY ... UREMAP_REASON_DST_WP_MARKER:
		return -EEXIST;
	case UREMAP_REASON_MIGRATING:
	case UREMAP_REASON_FOLIO_BUSY:
		return -EAGAIN;
	case UREMAP_REASON_HWPOISON ... UREMAP_REASON_SRC_SPECIAL:
		return -EFAULT;
	default:
		return -EBUSY;
	}
}

/*
 * May this folio move?  It is locked, so reclaim, migration, KSM and splitting
 * stay away until the batch is through.  The pin test is repeated once no new
 * pin can come; here it saves clearing what would have to be put back.
 */
static u32 uremap_folio_reason(struct uremap_batch *b, struct folio *folio,
			       struct page *page, pte_t pte)
{
	if (unlikely(!uremap_folio_test_anon(folio)))
		return folio_test_ksm(folio) ? UREMAP_REASON_KSM :
					       UREMAP_REASON_SRC_SPECIAL;
	if (unlikely(folio_test_hwpoison(folio)))
		return UREMAP_REASON_HWPOISON;
	if (unlikely(!uremap_page_exclusive(page, pte)))
		return UREMAP_REASON_NOT_EXCLUSIVE;
	if (unlikely(folio_maybe_dma_pinned(folio)))
		return UREMAP_REASON_PINNED;
	if (unlikely(!uremap_rmap_hold(b->mv->ctx,
				       uremap_folio_anon_vma(folio)))) {
		b->mv->let_go = true;
		return UREMAP_REASON_RETRY_LIMIT;
	}
	return UREMAP_REASON_NONE;
}

/* Lock the folio of entry @i and clear the entry, or say why not. */
static u32 uremap_take(struct uremap_batch *b, unsigned int i, pte_t pte)
{
	struct page *page;
	struct folio *folio;
	u32 why;

	if (unlikely(!pte_present(pte)))
		return uremap_src_leaf_reason(pte);
	if (unlikely(pte_special(pte)))
		return is_zero_pfn(pte_pfn(pte)) ? UREMAP_REASON_ZEROPAGE :
						   UREMAP_REASON_SRC_SPECIAL;
	page = pte_page(pte);
	folio = page_folio(page);
	if (unlikely(folio_test_large(folio)))
		return UREMAP_REASON_LARGE_FOLIO;
	if (unlikely(!folio_trylock(folio))) {
		b->busy = folio;
		return UREMAP_REASON_FOLIO_BUSY;
	}
	why = uremap_folio_reason(b, folio, page, pte);
	if (unlikely(why)) {
		folio_unlock(folio);
		return why;
	}
	b->saved[i] = ptep_get_and_clear(b->mv->mm, b->src + i * PAGE_SIZE,
					 b->src_pte + i);
	b->taken++;
	return UREMAP_REASON_NONE;
}

/* Take entries until the batch is full or one cannot be taken. */
static void uremap_batch_take(struct uremap_batch *b)
{
	bool holes = b->mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES;
	unsigned int i;

	for (i = 0; i < b->nr; i++) {
		pte_t dst = ptep_get(b->dst_pte + i);
		pte_t src = ptep_get(b->src_pte + i);

		if (unlikely(!pte_none(dst))) {
			b->why = uremap_dst_reason(dst);
			break;
		}
		if (unlikely(pte_none(src))) {
			if (!holes) {
				b->why = UREMAP_REASON_HOLE;
				break;
			}
			b->saved[i] = src;
			continue;
		}
		b->why = uremap_take(b, i, src);
		if (unlikely(b->why))
			break;
	}
	b->seen = i;
	/* To be waited for, it has to stay; nothing is held for it otherwise. */
	if (b->why == UREMAP_REASON_FOLIO_BUSY && !i)
		folio_get(b->busy);
}

/*
 * The entry as the destination gets it.  Both mappings have the same protection
 * bits, so it is what the source had, but for this:
 *
 * - soft-dirty is set, for whoever tracks changes must see the page come;
 * - userfaultfd's write-protection belongs to the source and stays behind;
 * - an exclusive page of a writable mapping is writable, to save a fault;
 * - a clean page is made dirty, unless the swap cache has its content:
 *   MADV_FREE may have been at it, and what was moved must not vanish;
 * - a NUMA hint is dropped.
 */
static pte_t uremap_pte_rebuild(struct uremap_batch *b, struct folio *folio,
				pte_t pte)
{
	pte_t new = pfn_pte(pte_pfn(pte), b->mv->dst_vma->vm_page_prot);

	new = pte_young(pte) ? pte_mkyoung(new) : pte_mkold(new);
	if (pte_dirty(pte) || !folio_test_swapcache(folio))
		new = pte_mkdirty(new);
	return pte_mkwrite_novma(new);
}

static pte_t uremap_dst_pte(struct uremap_batch *b, struct folio *folio,
			    pte_t pte)
{
	if (unlikely(!pte_write(pte) || !pte_dirty(pte) || pte_uffd_wp(pte) ||
		     pte_protnone(pte)))
		pte = uremap_pte_rebuild(b, folio, pte);
	return pgtable_supports_soft_dirty() ? pte_mksoft_dirty(pte) : pte;
}

/* Undo the taking of everything from entry @i on. */
static void uremap_batch_put_back(struct uremap_batch *b, unsigned int i)
{
	unsigned int end = b->seen;

	b->seen = i;
	for (; i < end; i++) {
		pte_t pte = b->saved[i];

		if (pte_none(pte))
			continue;
		set_pte_at(b->mv->mm, b->src + i * PAGE_SIZE, b->src_pte + i,
			   pte);
		folio_unlock(page_folio(pte_page(pte)));
		b->taken--;
		uremap_stat_add(UREMAP_STAT_PUT_BACK, 1);
	}
}

/* Give the taken folios their new place, up to the first that is pinned. */
static void uremap_batch_install(struct uremap_batch *b)
{
	struct vm_area_struct *vma = b->mv->dst_vma;
	struct anon_vma *anon_vma = vma->anon_vma;
	pgoff_t index = linear_page_index(vma, b->dst);
	unsigned int i;

	for (i = 0; i < b->seen; i++) {
		pte_t pte = b->saved[i];
		struct folio *folio;

		if (pte_none(pte))
			continue;
		folio = page_folio(pte_page(pte));
		if (unlikely(folio_maybe_dma_pinned(folio))) {
			uremap_batch_put_back(b, i);
			b->why = UREMAP_REASON_PINNED;
			return;
		}
		uremap_folio_set_anon_rmap(folio, anon_vma, index + i);
		set_pte_at(b->mv->mm, b->dst + i * PAGE_SIZE, b->dst_pte + i,
			   uremap_dst_pte(b, folio, pte));
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

/* The first folio is locked by somebody: wait until it is not. */
static int uremap_wait_folio(struct uremap_mv *mv, struct folio *folio)
{
	int err = folio_lock_killable(folio);

	if (!err)
		folio_unlock(folio);
	folio_put(folio);
	if (err)
		return uremap_stop_src(mv, -EINTR, UREMAP_REASON_SIGNAL);
	return UREMAP_RETRY;
}

/* Book what a batch has done; say why if that is nothing. */
static int uremap_batch_end(struct uremap_batch *b)
{
	struct uremap_mv *mv = b->mv;
	unsigned long seen = (unsigned long)b->seen << PAGE_SHIFT;
	unsigned long taken = (unsigned long)b->taken << PAGE_SHIFT;

	uremap_stat_add(UREMAP_STAT_PAGES, b->taken);
	uremap_stat_add(UREMAP_STAT_HOLES, b->seen - b->taken);
	mv->done += seen;
	mv->moved += taken;
	mv->holes += seen - taken;
	if (b->seen)
		return 0;
	if (mv->let_go)
		return UREMAP_RETRY;
	if (b->why == UREMAP_REASON_FOLIO_BUSY)
		return uremap_wait_folio(mv, b->busy);
	if (b->why >= UREMAP_REASON_DST_BUSY)
		return uremap_stop_dst(mv, uremap_reason_errno(b->why), b->why);
	return uremap_stop_src(mv, uremap_reason_errno(b->why), b->why);
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

	return locked ? uremap_batch_end(&b) : UREMAP_RETRY;
}
