/*
 * memo.c - what is remembered of a destination after it was given back: for
 * hoststatus its last errors and how its hosts did, for dest.c whose turn is
 * next. At most MEMOS_MAX; the one that was held longest ago goes first, and
 * without it turns start anywhere. Decides nothing else.
 */
#include "deliver/deliver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"

static size_t
bucket_of(const char *domain)
{
	return hash_bytes(domain, strlen(domain)) % DEST_BUCKETS;
}

static void
forget(struct deliver *d, struct memo *m)
{
	TAILQ_REMOVE(&d->memos, m, lru);
	LIST_REMOVE(m, bucket);
	d->n_memos--;
	free(m);
}

static void
make_room(struct deliver *d)
{
	struct memo *m;

	if (d->n_memos < MEMOS_MAX)
		return;
	TAILQ_FOREACH(m, &d->memos, lru)
		if (m->held == 0) {
			forget(d, m);
			return;
		}
}

struct memo *
memo_hold(struct deliver *d, const char *domain, const char *gateway)
{
	struct memo *m;

	LIST_FOREACH(m, &d->memo_buckets[bucket_of(domain)], bucket)
		if (strcmp(m->domain, domain) == 0 &&
		    strcmp(m->gateway, gateway) == 0)
			break;
	if (m == NULL) {
		make_room(d);
		m = calloc(1, sizeof(*m));
		if (m == NULL)
			return NULL;
		(void)snprintf(m->domain, sizeof(m->domain), "%s", domain);
		(void)snprintf(m->gateway, sizeof(m->gateway), "%s", gateway);
		m->state = "unknown";
		m->turn = arc4random();
		LIST_INSERT_HEAD(
		    &d->memo_buckets[bucket_of(domain)], m, bucket);
		d->n_memos++;
	} else {
		TAILQ_REMOVE(&d->memos, m, lru);
	}
	TAILQ_INSERT_TAIL(&d->memos, m, lru);
	m->held++;
	return m;
}

void
memo_drop(struct memo *m)
{
	if (m != NULL)
		m->held--;
}

void
memo_note(struct memo *m, enum memo_field field, const char *fmt, ...)
{
	char *text, when[32];
	int n;
	va_list ap;

	if (m == NULL)
		return;
	text = field == MEMO_5XX ? m->last_5xx
	    : field == MEMO_TLS	 ? m->last_tls_error
				 : m->last_error;
	n = snprintf(text, MEMO_TEXT, "%s ",
	    clock_format_rfc3339(clock_now_ms(), when, sizeof(when)));
	va_start(ap, fmt);
	(void)vsnprintf(text + n, MEMO_TEXT - (size_t)n, fmt, ap);
	va_end(ap);
}

void
memo_done(struct deliver *d)
{
	while (!TAILQ_EMPTY(&d->memos))
		forget(d, TAILQ_FIRST(&d->memos));
}
