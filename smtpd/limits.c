/*
 * limits.c - how many connections a listener and a client have. Pure.
 *
 * Called by conn_admit.c. The table is keyed by addresses from outside, so its hash
 * is seeded; it holds an entry for each client that is connected now and for
 * nobody else.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/client_key.h"
#include "lib/base/hash.h"
#include "smtpd/smtpd.h"

static struct limit_bucket *
bucket_of(
    struct limits *l, uint16_t listener, const uint8_t client[CLIENT_KEY_LEN])
{
	uint8_t key[CLIENT_KEY_LEN + 2];

	memcpy(key, client, CLIENT_KEY_LEN);
	memcpy(key + CLIENT_KEY_LEN, &listener, 2);
	return &l->buckets[hash_bytes(key, sizeof(key)) % LIMIT_BUCKETS];
}

enum limit_answer
limits_take(struct limits *l, uint16_t listener, const struct sockaddr *sa,
    uint32_t max, uint32_t max_per_client, struct limit_client **ret_client)
{
	struct limit_bucket *b;
	struct limit_client *c;
	uint8_t key[CLIENT_KEY_LEN];

	if (l->by_listener[listener] >= max)
		return LIMIT_LISTENER;
	(void)client_key(sa, key); /* others are one client, all zero */
	b = bucket_of(l, listener, key);
	LIST_FOREACH(c, b, link)
		if (c->listener == listener &&
		    memcmp(c->key, key, sizeof(key)) == 0)
			break;
	if (c != NULL && c->n >= max_per_client)
		return LIMIT_CLIENT;
	if (c == NULL) {
		c = calloc(1, sizeof(*c));
		if (c == NULL)
			return LIMIT_MEMORY;
		c->listener = listener;
		memcpy(c->key, key, sizeof(key));
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
