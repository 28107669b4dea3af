/* SPDX-License-Identifier: MIT */
/*
 * Moving pages by what this machine has: UFFDIO_MOVE of the kernel (Linux 6.8)
 * where it suffices, /dev/uremap where that is loaded.
 *
 *	struct uremap_mover m;
 *	struct uremap_move req = { .dst = ..., .src = ..., .len = ... };
 *	enum uremap_way way;
 *
 *	if (uremap_probe(&m, uffd, 0))
 *		copy instead, and say uremap_status_text(&m);
 *	uremap_allow(&m, heap, heap_len, UREMAP_RANGE_SRC | UREMAP_RANGE_DST);
 *	...
 *	ret = uremap_move(&m, &req, &way);
 *
 * All of it is in this file, for C11 and C++17; nothing allocates memory or
 * takes a lock.
 */
#ifndef UREMAP_CHOOSE_H
#define UREMAP_CHOOSE_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/uremap.h>
#include <linux/userfaultfd.h>

/* struct uffdio_move, which the headers of an older kernel lack */
struct uremap_native_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};

#define UREMAP_NATIVE_MOVE	_IOWR(UFFDIO, 0x05, struct uremap_native_move)
#define UREMAP_NATIVE_MODES	(UREMAP_MOVE_DONTWAKE | \
				 UREMAP_MOVE_ALLOW_SRC_HOLES)

/* Who moved, or was the last to refuse. */
enum uremap_way {
	UREMAP_WAY_NONE,
	UREMAP_WAY_NATIVE,
	UREMAP_WAY_MODULE
};

/* Can the module be used? */
enum uremap_status {
	UREMAP_STATUS_OK,
	UREMAP_STATUS_NO_DEVICE,	/* no /dev/uremap, or not this one */
	UREMAP_STATUS_NO_PERMISSION,	/* it may not be opened */
	UREMAP_STATUS_ABI_TOO_OLD,	/* the module is older than the header */
	UREMAP_STATUS_FEATURE_MISSING,	/* not all features asked for */
	UREMAP_STATUS_FAILED		/* something else, see error */
};

/*
 * Filled by uremap_probe().  native and status say what there is; both ways, one
 * or none may be usable.
 */
struct uremap_mover {
	int dev;			/* /dev/uremap, or -1 */
	int uffd;
	int native;			/* the kernel has UFFDIO_MOVE */
	enum uremap_status status;	/* of the module */
	int error;			/* errno behind status, or 0 */
	__u64 missing;			/* features, with FEATURE_MISSING */
	struct uremap_info info;	/* of the module, if it could be asked */
};

static inline const char *uremap_status_text(const struct uremap_mover *m)
{
	switch (m->status) {
	case UREMAP_STATUS_OK:
		return "/dev/uremap can be used";
	case UREMAP_STATUS_NO_DEVICE:
		return "there is no /dev/uremap (module not loaded?)";
	case UREMAP_STATUS_NO_PERMISSION:
		return "no permission to open /dev/uremap";
	case UREMAP_STATUS_ABI_TOO_OLD:
		return "the uremap module is too old";
	case UREMAP_STATUS_FEATURE_MISSING:
		return "the uremap module lacks a feature on this kernel";
	case UREMAP_STATUS_FAILED:
		break;
	}
	return "/dev/uremap failed";
}

/* UFFDIO_MOVE exists if it gets as far as reading its argument. */
static inline int uremap_has_native(int uffd)
{
	if (uffd < 0)
		return 0;
	if (!ioctl(uffd, UREMAP_NATIVE_MOVE, (void *)0))
		return 0;
	return errno == EFAULT || errno == EAGAIN;
}

static inline int uremap_open_device(void)
{
#ifdef O_CLOEXEC
	return open("/dev/uremap", O_RDWR | O_CLOEXEC);
#else
	/* C11 without POSIX 2008 has no more */
	int dev = open("/dev/uremap", O_RDWR);

	if (dev >= 0)
		fcntl(dev, F_SETFD, FD_CLOEXEC);
	return dev;
#endif
}

static inline enum uremap_status uremap_open_status(int err)
{
	switch (err) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
	case ENOTTY:
		return UREMAP_STATUS_NO_DEVICE;
	case EACCES:
	case EPERM:
		return UREMAP_STATUS_NO_PERMISSION;
	default:
		return UREMAP_STATUS_FAILED;
	}
}

static inline enum uremap_status
uremap_probe_dev(struct uremap_mover *m, __u32 abi, __u64 features)
{
	if (ioctl(m->dev, UREMAP_IOC_INFO, &m->info)) {
		m->error = errno;
		return uremap_open_status(m->error);
	}
	if (m->info.abi < abi)
		return UREMAP_STATUS_ABI_TOO_OLD;
	m->missing = features & ~(__u64)m->info.features;
	if (m->missing)
		return UREMAP_STATUS_FEATURE_MISSING;
	if (m->uffd >= 0) {
		struct uremap_attach attach;

		memset(&attach, 0, sizeof(attach));
		attach.uffd = m->uffd;
		if (ioctl(m->dev, UREMAP_IOC_ATTACH, &attach)) {
			m->error = errno;
			return UREMAP_STATUS_FAILED;
		}
	}
	return UREMAP_STATUS_OK;
}

