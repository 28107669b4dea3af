// SPDX-License-Identifier: GPL-2.0-only
/* Pages of all kinds, holes, and how far a request gets. */
#include "prog.h"

#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <sys/uio.h>

static void pages(void)
{
	char *src = map_filled(8), *dst = map(8);
	int fd = uffd_open(0);

	uffd_register(fd, dst, 8);
	move(fd, dst + 7 * PAGE, src, 1, 0);
	move(fd, dst, src + PAGE, 7, 0);
	look("src", src, 8);
	look("dst", dst, 8);
	/* and back, into what is not registered */
	move(fd, src, dst, 8, 0);
	uffd_register(fd, src, 8);
	move(fd, src, dst, 8, 0);
	look("src", src, 8);
	look("dst", dst, 8);
}

/* More than a page table on both sides, at different offsets in it. */
static void many_pages(void)
{
	enum { N = 1100 };
	char *src = map(N), *dst = map(N);
	int fd = uffd_open(0), n, bad = 0;

	fill(src, N, 'A');
	uffd_register(fd, dst, N);
	move(fd, dst, src, N, 0);
	for (n = 0; n < N; n++)
		bad += page_letter(dst + n * PAGE) != 'A' + n % 26;
	say("%d pages wrong", bad);
	look("src ends", src + (N - 2) * PAGE, 2);
}

static void partial(void)
{
	char *src = map_filled(5), *dst = map(5);
	int fd = uffd_open(0);

	fill(dst + 2 * PAGE, 1, 'X');
	uffd_register(fd, dst, 5);
	move(fd, dst, src, 5, 0);
	look("src", src, 5);
	look("dst", dst, 5);
	move(fd, dst + 2 * PAGE, src + 2 * PAGE, 3, 0);
	move(fd, dst + 3 * PAGE, src + 3 * PAGE, 2, 0);
	look("src", src, 5);
	look("dst", dst, 5);
}

static void holes(void)
{
	char *src = map(8), *dst = map(8);
	int fd = uffd_open(0);

	fill(src + 1 * PAGE, 2, 'B');
	fill(src + 4 * PAGE, 1, 'E');
	fill(src + 6 * PAGE, 1, 'G');
	uffd_register(fd, dst, 8);
	move(fd, dst, src, 8, 0);
	move(fd, dst + PAGE, src + PAGE, 7, 0);
	move(fd, dst + 3 * PAGE, src + 3 * PAGE, 5, 0);
	move(fd, dst, src, 8, HOLES);
	look("src", src, 8);
	look("dst", dst, 8);
	move(fd, src, src, 1, HOLES);
}

/* Nothing at all below the source, not even page tables. */
static void only_holes(void)
{
	char *src = map_huge(4 * HUGE), *dst = map_huge(4 * HUGE);
	int fd = uffd_open(0);

	madvise(src, 4 * HUGE, MADV_NOHUGEPAGE);
	madvise(dst, 4 * HUGE, MADV_NOHUGEPAGE);
	uffd_register(fd, dst, 4 * HUGE / PAGE);
	move(fd, dst, src, 4 * HUGE / PAGE, 0);
	move(fd, dst, src, 4 * HUGE / PAGE, HOLES);
	fill(src + 2 * HUGE + 5 * PAGE, 1, 'Q');
	move(fd, dst, src, 4 * HUGE / PAGE, HOLES);
	look("dst", dst + 2 * HUGE + 4 * PAGE, 3);
}

/* The zero page is memory, not a hole. */
static void zero_page(void)
{
	char *src = map(3), *dst = map(3);
	int fd = uffd_open(0), n;

	for (n = 0; n < 3; n++)
		(void)*(volatile char *)(src + n * PAGE);
	uffd_register(fd, dst, 3);
	move(fd, dst, src, 3, 0);
	look("src", src, 3);
	look("dst", dst, 3);
	fill(dst, 2, 'W');
	look("written", dst, 3);
}

/* A page a child has had is shared until it is written again. */
static void after_fork(void)
{
	char *src = map_filled(4), *dst = map(4);
	int fd = uffd_open(0), status, go[2];
	char byte;
	pid_t pid;

	need(!pipe(go));
	uffd_register(fd, dst, 4);
	pid = fork();
	need(pid >= 0);
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) || page_letter(src) != 'A');
	}
	close(go[0]);
	move(fd, dst, src, 1, 0);
	move(fd, dst, src, 4, HOLES);
	*(volatile char *)(src + 8) = *(volatile char *)(src + 8);
	look("src", src, 4);
	move(fd, dst, src, 2, 0);
	close(go[1]);
	need(waitpid(pid, &status, 0) == pid);
	say("the child saw its page: %d", !status);
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	*(volatile char *)(src + PAGE + 8) = *(volatile char *)(src + PAGE + 8);
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	look("src", src, 4);
	look("dst", dst, 4);
}

