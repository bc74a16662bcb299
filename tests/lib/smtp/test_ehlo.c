/*
 * test_ehlo.c - what an EHLO reply offers, and our own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/reply.h"

#define LIMITS_OF(e) (e).mailmax, (e).rcptmax, (e).rcptdomainmax

static const struct {
	const char *in, *host;
	uint32_t ext;
	const char *auth;
	uint64_t size;
	uint32_t mailmax, rcptmax, rcptdomainmax;
} cases[] = {
	{ "250 mx.example.com\r\n", "mx.example.com", 0, "", 0, 0, 0, 0 },
	{ "250\r\n", "", 0, "", 0, 0, 0, 0 },
	{ "250-mx.example.com at your service, [192.0.2.1]\r\n"
	  "250-SIZE 35882577\r\n250-8BITMIME\r\n250-STARTTLS\r\n"
	  "250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-CHUNKING\r\n"
	  "250 SMTPUTF8\r\n",
	    "mx.example.com",
	    SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_STARTTLS |
		SMTP_EXT_ENHANCEDSTATUSCODES | SMTP_EXT_PIPELINING |
		SMTP_EXT_CHUNKING | SMTP_EXT_SMTPUTF8,
	    "", 35882577, 0, 0, 0 },
	/* any case, unknown keywords, parameters nobody asked for */
	{ "250-h\r\n250-pipelining\r\n250-X-FOO bar\r\n250-Dsn\r\n"
	  "250-BinaryMime x\r\n250 requiretls\r\n",
	    "h",
	    SMTP_EXT_PIPELINING | SMTP_EXT_DSN | SMTP_EXT_BINARYMIME |
		SMTP_EXT_REQUIRETLS,
	    "", 0, 0, 0, 0 },
	/* the first line is no keyword */
	{ "250-PIPELINING\r\n250 DSN\r\n", "PIPELINING", SMTP_EXT_DSN, "", 0, 0,
	    0, 0 },
	{ "250-h\r\n250-SIZE\r\n250 X\r\n", "h", SMTP_EXT_SIZE, "", 0, 0, 0,
	    0 },
	{ "250-h\r\n250 SIZE 0\r\n", "h", SMTP_EXT_SIZE, "", 0, 0, 0, 0 },
	{ "250-h\r\n250 SIZE 10k\r\n", "h", 0, "", 0, 0, 0, 0 },
	{ "250-h\r\n250 SIZE -1\r\n", "h", 0, "", 0, 0, 0, 0 },
	{ "250-h\r\n250 SIZE 1 2\r\n", "h", 0, "", 0, 0, 0, 0 },
	{ "250-h\r\n250 SIZE 99999999999999999999\r\n", "h", SMTP_EXT_SIZE, "",
	    UINT64_MAX, 0, 0, 0 },
	{ "250-h\r\n250 SIZE 100000000000000000000\r\n", "h", 0, "", 0, 0, 0,
	    0 },
	{ "250-h\r\n250-SIZE 5\r\n250 SIZE 7\r\n", "h", SMTP_EXT_SIZE, "", 5, 0,
	    0, 0 },
	/* AUTH in its forms */
	{ "250-h\r\n250 AUTH PLAIN login\r\n", "h", SMTP_EXT_AUTH,
	    "PLAIN LOGIN", 0, 0, 0, 0 },
	{ "250-h\r\n250-AUTH PLAIN\r\n250-AUTH=LOGIN PLAIN\r\n250 AUTH "
	  "SCRAM-SHA-256\r\n",
	    "h", SMTP_EXT_AUTH, "PLAIN LOGIN SCRAM-SHA-256", 0, 0, 0, 0 },
	{ "250-h\r\n250 AUTH\r\n", "h", SMTP_EXT_AUTH, "", 0, 0, 0, 0 },
	{ "250-h\r\n250 AUTH P@AIN LOGIN AAAAAAAAAAAAAAAAAAAAA\r\n", "h",
	    SMTP_EXT_AUTH, "LOGIN", 0, 0, 0, 0 },
	/* LIMITS (LIM-01) */
	{ "250-h\r\n250 LIMITS MAILMAX=5 RCPTMAX=20 RCPTDOMAINMAX=1\r\n", "h",
	    SMTP_EXT_LIMITS, "", 0, 5, 20, 1 },
	{ "250-h\r\n250 limits rcptmax=999999 X-NEW=a:b FLAG\r\n", "h",
	    SMTP_EXT_LIMITS, "", 0, 0, 999999, 0 },
	{ "250-h\r\n250 LIMITS RCPTMAX=x MAILMAX=3\r\n", "h", SMTP_EXT_LIMITS,
	    "", 0, 3, 0, 0 },
	{ "250-h\r\n250 LIMITS RCPTMAX=0 MAILMAX=01 RCPTDOMAINMAX=1000000\r\n",
	    "h", SMTP_EXT_LIMITS, "", 0, 0, 0, 0 },
	{ "250-h\r\n250 LIMITS RCPTMAX=5 =6\r\n", "h", 0, "", 0, 0, 0, 0 },
	{ "250-h\r\n250 LIMITS RCPTMAX=5 MAILMAX=\r\n", "h", 0, "", 0, 0, 0,
	    0 },
	{ "250-h\r\n250 LIMITS RCPTMAX=5;MAILMAX=1\r\n", "h", 0, "", 0, 0, 0,
	    0 },
	{ "250-h\r\n250 LIMITS RCPT*MAX=5 MAILMAX=1\r\n", "h", 0, "", 0, 0, 0,
	    0 },
	/* a name that is none is not kept */
	{ "250-h\x01i\r\n250 DSN\r\n", "", SMTP_EXT_DSN, "", 0, 0, 0, 0 },
	/* a word that only begins like a keyword */
	{ "250-h\r\n250-DSNX\r\n250 STARTTLS2\r\n", "h", 0, "", 0, 0, 0, 0 },
};