/* uremap_probe() for a program that needs another ABI than its header's */
static inline int uremap_probe_abi(struct uremap_mover *m, int uffd, __u32 abi,
				   __u64 features)
{
	int saved = errno;

	memset(m, 0, sizeof(*m));
	m->uffd = uffd;
	m->native = uremap_has_native(uffd);
	if (uffd >= 0)
		features |= UREMAP_FEATURE_ATTACH;
	m->dev = uremap_open_device();
	if (m->dev < 0) {
		m->error = errno;
		m->status = uremap_open_status(m->error);
	} else {
		m->status = uremap_probe_dev(m, abi, features);
	}
	if (m->dev >= 0 && m->status != UREMAP_STATUS_OK) {
		close(m->dev);
		m->dev = -1;
	}
	if (m->native || m->dev >= 0) {
		errno = saved;
		return 0;
	}
	errno = EOPNOTSUPP;
	return -1;
}

/*
 * Finds out what can move pages here.  @uffd is the userfaultfd that destinations
 * are registered with, after UFFDIO_API, or -1 if there is none; then only the
 * module can.  @features are the UREMAP_FEATURE_* without which the module is
 * of no use to the caller.
 *
 * Returns 0 if there is a way.  If not -1, with EOPNOTSUPP; @m says why, and
 * need not be closed.
 *
 * With @uffd the module is attached to it and wakes its waiters, but neither at
 * holes nor on errors other than EEXIST; see UREMAP_IOC_ATTACH(2const).
 */
static inline int uremap_probe(struct uremap_mover *m, int uffd, __u64 features)
{
	return uremap_probe_abi(m, uffd, UREMAP_ABI_VERSION, features);
}

static inline void uremap_mover_close(struct uremap_mover *m)
{
	if (m->dev >= 0)
		close(m->dev);
	m->dev = -1;
}

/* UREMAP_IOC_REGISTER, where there is somebody to tell; 0, or -1 with errno */
static inline int uremap_allow(struct uremap_mover *m, const void *start,
			       __u64 len, __u64 rights)
{
	struct uremap_range range;

	if (m->dev < 0)
		return 0;
	memset(&range, 0, sizeof(range));
	range.start = (__u64)(uintptr_t)start;
	range.len = len;
	range.rights = rights;
	return ioctl(m->dev, UREMAP_IOC_REGISTER, &range);
}

static inline int uremap_move_native(const struct uremap_mover *m,
				     struct uremap_move *req)
{
	struct uremap_native_move nat;
	int ret;

	memset(&nat, 0, sizeof(nat));
	nat.dst = req->dst;
	nat.src = req->src;
	nat.len = req->len;
	nat.mode = req->mode & UREMAP_NATIVE_MODES;
	ret = ioctl(m->uffd, UREMAP_NATIVE_MOVE, &nat);
	/* not written before the arguments have been checked */
	req->move = ret && !nat.move ? -errno : nat.move;
	req->moved = req->move > 0 ? (__u64)req->move : 0;
	req->holes = 0;
	req->healed = 0;
	req->stop = 0;
	req->reason = UREMAP_REASON_NONE;
	req->error = ret && !req->moved ? (__u32)errno : 0;
	return ret;
}

/*
 * One move, as UREMAP_IOC_MOVE has it: 0, or -1 with errno; EAGAIN with
 * @req->move > 0 if a part was done.  *@way, if @way is not NULL, says who did
 * it.
 *
 * The kernel is asked first if it knows all of the mode; UREMAP_MOVE_UNSHARE
 * counts as known, for most pages need no healing.  What it refuses with EBUSY
 * (a shared page ...) or EINVAL (several mappings ...) the module may do, or else
 * give the reason for.  The kernel tells neither holes,
 * which are in @req->moved then, nor why it stopped: @req->reason is 0.
 */
static inline int uremap_move(const struct uremap_mover *m,
			      struct uremap_move *req, enum uremap_way *way)
{
	const __u64 native_modes = UREMAP_NATIVE_MODES | UREMAP_MOVE_UNSHARE;
	enum uremap_way unused;
	int ret = -1;

	if (!way)
		way = &unused;
	*way = UREMAP_WAY_NONE;
	if (m->native && !(req->mode & ~native_modes)) {
		*way = UREMAP_WAY_NATIVE;
		ret = uremap_move_native(m, req);
		if (!ret || m->dev < 0 || (errno != EBUSY && errno != EINVAL))
			return ret;
	}
	if (m->dev < 0) {
		errno = EOPNOTSUPP;
		return ret;
	}
	*way = UREMAP_WAY_MODULE;
	return ioctl(m->dev, UREMAP_IOC_MOVE, req);
}

#endif
