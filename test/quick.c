// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves that a move takes nothing for granted that an earlier one has found out:
 * whatever has become of mappings, registrations and rights since then counts; and
 * that lists of single pages get the results that they would get one by one.
 */
#include "util_state.h"
#include "util_uring.h"

#include <semaphore.h>

struct scene {
	int fd;
	char *src, *dst;
};

static void protect_dst(struct scene *s)
{
	expect_ok(mprotect(s->dst, 4 * PAGE, PROT_READ));
}

static void protect_both(struct scene *s)
{
	expect_ok(mprotect(s->src, 4 * PAGE, PROT_READ));
	expect_ok(mprotect(s->dst, 4 * PAGE, PROT_READ));
}

static void lock_dst(struct scene *s)
{
	expect_ok(mlock2(s->dst, 4 * PAGE, MLOCK_ONFAULT));
}

static void unmap_dst(struct scene *s)
{
	expect_ok(munmap(s->dst, 4 * PAGE));
}

static void unmap_src(struct scene *s)
{
	expect_ok(munmap(s->src, 4 * PAGE));
}

/* Only the page that is asked for next: what is left of the mapping is the old one. */
static void unmap_part(struct scene *s)
{
	expect_ok(munmap(s->dst + PAGE, 3 * PAGE));
}

static void share_dst(struct scene *s)
{
	ck_assert_ptr_eq(mmap(s->dst, 4 * PAGE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0), s->dst);
}

static void unregister_dst(struct scene *s)
{
	dev_unregister(s->fd, s->dst + PAGE, PAGE, UREMAP_RANGE_DST);
}

static void unregister_src(struct scene *s)
{
	dev_unregister(s->fd, s->src, 2 * PAGE, UREMAP_RANGE_SRC);
}

static void hide_src(struct scene *s)
{
	map_shift(s->src, map_nothing(4), 4);
}

static const struct change {
	void (*make)(struct scene *s);
	int error;
	__u32 reason;
	bool at_src;
} changes[] = {
	{ protect_dst, EINVAL, UREMAP_REASON_VMA_PROT },
	{ protect_both, EINVAL, UREMAP_REASON_VMA_READONLY, true },
	{ lock_dst, EINVAL, UREMAP_REASON_VMA_LOCKED },
	{ unmap_dst, ENOENT, UREMAP_REASON_DST_NO_VMA },
	{ unmap_src, ENOENT, UREMAP_REASON_SRC_NO_VMA, true },
	{ unmap_part, ENOENT, UREMAP_REASON_DST_NO_VMA },
	{ share_dst, EINVAL, UREMAP_REASON_VMA_SHARED },
	{ unregister_dst, EINVAL, UREMAP_REASON_DST_UNREGISTERED },
	{ unregister_src, EINVAL, UREMAP_REASON_SRC_UNREGISTERED, true },
	{ hide_src, ENOENT, UREMAP_REASON_SRC_NO_VMA, true },
};

/* One page moves, something changes, and the next one is refused for that. */
START_TEST(changed)
{
	const struct change *c = &changes[_i];
	struct scene s = { dev_open_all(), map_filled(4, 1, 1), map_anon(4) };
	__u64 stop = ADDR(c->at_src ? s.src : s.dst) + PAGE;

	pin_cpu(0);
	test_at("change %d", _i);
	expect_move(s.fd, s.dst, s.src, PAGE, 0);
	page_check(s.dst, 1, 1);
	c->make(&s);
	expect_move_as(s.fd, s.dst + PAGE, s.src + PAGE, PAGE, 0,
		       .error = c->error, .reason = c->reason, .stop = stop);
}
END_TEST

/* What holds for one pair of mappings does not for another that was there before. */
START_TEST(other_pair)
{
	int fd = dev_open_all();
	char *src = map_filled(2, 1, 1), *dst = map_anon(2);
	char *src2 = map_filled(2, 11, 1), *dst2 = map_anon(2);

	pin_cpu(0);
	expect_ok(mlock2(dst2, 2 * PAGE, MLOCK_ONFAULT));
	expect_move(fd, dst, src, PAGE, 0);
	expect_no_move(fd, dst2, src2, PAGE, 0, EINVAL, VMA_LOCKED, ADDR(dst2));
	expect_move(fd, dst + PAGE, src + PAGE, PAGE, 0);
	range_check(dst, 2, 1, 1);
	range_check(src2, 2, 11, 1);
}
END_TEST

