/*
 * test_conf_blob.c - what a child gets is what the supervisor checked, and no
 * secret that it has no business with; damaged buffers are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/conf/conf_int.h"
#include "tests/lib/conf/memory.h"

#ifdef POSTERN_UNBOUND
#define VALIDATE "dnssec = validate\n"
#define ANCHOR	 "/anchor"
#else
#define VALIDATE ""
#define ANCHOR	 "" /* nobody needs it */
#endif

static const struct memory_file files[] = {
	{ "postern.conf",
	    "include = node.conf\n"
	    "[certificate default]\ncert_file = /c\nkey_file = /k\n"
	    "[certificate admin]\ncert_file = /ac\nkey_file = /ak\n"
	    "[certificate unused]\ncert_file = /uc\nkey_file = /uk\n"
	    "[credential c]\nuser = u\nsecret_file = /s\n"
	    "[credential unused]\nuser = u\nsecret_file = /us\n"
	    "[listener a]\naddress = 127.0.0.1:${PORT}\nauth = offered\n"
	    "auth_file = /users\nclient_ca_file = /cca\n"
	    "banner = $${PORT} ${DOLLAR}\n"
	    "[trust]\nca_file = /ca\n"
	    "[mta-sts]\nca_file = /pca\n"
	    "[resolver]\nnameservers = 127.0.0.1\ntrust_anchor = "
	    "/anchor\n" VALIDATE
	    "[admin]\nusers_file = rel/admins\ncertificate = admin\n"
	    "[log]\ntarget = file:log/x\n" },
	{ "node.conf", "[postern]\nstate_dir = state\n" },
	{ "bounce.conf",
	    "[profile p]\ntemplate = one\n\t${EMPTY}\n\t# two\n"
	    "# three\n\tfour ${PORT}\n" },
	{ "gateways.conf", "[gateway g]\nsenders = a@, @b.example\n" },
	{ "destinations.conf",
	    "[a.example]\nbounce_profile = p\n[mx:*.b\xc3\xbc.example]\n" },
	{ "routes.conf",
	    "[ALL]\nhosts = r.example,\n  [::1]:26\ncredential = c\n" },
	{ "/c", "cert" }, { "/k", "key" }, { "/ac", "admin cert" },
	{ "/ak", "admin key" }, { "/uc", "unused cert" },
	{ "/uk", "unused key" }, { "/s", "secret" }, { "/us", "unused secret" },
	{ "/users", "names" }, { "/cca", "client ca" }, { "/ca", "ca" },
	{ "/pca", "policy ca" },
	{ "/anchor", "; the root\n. 172800 IN DS 20326 8 2 E06D\n" },
	{ "/dir/rel/admins", "admins" }, { NULL, NULL }
};

static struct conf *
load(void)
{
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;

	src.dir = "/dir";
	src.named_files = true;
	if (conf_load(&src, &errs, &conf) != 0)
		fail_msg("%s:%u: %s", errs.v[0].file, errs.v[0].line,
		    errs.v[0].text);
	conf_errors_done(&errs);
	return conf;
}

static void
test_round_trip(void **state)
{
	struct conf *conf = load(), *child = NULL;
	uint8_t *data = NULL;
	size_t len = 0, i;
	char a[64], b[64];

	(void)state;
	assert_int_equal(conf_blob_build(conf, CONF_FOR_NONE, &data, &len), 0);
	assert_int_equal(conf_blob_parse(data, len, &child), 0);
	assert_string_equal(child->node.hostname, "gw.example.net");
	assert_string_equal(child->node.state_dir, "/dir/state");
	assert_string_equal(child->log.path, "/dir/log/x");
	assert_string_equal(child->admin.users_file, "/dir/rel/admins");
	assert_int_equal(child->n_listeners, 1);
	assert_string_equal(
	    conf_addr_format(&child->listeners[0].address.v[0], a, sizeof(a)),
	    "127.0.0.1:2525");
	assert_int_equal(child->listeners[0].tls, CONF_LTLS_OFFERED);
	/* replaced once, not again by the child */
	assert_string_equal(child->listeners[0].banner, "${PORT} ${PORT}");
	assert_string_equal(
	    conf_profile_lookup(child, "p")->template, "one\n# two\nfour 2525");
	assert_int_equal(child->n_dests, conf->n_dests);
	for (i = 0; i < conf->n_dests; i++) {
		assert_string_equal(child->dests[i].name, conf->dests[i].name);
		assert_int_equal(child->dests[i].given, conf->dests[i].given);
	}
	assert_string_equal(
	    conf_dest_lookup(child, "a.example")->profile->name, "p");
	assert_int_equal(child->routes[0].n_hosts, 2);
	assert_string_equal(child->routes[0].cred->secret_file, "/s");
	assert_string_equal(
	    conf_gateway_choose(child, "a@x.example", NULL)->name, "g");
	assert_string_equal(
	    conf_addr_format(&child->resolver.nameservers.v[0], a, sizeof(a)),
	    conf_addr_format(&conf->resolver.nameservers.v[0], b, sizeof(b)));
	conf_unref(child);
	conf_unref(conf);
	free(data);
}

