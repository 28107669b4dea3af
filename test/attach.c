// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what ATTACH does: a move wakes exactly the threads whose page is there
 * now, in the same call; it goes only where the userfaultfd watches, and not
 * while that has news nobody has read; and both files may go in any order.
 */
#include "util_state.h"

#include <poll.h>
#include <sys/syscall.h>

enum { N = 8, ID = 40 };

struct scene {
	int fd, uffd;
	char *src, *dst;
	size_t pages;
};

static void scene_open(struct scene *s, size_t pages, __u64 features)
{
	s->pages = pages;
	s->fd = dev_open_all();
	s->uffd = uffd_open(features);
	s->src = map_filled(pages, ID, 1);
	s->dst = map_anon(pages);
	uffd_register(s->uffd, s->dst, pages * PAGE,
		      UFFDIO_REGISTER_MODE_MISSING);
	dev_attach(s->fd, s->uffd);
}

static void *reads(void *page)
{
	return (void *)(uintptr_t)*(volatile char *)page;
}

/* A thread that waits for page @n, its event read. */
static pthread_t wait_at(struct scene *s, size_t n)
{
	pthread_t t = thread_start(reads, s->dst + n * PAGE);
	struct uffd_msg msg;

	ck_assert(uffd_read(s->uffd, -1, &msg));
	ck_assert_int_eq(msg.event, UFFD_EVENT_PAGEFAULT);
	ck_assert_uint_eq(msg.arg.pagefault.address & ~(PAGE - 1),
			  ADDR(s->dst + n * PAGE));
	return t;
}

static void expect_waiters(struct scene *s, int n)
{
	ck_assert_int_eq(uffd_waiters(s->uffd), n);
}

static void expect_silence(struct scene *s)
{
	struct uffd_msg msg;

	ck_assert(!uffd_read(s->uffd, 0, &msg));
}

static void fill_dst(struct scene *s, size_t n, char *stage)
{
	ck_assert_int_eq(try_uffd_copy(s->uffd, s->dst + n * PAGE, stage, PAGE,
				       UFFDIO_COPY_MODE_DONTWAKE), 0);
}

/* Those in the bytes done are woken, others are not. */
START_TEST(wakes_what_is_done)
{
	static const int at[] = { 0, 2, 2, 4, 7 };
	pthread_t t[ARRAY_SIZE(at)];
	struct scene s;
	size_t i;

	scene_open(&s, N, 0);
	fill_dst(&s, 5, map_filled(1, 99, 1));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		t[i] = wait_at(&s, at[i]);
	expect_move(s.fd, s.dst, s.src, 2 * PAGE, 0);
	expect_waiters(&s, 4);
	thread_join(t[0]);
	expect_move_part(s.fd, s.dst + 2 * PAGE, s.src + 2 * PAGE, 6 * PAGE, 0,
			 3 * PAGE, EEXIST, DST_BUSY, ADDR(s.dst + 5 * PAGE));
	expect_waiters(&s, 1);
	for (i = 1; i < 4; i++)
		thread_join(t[i]);
	expect_move(s.fd, s.dst + 6 * PAGE, s.src + 6 * PAGE, 2 * PAGE, 0);
	expect_waiters(&s, 0);
	thread_join(t[4]);
	range_check(s.dst, 5, ID, 1);
	range_check(s.dst + 6 * PAGE, 2, ID + 6, 1);
	expect_silence(&s);
}
END_TEST

/* One whose page somebody else has brought meanwhile need not wait any more. */
START_TEST(wakes_what_exists)
{
	char *stage = map_filled(1, 99, 1);
	struct scene s;
	pthread_t t;

	scene_open(&s, N, 0);
	t = wait_at(&s, 3);
	fill_dst(&s, 3, stage);
	expect_no_move(s.fd, s.dst + 3 * PAGE, s.src, PAGE,
		       UREMAP_MOVE_DONTWAKE, EEXIST, DST_BUSY,
		       ADDR(s.dst + 3 * PAGE));
	expect_waiters(&s, 1);
	expect_no_move(s.fd, s.dst + 3 * PAGE, s.src, PAGE, 0, EEXIST, DST_BUSY,
		       ADDR(s.dst + 3 * PAGE));
	expect_waiters(&s, 0);
	thread_join(t);
	page_check(s.dst + 3 * PAGE, 99, 1);
}
END_TEST

