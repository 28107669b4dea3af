/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: events/uremap in tracefs.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM uremap

#if !defined(_UREMAP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _UREMAP_TRACE_H

#include <linux/tracepoint.h>

#include "uremap.h"

/* A segment has been dealt with, however it ended. */
TRACE_EVENT(uremap_move,
	TP_PROTO(const struct uremap_mv *mv),
	TP_ARGS(mv),
	TP_STRUCT__entry(
		__field(unsigned long, dst)
		__field(unsigned long, src)
		__field(unsigned long, len)
		__field(unsigned long, moved)
		__field(unsigned long, holes)
		__field(unsigned long, healed)
		__field(unsigned long, stop)
		__field(u64, mode)
		__field(u32, reason)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->dst = mv->dst;
		__entry->src = mv->src;
		__entry->len = mv->len;
		__entry->moved = mv->done - mv->holes;
		__entry->holes = mv->holes;
		__entry->healed = mv->healed;
		__entry->stop = mv->stop;
		__entry->mode = mv->mode;
		__entry->reason = mv->reason;
		__entry->err = mv->err;
	),
	TP_printk("dst=0x%lx src=0x%lx len=0x%lx mode=0x%llx moved=0x%lx holes=0x%lx healed=0x%lx err=%d reason=%u stop=0x%lx",
		  __entry->dst, __entry->src, __entry->len, __entry->mode,
		  __entry->moved, __entry->holes, __entry->healed,
		  __entry->err, __entry->reason, __entry->stop)
);

#endif /* _UREMAP_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
