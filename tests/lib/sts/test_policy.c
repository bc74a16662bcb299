/*
 * test_policy.c - policy texts. Row names begin with the line of the checklist
 * that they hold (docs/mta-sts.md).
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
#include "lib/sts/policy.h"

#define HEAD	"version: STSv1\nmode: enforce\n"
#define AGE	"max_age: 86400\n"
#define GOOD	HEAD AGE "mx: a.example\n"
#define T(text) text, sizeof(text) - 1

static const struct {
	const char *name;
	const char *text;
	size_t len;
	const char *want; /* "mode max_age: patterns", or NULL: invalid */
} cases[] = {
	{ "STS-14 LF", T(GOOD), "enforce 86400: a.example" },
	{ "STS-14 CRLF",
	    T("version: STSv1\r\nmode: enforce\r\nmax_age: 1\r\nmx: "
	      "a.example\r\n"),
	    "enforce 1: a.example" },
	{ "STS-14 mixed",
	    T("version: STSv1\r\nmode: enforce\nmax_age: 1\r\n"
	      "mx: a.example"),
	    "enforce 1: a.example" },
	{ "STS-14 last line without its end",
	    T(HEAD "mx: a.example\nmax_age: "
		   "5"),
	    "enforce 5: a.example" },
	{ "STS-14 blank lines are passed over",
	    T("\nversion: STSv1\n\nmode: enforce\n \t\nmax_age: 1\r\n\r\nmx: "
	      "a.example\n\n"),
	    "enforce 1: a.example" },
	{ "STS-15 version last",
	    T("mode: enforce\n" AGE "mx: a.example\nversion: STSv1\n"),
	    "enforce 86400: a.example" },
	{ "STS-15 no version", T("mode: enforce\n" AGE "mx: a.example\n"),
	    NULL },
	{ "STS-15 another version",
	    T("version: STSv2\nmode: enforce\n" AGE "mx: a.example\n"), NULL },
	{ "STS-15 version in another case",
	    T("version: stsv1\nmode: enforce\n" AGE "mx: a.example\n"), NULL },
	{ "STS-15 its name in another case",
	    T("Version: STSv1\nmode: enforce\n" AGE "mx: a.example\n"), NULL },
	{ "STS-16 testing",
	    T("version: STSv1\nmode: testing\n" AGE "mx: a.example\n"),
	    "testing 86400: a.example" },
	{ "STS-16 none", T("version: STSv1\nmode: none\n" AGE),
	    "none 86400: " },
	{ "STS-16 no mode", T("version: STSv1\n" AGE "mx: a.example\n"), NULL },
	{ "STS-16 upper case",
	    T("version: STSv1\nmode: Enforce\n" AGE "mx: a.example\n"), NULL },
	{ "STS-16 empty", T("version: STSv1\nmode:\n" AGE "mx: a.example\n"),
	    NULL },
	{ "STS-16 report is no mode any more",
	    T("version: STSv1\nmode: report\n" AGE "mx: a.example\n"), NULL },
	{ "STS-17 no mx", T(HEAD AGE), NULL },
	{ "STS-17 no mx in testing", T("version: STSv1\nmode: testing\n" AGE),
	    NULL },
	{ "STS-17 none may have mx",
	    T("version: STSv1\nmode: none\n" AGE "mx: a.example\n"),
	    "none 86400: a.example" },
	{ "STS-17 mx without a value", T(HEAD AGE "mx: \n"), NULL },
	{ "STS-17 order of the text",
	    T(HEAD "mx: b.example\n" AGE "mx: *.a.example\nmx: a.example\n"),
	    "enforce 86400: b.example, *.a.example, a.example" },
	{ "STS-18 first mode counts", T(GOOD "mode: none\n"),
	    "enforce 86400: a.example" },
	{ "STS-18 first max_age counts", T(GOOD "max_age: 1\n"),
	    "enforce 86400: a.example" },
	{ "STS-18 later ones may be malformed",
	    T(GOOD "mode: x\nmax_age: y\nversion: z\n"),
	    "enforce 86400: a.example" },
	{ "STS-18 the first may not",
	    T("version: STSv1\nmode: x\nmode: enforce\n" AGE "mx: a.example\n"),
	    NULL },
	{ "STS-19 no max_age", T(HEAD "mx: a.example\n"), NULL },
	{ "STS-19 zero", T(HEAD "max_age: 0\nmx: a.example\n"),
	    "enforce 0: a.example" },
	{ "STS-19 leading zeros",
	    T(HEAD "max_age: 0000000060\nmx: "
		   "a.example\n"),
	    "enforce 60: a.example" },
	{ "STS-19 sign", T(HEAD "max_age: +1\nmx: a.example\n"), NULL },
	{ "STS-19 negative", T(HEAD "max_age: -1\nmx: a.example\n"), NULL },
	{ "STS-19 fraction", T(HEAD "max_age: 1.5\nmx: a.example\n"), NULL },
	{ "STS-19 empty", T(HEAD "max_age:\nmx: a.example\n"), NULL },
	{ "STS-19 hexadecimal", T(HEAD "max_age: 0x10\nmx: a.example\n"),
	    NULL },
	{ "STS-19 eleven digits",
	    T(HEAD "max_age: 00000000001\nmx: "
		   "a.example\n"),
	    NULL },
	{ "STS-20 a year", T(HEAD "max_age: 31557600\nmx: a.example\n"),
	    "enforce 31557600: a.example" },
	{ "STS-20 more is cut", T(HEAD "max_age: 31557601\nmx: a.example\n"),
	    "enforce 31557600: a.example" },
	{ "STS-20 ten digits are cut",
	    T(HEAD "max_age: 9999999999\nmx: "
		   "a.example\n"),
	    "enforce 31557600: a.example" },
	{ "STS-21 unknown fields", T(GOOD "x-new_field.1: some: thing: else\n"),
	    "enforce 86400: a.example" },
	{ "STS-21 their values may be UTF-8",
	    T(GOOD "note: gr\xc3\xbc\xc3\x9f "
		   "dich\n"),
	    "enforce 86400: a.example" },
	{ "STS-21 not UTF-8", T(GOOD "note: \xfc\n"), NULL },
	{ "STS-21 names of 33",
	    T(GOOD "a23456789012345678901234567890123: x\n"), NULL },
	{ "STS-21 names of 32", T(GOOD "a2345678901234567890123456789012: x\n"),
	    "enforce 86400: a.example" },
	{ "STS-21 name starts wrongly", T(GOOD "-a: x\n"), NULL },
	{ "STS-22 no space behind ':'",
	    T("version:STSv1\nmode:enforce\nmax_age:1\nmx:a.example\n"),
	    "enforce 1: a.example" },
	{ "STS-22 space and tab behind ':' and at the end",
	    T("version: \t STSv1 \t\nmode:  enforce\t\nmax_age: 1 \nmx:\t"
	      "a.example  \n"),
	    "enforce 1: a.example" },
	{ "STS-22 space before ':'",
	    T("version : STSv1\nmode: enforce\n" AGE "mx: a.example\n"), NULL },
	{ "STS-22 space before the name", T(GOOD " x: y\n"), NULL },
	{ "STS-23 what never matches does not spoil the rest",
	    T(HEAD AGE "mx: *\nmx: a.example\n"),
	    "enforce 86400: *, a.example" },
	{ "STS-23 a U-label is mapped",
	    T(HEAD AGE "mx: *.b\xc3\xbc"
		       "cher.example\n"),
	    "enforce 86400: *.xn--bcher-kva.example" },
	{ "STS-24 HTML", T("<html><body>not found</body></html>\n"), NULL },
	{ "STS-24 JSON", T("{\"version\": \"STSv1\"}\n"), NULL },
	{ "STS-24 empty", T(""), NULL },
	{ "STS-24 one newline", T("\n"), NULL },
	{ "STS-24 a line without ':'", T(GOOD "hello\n"), NULL },
	{ "STS-24 a line that starts with ':'", T(GOOD ": x\n"), NULL },
	{ "STS-24 NUL at the end", T(GOOD "\0"), NULL },
	{ "STS-24 NUL in a value", T(HEAD AGE "mx: a.example\0.b\n"), NULL },
	{ "STS-24 NUL ends no line",
	    T("version: STSv1\0mode: enforce\0max_age: 1\0mx: a.example\n"),
	    NULL },
	{ "STS-24 bare CR",
	    T("version: STSv1\rmode: enforce\rmax_age: 1\rmx: "
	      "a.example\r"),
	    NULL },
	{ "STS-24 bare CR in a value", T(GOOD "x: a\rb\n"), NULL },
	{ "STS-24 CR at the very end", T(GOOD "\r"), NULL },
	{ "STS-24 escape", T(GOOD "x: \x1b[2J\n"), NULL },
	{ "STS-24 DEL", T(GOOD "x: \x7f\n"), NULL },
	{ "STS-24 vertical tab", T(GOOD "\v"), NULL },
	{ "STS-24 byte order mark", T("\xef\xbb\xbf" GOOD), NULL },
	{ "STS-24 UTF-16", T("v\0e\0r\0s\0i\0o\0n\0"), NULL },
};