/* Pinned for I/O by io_uring; the pages before it are done. */
static void pinned(void)
{
	char *src = map_filled(4), *dst = map(4);
	struct iovec iov = { src + 2 * PAGE, PAGE };
	struct io_uring_params p = { 0 };
	int fd = uffd_open(0), ring;

	ring = syscall(SYS_io_uring_setup, 4, &p);
	need(ring >= 0);
	need(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS,
		      &iov, 1));
	uffd_register(fd, dst, 4);
	move(fd, dst, src, 4, 0);
	move(fd, dst + 2 * PAGE, src + 2 * PAGE, 2, 0);
	move(fd, dst + 3 * PAGE, src + 3 * PAGE, 1, 0);
	look("src", src, 4);
	look("dst", dst, 4);
}

static uint64_t frame(void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t pm = 0;

	need(fd >= 0 && pread(fd, &pm, 8, ADDR(page) / PAGE * 8) == 8);
	close(fd);
	return pm & (((uint64_t)1 << 55) - 1);
}

static void ksm_run(const char *text)
{
	int fd = open("/sys/kernel/mm/ksm/run", O_WRONLY | O_CLOEXEC);

	need(fd >= 0 && write(fd, text, 1) == 1);
	close(fd);
}

/* Pages that KSM has merged belong to nobody in particular. */
static void merged(void)
{
	char *src = map(3), *dst = map(3);
	int fd = uffd_open(0);

	fill(src, 1, 'A');
	fill(src + PAGE, 1, 'M');
	fill(src + 2 * PAGE, 1, 'M');
	uffd_register(fd, dst, 3);
	need(!madvise(src, 3 * PAGE, MADV_MERGEABLE));
	ksm_run("1");
	while (frame(src + PAGE) != frame(src + 2 * PAGE))
		usleep(10000);
	ksm_run("0");
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	move(fd, dst + PAGE, src + PAGE, 2, HOLES);
	look("src", src, 3);
	fill(src + 2 * PAGE, 1, 'W');
	move(fd, dst + 2 * PAGE, src + 2 * PAGE, 1, 0);
	look("src", src, 3);
	look("dst", dst, 3);
}

static void ignore(int sig)
{
	(void)sig;
}

/* A memory error at the source, and one in the way. */
static void poisoned(void)
{
	char *src = map_filled(4), *dst = map(4);
	int fd = uffd_open(0);

	fill(dst + 3 * PAGE, 1, 'X');
	need(signal(SIGBUS, ignore) != SIG_ERR);
	need(!madvise(src + PAGE, PAGE, MADV_HWPOISON));
	need(!madvise(dst + 3 * PAGE, PAGE, MADV_HWPOISON));
	uffd_register(fd, dst, 4);
	move(fd, dst, src, 4, 0);
	move(fd, dst + PAGE, src + PAGE, 3, 0);
	move(fd, dst + PAGE, src + PAGE, 3, HOLES);
	move(fd, dst + 2 * PAGE, src + 2 * PAGE, 2, 0);
	move(fd, dst + 3 * PAGE, src + 3 * PAGE, 1, 0);
	look("dst", dst, 3);
	look("src", src + 3 * PAGE, 1);
}

static void *remover(void *arg)
{
	need(!madvise(arg, PAGE, MADV_DONTNEED));
	return NULL;
}

/* An event nobody has read: the layout is changing, and moves must wait. */
static void changing(void)
{
	char *src = map_filled(2), *dst = map_filled(2);
	int fd = uffd_open(UFFD_FEATURE_EVENT_REMOVE);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct uffdio_move *ro = (struct uffdio_move *)map(1);
	pthread_t thread;
	int ret;

	uffd_register(fd, dst, 2);
	madvise(ro, PAGE, MADV_DONTNEED);
	need(!mprotect(ro, PAGE, PROT_READ));
	need(!pthread_create(&thread, NULL, remover, dst));
	need(poll(&pfd, 1, -1) == 1);
	move(fd, dst, src, 1, 0);
	move_raw(fd, 1, 1, 1, ~0ULL);
	ret = ioctl(fd, UFFDIO_MOVE, ro);
	say("read-only: %d %s", ret, strerrorname_np(errno));
	uffd_event(fd, dst);
	need(!pthread_join(thread, NULL));
	move(fd, dst, src, 1, 0);
	look("src", src, 2);
	look("dst", dst, 2);
}

/* Write-protect mode does not hinder, and a moved page is not protected. */
static void write_protect(void)
{
	char *src = map_filled(2), *dst = map(2);
	int fd = uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	struct uffdio_register reg = {
		.range = { ADDR(dst), 2 * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};

	need(!ioctl(fd, UFFDIO_REGISTER, &reg));
	move(fd, dst, src, 1, 0);
	*(volatile char *)dst = 0;
	say("written, waiters %d", uffd_waiters(fd));
	reg.mode = UFFDIO_REGISTER_MODE_WP;
	need(!ioctl(fd, UFFDIO_REGISTER, &reg));
	move(fd, dst + PAGE, src + PAGE, 1, 0);
	look("dst", dst + PAGE, 1);
}

const struct scene scenes_page[] = {
	{ "pages", pages },
	{ "many_pages", many_pages },
	{ "partial", partial },
	{ "holes", holes },
	{ "only_holes", only_holes },
	{ "zero_page", zero_page },
	{ "after_fork", after_fork },
	{ "pinned", pinned },
	{ "merged", merged },
	{ "poisoned", poisoned },
	{ "changing", changing },
	{ "write_protect", write_protect },
	{ NULL, NULL }
};
