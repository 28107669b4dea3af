// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram */
/*
 * Proves that any single allocation or user copy of any ioctl may fail: it says
 * so with an errno, the pages from the start that it says it has done are at the
 * destination, all others where they were, and the rest of it succeeds when it is
 * called again.  Needs a kernel with fault injection.
 */
#include "util_state.h"

#include <signal.h>
#include <sys/syscall.h>

#define N	12			/* pages of most moves */
#define MAX_NTH	400
#define NOWHERE	((void *)(64 * PAGE))	/* nothing is mapped here */

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

/* The copy of this text, too, may be what fails: once. */
static void fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	if (pwrite(nth_fd, text, len, 0) != len &&
	    pwrite(nth_fd, text, len, 0) != len)
		ck_abort_msg("fail-nth: %s", strerror(errno));
}

static bool armed, failed;

/* From here on the @nth of what can fail does. */
static void arm(unsigned int nth)
{
	armed = true;
	failed = false;
	fail_nth(nth);
}

/* To here.  Did it come to that?  To read what is left may be what fails. */
static bool disarm(void)
{
	char text[16] = "";

	if (armed) {
		armed = false;
		failed = pread(nth_fd, text, sizeof(text) - 1, 0) > 0 &&
			 atoi(text) == 0;
		fail_nth(0);
	}
	return failed;
}

/* ---- the paths --------------------------------------------------------- */

struct path {
	int fd, uffd;
	char *src, *dst;
	size_t pages, mapped;
	size_t done;			/* pages at the destination */
	__s64 said;			/* by how much the last call said it did more */
	size_t hole;			/* a page that is none, 0: there is no hole */
	bool huge;			/* and stays so if nothing moves */
	__u64 mode;
	struct uremap_segment segs[4];
	pid_t child;
};

#define NOTHING_SAID	MOVE_UNWRITTEN

static int wait_for_parent(void *arg)
{
	pause();
	return 0;
}

