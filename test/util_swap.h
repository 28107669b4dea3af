/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Swap on different devices, and a block device that takes its time; see
 * util_swap.c.
 */
#ifndef UREMAP_TEST_UTIL_SWAP_H
#define UREMAP_TEST_UTIL_SWAP_H

#include "util.h"

enum swap_kind {
	SWAP_ZRAM,			/* done when the call returns, no readahead */
	SWAP_FILE,			/* a file on ext4 on a loop device */
	SWAP_SLOW,			/* writes take a second, and must be stable */
	NR_SWAP_KINDS
};

/*
 * Makes this the only swap there is.  Skips without the modules ("-M zram",
 * "-M loop -M ext4", "-M null_blk"), and on a machine that has swap of its own.
 */
void swap_use(enum swap_kind kind);

/*
 * A block device @name of @mib whose requests complete after @ms, by null_blk.
 * Its path, for good.
 */
const char *slow_disk(const char *name, int mib, long ms);

size_t count_swapped(const void *start, size_t pages);

#endif /* UREMAP_TEST_UTIL_SWAP_H */
