/*
 * peer_admin_look.c - lists and states for operators. Reads only; long walks go
 * in slices, one per turn of the loop, so that mail does not wait for them.
 */
#include "queue/peer_admin.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT_MAX = 100000, DEST_IDS_MAX = 500 };

/* ---- destinations ---------------------------------------------------------------------- */

const char *
admin_dest_state(const struct queue *q, const struct rec_dest *d)
{
	if (d->suspended || q->all_suspended)
		return "suspended";
	if (d->retries > 0)
		return "down";
	return d->until_s > clock_now_s() ? "throttled" : "up";
}

const char *
admin_class(uint32_t cls)
{
	return cls == MSG_REQUIRETLS  ? "requiretls"
	    : cls == MSG_TLS_OPTIONAL ? "tls-required-no"
				      : NULL;
}

/* Ids of the destinations of a domain, one per gateway and class. */
static size_t
dests_of(struct sview *v, const char *domain, uint64_t *ids, size_t max)
{
	size_t len = strlen(domain) + 1, n = 0;
	struct siter it;
	struct key k;
	int r;

	if (key_dname(&k, domain, "", 0) < 0)
		return 0;
	r = siter_first(&it, v->txn, v->st, DB_DNAME, &k);
	for (; r == 0 && n < max; r = siter_next(&it)) {
		if (it.k.mv_size < len ||
		    memcmp(it.k.mv_data, domain, len) != 0)
			break;
		if (key_u64_parse(it.v.mv_data, it.v.mv_size, &ids[n]) == 0)
			n++;
	}
	siter_end(&it);
	return n;
}

/* Entries that are not due yet; counted up to a bound. */
static uint64_t
count_deferred(struct sview *v, uint64_t dest_id, int64_t now_s)
{
	struct dq_entry e = { now_s + 1, 0, 0 };
	struct siter it;
	struct key k;
	uint64_t id, n = 0;
	int r;

	key_dq(&k, dest_id, &e);
	r = siter_first(&it, v->txn, v->st, DB_DQ, &k);
	for (; r == 0 && n < COUNT_MAX; r = siter_next(&it), n++)
		if (key_dq_parse(it.k.mv_data, it.k.mv_size, &id, &e) < 0 ||
		    id != dest_id)
			break;
	siter_end(&it);
	return n;
}

static void
hoststatus_one(struct queue *q, struct sview *v, struct json *j, uint64_t id)
{
	const struct qdest *d = qdest_find(q, id);
	struct rec_dest rec;

	if (sview_dest(v, id, &rec) < 0)
		return;
	json_put_obj(j, NULL);
	json_put_str(j, "gateway", rec.gateway);
	json_put_str(j, "class", admin_class(rec.cls));
	json_put_str(j, "state", admin_dest_state(q, &rec));
	json_put_uint(j, "active", rec.queued);
	json_put_uint(j, "deferred", count_deferred(v, id, clock_now_s()));
	json_put_uint(j, "in_flight", d == NULL ? 0 : d->in_flight);
	json_put_uint(j, "delivered", rec.delivered);
	json_put_uint(j, "soft", rec.soft);
	json_put_uint(j, "hard", rec.hard);
	json_put_bool(j, "suspended", rec.suspended || q->all_suspended);
	json_put_uint(j, "retries", rec.retries);
	if (rec.suspended || q->all_suspended)
		json_put_null(j, "next_attempt");
	else
		admin_json_time(j, "next_attempt", rec.sched_s);
	if (rec.retries > 0)
		json_put_str(j, "last_error", rec.text);
	else
		json_put_str(j, "last_error",
		    rec.last_error[0] == '\0' ? NULL : rec.last_error);
	json_put_str(j, "reason",
	    rec.reason == REASON_NONE ? NULL
				      : reason_word((enum reason)rec.reason));
	admin_json_time(j, "down_since", rec.since_s);
	json_put_end_obj(j);
}

int
admin_hoststatus(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	uint64_t ids[DEST_IDS_MAX];
	struct sview v;
	struct buf doc;
	struct json j;
	size_t i, n;
	int r;

	r = store_read_begin(a->q->store, &v);
	if (r < 0)
		return adm_refuse(&a->peer, req_id, 503, err_str(r));
	n = dests_of(&v, m->args[0], ids, DEST_IDS_MAX);
	buf_init(&doc, DOC_MAX);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_str(&j, "domain", m->args[0]);
	json_put_arr(&j, "destinations");
	for (i = 0; i < n; i++)
		hoststatus_one(a->q, &v, &j, ids[i]);
	json_put_end_arr(&j);
	json_put_end_obj(&j);
	store_read_end(&v);
	if (n == 0) {
		buf_done(&doc);
		return adm_refuse(&a->peer, req_id, 404,
		    "nothing is queued, nor was lately, for this domain");
	}
	return admin_answer(a, req_id, &j, &doc);
}

