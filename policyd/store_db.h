/*
 * store_db.h - the databases of the policy store, and what a write changes in
 * them. Called by store.c: opening from the loop, the rest from its thread,
 * inside one transaction. Never logs, knows no jobs.
 *
 * Room is counted in units of 4 KiB: one for a record, and one more for each 4
 * KiB of it, so that max_policies bounds bytes too. A new policy needs room,
 * an old one that changes does not. Room is made by what matters least:
 *
 *	expired; mode none; mode testing; enforce, unused for STORE_KEEP_S;
 *	of each what was used longest ago
 *
 * and never by a policy in force that mail has used since: then the new one is
 * not stored. And one owner has at most a sixteenth of the room: over it, what
 * he used longest ago goes. Whoever invents subdomains pushes out his own.
 */
#ifndef POSTERN_POLICYD_STORE_DB_H
#define POSTERN_POLICYD_STORE_DB_H

#include "policyd/record.h"

#include <lmdb.h>
#include <stddef.h>
#include <stdint.h>

enum {
	STORE_MODES = STS_MODE_ENFORCE + 1,
	STORE_TIME_LEN = 8,
	STORE_UNIT = 4096,	      /* bytes */
	STORE_KEEP_S = 7 * 24 * 3600, /* an enforced policy in use stays */
	STORE_OWNER_SHARE = 16,	      /* of the room, for one owner */
	STORE_OWNER_MIN = 64,	      /* units, however small the store */
	STORE_EVICT_BATCH = 64,	      /* at most for one record */
};

struct store_db {
	MDB_env *env;
	MDB_dbi meta, policy, due, age, owner, owned, used[STORE_MODES];
};

/* The clock of policies when it was last written, and the wall clock then. */
struct store_clock {
	int64_t stored_s, wall_s; /* 0: never */
};

/* Open or make them; room for max policies. 0 or an error; then, too, the
 * environment is to be closed by store_db_close(). */
int store_db_open(struct store_db *db, const char *path, uint32_t max,
    struct store_clock *ret_clock);
void store_db_close(struct store_db *db); /* zeroed is fine */

/* Records. */
size_t store_db_entries(MDB_txn *txn, MDB_dbi dbi);

/* A key of an index by time, as a name. False: not one of ours. */
bool store_db_key_domain(
    const MDB_val *key, size_t skip, char ret[DNS_NAME_SIZE]);
uint64_t store_db_key_time(const MDB_val *key);

/*
 * The record `bytes` of head (whose names and times count) in place of the old
 * one. 0; 1: there is no room for a new one, nothing was changed but what was
 * evicted; or an error. *ret_evicted grows.
 */
int store_db_put(struct store_db *db, MDB_txn *txn,
    const struct policy_record *head, MDB_val bytes, int64_t now_s,
    uint32_t max, size_t *ret_evicted);
int store_db_erase(struct store_db *db, MDB_txn *txn, const char *domain);
/* The entry of `due` that is named, unless the record says the same. */
int store_db_drop_due(
    struct store_db *db, MDB_txn *txn, const char *domain, int64_t refresh_s);
int store_db_set_clock(
    struct store_db *db, MDB_txn *txn, int64_t now_s, int64_t wall_s);

/* One victim by the order above. 1; 0: there is none; or an error. */
int store_db_evict_one(
    struct store_db *db, MDB_txn *txn, int64_t now_s, size_t *ret_evicted);

/* Whose a domain is, as far as names can say: its last two labels, three below
 * a country's short second level (a.example.co.uk). Pure. */
const char *store_db_owner(const char *domain);

#endif
