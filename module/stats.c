// SPDX-License-Identifier: GPL-2.0-only
/*
 * Observation: counters in debugfs (uremap/stats) and the tracepoints.
 *
 * Neither is ABI.  The counters are per CPU and are summed up when read.
 */
#include <linux/debugfs.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>

#include "uremap.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static const char * const uremap_stat_names[UREMAP_STAT_NR] = {
	[UREMAP_STAT_CALLS] = "calls",
	[UREMAP_STAT_BATCHES] = "batches",
	[UREMAP_STAT_FLUSHES] = "flushes",
	[UREMAP_STAT_NOTIFIER_PAIRS] = "notifier_pairs",
	[UREMAP_STAT_RMAP_LOCKS] = "rmap_locks",
	[UREMAP_STAT_PAGES] = "pages",
	[UREMAP_STAT_THPS] = "thps",
	[UREMAP_STAT_HOLES] = "holes",
	[UREMAP_STAT_PUT_BACK] = "put_back",
	[UREMAP_STAT_RETRIES] = "retries",
};

DEFINE_PER_CPU(unsigned long [UREMAP_STAT_NR], uremap_stats);
static struct dentry *uremap_debugfs;

static int uremap_stats_show(struct seq_file *m, void *unused)
{
	unsigned int stat;

	for (stat = 0; stat < UREMAP_STAT_NR; stat++) {
		unsigned long sum = 0;
		int cpu;

		for_each_possible_cpu(cpu)
			sum += per_cpu(uremap_stats, cpu)[stat];
		seq_printf(m, "%s %lu\n", uremap_stat_names[stat], sum);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(uremap_stats);

/**
 * uremap_stats_init - create the debugfs file
 *
 * A kernel without debugfs, or one that restricts it, loses the counters only.
 *
 * Context: module init.
 * Return: 0.
 */
int uremap_stats_init(void)
{
	uremap_debugfs = debugfs_create_dir("uremap", NULL);
	debugfs_create_file("stats", 0400, uremap_debugfs, NULL,
			    &uremap_stats_fops);
	return 0;
}

/**
 * uremap_stats_exit - remove the debugfs file
 *
 * Context: module exit.
 */
void uremap_stats_exit(void)
{
	debugfs_remove(uremap_debugfs);
}
