// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker's userfaultfd: a monitor that fills what is missing with zeros, by
 * the kernel's own means or by a move, and lifts protections; and registering
 * and protecting blocks.
 *
 * The monitor takes no lock of the model and touches nothing of the arena, for
 * who waits for it may hold any.
 */
#include "torture.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wake(struct worker *w, unsigned long addr)
{
	struct uffdio_range range = { addr, PAGE };

	ioctl(w->uffd, UFFDIO_WAKE, &range);
}

static int zero_by_ioctl(struct worker *w, unsigned long addr)
{
	struct uffdio_zeropage zero = { .range = { addr, PAGE } };

	return ioctl(w->uffd, UFFDIO_ZEROPAGE, &zero);
}

static int zero_by_move(struct worker *w, unsigned long addr, char *page)
{
	struct uremap_move m = { .dst = addr, .src = ADDR(page), .len = PAGE };

	memset(page, 0, PAGE);
	return ioctl(w->dev_attached, UREMAP_IOC_MOVE, &m);
}

/* Whatever fails has been overtaken: who waits is to look again. */
static void answer(struct worker *w, const struct uffd_msg *msg, char *page)
{
	unsigned long addr = msg->arg.pagefault.address & ~(PAGE - 1);
	static unsigned int n;
	int ret;

	if (msg->event != UFFD_EVENT_PAGEFAULT)
		return;
	COUNT(faults, 1);
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		struct uffdio_writeprotect wp = { .range = { addr, PAGE } };

		ret = ioctl(w->uffd, UFFDIO_WRITEPROTECT, &wp);
	} else if (n++ % 2) {
		ret = zero_by_ioctl(w, addr);
	} else {
		ret = zero_by_move(w, addr, page);
	}
	if (ret)
		wake(w, addr);
}

static void *monitor(void *arg)
{
	struct worker *w = arg;
	struct uffd_msg msg;
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		fail(NULL, "no page for the monitor");
	for (;;) {
		ssize_t n = read(w->uffd, &msg, sizeof(msg));

		if (n == sizeof(msg))
			answer(w, &msg, page);
		else if (n >= 0 || (errno != EINTR && errno != EAGAIN))
			fail(NULL, "reading the userfaultfd: %s",
			     strerror(errno));
	}
	return NULL;
}

static int uffd_api(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void uffd_start(struct worker *w)
{
	const uint64_t events = UFFD_FEATURE_EVENT_REMAP |
				UFFD_FEATURE_EVENT_REMOVE |
				UFFD_FEATURE_EVENT_UNMAP;
	struct uremap_attach attach = { 0 };
	pthread_t thread;

	w->uffd_events = w->nr % 2;
	w->uffd_wp = true;
	w->uffd = uffd_api(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			   (w->uffd_events ? events : 0));
	if (w->uffd < 0)
		return;
	w->dev_attached = dev_open_all();
	attach.uffd = w->uffd;
	if (ioctl(w->dev_attached, UREMAP_IOC_ATTACH, &attach))
		fail(NULL, "ATTACH: %s", strerror(errno));
	if (pthread_create(&thread, NULL, monitor, w))
		fail(NULL, "no monitor");
}

/* The block is registered no more, whatever it was. */
void uffd_forget(struct worker *w, uint32_t block)
{
	struct uffdio_range range = {
		ADDR(slot_addr(w, block * BLOCK)), BLOCK * PAGE
	};

	if (w->uffd >= 0 && ioctl(w->uffd, UFFDIO_UNREGISTER, &range))
		fail(NULL, "UFFDIO_UNREGISTER of block %u: %s", block,
		     strerror(errno));
	w->blocks[block].uffd = 0;
}

void op_register(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	static const uint64_t modes[4] = {
		[UFFD_MISSING] = UFFDIO_REGISTER_MODE_MISSING,
		[UFFD_WP] = UFFDIO_REGISTER_MODE_WP,
		[UFFD_MISSING | UFFD_WP] = UFFDIO_REGISTER_MODE_MISSING |
					   UFFDIO_REGISTER_MODE_WP,
	};
	struct worker *w = t->w;
	struct uffdio_register reg = { 0 };
	uint32_t mode = below(t, 4);

	slot -= slot % BLOCK;
	t->now->mode = mode;
	came_to_nothing(t);
	if (w->uffd < 0)
		return;
	model_lock(w, slot, slot, BLOCK);
	/* Another mode would leave marks of the old one behind. */
	uffd_forget(w, slot / BLOCK);
	if (mode) {
		reg.range.start = ADDR(slot_addr(w, slot));
		reg.range.len = BLOCK * PAGE;
		reg.mode = modes[mode];
		if (ioctl(w->uffd, UFFDIO_REGISTER, &reg))
			fail(t, "UFFDIO_REGISTER: %s", strerror(errno));
		block_of(w, slot)->uffd = mode;
	}
	t->now->result = 0;
	model_unlock(w, slot, slot, BLOCK);
}

void op_wp(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct uffdio_writeprotect wp = { 0 };
	struct worker *w = t->w;
	uint32_t left = BLOCK - slot % BLOCK;

	if (len > left)
		len = left;
	wp.range.start = ADDR(slot_addr(w, slot));
	wp.range.len = len * PAGE;
	if (!one_in(t, 3))
		wp.mode = UFFDIO_WRITEPROTECT_MODE_WP;
	t->now->mode = wp.mode;
	came_to_nothing(t);
	if (w->uffd < 0)
		return;
	model_lock(w, slot, slot, len);
	if (block_of(w, slot)->uffd & UFFD_WP) {
		int err = ioctl(w->uffd, UFFDIO_WRITEPROTECT, &wp) ? errno : 0;

		/* EAGAIN while there is news of a changing layout */
		if (err && err != EAGAIN)
			fail(t, "UFFDIO_WRITEPROTECT: %s", strerror(err));
		t->now->result = -err;
	}
	model_unlock(w, slot, slot, len);
}