static void
test_entitlement(void **state)
{
	static const struct {
		enum conf_for who;
		const char *paths; /* in the order of all[] */
	} rows[] = {
		{ CONF_FOR_NONE, "" },
		{ CONF_FOR_SMTPD, "/c /k /users /cca" },
		/* DEFAULT's client certificate is default */
		{ CONF_FOR_DELIVER, "/c /k /s /ca" },
		{ CONF_FOR_POLICYD, "/pca" },
		{ CONF_FOR_RESOLVER, ANCHOR },
		{ CONF_FOR_ADMIN, "/ac /ak /dir/rel/admins" },
	};
	static const char *const all[] = { "/c", "/k", "/ac", "/ak", "/uc",
		"/uk", "/s", "/us", "/users", "/cca", "/ca", "/pca", "/anchor",
		"/dir/rel/admins" };
	struct conf *conf = load(), *child;
	const uint8_t *content;
	uint8_t *data;
	size_t len, n, i, k;
	char found[256];

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
		    conf_blob_build(conf, rows[i].who, &data, &len), 0);
		assert_int_equal(conf_blob_parse(data, len, &child), 0);
		found[0] = '\0';
		for (k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
			if (conf_file(child, all[k], &content, &n) != 0)
				continue;
			(void)snprintf(found + strlen(found),
			    sizeof(found) - strlen(found), "%s%s",
			    found[0] == '\0' ? "" : " ", all[k]);
			assert_int_equal(n, strlen((const char *)content));
		}
		assert_string_equal(found, rows[i].paths);
		/* nor do the bytes hold what nobody uses */
		assert_null(memmem(data, len, "unused key", 10));
		assert_null(memmem(data, len, "unused secret", 13));
		conf_unref(child);
		free(data);
	}
	conf_unref(conf);
}

static void
test_damage(void **state)
{
	struct conf *conf = load(), *child = NULL;
	uint8_t *data, *cut;
	size_t len, i;
	int r;

	(void)state;
	assert_int_equal(conf_blob_build(conf, CONF_FOR_SMTPD, &data, &len), 0);
	for (i = 0; i < len; i++) {
		/* in memory of exactly that size, for the sanitizer */
		cut = malloc(i == 0 ? 1 : i);
		memcpy(cut, data, i);
		assert_int_equal(conf_blob_parse(cut, i, &child), PE_CORRUPT);
		free(cut);
		data[i] ^= 0x21;
		r = conf_blob_parse(data, len, &child);
		assert_true(
		    r == PE_CORRUPT || (r == PE_VERSION && i >= 8 && i < 12));
		data[i] ^= 0x21;
	}
	assert_null(child);
	assert_int_equal(conf_blob_parse(data, len, &child), 0);
	conf_unref(child);
	conf_unref(conf);
	free(data);
}

static void
no_ca(const char *text, size_t warnings)
{
	const struct memory_file bare[] = { { "postern.conf", text },
		{ NULL, NULL } };
	struct conf_source src = memory_source(bare);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL, *child = NULL;
	uint8_t *data;
	size_t len;

	src.named_files = true;
	assert_int_equal(conf_load(&src, &errs, &conf), 0);
	assert_int_equal(errs.errors, 0);
	assert_int_equal(errs.warnings, warnings);
	assert_null(conf->trust.ca_file);
	assert_int_equal(
	    conf_blob_build(conf, CONF_FOR_DELIVER, &data, &len), 0);
	assert_int_equal(conf_blob_parse(data, len, &child), 0);
	assert_null(child->trust.ca_file);
	assert_null(child->mta_sts.ca_file);
	conf_unref(child);
	conf_unref(conf);
	conf_errors_done(&errs);
	free(data);
}

/* Without a CA list the children know that there is none: the default is away,
 * or the operator wants none. */
static void
test_no_ca(void **state)
{
	(void)state;
	no_ca("", 2); /* no CA, no listener */
	no_ca("[trust]\nca_file =\n", 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_entitlement),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_no_ca),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
