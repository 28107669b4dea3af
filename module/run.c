// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs: taking entries at the source, installing them at the destination, or
 * putting them back.  The innermost loops of a move.
 *
 * Inside the page-table locks folios are only tried for; the first that cannot
 * be had ends the run, and the next step of the move starts with waiting for it
 * outside of all locks.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "batch.h"

/*
 * No anon_vma leads to the folio.  What KSM has merged can be copied, but before
 * 5.19 only by a write fault, which would be an event where userfaultfd protects
 * the page (G1).
 */
static u32 uremap_not_anon_reason(struct uremap_mv *mv, struct folio *folio,
				  pte_t pte)
{
	if (!folio_test_ksm(folio))
		return UREMAP_REASON_SRC_SPECIAL;
	return UREMAP_UNSHARE_IS_WRITE && userfaultfd_pte_wp(mv->src_vma, pte) ?
	       UREMAP_REASON_WP_SHARED : UREMAP_REASON_KSM;
}

/*
 * May this folio move?  It is locked, so reclaim, migration, KSM and splitting
 * stay away until the batch is through.  The pin test is repeated once no new
 * pin can come; here it saves clearing what would have to be put back.
 */
static u32 uremap_folio_reason(struct uremap_mv *mv, struct folio *folio,
			       struct page *page, pte_t pte)
{
	if (unlikely(!uremap_folio_test_anon(folio)))
		return uremap_not_anon_reason(mv, folio, pte);
	if (unlikely(uremap_page_hwpoisoned(page)))
		return UREMAP_REASON_HWPOISON;
	if (unlikely(folio_maybe_dma_pinned(folio)))
		return UREMAP_REASON_PINNED;
	if (unlikely(!uremap_page_exclusive(page, folio, pte))) {
		if (userfaultfd_pte_wp(mv->src_vma, pte))
			return UREMAP_REASON_NOT_EXCLUSIVE_WP;
		if (mv->waits_for == UREMAP_REASON_SWAP &&
		    uremap_page_unshared(page, folio))
			return UREMAP_REASON_SWAPPED_IN;
		return UREMAP_REASON_NOT_EXCLUSIVE;
	}
	if (unlikely(!uremap_rmap_hold(mv->ctx,
				       uremap_folio_anon_vma(folio)))) {
		mv->let_go = true;
		return UREMAP_REASON_RETRY_LIMIT;
	}
	mv->held = uremap_folio_mapping(folio);
	return UREMAP_REASON_NONE;
}

static void uremap_clear(struct uremap_batch *b, struct uremap_run *r,
			 unsigned int i, struct folio *folio)
{
	r->saved[i] = ptep_get_and_clear(b->mm, r->src + i * PAGE_SIZE,
					 r->src_pte + i);
	r->folios[i] = folio;
	r->taken++;
}

/* What has no folio to lock: the zero page, and swap entries. */
static u32 uremap_take_bare(struct uremap_batch *b, struct uremap_run *r,
			    unsigned int i, pte_t pte)
{
	u32 why;

	if (pte_none(pte))
		return UREMAP_REASON_HOLE;
	if (!pte_present(pte))
		why = uremap_src_leaf_reason(pte);
	else
		why = is_zero_pfn(pte_pfn(pte)) ? UREMAP_REASON_NONE :
						  UREMAP_REASON_SRC_SPECIAL;
	if (!why)
		uremap_clear(b, r, i, NULL);
	return why;
}

/* Lock the folio of entry @i and clear its entries, *@n of them. */
static u32 uremap_take_folio(struct uremap_batch *b, struct uremap_run *r,
			     unsigned int i, pte_t pte, unsigned int *n)
{
	struct page *page = pte_page(pte);
	struct folio *folio = page_folio(page);
	u32 why;

	if (!folio_trylock(folio)) {
		r->busy = folio;
		return UREMAP_REASON_FOLIO_BUSY;
	}
	why = uremap_folio_reason(b->mv, folio, page, pte);
	if (!why && folio_test_large(folio)) {
		why = uremap_take_large(b, r, i, folio, page);
		*n = folio_nr_pages(folio);
	} else if (!why) {
		uremap_clear(b, r, i, folio);
	}
	if (why)
		folio_unlock(folio);
	return why;
}

/* Any entry, any folio.  Returns the entries it took care of, 0 to stop. */
static noinline unsigned int uremap_take_any(struct uremap_batch *b,
					     struct uremap_run *r,
					     unsigned int i)
{
	pte_t dst = ptep_get(r->dst_pte + i), src = ptep_get(r->src_pte + i);
	unsigned int n = 1;

	if (!pte_none(dst)) {
		r->why = uremap_dst_reason(dst);
		if (r->why)
			return 0;
		r->marked = true;
	}
	if (uremap_pte_has_folio(src))
		r->why = uremap_take_folio(b, r, i, src, &n);
	else
		r->why = uremap_take_bare(b, r, i, src);
	if (!r->why)
		return n;
	/* Holes may be passed over; a marker stays with what it protects. */
	if ((r->why != UREMAP_REASON_HOLE &&
	     r->why != UREMAP_REASON_SRC_WP_MARKER) ||
	    !(b->mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES))
		return 0;
	r->why = UREMAP_REASON_NONE;
	r->saved[i] = __pte(0);
	r->folios[i] = NULL;
	return 1;
}

