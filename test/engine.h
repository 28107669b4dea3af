/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One body, two movers: UFFDIO_MOVE and uremap, told apart by nothing but the
 * ioctl.  The destination belongs to a userfaultfd in both cases, which the
 * first demands and the second does not mind.
 */
#ifndef UREMAP_TEST_ENGINE_H
#define UREMAP_TEST_ENGINE_H

#include "util_state.h"

enum { NATIVE, UREMAP, ENGINES };

struct engine {
	int which;
	int fd;			/* UREMAP */
	int uffd;
};

struct engine_result {
	int ret, err;
	__s64 move;
	struct move_result uremap;	/* of UREMAP alone */
};

/* Skips if this kernel does not have the mover. */
static inline struct engine engine_open(int which, __u64 features)
{
	struct engine e = { .which = which, .fd = -1 };

	skip_if(which == NATIVE && !has_native_move(), "no UFFDIO_MOVE");
	if (which == UREMAP)
		e.fd = dev_open_all();
	e.uffd = uffd_open(features |
			   (which == NATIVE ? UFFD_FEATURE_MOVE : 0));
	return e;
}

/* Makes a range fit to be a destination. */
static inline void engine_dst(const struct engine *e, void *dst, size_t len)
{
	uffd_register(e->uffd, dst, len, UFFDIO_REGISTER_MODE_MISSING);
}

static inline struct engine_result engine_move(const struct engine *e, void *dst,
					       void *src, size_t len, __u64 mode)
{
	struct engine_result r = { 0 };

	errno = 0;
	if (e->which == NATIVE) {
		r.ret = native_move(e->uffd, dst, src, len, mode, &r.move);
		r.err = r.ret ? errno : 0;
	} else {
		r.uremap = try_move(e->fd, dst, src, len, mode);
		r.ret = r.uremap.ret;
		r.err = r.uremap.err;
		r.move = r.uremap.move;
	}
	return r;
}

/* All of it is done, and nothing else was said. */
#define engine_move_all(e, dst, src, len, mode) do {			\
	struct engine_result _r = engine_move(e, dst, src, len, mode);	\
	if (_r.ret || _r.move != (__s64)(len))				\
		ck_abort_msg("the move returned %d, %s, move %lld",	\
			     _r.ret, strerrorname_np(_r.err) ?: "?",	\
			     (long long)_r.move);			\
} while (0)

static inline const char *engine_name(int which)
{
	return which == NATIVE ? "UFFDIO_MOVE" : "uremap";
}

static inline bool kernel_is(int major, int minor)
{
	return kernel_at_least(major, minor) && !kernel_at_least(major, minor + 1);
}

/*
 * uremap must never show a defect.  That the other does proves that the test
 * can see it; where it is silent, the kernel may have been repaired, so that is
 * an error only on a release that is @known to have it.
 */
static inline void verdict_on(int which, const char *defect, bool seen,
			      bool known)
{
	test_note("%s: %s: %s", engine_name(which), defect,
		  seen ? "seen" : "not seen");
	if (which == UREMAP && seen)
		ck_abort_msg("uremap: %s", defect);
	if (which == NATIVE && !seen && known)
		ck_abort_msg("this test does not see: %s", defect);
}

#endif /* UREMAP_TEST_ENGINE_H */
