/*
 * test_conf_load.c - whole sets: values and their borders, references, rules
 * between keys, several problems at once, includes, environment, directories.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/conf/conf_int.h"
#include "lib/log/log.h"
#include "tests/lib/conf/memory.h"

#define L    "[listener a]\naddress = 127.0.0.1:25\ntls = none\n"
#define CERT "[certificate default]\ncert_file = c\nkey_file = k\n"

/*
 * One file each; want is "" when it loads, else "LINE:COLUMN TEXT" of every
 * error, where TEXT is a part of the message, joined by '|'.
 */
static const struct {
	const char *file, *in, *want;
} cases[] = {
	{ "postern.conf", "", "" },
	{ "postern.conf", "[postern]\nhostname = a.example\n", "" },
	/* headers */
	{ "postern.conf", "[postrn]\nx = y\n",
	    "1:2 unknown section 'postrn', did you mean 'postern'?" },
	{ "postern.conf", "[nothing like it]\n",
	    "1:2 unknown section 'nothing'" },
	{ "postern.conf", "[listener]\n",
	    "1:2 found [listener], wanted [listener NAME]" },
	{ "postern.conf", "[listener a b]\n",
	    "1:2 found [listener a b], wanted [listener NAME]" },
	{ "postern.conf", "[log x]\n", "1:2 found [log x], wanted [log]" },
	{ "postern.conf", "[log]\n[trust]\n[log]\n",
	    "3:2 found [log] a second time, wanted it once (first in "
	    "postern.conf line 1)" },
	{ "postern.conf", L L, "4:2 found [listener a] a second time" },
	{ "postern.conf", "[gateway x]\n",
	    "1:2 found [gateway NAME], wanted it in gateways.conf" },
	{ "postern.conf", "hostname = x\n",
	    "1:1 found key 'hostname' before the first [section]" },
	/* keys */
	{ "postern.conf", "[listener a]\naddress = ::1\nmax_conections = 5\n",
	    "3:1 unknown key 'max_conections' in [listener NAME], did you mean "
	    "'max_connections'?" },
	{ "postern.conf", "[log]\nworkers = 5\n",
	    "2:1 unknown key 'workers' in [log]; [delivery] of postern.conf "
	    "has one" },
	{ "postern.conf", "[log]\nlevel = info\nlevel = debug\n",
	    "3:1 found 'level' a second time, wanted it once (first in line "
	    "2)" },
	/* integers */
	{ "postern.conf", "[delivery]\nmax_connections = 1\n", "" },
	{ "postern.conf", "[delivery]\nmax_connections = 1000000\n", "" },
	{ "postern.conf", "[delivery]\nmax_connections = 0\n",
	    "2:19 max_connections: found '0', wanted a whole number from 1 to "
	    "1000000" },
	{ "postern.conf", "[delivery]\nmax_connections = 1000001\n",
	    "2:19 found '1000001'" },
	{ "postern.conf",
	    "[delivery]\nmax_connections = 99999999999999999999999\n",
	    "2:19 found '99999999999999999999999'" },
	{ "postern.conf", "[delivery]\nmax_connections = -1\n", "2:19 '-1'" },
	{ "postern.conf", "[delivery]\nmax_connections = 5x\n", "2:19 '5x'" },
	{ "postern.conf", "[delivery]\nmax_connections =\n",
	    "2:0 max_connections: found ''" },
	{ "postern.conf", "[delivery]\nmax_connections = 4294967297\n",
	    "2:19 '4294967297'" },
	{ "postern.conf", "[delivery]\nworkers = auto\n", "" },
	{ "postern.conf", "[delivery]\nworkers = 16\n", "" },
	{ "postern.conf", "[delivery]\nworkers = 17\n", "2:11 auto or" },
	{ "postern.conf", "[delivery]\nport = 65535\n", "" },
	{ "postern.conf", "[delivery]\nport = 0\n", "2:8 from 1 to 65535" },
	{ "postern.conf", "[delivery]\nport = 65536\n", "2:8 '65536'" },
	/* durations */
	{ "postern.conf", "[delivery]\nidle = 0\n", "" },
	{ "postern.conf", "[delivery]\nidle = 250ms\n", "" },
	{ "postern.conf", "[delivery]\nidle = 5m\n", "" },
	{ "postern.conf", "[delivery]\nidle = 301\n",
	    "2:8 idle: found '301', wanted a duration (500ms, 30s, 5m, 2h, 3d) "
	    "from 0s to 5m" },
	{ "postern.conf", "[delivery]\nidle = 5 m\n", "2:8 '5 m'" },
	{ "postern.conf", "[delivery]\nidle = s\n", "2:8 's'" },
	{ "postern.conf", "[delivery]\nidle = 1w\n", "2:8 '1w'" },
	{ "postern.conf", "[delivery]\nconnect_timeout = 99ms\n",
	    "2:19 '99ms'" },
	{ "bounce.conf", "[profile x]\nmax_queue_time = 259200\n", "" },
	{ "bounce.conf", "[profile x]\nmax_queue_time = 3d\n", "" },
	{ "bounce.conf", "[profile x]\nmax_queue_time = 100ms\n",
	    "2:18 '100ms'" },
	/* sizes */
	{ "postern.conf", "[queue]\nmin_free_space = 0\n", "" },
	{ "postern.conf", "[queue]\nmin_free_space = 16T\n", "" },
	{ "postern.conf", "[queue]\nmin_free_space = 17t\n",
	    "2:18 from 0 to 16t" },
	{ "postern.conf", "[queue]\nmin_free_space = 1.5g\n", "2:18 '1.5g'" },
	/* words */
	{ "postern.conf", "[log]\nformat = json\nsubjects = no\n", "" },
	{ "postern.conf", "[log]\nformat = jsn\n",
	    "2:10 format: found 'jsn', wanted text or json, did you mean "
	    "'json'?" },
	{ "postern.conf", "[log]\nlevel = loud\n",
	    "2:9 wanted critical, warning, info, debug or trace" },
	{ "postern.conf", "[log]\nsubjects = maybe\n",
	    "2:12 wanted no or yes" },
	{ "postern.conf", "[log]\ntarget = file:/x\n", "" },
	{ "postern.conf", "[log]\ntarget = file:\n",
	    "2:10 stdout, syslog or file:PATH" },
	/* names and addresses */
	{ "postern.conf", "[postern]\nhostname = 192.0.2.1\n",
	    "2:12 an address rather than a name" },
	{ "postern.conf", "[postern]\nhostname = a..b\n", "2:12 empty label" },
	{ "postern.conf", "[postern]\nhostname = -a.example\n", "2:12 '-'" },
	{ "postern.conf", "[postern]\nhostname = a b\n", "2:12 character" },
	{ "postern.conf", "[resolver]\nnameservers = 127.0.0.1:5302, ::1\n",
	    "" },
	{ "postern.conf", "[resolver]\nnameservers = dns.example\n",
	    "2:15 found 'dns.example', wanted an address and port" },
	{ "postern.conf", "[resolver]\nnameservers = 127.0.0.1:0\n",
	    "2:15 '127.0.0.1:0'" },
	{ "postern.conf", "[resolver]\nnameservers = 127.0.0.1,,::1\n",
	    "2:15 without empty elements" },
	{ "postern.conf",
	    "[listener a]\naddress = [::1]:25\nrelay_from = "
	    "10.0.0.0/8, ::/0, 192.0.2.1\ntls = none\n",
	    "" },
	{ "postern.conf", L "relay_from = 10.0.0.1/8\n",
	    "4:14 that network is 10.0.0.0/8" },
	{ "postern.conf", L "relay_from = 10.0.0.0/33\n", "4:14 from 0 to 32" },
	{ "postern.conf", L "relay_from = inside\n", "4:14 found 'inside'" },
	{ "postern.conf", L "relay_from = special\n", "4:14 found 'special'" },
	{ "postern.conf", "[delivery]\ndeny_networks = special, 192.0.2.0/24\n",
	    "" },
	{ "postern.conf", "[delivery]\ndeny_networks = none\n", "" },
	{ "postern.conf", "[delivery]\ndeny_networks =\n", "" },
	{ "postern.conf", "[delivery]\ndeny_networks = none, ::/0\n",
	    "2:17 none to stand alone" },
	{ "postern.conf", "[delivery]\ndeny_networks = private\n",
	    "2:17 found 'private'" },
	{ "postern.conf", "[mta-sts]\nproxy = http://u:p@h:3128\n",
	    "2:9 secrets are never values" },
	{ "postern.conf", "[mta-sts]\nproxy = http://h:3128\n", "" },
	{ "postern.conf", "[cluster]\nredis = r.example\n", "2:9 HOST:PORT" },
	/* bounce verification */
	{ "postern.conf",
	    "[bounce-verification]\nkey_file = k\nsenders = @a.example\n"
	    "except = u@a.example, @.b.example\nlifetime = 3d\n"
	    "untagged = reject\n" L "accept_bounces = yes\n",
	    "" },
	{ "postern.conf", "[bounce-verification]\nkey_file = k\n",
	    "1:2 found no senders in [bounce-verification]" },
	{ "postern.conf",
	    "[bounce-verification]\nkey_file = k\nsenders = @a.example\n"
	    "except = @a.example\n",
	    "4:10 except: found '@a.example' again" },
	{ "postern.conf", "[bounce-verification]\nlifetime = 12h\n",
	    "2:12 from 1d to 30d" },
	{ "postern.conf", "[bounce-verification]\nuntagged = yes\n",
	    "2:12 accept, mark or reject" },
	{ "postern.conf", L "accept_bounces = yes\n",
	    "4:18 [bounce-verification] has no key_file" },
	/* listeners */
	{ "postern.conf", "[listener a]\ntls = none\n",
	    "1:2 found no address in [listener NAME], wanted one" },
	{ "postern.conf", "[listener a]\naddress = ::1\n", "" },
	{ "postern.conf", "[listener a]\naddress = ::1\ntls = required\n",
	    "3:7 found tls without a certificate" },
	{ "postern.conf", "[listener a]\naddress = ::1\ncertificate = x\n",
	    "3:15 certificate: found 'x', wanted a [certificate NAME] that "
	    "exists in postern.conf" },
	{ "postern.conf", CERT "[listener a]\naddress = ::1\ntls = implicit\n",
	    "" },
	{ "postern.conf", L "auth = required\nauth_file = f\n",
	    "4:8 AUTH only inside TLS" },
	{ "postern.conf", CERT "[listener a]\naddress = ::1\nauth = offered\n",
	    "6:8 found auth without auth_file" },
	{ "postern.conf", L "bounce_profile = p\n",
	    "4:18 wanted a [profile NAME] that exists in bounce.conf" },
	{ "postern.conf",
	    L "[listener b]\naddress = 127.0.0.1:25\ntls = none\n",
	    "5:11 found 127.0.0.1:25, which 127.0.0.1:25 (postern.conf line 2) "
	    "has already" },
	{ "postern.conf", L "[listener b]\naddress = 0.0.0.0\ntls = none\n",
	    "5:11 found 0.0.0.0:25, which 127.0.0.1:25" },
	{ "postern.conf",
	    L "[listener b]\naddress = [::]:25, 127.0.0.2\ntls = none\n", "" },
	{ "postern.conf", L "[admin]\nlisten = 127.0.0.1:25\n",
	    "2:11 found 127.0.0.1:25, which 127.0.0.1:25 (postern.conf line "
	    "5)" },
	/* other rules */
	{ "postern.conf", "[certificate x]\ncert_file = c\n",
	    "1:2 found no key_file" },
	{ "postern.conf", "[resolver]\nmin_ttl = 1h\nmax_ttl = 60\n",
	    "2:11 found min_ttl above max_ttl" },
	{ "bounce.conf", "[profile x]\ninitial_retry = 2h\n",
	    "2:17 found initial_retry above max_retry" },
	{ "bounce.conf", "[profile x]\nbounce_recipient = a@b.example\n", "" },
	{ "bounce.conf", "[profile x]\nbounce_recipient = a b\n",
	    "2:20 local@domain" },
	{ "bounce.conf", "[profile x]\nsign = key1\n",
	    "2:8 wanted off (this version has no keys" },
	/* destinations */
	{ "destinations.conf",
	    "[DEFAULT]\n[a.example]\n[.a.example]\n"
	    "[mx:*.a.example]\n[mx:a.example]\n"
	    "[[192.0.2.1]]\n[[IPv6:2001:DB8::1]]\n",
	    "" },
	{ "destinations.conf", "[a.example]\n[A.Example.]\n",
	    "2:2 found [a.example] a second time" },
	{ "destinations.conf", "[*.a.example]\n",
	    "1:2 a leading dot for all names below: [.a.example]" },
	{ "destinations.conf", "[a b]\n", "1:2 found [a b], wanted a domain" },
	{ "destinations.conf", "[[192.0.2]]\n", "1:2 [192.0.2.1] or" },
	{ "destinations.conf", "[a.example]\nmax_connections = 10001\n",
	    "2:19 from 1 to 10000" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = 1000/60m\n",
	    "" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = 0/1m\n", "" },
	{ "destinations.conf", "[a.example]\nuntil = 2028-02-29\n", "" },
	{ "destinations.conf", "[a.example]\nuntil = 2027-02-29\n",
	    "2:9 wanted a date" },
	{ "destinations.conf", "[a.example]\nuntil = tomorrow\n",
	    "2:9 wanted a date" },
	{ "destinations.conf", "[a.example]\nuntil = 2027-01-31T18:00\n",
	    "2:9 wanted a date" },
	{ "destinations.conf",
	    "[a.example]\nuntil = 2027-01-31T18:00:00+02:00\nticket = X 1\n",
	    "" },
	{ "destinations.conf", "[mx:a.example]\nuntil = 2027-01-31\n", "" },
	{ "destinations.conf", "[DEFAULT]\nuntil = 2027-01-31\n",
	    "2:9 wanted it only in entries" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = none\n", "" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = 1000000000/1h\n",
	    "" },
	{ "destinations.conf",
	    "[a.example]\nrecipient_limit = 1000000001/60m\n",
	    "2:19 none or N/Mm" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = 5/61m\n",
	    "2:19 '5/61m'" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = 5/0m\n",
	    "2:19 '5/0m'" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = 5/60\n",
	    "2:19 '5/60'" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = /m\n",
	    "2:19 '/m'" },
	{ "destinations.conf", "[a.example]\nrecipient_limit = 5/\n",
	    "2:19 '5/'" },
	{ "destinations.conf", "[a.example]\ntls = required-verified\n",
	    "2:7 did you mean 'required-verify'?" },
	{ "destinations.conf", "[a.example]\nlimit_apply = cluster\n",
	    "2:15 [cluster] has no redis" },
	{ "destinations.conf", "[a.example]\ncertificate = x\n",
	    "2:15 certificate: found 'x'" },
	{ "destinations.conf", "[a.example]\nbounce_profile = x\n",
	    "2:18 bounce_profile: found 'x'" },
	{ "destinations.conf", "[a.example]\nbounce_tagging = on\n",
	    "2:18 found on, but [bounce-verification]" },
	{ "destinations.conf", "[mx:a.example]\ntls = none\n",
	    "2:7 found tls in an mx: entry" },
	{ "destinations.conf",
	    "[mx:a.example]\nmax_connections = 5\n"
	    "recipient_limit = 5/1m\n",
	    "" },
	/* tls = none against DANE and MTA-STS */
	{ "destinations.conf", "[a.example]\ntls = none\n", "" },
	{ "destinations.conf", "[a.example]\ntls = none\nmta_sts = on\n",
	    "3:11 found tls = none together with mta_sts = on" },
	{ "destinations.conf",
	    "[a.example]\ndane = opportunistic\ntls = none\n",
	    "2:8 together with dane = opportunistic" },
	{ "destinations.conf", "[DEFAULT]\ntls = none\n",
	    "2:7 together with dane = opportunistic" },
	{ "destinations.conf", "[DEFAULT]\ntls = none\ndane = none\n",
	    "2:7 together with mta_sts = on" },
	{ "destinations.conf",
	    "[DEFAULT]\ntls = none\ndane = none\nmta_sts = off\n", "" },
	{ "destinations.conf",
	    "[a.example]\nmta_sts = mandatory\n"
	    "[DEFAULT]\ntls = none\ndane = none\nmta_sts = off\n",
	    "2:11 found tls = none (from DEFAULT) together with mta_sts = "
	    "mandatory" },
	/* routes */
	{ "routes.conf", "[ALL]\nhosts = relay.example\n", "" },
	{ "routes.conf", "[a.example]\n", "1:2 found no hosts" },
	{ "routes.conf", "[a.example]\nhosts =\n", "2:0 found ''" },
	{ "routes.conf", "[a.example]\nhosts = USEDNS, b.example\n",
	    "2:9 USEDNS to stand alone" },
	{ "routes.conf", "[a.example]\nhosts = b.example/pri=65536\n",
	    "2:9 /pri=0 to /pri=65535" },
	{ "routes.conf", "[a.example]\nhosts = b.example:0\n",
	    "2:9 'b.example:0'" },
	{ "routes.conf", "[a.example]\nhosts = [b.example\n", "2:9 NAME" },
	{ "routes.conf", "[a.example]\nhosts = b.example\ncredential = c\n",
	    "3:14 wanted a [credential NAME] that exists in postern.conf" },
	/* gateways */
	{ "gateways.conf",
	    "[gateway a]\nsenders = @x.example\n"
	    "[gateway b]\nsenders = u@x.example, @x.example\n",
	    "4:11 found '@x.example', which gateway a has already" },
	{ "gateways.conf",
	    "[gateway a]\nclients = 10.0.0.0/8\n"
	    "[gateway b]\nclients = 10.0.0.0/8\n",
	    "4:11 found '10.0.0.0/8', which gateway a has" },
	{ "gateways.conf", "[gateway a]\nsenders = x.example\n",
	    "2:11 local@domain" },
	{ "gateways.conf", "[gateway a]\nipv4 = ::1\n", "2:8 IPv4 address" },
	/* environment */
	{ "postern.conf", "[delivery]\nport = ${PORT}\n", "" },
	{ "postern.conf", "[delivery]\nport = ${NOPE}\n",
	    "2:8 found ${NOPE}, but there is no such environment variable" },
	{ "postern.conf", "[delivery]\nport = ${PO\n", "2:8 wanted ${NAME}" },
	{ "postern.conf", "[delivery]\nport = ${}\n", "2:8 wanted ${NAME}" },
	{ "postern.conf", "[delivery]\nport = ${DOLLAR}\n",
	    "2:8 found '${PORT}'" }, /* not replaced twice */
	{ "postern.conf", "[log]\ntarget = ${CONTROL}\n",
	    "2:10 found bytes in environment variable CONTROL that are not "
	    "text" },
	{ "postern.conf", "[log]\ntarget = ${LATIN}\n",
	    "2:10 environment variable LATIN" },
	{ "postern.conf", "[log]\ntarget = ${LONG}\n",
	    "2:10 found a value line of 70000 bytes" },
	{ "postern.conf", L "banner = $${PORT} costs $5\n", "" },
};

static char *
describe(const struct conf_errors *errs)
{
	char *text = NULL;
	size_t len, i;
	FILE *f = open_memstream(&text, &len);

	for (i = 0; i < errs->n; i++)
		if (!errs->v[i].warning)
			fprintf(f, "%s%u:%u %s", ftell(f) > 0 ? "|" : "",
			    errs->v[i].line, errs->v[i].column,
			    errs->v[i].text);
	fclose(f);
	return text;
}

/* Place must match; the text must contain what is wanted. */
static bool
matches(const struct conf_errors *errs, const char *want)
{
	char place[32];
	const char *text = strchr(want, ' ');

	if (want[0] == '\0')
		return errs->errors == 0;
	if (errs->errors != 1)
		return false;
	(void)snprintf(
	    place, sizeof(place), "%u:%u", errs->v[0].line, errs->v[0].column);
	return strlen(place) == (size_t)(text - want) &&
	    strncmp(place, want, strlen(place)) == 0 &&
	    strstr(errs->v[0].text, text + 1) != NULL;
}

static void
drop_warnings(struct conf_errors *errs)
{
	size_t i, n = 0;

	for (i = 0; i < errs->n; i++) {
		if (errs->v[i].warning) {
			free(errs->v[i].file);
			free(errs->v[i].text);
		} else {
			errs->v[n++] = errs->v[i];
		}
	}
	errs->n = n;
}

static void
test_cases(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct memory_file files[] = { { cases[i].file, cases[i].in },
			{ strcmp(cases[i].file, "postern.conf") == 0
				? "-"
				: "postern.conf",
			    "" },
			{ NULL, NULL } };
		struct conf_source src = memory_source(files);
		struct conf_errors errs = { 0 };
		struct conf *conf = NULL;
		char *found;
		int r;

		r = conf_load(&src, &errs, &conf);
		drop_warnings(&errs);
		found = describe(&errs);
		if (!matches(&errs, cases[i].want) ||
		    r != (errs.errors == 0 ? 0 : PE_CONFIG) ||
		    (r == 0) != (conf != NULL))
			fail_msg("%s\n-- found (%d):\n%s\n-- wanted:\n%s",
			    cases[i].in, r, found, cases[i].want);
		free(found);
		conf_errors_done(&errs);
		conf_unref(conf);
	}
}

