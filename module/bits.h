/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single looks at entries and folio flags that answer several questions.
 *
 * The innermost loops ask of each page what a dozen helpers of the kernel would
 * tell one by one, each reading the same word again.  Whatever does not pass
 * here is looked at with those helpers, so all that matters is that a "yes" is
 * right.
 */
#ifndef _UREMAP_BITS_H
#define _UREMAP_BITS_H

#include <linux/mm.h>
#include <linux/page-flags.h>

/* Does the entry point to a page table? */
static inline bool uremap_pmd_is_table(pmd_t pmd)
{
#ifdef CONFIG_X86
	/* A huge entry keeps PSE even while it is not present. */
	return (native_pmd_val(pmd) & (_PAGE_PRESENT | _PAGE_PSE)) ==
	       _PAGE_PRESENT;
#else
	return pmd_present(pmd) && !pmd_trans_huge(pmd) && !pmd_leaf(pmd);
#endif
}

/* Is the entry present, accessible, and of a page with a folio? */
static inline bool uremap_pte_plain(pte_t pte)
{
#ifdef CONFIG_X86
	return (native_pte_val(pte) & (_PAGE_PRESENT | _PAGE_SPECIAL)) ==
	       _PAGE_PRESENT;
#else
	return pte_present(pte) && !pte_special(pte) && !pte_protnone(pte);
#endif
}

/*
 * Can an entry of a folio be taken over as it is, but for soft-dirty?  A NUMA
 * hint cannot (before 6.2 it keeps the write bit), nor what userfaultfd protects.
 */
static inline bool uremap_pte_ready(pte_t pte)
{
#ifdef CONFIG_X86
	const pteval_t bits = _PAGE_PRESENT | _PAGE_RW | _PAGE_DIRTY;

	return (native_pte_val(pte) & bits) == bits;
#else
	return pte_write(pte) && pte_dirty(pte) && !pte_protnone(pte);
#endif
}

/* The page of a plain entry; pte_page() without the case of a NUMA hint. */
static inline struct page *uremap_plain_page(pte_t pte)
{
#ifdef CONFIG_X86
	return pfn_to_page((pte_val(pte) & PTE_PFN_MASK) >> PAGE_SHIFT);
#else
	return pte_page(pte);
#endif
}

/*
 * Does an entry map the page @offset bytes after that of a plain entry, of which
 * @first is the value, and no other way?  Bits that the CPU sets may differ.
 */
static inline bool uremap_pte_follows(pte_t pte, pteval_t first,
				      unsigned long offset)
{
#ifdef CONFIG_X86
	const pteval_t may_differ = _PAGE_ACCESSED | _PAGE_DIRTY |
				    _PAGE_SOFT_DIRTY;

	return !((pte_val(pte) ^ (first + offset)) & ~may_differ);
#else
	return uremap_pte_plain(pte) &&
	       pte_pfn(pte) == pte_pfn(__pte(first)) + (offset >> PAGE_SHIFT);
#endif
}

#ifdef CONFIG_MEMORY_FAILURE
#define UREMAP_PG_HWPOISON	BIT(PG_hwpoison)
#else
#define UREMAP_PG_HWPOISON	0UL
#endif

/* Is the folio small, sound and this address space's alone? */
static inline bool uremap_folio_plain(struct folio *folio, pte_t pte)
{
	unsigned long flags = uremap_folio_flags(folio);

#ifdef UREMAP_HAVE_ANON_EXCLUSIVE
	return (flags & (BIT(PG_head) | UREMAP_PG_HWPOISON |
			 BIT(PG_anon_exclusive))) == BIT(PG_anon_exclusive);
#else
	return !(flags & (BIT(PG_head) | UREMAP_PG_HWPOISON)) && pte_write(pte);
#endif
}

/* The same of one page of a folio that is not small. */
static inline bool uremap_subpage_plain(struct page *page, pte_t pte)
{
#ifdef UREMAP_HAVE_ANON_EXCLUSIVE
	return (uremap_page_flags(page) & (UREMAP_PG_HWPOISON |
					   BIT(PG_anon_exclusive))) ==
	       BIT(PG_anon_exclusive);
#else
	return pte_write(pte);
#endif
}

/* Is a small folio not pinned?  folio_maybe_dma_pinned() for such. */
static inline bool uremap_folio_unpinned(struct folio *folio)
{
	return (unsigned int)folio_ref_count(folio) < GUP_PIN_COUNTING_BIAS;
}

#endif /* _UREMAP_BITS_H */
