// SPDX-License-Identifier: GPL-2.0-only
/*
 * torture [-t SECONDS] [-s SEED] [-w WORKERS] [-j THREADS] [-m MIB] [-n] [-K] [-S]
 *
 * Random operations on anonymous memory, moves above all, in many threads and
 * processes, compared with a model; see torture.h.  Ends with status 1 at the
 * first thing that is wrong, and says what, the seed, and what was done last.
 *
 *	-n  there are two NUMA nodes       -K  kill no worker
 *	-S  leave the system alone: no swap, no limit, no disturbance
 */
#include "torture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS	10		/* seconds */
#define HANGS		300		/* seconds without an operation */

struct shared *shared;

static uint64_t random_state;

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1d;
}

static unsigned int now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void start(unsigned int i)
{
	unsigned int generation = shared->worker[i].generation;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (!pid) {
		write_text("/proc/self/oom_score_adj", "0");
		worker_run(i, generation);
	}
	shared->worker[i].pid = pid;
}

/* By SIGKILL in the middle of anything; its memory then goes in two ways. */
static void kill_worker(unsigned int i)
{
	pid_t pid = shared->worker[i].pid;
	int fd = syscall(434 /* pidfd_open */, pid, 0);

	disturbed(DO_KILL, !kill(pid, SIGKILL));
	if (fd >= 0) {
		disturbed(DO_MRELEASE,
			  !syscall(448 /* process_mrelease */, fd, 0));
		close(fd);
	}
}

/* What it failed with it has said, unless it was in no state to. */
static void died(unsigned int i, int status)
{
	if (!shared->failed)
		snprintf(shared->message, sizeof(shared->message),
			 "worker %u ended with status %x", i, status);
	shared->failed = true;
}

/* Collects who has ended; true as long as some are left. */
static bool reap(bool restart)
{
	unsigned int i, left = 0;
	int status;

	for (i = 0; i < shared->opt.workers; i++) {
		pid_t pid = shared->worker[i].pid;

		if (!pid)
			continue;
		if (waitpid(pid, &status, WNOHANG) != pid) {
			left++;
			continue;
		}
		shared->worker[i].pid = 0;
		if (WIFEXITED(status) && !WEXITSTATUS(status))
			continue;
		/* By us, or for want of memory under the limit. */
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			died(i, status);
		shared->worker[i].generation++;
		COUNT(restarts, 1);
		if (restart) {
			start(i);
			left++;
		}
	}
	return left;
}

static uint64_t all_ops(void)
{
	uint64_t sum = shared->count.melee_moves;
	unsigned int i;

	for (i = 0; i < OP_NR; i++)
		sum += shared->count.ops[i];
	return sum;
}

/* Wherever all are stuck, the kernel's log says it. */
static void check_alive(void)
{
	static uint64_t last;
	static unsigned int since;
	uint64_t ops = all_ops();

	if (ops != last || !since) {
		last = ops;
		since = now();
	} else if (now() - since > HANGS) {
		shared->failed = true;
		snprintf(shared->message, sizeof(shared->message),
			 "nothing was done for %d seconds", HANGS);
		write_text("/proc/sysrq-trigger", "w");
	}
}

static void supervise(void)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	unsigned int begin = now(), told = begin, disturbed = begin, killed = begin;
	bool left = true;

	while (!shared->failed && left) {
		nanosleep(&pause, NULL);
		shared->stop = now() - begin >= shared->opt.seconds;
		left = reap(!shared->stop);
		check_alive();
		if (now() - told >= PROGRESS) {
			report_progress(now() - begin);
			told = now();
		}
		if (shared->stop) {
			if (shared->opt.system)
				system_settle();
			continue;
		}
		if (shared->opt.system && now() != disturbed) {
			system_disturb(draw());
			disturbed = now();
		}
		if (shared->opt.kill && now() - killed >= 15) {
			kill_worker(draw() % shared->opt.workers);
			killed = now();
		}
	}
	report_end(now() - begin);
}

/* Those that are left after a failure; who is stuck in the kernel stays. */
static void end_workers(void)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	unsigned int i, tries = 0;

	for (i = 0; i < shared->opt.workers; i++)
		if (shared->worker[i].pid)
			kill(shared->worker[i].pid, SIGKILL);
	while (reap(false) && tries++ < 100)
		nanosleep(&pause, NULL);
}

static void parse(int argc, char **argv)
{
	struct options *o = &shared->opt;
	int c;

	*o = (struct options){
		.seconds = 60, .seed = time(NULL), .workers = 3, .threads = 3,
		.mib = 192, .kill = true, .system = true,
	};
	while ((c = getopt(argc, argv, "t:s:w:j:m:nKS")) != -1)
		switch (c) {
		case 't':
			o->seconds = strtoul(optarg, NULL, 0);
			break;
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'w':
			o->workers = strtoul(optarg, NULL, 0);
			break;
		case 'j':
			o->threads = strtoul(optarg, NULL, 0);
			break;
		case 'm':
			o->mib = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			o->numa = true;
			break;
		case 'K':
			o->kill = false;
			break;
		case 'S':
			o->system = false;
			break;
		default:
			exit(2);
		}
	if (!o->workers || o->workers > MAX_WORKERS || !o->threads ||
	    o->threads > MAX_THREADS || o->mib < 16 * o->workers) {
		fprintf(stderr, "torture: too many or too few\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	unsigned int i;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	parse(argc, argv);
	random_state = shared->opt.seed | 1;
	printf("torture: seed %llu, %u seconds, %u workers of %u threads, %u MiB\n",
	       (unsigned long long)shared->opt.seed, shared->opt.seconds,
	       shared->opt.workers, shared->opt.threads, shared->opt.mib);
	if (shared->opt.system)
		system_prepare();
	report_begin();
	for (i = 0; i < shared->opt.workers; i++)
		start(i);
	supervise();
	if (shared->failed)
		report_failure();
	end_workers();
	if (shared->opt.system)
		system_restore();
	return shared->failed;
}
