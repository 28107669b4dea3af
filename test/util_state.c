// SPDX-License-Identifier: GPL-2.0-only
/*
 * States of pages that more than one suite needs; see util_state.h.
 */
#include "util_peer.h"
#include "util_state.h"
#include "util_swap.h"

#include <linux/io_uring.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage"

/* ---- huge pages and large folios -------------------------------------- */

void khugepaged_rest(void)
{
	file_write(THP_DIR "/khugepaged/pages_to_scan", "1");
	file_write(THP_DIR "/khugepaged/alloc_sleep_millisecs", "1000000");
	file_write(THP_DIR "/khugepaged/scan_sleep_millisecs", "1000000");
}

long huge_kb(const void *addr)
{
	return smaps_kb(addr, "AnonHugePages");
}

/* Free memory in large pieces again, for the allocator to find a huge page. */
static void compact(void)
{
	file_write("/proc/sys/vm/drop_caches", "1");
	file_write("/proc/sys/vm/compact_memory", "1");
}

char *map_thp(size_t n, uint32_t id, uint32_t seq)
{
	int tries = 5;
	char *p;

	skip_if(!thp_available(), "no transparent huge pages");
	khugepaged_rest();
	p = map_huge_ok(n * HPAGES, PMD);
	expect_ok(madvise(p, n * PMD, MADV_HUGEPAGE));
	do {
		range_fill(p, n * HPAGES, id, seq);
		if (huge_kb(p) == (long)(n * PMD / 1024))
			return p;
		expect_ok(madvise(p, n * PMD, MADV_DONTNEED));
		compact();
	} while (--tries);
	ck_abort_msg("no %zu huge pages to be had", n);
}

char *map_thp_dst(size_t n)
{
	return map_huge_ok(n * HPAGES, PMD);
}

char *map_huge_zero(size_t n)
{
	char *p;
	size_t i;

	skip_if(!thp_available(), "no transparent huge pages");
	skip_if(file_read_long(THP_DIR "/use_zero_page") != 1,
		"no huge zero page");
	khugepaged_rest();
	p = map_huge_ok(n * HPAGES, PMD);
	expect_ok(madvise(p, n * PMD, MADV_HUGEPAGE));
	for (i = 0; i < n; i++) {
		page_check_zero(p + i * PMD);
		if (!(kpageflags(p + i * PMD) & KPF_THP))
			ck_abort_msg("a read fault brought no huge zero page");
	}
	return p;
}

/*
 * All other sizes off, or the kernel would take the largest; 0: the kernel's
 * own settings, which know huge pages alone.
 */
static void only_size(int kb)
{
	static const int sizes[] = {
		8, 16, 32, 64, 128, 256, 512, 1024, 2048,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (mthp_available(sizes[i]))
			mthp_set(sizes[i], sizes[i] == kb ? "always" :
				 !kb && sizes[i] == 2048 ? "inherit" : "never");
}

static bool all_folios(const char *p, size_t pages, size_t n)
{
	for (; pages; pages -= n, p += n * PAGE)
		if (!folio_whole(p, n))
			return false;
	return true;
}

char *map_folios(int kb, size_t pages, uint32_t id, uint32_t seq)
{
	size_t n = kb / 4;
	int tries = 5;
	char *p;

	skip_if(!mthp_available(kb), "no folios of %d KiB", kb);
	khugepaged_rest();
	p = map_huge_ok(pages, PMD);
	do {
		only_size(kb);
		range_fill(p, pages, id, seq);
		only_size(0);
		if (all_folios(p, pages, n))
			return p;
		expect_ok(madvise(p, pages * PAGE, MADV_DONTNEED));
		compact();
	} while (--tries);
	ck_abort_msg("no folios of %d KiB to be had", kb);
}

void split_mapping(char *addr)
{
	expect_ok(madvise(addr, PAGE, MADV_DONTDUMP));
	expect_ok(madvise(addr, PAGE, MADV_DODUMP));
}

void frames_read(const void *start, size_t pages, uint64_t *out)
{
	size_t i;

	pagemap_read(start, pages, out);
	for (i = 0; i < pages; i++)
		out[i] = pagemap_frame(out[i]);
}

void check_frames_at(const char *file, int line, const void *start,
		     size_t pages, const uint64_t *want)
{
	uint64_t *got = calloc(pages, sizeof(*got));
	size_t i;

	frames_read(start, pages, got);
	for (i = 0; i < pages; i++)
		if (got[i] != want[i])
			ck_abort_msg("%s:%d: page %zu of %zu: frame %#llx, expected %#llx",
				     file, line, i, pages,
				     (unsigned long long)got[i],
				     (unsigned long long)want[i]);
	free(got);
}

bool folio_whole(const void *start, size_t pages)
{
	const char *p = start;
	uint64_t frames[HPAGES], flags;
	size_t i;

	ck_assert_uint_le(pages, HPAGES);
	frames_read(p, pages, frames);
	for (i = 0; i < pages; i++) {
		if (!frames[i] || frames[i] != frames[0] + i)
			return false;
		flags = kpageflags(p + i * PAGE) & KPF_COMPOUND;
		if (flags != (i ? KPF_COMPOUND_TAIL : KPF_COMPOUND_HEAD))
			return false;
	}
	return true;
}

bool folio_none(const void *start, size_t pages)
{
	const char *p = start;
	size_t i;

	for (i = 0; i < pages; i++, p += PAGE)
		if (pagemap(p) & PM_PRESENT && kpageflags(p) & KPF_COMPOUND)
			return false;
	return true;
}

/* ---- swap -------------------------------------------------------------- */

size_t try_swap_out(char *start, size_t pages)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	size_t n = 0;
	int tries;

	for (tries = 0; tries < 20 && n < pages; tries++) {
		if (tries) {
			nanosleep(&pause, NULL);
			/* other CPUs' batches have some, out of its reach */
			lru_settle_all();
		}
		expect_ok(madvise(start, pages * PAGE, MADV_PAGEOUT));
		n = count_swapped(start, pages);
	}
	return n;
}

