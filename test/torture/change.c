// SPDX-License-Identifier: GPL-2.0-only
/*
 * Operations that change what slots must hold, or how they are mapped; each
 * locks its blocks in the model.
 */
#include "torture.h"

#include <string.h>

#define MAX_MLOCKED	16		/* blocks of a worker */

static int sys(struct thread *t, const char *what, int ret)
{
	t->now->result = ret ? -errno : 0;
	if (ret)
		fail(t, "%s: %s", what, strerror(errno));
	return ret;
}

/* While it exists a page keeps its identity: see op_splice(). */
void slot_write(struct thread *t, uint32_t slot, bool common)
{
	struct slot *s = &t->w->slots[slot];

	if (s->state != EMPTY) {
		s->seq += s->id >= COMMON;
	} else {
		s->id = common ? 1 + slot % 4 : new_id(t->w);
		s->seq = 0;
	}
	s->state = FULL;
	page_fill(slot_addr(t->w, slot), s->id, s->seq);
}

/* New contents; one page in eight has the same as others, for KSM. */
void op_write(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct worker *w = t->w;
	bool common = one_in(t, 8), check = one_in(t, 2);
	uint32_t i;

	came_to_nothing(t);
	model_lock(w, slot, slot, len);
	for (i = slot; i < slot + len; i++) {
		if (!slot_writable(w, i))
			continue;
		if (check)
			slot_check(t, i);
		slot_write(t, i, common);
		t->now->result = 0;
	}
	model_unlock(w, slot, slot, len);
}

void op_check(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	uint32_t i;

	model_lock(t->w, slot, slot, len);
	for (i = slot; i < slot + len; i++)
		slot_check(t, i);
	model_unlock(t->w, slot, slot, len);
}

/* The kernel refuses what is locked; of the pinned the model would lose track. */
static bool may_discard(struct worker *w, uint32_t slot, uint32_t len)
{
	uint32_t i;

	if (any_pinned(w, slot, len))
		return false;
	for (i = slot; i < slot + len; i++)
		if (block_of(w, i)->mlocked)
			return false;
	return true;
}

/* With the blocks locked; what may not be discarded stays. */
void discard(struct thread *t, uint32_t slot, uint32_t len)
{
	struct worker *w = t->w;
	uint32_t i;

	if (!may_discard(w, slot, len))
		return;
	sys(t, "MADV_DONTNEED",
	    madvise(slot_addr(w, slot), len * PAGE, MADV_DONTNEED));
	for (i = slot; i < slot + len; i++)
		w->slots[i].state = EMPTY;
}

void op_discard(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	came_to_nothing(t);
	model_lock(t->w, slot, slot, len);
	discard(t, slot, len);
	model_unlock(t->w, slot, slot, len);
}

void op_free(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct worker *w = t->w;
	uint32_t i;

	came_to_nothing(t);
	model_lock(w, slot, slot, len);
	if (may_discard(w, slot, len)) {
		sys(t, "MADV_FREE",
		    madvise(slot_addr(w, slot), len * PAGE, MADV_FREE));
		for (i = slot; i < slot + len; i++)
			if (w->slots[i].state == FULL)
				w->slots[i].state = LAZY;
	}
	model_unlock(w, slot, slot, len);
}

/* @slot and @len in whole blocks */
static void to_blocks(uint32_t *slot, uint32_t *len)
{
	*slot -= *slot % BLOCK;
	*len = BLOCK;
}

void op_protect(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
		PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
	};
	struct worker *w = t->w;
	int prot = prots[below(t, 5)];

	to_blocks(&slot, &len);
	t->now->mode = prot;
	model_lock(w, slot, slot, len);
	sys(t, "mprotect", mprotect(slot_addr(w, slot), len * PAGE, prot));
	block_of(w, slot)->prot = prot;
	model_unlock(w, slot, slot, len);
}

