/*
 * test_conf_lookup.c - which entry applies, what it inherits, and that a table
 * of 100,000 entries loads and answers fast.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "tests/lib/conf/memory.h"

static struct conf *
load(const struct memory_file *files)
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

static size_t
key_index(const char *name)
{
	size_t i;

	for (i = 0; i < conf_dest_keys(); i++)
		if (strcmp(conf_dest_key_name(i), name) == 0)
			return i;
	fail();
	return 0;
}

/* ---- destinations -------------------------------------------------------- */

static const struct memory_file dest_files[] = { { "postern.conf", "" },
	{ "destinations.conf",
	    "[example.com]\n"
	    "max_connections = 5\n"
	    "[.example.com]\n"
	    "max_connections = 6\n"
	    "[.deep.example.com]\n"
	    "max_connections = 7\n"
	    "[b\xc3\xbc"
	    "cher.example]\n"
	    "max_connections = 8\n"
	    "[[192.0.2.1]]\n"
	    "max_connections = 9\n"
	    "[[IPv6:2001:DB8:0::1]]\n"
	    "max_connections = 10\n"
	    "[clear.example]\n"
	    "tls = none\n"
	    "[mx:*.google.com]\n"
	    "max_connections = 100\n"
	    "[mx:mx1.google.com]\n"
	    "max_connections = 101\n"
	    "[mx:*.l.google.com]\n"
	    "recipient_limit = 10/1m\n"
	    /* DEFAULT last: the order in the file does not matter */
	    "[DEFAULT]\n"
	    "tls = required\n"
	    "max_messages_per_connection = 20\n"
	    "bounce_profile = default\n" },
	{ NULL, NULL } };

static void
test_destinations(void **state)
{
	static const struct {
		const char *domain, *entry;
	} rows[] = {
		{ "example.com", "example.com" },
		{ "a.example.com", ".example.com" },
		{ "a.b.c.example.com", ".example.com" },
		{ "deep.example.com", ".example.com" },
		{ "a.deep.example.com", ".deep.example.com" },
		{ "b.a.deep.example.com", ".deep.example.com" },
		{ "notexample.com", "DEFAULT" },
		{ "com", "DEFAULT" },
		{ "", "DEFAULT" },
		{ ".", "DEFAULT" },
		{ "mx1.google.com", "DEFAULT" },
		{ "xn--bcher-kva.example", "xn--bcher-kva.example" },
		{ "[192.0.2.1]", "[192.0.2.1]" },
		/* the form of addr_domain_normalise() */
		{ "[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]" },
		{ "[192.0.2.2]", "DEFAULT" },
	};
	struct conf *conf = load(dest_files);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(
		    conf_dest_lookup(conf, rows[i].domain)->name,
		    rows[i].entry);
	conf_unref(conf);
}

static void
test_inheritance(void **state)
{
	struct conf *conf = load(dest_files);
	const struct conf_dest *d = conf_dest_lookup(conf, "example.com");
	char buf[128];

	(void)state;
	assert_int_equal(d->kind, CONF_DEST_DOMAIN);
	assert_int_equal(d->max_connections, 5);
	assert_int_equal(d->max_messages_per_connection, 20);
	assert_int_equal(d->tls, CONF_TLS_REQUIRED);
	assert_ptr_equal(d->profile, &conf->profiles[0]);
	assert_true(conf_dest_given(d, key_index("max_connections")));
	assert_false(conf_dest_given(d, key_index("tls")));
	assert_string_equal(
	    conf_dest_value(d, key_index("tls"), buf, sizeof(buf)), "required");
	assert_string_equal(
	    conf_dest_value(d, key_index("recipient_limit"), buf, sizeof(buf)),
	    "none");
	assert_string_equal(
	    conf_dest_value(d, key_index("max_connections"), buf, sizeof(buf)),
	    "5");
	/* tls = none alone switches the others off, for this entry only */
	d = conf_dest_lookup(conf, "clear.example");
	assert_int_equal(d->tls, CONF_TLS_NONE);
	assert_int_equal(d->dane, CONF_DANE_NONE);
	assert_int_equal(d->mta_sts, CONF_STS_OFF);
	assert_int_equal(conf->dests[0].dane, CONF_DANE_OPPORTUNISTIC);
	conf_unref(conf);
}

