// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entries of page tables: what they mean, and what they become at the
 * destination.
 */
#include <linux/mm.h>

#include "batch.h"

/**
 * uremap_dst_reason - what an entry that is not empty means at the destination
 * @pte: the entry
 *
 * A write-protect marker stands for "when populated, write-protected" and is
 * no obstacle: the page is installed so, as UFFDIO_COPY does.
 *
 * Context: any.
 * Return: UREMAP_REASON_NONE if a page may be installed there, else the reason.
 */
u32 uremap_dst_reason(pte_t pte)
{
	unsigned long marker;
	softleaf_t entry;

	if (pte_present(pte))
		return UREMAP_REASON_DST_BUSY;
	entry = softleaf_from_pte(pte);
	if (!softleaf_is_marker(entry))
		return UREMAP_REASON_DST_BUSY;
	marker = softleaf_to_marker(entry);
	if (marker & PTE_MARKER_GUARD)
		return UREMAP_REASON_DST_GUARD;
	if (marker & PTE_MARKER_POISONED)
		return UREMAP_REASON_DST_POISON;
	return marker == PTE_MARKER_UFFD_WP ? UREMAP_REASON_NONE :
					      UREMAP_REASON_DST_BUSY;
}

/**
 * uremap_src_leaf_reason - what a source entry that is not present asks for
 * @pte: the entry, not empty
 *
 * A swap entry can move as it is if it is this address space's alone and the
 * swap cache does not have the page: then nothing but this entry knows where
 * the page belongs.  What the swap cache has is in memory and is faulted in.
 * The entry is looked at under the page-table lock, which swapoff would need,
 * so its device stays (C8, C10).
 *
 * Context: page-table lock held.
 * Return: UREMAP_REASON_NONE if it may move as it is, else the reason.
 */
u32 uremap_src_leaf_reason(pte_t pte)
{
	softleaf_t entry = softleaf_from_pte(pte);
	unsigned long marker;

	if (softleaf_is_swap(entry))
		return uremap_swap_movable(pte, entry) ? UREMAP_REASON_NONE :
							 UREMAP_REASON_SWAP;
	if (softleaf_is_migration(entry))
		return UREMAP_REASON_MIGRATING;
	if (softleaf_is_hwpoison(entry))
		return UREMAP_REASON_HWPOISON;
	if (softleaf_is_device_private(entry) ||
	    softleaf_is_device_exclusive(entry))
		return UREMAP_REASON_DEVICE;
	if (!softleaf_is_marker(entry))
		return UREMAP_REASON_SRC_SPECIAL;
	marker = softleaf_to_marker(entry);
	if (marker & PTE_MARKER_GUARD)
		return UREMAP_REASON_SRC_GUARD;
	if (marker & PTE_MARKER_POISONED)
		return UREMAP_REASON_SRC_POISON;
	return marker == PTE_MARKER_UFFD_WP ? UREMAP_REASON_SRC_WP_MARKER :
					      UREMAP_REASON_SRC_SPECIAL;
}

/*
 * Write-protection of userfaultfd follows the destination (G3): asked for by
 * mode, by a marker that waited there, or carried from the source if the caller
 * wants that and both are registered for it.  A marker of a tracker (WP_ASYNC)
 * means "not written yet", which a page that has come is not.
 */
static bool uremap_entry_wp(struct uremap_batch *b, struct uremap_run *r,
			    unsigned int i, bool src_wp)
{
	if (b->wp || (b->keep_wp && src_wp))
		return true;
	return r->marked && !pte_none(ptep_get(r->dst_pte + i)) &&
	       !uremap_wp_async(b->mv->dst_vma);
}

static pte_t uremap_swap_entry(struct uremap_batch *b, struct uremap_run *r,
			       unsigned int i, pte_t pte)
{
	bool wp = uremap_entry_wp(b, r, i, pte_swp_uffd_wp(pte));

	pte = wp ? pte_swp_mkuffd_wp(pte) : pte_swp_clear_uffd_wp(pte);
	return pgtable_supports_soft_dirty() ? pte_swp_mksoft_dirty(pte) : pte;
}

