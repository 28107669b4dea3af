// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page tables a batch has locked, and those that it will need.
 *
 * The first run waits for its pair, for one lock at a time (ptes.h).  The tables of
 * further runs are only tried for, which cannot deadlock whatever the order;
 * the first that cannot be had ends the batch.  A table that some run of the
 * batch has locked already is simply used.
 */
#include <linux/mm.h>

#include "batch.h"

static void uremap_table_note(struct uremap_batch *b, unsigned long addr,
			      pte_t *pte, spinlock_t *ptl)
{
	struct uremap_table *table = &b->tables[b->nr_tables++];

	table->base = addr & PMD_MASK;
	table->pte = pte - pte_index(addr);
	table->ptl = ptl;
}

/**
 * uremap_tables_lock - lock the tables of a batch's first run
 * @b:       the batch
 * @r:       its first run; the pointers to its entries are set
 * @dst_pmd: PMD entry of the destination
 * @src_pmd: PMD entry of the source
 *
 * Context: RCU, and mmap_lock or VMA locks held.
 * Return: false with nothing locked if either is not, or no more, a table.
 */
bool uremap_tables_lock(struct uremap_batch *b, struct uremap_run *r,
			pmd_t *dst_pmd, pmd_t *src_pmd)
{
	struct uremap_ptes p;

	if (!uremap_ptes_lock(b->mm, dst_pmd, r->dst, src_pmd, r->src, &p))
		return false;
	r->dst_pte = p.dst;
	r->src_pte = p.src;
	uremap_table_note(b, r->dst, p.dst, p.dst_ptl);
	uremap_table_note(b, r->src, p.src,
			  p.src_ptl == p.dst_ptl ? NULL : p.src_ptl);
	return true;
}

/* The entry of @addr if the batch has its table. */
static pte_t *uremap_table_find(struct uremap_batch *b, unsigned long addr)
{
	unsigned long base = addr & PMD_MASK;
	unsigned int i = b->nr_tables;

	while (i--)
		if (b->tables[i].base == base)
			return b->tables[i].pte + pte_index(addr);
	return NULL;
}

/* Has the batch a lock that some other table's pointer names as well? */
static bool uremap_ptl_held(struct uremap_batch *b, spinlock_t *ptl)
{
	unsigned int i;

	for (i = 0; i < b->nr_tables; i++)
		if (b->tables[i].ptl == ptl)
			return true;
	return false;
}

/**
 * uremap_table_get - the entry of an address, in a table the batch has or gets
 * @b:    the batch
 * @addr: the address
 *
 * Context: RCU, and locks of the first run held; inside the same two VMAs.
 * Return: the entry, or NULL if the lock cannot be had now; the batch has to end.
 */
pte_t *uremap_table_get(struct uremap_batch *b, unsigned long addr)
{
	spinlock_t *ptl;
	pmd_t pmdval, *pmd;
	pte_t *pte;

	pte = uremap_table_find(b, addr);
	if (pte)
		return pte;
	pmd = uremap_pmd_lookup(b->mm, addr);
	if (!pmd || b->nr_tables == UREMAP_MAX_TABLES)
		return NULL;
	pte = uremap_pte_map(b->mm, pmd, addr, &pmdval, &ptl);
	if (!pte)
		return NULL;
	/* Where tables share locks we may be trying for one of our own. */
	if (!spin_trylock(ptl)) {
		if (!uremap_ptl_held(b, ptl))
			return NULL;
		ptl = NULL;
	}
	if (likely(uremap_pmd_same(pmdval, pmdp_get_lockless(pmd)))) {
		uremap_table_note(b, addr, pte, ptl);
		return pte;
	}
	if (ptl)
		spin_unlock(ptl);
	return NULL;
}

/**
 * uremap_tables_add - lock what a further run needs beyond what is locked
 * @b:    the batch
 * @r:    the run; the pointers to its entries are set
 * @last: the run before it
 *
 * Context: RCU, and locks of the first run held; inside the same two VMAs.
 * Return: false if they cannot be had now; the batch has to end.
 */
