/*
 * session.c - the connection: greeting, EHLO, STARTTLS, AUTH, RSET, QUIT, and
 * the matching of replies to what was sent. The transaction is session_mail.c.
 *
 * Called by deliver/conn.c, tests and the fuzzer; see session.h. Never does
 * I/O, logs or asks the time. A peer costs at most SMTP_REPLY_MAX bytes of
 * input and SESSION_OUT_MAX of output, whatever it sends.
 */
#include "deliver/session.h"
#include "deliver/session_int.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"

static void open_reply(
    struct session *s, enum expect x, const struct smtp_reply *r);

/* ---- small things ------------------------------------------------------------- */

void
session_event(struct session *s, enum session_event ev)
{
	if (s->n_events == EVENTS_MAX)
		return; /* cannot be: each call makes at most three */
	s->events[(s->event_head + s->n_events++) % EVENTS_MAX] = ev;
}

enum session_event
session_next(struct session *s)
{
	enum session_event ev;

	while (s->n_events > 0) {
		ev = s->events[s->event_head];
		s->event_head = (s->event_head + 1) % EVENTS_MAX;
		s->n_events--;
		/* bytes behind the reply that made us ready may have ended the
		 * session meanwhile: then there is nothing to be ready for */
		if ((ev == SESSION_EV_READY && s->state != S_READY) ||
		    (ev == SESSION_EV_STARTTLS && s->state != S_HANDSHAKE))
			continue;
		return ev;
	}
	return SESSION_EV_NONE;
}

void
session_expect(struct session *s, enum expect x)
{
	if (s->n_expects == EXPECT_MAX) {
		session_fail(s, REASON_PROTOCOL, "pipelining", NULL,
		    "too many commands without a reply");
		return;
	}
	s->expects[(s->expect_head + s->n_expects++) % EXPECT_MAX] = x;
	s->progress++;
}

void
session_put_raw(struct session *s, const void *data, size_t len)
{
	if (s->state == S_OVER)
		return;
	if (buf_put(&s->out, data, len) < 0)
		session_fail(s, REASON_STORE, session_mail_stage(s), NULL,
		    "out of memory for output");
}

void
session_put(struct session *s, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (s->state == S_OVER)
		return;
	va_start(ap, fmt);
	r = buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
	if (r < 0)
		session_fail(s, REASON_STORE, session_mail_stage(s), NULL,
		    "out of memory for output");
}

bool
session_has(const struct session *s, uint32_t ext)
{
	return (s->ehlo.ext & ext) != 0;
}

/* Text of a reply for results: no NUL, cut. */
void
session_reply_text(const struct smtp_reply *r, char *buf, size_t cap)
{
	size_t i, n = r->text_len < cap - 1 ? r->text_len : cap - 1;

	for (i = 0; i < n; i++)
		buf[i] = r->text[i] == '\0' ? '?' : r->text[i];
	buf[n] = '\0';
}

struct session *
session_new(const struct session_conf *conf)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->conf = *conf;
	buf_init(&s->in, 2 * (size_t)SMTP_REPLY_MAX);
	buf_init(&s->out, SESSION_OUT_MAX);
	session_expect(s, X_GREETING);
	return s;
}

void
session_free(struct session *s)
{
	if (s == NULL)
		return;
	buf_done(&s->in);
	buf_done(&s->out);
	free(s);
}

void
session_msg_done(struct session_msg *m)
{
	size_t i;

	for (i = 0; i < m->n_rcpts; i++) {
		free(m->rcpts[i].reply);
		m->rcpts[i].reply = NULL;
	}
}

struct buf *
session_out(struct session *s)
{
	return &s->out;
}

uint64_t
session_progress(const struct session *s)
{
	return s->progress;
}

const struct session_end *
session_end(const struct session *s)
{
	return &s->end;
}

const struct smtp_ehlo *
session_ehlo(const struct session *s)
{
	return &s->ehlo;
}

bool
session_is_ready(const struct session *s)
{
	return s->state == S_READY;
}

