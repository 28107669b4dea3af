// SPDX-License-Identifier: GPL-2.0-only
/*
 * Module init and exit, and the device /dev/uremap.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "sym.h"
#include "uremap.h"

static int uremap_open(struct inode *inode, struct file *file)
{
	struct uremap_ctx *ctx;

	/* Opened by a kernel thread there is no address space to act on. */
	if (!current->mm)
		return -EINVAL;
	ctx = uremap_ctx_create(current->mm);
	if (!ctx)
		return -ENOMEM;
	file->private_data = ctx;
	return 0;
}

static int uremap_release(struct inode *inode, struct file *file)
{
	uremap_ctx_destroy(file->private_data);
	return 0;
}

static void uremap_show_fdinfo(struct seq_file *m, struct file *file)
{
	uremap_ctx_show(file->private_data, m);
}

static const struct file_operations uremap_fops = {
	.owner = THIS_MODULE,
	.open = uremap_open,
	.release = uremap_release,
	.unlocked_ioctl = uremap_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = uremap_show_fdinfo,
	.llseek = noop_llseek,
};

/*
 * The file mode is the whole access control, as for /dev/userfaultfd: who may
 * open the device may move the pages of its own address space.
 */
static struct miscdevice uremap_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &uremap_fops,
	.mode = 0600,
};

static int __init uremap_init(void)
{
	int err;

	err = uremap_sym_init();
	if (err)
		return err;
	err = uremap_rmap_init();
	if (err)
		return err;
	err = uremap_stats_init();
	if (err)
		goto err_rmap;
	err = misc_register(&uremap_device);
	if (err)
		goto err_stats;

	pr_info("version %s loaded\n", UREMAP_VERSION);
	return 0;

err_stats:
	uremap_stats_exit();
err_rmap:
	uremap_rmap_exit();
	return err;
}

static void __exit uremap_exit(void)
{
	misc_deregister(&uremap_device);
	uremap_stats_exit();
	uremap_rmap_exit();
	uremap_scratch_exit();
}

module_init(uremap_init);
module_exit(uremap_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The uremap authors");
MODULE_DESCRIPTION("Move anonymous memory between address ranges without copying");
MODULE_VERSION(UREMAP_VERSION);
