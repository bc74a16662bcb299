/*
 * rows.c - the decision table for one host, one function per row.
 *
 * Called by verdict.c for each host. Never does I/O, never looks at a clock. The
 * rows are those of docs/tls-policy.md.
 */
#include "lib/dane/names.h"
#include "lib/proto/submit.h"
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
want_name(struct verdict_host *vh, enum verdict_group group, const char *name)
{
	size_t i;

	for (i = 0; i < vh->n_names; i++)
		if (vh->names[i].group == group &&
		    strcmp(vh->names[i].name, name) == 0)
			return;
	if (vh->n_names == VERDICT_NAMES_MAX)
		return; /* one name fewer is stricter, never weaker */
	vh->names[vh->n_names].name = name;
	vh->names[vh->n_names++].group = (uint8_t)group;
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
		want_name(vh, NAMES_OPERATOR, r->facts->domain);
	if (!hosted && r->facts->via != FACTS_VIA_ROUTE)
		return;
	if (vh->host->via != NULL)
		want_name(vh, NAMES_OPERATOR, vh->host->via);
	want_name(vh, NAMES_OPERATOR, vh->host->name);
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
		    "domain; where certificates name only the host: "
		    "required-verify-hosted" },
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

/* Row 7. Behind an insecure MX the host is proven, the domain is not: the text
 * must not read otherwise (DANE-17). */
static void
row_dane_match(struct row *r)
{
	struct verdict_host *vh = r->vh;
	const char *names[DANE_NAMES_MAX];
	bool host_only =
	    r->facts->via == FACTS_VIA_MX && r->facts->mx_state != DNS_SECURE;
	size_t i, n = dane_names(r->facts, vh->host, names);

	for (i = 0; i < n; i++)
		want_name(vh, NAMES_DANE, names[i]);
	note(r, true, "dane", "RFC 7672 2.2",
	    "%zu usable TLSA record(s) of %s: one must match%s",
	    vh->host->n_tlsa_rrs, names[0],
	    host_only ? "; that proves the host: its MX record is not secure"
		      : "");
	vh->level = LEVEL_DANE;
	vh->rule = "dane";
}

