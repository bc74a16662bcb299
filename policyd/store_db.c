/*
 * store_db.c - records, their indices, and who has to go (store_db.h).
 *
 * Databases: `policy` (domain -> record), `due` (time, domain -> nothing), one
 * `used` per mode (the same), `owned` (owner, time, domain -> nothing), `owner`
 * (owner -> units, and "total"), `age` (age.h), `meta`. The indices may name
 * what is not there (after a damaged record); whoever meets such a key removes
 * it, and believes none that its record does not confirm.
 * Sources: lmdb.h (caveats).
 */
#include "policyd/store_db.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/lmdb_err.h"
#include "policyd/age.h"

enum {
	FORMAT = 1,
	OWNER_LEN = 16,
	KEY_SIZE = OWNER_LEN + STORE_TIME_LEN + DNS_NAME_SIZE,
	EXPIRED_LOOKS = 64, /* entries of `due` in which one is looked for */
	DBS = 6 + STORE_MODES,
};

#define MAP_MIN ((size_t)64 << 20)
#define TOTAL	"total"

/* ---- keys -------------------------------------------------------------------
 */

static MDB_val
text_val(const char *text)
{
	MDB_val v = { strlen(text), (void *)(uintptr_t)text };

	return v;
}

/* Big-endian, so that keys sort by time. Times before 1970 count as 0. */
static uint64_t
key_seconds(int64_t time_s)
{
	return time_s > 0 ? (uint64_t)time_s : 0;
}

static size_t
put_time_domain(uint8_t *p, int64_t time_s, const char *domain)
{
	uint64_t t = key_seconds(time_s);
	size_t len = strlen(domain), i;

	for (i = 0; i < STORE_TIME_LEN; i++)
		p[i] = (uint8_t)(t >> (8 * (STORE_TIME_LEN - 1 - i)));
	memcpy(p + STORE_TIME_LEN, domain, len);
	return STORE_TIME_LEN + len;
}

static MDB_val
time_key(uint8_t buf[KEY_SIZE], int64_t time_s, const char *domain)
{
	MDB_val v = { put_time_domain(buf, time_s, domain), buf };

	return v;
}

uint64_t
store_db_key_time(const MDB_val *key)
{
	const uint8_t *p = key->mv_data;
	uint64_t t = 0;
	size_t i;

	for (i = 0; i < STORE_TIME_LEN; i++)
		t = t << 8 | p[i];
	return t;
}

bool
store_db_key_domain(const MDB_val *key, size_t skip, char ret[DNS_NAME_SIZE])
{
	size_t len;

	if (key->mv_size <= skip || key->mv_size - skip >= DNS_NAME_SIZE)
		return false;
	len = key->mv_size - skip;
	memcpy(ret, (const uint8_t *)key->mv_data + skip, len);
	ret[len] = '\0';
	return true;
}

/* ---- owners -------------------------------------------------------------------
 */

const char *
store_db_owner(const char *domain)
{
	const char *end = domain + strlen(domain), *p = end, *label = end;
	size_t len[2] = { 0, 0 }, want = 2, n = 0;

	while (p > domain) {
		if (*--p != '.' && p > domain)
			continue;
		/* a dot, or the first byte of all */
		if (*p == '.') {
			if (n < 2)
				len[n] = (size_t)(label - p) - 1;
			if (++n == 2 && len[0] == 2 && len[1] <= 3)
				want = 3;
			if (n == want)
				return p + 1;
			label = p;
		}
	}
	return domain;
}

