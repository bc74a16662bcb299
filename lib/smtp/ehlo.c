/*
 * ehlo.c - the extensions of an EHLO reply, read and written. Pure.
 *
 * Called by the sessions of delivery (read) and intake (write). Sources: RFC
 * 5321 4.1.1.1; 1870; 4954; 9422.
 */
#include "lib/smtp/ehlo.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/smtp/reply.h"

#include <string.h>
#include <strings.h>

/* A piece of a line. */
struct word {
	const char *p;
	size_t len;
};

/* In the order in which we offer them. */
static const struct {
	uint32_t bit;
	const char *name;
} exts[] = {
	{ SMTP_EXT_PIPELINING, "PIPELINING" },
	{ SMTP_EXT_SIZE, "SIZE" },
	{ SMTP_EXT_8BITMIME, "8BITMIME" },
	{ SMTP_EXT_SMTPUTF8, "SMTPUTF8" },
	{ SMTP_EXT_DSN, "DSN" },
	{ SMTP_EXT_CHUNKING, "CHUNKING" },
	{ SMTP_EXT_BINARYMIME, "BINARYMIME" },
	{ SMTP_EXT_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES" },
	{ SMTP_EXT_STARTTLS, "STARTTLS" },
	{ SMTP_EXT_REQUIRETLS, "REQUIRETLS" },
	{ SMTP_EXT_AUTH, "AUTH" },
	{ SMTP_EXT_LIMITS, "LIMITS" },
	{ SMTP_EXT_HELP, "HELP" },
};

enum { EXTS = sizeof(exts) / sizeof(exts[0]) };

static bool
word_is(struct word w, const char *name)
{
	return w.len == strlen(name) && strncasecmp(w.p, name, w.len) == 0;
}

/* Take the next word; words are parted by spaces or tabs. */
static bool
next_word(struct word *rest, struct word *ret_word)
{
	while (rest->len > 0 && (*rest->p == ' ' || *rest->p == '\t'))
		rest->p++, rest->len--;
	ret_word->p = rest->p;
	while (rest->len > 0 && *rest->p != ' ' && *rest->p != '\t')
		rest->p++, rest->len--;
	ret_word->len = (size_t)(rest->p - ret_word->p);
	return ret_word->len > 0;
}

/* digits[0..len) as a number, at most max. */
static bool
number(struct word w, size_t max_digits, uint64_t *ret_value)
{
	uint64_t value = 0, digit;
	size_t i;

	if (w.len == 0 || w.len > max_digits)
		return false;
	for (i = 0; i < w.len; i++) {
		if (w.p[i] < '0' || w.p[i] > '9')
			return false;
		digit = (uint64_t)(w.p[i] - '0');
		if (value > (UINT64_MAX - digit) / 10)
			value = UINT64_MAX; /* 20 digits may be more */
		else
			value = value * 10 + digit;
	}
	*ret_value = value;
	return true;
}

/* SIZE [number] (RFC 1870, 4). */
static void
read_size(struct smtp_ehlo *e, struct word rest)
{
	struct word w, more;
	uint64_t value = 0;

	if (next_word(&rest, &w) &&
	    (!number(w, 20, &value) || next_word(&rest, &more)))
		return;
	if (e->ext & SMTP_EXT_SIZE)
		return;
	e->ext |= SMTP_EXT_SIZE;
	e->size = value;
}

/* RFC 4422, 3.1: 1 to 20 of upper case, digits, hyphen, underscore. */
static bool
is_mechanism(struct word w)
{
	size_t i;
	char c;

	if (w.len == 0 || w.len > 20)
		return false;
	for (i = 0; i < w.len; i++) {
		c = w.p[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

static void
read_auth(struct smtp_ehlo *e, struct word rest)
{
	char name[21];
	struct word w;
	size_t used = strlen(e->auth), i;

	e->ext |= SMTP_EXT_AUTH;
	while (next_word(&rest, &w)) {
		if (!is_mechanism(w))
			continue;
		for (i = 0; i < w.len; i++)
			name[i] = (char)(w.p[i] >= 'a' && w.p[i] <= 'z'
				? w.p[i] - 'a' + 'A'
				: w.p[i]);
		name[w.len] = '\0';
		if (smtp_ehlo_has_auth(e, name) ||
		    used + 1 + w.len > SMTP_EHLO_AUTH_MAX)
			continue;
		if (used > 0)
			e->auth[used++] = ' ';
		memcpy(e->auth + used, name, w.len + 1);
		used += w.len;
	}
}

/* One limit, "name" or "name=value". False on a syntax error. */
static bool
read_limit(struct smtp_ehlo *e, struct word w)
{
	struct word name = { w.p, 0 }, value;
	uint64_t n;
	size_t i;
	char c;

	while (name.len < w.len && w.p[name.len] != '=') {
		c = w.p[name.len];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
		name.len++;
	}
	if (name.len == 0)
		return false;
	if (name.len == w.len)
		return true; /* no value: says nothing to us */
	value.p = w.p + name.len + 1;
	value.len = w.len - name.len - 1;
	if (value.len == 0)
		return false;
	for (i = 0; i < value.len; i++) {
		if (value.p[i] <= ' ' || value.p[i] > '~' || value.p[i] == ';')
			return false;
	}
	/* the registered ones are %x31-39 0*5DIGIT: no zero, 6 digits */
	if (value.p[0] == '0' || !number(value, 6, &n))
		return true;
	if (word_is(name, "MAILMAX") && e->mailmax == 0)
		e->mailmax = (uint32_t)n;
	else if (word_is(name, "RCPTMAX") && e->rcptmax == 0)
		e->rcptmax = (uint32_t)n;
	else if (word_is(name, "RCPTDOMAINMAX") && e->rcptdomainmax == 0)
		e->rcptdomainmax = (uint32_t)n;
	return true;
}

static void
read_limits(struct smtp_ehlo *e, struct word rest)
{
	struct smtp_ehlo seen = { .ext = 0 };
	struct word w;

	if (e->ext & SMTP_EXT_LIMITS)
		return;
	while (next_word(&rest, &w)) {
		if (!read_limit(&seen, w))
			return; /* the whole keyword is skipped */
	}
	e->ext |= SMTP_EXT_LIMITS;
	e->mailmax = seen.mailmax;
	e->rcptmax = seen.rcptmax;
	e->rcptdomainmax = seen.rcptdomainmax;
}

static void
read_keyword(struct smtp_ehlo *e, struct word line)
{
	struct word key;
	size_t i;

	if (!next_word(&line, &key))
		return;
	if (key.len >= 5 && strncasecmp(key.p, "AUTH=", 5) == 0) {
		/* what some servers sent before RFC 2554 */
		line.p = key.p + 5;
		line.len += key.len - 5;
		read_auth(e, line);
		return;
	}
	if (word_is(key, "SIZE")) {
		read_size(e, line);
	} else if (word_is(key, "AUTH")) {
		read_auth(e, line);
	} else if (word_is(key, "LIMITS")) {
		read_limits(e, line);
	} else {
		for (i = 0; i < EXTS; i++) {
			if (word_is(key, exts[i].name))
				e->ext |= exts[i].bit;
		}
	}
}

int
smtp_ehlo_parse(const struct smtp_reply *reply, struct smtp_ehlo *ret_ehlo)
{
	struct word line, host;
	size_t at = 0, i;

	memset(ret_ehlo, 0, sizeof(*ret_ehlo));
	if (reply->code / 100 != 2)
		return PE_SYNTAX;
	line.p = smtp_reply_line(reply, &at, &line.len);
	if (line.p != NULL && next_word(&line, &host) &&
	    host.len <= SMTP_EHLO_HOST_MAX) {
		for (i = 0; i < host.len; i++) {
			if (host.p[i] <= ' ' || host.p[i] > '~')
				break;
		}
		if (i == host.len)
			memcpy(ret_ehlo->host, host.p, host.len);
	}
	while ((line.p = smtp_reply_line(reply, &at, &line.len)) != NULL)
		read_keyword(ret_ehlo, line);
	return 0;
}

bool
smtp_ehlo_has_auth(const struct smtp_ehlo *e, const char *mechanism)
{
	struct word rest = { e->auth, strlen(e->auth) }, w;

	while (next_word(&rest, &w)) {
		if (w.len == strlen(mechanism) &&
		    memcmp(w.p, mechanism, w.len) == 0)
			return true;
	}
	return false;
}

const char *
smtp_ext_name(uint32_t bit)
{
	size_t i;

	for (i = 0; i < EXTS; i++) {
		if (exts[i].bit == bit)
			return exts[i].name;
	}
	return NULL;
}

/* What stands behind the keyword. */
static int
format_args(struct buf *text, const struct smtp_ehlo *e, uint32_t bit)
{
	int r = 0;

	if (bit == SMTP_EXT_SIZE && e->size > 0)
		return buf_printf(text, " %llu", (unsigned long long)e->size);
	if (bit == SMTP_EXT_AUTH)
		return buf_printf(text, " %s", e->auth);
	if (bit == SMTP_EXT_LIMITS) {
		if (e->mailmax > 0)
			r = buf_printf(text, " MAILMAX=%u", e->mailmax);
		if (r == 0 && e->rcptmax > 0)
			r = buf_printf(text, " RCPTMAX=%u", e->rcptmax);
		if (r == 0 && e->rcptdomainmax > 0)
			r = buf_printf(
			    text, " RCPTDOMAINMAX=%u", e->rcptdomainmax);
	}
	return r;
}

int
smtp_ehlo_format(struct buf *out, const struct smtp_ehlo *e)
{
	struct buf text;
	size_t i;
	int r;

	buf_init(&text, 4096);
	r = buf_printf(&text, "%s", e->host);
	for (i = 0; r == 0 && i < EXTS; i++) {
		if ((e->ext & exts[i].bit) == 0)
			continue;
		if (exts[i].bit == SMTP_EXT_AUTH && e->auth[0] == '\0')
			continue;
		if (exts[i].bit == SMTP_EXT_LIMITS && e->mailmax == 0 &&
		    e->rcptmax == 0 && e->rcptdomainmax == 0)
			continue;
		r = buf_printf(&text, "\n%s", exts[i].name);
		if (r == 0)
			r = format_args(&text, e, exts[i].bit);
	}
	if (r == 0)
		r = buf_put(&text, "", 1);
	if (r == 0)
		r = smtp_reply_format(out, 250, SMTP_STATUS(0, 0, 0),
		    (const char *)buf_data(&text));
	buf_done(&text);
	return r;
}
