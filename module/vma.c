// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings: finding the pair a move goes between, and vetting it.
 *
 * A move may cross mappings on either side.  It works on one pair of VMAs at a
 * time and vets each pair, in the order in which validate_move_areas() of
 * mm/userfaultfd.c (v7.2) looks at one, so that what both refuse has the same
 * errno.
 */
#include <linux/mm.h>

#include "pair.h"

/* Memory without struct pages, or whose pages do not work as ours. */
#define UREMAP_VM_SPECIAL	(VM_PFNMAP | VM_IO | VM_HUGETLB | \
				 VM_MIXEDMAP | VM_SHADOW_STACK)

/* What is wrong with a pair, and is it about the destination? */
static u32 uremap_pair_reason(const struct uremap_pair *pair, u64 mode,
			      const void *uffd, bool *at_dst)
{
	struct vm_area_struct *src = pair->src, *dst = pair->dst;
	unsigned long differ = src->vm_flags ^ dst->vm_flags;

	*at_dst = false;
	if (src->vm_flags & VM_SHARED)
		return UREMAP_REASON_VMA_SHARED;
	*at_dst = true;
	if (dst->vm_flags & VM_SHARED)
		return UREMAP_REASON_VMA_SHARED;
	/* An entry is moved as it is, so its protection bits have to fit. */
	if ((differ & VM_ACCESS_FLAGS) ||
	    pgprot_val(src->vm_page_prot) != pgprot_val(dst->vm_page_prot))
		return UREMAP_REASON_VMA_PROT;
	if (differ & VM_LOCKED)
		return UREMAP_REASON_VMA_LOCKED;
	*at_dst = false;
	if (!(src->vm_flags & VM_WRITE))
		return UREMAP_REASON_VMA_READONLY;
	if (src->vm_flags & UREMAP_VM_SPECIAL)
		return UREMAP_REASON_VMA_SPECIAL;
	*at_dst = true;
	if (dst->vm_flags & UREMAP_VM_SPECIAL)
		return UREMAP_REASON_VMA_SPECIAL;
	if (uffd && dst->vm_userfaultfd_ctx.ctx != uffd)
		return UREMAP_REASON_DST_NOT_UFFD;
	*at_dst = false;
	if (!vma_is_anonymous(src))
		return UREMAP_REASON_VMA_NOT_ANON;
	*at_dst = true;
	if (!vma_is_anonymous(dst))
		return UREMAP_REASON_VMA_NOT_ANON;
	/* Droppable memory may vanish under pressure, ordinary must not. */
	if (differ & VM_DROPPABLE)
		return UREMAP_REASON_VMA_DROPPABLE;
	if ((mode & UREMAP_MOVE_WP) && !userfaultfd_wp(dst))
		return UREMAP_REASON_WP_UNREGISTERED;
	*at_dst = uremap_pkey_permits(src);
	return *at_dst && uremap_pkey_permits(dst) ? UREMAP_REASON_NONE :
						     UREMAP_REASON_VMA_PKEY;
}

static int uremap_pair_vet(struct uremap_mv *mv)
{
	const struct uremap_pair pair = { mv->src_vma, mv->dst_vma };
	const void *uffd = mv->uffd ? mv->uffd->private_data : NULL;
	bool at_dst;
	u32 why = uremap_pair_reason(&pair, mv->mode, uffd, &at_dst);

	if (likely(!why))
		return 0;
	return at_dst ? uremap_stop_dst(mv, -EINVAL, why) :
			uremap_stop_src(mv, -EINVAL, why);
}

/**
 * uremap_pair_reach - how far does the pair reach from where the move is?
 * @mv: the move, its pair set
 *
 * Context: the pair is locked by its VMA locks or the mmap lock.
 * Return: false, with nothing changed, if the pair is not even here, or ends
 *	inside the segment by the rules of UFFDIO_MOVE.
 */
bool uremap_pair_reach(struct uremap_mv *mv)
{
	unsigned long src = uremap_mv_src(mv), dst = uremap_mv_dst(mv);
	unsigned long span = mv->len - mv->done;

	if (!uremap_vma_has(mv->src_vma, src) ||
	    !uremap_vma_has(mv->dst_vma, dst))
		return false;
	span = min(span, mv->src_vma->vm_end - src);
	span = min(span, mv->dst_vma->vm_end - dst);
	if (mv->strict && span < mv->len - mv->done)
		return false;
	mv->pair_end = mv->done + span;
	return true;
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
	if (!uremap_pair_reach(mv))
		return uremap_stop_src(mv, -EINVAL, UREMAP_REASON_ARGUMENT);
	return 0;
}

/**
 * uremap_pair_look_up - look up and vet a pair
 * @ctx:  the context
 * @mode: UREMAP_MOVE_* bits of the move
 * @src:  address in the source
 * @dst:  address in the destination
 * @len:  bytes that both have to have from there
 * @pair: out: the pair
 *
 * Without a reason if that fails, for uremap_pair_find() is going to give one.
 *
 * Context: mmap_lock held; may sleep.
 * Return: false if there is no such pair, or something is wrong with it.
 */
bool uremap_pair_look_up(struct uremap_ctx *ctx, u64 mode, unsigned long src,
			 unsigned long dst, unsigned long len,
			 struct uremap_pair *pair)
{
	bool at_dst;

	pair->dst = vma_lookup(ctx->mm, dst);
	if (!pair->dst)
		return false;
	/* Often there is one mapping that a heap lives in. */
	pair->src = uremap_vma_has(pair->dst, src) ? pair->dst :
						     vma_lookup(ctx->mm, src);
	/* Each mapping has its address, so nothing wraps around. */
	return pair->src && len <= pair->src->vm_end - src &&
	       len <= pair->dst->vm_end - dst &&
	       !uremap_pair_reason(pair, mode, ctx->uffd, &at_dst) &&
	       !anon_vma_prepare(pair->dst);
}
