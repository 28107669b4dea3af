// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -s 3 -M zram */
/*
 * Proves that the module comes and goes cleanly: it cannot be unloaded while
 * somebody has the device open or moves, it can at any other time, under load
 * and over and over, and nothing of it stays behind: no device, file or thread,
 * and pages that were moved live on without it.  UREMAP_LIFE=N: load N times.
 */
#include "util_state.h"

#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define KO	"/t/uremap.ko"
#define N	64
#define USERS	3

/* 0 or the errno */
static int try_unload(void)
{
	return syscall(SYS_delete_module, "uremap", O_NONBLOCK) ? errno : 0;
}

static int try_load(void)
{
	int fd = open(KO, O_RDONLY), err;

	skip_if(fd < 0, "no " KO " to load");
	err = syscall(SYS_finit_module, fd, "", 0) ? errno : 0;
	close(fd);
	return err;
}

static void need_module(void)
{
	int err;

	skip_if(access(KO, R_OK), "no " KO " to load");
	skip_if(geteuid(), "modules are root's");
	err = try_load();
	if (err && err != EEXIST)
		ck_abort_msg("loading: %s", strerror(err));
}

/* As long as it takes for those who have the device open to go. */
static void unload(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int err;

	while ((err = try_unload()) == EAGAIN)
		nanosleep(&pause, NULL);
	if (err)
		ck_abort_msg("unloading: %s", strerror(err));
}

static void load(void)
{
	int err = try_load();

	if (err)
		ck_abort_msg("loading: %s", strerror(err));
}

/*
 * A worker of the kernel bears the name of the work queue it is at work for, or
 * was last, after its own: "kworker/u8:1+uremap" and "kworker/u8:1-uremap".  The
 * latter is idle, and says nothing of what there is now.
 */
static bool is_idle_worker(const char *name)
{
	return !strncmp(name, "kworker/", 8) && !strchr(name, '+');
}

/* Is there a kernel thread, or anything, that bears its name? */
static bool thread_left(void)
{
	char path[300], name[32];
	struct dirent *e;
	DIR *d = opendir("/proc");
	bool found = false;

	while (!found && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		found = file_read(path, name, sizeof(name)) &&
			strstr(name, "uremap") && !is_idle_worker(name);
	}
	closedir(d);
	return found;
}

static void check_gone(void)
{
	ck_assert_int_ne(access(DEV_PATH, F_OK), 0);
	ck_assert_int_ne(access("/sys/module/uremap", F_OK), 0);
	ck_assert_int_ne(access("/sys/kernel/debug/uremap", F_OK), 0);
	ck_assert_int_ne(access("/sys/kernel/tracing/events/uremap", F_OK), 0);
	ck_assert(!thread_left());
}

START_TEST(open_device)
{
	int fd, copy;

	need_module();
	fd = dev_open();
	ck_assert_int_eq(try_unload(), EAGAIN);
	copy = dup(fd);
	close(fd);
	ck_assert_int_eq(try_unload(), EAGAIN);
	close(copy);
	ck_assert_int_eq(try_unload(), 0);
	check_gone();
	load();
	close(dev_open());
}
END_TEST

static int hold_device(void *arg)
{
	int fd = dev_open_all();
	char *src = map_filled(N, 1, 0), *dst = map_anon(N);

	for (;;) {
		struct move_result r = try_move(fd, dst, src, N * PAGE, 0);
		char *tmp = src;

		if (r.ret)
			return 1;
		src = dst;
		dst = tmp;
	}
}

