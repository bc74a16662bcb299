/*
 * store_txn.c - one write transaction: cached destinations, counters, marks.
 *
 * Called by the writer thread, and by tests on their own thread. A destination
 * that many jobs of one batch touch is read once and written once.
 */
#include "queue/store.h"

#include "lib/base/err.h"
#include "lib/base/lmdb_err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SCRATCH_MAX = 64 * 1024, DESTS_MIN = 64 };

static const char *const id_names[3] = { "next.mid", "next.icid", "next.dcid" };

static int
hard(struct stxn *x, int r)
{
	if (r < 0 && x->hard == 0)
		x->hard = r;
	return r;
}

static void
to_val(MDB_val *v, const struct key *k)
{
	v->mv_data = (void *)(uintptr_t)k->b;
	v->mv_size = k->len;
}

/* ---- life ------------------------------------------------------------------ */

void
stx_init(struct stxn *x, struct store *st)
{
	memset(x, 0, sizeof(*x));
	x->st = st;
	buf_init(&x->scratch, SCRATCH_MAX);
}

void
stx_done(struct stxn *x)
{
	if (x->txn != NULL)
		stx_abort(x);
	arena_done(&x->arena);
	buf_done(&x->scratch);
	free(x->dests);
	x->dests = NULL;
}

static void
forget(struct stxn *x)
{
	if (x->n_dests > 0)
		memset(x->dests, 0, x->dests_cap * sizeof(*x->dests));
	x->n_dests = 0;
	/* LMDB closes cursors of write transactions */
	x->dq_cur[0] = x->dq_cur[1] = NULL;
	x->fresh_mid = 0;
	x->txn = NULL;
}

int
stx_begin(struct stxn *x, int64_t now_s)
{
	int r;

	arena_reset(&x->arena);
	x->unlinks = NULL;
	x->hard = 0;
	x->now_s = now_s;
	x->c = x->st->counters;
	x->next_dest = x->st->next_dest;
	memcpy(x->next_id, x->st->next_id, sizeof(x->next_id));
	x->n_suspended = x->st->n_suspended;
	x->counters_dirty = x->ids_dirty = false;
	r = x->st->no_map
	    ? -ENOTRECOVERABLE
	    : err_from_lmdb(mdb_txn_begin(x->st->env, NULL, 0, &x->txn));
	if (r < 0)
		x->txn = NULL;
	return r;
}

void
stx_abort(struct stxn *x)
{
	if (x->txn != NULL)
		mdb_txn_abort(x->txn);
	x->unlinks = NULL;
	forget(x);
}

/* ---- plain access ---------------------------------------------------------- */

int
stx_get(struct stxn *x, enum store_db db, const struct key *k, MDB_val *ret)
{
	struct sview v = { x->st, x->txn };
	int r = sview_get(&v, db, k, ret);

	return r == PE_NOT_FOUND ? r : hard(x, r);
}

int
stx_put(struct stxn *x, enum store_db db, const struct key *k, const void *data,
    size_t len)
{
	MDB_val kv, v;
	MDB_dbi dbi;
	int r;

	r = stx_place(x, db, k, &dbi);
	if (r < 0)
		return hard(x, r);
	to_val(&kv, k);
	v.mv_data = (void *)(uintptr_t)data;
	v.mv_size = len;
	return hard(x, err_from_lmdb(mdb_put(x->txn, dbi, &kv, &v, 0)));
}

int
stx_del(struct stxn *x, enum store_db db, const struct key *k)
{
	MDB_val kv;
	int r = MDB_NOTFOUND;

	to_val(&kv, k);
	if (x->st->young[db] != 0)
		r = mdb_del(x->txn, x->st->young[db], &kv, NULL);
	if (r == MDB_NOTFOUND)
		r = mdb_del(x->txn, x->st->dbi[db], &kv, NULL);
	return r == MDB_NOTFOUND ? 0 : hard(x, err_from_lmdb(r));
}

int
stx_move_to_bad(
    struct stxn *x, enum store_db db, const char *tag, const struct key *k)
{
	struct key bad;
	MDB_val v;
	void *copy;
	int r;

