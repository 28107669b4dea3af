// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mistakes, one of each kind that a debug kernel is there to see.  What is written
 * to /proc/mistakes is made.  For test/qemu/reports, on a kernel nobody needs any more.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>

/* Nothing the compiler knows. */
static int forty = 40;

static void beyond(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	if (p)
		(void)READ_ONCE(p[READ_ONCE(forty) + 24]);
	kfree(p);
}

static void freed(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	if (p)
		(void)READ_ONCE(*p);
}

static void leaked(void)
{
	char *p = kmalloc(96, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1);
}

static void shifted(void)
{
	static int one = 1;

	WRITE_ONCE(one, one << READ_ONCE(forty));
}

static void added_twice(void)
{
	static LIST_HEAD(head);
	static struct list_head entry;

	list_add(&entry, &head);
	list_add(&entry, &head);
}

static void never(struct timer_list *timer)
{
}

static void active(void)
{
	struct timer_list *timer = kmalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, never, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	kfree(timer);
}

static void revived(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static void asleep(void)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
}

static void migrating(void)
{
	(void)smp_processor_id();
}

static void unprotected(void)
{
	static void __rcu *pointer;

	(void)rcu_dereference_protected(pointer, false);
}

static void unowned(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	set_page_count(page, 0);
	get_page(page);
}

static pte_t *entry(unsigned long addr)
{
	p4d_t *p4d = p4d_offset(pgd_offset(current->mm, addr), addr);

	return pte_offset_kernel(pmd_offset(pud_offset(p4d, addr), addr), addr);
}

/* One page in two places, for writing. */
static void mapped_twice(void)
{
	unsigned long addr = vm_mmap(NULL, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, 0);

	if (IS_ERR_VALUE(addr) || put_user(1, (long __user *)addr) ||
	    put_user(1, (long __user *)(addr + PAGE_SIZE)))
		return;
	set_pte_at(current->mm, addr + PAGE_SIZE, entry(addr + PAGE_SIZE),
		   *entry(addr));
}

static void nowhere(void)
{
	WRITE_ONCE(*(int *)(unsigned long)READ_ONCE(forty), 1);
}

static void crossed(void)
{
	static DEFINE_MUTEX(a);
	static DEFINE_MUTEX(b);

	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);
	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

#define MISTAKE(name)	{ #name, name }

static const struct {
	const char *name;
	void (*make)(void);
} mistakes[] = {
	MISTAKE(beyond), MISTAKE(freed), MISTAKE(leaked), MISTAKE(shifted),
	MISTAKE(added_twice), MISTAKE(active), MISTAKE(revived), MISTAKE(asleep),
	MISTAKE(migrating), MISTAKE(unprotected), MISTAKE(unowned),
	MISTAKE(mapped_twice), MISTAKE(nowhere), MISTAKE(crossed),
};

static ssize_t mistakes_write(struct file *file, const char __user *buf,
			      size_t len, loff_t *pos)
{
	char name[32] = "";
	size_t i;

	if (len >= sizeof(name) || copy_from_user(name, buf, len))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(mistakes); i++) {
		if (strcmp(strim(name), mistakes[i].name))
			continue;
		mistakes[i].make();
		return len;
	}
	return -EINVAL;
}

static const struct proc_ops mistakes_ops = {
	.proc_write = mistakes_write,
};

static int __init mistakes_init(void)
{
	return proc_create("mistakes", 0200, NULL, &mistakes_ops) ? 0 : -ENOMEM;
}
module_init(mistakes_init);

MODULE_DESCRIPTION("mistakes for a debug kernel to see");
MODULE_LICENSE("GPL");
