// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a page which others may share after fork() moves only with
 * UNSHARE, is copied only if a sharer lives, and never changes for the sharer
 * (B-present, B-fork, B-zero; D rules 1 and 2; G1).
 */
#include "util_peer.h"
#include "util_state.h"

enum { N = 40, ID = 500 };

static uint64_t old_pfn[N], new_pfn[N];

/* The child: has the old bytes when told to look, each time, until it ends. */
static int watch(struct peer *p, void *src)
{
	range_check(src, N, ID, 1);
	peer_say(p);
	peer_hear(p);
	range_check(src, N, ID, 1);
	peer_say(p);
	peer_hear(p);
	range_check(src, N, ID, 1);
	return 0;
}

/* Without UNSHARE: refused at its first page, and nothing is different then. */
static void refused_untouched(int fd, char *dst, char *src)
{
	uint64_t before[N], after[N];

	pagemap_read(src, N, before);
	expect_no_move(fd, dst, src, N * PAGE, 0, EBUSY, NOT_EXCLUSIVE,
		       ADDR(src));
	pagemap_read(src, N, after);
	ck_assert_mem_eq(before, after, sizeof(before));
	ck_assert_uint_eq(count_populated(dst, N), 0);
}

/* With UNSHARE: all of it moves and was healed; @copies tells how many pages. */
static void heals(int fd, char *dst, char *src, size_t copies)
{
	size_t i, copied = 0;

	frames_read(src, N, old_pfn);
	expect_move_as(fd, dst, src, N * PAGE, UREMAP_MOVE_UNSHARE,
		       .done = N * PAGE, .healed = N * PAGE);
	ck_assert_uint_eq(count_populated(src, N), 0);
	frames_read(dst, N, new_pfn);
	for (i = 0; i < N; i++)
		copied += old_pfn[i] != new_pfn[i];
	ck_assert_uint_eq(copied, copies);
	range_check(dst, N, ID, 1);
}

/*
 * The sharer is gone.  PG_anon_exclusive does not come back by itself, so the
 * page still has to be healed, without a copy; before 5.19 the reference count
 * tells that it is ours (D2), and it moves at once.
 */
static void moves_when_alone(int fd, char *dst, char *src)
{
	if (kernel_has_pae()) {
		refused_untouched(fd, dst, src);
		range_check(src, N, ID, 1);
		/* reading has not changed that */
		refused_untouched(fd, dst, src);
		heals(fd, dst, src, 0);
		return;
	}
	frames_read(src, N, old_pfn);
	expect_move(fd, dst, src, N * PAGE, 0);
	check_frames(dst, N, old_pfn);
	range_check(dst, N, ID, 1);
}

static char *settled_source(void)
{
	char *src;

	pin_cpu(0);
	src = map_filled(N, ID, 1);
	lru_settle();
	return src;
}

/* The child lives: one copy of each page, and it never sees a new byte. */
START_TEST(live_child)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);
	struct peer p;

	peer_start(&p, watch, src);
	peer_hear(&p);
	refused_untouched(fd, dst, src);
	range_check(src, N, ID, 1);
	heals(fd, dst, src, N);
	range_fill(dst, N, ID, 2);
	peer_turn(&p);
	range_fill(src, N, ID, 3);
	peer_end(&p);
	range_check(dst, N, ID, 2);
}
END_TEST

static int nothing(void *arg)
{
	return 0;
}

/* The child is gone: no copy is made. */
START_TEST(exited_child)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);

	child_run(nothing, NULL);
	moves_when_alone(fd, dst, src);
}
END_TEST

/* A write makes it exclusive again: it moves by itself, and is not counted. */
START_TEST(written_after_exit)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);

	child_run(nothing, NULL);
	frames_read(src, N, old_pfn);
	range_fill(src, N, ID, 2);
	expect_move(fd, dst, src, N * PAGE, 0);
	check_frames(dst, N, old_pfn);
	range_check(dst, N, ID, 2);
}
END_TEST

