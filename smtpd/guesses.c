/*
 * guesses.c - how often a client tried passwords in vain, lately. Pure.
 *
 * Called by conn_ops.c before and after each check. A connection has few tries
 * (session_auth.c) and a client may open many, so the client is counted too:
 * an IPv4 address or an IPv6 /64. Time is cut into slots, and one slot more
 * than the window counts, so that no window has more failures than it may;
 * tries that run count as failures until they are given back. The table is
 * keyed by addresses from outside: its hash is seeded, its size is bounded, and
 * the client whose last failure is longest ago leaves first.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "smtpd/smtpd.h"

enum {
	SLOTS = 6, /* five are the window */
	BUCKETS = 4096,
};

struct guesser {
	LIST_ENTRY(guesser) link;
	TAILQ_ENTRY(guesser) by_age;
	uint8_t key[CLIENT_KEY_LEN];
	uint16_t listener;
	int64_t slot_ms; /* length */
	int64_t slot;	 /* number of the current one */
	uint32_t n[SLOTS];
};
LIST_HEAD(guesser_bucket, guesser);

struct guesses {
	struct guesser_bucket buckets[BUCKETS];
	TAILQ_HEAD(guesser_list, guesser) by_age; /* oldest first */
	size_t n;
};

struct guesses *
guesses_new(void)
{
	struct guesses *g = calloc(1, sizeof(*g));

	if (g != NULL)
		TAILQ_INIT(&g->by_age);
	return g;
}

static void
drop(struct guesses *g, struct guesser *c)
{
	LIST_REMOVE(c, link);
	TAILQ_REMOVE(&g->by_age, c, by_age);
	g->n--;
	free(c);
}

void
guesses_free(struct guesses *g)
{
	struct guesser *c;

	if (g == NULL)
		return;
	while ((c = TAILQ_FIRST(&g->by_age)) != NULL)
		drop(g, c);
	free(g);
}

size_t
guesses_clients(const struct guesses *g)
{
	return g->n;
}

static struct guesser_bucket *
bucket_of(
    struct guesses *g, uint16_t listener, const uint8_t key[CLIENT_KEY_LEN])
{
	uint8_t both[CLIENT_KEY_LEN + 2];

	memcpy(both, key, CLIENT_KEY_LEN);
	memcpy(both + CLIENT_KEY_LEN, &listener, 2);
	return &g->buckets[hash_bytes(both, sizeof(both)) % BUCKETS];
}

static struct guesser *
find(struct guesses *g, uint16_t listener, const uint8_t key[CLIENT_KEY_LEN])
{
	struct guesser *c;

	LIST_FOREACH(c, bucket_of(g, listener, key), link)
		if (c->listener == listener &&
		    memcmp(c->key, key, CLIENT_KEY_LEN) == 0)
			return c;
	return NULL;
}

static bool
is_over(const struct guesser *c)
{
	return clock_mono_ms() / c->slot_ms - c->slot >= SLOTS;
}

/* Slots that are over begin anew. */
static void
turn(struct guesser *c, int64_t slot_ms)
{
	int64_t now;

	if (c->slot_ms != slot_ms) { /* new settings */
		memset(c->n, 0, sizeof(c->n));
		c->slot_ms = slot_ms;
		c->slot = clock_mono_ms() / slot_ms;
	}
	if (is_over(c))
		memset(c->n, 0, sizeof(c->n));
	now = clock_mono_ms() / slot_ms;
	for (; c->slot < now && !is_over(c); c->slot++)
		c->n[(c->slot + 1) % SLOTS] = 0;
	c->slot = now;
}

static uint64_t
total(const struct guesser *c)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < SLOTS; i++)
		sum += c->n[i];
	return sum;
}

static struct guesser *
add(struct guesses *g, uint16_t listener, const uint8_t key[CLIENT_KEY_LEN],
    int64_t slot_ms)
{
	struct guesser *c = TAILQ_FIRST(&g->by_age);

	if (c != NULL && (g->n == GUESSERS_MAX || is_over(c)))
		drop(g, c);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->listener = listener;
	c->slot_ms = slot_ms;
	c->slot = clock_mono_ms() / slot_ms;
	memcpy(c->key, key, CLIENT_KEY_LEN);
	LIST_INSERT_HEAD(bucket_of(g, listener, key), c, link);
	TAILQ_INSERT_TAIL(&g->by_age, c, by_age);
	g->n++;
	return c;
}

bool
guesses_take(struct guesses *g, uint16_t listener,
    const uint8_t key[CLIENT_KEY_LEN], const struct conf_rate *rate)
{
	int64_t slot_ms = (int64_t)rate->minutes * 60 * 1000 / (SLOTS - 1);
	struct guesser *c;

	if (!rate->limited || slot_ms == 0)
		return true;
	c = find(g, listener, key);
	if (c == NULL)
		c = add(g, listener, key, slot_ms);
	if (c == NULL)
		return false; /* without memory nobody guesses */
	turn(c, slot_ms);
	if (total(c) >= rate->count)
		return false;
	c->n[c->slot % SLOTS]++;
	TAILQ_REMOVE(&g->by_age, c, by_age);
	TAILQ_INSERT_TAIL(&g->by_age, c, by_age);
	return true;
}

void
guesses_give_back(
    struct guesses *g, uint16_t listener, const uint8_t key[CLIENT_KEY_LEN])
{
	struct guesser *c = find(g, listener, key);
	int64_t i;

	if (c == NULL)
		return;
	for (i = c->slot; i > c->slot - SLOTS && i >= 0; i--)
		if (c->n[i % SLOTS] > 0) {
			c->n[i % SLOTS]--;
			break;
		}
	if (total(c) == 0)
		drop(g, c);
}
