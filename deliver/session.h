/*
 * session.h - one SMTP client session as a machine without socket, loop or
 * clock: bytes in, bytes out, events.
 *
 * Called by deliver/conn.c, by tests and by the fuzzer. The owner feeds what it
 * reads, sends what waits in session_out(), keeps the one timer, does the TLS
 * handshake when asked, and takes the events one by one after every call:
 *
 *	session_input(s, bytes, n);
 *	while ((ev = session_next(s)) != SESSION_EV_NONE)
 *		...
 *
 * Doubt means deferred: a recipient is delivered only by a 2yz to the end of
 * the data, failed only by a 5yz in its place; everything else is deferred.
 *
 * Sources: RFC 5321, 2920, 3030, 3207, 3461, 1870, 6152, 6531, 4954, 9422;
 * the line ids of standards.md are in the tests.
 */
#ifndef POSTERN_DELIVER_SESSION_H
#define POSTERN_DELIVER_SESSION_H

#include "lib/base/buf.h"
#include "lib/conf/conf.h"
#include "lib/mail/prvs.h"
#include "lib/proto/outcome.h"
#include "lib/proto/roles.h"
#include "lib/proto/submit.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	SESSION_OUT_MARK = 64 * 1024,  /* body is read while less waits */
	SESSION_OUT_MAX = 1024 * 1024, /* never more waits */
	SESSION_PIECE = 64 * 1024,     /* body bytes read at once */
	SESSION_CHUNKS_OPEN = 8,       /* BDAT chunks without a reply */
};

enum session_tls {
	SESSION_TLS_NEVER,
	SESSION_TLS_MAY, /* refused or not offered: clear text */
	SESSION_TLS_MUST,
};

struct session_conf {
	const char *ehlo_name; /* kept */
	enum session_tls tls;
	const struct conf_delivery *delivery; /* timeouts; kept */
	const char *auth_user;		      /* log in; NULL: no. Kept */
	const char *auth_secret;
};

/* One recipient: what is asked, and after EV_DONE what came of it. */
struct session_rcpt {
	uint32_t rid;
	uint32_t attempts;
	const char *address, *orcpt;
	uint32_t notify; /* DSN_NOTIFY_* */

	bool settled;  /* the fields below hold */
	bool accepted; /* RCPT was answered by 2yz */
	enum outcome outcome;
	enum reason reason;
	uint16_t code; /* 0: no reply */
	char status[12];
	char *reply;  /* text behind the code, lines by '\n'; owned; or NULL */
	bool relayed; /* delivered, and the hop does not know DSN */
	bool again;   /* may be tried at once: the hop wants fewer at a time */
};

/* How the sender is tagged on the wire (BATV; lib/mail/prvs.h). */
struct session_tag {
	const struct prvs_keys *keys; /* NULL: not at all */
	int64_t day;
	unsigned lifetime_days;
};

/* One transaction. Borrowed until EV_DONE. */
struct session_msg {
	const char *sender, *envid;
	struct session_tag tag;
	enum dsn_ret ret;
	uint32_t flags; /* MSG_* */
	uint64_t size;	/* body bytes */
	size_t n_rcpts; /* at least 1 */
	struct session_rcpt *rcpts;
	/* Fill buf from body offset at; bytes, or negative. */
	ssize_t (*read)(void *arg, uint64_t at, uint8_t *buf, size_t cap);
	void *arg;
	/* after EV_DONE: the hop gave no answer to MAIL (or 421), so nothing
	 * was attempted and another connection may carry it at once */
	bool untouched;
};
/* Free what the session put into the recipients. */
void session_msg_done(struct session_msg *m);

enum session_event {
	SESSION_EV_NONE,
	SESSION_EV_STARTTLS, /* handshake now, then session_tls_done() */
	SESSION_EV_READY,    /* session_send() or session_quit() */
	SESSION_EV_DONE,     /* the transaction is over, see its recipients */
	SESSION_EV_CLOSE,    /* close the connection, see session_end() */
};

/* Why a session ended. */
struct session_end {
	enum reason reason;	       /* NONE: by our own QUIT */
	const char *stage;	       /* "greeting", "EHLO", …; static */
	uint16_t code;		       /* reply that ended it, 0: none */
	char status[12];	       /* "4.4.2" */
	char text[TEXT_REPLY_MAX + 1]; /* reply, or what happened */
	bool before_ready;	       /* the host never became usable */
};

struct session;

/* NULL when memory is short. Waits for the greeting. */
struct session *session_new(const struct session_conf *conf);
void session_free(struct session *s);

/* Bytes from the peer (inside TLS: plaintext). */
void session_input(struct session *s, const void *data, size_t len);

/* The connection ended, or broke; text says how, for people. */
void session_lost(struct session *s, const char *text);

/* The timer of session_timeout_ms() ran out. */
void session_timeout(struct session *s);

/* The handshake is done and the peer proved enough; may_auth: also enough to
 * be given our password. Nothing learnt before counts any more. */
void session_tls_done(struct session *s, bool may_auth);

/* Start a transaction. Only after EV_READY. m is kept until EV_DONE. */
void session_send(struct session *s, struct session_msg *m);

/* Leave: QUIT now, EV_CLOSE when it was answered. Within a transaction it is
 * cut short and its recipients are deferred; no QUIT then. */
void session_quit(struct session *s);

/* Leave with QUIT because what TLS proved is not enough (RFC 3207, 4.1), or EHLO
 * inside it does not offer what is needed. Before the first message only. */
void session_refuse(struct session *s, enum reason reason, const char *text);

enum session_event session_next(struct session *s);

/* What waits to be sent; drop what was taken, then call session_pump(), which
 * reads more of the body when there is room. */
struct buf *session_out(struct session *s);
void session_pump(struct session *s);

/* Time the present wait may take; 0: no wait (between transactions). Start the
 * timer anew whenever session_progress() changed. */
int64_t session_timeout_ms(const struct session *s);
uint64_t session_progress(const struct session *s);

/* Time that the opening, or the transaction under way, may take in all, however
 * much progress there is; 0: any. The owner knows when it began. */
int64_t session_total_ms(const struct session *s);
/* It took longer. */
void session_overdue(struct session *s);

const struct session_end *session_end(const struct session *s);

/* What the peer offers now. LIMITS are in it; rcptmax is also lowered when the
 * peer said "too many". */
const struct smtp_ehlo *session_ehlo(const struct session *s);
bool session_is_ready(const struct session *s);
bool session_in_tls(const struct session *s);

#endif
