/*
 * store.c - opening, reading and growing the LMDB environment.
 *
 * Default durability on purpose: a commit returns when data and meta page are
 * on disk. NOSYNC, NOMETASYNC and WRITEMAP each break the promise behind 250.
 * Never logs. Sources: lmdb.h (caveats).
 */
#include "queue/store.h"

#include "queue/body.h"

#include "lib/base/err.h"
#include "lib/base/lmdb_err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const db_names[DB_COUNT] = { "meta", "msg", "body", "rcpt",
	"dest", "dname", "dq", "sched", "exp", "notice", "susp", "bad" };

/* Tables that mail which was never deferred has apart: see store_young.c. */
static const char *const young_names[DB_COUNT] = { [DB_MSG] = "young.msg",
	[DB_RCPT] = "young.rcpt",
	[DB_DQ] = "young.dq",
	[DB_EXP] = "young.exp" };

static const char *const id_names[3] = { "next.mid", "next.icid", "next.dcid" };

int
store_point(struct store *st, enum store_point point)
{
	return st->on_point == NULL ? 0 : st->on_point(st->point_arg, point);
}

int
store_body_open(struct store *st, uint64_t mid, uint64_t size, int *ret_fd)
{
	if (st->on_body_open != NULL)
		st->on_body_open(st->point_arg, mid);
	return body_open(st->dir_fd, mid, size, ret_fd);
}

/* ---- opening ------------------------------------------------------------- */

static int
open_dbs(struct store *st, MDB_txn *txn)
{
	int i, r;

	for (i = 0; i < DB_COUNT; i++) {
		r = mdb_dbi_open(txn, db_names[i], MDB_CREATE, &st->dbi[i]);
		if (r == 0 && young_names[i] != NULL)
			r = mdb_dbi_open(
			    txn, young_names[i], MDB_CREATE, &st->young[i]);
		if (r != 0)
			return err_from_lmdb(r);
	}
	return 0;
}

static void
meta_key(MDB_val *k, const char *name)
{
	k->mv_data = (void *)(uintptr_t)name;
	k->mv_size = strlen(name);
}

static int
meta_number(struct store *st, MDB_txn *txn, const char *name, uint64_t *ret)
{
	MDB_val k, v;
	int r;

	meta_key(&k, name);
	r = mdb_get(txn, st->dbi[DB_META], &k, &v);
	if (r != 0)
		return err_from_lmdb(r);
	return key_u64_parse(v.mv_data, v.mv_size, ret);
}

static int
meta_put_number(
    struct store *st, MDB_txn *txn, const char *name, uint64_t value)
{
	struct key b;
	MDB_val k, v;

	meta_key(&k, name);
	key_u64(&b, value);
	v.mv_data = b.b;
	v.mv_size = b.len;
	return err_from_lmdb(mdb_put(txn, st->dbi[DB_META], &k, &v, 0));
}

static int
check_format(struct store *st, MDB_txn *txn, char *err, size_t err_len)
{
	uint64_t format = 0;
	int r;

	r = meta_number(st, txn, "format", &format);
	/* 1 had no tables of young mail: with them empty it is the same */
	if (r == PE_NOT_FOUND || (r == 0 && format == 1))
		return meta_put_number(st, txn, "format", STORE_FORMAT);
	if (r < 0)
		return r;
	if (format == STORE_FORMAT)
		return 0;
	(void)snprintf(err, err_len,
	    "the store has format %llu, this program knows %d: %s",
	    (unsigned long long)format, STORE_FORMAT,
	    format > STORE_FORMAT
		? "it was written by a newer version; use that one"
		: "it was written by an older version; drain it with that one");
	return PE_VERSION;
}

