// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M kvm-amd */
/*
 * Proves that the cost of a move is per batch and not per page: one TLB flush
 * and one pair of MMU notifier calls for all pages of a page table; and that
 * devices with a TLB of their own are told before the page can be freed (C15).
 *
 * Told by the kernel, by kprobes on the functions themselves, and by the
 * module's own counters, which must agree.
 */
#include "util_state.h"

#include <linux/kvm.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define TRACING		"/sys/kernel/tracing"
#define MINE		TRACING "/instances/uremap-test"
#define GROUP		"uremap_test"

/*
 * mmu_notifier_range begins with vma, mm, start; or with mm, start since its vma
 * went (6.3): one of both words is the start.  What reaches the TLBs of devices
 * has another name since 6.6.
 */
static const struct {
	const char *event, *function, *args, *older;
} probes[] = {
	{ "flush", "flush_tlb_mm_range", "a=%si:x64 b=%dx:x64" },
	{ "start", "__mmu_notifier_invalidate_range_start",
	  "a=+8(%di):x64 b=+16(%di):x64" },
	{ "end", "__mmu_notifier_invalidate_range_end",
	  "a=+8(%di):x64 b=+16(%di):x64" },
	{ "device", "__mmu_notifier_arch_invalidate_secondary_tlbs",
	  "a=%si:x64 b=%si:x64", "__mmu_notifier_invalidate_range" },
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
	fclose(f);
	return found;
}

