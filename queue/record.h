/*
 * record.h - what stands in the store: keys and values, as bytes.
 *
 * Keys are fixed fields in big-endian, so that their order is the order of the
 * numbers. Values begin with a version byte. Pure: used by store_*.c, the
 * readers of the loop, tests and the fuzzer. docs/queue.md tells it in prose.
 */
#ifndef POSTERN_QUEUE_RECORD_H
#define POSTERN_QUEUE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum { REC_VERSION = 1, KEY_MAX = 511 };

/* ---- keys ---------------------------------------------------------------- */

struct key {
	uint8_t b[KEY_MAX];
	size_t len;
};

void key_u64(struct key *k, uint64_t v);		   /* mid, dest_id */
void key_rcpt(struct key *k, uint64_t mid, uint32_t rid);  /* rcpt */
void key_time(struct key *k, int64_t time_s, uint64_t id); /* sched, exp,
								notice */
/* One recipient that is due at a destination. */
struct dq_entry {
	int64_t due_s;
	uint64_t mid;
	uint32_t rid;
};
void key_dq(struct key *k, uint64_t dest_id, const struct dq_entry *e);
/* domain NUL gateway, and NUL class where that is not 0 (msg_class()): all of a
 * domain stand together. PE_TOO_LONG. */
int key_dname(
    struct key *k, const char *domain, const char *gateway, uint32_t cls);

/* The reverse; 0 or PE_CORRUPT. */
int key_u64_parse(const void *p, size_t len, uint64_t *ret);
int key_rcpt_parse(
    const void *p, size_t len, uint64_t *ret_mid, uint32_t *ret_rid);
int key_time_parse(
    const void *p, size_t len, int64_t *ret_time_s, uint64_t *ret_id);
int key_dq_parse(
    const void *p, size_t len, uint64_t *ret_dest_id, struct dq_entry *ret);

/* -1, 0, 1 in the order of the store. */
int dq_entry_cmp(const struct dq_entry *a, const struct dq_entry *b);

/* ---- values -------------------------------------------------------------- */
/*
 * Decoders borrow: strings point into the bytes given. They return 0 or
 * PE_CORRUPT and are strict: exact end, known version, values in range.
 * Encoders append to b and return 0, PE_FULL or -ENOMEM.
 */

enum rec_body { REC_BODY_INLINE, REC_BODY_FILE };

struct rec_msg {
	const char *sender, *envid, *gateway, *listener, *profile, *client,
	    *message_id;
	uint8_t ret;	/* enum dsn_ret */
	uint32_t flags; /* MSG_* */
	uint64_t size;	/* body bytes */
	uint64_t icid;
	uint64_t origin; /* a notice: the message it is about */
	int64_t accepted_ms;
	uint8_t body; /* enum rec_body */
	bool held;
	uint32_t n_total; /* recipients at acceptance */
	uint32_t n_left;  /* recipient records that exist */
	uint32_t n_live;  /* of these, not ended */
	int64_t exp_s;	  /* its entry in exp; 0: none */
	int64_t notice_s; /* its entry in notice; 0: none */
};
int rec_msg_encode(struct buf *b, const struct rec_msg *m);
int rec_msg_decode(const void *p, size_t len, struct rec_msg *ret);

enum rec_rcpt_state {
	RCPT_QUEUED, /* waits, or is with a worker */
	RCPT_FAILED, /* ended; the record waits for its notice */
	RCPT_EXPIRED,
	RCPT_RELAYED, /* NOTIFY=SUCCESS and the hop will not tell */
	RCPT_STATES
};

struct rec_rcpt {
	uint8_t state;	    /* enum rec_rcpt_state */
	bool delay_pending; /* a delay notice is to be written */
	uint8_t delays;	    /* delay notices written */
	uint8_t lost;	    /* workers that died with it */
	uint64_t dest_id;
	int64_t due_s;	   /* its entry in dq; 0: none (held or ended) */
	int64_t expires_s; /* from its bounce profile */
	uint32_t attempts;
	uint32_t notify; /* DSN_NOTIFY_* */
	int64_t last_s;	 /* last attempt, or end; 0: never */
	uint8_t reason;	 /* enum reason, of the last attempt */
	uint16_t code;	 /* SMTP code of the last attempt, or 0 */
	const char *status, *reply, *host;
	const char *address, *domain, *orcpt;
};
int rec_rcpt_encode(struct buf *b, const struct rec_rcpt *m);
int rec_rcpt_decode(const void *p, size_t len, struct rec_rcpt *ret);

struct rec_dest {
	const char *domain, *gateway;
	int64_t sched_s;  /* its entry in sched; 0: none */
	uint32_t queued;  /* recipients not ended */
	uint32_t retries; /* attempts in a row that failed as a whole */
	int64_t until_s;  /* host down: not before; 0: up */
	int64_t since_s;  /* down since */
	uint8_t reason;	  /* why down */
	bool suspended;
	int64_t used_s; /* last accept or result; for forgetting it */
	uint64_t delivered, soft, hard;
	const char *status, *text, *host; /* of being down */
	const char *last_error;		  /* last refusal of a recipient */
	uint32_t cls;			  /* of its messages: msg_class() */
};
int rec_dest_encode(struct buf *b, const struct rec_dest *m);
int rec_dest_decode(const void *p, size_t len, struct rec_dest *ret);

/* Recipients, ever. accepted + generated = delivered + bounced + expired +
 * removed + queued. */
struct rec_counters {
	uint64_t accepted, generated, delivered, bounced, expired, removed,
	    queued;
	uint64_t double_bounces, notices, deferred;
};
int rec_counters_encode(struct buf *b, const struct rec_counters *m);
int rec_counters_decode(const void *p, size_t len, struct rec_counters *ret);

#endif
