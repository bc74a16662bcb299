/*
 * peer_admin_act.c - what an operator may do to the queue. Each change is
 * committed before it is answered.
 */
#include "queue/peer_admin.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAKES_AT_ONCE = 256, WAKE_IDS = 1024 };

static int
busy(struct qadmin *a, uint64_t req_id)
{
	return adm_refuse(&a->peer, req_id, 503, "too many calls at one time");
}

/* ---- one message --------------------------------------------------------------------- */

struct msg_act {
	struct qact act;
	struct op_msg op;
};

static struct msg_act *
msg_of(struct job *job)
{
	return (struct msg_act *)(void *)((char *)job -
	    offsetof(struct msg_act, op));
}

static void
log_message(const struct op_msg *op)
{
	struct log_fields f = { .mid = op->mid };
	uint32_t i;

	switch (op->what) {
	case OP_MSG_REMOVE:
		f.outcome = "deleted";
		f.reason = reason_word(REASON_REMOVED);
		f.has_rid = true;
		for (i = 0; i < op->ret_n; i++) {
			f.rid = op->ret_rids[i];
			log_event(LOG_INFO, "deleted", &f,
			    "Deleted: MID %" PRIu64 " to [%" PRIu32 "]",
			    op->mid, op->ret_rids[i]);
		}
		break;
	case OP_MSG_HOLD:
		log_event(LOG_INFO, "held", &f,
		    "MID %" PRIu64 " held by an operator", op->mid);
		break;
	default:
		log_event(LOG_INFO, "released", &f,
		    "MID %" PRIu64 " released by an operator", op->mid);
		break;
	}
}

static void
msg_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct msg_act *ma = msg_of(job);
	struct qdest *d;
	uint32_t i;
	int r = job->result;

	if (r == PE_NOT_FOUND)
		admin_act_refuse(&ma->act, 404, "no such message in the queue");
	else if (r < 0) {
		(void)queue_store_failed(q, r);
		admin_act_refuse(&ma->act, 503, err_str(r));
	} else {
		log_message(&ma->op);
		for (i = 0;
		     ma->op.what == OP_MSG_UNHOLD && i < ma->op.ret_changed;
		     i++) {
			d = qdest_find(q, ma->op.ret_due[i].dest_id);
			if (d != NULL) {
				qdest_due(q, d, &ma->op.ret_due[i].e);
				queue_poke(q, d);
			} else {
				q->sched_rescan = true;
			}
		}
		if (q->sched_rescan)
			queue_sched(q);
		admin_act_changed(&ma->act, ma->op.ret_changed);
	}
	admin_act_end(&ma->act);
	arena_done(&ma->op.arena);
	free(ma);
}

static const struct job_type msg_job = {
	.name = "message",
	.run = op_msg_run,
	.done = msg_done,
};

int
admin_message(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	struct msg_act *ma;

	ma = (struct msg_act *)(void *)admin_act_new(a, req_id, sizeof(*ma));
	if (ma == NULL)
		return busy(a, req_id);
	ma->op.job.type = &msg_job;
	ma->op.mid = m->num;
	ma->op.what = m->op == ADM_REMOVEMESSAGE ? OP_MSG_REMOVE
	    : m->op == ADM_HOLD			 ? OP_MSG_HOLD
						 : OP_MSG_UNHOLD;
	writer_put(a->q->writer, &ma->op.job);
	return 0;
}

/* ---- deliver now -------------------------------------------------------------------------- */

/* Over the destinations of a domain, or all, some at a time. */
struct wake_act {
	struct qact act;
	char *domain; /* NULL: all */
	uint64_t ids[WAKE_IDS];
	size_t n_ids, at;
	uint64_t next_id; /* all: where the next ids are read from */
	bool read_all;
	uint32_t running;
	uint64_t changed;
};

struct wake_job {
	struct op_dest op;
	struct wake_act *wa;
};

static void wake_more(struct wake_act *wa);

