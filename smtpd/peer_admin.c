/*
 * peer_admin.c - what admin may ask of smtpd: its counters and its state.
 */
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "lib/json/json.h"
#include "lib/metrics/metrics.h"
#include "smtpd/smtpd.h"

enum { DOC_MAX = 256 * 1024, ALERT_MS = 60 * 1000 };

static void
put_metrics(const struct smtpd *d, struct buf *doc)
{
	const struct stats *s = &d->stats;
	const struct metric list[] = {
		{ "postern_smtpd_connections", "", "Clients connected now.",
		    METRIC_GAUGE, (int64_t)d->n_conns },
		{ "postern_smtpd_connections_total", "", "Clients accepted.",
		    METRIC_COUNTER, (int64_t)s->connections },
		{ "postern_smtpd_refused_total", "limit=\"listener\"",
		    "Clients refused at a limit of connections.",
		    METRIC_COUNTER, (int64_t)s->refused_listener },
		{ "postern_smtpd_refused_total", "limit=\"client\"",
		    "Clients refused at a limit of connections.",
		    METRIC_COUNTER, (int64_t)s->refused_client },
		{ "postern_smtpd_out_of_descriptors_total", "",
		    "Times that no descriptor was left for a client.",
		    METRIC_COUNTER, (int64_t)s->fds_short },
		{ "postern_smtpd_tls_total", "result=\"ok\"",
		    "TLS handshakes of clients.", METRIC_COUNTER,
		    (int64_t)s->tls },
		{ "postern_smtpd_tls_total", "result=\"failed\"",
		    "TLS handshakes of clients.", METRIC_COUNTER,
		    (int64_t)s->tls_failed },
		{ "postern_smtpd_auth_total", "result=\"ok\"",
		    "AUTH attempts of clients.", METRIC_COUNTER,
		    (int64_t)s->auth_ok },
		{ "postern_smtpd_auth_total", "result=\"failed\"",
		    "AUTH attempts of clients.", METRIC_COUNTER,
		    (int64_t)s->auth_failed },
		{ "postern_smtpd_auth_total", "result=\"busy\"",
		    "AUTH attempts of clients.", METRIC_COUNTER,
		    (int64_t)s->auth_busy },
		{ "postern_smtpd_auth_total", "result=\"limited\"",
		    "AUTH attempts of clients.", METRIC_COUNTER,
		    (int64_t)s->auth_limited },
		{ "postern_smtpd_messages_total", "result=\"accepted\"",
		    "Messages given to the queue.", METRIC_COUNTER,
		    (int64_t)s->messages },
		{ "postern_smtpd_messages_total", "result=\"refused\"",
		    "Messages given to the queue.", METRIC_COUNTER,
		    (int64_t)s->not_accepted },
		{ "postern_smtpd_message_bytes_total", "",
		    "Bytes of accepted messages.", METRIC_COUNTER,
		    (int64_t)s->bytes },
		{ "postern_smtpd_submissions", "",
		    "Messages on their way to the queue.", METRIC_GAUGE,
		    (int64_t)d->queue.n_subs },
		{ "postern_smtpd_waiting_clients", "",
		    "Clients that wait for room in the queue.", METRIC_GAUGE,
		    (int64_t)d->queue.n_waiting },
		{ "postern_smtpd_envelope_bytes", "",
		    "Memory of open envelopes.", METRIC_GAUGE,
		    (int64_t)d->envelopes },
	};
	struct ipc_wr w = { doc, 0 };
	size_t i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		metric_encode(&w, &list[i]);
}

static void
put_paused(struct json *j, unsigned paused)
{
	json_put_arr(j, "paused");
	if ((paused & PAUSE_QUEUE) != 0)
		json_put_str(j, NULL, "queue");
	if ((paused & PAUSE_FULL) != 0)
		json_put_str(j, NULL, "connections");
	if ((paused & PAUSE_FDS) != 0)
		json_put_str(j, NULL, "descriptors");
	if ((paused & PAUSE_DRAIN) != 0)
		json_put_str(j, NULL, "draining");
	json_put_end_arr(j);
}

