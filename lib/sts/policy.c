/*
 * policy.c - parse a policy text. Pure.
 *
 * Lines end in LF or CRLF (RFC 8461, ABNF sts-policy-term); blank lines are
 * passed over, which the grammar does not have and published policies do. The
 * first of a repeated field counts, whatever the later ones say (STS-18).
 * Everything else that is not in the grammar makes the text invalid, so that
 * a page of HTML or a cut file is never taken for a policy.
 */
#include "lib/sts/policy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/mail/utf8.h"
#include "lib/sts/chars.h"
#include "lib/sts/match.h"

enum { MAX_AGE_DIGITS = 10 };

struct parser {
	struct sts_policy *out;
	bool version, mode, max_age;
	unsigned line;
	char *reason;
	size_t reason_len;
};

struct value {
	const char *p;
	size_t len;
};

static int invalid(struct parser *ps, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
invalid(struct parser *ps, const char *fmt, ...)
{
	va_list ap;

	if (ps->reason_len > 0) {
		va_start(ap, fmt);
		(void)vsnprintf(ps->reason, ps->reason_len, fmt, ap);
		va_end(ap);
	}
	return PE_SYNTAX;
}

/* ---- fields ----------------------------------------------------------------
 */

static bool
value_is(const struct value *v, const char *word)
{
	return v->len == strlen(word) && memcmp(v->p, word, v->len) == 0;
}

static int
take_version(struct parser *ps, const struct value *v)
{
	if (ps->version)
		return 0;
	ps->version = true;
	if (!value_is(v, "STSv1"))
		return invalid(ps, "line %u: version is not STSv1", ps->line);
	return 0;
}

static int
take_mode(struct parser *ps, const struct value *v)
{
	enum sts_mode m;

	if (ps->mode)
		return 0;
	ps->mode = true;
	for (m = STS_MODE_NONE; m <= STS_MODE_ENFORCE; m++)
		if (value_is(v, sts_mode_word(m))) {
			ps->out->mode = m;
			return 0;
		}
	return invalid(
	    ps, "line %u: mode is neither enforce, testing nor none", ps->line);
}

static int
take_max_age(struct parser *ps, const struct value *v)
{
	uint64_t n = 0;
	size_t i;

	if (ps->max_age)
		return 0;
	ps->max_age = true;
	if (v->len == 0 || v->len > MAX_AGE_DIGITS)
		return invalid(
		    ps, "line %u: max_age is not 1 to 10 digits", ps->line);
	for (i = 0; i < v->len; i++) {
		if (!sts_is_digit(v->p[i]))
			return invalid(ps,
			    "line %u: max_age is not 1 to 10 digits", ps->line);
		n = n * 10 + (uint64_t)(v->p[i] - '0');
	}
	ps->out->max_age_s =
	    n > STS_MAX_AGE_MAX ? STS_MAX_AGE_MAX : (uint32_t)n;
	return 0;
}

static int
take_mx(struct parser *ps, const struct value *v)
{
	struct sts_policy *out = ps->out;
	char mapped[STS_PATTERN_SIZE];
	const char *text = v->p;
	size_t len = v->len;

	if (len == 0)
		return invalid(ps, "line %u: mx without a value", ps->line);
	if (utf8_has_8bit(text, len) &&
	    sts_pattern_normalise(text, len, mapped) == 0) {
		text = mapped;
		len = strlen(mapped);
	}
	/* the list was sized for the text: A-labels are longer than U-labels,
	 * so what does not fit is over the bound of a list */
	if (out->list_len + len + 1 > STS_LIST_MAX)
		return invalid(ps, "line %u: too many patterns", ps->line);
	memcpy(out->list + out->list_len, text, len);
	out->list_len += len;
	out->list[out->list_len++] = '\0';
	out->n_mx++;
	return 0;
}

static const struct {
	const char *name;
	int (*take)(struct parser *ps, const struct value *v);
} fields[] = {
	/* names are case-sensitive: %s in the grammar */
	{ "version", take_version },
	{ "mode", take_mode },
	{ "max_age", take_max_age },
	{ "mx", take_mx },
};

/* ---- lines -----------------------------------------------------------------
 */

/* One line without its end. */
static int
take_line(struct parser *ps, const char *line, size_t len)
{
	size_t name_len, i;
	struct value v;

	while (len > 0 && sts_is_wsp(line[len - 1]))
		len--;
	if (len == 0)
		return 0;
	name_len = sts_name_len(line, len);
	if (name_len == 0 || name_len > STS_NAME_MAX)
		return invalid(ps, "line %u: no field name", ps->line);
	if (name_len == len || line[name_len] != ':')
		return invalid(
		    ps, "line %u: no ':' behind the field name", ps->line);
	v.p = line + name_len + 1;
	v.len = len - name_len - 1;
	while (v.len > 0 && sts_is_wsp(*v.p)) {
		v.p++;
		v.len--;
	}
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strlen(fields[i].name) == name_len &&
		    memcmp(fields[i].name, line, name_len) == 0)
			return fields[i].take(ps, &v);
	return 0; /* unknown: ignored (STS-21) */
}