static void
wake_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct wake_job *wj = (struct wake_job *)job;
	struct wake_act *wa = wj->wa;
	struct qdest *d;

	if (job->result == 0 && wj->op.ret_more) {
		writer_put(q->writer, job);
		return;
	}
	if (job->result < 0)
		(void)queue_store_failed(q, job->result);
	d = qdest_find(q, wj->op.dest_id);
	if (job->result == 0 && d != NULL) {
		d->retries = 0;
		d->until_s = 0;
		d->rescan = true;
		queue_poke(q, d);
	} else if (job->result == 0) {
		q->sched_rescan = true;
	}
	arena_done(&wj->op.arena);
	free(wj);
	wa->running--;
	wake_more(wa);
}

static const struct job_type wake_job = {
	.name = "wake",
	.run = op_dest_run,
	.done = wake_done,
};

/* The next ids with anything waiting. */
static void
wake_read(struct wake_act *wa)
{
	size_t len = wa->domain == NULL ? 0 : strlen(wa->domain) + 1;
	struct rec_dest rec;
	struct siter it;
	struct sview v;
	struct key k;
	uint64_t id = 0;
	int r;

	wa->n_ids = wa->at = 0;
	if (store_read_begin(wa->act.q->store, &v) < 0) {
		wa->read_all = true;
		return;
	}
	if (wa->domain == NULL)
		key_u64(&k, wa->next_id);
	else
		(void)key_dname(&k, wa->domain, "", 0);
	r = siter_first(
	    &it, v.txn, v.st, wa->domain == NULL ? DB_DEST : DB_DNAME, &k);
	for (; r == 0 && wa->n_ids < WAKE_IDS; r = siter_next(&it)) {
		if (wa->domain == NULL) {
			r = key_u64_parse(it.k.mv_data, it.k.mv_size, &id);
		} else if (it.k.mv_size < len ||
		    memcmp(it.k.mv_data, wa->domain, len) != 0) {
			r = PE_NOT_FOUND;
		} else {
			r = key_u64_parse(it.v.mv_data, it.v.mv_size, &id);
		}
		if (r < 0)
			break;
		if (sview_dest(&v, id, &rec) < 0 || rec.queued == 0)
			continue;
		wa->changed += rec.queued;
		wa->ids[wa->n_ids++] = id;
	}
	siter_end(&it);
	store_read_end(&v);
	wa->read_all = r != 0 || wa->domain != NULL;
	wa->next_id = id + 1;
}

static bool
wake_start(struct wake_act *wa, uint64_t id)
{
	struct wake_job *wj = calloc(1, sizeof(*wj));

	if (wj == NULL)
		return false;
	wj->wa = wa;
	wj->op.job.type = &wake_job;
	wj->op.what = OP_DEST_WAKE;
	wj->op.dest_id = id;
	wj->op.status = wj->op.text = wj->op.host = "";
	wa->running++;
	writer_put(wa->act.q->writer, &wj->op.job);
	return true;
}

static void
wake_more(struct wake_act *wa)
{
	/* at the end of the process the rest is not begun any more */
	if (wa->act.q->closing) {
		wa->at = wa->n_ids;
		wa->read_all = true;
	}
	while (wa->running < WAKES_AT_ONCE) {
		if (wa->at == wa->n_ids && !wa->read_all)
			wake_read(wa);
		if (wa->at == wa->n_ids)
			break;
		if (!wake_start(wa, wa->ids[wa->at++]))
			break;
	}
	if (wa->running > 0)
		return;
	if (!wa->act.q->closing)
		queue_sched(wa->act.q);
	admin_act_changed(&wa->act, wa->changed);
	admin_act_end(&wa->act);
	free(wa->domain);
	free(wa);
}

int
admin_delivernow(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	struct wake_act *wa;

	wa = (struct wake_act *)(void *)admin_act_new(a, req_id, sizeof(*wa));
	if (wa == NULL)
		return busy(a, req_id);
	if (m->args[0][0] != '\0') {
		wa->domain = strdup(m->args[0]);
		if (wa->domain == NULL ||
		    strlen(wa->domain) > TEXT_DOMAIN_MAX) {
			admin_act_refuse(&wa->act, 400, "no such domain");
			free(wa->domain);
			free(wa);
			return 0;
		}
	}
	log_event(LOG_INFO, "deliver_now",
	    &(struct log_fields){ .domain = m->args[0] },
	    "Deliver now: %s, by an operator",
	    m->args[0][0] == '\0' ? "everything" : LOG_Q(m->args[0]));
	wake_more(wa);
	return 0;
}

