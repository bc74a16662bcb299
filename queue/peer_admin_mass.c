/*
 * peer_admin_mass.c - deleterecipients and bouncerecipients: the end of many
 * recipients by an operator's hand.
 *
 * One walk over the recipients, a bounded part of it in a turn of the loop, at
 * most one batch with the writer. A recipient that is in flight (a worker has
 * it, or its result is being written) is left alone and counted; so is what
 * came in after the call began, but uncounted. The walk goes on when its asker
 * is gone, and ends when the node drains: each batch is whole by itself.
 */
#include "queue/peer_admin.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BOUNCE_STATUS "5.0.0"
#define BOUNCE_TEXT   "Returned from the queue by an administrator"

struct mass {
	struct qact act;
	enum { MASS_ALL, MASS_FROM, MASS_HOST } what;
	char *value; /* sender or domain */
	bool bounce, dry_run;
	int64_t begun_ms;
	uint64_t mid; /* where the walk goes on */
	uint32_t rid;
	uint64_t counted; /* the last message that is in n_messages */
	uint64_t n_recipients, n_messages, n_in_flight, n_changed;
	uv_timer_t timer;
};

static void on_turn(uv_timer_t *timer);

static void
mass_free(uv_handle_t *handle)
{
	struct mass *ms = handle->data;

	free(ms->value);
	free(ms);
}

static void
log_mass(const struct mass *ms, const char *how)
{
	static const char *const whats[] = { "all", "from", "host" };

	log_event(LOG_INFO, "recipients_ended", &(struct log_fields){ 0 },
	    "%s of recipients (%s%s%s) by an operator %s: %" PRIu64
	    " of %" PRIu64 " messages, %" PRIu64 " in flight left alone",
	    ms->bounce ? "Bounce" : "Removal", whats[ms->what],
	    ms->what == MASS_ALL ? "" : " ", LOG_Q(ms->value), how,
	    ms->n_changed, ms->n_messages, ms->n_in_flight);
}

/* The answer, and the end. */
static void
mass_end(struct mass *ms, int r)
{
	struct qadmin *a = ms->act.admin;
	struct buf doc;
	struct json j;

	if (!ms->dry_run)
		log_mass(ms, r == 0 ? "done" : "broken off");
	if (a != NULL && r == 0) {
		buf_init(&doc, 1024);
		json_init(&j, &doc);
		json_put_obj(&j, NULL);
		json_put_uint(&j, "changed", ms->n_changed);
		json_put_uint(&j, "recipients", ms->n_recipients);
		json_put_uint(&j, "messages", ms->n_messages);
		json_put_uint(&j, "in_flight", ms->n_in_flight);
		json_put_bool(&j, "dry_run", ms->dry_run);
		json_put_end_obj(&j);
		(void)admin_answer(a, ms->act.req_id, &j, &doc);
	} else if (a != NULL) {
		admin_act_refuse(&ms->act, 503,
		    r == -ECANCELED ? "the node drains: broken off"
				    : err_str(r));
	}
	admin_act_end(&ms->act);
	uv_close((uv_handle_t *)&ms->timer, mass_free);
}

/* The batch is written, or given up. */
static void
on_over(struct op_result *op)
{
	struct mass *ms = op->owner;
	uint32_t i;

	for (i = 0; op->job.result == 0 && i < op->n; i++)
		ms->n_changed += !op->items[i].gone;
	/* not from here: who calls us is not done with the batch */
	(void)uv_timer_start(&ms->timer, on_turn, 0, 0);
}

static bool
is_chosen(const struct mass *ms, const struct rec_msg *m)
{
	return m->accepted_ms <= ms->begun_ms &&
	    (ms->what != MASS_FROM || strcasecmp(m->sender, ms->value) == 0);
}

/* One recipient into the batch; false: no memory. */
static bool
add_item(struct mass *ms, struct op_result *op, uint32_t rid,
    const struct rec_msg *m, const struct rec_rcpt *rc)
{
	struct queue *q = ms->act.q;
	struct op_item *it = &op->items[op->n];
	struct qdest *d = qdest_find(q, rc->dest_id);

	if (qflight_new(q, ms->mid, rid, d, NULL) == NULL)
		return false;
	it->mid = ms->mid;
	it->rid = rid;
	it->outcome = ms->bounce ? OUTCOME_FAILED : OUTCOME_REMOVED;
	it->reason = REASON_REMOVED;
	it->status = ms->bounce ? BOUNCE_STATUS : "";
	it->reply = ms->bounce ? BOUNCE_TEXT : "";
	it->flags = ITEM_NAMES;
	if (ms->bounce &&
	    queue_profile(q, rc->domain, m->profile)->hard_bounces ==
		CONF_BOUNCE_NONE)
		it->flags |= ITEM_NO_DSN;
	it->owner_dest = d == NULL ? 0 : d->id;
	op->n++;
	return true;
}

