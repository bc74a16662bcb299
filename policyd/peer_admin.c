/*
 * peer_admin.c - what admin may ask of us: metrics, status, and the policies:
 * list, show, refresh.
 */
#include "policyd/policyd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/metrics/metrics.h"
#include "lib/proc/child.h"
#include "lib/proto/admin.h"
#include "policyd/record_doc.h"

enum { DOC_MAX = 2 * 1024 * 1024, LIST_DEFAULT = 100, LIST_MAX = 5000 };

/* A check that runs for an operator. */
struct looking {
	LIST_ENTRY(looking) link;
	struct check *check;
	struct admin *admin;
	uint64_t req_id;
};

/* A refresh that runs for an operator. */
struct refresh {
	LIST_ENTRY(refresh) link;
	struct policy_waiter waiter;
	struct admin *admin;
	uint64_t req_id;
	char domain[DNS_NAME_SIZE];
};

struct admin {
	LIST_ENTRY(admin) link;
	struct app *app;
	struct adm_peer peer;
	uint32_t instance;
	LIST_HEAD(refresh_list, refresh) refreshes;
	LIST_HEAD(looking_list, looking) lookings;
};

/* ---- metrics and status --------------------------------------------------------
 */

static void
put(struct ipc_wr *w, const char *name, const char *labels, const char *help,
    enum metric_kind kind, uint64_t value)
{
	struct metric m = { name, labels, help, kind, (int64_t)value };

	metric_encode(w, &m);
}

