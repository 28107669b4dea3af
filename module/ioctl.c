// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioctl dispatch: sizes, reserved fields, and the way in and out of user space.
 *
 * The number of an ioctl selects it, the size in the command is the caller's.
 * All user memory is read before the first lock and written after the last.
 */
#include <linux/build_bug.h>
#include <linux/fs.h>
#include <linux/uaccess.h>

#include "uremap.h"

union uremap_arg {
	struct uremap_info info;
	struct uremap_range range;
	struct uremap_attach attach;
	struct uremap_move move;
	struct uremap_movev movev;
	struct uremap_uffd_move uffd_move;
};

static_assert(sizeof(struct uremap_info) == 56);
static_assert(offsetof(struct uremap_info, features) == 8);
static_assert(offsetof(struct uremap_info, va_end) == 32);
static_assert(offsetof(struct uremap_info, max_segments) == 52);
static_assert(sizeof(struct uremap_range) == 32);
static_assert(offsetof(struct uremap_range, reserved) == 24);
static_assert(sizeof(struct uremap_attach) == 16);
static_assert(offsetof(struct uremap_attach, reserved) == 8);
static_assert(sizeof(struct uremap_move) == 96);
static_assert(offsetof(struct uremap_move, move) == 32);
static_assert(offsetof(struct uremap_move, reason) == 72);
static_assert(offsetof(struct uremap_move, reserved) == 80);
static_assert(sizeof(struct uremap_segment) == 64);
static_assert(offsetof(struct uremap_segment, reason) == 56);
static_assert(sizeof(struct uremap_movev) == 56);
static_assert(offsetof(struct uremap_movev, reserved) == 40);
static_assert(sizeof(struct uremap_uffd_move) == 32);
static_assert(offsetof(struct uremap_uffd_move, room) == 16);

struct uremap_ioctl {
	unsigned int cmd;
	size_t min_size;
	bool any_mm;
	long (*fn)(struct uremap_ctx *ctx, union uremap_arg *arg,
		   void __user *uarg);
};

#define UREMAP_IOCTL_BIT(cmd)	(1ULL << _IOC_NR(cmd))
#define UREMAP_IOCTLS	(UREMAP_IOCTL_BIT(UREMAP_IOC_INFO) | \
			 UREMAP_IOCTL_BIT(UREMAP_IOC_REGISTER) | \
			 UREMAP_IOCTL_BIT(UREMAP_IOC_UNREGISTER) | \
			 UREMAP_IOCTL_BIT(UREMAP_IOC_ATTACH) | \
			 UREMAP_IOCTL_BIT(UREMAP_IOC_MOVE) | \
			 UREMAP_IOCTL_BIT(UREMAP_IOC_MOVEV) | \
			 UREMAP_IOCTL_BIT(UREMAP_IOC_UFFD_MOVE))

static long uremap_ioctl_info(struct uremap_ctx *ctx, union uremap_arg *arg,
			      void __user *uarg)
{
	struct uremap_info *info = &arg->info;

	if (info->reserved)
		return -EINVAL;

	*info = (struct uremap_info) {
		.abi = UREMAP_ABI_VERSION,
		.features = UREMAP_FEATURES,
		.modes = UREMAP_MODES,
		.va_end = ctx->mm->task_size,
		.page_size = PAGE_SIZE,
		.huge_size = PMD_SIZE,
		.max_ranges = UREMAP_MAX_RANGES,
		.max_segments = UREMAP_MAX_SEGMENTS,
		.ioctls = UREMAP_IOCTLS,
	};
	return 0;
}

static int uremap_check_range_arg(struct uremap_ctx *ctx,
				  const struct uremap_range *range)
{
	if (range->reserved || !range->rights ||
	    range->rights & ~(UREMAP_RANGE_SRC | UREMAP_RANGE_DST))
		return -EINVAL;
	return uremap_range_check(ctx->mm, range->start, range->len);
}

static long uremap_ioctl_register(struct uremap_ctx *ctx,
				  union uremap_arg *arg, void __user *uarg)
{
	struct uremap_range *range = &arg->range;
	int err = uremap_check_range_arg(ctx, range);

	if (err)
		return err;
	return uremap_register(ctx, range->start, range->start + range->len,
			       range->rights);
}

static long uremap_ioctl_unregister(struct uremap_ctx *ctx,
				    union uremap_arg *arg, void __user *uarg)
{
	struct uremap_range *range = &arg->range;
	int err = uremap_check_range_arg(ctx, range);

