/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The differential suites: a case is a state of both sides and a request.  It
 * is set up and run once for each mover, in processes of their own; what they
 * report is compared line by line.  Each difference has to be in the table of
 * intended ones (diff_table.h), and each of those has to be seen.
 */
#ifndef UREMAP_TEST_DIFF_H
#define UREMAP_TEST_DIFF_H

#include "engine.h"

#include <fnmatch.h>
#include <stdarg.h>

#define SRC_ID		1000U
#define DST_ID		5000U
#define UNTOUCHED	0x5a5a5a5a5a5a5a5aLL

/* What is moved where; the set-up may change any of it. */
struct diff {
	struct engine e;
	char *src, *dst;
	size_t len;		/* of the request */
	size_t pages;		/* looked at on each side */
	__u64 mode;
	bool unregistered;	/* dst belongs to no userfaultfd */
};

struct diff_case {
	const char *name;
	void (*set_up)(struct diff *d);
	__u64 features;		/* UFFD_FEATURE_* that the set-up needs */
	bool huge;		/* both sides are aligned, one huge page long */
};

/* What is compared, by name */
enum {
	L_RET, L_MOVE, L_TABLES, L_COUNTS, L_HUGE, L_SRC, L_DST, LINES
};

static const char *const line_names[LINES] = {
	"result", "move", "page tables", "accounting", "huge pages", "source", "destination",
};

struct report {
	volatile bool begun;
	bool skipped, done;
	char line[LINES][900];
};

/*
 * A difference that is meant: in which lines the case differs, all of them, and
 * patterns for what both movers have in the first of them.
 */
struct intended {
	const char *test;
	int kernels;
	const char *lines, *native, *uremap, *why;
};

enum { K612 = 1, K72 = 2, BOTH = 3 };

static const struct intended intended[] = {
#define INTENDED(test, kernels, lines, native, uremap, why) \
	{ test, kernels, lines, native, uremap, why },
#include "diff_table.h"
#undef INTENDED
	{ 0 },
};

/* ---- describing ---------------------------------------------------------- */

static inline void add(char *buf, size_t len, const char *fmt, ...)
{
	size_t n = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + n, len - n, fmt, ap);
	va_end(ap);
}

/* What page @i holds, by a system call: there may be nobody to answer a fault. */
static inline const char *content_of(const char *page, size_t i)
{
	static char copy[PAGE] __attribute__((aligned(4096)));
	uint32_t id, seq;
	int fds[2];
	bool ok;

	expect_ok(pipe(fds));
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	ok = write(fds[1], page, PAGE) == (ssize_t)PAGE &&
	     read(fds[0], copy, PAGE) == (ssize_t)PAGE;
	close(fds[0]);
	close(fds[1]);
	if (!ok)
		return "unreadable";
	if (page_read(copy, &id, &seq) && page_same(copy, id, seq, NULL, 0)) {
		if (id == SRC_ID + i)
			return "the source's bytes";
		return id == DST_ID + i ? "the destination's bytes" :
					  "other bytes";
	}
	return memcmp(copy, copy + 1, PAGE - 1) || copy[0] ? "other bytes" :
							     "zeros";
}

static inline void describe_flags(char *buf, size_t len, const char *page)
{
	static const struct { __u64 bit; const char *name; } flags[] = {
		/* not KSM: 6.12 sets that bit for all anonymous memory */
		{ KPF_ZERO_PAGE, "zero page" }, { KPF_MLOCKED, "mlocked" },
		{ KPF_HWPOISON, "poisoned" }, { KPF_COMPOUND, "of a large folio" },
	};
	__u64 k = kpageflags(page);

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (k & flags[i].bit)
			add(buf, len, ", %s", flags[i].name);
}

/* The entry and its frame; without touching the page */
static inline void describe_entry(char *buf, size_t len, const char *page,
				  uint64_t src_frame, uint64_t dst_frame)
{
	uint64_t pm = pagemap(page), frame = pm & PM_PFN;

	*buf = '\0';
	if (pm & PM_PRESENT) {
		add(buf, len, "%s", frame == src_frame ? "the source's page" :
			  frame == dst_frame ? "the destination's page" :
			  "a new page");
		describe_flags(buf, len, page);
	} else {
		add(buf, len, "%s", pm & PM_SWAP ? "an entry" : "nothing");
	}
	if (pm & PM_UFFD_WP)
		add(buf, len, ", write-protected");
	if (pm & PM_SOFT_DIRTY && pm & (PM_PRESENT | PM_SWAP))
		add(buf, len, ", soft-dirty");
}

