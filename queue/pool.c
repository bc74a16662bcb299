/*
 * pool.c - the threads of pool.h and their list of jobs. Knows nothing of mail.
 */
#include "queue/pool.h"

#include "queue/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>

struct pool {
	struct store *st;
	void *arg;
	uv_async_t async;
	pthread_t threads[POOL_THREADS];
	size_t n_threads;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	/* under mutex */
	struct pool_list todo, finished;
	bool stop;
	/* the loop's */
	size_t waiting;
};

static void *
thread_main(void *arg)
{
	struct pool *p = arg;
	struct pool_ctx ctx = { p->st, NULL };
	struct pool_job *job;

	/* per thread, and this one is older than the lock-down */
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)pthread_mutex_lock(&p->mutex);
	for (;;) {
		while ((job = STAILQ_FIRST(&p->todo)) == NULL && !p->stop)
			(void)pthread_cond_wait(&p->cond, &p->mutex);
		if (p->stop)
			break;
		STAILQ_REMOVE_HEAD(&p->todo, link);
		(void)pthread_mutex_unlock(&p->mutex);
		job->run(&ctx, job);
		(void)pthread_mutex_lock(&p->mutex);
		STAILQ_INSERT_TAIL(&p->finished, job, link);
		(void)uv_async_send(&p->async);
	}
	(void)pthread_mutex_unlock(&p->mutex);
	if (ctx.txn != NULL)
		mdb_txn_abort(ctx.txn);
	return NULL;
}

static void
hand_back(struct pool *p)
{
	struct pool_list list = STAILQ_HEAD_INITIALIZER(list);
	struct pool_job *job;

	(void)pthread_mutex_lock(&p->mutex);
	STAILQ_CONCAT(&list, &p->finished);
	(void)pthread_mutex_unlock(&p->mutex);
	while ((job = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, link);
		p->waiting--;
		job->done(p->arg, job);
	}
}

static void
on_async(uv_async_t *async)
{
	hand_back(async->data);
}

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void
join_all(struct pool *p)
{
	size_t i;

	(void)pthread_mutex_lock(&p->mutex);
	p->stop = true;
	(void)pthread_cond_broadcast(&p->cond);
	(void)pthread_mutex_unlock(&p->mutex);
	for (i = 0; i < p->n_threads; i++)
		(void)pthread_join(p->threads[i], NULL);
}

int
pool_new(uv_loop_t *loop, struct store *st, void *arg, struct pool **ret_pool)
{
	struct pool *p = calloc(1, sizeof(*p));
	sigset_t all, old;
	int r;

	if (p == NULL)
		return -ENOMEM;
	p->st = st;
	p->arg = arg;
	STAILQ_INIT(&p->todo);
	STAILQ_INIT(&p->finished);
	(void)pthread_mutex_init(&p->mutex, NULL); /* cannot fail here */
	(void)pthread_cond_init(&p->cond, NULL);
	r = uv_async_init(loop, &p->async, on_async);
	if (r < 0) {
		free(p);
		return r;
	}
	p->async.data = p;
	(void)sigfillset(&all); /* signals are the loop's */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; r == 0 && p->n_threads < POOL_THREADS; p->n_threads++) {
		r = -pthread_create(
		    &p->threads[p->n_threads], NULL, thread_main, p);
		if (r < 0)
			break;
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		join_all(p);
		uv_close((uv_handle_t *)&p->async, on_closed);
		return r;
	}
	*ret_pool = p;
	return 0;
}

void
pool_free(struct pool *p)
{
	if (p == NULL)
		return;
	join_all(p);
	STAILQ_CONCAT(&p->finished, &p->todo); /* nobody else is there now */
	hand_back(p);
	(void)pthread_mutex_destroy(&p->mutex);
	(void)pthread_cond_destroy(&p->cond);
	uv_close((uv_handle_t *)&p->async, on_closed);
}

void
pool_put(struct pool *p, struct pool_job *job)
{
	p->waiting++;
	(void)pthread_mutex_lock(&p->mutex);
	STAILQ_INSERT_TAIL(&p->todo, job, link);
	(void)pthread_cond_signal(&p->cond);
	(void)pthread_mutex_unlock(&p->mutex);
}

size_t
pool_waiting(const struct pool *p)
{
	return p->waiting;
}
