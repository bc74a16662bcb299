/*
 * look.c - the last look before a bounce for a policy's sake.
 *
 * RFC 8461 section 5.1: mail that a policy holds back is not given up before
 * the policy was looked at once more, and tried if it changed. A destination
 * that is down for such a reason (MTA-STS, DANE, the certificates that they ask
 * for) has recipients that are over their time: it is offered once more, at
 * once, and these may be pulled. The worker looks at the policy as in each
 * attempt. Over when it tells of failure again, gives the destination back, or
 * after two minutes whatever it does; then they expire. Others that expire there
 * within ten minutes do so without another look.
 */
#include "queue/queue.h"

#include "lib/base/clock.h"

#include <string.h>

enum {
	LOOK_MS = 120000,	/* a bounce waits no longer for it */
	LOOK_VALID_MS = 600000, /* from its beginning */
};

static struct qlook *
find(struct queue *q, uint64_t dest_id)
{
	uint32_t i;

	for (i = 0; i < q->n_looks; i++)
		if (q->looks[i].dest_id == dest_id)
			return &q->looks[i];
	return NULL;
}

/* Could a fresh look at the policies change it? REQUIRETLS is the sender's. */
static bool
is_policy(uint8_t reason)
{
	return reason != REASON_REQUIRETLS_MISSING &&
	    reason_is_tls((enum reason)reason);
}

static bool
runs(const struct qlook *l)
{
	return !l->over && clock_mono_ms() - l->begun_ms < LOOK_MS;
}

/* Room for one more: what is no longer valid goes. */
static struct qlook *
place(struct queue *q)
{
	int64_t now_ms = clock_mono_ms();
	uint32_t i;

	for (i = q->n_looks; i-- > 0;)
		if (now_ms - q->looks[i].begun_ms >= LOOK_VALID_MS)
			q->looks[i] = q->looks[--q->n_looks];
	return q->n_looks < LOOKS_MAX ? &q->looks[q->n_looks++] : NULL;
}

bool
queue_look_runs(struct queue *q, uint64_t dest_id)
{
	const struct qlook *l = q->n_looks == 0 ? NULL : find(q, dest_id);

	return l != NULL && runs(l);
}

bool
queue_look_holds(struct queue *q, struct sview *v, uint64_t dest_id)
{
	struct qlook *l = find(q, dest_id);
	struct rec_dest rec;

	if (l != NULL && clock_mono_ms() - l->begun_ms < LOOK_VALID_MS)
		return runs(l);
	/* nobody would look there now: their time is over all the same */
	if (q->n_workers == 0 || q->all_suspended || q->draining ||
	    sview_dest(v, dest_id, &rec) < 0 || rec.suspended ||
	    rec.retries == 0 || !is_policy(rec.reason))
		return false;
	if (l == NULL)
		l = place(q);
	if (l == NULL)
		return false;
	memset(l, 0, sizeof(*l));
	l->dest_id = dest_id;
	l->begun_ms = clock_mono_ms();
	l->fresh = true;
	q->looks_fresh = true;
	log_event(LOG_INFO, "last_look",
	    &(struct log_fields){ .domain = rec.domain,
		.gateway = rec.gateway,
		.reason = reason_word((enum reason)rec.reason) },
	    "Destination %s is looked at once more before mail expires (%s)",
	    rec.domain, reason_word((enum reason)rec.reason));
	return true;
}

/* Offer it, whatever its own clock says. */
static bool
begin(struct queue *q, uint64_t dest_id)
{
	struct qdest *d = qdest_find(q, dest_id);
	struct rec_dest rec;
	struct sview v;
	int r;

	if (d == NULL) {
		if (!qdest_room(q, true, 0) ||
		    store_read_begin(q->store, &v) < 0)
			return false;
		r = sview_dest(&v, dest_id, &rec);
		if (r == 0) {
			d = qdest_load(
			    q, dest_id, rec.domain, rec.gateway, rec.cls);
			if (d != NULL) {
				d->queued = rec.queued;
				d->retries = rec.retries;
				d->dq_old = true;
				qdest_set_down(q, d);
			}
		}
		store_read_end(&v);
		if (d == NULL)
			return false;
	}
	d->until_s = 0;
	if (d->win_n == 0)
		d->rescan = true;
	queue_poke(q, d);
	return true;
}

void
queue_look_begin(struct queue *q)
{
	uint32_t i;

	if (!q->looks_fresh)
		return;
	q->looks_fresh = false;
	for (i = 0; i < q->n_looks; i++) {
		if (!q->looks[i].fresh)
			continue;
		q->looks[i].fresh = false;
		if (!begin(q, q->looks[i].dest_id))
			q->looks[i].over = true;
	}
}

void
queue_look_over(struct queue *q, uint64_t dest_id)
{
	struct qlook *l = q->n_looks == 0 ? NULL : find(q, dest_id);

	if (l == NULL || l->over)
		return;
	l->over = true;
	queue_expire(q);
}
