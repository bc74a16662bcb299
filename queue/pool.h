/*
 * pool.h - a few threads that wait for the disk so that the loop does not.
 *
 * What the loop is about to read of mail that was not touched for a while may
 * have to come from the disk: pages of the store, body files. A job of the pool
 * reads it first, on a thread of its own; then the loop finds it in memory.
 * Jobs only read, or delete files that nobody names any more; what they find
 * out, they leave in the job. The writer is not here: see writer.h.
 */
#ifndef POSTERN_QUEUE_POOL_H
#define POSTERN_QUEUE_POOL_H

#include <lmdb.h>
#include <stddef.h>
#include <sys/queue.h>
#include <uv.h>

struct store;
struct pool;
struct pool_job;

enum { POOL_THREADS = 4 };

/* What a thread has to read with: its own transaction, see store_view_begin().
 * No view may be open while it waits for anything but the store. */
struct pool_ctx {
	struct store *st;
	MDB_txn *txn;
};

/* run: on a thread of the pool; must not log. done: on the loop; the job is the
 * caller's again. */
struct pool_job {
	STAILQ_ENTRY(pool_job) link;
	void (*run)(struct pool_ctx *ctx, struct pool_job *job);
	void (*done)(void *arg, struct pool_job *job);
};
STAILQ_HEAD(pool_list, pool_job);

/* Start the threads; before the lock-down. done callbacks get arg. 0 or a
 * negative errno. */
int pool_new(
    uv_loop_t *loop, struct store *st, void *arg, struct pool **ret_pool);
/* Finish what runs, skip the run of what waits, join, hand all back (their
 * done runs inside). The loop must run once more before its memory is gone. */
void pool_free(struct pool *p);

/* From the loop; in the order in which they come. Whoever puts bounds how many:
 * nothing here refuses. */
void pool_put(struct pool *p, struct pool_job *job);

/* Jobs put and not yet handed back. */
size_t pool_waiting(const struct pool *p);

#endif
