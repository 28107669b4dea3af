// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram -M loop -M ext4 -M null_blk */
/*
 * Proves that swapped pages move, on zram and on a swap file, that none of their
 * content, books or sharing is lost, and that they can be swapped and read again
 * afterwards (B-swap, B-swapcache, B-swaplarge, B-swapshared, B-softdirty,
 * B-thp-swapcache, B-nofork (a); C8 to C11; E CVE-2025-21984, CVE-2025-38242).
 */
#include "util_peer.h"
#include "util_state.h"
#include "util_swap.h"

#include <time.h>

enum { N = 200, ID = 40 };

/* Devices that tests are repeated on */
enum { DEVICES = 2 };

static const char *const state[] = {
	"swapped out", "swapped out to a file",
};

/*
 * Tells the matrix in which of the two ways it went.  Of a file the swap cache
 * still has some pages, and those always come in; on zram none.
 */
static void tell(int kind, struct move_result r, const char *dst)
{
	if (r.ret || kind != SWAP_ZRAM)
		matrix(state[kind], r);
	else
		matrix_says(state[kind], count_swapped(dst, N) ? "moved" :
			    "swapped in, moved");
}

static char *map_swapped(size_t pages)
{
	char *p = map_filled(pages, ID, 1);

	swap_out(p, pages);
	ck_assert_uint_eq(count_swapped(p, pages), pages);
	return p;
}

/*
 * The kind of move the module announces: the entries, or the pages.  An entry
 * whose page the swap cache still has goes with the page in any case; zram has
 * none left when paging out returns.
 */
static void check_kind(int fd, const char *dst, size_t pages, bool cached)
{
	bool entries = dev_feature(fd, UREMAP_FEATURE_SWAP_ENTRY);
	size_t n = count_swapped(dst, pages);

	ck_assert(dev_feature(fd, UREMAP_FEATURE_SWAP));
	ck_assert_uint_eq(count_populated(dst, pages), pages);
	if (!entries)
		ck_assert_uint_eq(n, 0);
	else if (!cached)
		ck_assert_uint_eq(n, pages);
}

/* All of it swapped: arrives, once, and the books are even in the end. */
START_TEST(swapped)
{
	int fd = dev_open_all();
	char *src, *dst = map_anon(N);
	struct move_result r;

	swap_use(_i);
	src = map_swapped(N);
	r = try_move(fd, dst, src, N * PAGE, 0);
	tell(_i, r, dst);
	expect_result(r, .done = N * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	check_kind(fd, dst, N, _i == SWAP_FILE);
	range_check(dst, N, ID, 1);
	for (size_t i = 0; i < N; i++)
		page_check_zero(src + i * PAGE);
	range_fill(dst, N, ID, 2);
	range_check(dst, N, ID, 2);
	munmap(dst, N * PAGE);
	munmap(src, N * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}
END_TEST

/* Never touched after the move: the unmapping alone must give the swap back. */
START_TEST(swapped_and_unmapped)
{
	int fd = dev_open_all(), i;
	char *src, *dst;
	long rss;

	swap_use(_i);
	rss = status_kb(0, "RssAnon");
	for (i = 0; i < 8; i++) {
		src = map_swapped(N);
		dst = map_anon(N);
		expect_move(fd, dst, src, N * PAGE, 0);
		munmap(dst, N * PAGE);
		munmap(src, N * PAGE);
	}
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - rss), 256);
}
END_TEST

/* Whoever tracks changes by soft-dirty sees each page come. */
START_TEST(soft_dirty)
{
	int fd = dev_open_all();
	char *src, *dst = map_anon(N);
	size_t i;

	swap_use(_i);
	src = map_swapped(N);
	ck_assert_int_eq(file_write("/proc/self/clear_refs", "4"), 0);
	ck_assert_uint_eq(pagemap(src) & PM_SOFT_DIRTY, 0);
	expect_move(fd, dst, src, N * PAGE, 0);
	for (i = 0; i < N; i++)
		ck_assert(pagemap(dst + i * PAGE) & PM_SOFT_DIRTY);
}
END_TEST

enum what { NONE, PRESENT, SWAPPED, ZERO, KINDS };

