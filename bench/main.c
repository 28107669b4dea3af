// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench: what it costs to get pages from one address to another.
 *
 * bench [options] WHAT...	measures these operations (op.c; "all": all of
 *				them) and extras (extra.c)
 *
 *   -f 4k,64k,thp	made of these folios (4k)
 *   -c 1,8,64		so many pages a call (1,8,64,512,4096)
 *   -p seq,near,scat	in this order (seq)
 *   -v N		pieces a call, of operations that take many (64)
 *   -n PAGES		pages in all (4096)
 *   -r REPS		repetitions, of which the median counts (5)
 *   -e NAME		names the environment; "busy": with a second thread;
 *			"notifier": KVM watches the address space
 *   -F			counts TLB flushes, too
 *   -w			wall time in nanoseconds, not instructions
 *
 * Prints a line for each: operation, folios, order, environment, pages a call,
 * cost per page (median, least, most), TLB shootdowns per page, flushes, pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"

static const char *const folios[] = { "4k", "64k", "thp" };
static const char *const patterns[] = { "seq", "near", "scat" };
static const char *env = "alone";
static unsigned int reps = 5, pages = 4096, vec = 64;

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (; list; list = strchr(list, ',')) {
		list += *list == ',';
		if (!strncmp(list, name, len) && (!list[len] || list[len] == ','))
			return true;
	}
	return false;
}

/* A virtual machine, even without memory, has an MMU notifier. */
static void have_notifier(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 || ioctl(kvm, KVM_CREATE_VM, 0) < 0)
		die("KVM: %s", strerror(errno));
}

static void measure(const struct op *op, enum folio folio, enum pattern pattern,
		    unsigned int chunk)
{
	struct pass p = {
		.op = op, .folio = folio, .pattern = pattern,
		.chunk = chunk, .pages = pages, .vec = vec,
	};

	result_print(op->name, folios[folio], patterns[pattern], env, chunk,
		     pass_run(&p, reps), pages);
}

static void measure_all(const struct op *op, const char *flist, const char *plist,
			const char *clist)
{
	for (int f = 0; f < 3; f++) {
		if (!listed(flist, folios[f]) || !mem_has(f))
			continue;
		for (int o = 0; o < 3; o++) {
			if (!listed(plist, patterns[o]))
				continue;
			for (const char *c = clist; c; c = strchr(c, ',')) {
				unsigned int chunk = strtoul(c + (*c == ','), NULL, 10);

				c += *c == ',';
				if (o == SEQUENTIAL || chunk <= 64)
					measure(op, f, o, chunk);
			}
		}
	}
}

int main(int argc, char **argv)
{
	const char *flist = "4k", *clist = "1,8,64,512,4096", *plist = "seq";
	bool wall = false;
	int c;

	while ((c = getopt(argc, argv, "f:c:p:v:n:r:e:Fw")) != -1) {
		switch (c) {
		case 'f': flist = optarg; break;
		case 'c': clist = optarg; break;
		case 'p': plist = optarg; break;
		case 'v': vec = strtoul(optarg, NULL, 10); break;
		case 'n': pages = strtoul(optarg, NULL, 10); break;
		case 'r': reps = strtoul(optarg, NULL, 10); break;
		case 'e': env = optarg; break;
		case 'F': want_flushes = true; break;
		case 'w': wall = true; break;
		default: return 2;
		}
	}
	clock_init(wall);
	if (!strcmp(env, "busy"))
		clock_busy_start();
	if (!strcmp(env, "notifier"))
		have_notifier();
	if (reps < 1 || reps > MAX_REPS)
		die("1 to %d repetitions", MAX_REPS);
	for (; optind < argc; optind++) {
		for (unsigned int i = 0; i < nextras; i++) {
			if (!strcmp(argv[optind], extras[i].name))
				extras[i].run(reps);
		}
		for (unsigned int i = 0; i < nops; i++) {
			if (strcmp(argv[optind], "all") && strcmp(argv[optind], ops[i].name))
				continue;
			if (ops[i].there && !ops[i].there())
				printf("# %s: this kernel has no such call\n", ops[i].name);
			else
				measure_all(&ops[i], flist, plist, clist);
		}
	}
	if (!strcmp(env, "busy"))
		clock_busy_stop();
	return 0;
}
