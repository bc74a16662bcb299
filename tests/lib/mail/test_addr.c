/*
 * test_addr.c - which addresses there are, what they are made of, and which
 * are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "lib/base/err.h"
#include "lib/mail/addr.h"

#define L10  "abcdefghij"
#define L60  L10 L10 L10 L10 L10 L10
#define L63  L60 "abc"
#define D190 L63 "." L63 "." L60 "ab" /* 190 octets */

static const struct {
	const char *in;
	bool valid;
} cases[] = {
	/* dot-string */
	{ "a@b", true },
	{ "user@example.com", true },
	{ "User.Name+tag@Example.COM", true },
	{ "!#$%&'*+-/=?^_`{|}~@example.com", true },
	{ "123@example.com", true },
	{ "a.b.c@example.com", true },
	{ "-@example.com", true },
	{ "xn--x@example.com", true },
	{ "", false },
	{ "a", false },
	{ "@", false },
	{ "a@", false },
	{ "@example.com", false },
	{ ".a@example.com", false },
	{ "a.@example.com", false },
	{ "a..b@example.com", false },
	{ "a@b@example.com", false },
	{ "a b@example.com", false },
	{ " a@example.com", false },
	{ "a@example.com ", false },
	{ "a @example.com", false },
	{ "a@ example.com", false },
	{ "a,b@example.com", false },
	{ "a:b@example.com", false },
	{ "a;b@example.com", false },
	{ "a<b@example.com", false },
	{ "<a@example.com>", false },
	{ "a[b]@example.com", false },
	{ "a\\b@example.com", false },
	{ "a\\@b@example.com", false },
	{ "a(comment)@example.com", false },
	{ "(comment)a@example.com", false },
	{ "a@(comment)example.com", false },
	{ "a@example.com(comment)", false },
	{ "Joe <a@example.com>", false },
	{ "a\tb@example.com", false },
	{ "a\r\n@example.com", false },
	{ "a@example.com\r\n", false },
	{ "a@example.com\n", false },
	{ "a\x7f@example.com", false },
	{ "@r.example:a@example.com", false },
	{ "mailto:a@example.com", false },
	{ "postmaster", false },
	/* quoted */
	{ "\"\"@example.com", true },
	{ "\"a\"@example.com", true },
	{ "\"a b\"@example.com", true },
	{ "\"a@b\"@example.com", true },
	{ "\"a\\\"b\"@example.com", true },
	{ "\"a\\\\\"@example.com", true },
	{ "\"\\a\"@example.com", true },
	{ "\" \"@example.com", true },
	{ "\".a..\"@example.com", true },
	{ "\"()<>[]:;,@\\\\!#\"@example.com", true },
	{ "\"a@example.com", false },
	{ "a\"@example.com", false },
	{ "\"a\"b@example.com", false },
	{ "a\"b\"@example.com", false },
	{ "\"a\".b@example.com", false },
	{ "a.\"b\"@example.com", false },
	{ "\"a\".\"b\"@example.com", false },
	{ "\"a\"\"b\"@example.com", false },
	{ "\"a\\\"@example.com", false },
	{ "\"\"\"@example.com", false },
	{ "\"\\\"@example.com", false },
	{ "\"a\"", false },
	{ "\"", false },
	{ "\"\\", false },
	{ "\"a\tb\"@example.com", false },
	{ "\"a\\\tb\"@example.com", false },
	{ "\"a\r\n b\"@example.com", false },
	{ "\"a\x7f\"@example.com", false },
	{ "\"a\\\x7f\"@example.com", false },
	/* domains */
	{ "a@localhost", true },
	{ "a@123", true },
	{ "a@example.123", true },
	{ "a@1.2.3.4", true },
	{ "a@a-b.example", true },
	{ "a@a--b.example", true },
	{ "a@0.example", true },
	{ "a@xn--mller-kva.example", true },
	{ "a@.example.com", false },
	{ "a@example.com.", false },
	{ "a@example..com", false },
	{ "a@.", false },
	{ "a@-example.com", false },
	{ "a@example-.com", false },
	{ "a@example.-com", false },
	{ "a@example.com-", false },
	{ "a@exa_mple.com", false },
	{ "a@_dmarc.example.com", false },
	{ "a@exam ple.com", false },
	{ "a@example.com/x", false },
	{ "a@example!com", false },
	{ "a@*.example.com", false },
	{ "a@example.com:25", false },
	{ "a@[example.com]", false },
	{ "a@example,com", false },
	/* lengths */
	{ L60 "abcd@example.com", true },
	{ L60 "abcde@example.com", false },
	{ "\"" L60 "ab\"@example.com", true },
	{ "\"" L60 "abc\"@example.com", false },
	{ "\"" L60 "\\a\"@example.com", true },
	{ "\"" L60 "a\\a\"@example.com", false },
	{ "a@" L63 ".com", true },
	{ "a@" L60 "abcd.com", false },
	{ "a@" D190 "." L60 "a", true },   /* 2 + 252: 254 */
	{ "a@" D190 "." L60 "ab", false }, /* 255 */
	{ L60 "abc@" D190, true },	   /* 64 + 190 = 254 */
	{ L60 "abcd@" D190, false },	   /* 255 */
	{ "a@" D190 "." L63 "." L63 "." L63, false },
	/* IPv4 literals */
	{ "a@[192.0.2.1]", true },
	{ "a@[0.0.0.0]", true },
	{ "a@[255.255.255.255]", true },
	{ "a@[001.02.3.4]", true }, /* Snum is 1*3DIGIT */
	{ "a@[256.0.2.1]", false },
	{ "a@[1.2.3]", false },
	{ "a@[1.2.3.4.5]", false },
	{ "a@[1.2.3.]", false },
	{ "a@[.1.2.3]", false },
	{ "a@[1..2.3]", false },
	{ "a@[0001.2.3.4]", false },
	{ "a@[1.2.3.4", false },
	{ "a@1.2.3.4]", false },
	{ "a@[1.2.3.4]x", false },
	{ "a@[1.2.3.4].com", false },
	{ "a@x[1.2.3.4]", false },
	{ "a@[ 1.2.3.4]", false },
	{ "a@[1.2.3.4 ]", false },
	{ "a@[0x7f.0.0.1]", false },
	{ "a@[1.2.3.-4]", false },
	{ "a@[]", false },
	{ "a@[", false },
	{ "a@]", false },
	{ "a@[[1.2.3.4]]", false },
	/* IPv6 literals */
	{ "a@[IPv6:2001:db8:0:0:0:0:0:1]", true },
	{ "a@[ipv6:2001:DB8:0:0:0:0:0:1]", true },
	{ "a@[IPv6:::]", true },
	{ "a@[IPv6:::1]", true },
	{ "a@[IPv6:1::]", true },
	{ "a@[IPv6:2001:db8::1]", true },
	{ "a@[IPv6:1:2:3:4:5:6::]", true },
	{ "a@[IPv6:::1:2:3:4:5:6]", true },
	{ "a@[IPv6:1:2:3::4:5:6]", true },
	{ "a@[IPv6:::ffff:192.0.2.1]", true },
	{ "a@[IPv6:::192.0.2.1]", true },
	{ "a@[IPv6:1:2:3:4:5:6:192.0.2.1]", true },
	{ "a@[IPv6:1:2:3:4::192.0.2.1]", true },
	{ "a@[IPv6:1:2::3:4:192.0.2.1]", true },
	{ "a@[IPv6:0001:0:0:0:0:0:0:ffff]", true },
	/* "::" is two groups or more (RFC 5321, 4.1.3) */
	{ "a@[IPv6:1:2:3:4:5:6:7::]", false },
	{ "a@[IPv6:::2:3:4:5:6:7:8]", false },
	{ "a@[IPv6:1:2:3::5:6:7:8]", false },
	{ "a@[IPv6:1:2:3:4:5::192.0.2.1]", false },
	{ "a@[IPv6:1:2:3:4:5:6::8]", false },
	{ "a@[IPv6:1:2:3:4:5:6:7]", false },
	{ "a@[IPv6:1:2:3:4:5:6:7:8:9]", false },
	{ "a@[IPv6:1:2:3:4:5:6:7:192.0.2.1]", false },
	{ "a@[IPv6:1:2:3:4:5:192.0.2.1]", false },
	{ "a@[IPv6:1::2::3]", false },
	{ "a@[IPv6:1:::2]", false },
	{ "a@[IPv6::1]", false },
	{ "a@[IPv6:1:]", false },
	{ "a@[IPv6:1::2:]", false },
	{ "a@[IPv6:]", false },
	{ "a@[IPv6::]", false },
	{ "a@[IPv6:12345::]", false },
	{ "a@[IPv6:g::]", false },
	{ "a@[IPv6:fe80::1%eth0]", false },
	{ "a@[IPv6:::192.0.2.256]", false },
	{ "a@[IPv6:::192.0.2.1:5]", false },
	{ "a@[IPv6: ::1]", false },
	{ "a@[2001:db8::1]", false },
	{ "a@[::1]", false },
	{ "a@[IPv62001:db8::1]", false },
	/* no tag but IPv6 is registered */
	{ "a@[x400:stuff]", false },
	{ "a@[tag:]", false },
	{ "a@[:x]", false },
	/* UTF-8 (RFC 6531) */
	{ "m\xc3\xbcller@example.com", true },
	{ "\"m\xc3\xbc ller\"@example.com", true },
	{ "a@m\xc3\xbcller.example", true },
	{ "\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b\xe5\xad\x90.example", true },
	{ "\xf0\x9f\x98\x80@example.com", true },
	{ "\"\\\xc3\xa9\"@example.com", false }, /* quoted-pair is ASCII */
	{ "m\xfcller@example.com", false },
	{ "\xc0\xaf@example.com", false },
	{ "\xed\xa0\x80@example.com", false },
	{ "\xc2\x85@example.com", false },
	{ "a@m\xc3\xbc..example", false },
	{ "a@m\xc3\xbc_x.example", false },
	{ "a@m\xc3\xbc.example.", false },
	{ "a@-m\xc3\xbc.example", false },
	{ "a@\xff.example", false },
	{ "a@\xf0\x9f\x98\x80.example", false },  /* emoji: not IDNA2008 */
	{ "a@\xef\xbd\x85.example", false },	  /* full-width e */
	{ "a@b\xe3\x80\x82\x63.example", false }, /* ideographic stop */
	{ "a@[IPv6:\xc3\xa9]", false },
};

