/*
 * ledger.c - counters by name, permits, and who waits behind which counter.
 *
 * Called by control.c and by tests. Cost of a request is its number of keys;
 * cost of a release is that and the waiters that it lets go. Never logs, never
 * does I/O, does not know what a key means.
 */
#include "supervisor/ledger.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { BUCKETS = 131072 }; /* power of two; 1 MiB for each of three tables */

struct permit;
TAILQ_HEAD(permit_list, permit);

/* One counter. Exists while somebody names it. While anybody waits behind it,
 * it is full. */
struct counter {
	LIST_ENTRY(counter) link;
	uint64_t hash;
	uint32_t max;
	uint32_t taken; /* held, and kept by those that wait elsewhere */
	uint32_t held;
	uint32_t n_waiting;
	uint32_t refs;
	struct permit_list waiting;
	char name[]; /* NUL-terminated */
};
LIST_HEAD(counter_list, counter);

/* Granted (id is not 0), or waiting behind counters[n_taken]. */
struct permit {
	LIST_ENTRY(permit) by_id;     /* granted */
	LIST_ENTRY(permit) by_req;    /* holder and request */
	LIST_ENTRY(permit) of_holder; /* all of one */
	TAILQ_ENTRY(permit) in_line;  /* waiting behind a counter */
	TAILQ_ENTRY(permit) in_order; /* all that wait, as they came */
	uint64_t id, req_id;
	uint32_t holder, n_keys, n_taken;
	struct counter *counters[LEDGER_KEYS_MAX];
	size_t names; /* bytes, of the holder's */
	size_t place_len;
	uint8_t place[];
};
LIST_HEAD(permit_bucket, permit);

