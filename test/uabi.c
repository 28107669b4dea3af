// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that every ioctl says what the uABI header documents to every
 * structure size, reserved and unknown bit, pointer, address and number.
 */
#include "util.h"
#include "uabi_cases.h"

START_TEST(uabi_case)
{
	struct uabi u = { 0 };

	close(dev_open());	/* fails, or skips, if there is no device */
	if (!u_setup(&u) || !uabi_cases[_i].run(&u))
		ck_abort_msg("%s", u.why[0] ? u.why :
			     "the page is not where it was");
}
END_TEST

int main(int argc, char **argv)
{
	struct utest tests[ARRAY_SIZE(uabi_cases)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		tests[i] = (struct utest){ &uabi_case, uabi_cases[i].name,
					   i, i + 1, 0 };
	return utest_main("uabi", tests, ARRAY_SIZE(tests), argc, argv);
}
