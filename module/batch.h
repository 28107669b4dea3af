/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A batch: runs of entries that are cleared together, flushed once and
 * installed together (move_pte.c), and the parts of its handling that have
 * files of their own.
 */
#ifndef _UREMAP_BATCH_H
#define _UREMAP_BATCH_H

#include <linux/mm.h>

#include "ptes.h"
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
 * struct uremap_single - the one page of a segment
 * @dst_pte: its entry in the destination
 * @src_pte: its entry in the source
 * @saved:   what that was
 * @folio:   its folio
 */
struct uremap_single {
	pte_t *dst_pte;
	pte_t *src_pte;
	pte_t saved;
	struct folio *folio;
};

/* Windows of each side; by address, so that tables next to each other have one. */
#define UREMAP_MAX_WINDOWS	16

/**
 * struct uremap_window - where pages are in one mapping, table and registration
 * @start: the first address
 * @len:   bytes; 0: not open
 * @pte:   entry of @start
 * @pad:   makes it a power of two
 */
struct uremap_window {
	unsigned long start;
	unsigned long len;
	pte_t *pte;
	unsigned long pad;
};

/* Holes of a group of segments to remember; who waits at others is woken, too. */
#define UREMAP_MAX_PASSED	128

/**
 * struct uremap_passed - a part of a destination that nothing came to
 * @start: its first address
 * @end:   the first behind it
 * @seg:   number of the segment
 */
struct uremap_passed {
	unsigned long start;
	unsigned long end;
	unsigned int seg;
};

/**
 * struct uremap_scratch - memory a move works in
 * @saved:  source entries of a batch, each run's behind the one before
 * @folios: their folios, likewise
 * @runs:   its runs
 * @singles: its single pages
 * @src_windows: where entries of their sources are
 * @dst_windows: likewise
 * @tables: its page tables
 * @segs:   segments of a MOVEV that are at work
 * @passed: holes that were passed over, if there is a userfaultfd to wake
 * @known:  the pair of mappings that the last move was between
 */
struct uremap_scratch {
	pte_t saved[PTRS_PER_PTE];
	struct folio *folios[PTRS_PER_PTE];
	struct uremap_run runs[UREMAP_MAX_RUNS];
	struct uremap_single singles[UREMAP_SEG_GROUP];
	struct uremap_window src_windows[UREMAP_MAX_WINDOWS];
	struct uremap_window dst_windows[UREMAP_MAX_WINDOWS];
	struct uremap_table tables[UREMAP_MAX_TABLES];
	struct uremap_segment segs[UREMAP_SEG_GROUP];
	struct uremap_passed passed[UREMAP_MAX_PASSED];
	struct uremap_known known;
};

DECLARE_PER_CPU(struct uremap_scratch *, uremap_scratch);

/**
 * uremap_scratch_get - scratch memory for a move
 *
 * Context: may sleep.
 * Return: the memory, whatever is in it, or NULL without any.
 */
static inline struct uremap_scratch *uremap_scratch_get(void)
{
	struct uremap_scratch *scratch = this_cpu_xchg(uremap_scratch, NULL);

	return likely(scratch) ? scratch : uremap_scratch_alloc();
}

/**
 * uremap_scratch_put - give back what uremap_scratch_get() gave
 * @scratch: the memory, or NULL
 *
 * Context: any process context.
 */
static inline void uremap_scratch_put(struct uremap_scratch *scratch)
{
	if (likely(scratch))
		scratch = this_cpu_xchg(uremap_scratch, scratch);
	if (unlikely(scratch))
		kvfree(scratch);
}

/**
 * struct uremap_batch - what is cleared, flushed and installed together
 * @mv:        the move
 * @mm:        its address space
 * @runs:      the runs
 * @tables:    page tables that are locked
 * @nr_runs:   how many
 * @nr_tables: how many
 * @nr_singles: single pages, taken between the first run and the second
 * @singles:   their segments
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
	struct uremap_segment *singles;
	unsigned int nr_singles;
	unsigned int nr_saved;
	unsigned int taken;
	bool wp;
	bool keep_wp;
};

/* Does the entry map memory that has a folio of its own? */
static inline bool uremap_pte_has_folio(pte_t pte)
{
	return pte_present(pte) && !pte_special(pte);
}

