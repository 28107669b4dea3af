// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves what may be attached and for how long: only one userfaultfd of this
 * very address space at a time, which is free to go, by any of its descriptors,
 * before the device or after it, in the middle of a move as well.
 */
#include "util.h"

#include <sys/syscall.h>

enum { N = 4, ID = 40 };

struct scene {
	int fd, uffd;
	char *src, *dst;
};

/* A userfaultfd that watches the destination, too */
static int uffd_watching(const char *dst)
{
	int uffd = uffd_open(0);

	uffd_register(uffd, dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	return uffd;
}

static void scene_open(struct scene *s)
{
	s->fd = dev_open_all();
	s->src = map_filled(N, ID, 1);
	/* or they would be shared */
	expect_ok(madvise(s->src, N * PAGE, MADV_DONTFORK));
	s->dst = map_anon(N);
	s->uffd = uffd_watching(s->dst);
	dev_attach(s->fd, s->uffd);
}

static void *reads(void *page)
{
	return (void *)(uintptr_t)*(volatile char *)page;
}

static pthread_t wait_at(int uffd, char *page)
{
	pthread_t t = thread_start(reads, page);
	struct uffd_msg msg;

	ck_assert(uffd_read(uffd, -1, &msg));
	ck_assert_uint_eq(msg.arg.pagefault.address & ~(PAGE - 1), ADDR(page));
	return t;
}

/* Moves page @n, and somebody is woken by it. */
static void expect_wake(struct scene *s, size_t n)
{
	pthread_t t = wait_at(s->uffd, s->dst + n * PAGE);

	expect_move(s->fd, s->dst + n * PAGE, s->src + n * PAGE, PAGE, 0);
	ck_assert_int_eq(uffd_waiters(s->uffd), 0);
	thread_join(t);
	page_check(s->dst + n * PAGE, ID + n, 1);
}

static void expect_gone(struct scene *s)
{
	expect_no_move(s->fd, s->dst, s->src, PAGE, 0, EBADF, UFFD_GONE,
		       ADDR(s->src));
	range_check(s->src, N, ID, 1);
}

/* A descriptor of what is no userfaultfd that could be attached */
START_TEST(not_attachable)
{
	int fd = dev_open_all(), pipes[2], fresh;
	struct uremap_attach a = { .uffd = -1 };

	expect_ok(pipe(pipes));
	fresh = expect_ok(syscall(__NR_userfaultfd, O_CLOEXEC));
	ck_assert_int_eq(try_attach(fd, 999), EBADF);
	ck_assert_int_eq(try_attach(fd, -2), EBADF);
	ck_assert_int_eq(try_attach(fd, expect_ok(open("/proc", O_PATH))),
			 EBADF);
	ck_assert_int_eq(try_attach(fd, pipes[0]), EINVAL);
	ck_assert_int_eq(try_attach(fd, fd), EINVAL);
	ck_assert_int_eq(try_attach(fd, fresh), EINVAL);
	a.flags = 1;
	expect_errno(EINVAL, ioctl(fd, UREMAP_IOC_ATTACH, &a));
	a.flags = 0;
	a.reserved = 1;
	expect_errno(EINVAL, ioctl(fd, UREMAP_IOC_ATTACH, &a));
	/* none of these has attached anything, nor is there anything to detach */
	dev_attach(fd, -1);
	expect_move(fd, map_anon(1), map_filled(1, ID, 1), PAGE, 0);
}
END_TEST

static int attaches_parents(void *arg)
{
	struct scene *s = arg;
	int fd = dev_open_all();

	ck_assert_int_eq(try_attach(fd, s->uffd), EINVAL);
	/* the parent's device is the parent's, too */
	ck_assert_int_eq(try_attach(s->fd, s->uffd), EINVAL);
	ck_assert_int_eq(try_attach(s->fd, -1), EINVAL);
	dev_attach(fd, uffd_watching(s->dst));
	return 0;
}

/* That of another process watches other memory. */
START_TEST(of_another_process)
{
	struct scene s;

	scene_open(&s);
	child_run(attaches_parents, &s);
	expect_wake(&s, 0);
}
END_TEST

/* One at a time; the first stays in force. */
START_TEST(second)
{
	struct scene s;
	int first, other;
	pthread_t t;

	scene_open(&s);
	other = uffd_open(0);
	ck_assert_int_eq(try_attach(s.fd, other), EBUSY);
	expect_wake(&s, 0);
	dev_attach(s.fd, s.uffd);
	ck_assert_int_eq(try_attach(s.fd, other), EBUSY);
	/* but any number of files may have the same */
	dev_attach(dev_open_all(), s.uffd);
	dev_attach(s.fd, -1);
	t = wait_at(s.uffd, s.dst + PAGE);
	expect_move(s.fd, s.dst + PAGE, s.src + PAGE, PAGE, 0);
	ck_assert_int_eq(uffd_waiters(s.uffd), 1);
	uffd_wake(s.uffd, s.dst + PAGE, PAGE);
	thread_join(t);
	dev_attach(s.fd, -1);

	first = s.uffd;
	uffd_unregister(first, s.dst, N * PAGE);
	uffd_register(other, s.dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	s.uffd = other;
	dev_attach(s.fd, other);
	expect_wake(&s, 2);
}
END_TEST

/* Closing it ends its registrations at once: nothing else refers to it. */
START_TEST(closed_first)
{
	struct scene s;
	struct uremap_segment seg[2] = { };
	struct uremap_movev v = {
		.segs = ADDR(seg), .nr = 2, .seg_size = sizeof(seg[0]),
		.flags = UREMAP_MOVEV_CONTINUE,
	};
	int next;
	pthread_t t;

	scene_open(&s);
	/* or it might come to have the number and the address of the first */
	next = uffd_open(0);
	t = wait_at(s.uffd, s.dst + PAGE);
	close(s.uffd);
	/* goes on without a monitor */
	thread_join(t);
	page_check_zero(s.dst + PAGE);
	expect_gone(&s);
	seg[0] = (struct uremap_segment){ ADDR(s.dst), ADDR(s.src), PAGE };
	seg[1] = seg[0];
	expect_errno(EBADF, ioctl(s.fd, UREMAP_IOC_MOVEV, &v));
	ck_assert_uint_eq(v.done, 1);
	ck_assert_uint_eq(seg[0].reason, UREMAP_REASON_UFFD_GONE);
	range_check(s.src, N, ID, 1);
	/* a new one takes its place without further ado */
	s.uffd = next;
	uffd_register(next, s.dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	dev_attach(s.fd, next);
	expect_wake(&s, 0);
	close(next);
	dev_attach(s.fd, -1);
	expect_move(s.fd, s.dst + 2 * PAGE, s.src + 2 * PAGE, PAGE, 0);
}
END_TEST

/* The descriptor counts, not the file: another one must be attached anew. */
START_TEST(renumbered)
{
	struct scene s;
	int copy;

	scene_open(&s);
	copy = expect_ok(dup(s.uffd));
	close(s.uffd);
	expect_gone(&s);
	dev_attach(s.fd, copy);
	s.uffd = copy;
	expect_wake(&s, 1);
	/* the number comes to stand for a stranger, and for no userfaultfd */
	expect_ok(dup2(uffd_open(0), copy));
	expect_no_move(s.fd, s.dst, s.src, PAGE, 0, EBADF, UFFD_GONE,
		       ADDR(s.src));
	expect_ok(dup2(expect_ok(open("/dev/null", O_RDONLY)), copy));
	expect_no_move(s.fd, s.dst, s.src, PAGE, 0, EBADF, UFFD_GONE,
		       ADDR(s.src));
	dev_attach(s.fd, -1);
	expect_move(s.fd, s.dst, s.src, PAGE, 0);
}
END_TEST

/* The device goes first: the userfaultfd stays as it is. */
START_TEST(device_closed_first)
{
	struct scene s;
	pthread_t t;

	scene_open(&s);
	t = wait_at(s.uffd, s.dst + PAGE);
	close(s.fd);
	ck_assert_int_eq(uffd_waiters(s.uffd), 1);
	ck_assert_int_eq(try_uffd_copy(s.uffd, s.dst, s.src, 2 * PAGE, 0), 0);
	thread_join(t);
	range_check(s.dst, 2, ID, 1);
	s.fd = dev_open_all();
	dev_attach(s.fd, s.uffd);
	expect_wake(&s, 2);
}
END_TEST

/* ---- in the middle of moves -------------------------------------------- */

struct storm {
	struct scene s;
	volatile bool stop;
	unsigned long moved, refused;
};

/* To and fro; either it is attached, or it is not there, or nothing is. */
static void *moves(void *arg)
{
	struct storm *st = arg;
	struct scene *s = &st->s;
	int back = dev_open_all();

	while (!st->stop) {
		struct move_result r;

		r = try_move(s->fd, s->dst, s->src, N * PAGE, 0);
		if (!r.ret) {
			expect_move(back, s->src, s->dst, N * PAGE, 0);
			st->moved++;
			continue;
		}
		if ((r.err != EBADF || r.reason != UREMAP_REASON_UFFD_GONE) &&
		    (r.err != EINVAL || r.reason != UREMAP_REASON_DST_NOT_UFFD))
			ck_abort_msg("errno %d reason %s", r.err,
				     reason_name(r.reason));
		st->refused++;
	}
	return NULL;
}

START_TEST(meanwhile)
{
	struct storm st = { };
	pthread_t t;
	int i, err;

	scene_open(&st.s);
	t = thread_start(moves, &st);
	for (i = 0; i < 500 || !st.moved || !st.refused; i++) {
		close(st.s.uffd);
		st.s.uffd = uffd_open(0);
		/* a move under way still has it, as every system call would */
		do {
			err = try_uffd_register(st.s.uffd, st.s.dst, N * PAGE,
						UFFDIO_REGISTER_MODE_MISSING);
		} while (err == EBUSY);
		ck_assert_int_eq(err, 0);
		dev_attach(st.s.fd, st.s.uffd);
		if (i % 3)
			dev_attach(st.s.fd, -1);
	}
	st.stop = true;
	thread_join(t);
	test_note("%lu moves, %lu refused", st.moved, st.refused);
	range_check(st.s.src, N, ID, 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST(not_attachable),
	UTEST(of_another_process),
	UTEST(second),
	UTEST(closed_first),
	UTEST(renumbered),
	UTEST(device_closed_first),
	UTEST(meanwhile),
};
UTEST_MAIN("attach_life", tests)