/* Its key: a hash, for names may be as long as LMDB's keys. */
static int
owner_key(const char *domain, uint8_t ret[OWNER_LEN])
{
	const char *owner = store_db_owner(domain);
	uint8_t md[EVP_MAX_MD_SIZE];

	if (EVP_Digest(owner, strlen(owner), md, NULL, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	memcpy(ret, md, OWNER_LEN);
	return 0;
}

static uint64_t
units_of(size_t record_len)
{
	return 1 + record_len / STORE_UNIT;
}

static uint64_t
units_read(struct store_db *db, MDB_txn *txn, MDB_val key)
{
	MDB_val val;
	uint64_t n = 0;

	if (mdb_get(txn, db->owner, &key, &val) == 0 &&
	    val.mv_size == sizeof(n))
		memcpy(&n, val.mv_data, sizeof(n));
	return n;
}

static int
units_change(
    struct store_db *db, MDB_txn *txn, MDB_val key, uint64_t units, bool more)
{
	uint64_t n = units_read(db, txn, key);
	MDB_val val = { sizeof(n), &n };
	int rc;

	if (!more && n <= units) {
		rc = mdb_del(txn, db->owner, &key, NULL);
		return rc == MDB_NOTFOUND ? 0 : err_from_lmdb(rc);
	}
	n = more ? n + units : n - units;
	return err_from_lmdb(mdb_put(txn, db->owner, &key, &val, 0));
}

/* For the owner and in all. */
static int
units_count(struct store_db *db, MDB_txn *txn, uint8_t owner[OWNER_LEN],
    size_t record_len, bool more)
{
	MDB_val key = { OWNER_LEN, owner };
	int r;

	r = units_change(db, txn, key, units_of(record_len), more);
	if (r == 0)
		r = units_change(
		    db, txn, text_val(TOTAL), units_of(record_len), more);
	return r;
}

/* ---- records and their indices --------------------------------------------------
 */

size_t
store_db_entries(MDB_txn *txn, MDB_dbi dbi)
{
	MDB_stat s;

	return mdb_stat(txn, dbi, &s) == 0 ? s.ms_entries : 0;
}

static int
del(MDB_txn *txn, MDB_dbi dbi, MDB_val key)
{
	int rc = mdb_del(txn, dbi, &key, NULL);

	return rc == MDB_NOTFOUND ? 0 : err_from_lmdb(rc);
}

static int
set(MDB_txn *txn, MDB_dbi dbi, MDB_val key)
{
	MDB_val none = { 0, NULL };

	return err_from_lmdb(mdb_put(txn, dbi, &key, &none, 0));
}

/* All index entries of a record: there, or not. */
static int
index_change(struct store_db *db, MDB_txn *txn, const struct policy_record *rec,
    uint8_t owner[OWNER_LEN], bool there)
{
	int (*change)(MDB_txn *, MDB_dbi, MDB_val) = there ? set : del;
	uint8_t buf[KEY_SIZE];
	MDB_val key = { 0, buf };
	int r;

	r = change(txn, db->due, time_key(buf, rec->refresh_s, rec->domain));
	if (r == 0)
		r = change(txn, db->used[rec->policy.mode],
		    time_key(buf, rec->used_s, rec->domain));
	if (r < 0)
		return r;
	memcpy(buf, owner, OWNER_LEN);
	key.mv_size = OWNER_LEN +
	    put_time_domain(buf + OWNER_LEN, rec->used_s, rec->domain);
	r = change(txn, db->owned, key);
	if (r == 0)
		r = err_from_lmdb(age_count(txn, db->age, rec, there ? 1 : -1));
	return r;
}

int
store_db_erase(struct store_db *db, MDB_txn *txn, const char *domain)
{
	struct policy_record old;
	MDB_val key = text_val(domain), val;
	uint8_t owner[OWNER_LEN];
	size_t len;
	int r;

	r = err_from_lmdb(mdb_get(txn, db->policy, &key, &val));
	if (r < 0)
		return r == PE_NOT_FOUND ? 0 : r;
	len = val.mv_size;
	r = record_decode(domain, val.mv_data, len, &old);
	if (r < 0 && r != PE_CORRUPT)
		return r;
	if (owner_key(domain, owner) < 0) {
		if (r == 0)
			record_done(&old);
		return -ENOMEM;
	}
	if (r == 0) {
		r = index_change(db, txn, &old, owner, false);
		record_done(&old);
	} else {
		r = 0; /* its index entries are found by whoever meets them */
	}
	if (r == 0)
		r = units_count(db, txn, owner, len, false);
	return r < 0 ? r : del(txn, db->policy, key);
}

int
store_db_drop_due(
    struct store_db *db, MDB_txn *txn, const char *domain, int64_t refresh_s)
{
	MDB_val key = text_val(domain), val;
	uint8_t buf[KEY_SIZE];
	struct policy_record rec;
	bool right = false;

	if (mdb_get(txn, db->policy, &key, &val) == 0 &&
	    record_decode(domain, val.mv_data, val.mv_size, &rec) == 0) {
		right = rec.refresh_s == refresh_s;
		record_done(&rec);
	}
	return right ? 0 : del(txn, db->due, time_key(buf, refresh_s, domain));
}

/* ---- room -------------------------------------------------------------------------
 */

/* The record that a key of an index by use names, when it says the same. */
static int
erase_used(struct store_db *db, MDB_txn *txn, const char *domain,
    uint64_t used_s, size_t *ret_evicted)
{
	MDB_val key = text_val(domain), val;
	struct policy_record rec;
	bool other = false;
	int r;

	if (mdb_get(txn, db->policy, &key, &val) != 0)
		return 1; /* only the key was left */
	r = record_decode(domain, val.mv_data, val.mv_size, &rec);
	if (r == 0) {
		other = key_seconds(rec.used_s) != used_s;
		record_done(&rec);
	}
	if (other)
		return 1; /* it was used since, and has another key */
	r = store_db_erase(db, txn, domain);
	*ret_evicted += r == 0;
	return r < 0 ? r : 1;
}

/* The first key of an index from prefix on (of len bytes, which it must have),
 * when its time is before limit. 1, 0: there is none, or an error. */
static int
evict_first(struct store_db *db, MDB_txn *txn, MDB_dbi dbi,
    const uint8_t *prefix, size_t len, uint64_t before_s, size_t *ret_evicted)
{
	uint8_t start[OWNER_LEN];
	char domain[DNS_NAME_SIZE];
	MDB_val key = { len, start }, val, rest;
	MDB_cursor *cur;
	uint64_t used_s = 0;
	int r;

	if (len > 0)
		memcpy(start, prefix, len);
	r = err_from_lmdb(mdb_cursor_open(txn, dbi, &cur));
	if (r < 0)
		return r;
	r = err_from_lmdb(mdb_cursor_get(
	    cur, &key, &val, len > 0 ? MDB_SET_RANGE : MDB_FIRST));
	if (r == 0 && len > 0 &&
	    (key.mv_size < len || memcmp(key.mv_data, prefix, len) != 0))
		r = PE_NOT_FOUND;
	domain[0] = '\0';
	if (r == 0 && store_db_key_domain(&key, len + STORE_TIME_LEN, domain)) {
		rest.mv_data = (uint8_t *)key.mv_data + len;
		rest.mv_size = key.mv_size - len;
		used_s = store_db_key_time(&rest);
		if (used_s >= before_s)
			r = PE_NOT_FOUND;
	}
	if (r == 0)
		/* first, as the record may have another key */
		r = err_from_lmdb(mdb_cursor_del(cur, 0));
	mdb_cursor_close(cur);
	if (r < 0 || domain[0] == '\0')
		return r == PE_NOT_FOUND ? 0 : r < 0 ? r : 1;
	return erase_used(db, txn, domain, used_s, ret_evicted);
}

/* What has expired is due, at the latest since then. */
static int
evict_expired(
    struct store_db *db, MDB_txn *txn, int64_t now_s, size_t *ret_evicted)
{
	char domain[DNS_NAME_SIZE] = "";
	struct policy_record rec;
	MDB_val key, val, name;
	MDB_cursor *cur;
	bool found = false;
	int i, rc, r;

	r = err_from_lmdb(mdb_cursor_open(txn, db->due, &cur));
	if (r < 0)
		return r;
	rc = mdb_cursor_get(cur, &key, &val, MDB_FIRST);
	for (i = 0; rc == 0 && !found && i < EXPIRED_LOOKS &&
	     store_db_key_domain(&key, STORE_TIME_LEN, domain) &&
	     store_db_key_time(&key) <= key_seconds(now_s);
	     i++) {
		name = text_val(domain);
		if (mdb_get(txn, db->policy, &name, &val) == 0 &&
		    record_decode(domain, val.mv_data, val.mv_size, &rec) ==
			0) {
			found = record_expires_s(&rec) <= now_s;
			record_done(&rec);
		}
		if (!found)
			rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
	}
	mdb_cursor_close(cur);
	if (!found)
		return 0;
	r = store_db_erase(db, txn, domain);
	*ret_evicted += r == 0;
	return r < 0 ? r : 1;
}

int
store_db_evict_one(
    struct store_db *db, MDB_txn *txn, int64_t now_s, size_t *ret_evicted)
{
	int64_t unused_s = now_s - STORE_KEEP_S;
	int mode, r;

	r = evict_expired(db, txn, now_s, ret_evicted);
	for (mode = STS_MODE_NONE; mode < STORE_MODES && r == 0; mode++)
		r = evict_first(db, txn, db->used[mode], NULL, 0,
		    mode == STS_MODE_ENFORCE ? key_seconds(unused_s)
					     : UINT64_MAX,
		    ret_evicted);
	return r;
}

static bool
is_there(struct store_db *db, MDB_txn *txn, const char *domain)
{
	MDB_val key = text_val(domain), val;

	return mdb_get(txn, db->policy, &key, &val) == 0;
}

/* One owner's share. */
static int
room_of_owner(struct store_db *db, MDB_txn *txn, uint8_t owner[OWNER_LEN],
    uint64_t units, uint32_t max, size_t *ret_evicted)
{
	uint64_t share = max / STORE_OWNER_SHARE;
	MDB_val key = { OWNER_LEN, owner };
	int i, r = 1;

	if (share < STORE_OWNER_MIN)
		share = STORE_OWNER_MIN;
	for (i = 0; i < STORE_EVICT_BATCH && r == 1 &&
	     units_read(db, txn, key) + units > share;
	     i++)
		r = evict_first(db, txn, db->owned, owner, OWNER_LEN,
		    UINT64_MAX, ret_evicted);
	return r < 0 ? r : 0;
}

/* 0; 1: nothing could be evicted; or an error. A bound that was lowered is
 * reached step by step. */
static int
room_in_all(struct store_db *db, MDB_txn *txn, uint64_t units, int64_t now_s,
    uint32_t max, size_t *ret_evicted)
{
	size_t before = *ret_evicted;
	int i, r = 1;

	for (i = 0; i < STORE_EVICT_BATCH; i++) {
		if (units_read(db, txn, text_val(TOTAL)) + units <= max)
			return 0;
		r = store_db_evict_one(db, txn, now_s, ret_evicted);
		if (r <= 0)
			break;
	}
	if (r < 0)
		return r;
	return *ret_evicted > before ? 0 : 1;
}

int
store_db_put(struct store_db *db, MDB_txn *txn,
    const struct policy_record *head, MDB_val bytes, int64_t now_s,
    uint32_t max, size_t *ret_evicted)
{
	MDB_val key = text_val(head->domain);
	uint8_t owner[OWNER_LEN];
	int r;

	r = owner_key(head->domain, owner);
	if (r == 0 && !is_there(db, txn, head->domain)) {
		r = room_of_owner(
		    db, txn, owner, units_of(bytes.mv_size), max, ret_evicted);
		if (r == 0)
			r = room_in_all(db, txn, units_of(bytes.mv_size), now_s,
			    max, ret_evicted);
		if (r != 0)
			return r;
	}
	if (r == 0)
		r = store_db_erase(db, txn, head->domain);
	if (r == 0)
		r = err_from_lmdb(mdb_put(txn, db->policy, &key, &bytes, 0));
	if (r == 0)
		r = index_change(db, txn, head, owner, true);
	if (r == 0)
		r = units_count(db, txn, owner, bytes.mv_size, true);
	return r;
}

/* ---- clock ------------------------------------------------------------------------
 */

static int64_t
meta_time(struct store_db *db, MDB_txn *txn, const char *name)
{
	MDB_val key = text_val(name), val;
	int64_t t = 0;

	if (mdb_get(txn, db->meta, &key, &val) == 0 && val.mv_size == sizeof(t))
		memcpy(&t, val.mv_data, sizeof(t));
	return t;
}

static int
set_meta_time(struct store_db *db, MDB_txn *txn, const char *name, int64_t t)
{
	MDB_val key = text_val(name), val = { sizeof(t), &t };

	return err_from_lmdb(mdb_put(txn, db->meta, &key, &val, 0));
}

/* Both, so that time which passes while nobody runs counts as well. */
int
store_db_set_clock(
    struct store_db *db, MDB_txn *txn, int64_t now_s, int64_t wall_s)
{
	int r;

	if (meta_time(db, txn, "clock") >= now_s)
		return 0;
	r = set_meta_time(db, txn, "clock", now_s);
	return r < 0 ? r : set_meta_time(db, txn, "clock.wall", wall_s);
}

/* ---- opening -----------------------------------------------------------------------
 */

static int
open_dbs(struct store_db *db, MDB_txn *txn)
{
	const struct {
		const char *name;
		MDB_dbi *dbi;
	} dbs[DBS] = {
		{ "meta", &db->meta },
		{ "policy", &db->policy },
		{ "due", &db->due },
		{ "age", &db->age },
		{ "owner", &db->owner },
		{ "owned", &db->owned },
		{ "used.none", &db->used[STS_MODE_NONE] },
		{ "used.testing", &db->used[STS_MODE_TESTING] },
		{ "used.enforce", &db->used[STS_MODE_ENFORCE] },
	};
	int i, rc = 0;

	for (i = 0; i < DBS && rc == 0; i++)
		rc = mdb_dbi_open(txn, dbs[i].name, MDB_CREATE, dbs[i].dbi);
	return err_from_lmdb(rc);
}

static int
check_format(struct store_db *db, MDB_txn *txn)
{
	MDB_val key = text_val("format"), val;
	uint32_t format = FORMAT;
	int rc;

	rc = mdb_get(txn, db->meta, &key, &val);
	if (rc == MDB_NOTFOUND) {
		val.mv_data = &format;
		val.mv_size = sizeof(format);
		return err_from_lmdb(mdb_put(txn, db->meta, &key, &val, 0));
	}
	if (rc != 0)
		return err_from_lmdb(rc);
	if (val.mv_size != sizeof(format))
		return PE_CORRUPT;
	memcpy(&format, val.mv_data, sizeof(format));
	return format == FORMAT ? 0 : PE_VERSION;
}

/* A store from before units were counted: one for each record. */
static int
count_once(struct store_db *db, MDB_txn *txn)
{
	size_t n = store_db_entries(txn, db->policy);

	if (n == 0 || units_read(db, txn, text_val(TOTAL)) > 0)
		return 0;
	return units_change(db, txn, text_val(TOTAL), n, true);
}

int
store_db_open(struct store_db *db, const char *path, uint32_t max,
    struct store_clock *ret_clock)
{
	/* with its index entries a record of one unit takes less */
	size_t map = (size_t)max * STORE_UNIT;
	MDB_txn *txn;
	int rc, dead, r;

	rc = mdb_env_create(&db->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(db->env, DBS);
	if (rc == 0)
		rc =
		    mdb_env_set_mapsize(db->env, map < MAP_MIN ? MAP_MIN : map);
	if (rc == 0)
		rc = mdb_env_open(
		    db->env, path, MDB_NORDAHEAD | MDB_NOTLS, 0600);
	if (rc == 0)
		rc = mdb_reader_check(db->env, &dead); /* of killed ones */
	if (rc == 0)
		rc = mdb_txn_begin(db->env, NULL, 0, &txn);
	if (rc != 0)
		return err_from_lmdb(rc);
	r = open_dbs(db, txn);
	if (r == 0)
		r = check_format(db, txn);
	if (r == 0)
		r = count_once(db, txn);
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	ret_clock->stored_s = meta_time(db, txn, "clock");
	ret_clock->wall_s = meta_time(db, txn, "clock.wall");
	return err_from_lmdb(mdb_txn_commit(txn));
}

void
store_db_close(struct store_db *db)
{
	if (db->env != NULL)
		mdb_env_close(db->env);
	db->env = NULL;
}