/*
 * A range that ends where addresses do is in no mapping, whatever mappings are known:
 * what is up there is the kernel's.
 */
START_TEST(end_of_addresses)
{
	static const size_t lens[] = { PAGE, 4 * PAGE, PMD };
	const size_t len = lens[_i / 2];
	const bool as_src = _i % 2;
	int fd = dev_open_all();
	char *mine = map_anon_aligned(1024, PMD, 0), *beyond = NULL;
	char *dst = as_src ? mine + PMD : beyond - len;
	char *src = as_src ? beyond - len : mine + PMD;
	struct move_result r;

	pin_cpu(0);
	test_at("%zu bytes", len);
	range_fill(mine, 1024, 1, 1);
	if (as_src)
		expect_ok(madvise(mine + PMD, PMD, MADV_DONTNEED));
	/* twice, so that the pair is known */
	expect_ok(madvise(mine, 2 * PAGE, MADV_DONTNEED));
	expect_move(fd, mine, mine + 2 * PAGE, PAGE, 0);
	expect_move(fd, mine + PAGE, mine + 3 * PAGE, PAGE, 0);
	r = try_move(fd, dst, src, len, 0);
	expect_result(r, REFUSED(EINVAL, ARGUMENT), .stop = ADDR(beyond - len));
	range_check(mine, 2, 3, 1);
	range_check(mine + 4 * PAGE, 508, 5, 1);
	if (as_src)
		ck_assert_uint_eq(count_populated(mine + PMD, 512), 0);
	else
		range_check(mine + PMD, 512, 513, 1);
}
END_TEST

/* The same mappings are replaced by others just like them: those are used. */
START_TEST(replaced)
{
	int fd = dev_open_all(), i;
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);

	pin_cpu(0);
	for (i = 1; i <= 50; i++) {
		range_fill(src, 4, 1, i);
		expect_move(fd, dst, src, 4 * PAGE, 0);
		range_check(dst, 4, 1, i);
		/* out and in again: the pages are found from their frames */
		swap_out(dst, 4);
		range_check(dst, 4, 1, i);
		expect_ok(munmap(dst, 4 * PAGE));
		expect_ok(munmap(src, 4 * PAGE));
		map_again(src, 4);
		map_again(dst, 4);
	}
}
END_TEST

/* A right that is the thread's own can go without any change of a mapping. */
START_TEST(protection_key)
{
	int fd = dev_open_all(), key = pkey_alloc(0, 0);
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);

	skip_if(key < 0, "protection keys: %s", strerror(errno));
	pin_cpu(0);
	expect_ok(pkey_mprotect(src, 4 * PAGE, PROT_READ | PROT_WRITE, key));
	expect_ok(pkey_mprotect(dst, 4 * PAGE, PROT_READ | PROT_WRITE, key));
	expect_move(fd, dst, src, PAGE, 0);
	expect_ok(pkey_set(key, PKEY_DISABLE_WRITE));
	expect_no_move(fd, dst + PAGE, src + PAGE, PAGE, 0, EINVAL, VMA_PKEY,
		       ADDR(src + PAGE));
	expect_ok(pkey_set(key, PKEY_DISABLE_ACCESS));
	expect_no_move(fd, dst + PAGE, src + PAGE, PAGE, 0, EINVAL, VMA_PKEY,
		       ADDR(src + PAGE));
	expect_ok(pkey_set(key, 0));
	expect_move(fd, dst + PAGE, src + PAGE, 3 * PAGE, 0);
	range_check(dst, 4, 1, 1);
}
END_TEST

/* What one mode may another may not. */
START_TEST(other_mode)
{
	int fd = dev_open_all();
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);

	pin_cpu(0);
	expect_move(fd, dst, src, PAGE, 0);
	expect_no_move(fd, dst + PAGE, src + PAGE, PAGE, UREMAP_MOVE_WP, EINVAL,
		       WP_UNREGISTERED, ADDR(dst + PAGE));
	expect_move(fd, dst + PAGE, src + PAGE, PAGE, UREMAP_MOVE_KEEP_WP);
	range_check(dst, 2, 1, 1);
}
END_TEST

