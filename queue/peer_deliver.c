/*
 * peer_deliver.c - what a deliver worker may ask of us: destinations, messages;
 * and what it may tell: results, and the state of a destination it holds.
 *
 * A worker speaks to servers of the world and may be taken over. It may only
 * speak about destinations that it holds and recipients that it was given.
 */
#include "queue/queue.h"

#include "queue/schedule.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SLOTS_MAX = 1000000,
	PULLS_MAX = 20000,
	HOST_DOWN_JITTER = 10,
	THROTTLE_MAX_MS = 62 * 60 * 1000, /* no interval is longer */
	OK_RECENT_MS = 60000,
	REFILLS_MAX = 16, /* windows read for one pull */
};

/* ---- WANT and RELEASE ----------------------------------------------------------- */

static int
on_want(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qworker *w = peer;
	struct hand_want m;

	(void)im;
	if (hand_want_decode(rd, &m) < 0 || w->slots + m.slots > SLOTS_MAX)
		return PE_PROTO;
	w->slots += m.slots;
	queue_soon(w->q);
	return 0;
}

static int
on_release(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qworker *w = peer;
	struct queue *q = w->q;
	struct hand_dest m;
	struct qhold *h;
	struct qdest *d;

	(void)im;
	if (hand_dest_decode(rd, &m) < 0)
		return PE_PROTO;
	h = queue_hold_find(w, m.dest_id);
	if (h == NULL || h->in_flight > 0)
		return PE_PROTO;
	d = h->dest;
	queue_hold_end(q, h);
	queue_look_over(q, m.dest_id);
	queue_poke(q, d);
	queue_soon(q);
	return 0;
}

/* ---- PULL ------------------------------------------------------------------------- */

/* A message on its way into a frame. */
struct pick {
	struct hand_message m;
	struct rec_msg rec;
	struct dq_entry e[HAND_RCPTS_MAX];
	int fd;
};

/* Stands the entry in the index of this very snapshot, where it should not? */
static bool
is_stray(struct sview *v, const struct qdest *d, const struct dq_entry *e,
    struct key *ret_key)
{
	MDB_val val;

	key_dq(ret_key, d->id, e);
	return sview_get(v, DB_DQ, ret_key, &val) == 0;
}

/*
 * Is the entry still what the index said? 1: fill in *ret; 0: it is not, drop
 * it; negative: it cannot be read.
 */
static int
check_rcpt(struct qworker *w, struct sview *v, struct qdest *d,
    const struct dq_entry *e, int64_t now_s, struct hand_rcpt *ret)
{
	struct rec_rcpt rc;
	struct key k;
	int r;

	if (qflight_find(w->q, e->mid, e->rid) != NULL)
		return 0;
	r = sview_rcpt(v, e->mid, e->rid, &rc);
	if (r < 0 && r != PE_NOT_FOUND)
		return r;
	if (r == PE_NOT_FOUND || rc.state != RCPT_QUEUED ||
	    rc.due_s != e->due_s || rc.dest_id != d->id) {
		if (is_stray(v, d, e, &k))
			queue_set_aside(w->q, e->mid, DB_DQ, &k, false,
			    "an index entry without a recipient");
		return 0; /* ordinarily: done since the window was read */
	}
	if (rc.due_s > now_s ||
	    (rc.expires_s <= queue_expiry_now(w->q) &&
		!queue_look_runs(w->q, d->id)))
		return 0; /* an expired one is expire.c's */
	ret->rid = e->rid;
	ret->address = rc.address;
	ret->orcpt = rc.orcpt;
	ret->notify = rc.notify;
	ret->attempts = rc.attempts;
	return 1;
}

static int
open_body(struct queue *q, struct sview *v, uint64_t mid, struct pick *p)
{
	struct key k;
	MDB_val val;
	int r;

	p->fd = -1;
	p->m.body = NULL;
	p->m.body_len = 0;
	if (p->rec.body == REC_BODY_FILE)
		return store_body_open(q->store, mid, p->rec.size, &p->fd);
	key_u64(&k, mid);
	r = sview_get(v, DB_BODY, &k, &val);
	if (r < 0)
		return r;
	if (val.mv_size != p->rec.size || val.mv_size > HAND_INLINE_MAX)
		return PE_CORRUPT;
	p->m.body = val.mv_data;
	p->m.body_len = val.mv_size;
	return 0;
}

