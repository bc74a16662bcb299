/*
 * show.c - values and tables for a terminal.
 *
 * Called by the commands. Never asks the node. posternctl is a short-lived
 * program: without memory it stops.
 */
#include "ctl/show.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void *
need(void *p)
{
	if (p == NULL) {
		(void)fputs("posternctl: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

/* Control bytes as \xNN, also C1 controls in UTF-8 (they can move cursors). */
static void
put_escaped(FILE *f, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			(void)fprintf(f, "\\x%02x", c);
		else if (c == 0xc2 && i + 1 < len &&
		    (unsigned char)text[i + 1] < 0xa0)
			(void)fprintf(f, "\\u00%02x", (unsigned char)text[++i]);
		else
			(void)fputc(c, f);
	}
}

static void
put_value(FILE *f, const json_t *v)
{
	const json_t *item;
	char *text;
	size_t i;

	switch (v == NULL ? JSON_NULL : json_typeof(v)) {
	case JSON_STRING:
		if (json_string_length(v) == 0)
			(void)fputc('-', f);
		put_escaped(f, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		(void)fprintf(
		    f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		(void)fprintf(f, "%.1f", json_real_value(v));
		break;
	case JSON_TRUE:
		(void)fputs("yes", f);
		break;
	case JSON_FALSE:
		(void)fputs("no", f);
		break;
	case JSON_NULL:
		(void)fputs("-", f);
		break;
	case JSON_ARRAY:
		if (json_array_size(v) == 0)
			(void)fputs("-", f);
		json_array_foreach(v, i, item) {
			if (i > 0)
				(void)fputs(", ", f);
			put_value(f, item);
		}
		break;
	case JSON_OBJECT:
		text = need(json_dumps(v, JSON_COMPACT));
		put_escaped(f, text, strlen(text));
		free(text);
		break;
	}
}

char *
show_value(const json_t *value)
{
	char *text = NULL;
	size_t len;
	FILE *f = need(open_memstream(&text, &len));

	put_value(f, value);
	(void)fclose(f);
	return need(text);
}

char *
show_count(const json_t *value)
{
	char *plain = show_value(value), *out, *p;
	size_t digits, i;

	if (!json_is_integer(value))
		return plain;
	out = need(malloc(2 * strlen(plain) + 1));
	p = out;
	i = 0;
	if (plain[0] == '-')
		*p++ = plain[i++];
	for (digits = strlen(plain + i); digits > 0; digits--) {
		*p++ = plain[i++];
		if (digits > 1 && (digits - 1) % 3 == 0)
			*p++ = ',';
	}
	*p = '\0';
	free(plain);
	return out;
}

void
show_line(FILE *out, int width, const char *label, const json_t *value)
{
	char *text = show_value(value);

	(void)fprintf(out, "%-*s %s\n", width, label, text);
	free(text);
}

static bool
has_objects(const json_t *list)
{
	return json_is_object(json_array_get(list, 0));
}

/* Longest name of a field that has its value on the same line. */
static int
label_width(json_t *obj)
{
	const json_t *v;
	const char *key;
	int n = 0;

	json_object_foreach(obj, key, v)
		if (!json_is_object(v) && !has_objects(v) &&
		    (int)strlen(key) > n)
			n = (int)strlen(key);
	return n > 40 ? 40 : n;
}

/* Field names come from our own processes, but are no more believed than
 * values. */
static void
put_label(FILE *out, int indent, int width, const char *key)
{
	(void)fprintf(out, "%*s", indent, "");
	put_escaped(out, key, strlen(key));
	(void)fprintf(out, "%*s",
	    width > (int)strlen(key) ? width - (int)strlen(key) : 0, "");
}

void
show_flat(
    FILE *out, int width, const char *label, json_t *obj, const char *absent)
{
	const json_t *v;
	const char *key, *sep = "";

	(void)fprintf(out, "%-*s ", width, label);
	if (!json_is_object(obj)) {
		char *text = obj == NULL || json_is_null(obj) ? strdup(absent)
							      : show_value(obj);

		(void)fprintf(out, "%s\n", text);
		free(text);
		return;
	}
	json_object_foreach(obj, key, v) {
		char *text = show_value(v);

		(void)fprintf(out, "%s%s %s", sep, key, text);
		sep = ", ";
		free(text);
	}
	(void)fputc('\n', out);
}

void
show_tree(FILE *out, int indent, json_t *obj)
{
	int width = label_width(obj);
	const char *key;
	json_t *v, *item;
	size_t i;

	json_object_foreach(obj, key, v) {
		if (json_is_object(v)) {
			put_label(out, indent, 0, key);
			(void)fputc('\n', out);
			show_tree(out, indent + 2, v);
		} else if (has_objects(v)) {
			json_array_foreach(v, i, item) {
				put_label(out, indent, 0, key);
				(void)fprintf(out, " %zu\n", i + 1);
				show_tree(out, indent + 2, item);
			}
		} else {
			char *text = show_value(v);

			put_label(out, indent, width, key);
			(void)fprintf(out, "  %s\n", text);
			free(text);
		}
	}
}

size_t
show_width(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* ---- tables --------------------------------------------------------------------------- */

struct show_table {
	const struct show_column *cols;
	size_t n_cols, n_cells, cap;
	char **cells;
};

struct show_table *
show_table_new(const struct show_column *cols, size_t n)
{
	struct show_table *t = need(calloc(1, sizeof(*t)));

	t->cols = cols;
	t->n_cols = n;
	return t;
}

void
show_cell(struct show_table *t, char *text)
{
	if (t->n_cells == t->cap) {
		t->cap = t->cap == 0 ? 64 : 2 * t->cap;
		t->cells = need(realloc(t->cells, t->cap * sizeof(char *)));
	}
	t->cells[t->n_cells++] = need(text);
}

void
show_cell_text(struct show_table *t, const char *text)
{
	show_cell(t, strdup(text));
}

size_t
show_table_rows(const struct show_table *t)
{
	return t->n_cells / t->n_cols;
}

static void
put_cell(const struct show_table *t, FILE *out, size_t col, const char *text,
    size_t width)
{
	size_t pad = width - show_width(text);

	if (col > 0)
		(void)fputs("  ", out);
	if (t->cols[col].right)
		(void)fprintf(out, "%*s%s", (int)pad, "", text);
	else if (col + 1 == t->n_cols)
		(void)fputs(text, out); /* no blanks at the end of a line */
	else
		(void)fprintf(out, "%s%*s", text, (int)pad, "");
}

void
show_table_print(struct show_table *t, FILE *out, int indent)
{
	size_t *width = need(calloc(t->n_cols, sizeof(*width)));
	size_t col, i, w;

	for (col = 0; col < t->n_cols; col++)
		width[col] = show_width(t->cols[col].title);
	for (i = 0; i < t->n_cells; i++) {
		w = show_width(t->cells[i]);
		if (w > width[i % t->n_cols])
			width[i % t->n_cols] = w;
	}
	(void)fprintf(out, "%*s", indent, "");
	for (col = 0; col < t->n_cols; col++)
		put_cell(t, out, col, t->cols[col].title, width[col]);
	(void)fputc('\n', out);
	for (i = 0; i < t->n_cells; i++) {
		col = i % t->n_cols;
		if (col == 0)
			(void)fprintf(out, "%*s", indent, "");
		put_cell(t, out, col, t->cells[i], width[col]);
		if (col + 1 == t->n_cols)
			(void)fputc('\n', out);
	}
	for (i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(width);
	free(t);
}
