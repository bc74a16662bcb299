/*
 * queue.c - the life of the loop's side: timers, the state that intake sees,
 * jobs that the store refused, background work, drain.
 */
#include "queue/queue.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

enum { SWEEP_SLICE = 100, FORGET_EVERY_MS = 5000 };

const struct conf_profile *
queue_profile(struct queue *q, const char *domain, const char *msg_profile)
{
	return conf_profile_choose(
	    q->conf, conf_dest_lookup(q->conf, domain), msg_profile);
}

/* ---- what intake is told ------------------------------------------------------- */

static void
set_state(struct queue *q, bool accepting, const char *text)
{
	if (q->accepting == accepting && strcmp(q->state_text, text) == 0)
		return;
	if (q->accepting != accepting) {
		if (accepting)
			log_info("queue_accepting",
			    "queue: taking new mail "
			    "again");
		else if (q->draining)
			log_info("queue_refusing",
			    "queue: no new mail is taken: %s", text);
		else
			log_event(LOG_CRITICAL, "queue_refusing", NULL,
			    "queue: no new mail is taken: %s", text);
	}
	q->accepting = accepting;
	(void)snprintf(q->state_text, sizeof(q->state_text), "%s", text);
	queue_tell_state(q);
}

static void
look_at_space(struct queue *q)
{
	uint64_t want = q->conf->queue.min_free_space;
	struct statvfs vfs;
	struct sview v;

	/* LMDB finds room in its own file for a while: that alone does not make
	 * a full disk good, or intake would be on and off with each commit */
	if (q->was_full && want < FULL_FLOOR)
		want = FULL_FLOOR;
	if (fstatvfs(q->store->dir_fd, &vfs) == 0) {
		q->free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
		q->low_space = q->free_bytes < want;
		q->was_full = q->was_full && q->low_space;
	}
	if (store_read_begin(q->store, &v) == 0) {
		q->full =
		    sview_count(&v, DB_MSG) >= q->conf->queue.max_messages;
		store_read_end(&v);
	}
}

void
queue_state_check(struct queue *q)
{
	char text[200];

	if (q->draining) {
		set_state(q, false, "the system is shutting down");
	} else if (q->store_error == PE_FULL) {
		set_state(q, false, "the store has reached its map size");
	} else if (q->store_error != 0) {
		(void)snprintf(text, sizeof(text),
		    "the store cannot be "
		    "written: %s",
		    err_str(q->store_error));
		set_state(q, false, text);
	} else if (q->low_space) {
		set_state(q, false, "too little free disk space");
	} else if (q->full) {
		set_state(q, false, "the queue has reached max_messages");
	} else {
		set_state(q, true, "");
	}
}

static bool
is_store_trouble(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EIO || r == -EROFS ||
	    r == -ENOMEM || r == PE_FULL || r == -ENOTRECOVERABLE;
}

void
queue_store_ok(struct queue *q)
{
	if (q->store_error == 0)
		return;
	q->store_error = 0;
	log_info("store_ok", "store: writing works again");
	queue_state_check(q);
}

bool
queue_store_failed(struct queue *q, int result)
{
	uint32_t skipped;

	if (result == -ECANCELED)
		return false;
	if (!is_store_trouble(result)) {
		/* a result finds room in a full map where no message would */
		if (result == 0 && q->store_error != PE_FULL)
			queue_store_ok(q);
		return false;
	}
	q->stats.store_errors++;
	if (result == -ENOSPC || result == -EIO) {
		q->was_full = true;
		look_at_space(q);
		if (q->was_full)
			result = -ENOSPC; /* LMDB calls a short write EIO */
	}
	q->store_error = result;
	if (log_limit_ok(&q->alert_limit, 3, 60000, &skipped))
		log_event(LOG_CRITICAL, "store_failed", NULL,
		    "store: a write failed: %s; nothing is lost, it is tried "
		    "again",
		    err_str(result));
	queue_state_check(q);
	if (writer_panic(q->writer) != 0 && q->on_panic != NULL)
		q->on_panic(q->arg, "LMDB could not write its meta page");
	return true;
}

bool
queue_no_fds(struct queue *q, int result)
{
	uint32_t skipped;

	if (result != -EMFILE && result != -ENFILE)
		return false;
	q->no_fds_ms = clock_mono_ms();
	if (log_limit_ok(&q->alert_limit, 3, 60000, &skipped))
		log_event(LOG_CRITICAL, "no_descriptors", NULL,
		    "queue: no descriptor for the file of a large message: %s; "
		    "such messages wait, new ones are refused with 4xx",
		    err_str(result));
	return true;
}

void
queue_retry(struct queue *q, struct job *job)
{
	STAILQ_INSERT_TAIL(&q->retry, job, link);
	q->n_retry++;
	if (q->retry_at_ms == 0)
		q->retry_at_ms = clock_mono_ms() + RETRY_JOBS_MS;
}