/* Whoever moves is killed, and takes the last reference with it. */
START_TEST(killed_user)
{
	int i;

	need_module();
	for (i = 0; i < 20; i++) {
		pid_t pid = child_start(hold_device, NULL);
		const struct timespec pause = { .tv_nsec = 20000000 };

		nanosleep(&pause, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		unload();
		check_gone();
		load();
	}
}
END_TEST

/*
 * Comes as soon as the module does, and is gone again soon: most of the time
 * nobody must have the device open, or it could be unloaded by good luck only.
 */
static int visit(void *arg)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	char *src = map_filled(N, 1, 0), *dst = map_anon(N);
	struct uremap_range all = { .rights = RIGHTS_BOTH };

	for (;;) {
		struct uremap_info info = { 0 };
		struct move_result r;
		char *tmp;
		int fd = open(DEV_PATH, O_RDWR);

		if (fd < 0)
			continue;
		ck_assert_int_eq(ioctl(fd, UREMAP_IOC_INFO, &info), 0);
		all.len = info.va_end;
		ck_assert_int_eq(ioctl(fd, UREMAP_IOC_REGISTER, &all), 0);
		r = try_move(fd, dst, src, N * PAGE, UREMAP_MOVE_UNSHARE);
		if (r.ret)
			ck_abort_msg("a visitor's move: %s, reason %s",
				     strerror(r.err), reason_name(r.reason));
		close(fd);
		tmp = src;
		src = dst;
		dst = tmp;
		range_check(src, N, 1, 0);
		nanosleep(&pause, NULL);
	}
}

START_TEST(under_load)
{
	const char *env = getenv("UREMAP_LIFE");
	int i, status, rounds = env ? atoi(env) : 25;
	pid_t user[USERS];

	need_module();
	for (i = 0; i < USERS; i++)
		user[i] = child_start(visit, NULL);
	for (i = 0; i < rounds; i++) {
		unload();
		load();
	}
	for (i = 0; i < USERS; i++) {
		if (waitpid(user[i], &status, WNOHANG))
			ck_abort_msg("a visitor failed");
		kill(user[i], SIGKILL);
		waitpid(user[i], NULL, 0);
	}
	test_note("loaded %d times", rounds);
	unload();
	check_gone();
	load();
}
END_TEST

/*
 * What was moved is ordinary memory, also to those who reclaim it: a page that
 * somebody still has a reference to cannot be swapped out.
 */
START_TEST(pages_live_on)
{
	char *src, *dst;
	int fd;

	need_module();
	swap_need();
	src = map_filled(N, 1, 0);
	dst = map_anon(N);
	fd = dev_open_all();
	expect_move(fd, dst, src, N * PAGE, 0);
	munmap(src, N * PAGE);
	close(fd);
	unload();
	range_check(dst, N, 1, 0);
	range_fill(dst, N, 1, 1);
	swap_out(dst, N);
	range_check(dst, N, 1, 1);
	check_gone();
	load();
}
END_TEST

/* Readers of the statistics, and a tracer, neither keep it nor come to harm. */
START_TEST(watched)
{
	static const char on[] = "/sys/kernel/tracing/events/uremap/enable";
	char buf[64];
	int fd, err;

	need_module();
	fd = open("/sys/kernel/debug/uremap/stats", O_RDONLY);
	skip_if(fd < 0, "no debugfs");
	ck_assert_int_gt(read(fd, buf, 10), 0);
	file_write(on, "1");
	err = try_unload();
	if (err == EAGAIN) {
		file_write(on, "0");
		err = try_unload();
	}
	/* On some kernels the open file keeps it after all. */
	if (err == EAGAIN) {
		test_note("an open statistics file keeps the module");
		close(fd);
		unload();
	} else {
		ck_assert_int_eq(err, 0);
		ck_assert_int_le(pread(fd, buf, 10, 0), 0);
		close(fd);
	}
	check_gone();
	load();
}
END_TEST

START_TEST(twice)
{
	need_module();
	ck_assert_int_eq(try_load(), EEXIST);
}
END_TEST

static const struct utest tests[] = {
	UTEST(open_device),
	UTEST_SLOW(killed_user, 600),
	UTEST_SLOW(under_load, 3600),
	UTEST(pages_live_on),
	UTEST(watched),
	UTEST(twice),
};
UTEST_MAIN("life", tests)