static int
load_meta(struct store *st, MDB_txn *txn)
{
	MDB_val k, v;
	MDB_stat stat;
	int i, r;

	st->next_dest = 1;
	r = meta_number(st, txn, "next.dest", &st->next_dest);
	for (i = 0; (r == 0 || r == PE_NOT_FOUND) && i < 3; i++) {
		st->next_id[i] = 1;
		r = meta_number(st, txn, id_names[i], &st->next_id[i]);
	}
	if (r < 0 && r != PE_NOT_FOUND)
		return r;
	meta_key(&k, "counters");
	r = err_from_lmdb(mdb_get(txn, st->dbi[DB_META], &k, &v));
	if (r == 0)
		r = rec_counters_decode(v.mv_data, v.mv_size, &st->counters);
	if (r < 0 && r != PE_NOT_FOUND)
		return r;
	r = mdb_stat(txn, st->dbi[DB_SUSP], &stat);
	if (r != 0)
		return err_from_lmdb(r);
	st->n_suspended = (uint32_t)stat.ms_entries;
	return 0;
}

/*
 * The file's first pages, made aside and moved into place: LMDB writes them
 * without a sync, and a power cut in between would leave a file that it calls
 * invalid for ever. What a former start left there is no store yet.
 */
static int
make_file(const char *path, int dir_fd)
{
	char aside[4096];
	MDB_env *env = NULL;
	int r;

	/* as the effective user: at a start as root the real one is still root,
	 * without the rights to look into another account's directory */
	if (faccessat(dir_fd, "data.mdb", F_OK, AT_EACCESS) == 0)
		return 0;
	if (errno != ENOENT ||
	    (mkdirat(dir_fd, "new", 0700) < 0 && errno != EEXIST) ||
	    (unlinkat(dir_fd, "new/data.mdb", 0) < 0 && errno != ENOENT) ||
	    (unlinkat(dir_fd, "new/lock.mdb", 0) < 0 && errno != ENOENT))
		return -errno;
	if ((size_t)snprintf(aside, sizeof(aside), "%s/new", path) >=
	    sizeof(aside))
		return -ENAMETOOLONG;
	r = mdb_env_create(&env);
	if (r == 0)
		r = mdb_env_open(env, aside, 0, 0600);
	if (r == 0)
		r = mdb_env_sync(env, 1);
	mdb_env_close(env);
	if (r != 0)
		return err_from_lmdb(r);
	if (renameat(dir_fd, "new/data.mdb", dir_fd, "data.mdb") < 0)
		return -errno;
	(void)unlinkat(dir_fd, "new/lock.mdb", 0); /* nobody minds them */
	(void)unlinkat(dir_fd, "new", AT_REMOVEDIR);
	return 0; /* the name is synced before anything is promised */
}

static int
open_env(struct store *st, const char *path, char *err, size_t err_len)
{
	MDB_txn *txn = NULL;
	int dead, r;

	r = mdb_env_create(&st->env);
	if (r == 0)
		r = mdb_env_set_maxdbs(st->env, 2 * DB_COUNT);
	if (r == 0)
		r = mdb_env_set_maxreaders(st->env, 512);
	if (r == 0)
		r = mdb_env_set_mapsize(st->env, st->map_size);
	if (r == 0)
		r = mdb_env_open(
		    st->env, path, MDB_NORDAHEAD | MDB_NOTLS, 0600);
	if (r == 0)
		r = mdb_reader_check(st->env, &dead); /* of killed ones */
	if (r == 0)
		r = mdb_txn_begin(st->env, NULL, 0, &txn);
	if (r != 0)
		return err_from_lmdb(r);
	r = open_dbs(st, txn);
	if (r == 0)
		r = check_format(st, txn, err, err_len);
	if (r == 0)
		r = load_meta(st, txn);
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	return err_from_lmdb(mdb_txn_commit(txn));
}

/* Whoever grows the map goes before readers that come later: with several
 * threads that read, some is always in, and clients wait for that growth. */
