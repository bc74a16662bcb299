/*
 * rates.c - sliding windows of recipients, and what each connection has taken.
 *
 * Called by permits.c and by tests. Cost is the number of slots that passed
 * since the last look, at most SLOTS. Never logs, never does I/O.
 */
#include "supervisor/rates.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	BUCKETS = 65536,
	SLOTS = 61, /* the interval, and the one that is begun */
	HOLDERS = 64,
};

struct lease;
TAILQ_HEAD(lease_list, lease);

/* One window. Kept until nothing in it counts. */
struct rate {
	LIST_ENTRY(rate) link;
	TAILQ_ENTRY(rate) lru; /* by last use */
	uint64_t hash;
	uint32_t count, minutes;
	uint32_t leases; /* that name it */
	uint64_t used, out;
	int64_t at; /* number of the newest slot */
	uint32_t slots[SLOTS];
	char name[];
};
LIST_HEAD(rate_bucket, rate);
TAILQ_HEAD(rate_list, rate);

/* What one permit has taken. */
struct lease {
	LIST_ENTRY(lease) link, of_holder;
	TAILQ_ENTRY(lease) in_line;
	uint64_t permit_id, req_id;
	uint32_t holder, want, out, n;
	uint64_t free; /* given while no limit held: no window knows of them */
	bool waits;
	struct rate *rates[RATES_KEYS_MAX];
	bool shared[RATES_KEYS_MAX];
};
LIST_HEAD(lease_bucket, lease);

struct rates {
	rates_answer *on_answer;
	void *arg;
	uint32_t n;
	struct rate_list lru;
	struct lease_list waiting;
	struct lease_bucket holders[HOLDERS];
	struct rate_bucket rates[BUCKETS];
	struct lease_bucket leases[BUCKETS];
};

static size_t
slot(uint64_t hash)
{
	return (size_t)(hash & (BUCKETS - 1));
}

/* ---- one window --------------------------------------------------------------- */

static int64_t
width_ms(const struct rate *w)
{
	return (int64_t)w->minutes * 1000; /* a sixtieth */
}

/* Forget what is an interval ago. */
static void
move_on(struct rate *w, int64_t now_ms)
{
	int64_t now = now_ms / width_ms(w);
	uint32_t *s;

	if (now - w->at >= SLOTS) {
		memset(w->slots, 0, sizeof(w->slots));
		w->used = 0;
		w->at = now;
	}
	while (w->at < now) {
		s = &w->slots[++w->at % SLOTS];
		w->used -= *s;
		*s = 0;
	}
}

static void
stamp(struct rate *w, uint32_t n, int64_t now_ms)
{
	move_on(w, now_ms);
	w->slots[w->at % SLOTS] += n;
	w->used += n;
}

/* When the oldest use no longer counts. */
static int64_t
free_at_ms(const struct rate *w, int64_t now_ms)
{
	int64_t i;

	for (i = w->at - SLOTS + 1; i <= w->at; i++)
		if (i >= 0 && w->slots[i % SLOTS] > 0)
			return (i + SLOTS) * width_ms(w);
	return now_ms + width_ms(w) * SLOTS; /* a limit of nothing */
}

/* Another interval: what still counts does so by the new one, as if it had
 * been used at the end of its slot. */
static void
set_minutes(struct rate *w, uint32_t minutes, int64_t now_ms)
{
	struct rate old;
	int64_t i, at;

	if (w->minutes == minutes)
		return;
	move_on(w, now_ms);
	old = *w;
	w->minutes = minutes;
	memset(w->slots, 0, sizeof(w->slots));
	w->used = 0;
	w->at = now_ms / width_ms(w);
	for (i = old.at - SLOTS + 1; i <= old.at; i++) {
		if (i < 0 || old.slots[i % SLOTS] == 0)
			continue;
		at = ((i + 1) * width_ms(&old) - 1) / width_ms(w);
		if (at > w->at)
			at = w->at;
		if (at > w->at - SLOTS) {
			w->slots[at % SLOTS] += old.slots[i % SLOTS];
			w->used += old.slots[i % SLOTS];
		}
	}
}

static struct rate *
find(const struct rates *r, const char *name, uint64_t hash)
{
	struct rate *w;

	LIST_FOREACH(w, &r->rates[slot(hash)], link)
		if (w->hash == hash && strcmp(w->name, name) == 0)
			return w;
	return NULL;
}

static void
drop(struct rates *r, struct rate *w)
{
	LIST_REMOVE(w, link);
	TAILQ_REMOVE(&r->lru, w, lru);
	r->n--;
	free(w);
}

/* Windows that hold nothing any more; a few at each call. */
static void
sweep(struct rates *r, int64_t now_ms)
{
	struct rate *w;
	int i;

	for (i = 0; i < 4 && (w = TAILQ_FIRST(&r->lru)) != NULL; i++) {
		move_on(w, now_ms);
		if (w->leases == 0 && w->used == 0) {
			drop(r, w);
			continue;
		}
		TAILQ_REMOVE(&r->lru, w, lru);
		TAILQ_INSERT_TAIL(&r->lru, w, lru);
	}
}

