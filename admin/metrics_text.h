/*
 * metrics_text.h - the metrics of all processes as one Prometheus text.
 *
 * Values of the same name and labels are added up. What a process sends is not
 * believed: a name or label that is no Prometheus text, or a name with another
 * kind than before, is left out and counted. Pure.
 * Source: Prometheus text exposition format 0.0.4.
 */
#ifndef POSTERN_ADMIN_METRICS_TEXT_H
#define POSTERN_ADMIN_METRICS_TEXT_H

#include "lib/metrics/metrics.h"

#include <stddef.h>
#include <stdint.h>

struct buf;

enum { METRICS_MAX = 8192 }; /* different name+labels */

struct metrics_set;

struct metrics_set *metrics_set_new(void); /* NULL without memory */
void metrics_set_free(struct metrics_set *s);

/* Add one. 0; PE_SYNTAX, PE_FULL or -ENOMEM: not taken, and counted. */
int metrics_set_add(struct metrics_set *s, const struct metric *m);

/* Add an encoded list (metric_encode()). PE_SYNTAX when it breaks off; what
 * stands before the break is in. */
int metrics_set_add_list(
    struct metrics_set *s, const uint8_t *data, size_t len);

/* How many were not taken. */
uint64_t metrics_set_dropped(const struct metrics_set *s);

/* Sum over all labels of a name; found may be NULL. */
int64_t metrics_set_total(
    const struct metrics_set *s, const char *name, bool *ret_found);

/* Sorted by name and labels; i from 0. False past the end. Borrowed. */
bool metrics_set_at(struct metrics_set *s, size_t i, struct metric *ret_metric);

/* The text, sorted, HELP and TYPE once per name. 0, PE_FULL, -ENOMEM. */
int metrics_set_format(struct metrics_set *s, struct buf *out);

/* Is this text fit to stand between the braces? `a="b",c="d"` or "". */
bool metrics_labels_valid(const char *labels);

#endif
