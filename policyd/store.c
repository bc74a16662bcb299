/*
 * store.c - the LMDB environment of policies and its writing thread.
 *
 * Databases: `policy` (domain -> record), `due` (time, domain -> nothing) and
 * one `used` per mode (time, domain -> nothing), so that both the next refresh
 * and the next victim are one cursor step away. The indices may name what is
 * not there (after a damaged record); whoever meets such a key removes it.
 *
 * On disk: LMDB's default durability, a commit returns when it is synced; a
 * crash at any moment leaves the state of the last commit. Never logs. The
 * thread never touches anything but the queue of jobs under its mutex and its
 * own transactions. Sources: lmdb.h (caveats).
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
#include "lib/base/err.h"

enum {
	FORMAT = 1,
	MODES = STS_MODE_ENFORCE + 1,
	EVICT_BATCH = 64, /* at most in one job */
	BATCH_MAX = 1000,
	TIME_LEN = 8,
	KEY_SIZE = TIME_LEN + DNS_NAME_SIZE,
	MAP_PER_POLICY = 4096, /* with its index entries; text is short */
};

#define MAP_MIN ((size_t)64 << 20)

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
	MDB_env *env;
	MDB_dbi meta, policy, due, age, used[MODES];
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
	uint64_t evicted, write_errors, commits;
};

static int
err_of(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return PE_NOT_FOUND;
	case MDB_MAP_FULL:
		return PE_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_BAD_VALSIZE:
		return PE_CORRUPT;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}

static MDB_val
text_val(const char *text)
{
	MDB_val v = { strlen(text), (void *)(uintptr_t)text };

	return v;
}

/* Big-endian, so that keys sort by time. Times before 1970 count as 0. */
static MDB_val
time_key(uint8_t buf[KEY_SIZE], int64_t time_s, const char *domain)
{
	uint64_t t = time_s > 0 ? (uint64_t)time_s : 0;
	size_t len = strlen(domain), i;
	MDB_val v = { TIME_LEN + len, buf };

	for (i = 0; i < TIME_LEN; i++)
		buf[i] = (uint8_t)(t >> (8 * (TIME_LEN - 1 - i)));
	memcpy(buf + TIME_LEN, domain, len);
	return v;
}

static uint64_t
key_time(const MDB_val *key)
{
	const uint8_t *p = key->mv_data;
	uint64_t t = 0;
	size_t i;

	for (i = 0; i < TIME_LEN; i++)
		t = t << 8 | p[i];
	return t;
}

/* False: not one of our keys. */
static bool
key_domain(const MDB_val *key, size_t skip, char ret[DNS_NAME_SIZE])
{
	size_t len;

	if (key->mv_size <= skip || key->mv_size - skip >= DNS_NAME_SIZE)
		return false;
	len = key->mv_size - skip;
	memcpy(ret, (const uint8_t *)key->mv_data + skip, len);
	ret[len] = '\0';
	return true;
}

/* ---- inside a write transaction ---------------------------------------------
 */

static int
del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key)
{
	int rc = mdb_del(txn, dbi, key, NULL);

	return rc == MDB_NOTFOUND ? 0 : err_of(rc);
}