	r = stx_get(x, db, k, &v);
	if (r < 0)
		return r == PE_NOT_FOUND ? 0 : r;
	copy = arena_memdup(&x->arena, v.mv_data, v.mv_size);
	if (copy == NULL)
		return x->hard = -ENOMEM;
	memcpy(bad.b, tag, 4);
	memcpy(bad.b + 4, k->b, k->len);
	bad.len = k->len + 4;
	r = stx_put(x, DB_BAD, &bad, copy, v.mv_size);
	return r < 0 ? r : stx_del(x, db, k);
}

/* A private copy of a value, since LMDB's moves with the next write. */
static int
get_copy(struct stxn *x, enum store_db db, const struct key *k, void **ret,
    size_t *ret_len)
{
	MDB_val v;
	int r;

	r = stx_get(x, db, k, &v);
	if (r < 0)
		return r;
	*ret = arena_memdup(&x->arena, v.mv_data, v.mv_size);
	if (*ret == NULL)
		return hard(x, -ENOMEM);
	*ret_len = v.mv_size;
	return 0;
}

static int
put_scratch(struct stxn *x, enum store_db db, const struct key *k, int err)
{
	if (err < 0)
		return hard(x, err);
	return stx_put(x, db, k, buf_data(&x->scratch), buf_len(&x->scratch));
}

int
stx_msg(struct stxn *x, uint64_t mid, struct rec_msg *ret)
{
	struct key k;
	void *p;
	size_t len;
	int r;

	key_u64(&k, mid);
	r = get_copy(x, DB_MSG, &k, &p, &len);
	return r < 0 ? r : rec_msg_decode(p, len, ret);
}

int
stx_rcpt(struct stxn *x, uint64_t mid, uint32_t rid, struct rec_rcpt *ret)
{
	struct key k;
	void *p;
	size_t len;
	int r;

	key_rcpt(&k, mid, rid);
	r = get_copy(x, DB_RCPT, &k, &p, &len);
	return r < 0 ? r : rec_rcpt_decode(p, len, ret);
}

int
stx_msg_put(struct stxn *x, uint64_t mid, const struct rec_msg *m)
{
	struct key k;

	key_u64(&k, mid);
	buf_reset(&x->scratch, SCRATCH_MAX);
	return put_scratch(x, DB_MSG, &k, rec_msg_encode(&x->scratch, m));
}

int
stx_rcpt_put(
    struct stxn *x, uint64_t mid, uint32_t rid, const struct rec_rcpt *m)
{
	struct key k;

	key_rcpt(&k, mid, rid);
	buf_reset(&x->scratch, SCRATCH_MAX);
	return put_scratch(x, DB_RCPT, &k, rec_rcpt_encode(&x->scratch, m));
}

/* ---- destinations ----------------------------------------------------------- */

/* Where id is or would be; the table always has room. */
static size_t
slot(const struct stxn *x, uint64_t id)
{
	size_t i = (size_t)(id * 0x9e3779b97f4a7c15ULL) & (x->dests_cap - 1);

	while (x->dests[i] != NULL && x->dests[i]->id != id)
		i = (i + 1) & (x->dests_cap - 1);
	return i;
}

static int
make_room(struct stxn *x)
{
	struct sdest **old = x->dests;
	size_t i, cap = x->dests_cap;

	if (old != NULL && (x->n_dests + 1) * 2 < cap)
		return 0;
	x->dests_cap = cap == 0 ? DESTS_MIN : cap * 2;
	x->dests = calloc(x->dests_cap, sizeof(*x->dests));
	if (x->dests == NULL) {
		x->dests = old;
		x->dests_cap = cap;
		return hard(x, -ENOMEM);
	}
	for (i = 0; i < cap; i++)
		if (old[i] != NULL)
			x->dests[slot(x, old[i]->id)] = old[i];
	free(old);
	return 0;
}