static void
drop_rcpt(
    struct queue *q, uint64_t mid, struct qdest *d, const struct dq_entry *e)
{
	struct key k;

	key_dq(&k, d->id, e);
	queue_set_aside(q, mid, DB_DQ, &k, false, "recipient record");
}

/*
 * Take the next message of the window with its recipients there. 1, or 0 when
 * the window has none that can go now: it is empty, or what comes next is not in
 * memory. Values are borrowed from v.
 */
static int
pick_message(struct qworker *w, struct qdest *d, struct sview *v,
    uint32_t max_rcpts, struct pick *p)
{
	struct queue *q = w->q;
	int64_t now_s = clock_now_s();
	const struct dq_entry *e;
	struct key k;
	uint64_t mid;
	int r;

	while ((e = qdest_first(d)) != NULL && queue_is_warm(q, e->mid)) {
		mid = e->mid;
		p->m.n_rcpts = 0;
		r = sview_msg(v, mid, &p->rec);
		if (r < 0 && (r == PE_CORRUPT || is_stray(v, d, e, &k))) {
			key_dq(&k, d->id, e);
			queue_set_aside(
			    q, mid, DB_DQ, &k, false, "message record");
		}
		while (e != NULL && e->mid == mid && p->m.n_rcpts < max_rcpts) {
			int ok = 0;

			if (r == 0 && !p->rec.held)
				ok = check_rcpt(w, v, d, e, now_s,
				    &p->m.rcpts[p->m.n_rcpts]);
			if (ok < 0)
				drop_rcpt(q, mid, d, e);
			else if (ok > 0)
				p->e[p->m.n_rcpts++] = *e;
			qdest_pop(q, d);
			e = qdest_first(d);
		}
		if (p->m.n_rcpts == 0)
			continue;
		r = open_body(q, v, mid, p);
		if (r == 0) {
			p->m.mid = mid;
			return 1;
		}
		if (r == PE_NOT_FOUND || r == PE_CORRUPT)
			queue_set_aside(q, mid, DB_MSG, NULL, true, "body");
		else if (queue_no_fds(q, r))
			/* later; small ones need none and go on */
			q->passed_over = d->passed_over = true;
		else
			return r;
	}
	return 0;
}

static int
send_message(
    struct qworker *w, uint64_t req_id, struct qdest *d, struct pick *p)
{
	struct hand_message *m = &p->m;

	m->dest_id = d->id;
	m->sender = p->rec.sender;
	m->envid = p->rec.envid;
	m->ret = (enum dsn_ret)p->rec.ret;
	m->flags = p->rec.flags;
	m->size = p->rec.size;
	m->accepted_s = p->rec.accepted_ms / 1000;
	m->accepted_ms = p->rec.accepted_ms;
	hand_message_encode(
	    ipc_send_begin(
		w->chan, p->fd >= 0 ? HAND_MESSAGE_FD : HAND_MESSAGE, req_id),
	    m);
	return ipc_send_end(w->chan, p->fd);
}

/* It goes out: nobody else gets these recipients until they come back. */
static int
take_off(struct qworker *w, struct qhold *h, struct pick *p)
{
	struct queue *q = w->q;
	const char *profile = queue_intern(q, p->rec.profile);
	struct qflight *f;
	uint32_t i;

	if (profile == NULL)
		return -ENOMEM;
	for (i = 0; i < p->m.n_rcpts; i++) {
		f = qflight_new(q, p->m.mid, p->e[i].rid, h->dest, w);
		if (f == NULL)
			break;
		f->attempts = p->m.rcpts[i].attempts;
		f->due_s = p->e[i].due_s;
		f->profile = profile;
		h->in_flight++;
	}
	if (i == p->m.n_rcpts)
		return 0;
	while (i-- > 0) {
		qflight_free(q, qflight_find(q, p->m.mid, p->e[i].rid));
		h->in_flight--;
	}
	return -ENOMEM;
}

