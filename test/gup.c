// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves that a move never lets one process see, through a page reference it
 * took with vmsplice() before, what another writes afterwards: the scenarios of
 * the kernel's cow.c with a move in their middle (B-get, B-folio-part; D
 * "CVE-2020-29374"; E "livelock").
 */
#include "util_peer.h"
#include "util_state.h"

#include <sys/uio.h>

enum { ID = 300, OLD = 1, NEW = 2 };

/* What the page is made of; the scenarios are the same for all. */
enum kind { SMALL, SWAPPED, HUGE, PTE_MAPPED, HUGE_PART, NR_KINDS };

static const char *const kind_name[] = {
	"a page", "a swapped page", "a huge page",
	"a huge page mapped by entries", "one page of a huge page",
};

struct scene {
	enum kind kind;
	char *src;
	size_t pages;			/* that are moved */
	int pipe[2];
};

/*
 * Before 5.19 the kernel itself gives huge pages, and pages from swap, away
 * without looking at references (D): nothing to be proven there.
 */
static void setup(struct scene *s, int kind)
{
	skip_if(kind != SMALL && !kernel_has_pae(),
		"before 5.19 the kernel itself leaks %s", kind_name[kind]);
	pin_cpu(0);
	s->kind = kind;
	s->pages = 1;
	if (kind == SMALL || kind == SWAPPED) {
		s->src = map_filled(1, ID, OLD);
		lru_settle();
	} else {
		s->src = map_thp(1, ID, OLD);
		if (kind == PTE_MAPPED)
			split_mapping(s->src + 9 * PAGE);
		if (kind == HUGE_PART)
			split_mapping(s->src);
		else
			s->pages = 512;
	}
	if (kind == SWAPPED)
		swap_out(s->src, 1);
	expect_ok(pipe(s->pipe));
}

/* The page at the start of the source is in the pipe from now on. */
static void splice_one(struct scene *s)
{
	struct iovec iov = { s->src, PAGE };

	ck_assert_int_eq(vmsplice(s->pipe[1], &iov, 1, 0), PAGE);
}

static void pipe_has(struct scene *s, uint32_t seq)
{
	static char page[PAGE] __attribute__((aligned(4096)));
	size_t got = 0;

	while (got < PAGE)
		got += expect_ok(read(s->pipe[0], page + got, PAGE - got));
	page_check(page, ID, seq);
}

static size_t mapped(const struct scene *s)
{
	return (s->kind == SMALL || s->kind == SWAPPED ? 1 : 512) * PAGE;
}

/*
 * Move with healing and write at the new place, there and back again: a page
 * that was only half healed would show it then.
 */
static void move_and_write(struct scene *s, int fd)
{
	char *dst = s->pages == 1 ? map_anon(1) : map_thp_dst(1);
	struct move_result r;

	r = try_move(fd, dst, s->src, s->pages * PAGE, UREMAP_MOVE_UNSHARE);
	if (r.ret)
		ck_abort_msg("%s: %s", kind_name[s->kind], reason_name(r.reason));
	range_check(dst, s->pages, ID, OLD);
	range_fill(dst, s->pages, ID, NEW);
	expect_move(fd, s->src, dst, s->pages * PAGE, 0);
	range_check(s->src, s->pages, ID, NEW);
}

static int splice_and_unmap(struct peer *p, void *arg)
{
	struct scene *s = arg;

	splice_one(s);
	munmap(s->src, mapped(s));
	peer_turn(p);
	pipe_has(s, OLD);
	return 0;
}

/* "vmsplice() + unmap in child": the child reads the pipe, not the parent. */
START_TEST(child_keeps_reference)
{
	int fd = dev_open_all();
	struct scene s;
	struct peer p;

	setup(&s, _i);
	peer_start(&p, splice_and_unmap, &s);
	peer_hear(&p);
	move_and_write(&s, fd);
	peer_end(&p);
}
END_TEST

/* The same, but without UNSHARE: refused, and nothing leaks by the attempt. */
START_TEST(child_keeps_reference_refused)
{
	int fd = dev_open_all();
	struct scene s;
	struct peer p;

	setup(&s, SMALL);
	peer_start(&p, splice_and_unmap, &s);
	peer_hear(&p);
	expect_no_move(fd, map_anon(1), s.src, PAGE, 0, EBUSY, NOT_EXCLUSIVE,
		       ADDR(s.src));
	page_fill(s.src, ID, NEW);
	peer_end(&p);
}
END_TEST

static int move_when_told(struct peer *p, void *arg)
{
	struct scene *s = arg;
	int fd = dev_open_all();

	peer_turn(p);
	move_and_write(s, fd);
	return 0;
}

/* "vmsplice() before fork, unmap in parent": the child moves and writes. */
START_TEST(spliced_before_fork)
{
	struct scene s;
	struct peer p;

	setup(&s, _i);
	splice_one(&s);
	peer_start(&p, move_when_told, &s);
	peer_hear(&p);
	munmap(s.src, mapped(&s));
	peer_end(&p);
	pipe_has(&s, OLD);
}
END_TEST

/* "vmsplice() + unmap in parent after fork" */
START_TEST(spliced_after_fork)
{
	struct scene s;
	struct peer p;

	setup(&s, _i);
	peer_start(&p, move_when_told, &s);
	peer_hear(&p);
	splice_one(&s);
	munmap(s.src, mapped(&s));
	peer_end(&p);
	pipe_has(&s, OLD);
}
END_TEST

/*
 * The sharer moves before it splices: what the other reads from then on is what
 * it had, and the moved copy is one's own.
 */
