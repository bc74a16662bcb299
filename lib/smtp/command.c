/*
 * command.c - one command line of a client, taken apart and checked. Pure.
 *
 * Called by smtpd, by tests and the fuzzer. Never keeps anything: all results
 * point into the line. Sources: see the header.
 */
#include "lib/smtp/command.h"
#include "lib/base/err.h"
#include "lib/mail/utf8.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/xtext.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One parse under way. */
struct parse {
	const char *p;	 /* what is left of the line */
	const char *end; /* without white space at its end */
	uint32_t offered;
	bool utf8_rcpt;
	uint32_t given; /* MAIL and RCPT parameters seen, by index */
	struct smtp_command *cmd;
	struct smtp_refusal *no;
};

static int
refuse(struct parse *ps, int code, struct smtp_status st, const char *text)
{
	ps->no->code = code;
	ps->no->status = st;
	ps->no->text = text;
	return PE_SYNTAX;
}

static int
refuse_args(struct parse *ps, const char *text)
{
	return refuse(ps, 501, SMTP_STATUS(5, 5, 4), text);
}

static bool
span_is(struct smtp_span s, const char *name)
{
	return s.len == strlen(name) && strncasecmp(s.p, name, s.len) == 0;
}

static void
skip_spaces(struct parse *ps)
{
	while (ps->p < ps->end && *ps->p == ' ')
		ps->p++;
}

/* The next word up to a space; len 0 at the end. */
static struct smtp_span
take_word(struct parse *ps)
{
	struct smtp_span s;

	skip_spaces(ps);
	s.p = ps->p;
	while (ps->p < ps->end && *ps->p != ' ')
		ps->p++;
	s.len = (size_t)(ps->p - s.p);
	return s;
}

/* 1 to 20 digits. More than 64 bits is UINT64_MAX. */
static bool
take_u64(struct smtp_span s, uint64_t *ret_value)
{
	uint64_t value = 0, digit;
	size_t i;

	if (s.len == 0 || s.len > 20)
		return false;
	for (i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		digit = (uint64_t)(s.p[i] - '0');
		if (value > (UINT64_MAX - digit) / 10) {
			*ret_value = UINT64_MAX;
			return true; /* the 20th digit: the last one */
		}
		value = value * 10 + digit;
	}
	*ret_value = value;
	return true;
}

/* ---- parameters of MAIL and RCPT ---- */

static const char *
param_size(struct smtp_command *c, struct smtp_span v)
{
	c->has_size = true;
	return take_u64(v, &c->size) ? NULL : "SIZE wants up to 20 digits";
}

static const char *
param_body(struct smtp_command *c, struct smtp_span v)
{
	if (span_is(v, "7BIT"))
		c->body = SMTP_BODY_7BIT;
	else if (span_is(v, "8BITMIME"))
		c->body = SMTP_BODY_8BIT;
	else if (span_is(v, "BINARYMIME"))
		c->body = SMTP_BODY_BINARY;
	else
		return "BODY wants 7BIT, 8BITMIME or BINARYMIME";
	return NULL;
}

static const char *
param_smtputf8(struct smtp_command *c, struct smtp_span v)
{
	(void)v;
	c->smtputf8 = true;
	return NULL;
}

static const char *
param_requiretls(struct smtp_command *c, struct smtp_span v)
{
	(void)v;
	c->requiretls = true;
	return NULL;
}

static const char *
param_ret(struct smtp_command *c, struct smtp_span v)
{
	if (span_is(v, "FULL"))
		c->ret = SMTP_RET_FULL;
	else if (span_is(v, "HDRS"))
		c->ret = SMTP_RET_HDRS;
	else
		return "RET wants FULL or HDRS";
	return NULL;
}

/* xtext that decodes to printable ASCII and spaces (RFC 3461, 4.2 and 4.4) */
static bool
printable_xtext(struct smtp_span v)
{
	char text[SMTP_ORCPT_MAX + 1];
	ssize_t n, i;

	n = smtp_xtext_decode(v.p, v.len, text, sizeof(text));
	for (i = 0; i < n; i++) {
		if ((text[i] < ' ' || text[i] > '~') && text[i] != '\t')
			return false;
	}
	return n >= 0;
}

