// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page for each of many threads that wait for one in a userfaultfd, one call
 * a page: what it costs who brings them, waking included, and what it would
 * without.  The threads share its CPU and get it when all is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/uremap.h>
#include <linux/userfaultfd.h>

#include "bench.h"

#define WAITERS		1024
#define STACK		(64 << 10)

struct native_move {		/* struct uffdio_move of Linux 6.8 */
	__u64 dst, src, len, mode;
	__s64 move;
};

#define NATIVE_MOVE	_IOWR(UFFDIO, 0x05, struct native_move)

static int uffd, dev;
static char *src, *dst;

/* 0 or -1; the mode that does not wake is 1 for all of them */
static int bring_copy(size_t at, __u64 mode)
{
	struct uffdio_copy c = {
		.dst = (uintptr_t)dst + at, .src = (uintptr_t)src + at,
		.len = PAGE, .mode = mode,
	};

	return ioctl(uffd, UFFDIO_COPY, &c);
}

static int bring_native(size_t at, __u64 mode)
{
	struct native_move m = {
		.dst = (uintptr_t)dst + at, .src = (uintptr_t)src + at,
		.len = PAGE, .mode = mode,
	};

	return ioctl(uffd, NATIVE_MOVE, &m);
}

static int bring_uremap(size_t at, __u64 mode)
{
	struct uremap_move m = {
		.dst = (uintptr_t)dst + at, .src = (uintptr_t)src + at,
		.len = PAGE, .mode = mode,
	};

	return ioctl(dev, UREMAP_IOC_MOVE, &m);
}

/* As uremap-run does it */
static int bring_instead(size_t at, __u64 mode)
{
	struct native_move m = {
		.dst = (uintptr_t)dst + at, .src = (uintptr_t)src + at,
		.len = PAGE, .mode = mode,
	};
	struct uremap_uffd_move instead = { .uffd = uffd, .arg = (uintptr_t)&m };

	return ioctl(dev, UREMAP_IOC_UFFD_MOVE, &instead);
}

static const struct way {
	const char *name;
	int (*bring)(size_t at, __u64 mode);
} ways[] = {
	{ "uremap_move", bring_uremap },
	{ "uremap_uffd_move", bring_instead },
	{ "uffd_move", bring_native },
	{ "uffd_copy", bring_copy },
};

static void *waiter(void *page)
{
	(void)*(volatile char *)page;
	return NULL;
}

static unsigned int waiting(void)
{
	char path[64], line[64];
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", uffd);
	f = fopen(path, "r");
	if (!f)
		die("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f))
		sscanf(line, "total: %u", &n);
	fclose(f);
	return n;
}

static char *map(void)
{
	char *p = mmap(NULL, WAITERS * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || madvise(p, WAITERS * PAGE, MADV_NOHUGEPAGE))
		die("no memory");
	return p;
}

/* A userfaultfd that watches dst, attached to a device of its own */
static void watch(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)dst, WAITERS * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uremap_attach attach = { 0 };

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("userfaultfd: %s", strerror(errno));
	dev = uremap_open();
	attach.uffd = uffd;
	if (dev < 0 || ioctl(dev, UREMAP_IOC_ATTACH, &attach))
		die("UREMAP_IOC_ATTACH: %s", strerror(errno));
}

/* Nobody who is woken gets the CPU before we sleep. */
static void go_first(bool first)
{
	struct sched_param param = { .sched_priority = first };

	if (sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &param))
		die("sched_setscheduler: %s", strerror(errno));
}

static double once(const struct way *way, bool wake)
{
	static pthread_t thread[WAITERS];
	struct uffdio_range all = { 0 };
	pthread_attr_t attr;
	uint64_t t;

	src = map();
	dst = map();
	memset(src, 1, WAITERS * PAGE);
	watch();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	for (size_t i = 0; i < WAITERS; i++)
		if (pthread_create(&thread[i], &attr, waiter, dst + i * PAGE))
			die("thread %zu: no", i);
	while (waiting() < WAITERS)
		usleep(1000);
	go_first(true);
	t = clock_now();
	for (size_t i = 0; i < WAITERS; i++)
		if (way->bring(i * PAGE, !wake))
			die("%s: %s", way->name, strerror(errno));
	t = clock_now() - t;
	if (waiting() != (wake ? 0 : WAITERS))
		die("%s: %u threads wait", way->name, waiting());
	go_first(false);
	all.start = (uintptr_t)dst;
	all.len = WAITERS * PAGE;
	ioctl(uffd, UFFDIO_WAKE, &all);
	for (size_t i = 0; i < WAITERS; i++)
		pthread_join(thread[i], NULL);
	close(dev);
	close(uffd);
	munmap(src, WAITERS * PAGE);
	munmap(dst, WAITERS * PAGE);
	return t * clock_unit() / WAITERS;
}

static bool native(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = 1 << 16 };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	bool there = fd >= 0 && !ioctl(fd, UFFDIO_API, &api);

	close(fd);
	return there;
}

void wake(unsigned int reps)
{
	double cost[MAX_REPS], none[MAX_REPS] = { 0 };

	for (size_t i = 0; i < 2 * sizeof(ways) / sizeof(ways[0]); i++) {
		const struct way *way = &ways[i / 2];
		bool wakes = i % 2;

		if (way->bring == bring_native && !native())
			continue;
		once(way, wakes);
		for (unsigned int j = 0; j < reps; j++)
			cost[j] = once(way, wakes);
		result_print(way->name, "4k", "seq", wakes ? "waking" : "waiting", 1,
			     result_of(cost, none, reps), WAITERS);
	}
}
