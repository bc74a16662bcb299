/*
 * writer.h - the one thread that writes: natural group commit.
 *
 * The loop puts jobs in; the thread takes all that wait, runs them in one
 * transaction, commits once, and hands them back to the loop. While a commit
 * runs the next batch gathers by itself. Urgent jobs (a client waits for its
 * 250) start a batch at once; lazy ones (results of deliveries) wait up to
 * LAZY_MS for company.
 */
#ifndef POSTERN_QUEUE_WRITER_H
#define POSTERN_QUEUE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct store;
struct stxn;
struct rec_counters;
struct writer;
struct job;

enum {
	LAZY_MS = 8,
	BATCH_MAX = 4000, /* jobs in one transaction */
};

/*
 * begin: for all jobs of a batch before the first prepare; starts what prepare
 * then waits for, so that the waits overlap. May be NULL, cannot fail.
 * prepare: before the transaction, outside of it (syncs of files); a negative
 * result ends this job alone. run: inside; may run again when the batch is
 * redone, so it sets its outputs afresh; a negative result without a hard
 * error of the transaction means that it changed nothing. All on the writer
 * thread; they must not log. done: on the loop, with job->result; it owns the
 * job from then on.
 */
struct job_type {
	const char *name;
	void (*begin)(struct job *job);
	int (*prepare)(struct writer *w, struct job *job);
	int (*run)(struct stxn *x, struct job *job);
	void (*done)(void *arg, struct job *job);
};

struct job {
	STAILQ_ENTRY(job) link;
	const struct job_type *type;
	int result;
	bool lazy;
};
STAILQ_HEAD(job_list, job);

/*
 * Start the thread; before the lock-down. done callbacks get arg. The store is
 * borrowed. A thread that LMDB left unusable says so in writer_panic().
 */
int writer_new(
    uv_loop_t *loop, struct store *st, void *arg, struct writer **ret_writer);

/* Let it finish what waits, join it, hand the last jobs back (their done runs
 * inside), close the handle. The loop must run once more before the memory of
 * the handle is gone. */
void writer_free(struct writer *w);

/* From the loop. The job is the writer's until done. */
void writer_put(struct writer *w, struct job *job);

/* Jobs put and not yet handed back. */
size_t writer_waiting(const struct writer *w);

/* The committed counters, as of the last batch handed back. */
const struct rec_counters *writer_counters(const struct writer *w);

/* 0, or why no transaction can be begun any more (the process must restart). */
int writer_panic(const struct writer *w);

/* For prepare hooks: a directory of body files that this batch must sync. */
void writer_sync_dir(struct writer *w, unsigned dir);
struct store *writer_store(struct writer *w);

#endif
