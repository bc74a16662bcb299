/*
 * test_name.c - the one form of a name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/dns/dns.h"

#define L63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"
#define N253                    \
	L63 "." L63 "." L63 "." \
	    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghi"

static const struct {
	const char *in;
	int want;
	const char *out;
} names[] = {
	{ "example.com", 0, "example.com" },
	{ "EXAMPLE.Com.", 0, "example.com" },
	{ "_25._tcp.mx.example", 0, "_25._tcp.mx.example" },
	{ "xn--bcher-kva.example", 0, "xn--bcher-kva.example" },
	{ "a", 0, "a" },
	{ L63, 0, L63 },
	{ N253, 0, N253 },
	{ N253 ".", 0, N253 },
	{ N253 "x", PE_TOO_LONG, NULL },
	{ L63 "x.example", PE_TOO_LONG, NULL },
	{ "", PE_SYNTAX, NULL },
	{ ".", PE_SYNTAX, NULL },
	{ ".example", PE_SYNTAX, NULL },
	{ "a..example", PE_SYNTAX, NULL },
	{ "example..", PE_SYNTAX, NULL },
	{ "exam ple", PE_SYNTAX, NULL },
	{ "b\xc3\xbc"
	  "cher.example",
	    PE_SYNTAX, NULL },
	{ "a\\046b.example", PE_SYNTAX, NULL },
	{ "*.example", PE_SYNTAX, NULL },
	{ "[192.0.2.1]", PE_SYNTAX, NULL },
};

static void
test_normalise(void **state)
{
	char out[DNS_NAME_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		memset(out, 'x', sizeof(out));
		assert_int_equal(
		    dns_name_normalise(names[i].in, out), names[i].want);
		if (names[i].out != NULL)
			assert_string_equal(out, names[i].out);
		else
			assert_int_equal(out[0], 'x'); /* untouched */
		assert_int_equal(dns_name_is_normal(names[i].in),
		    names[i].out != NULL &&
			strcmp(names[i].in, names[i].out) == 0);
	}
}

static void
test_relations(void **state)
{
	(void)state;
	assert_true(dns_name_under("a.example", "example"));
	assert_true(dns_name_under("example", "example"));
	assert_true(dns_name_under("example", ""));
	assert_false(dns_name_under("bexample", "example"));
	assert_false(dns_name_under("example", "a.example"));
	assert_true(dns_name_is_numeric("192.0.2.1"));
	assert_true(dns_name_is_numeric("7"));
	assert_false(dns_name_is_numeric("1.example"));
	assert_false(dns_name_is_numeric("1.2x"));
	assert_false(dns_name_is_numeric(""));
}

static void
test_words(void **state)
{
	(void)state;
	assert_string_equal(dns_state_str(DNS_SECURE), "secure");
	assert_string_equal(dns_state_str(DNS_INDETERMINATE), "indeterminate");
	assert_string_equal(dns_kind_str(DNS_NXDOMAIN), "nxdomain");
	assert_string_equal(dns_why_str(DNS_WHY_GONE), "gone");
	assert_string_equal(dns_why_str((enum dns_why)99), "?");
	assert_string_equal(dns_type_str(DNS_TLSA), "TLSA");
	assert_true(dns_type_known(DNS_CNAME));
	assert_false(dns_type_known(255));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_normalise),
		cmocka_unit_test(test_relations),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
