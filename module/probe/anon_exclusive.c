// SPDX-License-Identifier: GPL-2.0-only
/* 5.19 "mm: remember exclusively mapped anonymous pages with PG_anon_exclusive" */
#include <linux/mm.h>

int uremap_probe_anon_exclusive(struct page *page);
int uremap_probe_anon_exclusive(struct page *page)
{
	return PageAnonExclusive(page);
}
