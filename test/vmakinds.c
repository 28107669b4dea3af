// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves B-sealed, B-pkey, B-droppable, B-shstk, B-special, B-stack,
 * B-fileprivate, B-futex and B-memcg: what kinds of mappings give and take
 * pages, which do not and why, and what stays with the address.
 */
#include "util_state.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define RW		(PROT_READ | PROT_WRITE)

#ifndef __NR_mseal
#define __NR_mseal	462
#endif
#ifndef __NR_map_shadow_stack
#define __NR_map_shadow_stack	453
#endif
#ifndef ARCH_SHSTK_ENABLE
#define ARCH_SHSTK_ENABLE	0x5001
#endif

/* ---- what moves --------------------------------------------------------- */

/* B-sealed: as discarding would be, which a seal forbids for read-only memory. */
START_TEST(sealed)
{
	int fd = dev_open_all();
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);
	struct move_result r;

	if (syscall(__NR_mseal, src, 4 * PAGE, 0UL)) {
		matrix_absent("sealed, writable");
		matrix_absent("sealed, read-only");
		test_skip("mseal: %s", strerror(errno));
	}
	r = matrix_move("sealed, writable", fd, dst, src, 4 * PAGE, 0);
	expect_result(r, .done = 4 * PAGE);
	range_check(dst, 4, 1, 1);
	/* back into the sealed mapping, which stays one */
	expect_move(fd, src, dst, 4 * PAGE, 0);
	range_check(src, 4, 1, 1);
	expect_errno(EPERM, munmap(src, 4 * PAGE));

	src = map_filled(4, 1, 1);
	expect_ok(mprotect(src, 4 * PAGE, PROT_READ));
	expect_ok(syscall(__NR_mseal, src, 4 * PAGE, 0UL));
	dst = map_anon_prot(4, PROT_READ);
	r = matrix_move("sealed, read-only", fd, dst, src, 4 * PAGE, 0);
	expect_result(r, REFUSED(EINVAL, VMA_READONLY), .stop = ADDR(src));
	range_check(src, 4, 1, 1);
}
END_TEST

/* A page of the thread's stack, below what is in use, and back again. */
static __attribute__((noinline)) char *use_stack(size_t pages)
{
	char *deep = __builtin_alloca((pages + 2) * PAGE);
	char *p = (char *)(((uintptr_t)deep + PAGE - 1) & ~(PAGE - 1));

	range_fill(p, pages, 1, 1);
	/* far below the frame of whoever calls this */
	return (char *)((uintptr_t)p | 0);
}

/* B-stack: the process's own. */
START_TEST(stack)
{
	enum { N = 32, USED = 8 };
	int fd = dev_open_all();
	char *src = use_stack(N), *dst = map_anon(USED);
	struct move_result r;

	r = matrix_move("growing stack", fd, dst, src, USED * PAGE, 0);
	expect_result(r, .done = USED * PAGE);
	range_check(dst, USED, 1, 1);
	expect_move(fd, src, dst, USED * PAGE, 0);
	range_check(src, USED, 1, 1);
}
END_TEST

/* Flags that say what others may do with memory do not matter to the owner. */
START_TEST(flags)
{
	static const int advice[] = {
		MADV_DONTFORK, MADV_WIPEONFORK, MADV_DONTDUMP, MADV_MERGEABLE,
		MADV_SEQUENTIAL, MADV_RANDOM, MADV_HUGEPAGE,
	};
	int fd = dev_open_all();
	char *src, *dst;

	for (size_t i = 0; i < ARRAY_SIZE(advice); i++) {
		src = map_filled(4, 1, i);
		dst = map_anon(4);
		madvise(i & 1 ? src : dst, 4 * PAGE, advice[i]);
		expect_move(fd, dst, src, 4 * PAGE, 0);
		range_check(dst, 4, 1, i);
		expect_move(fd, src, dst, 4 * PAGE, 0);
		range_check(src, 4, 1, i);
	}
}
END_TEST

/* ---- what does not ------------------------------------------------------ */

