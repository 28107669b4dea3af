/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Folios, for kernels that have pages only; and what became of their fields.
 *
 * Part of compat.h, which see.
 */
#ifndef _UREMAP_COMPAT_FOLIO_H
#define _UREMAP_COMPAT_FOLIO_H

/*
 * 5.16 "mm: Introduce struct folio".  A folio is a page that is no tail page;
 * everything below takes only such, so that the page functions do no more than
 * their folio successors.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 16, 0)
struct folio {
	struct page page;
};

#define page_folio(p)		((struct folio *)compound_head(p))
#define folio_page(folio, n)	(&(folio)->page + (n))
#define folio_get(folio)	get_page(&(folio)->page)
#define folio_put(folio)	put_page(&(folio)->page)
#define folio_trylock(folio)	trylock_page(&(folio)->page)
#define folio_unlock(folio)	unlock_page(&(folio)->page)
#define folio_lock(folio)	lock_page(&(folio)->page)
#define folio_lock_killable(folio) lock_page_killable(&(folio)->page)
#define folio_test_lru(folio)	PageLRU(&(folio)->page)
#define folio_test_large(folio)	PageHead(&(folio)->page)
#define folio_test_anon(folio)	PageAnon(&(folio)->page)
#define folio_test_ksm(folio)	PageKsm(&(folio)->page)
#define folio_test_swapcache(folio) PageSwapCache(&(folio)->page)
#define folio_test_hwpoison(folio) PageHWPoison(&(folio)->page)
#define folio_test_swapbacked(folio) PageSwapBacked(&(folio)->page)
#define folio_test_locked(folio) PageLocked(&(folio)->page)
#define folio_ref_count(folio)	page_ref_count(&(folio)->page)
#define folio_nr_pages(folio)	compound_nr(&(folio)->page)
#define folio_maybe_dma_pinned(folio) page_maybe_dma_pinned(&(folio)->page)
#define split_folio(folio)	split_huge_page_to_list(&(folio)->page, NULL)
#endif

/* 6.17 "mm: rename PAGE_MAPPING_* to FOLIO_MAPPING_*" */
#ifndef FOLIO_MAPPING_ANON
#define FOLIO_MAPPING_ANON	PAGE_MAPPING_ANON
#define FOLIO_MAPPING_FLAGS	PAGE_MAPPING_FLAGS
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 16, 0)
#define uremap_folio_mapping(folio)	READ_ONCE((folio)->page.mapping)
#else
#define uremap_folio_mapping(folio)	READ_ONCE((folio)->mapping)
#endif

/* 6.18 "mm: introduce memdesc_flags_t" */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define uremap_folio_flags(folio)	READ_ONCE((folio)->flags.f)
#define uremap_page_flags(page)		READ_ONCE((page)->flags.f)
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
#define uremap_folio_flags(folio)	READ_ONCE((folio)->flags)
#define uremap_page_flags(page)		READ_ONCE((page)->flags)
#else
#define uremap_folio_flags(folio)	READ_ONCE((folio)->page.flags)
#define uremap_page_flags(page)		READ_ONCE((page)->flags)
#endif

/**
 * uremap_folio_test_anon - is this ordinary anonymous memory?
 * @folio: any folio
 *
 * Context: any.
 * Return: true if anonymous and not KSM's, whose mapping is no anon_vma.
 */
static inline bool uremap_folio_test_anon(struct folio *folio)
{
	return ((unsigned long)uremap_folio_mapping(folio) &
		FOLIO_MAPPING_FLAGS) == FOLIO_MAPPING_ANON;
}

/**
 * uremap_folio_anon_vma - the anon_vma a folio's rmap starts from
 * @folio: a folio for which uremap_folio_test_anon() is true
 *
 * Context: stable under the folio lock.
 * Return: the anon_vma.
 */
static inline struct anon_vma *uremap_folio_anon_vma(struct folio *folio)
{
	return (void *)uremap_folio_mapping(folio) - FOLIO_MAPPING_ANON;
}

/**
 * uremap_folio_set_anon_rmap - let a folio be found at another address
 * @folio:    locked, mapped nowhere at the moment
 * @anon_vma: of the VMA it goes to
 * @index:    linear page index of its first page there
 *
 * folio_referenced() reads the mapping without the folio lock before 6.19 and
 * takes the pointer and its flag apart, so both are stored at once, as
 * folio_move_anon_rmap() of mm/rmap.c does.  The index is stored first: who finds
 * the new mapping may lock the new anon_vma, which a move does not, and must not
 * look for the folio in there at its old index.
 *
 * Context: folio lock held.
 */
