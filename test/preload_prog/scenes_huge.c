// SPDX-License-Identifier: GPL-2.0-only
/* Transparent huge pages: whole, in part, and where one is in the way. */
#include "prog.h"

#define N	(HUGE / PAGE)

/* A huge page whose pages are 'A', 'B' ... in turn */
static char *huge_filled(void)
{
	char *p = map_huge(HUGE);

	fill(p, N, 'A');
	need(is_huge(p));
	return p;
}

static void say_wrong(char *start, size_t first, size_t last)
{
	size_t n, bad = 0;

	for (n = first; n < last; n++)
		bad += page_letter(start + n * PAGE) != (char)('A' + n % 26);
	say("pages %zu to %zu: %zu wrong", first, last, bad);
}

static void huge_whole(void)
{
	char *src = huge_filled(), *dst = map_huge(HUGE);
	int fd = uffd_open(0);

	uffd_register(fd, dst, N);
	move(fd, dst, src, N, 0);
	say("huge: src %d dst %d", is_huge(src), is_huge(dst));
	say_wrong(dst, 0, N);
	look("src", src, 4);
}

/* A thread waits for one page and gets the huge one. */
static void huge_fault(void)
{
	char *src = huge_filled(), *dst = map_huge(HUGE);
	int fd = uffd_open(0);
	struct toucher a, b;

	uffd_register(fd, dst, N);
	touch(&a, dst + 7 * PAGE);
	uffd_event(fd, dst);
	touch(&b, dst + 300 * PAGE);
	uffd_event(fd, dst);
	move(fd, dst, src, N, 0);
	say("waiters %d", uffd_waiters(fd));
	touched(&a);
	touched(&b);
	say("huge: dst %d", is_huge(dst));
	say_wrong(dst, 0, N);
}

static void huge_some_of_several(void)
{
	char *src = map_huge(3 * HUGE), *dst = map_huge(3 * HUGE);
	int fd = uffd_open(0);

	fill(src, N, 'A');
	fill(src + 2 * HUGE, N, (char)('A' + 2 * N % 26));
	need(is_huge(src) && is_huge(src + 2 * HUGE));
	uffd_register(fd, dst, 3 * N);
	move(fd, dst, src, 3 * N, 0);
	move(fd, dst, src, 3 * N, HOLES);
	move(fd, dst + HUGE, src + HUGE, 2 * N, HOLES);
	say_wrong(dst, 0, N);
	say_wrong(dst, 2 * N, 3 * N);
	say("huge: dst %d %d", is_huge(dst), is_huge(dst + 2 * HUGE));
}

static void huge_part(void)
{
	char *src = huge_filled(), *dst = map_huge(HUGE);
	int fd = uffd_open(0);

	uffd_register(fd, dst, N);
	move(fd, dst + 5 * PAGE, src + 5 * PAGE, 3, 0);
	look("src", src, 12);
	look("dst", dst, 12);
	move(fd, dst + 8 * PAGE, src + 8 * PAGE, N - 8, 0);
	move(fd, dst, src, 5, 0);
	say_wrong(dst, 0, N);
}

static void huge_shifted(void)
{
	char *src = huge_filled(), *dst = map_huge(2 * HUGE);
	int fd = uffd_open(0);

	uffd_register(fd, dst, 2 * N);
	move(fd, dst + 26 * PAGE, src, N, 0);
	say_wrong(dst, 26, 26 + N);
	look("src", src, 4);
}

/* Where pages were before: the page table is there, and empty. */
static void huge_onto_table(void)
{
	char *src = huge_filled(), *dst = map_huge(HUGE);
	int fd = uffd_open(0);

	madvise(dst, HUGE, MADV_NOHUGEPAGE);
	fill(dst + 9 * PAGE, 1, 'X');
	madvise(dst, HUGE, MADV_DONTNEED);
	uffd_register(fd, dst, N);
	move(fd, dst, src, N, 0);
	say_wrong(dst, 0, N);
	look("src", src, 4);
}

