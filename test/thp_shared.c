// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves of B-thp, B-folio and B-subpage what a huge page's sharers rely on: one
 * that a child shares, as a whole or in a part, does not become writable for
 * one of both, and the page table that is kept for splitting it goes where it
 * goes.
 */
#include "util_peer.h"
#include "util_state.h"

/* What a child inherits, and looks at again at the end. */
struct view {
	char *p;
	size_t from;			/* what is before it does not inherit */
};

static int watch(struct peer *p, void *arg)
{
	struct view *v = arg;

	range_check(v->p + v->from * PAGE, HPAGES - v->from, 1 + v->from, 1);
	peer_say(p);
	peer_hear(p);
	range_check(v->p + v->from * PAGE, HPAGES - v->from, 1 + v->from, 1);
	return 0;
}

/* Refused as it is; with UNSHARE each has its own afterwards. */
START_TEST(whole)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_thp_dst(1);
	struct view v = { .p = src };
	struct peer p;

	peer_start(&p, watch, &v);
	peer_hear(&p);
	expect_no_move(fd, dst, src, PMD, 0, EBUSY, NOT_EXCLUSIVE, ADDR(src));
	ck_assert_int_eq(huge_kb(src), PMD / 1024);
	ck_assert_uint_eq(count_populated(dst, HPAGES), 0);
	expect_move_as(fd, dst, src, PMD, UREMAP_MOVE_UNSHARE, .done = PMD,
		       .healed = PMD);
	range_fill(dst, HPAGES, 1, 2);
	peer_say(&p);
	peer_end(&p);
	range_check(dst, HPAGES, 1, 2);
}
END_TEST

/* The first pages are ours alone, the others are not: only those move. */
START_TEST(but_the_first)
{
	enum { OURS = 3 };
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_anon_aligned(HPAGES, PMD, 0);
	struct view v = { .p = src, .from = OURS };
	struct peer p;

	expect_ok(madvise(src, OURS * PAGE, MADV_DONTFORK));
	peer_start(&p, watch, &v);
	expect_ok(madvise(src, OURS * PAGE, MADV_DOFORK));
	peer_hear(&p);
	ck_assert(folio_whole(src, HPAGES));
	expect_move_part(fd, dst, src, PMD, 0, OURS * PAGE, EBUSY,
			 NOT_EXCLUSIVE, ADDR(src + OURS * PAGE));
	range_check(dst, OURS, 1, 1);
	range_fill(dst, OURS, 1, 2);
	range_fill(src + OURS * PAGE, HPAGES - OURS, 1 + OURS, 2);
	peer_say(&p);
	peer_end(&p);
}
END_TEST

static char *map_far(unsigned long addr)
{
	char *p = mmap((void *)addr, PMD, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	ck_assert_ptr_eq(p, (void *)addr);
	expect_ok(madvise(p, PMD, MADV_HUGEPAGE));
	return p;
}

/* Each in a GiB of its own, whose tables are kept apart: split, and unmapped. */
START_TEST(far_away)
{
	char *src, *dst;
	int fd, i;

	/* for what it skips, and for a free huge page */
	expect_ok(munmap(map_thp(1, 1, 1), PMD));
	fd = dev_open_all();
	for (i = 0; i < 4; i++) {
		src = map_far(0x300000000000UL);
		dst = map_far(0x310000000000UL);
		range_fill(src, HPAGES, 1, 1);
		ck_assert_int_eq(huge_kb(src), PMD / 1024);
		expect_move(fd, dst, src, PMD, 0);
		expect_ok(munmap(src, PMD));
		if (i & 1)
			split_mapping(dst + 5 * PAGE);
		range_check(dst, HPAGES, 1, 1);
		expect_ok(munmap(dst, PMD));
	}
}
END_TEST

static const struct utest tests[] = {
	UTEST(whole),
	UTEST(but_the_first),
	UTEST(far_away),
};
UTEST_MAIN("thp_shared", tests)