/* ---- one recipient ------------------------------------------------------------------------- */

/* What a recipient waits for. */
struct look {
	const char *state, *reason;
	int64_t next_s; /* 0: none */
};

static void
look_at(struct queue *q, uint64_t mid, uint32_t rid, const struct rec_msg *m,
    const struct rec_rcpt *rc, const struct rec_dest *d, struct look *ret)
{
	static const char *const ended[RCPT_STATES] = { "", "failed", "expired",
		"relayed" };
	const struct qflight *f = qflight_find(q, mid, rid);
	int64_t now_s = clock_now_s();

	ret->next_s = 0;
	ret->reason = reason_word((enum reason)rc->reason);
	if (rc->state != RCPT_QUEUED) {
		ret->state = ended[rc->state];
		return;
	}
	if (m != NULL && m->held) {
		ret->state = "held";
		ret->reason = reason_word(REASON_HELD);
		return;
	}
	if (f != NULL && f->worker != NULL) {
		ret->state = "active";
		return;
	}
	if (q->all_suspended || (d != NULL && d->suspended)) {
		ret->state = "suspended";
		ret->reason = reason_word(REASON_SUSPENDED);
		return;
	}
	ret->next_s = rc->due_s;
	if (d != NULL && d->retries > 0) {
		ret->reason = reason_word((enum reason)d->reason);
		if (d->until_s > ret->next_s)
			ret->next_s = d->until_s;
	} else if (d != NULL && d->until_s > now_s) {
		ret->state = "throttled";
		ret->reason = reason_word(REASON_THROTTLED);
		if (d->until_s > ret->next_s)
			ret->next_s = d->until_s;
		return;
	}
	ret->state = ret->next_s > now_s ? "deferred" : "queued";
}

static void
last_reply(struct json *j, const struct rec_rcpt *rc, const struct rec_dest *d)
{
	char text[TEXT_REPLY_MAX + 16];

	if (rc->code != 0) {
		(void)snprintf(
		    text, sizeof(text), "%u %s", rc->code, rc->reply);
		json_put_str(j, "last_reply", text);
	} else if (rc->reply[0] != '\0') {
		json_put_str(j, "last_reply", rc->reply);
	} else if (d != NULL && d->retries > 0) {
		json_put_str(j, "last_reply", d->text);
	} else {
		json_put_null(j, "last_reply");
	}
}

/* The entry that holds for it, and how far its limits go; who counts how much is
 * for explain and the supervisor. */
static void
put_limits(struct queue *q, struct json *j, const struct rec_dest *d)
{
	static const char *const shown[] = { "max_connections", "limit_scope",
		"limit_apply", "recipient_limit",
		"max_messages_per_connection" };
	const struct conf_dest *c = conf_dest_lookup(q->conf, d->domain);
	char value[128];
	size_t i, k;

	json_put_obj(j, "limits");
	json_put_str(j, "entry", c->name);
	for (i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		for (k = 0; k < conf_dest_keys(); k++)
			if (strcmp(conf_dest_key_name(k), shown[i]) == 0)
				json_put_str(j, shown[i],
				    conf_dest_value(
					c, k, value, sizeof(value)));
	/* which of them it sleeps for */
	json_put_str(j, "throttled_by",
	    d->retries == 0 && d->until_s > clock_now_s() ? d->text : NULL);
	json_put_end_obj(j);
}

static void
why_one(struct queue *q, struct sview *v, struct json *j, uint64_t mid,
    uint32_t rid, const struct rec_msg *m, const struct rec_rcpt *rc)
{
	struct rec_dest rec, *d = NULL;
	struct look l;

	if (sview_dest(v, rc->dest_id, &rec) == 0)
		d = &rec;
	look_at(q, mid, rid, m, rc, d, &l);
	json_put_obj(j, NULL);
	json_put_uint(j, "rid", rid);
	json_put_str(j, "address", rc->address);
	json_put_str(j, "state", l.state);
	json_put_str(j, "reason", l.reason[0] == '\0' ? NULL : l.reason);
	json_put_uint(j, "attempts", rc->attempts);
	last_reply(j, rc, d);
	admin_json_time(j, "next_attempt", l.next_s);
	admin_json_time(j, "expires", rc->expires_s);
	json_put_str(j, "host", rc->host[0] == '\0' ? NULL : rc->host);
	admin_json_time(j, "last_attempt", rc->last_s);
	if (rc->state == RCPT_QUEUED && d != NULL)
		put_limits(q, j, d);
	json_put_end_obj(j);
}

/* The array "recipients" of a message. */
static void
why_all(struct queue *q, struct sview *v, struct json *j, uint64_t mid,
    const struct rec_msg *m)
{
	struct rec_rcpt rc;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t rid, n = 0;
	int r;

	json_put_arr(j, "recipients");
	key_rcpt(&k, mid, 0);
	r = siter_first(&it, v->txn, v->st, DB_RCPT, &k);
	for (; r == 0 && n < LIST_MAX; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &id, &rid) < 0 ||
		    id != mid)
			break;
		if (rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc) < 0)
			continue;
		why_one(q, v, j, mid, rid, m, &rc);
		n++;
	}
	siter_end(&it);
	json_put_end_arr(j);
}

