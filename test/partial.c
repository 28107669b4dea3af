// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that whatever stops a move is recognised, that a move stopped midway
 * tells how far it got and why, and that nothing beyond that point has changed.
 *
 * Each obstacle is put at several places of a range.  The move must do what is
 * before it, the move from there must fail with the obstacle's own errno, and
 * the rest must be movable for itself.
 */
#include "util.h"

#include <linux/io_uring.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define N	1100

/* What a test builds an obstacle from: the page at @at of both ranges. */
struct site {
	int fd;
	char *src, *dst;
	int at;
	char *s, *d;			/* src and dst page at @at */
};

struct obstacle {
	const char *name;
	/* skips the test if this kernel cannot have it */
	void (*build)(struct site *site);
	int error;
	__u32 reason;
	bool at_dst;			/* stop is the destination's address */
	bool empty;			/* the source page is not there to check */
};

static void hole(struct site *site)
{
	expect_ok(madvise(site->s, PAGE, MADV_DONTNEED));
}

static void src_gap(struct site *site)
{
	expect_ok(munmap(site->s, PAGE));
}

static void dst_gap(struct site *site)
{
	expect_ok(munmap(site->d, PAGE));
}

static void dst_populated(struct site *site)
{
	page_fill(site->d, 4711, 1);
}

/* A read fault leaves the zero page, which is something too. */
static void dst_zero_page(struct site *site)
{
	page_check_zero(site->d);
}

static void map_over(char *addr, int prot, int flags, int fd)
{
	if (mmap(addr, PAGE, prot, flags | MAP_FIXED, fd, 0) != addr)
		ck_abort_msg("mmap: %s", strerror(errno));
}

static void src_shared(struct site *site)
{
	map_over(site->s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1);
	page_fill(site->s, 1 + site->at, 1);
}

static void dst_shared(struct site *site)
{
	map_over(site->d, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		 -1);
}

static int a_file(void)
{
	int fd = expect_ok(memfd_create("uremap-test", MFD_CLOEXEC));

	expect_ok(ftruncate(fd, PAGE));
	return fd;
}

/* Also a page of a private file mapping that was copied and is anonymous. */
static void src_file(struct site *site)
{
	map_over(site->s, PROT_READ | PROT_WRITE, MAP_PRIVATE, a_file());
	page_fill(site->s, 1 + site->at, 1);
}

static void dst_file(struct site *site)
{
	map_over(site->d, PROT_READ | PROT_WRITE, MAP_PRIVATE, a_file());
}

static void src_readonly(struct site *site)
{
	expect_ok(mprotect(site->s, PAGE, PROT_READ));
}

static void dst_readonly(struct site *site)
{
	expect_ok(mprotect(site->d, PAGE, PROT_READ));
}

