/*
 * test_addr.c - addr check: the contract of scripts and corpora.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/ctl/run.h"

static const struct {
	const char *address;
	bool want;
} corpus[] = {
	{ "user@example.com", true },
	{ "a@b", true },
	{ "user+tag@example.com", true },
	{ "!#$%&'*+-/=?^_`{|}~@example.com", true },
	{ "\"a b\"@example.com", true },
	{ "\"a\\\"b\"@example.com", true },
	{ "user@[192.0.2.1]", true },
	{ "user@[IPv6:2001:db8::1]", true },
	{ "\xc3\xa4@example.com", true },
	{ "", false },
	{ "user", false },
	{ "@example.com", false },
	{ "user@", false },
	{ "a..b@example.com", false },
	{ ".a@example.com", false },
	{ "a.@example.com", false },
	{ "a b@example.com", false },
	{ "a@b@example.com", false },
	{ "user@-example.com", false },
	{ "user@example..com", false },
	{ "user@exa_mple.com", false },
	{ "<user@example.com>", false },
	{ "user@[300.0.0.1]", false },
	{ "user@example.com\r\nRCPT TO:<x@y>", false },
};

static void
check_one(const char *address, bool want)
{
	struct run r;
	json_t *doc;

	RUN(&r, "addr", "check", "--address", address);
	doc = json_loads(r.out, 0, NULL);
	if (r.code != (want ? 0 : 1) || doc == NULL ||
	    json_is_true(json_object_get(doc, "smtp_valid")) != want ||
	    !json_is_string(json_object_get(doc, "reason")))
		fail_msg("%s: code %d, %s", address, r.code, r.out);
	assert_string_equal(strchr(r.out, '\n'), "\n"); /* one line */
	json_decref(doc);
	run_done(&r);
}

static void
test_one(void **state)
{
	char longest[400];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++)
		check_one(corpus[i].address, corpus[i].want);
	memset(longest, 'a', sizeof(longest));
	memcpy(longest + 64, "@b.example", 11);
	check_one(longest, true);
	memset(longest, 'a', 65);
	memcpy(longest + 65, "@b.example", 11);
	check_one(longest, false);
}

/* The same rows as JSON lines: in order, ids of any kind echoed. */
static void
test_lines(void **state)
{
	size_t i, n = sizeof(corpus) / sizeof(corpus[0]), len;
	char *in = NULL, *line, *save = NULL;
	json_t *doc;
	struct run r;
	FILE *f = open_memstream(&in, &len);

	(void)state;
	for (i = 0; i < n; i++) {
		doc = i % 2 == 0 ? json_pack("{s:i, s:s}", "id", (int)i,
				       "address", corpus[i].address)
				 : json_pack("{s:s, s:{s:i}}", "address",
				       corpus[i].address, "id", "n", (int)i);
		(void)json_dumpf(doc, f, JSON_COMPACT);
		(void)fputs(i % 3 == 0 ? "\r\n" : "\n", f);
		json_decref(doc);
	}
	(void)fputs("\n   \n", f); /* blank lines ask nothing */
	(void)fclose(f);
	run_ctl(&r, in, len,
	    (const char *const[]){ "addr", "check", "--stdin", NULL });
	assert_int_equal(r.code, 1);
	line = strtok_r(r.out, "\n", &save);
	for (i = 0; i < n; i++, line = strtok_r(NULL, "\n", &save)) {
		assert_non_null(line);
		doc = json_loads(line, 0, NULL);
		if (json_is_true(json_object_get(doc, "smtp_valid")) !=
		    corpus[i].want)
			fail_msg("%s", line);
		if (i % 2 == 0)
			assert_int_equal(
			    json_integer_value(json_object_get(doc, "id")), i);
		else
			assert_int_equal(json_integer_value(json_object_get(
					     json_object_get(doc, "id"), "n")),
			    i);
		json_decref(doc);
	}
	assert_null(line);
	free(in);
	run_done(&r);
}

static void
test_wrong_lines(void **state)
{
	static const struct {
		const char *in, *want; /* a part of the answer */
		int code;
	} rows[] = {
		{ "{\"address\":\"a@b\"}", "\"smtp_valid\":true", 0 },
		{ "{\"address\":\"a@b\"}\n", "\"smtp_valid\":true", 0 },
		{ "{\"address\":\"a\\u0000@b\"}\n", "\"smtp_valid\":false", 1 },
		{ "{\"address\":\"a@b\",\"x\":1,\"id\":\"7\"}\n",
		    "\"id\":\"7\"", 2 },
		{ "{\"address\":\"a@b\",\"x\":1}\n", "unknown field", 2 },
		{ "{\"address\":5}\n", "no string", 2 },
		{ "{\"id\":5}\n", "no field", 2 },
		{ "{\"address\":\"a\",\"address\":\"b\"}\n", "duplicate", 2 },
		{ "[]\n", "not a JSON object", 2 },
		{ "a@b\n", "\"line\":1", 2 },
		{ "{\"address\":\"\xff\"}\n", "error", 2 },
		{ "{\"address\":\"a@b\"} {}\n", "error", 2 },
	};
	struct run r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		run_ctl(&r, rows[i].in, strlen(rows[i].in),
		    (const char *const[]){ "addr", "check", "--stdin", NULL });
		if (r.code != rows[i].code ||
		    strstr(r.out, rows[i].want) == NULL)
			fail_msg("%s: %d %s", rows[i].in, r.code, r.out);
		run_done(&r);
	}
	/* after a bad line the next one is answered */
	run_ctl(&r, "x\n{\"address\":\"a@b\"}\n", 20,
	    (const char *const[]){ "addr", "check", "--stdin", NULL });
	assert_int_equal(r.code, 2);
	assert_non_null(strstr(r.out, "\"smtp_valid\":true"));
	run_done(&r);
}

static void
test_long_line(void **state)
{
	size_t len = 1024 * 1024 + 100;
	char *in = malloc(len + 32);
	struct run r;

	(void)state;
	memset(in, 'x', len);
	memcpy(in + len, "\n{\"address\":\"a@b\"}\n", 20);
	run_ctl(&r, in, len + 19,
	    (const char *const[]){ "addr", "check", "--stdin", NULL });
	assert_int_equal(r.code, 2);
	assert_non_null(strstr(r.out, "over 1 MiB"));
	assert_non_null(strstr(r.out, "\"smtp_valid\":true"));
	run_done(&r);
	free(in);
}

static void
test_wrong_calls(void **state)
{
	struct run r;

	(void)state;
	RUN(&r, "addr", "check");
	assert_int_equal(r.code, 2);
	assert_string_equal(r.out, "");
	run_done(&r);
	RUN(&r, "addr", "check", "--stdin", "--address", "a@b");
	assert_int_equal(r.code, 2);
	run_done(&r);
	RUN(&r, "addr", "check", "a@b");
	assert_int_equal(r.code, 2);
	run_done(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_wrong_lines),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_wrong_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
