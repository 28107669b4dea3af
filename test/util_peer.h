/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A second process that takes turns with the test, and pages that lie still;
 * see util_peer.c.
 */
#ifndef UREMAP_TEST_UTIL_PEER_H
#define UREMAP_TEST_UTIL_PEER_H

#include "util.h"

struct peer {
	pid_t pid;			/* of the child; 0 in the child */
	int in, out;
};

/* Forks a child that runs @fn and exits with what it returns. */
void peer_start(struct peer *p, int (*fn)(struct peer *p, void *arg), void *arg);
/* Either side: the other may go on; waits until one may go on oneself. */
void peer_say(struct peer *p);
void peer_hear(struct peer *p);
/* One turn of the child: it goes on, and the test when it says so. */
void peer_turn(struct peer *p);
/* The last turn: waits for the child's end, which must be a good one. */
void peer_end(struct peer *p);

/*
 * Takes this CPU's new pages out of the per-CPU lists that hold a reference of
 * each, so that what a kernel decides by the reference count is exact.  Only
 * for a test that stays on one CPU.
 */
void lru_settle(void);
/* The same for all CPUs; pages may migrate by it. */
void lru_settle_all(void);

/* For the deadlines of stress tests, which are bounded by rounds as well. */
uint64_t now_ms(void);

#endif /* UREMAP_TEST_UTIL_PEER_H */
