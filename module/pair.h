/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Holding a pair of mappings.
 *
 * What needs nothing but two sound mappings holds them by their VMA locks, if the
 * kernel has such, and the mmap lock only until it has those: who maps and unmaps
 * elsewhere is not kept waiting.  In line, for it is a good part of a small move.
 */
#ifndef _UREMAP_PAIR_H
#define _UREMAP_PAIR_H

#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_context.h>

#include "uremap.h"

/*
 * Moving a page away is a write to the source and a read of it; a thread whose
 * PKRU denies either must not get it done by the kernel.
 */
static inline bool uremap_pkey_permits(struct vm_area_struct *vma)
{
	return arch_vma_access_permitted(vma, true, false, false);
}

bool uremap_pair_look_up(struct uremap_ctx *ctx, u64 mode, unsigned long src,
			 unsigned long dst, unsigned long len,
			 struct uremap_pair *pair);

#ifdef UREMAP_VMA_LOCKS
/*
 * Are VMA locks enough for a move of this mode?  Not if it may install what userfaultfd
 * protects: unregistering takes the protection from all entries before it takes the
 * locks of the mappings, and what comes in between would keep it for good (C34).
 */
static inline bool uremap_pair_permits(u64 mode)
{
	return !(mode & (UREMAP_MOVE_WP | UREMAP_MOVE_KEEP_WP));
}

/*
 * Is this the pair that was vetted the last time on this CPU?  The kernel counts
 * whenever the mmap lock is taken for writing, which it is for every change of a
 * mapping; with the same count, under the lock, that pair is still there and still
 * what it was.  The count would have to wrap around within a second to deceive (C32).
 */
static inline bool uremap_pair_known(const struct uremap_ctx *ctx,
				     unsigned long src, unsigned long dst,
				     unsigned long len,
				     const struct uremap_known *known)
{
	return known->ctx == ctx->id &&
	       known->seq == uremap_mm_seq(ctx->mm) &&
	       time_before_eq(jiffies, known->until) &&
	       uremap_vma_covers(known->pair.src, src, len) &&
	       uremap_vma_covers(known->pair.dst, dst, len) &&
	       /* What this thread may can change by itself; both have one key. */
	       uremap_pkey_permits(known->pair.src);
}

static inline void uremap_pair_remember(const struct uremap_ctx *ctx,
					const struct uremap_pair *pair,
					struct uremap_known *known)
{
	known->ctx = ctx->id;
	known->seq = uremap_mm_seq(ctx->mm);
	known->until = jiffies + HZ;
	known->pair = *pair;
}

/* From the mmap lock to the VMA locks. */
static __always_inline bool
uremap_pair_vmas_lock(struct uremap_ctx *ctx, const struct uremap_pair *pair)
{
	bool ok = uremap_vma_lock(pair->src);

	if (ok && pair->dst != pair->src) {
		ok = uremap_vma_lock(pair->dst);
		if (!ok)
			vma_end_read(pair->src);
	}
	mmap_read_unlock(ctx->mm);
	return ok;
}

/**
 * uremap_pair_unlock - undo uremap_pair_lock()
 * @ctx:  the context
 * @pair: what it has locked
 *
 * Context: none of the inner locks held.
 */
static inline void uremap_pair_unlock(struct uremap_ctx *ctx,
				      const struct uremap_pair *pair)
{
	if (pair->dst != pair->src)
		vma_end_read(pair->dst);
	vma_end_read(pair->src);
}
#else
/* No VMA locks, no count: the mmap lock is kept. */
static inline bool uremap_pair_permits(u64 mode)
{
	return true;
}

static inline bool uremap_pair_known(const struct uremap_ctx *ctx,
				     unsigned long src, unsigned long dst,
				     unsigned long len,
				     const struct uremap_known *known)
{
	return false;
}

static inline void uremap_pair_remember(const struct uremap_ctx *ctx,
					const struct uremap_pair *pair,
					struct uremap_known *known)
{
}

static inline bool uremap_pair_vmas_lock(struct uremap_ctx *ctx,
					 const struct uremap_pair *pair)
{
	return true;
}

static inline void uremap_pair_unlock(struct uremap_ctx *ctx,
				      const struct uremap_pair *pair)
{
	mmap_read_unlock(ctx->mm);
}
#endif

/**
 * uremap_pair_lock - find, vet and lock a pair if that is easily done
 * @ctx:   the context
 * @mode:  UREMAP_MOVE_* bits of the move
 * @src:   address in the source
 * @dst:   address in the destination
 * @len:   bytes that both have to have from there
 * @known: the pair of an earlier move, or not; becomes this one
 * @pair:  out: the pair
 *
 * Nothing may be waited for under VMA locks that could wait for the mmap lock.
 *
 * Context: ctx->lock held for reading.
 * Return: false, with nothing locked, if anything is wrong or taken; what it is,
 *	uremap_pair_find() says under the mmap lock.
 */
static __always_inline bool
uremap_pair_lock(struct uremap_ctx *ctx, u64 mode, unsigned long src,
		 unsigned long dst, unsigned long len,
		 struct uremap_known *known, struct uremap_pair *pair)
{
	if (!uremap_pair_permits(mode) || !mmap_read_trylock(ctx->mm))
		return false;
	if (likely(uremap_pair_known(ctx, src, dst, len, known))) {
		*pair = known->pair;
	} else if (uremap_pair_look_up(ctx, mode, src, dst, len, pair)) {
		uremap_pair_remember(ctx, pair, known);
	} else {
		mmap_read_unlock(ctx->mm);
		return false;
	}
	return uremap_pair_vmas_lock(ctx, pair);
}

#endif /* _UREMAP_PAIR_H */
