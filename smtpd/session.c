/*
 * session.c - input, state and time of one client's session: see session.h.
 *
 * Called by conn.c, by tests and the fuzzer. Never touches a socket or the
 * loop. Lines end in CRLF and in nothing else: what a bare LF or an endless
 * line begins is refused at once and thrown away up to the next CRLF, so that
 * nothing inside it ever runs, however the bytes were cut (SMUG-01, SMUG-04).
 */
#include "smtpd/session.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proto/submit.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/reply.h"
#include "lib/tls/tls.h"
#include "smtpd/session_int.h"

enum {
	OUT_MAX = 64 * 1024, /* never reached: input stops at the mark */
	CLOSE_MS = 10 * 1000 /* for the last reply to go out */
};

/* ---- state and time -------------------------------------------------------- */

static int64_t
state_ms(const struct session *s, enum session_state state)
{
	switch (state) {
	case SS_DATA:
	case SS_BDAT:
		return s->c.listener->data_timeout_ms;
	case SS_MAIL:
	case SS_BEGIN:
	case SS_COMMIT:
		return SESSION_QUEUE_TIMEOUT_MS;
	case SS_AUTH_WAIT:
		return SESSION_AUTH_TIMEOUT_MS;
	case SS_STARTTLS:
		return s->c.listener->tls_timeout_ms;
	case SS_CLOSED:
		return CLOSE_MS;
	case SS_COMMAND:
	case SS_AUTH_LINE:
	case SS_SKIP:
		break;
	}
	return s->c.listener->command_timeout_ms;
}

/* The one place that changes the state, and arms its timer. */
void
session_set_state(struct session *s, enum session_state state)
{
	s->state = state;
	s->blocked = false;
	s->deadline_ms = clock_mono_ms() + state_ms(s, state);
}

/* Does the client owe message data, or the command that brings more of it? */
static bool
owes_data(const struct session *s)
{
	return s->state == SS_DATA || s->state == SS_BDAT ||
	    s->state == SS_COMMAND || s->state == SS_SKIP;
}

/* Commands that lead to no message, each in time, hold a connection no longer
 * than this. */
static int64_t
life_deadline_ms(const struct session *s)
{
	bool data = s->txn != NULL && s->txn->since_ms != 0;

	if (data || (!owes_data(s) && s->state != SS_AUTH_LINE))
		return INT64_MAX;
	return s->useful_ms + s->c.listener->session_timeout_ms;
}

int64_t
session_deadline_ms(const struct session *s)
{
	int64_t data_ms =
	    owes_data(s) ? session_data_deadline_ms(s) : INT64_MAX;
	int64_t life_ms = life_deadline_ms(s);

	if (life_ms < data_ms)
		data_ms = life_ms;
	return data_ms < s->deadline_ms ? data_ms : s->deadline_ms;
}

enum session_want
session_wants(const struct session *s)
{
	switch (s->state) {
	case SS_CLOSED:
		return SESSION_CLOSE;
	case SS_STARTTLS:
		return SESSION_STARTTLS;
	case SS_MAIL:
	case SS_BEGIN:
		return SESSION_ROOM;
	case SS_COMMIT:
	case SS_AUTH_WAIT:
		return SESSION_WAIT;
	case SS_COMMAND:
	case SS_AUTH_LINE:
	case SS_SKIP:
	case SS_DATA:
	case SS_BDAT:
		break;
	}
	if (s->blocked)
		return SESSION_ROOM;
	return buf_len(&s->out) >= SESSION_OUT_HIGH ? SESSION_FLUSH
						    : SESSION_READ;
}

struct buf *
session_output(struct session *s)
{
	return &s->out;
}

bool
session_in_transaction(const struct session *s)
{
	return s->txn != NULL;
}

uint64_t
session_messages(const struct session *s)
{
	return s->messages;
}

bool
session_secret_may_come(const struct session *s)
{
	return (s->offered & SMTP_EXT_AUTH) != 0 && !s->authenticated;
}

