/*
 * status.c - /metrics, /healthz and status: what all processes say, as one text.
 *
 * Called by api.c when every process has answered or its time is over. A process
 * that did not costs its own part and is named.
 */
#include "admin/admin.h"
#include "admin/metrics_text.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/log/log.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what admin itself counts ------------------------------------------------------ */

static void
add_own(const struct admin *a, struct metrics_set *s)
{
	const struct {
		const char *name, *labels, *help;
		uint64_t value;
	} own[] = {
		{ "postern_admin_requests_total", "",
		    "HTTP requests that reached a handler.",
		    a->http_stats.requests },
		{ "postern_admin_errors_total", "",
		    "HTTP answers of status 400 and above.",
		    a->http_stats.errors },
		{ "postern_admin_connections_total", "",
		    "Connections accepted by admin.", a->front_stats.accepted },
		{ "postern_admin_refused_total", "reason=\"peer\"",
		    "Connections or requests refused before the HTTP library.",
		    a->front_stats.refused_peer },
		{ "postern_admin_refused_total", "reason=\"full\"",
		    "Connections or requests refused before the HTTP library.",
		    a->front_stats.refused_full },
		{ "postern_admin_refused_total", "reason=\"head\"",
		    "Connections or requests refused before the HTTP library.",
		    a->front_stats.refused_head },
		{ "postern_admin_refused_total", "reason=\"timeout\"",
		    "Connections or requests refused before the HTTP library.",
		    a->front_stats.timeouts },
		{ "postern_admin_call_timeouts_total", "",
		    "Questions to processes that ended without an answer.",
		    owners_timeouts(a->owners) },
	};
	struct metric m;
	size_t i;

	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		m.name = own[i].name;
		m.labels = own[i].labels;
		m.help = own[i].help;
		m.kind = METRIC_COUNTER;
		m.value = (int64_t)own[i].value;
		(void)metrics_set_add(s, &m); /* a static table: valid */
	}
}

static void
add_gauge(struct metrics_set *s, const char *name, const char *labels,
    const char *help, int64_t value)
{
	const struct metric m = { name, labels, help, METRIC_GAUGE, value };

	(void)metrics_set_add(s, &m); /* short of memory: counted there */
}

static void
add_up(struct metrics_set *s, enum role role, uint32_t instance, bool up)
{
	char labels[96];

	(void)snprintf(labels, sizeof(labels), "process=\"%s\",instance=\"%u\"",
	    role_name(role), instance);
	add_gauge(s, "postern_up", labels,
	    "1 when the process answered in time.", up);
}

/* ---- the conservation law ------------------------------------------------------------ */

enum { LAW_ACCEPTED, LAW_GENERATED, LAW_QUEUED = 6, LAW_TERMS };

static const char *const law_names[LAW_TERMS] = {
	"postern_recipients_accepted_total",
	"postern_recipients_generated_total",
	"postern_recipients_delivered_total",
	"postern_recipients_bounced_total",
	"postern_recipients_expired_total",
	"postern_recipients_removed_total",
	"postern_recipients_queued",
};

/* accepted + generated - all the rest; false when a term is missing. */
static bool
law(const struct metrics_set *s, int64_t ret_terms[LAW_TERMS],
    int64_t *ret_difference)
{
	uint64_t d = 0; /* unsigned: hostile numbers may wrap */
	bool found;
	int i;

	for (i = 0; i < LAW_TERMS; i++) {
		ret_terms[i] = metrics_set_total(s, law_names[i], &found);
		if (!found)
			return false;
		if (i <= LAW_GENERATED)
			d += (uint64_t)ret_terms[i];
		else
			d -= (uint64_t)ret_terms[i];
	}
	*ret_difference = (int64_t)d;
	return true;
}

/* ---- gathering ------------------------------------------------------------------------- */

