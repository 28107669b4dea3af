/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Version differences, in one place.
 *
 * Force-included before every source file.  Whatever differs between kernels
 * is given here the name and the signature it has in the newest one, so that
 * the rest of the module reads as if there were only that.  Newest first; each
 * block names the change of the kernel it answers.  Facts that distributions
 * backport are not found by version but by the compile probes in probe/, which
 * define UREMAP_HAVE_*.
 */
#ifndef _UREMAP_COMPAT_H
#define _UREMAP_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 10, 0)
#error "uremap needs Linux 5.10 or later"
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
#error "uremap has not been checked against kernels after 7.2"
#endif

#include <linux/kconfig.h>

#ifndef CONFIG_KPROBES
#error "uremap needs CONFIG_KPROBES"
#endif
#ifndef CONFIG_KALLSYMS
#error "uremap needs CONFIG_KALLSYMS"
#endif
#ifndef CONFIG_USERFAULTFD
#error "uremap needs CONFIG_USERFAULTFD"
#endif
#ifndef CONFIG_HAVE_STATIC_CALL_INLINE
#error "uremap needs inline static calls (x86-64)"
#endif
#ifdef CONFIG_PREEMPT_RT
#error "uremap relies on page-table locks that disable preemption"
#endif

/* Before any header defines its own. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include "compat_folio.h"
#include "bits.h"

/*
 * 6.19 "mm: use the softleaf_t type": entries of page tables that are not
 * present are softleafs; before, swap entries with special types.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#include <linux/leafops.h>
#else
typedef swp_entry_t softleaf_t;
#define softleaf_from_pte(pte)		pte_to_swp_entry(pte)
#define softleaf_from_pmd(pmd)		pmd_to_swp_entry(pmd)
#define softleaf_is_swap(entry)		(!non_swap_entry(entry))
#define softleaf_is_migration(entry)	is_migration_entry(entry)
#define softleaf_is_hwpoison(entry)	is_hwpoison_entry(entry)
#define softleaf_is_device_private(entry) is_device_private_entry(entry)

/* 5.14 "mm: device exclusive memory access" */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#define softleaf_is_device_exclusive(entry) is_device_exclusive_entry(entry)
#else
static inline bool softleaf_is_device_exclusive(softleaf_t entry)
{
	return false;
}
#endif

/* 5.19 "mm: introduce PTE_MARKER swap entry" */
#ifdef PTE_MARKER_UFFD_WP
#define softleaf_is_marker(entry)	is_pte_marker_entry(entry)
#define softleaf_to_marker(entry)	pte_marker_get(entry)
#else
static inline bool softleaf_is_marker(softleaf_t entry)
{
	return false;
}

static inline unsigned long softleaf_to_marker(softleaf_t entry)
{
	return 0;
}
#endif

static inline bool pmd_is_migration_entry(pmd_t pmd)
{
	return is_pmd_migration_entry(pmd);
}
#endif

/* Marker kinds that came later (6.6, 6.13); no entry carries them before. */
#ifndef PTE_MARKER_UFFD_WP
#define PTE_MARKER_UFFD_WP	0
#endif
#ifndef PTE_MARKER_POISONED
#ifdef PTE_MARKER_SWAPIN_ERROR
#define PTE_MARKER_POISONED	PTE_MARKER_SWAPIN_ERROR
#else
#define PTE_MARKER_POISONED	0
#endif
#endif
#ifndef PTE_MARKER_GUARD
#define PTE_MARKER_GUARD	0
#endif

/* 6.18 "mm: introduce pgtable_supports_soft_dirty()" */
#ifndef pgtable_supports_soft_dirty
#define pgtable_supports_soft_dirty()	IS_ENABLED(CONFIG_MEM_SOFT_DIRTY)
#endif

/* 6.6 and 6.11, VMA kinds that older kernels cannot have. */
#ifndef VM_SHADOW_STACK
#define VM_SHADOW_STACK		VM_NONE
#endif
#ifndef VM_DROPPABLE
#define VM_DROPPABLE		VM_NONE
#endif

/* 6.2 "mm: rename pmd_read_atomic()", which might read more than once */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define pmdp_get_lockless(pmdp)		READ_ONCE(*(pmdp))
#endif

