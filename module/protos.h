/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Prototypes that no header a module can include declares.
 *
 * A wrong one would crash the machine instead of the build, so each is written
 * once, here, and checked against the type information (BTF) of every
 * supported kernel by "make lint".
 */
#ifndef _UREMAP_PROTOS_H
#define _UREMAP_PROTOS_H

#include <linux/types.h>

struct mm_struct;
struct vm_area_struct;

/* arch/x86/mm/tlb.c; asm/tlbflush.h hides it from modules. */
void flush_tlb_mm_range(struct mm_struct *mm, unsigned long start,
			unsigned long end, unsigned int stride_shift,
			bool freed_tables);

/* mm/rmap.c; mm/internal.h since 6.19, include/linux/rmap.h before. */
int __anon_vma_prepare(struct vm_area_struct *vma);

#ifdef UREMAP_SWAP_TABLE
/* mm/swap_state.c, mm/swap.h */
bool swap_cache_has_folio(swp_entry_t entry);
#endif

#endif /* _UREMAP_PROTOS_H */
