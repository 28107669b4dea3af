// SPDX-License-Identifier: MIT
/* move: write into one mapping, move its pages to another, read them there. */
#include <err.h>
#include <fcntl.h>
#include <linux/uremap.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

int main(void)
{
	size_t len = 64 * 4096;
	char *src = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *dst = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uremap_range from = { .start = (__u64)src, .len = len, .rights = UREMAP_RANGE_SRC };
	struct uremap_range to = { .start = (__u64)dst, .len = len, .rights = UREMAP_RANGE_DST };
	struct uremap_move move = { .src = (__u64)src, .dst = (__u64)dst, .len = len };
	int fd = open("/dev/uremap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(1, "/dev/uremap");
	if (src == MAP_FAILED || dst == MAP_FAILED)
		err(1, "mmap");
	if (ioctl(fd, UREMAP_IOC_REGISTER, &from) || ioctl(fd, UREMAP_IOC_REGISTER, &to))
		err(1, "UREMAP_IOC_REGISTER");
	memset(src, 'x', len);
	if (ioctl(fd, UREMAP_IOC_MOVE, &move))
		errx(1, "stopped at %#llx: reason %u, %s", move.stop, move.reason,
		     strerror(move.error));
	printf("moved %llu pages, dst[0] is '%c' now\n", move.moved / 4096, dst[0]);
	return 0;
}
