// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mover of PTEs: batches of runs.
 *
 * A run lies inside one page table on each side.  A batch is one run, or
 * several if the next ones follow without anything special: the rest of the
 * same range in the next table, or further segments of a MOVEV between the same
 * two mappings.  Whatever the number of runs, there is one TLB flush.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>

#include "batch.h"
#include "sym.h"

/*
 * The batch itself, under the page-table locks of all its runs.  Why this order
 * is safe:
 *
 *  1. Take: each folio is locked, then its entry cleared.  From here on only
 *     this batch can map, unmap, migrate, split or merge it, and a fault on
 *     either address waits for the page-table lock.
 *  2. Flush the source: no CPU can reach the pages through it any more.  It
 *     comes before anything is visible at the destination, so no store through
 *     the source lands after that, and before any of the locks is dropped, so
 *     the destination cannot be unmapped and a page freed that some CPU still
 *     writes to (C15).  It also covers entries that reclaim left for later
 *     (C11).
 *  3. A full barrier, then the pin test.  GUP-fast takes its reference and then
 *     reads the entry again; the entry was cleared before the barrier and the
 *     count is read after it, so one of both sees the other (C1).  A folio that
 *     is pinned goes back to where it was, and everything after it: nothing of
 *     it has been changed yet, and nobody could see that it was gone.
 *  4. Mapping and index, then the destination's entry, then the folio lock: who
 *     finds the folio by its lock finds it consistent (C14).
 */
static void uremap_batch_finish(struct uremap_batch *b,
				const struct uremap_cursor *c)
{
	bool all = true;
	unsigned int k;

	if (!b->taken && !b->nr_singles)
		return;
	uremap_batch_flush(b->mm, c->src_lo, c->src_hi, PAGE_SHIFT);
	for (k = 0; k < b->nr_runs; k++) {
		struct uremap_run *r = &b->runs[k];

		/* What follows a page that stays has to stay as well. */
		if (unlikely(!all)) {
			uremap_run_put_back(b->mm, r, 0);
			continue;
		}
		uremap_run_install(b, r);
		all = r->seen == r->nr;
		if (k || !b->nr_singles)
			continue;
		if (likely(all))
			all = uremap_singles_install(b);
		else
			uremap_singles_put_back(b, 0);
	}
}

static bool uremap_ranges_meet(unsigned long a_lo, unsigned long a_hi,
			       unsigned long b_lo, unsigned long b_hi)
{
	return a_lo < b_hi && b_lo < a_hi;
}

/* The next run after what the batch has; false if there is none to add. */
static bool uremap_next_run(struct uremap_batch *b, struct uremap_cursor *c,
			    struct uremap_run *r)
{
	struct uremap_mv *mv = b->mv;
	const struct uremap_segment *seg = &mv->segs[c->seg];
	unsigned long len;

	if (c->off == seg->len) {
		if (!uremap_seg_ready(mv, c->seg + 1))
			return false;
		seg = &mv->segs[++c->seg];
		c->off = 0;
	}
	r->src = seg->src + c->off;
	r->dst = seg->dst + c->off;
	if (!uremap_vma_has(mv->src_vma, r->src) ||
	    !uremap_vma_has(mv->dst_vma, r->dst))
		return false;
	len = seg->len - c->off;
	len = min(len, mv->src_vma->vm_end - r->src);
	len = min(len, mv->dst_vma->vm_end - r->dst);
	len = min(len, PMD_SIZE - (r->src & ~PMD_MASK));
	len = min(len, PMD_SIZE - (r->dst & ~PMD_MASK));
	r->nr = len >> PAGE_SHIFT;
	if (r->nr > PTRS_PER_PTE - b->nr_saved)
		return false;
	/* What one run brings another may take: one after the other, then. */
	return !uremap_ranges_meet(r->src, r->src + len, c->dst_lo, c->dst_hi) &&
	       !uremap_ranges_meet(r->dst, r->dst + len, c->src_lo, c->src_hi);
}

static void uremap_run_open(struct uremap_batch *b, struct uremap_run *r)
{
	r->saved = b->mv->scratch->saved + b->nr_saved;
	r->folios = b->mv->scratch->folios + b->nr_saved;
	r->busy = NULL;
	r->seen = 0;
	r->taken = 0;
	r->obstacle = 0;
	r->why = UREMAP_REASON_NONE;
	r->marked = false;
	b->nr_saved += r->nr;
	b->nr_runs++;
}

static void uremap_cursor_cover_run(struct uremap_cursor *c,
				    const struct uremap_run *r)
{
	unsigned long len = (unsigned long)r->nr << PAGE_SHIFT;

	c->off += len;
	uremap_cursor_cover(c, r->dst, r->src, len);
}

/*
 * Take further runs as long as each is complete.  With MMU notifiers there is
 * one run only: its extent is announced before the locks, and secondary page
 * tables should not be zapped for what lies between runs (C21).
 */
static void uremap_batch_extend(struct uremap_batch *b, struct uremap_cursor *c)
{
	struct uremap_run *r = &b->runs[0];

	if (r->seen == r->nr && c->off == b->mv->segs[c->seg].len)
		uremap_singles_take(b, c);
	while (r->seen == r->nr && b->nr_runs < UREMAP_MAX_RUNS) {
		struct uremap_run *last = r++;

		if (!uremap_next_run(b, c, r) || !uremap_tables_add(b, r, last))
			return;
		uremap_run_open(b, r);
		uremap_cursor_cover_run(c, r);
		uremap_run_take(b, r);
		/* Only the first entry of a batch is waited for. */
		if (!r->seen && r->why == UREMAP_REASON_FOLIO_BUSY)
			folio_put(r->busy);
	}
}

