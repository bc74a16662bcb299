/*
 * store.h - the one LMDB environment, and a write transaction as the operations
 * see it. Only the queue process opens it, once.
 *
 * The loop reads in short transactions (store_read_begin), and so do the threads
 * that go before it (pool.h). The writer thread alone writes (stx_*). Tables, records and the crash table: docs/queue.md.
 */
#ifndef POSTERN_QUEUE_STORE_H
#define POSTERN_QUEUE_STORE_H

#include "queue/arena.h"
#include "queue/record.h"

#include "lib/base/buf.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_FORMAT = 2 };

enum store_db {
	DB_META,
	DB_MSG,
	DB_BODY,
	DB_RCPT,
	DB_DEST,
	DB_DNAME,
	DB_DQ,
	DB_SCHED,
	DB_EXP,
	DB_NOTICE,
	DB_SUSP,
	DB_BAD,
	DB_COUNT
};

/* Steps that a crash can separate; tests make each of them fail or die. */
enum store_point {
	POINT_BODY_WRITE, /* a piece of a body file */
	POINT_BODY_SYNC,  /* one body file */
	POINT_DIR_SYNC,	  /* a directory of body files */
	POINT_COMMIT,	  /* before a transaction's commit */
	POINT_COMMITTED,  /* after it */
	POINT_UNLINK,	  /* before a body file is deleted */
};

struct store {
	MDB_env *env;
	MDB_dbi dbi[DB_COUNT];
	MDB_dbi young[DB_COUNT]; /* of mail never deferred; 0: has none */
	int dir_fd;		 /* borrowed */
	pthread_rwlock_t gate;	 /* readers in; growing the map locks it out */
	bool gate_up;
	MDB_txn *read_txn; /* the loop's, reset between uses */
	size_t map_size, map_max;
	_Atomic bool no_map; /* LMDB lost its map: nothing may touch it */
	struct rec_counters counters;	/* committed; the writer's */
	uint64_t next_dest, next_id[3]; /* committed high-water marks */
	uint32_t n_suspended;		/* entries in susp; the writer's */
	_Atomic uint64_t commits, syncs, jobs, grown, max_batch;
	/* tests: called at each point; not 0 makes the step fail with it */
	int (*on_point)(void *arg, enum store_point point);
	/* tests: before a body file is opened, on whatever thread */
	void (*on_body_open)(void *arg, uint64_t mid);
	void *point_arg;
};

/*
 * Open or create the store in the directory path, which is also dir_fd
 * (borrowed until close). 0, or a negative code with the reason in err.
 */
int store_open(const char *path, int dir_fd, size_t map_size,
    struct store **ret_store, char *err, size_t err_len);
void store_close(struct store *st);

/* Twice the map, up to its bound; readers wait. No write transaction may be
 * open. 0, PE_FULL at the bound, a negative errno when there is no room for it
 * in the address space; -ENOTRECOVERABLE when the store is unusable now. */
int store_grow(struct store *st);

int store_point(struct store *st, enum store_point point);

/* body_open() in the store's directory. */
int store_body_open(struct store *st, uint64_t mid, uint64_t size, int *ret_fd);

/* ---- reading, on the loop and on the threads of pool.h -------------------- */

struct sview {
	struct store *st;
	MDB_txn *txn;
};

/* Begin and end a read, on the loop; not nested. Values are borrowed until the
 * end. */
int store_read_begin(struct store *st, struct sview *ret);
/* The same for another thread, with a transaction of its own: made when it is
 * NULL, and the thread's to abort at its end. */
int store_view_begin(struct store *st, MDB_txn **txn, struct sview *ret);
void store_read_end(struct sview *v);

int sview_get(
    struct sview *v, enum store_db db, const struct key *k, MDB_val *ret);
/* The same, decoded. PE_NOT_FOUND or PE_CORRUPT. */
int sview_msg(struct sview *v, uint64_t mid, struct rec_msg *ret);
int sview_rcpt(
    struct sview *v, uint64_t mid, uint32_t rid, struct rec_rcpt *ret);
int sview_dest(struct sview *v, uint64_t dest_id, struct rec_dest *ret);
/* Entries in a table. */
uint64_t sview_count(struct sview *v, enum store_db db);
/* Bytes in use and the size of the map. */
void store_space(struct store *st, uint64_t *ret_used, uint64_t *ret_map);

/* Walk a table from a key on (NULL: the start): 0 and the entry in k, v, or
 * PE_NOT_FOUND at the end. Young and old mail come as one, in order of keys. */
struct siter {
	MDB_val k, v;
	MDB_cursor *cur[2]; /* old, young; NULL: not open */
	MDB_val ks[2], vs[2];
	bool there[2]; /* not at its end */
	int at;	       /* k, v are of this one */
};
int siter_first(struct siter *it, MDB_txn *txn, struct store *st,
    enum store_db db, const struct key *from);
