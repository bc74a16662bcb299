/*
 * resolver.c - asking, flushing, settings and life of a resolver.
 *
 * Called by the peer files, probe.c and tests. What happens to a question once
 * it is open is in query.c.
 */
#include "resolver/question.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "resolver/cache.h"
#include "resolver/upstream.h"
#include "resolver/validate.h"

enum { OUTAGE_IN_ROW = 4 /* validations without any answer */ };

int
resolver_ask(struct resolver *r, struct resolver_req *req, const char *name,
    uint16_t type, unsigned flags, resolver_cb *cb, void *arg,
    const struct dns_answer **ret_answer)
{
	bool plain = (flags & RESOLVER_PLAIN) != 0;
	struct question *q;

	memset(req, 0, sizeof(*req));
	if (r->stopping)
		return PE_GONE;
	if (!dns_name_is_normal(name) || !dns_type_known(type))
		return -EINVAL;
	r->stats.asked++;
	if ((flags & RESOLVER_FRESH) == 0) {
		*ret_answer = cache_get(r->cache, name, type);
		if (*ret_answer != NULL &&
		    (!plain || (*ret_answer)->why != DNS_WHY_UNVALIDATED)) {
			r->stats.hits++;
			return 1;
		}
	}
	r->stats.misses++;
	q = question_find(r, name, type, plain);
	if (r->n_reqs >= RESOLVER_ASKERS_MAX ||
	    (q == NULL && r->n_waiting >= r->set.max_waiting)) {
		r->stats.refused++;
		return PE_FULL;
	}
	if (q != NULL)
		r->stats.joined++;
	else
		q = question_new(r, name, type, plain);
	if (q == NULL)
		return -ENOMEM;
	if (TAILQ_EMPTY(&q->reqs))
		q->fresh = (flags & RESOLVER_FRESH) != 0;
	req->question = q;
	req->cb = cb;
	req->arg = arg;
	TAILQ_INSERT_TAIL(&q->reqs, req, link);
	r->n_reqs++;
	return 0;
}

void
resolver_cancel(struct resolver *r, struct resolver_req *req)
{
	struct question *q = req->question;

	if (q == NULL)
		return;
	TAILQ_REMOVE(&q->reqs, req, link);
	req->question = NULL;
	r->n_reqs--;
	/* what is on its way fills the cache; what was not sent yet need not
	 * be (a done question is freed by question_finish()) */
	if (q->state == Q_WAITING && TAILQ_EMPTY(&q->reqs)) {
		question_unlink(q);
		free(q);
	}
}

/* Who asks the old servers starts again with the new ones. */
static void
questions_again(struct resolver *r)
{
	struct question *q;

	TAILQ_FOREACH(q, &r->by_deadline, by_deadline) {
		if (q->state == Q_WAITING)
			continue;
		if (q->state == Q_READY)
			TAILQ_REMOVE(&r->ready, q, queue);
		question_rewind(q);
		q->state = Q_WAITING;
		TAILQ_INSERT_HEAD(&r->waiting, q, queue);
		r->n_waiting++;
		r->n_places--;
	}
	(void)uv_timer_start(&r->soon, question_on_soon, 0, 0);
}

/* ---- libunbound ------------------------------------------------------------
 */

static bool
same_servers(
    const struct resolver_settings *a, const struct resolver_settings *b)
{
	size_t i;

	if (a->n_servers != b->n_servers)
		return false;
	for (i = 0; i < a->n_servers; i++)
		if (strcmp(a->servers[i].text, b->servers[i].text) != 0 ||
		    a->servers[i].trust_ad != b->servers[i].trust_ad)
			return false;
	return true;
}

