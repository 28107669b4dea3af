// SPDX-License-Identifier: GPL-2.0-only
/* Threads that wait for a page: who is woken by what, and what they see. */
#include "prog.h"

#include <poll.h>
#include <signal.h>

static void wake(void)
{
	char *src = map_filled(1), *dst = map(1);
	int fd = uffd_open(0);
	struct toucher t;

	uffd_register(fd, dst, 1);
	touch(&t, dst + 100);
	uffd_event(fd, dst);
	say("waiters %d", uffd_waiters(fd));
	move(fd, dst, src, 1, 0);
	say("waiters %d", uffd_waiters(fd));
	touched(&t);
	look("src", src, 1);
	look("dst", dst, 1);
}

static void dontwake(void)
{
	char *src = map_filled(1), *dst = map(1);
	int fd = uffd_open(0);
	struct toucher t;

	uffd_register(fd, dst, 1);
	touch(&t, dst);
	uffd_event(fd, dst);
	move(fd, dst, src, 1, DONTWAKE);
	say("waiters %d", uffd_waiters(fd));
	uffd_wake(fd, dst, 1);
	say("waiters %d", uffd_waiters(fd));
	touched(&t);
}

/* Only those are woken whose page is among the bytes done. */
static void wake_part(void)
{
	char *src = map_filled(6), *dst = map(6);
	int fd = uffd_open(0), n;
	struct toucher t[4];

	fill(dst + 3 * PAGE, 1, 'X');
	uffd_register(fd, dst, 6);
	for (n = 0; n < 4; n++) {
		static const int page[] = { 0, 2, 4, 5 };

		touch(&t[n], dst + page[n] * PAGE);
		uffd_event(fd, dst);
	}
	move(fd, dst, src, 5, 0);
	say("waiters %d", uffd_waiters(fd));
	touched(&t[0]);
	touched(&t[1]);
	move(fd, dst + 3 * PAGE, src + 3 * PAGE, 2, 0);
	say("waiters %d", uffd_waiters(fd));
	move(fd, dst + 4 * PAGE, src + 4 * PAGE, 2, 0);
	say("waiters %d", uffd_waiters(fd));
	touched(&t[2]);
	touched(&t[3]);
	look("src", src, 6);
	look("dst", dst, 6);
}

/* An event that nobody has read yet: its thread is woken all the same. */
static void wake_unread(void)
{
	char *src = map_filled(1), *dst = map(1);
	struct pollfd pfd = { .events = POLLIN };
	int fd = uffd_open(0);
	struct toucher t;

	uffd_register(fd, dst, 1);
	touch(&t, dst);
	pfd.fd = fd;
	need(poll(&pfd, 1, -1) == 1);
	move(fd, dst, src, 1, 0);
	touched(&t);
	say("readable %d, waiters %d", poll(&pfd, 1, 0), uffd_waiters(fd));
}

/* A hole leaves nothing, but its waiter is woken, to fault again. */
static void wake_hole(void)
{
	char *src = map(2), *dst = map(2);
	int fd = uffd_open(0);
	struct toucher t;

	fill(src, 1, 'A');
	uffd_register(fd, dst, 2);
	touch(&t, dst + PAGE);
	uffd_event(fd, dst);
	move(fd, dst, src, 2, HOLES);
	uffd_event(fd, dst);
	look("dst", dst, 2);
	fill(src + PAGE, 1, 'B');
	move(fd, dst + PAGE, src + PAGE, 1, HOLES);
	touched(&t);
	say("waiters %d", uffd_waiters(fd));
}

/* Nobody is woken by an error, EEXIST among them. */
static void wake_error(void)
{
	char *src = map_filled(2), *dst = map(2);
	int fd = uffd_open(0);
	struct toucher t;

	uffd_register(fd, dst, 2);
	touch(&t, dst);
	uffd_event(fd, dst);
	move(fd, dst, src, 1, DONTWAKE);
	move(fd, dst, src + PAGE, 1, 0);
	say("waiters %d", uffd_waiters(fd));
	uffd_wake(fd, dst, 1);
	touched(&t);
}

static void many_waiters(void)
{
	enum { THREADS = 16 };
	char *src = map_filled(1), *dst = map(1);
	struct toucher t[THREADS];
	int fd = uffd_open(0), n;

	uffd_register(fd, dst, 1);
	for (n = 0; n < THREADS; n++) {
		touch(&t[n], dst + n);
		uffd_event(fd, dst);
	}
	say("waiters %d", uffd_waiters(fd));
	move(fd, dst, src, 1, 0);
	say("waiters %d", uffd_waiters(fd));
	for (n = 0; n < THREADS; n++)
		touched(&t[n]);
}

/* The place a page has left is missing again, for whoever watches it. */
static void source_faults(void)
{
	char *src = map_filled(1), *dst = map(1);
	int a = uffd_open(0), b = uffd_open(0);
	struct toucher t;

	uffd_register(a, dst, 1);
	uffd_register(b, src, 1);
	move(a, dst, src, 1, 0);
	touch(&t, src);
	uffd_event(b, src);
	move(a, src, dst, 1, 0);
	move(b, src, dst, 1, 0);
	touched(&t);
	look("src", src, 1);
	look("dst", dst, 1);
}

static int sigbus_uffd;
static char *sigbus_src, *sigbus_dst;

static void on_sigbus(int sig, siginfo_t *info, void *ctx)
{
	size_t page = (ADDR(info->si_addr) - ADDR(sigbus_dst)) / PAGE;

	(void)sig;
	(void)ctx;
	if (move_quiet(sigbus_uffd, sigbus_dst + page * PAGE,
		       sigbus_src + page * PAGE, PAGE, 0))
		_exit(1);
}

/* A SIGBUS handler may move the page itself. */
static void sigbus(void)
{
	struct sigaction sa = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO,
	};
	struct toucher t[4];
	int n;

	sigbus_src = map_filled(5);
	sigbus_dst = map(5);
	sigbus_uffd = uffd_open(UFFD_FEATURE_SIGBUS);
	uffd_register(sigbus_uffd, sigbus_dst, 5);
	need(!sigaction(SIGBUS, &sa, NULL));
	say("this thread saw %c", page_letter(sigbus_dst + 4 * PAGE));
	for (n = 0; n < 4; n++)
		touch(&t[n], sigbus_dst + n * PAGE);
	for (n = 0; n < 4; n++)
		touched(&t[n]);
	look("src", sigbus_src, 5);
	look("dst", sigbus_dst, 5);
}

/* close() ends the registration: whoever waits goes on without a monitor. */
static void close_wakes(void)
{
	char *src = map_filled(2), *dst = map(2);
	int fd = uffd_open(0);
	struct toucher t;

	uffd_register(fd, dst, 2);
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	touch(&t, dst);
	uffd_event(fd, dst);
	close(fd);
	touched(&t);
	look("dst", dst, 2);
}

const struct scene scenes_fault[] = {
	{ "wake", wake },
	{ "dontwake", dontwake },
	{ "wake_part", wake_part },
	{ "wake_unread", wake_unread },
	{ "wake_hole", wake_hole },
	{ "wake_error", wake_error },
	{ "many_waiters", many_waiters },
	{ "source_faults", source_faults },
	{ "sigbus", sigbus },
	{ "close_wakes", close_wakes },
	{ NULL, NULL }
};
