/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pairs of page tables, and the steps of a move between them for pages about which
 * there is nothing special.  All in line: these are the innermost loops, and for
 * small moves the rest of the cost as well.
 */
#ifndef _UREMAP_PTES_H
#define _UREMAP_PTES_H

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "sym.h"
#include "uremap.h"

/* Stands for the folio of an entry that is to be looked up in the entry. */
#define UREMAP_LARGE	((struct folio *)1)
/* The same, if all its entries can be installed as they are. */
#define UREMAP_LARGE_READY	((struct folio *)2)

/* No folio has this mapping. */
#define UREMAP_HELD_NONE	((void *)~0UL)

/* May a folio with this mapping move without asking any further?  @held may. */
static inline bool uremap_rmap_held(const void *held, const void *mapping)
{
#ifdef UREMAP_RMAP_ANON_VMA_HOLD
	return mapping == held;
#else
	return ((unsigned long)mapping & FOLIO_MAPPING_FLAGS) ==
	       FOLIO_MAPPING_ANON;
#endif
}

/* What may move without asking because the last did. */
static inline void *uremap_rmap_last_held(struct uremap_ctx *ctx)
{
#ifdef UREMAP_RMAP_ANON_VMA_HOLD
	/* Pairs with the release of uremap_rmap_hold(). */
	unsigned int nr = smp_load_acquire(&ctx->nr_holds);

	return nr ? (void *)ctx->holds[nr - 1].anon_vma + FOLIO_MAPPING_ANON :
		    UREMAP_HELD_NONE;
#else
	return UREMAP_HELD_NONE;
#endif
}

#ifdef UREMAP_RMAP_ANON_VMA_LOCK

/**
 * uremap_rmap_lock - keep unlocked rmap walkers off the folios of a VMA
 * @src_vma: the VMA folios are moved from
 *
 * A VMA without anon_vma maps no anonymous folio, at most the zero page; if it
 * gets one meanwhile its walkers are no less safe, only less exact.
 *
 * Context: mmap_lock or VMA lock held; may sleep.
 * Return: what is locked, for uremap_rmap_unlock(); NULL if nothing.
 */
static inline struct anon_vma *uremap_rmap_lock(struct vm_area_struct *src_vma)
{
	/* Pairs with its publication by __anon_vma_prepare() (C27). */
	struct anon_vma *anon_vma = smp_load_acquire(&src_vma->anon_vma);

	if (anon_vma) {
		anon_vma_lock_write(anon_vma);
		uremap_stat_add(UREMAP_STAT_RMAP_LOCKS, 1);
	}
	return anon_vma;
}

/**
 * uremap_rmap_unlock - undo uremap_rmap_lock()
 * @anon_vma: what that returned
 *
 * Context: as it was for locking.
 */
static inline void uremap_rmap_unlock(struct anon_vma *anon_vma)
{
	if (anon_vma)
		anon_vma_unlock_write(anon_vma);
}

#else

static inline struct anon_vma *uremap_rmap_lock(struct vm_area_struct *src_vma)
{
	return NULL;
}

static inline void uremap_rmap_unlock(struct anon_vma *anon_vma)
{
}

#endif /* UREMAP_RMAP_ANON_VMA_LOCK */

/**
 * uremap_pmd_lookup - the PMD entry of an address, if its table exists
 * @mm:   the address space
 * @addr: the address
 *
 * Context: inside a VMA found under the mmap lock, or locked.
 * Return: the entry, whatever is in it, or NULL if a table above it is missing.
 */
static __always_inline pmd_t *uremap_pmd_lookup(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (unlikely(pgd_none(*pgd)))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (unlikely(p4d_none(*p4d)))
		return NULL;
	pud = pud_offset(p4d, addr);
	/* Anonymous memory knows no larger leaf than a PMD. */
	if (unlikely(pud_none(*pud) || pud_leaf(*pud)))
		return NULL;
	return pmd_offset(pud, addr);
}

/* uremap_pmd_lookup() where the entry of another address is known. */
static inline pmd_t *uremap_pmd_beside(struct mm_struct *mm, unsigned long addr,
				       pmd_t *other_pmd, unsigned long other)
{
	/* Neighbours share the table of their PMD entries. */
	if (likely(!((addr ^ other) & PUD_MASK)))
		return other_pmd - pmd_index(other) + pmd_index(addr);
	return uremap_pmd_lookup(mm, addr);
}

void uremap_ptl_lock_again(spinlock_t *a, spinlock_t *b);

