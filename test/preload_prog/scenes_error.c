// SPDX-License-Identifier: GPL-2.0-only
/* What a request or a mapping can have wrong, and which errno it gives first. */
#include "prog.h"

#define RW	(PROT_READ | PROT_WRITE)
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static void arguments(void)
{
	char *src = map_filled(4), *dst = map(4);
	int fd = uffd_open(0);
	__u64 d = ADDR(dst), s = ADDR(src);

	uffd_register(fd, dst, 4);
	move_raw(fd, d + 1, s, PAGE, 0);
	move_raw(fd, d, s + 8, PAGE, 0);
	move_raw(fd, d, s, PAGE - 1, 0);
	move_raw(fd, d, s, 0, 0);
	move_raw(fd, d, s, PAGE, 4);
	move_raw(fd, d, s, PAGE, (__u64)1 << 63);
	move_raw(fd, d, s, -PAGE, 0);
	move_raw(fd, d, s, (__u64)1 << 62, 0);
	move_raw(fd, -PAGE, s, PAGE, 0);
	move_raw(fd, d, -PAGE, PAGE, 0);
	move_raw(fd, (__u64)1 << 63, s, PAGE, 0);
	move_raw(fd, 0, s, PAGE, 0);
	move_raw(fd, d, 0, PAGE, 0);
	look("src", src, 4);
	look("dst", dst, 4);
}

static void pointers(void)
{
	char *src = map_filled(3), *dst = map(3), *edge = map(2);
	int fd = uffd_open(0), ret;
	struct uffdio_move *m;
	struct toucher t;

	uffd_register(fd, dst, 3);
	ret = ioctl(fd, UFFDIO_MOVE, NULL);
	say("argument at 0: %d %s", ret, strerrorname_np(errno));
	ret = ioctl(fd, UFFDIO_MOVE, -1UL);
	say("argument at -1: %d %s", ret, strerrorname_np(errno));
	munmap(edge + PAGE, PAGE);
	ret = ioctl(fd, UFFDIO_MOVE, edge + PAGE - 8);
	say("argument half there: %d %s", ret, strerrorname_np(errno));

	/* all but the last field: the inputs can be read, the result not written */
	m = (struct uffdio_move *)(edge + PAGE - 32);
	memset(m, 0, 32);
	ret = ioctl(fd, UFFDIO_MOVE, m);
	say("no room for move, bad request: %d %s", ret, strerrorname_np(errno));
	m->dst = ADDR(dst);
	m->src = ADDR(src);
	m->len = PAGE;
	touch(&t, dst);
	uffd_event(fd, dst);
	ret = ioctl(fd, UFFDIO_MOVE, m);
	say("no room for move: %d %s, waiters %d", ret, strerrorname_np(errno),
	    uffd_waiters(fd));
	look("dst", dst, 3);
	uffd_wake(fd, dst, 1);
	touched(&t);

	m = (struct uffdio_move *)map(1);
	m->dst = ADDR(dst) + PAGE;
	m->src = ADDR(src) + PAGE;
	m->len = PAGE;
	need(!mprotect(m, PAGE, PROT_READ));
	ret = ioctl(fd, UFFDIO_MOVE, m);
	say("argument read-only: %d %s, move %lld", ret, strerrorname_np(errno),
	    (long long)m->move);
	look("dst", dst, 3);
}

/* Nothing mapped: the destination is looked for first. */
static void unmapped(void)
{
	char *src = map_filled(2), *dst = map(4);
	int fd = uffd_open(0);

	uffd_register(fd, dst, 4);
	munmap(dst + 3 * PAGE, PAGE);
	move(fd, dst + 3 * PAGE, src, 1, 0);
	move(fd, dst + 3 * PAGE, src, 1, HOLES);
	move(fd, dst + 2 * PAGE, src, 2, 0);
	munmap(src + PAGE, PAGE);
	move(fd, dst, src + PAGE, 1, 0);
	move(fd, dst, src + PAGE, 1, HOLES);
	move(fd, dst, src, 2, 0);
	move(fd, dst + 3 * PAGE, src + PAGE, 1, 0);
	look("src", src, 1);
	look("dst", dst, 3);
}

/* One mapping on each side, or nothing is done. */
static void borders(void)
{
	char *src = map_filled(4), *dst = map(4), *other = map_filled(4);
	int fd = uffd_open(0);

	uffd_register(fd, dst, 2);
	move(fd, dst, src, 4, 0);
	uffd_register(fd, dst + 2 * PAGE, 2);
	/* neighbours that could not become one */
	need(!mprotect(src + 2 * PAGE, PAGE, PROT_READ));
	move(fd, dst, src, 4, 0);
	move(fd, dst, src + 2 * PAGE, 1, 0);
	need(!mprotect(src + 2 * PAGE, PAGE, RW));
	need(!mprotect(dst + PAGE, PAGE, PROT_NONE));
	move(fd, dst, other, 4, 0);
	need(!mprotect(dst + PAGE, PAGE, RW));
	move(fd, dst, other, 4, 0);
	look("src", src, 4);
	look("dst", dst, 4);
}