bool
session_in_tls(const struct session *s)
{
	return s->tls;
}

/* ---- the end -------------------------------------------------------------------- */

static void
set_end(struct session *s, enum reason reason, const char *stage,
    const struct smtp_reply *r, const char *text)
{
	struct session_end *e = &s->end;
	const char *status = "4.4.2";

	if (e->stage != NULL)
		return; /* the first reason counts */
	e->reason = reason;
	e->stage = stage;
	e->before_ready = !s->ever_ready;
	if (r != NULL) {
		e->code = (uint16_t)r->code;
		session_reply_text(r, e->text, sizeof(e->text));
		if (smtp_status_is_set(r->status))
			(void)smtp_status_format(r->status, e->status);
		else
			(void)snprintf(e->status, sizeof(e->status), "%c.0.0",
			    '0' + r->code / 100);
		return;
	}
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	if (reason == REASON_PROTOCOL)
		status = "4.5.0";
	else if (reason == REASON_STORE)
		status = "4.3.0";
	else if (reason == REASON_NONE)
		status = "";
	else if (reason != REASON_CONNECTION_LOST)
		status = "4.7.5"; /* TLS did not give what is needed */
	(void)snprintf(e->status, sizeof(e->status), "%s", status);
}

void
session_fail(struct session *s, enum reason reason, const char *stage,
    const struct smtp_reply *r, const char *text)
{
	if (s->state == S_OVER)
		return;
	set_end(s, reason, stage, r, text);
	s->state = S_OVER;
	s->n_expects = 0;
	s->progress++;
	if (s->msg != NULL)
		session_mail_lost(s, r, reason, s->end.text);
	session_event(s, SESSION_EV_CLOSE);
}

/* Say QUIT and wait a little for its answer. */
static void
leave(struct session *s)
{
	if (s->state == S_OVER || s->state == S_QUITTING)
		return;
	s->state = S_QUITTING;
	session_put(s, "QUIT\r\n");
	session_expect(s, X_QUIT);
}

/* The host does not want us, or not enough: QUIT, with this as the reason. */
static void
leave_because(struct session *s, enum reason reason, const char *stage,
    const struct smtp_reply *r, const char *text)
{
	set_end(s, reason, stage, r, text);
	if (r != NULL && smtp_reply_closes(r->code, SMTP_STAGE_OTHER))
		session_fail(s, reason, stage, r, text);
	else
		leave(s);
}

void
session_lost(struct session *s, const char *text)
{
	const char *stage = session_mail_stage(s);
	char what[200];

	if (s->state == S_OVER)
		return;
	if (s->state == S_QUITTING) {
		session_fail(s, REASON_NONE, "QUIT", NULL, "closed");
		return;
	}
	(void)snprintf(
	    what, sizeof(what), "connection lost: %s (%s)", text, stage);
	session_fail(s, REASON_CONNECTION_LOST, stage, NULL, what);
}

void
session_quit(struct session *s)
{
	switch (s->state) {
	case S_OVER:
	case S_QUITTING:
		break;
	case S_READY:
		set_end(s, REASON_NONE, "QUIT", NULL, "");
		leave(s);
		break;
	case S_RESET:
	case S_OPENING:
	case S_HANDSHAKE:
	case S_MAIL:
	default:
		session_fail(s, REASON_CONNECTION_LOST, session_mail_stage(s),
		    NULL, "cut short by this host");
		break;
	}
}

void
session_refuse(struct session *s, enum reason reason, const char *text)
{
	if (s->state != S_HANDSHAKE && s->state != S_READY)
		return;
	s->tls = true;
	leave_because(s, reason, "TLS", NULL, text);
}

/* ---- opening ---------------------------------------------------------------------- */

static void
say_ehlo(struct session *s)
{
	memset(&s->ehlo, 0, sizeof(s->ehlo));
	session_put(s, "EHLO %s\r\n", s->conf.ehlo_name);
	session_expect(s, X_EHLO);
}

