/*
 * session_int.h - the inside of a session, shared by its files: session.c (the
 * connection), session_mail.c (one transaction), session_time.c (how long it may
 * take). Nobody else includes it.
 */
#ifndef POSTERN_DELIVER_SESSION_INT_H
#define POSTERN_DELIVER_SESSION_INT_H

#include "deliver/session.h"
#include "lib/smtp/data.h"

enum expect {
	X_GREETING,
	X_EHLO,
	X_HELO,
	X_STARTTLS,
	X_AUTH, /* the answer to AUTH or to what followed it */
	X_RSET,
	X_MAIL,
	X_RCPT, /* the next recipient in order */
	X_DATA,
	X_CHUNK, /* BDAT, not the last */
	X_DOT,	 /* final answer to DATA or BDAT LAST */
	X_LONE_DOT,
	X_QUIT,
};

enum state {
	S_OPENING,   /* greeting, EHLO, STARTTLS, AUTH */
	S_HANDSHAKE, /* the owner does TLS */
	S_READY,
	S_MAIL, /* a transaction is open */
	S_RESET,
	S_QUITTING,
	S_OVER,
};

enum { EXPECT_MAX = 256, EVENTS_MAX = 8, AUTH_STEPS = 3 };

struct session {
	struct session_conf conf;
	enum state state;
	bool tls, helo, may_auth, authed;
	bool helo_doubt;   /* EHLO was refused, not unknown to the host */
	uint8_t auth_step; /* LOGIN: 1 user, 2 password; 3 all said, 4 "*" */
	bool ever_ready;
	struct smtp_ehlo ehlo;
	struct buf in, out;
	size_t data_left; /* of the input call under way */

	enum expect expects[EXPECT_MAX]; /* replies to come, in order */
	size_t expect_head, n_expects;

	enum session_event events[EVENTS_MAX];
	size_t event_head, n_events;

	uint64_t progress;
	struct session_end end;

	/* the transaction */
	struct session_msg *msg;
	bool mail_ok, mail_failed;
	bool utf8;	  /* SMTPUTF8 goes with MAIL */
	size_t rcpt_sent; /* recipients whose RCPT went out */
	size_t rcpt_at;	  /* next recipient to be answered */
	size_t n_accepted;
	bool data_sent;	    /* DATA is in the group */
	bool body;	    /* the body goes out */
	bool bdat;	    /* by BDAT */
	bool ended_data;    /* the terminator or LAST is in the output */
	bool chunks_failed; /* a chunk was refused */
	size_t chunks_open;
	uint64_t body_at; /* bytes read of the body */
	struct smtp_data_enc enc;
};

/* session.c */
void session_event(struct session *s, enum session_event ev);
void session_expect(struct session *s, enum expect x);
void session_put(struct session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void session_put_raw(struct session *s, const void *data, size_t len);
void session_ready(struct session *s);
/* The end, by whatever: what is open is deferred. r may be NULL. */
void session_fail(struct session *s, enum reason reason, const char *stage,
    const struct smtp_reply *r, const char *text);
void session_reply_text(const struct smtp_reply *r, char *buf, size_t cap);
bool session_has(const struct session *s, uint32_t ext);

/* session_mail.c */
void session_mail_reply(
    struct session *s, enum expect x, const struct smtp_reply *r);
/* A reply that nobody waits for, while the body goes out. */
void session_mail_early(struct session *s, const struct smtp_reply *r);
/* The connection is over: settle what is not, and tell the owner. */
void session_mail_lost(struct session *s, const struct smtp_reply *r,
    enum reason reason, const char *text);
void session_mail_pump(struct session *s);
const char *session_mail_stage(const struct session *s);

#endif