/* A child with another program shares nothing any more. */
START_TEST(exec_child)
{
	int fd = dev_open_all(), in[2], out[2];
	char *src = settled_source(), *dst = map_anon(N), c;
	pid_t pid;

	expect_ok(pipe(in));
	expect_ok(pipe(out));
	pid = expect_ok(fork());
	if (!pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl("/bin/sh", "sh", "-c", "echo; read x; exit 0", NULL);
		_exit(1);
	}
	expect_ok(read(out[0], &c, 1));
	moves_when_alone(fd, dst, src);
	expect_ok(write(in[1], "\n", 1));
	child_join(pid);
}
END_TEST

static int orphan_watch(struct peer *p, void *src)
{
	pid_t pid = fork();

	if (pid)
		exit(pid < 0);
	return watch(p, src);
}

/* The child is gone, but its child is not. */
START_TEST(grandchild)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);
	struct peer p;

	peer_start(&p, orphan_watch, src);
	child_join(p.pid);
	peer_hear(&p);
	refused_untouched(fd, dst, src);
	heals(fd, dst, src, N);
	range_fill(dst, N, ID, 2);
	peer_turn(&p);
	/* its end says that the last look was good, too */
	peer_say(&p);
	ck_assert_int_eq(read(p.in, &(char){ 0 }, 1), 0);
}
END_TEST

static int move_inherited(struct peer *p, void *src)
{
	int fd = dev_open_all();
	char *dst = map_anon(N);

	refused_untouched(fd, dst, src);
	heals(fd, dst, src, N);
	range_fill(dst, N, ID, 2);
	peer_say(p);
	peer_hear(p);
	range_check(dst, N, ID, 2);
	return 0;
}

/* The other way round: a child moves what it inherited, its parent keeps it. */
START_TEST(child_moves)
{
	char *src = settled_source();
	struct peer p;

	peer_start(&p, move_inherited, src);
	peer_hear(&p);
	range_check(src, N, ID, 1);
	range_fill(src, N, ID, 3);
	peer_end(&p);
	range_check(src, N, ID, 3);
}
END_TEST

static int idle(struct peer *p, void *arg)
{
	peer_say(p);
	peer_hear(p);
	return 0;
}

/* What a child does not get is not shared: no healing, the same frames. */
START_TEST(kept_from_children)
{
	static const int advice[] = { MADV_DONTFORK, MADV_WIPEONFORK };
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);
	struct peer p;

	expect_ok(madvise(src, N * PAGE, advice[_i]));
	frames_read(src, N, old_pfn);
	peer_start(&p, idle, NULL);
	peer_hear(&p);
	expect_move(fd, dst, src, N * PAGE, _i ? UREMAP_MOVE_UNSHARE : 0);
	check_frames(dst, N, old_pfn);
	range_check(dst, N, ID, 1);
	peer_end(&p);
}
END_TEST

/* Nothing is healed that needs no healing. */
START_TEST(unshare_of_exclusive)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);

	frames_read(src, N, old_pfn);
	expect_move(fd, dst, src, N * PAGE, UREMAP_MOVE_UNSHARE);
	check_frames(dst, N, old_pfn);
	range_check(dst, N, ID, 1);
}
END_TEST

/*
 * Of a mix, what comes before the first shared page moves, and the rest stays.
 * With UNSHARE just the shared pages count as healed, holes between them or not.
 */
