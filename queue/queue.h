/*
 * queue.h - the loop's side of the queue process: what it keeps in memory.
 *
 * Shared inside this folder only. In memory is what is at work or due: a bounded
 * number of destinations, each with a window of recipients that are due, and
 * the recipients that workers hold. Everything else is in the store.
 */
#ifndef POSTERN_QUEUE_QUEUE_H
#define POSTERN_QUEUE_QUEUE_H

#include "queue/body.h"
#include "queue/pool.h"
#include "queue/record.h"
#include "queue/store.h"
#include "queue/store_ops.h"
#include "queue/touch.h"
#include "queue/writer.h"

#include "lib/conf/conf.h"
#include "lib/ipc/chan.h"
#include "lib/log/log.h"
#include "lib/proto/admin.h"
#include "lib/proto/handoff.h"
#include "lib/proto/roles.h"
#include "lib/proto/submit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum {
	WINDOW_MAX = 256, /* due recipients kept of one destination */
	WINDOW_FIRST = 8,
	FLIGHTS_MAX = 50000,	    /* recipients with one worker */
	PULL_BACKLOG_MAX = 8 << 20, /* bytes that wait for a worker */
	SPREAD_AT = 100,  /* due recipients per worker that holds it */
	FAIL_BATCH = 200, /* recipients failed in one job */
	EXPIRE_BATCH = 500,
	NOTICES_AT_ONCE = 32,
	NOTICE_RCPTS_MAX = 500,		/* recipients told of in one notice */
	INTAKES_MAX = 20000,		/* open submissions per smtpd */
	INTAKE_RCPTS_MAX = 100000,	/* recipients of one message */
	INTAKE_ENVELOPES = 128 << 20,	/* bytes of them, of open submissions */
	INTAKE_INLINE_BYTES = 64 << 20, /* of open ones; then files */
	INTAKE_QUEUED_MAX = 64 << 20,	/* bytes that wait for the writer */
	IDS_OWN = 200, /* MIDs reserved for notices at a time */
	TICK_MS = 500,
	/* libuv runs a timer of 0 that is started by a timer in the same turn:
	 * nothing else gets its turn until the last of them */
	NEXT_TURN_MS = 1,
	SCHED_SLICE = 2000, /* destinations loaded per turn */
	FORGET_AFTER_S = 3600,
	RETRY_JOBS_MS = 1000,	/* after the store refused */
	FULL_FLOOR = 4 << 20,	/* bytes free until a full disk is over */
	NO_FDS_TOLD_MS = 30000, /* an alert in the status */
	LOST_MAX = 2048,	/* destinations remembered that lost a worker */
	LOOKS_MAX = 1024,	/* last looks at one time, see look.c */
	RESULT_TRIES = 3,	/* when the store is damaged where it belongs */
	STUCK_MAX = 10000,	/* results given up; then nothing goes out */
};

struct queue;
struct qworker;
struct qhold;

/* Why a whole destination fails or is discarded, while it is being done. */
struct qfail {
	bool discard;
	uint8_t reason;
	char *status, *text, *host;
};

LIST_HEAD(qhold_list, qhold);

/* A destination in memory. */
struct qdest {
	uint64_t id;
	struct qdest *hash_next;
	TAILQ_ENTRY(qdest) ready_link;
	bool in_ready, ready_probe; /* in which of the two lists */
	bool suspended;
	bool was_down;	  /* when it was loaded; counted in n_down */
	bool all_loaded;  /* the window holds all that was due when read */
	bool rescan;	  /* something is due before pos: read from the start */
	bool passed_over; /* a body file could not be opened: later */
	bool dq_old;	  /* what was not read yet came before it was loaded */
	bool dq_touched;  /* but it was read ahead, for one more window */
	enum { WARM_NOT, WARM_WAITS, WARM_RUNS } warming;
	TAILQ_ENTRY(qdest) cold_link; /* WAITS: in queue.cold */
	struct dq_entry *win;	      /* ring */
	uint32_t win_cap, win_head, win_n;
	struct dq_entry pos; /* last entry read into the window */
	int64_t next_due_s;  /* first one that was not due yet; 0: none */
	uint32_t queued;     /* recipients in all, a hint */
	uint32_t retries;
	int64_t until_s;
	int64_t ok_ms; /* last delivery, monotonic; 0: none */
	uint32_t in_flight;
	uint32_t n_holds;
	uint32_t jobs; /* that will come back to it */
	struct qhold_list holds;
	struct qfail *fail;
	bool fail_job;
	uint32_t cls;	     /* msg_class() */
	const char *gateway; /* interned */
	char domain[];
};
TAILQ_HEAD(qdest_list, qdest);

