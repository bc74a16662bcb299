/*
 * conf_ini.c - read INI text line by line.
 *
 * Called by conf_build.c and by the fuzzer. Never does I/O, never stops at the
 * first problem, keeps nothing but offsets. The grammar is in docs/settings.md.
 */
#include "lib/conf/conf_ini.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct conf_ini *ini;
	size_t cap;
	conf_ini_on_error on_error;
	void *arg;
	uint32_t line;
	int errors;
	struct conf_ini_item *open; /* a following indented line belongs here */
	bool skip_indented;	    /* the line it would go on from was bad */
};

static void __attribute__((format(printf, 3, 4)))
problem(struct reader *rd, size_t column, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (rd->errors < 1000000)
		rd->errors++;
	rd->on_error(rd->arg, rd->line, (uint32_t)column, text);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '_' || c == '-';
}

size_t
conf_utf8_len(const uint8_t *p, size_t left)
{
	size_t n, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (left < n)
		return 0;
	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* Are these bytes a line of text? Comments too: a file is text or it is not. */
static bool
line_is_text(struct reader *rd, const char *line, size_t len)
{
	const uint8_t *p = (const uint8_t *)line;
	size_t i, n;

	if (len > CONF_INI_LINE_MAX) {
		problem(rd, 0, "found a line of %zu bytes, wanted at most %u",
		    len, CONF_INI_LINE_MAX);
		return false;
	}
	for (i = 0; i < len; i += n) {
		if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f) {
			problem(rd, i + 1,
			    "found a control byte (0x%02x), wanted text", p[i]);
			return false;
		}
		n = conf_utf8_len(p + i, len - i);
		if (n == 0) {
			problem(rd, i + 1,
			    "found a byte (0x%02x) that is not UTF-8, wanted "
			    "UTF-8 text",
			    p[i]);
			return false;
		}
	}
	return true;
}

static struct conf_ini_item *
item_new(struct reader *rd)
{
	struct conf_ini *ini = rd->ini;
	struct conf_ini_item *v;

	if (ini->n == rd->cap) {
		rd->cap = rd->cap == 0 ? 64 : rd->cap * 2;
		v = reallocarray(ini->v, rd->cap, sizeof(*v));
		if (v == NULL)
			return NULL;
		ini->v = v;
	}
	v = &ini->v[ini->n++];
	memset(v, 0, sizeof(*v));
	v->line = rd->line;
	return v;
}

/* "[name]"; off is where the line starts. */
static int
read_section(struct reader *rd, size_t off, size_t len)
{
	const char *line = rd->ini->text + off;
	struct conf_ini_item *item;
	size_t start = 1, end = len - 1;

	if (line[end] != ']') {
		if (memchr(line, ']', len) != NULL)
			problem(rd, len,
			    "found text behind ']', wanted the end of the line "
			    "(a comment stands on its own line)");
		else
			problem(rd, len,
			    "found no ']' at the end of the line, wanted "
			    "[section]");
		return 0;
	}
	while (start < end && is_blank(line[start]))
		start++;
	while (end > start && is_blank(line[end - 1]))
		end--;
	if (start == end) {
		problem(rd, 1, "found [], wanted the name of a section");
		return 0;
	}
	item = item_new(rd);
	if (item == NULL)
		return -ENOMEM;
	item->section = true;
	item->column = (uint32_t)start + 1;
	item->name_off = (uint32_t)(off + start);
	item->name_len = (uint32_t)(end - start);
	return 0;
}

/* "key = value"; off is where the line starts. */
static int
read_key(struct reader *rd, size_t off, size_t len)
{
	const char *line = rd->ini->text + off;
	struct conf_ini_item *item;
	size_t key_len = 0, pos;

	while (key_len < len && is_key_char(line[key_len]))
		key_len++;
	pos = key_len;
	while (pos < len && is_blank(line[pos]))
		pos++;
	if (key_len == 0 || pos == len || line[pos] != '=') {
		if (key_len != 0 && memchr(line, '=', len) == NULL)
			problem(rd, 1,
			    "found '%.*s' without '=', wanted key = value",
			    (int)(key_len > 60 ? 60 : key_len), line);
		else
			problem(rd, pos + 1,
			    "found no key (letters, digits, '_', '-') before "
			    "'=', wanted key = value or [section]");
		rd->skip_indented = true;
		return 0;
	}
	pos++;
	while (pos < len && is_blank(line[pos]))
		pos++;
	item = item_new(rd);
	if (item == NULL)
		return -ENOMEM;
	item->column = 1;
	item->name_off = (uint32_t)off;
	item->name_len = (uint32_t)key_len;
	item->value_off = (uint32_t)(off + pos);
	item->value_len = (uint32_t)(len - pos);
	rd->open = item;
	return 0;
}