/* DONTWAKE leaves it to UFFDIO_WAKE; an attached file must not matter then. */
START_TEST(dontwake)
{
	struct scene s;
	pthread_t t;

	scene_open(&s, N, 0);
	t = wait_at(&s, 1);
	expect_move(s.fd, s.dst, s.src, N * PAGE, UREMAP_MOVE_DONTWAKE);
	expect_waiters(&s, 1);
	uffd_wake(s.uffd, s.dst + PAGE, PAGE);
	expect_waiters(&s, 0);
	thread_join(t);
	range_check(s.dst, N, ID, 1);
}
END_TEST

/* An event nobody has read: its thread is woken, the event is gone. */
START_TEST(wakes_unread)
{
	struct pollfd p = { .events = POLLIN };
	struct scene s;
	pthread_t t;

	scene_open(&s, N, 0);
	t = thread_start(reads, s.dst + PAGE);
	p.fd = s.uffd;
	ck_assert_int_eq(poll(&p, 1, -1), 1);
	expect_move(s.fd, s.dst, s.src, N * PAGE, 0);
	thread_join(t);
	expect_silence(&s);
}
END_TEST

/*
 * Who waits at a hole stays asleep, or it would fault, and be answered, for
 * ever.
 */
START_TEST(holes)
{
	enum { PAGES = 300 };
	/* page n is a hole unless n % 3 is 0 */
	static const int at[] = { 0, 1, 2, 99, 100, 150, 200, 201, 298, 297 };
	pthread_t t[ARRAY_SIZE(at)];
	struct scene s;
	size_t i;

	scene_open(&s, PAGES, 0);
	for (i = 0; i < PAGES; i++)
		if (i % 3)
			madvise(s.src + i * PAGE, PAGE, MADV_DONTNEED);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		t[i] = wait_at(&s, at[i]);
	expect_move_holes(s.fd, s.dst, s.src, PAGES * PAGE,
			  UREMAP_MOVE_ALLOW_SRC_HOLES, PAGES / 3 * 2 * PAGE);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		if (at[i] % 3 == 0)
			thread_join(t[i]);
	expect_waiters(&s, 5);
	expect_silence(&s);
	for (i = 0; i < PAGES; i += 3)
		page_check(s.dst + i * PAGE, ID + i, 1);
	/* nothing but holes: nobody */
	expect_move_holes(s.fd, s.dst + PAGE, s.src + PAGE, 2 * PAGE,
			  UREMAP_MOVE_ALLOW_SRC_HOLES, 2 * PAGE);
	expect_waiters(&s, 5);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		if (at[i] % 3 == 0)
			continue;
		page_fill(s.src, 7, 7);
		expect_move(s.fd, s.dst + at[i] * PAGE, s.src, PAGE, 0);
		thread_join(t[i]);
	}
	expect_waiters(&s, 0);
}
END_TEST

struct removal {
	char *page;
	volatile bool over;
	bool early;			/* it was gone before the move ended */
};

/* Takes a page away as soon as it has come. */
static void *takes_away(void *arg)
{
	struct removal *r = arg;

	while (!page_populated(r->page) && !r->over)
		;
	expect_ok(madvise(r->page, PAGE, MADV_DONTNEED));
	r->early = !r->over;
	return NULL;
}

/* Lets it have its page as often as it asks for it; fails if it sleeps for good. */
static void serve_until_done(struct scene *s, pthread_t t, size_t n, char *stage)
{
	struct uffd_msg msg;
	int i;

	for (i = 0; pthread_tryjoin_np(t, NULL); i++) {
		ck_assert_msg(i < 2000, "nobody woke it");
		if (!uffd_read(s->uffd, 10, &msg))
			continue;
		page_fill(stage, ID + n, 1);
		expect_move(s->fd, s->dst + n * PAGE, stage, PAGE, 0);
	}
}

/*
 * A page comes and is taken away again before the call has ended, which passes over
 * a hole, too: who waited for it is woken all the same, and asks anew.
 */
