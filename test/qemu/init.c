// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the test guest: mounts, loads the module, runs /cmd, and then says
 * on a serial port of its own what it saw.  The host believes in success only
 * if the last line arrives.
 *
 * ttyS0 is the kernel's console, ttyS1 the output of /cmd, ttyS2 the report:
 *
 *	booted
 *	load ok | load failed: WHY
 *	command STATUS			(128 + signal)
 *	unload ok | unload failed: WHY
 *	reload ok | reload failed: WHY
 *	log ok | log bad: LINE		(once for each bad line)
 *	done
 *
 * or, where it cannot go on itself, "guest failed: WHAT: WHY".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MODULE_FILE	"/t/uremap.ko"
#define DEVICE_FILE	"/dev/uremap"

/*
 * What a kernel prints when it has caught itself, or somebody, in an error.
 * Anchored at the start of the message where user space could make it print
 * the same words: "traps: prog[7] general protection fault" is a program's.
 */
static const char bad_lines[] =
	"^(Oops|general protection fault|double fault|stack segment|invalid opcode)"
	"|^(kernel tried to execute|Kernel panic|unable to handle|page dumped)"
	"|(^|: )(BUG|WARNING): |^BUG |^INFO: (task|lockdep|trying to register)"
	"|detected stall|detected expedited stall|self-detected stall"
	"|kernel BUG at|blocked for more than"
	"|Bad (rss-counter|page|swap|pagetable)|: bad (pgd|p4d|pud|pmd|pte) "
	"|Unused swap|non-zero (pgtables_bytes|swap)|page_table_check"
	"|refcount_t: |(list_add|list_del) corruption|sleeping function called"
	"|scheduling while atomic|possible (recursive|circular|irq)"
	"|suspicious RCU|UBSAN: |kmemleak: ([1-9]|.*disabled)|Objects remaining";

/* died, bad page, warned, soft lockup, machine check, forced load or unload */
#define BAD_TAINTS	(1 << 7 | 1 << 5 | 1 << 9 | 1 << 14 | 1 << 4 | 1 << 1 | 1 << 3)

static FILE *report;

static void die(const char *what)
{
	if (report)
		fprintf(report, "guest failed: %s: %s\n", what, strerror(errno));
	fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void mount_on(const char *type, const char *dir, const char *opts)
{
	mkdir(dir, 0755);
	/* what a kernel was built without, the tests skip */
	if (mount(type, dir, type, 0, opts) && errno != EBUSY && errno != ENODEV &&
	    errno != ENOENT)
		die(dir);
}

static void mount_all(void)
{
	mount_on("devtmpfs", "/dev", NULL);
	mount_on("proc", "/proc", NULL);
	mount_on("sysfs", "/sys", NULL);
	mount_on("devpts", "/dev/pts", NULL);
	mount_on("tmpfs", "/dev/shm", NULL);
	mount_on("tmpfs", "/tmp", NULL);
	mount_on("tmpfs", "/run", NULL);
	mount_on("debugfs", "/sys/kernel/debug", NULL);
	mount_on("tracefs", "/sys/kernel/tracing", NULL);
	mount_on("cgroup2", "/sys/fs/cgroup", NULL);
}

static int open_serial(const char *name)
{
	struct termios t;
	int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		die(name);
	if (tcgetattr(fd, &t))
		die(name);
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSANOW, &t))
		die(name);
	return fd;
}

static void write_file(const char *name, const char *value)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die(name);
	close(fd);
}

/*
 * Under icount both CPUs take turns in one thread, and a CPU that waits for
 * the other without PAUSE never ends its turn; 6.1 does so while it starts one.
 * A process that pauses on CPU 0 meanwhile is the cure.
 */
static void online_cpu1(void)
{
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			__builtin_ia32_pause();
	}
	write_file("/sys/devices/system/cpu/cpu1/online", "1");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool module_loaded(void)
{
	return access("/sys/module/uremap", F_OK) == 0;
}

