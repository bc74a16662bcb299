/*
 * store.c - the policy store: reads on the loop, jobs for its writing thread.
 *
 * What a write changes is store_db.c's. On disk: LMDB's default durability, a
 * commit returns when it is synced; a crash at any moment leaves the state of
 * the last commit. Never logs. The thread never touches anything but the queue
 * of jobs under its mutex and its own transactions. Sources: lmdb.h (caveats).
 */
#include "policyd/store.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/base/lmdb_err.h"
#include "policyd/store_db.h"

enum { BATCH_MAX = 1000 };

enum job_kind { JOB_PUT, JOB_DELETE, JOB_DROP_DUE };

struct job {
	STAILQ_ENTRY(job) link;
	enum job_kind kind;
	struct policy_record head; /* names and times; owns nothing */
	struct buf bytes;
	int64_t now_s;
	store_done_cb *cb;
	void *arg;
	int result;
};
STAILQ_HEAD(job_list, job);

struct store {
	struct store_db db;
	MDB_txn *read_txn; /* reset between reads */
	uv_async_t async;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool threaded, stop;
	/* under the mutex */
	struct job_list todo, finished;
	size_t n_todo;
	uint32_t max;
	uint64_t evicted, refused, write_errors, commits;
};

/* ---- the thread ---------------------------------------------------------------
 */

struct batch {
	uint32_t max;
	size_t evicted, refused;
};

static int
run_job(struct store *st, MDB_txn *txn, struct job *j, struct batch *b)
{
	MDB_val bytes;
	int r;

	switch (j->kind) {
	case JOB_PUT:
		bytes.mv_data = buf_data(&j->bytes);
		bytes.mv_size = buf_len(&j->bytes);
		r = store_db_put(&st->db, txn, &j->head, bytes, j->now_s,
		    b->max, &b->evicted);
		if (r > 0) {
			j->result = PE_FULL;
			b->refused++;
		}
		return r < 0 ? r : 0;
	case JOB_DELETE:
		return store_db_erase(&st->db, txn, j->head.domain);
	case JOB_DROP_DUE:
	default:
		return store_db_drop_due(
		    &st->db, txn, j->head.domain, j->head.refresh_s);
	}
}

/* All jobs, or none; those for which there is no room apart. */
static int
run_batch(struct store *st, struct job_list *jobs, struct batch *b)
{
	MDB_txn *txn;
	struct job *j;
	int64_t now_s = 0;
	int r;

	b->evicted = b->refused = 0;
	r = err_from_lmdb(mdb_txn_begin(st->db.env, NULL, 0, &txn));
	if (r < 0)
		return r;
	STAILQ_FOREACH(j, jobs, link) {
		j->result = 0;
		r = run_job(st, txn, j, b);
		if (r < 0)
			break;
		if (j->now_s > now_s)
			now_s = j->now_s;
	}
	if (r == 0)
		r = store_db_set_clock(&st->db, txn, now_s, clock_now_s());
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	/* from here on the records survive a power cut */
	return err_from_lmdb(mdb_txn_commit(txn));
}

/* The map is full: make room and say how much. */
static size_t
make_room(struct store *st, int64_t now_s)
{
	size_t evicted = 0;
	MDB_txn *txn;
	int i, r = 1;

	if (mdb_txn_begin(st->db.env, NULL, 0, &txn) != 0)
		return 0;
	for (i = 0; i < STORE_EVICT_BATCH && r == 1; i++)
		r = store_db_evict_one(&st->db, txn, now_s, &evicted);
	if (r < 0) {
		mdb_txn_abort(txn);
		return 0;
	}
	return mdb_txn_commit(txn) == 0 ? evicted : 0;
}

static void
take_jobs(struct store *st, struct job_list *ret)
{
	struct job *j;
	size_t n = 0;

	STAILQ_INIT(ret);
	while (n++ < BATCH_MAX && (j = STAILQ_FIRST(&st->todo)) != NULL) {
		STAILQ_REMOVE_HEAD(&st->todo, link);
		STAILQ_INSERT_TAIL(ret, j, link);
		st->n_todo--;
	}
}

static int
run_jobs(struct store *st, struct job_list *jobs, struct batch *b)
{
	size_t made;
	int r = run_batch(st, jobs, b);

	if (r != PE_FULL)
		return r;
	made = make_room(st, STAILQ_FIRST(jobs)->now_s);
	if (made > 0)
		r = run_batch(st, jobs, b);
	b->evicted = made + (r == 0 ? b->evicted : 0);
	return r;
}

