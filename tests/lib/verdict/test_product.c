/*
 * test_product.c - the whole product of facts, settings and message flags, and
 * what must hold of every point and between neighbours: the promises of the
 * decision table as properties, not as rows.
 *
 * Each point is judged once and kept small; each property then compares points
 * that differ in one coordinate. A counterexample is printed with its words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/proto/submit.h"
#include "lib/verdict/verdict.h"

/* ---- the coordinates --------------------------------------------------------------- */

enum axis {
	VIA,
	MX_STATE,
	ADDR,
	TLSA,
	STS,
	SET_TLS,
	SET_DANE,
	SET_STS,
	FLAGS,
	N_AXES
};

enum sts_case {
	STS_DOUBT,
	STS_NOT_ASKED,
	STS_NONE,
	STS_ENFORCE_LISTS,
	STS_ENFORCE_NOT,
	STS_TESTING_LISTS,
	STS_TESTING_NOT,
	STS_OF_MODE_NONE,
	N_STS
};

/* settings from the loosest to the strictest */
static const enum conf_tls tls_modes[] = { CONF_TLS_NONE, CONF_TLS_PREFERRED,
	CONF_TLS_PREFERRED_VERIFY, CONF_TLS_REQUIRED,
	CONF_TLS_REQUIRED_VERIFY_HOSTED, CONF_TLS_REQUIRED_VERIFY };
static const enum conf_dane dane_modes[] = { CONF_DANE_NONE,
	CONF_DANE_OPPORTUNISTIC, CONF_DANE_MANDATORY };
static const enum conf_sts sts_modes[] = { CONF_STS_OFF, CONF_STS_ON,
	CONF_STS_MANDATORY };
enum { T_REQUIRED = 3, T_HOSTED = 4, T_VERIFY = 5 };
enum { D_NONE, D_OPPORTUNISTIC, D_MANDATORY };
enum { S_OFF, S_ON, S_MANDATORY };

static const uint32_t flag_sets[] = { 0, MSG_REQUIRETLS, MSG_TLS_OPTIONAL,
	MSG_REQUIRETLS | MSG_TLS_OPTIONAL };
enum { F_NONE, F_REQUIRETLS, F_OPTIONAL, F_BOTH };

static const size_t sizes[N_AXES] = { 5, 3, 3, 6, N_STS, 6, 3, 3, 4 };
static const char *const axis_names[N_AXES] = { "via", "mx", "addr", "tlsa",
	"sts", "tls", "dane", "mta_sts", "flags" };

/* "indeterminate" on the axes of facts */
enum { DOUBT = 0 };
_Static_assert((int)DNS_INDETERMINATE == DOUBT &&
	(int)FACTS_ADDR_INDETERMINATE == DOUBT &&
	(int)FACTS_TLSA_INDETERMINATE == DOUBT && (int)STS_DOUBT == DOUBT,
    "the zero of each fact promises least");

struct point {
	size_t at[N_AXES];
};

/* What became of it. */
struct found {
	uint8_t outcome, reason, level;
	bool attempt, requiretls, definitive;
	bool clear;  /* satisfied without TLS */
	bool anyone; /* by TLS with an untrusted certificate */
	/* by a trusted certificate with these of domain, host and route host, as
	 * bits, and no match of TLSA records */
	uint8_t pkix;
	const char *broken; /* a rule of the chain itself, or NULL */
};

static struct found *all;
static size_t n_all;

static size_t
index_of(const struct point *p)
{
	size_t axis, i = 0;

	for (axis = 0; axis < N_AXES; axis++)
		i = i * sizes[axis] + p->at[axis];
	return i;
}

static struct point
point_of(size_t i)
{
	struct point p;
	size_t axis;

	for (axis = N_AXES; axis-- > 0; i /= sizes[axis])
		p.at[axis] = i % sizes[axis];
	return p;
}

static const struct found *
get(const struct point *p)
{
	return &all[index_of(p)];
}

/* The neighbour with another value on one axis. */
static const struct found *
with(const struct point *p, enum axis axis, size_t value)
{
	struct point q = *p;

	q.at[axis] = value;
	return get(&q);
}

/* ---- one point ------------------------------------------------------------------------ */

