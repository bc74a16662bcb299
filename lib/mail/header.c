/*
 * header.c - the header section of a message: walk it, watch it go by, and
 * write our Received field. Pure; never keeps a pointer between calls.
 *
 * Called by intake (scan, Received), the queue (notices) and tests. Sources:
 * RFC 5322 2.2 and 3.6.8; RFC 5321 4.4; RFC 3848; RFC 6531 4.3; RFC 8689 5.
 */
#include "lib/mail/header.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/mail/utf8.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static bool
is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* ftext (RFC 5322, 3.6.8): printable ASCII but the colon */
static bool
is_ftext(char c)
{
	return c >= '!' && c <= '~' && c != ':';
}

/* ---- walking ---- */

void
mail_walk_init(struct mail_walk *w, const void *buf, size_t len)
{
	w->buf = buf;
	w->len = len;
	w->at = 0;
	w->blank_line = false;
}

/* Behind the LF that ends the line at from, or the end of the bytes. */
static size_t
line_end(const struct mail_walk *w, size_t from)
{
	const char *lf = memchr(w->buf + from, '\n', w->len - from);

	return lf == NULL ? w->len : (size_t)(lf - w->buf) + 1;
}

int
mail_walk_next(struct mail_walk *w, struct mail_field *ret_field)
{
	const char *p = w->buf + w->at;
	size_t left = w->len - w->at, n = 0, end, last, value;

	if (w->blank_line || left == 0)
		return 0;
	if (p[0] == '\n' || (p[0] == '\r' && left >= 2 && p[1] == '\n')) {
		w->at += p[0] == '\n' ? 1 : 2;
		w->blank_line = true;
		return 0;
	}
	while (n < left && is_ftext(p[n]))
		n++;
	ret_field->name = p;
	ret_field->name_len = n;
	while (n < left && is_wsp(p[n]))
		n++;
	if (ret_field->name_len == 0 || n >= left || p[n] != ':')
		return 0;
	value = w->at + n + 1;
	end = line_end(w, value);
	ret_field->folded = false;
	while (end < w->len && is_wsp(w->buf[end])) {
		end = line_end(w, end);
		ret_field->folded = true;
	}
	ret_field->raw = p;
	ret_field->raw_len = end - w->at;
	last = end;
	while (last > value &&
	    (is_wsp(w->buf[last - 1]) || w->buf[last - 1] == '\n' ||
		w->buf[last - 1] == '\r'))
		last--;
	while (value < last &&
	    (is_wsp(w->buf[value]) || w->buf[value] == '\n' ||
		w->buf[value] == '\r'))
		value++;
	ret_field->value = w->buf + value;
	ret_field->value_len = last - value;
	w->at = end;
	return 1;
}

bool
mail_field_is(const struct mail_field *f, const char *name)
{
	return f->name_len == strlen(name) &&
	    strncasecmp(f->name, name, f->name_len) == 0;
}

size_t
mail_field_unfold(const struct mail_field *f, char *buf, size_t cap)
{
	size_t i = 0, n = 0;
	char c;

	assert(cap > 0);
	while (i < f->value_len && n + 1 < cap) {
		c = f->value[i++];
		if (c == '\n') {
			/* the white space around a fold is one space */
			while (n > 0 && is_wsp(buf[n - 1]))
				n--;
			while (i < f->value_len && is_wsp(f->value[i]))
				i++;
			c = ' ';
		}
		if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
			continue;
		if (n > 0 || !is_wsp(c))
			buf[n++] = c;
	}
	while (n > 0 && is_wsp(buf[n - 1]))
		n--;
	buf[n] = '\0';
	return n;
}

/* ---- watching ---- */

enum scan_state {
	SCAN_LINE,    /* at the beginning of a line */
	SCAN_LINE_CR, /* a CR began the line */
	SCAN_NAME,
	SCAN_COLON, /* white space behind the name */
	SCAN_VALUE,
	SCAN_FOLD, /* white space that begins a continuation */
};

enum scan_field {
	FIELD_NONE, /* before the first one */
	FIELD_OTHER,
	FIELD_RECEIVED,
	FIELD_MESSAGE_ID,
	FIELD_SUBJECT,
	FIELD_FROM,
	FIELD_DATE,
	FIELD_TLS_REQUIRED,
};

static const struct {
	const char *name;
	enum scan_field field;
} known[] = {
	{ "Received", FIELD_RECEIVED },
	{ "Message-ID", FIELD_MESSAGE_ID },
	{ "Subject", FIELD_SUBJECT },
	{ "From", FIELD_FROM },
	{ "Date", FIELD_DATE },
	{ "TLS-Required", FIELD_TLS_REQUIRED },
};

