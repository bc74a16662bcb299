/*
 * dest.c - destinations in memory with their windows, and recipients in flight.
 *
 * A window entry is a hint from the index: whoever hands it out checks the
 * record. An entry of the flight table is a promise: that recipient is out, or
 * its result is being written, and it is never handed out a second time.
 */
#include "queue/queue.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ----------------------------------------------------------------- */

const char *
queue_intern(struct queue *q, const char *text)
{
	const char **more;
	char *copy;
	size_t i;

	/* gateways and profiles: a handful, from the settings */
	for (i = 0; i < q->n_names; i++)
		if (strcmp(q->names[i], text) == 0)
			return q->names[i];
	if (q->n_names == q->names_cap) {
		size_t cap = q->names_cap == 0 ? 16 : q->names_cap * 2;

		more = realloc(q->names, cap * sizeof(*more));
		if (more == NULL)
			return NULL;
		q->names = more;
		q->names_cap = cap;
	}
	copy = strdup(text);
	if (copy == NULL)
		return NULL;
	q->names[q->n_names++] = copy;
	return copy;
}

/* ---- the table of destinations ------------------------------------------------ */

static size_t
dest_slot(const struct queue *q, uint64_t id)
{
	/* ids are our own numbers: no need for a keyed hash */
	return (size_t)(id * 0x9e3779b97f4a7c15ULL >> 20) & (q->dests_cap - 1);
}

static bool
dests_grow(struct queue *q)
{
	size_t i, old_cap = q->dests_cap;
	struct qdest **old = q->dests, **more, *d;

	if (q->n_dests < old_cap)
		return true;
	more = calloc(old_cap == 0 ? 1024 : old_cap * 2, sizeof(*more));
	if (more == NULL)
		return old_cap > 0;
	q->dests = more;
	q->dests_cap = old_cap == 0 ? 1024 : old_cap * 2;
	for (i = 0; i < old_cap; i++)
		while ((d = old[i]) != NULL) {
			struct qdest **to;

			old[i] = d->hash_next;
			to = &q->dests[dest_slot(q, d->id)];
			d->hash_next = *to;
			*to = d;
		}
	free(old);
	return true;
}

struct qdest *
qdest_find(struct queue *q, uint64_t id)
{
	struct qdest *d;

	if (q->dests_cap == 0)
		return NULL;
	for (d = q->dests[dest_slot(q, id)]; d != NULL; d = d->hash_next)
		if (d->id == id)
			return d;
	return NULL;
}

bool
qdest_room(const struct queue *q, bool fresh, size_t promised)
{
	size_t max = q->conf->queue.max_in_memory;

	return q->n_dests + q->n_window + promised <
	    (fresh ? max : max - max / 8);
}

bool
qdest_down_room(const struct queue *q)
{
	/* each with the little that a probe needs */
	return q->n_down * (1 + WINDOW_FIRST) <
	    q->conf->queue.max_in_memory / 4;
}

void
qdest_set_down(struct queue *q, struct qdest *d)
{
	q->n_down += !d->was_down;
	d->was_down = true;
}

struct qdest *
qdest_load(struct queue *q, uint64_t id, const char *domain,
    const char *gateway, uint32_t cls)
{
	struct qdest *d, **to;
	size_t len = strlen(domain) + 1;

	if (!dests_grow(q))
		return NULL;
	d = calloc(1, sizeof(*d) + len);
	if (d == NULL)
		return NULL;
	d->gateway = queue_intern(q, gateway);
	if (d->gateway == NULL) {
		free(d);
		return NULL;
	}
	memcpy(d->domain, domain, len);
	d->cls = cls;
	d->id = id;
	LIST_INIT(&d->holds);
	to = &q->dests[dest_slot(q, id)];
	d->hash_next = *to;
	*to = d;
	q->n_dests++;
	return d;
}

static void
fail_free(struct qfail *f)
{
	if (f == NULL)
		return;
	free(f->status);
	free(f->text);
	free(f->host);
	free(f);
}

