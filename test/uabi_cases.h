/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every ioctl must say to every size, bit, pointer and number, written
 * once and compiled twice: into uabi.c, and for 32-bit callers into compat32.c.
 * No test library, since there is none for 32 bits to link with.
 *
 * A case is a function that returns false with a message in why[] when the
 * device is not as documented.  Each runs in a process of its own.
 */
#ifndef UREMAP_TEST_UABI_CASES_H
#define UREMAP_TEST_UABI_CASES_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/uremap.h>

#define U_PAGE		4096UL
#define U_ADDR(p)	((__u64)(uintptr_t)(p))
#define U_COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define U_UNWRITTEN	0x5a
/* the largest size an ioctl number can carry */
#define U_MAX_SIZE	((1U << _IOC_SIZEBITS) - 1)

/* Both word sizes see the same layout; it never changes. */
#define U_LAYOUT(type, member, offset) \
	static_assert(offsetof(struct type, member) == (offset), #member)

static_assert(sizeof(struct uremap_info) == 56, "uremap_info");
U_LAYOUT(uremap_info, abi, 0);
U_LAYOUT(uremap_info, reserved, 4);
U_LAYOUT(uremap_info, features, 8);
U_LAYOUT(uremap_info, ioctls, 16);
U_LAYOUT(uremap_info, modes, 24);
U_LAYOUT(uremap_info, va_end, 32);
U_LAYOUT(uremap_info, page_size, 40);
U_LAYOUT(uremap_info, huge_size, 44);
U_LAYOUT(uremap_info, max_ranges, 48);
U_LAYOUT(uremap_info, max_segments, 52);

static_assert(sizeof(struct uremap_range) == 32, "uremap_range");
U_LAYOUT(uremap_range, start, 0);
U_LAYOUT(uremap_range, len, 8);
U_LAYOUT(uremap_range, rights, 16);
U_LAYOUT(uremap_range, reserved, 24);

static_assert(sizeof(struct uremap_move) == 96, "uremap_move");
U_LAYOUT(uremap_move, dst, 0);
U_LAYOUT(uremap_move, src, 8);
U_LAYOUT(uremap_move, len, 16);
U_LAYOUT(uremap_move, mode, 24);
U_LAYOUT(uremap_move, move, 32);
U_LAYOUT(uremap_move, moved, 40);
U_LAYOUT(uremap_move, holes, 48);
U_LAYOUT(uremap_move, healed, 56);
U_LAYOUT(uremap_move, stop, 64);
U_LAYOUT(uremap_move, reason, 72);
U_LAYOUT(uremap_move, error, 76);
U_LAYOUT(uremap_move, reserved, 80);

static_assert(UREMAP_IOC_INFO == 0xc038d700U, "INFO");
static_assert(UREMAP_IOC_REGISTER == 0x4020d701U, "REGISTER");
static_assert(UREMAP_IOC_UNREGISTER == 0x4020d702U, "UNREGISTER");
static_assert(UREMAP_IOC_MOVE == 0xc060d704U, "MOVE");

struct uabi {
	int fd;
	char *src, *dst;	/* a page each, registered for both */
	char why[400];
};

/* Ends the case, unless it is true, with the text. */
#define U_WANT(u, cond, ...) do {					\
	if (!(cond)) {							\
		snprintf((u)->why, sizeof((u)->why), __VA_ARGS__);	\
		return false;						\
	}								\
} while (0)

/* Ends the case unless the call gave that errno; 0 stands for success. */
#define U_ERRNO(u, err, call, fmt, ...) do {				\
	int _got;							\
	errno = 0;							\
	_got = (call) ? errno : 0;					\
	U_WANT(u, _got == (err), fmt ": errno %d, expected %d",		\
	       ##__VA_ARGS__, _got, err);				\
} while (0)

/* The ioctls of the first release, with an argument that succeeds. */
struct uabi_op {
	const char *name;
	unsigned int nr, dir, size;
	void (*fill)(struct uabi *u, void *arg);
};

static void u_fill_info(struct uabi *u, void *arg)
{
	(void)u;
	memset(arg, 0, sizeof(struct uremap_info));
}

static void u_fill_range(struct uabi *u, void *arg)
{
	struct uremap_range range = {
		.start = U_ADDR(u->src),
		.len = U_PAGE,
		.rights = UREMAP_RANGE_SRC,
	};

	memcpy(arg, &range, sizeof(range));
}

/* Taking away the right to a place that nothing uses. */
static void u_fill_unrange(struct uabi *u, void *arg)
{
	struct uremap_range range = {
		.start = U_PAGE,
		.len = U_PAGE,
		.rights = UREMAP_RANGE_SRC,
	};

	(void)u;
	memcpy(arg, &range, sizeof(range));
}

