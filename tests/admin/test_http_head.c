/*
 * test_http_head.c - which request heads pass, whole and a byte at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "admin/http_head.h"

#define H "Host: a\r\n"

static const struct {
	const char *name, *in;
	size_t len; /* 0: strlen */
	uint16_t want;
	uint64_t want_body;
} cases[] = {
	{ "plain", "GET / HTTP/1.1\r\n" H "\r\n", 0, 0, 0 },
	{ "1.0 without Host", "GET /metrics HTTP/1.0\r\n\r\n", 0, 0, 0 },
	{ "with body",
	    "POST /v1/hold HTTP/1.1\r\n" H "Content-Length: 12\r\n\r\n", 0, 0,
	    12 },
	{ "blanks around the value",
	    "POST / HTTP/1.1\r\n" H "content-length: \t7 \r\n\r\n", 0, 0, 7 },
	{ "IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]:8025\r\n\r\n", 0, 0, 0 },
	{ "expect",
	    "POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\n"
	    "Content-Length: 1\r\n\r\n",
	    0, 0, 1 },
	{ "TE and CL",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n",
	    0, 400, 0 },
	{ "CL and TE",
	    "POST / HTTP/1.1\r\n" H "tRansfer-encoding: x\r\n"
	    "Content-Length: 4\r\n\r\n",
	    0, 400, 0 },
	{ "TE", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 0,
	    501, 0 },
	{ "two CL",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\n"
	    "Content-Length: 4\r\n\r\n",
	    0, 400, 0 },
	{ "CL list", "POST / HTTP/1.1\r\n" H "Content-Length: 4, 4\r\n\r\n", 0,
	    400, 0 },
	{ "CL sign", "POST / HTTP/1.1\r\n" H "Content-Length: +4\r\n\r\n", 0,
	    400, 0 },
	{ "CL empty", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 0, 400,
	    0 },
	{ "CL huge",
	    "POST / HTTP/1.1\r\n" H
	    "Content-Length: 99999999999999999999999\r\n\r\n",
	    0, 413, 0 },
	{ "CL over", "POST / HTTP/1.1\r\n" H "Content-Length: 1048577\r\n\r\n",
	    0, 413, 0 },
	{ "CL at the bound",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 1048576\r\n\r\n", 0, 0,
	    1048576 },
	{ "folded", "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 0, 400, 0 },
	{ "folded tab", "GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", 0, 400,
	    0 },
	{ "folded first", "GET / HTTP/1.1\r\n A: b\r\n" H "\r\n", 0, 400, 0 },
	{ "blank before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 0, 400,
	    0 },
	{ "no colon", "GET / HTTP/1.1\r\n" H "abc\r\n\r\n", 0, 400, 0 },
	{ "no name", "GET / HTTP/1.1\r\n" H ": b\r\n\r\n", 0, 400, 0 },
	{ "NUL", "GET / HTTP/1.1\r\n" H "A: b\0c\r\n\r\n", 35, 400, 0 },
	{ "NUL in the target", "GET /a%00b HTTP/1.1\r\n" H "\r\n", 0, 400, 0 },
	{ "bare LF", "GET / HTTP/1.1\n" H "\r\n", 0, 400, 0 },
	{ "bare LFs", "GET / HTTP/1.1\nHost: a\n\n", 0, 400, 0 },
	{ "bare CR", "GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", 0, 400, 0 },
	{ "control", "GET / HTTP/1.1\r\n" H "A: b\x01\r\n\r\n", 0, 400, 0 },
	{ "no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 0, 400, 0 },
	{ "two Hosts", "GET / HTTP/1.1\r\n" H "host: a\r\n\r\n", 0, 400, 0 },
	{ "empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", 0, 400, 0 },
	{ "Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, 400,
	    0 },
	{ "two Hosts in 1.0", "GET / HTTP/1.0\r\n" H H "\r\n", 0, 400, 0 },
	{ "0.9", "GET /\r\n\r\n", 0, 400, 0 },
	{ "2.0", "GET / HTTP/2.0\r\n" H "\r\n", 0, 505, 0 },
	{ "two blanks", "GET  / HTTP/1.1\r\n" H "\r\n", 0, 400, 0 },
	{ "method", "BREW / HTTP/1.1\r\n" H "\r\n", 0, 501, 0 },
	{ "TRACE", "TRACE / HTTP/1.1\r\n" H "\r\n", 0, 501, 0 },
	{ "lower case method", "get / HTTP/1.1\r\n" H "\r\n", 0, 501, 0 },
	{ "absolute form", "GET http://a/ HTTP/1.1\r\n" H "\r\n", 0, 400, 0 },
	{ "8 bit target", "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", 0, 400, 0 },
	{ "empty line first", "\r\nGET / HTTP/1.1\r\n" H "\r\n", 0, 400, 0 },
	{ "TLS hello", "\x16\x03\x01\x02\x00\x01\x00", 7, 400, 0 },
	{ "expect other", "GET / HTTP/1.1\r\n" H "Expect: x\r\n\r\n", 0, 417,
	    0 },
};

/* As front.c does it: find, then check. 0 when it passes. */
static uint16_t
judge(const char *in, size_t len, size_t step, uint64_t *ret_body)
{
	struct http_head h;
	size_t have, looked = 0;
	ssize_t n = 0;

	for (have = step < len ? step : len;; have += step) {
		if (have > len)
			have = len;
		n = http_head_find((const uint8_t *)in, have, looked, &h);
		if (n != 0 || have == len)
			break;
		looked = have;
	}
	if (n < 0)
		return h.status;
	if (n == 0)
		return 1; /* wants more */
	if (http_head_check((const uint8_t *)in, (size_t)n, &h) < 0)
		return h.status;
	assert_int_equal(h.len, n);
	*ret_body = h.body_len;
	return 0;
}

static void
test_cases(void **state)
{
	size_t i, len;
	uint64_t body;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		len = cases[i].len > 0 ? cases[i].len : strlen(cases[i].in);
		body = 0;
		if (judge(cases[i].in, len, len, &body) != cases[i].want ||
		    body != cases[i].want_body)
			fail_msg("%s: whole", cases[i].name);
		body = 0;
		if (judge(cases[i].in, len, 1, &body) != cases[i].want ||
		    body != cases[i].want_body)
			fail_msg("%s: byte by byte", cases[i].name);
	}
}

static void
test_bounds(void **state)
{
	char in[HTTP_HEAD_MAX + 100];
	struct http_head h;
	uint64_t body;
	size_t n;
	int i;

	(void)state;
	n = (size_t)sprintf(in, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
	memset(in + n, 'x', sizeof(in) - n);
	assert_int_equal(judge(in, HTTP_HEAD_MAX - 1, 4096, &body), 1);
	assert_int_equal(judge(in, HTTP_HEAD_MAX, 4096, &body), 431);
	memcpy(in + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(judge(in, HTTP_HEAD_MAX, 4096, &body), 0);

	n = (size_t)sprintf(in, "GET /");
	memset(in + n, 'x', HTTP_TARGET_MAX);
	(void)sprintf(in + n + HTTP_TARGET_MAX, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(judge(in, strlen(in), 4096, &body), 414);

	n = (size_t)sprintf(in, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (i = 1; i < HTTP_HEADERS_MAX; i++)
		n += (size_t)sprintf(in + n, "A: b\r\n");
	(void)sprintf(in + n, "\r\n");
	assert_int_equal(judge(in, strlen(in), 4096, &body), 0);
	(void)sprintf(in + n, "A: b\r\n\r\n");
	assert_int_equal(judge(in, strlen(in), 4096, &body), 431);

	/* the head ends where it ends, whatever follows */
	assert_int_equal(
	    http_head_find(
		(const uint8_t *)"GET / HTTP/1.0\r\n\r\nGET", 21, 0, &h),
	    18);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