static void
put_back(struct qworker *w, struct qhold *h, struct pick *p, bool flown)
{
	struct queue *q = w->q;
	uint32_t i;

	for (i = p->m.n_rcpts; i-- > 0;) {
		if (flown) {
			qflight_free(q, qflight_find(q, p->m.mid, p->e[i].rid));
			h->in_flight--;
		}
		(void)qdest_window_push_front(q, h->dest, &p->e[i]);
	}
}

/* With nothing given, nothing is said to be ready either: MORE follows when
 * there is, so that nobody asks in a circle. */
static void
send_pull_end(struct qworker *w, uint64_t req_id, struct qhold *h,
    uint64_t dest_id, bool some)
{
	struct hand_pull_end m = { dest_id, 0 };

	if (h != NULL && some && queue_may_work(w->q, h->dest))
		m.ready = qdest_ready(h->dest);
	if (h != NULL)
		h->idle = m.ready == 0;
	hand_pull_end_encode(
	    ipc_send_begin(w->chan, HAND_PULL_END, req_id), &m);
	(void)ipc_send_end(w->chan, -1); /* over 16 MB behind: it is stuck */
}

/* Has the window anything that can be read now? refills: windows read so far.
 * *ret_cold: the disk is to be asked first. */
static bool
window_ready(struct queue *q, struct qdest *d, struct sview *v, int *refills,
    bool *ret_cold)
{
	*ret_cold = false;
	if (d->win_n == 0) {
		if (!qdest_wants_reading(d))
			return false;
		*ret_cold = qdest_reads_cold(d);
		/* a million that expired meanwhile, say, take several pulls */
		if (*ret_cold || (*refills)++ == REFILLS_MAX ||
		    qdest_refill(q, d, v) < 0 || d->win_n == 0)
			return false;
	}
	*ret_cold = !queue_is_warm(q, qdest_first(d)->mid);
	return !*ret_cold;
}

/* Returns how many messages went out; PE_FULL when there was no room for the
 * first one, -EAGAIN when it comes from the disk. */
static int
pull_some(struct qworker *w, uint64_t req_id, struct qhold *h,
    const struct hand_pull *m, struct sview *v)
{
	static struct pick p; /* large; one loop, never nested */
	struct queue *q = w->q;
	struct qdest *d = h->dest;
	int n = 0, refills = 0, r;
	bool cold = false;

	while ((uint32_t)n < m->max_messages && w->n_flights < FLIGHTS_MAX) {
		if (ipc_chan_backlog(w->chan) > PULL_BACKLOG_MAX) {
			ipc_chan_want_room(w->chan);
			return n > 0 ? n : PE_FULL;
		}
		if (!window_ready(q, d, v, &refills, &cold))
			break;
		r = pick_message(w, d, v, m->max_rcpts, &p);
		if (r == 0)
			continue; /* all stale: read on */
		if (r < 0) {
			put_back(w, h, &p, false);
			break;
		}
		r = take_off(w, h, &p);
		if (r < 0) {
			if (p.fd >= 0)
				(void)close(p.fd);
			put_back(w, h, &p, false);
			break;
		}
		r = send_message(w, req_id, d, &p);
		if (r < 0) {
			put_back(w, h, &p, true);
			return n > 0 ? n : r;
		}
		q->stats.handed += p.m.n_rcpts;
		n++;
	}
	return n == 0 && cold ? -EAGAIN : n;
}