void op_lock(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct worker *w = t->w;
	struct block *b;

	came_to_nothing(t);
	to_blocks(&slot, &len);
	model_lock(w, slot, slot, len);
	b = block_of(w, slot);
	if (b->mlocked) {
		sys(t, "munlock", munlock(slot_addr(w, slot), len * PAGE));
		b->mlocked = false;
		__atomic_fetch_sub(&w->mlocked, 1, __ATOMIC_RELAXED);
	} else if (b->prot != PROT_NONE &&
		   __atomic_load_n(&w->mlocked, __ATOMIC_RELAXED) < MAX_MLOCKED) {
		/* It may fail to fill the mapping, but has locked it then. */
		t->now->result = mlock(slot_addr(w, slot), len * PAGE) ?
				 -errno : 0;
		b->mlocked = true;
		__atomic_fetch_add(&w->mlocked, 1, __ATOMIC_RELAXED);
	}
	model_unlock(w, slot, slot, len);
}

/* Whole blocks where nothing is mapped */
static void map_anew(struct thread *t, uint32_t slot, uint32_t len)
{
	char *addr = slot_addr(t->w, slot);
	uint32_t end = slot + len;

	if (mmap(addr, len * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1,
		 0) != addr)
		fail(t, "mmap of block %u: %s", slot / BLOCK, strerror(errno));
	for (; slot < end; slot += BLOCK) {
		struct block *b = block_of(t->w, slot);

		b->prot = PROT_READ | PROT_WRITE;
		b->uffd = 0;
		if (b->mlocked)
			__atomic_fetch_sub(&t->w->mlocked, 1, __ATOMIC_RELAXED);
		b->mlocked = false;
	}
}

static void all_empty(struct worker *w, uint32_t slot, uint32_t len)
{
	uint32_t i;

	for (i = slot; i < slot + len; i++)
		w->slots[i].state = EMPTY;
}

/* munmap, and a new mapping at the same address */
void op_remap(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct worker *w = t->w;

	came_to_nothing(t);
	to_blocks(&slot, &len);
	model_lock(w, slot, slot, len);
	if (!any_pinned(w, slot, len)) {
		sys(t, "munmap", munmap(slot_addr(w, slot), len * PAGE));
		all_empty(w, slot, len);
		map_anew(t, slot, len);
	}
	model_unlock(w, slot, slot, len);
}

/* The kernel's own move of a block onto another, with or without a trace. */
void op_mremap(struct thread *t, uint32_t dst, uint32_t src, uint32_t len)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	struct worker *w = t->w;
	struct block *from, *to;
	uint32_t i;

	if (one_in(t, 2))
		flags |= MREMAP_DONTUNMAP;
	to_blocks(&dst, &len);
	to_blocks(&src, &len);
	t->now->mode = flags;
	came_to_nothing(t);
	if (src == dst)
		return;
	model_lock(w, dst, src, len);
	from = block_of(w, src);
	to = block_of(w, dst);
	if (any_pinned(w, src, len) || any_pinned(w, dst, len) ||
	    from->mlocked || to->mlocked)
		goto out;
	if (mremap(slot_addr(w, src), len * PAGE, len * PAGE, flags,
		   slot_addr(w, dst)) == MAP_FAILED)
		fail(t, "mremap: %s", strerror(errno));
	t->now->result = 0;
	for (i = 0; i < len; i++)
		w->slots[dst + i] = w->slots[src + i];
	to->prot = from->prot;
	/* What becomes of the registration depends on much. */
	uffd_forget(w, dst / BLOCK);
	all_empty(w, src, len);
	if (!(flags & MREMAP_DONTUNMAP))
		map_anew(t, src, len);
	else
		uffd_forget(w, src / BLOCK);
out:
	model_unlock(w, dst, src, len);
}

/*
 * One mapping for a huge page, and the huge page, or nothing at all: a page table
 * there would keep huge pages away.
 */
void op_thp(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	bool fill = !one_in(t, 3);
	struct worker *w = t->w;
	uint32_t i;

	came_to_nothing(t);
	len = HPAGES;
	slot -= slot % len;
	model_lock(w, slot, slot, len);
	if (!any_pinned(w, slot, len)) {
		sys(t, "munmap", munmap(slot_addr(w, slot), len * PAGE));
		all_empty(w, slot, len);
		map_anew(t, slot, len);
		madvise(slot_addr(w, slot), len * PAGE, MADV_HUGEPAGE);
		for (i = slot; fill && i < slot + len; i++)
			slot_write(t, i, false);
	}
	model_unlock(w, slot, slot, len);
}