void
session_ready(struct session *s)
{
	s->state = S_READY;
	s->ever_ready = true;
	s->progress++;
	session_event(s, SESSION_EV_READY);
}

/* base64 of n bytes; buf needs 4 * (n / 3 + 1) + 1. */
static void
b64(const void *data, size_t n, char *buf)
{
	EVP_EncodeBlock((unsigned char *)buf, data, (int)n);
}

static void
say_auth(struct session *s)
{
	enum { SECRET_MAX = 255 };
	size_t u = strlen(s->conf.auth_user);
	size_t p = strlen(s->conf.auth_secret);
	char plain[2 * SECRET_MAX + 2], text[4 * (sizeof(plain) / 3 + 1) + 1];

	if (!s->may_auth) {
		leave_because(s, REASON_CERT_UNTRUSTED, "AUTH", NULL,
		    "the host did not prove its name: the password is not "
		    "given to it (RFC 4954, 14)");
		return;
	}
	if (u > SECRET_MAX || p > SECRET_MAX) {
		leave_because(s, REASON_CONTENT, "AUTH", NULL,
		    "user name or secret is too long");
		return;
	}
	if (smtp_ehlo_has_auth(&s->ehlo, "PLAIN")) {
		plain[0] = '\0';
		memcpy(plain + 1, s->conf.auth_user, u + 1);
		memcpy(plain + 2 + u, s->conf.auth_secret, p);
		b64(plain, u + p + 2, text);
		/* the whole line within 512 octets, else wait (AUTH-01) */
		if (strlen(text) + sizeof("AUTH PLAIN \r\n") <= 512) {
			s->auth_step = 3;
			session_put(s, "AUTH PLAIN %s\r\n", text);
		} else {
			s->auth_step = 0;
			session_put(s, "AUTH PLAIN\r\n");
		}
		explicit_bzero(plain, sizeof(plain));
		explicit_bzero(text, sizeof(text));
	} else if (smtp_ehlo_has_auth(&s->ehlo, "LOGIN")) {
		s->auth_step = 1;
		session_put(s, "AUTH LOGIN\r\n");
	} else {
		leave_because(s, REASON_CONTENT, "AUTH", NULL,
		    "the host offers neither PLAIN nor LOGIN");
		return;
	}
	session_expect(s, X_AUTH);
}

/* 334: the next part. */
static void
auth_more(struct session *s)
{
	char plain[514], text[4 * (sizeof(plain) / 3 + 1) + 1];
	size_t u = strlen(s->conf.auth_user);
	size_t p = strlen(s->conf.auth_secret);

	switch (s->auth_step) {
	case 0: /* PLAIN without initial response */
		plain[0] = '\0';
		memcpy(plain + 1, s->conf.auth_user, u + 1);
		memcpy(plain + 2 + u, s->conf.auth_secret, p);
		b64(plain, u + p + 2, text);
		s->auth_step = 3;
		break;
	case 1:
		b64(s->conf.auth_user, u, text);
		s->auth_step = 2;
		break;
	case 2:
		b64(s->conf.auth_secret, p, text);
		s->auth_step = 3;
		break;
	case 3: /* nothing more to say: cancel (RFC 4954, 4) */
		(void)snprintf(text, sizeof(text), "*");
		s->auth_step = 4;
		break;
	default: /* it goes on asking, perhaps for ever */
		session_fail(s, REASON_PROTOCOL, "AUTH", NULL,
		    "another challenge after AUTH was cancelled");
		return;
	}
	session_put(s, "%s\r\n", text);
	explicit_bzero(plain, sizeof(plain));
	explicit_bzero(text, sizeof(text));
	session_expect(s, X_AUTH);
}

/* EHLO or HELO was answered by 2yz: what comes next? */
static void
after_hello(struct session *s)
{
	if (!s->tls && s->conf.tls != SESSION_TLS_NEVER) {
		if (session_has(s, SMTP_EXT_STARTTLS)) {
			session_put(s, "STARTTLS\r\n");
			session_expect(s, X_STARTTLS);
			return;
		}
		if (s->conf.tls == SESSION_TLS_MUST) {
			leave_because(s, REASON_STARTTLS_MISSING, "EHLO", NULL,
			    "TLS is required, and the host does not offer "
			    "STARTTLS");
			return;
		}
	}
	if (s->conf.auth_user != NULL && !s->authed) {
		say_auth(s);
		return;
	}
	session_ready(s);
}

