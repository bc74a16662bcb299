/*
 * fuzz_smtp_command.c - command lines of clients. Holds: a refusal is a whole
 * reply; all spans lie within the line; what was read, written anew, reads the
 * same; nothing accepted can break a line.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/smtp/command.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int good)
{
	if (!good)
		abort();
}

static void
check_span(struct smtp_span s, const char *line, size_t len)
{
	if (s.p == NULL) {
		check(s.len == 0);
		return;
	}
	check(s.p >= line && s.p + s.len <= line + len);
}

static bool
same(struct smtp_span a, struct smtp_span b)
{
	return (a.p == NULL) == (b.p == NULL) && a.len == b.len &&
	    (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* MAIL and RCPT as delivery would write them. */
static size_t
rewrite(const struct smtp_command *c, char *out, size_t cap)
{
	char notify[32];
	int n;

	if (c->verb == SMTP_VERB_RCPT) {
		(void)smtp_notify_format(c->notify, notify);
		n = snprintf(out, cap, "RCPT TO:<%.*s>%s%s%s%.*s",
		    (int)c->path.len, c->path.text, c->notify ? " NOTIFY=" : "",
		    notify, c->orcpt.p ? " ORCPT=" : "", (int)c->orcpt.len,
		    c->orcpt.p ? c->orcpt.p : "");
	} else {
		n = snprintf(out, cap, "MAIL FROM:<%.*s>%s%s%s%s%s%s%.*s%s%.*s",
		    (int)c->path.len, c->path.len ? c->path.text : "",
		    c->body ? " BODY=" : "",
		    c->body ? smtp_body_name(c->body) : "",
		    c->smtputf8 ? " SMTPUTF8" : "",
		    c->requiretls ? " REQUIRETLS" : "",
		    c->ret == SMTP_RET_FULL	  ? " RET=FULL"
			: c->ret == SMTP_RET_HDRS ? " RET=HDRS"
						  : "",
		    c->envid.p ? " ENVID=" : "", (int)c->envid.len,
		    c->envid.p ? c->envid.p : "", c->auth.p ? " AUTH=" : "",
		    (int)c->auth.len, c->auth.p ? c->auth.p : "");
	}
	check(n > 0 && (size_t)n < cap);
	return (size_t)n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_command c, again;
	struct smtp_refusal no;
	char out[4096], *line;
	size_t len;
	bool utf8;
	int r;

	if (size < 1)
		return 0;
	utf8 = data[0] & 1;
	len = size - 1;
	line = malloc(len + (len == 0));
	if (line == NULL)
		return 0;
	memcpy(line, data + 1, len);
	r = smtp_command_parse(line, len, SMTP_EXT_ALL, utf8, &c, &no);
	check(c.verb < SMTP_VERB_COUNT);
	if (r < 0) {
		check(no.code >= 500 && no.code <= 599 && no.text != NULL &&
		    no.status.cls == 5);
		goto out;
	}
	check(r == 0 && no.code == 0 && c.verb != SMTP_VERB_NONE);
	check(len <= SMTP_LINE_AUTH_MAX);
	check(memchr(line, '\0', len) == NULL &&
	    memchr(line, '\r', len) == NULL && memchr(line, '\n', len) == NULL);
	check_span(c.arg, line, len);
	check_span(c.initial, line, len);
	check_span(c.envid, line, len);
	check_span(c.auth, line, len);
	check_span(c.orcpt, line, len);
	check(c.envid.len <= SMTP_ENVID_MAX && c.orcpt.len <= SMTP_ORCPT_MAX);
	if (c.envid.p != NULL)
		check(smtp_xtext_valid(c.envid.p, c.envid.len));
	if (c.verb != SMTP_VERB_MAIL && c.verb != SMTP_VERB_RCPT)
		goto out;
	check(c.path.len <= ADDR_MAX && c.path.local_len <= ADDR_LOCAL_MAX);
	check((c.notify & SMTP_NOTIFY_NEVER) == 0 ||
	    c.notify == SMTP_NOTIFY_NEVER);
	if (c.verb == SMTP_VERB_MAIL)
		check(c.smtputf8 || !(c.path.local_utf8 || c.path.domain_utf8));
	len = rewrite(&c, out, sizeof(out));
	r = smtp_command_parse(out, len, SMTP_EXT_ALL, utf8, &again, &no);
	check(r == 0 && again.verb == c.verb);
	check(again.path.len == c.path.len &&
	    (c.path.len == 0 ||
		memcmp(again.path.text, c.path.text, c.path.len) == 0));
	check(again.body == c.body && again.ret == c.ret &&
	    again.smtputf8 == c.smtputf8 && again.requiretls == c.requiretls &&
	    again.notify == c.notify && again.null_path == c.null_path &&
	    again.postmaster == c.postmaster);
	check(same(again.envid, c.envid) && same(again.auth, c.auth) &&
	    same(again.orcpt, c.orcpt));
out:
	free(line);
	return 0;
}
