// SPDX-License-Identifier: GPL-2.0-only
/* Runs the scenes, each in a process of its own, or those named. */
#include "prog.h"

static const struct scene *const all[] = {
	scenes_api, scenes_fault, scenes_error, scenes_page, scenes_huge,
	scenes_process, scenes_stress,
};

static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc < 2;
}

static int play(const struct scene *s)
{
	int status;
	pid_t pid;

	printf("%s:\n", s->name);
	fflush(stdout);
	pid = fork();
	need(pid >= 0);
	if (!pid) {
		/* a thread that is never woken must not stop everything */
		alarm(300);
		s->run();
		exit(0);
	}
	need(waitpid(pid, &status, 0) == pid);
	if (WIFSIGNALED(status))
		say("killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	return status;
}

int main(int argc, char **argv)
{
	const struct scene *s;
	int bad = 0;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (s = all[i]; s->name; s++)
			if (wanted(s->name, argc, argv))
				bad |= play(s);
	return bad ? 1 : 0;
}
