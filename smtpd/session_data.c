/*
 * session_data.c - message data on its way from the client to the queue.
 *
 * Called by session.c. DATA ends at CRLF.CRLF and nowhere else, BDAT by its
 * count. What makes a message unacceptable (bare CR or LF, NUL, too large, a
 * loop) is found before the bytes are passed on; the queue forgets what it has
 * at once, the rest is read to its true end and thrown away, and only then the
 * reply is given (SMUG-02, SMUG-05, IN-06, IN-08).
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "lib/base/clock.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proto/submit.h"
#include "smtpd/session_int.h"

enum {
	SLICES = 64,
	RECEIVED_MAX = 4096,
	PIECE_MIN = 16384, /* less room than this (and the piece): wait */
	SLACK = 4,	   /* a held back CR may come out with a piece */
};

/* ---- time ------------------------------------------------------------------ */

void
session_data_begins(struct session *s)
{
	if (s->txn->since_ms == 0)
		s->txn->since_ms = clock_mono_ms();
}

/*
 * data_timeout alone lets a client hold its connection with one byte each time.
 * So the whole message has that much, and the time its bytes may take; chunks
 * of BDAT and the commands between them are one message.
 */
int64_t
session_data_deadline_ms(const struct session *s)
{
	const struct conf_listener *l = s->c.listener;
	const struct txn *t = s->txn;

	if (t == NULL || t->since_ms == 0 || l->min_data_rate == 0 ||
	    s->stalled)
		return INT64_MAX;
	return t->since_ms + l->data_timeout_ms +
	    (int64_t)(t->taken * 1000 / l->min_data_rate);
}

/* The queue has no room, and the client waits: not its fault. */
static void
stall(struct session *s)
{
	if (s->stalled)
		return;
	s->stalled = true;
	s->txn->stall_ms = clock_mono_ms();
	s->deadline_ms = s->txn->stall_ms + SESSION_QUEUE_TIMEOUT_MS;
}

static void
unstall(struct session *s)
{
	if (s->stalled && s->txn->since_ms != 0)
		s->txn->since_ms += clock_mono_ms() - s->txn->stall_ms;
	s->stalled = false;
}

/* ---- failing --------------------------------------------------------------- */

void
session_fail(
    struct session *s, int code, struct smtp_status st, const char *text)
{
	struct txn *t = s->txn;

	if (t->begun)
		s->ops->abort(s->arg, t->mid);
	t->begun = false;
	s->blocked = false;
	unstall(s);
	if (t->fail.code != 0)
		return;
	t->fail.code = (uint16_t)code;
	t->fail.status = st;
	(void)snprintf(t->fail.text, sizeof(t->fail.text), "%s", text);
}

/* Bytes that a failed message may still have before the line is cut. */
static uint64_t
eat_max(const struct session *s)
{
	uint64_t max = s->c.listener->max_message_size;

	return (max == 0 ? 1024ull * 1024 * 1024 : max) + 16ull * 1024 * 1024;
}

static void
eat(struct session *s, size_t len)
{
	s->txn->eaten += len;
	if (s->txn->eaten > eat_max(s))
		session_hang_up(s, SMTP_STATUS(4, 7, 0),
		    "Message data goes on and on after it failed");
}

/* ---- the envelope ---------------------------------------------------------- */

static int
send_rcpts(struct session *s)
{
	struct submit_rcpt m;
	struct txn *t = s->txn;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < t->n_rcpts; i++) {
		m.rid = (uint32_t)i;
		m.address = t->rcpts[i]->text;
		m.domain = m.address + strlen(m.address) + 1;
		m.orcpt = m.domain + strlen(m.domain) + 1;
		m.notify = t->rcpts[i]->notify;
		r = s->ops->rcpt(s->arg, t->mid, &m);
	}
	return r;
}

