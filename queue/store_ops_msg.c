/*
 * store_ops_msg.c - one message by hand: remove, hold, unhold; and setting
 * aside what cannot be read. Also the reservation of ids.
 */
#include "queue/store_ops.h"

#include "lib/base/err.h"
#include "lib/proto/submit.h"

#include <errno.h>
#include <string.h>

enum { UNHOLD_GRACE_S = 600, PROBE_BYTES = 64 * 1024 };

/* The rids of a message, copied, since what follows changes the table. */
static int
list_rids(struct stxn *x, uint64_t mid, uint32_t **ret, uint32_t *ret_n)
{
	struct siter it;
	struct key k;
	uint64_t m;
	uint32_t rid, n = 0, cap = 0, *v = NULL, *more;
	int r;

	key_rcpt(&k, mid, 0);
	r = siter_first(&it, x->txn, x->st, DB_RCPT, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &m, &rid) < 0 ||
		    m != mid)
			break;
		if (n == cap) {
			cap = cap == 0 ? 16 : cap * 2;
			more = arena_alloc(&x->arena, cap * sizeof(*more));
			if (more == NULL) {
				siter_end(&it);
				return x->hard = -ENOMEM;
			}
			if (n > 0)
				memcpy(more, v, n * sizeof(*v));
			v = more;
		}
		v[n++] = rid;
	}
	siter_end(&it);
	*ret = v;
	*ret_n = n;
	return r == PE_NOT_FOUND ? 0 : r;
}

/* Out of dq and of the count of its destination. */
static int
unqueue(
    struct stxn *x, uint64_t mid, uint32_t rid, struct rec_rcpt *rc, bool ended)
{
	struct dq_entry e = { rc->due_s, mid, rid };
	struct sdest *d;
	struct key k;
	int r;

	r = stx_dest(x, rc->dest_id, &d);
	if (x->hard != 0)
		return x->hard;
	if (r < 0)
		d = NULL;
	if (d != NULL && ended) {
		if (d->r.queued > 0)
			d->r.queued--;
		d->dirty = true;
	}
	if (rc->due_s == 0)
		return 0;
	rc->due_s = 0;
	if (d != NULL)
		return stx_due_del(x, d, &e);
	key_dq(&k, rc->dest_id, &e);
	return stx_del(x, DB_DQ, &k);
}

static int
del_rcpt(struct stxn *x, uint64_t mid, uint32_t rid)
{
	struct key k;

	key_rcpt(&k, mid, rid);
	return stx_del(x, DB_RCPT, &k);
}

static int
hold(struct stxn *x, struct op_msg *op, struct rec_msg *m)
{
	struct rec_rcpt rc;
	uint32_t *rids, n, i;
	int r;

	if (m->held)
		return 0;
	r = list_rids(x, op->mid, &rids, &n);
	for (i = 0; i < n && r == 0; i++) {
		r = stx_rcpt(x, op->mid, rids[i], &rc);
		if (r == PE_CORRUPT && x->hard == 0) {
			r = 0; /* the others must not stay behind for it */
			continue;
		}
		if (r < 0 || rc.state != RCPT_QUEUED)
			continue;
		r = unqueue(x, op->mid, rids[i], &rc, false);
		if (r == 0)
			r = stx_rcpt_put(x, op->mid, rids[i], &rc);
		op->ret_changed++;
	}
	if (x->hard != 0)
		return x->hard;
	m->held = true;
	/* the operator's hand stops this clock */
	r = ops_msg_expiry(x, op->mid, m, 0);
	return r < 0 ? r : stx_msg_put(x, op->mid, m);
}

static int
unhold_one(struct stxn *x, struct op_msg *op, uint32_t rid, struct rec_rcpt *rc,
    struct rec_msg *m)
{
	struct dq_entry e = { x->now_s, op->mid, rid };
	struct sdest *d;
	int r;

	r = stx_dest_named(x, rc->domain, m->gateway, msg_class(m->flags), &d);
	if (r < 0)
		return r;
	if (rc->dest_id != d->id) {
		/* forgotten meanwhile, and made again */
		rc->dest_id = d->id;
		d->r.queued++;
		d->dirty = true;
	}
	rc->due_s = e.due_s;
	if (rc->expires_s < x->now_s + UNHOLD_GRACE_S)
		rc->expires_s = x->now_s + UNHOLD_GRACE_S;
	r = stx_rcpt_put(x, op->mid, rid, rc);
	if (r == 0)
		r = stx_due_add(x, d, &e);
	op->ret_due[op->ret_changed].dest_id = d->id;
	op->ret_due[op->ret_changed].e = e;
	op->ret_changed++;
	return r;
}

