/*
 * session_cmd.c - what each command does in a session.
 *
 * Called by session.c with one line at a time. The line alone was judged by
 * lib/smtp/command; here is what depends on the session: order, rights,
 * limits. State is kept after errors (IN-04).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proto/submit.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/reply.h"
#include "smtpd/session_int.h"

#define ST SMTP_STATUS

/* A copy of the text in the span; "" when absent. NULL: no memory. */
static char *
span_dup(struct smtp_span v)
{
	return v.p == NULL ? strdup("") : strndup(v.p, v.len);
}

const char *
session_hostname(const struct session *s)
{
	return s->c.listener->hostname != NULL ? s->c.listener->hostname
					       : s->c.conf->node.hostname;
}

static void
no_memory(struct session *s)
{
	session_reply(s, 451, ST(4, 3, 0), "Out of memory, try again later");
}

/* ---- HELO, EHLO ------------------------------------------------------------ */

static uint32_t
extensions(const struct session *s)
{
	const struct conf_listener *l = s->c.listener;
	uint32_t ext = SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME |
	    SMTP_EXT_SMTPUTF8 | SMTP_EXT_DSN | SMTP_EXT_CHUNKING |
	    SMTP_EXT_ENHANCEDSTATUSCODES | SMTP_EXT_LIMITS;

	if (!s->tls && l->cert != NULL &&
	    (l->tls == CONF_LTLS_OFFERED || l->tls == CONF_LTLS_REQUIRED))
		ext |= SMTP_EXT_STARTTLS;
	if (s->tls) /* and never outside of it (RFC 8689, 2) */
		ext |= SMTP_EXT_REQUIRETLS;
	if (s->tls && l->auth != CONF_AUTH_NO)
		ext |= SMTP_EXT_AUTH;
	return ext;
}

static void
ehlo_reply(struct session *s)
{
	struct smtp_ehlo e = { .ext = s->offered,
		.size = s->c.listener->max_message_size,
		.mailmax = s->c.listener->max_messages_per_connection,
		.rcptmax = s->c.listener->max_recipients };

	(void)snprintf(e.host, sizeof(e.host), "%s", session_hostname(s));
	if ((s->offered & SMTP_EXT_AUTH) != 0)
		(void)snprintf(e.auth, sizeof(e.auth), "PLAIN LOGIN");
	if (smtp_ehlo_format(&s->out, &e) < 0)
		session_set_state(s, SS_CLOSED);
}

static void
hello(struct session *s, const struct smtp_command *cmd, bool esmtp)
{
	char *name;

	/* its reply decides what may follow (PIPE-02, SMUG-06) */
	if (s->more) {
		session_hang_up(
		    s, ST(4, 7, 0), "Input behind the greeting of the client");
		return;
	}
	name = span_dup(cmd->arg);
	if (name == NULL) {
		no_memory(s);
		return;
	}
	session_txn_end(s, "new EHLO"); /* as RSET does (4.1.4) */
	free(s->helo);
	s->helo = name;
	s->esmtp = esmtp;
	s->offered = esmtp ? extensions(s) : 0;
	if (esmtp)
		ehlo_reply(s);
	else
		session_reply(s, 250, ST(0, 0, 0), session_hostname(s));
}

static void
on_ehlo(struct session *s, const struct smtp_command *cmd)
{
	hello(s, cmd, true);
}

static void
on_helo(struct session *s, const struct smtp_command *cmd)
{
	hello(s, cmd, false);
}

/* ---- MAIL ------------------------------------------------------------------ */

