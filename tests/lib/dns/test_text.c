/*
 * test_text.c - records for people, and what happens when they do not fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/dns/dns.h"

#define BYTES(s) .data = (const uint8_t *)(s), .data_len = sizeof(s) - 1

static const struct {
	uint16_t type;
	struct dns_rr rr;
	const char *want;
} rows[] = {
	{ DNS_A, { .host = "", BYTES("\xc0\x00\x02\x01") }, "192.0.2.1" },
	{ DNS_AAAA,
	    { .host = "", BYTES("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1") },
	    "2001:db8::1" },
	{ DNS_MX, { .host = "mx.example", .preference = 10 }, "10 mx.example" },
	{ DNS_MX, { .host = "" }, "0 ." },
	{ DNS_CNAME, { .host = "b.example" }, "b.example" },
	{ DNS_TXT, { .host = "", BYTES("v=STSv1; id=1;") },
	    "'v=STSv1; id=1;'" },
	{ DNS_TXT, { .host = "", BYTES("a'b\\c\n\xff") },
	    "'a\\039b\\092c\\010\\255'" },
	{ DNS_TXT, { .host = "" }, "''" },
	{ DNS_TLSA,
	    { .host = "",
		.usage = 3,
		.selector = 1,
		.mtype = 1,
		BYTES("\xab\x01") },
	    "3 1 1 ab01" },
};

static void
test_rows(void **state)
{
	char exact[64], small[64];
	size_t i, n, len;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_string_equal(
		    dns_rr_text(rows[i].type, &rows[i].rr, exact, 64),
		    rows[i].want);
		/* every smaller buffer: terminated, cut, and says so */
		for (n = 4; n < sizeof(small); n++) {
			memset(small, 'x', sizeof(small));
			(void)dns_rr_text(rows[i].type, &rows[i].rr, small, n);
			len = strlen(small);
			assert_true(len < n);
			if (strcmp(small, rows[i].want) != 0)
				assert_string_equal(small + len - 3, "...");
			if (n < sizeof(small) - 1)
				assert_int_equal(small[n], 'x');
		}
	}
}

static void
test_answer(void **state)
{
	const struct dns_rr two[] = { rows[2].rr, rows[3].rr };
	struct dns_answer a = { .type = DNS_MX, .rrs = two, .rrs_len = 2 };
	char buf[64];

	(void)state;
	assert_string_equal(
	    dns_answer_text(&a, buf, sizeof(buf)), "(10 mx.example, 0 .)");
	a.rrs_len = 0;
	assert_string_equal(dns_answer_text(&a, buf, sizeof(buf)), "()");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