/* ---- suspend and resume ------------------------------------------------------------------- */

struct susp_act {
	struct qact act;
	struct op_suspend op;
};

static void
close_holds(struct qdest *d)
{
	struct hand_dest m = { d->id };
	struct qhold *h;

	LIST_FOREACH(h, &d->holds, dest_link) {
		if (h->closing || !ipc_chan_is_up(h->worker->chan))
			continue;
		h->closing = true;
		hand_dest_encode(
		    ipc_send_begin(h->worker->chan, HAND_CLOSE, 0), &m);
		(void)ipc_send_end(h->worker->chan, -1); /* or it is gone */
	}
}

static void
apply_all(struct queue *q, bool suspend)
{
	struct qdest *d, *next;
	size_t i;

	q->all_suspended = suspend;
	for (i = 0; i < q->dests_cap; i++)
		for (d = q->dests[i]; d != NULL; d = next) {
			next = d->hash_next;
			if (suspend)
				close_holds(d);
			queue_poke(q, d);
		}
}

static void
apply_some(struct queue *q, const struct op_suspend *op)
{
	struct qdest *d;
	uint32_t i;

	for (i = 0; i < op->ret_n; i++) {
		d = qdest_find(q, op->ret_ids[i]);
		if (d == NULL)
			continue;
		d->suspended = op->suspend;
		if (op->suspend)
			close_holds(d);
		queue_poke(q, d);
	}
}

static void
susp_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct susp_act *sa = (struct susp_act *)(void *)((char *)job -
	    offsetof(struct susp_act, op));
	const struct op_suspend *op = &sa->op;
	int r = job->result;

	if (r == PE_FULL && q->store_error == 0)
		admin_act_refuse(
		    &sa->act, 409, "10000 domains are suspended: no more");
	else if (r < 0) {
		(void)queue_store_failed(q, r);
		admin_act_refuse(&sa->act, 503, err_str(r));
	} else {
		log_event(LOG_INFO, op->suspend ? "suspended" : "resumed",
		    &(struct log_fields){ .domain = op->domain },
		    "Delivery %s: %s, by an operator",
		    op->suspend ? "suspended" : "resumed",
		    op->domain[0] == '\0' ? "everything" : LOG_Q(op->domain));
		if (op->domain[0] == '\0')
			apply_all(q, op->suspend);
		else
			apply_some(q, op);
		if (!op->suspend && !q->closing) {
			q->sched_rescan = true;
			queue_sched(q);
		}
		admin_act_changed(
		    &sa->act, op->ret_changed == 0 ? 1 : op->ret_changed);
	}
	admin_act_end(&sa->act);
	arena_done(&sa->op.arena);
	free(sa);
}

static const struct job_type susp_job = {
	.name = "suspend",
	.run = op_suspend_run,
	.done = susp_done,
};

int
admin_suspend(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	struct susp_act *sa;

	if (strlen(m->args[0]) > TEXT_DOMAIN_MAX)
		return adm_refuse(&a->peer, req_id, 400, "no such domain");
	sa = (struct susp_act *)(void *)admin_act_new(a, req_id, sizeof(*sa));
	if (sa == NULL)
		return busy(a, req_id);
	sa->op.job.type = &susp_job;
	sa->op.suspend = m->op == ADM_SUSPENDDEL;
	sa->op.domain = arena_strdup(&sa->op.arena, m->args[0]);
	if (sa->op.domain == NULL) {
		admin_act_refuse(&sa->act, 503, err_str(-ENOMEM));
		free(sa);
		return 0;
	}
	writer_put(a->q->writer, &sa->op.job);
	return 0;
}
