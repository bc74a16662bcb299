/*
 * store_young.c - mail that was never deferred has tables of its own.
 *
 * A commit writes each page between the root of a table and what changed there.
 * With a million deferred messages that is three or four pages per table, with
 * none it is one. So that fresh mail does not pay for the backlog, messages
 * come in among the young, in tables that stay as small as what is under way,
 * and go to the old ones when they are deferred.
 *
 * Where an entry is says nothing: every reader looks into both (store.c,
 * store_txn.c). The one promise is that a key is never in both. Bodies have one
 * table, so that none is ever copied.
 */
#include "queue/store_ops.h"

#include "lib/base/err.h"
#include "lib/base/lmdb_err.h"

#include <errno.h>
#include <string.h>

static void
to_val(MDB_val *v, const struct key *k)
{
	v->mv_data = (void *)(uintptr_t)k->b;
	v->mv_size = k->len;
}

/* The message that a key belongs to; 0: it is no key of this table. */
static uint64_t
mid_of(enum store_db db, const struct key *k)
{
	struct dq_entry e;
	uint64_t mid = 0, id;
	uint32_t rid;
	int64_t at;
	int r;

	if (db == DB_MSG)
		r = key_u64_parse(k->b, k->len, &mid);
	else if (db == DB_RCPT)
		r = key_rcpt_parse(k->b, k->len, &mid, &rid);
	else if (db == DB_EXP)
		r = key_time_parse(k->b, k->len, &at, &mid);
	else {
		r = key_dq_parse(k->b, k->len, &id, &e);
		mid = e.mid;
	}
	return r < 0 ? 0 : mid;
}

static int
is_young(struct stxn *x, enum store_db db, const struct key *k, bool *ret)
{
	MDB_val kv, v;
	int r;

	to_val(&kv, k);
	r = err_from_lmdb(mdb_get(x->txn, x->st->young[db], &kv, &v));
	*ret = r == 0;
	return r == PE_NOT_FOUND ? 0 : r;
}

int
stx_place(struct stxn *x, enum store_db db, const struct key *k, MDB_dbi *ret)
{
	struct key msg;
	uint64_t mid;
	bool young;
	int r;

	*ret = x->st->dbi[db];
	if (x->st->young[db] == 0)
		return 0;
	mid = mid_of(db, k);
	young = mid != 0 && mid == x->fresh_mid;
	r = young ? 0 : is_young(x, db, k, &young); /* there already */
	if (r == 0 && !young && mid != 0 && db != DB_MSG) {
		key_u64(&msg, mid);
		r = is_young(x, DB_MSG, &msg, &young);
	}
	if (young)
		*ret = x->st->young[db];
	return r;
}

/* One entry goes to the old ones, if it is young. */
static int
move(struct stxn *x, enum store_db db, const struct key *k)
{
	MDB_val kv, v;
	int r;

	to_val(&kv, k);
	r = mdb_get(x->txn, x->st->young[db], &kv, &v);
	if (r == MDB_NOTFOUND)
		return 0;
	if (r == 0 && v.mv_size > 0) {
		v.mv_data = arena_memdup(&x->arena, v.mv_data, v.mv_size);
		if (v.mv_data == NULL)
			return x->hard = -ENOMEM;
	}
	if (r == 0)
		r = mdb_del(x->txn, x->st->young[db], &kv, NULL);
	if (r == 0)
		r = mdb_put(x->txn, x->st->dbi[db], &kv, &v, 0);
	if (r != 0 && x->hard == 0)
		x->hard = err_from_lmdb(r);
	return err_from_lmdb(r);
}

/* The first young recipient of a message, its key and its record. */
static int
first_rcpt(struct stxn *x, uint64_t mid, struct key *ret_key,
    struct rec_rcpt *ret, bool *ret_readable)
{
	MDB_cursor *cur;
	MDB_val kv, v;
	uint64_t m;
	uint32_t rid;
	int r;

	*ret_readable = false;
	r = mdb_cursor_open(x->txn, x->st->young[DB_RCPT], &cur);
	if (r != 0)
		return err_from_lmdb(r);
	key_rcpt(ret_key, mid, 0);
	to_val(&kv, ret_key);
	r = err_from_lmdb(mdb_cursor_get(cur, &kv, &v, MDB_SET_RANGE));
	if (r == 0 &&
	    (key_rcpt_parse(kv.mv_data, kv.mv_size, &m, &rid) < 0 || m != mid))
		r = PE_NOT_FOUND;
	if (r == 0) {
		key_rcpt(ret_key, mid, rid);
		*ret_readable = rec_rcpt_decode(v.mv_data, v.mv_size, ret) == 0;
	}
	mdb_cursor_close(cur);
	return r;
}

static int
move_rcpts(struct stxn *x, uint64_t mid)
{
	struct rec_rcpt rc;
	struct dq_entry e;
	struct key k, dq;
	bool readable;
	uint64_t m;
	int r;

	while ((r = first_rcpt(x, mid, &k, &rc, &readable)) == 0) {
		if (readable && rc.due_s != 0) {
			e.due_s = rc.due_s;
			(void)key_rcpt_parse(k.b, k.len, &m, &e.rid);
			e.mid = mid;
			key_dq(&dq, rc.dest_id, &e);
			r = move(x, DB_DQ, &dq);
		}
		if (r == 0)
			r = move(x, DB_RCPT, &k);
		if (r < 0)
			return r;
	}
	return r == PE_NOT_FOUND ? 0 : r;
}

int
stx_age(struct stxn *x, uint64_t mid)
{
	struct rec_msg m;
	struct key k, exp;
	MDB_val kv, v;
	int r;

	key_u64(&k, mid);
	to_val(&kv, &k);
	r = err_from_lmdb(mdb_get(x->txn, x->st->young[DB_MSG], &kv, &v));
	if (r < 0) {
		if (r != PE_NOT_FOUND && x->hard == 0)
			x->hard = r;
		return r == PE_NOT_FOUND ? 0 : r;
	}
	r = 0;
	/* what cannot be read keeps its entry among the young */
	if (rec_msg_decode(v.mv_data, v.mv_size, &m) == 0 && m.exp_s != 0) {
		key_time(&exp, m.exp_s, mid);
		r = move(x, DB_EXP, &exp);
	}
	if (r == 0)
		r = move_rcpts(x, mid);
	if (r == 0)
		r = move(x, DB_MSG, &k);
	if (r < 0 && x->hard == 0)
		x->hard = r;
	return r;
}

int
stx_age_dest(struct stxn *x, uint64_t dest_id, uint32_t max)
{
	struct dq_entry e = { 0, 0, 0 };
	MDB_cursor *cur;
	MDB_val kv, v;
	struct key k;
	uint64_t id;
	int r = 0;

	for (; max > 0 && r == 0; max--) {
		key_dq(&k, dest_id, &e);
		to_val(&kv, &k);
		r = err_from_lmdb(
		    mdb_cursor_open(x->txn, x->st->young[DB_DQ], &cur));
		if (r < 0)
			break;
		r = err_from_lmdb(mdb_cursor_get(cur, &kv, &v, MDB_SET_RANGE));
		if (r == 0 &&
		    (key_dq_parse(kv.mv_data, kv.mv_size, &id, &e) < 0 ||
			id != dest_id))
			r = PE_NOT_FOUND;
		mdb_cursor_close(cur);
		if (r == 0)
			r = stx_age(x, e.mid);
		e.rid++; /* past one that leads nowhere */
	}
	if (r < 0 && r != PE_NOT_FOUND && x->hard == 0)
		x->hard = r;
	return r == PE_NOT_FOUND ? 0 : r;
}