static int
gate_init(pthread_rwlock_t *gate)
{
	pthread_rwlockattr_t attr;
	int r;

	(void)pthread_rwlockattr_init(&attr);
	(void)pthread_rwlockattr_setkind_np(
	    &attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	r = -pthread_rwlock_init(gate, &attr);
	(void)pthread_rwlockattr_destroy(&attr);
	return r;
}

int
store_open(const char *path, int dir_fd, size_t map_size,
    struct store **ret_store, char *err, size_t err_len)
{
	struct store *st;
	MDB_envinfo info;
	int r;

	err[0] = '\0';
	st = calloc(1, sizeof(*st));
	if (st == NULL)
		return -ENOMEM;
	st->dir_fd = dir_fd;
	st->map_size = map_size;
	st->map_max = (size_t)1 << 42;
	r = gate_init(&st->gate);
	st->gate_up = r == 0;
	if (r == 0)
		r = make_file(path, dir_fd);
	if (r == 0)
		r = open_env(st, path, err, err_len);
	if (r == 0)
		r = err_from_lmdb(mdb_env_info(st->env, &info));
	if (r == 0)
		st->map_size = info.me_mapsize; /* a larger file wins */
	/* the names data.mdb and lock.mdb themselves */
	if (r == 0 && fsync(dir_fd) < 0)
		r = -errno;
	if (r == 0)
		r = err_from_lmdb(
		    mdb_txn_begin(st->env, NULL, MDB_RDONLY, &st->read_txn));
	if (r == 0)
		mdb_txn_reset(st->read_txn);
	if (r < 0) {
		if (err[0] == '\0')
			(void)snprintf(
			    err, err_len, "%s/data.mdb: %s", path, err_str(r));
		store_close(st);
		return r;
	}
	*ret_store = st;
	return 0;
}

void
store_close(struct store *st)
{
	if (st == NULL)
		return;
	if (st->read_txn != NULL)
		mdb_txn_abort(st->read_txn);
	if (st->env != NULL)
		mdb_env_close(st->env);
	if (st->gate_up)
		(void)pthread_rwlock_destroy(&st->gate); /* nobody waits */
	free(st);
}

/* Is there room in the address space? LMDB unmaps the old map first and has
 * none at all when the new one is refused: every access after that crashes. */
static int
probe_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	(void)munmap(p, size); /* just made */
	return 0;
}

int
store_grow(struct store *st)
{
	size_t want;
	int r;

	if (st->map_size >= st->map_max)
		return PE_FULL;
	want = st->map_size > st->map_max / 2 ? st->map_max : st->map_size * 2;
	r = probe_map(want);
	if (r < 0)
		return r;
	/* LMDB does not refuse while readers are in; their pointers would be
	 * unmapped under them, so they are kept out (measured) */
	(void)pthread_rwlock_wrlock(&st->gate);
	r = err_from_lmdb(mdb_env_set_mapsize(st->env, want));
	st->no_map =
	    r < 0; /* in spite of the probe: only a new process helps */
	(void)pthread_rwlock_unlock(&st->gate);
	if (r < 0)
		return -ENOTRECOVERABLE;
	st->map_size = want;
	st->grown++;
	return 0;
}

/* ---- reading ------------------------------------------------------------- */

int
store_view_begin(struct store *st, MDB_txn **txn, struct sview *ret)
{
	int r;

	(void)pthread_rwlock_rdlock(&st->gate);
	if (st->no_map)
		r = -ENOTRECOVERABLE;
	else if (*txn == NULL)
		r = err_from_lmdb(
		    mdb_txn_begin(st->env, NULL, MDB_RDONLY, txn));
	else
		r = err_from_lmdb(mdb_txn_renew(*txn));
	if (r < 0) {
		(void)pthread_rwlock_unlock(&st->gate);
		return r;
	}
	ret->st = st;
	ret->txn = *txn;
	return 0;
}

int
store_read_begin(struct store *st, struct sview *ret)
{
	return store_view_begin(st, &st->read_txn, ret);
}

void
store_read_end(struct sview *v)
{
	mdb_txn_reset(v->txn); /* a long reader would pin old pages */
	(void)pthread_rwlock_unlock(&v->st->gate);
	v->txn = NULL;
}

static void
to_val(MDB_val *v, const struct key *k)
{
	v->mv_data = (void *)(uintptr_t)k->b;
	v->mv_size = k->len;
}

int
sview_get(struct sview *v, enum store_db db, const struct key *k, MDB_val *ret)
{
	MDB_val kv;

	int r = MDB_NOTFOUND;

	to_val(&kv, k);
	if (v->st->young[db] != 0)
		r = mdb_get(v->txn, v->st->young[db], &kv, ret);
	if (r == MDB_NOTFOUND)
		r = mdb_get(v->txn, v->st->dbi[db], &kv, ret);
	return err_from_lmdb(r);
}