/* A recipient that is out: with a worker, or in a job of the writer (then
 * worker is NULL). Never handed out again meanwhile. */
struct qflight {
	uint64_t mid;
	uint32_t rid, attempts;
	struct qflight *hash_next;
	struct qdest *dest; /* NULL: not loaded */
	struct qworker *worker;
	TAILQ_ENTRY(qflight) link; /* in worker->flights */
	int64_t due_s;
	const char *profile; /* interned, of the message */
};
TAILQ_HEAD(qflight_list, qflight);

/* A pull that could not be answered yet: no room in the channel, or what it
 * would get comes from the disk first. */
struct qpull {
	STAILQ_ENTRY(qpull) link;
	uint64_t req_id;
	struct hand_pull m;
};
STAILQ_HEAD(qpull_list, qpull);

/* A worker has a destination. */
struct qhold {
	LIST_ENTRY(qhold) dest_link, worker_link;
	struct qdest *dest;
	struct qworker *worker;
	bool idle;  /* its last pull ended with nothing: tell it of more */
	bool probe; /* offered as the one attempt on a host that is down */
	bool closing;
	uint32_t in_flight;
	struct qpull_list cold; /* until its destination is warm */
};

struct qworker {
	LIST_ENTRY(qworker) link;
	struct queue *q;
	uint32_t instance;
	struct ipc_chan *chan;
	uint32_t slots; /* destinations it still wants */
	uint32_t held, probes;
	uint32_t n_flights;
	struct qflight_list flights;
	struct qhold_list holds;
	struct qpull_list pulls; /* until there is room */
	uint32_t n_pulls;	 /* all that are not answered */
	uint32_t n_room;	 /* of them, in pulls */
};

/* A walk over the store, of which there is one of a kind at a time: first by a
 * thread of the pool, then, by go, on the loop. */
enum { ROUND_PARTS = 3 };
struct qround {
	struct pool_job job;
	struct touch t[ROUND_PARTS];
	size_t n;
	bool busy;
	void (*go)(struct queue *q);
};

struct qsmtpd;
struct qadmin;
struct qintake;
struct qask;

/* A range of ids that a peer may use. */
struct qlease {
	uint64_t first, end;
	uint32_t peer; /* smtpd instance */
};

/* Workers died with this destination, n in a row. */
struct qlost {
	uint64_t dest_id;
	uint32_t n;
	int64_t at_ms; /* the last time, monotonic */
};

/* A destination looked at once more before mail there expires. */
struct qlook {
	uint64_t dest_id;
	int64_t begun_ms; /* monotonic */
	bool fresh;	  /* not offered yet */
	bool over;
};

struct qstats {
	uint64_t offers, pulls, handed, returned, in_doubt, accepts_refused,
	    set_aside, orphans, store_errors;
};

struct queue {
	uv_loop_t *loop;
	struct ipc_hub *hub;
	const struct conf *conf; /* in force; borrowed */
	struct store *store;
	struct writer *writer;
	struct pool *pool;
	uv_timer_t tick;
	uv_timer_t soon; /* go on in the next turn */
	bool in_soon;	 /* its callback runs */
	bool closing;
	int n_handles; /* open uv handles of our own */

	/* how the process is told; set by main.c or a test */
	void *arg;
	void (*on_broken)(
	    void *arg, enum role role, uint32_t instance, const char *text);
	void (*on_drained)(void *arg);
	void (*on_panic)(void *arg, const char *text);

	/* dest.c */
	struct qdest **dests; /* hash by id */
	size_t dests_cap, n_dests;
	size_t n_down;	 /* of them, loaded as a host that is down */
	size_t n_window; /* entries of all windows */
	struct qflight **flights;
	size_t flights_cap, n_flights;
	struct qdest_list ready, ready_probe;
	const char **names; /* interned */
	size_t n_names, names_cap;

