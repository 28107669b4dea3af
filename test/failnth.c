// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves that any single allocation or user copy of any ioctl may fail: it says
 * so with an errno, leaves every page where it was or where it was to go, and
 * works when it is called again.  Needs a kernel with fault injection.
 */
#include "util_state.h"

#include <signal.h>
#include <sys/syscall.h>

#define N	48			/* pages of most moves */
#define MAX_NTH	400

static int nth_fd;

/* A knob of fault injection; there may be no such injection. */
static void knob(const char *dir, const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", dir, name);
	file_write(path, value);
}

static void arm_kernel(void)
{
	static const char * const dirs[] = {
		"failslab", "fail_page_alloc", "fail_usercopy",
	};
	char path[64];
	size_t i;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/fail-nth",
		 syscall(SYS_gettid));
	nth_fd = open(path, O_RDWR);
	skip_if(nth_fd < 0, "no fault injection in this kernel");
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		knob(dirs[i], "verbose", "0");
		knob(dirs[i], "ignore-gfp-wait", "N");
		knob(dirs[i], "ignore-gfp-highmem", "N");
		knob(dirs[i], "min-order", "0");
	}
}

static void fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	if (pwrite(nth_fd, text, len, 0) != len)
		ck_abort_msg("fail-nth: %s", strerror(errno));
}

/* Has something failed since?  To read what is left may be what fails. */
static bool has_failed(void)
{
	char text[16] = "";
	ssize_t n = pread(nth_fd, text, sizeof(text) - 1, 0);

	fail_nth(0);
	return n > 0 && atoi(text) == 0;
}

/* ---- the paths --------------------------------------------------------- */

struct path {
	int fd, uffd;
	char *src, *dst;
	size_t pages;
	__u64 mode;
	struct uremap_segment segs[4];
	pid_t child;
};

static int wait_for_parent(void *arg)
{
	pause();
	return 0;
}

