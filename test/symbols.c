// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that the loaded module reaches the kernel's internals by direct calls
 * to the true start of the functions they are named after, and by nothing else.
 *
 * Kernels with IBT have overwritten the ENDBR of most functions, so an indirect
 * call to them would fault on hardware with CET, which no emulated machine
 * shows; and the address of a kprobe there is four bytes too high.  So the text
 * of the running module is read, as it is after patching.
 */
#include "util.h"

#include <elf.h>

#define MODULE		"uremap"
#define KEY_PREFIX	"__SCK__uremap_sym_"
#define SITES		"/sys/module/" MODULE "/sections/.static_call_sites"
/* low bits of a site's key: tail call, in init text */
#define SITE_TAIL	1UL
#define SITE_FLAGS	3UL

struct symbol {
	uint64_t addr;
	char name[80];
	char type;
	bool ours;
};

static struct symbol *symbols;
static size_t nr_symbols;

/* /proc/kallsyms, but for the symbols of other modules. */
static void read_symbols(void)
{
	char line[512], name[256], module[64];
	unsigned long long addr;
	size_t room = 0;
	FILE *f = fopen("/proc/kallsyms", "re");
	char type;
	int n;

	skip_if(!f, "/proc/kallsyms: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		module[0] = '\0';
		n = sscanf(line, "%llx %c %255s [%63[^]]", &addr, &type, name,
			   module);
		if (n < 3 || (n == 4 && strcmp(module, MODULE)) ||
		    strlen(name) >= sizeof(symbols->name))
			continue;
		if (nr_symbols == room) {
			room = room ? 2 * room : 100000;
			symbols = realloc(symbols, room * sizeof(*symbols));
		}
		symbols[nr_symbols].addr = addr;
		symbols[nr_symbols].type = type;
		symbols[nr_symbols].ours = n == 4;
		strcpy(symbols[nr_symbols++].name, name);
	}
	fclose(f);
	skip_if(!nr_symbols || !symbols[nr_symbols - 1].addr,
		"no privilege to see kernel addresses");
}

/* The kernel's own symbol at @addr with that name exists. */
static bool kernel_has(const char *name, uint64_t addr)
{
	size_t i;

	for (i = 0; i < nr_symbols; i++)
		if (!symbols[i].ours && symbols[i].addr == addr &&
		    !strcmp(symbols[i].name, name))
			return true;
	return false;
}

static const struct symbol *kernel_function(const char *name)
{
	size_t i;

	for (i = 0; i < nr_symbols; i++)
		if (!symbols[i].ours && strchr("tTwW", symbols[i].type) &&
		    !strcmp(symbols[i].name, name))
			return &symbols[i];
	return NULL;
}

static const char *key_name(uint64_t addr)
{
	size_t i;

	for (i = 0; i < nr_symbols; i++)
		if (symbols[i].addr == addr &&
		    !strncmp(symbols[i].name, "__SCK__", 7))
			return symbols[i].name;
	return NULL;
}

/* /proc/kcore is an ELF core file of kernel memory. */
static void kernel_read(uint64_t addr, void *buf, size_t len)
{
	static int fd = -1;
	static Elf64_Phdr ph[512];
	static Elf64_Ehdr eh;
	int i;

	if (fd < 0) {
		fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
		skip_if(fd < 0, "/proc/kcore: %s", strerror(errno));
		ck_assert_int_eq(pread(fd, &eh, sizeof(eh), 0), sizeof(eh));
		ck_assert_uint_le(eh.e_phnum, ARRAY_SIZE(ph));
		ck_assert_int_eq(pread(fd, ph, eh.e_phnum * sizeof(*ph),
				       eh.e_phoff), eh.e_phnum * sizeof(*ph));
	}
	for (i = 0; i < eh.e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD || addr < ph[i].p_vaddr ||
		    addr + len > ph[i].p_vaddr + ph[i].p_memsz)
			continue;
		if (pread(fd, buf, len, ph[i].p_offset + addr - ph[i].p_vaddr) ==
		    (ssize_t)len)
			return;
	}
	ck_abort_msg("%#llx is not in /proc/kcore", (unsigned long long)addr);
}

/* What the module calls a static call is the function's name, but for one. */
static const char *function_of(const char *key)
{
	if (strncmp(key, KEY_PREFIX, strlen(KEY_PREFIX)))
		return NULL;
	key += strlen(KEY_PREFIX);
	return strcmp(key, "lookup") ? key : "kallsyms_lookup_name";
}

/* Where the call or jump at @addr goes; 0 if there is none. */
static uint64_t branch_target(uint64_t addr, uint8_t *text)
{
	int32_t rel;

	kernel_read(addr, text, 6);
	if (text[0] == 0xe8 || text[0] == 0xe9) {
		memcpy(&rel, text + 1, 4);
		return addr + 5 + rel;
	}
	/* a conditional tail call, 6.3 */
	if (text[0] == 0x0f && (text[1] & 0xf0) == 0x80) {
		memcpy(&rel, text + 2, 4);
		return addr + 6 + rel;
	}
	return 0;
}

