/*
 * session_mail.c - one mail transaction: MAIL, RCPT, DATA or BDAT, the answers
 * to each, and what they mean for each recipient.
 *
 * Called by session.c only. Never decides anything that a reply did not say:
 * what was not answered is deferred. Sources: RFC 5321 3.3, 4.1.1, 4.2, 4.5.2,
 * 4.5.3; 2920 3.1; 3030 2, 3, 4.2; 1870 6; 6152 3; 6531 3; 3461 5.2.
 *
 * With PIPELINING, MAIL, all RCPT and DATA leave as one group. BDAT does not
 * join the group: it costs no more round trips than DATA (which has to wait for
 * its 354), and no body is sent to a host that refused every recipient.
 */
#include "deliver/session.h"
#include "deliver/session_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mail/addr.h"
#include "lib/smtp/command.h"
#include "lib/smtp/xtext.h"

static void end_transaction(struct session *s, bool reset);
static void next_command(struct session *s);

/* ---- results ------------------------------------------------------------------------ */

const char *
session_mail_stage(const struct session *s)
{
	static const char *const names[] = {
		[X_GREETING] = "greeting",
		[X_EHLO] = "EHLO",
		[X_HELO] = "HELO",
		[X_STARTTLS] = "STARTTLS",
		[X_AUTH] = "AUTH",
		[X_RSET] = "RSET",
		[X_MAIL] = "MAIL",
		[X_RCPT] = "RCPT",
		[X_DATA] = "DATA",
		[X_CHUNK] = "BDAT",
		[X_DOT] = "end of data",
		[X_LONE_DOT] = "end of data",
		[X_QUIT] = "QUIT",
	};

	if (s->state == S_HANDSHAKE)
		return "TLS handshake";
	if (s->n_expects > 0)
		return names[s->expects[s->expect_head]];
	return s->body ? "message data" : "between messages";
}

static void
settle(struct session_rcpt *rc, enum outcome outcome, enum reason reason,
    int code, const char *status, const char *reply)
{
	if (rc->settled)
		return;
	rc->settled = true;
	rc->outcome = outcome;
	rc->reason = reason;
	rc->code = (uint16_t)code;
	(void)snprintf(rc->status, sizeof(rc->status), "%s", status);
	free(rc->reply);
	/* without memory the text is missing, the outcome is not */
	rc->reply = reply[0] == '\0' ? NULL : strdup(reply);
}

/* What this reply, judged as kind, means for one recipient. */
static void
settle_by(
    struct session_rcpt *rc, enum smtp_kind kind, const struct smtp_reply *r)
{
	char text[TEXT_REPLY_MAX + 1], status[SMTP_STATUS_TEXT + 2];
	unsigned cls = kind == SMTP_KIND_OK ? 2u
	    : kind == SMTP_KIND_NEVER	    ? 5u
					    : 4u;

	session_reply_text(r, text, sizeof(text));
	if (smtp_status_is_set(r->status)) {
		struct smtp_status st = r->status;

		st.cls = (uint8_t)cls; /* 552 that counts as 452 (SMTP-23) */
		(void)smtp_status_format(st, status);
	} else {
		(void)snprintf(status, sizeof(status), "%u.0.0", cls);
	}
	switch (kind) {
	case SMTP_KIND_OK:
		settle(
		    rc, OUTCOME_DELIVERED, REASON_NONE, r->code, status, text);
		break;
	case SMTP_KIND_NEVER:
		settle(rc, OUTCOME_FAILED, REASON_REMOTE_5XX, r->code, status,
		    text);
		break;
	case SMTP_KIND_MORE:
	case SMTP_KIND_LATER:
	default:
		settle(rc, OUTCOME_DEFERRED,
		    r->code >= 400 && r->code < 600 ? REASON_REMOTE_4XX
						    : REASON_PROTOCOL,
		    r->code, status, text);
		break;
	}
}

