// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a move walks mapping by mapping on both sides, vets each pair,
 * names what does not fit in the documented order, and moves all that does
 * (B-boundary; A1).
 */
#include "util.h"

#define RW	(PROT_READ | PROT_WRITE)

/* Cuts a mapping into several of at most @step pages, equal in all that counts. */
static void cut(char *start, int pages, int step)
{
	int at = 0, n;
	bool odd = false;

	while (at < pages) {
		n = 1 + rnd_below(step);
		if (n > pages - at)
			n = pages - at;
		/* VM_DONTDUMP differs from neighbour to neighbour: no merging */
		if (odd)
			expect_ok(madvise(start + at * PAGE, n * PAGE,
					  MADV_DONTDUMP));
		odd = !odd;
		at += n;
	}
}

/* Boundaries at any place on either side, or both, do not show. */
START_TEST(crossing)
{
	enum { N = 1300 };
	int fd = dev_open_all(), round;

	for (round = 0; round < 6; round++) {
		char *src = map_filled(N, 1, round), *dst = map_anon(N);

		if (_i & 1)
			cut(src, N, round & 1 ? 3 : 300);
		if (_i & 2)
			cut(dst, N, round & 2 ? 3 : 300);
		expect_move(fd, dst, src, N * PAGE, 0);
		range_check(dst, N, 1, round);
		ck_assert_uint_eq(count_populated(src, N), 0);
		munmap(src, N * PAGE);
		munmap(dst, N * PAGE);
	}
}
END_TEST

/* Where nothing is mapped a move ends, on either side, with no page beyond. */
START_TEST(gap)
{
	enum { N = 700 };
	const int at = 1 + rnd_below(N - 2);
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	char *hole = (_i ? dst : src) + at * PAGE;

	expect_ok(munmap(hole, PAGE));
	expect_move_as(fd, dst, src, N * PAGE, 0, .done = at * PAGE,
		       .error = ENOENT, .stop = ADDR(hole),
		       .reason = _i ? UREMAP_REASON_DST_NO_VMA :
				      UREMAP_REASON_SRC_NO_VMA);
	range_check(dst, at, 1, 1);
	range_check(src + (at + 1) * PAGE, N - at - 1, 2 + at, 1);
	if (_i)
		page_check(src + at * PAGE, 1 + at, 1);
	/* who maps there next finds it empty */
	map_again(hole, 1);
	page_check_zero(hole);
}
END_TEST

/* With holes, too, some of them across a boundary. */
START_TEST(crossing_with_holes)
{
	enum { N = 1300 };
	int fd = dev_open_all(), i, at, n;
	char *src = map_filled(N, 1, 1), *dst = map_anon(N);
	size_t there;

	cut(src, N, 20);
	cut(dst, N, 20);
	for (i = 0; i < 30; i++) {
		at = rnd_below(N);
		n = 1 + rnd_below(N - at < 50 ? N - at : 50);
		expect_ok(madvise(src + at * PAGE, n * PAGE, MADV_DONTNEED));
	}
	there = count_populated(src, N);
	expect_move_holes(fd, dst, src, N * PAGE, UREMAP_MOVE_ALLOW_SRC_HOLES,
			  (N - there) * PAGE);
	ck_assert_uint_eq(count_populated(dst, N), there);
	for (i = 0; i < N; i++)
		if (page_populated(dst + i * PAGE))
			page_check(dst + i * PAGE, 1 + i, 1);
}
END_TEST

/* Pieces that were never one mapping's, and so have nothing in common. */
START_TEST(crossing_strangers)
{
	enum { N = 200 };
	int fd = dev_open_all(), i;
	char *src = map_anon(N), *dst = map_anon(N);

	for (i = 0; i < N; i += 2) {
		expect_ok(madvise(src + i * PAGE, PAGE, MADV_DONTDUMP));
		expect_ok(madvise(dst + i * PAGE, PAGE, MADV_DONTDUMP));
	}
	for (i = N - 1; i >= 0; i--)
		page_fill(src + (i * 77 % N) * PAGE, 1 + i * 77 % N, 1);
	expect_move(fd, dst, src, N * PAGE, 0);
	range_check(dst, N, 1, 1);
	expect_ok(munmap(src, N * PAGE));
	range_fill(dst, N, 1, 2);
	range_check(dst, N, 1, 2);
}
END_TEST