/*
 * A present entry that is not simply kept: rebuilt from the destination's
 * protection, which drops NUMA hints, and made writable as a fault would.
 *
 * A clean page is made dirty unless the swap cache has its content: MADV_FREE
 * may have been at it, with the folio still waiting to be marked, and what was
 * moved must not vanish.  The dirty bit of a zero page is not made up: it
 * counts a page that KSM merged into it.
 *
 * The protection of a private mapping has no write bit, and a protected page gets
 * none: before 6.2 marking it would leave one.  First writable, then dirty: the other
 * way round x86 notes the dirty bit in a place that is meant for entries that are not
 * writable (6.6, _PAGE_SAVED_DIRTY).
 */
static pte_t uremap_present_entry(struct uremap_batch *b,
				  struct uremap_run *r, unsigned int i,
				  pte_t pte)
{
	pte_t new = pfn_pte(pte_pfn(pte), b->mv->dst_vma->vm_page_prot);
	bool wp = uremap_entry_wp(b, r, i, pte_uffd_wp(pte));
	bool dirty = pte_dirty(pte);

	new = pte_young(pte) ? pte_mkyoung(new) : pte_mkold(new);
	if (pte_special(pte))
		new = pte_mkspecial(new);
	else if (!dirty)
		dirty = !folio_test_swapcache(uremap_pte_folio(pte));
	if (!wp && !pte_special(pte))
		new = pte_mkwrite_novma(new);
	if (dirty)
		new = pte_mkdirty(new);
	if (pgtable_supports_soft_dirty())
		new = pte_mksoft_dirty(new);
	return wp ? pte_mkuffd_wp(new) : new;
}

/**
 * uremap_entry_rebuild - the destination's entry where it is not the source's
 * @b:   the batch
 * @r:   the run
 * @i:   its place
 * @pte: what the source had
 *
 * Context: page-table locks held, source entry cleared and flushed.
 * Return: the entry to set.
 */
pte_t uremap_entry_rebuild(struct uremap_batch *b, struct uremap_run *r,
			   unsigned int i, pte_t pte)
{
	return pte_present(pte) ? uremap_present_entry(b, r, i, pte) :
				  uremap_swap_entry(b, r, i, pte);
}

/**
 * uremap_dst_pmd - the same for a huge entry
 * @h:   the huge entry's move
 * @pmd: what the source had, present
 *
 * Context: page-table locks held, source entry cleared and flushed.
 * Return: the entry to set.
 */
pmd_t uremap_dst_pmd(const struct uremap_huge *h, pmd_t pmd)
{
	bool zero, wp = h->mode & UREMAP_MOVE_WP;
	pmd_t new;

	if (likely(!wp && uremap_pmd_ready(pmd)))
		return pgtable_supports_soft_dirty() ? pmd_mksoft_dirty(pmd) :
						       pmd;
	zero = uremap_is_huge_zero_pmd(pmd);
	new = pfn_pmd(pmd_pfn(pmd), h->dst_vma->vm_page_prot);
	if (pmd_uffd_wp(pmd) && (h->mode & UREMAP_MOVE_KEEP_WP))
		wp |= uremap_pair_keeps_wp(h->src_vma, h->dst_vma);
	new = pmd_mkhuge(new);
	new = pmd_young(pmd) ? pmd_mkyoung(new) : pmd_mkold(new);
	if (pgtable_supports_soft_dirty())
		new = pmd_mksoft_dirty(new);
	if (zero)
		new = uremap_pmd_mkhugezero(new);
	else
		new = pmd_mkdirty(wp ? new : pmd_mkwrite_novma(new));
	return wp ? pmd_mkuffd_wp(new) : new;
}
