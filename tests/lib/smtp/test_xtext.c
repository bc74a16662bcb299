/*
 * test_xtext.c - xtext and the UTF-8 address forms, there and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/smtp/xtext.h"

static void
test_encode(void **state)
{
	char out[32];

	(void)state;
	assert_int_equal(smtp_xtext_encode("a+b=c d", 7, out, sizeof(out)), 13);
	assert_string_equal(out, "a+2Bb+3Dc+20d");
	assert_int_equal(smtp_xtext_encode("\xff\0~", 3, out, sizeof(out)), 7);
	assert_string_equal(out, "+FF+00~");
	assert_int_equal(smtp_xtext_encode("", 0, out, sizeof(out)), 0);
	assert_int_equal(smtp_xtext_encode("", 0, out, 0), PE_TOO_LONG);
	assert_int_equal(smtp_xtext_encode("abc", 3, out, 4), 3);
	assert_int_equal(smtp_xtext_encode("abc", 3, out, 3), PE_TOO_LONG);
	assert_int_equal(smtp_xtext_encode(" ", 1, out, 3), PE_TOO_LONG);
}

static void
test_decode(void **state)
{
	static const struct {
		const char *in;
		ssize_t want;
		const char *text;
	} rows[] = {
		{ "abc", 3, "abc" },
		{ "a+2Bb", 3, "a+b" },
		{ "+3D+20", 2, "= " },
		{ "+C3+A9", 2, "\xc3\xa9" },
		{ "", 0, "" },
		{ "+2b", PE_SYNTAX, "" }, /* lower case */
		{ "+2", PE_SYNTAX, "" },
		{ "+", PE_SYNTAX, "" },
		{ "+GG", PE_SYNTAX, "" },
		{ "a b", PE_SYNTAX, "" },
		{ "a=b", PE_SYNTAX, "" },
		{ "\xc3\xa9", PE_SYNTAX, "" },
		{ "a\x7f", PE_SYNTAX, "" },
		{ "+0D", PE_SYNTAX, "" },
		{ "+0A", PE_SYNTAX, "" },
		{ "+00", PE_SYNTAX, "" },
		{ "+09", 1, "\t" },
	};
	char out[32];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (smtp_xtext_decode(rows[i].in, strlen(rows[i].in), out,
			sizeof(out)) != rows[i].want)
			fail_msg("%s", rows[i].in);
		if (rows[i].want >= 0)
			assert_string_equal(out, rows[i].text);
		assert_int_equal(
		    smtp_xtext_valid(rows[i].in, strlen(rows[i].in)),
		    rows[i].want >= 0);
	}
	assert_int_equal(smtp_xtext_decode("abc", 3, out, 3), PE_TOO_LONG);
	assert_int_equal(smtp_xtext_decode("", 0, out, 0), PE_TOO_LONG);
}

static void
test_utf8(void **state)
{
	static const struct {
		const char *in;
		ssize_t want;
		const char *text;
	} rows[] = {
		{ "a@b", 3, "a@b" },
		{ "\\x{E9}@x", 4, "\xc3\xa9@x" },
		{ "\\x{1F600}", 4, "\xf0\x9f\x98\x80" },
		{ "\\x{10FFFF}", 4, "\xf4\x8f\xbf\xbf" },
		{ "\xc3\xa9@x", 4, "\xc3\xa9@x" },
		{ "a\\x{2B}b\\x{3D}\\x{5C}", 5, "a+b=\\" },
		{ "\\x{20}", 1, " " },
		{ "\\x{41}", PE_SYNTAX, "" }, /* needs no escape */
		{ "\\x{e9}", PE_SYNTAX, "" },
		{ "\\x{D800}", PE_SYNTAX, "" },
		{ "\\x{110000}", PE_SYNTAX, "" },
		{ "\\x{00E9}", PE_SYNTAX, "" },
		{ "\\x{9}", PE_SYNTAX, "" },
		{ "\\x{0A}", PE_SYNTAX, "" },
		{ "\\x{85}", PE_SYNTAX, "" },
		{ "\\x{E9", PE_SYNTAX, "" },
		{ "\\", PE_SYNTAX, "" },
		{ "a+b", PE_SYNTAX, "" },
		{ "a b", PE_SYNTAX, "" },
		{ "\xff", PE_SYNTAX, "" },
	};
	char out[64], back[64];
	ssize_t n, m;
	size_t i;
	int ascii;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = smtp_utf8_addr_decode(
		    rows[i].in, strlen(rows[i].in), out, sizeof(out));
		if (n != rows[i].want)
			fail_msg("%s: %zd", rows[i].in, n);
		if (n < 0)
			continue;
		assert_string_equal(out, rows[i].text);
		for (ascii = 0; ascii < 2; ascii++) {
			m = smtp_utf8_addr_encode(
			    out, (size_t)n, ascii, back, sizeof(back));
			assert_true(m > 0);
			m = smtp_utf8_addr_decode(
			    back, (size_t)m, out, sizeof(out));
			assert_int_equal(m, n);
			assert_string_equal(out, rows[i].text);
		}
	}
	assert_int_equal(
	    smtp_utf8_addr_encode("\xc3\xa9", 2, true, out, 64), 6);
	assert_string_equal(out, "\\x{E9}");
	assert_int_equal(
	    smtp_utf8_addr_encode("\xc3\xa9", 2, true, out, 6), PE_TOO_LONG);
	assert_int_equal(
	    smtp_utf8_addr_encode("\xc3", 1, true, out, 64), PE_SYNTAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
