// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large folios mapped by PTEs.
 *
 * A large folio has one mapping and one index for all its pages, so it moves
 * as a whole or not at all: every page mapped, one after the other, inside the
 * batch, each exclusive.  Then no other entry maps any of it, and mapping and
 * index are written once.  Anything less is split first, outside all locks.
 *
 * In the loops over its pages counting would cost as much as what there is to do,
 * so they are unrolled.
 */
#include <linux/mm.h>
#include <linux/swap.h>

#include "batch.h"
#include "sym.h"

/* Pages looked at in one go; no anonymous folio has fewer, if it is large. */
#define UREMAP_LARGE_STEP	4

/*
 * Is the folio, of which @page is the first, ours as a whole, mapped in order from
 * entry @i on, with nothing in the way?  @first: that entry.  As a rule it is, so all
 * is looked at before anything is asked.  Returns %UREMAP_LARGE_READY if its entries
 * can be installed as they are, %UREMAP_LARGE if not, NULL if anything else is so.
 */
static __always_inline struct folio *
uremap_large_plain(const struct uremap_run *r, unsigned int i,
		   const struct page *page, unsigned int nr, pte_t first)
{
	unsigned long all = ~0UL, any = 0;
	pteval_t want = uremap_pte_bits(first), differ = 0, taken = 0;
	pte_t *src = r->src_pte + i, *dst = r->dst_pte + i, *end = src + nr;
	unsigned int k;

	do {
#pragma GCC unroll 4
		for (k = 0; k < UREMAP_LARGE_STEP; k++) {
			unsigned long flags = uremap_page_flags(page + k);

			differ |= uremap_pte_bits(ptep_get(src + k)) ^
				  (want + k * PAGE_SIZE);
			taken |= uremap_pte_bits(ptep_get(dst + k));
			all &= flags;
			any |= flags;
		}
		want += UREMAP_LARGE_STEP * PAGE_SIZE;
		src += UREMAP_LARGE_STEP;
		dst += UREMAP_LARGE_STEP;
		page += UREMAP_LARGE_STEP;
	} while (src != end);
	if (unlikely(!uremap_pte_differs_not(differ) ||
		     !pte_none(__pte(taken)) ||
		     !uremap_flags_plain(all, any, first)))
		return NULL;
	/* The CPU may set bits until they are cleared; that does no harm. */
	return uremap_bits_ready(uremap_pte_bits(first) & ~differ) ?
	       UREMAP_LARGE_READY : UREMAP_LARGE;
}

/* Clear its entries. */
static __always_inline void uremap_large_clear(struct mm_struct *mm,
					       struct uremap_run *r,
					       unsigned int i, unsigned int nr)
{
	unsigned long addr = r->src + i * PAGE_SIZE;
	pte_t *src = r->src_pte + i, *saved = r->saved + i, *end = src + nr;
	unsigned int k;

	do {
#pragma GCC unroll 4
		for (k = 0; k < UREMAP_LARGE_STEP; k++)
			saved[k] = ptep_get_and_clear(mm, addr + k * PAGE_SIZE,
						      src + k);
		addr += UREMAP_LARGE_STEP * PAGE_SIZE;
		src += UREMAP_LARGE_STEP;
		saved += UREMAP_LARGE_STEP;
	} while (src != end);
}

/* One folio as described below.  Returns its pages, or 0. */
static __always_inline unsigned int
uremap_large_take_one(struct mm_struct *mm, const void *held,
		      struct uremap_run *r, unsigned int i, bool ready)
{
	pte_t pte = ptep_get(r->src_pte + i);
	struct folio *folio, *how = NULL;
	struct page *page;
	unsigned int nr;