/* 0: answered; PE_FULL or -EAGAIN: to be asked again, see pull_some(). */
static int
answer_pull(struct qworker *w, uint64_t req_id, const struct hand_pull *m)
{
	struct queue *q = w->q;
	struct qhold *h = queue_hold_find(w, m->dest_id);
	struct sview v;
	int r = 0;

	if (h == NULL || h->closing || !queue_may_work(q, h->dest)) {
		send_pull_end(w, req_id, h, m->dest_id, false);
		return 0;
	}
	r = store_read_begin(q->store, &v);
	if (r == 0) {
		r = pull_some(w, req_id, h, m, &v);
		store_read_end(&v);
	} else {
		(void)queue_store_failed(q, r);
		r = 0;
	}
	if (r == -EAGAIN)
		queue_warm_dest(q, h->dest, true);
	if (r == PE_FULL || r == -EAGAIN)
		return r;
	send_pull_end(w, req_id, h, m->dest_id, r > 0);
	if (r > 0)
		queue_warm_ahead(q, h->dest);
	/* with nothing found so far, MORE follows when the rest was read */
	if (r > 0 ? qdest_first(h->dest) != NULL
		  : r == 0 && h->dest->win_n == 0 && !h->dest->all_loaded)
		queue_poke(q, h->dest);
	return 0;
}

/* In order where it waits for room; its destination may have several that wait
 * for the disk. */
static void
keep_pull(struct qworker *w, struct qpull *p, int why)
{
	struct qhold *h = queue_hold_find(w, p->m.dest_id);

	if (why == -EAGAIN && h != NULL) {
		STAILQ_INSERT_TAIL(&h->cold, p, link);
		return;
	}
	STAILQ_INSERT_TAIL(&w->pulls, p, link);
	w->n_room++;
}

static void
answer_kept(struct qworker *w, struct qpull *p)
{
	int r = answer_pull(w, p->req_id, &p->m);

	if (r == PE_FULL || r == -EAGAIN) {
		keep_pull(w, p, r);
		return;
	}
	w->n_pulls--;
	free(p);
}

static int
on_pull(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qworker *w = peer;
	struct hand_pull m;
	struct qpull *p;
	int r = PE_FULL;

	if (hand_pull_decode(rd, &m) < 0 || w->n_pulls >= PULLS_MAX ||
	    queue_hold_find(w, m.dest_id) == NULL)
		return PE_PROTO;
	w->q->stats.pulls++;
	if (w->n_room == 0) {
		r = answer_pull(w, im->req_id, &m);
		if (r != PE_FULL && r != -EAGAIN)
			return 0;
	}
	p = malloc(sizeof(*p));
	if (p == NULL) {
		send_pull_end(w, im->req_id, NULL, m.dest_id, false);
		return 0;
	}
	p->req_id = im->req_id;
	p->m = m;
	w->n_pulls++;
	keep_pull(w, p, r);
	return 0;
}

static void
on_room(void *peer)
{
	struct qworker *w = peer;
	uint32_t n = w->n_room;
	struct qpull *p;

	while (n-- > 0 && (p = STAILQ_FIRST(&w->pulls)) != NULL) {
		if (ipc_chan_backlog(w->chan) > PULL_BACKLOG_MAX) {
			ipc_chan_want_room(w->chan);
			return;
		}
		STAILQ_REMOVE_HEAD(&w->pulls, link);
		w->n_room--;
		answer_kept(w, p);
	}
	queue_soon(w->q);
}

void
queue_dest_warm(struct queue *q, struct qdest *d)
{
	struct qpull_list list;
	struct qpull *p;
	struct qhold *h;

	LIST_FOREACH(h, &d->holds, dest_link) {
		STAILQ_INIT(&list);
		STAILQ_CONCAT(&list, &h->cold);
		while ((p = STAILQ_FIRST(&list)) != NULL) {
			STAILQ_REMOVE_HEAD(&list, link);
			answer_kept(h->worker, p);
		}
	}
	queue_poke(q, d);
}

void
queue_pulls_end(struct qhold *h)
{
	struct qworker *w = h->worker;
	struct qpull *p;

	while ((p = STAILQ_FIRST(&h->cold)) != NULL) {
		STAILQ_REMOVE_HEAD(&h->cold, link);
		w->n_pulls--;
		if (ipc_chan_is_up(w->chan))
			send_pull_end(w, p->req_id, NULL, p->m.dest_id, false);
		free(p);
	}
}

/* ---- RESULT and RETURN ----------------------------------------------------------------- */