static int
unhold(struct stxn *x, struct op_msg *op, struct rec_msg *m)
{
	struct rec_rcpt rc;
	uint32_t *rids, n, i;
	int64_t exp = 0;
	int r;

	if (!m->held)
		return 0;
	r = list_rids(x, op->mid, &rids, &n);
	/* not by the counts of the record, which may be wrong */
	op->ret_due = arena_alloc(&op->arena, n * sizeof(*op->ret_due));
	if (op->ret_due == NULL)
		return x->hard = -ENOMEM;
	for (i = 0; i < n && r == 0; i++) {
		r = stx_rcpt(x, op->mid, rids[i], &rc);
		if (r == PE_CORRUPT && x->hard == 0) {
			r = 0; /* the others must not stay behind for it */
			continue;
		}
		if (r < 0 || rc.state != RCPT_QUEUED)
			continue;
		r = unhold_one(x, op, rids[i], &rc, m);
		if (exp == 0 || rc.expires_s < exp)
			exp = rc.expires_s;
	}
	if (r < 0)
		return r;
	m->held = false;
	r = ops_msg_expiry(x, op->mid, m, exp);
	return r < 0 ? r : stx_msg_put(x, op->mid, m);
}

/* ---- times of another clock ------------------------------------------------------ */

/* Its recipients end no later than the job says. */
static int
earlier_expiry(struct stxn *x, struct op_msg *op, struct rec_msg *m)
{
	struct rec_rcpt rc;
	uint32_t *rids, n, i;
	int64_t exp = 0;
	int r;

	r = list_rids(x, op->mid, &rids, &n);
	for (i = 0; i < n && r == 0; i++) {
		r = stx_rcpt(x, op->mid, rids[i], &rc);
		if (r == PE_CORRUPT && x->hard == 0) {
			r = 0;
			continue;
		}
		if (r < 0 || rc.state != RCPT_QUEUED)
			continue;
		if (rc.expires_s > op->latest_s) {
			rc.expires_s = op->latest_s;
			r = stx_rcpt_put(x, op->mid, rids[i], &rc);
			op->ret_changed++;
		}
		if (exp == 0 || rc.expires_s < exp)
			exp = rc.expires_s;
	}
	/* 0: none can be read; the entry leads to them once it is over */
	return r < 0
	    ? r
	    : ops_msg_expiry(x, op->mid, m, exp == 0 ? op->latest_s : exp);
}

static int
set_times(struct stxn *x, struct op_msg *op, struct rec_msg *m)
{
	int r = 0;

	if (m->notice_s > x->now_s + NOTICE_COLLECT_S)
		r = ops_msg_notice(x, op->mid, m, x->now_s);
	if (r == 0 && op->latest_s != 0 && m->exp_s > op->latest_s)
		r = earlier_expiry(x, op, m);
	return r < 0 ? r : stx_msg_put(x, op->mid, m);
}

/* ---- what cannot be read -------------------------------------------------------------- */

/* The index entry that led here, and the schedule of its destination. */
static int
drop_index(struct stxn *x, const struct op_msg *op)
{
	struct rec_rcpt rc;
	struct dq_entry e;
	struct sdest *d;
	uint64_t dest_id;
	int r;

	if (op->index.len == 0)
		return 0;
	r = stx_del(x, op->index_db, &op->index);
	if (r < 0 || op->index_db != DB_DQ)
		return r;
	r = key_dq_parse(op->index.b, op->index.len, &dest_id, &e);
	if (r == 0)
		r = stx_dest(x, dest_id, &d);
	if (r < 0)
		return x->hard;
	d->recalc = true;
	if (stx_rcpt(x, e.mid, e.rid, &rc) == PE_CORRUPT && d->r.queued > 0) {
		d->r.queued--; /* nobody else can tell where it belonged */
		d->dirty = true;
	}
	return x->hard;
}

/* A key that belongs to nothing: it is kept as it was. */
static int
set_aside_key(struct stxn *x, const struct op_msg *op)
{
	static const char tags[DB_COUNT][5] = {
		[DB_DQ] = "dq  ",
		[DB_SCHED] = "shed",
		[DB_EXP] = "exp ",
		[DB_NOTICE] = "note",
	};

	if (op->index.len + 4 > KEY_MAX)
		return stx_del(x, op->index_db, &op->index);
	return stx_move_to_bad(x, op->index_db, tags[op->index_db], &op->index);
}

/* Can the message itself be used? */
static bool
is_whole(struct stxn *x, uint64_t mid, struct rec_msg *ret)
{
	struct key k;
	MDB_val v;

	if (stx_msg(x, mid, ret) < 0)
		return false;
	key_u64(&k, mid);
	return ret->body == REC_BODY_FILE || stx_get(x, DB_BODY, &k, &v) == 0;
}

static int
set_aside_rcpt(struct stxn *x, struct op_msg *op, uint32_t rid, bool keep_good,
    struct rec_msg *m)
{
	struct rec_rcpt rc;
	struct key k;
	bool queued = true;
	int r;

	r = stx_rcpt(x, op->mid, rid, &rc);
	if (r == 0 && keep_good)
		return 0;
	if (r == 0) {
		queued = rc.state == RCPT_QUEUED;
		if (queued)
			/* what cannot be done is hard, or does not matter */
			(void)unqueue(x, op->mid, rid, &rc, true);
	}
	if (x->hard != 0)
		return x->hard;
	if (queued) { /* what cannot be read counts as waiting */
		if (x->c.queued > 0)
			x->c.queued--;
		x->c.removed++;
		x->counters_dirty = true;
		op->ret_changed++;
		if (m->n_live > 0)
			m->n_live--;
	}
	if (m->n_left > 0)
		m->n_left--;
	key_rcpt(&k, op->mid, rid);
	return stx_move_to_bad(x, DB_RCPT, "rcpt", &k);
}