/* ---- replies --------------------------------------------------------------- */

void
session_reply(
    struct session *s, int code, struct smtp_status st, const char *text)
{
	/* out of memory: a reply that is missing would shift all that follow */
	if (smtp_reply_format(&s->out, code, st, text) < 0)
		session_set_state(s, SS_CLOSED);
}

void
session_hang_up(struct session *s, struct smtp_status st, const char *text)
{
	char line[400];

	(void)snprintf(line, sizeof(line), "%s %s", session_hostname(s), text);
	session_txn_end(s, text);
	session_reply(s, 421, st, line);
	session_set_state(s, SS_CLOSED);
}

void
session_mistake(
    struct session *s, int code, struct smtp_status st, const char *text)
{
	if (++s->errors < s->c.listener->max_command_errors) {
		session_reply(s, code, st, text);
		return;
	}
	log_event(LOG_INFO, "too_many_errors",
	    &(struct log_fields){ .icid = s->c.icid },
	    "ICID %llu too many errors, the last one: %d %s",
	    (unsigned long long)s->c.icid, code, text);
	session_hang_up(s, SMTP_STATUS(4, 7, 0), "Too many errors");
}

/* ---- transaction ----------------------------------------------------------- */

void
session_txn_end(struct session *s, const char *why)
{
	struct txn *t = s->txn;
	size_t i;

	if (t == NULL)
		return;
	s->txn = NULL;
	if (t->begun && s->state == SS_COMMIT)
		s->ops->leave(s->arg, t->mid);
	else if (t->begun)
		s->ops->abort(s->arg, t->mid);
	if (why != NULL && s->state != SS_COMMIT)
		log_event(LOG_INFO, "message_aborted",
		    &(struct log_fields){
			.icid = s->c.icid, .mid = t->mid, .reason = why },
		    "Message aborted MID %llu %s", (unsigned long long)t->mid,
		    LOG_Q(why));
	(void)s->ops->reserve(s->arg, -(ptrdiff_t)t->reserved);
	for (i = 0; i < t->n_rcpts; i++)
		free(t->rcpts[i]);
	free(t->rcpts);
	free(t->head);
	free(t->sender);
	free(t->envid);
	free(t);
}

/* ---- relay rights ---------------------------------------------------------- */

void
session_rejected(struct session *s)
{
	if (s->rejected)
		return;
	s->rejected = true;
	log_event(LOG_INFO, "reject",
	    &(struct log_fields){ .icid = s->c.icid, .address = s->c.address },
	    "ICID %llu REJECT listener %s no relay rule matches %s",
	    (unsigned long long)s->c.icid, s->c.listener->name, s->c.address);
}

static void
relay_by_network(struct session *s)
{
	const struct conf_listener *l = s->c.listener;
	const struct conf_net *net =
	    s->c.sa == NULL ? NULL : conf_nets_match(&l->relay_from, s->c.sa);
	char text[64];

	if (net == NULL) {
		/* no other rule could give the right later */
		if (l->auth == CONF_AUTH_NO && l->client_ca_file == NULL)
			session_rejected(s);
		return;
	}
	s->may_relay = true;
	log_event(LOG_INFO, "relay",
	    &(struct log_fields){ .icid = s->c.icid, .address = s->c.address },
	    "ICID %llu RELAY listener %s match %s",
	    (unsigned long long)s->c.icid, l->name,
	    conf_net_format(net, text, sizeof(text)));
}

/* The same name: host parts in any case, local parts as written. */
static bool
same_name(const char *a, const char *b)
{
	const char *at_a = strrchr(a, '@'), *at_b = strrchr(b, '@');

	if ((at_a == NULL) != (at_b == NULL))
		return false;
	if (at_a == NULL)
		return strcasecmp(a, b) == 0;
	return at_a - a == at_b - b && memcmp(a, b, (size_t)(at_a - a)) == 0 &&
	    strcasecmp(at_a, at_b) == 0;
}

