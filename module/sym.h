/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel internals uremap uses, each listed once.
 *
 * UREMAP_SYM(ret, name, (prototype), (arguments)) makes three things of an
 * entry: a static call with the type of the kernel's own declaration, bound at
 * module init to the address the kernel's symbol table gives; a function of the
 * same name in this module (a shim) that tail-calls it, so that the inlines of
 * the kernel's headers link and the movers read like mainline; and a row of the
 * table that sym.c resolves.  The compiler checks each shim against the
 * declaration in the header.
 *
 * A static call is a direct call: kernels with IBT have overwritten the ENDBR
 * of most mm functions, so that an indirect call would fault on CET hardware.
 */
#ifndef _UREMAP_SYM_H
#define _UREMAP_SYM_H

#include "protos.h"

/* Without a configured fifth level the inline needs no function (5.10). */
#if CONFIG_PGTABLE_LEVELS > 4
#define UREMAP_SYMS_P4D(UREMAP_SYM)					\
	UREMAP_SYM(int, __p4d_alloc,					\
		   (struct mm_struct *mm, pgd_t *pgd, unsigned long addr), \
		   (mm, pgd, addr))
#else
#define UREMAP_SYMS_P4D(UREMAP_SYM)
#endif

#ifdef UREMAP_NOTIFIER_END_ONLY_END
#define UREMAP_SYMS_NOTIFIER_END(UREMAP_SYM)				\
	UREMAP_SYM(void, __mmu_notifier_invalidate_range_end,		\
		   (struct mmu_notifier_range *range, bool only_end),	\
		   (range, only_end))
#else
#define UREMAP_SYMS_NOTIFIER_END(UREMAP_SYM)				\
	UREMAP_SYM(void, __mmu_notifier_invalidate_range_end,		\
		   (struct mmu_notifier_range *range), (range))
#endif

#ifdef UREMAP_NOTIFIER_RANGE
#define UREMAP_SYMS_NOTIFIER_RANGE(UREMAP_SYM)				\
	UREMAP_SYM(void, __mmu_notifier_invalidate_range,		\
		   (struct mm_struct *mm, unsigned long start,		\
		    unsigned long end), (mm, start, end))
#else
#define UREMAP_SYMS_NOTIFIER_RANGE(UREMAP_SYM)
#endif

#ifdef UREMAP_RMAP_ANON_VMA_HOLD
#define UREMAP_SYMS_RMAP(UREMAP_SYM)					\
	UREMAP_SYM(void, __put_anon_vma, (struct anon_vma *anon_vma),	\
		   (anon_vma))
#else
#define UREMAP_SYMS_RMAP(UREMAP_SYM)
#endif

#ifdef UREMAP_HAVE_ANON_EXCLUSIVE
#define UREMAP_SYMS_REUSE(UREMAP_SYM)
#ifdef UREMAP_SWAP_TABLE
#define UREMAP_SYMS_SWAP(UREMAP_SYM)					\
	UREMAP_SYM(bool, swap_cache_has_folio, (swp_entry_t entry), (entry))
#else
#define UREMAP_SYMS_SWAP(UREMAP_SYM)					\
	UREMAP_SYM(struct swap_info_struct *, swp_swap_info,		\
		   (swp_entry_t entry), (entry))
#endif
#else
#define UREMAP_SYMS_REUSE(UREMAP_SYM)					\
	UREMAP_SYM(bool, reuse_swap_page,				\
		   (struct page *page, int *total_map_swapcount),	\
		   (page, total_map_swapcount))
#define UREMAP_SYMS_SWAP(UREMAP_SYM)
#endif

#if defined(UREMAP_SPLIT_PMD_NO_FOLIO)
#define UREMAP_SYMS_SPLIT_PMD(UREMAP_SYM)				\
	UREMAP_SYM(void, __split_huge_pmd,				\
		   (struct vm_area_struct *vma, pmd_t *pmd,		\
		    unsigned long addr, bool freeze),			\
		   (vma, pmd, addr, freeze))
#elif defined(UREMAP_SPLIT_PMD_PAGE)
#define UREMAP_SYMS_SPLIT_PMD(UREMAP_SYM)				\
	UREMAP_SYM(void, __split_huge_pmd,				\
		   (struct vm_area_struct *vma, pmd_t *pmd,		\
		    unsigned long addr, bool freeze, struct page *page), \
		   (vma, pmd, addr, freeze, page))
#else
#define UREMAP_SYMS_SPLIT_PMD(UREMAP_SYM)				\
	UREMAP_SYM(void, __split_huge_pmd,				\
		   (struct vm_area_struct *vma, pmd_t *pmd,		\
		    unsigned long addr, bool freeze, struct folio *folio), \
		   (vma, pmd, addr, freeze, folio))