/* 6.3 "mm/mmu_notifier: remove unused mmu_notifier_range_update_to_read_only" */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void uremap_notifier_range_init(struct mmu_notifier_range *range,
					      enum mmu_notifier_event event,
					      unsigned int flags,
					      struct mm_struct *mm,
					      unsigned long start,
					      unsigned long end)
{
	mmu_notifier_range_init(range, event, flags, NULL, mm, start, end);
}
#undef mmu_notifier_range_init
#define mmu_notifier_range_init		uremap_notifier_range_init
#endif

/*
 * 6.6 "mmu_notifiers: call invalidate_range() when invalidating TLBs": a flush
 * reaches devices that share the page tables (SVA), too.  Before, they are told
 * by themselves.  The end of a notifier pair does that, but the page-table locks
 * are gone by then, and the page may be as well (C15).
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define UREMAP_NOTIFIER_END_ONLY_END
#define UREMAP_NOTIFIER_RANGE
#define uremap_flush_devices(mm, start, end)				\
	mmu_notifier_invalidate_range(mm, start, end)
#else
static inline void uremap_flush_devices(struct mm_struct *mm,
					unsigned long start, unsigned long end)
{
}
#endif

/* 5.14 "mm: introduce vma_lookup()" */
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
static inline struct vm_area_struct *vma_lookup(struct mm_struct *mm,
						unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}
#endif

/*
 * 6.4 "mm: add per-VMA lock and helper functions to control it".  A count of the
 * changes under the mmap lock is there with them; it is a seqcount from 6.13, and
 * in what 6.12 got of it, and the probe asks for that.  6.15 "mm: replace vm_lock
 * and detached flag with a reference count" took vma_start_read() away; what it
 * offers instead needs the mmap lock, which we have.
 */
#ifdef UREMAP_HAVE_VMA_LOCKS
#define UREMAP_VMA_LOCKS

static inline unsigned int uremap_mm_seq(const struct mm_struct *mm)
{
	return READ_ONCE(mm->mm_lock_seq.sequence);
}

static inline bool uremap_vma_lock(struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	return vma_start_read_locked(vma);
#else
	return vma_start_read(vma);
#endif
}
#endif

/*
 * 6.19 "mm/rmap: always lock the folio": every rmap walk holds the folio lock,
 * so the folio lock alone keeps walkers away.  From 6.8 ("mm/rmap: support move
 * to different root anon_vma in folio_move_anon_rmap()") the walkers that do
 * not hold it re-check folio->mapping under the anon_vma lock.  Before that
 * they do not, and the old anon_vma has to outlive them (rule C13).
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0)
#define UREMAP_RMAP_ANON_VMA_LOCK
#endif
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define UREMAP_RMAP_ANON_VMA_HOLD
#endif

/*
 * 6.6 "mm: Rename arch pte_mkwrite()'s to pte_mkwrite_novma()": the plain name
 * takes the VMA, for shadow stacks, which are never moved.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define pte_mkwrite_novma(pte)		pte_mkwrite(pte)
#define pmd_mkwrite_novma(pmd)		pmd_mkwrite(pmd)
#endif

/* 6.16 took the folio out of the arguments of __split_huge_pmd(). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define UREMAP_SPLIT_PMD_NO_FOLIO
#elif LINUX_VERSION_CODE < KERNEL_VERSION(5, 19, 0)
#define UREMAP_SPLIT_PMD_PAGE
#endif

/* 6.12 "mm: split a folio in minimum folio order chunks" */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define UREMAP_SPLIT_FOLIO_TO_LIST
/* 6.9 "mm: thp: split huge page to any lower order pages" */
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define UREMAP_SPLIT_PAGE_TO_ORDER
#endif

static inline void uremap_split_huge_pmd(struct vm_area_struct *vma, pmd_t *pmd,
					 unsigned long addr)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	__split_huge_pmd(vma, pmd, addr, false);
#else
	__split_huge_pmd(vma, pmd, addr, false, NULL);
#endif
}

/*
 * is_huge_zero_pmd() reads data of the kernel that is not exported, which no
 * shim can stand for; sym.c finds it.
 */
extern unsigned long *uremap_huge_zero_pfn;

