// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls that move: MOVE is one segment, MOVEV any number of them.
 *
 * Segments are read in groups before the first lock and their results written
 * after the last, so that no user memory is touched under a lock (C25).
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "batch.h"

/* Segments read, moved and written back at a time; as many as share a flush. */
#define UREMAP_SEG_GROUP	UREMAP_MAX_RUNS

/**
 * uremap_ioctl_move - UREMAP_IOC_MOVE
 * @ctx:  the context
 * @move: the caller's structure, copied; results go here
 * @uarg: where it came from
 *
 * Context: process context of the address space; may sleep.
 * Return: 0, or a negative errno as UFFDIO_MOVE has it.
 */
long uremap_ioctl_move(struct uremap_ctx *ctx, struct uremap_move *move,
		       void __user *uarg)
{
	struct uremap_segment seg = {
		.dst = move->dst,
		.src = move->src,
		.len = move->len,
	};
	struct uremap_mv mv = {
		.ctx = ctx,
		.mm = ctx->mm,
		.mode = move->mode,
		.segs = &seg,
		.nr_segs = 1,
	};
	int err;

	if (move->reserved[0] || move->reserved[1])
		return -EINVAL;

	uremap_move(&mv);
	/* The reserved words of the caller's structure serve as scratch. */
	err = uremap_wake(&mv, uarg + offsetof(struct uremap_move, reserved));
	uremap_uffd_put(&mv);
	if (err)
		return err;

	move->move = seg.move;
	move->moved = seg.move > 0 ? seg.move - seg.holes : 0;
	move->holes = seg.holes;
	move->healed = seg.healed;
	move->stop = seg.stop;
	move->reason = seg.reason;
	move->error = seg.error;
	return seg.error && seg.move > 0 ? -EAGAIN : -(long)seg.error;
}

static int uremap_segs_read(struct uremap_segment *segs, unsigned int nr,
			    const void __user *user, size_t size)
{
	unsigned int i;
	int err;

	if (size == sizeof(*segs))
		return copy_from_user(segs, user, nr * size) ? -EFAULT : 0;
	for (i = 0; i < nr; i++) {
		err = copy_struct_from_user(&segs[i], sizeof(*segs),
					    user + i * size, size);
		if (err)
			return err;
	}
	return 0;
}

static int uremap_segs_write(const struct uremap_segment *segs,
			     unsigned int nr, void __user *user, size_t size)
{
	unsigned int i;

	if (size == sizeof(*segs))
		return copy_to_user(user, segs, nr * size) ? -EFAULT : 0;
	for (i = 0; i < nr; i++)
		if (copy_to_user(user + i * size, &segs[i], sizeof(*segs)))
			return -EFAULT;
	return 0;
}

/* One group: returns a negative errno if user memory fails. */
static int uremap_movev_group(struct uremap_mv *mv, void __user *user,
			      size_t size, void __user *wake)
{
	unsigned int nr = mv->nr_segs;
	int err;

	err = uremap_segs_read(mv->segs, nr, user, size);
	/* Results that cannot be given are found out before anything moves. */
	if (!err)
		err = uremap_segs_write(mv->segs, nr, user, size);
	if (err)
		return err;
	mv->cur = 0;
	uremap_move(mv);
	err = uremap_wake(mv, wake);
	uremap_uffd_put(mv);
	if (!err)
		err = uremap_segs_write(mv->segs, mv->cur, user, size);
	return err;
}

static int uremap_movev_check(const struct uremap_movev *movev)
{
	if (movev->reserved[0] || movev->reserved[1] ||
	    movev->flags & ~UREMAP_MOVEV_CONTINUE ||
	    movev->mode & ~UREMAP_MODES)
		return -EINVAL;
	if (!movev->nr || movev->nr > UREMAP_MAX_SEGMENTS)
		return -EINVAL;
	if (movev->seg_size < sizeof(struct uremap_segment) ||
	    movev->seg_size > PAGE_SIZE)
		return -EINVAL;
	return 0;
}

/**
 * uremap_ioctl_movev - UREMAP_IOC_MOVEV
 * @ctx:   the context
 * @movev: the caller's structure, copied; results go here
 * @uarg:  where it came from
 *
 * Context: process context of the address space; may sleep.
 * Return: 0 if every segment is done; -EAGAIN if something is; else the
 *	negative errno of the first segment, or of the call itself.
 */
long uremap_ioctl_movev(struct uremap_ctx *ctx, struct uremap_movev *movev,
			void __user *uarg)
{
	void __user *user = u64_to_user_ptr(movev->segs);
	struct uremap_mv mv = {
		.ctx = ctx,
		.mm = ctx->mm,
		.mode = movev->mode,
		.go_on = movev->flags & UREMAP_MOVEV_CONTINUE,
	};
	unsigned int done = 0;
	int err;

	err = uremap_movev_check(movev);
	if (err)
		return err;
	mv.segs = kmalloc_array(UREMAP_SEG_GROUP, sizeof(*mv.segs), GFP_KERNEL);
	if (!mv.segs)
		return -ENOMEM;

	while (!err && done < movev->nr) {
		mv.nr_segs = min_t(unsigned int, movev->nr - done,
				   UREMAP_SEG_GROUP);
		err = uremap_movev_group(&mv, user, movev->seg_size,
					 uarg + offsetof(struct uremap_movev,
							 reserved));
		done += mv.cur;
		user += (size_t)mv.cur * movev->seg_size;
		if (mv.cur < mv.nr_segs || (mv.nr_failed && !mv.go_on))
			break;
	}
	kfree(mv.segs);

	movev->done = done;
	movev->move = mv.total;
	if (err)
		return mv.total ? -EAGAIN : err;
	if (!mv.nr_failed)
		return 0;
	return mv.total ? -EAGAIN : mv.first_err;
}