/* The name in the certificate that the settings list, or NULL. */
static const char *
match_names(const struct conf_strs *wanted, const struct tls_names *names)
{
	size_t i, k;

	if (wanted->n == 0)
		return names != NULL && names->n > 0 ? names->v[0] : "any name";
	for (i = 0; names != NULL && i < names->n; i++)
		for (k = 0; k < wanted->n; k++)
			if (same_name(names->v[i], wanted->v[k]))
				return names->v[i];
	return NULL;
}

static void
relay_by_certificate(struct session *s, const struct tls_info *info,
    const struct tls_names *names)
{
	const struct conf_listener *l = s->c.listener;
	const char *name;

	if (l->client_ca_file == NULL || !info->peer_cert)
		return;
	name = info->verify_result == 0
	    ? match_names(&l->client_cert_names, names)
	    : NULL;
	if (name == NULL) {
		log_event(LOG_INFO, "client_certificate",
		    &(struct log_fields){ .icid = s->c.icid },
		    "ICID %llu TLS client certificate gives no right: %s",
		    (unsigned long long)s->c.icid,
		    info->verify_result != 0 ? info->verify_text
					     : "none of its names is listed");
		return;
	}
	s->may_relay = true;
	log_event(LOG_INFO, "relay",
	    &(struct log_fields){
		.icid = s->c.icid, .address = s->c.address, .peer_name = name },
	    "ICID %llu RELAY listener %s client certificate '%s'",
	    (unsigned long long)s->c.icid, l->name, LOG_Q(name));
}

/* ---- life ------------------------------------------------------------------ */

int
session_new(const struct session_client *client, const struct session_ops *ops,
    void *arg, struct session **ret_session)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->c = *client;
	s->ops = ops;
	s->arg = arg;
	buf_init(&s->line, SMTP_LINE_AUTH_MAX + 2);
	buf_init(&s->out, OUT_MAX);
	s->useful_ms = clock_mono_ms();
	session_set_state(s, SS_COMMAND);
	log_event(LOG_INFO, "smtp_connect",
	    &(struct log_fields){ .icid = s->c.icid, .address = s->c.address },
	    "New SMTP ICID %llu interface %s (%s) address %s reverse dns "
	    "host unknown verified no",
	    (unsigned long long)s->c.icid, s->c.listener->name,
	    s->c.local_address, s->c.address);
	relay_by_network(s);
	*ret_session = s;
	return 0;
}

static void
forget_line(struct session *s)
{
	/* all of it: AUTH may have succeeded just now */
	if ((s->offered & SMTP_EXT_AUTH) != 0 && buf_len(&s->line) > 0)
		explicit_bzero(buf_data(&s->line), buf_len(&s->line));
	buf_reset(&s->line, 0);
}

void
session_free(struct session *s)
{
	if (s == NULL)
		return;
	if (s->state == SS_AUTH_WAIT)
		s->ops->auth_cancel(s->arg);
	session_txn_end(s, NULL);
	forget_line(s);
	buf_done(&s->out);
	free(s->helo);
	free(s->user);
	free(s->tls_text);
	free(s);
}

void
session_start(struct session *s, bool early)
{
	const struct conf_listener *l = s->c.listener;
	char text[600];

	s->started = true;
	if (early) {
		session_hang_up(
		    s, SMTP_STATUS(0, 0, 0), "Input before the greeting");
		return;
	}
	(void)snprintf(text, sizeof(text), "%s %s", session_hostname(s),
	    l->banner != NULL ? l->banner : "ESMTP");
	session_reply(s, 220, SMTP_STATUS(0, 0, 0), text);
	session_set_state(s, SS_COMMAND);
}

