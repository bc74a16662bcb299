/*
 * json.c - streaming JSON writer. Never reads JSON, never allocates beyond its
 * buffer. Source: RFC 8259.
 */
#include "lib/json/json.h"
#include "lib/base/buf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
json_init(struct json *j, struct buf *b)
{
	j->b = b;
	j->err = 0;
	j->comma = false;
}

static void
raw(struct json *j, const char *text, size_t len)
{
	int r;

	if (j->err != 0)
		return;
	r = buf_put(j->b, text, len);
	if (r < 0)
		j->err = r;
}

/* Length of a well-formed UTF-8 sequence of two bytes or more, or 0. */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
	uint32_t cp;
	size_t want, i;

	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	want = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < want)
		return 0;
	cp = p[0] & (0xffu >> (want + 1));
	for (i = 1; i < want; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (p[i] & 0x3f);
	}
	if ((want == 3 && cp < 0x800) || (want == 4 && cp < 0x10000) ||
	    cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		return 0;
	return want;
}

static void
quoted(struct json *j, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t i = 0, plain = 0, n;
	char esc[8];

	raw(j, "\"", 1);
	while (i < len) {
		if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' &&
		    p[i] != '\\') {
			i++;
			continue;
		}
		n = p[i] >= 0x80 ? utf8_len(p + i, len - i) : 0;
		if (n > 0) {
			i += n;
			continue;
		}
		raw(j, text + plain, i - plain);
		if (p[i] == '"' || p[i] == '\\') {
			esc[0] = '\\';
			esc[1] = (char)p[i];
			raw(j, esc, 2);
		} else if (p[i] < 0x80) {
			(void)snprintf(esc, sizeof(esc), "\\u%04x", p[i]);
			raw(j, esc, 6);
		} else {
			raw(j, "\xef\xbf\xbd", 3); /* U+FFFD */
		}
		plain = ++i;
	}
	raw(j, text + plain, len - plain);
	raw(j, "\"", 1);
}

static void
before(struct json *j, const char *name)
{
	if (j->comma)
		raw(j, ",", 1);
	j->comma = true;
	if (name != NULL) {
		quoted(j, name, strlen(name));
		raw(j, ":", 1);
	}
}

static void
token(struct json *j, const char *name, const char *text)
{
	before(j, name);
	raw(j, text, strlen(text));
}

void
json_put_obj(struct json *j, const char *name)
{
	token(j, name, "{");
	j->comma = false;
}

void
json_put_arr(struct json *j, const char *name)
{
	token(j, name, "[");
	j->comma = false;
}

void
json_put_end_obj(struct json *j)
{
	raw(j, "}", 1);
	j->comma = true;
}

void
json_put_end_arr(struct json *j)
{
	raw(j, "]", 1);
	j->comma = true;
}

void
json_put_strn(struct json *j, const char *name, const char *value, size_t len)
{
	before(j, name);
	quoted(j, value, len);
}

void
json_put_str(struct json *j, const char *name, const char *value)
{
	if (value == NULL)
		json_put_null(j, name);
	else
		json_put_strn(j, name, value, strlen(value));
}

void
json_put_int(struct json *j, const char *name, int64_t value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRId64, value);
	token(j, name, text);
}

void
json_put_uint(struct json *j, const char *name, uint64_t value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	token(j, name, text);
}

void
json_put_real(struct json *j, const char *name, double value)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%.3f", value);
	token(j, name, text);
}

void
json_put_bool(struct json *j, const char *name, bool value)
{
	token(j, name, value ? "true" : "false");
}

void
json_put_null(struct json *j, const char *name)
{
	token(j, name, "null");
}
