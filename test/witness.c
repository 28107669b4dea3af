// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M kvm-amd */
/*
 * Proves rules whose breach no outcome would show but by rare luck.  Probes in
 * functions of the kernel are the witness.
 *
 * C13: before 6.8 an anon_vma that pages were moved away from outlives its
 * mapping for as long as the file is open, unless there are too many of them,
 * and is freed in the end, not by the mover but after a grace period.  From 6.8
 * nothing keeps it.
 *
 * C21: users of MMU notifiers are told of the source of each segment by itself.
 *
 * C12, C15: when the source is flushed, all of it and once, its pages are locked
 * and nothing is at the destination yet.
 *
 * And without probes:
 *
 * C6: calls that need the same page tables in opposite orders do not wait for
 * each other.
 *
 * G2: a segment that takes what an earlier one brings finds it, also where holes
 * are passed over.
 *
 * D rule 2: what has just been written is not taken for shared because the kernel
 * has yet to put it on its lists.
 */
#include "util_state.h"

#include <linux/kvm.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define TRACING		"/sys/kernel/tracing"
#define MINE		TRACING "/instances/uremap-witness"
#define GROUP		"uremap_witness"
#define HELD		16		/* UREMAP_MAX_HOLDS */

/* What is looked at when TLBs are flushed: depends on the test's addresses. */
static char flush_args[256];

/*
 * mmu_notifier_range begins with vma, mm, start; or with mm, start since its vma
 * went (6.3): one of both words is the start.
 */
static const struct {
	const char *event, *function, *args;
} probes[] = {
	{ "freed", "__put_anon_vma", "" },
	{ "start", "__mmu_notifier_invalidate_range_start",
	  "a=+8(%di):x64 b=+16(%di):x64" },
	{ "end", "__mmu_notifier_invalidate_range_end",
	  "a=+8(%di):x64 b=+16(%di):x64" },
	{ "flush", "flush_tlb_mm_range", flush_args },
};

/* By address: the module has functions of the same names, which only jump. */
static unsigned long long kernel_address(const char *function)
{
	char line[512], name[256], module[64];
	unsigned long long addr, found = 0;
	FILE *f = fopen("/proc/kallsyms", "re");

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %*c %255s %63s", &addr, name,
			   module) == 2 && !strcmp(name, function))
			found = addr;
	if (f)
		fclose(f);
	skip_if(!found, "no privilege to see kernel addresses");
	return found;
}

static void trace_write(const char *path, const char *text)
{
	int err = file_write(path, text);

	skip_if(err, "%s: %s", path, strerror(err));
}

/* Removes what an earlier test, or one that died, has left. */
static void trace_clear(void)
{
	char text[64];
	size_t i;

	file_write(MINE "/events/enable", "0");
	rmdir(MINE);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		snprintf(text, sizeof(text), "-:" GROUP "/%s", probes[i].event);
		file_write(TRACING "/kprobe_events", text);
	}
}