START_TEST(gone_again)
{
	enum { PAGES = 4096 };
	char *stage = map_anon(1);
	int early = 0;

	while (early < 3) {
		struct removal r = { 0 };
		pthread_t waiter, remover;
		struct scene s;

		scene_open(&s, PAGES, 0);
		expect_ok(madvise(s.src + PAGE, PAGE, MADV_DONTNEED));
		waiter = wait_at(&s, 0);
		r.page = s.dst;
		remover = thread_start(takes_away, &r);
		expect_move_holes(s.fd, s.dst, s.src, PAGES * PAGE,
				  UREMAP_MOVE_ALLOW_SRC_HOLES, PAGE);
		r.over = true;
		thread_join(remover);
		early += r.early;
		serve_until_done(&s, waiter, 0, stage);
		expect_waiters(&s, 0);
		range_check(s.dst + 2 * PAGE, PAGES - 2, ID + 2, 1);
		expect_ok(munmap(s.src, PAGES * PAGE));
		expect_ok(munmap(s.dst, PAGES * PAGE));
		close(s.fd);
		close(s.uffd);
	}
}
END_TEST

/* A huge page comes whole, and brings everybody what they wait for. */
START_TEST(huge)
{
	char *src = map_thp(1, ID, 1), *dst = map_thp_dst(1);
	struct scene s = { .fd = dev_open_all(), .src = src, .dst = dst };
	pthread_t t[3];

	s.uffd = uffd_open(0);
	uffd_register(s.uffd, dst, PMD, UFFDIO_REGISTER_MODE_MISSING);
	dev_attach(s.fd, s.uffd);
	t[0] = wait_at(&s, 0);
	t[1] = wait_at(&s, 300);
	t[2] = wait_at(&s, 511);
	expect_move(s.fd, dst, src, PMD, 0);
	expect_waiters(&s, 0);
	thread_join(t[0]);
	thread_join(t[1]);
	thread_join(t[2]);
	range_check(dst, HPAGES, ID, 1);
	ck_assert_int_eq(huge_kb(dst), PMD / 1024);
}
END_TEST

