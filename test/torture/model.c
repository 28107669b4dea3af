// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model: what each page slot of a worker must hold, and comparing it.
 */
#include "torture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Low, so that no other mmap() falls into what is unmapped for a moment. */
#define ARENA_START	0x100000000000UL
#define AREA_GAP	(2 * HPAGES * PAGE)

/*
 * A word: identity (32 bits), sequence number (22), its place in the page (10,
 * from 1, so that no word is zero).  An identity says whose it is: worker (4
 * bits) and generation (5).
 */
#define SEQ_BITS	22

static uint64_t word(uint32_t id, uint32_t seq, unsigned int i)
{
	return (uint64_t)id << 32 | (seq & ((1U << SEQ_BITS) - 1)) << 10 | (i + 1);
}

static uint32_t id_base(const struct worker *w)
{
	return (w->nr + 1) << 28 | (w->generation & 31) << 23;
}

uint32_t new_id(struct worker *w)
{
	uint32_t n = __atomic_add_fetch(&w->next_id, 1, __ATOMIC_RELAXED);

	return id_base(w) | (n & ((1U << 23) - 1));
}

char *slot_addr(const struct worker *w, uint32_t slot)
{
	return w->arena + slot * PAGE + slot / w->area_pages * AREA_GAP;
}

void model_create(struct worker *w)
{
	pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
	uint32_t i;

	w->arena = (char *)(ARENA_START + ((uintptr_t)w->nr << 36));
	w->slots = calloc(w->pages, sizeof(*w->slots));
	w->blocks = calloc(w->pages / BLOCK, sizeof(*w->blocks));
	if (!w->slots || !w->blocks)
		fail(NULL, "no memory for the model");
	for (i = 0; i < AREAS; i++) {
		char *area = slot_addr(w, i * w->area_pages);

		if (mmap(area, w->area_pages * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
			 MAP_NORESERVE, -1, 0) != area)
			fail(NULL, "mmap of the arena: %s", strerror(errno));
	}
	for (i = 0; i < w->pages / BLOCK; i++) {
		w->blocks[i].lock = unlocked;
		w->blocks[i].prot = PROT_READ | PROT_WRITE;
	}
}

static void each_block(struct worker *w, uint32_t a, uint32_t b, uint32_t len,
		       int (*fn)(pthread_mutex_t *lock))
{
	uint32_t first_a = a / BLOCK, last_a = (a + len - 1) / BLOCK;
	uint32_t first_b = b / BLOCK, last_b = (b + len - 1) / BLOCK;
	uint32_t i, end = last_a > last_b ? last_a : last_b;

	for (i = first_a < first_b ? first_a : first_b; i <= end; i++)
		if ((i >= first_a && i <= last_a) || (i >= first_b && i <= last_b))
			fn(&w->blocks[i].lock);
}

void model_lock(struct worker *w, uint32_t a, uint32_t b, uint32_t len)
{
	each_block(w, a, b, len, pthread_mutex_lock);
}

void model_unlock(struct worker *w, uint32_t a, uint32_t b, uint32_t len)
{
	each_block(w, a, b, len, pthread_mutex_unlock);
}

bool any_pinned(const struct worker *w, uint32_t slot, uint32_t len)
{
	for (; len; len--, slot++)
		if (w->slots[slot].pinned)
			return true;
	return false;
}

void page_fill(void *page, uint32_t id, uint32_t seq)
{
	volatile uint64_t *p = page;
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		p[i] = word(id, seq, i);
}

static const char *describe_word(const volatile uint64_t *p, unsigned int i,
				 uint64_t found)
{
	static __thread char buf[200];

	snprintf(buf, sizeof(buf),
		 "word %u is %016llx (identity %08x sequence %u place %d), read again %016llx",
		 i, (unsigned long long)found, (uint32_t)(found >> 32),
		 (uint32_t)(found >> 10) & ((1U << SEQ_BITS) - 1),
		 (int)(found & 1023) - 1, (unsigned long long)p[i]);
	return buf;
}

const char *page_differs(const void *page, uint32_t id, uint32_t seq)
{
	const volatile uint64_t *p = page;
	unsigned int i;

	for (i = 0; i < WORDS; i++) {
		uint64_t found = p[i];

		if (found != word(id, seq, i))
			return describe_word(p, i, found);
	}
	return NULL;
}

const char *page_not_zero(const void *page)
{
	const volatile uint64_t *p = page;
	unsigned int i;

	for (i = 0; i < WORDS; i++) {
		uint64_t found = p[i];

		if (found)
			return describe_word(p, i, found);
	}
	return NULL;
}

const char *page_foreign(const struct worker *w, const void *page)
{
	const volatile uint64_t *p = page;
	unsigned int i;

	for (i = 0; i < WORDS; i++) {
		uint64_t found = p[i];
		uint32_t id = found >> 32;

		if (!found)
			continue;
		if ((found & 1023) != i + 1 ||
		    (id >= COMMON && id >> 23 != id_base(w) >> 23))
			return describe_word(p, i, found);
	}
	return NULL;
}

bool slot_readable(const struct worker *w, uint32_t slot)
{
	return block_of(w, slot)->prot & PROT_READ;
}

bool slot_writable(const struct worker *w, uint32_t slot)
{
	return block_of(w, slot)->prot & PROT_WRITE;
}

/* MADV_FREE lets go of a page at any time until it is written or moved. */
static const char *lazy_differs(struct slot *s, const char *page)
{
	const char *wrong;

	if (!page_not_zero(page)) {
		s->state = EMPTY;
		return NULL;
	}
	wrong = page_differs(page, s->id, s->seq);
	if (!wrong)
		return NULL;
	/* It went while it was looked at? */
	s->state = EMPTY;
	return page_not_zero(page) ? wrong : NULL;
}

void slot_check(struct thread *t, uint32_t slot)
{
	struct slot *s = &t->w->slots[slot], was = *s;
	const char *page = slot_addr(t->w, slot), *wrong;
	char buf[400];

	if (!slot_readable(t->w, slot))
		return;
	if (s->state == LAZY)
		wrong = lazy_differs(s, page);
	else if (s->state == FULL)
		wrong = page_differs(page, s->id, s->seq);
	else
		wrong = page_not_zero(page);
	if (!wrong)
		return;
	*s = was;
	describe_slot(t->w, slot, buf, sizeof(buf));
	fail(t, "%s\n  but %s", buf, wrong);
}
