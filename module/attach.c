// SPDX-License-Identifier: GPL-2.0-only
/*
 * Working together with a userfaultfd.
 *
 * What can be is done through its own file operations: its context is private
 * to the kernel before 6.9, and its waiters can be woken no other way.
 *
 * Attaching takes no reference to the file.  A userfaultfd unregisters its
 * ranges and lets its waiters go when its last reference does, and an open
 * /dev/uremap must not put that off.  What is kept is the descriptor, looked up
 * again for each move, and its context as a mere value: the destination's VMAs
 * have to carry the same value, so a stranger's userfaultfd never gets to see a
 * move whatever the descriptor has become.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd.h>
#include <linux/userfaultfd_k.h>

#include "batch.h"
#include "sym.h"

static bool uremap_is_uffd(struct file *file)
{
	return file->f_op == uremap_userfaultfd_fops;
}

/**
 * uremap_uffd_fget - a userfaultfd by its number
 * @fd: descriptor of the caller
 *
 * Context: process context.
 * Return: the file, referenced, or NULL if it is no userfaultfd.
 */
struct file *uremap_uffd_fget(int fd)
{
	struct file *file = fget(fd);

	if (!file || uremap_is_uffd(file))
		return file;
	fput(file);
	return NULL;
}

/**
 * uremap_uffd_ask - may the memory of a userfaultfd be changed now?
 * @file: the userfaultfd
 *
 * Where its structure cannot be seen: a write-protect request looks first at
 * whether the layout is changing, and then reads its argument, which is none
 * here.  Unlike its siblings it has no field to report into, so it only looks.
 *
 * Context: process context; mmap_lock may be held.
 * Return: -EINVAL if it has not been through UFFDIO_API, -EAGAIN if the layout
 *	is changing, something else if neither.
 */
long uremap_uffd_ask(struct file *file)
{
#ifdef UREMAP_UFFD_VISIBLE
	if (!uremap_uffd_ready(file->private_data))
		return -EINVAL;
	return uremap_uffd_changing(file->private_data) ? -EAGAIN : 0;
#else
	long ret;

	/* It will not fault in anything, which the debug checks cannot know. */
	pagefault_disable();
	ret = file->f_op->unlocked_ioctl(file, UFFDIO_WRITEPROTECT,
					 (unsigned long)ERR_PTR(-PAGE_SIZE));
	pagefault_enable();
	return ret;
#endif
}

/* The attached userfaultfd, referenced, if its descriptor still stands for it. */
static struct file *uremap_uffd_attached(const struct uremap_ctx *ctx)
{
	struct file *file = fget(ctx->uffd_fd);

	if (file && uremap_is_uffd(file) && file->private_data == ctx->uffd)
		return file;
	if (file)
		fput(file);
	return NULL;
}

/*
 * Is another one attached, and still there?  The same one may be attached anew,
 * by another descriptor perhaps; and a new one may have its number and address.
 */
static bool uremap_uffd_other(const struct uremap_ctx *ctx, const void *uffd)
{
	struct file *file = NULL;

	if (ctx->uffd && ctx->uffd != uffd)
		file = uremap_uffd_attached(ctx);
	if (file)
		fput(file);
	return file;
}

/**
 * uremap_attach - bind a userfaultfd to a context, or none
 * @ctx: the context
 * @fd:  descriptor of the userfaultfd, -1 to detach
 *
 * Context: may sleep; takes ctx->lock.
 * Return: 0; -EBADF if @fd is not open, -EINVAL if it is no userfaultfd, not
 *	initialised, or another process's, -EBUSY if another one is attached,
 *	-EINTR if killed while moves kept the lock.
 */
int uremap_attach(struct uremap_ctx *ctx, int fd)
{
	void *uffd = NULL;
	int err;

	if (fd != -1) {
		struct file *file = fget(fd);

		if (!file)
			return -EBADF;
		if (uremap_is_uffd(file) && uremap_uffd_ask(file) != -EINVAL &&
		    uremap_uffd_is_of(file->private_data, ctx->mm))
			uffd = file->private_data;
		fput(file);
		if (!uffd)
			return -EINVAL;
	}

	err = down_write_killable(&ctx->lock);
	if (err)
		return err;
	if (uffd && uremap_uffd_other(ctx, uffd)) {
		err = -EBUSY;
	} else {
		ctx->uffd = uffd;
		ctx->uffd_fd = fd;
	}
	up_write(&ctx->lock);
	return err;
}

/**
 * uremap_uffd_get - get hold of the attached userfaultfd for a move
 * @mv: the move
 *
 * Context: ctx->lock held for reading.
 * Return: false if it is gone; true if not, or if none is attached.
 */
bool uremap_uffd_get(struct uremap_mv *mv)
{
	if (!mv->ctx->uffd || mv->uffd)
		return true;
	mv->uffd = uremap_uffd_attached(mv->ctx);
	return mv->uffd;
}

/**
 * uremap_uffd_put - undo uremap_uffd_get()
 * @mv: the move
 *
 * Context: no lock held.
 */
void uremap_uffd_put(struct uremap_mv *mv)
{
	if (mv->uffd)
		fput(mv->uffd);
	mv->uffd = NULL;
}