/**
 * uremap_run_take - take entries until the run is complete or one stays
 * @b: the batch
 * @r: the run
 *
 * Context: page-table locks held.
 */
void uremap_run_take(struct uremap_batch *b, struct uremap_run *r)
{
	unsigned int i = 0, n;

	do {
		n = uremap_plain_take(b->mm, b->mv->held, r->src, r->src_pte,
				      r->dst_pte, r->saved, r->folios, i, r->nr,
				      false);
		r->taken += n - i;
		i = n;
		if (likely(i == r->nr))
			break;
		n = uremap_large_take(b->mm, b->mv->held, r, i, false);
		if (!n)
			n = uremap_take_any(b, r, i);
		i += n;
	} while (n && i < r->nr);
	r->seen = i;
	b->taken += r->taken;
	/* To be waited for it has to stay; nothing is held for it otherwise. */
	if (r->why == UREMAP_REASON_FOLIO_BUSY && !i)
		folio_get(r->busy);
}

/* The folio of what entry @i has taken, and how many entries it occupies. */
static struct folio *uremap_taken(struct uremap_run *r, unsigned int i,
				  unsigned int *n)
{
	struct folio *folio = r->folios[i];

	*n = 1;
	if (folio != UREMAP_LARGE && folio != UREMAP_LARGE_READY)
		return folio;
	folio = uremap_pte_folio(r->saved[i]);
	*n = folio_nr_pages(folio);
	return folio;
}

/**
 * uremap_run_put_back - undo the taking of everything from an entry on
 * @mm: the address space
 * @r:  the run
 * @i:  the entry
 *
 * Nothing of it has been changed but the source entry, and nobody could look.
 *
 * Context: page-table locks and the locks of the folios held; drops these.
 */
void uremap_run_put_back(struct mm_struct *mm, struct uremap_run *r,
			 unsigned int i)
{
	unsigned int end = r->seen;

	r->seen = i;
	r->obstacle = 0;
	while (i < end) {
		unsigned int n;
		struct folio *folio = uremap_taken(r, i, &n);

		for (; n; n--, i++) {
			if (pte_none(r->saved[i]))
				continue;
			set_pte_at(mm, r->src + i * PAGE_SIZE, r->src_pte + i,
				   r->saved[i]);
			r->taken--;
			uremap_stat_add(UREMAP_STAT_PUT_BACK, 1);
		}
		if (folio)
			folio_unlock(folio);
	}
}

/*
 * Another run of the batch has filled the destination since this one looked:
 * two segments name the same place.
 */
static bool uremap_dst_filled(struct uremap_run *r, unsigned int i,
			      unsigned int n)
{
	for (; n; n--, i++) {
		pte_t pte = ptep_get(r->dst_pte + i);

		if (likely(pte_none(pte)))
			continue;
		r->why = uremap_dst_reason(pte);
		if (r->why)
			return true;
	}
	return false;
}

/* Any entry, any folio.  Returns the entries it took care of, 0 to stop. */
static noinline unsigned int uremap_install_any(struct uremap_batch *b,
						struct uremap_run *r,
						unsigned int i)
{
	pte_t pte = r->saved[i];
	unsigned int n;
	struct folio *folio = uremap_taken(r, i, &n);

	if (b->nr_runs > 1 && uremap_dst_filled(r, i, n))
		return 0;
	if (!folio) {
		if (!pte_none(pte))
			set_pte_at(b->mm, r->dst + i * PAGE_SIZE,
				   r->dst_pte + i,
				   uremap_entry_rebuild(b, r, i, pte));
		return 1;
	}
	if (uremap_folio_grabbed(folio, pte)) {
		r->why = UREMAP_REASON_PINNED;
		return 0;
	}
	uremap_install_folio(b, r, i, n, folio);
	return n;
}

/**
 * uremap_run_install - give what was taken its new place
 * @b: the batch
 * @r: the run
 *
 * Stops at the first folio that is pinned; it and the rest go back.
 *
 * Context: page-table locks and the locks of the folios held, source flushed,
 *	barrier passed; drops the locks of the folios.
 */
void uremap_run_install(struct uremap_batch *b, struct uremap_run *r)
{
	struct vm_area_struct *vma = b->mv->dst_vma;
	pgoff_t index = linear_page_index(vma, r->dst);
	bool plain = !b->wp && !r->marked;
	unsigned int i = 0, n;

	while (i < r->seen) {
		if (likely(plain)) {
			i = uremap_plain_install(b->mm, vma->anon_vma, index,
						 r->dst, r->dst_pte, r->saved,
						 r->folios, i, r->seen,
						 false, false);
			if (likely(i == r->seen))
				break;
		}
		n = plain && b->nr_runs == 1 && !b->nr_singles ?
		    uremap_large_install(b->mm, vma, r, i) : 0;
		if (!n)
			n = uremap_install_any(b, r, i);
		if (unlikely(!n)) {
			uremap_run_put_back(b->mm, r, i);
			break;
		}
		i += n;
	}
}