static bool load_module(const char *step)
{
	int fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	bool ok = false;

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		fprintf(report, "%s failed: %s\n", step, strerror(errno));
	else if (access(DEVICE_FILE, F_OK))
		fprintf(report, "%s failed: no " DEVICE_FILE "\n", step);
	else
		ok = true;
	if (ok)
		fprintf(report, "%s ok\n", step);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool unload_module(void)
{
	if (!syscall(SYS_delete_module, "uremap", O_NONBLOCK))
		return true;
	fprintf(report, "unload failed: %s\n", strerror(errno));
	return false;
}

/* After the command: nobody may hold the module, and it must come back. */
static void check_module(void)
{
	if (module_loaded() && !unload_module())
		return;
	fprintf(report, "unload ok\n");
	if (load_module("reload") && !unload_module())
		return;
}

static int run_command(void)
{
	int status = 0, out;
	pid_t child, pid;

	out = open_serial("/dev/ttyS1");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		setsid();
		dup2(open("/dev/null", O_RDWR), 0);
		dup2(out, 1);
		dup2(out, 2);
		if (chdir("/t"))
			_exit(126);
		execl("/bin/sh", "sh", "/cmd", NULL);
		_exit(127);
	}
	/* orphans end up here as well */
	while ((pid = wait(&status)) != child)
		if (pid < 0 && errno != EINTR)
			die("wait");

	/* no straggler may keep the device open, or write any more */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	tcdrain(out);
	close(out);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void check_taint(bool *clean)
{
	char buf[32] = "";
	int fd = open("/proc/sys/kernel/tainted", O_RDONLY);

	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) <= 0)
		die("tainted");
	close(fd);
	if (atol(buf) & BAD_TAINTS) {
		fprintf(report, "log bad: kernel tainted %s", buf);
		*clean = false;
	}
}

/*
 * A debug kernel looks for memory that nobody points to any more only when it is
 * asked to, and reports an object in the second search that misses it: by then it
 * is more than five seconds old and has not changed.  What it says of a leak is
 * in a file, from there it goes to the console.
 */
static void check_leaks(void)
{
	static const char name[] = "/sys/kernel/debug/kmemleak";
	char line[512];
	FILE *in, *log;
	int i;

	if (access(name, F_OK))
		return;
	sleep(6);
	for (i = 0; i < 2; i++)
		write_file(name, "scan");
	in = fopen(name, "r");
	log = fopen("/dev/kmsg", "w");
	if (!in || !log)
		die(name);
	setlinebuf(log);
	while (fgets(line, sizeof(line), in))
		fprintf(log, "<4>leak: %s", line);
	fclose(in);
	fclose(log);
}

/* Lockdep turns itself off with its first report, and where it gives up. */
static void check_lockdep(bool *clean)
{
	FILE *f = fopen("/proc/lockdep_stats", "r");
	char line[256];
	int on = 1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " debug_locks: %d", &on) == 1)
			break;
	if (f)
		fclose(f);
	if (!on) {
		fprintf(report, "log bad: lockdep is off\n");
		*clean = false;
	}
}

/*
 * Each record is "prio,seq,time,flags;text", continuation lines follow.  The
 * test runner notes in the log which test it starts ("test: NAME").
 */
static void check_log(void)
{
	unsigned long seq, expect = 0;
	bool clean = true;
	char rec[8192], test[64] = "", *text;
	regex_t bad;
	ssize_t n;
	int fd;

	if (regcomp(&bad, bad_lines, REG_EXTENDED | REG_NOSUB))
		die("regcomp");
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		die("/dev/kmsg");
	while ((n = read(fd, rec, sizeof(rec) - 1)) > 0 || errno == EPIPE) {
		if (n < 0)
			continue;	/* overwritten: seen in the sequence */
		rec[n] = '\0';
		text = strchr(rec, ';');
		if (!text || sscanf(rec, "%*u,%lu,", &seq) != 1)
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (seq != expect) {
			fprintf(report, "log bad: %lu records lost\n", seq - expect);
			clean = false;
		}
		expect = seq + 1;
		if (sscanf(text + 1, "test: %63s", test) == 1)
			continue;
		if (!regexec(&bad, text + 1, 0, NULL, 0)) {
			fprintf(report, "log bad: %s%s%s%s\n", text + 1,
				*test ? " (during " : "", test, *test ? ")" : "");
			clean = false;
		}
	}
	if (errno != EAGAIN)
		die("/dev/kmsg");
	close(fd);
	check_taint(&clean);
	check_lockdep(&clean);
	if (clean)
		fprintf(report, "log ok\n");
}

int main(void)
{
	bool load;

	umask(022);
	mount_all();
	report = fdopen(open_serial("/dev/ttyS2"), "w");
	if (!report)
		die("ttyS2");
	setlinebuf(report);
	setenv("PATH", "/t:/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/", 1);
	fprintf(report, "booted\n");

	if (getenv("QEMU_ONLINE"))
		online_cpu1();
	load = !getenv("QEMU_NO_LOAD");
	if (!load || load_module("load"))
		fprintf(report, "command %d\n", run_command());
	if (load)
		check_module();
	check_leaks();
	check_log();
	fprintf(report, "done\n");
	fflush(report);
	tcdrain(fileno(report));
	reboot(RB_POWER_OFF);
	return 1;
}