#endif

#ifdef UREMAP_SPLIT_FOLIO_TO_LIST
#define UREMAP_SYMS_SPLIT(UREMAP_SYM)					\
	UREMAP_SYM(int, split_folio_to_list,				\
		   (struct folio *folio, struct list_head *list),	\
		   (folio, list))
#elif defined(UREMAP_SPLIT_PAGE_TO_ORDER)
#define UREMAP_SYMS_SPLIT(UREMAP_SYM)					\
	UREMAP_SYM(int, split_huge_page_to_list_to_order,		\
		   (struct page *page, struct list_head *list,		\
		    unsigned int new_order),				\
		   (page, list, new_order))
#else
#define UREMAP_SYMS_SPLIT(UREMAP_SYM)					\
	UREMAP_SYM(int, split_huge_page_to_list,			\
		   (struct page *page, struct list_head *list),		\
		   (page, list))
#endif

/* Proof that a missing name is reported and the module does not load. */
#ifdef UREMAP_BAD_SYMBOL
int uremap_no_such_symbol(void);
int uremap_no_such_symbol_either(void);
#define UREMAP_SYMS_BAD(UREMAP_SYM)					\
	UREMAP_SYM(int, uremap_no_such_symbol, (void), ())		\
	UREMAP_SYM(int, uremap_no_such_symbol_either, (void), ())
#else
#define UREMAP_SYMS_BAD(UREMAP_SYM)
#endif

#define UREMAP_SYMS(UREMAP_SYM)						\
	UREMAP_SYM(int, __anon_vma_prepare,				\
		   (struct vm_area_struct *vma), (vma))			\
	UREMAP_SYM(int, __mmu_notifier_invalidate_range_start,		\
		   (struct mmu_notifier_range *range), (range))		\
	UREMAP_SYMS_NOTIFIER_END(UREMAP_SYM)				\
	UREMAP_SYMS_NOTIFIER_RANGE(UREMAP_SYM)				\
	UREMAP_SYMS_P4D(UREMAP_SYM)					\
	UREMAP_SYM(int, __pmd_alloc,					\
		   (struct mm_struct *mm, pud_t *pud, unsigned long addr), \
		   (mm, pud, addr))					\
	UREMAP_SYM(int, __pte_alloc,					\
		   (struct mm_struct *mm, pmd_t *pmd), (mm, pmd))	\
	UREMAP_SYM(int, __pud_alloc,					\
		   (struct mm_struct *mm, p4d_t *p4d, unsigned long addr), \
		   (mm, p4d, addr))					\
	UREMAP_SYM(void, flush_tlb_mm_range,				\
		   (struct mm_struct *mm, unsigned long start,		\
		    unsigned long end, unsigned int stride_shift,	\
		    bool freed_tables),					\
		   (mm, start, end, stride_shift, freed_tables))	\
	UREMAP_SYM(void, lru_add_drain, (void), ())			\
	UREMAP_SYM(void, pgtable_trans_huge_deposit,			\
		   (struct mm_struct *mm, pmd_t *pmd, pgtable_t table),	\
		   (mm, pmd, table))					\
	UREMAP_SYM(pgtable_t, pgtable_trans_huge_withdraw,		\
		   (struct mm_struct *mm, pmd_t *pmd), (mm, pmd))	\
	UREMAP_SYMS_REUSE(UREMAP_SYM)					\
	UREMAP_SYMS_SPLIT(UREMAP_SYM)					\
	UREMAP_SYMS_SPLIT_PMD(UREMAP_SYM)				\
	UREMAP_SYMS_SWAP(UREMAP_SYM)					\
	UREMAP_SYMS_RMAP(UREMAP_SYM)					\
	UREMAP_SYMS_BAD(UREMAP_SYM)

#define UREMAP_SYM_DECLARE(ret, name, proto, args)			\
	DECLARE_STATIC_CALL(uremap_sym_##name, name);
UREMAP_SYMS(UREMAP_SYM_DECLARE)

/*
 * Data of the kernel: UREMAP_DATA(type, name) is read through uremap_name, a
 * pointer; a shim cannot stand for it.
 */
#define UREMAP_DATA(DATA)						\
	DATA(unsigned long, huge_zero_pfn)				\
	DATA(const struct file_operations, userfaultfd_fops)

#define UREMAP_DATA_DECLARE(type, data) extern type *uremap_##data;
UREMAP_DATA(UREMAP_DATA_DECLARE)

int uremap_sym_init(void);

#endif /* _UREMAP_SYM_H */