static inline bool uremap_is_huge_zero_pmd(pmd_t pmd)
{
	return pmd_present(pmd) &&
	       READ_ONCE(*uremap_huge_zero_pfn) == pmd_pfn(pmd);
}

/* 6.17 "mm/huge_memory: mark PMD mappings of the huge zero folio special" */
static inline pmd_t uremap_pmd_mkhugezero(pmd_t pmd)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	return pmd_mkspecial(pmd);
#else
	return pmd;
#endif
}

/*
 * Swap entries as they are (C8).  6.18 "mm, swap: use the swap table for the
 * swap cache": a lookup tells whether the cache has a page.  Before, a slot is
 * marked in the swap map first and the page added then, so the map is asked.
 * Without an exclusive bit in the entry (before 5.19) nothing can be told.
 */
#ifndef UREMAP_HAVE_ANON_EXCLUSIVE
#define UREMAP_SWAP_ENTRIES	false

static inline bool uremap_swap_movable(pte_t pte, softleaf_t entry)
{
	return false;
}
#else
#define UREMAP_SWAP_ENTRIES	true
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define UREMAP_SWAP_TABLE
bool swap_cache_has_folio(swp_entry_t entry);

static inline bool uremap_swap_cached(swp_entry_t entry)
{
	return swap_cache_has_folio(entry);
}
#else
static inline bool uremap_swap_cached(swp_entry_t entry)
{
	struct swap_info_struct *si = swp_swap_info(entry);

	return READ_ONCE(si->swap_map[swp_offset(entry)]) & SWAP_HAS_CACHE;
}
#endif

static inline bool uremap_swap_movable(pte_t pte, softleaf_t entry)
{
	return pte_swp_exclusive(pte) && !uremap_swap_cached(entry);
}
#endif

/*
 * 6.7 "userfaultfd: UFFD_FEATURE_WP_ASYNC": protection that only records which
 * pages are written; visible from 6.9.
 */
static inline bool uremap_wp_async(const struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	const struct userfaultfd_ctx *uffd = vma->vm_userfaultfd_ctx.ctx;

	return uffd && (uffd->features & UFFD_FEATURE_WP_ASYNC);
#else
	return false;
#endif
}

/*
 * 6.9 "userfaultfd: move userfaultfd_ctx struct to header file".  Before it,
 * this much is known: one of its words is the address of the mm it is for, and
 * no other can have that value; they are counters, flags, and links of lists.
 */
static inline bool uremap_uffd_is_of(const struct userfaultfd_ctx *uffd,
				     const struct mm_struct *mm)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	return uffd->mm == mm;
#else
	const struct mm_struct *const *word = (const void *)uffd;
	size_t n = ksize(uffd) / sizeof(*word);

	while (n--)
		if (READ_ONCE(*word++) == mm)
			return true;
	return false;
#endif
}

/*
 * The same one.  It has features once it has been through UFFDIO_API, if only
 * the bit that says so.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define UREMAP_UFFD_VISIBLE

static inline bool uremap_uffd_ready(const struct userfaultfd_ctx *uffd)
{
	return READ_ONCE(uffd->features);
}

static inline bool uremap_uffd_changing(struct userfaultfd_ctx *uffd)
{
	return atomic_read(&uffd->mmap_changing);
}
#endif

/* 6.9 "userfaultfd: protect mmap_changing with rw_sem in userfaulfd_ctx" */
static inline void uremap_uffd_lock(struct userfaultfd_ctx *uffd)
{
#ifdef UREMAP_UFFD_VISIBLE
	down_read(&uffd->map_changing_lock);
#endif
}

static inline void uremap_uffd_unlock(struct userfaultfd_ctx *uffd)
{
#ifdef UREMAP_UFFD_VISIBLE
	up_read(&uffd->map_changing_lock);
#endif
}

/* 6.19 moved anon_vma_prepare() to mm/internal.h */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
int __anon_vma_prepare(struct vm_area_struct *vma);

static inline int anon_vma_prepare(struct vm_area_struct *vma)
{
	return likely(vma->anon_vma) ? 0 : __anon_vma_prepare(vma);
}
#endif

#endif /* _UREMAP_COMPAT_H */