static const char domain[] = "example.com", host[] = "mx1.example.net",
		  route_host[] = "relay.example.org";
static const char *const names[] = { domain, host, route_host };
static const char *const pattern_it[] = { host };
static const char *const pattern_not[] = { "*.com" };
static const union conf_addr address = { .in = { .sin_family = AF_INET } };

static void
set_sts(struct facts_sts_policy *p, enum sts_case c)
{
	bool lists = c == STS_ENFORCE_LISTS || c == STS_TESTING_LISTS ||
	    c == STS_OF_MODE_NONE;

	memset(p, 0, sizeof(*p));
	p->state = c == STS_DOUBT ? FACTS_STS_INDETERMINATE
	    : c == STS_NOT_ASKED  ? FACTS_STS_NOT_ASKED
	    : c == STS_NONE	  ? FACTS_STS_NONE
				  : FACTS_STS_POLICY;
	p->mode = c == STS_TESTING_LISTS || c == STS_TESTING_NOT
	    ? FACTS_STS_TESTING
	    : c == STS_OF_MODE_NONE ? FACTS_STS_MODE_NONE
				    : FACTS_STS_ENFORCE;
	p->id = "1";
	p->mx = lists ? pattern_it : pattern_not;
	p->n_mx = 1;
}

static void
set_facts(const struct point *p, struct facts *f, struct facts_host *h)
{
	memset(f, 0, sizeof(*f));
	memset(h, 0, sizeof(*h));
	f->domain = domain;
	f->via = (enum facts_via)p->at[VIA];
	f->mx_state = (enum dns_state)p->at[MX_STATE];
	f->mx_kind = f->mx_state == DNS_INDETERMINATE ? DNS_NONE
	    : f->via == FACTS_VIA_IMPLICIT	      ? DNS_NODATA
						      : DNS_DATA;
	f->hosts = h;
	f->n_hosts = 1;
	set_sts(&f->sts, (enum sts_case)p->at[STS]);
	h->name = host;
	h->via = f->via == FACTS_VIA_ROUTE ? route_host : NULL;
	h->addr = (enum facts_addr)p->at[ADDR];
	h->addrs = &address;
	h->n_addrs = h->addr == FACTS_ADDR_DATA;
	h->tlsa = (enum facts_tlsa)p->at[TLSA];
}

static struct verdict_settings
settings(const struct point *p)
{
	struct verdict_settings set = { .tls = tls_modes[p->at[SET_TLS]],
		.dane = dane_modes[p->at[SET_DANE]],
		.mta_sts = sts_modes[p->at[SET_STS]],
		.tls_source = "tls" };

	return set;
}

/* What the chain of each host must be like. NULL, or what is wrong. */
static const char *
chain_broken(const struct verdict *v, const struct verdict_host *vh)
{
	size_t i, won = 0;
	bool has_rule = false;

	for (i = 0; i < vh->n_rules; i++) {
		const struct verdict_rule *r = &vh->rules[i];

		if (r->id == NULL || r->source == NULL || r->text[0] == '\0')
			return "a rule without id, source or sentence";
		won += r->won;
		if (vh->rule != NULL && strcmp(r->id, vh->rule) == 0)
			has_rule = has_rule || r->won;
	}
	if (!has_rule)
		return "the rule that decided is not among the winners";
	if (!vh->attempt && (won != 1 || !vh->rules[vh->n_rules - 1].won))
		return "a skip is not the one rule that won";
	if (!vh->attempt && vh->reason == REASON_NONE)
		return "a skip without a reason";
	if (vh->attempt != (v->outcome == VERDICT_DELIVER))
		return "the only host and the domain disagree";
	return NULL;
}

static void
try_proofs(const struct verdict_host *vh, struct found *f)
{
	struct verdict_proof p = { .requiretls = true };
	unsigned set, i;

	f->clear = verdict_satisfied(vh, &p) == REASON_NONE;
	p.tls = p.tls12 = true;
	for (i = 0; i < 3; i++)
		(void)snprintf(
		    p.names[p.n_names++], DNS_NAME_SIZE, "%s", names[i]);
	f->anyone = verdict_satisfied(vh, &p) == REASON_NONE;
	p.trusted = true;
	for (set = 0; set < 8; set++) {
		p.n_names = 0;
		for (i = 0; i < 3; i++)
			if ((set & 1u << i) != 0)
				(void)snprintf(p.names[p.n_names++],
				    DNS_NAME_SIZE, "%s", names[i]);
		if (verdict_satisfied(vh, &p) == REASON_NONE)
			f->pkix |= (uint8_t)(1u << set);
	}
}