/* A few pages that are to be write-protected are, though all else is ordinary. */
START_TEST(write_protect)
{
	int fd = dev_open_all(), uffd = uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *src = map_filled(4, 1, 1), *dst = map_anon(4);

	uffd_register(uffd, dst, 4 * PAGE, UFFDIO_REGISTER_MODE_WP);
	expect_move(fd, dst, src, 4 * PAGE, UREMAP_MOVE_WP);
	range_check(dst, 4, 1, 1);
	expect_trap(uffd, dst, 1, 1);
	expect_trap(uffd, dst + 3 * PAGE, 4, 1);
}
END_TEST

/*
 * Two processes that look the same take turns on one CPU.  The one is ahead in how
 * often its mappings have changed, the other catches up with it and passes it.  What
 * may in one may not in the other.
 */
enum { TURNS = 3000, AHEAD = 1000 };

struct turns {
	sem_t go, come;
	volatile int moved;
};

static int moves_in_vain(void *arg)
{
	struct scene s = *(struct scene *)arg;
	struct turns *turns = (void *)(s.dst + 8 * PAGE);
	int i;

	s.fd = dev_open_all();
	expect_ok(mlock2(s.dst, 4 * PAGE, MLOCK_ONFAULT));
	range_fill(s.src, 4, 1, 1);	/* its own by that */
	for (i = 0; i < repeats(TURNS); i++) {
		expect_ok(sem_wait(&turns->go));
		expect_no_move(s.fd, s.dst + PAGE, s.src + PAGE, PAGE, 0, EINVAL,
			       VMA_LOCKED, ADDR(s.dst + PAGE));
		/* one change of mappings more */
		expect_ok(mprotect(s.src + 3 * PAGE, PAGE,
				   i & 1 ? PROT_READ | PROT_WRITE : PROT_READ));
		expect_ok(sem_post(&turns->come));
	}
	return 0;
}

