/*
 * rates.h - how fast the counters grew over the last 1, 5 and 15 minutes.
 *
 * admin asks every process for its counters each RATES_EVERY_MS and keeps the
 * sums. A process that restarts begins at zero again: what it counts from there
 * on is added, nothing is taken away. Pure: numbers in, numbers out.
 */
#ifndef POSTERN_ADMIN_RATES_H
#define POSTERN_ADMIN_RATES_H

#include "admin/owners.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RATES_EVERY_MS = 10 * 1000,
	RATES_SAMPLES = 92, /* 15 minutes and one more */
	RATES_MAX = 384,    /* counters, each set of labels its own */
	RATES_NAME_MAX = 192,
};

struct rates {
	struct {
		char name[RATES_NAME_MAX]; /* name or name{labels} */
		int64_t total;		   /* since admin started */
		int64_t adding;		   /* of the process being read */
	} v[RATES_MAX];
	size_t n;
	struct rates_source {
		enum role role;
		uint32_t instance;
		int64_t last[RATES_MAX];
		bool known[RATES_MAX];
	} * sources[OWNERS_MAX];
	size_t n_sources;
	struct {
		int64_t at_ms;
		int64_t total[RATES_MAX];
		size_t n;
	} ring[RATES_SAMPLES];
	size_t head, n_samples;
};

void rates_init(struct rates *r);
void rates_done(struct rates *r);

/* The counters of one process now: an encoded list of metrics. Gauges and what
 * does not fit the bound are passed over. 0 or -ENOMEM. */
int rates_add(struct rates *r, enum role role, uint32_t instance,
    const uint8_t *list, size_t len);

/* All processes are added: keep this as the sample of now_ms. */
void rates_sample(struct rates *r, int64_t now_ms);

/*
 * Events per hour of counter i over the last window_ms, as far as there are
 * samples; false while there are fewer than two.
 */
bool rates_per_hour(
    const struct rates *r, size_t i, int64_t window_ms, double *ret_rate);

#endif
