// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clocks and counters: the time-stamp counter, which counts instructions in
 * QEMU under -icount; TLB shootdowns, which /proc/interrupts counts; TLB
 * flushes, which a tracepoint counts; and the second thread they go to.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define TLB_FLUSH	"/sys/kernel/tracing/events/tlb/tlb_flush/"

static double unit = 1;
static atomic_bool busy, quit;
static atomic_ulong turns;
static pthread_t busy_thread;

void clock_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot run on CPU %d: %s", cpu, strerror(errno));
}

static uint64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

void clock_init(bool wall)
{
	uint64_t ticks, ns;

	clock_pin(0);
	if (!wall)
		return;
	ns = monotonic();
	ticks = clock_now();
	usleep(100000);
	ticks = clock_now() - ticks;
	ns = monotonic() - ns;
	unit = (double)ns / ticks;
}

double clock_unit(void)
{
	return unit;
}

/* All numbers of the TLB line of /proc/interrupts. */
unsigned long clock_ipis(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	unsigned long sum = 0;
	char *line = NULL, *s;
	size_t size = 0;

	if (!f)
		die("/proc/interrupts: %s", strerror(errno));
	while (getline(&line, &size, f) > 0) {
		s = strstr(line, "TLB:");
		if (!s)
			continue;
		for (s += 4; ; ) {
			char *end;
			unsigned long n = strtoul(s, &end, 10);

			if (end == s)
				break;
			sum += n;
			s = end;
		}
	}
	free(line);
	fclose(f);
	return sum;
}

/* PAUSE: under icount, it gives the other CPU its turn. */
static void *busy_main(void *unused)
{
	clock_pin(1);
	while (!atomic_load_explicit(&quit, memory_order_relaxed)) {
		__builtin_ia32_pause();
		atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed);
	}
	return unused;
}

void clock_busy_start(void)
{
	quit = false;
	busy = true;
	if (pthread_create(&busy_thread, NULL, busy_main, NULL))
		die("no second thread");
}

void clock_busy_stop(void)
{
	quit = true;
	busy = false;
	pthread_join(busy_thread, NULL);
}

/* Wait until the second thread is really running. */
void clock_sync(void)
{
	unsigned long seen = turns;

	while (busy && turns < seen + 100)
		__builtin_ia32_pause();
}

bool clock_flushes_start(void)
{
	return try_write_file(TLB_FLUSH "trigger", "hist:keys=reason");
}

/*
 * Local and remote shootdowns as their initiator counts them.  The tracepoint
 * fires on the receiving CPU, too, with reason "remote shootdown" (1); what is
 * asked here is how often somebody wanted a flush.
 */
unsigned long clock_flushes_stop(void)
{
	FILE *f = fopen(TLB_FLUSH "hist", "r");
	unsigned long sum = 0, reason, hits;
	char *line = NULL;
	size_t size = 0;

	if (!f)
		die(TLB_FLUSH "hist: %s", strerror(errno));
	while (getline(&line, &size, f) > 0) {
		if (sscanf(line, "{ reason: %lu } hitcount: %lu", &reason, &hits) == 2 &&
		    reason >= 2)
			sum += hits;
	}
	free(line);
	fclose(f);
	try_write_file(TLB_FLUSH "trigger", "!hist:keys=reason");
	return sum;
}