/* May a transaction begin now? Replies when not. */
static bool
mail_allowed(struct session *s, const struct smtp_command *cmd)
{
	const struct conf_listener *l = s->c.listener;
	const char *text = "";

	if (s->helo == NULL) {
		session_mistake(s, 503, ST(5, 5, 1), "EHLO or HELO first");
		return false;
	}
	if (s->txn != NULL) {
		session_mistake(
		    s, 503, ST(5, 5, 1), "A transaction is open already");
		return false;
	}
	if (s->draining) {
		session_hang_up(s, ST(4, 3, 2), "Shutting down");
		return false;
	}
	if (l->auth == CONF_AUTH_REQUIRED && !s->authenticated) {
		session_mistake(s, 530, ST(5, 7, 0),
		    s->tls ? "Authentication required"
			   : "Authentication required, STARTTLS first");
		return false;
	}
	if (l->max_messages_per_connection > 0 &&
	    s->messages >= l->max_messages_per_connection) {
		session_hang_up(
		    s, ST(4, 7, 0), "Too many messages in this session");
		return false;
	}
	if (cmd->has_size && l->max_message_size > 0 &&
	    cmd->size > l->max_message_size) {
		session_reply(s, 552, ST(5, 3, 4),
		    "Message size exceeds the fixed maximum");
		return false;
	}
	switch (s->ops->queue_state(s->arg, &text)) {
	case SESSION_QUEUE_READY:
		return true;
	case SESSION_QUEUE_REFUSES:
		session_reply(s, 452, ST(4, 3, 1),
		    text[0] != '\0' ? text : "Insufficient system storage");
		return false;
	case SESSION_QUEUE_DOWN:
		break;
	}
	session_reply(
	    s, 451, ST(4, 3, 0), "Queue is not there, try again later");
	return false;
}

static struct txn *
txn_new(struct session *s, const struct smtp_command *cmd)
{
	struct txn *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->sender =
	    strndup(cmd->path.len > 0 ? cmd->path.text : "", cmd->path.len);
	t->envid = span_dup(cmd->envid);
	if (t->sender == NULL || t->envid == NULL) {
		free(t->sender);
		free(t->envid);
		free(t);
		return NULL;
	}
	t->reserved = sizeof(*t) + sizeof(struct mail_scan) + cmd->path.len +
	    cmd->envid.len;
	t->gateway = conf_gateway_choose(s->c.conf, t->sender, s->c.sa)->name;
	t->size_hint = cmd->has_size ? cmd->size : 0;
	if (cmd->smtputf8)
		t->flags |= MSG_SMTPUTF8;
	if (cmd->body == SMTP_BODY_8BIT)
		t->flags |= MSG_BODY_8BITMIME;
	if (cmd->requiretls)
		t->flags |= MSG_REQUIRETLS;
	t->ret = cmd->ret == SMTP_RET_FULL ? DSN_RET_FULL
	    : cmd->ret == SMTP_RET_HDRS	   ? DSN_RET_HDRS
					   : DSN_RET_NONE;
	return t;
}

static void
on_mail(struct session *s, const struct smtp_command *cmd)
{
	char domain[ADDR_DOMAIN_MAX + 1];
	struct txn *t;

	if (!mail_allowed(s, cmd))
		return;
	if (!cmd->null_path &&
	    addr_domain_normalise(
		cmd->path.domain, cmd->path.domain_len, domain) < 0) {
		session_mistake(
		    s, 501, ST(5, 1, 7), "Domain of the sender is malformed");
		return;
	}
	t = txn_new(s, cmd);
	if (t == NULL) {
		no_memory(s);
		return;
	}
	s->txn = t;
	if (!s->ops->reserve(s->arg, (ptrdiff_t)t->reserved)) {
		t->reserved = 0;
		session_txn_end(s, NULL);
		session_reply(s, 452, ST(4, 3, 1),
		    "Too many open transactions, try again later");
		return;
	}
	session_set_state(s, SS_MAIL);
}

bool
session_mail(struct session *s)
{
	struct txn *t = s->txn;
	const char *why;

	if (s->ops->queue_state(s->arg, &why) == SESSION_QUEUE_DOWN) {
		session_no_mid(s);
		return true;
	}
	t->mid = s->ops->mid_take(s->arg);
	if (t->mid == 0)
		return false;
	session_set_state(s, SS_COMMAND);
	log_event(LOG_INFO, "message_start",
	    &(struct log_fields){ .icid = s->c.icid, .mid = t->mid },
	    "Start MID %llu ICID %llu", (unsigned long long)t->mid,
	    (unsigned long long)s->c.icid);
	log_event(LOG_INFO, "message_from",
	    &(struct log_fields){ .icid = s->c.icid,
		.mid = t->mid,
		.from = t->sender,
		.gateway = t->gateway },
	    "MID %llu ICID %llu From: <%s>", (unsigned long long)t->mid,
	    (unsigned long long)s->c.icid, LOG_Q(t->sender));
	session_reply(s, 250, ST(2, 1, 0), "Sender ok");
	return true;
}

