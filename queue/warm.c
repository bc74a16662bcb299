/*
 * warm.c - nothing on the loop waits for the disk because of mail that was not
 * touched for a while.
 *
 * Mail that just came is in memory: its pages were written a moment ago. It is
 * remembered here for a minute, and goes out without a detour. All else is read
 * by a thread of the pool first (touch.h), and offered or handed out when that is
 * done; walks over the store (what is due, expired, to be told) likewise. The
 * loop then reads it again: what it finds there counts, not what the thread
 * saw. A page that is dropped in between costs one wait, no mistake.
 */
#include "queue/queue.h"

#include "queue/touch.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	WARM_SLOTS = 1 << 15, /* messages remembered; a power of two */
	WARM_MS = 60000,
	WARM_JOBS = 64,	     /* destinations in the pool at one time */
	WARM_MESSAGES = 128, /* of one destination, in one job */
	WARM_AHEAD = 32,     /* of a window: still warm while pulls go on */
};

/* A message that is in memory. The slot is its number's. */
struct qwarm {
	uint64_t mid;
	int64_t until_ms;
};

/* What comes next at a destination. */
struct warm_job {
	struct pool_job job;
	uint64_t dest_id;
	bool window; /* and entries of dq behind those */
	struct dq_entry from;
	int64_t now_s;
	uint32_t n;
	struct dq_entry e[WARM_MESSAGES];
};

/* ---- messages ------------------------------------------------------------------ */

void
queue_warm_note(struct queue *q, uint64_t mid)
{
	struct qwarm *w;

	if (q->warm == NULL)
		return;
	w = &q->warm[mid & (WARM_SLOTS - 1)];
	w->mid = mid;
	w->until_ms = clock_mono_ms() + WARM_MS;
}

bool
queue_is_warm(const struct queue *q, uint64_t mid)
{
	const struct qwarm *w;

	if (q->warm == NULL)
		return false;
	w = &q->warm[mid & (WARM_SLOTS - 1)];
	return w->mid == mid && w->until_ms > clock_mono_ms();
}

/* ---- destinations --------------------------------------------------------------- */

static void
run_dest(struct pool_ctx *ctx, struct pool_job *job)
{
	struct warm_job *wj = (struct warm_job *)job;

	if (wj->window)
		wj->n += touch_window(ctx, wj->dest_id, &wj->from, wj->now_s,
		    WINDOW_MAX, wj->e + wj->n, WARM_MESSAGES - wj->n);
	touch_messages(ctx, wj->e, wj->n);
}

static void start_jobs(struct queue *q);

static void
dest_done(void *arg, struct pool_job *job)
{
	struct queue *q = arg;
	struct warm_job *wj = (struct warm_job *)job;
	struct qdest *d = qdest_find(q, wj->dest_id);
	uint32_t i;

	q->n_warm_jobs--;
	/* the first one last: whatever shares its slot, that one can go */
	for (i = wj->n; i-- > 0;)
		queue_warm_note(q, wj->e[i].mid);
	if (d != NULL && !q->closing) {
		d->warming = WARM_NOT;
		d->dq_touched = d->dq_touched || wj->window;
		queue_dest_warm(q, d);
	}
	free(wj);
	if (!q->closing)
		start_jobs(q);
}

static struct warm_job *
job_of(struct queue *q, struct qdest *d)
{
	struct warm_job *wj = malloc(sizeof(*wj));
	const struct dq_entry *e;
	uint32_t i;

	(void)q;
	if (wj == NULL)
		return NULL;
	wj->job.run = run_dest;
	wj->job.done = dest_done;
	wj->dest_id = d->id;
	wj->now_s = clock_now_s();
	wj->n = 0;
	for (i = 0; i < d->win_n && wj->n < WARM_MESSAGES; i++) {
		e = qdest_at(d, i);
		/* all recipients of a cold one, which stand together */
		if (!queue_is_warm(q, e->mid))
			wj->e[wj->n++] = *e;
	}
	/* where these wait for long, the others do */
	d->dq_old = d->dq_old || wj->n > 0;
	wj->window = d->rescan || d->win_n < WINDOW_MAX / 2;
	if (d->rescan)
		memset(&wj->from, 0, sizeof(wj->from));
	else
		wj->from = d->pos;
	return wj;
}

static void
start_jobs(struct queue *q)
{
	struct warm_job *wj;
	struct qdest *d;

	while (q->n_warm_jobs < WARM_JOBS) {
		d = TAILQ_FIRST(&q->cold);
		if (d == NULL)
			return;
		wj = job_of(q, d);
		if (wj == NULL)
			return; /* memory is short: with the next tick */
		TAILQ_REMOVE(&q->cold, d, cold_link);
		d->warming = WARM_RUNS;
		q->n_warm_jobs++;
		pool_put(q->pool, &wj->job);
	}
}

void
queue_warm_dest(struct queue *q, struct qdest *d, bool urgent)
{
	if (d->warming == WARM_RUNS || q->closing)
		return; /* its end looks again */
	if (d->warming == WARM_WAITS) {
		if (!urgent)
			return;
		TAILQ_REMOVE(&q->cold, d, cold_link);
	}
	d->warming = WARM_WAITS;
	if (urgent)
		TAILQ_INSERT_HEAD(&q->cold, d, cold_link);
	else
		TAILQ_INSERT_TAIL(&q->cold, d, cold_link);
	start_jobs(q);
}

void
queue_warm_ahead(struct queue *q, struct qdest *d)
{
	uint32_t i = d->win_n < WARM_AHEAD ? d->win_n : WARM_AHEAD;

	if ((i > 0 && !queue_is_warm(q, qdest_at(d, i - 1)->mid)) ||
	    (i < WARM_AHEAD && !d->all_loaded && qdest_reads_cold(d)))
		queue_warm_dest(q, d, false);
}

/* ---- walks ------------------------------------------------------------------------ */

static void
run_round(struct pool_ctx *ctx, struct pool_job *job)
{
	struct qround *rd = (struct qround *)job;
	size_t i;

	for (i = 0; i < rd->n; i++)
		touch_range(ctx, &rd->t[i]);
}

static void
round_done(void *arg, struct pool_job *job)
{
	struct queue *q = arg;
	struct qround *rd = (struct qround *)job;

	rd->busy = false;
	if (!q->closing)
		rd->go(q);
}

struct touch *
queue_round_add(struct qround *rd)
{
	struct touch *t = &rd->t[rd->n++];

	memset(t, 0, sizeof(*t));
	return t;
}

bool
queue_round_begin(const struct queue *q, struct qround *rd)
{
	if (rd->busy || q->closing)
		return false;
	rd->n = 0;
	return true;
}

void
queue_round_start(
    struct queue *q, struct qround *rd, void (*go)(struct queue *q))
{
	rd->job.run = run_round;
	rd->job.done = round_done;
	rd->go = go;
	rd->busy = true;
	pool_put(q->pool, &rd->job);
}

/* ---- life -------------------------------------------------------------------------- */

int
queue_pool_start(struct queue *q, uv_loop_t *loop, struct store *store)
{
	TAILQ_INIT(&q->cold);
	q->warm = calloc(WARM_SLOTS, sizeof(*q->warm));
	if (q->warm == NULL)
		return -ENOMEM;
	return pool_new(loop, store, q, &q->pool);
}

/* What found no memory for a job. */
void
queue_warm_tick(struct queue *q)
{
	start_jobs(q);
}

void
queue_pool_close(struct queue *q)
{
	pool_free(q->pool);
	q->pool = NULL;
	free(q->warm);
	q->warm = NULL;
}