static void
test_table(void **state)
{
	struct addr_verdict v;
	struct addr a;
	const char *why;
	char *text;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		n = strlen(cases[i].in);
		text = malloc(n + (n == 0));
		memcpy(text, cases[i].in, n);
		addr_check(text, n, &v);
		if (v.valid != cases[i].valid)
			fail_msg("%s: %s", cases[i].in, v.reason);
		assert_non_null(v.reason);
		why = NULL;
		if (v.valid) {
			assert_int_equal(
			    addr_parse(text, n, ADDR_UTF8, &a, &why), 0);
			assert_int_equal(a.local_len + 1 + a.domain_len, n);
			assert_ptr_equal(a.text, text);
			assert_int_equal(a.len, n);
			assert_ptr_equal(a.domain, text + a.local_len + 1);
			assert_int_equal(a.quoted, text[0] == '"');
			assert_int_equal(a.literal, *a.domain == '[');
			/* and without SMTPUTF8 it counts only if it is ASCII */
			assert_int_equal(addr_parse(text, n, 0, &a, &why) == 0,
			    !v.needs_utf8);
		}
		free(text);
	}
}

static void
test_nul(void **state)
{
	struct addr_verdict v;

	(void)state;
	addr_check("a\0b@c", 5, &v);
	assert_false(v.valid);
	addr_check("a@c\0", 4, &v);
	assert_false(v.valid);
	addr_check("\"\0\"@c", 5, &v);
	assert_false(v.valid);
	addr_check("\"\\\0\"@c", 6, &v);
	assert_false(v.valid);
}

