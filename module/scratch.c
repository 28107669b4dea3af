// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scratch memory: one piece per CPU kept for the next move, so that a move
 * allocates nothing as a rule.
 *
 * A move takes the piece out of its CPU's place and puts it back into that of
 * the CPU it ends on, so it may sleep and migrate in between; who finds the
 * place empty allocates, who finds it taken frees.
 */
#include <linux/mm.h>
#include <linux/percpu.h>

#include "batch.h"

DEFINE_PER_CPU(struct uremap_scratch *, uremap_scratch);

/**
 * uremap_scratch_alloc - scratch memory that no CPU has yet
 *
 * Context: may sleep.
 * Return: the memory, not zeroed but for @known, or NULL without any.
 */
struct uremap_scratch *uremap_scratch_alloc(void)
{
	struct uremap_scratch *scratch = kvmalloc(sizeof(*scratch),
						 GFP_KERNEL_ACCOUNT);

	if (scratch)
		scratch->known.ctx = 0;
	return scratch;
}

/**
 * uremap_scratch_exit - free all scratch memory
 *
 * Context: module exit, no move can run any more.
 */
void uremap_scratch_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		kvfree(per_cpu(uremap_scratch, cpu));
}