static inline void uremap_folio_set_anon_rmap(struct folio *folio,
					      struct anon_vma *anon_vma,
					      pgoff_t index)
{
	void *mapping = (void *)anon_vma + FOLIO_MAPPING_ANON;

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 16, 0)
	WRITE_ONCE(folio->page.index, index);
	/* Pairs with reading the index by way of this pointer. */
	smp_store_release(&folio->page.mapping, mapping);
#else
	WRITE_ONCE(folio->index, index);
	/* Pairs with reading the index by way of this pointer. */
	smp_store_release(&folio->mapping, mapping);
#endif
}

/**
 * uremap_page_hwpoisoned - has the memory of this page failed?
 * @page: any page
 *
 * Context: any.
 * Return: true if so.
 */
static inline bool uremap_page_hwpoisoned(struct page *page)
{
	return PageHWPoison(page);
}

/**
 * uremap_folio_hwpoisoned - has the memory of any page of a large folio failed?
 * @folio: a large folio
 *
 * memory_failure() leaves one whole that it cannot split.  Before 5.16 it does
 * not write that down for the folio, only for the page; such a folio moves with
 * what is broken in it.
 *
 * Context: any.
 * Return: true if so.
 */
static inline bool uremap_folio_hwpoisoned(struct folio *folio)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	if (folio_test_has_hwpoisoned(folio))
		return true;
#endif
	return folio_test_hwpoison(folio);
}

/*
 * Exclusivity: does a page belong to this address space alone, no other and no
 * swap entry sharing it?
 *
 * Since 5.19 PG_anon_exclusive says so, for each page of a large folio by
 * itself, and goes on saying so until a fork or KSM.
 *
 * Before, a writable entry says so: the write bit is only ever set by a fresh
 * allocation, a copy or a reuse, and fork clears it (D1).  A read-only one may
 * be exclusive too; then the rule is that by which do_wp_page() reuses a page:
 * nobody else has a reference, the swap cache (which reuse_swap_page() empties
 * if it can) apart.  References can come until the entry is cleared, so that is
 * asked again afterwards (D2).  A mapcount alone proves nothing: who unmapped
 * the page may still read it through a pipe (CVE-2020-29374).
 */
#ifdef UREMAP_HAVE_ANON_EXCLUSIVE
#define UREMAP_FAULT_UNSHARE	FAULT_FLAG_UNSHARE
#define UREMAP_UNSHARE_IS_WRITE	false

static inline bool uremap_page_exclusive(struct page *page, struct folio *folio,
					 pte_t pte)
{
	return PageAnonExclusive(page);
}

static inline bool uremap_pmd_exclusive(struct folio *folio, pmd_t pmd)
{
	return PageAnonExclusive(folio_page(folio, 0));
}

/* Is it ours alone, for all that is known of others' references? */
static inline bool uremap_page_unshared(struct page *page, struct folio *folio)
{
	return false;
}

/* Once the entry is cleared: may the folio not leave after all? */
static inline bool uremap_folio_grabbed(struct folio *folio, pte_t pte)
{
	return folio_maybe_dma_pinned(folio);
}
#else
#define UREMAP_FAULT_UNSHARE	FAULT_FLAG_WRITE
#define UREMAP_UNSHARE_IS_WRITE	true

/* One reference per entry that maps it, and none besides. */
static inline bool uremap_folio_only_ours(struct folio *folio)
{
	if (folio_test_large(folio))
		return !folio_test_swapcache(folio) &&
		       folio_ref_count(folio) == folio_nr_pages(folio);
	return folio_ref_count(folio) == 1 + folio_test_swapcache(folio);
}

static inline bool uremap_page_exclusive(struct page *page, struct folio *folio,
					 pte_t pte)
{
	if (pte_write(pte))
		return true;
	/* A large folio is asked page by page, and moves only as a whole. */
	if (page_mapcount(page) != 1)
		return false;
	if (!folio_test_large(folio) && folio_test_swapcache(folio) &&
	    !reuse_swap_page(page, NULL))
		return false;
	return uremap_folio_only_ours(folio);
}

static inline bool uremap_page_unshared(struct page *page, struct folio *folio)
{
	return !folio_test_large(folio) && page_mapcount(page) == 1 &&
	       (!folio_test_swapcache(folio) || reuse_swap_page(page, NULL));
}

static inline bool uremap_pmd_exclusive(struct folio *folio, pmd_t pmd)
{
	return pmd_write(pmd) || (!folio_test_swapcache(folio) &&
				  folio_ref_count(folio) == 1);
}

static inline bool uremap_folio_grabbed(struct folio *folio, pte_t pte)
{
	return folio_maybe_dma_pinned(folio) ||
	       (!pte_write(pte) && !uremap_folio_only_ours(folio));
}
#endif

#endif /* _UREMAP_COMPAT_FOLIO_H */
