// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M null_blk */
/*
 * Proves that a page pinned for I/O stays exactly where it is, that what comes
 * before it moves and is reported, and that a failing move takes no huge page
 * apart, nor lets anybody miss it (B-pin, B-thp-pin, B-get, C18; D5; E "reverse
 * mapping lost", "livelock").
 */
#include "util_peer.h"
#include "util_state.h"
#include "util_swap.h"
#include "util_uring.h"

enum { N = 30, ID = 900 };

/* A file whose page n holds identity @id + n: what a device would deliver. */
static int data_file(uint32_t id, uint32_t seq, size_t pages)
{
	char *page = map_anon(1);
	int fd = expect_ok(memfd_create("data", MFD_CLOEXEC));
	size_t i;

	for (i = 0; i < pages; i++) {
		page_fill(page, id + i, seq);
		ck_assert_int_eq(write(fd, page, PAGE), PAGE);
	}
	return fd;
}

/*
 * One page of many, the first, one in the middle, the last: those before it
 * have moved, it and the rest have not, in place and in frame.  The device
 * writes to it afterwards, and its new content is at the source.  Once the pin
 * is gone the very same request goes on.
 */
START_TEST(one_pinned)
{
	static const size_t where[] = { 0, 13, N - 1 };
	const size_t at = where[_i];
	int fd = dev_open_all(), data = data_file(ID + at, 2, 1);
	char *src = map_filled(N, ID, 1), *dst = map_anon(N);
	uint64_t before[N], after[N];
	struct move_result r;
	struct uring u;

	uring_open(&u);
	uring_pin(&u, src + at * PAGE, PAGE);
	pagemap_read(src, N, before);
	r = matrix_move("pinned for I/O", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = at * PAGE, REFUSED(EBUSY, PINNED),
		      .stop = ADDR(src) + at * PAGE);
	pagemap_read(src, N, after);
	ck_assert_mem_eq(before + at, after + at, (N - at) * sizeof(*before));
	ck_assert_uint_eq(count_populated(src, at), 0);
	ck_assert_uint_eq(count_populated(dst, N), at);
	range_check(src + at * PAGE, N - at, ID + at, 1);
	range_check(dst, at, ID, 1);

	uring_read_start(&u, data, src + at * PAGE, PAGE, 0, true);
	ck_assert_int_eq(uring_read_end(&u), PAGE);
	page_check(src + at * PAGE, ID + at, 2);

	/* neither waiting nor healing helps */
	expect_no_move(fd, dst + at * PAGE, src + at * PAGE, PAGE,
		       UREMAP_MOVE_UNSHARE, EBUSY, PINNED,
		       ADDR(src) + at * PAGE);
	uring_unpin(&u);
	expect_move(fd, dst + at * PAGE, src + at * PAGE, (N - at) * PAGE, 0);
	page_check(dst + at * PAGE, ID + at, 2);
	range_check(dst + (at + 1) * PAGE, N - at - 1, ID + at + 1, 1);
}
END_TEST

/* A failed move has changed nothing: the page can be swapped and moved later. */
START_TEST(pinned_then_reclaimed)
{
	int fd = dev_open_all();
	char *src = map_filled(N, ID, 1), *dst = map_anon(N);
	struct uring u;

	uring_open(&u);
	uring_pin(&u, src, N * PAGE);
	expect_no_move(fd, dst, src, N * PAGE, 0, EBUSY, PINNED, ADDR(src));
	uring_unpin(&u);
	file_write("/proc/sys/vm/compact_memory", "1");
	range_check(src, N, ID, 1);
	expect_move(fd, dst, src, N * PAGE, 0);
	file_write("/proc/sys/vm/compact_memory", "1");
	range_check(dst, N, ID, 1);
	ck_assert_uint_eq(count_populated(src, N), 0);
}
END_TEST