START_TEST(two_processes)
{
	struct scene s = { -1, map_filled(4, 1, 1), map_anon(12) };
	struct turns *turns;
	pid_t pid;
	int i;

	pin_cpu(0);
	turns = mmap(s.dst + 8 * PAGE, PAGE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ck_assert_ptr_ne(turns, MAP_FAILED);
	expect_ok(sem_init(&turns->go, 1, 0));
	expect_ok(sem_init(&turns->come, 1, 0));
	pid = child_start(moves_in_vain, &s);
	s.fd = dev_open_all();
	for (i = 0; i < AHEAD; i++)
		expect_ok(mprotect(s.src + 3 * PAGE, PAGE,
				   i & 1 ? PROT_READ | PROT_WRITE : PROT_READ));
	for (i = 0; i < repeats(TURNS); i++) {
		page_fill(s.src, 1, i);
		expect_move(s.fd, s.dst, s.src, PAGE, 0);
		page_check(s.dst, 1, i);
		expect_move(s.fd, s.src, s.dst, PAGE, 0);
		expect_move(s.fd, s.dst, s.src, PAGE, 0);
		expect_ok(madvise(s.dst, PAGE, MADV_DONTNEED));
		expect_ok(sem_post(&turns->go));
		expect_ok(sem_wait(&turns->come));
	}
	child_join(pid);
}
END_TEST

/*
 * The same pages twice: what a list of single pages does with one of them, calls of
 * one page each do with the other.
 */
#define ARENA	96
#define LIST	64

struct arena {
	char *half[2];			/* may be one mapping, or two */
};

static char *arena_page(const struct arena *a, size_t n)
{
	return a->half[n >= ARENA / 2] + n % (ARENA / 2) * PAGE;
}

static void arena_map(struct arena *a, bool two)
{
	if (two) {
		a->half[0] = map_anon(ARENA / 2);
		a->half[1] = map_anon_aligned(ARENA / 2, PMD, 512 - ARENA / 4);
	} else {
		a->half[0] = map_anon_aligned(ARENA, PMD, 512 - ARENA / 4);
		a->half[1] = a->half[0] + ARENA / 2 * PAGE;
	}
}

/* The same state in both: memory, nothing, the zero page, or a swap entry. */
static void page_make(struct arena *a, size_t n, unsigned int what)
{
	for (int k = 0; k < 2; k++) {
		char *page = arena_page(&a[k], n);

		expect_ok(madvise(page, PAGE, MADV_DONTNEED));
		if (what == 1)
			ck_assert_int_eq(*(volatile char *)page, 0);
		else if (what)
			page_fill(page, n, what);
		if (what == 2)
			swap_out(page, 1);
	}
}

static void page_compare(struct arena *a, size_t n)
{
	const char *one = arena_page(&a[0], n), *other = arena_page(&a[1], n);

	ck_assert_int_eq(page_populated(one), page_populated(other));
	if (page_populated(one))
		ck_assert_int_eq(memcmp(one, other, PAGE), 0);
}

static __u64 arena_offset(const struct arena *a, __u64 stop)
{
	for (size_t n = 0; n < ARENA; n++)
		if (stop == ADDR(arena_page(a, n)))
			return n;
	return stop;
}

START_TEST(lists)
{
	struct uremap_segment segs[LIST];
	struct arena a[2];
	int fd = dev_open_all(), round, moved = 0, refused = 0;

	arena_map(&a[0], _i);
	arena_map(&a[1], _i);
	for (round = 0; round < repeats(60); round++) {
		struct uremap_movev v = {
			.segs = ADDR(segs), .nr = LIST, .seg_size = sizeof(*segs),
			.flags = UREMAP_MOVEV_CONTINUE,
		};
		size_t from[LIST], to[LIST];

		for (size_t n = 0; n < ARENA; n++)
			page_make(a, n, rnd_below(8) ? 3 * rnd_below(2) : rnd_below(3));
		for (size_t k = 0; k < LIST; k++) {
			from[k] = rnd_below(ARENA);
			to[k] = rnd_below(ARENA);
			segs[k] = seg(arena_page(&a[0], to[k]),
				      arena_page(&a[0], from[k]), 1);
		}
		ioctl(fd, UREMAP_IOC_MOVEV, &v);
		ck_assert_uint_eq(v.done, LIST);
		for (size_t k = 0; k < LIST; k++) {
			struct move_result r;

			test_at("round %d, segment %zu", round, k);
			r = try_move(fd, arena_page(&a[1], to[k]),
				     arena_page(&a[1], from[k]), PAGE, 0);
			ck_assert_int_eq(segs[k].move, r.move);
			ck_assert_uint_eq(segs[k].error, r.error);
			ck_assert_uint_eq(segs[k].reason, r.reason);
			ck_assert_uint_eq(arena_offset(&a[0], segs[k].stop),
					  arena_offset(&a[1], r.stop));
			moved += !r.error;
			refused += !!r.error;
		}
		for (size_t n = 0; n < ARENA; n++)
			page_compare(a, n);
	}
	ck_assert_int_gt(moved, 0);
	ck_assert_int_gt(refused, 0);
}
END_TEST

/* One segment for each of @nr pages next to each other */
static void list_pages(struct uremap_segment *segs, int nr, char *dst, char *src)
{
	for (int k = 0; k < nr; k++)
		segs[k] = seg(dst + k * PAGE, src + k * PAGE, 1);
}

/*
 * Of single pages those before a pinned one move, it and those after it stay, and so
 * does a longer segment in the end.
 */
START_TEST(pinned_single)
{
	struct uremap_segment segs[9];
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = 9, .seg_size = sizeof(*segs),
	};
	int fd = dev_open_all();
	char *src = map_filled(12, 1, 1), *dst = map_anon(12);
	struct uring u;

	uring_open(&u);
	uring_pin(&u, src + 5 * PAGE, PAGE);
	list_pages(segs, 9, dst, src);
	segs[8].len = 4 * PAGE;
	expect_errno(EAGAIN, ioctl(fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_uint_eq(v.done, 6);
	ck_assert_uint_eq(v.move, 5 * PAGE);
	ck_assert_uint_eq(segs[5].error, EBUSY);
	ck_assert_uint_eq(segs[5].reason, UREMAP_REASON_PINNED);
	range_check(dst, 5, 1, 1);
	ck_assert_uint_eq(count_populated(dst + 5 * PAGE, 7), 0);
	range_check(src + 5 * PAGE, 7, 6, 1);
	uring_unpin(&u);
	expect_move(fd, dst + 5 * PAGE, src + 5 * PAGE, 7 * PAGE, 0);
	range_check(dst, 12, 1, 1);
}
END_TEST

/*
 * A list of eight pages: what has a reason to stay is where it was and says so, the
 * rest has moved.
 */
static void expect_list(int fd, char *dst, char *src, const __u32 why[8])
{
	struct uremap_segment segs[8];
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = 8, .seg_size = sizeof(*segs),
		.flags = UREMAP_MOVEV_CONTINUE,
	};
	__s64 move = 0;

	list_pages(segs, 8, dst, src);
	expect_errno(EAGAIN, ioctl(fd, UREMAP_IOC_MOVEV, &v));
	for (int k = 0; k < 8; k++) {
		test_at("segment %d", k);
		ck_assert_uint_eq(segs[k].error, why[k] ? EINVAL : 0);
		ck_assert_uint_eq(segs[k].reason, why[k]);
		ck_assert_uint_eq(page_populated(dst + k * PAGE), !why[k]);
		page_check((why[k] ? src : dst) + k * PAGE, 1 + k, 1);
		move += why[k] ? 0 : PAGE;
	}
	ck_assert_uint_eq(v.done, 8);
	ck_assert_uint_eq(v.move, move);
}

/* In a list each page needs its rights, next to others in the same page tables. */
START_TEST(list_rights)
{
	static const __u32 why[8] = {
		[2] = UREMAP_REASON_DST_UNREGISTERED,
		[5] = UREMAP_REASON_SRC_UNREGISTERED,
		[6] = UREMAP_REASON_SRC_UNREGISTERED,
	};
	char *src = map_filled(8, 1, 1), *dst = map_anon_aligned(8, PMD, 1);
	int fd = dev_open();

	dev_register(fd, src, 8 * PAGE, UREMAP_RANGE_SRC);
	dev_register(fd, dst, 8 * PAGE, UREMAP_RANGE_DST);
	dev_unregister(fd, dst + 2 * PAGE, PAGE, UREMAP_RANGE_DST);
	dev_unregister(fd, src + 5 * PAGE, 2 * PAGE, UREMAP_RANGE_SRC);
	expect_list(fd, dst, src, why);
}
END_TEST

/* What a list has moved can be found from its page frame: it can be swapped out. */
START_TEST(list_swapped)
{
	enum { NR = 64 };
	struct uremap_segment segs[NR];
	struct uremap_movev v = {
		.segs = ADDR(segs), .nr = NR, .seg_size = sizeof(*segs),
	};
	int fd = dev_open_all();
	/* [0] from mapping to mapping, [1] inside one */
	char *area = map_anon_aligned(3 * NR, PMD, 100);
	char *src = _i ? area : map_filled(NR, 1, 1), *dst = area + NR * PAGE;

	if (_i)
		range_fill(src, NR, 1, 1);
	list_pages(segs, NR, dst, src);
	expect_ok(ioctl(fd, UREMAP_IOC_MOVEV, &v));
	range_check(dst, NR, 1, 1);
	swap_out(dst, NR);
	range_check(dst, NR, 1, 1);
}
END_TEST

/* Nor does one of a mapping move that may not, next to one that may. */
START_TEST(list_mappings)
{
	static const __u32 why[8] = {
		[3] = UREMAP_REASON_VMA_LOCKED,
		[4] = UREMAP_REASON_VMA_LOCKED,
	};
	char *src = map_filled(8, 1, 1), *dst = map_anon_aligned(8, PMD, 1);
	char *locked = _i ? src : dst;
	int fd = dev_open_all();

	expect_ok(mlock2(locked + 3 * PAGE, 2 * PAGE, MLOCK_ONFAULT));
	expect_list(fd, dst, src, why);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(changed, ARRAY_SIZE(changes)),
	UTEST(other_pair),
	UTEST_LOOP(end_of_addresses, 6),
	UTEST_SLOW(replaced, 300),
	UTEST(protection_key),
	UTEST(other_mode),
	UTEST(write_protect),
	UTEST_SLOW(two_processes, 300),
	UTEST_LOOP_SLOW(lists, 2, 300),
	UTEST(pinned_single),
	UTEST(list_rights),
	UTEST_LOOP(list_mappings, 2),
	UTEST_LOOP(list_swapped, 2),
};
UTEST_MAIN("quick", tests)
