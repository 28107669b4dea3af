/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A batch: runs of entries that are cleared together, flushed once and
 * installed together (move_pte.c), and the parts of its handling that have
 * files of their own.
 */
#ifndef _UREMAP_BATCH_H
#define _UREMAP_BATCH_H

#include <linux/mm.h>

#include "uremap.h"

/* Runs of a batch: the segments of a MOVEV that can share one TLB flush. */
#define UREMAP_MAX_RUNS		64

/* Segments read, moved and written back at a time; as many as share a flush. */
#define UREMAP_SEG_GROUP	UREMAP_MAX_RUNS

/* Page tables a batch may hold the locks of.  Lockdep can follow 48 locks. */
#ifdef CONFIG_LOCKDEP
#define UREMAP_MAX_TABLES	32
#else
#define UREMAP_MAX_TABLES	(2 * UREMAP_MAX_RUNS)
#endif

/**
 * struct uremap_run - entries next to each other in one table on each side
 * @src:      address of the first source entry
 * @dst:      address of the first destination entry
 * @src_pte:  first source entry
 * @dst_pte:  first destination entry
 * @saved:    source entries that were taken, none for holes
 * @folios:   their folios if small; UREMAP_LARGE, or NULL without a folio
 * @busy:     folio whose lock is taken, at which the run ended; referenced if
 *            it is that of the first entry
 * @nr:       entries wanted
 * @seen:     entries taken or found to be holes
 * @taken:    entries taken
 * @obstacle: entries from the first to the one that @why is about, if that is
 *            in the way of a large folio
 * @marked:   some destination entry is a write-protect marker
 * @why:      UREMAP_REASON_* of ending before @nr
 */
struct uremap_run {
	unsigned long src;
	unsigned long dst;
	pte_t *src_pte;
	pte_t *dst_pte;
	pte_t *saved;
	struct folio **folios;
	struct folio *busy;
	u16 nr;
	u16 seen;
	u16 taken;
	u16 obstacle;
	u32 why;
	bool marked;
};

/**
 * struct uremap_table - a page table whose lock a batch holds
 * @base: the first address that it maps
 * @pte:  its first entry
 * @ptl:  its lock; NULL if that has been taken for another table
 */
struct uremap_table {
	unsigned long base;
	pte_t *pte;
	spinlock_t *ptl;
};

/**
 * struct uremap_scratch - memory a move works in
 * @saved:  source entries of a batch, each run's behind the one before
 * @folios: their folios, likewise
 * @runs:   its runs
 * @tables: its page tables
 * @segs:   segments of a MOVEV that are at work
 */
struct uremap_scratch {
	pte_t saved[PTRS_PER_PTE];
	struct folio *folios[PTRS_PER_PTE];
	struct uremap_run runs[UREMAP_MAX_RUNS];
	struct uremap_table tables[UREMAP_MAX_TABLES];
	struct uremap_segment segs[UREMAP_SEG_GROUP];
};

/**
 * struct uremap_batch - what is cleared, flushed and installed together
 * @mv:        the move
 * @mm:        its address space
 * @runs:      the runs
 * @tables:    page tables that are locked
 * @nr_runs:   how many
 * @nr_tables: how many
 * @nr_saved:  entries of the scratch that are in use
 * @taken:     entries taken, of all runs
 * @wp:        write-protect what is installed
 * @keep_wp:   write-protect what was
 */
struct uremap_batch {
	struct uremap_mv *mv;
	struct mm_struct *mm;
	struct uremap_run *runs;
	struct uremap_table *tables;
	unsigned int nr_runs;
	unsigned int nr_tables;
	unsigned int nr_saved;
	unsigned int taken;
	bool wp;
	bool keep_wp;
};

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
static inline pte_t *uremap_pte_map(struct mm_struct *mm, pmd_t *pmd,
				    unsigned long addr, pmd_t *pmdvalp,
				    spinlock_t **ptlp)
{
	pmd_t pmdval = pmdp_get_lockless(pmd);

	*pmdvalp = pmdval;
	if (unlikely(!uremap_pmd_is_table(pmdval)))
		return NULL;
	*ptlp = pte_lockptr(mm, &pmdval);
	return pte_offset_kernel(&pmdval, addr);
}

/* Stands for the folio of an entry that is to be looked up in the entry. */
#define UREMAP_LARGE	((struct folio *)1)

/* Does the entry map memory that has a folio of its own? */
static inline bool uremap_pte_has_folio(pte_t pte)
{
	return pte_present(pte) && !pte_special(pte);
}

static inline struct folio *uremap_pte_folio(pte_t pte)
{
	return page_folio(pte_page(pte));
}

pte_t uremap_entry_rebuild(struct uremap_batch *b, struct uremap_run *r,
			   unsigned int i, pte_t pte);

/**
 * uremap_dst_entry - a folio's entry as the destination gets it
 * @b:     the batch
 * @r:     the run
 * @i:     its place
 * @pte:   what the source had
 * @plain: nothing write-protects the destination
 *
 * Both mappings have the same protection bits, so as a rule it is what the
 * source had, with soft-dirty set: who tracks changes must see the page come.
 *
 * Context: page-table locks held, source entry cleared and flushed.
 * Return: the entry to set.
 */
static inline pte_t uremap_dst_entry(struct uremap_batch *b,
				     struct uremap_run *r, unsigned int i,
				     pte_t pte, bool plain)
{
	if (unlikely(!plain || !uremap_pte_ready(pte)))
		return uremap_entry_rebuild(b, r, i, pte);
	return pgtable_supports_soft_dirty() ? pte_mksoft_dirty(pte) : pte;
}

/* entry.c */
u32 uremap_dst_reason(pte_t pte);
u32 uremap_src_leaf_reason(pte_t pte);
pmd_t uremap_dst_pmd(struct uremap_mv *mv, pmd_t pmd);

/* move_large.c */
u32 uremap_take_large(struct uremap_batch *b, struct uremap_run *r,
		      unsigned int i, struct folio *folio, struct page *page);
void uremap_install_folio(struct uremap_batch *b, struct uremap_run *r,
			  unsigned int i, unsigned int n, struct folio *folio);

/* run.c */
void uremap_run_take(struct uremap_batch *b, struct uremap_run *r);
void uremap_run_install(struct uremap_batch *b, struct uremap_run *r);
void uremap_run_put_back(struct uremap_batch *b, struct uremap_run *r,
			 unsigned int i);

/* tables.c */
bool uremap_tables_lock(struct uremap_batch *b, struct uremap_run *r,
			pmd_t *dst_pmd, pmd_t *src_pmd);
bool uremap_tables_add(struct uremap_batch *b, struct uremap_run *r,
		       const struct uremap_run *last);
void uremap_tables_unlock(struct uremap_batch *b);

#endif /* _UREMAP_BATCH_H */
