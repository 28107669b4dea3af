// SPDX-License-Identifier: GPL-2.0-only
/*
 * One measurement: the memory is set up, moved by the clock, and checked, some
 * times over.  The median counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

bool want_flushes;
static const struct op *warm;

void bench_die(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

bool try_write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

void write_file(const char *name, const char *text)
{
	if (!try_write_file(name, text))
		die("%s: %s", name, strerror(errno));
}

/* The same permutation each time: the numbers have to repeat. */
static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Shuffles order[], each run of @within entries by itself. */
static void shuffle(unsigned int *order, unsigned int n, unsigned int within, uint64_t seed)
{
	unsigned int begin, i, j, t;

	for (begin = 0; begin < n; begin += within) {
		for (i = within - 1; i; i--) {
			j = random_next(&seed) % (i + 1);
			t = order[begin + i];
			order[begin + i] = order[begin + j];
			order[begin + j] = t;
		}
	}
}

static void make_pieces(struct pass *p)
{
	size_t len = p->chunk * PAGE;
	unsigned int *from, *to, within, i;

	p->npieces = p->pages / p->chunk;
	from = malloc(p->npieces * sizeof(*from));
	to = malloc(p->npieces * sizeof(*to));
	p->piece = malloc(p->npieces * sizeof(*p->piece));
	if (!from || !to || !p->piece)
		die("no memory");
	for (i = 0; i < p->npieces; i++)
		from[i] = to[i] = i;
	if (p->pattern != SEQUENTIAL) {
		within = p->pattern == NEAR ? PMD / len : p->npieces;
		shuffle(from, p->npieces, within, 88172645463325252UL);
		shuffle(to, p->npieces, within, 2685821657736338717UL);
	}
	for (i = 0; i < p->npieces; i++) {
		p->piece[i].src = p->src + from[i] * len;
		p->piece[i].dst = p->dst + to[i] * len;
	}
	free(from);
	free(to);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Everything before the clock is started, */
void pass_begin(struct pass *p)
{
	mem_setup(p);
	make_pieces(p);
	if (p->op->prepare)
		p->op->prepare(p);
}

/* and after it was stopped. */
void pass_end(struct pass *p)
{
	mem_check(p);
	free(p->piece);
	mem_teardown(p);
}

/* @counts: not to warm up caches and slabs only */
static double once(struct pass *p, unsigned long *ipis, bool counts)
{
	uint64_t begin;
	double cost;

	pass_begin(p);
	*ipis = clock_ipis();
	clock_sync();
	if (counts)
		profile_begin();
	begin = clock_now();
	p->op->run(p);
	cost = (clock_now() - begin) * clock_unit();
	if (counts)
		profile_end();
	*ipis = clock_ipis() - *ipis;
	pass_end(p);
	return cost / p->pages;
}

/* In a pass of its own: the tracepoint costs instructions. */
static double count_flushes(struct pass *p)
{
	double flushes = -1;
	bool counting;

	pass_begin(p);
	counting = clock_flushes_start();
	clock_sync();
	p->op->run(p);
	if (counting)
		flushes = (double)clock_flushes_stop() / p->pages;
	pass_end(p);
	return flushes;
}

struct result result_of(double *cost, double *ipis, unsigned int n)
{
	qsort(cost, n, sizeof(cost[0]), compare);
	qsort(ipis, n, sizeof(ipis[0]), compare);
	return (struct result){
		.cost = cost[n / 2], .min = cost[0], .max = cost[n - 1],
		.ipis = ipis[n / 2], .flushes = -1,
	};
}

struct result pass_run(struct pass *p, unsigned int reps)
{
	double cost[MAX_REPS], ipis[MAX_REPS];
	struct result r;
	unsigned long n;

	mem_want(p->folio);
	if (reps > 1 || p->op != warm)
		once(p, &n, false);
	warm = p->op;
	for (unsigned int i = 0; i < reps; i++) {
		cost[i] = once(p, &n, true);
		ipis[i] = (double)n / p->pages;
	}
	r = result_of(cost, ipis, reps);
	if (want_flushes)
		r.flushes = count_flushes(p);
	return r;
}

void result_print(const char *op, const char *folio, const char *order, const char *env,
		  unsigned int chunk, struct result r, unsigned int pages)
{
	printf("%s,%s,%s,%s,%u,%.3f,%.3f,%.3f,%.5f,", op, folio, order, env, chunk,
	       r.cost, r.min, r.max, r.ipis);
	if (r.flushes >= 0)
		printf("%.5f", r.flushes);
	printf(",%u\n", pages);
	fflush(stdout);
}
