// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of a pass: a source full of known words, a destination as the
 * operation wants it, and the check that each page has arrived and left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define THP	"/sys/kernel/mm/transparent_hugepage/"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* kpageflags: a compound page is a folio of more than one page */
#define KPF_COMPOUND	(3UL << 15)

void mem_want(enum folio folio)
{
	try_write_file(THP "enabled", "madvise");
	try_write_file(THP "defrag", "always");
	/* khugepaged would fill up a destination that is half moved to */
	try_write_file(THP "khugepaged/max_ptes_none", "0");
	try_write_file(THP "hugepages-64kB/enabled",
		       folio == FOLIO_64K ? "madvise" : "never");
	if (!try_write_file(THP "hugepages-2048kB/enabled",
			    folio == FOLIO_THP ? "madvise" : "never"))
		try_write_file(THP "enabled", "madvise");
}

bool mem_has(enum folio folio)
{
	switch (folio) {
	case FOLIO_64K:
		return !access(THP "hugepages-64kB/enabled", F_OK);
	case FOLIO_THP:
		return !access(THP "enabled", F_OK);
	default:
		return true;
	}
}

static uint64_t word(const char *base, const char *page, unsigned int i)
{
	return ((uint64_t)(page - base) + 1) * 0x9e3779b97f4a7c15UL + i;
}

static void fill(const char *base, char *start, size_t size)
{
	for (char *page = start; page < start + size; page += PAGE) {
		uint64_t *w = (uint64_t *)page, v = word(base, page, 0);

		for (unsigned int i = 0; i < PAGE / 8; i++)
			w[i] = v + i;
	}
}

static char *map(char *at, size_t size)
{
	char *p = mmap(at, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != at)
		die("mmap: %s", strerror(errno));
	return p;
}

/* The entries of /proc/self/pagemap, one a page. */
static uint64_t *pagemap(const char *start, size_t size)
{
	size_t bytes = size / PAGE * 8;
	uint64_t *e = malloc(bytes);
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (!e || fd < 0 || pread(fd, e, bytes, (uintptr_t)start / PAGE * 8) != (ssize_t)bytes)
		die("pagemap: %s", strerror(errno));
	close(fd);
	return e;
}

/* Is all of this really made of folios of the kind that is to be measured? */
static void check_folios(struct pass *p)
{
	uint64_t *e = pagemap(p->src, p->size), flags, pfn, first = 0;
	unsigned int per = p->folio == FOLIO_THP ? 512 : p->folio == FOLIO_64K ? 16 : 1;
	bool small = per == 1;
	int fd = open("/proc/kpageflags", O_RDONLY);

	if (fd < 0)
		die("kpageflags: %s", strerror(errno));
	for (unsigned int i = 0; i < p->pages; i++) {
		pfn = e[i] & ((1UL << 55) - 1);
		if (pread(fd, &flags, 8, pfn * 8) != 8)
			die("kpageflags: %s", strerror(errno));
		if (i % per == 0)
			first = pfn;
		if (pfn != first + i % per || !(flags & KPF_COMPOUND) != small)
			die("page %u is not part of a folio of %u pages", i, per);
	}
	close(fd);
	free(e);
}

void mem_setup(struct pass *p)
{
	unsigned int flags = p->op->flags;

	p->size = p->pages * PAGE;
	p->src = map(SRC_BASE + p->offset, p->size);
	if (p->folio == FOLIO_4K)
		madvise(p->src, p->size, MADV_NOHUGEPAGE);
	else
		madvise(p->src, p->size, MADV_HUGEPAGE);
	fill(p->src, p->src, p->size);
	check_folios(p);

	p->dst = DST_BASE + p->offset + (flags & OP_MISALIGNED ? 16 * PAGE : 0);
	if (flags & OP_DST_HOLE)
		return;
	map(p->dst, p->size);
	if (p->folio == FOLIO_4K)
		madvise(p->dst, p->size, MADV_NOHUGEPAGE);
	else
		madvise(p->dst, p->size, MADV_HUGEPAGE);
	if (flags & OP_DST_WARM)
		memset(p->dst, 1, p->size);
}

static const char *came_from(struct pass *p, const char *page)
{
	for (unsigned int i = 0; i < p->npieces; i++) {
		const struct piece *c = &p->piece[i];

		if (page >= c->dst && page < c->dst + p->chunk * PAGE)
			return c->src + (page - c->dst);
	}
	die("nothing goes to %p", (const void *)page);
}

void mem_check(struct pass *p)
{
	const char *from, *page;
	uint64_t *e;

	for (unsigned int i = 0; i < p->pages; i++) {
		const uint64_t *w;

		/* sequential passes need no search, it would take for ever */
		page = p->dst + i * PAGE;
		from = p->pattern == SEQUENTIAL ? p->src + i * PAGE : came_from(p, page);
		w = (const uint64_t *)page;
		for (unsigned int j = 0; j < PAGE / 8; j++) {
			if (w[j] != word(p->src, from, j))
				die("%s: page %u has wrong contents", p->op->name, i);
		}
	}
	if (p->op->flags & OP_SRC_STAYS)
		return;
	e = pagemap(p->src, p->size);
	for (unsigned int i = 0; i < p->pages; i++) {
		if (e[i] >> 62)
			die("%s: page %u is still at the source", p->op->name, i);
	}
	free(e);
}

void mem_teardown(struct pass *p)
{
	munmap(p->src, p->size);
	munmap(p->dst, p->size);
}
