/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * uremap: move anonymous memory between address ranges without copying it.
 *
 * This is the only file an application needs.  Open /dev/uremap, REGISTER the
 * ranges that may be moved from and to, then MOVE.  Where an operation equals
 * one of userfaultfd's, it has that one's field names, mode bits and errnos.
 *
 * DOC: General ioctl format
 *
 * Every structure can grow.  The ioctl number carries the size the caller was
 * compiled with (_IOC_SIZE); a module of another release accepts it: what the
 * caller does not know is left out, what the module does not know must be
 * zero.  Reserved fields and unknown bits must be zero as well.
 *
 * Errors that every ioctl shares:
 *
 *  - ENOTTY:  no such ioctl (number or direction)
 *  - EINVAL:  the structure is shorter than that of the first release; a
 *             reserved field is not zero; an unknown bit is set (a MOVE says
 *             that in its results); the caller is not the opener's process
 *  - E2BIG:   the structure is longer than the module's and its tail not zero
 *  - EFAULT:  the structure cannot be read or written
 *  - ESRCH:   the address space that opened the device is gone
 */
#ifndef _UAPI_LINUX_UREMAP_H
#define _UAPI_LINUX_UREMAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define UREMAP_ABI_VERSION		1

#define UREMAP_IOC_TYPE			0xD7

/* Abilities, in uremap_info.features.  A bit never changes its meaning. */
#define UREMAP_FEATURE_UNSHARE		(1ULL << 0)	/* MOVE_UNSHARE heals */
#define UREMAP_FEATURE_THP		(1ULL << 1)	/* whole THPs move as one */
#define UREMAP_FEATURE_LARGE_FOLIO	(1ULL << 2)	/* large folios stay whole */
#define UREMAP_FEATURE_ZEROPAGE		(1ULL << 3)	/* zero pages move */
#define UREMAP_FEATURE_SWAP		(1ULL << 4)	/* swapped pages move */
#define UREMAP_FEATURE_SWAP_ENTRY	(1ULL << 5)	/* ... without swap-in */
#define UREMAP_FEATURE_UFFD_WP		(1ULL << 6)	/* MOVE_WP, MOVE_KEEP_WP */
#define UREMAP_FEATURE_ATTACH		(1ULL << 7)	/* ATTACH and wake-up */
#define UREMAP_FEATURE_MOVEV		(1ULL << 8)	/* vectored moves */

/**
 * struct uremap_info - argument of UREMAP_IOC_INFO
 * @abi:          out: UREMAP_ABI_VERSION of the module
 * @reserved:     must be 0
 * @features:     out: UREMAP_FEATURE_* bits of this module on this kernel
 * @ioctls:       out: bit N set if ioctl number N exists
 * @modes:        out: UREMAP_MOVE_* bits that MOVE accepts
 * @va_end:       out: first address past the opener's address space; a
 *                registration of [0, @va_end) covers all of it
 * @page_size:    out: bytes in a page
 * @huge_size:    out: bytes in a PMD-mapped huge page
 * @max_ranges:   out: ranges one file can hold after merging
 * @max_segments: out: segments one MOVEV takes, 0 if there is no MOVEV
 *
 * What this module can do here.  Nobody has to find out by failing.  Works
 * from any process that holds the file.
 *
 * Errors: only the shared ones, without ESRCH.
 */
struct uremap_info {
	__u32 abi;
	__u32 reserved;
	__aligned_u64 features;
	__aligned_u64 ioctls;
	__aligned_u64 modes;
	__aligned_u64 va_end;
	__u32 page_size;
	__u32 huge_size;
	__u32 max_ranges;
	__u32 max_segments;
};

/* Rights of a registered range. */
#define UREMAP_RANGE_SRC		(1ULL << 0)	/* may be moved from */
#define UREMAP_RANGE_DST		(1ULL << 1)	/* may be moved to */

/**
 * struct uremap_range - argument of UREMAP_IOC_REGISTER and _UNREGISTER
 * @start:    first byte, a multiple of the page size
 * @len:      bytes, a multiple of the page size, not 0
 * @rights:   UREMAP_RANGE_* bits to give or to take away, not 0
 * @reserved: must be 0
 *
 * REGISTER adds @rights to every byte of the range, whatever it had before;
 * UNREGISTER removes them.  Ranges merge and split as needed, so calls may
 * overlap in any way, and a call that changes nothing succeeds.  A
 * registration is consent by address: it says nothing of what is mapped there
 * and outlives unmapping; every move looks at the mappings anew.
 *
 * Errors:
 *
 *  - EINVAL: @start or @len not a multiple of the page size, @len 0, the
 *            range wraps or ends past uremap_info.va_end, @rights 0
 *  - ENOSPC: more than uremap_info.max_ranges ranges after merging
 *  - ENOMEM: no memory; nothing has changed
 */
