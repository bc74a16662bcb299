/*
 * store_ops.h - every change of the store, as a job: what goes in, what comes
 * out. Each is one function (transaction, job); many share one commit.
 *
 * The loop fills a job, puts it into the writer, and gets it back in done.
 * Strings of a job live in its arena. The counters of the conservation law
 * move only here, in the transaction of the change that they count.
 */
#ifndef POSTERN_QUEUE_STORE_OPS_H
#define POSTERN_QUEUE_STORE_OPS_H

#include "queue/arena.h"
#include "queue/record.h"
#include "queue/store.h"
#include "queue/writer.h"

#include "lib/proto/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NOTICE_COLLECT_S = 10, /* others may end in this time: one notice */
	LOST_WAIT_S = 60, /* when a second worker died with it; then doubled */
	LOST_WAIT_MAX_S = 4 * 3600,
	YOUNG_RCPTS = 100, /* of a message; one with more begins old */
	OP_AGE_MAX = 64,   /* messages, when their destination goes down */
};

/* ---- accept (store_ops_accept.c) -------------------------------------------- */

struct op_rcpt {
	uint32_t rid, notify;
	const char *address, *domain, *orcpt;
	int64_t expires_s;
	/* out: its destination and the state of that */
	uint64_t ret_dest_id;
	int64_t ret_until_s;
	uint32_t ret_retries;
	bool ret_suspended;
	bool ret_others; /* recipients wait there that came before */
};

/* A message comes in. msg: everything but body, exp_s, notice_s and the counts
 * of recipients. Body: either bytes, or body_fd, the file written so far, which
 * prepare makes durable and closes. -EEXIST: the MID is taken. */
struct op_accept {
	struct job job;
	struct arena arena;
	uint64_t mid;
	struct rec_msg msg;
	struct op_rcpt *rcpts;
	uint32_t n_rcpts;
	const uint8_t *body;
	size_t body_len;
	int body_fd; /* -1: inline */
	int64_t due_s;
	void *owner;
};
void op_accept_begin(struct job *job);
int op_accept_prepare(struct writer *w, struct job *job);
int op_accept_run(struct stxn *x, struct job *job);

/* ---- results (store_ops_result.c) --------------------------------------------- */

enum {
	ITEM_NO_COUNT = 1, /* no attempt: worker lost */
	ITEM_NO_DSN = 2,   /* its profile wants none for failures */
	ITEM_RELAYED = 4,  /* delivered to a hop without DSN */
	ITEM_NAMES = 8,	   /* give from and to back, for a log line */
};

/* What became of one recipient. */
struct op_item {
	uint64_t mid;
	uint32_t rid;
	uint8_t outcome; /* enum outcome */
	uint8_t reason;	 /* enum reason */
	uint8_t flags;
	uint16_t code;
	const char *status, *reply;
	int64_t due_s; /* DEFERRED: next time; RESULT_EXPIRE: its expiry */
	int64_t delay_interval_s; /* delay notices; 0: none */
	uint32_t delay_max;
	uint64_t owner_dest; /* the loop's */
	/* out */
	bool gone;     /* no such recipient waits any more, or it is held */
	bool corrupt;  /* its record, or its message's, is unreadable */
	bool finished; /* it was the last of its message */
	bool double_bounce;    /* failed, and nobody can be told */
	bool held;	       /* deferred, and its message is held */
	uint8_t why;	       /* enum reason behind an expiry */
	const char *from, *to; /* with ITEM_NAMES or a double bounce */
	int64_t ret_due_s;
};

/* Items of one message stand together. host: shared by all; "". */
struct op_result {
	struct job job;
	struct arena arena;
	uint64_t dest_id; /* RESULT_FAIL: the one that fails */
	const char *host;
	struct op_item *items;
	uint32_t n;
	bool ret_notice; /* notices are due now */
	enum {
		RESULT_WORKER,
		RESULT_EXPIRE,
		RESULT_FAIL,
		RESULT_OPERATOR
	} origin;
	void (*over)(struct op_result *op); /* OPERATOR: written, or given up */
	void *owner;
	uint64_t dcid;
	uint32_t tries; /* that failed for another reason than no room */
	bool alone;	/* taken out of a larger one that would not go in */
};
int op_result_run(struct stxn *x, struct job *job);

/* Shared by the operations that end recipients: writes or deletes the message
 * record after some of its recipients changed. *ret_gone: nothing is left. */
int ops_msg_settle(
    struct stxn *x, uint64_t mid, struct rec_msg *m, bool *ret_gone);
