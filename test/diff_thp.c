// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves, for huge pages and large folios, that uremap does what UFFDIO_MOVE of
 * the same kernel does, but for the differences that diff_table.h means.
 */
#include "diff.h"

#define HOLES		UREMAP_MOVE_ALLOW_SRC_HOLES
#define MODE_WP		UFFDIO_REGISTER_MODE_WP

static void huge_plain(struct diff *d)
{
}

static void leave_table(char *p)
{
	p[0] = 1;
	expect_ok(madvise(p, PAGE, MADV_DONTNEED));
}

static void huge_onto_table(struct diff *d)
{
	leave_table(d->dst);
}

static void huge_misaligned(struct diff *d)
{
	d->dst += 8 * PAGE;
}

static void huge_part(struct diff *d)
{
	d->src += 8 * PAGE;
	d->dst += 8 * PAGE;
	d->len = 16 * PAGE;
	d->pages = 16;
	/* described as small pages of their own */
	range_fill(d->src, 16, SRC_ID, 1);
}

static void huge_populated(struct diff *d)
{
	page_fill(d->dst + 100 * PAGE, DST_ID + 100, 1);
}

static void huge_populated_by_huge(struct diff *d)
{
	d->dst = map_thp(1, DST_ID, 1);
}

static void huge_pinned(struct diff *d)
{
	pin_pages(d->src + 5 * PAGE, 1);
}

static void huge_pinned_onto_table(struct diff *d)
{
	leave_table(d->dst);
	pin_pages(d->src + 5 * PAGE, 1);
}

static void huge_pinned_part(struct diff *d)
{
	huge_part(d);
	pin_pages(d->src + 20 * PAGE, 1);
}

static void huge_referenced(struct diff *d)
{
	int end;

	get_pages(d->src + 5 * PAGE, 1, &end);
}

static void huge_referenced_part(struct diff *d)
{
	int end;

	huge_part(d);
	get_pages(d->src + 20 * PAGE, 1, &end);
}

static void child_gone(void)
{
	pid_t pid = expect_ok(fork());

	if (!pid)
		_exit(0);
	child_join(pid);
}

static void huge_child_gone(struct diff *d)
{
	child_gone();
}

static void huge_child_gone_part(struct diff *d)
{
	huge_part(d);
	child_gone();
}

static void huge_small_entries(struct diff *d)
{
	split_mapping(d->src + 5 * PAGE);
}

static void huge_small_entries_part(struct diff *d)
{
	split_mapping(d->src + 5 * PAGE);
	huge_part(d);
}

static void huge_partly_unmapped(struct diff *d)
{
	expect_ok(madvise(d->src + 5 * PAGE, 3 * PAGE, MADV_DONTNEED));
	d->mode = HOLES;
}

static void huge_first_shared(struct diff *d)
{
	expect_ok(madvise(d->src + 5 * PAGE, PAGE, MADV_DONTFORK));
	child_gone();
	d->src += 5 * PAGE;
	d->len = PAGE;
	d->pages = 1;
	page_check(d->src, SRC_ID + 5, 1);
}

static void huge_lazyfree(struct diff *d)
{
	expect_ok(madvise(d->src, PMD, MADV_FREE));
}

static void huge_wp(struct diff *d)
{
	uffd_register(d->e.uffd, d->src, PMD, MODE_WP);
	uffd_wp(d->e.uffd, d->src, PMD, true);
}

static void huge_soft_dirty(struct diff *d)
{
	file_write("/proc/self/clear_refs", "4");
}

static void huge_swapped(struct diff *d)
{
	swap_out(d->src, HPAGES);
}

static void huge_zero(struct diff *d)
{
	d->src = map_huge_zero(1);
}

static void huge_zero_soft_dirty(struct diff *d)
{
	huge_zero(d);
	file_write("/proc/self/clear_refs", "4");
}

static void huge_zero_onto_table(struct diff *d)
{
	huge_zero(d);
	leave_table(d->dst);
}

static void huge_zero_part(struct diff *d)
{
	huge_zero(d);
	d->len = 16 * PAGE;
	d->pages = 16;
}

static void huge_mlocked(struct diff *d)
{
	expect_ok(mlock(d->src, PMD));
	expect_ok(mlock2(d->dst, PMD, MLOCK_ONFAULT));
}

static void folio_64k(struct diff *d)
{
	d->src = map_folios(64, 32, SRC_ID, 1);
	d->pages = 32;
	d->len = 32 * PAGE;
}

static void folio_64k_part(struct diff *d)
{
	folio_64k(d);
	d->len = 20 * PAGE;
}

static void folio_64k_populated(struct diff *d)
{
	folio_64k(d);
	page_fill(d->dst + 20 * PAGE, DST_ID + 20, 1);
}

static void folio_64k_pinned(struct diff *d)
{
	folio_64k(d);
	pin_pages(d->src + 20 * PAGE, 1);
}

static void folio_64k_swapped(struct diff *d)
{
	folio_64k(d);
	swap_out(d->src, 32);
}

#define CASE(f)		{ .name = #f, .set_up = f, .huge = true }

static const struct diff_case cases[] = {
	CASE(huge_plain), CASE(huge_onto_table), CASE(huge_misaligned),
	CASE(huge_part), CASE(huge_populated), CASE(huge_populated_by_huge),
	CASE(huge_pinned), CASE(huge_pinned_onto_table),
	CASE(huge_pinned_part), CASE(huge_referenced),
	CASE(huge_referenced_part), CASE(huge_child_gone),
	CASE(huge_child_gone_part), CASE(huge_small_entries),
	CASE(huge_small_entries_part), CASE(huge_partly_unmapped),
	CASE(huge_first_shared), CASE(huge_lazyfree),
	{ .name = "huge_wp", .set_up = huge_wp, .huge = true,
	  .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP },
	CASE(huge_soft_dirty), CASE(huge_swapped), CASE(huge_zero),
	CASE(huge_zero_soft_dirty), CASE(huge_zero_onto_table),
	CASE(huge_zero_part), CASE(huge_mlocked), CASE(folio_64k),
	CASE(folio_64k_part), CASE(folio_64k_populated),
	CASE(folio_64k_pinned), CASE(folio_64k_swapped),
};

START_TEST(huge)
{
	diff_case_run(&cases[_i]);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(huge, ARRAY_SIZE(cases)),
};
DIFF_MAIN("diff_thp", tests)
