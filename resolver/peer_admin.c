/*
 * peer_admin.c - what admin may ask of us: metrics, status, dnsflush.
 */
#include "resolver/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/metrics/metrics.h"
#include "lib/proc/child.h"
#include "lib/proto/admin.h"

enum { DOC_MAX = 64 * 1024 };

struct admin {
	LIST_ENTRY(admin) link;
	struct app *app;
	struct adm_peer peer;
	uint32_t instance;
};

/* ---- documents -------------------------------------------------------------
 */

static void
put(struct ipc_wr *w, const char *name, const char *labels, const char *help,
    enum metric_kind kind, uint64_t value)
{
	struct metric m = { name, labels, help, kind, (int64_t)value };

	metric_encode(w, &m);
}

static int
metrics(struct app *app, struct buf *doc)
{
	struct ipc_wr w = { .b = doc };
	struct resolver_stats st;
	char labels[128];
	size_t i;

	resolver_stats(app->r, &st);
	put(&w, "postern_dns_requests_total", "",
	    "DNS questions asked of the "
	    "resolver process",
	    METRIC_COUNTER, st.asked);
	put(&w, "postern_dns_cache_hits_total", "",
	    "DNS questions answered from the cache", METRIC_COUNTER, st.hits);
	put(&w, "postern_dns_refused_total", "",
	    "DNS questions refused because a bound was reached", METRIC_COUNTER,
	    st.refused);
	put(&w, "postern_dns_answers_total", "state=\"secure\"",
	    "DNS lookups by the security state of their answer", METRIC_COUNTER,
	    st.secure);
	put(&w, "postern_dns_answers_total", "state=\"insecure\"", "",
	    METRIC_COUNTER, st.insecure);
	put(&w, "postern_dns_answers_total", "state=\"indeterminate\"", "",
	    METRIC_COUNTER, st.indeterminate);
	put(&w, "postern_dns_bogus_total", "",
	    "DNS lookups that failed validation", METRIC_COUNTER, st.bogus);
	put(&w, "postern_dns_doubted_total", "",
	    "Answers not believed because their server does not validate while "
	    "another one does",
	    METRIC_COUNTER, st.doubted);
	put(&w, "postern_dns_timeouts_total", "",
	    "DNS lookups that no server answered in time", METRIC_COUNTER,
	    st.timeouts);
	put(&w, "postern_dns_in_flight", "", "DNS lookups on their way",
	    METRIC_GAUGE, st.in_flight);
	put(&w, "postern_dns_validating", "",
	    "DNS lookups open in libunbound, given up ones too", METRIC_GAUGE,
	    st.validating);
	put(&w, "postern_dns_waiting", "", "DNS lookups waiting for a place",
	    METRIC_GAUGE, st.waiting);
	put(&w, "postern_dns_cache_entries", "", "Answers in the DNS cache",
	    METRIC_GAUGE, st.cache_entries);
	put(&w, "postern_dns_cache_bytes", "", "Memory of the DNS cache",
	    METRIC_GAUGE, st.cache_bytes);
	put(&w, "postern_dns_cache_evicted_total", "",
	    "Answers pushed out of the DNS cache before their time",
	    METRIC_COUNTER, st.cache_evicted);
	for (i = 0; i < st.n_servers; i++) {
		(void)snprintf(labels, sizeof(labels), "server=\"%s\"",
		    st.servers[i].text);
		put(&w, "postern_dns_server_up", labels,
		    "Whether the DNS server answers", METRIC_GAUGE,
		    st.servers[i].up);
	}
	for (i = 0; i < st.n_servers; i++) {
		(void)snprintf(labels, sizeof(labels), "server=\"%s\"",
		    st.servers[i].text);
		put(&w, "postern_dns_server_queries_total", labels,
		    "Queries sent to the DNS server", METRIC_COUNTER,
		    st.servers[i].sent);
	}
	return w.err;
}

/* Why mail waits, and what to do; NULL when it does not. */
static const char *
alert(const struct resolver_stats *st)
{
	if (st->closed)
		return "DANE is configured but the resolver does not validate: "
		       "answers without DNSSEC are not believed, and mail "
		       "waits. Mend the resolver, or set [resolver] dnssec = "
		       "off to go on without DANE";
	if (st->outage)
		return "no DNS server answers: mail waits";
	return NULL;
}

/* What else is wrong, or NULL. */
static const char *
warning(const struct app *app, const struct resolver_stats *st)
{
	if (st->mixed)
		return "some DNS servers validate and some do not: while the "
		       "former do not answer, nothing is found out and mail "
		       "waits";
	if (!app->wants_dane || st->closed)
		return NULL;
	switch (app->probe.now) {
	case PROBE_UNSIGNED:
	case PROBE_LETS_BOGUS:
		return "DANE is configured but the resolver does not validate: "
		       "mail goes on without DANE. Use a name server that "
		       "validates";
	case PROBE_UNTRUSTED:
		return "DANE is configured but no name server is trusted to "
		       "validate: mail goes on without DANE. Use one on this "
		       "host, or set [resolver] trust_ad";
	case PROBE_UNREACHABLE:
		return "whether the resolver validates could not be found out";
	default:
		return NULL;
	}
}

