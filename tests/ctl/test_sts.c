/*
 * test_sts.c - sts txt, parse and match: the contract of scripts and corpora.
 * What the parsers decide is tested in tests/lib/sts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/ctl/run.h"

static void
expect(struct run *r, int code, const char *out)
{
	if (r->code != code || strcmp(r->out, out) != 0)
		fail_msg("code %d: %s%s", r->code, r->out, r->err);
	run_done(r);
}

static void
test_txt(void **state)
{
	struct run r;

	(void)state;
	RUN(&r, "sts", "txt", "--rr", "v=STSv1; ", "id=1;");
	expect(
	    &r, 0, "{\"outcome\":\"usable\",\"reason\":\"\",\"id\":\"1\"}\n");
	RUN(&r, "sts", "txt", "--rr", "v=spf1", "--rr", "v=STSv1;", "id=2");
	expect(
	    &r, 0, "{\"outcome\":\"usable\",\"reason\":\"\",\"id\":\"2\"}\n");
	RUN(&r, "sts", "txt", "--rr", "v=STSv1; id=1", "--rr", "v=STSv1; id=1");
	assert_int_equal(r.code, 1);
	assert_non_null(strstr(r.out, "\"outcome\":\"no-policy\""));
	assert_null(strstr(r.out, "\"id\""));
	run_done(&r);
	RUN(&r, "sts", "txt", "--dns", "SERVFAIL");
	expect(&r, 1,
	    "{\"outcome\":\"temporary-error\",\"reason\":\"TXT lookup "
	    "failed: SERVFAIL\"}\n");
	RUN(&r, "sts", "txt", "--dns", "NXDOMAIN");
	expect(&r, 1,
	    "{\"outcome\":\"no-policy\",\"reason\":\"no TXT record "
	    "(NXDOMAIN)\"}\n");
	RUN(&r, "sts", "txt");
	expect(&r, 2, "");
	RUN(&r, "sts", "txt", "--dns", "OK");
	expect(&r, 2, "");
	RUN(&r, "sts", "txt", "--dns", "NODATA", "--rr", "x");
	expect(&r, 2, "");
	RUN(&r, "sts", "txt", "x");
	expect(&r, 2, "");
}

static void
test_parse(void **state)
{
	char path[] = "/tmp/postern-test-XXXXXX";
	int fd = mkstemp(path);
	struct run r;

	(void)state;
	assert_true(fd >= 0);
	assert_true(dprintf(fd,
			"version: STSv1\nmode: enforce\nmax_age: 60\n"
			"mx: b.example\nmx: *.a.example\n") > 0);
	RUN(&r, "sts", "parse", "--policy-file", path);
	expect(&r, 0,
	    "{\"verdict\":\"valid\",\"mode\":\"enforce\",\"max_age\":60,"
	    "\"mx\":[\"b.example\",\"*.a.example\"],\"reason\":\"\"}\n");
	assert_true(dprintf(fd, "no field\n") > 0);
	RUN(&r, "sts", "parse", "--policy-file", path);
	expect(&r, 1,
	    "{\"verdict\":\"invalid\",\"mode\":null,\"max_age\":null,"
	    "\"mx\":[],\"reason\":\"line 6: no ':' behind the field "
	    "name\"}\n");
	(void)close(fd);
	(void)unlink(path);
	RUN(&r, "sts", "parse", "--policy-file", path);
	expect(&r, 2, "");
	RUN(&r, "sts", "parse");
	expect(&r, 2, "");
}

static void
test_match(void **state)
{
	struct run r;

	(void)state;
	RUN(&r, "sts", "match", "--pattern", "*", "--pattern", "*.a.example",
	    "--mx", "mx.A.example");
	expect(&r, 0, "{\"match\":true,\"pattern\":\"*.a.example\"}\n");
	RUN(&r, "sts", "match", "--pattern", "*", "*.a.example", "--mx",
	    "a.example");
	expect(&r, 1, "{\"match\":false,\"pattern\":null}\n");
	RUN(&r, "sts", "match", "--mx", "a.example");
	expect(&r, 2, "");
	RUN(&r, "sts", "match", "--pattern", "a.example");
	expect(&r, 2, "");
}

/* What a fetch believes is tested in tests/lib/sts/test_fetch.c. */
static void
test_fetch(void **state)
{
	static const char *const wrong[] = { "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:1x",
		"a:1", "[127.0.0.1:1" };
	struct run r;
	size_t i;

	(void)state;
	RUN(&r, "sts", "fetch");
	expect(&r, 2, "");
	RUN(&r, "sts", "fetch", "--domain", "[192.0.2.1]");
	expect(&r, 2, "");
	RUN(&r, "sts", "fetch", "--domain", "a.example", "--connect",
	    "127.0.0.1:1", "--ca", "/nonexistent/ca");
	expect(&r, 2, "");
	RUN(&r, "sts", "fetch", "--domain", "a.example", "--connect",
	    "127.0.0.1:1", "--ca", "/dev/null");
	assert_non_null(strstr(r.err, "no certificate"));
	expect(&r, 2, "");
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		RUN(&r, "sts", "fetch", "--domain", "a.example", "--connect",
		    wrong[i]);
		assert_non_null(strstr(r.err, "wanted IP:PORT"));
		expect(&r, 2, "");
	}
}

