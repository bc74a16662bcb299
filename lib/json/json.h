/*
 * json.h - a streaming writer of JSON into a bounded buffer.
 *
 * For logs, lists and replies of processes that do not link a JSON library. No
 * name here is one of jansson, so that a process may link both.
 * Commas and escaping are its business; well-formedness is the caller's nesting.
 * The prefix keeps clear of jansson, which owns json_null() and json_real().
 * Invalid UTF-8 becomes U+FFFD. Errors stick in ->err (PE_FULL, -ENOMEM).
 */
#ifndef POSTERN_JSON_JSON_H
#define POSTERN_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

struct json {
	struct buf *b; /* borrowed */
	int err;
	bool comma; /* the next value in this container needs one */
};

void json_init(struct json *j, struct buf *b);

/* name NULL: an element of an array, or the document itself. */
void json_put_obj(struct json *j, const char *name);
void json_put_arr(struct json *j, const char *name);
void json_put_end_obj(struct json *j);
void json_put_end_arr(struct json *j);
void json_put_str(
    struct json *j, const char *name, const char *value); /* NULL: null */
void json_put_strn(
    struct json *j, const char *name, const char *value, size_t len);
void json_put_int(struct json *j, const char *name, int64_t value);
void json_put_uint(struct json *j, const char *name, uint64_t value);
void json_put_bool(struct json *j, const char *name, bool value);
void json_put_null(struct json *j, const char *name);
void json_put_real(
    struct json *j, const char *name, double value); /* 3 decimals */

#endif