static struct rate *
get(struct rates *r, const char *name, uint32_t count, uint32_t minutes,
    int64_t now_ms)
{
	size_t len = strlen(name);
	uint64_t hash = hash_bytes(name, len);
	struct rate *w = find(r, name, hash);

	if (w == NULL) {
		if (r->n >= RATES_MAX)
			return NULL;
		w = calloc(1, sizeof(*w) + len + 1);
		if (w == NULL)
			return NULL;
		memcpy(w->name, name, len + 1);
		w->hash = hash;
		w->minutes = minutes > 0 ? minutes : 1;
		w->at = now_ms / width_ms(w);
		LIST_INSERT_HEAD(&r->rates[slot(hash)], w, link);
		TAILQ_INSERT_TAIL(&r->lru, w, lru);
		r->n++;
	}
	set_minutes(w, minutes > 0 ? minutes : 1, now_ms);
	w->count = count;
	return w;
}

/* ---- what a permit has ------------------------------------------------------------ */

static struct lease *
lease_of(const struct rates *r, uint64_t permit_id)
{
	struct lease *e;

	LIST_FOREACH(e, &r->leases[slot(hash_u64(permit_id))], link)
		if (e->permit_id == permit_id)
			return e;
	return NULL;
}

/* Recipients that all its windows have room for. 0: *ret_free_ms is when that
 * may change by time alone, 0 when it hangs on what others hold. */
static uint64_t
room(struct lease *e, int64_t now_ms, int64_t *ret_free_ms)
{
	uint64_t least = UINT64_MAX, has;
	uint32_t i;
	int64_t at;

	*ret_free_ms = 0;
	for (i = 0; i < e->n; i++) {
		struct rate *w = e->rates[i];

		move_on(w, now_ms);
		has = w->used + w->out < w->count ? w->count - w->used - w->out
						  : 0;
		if (has < least)
			least = has;
		if (w->used < w->count)
			continue;
		at = free_at_ms(w, now_ms);
		if (e->shared[i])
			at += arc4random() % width_ms(w);
		if (at > *ret_free_ms)
			*ret_free_ms = at;
	}
	return least;
}

/* Answer it, or let it wait. */
static void
look_at(struct rates *r, struct lease *e, int64_t now_ms)
{
	int64_t free_ms;
	uint64_t n = room(e, now_ms, &free_ms);
	uint32_t i;

	if (n == 0 && free_ms == 0) {
		if (!e->waits)
			TAILQ_INSERT_TAIL(&r->waiting, e, in_line);
		e->waits = true;
		return;
	}
	if (e->waits)
		TAILQ_REMOVE(&r->waiting, e, in_line);
	e->waits = false;
	if (n > e->want)
		n = e->want;
	for (i = 0; i < e->n; i++)
		e->rates[i]->out += n;
	e->out += (uint32_t)n;
	r->on_answer(r->arg, e->holder, e->req_id, (uint32_t)n,
	    n > 0 ? 0 : (uint32_t)(free_ms > now_ms ? free_ms - now_ms : 1));
}

/* Something came back or was used: who waits looks again, in order. */
static void
look_all(struct rates *r, int64_t now_ms)
{
	struct lease *e, *next;

	for (e = TAILQ_FIRST(&r->waiting); e != NULL; e = next) {
		next = TAILQ_NEXT(e, in_line);
		look_at(r, e, now_ms);
	}
}

/* New numbers of the windows that it has some of in hand. */
static void
renew_rates(struct lease *e, const struct rates_keys *keys, int64_t now_ms)
{
	uint32_t i, k;

	for (i = 0; i < e->n; i++)
		for (k = 0; k < keys->n; k++) {
			if (strcmp(e->rates[i]->name, keys->keys[k].name) != 0)
				continue;
			set_minutes(e->rates[i],
			    keys->keys[k].minutes > 0 ? keys->keys[k].minutes
						      : 1,
			    now_ms);
			e->rates[i]->count = keys->keys[k].count;
		}
}

/* Other windows, by other settings: what is out stays where it was taken. */
static int
name_rates(struct rates *r, struct lease *e, const struct rates_keys *keys,
    int64_t now_ms)
{
	uint32_t i;

	if (e->out > 0) {
		/* a question with some in hand: by the windows it has */
		renew_rates(e, keys, now_ms);
		return 0;
	}
	while (e->n > 0)
		e->rates[--e->n]->leases--;
	for (i = 0; i < keys->n; i++) {
		e->rates[i] = get(r, keys->keys[i].name, keys->keys[i].count,
		    keys->keys[i].minutes, now_ms);
		if (e->rates[i] == NULL)
			return PE_FULL;
		e->rates[i]->leases++;
		e->shared[i] = keys->keys[i].shared;
		e->n++;
	}
	return 0;
}