/* Puts the page back where a move of it starts. */
static void u_fill_move(struct uabi *u, void *arg)
{
	struct uremap_move m;

	madvise(u->dst, U_PAGE, MADV_DONTNEED);
	memset(u->src, 0x77, U_PAGE);
	memset(&m, U_UNWRITTEN, sizeof(m));
	m.dst = U_ADDR(u->dst);
	m.src = U_ADDR(u->src);
	m.len = U_PAGE;
	m.mode = 0;
	memset(m.reserved, 0, sizeof(m.reserved));
	memcpy(arg, &m, sizeof(m));
}

static const struct uabi_op u_ops[] = {
	{ "INFO", 0, _IOC_READ | _IOC_WRITE, sizeof(struct uremap_info),
	  u_fill_info },
	{ "REGISTER", 1, _IOC_WRITE, sizeof(struct uremap_range), u_fill_range },
	{ "UNREGISTER", 2, _IOC_WRITE, sizeof(struct uremap_range),
	  u_fill_unrange },
	{ "MOVE", 4, _IOC_READ | _IOC_WRITE, sizeof(struct uremap_move),
	  u_fill_move },
};

#define U_INFO	(&u_ops[0])
#define U_REG	(&u_ops[1])
#define U_UNREG	(&u_ops[2])
#define U_MOVE	(&u_ops[3])

#define U_EACH_OP(op) \
	for (op = u_ops; op < u_ops + U_COUNT(u_ops); op++)

static inline int u_call(struct uabi *u, const struct uabi_op *op,
			 unsigned int size, void *arg)
{
	return ioctl(u->fd, _IOC(op->dir, UREMAP_IOC_TYPE, op->nr, size), arg);
}

/* True if a refused or unread move left the results as they were. */
static inline bool u_unwritten(const struct uremap_move *m)
{
	const unsigned char *p = (const unsigned char *)&m->move;
	size_t i;

	for (i = 0; i < offsetof(struct uremap_move, reserved) -
			offsetof(struct uremap_move, move); i++)
		if (p[i] != U_UNWRITTEN)
			return false;
	return true;
}

/* True if the page is still at src and nothing is at dst. */
static inline bool u_still(struct uabi *u)
{
	return u->src[0] == 0x77 && u->src[U_PAGE - 1] == 0x77 && !u->dst[0];
}

static inline void *u_map(size_t len, int prot)
{
	void *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Opens the device and prepares the page; false, with a message, if it cannot. */
static inline bool u_setup(struct uabi *u)
{
	struct uremap_range range = { .len = U_PAGE,
		.rights = UREMAP_RANGE_SRC | UREMAP_RANGE_DST };

	u->fd = open("/dev/uremap", O_RDWR | O_CLOEXEC);
	U_WANT(u, u->fd >= 0, "/dev/uremap: %s", strerror(errno));
	/* apart, so that neither page is part of the other's mapping */
	u->src = u_map(3 * U_PAGE, PROT_READ | PROT_WRITE);
	U_WANT(u, u->src, "mmap: %s", strerror(errno));
	u->dst = u->src + 2 * U_PAGE;
	munmap(u->src + U_PAGE, U_PAGE);
	madvise(u->src, U_PAGE, MADV_NOHUGEPAGE);
	madvise(u->dst, U_PAGE, MADV_NOHUGEPAGE);
	range.start = U_ADDR(u->src);
	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_REGISTER, &range), "register src");
	range.start = U_ADDR(u->dst);
	U_ERRNO(u, 0, ioctl(u->fd, UREMAP_IOC_REGISTER, &range), "register dst");
	return true;
}

struct uabi_case {
	const char *name;
	bool (*run)(struct uabi *u);
};

/* The cases and, at the end of the second file, the table of all of them. */
#include "uabi_struct.h"
#include "uabi_value.h"

static const struct uabi_case uabi_cases[] = {
	{ "info", u_info },
	{ "short_struct", u_short_struct },
	{ "long_zero_tail", u_long_zero_tail },
	{ "long_tail_not_zero", u_long_tail_not_zero },
	{ "exact_fit", u_exact_fit },
	{ "unaligned_struct", u_unaligned_struct },
	{ "null", u_null },
	{ "unmapped_struct", u_unmapped_struct },
	{ "partly_unmapped_struct", u_partly_unmapped_struct },
	{ "unreadable_struct", u_unreadable_struct },
	{ "readonly_struct", u_readonly_struct },
	{ "kernel_pointer", u_kernel_pointer },
	{ "unknown_number", u_unknown_number },
	{ "wrong_direction", u_wrong_direction },
	{ "wrong_type", u_wrong_type },
	{ "ioctl_bits", u_ioctl_bits },
	{ "wrong_file", u_wrong_file },
	{ "reserved", u_reserved },
	{ "mode_bits", u_mode_bits },
	{ "rights_bits", u_rights_bits },
	{ "register_addresses", u_register_addresses },
	{ "move_addresses", u_move_addresses },
	{ "move_order", u_move_order },
	{ "move_results", u_move_results },
	{ "file_operations", u_file_operations },
};

#endif /* UREMAP_TEST_UABI_CASES_H */