int
sview_msg(struct sview *v, uint64_t mid, struct rec_msg *ret)
{
	struct key k;
	MDB_val val;
	int r;

	key_u64(&k, mid);
	r = sview_get(v, DB_MSG, &k, &val);
	return r < 0 ? r : rec_msg_decode(val.mv_data, val.mv_size, ret);
}

int
sview_rcpt(struct sview *v, uint64_t mid, uint32_t rid, struct rec_rcpt *ret)
{
	struct key k;
	MDB_val val;
	int r;

	key_rcpt(&k, mid, rid);
	r = sview_get(v, DB_RCPT, &k, &val);
	return r < 0 ? r : rec_rcpt_decode(val.mv_data, val.mv_size, ret);
}

int
sview_dest(struct sview *v, uint64_t dest_id, struct rec_dest *ret)
{
	struct key k;
	MDB_val val;
	int r;

	key_u64(&k, dest_id);
	r = sview_get(v, DB_DEST, &k, &val);
	return r < 0 ? r : rec_dest_decode(val.mv_data, val.mv_size, ret);
}

uint64_t
sview_count(struct sview *v, enum store_db db)
{
	MDB_stat stat, young = { 0 };

	if (mdb_stat(v->txn, v->st->dbi[db], &stat) != 0 ||
	    (v->st->young[db] != 0 &&
		mdb_stat(v->txn, v->st->young[db], &young) != 0))
		return 0;
	return stat.ms_entries + young.ms_entries;
}

void
store_space(struct store *st, uint64_t *ret_used, uint64_t *ret_map)
{
	MDB_envinfo info;
	MDB_stat stat;

	*ret_used = *ret_map = 0;
	if (st->no_map || mdb_env_info(st->env, &info) != 0 ||
	    mdb_env_stat(st->env, &stat) != 0)
		return;
	*ret_used = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
	*ret_map = info.me_mapsize;
}

/* The result of moving one of the two cursors. */
static int
moved(struct siter *it, int i, int rc)
{
	it->there[i] = rc == 0;
	return rc == MDB_NOTFOUND ? 0 : err_from_lmdb(rc);
}

static int
seek(struct siter *it, int i, MDB_txn *txn, MDB_dbi dbi, const struct key *from)
{
	int r;

	r = err_from_lmdb(mdb_cursor_open(txn, dbi, &it->cur[i]));
	if (r < 0)
		return r;
	if (from == NULL)
		return moved(it, i,
		    mdb_cursor_get(
			it->cur[i], &it->ks[i], &it->vs[i], MDB_FIRST));
	to_val(&it->ks[i], from);
	return moved(it, i,
	    mdb_cursor_get(it->cur[i], &it->ks[i], &it->vs[i], MDB_SET_RANGE));
}

static int
pick(struct siter *it)
{
	if (!it->there[0] && !it->there[1])
		return PE_NOT_FOUND;
	it->at = it->there[0] ? 0 : 1;
	if (it->there[0] && it->there[1] &&
	    mdb_cmp(mdb_cursor_txn(it->cur[0]), mdb_cursor_dbi(it->cur[0]),
		&it->ks[0], &it->ks[1]) > 0)
		it->at = 1;
	it->k = it->ks[it->at];
	it->v = it->vs[it->at];
	return 0;
}

int
siter_first(struct siter *it, MDB_txn *txn, struct store *st, enum store_db db,
    const struct key *from)
{
	int r;

	it->cur[0] = it->cur[1] = NULL;
	it->there[0] = it->there[1] = false;
	r = seek(it, 0, txn, st->dbi[db], from);
	if (r == 0 && st->young[db] != 0)
		r = seek(it, 1, txn, st->young[db], from);
	return r < 0 ? r : pick(it);
}

int
siter_next(struct siter *it)
{
	int i = it->at, r;

	r = moved(it, i,
	    mdb_cursor_get(it->cur[i], &it->ks[i], &it->vs[i], MDB_NEXT));
	return r < 0 ? r : pick(it);
}

void
siter_end(struct siter *it)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (it->cur[i] != NULL)
			mdb_cursor_close(it->cur[i]);
		it->cur[i] = NULL;
	}
}