/* Pinned and unpinned at random: exactly the pages before the first pin move. */
START_TEST(random_pins)
{
	int fd = dev_open_all(), round;
	char *src = map_anon(N), *dst = map_anon(N);
	struct uring u;

	uring_open(&u);
	for (round = 1; round <= 60; round++) {
		size_t at = rnd_below(N), n = 1 + rnd_below(N - at);
		size_t from = rnd_below(N), done;

		range_fill(src, N, ID, round);
		uring_pin(&u, src + at * PAGE, n * PAGE);
		if (from < at)
			done = at - from;
		else if (from < at + n)
			done = 0;
		else
			done = N - from;
		if (from + done < N)
			expect_move_part(fd, dst, src + from * PAGE,
					 (N - from) * PAGE, 0, done * PAGE,
					 EBUSY, PINNED,
					 ADDR(src) + (from + done) * PAGE);
		else
			expect_move(fd, dst, src + from * PAGE, done * PAGE, 0);
		range_check(dst, done, ID + from, round);
		range_check(src + (from + done) * PAGE, N - from - done,
			    ID + from + done, round);
		uring_unpin(&u);
		expect_ok(madvise(dst, N * PAGE, MADV_DONTNEED));
	}
}
END_TEST

static int check_and_wait(struct peer *p, void *src)
{
	range_check(src, N, ID, 1);
	peer_turn(p);
	range_check(src, N, ID, 1);
	return 0;
}

/* fork() gives the child a copy of what is pinned; the pinned page is ours. */
START_TEST(fork_of_pinned)
{
	int fd = dev_open_all();
	char *src, *dst = map_anon(N);
	uint64_t before[N];
	struct uring u;
	struct peer p;

	pin_cpu(0);
	src = map_filled(N, ID, 1);
	uring_open(&u);
	uring_pin(&u, src, N * PAGE);
	frames_read(src, N, before);
	peer_start(&p, check_and_wait, src);
	peer_hear(&p);
	expect_no_move(fd, dst, src, N * PAGE, 0, EBUSY, PINNED, ADDR(src));
	uring_unpin(&u);
	expect_move(fd, dst, src, N * PAGE, 0);
	check_frames(dst, N, before);
	range_fill(dst, N, ID, 2);
	peer_end(&p);
}
END_TEST

static long thp_splits(void)
{
	return vmstat("thp_split_page") + vmstat("thp_split_pmd");
}

/*
 * One page of a huge page is pinned.  However the move is asked for, it comes
 * back with the reason, and the huge page is as it was: not split, nor its
 * mapping.  Then, without the pin, it moves.
 */
struct thp_case {
	size_t from, pages;		/* of the source */
	size_t to;			/* page of the destination it starts at */
	bool table;			/* destination has a page table */
	bool whole;			/* arrives as a huge page once unpinned */
};

static const struct thp_case thp_cases[] = {
	{ 0, 512, 0, false, true },	/* aligned */
	{ 0, 512, 0, true, false },	/* destination with a table */
	{ 0, 512, 7, false, false },	/* misaligned */
	{ 3, 1, 3, false, false },	/* one other page */
	{ 100, 1, 9, false, false },	/* the pinned page */
	{ 64, 300, 64, true, false },	/* a part */
};