/* dnssec = validate: a build that can, and an anchor that is one. */
static void
test_validate(void **state)
{
	static const struct {
		const char *in, *anchor, *want;
	} rows[] = {
#ifdef POSTERN_UNBOUND
		{ "dnssec = validate\ntrust_anchor = /a\n",
		    "; k\n.\tIN\tDS\t20326 8 2 E06D\n", "" },
		{ "dnssec = validate\ntrust_anchor = /a\n",
		    ". IN DNSKEY 257 3 8 AwEA ; keytag 1\n", "" },
		/* autotrust's own words are no records */
		{ "dnssec = validate\ntrust_anchor = /a\n",
		    "; autotrust . DS file\n\n",
		    "3:16 found no record in '/a'" },
		{ "dnssec = validate\ntrust_anchor = /b\n", "",
		    "3:16 cannot read '/b'" },
		{ "dnssec = validate\n", "", "1:2 install dns-root-data" },
		/* who does not validate needs no anchor */
		{ "trust_anchor = /b\n", "", "" },
		{ "dnssec = validation\n", "",
		    "2:10 trust, require, validate" },
#else
		{ "dnssec = validate\n", "", "2:10 without libunbound" },
#endif
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[256];
		const struct memory_file files[] = { { "postern.conf", text },
			{ "/a", rows[i].anchor }, { NULL, NULL } };
		struct conf_source src = memory_source(files);
		struct conf_errors errs = { 0 };
		struct conf *conf = NULL;

		(void)snprintf(
		    text, sizeof(text), "[resolver]\n%s", rows[i].in);
		src.named_files = true;
		(void)conf_load(&src, &errs, &conf);
		drop_warnings(&errs);
		if (!matches(&errs, rows[i].want))
			fail_msg("row %zu: %u:%u %s", i,
			    errs.n > 0 ? errs.v[0].line : 0,
			    errs.n > 0 ? errs.v[0].column : 0,
			    errs.n > 0 ? errs.v[0].text : "nothing told");
		if (conf != NULL && strstr(rows[i].in, "validate") != NULL)
			assert_int_equal(conf->resolver.nameservers.n, 0);
		conf_unref(conf);
		conf_errors_done(&errs);
	}
}

