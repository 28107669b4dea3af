// SPDX-License-Identifier: GPL-2.0-only
/*
 * Thousands of threads wait, each for a page of its own; a monitor gives each
 * its page by UFFDIO_MOVE, then the same with UFFDIO_COPY.  A lost wake-up is
 * a thread that never ends.  Times go to stderr: they are no result.
 */
#include "prog.h"

#include <poll.h>
#include <time.h>

enum { THREADS = 2000, MONITORS = 2, STACK = 64 << 10 };

static size_t threads = THREADS;
static char *src, *dst;
static int uffd;
static bool by_copy;
static unsigned long woken, woken_right, nanoseconds;

static void *waiter(void *arg)
{
	size_t n = (size_t)arg;

	(void)*(volatile char *)(dst + n * PAGE);
	if (page_letter(dst + n * PAGE) == (char)('A' + n % 26))
		__atomic_add_fetch(&woken_right, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&woken, 1, __ATOMIC_RELAXED);
	return NULL;
}

static unsigned long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

static int give(size_t n)
{
	unsigned long begin = now();
	int err;
	struct uffdio_copy copy = {
		.dst = ADDR(dst + n * PAGE),
		.src = ADDR(src + n * PAGE),
		.len = PAGE,
	};

	if (by_copy)
		err = ioctl(uffd, UFFDIO_COPY, &copy) ? errno : 0;
	else
		err = move_quiet(uffd, dst + n * PAGE, src + n * PAGE, PAGE, 0);
	__atomic_add_fetch(&nanoseconds, now() - begin, __ATOMIC_RELAXED);
	return err;
}

/* Several read from one userfaultfd; each message is one thread's fault. */
static void *monitor(void *arg)
{
	struct pollfd pfd[2] = {
		{ .fd = uffd, .events = POLLIN },
		{ .fd = *(int *)arg, .events = POLLIN },
	};
	struct uffd_msg msg;

	for (;;) {
		need(poll(pfd, 2, -1) > 0);
		if (pfd[1].revents)
			return NULL;
		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		need(msg.event == UFFD_EVENT_PAGEFAULT);
		need(!give((msg.arg.pagefault.address - ADDR(dst)) / PAGE));
	}
}

/* However slow the machine: a wake-up is lost if for long no thread ends. */
static void wait_for_all(void)
{
	unsigned long seen = 0, n;
	int idle = 0;

	while ((n = __atomic_load_n(&woken, __ATOMIC_RELAXED)) < threads) {
		idle = n == seen ? idle + 1 : 0;
		seen = n;
		if (idle > 120) {
			say("%lu of %zu woken, then none", n, threads);
			exit(1);
		}
		sleep(1);
	}
}

static void round_of(bool copy)
{
	static pthread_t waiters[THREADS], monitors[MONITORS];
	pthread_attr_t attr;
	int stop[2];
	size_t n;

	by_copy = copy;
	woken = 0;
	woken_right = 0;
	nanoseconds = 0;
	src = map(threads);
	dst = map(threads);
	fill(src, threads, 'A');
	uffd = uffd_open(0);
	uffd_register(uffd, dst, threads);
	need(!pipe(stop));
	need(!pthread_attr_init(&attr));
	need(!pthread_attr_setstacksize(&attr, STACK));

	/* half of them wait before anybody answers */
	for (n = 0; n < threads; n++) {
		need(!pthread_create(&waiters[n], &attr, waiter, (void *)n));
		if (n != threads / 2)
			continue;
		while (uffd_waiters(uffd) < (int)threads / 2)
			usleep(1000);
		for (size_t m = 0; m < MONITORS; m++)
			need(!pthread_create(&monitors[m], NULL, monitor, stop));
	}
	wait_for_all();
	for (n = 0; n < threads; n++)
		need(!pthread_join(waiters[n], NULL));
	fprintf(stderr, "%s with wake-up: %lu ns\n", copy ? "UFFDIO_COPY" :
		"UFFDIO_MOVE", nanoseconds / threads);
	close(stop[1]);
	for (n = 0; n < MONITORS; n++)
		need(!pthread_join(monitors[n], NULL));
	say("%s: all but %zu woken with their page, %d still wait",
	    copy ? "copy" : "move", threads - woken_right, uffd_waiters(uffd));
}

static void stress(void)
{
	alarm(0);
	/* Thousands take a debug build a quarter of an hour. */
	if (getenv("CK_TIMEOUT_MULTIPLIER"))
		threads /= 8;
	round_of(false);
	round_of(true);
}

const struct scene scenes_stress[] = {
	{ "stress", stress },
	{ NULL, NULL }
};
