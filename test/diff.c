// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves, for 4 KiB pages in each state of section B, that uremap does what
 * UFFDIO_MOVE of the same kernel does: result, count, entries, frames, flags,
 * contents; but for the differences that diff_table.h means.
 */
#include "diff.h"

#include <signal.h>

#define HOLES		UREMAP_MOVE_ALLOW_SRC_HOLES
#define MODE_WP		UFFDIO_REGISTER_MODE_WP
#define MODE_MISSING	UFFDIO_REGISTER_MODE_MISSING

static void plain(struct diff *d)
{
}

static void read_twice(struct diff *d)
{
	file_write("/proc/self/clear_refs", "1");
}

static void hole(struct diff *d)
{
	expect_ok(madvise(d->src + 5 * PAGE, 3 * PAGE, MADV_DONTNEED));
}

static void hole_allowed(struct diff *d)
{
	hole(d);
	d->mode = HOLES;
}

static void all_holes(struct diff *d)
{
	expect_ok(madvise(d->src, d->len, MADV_DONTNEED));
	d->mode = HOLES;
}

static void first_hole(struct diff *d)
{
	expect_ok(madvise(d->src, PAGE, MADV_DONTNEED));
}

static void populated(struct diff *d)
{
	page_fill(d->dst + 5 * PAGE, DST_ID + 5, 1);
}

static void populated_first(struct diff *d)
{
	page_fill(d->dst, DST_ID, 1);
}

static void populated_and_hole(struct diff *d)
{
	populated(d);
	hole_allowed(d);
}

static void populated_by_zero(struct diff *d)
{
	page_check_zero(d->dst + 5 * PAGE);
}

static void populated_by_swap(struct diff *d)
{
	populated(d);
	swap_out(d->dst + 5 * PAGE, 1);
}

static void zero_pages(struct diff *d)
{
	expect_ok(madvise(d->src + 4 * PAGE, 4 * PAGE, MADV_DONTNEED));
	for (int i = 4; i < 8; i++)
		page_check_zero(d->src + i * PAGE);
}

static void child_gone(struct diff *d)
{
	pid_t pid = expect_ok(fork());

	if (!pid)
		_exit(0);
	child_join(pid);
}

static void child_gone_written(struct diff *d)
{
	child_gone(d);
	range_fill(d->src, 16, SRC_ID, 1);
}

static void child_gone_read(struct diff *d)
{
	child_gone(d);
	range_check(d->src, 16, SRC_ID, 1);
}

static void partly_shared(struct diff *d)
{
	child_gone(d);
	range_fill(d->src, 6, SRC_ID, 1);
}

static void child_lives(struct diff *d)
{
	pid_t parent = getpid(), pid = expect_ok(fork());

	if (!pid) {
		while (getppid() == parent)
			usleep(20000);
		_exit(0);
	}
}

static void pinned(struct diff *d)
{
	pin_pages(d->src + 7 * PAGE, 1);
}

static void referenced(struct diff *d)
{
	int end;

	get_pages(d->src + 7 * PAGE, 1, &end);
}

static void swapped(struct diff *d)
{
	swap_out(d->src, 16);
}

static void partly_swapped(struct diff *d)
{
	swap_out(d->src + 3 * PAGE, 6);
}

static void swapped_shared(struct diff *d)
{
	swapped(d);
	child_gone(d);
}

static void swapped_and_back(struct diff *d)
{
	swapped(d);
	range_check(d->src, 16, SRC_ID, 1);
}

static void lazyfree(struct diff *d)
{
	expect_ok(madvise(d->src, d->len, MADV_FREE));
	/* marked in batches, which this makes take effect */
	file_write("/proc/sys/vm/compact_memory", "1");
}

static void soft_dirty_cleared(struct diff *d)
{
	file_write("/proc/self/clear_refs", "4");
}

static void zero_soft_dirty(struct diff *d)
{
	zero_pages(d);
	soft_dirty_cleared(d);
}

static void swapped_soft_dirty(struct diff *d)
{
	swapped(d);
	soft_dirty_cleared(d);
}

static void protect_source(struct diff *d)
{
	uffd_register(d->e.uffd, d->src, d->len, MODE_WP);
	uffd_wp(d->e.uffd, d->src, d->len, true);
}

static void wp_source(struct diff *d)
{
	protect_source(d);
}

static void wp_both_registered(struct diff *d)
{
	protect_source(d);
	uffd_register(d->e.uffd, d->dst, d->len, MODE_WP | MODE_MISSING);
}

static void wp_swapped(struct diff *d)
{
	skip_if(kernel_is_debug(),
		"page table check warns of what the kernel's own move leaves");
	protect_source(d);
	swapped(d);
}

static void wp_hole(struct diff *d)
{
	hole_allowed(d);
	protect_source(d);
}

