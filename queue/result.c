/*
 * result.c - results on their way to the store and back: one log line per end,
 * the flight is over, the destination is looked at again.
 */
#include "queue/queue.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- log lines --------------------------------------------------------------------- */

/* "[0, 1]" of items i .. i + n. */
static const char *
rid_list(const struct op_item *it, uint32_t n, char *buf, size_t len)
{
	size_t at = 0;
	uint32_t i;

	for (i = 0; i < n && at + 16 < len; i++)
		at += (size_t)snprintf(buf + at, len - at, "%s%" PRIu32,
		    i == 0 ? "" : ", ", it[i].rid);
	if (i < n && at + 4 < len)
		(void)snprintf(buf + at, len - at, "...");
	return buf;
}

static bool
pends(const struct op_item *it)
{
	return it->outcome == OUTCOME_DEFERRED && !it->gone;
}

static void
log_pending(const struct op_item *it, uint32_t n)
{
	struct log_fields f = {
		.mid = it->mid,
		.outcome = "deferred",
		.reason = reason_word((enum reason)it->reason),
	};
	char rids[400] = "", when[40];

	if (n == 1) {
		f.has_rid = true;
		f.rid = it->rid;
	}
	if (it->reason == REASON_WORKER_LOST)
		log_event(LOG_WARNING, "in_doubt", &f,
		    "MID %" PRIu64 " RID [%s] in doubt: the worker that held "
		    "it is gone; no attempt counted",
		    it->mid, rid_list(it, n, rids, sizeof(rids)));
	log_event(LOG_INFO, "pending", &f,
	    "Message %" PRIu64 " to RID [%s] pending till %s", it->mid,
	    rid_list(it, n, rids, sizeof(rids)),
	    it->held ? "released"
		     : clock_format_log(it->ret_due_s, when, sizeof(when)));
}

static void
log_end(const struct op_item *it)
{
	bool expired = it->outcome == OUTCOME_EXPIRED;
	struct log_fields f = {
		.mid = it->mid,
		.has_rid = true,
		.rid = it->rid,
		.from = it->from,
		.to = it->to,
		.outcome = outcome_word((enum outcome)it->outcome),
		.status = expired ? "4.4.7" : it->status,
		.reply = it->reply,
		.reason =
		    reason_word((enum reason)(expired ? it->why : it->reason)),
	};

	if (it->from == NULL)
		return; /* the worker's line says it all */
	if (it->outcome == OUTCOME_REMOVED)
		log_event(LOG_INFO, "deleted", &f,
		    "Deleted: MID %" PRIu64 " to [%" PRIu32 "]", it->mid,
		    it->rid);
	else if (expired)
		log_event(LOG_INFO, "bounced", &f,
		    "Bounced: DCID 0 MID %" PRIu64 " From: <%s> To: <%s> "
		    "RID %" PRIu32 " - 5.4.7 - Delivery expired (message too "
		    "old) ('000', ['timeout'])",
		    it->mid, LOG_Q(it->from), LOG_Q(it->to), it->rid);
	else if (it->outcome == OUTCOME_FAILED && it->code == 0)
		log_event(LOG_INFO, "bounced", &f,
		    "Bounced: DCID 0 MID %" PRIu64 " From: <%s> To: <%s> "
		    "RID %" PRIu32 " - %s - %s ('000', ['%s'])",
		    it->mid, LOG_Q(it->from), LOG_Q(it->to), it->rid,
		    it->status, LOG_Q(it->reply), LOG_Q(it->reply));
	if (it->double_bounce)
		log_event(LOG_INFO, "double_bounce", &f,
		    "Double bounce: MID %" PRIu64 " to RID %" PRIu32 " - %s",
		    it->mid, it->rid, LOG_Q(it->reply));
}

static void
log_items(const struct op_result *op)
{
	uint32_t i, n;

	for (i = 0; i < op->n; i += n) {
		const struct op_item *it = &op->items[i];

		n = 1;
		if (it->gone)
			continue;
		if (pends(it)) {
			while (i + n < op->n && it[n].mid == it->mid &&
			    pends(&it[n]) && it[n].ret_due_s == it->ret_due_s)
				n++;
			log_pending(it, n);
			continue;
		}
		log_end(it);
	}
	for (i = 0; i < op->n; i++)
		if (op->items[i].finished)
			log_event(LOG_INFO, "finished",
			    &(struct log_fields){ .mid = op->items[i].mid },
			    "Message finished MID %" PRIu64 " done",
			    op->items[i].mid);
}

/* ---- done ------------------------------------------------------------------------------ */