static bool
same_anchors(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/*
 * A validator for this set: NULL when none is wanted. The old one is kept where it
 * would be made alike, since it knows keys and delegations.
 */
static int
validator_for(struct resolver *r, const struct resolver_settings *set,
    struct validator **ret_va, char **ret_anchors)
{
	int e;

	*ret_va = NULL;
	*ret_anchors = NULL;
	if (set->anchors == NULL)
		return 0;
	*ret_anchors = strdup(set->anchors);
	if (*ret_anchors == NULL)
		return -ENOMEM;
	if (r->va != NULL && same_anchors(r->anchors, set->anchors) &&
	    same_servers(&r->set, set) && r->set.mix_case == set->mix_case &&
	    r->set.max_queries == set->max_queries) {
		*ret_va = r->va;
		return 0;
	}
	e = validator_new(r->loop, set, ret_va);
	if (e < 0) {
		free(*ret_anchors);
		*ret_anchors = NULL;
	}
	return e;
}

/* Takes both. */
static void
validator_set(struct resolver *r, struct validator *va, char *anchors)
{
	if (va != r->va)
		validator_free(r->va);
	r->va = va;
	free(r->anchors);
	r->anchors = anchors;
	r->set.anchors = anchors;
	r->failed_in_row = 0;
}

/*
 * libunbound has no call to forget names, and may have kept for a minute that a
 * key above the name is no good: it begins anew.
 */
int
resolver_renew(struct resolver *r)
{
	struct validator *va;
	int e;

	e = validator_new(r->loop, &r->set, &va);
	if (e < 0)
		return e;
	questions_again(r);
	validator_free(r->va);
	r->va = va;
	return 0;
}

size_t
resolver_flush(struct resolver *r, const char *name)
{
	struct question *q;

	if (name == NULL)
		name = "";
	TAILQ_FOREACH(q, &r->by_deadline, by_deadline) {
		if (q->state != Q_WAITING && dns_name_under(q->name, name))
			q->no_store = true;
	}
	if (r->va != NULL)
		(void)resolver_renew(r); /* short of memory: it goes on */
	return cache_flush(r->cache, name);
}

/* ---- life ------------------------------------------------------------------
 */

static int
settings_check(
    const struct resolver_settings *in, struct resolver_settings *out)
{
	*out = *in;
	if ((in->n_servers == 0 && in->anchors == NULL) ||
	    in->n_servers > RESOLVER_SERVERS_MAX || in->tries == 0 ||
	    in->timeout_ms <= 0)
		return -EINVAL;
	if (in->max_queries == 0)
		return -EINVAL;
	if (out->max_queries > RESOLVER_IN_FLIGHT_MAX)
		out->max_queries = RESOLVER_IN_FLIGHT_MAX;
	if (out->max_waiting == 0)
		out->max_waiting = RESOLVER_WAITING_MAX;
	return 0;
}

int
resolver_new(uv_loop_t *loop, const struct resolver_settings *settings,
    struct resolver **ret_resolver)
{
	struct resolver *r = calloc(1, sizeof(*r));
	struct validator *va = NULL;
	char *anchors = NULL;
	size_t i;
	int e;

	if (r == NULL)
		return -ENOMEM;
	r->loop = loop;
	for (i = 0; i < QUESTION_BUCKETS; i++)
		LIST_INIT(&r->open[i]);
	TAILQ_INIT(&r->by_deadline);
	TAILQ_INIT(&r->waiting);
	TAILQ_INIT(&r->ready);
	e = settings_check(settings, &r->set);
	if (e == 0)
		e = channel_library_init();
	if (e == 0)
		e = upstreams_new(loop, &r->set, &r->us);
	if (e == 0)
		e = validator_for(r, &r->set, &va, &anchors);
	if (e == 0) {
		validator_set(r, va, anchors);
		r->cache = cache_new(r->set.cache_size);
		e = r->cache == NULL ? -ENOMEM : 0;
	}
	if (e < 0) {
		validator_set(r, NULL, NULL);
		upstreams_free(r->us);
		free(r);
		return e;
	}
	(void)uv_timer_init(loop, &r->deadline); /* cannot fail */
	(void)uv_timer_init(loop, &r->soon);
	r->deadline.data = r->soon.data = r;
	r->handles = 2;
	*ret_resolver = r;
	return 0;
}

int
resolver_configure(struct resolver *r, const struct resolver_settings *settings)
{
	struct resolver_settings set;
	struct upstreams *us = NULL;
	struct validator *va = NULL;
	char *anchors = NULL;
	int e;

	e = settings_check(settings, &set);
	if (e == 0)
		e = upstreams_new(r->loop, &set, &us);
	if (e == 0)
		e = validator_for(r, &set, &va, &anchors);
	if (e < 0) {
		upstreams_free(us);
		return e;
	}
	questions_again(r);
	if (!same_servers(&r->set, &set) ||
	    !same_anchors(r->anchors, set.anchors))
		(void)cache_flush(r->cache, "");
	cache_resize(r->cache, set.cache_size);
	upstreams_inherit(us, r->us);
	upstreams_free(r->us);
	r->us = us;
	r->set = set;
	validator_set(r, va, anchors);
	return 0;
}

void
resolver_remember(
    struct resolver *r, const char *server, const char *name, uint16_t type)
{
	upstreams_remember(r->us, server, name, type);
}

const char *
resolver_signed(const struct resolver *r, uint16_t *ret_type)
{
	return upstreams_signed(r->us, ret_type);
}

void
resolver_lets_bogus(struct resolver *r, bool lets)
{
	upstreams_lets_bogus(r->us, lets);
}

void
resolver_on_seen(struct resolver *r, void (*cb)(void *arg), void *arg)
{
	upstreams_on_seen(r->us, cb, arg);
}

static void
on_closed(uv_handle_t *h)
{
	struct resolver *r = h->data;

	if (--r->handles == 0)
		free(r);
}

void
resolver_free(struct resolver *r)
{
	struct question *q;

	if (r == NULL)
		return;
	r->stopping = true;
	while ((q = TAILQ_FIRST(&r->by_deadline)) != NULL)
		question_fail_as(q, DNS_WHY_GONE, "resolver stops");
	validator_set(r, NULL, NULL);
	upstreams_free(r->us);
	cache_free(r->cache);
	uv_close((uv_handle_t *)&r->deadline, on_closed);
	uv_close((uv_handle_t *)&r->soon, on_closed);
}

/* The servers are libunbound's: how each of them fares, it does not tell. */
static void
validator_stats(const struct resolver *r, struct resolver_stats *ret)
{
	size_t i;

	ret->validates = true;
	ret->validating = validator_open(r->va);
	ret->outage = r->failed_in_row >= OUTAGE_IN_ROW;
	ret->mixed = ret->expected = ret->closed = false;
	for (i = 0; i < ret->n_servers; i++) {
		ret->servers[i].up = !ret->outage;
		ret->servers[i].trust_ad = false;
		ret->servers[i].validates = "no matter";
	}
}

void
resolver_stats(const struct resolver *r, struct resolver_stats *ret)
{
	struct cache_stats cs;
	size_t i;

	*ret = r->stats;
	cache_stats(r->cache, &cs);
	ret->in_flight = r->n_places;
	ret->waiting = r->n_waiting;
	ret->cache_entries = cs.entries;
	ret->cache_bytes = cs.bytes;
	ret->cache_evicted = cs.evicted;
	ret->doubted = upstreams_doubted(r->us);
	ret->mixed = upstreams_mixed(r->us);
	ret->expected = upstreams_expected(r->us);
	ret->closed = upstreams_closed(r->us);
	ret->n_servers = upstreams_count(r->us);
	for (i = 0; i < ret->n_servers; i++) {
		upstreams_stats(r->us, (int)i, &ret->servers[i]);
		ret->outage = (i == 0 || ret->outage) && !ret->servers[i].up;
	}
	if (r->va != NULL)
		validator_stats(r, ret);
}
