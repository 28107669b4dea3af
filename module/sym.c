// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resolution of the kernel internals listed in sym.h.
 *
 * One kprobe, never armed, finds kallsyms_lookup_name(), which answers for all
 * the rest.  With IBT a kprobe's address is past the function's ENDBR, so the
 * function is asked for its own address first.  Unless every name is found the
 * module does not load: an unbound static call would silently return garbage.
 */
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/module.h>

#include "sym.h"
#include "uremap.h"

DEFINE_STATIC_CALL_NULL(uremap_sym_kallsyms_lookup_name,
			kallsyms_lookup_name);

struct uremap_sym {
	const char *name;
	struct static_call_key *key;
	void *tramp;
};

#define UREMAP_SYM_ROW(ret, sym, proto, args)				\
	{								\
		.name = #sym,						\
		.key = &STATIC_CALL_KEY(uremap_sym_##sym),		\
		.tramp = STATIC_CALL_TRAMP_ADDR(uremap_sym_##sym),	\
	},

static const struct uremap_sym uremap_syms[] = {
	UREMAP_SYMS(UREMAP_SYM_ROW)
};

struct uremap_data {
	const char *name;
	void **where;
};

#define UREMAP_DATA_POINTER(type, data) type * uremap_##data;
UREMAP_DATA(UREMAP_DATA_POINTER)

#define UREMAP_DATA_ROW(type, data)					\
	{ .name = #data, .where = (void **)&uremap_##data },

static const struct uremap_data uremap_data[] = {
	UREMAP_DATA(UREMAP_DATA_ROW)
};

/*
 * Where the kernel proper has @name, 0 if nowhere.  The symbol table knows those
 * of modules too, our own shim of that name to begin with, which must not be
 * taken for what it stands for.
 */
static unsigned long uremap_sym_lookup(const char *name)
{
	unsigned long addr;

	addr = static_call(uremap_sym_kallsyms_lookup_name)(name);
	return addr >= MODULES_VADDR && addr < MODULES_END ? 0 : addr;
}

static void uremap_sym_bind_lookup(unsigned long addr)
{
	__static_call_update(&STATIC_CALL_KEY(uremap_sym_kallsyms_lookup_name),
			     STATIC_CALL_TRAMP_ADDR(uremap_sym_kallsyms_lookup_name),
			     (void *)addr);
}

/* Nothing is patched: the probe is disabled and only its address is read. */
static int uremap_sym_init_lookup(void)
{
	struct kprobe kp = {
		.symbol_name = "kallsyms_lookup_name",
		.flags = KPROBE_FLAG_DISABLED,
	};
	unsigned long addr;
	int err;

	err = register_kprobe(&kp);
	if (err) {
		pr_err("cannot find kallsyms_lookup_name: %d\n", err);
		return err;
	}
	addr = (unsigned long)kp.addr;
	unregister_kprobe(&kp);

	uremap_sym_bind_lookup(addr);
	addr = uremap_sym_lookup("kallsyms_lookup_name");
	if (!addr) {
		pr_err("kallsyms_lookup_name does not know itself\n");
		return -ENOENT;
	}
	uremap_sym_bind_lookup(addr);
	return 0;
}

static bool uremap_sym_missing(const char *name)
{
	cond_resched();
	return !uremap_sym_lookup(name);
}

/* All missing names in one message: whoever reports it reports all of it. */
static void uremap_sym_report(unsigned int missing)
{
	char *names = kzalloc(PAGE_SIZE, GFP_KERNEL);
	size_t len = 0;
	unsigned int i;

	for (i = 0; names && i < ARRAY_SIZE(uremap_syms); i++)
		if (uremap_sym_missing(uremap_syms[i].name))
			len += scnprintf(names + len, PAGE_SIZE - len, " %s",
					 uremap_syms[i].name);
	for (i = 0; names && i < ARRAY_SIZE(uremap_data); i++)
		if (uremap_sym_missing(uremap_data[i].name))
			len += scnprintf(names + len, PAGE_SIZE - len, " %s",
					 uremap_data[i].name);
	pr_err("this kernel lacks %u symbol(s):%s\n", missing,
	       names ? names : " (no memory to name them)");
	kfree(names);
}

static unsigned int uremap_sym_bind_functions(void)
{
	unsigned int i, missing = 0;

	for (i = 0; i < ARRAY_SIZE(uremap_syms); i++) {
		const struct uremap_sym *sym = &uremap_syms[i];
		unsigned long addr = uremap_sym_lookup(sym->name);

		if (addr)
			__static_call_update(sym->key, sym->tramp,
					     (void *)addr);
		else
			missing++;
		cond_resched();
	}
	return missing;
}

static unsigned int uremap_sym_bind_data(void)
{
	unsigned int i, missing = 0;

	for (i = 0; i < ARRAY_SIZE(uremap_data); i++) {
		void *addr = (void *)uremap_sym_lookup(uremap_data[i].name);

		*uremap_data[i].where = addr;
		missing += !addr;
	}
	return missing;
}

/**
 * uremap_sym_init - resolve and bind every kernel internal
 *
 * Context: module init, before anything can call one of them.  May sleep.
 * Return: 0, or a negative errno with nothing left to undo; all missing names
 *	are in one message of the kernel log then.
 */
int uremap_sym_init(void)
{
	unsigned int missing;
	int err;

	err = uremap_sym_init_lookup();
	if (err)
		return err;
	missing = uremap_sym_bind_functions() + uremap_sym_bind_data();
	if (!missing)
		return 0;
	uremap_sym_report(missing);
	return -ENOENT;
}
