/*
 * store_ops_result.c - what became of recipients: delivered, deferred, failed,
 * expired, removed. Always one transaction for record, indexes and counters,
 * so that after a crash a recipient is in exactly one of these states.
 */
#include "queue/store_ops.h"

#include "queue/schedule.h"

#include "lib/base/err.h"
#include "lib/proto/submit.h"

#include <errno.h>
#include <string.h>

/* ---- the message record ------------------------------------------------------ */

/* Move one of its index entries: to at_s, or away (0). */
static int
move_index(struct stxn *x, enum store_db db, uint64_t mid, int64_t *field,
    int64_t at_s)
{
	struct key k;
	int r = 0;

	if (*field == at_s)
		return 0;
	if (*field != 0) {
		key_time(&k, *field, mid);
		r = stx_del(x, db, &k);
	}
	if (r == 0 && at_s != 0) {
		key_time(&k, at_s, mid);
		r = stx_put(x, db, &k, NULL, 0);
	}
	*field = at_s;
	return r;
}

int
ops_msg_notice(struct stxn *x, uint64_t mid, struct rec_msg *m, int64_t at_s)
{
	return move_index(x, DB_NOTICE, mid, &m->notice_s, at_s);
}

int
ops_msg_expiry(struct stxn *x, uint64_t mid, struct rec_msg *m, int64_t at_s)
{
	return move_index(x, DB_EXP, mid, &m->exp_s, at_s);
}

int
ops_msg_settle(struct stxn *x, uint64_t mid, struct rec_msg *m, bool *ret_gone)
{
	struct key k;
	int r = 0;

	*ret_gone = m->n_left == 0;
	if (m->n_live == 0)
		r = ops_msg_expiry(x, mid, m, 0);
	if (r < 0 || m->n_left > 0)
		return r < 0 ? r : stx_msg_put(x, mid, m);
	r = ops_msg_notice(x, mid, m, 0);
	key_u64(&k, mid);
	if (r == 0)
		r = stx_del(x, DB_MSG, &k);
	if (r == 0 && m->body == REC_BODY_INLINE)
		r = stx_del(x, DB_BODY, &k);
	else if (r == 0)
		r = stx_unlink(x, mid);
	return r;
}

/* Earliest expiry among the recipients that still wait; 0: none does. known:
 * none is earlier, so that the first with it ends the search. */
static int
next_expiry(struct stxn *x, uint64_t mid, int64_t known, int64_t *ret)
{
	struct rec_rcpt rec;
	struct siter it;
	struct key k;
	uint64_t m;
	uint32_t rid;
	int r;

	*ret = 0;
	key_rcpt(&k, mid, 0);
	r = siter_first(&it, x->txn, x->st, DB_RCPT, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &m, &rid) < 0 ||
		    m != mid)
			break;
		if (rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rec) < 0 ||
		    rec.state != RCPT_QUEUED)
			continue;
		if (*ret == 0 || rec.expires_s < *ret)
			*ret = rec.expires_s;
		if (*ret <= known)
			break;
	}
	siter_end(&it);
	return r == PE_NOT_FOUND || r == 0 ? 0 : r;
}

/* ---- one recipient ------------------------------------------------------------- */

struct ctx {
	struct stxn *x;
	struct op_result *op;
	struct rec_msg m;
	bool m_changed, notice_now, notice_later;
	bool first_ended; /* one of those that were to expire first */
};

static void
record_last(struct ctx *c, struct rec_rcpt *rc, const struct op_item *it)
{
	rc->reason = it->reason;
	rc->code = it->code;
	rc->status = it->status == NULL ? "" : it->status;
	rc->reply = it->reply == NULL ? "" : it->reply;
	rc->host = c->op->host == NULL ? "" : c->op->host;
	rc->last_s = c->x->now_s;
}

static int
take_off_dq(struct ctx *c, const struct op_item *it, struct rec_rcpt *rc,
    struct sdest *d)
{
	struct dq_entry e = { rc->due_s, it->mid, it->rid };
	struct key k;

	if (rc->due_s == 0)
		return 0;
	rc->due_s = 0;
	if (d != NULL)
		return stx_due_del(c->x, d, &e);
	key_dq(&k, rc->dest_id, &e);
	return stx_del(c->x, DB_DQ, &k);
}

/* A minute, doubled with each further worker that died with it. */
static int64_t
lost_wait_s(uint8_t lost)
{
	int64_t s = LOST_WAIT_S;

	for (; lost > 2 && s < LOST_WAIT_MAX_S; lost--)
		s *= 2;
	return s < LOST_WAIT_MAX_S ? s : LOST_WAIT_MAX_S;
}

