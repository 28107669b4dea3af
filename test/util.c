// SPDX-License-Identifier: GPL-2.0-only
/*
 * The runner, the device and moves with exact expectations; see util.h.
 */
#include "util.h"

#include <sched.h>
#include <stdarg.h>
#include <time.h>

/* Written by the process of a test, read by the runner after it ended. */
struct shared {
	bool skipped;
	char reason[400];
	char at[200];
};

static struct shared *shared;
static uint64_t seed;
static __thread uint64_t rnd_state;

/* One TAP line a result, failures explained in the comment lines after it. */
static bool report(int number, const char *name, TestResult *tr)
{
	bool ok = tr && tr_rtype(tr) == CK_PASS;
	char *msg, *line, *save;

	if (!tr) {
		printf("not ok %d - %s\n# the test did not run\n", number, name);
	} else if (ok && shared->skipped) {
		printf("ok %d - %s # SKIP %s\n", number, name, shared->reason);
	} else if (ok) {
		printf("ok %d - %s\n", number, name);
	} else {
		printf("not ok %d - %s\n# %s:%d:\n", number, name, tr_lfile(tr),
		       tr_lno(tr));
		if (shared->at[0])
			printf("# %s\n", shared->at);
		msg = strdup(tr_msg(tr));
		for (line = strtok_r(msg, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save))
			printf("# %s\n", line);
		free(msg);
	}
	fflush(stdout);
	return ok;
}

/*
 * A runner for each iteration, so that TAP comes out as tests finish and tells
 * how far a machine got that went down, and so that a skip can be told.
 */
static bool run_one(const char *suite, const struct utest *t, int i, int number)
{
	TCase *tc = tcase_create(t->name);
	Suite *s = suite_create(suite);
	TestResult **results;
	SRunner *sr;
	char name[200];
	bool ok;

	if (t->last - t->first > 1)
		snprintf(name, sizeof(name), "%s: %s[%d]", suite, t->name, i);
	else
		snprintf(name, sizeof(name), "%s: %s", suite, t->name);

	memset(shared, 0, sizeof(*shared));
	tcase_set_timeout(tc, t->timeout ?: UTEST_TIMEOUT);
	tcase_add_loop_test(tc, *t->test, i, i + 1);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run(sr, NULL, NULL, CK_SILENT);
	results = srunner_results(sr);
	ok = report(number, name, srunner_ntests_run(sr) ? results[0] : NULL);
	free(results);
	srunner_free(sr);
	return ok;
}

static bool selected(const struct utest *t, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], t->name))
			return true;
	return argc < 2;
}

int utest_main(const char *suite, const struct utest *tests, size_t n,
	       int argc, char **argv)
{
	const char *env = getenv("UREMAP_SEED");
	int planned = 0, number = 0, failed = 0, i;
	size_t t;

	seed = env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL) << 16 | getpid();
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	for (t = 0; t < n; t++)
		if (selected(&tests[t], argc, argv))
			planned += tests[t].last - tests[t].first;
	if (!planned) {
		fprintf(stderr, "%s: no such test\n", suite);
		return 2;
	}
	printf("1..%d\n# %s: UREMAP_SEED=%#llx\n", planned, suite,
	       (unsigned long long)seed);
	fflush(stdout);
	for (t = 0; t < n; t++) {
		if (!selected(&tests[t], argc, argv))
			continue;
		for (i = tests[t].first; i < tests[t].last; i++)
			failed += !run_one(suite, &tests[t], i, ++number);
	}
	return failed ? 1 : 0;
}

int utest_skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

void test_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(shared->reason, sizeof(shared->reason), fmt, ap);
	va_end(ap);
	shared->skipped = true;
	exit(0);
}

void test_at(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(shared->at, sizeof(shared->at), fmt, ap);
	va_end(ap);
}

void test_note(const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("# %s\n", text);
	fflush(stdout);
}