/* Each destination is in a part of the address space with no table yet. */
static char *far_away(size_t pages)
{
	static uintptr_t next = 0x300000000000UL;
	char *p;

	next += 1UL << 39;
	p = mmap((void *)next, pages * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ck_assert_ptr_eq(p, (void *)next);
	return p;
}

static void small(struct path *p)
{
	p->pages = N;
	p->src = map_filled(N, 1, 0);
	p->dst = far_away(N);
}

static void huge(struct path *p)
{
	skip_if(!thp_available(), "no huge pages");
	p->pages = HPAGES;
	p->src = map_thp(1, 1, 0);
	p->dst = far_away(HPAGES);
}

static void huge_part(struct path *p)
{
	huge(p);
	p->pages = 100;
}

static void huge_to_table(struct path *p)
{
	huge(p);
	p->dst[0] = 1;
	madvise(p->dst, PAGE, MADV_DONTNEED);
}

static void swapped(struct path *p)
{
	small(p);
	swap_out(p->src, N);
}

static void shared(struct path *p)
{
	small(p);
	p->mode = UREMAP_MOVE_UNSHARE;
	p->child = child_start(wait_for_parent, NULL);
}

static void watched(struct path *p)
{
	struct uremap_attach attach = { 0 };

	small(p);
	p->mode = UREMAP_MOVE_ALLOW_SRC_HOLES;
	p->uffd = uffd_open(0);
	uffd_register(p->uffd, p->dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	attach.uffd = p->uffd;
	expect_ok(ioctl(p->fd, UREMAP_IOC_ATTACH, &attach));
}

static int do_move(struct path *p)
{
	struct uremap_move m = {
		.dst = ADDR(p->dst), .src = ADDR(p->src),
		.len = p->pages * PAGE, .mode = p->mode,
	};

	return ioctl(p->fd, UREMAP_IOC_MOVE, &m) ? errno : 0;
}

static int do_movev(struct path *p)
{
	struct uremap_movev v = {
		.segs = ADDR(p->segs), .nr = ARRAY_SIZE(p->segs),
		.seg_size = sizeof(p->segs[0]), .mode = p->mode,
	};
	size_t i, n = p->pages / ARRAY_SIZE(p->segs);

	for (i = 0; i < ARRAY_SIZE(p->segs); i++) {
		p->segs[i].dst = ADDR(p->dst + i * n * PAGE);
		p->segs[i].src = ADDR(p->src + i * n * PAGE);
		p->segs[i].len = n * PAGE;
	}
	return ioctl(p->fd, UREMAP_IOC_MOVEV, &v) ? errno : 0;
}

/* Every page is at one place, whole; the other one reads as nothing. */
static void check_pages(struct path *p)
{
	char why[2][200];
	size_t i;

	for (i = 0; i < p->pages; i++) {
		char *src = p->src + i * PAGE, *dst = p->dst + i * PAGE;
		bool at_src = page_populated(src), at_dst = page_populated(dst);

		if (at_src == at_dst)
			ck_abort_msg("page %zu is at %s", i,
				     at_src ? "both places" : "no place");
		if (!page_same(at_src ? src : dst, 1 + i, 0, why[0],
			       sizeof(why[0])))
			ck_abort_msg("page %zu: %s", i, why[0]);
	}
}

static int do_open(struct path *p)
{
	int fd = open(DEV_PATH, O_RDWR);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int do_info(struct path *p)
{
	struct uremap_info info = { 0 };

	return ioctl(p->fd, UREMAP_IOC_INFO, &info) ? errno : 0;
}

static int do_register(struct path *p)
{
	struct uremap_range r = { PAGE, PAGE, RIGHTS_BOTH, 0 };
	int fd = dev_open(), err;

	err = ioctl(fd, UREMAP_IOC_REGISTER, &r) ? errno : 0;
	close(fd);
	return err;
}

/* Out of the middle, so that one range becomes two. */
static int do_unregister(struct path *p)
{
	struct uremap_range r = { 8 * PAGE, PAGE, RIGHTS_BOTH, 0 };
	int err = ioctl(p->fd, UREMAP_IOC_UNREGISTER, &r) ? errno : 0;

	if (!err) {
		fail_nth(0);
		dev_register(p->fd, (void *)r.start, r.len, RIGHTS_BOTH);
	}
	return err;
}

static int do_attach(struct path *p)
{
	struct uremap_attach a = { .uffd = -1 };

	return ioctl(p->fd, UREMAP_IOC_ATTACH, &a) ? errno : 0;
}

static const struct {
	const char *name;
	void (*prepare)(struct path *p);
	int (*act)(struct path *p);
} paths[] = {
	{ "open", NULL, do_open },
	{ "INFO", NULL, do_info },
	{ "REGISTER", NULL, do_register },
	{ "UNREGISTER", NULL, do_unregister },
	{ "ATTACH", NULL, do_attach },
	{ "MOVE", small, do_move },
	{ "MOVE of a huge page", huge, do_move },
	{ "MOVE of a part of one", huge_part, do_move },
	{ "MOVE of one onto a table", huge_to_table, do_move },
	{ "MOVE of swapped pages", swapped, do_move },
	{ "MOVE of shared pages", shared, do_move },
	{ "MOVE with a userfaultfd", watched, do_move },
	{ "MOVEV", small, do_movev },
	{ "MOVEV of shared pages", shared, do_movev },
};

static void forget(struct path *p, size_t mapped)
{
	if (p->child) {
		kill(p->child, SIGKILL);
		waitpid(p->child, NULL, 0);
	}
	if (p->src) {
		munmap(p->src, mapped * PAGE);
		munmap(p->dst, mapped * PAGE);
	}
	if (p->uffd > 0)
		close(p->uffd);
	close(p->fd);
}

/* Everything anew, then once with the @nth failing; false if none failed. */
static bool one_failure(int i, unsigned int nth)
{
	struct path p = { .fd = dev_open_all() };
	bool failed;
	int err;

	test_at("%s, failure %u", paths[i].name, nth);
	if (paths[i].prepare)
		paths[i].prepare(&p);
	fail_nth(nth);
	err = paths[i].act(&p);
	failed = has_failed();
	if (err && err != ENOMEM && err != EFAULT && err != EAGAIN &&
	    err != EBUSY && err != EINVAL)
		ck_abort_msg("errno %s", strerrorname_np(err));
	if (err && !failed)
		ck_abort_msg("%s, without a failure", strerrorname_np(err));
	if (p.src)
		check_pages(&p);
	forget(&p, p.pages == 100 ? HPAGES : p.pages);
	return failed;
}

START_TEST(every_failure)
{
	unsigned int nth;

	arm_kernel();
	for (nth = 1; one_failure(_i, nth); nth++)
		ck_assert_uint_lt(nth, MAX_NTH);
	test_note("%s: %u failures", paths[_i].name, nth - 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP_SLOW(every_failure, ARRAY_SIZE(paths), 600),
};
UTEST_MAIN("failnth", tests)