static void
lease_free(struct rates *r, struct lease *e)
{
	if (e->waits)
		TAILQ_REMOVE(&r->waiting, e, in_line);
	while (e->n > 0)
		e->rates[--e->n]->leases--;
	LIST_REMOVE(e, link);
	LIST_REMOVE(e, of_holder);
	free(e);
}

static struct lease *
lease_new(struct rates *r, uint32_t holder, uint64_t permit_id)
{
	struct lease *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->permit_id = permit_id;
	e->holder = holder;
	LIST_INSERT_HEAD(&r->leases[slot(hash_u64(permit_id))], e, link);
	LIST_INSERT_HEAD(&r->holders[holder], e, of_holder);
	return e;
}

int
rates_ask(struct rates *r, uint32_t holder, uint64_t permit_id, uint64_t req_id,
    uint32_t want, const struct rates_keys *keys, int64_t now_ms)
{
	struct lease *e = lease_of(r, permit_id);

	if (want == 0 || (e != NULL && e->waits))
		return PE_PROTO;
	sweep(r, now_ms);
	if (e == NULL)
		e = lease_new(r, holder, permit_id);
	if (e != NULL && keys->n == 0) {
		/* by newer settings, or since an exception ended, there is no
		 * limit; the asker may not know yet */
		e->free += want;
		r->on_answer(r->arg, holder, req_id, want, 0);
		return 0;
	}
	if (e == NULL || name_rates(r, e, keys, now_ms) < 0) {
		r->on_answer(r->arg, holder, req_id, 0, RATES_LATER_MS);
		return 0;
	}
	e->req_id = req_id;
	e->want = want;
	look_at(r, e, now_ms);
	return 0;
}

static void
settle(struct lease *e, uint32_t used, uint32_t unused, int64_t now_ms)
{
	uint32_t i;

	e->out -= used + unused;
	for (i = 0; i < e->n; i++) {
		e->rates[i]->out -= used + unused;
		stamp(e->rates[i], used, now_ms);
	}
}

int
rates_done(struct rates *r, uint64_t permit_id, uint32_t used, uint32_t unused,
    int64_t now_ms)
{
	struct lease *e = lease_of(r, permit_id);
	uint32_t free_used, free_unused;

	if (e == NULL || (uint64_t)used + unused > e->out + e->free)
		return PE_PROTO;
	/* it does not say which they were: when in doubt the use counts */
	free_unused = unused < e->free ? unused : (uint32_t)e->free;
	e->free -= free_unused;
	unused -= free_unused;
	free_used = used > e->out - unused ? used - (e->out - unused) : 0;
	e->free -= free_used;
	settle(e, used - free_used, unused, now_ms);
	look_all(r, now_ms);
	return 0;
}

void
rates_gone(struct rates *r, uint64_t permit_id, int64_t now_ms)
{
	struct lease *e = lease_of(r, permit_id);

	if (e == NULL)
		return;
	settle(e, e->out, 0, now_ms);
	lease_free(r, e);
	look_all(r, now_ms);
}

void
rates_drop_holder(struct rates *r, uint32_t holder, int64_t now_ms)
{
	struct lease *e;

	while ((e = LIST_FIRST(&r->holders[holder])) != NULL) {
		settle(e, e->out, 0, now_ms);
		lease_free(r, e);
	}
	look_all(r, now_ms);
}

bool
rates_tick(struct rates *r, int64_t now_ms)
{
	look_all(r, now_ms);
	return !TAILQ_EMPTY(&r->waiting);
}

/* ---- life ---------------------------------------------------------------------------- */

struct rates *
rates_new(rates_answer *on_answer, void *arg)
{
	struct rates *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->on_answer = on_answer;
	r->arg = arg;
	TAILQ_INIT(&r->lru);
	TAILQ_INIT(&r->waiting);
	return r;
}

void
rates_free(struct rates *r)
{
	struct lease *e;
	struct rate *w;
	size_t h;

	if (r == NULL)
		return;
	for (h = 0; h < HOLDERS; h++)
		while ((e = LIST_FIRST(&r->holders[h])) != NULL)
			lease_free(r, e);
	while ((w = TAILQ_FIRST(&r->lru)) != NULL)
		drop(r, w);
	free(r);
}

void
rates_look(
    struct rates *r, const char *name, int64_t now_ms, struct rates_use *ret)
{
	struct rate *w = find(r, name, hash_bytes(name, strlen(name)));

	memset(ret, 0, sizeof(*ret));
	if (w == NULL)
		return;
	move_on(w, now_ms);
	ret->used = w->used;
	ret->out = w->out;
	if (w->used > 0)
		ret->free_ms = free_at_ms(w, now_ms) - now_ms;
}

uint32_t
rates_known(const struct rates *r)
{
	return r->n;
}
