// SPDX-License-Identifier: GPL-2.0-only
/*
 * io_uring with nothing but system calls; see util_uring.h.
 */
#include "util_uring.h"

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static void *map_ring(int fd, size_t len, off_t what)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, fd, what);

	if (p == MAP_FAILED)
		ck_abort_msg("io_uring mmap: %s", strerror(errno));
	return p;
}

void uring_open(struct uring *u)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;

	u->fd = syscall(__NR_io_uring_setup, 4, &p);
	skip_if(u->fd < 0, "io_uring: %s", strerror(errno));
	sq = map_ring(u->fd, p.sq_off.array + p.sq_entries * sizeof(__u32),
		      IORING_OFF_SQ_RING);
	cq = map_ring(u->fd, p.cq_off.cqes + p.cq_entries *
		      sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	u->sqes = map_ring(u->fd, p.sq_entries * sizeof(struct io_uring_sqe),
			   IORING_OFF_SQES);
	u->sq_tail = (void *)(sq + p.sq_off.tail);
	u->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	u->sq_array = (void *)(sq + p.sq_off.array);
	u->cq_head = (void *)(cq + p.cq_off.head);
	u->cq_tail = (void *)(cq + p.cq_off.tail);
	u->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	u->cqes = (void *)(cq + p.cq_off.cqes);
}

int try_uring_pin(struct uring *u, void *start, size_t len)
{
	struct iovec iov = { start, len };

	return syscall(__NR_io_uring_register, u->fd, IORING_REGISTER_BUFFERS,
		       &iov, 1) ? errno : 0;
}

void uring_pin(struct uring *u, void *start, size_t len)
{
	int err = try_uring_pin(u, start, len);

	if (err)
		ck_abort_msg("IORING_REGISTER_BUFFERS: %s", strerror(err));
}

/*
 * A request is freed after it has been said to be done, and has its buffer until
 * then, be that unregistered or not (seen on 7.2): wait for that.  The pages are
 * no longer counted a moment before they are unpinned.
 */
void uring_unpin(struct uring *u)
{
	long before = status_kb(0, "VmPin");
	int tries = 10000;

	expect_ok(syscall(__NR_io_uring_register, u->fd,
			  IORING_UNREGISTER_BUFFERS, NULL, 0));
	while (before && status_kb(0, "VmPin") >= before && --tries)
		usleep(1000);
	ck_assert_int_ne(tries, 0);
	usleep(1000);
}

void uring_read_start(struct uring *u, int fd, void *buf, size_t len, off_t off,
		      bool fixed)
{
	unsigned int tail = *u->sq_tail, i = tail & *u->sq_mask;
	int n;

	u->sqes[i] = (struct io_uring_sqe){
		.opcode = fixed ? IORING_OP_READ_FIXED : IORING_OP_READ,
		.fd = fd,
		.addr = ADDR(buf),
		.len = len,
		.off = off,
	};
	u->sq_array[i] = i;
	__atomic_store_n(u->sq_tail, tail + 1, __ATOMIC_RELEASE);
	n = expect_ok(syscall(__NR_io_uring_enter, u->fd, 1, 0, 0, NULL, 0));
	ck_assert_int_eq(n, 1);
}

int uring_read_end(struct uring *u)
{
	unsigned int head = *u->cq_head;
	int res;

	while (__atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE) == head)
		if (syscall(__NR_io_uring_enter, u->fd, 0, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0) < 0 &&
		    errno != EINTR)
			ck_abort_msg("io_uring_enter: %s", strerror(errno));
	res = u->cqes[head & *u->cq_mask].res;
	__atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}
