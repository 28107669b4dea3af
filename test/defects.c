// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves section E: each defect of UFFDIO_MOVE that 6.12.117 and 7.2.13 have is
 * there to be seen, and uremap does not have it.  A test whose number is [0]
 * looks for it in the kernel's own move, [1] in uremap.
 */
#include "engine.h"

#include <sched.h>
#include <signal.h>

#define HOLES		UREMAP_MOVE_ALLOW_SRC_HOLES

/* Both releases have what most of these tests look for. */
#define verdict(which, defect, seen) \
	verdict_on(which, defect, seen, kernel_is(6, 12) || kernel_is(7, 2))

/* Protection of a swapped page follows it to where nobody can lift it. */
START_TEST(swap_keeps_wp)
{
	struct engine e = engine_open(_i, UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *src = map_filled(8, 1, 1), *dst = map_anon(8);

	skip_if(!kernel_has_pae(), "D4: not movable before 5.19");
	skip_if(!_i && kernel_is_debug(), "page table check sees it, too");
	uffd_register(e.uffd, src, 8 * PAGE, UFFDIO_REGISTER_MODE_WP);
	uffd_wp(e.uffd, src, 8 * PAGE, true);
	swap_out(src, 8);
	engine_dst(&e, dst, 8 * PAGE);
	engine_move_all(&e, dst, src, 8 * PAGE, 0);
	verdict(_i, "a swap entry keeps its write-protect bit",
		pagemap(dst) & PM_UFFD_WP);
	range_check(dst, 8, 1, 1);
}
END_TEST

/* A page is refused because the first page of its folio is shared. */
START_TEST(first_page_decides)
{
	struct engine e = engine_open(_i, 0);
	char *src = map_thp(1, 1, 1), *dst = map_anon(1);
	struct engine_result r;
	pid_t pid;

	expect_ok(madvise(src + 5 * PAGE, PAGE, MADV_DONTFORK));
	pid = expect_ok(fork());
	if (!pid)
		_exit(0);
	child_join(pid);
	engine_dst(&e, dst, PAGE);
	r = engine_move(&e, dst, src + 5 * PAGE, PAGE, 0);
	verdict(_i, "an exclusive page is refused for its folio's first page",
		r.err == EBUSY);
	if (!r.ret)
		page_check(dst, 6, 1);
	range_check(src, 5, 1, 1);
	range_check(src + 6 * PAGE, HPAGES - 6, 7, 1);
}
END_TEST

/* UFFDIO_COPY fills a write-protected hole, a move does not. */
START_TEST(wp_marker)
{
	struct engine e = engine_open(_i, UFFD_FEATURE_PAGEFAULT_FLAG_WP |
				      UFFD_FEATURE_WP_UNPOPULATED);
	char *src = map_filled(1, 1, 1), *dst = map_anon(2);
	struct engine_result r;

	uffd_register(e.uffd, dst, 2 * PAGE, UFFDIO_REGISTER_MODE_WP |
		      UFFDIO_REGISTER_MODE_MISSING);
	uffd_wp(e.uffd, dst, 2 * PAGE, true);
	ck_assert_int_eq(try_uffd_copy(e.uffd, dst + PAGE, src, PAGE, 0), 0);
	r = engine_move(&e, dst, src, PAGE, 0);
	verdict(_i, "EEXIST on a write-protected hole", r.err == EEXIST);
	if (!r.ret) {
		check_wp_bits(dst, 1, true);
		expect_trap(e.uffd, dst, 1, 1);
	}
}
END_TEST

static long ksm_zero_pages(void)
{
	return file_read_long("/sys/kernel/mm/ksm/ksm_zero_pages");
}

/* Lets KSM run until it has made @n more zero pages; returns how many it made. */
static long ksm_make_zero_pages(long n)
{
	long before = ksm_zero_pages();
	int i;

	file_write("/sys/kernel/mm/ksm/use_zero_pages", "1");
	file_write("/sys/kernel/mm/ksm/pages_to_scan", "10000");
	file_write("/sys/kernel/mm/ksm/sleep_millisecs", "10");
	file_write("/sys/kernel/mm/ksm/run", "1");
	for (i = 0; i < 1200 && ksm_zero_pages() - before < n; i++)
		usleep(50000);
	file_write("/sys/kernel/mm/ksm/run", "0");
	return ksm_zero_pages() - before;
}

/* Zero pages that KSM made are counted for ever. */
START_TEST(ksm_zero_leak)
{
	enum { N = 64 };
	struct engine e = engine_open(_i, 0);
	char *src = map_anon(N), *dst = map_anon(N);
	long made;
	int i;

	skip_if(ksm_zero_pages() < 0, "KSM does not count zero pages");
	for (i = 0; i < N; i++)
		src[i * PAGE] = 0;
	expect_ok(madvise(src, N * PAGE, MADV_MERGEABLE));
	made = ksm_make_zero_pages(N);
	ck_assert_int_ge(made, N);
	made = ksm_zero_pages();
	engine_dst(&e, dst, N * PAGE);
	engine_move_all(&e, dst, src, N * PAGE, 0);
	ck_assert(kpageflags(dst) & KPF_ZERO_PAGE);
	ck_assert_int_eq(ksm_zero_pages(), made);
	expect_ok(munmap(dst, N * PAGE));
	expect_ok(munmap(src, N * PAGE));
	verdict(_i, "KSM's zero pages are counted after they are gone",
		ksm_zero_pages() != made - N);
}
END_TEST

/* ---- a fatal signal ----------------------------------------------------- */

struct killed {
	struct engine e;
	char *src, *dst;
	size_t len;
	volatile int *started;
};

/* Where the ioctl of the killed thread has written its count */
static struct native_move *native_arg;
static struct uremap_move *uremap_arg;

static int killed_mover(void *arg)
{
	struct killed *k = arg;

	*k->started = 1;
	if (k->e.which == NATIVE)
		ioctl(k->e.uffd, NATIVE_UFFDIO_MOVE, native_arg);
	else
		ioctl(k->e.fd, UREMAP_IOC_MOVE, uremap_arg);
	return 0;
}

/*
 * A mover that shares our memory but not our fate is killed in the middle.
 * Returns bytes counted, 0 if it was too early or too late.
 */
static __s64 kill_in_the_middle(struct killed *k, unsigned int usecs)
{
	static char stack[16 * PAGE] __attribute__((aligned(16)));
	static volatile int started;
	static struct native_move n;
	static struct uremap_move u;
	__s64 counted;
	int status;
	pid_t pid;

	n = (struct native_move){ ADDR(k->dst), ADDR(k->src), k->len, 0, 0 };
	u = (struct uremap_move){ ADDR(k->dst), ADDR(k->src), k->len };
	native_arg = &n;
	uremap_arg = &u;
	started = 0;
	k->started = &started;
	pid = expect_ok(clone(killed_mover, stack + sizeof(stack),
			      CLONE_VM | CLONE_FILES | SIGCHLD, k));
	while (!started)
		sched_yield();
	usleep(usecs);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	counted = k->e.which == NATIVE ? n.move : u.move;
	return counted > 0 && (size_t)counted < k->len ? counted : 0;
}

/* The step that was finished when the signal came is not counted. */
START_TEST(uncounted_step)
{
	const size_t pages = 40000, len = pages * PAGE;
	struct killed k = { .e = engine_open(_i, 0), .len = len };
	char *a = map_filled(pages, 1, 1), *b = map_anon(pages);
	size_t here, there;
	__s64 counted = 0;
	int i;

	engine_dst(&k.e, b, len);
	for (i = 0; i < 60 && !counted; i++) {
		k.src = a;
		k.dst = b;
		counted = kill_in_the_middle(&k, 500 + i * 1000);
		there = count_populated(b, pages);
		if (counted)
			break;
		/* all or nothing was done: once more, from the beginning */
		if (there) {
			expect_ok(madvise(b, len, MADV_DONTNEED));
			range_fill(a, pages, 1, 1);
		}
	}
	skip_if(!counted, "no signal arrived in the middle of a move");
	here = count_populated(a, pages);
	ck_assert_uint_eq(here + there, pages);
	test_note("%lld pages counted, %zu at the destination",
		  (long long)counted / (long long)PAGE, there);
	verdict(_i, "a signal leaves the last step uncounted",
		there * PAGE != (size_t)counted);
	range_check(b, there, 1, 1);
	range_check(a + there * PAGE, here, 1 + there, 1);
}
END_TEST

/* ---- failures that are not without effect ------------------------------ */

/* A move that fails takes a huge mapping apart. */
START_TEST(split_by_failure)
{
	struct engine e = engine_open(_i, 0);
	char *src = map_thp(1, 1, 1), *dst = map_anon(1);
	struct engine_result r;

	page_fill(dst, 9, 1);
	engine_dst(&e, dst, PAGE);
	r = engine_move(&e, dst, src, PAGE, 0);
	ck_assert_int_eq(r.err, EEXIST);
	verdict(_i, "a huge mapping is split by a move that fails",
		huge_kb(src) != PMD / 1024);
	range_check(src, HPAGES, 1, 1);
}
END_TEST

/* What was freed by MADV_FREE moves, and then is gone. */
START_TEST(lazyfree_loss)
{
	enum { N = 300 };
	struct engine e = engine_open(_i, 0);
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	swap_need();
	expect_ok(madvise(src, N * PAGE, MADV_FREE));
	engine_dst(&e, dst, N * PAGE);
	engine_move_all(&e, dst, src, N * PAGE, 0);
	ck_assert_uint_eq(count_populated(dst, N), N);
	try_swap_out(dst, N);
	verdict(_i, "a moved page vanishes",
		count_populated(dst, N) != N);
	if (_i == UREMAP)
		range_check(dst, N, 1, 1);
}
END_TEST

struct spin {
	volatile bool *begun;
	const struct engine *e;
	char *dst, *src;
	size_t len;
};

static int spin_move(void *arg)
{
	struct spin *s = arg;
	struct engine_result r;

	/* a descriptor and a registration of the child's own */
	struct engine e = engine_open(s->e->which, 0);

	engine_dst(&e, s->dst, s->len);
	*s->begun = true;
	r = engine_move(&e, s->dst, s->src, s->len, 0);
	return r.err;
}

/* What a child does; memory and reference are its own from the start. */
static int spin_in_child(void *arg)
{
	struct spin s = *(struct spin *)arg;
	int in, out;
	char *src = map_thp(1, 1, 1);

	in = get_pages(src + 5 * PAGE, 1, &out);
	s.src = src + (uintptr_t)s.src;
	s.dst = map_anon_aligned(HPAGES, PMD, (uintptr_t)s.dst);
	(void)in;
	return spin_move(&s);
}

/* A part of a referenced huge page, or all of it misaligned: no way out. */
START_TEST(spin)
{
	const struct engine e = { .which = _i >> 1 };
	struct spin s = {
		.begun = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0),
		.e = &e,
		.src = (char *)(uintptr_t)(_i & 1 ? 0 : 7 * PAGE),
		.dst = (char *)(uintptr_t)(_i & 1 ? 1 : 0),
		.len = _i & 1 ? PMD - PAGE : PAGE,
	};
	int status;

	skip_if(e.which == NATIVE && !has_native_move(), "no UFFDIO_MOVE");
	status = run_bounded_from(spin_in_child, &s, 15, s.begun);
	test_note("%s: %s", engine_name(e.which), status == RUN_KILLED ?
		  "killed after 15 seconds" : strerrorname_np(status));
	if (e.which == UREMAP)
		ck_assert_int_eq(status, EBUSY);
	verdict(e.which, "a move of a referenced huge page never ends",
		status == RUN_KILLED);
}
END_TEST

