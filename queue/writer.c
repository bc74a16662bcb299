/*
 * writer.c - the writer thread and its batches. Never logs: the thread reports
 * through the results of its jobs.
 */
#include "queue/writer.h"

#include "queue/body.h"
#include "queue/store.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

struct writer {
	struct store *st;
	void *arg;
	uv_async_t async;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	/* under mutex */
	struct job_list todo, finished;
	size_t n_todo, n_urgent;
	bool stop;
	int64_t oldest_ms; /* first lazy job that waits */
	struct rec_counters counters;
	int panic;
	/* the loop's */
	bool joined;
	size_t waiting;
	struct rec_counters seen;
	int seen_panic;
	/* the thread's */
	struct stxn x;
	bool dirs[BODY_DIRS]; /* to sync before this commit */
};

/* ---- the thread ----------------------------------------------------------- */

static void
run_prepare(struct writer *w, struct job_list *batch)
{
	struct job *job;
	unsigned d;
	int r = 0;

	memset(w->dirs, 0, sizeof(w->dirs));
	STAILQ_FOREACH(job, batch, link)
		if (job->type->begin != NULL)
			job->type->begin(job);
	STAILQ_FOREACH(job, batch, link) {
		job->result = 0;
		if (job->type->prepare != NULL)
			job->result = job->type->prepare(w, job);
	}
	for (d = 0; d < BODY_DIRS && r == 0; d++) {
		if (!w->dirs[d])
			continue;
		r = store_point(w->st, POINT_DIR_SYNC);
		if (r == 0)
			r = body_sync_dir(w->st->dir_fd, d);
		w->st->syncs++;
	}
	if (r == 0)
		return;
	/* names that may not last: none of these may be told durable */
	STAILQ_FOREACH(job, batch, link)
		if (job->type->prepare != NULL && job->result == 0)
			job->result = r;
}

static void
do_unlinks(struct writer *w)
{
	struct sunlink *u;

	/* the records are gone for good; a file that stays after a crash or an
	 * error here is an orphan, and the sweep's */
	for (u = w->x.unlinks; u != NULL; u = u->next)
		if (store_point(w->st, POINT_UNLINK) == 0)
			(void)body_unlink(w->st->dir_fd, u->mid);
	w->x.unlinks = NULL;
}

/* Run the jobs from first on, n of them, in one transaction. */
static int
run_txn(struct writer *w, struct job *first, size_t n)
{
	struct job *job = first;
	size_t i;
	int r;

	r = stx_begin(&w->x, clock_now_s());
	if (r < 0)
		return r;
	for (i = 0; i < n && w->x.hard == 0; i++) {
		if (job->result == 0)
			job->result = job->type->run(&w->x, job);
		job = STAILQ_NEXT(job, link);
	}
	r = stx_commit(&w->x);
	if (r == 0)
		do_unlinks(w);
	return r;
}

/* Results of a run that came to nothing are void; those of prepare stay. */
static void
reset_results(struct job *first, size_t n, const int *prepared)
{
	size_t i;

	for (i = 0; i < n; i++) {
		first->result = prepared[i];
		first = STAILQ_NEXT(first, link);
	}
}

/* With a full map: grow it and do all again. */
static int
run_growing(struct writer *w, struct job *first, size_t n, const int *prepared)
{
	int r;

	for (;;) {
		reset_results(first, n, prepared);
		r = run_txn(w, first, n);
		if (r != PE_FULL)
			return r;
		r = store_grow(w->st);
		if (r < 0)
			return r == -ENOTRECOVERABLE ? r : PE_FULL;
	}
}

/* Errors of the machine, that every job would meet. */
static bool
is_common(int r)
{
	return r == -ENOSPC || r == -EIO || r == -EDQUOT || r == -ENOMEM ||
	    r == -EROFS || r == PE_FULL || r == -ENOTRECOVERABLE;
}

static void
fail_all(struct job *first, size_t n, const int *prepared, int r)
{
	size_t i;

	for (i = 0; i < n; i++) {
		first->result = prepared[i] < 0 ? prepared[i] : r;
		first = STAILQ_NEXT(first, link);
	}
}

static void
run_batch(struct writer *w, struct job_list *batch, size_t n)
{
	struct job *first = STAILQ_FIRST(batch), *job;
	int prepared[BATCH_MAX];
	size_t i = 0;
	int r;

	run_prepare(w, batch);
	STAILQ_FOREACH(job, batch, link)
		prepared[i++] = job->result;
	r = run_growing(w, first, n, prepared);
	if (r == 0)
		return;
	if (n == 1 || is_common(r)) {
		fail_all(first, n, prepared, r);
		return;
	}
	/* one of them spoils it: each alone, so that the others go through */
	STAILQ_FOREACH(job, batch, link) {
		i = 0;
		reset_results(job, 1, &prepared[i]);
	}
	i = 0;
	STAILQ_FOREACH(job, batch, link) {
		r = run_growing(w, job, 1, &prepared[i++]);
		if (r < 0)
			job->result = r;
	}
}