static void
test_sites(void **state)
{
	struct conf *conf = load(dest_files);
	const struct conf_dest *d;
	char buf[128];

	(void)state;
	d = conf_mx_site_lookup(conf, "mx1.google.com");
	assert_string_equal(d->name, "mx:mx1.google.com");
	assert_int_equal(d->max_connections, 101);
	d = conf_mx_site_lookup(conf, "mx2.google.com");
	assert_string_equal(d->name, "mx:*.google.com");
	assert_int_equal(d->kind, CONF_DEST_MX_SITE);
	d = conf_mx_site_lookup(conf, "alt1.aspmx.l.google.com");
	assert_string_equal(d->name, "mx:*.l.google.com");
	assert_string_equal(
	    conf_dest_value(d, key_index("recipient_limit"), buf, sizeof(buf)),
	    "10/1m");
	assert_null(conf_mx_site_lookup(conf, "google.com"));
	assert_null(conf_mx_site_lookup(conf, "example.com"));
	conf_unref(conf);
}

/* ---- routes -------------------------------------------------------------- */

static const struct memory_file route_files[] = {
	{ "postern.conf",
	    "[delivery]\nport = 2500\n"
	    "[credential c]\nuser = u\nsecret_file = /s\n" },
	{ "routes.conf",
	    "[a.example]\n"
	    "hosts = b.example/pri=20, c.example:26, [d.example]/pri=10,\n"
	    "\te.example, 192.0.2.1:27/pri=65535, 2001:db8::1,\n"
	    "\t[2001:db8::2]:28, [IPv6:2001:db8::3], [192.0.2.2]\n"
	    "credential = c\n"
	    "tls = none\n"
	    "[.a.example]\n"
	    "hosts = usedns\n"
	    "[all]\n"
	    "hosts = /dev/null\n" },
	{ NULL, NULL }
};

static void
test_routes(void **state)
{
	static const struct {
		const char *name, *addr;
		uint16_t port, priority;
		bool no_mx;
	} hosts[] = {
		{ "c.example", "", 26, 0, false },
		{ "e.example", "", 2500, 0, false },
		{ "2001:db8::1", "[2001:db8::1]:2500", 2500, 0, false },
		{ "2001:db8::2", "[2001:db8::2]:28", 28, 0, false },
		{ "2001:db8::3", "[2001:db8::3]:2500", 2500, 0, false },
		{ "192.0.2.2", "192.0.2.2:2500", 2500, 0, false },
		{ "d.example", "", 2500, 10, true },
		{ "b.example", "", 2500, 20, false },
		{ "192.0.2.1", "192.0.2.1:27", 27, 65535, false },
	};
	struct conf *conf = load(route_files);
	const struct conf_route *rt;
	char buf[64];
	size_t i;

	(void)state;
	rt = conf_route_lookup(conf, "a.example");
	assert_int_equal(rt->kind, CONF_ROUTE_HOSTS);
	assert_int_equal(rt->n_hosts, sizeof(hosts) / sizeof(hosts[0]));
	for (i = 0; i < rt->n_hosts; i++) {
		assert_string_equal(rt->hosts[i].name, hosts[i].name);
		assert_string_equal(
		    conf_addr_format(&rt->hosts[i].addr, buf, sizeof(buf)),
		    hosts[i].addr);
		assert_int_equal(rt->hosts[i].port, hosts[i].port);
		assert_int_equal(rt->hosts[i].priority, hosts[i].priority);
		assert_int_equal(rt->hosts[i].no_mx, hosts[i].no_mx);
	}
	assert_string_equal(rt->cred->user, "u");
	assert_true(rt->has_tls);
	assert_int_equal(rt->tls, CONF_TLS_NONE);
	rt = conf_route_lookup(conf, "x.y.a.example");
	assert_int_equal(rt->kind, CONF_ROUTE_USEDNS);
	assert_false(rt->has_tls);
	assert_int_equal(
	    conf_route_lookup(conf, "other.example")->kind, CONF_ROUTE_DISCARD);
	conf_unref(conf);
	conf = load(dest_files);
	assert_null(conf_route_lookup(conf, "a.example"));
	conf_unref(conf);
}

