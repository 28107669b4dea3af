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

static bool have_swap, own_swap;

/* What is set here or changed later, and what it was before */
static struct {
	const char *path;
	char was[64];
} settings[] = {
	{ MM "ksm/pages_to_scan" },
	{ MM "ksm/sleep_millisecs" },
	{ MM "ksm/use_zero_pages" },
	{ MM "ksm/run" },
	{ MM "transparent_hugepage/enabled" },
	{ MM "transparent_hugepage/khugepaged/scan_sleep_millisecs" },
	{ MM "transparent_hugepage/hugepages-64kB/enabled" },
	{ MM "lru_gen/enabled" },
	{ "/proc/sys/kernel/numa_balancing" },
};

#define SETTINGS	(sizeof(settings) / sizeof(settings[0]))

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

/* The value, or the one in brackets if those it could have are listed. */
static void settings_save(void)
{
	char text[64], *value;
	size_t i, n;

	for (i = 0; i < SETTINGS; i++) {
		FILE *f = fopen(settings[i].path, "r");

		if (!f)
			continue;
		n = fread(text, 1, sizeof(text) - 1, f);
		text[n] = '\0';
		fclose(f);
		value = strchr(text, '[') ? strchr(text, '[') + 1 : text;
		value[strcspn(value, "]\n")] = '\0';
		strcpy(settings[i].was, value);
	}
}

static void settings_restore(void)
{
	size_t i;

	for (i = 0; i < SETTINGS; i++)
		if (settings[i].was[0])
			write_text(settings[i].path, settings[i].was);
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

static bool swap_is_on(void)
{
	char line[256];
	FILE *f = fopen("/proc/swaps", "r");
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		found |= !strncmp(line, SWAP " ", strlen(SWAP " "));
	if (f)
		fclose(f);
	return found;
}

static void swap_prepare(void)
{
	uint32_t mib = shared->opt.mib * 2;
	char size[32];

	have_swap = swap_is_on();
	if (have_swap)
		return;
	if (access(SWAP, F_OK) && system("modprobe zram"))
		return;
	snprintf(size, sizeof(size), "%uM", mib);
	write_text("/sys/block/zram0/disksize", size);
	have_swap = own_swap = swap_make(mib * 256) && !swapon(SWAP, 0);
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
	settings_save();
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
static bool idle_pages(void)
{
	static uint64_t bits[512];
	int fd = open(MM "page_idle/bitmap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	memset(bits, 0xff, sizeof(bits));
	while (write(fd, bits, sizeof(bits)) == sizeof(bits))
		;
	lseek(fd, 0, SEEK_SET);
	while (read(fd, bits, sizeof(bits)) == sizeof(bits))
		;
	close(fd);
	return true;
}

void disturbed(enum disturbance what, bool ok)
{
	if (ok)
		COUNT(disturbed[what], 1);
	else
		COUNT(undisturbed[what], 1);
}

static void toggle(enum disturbance what, const char *path, const char *one,
		   const char *other, uint64_t random)
{
	disturbed(what, write_text(path, random & 256 ? one : other));
}

static void change_limit(uint64_t random)
{
	unsigned int mib = random % shared->opt.mib + shared->opt.mib / 4 + 24;
	char limit[32];

	snprintf(limit, sizeof(limit), "%uM", mib);
	disturbed(DO_LIMIT, write_text(CGROUP "/memory.max", limit));
}

static void swap_off_and_on(void)
{
	disturbed(DO_SWAPOFF, have_swap && !swapoff(SWAP) && !swapon(SWAP, 0));
}

void system_disturb(uint64_t random)
{
	switch (random % 10) {
	case 0:
		disturbed(DO_COMPACT,
			  write_text("/proc/sys/vm/compact_memory", "1"));
		break;
	case 1:
		toggle(DO_KSM, MM "ksm/run", "1", "2", random);
		break;
	case 2:
		write_text(MM "ksm/run", "1");
		toggle(DO_KSM_ZERO, MM "ksm/use_zero_pages", "1", "0", random);
		break;
	case 3:
		toggle(DO_HUGE, MM "transparent_hugepage/enabled", "always",
		       "madvise", random);
		break;
	case 4:
		change_limit(random >> 16);
		break;
	case 5:
		disturbed(DO_DROP, write_text("/proc/sys/vm/drop_caches", "1"));
		break;
	case 6:
		if (random & 256)
			swap_off_and_on();
		break;
	case 7:
		disturbed(DO_IDLE, idle_pages());
		break;
	case 8:
		toggle(DO_LRU_GEN, MM "lru_gen/enabled", "7", "0", random);
		break;
	case 9:
		disturbed(DO_RECLAIM,
			  write_text(CGROUP "/memory.reclaim", "16M"));
		break;
	}
}

/* So that everything can end */
void system_settle(void)
{
	write_text(CGROUP "/memory.max", "max");
	write_text(MM "ksm/run", "2");
}

/* Once all workers are gone: as it was, for whoever comes next. */
void system_restore(void)
{
	settings_restore();
	if (own_swap)
		swapoff(SWAP);
	write_text("/sys/fs/cgroup/cgroup.procs", "0");
	rmdir(CGROUP);
}
