// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TCG plugin for QEMU 7.2: counts how often each instruction of the kernel
 * is executed between the two marks of bench.h, and which have a lock prefix;
 * and what is executed at most while a CPU holds a spin lock, or a semaphore for
 * writing.
 *
 * The plugin interface is small and QEMU ships no header package, so what is
 * used of it is declared here (docs/devel/tcg-plugins.rst of QEMU).
 *
 * Arguments: out=FILE, and addresses: lock=, try=, unlock= of _raw_spin_lock(),
 * _raw_spin_trylock() and _raw_spin_unlock(), write=, done= of down_write() and
 * up_write().  Output: "SECTION ADDRESS COUNT LOCKED" for each instruction; each
 * pair of marks is a section.  User space is address 0.  Then "SECTION hold spin
 * N" and "SECTION hold write N": the longest holds; an interrupt may be in one.
 * Whoever tries is taken to succeed, as there is nobody to lose against.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT	__attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;

/* Only its address is passed; nothing of it is used. */
struct qemu_info;

extern EXPORT int qemu_plugin_version;
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
		void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int vcpu, void *data), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op,
						void *ptr, uint64_t imm);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

#define KERNEL		0xffff800000000000UL
#define BUCKETS		(1 << 18)

/* One instruction, for good: code that is patched keeps its counter. */
struct insn {
	uint64_t addr;
	uint64_t count, begin;	/* in all, and when the section began */
	bool locked;
	struct insn *next;	/* of the bucket */
};

#define CPUS		2
#define HOLDS		3

static uint64_t total;		/* instructions of all CPUs */

static struct holds {
	const char *name;
	uint64_t since[CPUS], longest[HOLDS];
	unsigned int depth[CPUS];
} spin = { .name = "spin" }, writing = { .name = "write" };

/* Where something is to be done: an argument with an address. */
static struct hook {
	const char *arg;
	struct holds *holds;
	bool takes;
	uint64_t addr;
} hooks[] = {
	{ "lock=", &spin, true, 0 },
	{ "try=", &spin, true, 0 },
	{ "unlock=", &spin, false, 0 },
	{ "write=", &writing, true, 0 },
	{ "done=", &writing, false, 0 },
};

#define NHOOKS		(sizeof(hooks) / sizeof(hooks[0]))

static struct insn *bucket[BUCKETS];
static struct insn user;
static unsigned int section;
static FILE *out;

static const unsigned char mark[] = { 0x0f, 0x1f, 0x80 };
#define MARK_END	0x75726d30u
#define MARK_BEGIN	0x75726d31u

static void each(void (*fn)(struct insn *i))
{
	fn(&user);
	for (unsigned int b = 0; b < BUCKETS; b++) {
		for (struct insn *i = bucket[b]; i; i = i->next)
			fn(i);
	}
}

static void begin_one(struct insn *i)
{
	i->begin = i->count;
}

static void end_one(struct insn *i)
{
	if (i->count != i->begin)
		fprintf(out, "%u %lx %lu %d\n", section, (unsigned long)i->addr,
			(unsigned long)(i->count - i->begin), i->locked);
}

static void holds_begin(struct holds *h)
{
	memset(h->depth, 0, sizeof(h->depth));
	memset(h->longest, 0, sizeof(h->longest));
}

static void holds_end(const struct holds *h)
{
	for (unsigned int i = 0; i < HOLDS; i++)
		fprintf(out, "%u hold %s %lu\n", section, h->name,
			(unsigned long)h->longest[i]);
}

static void at_mark(unsigned int vcpu, void *data)
{
	(void)vcpu;
	if (data) {
		section++;
		holds_begin(&spin);
		holds_begin(&writing);
		each(begin_one);
	} else {
		each(end_one);
		holds_end(&spin);
		holds_end(&writing);
		fflush(out);
	}
}

static void at_lock(unsigned int vcpu, void *data)
{
	struct holds *h = data;

	if (vcpu < CPUS && !h->depth[vcpu]++)
		h->since[vcpu] = total;
}

static void at_unlock(unsigned int vcpu, void *data)
{
	struct holds *h = data;
	uint64_t n, t;

	if (vcpu >= CPUS || !h->depth[vcpu] || --h->depth[vcpu])
		return;
	n = total - h->since[vcpu];
	for (unsigned int i = 0; i < HOLDS; i++) {
		if (n > h->longest[i]) {
			t = h->longest[i];
			h->longest[i] = n;
			n = t;
		}
	}
}

/* A lock prefix, or XCHG with memory, which needs none. */
static bool is_locked(const unsigned char *b, size_t size)
{
	size_t i = 0;

	while (i < size && (b[i] == 0x66 || b[i] == 0xf2 || b[i] == 0xf3 ||
			    (b[i] >= 0x26 && b[i] <= 0x3e && (b[i] & 7) == 6) ||
			    b[i] == 0x64 || b[i] == 0x65))
		i++;
	if (i < size && b[i] == 0xf0)
		return true;
	if (i < size && (b[i] & 0xf0) == 0x40)
		i++;
	return i + 1 < size && (b[i] == 0x86 || b[i] == 0x87) && b[i + 1] < 0xc0;
}

static struct insn *find(uint64_t addr)
{
	struct insn **head = &bucket[(addr ^ addr >> 18) % BUCKETS], *i;

	if (addr < KERNEL)
		return &user;
	for (i = *head; i; i = i->next) {
		if (i->addr == addr)
			return i;
	}
	i = calloc(1, sizeof(*i));
	if (!i)
		abort();
	i->addr = addr;
	i->next = *head;
	*head = i;
	return i;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t k = 0; k < n; k++) {
		struct qemu_plugin_insn *qi = qemu_plugin_tb_get_insn(tb, k);
		const unsigned char *data = qemu_plugin_insn_data(qi);
		size_t size = qemu_plugin_insn_size(qi);
		struct insn *i = find(qemu_plugin_insn_vaddr(qi));
		uint32_t which;

		i->locked = i != &user && is_locked(data, size);
		qemu_plugin_register_vcpu_insn_exec_inline(qi, 0, &i->count, 1);
		qemu_plugin_register_vcpu_insn_exec_inline(qi, 0, &total, 1);
		for (unsigned int h = 0; h < NHOOKS; h++) {
			if (hooks[h].addr && i->addr == hooks[h].addr)
				qemu_plugin_register_vcpu_insn_exec_cb(qi, hooks[h].takes ?
						at_lock : at_unlock, 0, hooks[h].holds);
		}
		if (size != 7 || memcmp(data, mark, 3))
			continue;
		memcpy(&which, data + 3, 4);
		if (which == MARK_BEGIN || which == MARK_END)
			qemu_plugin_register_vcpu_insn_exec_cb(qi, at_mark, 0,
					which == MARK_BEGIN ? &section : NULL);
	}
}

int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
		for (unsigned int h = 0; h < NHOOKS; h++) {
			size_t len = strlen(hooks[h].arg);

			if (!strncmp(argv[i], hooks[h].arg, len))
				hooks[h].addr = strtoull(argv[i] + len, NULL, 16);
		}
	}
	if (!out) {
		fprintf(stderr, "profile: out=FILE is missing, or cannot be written\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
