/*
 * cache.c - bounded cache of DNS answers, least recently used out first.
 *
 * The key is hashed with the process's secret: names come from outside, and
 * nobody shall choose them so that they meet in one bucket. The table never
 * grows; it is sized for the bound.
 */
#include "resolver/cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "lib/dns/dns.h"

enum {
	ENTRY_OVERHEAD = 64,	/* struct entry and what malloc adds */
	BYTES_PER_BUCKET = 512, /* about one small answer */
	BUCKETS_MIN = 64,
	BUCKETS_MAX = 1 << 18,
	TOO_LARGE_PART = 4, /* no entry over a quarter of the whole */
};

struct entry {
	LIST_ENTRY(entry) bucket;
	TAILQ_ENTRY(entry) lru; /* first: used longest ago */
	struct dns_answer *answer;
	int64_t until_ms;
	size_t bytes;
};

LIST_HEAD(bucket, entry);

struct cache {
	TAILQ_HEAD(entry_lru, entry) lru;
	struct bucket *buckets;
	size_t n_buckets; /* a power of two */
	size_t max_bytes;
	struct cache_stats stats;
};

uint64_t
cache_hash(const char *name, uint16_t type)
{
	uint8_t key[DNS_NAME_SIZE + 2];
	size_t n = strnlen(name, DNS_NAME_MAX);

	key[0] = (uint8_t)(type >> 8);
	key[1] = (uint8_t)type;
	memcpy(&key[2], name, n);
	return hash_bytes(key, n + 2);
}

static struct bucket *
bucket_of(const struct cache *c, const char *name, uint16_t type)
{
	return &c->buckets[cache_hash(name, type) & (c->n_buckets - 1)];
}

struct cache *
cache_new(size_t max_bytes)
{
	struct cache *c = calloc(1, sizeof(*c));
	size_t i;

	if (c == NULL)
		return NULL;
	c->max_bytes = max_bytes;
	c->n_buckets = BUCKETS_MIN;
	while (c->n_buckets < max_bytes / BYTES_PER_BUCKET &&
	    c->n_buckets < BUCKETS_MAX)
		c->n_buckets *= 2;
	c->buckets = calloc(c->n_buckets, sizeof(*c->buckets));
	if (c->buckets == NULL) {
		free(c);
		return NULL;
	}
	for (i = 0; i < c->n_buckets; i++)
		LIST_INIT(&c->buckets[i]);
	TAILQ_INIT(&c->lru);
	return c;
}

static void
entry_free(struct cache *c, struct entry *e)
{
	LIST_REMOVE(e, bucket);
	TAILQ_REMOVE(&c->lru, e, lru);
	c->stats.entries--;
	c->stats.bytes -= e->bytes;
	dns_answer_free(e->answer);
	free(e);
}

void
cache_free(struct cache *c)
{
	if (c == NULL)
		return;
	(void)cache_flush(c, "");
	free(c->buckets);
	free(c);
}

static void
make_room(struct cache *c, size_t bytes)
{
	struct entry *e;

	while (c->stats.bytes > 0 &&
	    (bytes > c->max_bytes || c->stats.bytes > c->max_bytes - bytes)) {
		e = TAILQ_FIRST(&c->lru);
		if (e->until_ms > clock_mono_ms())
			c->stats.evicted++;
		entry_free(c, e);
	}
}

void
cache_resize(struct cache *c, size_t max_bytes)
{
	c->max_bytes = max_bytes;
	make_room(c, 0);
}

static struct entry *
find(const struct cache *c, const char *name, uint16_t type)
{
	struct entry *e;

	LIST_FOREACH(e, bucket_of(c, name, type), bucket) {
		if (e->answer->type == type &&
		    strcmp(e->answer->name, name) == 0)
			return e;
	}
	return NULL;
}

void
cache_put(struct cache *c, struct dns_answer *answer, int64_t ttl_ms)
{
	struct entry *e = find(c, answer->name, answer->type);
	size_t bytes = dns_answer_size(answer) + ENTRY_OVERHEAD;

	if (e != NULL)
		entry_free(c, e);
	if (ttl_ms <= 0 || bytes > c->max_bytes / TOO_LARGE_PART) {
		dns_answer_free(answer);
		return;
	}
	e = malloc(sizeof(*e));
	if (e == NULL) {
		dns_answer_free(answer);
		return;
	}
	make_room(c, bytes);
	e->answer = answer;
	e->until_ms = clock_mono_ms() + ttl_ms;
	e->bytes = bytes;
	LIST_INSERT_HEAD(bucket_of(c, answer->name, answer->type), e, bucket);
	TAILQ_INSERT_TAIL(&c->lru, e, lru);
	c->stats.entries++;
	c->stats.bytes += bytes;
}

const struct dns_answer *
cache_get(struct cache *c, const char *name, uint16_t type)
{
	struct entry *e = find(c, name, type);
	int64_t left_ms;

	if (e == NULL)
		return NULL;
	left_ms = e->until_ms - clock_mono_ms();
	if (left_ms <= 0) {
		entry_free(c, e);
		return NULL;
	}
	TAILQ_REMOVE(&c->lru, e, lru);
	TAILQ_INSERT_TAIL(&c->lru, e, lru);
	e->answer->ttl_s = (uint32_t)(left_ms / 1000);
	return e->answer;
}

size_t
cache_flush(struct cache *c, const char *name)
{
	struct entry *e, *next;
	size_t n = 0;

	for (e = TAILQ_FIRST(&c->lru); e != NULL; e = next) {
		next = TAILQ_NEXT(e, lru);
		if (!dns_name_under(e->answer->name, name))
			continue;
		entry_free(c, e);
		n++;
	}
	return n;
}

void
cache_stats(const struct cache *c, struct cache_stats *ret)
{
	*ret = c->stats;
}