/* Bytes that no line may have, before anything is believed. */
static int
check_bytes(struct parser *ps, const char *text, size_t len)
{
	unsigned char c;
	size_t i;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		return invalid(ps, "byte order mark at the start");
	ps->line = 1;
	for (i = 0; i < len; i++) {
		c = (unsigned char)text[i];
		if (c == '\n')
			ps->line++;
		if (c == '\r' && (i + 1 == len || text[i + 1] != '\n'))
			return invalid(ps, "line %u: bare CR", ps->line);
		if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') ||
		    c == 0x7f)
			return invalid(ps, "line %u: control character 0x%02x",
			    ps->line, c);
	}
	if (!utf8_valid(text, len))
		return invalid(ps, "not UTF-8");
	return 0;
}

static int
parse_lines(struct parser *ps, const char *text, size_t len)
{
	const char *end = text + len, *lf, *eol;
	int r = 0;

	ps->line = 0;
	while (r == 0 && text < end) {
		ps->line++;
		lf = memchr(text, '\n', (size_t)(end - text));
		eol = lf != NULL ? lf : end;
		if (lf != NULL && lf > text && lf[-1] == '\r')
			eol--;
		r = take_line(ps, text, (size_t)(eol - text));
		text = lf != NULL ? lf + 1 : end;
	}
	if (r < 0)
		return r;
	if (!ps->version)
		return invalid(ps, "no version");
	if (!ps->mode)
		return invalid(ps, "no mode");
	if (!ps->max_age)
		return invalid(ps, "no max_age");
	if (ps->out->n_mx == 0 && ps->out->mode != STS_MODE_NONE)
		return invalid(ps, "no mx, and the mode is not none");
	return 0;
}

/* Keep no more than is used: policies are held for a long time. */
static void
shrink(struct sts_policy *p)
{
	char *less;

	if (p->list_len == 0) {
		free(p->list);
		p->list = NULL;
		return;
	}
	less = realloc(p->list, p->list_len);
	if (less != NULL)
		p->list = less;
}

int
sts_policy_parse(const char *text, size_t len, struct sts_policy *ret,
    char *reason, size_t reason_len)
{
	struct parser ps = { .out = ret,
		.reason = reason,
		.reason_len = reason != NULL ? reason_len : 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (ps.reason_len > 0)
		reason[0] = '\0';
	if (len > STS_TEXT_MAX) {
		(void)invalid(&ps, "over %d bytes", STS_TEXT_MAX);
		return PE_TOO_LONG;
	}
	r = check_bytes(&ps, text, len);
	if (r < 0)
		return r;
	ret->list = malloc(STS_LIST_MAX);
	if (ret->list == NULL)
		return -ENOMEM;
	r = parse_lines(&ps, text, len);
	if (r == 0)
		shrink(ret);
	else
		sts_policy_done(ret);
	return r;
}

void
sts_policy_done(struct sts_policy *p)
{
	free(p->list);
	memset(p, 0, sizeof(*p));
}

const char *
sts_mode_word(enum sts_mode mode)
{
	switch (mode) {
	case STS_MODE_ENFORCE:
		return "enforce";
	case STS_MODE_TESTING:
		return "testing";
	case STS_MODE_NONE:
	default:
		return "none";
	}
}

/* ---- lists -----------------------------------------------------------------
 */

const char *
sts_list_next(const char *list, size_t list_len, size_t *at)
{
	const char *text;
	size_t left;

	if (list == NULL || *at >= list_len)
		return NULL;
	text = list + *at;
	left = list_len - *at;
	if (memchr(text, '\0', left) == NULL)
		return NULL; /* not ended: no list of ours */
	*at += strlen(text) + 1;
	return text;
}

const char *
sts_list_text(const char *list, size_t list_len, char *buf, size_t len)
{
	size_t i, n = 0;
	char c;

	if (len == 0)
		return buf;
	for (i = 0; i + 1 < list_len && n + 5 < len; i++) {
		c = list[i];
		if (c == '\0') {
			buf[n++] = ',';
			buf[n++] = ' ';
		} else {
			buf[n++] = c >= 0x20 && c <= 0x7e ? c : '?';
		}
	}
	if (i + 1 < list_len && n + 4 <= len) {
		memcpy(buf + n, "...", 3);
		n += 3;
	}
	buf[n] = '\0';
	return buf;
}
