/*
 * inquiry.c - what an operator asks about a domain: explain, tlsverify, and our
 * part of sts check, and dane check.
 *
 * Called by peer_admin.c. Each inquiry gathers facts as a delivery would,
 * perhaps connects to the hosts (probe.c), and answers within INQUIRY_MS.
 * Looks, and never sends mail; the documents are made in inquiry_doc.c.
 */
#include "deliver/inquiry.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/mail/addr.h"
#include "lib/proto/diag.h"

enum { INQUIRIES_MAX = 64, INQUIRY_MS = 25 * 1000 };

struct inquiry {
	LIST_ENTRY(inquiry) link;
	struct deliver *d;
	uint32_t instance; /* of the admin that asked */
	uint64_t req_id;
	enum adm_op op;
	bool live;
	uv_timer_t timer; /* for the facts; probes have their own */
	int64_t until_ms;
	struct gather *gather;
	struct probe *probe;
	struct plan *plan;
	char recipient[TEXT_ADDRESS_MAX + 1], domain[ADDR_DOMAIN_MAX + 1];
	char host[ADDR_DOMAIN_MAX + 1]; /* the only one wanted, or "" */
	char facts[ADM_ARG_MAX + 1];	/* to be replaced */
};

static void
on_closed(uv_handle_t *handle)
{
	struct inquiry *q = handle->data;
	struct deliver *d = q->d;

	free(q);
	d->n_closing--;
	deliver_check_done(d);
}

static void
inquiry_free(struct inquiry *q)
{
	struct deliver *d = q->d;

	LIST_REMOVE(q, link);
	d->n_inquiries--;
	gather_cancel(q->gather);
	probe_cancel(q->probe);
	plan_unref(q->plan);
	d->n_closing++;
	uv_close((uv_handle_t *)&q->timer, on_closed);
}

void
inquiries_drop(struct deliver *d, uint32_t instance)
{
	struct inquiry *q, *next;

	for (q = LIST_FIRST(&d->inquiries); q != NULL; q = next) {
		next = LIST_NEXT(q, link);
		if (q->instance == instance)
			inquiry_free(q);
	}
}

/* ---- answers ----------------------------------------------------------------------- */

static void
refuse(struct inquiry *q, uint16_t code, const char *text)
{
	struct admin_peer *p = admin_peer_of(q->d, q->instance);

	if (p != NULL)
		(void)adm_refuse(&p->adm, q->req_id, code, text);
	inquiry_free(q);
}

static void
put_hosts(struct json *j, const struct inquiry *q, const char *name,
    const struct probe_host *hosts, size_t n)
{
	size_t i;

	json_put_arr(j, name);
	for (i = 0; i < n; i++)
		inquiry_put_host(j, q->plan, &hosts[i]);
	json_put_end_arr(j);
}

static const char *
state_of(struct deliver *d, const char *domain, const char *gateway)
{
	const struct memo *m;

	TAILQ_FOREACH(m, &d->memos, lru)
		if (strcmp(m->domain, domain) == 0 &&
		    strcmp(m->gateway, gateway) == 0)
			return m->state;
	return "unknown";
}

static void
put_explain(
    struct json *j, struct inquiry *q, const struct probe_host *hosts, size_t n)
{
	json_put_str(
	    j, "recipient", q->recipient[0] != '\0' ? q->recipient : NULL);
	json_put_str(j, "domain", q->domain);
	inquiry_put_explain(j, q->plan);
	json_put_str(
	    j, "facts_replaced", q->facts[0] != '\0' ? q->facts : NULL);
	if (q->live)
		put_hosts(j, q, "live", hosts, n);
	json_put_str(
	    j, "state", state_of(q->d, q->domain, q->plan->gateway->name));
	json_put_null(j, "next_attempt"); /* queue's to know: hoststatus */
}

/* The end: everything is known that will be. */
static void
answer(struct inquiry *q, const struct probe_host *hosts, size_t n)
{
	struct admin_peer *p = admin_peer_of(q->d, q->instance);
	struct buf b;
	struct json j;

	if (p == NULL) {
		inquiry_free(q);
		return;
	}
	buf_init(&b, DOC_MAX);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	if (q->op == ADM_EXPLAIN) {
		put_explain(&j, q, hosts, n);
	} else {
		json_put_str(&j, "domain", q->domain);
		json_put_str(&j, "gateway", q->plan->gateway->name);
		verdict_json_head(&j, &q->plan->facts, q->plan->verdict);
	}
	if (q->op == ADM_TLSVERIFY)
		put_hosts(&j, q, "hosts", hosts, n);
	if (q->op == ADM_STS_CHECK || q->op == ADM_DANE_CHECK) {
		json_put_arr(&j, "steps");
		if (q->op == ADM_STS_CHECK)
			inquiry_put_check(&j, q->plan, hosts, n);
		else
			inquiry_put_dane_check(&j, q->plan, hosts, n);
		json_put_end_arr(&j);
	}
	json_put_end_obj(&j);
	(void)admin_send(p, q->req_id, &b, j.err);
	inquiry_free(q);
}

/* The facts did not come in time: that is a finding, not a fault of ours. */
static void
on_late(uv_timer_t *timer)
{
	struct inquiry *q = timer->data;
	struct admin_peer *p = admin_peer_of(q->d, q->instance);
	struct buf b;
	struct json j;

	if (q->op != ADM_STS_CHECK || p == NULL) {
		refuse(q, 504, "DNS and MTA-STS did not answer within 25 s");
		return;
	}
	buf_init(&b, DOC_MAX);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	json_put_str(&j, "domain", q->domain);
	json_put_null(&j, "sts");
	json_put_arr(&j, "steps");
	diag_put(&j, "in-force", q->domain, DIAG_ERROR,
	    "mail to the domain waits meanwhile, and goes on when the policy "
	    "host has answered or [mta-sts] fetch_timeout has passed; mail to "
	    "others does not wait",
	    "the node could not find out within 25 s: DNS or the policy host "
	    "hangs");
	json_put_end_arr(&j);
	json_put_end_obj(&j);
	(void)admin_send(p, q->req_id, &b, j.err);
	inquiry_free(q);
}

