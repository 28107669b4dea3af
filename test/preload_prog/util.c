// SPDX-License-Identifier: GPL-2.0-only
/* What all scenes use; see prog.h. */
#include "prog.h"

#include <poll.h>
#include <stdarg.h>

#define UNTOUCHED	0x5a5a5a5a5a5a5a5aLL

void say(const char *fmt, ...)
{
	va_list ap;

	printf("  ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

void broken(const char *what)
{
	printf("  BROKEN %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(99);
}

/* ---- userfaultfd ------------------------------------------------------ */

int uffd_new(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	need(fd >= 0);
	return fd;
}

int uffd_open(__u64 features)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MOVE | features,
	};
	int fd = uffd_new();

	if (ioctl(fd, UFFDIO_API, &api)) {
		say("no UFFDIO_MOVE: %s", strerrorname_np(errno));
		exit(1);
	}
	return fd;
}

void uffd_register(int uffd, void *start, size_t pages)
{
	struct uffdio_register reg = {
		.range = { ADDR(start), pages * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	need(!ioctl(uffd, UFFDIO_REGISTER, &reg));
	need(reg.ioctls & (__u64)1 << _UFFDIO_MOVE);
}

void uffd_wake(int uffd, void *start, size_t pages)
{
	struct uffdio_range range = { ADDR(start), pages * PAGE };

	need(!ioctl(uffd, UFFDIO_WAKE, &range));
}

void uffd_event(int uffd, char *base)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	need(poll(&pfd, 1, -1) == 1);
	need(read(uffd, &msg, sizeof(msg)) == sizeof(msg));
	if (msg.event == UFFD_EVENT_PAGEFAULT)
		say("fault at page %llu", (unsigned long long)
		    (msg.arg.pagefault.address - ADDR(base)) / PAGE);
	else
		say("event %#x", msg.event);
}

int uffd_waiters(int uffd)
{
	char path[64], line[128];
	int total = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", uffd);
	f = fopen(path, "r");
	need(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "total: %d", &total);
	fclose(f);
	need(total >= 0);
	return total;
}

static void say_move(const char *head, int ret, int err, __s64 move)
{
	char field[64];

	if (move == UNTOUCHED)
		strcpy(field, "untouched");
	else if (move < 0)
		snprintf(field, sizeof(field), "-%s",
			 strerrorname_np(-move) ?: "?");
	else
		snprintf(field, sizeof(field), "%lld", (long long)move);
	say("%s: %d %s, move %s", head, ret, ret ? strerrorname_np(err) : "-",
	    field);
	if (!ret && err)
		say("errno changed to %d by a success", err);
}

void move_raw(int uffd, __u64 dst, __u64 src, __u64 len, __u64 mode)
{
	struct uffdio_move m = { dst, src, len, mode, UNTOUCHED };
	int ret, err;

	errno = 0;
	ret = ioctl(uffd, UFFDIO_MOVE, &m);
	err = errno;
	say_move("move", ret, err, m.move);
	if (m.dst != dst || m.src != src || m.len != len || m.mode != mode)
		say("an input field has changed");
}

void move(int uffd, void *dst, void *src, size_t pages, __u64 mode)
{
	move_raw(uffd, ADDR(dst), ADDR(src), pages * PAGE, mode);
}

int move_quiet(int uffd, void *dst, void *src, size_t len, __u64 mode)
{
	struct uffdio_move m = { ADDR(dst), ADDR(src), len, mode, UNTOUCHED };

	return ioctl(uffd, UFFDIO_MOVE, &m) ? errno : 0;
}

/* ---- memory ----------------------------------------------------------- */

char *map_with(size_t pages, int prot, int flags)
{
	/* a gap on each side: no two of them become one mapping */
	size_t len = pages * PAGE;
	char *p = mmap(NULL, len + 2 * PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(p != MAP_FAILED);
	p = mmap(p + PAGE, len, prot, flags | MAP_FIXED, -1, 0);
	need(p != MAP_FAILED);
	munmap(p - PAGE, PAGE);
	munmap(p + len, PAGE);
	madvise(p, len, MADV_NOHUGEPAGE);
	return p;
}

char *map(size_t pages)
{
	return map_with(pages, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS);
}

static uint64_t word(char letter, size_t i)
{
	return (uint64_t)letter << 56 | 0x9e3779b97f4a7c15ULL * (i + 1) >> 8;
}

void fill(char *start, size_t pages, char first)
{
	size_t i, n;

	for (n = 0; n < pages; n++)
		for (i = 0; i < PAGE / 8; i++)
			((uint64_t *)(start + n * PAGE))[i] =
				word((char)('A' + (first - 'A' + n) % 26), i);
}

char *map_filled(size_t pages)
{
	char *p = map(pages);

	fill(p, pages, 'A');
	return p;
}

char *map_huge(size_t len)
{
	char *p = mmap(NULL, len + 2 * HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(p != MAP_FAILED);
	p = (char *)((ADDR(p) + HUGE - 1) & ~(HUGE - 1));
	p = mmap(p, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	need(p != MAP_FAILED);
	need(!madvise(p, len, MADV_HUGEPAGE));
	return p;
}

bool is_huge(char *addr)
{
	unsigned long start, end;
	bool here = false;
	char line[512];
	long kb = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	need(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = ADDR(addr) >= start && ADDR(addr) < end;
		if (here && sscanf(line, "AnonHugePages: %ld", &kb) == 1)
			break;
	}
	fclose(f);
	return kb > 0;
}

char page_letter(char *page)
{
	uint64_t *w = (uint64_t *)page;
	char letter = (char)(w[0] >> 56);
	bool same = true, zero = true;
	size_t i;

	for (i = 0; i < PAGE / 8; i++) {
		same = same && w[i] == word(letter, i);
		zero = zero && !w[i];
	}
	return zero ? '0' : same && letter >= 'A' && letter <= 'Z' ? letter : '?';
}

void look(const char *what, char *start, size_t pages)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char seen[80];
	uint64_t pm;
	size_t n;

	need(fd >= 0 && pages < sizeof(seen));
	for (n = 0; n < pages; n++) {
		char *page = start + n * PAGE;

		need(pread(fd, &pm, 8, ADDR(page) / PAGE * 8) == 8);
		seen[n] = pm >> 62 ? page_letter(page) : '.';
	}
	close(fd);
	say("%s %.*s", what, (int)pages, seen);
}

/* ---- threads ---------------------------------------------------------- */

static void *toucher_main(void *arg)
{
	struct toucher *t = arg;
	char first = *(volatile char *)t->addr;

	(void)first;
	t->seen = page_letter((char *)(ADDR(t->addr) & ~(PAGE - 1)));
	return NULL;
}

void touch(struct toucher *t, char *addr)
{
	t->addr = addr;
	need(!pthread_create(&t->thread, NULL, toucher_main, t));
}

void touched(struct toucher *t)
{
	need(!pthread_join(t->thread, NULL));
	say("the thread saw %c", t->seen);
}
