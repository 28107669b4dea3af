// SPDX-License-Identifier: MIT
/*
 * Interposes ioctl() so that a program written for UFFDIO_MOVE (Linux 6.8)
 * runs on a kernel that has the uremap module instead.
 *
 * Three requests of userfaultfd are looked at: UFFDIO_API offers and accepts
 * UFFD_FEATURE_MOVE, UFFDIO_REGISTER says where UFFDIO_MOVE may be used, and
 * UFFDIO_MOVE goes to the module.  No table of descriptors is kept: the kernel
 * itself tells what a number stands for, at the moment of the call.  So dup(),
 * close(), fork() and descriptors that came over a socket need no attention.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload.h"
#include "userfaultfd-move.h"

/* glibc and musl declare the request differently */
#ifdef __GLIBC__
#define REQUEST_TYPE	unsigned long
#else
#define REQUEST_TYPE	int
#endif

#define EXPORT		__attribute__((visibility("default")))
#define RANGE_BIT(nr)	((__u64)1 << (nr))

/* Where no user memory can be: the kernel answers EFAULT when it gets there. */
#define BAD_ADDRESS	(-4096UL)

/* Does the kernel have UFFDIO_MOVE?  The same for all processes. */
enum { NATIVE_UNKNOWN, NATIVE_YES, NATIVE_NO };
static _Atomic int native;

static int (*next_ioctl)(int fd, REQUEST_TYPE request, ...);

long raw_ioctl(int fd, unsigned long request, unsigned long arg)
{
	int saved = errno;
	long ret = syscall(SYS_ioctl, fd, request, arg);

	if (ret == -1) {
		ret = -errno;
		errno = saved;
	}
	return ret;
}

/* What the program would have called without us. */
static int forward(int fd, REQUEST_TYPE request, unsigned long arg)
{
	if (next_ioctl)
		return next_ioctl(fd, request, arg);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

__attribute__((constructor)) static void preload_init(void)
{
	/*
	 * Another interposer may come after us.  dlsym() is not for signal
	 * handlers: once, and early; before that there is the system call.
	 */
	*(void **)&next_ioctl = dlsym(RTLD_NEXT, "ioctl");
	device_init();
}

/*
 * Asks the kernel by a call that cannot do anything.  UFFDIO_MOVE gets as far
 * as its argument if it exists, or says EAGAIN before; any other request that
 * exists tells a descriptor without UFFDIO_API from a kernel without MOVE.
 */
static int native_by_asking(int uffd)
{
	int known = atomic_load_explicit(&native, memory_order_relaxed);
	long ret;

	if (known != NATIVE_UNKNOWN)
		return known;

	ret = raw_ioctl(uffd, UFFDIO_MOVE, BAD_ADDRESS);
	if (ret == -EFAULT || ret == -EAGAIN)
		known = NATIVE_YES;
	else if (ret == -EINVAL &&
		 raw_ioctl(uffd, UFFDIO_WAKE, BAD_ADDRESS) == -EFAULT)
		known = NATIVE_NO;
	else
		return NATIVE_UNKNOWN;

	atomic_store_explicit(&native, known, memory_order_relaxed);
	if (known == NATIVE_YES && !preload_always)
		preload_say("the kernel has UFFDIO_MOVE, not needed", 0);
	return known;
}

/* True if UFFDIO_MOVE exists only by us, and we can do it. */
static bool ours(int uffd)
{
	return native_by_asking(uffd) == NATIVE_NO && device_usable();
}

/*
 * Can the kernel read eight bytes there?  This call looks at them first and then
 * refuses what it is asked to do.  Every program makes it, so that no sandbox
 * kills for it.
 */
static bool readable(const void *addr)
{
	int saved = errno;
	bool yes = syscall(SYS_rt_sigprocmask, -1, addr, NULL, 8) != -1 ||
		   errno != EFAULT;

	errno = saved;
	return yes;
}

/* Reads program memory that may not be there. */
static bool peek(struct uffdio_api *to, const struct uffdio_api *from)
{
	if (!readable(&from->api) || !readable(&from->features) ||
	    !readable(&from->ioctls))
		return false;
	memcpy(to, from, sizeof(*to));
	return true;
}

/*
 * The kernel goes first.  It refuses a feature it does not know with EINVAL
 * and a zeroed argument, which was writable then, and has not changed the
 * descriptor: ask again without UFFD_FEATURE_MOVE.
 */
static int uffdio_api(int uffd, struct uffdio_api *api)
{
	int saved = errno;
	struct uffdio_api want;
	bool readable = peek(&want, api);
	int ret = forward(uffd, UFFDIO_API, (unsigned long)api);

	if (ret && errno == EINVAL && readable && want.api == UFFD_API &&
	    want.features & UFFD_FEATURE_MOVE && device_usable()) {
		want.features &= ~(__u64)UFFD_FEATURE_MOVE;
		memcpy(api, &want, sizeof(want));
		ret = forward(uffd, UFFDIO_API, (unsigned long)api);
		if (!ret)
			errno = saved;
	}
	if (!ret && !(api->features & UFFD_FEATURE_MOVE) && ours(uffd))
		api->features |= UFFD_FEATURE_MOVE;
	return ret;
}

/* Mainline says MOVE wherever it says ZEROPAGE: everywhere but in hugetlb. */
static int uffdio_register(int uffd, struct uffdio_register *reg)
{
	int ret = forward(uffd, UFFDIO_REGISTER, (unsigned long)reg);

	if (!ret && reg->ioctls & RANGE_BIT(_UFFDIO_ZEROPAGE) && ours(uffd))
		reg->ioctls |= RANGE_BIT(_UFFDIO_MOVE);
	return ret;
}

static int uffdio_move(int uffd, unsigned long arg)
{
	int known = native_by_asking(uffd);

	if (known == NATIVE_NO || (known == NATIVE_YES && preload_always)) {
		int ret = device_move(uffd, arg);

		if (ret < 0) {
			errno = -ret;
			return -1;
		}
		if (!ret)
			return 0;
	}
	return forward(uffd, UFFDIO_MOVE, arg);
}

EXPORT int ioctl(int fd, REQUEST_TYPE request, ...)
{
	unsigned long arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);

	/* the kernel takes 32 bits, whatever the others hold */
	switch ((unsigned int)request) {
	case UFFDIO_MOVE:
		return uffdio_move(fd, arg);
	case UFFDIO_REGISTER:
		return uffdio_register(fd, (struct uffdio_register *)arg);
	case UFFDIO_API:
		return uffdio_api(fd, (struct uffdio_api *)arg);
	default:
		return forward(fd, request, arg);
	}
}