/* Memory of any origin: the heap, a thread's stack, a private /dev/zero. */
START_TEST(origins)
{
	int fd = dev_open_all(), zero = open("/dev/zero", O_RDWR);
	char *dst = map_anon(4), *p;

	p = mmap(NULL, PAGE, RW, MAP_PRIVATE, zero, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	madvise(p, PAGE, MADV_NOHUGEPAGE);
	page_fill(p, 1, 1);
	expect_move(fd, dst, p, PAGE, 0);
	p = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN,
		 -1, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	page_fill(p, 2, 1);
	expect_move(fd, dst + PAGE, p, PAGE, 0);
	p = sbrk(0);
	p += -(uintptr_t)p & (PAGE - 1);
	ck_assert_int_eq(brk(p + PAGE), 0);
	madvise(p, PAGE, MADV_NOHUGEPAGE);
	page_fill(p, 3, 1);
	expect_move(fd, dst + 2 * PAGE, p, PAGE, 0);
	range_check(dst, 3, 1, 1);
}
END_TEST

/* One side of a pair in trouble.  Bits combine; the first in order is told. */
#define T_SHARED	0x01
#define T_READONLY	0x02
#define T_EXEC		0x04
#define T_LOCKED	0x08
#define T_HUGETLB	0x10
#define T_FILE		0x20
#define T_NOTHING	0x40

static char *troubled(unsigned int what)
{
	const size_t len = what & T_HUGETLB ? PMD : 4 * PAGE;
	int prot = PROT_READ | (what & T_READONLY ? 0 : PROT_WRITE) |
		   (what & T_EXEC ? PROT_EXEC : 0);
	int flags = what & T_SHARED ? MAP_SHARED : MAP_PRIVATE, fd = -1;
	char *p;

	if (what & T_NOTHING)
		return map_nothing(4);
	if (what & T_FILE) {
		fd = expect_ok(memfd_create("uremap-test", MFD_CLOEXEC));
		expect_ok(ftruncate(fd, len));
	} else {
		flags |= MAP_ANONYMOUS;
	}
	if (what & T_HUGETLB) {
		file_write("/proc/sys/vm/nr_hugepages", "8");
		flags |= MAP_HUGETLB;
	}
	/* in the middle of nothing, so that it merges with nothing */
	p = map_nothing(len / PAGE * 3);
	p += len;
	p += -(uintptr_t)p & (len - 1) & (PMD - 1);
	p = mmap(p, len, prot, flags | MAP_FIXED_NOREPLACE, fd, 0);
	skip_if(p == MAP_FAILED && what & T_HUGETLB, "no huge pages: %s",
		strerror(errno));
	ck_assert_ptr_ne(p, MAP_FAILED);
	if (!(what & T_HUGETLB))
		madvise(p, len, MADV_NOHUGEPAGE);
	if (what & T_LOCKED)
		skip_if(mlock2(p, len, MLOCK_ONFAULT), "mlock2: %s",
			strerror(errno));
	return p;
}

struct pair {
	unsigned int src, dst;
	int error;
	__u32 reason;
	bool at_dst;
};

#define PAIR(s, d, err, why, at)	{ s, d, err, UREMAP_REASON_##why, at }
#define AT_SRC	false
#define AT_DST	true

static const struct pair pairs[] = {
	/* nothing there: dst first, before anything else */
	PAIR(T_NOTHING, T_NOTHING, ENOENT, DST_NO_VMA, AT_DST),
	PAIR(T_SHARED, T_NOTHING, ENOENT, DST_NO_VMA, AT_DST),
	PAIR(T_NOTHING, T_SHARED, ENOENT, SRC_NO_VMA, AT_SRC),
	PAIR(T_NOTHING, 0, ENOENT, SRC_NO_VMA, AT_SRC),
	/* shared: src first */
	PAIR(T_SHARED, 0, EINVAL, VMA_SHARED, AT_SRC),
	PAIR(0, T_SHARED, EINVAL, VMA_SHARED, AT_DST),
	PAIR(T_SHARED, T_SHARED, EINVAL, VMA_SHARED, AT_SRC),
	PAIR(T_SHARED | T_READONLY, 0, EINVAL, VMA_SHARED, AT_SRC),
	PAIR(T_READONLY, T_SHARED, EINVAL, VMA_SHARED, AT_DST),
	PAIR(T_SHARED | T_LOCKED, 0, EINVAL, VMA_SHARED, AT_SRC),
	PAIR(T_SHARED | T_FILE, T_FILE, EINVAL, VMA_SHARED, AT_SRC),
	PAIR(T_SHARED | T_HUGETLB, 0, EINVAL, VMA_SHARED, AT_SRC),
	/* protection before locks */
	PAIR(T_READONLY, 0, EINVAL, VMA_PROT, AT_DST),
	PAIR(0, T_READONLY, EINVAL, VMA_PROT, AT_DST),
	PAIR(T_EXEC, 0, EINVAL, VMA_PROT, AT_DST),
	PAIR(0, T_EXEC, EINVAL, VMA_PROT, AT_DST),
	PAIR(T_READONLY | T_LOCKED, 0, EINVAL, VMA_PROT, AT_DST),
	PAIR(T_READONLY | T_FILE, T_FILE, EINVAL, VMA_PROT, AT_DST),
	PAIR(T_EXEC | T_HUGETLB, T_HUGETLB, EINVAL, VMA_PROT, AT_DST),
	/* locks before read-only */
	PAIR(T_LOCKED, 0, EINVAL, VMA_LOCKED, AT_DST),
	PAIR(0, T_LOCKED, EINVAL, VMA_LOCKED, AT_DST),
	PAIR(T_READONLY | T_LOCKED, T_READONLY, EINVAL, VMA_LOCKED, AT_DST),
	PAIR(T_FILE | T_LOCKED, T_FILE, EINVAL, VMA_LOCKED, AT_DST),
	/* read-only before special and not anonymous */
	PAIR(T_READONLY, T_READONLY, EINVAL, VMA_READONLY, AT_SRC),
	PAIR(T_READONLY | T_FILE, T_READONLY, EINVAL, VMA_READONLY, AT_SRC),
	PAIR(T_READONLY | T_HUGETLB, T_READONLY, EINVAL, VMA_READONLY, AT_SRC),
	PAIR(T_READONLY | T_LOCKED, T_READONLY | T_LOCKED, EINVAL, VMA_READONLY,
	     AT_SRC),
	/* special before not anonymous, src first */
	PAIR(T_HUGETLB, 0, EINVAL, VMA_SPECIAL, AT_SRC),
	PAIR(0, T_HUGETLB, EINVAL, VMA_SPECIAL, AT_DST),
	PAIR(T_HUGETLB, T_HUGETLB, EINVAL, VMA_SPECIAL, AT_SRC),
	PAIR(T_FILE, T_HUGETLB, EINVAL, VMA_SPECIAL, AT_DST),
	PAIR(T_FILE, 0, EINVAL, VMA_NOT_ANON, AT_SRC),
	PAIR(0, T_FILE, EINVAL, VMA_NOT_ANON, AT_DST),
	PAIR(T_FILE, T_FILE, EINVAL, VMA_NOT_ANON, AT_SRC),
	/* and what fits */
	PAIR(0, 0, 0, NONE, AT_SRC),
	PAIR(T_EXEC, T_EXEC, 0, NONE, AT_SRC),
	PAIR(T_LOCKED, T_LOCKED, 0, NONE, AT_SRC),
};

/* The destination: somewhere else, even if nothing is mapped at both. */
static char *apart(char *src, const struct pair *p)
{
	char *dst, *held = MAP_FAILED;

	if (p->src & T_NOTHING) {
		held = mmap(src, 4 * PAGE, PROT_NONE, MAP_PRIVATE |
			    MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		ck_assert_ptr_eq(held, src);
	}
	dst = troubled(p->dst);
	if (held != MAP_FAILED)
		ck_assert_int_eq(munmap(held, 4 * PAGE), 0);
	return dst;
}

START_TEST(pair)
{
	const struct pair *p = &pairs[_i];
	int fd = dev_open_all();
	char *src = troubled(p->src), *dst = apart(src, p);
	const bool writable = !(p->src & (T_READONLY | T_NOTHING));

	test_at("src %#x, dst %#x", p->src, p->dst);
	if (writable)
		range_fill(src, 4, 1, 1);
	expect_move_as(fd, dst, src, 4 * PAGE, 0,
		       .done = p->error ? 0 : 4 * PAGE, .error = p->error,
		       .reason = p->reason,
		       .stop = !p->error ? 0 : ADDR(p->at_dst ? dst : src));
	if (!p->error)
		range_check(dst, 4, 1, 1);
	else if (writable)
		range_check(src, 4, 1, 1);
}
END_TEST

/* Device memory mapped privately is no memory of ours. */
START_TEST(device_memory)
{
	int fd = dev_open_all(), mem = open("/dev/mem", O_RDWR);
	char *dst = map_anon(1), *src;

	skip_if(mem < 0, "/dev/mem: %s", strerror(errno));
	src = mmap(NULL, PAGE, RW, MAP_PRIVATE, mem, 0xb8000);
	skip_if(src == MAP_FAILED, "mmap of /dev/mem: %s", strerror(errno));
	expect_no_move(fd, dst, src, PAGE, 0, EINVAL, VMA_SPECIAL, ADDR(src));
	expect_no_move(fd, src, dst, PAGE, 0, EINVAL, VMA_SPECIAL, ADDR(src));
}
END_TEST

/* What the kernel maps into every process stays where it is. */
START_TEST(special_mappings)
{
	int fd = dev_open_all();
	char line[256], name[64], *dst;
	unsigned long start, end;
	FILE *f = fopen("/proc/self/maps", "re");
	int seen = 0;

	dst = map_anon_prot(1, PROT_READ | PROT_EXEC);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %63s", &start, &end,
			   name) != 3 || strcmp(name, "[vdso]"))
			continue;
		expect_no_move(fd, dst, start, PAGE, 0, EINVAL, VMA_READONLY,
			       start);
		seen++;
	}
	fclose(f);
	skip_if(!seen, "no vdso");
	/* vsyscall lies outside of the address space */
	expect_no_move(fd, dst, 0xffffffffff600000ULL, PAGE, 0, EINVAL, ARGUMENT,
		       0xffffffffff600000ULL);
}
END_TEST

