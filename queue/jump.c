/*
 * jump.c - when the wall clock was moved. Stored times are wall time, so that
 * they outlive a restart; a clock that was set wrong, or right again, must
 * neither end what waits nor leave it lying for years.
 *
 * Forward: nothing expires by the jump; what was there before it keeps the rest
 * of its time. Back: a time that no setting could have led to from now is of
 * another clock, and what waits for it is due now. Found by the order of the
 * tables: one look at the far end of each, whatever waits. Who was right, the
 * old clock or the new one, cannot be told here.
 */
#include "queue/queue.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
	JUMP_MS = 60000, /* less is slewing and slow turns */
	MARGIN_S = 3600,
	/* expiries are corrected when the clock was left alone for a day: if
	 * it is the new one that is wrong, they are right */
	STEADY_MS = 86400000,
	FAR_EXPIRY_S = 366 * 86400, /* more than max_queue_time may be */
	REPAIRS = 64,		    /* at one time */
};

static int64_t
longest_life_s(const struct queue *q)
{
	int64_t s = 0;
	size_t i;

	for (i = 0; i < q->conf->n_profiles; i++)
		if (q->conf->profiles[i].max_queue_time_s > s)
			s = q->conf->profiles[i].max_queue_time_s;
	return s;
}

/* No retry is further away than this. */
static int64_t
longest_wait_s(const struct queue *q)
{
	int64_t s = q->conf->queue.host_down_max_retry_ms / 1000;
	size_t i;

	for (i = 0; i < q->conf->n_profiles; i++)
		if (q->conf->profiles[i].max_retry_s > s)
			s = q->conf->profiles[i].max_retry_s;
	s *= 2; /* with jitter, up to 100 percent */
	return (s > LOST_WAIT_MAX_S ? s : LOST_WAIT_MAX_S) + MARGIN_S;
}

void
queue_clock(struct queue *q)
{
	int64_t mono_ms = clock_mono_ms(), offset_ms, moved_ms;

	offset_ms = clock_now_ms() - mono_ms;
	if (!q->clock_known) {
		q->clock_known = true;
		q->clock_offset_ms = offset_ms;
		q->clock_moved_ms = mono_ms;
	}
	if (q->expiry_lag_s > 0 && mono_ms >= q->expiry_lag_until_ms)
		q->expiry_lag_s = 0; /* all that was there before is over */
	moved_ms = offset_ms - q->clock_offset_ms;
	if (moved_ms > -JUMP_MS && moved_ms < JUMP_MS)
		return;
	q->clock_offset_ms = offset_ms;
	q->clock_moved_ms = mono_ms;
	q->expiry_lag_s += moved_ms / 1000;
	if (q->expiry_lag_s < 0)
		q->expiry_lag_s = 0;
	q->expiry_lag_until_ms = mono_ms + longest_life_s(q) * 1000;
	q->sched_rescan = true;
	log_warn("clock_moved",
	    "queue: the clock was moved by %" PRId64 " s: what waits keeps the "
	    "rest of its time, and is due now when its time is of the old "
	    "clock",
	    moved_ms / 1000);
}

int64_t
queue_expiry_now(const struct queue *q)
{
	return clock_now_s() - q->expiry_lag_s;
}

/* ---- destinations whose next time is far ----------------------------------------- */

struct far_dest {
	struct op_dest op;
};

static void
dest_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct far_dest *f = (struct far_dest *)job;
	struct qdest *d;

	(void)queue_store_failed(q, job->result);
	if (job->result == 0 && f->op.ret_more) {
		writer_put(q->writer, job);
		return;
	}
	d = qdest_find(q, f->op.dest_id);
	if (job->result == 0 && d != NULL) {
		d->retries = 0;
		d->until_s = 0;
		d->rescan = true;
		queue_poke(q, d);
	}
	q->sched_rescan = true;
	q->n_repairs--;
	free(f);
	if (q->n_repairs == 0 && !q->closing && q->store_error == 0)
		queue_repair_times(q); /* the next ones */
}

static const struct job_type dest_job = {
	.name = "far_dest",
	.run = op_dest_run,
	.done = dest_done,
};

