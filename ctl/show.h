/*
 * show.h - values and tables for a terminal. Text from outside is escaped: no
 * control byte of a mail or a server reaches the terminal.
 */
#ifndef POSTERN_CTL_SHOW_H
#define POSTERN_CTL_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A value for people: text escaped, "yes"/"no", "-" for null and absent, lists
 * with commas, objects as JSON. From malloc(); never NULL (aborts). */
char *show_value(const json_t *value);
/* Numbers with thousands separated: 1,234,567. */
char *show_count(const json_t *value);

/* "label     value" with the value in column width. */
void show_line(FILE *out, int width, const char *label, const json_t *value);

/* "label     key value, key value" of an object; absent where there is none. */
void show_flat(
    FILE *out, int width, const char *label, json_t *obj, const char *absent);

/* Every field of an object, one a line, what is nested below its name. */
void show_tree(FILE *out, int indent, json_t *obj);

/* Aligned columns. Cells are copied; right: how a column stands. */
struct show_table;
struct show_column {
	const char *title;
	bool right;
};
struct show_table *show_table_new(const struct show_column *cols, size_t n);
/* Cell of the row under construction, in order; the last one ends the row.
 * The text is taken. */
void show_cell(struct show_table *t, char *text);
void show_cell_text(struct show_table *t, const char *text);
size_t show_table_rows(const struct show_table *t);
/* Prints with an indent and frees. */
void show_table_print(struct show_table *t, FILE *out, int indent);

/* Columns on the terminal that UTF-8 text takes (one for each character). */
size_t show_width(const char *text);

#endif