START_TEST(some_shared)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);
	size_t i, shared = 0, first = N;
	struct peer p;

	peer_start(&p, idle, NULL);
	peer_hear(&p);
	page_fill(src, ID, 2);
	for (i = 1; i < N - 1; i++) {
		if (rnd() & 1) {
			page_fill(src + i * PAGE, ID + i, 2);
			continue;
		}
		shared++;
		first = i < first ? i : first;
	}
	expect_ok(madvise(src + (N - 1) * PAGE, PAGE, MADV_DONTNEED));
	expect_move_part(fd, dst, src, N * PAGE, UREMAP_MOVE_ALLOW_SRC_HOLES,
			 first * PAGE, EBUSY, NOT_EXCLUSIVE,
			 ADDR(src) + first * PAGE);
	range_check(dst, first, ID, 2);
	ck_assert_uint_eq(count_populated(src, N), N - 1 - first);
	ck_assert_uint_eq(count_populated(dst, N), first);
	expect_move_as(fd, dst + first * PAGE, src + first * PAGE,
		       (N - first) * PAGE,
		       UREMAP_MOVE_UNSHARE | UREMAP_MOVE_ALLOW_SRC_HOLES,
		       .done = (N - first) * PAGE, .holes = PAGE,
		       .healed = shared * PAGE);
	for (i = first; i < N - 1; i++)
		ck_assert_int_eq(page_same(dst + i * PAGE, ID + i, 1, NULL, 0) ||
				 page_same(dst + i * PAGE, ID + i, 2, NULL, 0),
				 1);
	page_check(dst + first * PAGE, ID + first, 1);
	peer_end(&p);
}
END_TEST

/* Healed is exclusive for good: it moves on without; until the next fork. */
START_TEST(healed_then_shared_again)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);
	struct peer p;

	child_run(nothing, NULL);
	moves_when_alone(fd, dst, src);
	expect_move(fd, src, dst, N * PAGE, 0);
	peer_start(&p, watch, src);
	peer_hear(&p);
	refused_untouched(fd, dst, src);
	heals(fd, dst, src, N);
	range_fill(dst, N, ID, 2);
	peer_turn(&p);
	peer_end(&p);
}
END_TEST

/* mprotect() takes the write bit away, which says nothing of sharing. */
START_TEST(protected_and_back)
{
	int fd = dev_open_all();
	char *src = settled_source(), *dst = map_anon(N);

	expect_ok(mprotect(src, N * PAGE, PROT_READ));
	range_check(src, N, ID, 1);
	expect_ok(mprotect(src, N * PAGE, PROT_READ | PROT_WRITE));
	frames_read(src, N, old_pfn);
	expect_move(fd, dst, src, N * PAGE, 0);
	check_frames(dst, N, old_pfn);
	range_check(dst, N, ID, 1);
}
END_TEST

/* The zero page is everybody's and never needs healing. */
START_TEST(zero_pages_after_fork)
{
	int fd = dev_open_all();
	char *src = map_anon(N), *dst = map_anon(N);
	struct peer p;
	size_t i;

	for (i = 0; i < N; i++)
		page_check_zero(src + i * PAGE);
	peer_start(&p, idle, NULL);
	peer_hear(&p);
	expect_move(fd, dst, src, N * PAGE, 0);
	expect_move(fd, src, dst, N * PAGE, UREMAP_MOVE_UNSHARE);
	for (i = 0; i < N; i++)
		page_check_zero(src + i * PAGE);
	peer_end(&p);
}
END_TEST

/* No memory is lost by all of this: what the copies and the child held is back. */
START_TEST(accounts)
{
	int fd = dev_open_all(), i;
	char *src = settled_source(), *dst = map_anon(N);
	long rss = status_kb(0, "RssAnon");
	struct peer p;

	for (i = 0; i < 20; i++) {
		peer_start(&p, watch, src);
		peer_hear(&p);
		heals(fd, dst, src, N);
		peer_turn(&p);
		peer_end(&p);
		expect_move(fd, src, dst, N * PAGE, 0);
	}
	ck_assert_int_le(labs(status_kb(0, "RssAnon") - rss), 64);
}
END_TEST

static const struct utest tests[] = {
	UTEST(live_child),
	UTEST(exited_child),
	UTEST(written_after_exit),
	UTEST(exec_child),
	UTEST(grandchild),
	UTEST(child_moves),
	UTEST_LOOP(kept_from_children, 2),
	UTEST(unshare_of_exclusive),
	UTEST(some_shared),
	UTEST(healed_then_shared_again),
	UTEST(protected_and_back),
	UTEST(zero_pages_after_fork),
	UTEST(accounts),
};
UTEST_MAIN("exclusive", tests)