struct uremap_range {
	__aligned_u64 start;
	__aligned_u64 len;
	__aligned_u64 rights;
	__aligned_u64 reserved;
};

/**
 * struct uremap_attach - argument of UREMAP_IOC_ATTACH
 * @uffd:     descriptor of a userfaultfd of this process, or -1 to detach
 * @flags:    must be 0
 * @reserved: must be 0
 *
 * Makes moves work together with a userfaultfd: they go only to mappings that
 * are registered with it, wake the threads that wait for what has arrived
 * (unless DONTWAKE; never at holes; also at a page that was there already), and
 * fail with EAGAIN while it has news of a changing layout that nobody has read.
 *
 * No reference is taken, so closing the userfaultfd has its usual effect; moves
 * then fail with EBADF until another one is attached or this one detached.  The
 * descriptor must stay what it is.
 *
 * Errors:
 *
 *  - EBADF:  @uffd is not an open descriptor
 *  - EINVAL: it is no userfaultfd, has not been through UFFDIO_API, or belongs
 *            to another process
 *  - EBUSY:  another one is attached already, and has not been closed
 */
struct uremap_attach {
	__s32 uffd;
	__u32 flags;
	__aligned_u64 reserved;
};

/*
 * Modes of a move.  The first two are UFFDIO_MOVE's.
 *
 * DONTWAKE:        do not wake the waiters of the attached userfaultfd
 * ALLOW_SRC_HOLES: pass over addresses of the source that hold nothing
 * WP:              install pages write-protected (userfaultfd write-protect)
 * KEEP_WP:         carry the source's userfaultfd write-protection along
 * UNSHARE:         make a page that others share movable, by copying it if
 *                  they still use it, instead of failing with EBUSY
 */
#define UREMAP_MOVE_DONTWAKE		(1ULL << 0)
#define UREMAP_MOVE_ALLOW_SRC_HOLES	(1ULL << 1)
#define UREMAP_MOVE_WP			(1ULL << 2)
#define UREMAP_MOVE_KEEP_WP		(1ULL << 3)
#define UREMAP_MOVE_UNSHARE		(1ULL << 4)

/**
 * struct uremap_move - argument of UREMAP_IOC_MOVE
 * @dst:      first destination byte, a multiple of the page size
 * @src:      first source byte, a multiple of the page size
 * @len:      bytes to move, a multiple of the page size, not 0
 * @mode:     UREMAP_MOVE_* bits or 0
 * @move:     out: bytes done from the start, or a negative errno if none;
 *            what uffdio_move.move says
 * @moved:    out: bytes of @move that hold memory now at @dst
 * @holes:    out: bytes of @move that held nothing
 * @healed:   out: bytes of @moved that were made movable first by a fault
 *            (copied if still shared)
 * @stop:     out: address @reason speaks of, 0 if all was done
 * @reason:   out: UREMAP_REASON_*, why it stopped there; 0 if all was done
 * @error:    out: the errno that belongs to @reason, positive; 0 if none
 * @reserved: must be 0; the module may write here while it works
 *
 * Moves page after page; each is at exactly one of both places at any time,
 * and no store through the source address lands after the page is visible at
 * the destination.  Neither range has to lie in one mapping: both are walked
 * mapping by mapping, and each pair is validated.
 *
 * Returns 0 if all of @len is done.  Otherwise -1: with EAGAIN if a part was
 * done (@move tells how much, @error and @reason why not more), else with the
 * errno itself.  The part not done is as it was.
 *
 * The out fields are written whenever the shared checks have passed.
 *
 * Errors (see UREMAP_REASON_* for the causes in full):
 *
 *  - EINVAL: bad address, length or mode; ranges overlap; a range is not
 *            registered; mappings that do not fit
 *  - ENOENT: nothing is mapped there, or a hole without ALLOW_SRC_HOLES
 *  - EEXIST: the destination is already populated
 *  - EBUSY:  the page is shared, pinned, or cannot be moved now
 *  - EFAULT: the source holds no data that could move (poison, marker)
 *  - EAGAIN: partial progress, or the attempt kept losing a race
 *  - EINTR:  a fatal signal
 *  - ENOMEM: no memory for page tables
 *  - EBADF:  the attached userfaultfd has been closed
 */
struct uremap_move {
	__aligned_u64 dst;
	__aligned_u64 src;
	__aligned_u64 len;
	__aligned_u64 mode;
	__s64 move;
	__aligned_u64 moved;
	__aligned_u64 holes;
	__aligned_u64 healed;
	__aligned_u64 stop;
	__u32 reason;
	__u32 error;
	__aligned_u64 reserved[2];
};

