// SPDX-License-Identifier: GPL-2.0-only
/* Descriptors that were duplicated, sent, inherited or closed; threads. */
#include "prog.h"

#include <signal.h>
#include <sys/socket.h>

static int join(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid);
	return status;
}

static void duplicated(void)
{
	char *src = map_filled(4), *dst = map(4);
	int fd = uffd_open(0), other = dup(fd);

	uffd_register(other, dst, 4);
	move(other, dst, src, 1, 0);
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	close(fd);
	move(fd, dst + 2 * PAGE, src + 2 * PAGE, 1, 0);
	move(other, dst + 2 * PAGE, src + 2 * PAGE, 1, 0);
	need(dup2(other, 300) == 300);
	close(other);
	move(300, dst + 3 * PAGE, src + 3 * PAGE, 1, 0);
	look("dst", dst, 4);
	close(300);
	move(300, dst, src, 1, 0);
}

/* The same number, another userfaultfd, another range. */
static void number_reused(void)
{
	char *src = map_filled(4), *a = map(2), *b = map(2);
	int fd = uffd_open(0), again;

	uffd_register(fd, a, 2);
	move(fd, a, src, 1, 0);
	close(fd);
	again = uffd_open(0);
	say("same number: %d", again == fd);
	move(again, a + PAGE, src + PAGE, 1, 0);
	uffd_register(again, b, 2);
	move(again, b, src + PAGE, 1, 0);
	close(again);
	need(open("/dev/null", O_RDONLY) == fd);
	move(fd, b + PAGE, src + 2 * PAGE, 1, 0);
	look("a", a, 2);
	look("b", b, 2);
}

static void several(void)
{
	enum { N = 5 };
	char *src = map_filled(N), *dst[N];
	int fd[N], i, k;

	for (i = 0; i < N; i++) {
		fd[i] = uffd_open(0);
		dst[i] = map(1);
		uffd_register(fd[i], dst[i], 1);
	}
	for (i = 0; i < N; i++) {
		for (k = 0; k < N; k++)
			if (k != i && move_quiet(fd[k], dst[i], src + i * PAGE,
						 PAGE, 0) != EINVAL)
				say("%d moved for %d", k, i);
		move(fd[i], dst[i], src + i * PAGE, 1, 0);
		look("dst", dst[i], 1);
	}
}

static void send_fd(int sock, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} ctl = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &ctl,
		.msg_controllen = sizeof(ctl),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	need(sendmsg(sock, &msg, 0) == 1);
}

static int receive_fd(int sock)
{
	char space[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space),
	};
	int fd;

	need(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1);
	need(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

/* Over a socket: to itself, which works, and from another process, not. */
static void sent(void)
{
	char *src = map_filled(2), *dst = map(2);
	int fd = uffd_open(0), sock[2], other;
	pid_t pid;

	need(!socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	uffd_register(fd, dst, 2);
	send_fd(sock[0], fd);
	close(fd);
	other = receive_fd(sock[1]);
	move(other, dst, src, 1, 0);
	look("dst", dst, 2);

	pid = fork();
	need(pid >= 0);
	if (!pid) {
		fd = uffd_open(0);
		uffd_register(fd, dst, 2);
		send_fd(sock[0], fd);
		/* stay until it has been tried */
		(void)receive_fd(sock[0]);
		exit(0);
	}
	fd = receive_fd(sock[1]);
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	send_fd(sock[1], fd);
	need(!join(pid));
	look("dst", dst, 2);
}

/*
 * A child has other memory at the same addresses: the parent's userfaultfd is
 * not for it, its own is.
 */
static void inherited(void)
{
	char *src = map_filled(4), *dst = map(4);
	int fd = uffd_open(0), own;
	pid_t pid;

	uffd_register(fd, dst, 4);
	move(fd, dst, src, 1, 0);
	pid = fork();
	need(pid >= 0);
	if (!pid) {
		say("child:");
		move(fd, dst + PAGE, src + PAGE, 1, 0);
		move_raw(fd, 1, 1, 1, ~0ULL);
		own = uffd_open(0);
		uffd_register(own, dst, 4);
		fill(src, 4, 'K');
		move(own, dst + PAGE, src + PAGE, 1, 0);
		look("src", src, 4);
		look("dst", dst, 4);
		pid = fork();
		need(pid >= 0);
		if (!pid) {
			say("grandchild:");
			move(own, dst + 2 * PAGE, src + 2 * PAGE, 1, 0);
			own = uffd_open(0);
			uffd_register(own, dst, 4);
			fill(src, 4, 'T');
			move(own, dst + 2 * PAGE, src + 2 * PAGE, 1, 0);
			look("dst", dst, 4);
			exit(0);
		}
		need(!join(pid));
		exit(0);
	}
	need(!join(pid));
	say("parent:");
	fill(src, 4, 'P');
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	look("src", src, 4);
	look("dst", dst, 4);
}

/* The other way to get one, where there is the device. */
static void from_device(void)
{
	char *src = map_filled(1), *dst = map(1);
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd = -1;
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MOVE,
	};

	if (dev >= 0)
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC);
	if (fd < 0)
		fd = uffd_new();
	need(!ioctl(fd, UFFDIO_API, &api));
	uffd_register(fd, dst, 1);
	move(fd, dst, src, 1, 0);
	look("dst", dst, 1);
}