static void
test_path(void **state)
{
	static const struct {
		const char *in;
		ssize_t want; /* -1: refused */
		const char *addr;
	} rows[] = {
		{ "<a@b>", 5, "a@b" },
		{ "<a@b> SIZE=1", 5, "a@b" },
		{ "<>", 2, "" },
		{ "<>x", 2, "" },
		{ "<postmaster>", 12, "postmaster" },
		{ "<PostMaster>x", 12, "PostMaster" },
		{ "<postmaster", -1, "" },
		{ "<postmasters>", -1, "" },
		{ "<\"a>b\"@c>", 9, "\"a>b\"@c" },
		{ "<@x:a@b>", 8, "a@b" },
		{ "<@x,@y.z,@[1.2.3.4]:a@b>", 24, "a@b" },
		{ "<@[IPv6:::1]:a@b>", 17, "a@b" },
		{ "<@x,a@b>", -1, "" },
		{ "<@x:@y:a@b>", -1, "" },
		{ "<@:a@b>", -1, "" },
		{ "<@x_y:a@b>", -1, "" },
		{ "<@x:>", -1, "" },
		{ "<@x,:a@b>", -1, "" },
		{ "<@x", -1, "" },
		{ "<@", -1, "" },
		{ "<", -1, "" },
		{ "", -1, "" },
		{ "a@b", -1, "" },
		{ "<a@b", -1, "" },
		{ "<a>", -1, "" },
		{ "<a@>", -1, "" },
		{ "<a@b>>", 5, "a@b" },
		{ "<<a@b>>", -1, "" },
		{ "<a@[1.2.3.4]>", 13, "a@[1.2.3.4]" },
		{ "<a@[1.2.3.4]x>", -1, "" },
		{ "<a@[1.2.3.4>", -1, "" },
		{ "< a@b>", -1, "" },
		{ "<a@b >", -1, "" },
	};
	struct addr a;
	const char *why;
	ssize_t got;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		why = NULL;
		got = addr_parse_path(
		    rows[i].in, strlen(rows[i].in), 0, &a, &why);
		if (rows[i].want < 0) {
			if (got >= 0 || why == NULL)
				fail_msg("%s: %zd", rows[i].in, got);
			continue;
		}
		if (got != rows[i].want)
			fail_msg("%s: %zd %s", rows[i].in, got,
			    why == NULL ? "" : why);
		assert_int_equal(a.len, strlen(rows[i].addr));
		assert_memory_equal(a.text, rows[i].addr, a.len);
	}
}