static void
on_ehlo(struct session *s, const struct smtp_reply *r)
{
	enum smtp_kind kind = smtp_reply_kind(r->code, SMTP_STAGE_EHLO);

	if (kind == SMTP_KIND_OK) {
		if (smtp_ehlo_parse(r, &s->ehlo) < 0)
			memset(&s->ehlo, 0, sizeof(s->ehlo));
		after_hello(s);
	} else if (kind == SMTP_KIND_NEVER && r->code != 521 &&
	    r->code != 554) {
		/* it does not know EHLO: no extensions then (5321, 3.2) */
		s->helo = true;
		s->helo_doubt = r->code < 500 || r->code > 504;
		session_put(s, "HELO %s\r\n", s->conf.ehlo_name);
		session_expect(s, X_HELO);
	} else {
		leave_because(s,
		    kind == SMTP_KIND_NEVER ? REASON_REMOTE_5XX
					    : REASON_REMOTE_4XX,
		    "EHLO", r, "");
	}
}

static void
on_starttls(struct session *s, const struct smtp_reply *r)
{
	if (smtp_reply_kind(r->code, SMTP_STAGE_STARTTLS) == SMTP_KIND_OK) {
		/* what stands behind the reply was written by whoever sits
		 * between us and the host (TLS-07) */
		if (buf_len(&s->in) > 0 || s->data_left > 0) {
			session_fail(s, REASON_PROTOCOL, "STARTTLS", NULL,
			    "bytes behind the reply to STARTTLS: somebody "
			    "injects replies");
			return;
		}
		s->state = S_HANDSHAKE;
		s->progress++;
		session_event(s, SESSION_EV_STARTTLS);
	} else if (s->conf.tls == SESSION_TLS_MUST) {
		leave_because(s, REASON_STARTTLS_MISSING, "STARTTLS", r, "");
	} else {
		/* refused under no policy: clear text on this connection */
		s->conf.tls = SESSION_TLS_NEVER;
		after_hello(s);
	}
}

void
session_tls_done(struct session *s, bool may_auth)
{
	if (s->state != S_HANDSHAKE)
		return;
	s->state = S_OPENING;
	s->tls = true;
	s->helo = s->helo_doubt = false;
	s->may_auth = may_auth;
	say_ehlo(s); /* what was offered before counts no more (TLS-05) */
}

static void
open_reply(struct session *s, enum expect x, const struct smtp_reply *r)
{
	enum smtp_kind kind;

	switch (x) {
	case X_GREETING:
		kind = smtp_reply_kind(r->code, SMTP_STAGE_GREETING);
		if (kind == SMTP_KIND_OK)
			say_ehlo(s);
		else
			leave_because(s,
			    kind == SMTP_KIND_NEVER ? REASON_REMOTE_5XX
						    : REASON_REMOTE_4XX,
			    "greeting", r, "");
		break;
	case X_EHLO:
		on_ehlo(s, r);
		break;
	case X_HELO:
		kind = smtp_reply_kind(r->code, SMTP_STAGE_EHLO);
		if (kind == SMTP_KIND_OK)
			after_hello(s);
		else
			leave_because(s,
			    kind == SMTP_KIND_NEVER ? REASON_REMOTE_5XX
						    : REASON_REMOTE_4XX,
			    "HELO", r, "");
		break;
	case X_STARTTLS:
		on_starttls(s, r);
		break;
	default: /* X_AUTH */
		kind = smtp_reply_kind(r->code, SMTP_STAGE_AUTH);
		if (kind == SMTP_KIND_MORE) {
			auth_more(s);
		} else if (kind == SMTP_KIND_OK) {
			s->authed = true;
			session_ready(s);
		} else {
			/* our settings or their server: never a bounce */
			leave_because(s, REASON_REMOTE_4XX, "AUTH", r, "");
		}
		break;
	}
}

