// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz [-t SECONDS] [-s SEED] [-1 HEX [-p PLACE]] [SEEDFILE...]
 *
 * Invents inputs, runs each in a process of its own, and keeps those that reach
 * code of the module which none has reached before (KCOV; the module has to be
 * built with KCOV_INSTRUMENT=y).  Prints each input as hex before it is run, so
 * that the last line is the one that took the machine down; "-1 HEX" runs that
 * again, with less and less of it as long as it still fails, "-p PLACE" from that
 * byte on.  What is tried is told in lines "try PLACE HEX": who goes down with the
 * machine is known to fail, too, see run.  Kept inputs are printed once more in
 * lines "keep HEX".
 *
 * Without KCOV nothing is kept; the inputs are then merely random.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_TRACE_PC	0
#define COVER_SIZE	(64 << 10)
#define MAP_BITS	18
#define MAX_CORPUS	4096

struct corpus_entry {
	uint8_t data[MAX_INPUT];
	size_t len;
};

static struct corpus_entry corpus[MAX_CORPUS];
static unsigned int nr_corpus;
static uint8_t seen[1 << MAP_BITS];	/* a bit of memory for each address */
static unsigned int nr_seen;
static unsigned long *cover;
static int kcov = -1;
static uint64_t rng;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1d;
}

void wrong(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("WRONG: ");
	vprintf(fmt, args);
	printf("\n");
	fflush(stdout);
	_exit(3);
}

static void kcov_open(void)
{
	kcov = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (kcov < 0 || ioctl(kcov, KCOV_INIT_TRACE, COVER_SIZE)) {
		kcov = -1;
		return;
	}
	cover = mmap(NULL, COVER_SIZE * sizeof(*cover), PROT_READ | PROT_WRITE,
		     MAP_SHARED, kcov, 0);
	if (cover == MAP_FAILED)
		kcov = -1;
}

static void print_hex(const char *what, const uint8_t *data, size_t len)
{
	size_t i;

	printf("%s ", what);
	for (i = 0; i < len; i++)
		printf("%02x", data[i]);
	printf("\n");
	fflush(stdout);
}

