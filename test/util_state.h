/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * States of pages that more than one suite needs: huge pages and large folios,
 * swap, pins, and what to print of them for the support matrix.  Include it
 * after util.h.
 */
#ifndef UREMAP_TEST_UTIL_STATE_H
#define UREMAP_TEST_UTIL_STATE_H

#include "util.h"

#define HPAGES		512UL		/* pages in a huge page */

/* KPF_ bits that util.h has no use for */
#define KPF_REFERENCED	(1ULL << 2)
#define KPF_COMPOUND	(KPF_COMPOUND_HEAD | KPF_COMPOUND_TAIL)

/* ---- huge pages and large folios -------------------------------------- */

/*
 * @n huge pages side by side in a mapping of their own, each mapped by one
 * entry, filled as map_filled() does.  khugepaged is put to rest first: a test
 * that looks for a split or collapsed page must be the only one at it.
 */
char *map_thp(size_t n, uint32_t id, uint32_t seq);
/* An aligned place for them: huge pages are neither asked for nor refused. */
char *map_thp_dst(size_t n);
/* Read faults only: huge zero pages; skips without them. */
char *map_huge_zero(size_t n);
/* A mapping of @pages whose folios have @kb KiB each; skips without that size. */
char *map_folios(int kb, size_t pages, uint32_t id, uint32_t seq);
/* What huge pages are mapped as such in the mapping of @addr, in KiB */
long huge_kb(const void *addr);
/*
 * Takes the huge mapping apart and leaves the folio whole and its entries
 * writable, by making one page a mapping of its own for a moment.
 */
void split_mapping(char *addr);
/* Frame numbers, 0 for what is not present */
void frames_read(const void *start, size_t pages, uint64_t *out);
/* The frames are those of @want, in this order */
#define check_frames(start, pages, want) \
	check_frames_at(__FILE__, __LINE__, start, pages, want)
void check_frames_at(const char *file, int line, const void *start,
		     size_t pages, const uint64_t *want);
/* All of it is one large folio, in order */
bool folio_whole(const void *start, size_t pages);
/* None of it belongs to a large folio */
bool folio_none(const void *start, size_t pages);
void khugepaged_rest(void);

/* ---- swap -------------------------------------------------------------- */

/*
 * Makes sure there is swap, and in a guest that it is on zram ("-M zram") unless
 * the test has asked for another kind (util_swap.h).
 */
void swap_need(void);
/* Pages out until each page of the range is a swap entry. */
void swap_out(char *start, size_t pages);
/* The same, but returns how many are swapped out after a number of tries. */
size_t try_swap_out(char *start, size_t pages);

/* ---- references -------------------------------------------------------- */

/*
 * Pins pages with io_uring (FOLL_PIN | FOLL_LONGTERM), and holds a reference
 * without a pin in a pipe.  What is returned undoes it when closed: a
 * descriptor, or the read end of the pipe.
 */
int pin_pages(char *start, size_t pages);
int get_pages(char *start, size_t pages, int *write_end);

/* A memory error, as the kernel handles a real one; some report it by SIGBUS. */
void break_page(char *page);
/* The same, but returns the errno of what the kernel did, or 0. */
int try_break_page(char *page);

/* ---- write-protection (util_trap.c) ------------------------------------ */

/* userfaultfd with write-protection, or nothing to test */
int wp_open(__u64 more_features);
/*
 * A write to the page at @page raises an event, and does not land before it is
 * answered; or it lands without one.  The page holds @id and @seq before, @seq
 * + 1 after.
 */
void expect_trap(int uffd, char *page, uint32_t id, uint32_t seq);
void expect_no_trap(int uffd, char *page, uint32_t id, uint32_t seq);
/* An access raises MISSING; it is answered with the page given. */
void expect_missing(int uffd, char *page, uint32_t id, uint32_t seq);
/* Bit 57 of pagemap on kernels that show it (5.14) */
#define check_wp_bits(start, pages, want) \
	check_wp_bits_at(__FILE__, __LINE__, start, pages, want)
void check_wp_bits_at(const char *file, int line, const char *start,
		      size_t pages, bool want);

/* ---- bounded runs ------------------------------------------------------ */

/*
 * Runs @fn in a child that is killed after @secs seconds.  Returns its exit
 * status, 128 + the signal that ended it, or RUN_KILLED.
 */
#define RUN_KILLED	(-1)
int run_bounded(int (*fn)(void *arg), void *arg, int secs);
/* Seconds of what may not end alone: while *@begun, in shared memory, is set */
int run_bounded_from(int (*fn)(void *arg), void *arg, int secs,
		     const volatile bool *begun);

/* ---- the support matrix ------------------------------------------------ */

/*
 * Prints what became of a state for the table in README.md: a comment line
 * "matrix: STATE: OUTCOME", which test/matrix collects.  States are spelled as
 * the rows of the table are.
 */
void matrix(const char *state, struct move_result r);
/* ... in other words than moved, healed, passed over, refused */
void matrix_says(const char *state, const char *outcome);
/* ... of a state that this kernel does not have */
#define matrix_absent(state)	matrix_says(state, "-")

/* Moves, tells the matrix, returns the result. */
#define matrix_move(state, fd, dst, src, len, mode) ({			\
	struct move_result _r = try_move(fd, dst, src, len, mode);	\
	matrix(state, _r);						\
	_r;								\
})

/* expect_move_as() of a result that is there already */
#define expect_result(r, ...)						\
	check_move(__FILE__, __LINE__, r,				\
		   (struct move_expect){ __VA_ARGS__ })

/* What a refusal must be, in one word for tables */
#define REFUSED(err, why)	.error = (err), .reason = UREMAP_REASON_##why

#endif /* UREMAP_TEST_UTIL_STATE_H */