void
qdest_free(struct queue *q, struct qdest *d)
{
	struct qdest **at;

	if (d->in_ready)
		TAILQ_REMOVE(d->ready_probe ? &q->ready_probe : &q->ready, d,
		    ready_link);
	for (at = &q->dests[dest_slot(q, d->id)]; *at != d;)
		at = &(*at)->hash_next;
	*at = d->hash_next;
	q->n_dests--;
	q->n_down -= d->was_down;
	q->n_window -= d->win_n;
	fail_free(d->fail);
	free(d->win);
	free(d);
	if (q->sched_full &&
	    q->n_dests + q->n_window < q->conf->queue.max_in_memory / 2) {
		q->sched_full = false;
		q->sched_more = true; /* goes on in the next turn */
		queue_soon(q);
	}
}

void
qdest_maybe_unload(struct queue *q, struct qdest *d)
{
	if (d->win_n > 0 || d->in_flight > 0 || d->n_holds > 0 || d->jobs > 0 ||
	    d->in_ready || d->fail != NULL || d->warming != WARM_NOT)
		return;
	qdest_free(q, d);
}

/* ---- windows ---------------------------------------------------------------------- */

static struct dq_entry *
win_at(const struct qdest *d, uint32_t i)
{
	return &d->win[(d->win_head + i) % d->win_cap];
}

static bool
win_room(struct qdest *d)
{
	struct dq_entry *more;
	uint32_t i, cap;

	if (d->win_n < d->win_cap)
		return true;
	cap = d->win_cap == 0 ? WINDOW_FIRST : d->win_cap * 2;
	if (cap > 2 * WINDOW_MAX)
		return false;
	more = malloc(cap * sizeof(*more));
	if (more == NULL)
		return false;
	for (i = 0; i < d->win_n; i++)
		more[i] = *win_at(d, i);
	free(d->win);
	d->win = more;
	d->win_cap = cap;
	d->win_head = 0;
	return true;
}

static bool
push_back(struct queue *q, struct qdest *d, const struct dq_entry *e)
{
	if (!win_room(d))
		return false;
	d->win_n++;
	*win_at(d, d->win_n - 1) = *e;
	q->n_window++;
	return true;
}

bool
qdest_window_push_front(
    struct queue *q, struct qdest *d, const struct dq_entry *e)
{
	if (!win_room(d)) {
		d->rescan = true; /* it stands in the index, before pos */
		return false;
	}
	d->win_head = (d->win_head + d->win_cap - 1) % d->win_cap;
	d->win_n++;
	d->win[d->win_head] = *e;
	q->n_window++;
	return true;
}

const struct dq_entry *
qdest_first(const struct qdest *d)
{
	return d->win_n == 0 ? NULL : &d->win[d->win_head];
}

const struct dq_entry *
qdest_at(const struct qdest *d, uint32_t i)
{
	return win_at(d, i);
}

void
qdest_pop(struct queue *q, struct qdest *d)
{
	d->win_head = (d->win_head + 1) % d->win_cap;
	d->win_n--;
	q->n_window--;
}

void
qdest_window_clear(struct queue *q, struct qdest *d)
{
	q->n_window -= d->win_n;
	d->win_n = d->win_head = 0;
	d->all_loaded = false;
	d->rescan = true;
}

/* Where to go on reading: behind pos, or at the start. */
static void
read_from(struct queue *q, struct qdest *d, struct key *k)
{
	struct dq_entry from = { 0, 0, 0 };

	if (d->rescan) {
		qdest_window_clear(q, d);
		d->rescan = false;
		d->pos = from;
	} else {
		from = d->pos;
		if (from.rid < UINT32_MAX)
			from.rid++;
		else
			from.mid++;
	}
	key_dq(k, d->id, &from);
}

