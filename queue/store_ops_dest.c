/*
 * store_ops_dest.c - destinations as a whole: down, up, suspended, forgotten.
 * The cost of each is per destination, whatever waits there.
 */
#include "queue/store_ops.h"

#include "lib/base/err.h"
#include "lib/proto/submit.h"

#include <errno.h>
#include <string.h>

/* ---- repair ---------------------------------------------------------------------- */

/* Name of the destination, from the first recipient that waits there. */
static int
name_from_dq(struct stxn *x, uint64_t id, struct rec_rcpt *rc,
    struct rec_msg *m, uint32_t *ret_queued)
{
	struct dq_entry e;
	struct siter it;
	struct key k;
	uint64_t at;
	int r;

	r = stx_due_first(x, id, &e);
	if (r == 0)
		r = stx_rcpt(x, e.mid, e.rid, rc);
	if (r == 0)
		r = stx_msg(x, e.mid, m);
	if (r < 0)
		return r;
	*ret_queued = 0;
	key_dq(&k, id, &e);
	r = siter_first(&it, x->txn, x->st, DB_DQ, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_dq_parse(it.k.mv_data, it.k.mv_size, &at, &e) < 0)
			continue;
		if (at != id)
			break;
		(*ret_queued)++;
	}
	siter_end(&it);
	return 0;
}

/* The record is missing or unreadable: keep what it was, make a new one. */
static int
remake(struct stxn *x, uint64_t id, struct sdest **ret)
{
	struct rec_rcpt rc;
	struct rec_msg m;
	struct key k;
	uint32_t queued = 0;
	int r;

	key_u64(&k, id);
	(void)stx_move_to_bad(x, DB_DEST, "dest", &k);
	if (x->hard != 0)
		return x->hard;
	r = name_from_dq(x, id, &rc, &m, &queued);
	if (r < 0)
		return r;
	r = stx_dest_remake(
	    x, id, rc.domain, m.gateway, msg_class(m.flags), ret);
	if (r == 0)
		(*ret)->r.queued = queued;
	return r;
}

/* An entry of sched for a destination that does not exist. */
static int
drop_sched(struct stxn *x, uint64_t id, int64_t time_s)
{
	struct key k;

	key_time(&k, time_s, id);
	return stx_del(x, DB_SCHED, &k);
}

/* ---- down and up -------------------------------------------------------------------- */

static int
down(struct stxn *x, struct op_dest *op, struct sdest *d)
{
	int r;

	if (d->r.retries++ == 0)
		d->r.since_s = x->now_s;
	d->r.until_s = op->until_s;
	d->r.reason = op->reason;
	d->r.status = arena_strdup(&x->arena, op->status);
	d->r.text = arena_strdup(&x->arena, op->text);
	d->r.host = arena_strdup(&x->arena, op->host);
	if (d->r.status == NULL || d->r.text == NULL || d->r.host == NULL)
		return x->hard = -ENOMEM;
	d->dirty = d->recalc = true;
	/* what recalc keeps for a destination at work must not stay now */
	r = d->r.sched_s == 0 ? 0 : stx_dest_sched(x, d, op->until_s);
	/* some more with each attempt; nothing depends on it but speed */
	return r < 0 ? r : stx_age_dest(x, d->id, OP_AGE_MAX);
}

static int
throttle(struct stxn *x, struct op_dest *op, struct sdest *d)
{
	if (d->r.retries > 0)
		return 0; /* its own clock runs */
	d->r.until_s = op->until_s;
	d->r.reason = op->reason;
	d->r.text = arena_strdup(&x->arena, op->text);
	if (d->r.text == NULL)
		return x->hard = -ENOMEM;
	d->dirty = d->recalc = true;
	/* as in down() */
	return d->r.sched_s == 0 ? 0 : stx_dest_sched(x, d, op->until_s);
}

static void
up(struct sdest *d)
{
	d->r.retries = 0;
	d->r.until_s = d->r.since_s = 0;
	d->r.reason = REASON_NONE;
	d->r.status = d->r.text = d->r.host = "";
	d->dirty = d->recalc = true;
}

static int
make_due(struct stxn *x, struct sdest *d, const struct dq_entry *e)
{
	struct dq_entry now = { x->now_s, e->mid, e->rid };
	struct rec_rcpt rc;
	int r;

	r = stx_due_del(x, d, e);
	if (r == 0)
		r = stx_rcpt(x, e->mid, e->rid, &rc);
	if (r == PE_NOT_FOUND || (r == PE_CORRUPT && x->hard == 0))
		return 0; /* an index entry without a record: gone now */
	if (r < 0 || rc.state != RCPT_QUEUED)
		return r;
	rc.due_s = x->now_s;
	r = stx_rcpt_put(x, e->mid, e->rid, &rc);
	return r < 0 ? r : stx_due_add(x, d, &now);
}

static int
wake(struct stxn *x, struct op_dest *op, struct sdest *d)
{
	struct dq_entry from = { x->now_s + 1, 0, 0 }, e;
	int r = 0;

	up(d);
	while (op->ret_changed < OP_WAKE_MAX) {
		r = stx_due_from(x, d->id, &from, &e);
		if (r == 0)
			r = make_due(x, d, &e);
		if (r < 0)
			break;
		op->ret_changed++;
	}
	op->ret_more = op->ret_changed == OP_WAKE_MAX;
	return r == PE_NOT_FOUND ? 0 : r;
}

