/*
 * verdict.c - the order of the hosts, what the domain says, what a proof is
 * enough for. What may be done with one host is in rows.c.
 *
 * Called by deliver for each destination and by tests. Never does I/O, never
 * looks at a clock. See verdict.h.
 */
#include "lib/sts/match.h"
#include "lib/verdict/verdict_int.h"

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

const char *
verdict_status(enum reason reason)
{
	switch (reason) {
	case REASON_DNS_INDETERMINATE:
	case REASON_TLSA_INDETERMINATE:
	case REASON_STS_DISCOVERY_WAIT:
		return "4.4.3";
	case REASON_NO_HOSTS:
	case REASON_ADDRESS_DENIED:
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
	/* hosts beyond max_hosts were not looked at */
	bool nothing = true,
	     definitive = v->n_hosts > 0 && v->n_hosts == f->n_hosts;

	for (i = 0; i < v->n_hosts; i++) {
		const struct verdict_host *vh = &v->hosts[i];

		definitive = definitive && vh->definitive;
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
	else if (definitive && best == REASON_ADDRESS_DENIED)
		/* whoever publishes that wants no mail, as with a null MX */
		conclude(v, VERDICT_FAIL, best, "5.4.4", "%s", text);
	else if (definitive)
		/* none got as far as TLS (RFC 8689, 4.2.1; tls-policy 7) */
		conclude(v, VERDICT_FAIL, best, "5.7.10", "%s", text);
	else
		conclude(
		    v, VERDICT_DEFER, best, verdict_status(best), "%s", text);
}

int
verdict_make(const struct verdict_settings *set, const struct facts *f,
    bool loop, uint32_t msg_flags, struct verdict **ret_verdict)
{
	struct verdict *v = calloc(1, sizeof(*v));
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
		verdict_judge_host(set, f, msg_flags, &v->hosts[i]);
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

/* A trusted certificate with a name of each group that is demanded. */
static enum reason
verify_satisfied(
    const struct verdict_host *vh, const struct verdict_proof *proof)
{
	unsigned wanted = 0, found = 0;
	size_t i;

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

/* By the set of this verdict: another one, or an older one of the same host,
 * says nothing (DANE-39). */
static bool
dane_satisfied(const struct verdict_host *vh, const struct verdict_proof *proof)
{
	return proof->dane &&
	    memcmp(vh->host->tlsa_digest, proof->tlsa_digest,
		sizeof(proof->tlsa_digest)) == 0;
}

enum reason
verdict_satisfied(
    const struct verdict_host *vh, const struct verdict_proof *proof)
{
	enum reason why = REASON_NONE;

	if (!vh->attempt)
		return vh->reason;
	if (vh->level <= LEVEL_OPPORTUNISTIC)
		return REASON_NONE;
	if (!proof->tls)
		return REASON_STARTTLS_MISSING;
	if (!proof->tls12)
		return REASON_TLS_HANDSHAKE_FAILED;
	if (vh->level == LEVEL_DANE)
		why = dane_satisfied(vh, proof) ? REASON_NONE
						: REASON_DANE_FAILED;
	else if (vh->level == LEVEL_VERIFY)
		why = verify_satisfied(vh, proof);
	if (why == REASON_NONE && vh->requiretls && !proof->requiretls)
		return REASON_REQUIRETLS_MISSING;
	return why;
}

enum reason
verdict_shadow(const struct facts *f, const struct verdict_host *vh,
    const struct verdict_proof *proof)
{
	struct verdict_host in_force = { .host = vh->host,
		.attempt = true,
		.level = LEVEL_VERIFY,
		.names = { { vh->host->name, NAMES_POLICY } },
		.n_names = 1 };

	if (f->sts.state != FACTS_STS_POLICY ||
	    f->sts.mode != FACTS_STS_TESTING || vh->level == LEVEL_DANE)
		return REASON_NONE;
	if (verdict_listed(&f->sts, vh->host->name) == NULL)
		return REASON_STS_MX_MISMATCH;
	return verdict_satisfied(&in_force, proof);
}

bool
verdict_by_sts(const struct verdict_host *vh)
{
	size_t i;

	for (i = 0; i < vh->n_rules; i++)
		if (vh->rules[i].won &&
		    strcmp(vh->rules[i].id, "sts-enforce") == 0)
			return true;
	return false;
}

const char *
verdict_listed(const struct facts_sts_policy *p, const char *host)
{
	size_t i;

	for (i = 0; i < p->n_mx; i++)
		if (sts_pattern_match(p->mx[i], host))
			return p->mx[i];
	return NULL;
}

const char *
verdict_patterns(const struct facts_sts_policy *p, char *buf, size_t len)
{
	const char *c;
	size_t i, at = 0;

	for (i = 0; i < p->n_mx; i++) {
		if (at + strlen(p->mx[i]) + sizeof(", ...") > len) {
			(void)snprintf(buf + at, len - at, "...");
			return buf;
		}
		for (c = p->mx[i]; *c != '\0'; c++)
			buf[at++] = *c >= 0x20 && *c <= 0x7e ? *c : '?';
		if (i + 1 < p->n_mx)
			at += (size_t)snprintf(buf + at, len - at, ", ");
		buf[at] = '\0';
	}
	if (p->n_mx == 0)
		buf[0] = '\0';
	return buf;
}

const char *
verdict_sni(const struct verdict_host *vh)
{
	if (vh->level == LEVEL_DANE && vh->host->tlsa_base != NULL)
		return vh->host->tlsa_base;
	return vh->host->name;
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
