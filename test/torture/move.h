/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One attempt at moving a range of slots, and what became of it; move.c judges.
 */
#ifndef UREMAP_TORTURE_MOVE_H
#define UREMAP_TORTURE_MOVE_H

#include "torture.h"

struct attempt {
	struct thread *t;
	uint32_t dst, src, len;
	uint64_t mode;
	bool attached, rights, clear;
	struct uremap_move m;		/* of a MOVEV: the same in these words */
	int ret, err;
	uint32_t done;
};

/* Mode, descriptor, and whether the destination is emptied first: it is here. */
void attempt_draw(struct attempt *a);
int attempt_fd(const struct attempt *a);
void attempt_count(struct attempt *a);
/* Fails if the result cannot be; carries the model on. */
void attempt_judge(struct attempt *a);
/* Looks at the memory, once the model has followed all that was done. */
void attempt_look(struct attempt *a);
void bad_move(const struct attempt *a, const char *what, uint32_t slot);

#endif /* UREMAP_TORTURE_MOVE_H */
