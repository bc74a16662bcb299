/*
 * rows.c - the decision table for one host, one function per row.
 *
 * Called by verdict.c for each host. Never does I/O, never looks at a clock. The
 * rows are those of docs/tls-policy.md.
 */
#include "lib/proto/submit.h"
#include "lib/sts/match.h"
#include "lib/verdict/verdict_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the chain ------------------------------------------------------------------ */

struct row {
	const struct verdict_settings *set;
	const struct facts *facts;
	uint32_t flags;
	struct verdict_host *vh;
};

static struct verdict_rule *note(struct row *r, bool won, const char *id,
    const char *source, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static struct verdict_rule *
note(struct row *r, bool won, const char *id, const char *source,
    const char *fmt, ...)
{
	struct verdict_host *vh = r->vh;
	struct verdict_rule *rule;
	va_list ap;

	/* the last place is kept for the rule that ends the chain */
	if (vh->n_rules == VERDICT_RULES_MAX)
		vh->n_rules--;
	rule = &vh->rules[vh->n_rules++];
	rule->id = id;
	rule->source = source;
	rule->won = won;
	va_start(ap, fmt);
	(void)vsnprintf(rule->text, sizeof(rule->text), fmt, ap);
	va_end(ap);
	return rule;
}

/* This host is not used. Rules that won before decide nothing any more. */
static void
skip(struct row *r, enum reason reason)
{
	struct verdict_host *vh = r->vh;
	size_t i;

	for (i = 0; i + 1 < vh->n_rules; i++)
		vh->rules[i].won = false;
	vh->attempt = false;
	vh->reason = reason;
	vh->level = LEVEL_NONE;
	vh->n_names = 0;
	vh->rule = vh->rules[vh->n_rules - 1].id;
}

static void
want_name(struct verdict_host *vh, uint8_t group, const char *name)
{
	size_t i;

	for (i = 0; i < vh->n_names; i++)
		if (vh->names[i].group == group &&
		    strcmp(vh->names[i].name, name) == 0)
			return;
	if (vh->n_names == VERDICT_NAMES_MAX)
		return; /* one name fewer is stricter, never weaker */
	vh->names[vh->n_names].name = name;
	vh->names[vh->n_names++].group = group;
}

/* Does the operator himself demand more than good will? (row 2) */
static bool
operator_demands(const struct verdict_settings *set)
{
	return set->tls == CONF_TLS_REQUIRED ||
	    set->tls == CONF_TLS_REQUIRED_VERIFY ||
	    set->tls == CONF_TLS_REQUIRED_VERIFY_HOSTED ||
	    set->dane == CONF_DANE_MANDATORY ||
	    set->mta_sts == CONF_STS_MANDATORY;
}

/* Names of `required-verify` and its kin: the recipient's domain, with -hosted
 * also the host, and what a route's host expands to (section 4). */
static void
operator_names(struct row *r, bool hosted)
{
	struct verdict_host *vh = r->vh;

	if (r->facts->via != FACTS_VIA_LITERAL)
		want_name(vh, 0, r->facts->domain);
	if (!hosted && r->facts->via != FACTS_VIA_ROUTE)
		return;
	if (vh->host->via != NULL)
		want_name(vh, 0, vh->host->via);
	want_name(vh, 0, vh->host->name);
}

/* Row 12: the destination's TLS mode. Raises the level, never lowers it. */
static void
row_mode(struct row *r)
{
	static const struct {
		enum verdict_level level;
		const char *id, *text;
	} modes[] = {
		[CONF_TLS_NONE] = { LEVEL_NONE, "tls-none",
		    "STARTTLS is not used" },
		[CONF_TLS_PREFERRED] = { LEVEL_OPPORTUNISTIC, "tls-preferred",
		    "TLS where it works, clear text where not" },
		[CONF_TLS_REQUIRED] = { LEVEL_ENCRYPT, "tls-required",
		    "TLS; the certificate is recorded, not demanded" },
		[CONF_TLS_PREFERRED_VERIFY] = { LEVEL_OPPORTUNISTIC,
		    "tls-preferred-verify",
		    "TLS where it works; the certificate is checked for the "
		    "log" },
		[CONF_TLS_REQUIRED_VERIFY] = { LEVEL_VERIFY,
		    "tls-required-verify",
		    "TLS with a trusted certificate for the recipient's "
		    "domain" },
		[CONF_TLS_REQUIRED_VERIFY_HOSTED] = { LEVEL_VERIFY,
		    "tls-required-verify-hosted",
		    "TLS with a trusted certificate for the recipient's domain "
		    "or the host" },
	};
	struct verdict_host *vh = r->vh;
	enum conf_tls tls = r->set->tls;
	enum verdict_level level = modes[tls].level;
	/* a level of a row above that is at least as strict stays */
	bool won = vh->rule == NULL || level > vh->level;
	bool verify = tls == CONF_TLS_REQUIRED_VERIFY ||
	    tls == CONF_TLS_REQUIRED_VERIFY_HOSTED;

	/* DANE satisfies every mode (row 7) */
	if (verify && vh->level != LEVEL_DANE) {
		operator_names(r, tls == CONF_TLS_REQUIRED_VERIFY_HOSTED);
		won = true;
	}
	if (tls == CONF_TLS_PREFERRED_VERIFY) {
		vh->record = true;
		if (vh->n_names == 0)
			operator_names(r, true);
	}
	note(r, won, modes[tls].id,
	    r->set->tls_source != NULL ? r->set->tls_source : "tls", "%s",
	    modes[tls].text);
	if (won) {
		if (level > vh->level)
			vh->level = level;
		vh->rule = modes[tls].id;
	}
}

/* Rows 5 to 8. False: the chain of this host ends here. */
static bool
row_dane(struct row *r)
{
	struct verdict_host *vh = r->vh;
	const struct facts_host *h = vh->host;
	bool mandatory = r->set->dane == CONF_DANE_MANDATORY;

	if (r->set->dane == CONF_DANE_NONE) {
		note(r, false, "dane-none", "dane", "DANE is switched off");
		return true;
	}
	if (h->tlsa == FACTS_TLSA_INDETERMINATE) {
		note(r, true, "dane-indeterminate", "RFC 7672 2.2",
		    "whether %s has TLSA records could not be found out",
		    h->name);
		skip(r, REASON_TLSA_INDETERMINATE);
		return false;
	}
	if (mandatory &&
	    (h->tlsa != FACTS_TLSA_USABLE ||
		(r->facts->via == FACTS_VIA_MX &&
		    r->facts->mx_state != DNS_SECURE))) {
		note(r, true, "dane-mandatory", "dane",
		    "dane = mandatory, and %s has no usable secure TLSA record",
		    h->name);
		skip(r, REASON_DANE_REQUIRED);
		return false;
	}
	if (h->tlsa == FACTS_TLSA_USABLE) {
		note(r, true, "dane", "RFC 7672 2.2",
		    "%zu usable TLSA record(s): one must match", h->n_tlsa_rrs);
		vh->level = LEVEL_DANE;
		vh->rule = "dane";
		return true;
	}
	if (h->tlsa == FACTS_TLSA_UNUSABLE) {
		note(r, true, "dane-unusable", "RFC 7672 2.2",
		    "TLSA records exist, none is usable: TLS is a must");
		vh->level = LEVEL_ENCRYPT;
		vh->rule = "dane-unusable";
		return true;
	}
	note(r, false, "dane-absent", "RFC 7672 2.2", "%s",
	    h->tlsa == FACTS_TLSA_NOT_ASKED ? "TLSA records were not asked for"
		: h->tlsa == FACTS_TLSA_ABSENT
		? "securely, there is no TLSA record"
		: "the host or its TLSA answer is not secure");
	return true;
}

static bool
sts_missing(struct row *r, enum reason reason, const char *what)
{
	if (r->set->mta_sts != CONF_STS_MANDATORY)
		return true;
	note(r, true, "sts-mandatory", "mta_sts", "mta_sts = mandatory, and %s",
	    what);
	skip(r, reason);
	return false;
}

static bool
row_sts_enforce(struct row *r)
{
	const struct facts_sts_policy *p = &r->facts->sts;
	struct verdict_host *vh = r->vh;
	size_t i;

	for (i = 0; i < p->n_mx; i++)
		if (sts_pattern_match(p->mx[i], vh->host->name))
			break;
	if (i == p->n_mx) {
		note(r, true, "sts-mx-mismatch", "RFC 8461 4.1",
		    "policy %s (enforce) does not list %s", p->id,
		    vh->host->name);
		skip(r, REASON_STS_MX_MISMATCH);
		return false;
	}
	note(r, true, "sts-enforce", "RFC 8461 5",
	    "policy %s (enforce) lists %s as %s", p->id, vh->host->name,
	    p->mx[i]);
	vh->level = LEVEL_VERIFY;
	vh->rule = "sts-enforce";
	want_name(vh, 1, vh->host->name);
	return true;
}

/* Rows 9 to 11, and mta_sts = mandatory. */
static bool
row_sts(struct row *r)
{
	const struct facts_sts_policy *p = &r->facts->sts;

	if (r->set->mta_sts == CONF_STS_OFF) {
		note(r, false, "sts-off", "mta_sts", "MTA-STS is switched off");
		return true;
	}
	if (r->vh->level == LEVEL_DANE) {
		note(r, false, "sts-superseded", "RFC 8461 2",
		    "DANE decides for this host; MTA-STS is not consulted");
		return true;
	}
	switch (p->state) {
	case FACTS_STS_POLICY:
		if (p->mode == FACTS_STS_ENFORCE)
			return row_sts_enforce(r);
		note(r, false,
		    p->mode == FACTS_STS_TESTING ? "sts-testing" : "sts-none",
		    "RFC 8461 5",
		    "policy %s is of mode %s: nothing is enforced", p->id,
		    p->mode == FACTS_STS_TESTING ? "testing" : "none");
		return sts_missing(
		    r, REASON_STS_REQUIRED, "the policy does not enforce");
	case FACTS_STS_INDETERMINATE:
		note(r, true, "sts-discovery-wait", "RFC 8461 3",
		    "whether the domain has a policy could not be found out");
		skip(r, REASON_STS_DISCOVERY_WAIT);
		return false;
	case FACTS_STS_NOT_ASKED:
	case FACTS_STS_NONE:
	default:
		note(r, false, "sts-absent", "RFC 8461 3", "%s",
		    p->state == FACTS_STS_NONE ? "the domain has no policy"
					       : "a policy was not asked for");
		return sts_missing(
		    r, REASON_STS_REQUIRED, "there is no policy");
	}
}

/* A host that nobody could connect to, whatever the policies say. */
static bool
row_usable(struct row *r)
{
	const struct facts_host *h = r->vh->host;

	if (h->bad != NULL) {
		note(r, true, "host-name", "RFC 5321 5.1", "%s", h->bad);
		skip(r, REASON_NO_HOSTS);
		return false;
	}
	if (h->addr == FACTS_ADDR_INDETERMINATE) {
		note(r, true, "address-indeterminate", "RFC 5321 5.1",
		    "address of %s: %s", h->name,
		    h->addr_text != NULL ? h->addr_text : "not found out");
		skip(r, REASON_DNS_INDETERMINATE);
		return false;
	}
	if (h->addr != FACTS_ADDR_DATA || h->n_addrs == 0) {
		note(r, true, "no-address", "RFC 5321 5.1", "%s: %s", h->name,
		    h->addr_text != NULL ? h->addr_text : "no address");
		skip(r, REASON_NO_HOSTS);
		return false;
	}
	return true;
}

static void
judge(struct row *r)
{
	struct verdict_host *vh = r->vh;
	bool policies = r->facts->via == FACTS_VIA_MX ||
	    r->facts->via == FACTS_VIA_IMPLICIT;

	vh->attempt = true;
	if (!row_usable(r))
		return;
	/* row 1: until all of RFC 8689 is proven here, such mail waits */
	if ((r->flags & MSG_REQUIRETLS) != 0) {
		note(r, true, "requiretls", "RFC 8689 4.2.1",
		    "REQUIRETLS cannot be honoured yet: the message waits");
		skip(r, REASON_REQUIRETLS_MISSING);
		return;
	}
	if (r->facts->via == FACTS_VIA_ROUTE) {
		note(r, false, "route", "routes.conf",
		    "a route covers the domain: no DANE, no MTA-STS");
	} else if (r->facts->via == FACTS_VIA_LITERAL) {
		note(r, false, "literal", "RFC 7672 2.2",
		    "an address literal: no DANE, no MTA-STS");
	} else if ((r->flags & MSG_TLS_OPTIONAL) != 0) {
		note(r, true, "tls-required-no", "RFC 8689 4.2.2",
		    "the message says TLS-Required: No%s",
		    operator_demands(r->set) ? "; the operator's own demand "
					       "stays"
					     : "");
		policies = r->set->dane == CONF_DANE_MANDATORY ||
		    r->set->mta_sts == CONF_STS_MANDATORY;
	}
	if (policies && (!row_dane(r) || !row_sts(r)))
		return;
	row_mode(r);
}

void
verdict_judge_host(const struct verdict_settings *set, const struct facts *f,
    uint32_t msg_flags, struct verdict_host *vh)
{
	struct row r = { set, f, msg_flags, vh };

	judge(&r);
}