/* Everything closed, as a daemon does; a new userfaultfd must do. */
static void daemon_closes(void)
{
	char *src = map_filled(2), *dst = map(2);
	int fd = uffd_open(0), n;

	uffd_register(fd, dst, 2);
	move(fd, dst, src, 1, 0);
	for (n = 3; n < 1024; n++)
		close(n);
	/* all of these numbers are something else now */
	for (n = 0; n < 1000; n++)
		(void)!open("/dev/null", O_RDONLY);
	close(3);
	dst = map(2);
	fd = uffd_open(0);
	uffd_register(fd, dst, 2);
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	look("dst", dst, 2);
}

/* A program that starts another, here itself: all begins from the start. */
static void executed(void)
{
	char *src = map_filled(1), *dst = map(1), line[128];
	int fd = uffd_open(0), out[2];
	pid_t pid;
	FILE *f;

	uffd_register(fd, dst, 1);
	move(fd, dst, src, 1, 0);
	/* kept open, but of no use to another program */
	need(!fcntl(fd, F_SETFD, 0) && !pipe2(out, O_CLOEXEC));
	pid = vfork();
	need(pid >= 0);
	if (!pid) {
		dup2(out[1], STDOUT_FILENO);
		execl("/proc/self/exe", "preload_prog", "no_feature", NULL);
		_exit(1);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	need(f);
	while (fgets(line, sizeof(line), f))
		printf("  of the other: %s", line);
	say("ended: %#x", join(pid));
	move(fd, dst, src, 1, 0);
}

/* A child by vfork() is of the same memory, with descriptors of its own. */
static void borrowed(void)
{
	struct uffdio_move m = { .len = PAGE };
	char *src = map_filled(3), *dst = map(3);
	int fd = uffd_open(0);
	volatile int ret = -1;
	pid_t pid;

	uffd_register(fd, dst, 3);
	m.dst = ADDR(dst);
	m.src = ADDR(src);
	pid = vfork();
	need(pid >= 0);
	if (!pid) {
		ret = ioctl(fd, UFFDIO_MOVE, &m);
		_exit(0);
	}
	say("ended: %#x, the child's move: %d, %lld", join(pid), ret,
	    (long long)m.move);
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	pid = vfork();
	need(pid >= 0);
	if (!pid) {
		m.dst += 2 * PAGE;
		m.src += 2 * PAGE;
		/* all but the one */
		for (int n = 3; n < 1024; n++)
			if (n != fd)
				close(n);
		ret = ioctl(fd, UFFDIO_MOVE, &m);
		_exit(0);
	}
	say("ended: %#x, the child's move: %d, %lld", join(pid), ret,
	    (long long)m.move);
	look("dst", dst, 3);
	move(fd, dst, src, 1, HOLES);
}

static struct uffdio_move handler_move;
static int handler_uffd, handler_errno;

static void on_signal(int sig)
{
	(void)sig;
	errno = 0;
	if (ioctl(handler_uffd, UFFDIO_MOVE, &handler_move))
		handler_errno = errno;
	errno = 77;
}

/* How many of two pages hold what the handler moves */
static int places(char *two)
{
	unsigned char there[2];
	int n, sum = 0;

	need(!mincore(two, 2 * PAGE, there));
	for (n = 0; n < 2; n++)
		sum += there[n] && page_letter(two + n * PAGE) == 'A';
	return sum;
}

/* A handler that moves, also when it interrupts another move of its thread. */
static void in_handler(void)
{
	char *src = map_filled(2), *dst = map(2);
	char *a = map(64), *b = map(64);
	int n;

	fill(a, 64, 'A');
	need(signal(SIGALRM, on_signal) != SIG_ERR);
	handler_uffd = uffd_open(0);
	uffd_register(handler_uffd, dst, 2);
	uffd_register(handler_uffd, a, 64);
	uffd_register(handler_uffd, b, 64);
	handler_move.dst = ADDR(dst);
	handler_move.src = ADDR(src);
	handler_move.len = PAGE;
	raise(SIGALRM);
	say("in the handler: %d, %lld", handler_errno,
	    (long long)handler_move.move);
	look("dst", dst, 2);
	/* from now on there and back, and most of them interrupted */
	ualarm(5000, 5000);
	for (n = 0; n < 400; n++) {
		if (move_quiet(handler_uffd, n % 2 ? a : b, n % 2 ? b : a,
			       64 * PAGE, 0))
			say("move %d failed", n);
		handler_move.dst = ADDR(n % 2 ? dst : dst + PAGE);
		handler_move.src = ADDR(n % 2 ? dst + PAGE : dst);
	}
	ualarm(0, 0);
	look("all", a, 64);
	say("the page is at %d place", places(dst));
}

enum { MOVERS = 8, EACH = 64 };
static char *threads_src, *threads_dst;
static int threads_uffd;

static void *mover(void *arg)
{
	size_t n = (size_t)arg, bad = 0;

	for (; n < MOVERS * EACH; n += MOVERS)
		bad += !!move_quiet(threads_uffd, threads_dst + n * PAGE,
				    threads_src + n * PAGE, PAGE, 0);
	return (void *)bad;
}

/* The first moves of a process, from many threads at once. */
static void threads(void)
{
	pthread_t t[MOVERS];
	size_t n, bad = 0;
	void *ret;

	threads_src = map(MOVERS * EACH);
	threads_dst = map(MOVERS * EACH);
	fill(threads_src, MOVERS * EACH, 'A');
	threads_uffd = uffd_open(0);
	uffd_register(threads_uffd, threads_dst, MOVERS * EACH);
	for (n = 0; n < MOVERS; n++)
		need(!pthread_create(&t[n], NULL, mover, (void *)n));
	for (n = 0; n < MOVERS; n++) {
		need(!pthread_join(t[n], &ret));
		bad += (size_t)ret;
	}
	say("%zu moves failed", bad);
	for (n = bad = 0; n < MOVERS * EACH; n++)
		bad += page_letter(threads_dst + n * PAGE) != (char)('A' + n % 26);
	say("%zu pages wrong", bad);
}

const struct scene scenes_process[] = {
	{ "duplicated", duplicated },
	{ "number_reused", number_reused },
	{ "several", several },
	{ "sent", sent },
	{ "inherited", inherited },
	{ "from_device", from_device },
	{ "daemon_closes", daemon_closes },
	{ "executed", executed },
	{ "borrowed", borrowed },
	{ "in_handler", in_handler },
	{ "threads", threads },
	{ NULL, NULL }
};
