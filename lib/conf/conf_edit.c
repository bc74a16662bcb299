/*
 * conf_edit.c - a table's text as a row of pieces, one for each section.
 *
 * Called by admin for staged changes. A piece is the text from the comment
 * right above a header to the next such place; an edit parses and rebuilds one
 * piece, and the text is the pieces in their order again. No I/O.
 */
#include "lib/conf/conf_edit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf_build.h"

struct piece {
	char *name; /* in its one form; the map borrows it */
	char *text;
	size_t len; /* 0: removed */
};

struct conf_edit {
	enum conf_table table;
	const char *eol; /* of the file: "\n" or "\r\n" */
	char *head;	 /* before the first section */
	size_t head_len;
	size_t n, cap;
	struct piece *v;
	struct conf_map map; /* name to piece */
};

/* ---- names --------------------------------------------------------------- */

bool
conf_edit_name(enum conf_table table, const char *text, size_t len, char *out,
    char *why, size_t why_len)
{
	size_t word = 0, rest, i;

	if (table == CONF_T_DESTINATIONS || table == CONF_T_ROUTES) {
		const char *all =
		    table == CONF_T_DESTINATIONS ? "DEFAULT" : "ALL";

		if (strlen(all) == len && strncasecmp(all, text, len) == 0) {
			(void)snprintf(out, CONF_EDIT_NAME, "%s", all);
			return true;
		}
		return conf_dest_name(
		    text, len, table == CONF_T_DESTINATIONS, out, why, why_len);
	}
	while (word < len && text[word] != ' ' && text[word] != '\t')
		word++;
	for (rest = word;
	     rest < len && (text[rest] == ' ' || text[rest] == '\t');)
		rest++;
	(void)snprintf(
	    out, CONF_EDIT_NAME, "%.*s", (int)(len - rest), text + rest);
	for (i = 0; i < CONF_S_COUNT; i++)
		if (conf_schema[i].table == table &&
		    conf_schema[i].kind != NULL &&
		    strlen(conf_schema[i].kind) == word &&
		    memcmp(conf_schema[i].kind, text, word) == 0)
			break;
	if (i == CONF_S_COUNT || len - rest >= 64 ||
	    (conf_schema[i].named ? !conf_name_ok(out) : out[0] != '\0')) {
		(void)snprintf(why, why_len,
		    "a name of letters, digits, '.', '_' and '-'");
		return false;
	}
	(void)snprintf(out, CONF_EDIT_NAME, "%s%s%.*s", conf_schema[i].kind,
	    conf_schema[i].named ? " " : "", (int)(len - rest), text + rest);
	return true;
}

/* ---- pieces -------------------------------------------------------------- */

