/*
 * ledger.c - counters by name, permits, and who waits behind which counter.
 *
 * Called by control.c for deliver's requests and by tests. Cost of a request is
 * its number of keys; cost of a release is the waiters that it lets go. Never
 * logs, never does I/O.
 */
#include "supervisor/ledger.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	BUCKETS = 16384,	    /* power of two */
	KEYS = PERMIT_KEYS_MAX + 1, /* the whole node is always one */
};

struct permit;
TAILQ_HEAD(permit_list, permit);

/* One counter. Exists while something is counted or waits. */
struct counter {
	LIST_ENTRY(counter) link;
	uint32_t count, refs;
	struct permit_list waiting;
	char name[]; /* NUL-terminated */
};
LIST_HEAD(counter_list, counter);

/* Granted (id is not 0) or waiting behind blocked. */
struct permit {
	LIST_ENTRY(permit) by_id;     /* granted */
	TAILQ_ENTRY(permit) in_queue; /* waiting */
	LIST_ENTRY(permit) by_req;    /* holder and request */
	uint64_t id, req_id;
	uint32_t holder, n_keys;
	size_t names; /* bytes, of the holder's */
	struct counter *blocked;
	struct counter *counters[KEYS]; /* [0] is the whole node */
	uint32_t limits[KEYS];		/* [0] unused: the ledger has it */
};
LIST_HEAD(permit_bucket, permit);

struct ledger {
	uint32_t system_limit;
	ledger_granted *on_granted;
	void *arg;
	uint64_t next_id;
	struct counter *system;
	struct ledger_stats stats;
	struct {
		uint32_t n;
		size_t names;
	} holders[LEDGER_HOLDERS_MAX];
	struct counter_list counters[BUCKETS];
	struct permit_bucket by_id[BUCKETS];
	struct permit_bucket by_req[BUCKETS];
};

static size_t
slot(uint64_t hash)
{
	return (size_t)(hash & (BUCKETS - 1));
}

static size_t
req_slot(uint32_t holder, uint64_t req_id)
{
	return slot(hash_u64(req_id ^ (uint64_t)holder << 48));
}

static struct counter *
counter_find(const struct ledger *l, const char *name)
{
	struct counter *c;

	LIST_FOREACH(
	    c, &l->counters[slot(hash_bytes(name, strlen(name)))], link)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static struct counter *
counter_ref(struct ledger *l, const char *name)
{
	struct counter *c = counter_find(l, name);
	size_t len = strlen(name);

	if (c == NULL) {
		c = calloc(1, sizeof(*c) + len + 1);
		if (c == NULL)
			return NULL;
		memcpy(c->name, name, len + 1);
		TAILQ_INIT(&c->waiting);
		LIST_INSERT_HEAD(
		    &l->counters[slot(hash_bytes(name, len))], c, link);
		l->stats.keys++;
	}
	c->refs++;
	return c;
}

static void
counter_unref(struct ledger *l, struct counter *c)
{
	if (--c->refs > 0)
		return;
	LIST_REMOVE(c, link);
	l->stats.keys--;
	free(c);
}

struct ledger *
ledger_new(uint32_t system_limit, ledger_granted *on_granted, void *arg)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->system_limit = system_limit;
	l->on_granted = on_granted;
	l->arg = arg;
	l->next_id = 1;
	l->system = counter_ref(l, "system");
	if (l->system == NULL) {
		free(l);
		return NULL;
	}
	return l;
}

/* The first counter without room, or n_keys. */
static uint32_t
first_full(const struct ledger *l, const struct permit *p)
{
	uint32_t i, limit;

	for (i = 0; i < p->n_keys; i++) {
		limit = i == 0 ? l->system_limit : p->limits[i];
		if (p->counters[i]->count >= limit)
			return i;
	}
	return p->n_keys;
}

static void
permit_free(struct ledger *l, struct permit *p)
{
	uint32_t i;

	for (i = 0; i < p->n_keys; i++)
		counter_unref(l, p->counters[i]);
	l->holders[p->holder].n--;
	l->holders[p->holder].names -= p->names;
	LIST_REMOVE(p, by_req);
	free(p);
}

static void
grant(struct ledger *l, struct permit *p)
{
	uint32_t i;

	for (i = 0; i < p->n_keys; i++)
		p->counters[i]->count++;
	p->id = l->next_id++;
	LIST_INSERT_HEAD(&l->by_id[slot(hash_u64(p->id))], p, by_id);
	l->stats.held++;
	l->stats.granted++;
}

static void
wait_behind(struct ledger *l, struct permit *p, uint32_t key)
{
	p->blocked = p->counters[key];
	TAILQ_INSERT_TAIL(&p->blocked->waiting, p, in_queue);
	l->stats.waiting++;
}

static void
stop_waiting(struct ledger *l, struct permit *p)
{
	TAILQ_REMOVE(&p->blocked->waiting, p, in_queue);
	p->blocked = NULL;
	l->stats.waiting--;
}

/* A counter has room: let its waiters go, in order. One that is stopped by
 * another counter waits there from now on. */
static void
wake(struct ledger *l, struct counter *c, uint32_t room)
{
	struct permit *p;
	uint32_t key;

	while (room > 0 && (p = TAILQ_FIRST(&c->waiting)) != NULL) {
		key = first_full(l, p);
		if (key < p->n_keys && p->counters[key] == c)
			return;
		stop_waiting(l, p);
		if (key < p->n_keys) {
			wait_behind(l, p, key);
			continue;
		}
		grant(l, p);
		room--;
		l->on_granted(l->arg, p->holder, p->req_id, p->id);
	}
}