static int
msg_remove(struct stxn *x, struct op_msg *op, struct rec_msg *m)
{
	struct rec_rcpt rc;
	uint32_t *rids, n, i, n_left = m->n_left;
	bool gone;
	int r;

	r = list_rids(x, op->mid, &rids, &n);
	for (i = 0; i < n && r == 0; i++) {
		r = stx_rcpt(x, op->mid, rids[i], &rc);
		if (r == PE_CORRUPT && x->hard == 0) {
			/* what cannot be read must go too when it is told to */
			r = set_aside_rcpt(x, op, rids[i], false, m);
			continue;
		}
		if (r < 0)
			return r;
		if (rc.state == RCPT_QUEUED) {
			r = unqueue(x, op->mid, rids[i], &rc, true);
			x->c.queued--;
			x->c.removed++;
			op->ret_changed++;
			if (op->ret_n < n_left)
				op->ret_rids[op->ret_n++] = rids[i];
		}
		if (r == 0)
			r = del_rcpt(x, op->mid, rids[i]);
	}
	x->counters_dirty = true;
	m->n_left = m->n_live = 0;
	return r < 0 ? r : ops_msg_settle(x, op->mid, m, &gone);
}

static int
set_aside(struct stxn *x, struct op_msg *op)
{
	struct rec_msg m;
	struct key k;
	uint32_t *rids, n, i;
	bool good, gone;
	int r;

	r = drop_index(x, op);
	if (r < 0)
		return r;
	memset(&m, 0, sizeof(m));
	r = list_rids(x, op->mid, &rids, &n);
	/* a message that has lost all its recipients goes as a whole */
	good = is_whole(x, op->mid, &m) && !op->whole && n > 0;
	if (x->hard != 0)
		return x->hard;
	for (i = 0; i < n && r == 0; i++)
		r = set_aside_rcpt(x, op, rids[i], good, &m);
	if (r < 0 || (good && op->ret_changed == 0))
		return r;
	if (good)
		return ops_msg_settle(x, op->mid, &m, &gone);
	if (stx_msg(x, op->mid, &m) == 0) {
		r = ops_msg_expiry(x, op->mid, &m, 0);
		if (r == 0)
			r = ops_msg_notice(x, op->mid, &m, 0);
	}
	key_u64(&k, op->mid);
	if (r == 0)
		r = stx_move_to_bad(x, DB_BODY, "body", &k);
	return r < 0 ? r : stx_move_to_bad(x, DB_MSG, "msg ", &k);
}

int
op_msg_run(struct stxn *x, struct job *job)
{
	struct op_msg *op = (struct op_msg *)job;
	struct rec_msg m;
	int r;

	op->ret_changed = op->ret_n = 0;
	op->ret_rids = NULL;
	op->ret_due = NULL;
	if (op->what == OP_MSG_SET_ASIDE) {
		r = op->mid == 0 ? set_aside_key(x, op) : set_aside(x, op);
		if (r < 0 && x->hard == 0)
			x->hard = r;
		return r;
	}
	r = stx_msg(x, op->mid, &m);
	if (r == PE_CORRUPT && x->hard == 0 && op->what == OP_MSG_REMOVE) {
		r = set_aside(x, op);
		if (r < 0 && x->hard == 0)
			x->hard = r;
		return r;
	}
	if (r < 0)
		return r;
	op->ret_rids =
	    arena_alloc(&op->arena, m.n_left * sizeof(*op->ret_rids));
	if (op->ret_rids == NULL)
		return -ENOMEM;
	if (op->what == OP_MSG_REMOVE)
		r = msg_remove(x, op, &m);
	else if (op->what == OP_MSG_HOLD)
		r = hold(x, op, &m);
	else if (op->what == OP_MSG_TIMES)
		r = set_times(x, op, &m);
	else
		r = unhold(x, op, &m);
	if (r < 0 && x->hard == 0)
		x->hard = r;
	return r;
}

/* Is there room for a message? Nothing of it stays. */
static int
probe_room(struct stxn *x)
{
	static const uint8_t room[PROBE_BYTES]; /* all zero */
	struct key k;
	int r;

	memcpy(k.b, "probe", 5);
	k.len = 5;
	r = stx_put(x, DB_META, &k, room, sizeof(room));
	return r < 0 ? r : stx_del(x, DB_META, &k);
}

int
op_ids_run(struct stxn *x, struct job *job)
{
	struct op_ids *op = (struct op_ids *)job;

	if (op->kind >= 3)
		return -EINVAL;
	if (op->count == 0)
		return probe_room(x);
	/* from this commit on nobody else gets these */
	op->ret_first = x->next_id[op->kind];
	x->next_id[op->kind] += op->count;
	x->ids_dirty = true;
	return 0;
}
