// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether accesses raise userfaultfd events; see util_state.h.
 */
#include "util_state.h"

/* A trap must come in this time on an emulated machine with little CPU. */
#define TRAP_MS		30000

int wp_open(__u64 more_features)
{
	return uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP | more_features);
}

struct write {
	char *page;
	uint32_t id, seq;
};

static void *do_write(void *arg)
{
	struct write *w = arg;

	page_fill(w->page, w->id, w->seq);
	return NULL;
}

/* Answers one fault, of a kind and at a place that must be right. */
static void take_fault(int uffd, const char *page, __u64 flags)
{
	struct uffd_msg msg;

	if (!uffd_read(uffd, TRAP_MS, &msg))
		ck_abort_msg("an access of %p raised no event", page);
	if (msg.event != UFFD_EVENT_PAGEFAULT)
		ck_abort_msg("event %#x instead of a fault", msg.event);
	if ((msg.arg.pagefault.address & ~(PAGE - 1)) != ADDR(page) ||
	    (msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) != flags)
		ck_abort_msg("fault at %#llx with flags %#llx, expected %p with %#llx",
			     (unsigned long long)msg.arg.pagefault.address,
			     (unsigned long long)msg.arg.pagefault.flags, page,
			     (unsigned long long)flags);
}

void expect_trap(int uffd, char *page, uint32_t id, uint32_t seq)
{
	struct write w = { page, id, seq + 1 };
	pthread_t t;

	page_check(page, id, seq);
	t = thread_start(do_write, &w);
	take_fault(uffd, page, UFFD_PAGEFAULT_FLAG_WP);
	page_check(page, id, seq);
	uffd_wp(uffd, page, PAGE, false);
	thread_join(t);
	page_check(page, id, seq + 1);
}

void expect_no_trap(int uffd, char *page, uint32_t id, uint32_t seq)
{
	struct write w = { page, id, seq + 1 };
	struct uffd_msg msg;
	pthread_t t;

	page_check(page, id, seq);
	t = thread_start(do_write, &w);
	while (pthread_tryjoin_np(t, NULL))
		if (uffd_read(uffd, 20, &msg))
			ck_abort_msg("a write of %p raised event %#x", page,
				     msg.event);
	if (uffd_read(uffd, 0, &msg))
		ck_abort_msg("a write of %p raised event %#x", page, msg.event);
	page_check(page, id, seq + 1);
}

static void *do_read(void *arg)
{
	return (void *)(uintptr_t)*(volatile char *)arg;
}

void expect_missing(int uffd, char *page, uint32_t id, uint32_t seq)
{
	static char content[PAGE] __attribute__((aligned(4096)));
	pthread_t t;
	int err;

	if (page_populated(page))
		ck_abort_msg("page %p is there", page);
	t = thread_start(do_read, page);
	take_fault(uffd, page, 0);
	page_fill(content, id, seq);
	err = try_uffd_copy(uffd, page, content, PAGE, 0);
	if (err)
		ck_abort_msg("UFFDIO_COPY: %s", strerror(err));
	thread_join(t);
	page_check(page, id, seq);
}

void check_wp_bits_at(const char *file, int line, const char *start,
		      size_t pages, bool want)
{
	size_t n;

	if (!kernel_at_least(5, 14))
		return;
	n = count_pages(start, pages, PM_UFFD_WP);
	if (n != (want ? pages : 0))
		ck_abort_msg("%s:%d: %zu of %zu pages are write-protected",
			     file, line, n, pages);
}