static unsigned long long probe_address(size_t i)
{
	unsigned long long addr = kernel_address(probes[i].function);

	if (!addr && probes[i].older)
		addr = kernel_address(probes[i].older);
	skip_if(!addr, "no privilege to see kernel addresses");
	return addr;
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
	char text[256];
	size_t i;

	if (access(TRACING "/kprobe_events", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	skip_if(access(TRACING "/kprobe_events", F_OK), "no tracefs");
	trace_clear();
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		snprintf(text, sizeof(text), "p:" GROUP "/%s %#llx %s",
			 probes[i].event, probe_address(i), probes[i].args);
		trace_write(TRACING "/kprobe_events", text);
	}
	if (mkdir(MINE, 0700))
		test_skip("%s: %s", MINE, strerror(errno));
	snprintf(text, sizeof(text), "common_pid == %ld",
		 syscall(__NR_gettid));
	trace_write(MINE "/events/" GROUP "/filter", text);
	trace_write(MINE "/events/" GROUP "/enable", "1");
}

/*
 * How often the event happened to exactly the address @start, by this thread;
 * and which of all events the last of them was.
 */
static int trace_find(const char *event, const char *start, int *last)
{
	char text[32], line[512];
	unsigned long long a, b;
	FILE *f = fopen(MINE "/trace", "re");
	const char *args;
	int n = 0, at = 0;

	ck_assert_ptr_nonnull(f);
	snprintf(text, sizeof(text), " %s: ", event);
	while (fgets(line, sizeof(line), f)) {
		at++;
		args = strstr(line, text);
		args = args ? strstr(args, " a=") : NULL;
		if (line[0] == '#' || !args ||
		    sscanf(args, " a=%llx b=%llx", &a, &b) != 2)
			continue;
		if (a != ADDR(start) && b != ADDR(start))
			continue;
		n++;
		*last = at;
	}
	fclose(f);
	return n;
}

static int trace_count(const char *event, const char *start)
{
	int last;

	return trace_find(event, start, &last);
}

/* Opening it to truncate empties the buffer. */
static void trace_restart(void)
{
	close(expect_ok(open(MINE "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC)));
}

struct counts {
	long batches, flushes, pairs, pages;
};

static struct counts counters(void)
{
	struct counts c = {
		.batches = dev_stat("batches"),
		.flushes = dev_stat("flushes"),
		.pairs = dev_stat("notifier_pairs"),
		.pages = dev_stat("pages"),
	};

	skip_if(c.batches < 0, "the module's counters are not readable");
	return c;
}

static void expect_counts(struct counts before, long batches, long flushes,
			  long pages)
{
	struct counts now = counters();

	ck_assert_int_eq(now.batches - before.batches, batches);
	ck_assert_int_eq(now.flushes - before.flushes, flushes);
	ck_assert_int_eq(now.pairs - before.pairs, batches);
	ck_assert_int_eq(now.pages - before.pages, pages);
}

/* 512 pages, one page table on each side: one of everything. */
START_TEST(one_of_each)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(512, PMD, 0);
	char *dst = map_anon_aligned(512, PMD, 0);
	struct counts before;

	range_fill(src, 512, 1, 1);
	before = counters();
	expect_move(fd, dst, src, 512 * PAGE, 0);
	expect_counts(before, 1, 1, 512);
	range_check(dst, 512, 1, 1);
}
END_TEST

/* The kernel saw one flush of that range. */
START_TEST(one_flush_seen)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(512, PMD, 0);
	char *dst = map_anon_aligned(512, PMD, 0);

	range_fill(src, 512, 1, 1);
	trace_set_up();
	trace_restart();
	expect_move(fd, dst, src, 512 * PAGE, 0);
	ck_assert_int_eq(trace_count("flush", src), 1);
	for (int i = 1; i < 512; i++)
		ck_assert_int_eq(trace_count("flush", src + i * PAGE), 0);
	ck_assert_int_eq(trace_count("flush", dst), 0);
	trace_clear();
	range_check(dst, 512, 1, 1);
}
END_TEST

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

/* For a list of pages it saw one, from the lowest of them to the highest. */
START_TEST(one_flush_of_list_seen)
{
	static const int at[] = { 3, 0, 9, 5 };
	struct uremap_segment segs[4];
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = 4, .seg_size = sizeof(*segs),
	};
	int fd = dev_open_all();
	char *src = map_anon_aligned(10, PMD, 0);
	char *dst = map_anon_aligned(10, PMD, 0);

	range_fill(src, 10, 1, 1);
	for (int i = 0; i < 4; i++)
		segs[i] = seg(dst + at[i] * PAGE, src + at[i] * PAGE, 1);
	trace_set_up();
	trace_restart();
	expect_ok(ioctl(fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_int_eq(trace_count("flush", src), 1);
	ck_assert_int_eq(trace_count("flush", src + 10 * PAGE), 1);
	ck_assert_int_eq(trace_count("flush", src + 3 * PAGE), 0);
	trace_clear();
	for (int i = 0; i < 4; i++)
		page_check(dst + at[i] * PAGE, 1 + at[i], 1);
}
END_TEST

/* And one pair of calls to whoever has a notifier, even if nothing moves. */
START_TEST(one_notifier_pair_seen)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(512, PMD, 0);
	char *dst = map_anon_aligned(512, PMD, 0);

	have_notifier();
	range_fill(src, 512, 1, 1);
	trace_set_up();
	trace_restart();
	expect_move(fd, dst, src, 512 * PAGE, 0);
	ck_assert_int_eq(trace_count("start", src), 1);
	ck_assert_int_eq(trace_count("end", src), 1);
	ck_assert_int_eq(trace_count("flush", src), 1);
	ck_assert_int_eq(trace_count("start", dst), 0);
	/* refused at once: what was begun is ended, nothing is flushed */
	trace_restart();
	page_fill(src + PAGE, 1, 1);
	expect_no_move(fd, dst, src, PAGE, 0, EEXIST, DST_BUSY, ADDR(dst));
	ck_assert_int_eq(trace_count("start", src), 1);
	ck_assert_int_eq(trace_count("end", src), 1);
	ck_assert_int_eq(trace_count("flush", src), 0);
	trace_clear();
	range_check(dst, 512, 1, 1);
}
END_TEST

/*
 * Devices that have the page tables in a TLB of their own are told while the
 * page cannot be freed yet: at the end of the pair it is too late (C15).
 */
static void expect_device_flush(const char *src)
{
	int start = 0, device = 0, end = 0;

	ck_assert_int_eq(trace_find("start", src, &start), 1);
	ck_assert_int_eq(trace_find("device", src, &device), 1);
	ck_assert_int_eq(trace_find("end", src, &end), 1);
	ck_assert_int_lt(start, device);
	ck_assert_int_lt(device, end);
}

START_TEST(devices_in_time)
{
	int fd = dev_open_all();
	char *src = map_filled(512, 1, 1), *dst = map_anon(512);

	have_notifier();
	trace_set_up();
	trace_restart();
	expect_move(fd, dst, src, PAGE, 0);
	expect_device_flush(src);
	trace_clear();
	range_check(dst, 1, 1, 1);
}
END_TEST

START_TEST(devices_in_time_huge)
{
	int fd = dev_open_all();
	char *src = map_thp(1, 1, 1), *dst = map_thp_dst(1);

	have_notifier();
	trace_set_up();
	trace_restart();
	expect_move(fd, dst, src, PMD, 0);
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
	expect_device_flush(src);
	trace_clear();
	range_check(dst, HPAGES, 1, 1);
}
END_TEST

/* Aligned alike, N tables make N batches. */
START_TEST(per_table)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(4 * 512, PMD, 0);
	char *dst = map_anon_aligned(4 * 512, PMD, 0);
	struct counts before;

	range_fill(src, 4 * 512, 1, 1);
	before = counters();
	expect_move(fd, dst, src, 4 * PMD, 0);
	expect_counts(before, 4, 4, 4 * 512);
	range_check(dst, 4 * 512, 1, 1);
}
END_TEST

/* Aligned otherwise, each boundary on either side begins a batch. */
START_TEST(misaligned)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(2 * 512, PMD, 0);
	char *dst = map_anon_aligned(2 * 512, PMD, 100);
	struct counts before;

	range_fill(src, 2 * 512, 1, 1);
	before = counters();
	expect_move(fd, dst, src, 2 * PMD, 0);
	/* 412, then 100 and 412 together for what fits into a batch, then 100 */
	expect_counts(before, 3, 3, 2 * 512);
	range_check(dst, 2 * 512, 1, 1);
}
END_TEST

