// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that a monitor can serve all faults of a userfaultfd by moves alone:
 * in threads of the process or told by another one, missing pages and
 * write-protection at once, in a signal handler, for user mode only; and that
 * of thousands who wait nobody is forgotten.
 */
#include "util_state.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif

enum { N = 256, ID = 70 };

struct monitor {
	int fd, uffd;
	char *src, *dst;
	size_t pages;
	__u64 mode;
	int stop[2];			/* a pipe: closed at one end, all end */
	unsigned long missing, protected;
};

static void monitor_open(struct monitor *m, size_t pages, int uffd, __u64 mode)
{
	memset(m, 0, sizeof(*m));
	m->pages = pages;
	m->fd = dev_open_all();
	m->uffd = uffd;
	m->src = map_filled(pages, ID, 1);
	m->dst = map_anon(pages);
	uffd_register(uffd, m->dst, pages * PAGE, mode);
	dev_attach(m->fd, uffd);
	expect_ok(pipe(m->stop));
}

/* Brings page @n; whoever else has brought it has woken its waiters, or we do. */
static void bring(struct monitor *m, size_t n)
{
	struct move_result r;

	do {
		r = try_move(m->fd, m->dst + n * PAGE, m->src + n * PAGE, PAGE,
			     m->mode);
	} while (r.ret && r.err == EAGAIN);
	if (r.ret && (r.err != EEXIST || r.reason != UREMAP_REASON_DST_BUSY))
		ck_abort_msg("page %zu: errno %d reason %s", n, r.err,
			     reason_name(r.reason));
}

static void serve(struct monitor *m, const struct uffd_msg *msg)
{
	size_t n = (msg->arg.pagefault.address - ADDR(m->dst)) / PAGE;

	ck_assert_int_eq(msg->event, UFFD_EVENT_PAGEFAULT);
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		__sync_fetch_and_add(&m->protected, 1);
		uffd_wp(m->uffd, m->dst + n * PAGE, PAGE, false);
	} else {
		__sync_fetch_and_add(&m->missing, 1);
		bring(m, n);
	}
}

static void *serves(void *arg)
{
	struct monitor *m = arg;
	struct pollfd p[2] = {
		{ .fd = m->uffd, .events = POLLIN },
		{ .fd = m->stop[0], .events = POLLIN },
	};
	struct uffd_msg msg;

	for (;;) {
		expect_ok(poll(p, 2, -1));
		if (p[1].revents)
			return NULL;
		if (uffd_read(m->uffd, 0, &msg))
			serve(m, &msg);
	}
}

static void monitor_end(struct monitor *m, pthread_t *t, int nr)
{
	close(m->stop[1]);
	while (nr--)
		thread_join(t[nr]);
	ck_assert_int_eq(uffd_waiters(m->uffd), 0);
}

/* Reads pages in an order of its own, all of them. */
static void *reads_all(void *arg)
{
	struct monitor *m = arg;
	size_t i, first = rnd_below(m->pages), n;

	for (i = 0; i < m->pages; i++) {
		n = (first + i * 7) % m->pages;
		page_check(m->dst + n * PAGE, ID + n, 1);
	}
	return NULL;
}

START_TEST(in_process)
{
	pthread_t server[2], reader[6];
	struct monitor m;
	int i;

	monitor_open(&m, N, uffd_open(0), UFFDIO_REGISTER_MODE_MISSING);
	for (i = 0; i < 6; i++)
		reader[i] = thread_start(reads_all, &m);
	for (i = 0; i < 2; i++)
		server[i] = thread_start(serves, &m);
	for (i = 0; i < 6; i++)
		thread_join(reader[i]);
	monitor_end(&m, server, 2);
	test_note("%lu faults at %d pages", m.missing, N);
	ck_assert_uint_eq(count_populated(m.src, N), 0);
}
END_TEST

/* Pages arrive protected: the first write to each is told, once, reads are not. */
static void *writes_odd(void *arg)
{
	struct monitor *m = arg;
	size_t n;

	for (n = 0; n < m->pages; n++) {
		if (n % 2)
			page_fill(m->dst + n * PAGE, ID + n, 2);
		else
			page_check(m->dst + n * PAGE, ID + n, 1);
	}
	return NULL;
}

