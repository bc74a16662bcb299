/*
 * peer_admin.c - what admin may ask of us. It is the hand of an operator, but a
 * process of its own: each call is checked like any other peer's.
 */
#include "queue/peer_admin.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- helpers ----------------------------------------------------------------------- */

void
admin_json_time(struct json *j, const char *name, int64_t unix_s)
{
	char text[40];

	if (unix_s <= 0)
		json_put_null(j, name);
	else
		json_put_str(j, name,
		    clock_format_rfc3339(unix_s * 1000, text, sizeof(text)));
}

uint32_t
admin_limit(uint64_t num)
{
	if (num == 0)
		return LIST_DEFAULT;
	return num > LIST_MAX ? LIST_MAX : (uint32_t)num;
}

int
admin_answer(
    struct qadmin *a, uint64_t req_id, const struct json *j, struct buf *doc)
{
	int r;

	if (j->err == PE_FULL)
		r = adm_refuse(&a->peer, req_id, 400,
		    "the answer is too large: ask for less");
	else if (j->err < 0)
		r = adm_refuse(&a->peer, req_id, 503, err_str(j->err));
	else
		r = adm_reply(&a->peer, req_id, doc);
	buf_done(doc);
	/* a channel that takes nothing more is admin's trouble, not ours */
	return r == -ENOMEM ? r : 0;
}

struct qact *
admin_act_new(struct qadmin *a, uint64_t req_id, size_t size)
{
	struct qact *act;

	if (a->n_acts >= ACTS_MAX)
		return NULL;
	act = calloc(1, size);
	if (act == NULL)
		return NULL;
	act->admin = a;
	act->q = a->q;
	act->req_id = req_id;
	LIST_INSERT_HEAD(&a->acts, act, link);
	a->n_acts++;
	return act;
}

void
admin_act_end(struct qact *act)
{
	if (act->admin == NULL)
		return;
	LIST_REMOVE(act, link);
	act->admin->n_acts--;
	act->admin = NULL;
}

void
admin_act_changed(struct qact *act, uint64_t n)
{
	struct qadmin *a = act->admin;
	struct buf doc;
	struct json j;

	if (a == NULL)
		return;
	buf_init(&doc, 256);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_uint(&j, "changed", n);
	json_put_end_obj(&j);
	(void)admin_answer(a, act->req_id, &j, &doc);
	admin_act_end(act);
}

void
admin_act_refuse(struct qact *act, uint16_t code, const char *text)
{
	if (act->admin == NULL)
		return;
	(void)adm_refuse(&act->admin->peer, act->req_id, code, text);
	admin_act_end(act);
}

/* ---- numbers ------------------------------------------------------------------------ */

struct numbers {
	struct metric m[40];
	size_t n;
};

static void
add(struct numbers *ns, const char *name, enum metric_kind kind, uint64_t value,
    const char *help)
{
	if (ns->n < sizeof(ns->m) / sizeof(ns->m[0]))
		ns->m[ns->n++] = (struct metric){ .name = name,
			.labels = "",
			.help = help,
			.kind = kind,
			.value = (int64_t)value };
}

#define COUNTER(name, value, help) \
	add(ns, "postern_" name "_total", METRIC_COUNTER, value, help)
#define GAUGE(name, value, help) \
	add(ns, "postern_" name, METRIC_GAUGE, value, help)

static void
recipient_numbers(struct numbers *ns, const struct rec_counters *c)
{
	COUNTER("recipients_accepted", c->accepted,
	    "Recipients of messages accepted.");
	COUNTER("recipients_generated", c->generated,
	    "Recipients of notices made here.");
	COUNTER("recipients_delivered", c->delivered, "Recipients delivered.");
	COUNTER("recipients_bounced", c->bounced,
	    "Recipients that failed for good.");
	COUNTER("recipients_expired", c->expired,
	    "Recipients whose time or retries ran out.");
	COUNTER("recipients_removed", c->removed,
	    "Recipients removed by an operator, or discarded by a route.");
	GAUGE("recipients_queued", c->queued, "Recipients that wait.");
	COUNTER("deferrals", c->deferred, "Attempts that ended in a delay.");
	COUNTER("notices", c->notices, "Delivery status notices written.");
	COUNTER("double_bounces", c->double_bounces,
	    "Failed recipients of messages with the null sender.");
}

