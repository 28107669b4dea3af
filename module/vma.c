// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings: finding the pair a move goes between, and vetting it.
 *
 * A move may cross mappings on either side.  It works on one pair of VMAs at a
 * time and vets each pair anew, in the order in which validate_move_areas() of
 * mm/userfaultfd.c (v7.2) looks at one, so that what both refuse has the same
 * errno.
 */
#include <linux/mm.h>
#include <linux/mmu_context.h>

#include "uremap.h"

/* Memory without struct pages, or whose pages do not work as ours. */
#define UREMAP_VM_SPECIAL	(VM_PFNMAP | VM_IO | VM_HUGETLB | \
				 VM_MIXEDMAP | VM_SHADOW_STACK)

/*
 * Moving a page away is a write to the source and a read of it; a thread whose
 * PKRU denies either must not get it done by the kernel.
 */
static bool uremap_pkey_permits(struct vm_area_struct *vma)
{
	return arch_vma_access_permitted(vma, true, false, false);
}

static int uremap_pair_vet(struct uremap_mv *mv)
{
	const struct vm_area_struct *src = mv->src_vma, *dst = mv->dst_vma;
	unsigned long differ = src->vm_flags ^ dst->vm_flags;

	if (src->vm_flags & VM_SHARED)
		return uremap_stop_src(mv, -EINVAL, UREMAP_REASON_VMA_SHARED);
	if (dst->vm_flags & VM_SHARED)
		return uremap_stop_dst(mv, -EINVAL, UREMAP_REASON_VMA_SHARED);
	/* An entry is moved as it is, so its protection bits have to fit. */
	if ((differ & VM_ACCESS_FLAGS) ||
	    pgprot_val(src->vm_page_prot) != pgprot_val(dst->vm_page_prot))
		return uremap_stop_dst(mv, -EINVAL, UREMAP_REASON_VMA_PROT);
	if (differ & VM_LOCKED)
		return uremap_stop_dst(mv, -EINVAL, UREMAP_REASON_VMA_LOCKED);
	if (!(src->vm_flags & VM_WRITE))
		return uremap_stop_src(mv, -EINVAL, UREMAP_REASON_VMA_READONLY);
	if (src->vm_flags & UREMAP_VM_SPECIAL)
		return uremap_stop_src(mv, -EINVAL, UREMAP_REASON_VMA_SPECIAL);
	if (dst->vm_flags & UREMAP_VM_SPECIAL)
		return uremap_stop_dst(mv, -EINVAL, UREMAP_REASON_VMA_SPECIAL);
	if (!uremap_uffd_owns(mv, dst))
		return uremap_stop_dst(mv, -EINVAL,
				       UREMAP_REASON_DST_NOT_UFFD);
	if (!vma_is_anonymous(mv->src_vma))
		return uremap_stop_src(mv, -EINVAL, UREMAP_REASON_VMA_NOT_ANON);
	if (!vma_is_anonymous(mv->dst_vma))
		return uremap_stop_dst(mv, -EINVAL, UREMAP_REASON_VMA_NOT_ANON);
	/* Droppable memory may vanish under pressure, ordinary must not. */
	if (differ & VM_DROPPABLE)
		return uremap_stop_dst(mv, -EINVAL,
				       UREMAP_REASON_VMA_DROPPABLE);
	if ((mv->mode & UREMAP_MOVE_WP) && !userfaultfd_wp(mv->dst_vma))
		return uremap_stop_dst(mv, -EINVAL,
				       UREMAP_REASON_WP_UNREGISTERED);
	if (!uremap_pkey_permits(mv->src_vma))
		return uremap_stop_src(mv, -EINVAL, UREMAP_REASON_VMA_PKEY);
	if (!uremap_pkey_permits(mv->dst_vma))
		return uremap_stop_dst(mv, -EINVAL, UREMAP_REASON_VMA_PKEY);
	return 0;
}

/**
 * uremap_pair_find - look up and vet the mappings a move has come to
 * @mv: the move
 *
 * Sets the pair and how far it reaches.  The destination gets its anon_vma
 * here, where sleeping is allowed, because folios are going to need it.
 *
 * Context: mmap_lock held; may sleep.
 * Return: 0, or a negative errno with the reason recorded.
 */
int uremap_pair_find(struct uremap_mv *mv)
{
	unsigned long src = uremap_mv_src(mv), dst = uremap_mv_dst(mv);
	unsigned long span = mv->len - mv->done;
	int err;

	mv->src_vma = NULL;
	mv->dst_vma = vma_lookup(mv->mm, dst);
	if (!mv->dst_vma)
		return uremap_stop_dst(mv, -ENOENT, UREMAP_REASON_DST_NO_VMA);
	mv->src_vma = vma_lookup(mv->mm, src);
	if (!mv->src_vma)
		return uremap_stop_src(mv, -ENOENT, UREMAP_REASON_SRC_NO_VMA);

	err = uremap_pair_vet(mv);
	if (err)
		return err;
	if (unlikely(anon_vma_prepare(mv->dst_vma)))
		return uremap_stop_dst(mv, -ENOMEM, UREMAP_REASON_NOMEM);

	span = min(span, mv->src_vma->vm_end - src);
	span = min(span, mv->dst_vma->vm_end - dst);
	if (mv->strict && span < mv->len - mv->done)
		return uremap_stop_src(mv, -EINVAL, UREMAP_REASON_ARGUMENT);
	mv->pair_end = mv->done + span;
	return 0;
}