static void
test_normalise(void **state)
{
	static const struct {
		const char *in, *want; /* NULL: refused */
	} rows[] = {
		{ "Example.COM", "example.com" },
		{ "M\xc3\xbcller.Example", "xn--mller-kva.example" },
		/* decomposed u with diaeresis, and capital one */
		{ "mu\xcc\x88ller.example", "xn--mller-kva.example" },
		{ "M\xc3\x9cLLER.example", "xn--mller-kva.example" },
		{ "stra\xc3\x9f\x65.example", "xn--strae-oqa.example" },
		{ "XN--MLLER-KVA.example", "xn--mller-kva.example" },
		{ "[192.0.2.1]", "[192.0.2.1]" },
		{ "[192.000.02.1]", "[192.0.2.1]" },
		{ "[IPv6:2001:DB8:0:0:0:0:0:1]", "[ipv6:2001:db8::1]" },
		{ "", NULL },
		{ "a.", NULL },
		{ "a_b", NULL },
		{ "[x]", NULL },
		{ "[1.2.3.4", NULL },
		{ "m\xfc.example", NULL },
	};
	char out[ADDR_DOMAIN_MAX + 1], big[300];
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r = addr_domain_normalise(rows[i].in, strlen(rows[i].in), out);
		if ((r == 0) != (rows[i].want != NULL))
			fail_msg("%s: %d", rows[i].in, r);
		if (r == 0)
			assert_string_equal(out, rows[i].want);
	}
	memset(big, 'a', sizeof(big));
	assert_int_equal(addr_domain_normalise(big, 300, out), PE_TOO_LONG);
	for (i = 49; i < 256; i += 50)
		big[i] = '.';
	assert_int_equal(addr_domain_normalise(big, 255, out), 0);
	assert_int_equal(strlen(out), 255);
}