static void
free_result(struct op_result *op)
{
	arena_done(&op->arena);
	free(op->items);
	free(op);
}

static void
item_done(struct queue *q, const struct op_item *it, int64_t now_s)
{
	struct qflight *f = qflight_find(q, it->mid, it->rid);
	struct qdest *d;

	if (f == NULL)
		return;
	d = f->dest;
	qflight_free(q, f);
	if (it->corrupt)
		queue_set_aside(
		    q, it->mid, DB_MSG, NULL, false, "at its result");
	if (d == NULL || it->gone)
		return;
	if (it->outcome != OUTCOME_DEFERRED) {
		if (d->queued > 0)
			d->queued--;
		return;
	}
	if (it->held)
		return;
	if (it->ret_due_s <= now_s)
		d->rescan = true;
	else if (d->next_due_s == 0 || it->ret_due_s < d->next_due_s)
		d->next_due_s = it->ret_due_s;
}

/* What the job was keeping may go on. */
static void
origin_over(struct queue *q, struct op_result *op)
{
	struct qdest *d;

	if (op->alone)
		return;
	if (op->origin == RESULT_EXPIRE)
		q->expire_job = false;
	if (op->over != NULL)
		op->over(op);
	if (op->origin != RESULT_FAIL)
		return;
	d = qdest_find(q, op->dest_id);
	if (d != NULL)
		d->fail_job = false;
}

/* One message's items as a job of their own, at its last try. */
static bool
retry_alone(
    struct queue *q, const struct op_result *op, uint32_t from, uint32_t n)
{
	struct op_result *one = queue_result_new(op->dest_id, n);
	uint32_t i;
	bool ok;

	if (one == NULL)
		return false;
	one->host = arena_strdup(&one->arena, op->host);
	one->origin = op->origin;
	one->alone = true;
	one->dcid = op->dcid;
	one->tries = RESULT_TRIES - 1;
	ok = one->host != NULL;
	for (i = 0; i < n && ok; i++) {
		struct op_item *it = &one->items[i];

		*it = op->items[from + i];
		it->from = it->to = NULL;
		if (it->status != NULL)
			it->status = arena_strdup(&one->arena, it->status);
		if (it->reply != NULL)
			it->reply = arena_strdup(&one->arena, it->reply);
		ok = (it->status != NULL) ==
			(op->items[from + i].status != NULL) &&
		    (it->reply != NULL) == (op->items[from + i].reply != NULL);
	}
	if (ok)
		queue_retry(q, &one->job);
	else
		free_result(one);
	return ok;
}

/*
 * The place where this message's result belongs cannot be written, though the
 * store has room. Its flights stay, so that nobody gets it a second time from
 * this process; a restart may send it again.
 */
static void
give_up(struct queue *q, const struct op_item *it, uint32_t n, int result)
{
	char rids[400] = "";

	q->n_stuck += n;
	log_event(LOG_CRITICAL, "result_lost",
	    &(struct log_fields){ .mid = it->mid,
		.outcome = outcome_word((enum outcome)it->outcome),
		.reason = "store-error" },
	    "MID %" PRIu64 " RID [%s] %s, but the store cannot record it: %s; "
	    "it is not sent again before a restart",
	    it->mid, rid_list(it, n, rids, sizeof(rids)),
	    outcome_word((enum outcome)it->outcome), err_str(result));
}

/* The store has room but will not take it: again a few times, then each message
 * alone, then not at all. One damaged page must not hold up the others, nor
 * the end of the process, for ever. */
static void
refused(struct queue *q, struct op_result *op)
{
	struct qdest *d;
	uint32_t i, n;
	bool alone;

	if (++op->tries < RESULT_TRIES) {
		queue_retry(q, &op->job);
		return;
	}
	for (i = 0; i < op->n; i += n) {
		for (n = 1;
		     i + n < op->n && op->items[i + n].mid == op->items[i].mid;)
			n++;
		alone = n == op->n;
		if (alone || !retry_alone(q, op, i, n))
			give_up(q, &op->items[i], n, op->job.result);
	}
	origin_over(q, op);
	d = qdest_find(q, op->dest_id);
	free_result(op);
	if (d != NULL)
		queue_poke(q, d);
	queue_drain_check(q);
}

