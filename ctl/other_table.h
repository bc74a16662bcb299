/*
 * other_table.h - the destination table of the other gateway, in and out.
 *
 * Pure: texts and documents, no node. Every line of a table that comes in is
 * told of: taken, mapped or refused.
 */
#ifndef POSTERN_CTL_OTHER_TABLE_H
#define POSTERN_CTL_OTHER_TABLE_H

#include <jansson.h>
#include <stddef.h>

struct buf;

/*
 * text[0..len) in their format to out in ours. Returns the report {entries,
 * taken, mapped, refused: numbers, lines: [{line, entry, key, value, outcome,
 * text}]}, or NULL without memory.
 */
json_t *other_table_import(const char *text, size_t len, struct buf *out);

/*
 * One entry of ours ({name, keys}) in their format, appended to out; what it
 * cannot say is appended to lines as above. 0, PE_FULL, -ENOMEM.
 */
int other_table_export(const json_t *entry, struct buf *out, json_t *lines);

#endif