static const char *
param_envid(struct smtp_command *c, struct smtp_span v)
{
	if (v.len > SMTP_ENVID_MAX)
		return "ENVID is longer than 100 characters";
	if (!printable_xtext(v))
		return "ENVID is no xtext of printable characters";
	c->envid = v;
	return NULL;
}

static const char *
param_auth(struct smtp_command *c, struct smtp_span v)
{
	char text[SMTP_AUTH_PARAM_MAX + 1];
	struct addr a;
	ssize_t n;

	if (v.len > SMTP_AUTH_PARAM_MAX)
		return "AUTH= is longer than 500 characters";
	/* RFC 4954, 5: the xtext of a mailbox, or "<>" */
	if (!span_is(v, "<>")) {
		n = smtp_xtext_decode(v.p, v.len, text, sizeof(text));
		if (n < 0 || addr_parse(text, (size_t)n, ADDR_UTF8, &a, NULL))
			return "AUTH= wants <> or the xtext of a mailbox";
	}
	c->auth = v;
	return NULL;
}

static const char *
param_notify(struct smtp_command *c, struct smtp_span v)
{
	static const char *const names[] = { "NEVER", "SUCCESS", "FAILURE",
		"DELAY" };
	struct smtp_span word;
	unsigned bit, i;
	size_t at = 0;

	for (;;) {
		word.p = v.p + at;
		while (at < v.len && v.p[at] != ',')
			at++;
		word.len = (size_t)(v.p + at - word.p);
		bit = 0;
		for (i = 0; i < 4; i++) {
			if (span_is(word, names[i]))
				bit = 1u << i;
		}
		if (bit == 0)
			return "NOTIFY wants NEVER, or SUCCESS, FAILURE, DELAY";
		c->notify |= bit;
		if (at >= v.len)
			break;
		at++; /* the comma */
	}
	if ((c->notify & SMTP_NOTIFY_NEVER) && c->notify != SMTP_NOTIFY_NEVER)
		return "NOTIFY=NEVER stands alone";
	return NULL;
}

/* addr-type: an atom (RFC 3461, 4.2; the registered ones are words) */
static bool
is_addr_type(const char *p, size_t len)
{
	size_t i;

	if (len == 0)
		return false;
	for (i = 0; i < len; i++) {
		if (!((p[i] >= 'a' && p[i] <= 'z') ||
			(p[i] >= 'A' && p[i] <= 'Z') ||
			(p[i] >= '0' && p[i] <= '9') || p[i] == '-'))
			return false;
	}
	return true;
}

static const char *
param_orcpt(struct smtp_command *c, struct smtp_span v)
{
	char text[SMTP_ORCPT_MAX + 1];
	struct smtp_span type = v, value;
	const char *semi = memchr(v.p, ';', v.len);

	if (v.len > SMTP_ORCPT_MAX)
		return "ORCPT is longer than 500 characters";
	if (semi == NULL || !is_addr_type(v.p, (size_t)(semi - v.p)))
		return "ORCPT wants a type, a semicolon and an address";
	type.len = (size_t)(semi - v.p);
	value.p = semi + 1;
	value.len = v.len - type.len - 1;
	if (value.len == 0)
		return "ORCPT has no address";
	/* utf-8 has an encoding of its own (RFC 6533, 3), and its ASCII form
	 * may come as xtext too */
	if (!printable_xtext(value) &&
	    !(span_is(type, "utf-8") &&
		smtp_utf8_addr_decode(value.p, value.len, text, sizeof(text)) >
		    0))
		return "ORCPT is no xtext of printable characters";
	c->orcpt = v;
	return NULL;
}

enum { VALUE_NONE, VALUE_WANTED };