static void
test_parse(void **state)
{
	struct smtp_reply r;
	struct smtp_ehlo e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(
		    smtp_reply_parse(cases[i].in, strlen(cases[i].in), &r),
		    strlen(cases[i].in));
		assert_int_equal(smtp_ehlo_parse(&r, &e), 0);
		assert_string_equal(e.host, cases[i].host);
		if (e.ext != cases[i].ext)
			fail_msg("%s: ext %x, wanted %x", cases[i].in, e.ext,
			    cases[i].ext);
		assert_string_equal(e.auth, cases[i].auth);
		assert_int_equal(e.size, cases[i].size);
		if (e.mailmax != cases[i].mailmax ||
		    e.rcptmax != cases[i].rcptmax ||
		    e.rcptdomainmax != cases[i].rcptdomainmax)
			fail_msg(
			    "%s: limits %u %u %u", cases[i].in, LIMITS_OF(e));
	}
}

static void
test_refused(void **state)
{
	struct smtp_reply r;
	struct smtp_ehlo e;

	(void)state;
	assert_int_equal(smtp_reply_parse("550-h\r\n550 DSN\r\n", 16, &r), 16);
	assert_int_equal(smtp_ehlo_parse(&r, &e), PE_SYNTAX);
	assert_int_equal(e.ext, 0);
}

static void
test_auth(void **state)
{
	struct smtp_ehlo e = { .auth = "PLAIN SCRAM-SHA-256 LOGIN" };

	(void)state;
	assert_true(smtp_ehlo_has_auth(&e, "PLAIN"));
	assert_true(smtp_ehlo_has_auth(&e, "LOGIN"));
	assert_false(smtp_ehlo_has_auth(&e, "SCRAM-SHA-1"));
	assert_false(smtp_ehlo_has_auth(&e, "PLAI"));
	assert_false(smtp_ehlo_has_auth(&e, ""));
}

/* More mechanisms than are kept: the list ends on a whole name. */
static void
test_auth_bound(void **state)
{
	struct smtp_reply r;
	struct smtp_ehlo e;
	char line[2048];
	size_t n, i;

	(void)state;
	n = (size_t)snprintf(line, sizeof(line), "250-h\r\n250 AUTH");
	for (i = 0; i < 100; i++)
		n += (size_t)snprintf(
		    line + n, sizeof(line) - n, " MECHANISM-%05zu", i);
	n += (size_t)snprintf(line + n, sizeof(line) - n, "\r\n");
	assert_int_equal(smtp_reply_parse(line, n, &r), n);
	assert_int_equal(smtp_ehlo_parse(&r, &e), 0);
	assert_true(strlen(e.auth) <= SMTP_EHLO_AUTH_MAX);
	assert_true(strlen(e.auth) > SMTP_EHLO_AUTH_MAX - 17);
	assert_true(smtp_ehlo_has_auth(&e, "MECHANISM-00000"));
	assert_int_equal((strlen(e.auth) + 1) % 16, 0);
}

static void
test_format(void **state)
{
	static const char want[] =
	    "250-gw1.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n"
	    "250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-CHUNKING\r\n"
	    "250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n"
	    "250-AUTH PLAIN LOGIN\r\n250 LIMITS MAILMAX=10 RCPTMAX=1000\r\n";
	struct smtp_ehlo ours = { .host = "gw1.example.net",
		.auth = "PLAIN LOGIN",
		.size = 52428800,
		.mailmax = 10,
		.rcptmax = 1000,
		.ext = SMTP_EXT_ALL &
		    ~(SMTP_EXT_BINARYMIME | SMTP_EXT_REQUIRETLS |
			SMTP_EXT_HELP) };
	struct smtp_ehlo bare = { .host = "h",
		.ext = SMTP_EXT_SIZE | SMTP_EXT_AUTH | SMTP_EXT_LIMITS };
	struct smtp_reply r;
	struct smtp_ehlo back;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(smtp_ehlo_format(&b, &ours), 0);
	assert_int_equal(buf_len(&b), strlen(want));
	assert_memory_equal(buf_data(&b), want, strlen(want));
	assert_int_equal(
	    smtp_reply_parse(buf_data(&b), buf_len(&b), &r), buf_len(&b));
	assert_int_equal(smtp_ehlo_parse(&r, &back), 0);
	assert_memory_equal(&back, &ours, sizeof(back));

	buf_drop(&b, buf_len(&b));
	assert_int_equal(smtp_ehlo_format(&b, &bare), 0);
	assert_int_equal(buf_len(&b), 17);
	assert_memory_equal(buf_data(&b), "250-h\r\n250 SIZE\r\n", 17);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_auth_bound),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
