// SPDX-License-Identifier: GPL-2.0-only
/*
 * Swap on different devices, and a block device that takes its time; see
 * util_swap.h.
 */
#include "util_state.h"
#include "util_swap.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>

#define FILE_DIR	"/tmp/swap-on-file"

size_t count_swapped(const void *start, size_t pages)
{
	return count_pages(start, pages, PM_SWAP);
}

static bool run(const char *script)
{
	return !system(script);
}

const char *slow_disk(const char *name, int mib, long ms)
{
	static char dev[64];
	char dir[64], path[128], size[16], nsec[32];
	const char *const set[][2] = {
		{ "size", size }, { "memory_backed", "1" }, { "irqmode", "2" },
		{ "blocksize", "4096" }, { "completion_nsec", nsec },
		{ "power", "1" },
	};

	/* newer kernels call it as its folder is called, older by its index */
	snprintf(dir, sizeof(dir), "/cfg/nullb/%s", name);
	if (access("/cfg/nullb", F_OK)) {
		skip_if(!run("modprobe null_blk nr_devices=0 2>/dev/null"),
			"no null_blk module");
		mkdir("/cfg", 0755);
		expect_ok(mount("none", "/cfg", "configfs", 0, NULL));
	}
	if (access(dir, F_OK)) {
		snprintf(size, sizeof(size), "%d", mib);
		snprintf(nsec, sizeof(nsec), "%ld", ms * 1000000);
		expect_ok(mkdir(dir, 0755));
		for (size_t i = 0; i < ARRAY_SIZE(set); i++) {
			snprintf(path, sizeof(path), "%s/%s", dir, set[i][0]);
			ck_assert_int_eq(file_write(path, set[i][1]), 0);
		}
	}
	snprintf(dev, sizeof(dev), "/dev/%s", name);
	if (!access(dev, F_OK))
		return dev;
	snprintf(path, sizeof(path), "%s/index", dir);
	snprintf(dev, sizeof(dev), "/dev/nullb%ld", file_read_long(path));
	return dev;
}

/* Each returns the path to swap on, prepared with mkswap. */
static const char *prepare_zram(void)
{
	if (file_read_long("/sys/block/zram0/disksize") > 0)
		return "/dev/zram0";
	skip_if(access("/sys/block/zram0", F_OK) &&
		!run("modprobe zram 2>/dev/null"), "no zram module");
	ck_assert_int_eq(file_write("/sys/block/zram0/disksize", "256M"), 0);
	ck_assert(run("mkswap /dev/zram0 >/dev/null"));
	return "/dev/zram0";
}

static const char *prepare_file(void)
{
	const char *path = FILE_DIR "/swap";

	if (!access(path, F_OK))
		return path;
	skip_if(!run("modprobe loop 2>/dev/null && modprobe ext4 2>/dev/null"),
		"no loop or ext4 module");
	ck_assert(run("d=" FILE_DIR "; set -e; exec >/dev/null 2>&1; mkdir $d;"
		      "truncate -s 32M $d.img;"
		      "losetup /dev/loop0 $d.img; mke2fs -F /dev/loop0;"
		      "mount -t ext4 /dev/loop0 $d;"
		      "dd if=/dev/zero of=$d/swap bs=1M count=24;"
		      "chmod 600 $d/swap; mkswap $d/swap"));
	return path;
}

static const char *prepare_slow(void)
{
	const char *dev;
	char path[128];

	if (!access("/cfg/nullb/swap", F_OK))
		return slow_disk("swap", 0, 0);
	dev = slow_disk("swap", 16, 1000);
	snprintf(path, sizeof(path), "/sys/block/%s/queue/stable_writes",
		 dev + strlen("/dev/"));
	ck_assert_int_eq(file_write(path, "1"), 0);
	snprintf(path, sizeof(path), "mkswap %s >/dev/null", dev);
	ck_assert(run(path));
	return dev;
}

/* Off with all swap that is not @path; true if that is on already. */
static bool swap_only(const char *path)
{
	char line[512], *end;
	bool on = false;
	FILE *f = fopen("/proc/swaps", "re");

	while (f && fgets(line, sizeof(line), f)) {
		end = strchr(line, ' ');
		if (*line != '/' || !end)
			continue;
		*end = '\0';
		if (!strcmp(line, path))
			on = true;
		else
			expect_ok(swapoff(line));
	}
	if (f)
		fclose(f);
	return on;
}

static bool in_guest(void)
{
	return !access("/t/uremap.ko", F_OK);
}

/* Whether this test has asked for swap of some kind */
static bool chosen;

void swap_use(enum swap_kind kind)
{
	const char *path;

	skip_if(!in_guest(), "swap is changed only in a guest of our own");
	chosen = true;
	if (kind == SWAP_ZRAM)
		path = prepare_zram();
	else if (kind == SWAP_FILE)
		path = prepare_file();
	else
		path = prepare_slow();
	if (!swap_only(path))
		expect_ok(swapon(path, 0));
}

/* What a test before this one left may be slow, or keep pages in its cache. */
void swap_need(void)
{
	if (!chosen && in_guest())
		swap_use(SWAP_ZRAM);
	skip_if(!swap_active(), "no swap");
}
