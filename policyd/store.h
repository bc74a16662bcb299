/*
 * store.h - policies on disk: an LMDB environment of our own (STS-40, STS-58).
 *
 * Reads happen on the loop, from the memory map: microseconds. Writes are jobs
 * for one thread, which takes all that wait, commits once (synced), and tells
 * the loop. Nothing is scanned at start. No more than max records, nor of one
 * owner more than his share; who has to go then: store_db.h.
 */
#ifndef POSTERN_POLICYD_STORE_H
#define POSTERN_POLICYD_STORE_H

#include "policyd/age.h"
#include "policyd/record.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct store;
struct store_clock;

enum { STORE_WAITING_MAX = 65536 /* writes that wait for the thread */ };

/*
 * Open or make the environment in the directory, and start the thread: before
 * the lock-down. *ret_clock is the latest time that was ever written, zeroed in
 * a new store. 0 or a negative code, then err says what.
 */
int store_open(uv_loop_t *loop, const char *path, uint32_t max,
    struct store **ret_store, struct store_clock *ret_clock, char *err,
    size_t err_len);

/* Writes what waits, joins the thread; callbacks come before this returns.
 * Memory goes when the loop has closed the handle. NULL is fine. */
void store_free(struct store *st);

void store_set_max(struct store *st, uint32_t max);

/* 0, PE_NOT_FOUND, PE_CORRUPT (delete it), -ENOMEM, -EIO. Sees what is
 * committed. */
int store_get(struct store *st, const char *domain, struct policy_record *ret);

/*
 * Write rec (borrowed); now_s is kept as the clock. cb (may be NULL) comes from
 * the loop, never inside this call: 0 when it is on disk, or why not (PE_FULL:
 * there is no room for a new one). PE_FULL and -ENOMEM from here: no callback.
 */
typedef void store_done_cb(void *arg, int result);
int store_put(struct store *st, const struct policy_record *rec, int64_t now_s,
    store_done_cb *cb, void *arg);
/* Forget the domain; also fine when there is none. */
int store_delete(struct store *st, const char *domain, int64_t now_s);

/* An entry of the index of what is to be looked at. */
struct store_due {
	int64_t at_s;
	char domain[DNS_NAME_SIZE];
};
/* At most n of them up to now_s, the most overdue first. Returns how many. */
size_t store_due(
    struct store *st, int64_t now_s, size_t n, struct store_due *ret_due);
/* store_due() named it, and perhaps no record says so: forget it then. */
int store_drop_due(
    struct store *st, const struct store_due *due, int64_t now_s);

/* Records behind the name `after` ("" from the start) in order of names, while
 * each() returns true. Damaged ones are passed over. 0 or an error. */
int store_list(struct store *st, const char *after,
    bool (*each)(void *arg, const struct policy_record *rec), void *arg);

struct store_stats {
	uint64_t by_mode[STS_MODE_ENFORCE + 1]; /* records */
	uint64_t by_age[STS_MODE_ENFORCE + 1][AGE_CLASSES];
	uint64_t evicted, refused, write_errors, commits;
};
void store_stats(struct store *st, int64_t now_s, struct store_stats *ret);

#endif