struct ledger {
	ledger_granted *on_granted;
	void *arg;
	uint64_t next_id;
	struct ledger_stats stats;
	struct {
		struct permit_bucket permits;
		uint32_t n;
		size_t names;
	} holders[LEDGER_HOLDERS_MAX];
	struct permit_list waiting;
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

/* ---- counters ------------------------------------------------------------------ */

static struct counter *
counter_find(const struct ledger *l, const char *name, uint64_t hash)
{
	struct counter *c;

	LIST_FOREACH(c, &l->counters[slot(hash)], link)
		if (c->hash == hash && strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static struct counter *
counter_ref(struct ledger *l, const char *name, uint32_t max)
{
	size_t len = strlen(name);
	uint64_t hash = hash_bytes(name, len);
	struct counter *c = counter_find(l, name, hash);

	if (c == NULL) {
		c = calloc(1, sizeof(*c) + len + 1);
		if (c == NULL)
			return NULL;
		memcpy(c->name, name, len + 1);
		c->hash = hash;
		TAILQ_INIT(&c->waiting);
		LIST_INSERT_HEAD(&l->counters[slot(hash)], c, link);
		l->stats.keys++;
	}
	c->max = max > 0 ? max : 1;
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

/* ---- waiting and granting --------------------------------------------------------- */

static void
line_enter(struct ledger *l, struct permit *p)
{
	struct counter *c = p->counters[p->n_taken];

	TAILQ_INSERT_TAIL(&c->waiting, p, in_line);
	c->n_waiting++;
	l->stats.waiting++;
}

static void
line_leave(struct ledger *l, struct permit *p)
{
	struct counter *c = p->counters[p->n_taken];

	TAILQ_REMOVE(&c->waiting, p, in_line);
	c->n_waiting--;
	l->stats.waiting--;
}

static void
grant(struct ledger *l, struct permit *p)
{
	uint32_t i;

	for (i = 0; i < p->n_keys; i++)
		p->counters[i]->held++;
	p->id = l->next_id++;
	LIST_INSERT_HEAD(&l->by_id[slot(hash_u64(p->id))], p, by_id);
	l->stats.held++;
	l->stats.granted++;
}

/* Take what can be taken. True: it has all of them. */
static bool
advance(struct permit *p)
{
	struct counter *c;

	while (p->n_taken < p->n_keys) {
		c = p->counters[p->n_taken];
		if (c->taken >= c->max || c->n_waiting > 0)
			return false;
		c->taken++;
		p->n_taken++;
	}
	return true;
}

/* One that waited has a counter more, or starts anew. */
static void
go_on(struct ledger *l, struct permit *p)
{
	if (!advance(p)) {
		line_enter(l, p);
		return;
	}
	TAILQ_REMOVE(&l->waiting, p, in_order);
	grant(l, p);
	l->on_granted(l->arg, p->holder, p->req_id, p->id);
}

/* Who waits behind this counter goes on, in order, while it has room. */
static void
wake(struct ledger *l, struct counter *c)
{
	struct permit *p;

	while (c->taken < c->max && (p = TAILQ_FIRST(&c->waiting)) != NULL) {
		line_leave(l, p);
		c->taken++;
		p->n_taken++;
		go_on(l, p);
	}
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
	LIST_REMOVE(p, of_holder);
	free(p);
}

/* The end of a permit, or of a request that stands in no line any more. */
static void
give_back(struct ledger *l, struct permit *p)
{
	struct counter *freed[LEDGER_KEYS_MAX];
	uint32_t i, n = p->n_taken;

	for (i = 0; i < n; i++) {
		freed[i] = p->counters[i];
		freed[i]->taken--;
		freed[i]->held -= p->id != 0;
		freed[i]->refs++; /* alive until its waiters were asked */
	}
	if (p->id != 0) {
		LIST_REMOVE(p, by_id);
		l->stats.held--;
	}
	permit_free(l, p);
	for (i = 0; i < n; i++)
		wake(l, freed[i]);
	for (i = 0; i < n; i++)
		counter_unref(l, freed[i]);
}

static void
stop_waiting(struct ledger *l, struct permit *p)
{
	line_leave(l, p);
	TAILQ_REMOVE(&l->waiting, p, in_order);
}

/* ---- asking ------------------------------------------------------------------------ */

struct ledger *
ledger_new(ledger_granted *on_granted, void *arg)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->on_granted = on_granted;
	l->arg = arg;
	l->next_id = 1;
	TAILQ_INIT(&l->waiting);
	return l;
}

/* Within what one holder may have? Counts it. */
static bool
charge(struct ledger *l, struct permit *p, const struct ledger_keys *keys)
{
	uint32_t i;

	p->names = p->place_len;
	for (i = 0; i < keys->n; i++)
		p->names += strlen(keys->keys[i].name) + sizeof(struct counter);
	l->holders[p->holder].n++;
	l->holders[p->holder].names += p->names;
	return l->holders[p->holder].n <= LEDGER_HELD_MAX &&
	    l->holders[p->holder].names <= LEDGER_NAMES_MAX;
}

/* Name the counters. False without memory; those before stay named. */
static bool
name_all(struct ledger *l, struct permit *p, const struct ledger_keys *keys)
{
	struct counter *c;

	assert(keys->n > 0 && keys->n <= LEDGER_KEYS_MAX);
	while (p->n_keys < keys->n) {
		c = counter_ref(
		    l, keys->keys[p->n_keys].name, keys->keys[p->n_keys].max);
		if (c == NULL)
			return false;
		p->counters[p->n_keys++] = c;
	}
	return true;
}

enum ledger_answer
ledger_ask(struct ledger *l, uint32_t holder, uint64_t req_id,
    const struct ledger_keys *keys, const void *place, size_t place_len,
    uint64_t *ret_permit, uint32_t *ret_key)
{
	struct permit *p;

	assert(holder < LEDGER_HOLDERS_MAX);
	p = calloc(1, sizeof(*p) + place_len);
	if (p == NULL) {
		l->stats.refused++;
		return LEDGER_FULL;
	}
	p->holder = holder;
	p->req_id = req_id;
	p->place_len = place_len;
	if (place_len > 0)
		memcpy(p->place, place, place_len);
	LIST_INSERT_HEAD(&l->by_req[req_slot(holder, req_id)], p, by_req);
	LIST_INSERT_HEAD(&l->holders[holder].permits, p, of_holder);
	if (!charge(l, p, keys) || !name_all(l, p, keys))
		goto full;
	if (advance(p)) {
		grant(l, p);
		*ret_permit = p->id;
		return LEDGER_GRANTED;
	}
	if (l->stats.waiting >= LEDGER_WAITERS_MAX)
		goto full;
	*ret_key = p->n_taken;
	line_enter(l, p);
	TAILQ_INSERT_TAIL(&l->waiting, p, in_order);
	l->stats.waited++;
	return LEDGER_WAITS;
full:
	give_back(l, p);
	l->stats.refused++;
	return LEDGER_FULL;
}

/* ---- giving back --------------------------------------------------------------------- */

static struct permit *
by_id(const struct ledger *l, uint32_t holder, uint64_t permit_id)
{
	struct permit *p;

	LIST_FOREACH(p, &l->by_id[slot(hash_u64(permit_id))], by_id)
		if (p->id == permit_id && p->holder == holder)
			return p;
	return NULL;
}

static struct permit *
by_req(const struct ledger *l, uint32_t holder, uint64_t req_id)
{
	struct permit *p;

	LIST_FOREACH(p, &l->by_req[req_slot(holder, req_id)], by_req)
		if (p->holder == holder && p->req_id == req_id)
			return p;
	return NULL;
}

int
ledger_release(struct ledger *l, uint32_t holder, uint64_t permit_id)
{
	struct permit *p = by_id(l, holder, permit_id);

	if (p == NULL)
		return PE_NOT_FOUND;
	give_back(l, p);
	return 0;
}

uint64_t
ledger_permit_of(const struct ledger *l, uint32_t holder, uint64_t req_id)
{
	const struct permit *p = by_req(l, holder, req_id);

	return p == NULL ? 0 : p->id;
}

void
ledger_cancel(struct ledger *l, uint32_t holder, uint64_t req_id)
{
	struct permit *p = by_req(l, holder, req_id);

	if (p == NULL)
		return;
	if (p->id == 0)
		stop_waiting(l, p);
	give_back(l, p);
}

void
ledger_drop_holder(struct ledger *l, uint32_t holder)
{
	struct permit *p;

	/* out of every line first, so that nothing is granted to the dead */
	LIST_FOREACH(p, &l->holders[holder].permits, of_holder)
		if (p->id == 0)
			stop_waiting(l, p);
	while ((p = LIST_FIRST(&l->holders[holder].permits)) != NULL)
		give_back(l, p);
}

const void *
ledger_place(const struct ledger *l, uint32_t holder, uint64_t permit_id,
    size_t *ret_len)
{
	const struct permit *p = by_id(l, holder, permit_id);

	if (p == NULL)
		return NULL;
	*ret_len = p->place_len;
	return p->place;
}

/* ---- other settings --------------------------------------------------------------------- */

/* A permit that is granted or stands in no line: count it under other names. */
static void
rename_all(struct ledger *l, struct permit *p, const struct ledger_keys *keys)
{
	struct permit old = *p;
	bool held = p->id != 0;
	uint32_t i;

	p->n_keys = 0;
	if (!name_all(l, p, keys)) {
		/* without memory it stays where it is counted */
		for (i = 0; i < p->n_keys; i++)
			counter_unref(l, p->counters[i]);
		memcpy(p->counters, old.counters, sizeof(p->counters));
		p->n_keys = old.n_keys;
		return;
	}
	for (i = 0; held && i < p->n_keys; i++) {
		p->counters[i]->taken++;
		p->counters[i]->held++;
	}
	p->n_taken = held ? p->n_keys : 0;
	for (i = 0; i < old.n_keys; i++) {
		if (held) {
			old.counters[i]->taken--;
			old.counters[i]->held--;
		}
		counter_unref(l, old.counters[i]);
	}
}

void
ledger_rekey(struct ledger *l, ledger_keys_of *fn, void *arg)
{
	struct permit_list again = TAILQ_HEAD_INITIALIZER(again);
	struct ledger_keys keys;
	struct permit *p;
	size_t h;

	TAILQ_FOREACH(p, &l->waiting, in_order) {
		line_leave(l, p);
		while (p->n_taken > 0)
			p->counters[--p->n_taken]->taken--;
	}
	for (h = 0; h < LEDGER_HOLDERS_MAX; h++)
		LIST_FOREACH(p, &l->holders[h].permits, of_holder) {
			fn(arg, p->place, p->place_len, &keys);
			rename_all(l, p, &keys);
		}
	/* all stand again in the order in which they came */
	TAILQ_CONCAT(&again, &l->waiting, in_order);
	while ((p = TAILQ_FIRST(&again)) != NULL) {
		TAILQ_REMOVE(&again, p, in_order);
		TAILQ_INSERT_TAIL(&l->waiting, p, in_order);
		go_on(l, p);
	}
}

/* ---- looking ------------------------------------------------------------------------------ */

void
ledger_stats(const struct ledger *l, struct ledger_stats *ret)
{
	*ret = l->stats;
}

void
ledger_look(const struct ledger *l, const char *name, struct ledger_use *ret)
{
	const struct counter *c =
	    counter_find(l, name, hash_bytes(name, strlen(name)));

	memset(ret, 0, sizeof(*ret));
	if (c == NULL)
		return;
	ret->max = c->max;
	ret->held = c->held;
	ret->kept = c->taken - c->held;
	ret->waiting = c->n_waiting;
}

void
ledger_free(struct ledger *l)
{
	struct permit *p;
	size_t h;

	if (l == NULL)
		return;
	for (h = 0; h < LEDGER_HOLDERS_MAX; h++)
		LIST_FOREACH(p, &l->holders[h].permits, of_holder)
			if (p->id == 0)
				stop_waiting(l, p);
	for (h = 0; h < LEDGER_HOLDERS_MAX; h++)
		while ((p = LIST_FIRST(&l->holders[h].permits)) != NULL)
			give_back(l, p);
	free(l);
}
