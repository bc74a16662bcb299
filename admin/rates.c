/*
 * rates.c - sums of counters in a ring of samples.
 *
 * Called by sample.c. Never asks for the time.
 */
#include "admin/rates.h"
#include "lib/metrics/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
rates_init(struct rates *r)
{
	memset(r, 0, sizeof(*r));
}

void
rates_done(struct rates *r)
{
	size_t i;

	for (i = 0; i < r->n_sources; i++)
		free(r->sources[i]);
	memset(r, 0, sizeof(*r));
}

static struct rates_source *
source(struct rates *r, enum role role, uint32_t instance)
{
	struct rates_source *s;
	size_t i;

	for (i = 0; i < r->n_sources; i++)
		if (r->sources[i]->role == role &&
		    r->sources[i]->instance == instance)
			return r->sources[i];
	if (r->n_sources == OWNERS_MAX)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->role = role;
	s->instance = instance;
	r->sources[r->n_sources++] = s;
	return s;
}

/* The counter of this name and labels; RATES_MAX when there is no room. */
static size_t
counter(struct rates *r, const struct metric *m)
{
	char key[RATES_NAME_MAX];
	size_t i;
	int n;

	n = m->labels[0] == '\0'
	    ? snprintf(key, sizeof(key), "%s", m->name)
	    : snprintf(key, sizeof(key), "%s{%s}", m->name, m->labels);
	if (n < 0 || (size_t)n >= sizeof(key))
		return RATES_MAX;
	for (i = 0; i < r->n; i++)
		if (strcmp(r->v[i].name, key) == 0)
			return i;
	if (r->n == RATES_MAX)
		return RATES_MAX;
	memcpy(r->v[r->n].name, key, (size_t)n + 1);
	return r->n++;
}

int
rates_add(struct rates *r, enum role role, uint32_t instance,
    const uint8_t *list, size_t len)
{
	struct rates_source *s = source(r, role, instance);
	bool seen[RATES_MAX] = { false };
	struct ipc_rd rd;
	struct metric m;
	size_t i;

	if (s == NULL)
		return -ENOMEM;
	for (i = 0; i < r->n; i++)
		r->v[i].adding = 0;
	ipc_rd_init(&rd, list, len);
	while (metric_decode(&rd, &m) > 0) {
		if (m.kind != METRIC_COUNTER || m.value < 0)
			continue;
		i = counter(r, &m);
		if (i == RATES_MAX)
			continue;
		if (!seen[i])
			r->v[i].adding = 0;
		seen[i] = true;
		/* the same twice: added up, as in /metrics */
		if (__builtin_add_overflow(
			r->v[i].adding, m.value, &r->v[i].adding))
			r->v[i].adding = INT64_MAX;
	}
	for (i = 0; i < r->n; i++) {
		int64_t now = r->v[i].adding;

		if (!seen[i])
			continue;
		if (s->known[i] &&
		    __builtin_add_overflow(r->v[i].total,
			now >= s->last[i] ? now - s->last[i] : now,
			&r->v[i].total))
			r->v[i].total = INT64_MAX;
		s->known[i] = true;
		s->last[i] = now;
	}
	return 0;
}

void
rates_sample(struct rates *r, int64_t now_ms)
{
	size_t i;

	r->head = (r->head + 1) % RATES_SAMPLES;
	if (r->n_samples < RATES_SAMPLES)
		r->n_samples++;
	r->ring[r->head].at_ms = now_ms;
	r->ring[r->head].n = r->n;
	for (i = 0; i < r->n; i++)
		r->ring[r->head].total[i] = r->v[i].total;
}

bool
rates_per_hour(
    const struct rates *r, size_t i, int64_t window_ms, double *ret_rate)
{
	size_t k, at, best;
	int64_t now = r->ring[r->head].at_ms, before;

	if (r->n_samples < 2)
		return false;
	/* the youngest sample that is at least a window old, else the oldest */
	best = (r->head + RATES_SAMPLES - 1) % RATES_SAMPLES;
	for (k = 1; k < r->n_samples; k++) {
		at = (r->head + RATES_SAMPLES - k) % RATES_SAMPLES;
		best = at;
		if (now - r->ring[at].at_ms >= window_ms)
			break;
	}
	if (now <= r->ring[best].at_ms)
		return false;
	before = i < r->ring[best].n ? r->ring[best].total[i] : 0;
	*ret_rate = (double)(r->v[i].total - before) * 3600.0 * 1000.0 /
	    (double)(now - r->ring[best].at_ms);
	return true;
}