/* Wait for work. Returns false when it is time to stop. Mutex held. */
static bool
wait_for_work(struct writer *w)
{
	struct timespec until;
	int64_t left;

	for (;;) {
		if (w->n_urgent > 0 || w->n_todo >= 512)
			return true;
		if (w->stop)
			return w->n_todo > 0;
		if (w->n_todo == 0) {
			(void)pthread_cond_wait(&w->cond, &w->mutex);
			continue;
		}
		left = w->oldest_ms + LAZY_MS - clock_mono_ms();
		if (left <= 0)
			return true;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += (long)left * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		(void)pthread_cond_timedwait(&w->cond, &w->mutex, &until);
	}
}

static size_t
take_batch(struct writer *w, struct job_list *batch)
{
	struct job *job;
	size_t n = 0;

	STAILQ_INIT(batch);
	while (n < BATCH_MAX && (job = STAILQ_FIRST(&w->todo)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->todo, link);
		STAILQ_INSERT_TAIL(batch, job, link);
		w->n_todo--;
		if (!job->lazy)
			w->n_urgent--;
		n++;
	}
	return n;
}

static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	struct job_list batch;
	size_t n;

	/* per thread, and this one is older than the lock-down */
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)pthread_mutex_lock(&w->mutex);
	while (wait_for_work(w)) {
		n = take_batch(w, &batch);
		(void)pthread_mutex_unlock(&w->mutex);
		run_batch(w, &batch, n);
		w->st->jobs += n;
		if (n > w->st->max_batch)
			w->st->max_batch = n;
		(void)pthread_mutex_lock(&w->mutex);
		if (STAILQ_FIRST(&batch)->result == -ENOTRECOVERABLE)
			w->panic = -ENOTRECOVERABLE;
		w->counters = w->st->counters;
		STAILQ_CONCAT(&w->finished, &batch);
		(void)uv_async_send(&w->async);
	}
	(void)pthread_mutex_unlock(&w->mutex);
	return NULL;
}

/* ---- the loop's side --------------------------------------------------------- */

static void
hand_back(struct writer *w)
{
	struct job_list list = STAILQ_HEAD_INITIALIZER(list);
	struct job *job;

	(void)pthread_mutex_lock(&w->mutex);
	STAILQ_CONCAT(&list, &w->finished);
	w->seen = w->counters;
	w->seen_panic = w->panic;
	(void)pthread_mutex_unlock(&w->mutex);
	while ((job = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, link);
		w->waiting--;
		job->type->done(w->arg, job);
	}
}

static void
on_async(uv_async_t *async)
{
	hand_back(async->data);
}

int
writer_new(
    uv_loop_t *loop, struct store *st, void *arg, struct writer **ret_writer)
{
	struct writer *w;
	pthread_condattr_t attr;
	sigset_t all, old;
	int r;

	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	w->st = st;
	w->arg = arg;
	w->counters = w->seen = st->counters;
	STAILQ_INIT(&w->todo);
	STAILQ_INIT(&w->finished);
	(void)pthread_mutex_init(&w->mutex, NULL); /* cannot fail here */
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->cond, &attr);
	(void)pthread_condattr_destroy(&attr);
	stx_init(&w->x, st);
	r = uv_async_init(loop, &w->async, on_async);
	if (r < 0) {
		free(w);
		return r;
	}
	w->async.data = w;
	(void)sigfillset(&all); /* signals are the loop's */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&w->thread, NULL, writer_main, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		uv_close((uv_handle_t *)&w->async, NULL);
		return r; /* start-up fails: the handle's memory stays */
	}
	*ret_writer = w;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void
writer_free(struct writer *w)
{
	if (w == NULL)
		return;
	(void)pthread_mutex_lock(&w->mutex);
	w->stop = true;
	(void)pthread_cond_signal(&w->cond);
	(void)pthread_mutex_unlock(&w->mutex);
	(void)pthread_join(w->thread, NULL);
	w->joined = true;
	hand_back(w);
	stx_done(&w->x);
	(void)pthread_mutex_destroy(&w->mutex);
	(void)pthread_cond_destroy(&w->cond);
	uv_close((uv_handle_t *)&w->async, on_closed);
}

void
writer_put(struct writer *w, struct job *job)
{
	w->waiting++;
	job->result = 0;
	if (w->joined) {
		/* the end: nothing is written any more */
		w->waiting--;
		job->result = -ECANCELED;
		job->type->done(w->arg, job);
		return;
	}
	(void)pthread_mutex_lock(&w->mutex);
	if (w->n_todo == w->n_urgent)
		w->oldest_ms = clock_mono_ms(); /* no lazy one waited */
	STAILQ_INSERT_TAIL(&w->todo, job, link);
	w->n_todo++;
	if (!job->lazy)
		w->n_urgent++;
	(void)pthread_cond_signal(&w->cond);
	(void)pthread_mutex_unlock(&w->mutex);
}

size_t
writer_waiting(const struct writer *w)
{
	return w->waiting;
}

const struct rec_counters *
writer_counters(const struct writer *w)
{
	return &w->seen;
}

int
writer_panic(const struct writer *w)
{
	return w->seen_panic;
}

void
writer_sync_dir(struct writer *w, unsigned dir)
{
	w->dirs[dir % BODY_DIRS] = true;
}

struct store *
writer_store(struct writer *w)
{
	return w->st;
}