static struct qflight *
own_flight(struct qworker *w, const struct qdest *d, uint64_t mid, uint32_t rid)
{
	struct qflight *f = qflight_find(w->q, mid, rid);

	return f != NULL && f->worker == w && f->dest == d ? f : NULL;
}

/* When this recipient is tried again, or that it is not. */
static void
set_next(struct queue *q, struct op_item *it, const struct qflight *f,
    const struct conf_profile *profile, int64_t now_ms)
{
	struct schedule s = {
		.first_ms = profile->initial_retry_s * 1000,
		.max_ms = profile->max_retry_s * 1000,
		.jitter = profile->retry_jitter,
	};
	uint32_t attempts = f->attempts + 1;

	(void)q;
	if (profile->hard_bounces == CONF_BOUNCE_NONE)
		it->flags |= ITEM_NO_DSN;
	if (it->outcome != OUTCOME_DEFERRED)
		return;
	if (schedule_over(attempts, profile->max_retries)) {
		it->outcome = OUTCOME_EXPIRED;
		it->flags |= ITEM_NAMES;
		return;
	}
	it->due_s =
	    (now_ms + schedule_wait_ms(&s, attempts, it->mid ^ attempts)) /
	    1000;
	if (profile->delay_warnings && it->code >= 400 && it->code < 500) {
		it->delay_interval_s = profile->delay_warning_interval_s;
		it->delay_max = profile->delay_warning_count;
	}
}

static int
fill_item(struct qworker *w, struct qdest *d, struct op_result *op,
    const struct hand_rcpt_result *rr, uint64_t mid, struct op_item *it)
{
	struct qflight *f = own_flight(w, d, mid, rr->rid);
	const struct conf_profile *profile;

	if (f == NULL)
		return PE_PROTO;
	profile = queue_profile(w->q, d->domain, f->profile);
	it->mid = mid;
	it->rid = rr->rid;
	it->outcome = (uint8_t)rr->outcome;
	it->reason = (uint8_t)rr->reason;
	it->code = rr->code;
	it->status = arena_strdup(&op->arena, rr->status);
	it->reply = arena_strdup(&op->arena, rr->reply);
	it->owner_dest = d->id;
	if (rr->relayed)
		it->flags |= ITEM_RELAYED;
	set_next(w->q, it, f, profile, clock_now_ms());
	if (it->status == NULL || it->reply == NULL)
		return -ENOMEM; /* stays with the worker: in doubt */
	qflight_detach(w->q, f);
	return 0;
}

static void
note_success(struct queue *q, struct qdest *d)
{
	d->ok_ms = clock_mono_ms();
	if (d->retries == 0)
		return;
	d->retries = 0;
	d->until_s = 0;
	queue_dest_job(q, d, OP_DEST_UP, 0, NULL);
}

static int
on_result(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	static struct hand_result m; /* large; one loop, never nested */
	struct qworker *w = peer;
	struct queue *q = w->q;
	struct op_result *op;
	struct qhold *h;
	bool success = false;
	uint32_t i;
	int r = 0;

	(void)im;
	if (hand_result_decode(rd, &m) < 0)
		return PE_PROTO;
	h = queue_hold_find(w, m.dest_id);
	if (h == NULL || h->in_flight < m.n_rcpts)
		return PE_PROTO;
	op = queue_result_new(m.dest_id, m.n_rcpts);
	if (op == NULL)
		return -ENOMEM; /* the channel goes: all of it is in doubt */
	op->host = arena_strdup(&op->arena, m.host);
	op->dcid = m.dcid;
	for (i = 0; i < m.n_rcpts && r == 0; i++) {
		r = fill_item(
		    w, h->dest, op, &m.rcpts[i], m.mid, &op->items[i]);
		success = success || m.rcpts[i].outcome == OUTCOME_DELIVERED;
	}
	op->n = i;
	if (r < 0 && i > 0)
		op->n = i - 1; /* what came before is true */
	h->in_flight -= op->n;
	if (success) {
		note_success(q, h->dest);
		queue_lost_over(q, m.dest_id);
	}
	queue_result_put(q, op, true);
	return r;
}

