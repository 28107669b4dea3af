// SPDX-License-Identifier: GPL-2.0-only
/* stock: debug builds run no 32-bit programs */
/*
 * Proves that a 32-bit program sees the same uABI as a 64-bit one.
 *
 * Built with -m32 and without libcheck, of which Debian has no static 32-bit
 * library; so it prints TAP by itself.  The cases are those of uabi.c.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/wait.h>

#include "uabi_cases.h"

static_assert(sizeof(long) == 4, "built for 64 bits");

/* Each case in a process of its own, killed if it hangs; its message by a pipe. */
static bool run_case(const struct uabi_case *c, int number)
{
	struct uabi u = { 0 };
	int fds[2], status = -1;
	char why[sizeof(u.why)];
	ssize_t n;
	pid_t pid;

	pid = pipe(fds) ? -1 : fork();
	if (pid < 0) {
		printf("not ok %d - compat32: %s\n# %s\n", number, c->name,
		       strerror(errno));
		return false;
	}
	if (!pid) {
		alarm(120);
		if (u_setup(&u) && c->run(&u))
			_exit(0);
		if (!u.why[0])
			strcpy(u.why, "the page is not where it was");
		_exit(write(fds[1], u.why, strlen(u.why)) < 0 ? 2 : 1);
	}
	close(fds[1]);
	n = read(fds[0], why, sizeof(why) - 1);
	why[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (!status) {
		printf("ok %d - compat32: %s\n", number, c->name);
		return true;
	}
	printf("not ok %d - compat32: %s\n# status %#x: %s\n", number, c->name,
	       status, why);
	return false;
}

int main(void)
{
	unsigned int i;
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (access("/dev/uremap", F_OK) && getenv("UREMAP_OPTIONAL")) {
		printf("1..0 # SKIP no /dev/uremap\n");
		return 0;
	}
	printf("1..%zu\n", U_COUNT(uabi_cases));
	fflush(stdout);
	for (i = 0; i < U_COUNT(uabi_cases); i++)
		failed += !run_case(&uabi_cases[i], i + 1);
	return failed ? 1 : 0;
}
