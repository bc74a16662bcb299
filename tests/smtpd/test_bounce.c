/*
 * test_bounce.c - bounce verification at intake (BATV-05): who may bring what
 * to a sender whose mail leaves tagged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/mail/prvs.h"
#include "tests/smtpd/script.h"

#define VERIFY                                                      \
	"tls = none\naccept_bounces = yes\n[bounce-verification]\n" \
	"key_file = keys\nsenders = @example.com\n"                 \
	"except = list@example.com\nuntagged = "

enum { WEEK = 7 };

static const char INSIDE[] = "10.1.1.209", OUTSIDE[] = "192.0.2.7";

/* How many days ago the tag was made; or one of these. */
enum { NO_TAG = -1, FORGED = -2, OTHER_KEY = -3 };

static const struct {
	const char *name, *untagged, *client, *sender, *rcpt;
	int tag;
	const char *reply; /* to RCPT */
	const char *kept;  /* address that the queue gets; NULL: none */
	bool marked;
} cases[] = {
	{ "a good bounce", "mark", OUTSIDE, "", "User@Example.com", 0,
	    "250 2.1.5", "User@Example.com", false },
	{ "on its last day", "mark", OUTSIDE, "", "user@example.com", WEEK,
	    "250 2.1.5", "user@example.com", false },
	{ "from inside", "reject", INSIDE, "", "user@example.com", 0,
	    "250 2.1.5", "user@example.com", false },
	{ "an answer that is no bounce", "mark", OUTSIDE, "x@y.example",
	    "user@example.com", 0, "250 2.1.5", "user@example.com", false },
	{ "expired", "accept", OUTSIDE, "", "user@example.com", WEEK + 1,
	    "550 5.7.1", NULL, false },
	{ "expired, from inside", "accept", INSIDE, "", "user@example.com",
	    WEEK + 1, "550 5.7.1", NULL, false },
	{ "a late answer from inside", "mark", INSIDE, "x@y.example",
	    "user@example.com", WEEK + 1, "250 2.1.5", "user@example.com",
	    false },
	{ "a late answer may not relay", "mark", OUTSIDE, "x@y.example",
	    "user@example.com", WEEK + 1, "550 5.7.1", NULL, false },
	{ "forged", "accept", OUTSIDE, "", "user@example.com", FORGED,
	    "550 5.7.1", NULL, false },
	{ "forged, from inside", "accept", INSIDE, "x@y.example",
	    "user@example.com", FORGED, "550 5.7.1", NULL, false },
	{ "a key that is not ours", "accept", OUTSIDE, "", "user@example.com",
	    OTHER_KEY, "550 5.7.1", NULL, false },
	{ "untagged, refused", "reject", OUTSIDE, "", "user@example.com",
	    NO_TAG, "550 5.7.1", NULL, false },
	{ "untagged, marked", "mark", OUTSIDE, "", "user@example.com", NO_TAG,
	    "250 2.1.5", "user@example.com", true },
	{ "untagged, accepted", "accept", OUTSIDE, "", "user@example.com",
	    NO_TAG, "250 2.1.5", "user@example.com", false },
	{ "untagged, from inside", "reject", INSIDE, "", "user@example.com",
	    NO_TAG, "250 2.1.5", "user@example.com", false },
	{ "no bounce, no tag, no right", "accept", OUTSIDE, "x@y.example",
	    "user@example.com", NO_TAG, "550 5.7.1", NULL, false },
	{ "a sender that is not ours", "accept", OUTSIDE, "",
	    "user@example.org", NO_TAG, "550 5.7.1", NULL, false },
	{ "not ours with a good tag", "accept", OUTSIDE, "", "user@example.org",
	    0, "550 5.7.1", NULL, false },
	{ "one that is excepted", "accept", OUTSIDE, "", "list@example.com",
	    NO_TAG, "550 5.7.1", NULL, false },
	{ "one that is excepted, from inside", "reject", INSIDE, "",
	    "list@example.com", NO_TAG, "250 2.1.5", "list@example.com",
	    false },
	{ "somebody else's tag passes through", "reject", INSIDE, "x@y.example",
	    "user@example.org", FORGED, "250 2.1.5",
	    "prvs=3000abcdef=user@example.org", false },
};

static struct prvs_keys
keys_of(const char *text)
{
	struct prvs_keys keys;
	const char *why;
	unsigned line;

	assert_int_equal(
	    prvs_keys_parse(text, strlen(text), &keys, &line, &why), 0);
	return keys;
}