/* Take the record of a domain and its index entries away. */
static int
erase(struct store *st, MDB_txn *txn, const char *domain)
{
	struct policy_record old;
	MDB_val key = text_val(domain), val, k;
	uint8_t buf[KEY_SIZE];
	int r;

	r = err_of(mdb_get(txn, st->policy, &key, &val));
	if (r == PE_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	r = record_decode(domain, val.mv_data, val.mv_size, &old);
	if (r == 0) {
		k = time_key(buf, old.refresh_s, domain);
		r = del(txn, st->due, &k);
		if (r == 0) {
			k = time_key(buf, old.used_s, domain);
			r = del(txn, st->used[old.policy.mode], &k);
		}
		if (r == 0)
			r = err_of(age_count(txn, st->age, &old, -1));
		record_done(&old);
	} else if (r == PE_CORRUPT) {
		r = 0; /* its index entries are found by whoever meets them */
	}
	return r < 0 ? r : del(txn, st->policy, &key);
}

/* The least valuable record of a mode. 1, 0 when there is none, or an error. */
static int
evict_one(struct store *st, MDB_txn *txn, MDB_dbi used)
{
	char domain[DNS_NAME_SIZE];
	MDB_cursor *cur;
	MDB_val key, val;
	int r, r2;

	r = err_of(mdb_cursor_open(txn, used, &cur));
	if (r < 0)
		return r;
	r = err_of(mdb_cursor_get(cur, &key, &val, MDB_FIRST));
	if (r == 0) {
		if (!key_domain(&key, TIME_LEN, domain))
			domain[0] = '\0';
		/* first, as erase() may not find this key in the record */
		r = err_of(mdb_cursor_del(cur, 0));
	}
	mdb_cursor_close(cur);
	if (r == PE_NOT_FOUND)
		return 0;
	if (r < 0 || domain[0] == '\0')
		return r < 0 ? r : 1;
	r2 = erase(st, txn, domain);
	return r2 < 0 ? r2 : 1;
}

/* How many are there? */
static size_t
entries(MDB_txn *txn, MDB_dbi dbi)
{
	MDB_stat s;

	return mdb_stat(txn, dbi, &s) == 0 ? s.ms_entries : 0;
}

/*
 * Down to max records. What does no harm goes first: mode none, then testing,
 * then enforce; of each what was used longest ago. Expired ones are no longer
 * here: they are due, and deleted then.
 */
static int
evict(struct store *st, MDB_txn *txn, size_t max, size_t *ret_evicted)
{
	size_t i, before;
	int mode, r = 1;

	for (i = 0; i < EVICT_BATCH; i++) {
		before = entries(txn, st->policy);
		if (before <= max)
			return 0;
		for (mode = STS_MODE_NONE, r = 0; mode < MODES && r == 0;
		     mode++)
			r = evict_one(st, txn, st->used[mode]);
		if (r <= 0)
			return r;
		*ret_evicted += before - entries(txn, st->policy);
	}
	return 0;
}

static int
put(struct store *st, MDB_txn *txn, const struct job *j)
{
	MDB_val key = text_val(j->head.domain), val, none = { 0, NULL }, k;
	uint8_t buf[KEY_SIZE];
	int r;

	r = erase(st, txn, j->head.domain);
	if (r < 0)
		return r;
	val.mv_data = buf_data(&j->bytes);
	val.mv_size = buf_len(&j->bytes);
	r = err_of(mdb_put(txn, st->policy, &key, &val, 0));
	if (r == 0) {
		k = time_key(buf, j->head.refresh_s, j->head.domain);
		r = err_of(mdb_put(txn, st->due, &k, &none, 0));
	}
	if (r == 0) {
		k = time_key(buf, j->head.used_s, j->head.domain);
		r = err_of(
		    mdb_put(txn, st->used[j->head.policy.mode], &k, &none, 0));
	}
	if (r == 0)
		r = err_of(age_count(txn, st->age, &j->head, 1));
	return r;
}

/* The one entry of `due` that is named, unless the record says the same. */
static int
drop_due(struct store *st, MDB_txn *txn, const struct job *j)
{
	MDB_val key = text_val(j->head.domain), val, k;
	uint8_t buf[KEY_SIZE];
	struct policy_record rec;
	bool right = false;

	if (mdb_get(txn, st->policy, &key, &val) == 0 &&
	    record_decode(j->head.domain, val.mv_data, val.mv_size, &rec) ==
		0) {
		right = rec.refresh_s == j->head.refresh_s;
		record_done(&rec);
	}
	k = time_key(buf, j->head.refresh_s, j->head.domain);
	return right ? 0 : del(txn, st->due, &k);
}

static int
set_clock(struct store *st, MDB_txn *txn, int64_t now_s)
{
	MDB_val key = text_val("clock"), val;
	int64_t old;

	if (mdb_get(txn, st->meta, &key, &val) == 0 &&
	    val.mv_size == sizeof(old)) {
		memcpy(&old, val.mv_data, sizeof(old));
		if (old >= now_s)
			return 0;
	}
	val.mv_data = &now_s;
	val.mv_size = sizeof(now_s);
	return err_of(mdb_put(txn, st->meta, &key, &val, 0));
}

static int
run_job(struct store *st, MDB_txn *txn, const struct job *j)
{
	switch (j->kind) {
	case JOB_PUT:
		return put(st, txn, j);
	case JOB_DELETE:
		return erase(st, txn, j->head.domain);
	case JOB_DROP_DUE:
	default:
		return drop_due(st, txn, j);
	}
}

/* All jobs, or none. */
static int
run_batch(
    struct store *st, struct job_list *jobs, size_t max, size_t *ret_evicted)
{
	MDB_txn *txn;
	struct job *j;
	int64_t now_s = 0;
	int r;

	*ret_evicted = 0;
	r = err_of(mdb_txn_begin(st->env, NULL, 0, &txn));
	if (r < 0)
		return r;
	STAILQ_FOREACH(j, jobs, link) {
		r = run_job(st, txn, j);
		if (r < 0)
			break;
		if (j->now_s > now_s)
			now_s = j->now_s;
	}
	if (r == 0)
		r = evict(st, txn, max, ret_evicted);
	if (r == 0)
		r = set_clock(st, txn, now_s);
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	/* from here on the records survive a power cut */
	return err_of(mdb_txn_commit(txn));
}

/* The map is full: make room and say how much. */
static size_t
make_room(struct store *st)
{
	size_t evicted = 0, want;
	MDB_txn *txn;

	if (mdb_txn_begin(st->env, NULL, 0, &txn) != 0)
		return 0;
	want = entries(txn, st->policy);
	want = want > EVICT_BATCH ? want - EVICT_BATCH : 0;
	if (evict(st, txn, want, &evicted) < 0) {
		mdb_txn_abort(txn);
		return 0;
	}
	return mdb_txn_commit(txn) == 0 ? evicted : 0;
}

/* ---- the thread ---------------------------------------------------------------
 */

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

static void *
writer_main(void *arg)
{
	struct store *st = arg;
	struct job_list jobs;
	size_t evicted, made;
	uint32_t max;
	struct job *j;
	int r;

	(void)pthread_mutex_lock(&st->mutex);
	for (;;) {
		while (STAILQ_EMPTY(&st->todo) && !st->stop)
			(void)pthread_cond_wait(&st->cond, &st->mutex);
		if (STAILQ_EMPTY(&st->todo))
			break;
		take_jobs(st, &jobs);
		max = st->max;
		(void)pthread_mutex_unlock(&st->mutex);
		made = 0;
		r = run_batch(st, &jobs, max, &evicted);
		if (r == PE_FULL) {
			made = make_room(st);
			if (made > 0)
				r = run_batch(st, &jobs, max, &evicted);
		}
		(void)pthread_mutex_lock(&st->mutex);
		st->evicted += made + (r == 0 ? evicted : 0);
		st->commits += r == 0;
		STAILQ_FOREACH(j, &jobs, link) {
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
open_dbs(struct store *st, MDB_txn *txn, int64_t *ret_clock_s)
{
	static const char *const names[MODES] = { "used.none", "used.testing",
		"used.enforce" };
	MDB_val key = text_val("format"), val;
	uint32_t format = FORMAT;
	int i, rc;

	rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &st->meta);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "policy", MDB_CREATE, &st->policy);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "due", MDB_CREATE, &st->due);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "age", MDB_CREATE, &st->age);
	for (i = 0; i < MODES && rc == 0; i++)
		rc = mdb_dbi_open(txn, names[i], MDB_CREATE, &st->used[i]);
	if (rc != 0)
		return err_of(rc);
	rc = mdb_get(txn, st->meta, &key, &val);
	if (rc == MDB_NOTFOUND) {
		val.mv_data = &format;
		val.mv_size = sizeof(format);
		rc = mdb_put(txn, st->meta, &key, &val, 0);
	} else if (rc == 0) {
		if (val.mv_size != sizeof(format))
			return PE_CORRUPT;
		memcpy(&format, val.mv_data, sizeof(format));
		if (format != FORMAT)
			return PE_VERSION;
	}
	if (rc != 0)
		return err_of(rc);
	key = text_val("clock");
	*ret_clock_s = 0;
	if (mdb_get(txn, st->meta, &key, &val) == 0 &&
	    val.mv_size == sizeof(*ret_clock_s))
		memcpy(ret_clock_s, val.mv_data, sizeof(*ret_clock_s));
	return 0;
}

