/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * io_uring with nothing but system calls: registered buffers pin memory, and a
 * read into one is a device that writes to pinned pages; see util_uring.c.
 */
#ifndef UREMAP_TEST_UTIL_URING_H
#define UREMAP_TEST_UTIL_URING_H

#include "util.h"

struct io_uring_sqe;
struct io_uring_cqe;

struct uring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

/* Skips if there is none, or if it may not be used. */
void uring_open(struct uring *u);
/* Pins (FOLL_PIN | FOLL_LONGTERM); 0 or the errno */
int try_uring_pin(struct uring *u, void *start, size_t len);
void uring_pin(struct uring *u, void *start, size_t len);
/* All pins are gone when it returns. */
void uring_unpin(struct uring *u);
/*
 * Starts reading from @fd at @off; with @fixed into registered buffer 0, which
 * @buf has to lie in.
 */
void uring_read_start(struct uring *u, int fd, void *buf, size_t len, off_t off,
		      bool fixed);
/* Waits for one to end: bytes or a negative errno. */
int uring_read_end(struct uring *u);

#endif /* UREMAP_TEST_UTIL_URING_H */
