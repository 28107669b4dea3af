/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What no release may change: sizes, offsets, numbers.  Compiled, never run,
 * as C and as C++.
 */
#include <linux/uremap.h>

#include <stddef.h>

#define IS(what, expr, value) \
	typedef char what[(expr) == (value) ? 1 : -1] __attribute__((unused))
#define AT(type, member, value) \
	IS(type##_##member##_at, offsetof(struct type, member), value)

IS(info_size, sizeof(struct uremap_info), 56);
AT(uremap_info, abi, 0);
AT(uremap_info, reserved, 4);
AT(uremap_info, features, 8);
AT(uremap_info, ioctls, 16);
AT(uremap_info, modes, 24);
AT(uremap_info, va_end, 32);
AT(uremap_info, page_size, 40);
AT(uremap_info, huge_size, 44);
AT(uremap_info, max_ranges, 48);
AT(uremap_info, max_segments, 52);

IS(range_size, sizeof(struct uremap_range), 32);
AT(uremap_range, start, 0);
AT(uremap_range, len, 8);
AT(uremap_range, rights, 16);
AT(uremap_range, reserved, 24);

IS(move_size, sizeof(struct uremap_move), 96);
AT(uremap_move, dst, 0);
AT(uremap_move, src, 8);
AT(uremap_move, len, 16);
AT(uremap_move, mode, 24);
AT(uremap_move, move, 32);
AT(uremap_move, moved, 40);
AT(uremap_move, holes, 48);
AT(uremap_move, healed, 56);
AT(uremap_move, stop, 64);
AT(uremap_move, reason, 72);
AT(uremap_move, error, 76);
AT(uremap_move, reserved, 80);

IS(uffd_move_size, sizeof(struct uremap_uffd_move), 32);
AT(uremap_uffd_move, uffd, 0);
AT(uremap_uffd_move, reserved, 4);
AT(uremap_uffd_move, arg, 8);
AT(uremap_uffd_move, room, 16);

IS(ioc_info, UREMAP_IOC_INFO, 0xc038d700UL);
IS(ioc_register, UREMAP_IOC_REGISTER, 0x4020d701UL);
IS(ioc_unregister, UREMAP_IOC_UNREGISTER, 0x4020d702UL);
IS(ioc_move, UREMAP_IOC_MOVE, 0xc060d704UL);
IS(ioc_uffd_move, UREMAP_IOC_UFFD_MOVE, 0x4020d706UL);

/* userfaultfd's, so that a mode can be passed on as it is */
IS(mode_dontwake, UREMAP_MOVE_DONTWAKE, 1);
IS(mode_holes, UREMAP_MOVE_ALLOW_SRC_HOLES, 2);
IS(mode_wp, UREMAP_MOVE_WP, 4);
IS(mode_keep_wp, UREMAP_MOVE_KEEP_WP, 8);
IS(mode_unshare, UREMAP_MOVE_UNSHARE, 16);

IS(right_src, UREMAP_RANGE_SRC, 1);
IS(right_dst, UREMAP_RANGE_DST, 2);