	if (err)
		return err;
	return uremap_unregister(ctx, range->start, range->start + range->len,
				 range->rights);
}

static long uremap_ioctl_attach(struct uremap_ctx *ctx, union uremap_arg *arg,
				void __user *uarg)
{
	struct uremap_attach *attach = &arg->attach;

	if (attach->flags || attach->reserved)
		return -EINVAL;
	return uremap_attach(ctx, attach->uffd);
}

static long uremap_do_move(struct uremap_ctx *ctx, union uremap_arg *arg,
			   void __user *uarg)
{
	return uremap_ioctl_move(ctx, &arg->move, uarg);
}

static long uremap_do_movev(struct uremap_ctx *ctx, union uremap_arg *arg,
			    void __user *uarg)
{
	return uremap_ioctl_movev(ctx, &arg->movev, uarg);
}

static long uremap_do_uffd_move(struct uremap_ctx *ctx,
				union uremap_arg *arg, void __user *uarg)
{
	struct uremap_uffd_move *req = &arg->uffd_move;

	if (req->reserved)
		return -EINVAL;
	return uremap_uffdio_move(ctx, req->uffd, u64_to_user_ptr(req->arg),
				  uarg + offsetof(typeof(*req), room));
}

/* Sizes of the first release: what is shorter has never existed. */
static const struct uremap_ioctl uremap_ioctls[] = {
	{ UREMAP_IOC_MOVE, 96, false, uremap_do_move },
	{ UREMAP_IOC_MOVEV, 56, false, uremap_do_movev },
	{ UREMAP_IOC_UFFD_MOVE, 32, false, uremap_do_uffd_move },
	{ UREMAP_IOC_INFO, 56, true, uremap_ioctl_info },
	{ UREMAP_IOC_REGISTER, 32, false, uremap_ioctl_register },
	{ UREMAP_IOC_UNREGISTER, 32, false, uremap_ioctl_unregister },
	{ UREMAP_IOC_ATTACH, 16, false, uremap_ioctl_attach },
};

static const struct uremap_ioctl *uremap_ioctl_find(unsigned int cmd)
{
	const unsigned int size_bits = _IOC_SIZEMASK << _IOC_SIZESHIFT;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(uremap_ioctls); i++)
		if (!((uremap_ioctls[i].cmd ^ cmd) & ~size_bits))
			return &uremap_ioctls[i];
	return NULL;
}

/* Any ioctl, with a structure of any size. */
static noinline long uremap_ioctl_any(struct uremap_ctx *ctx, unsigned int cmd,
				      void __user *uarg)
{
	size_t usize = _IOC_SIZE(cmd), ksize;
	const struct uremap_ioctl *op;
	union uremap_arg karg;
	long ret;
	int err;

	op = uremap_ioctl_find(cmd);
	if (!op)
		return -ENOTTY;
	ksize = _IOC_SIZE(op->cmd);
	if (usize < op->min_size)
		return -EINVAL;
	err = copy_struct_from_user(&karg, ksize, uarg, usize);
	if (err)
		return err;
	if (!op->any_mm) {
		err = uremap_ctx_check_mm(ctx);
		if (err)
			return err;
	}
	if (!(_IOC_DIR(op->cmd) & _IOC_READ))
		return op->fn(ctx, &karg, uarg);

	/* An answer that cannot be given is found out before anything moves. */
	if (copy_to_user(uarg, &karg, min(usize, ksize)))
		return -EFAULT;
	ret = op->fn(ctx, &karg, uarg);
	if (copy_to_user(uarg, &karg, min(usize, ksize)))
		return -EFAULT;
	return ret;
}

/**
 * uremap_ioctl - every ioctl of the device
 * @file: the open device
 * @cmd:  what to do; the size in it is that of the caller's structure
 * @arg:  the caller's structure
 *
 * Context: process context; may sleep.
 * Return: 0 or a negative errno; see <linux/uremap.h>.
 */
long uremap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct uremap_ctx *ctx = file->private_data;

	if (likely(cmd == UREMAP_IOC_MOVE))
		return uremap_ioctl_move_exact(ctx, (void __user *)arg);
	if (likely(cmd == UREMAP_IOC_MOVEV))
		return uremap_ioctl_movev_exact(ctx, (void __user *)arg);
	return uremap_ioctl_any(ctx, cmd, (void __user *)arg);
}
