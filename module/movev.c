// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls that move: MOVE is one segment, MOVEV any number of them.
 *
 * Segments are read in groups before the first lock and their results written
 * after the last, so that no user memory is touched under a lock (C25).
 */
#include <linux/uaccess.h>

#include "batch.h"

/**
 * uremap_move_one - move what a MOVE asks for
 * @ctx:   the context
 * @mode:  UREMAP_MOVE_* bits
 * @seg:   the request; results go here
 * @head:  bytes of it that are done
 * @umove: the caller's structure; the reserved words of it serve for waking
 *
 * Context: process context of the address space; may sleep.
 * Return: what the ioctl does.
 */
long uremap_move_one(struct uremap_ctx *ctx, u64 mode,
		     struct uremap_segment *seg, unsigned long head,
		     struct uremap_move __user *umove)
{
	struct uremap_mv mv = {
		.ctx = ctx,
		.mm = ctx->mm,
		.mode = mode,
		.segs = seg,
		.nr_segs = 1,
		.head = head,
		.scratch = uremap_scratch_get(),
	};
	int err = 0;

	uremap_move(&mv);
	if (unlikely(mv.uffd)) {
		err = uremap_wake(&mv, umove->reserved);
		uremap_uffd_put(&mv);
	}
	uremap_scratch_put(mv.scratch);
	if (err)
		return err;
	return seg->error && seg->move > 0 ? -EAGAIN : -(long)seg->error;
}

/**
 * uremap_ioctl_move - UREMAP_IOC_MOVE with a structure of any size
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
	long ret;

	if (move->reserved[0] || move->reserved[1])
		return -EINVAL;

	ret = uremap_move_one(ctx, move->mode, &seg, 0, uarg);
	move->move = seg.move;
	move->moved = uremap_seg_moved(&seg);
	move->holes = seg.holes;
	move->healed = seg.healed;
	move->stop = seg.stop;
	move->reason = seg.reason;
	move->error = seg.error;
	return ret;
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

/*
 * Results that cannot be given are found out before anything moves.  What has been
 * read is mapped, so one word of each page, written back, tells.
 */
static int uremap_segs_probe(const struct uremap_segment *segs, unsigned int nr,
			     void __user *user, size_t size)
{
	struct uremap_segment __user *first = user;
	struct uremap_segment __user *last = user + (nr - 1) * size;

	if (size != sizeof(*segs))
		return uremap_segs_write(segs, nr, user, size);
	BUILD_BUG_ON(UREMAP_SEG_GROUP * sizeof(*segs) > PAGE_SIZE);
	if (put_user(segs->dst, &first->dst) ||
	    put_user(segs[nr - 1].error, &last->error))
		return -EFAULT;
	return 0;
}

/* One group: returns a negative errno if user memory fails. */
static int uremap_movev_group(struct uremap_mv *mv, void __user *user,
			      size_t size, void __user *wake)
{
	unsigned int nr = mv->nr_segs;
	int err, werr;

	/* None of this group is done if it cannot be read. */
	mv->cur = 0;
	err = uremap_segs_read(mv->segs, nr, user, size);
	if (!err)
		err = uremap_segs_probe(mv->segs, nr, user, size);
	if (err)
		return err;
	uremap_move(mv);
	err = uremap_wake(mv, wake);
	uremap_uffd_put(mv);
	werr = uremap_segs_write(mv->segs, mv->cur, user, size);
	/* They may have lain in what was moved: none of them has results. */
	if (werr)
		mv->cur = 0;
	return err ? err : werr;
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

	movev->done = 0;
	movev->move = 0;
	err = uremap_movev_check(movev);
	if (err)
		return err;
	mv.scratch = uremap_scratch_get();
	if (!mv.scratch)
		return -ENOMEM;
	mv.segs = mv.scratch->segs;

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
	uremap_scratch_put(mv.scratch);

	movev->done = done;
	movev->move = mv.total;
	if (err)
		return mv.total ? -EAGAIN : err;
	if (!mv.nr_failed)
		return 0;
	return mv.total ? -EAGAIN : mv.first_err;
}

/* As uremap_move_get(): read it, and find out whether it can be written. */
static int uremap_movev_get(struct uremap_movev __user *umovev,
			    struct uremap_movev *movev)
{
	if (!user_access_begin(umovev, sizeof(*umovev)))
		return -EFAULT;
	unsafe_get_user(movev->segs, &umovev->segs, err_fault);
	unsafe_get_user(movev->nr, &umovev->nr, err_fault);
	unsafe_get_user(movev->seg_size, &umovev->seg_size, err_fault);
	unsafe_get_user(movev->mode, &umovev->mode, err_fault);
	unsafe_get_user(movev->flags, &umovev->flags, err_fault);
	unsafe_get_user(movev->done, &umovev->done, err_fault);
	unsafe_get_user(movev->move, &umovev->move, err_fault);
	unsafe_get_user(movev->reserved[0], &umovev->reserved[0], err_fault);
	unsafe_get_user(movev->reserved[1], &umovev->reserved[1], err_fault);
	unsafe_put_user(movev->segs, &umovev->segs, err_fault);
	unsafe_put_user(movev->reserved[1], &umovev->reserved[1], err_fault);
	user_access_end();
	return 0;

err_fault:
	user_access_end();
	return -EFAULT;
}

/* The reserved words as well: waking has used them. */
static int uremap_movev_put(struct uremap_movev __user *umovev,
			    const struct uremap_movev *movev)
{
	if (!user_access_begin(umovev, sizeof(*umovev)))
		return -EFAULT;
	unsafe_put_user(movev->done, &umovev->done, err_fault);
	unsafe_put_user(movev->move, &umovev->move, err_fault);
	unsafe_put_user(movev->reserved[0], &umovev->reserved[0], err_fault);
	unsafe_put_user(movev->reserved[1], &umovev->reserved[1], err_fault);
	user_access_end();
	return 0;

err_fault:
	user_access_end();
	return -EFAULT;
}

/**
 * uremap_ioctl_movev_exact - UREMAP_IOC_MOVEV with the structure we know
 * @ctx:    the context
 * @umovev: the caller's structure
 *
 * Context: process context; may sleep.
 * Return: as uremap_ioctl_movev().
 */
long uremap_ioctl_movev_exact(struct uremap_ctx *ctx,
			      struct uremap_movev __user *umovev)
{
	struct uremap_movev movev;
	long ret;
	int err;

	err = uremap_ctx_check_mm(ctx);
	if (!err)
		err = uremap_movev_get(umovev, &movev);
	if (err)
		return err;
	ret = uremap_ioctl_movev(ctx, &movev, umovev);
	return uremap_movev_put(umovev, &movev) ? -EFAULT : ret;
}
