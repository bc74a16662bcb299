/*
 * test_match.c - MX patterns against host names. Row names begin with the line
 * of the checklist that they hold (docs/mta-sts.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/sts/match.h"

static const struct {
	const char *name, *pattern, *host;
	bool want;
} cases[] = {
	{ "STS-41 equal", "mx.example.com", "mx.example.com", true },
	{ "STS-41 another", "mx.example.com", "mx2.example.com", false },
	{ "STS-41 case of the pattern", "MX.Example.COM", "mx.example.com",
	    true },
	{ "STS-41 case of the host", "mx.example.com", "MX.EXAMPLE.com", true },
	{ "STS-41 wildcard", "*.example.com", "mx.example.com", true },
	{ "STS-41 wildcard and case", "*.EXAMPLE.com", "Mx.example.COM", true },
	{ "STS-41 two labels", "*.example.com", "a.mx.example.com", false },
	{ "STS-41 no label", "*.example.com", "example.com", false },
	{ "STS-41 empty label", "*.example.com", ".example.com", false },
	{ "STS-41 only an ending", "*.example.com", "mx.badexample.com",
	    false },
	{ "STS-41 suffix without a dot", "example.com", "mxexample.com",
	    false },
	{ "STS-41 deeper than the pattern", "example.com", "mx.example.com",
	    false },
	{ "STS-41 the host is a wildcard", "*.example.com", "*.example.com",
	    false },
	{ "STS-41 the host ends in a dot", "mx.example.com", "mx.example.com.",
	    true },
	{ "STS-41 underscore", "mx_1.example.com", "mx_1.example.com", true },
	{ "STS-41 wildcard over an underscore", "*.example.com",
	    "mx_1.example.com", true },
	{ "STS-56 the domain itself", "example.com", "example.com", true },
	{ "STS-23 bare star", "*", "example", false },
	{ "STS-23 star and dot", "*.", "example.", false },
	{ "STS-23 star in a label", "mx*.example.com", "mx1.example.com",
	    false },
	{ "STS-23 star at its end", "*mx.example.com", "amx.example.com",
	    false },
	{ "STS-23 star in the middle", "a.*.example.com", "a.b.example.com",
	    false },
	{ "STS-23 two stars", "*.*.example.com", "a.b.example.com", false },
	{ "STS-23 trailing dot", "mx.example.com.", "mx.example.com", false },
	{ "STS-23 leading dot", ".example.com", "mx.example.com", false },
	{ "STS-23 empty", "", "mx.example.com", false },
	{ "STS-23 IPv4", "192.0.2.1", "192.0.2.1", false },
	{ "STS-23 IPv4 wildcard", "*.0.2.1", "192.0.2.1", false },
	{ "STS-23 literal", "[192.0.2.1]", "[192.0.2.1]", false },
	{ "STS-23 IPv6", "2001:db8::1", "2001:db8::1", false },
	{ "STS-23 an address as pattern of a wildcard", "*.[192.0.2.1]",
	    "a.[192.0.2.1]", false },
	{ "STS-23 U-label",
	    "*.b\xc3\xbc"
	    "cher.example",
	    "mx.xn--bcher-kva.example", true },
	{ "STS-23 A-label", "mx.xn--bcher-kva.example",
	    "mx.xn--bcher-kva.example", true },
	{ "STS-23 broken UTF-8",
	    "b\xfc"
	    "cher.example",
	    "xn--bcher-kva.example", false },
	{ "STS-23 space inside", "mx .example.com", "mx.example.com", false },
	{ "STS-23 two names", "a.example, b.example", "a.example", false },
	{ "STS-23 empty label", "mx..example.com", "mx..example.com", false },
	{ "STS-23 empty host", "mx.example.com", "", false },
	{ "STS-23 root as host", "*.example.com", ".", false },
};

static void
test_pairs(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (sts_pattern_match(cases[i].pattern, cases[i].host) !=
		    cases[i].want)
			fail_msg("%s: %s and %s", cases[i].name,
			    cases[i].pattern, cases[i].host);
}

static void
test_list(void **state)
{
	static const char list[] = "*\0mx1.example.com\0*.example.net";

	(void)state;
	assert_string_equal(
	    sts_list_match(list, sizeof(list), "mx1.example.com"),
	    "mx1.example.com");
	assert_string_equal(sts_list_match(list, sizeof(list), "a.example.net"),
	    "*.example.net");
	assert_null(sts_list_match(list, sizeof(list), "mx2.example.com"));
	assert_null(sts_list_match(NULL, 0, "mx2.example.com"));
	assert_null(sts_list_match("", 1, "mx2.example.com"));
}

static void
test_long(void **state)
{
	char pattern[300], host[300], got[STS_PATTERN_SIZE];

	(void)state;
	memset(pattern, 'a', sizeof(pattern));
	assert_true(sts_pattern_normalise(pattern, sizeof(pattern), got) < 0);
	memcpy(pattern, "*.", 2);
	assert_true(sts_pattern_normalise(pattern, sizeof(pattern), got) < 0);
	memset(host, 'a', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	assert_false(sts_pattern_match("*.a", host));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
