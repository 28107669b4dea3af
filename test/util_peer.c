// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process that takes turns with the test, and pages that lie still; see
 * util_peer.h.
 */
#include "util_peer.h"

#include <sys/prctl.h>
#include <signal.h>
#include <time.h>

void peer_start(struct peer *p, int (*fn)(struct peer *p, void *arg), void *arg)
{
	int up[2], down[2];

	expect_ok(pipe2(up, O_CLOEXEC));
	expect_ok(pipe2(down, O_CLOEXEC));
	fflush(stdout);
	p->pid = expect_ok(fork());
	p->in = p->pid ? up[0] : down[0];
	p->out = p->pid ? down[1] : up[1];
	close(p->pid ? up[1] : down[1]);
	close(p->pid ? down[0] : up[0]);
	if (p->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	exit(fn(p, arg));
}

void peer_say(struct peer *p)
{
	char c = 0;

	expect_ok(write(p->out, &c, 1));
}

void peer_hear(struct peer *p)
{
	char c;

	if (read(p->in, &c, 1) != 1)
		ck_abort_msg("the other process went away");
}

void peer_turn(struct peer *p)
{
	peer_say(p);
	peer_hear(p);
}

void peer_end(struct peer *p)
{
	/* the child may have ended already */
	signal(SIGPIPE, SIG_IGN);
	if (write(p->out, "", 1) < 0 && errno != EPIPE)
		ck_abort_msg("pipe: %s", strerror(errno));
	child_join(p->pid);
	close(p->in);
	close(p->out);
}

void lru_settle(void)
{
	static char *spare;

	if (!spare)
		spare = map_anon(1);
	/* Starts with draining this CPU's lists, whatever it is told to do */
	madvise(spare, PAGE, MADV_COLD);
}

void lru_settle_all(void)
{
	ck_assert_int_eq(file_write("/proc/sys/vm/compact_memory", "1"), 0);
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}