static void dst_exec(struct site *site)
{
	expect_ok(mprotect(site->d, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
}

static void both_readonly(struct site *site)
{
	src_readonly(site);
	dst_readonly(site);
}

static void src_locked(struct site *site)
{
	skip_if(mlock(site->s, PAGE), "mlock: %s", strerror(errno));
}

static void dst_locked(struct site *site)
{
	skip_if(mlock2(site->d, PAGE, MLOCK_ONFAULT), "mlock2: %s",
		strerror(errno));
}

static int child_waits(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

/* All other pages are written after the fork, which makes them exclusive. */
static void shared_by_fork(struct site *site)
{
	int i;

	child_start(child_waits, NULL);
	for (i = 0; i < N; i++)
		if (i != site->at)
			page_fill(site->src + i * PAGE, 1 + i, 1);
}

/*
 * The child is gone, which the kernel does not notice.  Before 5.19 it counts
 * references instead, and the page moves: see exclusive.c.
 */
static void once_shared_by_fork(struct site *site)
{
	pid_t pid;
	int i;

	skip_if(!kernel_has_pae(), "before 5.19 that moves");
	pid = child_start(child_waits, NULL);
	for (i = 0; i < N; i++)
		if (i != site->at)
			page_fill(site->src + i * PAGE, 1 + i, 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void pinned(struct site *site)
{
	struct io_uring_params p = { 0 };
	struct iovec iov = { site->s, PAGE };
	int ring = syscall(__NR_io_uring_setup, 1, &p);

	skip_if(ring < 0, "io_uring: %s", strerror(errno));
	expect_ok(syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS,
			  &iov, 1));
}

static void merged_by_ksm(struct site *site)
{
	char *twin = map_filled(1, 1 + site->at, 1);
	int i;

	skip_if(!ksm_available(), "no KSM");
	expect_ok(madvise(twin, PAGE, MADV_MERGEABLE));
	expect_ok(madvise(site->s, PAGE, MADV_MERGEABLE));
	file_write("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	file_write("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	skip_if(file_write("/sys/kernel/mm/ksm/run", "1"), "KSM cannot be run");
	/* the KSM flag of 6.12's kpageflags is set on all anonymous pages */
	for (i = 0; i < 3000 && page_pfn(site->s) != page_pfn(twin); i++)
		usleep(10000);
	file_write("/sys/kernel/mm/ksm/run", "0");
	skip_if(page_pfn(site->s) != page_pfn(twin),
		"KSM did not merge the page");
}

static void src_guard(struct site *site)
{
	skip_if(madvise(site->s, PAGE, MADV_GUARD_INSTALL), "no guard pages");
}

static void dst_guard(struct site *site)
{
	skip_if(madvise(site->d, PAGE, MADV_GUARD_INSTALL), "no guard pages");
}

static int poison_uffd(char *page)
{
	int uffd = uffd_open(UFFD_FEATURE_POISON);

	uffd_register(uffd, page, PAGE, UFFDIO_REGISTER_MODE_MISSING);
	ck_assert_int_eq(try_uffd_poison(uffd, page, PAGE), 0);
	return uffd;
}

static void src_poison(struct site *site)
{
	hole(site);
	poison_uffd(site->s);
}

static void dst_poison(struct site *site)
{
	poison_uffd(site->d);
}

static void src_wp_marker(struct site *site)
{
	int uffd = uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			     UFFD_FEATURE_WP_UNPOPULATED);

	hole(site);
	uffd_register(uffd, site->s, PAGE, UFFDIO_REGISTER_MODE_WP);
	uffd_wp(uffd, site->s, PAGE, true);
}

static void on_sigbus(int sig)
{
	(void)sig;
}

static void hwpoison(struct site *site)
{
	struct sigaction sa = {
		.sa_handler = on_sigbus,
		.sa_flags = SA_RESETHAND,
	};

	/* since 6.11 the call itself raises it; an access always does */
	sigaction(SIGBUS, &sa, NULL);
	skip_if(madvise(site->s, PAGE, MADV_HWPOISON), "MADV_HWPOISON: %s",
		strerror(errno));
}

#define SRC(name, err, why, ...) \
	{ #name, name, err, UREMAP_REASON_##why, .at_dst = false, __VA_ARGS__ }
#define DST(name, err, why, ...) \
	{ #name, name, err, UREMAP_REASON_##why, .at_dst = true, __VA_ARGS__ }

static const struct obstacle obstacles[] = {
	SRC(hole, ENOENT, HOLE, .empty = true),
	SRC(src_gap, ENOENT, SRC_NO_VMA, .empty = true),
	DST(dst_gap, ENOENT, DST_NO_VMA),
	DST(dst_populated, EEXIST, DST_BUSY),
	DST(dst_zero_page, EEXIST, DST_BUSY),
	SRC(src_shared, EINVAL, VMA_SHARED),
	DST(dst_shared, EINVAL, VMA_SHARED),
	SRC(src_file, EINVAL, VMA_NOT_ANON),
	DST(dst_file, EINVAL, VMA_NOT_ANON),
	DST(src_readonly, EINVAL, VMA_PROT),
	DST(dst_readonly, EINVAL, VMA_PROT),
	DST(dst_exec, EINVAL, VMA_PROT),
	SRC(both_readonly, EINVAL, VMA_READONLY),
	DST(src_locked, EINVAL, VMA_LOCKED),
	DST(dst_locked, EINVAL, VMA_LOCKED),
	SRC(shared_by_fork, EBUSY, NOT_EXCLUSIVE),
	SRC(once_shared_by_fork, EBUSY, NOT_EXCLUSIVE),
	SRC(pinned, EBUSY, PINNED),
	SRC(merged_by_ksm, EBUSY, KSM),
	SRC(src_guard, EFAULT, SRC_GUARD, .empty = true),
	DST(dst_guard, EEXIST, DST_GUARD),
	SRC(src_poison, EFAULT, SRC_POISON, .empty = true),
	DST(dst_poison, EEXIST, DST_POISON),
	SRC(src_wp_marker, ENOENT, SRC_WP_MARKER, .empty = true),
	SRC(hwpoison, EFAULT, HWPOISON, .empty = true),
};

/* First, second, inside, last and first of a page table (if aligned), last. */
static const int places[] = { 0, 1, 7, 511, 512, 700, N - 1 };

static void stop_at(const struct obstacle *o, int at)
{
	const __u64 len = N * PAGE;
	struct site site = { .fd = dev_open_all(), .at = at };
	struct move_expect want = { .error = o->error, .reason = o->reason };
	int rest = N - at - 1;

	site.src = map_anon_aligned(N, PMD, 0);
	site.dst = map_anon_aligned(N, PMD, rnd() & 1 ? 0 : rnd_below(512));
	range_fill(site.src, N, 1, 1);
	site.s = site.src + at * PAGE;
	site.d = site.dst + at * PAGE;
	o->build(&site);

	want.done = at * PAGE;
	want.stop = ADDR(o->at_dst ? site.d : site.s);
	check_move(__FILE__, __LINE__,
		   try_move(site.fd, site.dst, site.src, len, 0), want);
	range_check(site.dst, at, 1, 1);
	ck_assert_uint_eq(count_populated(site.src, at), 0);
	/* the true errno, twice: failing has no side effects */
	want.done = 0;
	for (int i = 0; i < 2; i++)
		check_move(__FILE__, __LINE__,
			   try_move(site.fd, site.d, site.s, len - at * PAGE, 0),
			   want);
	if (!o->empty)
		page_check(site.s, 1 + at, 1);
	range_check(site.s + PAGE, rest, 2 + at, 1);
	ck_assert_uint_eq(count_populated(site.d + PAGE, rest), 0);
	/* and what is behind it is as movable as before */
	if (rest)
		expect_move(site.fd, site.d + PAGE, site.s + PAGE, rest * PAGE,
			    0);
	range_check(site.d + PAGE, rest, 2 + at, 1);
	if (!o->empty)
		page_check(site.s, 1 + at, 1);
}

START_TEST(stop)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		test_at("at page %d of %d", places[i], N);
		stop_at(&obstacles[_i], places[i]);
	}
}
END_TEST

int main(int argc, char **argv)
{
	struct utest tests[ARRAY_SIZE(obstacles)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		tests[i] = (struct utest){ &stop, obstacles[i].name, i, i + 1,
					   300 };
	return utest_main("partial", tests, ARRAY_SIZE(tests), argc, argv);
}
