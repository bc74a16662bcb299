/*
 * reply.c - take one server reply, possibly multiline, out of a byte stream;
 * judge it; write replies of ours.
 *
 * Called by the sessions of intake and delivery, by tests and the fuzzer.
 * Never does I/O, logs, or keeps a pointer into the caller's buffer. Sources:
 * RFC 5321 section 4.2, RFC 2034 section 4, RFC 3463, RFC 7504.
 */
#include "lib/smtp/reply.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static ssize_t
refuse(struct smtp_reply *r, int err, const char *why)
{
	r->code = 0;
	r->lines = 0;
	r->text_len = 0;
	r->text[0] = '\0';
	r->status = SMTP_STATUS(0, 0, 0);
	r->error = why;
	return err;
}

/*
 * What the first bytes of a line say; code is where the first line begins.
 * Looks at no more than is there, so an error is found at the byte that makes
 * it. Returns NULL or what is wrong.
 */
static const char *
check_head(const char *line, size_t len, const char *code)
{
	size_t i;

	for (i = 0; i < len && i < 3; i++) {
		if (line[i] < '0' || line[i] > '9')
			return "a line of the reply starts with no code";
		if (i == 0 && (line[0] < '2' || line[0] > '5'))
			return "the reply code does not begin with 2, 3, 4 or "
			       "5";
		if (line[i] != code[i])
			return "the lines of the reply differ in their code";
	}
	if (len > 3 && line[3] != ' ' && line[3] != '-' && line[3] != '\r')
		return "something other than a space follows the reply code";
	if (len > 4 && line[3] == '\r' && line[4] != '\n')
		return "something other than a space follows the reply code";
	return NULL;
}

ssize_t
smtp_reply_parse(const void *buf, size_t len, struct smtp_reply *r)
{
	const char *in = buf, *line, *lf, *why;
	size_t at = 0, left, text_len;
	bool last = false;

	r->code = 0;
	r->lines = 0;
	r->text_len = 0;
	r->status = SMTP_STATUS(0, 0, 0);
	r->error = NULL;
	while (!last) {
		line = in + at;
		left = len - at;
		if (left > SMTP_REPLY_LINE_MAX)
			left = SMTP_REPLY_LINE_MAX;
		if (left > SMTP_REPLY_MAX - at)
			left = SMTP_REPLY_MAX - at;
		lf = left == 0 ? NULL : memchr(line, '\n', left);
		if (lf != NULL)
			left = (size_t)(lf - line) + 1;
		why = check_head(line, left, in);
		if (why != NULL)
			return refuse(r, PE_SYNTAX, why);
		if (lf == NULL) {
			if (left == SMTP_REPLY_LINE_MAX)
				return refuse(r, PE_TOO_LONG,
				    "a line of the reply is too long");
			if (at + left == SMTP_REPLY_MAX)
				return refuse(
				    r, PE_TOO_LONG, "the reply is too long");
			return 0;
		}
		/* check_head() has seen digits in [0..3) unless LF came first,
		 * which is no digit */
		if (left < 5 || line[left - 2] != '\r')
			return refuse(r, PE_SYNTAX,
			    "a line of the reply does not end in CRLF");
		last = line[3] != '-';
		text_len = left > 6 ? left - 6 : 0;
		if (r->lines == 0) {
			r->code = (line[0] - '0') * 100 + (line[1] - '0') * 10 +
			    (line[2] - '0');
		} else {
			r->text[r->text_len++] = '\n';
		}
		if (r->status.cls == 0) {
			(void)smtp_status_parse(line + 4, text_len, &r->status);
			if (r->status.cls != r->code / 100)
				r->status = SMTP_STATUS(0, 0, 0);
		}
		/* 4 bytes of code and 2 of CRLF went out: always room */
		memcpy(r->text + r->text_len, line + 4, text_len);
		r->text_len += text_len;
		if (++r->lines > SMTP_REPLY_LINES_MAX)
			return refuse(
			    r, PE_TOO_LONG, "the reply has too many lines");
		at += left;
	}
	r->text[r->text_len] = '\0';
	return (ssize_t)at;
}

const char *
smtp_reply_line(const struct smtp_reply *r, size_t *at, size_t *ret_len)
{
	const char *line, *lf;

	if (*at > r->text_len)
		return NULL;
	line = r->text + *at;
	lf = memchr(line, '\n', r->text_len - *at);
	*ret_len = lf == NULL ? r->text_len - *at : (size_t)(lf - line);
	*at += *ret_len + 1;
	return line;
}

size_t
smtp_reply_bare_text(const struct smtp_reply *r, char *buf, size_t cap)
{
	struct smtp_status st;
	const char *line;
	size_t at = 0, n = 0, len, skip;
	bool first = true;

	assert(cap > 0);
	while ((line = smtp_reply_line(r, &at, &len)) != NULL) {
		skip = smtp_status_parse(line, len, &st);
		if (skip > 0 && !smtp_status_equal(st, r->status))
			skip = 0;
		if (skip > 0 && skip < len)
			skip++; /* the space behind */
		line += skip;
		len -= skip;
		if (!first && n + 1 < cap)
			buf[n++] = '\n';
		first = false;
		if (len > cap - 1 - n)
			len = cap - 1 - n;
		memcpy(buf + n, line, len);
		n += len;
	}
	buf[n] = '\0';
	return n;
}

enum smtp_kind
smtp_reply_kind(int code, enum smtp_stage stage)
{
	switch (code / 100) {
	case 2:
		return stage == SMTP_STAGE_DATA ? SMTP_KIND_LATER
						: SMTP_KIND_OK;
	case 3:
		return stage == SMTP_STAGE_DATA || stage == SMTP_STAGE_AUTH
		    ? SMTP_KIND_MORE
		    : SMTP_KIND_LATER;
	case 5:
		return code == 552 && stage == SMTP_STAGE_RCPT_AFTER
		    ? SMTP_KIND_LATER
		    : SMTP_KIND_NEVER;
	default:
		return SMTP_KIND_LATER;
	}
}

bool
smtp_reply_closes(int code, enum smtp_stage stage)
{
	return code == 421 ||
	    (stage == SMTP_STAGE_GREETING && (code == 521 || code == 554));
}

/* Bytes of text[0..len) that go into one line of at most room bytes. */
static size_t
cut_line(const char *text, size_t len, size_t room)
{
	size_t n;

	if (len <= room)
		return len;
	for (n = room; n > room / 2; n--) {
		if (text[n] == ' ')
			return n;
	}
	return room;
}

/* Put text where only printable ASCII may stand. */
static void
put_clean(char *to, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
}

int
smtp_reply_format(
    struct buf *out, int code, struct smtp_status st, const char *text)
{
	enum { LINE = 512 };
	char line[LINE + 1], status[SMTP_STATUS_TEXT];
	size_t head, left, n, end, before = buf_len(out);
	bool more;
	int r;

	(void)smtp_status_format(st, status);
	do {
		head = (size_t)snprintf(line, sizeof(line), "%03d %s%s",
		    code % 1000, status, status[0] == '\0' ? "" : " ");
		end = strcspn(text, "\n");
		left = LINE - 2 - head;
		n = cut_line(text, end, left);
		put_clean(line + head, text, n);
		text += n;
		if (n < end) {
			text += *text == ' '; /* the cut took its place */
			more = true;
		} else {
			more = *text == '\n';
			text += more;
		}
		if (more)
			line[3] = '-';
		memcpy(line + head + n, "\r\n", 2);
		r = buf_put(out, line, head + n + 2);
	} while (r == 0 && more);
	if (r < 0)
		out->tail = out->head + before; /* no half replies */
	return r;
}