/* ---- holes --------------------------------------------------------------- */

/* Passing over holes makes page tables for them. */
START_TEST(tables_for_holes)
{
	const size_t pages = 16 * HPAGES;
	struct engine e = engine_open(_i, 0);
	char *src = map_anon_aligned(pages, PMD, 0);
	char *dst = map_anon_aligned(pages, PMD, 0);
	long before;

	engine_dst(&e, dst, pages * PAGE);
	before = status_kb(0, "VmPTE");
	engine_move_all(&e, dst, src, pages * PAGE, HOLES);
	verdict(_i, "holes get page tables",
		status_kb(0, "VmPTE") - before >= 16 * 4);
}
END_TEST

/* Soft-dirty tracking does not see a zero page come. */
START_TEST(zero_page_not_dirty)
{
	struct engine e = engine_open(_i, 0);
	char *src = map_anon(1), *dst = map_anon(1);

	page_check_zero(src);
	engine_dst(&e, dst, PAGE);
	skip_if(file_write("/proc/self/clear_refs", "4") ||
		pagemap(src) & PM_SOFT_DIRTY, "no soft-dirty tracking");
	engine_move_all(&e, dst, src, PAGE, 0);
	verdict(_i, "a moved zero page is not soft-dirty",
		!(pagemap(dst) & PM_SOFT_DIRTY));
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(swap_keeps_wp, ENGINES),
	UTEST_LOOP(first_page_decides, ENGINES),
	UTEST_LOOP(wp_marker, ENGINES),
	UTEST_LOOP(ksm_zero_leak, ENGINES),
	UTEST_LOOP(uncounted_step, ENGINES),
	UTEST_LOOP(split_by_failure, ENGINES),
	UTEST_LOOP(lazyfree_loss, ENGINES),
	UTEST_LOOP(spin, 2 * ENGINES),
	UTEST_LOOP(tables_for_holes, ENGINES),
	UTEST_LOOP(zero_page_not_dirty, ENGINES),
};
UTEST_MAIN("defects", tests)
