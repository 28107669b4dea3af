// SPDX-License-Identifier: GPL-2.0-only
/*
 * UFFDIO_MOVE, word for word.
 *
 * For programs that were written for it and know nothing else: the checks, their
 * order and errnos, what is written back and when, and who is woken, are those
 * of userfaultfd_move() in fs/userfaultfd.c (v6.12).  What it does better or
 * worse than a move of ours must not show here.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "batch.h"

/* struct uffdio_move, which headers before 6.8 lack */
struct uremap_uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};

static_assert(sizeof(struct uremap_uffdio_move) == 40);

static int uremap_uffdio_check(const struct uremap_mv *mv,
			       const struct uremap_uffdio_move *req)
{
	if (!uremap_uffd_is_of(mv->uffd->private_data, mv->mm))
		return -EINVAL;
	if (uremap_range_check(mv->mm, req->dst, req->len) ||
	    uremap_range_check(mv->mm, req->src, req->len))
		return -EINVAL;
	if (req->mode & ~(UREMAP_MOVE_DONTWAKE | UREMAP_MOVE_ALLOW_SRC_HOLES))
		return -EINVAL;
	return 0;
}

static long uremap_uffdio_run(struct uremap_mv *mv,
			      struct uremap_uffdio_move __user *arg,
			      void __user *room)
{
	struct uremap_segment *seg = mv->segs;
	struct uremap_uffdio_move req;
	int err;

	switch (uremap_uffd_ask(mv->uffd)) {
	case -EINVAL:
		return -EINVAL;
	case -EAGAIN:
		return put_user((s64)-EAGAIN, &arg->move) ? -EFAULT : -EAGAIN;
	}
	if (copy_from_user(&req, arg, offsetof(typeof(req), move)))
		return -EFAULT;
	err = uremap_uffdio_check(mv, &req);
	if (err)
		return err;
	/* Where nothing can be written nobody can be woken. */
	if (!(req.mode & UREMAP_MOVE_DONTWAKE) &&
	    clear_user(room, sizeof_field(struct uremap_uffd_move, room)))
		return -EFAULT;

	seg->dst = req.dst;
	seg->src = req.src;
	seg->len = req.len;
	mv->mode = req.mode;
	uremap_move(mv);
	if (put_user(seg->move, &arg->move))
		return -EFAULT;
	if (seg->move < 0)
		return seg->move;
	/* Holes, too: whoever waits there counts on having another fault. */
	err = uremap_wake_all(mv, room, seg->dst, seg->move);
	if (err)
		return err;
	return (u64)seg->move == seg->len ? 0 : -EAGAIN;
}

/**
 * uremap_uffdio_move - do what ioctl(@fd, UFFDIO_MOVE, @arg) does
 * @ctx:  the context; its registrations count, what is attached does not
 * @fd:   descriptor of a userfaultfd
 * @arg:  the struct uffdio_move
 * @room: memory of the caller, room for a struct uffdio_range
 *
 * Context: process context of the address space; may sleep.
 * Return: what UFFDIO_MOVE returns; -EBADF if @fd is no userfaultfd.
 */
long uremap_uffdio_move(struct uremap_ctx *ctx, int fd, void __user *arg,
			void __user *room)
{
	struct uremap_segment seg = { };
	struct uremap_mv mv = {
		.ctx = ctx,
		.mm = ctx->mm,
		.strict = true,
		.segs = &seg,
		.nr_segs = 1,
	};
	long ret;

	mv.uffd = uremap_uffd_fget(fd);
	if (!mv.uffd)
		return -EBADF;
	mv.scratch = uremap_scratch_get();
	ret = uremap_uffdio_run(&mv, arg, room);
	uremap_scratch_put(mv.scratch);
	uremap_uffd_put(&mv);
	return ret;
}