static int
defer(struct ctx *c, struct op_item *it, struct rec_rcpt *rc, struct sdest *d)
{
	struct dq_entry e = { it->due_s, it->mid, it->rid };
	int r = 0;

	if ((it->flags & ITEM_NO_COUNT) == 0) {
		rc->attempts++;
		rc->lost = 0;
		c->x->c.deferred++;
		d->r.soft++;
	} else if (rc->lost < UINT8_MAX) {
		/* once is an accident; a message that kills every worker that
		 * takes it must not do so in a tight circle, and takes others
		 * with it each time */
		if (rc->lost++ > 0)
			e.due_s += lost_wait_s(rc->lost);
	}
	record_last(c, rc, it);
	if (!rc->delay_pending && c->m.sender[0] != '\0' &&
	    (rc->notify == 0 || (rc->notify & DSN_NOTIFY_DELAY) != 0) &&
	    schedule_delay_notice(c->x->now_s, c->m.accepted_ms / 1000,
		it->delay_interval_s, rc->delays, it->delay_max,
		rc->attempts)) {
		rc->delay_pending = true;
		c->notice_later = true;
	}
	it->held = c->m.held;
	if (e.due_s < 1)
		e.due_s = 1;
	it->ret_due_s = e.due_s;
	if (!c->m.held) {
		rc->due_s = e.due_s;
		r = stx_due_add(c->x, d, &e);
	}
	return r < 0 ? r : stx_rcpt_put(c->x, it->mid, it->rid, rc);
}

/* The reason that a recipient did not get there: its own last one, or that of
 * its destination when it has been down since. */
static void
take_dest_reason(struct rec_rcpt *rc, const struct sdest *d)
{
	if (d->r.retries == 0 || d->r.since_s < rc->last_s)
		return;
	rc->reason = d->r.reason;
	rc->status = d->r.status;
	rc->reply = d->r.text;
	rc->host = d->r.host;
	rc->code = 0;
}

/* Counts the end; says what the record becomes, or RCPT_QUEUED to delete it. */
static enum rec_rcpt_state
count_end(
    struct ctx *c, struct op_item *it, struct rec_rcpt *rc, struct sdest *d)
{
	bool tell = rc->notify == 0 || (rc->notify & DSN_NOTIFY_FAILURE) != 0;
	struct rec_counters *n = &c->x->c;

	n->queued--;
	switch ((enum outcome)it->outcome) {
	case OUTCOME_DELIVERED:
		n->delivered++;
		d->r.delivered++;
		record_last(c, rc, it);
		rc->attempts++;
		return (it->flags & ITEM_RELAYED) != 0 &&
			(rc->notify & DSN_NOTIFY_SUCCESS) != 0 &&
			c->m.sender[0] != '\0'
		    ? RCPT_RELAYED
		    : RCPT_QUEUED;
	case OUTCOME_REMOVED:
		n->removed++;
		return RCPT_QUEUED;
	case OUTCOME_EXPIRED:
		n->expired++;
		if (it->reason != REASON_NONE && it->reason != REASON_EXPIRED) {
			record_last(c, rc, it); /* the last attempt, now */
			rc->attempts++;
		} else {
			take_dest_reason(rc, d);
		}
		it->why = rc->reason;
		break;
	default:
		n->bounced++;
		record_last(c, rc, it);
		rc->attempts++;
		d->r.hard++;
		d->r.last_error = rc->reply;
		break;
	}
	if (c->m.sender[0] == '\0') {
		n->double_bounces++;
		it->double_bounce = true;
		return RCPT_QUEUED;
	}
	if (!tell || (it->flags & ITEM_NO_DSN) != 0)
		return RCPT_QUEUED;
	return it->outcome == OUTCOME_EXPIRED ? RCPT_EXPIRED : RCPT_FAILED;
}

static int
end_rcpt(
    struct ctx *c, struct op_item *it, struct rec_rcpt *rc, struct sdest *d)
{
	enum rec_rcpt_state state = count_end(c, it, rc, d);
	struct key k;

	if (d->r.queued > 0)
		d->r.queued--;
	c->m.n_live--;
	if (rc->expires_s <= c->m.exp_s)
		c->first_ended = true;
	if (state != RCPT_QUEUED) {
		rc->state = (uint8_t)state;
		rc->delay_pending = false;
		c->notice_now = true;
		return stx_rcpt_put(c->x, it->mid, it->rid, rc);
	}
	c->m.n_left--;
	key_rcpt(&k, it->mid, it->rid);
	return stx_del(c->x, DB_RCPT, &k);
}

static int
give_names(struct ctx *c, struct op_item *it, const struct rec_rcpt *rc)
{
	it->from = arena_strdup(&c->op->arena, c->m.sender);
	it->to = arena_strdup(&c->op->arena, rc->address);
	if (it->status == NULL || it->outcome == OUTCOME_EXPIRED) {
		it->status = arena_strdup(&c->op->arena, rc->status);
		it->reply = arena_strdup(&c->op->arena, rc->reply);
	}
	return it->from == NULL || it->to == NULL || it->status == NULL ||
		it->reply == NULL
	    ? -ENOMEM
	    : 0;
}

/* The destination's record is unreadable or gone: go on under its name. */
static int
replace_dest(struct ctx *c, const struct op_item *it, struct rec_rcpt *rc,
    struct sdest **ret)
{
	int r;

	r = take_off_dq(c, it, rc, NULL);
	if (r == 0)
		r = stx_dest_named(
		    c->x, rc->domain, c->m.gateway, msg_class(c->m.flags), ret);
	if (r < 0)
		return r;
	(*ret)->r.queued++;
	rc->dest_id = (*ret)->id;
	return 0;
}