	/* warm.c */
	struct qwarm *warm; /* by MID */
	struct qdest_list cold;
	size_t n_warm_jobs;
	struct qround sched_round, expire_round, notice_round, repair_round,
	    forget_round;

	/* offer.c */
	LIST_HEAD(qworker_list, qworker) workers;
	uint32_t n_workers;
	struct qlost lost[LOST_MAX];
	uint32_t n_lost;
	bool all_suspended;
	/* where the walk over sched is; it starts anew when sched_rescan */
	int64_t sched_at_s;
	uint64_t sched_at_id;
	bool sched_rescan, sched_more;
	bool sched_full; /* it stopped for want of room */
	int64_t sched_scan_ms;

	/* peer_smtpd.c */
	LIST_HEAD(qsmtpd_list, qsmtpd) smtpds;
	struct qintake **intakes; /* hash by mid */
	size_t intakes_cap, n_intakes;
	size_t n_files, files_max; /* body files of open submissions */
	size_t envelope_bytes;	   /* of open submissions */
	size_t inline_bytes;	   /* of open submissions */
	size_t committing_bytes;   /* that wait for the writer */
	bool intake_held;

	/* ids.c */
	struct qlease *leases;
	size_t n_leases, leases_cap;
	uint64_t high_mid;  /* first id never leased */
	uint64_t start_mid; /* the same, when we began */
	uint64_t own_next, own_end;
	bool own_asked;
	LIST_HEAD(qask_list, qask) asks;

	/* expire.c */
	bool expire_job;
	int64_t expire_at_s; /* where the walk over exp goes on; 0: start */
	uint64_t expire_at_mid;
	/* look.c */
	struct qlook looks[LOOKS_MAX];
	uint32_t n_looks;
	bool looks_fresh;
	/* jump.c */
	bool clock_known;
	int64_t clock_offset_ms; /* wall - monotonic */
	int64_t clock_moved_ms;	 /* when it was moved, or the start */
	int64_t expiry_lag_s;	 /* the clock is ahead of what waits */
	int64_t expiry_lag_until_ms;
	uint32_t n_repairs; /* jobs */
	/* notice.c */
	uint64_t noticing[NOTICES_AT_ONCE];
	uint32_t n_noticing;

	/* store trouble: results wait here to be tried again */
	struct job_list retry;
	size_t n_retry;
	size_t n_stuck; /* recipients whose result cannot be recorded */
	int64_t retry_at_ms;

	/* state told to smtpd */
	bool accepting;
	int store_error; /* last refusal, 0 when it works */
	bool low_space, full, draining;
	bool was_full; /* the disk, and there is not FULL_FLOOR again */
	uint64_t free_bytes;
	char state_text[256];
	struct log_limit alert_limit, bad_limit;
	bool passed_over;  /* at some destination */
	int64_t no_fds_ms; /* a body file found no descriptor; 0: never */

	/* background */
	struct body_sweep sweep;
	bool sweeping;
	uint64_t sweep_below; /* MIDs at the start */
	uint64_t forget_from;
	int64_t forget_at_ms;
	bool forget_job;

	LIST_HEAD(qadmin_list, qadmin) admins;
	struct qstats stats;
};

/* ---- queue.c: life, timers, state ------------------------------------------ */

/* The store is open and the writer runs; starts the timers. 0 or negative. */
int queue_init(struct queue *q, uv_loop_t *loop, struct ipc_hub *hub,
    const struct conf *conf, struct store *store);
/* The threads, apart, because they start before the lock-down. */
int queue_threads_start(struct queue *q, uv_loop_t *loop, struct store *store);
/* Give up everything; handles close in the loop's next turns. */
void queue_close(struct queue *q);
void queue_drain(struct queue *q);
void queue_drain_check(struct queue *q);
void queue_reload(struct queue *q, const struct conf *conf);
/* A job's result: did the store itself refuse? Keeps the state told. */
bool queue_store_failed(struct queue *q, int result);
/* The probe went through: a full store is over too. */
void queue_store_ok(struct queue *q);
/* Was it for want of descriptors? Then it is said, and told in the status. */
bool queue_no_fds(struct queue *q, int result);
/* Put a job that must not be lost in again, a little later. */
void queue_retry(struct queue *q, struct job *job);
void queue_state_check(struct queue *q);
void queue_soon(struct queue *q); /* offer, load: in the next turn */