/* The admin and the listener of an entry share one rule above: the order of
 * kinds, not of lines, decides which of the two is told. */

static void
test_five_mistakes(void **state)
{
	static const struct memory_file files[] = {
		{ "postern.conf",
		    "# a node\n"
		    "[postern]\n"
		    "hostname = gw1.example.net\n"
		    "\n"
		    "[listener internal]\n"
		    "address = 0.0.0.0:2525\n"
		    "max_conections = 10\n"
		    "certificate = other\n"
		    "\n"
		    "[delivery]\n"
		    "port = 70000\n"
		    "\n"
		    "[resolvr]\n"
		    "timeout = 5s\n" },
		{ "destinations.conf",
		    "[bank.example]\ntls = none\ndane = mandatory\n" },
		{ NULL, NULL }
	};
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	char *text = NULL;
	size_t len;
	FILE *f;

	(void)state;
	assert_int_equal(conf_load(&src, &errs, &conf), PE_CONFIG);
	assert_null(conf);
	assert_int_equal(errs.errors, 5);
	f = open_memstream(&text, &len);
	conf_errors_print(&errs, "/etc/postern", f);
	fclose(f);
	assert_string_equal(text,
	    "/etc/postern/postern.conf:7: error: unknown key 'max_conections' "
	    "in [listener NAME], did you mean 'max_connections'?\n"
	    "/etc/postern/postern.conf:8: error: certificate: found 'other', "
	    "wanted a [certificate NAME] that exists in postern.conf\n"
	    "/etc/postern/postern.conf:11: error: port: found '70000', wanted "
	    "a port from 1 to 65535\n"
	    "/etc/postern/postern.conf:13: error: unknown section 'resolvr', "
	    "did you mean 'resolver'?\n"
	    "/etc/postern/destinations.conf:3: error: found tls = none "
	    "together with dane = mandatory, wanted dane = none or another "
	    "tls\n");
	free(text);
	conf_errors_done(&errs);
}

