/*
 * session_time.c - how long the peer may take: for one answer, and for all of
 * it together.
 *
 * Called by deliver/conn.c, which has the clock and the one timer. A peer that
 * gives each answer just in time, or takes the body by the byte, must not hold
 * a connection and its permit for days. Sources: RFC 5321 4.5.3.2.
 */
#include "deliver/session.h"
#include "deliver/session_int.h"

#include <stdio.h>

int64_t
session_timeout_ms(const struct session *s)
{
	const struct conf_delivery *d = s->conf.delivery;

	if (s->state == S_OVER || s->state == S_READY)
		return 0;
	if (s->state == S_HANDSHAKE)
		return d->tls_timeout_ms;
	if (s->n_expects == 0)
		return d->data_block_timeout_ms; /* the body goes out */
	switch (s->expects[s->expect_head]) {
	case X_GREETING:
		return d->greeting_timeout_ms;
	case X_EHLO:
	case X_HELO:
	case X_STARTTLS:
	case X_AUTH:
		return d->ehlo_timeout_ms;
	case X_MAIL:
	case X_RSET:
		return d->mail_timeout_ms;
	case X_RCPT:
		return d->rcpt_timeout_ms;
	case X_DATA:
	case X_LONE_DOT:
		return d->data_timeout_ms;
	case X_CHUNK:
		return d->data_block_timeout_ms;
	case X_DOT:
		return d->final_dot_timeout_ms;
	case X_QUIT:
	default:
		return d->quit_timeout_ms;
	}
}

int64_t
session_total_ms(const struct session *s)
{
	const struct conf_delivery *d = s->conf.delivery;
	uint64_t body_ms;

	if (s->state == S_OPENING || s->state == S_HANDSHAKE)
		return d->transaction_timeout_ms;
	if (s->state != S_MAIL || d->min_data_rate == 0 ||
	    d->transaction_timeout_ms == 0)
		return 0;
	body_ms = s->msg->size / d->min_data_rate * 1000;
	return d->transaction_timeout_ms + (int64_t)body_ms;
}

void
session_timeout(struct session *s)
{
	session_lost(s, "timeout");
}

void
session_overdue(struct session *s)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "more than %lld s %s",
	    (long long)(session_total_ms(s) / 1000),
	    s->msg != NULL ? "for one message" : "until it was ready for mail");
	session_lost(s, text);
}