static void protections(void)
{
	char *src = map_filled(3), *dst = map(3);
	int fd = uffd_open(0);

	uffd_register(fd, dst, 3);
	need(!mprotect(src, PAGE, PROT_READ));
	move(fd, dst, src, 1, 0);
	need(!mprotect(dst, PAGE, PROT_READ));
	move(fd, dst, src, 1, 0);
	need(!mprotect(dst, PAGE, RW | PROT_EXEC));
	need(!mprotect(src, PAGE, RW));
	move(fd, dst, src, 1, 0);
	need(!mprotect(src, PAGE, RW | PROT_EXEC));
	move(fd, dst, src, 1, 0);
	need(!mprotect(src + PAGE, PAGE, PROT_NONE));
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	need(!mprotect(dst + PAGE, PAGE, PROT_NONE));
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	look("dst", dst, 1);
}

static void locked(void)
{
	char *src = map_filled(2), *dst = map(2);
	int fd = uffd_open(0);

	uffd_register(fd, dst, 2);
	need(!mlock(src, PAGE));
	move(fd, dst, src, 1, 0);
	need(!munlock(src, PAGE));
	need(!mlock2(dst, PAGE, MLOCK_ONFAULT));
	move(fd, dst, src, 1, 0);
	need(!mlock(src, PAGE));
	move(fd, dst, src, 1, 0);
	look("dst", dst, 2);
}

static void shared(void)
{
	char *src = map_filled(1), *dst = map(1);
	char *shm = map_with(1, RW, MAP_SHARED | MAP_ANONYMOUS);
	int fd = uffd_open(0);

	uffd_register(fd, dst, 1);
	uffd_register(fd, shm, 1);
	move(fd, shm, src, 1, 0);
	move(fd, dst, shm, 1, HOLES);
	fill(src, 1, 'S');
	move(fd, dst, src, 1, 0);
	look("dst", dst, 1);
}

/* A private mapping of a file is not anonymous, whatever its pages are. */
static void private_file(void)
{
	int fd = uffd_open(0), file = memfd_create("file", MFD_CLOEXEC);
	char *dst = map(1), *src;

	need(file >= 0 && !ftruncate(file, PAGE));
	src = mmap(NULL, PAGE, RW, MAP_PRIVATE, file, 0);
	need(src != MAP_FAILED);
	fill(src, 1, 'F');
	uffd_register(fd, dst, 1);
	move(fd, dst, src, 1, 0);
	look("src", src, 1);
	look("dst", dst, 1);
}

/* What looks like ordinary memory, and is or is not. */
static void special(void)
{
	char *src = map_filled(2), *dst = map(2), *zero, *huge;
	int fd = uffd_open(0), file = open("/dev/zero", O_RDWR);

	uffd_register(fd, dst, 2);
	need(file >= 0);
	zero = mmap(NULL, PAGE, RW, MAP_PRIVATE, file, 0);
	need(zero != MAP_FAILED);
	fill(zero, 1, 'Z');
	move(fd, dst, zero, 1, 0);
	look("dst", dst, 2);
	/* no page of it is needed */
	huge = mmap(NULL, HUGE, RW, ANON | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	need(huge != MAP_FAILED);
	move(fd, dst + PAGE, huge, 1, 0);
	move(fd, dst + PAGE, huge, 1, HOLES);
	move(fd, huge, src, 1, 0);
	look("src", src, 2);
}

static void unregistered(void)
{
	int a = uffd_open(0), b = uffd_open(0);
	char *src = map_filled(2), *dst = map(2), *plain = map(2);

	uffd_register(a, dst, 2);
	move(a, plain, src, 1, 0);
	move(b, dst, src, 1, 0);
	move(a, plain, plain + PAGE, 1, 0);
	move(a, dst, plain, 1, 0);
	move(a, dst, plain, 1, HOLES);
	/* the source may belong to anybody */
	uffd_register(b, src, 2);
	move(a, dst, src, 1, 0);
	look("dst", dst, 2);
}

/* The mapping is judged before the page. */
static void order(void)
{
	char *src = map(2), *dst = map(2);
	int fd = uffd_open(0);

	fill(dst, 1, 'D');
	uffd_register(fd, dst, 1);
	/* populated destination, hole: EEXIST or ENOENT */
	move(fd, dst, src, 1, 0);
	move(fd, dst, src, 1, HOLES);
	/* not registered, protections differ */
	need(!mprotect(src, 2 * PAGE, PROT_READ));
	move(fd, dst + PAGE, src, 1, 0);
	/* bad mode, nothing mapped */
	munmap(src, 2 * PAGE);
	move(fd, dst, src, 1, 64);
	move(fd, dst + PAGE, src, 1, 0);
}

static void overlap(void)
{
	char *p = map_filled(6);
	int fd = uffd_open(0);

	uffd_register(fd, p, 6);
	move(fd, p, p, 1, 0);
	move(fd, p + PAGE, p, 2, 0);
	madvise(p, PAGE, MADV_DONTNEED);
	move(fd, p, p + PAGE, 2, 0);
	look("all", p, 6);
	move(fd, p + 2 * PAGE, p + 3 * PAGE, 3, HOLES);
	look("all", p, 6);
	/* neighbours, not overlapping */
	madvise(p + 4 * PAGE, 2 * PAGE, MADV_DONTNEED);
	move(fd, p + 4 * PAGE, p + 2 * PAGE, 2, 0);
	look("all", p, 6);
}

const struct scene scenes_error[] = {
	{ "arguments", arguments },
	{ "pointers", pointers },
	{ "unmapped", unmapped },
	{ "borders", borders },
	{ "protections", protections },
	{ "locked", locked },
	{ "shared", shared },
	{ "private_file", private_file },
	{ "special", special },
	{ "unregistered", unregistered },
	{ "order", order },
	{ "overlap", overlap },
	{ NULL, NULL }
};