static void wp_hole_destination(struct diff *d)
{
	uffd_register(d->e.uffd, d->dst, d->len, MODE_WP | MODE_MISSING);
	uffd_wp(d->e.uffd, d->dst + 5 * PAGE, 3 * PAGE, true);
}

static void missing_source(struct diff *d)
{
	uffd_register(d->e.uffd, d->src, d->len, MODE_MISSING);
}

static void poison(struct diff *d)
{
	expect_ok(madvise(d->src + 5 * PAGE, PAGE, MADV_DONTNEED));
	uffd_register(d->e.uffd, d->src, d->len, MODE_MISSING);
	ck_assert_int_eq(try_uffd_poison(d->e.uffd, d->src + 5 * PAGE, PAGE), 0);
	d->mode = HOLES;
}

static void poison_destination(struct diff *d)
{
	uffd_register(d->e.uffd, d->dst, d->len, MODE_MISSING);
	ck_assert_int_eq(try_uffd_poison(d->e.uffd, d->dst + 5 * PAGE, PAGE), 0);
}

static void guard_at(char *page)
{
	skip_if(madvise(page, PAGE, MADV_GUARD_INSTALL), "no guard pages");
}

static void guard(struct diff *d)
{
	guard_at(d->src + 5 * PAGE);
	d->mode = HOLES;
}

static void guard_destination(struct diff *d)
{
	guard_at(d->dst + 5 * PAGE);
}

static void memory_error(struct diff *d)
{
	break_page(d->src + 5 * PAGE);
}

static void memory_error_destination(struct diff *d)
{
	populated(d);
	break_page(d->dst + 5 * PAGE);
}

static void merged(struct diff *d)
{
	int i;

	range_fill(d->src + 8 * PAGE, 8, SRC_ID + 8, 1);
	for (i = 8; i < 16; i++)
		page_fill(d->src + i * PAGE, 77, 1);
	expect_ok(madvise(d->src, d->len, MADV_MERGEABLE));
	file_write("/sys/kernel/mm/ksm/pages_to_scan", "10000");
	file_write("/sys/kernel/mm/ksm/sleep_millisecs", "10");
	skip_if(file_write("/sys/kernel/mm/ksm/run", "1"), "no KSM");
	for (i = 0; i < 600 && page_pfn(d->src + 15 * PAGE) !=
	     page_pfn(d->src + 8 * PAGE); i++)
		usleep(20000);
	file_write("/sys/kernel/mm/ksm/run", "0");
	ck_assert_uint_eq(page_pfn(d->src + 15 * PAGE),
			  page_pfn(d->src + 8 * PAGE));
	/* what was looked at and not merged may not be exclusive any more */
	range_fill(d->src, 8, SRC_ID, 1);
}

static void mlocked(struct diff *d)
{
	expect_ok(mlock(d->src, d->len));
	expect_ok(mlock2(d->dst, d->len, MLOCK_ONFAULT));
}

#define CASE(f)			{ .name = #f, .set_up = f }
#define CASE_WITH(f, what)	{ .name = #f, .set_up = f, .features = what }
#define WP			UFFD_FEATURE_PAGEFAULT_FLAG_WP

static const struct diff_case cases[] = {
	CASE(plain), CASE(read_twice), CASE(hole), CASE(hole_allowed),
	CASE(all_holes), CASE(first_hole), CASE(populated),
	CASE(populated_first), CASE(populated_and_hole),
	CASE(populated_by_zero), CASE(populated_by_swap), CASE(zero_pages),
	CASE(child_gone), CASE(child_gone_written), CASE(child_gone_read),
	CASE(partly_shared), CASE(child_lives), CASE(pinned), CASE(referenced),
	CASE(swapped), CASE(partly_swapped), CASE(swapped_shared),
	CASE(swapped_and_back), CASE(lazyfree), CASE(soft_dirty_cleared),
	CASE(zero_soft_dirty), CASE(swapped_soft_dirty),
	CASE_WITH(wp_source, WP), CASE_WITH(wp_both_registered, WP),
	CASE_WITH(wp_swapped, WP),
	CASE_WITH(wp_hole, WP | UFFD_FEATURE_WP_UNPOPULATED),
	CASE_WITH(wp_hole_destination, WP | UFFD_FEATURE_WP_UNPOPULATED),
	CASE(missing_source), CASE_WITH(poison, UFFD_FEATURE_POISON),
	CASE_WITH(poison_destination, UFFD_FEATURE_POISON), CASE(guard),
	CASE(guard_destination), CASE(memory_error),
	CASE(memory_error_destination), CASE(merged), CASE(mlocked),
};

START_TEST(page)
{
	diff_case_run(&cases[_i]);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(page, ARRAY_SIZE(cases)),
};
DIFF_MAIN("diff", tests)