/* Runs of pages that are alike */
static inline void describe_side(char *line, size_t len, char *start,
				 size_t pages, char (*entries)[160])
{
	char now[200], before[200] = "";
	size_t i, first = 0;

	*line = '\0';
	for (i = 0; i <= pages; i++) {
		if (i < pages) {
			snprintf(now, sizeof(now), "%s", entries[i]);
			if (strncmp(now, "nothing", 7))
				add(now, sizeof(now), ", %s",
				    content_of(start + i * PAGE, i));
			if (i && !strcmp(now, before))
				continue;
		}
		if (i && first + 1 == i)
			add(line, len, "%s%zu: %s", *line ? "; " : "", first,
			    before);
		else if (i)
			add(line, len, "%s%zu-%zu: %s", *line ? "; " : "", first,
			    i - 1, before);
		strcpy(before, now);
		first = i;
	}
}

/* ---- running ------------------------------------------------------------ */

struct run {
	const struct diff_case *c;
	int which;
	struct report *report;
};

static inline void raw_move(const struct diff *d, int *ret, int *err,
			    __s64 *move)
{
	struct native_move n = {
		.dst = ADDR(d->dst), .src = ADDR(d->src), .len = d->len,
		.mode = d->mode, .move = UNTOUCHED,
	};
	struct uremap_move u = {
		.dst = ADDR(d->dst), .src = ADDR(d->src), .len = d->len,
		.mode = d->mode, .move = UNTOUCHED,
	};

	errno = 0;
	if (d->e.which == NATIVE)
		*ret = ioctl(d->e.uffd, NATIVE_UFFDIO_MOVE, &n);
	else
		*ret = ioctl(d->e.fd, UREMAP_IOC_MOVE, &u);
	*err = *ret ? errno : 0;
	*move = d->e.which == NATIVE ? n.move : u.move;
}

static inline void diff_set_up(struct diff *d, const struct diff_case *c)
{
	d->pages = c->huge ? HPAGES : 16;
	d->len = d->pages * PAGE;
	if (c->huge) {
		d->src = map_thp(1, SRC_ID, 1);
		d->dst = map_anon_aligned(2 * HPAGES, PMD, 0);
	} else {
		d->src = map_anon_aligned(16, PMD, 8);
		d->dst = map_anon_aligned(16, PMD, 8);
		range_fill(d->src, 16, SRC_ID, 1);
	}
	c->set_up(d);
	if (!d->unregistered &&
	    try_uffd_register(d->e.uffd, (char *)((uintptr_t)d->dst & -PAGE),
			      d->len, UFFDIO_REGISTER_MODE_MISSING))
		d->unregistered = true;
}

static inline int diff_run(void *arg)
{
	struct run *r = arg;
	struct report *rep = r->report;
	struct diff d = { 0 };
	uint64_t *src_frames, *dst_frames;
	char (*src_now)[160], (*dst_now)[160];
	long tables;
	int ret, err;
	__s64 move;
	size_t i;

	rep->skipped = true;
	d.e = engine_open(r->which, r->c->features);
	diff_set_up(&d, r->c);
	rep->skipped = false;
	src_frames = calloc(d.pages, 2 * sizeof(*src_frames));
	dst_frames = src_frames + d.pages;
	src_now = calloc(2 * d.pages, sizeof(*src_now));
	dst_now = src_now + d.pages;
	frames_read((char *)((uintptr_t)d.src & -PAGE), d.pages, src_frames);
	frames_read((char *)((uintptr_t)d.dst & -PAGE), d.pages, dst_frames);
	tables = status_kb(0, "VmPTE");
	rep->begun = true;
	raw_move(&d, &ret, &err, &move);
	rep->begun = false;
	snprintf(rep->line[L_TABLES], 100, "%+ld KiB",
		 status_kb(0, "VmPTE") - tables);
	snprintf(rep->line[L_RET], 100, "%s", ret ? strerrorname_np(err) : "done");
	if (move == UNTOUCHED)
		snprintf(rep->line[L_MOVE], 100, "untouched");
	else if (move >= 0)
		snprintf(rep->line[L_MOVE], 100, "%lld pages",
			 (long long)move / (long long)PAGE);
	else if (-move == err)
		snprintf(rep->line[L_MOVE], 100, "the error");
	else
		snprintf(rep->line[L_MOVE], 100, "error %lld", -(long long)move);
	d.src = (char *)((uintptr_t)d.src & -PAGE);
	d.dst = (char *)((uintptr_t)d.dst & -PAGE);
	/* what is clean and unused, and what reclaim may drop */
	snprintf(rep->line[L_COUNTS], 100,
		 "dirty %ld, referenced %ld, lazily freed %ld KiB",
		 smaps_kb(d.dst, "Private_Dirty"),
		 smaps_kb(d.dst, "Referenced"), smaps_kb(d.dst, "LazyFree"));
	snprintf(rep->line[L_HUGE], 100, "source %ld KiB, destination %ld KiB",
		 huge_kb(d.src), huge_kb(d.dst));
	for (i = 0; i < d.pages; i++) {
		describe_entry(src_now[i], 160, d.src + i * PAGE, src_frames[i],
			       dst_frames[i]);
		describe_entry(dst_now[i], 160, d.dst + i * PAGE, src_frames[i],
			       dst_frames[i]);
	}
	/* from here on accesses raise no events */
	close(d.e.uffd);
	describe_side(rep->line[L_SRC], sizeof(rep->line[0]), d.src, d.pages,
		      src_now);
	describe_side(rep->line[L_DST], sizeof(rep->line[0]), d.dst, d.pages,
		      dst_now);
	rep->done = true;
	return 0;
}

