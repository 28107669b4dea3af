// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ways to get pages from one place to another.  run() is what is measured:
 * as little as possible around the system calls.
 */
#include <errno.h>
#include <fcntl.h>
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

#ifndef UFFDIO_MOVE		/* Linux 6.8; the headers of this machine may be older */
struct uffdio_move {
	__u64 dst, src, len, mode;
	__s64 move;
};

#define UFFD_FEATURE_MOVE	(1 << 16)
#define UFFDIO_MOVE		_IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

static int dev = -1, uffd = -1;

/* The device, with all of the address space registered. */
int uremap_open(void)
{
	struct uremap_info info = { 0 };
	struct uremap_range all = { .rights = UREMAP_RANGE_SRC | UREMAP_RANGE_DST };
	int fd = open("/dev/uremap", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UREMAP_IOC_INFO, &info))
		return -1;
	all.len = info.va_end;
	if (ioctl(fd, UREMAP_IOC_REGISTER, &all))
		die("UREMAP_IOC_REGISTER: %s", strerror(errno));
	return fd;
}

/* The device that MOVE and MOVEV use; -1: opened when it is needed. */
void op_use_device(int fd)
{
	dev = fd;
}

static bool uremap_there(void)
{
	if (dev < 0)
		dev = uremap_open();
	return dev >= 0;
}

static void uremap_run(struct pass *p)
{
	for (unsigned int i = 0; i < p->npieces; i++) {
		struct uremap_move m = {
			.dst = (uintptr_t)p->piece[i].dst,
			.src = (uintptr_t)p->piece[i].src,
			.len = p->chunk * PAGE,
		};

		if (ioctl(dev, UREMAP_IOC_MOVE, &m))
			die("MOVE: %s, reason %u at %llx", strerror(errno), m.reason, m.stop);
	}
}

static bool uremap_movev_there(void)
{
	struct uremap_info info = { 0 };

	return uremap_there() && !ioctl(dev, UREMAP_IOC_INFO, &info) && info.max_segments;
}

/* Filling in the segments is part of the price. */
static void uremap_movev_run(struct pass *p)
{
	struct uremap_segment seg[512];
	unsigned int vec = p->vec < 512 ? p->vec : 512, i, n;

	for (i = 0; i < p->npieces; i += n) {
		struct uremap_movev v = {
			.segs = (uintptr_t)seg,
			.seg_size = sizeof(seg[0]),
		};

		for (n = 0; n < vec && i + n < p->npieces; n++) {
			seg[n].dst = (uintptr_t)p->piece[i + n].dst;
			seg[n].src = (uintptr_t)p->piece[i + n].src;
			seg[n].len = p->chunk * PAGE;
		}
		v.nr = n;
		if (ioctl(dev, UREMAP_IOC_MOVEV, &v))
			die("MOVEV: %s, segment %u, reason %u at %llx", strerror(errno), v.done,
			    seg[v.done ? v.done - 1 : 0].reason,
			    seg[v.done ? v.done - 1 : 0].stop);
	}
}

static int uffd_open(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool uffd_there(void)
{
	if (uffd < 0)
		uffd = uffd_open(0);
	return uffd >= 0;
}

static bool uffd_move_there(void)
{
	int fd = uffd_open(UFFD_FEATURE_MOVE);

	if (fd >= 0)
		close(fd);
	return fd >= 0 && uffd_there();
}

static void uffd_prepare(struct pass *p)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p->dst, .len = p->size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("UFFDIO_REGISTER: %s", strerror(errno));
}

static void uffd_move_run(struct pass *p)
{
	for (unsigned int i = 0; i < p->npieces; i++) {
		struct uffdio_move m = {
			.dst = (uintptr_t)p->piece[i].dst,
			.src = (uintptr_t)p->piece[i].src,
			.len = p->chunk * PAGE,
		};

		if (ioctl(uffd, UFFDIO_MOVE, &m))
			die("UFFDIO_MOVE: %s", strerror(errno));
	}
}

static void dontneed(char *at, size_t len)
{
	if (madvise(at, len, MADV_DONTNEED))
		die("MADV_DONTNEED: %s", strerror(errno));
}

static void uffd_copy_run(struct pass *p)
{
	for (unsigned int i = 0; i < p->npieces; i++) {
		struct uffdio_copy c = {
			.dst = (uintptr_t)p->piece[i].dst,
			.src = (uintptr_t)p->piece[i].src,
			.len = p->chunk * PAGE,
		};

		if (ioctl(uffd, UFFDIO_COPY, &c))
			die("UFFDIO_COPY: %s", strerror(errno));
		dontneed(p->piece[i].src, p->chunk * PAGE);
	}
}

/* Eight bytes an instruction, as the kernel copies under the emulator. */
static void copy(char *dst, const char *src, size_t len)
{
	len /= 8;
	__asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(len) : : "memory");
}

static void memcpy_run(struct pass *p)
{
	for (unsigned int i = 0; i < p->npieces; i++)
		copy(p->piece[i].dst, p->piece[i].src, p->chunk * PAGE);
}

static void memcpy_dn_run(struct pass *p)
{
	for (unsigned int i = 0; i < p->npieces; i++) {
		copy(p->piece[i].dst, p->piece[i].src, p->chunk * PAGE);
		dontneed(p->piece[i].src, p->chunk * PAGE);
	}
}

static void remap(struct pass *p, int flags)
{
	size_t len = p->chunk * PAGE;

	for (unsigned int i = 0; i < p->npieces; i++) {
		void *to = p->piece[i].dst;

		if (mremap(p->piece[i].src, len, len, flags, to) != to)
			die("mremap: %s", strerror(errno));
	}
}

static void mremap_run(struct pass *p)
{
	remap(p, MREMAP_MAYMOVE | MREMAP_FIXED);
}

static void mremap_du_run(struct pass *p)
{
	remap(p, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP);
}

const struct op ops[] = {
	{ "uremap_move", 0, uremap_there, NULL, uremap_run },
	{ "uremap_movev", OP_VECTOR, uremap_movev_there, NULL, uremap_movev_run },
	{ "uffd_move", OP_DST_UFFD, uffd_move_there, uffd_prepare, uffd_move_run },
	{ "uffd_copy_dn", OP_DST_UFFD, uffd_there, uffd_prepare, uffd_copy_run },
	{ "memcpy_warm", OP_DST_WARM | OP_SRC_STAYS, NULL, NULL, memcpy_run },
	{ "memcpy_dn", 0, NULL, NULL, memcpy_dn_run },
	{ "memcpy_warm_dn", OP_DST_WARM, NULL, NULL, memcpy_dn_run },
	{ "mremap", OP_DST_HOLE | OP_SRC_UNMAPPED, NULL, NULL, mremap_run },
	{ "mremap_mis", OP_DST_HOLE | OP_SRC_UNMAPPED | OP_MISALIGNED, NULL, NULL, mremap_run },
	{ "mremap_du", OP_DST_HOLE, NULL, NULL, mremap_du_run },
	{ "mremap_du_mis", OP_DST_HOLE | OP_MISALIGNED, NULL, NULL, mremap_du_run },
};

const unsigned int nops = sizeof(ops) / sizeof(ops[0]);

const struct op *op_find(const char *name)
{
	for (unsigned int i = 0; i < nops; i++) {
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	}
	die("no operation '%s'", name);
}