/* Holes between the pages do not cut a batch. */
START_TEST(with_holes)
{
	int fd = dev_open_all(), i;
	char *src = map_anon_aligned(512, PMD, 0);
	char *dst = map_anon_aligned(512, PMD, 0);
	struct counts before;

	for (i = 0; i < 512; i += 2)
		page_fill(src + i * PAGE, i, 1);
	before = counters();
	expect_move_holes(fd, dst, src, PMD, UREMAP_MOVE_ALLOW_SRC_HOLES,
			  256 * PAGE);
	expect_counts(before, 1, 1, 256);
}
END_TEST

/* Nothing there, nothing flushed. */
START_TEST(nothing)
{
	int fd = dev_open_all();
	char *src = map_anon(5000), *dst = map_anon(5000);
	struct counts before = counters(), now;

	expect_move_holes(fd, dst, src, 5000 * PAGE,
			  UREMAP_MOVE_ALLOW_SRC_HOLES, 5000 * PAGE);
	now = counters();
	ck_assert_int_eq(now.flushes, before.flushes);
	ck_assert_int_eq(now.pages, before.pages);
}
END_TEST

/* An obstacle ends a batch; the flush is for what was before it. */
START_TEST(up_to_an_obstacle)
{
	int fd = dev_open_all();
	char *src = map_anon_aligned(512, PMD, 0);
	char *dst = map_anon_aligned(512, PMD, 0);
	struct counts before, now;

	range_fill(src, 512, 1, 1);
	page_fill(dst + 300 * PAGE, 5, 5);
	before = counters();
	expect_move_part(fd, dst, src, PMD, 0, 300 * PAGE, EEXIST, DST_BUSY,
			 ADDR(dst + 300 * PAGE));
	now = counters();
	ck_assert_int_eq(now.flushes - before.flushes, 1);
	ck_assert_int_eq(now.pages - before.pages, 300);
	ck_assert_int_le(now.batches - before.batches, 2);
}
END_TEST

static const struct utest tests[] = {
	UTEST(one_of_each),
	UTEST(one_flush_seen),
	UTEST(one_flush_of_list_seen),
	UTEST(one_notifier_pair_seen),
	UTEST(devices_in_time),
	UTEST(devices_in_time_huge),
	UTEST(per_table),
	UTEST(misaligned),
	UTEST(with_holes),
	UTEST(nothing),
	UTEST(up_to_an_obstacle),
};
UTEST_MAIN("flush", tests)
