// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that pages merged by KSM are refused by their own reason, or copied
 * with UNSHARE, that pages KSM only looked at are healed, and that its zero
 * pages move with the books kept (semantics B "KSM page", "!PAE without any
 * fork" (b), "shared zero page"; E "ksm_zero leak").
 */
#include "util_peer.h"
#include "util_state.h"

#define KSM	"/sys/kernel/mm/ksm/"

enum { N = 24, ID = 70 };

static void ksm_stop(void)
{
	file_write(KSM "run", "0");
}

/* As fast as it can; each page is looked at in each scan. */
static void ksm_start(void)
{
	skip_if(!ksm_available(), "no KSM");
	file_write(KSM "smart_scan", "0");
	file_write(KSM "advisor_mode", "none");
	file_write(KSM "max_page_sharing", "100000");
	file_write(KSM "sleep_millisecs", "0");
	file_write(KSM "pages_to_scan", "5000");
	file_write(KSM "use_zero_pages", "0");
	ck_assert_int_eq(file_write(KSM "run", "1"), 0);
}

static bool is_merged(const char *addr)
{
	return kpageflags(addr) & KPF_KSM;
}

static size_t count_merged(const char *start, size_t pages)
{
	size_t i, n = 0;

	for (i = 0; i < pages; i++)
		n += is_merged(start + i * PAGE);
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
	ksm_start();
	for (tries = 0; tries < 50; tries++) {
		wait_scans(1);
		if (count_merged(a, pages) == pages &&
		    count_merged(b, pages) == pages)
			break;
	}
	ksm_stop();
	ck_assert_uint_eq(count_merged(a, pages), pages);
	ck_assert_uint_eq(count_merged(b, pages), pages);
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
	r = matrix_move("KSM page", fd, dst, a, N * PAGE, 0);
	expect_result(r, REFUSED(EBUSY, KSM), .stop = ADDR(a));
	pagemap_read(a, N, after);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_uint_eq(count_merged(a, N), N);
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
	r = matrix_move("KSM page, UNSHARE", fd, dst, a, N * PAGE,
			UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = N * PAGE, .healed = N * PAGE);
	ck_assert_uint_eq(count_merged(b, N), N);
	ck_assert_uint_eq(count_merged(dst, N), 0);
	range_check(dst, N, ID, 1);
	range_fill(dst, N, ID, 2);
	range_check(b, N, ID, 1);
	range_fill(b, N, ID, 3);
	range_check(dst, N, ID, 2);
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
 * KSM takes the right to write, compares again, and finds that the page has
 * changed: nothing was merged, but the page is not exclusive any more.  The
 * third set of pages is made equal to the two merged ones, and written to, once
 * each, while KSM is at them.
 */
enum { MANY = 512, ROUNDS = 150 };

struct diverge {
	char *pages;
	uint32_t seq;
};

static void *write_once(void *arg)
{
	struct diverge *d = arg;
	size_t i, at, step = 1 + 2 * rnd_below(MANY / 2);
	volatile int delay;

	pin_cpu(1);
	for (i = 0, at = rnd_below(MANY); i < MANY; i++) {
		*(volatile uint64_t *)(d->pages + at * PAGE + 8 * 100) = d->seq;
		at = (at + step) % MANY;
		for (delay = rnd_below(3000); delay > 0; delay--)
			;
	}
	return NULL;
}

static void fill_equal(char *start)
{
	for (size_t i = 0; i < MANY; i++)
		page_fill(start + i * PAGE, ID, 1);
}

/* Every page that KSM left not exclusive: refused, healed, and not copied wrong. */
static size_t heal_looked_at(int fd, char *dst, char *v, uint32_t seq)
{
	struct move_result r;
	size_t i, found = 0;

	for (i = 0; i < MANY; i++) {
		char *page = v + i * PAGE;

		if (is_merged(page))
			continue;
		r = try_move(fd, dst, page, PAGE, 0);
		if (r.ret) {
			found++;
			expect_result(r, REFUSED(EBUSY, NOT_EXCLUSIVE),
				      .stop = ADDR(page));
			expect_move_as(fd, dst, page, PAGE, UREMAP_MOVE_UNSHARE,
				       .done = PAGE, .healed = PAGE);
		}
		ck_assert_uint_eq(*(uint64_t *)(dst + 8 * 100), seq);
		/* all but that word is what it was: its neighbour tells */
		*(uint64_t *)(dst + 8 * 100) = *(uint64_t *)(dst + 8 * 101) - 1;
		page_check(dst, ID, 1);
		expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	}
	return found;
}

START_TEST(looked_at)
{
	int fd = dev_open_all();
	char *a = map_anon(2), *b = map_anon(2), *dst = map_anon(1);
	char *v = map_anon(MANY);
	struct diverge d = { .pages = v };
	size_t found = 0;
	int round;

	page_fill(a, ID, 1), page_fill(a + PAGE, ID, 1);
	page_fill(b, ID, 1), page_fill(b + PAGE, ID, 1);
	merge(a, b, 2);
	expect_ok(madvise(v, MANY * PAGE, MADV_MERGEABLE));
	for (round = 1; round <= ROUNDS && !found; round++) {
		pthread_t t;

		fill_equal(v);
		d.seq = round;
		ksm_start();
		t = thread_start(write_once, &d);
		wait_scans(0);
		thread_join(t);
		/* returns when the scan that runs has ended */
		ksm_stop();
		found = heal_looked_at(fd, dst, v, round);
	}
	skip_if(!found, "KSM was never caught between its two looks");
	test_note("caught %zu pages in round %d", found, round - 1);
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
	ksm_start();
	file_write(KSM "use_zero_pages", "1");
	for (tries = 0; tries < 50 && n < pages; tries++) {
		wait_scans(1);
		for (i = n = 0; i < pages; i++)
			n += !!(kpageflags(p + i * PAGE) & KPF_ZERO_PAGE);
	}
	ksm_stop();
	file_write(KSM "use_zero_pages", "0");
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

	r = matrix_move("zero page placed by KSM", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	for (size_t i = 0; i < N; i++) {
		page_check_zero(dst + i * PAGE);
		ck_assert(kpageflags(dst + i * PAGE) & KPF_ZERO_PAGE);
	}
	ck_assert_int_eq(zero_pages(), before);
	page_fill(dst, 1, 1);
	expect_ok(munmap(dst, N * PAGE));
	skip_if(before < 0, "no /proc/PID/ksm_stat to tell if the books are kept");
	ck_assert_int_ge(before, N);
	ck_assert_int_eq(zero_pages(), before - N);
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
	UTEST(merged_among_others),
	UTEST(merged_after_move),
	UTEST_SLOW(looked_at, 300),
	UTEST(zero_pages_move),
	UTEST(zero_pages_native),
};
UTEST_MAIN("ksm", tests)
