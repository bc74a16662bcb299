/*
 * inquiry_doc.c - the documents of explain, tlsverify and sts check.
 *
 * Called by inquiry.c. Field names and step words are a contract (docs/api.md).
 * Tells what facts, verdict and probes say, and what an operator can do about
 * it; decides nothing.
 */
#include "deliver/inquiry.h"

#include "deliver/arena.h"

#include <stdio.h>
#include <string.h>

#include "lib/json/json.h"
#include "lib/proto/diag.h"
#include "lib/sts/match.h"

/* ---- explain ------------------------------------------------------------------------ */

static void
put_route(struct json *j, const struct conf *conf, const char *domain)
{
	static const char *const kinds[] = {
		[CONF_ROUTE_HOSTS] = "hosts",
		[CONF_ROUTE_USEDNS] = "usedns",
		[CONF_ROUTE_DISCARD] = "discard",
	};
	const struct conf_route *r = conf_route_lookup(conf, domain);
	size_t i;

	if (r == NULL) {
		json_put_null(j, "route");
		return;
	}
	json_put_obj(j, "route");
	json_put_str(j, "entry", r->name);
	json_put_str(j, "kind", kinds[r->kind]);
	json_put_str(j, "tls", r->has_tls ? conf_tls_name(r->tls) : NULL);
	json_put_str(j, "credential", r->credential);
	json_put_arr(j, "hosts");
	for (i = 0; i < r->n_hosts; i++) {
		json_put_obj(j, NULL);
		json_put_str(j, "host", r->hosts[i].name);
		json_put_uint(j, "port", r->hosts[i].port);
		json_put_uint(j, "priority", r->hosts[i].priority);
		json_put_bool(j, "mx_lookup",
		    !r->hosts[i].no_mx &&
			r->hosts[i].addr.sa.sa_family == AF_UNSPEC);
		json_put_end_obj(j);
	}
	json_put_end_arr(j);
	json_put_end_obj(j);
}

/* Every key with its value, and which of them come from DEFAULT. */
static void
put_control(struct json *j, const struct conf_dest *c)
{
	char value[128];
	size_t i;

	json_put_obj(j, "control");
	json_put_str(j, "entry", c->name);
	for (i = 0; i < conf_dest_keys(); i++)
		json_put_str(j, conf_dest_key_name(i),
		    conf_dest_value(c, i, value, sizeof(value)));
	json_put_arr(j, "inherited");
	for (i = 0; i < conf_dest_keys(); i++)
		if (c->kind != CONF_DEST_DEFAULT && conf_dest_inherits(i) &&
		    !conf_dest_given(c, i))
			json_put_str(j, NULL, conf_dest_key_name(i));
	json_put_end_arr(j);
	json_put_end_obj(j);
}

/* Connections, recipients, or both. */
static void
put_limit(struct json *j, const struct limits_key *k)
{
	char rate[48];

	json_put_obj(j, NULL);
	json_put_str(j, "key", k->name);
	if (k->counts)
		json_put_uint(j, "limit", k->max);
	if (k->rate.limited) {
		(void)snprintf(rate, sizeof(rate), "%u/%um", k->rate.count,
		    k->rate.minutes);
		json_put_str(j, "recipients", rate);
	}
	json_put_end_obj(j);
}

/* The counters of the first host that would be tried. */
static void
put_limits(struct json *j, const struct plan *p)
{
	const struct verdict *v = p->verdict;
	struct limits_place at;
	struct limits limits;
	union conf_addr a;
	char ip[64];
	size_t i, k;

	json_put_arr(j, "limits");
	for (i = 0; i < v->n_hosts && !v->hosts[i].attempt; i++)
		continue;
	if (i < v->n_hosts) {
		a = v->hosts[i].host->addrs[0];
		a.in.sin_port = 0; /* the same place in both families */
		permit_place(p, i, conf_addr_format(&a, ip, sizeof(ip)),
		    v->hosts[i].level != LEVEL_NONE, &at);
		limits_of(p->env->conf, &at, &limits);
		for (k = 0; k < limits.n; k++)
			put_limit(j, &limits.keys[k]);
		json_put_obj(j, NULL);
		json_put_str(j, "key", "messages-per-connection");
		json_put_uint(j, "limit", permit_max_messages(p, i));
		json_put_end_obj(j);
	}
	json_put_end_arr(j);
}

void
inquiry_put_explain(struct json *j, const struct plan *p)
{
	put_route(j, p->env->conf, p->domain);
	json_put_str(j, "gateway", p->gateway->name);
	put_control(j, p->control);
	verdict_json(j, &p->facts, p->verdict);
	put_limits(j, p);
}

/* ---- one host ------------------------------------------------------------------------- */

