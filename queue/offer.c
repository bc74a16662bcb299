/*
 * offer.c - which destination goes to which worker, and what happens when its
 * state changes.
 *
 * Healthy destinations go first; those that are down get one probe at a time
 * and never more than half of a worker's room, so that dead domains cannot
 * stand in the way of live ones. Cost is per destination: what waits at one
 * that is down is not touched.
 */
#include "queue/queue.h"

#include "queue/schedule.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	OFFER_SCAN = 2000,
	SCHED_RESCAN_MS = 10000,
	DEST_JOBS_MAX = 16, /* that wait, of one destination */
};

/* ---- ready or not ------------------------------------------------------------- */

bool
queue_may_work(const struct queue *q, const struct qdest *d)
{
	return !q->all_suspended && !q->draining && !d->suspended &&
	    q->n_stuck < STUCK_MAX && d->fail == NULL &&
	    d->until_s <= clock_now_s();
}

uint32_t
qdest_ready(const struct qdest *d)
{
	uint32_t rest;

	if (d->all_loaded)
		return d->win_n;
	/* not all was read: what is known to wait, at most */
	rest = d->queued > d->in_flight ? d->queued - d->in_flight : 0;
	return rest > d->win_n ? rest : d->win_n;
}

static void
leave_ready(struct queue *q, struct qdest *d)
{
	if (!d->in_ready)
		return;
	TAILQ_REMOVE(
	    d->ready_probe ? &q->ready_probe : &q->ready, d, ready_link);
	d->in_ready = false;
}

static void
enter_ready(struct queue *q, struct qdest *d)
{
	bool probe = d->retries > 0;

	if (d->in_ready && d->ready_probe == probe)
		return;
	leave_ready(q, d);
	d->ready_probe = probe;
	d->in_ready = true;
	TAILQ_INSERT_TAIL(probe ? &q->ready_probe : &q->ready, d, ready_link);
	queue_soon(q);
}

/* One more worker for it? */
static bool
wants_worker(const struct queue *q, const struct qdest *d)
{
	if (d->n_holds == 0)
		return true;
	if (d->retries > 0 || d->n_holds >= q->n_workers)
		return false;
	return qdest_ready(d) > SPREAD_AT * d->n_holds;
}

static void
tell_more(struct queue *q, struct qdest *d)
{
	struct hand_more m = { d->id, qdest_ready(d) };
	struct qhold *h;

	(void)q;
	LIST_FOREACH(h, &d->holds, dest_link) {
		if (!h->idle || h->closing || !ipc_chan_is_up(h->worker->chan))
			continue;
		hand_more_encode(
		    ipc_send_begin(h->worker->chan, HAND_MORE, 0), &m);
		if (ipc_send_end(h->worker->chan, -1) == 0)
			h->idle = false;
	}
}

static void
read_window(struct queue *q, struct qdest *d)
{
	struct sview v;
	int r;

	r = store_read_begin(q->store, &v);
	if (r == 0) {
		r = qdest_refill(q, d, &v);
		store_read_end(&v);
	}
	if (r < 0)
		(void)queue_store_failed(q, r);
}

/* Something became due that was written long ago, maybe. */
static bool
has_come_due(const struct qdest *d)
{
	return d->next_due_s != 0 && d->next_due_s <= clock_now_s();
}

bool
qdest_wants_reading(const struct qdest *d)
{
	if (d->win_n > 0)
		return false;
	return d->rescan || !d->all_loaded || has_come_due(d);
}

bool
qdest_reads_cold(const struct qdest *d)
{
	return !d->dq_touched && (d->dq_old || has_come_due(d));
}