/* Present, swapped, zero and empty pages in any order, in one request. */
START_TEST(mixture)
{
	int fd = dev_open_all(), round;
	enum what is[N];
	char *src, *dst;
	size_t i, holes;

	swap_use(_i);
	for (round = 0; round < 6; round++) {
		src = map_swapped(N);
		dst = map_anon(N);
		for (i = holes = 0; i < N; i++) {
			is[i] = rnd_below(KINDS);
			holes += is[i] == NONE;
			if (is[i] == PRESENT)
				page_fill(src + i * PAGE, ID + i, 2);
			else if (is[i] != SWAPPED)
				madvise(src + i * PAGE, PAGE, MADV_DONTNEED);
			if (is[i] == ZERO)
				page_check_zero(src + i * PAGE);
		}
		expect_move_holes(fd, dst, src, N * PAGE,
				  UREMAP_MOVE_ALLOW_SRC_HOLES, holes * PAGE);
		ck_assert_uint_eq(count_populated(src, N), 0);
		ck_assert_uint_eq(count_populated(dst, N), N - holes);
		for (i = 0; i < N; i++) {
			if (is[i] == PRESENT || is[i] == SWAPPED)
				page_check(dst + i * PAGE, ID + i,
					   is[i] == PRESENT ? 2 : 1);
			else
				page_check_zero(dst + i * PAGE);
		}
		munmap(src, N * PAGE);
		munmap(dst, N * PAGE);
	}
}
END_TEST

static int watch(struct peer *p, void *src)
{
	peer_turn(p);
	range_check(src, N, ID, 1);
	return 0;
}

