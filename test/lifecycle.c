// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that an open file means its opener's address space and nothing else,
 * for as long as that lives, and that no way to end leaves anything behind.
 */
#include "util.h"

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* What another process gets, while the opener's memory lives: @err. */
static void expect_foreign(int fd, int err)
{
	struct uremap_info info = dev_info(fd);
	char *src = map_filled(1, 1, 1), *dst = map_anon(1);
	struct move_result r;

	ck_assert_uint_eq(info.abi, UREMAP_ABI_VERSION);
	ck_assert_int_eq(try_register(fd, ADDR(src), PAGE, RIGHTS_BOTH), err);
	ck_assert_int_eq(try_unregister(fd, ADDR(src), PAGE, RIGHTS_BOTH), err);
	r = try_move(fd, dst, src, PAGE, 0);
	ck_assert_int_eq(r.ret, -1);
	ck_assert_int_eq(r.err, err);
	/* a shared check: nothing is written */
	ck_assert_uint_eq(r.move, MOVE_UNWRITTEN);
	ck_assert_uint_eq(r.reason, (__u32)MOVE_UNWRITTEN);
	page_check(src, 1, 1);
	ck_assert(!page_populated(dst));
	/* bad arguments come later */
	r = try_move_at(fd, 1, 2, 3, 4);
	ck_assert_int_eq(r.err, err);
}

struct two {
	int fd;
	char *src, *dst;
};

static int child_is_foreign(void *arg)
{
	struct two *t = arg;

	expect_foreign(t->fd, EINVAL);
	/* the addresses that are registered exist here too, by fork */
	ck_assert_int_eq(try_move(t->fd, t->dst, t->src, PAGE, 0).err, EINVAL);
	page_check(t->src, 1, 1);
	page_check_zero(t->dst);
	return 0;
}

/* A child inherits the file, not the right to its own memory by it. */
START_TEST(after_fork)
{
	struct two t = { dev_open_all(), map_filled(2, 1, 1), map_anon(2) };

	child_run(child_is_foreign, &t);
	page_fill(t.src, 1, 1);
	expect_move(t.fd, t.dst, t.src, PAGE, 0);
	page_check(t.dst, 1, 1);
}
END_TEST

/* A child's own file works, while the parent's goes on. */
static int child_opens(void *arg)
{
	struct two *t = arg;
	int fd = dev_open_all();

	page_fill(t->src, 1, 2);
	expect_move(fd, t->dst, t->src, PAGE, 0);
	page_check(t->dst, 1, 2);
	return 0;
}

START_TEST(child_of_its_own)
{
	struct two t = { dev_open_all(), map_filled(2, 1, 1), map_anon(2) };

	child_run(child_opens, &t);
	page_check(t.src, 1, 1);
	page_check_zero(t.dst);
}
END_TEST

/* Sends and receives a file by SCM_RIGHTS. */
static void send_fd(int sock, int fd)
{
	char byte = 0, space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	ck_assert_int_eq(sendmsg(sock, &msg, 0), 1);
}

static int receive_fd(int sock)
{
	char byte, space[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space),
	};
	int fd;

	ck_assert_int_eq(recvmsg(sock, &msg, 0), 1);
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

static int opener_sends(void *arg)
{
	int *sock = arg, fd = dev_open_all();
	char byte;

	send_fd(sock[1], fd);
	/* live until told to go, and still own the file then */
	ck_assert_int_eq(read(sock[1], &byte, 1), 1);
	expect_move(fd, map_anon(1), map_filled(1, 1, 1), PAGE, 0);
	return 0;
}

/* A file passed on is foreign while its opener lives, and dead afterwards. */
START_TEST(passed_on)
{
	int sock[2], fd;
	pid_t pid;

	expect_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = child_start(opener_sends, sock);
	fd = receive_fd(sock[0]);
	expect_foreign(fd, EINVAL);
	ck_assert_int_eq(write(sock[0], "", 1), 1);
	child_join(pid);
	expect_foreign(fd, ESRCH);
	close(fd);
}
END_TEST