/* ---- the steps ----------------------------------------------------------------------- */

static void
on_probed(void *arg, const struct probe_host *hosts, size_t n)
{
	answer(arg, hosts, n);
}

static bool
has_host(const struct plan *p, const char *name)
{
	size_t i;

	for (i = 0; i < p->verdict->n_hosts; i++)
		if (strcmp(p->verdict->hosts[i].host->name, name) == 0)
			return true;
	return false;
}

static void
on_plan(void *arg, struct plan *plan)
{
	struct inquiry *q = arg;
	int64_t left = q->until_ms - clock_mono_ms();
	char why[160];

	q->gather = NULL;
	q->plan = plan;
	(void)uv_timer_stop(&q->timer);
	if (plan == NULL) {
		refuse(q, 503, "out of memory");
		return;
	}
	if (q->facts[0] != '\0' &&
	    !inquiry_replace(plan, q->facts, why, sizeof(why))) {
		refuse(q, 400, why);
		return;
	}
	if (q->host[0] != '\0' && !has_host(plan, q->host)) {
		refuse(q, 404,
		    "mail to the domain does not go to this host: see explain");
		return;
	}
	if (!q->live) {
		answer(q, NULL, 0);
		return;
	}
	log_event(LOG_INFO, "probe",
	    &(struct log_fields){ .domain = q->domain },
	    "Connection test for the domain (%s), no mail is sent", q->domain);
	q->probe = probe_start(q->d, plan, q->host[0] != '\0' ? q->host : NULL,
	    left > 1000 ? left : 1000, on_probed, q);
	if (q->probe == NULL)
		refuse(q, 503, "out of memory");
}

/* ---- what is asked -------------------------------------------------------------------- */

/* The client's address as settings compare it; false when it is none. */
static bool
client_address(const char *text, union conf_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &ret->in.sin_addr) == 1)
		ret->in.sin_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &ret->in6.sin6_addr) == 1)
		ret->in6.sin6_family = AF_INET6;
	else
		return false;
	return true;
}

/* "user@domain" or "domain" into what is asked about. NULL or what is wrong. */
static const char *
parse_target(const char *text, struct inquiry *q)
{
	const char *at = strrchr(text, '@'), *domain = text, *why = NULL;
	struct addr a;

	if (at != NULL) {
		if (addr_parse(text, strlen(text), ADDR_UTF8, &a, &why) < 0)
			return why != NULL ? why : "not an address";
		(void)snprintf(q->recipient, sizeof(q->recipient), "%s", text);
		domain = at + 1;
	}
	if (addr_domain_normalise(domain, strlen(domain), q->domain) < 0)
		return "not a domain";
	return NULL;
}

/* The arguments of a call. NULL or what is wrong. */
static const char *
parse_call(struct inquiry *q, const struct adm_call *m, const char **ret_sender,
    union conf_addr *ret_client)
{
	*ret_sender = "";
	q->live = true;
	if (m->op == ADM_EXPLAIN) {
		q->live = m->num == 1;
		*ret_sender = m->args[1];
		(void)snprintf(q->facts, sizeof(q->facts), "%s", m->args[3]);
		if (m->args[2][0] != '\0' &&
		    !client_address(m->args[2], ret_client))
			return "the client is no IP address";
	} else if (m->op == ADM_TLSVERIFY && m->args[1][0] != '\0' &&
	    addr_domain_normalise(m->args[1], strlen(m->args[1]), q->host) < 0)
		return "not a host name";
	return parse_target(m->args[0], q);
}

int
inquiry_call(struct admin_peer *p, uint64_t req_id, const struct adm_call *m)
{
	struct deliver *d = p->d;
	const struct conf_gateway *gw;
	union conf_addr client = { .sa.sa_family = AF_UNSPEC };
	const char *wrong, *sender;
	struct inquiry *q;

	if (d->n_inquiries == INQUIRIES_MAX)
		return adm_refuse(
		    &p->adm, req_id, 503, "too many inquiries are under way");
	q = calloc(1, sizeof(*q));
	if (q == NULL || uv_timer_init(d->child->loop, &q->timer) < 0) {
		free(q);
		return adm_refuse(&p->adm, req_id, 503, "out of memory");
	}
	q->timer.data = q;
	q->d = d;
	q->instance = p->instance;
	q->req_id = req_id;
	q->op = m->op;
	LIST_INSERT_HEAD(&d->inquiries, q, link);
	d->n_inquiries++;
	wrong = parse_call(q, m, &sender, &client);
	if (wrong != NULL) {
		refuse(q, 400, wrong);
		return 0;
	}
	gw = conf_gateway_choose(d->env->conf, sender,
	    client.sa.sa_family != AF_UNSPEC ? &client.sa : NULL);
	q->until_ms = clock_mono_ms() + INQUIRY_MS;
	q->gather =
	    gather_start(d, d->env, q->domain, gw->name, 0, 0, on_plan, q);
	if (q->gather == NULL)
		refuse(q, 503, "out of memory");
	else
		(void)uv_timer_start(&q->timer, on_late, INQUIRY_MS, 0);
	return 0;
}