/* In a part of the address space that has no table yet. */
static char *far_away(size_t pages)
{
	void *there = (void *)0x300000000000UL;
	char *p = mmap(there, pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	ck_assert_ptr_eq(p, there);
	return p;
}

static void small(struct path *p)
{
	p->pages = N;
	p->mapped = N;
	p->src = map_filled(N, 1, 0);
	p->dst = far_away(N);
}

static void huge(struct path *p)
{
	skip_if(!thp_available(), "no huge pages");
	p->pages = HPAGES;
	p->mapped = HPAGES;
	p->huge = true;
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
	expect_ok(madvise(p->dst, PMD, MADV_NOHUGEPAGE));
	p->dst[0] = 1;
	expect_ok(madvise(p->dst, PAGE, MADV_DONTNEED));
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

/* What is shared has to come back before it can be copied. */
static void swapped_shared(struct path *p)
{
	swapped(p);
	p->mode = UREMAP_MOVE_UNSHARE;
	p->child = child_start(wait_for_parent, NULL);
}

static void unregistered(struct path *p)
{
	close(p->fd);
	p->fd = dev_open();
	dev_register(p->fd, NOWHERE, PAGE, UREMAP_RANGE_DST);
}

static void registered(struct path *p)
{
	small(p);
	p->uffd = uffd_open(0);
	uffd_register(p->uffd, p->dst, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
}

/* Nothing moves. */
static void attachable(struct path *p)
{
	registered(p);
	p->pages = 0;
}

static void watched(struct path *p)
{
	struct uremap_attach attach = { 0 };

	registered(p);
	attach.uffd = p->uffd;
	expect_ok(ioctl(p->fd, UREMAP_IOC_ATTACH, &attach));
}

/* With a hole in the middle: who waits is looked for page by page then. */
static void holed(struct path *p)
{
	watched(p);
	p->mode = UREMAP_MOVE_ALLOW_SRC_HOLES;
	p->hole = N / 2;
	expect_ok(madvise(p->src + p->hole * PAGE, PAGE, MADV_DONTNEED));
}

static struct uremap_move rest_of(const struct path *p)
{
	return (struct uremap_move){
		.dst = ADDR(p->dst + p->done * PAGE),
		.src = ADDR(p->src + p->done * PAGE),
		.len = (p->pages - p->done) * PAGE,
		.mode = p->mode,
		.move = NOTHING_SAID,
	};
}

static int do_move(struct path *p)
{
	struct uremap_move m = rest_of(p);
	int err = ioctl(p->fd, UREMAP_IOC_MOVE, &m) ? errno : 0;

	p->said = m.move;
	return err;
}

/* As a program of a later release does it. */
static int do_move_longer(struct path *p)
{
	struct {
		struct uremap_move m;
		__u64 more;
	} longer = { .m = rest_of(p) };
	int err = ioctl(p->fd, _IOWR(UREMAP_IOC_TYPE, _IOC_NR(UREMAP_IOC_MOVE),
				     typeof(longer)), &longer) ? errno : 0;

	p->said = longer.m.move;
	return err;
}

static int do_uffd_move(struct path *p)
{
	struct uremap_move rest = rest_of(p);
	struct native_move native = {
		.dst = rest.dst, .src = rest.src, .len = rest.len,
		.mode = rest.mode, .move = NOTHING_SAID,
	};
	struct uremap_uffd_move m = { .uffd = p->uffd, .arg = ADDR(&native) };
	int err = ioctl(p->fd, UREMAP_IOC_UFFD_MOVE, &m) ? errno : 0;

	p->said = native.move;
	return err;
}

/* The segments follow each other; the last one takes what does not divide. */
static int do_movev(struct path *p)
{
	struct uremap_move rest = rest_of(p);
	size_t i, left = p->pages - p->done;
	struct uremap_movev v = {
		.segs = ADDR(p->segs),
		.nr = left < ARRAY_SIZE(p->segs) ? left : ARRAY_SIZE(p->segs),
		.seg_size = sizeof(p->segs[0]), .mode = p->mode,
		.move = NOTHING_SAID,
	};
	size_t n = left / v.nr;
	int err;

	for (i = 0; i < v.nr; i++) {
		p->segs[i].dst = rest.dst + i * n * PAGE;
		p->segs[i].src = rest.src + i * n * PAGE;
		p->segs[i].len = (i < v.nr - 1 ? n : left - i * n) * PAGE;
	}
	err = ioctl(p->fd, UREMAP_IOC_MOVEV, &v) ? errno : 0;
	p->said = v.move;
	return err;
}

static void check_page(struct path *p, size_t i)
{
	char *at = (i < p->done ? p->dst : p->src) + i * PAGE;
	char why[200];

	if (!page_same(at, 1 + i, 0, why, sizeof(why)))
		ck_abort_msg("page %zu: %s", i, why);
}

/*
 * From the start, pages are at the destination, from somewhere on all are at the
 * source, each at one of both and whole; and that is where the call said it is.
 */
static void check_pages(struct path *p)
{
	uint64_t src[HPAGES], dst[HPAGES];
	size_t i, begun = p->done;
	bool stopped = false;

	if (!p->pages)
		return;
	pagemap_read(p->src, p->pages, src);
	pagemap_read(p->dst, p->pages, dst);
	for (i = p->done; i < p->pages; i++) {
		bool at_src = src[i] & (PM_PRESENT | PM_SWAP);
		bool at_dst = dst[i] & (PM_PRESENT | PM_SWAP);
		bool hole = p->hole && i == p->hole;

		if (at_src && at_dst)
			ck_abort_msg("page %zu is at both places", i);
		if (!at_src && !at_dst && !hole)
			ck_abort_msg("page %zu is at no place", i);
		if (at_dst && (hole || stopped))
			ck_abort_msg("page %zu came before its turn", i);
		stopped |= at_src;
		/* where a call stopped before a hole is nothing to be seen */
		if (at_dst || (hole && p->said > (__s64)((i - begun) * PAGE)))
			p->done = i + 1;
	}
	for (i = 0; i < p->pages; i++)
		if (!p->hole || i != p->hole)
			check_page(p, i);
	if (p->said != (__s64)NOTHING_SAID &&
	    (p->said < 0 ? 0 : p->said) != (__s64)((p->done - begun) * PAGE))
		ck_abort_msg("%lld bytes are done, it says, but it was %zu pages",
			     (long long)p->said, p->done - begun);
	if (p->huge && !p->done)
		ck_assert_int_eq(huge_kb(p->src), PMD >> 10);
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

/* Whether the page, where nothing is either, may be moved from. */
static void check_consent(struct path *p, __u64 page, bool want)
{
	struct move_result r = try_move_at(p->fd, ADDR(NOWHERE), page, PAGE, 0);

	ck_assert_int_eq(r.reason != UREMAP_REASON_SRC_UNREGISTERED, want);
}

static int do_register(struct path *p)
{
	struct uremap_range r = { 8 * PAGE, PAGE, RIGHTS_BOTH, 0 };
	int err = ioctl(p->fd, UREMAP_IOC_REGISTER, &r) ? errno : 0;

	disarm();
	check_consent(p, r.start, !err);
	return err;
}

/* Out of the middle, so that one range becomes two. */
static int do_unregister(struct path *p)
{
	struct uremap_range r = { 8 * PAGE, PAGE, RIGHTS_BOTH, 0 };
	int err = ioctl(p->fd, UREMAP_IOC_UNREGISTER, &r) ? errno : 0;

	disarm();
	check_consent(p, r.start - PAGE, true);
	check_consent(p, r.start, err);
	check_consent(p, r.start + PAGE, true);
	return err;
}

static int do_detach(struct path *p)
{
	struct uremap_attach a = { .uffd = -1 };

	return ioctl(p->fd, UREMAP_IOC_ATTACH, &a) ? errno : 0;
}

static int do_attach(struct path *p)
{
	struct uremap_attach a = { .uffd = p->uffd };
	int err = ioctl(p->fd, UREMAP_IOC_ATTACH, &a) ? errno : 0;

	if (!err) {
		disarm();
		ck_assert_int_eq(do_detach(p), 0);
	}
	return err;
}

static const struct {
	const char *name;
	void (*prepare)(struct path *p);
	int (*act)(struct path *p);
} paths[] = {
	{ "open", NULL, do_open },
	{ "INFO", NULL, do_info },
	{ "REGISTER", unregistered, do_register },
	{ "UNREGISTER", NULL, do_unregister },
	{ "ATTACH", attachable, do_attach },
	{ "ATTACH of none", NULL, do_detach },
	{ "MOVE", small, do_move },
	{ "MOVE of a huge page", huge, do_move },
	{ "MOVE of a part of one", huge_part, do_move },
	{ "MOVE of one onto a table", huge_to_table, do_move },
	{ "MOVE of swapped pages", swapped, do_move },
	{ "MOVE of shared pages", shared, do_move },
	{ "MOVE of both", swapped_shared, do_move },
	{ "MOVE with a userfaultfd", watched, do_move },
	{ "MOVE with one and a hole", holed, do_move },
	{ "MOVE of a later release", small, do_move_longer },
	{ "MOVEV", small, do_movev },
	{ "MOVEV of shared pages", shared, do_movev },
	{ "MOVEV with a userfaultfd", watched, do_movev },
	{ "UFFD_MOVE", registered, do_uffd_move },
};

/* What there is to say of a failure. */
static const int errnos[] = { ENOMEM, EFAULT, EAGAIN, EBUSY };
static unsigned int seen[ARRAY_SIZE(errnos)];

static void note_errno(int err)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errnos); i++)
		if (errnos[i] == err) {
			seen[i]++;
			return;
		}
	if (err)
		ck_abort_msg("errno %s", strerrorname_np(err));
}

static void forget(struct path *p)
{
	if (p->child) {
		kill(p->child, SIGKILL);
		waitpid(p->child, NULL, 0);
	}
	if (p->mapped) {
		munmap(p->src, p->mapped * PAGE);
		munmap(p->dst, p->mapped * PAGE);
	}
	if (p->uffd > 0)
		close(p->uffd);
	close(p->fd);
}

/*
 * Everything anew, then once with the @nth failing, and the rest with none.
 * False if the first time none failed either.
 */
static bool one_failure(int i, unsigned int nth)
{
	struct path p = { .fd = dev_open_all(), .said = NOTHING_SAID };
	int err;

	test_at("%s, failure %u", paths[i].name, nth);
	if (paths[i].prepare)
		paths[i].prepare(&p);
	arm(nth);
	err = paths[i].act(&p);
	if (!disarm() && err)
		ck_abort_msg("%s, without a failure", strerrorname_np(err));
	note_errno(err);
	check_pages(&p);
	if (err && (p.done < p.pages || !p.pages)) {
		err = paths[i].act(&p);
		if (err)
			ck_abort_msg("called again: %s", strerrorname_np(err));
		check_pages(&p);
	}
	ck_assert_uint_eq(p.done, p.pages);
	forget(&p);
	return failed;
}

START_TEST(every_failure)
{
	unsigned int nth;

	arm_kernel();
	for (nth = 1; one_failure(_i, nth); nth++)
		ck_assert_uint_lt(nth, MAX_NTH);
	test_note("%s: %u failures, ENOMEM %u, EFAULT %u, EAGAIN %u, EBUSY %u",
		  paths[_i].name, nth - 1, seen[0], seen[1], seen[2], seen[3]);
}
END_TEST

static const struct utest tests[] = {
	UTEST_LOOP_SLOW(every_failure, ARRAY_SIZE(paths), 600),
};
UTEST_MAIN("failnth", tests)