static bool
proved_name(const struct probe_host *ph, const char *name)
{
	size_t i;

	for (i = 0; i < ph->proof.n_names; i++)
		if (strcmp(ph->proof.names[i], name) == 0)
			return true;
	return false;
}

/* Must it prove itself, so that a fault keeps mail away? */
static bool
demands(const struct verdict_host *vh)
{
	return vh->level >= LEVEL_ENCRYPT;
}

static void
put_connect(struct json *j, const struct probe_host *ph)
{
	const char *host = ph->vh->host->name;

	if (ph->passed[0] != '\0')
		diag_put(j, "mx-connect", host, DIAG_WARNING,
		    "its owner should mend these addresses: mail tries them "
		    "first, and then goes to the next",
		    "passed over: %s", ph->passed);
	if (ph->stage >= PROBE_CONNECTED)
		diag_put(j, "mx-connect", host, DIAG_OK, NULL,
		    "connected to %s port %u", ph->address, ph->vh->host->port);
	else
		diag_put(j, "mx-connect", host, DIAG_ERROR,
		    "is the host up, and may this node reach that port? mail "
		    "goes to the next host, or waits",
		    "%s port %u: %s",
		    ph->address[0] != '\0' ? ph->address : "no connection to",
		    ph->vh->host->port, ph->text);
}

/* What does mail do there? */
static const char *
without_tls(const struct probe_host *ph)
{
	if (!demands(ph->vh))
		return "mail goes there in clear text, as nothing demands "
		       "more; its owner should offer STARTTLS";
	return "no mail goes there until its owner offers STARTTLS that "
	       "works; it may also be an attack on the way (STARTTLS removed)";
}

static void
put_starttls(struct json *j, const struct probe_host *ph)
{
	const char *host = ph->vh->host->name;
	enum diag_result bad = demands(ph->vh) ? DIAG_ERROR : DIAG_WARNING;

	if (ph->stage >= PROBE_TLS && ph->proof.tls)
		diag_put(j, "mx-starttls", host, DIAG_OK, NULL, "%s %s",
		    ph->protocol, ph->cipher);
	else if (ph->stage < PROBE_CONNECTED)
		diag_put(j, "mx-starttls", host, DIAG_SKIPPED, NULL,
		    "no connection");
	else if (ph->vh->level == LEVEL_NONE)
		diag_put(j, "mx-starttls", host, DIAG_SKIPPED, NULL,
		    "tls = none: STARTTLS is not used");
	else if (ph->stage == PROBE_GOOD)
		diag_put(j, "mx-starttls", host, bad, without_tls(ph),
		    "STARTTLS is not offered");
	else if (ph->reason == REASON_STARTTLS_MISSING ||
	    ph->reason == REASON_TLS_HANDSHAKE_FAILED)
		diag_put(j, "mx-starttls", host, bad, without_tls(ph), "%s: %s",
		    reason_word(ph->reason), ph->text);
	else
		diag_put(j, "mx-starttls", host, DIAG_ERROR,
		    "the host does not take mail from this node now: its own "
		    "words say why",
		    "%s", ph->text);
}

/* The certificate against the host's own name, whatever is demanded. */
static void
put_certificate(struct json *j, const struct probe_host *ph)
{
	const char *host = ph->vh->host->name;
	enum diag_result bad = demands(ph->vh) ? DIAG_ERROR : DIAG_WARNING;
	const char *todo = demands(ph->vh)
	    ? "no mail goes there until its owner installs a certificate from "
	      "a public CA that names the host"
	    : "mail goes there all the same; under an enforced policy it "
	      "would not: its owner should install a certificate from a "
	      "public CA that names the host";

	if (!ph->proof.tls)
		diag_put(
		    j, "mx-certificate", host, DIAG_SKIPPED, NULL, "no TLS");
	else if (ph->proof.dane)
		diag_put(j, "mx-certificate", host, DIAG_OK, NULL,
		    "matches the TLSA records");
	else if (!ph->proof.trusted)
		diag_put(j, "mx-certificate", host, bad,
		    ph->proof.expired ? "its owner must renew the certificate"
				      : todo,
		    "%s (names: %s)", ph->cert_error, ph->cert_names);
	else if (!proved_name(ph, host))
		diag_put(j, "mx-certificate", host, bad, todo,
		    "it is for %s, not for %s", ph->cert_names, host);
	else
		diag_put(j, "mx-certificate", host, DIAG_OK, NULL,
		    "trusted, and names %s", host);
}

void
inquiry_put_connection(struct json *j, const struct probe_host *ph)
{
	put_connect(j, ph);
	put_starttls(j, ph);
}

static void
put_steps(struct json *j, const struct probe_host *ph)
{
	if (!ph->vh->attempt)
		return;
	inquiry_put_connection(j, ph);
	put_certificate(j, ph);
}

