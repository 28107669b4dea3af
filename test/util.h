/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all test programs share: a TAP runner over libcheck, the device, moves
 * with exact expectations, mappings and page patterns, /proc and userfaultfd.
 *
 * A test program includes this first and is a table of libcheck tests:
 *
 *	START_TEST(one_page)
 *	{
 *		int fd = dev_open_all();
 *		char *src = map_filled(1, 7, 0), *dst = map_anon(1);
 *
 *		expect_move(fd, dst, src, PAGE, 0);
 *		page_check(dst, 7, 0);
 *	}
 *	END_TEST
 *
 *	static const struct utest tests[] = { UTEST(one_page) };
 *	UTEST_MAIN("move", tests)
 *
 * Every test runs in a process of its own (libcheck's CK_FORK), so nothing
 * needs to be freed or closed for the next one.  Helpers that can fail abort
 * the test with a message; those named try_* return an errno instead.
 */
#ifndef UREMAP_TEST_UTIL_H
#define UREMAP_TEST_UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/uremap.h>
#include <linux/userfaultfd.h>

#define PAGE		4096UL
#define PMD		(512 * PAGE)
#define PUD		(512 * PMD)

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* An address as the uABI wants it; pointers of all types are accepted. */
#define ADDR(p)		((__u64)(uintptr_t)(p))

/* ---- runner (util.c) -------------------------------------------------- */

/* A test that takes longer is killed.  Emulated machines are slow. */
#define UTEST_TIMEOUT	120

struct utest {
	const TTest *const *test;
	const char *name;
	int first, last;		/* loop variable _i, last excluded */
	int timeout;			/* seconds, 0: UTEST_TIMEOUT */
};

#define UTEST(t)		{ &t, #t, 0, 1, 0 }
#define UTEST_LOOP(t, n)	{ &t, #t, 0, (n), 0 }
#define UTEST_SLOW(t, secs)	{ &t, #t, 0, 1, (secs) }
#define UTEST_LOOP_SLOW(t, n, secs)	{ &t, #t, 0, (n), (secs) }

#define UTEST_MAIN(suite, tests)					\
int main(int argc, char **argv)						\
{									\
	return utest_main(suite, tests, ARRAY_SIZE(tests), argc, argv);	\
}

/*
 * Runs @n tests, or those named on the command line, and prints TAP to stdout
 * as they finish.  Returns 0 if none failed.  UREMAP_SEED=N repeats the random
 * choices of a run, which always prints its seed.
 */
int utest_main(const char *suite, const struct utest *tests, size_t n,
	       int argc, char **argv);

/* For a main() with nothing to run here: one word is enough. */
int utest_skip_all(const char *why);

/* Ends the test as TAP "ok # SKIP reason".  Only in the test's own process. */
void test_skip(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
#define skip_if(cond, ...) do { if (cond) test_skip(__VA_ARGS__); } while (0)

/* Where the test is, for the message if it fails; the last one counts. */
void test_at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A TAP comment. */
void test_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Random numbers from the seed of the run; thread-safe, not for threads' order. */
uint64_t rnd(void);
static inline uint64_t rnd_below(uint64_t n) { return rnd() % n; }

/* Fails the test unless @call returns -1 with exactly errno @err. */
#define expect_errno(err, call) do {					\
	long _ret;							\
	int _err;							\
	errno = 0;							\
	_ret = (long)(call);						\
	_err = errno;							\
	if (_ret != -1 || _err != (err))				\
		ck_abort_msg("%s: got %ld, %s; expected -1, %s", #call,	\
			     _ret, strerrorname_np(_err) ?: "?",	\
			     strerrorname_np(err) ?: "?");		\
} while (0)

/* Fails the test unless @call returns 0 or more; the value of it. */
#define expect_ok(call) ({						\
	long _ret = (long)(call);					\
	if (_ret < 0)							\
		ck_abort_msg("%s: %s", #call, strerror(errno));		\
	_ret;								\
})

/*
 * A process of the test's own.  child_start() runs @fn in a fork and exits
 * with what it returns; child_join() fails the test unless that is 0.  Failing
 * helpers work in a child too: they end it with status 1.
 */
pid_t child_start(int (*fn)(void *arg), void *arg);
void child_join(pid_t pid);
void child_run(int (*fn)(void *arg), void *arg);