/* The same reply for all whose own is not in yet. */
static void
settle_all(struct session *s, enum smtp_kind kind, const struct smtp_reply *r,
    bool accepted_only)
{
	size_t i;

	for (i = 0; i < s->msg->n_rcpts; i++)
		if (!accepted_only || s->msg->rcpts[i].accepted)
			settle_by(&s->msg->rcpts[i], kind, r);
}

static void
settle_all_text(struct session *s, enum outcome outcome, enum reason reason,
    const char *status, const char *text)
{
	size_t i;

	for (i = 0; i < s->msg->n_rcpts; i++)
		settle(&s->msg->rcpts[i], outcome, reason, 0, status, text);
}

/* The transaction is over for its owner. */
static void
tell_done(struct session *s)
{
	s->msg = NULL;
	s->body = false;
	session_event(s, SESSION_EV_DONE);
}

void
session_mail_lost(struct session *s, const struct smtp_reply *r,
    enum reason reason, const char *text)
{
	char doubt[TEXT_REPLY_MAX + 64];

	if (!s->mail_ok && !s->mail_failed)
		s->msg->untouched = true;
	if (r != NULL) {
		/* 421: of the host, not of any recipient (SMTP-38) */
		settle_all(s, SMTP_KIND_LATER, r, false);
	} else if (s->ended_data && s->n_accepted > 0) {
		/* it may or may not have the message: try again (SMTP-33) */
		(void)snprintf(doubt, sizeof(doubt),
		    "%s; in doubt whether the message arrived", text);
		settle_all_text(
		    s, OUTCOME_DEFERRED, reason, s->end.status, doubt);
	} else {
		settle_all_text(
		    s, OUTCOME_DEFERRED, reason, s->end.status, text);
	}
	tell_done(s);
}

/*
 * All is answered. reset: the host still has an open transaction. An
 * unanswered recipient here would be our own mistake; it is deferred.
 */
static void
end_transaction(struct session *s, bool reset)
{
	settle_all_text(s, OUTCOME_DEFERRED, REASON_PROTOCOL, "4.5.0",
	    "no answer for this recipient");
	tell_done(s);
	if (!reset) {
		session_ready(s);
		return;
	}
	s->state = S_RESET;
	session_put(s, "RSET\r\n");
	session_expect(s, X_RSET);
}

/* Nothing was sent: this host cannot take this message at all. */
static void
refuse_here(struct session *s, const char *status, const char *text)
{
	settle_all_text(s, OUTCOME_FAILED, REASON_CONTENT, status, text);
	tell_done(s);
	session_ready(s);
}

/* It does not offer what the content needs. Where it refused EHLO for another
 * reason than not knowing it, it never said what it offers: later, then. */
static void
refuse_content(struct session *s, const char *detail, const char *text)
{
	char status[12];

	(void)snprintf(
	    status, sizeof(status), "%c.%s", s->helo_doubt ? '4' : '5', detail);
	if (s->helo_doubt)
		settle_all_text(
		    s, OUTCOME_DEFERRED, REASON_CONTENT, status, text);
	refuse_here(s, status, text); /* who is settled stays so */
}

/* ---- the envelope ------------------------------------------------------------------- */