/* ---- input -------------------------------------------------------------------------- */

static void
on_reply(struct session *s, const struct smtp_reply *r)
{
	enum expect x;

	s->progress++;
	if (s->n_expects == 0) {
		/* 421 while nothing is open, or an early end of the data */
		if (s->state == S_MAIL)
			session_mail_early(s, r);
		else if (r->code == 421)
			session_fail(
			    s, REASON_REMOTE_4XX, session_mail_stage(s), r, "");
		else
			session_fail(s, REASON_PROTOCOL, session_mail_stage(s),
			    NULL, "a reply that nothing asked for");
		return;
	}
	x = s->expects[s->expect_head];
	s->expect_head = (s->expect_head + 1) % EXPECT_MAX;
	s->n_expects--;
	if (x == X_QUIT) {
		session_fail(s, REASON_NONE, "QUIT", NULL, "closed");
		return;
	}
	if (r->code == 421 && s->state != S_MAIL) {
		session_fail(
		    s, REASON_REMOTE_4XX, session_mail_stage(s), r, "");
		return;
	}
	switch (s->state) {
	case S_OPENING:
		open_reply(s, x, r);
		break;
	case S_RESET:
		if (smtp_reply_kind(r->code, SMTP_STAGE_OTHER) == SMTP_KIND_OK)
			session_ready(s);
		else
			leave_because(s, REASON_PROTOCOL, "RSET", r, "");
		break;
	case S_MAIL:
		session_mail_reply(s, x, r);
		break;
	default:
		session_fail(s, REASON_PROTOCOL, session_mail_stage(s), NULL,
		    "a reply that nothing asked for");
		break;
	}
}

/* Take the replies that are whole. */
static void
take_replies(struct session *s)
{
	struct smtp_reply r;
	char text[160];
	ssize_t n;

	while (s->state != S_OVER && buf_len(&s->in) > 0) {
		n = smtp_reply_parse(buf_data(&s->in), buf_len(&s->in), &r);
		if (n == 0)
			return;
		if (n < 0) {
			(void)snprintf(text, sizeof(text),
			    "protocol error in %s: %s", session_mail_stage(s),
			    r.error != NULL ? r.error : err_str((int)n));
			session_fail(s, REASON_PROTOCOL, session_mail_stage(s),
			    NULL, text);
			return;
		}
		buf_drop(&s->in, (size_t)n);
		on_reply(s, &r);
	}
}

void
session_input(struct session *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n;

	if (s->state == S_HANDSHAKE && len > 0) {
		session_fail(s, REASON_PROTOCOL, "STARTTLS", NULL,
		    "clear text where TLS must begin");
		return;
	}
	while (len > 0 && s->state != S_OVER) {
		n = 2 * (size_t)SMTP_REPLY_MAX - buf_len(&s->in);
		if (n > len)
			n = len;
		if (n == 0 || buf_put(&s->in, p, n) < 0) {
			session_fail(s, REASON_PROTOCOL, session_mail_stage(s),
			    NULL, "more input than can be kept");
			return;
		}
		/* a reply ends at a line end; short input shows garbage */
		s->data_left = len - n;
		if (memchr(p, '\n', n) != NULL || buf_len(&s->in) <= 8 ||
		    buf_len(&s->in) >= SMTP_REPLY_LINE_MAX)
			take_replies(s);
		p += n;
		len -= n;
	}
	s->data_left = 0;
	if (buf_len(&s->in) == 0)
		buf_reset(&s->in, 4096);
}

/* ---- waiting ------------------------------------------------------------------------- */

void
session_pump(struct session *s)
{
	if (s->state == S_MAIL && s->body)
		session_mail_pump(s);
	if (buf_len(&s->out) == 0)
		buf_reset(&s->out, 2 * (size_t)SESSION_OUT_MARK);
}