START_TEST(thp_subpage_pinned)
{
	const struct thp_case *c = &thp_cases[_i];
	int fd = dev_open_all();
	char *src = map_thp(1, ID, 1), *dst = map_thp_dst(2);
	static uint64_t before[512], after[512];
	struct move_result r;
	struct uring u;
	long splits;

	if (c->table) {
		expect_ok(madvise(dst, 2 * PMD, MADV_NOHUGEPAGE));
		page_fill(dst, 1, 1);
		page_fill(dst + 600 * PAGE, 1, 1);
		/* page by page, or newer kernels take the table away again */
		expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
		expect_ok(madvise(dst + 600 * PAGE, PAGE, MADV_DONTNEED));
	}
	uring_open(&u);
	uring_pin(&u, src + 100 * PAGE, PAGE);
	pagemap_read(src, 512, before);
	splits = thp_splits();
	r = try_move(fd, dst + c->to * PAGE, src + c->from * PAGE,
		     c->pages * PAGE, 0);
	expect_result(r, REFUSED(EBUSY, PINNED), .stop = STOP_ANY);
	ck_assert_int_eq(huge_kb(src), 2048);
	ck_assert_int_eq(thp_splits(), splits);
	pagemap_read(src, 512, after);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert(folio_whole(src, 512));
	ck_assert_uint_eq(count_populated(dst, 1024), 0);
	range_check(src, 512, ID, 1);

	uring_unpin(&u);
	expect_move(fd, dst + c->to * PAGE, src + c->from * PAGE,
		    c->pages * PAGE, 0);
	range_check(dst + c->to * PAGE, c->pages, ID + c->from, 1);
	range_check(src, c->from, ID, 1);
	range_check(src + (c->from + c->pages) * PAGE,
		    512 - c->from - c->pages, ID + c->from + c->pages, 1);
	ck_assert_int_eq(huge_kb(dst), c->whole ? 2048 : 0);
}
END_TEST

struct tries {
	int fd;
	char *src, *dst;
	size_t len;
	bool stop;
	int count;
};

static void *tries_to_move(void *arg)
{
	struct tries *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		struct move_result r = try_move(t->fd, t->dst, t->src, t->len, 0);

		ck_assert(r.ret && r.err == EBUSY &&
			  r.reason == UREMAP_REASON_PINNED);
		t->count++;
	}
	return NULL;
}

/*
 * A huge page that stays is never seen to be gone, not even for a moment, by those
 * who look without its lock: another move finds no hole, and userfaultfd protects it
 * (C18; madvise(MADV_DONTNEED) looks in the same way).
 */
