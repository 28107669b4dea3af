// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single pages of a MOVEV: segments of one ordinary page each.
 *
 * Who gathers scattered pages sends long lists of them, and a run each would cost
 * several times what there is to do.  Those that follow a batch's first run are
 * taken and installed here, with nothing noted down but where they are.  In order
 * they stand between the first run and the further ones.
 */
#include <linux/mm.h>

#include "batch.h"
#include "trace.h"

/* As many pages the kernel flushes one by one, unless somebody has tuned that. */
#define UREMAP_FLUSH_PAGES	33

/* The place of an address among the windows of a side. */
static __always_inline struct uremap_window *
uremap_window(struct uremap_window *windows, unsigned long addr)
{
	return &windows[(addr >> PMD_SHIFT) % UREMAP_MAX_WINDOWS];
}

/* There is no window there yet, or that of another table. */
static noinline bool uremap_window_open(struct uremap_batch *b,
					struct uremap_window *w,
					const struct vm_area_struct *vma,
					const struct uremap_set *set,
					unsigned long addr)
{
	unsigned long start = max(addr & PMD_MASK, vma->vm_start);
	unsigned long end = min((addr & PMD_MASK) + PMD_SIZE, vma->vm_end);
	pte_t *pte;

	if (addr < start || addr >= end ||
	    !uremap_set_narrow(set, addr, &start, &end))
		return false;
	pte = uremap_table_get(b, addr);
	if (!pte)
		return false;
	w->start = start;
	w->len = end - start;
	w->pte = pte - ((addr - start) >> PAGE_SHIFT);
	return true;
}

/*
 * What one page brings another may take: one after the other, then.  It can also
 * be one and the same page, but then the destination is not empty.
 */
static __always_inline bool uremap_single_meets(const struct uremap_cursor *c,
						unsigned long dst,
						unsigned long src)
{
	return src - c->dst_lo < c->dst_hi - c->dst_lo ||
	       dst - c->src_lo < c->src_hi - c->src_lo;
}

/* Take as many as there are.  Returns their number. */
static __always_inline unsigned int
uremap_singles_run(struct uremap_batch *b, struct uremap_cursor *c,
		   unsigned int nr, bool one_vma)
{
	struct uremap_mv *mv = b->mv;
	struct uremap_window *srcs = mv->scratch->src_windows;
	struct uremap_window *dsts = mv->scratch->dst_windows;
	struct uremap_single *s = mv->scratch->singles, *end = s + nr;
	const struct uremap_segment *seg = b->singles;
	struct uremap_cursor at = *c;

	for (; s < end; s++, seg++) {
		unsigned long src = seg->src, dst = seg->dst;
		struct uremap_window *from = uremap_window(srcs, src);
		struct uremap_window *to = uremap_window(dsts, dst);

		if (seg->len != PAGE_SIZE || ((src | dst) & ~PAGE_MASK) ||
		    (one_vma && uremap_single_meets(&at, dst, src)))
			break;
		if (unlikely(src - from->start >= from->len) &&
		    !uremap_window_open(b, from, mv->src_vma, &mv->ctx->src,
					src))
			break;
		if (unlikely(dst - to->start >= to->len) &&
		    !uremap_window_open(b, to, mv->dst_vma, &mv->ctx->dst, dst))
			break;
		s->src_pte = from->pte + ((src - from->start) >> PAGE_SHIFT);
		s->dst_pte = to->pte + ((dst - to->start) >> PAGE_SHIFT);
		if (!uremap_plain_take(b->mm, mv->held, src, s->src_pte,
				       s->dst_pte, &s->saved, &s->folio, 0, 1,
				       true))
			break;
		/* Between two mappings nobody asks how far each one is. */
		if (one_vma)
			uremap_cursor_cover(&at, dst, src, PAGE_SIZE);
	}
	*c = at;
	return s - mv->scratch->singles;
}

/*
 * The extent of what was taken between two different mappings, for the flush.  As
 * soon as there are more pages than the kernel flushes one by one, the extent does
 * not matter.
 */
static void uremap_singles_extent(const struct uremap_batch *b,
				  struct uremap_cursor *c, unsigned int n)
{
	const struct uremap_segment *seg;