static void
give_back(struct ledger *l, struct permit *p)
{
	struct counter *freed[KEYS];
	uint32_t i, n = p->n_keys;

	LIST_REMOVE(p, by_id);
	l->stats.held--;
	for (i = 0; i < n; i++) {
		freed[i] = p->counters[i];
		freed[i]->count--;
		freed[i]->refs++; /* alive until its waiters are asked */
	}
	permit_free(l, p);
	for (i = 0; i < n; i++)
		wake(l, freed[i], 1);
	for (i = 0; i < n; i++)
		counter_unref(l, freed[i]);
}

/* Name the counters that the request would raise. False without memory. */
static bool
collect(struct ledger *l, struct permit *p, const struct ctl_permit_ask *ask)
{
	uint32_t i;

	p->counters[p->n_keys++] = l->system;
	l->system->refs++;
	for (i = 0; i < ask->n_keys; i++) {
		if (strcmp(ask->keys[i].name, "system") == 0)
			continue; /* counted already, under our own limit */
		p->counters[p->n_keys] = counter_ref(l, ask->keys[i].name);
		if (p->counters[p->n_keys] == NULL)
			return false;
		/* a limit of 0 would wait for ever */
		p->limits[p->n_keys] =
		    ask->keys[i].limit > 0 ? ask->keys[i].limit : 1;
		p->n_keys++;
	}
	return true;
}

/* Within what one holder may have? Counts it. */
static bool
charge(struct ledger *l, struct permit *p, const struct ctl_permit_ask *ask)
{
	uint32_t i;

	l->holders[p->holder].n++;
	for (i = 0; i < ask->n_keys; i++)
		p->names += strlen(ask->keys[i].name) + sizeof(struct counter);
	l->holders[p->holder].names += p->names;
	return l->holders[p->holder].n <= LEDGER_HELD_MAX &&
	    l->holders[p->holder].names <= LEDGER_NAMES_MAX;
}

enum ledger_answer
ledger_ask(struct ledger *l, uint32_t holder, uint64_t req_id,
    const struct ctl_permit_ask *ask, uint64_t *ret_permit, uint32_t *ret_key)
{
	struct permit *p;
	uint32_t key;

	assert(holder < LEDGER_HOLDERS_MAX);
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		goto full;
	p->holder = holder;
	p->req_id = req_id;
	LIST_INSERT_HEAD(&l->by_req[req_slot(holder, req_id)], p, by_req);
	if (!charge(l, p, ask) || !collect(l, p, ask))
		goto full;
	key = first_full(l, p);
	if (key == p->n_keys) {
		grant(l, p);
		*ret_permit = p->id;
		return LEDGER_GRANTED;
	}
	if (l->stats.waiting >= LEDGER_WAITERS_MAX)
		goto full;
	wait_behind(l, p, key);
	l->stats.waited++;
	*ret_key = key == 0 ? ask->n_keys : key - 1;
	return LEDGER_WAITS;
full:
	if (p != NULL)
		permit_free(l, p);
	l->stats.refused++;
	return LEDGER_FULL;
}

int
ledger_release(struct ledger *l, uint32_t holder, uint64_t permit_id)
{
	struct permit *p;

	LIST_FOREACH(p, &l->by_id[slot(hash_u64(permit_id))], by_id)
		if (p->id == permit_id && p->holder == holder) {
			give_back(l, p);
			return 0;
		}
	return PE_NOT_FOUND;
}

void
ledger_cancel(struct ledger *l, uint32_t holder, uint64_t req_id)
{
	struct permit *p;

	LIST_FOREACH(p, &l->by_req[req_slot(holder, req_id)], by_req)
		if (p->holder == holder && p->req_id == req_id) {
			if (p->id != 0) {
				give_back(l, p);
			} else {
				stop_waiting(l, p);
				permit_free(l, p);
			}
			return;
		}
}

void
ledger_drop_holder(struct ledger *l, uint32_t holder)
{
	struct permit *p, *next;
	size_t i;

	/* those that wait first, so that nothing is granted to the dead */
	for (i = 0; i < BUCKETS; i++)
		for (p = LIST_FIRST(&l->by_req[i]); p != NULL; p = next) {
			next = LIST_NEXT(p, by_req);
			if (p->holder == holder && p->id == 0) {
				stop_waiting(l, p);
				permit_free(l, p);
			}
		}
	for (i = 0; i < BUCKETS; i++)
		for (p = LIST_FIRST(&l->by_req[i]); p != NULL; p = next) {
			next = LIST_NEXT(p, by_req);
			if (p->holder == holder)
				give_back(l, p);
		}
}

void
ledger_set_system_limit(struct ledger *l, uint32_t system_limit)
{
	l->system_limit = system_limit;
	if (system_limit > l->system->count)
		wake(l, l->system, system_limit - l->system->count);
}

void
ledger_stats(const struct ledger *l, struct ledger_stats *ret)
{
	*ret = l->stats;
	ret->system_limit = l->system_limit;
}

uint32_t
ledger_count(const struct ledger *l, const char *key)
{
	const struct counter *c = counter_find(l, key);

	return c == NULL ? 0 : c->count;
}

void
ledger_free(struct ledger *l)
{
	struct permit *p;
	size_t i;

	if (l == NULL)
		return;
	for (i = 0; i < BUCKETS; i++)
		while ((p = LIST_FIRST(&l->by_req[i])) != NULL) {
			if (p->id != 0)
				LIST_REMOVE(p, by_id);
			else
				stop_waiting(l, p);
			permit_free(l, p);
		}
	counter_unref(l, l->system);
	free(l);
}
