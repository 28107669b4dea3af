// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that pages merged by KSM are refused by their own reason, or copied
 * with UNSHARE, that pages KSM only looked at are healed, and that its zero
 * pages move with the books kept (B-ksm, B-nofork (b), B-zero; E "counters of
 * KSM zero pages").
 */
#include "util_peer.h"
#include "util_state.h"

#include <sys/resource.h>

#define KSM	"/sys/kernel/mm/ksm/"

enum { N = 24, ID = 70 };

static void ksm_stop(void)
{
	file_write(KSM "run", "0");
}

/* As fast as it can; each page is looked at in each scan. */
static void ksm_start(const char *zero_pages)
{
	skip_if(!ksm_available(), "no KSM");
	file_write(KSM "smart_scan", "0");
	file_write(KSM "advisor_mode", "none");
	file_write(KSM "max_page_sharing", "100000");
	file_write(KSM "sleep_millisecs", "0");
	file_write(KSM "pages_to_scan", "5000");
	file_write(KSM "use_zero_pages", zero_pages);
	ck_assert_int_eq(file_write(KSM "run", "1"), 0);
}

/*
 * Pages are merged if they are one frame.  /proc/kpageflags will not do: in
 * 6.12 it takes every anonymous page for one of KSM's.
 */
static size_t count_merged(const char *a, const char *b, size_t pages)
{
	size_t i, n = 0;

	for (i = 0; i < pages; i++)
		n += page_pfn(a + i * PAGE) == page_pfn(b + i * PAGE);
	return n;
}

/* Waits until @n whole scans have begun and ended. */
static void wait_scans(long n)
{
	long until = file_read_long(KSM "full_scans") + n + 1;
	int tries;

	for (tries = 0; tries < 6000; tries++) {
		if (file_read_long(KSM "full_scans") >= until)
			return;
		usleep(10000);
	}
	ck_abort_msg("KSM does not get on");
}

/* Two mappings of equal pages become one set of them; KSM rests then. */
static void merge(char *a, char *b, size_t pages)
{
	int tries;

	expect_ok(madvise(a, pages * PAGE, MADV_MERGEABLE));
	expect_ok(madvise(b, pages * PAGE, MADV_MERGEABLE));
	ksm_start("0");
	for (tries = 0; tries < 50; tries++) {
		wait_scans(1);
		if (count_merged(a, b, pages) == pages)
			break;
	}
	ksm_stop();
	ck_assert_uint_eq(count_merged(a, b, pages), pages);
}

/* Refused with its own reason; nothing is different then. */
START_TEST(merged_refused)
{
	int fd = dev_open_all();
	char *a = map_filled(N, ID, 1), *b = map_filled(N, ID, 1);
	char *dst = map_anon(N);
	uint64_t before[N], after[N];
	struct move_result r;

	merge(a, b, N);
	pagemap_read(a, N, before);
	r = matrix_move("merged by KSM", fd, dst, a, N * PAGE, 0);
	expect_result(r, REFUSED(EBUSY, KSM), .stop = ADDR(a));
	pagemap_read(a, N, after);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_uint_eq(count_merged(a, b, N), N);
	ck_assert_uint_eq(count_populated(dst, N), 0);
	range_check(a, N, ID, 1);
}
END_TEST

/* With UNSHARE each gets a copy of its own; the others stay merged. */
START_TEST(merged_unshared)
{
	int fd = dev_open_all();
	char *a = map_filled(N, ID, 1), *b = map_filled(N, ID, 1);
	char *dst = map_anon(N);
	struct move_result r;

	merge(a, b, N);
	r = matrix_move("merged by KSM, UNSHARE", fd, dst, a, N * PAGE,
			UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = N * PAGE, .healed = N * PAGE);
	ck_assert_uint_eq(count_merged(dst, b, N), 0);
	range_check(dst, N, ID, 1);
	range_fill(dst, N, ID, 2);
	range_check(b, N, ID, 1);
	range_fill(b, N, ID, 3);
	range_check(dst, N, ID, 2);
}
END_TEST

/*
 * Protected by userfaultfd after that: copied where that takes no write fault,
 * for a write would be an event; else refused at once, by another reason.
 */
START_TEST(merged_protected)
{
	int fd = dev_open_all(), uffd = wp_open(0);
	char *a = map_filled(N, ID, 1), *b = map_filled(N, ID, 1);
	char *dst = map_anon(N);
	struct uffd_msg msg;
	struct move_result r;

	merge(a, b, N);
	uffd_register(uffd, a, N * PAGE, UFFDIO_REGISTER_MODE_WP);
	uffd_wp(uffd, a, N * PAGE, true);
	r = try_move(fd, dst, a, N * PAGE, UREMAP_MOVE_UNSHARE);
	if (kernel_has_pae()) {
		expect_result(r, .done = N * PAGE, .healed = N * PAGE);
		ck_assert_uint_eq(count_merged(dst, b, N), 0);
		range_check(dst, N, ID, 1);
	} else {
		expect_result(r, REFUSED(EBUSY, WP_SHARED), .stop = ADDR(a));
		ck_assert_uint_eq(count_merged(a, b, N), N);
		check_wp_bits(a, N, true);
		range_check(a, N, ID, 1);
	}
	ck_assert(!uffd_read(uffd, 0, &msg));
	range_check(b, N, ID, 1);
}
END_TEST

/* Before and after a merged page things go on as without it. */
START_TEST(merged_among_others)
{
	int fd = dev_open_all();
	char *a = map_filled(N, ID, 1), *b = map_filled(N, ID, 1);
	char *dst = map_anon(N);
	const size_t at = 9;

	merge(a, b, N);
	for (size_t i = 0; i < N; i++)
		if (i != at)
			page_fill(a + i * PAGE, ID + i, 2);
	expect_move_part(fd, dst, a, N * PAGE, 0, at * PAGE, EBUSY, KSM,
			 ADDR(a) + at * PAGE);
	range_check(dst, at, ID, 2);
	page_check(a + at * PAGE, ID + at, 1);
	expect_move_as(fd, dst + at * PAGE, a + at * PAGE, (N - at) * PAGE,
		       UREMAP_MOVE_UNSHARE, .done = (N - at) * PAGE,
		       .healed = PAGE);
	page_check(dst + at * PAGE, ID + at, 1);
	range_check(dst + (at + 1) * PAGE, N - at - 1, ID + at + 1, 2);
	page_check(b + at * PAGE, ID + at, 1);
}
END_TEST

/* What was moved can be merged again, and the merged page is the right one. */
START_TEST(merged_after_move)
{
	int fd = dev_open_all();
	char *a = map_filled(N, ID, 1), *b = map_filled(N, ID, 1);
	char *dst = map_anon(N), *again = map_anon(N);

	expect_ok(madvise(a, N * PAGE, MADV_MERGEABLE));
	expect_move(fd, dst, a, N * PAGE, 0);
	merge(dst, b, N);
	range_check(dst, N, ID, 1);
	range_fill(dst, N, ID, 2);
	range_check(b, N, ID, 1);
	expect_move(fd, again, dst, N * PAGE, 0);
	range_check(again, N, ID, 2);
}
END_TEST

/*
 * KSM takes the right to write, compares, and finds another page than it took it
 * for: nothing is merged, but the page is not exclusive any more.  With
 * use_zero_pages it does that to each page that has the checksum of a page of
 * zeros, which is 32 bits of xxh64.  These words, at the end of a page of zeros,
 * give it that checksum; they were found by trying.
 */
static const uint64_t alike[] = {
	0xc140cf1b, 0x1f98f5928, 0x349d3c066,
};

enum { ALIKE = ARRAY_SIZE(alike) - 1 };	/* and one to try the means on */

static volatile uint64_t *last_word(char *start, size_t page)
{
	return (uint64_t *)(start + (page + 1) * PAGE) - 1;
}

static long write_faults(volatile uint64_t *word)
{
	struct rusage before, after;

	getrusage(RUSAGE_THREAD, &after);
	getrusage(RUSAGE_THREAD, &before);
	*word = *word;
	getrusage(RUSAGE_THREAD, &after);
	return after.ru_minflt - before.ru_minflt;
}

/* Before 5.19 references are counted: nobody else has any, and it moves. */
START_TEST(looked_at)
{
	static const char *const states[] = {
		"looked at by KSM, not merged",
		"looked at by KSM, not merged, UNSHARE",
	};
	const bool pae = kernel_has_pae();
	int fd = dev_open_all();
	char *src = map_anon(ALIKE + 1), *dst = map_anon(ALIKE), *a, *b;
	uint64_t frames[ALIKE];
	struct move_result r;
	size_t i;

	pin_cpu(0);
	for (i = 0; i <= ALIKE; i++)
		*last_word(src, i) = alike[i];
	ck_assert_int_eq(write_faults(last_word(src, ALIKE)), 0);
	expect_ok(madvise(src, (ALIKE + 1) * PAGE, MADV_MERGEABLE));
	ksm_start("1");
	wait_scans(2);
	ksm_stop();
	lru_settle();
	ck_assert_int_eq(write_faults(last_word(src, ALIKE)), 1);
	frames_read(src, ALIKE, frames);

	r = matrix_move(states[0], fd, dst, src, ALIKE * PAGE, 0);
	if (pae)
		expect_result(r, REFUSED(EBUSY, NOT_EXCLUSIVE), .stop = ADDR(src));
	else
		expect_result(r, .done = ALIKE * PAGE);
	a = pae ? src : dst;
	b = pae ? dst : src;
	r = matrix_move(states[1], fd, b, a, ALIKE * PAGE, UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = ALIKE * PAGE, .healed = pae ? ALIKE * PAGE : 0);
	/* healed, but not copied: nobody shares it */
	check_frames(b, ALIKE, frames);
	for (i = 0; i < ALIKE; i++) {
		ck_assert_uint_eq(*last_word(b, i), alike[i]);
		*last_word(b, i) = 0;
		page_check_zero(b + i * PAGE);
	}
}
END_TEST

static long zero_pages(void)
{
	char buf[1024], *p;

	if (!file_read("/proc/self/ksm_stat", buf, sizeof(buf)))
		return -1;
	p = strstr(buf, "ksm_zero_pages ");
	return p ? strtol(p + strlen("ksm_zero_pages "), NULL, 10) : -1;
}

static char *map_merged_zeroes(size_t pages)
{
	char *p = map_anon(pages);
	int tries;
	size_t i, n = 0;

	for (i = 0; i < pages; i++)
		*(volatile char *)(p + i * PAGE) = 0;
	expect_ok(madvise(p, pages * PAGE, MADV_MERGEABLE));
	ksm_start("1");
	for (tries = 0; tries < 50 && n < pages; tries++) {
		wait_scans(1);
		for (i = n = 0; i < pages; i++)
			n += !!(kpageflags(p + i * PAGE) & KPF_ZERO_PAGE);
	}
	ksm_stop();
	ck_assert_uint_eq(n, pages);
	return p;
}

/* They move as the zero page does, and are still known to be KSM's. */
START_TEST(zero_pages_move)
{
	int fd = dev_open_all();
	char *src = map_merged_zeroes(N), *dst = map_anon(N);
	long before = zero_pages();
	struct move_result r;

	r = matrix_move("zero page of KSM", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	for (size_t i = 0; i < N; i++) {
		page_check_zero(dst + i * PAGE);
		ck_assert(kpageflags(dst + i * PAGE) & KPF_ZERO_PAGE);
	}
	ck_assert_int_eq(zero_pages(), before);
	page_fill(dst, 1, 1);
	expect_ok(munmap(dst, N * PAGE));
	/* before 6.6 there are no books */
	if (before < 0)
		return;
	ck_assert_int_ge(before, N);
	ck_assert_int_eq(zero_pages(), before - N);
}
END_TEST

/* Nor are zero pages that KSM has no part in ascribed to it. */
START_TEST(zero_pages_not_made_up)
{
	int fd = dev_open_all();
	char *src = map_anon(N), *dst = map_anon(N);
	long before = zero_pages();

	skip_if(before < 0, "no /proc/PID/ksm_stat");
	for (size_t i = 0; i < N; i++) {
		page_check_zero(src + i * PAGE);
		ck_assert(kpageflags(src + i * PAGE) & KPF_ZERO_PAGE);
	}
	expect_move(fd, dst, src, N * PAGE, 0);
	expect_ok(munmap(dst, N * PAGE));
	ck_assert_int_eq(zero_pages(), before);
}
END_TEST

/* The kernel's own move forgets whose zero pages they were. */
START_TEST(zero_pages_native)
{
	char *src, *dst = map_anon(N);
	int uffd = uffd_open(UFFD_FEATURE_MOVE);
	long before;
	__s64 move;

	src = map_merged_zeroes(N);
	before = zero_pages();
	skip_if(before < 0, "no /proc/PID/ksm_stat");
	uffd_register(uffd, dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	expect_ok(native_move(uffd, dst, src, N * PAGE, 0, &move));
	expect_ok(munmap(dst, N * PAGE));
	test_note("native: %ld zero pages on the books of %ld", zero_pages(),
		  before - N);
	ck_assert_int_gt(zero_pages(), before - N);
}
END_TEST

static const struct utest tests[] = {
	UTEST(merged_refused),
	UTEST(merged_unshared),
	UTEST(merged_protected),
	UTEST(merged_among_others),
	UTEST(merged_after_move),
	UTEST_SLOW(looked_at, 300),
	UTEST(zero_pages_move),
	UTEST(zero_pages_not_made_up),
	UTEST(zero_pages_native),
};
UTEST_MAIN("ksm", tests)
