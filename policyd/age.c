/*
 * age.c - counters of policies by the time of their last fetch (age.h).
 *
 * Key: mode (1 byte), quarter of a day since 1970 (8 bytes, most significant
 * first); value: how many (8 bytes). At most a year of keys is alive, as
 * policies expire. Records that were damaged leave their count until a new
 * store: a number for graphs, nothing is decided by it.
 */
#include "policyd/age.h"

#include <string.h>

#include "policyd/record.h"

enum { SLOT_S = 6 * 3600, KEY_LEN = 9, DAY_S = 24 * 3600 };

const char *
age_word(int age_class)
{
	static const char *const words[AGE_CLASSES] = { "under_1d", "1d_to_7d",
		"7d_to_30d", "over_30d" };

	return words[age_class];
}

static int
class_of(int64_t age_s)
{
	if (age_s < DAY_S)
		return 0;
	if (age_s < 7 * DAY_S)
		return 1;
	return age_s < 30 * DAY_S ? 2 : 3;
}

int
age_count(MDB_txn *txn, MDB_dbi dbi, const struct policy_record *rec, int by)
{
	uint64_t slot =
		     rec->fetched_s > 0 ? (uint64_t)rec->fetched_s / SLOT_S : 0,
		 n = 0;
	uint8_t buf[KEY_LEN];
	MDB_val key = { KEY_LEN, buf }, val;
	int i;

	buf[0] = (uint8_t)rec->policy.mode;
	for (i = 0; i < 8; i++)
		buf[1 + i] = (uint8_t)(slot >> (8 * (7 - i)));
	if (mdb_get(txn, dbi, &key, &val) == 0 && val.mv_size == sizeof(n))
		memcpy(&n, val.mv_data, sizeof(n));
	if (by < 0 && n <= 1) {
		i = mdb_del(txn, dbi, &key, NULL);
		return i == MDB_NOTFOUND ? 0 : i;
	}
	n = by < 0 ? n - 1 : n + 1;
	val.mv_data = &n;
	val.mv_size = sizeof(n);
	return mdb_put(txn, dbi, &key, &val, 0);
}

void
age_read(MDB_txn *txn, MDB_dbi dbi, int64_t now_s, uint64_t (*ret)[AGE_CLASSES],
    int modes)
{
	MDB_cursor *cur;
	MDB_val key, val;
	uint64_t n, slot;
	const uint8_t *p;
	int i, rc;

	if (mdb_cursor_open(txn, dbi, &cur) != 0)
		return;
	for (rc = mdb_cursor_get(cur, &key, &val, MDB_FIRST); rc == 0;
	     rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) {
		p = key.mv_data;
		if (key.mv_size != KEY_LEN || val.mv_size != sizeof(n) ||
		    p[0] >= modes)
			continue;
		for (i = 0, slot = 0; i < 8; i++)
			slot = slot << 8 | p[1 + i];
		memcpy(&n, val.mv_data, sizeof(n));
		ret[p[0]][class_of(now_s - (int64_t)slot * SLOT_S)] += n;
	}
	mdb_cursor_close(cur);
}