static void
test_many_mistakes(void **state)
{
	char *text = NULL, *in = NULL;
	size_t len, i;
	FILE *f = open_memstream(&in, &len);
	struct memory_file files[2] = { { "postern.conf", NULL },
		{ NULL, NULL } };
	struct conf_source src;
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;

	(void)state;
	for (i = 0; i < 5000; i++)
		fprintf(f, "[x%zu]\n", i);
	fclose(f);
	files[0].text = in;
	src = memory_source(files);
	assert_int_equal(conf_load(&src, &errs, &conf), PE_CONFIG);
	assert_int_equal(errs.errors, 5000);
	assert_int_equal(errs.n, CONF_ERRORS_KEPT);
	assert_int_equal(errs.v[19].line, 20);
	f = open_memstream(&text, &len);
	conf_errors_print(&errs, NULL, f);
	fclose(f);
	assert_non_null(strstr(text, "\nand 4980 more errors\n"));
	free(text);
	free(in);
	conf_errors_done(&errs);
}

static struct conf *
load(const struct memory_file *files)
{
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	int r = conf_load(&src, &errs, &conf);
	char *found = describe(&errs);

	if (r != 0)
		fail_msg("%s", found);
	free(found);
	conf_errors_done(&errs);
	return conf;
}

static void
test_defaults(void **state)
{
	static const struct memory_file files[] = { { "postern.conf",
							"[listener a]\n"
							"address = ::1\n" },
		{ NULL, NULL } };
	struct conf *conf = load(files);
	const struct conf_profile *p = &conf->profiles[0];
	const struct conf_dest *d = &conf->dests[0];

	(void)state;
	assert_string_equal(conf->node.hostname, "gw.example.net");
	assert_string_equal(conf->node.state_dir, "/var/lib/postern");
	assert_string_equal(conf->node.user_prefix, "_postern");
	assert_null(conf->node.user);
	assert_int_equal(conf->node.smtpd_workers, 0);
	assert_int_equal(conf->node.drain_deadline_ms, 30000);
	assert_int_equal(conf->resolver.nameservers.n, 1);
	assert_int_equal(
	    ntohs(conf->resolver.nameservers.v[0].in.sin_port), 53);
	assert_int_equal(conf->resolver.trust_ad, CONF_AD_LOOPBACK);
	assert_int_equal(conf->resolver.max_ttl_s, 86400);
	assert_int_equal(conf->resolver.negative_ttl_s, 900);
	assert_int_equal(conf->mta_sts.max_policies, 1000000);
	assert_int_equal(conf->mta_sts.refresh_ms, 86400000);
	assert_string_equal(conf->mta_sts.ca_file, conf->trust.ca_file);
	assert_int_equal(conf->delivery.max_connections, 10000);
	assert_int_equal(conf->delivery.port, 25);
	assert_int_equal(conf->delivery.connect_timeout_ms, 30000);
	/* RFC 5321 section 4.5.3.2 */
	assert_int_equal(conf->delivery.greeting_timeout_ms, 300000);
	assert_int_equal(conf->delivery.mail_timeout_ms, 300000);
	assert_int_equal(conf->delivery.rcpt_timeout_ms, 300000);
	assert_int_equal(conf->delivery.data_timeout_ms, 120000);
	assert_int_equal(conf->delivery.data_block_timeout_ms, 180000);
	assert_int_equal(conf->delivery.final_dot_timeout_ms, 600000);
	assert_int_equal(conf->log.format, LOG_TEXT);
	assert_int_equal(conf->log.level, LOG_INFO);
	assert_int_equal(conf->admin.listen.n, 0);
	assert_true(conf->admin.metrics);
	assert_null(conf->cluster.redis);
	assert_int_equal(conf->n_listeners, 1);
	assert_int_equal(conf->listeners[0].tls, CONF_LTLS_NONE);
	assert_int_equal(
	    ntohs(conf->listeners[0].address.v[0].in6.sin6_port), 25);
	assert_int_equal(conf->listeners[0].max_message_size, 50 << 20);
	assert_ptr_equal(conf->listeners[0].profile, p);
	assert_string_equal(p->name, "default");
	assert_int_equal(p->max_retries, 100);
	assert_int_equal(p->max_queue_time_s, 259200);
	assert_int_equal(p->initial_retry_s, 60);
	assert_int_equal(p->max_retry_s, 3600);
	assert_int_equal(p->hard_bounces, CONF_BOUNCE_DSN);
	assert_null(p->bounce_recipient);
	assert_false(p->delay_warnings);
	assert_int_equal(p->delay_warning_interval_s, 14400);
	assert_int_equal(p->max_copy, 10240);
	assert_string_equal(d->name, "DEFAULT");
	assert_int_equal(d->ip_preference, CONF_IP_PREFER_IPV4);
	assert_int_equal(d->max_connections, 500);
	assert_int_equal(d->max_messages_per_connection, 50);
	assert_false(d->recipient_limit.limited);
	assert_int_equal(d->limit_scope, CONF_SCOPE_DOMAIN);
	assert_int_equal(d->limit_apply, CONF_APPLY_SYSTEM);
	assert_int_equal(d->tls, CONF_TLS_PREFERRED);
	assert_int_equal(d->dane, CONF_DANE_OPPORTUNISTIC);
	assert_int_equal(d->mta_sts, CONF_STS_ON);
	assert_null(d->cert);
	assert_null(d->profile);
	assert_int_equal(conf->n_gateways, 1);
	assert_string_equal(conf->gateways[0].name, "default");
	assert_string_equal(conf->gateways[0].hostname, "gw.example.net");
	conf_unref(conf);
}