/* What an operator must look at; NULL: nothing. */
static const char *
alert(const struct smtpd *d)
{
	if ((d->paused & PAUSE_FULL) != 0)
		return "as many clients as open files allow: others wait";
	if (d->fds_short_ms != 0 &&
	    clock_mono_ms() - d->fds_short_ms < ALERT_MS)
		return "no open files were left for clients in the last "
		       "minute: they waited or got 421";
	return NULL;
}

static void
put_status(const struct smtpd *d, struct buf *doc)
{
	struct json j;
	size_t i;

	json_init(&j, doc);
	json_put_obj(&j, NULL);
	json_put_str(&j, "role", "smtpd");
	json_put_uint(&j, "instance", d->child->instance);
	json_put_uint(&j, "connections", d->n_conns);
	json_put_uint(&j, "connections_max", d->max_conns);
	json_put_uint(&j, "submissions", d->queue.n_subs);
	json_put_uint(&j, "waiting_clients", d->queue.n_waiting);
	json_put_uint(&j, "envelope_bytes", d->envelopes);
	json_put_uint(&j, "messages", d->stats.messages);
	json_put_uint(&j, "recipients", d->stats.recipients);
	json_put_str(&j, "alert", alert(d));
	json_put_bool(&j, "queue_up", ipc_chan_is_up(d->queue.chan));
	json_put_bool(&j, "queue_accepting", d->queue.accepting);
	json_put_uint(&j, "queue_lost", d->queue.down_count);
	put_paused(&j, d->paused);
	json_put_arr(&j, "listeners");
	for (i = 0; i < d->n_acceptors; i++) {
		const struct acceptor *a = &d->acceptors[i];

		json_put_obj(&j, NULL);
		json_put_str(&j, "name", a->name);
		json_put_str(&j, "address", a->address);
		json_put_bool(&j, "suspended", a->from->suspended);
		json_put_uint(
		    &j, "connections", d->limits.by_listener[a->number]);
		json_put_end_obj(&j);
	}
	json_put_end_arr(&j);
	json_put_end_obj(&j);
}

static int
on_call(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct peer_admin *p = peer;
	struct adm_call call;
	struct buf doc;
	int r;

	if (adm_call_decode(rd, &call) < 0)
		return PE_PROTO;
	buf_init(&doc, DOC_MAX);
	if (call.op == ADM_METRICS)
		put_metrics(p->d, &doc);
	else if (call.op == ADM_STATUS)
		put_status(p->d, &doc);
	if (call.op == ADM_METRICS || call.op == ADM_STATUS)
		r = adm_reply(&p->adm, m->req_id, &doc);
	else
		r = adm_refuse(
		    &p->adm, m->req_id, 404, "smtpd does not know this");
	buf_done(&doc);
	return r == PE_GONE ? 0 : r; /* on_down tells */
}

static void
on_room(void *peer)
{
	struct peer_admin *p = peer;

	adm_peer_room(&p->adm);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct peer_admin *p = peer;

	if (why != PE_GONE)
		child_peer_broken(p->d->child, ROLE_ADMIN, 0, text);
	ipc_chan_free(p->adm.chan);
	adm_peer_done(&p->adm);
}

static const struct ipc_rule rules[] = {
	/* type, min, max, when, flags, handler */
	{ ADM_CALL, 18, 4096, IPC_ANY, 0, on_call },
};

static const struct ipc_spec spec = {
	.name = "admin",
	.rules = rules,
	.n_rules = 1,
	.on_down = on_down,
	.on_room = on_room,
};

void
peer_admin_set(struct peer_admin *p, struct smtpd *d, int fd)
{
	struct ipc_chan *chan = NULL;
	int r;

	p->d = d;
	if (p->adm.chan != NULL) {
		ipc_chan_free(p->adm.chan);
		adm_peer_done(&p->adm);
	}
	r = ipc_chan_new(&d->child->hub, fd, &spec, p, &chan);
	if (r < 0)
		log_warn("admin_channel", "smtpd: channel to admin: %s",
		    err_str(r)); /* mail flows without it */
	else
		adm_peer_init(&p->adm, chan);
}
