// SPDX-License-Identifier: GPL-2.0-only
/*
 * What /proc and /sys tell of pages, processes and the kernel; see util.h.
 */
#include "util.h"

#include <dirent.h>
#include <sys/utsname.h>

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage"

/*
 * A file of /proc that is read for every page.  It stays open: to open it costs a
 * kernel that checks itself more than all else the tests do.
 */
struct page_file {
	const char *path;
	int fd;
	pid_t owner;		/* a child has pages of its own */
};

static int page_file_open(struct page_file *f)
{
	if (__atomic_load_n(&f->owner, __ATOMIC_ACQUIRE) != getpid()) {
		f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
		if (f->fd >= 0)
			__atomic_store_n(&f->owner, getpid(), __ATOMIC_RELEASE);
	}
	return f->fd;
}

void pagemap_read(const void *start, size_t pages, uint64_t *out)
{
	static struct page_file file = { "/proc/self/pagemap" };
	size_t len = pages * sizeof(*out);
	off_t off = (uintptr_t)start / PAGE * sizeof(*out);
	int fd = page_file_open(&file);

	if (fd < 0)
		ck_abort_msg("pagemap: %s", strerror(errno));
	if (pread(fd, out, len, off) != (ssize_t)len)
		ck_abort_msg("pagemap of %p: %s", start, strerror(errno));
}

uint64_t pagemap(const void *addr)
{
	uint64_t entry;

	pagemap_read(addr, 1, &entry);
	return entry;
}

bool page_populated(const void *addr)
{
	return pagemap(addr) & PM_POPULATED;
}

size_t count_pages(const void *start, size_t pages, uint64_t bits)
{
	uint64_t entries[512];
	size_t i, n, count = 0;

	for (; pages; pages -= n, start = (const char *)start + n * PAGE) {
		n = pages < ARRAY_SIZE(entries) ? pages : ARRAY_SIZE(entries);
		pagemap_read(start, n, entries);
		for (i = 0; i < n; i++)
			count += !!(entries[i] & bits);
	}
	return count;
}

size_t count_populated(const void *start, size_t pages)
{
	return count_pages(start, pages, PM_POPULATED);
}

uint64_t pagemap_frame(uint64_t entry)
{
	if (!(entry & PM_PRESENT))
		return 0;
	skip_if(!(entry & PM_PFN), "no privilege to see page frame numbers");
	return entry & PM_PFN;
}

uint64_t page_pfn(const void *addr)
{
	uint64_t frame = pagemap_frame(pagemap(addr));

	if (!frame)
		ck_abort_msg("page %p is not present", addr);
	return frame;
}

static uint64_t kpage_read(struct page_file *file, uint64_t pfn)
{
	int fd = page_file_open(file);
	uint64_t value;

	skip_if(fd < 0, "%s: %s", file->path, strerror(errno));
	if (pread(fd, &value, sizeof(value), pfn * sizeof(value)) !=
	    sizeof(value))
		ck_abort_msg("%s: %s", file->path, strerror(errno));
	return value;
}

uint64_t kpageflags(const void *addr)
{
	static struct page_file file = { "/proc/kpageflags" };

	return kpage_read(&file, page_pfn(addr));
}

uint64_t kpagecount(const void *addr)
{
	static struct page_file file = { "/proc/kpagecount" };

	return kpage_read(&file, page_pfn(addr));
}

/* "Key:   value kB" or "key value"; -1 without such a line */
static long find_line(const char *path, const char *key)
{
	size_t n = strlen(key);
	long value = -1;
	char line[512];
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, n) || (line[n] != ':' && line[n] != ' '))
			continue;
		value = strtol(line + n + 1, NULL, 10);
		break;
	}
	fclose(f);
	return value;
}

long status_kb(pid_t pid, const char *key)
{
	char path[64];
	long kb;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/status", pid);
	else
		snprintf(path, sizeof(path), "/proc/self/status");
	kb = find_line(path, key);
	if (kb < 0)
		ck_abort_msg("%s: no %s", path, key);
	return kb;
}

/* Fills @buf with the smaps line @key of the mapping that contains @addr. */
static bool smaps_line(const void *addr, const char *key, char *buf, size_t len)
{
	unsigned long a = (unsigned long)addr, start, end;
	size_t n = strlen(key);
	bool inside = false, found = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	if (!f)
		return false;
	while (!found && fgets(buf, len, f)) {
		if (sscanf(buf, "%lx-%lx ", &start, &end) == 2)
			inside = a >= start && a < end;
		else
			found = inside && !strncmp(buf, key, n) &&
				buf[n] == ':';
	}
	fclose(f);
	return found;
}

long smaps_kb(const void *addr, const char *key)
{
	char line[512];

	if (!smaps_line(addr, key, line, sizeof(line)))
		return -1;
	return strtol(line + strlen(key) + 1, NULL, 10);
}

bool smaps_flag(const void *addr, const char *flag)
{
	char line[512], want[8];

	snprintf(want, sizeof(want), " %s ", flag);
	return smaps_line(addr, "VmFlags", line, sizeof(line)) &&
	       strstr(line, want);
}

long vmstat(const char *key)
{
	return find_line("/proc/vmstat", key);
}

long dev_stat(const char *key)
{
	return find_line("/sys/kernel/debug/uremap/stats", key);
}

bool file_read(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n < 0)
		return false;
	if (n && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return true;
}

int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

long file_read_long(const char *path)
{
	char buf[64];

	return file_read(path, buf, sizeof(buf)) ? strtol(buf, NULL, 0) : -1;
}

/* Asked for once: it does not change, and loops ask for it in each round. */
static const char *release(void)
{
	static struct utsname u;

	if (!u.release[0])
		expect_ok(uname(&u));
	return u.release;
}

bool kernel_at_least(int major, int minor)
{
	int a = 0, b = 0;

	if (sscanf(release(), "%d.%d", &a, &b) != 2)
		ck_abort_msg("uname: %s", release());
	return a > major || (a == major && b >= minor);
}

bool kernel_has_pae(void)
{
	return kernel_at_least(5, 19);
}

bool kernel_is_debug(void)
{
	/* CONFIG_LOCALVERSION of test/qemu/debug.config */
	return strstr(release(), "-uremapdbg");
}

int repeats(int n)
{
	return kernel_is_debug() ? (n + 3) / 4 : n;
}

bool thp_available(void)
{
	return !access(THP_DIR "/enabled", F_OK);
}

bool mthp_available(int kb)
{
	char path[128];

	snprintf(path, sizeof(path), THP_DIR "/hugepages-%dkB", kb);
	return !access(path, F_OK);
}

int mthp_set(int kb, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), THP_DIR "/hugepages-%dkB/enabled", kb);
	return file_write(path, value);
}

int numa_nodes(void)
{
	DIR *dir = opendir("/sys/devices/system/node");
	struct dirent *e;
	int n = 0, id;

	if (!dir)
		return 1;
	while ((e = readdir(dir)))
		n += sscanf(e->d_name, "node%d", &id) == 1;
	closedir(dir);
	return n ?: 1;
}

bool ksm_available(void)
{
	return !access("/sys/kernel/mm/ksm/run", F_OK);
}

bool swap_active(void)
{
	return find_line("/proc/meminfo", "SwapTotal") > 0;
}