void
session_tls_up(struct session *s, const struct tls_info *info,
    const struct tls_names *names)
{
	char text[128];

	session_txn_end(s, "STARTTLS");
	free(s->helo);
	free(s->tls_text);
	s->helo = NULL;
	s->tls = true;
	s->esmtp = false;
	s->data_refused = false;
	s->offered = 0;
	(void)snprintf(
	    text, sizeof(text), "%s %s", info->protocol, info->cipher);
	s->tls_text = strdup(text); /* NULL: Received says less */
	log_event(LOG_INFO, "tls_success",
	    &(struct log_fields){ .icid = s->c.icid,
		.protocol = info->protocol,
		.cipher = info->cipher },
	    "ICID %llu TLS success protocol %s cipher %s",
	    (unsigned long long)s->c.icid, info->protocol, info->cipher);
	relay_by_certificate(s, info, names);
	session_set_state(s, SS_COMMAND);
}

/* ---- lines ----------------------------------------------------------------- */

static size_t
line_max(const struct session *s)
{
	return s->state == SS_AUTH_LINE || (s->offered & SMTP_EXT_AUTH) != 0
	    ? SMTP_LINE_AUTH_MAX
	    : SMTP_LINE_PATH_MAX;
}

/* Does the line that begins in s->line, and goes on at p, begin with verb? */
static bool
begins(const struct session *s, const uint8_t *p, size_t len, const char *verb)
{
	size_t have = buf_len(&s->line), n = strlen(verb), i;
	char head[16];

	assert(n < sizeof(head));
	for (i = 0; i <= n; i++) {
		if (i >= have + len)
			return false;
		head[i] =
		    (char)(i < have ? buf_data(&s->line)[i] : p[i - have]);
	}
	return strncasecmp(head, verb, n) == 0 &&
	    !isalnum((unsigned char)head[n]);
}

/* Refuse the line whose bytes up to p[used) were read; what follows of it is
 * thrown away unless a CRLF ended it just now. */
static void
bad_line(struct session *s, const uint8_t *p, size_t used, const char *why)
{
	size_t have = buf_len(&s->line);
	bool cr = used >= 2 ? p[used - 2] == '\r'
			    : have > 0 && buf_data(&s->line)[have - 1] == '\r';
	bool ended = cr && p[used - 1] == '\n';
	bool command = s->state == SS_COMMAND;
	bool bdat = command && begins(s, p, used, "BDAT");

	if (command && begins(s, p, used, "DATA"))
		s->data_refused = true; /* as session_command() */
	if (s->state == SS_AUTH_LINE && !s->authenticated) {
		free(s->user);
		s->user = NULL;
	}
	forget_line(s);
	if (bdat) {
		session_chunk_unknown(s);
		return;
	}
	session_mistake(s, 500, SMTP_STATUS(5, 5, 2), why);
	if (s->state == SS_CLOSED)
		return;
	s->skip_cr = p[used - 1] == '\r';
	session_set_state(s, ended ? SS_COMMAND : SS_SKIP);
}

/* Take one line, or the beginning of one. Returns the bytes used. */
static size_t
take_line(struct session *s, const uint8_t *p, size_t len)
{
	const uint8_t *lf = memchr(p, '\n', len), *line = p;
	size_t used = lf == NULL ? len : (size_t)(lf - p) + 1;
	size_t n = buf_len(&s->line) + used;

	if (n > line_max(s) + 2) {
		bad_line(s, p, used, "Line too long");
		return used;
	}
	if (lf == NULL || buf_len(&s->line) > 0) {
		/* a buffer that grows leaves copies of a password behind */
		if (session_secret_may_come(s) && buf_len(&s->line) == 0)
			(void)buf_room(&s->line, line_max(s) + 2);
		if (buf_put(&s->line, p, used) < 0) {
			session_hang_up(
			    s, SMTP_STATUS(4, 3, 0), "Out of memory");
			return used;
		}
		line = buf_data(&s->line);
	}
	if (lf == NULL)
		return used;
	if (n < 2 || line[n - 2] != '\r') {
		bad_line(s, p, used, "Lines end in CRLF");
		return used;
	}
	s->more = len > used;
	if (s->state == SS_AUTH_LINE)
		session_auth_line(s, (const char *)line, n - 2);
	else
		session_command(s, (const char *)line, n - 2);
	forget_line(s);
	return used;
}