static int move_then_splice(struct peer *p, void *arg)
{
	struct scene *s = arg;
	char *dst = s->pages == 1 ? map_anon(1) : map_thp_dst(1);
	int fd = dev_open_all();

	expect_ok(try_move(fd, dst, s->src, s->pages * PAGE,
			   UREMAP_MOVE_UNSHARE).ret);
	s->src = dst;
	splice_one(s);
	munmap(dst, s->pages * PAGE);
	peer_turn(p);
	pipe_has(s, OLD);
	return 0;
}

START_TEST(moved_before_splice)
{
	struct scene s;
	struct peer p;

	setup(&s, _i);
	peer_start(&p, move_then_splice, &s);
	peer_hear(&p);
	range_fill(s.src, s.pages, ID, NEW);
	peer_end(&p);
	range_check(s.src, s.pages, ID, NEW);
}
END_TEST

/*
 * Within one process a reference is no obstacle: the page moves with it, the
 * frame is the same, and the pipe has the page.
 */
START_TEST(own_reference)
{
	int fd = dev_open_all();
	char *dst = map_anon(1);
	struct move_result r;
	struct scene s;
	uint64_t pfn;

	setup(&s, SMALL);
	splice_one(&s);
	pfn = page_pfn(s.src);
	r = matrix_move("in a pipe, by vmsplice", fd, dst, s.src, PAGE, 0);
	expect_result(r, .done = PAGE);
	ck_assert_uint_eq(page_pfn(dst), pfn);
	page_fill(dst, ID, NEW);
	pipe_has(&s, NEW);
	page_check(dst, ID, NEW);
}
END_TEST

/* A huge page with a reference on one page moves whole where it can as one. */
START_TEST(own_reference_huge)
{
	int fd = dev_open_all();
	struct scene s;
	char *dst;

	skip_if(!thp_available(), "no transparent huge pages");
	s.src = map_thp(1, ID, OLD);
	dst = map_thp_dst(1);
	expect_ok(pipe(s.pipe));
	splice_one(&s);
	expect_move(fd, dst, s.src, PMD, 0);
	ck_assert_int_eq(huge_kb(dst), 2048);
	range_check(dst, 512, ID, OLD);
	pipe_has(&s, OLD);
}
END_TEST

/*
 * Where it would have to be split it cannot be: the answer comes at once, the
 * huge page stays one, and when the pipe is read the move succeeds.
 */
struct split_case {
	size_t from, pages, to;
};

static const struct split_case split_cases[] = {
	{ 3, 1, 3 }, { 0, 1, 0 }, { 0, 512, 5 }, { 100, 200, 300 },
};

START_TEST(reference_forbids_split)
{
	const struct split_case *c = &split_cases[_i];
	int fd = dev_open_all();
	struct move_result r;
	struct scene s;
	char *dst;
	long splits;

	skip_if(!thp_available(), "no transparent huge pages");
	s.src = map_thp(1, ID, OLD);
	dst = map_thp_dst(2);
	expect_ok(madvise(dst, 2 * PMD, MADV_NOHUGEPAGE));
	expect_ok(pipe(s.pipe));
	splice_one(&s);
	splits = vmstat("thp_split_page") + vmstat("thp_split_pmd");
	r = matrix_move("huge page in a pipe, a part of it", fd,
			dst + c->to * PAGE, s.src + c->from * PAGE,
			c->pages * PAGE, 0);
	expect_result(r, REFUSED(EBUSY, SPLIT_FAILED), .stop = STOP_ANY);
	ck_assert_int_eq(huge_kb(s.src), 2048);
	ck_assert_int_eq(vmstat("thp_split_page") + vmstat("thp_split_pmd"),
			 splits);
	range_check(s.src, 512, ID, OLD);
	ck_assert_uint_eq(count_populated(dst, 1024), 0);
	pipe_has(&s, OLD);
	expect_move(fd, dst + c->to * PAGE, s.src + c->from * PAGE,
		    c->pages * PAGE, 0);
	range_check(dst + c->to * PAGE, c->pages, ID + c->from, OLD);
}
END_TEST

struct native_spin {
	char *src, *dst;
	int uffd;
};

static int native_part(void *arg)
{
	struct native_spin *n = arg;
	struct iovec iov = { n->src, PAGE };
	int fds[2];
	__s64 move;

	/* a userfaultfd is of the process that opened it */
	madvise(n->src, PMD, MADV_HUGEPAGE);
	range_fill(n->src, 512, ID, OLD);
	n->uffd = uffd_open(UFFD_FEATURE_MOVE);
	if (pipe(fds) || vmsplice(fds[1], &iov, 1, 0) != (int)PAGE ||
	    try_uffd_register(n->uffd, n->dst, PMD, UFFDIO_REGISTER_MODE_MISSING))
		return 2;
	return native_move(n->uffd, n->dst + PAGE, n->src + PAGE, PAGE, 0,
			   &move) ? 1 : 0;
}

/* The kernel's own move does not come back from there, on 6.12 and 7.2. */
START_TEST(native_spins)
{
	struct native_spin n;

	skip_if(!has_native_move(), "no UFFDIO_MOVE");
	skip_if(!thp_available(), "no transparent huge pages");
	khugepaged_rest();
	n.src = map_huge_ok(512, PMD);
	n.dst = map_anon(512);
	ck_assert_int_eq(run_bounded(native_part, &n, 5), RUN_KILLED);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(child_keeps_reference, NR_KINDS),
	UTEST(child_keeps_reference_refused),
	UTEST_LOOP(spliced_before_fork, NR_KINDS),
	UTEST_LOOP(spliced_after_fork, NR_KINDS),
	UTEST_LOOP(moved_before_splice, NR_KINDS),
	UTEST(own_reference),
	UTEST(own_reference_huge),
	UTEST_LOOP(reference_forbids_split, ARRAY_SIZE(split_cases)),
	UTEST(native_spins),
};
UTEST_MAIN("gup", tests)
