// SPDX-License-Identifier: GPL-2.0-only
/* qemu: -M kvm-amd */
/*
 * Proves that a virtual machine whose memory is moved under it loses no store
 * and makes none to a page that has left: the secondary MMU is told in time
 * (C21; C31).
 */
#include "util_peer.h"
#include "util_state.h"

#include <linux/kvm.h>

enum {
	N = 64,				/* pages of the guest */
	BASE = 0x10000,			/* their guest-physical address */
	CODE = 0x1000,
	COUNTER = 4,			/* 32-bit word that the guest counts in */
	WALL_MS = 15000, MOVES = 4000,
};

/*
 * Real mode: adds one to the counter of each page in turn, tells, goes on.
 *
 *	start:	mov  ax, BASE >> 4
 *	next:	mov  ds, ax
 *		inc  dword [COUNTER * 4]
 *		add  ax, 4096 >> 4
 *		cmp  ax, (BASE >> 4) + N * 256
 *		jb   next
 *		out  0x10, al
 *		jmp  start
 */
static const unsigned char code[] = {
	0xb8, 0x00, 0x10, 0x8e, 0xd8, 0x66, 0xff, 0x06, 0x10, 0x00, 0x05, 0x00,
	0x01, 0x3d, 0x00, 0x50, 0x72, 0xf1, 0xe6, 0x10, 0xeb, 0xea,
};

struct machine {
	int fd, uffd, vm, cpu;
	char *src, *dst, *rom;
	struct kvm_run *run;
	volatile bool stop;
	volatile unsigned long rounds;
};

static void add_memory(struct machine *m, int slot, uint64_t at, void *mem,
		       size_t len)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = at,
		.memory_size = len,
		.userspace_addr = ADDR(mem),
	};

	expect_ok(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &r));
}

static void machine_init(struct machine *m)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), size;

	if (kvm < 0 && !system("modprobe kvm-amd 2>/dev/null"))
		kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	skip_if(kvm < 0, "/dev/kvm: %s", strerror(errno));
	m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	skip_if(m->vm < 0, "KVM_CREATE_VM: %s", strerror(errno));
	m->rom = map_anon(1);
	memcpy(m->rom, code, sizeof(code));
	add_memory(m, 0, BASE, m->src, N * PAGE);
	add_memory(m, 1, CODE, m->rom, PAGE);
	m->cpu = expect_ok(ioctl(m->vm, KVM_CREATE_VCPU, 0));
	size = expect_ok(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	m->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->cpu, 0);
	ck_assert_ptr_ne(m->run, MAP_FAILED);
	expect_ok(ioctl(m->cpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = sregs.cs.selector = 0;
	expect_ok(ioctl(m->cpu, KVM_SET_SREGS, &sregs));
	expect_ok(ioctl(m->cpu, KVM_SET_REGS, &regs));
}

static void *runs(void *arg)
{
	struct machine *m = arg;

	while (!m->stop) {
		if (ioctl(m->cpu, KVM_RUN, 0)) {
			ck_assert_int_eq(errno, EINTR);
			continue;
		}
		if (m->run->exit_reason != KVM_EXIT_IO)
			ck_abort_msg("KVM exit %u", m->run->exit_reason);
		m->rounds++;
	}
	return NULL;
}

static uint32_t counter(const char *page)
{
	return ((const volatile uint32_t *)page)[COUNTER];
}

static void move_page(struct machine *m, char *to, char *from)
{
	struct move_result r;

	do
		r = try_move(m->fd, to, from, PAGE, 0);
	while (r.ret && r.err == EAGAIN);
	if (r.ret)
		ck_abort_msg("errno %d reason %s", r.err, reason_name(r.reason));
}

/*
 * Takes a page away and brings it back, or a copy of it: what the guest stores
 * meanwhile through an address it has kept would be lost, or show at once.
 */
static void take_and_bring(struct machine *m, char *stage)
{
	size_t i = rnd_below(N);
	char *src = m->src + i * PAGE, *dst = m->dst + i * PAGE;
	uint32_t then;
	int look;

	move_page(m, dst, src);
	then = counter(dst);
	for (look = 0; look < 50; look++)
		ck_assert_uint_eq(counter(dst), then);
	if (rnd() & 1) {
		memcpy(stage, dst, PAGE);
		ck_assert_uint_eq(counter(dst), then);
		move_page(m, src, stage);
		ck_assert_uint_eq(counter(dst), then);
		expect_ok(madvise(dst, PAGE, MADV_DONTNEED));
	} else {
		move_page(m, src, dst);
	}
	uffd_wake(m->uffd, src, PAGE);
}

START_TEST(guest_memory)
{
	uint64_t until = now_ms() + WALL_MS;
	char *stage = map_anon(1), *zero = map_anon(N);
	struct machine m = { .fd = dev_open_all(), .uffd = uffd_open(0) };
	unsigned long moves;
	pthread_t t;
	int i;

	m.src = map_anon(N);
	m.dst = map_anon(N);
	machine_init(&m);
	uffd_register(m.uffd, m.src, N * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	ck_assert_int_eq(try_uffd_copy(m.uffd, m.src, zero, N * PAGE, 0), 0);
	t = thread_start(runs, &m);
	for (moves = 0; moves < MOVES && now_ms() < until; moves++)
		take_and_bring(&m, stage);
	m.stop = true;
	thread_join(t);
	test_note("%lu moves, %lu rounds of the guest", moves, m.rounds);
	ck_assert_uint_gt(m.rounds, 0);
	/* all pages at once, and the guest goes on where they are */
	expect_move(m.fd, m.dst, m.src, N * PAGE, 0);
	expect_move(m.fd, m.src, m.dst, N * PAGE, 0);
	for (i = 0; i < N; i++)
		ck_assert_uint_eq(counter(m.src + i * PAGE), m.rounds);
	expect_ok(ioctl(m.cpu, KVM_RUN, 0));
	for (i = 0; i < N; i++)
		ck_assert_uint_eq(counter(m.src + i * PAGE), m.rounds + 1);
}
END_TEST

static const struct utest tests[] = {
	UTEST_SLOW(guest_memory, 250),
};
UTEST_MAIN("races_kvm", tests)