void
queue_poke(struct queue *q, struct qdest *d)
{
	if (d->fail != NULL) {
		queue_fail_step(q, d);
		return; /* comes back when it is done */
	}
	if (!queue_may_work(q, d)) {
		qdest_window_clear(q, d);
		d->dq_old = true; /* by the time it goes on */
		d->dq_touched = false;
		leave_ready(q, d);
		qdest_maybe_unload(q, d);
		return;
	}
	if (qdest_wants_reading(d)) {
		if (qdest_reads_cold(d))
			queue_warm_dest(q, d, false);
		else
			read_window(q, d);
	}
	if (d->win_n == 0) {
		leave_ready(q, d);
		qdest_maybe_unload(q, d);
		return;
	}
	if (d->n_holds > 0)
		tell_more(q, d);
	if (!wants_worker(q, d)) {
		leave_ready(q, d);
	} else if (d->n_holds == 0 && !queue_is_warm(q, qdest_first(d)->mid)) {
		/* offered when its first messages are there */
		leave_ready(q, d);
		queue_warm_dest(q, d, false);
	} else {
		enter_ready(q, d);
	}
}

/* ---- offering -------------------------------------------------------------------- */

static bool
holds(const struct qworker *w, const struct qdest *d)
{
	const struct qhold *h;

	LIST_FOREACH(h, &d->holds, dest_link)
		if (h->worker == w)
			return true;
	return false;
}

static struct qworker *
pick_worker(struct queue *q, const struct qdest *d, bool probe, bool *ret_any)
{
	struct qworker *w, *best = NULL;

	*ret_any = false;
	LIST_FOREACH(w, &q->workers, link) {
		if (w->slots == 0 || !ipc_chan_is_up(w->chan) ||
		    (probe && w->probes >= (w->held + w->slots + 1) / 2))
			continue;
		*ret_any = true;
		if (!holds(w, d) && (best == NULL || w->slots > best->slots))
			best = w;
	}
	return best;
}

static int
offer_to(struct queue *q, struct qdest *d, struct qworker *w)
{
	struct hand_offer m = {
		.dest_id = d->id,
		.domain = d->domain,
		.gateway = d->gateway,
		.ready = qdest_ready(d),
		.retries = d->retries,
		.cls = d->cls,
	};
	struct qhold *h;
	int r;

	h = calloc(1, sizeof(*h));
	if (h == NULL)
		return -ENOMEM;
	hand_offer_encode(ipc_send_begin(w->chan, HAND_OFFER, 0), &m);
	r = ipc_send_end(w->chan, -1);
	if (r < 0) {
		free(h);
		return r;
	}
	h->dest = d;
	h->worker = w;
	h->probe = d->retries > 0;
	STAILQ_INIT(&h->cold);
	LIST_INSERT_HEAD(&d->holds, h, dest_link);
	LIST_INSERT_HEAD(&w->holds, h, worker_link);
	d->n_holds++;
	w->held++;
	w->slots--;
	w->probes += h->probe;
	q->stats.offers++;
	return 0;
}

static void
offer_list(struct queue *q, struct qdest_list *list, bool probe)
{
	struct qdest *d, *next;
	struct qworker *w;
	bool any;
	int n = 0;

	for (d = TAILQ_FIRST(list); d != NULL && n < OFFER_SCAN;
	     d = next, n++) {
		next = TAILQ_NEXT(d, ready_link);
		if (!queue_may_work(q, d) || !wants_worker(q, d)) {
			leave_ready(q, d);
			continue;
		}
		w = pick_worker(q, d, probe, &any);
		if (!any)
			return; /* nobody has room */
		if (w == NULL)
			continue;
		if (offer_to(q, d, w) < 0)
			return;
		leave_ready(q, d);
		if (wants_worker(q, d))
			enter_ready(q, d); /* at the end: others first */
	}
	if (d != NULL)
		queue_soon(q); /* the rest in the next turn */
}

void
queue_offer(struct queue *q)
{
	if (q->draining || q->all_suspended)
		return;
	offer_list(q, &q->ready, false);
	offer_list(q, &q->ready_probe, true);
}