static size_t
skip_line(struct session *s, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] == '\n' && s->skip_cr) {
			session_set_state(s, SS_COMMAND);
			return i + 1;
		}
		s->skip_cr = p[i] == '\r';
	}
	return len;
}

/* One step with p[0..len). Returns the bytes used, and in *ret_go whether
 * another step makes sense. */
static size_t
step(struct session *s, const uint8_t *p, size_t len, bool *ret_go)
{
	size_t used = 0;

	*ret_go = true;
	switch (s->state) {
	case SS_MAIL:
		*ret_go = session_mail(s);
		return 0;
	case SS_BEGIN:
		*ret_go = session_begin(s);
		return 0;
	case SS_BDAT:
		if (s->txn->chunk_left == 0) {
			session_chunk_end(s);
			return 0;
		}
		break;
	case SS_CLOSED:
		*ret_go = false;
		return len; /* nobody reads it any more */
	case SS_COMMIT:
	case SS_AUTH_WAIT:
	case SS_STARTTLS:
		*ret_go = false;
		return 0;
	case SS_COMMAND:
	case SS_AUTH_LINE:
	case SS_SKIP:
	case SS_DATA:
		break;
	}
	if (len == 0) {
		(void)session_can_take(s);
		*ret_go = false;
		return 0;
	}
	if (s->state == SS_SKIP)
		used = skip_line(s, p, len);
	else if (s->state == SS_DATA)
		used = session_data(s, p, len);
	else if (s->state == SS_BDAT)
		used = session_bdat(s, p, len);
	else
		used = take_line(s, p, len);
	*ret_go = !s->blocked;
	return used;
}

bool
session_can_take(struct session *s)
{
	if (s->state != SS_DATA && s->state != SS_BDAT)
		return true;
	return session_data_room(s);
}

size_t
session_input(struct session *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t at = 0;
	bool go = true;

	s->blocked = false;
	while (go) {
		if (s->state != SS_CLOSED &&
		    buf_len(&s->out) >= SESSION_OUT_HIGH)
			break;
		at += step(s, at < len ? p + at : p, len - at, &go);
	}
	return at;
}

/* ---- events from elsewhere ------------------------------------------------- */

void
session_submit_done(
    struct session *s, uint64_t mid, const struct submit_done *m)
{
	struct txn *t = s->txn;
	struct smtp_status st;
	char text[64];

	if (t == NULL || t->mid != mid || !t->begun)
		return; /* we stopped waiting before */
	t->begun = false;
	if (smtp_status_parse(m->enhanced, strlen(m->enhanced), &st) == 0 ||
	    st.cls != m->code / 100)
		st = SMTP_STATUS((uint8_t)(m->code / 100), 0, 0);
	if (s->state == SS_COMMIT && m->result == SUBMIT_OK) {
		(void)snprintf(text, sizeof(text), "MID %llu queued",
		    (unsigned long long)mid);
		session_set_state(s, SS_COMMAND);
		session_txn_end(s, NULL);
		s->messages++;
		s->useful_ms = clock_mono_ms();
		s->junk = 0;
		session_reply(s, 250, SMTP_STATUS(2, 0, 0), text);
	} else if (m->code < 400 || m->result == SUBMIT_OK) {
		session_fail(s, 451, SMTP_STATUS(4, 3, 0),
		    "Queue gave an answer that makes no sense");
	} else {
		session_fail(s, m->code, st, m->text);
	}
	if (s->state == SS_COMMIT) {
		struct failure f = t->fail;

		session_set_state(s, SS_COMMAND);
		session_txn_end(s, f.text);
		session_reply(s, f.code, f.status, f.text);
	}
	if (s->draining && s->txn == NULL && s->state == SS_COMMAND)
		session_hang_up(s, SMTP_STATUS(4, 3, 2), "Shutting down");
}