int
admin_one_message(
    struct qadmin *a, uint64_t req_id, uint64_t mid, bool envelope)
{
	struct rec_msg m;
	struct sview v;
	struct buf doc;
	struct json j;
	int r;

	r = store_read_begin(a->q->store, &v);
	if (r == 0) {
		r = sview_msg(&v, mid, &m);
		if (r < 0)
			store_read_end(&v);
	}
	if (r == PE_NOT_FOUND)
		return adm_refuse(&a->peer, req_id, 404,
		    "no such message in the queue: it is done, or never was");
	if (r < 0)
		return adm_refuse(&a->peer, req_id, 503, err_str(r));
	buf_init(&doc, DOC_MAX);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_uint(&j, "mid", mid);
	if (envelope) {
		json_put_str(&j, "sender", m.sender);
		json_put_uint(&j, "size", m.size);
		admin_json_time(&j, "accepted", m.accepted_ms / 1000);
		admin_json_time(&j, "expires", m.exp_s);
		json_put_bool(&j, "held", m.held);
		json_put_str(&j, "listener", m.listener);
		json_put_str(&j, "gateway", m.gateway);
		json_put_str(&j, "client", m.client);
		json_put_str(&j, "message_id",
		    m.message_id[0] == '\0' ? NULL : m.message_id);
		json_put_uint(&j, "recipients_total", m.n_total);
		if (m.origin != 0)
			json_put_uint(&j, "notice_about", m.origin);
	}
	why_all(a->q, &v, &j, mid, &m);
	json_put_end_obj(&j);
	store_read_end(&v);
	return admin_answer(a, req_id, &j, &doc);
}

int
admin_why(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	return admin_one_message(a, req_id, m->num, false);
}

int
admin_showmessage(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	return admin_one_message(a, req_id, m->num, true);
}

/* ---- showrecipients -------------------------------------------------------------------------- */

/* A walk in slices: over the recipients of everything, of a domain's
 * destinations, or of the messages of one sender. */
struct scan {
	struct qact act;
	enum { SCAN_ALL, SCAN_FROM, SCAN_HOST } what;
	char *from;
	uint64_t ids[DEST_IDS_MAX]; /* HOST */
	size_t n_ids, at_id;
	uint64_t mid; /* next: ALL, FROM */
	uint32_t rid;
	struct dq_entry dq; /* next: HOST */
	uint32_t left;
	bool truncated;
	struct buf doc;
	struct json j;
	uv_timer_t timer;
};

static void
scan_one(struct scan *s, struct sview *v, uint64_t mid, uint32_t rid,
    const struct rec_rcpt *rc, const struct rec_msg *m)
{
	struct rec_dest rec, *d = NULL;
	struct json *j = &s->j;
	struct look l;

	if (sview_dest(v, rc->dest_id, &rec) == 0)
		d = &rec;
	look_at(s->act.q, mid, rid, m, rc, d, &l);
	json_put_obj(j, NULL);
	json_put_uint(j, "mid", mid);
	json_put_uint(j, "rid", rid);
	json_put_str(j, "sender", m->sender);
	json_put_str(j, "address", rc->address);
	json_put_str(j, "gateway", m->gateway);
	json_put_str(j, "state", l.state);
	json_put_uint(j, "attempts", rc->attempts);
	admin_json_time(j, "next_attempt", l.next_s);
	json_put_uint(j, "size", m->size);
	json_put_end_obj(j);
	s->left--;
}