static const struct param {
	const char *name;
	enum smtp_verb verb;
	uint32_t ext; /* offered by any of these */
	int value;
	const char *(*read)(struct smtp_command *, struct smtp_span);
} params[] = {
	{ "SIZE", SMTP_VERB_MAIL, SMTP_EXT_SIZE, VALUE_WANTED, param_size },
	{ "BODY", SMTP_VERB_MAIL, SMTP_EXT_8BITMIME | SMTP_EXT_BINARYMIME,
	    VALUE_WANTED, param_body },
	{ "SMTPUTF8", SMTP_VERB_MAIL, SMTP_EXT_SMTPUTF8, VALUE_NONE,
	    param_smtputf8 },
	{ "REQUIRETLS", SMTP_VERB_MAIL, SMTP_EXT_REQUIRETLS, VALUE_NONE,
	    param_requiretls },
	{ "RET", SMTP_VERB_MAIL, SMTP_EXT_DSN, VALUE_WANTED, param_ret },
	{ "ENVID", SMTP_VERB_MAIL, SMTP_EXT_DSN, VALUE_WANTED, param_envid },
	/* taken from everybody, believed from few (RFC 4954, 5) */
	{ "AUTH", SMTP_VERB_MAIL, SMTP_EXT_ALL, VALUE_WANTED, param_auth },
	{ "NOTIFY", SMTP_VERB_RCPT, SMTP_EXT_DSN, VALUE_WANTED, param_notify },
	{ "ORCPT", SMTP_VERB_RCPT, SMTP_EXT_DSN, VALUE_WANTED, param_orcpt },
};

enum { PARAMS = sizeof(params) / sizeof(params[0]) };

/* esmtp-keyword (RFC 5321, 4.1.2) */
static bool
is_keyword(struct smtp_span s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!((s.p[i] >= 'a' && s.p[i] <= 'z') ||
			(s.p[i] >= 'A' && s.p[i] <= 'Z') ||
			(s.p[i] >= '0' && s.p[i] <= '9') ||
			(s.p[i] == '-' && i > 0)))
			return false;
	}
	return s.len > 0;
}

/* esmtp-value: printable but '=', and UTF-8 as it was checked before */
static bool
is_value(struct smtp_span s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '=')
			return false;
	}
	return s.len > 0;
}

static int
read_param(struct parse *ps, struct smtp_span word)
{
	struct smtp_span key = word, value = { NULL, 0 };
	const char *eq = memchr(word.p, '=', word.len), *why;
	size_t i;

	if (eq != NULL) {
		key.len = (size_t)(eq - word.p);
		value.p = eq + 1;
		value.len = word.len - key.len - 1;
	}
	if (!is_keyword(key) || (value.p != NULL && !is_value(value)))
		return refuse_args(ps, "Malformed parameter");
	for (i = 0; i < PARAMS; i++) {
		if (params[i].verb == ps->cmd->verb &&
		    (params[i].ext & ps->offered) != 0 &&
		    span_is(key, params[i].name))
			break;
	}
	if (i == PARAMS)
		return refuse(
		    ps, 555, SMTP_STATUS(5, 5, 4), "Parameter not recognized");
	if (ps->given & 1u << i)
		return refuse_args(ps, "Parameter given twice");
	ps->given |= 1u << i;
	if ((value.p != NULL) != (params[i].value == VALUE_WANTED))
		return refuse_args(ps,
		    value.p != NULL ? "Parameter takes no value"
				    : "Parameter wants a value");
	why = params[i].read(ps->cmd, value);
	return why == NULL ? 0 : refuse_args(ps, why);
}

static int
read_params(struct parse *ps)
{
	struct smtp_span word;
	int r;

	while ((word = take_word(ps)).len > 0) {
		r = read_param(ps, word);
		if (r < 0)
			return r;
	}
	if (ps->cmd->body == SMTP_BODY_BINARY &&
	    (ps->offered & SMTP_EXT_BINARYMIME) == 0)
		return refuse_args(ps, "BODY=BINARYMIME is not offered here");
	return 0;
}

/* ---- arguments by verb ---- */

static int
args_none(struct parse *ps)
{
	skip_spaces(ps);
	return ps->p == ps->end ? 0
				: refuse_args(ps, "Command takes no argument");
}