struct qhold *
queue_hold_find(struct qworker *w, uint64_t dest_id)
{
	struct qdest *d = qdest_find(w->q, dest_id);
	struct qhold *h;

	if (d == NULL)
		return NULL;
	LIST_FOREACH(h, &d->holds, dest_link)
		if (h->worker == w)
			return h;
	return NULL;
}

void
queue_hold_end(struct queue *q, struct qhold *h)
{
	(void)q;
	queue_pulls_end(h);
	LIST_REMOVE(h, dest_link);
	LIST_REMOVE(h, worker_link);
	h->dest->n_holds--;
	h->worker->held--;
	h->worker->probes -= h->probe;
	free(h);
}

/* ---- what comes due ---------------------------------------------------------------- */

static void recheck(struct queue *q, uint64_t id, int64_t sched_s);

/* One entry of sched whose time has come. */
static void
sched_one(struct queue *q, struct sview *v, int64_t at_s, uint64_t id,
    struct qdest **ret)
{
	struct rec_dest rec;
	struct qdest *d = qdest_find(q, id);

	*ret = d;
	if (d != NULL) {
		d->all_loaded = false;
		return;
	}
	if (sview_dest(v, id, &rec) < 0) {
		recheck(q, id, at_s);
		return;
	}
	if (rec.retries > 0 && !qdest_down_room(q))
		return; /* found again by the next walk */
	d = qdest_load(q, id, rec.domain, rec.gateway, rec.cls);
	*ret = d;
	if (d == NULL)
		return;
	if (rec.retries > 0)
		qdest_set_down(q, d);
	d->queued = rec.queued;
	d->retries = rec.retries;
	d->until_s = rec.until_s;
	d->suspended = rec.suspended;
	d->dq_old = d->dq_touched = true; /* its beginning, in this round */
}

static void
sched_go(struct queue *q)
{
	static uint64_t ids[SCHED_SLICE]; /* one loop, never nested */
	int64_t now_s = clock_now_s(), at_s;
	struct siter it;
	struct sview v;
	struct qdest *d;
	struct key k;
	uint64_t id;
	size_t n = 0, promised = 0, seen = 0, max, i;
	int r;

	if (q->draining || q->all_suspended)
		return;
	q->sched_more = q->sched_full = false;
	r = store_read_begin(q->store, &v);
	if (r < 0) {
		(void)queue_store_failed(q, r);
		return;
	}
	key_time(&k, q->sched_at_s, q->sched_at_id);
	r = siter_first(&it, v.txn, v.st, DB_SCHED, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (seen++ == SCHED_SLICE) {
			q->sched_more = true;
			break;
		}
		if (key_time_parse(it.k.mv_data, it.k.mv_size, &at_s, &id) <
		    0) {
			queue_set_aside_key(q, DB_SCHED, &it.k);
			continue;
		}
		if (at_s > now_s)
			break;
		if (!qdest_room(q, false, promised) &&
		    qdest_find(q, id) == NULL) {
			/* full: from the start again when there is room */
			q->sched_rescan = q->sched_full = true;
			break;
		}
		sched_one(q, &v, at_s, id, &d);
		q->sched_at_s = at_s;
		q->sched_at_id = id + 1;
		if (d == NULL)
			continue;
		ids[n++] = id;
		max = d->retries == 0 ? WINDOW_MAX : WINDOW_FIRST;
		if (d->win_n == 0) /* its window is read below */
			promised += d->queued < max ? d->queued : max;
	}
	siter_end(&it);
	store_read_end(&v);
	for (i = 0; i < n; i++) {
		d = qdest_find(q, ids[i]);
		if (d != NULL)
			queue_poke(q, d);
	}
	if (q->sched_more)
		queue_soon(q);
}

