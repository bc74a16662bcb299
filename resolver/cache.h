/*
 * cache.h - answers by name and type until their TTL ends, within a bound.
 *
 * Called by query.c and tests. Knows no loop and no server; time comes from
 * clock_mono_ms(). What was used longest ago goes first.
 */
#ifndef POSTERN_RESOLVER_CACHE_H
#define POSTERN_RESOLVER_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct cache;
struct dns_answer;

struct cache_stats {
	size_t entries, bytes;
	uint64_t evicted;
};

/* max_bytes bounds answers and entries; NULL when memory is short. */
struct cache *cache_new(size_t max_bytes);
void cache_free(struct cache *c); /* NULL is fine */

/* Change the bound; too much goes at once. */
void cache_resize(struct cache *c, size_t max_bytes);

/*
 * Keep answer for ttl_ms. Takes it, always: what cannot be kept (no time, too
 * large, no memory) is freed, and an older answer to the same question with it.
 */
void cache_put(struct cache *c, struct dns_answer *answer, int64_t ttl_ms);

/* The answer with what remains of its TTL, or NULL. Borrowed until the next
 * call of a function here. */
const struct dns_answer *cache_get(
    struct cache *c, const char *name, uint16_t type);

/* Forget name and all below it; "": everything. Returns how many. */
size_t cache_flush(struct cache *c, const char *name);

void cache_stats(const struct cache *c, struct cache_stats *ret);

/* Seeded; for tables of questions. */
uint64_t cache_hash(const char *name, uint16_t type);

#endif
