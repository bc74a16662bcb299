/*
 * test_command.c - command lines: what is taken, what each part says, and the
 * reply that a refused one gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/smtp/command.h"
#include "lib/smtp/ehlo.h"

/* code 0: accepted. want is the command as show() writes it. */
static const struct {
	const char *in;
	int code;
	const char *status, *want;
} cases[] = {
	/* verbs, case, white space */
	{ "QUIT", 0, "", "QUIT" },
	{ "quit", 0, "", "QUIT" },
	{ "QuIt \t ", 0, "", "QUIT" },
	{ "RSET", 0, "", "RSET" },
	{ "DATA", 0, "", "DATA" },
	{ "STARTTLS", 0, "", "STARTTLS" },
	{ "NOOP", 0, "", "NOOP" },
	{ "NOOP anything goes", 0, "", "NOOP arg=anything goes" },
	{ "HELP", 0, "", "HELP" },
	{ "HELP mail", 0, "", "HELP arg=mail" },
	{ "VRFY fred", 0, "", "VRFY arg=fred" },
	{ "EXPN list", 0, "", "EXPN arg=list" },
	{ "", 500, "5.5.1", "?" },
	{ "   ", 500, "5.5.1", "?" },
	{ " QUIT", 500, "5.5.1", "?" },
	{ "FOO", 500, "5.5.1", "?" },
	{ "TURN", 500, "5.5.1", "?" },
	{ "QUITX", 500, "5.5.1", "?" },
	{ "QUI", 500, "5.5.1", "?" },
	{ "MAILFROM:<a@b>", 500, "5.5.1", "?" },
	{ "GET / HTTP/1.1", 500, "5.5.1", "?" },
	{ "QUIT now", 501, "5.5.4", "QUIT" },
	{ "RSET x", 501, "5.5.4", "RSET" },
	{ "DATA x", 501, "5.5.4", "DATA" },
	{ "STARTTLS x", 501, "5.5.4", "STARTTLS" },
	{ "VRFY", 501, "5.5.4", "VRFY" },
	{ "EXPN ", 501, "5.5.4", "EXPN" },
	{ "NOOP a\tb", 500, "5.5.2", "NOOP" },
	{ "NOOP \x01", 500, "5.5.2", "NOOP" },
	{ "NOOP \x7f", 500, "5.5.2", "NOOP" },
	{ "NOOP \xff", 501, "5.5.2", "NOOP" },
	{ "QUIT\r", 500, "5.5.2", "?" },
	{ "NOOP a\rb", 500, "5.5.2", "NOOP" },
	{ "NOOP a\nb", 500, "5.5.2", "NOOP" },

	/* HELO, EHLO */
	{ "EHLO client.example.com", 0, "", "EHLO arg=client.example.com" },
	{ "HELO client", 0, "", "HELO arg=client" },
	{ "EHLO [192.0.2.1]", 0, "", "EHLO arg=[192.0.2.1] literal" },
	{ "EHLO [IPv6:2001:db8::1]", 0, "",
	    "EHLO arg=[IPv6:2001:db8::1] literal" },
	{ "EHLO my_pc.example.com", 0, "", "EHLO arg=my_pc.example.com" },
	{ "EHLO  a", 0, "", "EHLO arg=a" },
	{ "EHLO", 501, "5.5.4", "EHLO" },
	{ "HELO", 501, "5.5.4", "HELO" },
	{ "EHLO a b", 501, "5.5.4", "EHLO" },
	{ "EHLO a..b", 501, "5.5.4", "EHLO" },
	{ "EHLO a.", 501, "5.5.4", "EHLO" },
	{ "EHLO -a", 501, "5.5.4", "EHLO" },
	{ "EHLO [1.2.3.4", 501, "5.5.4", "EHLO" },
	{ "EHLO [1.2.3.256]", 501, "5.5.4", "EHLO" },
	{ "EHLO [2001:db8::1]", 501, "5.5.4", "EHLO" },
	{ "EHLO m\xc3\xbcller.example", 501, "5.5.4", "EHLO" },
	{ "EHLO <a>", 501, "5.5.4", "EHLO" },

	/* MAIL: the path */
	{ "MAIL FROM:<a@b>", 0, "", "MAIL path=a@b" },
	{ "mail from:<A@B>", 0, "", "MAIL path=A@B" },
	{ "MAIL FROM:<>", 0, "", "MAIL null" },
	{ "MAIL FROM: <a@b>", 0, "", "MAIL path=a@b" },
	{ "MAIL FROM:   <a@b>", 0, "", "MAIL path=a@b" },
	{ "MAIL  FROM:<a@b>", 0, "", "MAIL path=a@b" },
	{ "MAIL FROM:<a@b>  ", 0, "", "MAIL path=a@b" },
	{ "MAIL FROM:<\"a b>\"@c>", 0, "", "MAIL path=\"a b>\"@c" },
	{ "MAIL FROM:<@x,@y.z:a@b>", 0, "", "MAIL path=a@b" },
	{ "MAIL FROM:<a@[192.0.2.1]>", 0, "", "MAIL path=a@[192.0.2.1]" },
	{ "MAIL FROM :<a@b>", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM<a@b>", 501, "5.5.4", "MAIL" },
	{ "MAIL TO:<a@b>", 501, "5.5.4", "MAIL" },
	{ "MAIL", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:a@b", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<a@b", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<a>", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<postmaster>", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<a@b>x", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<a@b>SIZE=1", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<<a@b>>", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:< a@b>", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<a@b >", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<a@b.>", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:Joe <a@b>", 501, "5.1.7", "MAIL" },
	{ "MAIL FROM:<@x,a@b>", 501, "5.1.7", "MAIL" },

	/* MAIL: parameters */
	{ "MAIL FROM:<a@b> SIZE=1000", 0, "", "MAIL path=a@b size=1000" },
	{ "MAIL FROM:<a@b> size=0", 0, "", "MAIL path=a@b size=0" },
	{ "MAIL FROM:<> SIZE=99999999999999999999", 0, "",
	    "MAIL null size=18446744073709551615" },
	{ "MAIL FROM:<a@b> SIZE=100000000000000000000", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> SIZE", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> SIZE=", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> SIZE=-1", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> SIZE=1k", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> SIZE=1 SIZE=1", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> BODY=7bit", 0, "", "MAIL path=a@b body=7BIT" },
	{ "MAIL FROM:<a@b> BODY=8BITMIME", 0, "",
	    "MAIL path=a@b body=8BITMIME" },
	{ "MAIL FROM:<a@b> BODY=BINARYMIME", 0, "",
	    "MAIL path=a@b body=BINARYMIME" },
	{ "MAIL FROM:<a@b> BODY=9BIT", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> SMTPUTF8", 0, "", "MAIL path=a@b utf8" },
	{ "MAIL FROM:<a@b> SMTPUTF8=1", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> REQUIRETLS", 0, "", "MAIL path=a@b requiretls" },
	{ "MAIL FROM:<a@b> REQUIRETLS=x", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> REQUIRETLS REQUIRETLS", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> RET=full ENVID=QQ+2B314", 0, "",
	    "MAIL path=a@b ret=FULL envid=QQ+2B314" },
	{ "MAIL FROM:<a@b> RET=HDRS", 0, "", "MAIL path=a@b ret=HDRS" },
	{ "MAIL FROM:<a@b> RET=BODY", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> RET=FULL RET=FULL", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> ENVID=", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> ENVID=a+2b", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> ENVID=a+0D+0Ab", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> ENVID=a+00", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> ENVID=a+C3", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> ENVID=a=b", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> AUTH=<>", 0, "", "MAIL path=a@b auth=<>" },
	{ "MAIL FROM:<a@b> AUTH=e+3Dmc2@example.com", 0, "",
	    "MAIL path=a@b auth=e+3Dmc2@example.com" },
	{ "MAIL FROM:<a@b> AUTH=x", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> FOO", 555, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> FOO=bar", 555, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> NOTIFY=NEVER", 555, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> -X=1", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b> =1", 501, "5.5.4", "MAIL" },
	{ "MAIL FROM:<a@b>  SIZE=1   RET=FULL ", 0, "",
	    "MAIL path=a@b size=1 ret=FULL" },
	{ "MAIL FROM:<> BODY=8BITMIME SIZE=5 SMTPUTF8 RET=HDRS ENVID=x "
	  "AUTH=<> REQUIRETLS",
	    0, "",
	    "MAIL null size=5 body=8BITMIME utf8 requiretls ret=HDRS envid=x "
	    "auth=<>" },

	/* UTF-8 */
	{ "MAIL FROM:<m\xc3\xbcller@example.com> SMTPUTF8", 0, "",
	    "MAIL path=m\xc3\xbcller@example.com utf8" },
	{ "MAIL FROM:<m\xc3\xbcller@example.com>", 553, "5.6.7", "MAIL" },
	{ "MAIL FROM:<a@m\xc3\xbcller.example>", 553, "5.6.7", "MAIL" },
	{ "MAIL FROM:<m\xfcller@example.com> SMTPUTF8", 501, "5.5.2", "MAIL" },
	{ "MAIL FROM:<m\xc3\xbcller@example.com> SIZE=x", 501, "5.5.4",
	    "MAIL" },

	/* RCPT */
	{ "RCPT TO:<a@b>", 0, "", "RCPT path=a@b" },
	{ "rcpt to: <a@b>", 0, "", "RCPT path=a@b" },
	{ "RCPT TO:<Postmaster>", 0, "", "RCPT path=Postmaster postmaster" },
	{ "RCPT TO:<postmaster@b>", 0, "", "RCPT path=postmaster@b" },
	{ "RCPT TO:<@r:a@b>", 0, "", "RCPT path=a@b" },
	{ "RCPT TO:<>", 501, "5.1.3", "RCPT" },
	{ "RCPT TO:<a>", 501, "5.1.3", "RCPT" },
	{ "RCPT TO:a@b", 501, "5.1.3", "RCPT" },
	{ "RCPT TO:<a@b>,<c@d>", 501, "5.1.3", "RCPT" },
	{ "RCPT FROM:<a@b>", 501, "5.5.4", "RCPT" },
	{ "RCPT", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> NOTIFY=NEVER", 0, "", "RCPT path=a@b notify=NEVER" },
	{ "RCPT TO:<a@b> NOTIFY=success,DELAY", 0, "",
	    "RCPT path=a@b notify=SUCCESS,DELAY" },
	{ "RCPT TO:<a@b> NOTIFY=DELAY,FAILURE,SUCCESS", 0, "",
	    "RCPT path=a@b notify=SUCCESS,FAILURE,DELAY" },
	{ "RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> NOTIFY=", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> NOTIFY=SUCCESS,", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> NOTIFY=,SUCCESS", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> NOTIFY=ALWAYS", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> ORCPT=rfc822;a+2Bc@b", 0, "",
	    "RCPT path=a@b orcpt=rfc822;a+2Bc@b" },
	{ "RCPT TO:<a@b> ORCPT=utf-8;\\x{E9}@b", 0, "",
	    "RCPT path=a@b orcpt=utf-8;\\x{E9}@b" },
	{ "RCPT TO:<a@b> ORCPT=rfc822;", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> ORCPT=;a@b", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> ORCPT=a@b", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> ORCPT=rfc822;a+0Ab", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> ORCPT=rf c822;a", 501, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> SIZE=1", 555, "5.5.4", "RCPT" },
	{ "RCPT TO:<a@b> X-Y=z", 555, "5.5.4", "RCPT" },
	{ "RCPT TO:<m\xc3\xbcller@example.com>", 553, "5.6.7", "RCPT" },
	{ "RCPT TO:<a@b> ORCPT=utf-8;\xc3\xa9@b", 501, "5.5.4", "RCPT" },

	/* BDAT */
	{ "BDAT 0 LAST", 0, "", "BDAT 0 last" },
	{ "BDAT 1000", 0, "", "BDAT 1000" },
	{ "bdat 86 last", 0, "", "BDAT 86 last" },
	{ "BDAT", 501, "5.5.4", "BDAT" },
	{ "BDAT x", 501, "5.5.4", "BDAT" },
	{ "BDAT -1", 501, "5.5.4", "BDAT" },
	{ "BDAT +1", 501, "5.5.4", "BDAT" },
	{ "BDAT 0x10", 501, "5.5.4", "BDAT" },
	{ "BDAT 1 FIRST", 501, "5.5.4", "BDAT" },
	{ "BDAT 1 LAST x", 501, "5.5.4", "BDAT" },
	{ "BDAT LAST", 501, "5.5.4", "BDAT" },
	{ "BDAT 18446744073709551615", 501, "5.5.4", "BDAT" },
	{ "BDAT 99999999999999999999", 501, "5.5.4", "BDAT" },

	/* AUTH */
	{ "AUTH PLAIN", 0, "", "AUTH arg=PLAIN" },
	{ "AUTH plain AGEAYg==", 0, "", "AUTH arg=plain initial=AGEAYg==" },
	{ "AUTH EXTERNAL =", 0, "", "AUTH arg=EXTERNAL initial=" },
	{ "AUTH SCRAM-SHA-256 abcd", 0, "",
	    "AUTH arg=SCRAM-SHA-256 initial=abcd" },
	{ "AUTH", 501, "5.5.4", "AUTH" },
	{ "AUTH PL@IN", 501, "5.5.4", "AUTH" },
	{ "AUTH PLAIN abc", 501, "5.5.2", "AUTH" },
	{ "AUTH PLAIN ab=c", 501, "5.5.2", "AUTH" },
	{ "AUTH PLAIN a===", 501, "5.5.2", "AUTH" },
	{ "AUTH PLAIN ====", 501, "5.5.2", "AUTH" },
	{ "AUTH PLAIN abcd efgh", 501, "5.5.4", "AUTH" },
	{ "AUTH ABCDEFGHIJKLMNOPQRSTU", 501, "5.5.4", "AUTH" },
};

static void
put(char *out, size_t cap, const char *label, struct smtp_span s)
{
	size_t n = strlen(out);

	if (s.p != NULL)
		(void)snprintf(
		    out + n, cap - n, " %s=%.*s", label, (int)s.len, s.p);
}

/* A command as one line of text, for comparing. */
static void
show(const struct smtp_command *c, char *out, size_t cap)
{
	static const char *const rets[] = { "", " ret=FULL", " ret=HDRS" };
	struct smtp_span path = { c->path.len > 0 ? c->path.text : NULL,
		c->path.len };
	char notify[32];
	size_t n;

	(void)snprintf(out, cap, "%s", smtp_verb_name(c->verb));
	put(out, cap, "arg", c->arg);
	put(out, cap, "initial", c->initial);
	put(out, cap, "path", path);
	n = strlen(out);
	n += (size_t)snprintf(out + n, cap - n, "%s%s%s",
	    c->arg_literal ? " literal" : "", c->null_path ? " null" : "",
	    c->postmaster ? " postmaster" : "");
	if (c->has_size)
		n += (size_t)snprintf(out + n, cap - n, " size=%llu",
		    (unsigned long long)c->size);
	if (c->body != SMTP_BODY_NONE)
		n += (size_t)snprintf(
		    out + n, cap - n, " body=%s", smtp_body_name(c->body));
	n += (size_t)snprintf(out + n, cap - n, "%s%s%s",
	    c->smtputf8 ? " utf8" : "", c->requiretls ? " requiretls" : "",
	    rets[c->ret]);
	put(out, cap, "envid", c->envid);
	put(out, cap, "auth", c->auth);
	n = strlen(out);
	if (c->notify != 0)
		n += (size_t)snprintf(out + n, cap - n, " notify=%s",
		    smtp_notify_format(c->notify, notify));
	put(out, cap, "orcpt", c->orcpt);
	n = strlen(out);
	if (c->verb == SMTP_VERB_BDAT)
		(void)snprintf(out + n, cap - n, " %llu%s",
		    (unsigned long long)c->chunk_len, c->last ? " last" : "");
}

static void
test_table(void **state)
{
	char text[4096], status[SMTP_STATUS_TEXT], *line;
	struct smtp_refusal no;
	struct smtp_command c;
	size_t i, n;
	int r;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* exactly as large as it is: reading on would be found */
		n = strlen(cases[i].in);
		line = malloc(n + (n == 0));
		memcpy(line, cases[i].in, n);
		r = smtp_command_parse(line, n, SMTP_EXT_ALL, false, &c, &no);
		if (no.code != cases[i].code)
			fail_msg("%s: %d %s, wanted %d", cases[i].in, no.code,
			    no.text == NULL ? "" : no.text, cases[i].code);
		assert_int_equal(r, no.code == 0 ? 0 : PE_SYNTAX);
		if (strcmp(smtp_status_format(no.status, status),
			cases[i].status) != 0)
			fail_msg("%s: status %s", cases[i].in, status);
		if (no.code == 0) {
			show(&c, text, sizeof(text));
			if (strcmp(text, cases[i].want) != 0)
				fail_msg("%s: %s", cases[i].in, text);
		} else {
			assert_non_null(no.text);
			assert_string_equal(
			    smtp_verb_name(c.verb), cases[i].want);
		}
		free(line);
	}
}

static int
code_of(const char *line, size_t len, uint32_t offered, bool utf8)
{
	struct smtp_refusal no;
	struct smtp_command c;

	(void)smtp_command_parse(line, len, offered, utf8, &c, &no);
	return no.code;
}

/* What was not offered is not known. */
static void
test_offered(void **state)
{
	static const struct {
		const char *in;
		uint32_t offered;
		int code;
	} rows[] = {
		{ "STARTTLS", SMTP_EXT_ALL & ~SMTP_EXT_STARTTLS, 502 },
		{ "AUTH PLAIN", SMTP_EXT_ALL & ~SMTP_EXT_AUTH, 502 },
		{ "BDAT 1", SMTP_EXT_ALL & ~SMTP_EXT_CHUNKING, 502 },
		{ "MAIL FROM:<a@b> SIZE=1", SMTP_EXT_ALL & ~SMTP_EXT_SIZE,
		    555 },
		{ "MAIL FROM:<a@b> RET=FULL", SMTP_EXT_ALL & ~SMTP_EXT_DSN,
		    555 },
		{ "RCPT TO:<a@b> NOTIFY=NEVER", SMTP_EXT_ALL & ~SMTP_EXT_DSN,
		    555 },
		{ "MAIL FROM:<a@b> SMTPUTF8", SMTP_EXT_ALL & ~SMTP_EXT_SMTPUTF8,
		    555 },
		{ "MAIL FROM:<a@b> REQUIRETLS",
		    SMTP_EXT_ALL & ~SMTP_EXT_REQUIRETLS, 555 },
		{ "MAIL FROM:<a@b> BODY=BINARYMIME",
		    SMTP_EXT_ALL & ~SMTP_EXT_BINARYMIME, 501 },
		{ "MAIL FROM:<a@b> BODY=8BITMIME",
		    SMTP_EXT_ALL & ~SMTP_EXT_BINARYMIME, 0 },
		{ "MAIL FROM:<a@b> AUTH=<>", SMTP_EXT_ALL & ~SMTP_EXT_AUTH, 0 },
		{ "MAIL FROM:<a@b> AUTH=<>", 0, 555 },
		{ "MAIL FROM:<a@b>", 0, 0 },
	};
	static const char utf8[] = "RCPT TO:<m\xc3\xbcller@m\xc3\xbc.example>";
	static const char orcpt[] = "RCPT TO:<a@b> ORCPT=utf-8;\xc3\xa9@b";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(code_of(rows[i].in, strlen(rows[i].in),
				     rows[i].offered, false),
		    rows[i].code);
	assert_int_equal(code_of(utf8, strlen(utf8), SMTP_EXT_ALL, true), 0);
	assert_int_equal(code_of(orcpt, strlen(orcpt), SMTP_EXT_ALL, true), 0);
}

/* NUL within a line, and each limit from both sides. */
static void
test_limits(void **state)
{
	char line[20000];
	size_t n;

	(void)state;
	assert_int_equal(code_of("NOOP\0x", 6, SMTP_EXT_ALL, false), 500);
	assert_int_equal(
	    code_of("MAIL FROM:<a\0@b>", 16, SMTP_EXT_ALL, false), 500);
	assert_int_equal(code_of("QUIT\0", 5, SMTP_EXT_ALL, false), 500);

	memset(line, 'x', sizeof(line));
	memcpy(line, "NOOP ", 5);
	assert_int_equal(code_of(line, SMTP_LINE_MAX, SMTP_EXT_ALL, false), 0);
	assert_int_equal(
	    code_of(line, SMTP_LINE_MAX + 1, SMTP_EXT_ALL, false), 500);
	assert_int_equal(code_of(line, sizeof(line), SMTP_EXT_ALL, false), 500);
	memcpy(line, "AUTH X ", 7);
	memset(line + 7, 'A', sizeof(line) - 7);
	assert_int_equal(code_of(line, 7 + 12276, SMTP_EXT_ALL, false), 0);
	assert_int_equal(code_of(line, 7 + 12280, SMTP_EXT_ALL, false), 500);

	/* a path of 256, then 257 */
	n = (size_t)sprintf(line, "MAIL FROM:<%064d@", 0);
	while (n < 10 + 256 - 2 - 64) {
		memset(line + n, 'd', 63);
		line[n + 63] = '.';
		n += 64;
	}
	n = 10 + 256 - 1;
	line[n] = '>';
	assert_int_equal(code_of(line, n + 1, SMTP_EXT_ALL, false), 0);
	line[n] = 'd';
	line[n + 1] = '>';
	assert_int_equal(code_of(line, n + 2, SMTP_EXT_ALL, false), 501);

	/* ENVID of 100, ORCPT of 500 */
	n = (size_t)sprintf(line, "MAIL FROM:<> ENVID=%0100d", 0);
	assert_int_equal(code_of(line, n, SMTP_EXT_ALL, false), 0);
	n = (size_t)sprintf(line, "MAIL FROM:<> ENVID=%0101d", 0);
	assert_int_equal(code_of(line, n, SMTP_EXT_ALL, false), 501);
	n = (size_t)sprintf(line, "RCPT TO:<a@b> ORCPT=x;%0498d", 0);
	assert_int_equal(code_of(line, n, SMTP_EXT_ALL, false), 0);
	n = (size_t)sprintf(line, "RCPT TO:<a@b> ORCPT=x;%0499d", 0);
	assert_int_equal(code_of(line, n, SMTP_EXT_ALL, false), 501);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_offered),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