static int
send_received(struct session *s)
{
	struct txn *t = s->txn;
	char id[32];
	struct mail_received rc = { .helo = s->helo,
		.client_ip = s->c.address,
		.by = session_hostname(s),
		.esmtp = s->esmtp,
		.tls = s->tls,
		.auth = s->authenticated,
		.utf8 = (t->flags & MSG_SMTPUTF8) != 0,
		.tls_text = s->tls_text,
		.id = id,
		.rcpt = t->n_rcpts == 1 ? t->rcpts[0]->text : NULL,
		.time_s = clock_now_s() };
	struct iovec iov;
	struct buf b;
	int r;

	(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)t->mid);
	buf_init(&b, RECEIVED_MAX);
	r = mail_received_format(&b, &rc);
	if (r == 0 && t->untagged)
		r = buf_puts(&b, "X-Postern-Bounce: untagged\r\n");
	if (r == 0) {
		iov.iov_base = buf_data(&b);
		iov.iov_len = buf_len(&b);
		r = s->ops->data(s->arg, t->mid, &iov, 1);
		t->sent = buf_len(&b);
	}
	buf_done(&b);
	return r;
}

static int
send_envelope(struct session *s)
{
	struct txn *t = s->txn;
	struct submit_begin m = { .icid = s->c.icid,
		.listener = s->c.listener->name,
		.gateway = t->gateway,
		.sender = t->sender,
		.envid = t->envid,
		.client = s->c.address,
		.profile = s->c.listener->bounce_profile,
		.ret = (enum dsn_ret)t->ret,
		.flags = t->flags,
		.n_rcpts = (uint32_t)t->n_rcpts,
		.size_hint = t->size_hint };
	int r;

	t->head = malloc(sizeof(*t->head));
	if (t->head == NULL)
		return -1;
	mail_scan_init(t->head);
	r = s->ops->begin(s->arg, t->mid, &m);
	if (r < 0)
		return r;
	t->begun = true;
	r = send_rcpts(s);
	return r < 0 ? r : send_received(s);
}

bool
session_begin(struct session *s)
{
	struct txn *t = s->txn;
	const char *why;

	if (t->fail.code == 0) {
		if (s->ops->queue_state(s->arg, &why) == SESSION_QUEUE_DOWN)
			session_fail(s, 451, SMTP_STATUS(4, 3, 0),
			    "Queue is not there, try again later");
		else if (!s->ops->envelope_room(s->arg) ||
		    s->ops->data_room(s->arg) < RECEIVED_MAX)
			return false;
		else if (send_envelope(s) < 0)
			session_fail(s, 451, SMTP_STATUS(4, 3, 0),
			    "Queue did not take it, try again later");
	}
	session_data_begins(s);
	if (t->bdat) {
		session_set_state(s, SS_BDAT);
	} else if (t->fail.code != 0) {
		struct failure f = t->fail;

		session_set_state(s, SS_COMMAND);
		session_txn_end(s, f.text);
		session_reply(s, f.code, f.status, f.text);
	} else {
		session_set_state(s, SS_DATA);
		s->data_refused = false;
		session_reply(s, 354, SMTP_STATUS(0, 0, 0),
		    "Go ahead, end with CRLF.CRLF");
	}
	return true;
}

/* ---- the body -------------------------------------------------------------- */

/*
 * What is wrong with the message as far as it was seen; code 0: nothing. The
 * order is fixed, so that the reply does not depend on how the bytes were cut.
 */
