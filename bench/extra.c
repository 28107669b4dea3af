// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measurements that are not a pass over pages alone: holes, growing numbers of
 * registered ranges and of mappings, and two movers at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/uremap.h>

#include "bench.h"

/* Here, nothing else is. */
#define FAR	((char *)0x200000000000UL)
#define NEARER	((char *)0x010000000000UL)

/* Pages that do not touch: half of them below what moves, half of them above. */
static char *apart(unsigned int i)
{
	return (i % 2 ? FAR : NEARER) + i * 2 * PAGE;
}

static void *map_at(void *at, size_t size, int prot)
{
	void *p = mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		       (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	if (p == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	return p;
}

static unsigned long status_kib(const char *what)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	unsigned long n = 0;

	if (!f)
		die("/proc/self/status: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, what, strlen(what)))
			n = strtoul(line + strlen(what) + 1, NULL, 10);
	}
	fclose(f);
	return n;
}

/*
 * A gibibyte of nothing: how much work is it, and is a page table made?
 * Printed is what all of it costs, not a page.
 */
static void holes(unsigned int reps)
{
	int fd = uremap_open();
	char *src = map_at(FAR, GIB, PROT_READ | PROT_WRITE);
	char *dst = map_at(FAR + 2 * GIB, GIB, PROT_READ | PROT_WRITE);

	for (unsigned int i = 0; i <= reps; i++) {
		struct uremap_move m = {
			.dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = GIB,
			.mode = UREMAP_MOVE_ALLOW_SRC_HOLES,
		};
		unsigned long before = status_kib("VmPTE:");
		uint64_t t;
		double cost;

		if (i)
			profile_begin();
		t = clock_now();
		if (ioctl(fd, UREMAP_IOC_MOVE, &m) || m.holes != GIB)
			die("MOVE: %s", strerror(errno));
		cost = (clock_now() - t) * clock_unit();
		if (i)
			profile_end();
		if (status_kib("VmPTE:") != before)
			die("%lu KiB of page tables were made for nothing",
			    status_kib("VmPTE:") - before);
		if (i)
			result_print("uremap_move", "holes", "seq", "alone", GIB / PAGE,
				     (struct result){ cost, cost, cost, 0, -1 }, 1);
	}
	munmap(src, GIB);
	munmap(dst, GIB);
	close(fd);
}

/* Single pages moved with ever more ranges registered, that do not merge. */
static void ranges(unsigned int reps)
{
	static const unsigned int numbers[] = { 1, 10, 100, 1000, 10000, 100000 };
	struct uremap_range own = { .rights = UREMAP_RANGE_SRC | UREMAP_RANGE_DST };
	struct uremap_info info = { 0 };
	unsigned int have = 0;
	char env[32];
	int fd = open("/dev/uremap", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UREMAP_IOC_INFO, &info))
		die("/dev/uremap: %s", strerror(errno));
	own.start = (uintptr_t)SRC_BASE;
	own.len = GIB;
	if (ioctl(fd, UREMAP_IOC_REGISTER, &own))
		die("REGISTER: %s", strerror(errno));
	op_use_device(fd);
	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct pass p = {
			.op = op_find("uremap_move"), .chunk = 1, .pages = 1024,
		};

		/* half of them below what moves, half of them above */
		for (; have < numbers[i] && have < info.max_ranges - 1; have++) {
			struct uremap_range r = own;

			r.len = PAGE;
			r.start = (uintptr_t)apart(have);
			if (ioctl(fd, UREMAP_IOC_REGISTER, &r))
				die("REGISTER: %s", strerror(errno));
		}
		sprintf(env, "ranges=%u", have);
		result_print("uremap_move", "4k", "seq", env, 1, pass_run(&p, reps), p.pages);
	}
	op_use_device(-1);
	close(fd);
}

/* Single pages moved among ever more mappings. */
static void vmas(unsigned int reps)
{
	static const unsigned int numbers[] = { 1, 10, 100, 1000, 10000, 60000 };
	static const char *const names[] = { "uremap_move", "uffd_move", "mremap_du" };
	unsigned int have = 0;
	char env[32];

	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		for (; have < numbers[i]; have++)
			map_at(apart(have), PAGE, PROT_READ);
		for (unsigned int j = 0; j < 3; j++) {
			struct pass p = {
				.op = op_find(names[j]), .chunk = 1, .pages = 1024,
			};

			if (p.op->there && !p.op->there())
				continue;
			sprintf(env, "vmas=%u", have);
			result_print(names[j], "4k", "seq", env, 1, pass_run(&p, reps), p.pages);
		}
	}
	for (unsigned int i = 0; i < have; i++)
		munmap(apart(i), PAGE);
}

