/*
 * record_doc.h - a stored policy as JSON: the fields that every document shows
 * which speaks of one.
 *
 * Pure. Field names are a contract (docs/api.md).
 */
#ifndef POSTERN_POLICYD_RECORD_DOC_H
#define POSTERN_POLICYD_RECORD_DOC_H

#include <stddef.h>
#include <stdint.h>

struct json;
struct policy_record;

/* Into the object that is open: mode, id, age_s, max_age_s, failures. */
void record_doc_facts(
    struct json *j, const struct policy_record *rec, int64_t now_s);
/* "last_error": null without one. */
void record_doc_error(struct json *j, const struct policy_record *rec);
/* "mx": the patterns. */
void record_doc_mx(struct json *j, const char *list, size_t len);

/* An object: what a list shows of it; and everything. */
void record_doc_line(
    struct json *j, const struct policy_record *rec, int64_t now_s);
void record_doc_whole(
    struct json *j, const struct policy_record *rec, int64_t now_s);

#endif