static struct sdest *
cache(struct stxn *x, uint64_t id)
{
	struct sdest *d = arena_alloc(&x->arena, sizeof(*d));

	if (d == NULL) {
		(void)hard(x, -ENOMEM);
		return NULL;
	}
	memset(d, 0, sizeof(*d));
	d->id = id;
	x->dests[slot(x, id)] = d;
	x->n_dests++;
	return d;
}

int
stx_dest(struct stxn *x, uint64_t id, struct sdest **ret)
{
	struct rec_dest rec;
	struct key k;
	void *p;
	size_t len;
	int r;

	r = make_room(x);
	if (r < 0)
		return r;
	*ret = x->dests[slot(x, id)];
	if (*ret != NULL)
		return (*ret)->gone ? PE_NOT_FOUND : 0;
	key_u64(&k, id);
	r = get_copy(x, DB_DEST, &k, &p, &len);
	if (r == 0)
		r = rec_dest_decode(p, len, &rec);
	if (r < 0)
		return r;
	*ret = cache(x, id);
	if (*ret == NULL)
		return -ENOMEM;
	(*ret)->r = rec;
	return 0;
}

/* Is the domain, or everything, suspended? */
static int
is_suspended(struct stxn *x, const char *domain, bool *ret)
{
	struct key k;
	MDB_val v;
	int r;

	*ret = false;
	if (x->n_suspended == 0)
		return 0;
	r = key_dname(&k, domain, "", 0);
	if (r < 0)
		return r;
	r = stx_get(x, DB_SUSP, &k, &v);
	*ret = r == 0;
	return r == PE_NOT_FOUND ? 0 : r;
}

static int
dest_create(struct stxn *x, const struct key *name, const char *domain,
    const char *gateway, uint32_t cls, struct sdest **ret)
{
	struct sdest *d;
	struct key id;
	bool suspended;
	int r;

	r = is_suspended(x, domain, &suspended);
	if (r < 0)
		return r;
	d = cache(x, x->next_dest);
	if (d == NULL)
		return -ENOMEM;
	x->next_dest++;
	x->ids_dirty = true;
	d->r.domain = arena_strdup(&x->arena, domain);
	d->r.gateway = arena_strdup(&x->arena, gateway);
	d->r.status = d->r.text = d->r.host = d->r.last_error = "";
	d->r.suspended = suspended;
	d->r.cls = cls;
	d->dirty = true;
	if (d->r.domain == NULL || d->r.gateway == NULL)
		return hard(x, -ENOMEM);
	key_u64(&id, d->id);
	r = stx_put(x, DB_DNAME, name, id.b, id.len);
	*ret = d;
	return r;
}

int
stx_dest_named(struct stxn *x, const char *domain, const char *gateway,
    uint32_t cls, struct sdest **ret)
{
	struct key k;
	MDB_val v;
	uint64_t id;
	int r;

	r = key_dname(&k, domain, gateway, cls);
	if (r == 0)
		r = make_room(x);
	if (r < 0)
		return r;
	r = stx_get(x, DB_DNAME, &k, &v);
	if (r == 0)
		r = key_u64_parse(v.mv_data, v.mv_size, &id);
	if (r == 0)
		r = stx_dest(x, id, ret);
	if (x->hard != 0)
		return x->hard;
	/* a name that leads nowhere, or to a broken record, starts afresh */
	if (r == PE_NOT_FOUND || r == PE_CORRUPT)
		r = dest_create(x, &k, domain, gateway, cls, ret);
	return r;
}

int
stx_dest_sched(struct stxn *x, struct sdest *d, int64_t time_s)
{
	struct key k;
	int r = 0;

	if (d->r.sched_s == time_s)
		return 0;
	if (d->r.sched_s != 0) {
		key_time(&k, d->r.sched_s, d->id);
		r = stx_del(x, DB_SCHED, &k);
	}
	if (r == 0 && time_s != 0) {
		key_time(&k, time_s, d->id);
		r = stx_put(x, DB_SCHED, &k, NULL, 0);
	}
	d->r.sched_s = time_s;
	d->dirty = true;
	return r;
}