int siter_next(struct siter *it);
void siter_end(struct siter *it);

/* ---- writing, on the writer thread ---------------------------------------- */

/* A destination as this transaction sees it; written once, at the end. */
struct sdest {
	uint64_t id;
	struct rec_dest r; /* strings live as long as the transaction */
	bool dirty;
	bool recalc; /* its entry in sched must be found anew */
	bool gone;   /* forgotten in this transaction */
};

struct sunlink {
	struct sunlink *next;
	uint64_t mid;
};

struct stxn {
	struct store *st;
	MDB_txn *txn;
	int64_t now_s;
	int hard; /* first error that spoils the transaction; sticks */
	struct rec_counters c;
	bool counters_dirty;
	uint64_t next_dest, next_id[3];
	bool ids_dirty;
	uint32_t n_suspended;
	struct arena arena;   /* this transaction's */
	struct buf scratch;   /* for encoding */
	struct sdest **dests; /* hash by id, open addressing */
	size_t dests_cap, n_dests;
	struct sunlink *unlinks; /* body files to delete after the commit */
	MDB_cursor *dq_cur[2];	 /* old, young; opened on demand */
	uint64_t fresh_mid;	 /* comes in now, among the young; 0: none */
};

/* Life of the struct; memory is reused from one transaction to the next. */
void stx_init(struct stxn *x, struct store *st);
void stx_done(struct stxn *x);

int stx_begin(struct stxn *x, int64_t now_s);
/* Write what is cached, then commit. After 0 everything is on disk. The
 * unlinks are the caller's to do, before the next begin. */
int stx_commit(struct stxn *x);
void stx_abort(struct stxn *x);

int stx_get(
    struct stxn *x, enum store_db db, const struct key *k, MDB_val *ret);
int stx_put(struct stxn *x, enum store_db db, const struct key *k,
    const void *data, size_t len);
/* A key that is not there is fine. */
int stx_del(struct stxn *x, enum store_db db, const struct key *k);
/* Move an entry to bad, as it is, under the name of its table (tag, 4 bytes). 0
 * also when there is none. */
int stx_move_to_bad(
    struct stxn *x, enum store_db db, const char *tag, const struct key *k);

/* Decoded into the transaction's memory: good until its end, whatever is
 * written. 0, PE_NOT_FOUND, PE_CORRUPT or a hard error. */
int stx_msg(struct stxn *x, uint64_t mid, struct rec_msg *ret);
int stx_rcpt(struct stxn *x, uint64_t mid, uint32_t rid, struct rec_rcpt *ret);
int stx_msg_put(struct stxn *x, uint64_t mid, const struct rec_msg *m);
int stx_rcpt_put(
    struct stxn *x, uint64_t mid, uint32_t rid, const struct rec_rcpt *m);

/* The destination, by id, or by name (made when it is new). */
int stx_dest(struct stxn *x, uint64_t id, struct sdest **ret);
int stx_dest_named(struct stxn *x, const char *domain, const char *gateway,
    uint32_t cls, struct sdest **ret);
/* Its entry in sched: at this time, or none (0). */
int stx_dest_sched(struct stxn *x, struct sdest *d, int64_t time_s);
/* A recipient is due there (dq), and the destination no later than that. */
int stx_due_add(struct stxn *x, struct sdest *d, const struct dq_entry *e);
int stx_due_del(struct stxn *x, struct sdest *d, const struct dq_entry *e);
/* First entry of the destination's dq, from from on. PE_NOT_FOUND. */
int stx_due_from(struct stxn *x, uint64_t dest_id, const struct dq_entry *from,
    struct dq_entry *ret);
int stx_due_first(struct stxn *x, uint64_t dest_id, struct dq_entry *ret);

/* ---- young and old (store_young.c) ---- */

/* The table, of young or old, where an entry with this key is or belongs. */
int stx_place(
    struct stxn *x, enum store_db db, const struct key *k, MDB_dbi *ret);
/* A message was deferred: it goes to the old ones, if it is young. */
int stx_age(struct stxn *x, uint64_t mid);
/* Up to max of those that wait at a destination. */
int stx_age_dest(struct stxn *x, uint64_t dest_id, uint32_t max);

/* Its body file goes after the commit. */
int stx_unlink(struct stxn *x, uint64_t mid);

/* Forget a destination: record, name, schedule. */
int stx_dest_forget(struct stxn *x, struct sdest *d);
/* Make the record of an id anew, under its name. */
int stx_dest_remake(struct stxn *x, uint64_t id, const char *domain,
    const char *gateway, uint32_t cls, struct sdest **ret);

#endif