/* B-pkey: what PKRU denies the caller, the kernel does not do for it. */
START_TEST(pkey)
{
	int fd = dev_open_all(), key = pkey_alloc(0, 0);
	char *src = map_filled(3, 1, 1), *dst = map_anon(3);
	struct move_result r;

	if (key < 0) {
		matrix_absent("protection key, same on both sides");
		matrix_absent("protection key that denies the caller");
		test_skip("no protection keys: %s", strerror(errno));
	}
	expect_ok(pkey_mprotect(src, 3 * PAGE, RW, key));
	expect_ok(pkey_mprotect(dst, 3 * PAGE, RW, key));
	r = matrix_move("protection key, same on both sides", fd, dst, src, PAGE,
			0);
	expect_result(r, .done = PAGE);
	expect_ok(pkey_set(key, PKEY_DISABLE_ACCESS));
	r = matrix_move("protection key that denies the caller", fd, dst + PAGE,
			src + PAGE, PAGE, 0);
	expect_result(r, REFUSED(EINVAL, VMA_PKEY), .stop = ADDR(src + PAGE));
	expect_no_move(fd, dst + PAGE, src + PAGE, PAGE, UREMAP_MOVE_UNSHARE,
		       EINVAL, VMA_PKEY, ADDR(src + PAGE));
	expect_ok(pkey_set(key, 0));
	range_check(src + PAGE, 2, 2, 1);
	page_check(dst, 1, 1);
}
END_TEST

/* B-droppable: among themselves they may; with others not. */
START_TEST(droppable)
{
	int fd = dev_open_all();
	char *src = mmap(NULL, 2 * PAGE, RW, MAP_ANONYMOUS | MAP_DROPPABLE, -1, 0);
	char *plain = map_anon(2), *gap = map_nothing(4), *dst;
	struct move_result r;

	if (src == MAP_FAILED) {
		matrix_absent("droppable on one side");
		matrix_absent("droppable on both sides");
		test_skip("no droppable mappings: %s", strerror(errno));
	}
	dst = mmap(gap + PAGE, 2 * PAGE, RW,
		   MAP_ANONYMOUS | MAP_DROPPABLE | MAP_FIXED, -1, 0);
	ck_assert_ptr_ne(dst, MAP_FAILED);
	range_fill(src, 2, 1, 1);
	r = matrix_move("droppable on one side", fd, plain, src, 2 * PAGE, 0);
	expect_result(r, REFUSED(EINVAL, VMA_DROPPABLE), .stop = ADDR(plain));
	r = matrix_move("droppable on both sides", fd, dst, src, 2 * PAGE, 0);
	expect_result(r, .done = 2 * PAGE);
	range_check(dst, 2, 1, 1);
}
END_TEST

/* B-shstk: return addresses are nobody's to write. */
START_TEST(shadow_stack)
{
	int fd = dev_open_all();
	char *dst = map_anon(1);
	struct move_result r;
	long stk;

	stk = syscall(__NR_map_shadow_stack, 0UL, 4 * PAGE, 0UL);
	if (stk == -1) {
		const int err = errno;

		matrix_says("shadow stack",
			    kernel_at_least(6, 6) ? "not tested" : "-");
		test_skip("no shadow stacks on this CPU or kernel: %s",
			  strerror(err));
	}
	r = matrix_move("shadow stack", fd, dst, stk, PAGE, 0);
	ck_assert_int_eq(r.ret, -1);
	ck_assert_int_eq(r.err, EINVAL);
	ck_assert_uint_eq(r.reason, UREMAP_REASON_VMA_SPECIAL);
	page_fill(dst, 1, 1);
	r = try_move(fd, stk, dst, PAGE, 0);
	ck_assert_int_eq(r.err, EINVAL);
	ck_assert_uint_eq(r.reason, UREMAP_REASON_VMA_SPECIAL);
	page_check(dst, 1, 1);
}
END_TEST

