// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves between locked blocks, and whether what they say and do is possible.
 *
 * What the mappings decide is known exactly: which pair of pages is refused
 * first, and why.  What the pages decide depends on what the kernel has made of
 * them meanwhile (shared, merged, pinned ...), so of that only the impossible
 * is an error: a pinned page that moves, a page that arrives on top of another,
 * a hole where there is none.
 */
#include "move.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PM_UFFD_WP	(1ULL << 57)

void bad_move(const struct attempt *a, const char *what, uint32_t slot)
{
	char buf[400];

	describe_slot(a->t->w, slot, buf, sizeof(buf));
	fail(a->t,
	     "%s\n  move dst %u src %u len %u mode %02llx%s: ret %d errno %d move %lld moved %llu holes %llu healed %llu reason %s error %u stop %llx\n  %s",
	     what, a->dst, a->src, a->len, (unsigned long long)a->mode,
	     a->attached ? " attached" : "", a->ret, a->err,
	     (long long)a->m.move, (unsigned long long)a->m.moved / PAGE,
	     (unsigned long long)a->m.holes / PAGE,
	     (unsigned long long)a->m.healed / PAGE, reason_name(a->m.reason),
	     a->m.error, (unsigned long long)a->m.stop, buf);
}

/* Why the mappings of a pair of pages do not fit, in the order of the module. */
static uint32_t pair_reason(const struct attempt *a, uint32_t i)
{
	const struct block *src = block_of(a->t->w, a->src + i);
	const struct block *dst = block_of(a->t->w, a->dst + i);

	if (src->prot != dst->prot)
		return UREMAP_REASON_VMA_PROT;
	if (src->mlocked != dst->mlocked)
		return UREMAP_REASON_VMA_LOCKED;
	if (!(src->prot & PROT_WRITE))
		return UREMAP_REASON_VMA_READONLY;
	if (a->attached && !dst->uffd)
		return UREMAP_REASON_DST_NOT_UFFD;
	if ((a->mode & UREMAP_MOVE_WP) && !(dst->uffd & UFFD_WP))
		return UREMAP_REASON_WP_UNREGISTERED;
	return UREMAP_REASON_NONE;
}

/* May the page at @i be refused for this reason? */
static bool page_reason(const struct attempt *a, uint32_t i)
{
	const struct worker *w = a->t->w;
	const struct slot *src = &w->slots[a->src + i];
	const struct slot *dst = &w->slots[a->dst + i];
	bool unshare = a->mode & UREMAP_MOVE_UNSHARE;

	switch (a->m.reason) {
	case UREMAP_REASON_HOLE:
		return src->state != FULL &&
		       !(a->mode & UREMAP_MOVE_ALLOW_SRC_HOLES);
	case UREMAP_REASON_NOT_EXCLUSIVE:
	case UREMAP_REASON_KSM:
		return !unshare;
	case UREMAP_REASON_WP_SHARED:
		return !w->kernel_unshare;
	case UREMAP_REASON_DST_BUSY:
		/* Possibly further on, in the way of a large folio. */
		return dst->state == EMPTY || dst->state == FULL ||
		       dst->state == LAZY;
	case UREMAP_REASON_CHANGING:
		return a->attached && w->uffd_events;
	case UREMAP_REASON_PINNED:
	case UREMAP_REASON_SPLIT_FAILED:
	case UREMAP_REASON_RETRY_LIMIT:
	case UREMAP_REASON_FOLIO_BUSY:
	case UREMAP_REASON_NOMEM:
		return true;
	default:
		return false;
	}
}

/* Sums, errno and reason fit together. */
static void check_numbers(struct attempt *a)
{
	uint64_t bytes = a->len * PAGE;
	int error = reason_error(a->m.reason);
	bool all;

	a->done = a->m.move > 0 ? a->m.move / PAGE : 0;
	if (a->m.move > 0 && (a->m.moved + a->m.holes != (uint64_t)a->m.move ||
			      (uint64_t)a->m.move > bytes || a->m.move % PAGE))
		bad_move(a, "the numbers do not add up", a->src);
	if (a->m.healed > a->m.moved ||
	    (a->m.healed && !(a->mode & UREMAP_MOVE_UNSHARE)))
		bad_move(a, "impossible number of healed bytes", a->src);
	all = a->done == a->len;
	if ((int)a->m.error != error || all == !!error)
		bad_move(a, "errno and reason do not fit", a->src);
	if (!a->done && a->m.move != -error)
		bad_move(a, "move is not the errno", a->src);
}

/* Where and why it stopped is where and why it had to, or may have. */
static void check_stop(struct attempt *a)
{
	struct worker *w = a->t->w;
	uint32_t i, why;

	for (why = 0, i = 0; i < a->len && !why; i++)
		why = pair_reason(a, i);
	i -= !!why;
	if (a->done > i)
		bad_move(a, "went on where the mappings do not fit", a->src + i);
	if (a->done == a->len)
		return;
	if (a->done == i && a->m.reason != UREMAP_REASON_CHANGING) {
		if (a->m.reason != why)
			bad_move(a, "another reason than the mappings give",
				 a->src + i);
		return;
	}
	if (!page_reason(a, a->done))
		bad_move(a, "impossible reason", a->src + a->done);
	if (a->m.stop != ADDR(slot_addr(w, a->src + a->done)) &&
	    a->m.stop != ADDR(slot_addr(w, a->dst + a->done)) &&
	    a->m.reason != UREMAP_REASON_DST_BUSY)
		bad_move(a, "stopped somewhere else", a->src + a->done);
}

