// SPDX-License-Identifier: GPL-2.0-only
/*
 * Others who hold on to pages: devices (io_uring), pipes, and child processes.
 */
#include "torture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PINNED	16U		/* pages a thread pins at a time */

static void set_pinned(struct worker *w, uint32_t slot, uint32_t len, int pinned)
{
	for (; len; len--, slot++)
		w->slots[slot].pinned = pinned;
}

/* What a device reads into pinned memory is seen where that is mapped. */
static void read_device(struct thread *t)
{
	struct slot *s = &t->w->slots[t->pin_slot];
	char *addr = slot_addr(t->w, t->pin_slot);
	uint64_t page[WORDS];
	int fd;

	if (!slot_readable(t->w, t->pin_slot))
		return;
	fd = memfd_create("device", MFD_CLOEXEC);
	page_fill(page, s->id, s->seq + 1);
	if (fd < 0 || write(fd, page, PAGE) != PAGE)
		fail(t, "no device to read from");
	if (uring_read_fixed(t->uring, fd, addr, PAGE) != (int)PAGE)
		fail(t, "reading from the device failed");
	close(fd);
	s->seq++;
	slot_check(t, t->pin_slot);
}

/* Pins some pages, or unpins those of the last time. */
void op_pin(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct worker *w = t->w;
	bool device = one_in(t, 2);
	uint32_t i;

	came_to_nothing(t);
	if (!t->uring)
		return;
	if (t->pin_len) {
		model_lock(w, t->pin_slot, t->pin_slot, t->pin_len);
		if (device)
			read_device(t);
		if (uring_unpin(t->uring))
			fail(t, "unpinning failed");
		set_pinned(w, t->pin_slot, t->pin_len, 0);
		model_unlock(w, t->pin_slot, t->pin_slot, t->pin_len);
		t->pin_len = 0;
		t->now->result = 0;
		return;
	}
	if (len > MAX_PINNED)
		len = MAX_PINNED;
	model_lock(w, slot, slot, len);
	for (i = slot; i < slot + len; i++) {
		if (w->slots[i].pinned || !slot_writable(w, i))
			goto out;
		if (w->slots[i].state != FULL)
			slot_write(t, i, false);
		if (w->slots[i].id < COMMON)
			goto out;
	}
	t->now->result = -uring_pin(t->uring, slot_addr(w, slot), len * PAGE);
	if (!t->now->result) {
		set_pinned(w, slot, len, 1);
		t->pin_slot = slot;
		t->pin_len = len;
	}
out:
	model_unlock(w, slot, slot, len);
}

/* What is in a pipe may be of any time since, but is of that page. */
static void drain_pipe(struct thread *t)
{
	uint64_t page[WORDS];
	unsigned int i;

	if (read(t->pipe[0], page, PAGE) != PAGE)
		fail(t, "the pipe has lost its page");
	for (i = 0; i < WORDS; i++)
		if (page[i] >> 32 != t->pipe_id || (page[i] & 1023) != i + 1)
			fail(t, "word %u of the page of identity %08x in the pipe is %016llx",
			     i, t->pipe_id, (unsigned long long)page[i]);
	t->pipe_id = 0;
}

/*
 * What is written to a page later shows in the pipe, one reference being as
 * good as the other; but a page keeps its identity as long as it exists.
 */
void op_splice(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	struct worker *w = t->w;
	struct iovec iov = { slot_addr(w, slot), PAGE };
	struct slot *s = &w->slots[slot];

	if (t->pipe_id) {
		drain_pipe(t);
		return;
	}
	came_to_nothing(t);
	model_lock(w, slot, slot, 1);
	if (s->state == FULL && s->id >= COMMON && slot_readable(w, slot) &&
	    vmsplice(t->pipe[1], &iov, 1, 0) == PAGE) {
		t->pipe_id = s->id;
		t->now->result = 0;
	}
	model_unlock(w, slot, slot, 1);
}

/* ---- children ---------------------------------------------------------- */

static void child_check(struct thread *t, uint32_t slot, uint32_t len)
{
	uint32_t i;

	for (i = slot; i < slot + len; i++)
		slot_check(t, i);
}

static void child_write(struct thread *t, uint32_t slot, uint32_t len)
{
	uint32_t i;

	for (i = slot; i < slot + len; i++) {
		struct slot *s = &t->w->slots[i];

		if (s->state != FULL || !slot_writable(t->w, i))
			continue;
		s->seq++;
		page_fill(slot_addr(t->w, i), s->id, s->seq);
	}
}

/* In the child all is shared with the parent: what moves has to be copied. */
static void child_move(struct thread *t, uint32_t slot, uint32_t len)
{
	struct worker *w = t->w;
	int fd = dev_open_all();
	char *to = mmap(NULL, len * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t i;

	for (i = 0; i < len; i++) {
		struct uremap_move m = {
			.dst = ADDR(to + i * PAGE),
			.src = ADDR(slot_addr(w, slot + i)),
			.len = PAGE,
			.mode = UREMAP_MOVE_UNSHARE,
		};
		struct slot *s = &w->slots[slot + i];
		const char *wrong;

		if (ioctl(fd, UREMAP_IOC_MOVE, &m) || s->state != FULL)
			continue;
		wrong = page_differs(to + i * PAGE, s->id, s->seq);
		if (wrong)
			fail(t, "moved in a child of fork: %s", wrong);
		s->state = EMPTY;
	}
	close(fd);
}

static void child_run(struct thread *t, uint32_t slot, uint32_t len,
		      uint32_t what, uint32_t rounds)
{
	uint32_t i;

	for (i = 0; i < rounds; i++) {
		child_check(t, slot, len);
		if (what & 1 && i == rounds / 2)
			child_write(t, slot, len);
		if (what & 2 && i == rounds / 2)
			child_move(t, slot, len);
		sched_yield();
	}
	_exit(0);
}

static void reap(struct thread *t, unsigned int i)
{
	int status;

	if (t->child[i] <= 0)
		return;
	if (waitpid(t->child[i], &status, 0) != t->child[i])
		fail(t, "the child is gone");
	/* Out of memory it is killed; what it fails with it has said. */
	if (WIFEXITED(status) && WEXITSTATUS(status))
		fail(t, "a child failed");
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		fail(t, "a child died of signal %d", WTERMSIG(status));
	t->child[i] = 0;
}

/*
 * A child that sees some slots as they are now, whatever becomes of them here;
 * some also write, or move pages themselves.
 */
void op_fork(struct thread *t, uint32_t slot, uint32_t unused, uint32_t len)
{
	unsigned int i = t->ops % 2;
	uint32_t what = below(t, 4), rounds = 1 + below(t, 20);
	struct worker *w = t->w;
	pid_t pid;

	if (len > 64)
		len = 64;
	reap(t, i);
	model_lock(w, slot, slot, len);
	pid = fork();
	if (!pid)
		child_run(t, slot, len, what, rounds);
	model_unlock(w, slot, slot, len);
	t->now->mode = what;
	t->now->result = pid;
	/* Without memory there is no child. */
	t->child[i] = pid;
}

void peers_end(struct thread *t)
{
	reap(t, 0);
	reap(t, 1);
	if (t->pipe_id)
		drain_pipe(t);
	if (t->pin_len)
		op_pin(t, 0, 0, 0);
}