void
mail_scan_init(struct mail_scan *s)
{
	memset(s, 0, sizeof(*s));
	s->state = SCAN_LINE;
}

/* The name is complete: which field is it? */
static void
scan_open(struct mail_scan *s)
{
	size_t i;

	s->field = FIELD_OTHER;
	s->value_len = 0;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (s->name_len == strlen(known[i].name) &&
		    strncasecmp(s->name, known[i].name, s->name_len) == 0)
			s->field = (uint8_t)known[i].field;
	}
}

/* Keep the value in its place, if it is the first of its kind. */
static void
scan_keep(struct mail_scan *s, char *to, bool *seen)
{
	if (*seen)
		return;
	*seen = true;
	if (to != NULL)
		memcpy(to, s->value, s->value_len + 1);
}

/* The field is complete. */
static void
scan_close(struct mail_scan *s)
{
	while (s->value_len > 0 && is_wsp(s->value[s->value_len - 1]))
		s->value_len--;
	s->value[s->value_len] = '\0';
	switch ((enum scan_field)s->field) {
	case FIELD_RECEIVED:
		s->received++;
		break;
	case FIELD_MESSAGE_ID:
		scan_keep(s, s->message_id, &s->has_message_id);
		break;
	case FIELD_SUBJECT:
		scan_keep(s, s->subject, &s->has_subject);
		break;
	case FIELD_FROM:
		scan_keep(s, s->from, &s->has_from);
		break;
	case FIELD_DATE:
		scan_keep(s, NULL, &s->has_date);
		break;
	case FIELD_TLS_REQUIRED:
		/* a second one, whatever it says, takes away the first */
		s->tls_required_no =
		    s->tls_required == 0 && strcasecmp(s->value, "no") == 0;
		s->tls_required++;
		break;
	case FIELD_NONE:
	case FIELD_OTHER:
		break;
	}
	s->field = FIELD_NONE;
	s->value_len = 0;
}

static void
scan_done(struct mail_scan *s, uint64_t header_len)
{
	scan_close(s);
	s->header_len = header_len;
	s->done = true;
}

static void
scan_value(struct mail_scan *s, char c)
{
	if ((unsigned char)c > 127)
		s->eight_bit = true;
	if (s->field <= FIELD_RECEIVED || s->field == FIELD_DATE)
		return; /* no one asks for its value */
	if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
		return;
	if ((s->value_len > 0 || !is_wsp(c)) && s->value_len < MAIL_CAPTURE)
		s->value[s->value_len++] = c;
}

/* The first byte of a line; at is where it stands. */
static void
scan_line(struct mail_scan *s, char c, uint64_t at)
{
	s->line_at = at;
	if (c == '\n') {
		scan_done(s, at + 1);
	} else if (c == '\r') {
		s->state = SCAN_LINE_CR;
	} else if (is_wsp(c) && s->field != FIELD_NONE) {
		s->state = SCAN_FOLD;
	} else if (is_ftext(c)) {
		scan_close(s);
		s->state = SCAN_NAME;
		s->name[0] = c;
		s->name_len = 1;
	} else {
		scan_done(s, at); /* no field: the body begins */
	}
}

static void
scan_byte(struct mail_scan *s, char c, uint64_t at)
{
	switch ((enum scan_state)s->state) {
	case SCAN_LINE:
		scan_line(s, c, at);
		break;
	case SCAN_LINE_CR:
		scan_done(s, c == '\n' ? at + 1 : s->line_at);
		break;
	case SCAN_NAME:
		if (is_ftext(c)) {
			if (s->name_len < sizeof(s->name))
				s->name[s->name_len] = c;
			s->name_len++;
			break;
		}
		s->state = SCAN_COLON;
		/* FALLTHROUGH */
	case SCAN_COLON:
		if (c == ':') {
			scan_open(s);
			s->state = SCAN_VALUE;
		} else if (!is_wsp(c)) {
			scan_done(s, s->line_at);
		}
		break;
	case SCAN_FOLD:
		if (is_wsp(c))
			break;
		while (s->value_len > 0 && is_wsp(s->value[s->value_len - 1]))
			s->value_len--;
		scan_value(s, ' '); /* a fold is one space */
		s->state = SCAN_VALUE;
		/* FALLTHROUGH */
	case SCAN_VALUE:
		if (c == '\n')
			s->state = SCAN_LINE;
		else
			scan_value(s, c);
		break;
	}
}