static void
judge(const struct point *p, struct found *ret)
{
	struct verdict_settings set = settings(p);
	struct facts_host h;
	struct facts f;
	struct verdict *v;

	set_facts(p, &f, &h);
	assert_int_equal(
	    verdict_make(&set, &f, false, flag_sets[p->at[FLAGS]], &v), 0);
	memset(ret, 0, sizeof(*ret));
	ret->outcome = (uint8_t)v->outcome;
	ret->reason = (uint8_t)v->reason;
	if (v->n_hosts == 1) {
		const struct verdict_host *vh = &v->hosts[0];

		ret->attempt = vh->attempt;
		ret->level = (uint8_t)vh->level;
		ret->requiretls = vh->requiretls;
		ret->definitive = vh->definitive;
		ret->broken = chain_broken(v, vh);
		try_proofs(vh, ret);
	} else if (v->outcome == VERDICT_DELIVER) {
		ret->broken = "delivery without a host";
	}
	verdict_free(v);
}

/* ---- comparing -------------------------------------------------------------------------- */

/* Does a demand at least what b demands? */
static bool
at_least(const struct found *a, const struct found *b)
{
	if (!a->attempt)
		return true;
	if (!b->attempt || (b->requiretls && !a->requiretls))
		return false;
	if (a->level != b->level)
		return a->level > b->level;
	/* each certificate that a takes must be enough for b */
	return (a->pkix & ~b->pkix) == 0;
}

static bool
same(const struct found *a, const struct found *b)
{
	return a->outcome == b->outcome && a->reason == b->reason &&
	    a->attempt == b->attempt && a->level == b->level &&
	    a->pkix == b->pkix && a->requiretls == b->requiretls &&
	    a->definitive == b->definitive;
}

/* Are DANE and MTA-STS looked at? */
static bool
has_policies(const struct point *p)
{
	return p->at[VIA] == FACTS_VIA_MX || p->at[VIA] == FACTS_VIA_IMPLICIT;
}

static void
tell(const char *what, const struct point *p)
{
	const struct found *f = get(p);
	char text[512];
	size_t axis, at = 0;

	for (axis = 0; axis < N_AXES; axis++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s=%zu ",
		    axis_names[axis], p->at[axis]);
	fail_msg("%s: %s-> %s %s %s", what, text,
	    f->attempt ? "attempt" : "no attempt",
	    verdict_level_name((enum verdict_level)f->level),
	    reason_word((enum reason)f->reason));
}

/* ---- the properties ------------------------------------------------------------------------ */

/* Doubt never weakens: on each axis of facts, the point in doubt demands at
 * least what each answer would have demanded (DESIGN, principle 2). */
static const char *
p_doubt(const struct point *p)
{
	static const enum axis facts[] = { MX_STATE, ADDR, TLSA, STS };
	size_t i;

	for (i = 0; i < 4; i++)
		if (!at_least(with(p, facts[i], DOUBT), get(p)))
			return axis_names[facts[i]];
	return NULL;
}

/* Doubt delays, it never fails for good. */
static const char *
p_doubt_is_no_failure(const struct point *p)
{
	const struct found *f = get(p);

	if (p->at[VIA] == FACTS_VIA_DISCARD || f->outcome != VERDICT_FAIL)
		return NULL;
	if (has_policies(p) && p->at[MX_STATE] == DOUBT)
		return "MX";
	if (p->at[ADDR] == DOUBT)
		return "address";
	if (has_policies(p) && f->definitive && p->at[STS] == STS_DOUBT &&
	    p->at[SET_STS] != S_OFF)
		return "policy";
	return NULL;
}