struct site {
	uint64_t addr;		/* of the instruction */
	const char *key;	/* name of its static call */
	bool tail;
};

static struct site sites[1000];
static size_t nr_sites;

/* Each entry: two 32-bit distances from themselves, to the text and the key. */
static void read_sites(void)
{
	char text[64];
	uint64_t at;
	int32_t entry[2];

	skip_if(!file_read(SITES, text, sizeof(text)), "%s: %s", SITES,
		strerror(errno));
	at = strtoull(text, NULL, 0);
	skip_if(!at, "no privilege to see section addresses");
	for (; nr_sites < ARRAY_SIZE(sites); at += sizeof(entry)) {
		struct site *s = &sites[nr_sites];
		uint64_t key;

		kernel_read(at, entry, sizeof(entry));
		key = at + 4 + entry[1];
		s->addr = at + entry[0];
		s->tail = key & SITE_TAIL;
		/* the section has no length; what follows it has no keys */
		s->key = key_name(key & ~SITE_FLAGS);
		if (!s->key)
			break;
		nr_sites++;
	}
	ck_assert_uint_gt(nr_sites, 0);
}

static void read_all(void)
{
	close(dev_open());
	skip_if(access("/sys/module/" MODULE, F_OK), "the module is built in");
	read_symbols();
	read_sites();
}

/* Every call site of the module is patched to the function of its name. */
START_TEST(call_sites)
{
	size_t i, ours = 0;
	uint8_t text[6];
	uint64_t target;
	const char *name;

	read_all();
	for (i = 0; i < nr_sites; i++) {
		name = function_of(sites[i].key);
		if (!name)
			continue;	/* might_resched and the like */
		target = branch_target(sites[i].addr, text);
		ck_assert_msg(target,
			      "%s at %#llx is not a call but %02x %02x %02x %02x %02x",
			      name, (unsigned long long)sites[i].addr, text[0],
			      text[1], text[2], text[3], text[4]);
		ck_assert_msg(kernel_has(name, target),
			      "%s at %#llx goes to %#llx, which is not its start",
			      name, (unsigned long long)sites[i].addr,
			      (unsigned long long)target);
		ours++;
	}
	ck_assert_uint_gt(ours, 0);
	test_note("%zu of %zu call sites are ours", ours, nr_sites);
}
END_TEST

/* Every static call that the module defines has a function and is used. */
START_TEST(keys)
{
	size_t i, j, keys = 0;
	const char *name;

	read_all();
	for (i = 0; i < nr_symbols; i++) {
		name = function_of(symbols[i].name);
		if (!symbols[i].ours || !name)
			continue;
		keys++;
		ck_assert_msg(kernel_function(name),
			      "%s is no function of this kernel", name);
		for (j = 0; j < nr_sites; j++)
			if (!strcmp(sites[j].key, symbols[i].name))
				break;
		ck_assert_msg(j < nr_sites, "%s has no call site", name);
	}
	ck_assert_uint_gt(keys, 0);
	test_note("%zu static calls", keys);
}
END_TEST

static const struct symbol *our_function(const char *name)
{
	size_t i;

	for (i = 0; i < nr_symbols; i++)
		if (symbols[i].ours && strchr("tT", symbols[i].type) &&
		    !strcmp(symbols[i].name, name))
			return &symbols[i];
	return NULL;
}

/*
 * The functions of the module that are named like the kernel's, for the inlines
 * of its headers, do nothing but jump there.
 */
START_TEST(shims)
{
	const struct symbol *shim;
	size_t i, j, shims = 0;
	uint8_t text[16];
	const char *name;

	read_all();
	for (i = 0; i < nr_symbols; i++) {
		name = function_of(symbols[i].name);
		shim = symbols[i].ours && name ? our_function(name) : NULL;
		if (!shim)
			continue;
		/*
		 * Before the jump: ENDBR, the tracer's 5 bytes, and a bool
		 * argument made a clean one, at most.
		 */
		for (j = 0; j < nr_sites; j++)
			if (!strcmp(sites[j].key, symbols[i].name) &&
			    sites[j].addr >= shim->addr &&
			    sites[j].addr <= shim->addr + 13)
				break;
		kernel_read(shim->addr, text, sizeof(text));
		ck_assert_msg(j < nr_sites,
			      "%s does not begin with its jump: %02x %02x %02x %02x %02x %02x %02x %02x %02x %02x %02x %02x %02x",
			      name, text[0], text[1], text[2], text[3], text[4],
			      text[5], text[6], text[7], text[8], text[9],
			      text[10], text[11], text[12]);
		ck_assert_msg(sites[j].tail, "%s does not jump but call", name);
		ck_assert(kernel_has(name, branch_target(sites[j].addr, text)));
		shims++;
	}
	ck_assert_uint_gt(shims, 0);
	test_note("%zu shims", shims);
}
END_TEST

static const struct utest tests[] = {
	UTEST(call_sites),
	UTEST(keys),
	UTEST(shims),
};
UTEST_MAIN("symbols", tests)
