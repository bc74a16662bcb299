/*
 * peer_admin.c - what admin may ask of us: metrics, status, how a destination's
 * hosts do; explain and its like are inquiry.c. It can look, never act.
 *
 * The documents are a contract (lib/proto/admin.h). Sizes are bounded: hoststatus
 * by the gateways of one domain.
 */
#include "deliver/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/metrics/metrics.h"

struct admin_peer *
admin_peer_of(struct deliver *d, uint32_t instance)
{
	size_t i;

	for (i = 0; i < ADMIN_INSTANCES; i++)
		if (d->admin[i].used && d->admin[i].instance == instance)
			return &d->admin[i];
	return NULL;
}

int
admin_send(struct admin_peer *p, uint64_t req_id, struct buf *b, int err)
{
	int r = err;

	if (r == 0)
		r = adm_reply(&p->adm, req_id, b);
	else
		r = adm_refuse(&p->adm, req_id, 503, err_str(err));
	buf_done(b);
	/* admin going away is not our trouble */
	return r == PE_GONE || r == PE_FULL ? 0 : r;
}

/* ---- metrics -------------------------------------------------------------------------------- */

/* One row for each reason that a host may be refused for. */
static void
put_refused(struct ipc_wr *w, const char *name, const char *help,
    const uint64_t *counts, const enum reason *own, size_t n_own)
{
	static const enum reason tls[] = { REASON_STARTTLS_MISSING,
		REASON_TLS_HANDSHAKE_FAILED, REASON_CERT_UNTRUSTED,
		REASON_CERT_EXPIRED, REASON_CERT_NAME_MISMATCH };
	size_t i, n_tls = sizeof(tls) / sizeof(tls[0]);
	char labels[64];

	for (i = 0; i < n_own + n_tls; i++) {
		enum reason why = i < n_own ? own[i] : tls[i - n_own];
		const struct metric m = { name, labels, help, METRIC_COUNTER,
			(int64_t)counts[why] };

		(void)snprintf(
		    labels, sizeof(labels), "reason=\"%s\"", reason_word(why));
		metric_encode(w, &m);
	}
}

static void
put_policies(const struct counters *n, struct ipc_wr *w)
{
	static const enum reason sts[] = { REASON_STS_MX_MISMATCH,
		REASON_STS_REQUIRED, REASON_STS_DISCOVERY_WAIT };
	static const enum reason dane[] = { REASON_TLSA_INDETERMINATE,
		REASON_DANE_REQUIRED, REASON_DANE_FAILED };

	put_refused(w, "postern_sts_refusals_total",
	    "Hosts not used because of MTA-STS", n->sts_refused, sts,
	    sizeof(sts) / sizeof(sts[0]));
	put_refused(w, "postern_dane_refusals_total",
	    "Hosts not used because of DANE", n->dane_refused, dane,
	    sizeof(dane) / sizeof(dane[0]));
}