/* Is DANE, if it is on, in force for this message? */
static bool
dane_in_force(const struct point *p)
{
	return has_policies(p) && p->at[SET_DANE] != D_NONE &&
	    (p->at[FLAGS] != F_OPTIONAL || p->at[SET_DANE] == D_MANDATORY);
}

/* MIX-01, MIX-02, MIX-05: a TLSA answer in doubt skips the host, and usable
 * records must match, whatever the policy says. */
static const char *
p_sts_never_overrides_dane(const struct point *p)
{
	const struct found *f = get(p);

	if (!dane_in_force(p) || !f->attempt)
		return NULL;
	if (p->at[TLSA] == FACTS_TLSA_INDETERMINATE)
		return "attempt with TLSA in doubt";
	if (p->at[TLSA] != FACTS_TLSA_USABLE)
		return NULL;
	if (f->level != LEVEL_DANE)
		return "usable TLSA records, and not level dane";
	return f->pkix != 0 || f->anyone || f->clear
	    ? "DANE failed, and PKIX was enough"
	    : NULL;
}

/* MIX-02: with usable records the policy changes nothing at all, unless the
 * message needs it to prove the name. */
static const char *
p_sts_is_not_consulted(const struct point *p)
{
	if (!dane_in_force(p) || p->at[TLSA] != FACTS_TLSA_USABLE ||
	    p->at[FLAGS] == F_REQUIRETLS || p->at[FLAGS] == F_BOTH)
		return NULL;
	return same(get(p), with(p, STS, STS_NONE)) ? NULL : "";
}

/* Row 8 (!), MIX-04: records that cannot be used still demand TLS, and a policy
 * that enforces demands its own beside it. */
static const char *
p_unusable_still_encrypts(const struct point *p)
{
	const struct found *f = get(p);

	if (!dane_in_force(p) || p->at[TLSA] != FACTS_TLSA_UNUSABLE)
		return NULL;
	if (f->clear)
		return "clear text";
	return at_least(f, with(p, TLSA, FACTS_TLSA_ABSENT))
	    ? NULL
	    : "weaker than without records";
}

/* MIX-06: no records, and a policy that enforces: its own demand. */
static const char *
p_enforce(const struct point *p)
{
	const struct found *f = get(p);

	if (!has_policies(p) || p->at[SET_STS] == S_OFF ||
	    (p->at[FLAGS] == F_OPTIONAL && p->at[SET_STS] != S_MANDATORY) ||
	    !f->attempt || f->level == LEVEL_DANE)
		return NULL;
	if (p->at[STS] == STS_ENFORCE_NOT)
		return "a host that the policy does not list";
	if (p->at[STS] != STS_ENFORCE_LISTS)
		return NULL;
	if (f->clear || f->anyone)
		return "without a trusted certificate";
	/* bit sets without the host, which is bit 1 */
	return (f->pkix & 0x33) != 0 ? "without the host's name" : NULL;
}

/* Row 10 (!), row 11, MIX-08: testing and none are as if there were no policy. */
static const char *
p_testing_changes_nothing(const struct point *p)
{
	size_t c = p->at[STS];

	if (c != STS_TESTING_LISTS && c != STS_TESTING_NOT &&
	    c != STS_OF_MODE_NONE)
		return NULL;
	return same(get(p), with(p, STS, STS_NONE)) ? NULL : "";
}

/* A stricter setting never gives a weaker level. Two things that look like it are
 * none: level dane is the top, and with it a host may pass that a policy alone
 * would have refused; and with mta_sts = on a policy may prove the name that
 * REQUIRETLS asks for (p_requiretls watches over its level). */
static const char *
p_stricter_setting(const struct point *p)
{
	static const enum axis set[] = { SET_TLS, SET_DANE, SET_STS };
	const struct found *f = get(p), *looser;
	size_t i;

	for (i = 0; i < 3; i++) {
		if (p->at[set[i]] == 0)
			continue;
		looser = with(p, set[i], p->at[set[i]] - 1);
		if (f->attempt && f->level == LEVEL_DANE &&
		    (f->requiretls || !looser->requiretls))
			continue;
		if (set[i] == SET_STS &&
		    looser->reason == REASON_REQUIRETLS_MISSING)
			continue;
		if (!at_least(f, looser))
			return axis_names[set[i]];
	}
	return NULL;
}