static inline struct folio *uremap_pte_folio(pte_t pte)
{
	return page_folio(pte_page(pte));
}

/**
 * struct uremap_cursor - where a batch has got to, ahead of what is booked
 * @seg:    segment
 * @off:    bytes of it that are in the batch
 * @src_lo: lowest source address of the batch
 * @src_hi: first address above its sources
 * @dst_lo: lowest destination address
 * @dst_hi: first address above its destinations
 */
struct uremap_cursor {
	unsigned int seg;
	unsigned long off;
	unsigned long src_lo;
	unsigned long src_hi;
	unsigned long dst_lo;
	unsigned long dst_hi;
};

/**
 * struct uremap_huge - from where to where a huge entry moves
 * @ctx:     the context
 * @mm:      the address space
 * @mode:    UREMAP_MOVE_* bits
 * @dst_vma: mapping of the destination
 * @src_vma: mapping of the source
 * @dst:     its address there
 * @src:     its address here
 * @dst_pmd: PMD entry there
 * @src_pmd: PMD entry here
 */
struct uremap_huge {
	struct uremap_ctx *ctx;
	struct mm_struct *mm;
	u64 mode;
	struct vm_area_struct *dst_vma;
	struct vm_area_struct *src_vma;
	unsigned long dst;
	unsigned long src;
	pmd_t *dst_pmd;
	pmd_t *src_pmd;
};

/* What is taken next belongs to the extent of the batch. */
static inline void uremap_cursor_cover(struct uremap_cursor *c,
				       unsigned long dst, unsigned long src,
				       unsigned long len)
{
	c->src_lo = min(c->src_lo, src);
	c->src_hi = max(c->src_hi, src + len);
	c->dst_lo = min(c->dst_lo, dst);
	c->dst_hi = max(c->dst_hi, dst + len);
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
pmd_t uremap_dst_pmd(const struct uremap_huge *h, pmd_t pmd);

/* move_pmd.c */
u32 uremap_huge_move(const struct uremap_huge *h);

/* move_large.c */
unsigned int uremap_large_take(struct mm_struct *mm, const void *held,
			       struct uremap_run *r, unsigned int i, bool ready);
unsigned int uremap_large_install(struct mm_struct *mm,
				  struct vm_area_struct *vma,
				  struct uremap_run *r, unsigned int i);
u32 uremap_take_large(struct uremap_batch *b, struct uremap_run *r,
		      unsigned int i, struct folio *folio, struct page *page);
void uremap_install_folio(struct uremap_batch *b, struct uremap_run *r,
			  unsigned int i, unsigned int n, struct folio *folio);

/* run.c */
void uremap_run_take(struct uremap_batch *b, struct uremap_run *r);
void uremap_run_install(struct uremap_batch *b, struct uremap_run *r);
void uremap_run_put_back(struct mm_struct *mm, struct uremap_run *r,
			 unsigned int i);

/* singles.c */
void uremap_singles_take(struct uremap_batch *b, struct uremap_cursor *c);
bool uremap_singles_install(struct uremap_batch *b);
void uremap_singles_put_back(struct uremap_batch *b, unsigned int i);
void uremap_singles_end(struct uremap_batch *b);

/* tables.c */
pte_t *uremap_table_get(struct uremap_batch *b, unsigned long addr);
bool uremap_tables_lock(struct uremap_batch *b, struct uremap_run *r,
			pmd_t *dst_pmd, pmd_t *src_pmd);
bool uremap_tables_add(struct uremap_batch *b, struct uremap_run *r,
		       const struct uremap_run *last);
bool uremap_table_make(struct mm_struct *mm, pmd_t *dst_pmd, pmd_t *src_pmd,
		       unsigned long src);
void uremap_tables_ahead(struct uremap_mv *mv);
void uremap_tables_unlock(struct uremap_batch *b);

#endif /* _UREMAP_BATCH_H */
