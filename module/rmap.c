// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the reverse map needs so that a folio may change its anon_vma (C13).
 *
 * Most walkers of the reverse map hold the folio lock, which a move holds from
 * before it clears the source entry until the destination's is in place.  Those
 * that only age pages (folio_referenced(), page_idle, DAMON) do not, on kernels
 * before 6.19.  They read folio->mapping under RCU and then try the lock of the
 * anon_vma they found there.
 *
 * From 6.8 they look at folio->mapping again once they have the lock, so a move
 * is safe.  It holds that lock for writing all the same, which makes them exact
 * and keeps them from reading the index before and after it changes (6.1 has a
 * VM_BUG_ON_VMA for what comes of that).  All anon_vmas that folios of one VMA
 * can have share one root, hence one lock.
 *
 * Before 6.8 they trust what they read, too.  The source may be unmapped right
 * after the move and its anon_vma freed while such a walker is about to try the
 * lock in it.  So every anon_vma that folios were moved away from is kept alive
 * until an RCU grace period after the last of these moves: a walker that read
 * it is then past trying, and if it got the lock anon_vma_free() waits for it.
 */
#include <linux/rmap.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "uremap.h"

#if defined(UREMAP_RMAP_ANON_VMA_HOLD)

struct uremap_let_go {
	struct rcu_work work;
	unsigned int nr;
	struct anon_vma *anon_vma[UREMAP_MAX_HOLDS];
};

static struct workqueue_struct *uremap_wq;

/* Freeing an anon_vma may sleep, so this is a work and no RCU callback. */
static void uremap_let_go_work(struct work_struct *work)
{
	struct uremap_let_go *let_go = container_of(to_rcu_work(work),
						    struct uremap_let_go, work);
	unsigned int i;

	for (i = 0; i < let_go->nr; i++)
		put_anon_vma(let_go->anon_vma[i]);
	kfree(let_go);
}

/**
 * uremap_rmap_init - prepare for letting go of anon_vmas
 *
 * Context: module init.
 * Return: 0 or -ENOMEM.
 */
int uremap_rmap_init(void)
{
	uremap_wq = alloc_workqueue("uremap", WQ_UNBOUND, 0);
	return uremap_wq ? 0 : -ENOMEM;
}

/**
 * uremap_rmap_exit - wait until every anon_vma is let go
 *
 * Context: module exit, no context left; may sleep.
 */
void uremap_rmap_exit(void)
{
	/* Grace periods queue the works, destroying the queue runs them. */
	rcu_barrier();
	destroy_workqueue(uremap_wq);
}

/**
 * uremap_rmap_hold - keep an anon_vma alive that a folio is moved away from
 * @ctx:      context of the move
 * @anon_vma: the anon_vma, alive because the folio is mapped and locked
 *
 * Context: ctx->lock held for reading, page-table locks and folio lock held.
 * Return: false if the context cannot hold any more; call
 *	uremap_rmap_let_go() without the locks and try again.
 */
bool uremap_rmap_hold(struct uremap_ctx *ctx, struct anon_vma *anon_vma)
{
	/* Pairs with the release below: an entry is there before its number. */
	unsigned int i, nr = smp_load_acquire(&ctx->nr_holds);
	bool held = true;

	for (i = 0; i < nr; i++)
		if (ctx->holds[i].anon_vma == anon_vma)
			return true;

	spin_lock(&ctx->hold_lock);
	for (i = nr; i < ctx->nr_holds; i++)
		if (ctx->holds[i].anon_vma == anon_vma)
			goto out;
	held = i < UREMAP_MAX_HOLDS;
	if (held) {
		get_anon_vma(anon_vma);
		ctx->holds[i].anon_vma = anon_vma;
		/* Pairs with the acquire above. */
		smp_store_release(&ctx->nr_holds, i + 1);
	}
out:
	spin_unlock(&ctx->hold_lock);
	return held;
}

/**
 * uremap_rmap_let_go - let go of all a context keeps alive, after a grace period
 * @ctx: the context
 *
 * Context: ctx->lock held for writing, or nobody else uses the context; may
 *	sleep.
 * Return: 0.
 */
int uremap_rmap_let_go(struct uremap_ctx *ctx)
{
	struct uremap_let_go *let_go;
	unsigned int i;

	if (!ctx->nr_holds)
		return 0;
	let_go = kmalloc(sizeof(*let_go), GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	let_go->nr = ctx->nr_holds;
	for (i = 0; i < let_go->nr; i++)
		let_go->anon_vma[i] = ctx->holds[i].anon_vma;
	ctx->nr_holds = 0;
	INIT_RCU_WORK(&let_go->work, uremap_let_go_work);
	queue_rcu_work(uremap_wq, &let_go->work);
	return 0;
}

#else /* !UREMAP_RMAP_ANON_VMA_HOLD */

int uremap_rmap_init(void)
{
	return 0;
}

void uremap_rmap_exit(void)
{
}

int uremap_rmap_let_go(struct uremap_ctx *ctx)
{
	return 0;
}

#endif /* UREMAP_RMAP_ANON_VMA_HOLD */