static enum diag_result
host_result(const struct probe_host *ph)
{
	if (!ph->vh->attempt || ph->stage < PROBE_CONNECTED)
		return DIAG_ERROR;
	if (ph->stage == PROBE_GOOD)
		return DIAG_OK;
	/* once more in clear text, as mail would go */
	return !demands(ph->vh) && ph->reason == REASON_TLS_HANDSHAKE_FAILED
	    ? DIAG_WARNING
	    : DIAG_ERROR;
}

static void
put_names(struct json *j, const char *name, const struct verdict_host *vh)
{
	size_t i;

	json_put_arr(j, name);
	for (i = 0; i < vh->n_names; i++)
		json_put_str(j, NULL, vh->names[i].name);
	json_put_end_arr(j);
}

void
inquiry_put_host(
    struct json *j, const struct plan *p, const struct probe_host *ph)
{
	const struct verdict_host *vh = ph->vh;
	bool tls = ph->proof.tls;

	(void)p;
	json_put_obj(j, NULL);
	json_put_str(j, "host", vh->host->name);
	json_put_str(j, "address", ph->address[0] != '\0' ? ph->address : NULL);
	json_put_uint(j, "port", vh->host->port);
	json_put_str(j, "verdict", vh->attempt ? "attempt" : "skip");
	json_put_str(j, "result", diag_word(host_result(ph)));
	json_put_str(
	    j, "reason", reason_word(vh->attempt ? ph->reason : vh->reason));
	json_put_str(j, "text",
	    !vh->attempt && vh->n_rules > 0 ? vh->rules[vh->n_rules - 1].text
					    : ph->text);
	json_put_str(j, "rule", vh->rule);
	json_put_str(j, "level_wanted", verdict_level_name(vh->level));
	json_put_str(j, "level_proven",
	    ph->stage >= PROBE_CONNECTED
		? verdict_level_name(verdict_proven(&ph->proof))
		: NULL);
	json_put_str(j, "protocol", tls ? ph->protocol : NULL);
	json_put_str(j, "cipher", tls ? ph->cipher : NULL);
	put_names(j, "names_wanted", vh);
	json_put_str(j, "verified_name",
	    ph->proof.trusted && ph->proof.n_names > 0 ? ph->proof.names[0]
						       : NULL);
	if (tls) {
		json_put_obj(j, "certificate");
		json_put_str(j, "names", ph->cert_names);
		json_put_bool(j, "trusted", ph->proof.trusted);
		json_put_str(j, "error",
		    ph->cert_error[0] != '\0' ? ph->cert_error : NULL);
		json_put_end_obj(j);
	} else {
		json_put_null(j, "certificate");
	}
	json_put_arr(j, "steps");
	put_steps(j, ph);
	json_put_end_arr(j);
	json_put_end_obj(j);
}

/* ---- sts check --------------------------------------------------------------------------- */

const char *
inquiry_mode_word(enum facts_sts_mode mode)
{
	static const char *const words[] = { "enforce", "testing", "none" };

	return words[mode];
}

/* A policy: what it says, and whether it can still be fetched. */
static void
put_policy_in_force(struct json *j, const struct plan *p)
{
	const struct facts_sts_policy *sts = &p->facts.sts;
	bool none = sts->mode == FACTS_STS_MODE_NONE;

	diag_put(j, "in-force", p->domain,
	    none || (!sts->stale && sts->mode == FACTS_STS_ENFORCE)
		? DIAG_OK
		: DIAG_WARNING,
	    sts->stale ? "it cannot be fetched any more, and holds until it "
			 "expires; its owner must repair the policy host, or "
			 "publish mode none"
		: sts->mode == FACTS_STS_TESTING
		? "the owner changes it to enforce when every MX host passes"
		: NULL,
	    "policy %s, mode %s, %s, %lld s old of %lld s%s", sts->id,
	    inquiry_mode_word(sts->mode), sts->source, (long long)sts->age_s,
	    (long long)sts->max_age_s,
	    sts->stale ? ", its last refresh failed" : "");
}

static void
put_no_policy(struct json *j, const struct plan *p)
{
	const char *reason = p->facts.sts.reason;
	bool mandatory = p->set.mta_sts == CONF_STS_MANDATORY;

	if (reason == NULL || reason[0] == '\0')
		reason = "none was found";
	diag_put(j, "in-force", p->domain,
	    mandatory ? DIAG_ERROR : DIAG_WARNING,
	    mandatory ? "no mail goes there, as mta_sts = mandatory in "
			"destinations.conf, until its owner publishes a policy "
			"of mode enforce"
		      : "nothing, if the steps above are as they should be; to "
			"demand more than the domain does: tls = "
			"required-verify-hosted in destinations.conf",
	    "no policy (%s): mail goes by tls = %s", reason,
	    conf_tls_name(p->set.tls));
}