/* NOOP, HELP: anything or nothing. */
static int
args_any(struct parse *ps)
{
	skip_spaces(ps);
	if (ps->p < ps->end) {
		ps->cmd->arg.p = ps->p;
		ps->cmd->arg.len = (size_t)(ps->end - ps->p);
	}
	return 0;
}

/* VRFY, EXPN: something. */
static int
args_some(struct parse *ps)
{
	(void)args_any(ps);
	return ps->cmd->arg.len > 0
	    ? 0
	    : refuse_args(ps, "Command wants an argument");
}

/* HELO, EHLO: one Domain or address literal. */
static int
args_hello(struct parse *ps)
{
	struct smtp_span name = take_word(ps);
	char plain[ADDR_DOMAIN_MAX];
	uint8_t ip[16];
	size_t i;
	int family;
	bool ok;

	if (name.len == 0)
		return refuse_args(ps, "Name of the client is missing");
	skip_spaces(ps);
	if (ps->p < ps->end)
		return refuse_args(ps, "More than one argument");
	if (name.len > ADDR_DOMAIN_MAX)
		return refuse_args(ps, "Name of the client is too long");
	ps->cmd->arg = name;
	ps->cmd->arg_literal = name.p[0] == '[';
	if (ps->cmd->arg_literal) {
		ok = addr_literal_parse(name.p, name.len, &family, ip) == 0;
	} else {
		/* computers named like this are many and harmless */
		for (i = 0; i < name.len; i++)
			plain[i] = (char)(name.p[i] == '_' ? 'x' : name.p[i]);
		ok = addr_domain_valid(plain, name.len, 0);
	}
	return ok ? 0 : refuse_args(ps, "Name of the client is malformed");
}

/* "FROM:" or "TO:" and the path behind it. */
static int
take_path(struct parse *ps, const char *word, struct smtp_status bad)
{
	const char *why = NULL;
	size_t n = strlen(word);
	ssize_t used;

	skip_spaces(ps);
	if ((size_t)(ps->end - ps->p) < n || strncasecmp(ps->p, word, n) != 0)
		return refuse_args(ps,
		    ps->cmd->verb == SMTP_VERB_MAIL
			? "Syntax: MAIL FROM:<address>"
			: "Syntax: RCPT TO:<address>");
	ps->p += n;
	skip_spaces(ps);
	/* UTF-8 is judged when all is known */
	used = addr_parse_path(
	    ps->p, (size_t)(ps->end - ps->p), ADDR_UTF8, &ps->cmd->path, &why);
	if (used < 0)
		return refuse(ps, 501, bad, why);
	ps->p += used;
	if (ps->p < ps->end && *ps->p != ' ')
		return refuse(ps, 501, bad, "characters after the address");
	return 0;
}

static int
check_utf8_path(struct parse *ps, bool allowed)
{
	struct addr *a = &ps->cmd->path;

	if (allowed || (!a->local_utf8 && !a->domain_utf8))
		return 0;
	return refuse(
	    ps, 553, SMTP_STATUS(5, 6, 7), "Non-ASCII address needs SMTPUTF8");
}

static int
args_mail(struct parse *ps)
{
	struct smtp_command *c = ps->cmd;
	int r;

	r = take_path(ps, "FROM:", SMTP_STATUS(5, 1, 7));
	if (r < 0)
		return r;
	c->null_path = c->path.len == 0;
	if (!c->null_path && c->path.domain_len == 0)
		return refuse(
		    ps, 501, SMTP_STATUS(5, 1, 7), "address has no domain");
	r = read_params(ps);
	return r < 0 ? r : check_utf8_path(ps, c->smtputf8);
}