/* A file of four pages, the third of which has been copied on a write. */
static char *map_file(int flags, bool written)
{
	static char page[PAGE];
	int file = expect_ok(memfd_create("uremap-test", MFD_CLOEXEC));
	char *p;

	for (int i = 0; i < 4; i++) {
		page_fill(page, 50 + i, 0);
		ck_assert_int_eq(write(file, page, PAGE), PAGE);
	}
	p = mmap(NULL, 4 * PAGE, RW, flags, file, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	if (written)
		page_fill(p + 2 * PAGE, 3, 1);
	return p;
}

/* B-fileprivate, both ways: its index has another base. */
START_TEST(file_private)
{
	int fd = dev_open_all();
	char *p = map_file(MAP_PRIVATE, true), *q = map_filled(4, 1, 1);
	char *dst = map_anon(4);
	struct move_result r;

	r = matrix_move("copied page of a private file mapping", fd, dst,
			p + 2 * PAGE, PAGE, 0);
	expect_result(r, REFUSED(EINVAL, VMA_NOT_ANON),
		      .stop = ADDR(p + 2 * PAGE));
	expect_no_move(fd, dst, p, PAGE, 0, EINVAL, VMA_NOT_ANON, ADDR(p));
	expect_ok(madvise(p, PAGE, MADV_DONTNEED));
	expect_no_move(fd, p, q, PAGE, 0, EINVAL, VMA_NOT_ANON, ADDR(p));
	page_check(p + 2 * PAGE, 3, 1);
	page_check(p, 50, 0);
	range_check(q, 4, 1, 1);
}
END_TEST

/* Shared memory of all makes. */
START_TEST(shared)
{
	int fd = dev_open_all(), id;
	char *dst = map_anon(4), *p;
	struct move_result r;

	p = map_file(MAP_SHARED, true);
	r = matrix_move("shared memory", fd, dst, p, PAGE, 0);
	expect_result(r, REFUSED(EINVAL, VMA_SHARED), .stop = ADDR(p));
	page_check(p + 2 * PAGE, 3, 1);
	p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	range_fill(p, 4, 1, 1);
	expect_no_move(fd, dst, p, PAGE, 0, EINVAL, VMA_SHARED, ADDR(p));
	range_check(p, 4, 1, 1);
	id = shmget(IPC_PRIVATE, 4 * PAGE, IPC_CREAT | 0600);
	skip_if(id < 0, "shmget: %s", strerror(errno));
	p = shmat(id, NULL, 0);
	ck_assert_ptr_ne(p, (void *)-1);
	expect_ok(shmctl(id, IPC_RMID, NULL));
	range_fill(p, 4, 1, 1);
	expect_no_move(fd, dst, p, PAGE, 0, EINVAL, VMA_SHARED, ADDR(p));
	range_check(p, 4, 1, 1);
}
END_TEST

/* B-special: hugetlb pages, private, filled. */
START_TEST(hugetlb)
{
	int fd = dev_open_all();
	char *src, *dst = map_anon_aligned(HPAGES, PMD, 0);
	struct move_result r;

	file_write("/proc/sys/vm/nr_hugepages", "4");
	src = mmap(NULL, PMD, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1,
		   0);
	skip_if(src == MAP_FAILED, "no hugetlb pages: %s", strerror(errno));
	range_fill(src, HPAGES, 1, 1);
	r = matrix_move("hugetlb page", fd, dst, src, PMD, 0);
	expect_result(r, REFUSED(EINVAL, VMA_SPECIAL), .stop = ADDR(src));
	expect_no_move(fd, dst, src, PAGE, 0, EINVAL, VMA_SPECIAL, ADDR(src));
	range_check(src, HPAGES, 1, 1);
}
END_TEST

/* B-special: frames without struct pages, mapped privately from /dev/mem. */
START_TEST(pfn_map)
{
	int fd = dev_open_all(), mem = open("/dev/mem", O_RDWR | O_CLOEXEC);
	char *dst = map_anon(1), *p;
	struct move_result r;

	skip_if(mem < 0, "/dev/mem: %s", strerror(errno));
	p = mmap(NULL, PAGE, RW, MAP_PRIVATE, mem, 0xb8000);
	skip_if(p == MAP_FAILED, "mmap of /dev/mem: %s", strerror(errno));
	r = matrix_move("device memory mapped by frame", fd, dst, p, PAGE, 0);
	expect_result(r, REFUSED(EINVAL, VMA_SPECIAL), .stop = ADDR(p));
}
END_TEST

/* ---- what stays with the address, what goes with the page ------------- */

struct waiter {
	uint32_t *word;
	atomic_int started;
};

static void *wait_on_futex(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->started, syscall(SYS_gettid));
	while (syscall(SYS_futex, w->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0))
		if (errno != EINTR)
			return (void *)(uintptr_t)errno;
	return NULL;
}