/* op NULL: only counted. */
static bool
take(struct mass *ms, struct op_result *op, const struct rec_msg *m,
    const struct rec_rcpt *rc)
{
	if (rc->state != RCPT_QUEUED ||
	    (ms->what == MASS_HOST && strcmp(rc->domain, ms->value) != 0))
		return true;
	if (qflight_find(ms->act.q, ms->mid, ms->rid) != NULL) {
		ms->n_in_flight++;
		return true;
	}
	if (op != NULL && !add_item(ms, op, ms->rid, m, rc))
		return false;
	ms->n_recipients++;
	if (ms->counted != ms->mid)
		ms->n_messages++;
	ms->counted = ms->mid;
	return true;
}

/* From (mid, rid) on. 1: there is more, 0, or an error. */
static int
collect(struct mass *ms, struct sview *v, struct op_result *op)
{
	struct rec_rcpt rc;
	struct rec_msg m;
	struct siter it;
	struct key k;
	uint64_t mid, last = 0;
	uint32_t rid;
	bool chosen = false;
	int n = 0, r;

	key_rcpt(&k, ms->mid, ms->rid);
	r = siter_first(&it, v->txn, v->st, DB_RCPT, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &mid, &rid) < 0)
			continue;
		ms->mid = mid;
		ms->rid = rid;
		if (n++ == SCAN_SLICE || (op != NULL && op->n == EXPIRE_BATCH))
			break;
		if (mid != last) {
			last = mid;
			chosen =
			    sview_msg(v, mid, &m) == 0 && is_chosen(ms, &m);
		}
		/* what cannot be read is set aside by who comes to it */
		if (!chosen ||
		    rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc) < 0)
			continue;
		if (!take(ms, op, &m, &rc)) {
			r = -ENOMEM;
			break;
		}
	}
	siter_end(&it);
	return r == 0 ? 1 : r == PE_NOT_FOUND ? 0 : r;
}

static void
free_batch(struct op_result *op)
{
	if (op != NULL)
		free(op->items);
	free(op);
}

static void
on_turn(uv_timer_t *timer)
{
	struct mass *ms = timer->data;
	struct queue *q = ms->act.q;
	struct op_result *op = NULL;
	struct sview v;
	int r;

	if (q->closing || q->draining) {
		mass_end(ms, -ECANCELED);
		return;
	}
	if (q->store_error != 0 && !ms->dry_run) {
		mass_end(ms, q->store_error);
		return;
	}
	if (!ms->dry_run) {
		op = queue_result_new(0, EXPIRE_BATCH);
		if (op == NULL) {
			mass_end(ms, -ENOMEM);
			return;
		}
		op->n = 0;
		op->origin = RESULT_OPERATOR;
		op->over = on_over;
		op->owner = ms;
	}
	r = store_read_begin(q->store, &v);
	if (r == 0) {
		r = collect(ms, &v, op);
		store_read_end(&v);
	}
	if (op != NULL && op->n > 0) {
		/* an error comes again in the next turn, if it stays */
		queue_result_put(q, op, true);
		return;
	}
	free_batch(op);
	if (r == 1)
		(void)uv_timer_start(&ms->timer, on_turn, NEXT_TURN_MS, 0);
	else
		mass_end(ms, r);
}

int
admin_end_recipients(
    struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	const char *word = m->args[0];
	struct mass *ms;

	if ((m->num & ~(uint64_t)(ADM_END_BOUNCE | ADM_END_DRY_RUN)) != 0 ||
	    (strcmp(word, "host") != 0 && strcmp(word, "from") != 0 &&
		strcmp(word, "all") != 0))
		return adm_refuse(
		    &a->peer, req_id, 400, "wanted host, from or all");
	ms = (struct mass *)(void *)admin_act_new(a, req_id, sizeof(*ms));
	if (ms == NULL)
		return adm_refuse(
		    &a->peer, req_id, 503, "too many calls at one time");
	ms->what = *word == 'h' ? MASS_HOST
	    : *word == 'f'	? MASS_FROM
				: MASS_ALL;
	ms->bounce = (m->num & ADM_END_BOUNCE) != 0;
	ms->dry_run = (m->num & ADM_END_DRY_RUN) != 0;
	ms->begun_ms = clock_now_ms();
	ms->value = strdup(m->args[1]);
	if (ms->value == NULL || uv_timer_init(a->q->loop, &ms->timer) < 0) {
		admin_act_refuse(&ms->act, 503, err_str(-ENOMEM));
		free(ms->value);
		free(ms);
		return 0;
	}
	ms->timer.data = ms;
	on_turn(&ms->timer);
	return 0;
}
