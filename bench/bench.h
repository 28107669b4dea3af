/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmark is made of: areas of memory (mem.c), ways to get pages
 * from one to the other (op.c), clocks and counters (clock.c), and the passes
 * that put them together (pass.c).
 */
#ifndef UREMAP_BENCH_H
#define UREMAP_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE		4096UL
#define PMD		(512 * PAGE)
#define GIB		(1UL << 30)

/*
 * Addresses nothing else is at, so that no mapping merges with another.  They
 * share the upper page tables, as two mappings that mmap() has placed do.
 */
#define SRC_BASE	((char *)0x100000000000UL)
#define DST_BASE	((char *)0x100020000000UL)

enum folio { FOLIO_4K, FOLIO_64K, FOLIO_THP };
enum pattern {
	SEQUENTIAL,
	NEAR,		/* permuted within each pair of page tables */
	SCATTERED,	/* source and destination permuted differently */
};

struct piece {
	char *dst, *src;
};

struct op;

/* One measurement: all pages of an area, in pieces of @chunk pages. */
struct pass {
	const struct op *op;
	enum folio folio;
	enum pattern pattern;
	unsigned int pages;	/* in all */
	unsigned int chunk;	/* pages a piece */
	unsigned int vec;	/* pieces a call, of operations that can */
	size_t offset;		/* of both areas, from where they usually are */

	char *src, *dst;
	size_t size;		/* bytes of each */
	struct piece *piece;
	unsigned int npieces;
};

/* ---- op.c: operations ---- */

#define OP_DST_HOLE	(1 << 0)	/* nothing is mapped at the destination */
#define OP_DST_WARM	(1 << 1)	/* the destination has pages already */
#define OP_DST_UFFD	(1 << 2)	/* it is registered with userfaultfd */
#define OP_MISALIGNED	(1 << 3)	/* not congruent modulo 2 MiB */
#define OP_SRC_STAYS	(1 << 4)	/* does not empty the source */
#define OP_SRC_UNMAPPED	(1 << 5)	/* unmaps the source */
#define OP_VECTOR	(1 << 6)	/* takes many pieces in a call */

struct op {
	const char *name;
	unsigned int flags;
	bool (*there)(void);	/* does this kernel have it? NULL: yes */
	void (*prepare)(struct pass *p);
	void (*run)(struct pass *p);
};

extern const struct op ops[];
extern const unsigned int nops;
const struct op *op_find(const char *name);
int uremap_open(void);
void op_use_device(int fd);

/* ---- mem.c: memory ---- */

void mem_setup(struct pass *p);
void mem_check(struct pass *p);
void mem_teardown(struct pass *p);
void mem_want(enum folio folio);
bool mem_has(enum folio folio);

/* ---- clock.c: clocks and counters ---- */

static inline uint64_t clock_now(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

/* Tells a profiler (profile.c) where the part to count begins and ends. */
static inline void profile_begin(void)
{
	__asm__ volatile("nopl 0x75726d31(%%rax)" : : : "memory");
}

static inline void profile_end(void)
{
	__asm__ volatile("nopl 0x75726d30(%%rax)" : : : "memory");
}

void clock_init(bool wall);
void clock_pin(int cpu);
double clock_unit(void);	/* what a tick is worth: 1 instruction, or ns */
unsigned long clock_ipis(void);
void clock_busy_start(void);
void clock_busy_stop(void);
void clock_sync(void);
bool clock_flushes_start(void);
unsigned long clock_flushes_stop(void);

/* ---- pass.c ---- */

struct result {
	double cost;		/* median of what a page costs */
	double min, max;
	double ipis;		/* per page */
	double flushes;		/* per page; < 0: not counted */
};

#define MAX_REPS	32

extern bool want_flushes;
void pass_begin(struct pass *p);
void pass_end(struct pass *p);
struct result pass_run(struct pass *p, unsigned int reps);
struct result result_of(double *cost, double *ipis, unsigned int n);
void result_print(const char *op, const char *folio, const char *order, const char *env,
		  unsigned int chunk, struct result r, unsigned int pages);

/* ---- extra.c: measurements that are not a pass alone ---- */

struct extra {
	const char *name;
	void (*run)(unsigned int reps);
};

void storm(unsigned int reps);	/* storm.c */
void wake(unsigned int reps);	/* wake.c */
extern const struct extra extras[];
extern const unsigned int nextras;

#define die(...) bench_die(__FILE__, __LINE__, __VA_ARGS__)
void __attribute__((noreturn, format(printf, 3, 4)))
bench_die(const char *file, int line, const char *fmt, ...);
void write_file(const char *name, const char *text);
bool try_write_file(const char *name, const char *text);

#endif