static int
args_rcpt(struct parse *ps)
{
	struct smtp_command *c = ps->cmd;
	int r;

	r = take_path(ps, "TO:", SMTP_STATUS(5, 1, 3));
	if (r < 0)
		return r;
	if (c->path.len == 0)
		return refuse(ps, 501, SMTP_STATUS(5, 1, 3),
		    "recipient address is empty");
	c->postmaster = c->path.domain_len == 0;
	r = read_params(ps);
	if (r < 0)
		return r;
	if (!ps->utf8_rcpt && c->orcpt.len > 0 &&
	    utf8_has_8bit(c->orcpt.p, c->orcpt.len))
		return refuse_args(ps, "Non-ASCII ORCPT needs SMTPUTF8");
	return check_utf8_path(ps, ps->utf8_rcpt);
}

static int
args_bdat(struct parse *ps)
{
	struct smtp_span size = take_word(ps), last = take_word(ps);

	if (!take_u64(size, &ps->cmd->chunk_len) ||
	    ps->cmd->chunk_len == UINT64_MAX)
		return refuse_args(ps, "Syntax: BDAT size [LAST]");
	if (last.len > 0 && !span_is(last, "LAST"))
		return refuse_args(ps, "Syntax: BDAT size [LAST]");
	ps->cmd->last = last.len > 0;
	return take_word(ps).len == 0
	    ? 0
	    : refuse_args(ps, "Syntax: BDAT size [LAST]");
}

/* Base64 with its padding and nothing else (RFC 4648, 4). */
static bool
is_base64(struct smtp_span s)
{
	size_t i, pad = 0;
	char c;

	if (s.len == 0 || s.len % 4 != 0)
		return false;
	while (pad < 2 && s.p[s.len - 1 - pad] == '=')
		pad++;
	for (i = 0; i < s.len - pad; i++) {
		c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '+' || c == '/'))
			return false;
	}
	return true;
}

static int
args_auth(struct parse *ps)
{
	struct smtp_command *c = ps->cmd;
	struct smtp_span initial;
	size_t i;
	char ch;

	c->arg = take_word(ps);
	if (c->arg.len == 0 || c->arg.len > 20)
		return refuse_args(ps, "Syntax: AUTH mechanism [response]");
	for (i = 0; i < c->arg.len; i++) {
		ch = c->arg.p[i];
		if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
			(ch >= '0' && ch <= '9') || ch == '-' || ch == '_'))
			return refuse_args(
			    ps, "Syntax: AUTH mechanism [response]");
	}
	initial = take_word(ps);
	if (take_word(ps).len > 0)
		return refuse_args(ps, "Syntax: AUTH mechanism [response]");
	if (initial.len == 0)
		return 0;
	c->initial = initial;
	if (span_is(initial, "="))
		c->initial.len = 0;
	else if (!is_base64(initial))
		return refuse(
		    ps, 501, SMTP_STATUS(5, 5, 2), "Response is not base64");
	return 0;
}

/* ---- verbs ---- */

static const struct verb {
	const char *name;
	size_t line_max;
	uint32_t ext; /* known only when this was offered */
	int (*args)(struct parse *);
} verbs[SMTP_VERB_COUNT] = {
	[SMTP_VERB_NONE] = { "?", SMTP_LINE_MAX, 0, NULL },
	[SMTP_VERB_HELO] = { "HELO", SMTP_LINE_MAX, 0, args_hello },
	[SMTP_VERB_EHLO] = { "EHLO", SMTP_LINE_MAX, 0, args_hello },
	[SMTP_VERB_MAIL] = { "MAIL", SMTP_LINE_PATH_MAX, 0, args_mail },
	[SMTP_VERB_RCPT] = { "RCPT", SMTP_LINE_PATH_MAX, 0, args_rcpt },
	[SMTP_VERB_DATA] = { "DATA", SMTP_LINE_MAX, 0, args_none },
	[SMTP_VERB_BDAT] = { "BDAT", SMTP_LINE_MAX, SMTP_EXT_CHUNKING,
	    args_bdat },
	[SMTP_VERB_RSET] = { "RSET", SMTP_LINE_MAX, 0, args_none },
	[SMTP_VERB_NOOP] = { "NOOP", SMTP_LINE_MAX, 0, args_any },
	[SMTP_VERB_QUIT] = { "QUIT", SMTP_LINE_MAX, 0, args_none },
	[SMTP_VERB_VRFY] = { "VRFY", SMTP_LINE_MAX, 0, args_some },
	[SMTP_VERB_EXPN] = { "EXPN", SMTP_LINE_MAX, 0, args_some },
	[SMTP_VERB_HELP] = { "HELP", SMTP_LINE_MAX, 0, args_any },
	[SMTP_VERB_STARTTLS] = { "STARTTLS", SMTP_LINE_MAX, SMTP_EXT_STARTTLS,
	    args_none },
	[SMTP_VERB_AUTH] = { "AUTH", SMTP_LINE_AUTH_MAX, SMTP_EXT_AUTH,
	    args_auth },
};

