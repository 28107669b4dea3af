// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vectored moves: many small segments between two windows, judged one by one
 * as if they had been single moves one after the other.
 */
#include "move.h"

#include <sys/ioctl.h>

#define MAX_SEGS	80		/* more than share a flush */

static uint32_t draw_segments(struct attempt *a, struct uremap_segment *segs)
{
	struct thread *t = a->t;
	uint32_t nr = one_in(t, 3) ? 1 + below(t, MAX_SEGS) : 1 + below(t, 12);
	uint32_t i;

	for (i = 0; i < nr; i++) {
		uint32_t len = 1 + below(t, a->len < 24 ? a->len : 24);
		uint32_t to = a->dst + below(t, a->len - len + 1);
		uint32_t from = a->src + below(t, a->len - len + 1);

		segs[i] = (struct uremap_segment){
			.dst = ADDR(slot_addr(t->w, to)),
			.src = ADDR(slot_addr(t->w, from)),
			.len = len * PAGE,
		};
	}
	return nr;
}

/* The number of the slot at an address of the window that begins with @slot */
static uint32_t slot_at(const struct worker *w, uint32_t slot, uint64_t addr)
{
	return slot + (addr - ADDR(slot_addr(w, slot))) / PAGE;
}

static struct attempt attempt_of(const struct attempt *all,
				 const struct uremap_segment *seg)
{
	struct attempt a = *all;

	a.dst = slot_at(a.t->w, all->dst, seg->dst);
	a.src = slot_at(a.t->w, all->src, seg->src);
	a.len = seg->len / PAGE;
	a.done = seg->move > 0 ? seg->move / PAGE : 0;
	a.m = (struct uremap_move){
		.move = seg->move,
		.moved = seg->move > 0 ? seg->move - seg->holes : 0,
		.holes = seg->holes,
		.healed = seg->healed,
		.stop = seg->stop,
		.reason = seg->reason,
		.error = seg->error,
	};
	return a;
}

/* One after the other, as they were done; then all that has come of it. */
static void judge_segments(const struct attempt *all, uint32_t nr,
			   const struct uremap_segment *segs)
{
	struct attempt a;
	uint32_t i;

	for (i = 0; i < nr; i++) {
		a = attempt_of(all, &segs[i]);
		attempt_count(&a);
		attempt_judge(&a);
	}
	for (i = 0; i < nr; i++) {
		a = attempt_of(all, &segs[i]);
		attempt_look(&a);
	}
}

/* How many have results, and what the call says, follow from the results. */
static void check_call(const struct attempt *a, const struct uremap_movev *v,
		       const struct uremap_segment *segs)
{
	uint32_t i, failed = 0, first = 0;
	uint64_t sum = 0;
	int err;

	for (i = 0; i < v->done; i++) {
		sum += segs[i].move > 0 ? segs[i].move : 0;
		if (segs[i].error && !failed++)
			first = segs[i].error;
	}
	if (v->done > v->nr || v->move != sum ||
	    (failed && !(v->flags & UREMAP_MOVEV_CONTINUE) &&
	     (failed > 1 || !segs[v->done - 1].error)) ||
	    (v->done < v->nr && !failed) ||
	    (v->done < v->nr && v->flags & UREMAP_MOVEV_CONTINUE))
		bad_move(a, "MOVEV ended at another segment than it should",
			 a->src);
	err = !failed ? 0 : sum ? EAGAIN : (int)first;
	if (a->err != err)
		bad_move(a, "MOVEV: return value and results do not fit",
			 a->src);
}

void op_movev(struct thread *t, uint32_t dst, uint32_t src, uint32_t len)
{
	struct attempt a = { .t = t, .dst = dst, .src = src, .len = len };
	struct uremap_segment segs[MAX_SEGS];
	struct uremap_movev v = {
		.segs = ADDR(segs), .seg_size = sizeof(segs[0]),
	};

	model_lock(t->w, dst, src, len);
	attempt_draw(&a);
	v.mode = a.mode;
	v.flags = one_in(t, 2) ? UREMAP_MOVEV_CONTINUE : 0;
	v.nr = draw_segments(&a, segs);
	errno = 0;
	a.ret = ioctl(attempt_fd(&a), UREMAP_IOC_MOVEV, &v);
	a.err = a.ret ? errno : 0;
	t->now->result = a.ret ? -a.err : (int)v.done;
	check_call(&a, &v, segs);
	judge_segments(&a, v.done, segs);
	model_unlock(t->w, dst, src, len);
}