/* Status 0, or what the process ended with. */
static int run(const uint8_t *data, size_t len)
{
	int status;
	pid_t pid;

	if (kcov >= 0)
		__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
	pid = fork();
	if (!pid) {
		alarm(20);
		if (kcov >= 0)
			ioctl(kcov, KCOV_ENABLE, KCOV_TRACE_PC);
		run_input(data, len);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 0;
	/* Alarms and faults are the input's own. */
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* How much of the module was reached for the first time? */
static unsigned int new_cover(void)
{
	unsigned long i, n = kcov < 0 ? 0 : __atomic_load_n(&cover[0],
							   __ATOMIC_RELAXED);
	unsigned int fresh = 0;

	for (i = 1; i <= n && i < COVER_SIZE; i++) {
		uint32_t h = cover[i] * 0x9e3779b97f4a7c15 >> (64 - MAP_BITS);

		fresh += !seen[h];
		seen[h] = 1;
	}
	nr_seen += fresh;
	return fresh;
}

static void keep(const uint8_t *data, size_t len)
{
	struct corpus_entry *e;

	e = &corpus[nr_corpus < MAX_CORPUS ? nr_corpus++ : rnd() % MAX_CORPUS];
	memcpy(e->data, data, len);
	e->len = len;
}

/* A kept input with a few changes, or two of them joined, or a new one. */
static size_t invent(uint8_t *data)
{
	const struct corpus_entry *e;
	size_t len, i, n;

	if (!nr_corpus || rnd() % 16 == 0) {
		len = 8 + rnd() % (MAX_INPUT - 8);
		for (i = 0; i < len; i++)
			data[i] = rnd();
		return len;
	}
	e = &corpus[rnd() % nr_corpus];
	memcpy(data, e->data, len = e->len);
	if (rnd() % 4 == 0) {
		e = &corpus[rnd() % nr_corpus];
		i = rnd() % (len + 1);
		n = e->len < MAX_INPUT - i ? e->len : MAX_INPUT - i;
		memcpy(data + i, e->data, n);
		len = i + n;
	}
	for (n = 1 + rnd() % 6; n && len; n--) {
		i = rnd() % len;
		switch (rnd() % 4) {
		case 0:
			data[i] ^= 1 << rnd() % 8;
			break;
		case 1:
			memmove(data + i, data + i + 1, --len - i);
			break;
		case 2:
			if (len < MAX_INPUT)
				memmove(data + i + 1, data + i, len++ - i);
			break;
		default:
			data[i] = rnd();
		}
	}
	return len;
}

static size_t parse_hex(const char *hex, uint8_t *data)
{
	size_t n = 0;
	unsigned int byte;

	while (n < MAX_INPUT && sscanf(hex + 2 * n, "%2x", &byte) == 1)
		data[n++] = byte;
	return n;
}

/* Lines of hex, with or without a word before. */
static void load(const char *path)
{
	char line[3 * MAX_INPUT + 64], *hex;
	uint8_t data[MAX_INPUT];
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			continue;
		hex = strchr(line, ' ');
		keep(data, parse_hex(hex ? hex + 1 : line, data));
	}
	if (f)
		fclose(f);
}

static int attempt(long place, const uint8_t *data, size_t len)
{
	printf("try %ld", place);
	print_hex("", data, len);
	return run(data, len);
}

/* Leaves out what is not needed for it to fail; first tries all if @place < 0. */
static int minimise(const char *hex, long place)
{
	uint8_t data[MAX_INPUT], less[MAX_INPUT];
	size_t len = parse_hex(hex, data), i;

	if (place < 0 && !attempt(place, data, len)) {
		print_hex("passes", data, len);
		return 0;
	}
	for (i = place < 0 ? 0 : place; i < len;) {
		memcpy(less, data, i);
		memcpy(less + i, data + i + 1, len - i - 1);
		if (attempt(i, less, len - 1))
			memcpy(data, less, --len);
		else
			i++;
	}
	print_hex("minimal", data, len);
	return 1;
}

static void seeds_first(void)
{
	unsigned int i;

	for (i = 0; i < nr_corpus; i++) {
		run(corpus[i].data, corpus[i].len);
		new_cover();
	}
	printf("%u seeds reach %u places\n", nr_corpus, nr_seen);
}

int main(int argc, char **argv)
{
	unsigned long n = 0, seconds = 60;
	const char *single = NULL;
	uint8_t data[MAX_INPUT];
	time_t begin, told;
	long place = -1;
	int c;

	rng = time(NULL);
	while ((c = getopt(argc, argv, "t:s:1:p:")) != -1)
		switch (c) {
		case 't':
			seconds = strtoul(optarg, NULL, 0);
			break;
		case 's':
			rng = strtoull(optarg, NULL, 0);
			break;
		case '1':
			single = optarg;
			break;
		case 'p':
			place = strtol(optarg, NULL, 0);
			break;
		default:
			return 2;
		}
	if (single)
		return minimise(single, place);
	rng |= 1;
	kcov_open();
	for (; optind < argc; optind++)
		load(argv[optind]);
	if (kcov < 0)
		printf("no KCOV here: random inputs only\n");
	seeds_first();
	for (begin = told = time(NULL); time(NULL) - begin < (time_t)seconds; n++) {
		size_t len = invent(data);

		print_hex("run", data, len);
		if (run(data, len)) {
			print_hex("FAILED", data, len);
			return 1;
		}
		if (new_cover()) {
			keep(data, len);
			print_hex("keep", data, len);
		}
		if (time(NULL) - told >= 10) {
			told = time(NULL);
			printf("%lds: %lu inputs, %u kept, %u places\n",
			       (long)(told - begin), n, nr_corpus, nr_seen);
		}
	}
	printf("%lu inputs, %u kept, %u places\n", n, nr_corpus, nr_seen);
	return 0;
}
