/*
 * limits.c - how many connections a listener and a client have. Pure.
 *
 * Called by conn.c. The table is keyed by addresses from outside, so its hash
 * is seeded; it holds an entry for each client that is connected now and for
 * nobody else.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/hash.h"
#include "smtpd/smtpd.h"

static void
key_of(const struct sockaddr *sa, uint8_t ret_addr[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memset(ret_addr, 0, 16);
	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		memcpy(ret_addr, mapped, 12);
		memcpy(ret_addr + 12, &in.sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(ret_addr, &in6.sin6_addr, 16);
	}
}

static struct limit_bucket *
bucket_of(struct limits *l, uint16_t listener, const uint8_t addr[16])
{
	uint8_t key[18];

	memcpy(key, addr, 16);
	memcpy(key + 16, &listener, 2);
	return &l->buckets[hash_bytes(key, sizeof(key)) % LIMIT_BUCKETS];
}

enum limit_answer
limits_take(struct limits *l, uint16_t listener, const struct sockaddr *sa,
    uint32_t max, uint32_t max_per_client, struct limit_client **ret_client)
{
	struct limit_bucket *b;
	struct limit_client *c;
	uint8_t addr[16];

	if (l->by_listener[listener] >= max)
		return LIMIT_LISTENER;
	key_of(sa, addr);
	b = bucket_of(l, listener, addr);
	LIST_FOREACH(c, b, link)
	if (c->listener == listener && memcmp(c->addr, addr, 16) == 0)
		break;
	if (c != NULL && c->n >= max_per_client)
		return LIMIT_CLIENT;
	if (c == NULL) {
		c = calloc(1, sizeof(*c));
		if (c == NULL)
			return LIMIT_MEMORY;
		c->listener = listener;
		memcpy(c->addr, addr, 16);
		LIST_INSERT_HEAD(b, c, link);
	}
	c->n++;
	l->by_listener[listener]++;
	*ret_client = c;
	return LIMIT_OK;
}

void
limits_drop(struct limits *l, struct limit_client *client)
{
	l->by_listener[client->listener]--;
	if (--client->n > 0)
		return;
	LIST_REMOVE(client, link);
	free(client);
}
