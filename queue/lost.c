/*
 * lost.c - destinations whose worker died with them.
 *
 * A server, an answer of the DNS or a message that kills each worker that
 * meets it must not kill all of them for ever. What a lost worker was busy with
 * waits: a second after the first time, twice that after each further one, five
 * minutes at most; a delivery there begins anew, once no worker was lost there for
 * a while: at a busy destination others are delivered between two deaths. A good
 * connection does not: the trouble may come after it. How often it happened is kept here, because
 * the destination itself leaves the memory while it waits; the pause stands in
 * the store like that of a host that is down. Who is in the wrong cannot be
 * told, so all that the worker was busy with wait; the others find a delivery.
 */
#include "queue/queue.h"

#include "lib/base/clock.h"

#include <string.h>

enum {
	LOST_FIRST_MS = 1000,
	LOST_LONGEST_MS = 300000,
	LOST_FORGET_MS = 1800000,
	LOST_CALM_MS = 60000, /* and twice the last wait */
};

static struct qlost *
find(struct queue *q, uint64_t dest_id)
{
	uint32_t i;

	for (i = 0; i < q->n_lost; i++)
		if (q->lost[i].dest_id == dest_id)
			return &q->lost[i];
	return NULL;
}

/* Its entry, or a new one: in place of the oldest when there is no room. */
static struct qlost *
find_or_make(struct queue *q, uint64_t dest_id, int64_t now_ms)
{
	struct qlost *l = find(q, dest_id), *oldest = &q->lost[0];
	uint32_t i;

	if (l != NULL && now_ms - l->at_ms <= LOST_FORGET_MS)
		return l;
	if (l == NULL && q->n_lost < LOST_MAX)
		l = &q->lost[q->n_lost++];
	if (l == NULL) {
		for (i = 1; i < q->n_lost; i++)
			if (q->lost[i].at_ms < oldest->at_ms)
				oldest = &q->lost[i];
		l = oldest;
	}
	memset(l, 0, sizeof(*l));
	l->dest_id = dest_id;
	return l;
}

static int64_t
wait_after(const struct qlost *l)
{
	int64_t wait_ms = LOST_FIRST_MS;
	uint32_t i;

	for (i = 1; i < l->n && wait_ms < LOST_LONGEST_MS; i++)
		wait_ms *= 2;
	return wait_ms > LOST_LONGEST_MS ? LOST_LONGEST_MS : wait_ms;
}

void
queue_lost(struct queue *q, struct qdest *d)
{
	struct hand_dest_state m = {
		.dest_id = d->id,
		.verdict = DEST_DOWN,
		.reason = REASON_WORKER_LOST,
		.status = "4.3.0",
		.text = "the process that served it ended unexpectedly",
		.host = "",
	};
	int64_t now_ms = clock_mono_ms(), wait_ms, until_s;
	struct qlost *l = find_or_make(q, d->id, now_ms);

	l->at_ms = now_ms;
	l->n++;
	wait_ms = wait_after(l);
	until_s = (clock_now_ms() + wait_ms + 999) / 1000;
	if (d->until_s >= until_s)
		return; /* down for longer already */
	d->until_s = until_s;
	d->retries++;
	log_event(l->n == 1 ? LOG_INFO : LOG_WARNING, "dest_paused",
	    &(struct log_fields){ .domain = d->domain,
		.gateway = d->gateway,
		.reason = reason_word(REASON_WORKER_LOST) },
	    "Destination %s waits %lld s: the worker that was busy with it is "
	    "gone, %u in a row",
	    d->domain, (long long)(wait_ms / 1000), l->n);
	queue_dest_job(q, d, OP_DEST_DOWN, until_s, &m);
}

void
queue_lost_over(struct queue *q, uint64_t dest_id)
{
	struct qlost *l = q->n_lost == 0 ? NULL : find(q, dest_id);

	if (l != NULL &&
	    clock_mono_ms() - l->at_ms > LOST_CALM_MS + 2 * wait_after(l))
		*l = q->lost[--q->n_lost];
}