static void huge_in_the_way(void)
{
	char *src = map_filled(2), *huge = huge_filled(), *dst = huge_filled();
	int fd = uffd_open(0);

	uffd_register(fd, dst, N);
	move(fd, dst + 3 * PAGE, src, 1, 0);
	move(fd, dst, huge, N, 0);
	move(fd, dst + 3 * PAGE, src, 2, HOLES);
	say("huge: src %d dst %d", is_huge(huge), is_huge(dst));
	/* one small page in the way of a huge one */
	madvise(dst, HUGE, MADV_DONTNEED);
	madvise(dst, HUGE, MADV_NOHUGEPAGE);
	move(fd, dst + 2 * PAGE, src, 1, 0);
	move(fd, dst, huge, N, 0);
	move(fd, dst + 2 * PAGE, huge + 2 * PAGE, N - 2, 0);
	move(fd, dst + 3 * PAGE, huge + 3 * PAGE, N - 3, 0);
	look("dst", dst, 5);
	say_wrong(dst, 3, N);
}

static void huge_zero(void)
{
	char *src = map_huge(HUGE), *dst = map_huge(HUGE);
	int fd = uffd_open(0);

	(void)*(volatile char *)src;
	uffd_register(fd, dst, N);
	move(fd, dst, src, N, 0);
	look("src", src, 4);
	look("dst", dst, 4);
	look("end", dst + HUGE - PAGE, 1);
}

static void huge_after_fork(void)
{
	char *src = huge_filled(), *dst = map_huge(HUGE);
	int fd = uffd_open(0), status;
	pid_t pid;

	uffd_register(fd, dst, N);
	pid = fork();
	need(pid >= 0);
	if (!pid)
		_exit(0);
	need(waitpid(pid, &status, 0) == pid);
	move(fd, dst, src, N, 0);
	look("dst", dst, 4);
	fill(src, N, 'A');
	say_wrong(src, 0, N);
	move(fd, dst, src, N, 0);
	say_wrong(dst, 0, N);
}

/*
 * What is looked at first, source or destination, depends on the page tables
 * that are there: none, one above, or all of them.
 */
static void huge_no_table(void)
{
	const size_t gig = 512 * HUGE;
	char *p = mmap(NULL, 2 * gig, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		       MAP_NORESERVE, -1, 0);
	char *none = map_huge(HUGE), *small = map(1), *huge = huge_filled();
	int fd = uffd_open(0);

	need(p != MAP_FAILED);
	p = (char *)((ADDR(p) + gig - 1) & ~(gig - 1));
	p = mmap(p, gig, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_NORESERVE | MAP_FIXED, -1, 0);
	need(p != MAP_FAILED && !madvise(p, gig, MADV_NOHUGEPAGE));
	fill(p + 3 * HUGE, 1, 'P');
	fill(small, 1, 'S');
	uffd_register(fd, small, 1);
	uffd_register(fd, huge, N);
	/* no table below the source's */
	move(fd, small, p + HUGE, 1, 0);
	move(fd, small, p + HUGE, 1, HOLES);
	move(fd, huge, p + HUGE, 1, 0);
	move(fd, huge, p + HUGE, 1, HOLES);
	/* a table, but nothing in it */
	move(fd, small, p + 3 * HUGE + PAGE, 1, 0);
	move(fd, huge, p + 3 * HUGE + PAGE, 1, 0);
	move(fd, huge, none, 1, HOLES);
	say("huge: dst %d", is_huge(huge));
}

const struct scene scenes_huge[] = {
	{ "huge_whole", huge_whole },
	{ "huge_fault", huge_fault },
	{ "huge_some_of_several", huge_some_of_several },
	{ "huge_part", huge_part },
	{ "huge_shifted", huge_shifted },
	{ "huge_onto_table", huge_onto_table },
	{ "huge_in_the_way", huge_in_the_way },
	{ "huge_zero", huge_zero },
	{ "huge_after_fork", huge_after_fork },
	{ "huge_no_table", huge_no_table },
	{ NULL, NULL }
};