/* MIX-15: what the operator demands holds, whatever is published or written. */
static const char *
p_operator_demand_holds(const struct point *p)
{
	const struct found *f = get(p);

	if (!f->attempt || f->level == LEVEL_DANE)
		return NULL;
	if (p->at[SET_TLS] >= T_REQUIRED && f->clear)
		return "tls = required, and clear text";
	if (p->at[SET_TLS] >= T_HOSTED && f->anyone)
		return "tls = required-verify, and no trust";
	/* only the domain's name; on a route those of its hosts too */
	if (p->at[SET_TLS] == T_VERIFY && p->at[VIA] != FACTS_VIA_ROUTE &&
	    (f->pkix & 0x55) != 0)
		return "tls = required-verify, and not the domain's name";
	return NULL;
}

static const char *
p_mandatory_holds(const struct point *p)
{
	const struct found *f = get(p);

	if (!f->attempt || !has_policies(p))
		return NULL;
	if (p->at[SET_DANE] == D_MANDATORY &&
	    (f->level != LEVEL_DANE || p->at[TLSA] != FACTS_TLSA_USABLE))
		return "dane";
	if (p->at[SET_DANE] == D_MANDATORY && p->at[VIA] == FACTS_VIA_MX &&
	    p->at[MX_STATE] != DNS_SECURE)
		return "dane behind an insecure MX";
	if (p->at[SET_STS] == S_MANDATORY && f->level != LEVEL_DANE &&
	    p->at[STS] != STS_ENFORCE_LISTS)
		return "mta_sts";
	return NULL;
}

/* RTLS-05 … 07, MIX-10 */
static const char *
p_requiretls(const struct point *p)
{
	const struct found *f = get(p);
	bool proven;

	if (p->at[FLAGS] != F_REQUIRETLS && p->at[FLAGS] != F_BOTH)
		return f->requiretls ? "demanded without need" : NULL;
	if (!same(f, with(p, FLAGS, F_REQUIRETLS)))
		return "the header changed it";
	if (!at_least(f, with(p, FLAGS, F_NONE)))
		return "weaker than without";
	if (!f->attempt)
		return NULL;
	if (!f->requiretls || f->level < LEVEL_VERIFY || f->clear || f->anyone)
		return "without proof";
	proven = p->at[VIA] == FACTS_VIA_IMPLICIT ||
	    p->at[VIA] == FACTS_VIA_ROUTE || p->at[MX_STATE] == DNS_SECURE ||
	    (p->at[SET_STS] != S_OFF && p->at[STS] == STS_ENFORCE_LISTS);
	return proven ? NULL : "to a name that nobody proves";
}

/* MIX-09: TLS-Required: No never makes a verdict stricter. */
static const char *
p_optional_only_lifts(const struct point *p)
{
	return p->at[FLAGS] == F_OPTIONAL &&
		!at_least(with(p, FLAGS, F_NONE), get(p))
	    ? ""
	    : NULL;
}

/* Rows 3 and 4, MIX-14: nothing that is published counts. */
static const char *
p_route_and_literal(const struct point *p)
{
	struct point q = *p;

	if (has_policies(p))
		return NULL;
	q.at[TLSA] = q.at[STS] = q.at[MX_STATE] = DOUBT;
	q.at[SET_DANE] = D_NONE;
	q.at[SET_STS] = S_OFF;
	return same(get(p), get(&q)) ? NULL : "";
}

/* What a level is worth, and what the chain looks like. */
static const char *
p_levels_and_chains(const struct point *p)
{
	const struct found *f = get(p);

	if (f->broken != NULL)
		return f->broken;
	if (!f->attempt)
		return f->clear || f->anyone || f->pkix != 0
		    ? "something satisfies a skip"
		    : NULL;
	if (f->clear != (f->level <= LEVEL_OPPORTUNISTIC))
		return "clear text";
	if (f->anyone != (f->level <= LEVEL_ENCRYPT))
		return "an untrusted certificate";
	if (f->level == LEVEL_VERIFY && (f->pkix & 1) != 0)
		return "a certificate without a name";
	return NULL;
}