	if (!uremap_pte_plain(pte) || !uremap_pte_bits_in_order())
		return 0;
	page = uremap_plain_page(pte);
	if (!(uremap_page_flags(page) & BIT(PG_head)))
		return 0;
	folio = (struct folio *)page;
	nr = folio_nr_pages(folio);
	if (nr > r->nr - i || nr % UREMAP_LARGE_STEP || !folio_trylock(folio))
		return 0;
	if (likely(uremap_rmap_held(held, uremap_folio_mapping(folio)) &&
		   !uremap_folio_hwpoisoned(folio)))
		how = uremap_large_plain(r, i, page, nr, pte);
	if (unlikely(!how || (ready && how != UREMAP_LARGE_READY))) {
		folio_unlock(folio);
		return 0;
	}
	uremap_large_clear(mm, r, i, nr);
	r->folios[i] = how;
	r->taken += nr;
	return nr;
}

/**
 * uremap_large_take - take large folios about which there is nothing special
 * @mm:    the address space
 * @held:  mapping of folios that may move without asking (rmap.c)
 * @r:     the run
 * @i:     the entry to begin with
 * @ready: take only folios whose entries can be installed as they are
 *
 * Goes on as long as there are large folios, as a whole inside the run, mapped in
 * order by present entries, of our own, and nothing at the destination.
 *
 * Context: page-table locks held.
 * Return: the entries taken, 0 if what comes first is anything else.
 */
unsigned int uremap_large_take(struct mm_struct *mm, const void *held,
			       struct uremap_run *r, unsigned int i, bool ready)
{
	unsigned int begin = i, n;

	do {
		n = uremap_large_take_one(mm, held, r, i, ready);
		i += n;
	} while (n && i < r->nr);
	return i - begin;
}

/* Set the entries of one folio, @nr. */
static __always_inline unsigned int
uremap_large_set(struct mm_struct *mm, const struct uremap_run *r,
		 unsigned int i, unsigned int nr)
{
	unsigned long addr = r->dst + i * PAGE_SIZE;
	pte_t *dst = r->dst_pte + i, *saved = r->saved + i, *end = dst + nr;
	unsigned int k;

	do {
#pragma GCC unroll 4
		for (k = 0; k < UREMAP_LARGE_STEP; k++) {
			pte_t pte = saved[k];

			if (pgtable_supports_soft_dirty())
				pte = pte_mksoft_dirty(pte);
			set_pte_at(mm, addr, dst + k, pte);
			addr += PAGE_SIZE;
		}
		dst += UREMAP_LARGE_STEP;
		saved += UREMAP_LARGE_STEP;
	} while (dst != end);
	return nr;
}

/**
 * uremap_large_install - give large folios their new places
 * @mm:  the address space
 * @vma: the destination's mapping
 * @r:   the run, the only one
 * @i:   the entry to begin with
 *
 * Goes on as long as there are such as can be installed as they are, not pinned.
 *
 * Context: page-table locks and the locks of the folios held, source flushed,
 *	barrier passed; drops the locks of the folios it has installed.
 * Return: the entries installed, 0 if what comes first is anything else.
 */
unsigned int uremap_large_install(struct mm_struct *mm,
				  struct vm_area_struct *vma,
				  struct uremap_run *r, unsigned int i)
{
	pgoff_t index = linear_page_index(vma, r->dst);
	unsigned int begin = i;

	while (i < r->seen && r->folios[i] == UREMAP_LARGE_READY) {
		struct folio *folio = (struct folio *)
				      uremap_plain_page(r->saved[i]);

		if (unlikely(uremap_folio_grabbed(folio, r->saved[i])))
			break;
		uremap_folio_set_anon_rmap(folio, vma->anon_vma, index + i);
		i += uremap_large_set(mm, r, i, folio_nr_pages(folio));
		folio_unlock(folio);
	}
	return i - begin;
}

/* Can entries from @i on take the folio's pages, all of them, in order? */
static u32 uremap_large_reason(const struct uremap_mv *mv,
			       struct uremap_run *r, unsigned int i,
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
			if (why && k && mv->strict)
				return UREMAP_REASON_LARGE_FOLIO;
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
	unsigned long src = r->src + i * PAGE_SIZE;
	pte_t *src_pte = r->src_pte + i, *saved = r->saved + i;
	u32 why;

	if (page != folio_page(folio, 0) || nr > r->nr - i)
		return UREMAP_REASON_LARGE_FOLIO;
	/* What is well moves by itself, what is broken stays and says so. */
	if (unlikely(uremap_folio_hwpoisoned(folio)))
		return UREMAP_REASON_LARGE_FOLIO;
	why = uremap_large_reason(b->mv, r, i, folio, nr);
	if (why)
		return why;
	for (k = 0; k < nr; k++)
		saved[k] = ptep_get_and_clear(b->mm, src + k * PAGE_SIZE,
					      src_pte + k);
	r->folios[i] = UREMAP_LARGE;
	r->taken += nr;
	return UREMAP_REASON_NONE;
}