static int
on_return(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qworker *w = peer;
	struct queue *q = w->q;
	struct hand_return m;
	struct qflight *f;
	struct qhold *h;
	uint32_t i;

	(void)im;
	if (hand_return_decode(rd, &m) < 0)
		return PE_PROTO;
	h = queue_hold_find(w, m.dest_id);
	if (h == NULL)
		return PE_PROTO;
	for (i = m.n_rids; i-- > 0;) {
		struct dq_entry e = { 0, m.mid, m.rids[i] };

		f = own_flight(w, h->dest, m.mid, m.rids[i]);
		if (f == NULL)
			return PE_PROTO;
		e.due_s = f->due_s;
		qflight_free(q, f);
		h->in_flight--;
		q->stats.returned++;
		(void)qdest_window_push_front(q, h->dest, &e);
	}
	queue_poke(q, h->dest);
	queue_drain_check(q);
	return 0;
}

/* ---- DEST_STATE ------------------------------------------------------------------------- */

static void
dest_down(struct queue *q, struct qhold *h, const struct hand_dest_state *m)
{
	struct qdest *d = h->dest;
	struct schedule s = {
		.first_ms = q->conf->queue.host_down_retry_ms,
		.max_ms = q->conf->queue.host_down_max_retry_ms,
		.jitter = HOST_DOWN_JITTER,
	};
	int64_t now_ms = clock_now_ms();

	/* another worker gets through: the trouble is this one's */
	if (d->n_holds > 1 && d->ok_ms != 0 &&
	    clock_mono_ms() - d->ok_ms < OK_RECENT_MS)
		return;
	if (d->until_s > now_ms / 1000)
		return; /* two workers found the same */
	d->retries++;
	d->until_s = (now_ms +
			 schedule_wait_ms(&s, d->retries,
			     d->id * 31 + d->retries + (uint64_t)now_ms) +
			 999) /
	    1000;
	log_event(LOG_INFO, "host_down",
	    &(struct log_fields){ .domain = d->domain,
		.gateway = d->gateway,
		.host = m->host,
		.status = m->status,
		.reason = reason_word(m->reason) },
	    "Destination %s is down (%s: %s): next attempt in %lld s",
	    d->domain, reason_word(m->reason), LOG_Q(m->text),
	    (long long)(d->until_s - now_ms / 1000));
	queue_dest_job(q, d, OP_DEST_DOWN, d->until_s, m);
	queue_look_over(q, d->id);
	queue_poke(q, d);
}

/* Nothing may go there for a while; what waits is not touched. */
static void
dest_throttled(
    struct queue *q, struct qhold *h, const struct hand_dest_state *m)
{
	struct qdest *d = h->dest;
	int64_t now_ms = clock_now_ms();
	int64_t wait_ms =
	    m->wait_ms < THROTTLE_MAX_MS ? m->wait_ms : THROTTLE_MAX_MS;
	int64_t until_s = (now_ms + wait_ms + 999) / 1000;

	h->idle = true; /* it asks no more, and is told when it may */
	if (d->retries > 0 || d->until_s >= until_s)
		return; /* it is down, or two workers found the same */
	d->until_s = until_s;
	log_event(LOG_INFO, "throttled",
	    &(struct log_fields){ .domain = d->domain,
		.gateway = d->gateway,
		.reason = reason_word(REASON_THROTTLED) },
	    "Destination %s is throttled (%s): next attempt in %lld s",
	    d->domain, LOG_Q(m->text), (long long)(until_s - now_ms / 1000));
	queue_dest_job(q, d, OP_DEST_THROTTLE, until_s, m);
	queue_poke(q, d);
}

static void
dest_up(struct queue *q, struct qdest *d)
{
	if (d->retries > 0)
		log_event(LOG_INFO, "host_up",
		    &(struct log_fields){
			.domain = d->domain, .gateway = d->gateway },
		    "Destination %s is up again", d->domain);
	note_success(q, d);
	queue_poke(q, d);
}