/* A child shares the entries: refused, or healed; it reads the old content. */
START_TEST(shared_entries)
{
	int fd = dev_open_all();
	char *src, *dst = map_anon(N);
	struct move_result r;
	struct peer p;

	swap_use(_i);
	src = map_swapped(N);
	peer_start(&p, watch, src);
	peer_hear(&p);
	r = matrix_move("swapped out, shared with a child", fd, dst, src,
			N * PAGE, 0);
	expect_result(r, REFUSED(EBUSY, NOT_EXCLUSIVE), .stop = ADDR(src));
	ck_assert_uint_eq(count_populated(src, N), N);
	ck_assert_uint_eq(count_populated(dst, N), 0);
	r = matrix_move("swapped out, shared with a child, UNSHARE", fd, dst,
			src, N * PAGE, UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = N * PAGE, .healed = N * PAGE);
	range_check(dst, N, ID, 1);
	range_fill(dst, N, ID, 2);
	peer_end(&p);
	range_check(dst, N, ID, 2);
	munmap(dst, N * PAGE);
	munmap(src, N * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}
END_TEST

static int nothing(void *arg)
{
	return 0;
}

/* The child is gone; whether the kernel can tell differs, the content does not. */
START_TEST(once_shared_entries)
{
	int fd = dev_open_all();
	char *src, *dst = map_anon(N);
	struct move_result r;

	swap_use(_i);
	src = map_swapped(N);
	child_run(nothing, NULL);
	r = try_move(fd, dst, src, N * PAGE, UREMAP_MOVE_UNSHARE);
	ck_assert_uint_le(r.healed, N * PAGE);
	expect_result(r, .done = N * PAGE, .healed = r.healed);
	range_check(dst, N, ID, 1);
	range_fill(dst, N, ID, 2);
	swap_out(dst, N);
	range_check(dst, N, ID, 2);
}
END_TEST

/*
 * All of it moves.  Before 5.19 a page that was just read back may have to be
 * copied, for per-CPU lists hold references of it (D rule 4).
 */
static void moves_unshared(int fd, char *dst, char *src)
{
	struct move_result r = try_move(fd, dst, src, N * PAGE,
					UREMAP_MOVE_UNSHARE);

	expect_result(r, .done = N * PAGE,
		      .healed = kernel_has_pae() ? 0 : r.healed);
}

/*
 * Swap-in reads ahead: the neighbours of what is touched are in the swap cache
 * then, while their entries are still swap entries.  The page that the cache
 * has must follow: reclaim and swap-in go by its index and anon_vma.
 */
START_TEST(read_ahead)
{
	int fd = dev_open_all(), round;
	char *src, *dst;
	size_t i;

	swap_use(_i);
	for (round = 1; round <= 5; round++) {
		src = map_swapped(N);
		dst = map_anon(N);
		for (i = round; i < N; i += 8)
			page_check(src + i * PAGE, ID + i, 1);
		moves_unshared(fd, dst, src);
		ck_assert_uint_eq(count_populated(src, N), 0);
		swap_out(dst, N);
		range_check(dst, N, ID, 1);
		range_fill(dst, N, ID, 2);
		swap_out(dst, N);
		range_check(dst, N, ID, 2);
		munmap(src, N * PAGE);
		munmap(dst, N * PAGE);
	}
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}
END_TEST

/* Present, but the swap cache has it, too: swapped back in by a read. */
START_TEST(present_in_swap_cache)
{
	int fd = dev_open_all();
	char *src, *dst = map_anon(N);

	swap_use(_i);
	src = map_swapped(N);
	range_check(src, N, ID, 1);
	moves_unshared(fd, dst, src);
	range_check(dst, N, ID, 1);
	page_fill(dst, ID, 2);
	swap_out(dst, N);
	page_check(dst, ID, 2);
	range_check(dst + PAGE, N - 1, ID + 1, 1);
}
END_TEST

/* There and back, swapped out at both ends, many times. */
START_TEST(back_and_forth)
{
	int fd = dev_open_all(), round;
	char *a, *b = map_anon(N), *t;
	size_t at;

	swap_use(_i);
	a = map_filled(N, ID, 1);
	for (round = 0; round < repeats(25); round++) {
		at = rnd_below(N);
		swap_out(a + at * PAGE, N - at);
		expect_move(fd, b, a, N * PAGE, 0);
		at = rnd_below(N);
		page_check(b + at * PAGE, ID + at, 1);
		*(volatile uint64_t *)(b + at * PAGE) =
			*(volatile uint64_t *)(b + at * PAGE);
		t = a, a = b, b = t;
	}
	range_check(a, N, ID, 1);
	munmap(a, N * PAGE);
	munmap(b, N * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}
END_TEST

/* A huge page that was swapped out comes back in pieces, and moves. */
START_TEST(huge_swapped)
{
	int fd = dev_open_all();
	char *src, *dst = map_thp_dst(1);
	struct move_result r;

	swap_use(_i);
	src = map_thp(1, ID, 1);
	swap_out(src, 512);
	r = matrix_move("huge page, swapped out", fd, dst, src, PMD, 0);
	expect_result(r, .done = PMD);
	range_check(dst, 512, ID, 1);
	ck_assert_uint_eq(count_populated(src, 512), 0);
	swap_out(dst, 512);
	range_check(dst, 512, ID, 1);
}
END_TEST

/* B-thp-swapcache: read back, while the swap cache still has it, of a file. */
START_TEST(huge_read_back)
{
	int fd = dev_open_all();
	char *src, *dst = map_thp_dst(1);
	struct move_result r;

	pin_cpu(0);
	swap_use(_i);
	src = map_thp(1, ID, 1);
	swap_out(src, 512);
	range_check(src, 512, ID, 1);
	r = try_move(fd, dst, src, PMD, UREMAP_MOVE_UNSHARE);
	if (_i == SWAP_ZRAM)
		matrix("huge page, read back from swap", r);
	expect_result(r, .done = PMD,
		      .healed = kernel_has_pae() ? 0 : r.healed);
	range_check(dst, 512, ID, 1);
	ck_assert_uint_eq(count_populated(src, 512), 0);
	range_fill(dst, 512, ID, 2);
	swap_out(dst, 512);
	range_check(dst, 512, ID, 2);
}
END_TEST

/*
 * Read back while it is still being written, to a device that wants pages to
 * lie still meanwhile: mapped read-only and not exclusive, though nobody forked.
 */
START_TEST(under_writeback)
{
	enum { FEW = 8 };
	int fd = dev_open_all();
	char *src, *dst = map_anon(FEW);
	struct move_result r;

	swap_use(SWAP_SLOW);
	src = map_filled(FEW, ID, 1);
	lru_settle();
	expect_ok(madvise(src, FEW * PAGE, MADV_PAGEOUT));
	ck_assert_uint_eq(count_swapped(src, FEW), FEW);
	range_check(src, FEW, ID, 1);
	r = matrix_move("read back under writeback", fd, dst, src, FEW * PAGE, 0);
	expect_result(r, REFUSED(EBUSY, NOT_EXCLUSIVE), .stop = ADDR(src));
	r = matrix_move("read back under writeback, UNSHARE", fd, dst, src,
			FEW * PAGE, UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = FEW * PAGE, .healed = FEW * PAGE);
	range_fill(dst, FEW, ID, 2);
	range_check(dst, FEW, ID, 2);
	munmap(dst, FEW * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}
END_TEST

/* The same, but the move itself is the first to touch it. */
START_TEST(entry_under_writeback)
{
	enum { FEW = 8 };
	int fd = dev_open_all();
	char *src, *dst = map_anon(FEW);
	struct move_result r;

	swap_use(SWAP_SLOW);
	src = map_filled(FEW, ID, 1);
	lru_settle();
	expect_ok(madvise(src, FEW * PAGE, MADV_PAGEOUT));
	ck_assert_uint_eq(count_swapped(src, FEW), FEW);
	r = try_move(fd, dst, src, FEW * PAGE, UREMAP_MOVE_UNSHARE);
	expect_result(r, .done = FEW * PAGE, .healed = r.healed);
	range_fill(dst, FEW, ID, 2);
	range_check(dst, FEW, ID, 2);
	ck_assert_uint_eq(count_populated(src, FEW), 0);
	munmap(dst, FEW * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}
END_TEST

/* Written, and so in the swap cache no longer under writeback */
static void wait_written(void)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	do {
		nanosleep(&pause, NULL);
		file_write("/proc/sys/vm/stat_refresh", "1");
	} while (vmstat("nr_writeback") > 0);
}

/*
 * B-swaplarge: a large folio went out in one piece and is in the swap cache
 * still.  UFFDIO_MOVE says EBUSY; here it is mapped at the source, and moves.
 */
START_TEST(large_in_swap_cache)
{
	enum { KB = 64, PAGES = KB / 4 };
	static const char swpout[] = "/sys/kernel/mm/transparent_hugepage/"
				     "hugepages-64kB/stats/swpout";
	int fd = dev_open_all();
	char *src, *dst = map_anon_aligned(PAGES, PMD, 0);
	struct move_result r;
	long before;

	if (!mthp_available(KB))
		matrix_absent("large folio, swapped out");
	src = map_folios(KB, PAGES, ID, 1);
	swap_use(SWAP_SLOW);
	lru_settle();
	before = file_read_long(swpout);
	expect_ok(madvise(src, PAGES * PAGE, MADV_PAGEOUT));
	ck_assert_uint_eq(count_swapped(src, PAGES), PAGES);
	ck_assert_int_eq(file_read_long(swpout), before + 1);
	wait_written();
	r = matrix_move("large folio, swapped out", fd, dst, src, PAGES * PAGE,
			0);
	expect_result(r, .done = PAGES * PAGE);
	ck_assert_uint_eq(count_populated(src, PAGES), 0);
	range_check(dst, PAGES, ID, 1);
	range_fill(dst, PAGES, ID, 2);
	expect_ok(madvise(dst, PAGES * PAGE, MADV_PAGEOUT));
	range_check(dst, PAGES, ID, 2);
	munmap(dst, PAGES * PAGE);
	ck_assert_int_eq(status_kb(0, "VmSwap"), 0);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(swapped, DEVICES),
	UTEST_LOOP(swapped_and_unmapped, DEVICES),
	UTEST_LOOP(soft_dirty, DEVICES),
	UTEST_LOOP(mixture, DEVICES),
	UTEST_LOOP(shared_entries, DEVICES),
	UTEST_LOOP(once_shared_entries, DEVICES),
	UTEST_LOOP(read_ahead, DEVICES),
	UTEST_LOOP(present_in_swap_cache, DEVICES),
	UTEST_LOOP(back_and_forth, DEVICES),
	UTEST_LOOP(huge_swapped, DEVICES),
	UTEST_LOOP(huge_read_back, DEVICES),
	UTEST(under_writeback),
	UTEST(entry_under_writeback),
	UTEST(large_in_swap_cache),
};
UTEST_MAIN("swap", tests)
