/*
 * verdict.c - the decision table, one function per row.
 *
 * Called by deliver for each destination and by tests. Never does I/O, never
 * looks at a clock. See verdict.h; the rows are those of docs/tls-policy.md.
 */
#include "lib/verdict/verdict.h"
#include "lib/base/err.h"
#include "lib/proto/submit.h"
#include "lib/sts/match.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
verdict_level_name(enum verdict_level level)
{
	static const char *const names[] = { "none", "opportunistic", "encrypt",
		"verify", "dane" };

	return (unsigned)level < 5 ? names[level] : "none";
}

/* ---- order ------------------------------------------------------------------- */

static int
by_rank(const void *va, const void *vb)
{
	const struct facts_host *a = va, *b = vb;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->shuffle != b->shuffle)
		return a->shuffle < b->shuffle ? -1 : 1;
	return 0;
}

static bool
is_own(const struct verdict_settings *set, const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(set->own_names) / sizeof(set->own_names[0]) &&
	     set->own_names[i] != NULL;
	     i++)
		if (strcmp(set->own_names[i], name) == 0)
			return true;
	return false;
}

/* The same host twice: its better rank counts. */
static void
drop_twins(struct facts *f)
{
	size_t i, j, n = 0;

	for (i = 0; i < f->n_hosts; i++) {
		for (j = 0; j < n; j++)
			if (f->hosts[j].port == f->hosts[i].port &&
			    strcmp(f->hosts[j].name, f->hosts[i].name) == 0)
				break;
		if (j == n)
			f->hosts[n++] = f->hosts[i];
	}
	f->n_hosts = n;
}

bool
verdict_order_hosts(const struct verdict_settings *set, struct facts *f)
{
	size_t i, n;

	if (f->n_hosts == 0)
		return true;
	qsort(f->hosts, f->n_hosts, sizeof(f->hosts[0]), by_rank);
	if (f->via == FACTS_VIA_MX || f->via == FACTS_VIA_IMPLICIT) {
		for (i = 0; i < f->n_hosts; i++)
			if (is_own(set, f->hosts[i].name))
				break;
		if (i < f->n_hosts) {
			/* equal ones go too: they would hand it back to us */
			uint32_t rank = f->hosts[i].rank;

			for (n = 0; n < i && f->hosts[n].rank < rank; n++)
				continue;
			f->n_hosts = n;
			if (n == 0)
				return false;
		}
	}
	drop_twins(f);
	return true;
}

/* ---- the chain of one host ---------------------------------------------------- */

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
judge_host(struct row *r)
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

/* ---- the domain ----------------------------------------------------------------- */

