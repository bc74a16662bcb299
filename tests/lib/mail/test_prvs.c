/*
 * test_prvs.c - bounce verification: which addresses get a tag, which tags are
 * good, and which key files there are (BATV-01 to BATV-06).
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
#include "lib/mail/prvs.h"

#define L40 "abcdefghijabcdefghijabcdefghijabcdefghij"

static const char secrets[] = "# made in spring\n"
			      "3 0123456789abcdef secret\n"
			      "\n"
			      "2 the key of last year\n";
enum { TODAY = 20781, WEEK = 7 };

static struct prvs_keys
keys_of(const char *text)
{
	struct prvs_keys keys;
	const char *why = NULL;
	unsigned line = 0;

	assert_int_equal(
	    prvs_keys_parse(text, strlen(text), &keys, &line, &why), 0);
	return keys;
}

/* The tag as another program computes it. */
static void
tag_is_that_of_the_draft(void **state)
{
	struct prvs_keys keys = keys_of(secrets);
	char out[ADDR_MAX + 1];

	(void)state;
	assert_int_equal(keys.current, 3);
	assert_true(prvs_tag(&keys, "User@Example.com", TODAY, WEEK, out));
	assert_string_equal(out, "prvs=37886fb87c=User@Example.com");
}

static void
what_gets_no_tag(void **state)
{
	static const char *const none[] = { "", "nobody", "\"q s\"@example.com",
		"prvs=3788aaaaaa=user@example.com", "PRVS=anything@example.com",
		L40 "abcdefghi@example.com" /* 49 and 16 are over 64 */ };
	struct prvs_keys keys = keys_of(secrets);
	char out[ADDR_MAX + 1] = "untouched";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(prvs_tag(&keys, none[i], TODAY, WEEK, out));
	assert_string_equal(out, "untouched");
	/* 48 and 16 are 64 */
	assert_true(
	    prvs_tag(&keys, L40 "abcdefgh@example.com", TODAY, WEEK, out));
}

/* A tag holds from the day it was made for the lifetime, over the end of 999
 * too (BATV-03), and never before. */
static void
how_long_a_tag_is_good(void **state)
{
	struct prvs_keys keys = keys_of(secrets);
	char tagged[ADDR_MAX + 1], plain[ADDR_MAX + 1];
	int64_t made, off;

	(void)state;
	for (made = 20988; made < 21004; made++) {
		assert_true(prvs_tag(&keys, "u@d.example", made, WEEK, tagged));
		for (off = -3; off <= 20; off++) {
			assert_int_equal(
			    prvs_check(&keys, tagged, made + off, WEEK, plain),
			    off >= 0 && off <= WEEK ? PRVS_GOOD : PRVS_EXPIRED);
			assert_string_equal(plain, "u@d.example");
		}
	}
}

static void
who_made_it(void **state)
{
	static const struct {
		const char *address;
		enum prvs_result result;
	} cases[] = {
		{ "prvs=37886fb87c=User@Example.com", PRVS_GOOD },
		/* folded on the way; hex in either case (BATV-06) */
		{ "PRVS=37886FB87C=USER@EXAMPLE.COM", PRVS_GOOD },
		{ "prvs=37896fb87c=User@Example.com", PRVS_FORGED },
		{ "prvs=27886fb87c=User@Example.com", PRVS_FORGED },
		{ "prvs=97886fb87c=User@Example.com", PRVS_FORGED },
		{ "prvs=37886fb87c=Other@Example.com", PRVS_FORGED },
		{ "prvs=37886fb87c=User@Example.org", PRVS_FORGED },
		{ "prvs=3788000000=User@Example.com", PRVS_FORGED },
		{ "User@Example.com", PRVS_UNTAGGED },
		{ "prvs=User@Example.com", PRVS_UNTAGGED },
		{ "prvs=37886fb87c@Example.com", PRVS_UNTAGGED },
		{ "prvs=37886fb87c=@Example.com", PRVS_UNTAGGED },
		{ "prvs=x7886fb87c=User@Example.com", PRVS_UNTAGGED },
		{ "prvs=37886fb87=User@Example.com", PRVS_UNTAGGED },
		{ "\"prvs=37886fb87c=User\"@Example.com", PRVS_UNTAGGED },
		{ "prvs=37886fb87c=User", PRVS_UNTAGGED },
		{ "", PRVS_UNTAGGED },
	};
	struct prvs_keys keys = keys_of(secrets);
	char plain[ADDR_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
		    prvs_check(&keys, cases[i].address, TODAY, WEEK, plain),
		    cases[i].result);
}

/* An older key still checks when another one tags (rollover). */
static void
older_keys_are_good(void **state)
{
	struct prvs_keys old = keys_of("2 the key of last year\n"),
			 now = keys_of(secrets);
	char tagged[ADDR_MAX + 1], plain[ADDR_MAX + 1];

	(void)state;
	assert_true(prvs_tag(&old, "u@d.example", TODAY, WEEK, tagged));
	assert_int_equal(
	    prvs_check(&now, tagged, TODAY, WEEK, plain), PRVS_GOOD);
	assert_true(prvs_tag(&now, "u@d.example", TODAY, WEEK, tagged));
	assert_int_equal(
	    prvs_check(&old, tagged, TODAY, WEEK, plain), PRVS_FORGED);
}

static void
key_files(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
	} bad[] = {
		{ "", 0 },
		{ "# nothing\n\n", 0 },
		{ "3 short\n", 1 },
		{ "x 0123456789abcdef\n", 1 },
		{ "33 0123456789abcdef\n", 1 },
		{ "3 0123456789abcdef\n3 fedcba9876543210\n", 2 },
		{ "3 0123456789abcdef\nrest", 2 },
		{ "3 " L40 L40 L40 "123456789\n", 1 },
	};
	struct prvs_keys keys;
	const char *why;
	unsigned line;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		line = 99;
		assert_int_equal(prvs_keys_parse(bad[i].text,
				     strlen(bad[i].text), &keys, &line, &why),
		    PE_SYNTAX);
		assert_int_equal(line, bad[i].line);
		assert_non_null(why);
	}
	keys = keys_of("7\t0123456789abcdef  \r\n"); /* from an editor */
	assert_int_equal(keys.key[7].len, 16);
	keys = keys_of("0 0123456789abcdef"); /* no end of line */
	assert_int_equal(keys.current, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tag_is_that_of_the_draft),
		cmocka_unit_test(what_gets_no_tag),
		cmocka_unit_test(how_long_a_tag_is_good),
		cmocka_unit_test(who_made_it),
		cmocka_unit_test(older_keys_are_good),
		cmocka_unit_test(key_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