void
queue_sched(struct queue *q)
{
	struct touch *t;

	if (q->draining || q->all_suspended ||
	    !queue_round_begin(q, &q->sched_round))
		return;
	if (q->sched_rescan ||
	    clock_mono_ms() - q->sched_scan_ms > SCHED_RESCAN_MS) {
		q->sched_at_s = 0;
		q->sched_at_id = 0;
		q->sched_rescan = false;
		q->sched_scan_ms = clock_mono_ms();
	}
	t = queue_round_add(&q->sched_round);
	t->db = DB_SCHED;
	t->follow = TOUCH_DEST;
	t->max = SCHED_SLICE;
	t->until_s = clock_now_s();
	key_time(&t->from, q->sched_at_s, q->sched_at_id);
	queue_round_start(q, &q->sched_round, sched_go);
}

void
queue_accepted(struct queue *q, const struct op_accept *op)
{
	int64_t now_s = clock_now_s();
	struct qdest *d;
	uint32_t i;

	queue_warm_note(q, op->mid);
	for (i = 0; i < op->n_rcpts; i++) {
		const struct op_rcpt *rc = &op->rcpts[i];
		struct dq_entry e = { op->due_s, op->mid, rc->rid };

		d = qdest_find(q, rc->ret_dest_id);
		if (d == NULL) {
			if (rc->ret_suspended || rc->ret_until_s > now_s)
				continue;
			if (!qdest_room(q, true, 0) ||
			    (rc->ret_retries > 0 && !qdest_down_room(q))) {
				q->sched_rescan = true; /* waits on disk */
				continue;
			}
			d = qdest_load(q, rc->ret_dest_id, rc->domain,
			    op->msg.gateway, msg_class(op->msg.flags));
			if (d == NULL) {
				q->sched_rescan = true;
				continue;
			}
			d->retries = rc->ret_retries;
			d->until_s = rc->ret_until_s;
			d->queued = 1;
			d->dq_old = rc->ret_others;
			if (d->retries > 0)
				qdest_set_down(q, d);
		} else {
			qdest_due(q, d, &e);
		}
		queue_poke(q, d);
	}
}

/* ---- jobs about destinations ------------------------------------------------------- */

static void
dest_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct op_dest *op = (struct op_dest *)job;
	struct qdest *d;

	if (queue_store_failed(q, job->result)) {
		queue_retry(q, job);
		return;
	}
	d = qdest_find(q, op->dest_id);
	if (op->what != OP_DEST_RECHECK && d != NULL && d->jobs > 0) {
		d->jobs--;
		if (job->result == 0 && d->jobs == 0)
			d->retries = op->ret_retries;
		queue_poke(q, d);
	}
	if (op->what == OP_DEST_RECHECK)
		q->sched_rescan = true;
	arena_done(&op->arena);
	free(op);
}

static const struct job_type dest_job = {
	.name = "dest",
	.run = op_dest_run,
	.done = dest_done,
};

static struct op_dest *
dest_op(uint64_t id, enum op_dest_what what, int64_t until_s)
{
	struct op_dest *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return NULL;
	op->job.type = &dest_job;
	op->job.lazy = true;
	op->what = what;
	op->dest_id = id;
	op->until_s = until_s;
	op->status = op->text = op->host = "";
	return op;
}

void
queue_dest_job(struct queue *q, struct qdest *d, enum op_dest_what what,
    int64_t until_s, const struct hand_dest_state *m)
{
	struct op_dest *op;

	/* a worker that cries up and down in turns must not fill the memory
	 * with jobs; what the store has wins in the end */
	op = d->jobs < DEST_JOBS_MAX ? dest_op(d->id, what, until_s) : NULL;
	if (op == NULL)
		return; /* memory only: the next probe tells again */
	if (m != NULL) {
		op->reason = (uint8_t)m->reason;
		op->status = arena_strdup(&op->arena, m->status);
		op->text = arena_strdup(&op->arena, m->text);
		op->host = arena_strdup(&op->arena, m->host);
		if (op->status == NULL || op->text == NULL ||
		    op->host == NULL) {
			arena_done(&op->arena);
			free(op);
			return;
		}
	}
	d->jobs++;
	writer_put(q->writer, &op->job);
}