static void
put_metrics(struct deliver *d, struct ipc_wr *w)
{
	const struct counters *n = &d->n;
	struct tls_client_stats tls;
	size_t i;

	tls_client_stats(d->env->tls, &tls);
#define C(name, labels, help, value)                           \
	{                                                      \
		"postern_" name, labels, help, METRIC_COUNTER, \
		    (int64_t)(value)                           \
	}
#define G(name, labels, help, value)                                          \
	{                                                                     \
		"postern_" name, labels, help, METRIC_GAUGE, (int64_t)(value) \
	}
	/* clang-format off */
	const struct metric all[] = {
		C("delivery_connections_total", "", "Outbound connections made", n->connections),
		C("delivery_connect_errors_total", "", "Outbound connections that failed", n->connect_errors),
		C("delivery_messages_total", "", "Messages with a result for at least one recipient", n->messages),
		C("delivery_recipients_total", "outcome=\"delivered\"", "Recipients by the outcome of their attempt", n->delivered),
		C("delivery_recipients_total", "outcome=\"deferred\"", "Recipients by the outcome of their attempt", n->deferred),
		C("delivery_recipients_total", "outcome=\"failed\"", "Recipients by the outcome of their attempt", n->failed),
		C("delivery_returned_total", "", "Recipients given back unattempted", n->returned),
		C("delivery_bytes_total", "", "Bytes written to remote hosts", n->bytes),
		C("delivery_tls_total", "result=\"ok\"", "Outbound sessions by TLS", n->tls_ok),
		C("delivery_tls_total", "result=\"clear\"", "Outbound sessions by TLS", n->clear),
		C("delivery_tls_total", "result=\"handshake_failed\"", "Outbound sessions by TLS", n->tls_failed),
		C("delivery_tls_total", "result=\"verify_failed\"", "Outbound sessions by TLS", n->verify_failed),
		C("delivery_dane_total", "", "Outbound sessions whose certificate a TLSA record matched", n->dane_ok),
		C("delivery_sts_testing_failures_total", "", "Outbound sessions that a policy in mode testing would have refused", n->testing_failures),
		C("delivery_tls_handshakes_total", "resumed=\"no\"", "Handshakes by resumption", tls.full),
		C("delivery_tls_handshakes_total", "resumed=\"yes\"", "Handshakes by resumption", tls.resumed),
		C("delivery_protocol_errors_total", "", "Sessions ended because the host broke SMTP", n->protocol_errors),
		C("delivery_destinations_total", "state=\"up\"", "Words told of destinations", n->dest_up),
		C("delivery_destinations_total", "state=\"down\"", "Words told of destinations", n->dest_down),
		C("delivery_destinations_total", "state=\"deferred\"", "Words told of destinations", n->dest_deferred),
		C("delivery_destinations_total", "state=\"failed\"", "Words told of destinations", n->dest_failed),
		C("delivery_destinations_total", "state=\"discarded\"", "Words told of destinations", n->dest_discarded),
		C("delivery_permits_waited_total", "", "Connections that had to wait for their permit", n->permits_waited),
		G("delivery_connections", "", "Outbound connections open or waiting", d->n_conns),
		G("delivery_destinations", "", "Destinations held", d->n_dests),
		G("delivery_tls_sessions", "", "TLS sessions kept for resumption", tls.sessions),
	};
	/* clang-format on */
#undef C
#undef G
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		metric_encode(w, &all[i]);
	put_policies(n, w);
}

static int
on_metrics(struct admin_peer *p, uint64_t req_id, const struct adm_call *m)
{
	struct buf b;
	struct ipc_wr w = { &b, 0 };

	(void)m;
	buf_init(&b, DOC_MAX);
	put_metrics(p->d, &w);
	return admin_send(p, req_id, &b, w.err);
}

/* ---- status ------------------------------------------------------------------------------------ */

static int
on_status(struct admin_peer *p, uint64_t req_id, const struct adm_call *m)
{
	struct deliver *d = p->d;
	struct buf b;
	struct json j;

	(void)m;
	buf_init(&b, DOC_MAX);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	json_put_str(&j, "role", "deliver");
	json_put_uint(&j, "instance", d->child->instance);
	json_put_bool(&j, "draining", d->draining);
	json_put_bool(&j, "queue", queue_is_up(d));
	json_put_bool(&j, "resolver", ipc_chan_is_up(d->resolver.chan));
	json_put_bool(&j, "policyd", ipc_chan_is_up(d->policyd.chan));
	json_put_uint(&j, "destinations", d->n_dests);
	json_put_uint(&j, "connections", d->n_conns);
	json_put_str(&j, "alert", fds_alert(d));
	json_put_uint(&j, "delivered", d->n.delivered);
	json_put_uint(&j, "deferred", d->n.deferred);
	json_put_uint(&j, "failed", d->n.failed);
	json_put_uint(&j, "trusted_cas", d->env->n_cas);
	json_put_end_obj(&j);
	return admin_send(p, req_id, &b, j.err);
}

static const char *
or_null(const char *text)
{
	return text[0] == '\0' ? NULL : text;
}

static uint32_t
conns_of(struct deliver *d, const struct memo *m)
{
	struct dest *dst;
	uint32_t n = 0;

	LIST_FOREACH(dst, &d->dests, all)
		if (dst->memo == m)
			n += dst->n_conns;
	return n;
}

