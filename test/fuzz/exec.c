// SPDX-License-Identifier: GPL-2.0-only
/*
 * From bytes to ioctls: well-formed ones with odd values, odd ones of any kind,
 * and results that must make sense whatever was asked.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/uremap.h>

uint64_t draw_value(struct state *s, struct input *in)
{
	uint64_t random = 0;
	int i;

	switch (next(in) % 10) {
	case 0:
		return 0;
	case 1:
		return next(in);
	case 2:
		return -1ULL;
	case 3:
		return -PAGE;
	case 4:
		return s->va_end - next(in) * PAGE;
	case 5:
		return 1ULL << (next(in) & 63);
	case 6:
		return (uintptr_t)ARENA + next(in) * 8;
	case 7:
		return draw_address(s, in);
	default:
		for (i = 0; i < 8; i++)
			random = random << 8 | next(in);
		return random;
	}
}

uint64_t draw_address(struct state *s, struct input *in)
{
	uint8_t what = next(in);
	uint64_t page = next(in);

	if (what >= 250)
		return draw_value(s, in);
	if (what & 1)
		page += HPAGES;
	if (what & 2)
		page += 256;
	if (what & 4)
		page &= ~63ULL;
	if (what & 8)
		page -= page % HPAGES;
	return (uintptr_t)ARENA + page % ARENA_PAGES * PAGE;
}

uint64_t draw_length(struct input *in)
{
	uint8_t what = next(in);

	if (what < 96)
		return (1 + what % 16) * PAGE;
	if (what < 160)
		return (what - 95) * 8 * PAGE;
	if (what < 220)
		return HPAGES * PAGE * (1 + what % 2);
	return (uint64_t)next(in) << (what & 31);
}

static int draw_dev(struct state *s, struct input *in)
{
	return s->dev[next(in) % FDS];
}

/* Addresses where a structure may be read, or not, or not all of it. */
static void *place(struct input *in, void *good, size_t size)
{
	switch (next(in) % 16) {
	case 0:
		return NULL;
	case 1:
		return (void *)-PAGE;
	case 2:
		return ARENA + PAGE - size / 2;
	case 3:
		return (char *)good + 1;
	default:
		return good;
	}
}

static void check_result(int64_t move, uint64_t len, uint64_t moved,
			 uint64_t holes, uint64_t healed, uint32_t reason,
			 uint32_t error)
{
	uint64_t done = move > 0 ? move : 0;

	if (moved + holes != done || done > len || healed > moved ||
	    done % PAGE)
		wrong("move %lld of %llu, moved %llu holes %llu healed %llu",
		      (long long)move, (unsigned long long)len,
		      (unsigned long long)moved, (unsigned long long)holes,
		      (unsigned long long)healed);
	/* Nothing is not a length. */
	if (!reason != !error || (error ? len && done == len : done < len) ||
	    (!done && move != -(int64_t)error))
		wrong("move %lld of %llu, reason %u error %u", (long long)move,
		      (unsigned long long)len, reason, error);
}

static void do_move(struct state *s, struct input *in)
{
	struct uremap_move m = { .move = 0x5a5a };
	void *arg = place(in, &m, sizeof(m));
	int ret;

	m.dst = draw_address(s, in);
	m.src = draw_address(s, in);
	m.len = draw_length(in);
	m.mode = next(in) & 31;
	if (next(in) > 240)
		m.mode = draw_value(s, in);
	ret = ioctl(draw_dev(s, in), UREMAP_IOC_MOVE, arg);
	if (arg != &m || m.move == 0x5a5a)
		return;
	check_result(m.move, m.len, m.moved, m.holes, m.healed, m.reason,
		     m.error);
	if (!ret != !m.error)
		wrong("MOVE returned %d with error %u", ret, m.error);
}

static void do_movev(struct state *s, struct input *in)
{
	struct uremap_segment segs[8];
	struct uremap_movev v = { .nr = 1 + next(in) % 8 };
	unsigned int i;
	int ret;

	memset(segs, 0, sizeof(segs));
	for (i = 0; i < v.nr; i++) {
		segs[i].dst = draw_address(s, in);
		segs[i].src = draw_address(s, in);
		segs[i].len = draw_length(in);
	}
	v.segs = (uintptr_t)place(in, segs, sizeof(segs));
	v.seg_size = sizeof(segs[0]);
	v.mode = next(in) & 31;
	v.flags = next(in) & 1;
	if (next(in) > 230)
		v.nr = draw_value(s, in);
	if (next(in) > 230)
		v.seg_size = draw_value(s, in);
	ret = ioctl(draw_dev(s, in), UREMAP_IOC_MOVEV, &v);
	if (v.segs != (uintptr_t)segs || v.seg_size != sizeof(segs[0]) ||
	    v.nr > 8 || (ret && errno != EAGAIN && !v.done))
		return;
	if (v.done > v.nr)
		wrong("MOVEV: %u of %u segments", v.done, v.nr);
	for (i = 0; i < v.done; i++)
		check_result(segs[i].move, segs[i].len,
			     segs[i].move > 0 ? segs[i].move - segs[i].holes : 0,
			     segs[i].holes, segs[i].healed, segs[i].reason,
			     segs[i].error);
}

