// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registered ranges.
 *
 * There is one set of addresses per right.  A set is a tree of intervals that
 * never overlap or touch, so an address range is covered if and only if a
 * single interval covers it, and a change needs one new interval at most: what
 * is added swallows its neighbours, what is taken away splits one in two.  That
 * can be a million neighbours, hence cond_resched() where intervals are freed.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "uremap.h"

struct uremap_interval {
	struct rb_node node;
	unsigned long start;
	unsigned long end;
};

static struct uremap_interval *uremap_interval(struct rb_node *node)
{
	return node ? rb_entry(node, struct uremap_interval, node) : NULL;
}

/* The first interval that ends at @addr or later. */
static struct uremap_interval *uremap_set_find(const struct uremap_set *set,
					       unsigned long addr)
{
	struct rb_node *node = set->root.rb_node;
	struct uremap_interval *found = NULL;

	while (node) {
		struct uremap_interval *iv = uremap_interval(node);

		if (iv->end >= addr) {
			found = iv;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

static void uremap_set_insert(struct uremap_set *set,
			      struct uremap_interval *new)
{
	struct rb_node **link = &set->root.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		if (new->start < uremap_interval(parent)->start)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &set->root);
}

/* How many intervals more if [start, end) is added?  Never too few. */
static unsigned int uremap_set_grows(const struct uremap_set *set,
				     unsigned long start, unsigned long end)
{
	const struct uremap_interval *iv = uremap_set_find(set, start);

	return !iv || iv->start > end;
}

/* How many if it is taken away?  One if it lies inside an interval. */
static unsigned int uremap_set_splits(const struct uremap_set *set,
				      unsigned long start, unsigned long end)
{
	const struct uremap_interval *iv = uremap_set_find(set, start + 1);

	return iv && iv->start < start && iv->end > end;
}

/* Add [start, end) with @spare as its interval; returns the change in number. */
static int uremap_set_add(struct uremap_set *set, struct uremap_interval *spare,
			  unsigned long start, unsigned long end)
{
	struct uremap_interval *iv = uremap_set_find(set, start);
	int change = 1;

	while (iv && iv->start <= end) {
		struct uremap_interval *next = uremap_interval(rb_next(&iv->node));

		start = min(start, iv->start);
		end = max(end, iv->end);
		rb_erase(&iv->node, &set->root);
		kfree(iv);
		change--;
		iv = next;
		cond_resched();
	}
	spare->start = start;
	spare->end = end;
	uremap_set_insert(set, spare);
	return change;
}

/* Take [start, end) away; uses @spare and sets it NULL if one is split. */
static int uremap_set_remove(struct uremap_set *set,
			     struct uremap_interval **spare,
			     unsigned long start, unsigned long end)
{
	struct uremap_interval *iv = uremap_set_find(set, start + 1);
	int change = 0;

	while (iv && iv->start < end) {
		struct uremap_interval *next = uremap_interval(rb_next(&iv->node));

		if (iv->start < start && iv->end > end) {
			(*spare)->start = end;
			(*spare)->end = iv->end;
			iv->end = start;
			uremap_set_insert(set, *spare);
			*spare = NULL;
			return 1;
		}
		if (iv->start < start) {
			iv->end = start;
		} else if (iv->end > end) {
			/* Still after its predecessor: the tree stays sorted. */
			iv->start = end;
		} else {
			rb_erase(&iv->node, &set->root);
			kfree(iv);
			change--;
		}
		iv = next;
		cond_resched();
	}
	return change;
}

/**
 * uremap_set_covers - is every byte of a range in the set?
 * @set:   the set
 * @start: first address
 * @end:   first address past the range, above @start
 *
 * Context: ctx->lock held, for reading at least.
 * Return: true if so.
 */
bool uremap_set_covers(const struct uremap_set *set, unsigned long start,
		       unsigned long end)
{
	const struct uremap_interval *iv = uremap_set_find(set, start + 1);

	return iv && iv->start <= start && iv->end >= end;
}

/**
 * uremap_set_narrow - what of a range around an address is in the set?
 * @set:   the set
 * @addr:  the address
 * @start: first address of the range; becomes that of the answer
 * @end:   first address past it; likewise
 *
 * Context: ctx->lock held, for reading at least.
 * Return: false, with nothing changed, if not even @addr is.
 */
bool uremap_set_narrow(const struct uremap_set *set, unsigned long addr,
		       unsigned long *start, unsigned long *end)
{
	const struct uremap_interval *iv = uremap_set_find(set, addr + 1);

	if (!iv || iv->start > addr)
		return false;
	*start = max(*start, iv->start);
	*end = min(*end, iv->end);
	return true;
}

/**
 * uremap_set_clear - make a set empty
 * @set: the set
 *
 * Context: nobody else uses the set; may sleep.
 */
void uremap_set_clear(struct uremap_set *set)
{
	struct uremap_interval *iv, *next;

	rbtree_postorder_for_each_entry_safe(iv, next, &set->root, node) {
		kfree(iv);
		cond_resched();
	}
	set->root = RB_ROOT;
}

static struct uremap_interval *uremap_interval_alloc(void)
{
	return kmalloc(sizeof(struct uremap_interval), GFP_KERNEL_ACCOUNT);
}

/* The usual case of one registration for all is worth knowing. */
static void uremap_ranges_note(struct uremap_ctx *ctx)
{
	unsigned long end = ctx->mm->task_size;

	ctx->all = uremap_set_covers(&ctx->src, 0, end) &&
		   uremap_set_covers(&ctx->dst, 0, end);
}

/**
 * uremap_register - give rights to a range
 * @ctx:    the context
 * @start:  first address
 * @end:    first address past the range
 * @rights: UREMAP_RANGE_* bits
 *
 * Context: may sleep; takes ctx->lock.
 * Return: 0; -ENOMEM or -ENOSPC with nothing changed; -EINTR if killed while
 *	moves kept the lock.
 */
int uremap_register(struct uremap_ctx *ctx, unsigned long start,
		    unsigned long end, u64 rights)
{
	struct uremap_interval *src = NULL, *dst = NULL;
	unsigned int grows = 0;
	int ret = -ENOMEM;

	if (rights & UREMAP_RANGE_SRC) {
		src = uremap_interval_alloc();
		if (!src)
			goto out_free;
	}
	if (rights & UREMAP_RANGE_DST) {
		dst = uremap_interval_alloc();
		if (!dst)
			goto out_free;
	}

	ret = down_write_killable(&ctx->lock);
	if (ret)
		goto out_free;
	if (src)
		grows += uremap_set_grows(&ctx->src, start, end);
	if (dst)
		grows += uremap_set_grows(&ctx->dst, start, end);
	ret = -ENOSPC;
	if (ctx->nr_ranges + grows > UREMAP_MAX_RANGES)
		goto out_unlock;
	if (src)
		ctx->nr_ranges += uremap_set_add(&ctx->src, src, start, end);
	if (dst)
		ctx->nr_ranges += uremap_set_add(&ctx->dst, dst, start, end);
	uremap_ranges_note(ctx);
	src = NULL;
	dst = NULL;
	ret = 0;
out_unlock:
	up_write(&ctx->lock);
out_free:
	kfree(src);
	kfree(dst);
	return ret;
}

/**
 * uremap_unregister - take rights from a range
 * @ctx:    the context
 * @start:  first address
 * @end:    first address past the range
 * @rights: UREMAP_RANGE_* bits
 *
 * Waits for the moves under way: when it returns none touches the range.
 *
 * Context: may sleep; takes ctx->lock.
 * Return: 0; -ENOMEM or -ENOSPC with nothing changed; -EINTR if killed while
 *	moves kept the lock.
 */
int uremap_unregister(struct uremap_ctx *ctx, unsigned long start,
		      unsigned long end, u64 rights)
{
	struct uremap_interval *src = uremap_interval_alloc();
	struct uremap_interval *dst = uremap_interval_alloc();
	unsigned int grows = 0;
	int ret = -ENOMEM;

	if (!src || !dst)
		goto out_free;
	ret = down_write_killable(&ctx->lock);
	if (ret)
		goto out_free;
	if (rights & UREMAP_RANGE_SRC)
		grows += uremap_set_splits(&ctx->src, start, end);
	if (rights & UREMAP_RANGE_DST)
		grows += uremap_set_splits(&ctx->dst, start, end);
	ret = -ENOSPC;
	if (ctx->nr_ranges + grows > UREMAP_MAX_RANGES)
		goto out_unlock;
	if (rights & UREMAP_RANGE_SRC)
		ctx->nr_ranges += uremap_set_remove(&ctx->src, &src, start, end);
	if (rights & UREMAP_RANGE_DST)
		ctx->nr_ranges += uremap_set_remove(&ctx->dst, &dst, start, end);
	uremap_ranges_note(ctx);
	ret = 0;
out_unlock:
	up_write(&ctx->lock);
out_free:
	kfree(src);
	kfree(dst);
	return ret;
}