static void trace_set_up(void)
{
	char text[512];
	size_t i;

	if (access(TRACING "/kprobe_events", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	skip_if(access(TRACING "/kprobe_events", F_OK), "no tracefs");
	trace_clear();
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		snprintf(text, sizeof(text), "p:" GROUP "/%s %#llx %s",
			 probes[i].event, kernel_address(probes[i].function),
			 probes[i].args);
		trace_write(TRACING "/kprobe_events", text);
	}
	if (mkdir(MINE, 0700))
		test_skip("%s: %s", MINE, strerror(errno));
	trace_write(MINE "/events/" GROUP "/enable", "1");
}

/* How many lines tell of the event, and contain the text too? */
static int trace_count(const char *event, const char *text)
{
	FILE *f = fopen(MINE "/trace", "re");
	char line[512], name[32];
	int n = 0;

	ck_assert_ptr_nonnull(f);
	snprintf(name, sizeof(name), " %s: ", event);
	while (fgets(line, sizeof(line), f))
		n += line[0] != '#' && strstr(line, name) && strstr(line, text);
	fclose(f);
	return n;
}

/* ---- C13 --------------------------------------------------------------- */

/* How many were freed by this thread; or by kernel threads. */
static int freed(bool mine)
{
	char task[32];

	snprintf(task, sizeof(task), "-%ld ", syscall(SYS_gettid));
	return trace_count("freed", mine ? task : "kworker/");
}

/* The test's own time limit is the only one. */
static void freed_later(int n)
{
	const struct timespec pause = { .tv_nsec = 10000000 };

	while (freed(false) < n)
		nanosleep(&pause, NULL);
	ck_assert_int_eq(freed(false), n);
}

/* One page out of a mapping with an anon_vma of its own, and the mapping goes. */
static void move_away(int fd, char *dst, int id)
{
	char *src = map_filled(2, id, 1);

	expect_move(fd, dst, src, PAGE, 0);
	expect_ok(munmap(src, 2 * PAGE));
	page_check(dst, id, 1);
}

static bool holds(void)
{
	return !kernel_at_least(6, 8);
}

/* As a control, what nothing was moved away from is freed at once. */
START_TEST(until_closed)
{
	int fd = dev_open_all(), i;
	char *dst = map_anon(HELD);

	trace_set_up();
	expect_ok(munmap(map_filled(2, 1, 1), 2 * PAGE));
	ck_assert_int_eq(freed(true), 1);
	for (i = 0; i < HELD; i++)
		move_away(fd, dst + i * PAGE, 1 + i);
	ck_assert_int_eq(freed(true), holds() ? 1 : 1 + HELD);
	ck_assert_int_eq(freed(false), 0);
	close(fd);
	freed_later(holds() ? HELD : 0);
	ck_assert_int_eq(freed(true), holds() ? 1 : 1 + HELD);
	range_check(dst, HELD, 1, 1);
	trace_clear();
}
END_TEST

/* A file holds so many; for one more it lets go of all before. */
START_TEST(too_many)
{
	int fd = dev_open_all(), i, n = 3 * HELD + 1;
	char *dst = map_anon(n);

	trace_set_up();
	for (i = 0; i < n; i++)
		move_away(fd, dst + i * PAGE, 1 + i);
	freed_later(holds() ? 3 * HELD : 0);
	ck_assert_int_eq(freed(true), holds() ? 0 : n);
	close(fd);
	freed_later(holds() ? n : 0);
	range_check(dst, n, 1, 1);
	trace_clear();
}
END_TEST

/* ---- C21 --------------------------------------------------------------- */

/* Gives the process a user of MMU notifiers: KVM registers one per machine. */
static void have_notifier(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 && !system("modprobe kvm-amd 2>/dev/null || modprobe kvm-intel 2>/dev/null"))
		kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	skip_if(kvm < 0, "no user of MMU notifiers: /dev/kvm: %s",
		strerror(errno));
	skip_if(ioctl(kvm, KVM_CREATE_VM, 0) < 0, "KVM_CREATE_VM: %s",
		strerror(errno));
}

static int told(const char *event, const char *page)
{
	char text[32];

	snprintf(text, sizeof(text), "=%#llx", ADDR(page));
	return trace_count(event, text);
}