static void
queue_numbers(struct numbers *ns, struct queue *q)
{
	GAUGE("queue_destinations_in_memory", q->n_dests,
	    "Destinations at work or due.");
	GAUGE("queue_window_entries", q->n_window,
	    "Due recipients read ahead into memory.");
	GAUGE("queue_in_flight", q->n_flights,
	    "Recipients with workers or being written.");
	GAUGE("queue_submissions_open", q->n_intakes,
	    "Messages on their way in.");
	GAUGE("queue_accepting", q->accepting, "1 when new mail is taken.");
	GAUGE("queue_free_space_bytes", q->free_bytes,
	    "Free bytes on the disk of the store.");
	COUNTER("queue_offers", q->stats.offers,
	    "Destinations offered to workers.");
	COUNTER("queue_pulls", q->stats.pulls, "Pulls of workers.");
	COUNTER(
	    "queue_handed", q->stats.handed, "Recipients handed to workers.");
	COUNTER("queue_returned", q->stats.returned,
	    "Recipients given back without an attempt.");
	COUNTER("queue_in_doubt", q->stats.in_doubt,
	    "Recipients that a lost worker held.");
	COUNTER("queue_submissions_refused", q->stats.accepts_refused,
	    "Submissions that were not taken.");
}

static void
store_numbers(struct numbers *ns, struct queue *q)
{
	struct store *st = q->store;
	uint64_t used, map;
	struct sview v;

	store_space(st, &used, &map);
	GAUGE("store_used_bytes", used, "Bytes of the store's file in use.");
	GAUGE("store_map_bytes", map, "Size of the store's map.");
	COUNTER("store_commits", st->commits, "Transactions committed.");
	COUNTER("store_syncs", st->syncs,
	    "Syncs to disk: two a commit, one a body file and directory.");
	COUNTER("store_jobs", st->jobs, "Changes written.");
	GAUGE("store_batch_max", st->max_batch,
	    "Most changes in one transaction.");
	GAUGE("store_jobs_waiting", writer_waiting(q->writer),
	    "Changes that wait for the writer.");
	COUNTER("store_errors", q->stats.store_errors, "Writes refused.");
	COUNTER("store_set_aside", q->stats.set_aside,
	    "Entries that could not be read.");
	if (store_read_begin(st, &v) < 0)
		return;
	GAUGE("queue_messages", sview_count(&v, DB_MSG),
	    "Messages in the store.");
	GAUGE("queue_destinations", sview_count(&v, DB_DEST),
	    "Destinations known.");
	store_read_end(&v);
}

int
admin_metrics(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	struct numbers ns = { .n = 0 };
	struct ipc_wr w;
	struct buf doc;
	size_t i;
	int r;

	(void)m;
	recipient_numbers(&ns, writer_counters(a->q->writer));
	queue_numbers(&ns, a->q);
	store_numbers(&ns, a->q);
	buf_init(&doc, DOC_MAX);
	w.b = &doc;
	w.err = 0;
	for (i = 0; i < ns.n; i++)
		metric_encode(&w, &ns.m[i]);
	r = w.err < 0 ? adm_refuse(&a->peer, req_id, 503, err_str(w.err))
		      : adm_reply(&a->peer, req_id, &doc);
	buf_done(&doc);
	return r == -ENOMEM ? r : 0;
}

/* What an operator must look at; NULL: nothing. */
static const char *
alert(const struct queue *q, char *buf, size_t len)
{
	if (!q->accepting)
		return q->state_text;
	if (q->no_fds_ms != 0 &&
	    clock_mono_ms() - q->no_fds_ms < NO_FDS_TOLD_MS)
		return "no descriptors are left: large messages are refused";
	if (q->n_stuck == 0)
		return NULL;
	(void)snprintf(buf, len,
	    "the store is damaged: %zu results could not be recorded",
	    q->n_stuck);
	return buf;
}