static int opener_killed(void *arg)
{
	int *sock = arg;

	send_fd(sock[1], dev_open_all());
	kill(getpid(), SIGKILL);
	return 1;
}

/* The same if the opener was killed. */
START_TEST(opener_gone)
{
	int sock[2], fd;
	pid_t pid;

	expect_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = child_start(opener_killed, sock);
	fd = receive_fd(sock[0]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	expect_foreign(fd, ESRCH);
}
END_TEST

/*
 * execve() gives the opener other memory: its old one is gone.  The program
 * executed is this one, told by its environment to use the file it inherited.
 */
static int opener_execs(void *arg)
{
	char *const argv[] = { (char *)"lifecycle", NULL };
	char env[32];
	char *const envp[] = { env, NULL };
	int fd = dev_open_all();

	(void)arg;
	fcntl(fd, F_SETFD, 0);
	snprintf(env, sizeof(env), "UREMAP_TEST_EXEC=%d", fd);
	execve("/proc/self/exe", argv, envp);
	return 99;
}

static int after_exec(int fd)
{
	struct uremap_info info = { 0 };
	char *src = map_filled(1, 1, 1), *dst = map_anon(1);
	struct move_result r;

	if (ioctl(fd, UREMAP_IOC_INFO, &info))
		return 2;
	if (try_register(fd, ADDR(src), PAGE, RIGHTS_BOTH) != ESRCH)
		return 3;
	if (try_unregister(fd, ADDR(src), PAGE, RIGHTS_BOTH) != ESRCH)
		return 4;
	r = try_move(fd, dst, src, PAGE, 0);
	if (r.err != ESRCH || (__u64)r.move != MOVE_UNWRITTEN)
		return 5;
	if (!page_same(src, 1, 1, NULL, 0))
		return 6;
	fd = dev_open_all();
	r = try_move(fd, dst, src, PAGE, 0);
	if (r.ret || !page_same(dst, 1, 1, NULL, 0))
		return 7;
	return 0;
}

START_TEST(exec)
{
	child_run(opener_execs, NULL);
}
END_TEST

/* Moves a page with a file that another may have opened. */
static int shares_memory(void *arg)
{
	struct two *t = arg;
	struct move_result r = try_move(t->fd, t->dst, t->src, PAGE, 0);

	return r.ret ? 1 : 0;
}

/* Another process that runs in the same memory (vfork's way) may use the file. */
START_TEST(shared_memory)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct two t = { dev_open_all(), map_filled(2, 1, 1), map_anon(2) };
	int status;
	pid_t pid;

	pid = clone(shares_memory, stack + sizeof(stack),
		    CLONE_VM | CLONE_VFORK | SIGCHLD, &t);
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	page_check(t.dst, 1, 1);
}
END_TEST

static void *moves_once(void *arg)
{
	shares_memory(arg);
	return NULL;
}

/* Any thread may use it, and the file outlives the thread that opened it. */
static void *opens(void *arg)
{
	(void)arg;
	return (void *)(long)dev_open_all();
}

START_TEST(threads)
{
	struct two t = { -1, map_filled(2, 1, 1), map_anon(2) };

	t.fd = (long)thread_join(thread_start(opens, NULL));
	thread_join(thread_start(moves_once, &t));
	page_check(t.dst, 1, 1);
}
END_TEST

/* Thousands of times open, register, move, close. */
START_TEST(open_close)
{
	char *a = map_filled(20, 1, 1), *b = map_anon(20), *t;
	int i, fd;

	for (i = 0; i < repeats(4000); i++) {
		fd = dev_open();
		if (i % 3)
			dev_register(fd, NULL, dev_info(fd).va_end, RIGHTS_BOTH);
		if (i % 3 == 1) {
			expect_move(fd, b, a, 20 * PAGE, 0);
			t = a, a = b, b = t;
		}
		close(fd);
	}
	range_check(a, 20, 1, 1);
}
END_TEST