static struct failure
judge(const struct session *s, const struct smtp_body_scan *scan)
{
	const struct conf_listener *l = s->c.listener;
	struct failure f = { .code = 554, .status = SMTP_STATUS(5, 6, 0) };
	const char *text = "";

	if ((scan->seen & SMTP_DATA_BARE_LF) != 0) {
		text = "Bare LF in message data: lines end in CRLF";
	} else if ((scan->seen & SMTP_DATA_BARE_CR) != 0) {
		text = "Bare CR in message data: lines end in CRLF";
	} else if ((scan->seen & SMTP_DATA_NUL) != 0) {
		text = "NUL in message data";
	} else if (l->max_message_size > 0 && scan->len > l->max_message_size) {
		f.code = 552;
		f.status = SMTP_STATUS(5, 3, 4);
		text = "Message size exceeds the fixed maximum";
	} else if (scan->line_max > l->max_line_length ||
	    scan->line_len > l->max_line_length) {
		/* it may not be sent on (RFC 5321, 4.5.3.1.6), and to cut it
		 * would break signatures (SMTP-25) */
		text = "Text line too long in the message";
	} else if (s->txn->head->received > l->max_received) {
		f.status = SMTP_STATUS(5, 4, 6);
		text = "Too many Received fields: mail loop";
	} else {
		f.code = 0;
	}
	(void)snprintf(f.text, sizeof(f.text), "%s", text);
	return f;
}

/* After more was seen: stop passing it on, or find a better reason. */
static void
look(struct session *s, const struct smtp_body_scan *scan)
{
	struct txn *t = s->txn;
	struct failure f = judge(s, scan);

	t->got = scan->len;
	if (f.code == 0 || (t->fail.code != 0 && !t->bad_content))
		return;
	t->fail.code = 0;
	session_fail(s, f.code, f.status, f.text);
	t->bad_content = true;
}