static void
put_counters(const struct app *app, struct ipc_wr *w)
{
	const struct counters *n = &app->n;
	const struct {
		const char *name, *help;
		uint64_t value;
	} rows[] = {
		{ "postern_sts_requests_total",
		    "MTA-STS policies asked for by workers", n->asked },
		{ "postern_sts_fresh_requests_total",
		    "Of these: past the DNS cache, as delivery had failed",
		    n->fresh },
		{ "postern_sts_cache_hits_total",
		    "Answered by a stored policy with the announced id",
		    n->cache_hits },
		{ "postern_sts_kept_total",
		    "Answered by a stored policy as no live one was found",
		    n->kept },
		{ "postern_sts_discovery_indeterminate_total",
		    "TXT lookups that failed with nothing stored",
		    n->indeterminate },
		{ "postern_sts_discovery_grace_over_total",
		    "Domains delivered as without a policy after "
		    "discovery_grace",
		    n->grace_over },
		{ "postern_sts_heals_total",
		    "Policies replaced by a fresh look after a failed delivery",
		    n->healed },
		{ "postern_sts_refreshes_total", "Fetches of the refresh timer",
		    n->refreshes },
		{ "postern_sts_refresh_failures_total",
		    "Fetches that failed while a policy was stored",
		    n->refresh_failures },
		{ "postern_sts_expired_total", "Stored policies that expired",
		    n->expired },
		{ "postern_sts_corrupt_total",
		    "Stored policies that were damaged and dropped",
		    n->corrupt },
		{ "postern_sts_busy_total",
		    "Answers that said wait, as a bound was reached", n->busy },
		{ "postern_sts_save_failures_total",
		    "Policies that could not be stored", n->save_failures },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put(w, rows[i].name, "", rows[i].help, METRIC_COUNTER,
		    rows[i].value);
}

static int
metrics(struct app *app, struct buf *doc)
{
	struct ipc_wr w = { .b = doc };
	struct policy_stats ps;
	struct store_stats ss;
	char labels[64];
	int i, k;

	policy_stats(app->policy, &ps);
	store_stats(app->store, app_now_s(app), &ss);
	put_counters(app, &w);
	for (i = 0; i < STS_FETCH_WHY_COUNT; i++) {
		(void)snprintf(labels, sizeof(labels), "result=\"%s\"",
		    sts_fetch_why_word((enum sts_fetch_why)i));
		put(&w, "postern_sts_fetches_total", labels,
		    "Policy fetches by how they ended", METRIC_COUNTER,
		    app->n.fetches[i]);
	}
	for (i = 0; i <= STS_MODE_ENFORCE; i++) {
		(void)snprintf(labels, sizeof(labels), "mode=\"%s\"",
		    sts_mode_word((enum sts_mode)i));
		put(&w, "postern_sts_policies", labels, "Stored policies",
		    METRIC_GAUGE, ss.by_mode[i]);
	}
	for (i = 0; i <= STS_MODE_ENFORCE; i++)
		for (k = 0; k < AGE_CLASSES; k++) {
			(void)snprintf(labels, sizeof(labels),
			    "mode=\"%s\",age=\"%s\"",
			    sts_mode_word((enum sts_mode)i), age_word(k));
			put(&w, "postern_sts_policies_by_age", labels,
			    "Stored policies by the time since their last "
			    "fetch",
			    METRIC_GAUGE, ss.by_age[i][k]);
		}
	put(&w, "postern_sts_evicted_total", "",
	    "Policies pushed out by max_policies", METRIC_COUNTER, ss.evicted);
	put(&w, "postern_sts_store_refused_total", "",
	    "New policies not stored, as all that are have been used lately",
	    METRIC_COUNTER, ss.refused);
	put(&w, "postern_sts_can_fetch", "",
	    "1 when there are CA certificates to judge policy hosts by",
	    METRIC_GAUGE, sts_fetcher_can(app->fetcher));
	put(&w, "postern_sts_fetching", "", "Policy fetches under way",
	    METRIC_GAUGE, ps.fetching);
	put(&w, "postern_sts_waiting", "", "Domains that wait for a fetch",
	    METRIC_GAUGE, ps.waiting);
	return w.err;
}

/* What only the operator can mend; NULL without. What keeps mail waiting comes
 * first. */
static const char *
alert(const struct app *app, char *buf, size_t len)
{
	if (!sts_fetcher_can(app->fetcher))
		return "no CA certificates: no MTA-STS policy can be fetched, "
		       "and mail to domains that announce one waits: "
		       "[mta-sts] ca_file or [trust] ca_file";
	if (app_save_alert(app, clock_mono_ms(), buf, len)[0] != '\0')
		return buf;
	return NULL;
}

static int
status(struct app *app, struct buf *doc)
{
	struct policy_stats ps;
	struct store_stats ss;
	char text[256];
	struct json j;

	policy_stats(app->policy, &ps);
	store_stats(app->store, app_now_s(app), &ss);
	json_init(&j, doc);
	json_put_obj(&j, NULL);
	json_put_uint(&j, "policies_enforce", ss.by_mode[STS_MODE_ENFORCE]);
	json_put_uint(&j, "policies_testing", ss.by_mode[STS_MODE_TESTING]);
	json_put_uint(&j, "policies_none", ss.by_mode[STS_MODE_NONE]);
	json_put_uint(&j, "asked", app->n.asked);
	json_put_uint(&j, "cache_hits", app->n.cache_hits);
	json_put_uint(&j, "fetched", app->n.fetches[STS_FETCH_OK]);
	json_put_uint(&j, "refresh_failures", app->n.refresh_failures);
	json_put_uint(&j, "indeterminate", app->n.indeterminate);
	json_put_uint(&j, "fetching", ps.fetching);
	json_put_uint(&j, "waiting", ps.waiting);
	json_put_uint(&j, "known_domains", ps.entries);
	json_put_str(&j, "alert", alert(app, text, sizeof(text)));
	json_put_bool(&j, "resolver",
	    app->resolver.chan != NULL && ipc_chan_is_up(app->resolver.chan));
	json_put_end_obj(&j);
	return j.err;
}

/* ---- policies ----------------------------------------------------------------------
 */

struct listing {
	struct app *app;
	struct json j;
	uint64_t left;
	bool truncated;
};

static bool
list_one(void *arg, const struct policy_record *rec)
{
	struct listing *l = arg;

	if (l->left == 0) {
		l->truncated = true;
		return false;
	}
	l->left--;
	record_doc_line(&l->j, rec, app_now_s(l->app));
	return true;
}

static int
sts_list(struct app *app, const char *after, uint64_t limit, struct buf *doc)
{
	struct listing l = { .app = app, .left = limit };
	char name[DNS_NAME_SIZE] = "";
	int r;

	if (after[0] != '\0' && dns_name_normalise(after, name) < 0)
		return PE_SYNTAX;
	if (limit == 0)
		l.left = LIST_DEFAULT;
	else if (limit > LIST_MAX)
		l.left = LIST_MAX;
	json_init(&l.j, doc);
	json_put_obj(&l.j, NULL);
	json_put_arr(&l.j, "policies");
	r = store_list(app->store, name, list_one, &l);
	json_put_end_arr(&l.j);
	json_put_bool(&l.j, "truncated", l.truncated);
	json_put_end_obj(&l.j);
	return r < 0 ? r : l.j.err;
}

static int
sts_show(struct app *app, const char *domain, struct buf *doc)
{
	char name[DNS_NAME_SIZE];
	struct policy_record rec;
	struct json j;
	int r;

	if (dns_name_normalise(domain, name) < 0)
		return PE_SYNTAX;
	r = store_get(app->store, name, &rec);
	if (r < 0)
		return r == PE_CORRUPT ? PE_NOT_FOUND : r;
	json_init(&j, doc);
	record_doc_whole(&j, &rec, app_now_s(app));
	record_done(&rec);
	return j.err;
}

static void
refresh_free(struct refresh *rf)
{
	policy_cancel(&rf->waiter);
	LIST_REMOVE(rf, link);
	free(rf);
}

static void
on_refreshed(void *arg, const struct policy_answer *a)
{
	struct refresh *rf = arg;
	struct adm_peer *peer = &rf->admin->peer;
	bool found = a->state == POLICY_FOUND;
	struct buf doc;
	struct json j;

	buf_init(&doc, DOC_MAX);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_str(&j, "domain", rf->domain);
	json_put_str(&j, "state", policy_state_word(a->state));
	json_put_str(&j, "reason", a->reason);
	json_put_str(
	    &j, "source", found ? policy_source_word(a->source) : NULL);
	json_put_str(&j, "mode", found ? sts_mode_word(a->mode) : NULL);
	json_put_str(&j, "id", found ? a->id : NULL);
	if (found) {
		json_put_int(&j, "age_s", a->age_s);
		json_put_uint(&j, "max_age_s", a->max_age_s);
	} else {
		json_put_null(&j, "age_s");
		json_put_null(&j, "max_age_s");
	}
	record_doc_mx(&j, a->list, a->list_len);
	json_put_end_obj(&j);
	/* a channel that is full or gone has nobody who waits */
	if (j.err == 0)
		(void)adm_reply(peer, rf->req_id, &doc);
	else
		(void)adm_refuse(peer, rf->req_id, 503, err_str(j.err));
	buf_done(&doc);
	refresh_free(rf);
}

static int
sts_refresh(struct admin *ad, uint64_t req_id, const char *domain)
{
	struct refresh *rf;
	int r;

	rf = calloc(1, sizeof(*rf));
	if (rf == NULL)
		return -ENOMEM;
	if (dns_name_normalise(domain, rf->domain) < 0) {
		free(rf);
		return PE_SYNTAX;
	}
	rf->admin = ad;
	rf->req_id = req_id;
	r = policy_ask(ad->app->policy, &rf->waiter, rf->domain,
	    POLICY_ASK_FORCE, on_refreshed, rf);
	if (r < 0) {
		free(rf);
		return r;
	}
	LIST_INSERT_HEAD(&ad->refreshes, rf, link);
	return 0;
}

static void
on_checked(void *arg, const struct buf *doc, int err)
{
	struct looking *l = arg;
	struct adm_peer *peer = &l->admin->peer;

	/* a channel that is full or gone has nobody who waits */
	if (err == 0)
		(void)adm_reply(peer, l->req_id, doc);
	else
		(void)adm_refuse(peer, l->req_id, 503, err_str(err));
	LIST_REMOVE(l, link);
	free(l);
}

static int
sts_check(struct admin *ad, uint64_t req_id, const char *domain)
{
	struct looking *l = calloc(1, sizeof(*l));
	int r;

	if (l == NULL)
		return -ENOMEM;
	l->admin = ad;
	l->req_id = req_id;
	r = check_start(ad->app, domain, on_checked, l, &l->check);
	if (r < 0) {
		free(l);
		return r;
	}
	LIST_INSERT_HEAD(&ad->lookings, l, link);
	return 0;
}

static void
looking_free(struct looking *l)
{
	check_cancel(l->check);
	LIST_REMOVE(l, link);
	free(l);
}

/* ---- channel ----------------------------------------------------------------------
 */

static int
refuse(struct admin *ad, uint64_t req_id, int r)
{
	switch (r) {
	case PE_SYNTAX:
		return adm_refuse(&ad->peer, req_id, 400, "not a domain name");
	case PE_NOT_FOUND:
		return adm_refuse(&ad->peer, req_id, 404,
		    "no MTA-STS policy is stored for this domain");
	default:
		return adm_refuse(&ad->peer, req_id, 503, err_str(r));
	}
}

static int
on_call(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct admin *ad = peer;
	struct adm_call call;
	struct buf doc;
	int r;

	if (adm_call_decode(rd, &call) < 0)
		return PE_PROTO;
	if (ad->app->policy == NULL)
		return adm_refuse(&ad->peer, m->req_id, 503, "policyd stops");
	if (call.op == ADM_STS_REFRESH) {
		r = sts_refresh(ad, m->req_id, call.args[0]);
		return r < 0 ? refuse(ad, m->req_id, r) : 0;
	}
	if (call.op == ADM_STS_CHECK) {
		r = sts_check(ad, m->req_id, call.args[0]);
		return r < 0 ? refuse(ad, m->req_id, r) : 0;
	}
	buf_init(&doc, DOC_MAX);
	switch (call.op) {
	case ADM_METRICS:
		r = metrics(ad->app, &doc);
		break;
	case ADM_STATUS:
		r = status(ad->app, &doc);
		break;
	case ADM_STS_LIST:
		r = sts_list(ad->app, call.args[0], call.num, &doc);
		break;
	case ADM_STS_SHOW:
		r = sts_show(ad->app, call.args[0], &doc);
		break;
	default:
		buf_done(&doc);
		return PE_PROTO; /* not ours to answer */
	}
	if (r == 0)
		r = adm_reply(&ad->peer, m->req_id, &doc);
	else
		r = refuse(ad, m->req_id, r);
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
	while (!LIST_EMPTY(&ad->refreshes))
		refresh_free(LIST_FIRST(&ad->refreshes));
	while (!LIST_EMPTY(&ad->lookings))
		looking_free(LIST_FIRST(&ad->lookings));
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
		LIST_INIT(&ad->refreshes);
		LIST_INIT(&ad->lookings);
		r = ipc_chan_new(&app->child->hub, fd, &spec, ad, &chan);
	} else {
		(void)close(fd);
	}
	if (r < 0) {
		log_warn(
		    "peer_failed", "policyd: channel to admin: %s", err_str(r));
		free(ad);
		return;
	}
	adm_peer_init(&ad->peer, chan);
	LIST_INSERT_HEAD(&app->admins, ad, link);
}
