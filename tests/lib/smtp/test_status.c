/*
 * test_status.c - enhanced status codes: what is one, and the way back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/smtp/status.h"

static const struct {
	const char *in;
	size_t want;
	const char *want_text;
} cases[] = {
	{ "2.1.5", 5, "2.1.5" },
	{ "2.1.5 ok", 5, "2.1.5" },
	{ "5.7.1\tno", 5, "5.7.1" },
	{ "4.999.999 x", 9, "4.999.999" },
	{ "5.0.0", 5, "5.0.0" },
	{ "5.10.0", 6, "5.10.0" },
	{ "5.1000.0", 0, "" },
	{ "5.1.1000", 0, "" },
	{ "5.01.0", 0, "" }, /* leading zeros (RFC 3463, 2) */
	{ "5.1.00", 0, "" },
	{ "3.1.1", 0, "" },
	{ "1.1.1", 0, "" },
	{ "6.1.1", 0, "" },
	{ "5.1", 0, "" },
	{ "5.1.", 0, "" },
	{ "5..1", 0, "" },
	{ "5.1.1x", 0, "" },
	{ "5.1.1.", 0, "" },
	{ "5.1.1-x", 0, "" },
	{ " 5.1.1", 0, "" },
	{ "55.1.1", 0, "" },
	{ "5,1,1", 0, "" },
	{ "", 0, "" },
	{ "5", 0, "" },
};

static void
test_parse(void **state)
{
	char text[SMTP_STATUS_TEXT], *exact;
	struct smtp_status st;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* a copy without terminator: reading on would be found */
		n = strlen(cases[i].in);
		exact = malloc(n + 1);
		memcpy(exact, cases[i].in, n);
		exact[n] = '7';
		if (smtp_status_parse(exact, n, &st) != cases[i].want)
			fail_msg("%s: wrong length", cases[i].in);
		assert_string_equal(
		    smtp_status_format(st, text), cases[i].want_text);
		free(exact);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
