/*
 * ids.c - leases of MIDs, ICIDs and DCIDs. A range is committed before it is
 * given away, so that no id is ever used twice, whatever crashes.
 */
#include "queue/queue.h"

#include "lib/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	LEASES_PEER_MAX = 64,  /* remembered of one peer */
	ASKS_MAX = 64,	       /* of one peer at a time */
	OLD_LEASES = 10000000, /* ids: what may be left of former leases */
};

/* Who asked, found again by its channel when the commit is done. */
struct qask {
	struct op_ids op;
	struct ipc_chan **chan; /* the peer's field; NULL: gone, or ourselves */
	uint64_t req_id;
	uint32_t instance;
	bool smtpd, own;
	LIST_ENTRY(qask) link;
};

void
queue_ids_init(struct queue *q)
{
	LIST_INIT(&q->asks);
	q->high_mid = q->start_mid = q->store->next_id[ID_MID];
}

static void
add_lease(struct queue *q, uint64_t first, uint32_t count, uint32_t peer)
{
	size_t i, n, oldest = 0;
	struct qlease *more;

	/* of this peer only: it has one in use and the next, another that is
	 * idle keeps what it has */
	for (i = n = 0; i < q->n_leases; i++)
		if (q->leases[i].peer == peer && n++ == 0)
			oldest = i;
	if (n >= LEASES_PEER_MAX) {
		memmove(q->leases + oldest, q->leases + oldest + 1,
		    (q->n_leases - oldest - 1) * sizeof(*q->leases));
		q->n_leases--;
	}
	if (q->n_leases == q->leases_cap) {
		size_t cap = q->leases_cap == 0 ? 64 : q->leases_cap * 2;

		more = realloc(q->leases, cap * sizeof(*more));
		if (more == NULL)
			return;
		q->leases = more;
		q->leases_cap = cap;
	}
	q->leases[q->n_leases++] =
	    (struct qlease){ first, first + count, peer };
}

bool
queue_mid_allowed(const struct queue *q, uint64_t mid, uint32_t instance)
{
	size_t i;

	if (mid == 0 || mid >= q->high_mid)
		return false;
	for (i = q->n_leases; i-- > 0;)
		if (mid >= q->leases[i].first && mid < q->leases[i].end)
			return q->leases[i].peer == instance;
	/* leased before our restart, to whom is not known any more; not any
	 * number of the past, which may be that of a message long done */
	return mid < q->start_mid && q->start_mid - mid <= OLD_LEASES;
}

static void
grant(struct queue *q, struct qask *a)
{
	struct ids_grant m = { (enum id_kind)a->op.kind, a->op.ret_first,
		a->op.count };

	if (a->op.kind == ID_MID && a->op.ret_first + a->op.count > q->high_mid)
		q->high_mid = a->op.ret_first + a->op.count;
	if (a->own) {
		q->own_next = a->op.ret_first;
		q->own_end = a->op.ret_first + a->op.count;
		add_lease(q, a->op.ret_first, a->op.count, UINT32_MAX);
		queue_notices(q);
		return;
	}
	if (a->chan == NULL || !ipc_chan_is_up(*a->chan))
		return; /* lost with its holder */
	if (a->smtpd && a->op.kind == ID_MID)
		add_lease(q, a->op.ret_first, a->op.count, a->instance);
	ids_grant_encode(ipc_send_begin(*a->chan, IDS_GRANT, a->req_id), &m);
	(void)ipc_send_end(*a->chan, -1); /* down: the next one asks again */
}

static void
ids_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct qask *a = (struct qask *)job;

	if (queue_store_failed(q, job->result) &&
	    !(a->own && a->op.count == 0)) {
		queue_retry(q, job);
		return;
	}
	if (a->own)
		q->own_asked = false;
	if (job->result == 0 && a->op.count == 0)
		queue_store_ok(q);
	if (job->result == 0 && a->op.count > 0)
		grant(q, a);
	LIST_REMOVE(a, link);
	free(a);
}

static const struct job_type ids_job = {
	.name = "ids",
	.run = op_ids_run,
	.done = ids_done,
};

static struct qask *
ask_new(struct queue *q, uint32_t kind, uint32_t count)
{
	struct qask *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->op.job.type = &ids_job;
	a->op.kind = kind;
	a->op.count = count;
	LIST_INSERT_HEAD(&q->asks, a, link);
	return a;
}

int
queue_ids_ask(struct queue *q, struct ipc_chan **chan, uint32_t instance,
    bool smtpd, uint64_t req_id, const struct ids_ask *m)
{
	struct qask *a;
	int n = 0;

	LIST_FOREACH(a, &q->asks, link)
		n += a->chan == chan;
	if (n >= ASKS_MAX)
		return PE_PROTO; /* they have one of each kind under way */
	a = ask_new(q, (uint32_t)m->kind, m->count);
	if (a == NULL)
		return -ENOMEM;
	a->chan = chan;
	a->instance = instance;
	a->smtpd = smtpd;
	a->req_id = req_id;
	writer_put(q->writer, &a->op.job);
	return 0;
}

void
queue_ids_forget(struct queue *q, struct ipc_chan **chan)
{
	struct qask *a;

	LIST_FOREACH(a, &q->asks, link)
		if (a->chan == chan)
			a->chan = NULL;
}

static void
ask_own(struct queue *q, uint32_t count)
{
	struct qask *a;

	if (q->own_asked)
		return;
	a = ask_new(q, ID_MID, count);
	if (a == NULL)
		return;
	a->own = true;
	q->own_asked = true;
	writer_put(q->writer, &a->op.job);
}

uint64_t
queue_mid_own(struct queue *q)
{
	if (q->own_next < q->own_end)
		return q->own_next++;
	ask_own(q, IDS_OWN);
	return 0;
}

void
queue_ids_probe(struct queue *q)
{
	ask_own(q, 0); /* changes nothing, but needs room for a message */
}