int
stx_due_add(struct stxn *x, struct sdest *d, const struct dq_entry *e)
{
	struct key k;
	int64_t at;
	int r;

	key_dq(&k, d->id, e);
	r = stx_put(x, DB_DQ, &k, NULL, 0);
	if (r < 0 || d->r.suspended)
		return r;
	at = e->due_s > d->r.until_s ? e->due_s : d->r.until_s;
	if (d->r.sched_s == 0 || at < d->r.sched_s)
		r = stx_dest_sched(x, d, at);
	return r;
}

int
stx_due_del(struct stxn *x, struct sdest *d, const struct dq_entry *e)
{
	struct key k;

	key_dq(&k, d->id, e);
	d->recalc = true;
	return stx_del(x, DB_DQ, &k);
}

/* The same in one of the two tables. */
static int
due_from_one(struct stxn *x, int i, uint64_t dest_id,
    const struct dq_entry *from, struct dq_entry *ret)
{
	struct key k;
	MDB_val kv, v;
	uint64_t id;
	int r = 0;

	if (x->dq_cur[i] == NULL)
		r = err_from_lmdb(mdb_cursor_open(x->txn,
		    i == 0 ? x->st->dbi[DB_DQ] : x->st->young[DB_DQ],
		    &x->dq_cur[i]));
	if (r < 0)
		return hard(x, r);
	key_dq(&k, dest_id, from);
	to_val(&kv, &k);
	r = mdb_cursor_get(x->dq_cur[i], &kv, &v, MDB_SET_RANGE);
	/* what is no key is passed over; the loop has it set aside */
	while (r == 0 && key_dq_parse(kv.mv_data, kv.mv_size, &id, ret) < 0)
		r = mdb_cursor_get(x->dq_cur[i], &kv, &v, MDB_NEXT);
	if (r != 0 && r != MDB_NOTFOUND)
		return hard(x, err_from_lmdb(r));
	return r == 0 && id == dest_id ? 0 : PE_NOT_FOUND;
}

int
stx_due_from(struct stxn *x, uint64_t dest_id, const struct dq_entry *from,
    struct dq_entry *ret)
{
	struct dq_entry young;
	int r, y;

	r = due_from_one(x, 0, dest_id, from, ret);
	if (r < 0 && r != PE_NOT_FOUND)
		return r;
	y = due_from_one(x, 1, dest_id, from, &young);
	if (y < 0)
		return y == PE_NOT_FOUND ? r : y;
	if (r == PE_NOT_FOUND || dq_entry_cmp(&young, ret) < 0)
		*ret = young;
	return 0;
}

int
stx_due_first(struct stxn *x, uint64_t dest_id, struct dq_entry *ret)
{
	const struct dq_entry zero = { 0, 0, 0 };

	return stx_due_from(x, dest_id, &zero, ret);
}

/*
 * The promise of sched, at every commit: a destination has an entry exactly
 * when something waits there and it is not suspended; at the time when it next
 * has something to do, or at any time that is past when that is now.
 */
static int
dest_recalc(struct stxn *x, struct sdest *d)
{
	struct dq_entry e;
	int64_t at = 0;
	int r;

	d->recalc = false;
	r = stx_due_first(x, d->id, &e);
	if (r < 0 && r != PE_NOT_FOUND)
		return r;
	if (r == 0 && !d->r.suspended) {
		at = e.due_s > d->r.until_s ? e.due_s : d->r.until_s;
		if (at == 0)
			at = 1; /* 0 says none */
		if (at <= x->now_s && d->r.sched_s != 0 &&
		    d->r.sched_s <= x->now_s)
			return 0;
	}
	return stx_dest_sched(x, d, at);
}

static int
dest_flush(struct stxn *x, struct sdest *d)
{
	struct key k;
	int r = 0;

	if (d->gone)
		return 0;
	if (d->recalc)
		r = dest_recalc(x, d);
	if (r < 0 || !d->dirty)
		return r;
	key_u64(&k, d->id);
	buf_reset(&x->scratch, SCRATCH_MAX);
	return put_scratch(x, DB_DEST, &k, rec_dest_encode(&x->scratch, &d->r));
}