/**
 * uremap_uffd_begin - may a move take a step now, as far as the userfaultfd knows?
 * @mv: the move
 *
 * A monitor that follows forks, remaps and removals is told of them after they
 * have begun, and until it has read the news what it asks for may be based on
 * an old layout (C30).  From 6.9 the state is raised under a lock of the
 * userfaultfd, so that no step that began before is seen to end after the news.
 * Before, under the mmap lock: but for a removal, which holds it for reading,
 * as UFFDIO_COPY of these kernels has it, too.
 *
 * Context: one is attached, mmap_lock held; may sleep.
 * Return: 0, or -EAGAIN with the reason recorded; uremap_uffd_end() either way.
 */
int uremap_uffd_begin(struct uremap_mv *mv)
{
	uremap_uffd_lock(mv->uffd->private_data);
	if (uremap_uffd_ask(mv->uffd) != -EAGAIN)
		return 0;
	return uremap_stop_dst(mv, -EAGAIN, UREMAP_REASON_CHANGING);
}

/**
 * uremap_uffd_end - undo uremap_uffd_begin()
 * @mv: the move
 *
 * Context: one is attached, mmap_lock held.
 */
void uremap_uffd_end(struct uremap_mv *mv)
{
	uremap_uffd_unlock(mv->uffd->private_data);
}

static int uremap_wake_run(struct uremap_mv *mv, void __user *scratch,
			   unsigned long start, unsigned long end)
{
	struct uffdio_range range = { .start = start, .len = end - start };

	if (copy_to_user(scratch, &range, sizeof(range)))
		return -EFAULT;
	mv->uffd->f_op->unlocked_ioctl(mv->uffd, UFFDIO_WAKE,
				       (unsigned long)scratch);
	return 0;
}

/**
 * uremap_wake_all - let go all that wait anywhere in a range
 * @mv:      the move
 * @scratch: memory of the caller, room for a struct uffdio_range
 * @start:   first address
 * @len:     bytes, not 0
 *
 * Context: no lock held; may sleep.
 * Return: 0, or -EFAULT if @scratch cannot be written.
 */
int uremap_wake_all(struct uremap_mv *mv, void __user *scratch,
		    unsigned long start, unsigned long len)
{
	if (mv->mode & UREMAP_MOVE_DONTWAKE)
		return 0;
	return uremap_wake_run(mv, scratch, start, start + len);
}

/**
 * uremap_note_hole - remember that nothing came to a part of the destination
 * @mv:    the move, inside the segment
 * @start: first address
 * @len:   bytes
 *
 * What the page tables show in the end does not tell: what a move brought may have
 * gone again, with somebody still waiting for it (C29).
 *
 * Context: any.
 */
void uremap_note_hole(struct uremap_mv *mv, unsigned long start,
		      unsigned long len)
{
	struct uremap_passed *passed = mv->scratch->passed + mv->nr_passed;

	if (!mv->uffd)
		return;
	if (mv->nr_passed && passed[-1].seg == mv->cur &&
	    passed[-1].end == start) {
		passed[-1].end += len;
	} else if (mv->nr_passed < UREMAP_MAX_PASSED) {
		passed->start = start;
		passed->end = start + len;
		passed->seg = mv->cur;
		mv->nr_passed++;
	}
}

/*
 * If there were holes among what was done only what lies between them is woken: who
 * waits at a hole would fault again at once, and again be woken.
 */
static int uremap_wake_between_holes(struct uremap_mv *mv, void __user *scratch,
				     unsigned int seg, unsigned long start,
				     unsigned long end)
{
	const struct uremap_passed *hole = mv->scratch->passed;
	unsigned int i;
	int err = 0;

	for (i = 0; i < mv->nr_passed && !err; i++, hole++) {
		if (hole->seg != seg)
			continue;
		if (start < hole->start)
			err = uremap_wake_run(mv, scratch, start, hole->start);
		start = hole->end;
	}
	if (!err && start < end)
		err = uremap_wake_run(mv, scratch, start, end);
	return err;
}

static int uremap_wake_segment(struct uremap_mv *mv, void __user *scratch,
			       unsigned int k)
{
	const struct uremap_segment *seg = &mv->segs[k];
	u64 done = seg->move > 0 ? seg->move : 0;
	int err = 0;

	if (done > seg->holes)
		err = uremap_wake_between_holes(mv, scratch, k, seg->dst,
						seg->dst + done);
	if (!err && seg->reason == UREMAP_REASON_DST_BUSY)
		err = uremap_wake_run(mv, scratch, seg->stop,
				      seg->stop + PAGE_SIZE);
	return err;
}

/**
 * uremap_wake - let threads go that wait for what a move has brought
 * @mv:      the move, ended
 * @scratch: memory of the caller, room for a struct uffdio_range
 *
 * Includes those that wait for a page the move found in place already: whoever
 * put it there may have done so before they began to wait.
 *
 * Context: no lock held; may sleep.
 * Return: 0, or -EFAULT if @scratch cannot be written.
 */
int uremap_wake(struct uremap_mv *mv, void __user *scratch)
{
	unsigned int i;
	int err = 0;

	if (!mv->uffd || (mv->mode & UREMAP_MOVE_DONTWAKE))
		return 0;
	for (i = 0; i < mv->cur && !err; i++)
		err = uremap_wake_segment(mv, scratch, i);
	return err;
}