/* A thread, which must not outlive the test. */
pthread_t thread_start(void *(*fn)(void *arg), void *arg);
void *thread_join(pthread_t t);

/* Pins the calling thread to the CPU with that number, modulo those there are. */
void pin_cpu(int cpu);

/* ---- the device (util.c) ---------------------------------------------- */

#define DEV_PATH	"/dev/uremap"

/*
 * Opens the device.  Without one the test fails, or is skipped if
 * UREMAP_OPTIONAL is set (machines where the module need not be loaded).
 */
int dev_open(void);
/* The same, with the whole address space registered as source and destination. */
int dev_open_all(void);

struct uremap_info dev_info(int fd);
#define RIGHTS_BOTH	(UREMAP_RANGE_SRC | UREMAP_RANGE_DST)
void dev_register(int fd, const void *start, size_t len, __u64 rights);
void dev_unregister(int fd, const void *start, size_t len, __u64 rights);
/* 0 or the errno */
int try_register(int fd, __u64 start, __u64 len, __u64 rights);
int try_unregister(int fd, __u64 start, __u64 len, __u64 rights);
void dev_attach(int fd, int uffd);
int try_attach(int fd, int uffd);
/* True if INFO has that UREMAP_FEATURE_* bit. */
bool dev_feature(int fd, __u64 feature);

/* ---- moves (util.c) --------------------------------------------------- */

/* What one UREMAP_IOC_MOVE said.  Fields not written hold MOVE_UNWRITTEN. */
struct move_result {
	int ret;			/* of ioctl() */
	int err;			/* errno, 0 if ret is 0 */
	__s64 move;
	__u64 moved, holes, healed, stop;
	__u32 reason, error;
};

#define MOVE_UNWRITTEN	0x5a5a5a5a5a5a5a5aULL

struct move_result try_move_at(int fd, __u64 dst, __u64 src, __u64 len,
			       __u64 mode);
#define try_move(fd, dst, src, len, mode) \
	try_move_at(fd, ADDR(dst), ADDR(src), len, mode)

/*
 * What a move must say.  All of it is compared; the ioctl's return value,
 * errno, uremap_move.move and .moved follow from it.
 */
struct move_expect {
	__u64 done;			/* bytes from the start, holes included */
	__u64 holes;
	__u64 healed;
	int error;			/* why not more, 0: @done was all */
	__u32 reason;
	__u64 stop;			/* address, or STOP_ANY */
};

#define STOP_ANY	(~0ULL)

void check_move(const char *file, int line, struct move_result r,
		struct move_expect e);

/* A segment of a MOVEV, of so many pages */
static inline struct uremap_segment seg(const void *dst, const void *src,
					size_t pages)
{
	return (struct uremap_segment){ .dst = ADDR(dst), .src = ADDR(src),
					.len = pages * PAGE };
}

/* expect_move_as(fd, dst, src, len, mode, .done = ..., .error = ...) */
#define expect_move_as(fd, dst, src, len, mode, ...)			\
	check_move(__FILE__, __LINE__, try_move(fd, dst, src, len, mode), \
		   (struct move_expect){ __VA_ARGS__ })

/* All of @len moves, and all of it was memory. */
#define expect_move(fd, dst, src, len, mode)				\
	expect_move_as(fd, dst, src, len, mode, .done = (len))

/* All of @len is done; @nholes bytes of it were holes. */
#define expect_move_holes(fd, dst, src, len, mode, nholes)		\
	expect_move_as(fd, dst, src, len, mode, .done = (len), .holes = (nholes))

