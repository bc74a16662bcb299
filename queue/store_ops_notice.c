/*
 * store_ops_notice.c - a notice goes in and the recipients it tells of go out,
 * in one transaction: nobody is told twice, nobody is forgotten.
 */
#include "queue/store_ops.h"

#include "lib/base/err.h"

#include <errno.h>

/* Are they all still as they were when the notice was written? */
static int
check(struct stxn *x, const struct op_notice *op, bool *ret_same)
{
	struct rec_rcpt rc;
	uint32_t i;
	int r;

	*ret_same = false;
	for (i = 0; i < op->n; i++) {
		r = stx_rcpt(x, op->mid, op->told[i].rid, &rc);
		if (r < 0)
			return r == PE_NOT_FOUND ? 0 : r;
		if (op->told[i].delayed
			? rc.state != RCPT_QUEUED || !rc.delay_pending
			: rc.state == RCPT_QUEUED)
			return 0;
	}
	*ret_same = true;
	return 0;
}

static int
told_one(struct stxn *x, struct op_notice *op, const struct op_noticed *t,
    struct rec_msg *m)
{
	struct rec_rcpt rc;
	struct key k;
	int r;

	if (!t->delayed) {
		m->n_left--;
		key_rcpt(&k, op->mid, t->rid);
		return stx_del(x, DB_RCPT, &k);
	}
	r = stx_rcpt(x, op->mid, t->rid, &rc);
	if (r < 0)
		return r;
	rc.delay_pending = false;
	if (rc.delays < UINT8_MAX)
		rc.delays++;
	return stx_rcpt_put(x, op->mid, t->rid, &rc);
}

/* Did others end meanwhile, or did not all fit? */
static int
any_left(struct stxn *x, uint64_t mid, bool *ret)
{
	struct rec_rcpt rc;
	struct siter it;
	struct key k;
	uint64_t m;
	uint32_t rid;
	int r;

	*ret = false;
	key_rcpt(&k, mid, 0);
	r = siter_first(&it, x->txn, x->st, DB_RCPT, &k);
	for (; r == 0 && !*ret; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &m, &rid) < 0 ||
		    m != mid)
			break;
		*ret = rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc) == 0 &&
		    (rc.state != RCPT_QUEUED || rc.delay_pending);
	}
	siter_end(&it);
	return r == PE_NOT_FOUND ? 0 : r;
}

int
op_notice_run(struct stxn *x, struct job *job)
{
	struct op_notice *op = (struct op_notice *)job;
	struct rec_msg m;
	bool same, more;
	uint32_t i;
	int r;

	op->ret_stale = op->ret_finished = false;
	r = check(x, op, &same);
	if (r == 0 && same)
		r = stx_msg(x, op->mid, &m);
	if (r < 0)
		return r;
	if (!same) {
		op->ret_stale = true;
		return 0;
	}
	if (op->dsn != NULL) {
		r = op_accept_run(x, &op->dsn->job);
		x->c.notices++;
	}
	for (i = 0; i < op->n && r == 0; i++)
		r = told_one(x, op, &op->told[i], &m);
	if (r == 0)
		r = any_left(x, op->mid, &more);
	if (r == 0)
		r = ops_msg_notice(
		    x, op->mid, &m, more ? x->now_s + NOTICE_COLLECT_S : 0);
	if (r == 0)
		r = ops_msg_settle(x, op->mid, &m, &op->ret_finished);
	if (r < 0 && x->hard == 0)
		x->hard = r;
	return r;
}