static struct metrics_set *
gather(const struct admin *a, struct ask *ask)
{
	struct metrics_set *s = metrics_set_new();
	char name[64];
	size_t i;

	if (s == NULL)
		return NULL;
	for (i = 0; i < ask_count(ask); i++) {
		struct ask_answer *ans = ask_at(ask, i);

		if (ans->op != ADM_METRICS)
			continue;
		add_up(s, ans->role, ans->instance, ans->code == 0);
		if (ans->code == 0 &&
		    metrics_set_add_list(
			s, buf_data(&ans->doc), buf_len(&ans->doc)) < 0)
			log_warn("admin_metrics",
			    "admin: the metrics of %s are broken off",
			    process_name(
				ans->role, ans->instance, name, sizeof(name)));
	}
	add_up(s, ROLE_ADMIN, 0, true);
	add_own(a, s);
	return s;
}

void
metrics_finish(struct admin *a, struct http_req *req, struct ask *ask)
{
	struct metrics_set *s = gather(a, ask);
	int64_t terms[LAW_TERMS], difference;
	struct buf out;

	if (s == NULL) {
		http_error(req, 503, "admin", "out of memory");
		return;
	}
	add_gauge(s, "postern_build_info", "version=\"" POSTERN_VERSION "\"",
	    "Always 1; the version is a label.", 1);
	if (law(s, terms, &difference))
		add_gauge(s, "postern_recipients_unaccounted", "",
		    "accepted + generated - delivered - bounced - expired - "
		    "removed - queued; anything but 0 is a fault.",
		    difference);
	add_gauge(s, "postern_metrics_dropped", "",
	    "Metrics of processes that were not understood.",
	    (int64_t)metrics_set_dropped(s));
	buf_init(&out, HTTP_RESPONSE_MAX);
	if (metrics_set_format(s, &out) < 0)
		http_error(req, 500, "admin", "the metrics do not fit");
	else
		http_reply(
		    req, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
	buf_done(&out);
	metrics_set_free(s);
}

/* ---- documents --------------------------------------------------------------------------- */

static void
reply_json(struct http_req *req, uint16_t status, json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(12));
	struct buf out;

	json_decref(doc);
	buf_init(&out, HTTP_RESPONSE_MAX);
	if (text == NULL || buf_puts(&out, text) < 0 ||
	    buf_puts(&out, "\n") < 0)
		http_error(req, 500, "admin", "the answer does not fit");
	else
		http_reply(req, status, "application/json", &out);
	buf_done(&out);
	free(text);
}

static json_t *
process_object(struct ask_answer *ans)
{
	json_t *p = json_object(), *doc;

	(void)json_object_set_new(
	    p, "process", json_string(role_name(ans->role)));
	(void)json_object_set_new(p, "instance", json_integer(ans->instance));
	(void)json_object_set_new(p, "up", json_boolean(ans->code == 0));
	if (ans->code != 0) {
		(void)json_object_set_new(p, "error", json_string(ans->text));
		return p;
	}
	doc = json_loadb((const char *)buf_data(&ans->doc), buf_len(&ans->doc),
	    JSON_REJECT_DUPLICATES, NULL);
	(void)json_object_set_new(p, "status", doc != NULL ? doc : json_null());
	return p;
}

/* One entry for each process that was asked for its status; admin is last. */
static json_t *
processes(const struct admin *a, struct ask *ask, bool *ret_all_up)
{
	json_t *list = json_array();
	size_t i;

	*ret_all_up = true;
	for (i = 0; i < ask_count(ask); i++) {
		struct ask_answer *ans = ask_at(ask, i);

		if (ans->op != ADM_STATUS)
			continue;
		if (ans->code != 0)
			*ret_all_up = false;
		(void)json_array_append_new(list, process_object(ans));
	}
	(void)json_array_append_new(list,
	    json_pack("{s:s, s:i, s:b, s:{s:I}}", "process", "admin",
		"instance", 0, "up", 1, "status", "uptime_s",
		(json_int_t)((clock_mono_ms() - a->started_ms) / 1000)));
	return list;
}

/* What the processes want an operator to look at; takes nothing away. */
static json_t *
alerts(const json_t *processes_list)
{
	json_t *list = json_array();
	const json_t *p, *text;
	size_t i;

	json_array_foreach(processes_list, i, p) {
		text = json_object_get(json_object_get(p, "status"), "alert");
		if (json_is_string(text))
			(void)json_array_append_new(list,
			    json_pack("{s:O, s:O}", "process",
				json_object_get(p, "process"), "text", text));
	}
	return list;
}

