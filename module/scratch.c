// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scratch pages: one per CPU kept for the next move, so that a move allocates
 * nothing as a rule.
 *
 * A move takes the page out of its CPU's place and puts it back into that of
 * the CPU it ends on, so it may sleep and migrate in between; who finds the
 * place empty allocates, who finds it taken frees.
 */
#include <linux/gfp.h>
#include <linux/percpu.h>

#include "uremap.h"

static DEFINE_PER_CPU(void *, uremap_scratch);

/**
 * uremap_scratch_get - a page of scratch memory, not zeroed
 *
 * Context: may sleep.
 * Return: the page, or NULL without memory.
 */
void *uremap_scratch_get(void)
{
	void *page = this_cpu_xchg(uremap_scratch, NULL);

	return page ? page : (void *)__get_free_page(GFP_KERNEL);
}

/**
 * uremap_scratch_put - give back what uremap_scratch_get() gave
 * @page: the page
 *
 * Context: any process context.
 */
void uremap_scratch_put(void *page)
{
	page = this_cpu_xchg(uremap_scratch, page);
	if (unlikely(page))
		free_page((unsigned long)page);
}

/**
 * uremap_scratch_exit - free all scratch pages
 *
 * Context: module exit, no move can run any more.
 */
void uremap_scratch_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		free_page((unsigned long)per_cpu(uremap_scratch, cpu));
}