static void *
writer_main(void *arg)
{
	struct store *st = arg;
	struct job_list jobs;
	struct batch b;
	struct job *j;
	int r;

	(void)pthread_mutex_lock(&st->mutex);
	for (;;) {
		while (STAILQ_EMPTY(&st->todo) && !st->stop)
			(void)pthread_cond_wait(&st->cond, &st->mutex);
		if (STAILQ_EMPTY(&st->todo))
			break;
		take_jobs(st, &jobs);
		b.max = st->max;
		(void)pthread_mutex_unlock(&st->mutex);
		r = run_jobs(st, &jobs, &b);
		(void)pthread_mutex_lock(&st->mutex);
		st->evicted += r == 0 || r == PE_FULL ? b.evicted : 0;
		st->refused += r == 0 ? b.refused : 0;
		st->commits += r == 0;
		STAILQ_FOREACH(j, &jobs, link) {
			if (r != 0)
				j->result = r;
			st->write_errors += r != 0;
		}
		STAILQ_CONCAT(&st->finished, &jobs);
		(void)uv_async_send(&st->async);
	}
	(void)pthread_mutex_unlock(&st->mutex);
	return NULL;
}

static void
hand_back(struct store *st)
{
	struct job_list jobs;
	struct job *j;

	STAILQ_INIT(&jobs);
	(void)pthread_mutex_lock(&st->mutex);
	STAILQ_CONCAT(&jobs, &st->finished);
	(void)pthread_mutex_unlock(&st->mutex);
	while ((j = STAILQ_FIRST(&jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&jobs, link);
		if (j->cb != NULL)
			j->cb(j->arg, j->result);
		buf_done(&j->bytes);
		free(j);
	}
}

static void
on_async(uv_async_t *async)
{
	hand_back(async->data);
}

static int
start_thread(struct store *st, uv_loop_t *loop)
{
	sigset_t all, old;
	int r;

	r = uv_async_init(loop, &st->async, on_async);
	if (r < 0)
		return r;
	st->async.data = st;
	uv_unref((uv_handle_t *)&st->async); /* jobs end in store_free() too */
	(void)sigfillset(&all);		     /* signals are the loop's */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&st->thread, NULL, writer_main, st);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	st->threaded = r == 0;
	return r;
}

/* ---- opening -------------------------------------------------------------------
 */

static int
open_reader(struct store *st)
{
	int r = err_from_lmdb(
	    mdb_txn_begin(st->db.env, NULL, MDB_RDONLY, &st->read_txn));

	if (r == 0)
		mdb_txn_reset(st->read_txn);
	return r;
}

static void
on_closed(uv_handle_t *h)
{
	free(h->data);
}

int
store_open(uv_loop_t *loop, const char *path, uint32_t max,
    struct store **ret_store, struct store_clock *ret_clock, char *err,
    size_t err_len)
{
	struct store *st = calloc(1, sizeof(*st));
	int r;

	if (st == NULL)
		return -ENOMEM;
	st->max = max;
	STAILQ_INIT(&st->todo);
	STAILQ_INIT(&st->finished);
	(void)pthread_mutex_init(&st->mutex, NULL); /* cannot fail here */
	(void)pthread_cond_init(&st->cond, NULL);
	r = store_db_open(&st->db, path, max, ret_clock);
	if (r == 0)
		r = open_reader(st);
	if (r == 0)
		r = start_thread(st, loop);
	if (r == 0) {
		*ret_store = st;
		return 0;
	}
	(void)snprintf(err, err_len, "%s/data.mdb: %s", path, err_str(r));
	store_free(st);
	return r;
}

void
store_free(struct store *st)
{
	if (st == NULL)
		return;
	if (st->threaded) {
		(void)pthread_mutex_lock(&st->mutex);
		st->stop = true;
		(void)pthread_cond_signal(&st->cond);
		(void)pthread_mutex_unlock(&st->mutex);
		(void)pthread_join(st->thread, NULL);
		hand_back(st);
	}
	if (st->read_txn != NULL)
		mdb_txn_abort(st->read_txn);
	store_db_close(&st->db);
	(void)pthread_mutex_destroy(&st->mutex);
	(void)pthread_cond_destroy(&st->cond);
	if (st->async.data != NULL)
		uv_close((uv_handle_t *)&st->async, on_closed);
	else
		free(st);
}

void
store_set_max(struct store *st, uint32_t max)
{
	(void)pthread_mutex_lock(&st->mutex);
	st->max = max;
	(void)pthread_mutex_unlock(&st->mutex);
}

/* ---- jobs ------------------------------------------------------------------------
 */

static int
enqueue(struct store *st, struct job *j)
{
	int r = 0;

	(void)pthread_mutex_lock(&st->mutex);
	if (st->n_todo >= STORE_WAITING_MAX)
		r = PE_FULL;
	else {
		STAILQ_INSERT_TAIL(&st->todo, j, link);
		st->n_todo++;
		(void)pthread_cond_signal(&st->cond);
	}
	(void)pthread_mutex_unlock(&st->mutex);
	if (r < 0) {
		buf_done(&j->bytes);
		free(j);
	}
	return r;
}

static struct job *
job_new(enum job_kind kind, const char *domain, int64_t now_s)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->kind = kind;
	j->now_s = now_s;
	buf_init(&j->bytes, RECORD_MAX);
	(void)snprintf(j->head.domain, sizeof(j->head.domain), "%s", domain);
	return j;
}

