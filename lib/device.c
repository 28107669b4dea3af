// SPDX-License-Identifier: MIT
/*
 * The preload library's file of /dev/uremap: one per address space, opened
 * when it is first wanted, with all of the address space registered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/uremap.h>

#include "preload.h"

#ifndef UREMAP_DEVICE
#define UREMAP_DEVICE	"/dev/uremap"
#endif

/* Out of the way of programs that count on low numbers, if the limit allows. */
#define HIGH_FD		512

/*
 * What belongs to one address space, on a page that is zero again in the child
 * of a fork: the module's file moves memory of the process that opened it.
 */
struct process {
	_Atomic int dev;		/* descriptor + 1, or 0 */
	_Atomic int said;
};

static struct process *self;

/* The number of the last file, inherited: what a forked child may replace. */
static _Atomic int last_fd = -1;

bool preload_always;
static bool debug;

static const char *errno_text(int err)
{
	switch (err) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return "no such device (module not loaded?)";
	case EACCES:
	case EPERM:
		return "permission denied";
	case EMFILE:
	case ENFILE:
		return "too many open files";
	case ENOMEM:
		return "out of memory";
	case ENOTTY:
		return "not the device of uremap";
	default:
		return "failed";
	}
}

void preload_say(const char *what, int err)
{
	char line[160] = "uremap-preload: ";
	int saved = errno;

	if (!debug || !self || atomic_exchange(&self->said, 1))
		return;
	strncat(line, what, 100);
	if (err) {
		strcat(line, ": ");
		strcat(line, errno_text(err));
	}
	strcat(line, "\n");
	if (syscall(SYS_write, STDERR_FILENO, line, strlen(line)) < 0)
		errno = saved;
}

void device_init(void)
{
	const char *mode = getenv("UREMAP_PRELOAD");
	const char *dbg = getenv("UREMAP_PRELOAD_DEBUG");
	void *page;

	preload_always = mode && !strcmp(mode, "always");
	debug = dbg && !strcmp(dbg, "1");

	page = mmap(NULL, sizeof(*self), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	if (madvise(page, sizeof(*self), MADV_WIPEONFORK)) {
		munmap(page, sizeof(*self));
		return;
	}
	self = page;
}

static void fd_close(int fd)
{
	syscall(SYS_close, fd);
}

static long device_register(int fd, const struct uremap_info *info)
{
	struct uremap_range all = {
		.len = info->va_end,
		.rights = UREMAP_RANGE_SRC | UREMAP_RANGE_DST,
	};

	return raw_ioctl(fd, UREMAP_IOC_REGISTER, (unsigned long)&all);
}

static long device_info(int fd, struct uremap_info *info)
{
	memset(info, 0, sizeof(*info));
	return raw_ioctl(fd, UREMAP_IOC_INFO, (unsigned long)info);
}

/* Is @fd the parent's file: of the device, but of another address space? */
static bool inherited(int fd)
{
	struct uremap_info info;

	return !device_info(fd, &info) && device_register(fd, &info);
}

/* Moves the new file to the number it should have. */
static int settle(int fd)
{
	int old = atomic_load(&last_fd);
	int high;

	if (old >= 0 && old != fd && inherited(old))
		high = (int)syscall(SYS_dup3, fd, old, O_CLOEXEC);
	else
		high = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH_FD);
	if (high >= 0) {
		fd_close(fd);
		fd = high;
	}
	return fd;
}

/* Says why not, or gives a descriptor. */
static int device_open(void)
{
	struct uremap_info info;
	const char *why;
	long ret;
	int fd;

	fd = (int)syscall(SYS_openat, AT_FDCWD, UREMAP_DEVICE,
			  O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		preload_say("no UFFDIO_MOVE, " UREMAP_DEVICE, errno);
		return -1;
	}

	ret = device_info(fd, &info);
	if (ret) {
		why = "no UFFDIO_MOVE, " UREMAP_DEVICE;
	} else if (info.abi < UREMAP_ABI_VERSION) {
		why = "no UFFDIO_MOVE, the module is too old";
	} else if (!(info.ioctls & (1ULL << _IOC_NR(UREMAP_IOC_UFFD_MOVE)))) {
		why = "no UFFDIO_MOVE, the module lacks UREMAP_IOC_UFFD_MOVE";
	} else {
		ret = device_register(fd, &info);
		if (!ret) {
			preload_say("UFFDIO_MOVE by " UREMAP_DEVICE, 0);
			return settle(fd);
		}
		why = "no UFFDIO_MOVE, registering the address space";
	}
	preload_say(why, (int)-ret);
	fd_close(fd);
	return -1;
}

/* The descriptor, or -1.  Threads may race: one file is kept. */
static int device_get(void)
{
	int known, saved, fd;

	if (!self)
		return -1;
	known = atomic_load(&self->dev);
	if (known)
		return known - 1;

	saved = errno;
	fd = device_open();
	if (fd < 0)
		goto out;
	if (atomic_compare_exchange_strong(&self->dev, &known, fd + 1)) {
		atomic_store(&last_fd, fd);
	} else {
		if (fd != known - 1)
			fd_close(fd);
		fd = known - 1;
	}
out:
	errno = saved;
	return fd;
}

/*
 * The program may have closed our descriptor, as daemons close all of them,
 * and something else may have its number now.
 */
static bool device_lost(int fd)
{
	struct uremap_info info;
	int known = fd + 1;

	if (!device_info(fd, &info))
		return false;
	atomic_compare_exchange_strong(&self->dev, &known, 0);
	return true;
}

bool device_usable(void)
{
	return device_get() >= 0;
}

int device_move(int uffd, unsigned long arg)
{
	struct uremap_uffd_move m = { .uffd = uffd, .arg = arg };
	int tries;

	for (tries = 0; tries < 3; tries++) {
		int fd = device_get();
		long ret;

		if (fd < 0)
			return 1;
		ret = raw_ioctl(fd, UREMAP_IOC_UFFD_MOVE, (unsigned long)&m);
		/* answers that a file of another kind might give, too */
		if (ret != -EBADF && ret != -ENOTTY && ret != -EINVAL)
			return (int)ret;
		if (device_lost(fd))
			continue;
		/* not a userfaultfd: what the kernel says of it */
		return ret == -EINVAL ? -EINVAL : 1;
	}
	return 1;
}
