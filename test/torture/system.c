// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system the workers run on: swap on zram, a memory cgroup with less than
 * they want, KSM, huge pages; and making it restless while they run.
 */
#include "torture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#define CGROUP	"/sys/fs/cgroup/torture"
#define SWAP	"/dev/zram0"
#define MM	"/sys/kernel/mm/"

static bool have_swap;

bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

long read_long(const char *path)
{
	long value = -1;
	FILE *f = fopen(path, "r");

	if (f && fscanf(f, "%ld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

int dev_open_all(void)
{
	struct uremap_range all = {
		.rights = UREMAP_RANGE_SRC | UREMAP_RANGE_DST,
	};
	struct uremap_info info = { 0 };
	int fd = open("/dev/uremap", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UREMAP_IOC_INFO, &info))
		fail(NULL, "/dev/uremap: %s", strerror(errno));
	all.len = info.va_end;
	if (ioctl(fd, UREMAP_IOC_REGISTER, &all))
		fail(NULL, "REGISTER of everything: %s", strerror(errno));
	return fd;
}

/* What mkswap(8) writes: version 1, the last page, a signature. */
static bool swap_make(uint32_t pages)
{
	uint32_t info[3] = { 1, pages - 1, 0 };
	int fd = open(SWAP, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && pwrite(fd, info, sizeof(info), 1024) > 0 &&
		  pwrite(fd, "SWAPSPACE2", 10, PAGE - 10) == 10;

	if (fd >= 0)
		close(fd);
	return ok;
}

static void swap_prepare(void)
{
	uint32_t mib = shared->opt.mib * 2;
	char size[32];

	if (access(SWAP, F_OK) && system("modprobe zram"))
		return;
	snprintf(size, sizeof(size), "%uM", mib);
	write_text("/sys/block/zram0/disksize", size);
	have_swap = swap_make(mib * 256) && !swapon(SWAP, 0);
}

/* The workers inherit it. */
static bool cgroup_enter(void)
{
	char limit[32];

	write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir(CGROUP, 0755);
	snprintf(limit, sizeof(limit), "%uM", shared->opt.mib / 2 + 32);
	return write_text(CGROUP "/memory.max", limit) &&
	       write_text(CGROUP "/cgroup.procs", "0");
}

void system_prepare(void)
{
	bool limited;

	write_text("/proc/self/oom_score_adj", "-1000");
	swap_prepare();
	limited = have_swap && cgroup_enter();
	write_text(MM "ksm/run", "1");
	write_text(MM "ksm/pages_to_scan", "2000");
	write_text(MM "ksm/sleep_millisecs", "20");
	write_text(MM "transparent_hugepage/enabled", "always");
	write_text(MM "transparent_hugepage/khugepaged/scan_sleep_millisecs",
		   "200");
	write_text(MM "transparent_hugepage/hugepages-64kB/enabled", "always");
	if (shared->opt.numa)
		write_text("/proc/sys/kernel/numa_balancing", "1");
	printf("swap %s, memory %s, %s\n", have_swap ? "on zram" : "none",
	       limited ? "limited" : "not limited",
	       shared->opt.numa ? "two nodes" : "one node");
}

/* The only walker of the reverse map that looks at what is not reclaimed. */
static void idle_pages(void)
{
	static uint64_t bits[512];
	int fd = open(MM "page_idle/bitmap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	memset(bits, 0xff, sizeof(bits));
	while (write(fd, bits, sizeof(bits)) == sizeof(bits))
		;
	lseek(fd, 0, SEEK_SET);
	while (read(fd, bits, sizeof(bits)) == sizeof(bits))
		;
	close(fd);
}

static void toggle(const char *path, const char *one, const char *other,
		   uint64_t random)
{
	write_text(path, random & 256 ? one : other);
}

void system_disturb(uint64_t random)
{
	char limit[32];

	switch (random % 10) {
	case 0:
		write_text("/proc/sys/vm/compact_memory", "1");
		break;
	case 1:
		toggle(MM "ksm/run", "1", "2", random);
		break;
	case 2:
		write_text(MM "ksm/run", "1");
		toggle(MM "ksm/use_zero_pages", "1", "0", random);
		break;
	case 3:
		toggle(MM "transparent_hugepage/enabled", "always", "madvise",
		       random);
		break;
	case 4:
		snprintf(limit, sizeof(limit), "%uM", shared->opt.mib / 4 + 24 +
			 (unsigned int)(random >> 16) % shared->opt.mib);
		write_text(CGROUP "/memory.max", limit);
		break;
	case 5:
		write_text("/proc/sys/vm/drop_caches", "1");
		break;
	case 6:
		if (have_swap && random & 256 && !swapoff(SWAP))
			swapon(SWAP, 0);
		break;
	case 7:
		idle_pages();
		break;
	case 8:
		toggle(MM "lru_gen/enabled", "7", "0", random);
		break;
	case 9:
		write_text(CGROUP "/memory.reclaim", "16M");
		break;
	}
}

/* So that all that was changed is as it was, and everything can end. */
void system_settle(void)
{
	write_text(CGROUP "/memory.max", "max");
	write_text(MM "ksm/run", "2");
}
