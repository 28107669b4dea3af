// SPDX-License-Identifier: GPL-2.0-only
/*
 * Operations that only disturb: they lock nothing in the model, so they meet
 * moves and everything else half way.  None changes what a slot must hold.
 */
#include "torture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* What is unmapped or protected at the moment is not there to be read. */
bool try_touch(struct thread *t, void (*fn)(struct thread *t, void *arg),
	       void *arg)
{
	if (sigsetjmp(t->jump, 0)) {
		t->may_fault = false;
		return false;
	}
	t->may_fault = true;
	fn(t, arg);
	t->may_fault = false;
	return true;
}

static void advise(struct thread *t, uint32_t slot, uint32_t len, int advice)
{
	t->now->mode = advice;
	t->now->result = madvise(slot_addr(t->w, slot), len * PAGE, advice) ?
			 -errno : 0;
}

void op_pageout(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	advise(t, slot, len, MADV_PAGEOUT);
}

void op_cold(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	advise(t, slot, len, MADV_COLD);
}

void op_collapse(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	advise(t, slot - slot % HPAGES, HPAGES, MADV_COLLAPSE);
}

/* In whole blocks, which are mappings of their own or parts of one. */
static void advise_block(struct thread *t, uint32_t slot, int advice)
{
	advise(t, slot - slot % BLOCK, BLOCK, advice);
}

void op_huge(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	if (one_in(t, 4))
		advise_block(t, slot, MADV_NOHUGEPAGE);
	else
		advise(t, slot - slot % HPAGES, HPAGES, MADV_HUGEPAGE);
}

void op_ksm(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	advise_block(t, slot, one_in(t, 3) ? MADV_UNMERGEABLE : MADV_MERGEABLE);
}

/* To the other node, if there is one, and otherwise to the same. */
void op_numa(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	int nodes[32], status[32];
	void *pages[32];
	uint32_t i;

	if (len > 32)
		len = 32;
	for (i = 0; i < len; i++) {
		pages[i] = slot_addr(t->w, slot + i);
		nodes[i] = shared->opt.numa ? (int)below(t, 2) : 0;
		status[i] = -1;
	}
	came_to_nothing(t);
	syscall(SYS_move_pages, 0, (unsigned long)len, pages, nodes, status,
		2 /* MPOL_MF_MOVE */);
	for (i = 0; i < len; i++)
		if (status[i] == nodes[i])
			t->now->result = 0;
}

static void read_page(struct thread *t, void *arg)
{
	const char *wrong = page_foreign(t->w, arg);

	if (wrong)
		fail(t, "a reader without locks at %p: %s", arg, wrong);
}

/* Reads what is there: pages of this worker, and nothing else. */
void op_read(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	uint32_t i;

	came_to_nothing(t);
	for (i = slot; i < slot + len && i < slot + 64; i++)
		if (try_touch(t, read_page, slot_addr(t->w, i)))
			t->now->result = 0;
}

void op_gup(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	static __thread uint64_t buf[16 * WORDS];
	struct iovec local = { buf, sizeof(buf) };
	struct iovec remote = { slot_addr(t->w, slot), 0 };
	const char *wrong;
	ssize_t n, i;

	if (len > 16)
		len = 16;
	remote.iov_len = len * PAGE;
	n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	t->now->result = n;
	for (i = 0; i < n / (ssize_t)PAGE; i++) {
		wrong = page_foreign(t->w, buf + i * WORDS);
		if (wrong)
			fail(t, "process_vm_readv at %p: %s",
			     slot_addr(t->w, slot + i), wrong);
	}
}

/* A descriptor that lives for one move of a page of its own. */
static void short_life(struct thread *t, char *page)
{
	struct uremap_attach attach = { .uffd = one_in(t, 2) ? t->w->uffd : -1 };
	struct uremap_range range = {
		ADDR(page), 2 * PAGE, UREMAP_RANGE_SRC | UREMAP_RANGE_DST, 0
	};
	struct uremap_move m = {
		.dst = ADDR(page + PAGE), .src = ADDR(page), .len = PAGE,
		.mode = UREMAP_MOVE_UNSHARE,
	};
	const char *wrong;
	int fd, err;

	fd = dev_open_all();
	if (ioctl(fd, UREMAP_IOC_ATTACH, &attach))
		fail(t, "ATTACH: %s", strerror(errno));
	page_fill(page, 1, 0);
	err = ioctl(fd, UREMAP_IOC_MOVE, &m) ? errno : 0;
	/* The page is of no userfaultfd. */
	if (err && !(err == EINVAL && attach.uffd >= 0) && err != EAGAIN)
		fail(t, "moving a page of one's own: %s (%s)", strerror(err),
		     reason_name(m.reason));
	wrong = page_differs(err ? page : page + PAGE, 1, 0);
	if (wrong)
		fail(t, "a page of one's own: %s", wrong);
	if (ioctl(fd, UREMAP_IOC_UNREGISTER, &range))
		fail(t, "UNREGISTER: %s", strerror(errno));
	close(fd);
}

void op_storm(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t n = 1 + below(t, 8);

	if (page == MAP_FAILED)
		return;
	while (n--) {
		short_life(t, page);
		madvise(page, 2 * PAGE, MADV_DONTNEED);
	}
	munmap(page, 2 * PAGE);
}

/* One descriptor has rights that come and go. */
void op_rights(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct uremap_range range = {
		ADDR(slot_addr(t->w, slot)), len * PAGE,
		1 + below(t, 3), 0
	};

	if (one_in(t, 3)) {
		range.start = ADDR(t->w->arena);
		range.len = 1UL << 36;
	}
	t->now->mode = range.rights;
	if (ioctl(t->w->dev_rights, one_in(t, 3) ? UREMAP_IOC_UNREGISTER :
		  UREMAP_IOC_REGISTER, &range))
		fail(t, "REGISTER: %s", strerror(errno));
}
