// SPDX-License-Identifier: GPL-2.0-only
/*
 * Walking and growing page tables.
 *
 * Tables above the PTE level are taken away only from where no mapping is left.
 * That is excluded where a VMA has been found under the mmap lock that is still
 * held, or is locked itself; not by the mmap lock alone, which munmap() holds
 * only for reading when it frees tables.  PTE tables may go at any time
 * (PT_RECLAIM, 6.14), so they are looked at under RCU or under their lock.
 */
#include <linux/mm.h>

#include "batch.h"

/**
 * uremap_pmd_find - the PMD entry of an address
 * @mm:   the address space
 * @addr: the address
 * @end:  how far the caller is interested
 * @next: out, if there is none: first address, at most @end, that may have one
 *
 * Context: inside a VMA found under the mmap lock, or locked.
 * Return: the entry, whatever is in it, or NULL if a table above it is missing.
 */
pmd_t *uremap_pmd_find(struct mm_struct *mm, unsigned long addr,
		       unsigned long end, unsigned long *next)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	/* Each inside the one before: a folded level says just what it is told. */
	*next = pgd_addr_end(addr, end);
	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	*next = p4d_addr_end(addr, *next);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	*next = pud_addr_end(addr, *next);
	/* Anonymous memory knows no larger leaf than a PMD. */
	if (pud_none(*pud) || unlikely(pud_leaf(*pud)))
		return NULL;
	return pmd_offset(pud, addr);
}

/**
 * uremap_pmd_alloc - the PMD entry of an address, with its tables if missing
 * @mm:   the address space
 * @addr: the address
 *
 * Context: inside a VMA found under the mmap lock, or locked; may sleep.
 * Return: the entry, whatever is in it, or NULL without memory.
 */
pmd_t *uremap_pmd_alloc(struct mm_struct *mm, unsigned long addr)
{
	p4d_t *p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	pud_t *pud;

	if (!p4d)
		return NULL;
	pud = pud_alloc(mm, p4d, addr);
	if (!pud)
		return NULL;
	return pmd_alloc(mm, pud, addr);
}

/*
 * Is there really nothing in a PMD entry that looks empty?  Who has a huge page in
 * hand may leave it so for a moment, and puts it back before it drops the lock (C35).
 */
static bool uremap_pmd_empty(struct mm_struct *mm, pmd_t *pmd)
{
	spinlock_t *ptl = pmd_lock(mm, pmd);
	bool empty = pmd_none(pmdp_get_lockless(pmd));

	spin_unlock(ptl);
	return empty;
}

/* A PTE, its table locked; NULL without one.  As pte_offset_map_lock(), RCU held. */
static pte_t *uremap_pte_lock(struct mm_struct *mm, pmd_t *pmd,
			      unsigned long addr, spinlock_t **ptlp)
{
	pmd_t pmdval;
	pte_t *pte;

	for (;;) {
		pte = uremap_pte_map(mm, pmd, addr, &pmdval, ptlp);
		if (!pte)
			return NULL;
		spin_lock(*ptlp);
		if (likely(uremap_pmd_same(pmdval, pmdp_get_lockless(pmd))))
			return pte;
		spin_unlock(*ptlp);
	}
}

static bool uremap_pte_passable(pte_t pte, bool markers)
{
	return pte_none(pte) || (markers && !uremap_dst_reason(pte));
}

/*
 * The first entry of a PTE table in [start, end) that is not passable.  Under the
 * lock: faults, reclaim, migration and other moves empty entries that they fill again
 * (C35).  If the table is not there any more it is @start, for another look.
 */
static unsigned long uremap_pte_first(struct mm_struct *mm, pmd_t *pmd,
				      unsigned long start, unsigned long end,
				      bool markers)
{
	spinlock_t *ptl;
	pte_t *pte;

	rcu_read_lock();
	pte = uremap_pte_lock(mm, pmd, start, &ptl);
	if (pte) {
		while (start < end && uremap_pte_passable(ptep_get(pte), markers)) {
			start += PAGE_SIZE;
			pte++;
		}
		spin_unlock(ptl);
	}
	rcu_read_unlock();
	return start;
}

/*
 * Skips what is empty at the largest level, and, if @markers, those that are no
 * obstacle to a page that comes.
 */
static unsigned long uremap_first(struct mm_struct *mm, unsigned long start,
				  unsigned long end, bool markers)
{
	unsigned long next;

	for (; start < end; start = next) {
		pmd_t *pmd = uremap_pmd_find(mm, start, end, &next);
		pmd_t pmdval;

		cond_resched();
		if (!pmd)
			continue;
		/* The rest of this PMD table, without starting at the top. */
		for (; start < next; start = pmd_addr_end(start, next), pmd++) {
			unsigned long stop = pmd_addr_end(start, next);
			unsigned long found;

			pmdval = pmdp_get_lockless(pmd);
			if (pmd_none(pmdval) && uremap_pmd_empty(mm, pmd))
				continue;
			if (!uremap_pmd_is_table(pmdval))
				return start;
			found = uremap_pte_first(mm, pmd, start, stop, markers);
			if (found < stop)
				return found;
		}
	}
	return end;
}

/**
 * uremap_first_populated - skip what is empty, at the largest level
 * @mm:    the address space
 * @start: first address
 * @end:   first address past the range
 *
 * Whatever is not none counts, markers of userfaultfd and guard pages too.
 * The answer may be outdated at once: that there is something is good for finding
 * out where to look under the locks, that there is nothing was so at some time.
 *
 * Context: inside a VMA found under the mmap lock, or locked; may sleep.
 * Return: the first address in the range that has an entry, or @end.
 */
unsigned long uremap_first_populated(struct mm_struct *mm, unsigned long start,
				     unsigned long end)
{
	return uremap_first(mm, start, end, false);
}

/* What keeps the page at @addr from being a destination, NONE if nothing. */
static u32 uremap_obstacle(struct mm_struct *mm, unsigned long addr)
{
	unsigned long next;
	pmd_t *pmd = uremap_pmd_find(mm, addr, addr + PAGE_SIZE, &next);
	u32 why = UREMAP_REASON_NONE;
	spinlock_t *ptl;
	pte_t *pte;

	if (!pmd)
		return why;
	rcu_read_lock();
again:
	pte = uremap_pte_lock(mm, pmd, addr, &ptl);
	if (pte) {
		if (!pte_none(ptep_get(pte)))
			why = uremap_dst_reason(ptep_get(pte));
		spin_unlock(ptl);
	} else if (!uremap_pmd_empty(mm, pmd)) {
		/* An empty table may have gone (6.14), and another come. */
		if (uremap_pmd_is_table(pmdp_get_lockless(pmd)))
			goto again;
		why = UREMAP_REASON_DST_BUSY;
	}
	rcu_read_unlock();
	return why;
}

/**
 * uremap_first_obstacle - where a destination cannot take a page
 * @mm:    the address space
 * @start: first address
 * @end:   first address past the range
 * @why:   out, if there is such a place: UREMAP_REASON_DST_*
 *
 * uremap_first_populated(), but for markers that are no obstacle.
 *
 * Context: inside a VMA found under the mmap lock, or locked; may sleep.
 * Return: the first such address, or @end.
 */
unsigned long uremap_first_obstacle(struct mm_struct *mm, unsigned long start,
				    unsigned long end, u32 *why)
{
	for (; start < end; start += PAGE_SIZE) {
		start = uremap_first(mm, start, end, true);
		if (start == end)
			break;
		*why = uremap_obstacle(mm, start);
		if (*why)
			break;
	}
	return start;
}
