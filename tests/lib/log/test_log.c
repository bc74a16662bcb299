/*
 * test_log.c - what a log line may and may not contain, in text and JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/log/log.h"

/* Runs one event through a pipe; returns what was written. */
static const char *
written(enum log_format format, const struct log_fields *f, const char *text)
{
	static char out[16384];
	int fd[2];
	ssize_t n;

	assert_int_equal(pipe(fd), 0);
	log_init(fd[1], format, LOG_INFO, "test");
	log_event(LOG_INFO, "something", f, "%s", text);
	log_event(LOG_DEBUG, "hidden", f, "hidden");
	log_flush();
	close(fd[1]);
	n = read(fd[0], out, sizeof(out) - 1);
	close(fd[0]);
	assert_true(n > 0);
	out[n] = '\0';
	log_init(2, LOG_TEXT, LOG_INFO, "test");
	return out;
}

static void
test_text(void **state)
{
	const char *line = written(LOG_TEXT, NULL, "MID 6 a\r\nInfo: forged");

	(void)state;
	assert_non_null(strstr(line, " Info: MID 6 a\\x0d\\x0aInfo: forged\n"));
	assert_ptr_equal(strchr(line, '\n') + 1, line + strlen(line));
	assert_null(strstr(line, "hidden"));
}

static void
test_json(void **state)
{
	struct log_fields f = { .mid = 6,
		.has_rid = true,
		.from = "a\"\x01\xff@b",
		.outcome = "delivered" };
	const char *line = written(LOG_JSON, &f, "t");

	(void)state;
	assert_non_null(strstr(line, "\"mid\":6,\"rid\":0,"));
	assert_non_null(strstr(line, "\"from\":\"a\\\"\\u0001\\u00ff@b\""));
	assert_non_null(strstr(line, "\"event\":\"something\""));
	assert_non_null(strstr(line, "\"outcome\":\"delivered\""));
	assert_null(strstr(line, "icid"));
}

static void
test_long(void **state)
{
	static char big[100000];
	const char *line;

	(void)state;
	memset(big, '\x02', sizeof(big) - 1);
	line = written(LOG_JSON, NULL, big);
	assert_true(strlen(line) < 16000);
	assert_string_equal(line + strlen(line) - 3, "\"}\n");
	line = written(LOG_TEXT, NULL, big);
	assert_true(strlen(line) <= 4096);
}

static void
test_quote(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "plain", "plain" }, { "it's", "it\\'s" },
		{ "a\\b", "a\\\\b" }, { "tab\there", "tab\\x09here" },
		{ "b\xc3\xbc"
		  "cher",
		    "b\xc3\xbc"
		    "cher" },
		{ "\xc0\xaf", "\\xc0\\xaf" },
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8" }, /* U+2028 ends lines */
		{ "\xc2\x85", "\\xc2\\x85" },	       /* NEL */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(LOG_Q(cases[i].in), cases[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_quote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