static void
recheck(struct queue *q, uint64_t id, int64_t sched_s)
{
	struct op_dest *op = dest_op(id, OP_DEST_RECHECK, sched_s);
	uint32_t skipped;

	q->stats.set_aside++;
	if (log_limit_ok(&q->bad_limit, 10, 60000, &skipped))
		log_warn("store_entry",
		    "store: destination %llu has no readable record: made "
		    "anew from what waits there",
		    (unsigned long long)id);
	if (op != NULL)
		writer_put(q->writer, &op->job);
}

/* ---- what cannot be read -------------------------------------------------------------- */

static void
set_aside_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct op_msg *op = (struct op_msg *)job;

	if (queue_store_failed(q, job->result)) {
		queue_retry(q, job);
		return;
	}
	arena_done(&op->arena);
	free(op);
}

static const struct job_type set_aside_job = {
	.name = "set_aside",
	.run = op_msg_run,
	.done = set_aside_done,
};

void
queue_set_aside_key(struct queue *q, enum store_db db, const MDB_val *k)
{
	struct key index;

	index.len = k->mv_size < KEY_MAX ? k->mv_size : KEY_MAX;
	memcpy(index.b, k->mv_data, index.len);
	queue_set_aside(q, 0, db, &index, false, "a key of an index");
}

void
queue_set_aside(struct queue *q, uint64_t mid, enum store_db db,
    const struct key *index, bool whole, const char *what)
{
	struct op_msg *op = calloc(1, sizeof(*op));
	uint32_t skipped;

	q->stats.set_aside++;
	if (!log_limit_ok(&q->bad_limit, 10, 60000, &skipped))
		; /* said often enough */
	else if (mid == 0)
		log_warn("store_entry",
		    "store: %s cannot be read: set aside in table bad", what);
	else
		log_event(LOG_WARNING, "store_entry",
		    &(struct log_fields){ .mid = mid, .reason = "store-error" },
		    "MID %llu cannot be read (%s): set aside in table bad",
		    (unsigned long long)mid, what);
	if (op == NULL)
		return;
	op->job.type = &set_aside_job;
	op->job.lazy = true;
	op->what = OP_MSG_SET_ASIDE;
	op->mid = mid;
	op->index_db = db;
	op->whole = whole;
	if (index != NULL)
		op->index = *index;
	writer_put(q->writer, &op->job);
}

/* ---- a worker is gone ------------------------------------------------------------------ */

void
queue_worker_lost(struct queue *q, struct qworker *w)
{
	struct op_result *op;
	struct qflight *f;
	struct qhold *h;
	struct qdest *d;
	bool busy;
	uint32_t n;

	while ((f = TAILQ_FIRST(&w->flights)) != NULL) {
		n = w->n_flights < 500 ? w->n_flights : 500;
		op = queue_result_new(0, n);
		if (op == NULL) {
			/* they stay out until a restart, but w goes now */
			qflight_detach(q, f);
			continue;
		}
		for (op->n = 0; op->n < n; op->n++) {
			struct op_item *it = &op->items[op->n];

			f = TAILQ_FIRST(&w->flights);
			it->mid = f->mid;
			it->rid = f->rid;
			it->outcome = OUTCOME_DEFERRED;
			it->reason = REASON_WORKER_LOST;
			it->flags = ITEM_NO_COUNT;
			it->status = "4.3.0";
			it->reply = "the worker that held it is gone";
			it->due_s = clock_now_s();
			it->owner_dest = f->dest == NULL ? 0 : f->dest->id;
			qflight_detach(q, f);
			q->stats.in_doubt++;
		}
		queue_result_put(q, op, false);
	}
	while ((h = LIST_FIRST(&w->holds)) != NULL) {
		d = h->dest;
		busy = !h->idle || h->in_flight > 0;
		queue_hold_end(q, h);
		if (busy && !q->draining)
			queue_lost(q, d);
		queue_poke(q, d);
	}
}