static void
put_in_force(struct json *j, const struct plan *p)
{
	const struct facts_sts_policy *sts = &p->facts.sts;

	if (p->facts.via != FACTS_VIA_MX && p->facts.via != FACTS_VIA_IMPLICIT)
		diag_put(j, "in-force", p->domain, DIAG_WARNING,
		    "nothing, if that is meant; else USEDNS in routes.conf",
		    "MTA-STS is not used: a route or an address literal covers "
		    "the domain");
	else if (p->set.mta_sts == CONF_STS_OFF)
		diag_put(j, "in-force", p->domain, DIAG_WARNING,
		    "nothing, if that is meant; else mta_sts = on in "
		    "destinations.conf",
		    "MTA-STS is not used: mta_sts = off in [%s]",
		    p->control->name);
	else if (sts->state == FACTS_STS_POLICY)
		put_policy_in_force(j, p);
	else if (sts->state == FACTS_STS_INDETERMINATE)
		diag_put(j, "in-force", p->domain, DIAG_ERROR,
		    "mail to the domain waits for up to [mta-sts] "
		    "discovery_grace from its first attempt, then goes on as "
		    "without a policy",
		    "in doubt, and no policy is stored: %s",
		    sts->reason != NULL ? sts->reason : "no answer");
	else
		put_no_policy(j, p);
}

static void
put_mx(struct json *j, const struct plan *p)
{
	const struct facts *f = &p->facts;
	char list[DIAG_TEXT / 2] = "";
	size_t i, at = 0;

	for (i = 0; i < f->n_hosts && at < sizeof(list); i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at,
		    "%s%s (%u)", i > 0 ? ", " : "", f->hosts[i].name,
		    f->hosts[i].preference);
	if (p->verdict->outcome == VERDICT_FAIL ||
	    (f->n_hosts == 0 && f->via != FACTS_VIA_DISCARD))
		diag_put(j, "mx", p->domain, DIAG_ERROR,
		    f->mx_state == DNS_INDETERMINATE
			? "mail waits until DNS answers: dig MX of the domain "
			  "from this node"
			: "the domain takes no mail",
		    "%s", p->verdict->text);
	else if (f->via == FACTS_VIA_IMPLICIT)
		diag_put(j, "mx", p->domain, DIAG_OK, NULL,
		    "no MX record: the domain itself, DNS %s",
		    dns_state_str(f->mx_state));
	else
		diag_put(j, "mx", p->domain, DIAG_OK, NULL, "%s, DNS %s", list,
		    dns_state_str(f->mx_state));
}

/* Under mode none nothing follows from it, and it is told all the same. */
static void
put_match(struct json *j, const struct plan *p, const char *host)
{
	const struct facts_sts_policy *sts = &p->facts.sts;
	bool none = sts->mode == FACTS_STS_MODE_NONE;
	bool enforce = sts->mode == FACTS_STS_ENFORCE;
	size_t i;

	if (sts->state != FACTS_STS_POLICY || (none && sts->n_mx == 0))
		return;
	for (i = 0; i < sts->n_mx; i++)
		if (sts_pattern_match(sts->mx[i], host)) {
			diag_put(j, "mx-match", host, DIAG_OK, NULL,
			    "the policy lists it as %s", sts->mx[i]);
			return;
		}
	diag_put(j, "mx-match", host,
	    enforce    ? DIAG_ERROR
		: none ? DIAG_SKIPPED
		       : DIAG_WARNING,
	    enforce
		? "no mail goes to this host: its owner adds it to the policy "
		  "(and changes the id), or takes it out of the MX records; "
		  "a host that nobody knows may be an attack on DNS"
		: "under enforce no mail would go to this host: its owner adds "
		  "it to the policy (and changes the id), or takes it out of "
		  "the MX records",
	    "the policy does not list it%s",
	    none ? "; mode none asks for nothing" : "");
}

void
inquiry_put_skipped(struct json *j, const struct verdict_host *vh)
{
	diag_put(j, "mx-connect", vh->host->name, DIAG_SKIPPED, NULL,
	    "not connected to: %s",
	    vh->n_rules > 0 ? vh->rules[vh->n_rules - 1].text
			    : reason_word(vh->reason));
}

void
inquiry_put_check(struct json *j, const struct plan *p,
    const struct probe_host *hosts, size_t n)
{
	size_t i;

	put_in_force(j, p);
	put_mx(j, p);
	for (i = 0; i < n; i++) {
		const struct verdict_host *vh = hosts[i].vh;

		put_match(j, p, vh->host->name);
		put_steps(j, &hosts[i]);
		if (!vh->attempt)
			inquiry_put_skipped(j, vh);
	}
}