int ops_msg_notice(
    struct stxn *x, uint64_t mid, struct rec_msg *m, int64_t at_s);
int ops_msg_expiry(
    struct stxn *x, uint64_t mid, struct rec_msg *m, int64_t at_s);

/* ---- destinations (store_ops_dest.c) -------------------------------------------- */

enum op_dest_what {
	OP_DEST_DOWN,	  /* retries + 1, until, reason, texts */
	OP_DEST_THROTTLE, /* until, text; nothing failed */
	OP_DEST_UP,	  /* all that waits there is woken */
	OP_DEST_RECHECK,  /* find its entry in sched anew */
	OP_DEST_WAKE,	  /* up, and what is not due becomes due; see more */
};
struct op_dest {
	struct job job;
	struct arena arena;
	enum op_dest_what what;
	uint64_t dest_id;
	int64_t until_s;
	uint8_t reason;
	const char *status, *text, *host;
	uint32_t ret_retries;
	uint32_t ret_changed; /* recipients made due */
	bool ret_more;	      /* WAKE did its share; put it in again */
	void *owner;
};
int op_dest_run(struct stxn *x, struct job *job);

/* Suspend or resume a domain ("": everything) at up to OP_SUSPEND_MAX
 * destinations; after is where to go on. */
enum { OP_SUSPEND_MAX = 500, OP_WAKE_MAX = 1000, SUSPENDED_MAX = 10000 };
struct op_suspend {
	struct job job;
	struct arena arena;
	const char *domain; /* never "" */
	bool suspend;
	uint32_t ret_changed;
	uint64_t *ret_ids; /* the destinations, in arena */
	uint32_t ret_n;
	void *owner;
};
int op_suspend_run(struct stxn *x, struct job *job);

/* Forget destinations where nothing waits, that nobody used since before_s.
 * Looks at up to OP_FORGET_MAX records from dest_id on. */
enum { OP_FORGET_MAX = 2000 };
struct op_forget {
	struct job job;
	uint64_t from;
	int64_t before_s;
	uint64_t ret_next; /* 0: the walk is at its end */
	uint32_t ret_n;
	uint64_t ret_ids[OP_FORGET_MAX];
};
int op_forget_run(struct stxn *x, struct job *job);

/* ---- operators and repair (store_ops_msg.c) --------------------------------------- */

enum op_msg_what {
	OP_MSG_REMOVE,
	OP_MSG_HOLD,
	OP_MSG_UNHOLD,
	OP_MSG_SET_ASIDE, /* unreadable: its records go to bad */
	OP_MSG_TIMES,	  /* times of a clock that was wrong, see jump.c */
};
struct op_msg {
	struct job job;
	struct arena arena;
	enum op_msg_what what;
	uint64_t mid;
	/* SET_ASIDE: the index entry that led there, or len 0; with MID 0 a
	 * key that leads nowhere */
	enum store_db index_db;
	struct key index;
	int64_t latest_s; /* TIMES: no expiry is later; 0: only the notice */
	bool whole;	  /* SET_ASIDE: all of it, its body is unreadable */
	uint32_t ret_changed; /* recipients */
	uint32_t *ret_rids;   /* REMOVE: those that could be read, in arena */
	uint32_t ret_n;	      /* of them */
	struct op_due {
		uint64_t dest_id;
		struct dq_entry e;
	} * ret_due; /* UNHOLD: what is due now, ret_changed of them */
	const char *ret_text;
	void *owner;
	uint64_t owner_id;
};
int op_msg_run(struct stxn *x, struct job *job);

/* Ids: reserve count of a kind. 0: only see whether there is room for more. */
struct op_ids {
	struct job job;
	uint32_t kind, count;
	uint64_t ret_first;
	void *owner;
	uint32_t owner_tag;
};
int op_ids_run(struct stxn *x, struct job *job);

/* ---- notices (store_ops_notice.c) --------------------------------------------------- */

struct op_noticed {
	uint32_t rid;
	bool delayed; /* a delay was told; else it ended */
};
/* A notice about mid is written: dsn goes in (NULL: nobody to tell), the
 * recipients it tells of are done. ret_stale: they changed meanwhile, nothing
 * was done. */
struct op_notice {
	struct job job;
	uint64_t mid;
	struct op_noticed *told; /* in dsn's arena or own */
	uint32_t n;
	struct op_accept *dsn;
	struct arena arena;
	bool ret_stale;
	bool ret_finished; /* nothing is left of mid */
};
int op_notice_run(struct stxn *x, struct job *job);

#endif
