// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings with gaps around them, and page patterns; see util.h.
 */
#include "util.h"

#include <stdarg.h>

#define WORDS		(PAGE / sizeof(uint64_t))

/* Reserves @len at @offset from a multiple of @align, with gaps around it. */
static char *reserve(size_t len, size_t align, size_t offset)
{
	size_t before = (1 + rnd_below(16)) * PAGE;
	size_t after = (1 + rnd_below(16)) * PAGE;
	size_t total = before + align + offset + len + after;
	char *area, *start;

	area = mmap(NULL, total, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		ck_abort_msg("mmap of %zu bytes: %s", total, strerror(errno));
	start = area + before;
	start += -(uintptr_t)start & (align - 1);
	start += offset;
	expect_ok(munmap(area, start - area));
	expect_ok(munmap(start + len, area + total - (start + len)));
	return start;
}

/*
 * A gap may be mapped over by the next call, but a mapping placed there comes
 * with gaps of its own, so no two of them ever merge.
 */
static char *map_at(size_t pages, size_t align, size_t offset, int prot,
		    bool huge_ok)
{
	size_t len = pages * PAGE;
	char *start = reserve(len, align, offset);
	char *p;

	p = mmap(start, len, prot,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		ck_abort_msg("mmap of %zu pages: %s", pages, strerror(errno));
	/* EINVAL: a kernel without huge pages */
	if (!huge_ok && madvise(p, len, MADV_NOHUGEPAGE) && errno != EINVAL)
		ck_abort_msg("MADV_NOHUGEPAGE: %s", strerror(errno));
	return p;
}

char *map_anon(size_t pages)
{
	return map_at(pages, PAGE, 0, PROT_READ | PROT_WRITE, false);
}

char *map_anon_prot(size_t pages, int prot)
{
	return map_at(pages, PAGE, 0, prot, false);
}

char *map_anon_aligned(size_t pages, size_t align, size_t offset)
{
	return map_at(pages, align, offset * PAGE, PROT_READ | PROT_WRITE, false);
}

char *map_huge_ok(size_t pages, size_t align)
{
	return map_at(pages, align, 0, PROT_READ | PROT_WRITE, true);
}

char *map_filled(size_t pages, uint32_t id, uint32_t seq)
{
	char *p = map_anon(pages);

	range_fill(p, pages, id, seq);
	return p;
}

char *map_nothing(size_t pages)
{
	char *p = reserve(pages * PAGE, PAGE, 0);

	expect_ok(munmap(p, pages * PAGE));
	return p;
}

void map_again(char *start, size_t pages)
{
	ck_assert_ptr_eq(mmap(start, pages * PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			      -1, 0), start);
	expect_ok(madvise(start, pages * PAGE, MADV_NOHUGEPAGE));
}

void map_shift(char *from, char *to, size_t pages)
{
	ck_assert_ptr_eq(mremap(from, pages * PAGE, pages * PAGE,
				MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
}

/* identity 32 | 1 | sequence 22 | position 9: never zero */
static uint64_t word(uint32_t id, uint32_t seq, size_t i)
{
	return (uint64_t)id << 32 | 1ULL << 31 |
	       (uint64_t)(seq & 0x3fffff) << 9 | i;
}

void page_fill(void *page, uint32_t id, uint32_t seq)
{
	uint64_t *w = page;
	size_t i;

	for (i = 0; i < WORDS; i++)
		w[i] = word(id, seq, i);
}

void range_fill(void *start, size_t pages, uint32_t id, uint32_t seq)
{
	size_t n;

	for (n = 0; n < pages; n++)
		page_fill((char *)start + n * PAGE, id + n, seq);
}

bool page_read(const void *page, uint32_t *id, uint32_t *seq)
{
	uint64_t w = *(const volatile uint64_t *)page;

	if (!(w >> 31 & 1) || (w & 0x1ff))
		return false;
	*id = w >> 32;
	*seq = w >> 9 & 0x3fffff;
	return true;
}

static void word_text(uint64_t w, char *buf, size_t len)
{
	if (!w)
		snprintf(buf, len, "zero");
	else if (w >> 31 & 1)
		snprintf(buf, len, "id %u seq %u word %u",
			 (unsigned int)(w >> 32),
			 (unsigned int)(w >> 9 & 0x3fffff),
			 (unsigned int)(w & 0x1ff));
	else
		snprintf(buf, len, "%#llx", (unsigned long long)w);
}

bool page_same(const void *page, uint32_t id, uint32_t seq, char *why,
	       size_t len)
{
	const volatile uint64_t *w = page;
	size_t i, bad = 0, first = 0;
	uint64_t got = 0, now;
	char text[80];

	for (i = 0; i < WORDS; i++) {
		now = w[i];
		if (now == word(id, seq, i))
			continue;
		if (!bad++) {
			first = i;
			got = now;
		}
	}
	if (bad && why) {
		word_text(got, text, sizeof(text));
		snprintf(why, len,
			 "page %p: %zu of %zu words differ, word %zu is %s, expected id %u seq %u",
			 page, bad, WORDS, first, text, id, seq & 0x3fffff);
	}
	return !bad;
}

void page_check_at(const char *file, int line, const void *page, uint32_t id,
		   uint32_t seq)
{
	char why[300];

	if (!page_same(page, id, seq, why, sizeof(why)))
		ck_abort_msg("%s:%d: %s", file, line, why);
}

void range_check_at(const char *file, int line, const void *start, size_t pages,
		    uint32_t id, uint32_t seq)
{
	char why[300];
	size_t n;

	for (n = 0; n < pages; n++)
		if (!page_same((const char *)start + n * PAGE, id + n, seq, why,
			       sizeof(why)))
			ck_abort_msg("%s:%d: page %zu of %zu: %s", file, line, n,
				     pages, why);
}

void page_check_zero_at(const char *file, int line, const void *page)
{
	const volatile uint64_t *w = page;
	char text[80];
	size_t i;

	for (i = 0; i < WORDS; i++) {
		uint64_t now = w[i];

		if (!now)
			continue;
		word_text(now, text, sizeof(text));
		ck_abort_msg("%s:%d: page %p: word %zu is %s, expected zero",
			     file, line, page, i, text);
	}
}
