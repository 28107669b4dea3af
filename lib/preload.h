/* SPDX-License-Identifier: MIT */
/*
 * The preload library's two halves: interposition (preload.c) and the device
 * (device.c).  Everything here can run in a signal handler, in any thread, and
 * in the child of a fork: no malloc, no stdio, no lock.
 */
#ifndef UREMAP_PRELOAD_H
#define UREMAP_PRELOAD_H

#include <stdbool.h>

/* UREMAP_PRELOAD=always: also where the kernel has UFFDIO_MOVE */
extern bool preload_always;

/* Reads the environment; before any other function here. */
void device_init(void);

/*
 * True if the module can serve this process now.  Opens the device at the
 * first call; on failure says why, once, if the user asked for it.
 */
bool device_usable(void);

/*
 * Hands UFFDIO_MOVE of userfaultfd @uffd, whose argument is at address @arg,
 * to the module.  Returns 0 or the negative errno that UFFDIO_MOVE has; 1 if
 * the module cannot take it, and the kernel is to answer.
 */
int device_move(int uffd, unsigned long arg);

/* Says it on stderr, once per process, with UREMAP_PRELOAD_DEBUG=1. */
void preload_say(const char *what, int err);

/* The system call itself: 0 or more, or a negative errno; leaves errno alone. */
long raw_ioctl(int fd, unsigned long request, unsigned long arg);

#endif