/* The recipient as the case brings it. */
static void
tagged(const char *rcpt, int tag, char ret[ADDR_MAX + 1])
{
	struct prvs_keys ours = keys_of("3 0123456789abcdef"),
			 other = keys_of("4 0123456789abcdef");
	int64_t today = clock_now_ms() / CLOCK_DAY_MS;

	if (tag == NO_TAG)
		(void)snprintf(ret, ADDR_MAX + 1, "%s", rcpt);
	else if (tag == FORGED)
		(void)snprintf(ret, ADDR_MAX + 1, "prvs=3000abcdef=%s", rcpt);
	else if (tag == OTHER_KEY)
		assert_true(prvs_tag(&other, rcpt, today, WEEK, ret));
	else
		assert_true(prvs_tag(&ours, rcpt, today - tag, WEEK, ret));
}

static bool
contains(const struct buf *b, const char *text)
{
	return memmem(buf_data(b), buf_len(b), text, strlen(text)) != NULL;
}

static void
who_may_bring_what(void **state)
{
	struct prvs_keys keys = keys_of("3 0123456789abcdef");
	char settings[400], line[1200], rcpt[ADDR_MAX + 1], want[400];
	struct script k;
	struct conf *conf;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(settings, sizeof(settings), VERIFY "%s\n",
		    cases[i].untagged);
		conf = script_conf(settings);
		k = (struct script){ .client = cases[i].client,
			.bounce_keys = &keys };
		script_init(&k, conf, false);
		tagged(cases[i].rcpt, cases[i].tag, rcpt);
		(void)snprintf(line, sizeof(line),
		    "EHLO c.example\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\n",
		    cases[i].sender, rcpt);
		/* EHLO stands alone: nothing may follow it in one piece */
		assert_true(script_feed(&k, line, 16, 16));
		buf_drop(&k.out, buf_len(&k.out));
		assert_true(script_feed(
		    &k, line + 16, strlen(line) - 16, sizeof(line)));
		(void)snprintf(want, sizeof(want), "250 2.1.0 Sender ok\r\n%s",
		    cases[i].reply);
		if (!contains(&k.out, want))
			fail_msg("%s: wanted %s, found %.*s", cases[i].name,
			    want, (int)buf_len(&k.out),
			    (const char *)buf_data(&k.out));
		if (cases[i].kept != NULL) {
			assert_true(
			    script_feed(&k, "DATA\r\n", 6, sizeof(line)));
			assert_true(
			    script_feed(&k, "x\r\n.\r\n", 6, sizeof(line)));
			(void)snprintf(want, sizeof(want),
			    "rcpt 0 %s domain=", cases[i].kept);
			if (!contains(&k.rec, want))
				fail_msg("%s: wanted %s in %.*s", cases[i].name,
				    want, (int)buf_len(&k.rec),
				    (const char *)buf_data(&k.rec));
			assert_int_equal(
			    contains(&k.rec, "X-Postern-Bounce: untagged"),
			    cases[i].marked);
		}
		script_done(&k);
		conf_unref(conf);
	}
}

/* Without accept_bounces nobody from outside gets in, tag or not; without keys
 * a tag is a part of the address like any other. */
static void
what_is_off_is_off(void **state)
{
	struct prvs_keys keys = keys_of("3 0123456789abcdef");
	static const char off[] =
	    "tls = none\n[bounce-verification]\nkey_file = keys\n"
	    "senders = @example.com\n";
	char line[1200], rcpt[ADDR_MAX + 1];
	struct conf *conf = script_conf(off);
	struct script k = { .client = OUTSIDE, .bounce_keys = &keys };

	(void)state;
	tagged("user@example.com", 0, rcpt);
	(void)snprintf(
	    line, sizeof(line), "MAIL FROM:<>\r\nRCPT TO:<%s>\r\n", rcpt);
	script_init(&k, conf, false);
	assert_true(script_feed(&k, "EHLO c.example\r\n", 16, 16));
	assert_true(script_feed(&k, line, strlen(line), sizeof(line)));
	assert_true(contains(&k.out, "550 5.7.1 Relaying denied"));
	script_done(&k);
	conf_unref(conf);

	conf = script_conf("tls = none\n");
	k = (struct script){ .client = INSIDE };
	script_init(&k, conf, false);
	assert_true(script_feed(&k, "EHLO c.example\r\n", 16, 16));
	assert_true(script_feed(&k, line, strlen(line), sizeof(line)));
	assert_true(contains(&k.out, "250 2.1.5"));
	script_done(&k);
	conf_unref(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_bring_what),
		cmocka_unit_test(what_is_off_is_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