static void
check(size_t i)
{
	struct sts_policy p;
	char got[512], list[400], reason[128];
	char *copy = malloc(cases[i].len); /* its bounds are watched */
	int r;

	if (cases[i].len > 0)
		memcpy(copy, cases[i].text, cases[i].len);
	r = sts_policy_parse(copy, cases[i].len, &p, reason, sizeof(reason));
	free(copy);
	if (r == 0)
		(void)snprintf(got, sizeof(got), "%s %u: %s",
		    sts_mode_word(p.mode), p.max_age_s,
		    sts_list_text(p.list, p.list_len, list, sizeof(list)));
	else
		(void)snprintf(got, sizeof(got), "invalid (%s)", reason);
	if (cases[i].want == NULL ? r != PE_SYNTAX || reason[0] == '\0'
				  : strcmp(got, cases[i].want) != 0)
		fail_msg("%s: %s", cases[i].name, got);
	sts_policy_done(&p);
}

static void
test_cases(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(i);
}

/* STS-29: up to the bound, not a byte more; the list has one too. */
static void
test_bounds(void **state)
{
	char *text = malloc(STS_TEXT_MAX + 1), reason[128];
	size_t n = sizeof(GOOD) - 1, i;
	struct sts_policy p;

	(void)state;
	memset(text, '\n', STS_TEXT_MAX + 1);
	memcpy(text, GOOD, n);
	assert_int_equal(sts_policy_parse(text, STS_TEXT_MAX, &p, NULL, 0), 0);
	sts_policy_done(&p);
	assert_int_equal(sts_policy_parse(text, STS_TEXT_MAX + 1, &p, reason,
			     sizeof(reason)),
	    PE_TOO_LONG);
	assert_null(p.list);
	assert_string_equal(reason, "over 65536 bytes");

	/* as many patterns as fit */
	for (i = n; i + 5 <= STS_TEXT_MAX; i += 5)
		memcpy(text + i, "mx:a\n", 5);
	assert_int_equal(sts_policy_parse(text, STS_TEXT_MAX, &p, NULL, 0), 0);
	assert_int_equal(p.n_mx, (STS_TEXT_MAX - n) / 5 + 1);
	sts_policy_done(&p);

	/* U-labels that grow over it */
	for (i = n; i + 7 <= STS_TEXT_MAX; i += 7)
		memcpy(text + i, "mx:\xc3\xbc.\n", 7);
	for (i = n; i + 8 <= STS_TEXT_MAX; i += 8)
		memcpy(text + i, "mx:\xc3\xbc.a\n", 8);
	memset(text + i, '\n', STS_TEXT_MAX - i);
	assert_int_equal(
	    sts_policy_parse(text, STS_TEXT_MAX, &p, reason, sizeof(reason)),
	    PE_SYNTAX);
	assert_non_null(strstr(reason, "too many patterns"));
	free(text);
}

static void
test_list(void **state)
{
	static const char list[] = "a.example\0*.b.example\0c";
	char buf[64];
	size_t at = 0;

	(void)state;
	assert_string_equal(
	    sts_list_next(list, sizeof(list), &at), "a.example");
	assert_string_equal(
	    sts_list_next(list, sizeof(list), &at), "*.b.example");
	assert_string_equal(sts_list_next(list, sizeof(list), &at), "c");
	assert_null(sts_list_next(list, sizeof(list), &at));
	at = 0;
	assert_null(sts_list_next(NULL, 0, &at));
	/* one that is not ended */
	assert_null(sts_list_next(list, 4, &at));
	assert_string_equal(sts_list_text(list, sizeof(list), buf, sizeof(buf)),
	    "a.example, *.b.example, c");
	assert_string_equal(
	    sts_list_text(list, sizeof(list), buf, 16), "a.example, ...");
	assert_string_equal(sts_list_text("\x1b\0", 2, buf, 16), "?");
	assert_string_equal(sts_list_text(NULL, 0, buf, 16), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