void
session_no_mid(struct session *s)
{
	session_set_state(s, SS_COMMAND);
	session_txn_end(s, NULL);
	session_reply(
	    s, 451, ST(4, 3, 0), "Queue is not there, try again later");
}

/* ---- RCPT ------------------------------------------------------------------ */

static void
relay_denied(struct session *s)
{
	session_rejected(s);
	session_mistake(s, 550, ST(5, 7, 1), "Relaying denied");
}

static bool
rcpt_allowed(struct session *s)
{
	if (s->txn == NULL) {
		session_mistake(s, 503, ST(5, 5, 1), "MAIL first");
		return false;
	}
	if (s->txn->bdat) {
		session_mistake(
		    s, 503, ST(5, 5, 1), "Message data has begun already");
		return false;
	}
	if (!s->may_relay && !s->c.listener->accept_bounces) {
		relay_denied(s);
		return false;
	}
	if (s->txn->n_rcpts >= s->c.listener->max_recipients) {
		session_reply(s, 452, ST(4, 5, 3), "Too many recipients");
		return false;
	}
	return true;
}

/* Memory for one more, counted; replies when there is none. */
static struct rcpt *
rcpt_new(struct session *s, size_t len)
{
	struct txn *t = s->txn;
	size_t cost = sizeof(struct rcpt) + len + sizeof(struct rcpt *);
	struct rcpt *r, **v;

	if (!s->ops->reserve(s->arg, (ptrdiff_t)cost)) {
		session_reply(s, 452, ST(4, 3, 1),
		    "Too many recipients in all, try again later");
		return NULL;
	}
	t->reserved += cost;
	if (t->n_rcpts == t->cap_rcpts) {
		t->cap_rcpts = t->cap_rcpts == 0 ? 4 : t->cap_rcpts * 2;
		v = reallocarray(t->rcpts, t->cap_rcpts, sizeof(*v));
		if (v == NULL) {
			t->cap_rcpts = t->n_rcpts;
			no_memory(s);
			return NULL;
		}
		t->rcpts = v;
	}
	r = malloc(sizeof(*r) + len);
	if (r == NULL)
		no_memory(s);
	return r;
}

static void
on_rcpt(struct session *s, const struct smtp_command *cmd)
{
	const char *host = s->c.conf->node.hostname;
	struct smtp_span dom = { cmd->path.domain, cmd->path.domain_len };
	char address[ADDR_MAX + ADDR_DOMAIN_MAX + 2];
	char domain[ADDR_DOMAIN_MAX + 1];
	struct txn *t = s->txn;
	size_t address_len, domain_len;
	enum bounce bounce;
	struct rcpt *r;

	if (!rcpt_allowed(s))
		return;
	/* <Postmaster> is ours to name (RFC 5321, 4.1.1.3) */
	if (cmd->postmaster)
		dom = (struct smtp_span){ host, strlen(host) };
	(void)snprintf(address, sizeof(address), "%.*s%s%s", (int)cmd->path.len,
	    cmd->path.text, cmd->postmaster ? "@" : "",
	    cmd->postmaster ? host : "");
	if (addr_domain_normalise(dom.p, dom.len, domain) < 0) {
		session_mistake(s, 501, ST(5, 1, 3),
		    "Domain of the recipient is malformed");
		return;
	}
	bounce = session_bounce(s, address);
	if (bounce == BOUNCE_REFUSED)
		return;
	if (bounce == BOUNCE_NOT_OURS && !s->may_relay) {
		relay_denied(s);
		return;
	}
	address_len = strlen(address) + 1;
	domain_len = strlen(domain) + 1;
	r = rcpt_new(s, address_len + domain_len + cmd->orcpt.len + 1);
	if (r == NULL)
		return;
	r->len = address_len + domain_len + cmd->orcpt.len + 1;
	memcpy(r->text, address, address_len);
	memcpy(r->text + address_len, domain, domain_len);
	if (cmd->orcpt.len > 0)
		memcpy(r->text + address_len + domain_len, cmd->orcpt.p,
		    cmd->orcpt.len);
	r->text[r->len - 1] = '\0';
	r->notify = (cmd->notify & SMTP_NOTIFY_NEVER ? DSN_NOTIFY_NEVER : 0) |
	    (cmd->notify & SMTP_NOTIFY_SUCCESS ? DSN_NOTIFY_SUCCESS : 0) |
	    (cmd->notify & SMTP_NOTIFY_FAILURE ? DSN_NOTIFY_FAILURE : 0) |
	    (cmd->notify & SMTP_NOTIFY_DELAY ? DSN_NOTIFY_DELAY : 0);
	log_event(LOG_INFO, "message_to",
	    &(struct log_fields){ .icid = s->c.icid,
		.mid = t->mid,
		.rid = (uint32_t)t->n_rcpts,
		.has_rid = true,
		.to = r->text,
		.domain = domain },
	    "MID %llu ICID %llu RID %zu To: <%s>", (unsigned long long)t->mid,
	    (unsigned long long)s->c.icid, t->n_rcpts, LOG_Q(r->text));
	t->rcpts[t->n_rcpts++] = r;
	session_reply(s, 250, ST(2, 1, 5), "Recipient ok");
}