/* ---- comparing ---------------------------------------------------------- */

static inline const struct intended *intended_for(const char *test)
{
	int now = kernel_is(6, 12) ? K612 : K72;
	const struct intended *t;

	for (t = intended; t->test; t++)
		if (!strcmp(t->test, test) && t->kernels & now)
			return t;
	return NULL;
}

/*
 * Who never came back has nothing but that to report, and sums say nothing where
 * one mover did what the other refused.
 */
static inline bool differs(const struct report *r, int l)
{
	if (l != L_RET && !(r[NATIVE].done && r[UREMAP].done))
		return false;
	if ((l == L_TABLES || l == L_COUNTS) &&
	    (differs(r, L_RET) || differs(r, L_MOVE)))
		return false;
	return strcmp(r[NATIVE].line[l], r[UREMAP].line[l]);
}

static inline void diff_compare(const struct diff_case *c,
				const struct report *r)
{
	const struct intended *t = intended_for(c->name);
	char lines[200] = "", out[LINES * 2000] = "", same[LINES * 1000] = "";
	int l, first = -1;

	for (l = 0; l < LINES; l++) {
		if (!differs(r, l)) {
			add(same, sizeof(same), "%s: %s\n", line_names[l],
			    r[UREMAP].line[l]);
			continue;
		}
		first = first < 0 ? l : first;
		add(lines, sizeof(lines), "%s%s", *lines ? ", " : "",
		    line_names[l]);
		add(out, sizeof(out), "%s\n  UFFDIO_MOVE: %s\n  uremap: %s\n",
		    line_names[l], r[NATIVE].line[l], r[UREMAP].line[l]);
	}
	if (first < 0 && t)
		ck_abort_msg("%s: no difference, but one was intended:\n%s",
			     c->name, same);
	if (first < 0)
		return;
	if (!t)
		ck_abort_msg("%s: not intended: %s\n%s", c->name, lines, out);
	if (strcmp(t->lines, lines) ||
	    fnmatch(t->native, r[NATIVE].line[first], 0) ||
	    fnmatch(t->uremap, r[UREMAP].line[first], 0))
		ck_abort_msg("%s: another difference was intended, not: %s\n%s",
			     c->name, lines, out);
	test_note("%s: as intended: %s", c->name, t->why);
}

static inline void diff_case_run(const struct diff_case *c)
{
	struct report *r = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct run run = { .c = c };
	int status;

	ck_assert_ptr_ne(r, MAP_FAILED);
	close(dev_open());
	for (run.which = 0; run.which < ENGINES; run.which++) {
		run.report = &r[run.which];
		status = run_bounded_from(diff_run, &run, 15,
					  &run.report->begun);
		skip_if(status == 0 && run.report->skipped,
			"this kernel cannot set up: %s", c->name);
		if (status == RUN_KILLED && run.report->begun)
			snprintf(run.report->line[L_RET], 100, "never ends");
		else if (!run.report->done)
			ck_abort_msg("%s, %s: the case itself failed", c->name,
				     engine_name(run.which));
	}
	diff_compare(c, r);
}

/* Nothing to compare with, nothing to run. */
#define DIFF_MAIN(suite, tests)						\
int main(int argc, char **argv)						\
{									\
	if (!has_native_move())						\
		return utest_skip_all("no UFFDIO_MOVE");		\
	return utest_main(suite, tests, ARRAY_SIZE(tests), argc, argv);	\
}

#endif /* UREMAP_TEST_DIFF_H */