/* An indented line: the open value goes on. */
static void
read_more(struct reader *rd, size_t off, size_t len, size_t indent)
{
	struct conf_ini_item *item = rd->open;
	size_t total;

	if (rd->skip_indented)
		return;
	if (item == NULL) {
		problem(rd, indent + 1,
		    "found an indented line with no value before it to go on "
		    "from, wanted it to start in column 1");
		rd->skip_indented = true;
		return;
	}
	if (item->value_len == 0)
		item->value_off = (uint32_t)(off + indent);
	total = off + len - item->value_off;
	if (total > CONF_INI_VALUE_MAX) {
		problem(rd, indent + 1,
		    "found a value of more than %u bytes, wanted less",
		    CONF_INI_VALUE_MAX);
		rd->skip_indented = true;
		return;
	}
	item->value_len = (uint32_t)total;
}

static int
read_line(struct reader *rd, size_t off, size_t len)
{
	const char *line = rd->ini->text + off;
	size_t indent = 0;

	if (len > 0 && line[len - 1] == '\r')
		len--;
	if (!line_is_text(rd, line, len)) {
		rd->open = NULL;
		rd->skip_indented = true;
		return 0;
	}
	if (len > 0 && (line[0] == '#' || line[0] == ';'))
		return 0; /* also between the lines of a value */
	while (len > 0 && is_blank(line[len - 1]))
		len--;
	while (indent < len && is_blank(line[indent]))
		indent++;
	if (len > 0 && indent > 0) {
		read_more(rd, off, len, indent);
		return 0;
	}
	rd->open = NULL;
	rd->skip_indented = false;
	if (len == 0)
		return 0;
	if (line[0] == '[')
		return read_section(rd, off, len);
	return read_key(rd, off, len);
}

int
conf_ini_parse(const char *text, size_t len, conf_ini_on_error on_error,
    void *arg, struct conf_ini *ret_ini)
{
	struct reader rd = { .ini = ret_ini, .on_error = on_error, .arg = arg };
	const char *lf;
	size_t off = 0, n;
	int r;

	memset(ret_ini, 0, sizeof(*ret_ini));
	ret_ini->text = text;
	ret_ini->len = len;
	if (len > CONF_INI_FILE_MAX) {
		problem(&rd, 0, "found %zu bytes, wanted at most %u", len,
		    CONF_INI_FILE_MAX);
		return rd.errors;
	}
	/* what some editors put before UTF-8 */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		off = 3;
	while (off < len) {
		rd.line++;
		lf = memchr(text + off, '\n', len - off);
		n = lf == NULL ? len - off : (size_t)(lf - (text + off));
		r = read_line(&rd, off, n);
		if (r < 0)
			return r;
		off += n + 1;
	}
	return rd.errors;
}

void
conf_ini_done(struct conf_ini *ini)
{
	free(ini->v);
	memset(ini, 0, sizeof(*ini));
}

size_t
conf_ini_value(
    const struct conf_ini *ini, const struct conf_ini_item *item, char *out)
{
	const char *p = ini->text + item->value_off;
	const char *end = p + item->value_len, *lf, *stop;
	size_t n = 0;
	bool first = true;

	for (; p < end; p = lf + 1, first = false) {
		lf = memchr(p, '\n', (size_t)(end - p));
		if (lf == NULL)
			lf = end;
		if (!first && (*p == '#' || *p == ';'))
			continue;
		for (stop = lf;
		     stop > p && (is_blank(stop[-1]) || stop[-1] == '\r');
		     stop--)
			;
		while (p < stop && is_blank(*p))
			p++;
		if (!first && n > 0)
			out[n++] = '\n';
		memcpy(out + n, p, (size_t)(stop - p));
		n += (size_t)(stop - p);
	}
	out[n] = '\0';
	return n;
}
