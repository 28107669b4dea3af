/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fuzzer: inputs are strings of bytes; fuzz.c invents them and follows the
 * coverage of the module, exec.c and act.c make system calls of them.
 */
#ifndef UREMAP_FUZZ_H
#define UREMAP_FUZZ_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE		4096UL
#define HPAGES		512UL
#define MAX_INPUT	96
#define MAX_ACTS	24		/* system calls, more or less, of an input */

/* What is left of an input; at its end it reads as zeros. */
struct input {
	const uint8_t *data;
	size_t len, at;
};

static inline uint8_t next(struct input *in)
{
	return in->at < in->len ? in->data[in->at++] : 0;
}

/*
 * The arena: two huge pages and some small ones, where mappings of all kinds
 * come and go.  Each page that is written says where it was written.
 */
#define ARENA		((char *)0x100000000000UL)
#define ARENA_PAGES	(2 * HPAGES + 64)

#define FDS		3

struct state {
	int dev[FDS];
	int uffd, uring;
	int pipe[2];
	uint64_t va_end;
};

/* exec.c: runs an input in a process of its own, which does not come back. */
void run_input(const uint8_t *data, size_t len) __attribute__((noreturn));
/* An address of the arena, or a bad one; a length; any 64 bits. */
uint64_t draw_address(struct state *s, struct input *in);
uint64_t draw_length(struct input *in);
uint64_t draw_value(struct state *s, struct input *in);

/* act.c: what memory and the rest of the system do */
void act_memory(struct state *s, struct input *in);
void act_system(struct state *s, struct input *in);

/* Ends the process: the module has said or done what it must not. */
void wrong(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

#endif /* UREMAP_FUZZ_H */