/* Rows 5 to 8. False: the chain of this host ends here. */
static bool
row_dane(struct row *r)
{
	struct verdict_host *vh = r->vh;
	const struct facts_host *h = vh->host;
	bool mandatory = r->set->dane == CONF_DANE_MANDATORY,
	     secure = r->facts->mx_state == DNS_SECURE;

	if (r->set->dane == CONF_DANE_NONE) {
		note(r, false, "dane-none", "dane", "DANE is switched off");
		return true;
	}
	/* that nobody asked is a fault of ours, and as good as no answer */
	if (h->tlsa == FACTS_TLSA_INDETERMINATE ||
	    h->tlsa == FACTS_TLSA_NOT_ASKED) {
		const char *why = h->tlsa == FACTS_TLSA_NOT_ASKED
		    ? "they were not asked for"
		    : h->tlsa_text;

		note(r, true, "dane-indeterminate", "RFC 7672 2.2",
		    "whether %s has TLSA records could not be found out%s%s",
		    h->name, why != NULL ? ": " : "", why != NULL ? why : "");
		skip(r, REASON_TLSA_INDETERMINATE);
		return false;
	}
	if (mandatory && h->tlsa != FACTS_TLSA_USABLE) {
		note(r, true, "dane-mandatory", "dane",
		    "dane = mandatory, and %s has no usable secure TLSA record",
		    h->name);
		skip(r, REASON_DANE_REQUIRED);
		return false;
	}
	/* without an MX nothing insecure led to the host */
	if (mandatory && !secure && r->facts->via == FACTS_VIA_MX) {
		note(r, true, "dane-mandatory", "dane",
		    "dane = mandatory, and the MX records that name %s are not "
		    "secure",
		    h->name);
		skip(r, REASON_DANE_REQUIRED);
		return false;
	}
	if (h->tlsa == FACTS_TLSA_USABLE) {
		row_dane_match(r);
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
	    h->tlsa == FACTS_TLSA_ABSENT
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

/* The pattern of the policy that lists the host, or NULL. */
static const char *
listed_as(const struct row *r)
{
	return verdict_listed(&r->facts->sts, r->vh->host->name);
}

/* "policy 7 (enforce) does not list mx.evil.example, but a.example, b.example":
 * what to compare with stands in the log and in the notice. */
static void
note_mismatch(struct row *r)
{
	const struct facts_sts_policy *p = &r->facts->sts;
	char list[120];

	note(r, true, "sts-mx-mismatch", "RFC 8461 4.1",
	    "policy %s (enforce) does not list %s, but %s", p->id,
	    r->vh->host->name, verdict_patterns(p, list, sizeof(list)));
}

/* Row 9 would give this host a level by itself. */
static bool
sts_vouches(const struct row *r)
{
	return r->set->mta_sts != CONF_STS_OFF &&
	    r->facts->sts.state == FACTS_STS_POLICY &&
	    r->facts->sts.mode == FACTS_STS_ENFORCE && listed_as(r) != NULL;
}

static bool
row_sts_enforce(struct row *r)
{
	const struct facts_sts_policy *p = &r->facts->sts;
	struct verdict_host *vh = r->vh;
	const char *pattern = listed_as(r);

	if (pattern == NULL) {
		note_mismatch(r);
		skip(r, REASON_STS_MX_MISMATCH);
		return false;
	}
	note(r, true, "sts-enforce", "RFC 8461 5",
	    "policy %s (enforce) lists %s as %s", p->id, vh->host->name,
	    pattern);
	vh->level = LEVEL_VERIFY;
	vh->rule = "sts-enforce";
	want_name(vh, NAMES_POLICY, vh->host->name);
	return true;
}

/* Rows 10 and 11: nothing is enforced; what would be is told. */
static bool
row_sts_other(struct row *r)
{
	const struct facts_sts_policy *p = &r->facts->sts;

	if (p->mode == FACTS_STS_TESTING)
		note(r, false, "sts-testing", "RFC 8461 5",
		    "policy %s is of mode testing: nothing is enforced (it "
		    "%s %s)",
		    p->id, listed_as(r) != NULL ? "lists" : "does not list",
		    r->vh->host->name);
	else
		note(r, false, "sts-none", "RFC 8461 5",
		    "policy %s is of mode none: nothing is enforced", p->id);
	return sts_missing(
	    r, REASON_STS_REQUIRED, "the policy does not enforce");
}

/* Row 7 has decided; a policy that would not let the host pass is told beside
 * it (MIX-02, MIX-03). */
static void
note_superseded(struct row *r)
{
	const struct facts_sts_policy *p = &r->facts->sts;

	if (p->state == FACTS_STS_POLICY && p->mode == FACTS_STS_ENFORCE &&
	    listed_as(r) == NULL)
		note(r, false, "sts-superseded", "RFC 8461 2",
		    "DANE decides for this host; policy %s (enforce) does not "
		    "list it",
		    p->id);
	else
		note(r, false, "sts-superseded", "RFC 8461 2",
		    "DANE decides for this host; MTA-STS is not consulted");
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
		note_superseded(r);
		return true;
	}
	switch (p->state) {
	case FACTS_STS_POLICY:
		return p->mode == FACTS_STS_ENFORCE ? row_sts_enforce(r)
						    : row_sts_other(r);
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
	if (h->addr == FACTS_ADDR_DENIED) {
		note(r, true, "deny-networks", "[delivery] deny_networks",
		    "%s skipped: address %s is in deny_networks", h->name,
		    h->denied);
		skip(r, REASON_ADDRESS_DENIED);
		r->vh->definitive = true;
		return false;
	}
	if (h->addr != FACTS_ADDR_DATA || h->n_addrs == 0) {
		note(r, true, "no-address", "RFC 5321 5.1", "%s: %s", h->name,
		    h->addr_text != NULL ? h->addr_text : "no address");
		skip(r, REASON_NO_HOSTS);
		return false;
	}
	if (h->denied != NULL)
		note(r, false, "deny-networks", "[delivery] deny_networks",
		    "address %s of %s is in deny_networks: not used", h->denied,
		    h->name);
	return true;
}

/* Row 2: what the receiver publishes is not enforced, what the operator demands
 * is. DANE satisfies mta_sts = mandatory here as it does elsewhere, where no
 * policy does. */
static bool
rows_optional(struct row *r)
{
	const struct verdict_settings *set = r->set;
	bool dane = set->dane == CONF_DANE_MANDATORY,
	     sts = set->mta_sts == CONF_STS_MANDATORY;

	if (sts && set->dane == CONF_DANE_OPPORTUNISTIC &&
	    r->vh->host->tlsa == FACTS_TLSA_USABLE && !sts_vouches(r))
		dane = true;
	if (dane && !row_dane(r))
		return false;
	return !sts || row_sts(r);
}

/* Rows 2 to 11. False: the host is skipped. */
static bool
rows_policy(struct row *r)
{
	bool no = (r->flags & MSG_TLS_OPTIONAL) != 0;

	if (r->facts->via == FACTS_VIA_ROUTE) {
		note(r, false, "route", "routes.conf",
		    "a route covers the domain: no DANE, no MTA-STS");
		return true;
	}
	if (r->facts->via == FACTS_VIA_LITERAL) {
		note(r, false, "literal", "RFC 7672 2.2",
		    "an address literal: no DANE, no MTA-STS");
		return true;
	}
	if (no && (r->flags & MSG_REQUIRETLS) != 0) {
		note(r, false, "tls-required-no", "RFC 8689 4.1",
		    "the message says TLS-Required: No, but REQUIRETLS counts");
		no = false;
	}
	if (!no)
		return row_dane(r) && row_sts(r);
	note(r, true, "tls-required-no", "RFC 8689 4.2.2",
	    "the message says TLS-Required: No%s",
	    operator_demands(r->set) ? "; the operator's own demand stays"
				     : "");
	return rows_optional(r);
}

/* Row 1: is this the host that the domain's owner meant? Its name comes from a
 * secure MX or stands in the policy that is in force; without an MX it is the
 * domain itself, and on a route the operator's word (RTLS-05). A policy in mode
 * testing proves nothing, as it enforces nothing. */
static bool
name_proven(const struct row *r)
{
	switch (r->facts->via) {
	case FACTS_VIA_MX:
		return r->facts->mx_state == DNS_SECURE || sts_vouches(r);
	case FACTS_VIA_IMPLICIT:
	case FACTS_VIA_ROUTE:
		return true;
	case FACTS_VIA_LITERAL:
	case FACTS_VIA_DISCARD:
	default:
		return false;
	}
}

/* It is not known whether there is a policy, which could prove the name. */
static bool
may_be_proven(const struct row *r)
{
	return r->facts->via == FACTS_VIA_MX &&
	    r->set->mta_sts != CONF_STS_OFF &&
	    r->facts->sts.state == FACTS_STS_INDETERMINATE;
}

/* Row 1, after all others: it raises what they gave. */
static void
row_requiretls(struct row *r)
{
	struct verdict_host *vh = r->vh;
	const struct facts_host *h = vh->host;

	if (!name_proven(r) && may_be_proven(r)) {
		note(r, true, "requiretls", "RFC 8689 4.2.1",
		    "REQUIRETLS: the name %s is not proven, and whether a "
		    "policy proves it could not be found out",
		    h->name);
		skip(r, REASON_STS_DISCOVERY_WAIT);
		return;
	}
	if (!name_proven(r)) {
		note(r, true, "requiretls", "RFC 8689 4.2.1",
		    "REQUIRETLS: the name %s is proven by neither DNSSEC nor "
		    "MTA-STS",
		    h->name);
		skip(r, REASON_REQUIRETLS_MISSING);
		/* what was not looked at does not end a message */
		vh->definitive = !r->facts->mx_unchecked &&
		    (r->set->mta_sts == CONF_STS_OFF ||
			r->facts->sts.state != FACTS_STS_NOT_ASKED ||
			r->facts->via != FACTS_VIA_MX);
		return;
	}
	if (vh->level < LEVEL_VERIFY) {
		vh->n_names = 0; /* those were for the log */
		vh->level = LEVEL_VERIFY;
		vh->rule = "requiretls";
	}
	/* what a route's host expands to came from an MX that nobody vouches
	 * for: the certificate must name the host that was configured */
	if (vh->level != LEVEL_DANE)
		want_name(vh, NAMES_POLICY, h->via != NULL ? h->via : h->name);
	vh->requiretls = true;
	note(r, true, "requiretls", "RFC 8689 4.2.1",
	    "REQUIRETLS: TLS with a certificate that proves the host, which "
	    "must offer REQUIRETLS itself");
}

void
verdict_judge_host(const struct verdict_settings *set, const struct facts *f,
    uint32_t msg_flags, struct verdict_host *vh)
{
	struct row r = { set, f, msg_flags, vh };

	vh->attempt = true;
	if (!row_usable(&r) || !rows_policy(&r))
		return;
	row_mode(&r);
	if ((msg_flags & MSG_REQUIRETLS) != 0)
		row_requiretls(&r);
}
