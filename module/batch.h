/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A batch: entries of one page table on each side (move_pte.c), and the parts
 * of its handling that have files of their own.
 */
#ifndef _UREMAP_BATCH_H
#define _UREMAP_BATCH_H

#include <linux/mm.h>

#include "uremap.h"

/**
 * struct uremap_batch - entries of one page table on each side
 * @mv:       the move
 * @src:      address of the first source entry
 * @dst:      address of the first destination entry
 * @nr:       entries wanted
 * @seen:     entries taken or found to be holes
 * @taken:    entries taken
 * @src_pte:  first source entry
 * @dst_pte:  first destination entry
 * @src_ptl:  lock of the source's page table
 * @dst_ptl:  lock of the destination's
 * @saved:    source entries that were taken, none for holes
 * @busy:     folio whose lock is taken, at which the batch ended; referenced if
 *            it is that of the first entry
 * @obstacle: entries from the first to the one that @why is about, if that is
 *            in the way of a large folio
 * @wp:       write-protect what is installed
 * @keep_wp:  write-protect what was
 * @marked:   some destination entry is a write-protect marker
 * @why:      UREMAP_REASON_* of ending before @nr
 */
struct uremap_batch {
	struct uremap_mv *mv;
	unsigned long src;
	unsigned long dst;
	unsigned int nr;
	unsigned int seen;
	unsigned int taken;
	pte_t *src_pte;
	pte_t *dst_pte;
	spinlock_t *src_ptl;
	spinlock_t *dst_ptl;
	pte_t *saved;
	struct folio *busy;
	unsigned int obstacle;
	bool wp;
	bool keep_wp;
	bool marked;
	u32 why;
};

/* Does the entry map memory that has a folio of its own? */
static inline bool uremap_pte_has_folio(pte_t pte)
{
	return pte_present(pte) && !pte_special(pte);
}

/* entry.c */
u32 uremap_dst_reason(pte_t pte);
u32 uremap_src_leaf_reason(pte_t pte);
pte_t uremap_dst_entry(struct uremap_batch *b, unsigned int i, pte_t pte);
pmd_t uremap_dst_pmd(struct uremap_mv *mv, pmd_t pmd);

/* move_large.c */
u32 uremap_take_large(struct uremap_batch *b, unsigned int i,
		      struct folio *folio, struct page *page);
void uremap_install_large(struct uremap_batch *b, unsigned int i,
			  struct folio *folio);

#endif /* _UREMAP_BATCH_H */