static void
test_literal(void **state)
{
	static const struct {
		const char *in;
		int family;
		const char *ip;
	} rows[] = {
		{ "[192.0.2.1]", AF_INET, "192.0.2.1" },
		{ "[010.0.0.8]", AF_INET, "10.0.0.8" },
		{ "[IPv6:::]", AF_INET6, "::" },
		{ "[IPv6:::1]", AF_INET6, "::1" },
		{ "[IPv6:1::]", AF_INET6, "1::" },
		{ "[IPv6:1:2:3:4:5:6:7:8]", AF_INET6, "1:2:3:4:5:6:7:8" },
		{ "[IPv6:1:2::7:8]", AF_INET6, "1:2::7:8" },
		{ "[IPv6:::ffff:192.0.2.1]", AF_INET6, "::ffff:192.0.2.1" },
		{ "[IPv6:1:2::3:192.0.2.1]", AF_INET6, "1:2::3:192.0.2.1" },
		{ "[IPv6:1:2:3:4:5:6:192.0.2.1]", AF_INET6,
		    "1:2:3:4:5:6:192.0.2.1" },
	};
	uint8_t got[16], want[16];
	size_t i;
	int family;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(addr_literal_parse(rows[i].in,
				     strlen(rows[i].in), &family, got),
		    0);
		assert_int_equal(family, rows[i].family);
		assert_int_equal(inet_pton(family, rows[i].ip, want), 1);
		assert_memory_equal(got, want, family == AF_INET ? 4 : 16);
	}
	assert_int_equal(
	    addr_literal_parse("192.0.2.1", 9, &family, got), PE_SYNTAX);
}

static void
test_equal(void **state)
{
	static const struct {
		const char *a, *b;
		bool want;
	} rows[] = {
		{ "a@example.com", "a@EXAMPLE.com", true },
		{ "a@example.com", "A@example.com", false },
		{ "a@example.com", "b@example.com", false },
		{ "a@example.com", "a@example.org", false },
		{ "a@example.com", "\"a\"@example.com", true },
		{ "a@example.com", "\"\\a\"@example.com", true },
		{ "\"a b\"@example.com", "\"a\\ b\"@example.com", true },
		{ "\"a\\\\\"@x", "\"\\a\\\\\"@x", true },
		{ "\"\"@x", "\"\"@x", true },
		{ "a@m\xc3\xbcller.example", "a@xn--mller-kva.example", true },
		{ "a@[192.0.2.1]", "a@[192.000.002.001]", true },
		{ "a@[IPv6:::1]", "a@[IPv6:0:0:0:0:0:0:0:1]", true },
		{ "a@[IPv6:::1]", "a@[IPv6:::2]", false },
		{ "ab@x", "a@x", false },
	};
	struct addr a, b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(addr_parse(rows[i].a, strlen(rows[i].a),
				     ADDR_UTF8, &a, NULL),
		    0);
		assert_int_equal(addr_parse(rows[i].b, strlen(rows[i].b),
				     ADDR_UTF8, &b, NULL),
		    0);
		if (addr_equal(&a, &b) != rows[i].want ||
		    addr_equal(&b, &a) != rows[i].want)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_normalise),
		cmocka_unit_test(test_literal),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