static int
piece_add(struct conf_edit *e, const char *name, const char *text, size_t len)
{
	struct piece *v, *p;
	uint32_t other;
	int r;

	if (e->n >= CONF_EDIT_SECTIONS)
		return PE_FULL;
	if (e->n == e->cap) {
		e->cap = e->cap == 0 ? 64 : e->cap * 2;
		v = reallocarray(e->v, e->cap, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		e->v = v;
	}
	p = &e->v[e->n];
	p->name = strdup(name);
	p->text = malloc(len + 1);
	p->len = len;
	if (p->name == NULL || p->text == NULL) {
		free(p->name);
		free(p->text);
		return -ENOMEM;
	}
	memcpy(p->text, text, len);
	p->text[len] = '\0';
	e->n++;
	r = conf_map_put(
	    &e->map, p->name, strlen(p->name), (uint32_t)(e->n - 1), &other);
	if (r == 1) /* the same section twice: no set that is in force has it */
		return PE_SYNTAX;
	return r;
}

void
conf_edit_free(struct conf_edit *e)
{
	size_t i;

	if (e == NULL)
		return;
	for (i = 0; i < e->n; i++) {
		free(e->v[i].name);
		free(e->v[i].text);
	}
	free(e->v);
	free(e->head);
	conf_map_done(&e->map);
	free(e);
}

struct first_error {
	uint32_t line;
	char *why;
	size_t why_len;
};

static void
on_error(void *arg, uint32_t line, uint32_t column, const char *text)
{
	struct first_error *f = arg;

	(void)column;
	if (f->line != 0)
		return;
	f->line = line == 0 ? 1 : line;
	(void)snprintf(f->why, f->why_len, "line %u: %s", f->line, text);
}

/* Where the piece of a header starts: above the comment lines right before. */
static size_t
piece_start(const char *text, size_t floor, size_t header)
{
	size_t at = header, up;

	while (at > floor) {
		up = at - 1; /* the line feed before */
		while (up > floor && text[up - 1] != '\n')
			up--;
		if (text[up] != '#' && text[up] != ';')
			break;
		at = up;
	}
	return at;
}

static size_t
line_start(const char *text, size_t at)
{
	while (at > 0 && text[at - 1] != '\n')
		at--;
	return at;
}

/* Offset behind the end of the line that at is in. */
static size_t
line_end(const char *text, size_t len, size_t at)
{
	const char *lf = at >= len ? NULL : memchr(text + at, '\n', len - at);

	return lf == NULL ? len : (size_t)(lf - text) + 1;
}

static int
cut(struct conf_edit *e, const struct conf_ini *ini, char *why, size_t why_len)
{
	const struct conf_ini_item *it;
	size_t i, last = ini->n, start = 0, next, header;
	char name[CONF_EDIT_NAME], reason[160];
	int r;

	for (i = 0; i <= ini->n; i++) {
		if (i < ini->n && !ini->v[i].section)
			continue;
		next = ini->len;
		if (i < ini->n) {
			header = line_start(ini->text, ini->v[i].name_off);
			next = piece_start(ini->text,
			    last < ini->n ? line_end(ini->text, ini->len,
						ini->v[last].name_off)
					  : 0,
			    header);
		}
		if (last == ini->n) {
			e->head = malloc(next + 1);
			if (e->head == NULL)
				return -ENOMEM;
			memcpy(e->head, ini->text, next);
			e->head_len = next;
		} else {
			it = &ini->v[last];
			if (!conf_edit_name(e->table, ini->text + it->name_off,
				it->name_len, name, reason, sizeof(reason))) {
				(void)snprintf(why, why_len,
				    "line %u: wanted %s", it->line, reason);
				return PE_SYNTAX;
			}
			r = piece_add(e, name, ini->text + start, next - start);
			if (r == PE_SYNTAX)
				(void)snprintf(why, why_len,
				    "line %u: [%s] a second time", it->line,
				    name);
			if (r < 0)
				return r == PE_FULL ? -EFBIG : r;
		}
		start = next;
		last = i;
	}
	return 0;
}

int
conf_edit_new(enum conf_table table, const char *text, size_t len, char *why,
    size_t why_len, struct conf_edit **ret_edit)
{
	struct first_error f = { 0, why, why_len };
	struct conf_ini ini = { 0 };
	struct conf_edit *e;
	int r;

	if (len > CONF_EDIT_MAX)
		return -EFBIG;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return -ENOMEM;
	e->table = table;
	e->eol = len > 1 && memchr(text, '\r', len) != NULL &&
		memmem(text, len, "\r\n", 2) != NULL
	    ? "\r\n"
	    : "\n";
	r = conf_ini_parse(text, len, on_error, &f, &ini);
	if (r > 0)
		r = PE_SYNTAX;
	if (r == 0)
		r = cut(e, &ini, why, why_len);
	conf_ini_done(&ini);
	if (r < 0) {
		conf_edit_free(e);
		return r;
	}
	*ret_edit = e;
	return 0;
}

int
conf_edit_text(const struct conf_edit *e, struct buf *out)
{
	size_t i;
	int r = buf_put(out, e->head, e->head_len);

	for (i = 0; r == 0 && i < e->n; i++)
		r = buf_put(out, e->v[i].text, e->v[i].len);
	return r;
}

int
conf_edit_dup(const struct conf_edit *e, struct conf_edit **ret_edit)
{
	char why[160];
	struct buf text;
	int r;

	buf_init(&text, CONF_EDIT_MAX);
	r = conf_edit_text(e, &text);
	if (r == 0)
		r = buf_put(&text, "", 1);
	if (r == 0)
		r = conf_edit_new(e->table, (char *)buf_data(&text),
		    buf_len(&text) - 1, why, sizeof(why), ret_edit);
	buf_done(&text);
	return r;
}

size_t
conf_edit_count(const struct conf_edit *e)
{
	return e->n;
}

const char *
conf_edit_at(const struct conf_edit *e, size_t i)
{
	return e->v[i].len == 0 ? NULL : e->v[i].name;
}

/* Removed pieces keep their slot: the same name may come again. */
static struct piece *
find(const struct conf_edit *e, const char *name)
{
	uint32_t i;

	if (!conf_map_get(&e->map, name, strlen(name), &i) || e->v[i].len == 0)
		return NULL;
	return &e->v[i];
}

long
conf_edit_find(const struct conf_edit *e, const char *name)
{
	const struct piece *p = find(e, name);

	return p == NULL ? -1 : (long)(p - e->v);
}

/* ---- one piece ----------------------------------------------------------- */

static void
no_error(void *arg, uint32_t line, uint32_t column, const char *text)
{
	(void)arg;
	(void)line;
	(void)column;
	(void)text;
}

static int
parse_piece(const struct piece *p, struct conf_ini *ret_ini)
{
	int r = conf_ini_parse(p->text, p->len, no_error, NULL, ret_ini);

	return r > 0 ? PE_CORRUPT : r; /* it was good when it was cut */
}

static const struct conf_ini_item *
find_key(const struct conf_ini *ini, const char *key)
{
	size_t i;

	for (i = 0; i < ini->n; i++)
		if (!ini->v[i].section && ini->v[i].name_len == strlen(key) &&
		    memcmp(ini->text + ini->v[i].name_off, key,
			ini->v[i].name_len) == 0)
			return &ini->v[i];
	return NULL;
}

int
conf_edit_keys(
    const struct conf_edit *e, size_t i, conf_edit_on_key *cb, void *arg)
{
	const struct conf_ini_item *it;
	struct conf_ini ini = { 0 };
	char *key = NULL, *value = NULL;
	size_t k;
	int r;

	r = parse_piece(&e->v[i], &ini);
	for (k = 0; r == 0 && k < ini.n; k++) {
		it = &ini.v[k];
		if (it->section)
			continue;
		key = strndup(ini.text + it->name_off, it->name_len);
		value = malloc(it->value_len + 1U);
		if (key == NULL || value == NULL) {
			r = -ENOMEM;
		} else {
			(void)conf_ini_value(&ini, it, value);
			cb(arg, key, value);
		}
		free(key);
		free(value);
	}
	conf_ini_done(&ini);
	return r;
}

/* Replace p's text[from..to) by out's bytes, which are emptied. */
static int
splice(struct piece *p, size_t from, size_t to, struct buf *mid)
{
	size_t len = p->len - (to - from) + buf_len(mid);
	char *text = malloc(len + 1);

	if (text == NULL)
		return -ENOMEM;
	memcpy(text, p->text, from);
	if (buf_len(mid) > 0)
		memcpy(text + from, buf_data(mid), buf_len(mid));
	memcpy(text + from + buf_len(mid), p->text + to, p->len - to);
	text[len] = '\0';
	free(p->text);
	p->text = text;
	p->len = len;
	return 0;
}

/* Comment lines within text[from..to), each with its line end before it or,
 * with whole lines, behind it. */
static int
keep_comments(const char *text, size_t from, size_t to, bool before,
    const char *eol, struct buf *out)
{
	size_t at = line_end(text, to, from), end, n;
	int r = 0;

	for (; r == 0 && at < to; at = end) {
		end = line_end(text, to, at);
		if (text[at] != '#' && text[at] != ';')
			continue;
		for (n = end - at; n > 0 &&
		     (text[at + n - 1] == '\n' || text[at + n - 1] == '\r');
		     n--)
			;
		if (before)
			r = buf_puts(out, eol);
		if (r == 0)
			r = buf_put(out, text + at, n);
		if (r == 0 && !before)
			r = buf_puts(out, eol);
	}
	return r;
}

/* ---- setting ------------------------------------------------------------- */

/* The value as a file holds it: lines joined by eol and a tab. */
static int
write_value(struct buf *out, const char *value, const char *eol)
{
	const char *line = value, *end, *stop;
	bool first = true;
	int r = 0;

	for (;;) {
		end = line + strcspn(line, "\n");
		stop = end;
		while (line < stop && (*line == ' ' || *line == '\t'))
			line++;
		while (stop > line && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		if (!first)
			r = buf_puts(out, eol);
		if (r == 0 && !first)
			r = buf_puts(out, "\t");
		if (r == 0)
			r = buf_put(out, line, (size_t)(stop - line));
		if (r < 0 || *end == '\0')
			return r;
		line = end + 1;
		first = false;
	}
}

static bool
value_ok(const char *value, char *why, size_t why_len)
{
	const uint8_t *p = (const uint8_t *)value;
	size_t left = strlen(value), n, line = 0;
	bool blank = true;

	if (left > CONF_INI_VALUE_MAX / 2) {
		(void)snprintf(why, why_len, "the value is too long");
		return false;
	}
	if (strstr(value, "${") != NULL) {
		(void)snprintf(why, why_len,
		    "found '${', which only a file edited by hand may have");
		return false;
	}
	for (; left > 0; p += n, left -= n) {
		n = conf_utf8_len(p, left);
		if (n == 0 || (*p < 0x20 && *p != '\t' && *p != '\n') ||
		    *p == 0x7f) {
			(void)snprintf(why, why_len,
			    "found a control byte or one that is not UTF-8, "
			    "wanted text");
			return false;
		}
		if (*p == '\n') {
			if (blank)
				break;
			blank = true;
			line = 0;
			continue;
		}
		if (*p != ' ' && *p != '\t')
			blank = false;
		line += n;
		if (line > 60000) {
			(void)snprintf(why, why_len, "a line is too long");
			return false;
		}
	}
	if (left > 0 || (blank && strchr(value, '\n') != NULL)) {
		(void)snprintf(why, why_len,
		    "found an empty line in the value, wanted none (it would "
		    "end there)");
		return false;
	}
	return true;
}

/* "key" and blanks up to the column of '=' of the line before. */
static int
write_key(struct buf *out, const char *key, const struct conf_ini *ini,
    const struct conf_ini_item *like)
{
	const char *eq;
	size_t width = 0, n = strlen(key);
	int r;

	if (like != NULL) {
		eq = memchr(
		    ini->text + like->name_off, '=', ini->len - like->name_off);
		if (eq != NULL && eq[-1] == ' ')
			width = (size_t)(eq - ini->text) - like->name_off - 1;
	}
	r = buf_puts(out, key);
	for (; r == 0 && n < width && width < 60; n++)
		r = buf_puts(out, " ");
	return r == 0 ? buf_puts(out, " = ") : r;
}

/* A key the section does not have: behind the last one. */
static int
insert_key(struct conf_edit *e, struct piece *p, const struct conf_ini *ini,
    const char *key, const char *value, struct buf *out)
{
	const struct conf_ini_item *it = &ini->v[ini->n - 1];
	size_t at = it->section ? it->name_off : it->value_off + it->value_len;
	int r = 0;

	at = line_end(p->text, p->len, at);
	if (at > 0 && p->text[at - 1] != '\n')
		r = buf_puts(out, e->eol);
	if (r == 0)
		r = write_key(out, key, ini, it->section ? NULL : it);
	if (r == 0)
		r = write_value(out, value, e->eol);
	if (r == 0)
		r = buf_puts(out, e->eol);
	return r == 0 ? splice(p, at, at, out) : r;
}

static int
replace_key(struct conf_edit *e, struct piece *p,
    const struct conf_ini_item *it, const char *value, struct buf *out)
{
	size_t from = it->value_off, to = from + it->value_len;
	size_t name_end = it->name_off + it->name_len;
	int r = 0;

	if (memchr(p->text + name_end, '\n', from - name_end) != NULL) {
		/* the value started on a later line: start it on its own */
		from = name_end +
		    (size_t)((char *)memchr(
				 p->text + name_end, '=', p->len - name_end) -
			(p->text + name_end)) +
		    1;
	}
	if (p->text[from - 1] == '=' && value[0] != '\0')
		r = buf_puts(out, " ");
	if (r == 0)
		r = write_value(out, value, e->eol);
	if (r == 0)
		r = keep_comments(p->text, from, to, true, e->eol, out);
	return r == 0 ? splice(p, from, to, out) : r;
}

/* Does what stands before piece i end without a line end? */
static bool
is_open(const struct conf_edit *e, size_t i)
{
	while (i-- > 0)
		if (e->v[i].len > 0)
			return e->v[i].text[e->v[i].len - 1] != '\n';
	return e->head_len > 0 && e->head[e->head_len - 1] != '\n';
}

/* Is there text before piece i? */
static bool
has_before(const struct conf_edit *e, size_t i)
{
	while (i-- > 0)
		if (e->v[i].len > 0)
			return true;
	return e->head_len > 0;
}

int
conf_edit_add(struct conf_edit *e, const char *name)
{
	struct buf text;
	uint32_t old = 0;
	bool again;
	size_t i;
	int r = 0;

	if (find(e, name) != NULL)
		return 0;
	/* one that was removed comes back to its place */
	again = conf_map_get(&e->map, name, strlen(name), &old);
	i = again ? old : e->n;
	buf_init(&text, CONF_EDIT_MAX);
	if (is_open(e, i))
		r = buf_puts(&text, e->eol);
	if (r == 0 && !again && has_before(e, i))
		r = buf_puts(&text, e->eol);
	if (r == 0)
		r = buf_printf(&text, "[%s]%s", name, e->eol);
	if (r == 0 && again)
		r = buf_puts(&text, e->eol);
	if (r == 0 && again)
		r = splice(&e->v[i], 0, 0, &text);
	else if (r == 0)
		r = piece_add(e, name, (char *)buf_data(&text), buf_len(&text));
	buf_done(&text);
	return r;
}

int
conf_edit_copy(
    struct conf_edit *e, const struct conf_edit *from, const char *name)
{
	const struct piece *src = find(from, name);
	struct conf_ini ini = { 0 };
	struct piece *p;
	struct buf body;
	size_t at, end;
	int r;

	if (src == NULL)
		return PE_NOT_FOUND;
	r = conf_edit_add(e, name);
	if (r == 0)
		r = parse_piece(src, &ini);
	if (r < 0)
		return r;
	p = find(e, name);
	/* what stands above the header stays there */
	at = line_end(src->text, src->len, ini.v[0].name_off);
	buf_init(&body, CONF_EDIT_MAX);
	/* without the blank lines before the next one: add has made its own */
	for (end = src->len; end > at && strchr(" \t\r\n", src->text[end - 1]);)
		end--;
	r = buf_put(&body, src->text + at, end - at);
	if (r == 0 && end > at)
		r = buf_puts(&body, e->eol);
	/* there may be a blank line before the header, or behind it */
	at = line_end(p->text, p->len,
	    (size_t)((char *)memchr(p->text, '[', p->len) - p->text));
	if (r == 0)
		r = splice(p, at, at, &body);
	buf_done(&body);
	conf_ini_done(&ini);
	return r;
}

int
conf_edit_set(struct conf_edit *e, const char *name, const char *key,
    const char *value, char *why, size_t why_len)
{
	const struct conf_ini_item *it;
	struct conf_ini ini = { 0 };
	struct piece *p;
	struct buf out;
	int r;

	if (!value_ok(value, why, why_len))
		return PE_SYNTAX;
	if (key[0] == '\0' || strlen(key) > 64 ||
	    strspn(key,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789_-") != strlen(key)) {
		(void)snprintf(why, why_len, "wanted a key");
		return PE_SYNTAX;
	}
	r = conf_edit_add(e, name);
	if (r < 0)
		return r;
	p = find(e, name);
	buf_init(&out, CONF_EDIT_MAX);
	r = parse_piece(p, &ini);
	if (r == 0) {
		it = find_key(&ini, key);
		r = it != NULL ? replace_key(e, p, it, value, &out)
			       : insert_key(e, p, &ini, key, value, &out);
	}
	conf_ini_done(&ini);
	buf_done(&out);
	return r;
}

static const struct conf_section *
section_of(enum conf_table table, const char *name)
{
	switch (table) {
	case CONF_T_BOUNCE:
		return &conf_schema[CONF_S_PROFILE];
	case CONF_T_GATEWAYS:
		return &conf_schema[CONF_S_GATEWAY];
	case CONF_T_ROUTES:
		return &conf_schema[CONF_S_ROUTE];
	default:
		return strcmp(name, "DEFAULT") == 0
		    ? &conf_schema[CONF_S_DEFAULT]
		    : &conf_schema[CONF_S_DESTINATION];
	}
}

int
conf_edit_check(enum conf_table table, const char *name, const char *key,
    const char *value, char *why, size_t why_len)
{
	const struct conf_section *s = section_of(table, name);
	const char *names[CONF_KEYS_MAX];
	char hint[128], *copy;
	struct conf *conf;
	void *base;
	size_t k;
	int i, r;

	if (!value_ok(value, why, why_len))
		return PE_SYNTAX;
	i = conf_key_find(s, key, strlen(key));
	if (i < 0) {
		for (k = 0; k < s->n_keys; k++)
			names[k] = s->keys[k].name;
		(void)snprintf(why, why_len, "unknown key '%.64s'%s", key,
		    conf_hint(key, names, s->n_keys, hint, sizeof(hint)));
		return PE_SYNTAX;
	}
	conf = conf_new();
	base = calloc(1, s->size);
	copy = strdup(value);
	r = conf == NULL || base == NULL || copy == NULL
	    ? -ENOMEM
	    : conf_value_parse(
		  conf, &s->keys[i], copy, NULL, base, why, why_len);
	free(copy);
	free(base);
	conf_unref(conf);
	return r;
}

/* ---- removing ------------------------------------------------------------ */

int
conf_edit_unset(struct conf_edit *e, const char *name, const char *key)
{
	struct piece *p = find(e, name);
	const struct conf_ini_item *it;
	struct conf_ini ini = { 0 };
	struct buf out;
	size_t from, to;
	int r;

	if (p == NULL)
		return PE_NOT_FOUND;
	buf_init(&out, CONF_EDIT_MAX);
	r = parse_piece(p, &ini);
	it = r == 0 ? find_key(&ini, key) : NULL;
	if (it != NULL) {
		from = it->name_off;
		to = line_end(p->text, p->len, it->value_off + it->value_len);
		r = keep_comments(p->text, from, to, false, e->eol, &out);
		if (r == 0)
			r = splice(p, from, to, &out);
	} else if (r == 0) {
		r = PE_NOT_FOUND;
	}
	conf_ini_done(&ini);
	buf_done(&out);
	return r;
}

int
conf_edit_remove(struct conf_edit *e, const char *name)
{
	struct piece *p = find(e, name);

	if (p == NULL)
		return PE_NOT_FOUND;
	p->len = 0; /* the map still borrows the name; text is not printed */
	return 0;
}