int
qdest_refill(struct queue *q, struct qdest *d, struct sview *v)
{
	int64_t now_s = clock_now_s();
	struct dq_entry e;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t max;
	int r;

	read_from(q, d, &k);
	/* over the bound every destination still gets a little at a time */
	max = d->retries == 0 && qdest_room(q, true, 0) ? WINDOW_MAX
							: WINDOW_FIRST;
	d->all_loaded = false;
	d->next_due_s = 0;
	r = siter_first(&it, v->txn, v->st, DB_DQ, &k);
	for (; r == 0 && d->win_n < max; r = siter_next(&it)) {
		if (key_dq_parse(it.k.mv_data, it.k.mv_size, &id, &e) < 0) {
			queue_set_aside_key(q, DB_DQ, &it.k);
			continue;
		}
		if (id != d->id || e.due_s > now_s) {
			if (id == d->id) {
				d->next_due_s = e.due_s;
				queue_repair_far(q, id, e.due_s);
			}
			d->all_loaded = true;
			break;
		}
		if (qflight_find(q, e.mid, e.rid) == NULL &&
		    !push_back(q, d, &e))
			break; /* memory is short: later */
		d->pos = e;
	}
	siter_end(&it);
	if (r == PE_NOT_FOUND)
		d->all_loaded = true;
	/* what comes after all that was due will just have been written */
	d->dq_old = d->dq_old && !d->all_loaded;
	d->dq_touched = false;
	return r == PE_NOT_FOUND ? 0 : r;
}

void
qdest_due(struct queue *q, struct qdest *d, const struct dq_entry *e)
{
	d->queued++;
	if (d->rescan)
		return;
	if (dq_entry_cmp(e, &d->pos) <= 0) {
		/* committed behind the reader's back: ids of several smtpd
		 * interleave. Or it was read already; the record tells. */
		d->rescan = true;
		d->all_loaded = false;
		return;
	}
	if (!d->all_loaded)
		return; /* the reader comes to it */
	if (d->win_n >= WINDOW_MAX || !push_back(q, d, e)) {
		d->all_loaded = false;
		return;
	}
	d->pos = *e;
}

/* ---- flights -------------------------------------------------------------------------- */

static size_t
flight_slot(const struct queue *q, uint64_t mid, uint32_t rid)
{
	uint64_t h = (mid ^ (uint64_t)rid << 40) * 0x9e3779b97f4a7c15ULL;

	return (size_t)(h >> 20) & (q->flights_cap - 1);
}

static bool
flights_grow(struct queue *q)
{
	size_t i, old_cap = q->flights_cap;
	struct qflight **old = q->flights, **more, *f;

	if (q->n_flights < old_cap)
		return true;
	more = calloc(old_cap == 0 ? 1024 : old_cap * 2, sizeof(*more));
	if (more == NULL)
		return old_cap > 0;
	q->flights = more;
	q->flights_cap = old_cap == 0 ? 1024 : old_cap * 2;
	for (i = 0; i < old_cap; i++)
		while ((f = old[i]) != NULL) {
			struct qflight **to;

			old[i] = f->hash_next;
			to = &q->flights[flight_slot(q, f->mid, f->rid)];
			f->hash_next = *to;
			*to = f;
		}
	free(old);
	return true;
}

struct qflight *
qflight_find(struct queue *q, uint64_t mid, uint32_t rid)
{
	struct qflight *f;

	if (q->flights_cap == 0)
		return NULL;
	for (f = q->flights[flight_slot(q, mid, rid)]; f != NULL;
	     f = f->hash_next)
		if (f->mid == mid && f->rid == rid)
			return f;
	return NULL;
}

struct qflight *
qflight_new(struct queue *q, uint64_t mid, uint32_t rid, struct qdest *d,
    struct qworker *w)
{
	struct qflight *f, **to;

	if (!flights_grow(q))
		return NULL;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	f->mid = mid;
	f->rid = rid;
	f->dest = d;
	f->worker = w;
	to = &q->flights[flight_slot(q, mid, rid)];
	f->hash_next = *to;
	*to = f;
	q->n_flights++;
	if (d != NULL)
		d->in_flight++;
	if (w != NULL) {
		TAILQ_INSERT_TAIL(&w->flights, f, link);
		w->n_flights++;
	}
	return f;
}

void
qflight_detach(struct queue *q, struct qflight *f)
{
	(void)q;
	if (f->worker == NULL)
		return;
	TAILQ_REMOVE(&f->worker->flights, f, link);
	f->worker->n_flights--;
	f->worker = NULL;
}

void
qflight_free(struct queue *q, struct qflight *f)
{
	struct qflight **at;

	qflight_detach(q, f);
	for (at = &q->flights[flight_slot(q, f->mid, f->rid)]; *at != f;)
		at = &(*at)->hash_next;
	*at = f->hash_next;
	q->n_flights--;
	if (f->dest != NULL)
		f->dest->in_flight--;
	free(f);
}