/* ---- gateways, networks -------------------------------------------------- */

static struct sockaddr_storage
address(const char *ip)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

	if (inet_pton(AF_INET, ip, &in->sin_addr) == 1)
		ss.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, ip, &in6->sin6_addr) == 1)
		ss.ss_family = AF_INET6;
	return ss;
}

static const struct memory_file gateway_files[] = { { "postern.conf", "" },
	{ "gateways.conf",
	    "[gateway one]\n"
	    "ipv4 = 192.0.2.10\n"
	    "clients = 10.1.2.3\n"
	    "senders = Boss@news.example, @.campaign.example\n"
	    "[gateway net]\n"
	    "hostname = net.example\n"
	    "clients = 10.1.0.0/16, 2001:db8::/32\n"
	    "senders = @news.example\n"
	    "[gateway wide]\n"
	    "clients = 10.0.0.0/8\n"
	    "senders = list@, @.deep.campaign.example\n" },
	{ NULL, NULL } };

static void
test_gateways(void **state)
{
	static const struct {
		const char *sender, *client, *want;
	} rows[] = {
		{ "a@b.example", NULL, "default" },
		{ "", "192.0.2.1", "default" },
		{ "", "10.1.2.3", "one" },
		{ "", "10.1.2.4", "net" },
		{ "", "10.2.2.4", "wide" },
		{ "", "::ffff:10.1.2.3", "one" },
		{ "", "2001:db8::99", "net" },
		{ "", "2001:db9::99", "default" },
		/* the client's address comes before the sender */
		{ "boss@news.example", "10.2.0.0", "wide" },
		{ "boss@news.example", "192.0.2.1", "one" },
		{ "BOSS@NEWS.EXAMPLE", NULL, "one" },
		{ "other@news.example", NULL, "net" },
		{ "list@news.example", NULL, "wide" },
		{ "list@nowhere.example", NULL, "wide" },
		{ "x@sub.news.example", NULL, "default" },
		{ "x@a.campaign.example", NULL, "one" },
		{ "x@a.deep.campaign.example", NULL, "wide" },
		{ "x@campaign.example", NULL, "default" },
		{ "no-at-sign", NULL, "default" },
	};
	struct conf *conf = load(gateway_files);
	const struct conf_gateway *gw;
	struct sockaddr_storage ss;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].client != NULL)
			ss = address(rows[i].client);
		gw = conf_gateway_choose(conf, rows[i].sender,
		    rows[i].client == NULL ? NULL : (struct sockaddr *)&ss);
		if (strcmp(gw->name, rows[i].want) != 0)
			fail_msg("%s from %s: found %s, wanted %s",
			    rows[i].sender, rows[i].client, gw->name,
			    rows[i].want);
	}
	assert_string_equal(
	    conf_gateway_lookup(conf, "net")->hostname, "net.example");
	assert_string_equal(
	    conf_gateway_lookup(conf, "one")->hostname, "gw.example.net");
	assert_int_equal(conf_gateway_lookup(conf, "wide")->index, 3);
	assert_ptr_equal(
	    conf_gateway_lookup(conf, "default"), &conf->gateways[0]);
	assert_null(conf_gateway_lookup(conf, "nope"));
	assert_int_equal(
	    conf_addr_len(&conf->gateways[1].ipv4), sizeof(struct sockaddr_in));
	assert_int_equal(conf_addr_len(&conf->gateways[1].ipv6), 0);
	conf_unref(conf);
}

