// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram -s 3 */
/*
 * Proves that a process may die at any moment of its moves: it ends at once,
 * nothing hangs, nothing of its memory is left, also if its memory is reaped
 * while it still runs (C17, C23, C24; C31).
 */
#include "util_peer.h"
#include "util_state.h"

#include <signal.h>
#include <time.h>
#include <sys/syscall.h>

#ifndef __NR_process_mrelease
#define __NR_process_mrelease	448
#endif

enum { N = 600, WALL_MS = 15000, DEATHS = 60 };

struct victim {
	int fd;
	char *area[2];
	bool huge;
};

static void *moves(void *arg)
{
	struct victim *v = arg;
	int from, n, to;

	for (;;) {
		from = rnd_below(N);
		n = 1 + rnd_below(N - from);
		to = rnd() & 1;
		try_move(v->fd, v->area[to] + from * PAGE,
			 v->area[!to] + from * PAGE, n * PAGE,
			 UREMAP_MOVE_ALLOW_SRC_HOLES | UREMAP_MOVE_UNSHARE);
	}
	return NULL;
}

/* Writers of the mmap lock queue up behind the movers. */
static void *maps(void *arg)
{
	struct victim *v = arg;
	void *p;

	for (;;) {
		p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*(volatile char *)p = 1;
		munmap(p, 4 * PAGE);
		madvise(v->area[rnd() & 1] + rnd_below(N) * PAGE, PAGE,
			MADV_PAGEOUT);
	}
	return NULL;
}

static int lives(struct peer *p, void *arg)
{
	struct victim v = { .huge = rnd() & 1 };
	int i;

	v.fd = dev_open_all();
	for (i = 0; i < 2; i++)
		v.area[i] = v.huge ? map_thp_dst(2) : map_anon(N);
	if (v.huge)
		madvise(v.area[0], 2 * PMD, MADV_HUGEPAGE);
	range_fill(v.area[0], N, 1, 1);
	thread_start(moves, &v);
	thread_start(moves, &v);
	thread_start(maps, &v);
	peer_say(p);
	for (;;)
		pause();
	return 0;
}

static long anon_kb(void)
{
	char buf[4096], *p;

	ck_assert(file_read("/proc/meminfo", buf, sizeof(buf)));
	p = strstr(buf, "AnonPages:");
	return strtol(p + strlen("AnonPages:"), NULL, 10);
}

/* Killed, at times reaped by somebody else at once, as the OOM killer does. */
static void kill_one(bool reap)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int status, pidfd = -1, waited;
	struct peer p;
	pid_t pid;

	peer_start(&p, lives, NULL);
	peer_hear(&p);
	usleep(rnd_below(60000));
	if (reap)
		pidfd = expect_ok(syscall(__NR_pidfd_open, p.pid, 0));
	expect_ok(kill(p.pid, SIGKILL));
	if (reap)
		syscall(__NR_process_mrelease, pidfd, 0);
	for (waited = 0; !(pid = waitpid(p.pid, &status, WNOHANG)); waited++) {
		ck_assert_msg(waited < 60000, "it does not die");
		nanosleep(&pause, NULL);
	}
	ck_assert_int_eq(pid, p.pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(p.in);
	close(p.out);
	if (reap)
		close(pidfd);
}

static void kill_many(bool reap)
{
	uint64_t until = now_ms() + WALL_MS;
	long before;
	int i, tries;

	swap_need();
	before = anon_kb();
	for (i = 0; i < DEATHS && now_ms() < until; i++)
		kill_one(reap);
	test_note("%d killed", i);
	ck_assert_int_gt(i, 0);
	/* counters are per CPU and exact only in time */
	for (tries = 0; tries < 100 && anon_kb() > before + 2048; tries++)
		usleep(50000);
	ck_assert_int_le(anon_kb(), before + 2048);
}

START_TEST(killed)
{
	kill_many(false);
}
END_TEST

START_TEST(killed_and_reaped)
{
	skip_if(!kernel_at_least(5, 15), "no process_mrelease before 5.15");
	kill_many(true);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(killed, 250),
	UTEST_SLOW(killed_and_reaped, 250),
};
UTEST_MAIN("races_kill", tests)