static void
retry_jobs(struct queue *q)
{
	struct job_list list = STAILQ_HEAD_INITIALIZER(list);
	struct job *job;

	if (q->n_retry == 0) {
		/* nobody writes: ask whether it works again */
		if (q->store_error != 0 && writer_waiting(q->writer) == 0)
			queue_ids_probe(q);
		return;
	}
	if (clock_mono_ms() < q->retry_at_ms)
		return;
	STAILQ_CONCAT(&list, &q->retry);
	q->n_retry = 0;
	q->retry_at_ms = 0;
	while ((job = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, link);
		writer_put(q->writer, job);
	}
}

/* Messages whose body file could not be opened are tried again. */
static void
look_again(struct queue *q)
{
	struct qdest *d, *next;
	size_t i;

	if (!q->passed_over || clock_mono_ms() - q->no_fds_ms < RETRY_JOBS_MS)
		return;
	q->passed_over = false;
	for (i = 0; i < q->dests_cap; i++)
		for (d = q->dests[i]; d != NULL; d = next) {
			next = d->hash_next;
			if (!d->passed_over)
				continue;
			d->passed_over = false;
			d->rescan = true;
			queue_poke(q, d); /* may be the end of it */
		}
}

/* ---- background -------------------------------------------------------------------- */

static bool
is_orphan(struct sview *v, uint64_t mid)
{
	struct key k, bad;
	MDB_val val;

	key_u64(&k, mid);
	if (sview_get(v, DB_MSG, &k, &val) != PE_NOT_FOUND)
		return false;
	memcpy(bad.b, "msg ", 4); /* set aside: kept for whoever looks */
	memcpy(bad.b + 4, k.b, k.len);
	bad.len = 4 + k.len;
	return sview_get(v, DB_BAD, &bad, &val) == PE_NOT_FOUND;
}

/* Files that a crash left between their writing and the commit. */
static void
sweep(struct queue *q)
{
	uint64_t mid;
	struct sview v;
	int i, r = 1;

	if (!q->sweeping || store_read_begin(q->store, &v) < 0)
		return;
	for (i = 0; i < SWEEP_SLICE && r != 0; i++) {
		r = body_sweep_next(&q->sweep, &mid);
		if (r <= 0 || mid >= q->sweep_below ||
		    queue_intake_open(q, mid) || !is_orphan(&v, mid))
			continue;
		if (body_unlink(q->store->dir_fd, mid) == 0)
			q->stats.orphans++;
	}
	store_read_end(&v);
	if (r != 0)
		return;
	q->sweeping = false;
	body_sweep_done(&q->sweep);
	if (q->stats.orphans > 0)
		log_info("orphans",
		    "store: %" PRIu64 " body files without a message deleted",
		    q->stats.orphans);
}

static void
forget_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct op_forget *op = (struct op_forget *)job;
	struct qdest *d;
	uint32_t i;

	q->forget_job = false;
	if (!queue_store_failed(q, job->result) && job->result == 0) {
		q->forget_from = op->ret_next;
		for (i = 0; i < op->ret_n; i++) {
			d = qdest_find(q, op->ret_ids[i]);
			if (d != NULL)
				queue_poke(q, d);
		}
	}
	free(op);
}

static const struct job_type forget_job = {
	.name = "forget",
	.run = op_forget_run,
	.done = forget_done,
};

static void
forget_go(struct queue *q)
{
	struct op_forget *op;

	if (q->forget_job || q->draining)
		return;
	op = calloc(1, sizeof(*op));
	if (op == NULL)
		return;
	op->job.type = &forget_job;
	op->job.lazy = true;
	op->from = q->forget_from;
	op->before_s = clock_now_s() - FORGET_AFTER_S;
	q->forget_job = true;
	writer_put(q->writer, &op->job);
}

/* Destinations that nobody used for a while. Clients wait for the writer, so
 * what it walks over is read before. */
static void
forget(struct queue *q)
{
	int64_t now_ms = clock_mono_ms();
	struct touch *t;

	if (q->forget_job || now_ms < q->forget_at_ms || q->draining ||
	    !queue_round_begin(q, &q->forget_round))
		return;
	q->forget_at_ms = now_ms + FORGET_EVERY_MS;
	t = queue_round_add(&q->forget_round);
	t->db = DB_DEST;
	t->max = OP_FORGET_MAX;
	key_u64(&t->from, q->forget_from);
	queue_round_start(q, &q->forget_round, forget_go);
}

/* ---- timers ---------------------------------------------------------------------------- */

static void
on_tick(uv_timer_t *timer)
{
	struct queue *q = timer->data;

	queue_clock(q);
	look_at_space(q);
	queue_state_check(q);
	queue_warm_tick(q);
	retry_jobs(q);
	look_again(q);
	queue_intake_flow(q);
	queue_expire(q);
	queue_notices(q);
	queue_repair_times(q);
	queue_sched(q);
	queue_offer(q);
	sweep(q);
	forget(q);
	queue_drain_check(q);
}

