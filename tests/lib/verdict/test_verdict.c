/*
 * test_verdict.c - the decision table: order of hosts, what the domain says,
 * each row for one host, what a proof is enough for, and the JSON of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/json/json.h"
#include "lib/proto/submit.h"
#include "lib/verdict/verdict.h"

static const union conf_addr v4 = { .in = { .sin_family = AF_INET } };

static struct facts_host
host(const char *name, uint32_t rank, uint32_t shuffle)
{
	struct facts_host h = { .name = name,
		.rank = rank,
		.shuffle = shuffle,
		.preference = (uint16_t)rank,
		.port = 25,
		.addr = FACTS_ADDR_DATA,
		.addr_security = DNS_INSECURE,
		.addrs = &v4,
		.n_addrs = 1,
		.tlsa = FACTS_TLSA_INSECURE };

	return h;
}

static struct facts
facts_of(struct facts_host *hosts, size_t n)
{
	struct facts f = { .domain = "example.com",
		.via = FACTS_VIA_MX,
		.mx_state = DNS_INSECURE,
		.mx_kind = DNS_DATA,
		.hosts = hosts,
		.n_hosts = n,
		.sts = { .state = FACTS_STS_NOT_ASKED } };

	return f;
}

static const struct verdict_settings preferred = {
	.tls = CONF_TLS_PREFERRED,
	.dane = CONF_DANE_OPPORTUNISTIC,
	.mta_sts = CONF_STS_ON,
	.tls_source = "[DEFAULT] tls",
	.own_names = { "gw1.example.net" },
};

/* ---- order ---------------------------------------------------------------------- */

static void
order_by_rank_then_shuffle(void **state)
{
	struct facts_host h[] = { host("c", 20, 1), host("b", 10, 9),
		host("a", 10, 3), host("d", 5, 7) };
	struct facts f = facts_of(h, 4);

	(void)state;
	assert_true(verdict_order_hosts(&preferred, &f));
	assert_int_equal(f.n_hosts, 4);
	assert_string_equal(h[0].name, "d");
	assert_string_equal(h[1].name, "a");
	assert_string_equal(h[2].name, "b");
	assert_string_equal(h[3].name, "c");
}

/* SMTP-32: our own name, its equals and all that is worse go. */
static void
own_name_is_dropped(void **state)
{
	struct facts_host h[] = { host("better", 5, 0), host("equal", 10, 0),
		host("gw1.example.net", 10, 1), host("worse", 20, 0) };
	struct facts f = facts_of(h, 4);

	(void)state;
	assert_true(verdict_order_hosts(&preferred, &f));
	assert_int_equal(f.n_hosts, 1);
	assert_string_equal(h[0].name, "better");
}