static void
dest_failed(struct queue *q, struct qdest *d, const struct hand_dest_state *m)
{
	struct qfail *f;

	if (d->fail != NULL)
		return;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return; /* they stay due, and are asked about again */
	f->discard = m->verdict == DEST_DISCARD;
	f->reason = (uint8_t)m->reason;
	f->status = strdup(m->status);
	f->text = strdup(m->text);
	f->host = strdup(m->host);
	if (f->status == NULL || f->text == NULL || f->host == NULL) {
		free(f->status);
		free(f->text);
		free(f->host);
		free(f);
		return;
	}
	d->fail = f;
	queue_poke(q, d);
}

static int
on_dest_state(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qworker *w = peer;
	struct hand_dest_state m;
	struct qhold *h;

	(void)im;
	if (hand_dest_state_decode(rd, &m) < 0)
		return PE_PROTO;
	h = queue_hold_find(w, m.dest_id);
	if (h == NULL)
		return PE_PROTO;
	switch (m.verdict) {
	case DEST_UP:
		dest_up(w->q, h->dest);
		break;
	case DEST_DOWN:
	case DEST_DEFER:
		dest_down(w->q, h, &m);
		break;
	case DEST_THROTTLED:
		dest_throttled(w->q, h, &m);
		break;
	case DEST_FAILED:
	case DEST_DISCARD:
		dest_failed(w->q, h->dest, &m);
		break;
	}
	return 0;
}

static int
on_ids(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qworker *w = peer;
	struct ids_ask m;

	if (ids_ask_decode(rd, &m) < 0 || m.kind != ID_DCID)
		return PE_PROTO;
	return queue_ids_ask(
	    w->q, &w->chan, w->instance, false, im->req_id, &m);
}

/* ---- the channel --------------------------------------------------------------------------- */

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type             min  max            when     flags handler */
	{ HAND_WANT,        4,   4,             IPC_ANY, 0,    on_want },
	{ HAND_PULL,        16,  16,            IPC_ANY, 0,    on_pull },
	{ HAND_RESULT,      31,  256 * 1024,    IPC_ANY, 0,    on_result },
	{ HAND_RETURN,      21,  1024,          IPC_ANY, 0,    on_return },
	{ HAND_DEST_STATE,  23,  4096,          IPC_ANY, 0,    on_dest_state },
	{ HAND_RELEASE,     8,   8,             IPC_ANY, 0,    on_release },
	{ IDS_ASK,          5,   5,             IPC_ANY, 0,    on_ids },
};
/* clang-format on */

static void
worker_free(struct qworker *w)
{
	struct queue *q = w->q;
	struct qpull *p;

	LIST_REMOVE(w, link);
	q->n_workers--;
	queue_ids_forget(q, &w->chan);
	queue_worker_lost(q, w);
	while ((p = STAILQ_FIRST(&w->pulls)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->pulls, link);
		free(p);
	}
	ipc_chan_free(w->chan);
	free(w);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct qworker *w = peer;
	struct queue *q = w->q;

	if (why != PE_GONE && q->on_broken != NULL)
		q->on_broken(q->arg, ROLE_DELIVER, w->instance, text);
	worker_free(w);
	queue_drain_check(q);
}

static const struct ipc_spec spec = {
	.name = "deliver",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_down = on_down,
	.on_room = on_room,
};

int
queue_peer_deliver(struct queue *q, uint32_t instance, int fd)
{
	struct qworker *w = calloc(1, sizeof(*w));
	int r;

	if (w == NULL) {
		(void)close(fd);
		return -ENOMEM;
	}
	w->q = q;
	w->instance = instance;
	TAILQ_INIT(&w->flights);
	LIST_INIT(&w->holds);
	STAILQ_INIT(&w->pulls);
	r = ipc_chan_new(q->hub, fd, &spec, w, &w->chan);
	if (r < 0) {
		free(w);
		return r;
	}
	LIST_INSERT_HEAD(&q->workers, w, link);
	q->n_workers++;
	return 0;
}

void
queue_workers_close(struct queue *q)
{
	while (!LIST_EMPTY(&q->workers))
		worker_free(LIST_FIRST(&q->workers));
}
