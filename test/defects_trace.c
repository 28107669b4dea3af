// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram -M kvm-amd */
/*
 * Proves section E where only the kernel itself can tell: kprobes show what a
 * move of swapped pages flushes, and how much an MMU notifier is made to drop.
 * [0] is the kernel's own move, [1] uremap.
 */
#include "engine.h"

#include <linux/kvm.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define TRACING		"/sys/kernel/tracing"
#define MINE		TRACING "/instances/uremap-defects"
#define GROUP		"uremap_defects"

/* An event that is recorded with two words, for the calls of this thread */
struct probe {
	const char *event, *function, *args;
};

static const struct probe flush_probe = {
	"flush", "flush_tlb_mm_range", "a=%si:x64 b=%dx:x64",
};

/* mmu_notifier_range begins with mm, start, end; before 6.3 with a VMA, too. */
static const struct probe notifier_probes[] = {
	{ "start", "__mmu_notifier_invalidate_range_start",
	  "a=+16(%di):x64 b=+24(%di):x64" },
	{ "start", "__mmu_notifier_invalidate_range_start",
	  "a=+8(%di):x64 b=+16(%di):x64" },
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

static void trace_stop(const struct probe *p)
{
	char text[64];

	file_write(MINE "/events/" GROUP "/enable", "0");
	rmdir(MINE);
	snprintf(text, sizeof(text), "-:" GROUP "/%s", p->event);
	file_write(TRACING "/kprobe_events", text);
}

static void trace_start(const struct probe *p)
{
	char text[256];
	int err;

	trace_stop(p);
	snprintf(text, sizeof(text), "p:" GROUP "/%s %#llx %s", p->event,
		 kernel_address(p->function), p->args);
	err = file_write(TRACING "/kprobe_events", text);
	skip_if(err, "no kprobe events: %s", strerror(err));
	skip_if(mkdir(MINE, 0700), "no trace instances: %s", strerror(errno));
	snprintf(text, sizeof(text), "common_pid == %ld", syscall(__NR_gettid));
	ck_assert_int_eq(file_write(MINE "/events/" GROUP "/filter", text), 0);
	ck_assert_int_eq(file_write(MINE "/buffer_size_kb", "4096"), 0);
	ck_assert_int_eq(file_write(MINE "/events/" GROUP "/enable", "1"), 0);
}

/* Calls whose range [a, b) begins in the range; @bytes is what they sum up to */
static long trace_sum(const char *start, size_t len, unsigned long long *bytes)
{
	unsigned long long a, b, from = ADDR(start), to = from + len;
	FILE *f = fopen(MINE "/trace", "re");
	char line[512], *args;
	long n = 0;

	ck_assert_ptr_nonnull(f);
	*bytes = 0;
	while (fgets(line, sizeof(line), f)) {
		args = line[0] == '#' ? NULL : strstr(line, " a=");
		if (!args || sscanf(args, " a=%llx b=%llx", &a, &b) != 2 ||
		    a < from || a >= to || b <= a)
			continue;
		n++;
		*bytes += b - a;
	}
	fclose(f);
	return n;
}

/*
 * Reclaim unmaps pages and leaves the flush for later.  Who moves their swap
 * entries has to flush, or src can still be written to after the move (C11).
 */
START_TEST(deferred_flush)
{
	enum { N = 64 };
	struct engine e = engine_open(_i, 0);
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	unsigned long long bytes;
	long n;

	swap_out(src, N);
	engine_dst(&e, dst, N * PAGE);
	trace_start(&flush_probe);
	engine_move_all(&e, dst, src, N * PAGE, 0);
	n = trace_sum(src, N * PAGE, &bytes);
	trace_stop(&flush_probe);
	test_note("%ld flushes of %llu pages", n, bytes / (unsigned long long)PAGE);
	verdict_on(_i, "swapped pages are moved without a flush", n == 0,
		   kernel_is(6, 12) || kernel_is(7, 2));
	range_check(dst, N, 1, 1);
}
END_TEST

/* Gives the process a user of MMU notifiers: KVM registers one per machine. */
static void have_notifier(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 && !system("modprobe kvm-amd 2>/dev/null"))
		kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	skip_if(kvm < 0, "no user of MMU notifiers: /dev/kvm: %s",
		strerror(errno));
	skip_if(ioctl(kvm, KVM_CREATE_VM, 0) < 0, "KVM_CREATE_VM: %s",
		strerror(errno));
}

/* Each step makes the notifier drop all that is left of the request. */
START_TEST(notifier_over_the_rest)
{
	enum { N = 256 };
	const struct probe *p = &notifier_probes[kernel_at_least(6, 3)];
	struct engine e = engine_open(_i, 0);
	char *src = map_anon(N), *dst = map_anon(N);
	unsigned long long bytes;
	long n;

	for (int i = 0; i < N; i++)
		page_check_zero(src + i * PAGE);
	engine_dst(&e, dst, N * PAGE);
	have_notifier();
	trace_start(p);
	engine_move_all(&e, dst, src, N * PAGE, 0);
	n = trace_sum(src, N * PAGE, &bytes);
	trace_stop(p);
	test_note("%ld calls over %llu pages in all, for %d pages", n,
		  bytes / (unsigned long long)PAGE, N);
	ck_assert_int_ge(n, 1);
	ck_assert_uint_ge(bytes, N * PAGE);
	verdict_on(_i, "notifier ranges grow with the square of the request",
		   bytes > 8 * N * PAGE, kernel_is(7, 2));
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(deferred_flush, ENGINES),
	UTEST_LOOP(notifier_over_the_rest, ENGINES),
};
UTEST_MAIN("defects_trace", tests)