static void
test_values(void **state)
{
	static const struct memory_file files[] = {
		{ "postern.conf",
		    "[postern]\n"
		    "hostname = GW.B\xc3\xbc"
		    "cher.example.\n" CERT "[listener in]\n"
		    "address = 127.0.0.1, [::1]:2525\n"
		    "tls = implicit\n"
		    "tls_min = 1.3\n"
		    "banner = $${PORT} ${PORT}${EMPTY}\n"
		    "max_message_size = 1g\n"
		    "relay_from = 10.0.0.0/8,\n"
		    "\t192.168.0.0/16,\n"
		    "# a remark\n"
		    "\t2001:db8::/32,\n"
		    "[log]\n"
		    "format = JSON\n"
		    "level = debug\n"
		    "target = file:/var/log/x\n"
		    "[delivery]\n"
		    "idle = 250ms\n"
		    "port = ${PORT}\n" },
		{ "bounce.conf",
		    "[profile slow]\n"
		    "template = Dear sender,\n"
		    "\tyour message is late.\n"
		    "delay_warnings = yes\n"
		    "bounce_recipient = Postmaster@Example.COM\n" },
		{ NULL, NULL }
	};
	struct conf *conf = load(files);
	const struct conf_listener *l = conf_listener_lookup(conf, "in");
	const struct conf_profile *p = conf_profile_lookup(conf, "slow");

	(void)state;
	assert_string_equal(conf->node.hostname, "gw.xn--bcher-kva.example");
	assert_int_equal(l->address.n, 2);
	assert_int_equal(ntohs(l->address.v[0].in.sin_port), 465);
	assert_int_equal(ntohs(l->address.v[1].in6.sin6_port), 2525);
	assert_int_equal(l->tls, CONF_LTLS_IMPLICIT);
	assert_int_equal(l->tls_min, CONF_TLS_1_3);
	assert_string_equal(l->cert->cert_file, "c");
	assert_string_equal(l->banner, "${PORT} 2525");
	assert_int_equal(l->max_message_size, 1 << 30);
	assert_int_equal(l->relay_from.n, 3);
	assert_int_equal(l->relay_from.v[2].prefix, 32);
	assert_int_equal(conf->log.format, LOG_JSON);
	assert_int_equal(conf->log.level, LOG_DEBUG);
	assert_int_equal(conf->log.target, CONF_LOG_FILE);
	assert_string_equal(conf->log.path, "/var/log/x");
	assert_int_equal(conf->delivery.idle_ms, 250);
	assert_int_equal(conf->delivery.port, 2525);
	assert_string_equal(p->template, "Dear sender,\nyour message is late.");
	assert_true(p->delay_warnings);
	assert_string_equal(p->bounce_recipient, "Postmaster@example.com");
	assert_int_equal(p->max_retries, 100);
	conf_unref(conf);
}