/**
 * uremap_install_folio - give a folio of any size its new place
 * @b:     the batch
 * @r:     the run
 * @i:     entry of its first page
 * @n:     its pages
 * @folio: the folio, taken, known not to be pinned
 *
 * Context: as uremap_take_large(); drops the folio lock.
 */
void uremap_install_folio(struct uremap_batch *b, struct uremap_run *r,
			  unsigned int i, unsigned int n, struct folio *folio)
{
	struct vm_area_struct *vma = b->mv->dst_vma;
	unsigned long dst = r->dst + i * PAGE_SIZE;
	pte_t *dst_pte = r->dst_pte, *saved = r->saved;
	struct mm_struct *mm = b->mm;
	bool plain = !b->wp && !r->marked;

	uremap_folio_set_anon_rmap(folio, vma->anon_vma,
				   linear_page_index(vma, dst));
	for (n += i; i < n; i++, dst += PAGE_SIZE)
		set_pte_at(mm, dst, dst_pte + i,
			   uremap_dst_entry(b, r, i, saved[i], plain));
	folio_unlock(folio);
}

static struct folio *uremap_large_of(struct folio *folio)
{
	if (!folio_test_large(folio))
		return NULL;
	folio_get(folio);
	return folio;
}

/* The folio of a PTE, referenced; NULL if small or gone. */
static struct folio *uremap_get_large_pte(struct mm_struct *mm, pmd_t *pmd,
					  unsigned long addr)
{
	struct folio *folio = NULL;
	spinlock_t *ptl;
	pmd_t pmdval;
	pte_t *pte;

	rcu_read_lock();
	pte = uremap_pte_map(mm, pmd, addr, &pmdval, &ptl);
	if (pte) {
		spin_lock(ptl);
		if (pmd_same(pmdval, pmdp_get_lockless(pmd)) &&
		    uremap_pte_has_folio(ptep_get(pte)))
			folio = uremap_large_of(uremap_pte_folio(ptep_get(pte)));
		spin_unlock(ptl);
	}
	rcu_read_unlock();
	return folio;
}

/* The folio of a PMD, referenced; NULL if it is none. */
static struct folio *uremap_get_large_pmd(struct mm_struct *mm, pmd_t *pmd)
{
	struct folio *folio = NULL;
	spinlock_t *ptl = pmd_lock(mm, pmd);
	pmd_t pmdval = pmdp_get_lockless(pmd);

	if (pmd_present(pmdval) && pmd_trans_huge(pmdval) &&
	    !uremap_is_huge_zero_pmd(pmdval))
		folio = uremap_large_of(page_folio(pmd_page(pmdval)));
	spin_unlock(ptl);
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
	bool pinned, isolated;
	int err;

	if (uremap_pmd_is_table(pmdp_get_lockless(pmd)))
		folio = uremap_get_large_pte(mv->mm, pmd, uremap_mv_src(mv));
	else
		folio = uremap_get_large_pmd(mv->mm, pmd);
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
	isolated = !folio_test_lru(folio);
	err = pinned ? -EBUSY : split_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
	if (!err)
		return UREMAP_RETRY;
	if (pinned)
		return uremap_stop_src(mv, -EBUSY, UREMAP_REASON_PINNED);
	/* Off the LRU lists it is being migrated or reclaimed, which ends. */
	if (isolated || ++mv->splits < UREMAP_MAX_SPLITS)
		return uremap_pause(mv);
	return uremap_stop_src(mv, -EBUSY, UREMAP_REASON_SPLIT_FAILED);
}
