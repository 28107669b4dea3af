// SPDX-License-Identifier: GPL-2.0-only
/*
 * uremap-choose.h: it finds out what can move pages, says which way a move went,
 * and tells no device, no permission, an old ABI and a missing feature apart.
 */
#include "util.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "../lib/uremap-choose.h"

/* The answers that need a machine without the device are got in this order. */
static int probe_without(void)
{
	struct uremap_mover m;
	int fd = uffd_open(0), dev, ret;

	ret = uremap_probe(&m, fd, 0);
	ck_assert_int_eq(ret, m.native ? 0 : -1);
	if (ret)
		ck_assert_int_eq(errno, EOPNOTSUPP);
	ck_assert_int_eq(m.native, has_native_move());
	dev = m.dev;
	ck_assert_int_eq(dev, -1);
	ck_assert_int_eq(uremap_allow(&m, NULL, m.info.va_end, RIGHTS_BOTH), 0);
	return m.status;
}

/* Without the module the reason is NO_DEVICE, and the kernel's way remains. */
START_TEST(no_device)
{
	struct stat st;

	ck_assert_int_eq(stat(DEV_PATH, &st), 0);
	expect_ok(unlink(DEV_PATH));
	ck_assert_int_eq(probe_without(), UREMAP_STATUS_NO_DEVICE);
	/* somebody else's */
	expect_ok(mknod(DEV_PATH, S_IFCHR | 0600, makedev(1, 3)));
	ck_assert_int_eq(probe_without(), UREMAP_STATUS_NO_DEVICE);
	expect_ok(unlink(DEV_PATH));
	expect_ok(mknod(DEV_PATH, st.st_mode, st.st_rdev));
}
END_TEST

/* Who may not open the device is told so. */
START_TEST(no_permission)
{
	skip_if(file_write("/proc/sys/vm/unprivileged_userfaultfd", "1"),
		"userfaultfd is privileged");
	expect_ok(setresuid(65534, 65534, 65534));
	ck_assert_int_eq(probe_without(), UREMAP_STATUS_NO_PERMISSION);
}
END_TEST

/* A program that needs more than the module has is told what is lacking. */
START_TEST(too_old)
{
	struct uremap_mover m;

	ck_assert_int_eq(uremap_probe_abi(&m, -1, UREMAP_ABI_VERSION + 1, 0), -1);
	ck_assert_int_eq(m.status, UREMAP_STATUS_ABI_TOO_OLD);
	ck_assert_int_eq(m.info.abi, UREMAP_ABI_VERSION);

	ck_assert_int_eq(uremap_probe(&m, -1, 1ULL << 63), -1);
	ck_assert_int_eq(m.status, UREMAP_STATUS_FEATURE_MISSING);
	ck_assert_uint_eq(m.missing, 1ULL << 63);
	ck_assert_int_eq(m.dev, -1);
}
END_TEST

/* Without a userfaultfd it is the module that moves. */
START_TEST(by_module)
{
	char *src = map_filled(3, 7, 0), *dst = map_anon(3);
	struct uremap_move req = {
		.dst = ADDR(dst), .src = ADDR(src), .len = 3 * PAGE,
	};
	enum uremap_way way;
	struct uremap_mover m;

	errno = 0;
	ck_assert_int_eq(uremap_probe(&m, -1, 0), 0);
	ck_assert_int_eq(m.status, UREMAP_STATUS_OK);
	ck_assert_int_eq(m.native, 0);
	ck_assert_int_eq(errno, 0);
	/* not allowed yet: the module's own reason arrives */
	expect_errno(EINVAL, uremap_move(&m, &req, &way));
	ck_assert_uint_eq(req.reason, UREMAP_REASON_DST_UNREGISTERED);
	expect_ok(uremap_allow(&m, src, 3 * PAGE, UREMAP_RANGE_SRC));
	expect_ok(uremap_allow(&m, dst, 3 * PAGE, UREMAP_RANGE_DST));
	expect_ok(uremap_move(&m, &req, &way));
	ck_assert_int_eq(way, UREMAP_WAY_MODULE);
	ck_assert_int_eq(req.move, 3 * PAGE);
	range_check(dst, 3, 7, 0);
	uremap_mover_close(&m);
	expect_errno(EOPNOTSUPP, uremap_move(&m, &req, &way));
	ck_assert_int_eq(way, UREMAP_WAY_NONE);
}
END_TEST

