// SPDX-License-Identifier: GPL-2.0-only
/*
 * As much of io_uring as it takes to pin memory and have a device read into it.
 */
#include "torture.h"

#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct uring {
	int fd;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
};

static void *map_ring(int fd, size_t len, off_t what)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, fd, what);
}

struct uring *uring_create(void)
{
	struct uring *u = calloc(1, sizeof(*u));

	u->fd = syscall(SYS_io_uring_setup, 2, &u->p);
	if (u->fd < 0) {
		free(u);
		return NULL;
	}
	u->sq = map_ring(u->fd, u->p.sq_off.array + u->p.sq_entries * 4,
			 IORING_OFF_SQ_RING);
	u->cq = map_ring(u->fd, u->p.cq_off.cqes +
			 u->p.cq_entries * sizeof(struct io_uring_cqe),
			 IORING_OFF_CQ_RING);
	u->sqes = map_ring(u->fd, u->p.sq_entries * sizeof(*u->sqes),
			   IORING_OFF_SQES);
	if (u->sq == MAP_FAILED || u->cq == MAP_FAILED || u->sqes == MAP_FAILED)
		fail(NULL, "mmap of io_uring: %s", strerror(errno));
	return u;
}

int uring_pin(struct uring *u, void *start, size_t len)
{
	struct iovec iov = { start, len };

	return syscall(SYS_io_uring_register, u->fd, IORING_REGISTER_BUFFERS,
		       &iov, 1) ? errno : 0;
}

int uring_unpin(struct uring *u)
{
	return syscall(SYS_io_uring_register, u->fd, IORING_UNREGISTER_BUFFERS,
		       NULL, 0) ? errno : 0;
}

static uint32_t *at(char *ring, uint32_t off)
{
	return (uint32_t *)(ring + off);
}

/* Bytes, or a negative errno */
int uring_read_fixed(struct uring *u, int fd, void *buf, size_t len)
{
	uint32_t *sq_tail = at(u->sq, u->p.sq_off.tail);
	uint32_t *cq_head = at(u->cq, u->p.cq_off.head);
	uint32_t *cq_tail = at(u->cq, u->p.cq_off.tail);
	uint32_t i = *sq_tail & *at(u->sq, u->p.sq_off.ring_mask);
	uint32_t head = *cq_head, slot;
	struct io_uring_cqe *cqes = (void *)(u->cq + u->p.cq_off.cqes);
	int res;

	memset(&u->sqes[i], 0, sizeof(u->sqes[i]));
	u->sqes[i].opcode = IORING_OP_READ_FIXED;
	u->sqes[i].fd = fd;
	u->sqes[i].addr = ADDR(buf);
	u->sqes[i].len = len;
	at(u->sq, u->p.sq_off.array)[i] = i;
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	while (syscall(SYS_io_uring_enter, u->fd,
		       __atomic_load_n(at(u->sq, u->p.sq_off.head),
				       __ATOMIC_ACQUIRE) != *sq_tail, 1,
		       IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		if (errno != EINTR)
			return -errno;
	while (__atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) == head)
		;
	slot = head & *at(u->cq, u->p.cq_off.ring_mask);
	res = cqes[slot].res;
	__atomic_store_n(cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}
