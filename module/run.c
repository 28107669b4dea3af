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

static void uremap_clear(struct uremap_batch *b, struct uremap_run *r,
			 unsigned int i)
{
	r->saved[i] = ptep_get_and_clear(b->mm, r->src + i * PAGE_SIZE,
					 r->src_pte + i);
	r->taken++;
}

/* What has no folio to lock: the zero page, and swap entries. */
static noinline u32 uremap_take_bare(struct uremap_batch *b,
				     struct uremap_run *r, unsigned int i,
				     pte_t pte)
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
		uremap_clear(b, r, i);
	return why;
}

/* Lock the folio of entry @i and clear the entry, or say why not. */
static __always_inline u32 uremap_take(struct uremap_batch *b,
				       struct uremap_run *r, unsigned int i,
				       pte_t pte)
{
	struct page *page;
	struct folio *folio;
	u32 why;

	if (unlikely(!uremap_pte_has_folio(pte)))
		return uremap_take_bare(b, r, i, pte);
	page = pte_page(pte);
	folio = page_folio(page);
	if (unlikely(!folio_trylock(folio))) {
		r->busy = folio;
		return UREMAP_REASON_FOLIO_BUSY;
	}
	why = uremap_folio_reason(b->mv, folio, page, pte);
	if (likely(!why)) {
		if (likely(!folio_test_large(folio)))
			uremap_clear(b, r, i);
		else
			why = uremap_take_large(b, r, i, folio, page);
	}
	if (unlikely(why))
		folio_unlock(folio);
	return why;
}

/* How many entries does what entry @i has taken occupy? */
static unsigned int uremap_taken_nr(struct uremap_run *r, unsigned int i)
{
	pte_t pte = r->saved[i];

	if (unlikely(!uremap_pte_has_folio(pte)))
		return 1;
	return folio_nr_pages(uremap_pte_folio(pte));
}

/* May entry @i be passed over?  A marker stays with what it protects. */
static bool uremap_pass_hole(struct uremap_batch *b, struct uremap_run *r,
			     unsigned int i)
{
	if (r->why != UREMAP_REASON_HOLE &&
	    r->why != UREMAP_REASON_SRC_WP_MARKER)
		return false;
	if (!(b->mv->mode & UREMAP_MOVE_ALLOW_SRC_HOLES))
		return false;
	r->why = UREMAP_REASON_NONE;
	r->saved[i] = __pte(0);
	return true;
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
	unsigned int i, n;

	for (i = 0; i < r->nr; i += n) {
		pte_t dst = ptep_get(r->dst_pte + i);

		n = 1;
		if (unlikely(!pte_none(dst))) {
			r->why = uremap_dst_reason(dst);
			if (r->why)
				break;
			r->marked = true;
		}
		r->why = uremap_take(b, r, i, ptep_get(r->src_pte + i));
		if (likely(!r->why))
			n = uremap_taken_nr(r, i);
		else if (!uremap_pass_hole(b, r, i))
			break;
	}
	r->seen = i;
	b->taken += r->taken;
	/* To be waited for it has to stay; nothing is held for it otherwise. */
	if (r->why == UREMAP_REASON_FOLIO_BUSY && !i)
		folio_get(r->busy);
}

/**
 * uremap_run_put_back - undo the taking of everything from an entry on
 * @b: the batch
 * @r: the run
 * @i: the entry
 *
 * Nothing of it has been changed but the source entry, and nobody could look.
 *
 * Context: page-table locks and the locks of the folios held; drops these.
 */
void uremap_run_put_back(struct uremap_batch *b, struct uremap_run *r,
			 unsigned int i)
{
	unsigned int end = r->seen;

	r->seen = i;
	r->obstacle = 0;
	while (i < end) {
		unsigned int n = uremap_taken_nr(r, i);
		struct folio *folio = NULL;

		if (uremap_pte_has_folio(r->saved[i]))
			folio = uremap_pte_folio(r->saved[i]);
		for (; n; n--, i++) {
			if (pte_none(r->saved[i]))
				continue;
			set_pte_at(b->mm, r->src + i * PAGE_SIZE,
				   r->src_pte + i, r->saved[i]);
			r->taken--;
			uremap_stat_add(UREMAP_STAT_PUT_BACK, 1);
		}
		if (folio)
			folio_unlock(folio);
	}
}

/**
 * uremap_dst_entry - the entry as the destination gets it
 * @b:   the batch
 * @r:   the run
 * @i:   its place
 * @pte: what the source had
 *
 * Both mappings have the same protection bits, so as a rule it is what the
 * source had, with soft-dirty set: who tracks changes must see the page come.
 *
 * Context: page-table locks held, source entry cleared and flushed.
 * Return: the entry to set.
 */
inline pte_t uremap_dst_entry(struct uremap_batch *b, struct uremap_run *r,
			      unsigned int i, pte_t pte)
{
	if (unlikely(!pte_write(pte) || !pte_dirty(pte) || b->wp ||
		     r->marked || !pte_present(pte)))
		return uremap_entry_rebuild(b, r, i, pte);
	return pgtable_supports_soft_dirty() ? pte_mksoft_dirty(pte) : pte;
}

/* What was taken without a folio to look after. */
static noinline void uremap_install_bare(struct uremap_batch *b,
					 struct uremap_run *r, unsigned int i,
					 pte_t pte)
{
	if (!pte_none(pte))
		set_pte_at(b->mm, r->dst + i * PAGE_SIZE, r->dst_pte + i,
			   uremap_entry_rebuild(b, r, i, pte));
}

/*
 * Another run of the batch has filled the destination since this one looked:
 * two segments name the same place.
 */
static bool uremap_dst_filled(struct uremap_batch *b, struct uremap_run *r,
			      unsigned int i, unsigned int n)
{
	if (likely(b->nr_runs == 1))
		return false;
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
	struct anon_vma *anon_vma = vma->anon_vma;
	pgoff_t index = linear_page_index(vma, r->dst);
	unsigned int i, n;

	for (i = 0; i < r->seen; i += n) {
		pte_t pte = r->saved[i];
		struct folio *folio;

		n = uremap_taken_nr(r, i);
		if (unlikely(uremap_dst_filled(b, r, i, n))) {
			uremap_run_put_back(b, r, i);
			return;
		}
		if (unlikely(!uremap_pte_has_folio(pte))) {
			uremap_install_bare(b, r, i, pte);
			continue;
		}
		folio = uremap_pte_folio(pte);
		if (unlikely(uremap_folio_grabbed(folio, pte))) {
			r->why = UREMAP_REASON_PINNED;
			uremap_run_put_back(b, r, i);
			return;
		}
		if (unlikely(folio_test_large(folio))) {
			uremap_install_large(b, r, i, folio);
			continue;
		}
		uremap_folio_set_anon_rmap(folio, anon_vma, index + i);
		set_pte_at(b->mm, r->dst + i * PAGE_SIZE, r->dst_pte + i,
			   uremap_dst_entry(b, r, i, pte));
		folio_unlock(folio);
	}
}
