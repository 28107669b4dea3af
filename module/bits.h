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

/* The page table an entry points to; pmd_page_vaddr() without the huge case. */
static inline pte_t *uremap_table(pmd_t pmd)
{
#ifdef CONFIG_X86
	return __va(pmd_val(pmd) & PTE_PFN_MASK);
#else
	return (pte_t *)pmd_page_vaddr(pmd);
#endif
}

/* Is it the same entry still?  pmd_same(), for two that were read from memory. */
static inline bool uremap_pmd_same(pmd_t a, pmd_t b)
{
#ifdef CONFIG_X86
	return native_pmd_val(a) == native_pmd_val(b);
#else
	return pmd_same(a, b);
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

/* The value of an entry for looking at bits of it that are no page frame. */
static inline pteval_t uremap_pte_bits(pte_t pte)
{
#ifdef CONFIG_X86
	return native_pte_val(pte);
#else
	return pte_val(pte);
#endif
}

/*
 * Can an entry of a folio, or all of several, be taken over as it is, but for
 * soft-dirty?  A NUMA hint cannot (before 6.2 it keeps the write bit), nor what
 * userfaultfd protects or has protected: in 5.10 the mark outlives the registration
 * (in 6.1 not), and a write then makes the entry writable with it.
 */
static inline bool uremap_bits_ready(pteval_t all)
{
#ifdef CONFIG_X86
	const pteval_t bits = _PAGE_PRESENT | _PAGE_RW | _PAGE_DIRTY;

	return (all & (bits | _PAGE_UFFD_WP)) == bits;
#else
	return pte_write(__pte(all)) && pte_dirty(__pte(all)) &&
	       !pte_protnone(__pte(all)) && !pte_uffd_wp(__pte(all));
#endif
}

static inline bool uremap_pte_ready(pte_t pte)
{
	return uremap_bits_ready(uremap_pte_bits(pte));
}

/* Both at once; of all entries of ordinary memory the most ordinary. */
static inline bool uremap_pte_plain_ready(pte_t pte)
{
#ifdef CONFIG_X86
	const pteval_t bits = _PAGE_PRESENT | _PAGE_RW | _PAGE_DIRTY;

	return (native_pte_val(pte) &
		(bits | _PAGE_SPECIAL | _PAGE_UFFD_WP)) == bits;
#else
	return uremap_pte_plain(pte) && uremap_pte_ready(pte);
#endif
}

/* Can a huge entry be taken over as it is, but for soft-dirty? */
static inline bool uremap_pmd_ready(pmd_t pmd)
{
#ifdef CONFIG_X86
	const pmdval_t bits = _PAGE_PRESENT | _PAGE_PSE | _PAGE_RW |
			      _PAGE_DIRTY;

	return (native_pmd_val(pmd) & (bits | _PAGE_UFFD_WP)) == bits;
#else
	return pmd_present(pmd) && pmd_trans_huge(pmd) && pmd_write(pmd) &&
	       pmd_dirty(pmd) && !pmd_protnone(pmd) && !pmd_uffd_wp(pmd);
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
 * Are the bits of entries that map one page after the other a page frame apart?  Not
 * in a paravirtual guest of Xen, whose frames have other numbers there.
 */
static __always_inline bool uremap_pte_bits_in_order(void)
{
#ifdef CONFIG_XEN_PV
	return !static_cpu_has(X86_FEATURE_XENPV);
#else
	return true;
#endif
}

/*
 * Of entries that should map one page after the other, the same way: do they, if
 * these bits of some differ?  Bits that the CPU sets may.
 */
static inline bool uremap_pte_differs_not(pteval_t differ)
{
#ifdef CONFIG_X86
	return !(differ & ~(_PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY));
#else
	return !differ;
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

/*
 * Are all pages of a large folio this address space's alone, and none broken that the
 * folio does not know of?  From the flags that all of them have and that any has.
 */
static inline bool uremap_flags_plain(unsigned long all, unsigned long any,
				      pte_t pte)
{
#ifdef UREMAP_HAVE_ANON_EXCLUSIVE
	return all & BIT(PG_anon_exclusive);
#else
	return pte_write(pte) && !(any & UREMAP_PG_HWPOISON);
#endif
}

/* Is a small folio not pinned?  folio_maybe_dma_pinned() for such. */
static inline bool uremap_folio_unpinned(struct folio *folio)
{
	return (unsigned int)folio_ref_count(folio) < GUP_PIN_COUNTING_BIAS;
}

#endif /* _UREMAP_BITS_H */