static bool sleeps(int tid)
{
	char path[64], state[200];

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan", tid);
	return file_read(path, state, sizeof(state)) &&
	       strstr(state, "futex");
}

/* B-futex: who sleeps on an address sleeps on. */
START_TEST(futex)
{
	int fd = dev_open_all(), i;
	char *src = map_anon(1), *dst = map_anon(1);
	struct waiter w = { .word = (uint32_t *)src };
	struct move_result r;
	pthread_t t;

	src[100] = 5;
	t = thread_start(wait_on_futex, &w);
	for (i = 0; i < 2000 && !sleeps(atomic_load(&w.started)); i++)
		usleep(5000);
	r = matrix_move("word that a private futex waits on", fd, dst, src, PAGE,
			0);
	expect_result(r, .done = PAGE);
	ck_assert_int_eq(dst[100], 5);
	ck_assert_int_eq(syscall(SYS_futex, dst, FUTEX_WAKE_PRIVATE, 9), 0);
	ck_assert_int_eq(syscall(SYS_futex, src, FUTEX_WAKE_PRIVATE, 9), 1);
	ck_assert_ptr_null(thread_join(t));
}
END_TEST

#define CGROUP		"/sys/fs/cgroup/uremap-test-"

static void enter_cgroup(const char *name)
{
	char path[100], pid[20];

	snprintf(path, sizeof(path), CGROUP "%s", name);
	skip_if(mkdir(path, 0755) && errno != EEXIST, "no cgroups: %s",
		strerror(errno));
	snprintf(path, sizeof(path), CGROUP "%s/cgroup.procs", name);
	snprintf(pid, sizeof(pid), "%d", getpid());
	skip_if(file_write(path, pid), "cannot enter a cgroup");
}

static long cgroup_current(const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), CGROUP "%s/memory.current", name);
	return file_read_long(path);
}

/* B-memcg: a page stays charged to whom it was charged. */
START_TEST(memcg)
{
	enum { N = 4096 };
	const long all = N * (long)PAGE, slack = all / 4;
	int fd = dev_open_all();
	char *src, *dst;
	struct move_result r;
	long first, second;

	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	enter_cgroup("a");
	skip_if(cgroup_current("a") < 0, "no memory cgroups");
	src = map_filled(N, 1, 1);
	enter_cgroup("b");
	dst = map_anon(N);
	first = cgroup_current("a");
	second = cgroup_current("b");
	ck_assert_int_ge(first, all);
	r = matrix_move("charged to another memory cgroup", fd, dst, src,
			N * PAGE, 0);
	expect_result(r, .done = N * PAGE);
	ck_assert_int_ge(cgroup_current("a"), first - slack);
	ck_assert_int_le(cgroup_current("b"), second + slack);
	range_check(dst, N, 1, 1);
	expect_ok(munmap(dst, N * PAGE));
	ck_assert_int_le(cgroup_current("a"), first - all + slack);
}
END_TEST

static const struct utest tests[] = {
	UTEST(sealed),
	UTEST(stack),
	UTEST(flags),
	UTEST(pkey),
	UTEST(droppable),
	UTEST(shadow_stack),
	UTEST(file_private),
	UTEST(shared),
	UTEST(hugetlb),
	UTEST(pfn_map),
	UTEST(futex),
	UTEST(memcg),
};
UTEST_MAIN("vmakinds", tests)