static int
status(struct app *app, struct buf *doc)
{
	struct resolver_stats st;
	struct json j;
	size_t i;

	resolver_stats(app->r, &st);
	json_init(&j, doc);
	json_put_obj(&j, NULL);
	json_put_str(&j, "dnssec", probe_str(app->probe.now));
	json_put_str(&j, "alert", alert(&st));
	json_put_str(&j, "warning", warning(app, &st));
	json_put_uint(&j, "asked", st.asked);
	json_put_uint(&j, "cache_hits", st.hits);
	json_put_uint(&j, "secure", st.secure);
	json_put_uint(&j, "insecure", st.insecure);
	json_put_uint(&j, "indeterminate", st.indeterminate);
	json_put_uint(&j, "doubted", st.doubted);
	json_put_str(&j, "validation", st.validates ? "here" : "servers");
	json_put_uint(&j, "validating", st.validating);
	json_put_uint(&j, "in_flight", st.in_flight);
	json_put_uint(&j, "waiting", st.waiting);
	json_put_uint(&j, "cache_entries", st.cache_entries);
	json_put_uint(&j, "cache_bytes", st.cache_bytes);
	json_put_arr(&j, "servers");
	for (i = 0; i < st.n_servers; i++) {
		const struct resolver_server_stats *s = &st.servers[i];

		json_put_obj(&j, NULL);
		json_put_str(&j, "server", s->text);
		json_put_bool(&j, "up", s->up);
		json_put_bool(&j, "trusted", s->trust_ad);
		json_put_bool(&j, "validated_once", s->seen_ad);
		json_put_str(&j, "validates", s->validates);
		json_put_uint(&j, "sent", s->sent);
		json_put_uint(&j, "replies", s->replies);
		json_put_uint(&j, "timeouts", s->timeouts);
		json_put_uint(&j, "errors", s->errors);
		json_put_end_obj(&j);
	}
	json_put_end_arr(&j);
	json_put_end_obj(&j);
	return j.err;
}

static int
dnsflush(struct app *app, const char *name, struct buf *doc)
{
	char normal[DNS_NAME_SIZE];
	struct json j;
	size_t n;

	if (name[0] != '\0') {
		if (dns_name_normalise(name, normal) < 0)
			return PE_SYNTAX;
		name = normal;
	}
	n = resolver_flush(app->r, name);
	log_info("dns_flushed", "DNS cache: %zu entries forgotten (%s)", n,
	    name[0] == '\0' ? "all" : name);
	json_init(&j, doc);
	json_put_obj(&j, NULL);
	json_put_uint(&j, "changed", n);
	json_put_end_obj(&j);
	return j.err;
}

/* ---- channel ---------------------------------------------------------------
 */

static int
on_call(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct admin *ad = peer;
	struct adm_call call;
	struct buf doc;
	int r;

	if (adm_call_decode(rd, &call) < 0)
		return PE_PROTO;
	buf_init(&doc, DOC_MAX);
	switch (call.op) {
	case ADM_METRICS:
		r = metrics(ad->app, &doc);
		break;
	case ADM_STATUS:
		r = status(ad->app, &doc);
		break;
	case ADM_DNSFLUSH:
		r = dnsflush(ad->app, call.args[0], &doc);
		break;
	default:
		buf_done(&doc);
		return PE_PROTO; /* not ours to answer */
	}
	if (r == 0)
		r = adm_reply(&ad->peer, m->req_id, &doc);
	else if (r == PE_SYNTAX)
		r = adm_refuse(&ad->peer, m->req_id, 400, "not a domain name");
	else
		r = adm_refuse(&ad->peer, m->req_id, 503, err_str(r));
	buf_done(&doc);
	return r;
}

static void
on_down(void *peer, int why, const char *text)
{
	struct admin *ad = peer;
	struct ipc_chan *chan = ad->peer.chan;

	if (why != PE_GONE)
		child_peer_broken(
		    ad->app->child, ROLE_ADMIN, ad->instance, text);
	adm_peer_done(&ad->peer);
	LIST_REMOVE(ad, link);
	ipc_chan_free(chan);
	free(ad);
}

static void
on_room(void *peer)
{
	struct admin *ad = peer;

	adm_peer_room(&ad->peer);
}

static const struct ipc_rule rules[] = {
	/* type     min max when     flags handler */
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
admin_open(struct app *app, uint32_t instance, int fd)
{
	struct admin *ad = calloc(1, sizeof(*ad));
	struct ipc_chan *chan;
	int r = -ENOMEM;

	if (ad != NULL) {
		ad->app = app;
		ad->instance = instance;
		r = ipc_chan_new(&app->child->hub, fd, &spec, ad, &chan);
	} else {
		(void)close(fd);
	}
	if (r < 0) {
		log_warn("peer_failed", "resolver: channel to admin: %s",
		    err_str(r));
		free(ad);
		return;
	}
	adm_peer_init(&ad->peer, chan);
	LIST_INSERT_HEAD(&app->admins, ad, link);
}
