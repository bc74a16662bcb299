/*
 * submit.h - smtpd -> queue: one message on its way in, and leased ids.
 *
 * Many submissions are open on one channel; the request id of each frame is the
 * MID. Legal order per MID: BEGIN, RCPT × n (n as announced), DATA × m, COMMIT,
 * then DONE comes back; ABORT at any point before COMMIT. DONE with SUBMIT_OK
 * means: on disk and synced (promise 1). A DONE with a refusal may come before
 * COMMIT (disk full); smtpd then sends nothing more for that MID.
 */
#ifndef POSTERN_PROTO_SUBMIT_H
#define POSTERN_PROTO_SUBMIT_H

#include "lib/ipc/wire.h"
#include "lib/proto/roles.h"

#include <stdint.h>

enum {
	/* smtpd -> queue */
	SUBMIT_BEGIN = 16,
	SUBMIT_RCPT,
	SUBMIT_DATA, /* IPC_CREDIT; payload is the raw bytes, CRLF lines, not
		      * dot-stuffed, Received field included */
	SUBMIT_COMMIT,
	SUBMIT_ABORT, /* no payload */
	IDS_ASK,      /* also deliver -> queue */
	/* queue -> smtpd */
	SUBMIT_DONE,
	IDS_GRANT,   /* also queue -> deliver */
	QUEUE_STATE, /* whether new messages are taken */
};

/* Message flags; they travel with the message to deliver. */
enum {
	MSG_8BIT = 1,		/* body has bytes over 127 */
	MSG_SMTPUTF8 = 2,	/* MAIL had SMTPUTF8 */
	MSG_REQUIRETLS = 4,	/* MAIL had REQUIRETLS */
	MSG_TLS_OPTIONAL = 8,	/* header said TLS-Required: No */
	MSG_GENERATED = 16,	/* made by us: a notice */
	MSG_BODY_8BITMIME = 32, /* MAIL had BODY=8BITMIME */
	MSG_FLAGS_ALL = 63,
};

/*
 * The flags of a message that decide which hosts may have it: 0, MSG_REQUIRETLS
 * or MSG_TLS_OPTIONAL. Messages of one class are a destination of their own, so
 * that none waits for another's verdict. A notice of ours has only headers: it
 * carries REQUIRETLS where the host has it, and is not held back where it has
 * not (RFC 8689, 5).
 */
static inline uint32_t
msg_class(uint32_t flags)
{
	if ((flags & MSG_GENERATED) == 0 && (flags & MSG_REQUIRETLS) != 0)
		return MSG_REQUIRETLS;
	return flags & MSG_TLS_OPTIONAL;
}

/* Is it a value of msg_class()? */
static inline bool
msg_class_valid(uint32_t cls)
{
	return cls == 0 || cls == MSG_REQUIRETLS || cls == MSG_TLS_OPTIONAL;
}

/* RET and NOTIFY of RFC 3461. */
enum dsn_ret { DSN_RET_NONE, DSN_RET_FULL, DSN_RET_HDRS };
enum {
	DSN_NOTIFY_NONE = 0, /* parameter absent */
	DSN_NOTIFY_NEVER = 1,
	DSN_NOTIFY_SUCCESS = 2,
	DSN_NOTIFY_FAILURE = 4,
	DSN_NOTIFY_DELAY = 8,
	DSN_NOTIFY_ALL = 15,
};

struct submit_begin {
	uint64_t icid;
	const char *listener; /* settings section */
	const char *gateway;  /* virtual gateway, never "" */
	const char *sender;   /* "" is the null sender; no <> */
	const char *envid;    /* xtext as received, "" when absent */
	const char *client;   /* address of the client, for the record */
	const char *profile;  /* the listener's bounce profile, or "" */
	enum dsn_ret ret;
	uint32_t flags;	    /* MSG_* known so far */
	uint32_t n_rcpts;   /* RCPT frames that follow, at least 1 */
	uint64_t size_hint; /* SIZE=, or 0 */
};
void submit_begin_encode(struct ipc_wr *w, const struct submit_begin *m);
int submit_begin_decode(struct ipc_rd *r, struct submit_begin *ret);

/* rids are 0, 1, 2 … in order. */
struct submit_rcpt {
	uint32_t rid;
	const char *address; /* as received, no <> */
	const char *domain;  /* lower-case A-label or address literal */
	const char *orcpt;   /* as received, "" when absent */
	uint32_t notify;     /* DSN_NOTIFY_* bits */
};
void submit_rcpt_encode(struct ipc_wr *w, const struct submit_rcpt *m);
int submit_rcpt_decode(struct ipc_rd *r, struct submit_rcpt *ret);

/* flags: all MSG_* bits, those found in the body included. */
struct submit_commit {
	uint64_t size; /* bytes of all DATA payloads; must agree */
	uint32_t flags;
	const char *message_id; /* field value, "" when absent; for logs */
	const char *subject;
};
void submit_commit_encode(struct ipc_wr *w, const struct submit_commit *m);
int submit_commit_decode(struct ipc_rd *r, struct submit_commit *ret);

enum submit_result { SUBMIT_OK, SUBMIT_LATER, SUBMIT_REFUSED };
struct submit_done {
	enum submit_result result;
	uint16_t code;	      /* SMTP reply code to give: 250, 452, 451, 554 */
	const char *enhanced; /* "2.0.0", "4.3.1" */
	const char *text;
};
void submit_done_encode(struct ipc_wr *w, const struct submit_done *m);
int submit_done_decode(struct ipc_rd *r, struct submit_done *ret);

/* Ids are leased in ranges so that a new transaction costs no round trip. They
 * are never reused; a range that was not used up is lost with its holder. */
enum id_kind { ID_MID, ID_ICID, ID_DCID, ID_KINDS };
enum { IDS_MAX = 100000 };
struct ids_ask {
	enum id_kind kind;
	uint32_t count; /* 1 … IDS_MAX */
};
void ids_ask_encode(struct ipc_wr *w, const struct ids_ask *m);
int ids_ask_decode(struct ipc_rd *r, struct ids_ask *ret);

struct ids_grant {
	enum id_kind kind;
	uint64_t first;
	uint32_t count;
};
void ids_grant_encode(struct ipc_wr *w, const struct ids_grant *m);
int ids_grant_decode(struct ipc_rd *r, struct ids_grant *ret);

/* Sent at hello and on each change: when not accepting, smtpd answers MAIL
 * with 452 and the text (disk full, map full, draining). */
struct queue_state {
	bool accepting;
	const char *text;
};
void queue_state_encode(struct ipc_wr *w, const struct queue_state *m);
int queue_state_decode(struct ipc_rd *r, struct queue_state *ret);

#endif
