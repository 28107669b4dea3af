// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M brd */
/*
 * Proves that references to pages taken while a move runs are either seen by
 * it, and the page stays, or come after it: what a device or another system
 * call writes is what the address has afterwards (C1 to C3; C31).
 */
#include "util_peer.h"
#include "util_state.h"
#include "util_uring.h"

#include <sys/uio.h>

enum { N = 64, ID = 1000, DISK = 256, WALL_MS = 15000 };

struct race {
	int fd, uffd;
	char *src, *dst;
	int rounds;
	uint64_t until;
	bool written_away;		/* devices write without pinning */
	volatile bool stop;
	unsigned long moved, pinned;
};

/*
 * Pages that are away are missed at the source: whoever wants one there waits
 * for the mover to bring it back, so that no second page comes into being.
 */
static void race_init(struct race *w, int rounds)
{
	char *stage = map_filled(N, ID, 0);

	memset(w, 0, sizeof(*w));
	w->fd = dev_open_all();
	w->uffd = uffd_open(0);
	w->src = map_anon(N);
	w->dst = map_anon(N);
	w->rounds = rounds;
	w->until = now_ms() + WALL_MS;
	uffd_register(w->uffd, w->src, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	ck_assert_int_eq(try_uffd_copy(w->uffd, w->src, stage, N * PAGE, 0), 0);
}

static bool race_on(struct race *w, int round)
{
	return round < w->rounds && now_ms() < w->until;
}

static size_t move_some(struct race *w, char *dst, char *src, size_t pages)
{
	struct move_result r = try_move(w->fd, dst, src, pages * PAGE, 0);

	if (r.ret && r.error != EAGAIN &&
	    (r.error != EBUSY || r.reason != UREMAP_REASON_PINNED))
		ck_abort_msg("error %u reason %s", r.error,
			     reason_name(r.reason));
	if (r.reason == UREMAP_REASON_PINNED) {
		/* a pin is only ever taken at the source */
		ck_assert(src >= w->src && src < w->src + N * PAGE);
		w->pinned++;
	}
	return r.move > 0 ? r.move / PAGE : 0;
}

/* There and back; what is away is whole, and nobody writes to it there. */
static void *moves(void *arg)
{
	struct race *w = arg;
	size_t from, n, done, i;
	uint32_t id, seq;
	char why[300];

	pin_cpu(0);
	while (!w->stop) {
		from = rnd_below(N);
		n = 1 + rnd_below(rnd() & 1 ? 4 : N - from);
		if (n > N - from)
			n = N - from;
		n = move_some(w, w->dst + from * PAGE, w->src + from * PAGE, n);
		for (i = from; !w->written_away && i < from + n; i++) {
			char *page = w->dst + i * PAGE;

			if (!page_read(page, &id, &seq) ||
			    !page_same(page, id, seq, why, sizeof(why)))
				ck_abort_msg("away, page %zu: %s", i, why);
		}
		w->moved += n;
		for (done = 0; done < n; )
			done += move_some(w, w->src + (from + done) * PAGE,
					  w->dst + (from + done) * PAGE,
					  n - done);
		if (n)
			uffd_wake(w->uffd, w->src + from * PAGE, n * PAGE);
	}
	return NULL;
}

static void race_end(struct race *w, pthread_t mover, int rounds)
{
	w->stop = true;
	thread_join(mover);
	ck_assert_uint_eq(count_populated(w->src, N), N);
	ck_assert_uint_eq(count_populated(w->dst, N), 0);
	ck_assert_uint_gt(w->moved, 0);
	ck_assert_int_gt(rounds, 0);
	test_note("%d rounds, %lu pages moved, %lu times pinned", rounds,
		  w->moved, w->pinned);
}

static int pattern_file(void)
{
	char *data = map_filled(DISK, 1, 1);
	int fd = expect_ok(memfd_create("data", MFD_CLOEXEC));

	ck_assert_int_eq(write(fd, data, DISK * PAGE), DISK * (int)PAGE);
	return fd;
}

/* While a page is pinned, it stays: there, in that frame, with that data. */
START_TEST(registered_buffers)
{
	int round, look, file = pattern_file(), err;
	uint32_t at, data;
	struct uring u;
	struct race w;
	pthread_t t;
	uint64_t pfn;
	char *page;

	pin_cpu(1);
	uring_open(&u);
	race_init(&w, 1500);
	t = thread_start(moves, &w);
	for (round = 0; race_on(&w, round); round++) {
		at = rnd_below(N);
		data = rnd_below(DISK);
		page = w.src + at * PAGE;
		/* EFAULT: it is away, and this kernel does not wait for it */
		while ((err = try_uring_pin(&u, page, PAGE)))
			ck_assert_int_eq(err, EFAULT);
		pfn = page_pfn(page);
		uring_read_start(&u, file, page, PAGE, data * PAGE, true);
		for (look = 0; look < 5; look++)
			ck_assert_uint_eq(page_pfn(page), pfn);
		ck_assert_int_eq(uring_read_end(&u), PAGE);
		ck_assert_uint_eq(page_pfn(page), pfn);
		page_check(page, 1 + data, 1);
		uring_unpin(&u);
	}
	race_end(&w, t, round);
	ck_assert_uint_gt(w.pinned, 0);
}
END_TEST

static int ram_disk(void)
{
	char *data = map_filled(DISK, 1, 1);
	int fd;

	if (access("/dev/ram0", F_OK) &&
	    system("modprobe brd rd_nr=1 rd_size=4096 2>/dev/null"))
		test_skip("no brd module");
	fd = expect_ok(open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC));
	ck_assert_int_eq(pwrite(fd, data, DISK * PAGE, 0), DISK * (int)PAGE);
	return fd;
}

