/*
 * peer_admin.c - what admin may ask of us: metrics, status, how a destination's
 * hosts do, and explain. It can look, never act.
 *
 * The documents are a contract (lib/proto/admin.h). Sizes are bounded: explain
 * by the hosts of a plan, hoststatus by the gateways of one domain.
 */
#include "deliver/deliver.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/mail/addr.h"
#include "lib/metrics/metrics.h"

enum { DOC_MAX = 8 * 1024 * 1024, EXPLAINS_MAX = 64 };

/* An explain whose facts are still asked for. */
struct explain {
	struct deliver *d;
	uint32_t instance; /* of the admin that asked */
	uint64_t req_id;
	struct gather *gather;
	char recipient[TEXT_ADDRESS_MAX + 1], domain[ADDR_DOMAIN_MAX + 1];
	LIST_ENTRY(explain) link;
};
static LIST_HEAD(explain_list, explain) explains = LIST_HEAD_INITIALIZER(
    explains);
static size_t n_explains; /* file scope: calls of all admins share the bound */

static struct admin_peer *
peer_of(struct deliver *d, uint32_t instance)
{
	size_t i;

	for (i = 0; i < ADMIN_INSTANCES; i++)
		if (d->admin[i].used && d->admin[i].instance == instance)
			return &d->admin[i];
	return NULL;
}

static int
send_doc(struct admin_peer *p, uint64_t req_id, struct buf *b, int err)
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
}

static int
on_metrics(struct admin_peer *p, uint64_t req_id, const struct adm_call *m)
{
	struct buf b;
	struct ipc_wr w = { &b, 0 };

	(void)m;
	buf_init(&b, DOC_MAX);
	put_metrics(p->d, &w);
	return send_doc(p, req_id, &b, w.err);
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
	json_put_uint(&j, "delivered", d->n.delivered);
	json_put_uint(&j, "deferred", d->n.deferred);
	json_put_uint(&j, "failed", d->n.failed);
	json_put_uint(&j, "trusted_cas", d->env->n_cas);
	json_put_end_obj(&j);
	return send_doc(p, req_id, &b, j.err);
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
	return send_doc(p, req_id, &b, j.err);
}

/* ---- explain -------------------------------------------------------------------------------------- */

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
		if (c->kind != CONF_DEST_DEFAULT && !conf_dest_given(c, i))
			json_put_str(j, NULL, conf_dest_key_name(i));
	json_put_end_arr(j);
	json_put_end_obj(j);
}

/* The counters of the first host that would be tried. */
static void
put_limits(struct json *j, const struct plan *p)
{
	const struct verdict *v = p->verdict;
	struct permit_names names;
	struct ctl_permit_ask ask;
	size_t i;
	uint32_t k;

	json_put_arr(j, "limits");
	for (i = 0; i < v->n_hosts && !v->hosts[i].attempt; i++)
		continue;
	if (i < v->n_hosts) {
		permit_keys(p, i, &v->hosts[i].host->addrs[0],
		    v->hosts[i].level != LEVEL_NONE, &names, &ask);
		for (k = 0; k < ask.n_keys; k++) {
			json_put_obj(j, NULL);
			json_put_str(j, "key", ask.keys[k].name);
			json_put_uint(j, "limit", ask.keys[k].limit);
			json_put_end_obj(j);
		}
		json_put_obj(j, NULL);
		json_put_str(j, "key", "messages-per-connection");
		json_put_uint(j, "limit", permit_max_messages(p, i));
		json_put_end_obj(j);
	}
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
explain_free(struct explain *e)
{
	LIST_REMOVE(e, link);
	n_explains--;
	gather_cancel(e->gather);
	free(e);
}

static void
on_plan(void *arg, struct plan *plan)
{
	struct explain *e = arg;
	struct admin_peer *p = peer_of(e->d, e->instance);
	struct buf b;
	struct json j;

	e->gather = NULL;
	if (p == NULL || plan == NULL) {
		if (p != NULL)
			(void)adm_refuse(
			    &p->adm, e->req_id, 503, "out of memory");
		plan_unref(plan);
		explain_free(e);
		return;
	}
	buf_init(&b, DOC_MAX);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	json_put_str(&j, "recipient", or_null(e->recipient));
	json_put_str(&j, "domain", e->domain);
	put_route(&j, plan->env->conf, e->domain);
	json_put_str(&j, "gateway", plan->gateway->name);
	put_control(&j, plan->control);
	verdict_json(&j, &plan->facts, plan->verdict);
	put_limits(&j, plan);
	json_put_str(
	    &j, "state", state_of(e->d, e->domain, plan->gateway->name));
	json_put_null(&j, "next_attempt"); /* queue's to know: hoststatus */
	json_put_end_obj(&j);
	(void)send_doc(p, e->req_id, &b, j.err);
	plan_unref(plan);
	explain_free(e);
}

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

/* "user@domain" or "domain" into what is explained. NULL or what is wrong. */
static const char *
parse_target(const char *text, struct explain *e)
{
	const char *at = strrchr(text, '@'), *domain = text, *why = NULL;
	struct addr a;

	if (at != NULL) {
		if (addr_parse(text, strlen(text), ADDR_UTF8, &a, &why) < 0)
			return why != NULL ? why : "not an address";
		(void)snprintf(e->recipient, sizeof(e->recipient), "%s", text);
		domain = at + 1;
	}
	if (addr_domain_normalise(domain, strlen(domain), e->domain) < 0)
		return "not a domain";
	return NULL;
}

static int
on_explain(struct admin_peer *p, uint64_t req_id, const struct adm_call *m)
{
	struct deliver *d = p->d;
	const struct conf_gateway *gw;
	union conf_addr client;
	struct explain *e;
	const char *wrong = NULL;

	if (n_explains == EXPLAINS_MAX)
		return adm_refuse(
		    &p->adm, req_id, 503, "too many explains are under way");
	if (m->args[2][0] != '\0' && !client_address(m->args[2], &client))
		return adm_refuse(
		    &p->adm, req_id, 400, "the client is no IP address");
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return adm_refuse(&p->adm, req_id, 503, "out of memory");
	LIST_INSERT_HEAD(&explains, e, link);
	n_explains++;
	e->d = d;
	e->instance = p->instance;
	e->req_id = req_id;
	wrong = parse_target(m->args[0], e);
	if (wrong == NULL) {
		gw = conf_gateway_choose(d->env->conf, m->args[1],
		    m->args[2][0] != '\0' ? &client.sa : NULL);
		e->gather =
		    gather_start(d, d->env, e->domain, gw->name, 0, on_plan, e);
	}
	if (e->gather == NULL) {
		explain_free(e);
		return adm_refuse(&p->adm, req_id, wrong != NULL ? 400 : 503,
		    wrong != NULL ? wrong : "out of memory");
	}
	return 0;
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
		{ ADM_EXPLAIN, on_explain },
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
	struct explain *e, *next;

	for (e = LIST_FIRST(&explains); e != NULL; e = next) {
		next = LIST_NEXT(e, link);
		if (e->d == p->d && e->instance == p->instance)
			explain_free(e);
	}
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
	struct admin_peer *p = peer_of(d, instance);
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
