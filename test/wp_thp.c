// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves G3 for huge pages: protection of the whole is set, carried or dropped
 * with the whole, and survives splitting on every way.
 */
#include "util_state.h"

#define WP		UREMAP_MOVE_WP
#define KEEP		UREMAP_MOVE_KEEP_WP
#define MODE_WP		UFFDIO_REGISTER_MODE_WP

struct modes {
	bool src_protected, dst_registered;
	__u64 mode;
	bool dst_protected;
};

static const struct modes cases[] = {
	{ false, true, WP, true },
	{ true, true, WP, true },
	{ true, true, KEEP, true },
	{ false, true, KEEP, false },
	{ true, false, KEEP, false },
	{ true, true, 0, false },
	{ true, false, 0, false },
};

static char *map_source(int uffd, bool protected)
{
	char *src = map_thp(1, 1, 1);

	if (protected) {
		uffd_register(uffd, src, PMD, MODE_WP);
		uffd_wp(uffd, src, PMD, true);
		ck_assert_int_eq(huge_kb(src), PMD / 1024);
	}
	return src;
}

static void expect_protection(int uffd, char *dst, bool protected)
{
	static const int at[] = { 0, 300, 511 };

	check_wp_bits(dst, HPAGES, protected);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		if (protected)
			expect_trap(uffd, dst + at[i] * PAGE, 1 + at[i], 1);
		else
			expect_no_trap(uffd, dst + at[i] * PAGE, 1 + at[i], 1);
	}
	range_check(dst + PAGE, 299, 2, 1);
	range_check(dst + 301 * PAGE, 210, 302, 1);
}

/* As a whole. */
START_TEST(whole)
{
	const struct modes *c = &cases[_i];
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_source(uffd, c->src_protected), *dst = map_thp_dst(1);

	if (c->dst_registered)
		uffd_register(uffd, dst, PMD, MODE_WP);
	expect_move(fd, dst, src, PMD, c->mode);
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
	ck_assert_uint_eq(count_populated(src, HPAGES), 0);
	expect_protection(uffd, dst, c->dst_protected);
}
END_TEST

/* As 512 entries of the whole folio. */
START_TEST(onto_table)
{
	const struct modes *c = &cases[_i];
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_source(uffd, c->src_protected);
	char *dst = map_anon_aligned(HPAGES, PMD, 0);

	dst[0] = 1;
	expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	if (c->dst_registered)
		uffd_register(uffd, dst, PMD, MODE_WP);
	expect_move(fd, dst, src, PMD, c->mode);
	expect_protection(uffd, dst, c->dst_protected);
}
END_TEST

/* To where it does not fit. */
START_TEST(misaligned)
{
	const struct modes *c = &cases[_i];
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_source(uffd, c->src_protected);
	char *dst = map_anon_aligned(HPAGES, PMD, 100);

	if (c->dst_registered)
		uffd_register(uffd, dst, HPAGES * PAGE, MODE_WP);
	expect_move(fd, dst, src, PMD, c->mode);
	expect_protection(uffd, dst, c->dst_protected);
}
END_TEST

/* A part moves, the rest stays, both protected. */
START_TEST(part)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_source(uffd, true), *dst = map_anon(HPAGES);

	uffd_register(uffd, dst, PMD, MODE_WP);
	expect_move(fd, dst + 9 * PAGE, src + 9 * PAGE, 5 * PAGE, KEEP);
	check_wp_bits(dst + 9 * PAGE, 5, true);
	check_wp_bits(src, 9, true);
	check_wp_bits(src + 14 * PAGE, HPAGES - 14, true);
	expect_trap(uffd, dst + 10 * PAGE, 11, 1);
	expect_trap(uffd, src + 8 * PAGE, 9, 1);
	expect_trap(uffd, src + 14 * PAGE, 15, 1);
	ck_assert(!page_populated(src + 9 * PAGE));
}
END_TEST

/* Protection of a moved page lasts when its mapping is taken apart. */
START_TEST(split_later)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_source(uffd, _i), *dst = map_thp_dst(1);

	uffd_register(uffd, dst, PMD, MODE_WP);
	expect_move(fd, dst, src, PMD, _i ? KEEP : WP);
	expect_ok(mprotect(dst + 7 * PAGE, PAGE, PROT_READ));
	expect_ok(mprotect(dst + 7 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	ck_assert_int_eq(huge_kb(dst), 0);
	check_wp_bits(dst, HPAGES, true);
	expect_trap(uffd, dst + 7 * PAGE, 8, 1);
	expect_trap(uffd, dst + 8 * PAGE, 9, 1);
	expect_ok(madvise(dst + 20 * PAGE, PAGE, MADV_DONTNEED));
	expect_trap(uffd, dst + 21 * PAGE, 22, 1);
}
END_TEST

/* An mprotect round trip of the whole, a fork, a trip to swap. */
START_TEST(lasts)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *src = map_source(uffd, true), *dst = map_thp_dst(1);
	pid_t pid;

	uffd_register(uffd, dst, PMD, MODE_WP);
	expect_move(fd, dst, src, PMD, KEEP);
	expect_ok(mprotect(dst, PMD, PROT_READ));
	expect_ok(mprotect(dst, PMD, PROT_READ | PROT_WRITE));
	check_wp_bits(dst, HPAGES, true);
	pid = expect_ok(fork());
	if (!pid)
		_exit(0);
	child_join(pid);
	check_wp_bits(dst, HPAGES, true);
	swap_out(dst, HPAGES);
	check_wp_bits(dst, HPAGES, true);
	expect_trap(uffd, dst, 1, 1);
	expect_trap(uffd, dst + 511 * PAGE, 512, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(whole, ARRAY_SIZE(cases)),
	UTEST_LOOP(onto_table, ARRAY_SIZE(cases)),
	UTEST_LOOP(misaligned, ARRAY_SIZE(cases)),
	UTEST(part),
	UTEST_LOOP(split_later, 2),
	UTEST(lasts),
};
UTEST_MAIN("wp_thp", tests)
