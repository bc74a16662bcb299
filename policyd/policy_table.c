/*
 * policy_table.c - the domains of which policyd remembers something: found by
 * name, bounded, each in the list of its phase.
 *
 * Called by policy.c only. Decides nothing about policies.
 */
#include "policyd/policy_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hash.h"

static size_t
bucket_of(const char *domain)
{
	return hash_bytes(domain, strlen(domain)) % BUCKETS;
}

struct policy_entry *
entry_find(struct policy *p, const char *domain)
{
	struct policy_entry *e;

	LIST_FOREACH(e, &p->buckets[bucket_of(domain)], bucket)
		if (strcmp(e->domain, domain) == 0)
			return e;
	return NULL;
}

void
entry_drop_record(struct policy_entry *e)
{
	if (e->have)
		record_done(&e->rec);
	e->have = e->held = e->full = false;
}

void
entry_free(struct policy_entry *e)
{
	struct policy *p = e->p;

	if (e->phase == IDLE)
		TAILQ_REMOVE(&p->idle, e, order);
	if (e->phase == PLACE)
		TAILQ_REMOVE(&p->places, e, order);
	if (e->phase == LOST)
		TAILQ_REMOVE(&p->lost, e, order);
	LIST_REMOVE(e, bucket);
	p->n_entries--;
	entry_drop_record(e);
	free(e);
}

/* The idle entry that was used longest ago. Not one that holds the only copy
 * of a policy, as far as a short look finds another. */
static struct policy_entry *
dispensable(struct policy *p)
{
	struct policy_entry *e;
	int n = 0;

	TAILQ_FOREACH(e, &p->idle, order)
		if ((!e->held || e->full) && !e->damaged)
			return e;
		else if (++n == 64)
			break;
	return NULL;
}

/* An idle entry, new or known. NULL: the table is full of busy ones. */
struct policy_entry *
entry_get(struct policy *p, const char *domain)
{
	struct policy_entry *e = entry_find(p, domain);

	if (e != NULL)
		return e;
	if (p->n_entries >= POLICY_ENTRIES_MAX) {
		/* what is forgotten here is asked or fetched once too often,
		 * or a grace begins anew: nothing gets weaker */
		e = dispensable(p);
		if (e == NULL)
			return NULL;
		entry_free(e);
	}
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->p = p;
	TAILQ_INIT(&e->waiters);
	TAILQ_INIT(&e->ready);
	(void)snprintf(e->domain, sizeof(e->domain), "%s", domain);
	LIST_INSERT_HEAD(&p->buckets[bucket_of(domain)], e, bucket);
	TAILQ_INSERT_TAIL(&p->idle, e, order);
	p->n_entries++;
	return e;
}

bool
entry_worth_keeping(const struct policy_entry *e)
{
	int64_t now = policy_mono_ms(e->p);

	return e->held || e->damaged || e->grace ||
	    (e->fail_id[0] != '\0' && now < e->fail_ms) ||
	    (e->looked && now - e->looked_ms < POLICY_FRESH_MS);
}

void
entry_set_phase(struct policy_entry *e, enum phase to)
{
	struct policy *p = e->p;

	if (e->phase == IDLE)
		TAILQ_REMOVE(&p->idle, e, order);
	if (e->phase == PLACE) {
		TAILQ_REMOVE(&p->places, e, order);
		p->n_places--;
	}
	if (e->phase == LOST)
		TAILQ_REMOVE(&p->lost, e, order);
	if (e->phase == FETCH)
		p->n_fetches--;
	e->phase = to;
	if (to == IDLE)
		TAILQ_INSERT_TAIL(&p->idle, e, order);
	if (to == PLACE) {
		TAILQ_INSERT_TAIL(&p->places, e, order);
		p->n_places++;
	}
	if (to == LOST)
		TAILQ_INSERT_TAIL(&p->lost, e, order);
	if (to == FETCH)
		p->n_fetches++;
}

struct policy *
policy_new(const struct policy_ops *ops, void *arg,
    const struct policy_settings *settings)
{
	struct policy *p = calloc(1, sizeof(*p));
	size_t i;

	if (p == NULL)
		return NULL;
	p->ops = ops;
	p->arg = arg;
	p->set = *settings;
	for (i = 0; i < BUCKETS; i++)
		LIST_INIT(&p->buckets[i]);
	TAILQ_INIT(&p->idle);
	TAILQ_INIT(&p->places);
	TAILQ_INIT(&p->lost);
	return p;
}

void
policy_free(struct policy *p)
{
	struct policy_entry *e;
	struct policy_waiter *w;
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < BUCKETS; i++)
		while ((e = LIST_FIRST(&p->buckets[i])) != NULL) {
			while ((w = TAILQ_FIRST(&e->waiters)) != NULL) {
				TAILQ_REMOVE(&e->waiters, w, link);
				w->entry = NULL;
			}
			entry_free(e);
		}
	free(p);
}

void
policy_stats(const struct policy *p, struct policy_stats *ret)
{
	ret->entries = p->n_entries;
	ret->waiters = p->n_waiters;
	ret->fetching = p->n_fetches;
	ret->waiting = p->n_places;
	ret->refreshing = p->n_refreshes;
}
