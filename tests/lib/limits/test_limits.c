/*
 * test_limits.c - which counters a place raises, by which entry, on which axis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/hash.h"
#include "lib/limits/limits.h"
#include "tests/lib/conf/memory.h"

static const struct memory_file files[] = {
	{ "postern.conf",
	    "[delivery]\nmax_connections = 300\nmax_tls_connections = 200\n" },
	{ "gateways.conf", "[gateway bulk]\nhostname = bulk.example\n" },
	{ "destinations.conf",
	    "[DEFAULT]\n"
	    "max_connections = 40\n"
	    "max_messages_per_connection = 30\n"
	    "[ip.example]\n"
	    "limit_scope = mx-ip\n"
	    "[gw.example]\n"
	    "limit_apply = gateway\n"
	    "recipient_limit = 100/5m\n"
	    "[both.example]\n"
	    "limit_scope = mx-ip\n"
	    "limit_apply = gateway\n"
	    "[.part.example]\n"
	    "max_connections = 7\n"
	    "[mx:*.big.example]\n"
	    "max_connections = 9\n"
	    "max_messages_per_connection = 3\n"
	    "[mx:mx.own.example]\n"
	    "max_connections = 5\n"
	    "limit_apply = gateway\n"
	    "[mx:mx.pace.example]\n"
	    "recipient_limit = 60/1m\n" },
	{ NULL, NULL },
};

static struct conf *
load(void)
{
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;

	if (conf_load(&src, &errs, &conf) != 0)
		fail_msg("%s:%u: %s", errs.v[0].file, errs.v[0].line,
		    errs.v[0].text);
	conf_errors_done(&errs);
	return conf;
}

/* "name=max" of each counter, "name~N/M" of each rate. */
static void
show(const struct limits *l, char *buf, size_t len)
{
	size_t i, at = 0;

	buf[0] = '\0';
	for (i = 0; i < l->n; i++) {
		const struct limits_key *k = &l->keys[i];

		if (k->counts)
			at += (size_t)snprintf(
			    buf + at, len - at, "%s=%u ", k->name, k->max);
		if (k->rate.limited)
			at += (size_t)snprintf(buf + at, len - at, "%s~%u/%u ",
			    k->name, k->rate.count, k->rate.minutes);
	}
}

static void
test_keys(void **state)
{
	static const struct {
		struct limits_place place;
		const char *want;
	} rows[] = {
		{ { "a.example", "default", "mx.a.example", "192.0.2.1",
		      false },
		    "domain:a.example=40 system=300 " },
		{ { "a.example", "default", "mx.a.example", "192.0.2.1", true },
		    "domain:a.example=40 tls=200 system=300 " },
		{ { "ip.example", "bulk", "mx.a.example", "2001:db8::1",
		      false },
		    "ip:ip.example/2001:db8::1=40 system=300 " },
		{ { "gw.example", "bulk", "mx.a.example", "192.0.2.1", false },
		    "domain@bulk:gw.example=40 domain@bulk:gw.example~100/5 "
		    "system=300 " },
		/* a gateway that does not exist has no counter of its own */
		{ { "gw.example", "made-up", "mx.a.example", "192.0.2.1",
		      false },
		    "domain@default:gw.example=40 "
		    "domain@default:gw.example~100/5 system=300 " },
		{ { "both.example", "bulk", "mx.a.example", "192.0.2.1",
		      false },
		    "ip@bulk:both.example/192.0.2.1=40 system=300 " },
		/* each domain has its own copy of a partial entry's limits */
		{ { "x.part.example", "bulk", "mx.a.example", "192.0.2.1",
		      false },
		    "domain:x.part.example=7 system=300 " },
		{ { "a.example", "bulk", "mx7.big.example", "192.0.2.1",
		      false },
		    "domain:a.example=40 site:mx:*.big.example=9 system=300 " },
		{ { "a.example", "bulk", "mx.own.example", "192.0.2.1", true },
		    "domain:a.example=40 site@bulk:mx:mx.own.example=5 tls=200 "
		    "system=300 " },
		/* where a site is silent DEFAULT's number is not put on it */
		{ { "a.example", "bulk", "mx.pace.example", "192.0.2.1",
		      false },
		    "domain:a.example=40 site:mx:mx.pace.example~60/1 "
		    "system=300 " },
	};
	struct conf *conf = load();
	struct limits l;
	char text[1024];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		limits_of(conf, &rows[i].place, &l);
		show(&l, text, sizeof(text));
		assert_string_equal(text, rows[i].want);
	}
	conf_unref(conf);
}

static void
test_messages(void **state)
{
	struct conf *conf = load();

	(void)state;
	assert_int_equal(limits_messages(conf, "a.example", NULL), 30);
	assert_int_equal(
	    limits_messages(conf, "a.example", "mx.pace.example"), 30);
	assert_int_equal(
	    limits_messages(conf, "a.example", "m.big.example"), 3);
	conf_unref(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_messages),
	};

	hash_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