/* A protection key that differs, or that denies the caller, is respected. */
START_TEST(protection_keys)
{
	int fd = dev_open_all(), key = pkey_alloc(0, 0);
	char *src = map_filled(2, 1, 1), *dst = map_anon(2);

	skip_if(key < 0, "protection keys: %s", strerror(errno));
	expect_ok(pkey_mprotect(src, 2 * PAGE, RW, key));
	expect_no_move(fd, dst, src, PAGE, 0, EINVAL, VMA_PROT, ADDR(dst));
	expect_ok(pkey_mprotect(dst, 2 * PAGE, RW, key));
	expect_move(fd, dst, src, PAGE, 0);
	expect_ok(pkey_set(key, PKEY_DISABLE_WRITE));
	expect_no_move(fd, dst + PAGE, src + PAGE, PAGE, 0, EINVAL, VMA_PKEY,
		       ADDR(src + PAGE));
	expect_ok(pkey_set(key, PKEY_DISABLE_ACCESS));
	expect_no_move(fd, dst + PAGE, src + PAGE, PAGE, 0, EINVAL, VMA_PKEY,
		       ADDR(src + PAGE));
	expect_ok(pkey_set(key, 0));
	expect_move(fd, dst + PAGE, src + PAGE, PAGE, 0);
	range_check(dst, 2, 1, 1);
}
END_TEST

/* Memory that may vanish under pressure and memory that must not do not mix. */
START_TEST(droppable)
{
	int fd = dev_open_all();
	char *src = mmap(NULL, 2 * PAGE, RW, MAP_ANONYMOUS | MAP_DROPPABLE, -1, 0);
	char *dst = map_anon(2);

	skip_if(src == MAP_FAILED, "no droppable mappings");
	range_fill(src, 2, 1, 1);
	expect_no_move(fd, dst, src, PAGE, 0, EINVAL, VMA_DROPPABLE, ADDR(dst));
	page_fill(dst, 3, 1);
	expect_ok(madvise(src, PAGE, MADV_DONTNEED));
	expect_no_move(fd, src, dst, PAGE, 0, EINVAL, VMA_DROPPABLE, ADDR(src));
	page_check(dst, 3, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(crossing, 4),
	UTEST_LOOP(gap, 2),
	UTEST(crossing_with_holes),
	UTEST(crossing_strangers),
	UTEST(origins),
	UTEST_LOOP(pair, ARRAY_SIZE(pairs)),
	UTEST(device_memory),
	UTEST(special_mappings),
	UTEST(protection_keys),
	UTEST(droppable),
};
UTEST_MAIN("vma", tests)
