// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves that a move never waits for the thread that makes it: a monitor of its
 * own userfaultfd may move holes, protected, shared and swapped pages of ranges
 * it watches, and nobody else answers (C26, C29; G1; C31).
 */
#include "util_peer.h"
#include "util_state.h"

enum { N = 32, ID = 5, SECS = 40 };

/*
 * A process with one thread: its source is registered, and the only one who
 * could ever answer an event is in the middle of a move.  Returns 0 if all went
 * as it should; the parent kills it if it waits for itself.
 */
struct scene {
	int fd, uffd;
	char *src, *dst;
};

static void scene_open(struct scene *s, __u64 features, __u64 mode)
{
	char *stage = map_filled(N, ID, 1);

	s->fd = dev_open_all();
	s->uffd = uffd_open(features);
	s->src = map_anon(N);
	s->dst = map_anon(N);
	uffd_register(s->uffd, s->src, N * PAGE, mode);
	uffd_register(s->uffd, s->dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	if (mode & UFFDIO_REGISTER_MODE_MISSING)
		ck_assert_int_eq(try_uffd_copy(s->uffd, s->src, stage, N * PAGE,
					       0), 0);
	else
		range_fill(s->src, N, ID, 1);
}

/* Holes of a watched source: told, or passed over, never waited for. */
static int holes(void *arg)
{
	struct uffd_msg msg;
	struct scene s;
	size_t i;

	scene_open(&s, 0, UFFDIO_REGISTER_MODE_MISSING);
	for (i = 3; i < N; i += 4)
		expect_ok(madvise(s.src + i * PAGE, PAGE, MADV_DONTNEED));
	expect_move_part(s.fd, s.dst, s.src, N * PAGE, UREMAP_MOVE_UNSHARE,
			 3 * PAGE, ENOENT, HOLE, ADDR(s.src) + 3 * PAGE);
	expect_move_holes(s.fd, s.dst + 3 * PAGE, s.src + 3 * PAGE,
			  (N - 3) * PAGE, UREMAP_MOVE_UNSHARE |
			  UREMAP_MOVE_ALLOW_SRC_HOLES, N / 4 * PAGE);
	for (i = 0; i < N; i++)
		if (i % 4 != 3)
			page_check(s.dst + i * PAGE, ID + i, 1);
	/* nothing was asked of the monitor */
	return uffd_read(s.uffd, 0, &msg);
}

static int swapped(void *arg)
{
	struct uffd_msg msg;
	struct scene s;
	size_t i;

	scene_open(&s, 0, UFFDIO_REGISTER_MODE_MISSING);
	swap_out(s.src, N);
	for (i = 3; i < N; i += 4)
		expect_ok(madvise(s.src + i * PAGE, PAGE, MADV_DONTNEED));
	expect_move_holes(s.fd, s.dst, s.src, N * PAGE,
			  UREMAP_MOVE_ALLOW_SRC_HOLES, N / 4 * PAGE);
	for (i = 0; i < N; i++)
		if (i % 4 != 3)
			page_check(s.dst + i * PAGE, ID + i, 1);
	return uffd_read(s.uffd, 0, &msg);
}

static int idle(struct peer *p, void *arg)
{
	peer_turn(p);
	return 0;
}

/*
 * Protected and shared: healing must not write, for that would be an event.
 * Before 5.19 nothing else heals, so there it is refused by its own reason.
 */
static int protected_shared(void *arg)
{
	struct uffd_msg msg;
	struct scene s;
	struct peer p;

	scene_open(&s, UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_WP);
	uffd_wp(s.uffd, s.src, N * PAGE, true);
	peer_start(&p, idle, NULL);
	peer_hear(&p);
	if (kernel_has_pae()) {
		expect_move_as(s.fd, s.dst, s.src, N * PAGE, UREMAP_MOVE_UNSHARE,
			       .done = N * PAGE, .healed = N * PAGE);
		range_check(s.dst, N, ID, 1);
	} else {
		expect_no_move(s.fd, s.dst, s.src, N * PAGE,
			       UREMAP_MOVE_UNSHARE, EBUSY, WP_SHARED,
			       ADDR(s.src));
		range_check(s.src, N, ID, 1);
	}
	peer_end(&p);
	return uffd_read(s.uffd, 0, &msg);
}

/* Protected and swapped: bringing it back is no write, either. */
static int protected_swapped(void *arg)
{
	struct uffd_msg msg;
	struct scene s;

	scene_open(&s, UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_WP);
	uffd_wp(s.uffd, s.src, N * PAGE, true);
	swap_out(s.src, N);
	expect_move(s.fd, s.dst, s.src, N * PAGE, 0);
	range_check(s.dst, N, ID, 1);
	return uffd_read(s.uffd, 0, &msg);
}

/* The destination is watched, too, and somebody is waiting there. */
static void *touches(void *page)
{
	page_check(page, ID, 1);
	return NULL;
}

/* Refused because populated: whoever waits can be woken by hand. */
static int exists(void *arg)
{
	char *stage = map_filled(1, ID, 1);
	struct uffd_msg msg;
	struct scene s;
	pthread_t t;

	scene_open(&s, 0, UFFDIO_REGISTER_MODE_MISSING);
	t = thread_start(touches, s.dst);
	ck_assert(uffd_read(s.uffd, -1, &msg));
	ck_assert_int_eq(try_uffd_copy(s.uffd, s.dst, stage, PAGE,
				       UFFDIO_COPY_MODE_DONTWAKE), 0);
	expect_no_move(s.fd, s.dst, s.src, PAGE, UREMAP_MOVE_DONTWAKE, EEXIST,
		       DST_BUSY, ADDR(s.dst));
	uffd_wake(s.uffd, s.dst, PAGE);
	thread_join(t);
	return uffd_read(s.uffd, 0, &msg);
}

/* Without an attached userfaultfd waking is the monitor's own, as documented. */
static int wakes(void *arg)
{
	struct uffd_msg msg;
	struct scene s;
	pthread_t t;

	scene_open(&s, 0, UFFDIO_REGISTER_MODE_MISSING);
	t = thread_start(touches, s.dst);
	ck_assert(uffd_read(s.uffd, -1, &msg));
	expect_move(s.fd, s.dst, s.src, PAGE, UREMAP_MOVE_DONTWAKE);
	uffd_wake(s.uffd, s.dst, PAGE);
	thread_join(t);
	return uffd_read(s.uffd, 0, &msg);
}

static int (*const scenes[])(void *) = {
	holes, swapped, protected_shared, protected_swapped, exists, wakes,
};

static const char *const names[] = {
	"holes", "swapped pages", "protected shared pages",
	"protected swapped pages", "a populated destination", "waiters",
};

START_TEST(alone)
{
	int ret;

	if (_i == 1 || _i == 3)
		swap_need();
	ret = run_bounded(scenes[_i], NULL, SECS);
	ck_assert_msg(ret != RUN_KILLED, "%s: waits for itself", names[_i]);
	ck_assert_msg(!ret, "%s: status %d", names[_i], ret);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP(alone, ARRAY_SIZE(scenes)),
};
UTEST_MAIN("races_monitor", tests)