START_TEST(thp_never_gone)
{
	int fd = dev_open_all(), uffd = wp_open(0), round;
	int least = repeats(500);
	struct tries t = { fd, map_thp(1, ID, 1), map_thp_dst(1), PMD };
	char *dst = map_thp_dst(1);
	struct move_result r;
	struct uring u;
	pthread_t thread;

	uring_open(&u);
	uring_pin(&u, t.src + 100 * PAGE, PAGE);
	uffd_register(uffd, t.src, PMD, UFFDIO_REGISTER_MODE_WP);
	thread = thread_start(tries_to_move, &t);
	for (round = 0; round < least || t.count < least; round++) {
		r = try_move(fd, dst, t.src, PMD, UREMAP_MOVE_ALLOW_SRC_HOLES);
		expect_result(r, REFUSED(EBUSY, PINNED), .stop = ADDR(t.src));
		uffd_wp(uffd, t.src, PMD, true);
		check_wp_bits(t.src + 7 * PAGE, 1, true);
		uffd_wp(uffd, t.src, PMD, false);
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	thread_join(thread);
	ck_assert_int_eq(huge_kb(t.src), 2048);
	range_check(t.src, 512, ID, 1);
	uring_unpin(&u);
	expect_move(fd, dst, t.src, PMD, 0);
	range_check(dst, 512, ID, 1);
}
END_TEST

/* A small page likewise, whose entry is empty while it is tried (C35). */
START_TEST(page_never_gone)
{
	int fd = dev_open_all(), round;
	int least = repeats(3000);
	struct tries t = { fd, map_filled(1, ID, 1), map_filled(2, 1, 1), PAGE };
	struct move_result r;
	struct uring u;
	pthread_t thread;
	char *fresh;

	expect_ok(madvise(t.dst, PAGE, MADV_DONTNEED));
	uring_open(&u);
	uring_pin(&u, t.src, PAGE);
	thread = thread_start(tries_to_move, &t);
	for (round = 0; round < least || t.count < least; round++) {
		/* where there is no page table yet */
		fresh = map_anon_aligned(512, PMD, 0);
		r = try_move(fd, fresh, t.src, PAGE, UREMAP_MOVE_ALLOW_SRC_HOLES);
		expect_result(r, REFUSED(EBUSY, PINNED), .stop = ADDR(t.src));
		expect_ok(munmap(fresh, PMD));
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	thread_join(thread);
	page_check(t.src, ID, 1);
	uring_unpin(&u);
	expect_move(fd, t.dst, t.src, PAGE, 0);
	page_check(t.dst, ID, 1);
}
END_TEST

/* The same of a folio that is mapped by 512 entries: it is not split either. */
START_TEST(pte_mapped_thp_pinned)
{
	static const size_t from[] = { 0, 3, 100 }, pages[] = { 512, 1, 1 };
	int fd = dev_open_all();
	char *src = map_thp(1, ID, 1), *dst = map_thp_dst(1);
	struct uring u;

	split_mapping(src + 50 * PAGE);
	ck_assert(folio_whole(src, 512));
	uring_open(&u);
	uring_pin(&u, src + 100 * PAGE, PAGE);
	if (!kernel_has_pae() && from[_i] <= 50 && from[_i] + pages[_i] > 50)
		/* the write bit of that one page is gone (D rule 2) */
		*(volatile char *)(src + 50 * PAGE) = *(src + 50 * PAGE);
	expect_no_move(fd, dst + from[_i] * PAGE, src + from[_i] * PAGE,
		       pages[_i] * PAGE, 0, EBUSY, PINNED, STOP_ANY);
	ck_assert(folio_whole(src, 512));
	range_check(src, 512, ID, 1);
	ck_assert_uint_eq(count_populated(dst, 512), 0);
	uring_unpin(&u);
	expect_move(fd, dst + from[_i] * PAGE, src + from[_i] * PAGE,
		    pages[_i] * PAGE, 0);
	range_check(dst + from[_i] * PAGE, pages[_i], ID + from[_i], 1);
}
END_TEST

/*
 * A read with O_DIRECT is under way.  Where the kernel pins for it the page
 * stays until the read has ended; where it only takes a reference the page
 * moves, and the data with it.  In no case is it lost.
 */
START_TEST(direct_io)
{
	int fd = dev_open_all(), disk, i;
	char *src = map_anon(4), *dst = map_anon(4);
	bool pins = kernel_at_least(6, 5);
	struct move_result r;
	struct uring u;

	uring_open(&u);
	disk = expect_ok(open(slow_disk("slow", 1, 700), O_RDWR | O_DIRECT));
	range_fill(src, 4, ID, 2);
	ck_assert_int_eq(pwrite(disk, src, 4 * PAGE, 0), 4 * (int)PAGE);
	range_fill(src, 4, ID, 1);
	uring_read_start(&u, disk, src, 4 * PAGE, 0, false);
	r = matrix_move("direct I/O under way", fd, dst, src,
			4 * PAGE, 0);
	if (pins)
		expect_result(r, REFUSED(EBUSY, PINNED), .stop = ADDR(src));
	else
		expect_result(r, .done = 4 * PAGE);
	ck_assert_int_eq(uring_read_end(&u), 4 * PAGE);
	range_check(pins ? src : dst, 4, ID, 2);
	if (!pins)
		return;
	/* the completion may let go of the pages a little after it is seen */
	for (i = 0; i < 100 && (r = try_move(fd, dst, src, 4 * PAGE, 0)).ret; i++)
		usleep(10000);
	expect_result(r, .done = 4 * PAGE);
	range_check(dst, 4, ID, 2);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(one_pinned, 3),
	UTEST(pinned_then_reclaimed),
	UTEST(random_pins),
	UTEST(fork_of_pinned),
	UTEST_LOOP(thp_subpage_pinned, ARRAY_SIZE(thp_cases)),
	UTEST_SLOW(thp_never_gone, 300),
	UTEST_SLOW(page_never_gone, 300),
	UTEST_LOOP(pte_mapped_thp_pinned, 3),
	UTEST(direct_io),
};
UTEST_MAIN("pin", tests)
