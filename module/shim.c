// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shims: functions with the name and prototype of an internal of the kernel,
 * each a jump to it.
 *
 * Inlines of the kernel's headers (pte_alloc(), put_anon_vma(),
 * mmu_notifier_invalidate_range_start() ...) call functions that are not
 * exported.  With these they link into a module as they stand.
 */
#include "sym.h"

#define UREMAP_SYM_SHIM(ret, name, proto, args)				\
	DEFINE_STATIC_CALL_NULL(uremap_sym_##name, name);		\
	ret name proto							\
	{								\
		return static_call(uremap_sym_##name) args;		\
	}
UREMAP_SYMS(UREMAP_SYM_SHIM)

/*
 * With lockdep mmu_notifier_invalidate_range_start() refers to this object,
 * which is data and cannot be reached through a shim.  A map of our own is one
 * more lock class, with the same uses.
 */
#ifdef CONFIG_LOCKDEP
struct lockdep_map __mmu_notifier_invalidate_range_start_map =
	STATIC_LOCKDEP_MAP_INIT("uremap_mmu_notifier",
				&__mmu_notifier_invalidate_range_start_map);
#endif
