// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a moved page is an ordinary page of its new place: tracked,
 * counted, shared by fork, protected, migrated and freed like any other.
 */
#include "util_state.h"

/* Soft-dirty is set at the destination: checkpoints must see the page. */
START_TEST(soft_dirty)
{
	enum { N = 520 };
	static uint64_t pm[N];
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	int i;

	skip_if(!(pagemap(src) & PM_SOFT_DIRTY), "no soft-dirty tracking");
	ck_assert_int_eq(file_write("/proc/self/clear_refs", "4"), 0);
	skip_if(pagemap(src) & PM_SOFT_DIRTY, "soft-dirty cannot be cleared");
	expect_move(fd, dst, src, N * PAGE, 0);
	pagemap_read(dst, N, pm);
	for (i = 0; i < N; i++)
		ck_assert_msg(pm[i] & PM_SOFT_DIRTY, "page %d: %#llx", i,
			      (unsigned long long)pm[i]);
	range_check(dst, N, 1, 1);
}
END_TEST

/* A page that is dirty for the kernel stays so, or reclaim might drop it. */
START_TEST(dirty)
{
	enum { N = 520 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	ck_assert_int_eq(smaps_kb(src, "Private_Dirty"), N * 4);
	expect_move(fd, dst, src, N * PAGE, 0);
	ck_assert_int_eq(smaps_kb(dst, "Private_Dirty"), N * 4);
	ck_assert_int_eq(smaps_kb(src, "Rss"), 0);
}
END_TEST

/* Accessed is carried: a page nobody touched does not look used. */
START_TEST(accessed)
{
	enum { N = 64 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);

	expect_move(fd, dst, src, N * PAGE, 0);
	ck_assert_int_eq(smaps_kb(dst, "Referenced"), N * 4);
	ck_assert_int_eq(file_write("/proc/self/clear_refs", "1"), 0);
	ck_assert_int_eq(smaps_kb(dst, "Referenced"), 0);
	expect_move(fd, src, dst, N * PAGE, 0);
	ck_assert_int_eq(smaps_kb(src, "Referenced"), 0);
	range_check(src, N, 1, 1);
	ck_assert_int_eq(smaps_kb(src, "Referenced"), N * 4);
}
END_TEST

/* The same of entries that are built anew, here since soft-dirty tracking has them. */
START_TEST(accessed_built_anew)
{
	const size_t n = _i ? 512 : 64;
	const long kb = n * 4;
	int fd = dev_open_all();
	char *src = _i ? map_thp(1, 1, 1) : map_filled(n, 1, 1);
	char *dst = _i ? map_thp_dst(1) : map_anon(n);

	ck_assert_int_eq(file_write("/proc/self/clear_refs", "4"), 0);
	ck_assert_int_eq(smaps_kb(src, "Referenced"), kb);
	expect_move(fd, dst, src, n * PAGE, 0);
	ck_assert_int_eq(smaps_kb(dst, "Referenced"), kb);
	ck_assert_int_eq(file_write("/proc/self/clear_refs", "4"), 0);
	ck_assert_int_eq(file_write("/proc/self/clear_refs", "1"), 0);
	expect_move(fd, src, dst, n * PAGE, 0);
	ck_assert_int_eq(smaps_kb(src, "Referenced"), 0);
	range_check(src, n, 1, 1);
}
END_TEST

/* Counters: resident memory is what it was, and nothing is left at the end. */
START_TEST(rss)
{
	enum { N = 4000 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	long before = status_kb(0, "RssAnon");

	expect_move(fd, dst, src, N * PAGE, 0);
	/* counters are kept per CPU or thread and read inexactly */
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - before), 512);
	ck_assert_int_eq(smaps_kb(dst, "Rss"), N * 4);
	ck_assert_int_eq(smaps_kb(src, "Rss"), 0);
	munmap(src, N * PAGE);
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - before), 512);
	range_check(dst, N, 1, 1);
	munmap(dst, N * PAGE);
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - before + N * 4), 512);
}
END_TEST

/* The source mapping may go at once; pages and anon_vma do not need it. */
START_TEST(source_unmapped)
{
	enum { N = 600 };
	int fd = dev_open_all();
	char *dst = map_anon(N * 4), *src;
	int i;

	for (i = 0; i < 4; i++) {
		src = map_filled(N, i * N, 1);
		expect_move(fd, dst + i * N * PAGE, src, N * PAGE, 0);
		munmap(src, N * PAGE);
	}
	range_check(dst, N * 4, 0, 1);
	range_fill(dst, N * 4, 5, 2);
	range_check(dst, N * 4, 5, 2);
}
END_TEST

struct after_fork {
	char *dst;
	int n;
};

static int child_reads_and_writes(void *arg)
{
	struct after_fork *a = arg;

	range_check(a->dst, a->n, 1, 1);
	range_fill(a->dst, a->n, 1, 2);
	range_check(a->dst, a->n, 1, 2);
	return 0;
}