bool uremap_tables_add(struct uremap_batch *b, struct uremap_run *r,
		       const struct uremap_run *last)
{
	/* As a rule runs stay in the tables of the one before. */
	if (likely(!(((r->dst ^ last->dst) | (r->src ^ last->src)) &
		     PMD_MASK))) {
		r->dst_pte = last->dst_pte - pte_index(last->dst) +
			     pte_index(r->dst);
		r->src_pte = last->src_pte - pte_index(last->src) +
			     pte_index(r->src);
		return true;
	}
	r->dst_pte = uremap_table_get(b, r->dst);
	if (!r->dst_pte)
		return false;
	r->src_pte = uremap_table_get(b, r->src);
	return r->src_pte;
}

/**
 * uremap_ptl_lock_again - the rest of uremap_ptl_lock() where the second lock is taken
 * @a: the first, held
 * @b: the second
 *
 * Context: as for uremap_ptl_lock().
 */
void uremap_ptl_lock_again(spinlock_t *a, spinlock_t *b)
{
	do {
		/* Let go of the first as long as somebody has the second. */
		spin_unlock(a);
		spin_lock(b);
		spin_unlock(b);
		spin_lock(a);
	} while (!spin_trylock(b));
}

/**
 * uremap_table_make - a page table for the destination, if there is a use for it
 * @mm:      the address space
 * @dst_pmd: PMD entry of the destination
 * @src_pmd: PMD entry of the source
 * @src:     source address
 *
 * Context: mmap_lock or VMA locks held; may sleep.
 * Return: true if there is one now, and a page for it.
 */
bool uremap_table_make(struct mm_struct *mm, pmd_t *dst_pmd, pmd_t *src_pmd,
		       unsigned long src)
{
	spinlock_t *ptl;
	bool wanted;
	pmd_t pmdval;
	pte_t *pte;

	rcu_read_lock();
	pte = uremap_pte_map(mm, src_pmd, src, &pmdval, &ptl);
	wanted = pte && uremap_pte_plain(ptep_get(pte));
	rcu_read_unlock();
	return wanted && !pte_alloc(mm, dst_pmd);
}

/**
 * uremap_tables_ahead - make the page tables that segments further on will need
 * @mv: the move, where a table was missing
 *
 * A batch ends where a table has to be made, and with it the sharing of one TLB
 * flush.  Where one is missing others will be, so they are made now, as far as the
 * segments can be moved together.  One that cannot be had is for its own segment to
 * report.
 *
 * Context: mmap_lock or VMA locks held, pair vetted; may sleep.
 */
void uremap_tables_ahead(struct uremap_mv *mv)
{
	unsigned int k = mv->cur, last = mv->nr_segs - 1;

	/* The usual pages next to each other share theirs. */
	if (k == last || !(((mv->segs[k + 1].dst ^ mv->dst) |
			    (mv->segs[last].dst ^ mv->dst)) & PMD_MASK))
		return;
	while (uremap_seg_ready(mv, ++k)) {
		const struct uremap_segment *seg = &mv->segs[k];
		pmd_t *src_pmd, *dst_pmd;

		if (!uremap_vma_has(mv->src_vma, seg->src) ||
		    !uremap_vma_has(mv->dst_vma, seg->dst))
			return;
		src_pmd = uremap_pmd_lookup(mv->mm, seg->src);
		dst_pmd = uremap_pmd_lookup(mv->mm, seg->dst);
		if (src_pmd && dst_pmd && pmd_none(pmdp_get_lockless(dst_pmd)))
			uremap_table_make(mv->mm, dst_pmd, src_pmd, seg->src);
	}
}

/**
 * uremap_tables_unlock - undo uremap_tables_lock() and all additions
 * @b: the batch
 *
 * Context: they are held.
 */
void uremap_tables_unlock(struct uremap_batch *b)
{
	while (b->nr_tables) {
		struct uremap_table *table = &b->tables[--b->nr_tables];

		if (table->ptl)
			spin_unlock(table->ptl);
	}
}