/**
 * struct uremap_segment - one range of a MOVEV
 * @dst:    first destination byte, a multiple of the page size
 * @src:    first source byte, a multiple of the page size
 * @len:    bytes to move, a multiple of the page size, not 0
 * @move:   out: as uremap_move.move
 * @holes:  out: as uremap_move.holes
 * @healed: out: as uremap_move.healed
 * @stop:   out: as uremap_move.stop
 * @reason: out: as uremap_move.reason
 * @error:  out: as uremap_move.error
 */
struct uremap_segment {
	__aligned_u64 dst;
	__aligned_u64 src;
	__aligned_u64 len;
	__s64 move;
	__aligned_u64 holes;
	__aligned_u64 healed;
	__aligned_u64 stop;
	__u32 reason;
	__u32 error;
};

/* Flags of a MOVEV: go on with the next segment when one fails. */
#define UREMAP_MOVEV_CONTINUE		(1U << 0)

/**
 * struct uremap_movev - argument of UREMAP_IOC_MOVEV
 * @segs:     address of an array of struct uremap_segment
 * @nr:       segments in it, 1 to uremap_info.max_segments
 * @seg_size: bytes from one to the next: sizeof(struct uremap_segment)
 * @mode:     UREMAP_MOVE_* bits for all of them
 * @flags:    UREMAP_MOVEV_* bits or 0
 * @done:     out: segments from the start that have results
 * @move:     out: bytes done, of all segments
 * @reserved: must be 0; the module may write here while it works
 *
 * Moves one segment after the other, each as MOVE would, with the cost of one
 * call and, as far as they go between the same two mappings, one TLB flush for
 * up to 64 of them.  Without UREMAP_MOVEV_CONTINUE the first that is not done
 * in full ends the call.  There is no all-or-nothing: each segment says for
 * itself how far it got.
 *
 * Returns 0 if every segment is done in full.  Otherwise -1: with EAGAIN if
 * anything was done, else with the errno of the first segment.
 *
 * Errors of the call itself:
 *
 *  - EINVAL: @nr, @seg_size, @mode or @flags
 *  - E2BIG:  @seg_size is larger than the module's and the rest not zero
 *  - EFAULT: the segments cannot be read and written; also afterwards, if they
 *            lie in what has moved, and then none of their group counts as @done
 *
 * Segments are read in groups of 64.  If those of an earlier group have been
 * moved, the error is EAGAIN, and @done tells how far the call got.
 *
 *  - ENOMEM: no memory
 */
struct uremap_movev {
	__aligned_u64 segs;
	__u32 nr;
	__u32 seg_size;
	__aligned_u64 mode;
	__u32 flags;
	__u32 done;
	__aligned_u64 move;
	__aligned_u64 reserved[2];
};

/**
 * struct uremap_uffd_move - argument of UREMAP_IOC_UFFD_MOVE
 * @uffd:     descriptor of a userfaultfd of this process
 * @reserved: must be 0
 * @arg:      address of a struct uffdio_move
 * @room:     room for the module to write to
 *
 * UFFDIO_MOVE for programs that know nothing else: does what
 * ioctl(@uffd, UFFDIO_MOVE, @arg) does in Linux 6.12, with its errors in its
 * order, one mapping on each side, wake-ups at all of the bytes done, and its
 * result in uffdio_move.move where it writes one and only there.  @uffd counts
 * for this call; what is attached does not.  The ranges have to be registered.
 *
 * Errors, besides those of UFFDIO_MOVE:
 *
 *  - EBADF:  @uffd is not an open userfaultfd
 *  - EFAULT: @room cannot be written, and somebody may have to be woken
 */
struct uremap_uffd_move {
	__s32 uffd;
	__u32 reserved;
	__aligned_u64 arg;
	__aligned_u64 room[2];
};

/*
 * Why a move stopped.  The errno in parentheses is uremap_move.error.
 */