/* Look at a batch of slices, then pass it on when all is well. */
static void
pass_on(struct session *s, const struct smtp_body_scan *scan,
    const struct iovec *iov, size_t n)
{
	struct txn *t = s->txn;
	size_t i, len = 0;

	if (t->head == NULL || (t->fail.code != 0 && !t->bad_content))
		return;
	for (i = 0; i < n; i++) {
		mail_scan(t->head, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	look(s, scan);
	if (t->fail.code != 0 || len == 0)
		return;
	if (s->ops->data(s->arg, t->mid, iov, n) < 0)
		session_fail(s, 451, SMTP_STATUS(4, 3, 0),
		    "Queue did not take it, try again later");
	else
		t->sent += len;
}

/*
 * How many of len bytes may be handled now; 0: the queue has no room, and the
 * client waits until it has, or until the stall lasts too long.
 */
static size_t
allowed(struct session *s, size_t len)
{
	size_t room;

	if (s->txn->fail.code != 0)
		return len; /* thrown away: that needs no room */
	if (len > SESSION_PIECE_MAX - SLACK)
		len = SESSION_PIECE_MAX - SLACK;
	room = s->ops->data_room(s->arg);
	if (room >= len + SLACK) {
		unstall(s);
		return len;
	}
	if (room >= PIECE_MIN + SLACK) {
		unstall(s);
		return room - SLACK;
	}
	s->blocked = true;
	stall(s);
	return 0;
}

bool
session_data_room(struct session *s)
{
	return allowed(s, PIECE_MIN) > 0;
}

static void
log_header(const struct session *s)
{
	const struct txn *t = s->txn;
	const struct log_fields f = { .icid = s->c.icid, .mid = t->mid };

	if (t->head->has_message_id)
		log_event(LOG_INFO, "message_id", &f,
		    "MID %llu Message-ID '%s'", (unsigned long long)t->mid,
		    LOG_Q(t->head->message_id));
	if (t->head->has_subject && s->c.conf->log.subjects)
		log_event(LOG_INFO, "subject", &f, "MID %llu Subject '%s'",
		    (unsigned long long)t->mid, LOG_Q(t->head->subject));
	if (msg_class(t->flags) != 0)
		log_event(LOG_INFO, "tls_demand", &f, "MID %llu %s",
		    (unsigned long long)t->mid,
		    msg_class(t->flags) == MSG_REQUIRETLS ? "REQUIRETLS"
							  : "TLS-Required: No");
}

static void
commit(struct session *s, const struct smtp_body_scan *scan)
{
	struct txn *t = s->txn;
	struct submit_commit m;

	assert(t->head != NULL); /* since it was begun */
	m.size = t->sent;
	m.message_id = t->head->message_id;
	m.subject = t->head->subject;
	if ((scan->seen & SMTP_DATA_8BIT) != 0)
		t->flags |= MSG_8BIT;
	/* the parameter is stronger than the field (RFC 8689, 3) */
	if (t->head->tls_required_no && (t->flags & MSG_REQUIRETLS) == 0)
		t->flags |= MSG_TLS_OPTIONAL;
	m.flags = t->flags;
	log_header(s);
	if (s->ops->commit(s->arg, t->mid, &m) < 0)
		session_fail(s, 451, SMTP_STATUS(4, 3, 0),
		    "Queue did not take it, try again later");
}

/* The message is complete. */
static void
finish(struct session *s, struct smtp_body_scan *scan)
{
	struct txn *t = s->txn;
	struct failure f;

	smtp_body_scan_end(scan);
	if (t->head != NULL && (t->fail.code == 0 || t->bad_content)) {
		mail_scan_end(t->head);
		look(s, scan);
	}
	if (t->fail.code == 0)
		commit(s, scan);
	if (t->fail.code == 0) {
		session_set_state(s, SS_COMMIT);
		return;
	}
	f = t->fail;
	session_set_state(s, SS_COMMAND);
	session_txn_end(s, f.text);
	if (f.code == 503)
		session_mistake(s, f.code, f.status, f.text);
	else
		session_reply(s, f.code, f.status, f.text);
	if (s->draining && s->state == SS_COMMAND)
		session_hang_up(s, SMTP_STATUS(4, 3, 2), "Shutting down");
}

size_t
session_data(struct session *s, const uint8_t *data, size_t len)
{
	struct txn *t = s->txn;
	struct iovec iov[SLICES];
	size_t at = 0, n;

	len = allowed(s, len);
	if (len == 0)
		return 0;
	session_set_state(s, SS_DATA);
	while (at < len && !t->dec.done) {
		at += smtp_data_dec(
		    &t->dec, data + at, len - at, iov, SLICES, &n);
		pass_on(s, &t->dec.scan, iov, n);
	}
	t->taken += at;
	if (t->dec.done)
		finish(s, &t->dec.scan);
	else if (t->fail.code != 0)
		eat(s, at);
	return at;
}

size_t
session_bdat(struct session *s, const uint8_t *data, size_t len)
{
	struct txn *t = s->txn;
	struct iovec iov;

	if (len > t->chunk_left)
		len = (size_t)t->chunk_left;
	len = allowed(s, len);
	if (len == 0)
		return 0;
	session_set_state(s, SS_BDAT);
	t->chunk_left -= len;
	t->taken += len;
	smtp_body_scan(&t->scan, data, len);
	/* iovec knows no const; the slice is only read */
	memcpy(&iov.iov_base, &data, sizeof(data));
	iov.iov_len = len;
	pass_on(s, &t->scan, &iov, 1);
	if (t->fail.code != 0)
		eat(s, len);
	return len;
}

/*
 * A BDAT whose size is not known: nobody can tell where its chunk ends, and what
 * the chunk holds, somebody else's words perhaps, must not run as commands
 * (IN-08, SMUG-06).
 */
void
session_chunk_unknown(struct session *s)
{
	session_hang_up(s, SMTP_STATUS(4, 7, 0),
	    "BDAT without a size that counts, closing");
}

void
session_chunk_end(struct session *s)
{
	struct txn *t = s->txn;
	char text[64];

	/* mid 0: there was no MAIL, the bytes are all there was to it */
	if (t->last || t->mid == 0) {
		finish(s, &t->scan);
		return;
	}
	session_set_state(s, SS_COMMAND);
	if (t->fail.code == 0) {
		(void)snprintf(text, sizeof(text), "%llu octets received",
		    (unsigned long long)t->got);
		session_reply(s, 250, SMTP_STATUS(2, 0, 0), text);
	} else if (t->fail.code == 503) {
		session_mistake(s, t->fail.code, t->fail.status, t->fail.text);
	} else {
		session_reply(s, t->fail.code, t->fail.status, t->fail.text);
	}
}