/* Segments that would share a flush are far from each other. */
START_TEST(each_segment)
{
	enum { SEGS = 3, STEP = 100 };
	char *src = map_filled(SEGS * STEP, 1, 1);
	char *dst = map_anon(SEGS * STEP);
	struct uremap_segment segs[SEGS] = { 0 };
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = SEGS, .seg_size = sizeof(segs[0]),
	};
	int fd = dev_open_all(), i;

	have_notifier();
	for (i = 0; i < SEGS; i++)
		segs[i] = seg(dst + i * PAGE, src + i * STEP * PAGE, 1);
	trace_set_up();
	expect_ok(ioctl(fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_int_eq(v.move, SEGS * PAGE);
	for (i = 0; i < SEGS; i++) {
		ck_assert_int_eq(told("start", src + i * STEP * PAGE), 1);
		ck_assert_int_eq(told("end", src + i * STEP * PAGE), 1);
		page_check(dst + i * PAGE, 1 + i * STEP, 1);
	}
	ck_assert_int_eq(told("start", src + STEP / 2 * PAGE), 0);
	trace_clear();
}
END_TEST

/* ---- C12, C15 ---------------------------------------------------------- */

enum { RUN = 64 };

/*
 * The flags of a page, of which PG_locked is the first, begin its struct page;
 * these have 64 bytes each.
 */
static int flags_arg(char *to, size_t len, const char *name, const char *page)
{
	return snprintf(to, len, " %s=+%llu(@%#llx):x64", name,
			page_pfn(page) * 64ULL, kernel_address("vmemmap_base"));
}

/* At each flush: from, to, what is in two pages of the destination, two flags */
static void watch_flushes(const char *dst, const char *src, size_t pages)
{
	size_t last = (pages - 1) * PAGE, n;

	n = snprintf(flush_args, sizeof(flush_args),
		     "from=%%si:x64 to=%%dx:x64 first=+u0(\\%#llx):ustring "
		     "last=+u0(\\%#llx):ustring",
		     ADDR(dst), ADDR(dst + last));
	n += flags_arg(flush_args + n, sizeof(flush_args) - n, "one", src);
	n += flags_arg(flush_args + n, sizeof(flush_args) - n, "two",
		       src + last);
	ck_assert_uint_lt(n, sizeof(flush_args));
	trace_set_up();
}

/* One flush, of all of it, and nobody can have looked at a page in between. */
static void expect_in_order(const char *src, size_t pages)
{
	unsigned long long from, to, one, two;
	char line[512];
	FILE *f = fopen(MINE "/trace", "re");
	int n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		const char *found = strstr(line, " from=");

		if (!found || sscanf(found, " from=%llx to=%llx", &from,
				     &to) != 2 ||
		    from > ADDR(src) || to < ADDR(src + pages * PAGE))
			continue;
		found = strstr(found, " first=(fault) last=(fault) ");
		if (!found)
			ck_abort_msg("there before the flush: %s", line);
		if (sscanf(found, " %*s %*s one=%llx two=%llx", &one,
			   &two) != 2 || !(one & two & 1))
			ck_abort_msg("not locked: %s", line);
		n++;
	}
	fclose(f);
	ck_assert_int_eq(n, 1);
}

/* In one page table each, for what is one batch. */
START_TEST(flush_of_a_range)
{
	char *src = map_anon_aligned(RUN, PMD, 0);
	char *dst = map_anon_aligned(RUN, PMD, 0);
	int fd = dev_open_all();

	range_fill(src, RUN, 1, 1);
	watch_flushes(dst, src, RUN);
	expect_move(fd, dst, src, RUN * PAGE, 0);
	expect_in_order(src, RUN);
	trace_clear();
	range_check(dst, RUN, 1, 1);
}
END_TEST

/* From the last page to the first: more than one run, whose extents add up. */
START_TEST(flush_of_segments)
{
	char *src = map_anon_aligned(RUN, PMD, 0);
	char *dst = map_anon_aligned(RUN, PMD, 0);
	struct uremap_segment segs[RUN] = { 0 };
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = RUN, .seg_size = sizeof(segs[0]),
	};
	int fd = dev_open_all(), i;

	range_fill(src, RUN, 1, 1);
	for (i = 0; i < RUN; i++)
		segs[i] = seg(dst + (RUN - 1 - i) * PAGE,
			      src + (RUN - 1 - i) * PAGE, 1);
	watch_flushes(dst, src, RUN);
	expect_ok(ioctl(fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_int_eq(v.move, RUN * PAGE);
	expect_in_order(src, RUN);
	trace_clear();
	range_check(dst, RUN, 1, 1);
}
END_TEST

START_TEST(flush_of_a_huge_page)
{
	char *src = map_thp(1, 1, 1), *dst = map_thp_dst(1);
	int fd = dev_open_all();

	watch_flushes(dst, src, 1);
	expect_move(fd, dst, src, PMD, 0);
	expect_in_order(src, HPAGES);
	trace_clear();
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
	range_check(dst, HPAGES, 1, 1);
}
END_TEST

/* ---- C6 ---------------------------------------------------------------- */

enum { TABLES = 24, TURNS = 320 };	/* an even number of them */

struct mover {
	char *own, *area;
	int fd, nr;
};

/*
 * A page to each of the tables, and back.  Sources in the same mapping would have
 * one anon_vma, whose lock keeps such moves apart before 6.19.
 */
static void *moves_through(void *arg)
{
	const struct mover *m = arg;
	struct uremap_segment segs[TABLES] = { 0 };
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = TABLES, .seg_size = sizeof(segs[0]),
	};
	int turn, i;

	for (turn = 0; turn < repeats(TURNS); turn++) {
		for (i = 0; i < TABLES; i++) {
			int table = m->nr ? TABLES - 1 - i : i;
			char *there = m->area + table * PMD + m->nr * PAGE;
			char *own = m->own + table * PMD;

			segs[i] = seg(turn & 1 ? own : there,
				      turn & 1 ? there : own, 1);
		}
		expect_ok(ioctl(m->fd, UREMAP_IOC_MOVEV, &v));
		ck_assert_uint_eq(v.move, TABLES * PAGE);
	}
	return NULL;
}