/* As many files at a time as a process may have. */
START_TEST(many_files)
{
	enum { N = 900 };
	static int fd[N];
	char *a = map_filled(1, 1, 1), *b = map_anon(1), *t;
	int i;

	for (i = 0; i < N; i++)
		fd[i] = dev_open_all();
	for (i = 0; i < N; i++) {
		expect_move(fd[i], b, a, PAGE, 0);
		t = a, a = b, b = t;
	}
	for (i = 0; i < N; i++)
		close(fd[i]);
	page_check(a, 1, 1);
}
END_TEST

static void *moves_for_ever(void *arg)
{
	int fd = *(int *)arg;
	char *a = map_filled(1200, 1, 1), *b = map_anon(1200), *t;

	for (;;) {
		try_move(fd, b, a, 1200 * PAGE, 0);
		t = a, a = b, b = t;
	}
	return NULL;
}

static int moves_until_killed(void *arg)
{
	int fd = dev_open_all();

	(void)arg;
	thread_start(moves_for_ever, &fd);
	thread_start(moves_for_ever, &fd);
	moves_for_ever(&fd);
	return 1;
}

/*
 * Killed at random in the middle of moves by several threads, many times.  The
 * kernel's own checks of counters at the end of a process are the oracle, and
 * memory must not get less.
 */
START_TEST(killed)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 100; i++) {
		pid = child_start(moves_until_killed, NULL);
		usleep(rnd_below(40000));
		expect_ok(kill(pid, SIGKILL));
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}
END_TEST

static int exits_during_moves(void *arg)
{
	int fd = dev_open_all();

	(void)arg;
	thread_start(moves_for_ever, &fd);
	thread_start(moves_for_ever, &fd);
	usleep(rnd_below(20000));
	close(fd);
	_exit(0);
}

/* Closed, and the process ended, under the feet of its movers. */
START_TEST(exit_during_moves)
{
	int i;

	for (i = 0; i < 60; i++)
		child_run(exits_during_moves, NULL);
}
END_TEST

static int execs_during_moves(void *arg)
{
	char *const argv[] = { (char *)"lifecycle", NULL };
	char *const envp[] = { (char *)"UREMAP_TEST_EXEC=none", NULL };
	int fd = dev_open_all();

	(void)arg;
	thread_start(moves_for_ever, &fd);
	thread_start(moves_for_ever, &fd);
	usleep(rnd_below(20000));
	execve("/proc/self/exe", argv, envp);
	return 99;
}

/* execve() in one thread while others move. */
START_TEST(exec_during_moves)
{
	int i;

	for (i = 0; i < 40; i++)
		child_run(execs_during_moves, NULL);
}
END_TEST

/* Ranges that were never taken away are given back at close. */
START_TEST(many_ranges_closed)
{
	int fd, round, i;

	for (round = 0; round < 3; round++) {
		fd = dev_open();
		for (i = 0; i < repeats(30000); i++)
			ck_assert_int_eq(try_register(fd, (2 * i + 1) * PAGE,
						      PAGE, RIGHTS_BOTH), 0);
		close(fd);
	}
}
END_TEST

static const struct utest tests[] = {
	UTEST(after_fork),
	UTEST(child_of_its_own),
	UTEST(passed_on),
	UTEST(opener_gone),
	UTEST(exec),
	UTEST(shared_memory),
	UTEST(threads),
	UTEST_SLOW(open_close, 300),
	UTEST(many_files),
	UTEST_SLOW(killed, 600),
	UTEST_SLOW(exit_during_moves, 600),
	UTEST_SLOW(exec_during_moves, 600),
	UTEST_SLOW(many_ranges_closed, 300),
};

int main(int argc, char **argv)
{
	const char *inherited = getenv("UREMAP_TEST_EXEC");

	if (inherited)
		return strcmp(inherited, "none") ? after_exec(atoi(inherited)) : 0;
	return utest_main("lifecycle", tests, ARRAY_SIZE(tests), argc, argv);
}