START_TEST(missing_and_protected)
{
	pthread_t server[2], writer;
	struct monitor m;
	size_t n;
	int i;

	monitor_open(&m, N, wp_open(0), UFFDIO_REGISTER_MODE_MISSING |
		     UFFDIO_REGISTER_MODE_WP);
	m.mode = UREMAP_MOVE_WP;
	writer = thread_start(writes_odd, &m);
	for (i = 0; i < 2; i++)
		server[i] = thread_start(serves, &m);
	thread_join(writer);
	monitor_end(&m, server, 2);
	ck_assert_uint_eq(m.missing, N);
	ck_assert_uint_eq(m.protected, N / 2);
	for (n = 0; n < N; n++) {
		page_check(m.dst + n * PAGE, ID + n, 1 + n % 2);
		check_wp_bits(m.dst + n * PAGE, 1, !(n % 2));
	}
}
END_TEST

/* ---- another process ---------------------------------------------------- */

static void fd_send(int sock, int fd)
{
	char byte = 0, ctl[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl, .msg_controllen = sizeof(ctl),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	expect_ok(sendmsg(sock, &h, 0));
}

static int fd_receive(int sock)
{
	char byte, ctl[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl, .msg_controllen = sizeof(ctl),
	};
	int fd;

	ck_assert_int_eq(recvmsg(sock, &h, MSG_CMSG_CLOEXEC), 1);
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&h));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&h)), sizeof(int));
	return fd;
}

/*
 * Reads the events, says which address it wants to have served, and ends when
 * nobody listens.  It has no say over the memory itself.
 */
static int watches(void *arg)
{
	int sock = *(int *)arg, uffd = fd_receive(sock), fd = fd_receive(sock);
	char *page = map_filled(1, 1, 1);
	struct pollfd p[2] = {
		{ .fd = uffd, .events = POLLIN },
		{ .fd = sock, .events = POLLIN },
	};
	struct uffd_msg msg;

	ck_assert_int_eq(try_attach(dev_open_all(), uffd), EINVAL);
	ck_assert_int_eq(try_move(fd, map_anon(1), page, PAGE, 0).err, EINVAL);
	for (;;) {
		expect_ok(poll(p, 2, -1));
		if (p[1].revents)
			return 0;
		if (uffd_read(uffd, 0, &msg))
			expect_ok(write(sock, &msg, sizeof(msg)));
	}
}

struct ear {
	struct monitor *m;
	int sock;
};

/* The hands of the monitor, which is elsewhere. */
static void *obeys(void *arg)
{
	struct ear *e = arg;
	struct uffd_msg msg;

	while (recv(e->sock, &msg, sizeof(msg), MSG_WAITALL) == sizeof(msg))
		serve(e->m, &msg);
	return NULL;
}

START_TEST(other_process)
{
	pthread_t reader[4], hand;
	struct monitor m;
	struct ear ear = { .m = &m };
	int sock[2], i;
	pid_t pid;

	expect_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	pid = child_start(watches, &sock[1]);
	monitor_open(&m, N, uffd_open(0), UFFDIO_REGISTER_MODE_MISSING);
	fd_send(sock[0], m.uffd);
	fd_send(sock[0], m.fd);
	ear.sock = sock[0];
	hand = thread_start(obeys, &ear);
	for (i = 0; i < 4; i++)
		reader[i] = thread_start(reads_all, &m);
	for (i = 0; i < 4; i++)
		thread_join(reader[i]);
	ck_assert_uint_ge(m.missing, N);
	ck_assert_int_eq(uffd_waiters(m.uffd), 0);
	/* the child sees the end of the stream, then does the hand */
	expect_ok(shutdown(sock[0], SHUT_WR));
	child_join(pid);
	expect_ok(shutdown(sock[0], SHUT_RD));
	thread_join(hand);
}
END_TEST

/* ---- modes of userfaultfd ----------------------------------------------- */

/* Only faults of user mode are told; the kernel's fail, until the page is there. */
START_TEST(user_mode_only)
{
	int flags = O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY;
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = syscall(__NR_userfaultfd, flags), out[2];
	pthread_t server, reader;
	struct monitor m;

	skip_if(uffd < 0 && errno == EINVAL,
		"UFFD_USER_MODE_ONLY is of Linux 5.11");
	expect_ok(uffd);
	expect_ok(ioctl(uffd, UFFDIO_API, &api));
	monitor_open(&m, N, uffd, UFFDIO_REGISTER_MODE_MISSING);
	expect_ok(pipe(out));
	server = thread_start(serves, &m);
	expect_errno(EFAULT, write(out[1], m.dst, 8));
	ck_assert_uint_eq(m.missing, 0);
	reader = thread_start(reads_all, &m);
	thread_join(reader);
	ck_assert_uint_eq(m.missing, N);
	ck_assert_int_eq(write(out[1], m.dst, 8), 8);
	monitor_end(&m, &server, 1);
}
END_TEST

