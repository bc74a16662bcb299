/*
 * report_policy.c - the log lines of DANE and MTA-STS: what applies to a domain,
 * which hosts it leaves out, and what a host proved or did not.
 *
 * Called by dest.c, conn_tls.c and report.c. The words are those that operators
 * of this field search for (docs/operator.md). Never decides. A host behind an
 * insecure MX is never called secure for the domain (RFC 7672, 2.2.1; DANE-17).
 */
#include "deliver/deliver.h"

#include <string.h>

#include "lib/log/log.h"

/* ---- DANE --------------------------------------------------------------------------- */

/* Does a match prove that the mail reached the domain's own host? */
static bool
proves_domain(const struct facts *f)
{
	return f->via != FACTS_VIA_MX || f->mx_state == DNS_SECURE;
}

void
report_dane_failed(
    const struct plan *plan, const struct verdict_host *vh, const char *text)
{
	struct log_fields f = { .domain = plan->domain,
		.host = vh->host->name,
		.rule = vh->rule,
		.reason = reason_word(
		    vh->attempt ? REASON_DANE_FAILED : vh->reason) };

	log_event(LOG_INFO, "dane_failure", &f,
	    "DANE failure for MX (%s) in %s: %s", LOG_Q(vh->host->name),
	    plan->domain, LOG_Q(text));
}

static bool
skipped_by_dane(const struct verdict_host *vh)
{
	return !vh->attempt &&
	    (vh->reason == REASON_TLSA_INDETERMINATE ||
		vh->reason == REASON_DANE_REQUIRED);
}

static void
report_dane(const struct plan *plan)
{
	const struct verdict *v = plan->verdict;
	struct log_fields f = { .domain = plan->domain };
	size_t i;

	for (i = 0; i < v->n_hosts; i++) {
		const struct verdict_host *vh = &v->hosts[i];
		const struct facts_host *h = vh->host;

		if (skipped_by_dane(vh))
			report_dane_failed(
			    plan, vh, vh->rules[vh->n_rules - 1].text);
		if (h->tlsa != FACTS_TLSA_USABLE &&
		    h->tlsa != FACTS_TLSA_UNUSABLE)
			continue;
		f.host = h->name;
		if (plan->facts.via == FACTS_VIA_MX &&
		    plan->facts.mx_state == DNS_SECURE)
			log_event(LOG_INFO, "dane_mx", &f,
			    "SECURE MX record (%s) found for %s", h->name,
			    plan->domain);
		log_event(LOG_INFO, "dane_tlsa", &f,
		    "SECURE TLSA record found for MX (%s) in %s%s", h->name,
		    plan->domain,
		    h->tlsa == FACTS_TLSA_UNUSABLE
			? ", none usable: TLS without authentication"
			: "");
	}
}

/* ---- MTA-STS ------------------------------------------------------------------------ */

/* DANE decides for this host, and that is all there is to say, but for a policy
 * that would have kept it away (MIX-03). */
static void
report_superseded(const struct plan *plan, struct log_fields *f)
{
	log_event(LOG_INFO, "sts_superseded", f,
	    "MTA-STS policy for the domain (%s) does not list %s: superseded "
	    "by DANE",
	    plan->domain, LOG_Q(f->host));
}

static void
report_unlisted(const struct plan *plan, const struct verdict_host *vh,
    struct log_fields *f)
{
	const struct facts_sts_policy *p = &plan->facts.sts;
	bool testing = p->mode == FACTS_STS_TESTING;
	char list[200];

	f->host = vh->host->name;
	f->reason = NULL;
	if (vh->level == LEVEL_DANE) {
		if (!testing)
			report_superseded(plan, f);
		return;
	}
	if (!testing && vh->reason != REASON_STS_MX_MISMATCH)
		return;
	f->reason = reason_word(REASON_STS_MX_MISMATCH);
	log_event(LOG_INFO, "sts_mx_mismatch", f,
	    testing ? "MTA-STS policy for the domain (%s) testing: would have "
		      "failed: does not list %s (lists %s)"
		    : "MTA-STS policy for the domain (%s) does not list %s: "
		      "skipped (lists %s)",
	    plan->domain, LOG_Q(f->host),
	    verdict_patterns(p, list, sizeof(list)));
}

static void
report_sts(const struct plan *plan)
{
	const struct facts_sts_policy *p = &plan->facts.sts;
	const struct verdict *v = plan->verdict;
	struct log_fields f = { .domain = plan->domain, .policy_id = p->id };
	size_t i;

	if (p->state != FACTS_STS_POLICY || p->mode == FACTS_STS_MODE_NONE)
		return;
	log_event(LOG_INFO, "sts_applied", &f,
	    "Applying MTA-STS policy for the domain (%s)", plan->domain);
	for (i = 0; i < v->n_hosts; i++)
		if (verdict_listed(p, v->hosts[i].host->name) == NULL)
			report_unlisted(plan, &v->hosts[i], &f);
}

void
report_plan(const struct plan *plan)
{
	report_dane(plan);
	report_sts(plan);
}

void
report_shadow(const struct conn *c, enum reason why, const char *text)
{
	struct log_fields f = { .dcid = c->dcid,
		.domain = c->plan->domain,
		.gateway = c->plan->gateway->name,
		.host = conn_host(c)->host->name,
		.address = c->address,
		.port = c->port,
		.policy_id = c->plan->facts.sts.id,
		.reason = reason_word(why) };

	log_event(LOG_INFO, "sts_testing_failed", &f,
	    "MTA-STS policy for the domain (%s) testing: would have failed: "
	    "DCID %llu %s: %s: %s",
	    c->plan->domain, (unsigned long long)c->dcid, f.host,
	    reason_word(why), LOG_Q(text));
}

/* ---- what a connection proved --------------------------------------------------------- */

void
report_met(const struct conn *c, const struct verdict_host *vh)
{
	struct log_fields f = { .dcid = c->dcid,
		.domain = c->plan->domain,
		.gateway = c->plan->gateway->name,
		.host = vh->host->name,
		.address = c->address,
		.port = c->port };

	if (verdict_by_sts(vh)) {
		f.policy_id = c->plan->facts.sts.id;
		log_event(LOG_INFO, "sts_success", &f,
		    "MTA-STS policy for the domain (%s) Successful.",
		    c->plan->domain);
	} else if (vh->level == LEVEL_DANE && proves_domain(&c->plan->facts)) {
		log_event(LOG_INFO, "dane_success", &f, "DANE SUCCESS for %s",
		    c->plan->domain);
	} else if (vh->level == LEVEL_DANE) {
		log_event(LOG_INFO, "dane_success", &f,
		    "DANE proved MX (%s) behind an insecure MX record of %s",
		    f.host, c->plan->domain);
	}
}