int
op_dest_run(struct stxn *x, struct job *job)
{
	struct op_dest *op = (struct op_dest *)job;
	struct sdest *d;
	int r;

	op->ret_retries = op->ret_changed = 0;
	op->ret_more = false;
	r = stx_dest(x, op->dest_id, &d);
	if (r < 0 && x->hard == 0 && op->what == OP_DEST_RECHECK) {
		r = remake(x, op->dest_id, &d);
		if (r == PE_NOT_FOUND || (r == PE_CORRUPT && x->hard == 0))
			return drop_sched(x, op->dest_id, op->until_s);
	}
	if (r < 0)
		return r;
	switch (op->what) {
	case OP_DEST_DOWN:
		r = down(x, op, d);
		break;
	case OP_DEST_THROTTLE:
		r = throttle(x, op, d);
		break;
	case OP_DEST_UP:
		up(d);
		break;
	case OP_DEST_WAKE:
		r = wake(x, op, d);
		break;
	case OP_DEST_RECHECK:
		/* the entry that brought us here may be a stray one */
		if (op->until_s != 0 && op->until_s != d->r.sched_s)
			r = drop_sched(x, op->dest_id, op->until_s);
		if (r == 0)
			r = stx_dest_sched(x, d, 0);
		d->recalc = true;
		break;
	}
	op->ret_retries = d->r.retries;
	if (r < 0 && x->hard == 0)
		x->hard = r;
	return r;
}

/* ---- suspended ------------------------------------------------------------------------ */

static int
suspend_mark(struct stxn *x, const struct op_suspend *op)
{
	struct key k;
	MDB_val v;
	bool was;
	int r;

	r = key_dname(&k, op->domain, "", 0);
	if (r < 0)
		return r;
	r = stx_get(x, DB_SUSP, &k, &v);
	if (r < 0 && r != PE_NOT_FOUND)
		return r;
	was = r == 0;
	if (op->suspend && !was) {
		if (x->n_suspended >= SUSPENDED_MAX)
			return PE_FULL;
		x->n_suspended++;
		return stx_put(x, DB_SUSP, &k, NULL, 0);
	}
	if (!op->suspend && was) {
		x->n_suspended--;
		return stx_del(x, DB_SUSP, &k);
	}
	return 0;
}

int
op_suspend_run(struct stxn *x, struct job *job)
{
	struct op_suspend *op = (struct op_suspend *)job;
	size_t len = strlen(op->domain) + 1; /* with the NUL */
	struct sdest *d;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t i;
	int r;

	op->ret_changed = op->ret_n = 0;
	op->ret_ids =
	    arena_alloc(&op->arena, OP_SUSPEND_MAX * sizeof(*op->ret_ids));
	if (op->ret_ids == NULL)
		return -ENOMEM;
	r = suspend_mark(x, op);
	if (r < 0)
		return r;
	(void)key_dname(&k, op->domain, "", 0);
	r = siter_first(&it, x->txn, x->st, DB_DNAME, &k);
	for (; r == 0 && op->ret_n < OP_SUSPEND_MAX; r = siter_next(&it)) {
		if (it.k.mv_size < len ||
		    memcmp(it.k.mv_data, op->domain, len) != 0)
			break;
		if (key_u64_parse(it.v.mv_data, it.v.mv_size, &id) == 0)
			op->ret_ids[op->ret_n++] = id;
	}
	siter_end(&it);
	for (i = 0; i < op->ret_n; i++) {
		r = stx_dest(x, op->ret_ids[i], &d);
		if (x->hard != 0)
			return x->hard;
		if (r < 0 || d->r.suspended == op->suspend)
			continue;
		d->r.suspended = op->suspend;
		d->dirty = d->recalc = true;
		op->ret_changed++;
		if (op->suspend && stx_dest_sched(x, d, 0) < 0)
			return x->hard;
	}
	return 0;
}

/* ---- forgotten -------------------------------------------------------------------------- */

int
op_forget_run(struct stxn *x, struct job *job)
{
	struct op_forget *op = (struct op_forget *)job;
	struct rec_dest rec;
	struct dq_entry e;
	struct sdest *d;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t seen = 0, i, n = 0;
	int r;

	op->ret_n = 0;
	op->ret_next = 0;
	key_u64(&k, op->from);
	r = siter_first(&it, x->txn, x->st, DB_DEST, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_u64_parse(it.k.mv_data, it.k.mv_size, &id) < 0)
			continue;
		if (seen++ == OP_FORGET_MAX) {
			op->ret_next = id;
			break;
		}
		if (rec_dest_decode(it.v.mv_data, it.v.mv_size, &rec) == 0 &&
		    rec.queued == 0 && !rec.suspended &&
		    (rec.used_s < op->before_s ||
			rec.used_s > x->now_s + 86400) && /* of another clock */
		    rec.until_s <= x->now_s)
			op->ret_ids[n++] = id;
	}
	siter_end(&it);
	for (i = 0; i < n; i++) {
		r = stx_dest(x, op->ret_ids[i], &d);
		if (r == 0 && d->r.queued == 0 && !d->r.suspended &&
		    stx_due_first(x, d->id, &e) == PE_NOT_FOUND) {
			r = stx_dest_forget(x, d);
			if (r == 0)
				op->ret_ids[op->ret_n++] = d->id;
		}
		if (x->hard != 0)
			return x->hard;
	}
	return 0;
}