static struct monitor sigbus_monitor;
static volatile unsigned long sigbus_count;

static void on_sigbus(int sig, siginfo_t *info, void *ctx)
{
	struct monitor *m = &sigbus_monitor;

	__sync_fetch_and_add(&sigbus_count, 1);
	bring(m, (ADDR(info->si_addr) - ADDR(m->dst)) / PAGE);
}

/* Nobody waits: whoever faults serves itself, many of them at once. */
START_TEST(sigbus)
{
	struct sigaction sa = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};
	struct monitor *m = &sigbus_monitor;
	pthread_t reader[4];
	int i;

	monitor_open(m, N, uffd_open(UFFD_FEATURE_SIGBUS),
		     UFFDIO_REGISTER_MODE_MISSING);
	expect_ok(sigaction(SIGBUS, &sa, NULL));
	for (i = 0; i < 4; i++)
		reader[i] = thread_start(reads_all, m);
	for (i = 0; i < 4; i++)
		thread_join(reader[i]);
	ck_assert_uint_ge(sigbus_count, N);
	ck_assert_int_eq(uffd_waiters(m->uffd), 0);
}
END_TEST

/* ---- thousands ---------------------------------------------------------- */

enum { THREADS = 3000 };		/* at most */

static struct monitor crowd;		/* a thread for each of its pages */
static unsigned long crowd_done;

static void *waits(void *arg)
{
	size_t n = (size_t)arg;

	page_check(crowd.dst + n * PAGE, ID + n, 1);
	__sync_fetch_and_add(&crowd_done, 1);
	return NULL;
}

/* Brings runs of pages unasked, while their threads are about to wait. */
static void *brings_runs(void *arg)
{
	size_t first, len;
	struct move_result r;

	while (crowd_done < crowd.pages) {
		first = rnd_below(crowd.pages);
		len = 1 + rnd_below(40);
		if (len > crowd.pages - first)
			len = crowd.pages - first;
		r = try_move(crowd.fd, crowd.dst + first * PAGE,
			     crowd.src + first * PAGE, len * PAGE,
			     UREMAP_MOVE_ALLOW_SRC_HOLES);
		if (r.ret && r.error != EEXIST && r.error != EAGAIN)
			ck_abort_msg("run: errno %d reason %s", r.err,
				     reason_name(r.reason));
		usleep(2000);
	}
	return NULL;
}

/*
 * Each waits for a page of its own; a wake-up that is lost is a thread that
 * never ends.  Some wait before anybody answers, others come in between.
 */
START_TEST(thousands)
{
	static pthread_t thread[THREADS];
	pthread_t server[2] = { 0 }, runs = 0;
	pthread_attr_t attr;
	size_t n;
	int i;

	monitor_open(&crowd, repeats(THREADS), uffd_open(0),
		     UFFDIO_REGISTER_MODE_MISSING);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (n = 0; n < crowd.pages; n++) {
		ck_assert_int_eq(pthread_create(&thread[n], &attr, waits,
						(void *)n), 0);
		if (n != crowd.pages / 3)
			continue;
		while (uffd_waiters(crowd.uffd) < (int)crowd.pages / 3)
			usleep(1000);
		for (i = 0; i < 2; i++)
			server[i] = thread_start(serves, &crowd);
		runs = thread_start(brings_runs, NULL);
	}
	for (n = 0; n < crowd.pages; n++)
		thread_join(thread[n]);
	thread_join(runs);
	monitor_end(&crowd, server, 2);
	test_note("%zu threads, %lu faults served", crowd.pages, crowd.missing);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(in_process, 600),
	UTEST_SLOW(missing_and_protected, 600),
	UTEST_SLOW(other_process, 600),
	UTEST_SLOW(user_mode_only, 600),
	UTEST_SLOW(sigbus, 600),
	UTEST_SLOW(thousands, 1200),
};
UTEST_MAIN("monitor", tests)
