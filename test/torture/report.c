// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the torture says: progress, and everything known when it fails.
 */
#include "torture.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char * const op_names[OP_NR] = {
	[OP_MOVE] = "move", [OP_MOVEV] = "movev", [OP_WRITE] = "write", [OP_CHECK] = "check",
	[OP_DISCARD] = "discard", [OP_FREE] = "free",
	[OP_PROTECT] = "protect", [OP_LOCK] = "lock", [OP_REMAP] = "remap",
	[OP_MREMAP] = "mremap", [OP_REGISTER] = "register", [OP_WP] = "wp",
	[OP_PIN] = "pin", [OP_SPLICE] = "splice", [OP_FORK] = "fork",
	[OP_PAGEOUT] = "pageout", [OP_COLD] = "cold",
	[OP_COLLAPSE] = "collapse", [OP_HUGE] = "huge", [OP_THP] = "thp", [OP_KSM] = "ksm",
	[OP_NUMA] = "numa", [OP_READ] = "read", [OP_GUP] = "gup",
	[OP_STORM] = "storm", [OP_RIGHTS] = "rights", [OP_MELEE] = "melee",
};

#define REASON(reason, error)	{ UREMAP_REASON_##reason, #reason, error }

static const struct {
	uint32_t reason;
	const char *name;
	int error;
} reasons[] = {
	REASON(NONE, 0),
	REASON(ARGUMENT, EINVAL),
	REASON(OVERLAP, EINVAL),
	REASON(SRC_UNREGISTERED, EINVAL),
	REASON(DST_UNREGISTERED, EINVAL),
	REASON(SIGNAL, EINTR),
	REASON(RETRY_LIMIT, EAGAIN),
	REASON(NOMEM, ENOMEM),
	REASON(CHANGING, EAGAIN),
	REASON(DST_NOT_UFFD, EINVAL),
	REASON(UFFD_GONE, EBADF),
	REASON(SRC_NO_VMA, ENOENT),
	REASON(DST_NO_VMA, ENOENT),
	REASON(VMA_PROT, EINVAL),
	REASON(VMA_LOCKED, EINVAL),
	REASON(VMA_READONLY, EINVAL),
	REASON(WP_UNREGISTERED, EINVAL),
	REASON(HOLE, ENOENT),
	REASON(NOT_EXCLUSIVE, EBUSY),
	REASON(KSM, EBUSY),
	REASON(PINNED, EBUSY),
	REASON(WP_SHARED, EBUSY),
	REASON(SPLIT_FAILED, EBUSY),
	REASON(SRC_SPECIAL, EFAULT),
	REASON(FOLIO_BUSY, EAGAIN),
	REASON(DST_BUSY, EEXIST),
};

const char *reason_name(uint32_t reason)
{
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].reason == reason)
			return reasons[i].name;
	return "of another kind";
}

/* Positive; -1 for a reason that nothing here can give */
int reason_error(uint32_t reason)
{
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].reason == reason)
			return reasons[i].error;
	return -1;
}

static uint64_t pagemap(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)addr / PAGE * 8) != 8)
		entry = 0;
	if (fd >= 0)
		close(fd);
	return entry;
}

void describe_slot(const struct worker *w, uint32_t slot, char *buf, size_t len)
{
	static const char * const states[] = { "empty", "full", "lazy" };
	const struct slot *s = &w->slots[slot];
	const struct block *b = block_of(w, slot);

	snprintf(buf, len,
		 "slot %u at %p should be %s (identity %08x sequence %u%s); prot %d%s uffd %d pagemap %016llx",
		 slot, slot_addr(w, slot), states[s->state], s->id, s->seq,
		 s->pinned ? ", pinned" : "", b->prot,
		 b->mlocked ? " mlocked" : "", b->uffd,
		 (unsigned long long)pagemap(slot_addr(w, slot)));
}

/*
 * The first failure is the one to see; the supervisor ends all the others.  In a
 * child of fork() @t is a copy, which is as good.
 */
void fail(struct thread *t, const char *fmt, ...)
{
	bool first = !__atomic_exchange_n(&shared->failed, true, __ATOMIC_ACQ_REL);
	size_t n = 0;
	va_list args;

	if (first) {
		shared->failed_worker = t ? t->w->nr : MAX_WORKERS;
		if (t)
			n = snprintf(shared->message, sizeof(shared->message),
				     "worker %u generation %u thread %u, operation %u:\n  ",
				     t->w->nr, t->w->generation, t->nr, t->ops);
		va_start(args, fmt);
		vsnprintf(shared->message + n, sizeof(shared->message) - n, fmt,
			  args);
		va_end(args);
	}
	_exit(1);
}

static void report_log(unsigned int worker, unsigned int thread, uint32_t n)
{
	struct thread_log *log = &shared->worker[worker].log[thread];
	uint32_t i;

	for (i = log->next < n ? 0 : log->next - n; i < log->next; i++) {
		struct log_entry *e = &log->entry[i % LOG_LEN];

		printf("  %u.%u %8u %-8s a %5u b %5u len %4u mode %02x result %d%s%s\n",
		       worker, thread, e->nr,
		       e->op < OP_NR ? op_names[e->op] : "?", e->a, e->b,
		       e->len, e->mode, e->result, e->reason ? " " : "",
		       e->reason ? reason_name(e->reason) : "");
	}
}