/* ---- dest.c: destinations and flights in memory ------------------------------ */

const char *queue_intern(struct queue *q, const char *text);
struct qdest *qdest_find(struct queue *q, uint64_t id);
/* NULL when the bound is reached or memory is short. */
struct qdest *qdest_load(struct queue *q, uint64_t id, const char *domain,
    const char *gateway, uint32_t cls);
/* Is there room for another one? fresh: for mail that just came; the backlog
 * leaves some of the room to it. promised: entries about to be added. */
bool qdest_room(const struct queue *q, bool fresh, size_t promised);
/* Room for one more that is down? They get a quarter: at a start with many dead
 * domains due, live ones must not wait behind them. */
bool qdest_down_room(const struct queue *q);
/* It was loaded while down. */
void qdest_set_down(struct queue *q, struct qdest *d);
void qdest_free(struct queue *q, struct qdest *d);
/* Free it when nothing is going on there. */
void qdest_maybe_unload(struct queue *q, struct qdest *d);
void qdest_window_clear(struct queue *q, struct qdest *d);
/* Fill the window from the store. 0 or negative. */
int qdest_refill(struct queue *q, struct qdest *d, struct sview *v);
bool qdest_window_push_front(
    struct queue *q, struct qdest *d, const struct dq_entry *e);
/* A recipient was just committed as due. */
void qdest_due(struct queue *q, struct qdest *d, const struct dq_entry *e);
const struct dq_entry *qdest_first(const struct qdest *d);
/* The i-th entry of the window, i < win_n. */
const struct dq_entry *qdest_at(const struct qdest *d, uint32_t i);
void qdest_pop(struct queue *q, struct qdest *d);

struct qflight *qflight_find(struct queue *q, uint64_t mid, uint32_t rid);
struct qflight *qflight_new(struct queue *q, uint64_t mid, uint32_t rid,
    struct qdest *d, struct qworker *w);
/* Away from its worker, into a job. */
void qflight_detach(struct queue *q, struct qflight *f);
void qflight_free(struct queue *q, struct qflight *f);

/* ---- warm.c: what may have to come from the disk ------------------------------ */

/* This message was just written or read. */
void queue_warm_note(struct queue *q, uint64_t mid);
/* May it be read on the loop? */
bool queue_is_warm(const struct queue *q, uint64_t mid);
/* Read what comes next at d; then queue_dest_warm(). urgent: a worker waits. d
 * stays loaded meanwhile. */
void queue_warm_dest(struct queue *q, struct qdest *d, bool urgent);
/* The same when little is left that is warm. */
void queue_warm_ahead(struct queue *q, struct qdest *d);
void queue_warm_tick(struct queue *q);
/* A walk: begin (false: one is under way, whose go comes after this moment),
 * add parts, start. */
bool queue_round_begin(const struct queue *q, struct qround *rd);
struct touch *queue_round_add(struct qround *rd);
void queue_round_start(
    struct queue *q, struct qround *rd, void (*go)(struct queue *q));
int queue_pool_start(struct queue *q, uv_loop_t *loop, struct store *store);
void queue_pool_close(struct queue *q);
/* peer_deliver.c: d was read: what waited for it goes on. d may be gone
 * afterwards. */
void queue_dest_warm(struct queue *q, struct qdest *d);
/* Nobody waits for these any more. */
void queue_pulls_end(struct qhold *h);

/* ---- offer.c: who gets what --------------------------------------------------- */

/* Look at a destination after anything changed there: load, tell, offer, or
 * forget it. d may be gone afterwards. */