START_TEST(opposite_orders)
{
	char *area = map_anon_aligned(TABLES * HPAGES, PMD, 0);
	struct mover m[2];
	pthread_t t[2];
	int i, k;

	for (k = 0; k < 2; k++) {
		char *own = map_anon_aligned(TABLES * HPAGES, PMD, 0);

		m[k] = (struct mover){ own, area, dev_open_all(), k };
		for (i = 0; i < TABLES; i++)
			page_fill(own + i * PMD, 1 + k, i);
	}
	for (k = 0; k < 2; k++)
		t[k] = thread_start(moves_through, &m[k]);
	for (k = 0; k < 2; k++)
		thread_join(t[k]);
	for (k = 0; k < 2; k++)
		for (i = 0; i < TABLES; i++)
			page_check(m[k].own + i * PMD, 1 + k, i);
}
END_TEST

/* ---- G2 ---------------------------------------------------------------- */

START_TEST(chain_over_holes)
{
	enum { LINKS = 8 };
	char *pages = map_anon(LINKS + 1);
	struct uremap_segment segs[LINKS] = { 0 };
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = LINKS, .seg_size = sizeof(segs[0]),
		.mode = UREMAP_MOVE_ALLOW_SRC_HOLES,
	};
	int fd = dev_open_all(), i;

	page_fill(pages, 1, 1);
	for (i = 0; i < LINKS; i++)
		segs[i] = seg(pages + (i + 1) * PAGE, pages + i * PAGE, 1);
	expect_ok(ioctl(fd, UREMAP_IOC_MOVEV, &v));
	for (i = 0; i < LINKS; i++)
		ck_assert_uint_eq(segs[i].holes, 0);
	ck_assert_uint_eq(count_populated(pages, LINKS + 1), 1);
	page_check(pages + LINKS * PAGE, 1, 1);
}
END_TEST

/* ---- D ----------------------------------------------------------------- */

/* Read-only entries, which prove nothing; the lists of this CPU have references. */
START_TEST(just_written)
{
	enum { ROUNDS = 32, N = 4 };
	int fd = dev_open_all(), i;

	pin_cpu(0);
	for (i = 0; i < ROUNDS; i++) {
		char *dst = map_anon(N), *src = map_filled(N, 1, i);

		/* Nothing is unmapped from here on, which would empty the lists. */
		expect_ok(mprotect(src, N * PAGE, PROT_READ));
		expect_ok(mprotect(src, N * PAGE, PROT_READ | PROT_WRITE));
		expect_move(fd, dst, src, N * PAGE, 0);
		range_check(dst, N, 1, i);
	}
}
END_TEST

static const struct utest tests[] = {
	UTEST(until_closed),
	UTEST(too_many),
	UTEST(each_segment),
	UTEST(flush_of_a_range),
	UTEST(flush_of_segments),
	UTEST(flush_of_a_huge_page),
	UTEST(opposite_orders),
	UTEST(chain_over_holes),
	UTEST(just_written),
};
UTEST_MAIN("witness", tests)