void report_failure(void)
{
	unsigned int i, k;

	for (i = 0; i < shared->opt.workers; i++)
		for (k = 0; k < shared->opt.threads; k++)
			if (shared->worker[i].log[k].next) {
				printf("last operations of worker %u, thread %u:\n",
				       i, k);
				report_log(i, k, i == shared->failed_worker ?
					   LOG_LEN : 4);
			}
	printf("FAILED with seed %llu: %s\n",
	       (unsigned long long)shared->opt.seed, shared->message);
	fflush(stdout);
}

static uint64_t total_ops(void)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < OP_NR; i++)
		sum += shared->count.ops[i];
	return sum;
}

/* What the kernel has done because of it all */
static const char * const kernel_did[] = {
	"pgfault", "pswpin", "pswpout", "pgmigrate_success", "compact_isolated",
	"thp_fault_alloc", "thp_collapse_alloc", "thp_split_page",
	"thp_split_pmd", "thp_swpout", "numa_hint_faults",
	"numa_pages_migrated", "cow_ksm", "pglazyfreed", "oom_kill",
};

#define KERNEL_DID	(sizeof(kernel_did) / sizeof(kernel_did[0]))

static long before[KERNEL_DID];

/* -1 where the kernel does not count it */
static long vmstat(const char *key)
{
	char line[128];
	size_t len = strlen(key);
	long value = -1;
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len) && line[len] == ' ')
			value = atol(line + len);
	if (f)
		fclose(f);
	return value;
}

void report_begin(void)
{
	size_t i;

	for (i = 0; i < KERNEL_DID; i++)
		before[i] = vmstat(kernel_did[i]);
}

static void report_kernel(void)
{
	size_t i;

	printf("kernel:");
	for (i = 0; i < KERNEL_DID; i++)
		if (before[i] >= 0)
			printf(" %s %ld", kernel_did[i],
			       vmstat(kernel_did[i]) - before[i]);
	printf("\n");
}

static void report_refusals(void)
{
	const uint64_t *refused = shared->count.refused;
	unsigned int i;

	for (i = 1; i < MAX_REASONS; i++)
		if (refused[i])
			printf(" %s %llu", reason_name(i),
			       (unsigned long long)refused[i]);
	printf("\n");
}

void report_progress(unsigned int seconds)
{
	struct counters *c = &shared->count;

	printf("%4us  %llu ops, %llu moves (%llu pages, %llu holes, %llu healed)",
	       seconds, (unsigned long long)total_ops(),
	       (unsigned long long)c->moves, (unsigned long long)c->pages,
	       (unsigned long long)c->holes, (unsigned long long)c->healed);
	printf(", %ld faults, %ld swapped in, refused:",
	       vmstat(kernel_did[0]) - before[0],
	       vmstat(kernel_did[1]) - before[1]);
	report_refusals();
	fflush(stdout);
}

/* Numbers in pairs: what had an effect, of how many */
static void report_pair(const char *name, uint64_t effect, uint64_t all)
{
	printf(" %s %llu/%llu", name, (unsigned long long)effect,
	       (unsigned long long)all);
}

static void report_disturbed(void)
{
	static const char * const names[DO_NR] = {
		[DO_COMPACT] = "compact", [DO_KSM] = "ksm",
		[DO_KSM_ZERO] = "ksm-zero-pages", [DO_HUGE] = "thp",
		[DO_LIMIT] = "limit", [DO_DROP] = "drop-caches",
		[DO_SWAPOFF] = "swapoff", [DO_IDLE] = "page-idle",
		[DO_LRU_GEN] = "lru-gen", [DO_RECLAIM] = "reclaim",
		[DO_KILL] = "kill", [DO_MRELEASE] = "mrelease",
	};
	struct counters *c = &shared->count;
	unsigned int i;

	printf("disturbed:");
	for (i = 0; i < DO_NR; i++)
		report_pair(names[i], c->disturbed[i],
			    c->disturbed[i] + c->undisturbed[i]);
	printf(" restarts %llu\n", (unsigned long long)c->restarts);
}

/* What the module has counted, if that can be read */
static void report_module(void)
{
	FILE *f = fopen("/sys/kernel/debug/uremap/stats", "r");
	unsigned long long value;
	char name[64];

	if (!f)
		return;
	printf("module:");
	while (fscanf(f, "%63s %llu", name, &value) == 2)
		printf(" %s %llu", name, value);
	printf("\n");
	fclose(f);
}

/* Two runs with one seed do the same: compare these. */
static void report_sequences(void)
{
	unsigned int i, k;

	printf("the first %u operations:", SEQUENCE);
	for (i = 0; i < shared->opt.workers; i++)
		for (k = 0; k < shared->opt.threads; k++)
			printf(" %016llx", (unsigned long long)
			       shared->worker[i].sequence[k]);
	printf("\n");
}

void report_end(unsigned int seconds)
{
	struct counters *c = &shared->count;
	unsigned int i;

	report_progress(seconds);
	printf("operations:");
	for (i = 0; i < OP_MELEE; i++)
		report_pair(op_names[i], c->effect[i], c->ops[i]);
	printf("\nmelees %llu with %llu moves; userfaults %llu\n",
	       (unsigned long long)c->melees,
	       (unsigned long long)c->melee_moves,
	       (unsigned long long)c->faults);
	report_disturbed();
	report_kernel();
	report_module();
	report_sequences();
	fflush(stdout);
}