/* What was read with O_DIRECT is what the address has, wherever the page was. */
START_TEST(direct_reads)
{
	int round, disk = ram_disk();
	uint32_t at, data;
	struct race w;
	pthread_t t;
	size_t n, i;

	pin_cpu(1);
	race_init(&w, 4000);
	w.written_away = !kernel_at_least(6, 5);
	t = thread_start(moves, &w);
	for (round = 0; race_on(&w, round); round++) {
		at = rnd_below(N);
		n = 1 + rnd_below(8);
		n = n > N - at ? N - at : n;
		data = rnd_below(DISK - n);
		ck_assert_int_eq(pread(disk, w.src + at * PAGE, n * PAGE,
				       data * PAGE), n * (int)PAGE);
		for (i = 0; i < n; i++)
			page_check(w.src + (at + i) * PAGE, 1 + data + i, 1);
	}
	race_end(&w, t, round);
}
END_TEST

/* What was read from memory with O_DIRECT writes is what was there. */
START_TEST(direct_writes)
{
	int round, disk = ram_disk();
	char *back = map_anon(1);
	struct race w;
	pthread_t t;
	uint32_t at;

	pin_cpu(1);
	race_init(&w, 4000);
	t = thread_start(moves, &w);
	for (round = 1; race_on(&w, round); round++) {
		at = rnd_below(N);
		ck_assert_int_eq(pwrite(disk, w.src + at * PAGE, PAGE, 0), PAGE);
		ck_assert_int_eq(pread(disk, back, PAGE, 0), PAGE);
		page_check(back, ID + at, 0);
	}
	race_end(&w, t, round);
}
END_TEST

/* Ordinary references, as a debugger takes them. */
START_TEST(process_vm)
{
	struct iovec local, remote;
	char *out, *in = map_anon(1);
	pid_t self = getpid();
	struct race w;
	pthread_t t;
	int round;
	uint32_t at;

	pin_cpu(1);
	out = map_filled(DISK, 1, 1);
	race_init(&w, 4000);
	t = thread_start(moves, &w);
	for (round = 0; race_on(&w, round); round++) {
		at = rnd_below(N);
		remote = (struct iovec){ w.src + at * PAGE + 64, 64 };
		local = (struct iovec){ in, 64 };
		ck_assert_int_eq(process_vm_readv(self, &local, 1, &remote, 1,
						  0), 64);
		page_fill(out, ID + at, 0);
		ck_assert_mem_eq(in, out + 64, 64);
		local.iov_base = out + 64;
		ck_assert_int_eq(process_vm_writev(self, &local, 1, &remote, 1,
						   0), 64);
	}
	race_end(&w, t, round);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(registered_buffers, 200),
	UTEST_SLOW(direct_reads, 200),
	UTEST_SLOW(direct_writes, 200),
	UTEST_SLOW(process_vm, 200),
};
UTEST_MAIN("races_pin", tests)
