// SPDX-License-Identifier: GPL-2.0-only
/* Compiles on every kernel: if it does not, no probe's answer means anything. */
#include <linux/mm.h>

int uremap_probe_sanity(struct page *page);
int uremap_probe_sanity(struct page *page)
{
	return PageLocked(page);
}