int
admin_status(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	const struct rec_counters *c = writer_counters(a->q->writer);
	struct queue *q = a->q;
	struct sview v;
	struct json j;
	struct buf doc;
	uint64_t used, map;
	char text[120];

	(void)m;
	store_space(q->store, &used, &map);
	buf_init(&doc, DOC_MAX);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_bool(&j, "accepting", q->accepting);
	json_put_str(&j, "alert", alert(q, text, sizeof(text)));
	json_put_bool(&j, "suspended", q->all_suspended);
	if (store_read_begin(q->store, &v) == 0) {
		json_put_uint(&j, "messages", sview_count(&v, DB_MSG));
		json_put_uint(&j, "destinations", sview_count(&v, DB_DEST));
		json_put_uint(&j, "set_aside", sview_count(&v, DB_BAD));
		store_read_end(&v);
	}
	json_put_uint(&j, "recipients_queued", c->queued);
	json_put_uint(&j, "recipients_accepted", c->accepted);
	json_put_uint(&j, "recipients_generated", c->generated);
	json_put_uint(&j, "recipients_delivered", c->delivered);
	json_put_uint(&j, "recipients_bounced", c->bounced);
	json_put_uint(&j, "recipients_expired", c->expired);
	json_put_uint(&j, "recipients_removed", c->removed);
	json_put_uint(&j, "deferrals", c->deferred);
	json_put_uint(&j, "notices", c->notices);
	json_put_uint(&j, "double_bounces", c->double_bounces);
	json_put_uint(&j, "in_flight", q->n_flights);
	json_put_uint(&j, "destinations_in_memory", q->n_dests);
	json_put_uint(&j, "workers", q->n_workers);
	json_put_uint(&j, "store_bytes", used);
	json_put_uint(&j, "free_bytes", q->free_bytes);
	json_put_end_obj(&j);
	return admin_answer(a, req_id, &j, &doc);
}

/* ---- the channel ------------------------------------------------------------------------ */

static admin_handler *const handlers[ADM_OP_COUNT] = {
	[ADM_METRICS] = admin_metrics,
	[ADM_STATUS] = admin_status,
	[ADM_TOPHOSTS] = admin_tophosts,
	[ADM_HOSTSTATUS] = admin_hoststatus,
	[ADM_SHOWRECIPIENTS] = admin_showrecipients,
	[ADM_SHOWMESSAGE] = admin_showmessage,
	[ADM_WHY] = admin_why,
	[ADM_ENDRECIPIENTS] = admin_end_recipients,
	[ADM_OLDMESSAGE] = admin_oldmessage,
	[ADM_BODY] = admin_body,
	[ADM_REMOVEMESSAGE] = admin_message,
	[ADM_HOLD] = admin_message,
	[ADM_UNHOLD] = admin_message,
	[ADM_DELIVERNOW] = admin_delivernow,
	[ADM_SUSPENDDEL] = admin_suspend,
	[ADM_RESUMEDEL] = admin_suspend,
};

static int
on_call(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qadmin *a = peer;
	struct adm_call m;

	if (adm_call_decode(rd, &m) < 0)
		return PE_PROTO;
	if (handlers[m.op] == NULL)
		return adm_refuse(
		    &a->peer, im->req_id, 400, "not a question for queue");
	return handlers[m.op](a, im->req_id, &m);
}

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type     min  max   when     flags handler */
	{ ADM_CALL, 18,  4096, IPC_ANY, 0,    on_call },
};
/* clang-format on */

static void
admin_free(struct qadmin *a)
{
	struct qact *act;

	while ((act = LIST_FIRST(&a->acts)) != NULL)
		admin_act_end(act);
	LIST_REMOVE(a, link);
	adm_peer_done(&a->peer);
	ipc_chan_free(a->chan);
	free(a);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct qadmin *a = peer;

	if (why != PE_GONE && a->q->on_broken != NULL)
		a->q->on_broken(a->q->arg, ROLE_ADMIN, a->instance, text);
	admin_free(a);
}

static void
on_room(void *peer)
{
	struct qadmin *a = peer;

	adm_peer_room(&a->peer);
}

static const struct ipc_spec spec = {
	.name = "admin",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_down = on_down,
	.on_room = on_room,
};

int
queue_peer_admin(struct queue *q, uint32_t instance, int fd)
{
	struct qadmin *a = calloc(1, sizeof(*a));
	int r;

	if (a == NULL) {
		(void)close(fd);
		return -ENOMEM;
	}
	a->q = q;
	a->instance = instance;
	LIST_INIT(&a->acts);
	r = ipc_chan_new(q->hub, fd, &spec, a, &a->chan);
	if (r < 0) {
		free(a);
		return r;
	}
	adm_peer_init(&a->peer, a->chan);
	LIST_INSERT_HEAD(&q->admins, a, link);
	return 0;
}

void
queue_admins_close(struct queue *q)
{
	while (!LIST_EMPTY(&q->admins))
		admin_free(LIST_FIRST(&q->admins));
}