/* ---- DATA, BDAT ------------------------------------------------------------ */

static void
on_data(struct session *s, const struct smtp_command *cmd)
{
	struct txn *t = s->txn;

	(void)cmd;
	if (t != NULL && t->bdat) {
		session_mistake(
		    s, 503, ST(5, 5, 1), "BDAT and DATA do not mix");
		return;
	}
	if (t == NULL) {
		session_mistake(s, 503, ST(5, 5, 1), "MAIL and RCPT first");
		return;
	}
	if (t->n_rcpts == 0) {
		session_mistake(s, 554, ST(5, 5, 1), "No valid recipients");
		return;
	}
	smtp_data_dec_init(&t->dec);
	session_set_state(s, SS_BEGIN);
}

static void
on_bdat(struct session *s, const struct smtp_command *cmd)
{
	struct txn *t = s->txn;

	if (t == NULL) {
		/* its bytes are read and thrown away all the same (IN-08), so
		 * a transaction that failed before it began takes them */
		t = calloc(1, sizeof(*t));
		if (t == NULL) {
			session_hang_up(s, ST(4, 3, 0), "Out of memory");
			return;
		}
		s->txn = t;
		t->sender = NULL;
		session_fail(s, 503, ST(5, 5, 1), "MAIL and RCPT first");
	} else if (t->n_rcpts == 0) {
		session_fail(s, 503, ST(5, 5, 1), "No valid recipients");
	}
	if (!t->bdat) {
		t->bdat = true;
		smtp_body_scan_init(&t->scan);
	} else if (t->last) {
		session_fail(s, 503, ST(5, 5, 1), "The last chunk came before");
	}
	t->chunk_left = cmd->chunk_len;
	t->last = cmd->last;
	if (t->fail.code != 0 || t->begun) {
		session_data_begins(s);
		session_set_state(s, SS_BDAT);
	} else {
		session_set_state(s, SS_BEGIN);
	}
}

/* ---- the small ones -------------------------------------------------------- */

static void
on_rset(struct session *s, const struct smtp_command *cmd)
{
	(void)cmd;
	if (s->txn == NULL)
		s->junk++;
	session_txn_end(s, "RSET");
	session_reply(s, 250, ST(2, 0, 0), "Reset");
}

static void
on_noop(struct session *s, const struct smtp_command *cmd)
{
	(void)cmd;
	s->junk++;
	session_reply(s, 250, ST(2, 0, 0), "Ok");
}

static void
on_quit(struct session *s, const struct smtp_command *cmd)
{
	char text[300];

	(void)cmd;
	(void)snprintf(text, sizeof(text), "%s closing", session_hostname(s));
	session_txn_end(s, "QUIT");
	session_reply(s, 221, ST(2, 0, 0), text);
	session_set_state(s, SS_CLOSED);
}

static void
on_vrfy(struct session *s, const struct smtp_command *cmd)
{
	(void)cmd;
	s->junk++;
	session_reply(s, 252, ST(2, 0, 0),
	    "Cannot verify, but will take mail and try to deliver it");
}

static void
on_expn(struct session *s, const struct smtp_command *cmd)
{
	(void)cmd;
	session_mistake(s, 502, ST(5, 5, 1), "No lists here");
}

static void
on_help(struct session *s, const struct smtp_command *cmd)
{
	(void)cmd;
	s->junk++;
	session_reply(s, 214, ST(2, 0, 0), "See RFC 5321");
}