static void
own_name_best_is_a_loop(void **state)
{
	struct facts_host h[] = { host("gw1.example.net", 10, 1),
		host("worse", 20, 0) };
	struct facts f = facts_of(h, 2);
	struct verdict *v;

	(void)state;
	assert_false(verdict_order_hosts(&preferred, &f));
	assert_int_equal(verdict_make(&preferred, &f, true, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_FAIL);
	assert_int_equal(v->reason, REASON_MAIL_LOOP);
	assert_string_equal(v->status, "5.4.6");
	verdict_free(v);
}

/* A route is the operator's own word; it may even name ourselves. */
static void
own_name_in_a_route_stays(void **state)
{
	struct facts_host h[] = { host("gw1.example.net", 0, 1) };
	struct facts f = facts_of(h, 1);

	(void)state;
	f.via = FACTS_VIA_ROUTE;
	assert_true(verdict_order_hosts(&preferred, &f));
	assert_int_equal(f.n_hosts, 1);
}

static void
twins_are_one(void **state)
{
	struct facts_host h[] = { host("a", 20, 0), host("a", 10, 0),
		host("b", 10, 1) };
	struct facts f = facts_of(h, 3);

	(void)state;
	h[2].port = 26;
	assert_true(verdict_order_hosts(&preferred, &f));
	assert_int_equal(f.n_hosts, 2);
	assert_int_equal(h[0].rank, 10);
}

/* ---- the domain ------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum dns_state state;
	enum dns_kind kind;
	enum facts_via via;
	bool null_mx;
	enum verdict_outcome outcome;
	enum reason reason;
	const char *status;
} domains[] = {
	{ "MX indeterminate", DNS_INDETERMINATE, DNS_NONE, FACTS_VIA_MX, false,
	    VERDICT_DEFER, REASON_DNS_INDETERMINATE, "4.4.3" },
	{ "MX nxdomain", DNS_INSECURE, DNS_NXDOMAIN, FACTS_VIA_MX, false,
	    VERDICT_FAIL, REASON_NXDOMAIN, "5.1.2" },
	{ "secure nxdomain", DNS_SECURE, DNS_NXDOMAIN, FACTS_VIA_MX, false,
	    VERDICT_FAIL, REASON_NXDOMAIN, "5.1.2" },
	{ "null MX", DNS_INSECURE, DNS_DATA, FACTS_VIA_MX, true, VERDICT_FAIL,
	    REASON_NULL_MX, "5.1.10" },
	{ "discard", DNS_INDETERMINATE, DNS_NONE, FACTS_VIA_DISCARD, false,
	    VERDICT_DISCARD, REASON_DISCARDED, "" },
	{ "implicit MX without address", DNS_INSECURE, DNS_NODATA,
	    FACTS_VIA_IMPLICIT, false, VERDICT_FAIL, REASON_NO_HOSTS, "5.1.2" },
	{ "MX whose hosts have no address", DNS_INSECURE, DNS_DATA,
	    FACTS_VIA_MX, false, VERDICT_DEFER, REASON_NO_HOSTS, "4.4.4" },
	{ "route whose hosts have no address", DNS_INDETERMINATE, DNS_NONE,
	    FACTS_VIA_ROUTE, false, VERDICT_DEFER, REASON_NO_HOSTS, "4.4.4" },
};

static void
domain_verdicts(void **state)
{
	struct facts_host h = host("example.com", 0, 0);
	struct facts f;
	struct verdict *v;
	size_t i;

	(void)state;
	h.addr = FACTS_ADDR_NONE;
	h.n_addrs = 0;
	for (i = 0; i < sizeof(domains) / sizeof(domains[0]); i++) {
		f = facts_of(&h, 1);
		f.via = domains[i].via;
		f.mx_state = domains[i].state;
		f.mx_kind = domains[i].kind;
		f.null_mx = domains[i].null_mx;
		assert_int_equal(verdict_make(&preferred, &f, false, 0, &v), 0);
		if (v->outcome != domains[i].outcome ||
		    v->reason != domains[i].reason ||
		    strcmp(v->status, domains[i].status) != 0)
			fail_msg("%s: outcome %d reason %s status %s",
			    domains[i].name, (int)v->outcome,
			    reason_word(v->reason), v->status);
		assert_true(v->text[0] != '\0');
		verdict_free(v);
	}
}

/* ---- one host ----------------------------------------------------------------------- */

static const char *const pattern_mx1[] = { "mx1.example.com" };
static const char *const pattern_wild[] = { "*.example.com" };
static const char *const pattern_deep[] = { "*.com" };

static const struct {
	const char *name;
	enum conf_tls tls;
	enum conf_dane dane;
	enum conf_sts sts;
	enum facts_via via;
	enum dns_state mx_state;
	enum facts_tlsa tlsa;
	enum facts_sts policy;
	enum facts_sts_mode mode;
	const char *const *pattern;
	uint32_t flags;
	bool attempt;
	enum verdict_level level;
	enum reason reason;
	const char *rule;
	size_t n_names;
} rows[] = {
#define OPP   CONF_DANE_OPPORTUNISTIC
#define MAND  CONF_DANE_MANDATORY
#define ON    CONF_STS_ON
#define MX    FACTS_VIA_MX
#define NA    FACTS_TLSA_INSECURE
#define NOPOL FACTS_STS_NOT_ASKED, FACTS_STS_ENFORCE, NULL
#define ENF   FACTS_STS_POLICY, FACTS_STS_ENFORCE
	/* row 12, the six modes */
	{ "none", CONF_TLS_NONE, CONF_DANE_NONE, CONF_STS_OFF, MX, DNS_INSECURE,
	    NA, NOPOL, 0, true, LEVEL_NONE, 0, "tls-none", 0 },
	{ "preferred", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_INSECURE, NA, NOPOL,
	    0, true, LEVEL_OPPORTUNISTIC, 0, "tls-preferred", 0 },
	{ "required", CONF_TLS_REQUIRED, OPP, ON, MX, DNS_INSECURE, NA, NOPOL,
	    0, true, LEVEL_ENCRYPT, 0, "tls-required", 0 },
	{ "preferred-verify", CONF_TLS_PREFERRED_VERIFY, OPP, ON, MX,
	    DNS_INSECURE, NA, NOPOL, 0, true, LEVEL_OPPORTUNISTIC, 0,
	    "tls-preferred-verify", 2 },
	{ "required-verify", CONF_TLS_REQUIRED_VERIFY, OPP, ON, MX,
	    DNS_INSECURE, NA, NOPOL, 0, true, LEVEL_VERIFY, 0,
	    "tls-required-verify", 1 },
	{ "required-verify-hosted", CONF_TLS_REQUIRED_VERIFY_HOSTED, OPP, ON,
	    MX, DNS_INSECURE, NA, NOPOL, 0, true, LEVEL_VERIFY, 0,
	    "tls-required-verify-hosted", 2 },
	/* row 1 */
	{ "REQUIRETLS, secure MX", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_SECURE,
	    NA, NOPOL, MSG_REQUIRETLS, true, LEVEL_VERIFY, 0, "requiretls", 1 },
	{ "REQUIRETLS, the names of preferred-verify are not demanded",
	    CONF_TLS_PREFERRED_VERIFY, OPP, ON, MX, DNS_SECURE, NA, NOPOL,
	    MSG_REQUIRETLS, true, LEVEL_VERIFY, 0, "requiretls", 1 },
	{ "REQUIRETLS, DANE proves the host", CONF_TLS_NONE, OPP, ON, MX,
	    DNS_SECURE, FACTS_TLSA_USABLE, NOPOL, MSG_REQUIRETLS, true,
	    LEVEL_DANE, 0, "dane", 2 },
	{ "REQUIRETLS, the policy proves the name", CONF_TLS_PREFERRED, OPP, ON,
	    MX, DNS_INSECURE, FACTS_TLSA_INSECURE, ENF, pattern_mx1,
	    MSG_REQUIRETLS, true, LEVEL_VERIFY, 0, "sts-enforce", 1 },
	{ "REQUIRETLS, DANE behind a name that nobody proves",
	    CONF_TLS_PREFERRED, OPP, ON, MX, DNS_INSECURE, FACTS_TLSA_USABLE,
	    FACTS_STS_NONE, 0, NULL, MSG_REQUIRETLS, false, 0,
	    REASON_REQUIRETLS_MISSING, "requiretls", 0 },
	{ "REQUIRETLS, a policy that nobody looked for", CONF_TLS_PREFERRED,
	    OPP, ON, MX, DNS_INSECURE, NA, NOPOL, MSG_REQUIRETLS, false, 0,
	    REASON_REQUIRETLS_MISSING, "requiretls", 0 },
	{ "REQUIRETLS, a policy in testing proves nothing", CONF_TLS_PREFERRED,
	    OPP, ON, MX, DNS_INSECURE, FACTS_TLSA_INSECURE, FACTS_STS_POLICY,
	    FACTS_STS_TESTING, pattern_mx1, MSG_REQUIRETLS, false, 0,
	    REASON_REQUIRETLS_MISSING, "requiretls", 0 },
	{ "REQUIRETLS, whether there is a policy is not known",
	    CONF_TLS_PREFERRED, OPP, ON, MX, DNS_INSECURE, FACTS_TLSA_USABLE,
	    FACTS_STS_INDETERMINATE, 0, NULL, MSG_REQUIRETLS, false, 0,
	    REASON_STS_DISCOVERY_WAIT, "requiretls", 0 },
	{ "REQUIRETLS, DANE in doubt", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_SECURE, FACTS_TLSA_INDETERMINATE, NOPOL, MSG_REQUIRETLS, false,
	    0, REASON_TLSA_INDETERMINATE, "dane-indeterminate", 0 },
	{ "REQUIRETLS on a route", CONF_TLS_NONE, CONF_DANE_NONE, CONF_STS_OFF,
	    FACTS_VIA_ROUTE, DNS_INSECURE, NA, NOPOL, MSG_REQUIRETLS, true,
	    LEVEL_VERIFY, 0, "requiretls", 1 },
	{ "REQUIRETLS to an address", CONF_TLS_PREFERRED, OPP, ON,
	    FACTS_VIA_LITERAL, DNS_INSECURE, NA, NOPOL, MSG_REQUIRETLS, false,
	    0, REASON_REQUIRETLS_MISSING, "requiretls", 0 },
	{ "REQUIRETLS wins over the header", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_SECURE, FACTS_TLSA_ABSENT, ENF, pattern_mx1,
	    MSG_REQUIRETLS | MSG_TLS_OPTIONAL, true, LEVEL_VERIFY, 0,
	    "sts-enforce", 1 },
	/* row 2 */
	{ "TLS-Required: No lifts a policy", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_SECURE, FACTS_TLSA_INDETERMINATE, ENF, pattern_mx1,
	    MSG_TLS_OPTIONAL, true, LEVEL_OPPORTUNISTIC, 0, "tls-preferred",
	    0 },
	{ "TLS-Required: No keeps the operator's demand", CONF_TLS_REQUIRED,
	    OPP, ON, MX, DNS_SECURE, NA, NOPOL, MSG_TLS_OPTIONAL, true,
	    LEVEL_ENCRYPT, 0, "tls-required", 0 },
	{ "TLS-Required: No keeps dane = mandatory", CONF_TLS_PREFERRED, MAND,
	    ON, MX, DNS_SECURE, FACTS_TLSA_ABSENT, NOPOL, MSG_TLS_OPTIONAL,
	    false, 0, REASON_DANE_REQUIRED, "dane-mandatory", 0 },
	{ "TLS-Required: No and dane = mandatory: no policy",
	    CONF_TLS_PREFERRED, MAND, ON, MX, DNS_SECURE, FACTS_TLSA_USABLE,
	    ENF, pattern_deep, MSG_TLS_OPTIONAL, true, LEVEL_DANE, 0, "dane",
	    2 },
	{ "TLS-Required: No and mta_sts = mandatory: no TLSA",
	    CONF_TLS_PREFERRED, OPP, CONF_STS_MANDATORY, MX, DNS_SECURE,
	    FACTS_TLSA_INDETERMINATE, ENF, pattern_mx1, MSG_TLS_OPTIONAL, true,
	    LEVEL_VERIFY, 0, "sts-enforce", 1 },
	{ "TLS-Required: No and mta_sts = mandatory, which DANE satisfies",
	    CONF_TLS_PREFERRED, OPP, CONF_STS_MANDATORY, MX, DNS_SECURE,
	    FACTS_TLSA_USABLE, NOPOL, MSG_TLS_OPTIONAL, true, LEVEL_DANE, 0,
	    "dane", 2 },
	/* rows 3 and 4 */
	{ "a route has no DANE and no STS", CONF_TLS_PREFERRED, OPP, ON,
	    FACTS_VIA_ROUTE, DNS_INDETERMINATE, FACTS_TLSA_INDETERMINATE, ENF,
	    pattern_wild, 0, true, LEVEL_OPPORTUNISTIC, 0, "tls-preferred", 0 },
	{ "a route with required-verify", CONF_TLS_REQUIRED_VERIFY, OPP, ON,
	    FACTS_VIA_ROUTE, DNS_INDETERMINATE, NA, NOPOL, 0, true,
	    LEVEL_VERIFY, 0, "tls-required-verify", 2 },
	{ "a literal has no DANE and no STS", CONF_TLS_REQUIRED, MAND, ON,
	    FACTS_VIA_LITERAL, DNS_INDETERMINATE, NA, ENF, pattern_wild, 0,
	    true, LEVEL_ENCRYPT, 0, "tls-required", 0 },
	/* rows 5 to 8 */
	{ "TLSA indeterminate skips", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_SECURE, FACTS_TLSA_INDETERMINATE, NOPOL, 0, false, 0,
	    REASON_TLSA_INDETERMINATE, "dane-indeterminate", 0 },
	{ "TLSA indeterminate skips even if STS would pass", CONF_TLS_PREFERRED,
	    OPP, ON, MX, DNS_SECURE, FACTS_TLSA_INDETERMINATE, ENF, pattern_mx1,
	    0, false, 0, REASON_TLSA_INDETERMINATE, "dane-indeterminate", 0 },
	{ "mandatory, not asked", CONF_TLS_PREFERRED, MAND, ON, MX, DNS_SECURE,
	    NA, NOPOL, 0, false, 0, REASON_DANE_REQUIRED, "dane-mandatory", 0 },
	{ "mandatory, MX not secure", CONF_TLS_PREFERRED, MAND, ON, MX,
	    DNS_INSECURE, FACTS_TLSA_USABLE, NOPOL, 0, false, 0,
	    REASON_DANE_REQUIRED, "dane-mandatory", 0 },
	{ "usable TLSA", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_SECURE,
	    FACTS_TLSA_USABLE, NOPOL, 0, true, LEVEL_DANE, 0, "dane", 2 },
	{ "usable TLSA behind an insecure MX", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_INSECURE, FACTS_TLSA_USABLE, NOPOL, 0, true, LEVEL_DANE, 0,
	    "dane", 1 },
	{ "usable TLSA stands alone", CONF_TLS_REQUIRED_VERIFY, OPP, ON, MX,
	    DNS_SECURE, FACTS_TLSA_USABLE, ENF, pattern_deep, 0, true,
	    LEVEL_DANE, 0, "dane", 2 },
	{ "unusable TLSA", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_SECURE,
	    FACTS_TLSA_UNUSABLE, NOPOL, 0, true, LEVEL_ENCRYPT, 0,
	    "dane-unusable", 0 },
	{ "unusable TLSA and STS enforce", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_SECURE, FACTS_TLSA_UNUSABLE, ENF, pattern_mx1, 0, true,
	    LEVEL_VERIFY, 0, "sts-enforce", 1 },
	{ "nobody asked for TLSA", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_SECURE,
	    FACTS_TLSA_NOT_ASKED, NOPOL, 0, false, 0, REASON_TLSA_INDETERMINATE,
	    "dane-indeterminate", 0 },
	{ "DANE off", CONF_TLS_PREFERRED, CONF_DANE_NONE, ON, MX, DNS_SECURE,
	    FACTS_TLSA_INDETERMINATE, NOPOL, 0, true, LEVEL_OPPORTUNISTIC, 0,
	    "tls-preferred", 0 },
	/* rows 9 to 11 */
	{ "enforce, listed", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_INSECURE,
	    FACTS_TLSA_INSECURE, ENF, pattern_mx1, 0, true, LEVEL_VERIFY, 0,
	    "sts-enforce", 1 },
	{ "enforce, by wildcard", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_INSECURE,
	    FACTS_TLSA_INSECURE, ENF, pattern_wild, 0, true, LEVEL_VERIFY, 0,
	    "sts-enforce", 1 },
	{ "enforce, a wildcard is one label", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_INSECURE, FACTS_TLSA_INSECURE, ENF, pattern_deep, 0, false, 0,
	    REASON_STS_MX_MISMATCH, "sts-mx-mismatch", 0 },
	{ "enforce and required-verify: both names", CONF_TLS_REQUIRED_VERIFY,
	    OPP, ON, MX, DNS_INSECURE, FACTS_TLSA_INSECURE, ENF, pattern_mx1, 0,
	    true, LEVEL_VERIFY, 0, "tls-required-verify", 2 },
	{ "testing leaves the level", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_INSECURE, FACTS_TLSA_INSECURE, FACTS_STS_POLICY,
	    FACTS_STS_TESTING, pattern_deep, 0, true, LEVEL_OPPORTUNISTIC, 0,
	    "tls-preferred", 0 },
	{ "testing never lowers", CONF_TLS_REQUIRED, OPP, ON, MX, DNS_INSECURE,
	    FACTS_TLSA_INSECURE, FACTS_STS_POLICY, FACTS_STS_TESTING,
	    pattern_deep, 0, true, LEVEL_ENCRYPT, 0, "tls-required", 0 },
	{ "mode none", CONF_TLS_PREFERRED, OPP, ON, MX, DNS_INSECURE,
	    FACTS_TLSA_INSECURE, FACTS_STS_POLICY, FACTS_STS_MODE_NONE, NULL, 0,
	    true, LEVEL_OPPORTUNISTIC, 0, "tls-preferred", 0 },
	{ "STS indeterminate waits", CONF_TLS_PREFERRED, OPP, ON, MX,
	    DNS_INSECURE, FACTS_TLSA_INSECURE, FACTS_STS_INDETERMINATE, 0, NULL,
	    0, false, 0, REASON_STS_DISCOVERY_WAIT, "sts-discovery-wait", 0 },
	{ "STS off", CONF_TLS_PREFERRED, OPP, CONF_STS_OFF, MX, DNS_INSECURE,
	    FACTS_TLSA_INSECURE, ENF, pattern_deep, 0, true,
	    LEVEL_OPPORTUNISTIC, 0, "tls-preferred", 0 },
	{ "mta_sts = mandatory without a policy", CONF_TLS_PREFERRED, OPP,
	    CONF_STS_MANDATORY, MX, DNS_INSECURE, NA, NOPOL, 0, false, 0,
	    REASON_STS_REQUIRED, "sts-mandatory", 0 },
	{ "mta_sts = mandatory with testing", CONF_TLS_PREFERRED, OPP,
	    CONF_STS_MANDATORY, MX, DNS_INSECURE, NA, FACTS_STS_POLICY,
	    FACTS_STS_TESTING, pattern_mx1, 0, false, 0, REASON_STS_REQUIRED,
	    "sts-mandatory", 0 },
	{ "mta_sts = mandatory with DANE", CONF_TLS_PREFERRED, OPP,
	    CONF_STS_MANDATORY, MX, DNS_SECURE, FACTS_TLSA_USABLE, NOPOL, 0,
	    true, LEVEL_DANE, 0, "dane", 2 },
};

/* Where nobody looked whether the MX is signed, nothing fails for good. */
static bool
unlooked_waits(
    const struct verdict_settings *set, struct facts f, uint32_t flags)
{
	struct verdict *v;
	bool definitive;

	f.mx_unchecked = true;
	assert_int_equal(verdict_make(set, &f, false, flags, &v), 0);
	definitive = v->hosts[0].definitive;
	verdict_free(v);
	return !definitive;
}

static void
host_rows(void **state)
{
	struct facts_host h;
	struct facts f;
	struct verdict *v;
	size_t i, k, won;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct verdict_settings set = preferred;
		const struct verdict_host *vh;

		h = host("mx1.example.com", 10, 0);
		h.tlsa = rows[i].tlsa;
		set.tls = rows[i].tls;
		set.dane = rows[i].dane;
		set.mta_sts = rows[i].sts;
		f = facts_of(&h, 1);
		f.via = rows[i].via;
		f.mx_state =
		    rows[i].mx_state == DNS_INDETERMINATE && rows[i].via == MX
		    ? DNS_INSECURE
		    : rows[i].mx_state;
		f.sts.state = rows[i].policy;
		f.sts.mode = rows[i].mode;
		f.sts.mx = rows[i].pattern;
		f.sts.n_mx = rows[i].pattern != NULL;
		f.sts.id = "20260101";
		assert_int_equal(
		    verdict_make(&set, &f, false, rows[i].flags, &v), 0);
		assert_int_equal(v->n_hosts, 1);
		vh = &v->hosts[0];
		if (vh->attempt != rows[i].attempt ||
		    vh->level != rows[i].level ||
		    vh->reason != rows[i].reason || vh->rule == NULL ||
		    strcmp(vh->rule, rows[i].rule) != 0 ||
		    vh->n_names != rows[i].n_names)
			fail_msg("%s: attempt %d level %s reason '%s' rule %s "
				 "names %zu",
			    rows[i].name, vh->attempt,
			    verdict_level_name(vh->level),
			    reason_word(vh->reason), vh->rule, vh->n_names);
		/* only what can never be proven fails at once */
		assert_true(unlooked_waits(&set, f, rows[i].flags));
		assert_int_equal(vh->definitive,
		    vh->reason == REASON_REQUIRETLS_MISSING &&
			(rows[i].policy != FACTS_STS_NOT_ASKED ||
			    rows[i].via != MX));
		if (vh->definitive) {
			assert_int_equal(v->outcome, VERDICT_FAIL);
			assert_string_equal(v->status, "5.7.10");
			assert_int_equal(vh->reason, REASON_REQUIRETLS_MISSING);
		} else {
			assert_int_equal(v->outcome,
			    rows[i].attempt ? VERDICT_DELIVER : VERDICT_DEFER);
		}
		assert_int_equal(vh->requiretls,
		    vh->attempt && (rows[i].flags & MSG_REQUIRETLS) != 0);
		for (k = 0, won = 0; k < vh->n_rules; k++) {
			assert_non_null(vh->rules[k].source);
			assert_true(vh->rules[k].text[0] != '\0');
			won += vh->rules[k].won;
		}
		assert_true(won >= 1);
		/* a skip is the last word, and the only one that holds */
		if (!vh->attempt) {
			assert_int_equal(won, 1);
			assert_true(vh->rules[vh->n_rules - 1].won);
			assert_int_equal(v->reason, vh->reason);
		}
		verdict_free(v);
	}
}