void
session_queue_lost(struct session *s)
{
	static const char text[] = "Queue is not there, try again later";
	struct txn *t = s->txn;

	if (t == NULL || !t->begun)
		return;
	t->begun = false;
	if (s->state == SS_COMMIT) {
		/* in doubt: it may be on disk. A second copy is better than
		 * none (RFC 5321, 4.5.3.2.7 gives the client the same doubt) */
		session_set_state(s, SS_COMMAND);
		session_txn_end(s, text);
		session_reply(s, 451, SMTP_STATUS(4, 3, 0), text);
		if (s->draining)
			session_hang_up(
			    s, SMTP_STATUS(4, 3, 2), "Shutting down");
		return;
	}
	session_fail(s, 451, SMTP_STATUS(4, 3, 0), text);
}

static void
client_timeout(struct session *s)
{
	int64_t now = clock_mono_ms();

	session_hang_up(s, SMTP_STATUS(4, 4, 2),
	    now >= life_deadline_ms(s) ? "No message for too long, closing"
		: now < s->deadline_ms && now >= session_deadline_ms(s)
		? "Message data comes too slowly, closing connection"
		: "Timeout, closing connection");
}

static void
data_timeout(struct session *s)
{
	if (!s->blocked) {
		client_timeout(s);
		return;
	}
	/* it is the queue that is slow: the client gets its reply at the end */
	session_fail(
	    s, 451, SMTP_STATUS(4, 3, 0), "Queue is too slow, try again later");
	session_set_state(s, s->state);
}

void
session_timeout(struct session *s)
{
	switch (s->state) {
	case SS_CLOSED:
		break;
	case SS_STARTTLS:
		session_set_state(s, SS_CLOSED);
		break;
	case SS_DATA:
	case SS_BDAT:
		data_timeout(s);
		break;
	case SS_AUTH_WAIT:
		s->ops->auth_cancel(s->arg);
		session_auth_done(s, SESSION_AUTH_BUSY);
		break;
	case SS_MAIL:
		session_no_mid(s);
		break;
	case SS_BEGIN:
		session_fail(s, 451, SMTP_STATUS(4, 3, 0),
		    "Queue is too slow, try again later");
		(void)session_begin(s);
		break;
	case SS_COMMIT:
		/* in doubt; if it was kept after all, the log says so */
		session_txn_end(s, NULL);
		session_set_state(s, SS_COMMAND);
		session_reply(s, 451, SMTP_STATUS(4, 3, 0),
		    "Queue gives no answer, try again later");
		break;
	case SS_COMMAND:
	case SS_AUTH_LINE:
	case SS_SKIP:
		client_timeout(s);
		break;
	}
}

void
session_lost(struct session *s, const char *why)
{
	bool open = s->state != SS_CLOSED;

	if (s->state == SS_AUTH_WAIT)
		s->ops->auth_cancel(s->arg);
	session_txn_end(s, "Receiving aborted by sender");
	if (open)
		log_event(LOG_INFO, "smtp_lost",
		    &(struct log_fields){ .icid = s->c.icid, .reason = why },
		    "ICID %llu lost: %s", (unsigned long long)s->c.icid, why);
	session_set_state(s, SS_CLOSED);
}

void
session_drain(struct session *s, bool now)
{
	bool idle =
	    s->txn == NULL && (s->state == SS_COMMAND || s->state == SS_SKIP);

	s->draining = true;
	if (!s->started || s->state == SS_CLOSED || s->state == SS_COMMIT)
		return;
	if (s->state == SS_AUTH_WAIT) {
		if (!now)
			return;
		s->ops->auth_cancel(s->arg);
	}
	if (idle || now)
		session_hang_up(s, SMTP_STATUS(4, 3, 2), "Shutting down");
}
