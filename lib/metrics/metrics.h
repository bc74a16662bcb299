/*
 * metrics.h - counters of a process, and how they travel to admin.
 *
 * A process keeps plain uint64_t counters in its own structs and lists them in a
 * table; nothing is locked, each process has one loop. Names follow control.md:
 * postern_ prefix, base units, _total on counters.
 */
#ifndef POSTERN_METRICS_METRICS_H
#define POSTERN_METRICS_METRICS_H

#include "lib/ipc/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
	const char *name;   /* "postern_recipients_accepted_total" */
	const char *labels; /* "" or `result="ok"` */
	const char *help;
	enum metric_kind kind;
	int64_t value;
};

/* Append one to the list under construction in w. */
void metric_encode(struct ipc_wr *w, const struct metric *m);

/* The next one of a list; 1 filled, 0 at the end, PE_SYNTAX. Strings are
 * borrowed from the range under r. */
int metric_decode(struct ipc_rd *r, struct metric *ret);

#endif