/* splitmix64; each thread has a stream of its own */
uint64_t rnd(void)
{
	static uint64_t threads;
	uint64_t z;

	if (!rnd_state)
		rnd_state = seed + (__sync_fetch_and_add(&threads, 1) << 40) + 1;
	z = rnd_state += 0x9e3779b97f4a7c15ULL;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

pid_t child_start(int (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		ck_abort_msg("fork: %s", strerror(errno));
	if (!pid)
		exit(fn(arg));
	return pid;
}

void child_join(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			ck_abort_msg("waitpid: %s", strerror(errno));
	if (WIFSIGNALED(status))
		ck_abort_msg("child died of signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		ck_abort_msg("child exited with %d", WEXITSTATUS(status));
}

void child_run(int (*fn)(void *arg), void *arg)
{
	child_join(child_start(fn, arg));
}

pthread_t thread_start(void *(*fn)(void *arg), void *arg)
{
	pthread_t t;
	int err = pthread_create(&t, NULL, fn, arg);

	if (err)
		ck_abort_msg("pthread_create: %s", strerror(err));
	return t;
}

void *thread_join(pthread_t t)
{
	void *ret;
	int err = pthread_join(t, &ret);

	if (err)
		ck_abort_msg("pthread_join: %s", strerror(err));
	return ret;
}

void pin_cpu(int cpu)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (n > 0 ? n : 1), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int dev_open(void)
{
	int fd = open(DEV_PATH, O_RDWR | O_CLOEXEC);

	if (fd < 0 && getenv("UREMAP_OPTIONAL"))
		test_skip("%s: %s", DEV_PATH, strerror(errno));
	if (fd < 0)
		ck_abort_msg("%s: %s", DEV_PATH, strerror(errno));
	return fd;
}

int dev_open_all(void)
{
	int fd = dev_open();

	dev_register(fd, NULL, dev_info(fd).va_end, RIGHTS_BOTH);
	return fd;
}

struct uremap_info dev_info(int fd)
{
	struct uremap_info info = { 0 };

	expect_ok(ioctl(fd, UREMAP_IOC_INFO, &info));
	return info;
}

bool dev_feature(int fd, __u64 feature)
{
	return dev_info(fd).features & feature;
}

static int range_ioctl(int fd, unsigned long cmd, __u64 start, __u64 len,
		       __u64 rights)
{
	struct uremap_range range = {
		.start = start,
		.len = len,
		.rights = rights,
	};

	return ioctl(fd, cmd, &range) ? errno : 0;
}

int try_register(int fd, __u64 start, __u64 len, __u64 rights)
{
	return range_ioctl(fd, UREMAP_IOC_REGISTER, start, len, rights);
}

int try_unregister(int fd, __u64 start, __u64 len, __u64 rights)
{
	return range_ioctl(fd, UREMAP_IOC_UNREGISTER, start, len, rights);
}

int try_attach(int fd, int uffd)
{
	struct uremap_attach a = { .uffd = uffd };

	return ioctl(fd, UREMAP_IOC_ATTACH, &a) ? errno : 0;
}

void dev_attach(int fd, int uffd)
{
	int err = try_attach(fd, uffd);

	if (err)
		ck_abort_msg("attach %d: %s", uffd, strerror(err));
}

void dev_register(int fd, const void *start, size_t len, __u64 rights)
{
	int err = try_register(fd, ADDR(start), len, rights);

	if (err)
		ck_abort_msg("register %p+%#zx: %s", start, len, strerror(err));
}

void dev_unregister(int fd, const void *start, size_t len, __u64 rights)
{
	int err = try_unregister(fd, ADDR(start), len, rights);

	if (err)
		ck_abort_msg("unregister %p+%#zx: %s", start, len,
			     strerror(err));
}

/* The out fields start as MOVE_UNWRITTEN, to tell silence from a zero. */
struct move_result try_move_at(int fd, __u64 dst, __u64 src, __u64 len,
			       __u64 mode)
{
	struct uremap_move m = {
		.dst = dst,
		.src = src,
		.len = len,
		.mode = mode,
		.move = (__s64)MOVE_UNWRITTEN,
		.moved = MOVE_UNWRITTEN,
		.holes = MOVE_UNWRITTEN,
		.healed = MOVE_UNWRITTEN,
		.stop = MOVE_UNWRITTEN,
		.reason = (__u32)MOVE_UNWRITTEN,
		.error = (__u32)MOVE_UNWRITTEN,
	};
	struct move_result r;

	errno = 0;
	r.ret = ioctl(fd, UREMAP_IOC_MOVE, &m);
	r.err = r.ret ? errno : 0;
	r.move = m.move;
	r.moved = m.moved;
	r.holes = m.holes;
	r.healed = m.healed;
	r.stop = m.stop;
	r.reason = m.reason;
	r.error = m.error;
	return r;
}

const char *reason_name(__u32 reason)
{
#define NAME(r) [UREMAP_REASON_##r] = #r
	static const char *const names[] = {
		NAME(NONE), NAME(ARGUMENT), NAME(OVERLAP), NAME(SRC_UNREGISTERED),
		NAME(DST_UNREGISTERED), NAME(SIGNAL), NAME(RETRY_LIMIT),
		NAME(NOMEM), NAME(CHANGING), NAME(DST_NOT_UFFD),
		NAME(SRC_NO_VMA), NAME(DST_NO_VMA), NAME(VMA_SHARED),
		NAME(VMA_NOT_ANON), NAME(VMA_PROT), NAME(VMA_LOCKED),
		NAME(VMA_READONLY), NAME(VMA_SPECIAL), NAME(VMA_PKEY),
		NAME(VMA_DROPPABLE), NAME(WP_UNREGISTERED), NAME(HOLE),
		NAME(NOT_EXCLUSIVE), NAME(KSM), NAME(PINNED), NAME(WP_SHARED),
		NAME(THP), NAME(LARGE_FOLIO), NAME(SPLIT_FAILED), NAME(ZEROPAGE),
		NAME(SWAP), NAME(MIGRATING), NAME(HWPOISON), NAME(DEVICE),
		NAME(SRC_POISON), NAME(SRC_GUARD), NAME(SRC_WP_MARKER),
		NAME(SRC_SPECIAL), NAME(FOLIO_BUSY), NAME(DST_BUSY),
		NAME(DST_POISON), NAME(DST_GUARD), NAME(DST_WP_MARKER),
	};
#undef NAME

	if (reason >= ARRAY_SIZE(names) || !names[reason])
		return "?";
	return names[reason];
}

static void move_text(char *buf, size_t len, const struct move_result *r)
{
	const char *err = strerrorname_np(r->err);
	const char *error = strerrorname_np(r->error);

	snprintf(buf, len,
		 "ret %d errno %s move %lld moved %llu holes %llu healed %llu reason %u %s error %u %s stop %#llx",
		 r->ret, err ?: "?", (long long)r->move,
		 (unsigned long long)r->moved, (unsigned long long)r->holes,
		 (unsigned long long)r->healed, r->reason,
		 reason_name(r->reason), r->error, error ?: "?",
		 (unsigned long long)r->stop);
}

void check_move(const char *file, int line, struct move_result r,
		struct move_expect e)
{
	struct move_result want = {
		.ret = e.error ? -1 : 0,
		.err = e.error && e.done ? EAGAIN : e.error,
		.move = e.done ? (__s64)e.done : -e.error,
		.moved = e.done - e.holes,
		.holes = e.holes,
		.healed = e.healed,
		.stop = e.stop == STOP_ANY ? r.stop : e.stop,
		.reason = e.reason,
		.error = e.error,
	};
	char got_text[400], want_text[400];

	if (r.ret == want.ret && r.err == want.err && r.move == want.move &&
	    r.moved == want.moved && r.holes == want.holes &&
	    r.healed == want.healed && r.stop == want.stop &&
	    r.reason == want.reason && r.error == want.error)
		return;
	move_text(got_text, sizeof(got_text), &r);
	move_text(want_text, sizeof(want_text), &want);
	ck_abort_msg("%s:%d: the move said\n  %s\nexpected\n  %s", file, line,
		     got_text, want_text);
}