void swap_out(char *start, size_t pages)
{
	size_t n;

	swap_need();
	n = try_swap_out(start, pages);
	if (n != pages)
		ck_abort_msg("only %zu of %zu pages could be swapped out", n,
			     pages);
}

/* ---- references -------------------------------------------------------- */

int pin_pages(char *start, size_t pages)
{
	struct io_uring_params p = { 0 };
	struct iovec iov = { start, pages * PAGE };
	int fd = syscall(__NR_io_uring_setup, 2, &p);

	skip_if(fd < 0, "io_uring: %s", strerror(errno));
	expect_ok(syscall(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS,
			  &iov, 1));
	return fd;
}

int get_pages(char *start, size_t pages, int *write_end)
{
	struct iovec iov = { start, pages * PAGE };
	int fds[2];

	expect_ok(pipe(fds));
	ck_assert_int_eq(vmsplice(fds[1], &iov, 1, 0), (int)(pages * PAGE));
	*write_end = fds[1];
	return fds[0];
}

/* ---- memory errors ------------------------------------------------------ */

static void survive(int sig)
{
}

int try_break_page(char *page)
{
	struct sigaction act = { .sa_handler = survive }, old;
	int err;

	expect_ok(sigaction(SIGBUS, &act, &old));
	err = madvise(page, PAGE, MADV_HWPOISON) ? errno : 0;
	expect_ok(sigaction(SIGBUS, &old, NULL));
	return err;
}

void break_page(char *page)
{
	int err = try_break_page(page);

	skip_if(err, "no memory errors: %s", strerror(err));
}

/* ---- bounded runs ------------------------------------------------------ */

int run_bounded(int (*fn)(void *arg), void *arg, int secs)
{
	const volatile bool begun = true;

	return run_bounded_from(fn, arg, secs, &begun);
}

int run_bounded_from(int (*fn)(void *arg), void *arg, int secs,
		     const volatile bool *begun)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	struct timespec start = { 0 }, now;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = expect_ok(fork());
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(fn(arg));
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		nanosleep(&pause, NULL);
		if (!*begun)
			continue;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (!start.tv_sec)
			start = now;
		if (now.tv_sec - start.tv_sec > secs)
			kill(pid, SIGKILL);
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return WTERMSIG(status) == SIGKILL ? RUN_KILLED :
					     128 + WTERMSIG(status);
}

/* ---- the support matrix ------------------------------------------------ */

void matrix_says(const char *state, const char *outcome)
{
	test_note("matrix: %s: %s", state, outcome);
}

void matrix(const char *state, struct move_result r)
{
	char why[64];

	snprintf(why, sizeof(why), "refused (%s)", reason_name(r.reason));
	if (r.ret)
		matrix_says(state, why);
	else if (r.holes && !r.moved)
		matrix_says(state, "passed over");
	else
		matrix_says(state, r.healed ? "healed" : "moved");
}
