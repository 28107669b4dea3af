// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M zram -s 3 */
/*
 * Proves that reclaim may look for a page through the mapping it came from
 * after that mapping is gone: pages are moved away from mappings that are
 * unmapped at once, under memory pressure (C13; C31).  Kernels before
 * 6.8 do not look again after they have found an anon_vma; what is freed too
 * early there shows as a dead kernel, surest with KASAN.
 */
#include "util_peer.h"
#include "util_state.h"

#include <sys/stat.h>

#define GROUP	"/sys/fs/cgroup/uremap-rmap"

enum { N = 64, SLOTS = 24, WALL_MS = 15000, ROUNDS = 4000 };

struct race {
	int fd;
	char *dst;			/* SLOTS runs of N pages */
	volatile bool stop;
	unsigned long rounds;
};

/*
 * Each run comes from a mapping of its own with an anon_vma of its own, at times
 * one that a child shares.
 */
static void *moves(void *arg)
{
	uint64_t until = now_ms() + WALL_MS;
	struct race *w = arg;
	uint32_t id[SLOTS] = { 0 };
	struct move_result r;
	char *src, *dst;
	size_t done;
	int slot;

	while (w->rounds < ROUNDS && now_ms() < until) {
		slot = rnd_below(SLOTS);
		dst = w->dst + slot * N * PAGE;
		if (id[slot]) {
			range_check(dst, N, id[slot], 1);
			expect_ok(madvise(dst, N * PAGE, MADV_DONTNEED));
		}
		id[slot] = 1000 * ++w->rounds;
		src = map_filled(N, id[slot], 1);
		for (done = 0; done < N * PAGE; done += r.move > 0 ? r.move : 0) {
			r = try_move(w->fd, dst + done, src + done,
				     N * PAGE - done, UREMAP_MOVE_UNSHARE);
			if (r.ret && r.error != EAGAIN)
				ck_abort_msg("error %u reason %s", r.error,
					     reason_name(r.reason));
		}
		expect_ok(munmap(src, N * PAGE));
	}
	w->stop = true;
	return NULL;
}

/* Asks who uses which page, of all pages again and again. */
static void *reclaims(void *arg)
{
	struct race *w = arg;
	size_t at;

	while (!w->stop) {
		if (file_write(GROUP "/memory.reclaim", "128K") == ENOENT) {
			/* before 5.19: by the limit */
			file_write(GROUP "/memory.high", "6M");
			usleep(2000);
			file_write(GROUP "/memory.high", "max");
		}
		at = rnd_below(SLOTS * N);
		madvise(w->dst + at * PAGE, (SLOTS * N - at) * PAGE,
			rnd() & 1 ? MADV_COLD : MADV_PAGEOUT);
		usleep(rnd_below(10000));
	}
	return NULL;
}

/* Chains of anon_vmas, and their end */
static void *forks(void *arg)
{
	struct race *w = arg;
	pid_t pid;

	while (!w->stop) {
		pid = expect_ok(fork());
		if (!pid)
			_exit(0);
		child_join(pid);
		usleep(50000);
	}
	return NULL;
}

static void enter_group(void)
{
	file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir(GROUP, 0755);
	skip_if(file_write(GROUP "/cgroup.procs", "0"), "no cgroup2 to be in");
	skip_if(access(GROUP "/memory.high", F_OK), "no memory controller");
}

START_TEST(unmapped_at_once)
{
	pthread_t t[3];
	struct race w = { 0 };
	int i;

	swap_need();
	enter_group();
	w.fd = dev_open_all();
	w.dst = map_anon(SLOTS * N);
	t[0] = thread_start(moves, &w);
	t[1] = thread_start(reclaims, &w);
	t[2] = thread_start(forks, &w);
	for (i = 0; i < 3; i++)
		thread_join(t[i]);
	file_write("/sys/fs/cgroup/cgroup.procs", "0");
	test_note("%lu mappings", w.rounds);
	ck_assert_uint_gt(w.rounds, 0);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(unmapped_at_once, 300),
};
UTEST_MAIN("races_rmap", tests)