static void
result_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct op_result *op = (struct op_result *)job;
	int64_t now_s = clock_now_s();
	uint64_t last = 0;
	struct qdest *d;
	uint32_t i;

	/* the flights stay in both cases: nothing is sent twice */
	if (queue_store_failed(q, job->result)) {
		queue_retry(q, job);
		return;
	}
	if (job->result < 0 && job->result != -ECANCELED) {
		refused(q, op);
		return;
	}
	if (job->result == 0)
		log_items(op);
	for (i = 0; i < op->n; i++)
		item_done(q, &op->items[i], now_s);
	origin_over(q, op);
	for (i = 0; i < op->n; i++) {
		uint64_t id = op->items[i].owner_dest;

		if (id == 0 || id == last)
			continue;
		last = id;
		d = qdest_find(q, id);
		if (d != NULL)
			queue_poke(q, d);
	}
	if (op->ret_notice)
		queue_notices(q);
	if (op->origin == RESULT_EXPIRE)
		queue_expire(q);
	free_result(op);
	queue_drain_check(q);
}

static const struct job_type result_job = {
	.name = "result",
	.run = op_result_run,
	.done = result_done,
};

struct op_result *
queue_result_new(uint64_t dest_id, uint32_t n)
{
	struct op_result *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return NULL;
	op->items = calloc(n, sizeof(*op->items));
	if (op->items == NULL) {
		free(op);
		return NULL;
	}
	op->job.type = &result_job;
	op->dest_id = dest_id;
	op->host = "";
	op->n = n;
	return op;
}

void
queue_result_put(struct queue *q, struct op_result *op, bool lazy)
{
	op->job.lazy = lazy;
	writer_put(q->writer, &op->job);
}

/* ---- a destination that fails as a whole ------------------------------------------------- */

/* A notice for this one? The profile may say none. */
static bool
wants_dsn(struct queue *q, struct sview *v, const struct qdest *d, uint64_t mid)
{
	struct rec_msg m;

	if (sview_msg(v, mid, &m) < 0)
		return true;
	return queue_profile(q, d->domain, m.profile)->hard_bounces !=
	    CONF_BOUNCE_NONE;
}

static struct op_result *
fail_batch(struct queue *q, struct qdest *d, struct sview *v)
{
	struct qfail *fail = d->fail;
	const struct dq_entry *e;
	struct op_result *op;
	struct op_item *it;

	op = queue_result_new(d->id, FAIL_BATCH);
	if (op == NULL)
		return NULL;
	op->origin = RESULT_FAIL;
	op->host = arena_strdup(&op->arena, fail->host);
	op->n = 0;
	while (op->n < FAIL_BATCH && (e = qdest_first(d)) != NULL &&
	    queue_is_warm(q, e->mid)) {
		it = &op->items[op->n];
		it->mid = e->mid;
		it->rid = e->rid;
		it->reason = fail->reason;
		it->outcome = fail->discard ? OUTCOME_REMOVED : OUTCOME_FAILED;
		it->status = arena_strdup(&op->arena, fail->status);
		it->reply = arena_strdup(&op->arena, fail->text);
		it->flags = ITEM_NAMES;
		it->owner_dest = d->id;
		if (!wants_dsn(q, v, d, e->mid))
			it->flags |= ITEM_NO_DSN;
		qdest_pop(q, d);
		if (qflight_find(q, it->mid, it->rid) != NULL ||
		    qflight_new(q, it->mid, it->rid, d, NULL) == NULL)
			continue;
		op->n++;
	}
	return op;
}

static void
fail_over(struct queue *q, struct qdest *d)
{
	struct qfail *f = d->fail;

	d->fail = NULL;
	free(f->status);
	free(f->text);
	free(f->host);
	free(f);
	queue_poke(q, d);
}

void
queue_fail_step(struct queue *q, struct qdest *d)
{
	struct op_result *op = NULL;
	struct sview v;
	int r;

	if (d->fail_job || d->warming != WARM_NOT)
		return; /* comes back when that is over */
	if ((d->win_n == 0 || d->rescan)
		? qdest_reads_cold(d)
		: !queue_is_warm(q, qdest_first(d)->mid)) {
		queue_warm_dest(q, d, false);
		return;
	}
	r = store_read_begin(q->store, &v);
	if (r == 0) {
		if (d->win_n == 0 || d->rescan)
			r = qdest_refill(q, d, &v);
		if (r == 0 && d->win_n > 0)
			op = fail_batch(q, d, &v);
		store_read_end(&v);
	}
	if (r < 0)
		(void)queue_store_failed(q, r);
	if (op != NULL && op->n > 0) {
		d->fail_job = true;
		queue_result_put(q, op, true);
		return;
	}
	if (op != NULL)
		free_result(op);
	if (d->win_n > 0) {
		/* read just now, and not in memory yet */
		queue_warm_dest(q, d, false);
		return;
	}
	/* nothing is due any more: what comes later is asked about again */
	fail_over(q, d);
}
