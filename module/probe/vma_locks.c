// SPDX-License-Identifier: GPL-2.0-only
/* 6.4 "mm: add per-VMA lock", with the count of writers as a seqcount (6.13) */
#include <linux/mm.h>

unsigned int uremap_probe_vma_locks(struct vm_area_struct *vma);
unsigned int uremap_probe_vma_locks(struct vm_area_struct *vma)
{
	vma_end_read(vma);
	return vma->vm_mm->mm_lock_seq.sequence;
}
