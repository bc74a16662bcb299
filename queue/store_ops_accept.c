/*
 * store_ops_accept.c - a message comes in.
 *
 * From the commit on it is ours: the client's 250 follows it. A crash before
 * leaves at most a body file without a record, which the sweep deletes.
 */
#include "queue/store_ops.h"

#include "queue/body.h"

#include "lib/base/err.h"
#include "lib/proto/submit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void
op_accept_begin(struct job *job)
{
	struct op_accept *op = (struct op_accept *)job;

	/* Only a hint: with the data of all files on its way, and their blocks
	 * allocated, the first fdatasync() commits the metadata of all and the
	 * others find little to do. Twenty files of 64 KB: 5 ms, not 60. */
	if (op->body_fd >= 0)
		(void)sync_file_range(op->body_fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int
op_accept_prepare(struct writer *w, struct job *job)
{
	struct op_accept *op = (struct op_accept *)job;
	struct store *st = writer_store(w);
	int r;

	if (op->body_fd < 0)
		return 0;
	r = store_point(st, POINT_BODY_SYNC);
	if (r == 0 && fdatasync(op->body_fd) < 0)
		r = -errno;
	st->syncs++;
	if (close(op->body_fd) < 0 && r == 0)
		r = -errno;
	op->body_fd = -1;
	if (r == 0)
		writer_sync_dir(w, body_dir_of(op->mid));
	return r;
}

static int
put_rcpt(struct stxn *x, const struct op_accept *op, struct op_rcpt *rc)
{
	struct rec_rcpt rec;
	struct dq_entry due = { op->due_s, op->mid, rc->rid };
	struct sdest *d;
	int r;

	r = stx_dest_named(
	    x, rc->domain, op->msg.gateway, msg_class(op->msg.flags), &d);
	if (r < 0)
		return r;
	/* what will wait is not put among what is gone in a moment */
	if (rc == op->rcpts && op->n_rcpts <= YOUNG_RCPTS &&
	    d->r.retries == 0 && !d->r.suspended)
		x->fresh_mid = op->mid;
	memset(&rec, 0, sizeof(rec));
	rec.dest_id = d->id;
	rec.due_s = op->due_s;
	rec.expires_s = rc->expires_s;
	rec.notify = rc->notify;
	rec.status = rec.reply = rec.host = "";
	rec.address = rc->address;
	rec.domain = rc->domain;
	rec.orcpt = rc->orcpt;
	r = stx_rcpt_put(x, op->mid, rc->rid, &rec);
	if (r == 0)
		r = stx_due_add(x, d, &due);
	rc->ret_others = d->r.queued > 0;
	d->r.queued++;
	d->r.used_s = x->now_s;
	d->dirty = true;
	rc->ret_dest_id = d->id;
	rc->ret_until_s = d->r.until_s;
	rc->ret_retries = d->r.retries;
	rc->ret_suspended = d->r.suspended;
	return r;
}

int
op_accept_run(struct stxn *x, struct job *job)
{
	struct op_accept *op = (struct op_accept *)job;
	struct rec_msg *m = &op->msg;
	struct key k;
	MDB_val v;
	uint32_t i;
	int r;

	key_u64(&k, op->mid);
	r = stx_get(x, DB_MSG, &k, &v);
	if (r != PE_NOT_FOUND)
		return r < 0 ? r : -EEXIST;
	m->n_total = m->n_left = m->n_live = op->n_rcpts;
	m->held = false;
	m->notice_s = 0;
	m->exp_s = INT64_MAX;
	m->body = op->body == NULL && op->body_len > 0 ? REC_BODY_FILE
						       : REC_BODY_INLINE;
	r = 0;
	for (i = 0; i < op->n_rcpts && r == 0; i++) {
		if (op->rcpts[i].expires_s < m->exp_s)
			m->exp_s = op->rcpts[i].expires_s;
		r = put_rcpt(x, op, &op->rcpts[i]);
	}
	if (r == 0)
		r = stx_msg_put(x, op->mid, m);
	if (r == 0 && m->body == REC_BODY_INLINE)
		r = stx_put(x, DB_BODY, &k, op->body, op->body_len);
	if (r == 0) {
		key_time(&k, m->exp_s, op->mid);
		r = stx_put(x, DB_EXP, &k, NULL, 0);
	}
	x->fresh_mid = 0;
	/* too late to leave nothing behind: the whole transaction goes */
	if (r < 0 && x->hard == 0)
		x->hard = r;
	if ((m->flags & MSG_GENERATED) != 0)
		x->c.generated += op->n_rcpts;
	else
		x->c.accepted += op->n_rcpts;
	x->c.queued += op->n_rcpts;
	x->counters_dirty = true;
	return r;
}