/* Each segment of a vector wakes for itself, those after a failure, too. */
START_TEST(vector)
{
	enum { SEGS = 150, PAGES = 2 * SEGS };
	static struct uremap_segment seg[SEGS];
	struct uremap_movev v = {
		.segs = ADDR(seg), .nr = SEGS, .seg_size = sizeof(seg[0]),
		.flags = UREMAP_MOVEV_CONTINUE,
	};
	/* segment n: page 2n; 10 finds a hole, 20 a page, 30 is no address */
	static const int at[] = { 0, 1, 20, 21, 40, 60, 62, 200, 298, 299 };
	static const bool wakes[] = { 1, 0, 0, 0, 1, 0, 1, 1, 1, 0 };
	pthread_t t[ARRAY_SIZE(at)];
	struct scene s;
	size_t i;

	scene_open(&s, PAGES, 0);
	for (i = 0; i < SEGS; i++) {
		seg[i].dst = ADDR(s.dst + 2 * i * PAGE);
		seg[i].src = ADDR(s.src + 2 * i * PAGE);
		seg[i].len = PAGE;
	}
	seg[30].len = 1;
	madvise(s.src + 20 * PAGE, PAGE, MADV_DONTNEED);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		t[i] = wait_at(&s, at[i]);
	fill_dst(&s, 40, map_filled(1, 99, 1));
	expect_errno(EAGAIN, ioctl(s.fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_uint_eq(v.move, (SEGS - 3) * PAGE);
	ck_assert_uint_eq(seg[10].reason, UREMAP_REASON_HOLE);
	ck_assert_uint_eq(seg[20].reason, UREMAP_REASON_DST_BUSY);
	ck_assert_uint_eq(seg[30].reason, UREMAP_REASON_ARGUMENT);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		if (wakes[i])
			thread_join(t[i]);
	expect_waiters(&s, 5);
	expect_silence(&s);
	close(s.uffd);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		if (!wakes[i])
			thread_join(t[i]);
}
END_TEST

/* What is not registered with it is no destination, whoever else watches. */
START_TEST(only_its_mappings)
{
	struct scene s;
	int other;
	char *plain = map_anon(N), *foreign = map_anon(N);

	scene_open(&s, N, 0);
	other = uffd_open(0);
	uffd_register(other, foreign, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	expect_no_move(s.fd, plain, s.src, PAGE, 0, EINVAL, DST_NOT_UFFD,
		       ADDR(plain));
	expect_no_move(s.fd, foreign, s.src, PAGE, 0, EINVAL, DST_NOT_UFFD,
		       ADDR(foreign));
	/* as far as it is registered; the source need not be */
	uffd_unregister(s.uffd, s.dst + 3 * PAGE, (N - 3) * PAGE);
	expect_move_part(s.fd, s.dst, s.src, N * PAGE, 0, 3 * PAGE, EINVAL,
			 DST_NOT_UFFD, ADDR(s.dst + 3 * PAGE));
	range_check(s.dst, 3, ID, 1);
	range_check(s.src + 3 * PAGE, N - 3, ID + 3, 1);
	/* without one attached anywhere will do */
	dev_attach(s.fd, -1);
	expect_move(s.fd, plain + 3 * PAGE, s.src + 3 * PAGE, PAGE, 0);
	expect_move(s.fd, foreign + 4 * PAGE, s.src + 4 * PAGE, PAGE, 0);
}
END_TEST

/* What changes the layout, and makes the thread wait until somebody reads it. */
static void *removes(void *place)
{
	expect_ok(madvise(place, PAGE, MADV_DONTNEED));
	return NULL;
}

static void *unmaps(void *place)
{
	expect_ok(munmap(place, PAGE));
	return NULL;
}

static void *remaps(void *place)
{
	map_shift(place, map_nothing(1), 1);
	return NULL;
}

static void *forks(void *place)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	child_join(pid);
	return NULL;
}

static const struct {
	__u64 feature;
	int event;
	void *(*act)(void *place);
} changes[] = {
	{ UFFD_FEATURE_EVENT_REMOVE, UFFD_EVENT_REMOVE, removes },
	{ UFFD_FEATURE_EVENT_UNMAP, UFFD_EVENT_UNMAP, unmaps },
	{ UFFD_FEATURE_EVENT_REMAP, UFFD_EVENT_REMAP, remaps },
	{ UFFD_FEATURE_EVENT_FORK, UFFD_EVENT_FORK, forks },
};

START_TEST(changing)
{
	struct pollfd p = { .events = POLLIN };
	int plain = dev_open_all();
	struct uffd_msg msg;
	struct scene s;
	pthread_t t;
	char *place;

	scene_open(&s, N, changes[_i].feature);
	/* or they would be shared */
	expect_ok(madvise(s.src, N * PAGE, MADV_DONTFORK));
	place = s.dst + (N - 1) * PAGE;
	t = thread_start(changes[_i].act, place);
	p.fd = s.uffd;
	ck_assert_int_eq(poll(&p, 1, -1), 1);
	expect_no_move(s.fd, s.dst, s.src, 2 * PAGE, 0, EAGAIN, CHANGING,
		       ADDR(s.dst));
	range_check(s.src, N, ID, 1);
	/* it is the attached userfaultfd that counts */
	expect_move(plain, s.dst + 2 * PAGE, s.src + 2 * PAGE, PAGE, 0);
	ck_assert(uffd_read(s.uffd, -1, &msg));
	ck_assert_int_eq(msg.event, changes[_i].event);
	if (msg.event == UFFD_EVENT_FORK)
		close(msg.arg.fork.ufd);
	thread_join(t);
	expect_move(s.fd, s.dst, s.src, 2 * PAGE, 0);
	range_check(s.dst, 3, ID, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST(wakes_what_is_done),
	UTEST(wakes_what_exists),
	UTEST(dontwake),
	UTEST(wakes_unread),
	UTEST(holes),
	UTEST_SLOW(gone_again, 300),
	UTEST(huge),
	UTEST(vector),
	UTEST(only_its_mappings),
	UTEST_LOOP(changing, ARRAY_SIZE(changes)),
};
UTEST_MAIN("attach", tests)