static void
repair_dest(struct queue *q, uint64_t id)
{
	struct far_dest *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return; /* with the next tick */
	f->op.job.type = &dest_job;
	f->op.job.lazy = true;
	f->op.what = OP_DEST_WAKE;
	f->op.dest_id = id;
	f->op.status = f->op.text = f->op.host = "";
	q->n_repairs++;
	writer_put(q->writer, &f->op.job);
}

void
queue_repair_far(struct queue *q, uint64_t dest_id, int64_t due_s)
{
	/* it stands behind others there, and no table shows it */
	if (q->n_repairs < REPAIRS && !q->draining &&
	    due_s > clock_now_s() + longest_wait_s(q))
		repair_dest(q, dest_id);
}

/* ---- messages ------------------------------------------------------------------------- */

static void
msg_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct op_msg *op = (struct op_msg *)job;

	(void)queue_store_failed(q, job->result);
	arena_done(&op->arena);
	free(op);
	q->n_repairs--;
	if (q->n_repairs == 0 && !q->closing && q->store_error == 0)
		queue_repair_times(q);
}

static const struct job_type msg_job = {
	.name = "far_msg",
	.run = op_msg_run,
	.done = msg_done,
};

static void
repair_msg(struct queue *q, uint64_t mid, bool expiry)
{
	struct op_msg *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return;
	op->job.type = &msg_job;
	op->job.lazy = true;
	op->what = OP_MSG_TIMES;
	op->mid = mid;
	if (expiry)
		op->latest_s = clock_now_s() + longest_life_s(q);
	q->n_repairs++;
	writer_put(q->writer, &op->job);
}

/* ---- the far ends ------------------------------------------------------------------------ */

/* Up to REPAIRS ids of a table by time, from from_s on. */
static size_t
far_end(struct sview *v, enum store_db db, int64_t from_s, uint64_t *ids)
{
	struct siter it;
	struct key k;
	int64_t at_s;
	size_t n = 0;
	int r;

	key_time(&k, from_s, 0);
	r = siter_first(&it, v->txn, v->st, db, &k);
	for (; r == 0 && n < REPAIRS; r = siter_next(&it))
		if (key_time_parse(
			it.k.mv_data, it.k.mv_size, &at_s, &ids[n]) == 0)
			n++;
	siter_end(&it);
	return n;
}

static void
repair_go(struct queue *q)
{
	uint64_t dests[REPAIRS], notices[REPAIRS], msgs[REPAIRS];
	size_t n_dests, n_notices, n_msgs = 0, i;
	int64_t now_s = clock_now_s();
	struct sview v;

	if (q->n_repairs > 0 || q->draining || q->store_error != 0 ||
	    store_read_begin(q->store, &v) < 0)
		return;
	n_dests = far_end(&v, DB_SCHED, now_s + longest_wait_s(q), dests);
	n_notices = far_end(
	    &v, DB_NOTICE, now_s + NOTICE_COLLECT_S + MARGIN_S, notices);
	if (clock_mono_ms() - q->clock_moved_ms >= STEADY_MS)
		n_msgs = far_end(&v, DB_EXP, now_s + FAR_EXPIRY_S, msgs);
	store_read_end(&v);
	for (i = 0; i < n_dests; i++)
		repair_dest(q, dests[i]);
	for (i = 0; i < n_notices; i++)
		repair_msg(q, notices[i], false);
	for (i = 0; i < n_msgs; i++)
		repair_msg(q, msgs[i], true);
}

static void
touch_far_end(struct queue *q, enum store_db db, int64_t from_s)
{
	struct touch *t = queue_round_add(&q->repair_round);

	t->db = db;
	t->max = REPAIRS;
	key_time(&t->from, from_s, 0);
}

void
queue_repair_times(struct queue *q)
{
	int64_t now_s = clock_now_s();

	if (q->n_repairs > 0 || q->draining || q->store_error != 0 ||
	    !queue_round_begin(q, &q->repair_round))
		return;
	touch_far_end(q, DB_SCHED, now_s + longest_wait_s(q));
	touch_far_end(q, DB_NOTICE, now_s + NOTICE_COLLECT_S + MARGIN_S);
	touch_far_end(q, DB_EXP, now_s + FAR_EXPIRY_S);
	queue_round_start(q, &q->repair_round, repair_go);
}