/**
 * uremap_ptl_lock - take the page-table locks of both sides
 * @a: one lock
 * @b: the other, or the same
 *
 * None is waited for with the other held.  The order between movers would not do:
 * mremap() takes those of its two mappings in an order of its own, relying on the
 * mmap lock, and other mappings, held by VMA locks, may be in the same tables (C33).
 *
 * Context: nothing of mm inside mmap_lock, mmu notifier and anon_vma held.
 */
static inline void uremap_ptl_lock(spinlock_t *a, spinlock_t *b)
{
	/* Movers begin with the same one, and do not meet at the second. */
	if (a > b)
		swap(a, b);
	spin_lock(a);
	if (a != b && unlikely(!spin_trylock(b)))
		uremap_ptl_lock_again(a, b);
}

/**
 * uremap_ptl_unlock - undo uremap_ptl_lock()
 * @a: one lock
 * @b: the other, or the same
 *
 * Context: both held.
 */
static inline void uremap_ptl_unlock(spinlock_t *a, spinlock_t *b)
{
	spin_unlock(a);
	if (a != b)
		spin_unlock(b);
}

/**
 * uremap_pte_map - find a PTE and the lock of its table
 * @mm:      the address space
 * @pmd:     PMD entry
 * @addr:    address
 * @pmdvalp: out: what the PMD entry was, to be compared under the lock
 * @ptlp:    out: the lock
 *
 * What pte_offset_map_rw_nolock() of the kernel does from 6.14, for tables that
 * are always mapped.
 *
 * Context: RCU held, inside a VMA found under the mmap lock, or locked.
 * Return: the entry, or NULL if there is no page table.
 */
static __always_inline pte_t *
uremap_pte_map(struct mm_struct *mm, pmd_t *pmd, unsigned long addr,
	       pmd_t *pmdvalp, spinlock_t **ptlp)
{
	pmd_t pmdval = pmdp_get_lockless(pmd);

	*pmdvalp = pmdval;
	if (unlikely(!uremap_pmd_is_table(pmdval)))
		return NULL;
	*ptlp = pte_lockptr(mm, &pmdval);
	return uremap_table(pmdval) + pte_index(addr);
}

/**
 * struct uremap_ptes - entries of two page tables, and their locks
 * @dst:     entry of the destination
 * @src:     entry of the source
 * @dst_ptl: lock of its table
 * @src_ptl: likewise; may be the same
 */
struct uremap_ptes {
	pte_t *dst;
	pte_t *src;
	spinlock_t *dst_ptl;
	spinlock_t *src_ptl;
};

/**
 * uremap_ptes_lock - find entries and lock their tables
 * @mm:      the address space
 * @dst_pmd: PMD entry of the destination
 * @dst:     its address
 * @src_pmd: PMD entry of the source
 * @src:     its address
 * @p:       out
 *
 * What was seen may have changed until the locks are had, so the PMD entries are
 * compared then: a table that was freed meanwhile (PT_RECLAIM, 6.14) or replaced is
 * not the one to work on (C16).  RCU keeps it from being reused until then.
 *
 * Context: RCU, and mmap_lock or VMA locks held.
 * Return: false with nothing locked if either is not, or no more, a table.
 */
static __always_inline bool
uremap_ptes_lock(struct mm_struct *mm, pmd_t *dst_pmd, unsigned long dst,
		 pmd_t *src_pmd, unsigned long src, struct uremap_ptes *p)
{
	pmd_t dst_pmdval, src_pmdval;

	p->dst = uremap_pte_map(mm, dst_pmd, dst, &dst_pmdval, &p->dst_ptl);
	if (unlikely(!p->dst))
		return false;
	p->src = uremap_pte_map(mm, src_pmd, src, &src_pmdval, &p->src_ptl);
	if (unlikely(!p->src))
		return false;
	uremap_ptl_lock(p->dst_ptl, p->src_ptl);
	if (likely(uremap_pmd_same(dst_pmdval, pmdp_get_lockless(dst_pmd)) &&
		   uremap_pmd_same(src_pmdval, pmdp_get_lockless(src_pmd))))
		return true;
	uremap_ptl_unlock(p->dst_ptl, p->src_ptl);
	return false;
}

/**
 * uremap_plain_take - lock folios and clear their entries
 * @mm:     the address space
 * @held:   mapping of folios that may move without asking (rmap.c)
 * @addr:   address of the first source entry
 * @src:    the first source entry
 * @dst:    the first destination entry
 * @saved:  out: what the source entries were
 * @folios: out: their folios
 * @i:      the entry to begin with
 * @nr:     the entry to end before
 * @ready:  take only entries that can be installed as they are
 *
 * Goes on as long as there are small folios of our own, mapped by present entries,
 * and nothing at the destination.
 *
 * Context: page-table locks held.
 * Return: the first entry that is anything else, with nothing done to it.
 */