/* A list that one process, the supervisor, has in its status. */
static json_t *
list_of(const json_t *processes_list, const char *name)
{
	const json_t *p;
	json_t *found;
	size_t i;

	json_array_foreach(processes_list, i, p) {
		found = json_object_get(json_object_get(p, "status"), name);
		if (json_is_array(found))
			return json_incref(found);
	}
	return json_array();
}

void
health_finish(struct admin *a, struct http_req *req, struct ask *ask)
{
	bool up;
	json_t *list = processes(a, ask, &up), *p;
	size_t i;

	/* whoever can reach this is not told more than who is up */
	json_array_foreach(list, i, p)
		(void)json_object_del(p, "status");
	reply_json(req, up ? 200 : 503,
	    json_pack("{s:s, s:o}", "status", up ? "ok" : "degraded",
		"processes", list));
}

static json_t *
rate(const struct admin *a, size_t i, int64_t window_ms)
{
	double r;

	if (!rates_per_hour(&a->rates, i, window_ms, &r))
		return json_null();
	/* one decimal is enough, and short to read */
	return json_real(
	    r < 1e15 ? (double)(int64_t)(r * 10.0 + 0.5) / 10.0 : r);
}

static json_t *
rates(const struct admin *a)
{
	json_t *all = json_object();
	size_t i;

	for (i = 0; i < a->rates.n; i++)
		(void)json_object_set_new(all, a->rates.v[i].name,
		    json_pack("{s:o, s:o, s:o}", "1m", rate(a, i, 60 * 1000),
			"5m", rate(a, i, 5 * 60 * 1000), "15m",
			rate(a, i, 15 * 60 * 1000)));
	return all;
}

static json_t *
conservation(const struct metrics_set *s)
{
	int64_t t[LAW_TERMS], difference;

	if (!law(s, t, &difference))
		return json_null(); /* queue did not answer */
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
	    "accepted", (json_int_t)t[0], "generated", (json_int_t)t[1],
	    "delivered", (json_int_t)t[2], "bounced", (json_int_t)t[3],
	    "expired", (json_int_t)t[4], "removed", (json_int_t)t[5], "queued",
	    (json_int_t)t[6], "difference", (json_int_t)difference, "holds",
	    difference == 0);
}

/* {name or name{labels}: value} of one kind. */
static json_t *
values(struct metrics_set *s, enum metric_kind kind)
{
	json_t *all = json_object();
	char key[512];
	struct metric m;
	size_t i;

	for (i = 0; metrics_set_at(s, i, &m); i++) {
		if (m.kind != kind)
			continue;
		if (m.labels[0] != '\0')
			(void)snprintf(
			    key, sizeof(key), "%s{%s}", m.name, m.labels);
		else
			(void)snprintf(key, sizeof(key), "%s", m.name);
		(void)json_object_set_new(all, key, json_integer(m.value));
	}
	return all;
}

void
status_finish(
    struct admin *a, struct http_req *req, struct ask *ask, bool detail)
{
	struct metrics_set *s = gather(a, ask);
	char now[32];
	bool up;
	json_t *doc, *list, *p, *alert_list, *exception_list, *suspended;
	size_t i;

	if (s == NULL) {
		http_error(req, 503, "admin", "out of memory");
		return;
	}
	list = processes(a, ask, &up);
	alert_list = alerts(list);
	exception_list = list_of(list, "exceptions");
	suspended = list_of(list, "suspended_listeners");
	if (json_array_size(alert_list) > 0)
		up = false;
	if (!detail)
		json_array_foreach(list, i, p)
			(void)json_object_del(p, "status");
	doc = json_pack(
	    "{s:s, s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
	    "version", POSTERN_VERSION, "hostname", a->hostname, "time",
	    clock_format_rfc3339(clock_now_ms(), now, sizeof(now)), "uptime_s",
	    (json_int_t)((clock_mono_ms() - a->started_ms) / 1000), "status",
	    up ? "ok" : "degraded", "alerts", alert_list, "exceptions",
	    exception_list, "suspended_listeners", suspended, "processes", list,
	    "counters", values(s, METRIC_COUNTER), "gauges",
	    values(s, METRIC_GAUGE), "rates_per_hour", rates(a), "conservation",
	    conservation(s));
	metrics_set_free(s);
	reply_json(req, 200, doc);
}