/* What the two movers share, also when they are processes. */
static struct meeting {
	atomic_uint ready;
	atomic_bool go;
	int done[2], over[2];	/* pipes: has moved; may go on */
} *meeting;

static struct pass mover_pass[2];

/* PAUSE: under icount, it gives the other CPU its turn. */
static void mover(unsigned int i)
{
	clock_pin(i);
	atomic_fetch_add(&meeting->ready, 1);
	while (!atomic_load(&meeting->go))
		__builtin_ia32_pause();
	mover_pass[i].op->run(&mover_pass[i]);
}

static void sleep_until(int pipe)
{
	char c;

	if (read(pipe, &c, 1) != 1)
		die("read: %s", strerror(errno));
}

static void release(int pipe)
{
	if (write(pipe, "", 1) != 1)
		die("write: %s", strerror(errno));
}

static void *mover_second(void *unused)
{
	mover(1);
	release(meeting->done[1]);
	return unused;
}

/* The second mover; returns once it is ready. */
static pid_t mover_start(bool process, pthread_t *thread)
{
	pid_t pid = 0;

	meeting->ready = 0;
	meeting->go = false;
	if (process) {
		pid = fork();
		if (pid < 0)
			die("fork: %s", strerror(errno));
		if (!pid) {
			op_use_device(uremap_open());
			pass_begin(&mover_pass[1]);
			mover_second(NULL);
			sleep_until(meeting->over[0]);
			pass_end(&mover_pass[1]);
			_exit(0);
		}
	} else {
		pass_begin(&mover_pass[1]);
		if (pthread_create(thread, NULL, mover_second, NULL))
			die("no second thread");
	}
	while (!atomic_load(&meeting->ready))
		__builtin_ia32_pause();
	return pid;
}

/*
 * Both CPUs' instructions for a page, when each moves an area of its own.  Who
 * is ready first sleeps, which costs nothing while the other one runs.
 */
static double movers_once(bool process, unsigned long *ipis)
{
	pthread_t thread;
	double cost;
	uint64_t t;
	pid_t pid;
	int status = 0;

	pid = mover_start(process, &thread);
	if (process)
		op_use_device(uremap_open());
	pass_begin(&mover_pass[0]);
	*ipis = clock_ipis();
	t = clock_now();
	atomic_store(&meeting->go, true);
	mover(0);
	sleep_until(meeting->done[0]);
	cost = (clock_now() - t) * clock_unit();
	*ipis = clock_ipis() - *ipis;
	pass_end(&mover_pass[0]);
	if (!process) {
		pthread_join(thread, NULL);
		pass_end(&mover_pass[1]);
	} else {
		release(meeting->over[1]);
		if (waitpid(pid, &status, 0) != pid || status)
			die("the other mover failed");
	}
	return cost / (2 * mover_pass[0].pages);
}

static void movers(unsigned int reps)
{
	static const unsigned int chunks[] = { 1, 64, 512 };
	static const char *const names[] = { "uremap_move", "uffd_move" };
	double cost[MAX_REPS], ipis[MAX_REPS];
	unsigned long n;

	meeting = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (meeting == MAP_FAILED || pipe(meeting->done) ||
	    pipe(meeting->over))
		die("no memory or pipe: %s", strerror(errno));
	mem_want(FOLIO_4K);
	for (unsigned int i = 0; i < 12; i++) {
		bool process = i % 2;
		const struct op *op = op_find(names[i / 2 % 2]);
		unsigned int chunk = chunks[i / 4];

		/* a userfaultfd is its creator's, a forked one is of no use */
		if ((process && op->prepare) || (op->there && !op->there()))
			continue;
		for (unsigned int j = 0; j < 2; j++)
			mover_pass[j] = (struct pass){
				.op = op, .chunk = chunk, .pages = 4096, .offset = j * GIB,
			};
		movers_once(process, &n);
		for (unsigned int j = 0; j < reps; j++) {
			cost[j] = movers_once(process, &n);
			ipis[j] = (double)n / 8192;
		}
		result_print(op->name, "4k", "seq", process ? "2 processes" : "2 threads",
			     chunk, result_of(cost, ipis, reps), 8192);
	}
	op_use_device(-1);
}

const struct extra extras[] = {
	{ "holes", holes },
	{ "ranges", ranges },
	{ "vmas", vmas },
	{ "movers", movers },
	{ "storm", storm },
	{ "wake", wake },
};

const unsigned int nextras = sizeof(extras) / sizeof(extras[0]);