/* ---- includes ------------------------------------------------------------ */

static void
expect_error(const struct memory_file *files, const char *file, uint32_t line,
    const char *part)
{
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;

	assert_int_equal(conf_load(&src, &errs, &conf), PE_CONFIG);
	drop_warnings(&errs);
	assert_true(errs.n >= 1);
	assert_string_equal(errs.v[0].file, file);
	assert_int_equal(errs.v[0].line, line);
	if (strstr(errs.v[0].text, part) == NULL)
		fail_msg("found %s, wanted %s", errs.v[0].text, part);
	conf_errors_done(&errs);
}

static void
test_include(void **state)
{
	static const struct memory_file good[] = {
		{ "postern.conf",
		    "include = conf.d/a.conf, conf.d/b.conf\n[log]\n" },
		{ "conf.d/a.conf", "[delivery]\nport = 26\n" },
		{ "conf.d/b.conf", "include = c.conf\n" },
		{ "c.conf", "[postern]\nhostname = c.example\n" },
		{ "destinations.conf", "include = more.conf\n[a.example]\n" },
		{ "more.conf", "[b.example]\n" }, { NULL, NULL }
	};
	static const struct memory_file circle[] = { { "postern.conf",
							 "include = a.conf\n" },
		{ "a.conf", "\ninclude = postern.conf\n" }, { NULL, NULL } };
	static const struct memory_file itself[] = {
		{ "postern.conf", "include = postern.conf\n" }, { NULL, NULL }
	};
	static const struct memory_file missing[] = {
		{ "postern.conf", "\n\ninclude = nope.conf\n" }, { NULL, NULL }
	};
	static const struct memory_file twice[] = {
		{ "postern.conf", "include = a.conf\n[log]\n" },
		{ "a.conf", "[log]\n" }, { NULL, NULL }
	};
	static const struct memory_file wrong[] = {
		{ "postern.conf", "include = a.conf\n[log]\n" },
		{ "a.conf", "# x\n[delivery]\nport = x\n" }, { NULL, NULL }
	};
	static const struct memory_file deep[] = {
		{ "postern.conf", "include = 1\n" }, { "1", "include = 2\n" },
		{ "2", "include = 3\n" }, { "3", "include = 4\n" },
		{ "4", "include = 5\n" }, { "5", "include = 6\n" },
		{ "6", "include = 7\n" }, { "7", "include = 8\n" },
		{ "8", "include = 9\n" }, { "9", "" }, { NULL, NULL }
	};
	static const struct memory_file path[] = { { "postern.conf", "" },
		{ "routes.conf", "include = /etc/shadow\n" },
		{ "/etc/shadow", "secret\n" }, { NULL, NULL } };
	struct conf *conf = load(good);

	(void)state;
	assert_int_equal(conf->delivery.port, 26);
	assert_string_equal(conf->node.hostname, "c.example");
	assert_int_equal(conf->n_dests, 3);
	conf_unref(conf);
	expect_error(circle, "a.conf", 2, "wanted no circle");
	expect_error(itself, "postern.conf", 1, "wanted no circle");
	expect_error(missing, "postern.conf", 3, "cannot read 'nope.conf'");
	expect_error(twice, "postern.conf", 2, "first in a.conf line 1");
	expect_error(wrong, "a.conf", 3, "found 'x'");
	expect_error(deep, "8", 1, "9 files deep");
	expect_error(
	    path, "routes.conf", 1, "only postern.conf may name a path");
}