static void conclude(struct verdict *v, enum verdict_outcome outcome,
    enum reason reason, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static void
conclude(struct verdict *v, enum verdict_outcome outcome, enum reason reason,
    const char *status, const char *fmt, ...)
{
	va_list ap;

	v->outcome = outcome;
	v->reason = reason;
	v->status = status;
	va_start(ap, fmt);
	(void)vsnprintf(v->text, sizeof(v->text), fmt, ap);
	va_end(ap);
}

/* What the facts say of the domain as a whole. True when hosts may be judged. */
static bool
judge_domain(const struct facts *f, bool loop, struct verdict *v)
{
	if (f->via == FACTS_VIA_DISCARD) {
		conclude(v, VERDICT_DISCARD, REASON_DISCARDED, "",
		    "route /dev/null");
		return false;
	}
	if (f->via == FACTS_VIA_ROUTE || f->via == FACTS_VIA_LITERAL)
		return true;
	if (f->mx_state == DNS_INDETERMINATE) {
		conclude(v, VERDICT_DEFER, REASON_DNS_INDETERMINATE, "4.4.3",
		    "MX lookup of %s: %s", f->domain,
		    f->mx_text != NULL ? f->mx_text : "not found out");
		return false;
	}
	if (f->mx_kind == DNS_NXDOMAIN) {
		conclude(v, VERDICT_FAIL, REASON_NXDOMAIN, "5.1.2",
		    "domain %s does not exist", f->domain);
		return false;
	}
	if (f->null_mx) {
		conclude(v, VERDICT_FAIL, REASON_NULL_MX, "5.1.10",
		    "domain %s does not accept mail (null MX)", f->domain);
		return false;
	}
	if (loop) {
		conclude(v, VERDICT_FAIL, REASON_MAIL_LOOP, "5.4.6",
		    "mail for %s loops back to this host", f->domain);
		return false;
	}
	return true;
}

static const char *
status_of(enum reason reason)
{
	switch (reason) {
	case REASON_DNS_INDETERMINATE:
	case REASON_TLSA_INDETERMINATE:
	case REASON_STS_DISCOVERY_WAIT:
		return "4.4.3";
	case REASON_NO_HOSTS:
		return "4.4.4";
	default:
		return "4.7.5";
	}
}

/* No host may be attempted: defer, and say what stood in the way of each. */
static void
conclude_none(const struct facts *f, struct verdict *v)
{
	enum reason best = REASON_NO_HOSTS;
	size_t i, at = 0;
	char text[sizeof(v->text)] = "";
	bool nothing = true;

	for (i = 0; i < v->n_hosts; i++) {
		const struct verdict_host *vh = &v->hosts[i];

		if (vh->reason != REASON_NO_HOSTS) {
			nothing = false;
			/* a policy's word tells more than a failed lookup */
			if (best == REASON_NO_HOSTS ||
			    best == REASON_DNS_INDETERMINATE)
				best = vh->reason;
		}
		if (at < sizeof(text) && vh->n_rules > 0)
			at += (size_t)snprintf(text + at, sizeof(text) - at,
			    "%s%s", at > 0 ? "; " : "",
			    vh->rules[vh->n_rules - 1].text);
	}
	if (v->n_hosts == 0)
		(void)snprintf(text, sizeof(text), "no host for %s", f->domain);
	/* implicit MX and the domain has no address: nobody is there
	 * (RFC 5321, 5.1: an error); else somebody may mend it */
	if (nothing && f->via == FACTS_VIA_IMPLICIT)
		conclude(v, VERDICT_FAIL, REASON_NO_HOSTS, "5.1.2",
		    "domain %s has neither MX nor address", f->domain);
	else
		conclude(v, VERDICT_DEFER, best, status_of(best), "%s", text);
}

int
verdict_make(const struct verdict_settings *set, const struct facts *f,
    bool loop, uint32_t msg_flags, struct verdict **ret_verdict)
{
	struct verdict *v = calloc(1, sizeof(*v));
	struct row r = { set, f, msg_flags, NULL };
	size_t i, n = f->n_hosts;
	bool any = false;

	if (v == NULL)
		return -ENOMEM;
	v->status = "";
	*ret_verdict = v;
	if (!judge_domain(f, loop, v))
		return 0;
	if (set->max_hosts > 0 && n > set->max_hosts)
		n = set->max_hosts;
	if (n > 0) {
		v->hosts = calloc(n, sizeof(v->hosts[0]));
		if (v->hosts == NULL) {
			free(v);
			*ret_verdict = NULL;
			return -ENOMEM;
		}
	}
	v->n_hosts = n;
	for (i = 0; i < n; i++) {
		v->hosts[i].host = &f->hosts[i];
		r.vh = &v->hosts[i];
		judge_host(&r);
		any = any || v->hosts[i].attempt;
	}
	if (any)
		conclude(v, VERDICT_DELIVER, REASON_NONE, "", "%s", "");
	else
		conclude_none(f, v);
	return 0;
}

void
verdict_free(struct verdict *v)
{
	if (v == NULL)
		return;
	free(v->hosts);
	free(v);
}

/* ---- proof ------------------------------------------------------------------------ */

static bool
has_name(const struct verdict_proof *proof, const char *name)
{
	size_t i;

	for (i = 0; i < proof->n_names; i++)
		if (strcmp(proof->names[i], name) == 0)
			return true;
	return false;
}

enum reason
verdict_satisfied(
    const struct verdict_host *vh, const struct verdict_proof *proof)
{
	unsigned wanted = 0, found = 0;
	size_t i;

	if (!vh->attempt)
		return vh->reason;
	if (vh->level <= LEVEL_OPPORTUNISTIC)
		return REASON_NONE;
	if (!proof->tls)
		return REASON_STARTTLS_MISSING;
	if (!proof->tls12)
		return REASON_TLS_HANDSHAKE_FAILED;
	if (vh->level == LEVEL_ENCRYPT)
		return REASON_NONE;
	if (vh->level == LEVEL_DANE)
		return proof->dane ? REASON_NONE : REASON_DANE_FAILED;
	if (!proof->trusted)
		return proof->expired ? REASON_CERT_EXPIRED
				      : REASON_CERT_UNTRUSTED;
	for (i = 0; i < vh->n_names; i++) {
		wanted |= 1u << vh->names[i].group;
		if (has_name(proof, vh->names[i].name))
			found |= 1u << vh->names[i].group;
	}
	/* nothing to compare with proves nothing */
	return wanted != 0 && wanted == found ? REASON_NONE
					      : REASON_CERT_NAME_MISMATCH;
}

enum verdict_level
verdict_proven(const struct verdict_proof *proof)
{
	if (!proof->tls)
		return LEVEL_NONE;
	if (proof->dane)
		return LEVEL_DANE;
	if (proof->trusted && proof->n_names > 0)
		return LEVEL_VERIFY;
	return LEVEL_ENCRYPT;
}