/* Over rcpt from (mid, rid) on. True when there is more. */
static bool
slice_rcpts(struct scan *s, struct sview *v)
{
	struct rec_rcpt rc;
	struct rec_msg m;
	struct siter it;
	struct key k;
	uint64_t mid, last = 0;
	uint32_t rid;
	bool ok = false;
	int n = 0, r;

	key_rcpt(&k, s->mid, s->rid);
	r = siter_first(&it, v->txn, v->st, DB_RCPT, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &mid, &rid) < 0)
			continue;
		s->mid = mid;
		s->rid = rid;
		if (n++ == SCAN_SLICE)
			break;
		if (mid != last) {
			last = mid;
			ok = sview_msg(v, mid, &m) == 0 &&
			    (s->what == SCAN_ALL ||
				strcasecmp(m.sender, s->from) == 0);
		}
		if (!ok || rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc) < 0)
			continue;
		if (s->left == 0) {
			s->truncated = true;
			r = PE_NOT_FOUND;
			break;
		}
		scan_one(s, v, mid, rid, &rc, &m);
	}
	siter_end(&it);
	return r == 0;
}

static bool
slice_dest(struct scan *s, struct sview *v)
{
	struct rec_rcpt rc;
	struct rec_msg m;
	struct siter it;
	struct key k;
	uint64_t id;
	int n = 0, r;

	key_dq(&k, s->ids[s->at_id], &s->dq);
	r = siter_first(&it, v->txn, v->st, DB_DQ, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_dq_parse(it.k.mv_data, it.k.mv_size, &id, &s->dq) < 0 ||
		    id != s->ids[s->at_id]) {
			r = PE_NOT_FOUND;
			break;
		}
		if (n++ == SCAN_SLICE)
			break;
		if (sview_rcpt(v, s->dq.mid, s->dq.rid, &rc) < 0 ||
		    sview_msg(v, s->dq.mid, &m) < 0)
			continue;
		if (s->left == 0) {
			s->truncated = true;
			siter_end(&it);
			return false;
		}
		scan_one(s, v, s->dq.mid, s->dq.rid, &rc, &m);
	}
	siter_end(&it);
	if (r == 0)
		return true;
	s->at_id++;
	memset(&s->dq, 0, sizeof(s->dq));
	return s->at_id < s->n_ids;
}

static void
scan_free(uv_handle_t *handle)
{
	struct scan *s = handle->data;

	buf_done(&s->doc);
	free(s->from);
	free(s);
}

static void
scan_end(struct scan *s)
{
	struct qadmin *a = s->act.admin;

	if (a != NULL) {
		json_put_end_arr(&s->j);
		json_put_bool(&s->j, "truncated", s->truncated);
		json_put_end_obj(&s->j);
		(void)admin_answer(a, s->act.req_id, &s->j, &s->doc);
		admin_act_end(&s->act);
	}
	uv_close((uv_handle_t *)&s->timer, scan_free);
}

static void
on_slice(uv_timer_t *timer)
{
	struct scan *s = timer->data;
	struct sview v;
	bool more = false;

	if (s->act.admin != NULL && s->j.err == 0 &&
	    store_read_begin(s->act.q->store, &v) == 0) {
		more = s->what == SCAN_HOST ? slice_dest(s, &v)
					    : slice_rcpts(s, &v);
		store_read_end(&v);
	}
	if (more)
		(void)uv_timer_start(&s->timer, on_slice, NEXT_TURN_MS, 0);
	else
		scan_end(s);
}

int
admin_showrecipients(
    struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	struct sview v;
	struct scan *s;

	s = (struct scan *)(void *)admin_act_new(a, req_id, sizeof(*s));
	if (s == NULL)
		return adm_refuse(
		    &a->peer, req_id, 503, "too many calls at one time");
	s->left = admin_limit(m->num);
	s->from = strdup(m->args[1]);
	buf_init(&s->doc, DOC_MAX);
	s->timer.data = s;
	if (uv_timer_init(a->q->loop, &s->timer) < 0 || s->from == NULL) {
		admin_act_refuse(&s->act, 503, err_str(-ENOMEM));
		uv_close((uv_handle_t *)&s->timer, scan_free);
		return 0;
	}
	if (strcmp(m->args[0], "host") == 0)
		s->what = SCAN_HOST;
	else if (strcmp(m->args[0], "from") == 0)
		s->what = SCAN_FROM;
	else if (strcmp(m->args[0], "all") != 0) {
		admin_act_refuse(&s->act, 400, "wanted host, from or all");
		uv_close((uv_handle_t *)&s->timer, scan_free);
		return 0;
	}
	if (s->what == SCAN_HOST && store_read_begin(a->q->store, &v) == 0) {
		s->n_ids = dests_of(&v, m->args[1], s->ids, DEST_IDS_MAX);
		store_read_end(&v);
	}
	json_init(&s->j, &s->doc);
	json_put_obj(&s->j, NULL);
	json_put_arr(&s->j, "recipients");
	if (s->what == SCAN_HOST && s->n_ids == 0)
		scan_end(s);
	else
		on_slice(&s->timer);
	return 0;
}