static void
test_networks(void **state)
{
	static const struct memory_file files[] = {
		{ "postern.conf",
		    "[listener a]\naddress = ::1\ntls = none\n"
		    "relay_from = 10.0.0.0/8, 10.1.0.0/17, 0.0.0.0/0, "
		    "2001:db8::/33, ::1\n" },
		{ NULL, NULL }
	};
	static const struct {
		const char *ip, *want;
	} rows[] = {
		{ "10.1.127.255", "10.1.0.0/17" },
		{ "10.1.128.0", "10.0.0.0/8" },
		{ "192.0.2.1", "0.0.0.0/0" },
		{ "2001:db8:7fff::1", "2001:db8::/33" },
		{ "2001:db8:8000::1", NULL },
		{ "::1", "::1" },
		{ "::2", NULL },
		{ "::ffff:10.9.9.9", "10.0.0.0/8" },
	};
	struct conf *conf = load(files);
	const struct conf_net *net;
	struct sockaddr_storage ss;
	struct sockaddr un = { .sa_family = AF_UNIX };
	char buf[48];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ss = address(rows[i].ip);
		net = conf_nets_match(
		    &conf->listeners[0].relay_from, (struct sockaddr *)&ss);
		if (rows[i].want == NULL) {
			assert_null(net);
			continue;
		}
		assert_non_null(net);
		assert_string_equal(
		    conf_net_format(net, buf, sizeof(buf)), rows[i].want);
	}
	assert_null(conf_nets_match(&conf->listeners[0].relay_from, &un));
	conf_unref(conf);
}

static void
test_profiles(void **state)
{
	static const struct memory_file files[] = { { "postern.conf", "" },
		{ "bounce.conf",
		    "[profile a]\nmax_retries = 1\n"
		    "[profile default]\nmax_retries = 2\n"
		    "[profile b]\n" },
		{ "destinations.conf",
		    "[a.example]\nbounce_profile = a\n"
		    "[d.example]\nbounce_profile = default\n" },
		{ NULL, NULL } };
	struct conf *conf = load(files);
	const struct conf_dest *with = conf_dest_lookup(conf, "a.example");
	const struct conf_dest *def = conf_dest_lookup(conf, "d.example");
	const struct conf_dest *without = conf_dest_lookup(conf, "x.example");

	(void)state;
	assert_int_equal(conf->n_profiles, 3);
	assert_int_equal(conf_profile_lookup(conf, "default")->max_retries, 2);
	assert_string_equal(conf_profile_choose(conf, with, "b")->name, "a");
	assert_string_equal(
	    conf_profile_choose(conf, def, "b")->name, "default");
	assert_string_equal(conf_profile_choose(conf, without, "b")->name, "b");
	assert_string_equal(
	    conf_profile_choose(conf, without, "gone")->name, "default");
	assert_string_equal(
	    conf_profile_choose(conf, without, NULL)->name, "default");
	conf_unref(conf);
}

/* ---- exceptions ---------------------------------------------------------- */

