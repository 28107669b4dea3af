// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd, with what the oldest supported kernel headers lack; see util.h.
 */
#include "util.h"

#include <poll.h>
#include <sys/syscall.h>

/* _IO(0xAA, 0x00) of linux/userfaultfd.h 6.1; spelled out for older headers */
#define DEV_USERFAULTFD_NEW	_IO(UFFDIO, 0x00)

/* The system call may be privileged (vm.unprivileged_userfaultfd), the device too */
static int uffd_new(void)
{
	int flags = O_CLOEXEC | O_NONBLOCK;
	int fd = syscall(__NR_userfaultfd, flags);
	int dev, err = errno;

	if (fd >= 0)
		return fd;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		errno = err;
		return -1;
	}
	fd = ioctl(dev, DEV_USERFAULTFD_NEW, flags);
	close(dev);
	return fd;
}

__u64 uffd_features(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = uffd_new();

	if (fd < 0)
		return 0;
	if (ioctl(fd, UFFDIO_API, &api))
		api.features = 0;
	close(fd);
	return api.features;
}

bool has_native_move(void)
{
	return uffd_features() & UFFD_FEATURE_MOVE;
}

/* The first of @features as people know it; the value of any other. */
static const char *feature_name(__u64 features)
{
	static const struct { __u64 bit; const char *name; } names[] = {
		{ UFFD_FEATURE_PAGEFAULT_FLAG_WP, "write-protection" },
		{ UFFD_FEATURE_WP_UNPOPULATED, "write-protection of holes" },
		{ UFFD_FEATURE_WP_ASYNC, "WP_ASYNC" },
		{ UFFD_FEATURE_POISON, "UFFDIO_POISON" },
		{ UFFD_FEATURE_MOVE, "UFFDIO_MOVE" },
	};
	static char value[20];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (features & names[i].bit)
			return names[i].name;
	snprintf(value, sizeof(value), "feature %#llx",
		 (unsigned long long)features);
	return value;
}

int uffd_open(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd;

	skip_if((uffd_features() & features) != features,
		"userfaultfd has no %s",
		feature_name(features & ~uffd_features()));
	fd = uffd_new();
	skip_if(fd < 0, "userfaultfd: %s", strerror(errno));
	expect_ok(ioctl(fd, UFFDIO_API, &api));
	return fd;
}

int try_uffd_register(int uffd, const void *start, size_t len, __u64 mode)
{
	struct uffdio_register reg = {
		.range = { ADDR(start), len },
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? errno : 0;
}

void uffd_register(int uffd, const void *start, size_t len, __u64 mode)
{
	int err = try_uffd_register(uffd, start, len, mode);

	if (err)
		ck_abort_msg("UFFDIO_REGISTER %p+%#zx: %s", start, len,
			     strerror(err));
}

void uffd_unregister(int uffd, const void *start, size_t len)
{
	struct uffdio_range range = { ADDR(start), len };

	expect_ok(ioctl(uffd, UFFDIO_UNREGISTER, &range));
}

int try_uffd_wp(int uffd, const void *start, size_t len, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { ADDR(start), len },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) ? errno : 0;
}

void uffd_wp(int uffd, const void *start, size_t len, bool protect)
{
	int err = try_uffd_wp(uffd, start, len, protect);

	if (err)
		ck_abort_msg("UFFDIO_WRITEPROTECT %p+%#zx: %s", start, len,
			     strerror(err));
}

int try_uffd_copy(int uffd, void *dst, const void *src, size_t len, __u64 mode)
{
	struct uffdio_copy copy = {
		.dst = ADDR(dst),
		.src = ADDR(src),
		.len = len,
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_COPY, &copy) ? errno : 0;
}

int try_uffd_zero(int uffd, void *dst, size_t len)
{
	struct uffdio_zeropage zero = { .range = { ADDR(dst), len } };

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero) ? errno : 0;
}

int try_uffd_poison(int uffd, void *start, size_t len)
{
	struct native_poison poison = { .range = { ADDR(start), len } };

	return ioctl(uffd, NATIVE_UFFDIO_POISON, &poison) ? errno : 0;
}

void uffd_wake(int uffd, const void *start, size_t len)
{
	struct uffdio_range range = { ADDR(start), len };

	expect_ok(ioctl(uffd, UFFDIO_WAKE, &range));
}

int uffd_waiters(int uffd)
{
	char path[64], text[512];
	const char *total;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", uffd);
	ck_assert(file_read(path, text, sizeof(text)));
	total = strstr(text, "total:");
	ck_assert_ptr_nonnull(total);
	return atoi(total + strlen("total:"));
}

bool uffd_read(int uffd, int ms, struct uffd_msg *msg)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	ssize_t n;

	for (;;) {
		n = poll(&p, 1, ms);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || p.revents & (POLLERR | POLLNVAL))
			return false;
		n = read(uffd, msg, sizeof(*msg));
		if (n == sizeof(*msg))
			return true;
		/* EAGAIN: another reader, or the fault was resolved meanwhile */
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		return false;
	}
}

int native_move(int uffd, void *dst, void *src, size_t len, __u64 mode,
		__s64 *move)
{
	struct native_move m = {
		.dst = ADDR(dst),
		.src = ADDR(src),
		.len = len,
		.mode = mode,
	};
	int ret = ioctl(uffd, NATIVE_UFFDIO_MOVE, &m);

	*move = m.move;
	return ret;
}