/* Carries the model on, and finds what cannot have been. */
static void carry_on(struct attempt *a)
{
	struct worker *w = a->t->w;
	uint32_t i, full = 0, empty = 0;

	for (i = 0; i < a->done; i++) {
		struct slot *src = &w->slots[a->src + i];
		struct slot *dst = &w->slots[a->dst + i];

		if (dst->state == FULL)
			bad_move(a, "moved onto a page", a->dst + i);
		if (src->pinned || dst->pinned)
			bad_move(a, "moved a pinned page", a->src + i);
		full += src->state == FULL;
		empty += src->state == EMPTY;
		*dst = *src;
		src->state = EMPTY;
	}
	if (a->m.moved / PAGE < full || a->m.holes / PAGE + full > a->done ||
	    (full + empty == a->done && a->m.holes / PAGE > empty))
		bad_move(a, "moved and holes cannot be", a->src);
}

/* What was installed write-protected is, until somebody takes that away. */
static void check_wp(struct attempt *a)
{
	struct worker *w = a->t->w;
	uint64_t entry;
	uint32_t i;

	for (i = 0; i < a->done; i++) {
		if (w->slots[a->dst + i].state != FULL)
			continue;
		if (pread(w->pagemap, &entry, 8,
			  (uintptr_t)slot_addr(w, a->dst + i) / PAGE * 8) != 8)
			return;
		if (!(entry & PM_UFFD_WP))
			bad_move(a, "moved without the write-protection",
				 a->dst + i);
	}
}

/*
 * The lazily freed have been dealt with: what has arrived stays.  Some of the
 * rest is looked at, too.
 */
static void check_arrived(struct attempt *a)
{
	struct thread *t = a->t;
	uint32_t i, some = 1 + below(t, 16);

	for (i = 0; i < a->done; i++) {
		struct slot *dst = &t->w->slots[a->dst + i];
		bool lazy = dst->state == LAZY;

		if (lazy || i % some == 0)
			slot_check(t, a->dst + i);
		if (lazy && dst->state == LAZY)
			dst->state = FULL;
		if (i % some == 1)
			slot_check(t, a->src + i);
	}
}

static bool overlaps(const struct attempt *a)
{
	return a->src < a->dst + a->len && a->dst < a->src + a->len;
}

/* Somebody else gives and takes the rights of this descriptor meanwhile. */
static bool lost_rights(const struct attempt *a)
{
	return a->rights && (a->m.reason == UREMAP_REASON_SRC_UNREGISTERED ||
			     a->m.reason == UREMAP_REASON_DST_UNREGISTERED);
}

void attempt_judge(struct attempt *a)
{
	check_numbers(a);
	if (overlaps(a)) {
		if (a->m.reason != UREMAP_REASON_OVERLAP)
			bad_move(a, "overlap", a->src);
		return;
	}
	if (!lost_rights(a))
		check_stop(a);
	carry_on(a);
}

void attempt_look(struct attempt *a)
{
	/* Reading cannot take the protection away, and writers are locked out. */
	if (a->mode & UREMAP_MOVE_WP && a->t->w->kernel_unshare)
		check_wp(a);
	check_arrived(a);
}

void attempt_count(struct attempt *a)
{
	COUNT(moves, 1);
	COUNT(pages, a->m.moved / PAGE);
	COUNT(holes, a->m.holes / PAGE);
	COUNT(healed, a->m.healed / PAGE);
	if (a->m.reason < MAX_REASONS)
		COUNT(refused[a->m.reason], 1);
}

int attempt_fd(const struct attempt *a)
{
	struct worker *w = a->t->w;

	return a->rights ? w->dev_rights : a->attached ? w->dev_attached :
							 w->dev;
}

static void try_attempt(struct attempt *a)
{
	struct worker *w = a->t->w;
	int err;

	a->m = (struct uremap_move){
		.dst = ADDR(slot_addr(w, a->dst)),
		.src = ADDR(slot_addr(w, a->src)),
		.len = a->len * PAGE,
		.mode = a->mode,
	};
	errno = 0;
	a->ret = ioctl(attempt_fd(a), UREMAP_IOC_MOVE, &a->m);
	a->err = a->ret ? errno : 0;
	a->t->now->result = a->m.move > 0 ? (int)(a->m.move / PAGE) : -a->err;
	a->t->now->reason = a->m.reason;
	err = a->m.move > 0 && a->m.error ? EAGAIN : (int)a->m.error;
	if (a->err != err)
		bad_move(a, "return value and result do not fit", a->src);
	attempt_count(a);
}

/* The destination is emptied first as a rule, or most would end at once. */
void attempt_draw(struct attempt *a)
{
	struct thread *t = a->t;
	uint32_t which = below(t, 8);

	if (!one_in(t, 4))
		a->mode |= UREMAP_MOVE_ALLOW_SRC_HOLES;
	if (one_in(t, 2))
		a->mode |= UREMAP_MOVE_UNSHARE;
	if (one_in(t, 8))
		a->mode |= UREMAP_MOVE_KEEP_WP;
	if (one_in(t, 8))
		a->mode |= UREMAP_MOVE_DONTWAKE;
	if (one_in(t, 12))
		a->mode |= UREMAP_MOVE_WP;
	a->attached = which == 0 && t->w->uffd >= 0;
	a->rights = which == 1;
	a->clear = !one_in(t, 4);
	t->now->mode = a->mode | a->attached << 8 | a->rights << 9 |
		       a->clear << 10;
	if (a->clear && !overlaps(a))
		discard(t, a->dst, a->len);
}

void op_move(struct thread *t, uint32_t dst, uint32_t src, uint32_t len)
{
	struct attempt a = { .t = t, .dst = dst, .src = src, .len = len };

	model_lock(t->w, dst, src, len);
	attempt_draw(&a);
	try_attempt(&a);
	attempt_judge(&a);
	attempt_look(&a);
	model_unlock(t->w, dst, src, len);
}