static void
hold(const char *name, const char *(*property)(const struct point *p))
{
	struct point p;
	const char *why;
	char text[160];
	size_t i;

	for (i = 0; i < n_all; i++) {
		p = point_of(i);
		why = property(&p);
		if (why == NULL)
			continue;
		(void)snprintf(text, sizeof(text), "%s (%s)", name, why);
		tell(text, &p);
	}
}

#define PROPERTY(name)                         \
	static void name##_holds(void **state) \
	{                                      \
		(void)state;                   \
		hold(#name, name);             \
	}

PROPERTY(p_doubt)
PROPERTY(p_doubt_is_no_failure)
PROPERTY(p_sts_never_overrides_dane)
PROPERTY(p_sts_is_not_consulted)
PROPERTY(p_unusable_still_encrypts)
PROPERTY(p_enforce)
PROPERTY(p_testing_changes_nothing)
PROPERTY(p_stricter_setting)
PROPERTY(p_operator_demand_holds)
PROPERTY(p_mandatory_holds)
PROPERTY(p_requiretls)
PROPERTY(p_optional_only_lifts)
PROPERTY(p_route_and_literal)
PROPERTY(p_levels_and_chains)

/* MIX-16: each host by itself, in the order of preference: beside any other host
 * its verdict is the one that it has alone. */
static void
hosts_do_not_see_each_other(void **state)
{
	struct verdict_settings set;
	struct facts_host h[2];
	struct facts f;
	struct verdict *v;
	struct point p;
	size_t i, tlsa;

	(void)state;
	/* a prime step visits every value of each axis */
	for (i = 0; i < n_all; i += 37) {
		p = point_of(i);
		if (p.at[VIA] == FACTS_VIA_DISCARD)
			continue;
		for (tlsa = 0; tlsa < sizes[TLSA]; tlsa++) {
			set_facts(&p, &f, &h[0]);
			h[1] = h[0];
			h[1].name = "mx2.example.net";
			h[1].tlsa = (enum facts_tlsa)tlsa;
			f.hosts = h;
			f.n_hosts = 2;
			set = settings(&p);
			assert_int_equal(verdict_make(&set, &f, false,
					     flag_sets[p.at[FLAGS]], &v),
			    0);
			if (v->n_hosts > 0 &&
			    (v->hosts[0].host != &h[0] ||
				v->hosts[0].attempt != get(&p)->attempt ||
				v->hosts[0].level != get(&p)->level))
				tell("another host changed it", &p);
			verdict_free(v);
		}
	}
}

static int
judge_all(void **state)
{
	int64_t start = clock_mono_ms();
	struct point p;
	size_t axis, i;

	(void)state;
	n_all = 1;
	for (axis = 0; axis < N_AXES; axis++)
		n_all *= sizes[axis];
	all = calloc(n_all, sizeof(all[0]));
	if (all == NULL)
		return -1;
	for (i = 0; i < n_all; i++) {
		p = point_of(i);
		judge(&p, &all[i]);
	}
	print_message("# %zu combinations in %lld ms\n", n_all,
	    (long long)(clock_mono_ms() - start));
	return n_all >= 100000 ? 0 : -1;
}

static int
forget_all(void **state)
{
	(void)state;
	free(all);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(p_doubt_holds),
		cmocka_unit_test(p_doubt_is_no_failure_holds),
		cmocka_unit_test(p_sts_never_overrides_dane_holds),
		cmocka_unit_test(p_sts_is_not_consulted_holds),
		cmocka_unit_test(p_unusable_still_encrypts_holds),
		cmocka_unit_test(p_enforce_holds),
		cmocka_unit_test(p_testing_changes_nothing_holds),
		cmocka_unit_test(p_stricter_setting_holds),
		cmocka_unit_test(p_operator_demand_holds_holds),
		cmocka_unit_test(p_mandatory_holds_holds),
		cmocka_unit_test(p_requiretls_holds),
		cmocka_unit_test(p_optional_only_lifts_holds),
		cmocka_unit_test(p_route_and_literal_holds),
		cmocka_unit_test(p_levels_and_chains_holds),
		cmocka_unit_test(hosts_do_not_see_each_other),
	};

	return cmocka_run_group_tests(tests, judge_all, forget_all);
}