/* ---- directories --------------------------------------------------------- */

static void
write_file(const char *dir, const char *name, const char *text)
{
	char path[300];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void
test_directory(void **state)
{
	char dir[] = "/tmp/postern-test-conf-XXXXXX", path[300];
	static const char *const names[] = { "postern.conf", "routes.conf",
		"cert.pem", "key.pem" };
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	const uint8_t *data;
	size_t len, i;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(conf_load_dir(dir, &errs, &conf), PE_CONFIG);
	assert_string_equal(errs.v[0].file, "postern.conf");
	conf_errors_done(&errs);

	write_file(dir, "postern.conf",
	    "[postern]\nhostname = gw.example.net\n"
	    "[certificate default]\ncert_file = cert.pem\nkey_file = key.pem\n"
	    "[listener a]\naddress = ::1\n");
	write_file(dir, "cert.pem", "the certificate");
	assert_int_equal(conf_load_dir(dir, &errs, &conf), PE_CONFIG);
	assert_int_equal(errs.errors, 1);
	assert_int_equal(errs.v[0].line, 5);
	assert_non_null(strstr(errs.v[0].text, "key.pem': No such file"));
	conf_errors_done(&errs);

	write_file(dir, "key.pem", "the key");
	write_file(dir, "routes.conf", "[ALL]\nhosts = r.example\n");
	assert_int_equal(conf_load_dir(dir, &errs, &conf), 0);
	assert_int_equal(conf->n_routes, 1);
	assert_int_equal(conf->listeners[0].tls, CONF_LTLS_OFFERED);
	(void)snprintf(path, sizeof(path), "%s/key.pem", dir);
	assert_string_equal(conf->certificates[0].key_file, path);
	assert_int_equal(conf_file(conf, path, &data, &len), 0);
	assert_int_equal(len, 7);
	assert_memory_equal(data, "the key", 8); /* and the NUL behind it */
	assert_int_equal(
	    conf_file(conf, "/etc/passwd", &data, &len), PE_NOT_FOUND);
	assert_true(conf->resolver.nameservers.n > 0);
	conf_unref(conf);
	conf_errors_done(&errs);

	/* what is not a file is refused, not waited for */
	(void)snprintf(path, sizeof(path), "%s/routes.conf", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(conf_load_dir(dir, &errs, &conf), PE_CONFIG);
	assert_string_equal(errs.v[0].file, "routes.conf");
	conf_errors_done(&errs);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(conf_load_dir(dir, &errs, &conf), PE_CONFIG);
	conf_errors_done(&errs);

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(conf_load_dir(dir, &errs, &conf), PE_CONFIG);
	assert_non_null(strstr(errs.v[0].text, "cannot read the directory"));
	conf_errors_done(&errs);
}

/* The example files load, but for the certificate they name. */
static void
test_examples(void **state)
{
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	char *found;
	size_t i;
	int r;

	(void)state;
	r = conf_load_dir("etc", &errs, &conf);
	for (i = 0; i < errs.n; i++)
		if (!errs.v[i].warning &&
		    strstr(errs.v[i].text, "cannot read '/etc/postern/tls/") ==
			NULL) {
			found = describe(&errs);
			fail_msg("%s", found);
		}
	assert_true(r == 0 || errs.errors == 2);
	conf_errors_done(&errs);
	conf_unref(conf);
}

/* ---- the table itself ---------------------------------------------------- */

static void
test_schema(void **state)
{
	size_t id, i, k;

	(void)state;
	/* enums are written through an int */
	assert_int_equal(sizeof(enum conf_tls), sizeof(int));
	assert_int_equal(sizeof(enum conf_auth), sizeof(int));
	for (id = 0; id < CONF_S_COUNT; id++) {
		const struct conf_section *s = &conf_schema[id];

		assert_non_null(s->title);
		assert_true(s->n_keys > 0 && s->n_keys <= CONF_KEYS_MAX);
		for (i = 0; i < s->n_keys; i++) {
			assert_true(s->keys[i].offset < s->size);
			assert_true(s->keys[i].help[0] != '\0');
			assert_true(s->keys[i].min <= s->keys[i].max ||
			    s->keys[i].type == CONF_V_ADDRS);
			for (k = 0; k < i; k++)
				assert_string_not_equal(
				    s->keys[i].name, s->keys[k].name);
		}
	}
	for (i = 0; i < 6; i++) {
		struct conf_dest d = { .tls = (enum conf_tls)i };
		char buf[128];
		int key = conf_key_find(&conf_schema[CONF_S_DEFAULT], "tls", 3);

		assert_string_equal(conf_tls_name((enum conf_tls)i),
		    conf_dest_value(&d, (size_t)key, buf, sizeof(buf)));
	}
}

static char *
printed(enum conf_print how)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	conf_defaults_print(how, f);
	fclose(f);
	return text;
}

static char *
contents(const char *path)
{
	char *text = NULL;
	size_t len;
	FILE *in = fopen(path, "r"), *out = open_memstream(&text, &len);
	int c;

	assert_non_null(in);
	while ((c = fgetc(in)) != EOF)
		fputc(c, out);
	fclose(in);
	fclose(out);
	return text;
}

static void
test_printed(void **state)
{
	enum conf_print how;
	char *text, *file;
	size_t id, i;

	(void)state;
	for (how = CONF_PRINT_TEXT; how <= CONF_PRINT_MARKDOWN; how++) {
		text = printed(how);
		for (id = 0; id < CONF_S_COUNT; id++)
			for (i = 0; i < conf_schema[id].n_keys; i++)
				assert_non_null(
				    strstr(text, conf_schema[id].keys[i].name));
		free(text);
	}
	/* the documents are those of this table: see tests/tools/confdocs.c */
	text = printed(CONF_PRINT_MARKDOWN);
	file = contents("docs/settings.md");
	assert_non_null(strstr(file, text));
	free(text);
	free(file);
	text = printed(CONF_PRINT_MAN);
	file = contents("docs/man/postern.conf.5");
	assert_non_null(strstr(file, text));
	/* and what is written by hand around it */
	assert_memory_equal(file, ".TH POSTERN.CONF 5 ", 19);
	assert_non_null(strstr(file, ".SH DESCRIPTION\n"));
	assert_non_null(strstr(file, ".SH SEE ALSO\n"));
	free(text);
	free(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schema),
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_validate),
		cmocka_unit_test(test_five_mistakes),
		cmocka_unit_test(test_many_mistakes),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
