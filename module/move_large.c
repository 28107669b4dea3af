// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large folios mapped by PTEs.
 *
 * A large folio has one mapping and one index for all its pages, so it moves
 * as a whole or not at all: every page mapped, one after the other, inside the
 * batch, each exclusive.  Then no other entry maps any of it, and mapping and
 * index are written once.  Anything less is split first, outside all locks.
 */
#include <linux/mm.h>
#include <linux/swap.h>

#include "batch.h"
#include "sym.h"

/* Can entries from @i on take the folio's pages, all of them, in order? */
static u32 uremap_large_reason(struct uremap_run *r, unsigned int i,
			       struct folio *folio, unsigned int nr)
{
	unsigned long pfn = page_to_pfn(folio_page(folio, 0));
	unsigned int k;

	for (k = 0; k < nr; k++) {
		pte_t src = ptep_get(r->src_pte + i + k);
		pte_t dst = ptep_get(r->dst_pte + i + k);

		if (!pte_none(dst)) {
			u32 why = uremap_dst_reason(dst);

			/* A folio is not broken only to get so far. */
			if (why) {
				r->obstacle = k;
				return why;
			}
			r->marked = true;
		}
		if (!uremap_pte_has_folio(src) || pte_pfn(src) != pfn + k)
			return UREMAP_REASON_LARGE_FOLIO;
		if (!uremap_page_exclusive(folio_page(folio, k), folio, src))
			return k ? UREMAP_REASON_LARGE_FOLIO :
				   UREMAP_REASON_NOT_EXCLUSIVE;
	}
	return UREMAP_REASON_NONE;
}

/**
 * uremap_take_large - take a large folio from entry @i on
 * @b:     the batch
 * @r:     the run
 * @i:     the entry
 * @folio: what it maps, locked
 * @page:  the page of it
 *
 * Context: page-table locks and folio lock held.
 * Return: UREMAP_REASON_NONE with all its entries taken, else why not, with
 *	nothing changed.
 */
u32 uremap_take_large(struct uremap_batch *b, struct uremap_run *r,
		      unsigned int i, struct folio *folio, struct page *page)
{
	unsigned int nr = folio_nr_pages(folio), k;
	u32 why;

	if (page != folio_page(folio, 0) || nr > r->nr - i)
		return UREMAP_REASON_LARGE_FOLIO;
	why = uremap_large_reason(r, i, folio, nr);
	if (why)
		return why;
	for (k = i; k < i + nr; k++)
		r->saved[k] = ptep_get_and_clear(b->mm, r->src + k * PAGE_SIZE,
						 r->src_pte + k);
	r->taken += nr;
	return UREMAP_REASON_NONE;
}

/**
 * uremap_install_large - give a large folio its new place
 * @b:     the batch
 * @r:     the run
 * @i:     entry of its first page
 * @folio: the folio, taken, known not to be pinned
 *
 * Context: as uremap_take_large(); drops the folio lock.
 */
void uremap_install_large(struct uremap_batch *b, struct uremap_run *r,
			  unsigned int i, struct folio *folio)
{
	struct vm_area_struct *vma = b->mv->dst_vma;
	unsigned long dst = r->dst + i * PAGE_SIZE;
	unsigned int end = i + folio_nr_pages(folio);

	uremap_folio_set_anon_rmap(folio, vma->anon_vma,
				   linear_page_index(vma, dst));
	for (; i < end; i++, dst += PAGE_SIZE)
		set_pte_at(b->mm, dst, r->dst_pte + i,
			   uremap_dst_entry(b, r, i, r->saved[i]));
	folio_unlock(folio);
}

/* The folio that is mapped at an address, referenced; NULL if it is small. */
static struct folio *uremap_get_large(struct mm_struct *mm, pmd_t *pmd,
				      unsigned long addr)
{
	struct folio *folio = NULL;
	spinlock_t *ptl;
	pmd_t pmdval;
	pte_t *pte;

	pte = pte_offset_map_rw_nolock(mm, pmd, addr, &pmdval, &ptl);
	if (!pte) {
		ptl = pmd_lock(mm, pmd);
		pmdval = pmdp_get_lockless(pmd);
		if (pmd_trans_huge(pmdval) && !uremap_is_huge_zero_pmd(pmdval))
			folio = page_folio(pmd_page(pmdval));
	} else {
		pte_t pteval;

		spin_lock(ptl);
		pteval = ptep_get(pte);
		if (pmd_same(pmdval, pmdp_get_lockless(pmd)) &&
		    uremap_pte_has_folio(pteval))
			folio = page_folio(pte_page(pteval));
	}
	if (folio && folio_test_large(folio))
		folio_get(folio);
	else
		folio = NULL;
	spin_unlock(ptl);
	if (pte)
		pte_unmap(pte);
	return folio;
}

/**
 * uremap_split_src - split the large folio a move has come to
 * @mv:  the move
 * @pmd: PMD entry of the source
 *
 * Whatever would make the split fail half way is asked for first: a pinned or
 * otherwise referenced folio stays as it is, mapped as it is.
 *
 * Context: mmap_lock held, nothing else; may sleep.
 * Return: UREMAP_RETRY, or a negative errno with the reason recorded.
 */
int uremap_split_src(struct uremap_mv *mv, pmd_t *pmd)
{
	struct folio *folio;
	bool pinned;
	int err;

	folio = uremap_get_large(mv->mm, pmd, uremap_mv_src(mv));
	if (!folio)
		return UREMAP_RETRY;
	/* Waiting with a reference would keep another's split from working. */
	if (!folio_trylock(folio)) {
		folio_put(folio);
		return uremap_pause(mv);
	}
	/* Other CPUs' LRU batches hold references as well; ours at least go. */
	lru_add_drain();
	pinned = folio_maybe_dma_pinned(folio);
	err = pinned ? -EBUSY : split_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
	if (!err)
		return UREMAP_RETRY;
	if (pinned)
		return uremap_stop_src(mv, -EBUSY, UREMAP_REASON_PINNED);
	if (++mv->splits < UREMAP_MAX_SPLITS)
		return uremap_pause(mv);
	return uremap_stop_src(mv, -EBUSY, UREMAP_REASON_SPLIT_FAILED);
}