int
store_put(struct store *st, const struct policy_record *rec, int64_t now_s,
    store_done_cb *cb, void *arg)
{
	struct job *j = job_new(JOB_PUT, rec->domain, now_s);
	int r;

	if (j == NULL)
		return -ENOMEM;
	j->head.refresh_s = rec->refresh_s;
	j->head.used_s = rec->used_s;
	j->head.fetched_s = rec->fetched_s;
	j->head.policy.mode = rec->policy.mode;
	j->cb = cb;
	j->arg = arg;
	r = record_encode(rec, &j->bytes);
	if (r < 0) {
		buf_done(&j->bytes);
		free(j);
		return r;
	}
	return enqueue(st, j);
}

int
store_delete(struct store *st, const char *domain, int64_t now_s)
{
	struct job *j = job_new(JOB_DELETE, domain, now_s);

	return j == NULL ? -ENOMEM : enqueue(st, j);
}

int
store_drop_due(struct store *st, const struct store_due *due, int64_t now_s)
{
	struct job *j = job_new(JOB_DROP_DUE, due->domain, now_s);

	if (j == NULL)
		return -ENOMEM;
	j->head.refresh_s = due->at_s;
	return enqueue(st, j);
}

/* ---- reading ---------------------------------------------------------------------
 */

int
store_get(struct store *st, const char *domain, struct policy_record *ret)
{
	MDB_val key = { strlen(domain), (void *)(uintptr_t)domain }, val;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (domain[0] == '\0')
		return PE_NOT_FOUND;
	r = err_from_lmdb(mdb_txn_renew(st->read_txn));
	if (r < 0)
		return r;
	r = err_from_lmdb(mdb_get(st->read_txn, st->db.policy, &key, &val));
	if (r == 0)
		r = record_decode(domain, val.mv_data, val.mv_size, ret);
	mdb_txn_reset(st->read_txn);
	return r;
}

size_t
store_due(struct store *st, int64_t now_s, size_t n, struct store_due *ret_due)
{
	MDB_cursor *cur;
	MDB_val key, val;
	size_t found = 0;
	int rc;

	if (mdb_txn_renew(st->read_txn) != 0)
		return 0;
	if (mdb_cursor_open(st->read_txn, st->db.due, &cur) == 0) {
		rc = mdb_cursor_get(cur, &key, &val, MDB_FIRST);
		while (rc == 0 && found < n && now_s >= 0 &&
		    key.mv_size > STORE_TIME_LEN &&
		    store_db_key_time(&key) <= (uint64_t)now_s) {
			ret_due[found].at_s = (int64_t)store_db_key_time(&key);
			if (store_db_key_domain(
				&key, STORE_TIME_LEN, ret_due[found].domain))
				found++;
			rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
		}
		mdb_cursor_close(cur);
	}
	mdb_txn_reset(st->read_txn);
	return found;
}

int
store_list(struct store *st, const char *after,
    bool (*each)(void *arg, const struct policy_record *rec), void *arg)
{
	char domain[DNS_NAME_SIZE];
	struct policy_record rec;
	MDB_val key = { strlen(after), (void *)(uintptr_t)after }, val;
	MDB_cursor *cur;
	bool more = true;
	int rc;

	rc = mdb_txn_renew(st->read_txn);
	if (rc != 0)
		return err_from_lmdb(rc);
	rc = mdb_cursor_open(st->read_txn, st->db.policy, &cur);
	if (rc != 0) {
		mdb_txn_reset(st->read_txn);
		return err_from_lmdb(rc);
	}
	rc = mdb_cursor_get(
	    cur, &key, &val, after[0] == '\0' ? MDB_FIRST : MDB_SET_RANGE);
	while (rc == 0 && more) {
		if (store_db_key_domain(&key, 0, domain) &&
		    strcmp(domain, after) != 0 &&
		    record_decode(domain, val.mv_data, val.mv_size, &rec) ==
			0) {
			more = each(arg, &rec);
			record_done(&rec);
		}
		rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
	}
	mdb_cursor_close(cur);
	mdb_txn_reset(st->read_txn);
	return rc == MDB_NOTFOUND || rc == 0 ? 0 : err_from_lmdb(rc);
}

void
store_stats(struct store *st, int64_t now_s, struct store_stats *ret)
{
	int i;

	memset(ret, 0, sizeof(*ret));
	if (mdb_txn_renew(st->read_txn) == 0) {
		for (i = 0; i < STORE_MODES; i++)
			ret->by_mode[i] =
			    store_db_entries(st->read_txn, st->db.used[i]);
		age_read(
		    st->read_txn, st->db.age, now_s, ret->by_age, STORE_MODES);
		mdb_txn_reset(st->read_txn);
	}
	(void)pthread_mutex_lock(&st->mutex);
	ret->evicted = st->evicted;
	ret->refused = st->refused;
	ret->write_errors = st->write_errors;
	ret->commits = st->commits;
	(void)pthread_mutex_unlock(&st->mutex);
}