static enum smtp_verb
find_verb(struct smtp_span word)
{
	enum smtp_verb v;

	for (v = SMTP_VERB_NONE + 1; v < SMTP_VERB_COUNT; v++) {
		if (span_is(word, verbs[v].name))
			return v;
	}
	return SMTP_VERB_NONE;
}

static bool
has_control(const char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
			return true;
	}
	return false;
}

int
smtp_command_parse(const char *line, size_t len, uint32_t offered,
    bool utf8_rcpt, struct smtp_command *ret_cmd,
    struct smtp_refusal *ret_refusal)
{
	struct parse ps = { .p = line,
		.offered = offered,
		.utf8_rcpt = utf8_rcpt,
		.cmd = ret_cmd,
		.no = ret_refusal };
	const struct verb *verb;
	struct smtp_span word = { line, 0 };

	memset(ret_cmd, 0, sizeof(*ret_cmd));
	memset(ret_refusal, 0, sizeof(*ret_refusal));
	while (word.len < len && word.len < 16 && line[word.len] != ' ' &&
	    line[word.len] != '\t')
		word.len++;
	ret_cmd->verb = find_verb(word);
	verb = &verbs[ret_cmd->verb];
	if (len > verb->line_max)
		return refuse(&ps, 500, SMTP_STATUS(5, 5, 2), "Line too long");
	while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--; /* RFC 5321, 4.1.1 */
	ps.end = line + len;
	if (has_control(line, len))
		return refuse(&ps, 500, SMTP_STATUS(5, 5, 2),
		    "Control characters in the command");
	if (verb->args == NULL)
		return refuse(&ps, 500, SMTP_STATUS(5, 5, 1),
		    len == 0 ? "Empty command" : "Command not recognized");
	if (verb->ext != 0 && (verb->ext & offered) == 0)
		return refuse(
		    &ps, 502, SMTP_STATUS(5, 5, 1), "Command not offered here");
	if (utf8_has_8bit(line, len) && !utf8_valid(line, len))
		return refuse(&ps, 501, SMTP_STATUS(5, 5, 2),
		    "Command is not valid UTF-8");
	ps.p += word.len;
	return verb->args(&ps);
}

const char *
smtp_verb_name(enum smtp_verb verb)
{
	return verb < SMTP_VERB_COUNT ? verbs[verb].name : "?";
}

const char *
smtp_notify_format(unsigned notify, char buf[32])
{
	(void)snprintf(buf, 32, "%s%s%s%s",
	    notify & SMTP_NOTIFY_NEVER ? ",NEVER" : "",
	    notify & SMTP_NOTIFY_SUCCESS ? ",SUCCESS" : "",
	    notify & SMTP_NOTIFY_FAILURE ? ",FAILURE" : "",
	    notify & SMTP_NOTIFY_DELAY ? ",DELAY" : "");
	if (buf[0] != '\0')
		memmove(buf, buf + 1, strlen(buf));
	return buf;
}

const char *
smtp_body_name(enum smtp_body body)
{
	switch (body) {
	case SMTP_BODY_7BIT:
		return "7BIT";
	case SMTP_BODY_8BIT:
		return "8BITMIME";
	case SMTP_BODY_BINARY:
		return "BINARYMIME";
	case SMTP_BODY_NONE:
		break;
	}
	return NULL;
}
