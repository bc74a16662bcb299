/*
 * expire.c - the end of waiting: by its own timer, whatever the retries say.
 *
 * A destination that is down or suspended cannot hold mail past its time. What
 * a worker holds right now is left alone; it is asked about again when it is
 * back.
 */
#include "queue/queue.h"

#include "lib/base/err.h"

#include <stdlib.h>

enum { EXPIRE_SCAN = 2000 };

/* Messages whose entry leads nowhere, found while reading. */
struct lost {
	uint64_t mid;
	struct key index;
	bool gone;
};

static void
add_item(struct queue *q, struct op_result *op, uint64_t mid, uint32_t rid,
    const struct rec_rcpt *rc, const struct conf_profile *profile)
{
	struct op_item *it = &op->items[op->n];
	struct qdest *d = qdest_find(q, rc->dest_id);

	if (qflight_new(q, mid, rid, d, NULL) == NULL)
		return; /* next time */
	it->mid = mid;
	it->rid = rid;
	it->outcome = OUTCOME_EXPIRED;
	it->reason = REASON_EXPIRED;
	it->due_s = rc->expires_s;
	it->flags = ITEM_NAMES;
	if (profile->hard_bounces == CONF_BOUNCE_NONE)
		it->flags |= ITEM_NO_DSN;
	it->owner_dest = d == NULL ? 0 : d->id;
	op->n++;
}

/* Its recipients that are over time, as many as fit. False when the message
 * has none at all, or one that cannot be read: its entry here would stay. */
static bool
add_message(struct queue *q, struct sview *v, struct op_result *op,
    uint64_t mid, const struct rec_msg *m, int64_t now_s)
{
	struct rec_rcpt rc;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t rid;
	bool any = false, bad = false;
	int r;

	key_rcpt(&k, mid, 0);
	r = siter_first(&it, v->txn, v->st, DB_RCPT, &k);
	for (; r == 0 && op->n < EXPIRE_BATCH; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &id, &rid) < 0 ||
		    id != mid)
			break;
		any = true;
		if (rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc) < 0) {
			bad = true;
			continue;
		}
		if (rc.state != RCPT_QUEUED || rc.expires_s > now_s ||
		    qflight_find(q, mid, rid) != NULL ||
		    queue_look_holds(q, v, rc.dest_id))
			continue;
		add_item(q, op, mid, rid, &rc,
		    queue_profile(q, rc.domain, m->profile));
	}
	siter_end(&it);
	return any && !bad;
}

static bool
collect(struct queue *q, struct sview *v, struct op_result *op,
    struct lost *ret_lost)
{
	int64_t now_s = queue_expiry_now(q), at_s;
	struct rec_msg m;
	struct siter it;
	uint64_t mid;
	struct key from;
	int n = 0, r, e;
	bool lost = false;

	/* what workers hold stays where it is: not the same ones each time */
	key_time(&from, q->expire_at_s, q->expire_at_mid);
	q->expire_at_s = 0;
	q->expire_at_mid = 0;
	r = siter_first(&it, v->txn, v->st, DB_EXP, &from);
	for (; r == 0; r = siter_next(&it)) {
		if (key_time_parse(it.k.mv_data, it.k.mv_size, &at_s, &mid) <
		    0) {
			queue_set_aside_key(q, DB_EXP, &it.k);
			continue;
		}
		if (at_s > now_s)
			break;
		if (op->n == EXPIRE_BATCH || n++ == EXPIRE_SCAN) {
			q->expire_at_s = at_s; /* goes on here */
			q->expire_at_mid = mid;
			break;
		}
		e = sview_msg(v, mid, &m);
		if (lost && e < 0)
			continue; /* one at a time will do */
		if ((e == 0 && add_message(q, v, op, mid, &m, now_s)) || lost)
			continue;
		lost = true;
		ret_lost->mid = mid;
		ret_lost->gone = e == PE_NOT_FOUND;
		key_time(&ret_lost->index, at_s, mid);
	}
	siter_end(&it);
	return lost;
}

static void
expire_go(struct queue *q)
{
	struct op_result *op;
	struct lost lost;
	struct sview v;
	bool has_lost;

	if (q->expire_job || q->store_error != 0)
		return;
	op = queue_result_new(0, EXPIRE_BATCH);
	if (op == NULL)
		return;
	op->n = 0;
	op->origin = RESULT_EXPIRE;
	if (store_read_begin(q->store, &v) < 0) {
		free(op->items);
		free(op);
		return;
	}
	has_lost = collect(q, &v, op, &lost);
	store_read_end(&v);
	queue_look_begin(q);
	if (has_lost)
		queue_set_aside(q, lost.mid, DB_EXP, &lost.index, false,
		    lost.gone ? "an expiry without a message"
			      : "message record");
	if (op->n == 0) {
		free(op->items);
		free(op);
		return;
	}
	q->expire_job = true;
	queue_result_put(q, op, true);
}

void
queue_expire(struct queue *q)
{
	struct touch *t;

	if (q->expire_job || q->store_error != 0 ||
	    !queue_round_begin(q, &q->expire_round))
		return;
	queue_clock(q);
	t = queue_round_add(&q->expire_round);
	t->db = DB_EXP;
	t->follow = TOUCH_MSG;
	t->max = EXPIRE_SCAN;
	t->until_s = queue_expiry_now(q);
	key_time(&t->from, q->expire_at_s, q->expire_at_mid);
	queue_round_start(q, &q->expire_round, expire_go);
}