static int
on_hoststatus(struct admin_peer *p, uint64_t req_id, const struct adm_call *m)
{
	const struct memo *memo;
	struct buf b;
	struct json j;
	size_t i;

	buf_init(&b, DOC_MAX);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	json_put_str(&j, "domain", m->args[0]);
	json_put_arr(&j, "destinations");
	TAILQ_FOREACH(memo, &p->d->memos, lru) {
		if (strcmp(memo->domain, m->args[0]) != 0)
			continue;
		json_put_obj(&j, NULL);
		json_put_str(&j, "gateway", memo->gateway);
		json_put_str(&j, "state", memo->state);
		json_put_bool(&j, "held", memo->held > 0);
		json_put_uint(&j, "connections", conns_of(p->d, memo));
		json_put_str(&j, "last_5xx", or_null(memo->last_5xx));
		json_put_str(
		    &j, "last_tls_error", or_null(memo->last_tls_error));
		json_put_str(&j, "last_error", or_null(memo->last_error));
		json_put_arr(&j, "hosts");
		for (i = 0; i < memo->n_hosts; i++) {
			json_put_obj(&j, NULL);
			json_put_str(&j, "host", memo->hosts[i].host);
			json_put_str(
			    &j, "address", or_null(memo->hosts[i].address));
			json_put_str(&j, "state", memo->hosts[i].state);
			json_put_end_obj(&j);
		}
		json_put_end_arr(&j);
		json_put_end_obj(&j);
	}
	json_put_end_arr(&j);
	json_put_end_obj(&j);
	return admin_send(p, req_id, &b, j.err);
}

/* ---- the channel --------------------------------------------------------------------------------------- */

static int
on_call(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	static const struct {
		enum adm_op op;
		int (*act)(struct admin_peer *p, uint64_t req_id,
		    const struct adm_call *m);
	} ops[] = {
		{ ADM_METRICS, on_metrics },
		{ ADM_STATUS, on_status },
		{ ADM_HOSTSTATUS, on_hoststatus },
		{ ADM_EXPLAIN, inquiry_call },
		{ ADM_TLSVERIFY, inquiry_call },
		{ ADM_STS_CHECK, inquiry_call },
		{ ADM_DANE_CHECK, inquiry_call },
	};
	struct admin_peer *p = peer;
	struct adm_call msg;
	size_t i;
	int r;

	if (adm_call_decode(rd, &msg) < 0)
		return PE_PROTO;
	if (p->d->env == NULL)
		return adm_refuse(&p->adm, m->req_id, 503, "starting");
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (ops[i].op == msg.op) {
			r = ops[i].act(p, m->req_id, &msg);
			return r == PE_FULL || r == PE_GONE ? 0 : r;
		}
	r = adm_refuse(&p->adm, m->req_id, 404, "not a question for deliver");
	return r == PE_FULL || r == PE_GONE ? 0 : r;
}

static void
on_room(void *peer)
{
	struct admin_peer *p = peer;

	adm_peer_room(&p->adm);
}

static void
drop_peer(struct admin_peer *p)
{
	inquiries_drop(p->d, p->instance);
	ipc_chan_free(p->adm.chan);
	adm_peer_done(&p->adm);
	p->used = false;
}

static void
on_down(void *peer, int why, const char *text)
{
	struct admin_peer *p = peer;

	if (why != PE_GONE)
		child_peer_broken(p->d->child, ROLE_ADMIN, p->instance, text);
	drop_peer(p);
}

static const struct ipc_rule rules[] = {
	{ ADM_CALL, 18, 4096, IPC_ANY, 0, on_call },
};

static const struct ipc_spec spec = {
	.name = "admin",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_down = on_down,
	.on_room = on_room,
};

void
admin_peer_new(struct deliver *d, uint32_t instance, int fd)
{
	struct admin_peer *p = admin_peer_of(d, instance);
	struct ipc_chan *chan;
	size_t i;

	if (p != NULL)
		drop_peer(p);
	for (i = 0, p = NULL; i < ADMIN_INSTANCES && p == NULL; i++)
		if (!d->admin[i].used)
			p = &d->admin[i];
	if (p == NULL) {
		(void)close(fd);
		return;
	}
	p->d = d;
	p->instance = instance;
	if (ipc_chan_new(&d->child->hub, fd, &spec, p, &chan) < 0) {
		log_warn("peer_error", "deliver: no channel to admin");
		return;
	}
	p->used = true;
	adm_peer_init(&p->adm, chan);
}

void
admin_peers_close(struct deliver *d)
{
	size_t i;

	for (i = 0; i < ADMIN_INSTANCES; i++)
		if (d->admin[i].used)
			drop_peer(&d->admin[i]);
}
