/*
 * test_txt.c - which _mta-sts record counts, and what it says. Row names begin
 * with the line of the checklist that they hold (docs/mta-sts.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/dns/dns.h"
#include "lib/sts/txt.h"

#define A32 "abcdefghijABCDEFGHIJ0123456789ab"
#define R(text)                        \
	{                              \
		text, sizeof(text) - 1 \
	}

static const struct {
	const char *name;
	struct sts_record rr[4];
	enum sts_txt_outcome want;
	const char *want_id;
} cases[] = {
	{ "STS-03 one record", { R("v=STSv1; id=1") }, STS_TXT_USABLE, "1" },
	{ "STS-03 none", { R("") }, STS_TXT_NONE, "" },
	{ "STS-03 others are dropped before the count",
	    { R("v=spf1 -all"), R("v=STSv1; id=2;"), R("v=STSv2; id=3;") },
	    STS_TXT_USABLE, "2" },
	{ "STS-03 only others", { R("v=spf1 -all"), R("hello") }, STS_TXT_NONE,
	    "" },
	{ "STS-03 not at the start", { R(" v=STSv1; id=1;") }, STS_TXT_NONE,
	    "" },
	{ "STS-03 a version that only begins so", { R("v=STSv10; id=1;") },
	    STS_TXT_NONE, "" },
	{ "STS-04 two", { R("v=STSv1; id=1;"), R("v=STSv1; id=1;") },
	    STS_TXT_NONE, "" },
	{ "STS-04 two, one of them broken",
	    { R("v=STSv1; id=1;"), R("v=STSv1; nonsense") }, STS_TXT_NONE, "" },
	{ "STS-05 malformed does not fall back",
	    { R("v=STSv1; id=;"), R("v=STSv1 ; id=1;") }, STS_TXT_NONE, "" },
	{ "STS-05 nothing behind the version", { R("v=STSv1;") }, STS_TXT_NONE,
	    "" },
	{ "STS-06 version in another case", { R("v=stsv1; id=1;") },
	    STS_TXT_NONE, "" },
	{ "STS-06 version name in another case", { R("V=STSv1; id=1;") },
	    STS_TXT_NONE, "" },
	{ "STS-06 version is not first", { R("id=1; v=STSv1;") }, STS_TXT_NONE,
	    "" },
	{ "STS-06 other fields in any order", { R("v=STSv1; a=b; id=1; c=d;") },
	    STS_TXT_USABLE, "1" },
	{ "STS-07 no id", { R("v=STSv1; a=b;") }, STS_TXT_NONE, "" },
	{ "STS-07 empty id", { R("v=STSv1; id=;") }, STS_TXT_NONE, "" },
	{ "STS-07 32 characters", { R("v=STSv1; id=" A32) }, STS_TXT_USABLE,
	    A32 },
	{ "STS-07 33 characters", { R("v=STSv1; id=" A32 "c") }, STS_TXT_NONE,
	    "" },
	{ "STS-07 other characters", { R("v=STSv1; id=2020-01-01;") },
	    STS_TXT_NONE, "" },
	{ "STS-07 ID is another field", { R("v=STSv1; ID=1;") }, STS_TXT_NONE,
	    "" },
	{ "STS-08 no space", { R("v=STSv1;id=1") }, STS_TXT_USABLE, "1" },
	{ "STS-08 space and tab around the delimiter",
	    { R("v=STSv1; \t id=1 \t ; \t a=b") }, STS_TXT_USABLE, "1" },
	{ "STS-08 delimiter and space at the end", { R("v=STSv1; id=1; ") },
	    STS_TXT_USABLE, "1" },
	{ "STS-08 space at the end without it", { R("v=STSv1; id=1 ") },
	    STS_TXT_NONE, "" },
	{ "STS-08 empty field", { R("v=STSv1; id=1;;") }, STS_TXT_NONE, "" },
	{ "STS-08 empty field first", { R("v=STSv1;; id=1") }, STS_TXT_NONE,
	    "" },
	{ "STS-08 empty field with a space", { R("v=STSv1; id=1; ;") },
	    STS_TXT_NONE, "" },
	{ "STS-08 a comma is none", { R("v=STSv1; id=1, a=b") }, STS_TXT_NONE,
	    "" },
	{ "STS-09 space before the first delimiter: our choice",
	    { R("v=STSv1 ; id=1;") }, STS_TXT_NONE, "" },
	{ "STS-10 unknown fields", { R("v=STSv1; id=1; x-y_z.9=!<~:/;") },
	    STS_TXT_USABLE, "1" },
	{ "STS-10 name of 32", { R("v=STSv1; id=1; " A32 "=x;") },
	    STS_TXT_USABLE, "1" },
	{ "STS-10 name of 33", { R("v=STSv1; id=1; " A32 "c=x;") },
	    STS_TXT_NONE, "" },
	{ "STS-10 name starts wrongly", { R("v=STSv1; id=1; _a=x;") },
	    STS_TXT_NONE, "" },
	{ "STS-10 no '='", { R("v=STSv1; id=1; a;") }, STS_TXT_NONE, "" },
	{ "STS-10 no value", { R("v=STSv1; id=1; a=;") }, STS_TXT_NONE, "" },
	{ "STS-10 '=' in a value", { R("v=STSv1; id=1; a=b=c;") }, STS_TXT_NONE,
	    "" },
	{ "STS-10 space in a value", { R("v=STSv1; id=1; a=b c;") },
	    STS_TXT_NONE, "" },
	{ "STS-10 space before '='", { R("v=STSv1; id =1;") }, STS_TXT_NONE,
	    "" },
	{ "STS-11 the first id counts", { R("v=STSv1; id=1; id=2;") },
	    STS_TXT_USABLE, "1" },
	{ "STS-11 a later one may be malformed", { R("v=STSv1; id=1; id=-;") },
	    STS_TXT_USABLE, "1" },
	{ "STS-11 a first one that is malformed", { R("v=STSv1; id=-; id=2;") },
	    STS_TXT_NONE, "" },
	{ "STS-12 not ASCII", { R("v=STSv1; id=1; a=\xc3\xa4;") }, STS_TXT_NONE,
	    "" },
	{ "STS-12 NUL", { R("v=STSv1; id=1\0; a=b") }, STS_TXT_NONE, "" },
	{ "STS-12 NUL behind the prefix", { R("v=STSv1;\0id=1") }, STS_TXT_NONE,
	    "" },
	{ "STS-12 CR LF", { R("v=STSv1; id=1;\r\n") }, STS_TXT_NONE, "" },
};

static void
test_select(void **state)
{
	struct sts_txt got;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (n = 0; n < 4 && cases[i].rr[n].data != NULL; n++)
			;
		sts_txt_select(cases[i].rr, n, &got);
		if (got.outcome != cases[i].want ||
		    strcmp(got.id, cases[i].want_id) != 0 ||
		    (got.outcome == STS_TXT_USABLE) != (got.reason[0] == '\0'))
			fail_msg("%s: %s, id '%s', %s", cases[i].name,
			    sts_txt_outcome_word(got.outcome), got.id,
			    got.reason);
	}
	sts_txt_select(NULL, 0, &got);
	assert_int_equal(got.outcome, STS_TXT_NONE);
	assert_string_equal(got.reason, "no TXT record");
}

/* STS-13: no answer is not "no record"; STS-02: joined by lib/dns. */
static void
test_answer(void **state)
{
	static const char text[] = "v=STSv1; id=20240101;";
	struct dns_rr rr = { .host = "",
		.data = (const uint8_t *)text,
		.data_len = sizeof(text) - 1 };
	struct dns_answer a = { .state = DNS_INSECURE,
		.kind = DNS_DATA,
		.type = DNS_TXT,
		.name = "_mta-sts.a.example",
		.rrs = &rr,
		.rrs_len = 1 };
	struct sts_txt got;

	(void)state;
	sts_txt_from_answer(&a, &got);
	assert_int_equal(got.outcome, STS_TXT_USABLE);
	assert_string_equal(got.id, "20240101");

	a.rrs_len = 0;
	a.kind = DNS_NXDOMAIN;
	sts_txt_from_answer(&a, &got);
	assert_int_equal(got.outcome, STS_TXT_NONE);
	assert_string_equal(got.reason, "no TXT record (NXDOMAIN)");
	a.kind = DNS_NODATA;
	sts_txt_from_answer(&a, &got);
	assert_int_equal(got.outcome, STS_TXT_NONE);

	a.kind = DNS_NONE;
	a.state = DNS_INDETERMINATE;
	a.why = DNS_WHY_SERVFAIL;
	sts_txt_from_answer(&a, &got);
	assert_int_equal(got.outcome, STS_TXT_TEMPORARY);
	assert_string_equal(got.id, "");
	assert_non_null(strstr(got.reason, "servfail"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
