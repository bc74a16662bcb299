/*
 * session_auth.c - the AUTH dialogue: PLAIN and LOGIN (RFC 4954, 4616).
 *
 * Called by session.c. The check itself is somewhere else (ops->auth). Never
 * logs a password, and wipes every copy it makes.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "smtpd/session_int.h"

#define ST SMTP_STATUS

enum { CREDENTIAL_MAX = 1024 }; /* of the three parts of PLAIN together */

enum { STEP_NONE, STEP_PLAIN, STEP_LOGIN_USER, STEP_LOGIN_PASSWORD };

/* ---- base64, strict (AUTH-02) ---------------------------------------------- */

static int
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Padding only at the end and complete, no bits left over. Length, or -1 when
 * it is no base64 or longer than cap. */
static ssize_t
decode(const char *in, size_t len, char *out, size_t cap)
{
	size_t i, n = 0, pad = 0;
	uint32_t bits = 0;
	int d;

	if (len % 4 != 0)
		return -1;
	while (pad < 2 && len > 0 && in[len - 1 - pad] == '=')
		pad++;
	for (i = 0; i < len - pad; i++) {
		d = digit(in[i]);
		if (d < 0)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		if (i % 4 == 0)
			continue;
		if (n == cap)
			return -1;
		out[n++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
	}
	if ((pad == 1 && (bits & 3) != 0) || (pad == 2 && (bits & 15) != 0))
		return -1;
	return (ssize_t)n;
}

/* ---- the end of it --------------------------------------------------------- */

static void
stop(struct session *s)
{
	s->auth_step = STEP_NONE;
	if (s->state != SS_CLOSED)
		session_set_state(s, SS_COMMAND);
	if (!s->authenticated) {
		free(s->user);
		s->user = NULL;
	}
}

static void
bad(struct session *s, const char *text)
{
	stop(s);
	session_mistake(s, 501, ST(5, 5, 2), text);
}

static void
succeeded(struct session *s)
{
	s->authenticated = true;
	s->may_relay = true;
	stop(s);
	log_event(LOG_INFO, "relay",
	    &(struct log_fields){ .icid = s->c.icid, .address = s->c.address },
	    "ICID %llu RELAY listener %s auth '%s'",
	    (unsigned long long)s->c.icid, s->c.listener->name, LOG_Q(s->user));
	session_reply(s, 235, ST(2, 7, 0), "Authentication successful");
}

static void
failed(struct session *s)
{
	log_event(LOG_INFO, "auth_failed",
	    &(struct log_fields){ .icid = s->c.icid, .address = s->c.address },
	    "ICID %llu authentication failed for '%s' from %s",
	    (unsigned long long)s->c.icid, LOG_Q(s->user), s->c.address);
	stop(s);
	if (++s->auth_failures >= AUTH_FAILURES_MAX)
		session_hang_up(
		    s, ST(4, 7, 0), "Too many failed authentications");
	else
		session_mistake(
		    s, 535, ST(5, 7, 8), "Authentication credentials invalid");
}

void
session_auth_done(struct session *s, enum session_auth result)
{
	if (s->state != SS_AUTH_WAIT && s->auth_step == STEP_NONE)
		return; /* nobody waits any more */
	switch (result) {
	case SESSION_AUTH_OK:
		succeeded(s);
		break;
	case SESSION_AUTH_FAILED:
		failed(s);
		break;
	case SESSION_AUTH_BUSY:
	case SESSION_AUTH_PENDING:
		stop(s);
		s->junk++; /* who asks again and again is no client */
		session_reply(s, 454, ST(4, 7, 0),
		    "Temporary authentication failure, try again later");
		break;
	}
	if (s->draining && s->state == SS_COMMAND)
		session_hang_up(s, ST(4, 3, 2), "Shutting down");
}

/* user is s->user; password is terminated, and wiped by the caller. */
static void
check(struct session *s, const char *password)
{
	enum session_auth result;

	if (s->user[0] == '\0' || password[0] == '\0') {
		failed(s);
		return;
	}
	result = s->ops->auth(s->arg, s->user, password);
	if (result == SESSION_AUTH_PENDING)
		session_set_state(s, SS_AUTH_WAIT);
	else
		session_auth_done(s, result);
}

/* ---- PLAIN, LOGIN ---------------------------------------------------------- */

/* [authzid] NUL authcid NUL passwd, in text[0..len), which is followed by a
 * NUL. */
static void
plain(struct session *s, const char *text, size_t len)
{
	const char *user = memchr(text, '\0', len), *password;

	password = user == NULL
	    ? NULL
	    : memchr(user + 1, '\0', len - (size_t)(user + 1 - text));
	if (password == NULL ||
	    strlen(password + 1) != len - (size_t)(password + 1 - text)) {
		bad(s, "Malformed PLAIN response");
		return;
	}
	user++;
	password++;
	free(s->user);
	s->user = strdup(user);
	if (s->user == NULL)
		session_auth_done(s, SESSION_AUTH_BUSY);
	else if (text[0] != '\0' && strcmp(text, user) != 0)
		failed(s); /* acting for somebody else is not offered */
	else
		check(s, password);
}

static void
response(struct session *s, const char *in, size_t len)
{
	char text[CREDENTIAL_MAX + 1];
	ssize_t n = decode(in, len, text, CREDENTIAL_MAX);

	if (n < 0) {
		bad(s, "Response is not base64, or too long");
		goto out;
	}
	text[n] = '\0';
	if (s->auth_step == STEP_PLAIN) {
		plain(s, text, (size_t)n);
		goto out;
	}
	if (strlen(text) != (size_t)n) {
		bad(s, "NUL in the response");
		goto out;
	}
	if (s->auth_step == STEP_LOGIN_PASSWORD) {
		check(s, text);
		goto out;
	}
	free(s->user);
	s->user = strdup(text);
	if (s->user == NULL) {
		session_auth_done(s, SESSION_AUTH_BUSY);
		goto out;
	}
	s->auth_step = STEP_LOGIN_PASSWORD;
	session_reply(s, 334, ST(0, 0, 0), "UGFzc3dvcmQ6");
	session_set_state(s, SS_AUTH_LINE);
out:
	explicit_bzero(text, sizeof(text));
}

void
session_auth_start(struct session *s, const struct smtp_command *cmd)
{
	bool is_plain;

	if (s->authenticated) {
		session_mistake(s, 503, ST(5, 5, 1), "Authenticated already");
		return;
	}
	if (s->txn != NULL) {
		session_mistake(
		    s, 503, ST(5, 5, 1), "Not within a transaction");
		return;
	}
	is_plain =
	    cmd->arg.len == 5 && strncasecmp(cmd->arg.p, "PLAIN", 5) == 0;
	if (!is_plain &&
	    !(cmd->arg.len == 5 && strncasecmp(cmd->arg.p, "LOGIN", 5) == 0)) {
		session_mistake(
		    s, 504, ST(5, 5, 4), "Mechanism is PLAIN or LOGIN");
		return;
	}
	s->auth_step = is_plain ? STEP_PLAIN : STEP_LOGIN_USER;
	if (cmd->initial.p != NULL) {
		response(s, cmd->initial.p, cmd->initial.len);
		return;
	}
	session_reply(s, 334, ST(0, 0, 0), is_plain ? "" : "VXNlcm5hbWU6");
	session_set_state(s, SS_AUTH_LINE);
}

void
session_auth_line(struct session *s, const char *line, size_t len)
{
	if (len == 1 && line[0] == '*') {
		stop(s);
		session_mistake(
		    s, 501, ST(5, 7, 0), "Authentication cancelled");
		return;
	}
	response(s, line, len);
}
