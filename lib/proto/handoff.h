/*
 * handoff.h - queue <-> deliver: destinations are offered, messages are pulled.
 *
 * A worker says how many destinations it can hold (WANT). queue offers one
 * (OFFER); it is the worker's until RELEASE, and one destination may be with
 * several workers. On each good connection the worker PULLs; queue answers with
 * MESSAGE × n and PULL_END under the request id of the pull. Each pulled
 * recipient comes back exactly once, in RESULT or RETURN. A lost channel:
 * results already sent are read, the rest is "in doubt" and scheduled again.
 *
 * A destination that cannot be attempted as a whole (no host reachable, DNS
 * doubt, null MX) is told by DEST_STATE, without pulling anything: cost is per
 * destination. DEST_STATE{FAILED} fails every recipient that is due there.
 */
#ifndef POSTERN_PROTO_HANDOFF_H
#define POSTERN_PROTO_HANDOFF_H

#include "lib/ipc/wire.h"
#include "lib/proto/outcome.h"
#include "lib/proto/roles.h"
#include "lib/proto/submit.h"

#include <stdint.h>

enum {
	/* deliver -> queue */
	HAND_WANT = 48,
	HAND_PULL,
	HAND_RESULT,
	HAND_RETURN,
	HAND_DEST_STATE,
	HAND_RELEASE,
	/* queue -> deliver */
	HAND_OFFER,
	HAND_MORE,
	HAND_MESSAGE,	 /* body inside the frame */
	HAND_MESSAGE_FD, /* + read-only descriptor of the body file */
	HAND_PULL_END,
	HAND_CLOSE, /* finish what is open there and release it */
};

enum {
	HAND_RCPTS_MAX = 100, /* recipients in one MESSAGE */
	HAND_INLINE_MAX =
	    16 * 1024, /* body bytes inside a frame; larger: file */
};

/* Room for this many more destinations (adds up). */
struct hand_want {
	uint32_t slots;
};
void hand_want_encode(struct ipc_wr *w, const struct hand_want *m);
int hand_want_decode(struct ipc_rd *r, struct hand_want *ret);

/* dest_id names the destination (domain, gateway and class) on this channel and in
 * the store; never reused. ready: recipients due now, a hint for how many
 * connections are worth opening. retries: attempts in a row that failed as a
 * whole (host down); with more than 0 this is the one probe. */
struct hand_offer {
	uint64_t dest_id;
	const char *domain;
	const char *gateway;
	uint32_t ready;
	uint32_t retries;
	uint32_t cls; /* msg_class() of all its messages */
};
void hand_offer_encode(struct ipc_wr *w, const struct hand_offer *m);
int hand_offer_decode(struct ipc_rd *r, struct hand_offer *ret);

/* New mail became due at a destination this worker holds. */
struct hand_more {
	uint64_t dest_id;
	uint32_t ready;
};
void hand_more_encode(struct ipc_wr *w, const struct hand_more *m);
int hand_more_decode(struct ipc_rd *r, struct hand_more *ret);

/* Up to max_messages, each with up to max_rcpts recipients. The request id
 * names the connection. */
struct hand_pull {
	uint64_t dest_id;
	uint32_t max_messages;
	uint32_t max_rcpts; /* 1 … HAND_RCPTS_MAX */
};
void hand_pull_encode(struct ipc_wr *w, const struct hand_pull *m);
int hand_pull_decode(struct ipc_rd *r, struct hand_pull *ret);

struct hand_rcpt {
	uint32_t rid;
	const char *address;
	const char *orcpt;
	uint32_t notify;
	uint32_t attempts; /* before this one */
};
struct hand_message {
	uint64_t dest_id;
	uint64_t mid;
	const char *sender;
	const char *envid;
	enum dsn_ret ret;
	uint32_t flags;	     /* MSG_* */
	uint64_t size;	     /* body bytes */
	int64_t accepted_s;  /* Unix seconds */
	int64_t accepted_ms; /* the same, for delay_ms */
	uint32_t n_rcpts;
	struct hand_rcpt rcpts[HAND_RCPTS_MAX];
	const uint8_t *body; /* borrowed; NULL when it comes as a file */
	size_t body_len;
};
void hand_message_encode(struct ipc_wr *w, const struct hand_message *m);
int hand_message_decode(struct ipc_rd *r, struct hand_message *ret);

/* The pull is answered. ready: what is still due at the destination. */
struct hand_pull_end {
	uint64_t dest_id;
	uint32_t ready;
};
void hand_pull_end_encode(struct ipc_wr *w, const struct hand_pull_end *m);
int hand_pull_end_decode(struct ipc_rd *r, struct hand_pull_end *ret);

/* What one recipient's attempt gave. */
struct hand_rcpt_result {
	uint32_t rid;
	enum outcome outcome; /* DELIVERED, DEFERRED or FAILED */
	enum reason reason;
	uint16_t code;	    /* SMTP reply code, 0 when there was none */
	const char *status; /* "4.7.5", the remote's where it sent one */
	const char *reply;  /* reply text without code, cut; "" */
	bool relayed;	    /* delivered to a hop without DSN (DSN-08) */
};
struct hand_result {
	uint64_t dest_id;
	uint64_t mid;
	uint64_t dcid;
	const char *host;    /* name of the hop; "" when none was involved */
	const char *address; /* its address */
	uint32_t n_rcpts;
	struct hand_rcpt_result rcpts[HAND_RCPTS_MAX];
};
void hand_result_encode(struct ipc_wr *w, const struct hand_result *m);
int hand_result_decode(struct ipc_rd *r, struct hand_result *ret);

/* Pulled but not attempted: due again at once, no attempt counted. */
struct hand_return {
	uint64_t dest_id;
	uint64_t mid;
	uint32_t n_rids;
	uint32_t rids[HAND_RCPTS_MAX];
};
void hand_return_encode(struct ipc_wr *w, const struct hand_return *m);
int hand_return_decode(struct ipc_rd *r, struct hand_return *ret);

enum dest_verdict {
	DEST_UP,       /* a connection is good: wake all that waits there */
	DEST_DOWN,     /* no host reachable: its own retry clock */
	DEST_DEFER,    /* DNS or TLS policy says not now: the same clock */
	DEST_FAILED,   /* null MX, NXDOMAIN: all that is due fails */
	DEST_DISCARD,  /* route /dev/null: all that is due is discarded */
	DEST_THROTTLED /* recipient_limit: nothing for wait_ms */
};
struct hand_dest_state {
	uint64_t dest_id;
	enum dest_verdict verdict;
	enum reason reason;
	const char *status; /* "4.4.1"; "" when up */
	const char *text;   /* readable, one line */
	const char *host;   /* last host tried, or "" */
	uint32_t wait_ms;   /* of DEST_THROTTLED */
};
void hand_dest_state_encode(struct ipc_wr *w, const struct hand_dest_state *m);
int hand_dest_state_decode(struct ipc_rd *r, struct hand_dest_state *ret);

/* RELEASE (deliver gives it back; nothing pulled is open) and CLOSE. */
struct hand_dest {
	uint64_t dest_id;
};
void hand_dest_encode(struct ipc_wr *w, const struct hand_dest *m);
int hand_dest_decode(struct ipc_rd *r, struct hand_dest *ret);

#endif