#define UREMAP_REASON_NONE		0	/* all was done */
/* the request */
#define UREMAP_REASON_ARGUMENT		1	/* bad address, length, mode (EINVAL) */
#define UREMAP_REASON_OVERLAP		2	/* src and dst overlap (EINVAL) */
#define UREMAP_REASON_SRC_UNREGISTERED	3	/* no SRC right there (EINVAL) */
#define UREMAP_REASON_DST_UNREGISTERED	4	/* no DST right there (EINVAL) */
#define UREMAP_REASON_SIGNAL		5	/* fatal signal (EINTR) */
#define UREMAP_REASON_RETRY_LIMIT	6	/* kept losing a race (EAGAIN) */
#define UREMAP_REASON_NOMEM		7	/* no memory (ENOMEM) */
#define UREMAP_REASON_CHANGING		8	/* userfaultfd layout is changing (EAGAIN) */
#define UREMAP_REASON_DST_NOT_UFFD	9	/* dst not of the attached userfaultfd (EINVAL) */
#define UREMAP_REASON_UFFD_GONE		10	/* attached userfaultfd closed (EBADF) */
/* the mappings */
#define UREMAP_REASON_SRC_NO_VMA	16	/* nothing mapped at src (ENOENT) */
#define UREMAP_REASON_DST_NO_VMA	17	/* nothing mapped at dst (ENOENT) */
#define UREMAP_REASON_VMA_SHARED	18	/* a shared mapping (EINVAL) */
#define UREMAP_REASON_VMA_NOT_ANON	19	/* not anonymous memory (EINVAL) */
#define UREMAP_REASON_VMA_PROT		20	/* protections differ (EINVAL) */
#define UREMAP_REASON_VMA_LOCKED	21	/* only one is mlocked (EINVAL) */
#define UREMAP_REASON_VMA_READONLY	22	/* not writable (EINVAL) */
#define UREMAP_REASON_VMA_SPECIAL	23	/* hugetlb, PFN, I/O, shadow stack (EINVAL) */
#define UREMAP_REASON_VMA_PKEY		24	/* protection key denies it (EINVAL) */
#define UREMAP_REASON_VMA_DROPPABLE	25	/* droppable on one side (EINVAL) */
#define UREMAP_REASON_WP_UNREGISTERED	26	/* WP, but dst has no uffd-wp (EINVAL) */
/* the source page */
#define UREMAP_REASON_HOLE		32	/* nothing there (ENOENT) */
#define UREMAP_REASON_NOT_EXCLUSIVE	33	/* shared with another process (EBUSY) */
#define UREMAP_REASON_KSM		34	/* merged by KSM (EBUSY) */
#define UREMAP_REASON_PINNED		35	/* pinned for I/O (EBUSY) */
#define UREMAP_REASON_WP_SHARED		36	/* shared and write-protected (EBUSY) */
#define UREMAP_REASON_THP		37	/* huge page this module does not move (EBUSY) */
#define UREMAP_REASON_LARGE_FOLIO	38	/* large folio likewise (EBUSY) */
#define UREMAP_REASON_SPLIT_FAILED	39	/* large folio could not be split (EBUSY) */
#define UREMAP_REASON_ZEROPAGE		40	/* zero page likewise (EBUSY) */
#define UREMAP_REASON_SWAP		41	/* swapped out likewise (EBUSY) */
#define UREMAP_REASON_MIGRATING		42	/* under migration (EAGAIN) */
#define UREMAP_REASON_HWPOISON		43	/* memory error (EFAULT) */
#define UREMAP_REASON_DEVICE		44	/* device memory (EFAULT) */
#define UREMAP_REASON_SRC_POISON	45	/* UFFDIO_POISON marker (EFAULT) */
#define UREMAP_REASON_SRC_GUARD		46	/* guard page (EFAULT) */
#define UREMAP_REASON_SRC_WP_MARKER	47	/* write-protected hole (ENOENT) */
#define UREMAP_REASON_SRC_SPECIAL	48	/* a page the kernel gives no struct (EFAULT) */
#define UREMAP_REASON_FOLIO_BUSY	49	/* locked by the kernel for long (EAGAIN) */
/* the destination */
#define UREMAP_REASON_DST_BUSY		64	/* populated already (EEXIST) */
#define UREMAP_REASON_DST_POISON	65	/* UFFDIO_POISON marker (EEXIST) */
#define UREMAP_REASON_DST_GUARD		66	/* guard page (EEXIST) */
#define UREMAP_REASON_DST_WP_MARKER	67	/* write-protected hole (EEXIST) */

#define UREMAP_IOC_INFO		_IOWR(UREMAP_IOC_TYPE, 0, struct uremap_info)
#define UREMAP_IOC_REGISTER	_IOW(UREMAP_IOC_TYPE, 1, struct uremap_range)
#define UREMAP_IOC_UNREGISTER	_IOW(UREMAP_IOC_TYPE, 2, struct uremap_range)
#define UREMAP_IOC_ATTACH	_IOW(UREMAP_IOC_TYPE, 3, struct uremap_attach)
#define UREMAP_IOC_MOVE		_IOWR(UREMAP_IOC_TYPE, 4, struct uremap_move)
#define UREMAP_IOC_MOVEV	_IOWR(UREMAP_IOC_TYPE, 5, struct uremap_movev)
#define UREMAP_IOC_UFFD_MOVE	_IOW(UREMAP_IOC_TYPE, 6, struct uremap_uffd_move)

#endif /* _UAPI_LINUX_UREMAP_H */