static __always_inline unsigned int
uremap_plain_take(struct mm_struct *mm, void *held, unsigned long addr,
		  pte_t *src, pte_t *dst, pte_t *saved, struct folio **folios,
		  unsigned int i, unsigned int nr, bool ready)
{
	for (; i < nr; i++) {
		pte_t pte = ptep_get(src + i);
		struct folio *folio;

		if (unlikely(!pte_none(ptep_get(dst + i)) ||
			     !(ready ? uremap_pte_plain_ready(pte) :
				       uremap_pte_plain(pte))))
			break;
		folio = page_folio(uremap_plain_page(pte));
		if (unlikely(!uremap_folio_plain(folio, pte) ||
			     !folio_trylock(folio)))
			break;
		if (unlikely(!uremap_rmap_held(held,
					       uremap_folio_mapping(folio)) ||
			     (!ready && !uremap_folio_unpinned(folio)))) {
			folio_unlock(folio);
			break;
		}
		saved[i] = ptep_get_and_clear(mm, addr + i * PAGE_SIZE,
					      src + i);
		folios[i] = folio;
	}
	return i;
}

/**
 * uremap_plain_install - give what was taken its new place
 * @mm:     the address space
 * @anon_vma: of the destination's mapping
 * @index:  linear page index of the first destination entry
 * @addr:   its address
 * @dst:    the first destination entry
 * @saved:  what the source entries were
 * @folios: their folios, not %UREMAP_LARGE for small ones
 * @i:      the entry to begin with
 * @nr:     the entry to end before
 * @ready:  taken as such
 * @alone:  nobody else can have filled the destination since
 *
 * Goes on as long as it finds small folios that are not pinned, entries that can be
 * taken over as they are, and nothing at the destination.
 *
 * Context: page-table locks and the locks of the folios held, source flushed,
 *	barrier passed; drops the locks of the folios it has installed.
 * Return: the first entry with anything else, with nothing done to it.
 */
static __always_inline unsigned int
uremap_plain_install(struct mm_struct *mm, struct anon_vma *anon_vma,
		     pgoff_t index, unsigned long addr, pte_t *dst,
		     const pte_t *saved, struct folio **folios, unsigned int i,
		     unsigned int nr, bool ready, bool alone)
{
	for (; i < nr; i++) {
		struct folio *folio = folios[i];
		pte_t pte = saved[i];

		if (!ready &&
		    unlikely(folio <= UREMAP_LARGE_READY ||
			     !uremap_pte_ready(pte)))
			break;
		if (!alone && unlikely(!pte_none(ptep_get(dst + i))))
			break;
		if (unlikely(!uremap_folio_unpinned(folio)))
			break;
		uremap_folio_set_anon_rmap(folio, anon_vma, index + i);
		if (pgtable_supports_soft_dirty())
			pte = pte_mksoft_dirty(pte);
		set_pte_at(mm, addr + i * PAGE_SIZE, dst + i, pte);
		folio_unlock(folio);
	}
	return i;
}

/**
 * uremap_plain_put_back - undo uremap_plain_take()
 * @mm:     the address space
 * @addr:   address of the first source entry
 * @src:    the first source entry
 * @saved:  what the source entries were
 * @folios: their folios
 * @i:      the entry to begin with
 * @nr:     the entry to end before
 *
 * Nothing of it has been changed but the source entry, and nobody could look.
 *
 * Context: page-table locks and the locks of the folios held; drops these.
 */
static inline void
uremap_plain_put_back(struct mm_struct *mm, unsigned long addr, pte_t *src,
		      const pte_t *saved, struct folio **folios,
		      unsigned int i, unsigned int nr)
{
	for (; i < nr; i++) {
		set_pte_at(mm, addr + i * PAGE_SIZE, src + i, saved[i]);
		folio_unlock(folios[i]);
	}
}

/**
 * uremap_batch_flush - let no CPU and no device reach what was taken
 * @mm:    the address space
 * @start: first address
 * @end:   first address past the source
 * @shift: of the size of what its entries map
 *
 * And the barrier between clearing entries and reading pin counts: C1.
 *
 * Context: page-table locks held.
 */
static __always_inline void uremap_batch_flush(struct mm_struct *mm,
					       unsigned long start,
					       unsigned long end,
					       unsigned int shift)
{
	flush_tlb_mm_range(mm, start, end, shift, false);
	uremap_flush_devices(mm, start, end);
	uremap_stat_add(UREMAP_STAT_FLUSHES, 1);
	/* Pairs with the one between a reference and the second look (GUP-fast). */
	smp_mb();
}

#endif /* _UREMAP_PTES_H */
