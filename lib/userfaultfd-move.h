/* SPDX-License-Identifier: MIT */
/*
 * What <linux/userfaultfd.h> has of UFFDIO_MOVE since Linux 6.8, for building
 * against the headers of an older kernel.
 */
#ifndef UREMAP_USERFAULTFD_MOVE_H
#define UREMAP_USERFAULTFD_MOVE_H

#include <linux/userfaultfd.h>

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

#define UFFDIO_MOVE			_IOWR(UFFDIO, _UFFDIO_MOVE, \
					      struct uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE		((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES	((__u64)1 << 1)
#endif

#endif
