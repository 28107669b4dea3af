// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts: what an open file of the device stands for.
 *
 * A context is bound to the address space of its opener for good.  It keeps
 * the mm_struct (mm_count), not the address space (mm_users): an open file
 * must not keep the memory of a process that has ended.
 */
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "uremap.h"

/* Contexts so far: a number of its own for each, which no other ever gets. */
static atomic64_t uremap_ctx_ids = ATOMIC64_INIT(0);

/**
 * uremap_ctx_create - a context bound to an address space
 * @mm: the address space, in use by the caller
 *
 * Context: may sleep.
 * Return: the context, with nothing registered, or NULL without memory.
 */
struct uremap_ctx *uremap_ctx_create(struct mm_struct *mm)
{
	struct uremap_ctx *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);

	if (!ctx)
		return NULL;
	mmgrab(mm);
	ctx->mm = mm;
	ctx->id = atomic64_inc_return(&uremap_ctx_ids);
	init_rwsem(&ctx->lock);
	spin_lock_init(&ctx->hold_lock);
	ctx->src.root = RB_ROOT;
	ctx->dst.root = RB_ROOT;
	return ctx;
}

/**
 * uremap_ctx_destroy - undo uremap_ctx_create()
 * @ctx: context nobody else uses any more
 *
 * Context: may sleep.
 */
void uremap_ctx_destroy(struct uremap_ctx *ctx)
{
	uremap_rmap_let_go(ctx);
	uremap_set_clear(&ctx->src);
	uremap_set_clear(&ctx->dst);
	mmdrop(ctx->mm);
	kfree(ctx);
}

/**
 * uremap_ctx_show - lines of /proc/PID/fdinfo/FD
 * @ctx: any context
 * @m:   where to
 *
 * Who only looks does not wait for a move, nor for a writer that waits for one.
 *
 * Context: may sleep.
 */
void uremap_ctx_show(struct uremap_ctx *ctx, struct seq_file *m)
{
	seq_printf(m, "uremap-ranges:\t%u\n", READ_ONCE(ctx->nr_ranges));
}