/* Nothing moves. */
#define expect_no_move(fd, dst, src, len, mode, err, why, where)	\
	expect_move_as(fd, dst, src, len, mode, .error = (err),		\
		       .reason = UREMAP_REASON_##why, .stop = (where))

/* Stops after @ndone bytes, none of them a hole, at address @where. */
#define expect_move_part(fd, dst, src, len, mode, ndone, err, why, where) \
	expect_move_as(fd, dst, src, len, mode, .done = (ndone),	\
		       .error = (err), .reason = UREMAP_REASON_##why,	\
		       .stop = (where))

const char *reason_name(__u32 reason);

/* ---- mappings and patterns (util_mm.c) -------------------------------- */

/*
 * Anonymous private memory in a mapping of its own: unmapped gaps of random
 * size around it, and never huge pages unless a test asks for them itself
 * (madvise MADV_NOHUGEPAGE; map_huge_ok() leaves that out).
 */
char *map_anon(size_t pages);
char *map_anon_prot(size_t pages, int prot);
/* ... starting @offset pages after a multiple of @align bytes */
char *map_anon_aligned(size_t pages, size_t align, size_t offset);
char *map_huge_ok(size_t pages, size_t align);
/* map_anon() whose page n holds identity @id + n, sequence @seq */
char *map_filled(size_t pages, uint32_t id, uint32_t seq);
/* An address range of which nothing is mapped (another thread may map there). */
char *map_nothing(size_t pages);
/* As map_anon(), where nothing is mapped now. */
void map_again(char *start, size_t pages);
/* mremap() to exactly there, whatever is mapped there */
void map_shift(char *from, char *to, size_t pages);

/*
 * Patterns.  Each word of a page holds the page's identity (any number), a
 * sequence number (below 2^22) and the word's own position, so that a page out
 * of place, an old version of it and a torn page all look different.
 */
void page_fill(void *page, uint32_t id, uint32_t seq);
void range_fill(void *start, size_t pages, uint32_t id, uint32_t seq);
/* These fail the test and say what differs. */
#define page_check(page, id, seq) \
	page_check_at(__FILE__, __LINE__, page, id, seq)
#define range_check(start, pages, id, seq) \
	range_check_at(__FILE__, __LINE__, start, pages, id, seq)
#define page_check_zero(page) \
	page_check_zero_at(__FILE__, __LINE__, page)
void page_check_at(const char *file, int line, const void *page, uint32_t id,
		   uint32_t seq);
void range_check_at(const char *file, int line, const void *start, size_t pages,
		    uint32_t id, uint32_t seq);
void page_check_zero_at(const char *file, int line, const void *page);
/* False if the page is not as expected; @why says how (for threads). */
bool page_same(const void *page, uint32_t id, uint32_t seq, char *why,
	       size_t len);
/* Identity and sequence of the page's first word; false if it holds none. */
bool page_read(const void *page, uint32_t *id, uint32_t *seq);

/* ---- /proc, /sys (util_proc.c) ---------------------------------------- */

#define PM_SOFT_DIRTY	(1ULL << 55)
#define PM_EXCLUSIVE	(1ULL << 56)	/* by mapcount, not PG_anon_exclusive */
#define PM_UFFD_WP	(1ULL << 57)
#define PM_GUARD	(1ULL << 58)	/* 6.15 */
#define PM_FILE		(1ULL << 61)
#define PM_SWAP		(1ULL << 62)
#define PM_PRESENT	(1ULL << 63)
#define PM_PFN		((1ULL << 55) - 1)
#define PM_POPULATED	(PM_PRESENT | PM_SWAP)

uint64_t pagemap(const void *addr);
void pagemap_read(const void *start, size_t pages, uint64_t *out);
/* The frame in an entry, 0 if nothing is present; skips if it may not be seen. */
uint64_t pagemap_frame(uint64_t entry);
/* True if something is there: present or swapped out. */
bool page_populated(const void *addr);
size_t count_populated(const void *start, size_t pages);
/* How many pages have one of @bits (PM_). */
size_t count_pages(const void *start, size_t pages, uint64_t bits);

/* Bits of /proc/kpageflags */
#define KPF_LOCKED	(1ULL << 0)
#define KPF_DIRTY	(1ULL << 4)
#define KPF_LRU		(1ULL << 5)
#define KPF_ACTIVE	(1ULL << 6)
#define KPF_ANON	(1ULL << 12)
#define KPF_SWAPCACHE	(1ULL << 13)
#define KPF_SWAPBACKED	(1ULL << 14)
#define KPF_COMPOUND_HEAD (1ULL << 15)
#define KPF_COMPOUND_TAIL (1ULL << 16)
#define KPF_UNEVICTABLE	(1ULL << 18)
#define KPF_HWPOISON	(1ULL << 19)
#define KPF_HWPOISON	(1ULL << 19)
#define KPF_KSM		(1ULL << 21)	/* 6.12: all anonymous pages have it */
#define KPF_THP		(1ULL << 22)
#define KPF_ZERO_PAGE	(1ULL << 24)
#define KPF_MLOCKED	(1ULL << 33)

/* Of the present page at @addr; skips the test without the privilege. */
uint64_t page_pfn(const void *addr);
uint64_t kpageflags(const void *addr);
uint64_t kpagecount(const void *addr);

/* "VmPTE", "RssAnon", "VmSwap" ... of /proc/PID/status in KiB; 0: self */
long status_kb(pid_t pid, const char *key);
/* A line in KiB of the smaps entry that contains @addr; -1 if there is none. */
long smaps_kb(const void *addr, const char *key);
/* "VmFlags" contains the two-letter flag, e.g. "lo" */
bool smaps_flag(const void *addr, const char *flag);
/* A line of /proc/vmstat; -1 if there is none. */
long vmstat(const char *key);
/* A line of the module's debugfs stats; -1 if there is none. */
long dev_stat(const char *key);

/* Whole file into @buf as a string without the last newline; false if not there */
bool file_read(const char *path, char *buf, size_t len);
/* 0 or the errno */
int file_write(const char *path, const char *text);
long file_read_long(const char *path);

/* ---- what this kernel can do (util_proc.c) ---------------------------- */

bool kernel_at_least(int major, int minor);
/* PG_anon_exclusive and FAULT_FLAG_UNSHARE, by release number */
bool kernel_has_pae(void);
/* A debug build of test/qemu, which warns of what stock kernels let pass */
bool kernel_is_debug(void);
/*
 * How often to do what is done @n times on a stock kernel: a quarter of that where
 * the kernel checks each step, and so takes ten times as long for it.
 */
int repeats(int n);
bool thp_available(void);
/* 64 -> /sys/kernel/mm/transparent_hugepage/hugepages-64kB exists */
bool mthp_available(int kb);
/* Sets .../hugepages-<kb>kB/enabled; 0 or the errno */
int mthp_set(int kb, const char *value);
int numa_nodes(void);
/* Compiled-in: the kernel config is not readable, so by what it shows */
bool ksm_available(void);
bool swap_active(void);

/* ---- userfaultfd (util_uffd.c) ---------------------------------------- */

/* Younger than the kernel headers of Debian 12; as in Linux 6.8 */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	(1 << 13)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON		(1 << 14)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC		(1 << 15)
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE		(1 << 16)
#endif

struct native_move {
	__u64 dst, src, len, mode;
	__s64 move;
};
#define NATIVE_UFFDIO_MOVE	_IOWR(UFFDIO, 0x05, struct native_move)

struct native_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define NATIVE_UFFDIO_POISON	_IOWR(UFFDIO, 0x08, struct native_poison)

/* madvise, mmap: likewise */
#ifndef MADV_COLD
#define MADV_COLD		20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE		0x08
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif

/* Feature bits of this kernel's userfaultfd, 0 if there is none. */
__u64 uffd_features(void);
bool has_native_move(void);
/* Opens one with exactly these features, O_NONBLOCK; skips if they are not there. */
int uffd_open(__u64 features);
void uffd_register(int uffd, const void *start, size_t len, __u64 mode);
void uffd_unregister(int uffd, const void *start, size_t len);
/* 0 or the errno */
int try_uffd_register(int uffd, const void *start, size_t len, __u64 mode);
int try_uffd_wp(int uffd, const void *start, size_t len, bool protect);
int try_uffd_copy(int uffd, void *dst, const void *src, size_t len, __u64 mode);
int try_uffd_zero(int uffd, void *dst, size_t len);
int try_uffd_poison(int uffd, void *start, size_t len);
void uffd_wp(int uffd, const void *start, size_t len, bool protect);
void uffd_wake(int uffd, const void *start, size_t len);
/* How many threads sleep on it, whether their events have been read or not */
int uffd_waiters(int uffd);
/*
 * Waits up to @ms (-1: for ever) for a message.  False if none came, or the
 * descriptor failed.
 */
bool uffd_read(int uffd, int ms, struct uffd_msg *msg);
/* The kernel's own move; like an ioctl, @move as it left it */
int native_move(int uffd, void *dst, void *src, size_t len, __u64 mode,
		__s64 *move);

#endif /* UREMAP_TEST_UTIL_H */