static void
test_lines(void **state)
{
	static const struct {
		const char *command, *in, *want;
		int code;
	} rows[] = {
		{ "txt", "{\"id\":\"7\",\"rr\":[[\"v=STSv1; id=1;\"]]}\n",
		    "\"id\":", 0 },
		{ "txt", "{\"rr\":[[\"v=STSv1;\",\" id=1;\"]]}\n",
		    "{\"outcome\":\"usable\",\"reason\":\"\",\"id\":\"1\"}",
		    0 },
		{ "txt", "{\"rr\":[[\"v=STSv1; id=1\\u0000\"]]}\n", "no-policy",
		    1 },
		{ "txt", "{\"rr\":[]}\n", "no TXT record", 1 },
		{ "txt", "{\"rr\":[\"v=STSv1\"]}\n", "each a list", 2 },
		{ "txt", "{\"rr\":[[1]]}\n", "each a list", 2 },
		{ "txt", "{\"rr\":\"x\"}\n", "no list", 2 },
		{ "txt", "{\"dns\":\"SERVFAIL\"}\n", "temporary-error", 1 },
		{ "parse",
		    "{\"policy\":\"version: STSv1\\nmode: none\\nmax_age: "
		    "1\\n\",\"id\":[1]}\n",
		    "\"id\":[1]", 0 },
		{ "parse", "{\"policy\":\"\\u0000\"}\n", "invalid", 1 },
		{ "parse", "{\"policy_file\":\"/nonexistent/x\"}\n",
		    "No such file", 2 },
		{ "match", "{\"pattern\":[\"a.example\"],\"mx\":\"a.example\"}",
		    "\"match\":true", 0 },
		{ "match",
		    "{\"pattern\":[\"a.example\"],"
		    "\"mx\":\"a.example\\u0000b\"}",
		    "\"match\":false", 1 },
		{ "match", "{\"pattern\":[7],\"mx\":\"a.example\"}",
		    "list of strings", 2 },
		{ "match", "{\"mx\":\"a.example\"}", "no field \\\"pattern\\\"",
		    2 },
	};
	struct run r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		run_ctl(&r, rows[i].in, strlen(rows[i].in),
		    (const char *const[]){
			"sts", rows[i].command, "--stdin", NULL });
		if (r.code != rows[i].code ||
		    strstr(r.out, rows[i].want) == NULL)
			fail_msg("%s: %d %s", rows[i].in, r.code, r.out);
		run_done(&r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_txt),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