/* Where the kernel has UFFDIO_MOVE it is asked first, and its words are kept. */
START_TEST(by_kernel)
{
	char *src = map_filled(4, 7, 0), *dst = map_anon(4);
	struct uremap_move req = {
		.dst = ADDR(dst), .src = ADDR(src), .len = 2 * PAGE,
	};
	enum uremap_way way;
	struct uremap_mover m;
	int fd;

	skip_if(!has_native_move(), "this kernel has no UFFDIO_MOVE");
	/* before it is registered: nobody would resolve the fault */
	page_fill(dst + 3 * PAGE, 99, 0);
	fd = uffd_open(UFFD_FEATURE_MOVE);
	uffd_register(fd, dst, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	ck_assert_int_eq(uremap_probe(&m, fd, 0), 0);
	ck_assert_int_eq(m.native, 1);
	expect_ok(uremap_move(&m, &req, &way));
	ck_assert_int_eq(way, UREMAP_WAY_NATIVE);
	ck_assert_int_eq(req.move, 2 * PAGE);
	ck_assert_uint_eq(req.moved, 2 * PAGE);
	range_check(dst, 2, 7, 0);

	req.dst += 2 * PAGE;
	req.src += 2 * PAGE;
	expect_errno(EAGAIN, uremap_move(&m, &req, &way));
	ck_assert_int_eq(req.move, PAGE);
	ck_assert_int_eq(way, UREMAP_WAY_NATIVE);
	req.dst += PAGE;
	req.src += PAGE;
	req.len = PAGE;
	expect_errno(EEXIST, uremap_move(&m, &req, &way));
	ck_assert_int_eq(req.move, -EEXIST);
	ck_assert_int_eq(req.error, EEXIST);
	ck_assert_int_eq(way, UREMAP_WAY_NATIVE);
}
END_TEST

/* A child that keeps what it has until it is killed */
static int stay(void *arg)
{
	pause();
	return 0;
}

/*
 * A userfaultfd, a page a child has, too: the kernel, if it can move at all,
 * refuses that one, the module heals it.
 */
START_TEST(by_both)
{
	char *src = map_filled(2, 7, 0), *dst = map_anon(2);
	struct uremap_move req = {
		.dst = ADDR(dst), .src = ADDR(src), .len = PAGE,
		.mode = UREMAP_MOVE_UNSHARE,
	};
	enum uremap_way way, usual;
	struct uremap_mover m;
	int fd = uffd_open(0);
	pid_t pid;

	uffd_register(fd, dst, 2 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	uremap_probe(&m, fd, UREMAP_FEATURE_UNSHARE);
	skip_if(m.status == UREMAP_STATUS_FEATURE_MISSING,
		"the module lacks features %#llx", m.missing);
	ck_assert_int_eq(m.status, UREMAP_STATUS_OK);
	expect_ok(uremap_allow(&m, NULL, m.info.va_end, RIGHTS_BOTH));
	usual = m.native ? UREMAP_WAY_NATIVE : UREMAP_WAY_MODULE;

	expect_ok(uremap_move(&m, &req, &way));
	ck_assert_int_eq(way, usual);
	pid = child_start(stay, NULL);
	req.dst += PAGE;
	req.src += PAGE;
	expect_ok(uremap_move(&m, &req, &way));
	ck_assert_int_eq(way, UREMAP_WAY_MODULE);
	ck_assert_uint_eq(req.healed, PAGE);
	range_check(dst, 2, 7, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* modes the kernel does not know at all */
	if (m.info.modes & UREMAP_MOVE_KEEP_WP) {
		req.mode = UREMAP_MOVE_KEEP_WP;
		expect_errno(EEXIST, uremap_move(&m, &req, &way));
		ck_assert_int_eq(way, UREMAP_WAY_MODULE);
	}
}
END_TEST

static const struct utest tests[] = {
	UTEST(no_permission),
	UTEST(too_old),
	UTEST(by_module),
	UTEST(by_kernel),
	UTEST(by_both),
	UTEST(no_device),
};

UTEST_MAIN("probe", tests)