static int
open_env(struct store *st, const char *path, int64_t *ret_clock_s)
{
	size_t map = (size_t)st->max * MAP_PER_POLICY;
	MDB_txn *txn;
	int rc, dead, r;

	rc = mdb_env_create(&st->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(st->env, 4 + MODES);
	if (rc == 0)
		rc =
		    mdb_env_set_mapsize(st->env, map < MAP_MIN ? MAP_MIN : map);
	if (rc == 0)
		rc = mdb_env_open(
		    st->env, path, MDB_NORDAHEAD | MDB_NOTLS, 0600);
	if (rc == 0)
		rc = mdb_reader_check(st->env, &dead); /* of killed ones */
	if (rc == 0)
		rc = mdb_txn_begin(st->env, NULL, 0, &txn);
	if (rc != 0)
		return err_of(rc);
	r = open_dbs(st, txn, ret_clock_s);
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	rc = mdb_txn_commit(txn);
	if (rc == 0)
		rc = mdb_txn_begin(st->env, NULL, MDB_RDONLY, &st->read_txn);
	if (rc != 0)
		return err_of(rc);
	mdb_txn_reset(st->read_txn);
	return 0;
}

static void
on_closed(uv_handle_t *h)
{
	free(h->data);
}

int
store_open(uv_loop_t *loop, const char *path, uint32_t max,
    struct store **ret_store, int64_t *ret_clock_s, char *err, size_t err_len)
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
	r = open_env(st, path, ret_clock_s);
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
	if (st->env != NULL)
		mdb_env_close(st->env);
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
	MDB_val key = text_val(domain), val;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (domain[0] == '\0')
		return PE_NOT_FOUND;
	r = err_of(mdb_txn_renew(st->read_txn));
	if (r < 0)
		return r;
	r = err_of(mdb_get(st->read_txn, st->policy, &key, &val));
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
	if (mdb_cursor_open(st->read_txn, st->due, &cur) == 0) {
		rc = mdb_cursor_get(cur, &key, &val, MDB_FIRST);
		while (rc == 0 && found < n && now_s >= 0 &&
		    key.mv_size > TIME_LEN &&
		    key_time(&key) <= (uint64_t)now_s) {
			ret_due[found].at_s = (int64_t)key_time(&key);
			if (key_domain(&key, TIME_LEN, ret_due[found].domain))
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
	MDB_val key = text_val(after), val;
	MDB_cursor *cur;
	bool more = true;
	int rc;

	rc = mdb_txn_renew(st->read_txn);
	if (rc != 0)
		return err_of(rc);
	rc = mdb_cursor_open(st->read_txn, st->policy, &cur);
	if (rc != 0) {
		mdb_txn_reset(st->read_txn);
		return err_of(rc);
	}
	rc = mdb_cursor_get(
	    cur, &key, &val, after[0] == '\0' ? MDB_FIRST : MDB_SET_RANGE);
	while (rc == 0 && more) {
		if (key_domain(&key, 0, domain) && strcmp(domain, after) != 0 &&
		    record_decode(domain, val.mv_data, val.mv_size, &rec) ==
			0) {
			more = each(arg, &rec);
			record_done(&rec);
		}
		rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
	}
	mdb_cursor_close(cur);
	mdb_txn_reset(st->read_txn);
	return rc == MDB_NOTFOUND || rc == 0 ? 0 : err_of(rc);
}

void
store_stats(struct store *st, int64_t now_s, struct store_stats *ret)
{
	int i;

	memset(ret, 0, sizeof(*ret));
	if (mdb_txn_renew(st->read_txn) == 0) {
		for (i = 0; i < MODES; i++)
			ret->by_mode[i] = entries(st->read_txn, st->used[i]);
		age_read(st->read_txn, st->age, now_s, ret->by_age, MODES);
		mdb_txn_reset(st->read_txn);
	}
	(void)pthread_mutex_lock(&st->mutex);
	ret->evicted = st->evicted;
	ret->write_errors = st->write_errors;
	ret->commits = st->commits;
	(void)pthread_mutex_unlock(&st->mutex);
}