/* Nobody attempted these: what was read when the job was made may be over,
 * because an operator's hold or its release came between. */
static bool
is_outdated(
    const struct ctx *c, const struct op_item *it, const struct rec_rcpt *rc)
{
	/* an operator's word holds for held ones too */
	if (c->op->origin == RESULT_WORKER || c->op->origin == RESULT_OPERATOR)
		return false;
	return c->m.held ||
	    (c->op->origin == RESULT_EXPIRE && rc->expires_s != it->due_s);
}

static int
one(struct ctx *c, struct op_item *it)
{
	struct rec_rcpt rc;
	struct sdest *d = NULL;
	int r;

	r = stx_rcpt(c->x, it->mid, it->rid, &rc);
	it->corrupt = r == PE_CORRUPT && c->x->hard == 0;
	if (r == PE_NOT_FOUND || it->corrupt ||
	    (r == 0 && (rc.state != RCPT_QUEUED || is_outdated(c, it, &rc)))) {
		it->gone = true;
		return 0;
	}
	if (r == 0)
		r = stx_dest(c->x, rc.dest_id, &d);
	if (c->x->hard != 0)
		return c->x->hard;
	if (r < 0)
		r = replace_dest(c, it, &rc, &d);
	if (r < 0)
		return r;
	r = take_off_dq(c, it, &rc, d);
	if (r < 0)
		return r;
	d->r.used_s = c->x->now_s;
	d->dirty = true;
	c->x->counters_dirty = true;
	c->m_changed = true;
	if (it->outcome == OUTCOME_DEFERRED)
		r = defer(c, it, &rc, d);
	else
		r = end_rcpt(c, it, &rc, d);
	if (r == 0 && ((it->flags & ITEM_NAMES) != 0 || it->double_bounce))
		r = give_names(c, it, &rc);
	return r;
}

/* ---- one message, then all ------------------------------------------------------- */

static int
settle(struct ctx *c, struct op_item *last)
{
	int64_t at = 0;
	bool gone;
	int r = 0;

	if (!c->m_changed)
		return 0;
	last->finished = c->m.n_live == 0;
	if (c->notice_now && c->m.n_live == 0)
		at = c->x->now_s;
	else if (c->notice_now || c->notice_later)
		at = c->x->now_s + NOTICE_COLLECT_S;
	else if (c->m.n_live == 0 && c->m.n_left > 0)
		at = c->x->now_s; /* nothing more to wait for */
	if (at != 0 && (c->m.notice_s == 0 || at < c->m.notice_s))
		r = ops_msg_notice(c->x, last->mid, &c->m, at);
	if (c->m.notice_s != 0 && c->m.notice_s <= c->x->now_s)
		c->op->ret_notice = true;
	/* else the entry would stand in exp before others until their time */
	if (r == 0 && c->first_ended && c->m.n_live > 0) {
		r = next_expiry(c->x, last->mid, c->m.exp_s, &at);
		if (r == 0 && at > c->m.exp_s)
			r = ops_msg_expiry(c->x, last->mid, &c->m, at);
	}
	return r < 0 ? r : ops_msg_settle(c->x, last->mid, &c->m, &gone);
}

/* Tried, and to wait now? */
static bool
is_deferred(const struct op_item *it)
{
	return it->outcome == OUTCOME_DEFERRED &&
	    (it->flags & ITEM_NO_COUNT) == 0;
}

static int
one_message(struct ctx *c, struct op_item *items, uint32_t n)
{
	uint32_t i;
	int r;

	for (i = 0; i < n && !is_deferred(&items[i]); i++)
		;
	r = i == n ? 0 : stx_age(c->x, items[0].mid);
	if (r < 0)
		return r;
	r = stx_msg(c->x, items[0].mid, &c->m);
	if (r == PE_NOT_FOUND || (r == PE_CORRUPT && c->x->hard == 0)) {
		for (i = 0; i < n; i++) {
			items[i].gone = true;
			items[i].corrupt = r == PE_CORRUPT;
		}
		return 0;
	}
	c->m_changed = c->notice_now = c->notice_later = false;
	c->first_ended = false;
	for (i = 0; i < n && r == 0; i++)
		r = one(c, &items[i]);
	return r < 0 ? r : settle(c, &items[n - 1]);
}

int
op_result_run(struct stxn *x, struct job *job)
{
	struct op_result *op = (struct op_result *)job;
	struct ctx c = { .x = x, .op = op };
	uint32_t i, n;
	int r = 0;

	op->ret_notice = false;
	for (i = 0; i < op->n; i++) {
		struct op_item *it = &op->items[i];

		it->gone = it->corrupt = it->finished = false;
		it->double_bounce = it->held = false;
	}
	for (i = 0; i < op->n && r == 0; i += n) {
		for (n = 1;
		     i + n < op->n && op->items[i + n].mid == op->items[i].mid;)
			n++;
		r = one_message(&c, op->items + i, n);
	}
	if (r < 0 && x->hard == 0)
		x->hard = r; /* half done: all of it goes */
	return r;
}