void queue_poke(struct queue *q, struct qdest *d);
/* Give ready destinations to workers with room. */
void queue_offer(struct queue *q);
/* Load destinations whose time has come. */
void queue_sched(struct queue *q);
uint32_t qdest_ready(const struct qdest *d);
/* Is its window to be read on, and would that be from the disk, maybe? */
bool qdest_wants_reading(const struct qdest *d);
bool qdest_reads_cold(const struct qdest *d);
bool queue_may_work(const struct queue *q, const struct qdest *d);
/* All of a worker goes away. */
void queue_worker_lost(struct queue *q, struct qworker *w);
void queue_hold_end(struct queue *q, struct qhold *h);
struct qhold *queue_hold_find(struct qworker *w, uint64_t dest_id);
/* Put a result job in; its done is in offer.c. */
struct op_result *queue_result_new(uint64_t dest_id, uint32_t n);
void queue_result_put(struct queue *q, struct op_result *op, bool lazy);
void queue_dest_job(struct queue *q, struct qdest *d, enum op_dest_what what,
    int64_t until_s, const struct hand_dest_state *m);
/* Something unreadable: out of the way, with one clear line. index: the entry
 * that led there goes too. whole: not only recipients that cannot be read. */
void queue_set_aside(struct queue *q, uint64_t mid, enum store_db db,
    const struct key *index, bool whole, const char *what);
/* The same with a key that cannot be read, and leads nowhere. */
void queue_set_aside_key(struct queue *q, enum store_db db, const MDB_val *k);
/* A message just came in and is committed. */
void queue_accepted(struct queue *q, const struct op_accept *op);
void queue_fail_step(struct queue *q, struct qdest *d);

const struct conf_profile *queue_profile(
    struct queue *q, const char *domain, const char *msg_profile);

/* ---- the others ------------------------------------------------------------------ */

/* peer_deliver.c, peer_smtpd.c, peer_admin.c: take a channel */
int queue_peer_deliver(struct queue *q, uint32_t instance, int fd);
int queue_peer_smtpd(struct queue *q, uint32_t instance, int fd);
int queue_peer_admin(struct queue *q, uint32_t instance, int fd);
void queue_peers_close(struct queue *q);
void queue_workers_close(struct queue *q);
void queue_admins_close(struct queue *q);
void queue_tell_state(struct queue *q);	 /* to every smtpd */
void queue_intake_flow(struct queue *q); /* hold or resume the senders */
bool queue_intake_open(struct queue *q, uint64_t mid);

/* ids.c */
void queue_ids_init(struct queue *q);
int queue_ids_ask(struct queue *q, struct ipc_chan **chan, uint32_t instance,
    bool smtpd, uint64_t req_id, const struct ids_ask *m);
void queue_ids_forget(struct queue *q, struct ipc_chan **chan);
bool queue_mid_allowed(const struct queue *q, uint64_t mid, uint32_t instance);
/* A MID of our own; 0 when none is there now (one is asked for). */
uint64_t queue_mid_own(struct queue *q);
/* Does the store take a commit again? The answer is in the state. */
void queue_ids_probe(struct queue *q);

/* lost.c: the worker that was busy with d died; d waits, longer each time,
 * until something is delivered there. The caller pokes it. */
void queue_lost(struct queue *q, struct qdest *d);
void queue_lost_over(struct queue *q, uint64_t dest_id);

/* look.c: does a last look keep what is over its time there? One begins when
 * it is owed; queue_look_begin() follows when no view is open. */
bool queue_look_holds(struct queue *q, struct sview *v, uint64_t dest_id);
void queue_look_begin(struct queue *q);
/* What is over its time may still be handed out there. */
bool queue_look_runs(struct queue *q, uint64_t dest_id);
void queue_look_over(struct queue *q, uint64_t dest_id);

/* jump.c: was the clock moved? Each tick, and before anything expires. */
void queue_clock(struct queue *q);
/* The time that counts for expiry: what is no later is over. */
int64_t queue_expiry_now(const struct queue *q);
/* A destination where nothing is due before due_s: repaired when no setting
 * could have led to that from now. */
void queue_repair_far(struct queue *q, uint64_t dest_id, int64_t due_s);
/* What waits for such a time is brought back, some at a time. */
void queue_repair_times(struct queue *q);

/* expire.c, notice.c */
void queue_expire(struct queue *q);
void queue_notices(struct queue *q);

#endif