static void
on_starttls(struct session *s, const struct smtp_command *cmd)
{
	(void)cmd;
	if (s->txn != NULL) {
		/* allowed by RFC 3207 and never sent by anybody; TLS would
		 * forget the transaction */
		session_mistake(
		    s, 503, ST(5, 5, 1), "Not within a transaction");
		return;
	}
	/*
	 * Whoever put bytes behind STARTTLS wants them to run as if they had
	 * come inside TLS (TLS-08). Dropping them would do; the end of the
	 * session also tells the client that somebody is in between.
	 */
	if (s->more) {
		log_event(LOG_WARNING, "starttls_injection",
		    &(struct log_fields){
			.icid = s->c.icid, .address = s->c.address },
		    "ICID %llu TLS failed: input behind STARTTLS, closing",
		    (unsigned long long)s->c.icid);
		session_hang_up(
		    s, ST(4, 7, 0), "Input behind STARTTLS before its reply");
		return;
	}
	session_reply(s, 220, ST(2, 0, 0), "Ready to start TLS");
	session_set_state(s, SS_STARTTLS);
}

/* ---- dispatch -------------------------------------------------------------- */

static const struct verb {
	void (*run)(struct session *, const struct smtp_command *);
	bool before_tls; /* also when TLS is required and not there yet */
} verbs[SMTP_VERB_COUNT] = {
	[SMTP_VERB_HELO] = { on_helo, true },
	[SMTP_VERB_EHLO] = { on_ehlo, true },
	[SMTP_VERB_MAIL] = { on_mail, false },
	[SMTP_VERB_RCPT] = { on_rcpt, false },
	[SMTP_VERB_DATA] = { on_data, false },
	[SMTP_VERB_BDAT] = { on_bdat, true }, /* its bytes must be eaten */
	[SMTP_VERB_RSET] = { on_rset, true },
	[SMTP_VERB_NOOP] = { on_noop, true },
	[SMTP_VERB_QUIT] = { on_quit, true },
	[SMTP_VERB_VRFY] = { on_vrfy, false },
	[SMTP_VERB_EXPN] = { on_expn, false },
	[SMTP_VERB_HELP] = { on_help, true },
	[SMTP_VERB_STARTTLS] = { on_starttls, true },
	[SMTP_VERB_AUTH] = { session_auth_start, false },
};

void
session_command(struct session *s, const char *line, size_t len)
{
	struct smtp_command cmd;
	struct smtp_refusal no;
	int r;

	r = smtp_command_parse(line, len, s->offered,
	    s->txn != NULL && (s->txn->flags & MSG_SMTPUTF8) != 0, &cmd, &no);
	/* the timer of the next command; handlers that go elsewhere set theirs
	 */
	session_set_state(s, SS_COMMAND);
	if (cmd.verb == SMTP_VERB_NONE && s->data_refused) {
		/* it sends its message without our 354: what looks like a
		 * command in there must not run (SMUG-06). Lines that are
		 * commands may be its beginning too, so none of them ends the
		 * suspicion, only the next 354 does */
		session_hang_up(
		    s, ST(4, 7, 0), "Message data without 354, closing");
		return;
	}
	if (cmd.verb == SMTP_VERB_DATA) {
		/* the message may only come behind our 354 (SMUG-06), also when
		 * this line will not get one */
		if (s->more) {
			session_hang_up(s, ST(4, 7, 0),
			    "Input behind DATA before its reply");
			return;
		}
		s->data_refused = true; /* until 354 is said */
	}
	if (cmd.verb != SMTP_VERB_NONE && !verbs[cmd.verb].before_tls &&
	    s->c.listener->tls == CONF_LTLS_REQUIRED && !s->tls) {
		session_mistake(
		    s, 530, ST(5, 7, 0), "Must issue a STARTTLS command first");
		return;
	}
	if (r < 0 && cmd.verb == SMTP_VERB_BDAT)
		session_chunk_unknown(s);
	else if (r < 0)
		session_mistake(s, no.code, no.status, no.text);
	else
		verbs[cmd.verb].run(s, &cmd);
	if (s->junk > JUNK_MAX && s->state != SS_CLOSED)
		session_hang_up(
		    s, ST(4, 7, 0), "Too many commands without a message");
}