int
stx_dest_forget(struct stxn *x, struct sdest *d)
{
	struct key k;
	int r;

	r = stx_dest_sched(x, d, 0);
	if (r == 0)
		r = key_dname(&k, d->r.domain, d->r.gateway, d->r.cls);
	if (r == 0)
		r = stx_del(x, DB_DNAME, &k);
	key_u64(&k, d->id);
	if (r == 0)
		r = stx_del(x, DB_DEST, &k);
	d->gone = true;
	return r;
}

int
stx_dest_remake(struct stxn *x, uint64_t id, const char *domain,
    const char *gateway, uint32_t cls, struct sdest **ret)
{
	struct sdest *d;
	struct key k, v;
	int r;

	r = key_dname(&k, domain, gateway, cls);
	if (r == 0)
		r = make_room(x);
	if (r < 0)
		return r;
	d = cache(x, id);
	if (d == NULL)
		return -ENOMEM;
	d->r.domain = arena_strdup(&x->arena, domain);
	d->r.gateway = arena_strdup(&x->arena, gateway);
	d->r.status = d->r.text = d->r.host = d->r.last_error = "";
	d->r.cls = cls;
	d->dirty = d->recalc = true;
	if (d->r.domain == NULL || d->r.gateway == NULL)
		return hard(x, -ENOMEM);
	key_u64(&v, id);
	*ret = d;
	return stx_put(x, DB_DNAME, &k, v.b, v.len);
}

/* ---- the end ------------------------------------------------------------------ */

int
stx_unlink(struct stxn *x, uint64_t mid)
{
	struct sunlink *u = arena_alloc(&x->arena, sizeof(*u));

	if (u == NULL)
		return hard(x, -ENOMEM);
	u->mid = mid;
	u->next = x->unlinks;
	x->unlinks = u;
	return 0;
}

static int
put_meta(struct stxn *x, const char *name, const void *data, size_t len)
{
	struct key k;

	k.len = strlen(name);
	memcpy(k.b, name, k.len);
	return stx_put(x, DB_META, &k, data, len);
}

static int
write_meta(struct stxn *x)
{
	struct key v;
	int i, r = 0;

	if (x->ids_dirty) {
		key_u64(&v, x->next_dest);
		r = put_meta(x, "next.dest", v.b, v.len);
		for (i = 0; r == 0 && i < 3; i++) {
			key_u64(&v, x->next_id[i]);
			r = put_meta(x, id_names[i], v.b, v.len);
		}
	}
	if (r == 0 && x->counters_dirty) {
		buf_reset(&x->scratch, SCRATCH_MAX);
		r = rec_counters_encode(&x->scratch, &x->c);
		if (r == 0)
			r = put_meta(x, "counters", buf_data(&x->scratch),
			    buf_len(&x->scratch));
	}
	return r;
}

int
stx_commit(struct stxn *x)
{
	size_t i;
	int r = x->hard;

	for (i = 0; r == 0 && i < x->dests_cap && x->n_dests > 0; i++)
		if (x->dests[i] != NULL)
			r = dest_flush(x, x->dests[i]);
	if (r == 0)
		r = write_meta(x);
	if (r == 0)
		r = store_point(x->st, POINT_COMMIT);
	if (r < 0) {
		stx_abort(x);
		return r;
	}
	/* after this call returns 0, all of it survives a power cut */
	r = err_from_lmdb(mdb_txn_commit(x->txn));
	if (r < 0) {
		x->unlinks = NULL; /* LMDB has freed the transaction */
		forget(x);
		return r;
	}
	forget(x);
	x->st->counters = x->c;
	x->st->next_dest = x->next_dest;
	memcpy(x->st->next_id, x->next_id, sizeof(x->next_id));
	x->st->n_suspended = x->n_suspended;
	x->st->commits++;
	x->st->syncs += 2; /* data, then the meta page */
	(void)store_point(x->st, POINT_COMMITTED); /* too late to fail */
	return 0;
}
