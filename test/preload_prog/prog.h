/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program written for UFFDIO_MOVE as Linux 6.8 and later have it.  It knows
 * nothing of uremap.  It runs a fixed list of scenes and says what it saw in a
 * form that is the same on each run, so that two transcripts can be compared.
 */
#ifndef PRELOAD_PROG_H
#define PRELOAD_PROG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

/* What the header of Linux 6.8 has, for building against an older one */
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE		(1 << 16)
#endif
#ifndef _UFFDIO_MOVE
#define _UFFDIO_MOVE			(0x05)
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};
#define UFFDIO_MOVE	_IOWR(UFFDIO, _UFFDIO_MOVE, struct uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE		((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES	((__u64)1 << 1)
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW	_IO(0xAA, 0x00)
#endif

#define PAGE		4096UL
#define HUGE		(512 * PAGE)
#define HOLES		UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES
#define DONTWAKE	UFFDIO_MOVE_MODE_DONTWAKE
#define ADDR(p)		((__u64)(uintptr_t)(p))

struct scene {
	const char *name;
	void (*run)(void);
};

extern const struct scene scenes_api[], scenes_fault[], scenes_error[];
extern const struct scene scenes_page[], scenes_process[], scenes_huge[];
extern const struct scene scenes_stress[];

/* A line of the transcript */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The test cannot be run here, which is no result: ends the program. */
void broken(const char *what) __attribute__((noreturn));
#define need(cond) do { if (!(cond)) broken(#cond); } while (0)

/* Userfaultfd with UFFD_FEATURE_MOVE and what else is asked for */
int uffd_new(void);
int uffd_open(__u64 features);
void uffd_register(int uffd, void *start, size_t pages);
void uffd_wake(int uffd, void *start, size_t pages);
/* Reads one message; says the page of [base, ...) that a fault was at. */
void uffd_event(int uffd, char *base);
/* How many threads sleep on it, read or unread */
int uffd_waiters(int uffd);

/* UFFDIO_MOVE, and what it said */
void move(int uffd, void *dst, void *src, size_t pages, __u64 mode);
void move_raw(int uffd, __u64 dst, __u64 src, __u64 len, __u64 mode);
/* The same without a word; 0 or the errno */
int move_quiet(int uffd, void *dst, void *src, size_t len, __u64 mode);

char *map(size_t pages);
char *map_with(size_t pages, int prot, int flags);
/* Pages 'A', 'B' ... each with a pattern of its own */
char *map_filled(size_t pages);
void fill(char *start, size_t pages, char first);
/* [len] bytes at a multiple of HUGE */
char *map_huge(size_t len);
bool is_huge(char *addr);
/*
 * Says one letter per page, without touching what is not there: its identity,
 * '0' zeroes, '.' nothing, '?' anything else.
 */
void look(const char *what, char *start, size_t pages);
char page_letter(char *page);

/* A thread that reads one byte of a page, and what it saw */
struct toucher {
	pthread_t thread;
	char *addr;
	char seen;
};

void touch(struct toucher *t, char *addr);
/* Waits for the thread. */
void touched(struct toucher *t);

#endif