void
mail_scan(struct mail_scan *s, const void *data, size_t len)
{
	const char *p = data;
	size_t i;

	for (i = 0; i < len && !s->done; i++)
		scan_byte(s, p[i], s->len + i);
	s->len += len;
}

void
mail_scan_end(struct mail_scan *s)
{
	if (s->done)
		return;
	/* a line without its colon is no field, even at the very end */
	scan_done(s,
	    s->state == SCAN_NAME || s->state == SCAN_COLON ||
		    s->state == SCAN_LINE_CR
		? s->line_at
		: s->len);
}

/* ---- Received ---- */

const char *
mail_received_with(bool esmtp, bool tls, bool auth, bool utf8)
{
	static const char *const names[2][4] = {
		{ "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA" },
		{ "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA" },
	};

	if (!esmtp)
		return "SMTP";
	return names[utf8][(tls ? 1 : 0) + (auth ? 2 : 0)];
}

/* Append text where only the bytes of a name, number or literal may stand. */
static int
put_token(struct buf *out, const char *text)
{
	char token[256];
	size_t i;
	char c;

	for (i = 0; i < sizeof(token) && text[i] != '\0'; i++) {
		c = text[i];
		token[i] = (char)((c >= 'a' && c <= 'z') ||
			    (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c != '\0' && strchr("._-:[]+/=", c) != NULL)
			? c
			: '?');
	}
	return buf_put(out, token, i);
}

/* Append text within a comment. */
static int
put_comment(struct buf *out, const char *text)
{
	char token[256];
	size_t i;
	char c;

	for (i = 0; i < sizeof(token) && text[i] != '\0'; i++) {
		c = text[i];
		token[i] = (char)(c < ' ' || c > '~' || c == '(' || c == ')' ||
			    c == '\\'
			? '?'
			: c);
	}
	return buf_put(out, token, i);
}

/* Append the recipient, an address that was checked. */
static int
put_path(struct buf *out, const char *text, bool utf8)
{
	char path[256];
	size_t i;
	unsigned char c;

	for (i = 0; i < sizeof(path) && text[i] != '\0'; i++) {
		c = (unsigned char)text[i];
		path[i] =
		    (char)(c < ' ' || c == 0x7f || (c > 0x7f && !utf8) ? '?'
								       : c);
	}
	return buf_put(out, path, i);
}

int
mail_received_format(struct buf *out, const struct mail_received *rc)
{
	char date[48];
	size_t before = buf_len(out);
	int r;

	r = buf_puts(out, "Received: from ");
	if (r == 0)
		r = put_token(out, rc->helo == NULL ? "unknown" : rc->helo);
	if (r == 0 && rc->client_ip != NULL) {
		r = buf_puts(out, "\r\n\t(");
		if (r == 0 && rc->client_name != NULL)
			r = put_token(out, rc->client_name);
		if (r == 0 && rc->client_name != NULL)
			r = buf_puts(out, " ");
		if (r == 0)
			r = buf_puts(
			    out, strchr(rc->client_ip, ':') ? "[IPv6:" : "[");
		if (r == 0)
			r = put_token(out, rc->client_ip);
		if (r == 0)
			r = buf_puts(out, "])");
	}
	if (r == 0 && rc->tls && rc->tls_text != NULL) {
		r = buf_puts(out, "\r\n\t(");
		if (r == 0)
			r = put_comment(out, rc->tls_text);
		if (r == 0)
			r = buf_puts(out, ")");
	}
	if (r == 0)
		r = buf_puts(out, "\r\n\tby ");
	if (r == 0)
		r = put_token(out, rc->by == NULL ? "unknown" : rc->by);
	if (r == 0)
		r = buf_printf(out, " with %s",
		    mail_received_with(rc->esmtp, rc->tls, rc->auth, rc->utf8));
	if (r == 0 && rc->id != NULL) {
		r = buf_puts(out, " id ");
		if (r == 0)
			r = put_token(out, rc->id);
	}
	if (r == 0 && rc->rcpt != NULL &&
	    (rc->utf8 || !utf8_has_8bit(rc->rcpt, strlen(rc->rcpt)))) {
		r = buf_puts(out, "\r\n\tfor <");
		if (r == 0)
			r = put_path(out, rc->rcpt, rc->utf8);
		if (r == 0)
			r = buf_puts(out, ">");
	}
	if (r == 0)
		r = buf_printf(out, ";\r\n\t%s\r\n",
		    clock_format_rfc5322(rc->time_s, date, sizeof(date)));
	if (r < 0)
		out->tail = out->head + before; /* no half fields */
	return r;
}
