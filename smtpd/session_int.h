/*
 * session_int.h - what the session's own files share: session.c (input,
 * state, time), session_cmd.c (commands), session_data.c (message data),
 * session_auth.c (AUTH). Nobody else includes this.
 */
#ifndef POSTERN_SMTPD_SESSION_INT_H
#define POSTERN_SMTPD_SESSION_INT_H

#include "lib/base/buf.h"
#include "lib/mail/header.h"
#include "lib/smtp/command.h"
#include "lib/smtp/data.h"
#include "lib/smtp/status.h"
#include "smtpd/session.h"

enum session_state {
	SS_COMMAND,   /* a command line is next */
	SS_AUTH_LINE, /* a line of the AUTH dialogue is next */
	SS_AUTH_WAIT, /* the check runs */
	SS_SKIP,      /* the rest of a bad line is thrown away */
	SS_MAIL,      /* MAIL waits for a message number */
	SS_BEGIN,     /* DATA or BDAT waits for room for the envelope */
	SS_DATA,      /* message data until the dot */
	SS_BDAT,      /* message data by count */
	SS_COMMIT,    /* the queue has it all; its answer is the reply */
	SS_STARTTLS,  /* 220 was said */
	SS_CLOSED
};

enum { FAIL_TEXT_MAX = 256, JUNK_MAX = 1000, AUTH_FAILURES_MAX = 3 };

/* A reply that a transaction will get in place of 250. code 0: none. */
struct failure {
	uint16_t code;
	struct smtp_status status;
	char text[FAIL_TEXT_MAX];
};

struct rcpt {
	uint32_t notify; /* DSN_NOTIFY_* */
	size_t len;	 /* bytes of the three texts, with terminators */
	char text[];	 /* address, domain, ORCPT, each with its NUL */
};

/* Allocated by MAIL, freed at the end of the transaction. */
struct txn {
	uint64_t mid;
	size_t reserved; /* bytes of envelope, from ops->reserve() */
	char *sender;	 /* "" is the null sender */
	char *envid;	 /* "" when absent */
	const char *gateway;
	uint32_t flags; /* MSG_* */
	int ret;	/* enum dsn_ret */
	uint64_t size_hint;
	struct rcpt **rcpts;
	size_t n_rcpts, cap_rcpts;

	/* from DATA or the first BDAT on */
	bool bdat, last;
	bool begun; /* the queue knows it, and has not been told to forget */
	uint64_t chunk_left; /* BDAT: bytes that belong to it still */
	uint64_t sent;	     /* bytes given to the queue, Received included */
	uint64_t got;	     /* bytes of the client's message */
	uint64_t eaten;	     /* bytes thrown away after a failure */
	uint64_t taken;	     /* bytes from the client, of any fate */
	int64_t since_ms;    /* when the data began, our own delays left out;
			      * 0: not yet */
	int64_t stall_ms;    /* the queue has had no room since */
	struct failure fail;
	bool untagged;	  /* a bounce without a tag: to be marked */
	bool bad_content; /* that is why it failed: looked at to the end */
	struct smtp_data_dec dec;   /* DATA */
	struct smtp_body_scan scan; /* BDAT */
	struct mail_scan *head;	    /* header fields on their way */
};

struct session {
	const struct session_ops *ops;
	void *arg;
	struct session_client c;

	enum session_state state;
	enum session_state after_skip;
	bool started; /* greeted */
	bool blocked; /* data waits for room in the queue */
	bool stalled; /* and has waited since the last byte was taken */
	bool tls, esmtp, authenticated, may_relay, rejected, draining;
	bool more;	   /* input stands behind the line in hand */
	bool data_refused; /* DATA got no 354 (SMUG-06) */
	bool skip_cr;	   /* the last byte thrown away was CR */
	uint8_t auth_step; /* session_auth.c */
	unsigned errors, junk, auth_failures;
	uint64_t messages;
	uint32_t offered; /* SMTP_EXT_* of our last EHLO reply */
	int64_t deadline_ms;
	int64_t useful_ms; /* it came, or its last message was accepted */
	char *helo;	   /* name the client gave, or NULL */
	char *user;	   /* who authenticated, or who is trying (LOGIN) */
	char *tls_text;	   /* "TLSv1.3 TLS_AES_256_GCM_SHA384", for Received */
	struct txn *txn;
	struct buf line; /* the beginning of a line */
	struct buf out;
};

/* session.c */
void session_set_state(struct session *s, enum session_state state);
void session_reply(
    struct session *s, int code, struct smtp_status st, const char *text);
/* A reply that counts as a mistake of the client; the last one is 421. */
void session_mistake(
    struct session *s, int code, struct smtp_status st, const char *text);
/* 421 and the end. */
void session_hang_up(
    struct session *s, struct smtp_status st, const char *text);
/* The transaction is over; why is for the log, NULL when it went well. */
void session_txn_end(struct session *s, const char *why);
void session_rejected(struct session *s);

/* session_cmd.c */
void session_command(struct session *s, const char *line, size_t len);
/* MAIL goes on when there is a number; false: there is none now */
bool session_mail(struct session *s);
/* No number comes: 451. */
void session_no_mid(struct session *s);
const char *session_hostname(const struct session *s);

/* session_bounce.c */
enum bounce {
	BOUNCE_NOT_OURS, /* nothing to verify: an ordinary recipient */
	BOUNCE_VERIFIED, /* the tag is good */
	BOUNCE_TAKEN,	 /* no tag, and [bounce-verification] takes it so */
	BOUNCE_REFUSED	 /* 550 was said */
};
/* Bounce verification (BATV-05) of a recipient of the open transaction. With a
 * tag that is good, address becomes the one without it. */
enum bounce session_bounce(struct session *s, char address[ADDR_MAX + 1]);

/* session_data.c */
/* begin with the queue once there is room; false: there is none now */
bool session_begin(struct session *s);
size_t session_data(struct session *s, const uint8_t *data, size_t len);
/* Is there room in the queue for a piece of data? Sets blocked when not. */
bool session_data_room(struct session *s);
size_t session_bdat(struct session *s, const uint8_t *data, size_t len);
void session_chunk_end(struct session *s);
void session_chunk_unknown(struct session *s);
/* Message data may come from now on. */
void session_data_begins(struct session *s);
/* When the data will have been too slow on average (min_data_rate). */
int64_t session_data_deadline_ms(const struct session *s);
/* The message will not be taken; the first reason counts. */
void session_fail(
    struct session *s, int code, struct smtp_status st, const char *text);

/* session_auth.c */
void session_auth_start(struct session *s, const struct smtp_command *cmd);
void session_auth_line(struct session *s, const char *line, size_t len);

#endif