static void
on_soon(uv_timer_t *timer)
{
	struct queue *q = timer->data;

	q->in_soon = true;
	if (q->sched_more)
		queue_sched(q);
	queue_offer(q);
	q->in_soon = false;
}

void
queue_soon(struct queue *q)
{
	if (!q->closing && !uv_is_active((uv_handle_t *)&q->soon))
		(void)uv_timer_start(
		    &q->soon, on_soon, q->in_soon ? NEXT_TURN_MS : 0, 0);
}

static void
load_suspended(struct queue *q)
{
	struct sview v;
	struct key k;
	MDB_val val;

	if (store_read_begin(q->store, &v) < 0)
		return;
	(void)key_dname(&k, "", "", 0);
	q->all_suspended = sview_get(&v, DB_SUSP, &k, &val) == 0;
	store_read_end(&v);
}

int
queue_threads_start(struct queue *q, uv_loop_t *loop, struct store *store)
{
	int r = writer_new(loop, store, q, &q->writer);

	return r < 0 ? r : queue_pool_start(q, loop, store);
}

/* Half of the descriptors may be body files on their way in: the others are
 * for channels, for what goes out, and for the directories to be synced. */
static size_t
files_max(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur > 1 << 20)
		return 1 << 19;
	return rl.rlim_cur / 2;
}

int
queue_init(struct queue *q, uv_loop_t *loop, struct ipc_hub *hub,
    const struct conf *conf, struct store *store)
{
	int r;

	q->loop = loop;
	q->hub = hub;
	q->conf = conf;
	q->store = store;
	q->accepting = true;
	q->files_max = files_max();
	TAILQ_INIT(&q->ready);
	TAILQ_INIT(&q->ready_probe);
	LIST_INIT(&q->workers);
	LIST_INIT(&q->smtpds);
	LIST_INIT(&q->admins);
	STAILQ_INIT(&q->retry);
	q->sched_rescan = true;
	queue_clock(q);
	queue_ids_init(q);
	q->sweep_below = q->high_mid;
	q->sweeping = true;
	body_sweep_init(&q->sweep, store->dir_fd);
	load_suspended(q);
	look_at_space(q);
	queue_state_check(q);
	r = uv_timer_init(loop, &q->tick);
	if (r == 0)
		r = uv_timer_init(loop, &q->soon);
	if (r < 0)
		return r;
	q->tick.data = q->soon.data = q;
	return uv_timer_start(&q->tick, on_tick, 0, TICK_MS);
}

void
queue_reload(struct queue *q, const struct conf *conf)
{
	q->conf = conf;
}

/* ---- the end ----------------------------------------------------------------------------- */

void
queue_drain(struct queue *q)
{
	struct qworker *w;
	struct qhold *h;

	q->draining = true;
	queue_state_check(q);
	LIST_FOREACH(w, &q->workers, link)
		LIST_FOREACH(h, &w->holds, worker_link) {
			struct hand_dest m = { h->dest->id };

			h->closing = true;
			hand_dest_encode(
			    ipc_send_begin(w->chan, HAND_CLOSE, 0), &m);
			(void)ipc_send_end(w->chan, -1); /* or it is gone */
		}
	queue_drain_check(q);
}

void
queue_drain_check(struct queue *q)
{
	if (!q->draining || q->closing || q->n_intakes > 0 ||
	    q->n_flights > q->n_stuck || writer_waiting(q->writer) > 0 ||
	    q->n_retry > 0)
		return;
	if (q->on_drained != NULL)
		q->on_drained(q->arg);
}

static void
free_tables(struct queue *q)
{
	size_t i;

	for (i = 0; i < q->flights_cap; i++)
		while (q->flights[i] != NULL)
			qflight_free(q, q->flights[i]);
	for (i = 0; i < q->dests_cap; i++)
		while (q->dests[i] != NULL)
			qdest_free(q, q->dests[i]);
	for (i = 0; i < q->n_names; i++)
		free((void *)(uintptr_t)q->names[i]);
	free(q->names);
	free(q->flights);
	free(q->dests);
	free(q->leases);
	free(q->intakes);
	q->flights_cap = q->dests_cap = q->n_names = 0;
}

void
queue_close(struct queue *q)
{
	struct job *job;

	q->closing = q->draining = true;
	queue_workers_close(q);
	queue_peers_close(q);
	queue_admins_close(q);
	/* what the store refused: the end of the process is a crash for it */
	while ((job = STAILQ_FIRST(&q->retry)) != NULL) {
		STAILQ_REMOVE_HEAD(&q->retry, link);
		job->result = -ECANCELED;
		job->type->done(q, job);
	}
	q->n_retry = 0;
	/* before the writer: nothing of the pool waits for it */
	queue_pool_close(q);
	writer_free(q->writer);
	q->writer = NULL;
	body_sweep_done(&q->sweep);
	uv_close((uv_handle_t *)&q->tick, NULL);
	uv_close((uv_handle_t *)&q->soon, NULL);
	free_tables(q);
}
