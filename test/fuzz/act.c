// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes on beside the ioctls: mappings of all kinds, pages in all states,
 * userfaultfd, pins, pipes.  Nothing here is checked; it only has to be there.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static __thread sigjmp_buf jump;
static __thread volatile bool touching;

static void on_fault(int sig)
{
	if (!touching)
		_exit(0);
	siglongjmp(jump, 1);
}

static void touch(struct state *s, struct input *in)
{
	volatile uint64_t *p = (void *)draw_address(s, in);
	bool write = next(in) & 1;
	uint8_t n = next(in) % 64;

	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	if (sigsetjmp(jump, 1)) {
		touching = false;
		return;
	}
	touching = true;
	for (; n; n--, p += PAGE / 8) {
		if (write)
			*p = (uintptr_t)p;
		else
			(void)*p;
	}
	touching = false;
}

static void map_anew(struct state *s, struct input *in)
{
	static const int flags[] = {
		MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE | MAP_ANONYMOUS,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		MAP_SHARED | MAP_ANONYMOUS,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN,
		0x08 /* MAP_DROPPABLE */ | MAP_ANONYMOUS,
		MAP_PRIVATE,
	};
	uint64_t addr = draw_address(s, in), len = draw_length(in);
	uint8_t what = next(in) % 8;
	int fd = -1, prot = next(in) % 4;

	/* Only the arena: the program has to go on. */
	if (addr < (uintptr_t)ARENA || addr + len < addr ||
	    addr + len > (uintptr_t)ARENA + ARENA_PAGES * PAGE)
		return;
	if (what == 7) {
		fd = memfd_create("file", 0);
		if (ftruncate(fd, ARENA_PAGES * PAGE))
			return;
	}
	mmap((void *)addr, len, prot == 3 ? 3 : prot | PROT_READ,
	     flags[what] | MAP_FIXED, fd, 0);
	if (fd >= 0)
		close(fd);
}

void act_memory(struct state *s, struct input *in)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_MERGEABLE, 20 /* COLD */, 21 /* PAGEOUT */,
		22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */,
		25 /* COLLAPSE */, 102 /* GUARD_INSTALL */,
		103 /* GUARD_REMOVE */, MADV_DONTFORK, MADV_WIPEONFORK,
		MADV_DONTDUMP, MADV_RANDOM,
	};
	uint8_t what = next(in);
	uint64_t addr, len;

	if (what < 100) {
		touch(s, in);
		return;
	}
	if (what < 130) {
		map_anew(s, in);
		return;
	}
	addr = draw_address(s, in);
	len = draw_length(in);
	if (addr < (uintptr_t)ARENA || addr - (uintptr_t)ARENA + len >
	    ARENA_PAGES * PAGE)
		return;
	if (what < 200)
		madvise((void *)addr, len, advices[next(in) % 16]);
	else if (what < 220)
		mprotect((void *)addr, len, next(in) % 4);
	else if (what < 230)
		munmap((void *)addr, len);
	else if (what < 240)
		mlock2((void *)addr, len, next(in) & 1);
	else
		mremap((void *)addr, len, len, MREMAP_MAYMOVE | MREMAP_FIXED |
		       (next(in) & 1 ? 4 /* DONTUNMAP */ : 0),
		       ARENA + next(in) * PAGE);
}

static void uffd_act(struct state *s, struct input *in)
{
	struct uffdio_register reg = {
		.range = { draw_address(s, in), draw_length(in) },
		.mode = 1 + next(in) % 3,
	};
	struct uffdio_writeprotect wp = { .range = reg.range };

	if (s->uffd < 0) {
		struct uffdio_api api = { .api = UFFD_API };

		/* What would wait for its monitor gets a signal instead. */
		api.features = UFFD_FEATURE_SIGBUS;
		s->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		ioctl(s->uffd, UFFDIO_API, &api);
	}
	switch (next(in) % 8) {
	case 0:
		ioctl(s->uffd, UFFDIO_UNREGISTER, &reg.range);
		break;
	case 1:
	case 2:
		wp.mode = next(in) & 1;
		ioctl(s->uffd, UFFDIO_WRITEPROTECT, &wp);
		break;
	case 3:
		close(s->uffd);
		s->uffd = -1;
		break;
	default:
		ioctl(s->uffd, UFFDIO_REGISTER, &reg);
	}
}

static void pin(struct state *s, struct input *in)
{
	struct iovec iov = { (void *)draw_address(s, in), draw_length(in) };
	struct io_uring_params p = { 0 };

	if (s->uring < 0)
		s->uring = syscall(SYS_io_uring_setup, 1, &p);
	if (next(in) & 1)
		syscall(SYS_io_uring_register, s->uring,
			IORING_REGISTER_BUFFERS, &iov, 1);
	else
		syscall(SYS_io_uring_register, s->uring,
			IORING_UNREGISTER_BUFFERS, NULL, 0);
}

static void splice_page(struct state *s, struct input *in)
{
	struct iovec iov = { (void *)draw_address(s, in), PAGE };
	char byte;

	if (s->pipe[0] < 0 && pipe2(s->pipe, O_NONBLOCK))
		return;
	if (next(in) & 1)
		vmsplice(s->pipe[1], &iov, 1, SPLICE_F_NONBLOCK);
	else if (read(s->pipe[0], &byte, 1) < 0)
		errno = 0;
}

void act_system(struct state *s, struct input *in)
{
	switch (next(in) % 8) {
	case 0:
		pin(s, in);
		break;
	case 1:
		splice_page(s, in);
		break;
	case 2:
		touch(s, in);
		break;
	default:
		uffd_act(s, in);
	}
}