/* UFFDIO_MOVE, whose argument headers before 6.8 lack */
static void do_uffd_move(struct state *s, struct input *in)
{
	struct {
		uint64_t dst, src, len, mode;
		int64_t move;
	} m = { .move = 0x5a5a };
	struct uremap_uffd_move req = { .uffd = s->uffd };
	int fds[] = { -1, s->dev[0], 0, 99 };
	int ret;

	m.dst = draw_address(s, in);
	m.src = draw_address(s, in);
	m.len = draw_length(in);
	m.mode = next(in) & 3;
	if (next(in) > 230)
		m.mode = draw_value(s, in);
	if (next(in) > 230)
		req.uffd = fds[next(in) % 4];
	req.arg = (uintptr_t)place(in, &m, sizeof(m));
	ret = ioctl(draw_dev(s, in), UREMAP_IOC_UFFD_MOVE,
		    place(in, &req, sizeof(req)));
	if (req.arg != (uintptr_t)&m || m.move == 0x5a5a)
		return;
	if (m.move > 0 && ((uint64_t)m.move > m.len || m.move % PAGE))
		wrong("UFFD_MOVE: move %lld of %llu", (long long)m.move,
		      (unsigned long long)m.len);
	if (!ret != (m.move > 0 && (uint64_t)m.move == m.len))
		wrong("UFFD_MOVE returned %d with move %lld of %llu", ret,
		      (long long)m.move, (unsigned long long)m.len);
}

static void do_range(struct state *s, struct input *in)
{
	struct uremap_range r = {
		.start = draw_address(s, in), .len = draw_length(in),
		.rights = next(in) % 4,
	};

	if (next(in) > 230)
		r.reserved = draw_value(s, in);
	ioctl(draw_dev(s, in), next(in) & 1 ? UREMAP_IOC_REGISTER :
	      UREMAP_IOC_UNREGISTER, place(in, &r, sizeof(r)));
}

static void do_attach(struct state *s, struct input *in)
{
	int fds[] = { -1, s->uffd, s->uffd, s->dev[0], 0, 99 };
	struct uremap_attach a = { .uffd = fds[next(in) % 6] };

	if (next(in) > 240)
		a.flags = draw_value(s, in);
	ioctl(draw_dev(s, in), UREMAP_IOC_ATTACH, place(in, &a, sizeof(a)));
}

/* Any number, direction and size, of anything. */
static void do_any(struct state *s, struct input *in)
{
	static uint64_t buf[2048];
	unsigned int nr = next(in) % 16, dir = next(in) % 4, i;
	unsigned int size = next(in);

	if (size > 200)
		size = (size - 200) * 256;
	for (i = 0; i < 16; i++)
		buf[i] = draw_value(s, in);
	memset(buf + 16, next(in) > 200, sizeof(buf) - 128);
	ioctl(draw_dev(s, in), _IOC(dir, UREMAP_IOC_TYPE, nr, size),
	      place(in, buf, sizeof(buf)));
}

static void do_open(struct state *s, struct input *in)
{
	struct uremap_info info = { 0 };
	unsigned int i = next(in) % FDS;

	if (next(in) & 1)
		close(s->dev[i]);
	else
		s->dev[i] = open("/dev/uremap", O_RDWR | O_CLOEXEC);
	ioctl(s->dev[i], UREMAP_IOC_INFO, place(in, &info, sizeof(info)));
}

static void act(struct state *s, struct input *in);

/* From a child: another address space, the same file. */
static void do_forked(struct state *s, struct input *in)
{
	pid_t pid = fork();

	if (!pid) {
		act(s, in);
		_exit(0);
	}
	if (pid > 0 && next(in) & 1)
		waitpid(pid, NULL, 0);
}

struct racer {
	struct state *s;
	struct input in;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	act(r->s, &r->in);
	act(r->s, &r->in);
	return NULL;
}

/* Two at once: the same bytes mean something else a few further on. */
static void do_race(struct state *s, struct input *in)
{
	struct racer r = { .s = s, .in = *in };
	pthread_t t;

	r.in.at += 12;
	if (r.in.at > r.in.len)
		r.in.at = r.in.len;
	if (pthread_create(&t, NULL, race, &r))
		return;
	act_memory(s, in);
	do_move(s, in);
	pthread_join(t, NULL);
}

static void act(struct state *s, struct input *in)
{
	static void (*const acts[])(struct state *s, struct input *in) = {
		do_move, do_move, do_move, do_movev, do_movev, do_uffd_move,
		do_uffd_move, do_range, do_attach, do_any, do_open, act_memory,
		act_memory, act_memory, act_memory, act_system, act_system,
		act_system,
	};

	acts[next(in) % (sizeof(acts) / sizeof(acts[0]))](s, in);
}

void run_input(const uint8_t *data, size_t len)
{
	struct uremap_range all = { .rights = 3 };
	struct uremap_info info = { 0 };
	struct state s = { .uffd = -1, .uring = -1, .pipe = { -1, -1 } };
	struct input in = { data, len, 0 };
	int i;

	for (i = 0; i < FDS; i++)
		s.dev[i] = open("/dev/uremap", O_RDWR | O_CLOEXEC);
	if (ioctl(s.dev[0], UREMAP_IOC_INFO, &info))
		wrong("INFO: %s", strerror(errno));
	s.va_end = info.va_end;
	all.len = info.va_end;
	for (i = 0; i < FDS - 1; i++)
		ioctl(s.dev[i], UREMAP_IOC_REGISTER, &all);
	mmap(ARENA, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (i = 0; i < MAX_ACTS && in.at < in.len; i++) {
		switch (in.data[in.at] >> 4) {
		case 15:
			next(&in);
			do_race(&s, &in);
			break;
		case 14:
			next(&in);
			do_forked(&s, &in);
			break;
		default:
			act(&s, &in);
		}
	}
	_exit(0);
}