/* Nothing was done: see to the first page. */
static int uremap_batch_settle(struct uremap_batch *b, pmd_t *src_pmd)
{
	struct uremap_run *r = &b->runs[0];

	/* What is in the way of a large folio may be further on. */
	if (r->obstacle)
		return uremap_stop(b->mv, -EEXIST, r->why,
				   r->dst + r->obstacle * PAGE_SIZE);
	if (r->why == UREMAP_REASON_FOLIO_BUSY && b->mv->easy)
		folio_put(r->busy);
	else if (r->why == UREMAP_REASON_FOLIO_BUSY)
		return uremap_wait_folio(b->mv, r->busy);
	return uremap_settle(b->mv, src_pmd, r->why);
}

/* Who is woken in the end has to be told from who waits at a hole. */
static void uremap_run_note_holes(struct uremap_mv *mv,
				  const struct uremap_run *r)
{
	unsigned int i;

	if (likely(!mv->uffd) || r->taken == r->seen)
		return;
	for (i = 0; i < r->seen; i++)
		if (pte_none(r->saved[i]))
			uremap_note_hole(mv, r->dst + i * PAGE_SIZE, PAGE_SIZE);
}

/* Book what a batch has done. */
static int uremap_batch_end(struct uremap_batch *b, pmd_t *src_pmd)
{
	struct uremap_mv *mv = b->mv;
	unsigned int k;

	if (unlikely(!b->runs[0].seen))
		return uremap_batch_settle(b, src_pmd);
	for (k = 0; k < b->nr_runs; k++) {
		struct uremap_run *r = &b->runs[k];

		uremap_stat_add(UREMAP_STAT_PAGES, r->taken);
		uremap_run_note_holes(mv, r);
		uremap_advance(mv, (unsigned long)r->seen << PAGE_SHIFT,
			       (unsigned long)r->taken << PAGE_SHIFT);
		if (r->seen < r->nr)
			break;
		if (!k && b->nr_singles)
			uremap_singles_end(b);
	}
	return 0;
}

/*
 * Lock, take, flush, install, unlock.  MMU notifiers are registered under the
 * mmap lock held for writing, so there are some throughout or none.
 */
static bool uremap_batch_run(struct uremap_batch *b, struct uremap_cursor *c,
			     pmd_t *dst_pmd, pmd_t *src_pmd)
{
	struct anon_vma *anon_vma = uremap_rmap_lock(b->mv->src_vma);
	struct uremap_run *r = &b->runs[0];
	bool ok;

	rcu_read_lock();
	ok = uremap_tables_lock(b, r, dst_pmd, src_pmd);
	if (likely(ok)) {
		uremap_run_take(b, r);
		if (!mm_has_notifiers(b->mm))
			uremap_batch_extend(b, c);
		uremap_batch_finish(b, c);
		uremap_tables_unlock(b);
	}
	rcu_read_unlock();
	uremap_rmap_unlock(anon_vma);
	return ok;
}

/* The same for an address space whose page tables are mirrored elsewhere. */
static noinline bool uremap_batch_run_notify(struct uremap_batch *b,
					     struct uremap_cursor *c,
					     pmd_t *dst_pmd, pmd_t *src_pmd)
{
	struct mmu_notifier_range range;
	bool ok;

	/* Only the source: what has no entry has no secondary mapping (C21). */
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, b->mm, c->src_lo,
				c->src_hi);
	mmu_notifier_invalidate_range_start(&range);
	ok = uremap_batch_run(b, c, dst_pmd, src_pmd);
	mmu_notifier_invalidate_range_end(&range);
	return ok;
}

/**
 * uremap_move_ptes - move pages that page tables map
 * @mv:      the move
 * @dst_pmd: PMD entry of the destination, has or had a page table
 * @src_pmd: the same of the source
 * @len:     bytes, inside both tables and both mappings
 *
 * Per batch, not per page: one pair of MMU notifier calls, one anon_vma lock
 * where the kernel needs it, each page-table lock once, one TLB flush.
 *
 * Context: mmap_lock held for reading, pair vetted; may sleep.
 * Return: 0 if it got on, UREMAP_RETRY if something changed or was waited for,
 *	a negative errno with the reason recorded if the first page stays.
 */
int uremap_move_ptes(struct uremap_mv *mv, pmd_t *dst_pmd, pmd_t *src_pmd,
		     unsigned long len)
{
	unsigned long src = uremap_mv_src(mv), dst = uremap_mv_dst(mv);
	struct uremap_cursor c = {
		.seg = mv->cur, .off = mv->done,
		.src_lo = src, .src_hi = src, .dst_lo = dst, .dst_hi = dst,
	};
	struct uremap_batch b = {
		.mv = mv,
		.mm = mv->mm,
		.runs = mv->scratch->runs,
		.tables = mv->scratch->tables,
		.wp = mv->mode & UREMAP_MOVE_WP,
		.keep_wp = (mv->mode & UREMAP_MOVE_KEEP_WP) &&
			   uremap_pair_keeps_wp(mv->src_vma, mv->dst_vma),
	};
	bool ok;

	b.runs[0].src = src;
	b.runs[0].dst = dst;
	b.runs[0].nr = len >> PAGE_SHIFT;
	uremap_run_open(&b, &b.runs[0]);
	uremap_cursor_cover_run(&c, &b.runs[0]);

	if (likely(!mm_has_notifiers(b.mm)))
		ok = uremap_batch_run(&b, &c, dst_pmd, src_pmd);
	else
		ok = uremap_batch_run_notify(&b, &c, dst_pmd, src_pmd);
	uremap_stat_add(UREMAP_STAT_BATCHES, 1);
	uremap_stat_add(UREMAP_STAT_NOTIFIER_PAIRS, 1);

	return ok ? uremap_batch_end(&b, src_pmd) : UREMAP_RETRY;
}