/* All hosts denied is the owner's word, like a null MX; a doubt among them, or
 * one that was not looked at, is not. */
static void
denied_addresses(void **state)
{
	struct facts_host h[] = { host("in", 1, 0), host("also", 2, 0),
		host("late", 3, 0) };
	struct verdict_settings set = preferred;
	struct facts f = facts_of(h, 2);
	struct verdict *v;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		h[i].addr = FACTS_ADDR_DENIED;
		h[i].n_addrs = 0;
		h[i].denied = "10.0.0.1";
	}
	assert_int_equal(verdict_make(&set, &f, false, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_FAIL);
	assert_int_equal(v->reason, REASON_ADDRESS_DENIED);
	assert_string_equal(v->status, "5.4.4");
	assert_string_equal(v->hosts[0].rule, "deny-networks");
	assert_non_null(strstr(v->text, "10.0.0.1 is in deny_networks"));
	verdict_free(v);
	/* not looked at */
	f.n_hosts = 3;
	set.max_hosts = 2;
	assert_int_equal(verdict_make(&set, &f, false, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_DEFER);
	assert_string_equal(v->status, "4.4.4");
	verdict_free(v);
	/* in doubt, or none */
	set.max_hosts = 0;
	h[2].addr = FACTS_ADDR_INDETERMINATE;
	h[2].n_addrs = 0;
	assert_int_equal(verdict_make(&set, &f, false, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_DEFER);
	assert_int_equal(v->reason, REASON_ADDRESS_DENIED);
	verdict_free(v);
	h[2].addr = FACTS_ADDR_NONE;
	assert_int_equal(verdict_make(&set, &f, false, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_DEFER);
	verdict_free(v);
	/* a good one; and one that only has such an address among others */
	h[2] = host("late", 3, 0);
	h[2].denied = "::1";
	assert_int_equal(verdict_make(&set, &f, false, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_DELIVER);
	assert_true(v->hosts[2].attempt);
	assert_string_equal(v->hosts[2].rules[0].id, "deny-networks");
	assert_false(v->hosts[2].rules[0].won);
	assert_string_not_equal(v->hosts[2].rule, "deny-networks");
	verdict_free(v);
}

/* One host that may not be used leaves the others. */
static void
hosts_are_judged_one_by_one(void **state)
{
	struct facts_host h[] = { host("bad", 1, 0), host("away", 2, 0),
		host("empty", 3, 0), host("good", 4, 0), host("late", 5, 0) };
	struct verdict_settings set = preferred;
	struct facts f = facts_of(h, 5);
	struct verdict *v;

	(void)state;
	set.max_hosts = 4;
	h[0].bad = "no host name";
	h[1].addr = FACTS_ADDR_INDETERMINATE;
	h[1].addr_text = "timeout";
	h[1].n_addrs = 0;
	h[2].addr = FACTS_ADDR_NONE;
	h[2].n_addrs = 0;
	assert_int_equal(verdict_make(&set, &f, false, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_DELIVER);
	assert_int_equal(v->n_hosts, 4);
	assert_int_equal(v->hosts[0].reason, REASON_NO_HOSTS);
	assert_int_equal(v->hosts[1].reason, REASON_DNS_INDETERMINATE);
	assert_int_equal(v->hosts[2].reason, REASON_NO_HOSTS);
	assert_true(v->hosts[3].attempt);
	verdict_free(v);
	/* without the good one: doubt outweighs absence, so it is no failure */
	f.n_hosts = 3;
	assert_int_equal(verdict_make(&set, &f, false, 0, &v), 0);
	assert_int_equal(v->outcome, VERDICT_DEFER);
	assert_int_equal(v->reason, REASON_DNS_INDETERMINATE);
	assert_non_null(strstr(v->text, "timeout"));
	verdict_free(v);
}

/* ---- proof ------------------------------------------------------------------------------ */

static const struct verdict_name both[] = { { "example.com", 0 },
	{ "mx1.example.com", 1 } };
static const struct verdict_name either[] = { { "example.com", 0 },
	{ "mx1.example.com", 0 } };

static const struct {
	const char *name;
	enum verdict_level level;
	const struct verdict_name *names;
	size_t n_names;
	bool tls, old, trusted, expired, dane;
	const char *cert;
	enum reason want;
} proofs[] = {
	{ "none needs nothing", LEVEL_NONE, NULL, 0, false, false, false, false,
	    false, NULL, REASON_NONE },
	{ "opportunistic needs nothing", LEVEL_OPPORTUNISTIC, NULL, 0, false,
	    false, false, false, false, NULL, REASON_NONE },
	{ "encrypt in clear", LEVEL_ENCRYPT, NULL, 0, false, false, false,
	    false, false, NULL, REASON_STARTTLS_MISSING },
	{ "encrypt with anyone", LEVEL_ENCRYPT, NULL, 0, true, false, false,
	    false, false, NULL, REASON_NONE },
	{ "encrypt with an old protocol", LEVEL_ENCRYPT, NULL, 0, true, true,
	    false, false, false, NULL, REASON_TLS_HANDSHAKE_FAILED },
	{ "verify, untrusted", LEVEL_VERIFY, either, 2, true, false, false,
	    false, false, "example.com", REASON_CERT_UNTRUSTED },
	{ "verify, expired", LEVEL_VERIFY, either, 2, true, false, false, true,
	    false, "example.com", REASON_CERT_EXPIRED },
	{ "verify, one of a group is enough", LEVEL_VERIFY, either, 2, true,
	    false, true, false, false, "mx1.example.com", REASON_NONE },
	{ "verify, other name", LEVEL_VERIFY, either, 2, true, false, true,
	    false, false, "other.example", REASON_CERT_NAME_MISMATCH },
	{ "verify, no name", LEVEL_VERIFY, either, 2, true, false, true, false,
	    false, NULL, REASON_CERT_NAME_MISMATCH },
	{ "verify, each group must be met", LEVEL_VERIFY, both, 2, true, false,
	    true, false, false, "mx1.example.com", REASON_CERT_NAME_MISMATCH },
	{ "verify without names proves nothing", LEVEL_VERIFY, NULL, 0, true,
	    false, true, false, false, "example.com",
	    REASON_CERT_NAME_MISMATCH },
	{ "dane, PKIX is not enough", LEVEL_DANE, NULL, 0, true, false, true,
	    false, false, "mx1.example.com", REASON_DANE_FAILED },
	{ "dane", LEVEL_DANE, NULL, 0, true, false, false, false, true, NULL,
	    REASON_NONE },
};

static void
proof_rows(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(proofs) / sizeof(proofs[0]); i++) {
		struct facts_host h = host("mx1.example.com", 10, 0);
		struct verdict_host vh = { .attempt = true,
			.host = &h,
			.level = proofs[i].level,
			.n_names = proofs[i].n_names };
		struct verdict_proof p = { .tls = proofs[i].tls,
			.tls12 = proofs[i].tls && !proofs[i].old,
			.trusted = proofs[i].trusted,
			.expired = proofs[i].expired,
			.dane = proofs[i].dane };
		enum reason got;

		if (proofs[i].names != NULL)
			memcpy(vh.names, proofs[i].names,
			    proofs[i].n_names * sizeof(vh.names[0]));
		if (proofs[i].cert != NULL)
			(void)snprintf(p.names[p.n_names++], DNS_NAME_SIZE,
			    "%s", proofs[i].cert);
		got = verdict_satisfied(&vh, &p);
		if (got != proofs[i].want)
			fail_msg("%s: '%s'", proofs[i].name, reason_word(got));
	}
}

/* DANE-39: what another set of records proved is nothing here. */
static void
dane_proof_is_of_its_set(void **state)
{
	struct facts_host h = host("mx1.example.com", 10, 0);
	struct verdict_host vh = {
		.attempt = true, .host = &h, .level = LEVEL_DANE
	};
	struct verdict_proof p = { .tls = true,
		.tls12 = true,
		.trusted = true,
		.dane = true,
		.tlsa_digest = { 1 } };

	(void)state;
	h.tlsa_digest[0] = 1;
	assert_int_equal(verdict_satisfied(&vh, &p), REASON_NONE);
	h.tlsa_digest[31] = 1;
	assert_int_equal(verdict_satisfied(&vh, &p), REASON_DANE_FAILED);
}

/* RTLS-07: the keyword is part of the proof, whatever else was proven. */
static void
requiretls_must_be_offered(void **state)
{
	struct facts_host h = host("mx1.example.com", 10, 0);
	struct verdict_host vh = { .attempt = true,
		.host = &h,
		.level = LEVEL_DANE,
		.requiretls = true };
	struct verdict_proof p = { .tls = true, .tls12 = true, .dane = true };

	(void)state;
	assert_int_equal(verdict_satisfied(&vh, &p), REASON_REQUIRETLS_MISSING);
	p.requiretls = true;
	assert_int_equal(verdict_satisfied(&vh, &p), REASON_NONE);
	p.dane = false;
	assert_int_equal(verdict_satisfied(&vh, &p), REASON_DANE_FAILED);
}

/* DANE-36, MIX-07: the base domain under DANE, else the MX host. */
static void
sni_is_the_base_domain_under_dane(void **state)
{
	struct facts_host h = host("mx1.example.com", 10, 0);
	struct verdict_host vh = { .host = &h, .level = LEVEL_DANE };

	(void)state;
	assert_string_equal(verdict_sni(&vh), "mx1.example.com");
	h.tlsa_base = "real.example.net";
	assert_string_equal(verdict_sni(&vh), "real.example.net");
	vh.level = LEVEL_VERIFY;
	assert_string_equal(verdict_sni(&vh), "mx1.example.com");
}

/* MIX-03: DANE decides, and the policy that would not let it pass is told. */
static void
both_policies_are_told(void **state)
{
	struct facts_host h = host("mx1.example.com", 10, 0);
	struct facts f = facts_of(&h, 1);
	struct verdict *v;

	(void)state;
	h.tlsa = FACTS_TLSA_USABLE;
	h.n_tlsa_rrs = 1;
	f.sts = (struct facts_sts_policy){
		.state = FACTS_STS_POLICY, .mode = FACTS_STS_ENFORCE, .id = "7"
	};
	assert_int_equal(verdict_make(&preferred, &f, false, 0, &v), 0);
	assert_int_equal(v->hosts[0].level, LEVEL_DANE);
	assert_string_equal(v->hosts[0].rules[0].id, "dane");
	assert_true(v->hosts[0].rules[0].won);
	/* DANE-17: not as secure delivery to the domain */
	assert_non_null(strstr(v->hosts[0].rules[0].text, "not secure"));
	assert_string_equal(v->hosts[0].rules[1].id, "sts-superseded");
	assert_false(v->hosts[0].rules[1].won);
	assert_non_null(strstr(v->hosts[0].rules[1].text, "policy 7"));
	verdict_free(v);
}

static void
a_skipped_host_is_never_satisfied(void **state)
{
	struct verdict_host vh = { .attempt = false,
		.reason = REASON_DANE_REQUIRED };
	struct verdict_proof p = {
		.tls = true, .tls12 = true, .trusted = true, .dane = true
	};

	(void)state;
	assert_int_equal(verdict_satisfied(&vh, &p), REASON_DANE_REQUIRED);
}

/* Row 10: what a policy in mode testing would have said of a connection. */
static void
testing_is_held_against_the_proof(void **state)
{
	static const char *const mine[] = { "*.example.com" };
	static const char *const other[] = { "mx.other.example" };
	struct facts_host h = host("mx1.example.com", 10, 0);
	struct facts f = facts_of(&h, 1);
	struct verdict_host vh = {
		.host = &h, .attempt = true, .level = LEVEL_OPPORTUNISTIC
	};
	struct verdict_proof clear = { 0 };
	struct verdict_proof good = { .tls = true,
		.tls12 = true,
		.trusted = true,
		.n_names = 1,
		.names = { "mx1.example.com" } };
	struct verdict_proof bad = good;

	(void)state;
	/* no policy, and one in force: not its business */
	assert_int_equal(verdict_shadow(&f, &vh, &clear), REASON_NONE);
	f.sts = (struct facts_sts_policy){ .state = FACTS_STS_POLICY,
		.mode = FACTS_STS_ENFORCE,
		.mx = mine,
		.n_mx = 1,
		.id = "1" };
	assert_int_equal(verdict_shadow(&f, &vh, &clear), REASON_NONE);
	f.sts.mode = FACTS_STS_TESTING;
	assert_int_equal(
	    verdict_shadow(&f, &vh, &clear), REASON_STARTTLS_MISSING);
	assert_int_equal(verdict_shadow(&f, &vh, &good), REASON_NONE);
	bad.tls12 = false;
	assert_int_equal(
	    verdict_shadow(&f, &vh, &bad), REASON_TLS_HANDSHAKE_FAILED);
	bad = good;
	bad.trusted = false;
	assert_int_equal(verdict_shadow(&f, &vh, &bad), REASON_CERT_UNTRUSTED);
	bad.expired = true;
	assert_int_equal(verdict_shadow(&f, &vh, &bad), REASON_CERT_EXPIRED);
	bad = good;
	/* the recipient's domain is not what a policy wants (STS-44) */
	(void)snprintf(bad.names[0], sizeof(bad.names[0]), "example.com");
	assert_int_equal(
	    verdict_shadow(&f, &vh, &bad), REASON_CERT_NAME_MISMATCH);
	f.sts.mx = other;
	assert_int_equal(
	    verdict_shadow(&f, &vh, &good), REASON_STS_MX_MISMATCH);
	vh.level = LEVEL_DANE;
	assert_int_equal(verdict_shadow(&f, &vh, &clear), REASON_NONE);
}

static void
patterns_for_people(void **state)
{
	static const char *const mx[] = { "a.example", "*.b.example",
		"\xc3\xa4.example" };
	struct facts_sts_policy p = { .mx = mx, .n_mx = 3 };
	char buf[64], tiny[24];

	(void)state;
	assert_string_equal(verdict_patterns(&p, buf, sizeof(buf)),
	    "a.example, *.b.example, ??.example");
	assert_string_equal(
	    verdict_patterns(&p, tiny, sizeof(tiny)), "a.example, ...");
	p.n_mx = 0;
	assert_string_equal(verdict_patterns(&p, tiny, sizeof(tiny)), "");
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void
assert_json(const struct facts *f, const char *const *want, size_t n)
{
	struct verdict *v;
	struct buf b;
	struct json j;
	size_t i;

	assert_int_equal(verdict_make(&preferred, f, false, 0, &v), 0);
	buf_init(&b, 65536);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	verdict_json(&j, f, v);
	json_put_end_obj(&j);
	assert_int_equal(j.err, 0);
	assert_int_equal(buf_put(&b, "", 1), 0);
	for (i = 0; i < n; i++)
		if (strstr((char *)buf_data(&b), want[i]) == NULL)
			fail_msg("no %s in %s", want[i], buf_data(&b));
	buf_done(&b);
	verdict_free(v);
}

static void
json_names_what_it_must(void **state)
{
	static const char *const want[] = { "\"mx_security\":\"insecure\"",
		"\"sts\":{\"state\":\"none\"", "\"outcome\":\"deliver\"",
		"\"host\":\"mx1.example.com\"", "\"preference\":10",
		"\"addresses\":[\"0.0.0.0\"]", "\"security\":\"insecure\"",
		"\"tlsa\":{\"state\":\"usable\",\"records\":[\"3 1 1 abcd\"]}",
		"\"verdict\":\"attempt\"", "\"level\":\"dane\"",
		"\"names\":[\"mx1.example.com\"]",
		"\"id\":\"dane\",\"source\":\"RFC 7672 2.2\"", "\"won\":true" };
	static const uint8_t data[] = { 0xab, 0xcd };
	struct facts_tlsa_rr rr = { 3, 1, 1, data, 2 };
	struct facts_host h = host("mx1.example.com", 10, 0);
	struct facts f = facts_of(&h, 1);

	(void)state;
	h.tlsa = FACTS_TLSA_USABLE;
	h.tlsa_rrs = &rr;
	h.n_tlsa_rrs = 1;
	assert_json(&f, want, sizeof(want) / sizeof(want[0]));
}

/* The level is a word for every host (control.md), also for one left out. */
static void
json_of_a_skipped_host(void **state)
{
	static const char *const want[] = { "\"verdict\":\"skip\"",
		"\"level\":\"none\"", "\"reason\":\"tlsa-indeterminate\"" };
	struct facts_host h = host("mx1.example.com", 10, 0);
	struct facts f = facts_of(&h, 1);

	(void)state;
	h.tlsa = FACTS_TLSA_INDETERMINATE;
	assert_json(&f, want, sizeof(want) / sizeof(want[0]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_by_rank_then_shuffle),
		cmocka_unit_test(own_name_is_dropped),
		cmocka_unit_test(own_name_best_is_a_loop),
		cmocka_unit_test(own_name_in_a_route_stays),
		cmocka_unit_test(twins_are_one),
		cmocka_unit_test(domain_verdicts),
		cmocka_unit_test(host_rows),
		cmocka_unit_test(hosts_are_judged_one_by_one),
		cmocka_unit_test(denied_addresses),
		cmocka_unit_test(proof_rows),
		cmocka_unit_test(dane_proof_is_of_its_set),
		cmocka_unit_test(requiretls_must_be_offered),
		cmocka_unit_test(sni_is_the_base_domain_under_dane),
		cmocka_unit_test(both_policies_are_told),
		cmocka_unit_test(a_skipped_host_is_never_satisfied),
		cmocka_unit_test(testing_is_held_against_the_proof),
		cmocka_unit_test(patterns_for_people),
		cmocka_unit_test(json_names_what_it_must),
		cmocka_unit_test(json_of_a_skipped_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