static bool
is_ascii(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

/* Does this address go nowhere without SMTPUTF8? */
static bool
needs_utf8(const char *address)
{
	struct addr a;

	if (address == NULL || is_ascii(address))
		return false;
	return addr_parse(address, strlen(address), ADDR_UTF8, &a, NULL) < 0 ||
	    a.local_utf8;
}

/*
 * The address as it goes on the wire. A domain with U-labels becomes A-labels
 * where the host does not speak SMTPUTF8 (RFC 6531, 3.2). False when it is no
 * address at all: nothing of it may be sent (SMUG-04).
 */
static bool
wire_address(
    const struct session *s, const char *address, char *buf, size_t cap)
{
	char domain[ADDR_DOMAIN_MAX + 1];
	struct addr a;
	int n;

	if (address[0] == '\0') {
		buf[0] = '\0';
		return true;
	}
	if (addr_parse(address, strlen(address), ADDR_UTF8, &a, NULL) < 0)
		return false;
	if (!a.domain_utf8 || s->utf8) {
		n = snprintf(buf, cap, "%.*s", (int)a.len, a.text);
		return n > 0 && (size_t)n < cap;
	}
	if (addr_domain_normalise(a.domain, a.domain_len, domain) < 0)
		return false;
	n = snprintf(buf, cap, "%.*s@%s", (int)a.local_len, a.local, domain);
	return n > 0 && (size_t)n < cap;
}

/* The sender as MAIL has it. Tagged last, since the tag is over what is on the
 * wire; one that may have no tag goes without. False: it is no address. */
static bool
wire_sender(const struct session *s, char *buf, size_t cap)
{
	const struct session_msg *m = s->msg;
	char tagged[ADDR_MAX + 1];

	if (!wire_address(s, m->sender, buf, cap))
		return false;
	if (m->tag.keys != NULL &&
	    prvs_tag(
		m->tag.keys, buf, m->tag.day, m->tag.lifetime_days, tagged))
		(void)snprintf(buf, cap, "%s", tagged);
	return true;
}

static void
say_mail(struct session *s, const char *sender)
{
	const struct session_msg *m = s->msg;
	bool eight = (m->flags & (MSG_8BIT | MSG_BODY_8BITMIME)) != 0;

	session_put(s, "MAIL FROM:<%s>", sender);
	if (session_has(s, SMTP_EXT_SIZE))
		session_put(s, " SIZE=%llu", (unsigned long long)m->size);
	if (session_has(s, SMTP_EXT_8BITMIME) && eight)
		session_put(s, " BODY=8BITMIME");
	if (s->utf8)
		session_put(s, " SMTPUTF8");
	/* never in clear: only what came inside TLS offers it (RFC 8689, 2) */
	if ((m->flags & MSG_REQUIRETLS) != 0 && session_in_tls(s) &&
	    session_has(s, SMTP_EXT_REQUIRETLS))
		session_put(s, " REQUIRETLS");
	if (s->authed)
		session_put(s, " AUTH=<>"); /* AUTH-09 */
	if (session_has(s, SMTP_EXT_DSN)) {
		if (m->ret != DSN_RET_NONE)
			session_put(s, " RET=%s",
			    m->ret == DSN_RET_FULL ? "FULL" : "HDRS");
		if (m->envid != NULL && m->envid[0] != '\0' &&
		    is_ascii(m->envid))
			session_put(s, " ENVID=%s", m->envid);
	}
	session_put(s, "\r\n");
	session_expect(s, X_MAIL);
}

/* ORCPT as this host may have it: "utf-8;" in ASCII where it must (RFC 6533,
 * 3). False: better left out. */
static bool
wire_orcpt(const struct session *s, const char *orcpt, char *buf, size_t cap)
{
	char plain[ADDR_MAX * 2], text[TEXT_XTEXT_MAX + 1];
	ssize_t n;

	if (orcpt == NULL || orcpt[0] == '\0')
		return false;
	if (is_ascii(orcpt) || s->utf8)
		return snprintf(buf, cap, "%s", orcpt) < (int)cap;
	if (strncasecmp(orcpt, "utf-8;", 6) != 0)
		return false;
	n = smtp_utf8_addr_decode(
	    orcpt + 6, strlen(orcpt + 6), plain, sizeof(plain));
	if (n < 0)
		return false;
	if (smtp_utf8_addr_encode(plain, (size_t)n, true, text, sizeof(text)) <
	    0)
		return false;
	return snprintf(buf, cap, "utf-8;%s", text) < (int)cap;
}

static void
say_rcpt(struct session *s, struct session_rcpt *rc)
{
	char address[TEXT_ADDRESS_MAX + 1], orcpt[TEXT_XTEXT_MAX + 8];
	char notify[32];

	(void)wire_address(s, rc->address, address, sizeof(address));
	session_put(s, "RCPT TO:<%s>", address);
	if (session_has(s, SMTP_EXT_DSN)) {
		/* DSN_NOTIFY_* and enum smtp_notify have the same bits */
		if (rc->notify != DSN_NOTIFY_NONE)
			session_put(s, " NOTIFY=%s",
			    smtp_notify_format(rc->notify, notify));
		if (wire_orcpt(s, rc->orcpt, orcpt, sizeof(orcpt)))
			session_put(s, " ORCPT=%s", orcpt);
	}
	session_put(s, "\r\n");
	session_expect(s, X_RCPT);
}

_Static_assert((int)DSN_NOTIFY_NEVER == (int)SMTP_NOTIFY_NEVER &&
	(int)DSN_NOTIFY_SUCCESS == (int)SMTP_NOTIFY_SUCCESS &&
	(int)DSN_NOTIFY_FAILURE == (int)SMTP_NOTIFY_FAILURE &&
	(int)DSN_NOTIFY_DELAY == (int)SMTP_NOTIFY_DELAY,
    "NOTIFY bits");

/* Recipients that are no addresses for this host are settled before anything
 * is sent. Returns how many are left. */
static size_t
check_rcpts(struct session *s)
{
	char address[TEXT_ADDRESS_MAX + 1];
	size_t i, left = 0;

	for (i = 0; i < s->msg->n_rcpts; i++) {
		struct session_rcpt *rc = &s->msg->rcpts[i];

		if (!s->utf8 && needs_utf8(rc->address))
			settle(rc,
			    s->helo_doubt ? OUTCOME_DEFERRED : OUTCOME_FAILED,
			    REASON_CONTENT, 0,
			    s->helo_doubt ? "4.6.7" : "5.6.7",
			    "the address needs SMTPUTF8, which the host does "
			    "not offer");
		else if (!wire_address(
			     s, rc->address, address, sizeof(address)))
			settle(rc, OUTCOME_FAILED, REASON_CONTENT, 0, "5.1.3",
			    "bad recipient address syntax");
		else
			left++;
	}
	return left;
}

/* The next recipient that is still to be asked for, from index at. */
static size_t
unsettled(const struct session_msg *m, size_t at)
{
	while (at < m->n_rcpts && m->rcpts[at].settled)
		at++;
	return at;
}

/* May this message go to this host at all? False: it is settled. */
static bool
fits_host(struct session *s)
{
	const struct session_msg *m = s->msg;
	bool wants_utf8 = needs_utf8(m->sender) ||
	    ((m->flags & MSG_SMTPUTF8) != 0 && (m->flags & MSG_8BIT) != 0);
	size_t i;

	for (i = 0; i < m->n_rcpts; i++)
		wants_utf8 = wants_utf8 || needs_utf8(m->rcpts[i].address);
	s->utf8 = wants_utf8 && session_has(s, SMTP_EXT_SMTPUTF8);
	if (session_has(s, SMTP_EXT_SIZE) && s->ehlo.size > 0 &&
	    m->size > s->ehlo.size) {
		refuse_here(
		    s, "5.3.4", "the message is larger than the host takes");
		return false;
	}
	if (!s->utf8 &&
	    (needs_utf8(m->sender) ||
		((m->flags & MSG_SMTPUTF8) != 0 &&
		    (m->flags & MSG_8BIT) != 0))) {
		refuse_content(s, "6.7",
		    "the message needs SMTPUTF8, which the host does not "
		    "offer");
		return false;
	}
	/* Converting would break signatures, so such mail fails (8BIT-01);
	 * SMTPUTF8 implies 8BITMIME (RFC 6531, 3.1). */
	if ((m->flags & MSG_8BIT) != 0 && !s->utf8 &&
	    !session_has(s, SMTP_EXT_8BITMIME)) {
		refuse_content(s, "6.3",
		    "the message has 8-bit content, and the host does not "
		    "offer 8BITMIME");
		return false;
	}
	return true;
}

void
session_send(struct session *s, struct session_msg *m)
{
	char sender[TEXT_ADDRESS_MAX + 1];
	size_t i;

	assert(s->state == S_READY && m->n_rcpts > 0 &&
	    m->n_rcpts < EXPECT_MAX - 8);
	s->state = S_MAIL;
	s->msg = m;
	m->untouched = false;
	s->mail_ok = s->mail_failed = s->data_sent = s->body = false;
	s->bdat = s->ended_data = s->chunks_failed = false;
	s->rcpt_at = s->n_accepted = s->chunks_open = 0;
	s->body_at = 0;
	if (!fits_host(s))
		return;
	if (!wire_sender(s, sender, sizeof(sender))) {
		refuse_here(s, "5.1.7", "bad sender address syntax");
		return;
	}
	if (check_rcpts(s) == 0) {
		tell_done(s);
		session_ready(s);
		return;
	}
	/* chunks each wait for an answer: without PIPELINING only one */
	s->bdat = session_has(s, SMTP_EXT_CHUNKING) &&
	    (session_has(s, SMTP_EXT_PIPELINING) || m->size <= SESSION_PIECE);
	s->rcpt_at = unsettled(m, 0);
	say_mail(s, sender);
	if (!session_has(s, SMTP_EXT_PIPELINING) || s->state == S_OVER)
		return;
	/* the state changes only when memory is short */
	for (i = s->rcpt_at; i < m->n_rcpts && s->state == S_MAIL;
	     i = unsettled(m, i + 1))
		say_rcpt(s, &m->rcpts[i]);
	if (!s->bdat && s->state == S_MAIL) {
		session_put(s, "DATA\r\n");
		session_expect(s, X_DATA);
		s->data_sent = true;
	}
}

/* ---- answers to the envelope ---------------------------------------------------------- */

static void
begin_body(struct session *s)
{
	s->body = true;
	smtp_data_enc_init(&s->enc, !s->bdat);
	session_mail_pump(s);
}

/* Everything of the envelope that was sent is answered. */
static void
next_command(struct session *s)
{
	if (s->n_expects > 0)
		return;
	if (s->mail_failed) {
		end_transaction(s, true);
		return;
	}
	if (s->rcpt_at < s->msg->n_rcpts) {
		say_rcpt(s, &s->msg->rcpts[s->rcpt_at]);
		return;
	}
	if (s->n_accepted == 0) {
		end_transaction(s, true); /* no DATA for nobody (SMTP-22) */
	} else if (s->bdat) {
		begin_body(s);
	} else if (!s->data_sent) {
		session_put(s, "DATA\r\n");
		session_expect(s, X_DATA);
		s->data_sent = true;
	}
}

static void
on_mail(struct session *s, const struct smtp_reply *r)
{
	enum smtp_kind kind = smtp_reply_kind(r->code, SMTP_STAGE_MAIL);

	if (kind == SMTP_KIND_OK) {
		s->mail_ok = true;
	} else {
		s->mail_failed = true;
		settle_all(s, kind, r, false);
	}
	next_command(s);
}

/* 552 after others were accepted counts as 452, unless it says of this mailbox
 * that it is full (docs/tls-policy.md, section 7). */
static enum smtp_kind
rcpt_kind(const struct session *s, const struct smtp_reply *r)
{
	if (r->code == 552 && r->status.cls == 5 && r->status.subject == 2 &&
	    r->status.detail == 2)
		return SMTP_KIND_NEVER;
	return smtp_reply_kind(r->code,
	    s->n_accepted > 0 ? SMTP_STAGE_RCPT_AFTER : SMTP_STAGE_RCPT);
}

static void
on_rcpt(struct session *s, const struct smtp_reply *r)
{
	struct session_rcpt *rc = &s->msg->rcpts[s->rcpt_at];
	enum smtp_kind kind = rcpt_kind(s, r);

	s->rcpt_at++;
	if (!s->mail_failed) {
		if (kind == SMTP_KIND_OK) {
			rc->accepted = true;
			s->n_accepted++;
		} else {
			settle_by(rc, kind, r);
			/* "too many": the rest may come at once (SMTP-23) */
			if ((r->code == 452 || r->code == 552) &&
			    kind == SMTP_KIND_LATER && s->n_accepted > 0 &&
			    r->status.subject != 2) {
				rc->again = true;
				if (s->ehlo.rcptmax == 0 ||
				    s->ehlo.rcptmax > s->n_accepted)
					s->ehlo.rcptmax =
					    (uint32_t)s->n_accepted;
			}
		}
	}
	/* recipients that were settled before anything was sent */
	while (s->rcpt_at < s->msg->n_rcpts &&
	    s->msg->rcpts[s->rcpt_at].settled && !s->mail_failed)
		s->rcpt_at++;
	next_command(s);
}

static void
on_data(struct session *s, const struct smtp_reply *r)
{
	enum smtp_kind kind = smtp_reply_kind(r->code, SMTP_STAGE_DATA);

	if (s->n_accepted == 0) {
		if (kind == SMTP_KIND_MORE) {
			/* it waits for data of nobody's (PIPE-03) */
			session_put(s, ".\r\n");
			session_expect(s, X_LONE_DOT);
		} else {
			end_transaction(s, true);
		}
		return;
	}
	if (kind == SMTP_KIND_MORE) {
		begin_body(s);
		return;
	}
	settle_all(s, kind, r, true);
	end_transaction(s, true);
}

static void
set_relayed(struct session *s)
{
	size_t i;

	if (session_has(s, SMTP_EXT_DSN))
		return;
	for (i = 0; i < s->msg->n_rcpts; i++)
		s->msg->rcpts[i].relayed =
		    s->msg->rcpts[i].outcome == OUTCOME_DELIVERED;
}

static void
on_chunk(struct session *s, enum expect x, const struct smtp_reply *r)
{
	enum smtp_kind kind = smtp_reply_kind(r->code, SMTP_STAGE_DOT);

	s->chunks_open--;
	if (kind != SMTP_KIND_OK && !s->chunks_failed) {
		/* no more chunks after a refusal (BDAT-01) */
		s->chunks_failed = true;
		s->body = false;
		settle_all(s, kind, r, true);
	}
	if (s->chunks_failed) {
		if (s->n_expects == 0)
			end_transaction(s, true);
		return;
	}
	if (x == X_DOT) {
		settle_all(s, SMTP_KIND_OK, r, true);
		set_relayed(s);
		end_transaction(s, false);
		return;
	}
	session_mail_pump(s);
}

void
session_mail_reply(struct session *s, enum expect x, const struct smtp_reply *r)
{
	if (r->code == 421) {
		session_fail(
		    s, REASON_REMOTE_4XX, session_mail_stage(s), r, "");
		return;
	}
	switch (x) {
	case X_MAIL:
		on_mail(s, r);
		break;
	case X_RCPT:
		on_rcpt(s, r);
		break;
	case X_DATA:
		on_data(s, r);
		break;
	case X_CHUNK:
		on_chunk(s, x, r);
		break;
	case X_DOT:
		if (buf_len(&s->out) > 0) {
			/* it cannot have read what we did not send yet */
			session_mail_early(s, r);
			break;
		}
		if (s->bdat) {
			on_chunk(s, x, r);
			break;
		}
		settle_all(
		    s, smtp_reply_kind(r->code, SMTP_STAGE_DOT), r, true);
		set_relayed(s);
		end_transaction(s, false);
		break;
	case X_LONE_DOT:
	default:
		/* whatever it says: nobody was to get anything. A fresh
		 * transaction follows a final answer. */
		end_transaction(s, false);
		break;
	}
}

/*
 * A reply while the data is still going out: the host gave up on it. There is
 * no way back into step, so the connection ends; a 4yz or 5yz is the answer
 * for all that were accepted, anything else is out of place.
 */
void
session_mail_early(struct session *s, const struct smtp_reply *r)
{
	enum smtp_kind kind = smtp_reply_kind(r->code, SMTP_STAGE_DOT);

	if (r->code != 421 && kind == SMTP_KIND_NEVER) {
		settle_all(s, kind, r, true);
		session_fail(s, REASON_REMOTE_5XX, "message data", r, "");
	} else if (kind == SMTP_KIND_LATER && r->code >= 400) {
		session_fail(s, REASON_REMOTE_4XX, "message data", r, "");
	} else {
		session_fail(s, REASON_PROTOCOL, "message data", NULL,
		    "a reply before the end of the data");
	}
}

/* ---- the body ----------------------------------------------------------------------- */

static void
put_slices(struct session *s, const struct iovec *iov, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		session_put_raw(s, iov[i].iov_base, iov[i].iov_len);
}

/* Encode piece[0..n) onto b. 0 or the error of buf_put(). */
static int
encode(struct session *s, const uint8_t *piece, size_t n, struct buf *b)
{
	struct iovec iov[64];
	size_t used, i, k;
	int r;

	while (n > 0) {
		used = smtp_data_enc(&s->enc, piece, n, iov, 64, &k);
		for (i = 0; i < k; i++) {
			r = buf_put(b, iov[i].iov_base, iov[i].iov_len);
			if (r < 0)
				return r;
		}
		piece += used;
		n -= used;
	}
	return 0;
}

static void
put_chunk(struct session *s, const uint8_t *piece, size_t n, bool last)
{
	struct iovec iov[2];
	struct buf chunk;
	size_t i, k;
	int r;

	/* the count comes first, and line ends may have been mended */
	buf_init(&chunk, 2 * (size_t)SESSION_PIECE + 16);
	r = encode(s, piece, n, &chunk);
	if (r == 0 && last) {
		k = smtp_data_enc_end(&s->enc, iov);
		for (i = 0; i < k && r == 0; i++)
			r = buf_put(&chunk, iov[i].iov_base, iov[i].iov_len);
	}
	if (r < 0) {
		session_fail(s, REASON_STORE, "message data", NULL,
		    "out of memory for output");
	} else {
		session_put(
		    s, "BDAT %zu%s\r\n", buf_len(&chunk), last ? " LAST" : "");
		session_put_raw(s, buf_data(&chunk), buf_len(&chunk));
		s->chunks_open++;
		session_expect(s, last ? X_DOT : X_CHUNK);
	}
	buf_done(&chunk);
}

static void
put_piece(struct session *s, const uint8_t *piece, size_t n, bool last)
{
	struct iovec iov[2];

	if (s->bdat) {
		put_chunk(s, piece, n, last);
	} else {
		if (encode(s, piece, n, &s->out) < 0) {
			session_fail(s, REASON_STORE, "message data", NULL,
			    "out of memory for output");
			return;
		}
		if (last) {
			put_slices(s, iov, smtp_data_enc_end(&s->enc, iov));
			session_expect(s, X_DOT);
		}
	}
	if (last && s->state != S_OVER) {
		s->body = false;
		s->ended_data = true;
	}
	s->progress++;
}

/* Fill piece with the next want bytes of the body. False: it cannot be read. */
static bool
read_piece(struct session *s, uint8_t *piece, size_t want)
{
	size_t have = 0;
	ssize_t n;

	while (have < want) {
		n = s->msg->read(
		    s->msg->arg, s->body_at + have, piece + have, want - have);
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	s->body_at += have;
	return true;
}

void
session_mail_pump(struct session *s)
{
	uint8_t piece[SESSION_PIECE];
	uint64_t left;
	size_t want;

	while (s->state == S_MAIL && s->body &&
	    buf_len(&s->out) < SESSION_OUT_MARK) {
		if (s->bdat && s->chunks_open >= SESSION_CHUNKS_OPEN)
			return;
		left = s->msg->size - s->body_at;
		want = left < sizeof(piece) ? (size_t)left : sizeof(piece);
		if (!read_piece(s, piece, want)) {
			/* never end data that is not whole */
			session_fail(s, REASON_STORE, "message data", NULL,
			    "the stored message could not be read");
			return;
		}
		if (s->bdat && want < left && piece[want - 1] == '\r') {
			/* legal, but not every server likes a line end that is
			 * cut by the border of two chunks */
			want--;
			s->body_at--;
		}
		put_piece(s, piece, want, want == left);
	}
}