	if (n > UREMAP_FLUSH_PAGES) {
		c->src_lo = b->mv->src_vma->vm_start;
		c->src_hi = b->mv->src_vma->vm_end;
		return;
	}
	for (seg = b->singles; seg < b->singles + n; seg++)
		uremap_cursor_cover(c, seg->dst, seg->src, PAGE_SIZE);
}

/**
 * uremap_singles_take - take the single pages that come next
 * @b: the batch, its first run complete, and up to the end of a segment
 * @c: where the batch has got to; gets on
 *
 * Context: page-table locks held; takes more of them.
 */
void uremap_singles_take(struct uremap_batch *b, struct uremap_cursor *c)
{
	struct uremap_scratch *scratch = b->mv->scratch;
	unsigned int nr = b->mv->nr_segs - c->seg - 1, n;

	if (!nr || b->wp || trace_uremap_move_enabled())
		return;
	for (n = 0; n < UREMAP_MAX_WINDOWS; n++) {
		scratch->src_windows[n].len = 0;
		scratch->dst_windows[n].len = 0;
	}
	b->singles = &b->mv->segs[c->seg + 1];
	if (b->mv->src_vma == b->mv->dst_vma) {
		n = uremap_singles_run(b, c, nr, true);
	} else {
		n = uremap_singles_run(b, c, nr, false);
		uremap_singles_extent(b, c, n);
	}
	if (!n)
		return;
	c->seg += n;
	c->off = PAGE_SIZE;
	b->nr_singles = n;
}

/**
 * uremap_singles_put_back - undo the taking of single pages
 * @b: the batch
 * @i: the first of them that is to stay where it was, as all after it
 *
 * Context: page-table locks and the locks of the folios held; drops these.
 */
void uremap_singles_put_back(struct uremap_batch *b, unsigned int i)
{
	struct uremap_single *s = b->mv->scratch->singles;
	unsigned int k;

	uremap_stat_add(UREMAP_STAT_PUT_BACK, b->nr_singles - i);
	for (k = i; k < b->nr_singles; k++)
		uremap_plain_put_back(b->mm, b->singles[k].src, s[k].src_pte,
				      &s[k].saved, &s[k].folio, 0, 1);
	b->nr_singles = i;
}

/**
 * uremap_singles_install - give the single pages their new places
 * @b: the batch
 *
 * Stops at the first that is pinned, or whose place another one has taken; it and
 * the rest go back.
 *
 * Context: page-table locks and the locks of the folios held, source flushed,
 *	barrier passed; drops the locks of the folios.
 * Return: false if one stays.
 */
bool uremap_singles_install(struct uremap_batch *b)
{
	struct vm_area_struct *vma = b->mv->dst_vma;
	struct uremap_single *s = b->mv->scratch->singles;
	struct uremap_single *end = s + b->nr_singles;
	const struct uremap_segment *seg = b->singles;
	struct anon_vma *anon_vma = vma->anon_vma;
	/* Of address 0, which is far below: linear_page_index() would wrap around. */
	const pgoff_t first = vma->vm_pgoff - (vma->vm_start >> PAGE_SHIFT);

	for (; s < end; s++, seg++) {
		pgoff_t index = first + (seg->dst >> PAGE_SHIFT);

		if (likely(uremap_plain_install(b->mm, anon_vma, index,
						seg->dst, s->dst_pte, &s->saved,
						&s->folio, 0, 1, true, false)))
			continue;
		uremap_singles_put_back(b, seg - b->singles);
		return false;
	}
	return true;
}

/**
 * uremap_singles_end - write down what has become of the single pages
 * @b: the batch, installed; the move has got to the first of them
 *
 * Context: any.
 */
void uremap_singles_end(struct uremap_batch *b)
{
	struct uremap_mv *mv = b->mv;
	struct uremap_segment *seg = b->singles, *end = seg + b->nr_singles;

	for (; seg < end; seg++) {
		seg->move = PAGE_SIZE;
		seg->holes = 0;
		seg->healed = 0;
		seg->stop = 0;
		seg->reason = UREMAP_REASON_NONE;
		seg->error = 0;
	}
	uremap_stat_add(UREMAP_STAT_PAGES, b->nr_singles);
	uremap_seg_skip(mv, b->nr_singles);
}
