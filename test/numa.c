// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -n -M zram */
/*
 * Proves B-numa, B-migration, B-migration-huge, and of G3 that protection
 * outlives what the kernel does to pages on a machine with several nodes: hints
 * are lost, nothing else; a migration is waited for; a protected page traps
 * still.
 */
#include "util_state.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#define MODE_WP		UFFDIO_REGISTER_MODE_WP
#define MOVE_FLAG	2		/* MPOL_MF_MOVE */

/*
 * The scheduler's marking makes entries under migration read-only.  Before 5.19
 * what comes back so is judged by its references, of which a migration has some
 * (D rule 2): it marks when a test wants it to, and not else.
 */
static void need_nodes(void)
{
	skip_if(numa_nodes() < 2, "one NUMA node only");
	file_write("/proc/sys/kernel/numa_balancing", "0");
}

/* Asks for pages, one in @step, to be on @node; how many are there after it */
static size_t migrate(char *start, size_t pages, size_t step, int node)
{
	enum { MAX = 512 };
	void *addr[MAX];
	int nodes[MAX], status[MAX];
	size_t i, n = 0, there = 0;

	for (i = 0; i < pages && n < MAX; i += step, n++) {
		addr[n] = start + i * PAGE;
		nodes[n] = node;
		status[n] = -1;
	}
	syscall(SYS_move_pages, 0, n, addr, nodes, status, MOVE_FLAG);
	for (i = 0; i < n; i++)
		there += status[i] == node;
	return there;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---- migration ----------------------------------------------------------- */

struct migrator {
	const char *state;		/* for the support matrix */
	char *a, *b;
	size_t pages, step;
	atomic_bool stop;
	atomic_long migrated;
};

/* From node to node, wherever they are at the moment. */
static void *keep_migrating(void *arg)
{
	struct migrator *m = arg;
	int node = 0;

	while (!atomic_load(&m->stop)) {
		node = !node;
		atomic_fetch_add(&m->migrated,
				 migrate(m->a, m->pages, m->step, node));
		atomic_fetch_add(&m->migrated,
				 migrate(m->b, m->pages, m->step, node));
	}
	return NULL;
}

/*
 * Moves back and forth until both movers have been at work for long enough.
 * MIGRATING and RETRY_LIMIT are answers that documentation allows; whatever
 * else is said, or lost, fails.
 */
static void move_while_migrating(struct migrator *m, int fd, double seconds)
{
	const size_t len = m->pages * PAGE;
	char *from = m->a, *to = m->b, *t;
	struct move_result r;
	double end = now() + seconds;
	long moves = 0, again = 0;
	pthread_t thread = thread_start(keep_migrating, m);
	size_t done;

	while (now() < end || !atomic_load(&m->migrated)) {
		for (done = 0; done < len; done += r.move > 0 ? r.move : 0) {
			r = try_move(fd, to + done, from + done, len - done, 0);
			if (!r.ret)
				continue;
			if (r.error != EAGAIN)
				ck_abort_msg("refused: %s, errno %d",
					     reason_name(r.reason), r.err);
			again++;
		}
		moves++;
		t = from, from = to, to = t;
	}
	atomic_store(&m->stop, true);
	thread_join(thread);
	if (m->state)
		matrix(m->state, r);
	test_note("%ld moves, %ld repeated, %ld pages migrated", moves, again,
		  atomic_load(&m->migrated));
	range_check(from, m->pages, 1, 1);
	ck_assert_uint_eq(count_populated(from, m->pages), m->pages);
	ck_assert_uint_eq(count_populated(to, m->pages), 0);
}

/* B-migration: small pages. */
START_TEST(small)
{
	struct migrator m = { "under migration", .pages = HPAGES, .step = 1 };
	int fd = dev_open_all();

	need_nodes();
	m.a = map_filled(HPAGES, 1, 1);
	m.b = map_anon(HPAGES);
	move_while_migrating(&m, fd, 8);
}
END_TEST

/* B-migration-huge: huge pages, aligned. */
START_TEST(huge)
{
	struct migrator m = { "huge page under migration", .pages = 2 * HPAGES,
			      .step = HPAGES };
	int fd = dev_open_all();

	need_nodes();
	m.a = map_thp(2, 1, 1);
	m.b = map_thp_dst(2);
	move_while_migrating(&m, fd, 8);
	test_note("%ld KiB in huge pages at the end",
		  huge_kb(m.a) + huge_kb(m.b));
}
END_TEST

/* To where they do not fit: split while they migrate. */
START_TEST(huge_misaligned)
{
	int fd = dev_open_all(), i;
	double end;

	need_nodes();
	end = now() + 8;
	for (i = 0; i < 2 || now() < end; i++) {
		struct migrator m = { .pages = HPAGES, .step = 64 };

		m.a = map_thp(1, 1, 1);
		m.b = map_anon_aligned(HPAGES, PMD, 100);
		move_while_migrating(&m, fd, 1);
		expect_ok(munmap(m.a, PMD));
		expect_ok(munmap(m.b, PMD));
	}
}
END_TEST

/* One folio in 512 entries. */
START_TEST(huge_small_entries)
{
	struct migrator m = { .pages = HPAGES, .step = HPAGES };
	int fd = dev_open_all();

	need_nodes();
	m.a = map_thp(1, 1, 1);
	split_mapping(m.a + 9 * PAGE);
	m.b = map_anon_aligned(HPAGES, PMD, 0);
	move_while_migrating(&m, fd, 8);
}
END_TEST

/* B-memcg: a page keeps its node, and lets itself be moved to another one. */
START_TEST(keeps_node)
{
	enum { N = 100 };
	int fd = dev_open_all(), node;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	need_nodes();
	for (node = 0; node < 2; node++) {
		ck_assert_uint_eq(migrate(src, N, 1, node), N);
		expect_move(fd, dst, src, N * PAGE, 0);
		/* asked for nothing new: where they are */
		ck_assert_uint_eq(migrate(dst, N, 1, node), N);
		ck_assert_uint_eq(migrate(dst, N, 1, !node), N);
		range_check(dst, N, 1, 1);
		expect_move(fd, src, dst, N * PAGE, 0);
	}
	range_check(src, N, 1, 1);
}
END_TEST

/* ---- NUMA hints --------------------------------------------------------- */

static void scan_setting(const char *name, const char *value)
{
	char path[200];

	snprintf(path, sizeof(path),
		 "/sys/kernel/debug/sched/numa_balancing/%s", name);
	file_write(path, value);
	/* until 5.12 */
	snprintf(path, sizeof(path), "/proc/sys/kernel/numa_balancing_%s", name);
	file_write(path, value);
}

static void *idle(void *arg)
{
	pause();
	return NULL;
}

/*
 * Lets the scheduler mark all memory of this process, of which @pages are the
 * test's: until it finds little more.  It looks at running threads only, and
 * leaves a process with one thread alone where it is.
 */
static void mark_memory(size_t pages)
{
	long before = vmstat("numa_pte_updates"), marked = 0, more;
	double end = now() + 100, pause;

	need_nodes();
	skip_if(before < 0, "no NUMA balancing");
	thread_start(idle, NULL);
	scan_setting("scan_delay_ms", "1");
	scan_setting("scan_period_min_ms", "1");
	scan_setting("scan_period_max_ms", "10");
	scan_setting("scan_size_mb", "1024");
	skip_if(file_write("/proc/sys/kernel/numa_balancing", "1"),
		"NUMA balancing cannot be switched on");
	do {
		more = -marked;
		for (pause = now() + 1; now() < pause; )
			;
		marked = vmstat("numa_pte_updates") - before;
		more += marked;
	} while (now() < end &&
		 (marked < (long)pages || more > (long)pages / 20));
	file_write("/proc/sys/kernel/numa_balancing", "0");
	test_note("%ld entries marked", marked);
}

/* Faults that touching the range takes */
static long hint_faults(const char *p, size_t pages)
{
	long before;

	file_write("/proc/sys/vm/stat_refresh", "1");
	before = vmstat("numa_hint_faults");
	for (size_t i = 0; i < pages; i++)
		((void)*(volatile const char *)(p + i * PAGE));
	file_write("/proc/sys/vm/stat_refresh", "1");
	return vmstat("numa_hint_faults") - before;
}

/* B-numa: moved, accessible, without the hint. */
START_TEST(hinted)
{
	enum { N = 3000 };
	int fd = dev_open_all();
	char *control = map_filled(N, 1, 1), *src = map_filled(N, 1, 1);
	char *dst = map_anon(N);
	struct move_result r;
	long faults;

	need_nodes();
	mark_memory(2 * N);
	faults = hint_faults(control, N);
	test_note("%ld faults in memory that stays", faults);
	ck_assert_int_gt(faults, N / 2);
	r = matrix_move("marked by NUMA balancing", fd, dst, src, N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	ck_assert_int_eq(hint_faults(dst, N), 0);
	range_check(dst, N, 1, 1);
	range_fill(dst, N, 1, 2);
	range_check(dst, N, 1, 2);
}
END_TEST

/* The same with huge pages. */
START_TEST(hinted_huge)
{
	enum { N = 4 };
	int fd = dev_open_all();
	char *src = map_thp(N, 1, 1), *dst = map_thp_dst(N);
	char *part = map_anon(HPAGES);

	need_nodes();
	mark_memory(N * HPAGES);
	expect_move(fd, dst, src, (N - 1) * PMD, 0);
	ck_assert_int_eq(huge_kb(dst), (N - 1) * PMD / 1024);
	ck_assert_int_eq(hint_faults(dst, (N - 1) * HPAGES), 0);
	expect_move(fd, part, src + (N - 1) * PMD, 9 * PAGE, 0);
	range_check(dst, (N - 1) * HPAGES, 1, 1);
	range_check(part, 9, 1 + (N - 1) * HPAGES, 1);
	range_check(src + (N - 1) * PMD + 9 * PAGE, HPAGES - 9,
		    10 + (N - 1) * HPAGES, 1);
}
END_TEST

/* ---- protection (2022: writenotify) ------------------------------------ */

enum { KEPT, SET, HUGE_KEPT, VARIANTS };

/* @n pages that have arrived write-protected */
static char *arrived_protected(int fd, int uffd, int variant, size_t n)
{
	char *src = variant == HUGE_KEPT ? map_thp(n / HPAGES, 1, 1) :
					   map_filled(n, 1, 1);
	char *dst = variant == HUGE_KEPT ? map_thp_dst(n / HPAGES) : map_anon(n);

	uffd_register(uffd, dst, n * PAGE, MODE_WP);
	if (variant != SET) {
		uffd_register(uffd, src, n * PAGE, MODE_WP);
		uffd_wp(uffd, src, n * PAGE, true);
	}
	expect_move(fd, dst, src, n * PAGE, variant == SET ? UREMAP_MOVE_WP :
		    UREMAP_MOVE_KEEP_WP);
	check_wp_bits(dst, n, true);
	return dst;
}

/*
 * A hint fault restores the entry, and must restore it without the write bit.
 * The page is on the node of who faults, so that the fault does not migrate it.
 */
START_TEST(trap_after_hint)
{
	enum { N = 1024 };
	int fd = dev_open_all(), uffd = wp_open(0);
	char *p;

	need_nodes();
	pin_cpu(0);
	p = arrived_protected(fd, uffd, _i, N);
	mark_memory(N);
	test_note("%ld hint faults", hint_faults(p, N));
	check_wp_bits(p, N, true);
	for (int i = 0; i < N; i += 200)
		expect_trap(uffd, p + i * PAGE, 1 + i, 1);
}
END_TEST

/* And so does a migration. */
START_TEST(trap_after_migration)
{
	enum { N = 512 };
	int fd = dev_open_all(), uffd = wp_open(0);
	char *p;

	need_nodes();
	skip_if(_i == HUGE_KEPT && !kernel_at_least(6, 1),
		"this kernel forgets the protection of a THP it migrates");
	p = arrived_protected(fd, uffd, _i, N);
	ck_assert_uint_gt(migrate(p, N, _i == HUGE_KEPT ? N : 1, 0), 0);
	ck_assert_uint_gt(migrate(p, N, _i == HUGE_KEPT ? N : 1, 1), 0);
	check_wp_bits(p, N, true);
	range_check(p, N, 1, 1);
	for (int i = 0; i < N; i += 100)
		expect_trap(uffd, p + i * PAGE, 1 + i, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(small, 200),
	UTEST_SLOW(huge, 200),
	UTEST_SLOW(huge_misaligned, 200),
	UTEST_SLOW(huge_small_entries, 200),
	UTEST(keeps_node),
	UTEST_SLOW(hinted, 200),
	UTEST_SLOW(hinted_huge, 200),
	UTEST_LOOP_SLOW(trap_after_hint, VARIANTS, 200),
	UTEST_LOOP(trap_after_migration, VARIANTS),
};
UTEST_MAIN("numa", tests)