/* fork shares a moved page copy-on-write: neither side sees the other's writes. */
START_TEST(fork_after)
{
	struct after_fork a = { .n = 530 };
	int fd = dev_open_all();
	char *src = map_filled(a.n, 1, 1);
	pid_t pid;

	a.dst = map_anon(a.n);
	expect_move(fd, a.dst, src, a.n * PAGE, 0);
	child_run(child_reads_and_writes, &a);
	range_check(a.dst, a.n, 1, 1);
	pid = child_start(child_reads_and_writes, &a);
	range_fill(a.dst, a.n / 2, 1, 1);
	child_join(pid);
	range_check(a.dst, a.n, 1, 1);
}
END_TEST

/* mprotect and mremap treat it like any page. */
START_TEST(protect_and_remap)
{
	enum { N = 530 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N), *p;

	expect_move(fd, dst, src, N * PAGE, 0);
	expect_ok(mprotect(dst, N * PAGE, PROT_READ));
	range_check(dst, N, 1, 1);
	expect_ok(mprotect(dst, N * PAGE, PROT_READ | PROT_WRITE));
	range_fill(dst, N, 1, 2);
	p = map_nothing(N);
	map_shift(dst, p, N);
	range_check(p, N, 1, 2);
	expect_move(fd, src, p, N * PAGE, 0);
	range_check(src, N, 1, 2);
}
END_TEST

/* DONTNEED frees it: zeros afterwards, and the place can be moved to again. */
START_TEST(dontneed_after)
{
	enum { N = 530 };
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	int i;

	expect_move(fd, dst, src, N * PAGE, 0);
	expect_ok(madvise(dst, N * PAGE, MADV_DONTNEED));
	range_fill(src, N, 3, 3);
	expect_move(fd, dst, src, N * PAGE, 0);
	range_check(dst, N, 3, 3);
	expect_ok(madvise(dst, N * PAGE, MADV_DONTNEED));
	for (i = 0; i < N; i++)
		page_check_zero(dst + i * PAGE);
}
END_TEST

/*
 * The reverse mapping leads to the new place: compaction, which moves pages to
 * other frames by it, still finds every mapping, and contents stay.
 */
START_TEST(compaction)
{
	enum { N = 3000 };
	int fd = dev_open_all(), junk_pages = repeats(20000);
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	uint64_t *before = calloc(N, sizeof(*before)), *after;
	int i, changed = 0, round;

	after = calloc(N, sizeof(*after));
	expect_move(fd, dst, src, N * PAGE, 0);
	munmap(src, N * PAGE);
	skip_if(file_write("/proc/sys/vm/compact_memory", "1"),
		"no memory compaction");
	page_pfn(dst);
	pagemap_read(dst, N, before);
	for (round = 0; round < 10 && !changed; round++) {
		/* holes in memory, for compaction to have something to do */
		char *junk = map_filled(junk_pages, 0, 0);

		for (i = 0; i < junk_pages; i += 2)
			madvise(junk + i * PAGE, PAGE, MADV_DONTNEED);
		file_write("/proc/sys/vm/compact_memory", "1");
		munmap(junk, junk_pages * PAGE);
		file_write("/proc/sys/vm/compact_memory", "1");
		pagemap_read(dst, N, after);
		for (i = 0; i < N; i++)
			changed += (before[i] & PM_PFN) != (after[i] & PM_PFN);
	}
	test_note("%d of %d pages migrated", changed, N);
	range_check(dst, N, 1, 1);
	range_fill(dst, N, 1, 2);
	range_check(dst, N, 1, 2);
	skip_if(!changed, "compaction found no page to migrate");
}
END_TEST

/* mlocked on both sides: moved, still locked, and unlocked when unmapped. */
START_TEST(mlocked)
{
	enum { N = 200 };
	int fd = dev_open_all();
	char *src = map_anon(N), *dst = map_anon(N);
	long before = status_kb(0, "VmLck");

	skip_if(mlock(src, N * PAGE), "mlock: %s", strerror(errno));
	expect_ok(mlock(dst, N * PAGE));
	range_fill(src, N, 1, 1);
	/* mlock has populated dst, and DONTNEED refuses locked memory */
	expect_no_move(fd, dst, src, N * PAGE, 0, EEXIST, DST_BUSY, ADDR(dst));
	dst = mmap(dst, N * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	expect_ok(mlock2(dst, N * PAGE, MLOCK_ONFAULT));
	expect_move(fd, dst, src, N * PAGE, 0);
	range_check(dst, N, 1, 1);
	ck_assert_int_eq(status_kb(0, "VmLck"), before + 2 * N * 4);
	ck_assert(kpageflags(dst) & KPF_MLOCKED);
	expect_ok(munlock(dst, N * PAGE));
	expect_ok(munlock(src, N * PAGE));
	ck_assert_int_eq(status_kb(0, "VmLck"), before);
	range_check(dst, N, 1, 1);
	munmap(dst, N * PAGE);
}
END_TEST

static const struct utest tests[] = {
	UTEST(soft_dirty),
	UTEST(dirty),
	UTEST(accessed),
	UTEST_LOOP(accessed_built_anew, 2),
	UTEST(rss),
	UTEST(source_unmapped),
	UTEST(fork_after),
	UTEST(protect_and_remap),
	UTEST(dontneed_after),
	UTEST_SLOW(compaction, 300),
	UTEST(mlocked),
};
UTEST_MAIN("aftermath", tests)