static void
test_until(void **state)
{
	static const struct memory_file files[] = { { "postern.conf", "" },
		{ "destinations.conf",
		    "[DEFAULT]\nmax_connections = 1\nticket = all\n"
		    "[a.example]\nmax_connections = 2\nuntil = 2027-01-31\n"
		    "ticket = CHG 1\n"
		    "[.example]\nmax_connections = 3\n"
		    "until = 2027-02-28T12:00+01:00\n"
		    "[mx:h.example]\nmax_connections = 4\n"
		    "until = 2001-01-01\n"
		    "[mx:*.example]\nmax_connections = 5\n" },
		{ NULL, NULL } };
	static const struct {
		int64_t now_s;
		const char *domain;
		uint32_t want;
	} cases[] = {
		{ 1801439999, "a.example", 2 }, /* 2027-01-31T23:59:59Z */
		{ 1801440000, "a.example", 3 },
		{ 1803812399, "a.example", 3 }, /* 2027-02-28T10:59:59Z */
		{ 1803812400, "a.example", 1 },
		{ 1801439999, "x.a.example", 3 },
		{ 1801439999, "[192.0.2.1]", 1 },
	};
	struct conf *conf = load(files);
	const struct conf_dest *d;
	char value[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
		    conf_dest_lookup_at(conf, cases[i].domain, cases[i].now_s)
			->max_connections,
		    cases[i].want);
	d = conf_dest_lookup_at(conf, "a.example", 0);
	assert_string_equal(d->ticket, "CHG 1");
	assert_string_equal(
	    conf_dest_value(d, key_index("until"), value, sizeof(value)),
	    "2027-02-01T00:00:00Z");
	assert_null(conf_dest_lookup_at(conf, "x.example", 0)->ticket);
	assert_int_equal(
	    conf_mx_site_lookup(conf, "h.example")->max_connections, 5);
	assert_int_equal(
	    conf_dest_entry(conf, "mx:*.example")->max_connections, 5);
	assert_int_equal(
	    conf_dest_entry(conf, "mx:h.example")->max_connections, 4);
	assert_int_equal(conf_dest_entry(conf, ".example")->max_connections, 3);
	assert_ptr_equal(conf_dest_entry(conf, "DEFAULT"), &conf->dests[0]);
	assert_null(conf_dest_entry(conf, "x.example"));
	assert_false(conf_dest_inherits(key_index("until")));
	assert_true(conf_dest_inherits(key_index("tls")));
	conf_unref(conf);
}

/* ---- size ---------------------------------------------------------------- */

static void
test_hundred_thousand(void **state)
{
	struct memory_file files[] = { { "postern.conf", "" },
		{ "destinations.conf", NULL }, { "routes.conf", NULL },
		{ NULL, NULL } };
	char *dests = NULL, *routes = NULL, name[64];
	size_t len, i;
	FILE *f;
	struct conf *conf;
	int64_t start;

	(void)state;
	f = open_memstream(&dests, &len);
	for (i = 0; i < 100000; i++)
		fprintf(f,
		    "[%sd%zu.example]\n# number %zu\nmax_connections = %zu\n"
		    "tls = required\n",
		    i % 10 == 0 ? "." : "", i, i, i % 1000 + 1);
	fclose(f);
	files[1].text = dests;
	f = open_memstream(&routes, &len);
	for (i = 0; i < 40000; i++)
		fprintf(
		    f, "[r%zu.example]\nhosts = a%zu.example:25/pri=5\n", i, i);
	fclose(f);
	files[2].text = routes;
	start = clock_mono_ms();
	conf = load(files);
	print_message("100,000 destinations and 40,000 routes: %d ms\n",
	    (int)(clock_mono_ms() - start));
	/* several times what it takes with a sanitizer on a busy machine */
	assert_true(clock_mono_ms() - start < 10000);
	assert_int_equal(conf->n_dests, 100001);
	assert_int_equal(conf->n_routes, 40000);
	start = clock_mono_ms();
	for (i = 0; i < 100000; i++) {
		(void)snprintf(name, sizeof(name), "%sd%zu.example",
		    i % 10 == 0 ? "a.b." : "", i);
		assert_int_equal(conf_dest_lookup(conf, name)->max_connections,
		    i % 1000 + 1);
	}
	print_message(
	    "100,000 lookups: %d ms\n", (int)(clock_mono_ms() - start));
	assert_true(clock_mono_ms() - start < 5000);
	conf_unref(conf);
	free(dests);
	free(routes);
}

static void
test_references(void **state)
{
	struct conf *conf = load(dest_files);

	(void)state;
	assert_ptr_equal(conf_ref(conf), conf);
	conf_unref(conf);
	assert_string_equal(conf_dest_lookup(conf, "example.com")->name,
	    "example.com"); /* still there */
	conf_unref(conf);
	conf_unref(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_destinations),
		cmocka_unit_test(test_inheritance),
		cmocka_unit_test(test_sites),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_gateways),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_profiles),
		cmocka_unit_test(test_until),
		cmocka_unit_test(test_hundred_thousand),
		cmocka_unit_test(test_references),
	};

	hash_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
