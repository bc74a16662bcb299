/*
 * facts_mx.c - which hosts take a domain's mail: MX records, the domain itself,
 * a route's hosts, an address literal.
 *
 * Called by facts.c. Sources: RFC 5321 5.1, 7505; standards DNS-08; destination
 * controls, section 2 (routes).
 */
#include "deliver/facts_int.h"

#include "deliver/arena.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/hash.h"
#include "lib/mail/addr.h"

/* The place of one more host: when there are enough, that of the worst one if it
 * is worse than this; else NULL. */
static struct facts_host *
host_place(struct gather *g, uint32_t rank)
{
	size_t i, worst = 0;

	if (g->n_hosts < VERDICT_HOSTS_MAX)
		return &g->hosts[g->n_hosts++];
	for (i = 1; i < g->n_hosts; i++)
		if (g->hosts[i].rank > g->hosts[worst].rank)
			worst = i;
	return g->hosts[worst].rank > rank ? &g->hosts[worst] : NULL;
}

/* A new host, or NULL when there are enough that are as good. name must live
 * with the plan. */
static struct facts_host *
add_host(struct gather *g, const char *name, uint32_t rank)
{
	struct facts_host *h = host_place(g, rank);

	if (h == NULL)
		return NULL;
	memset(h, 0, sizeof(*h));
	h->name = name;
	h->rank = rank;
	/* at random, but in one order for hosts that take turns */
	h->shuffle = g->plan->route == NULL
	    ? arc4random()
	    : (uint32_t)hash_bytes(name, strlen(name));
	h->port = g->plan->env->conf->delivery.port;
	h->tlsa = FACTS_TLSA_NOT_ASKED;
	return h;
}

static void
add_mx(struct gather *g, const struct dns_rr *rr, uint32_t rank,
    const char *via, uint16_t port)
{
	const char *bad = verdict_bad_target(rr->host);
	char name[DNS_NAME_SIZE];
	struct facts_host *h;

	if (bad == NULL && dns_name_normalise(rr->host, name) < 0)
		bad = "the MX is no host name"; /* cannot be */
	h = add_host(g, gather_keep(g, bad != NULL ? rr->host : name), rank);
	if (h == NULL)
		return;
	h->preference = rr->preference;
	h->bad = bad;
	h->via = via;
	h->port = port;
}

/* The MX answer of the domain itself. */
static void
on_domain_mx(struct gather *g, const struct dns_answer *a)
{
	struct facts *f = &g->plan->facts;
	char canon[DNS_NAME_SIZE];
	struct facts_host *h;
	size_t i;

	f->mx_state = a->state;
	f->mx_kind = a->kind;
	if (a->chain && dns_name_normalise(a->canon, canon) == 0)
		f->canon = gather_keep(g, canon);
	if (a->state == DNS_INDETERMINATE) {
		f->mx_text = gather_keep(g, a->reason);
		return;
	}
	if (a->kind == DNS_NODATA) {
		f->via = FACTS_VIA_IMPLICIT;
		h = add_host(g, g->plan->domain, 0);
		if (h != NULL && dns_name_is_numeric(h->name))
			h->bad = "the domain is an address without brackets";
		return;
	}
	if (a->rrs_len == 1 && a->rrs[0].host[0] == '\0') {
		f->null_mx = true;
		return;
	}
	for (i = 0; i < a->rrs_len; i++)
		add_mx(g, &a->rrs[i], a->rrs[i].preference, NULL,
		    g->plan->env->conf->delivery.port);
}

/* The different preferences of an MX set, the best one first. */
struct prefs {
	uint16_t v[DNS_ANSWER_RRS_MAX];
	size_t n;
};

static int
by_preference(const void *a, const void *b)
{
	uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;

	return (x > y) - (x < y);
}

static void
prefs_of(const struct dns_answer *a, struct prefs *ret)
{
	size_t i, n = 0;

	for (i = 0; i < a->rrs_len && i < DNS_ANSWER_RRS_MAX; i++)
		ret->v[i] = a->rrs[i].preference;
	ret->n = i;
	qsort(ret->v, ret->n, sizeof(ret->v[0]), by_preference);
	for (i = 0; i < ret->n; i++)
		if (n == 0 || ret->v[n - 1] != ret->v[i])
			ret->v[n++] = ret->v[i];
	ret->n = n;
}

/* How many different better preferences there are: MX sets of several route
 * hosts compare by that, whatever numbers their owners chose. */
static uint32_t
dense_rank(const struct prefs *p, uint16_t preference)
{
	const uint16_t *at =
	    bsearch(&preference, p->v, p->n, sizeof(p->v[0]), by_preference);

	return at == NULL ? (uint32_t)p->n : (uint32_t)(at - p->v);
}

/* The MX answer of a route host: "looked up without consulting routes again";
 * no MX means its own address. */
static void
on_route_mx(struct gather *g, size_t index, const struct dns_answer *a)
{
	const struct conf_route_host *rh = &g->plan->route->hosts[index];
	uint32_t rank = (uint32_t)rh->priority << 16;
	struct facts_host *h;
	struct prefs p;
	size_t i;

	if (a->kind == DNS_DATA &&
	    !(a->rrs_len == 1 && a->rrs[0].host[0] == '\0')) {
		prefs_of(a, &p);
		for (i = 0; i < a->rrs_len; i++)
			add_mx(g, &a->rrs[i],
			    rank + dense_rank(&p, a->rrs[i].preference),
			    rh->name, rh->port);
		return;
	}
	h = add_host(g, rh->name, rank);
	if (h == NULL)
		return;
	h->preference = rh->priority;
	h->port = rh->port;
	if (a->state == DNS_INDETERMINATE) {
		h->bad = NULL;
		h->addr = FACTS_ADDR_INDETERMINATE;
		h->addr_text = gather_keep(g, a->reason);
	} else if (a->kind == DNS_DATA) {
		h->bad = "the route's host does not accept mail (null MX)";
	}
}

void
facts_on_mx(struct lookup *l, const struct dns_answer *a)
{
	if (l->g->plan->route != NULL)
		on_route_mx(l->g, l->index, a);
	else
		on_domain_mx(l->g, a);
}

/* ---- not by MX ---- */

static void
set_literal(struct gather *g, struct facts_host *h, const union conf_addr *from)
{
	union conf_addr *a = arena_alloc(g->plan->arena, sizeof(*a));
	bool v4, v6;

	plan_families(g->plan, &v4, &v6);
	if (from->sa.sa_family == AF_INET ? !v4 : !v6) {
		h->bad = "the address is of a family that is not used here";
		return;
	}
	if (a == NULL) {
		g->short_of_memory = true;
		return;
	}
	*a = *from;
	a->in.sin_port = htons(h->port); /* the same place in both families */
	if (address_is_own(g->plan->env->conf, a, false)) {
		h->bad = "the address is this host itself";
		return;
	}
	h->addr = FACTS_ADDR_DATA;
	h->addrs = a;
	h->n_addrs = 1;
	h->addr_security = DNS_INSECURE; /* nobody vouches for it */
}

void
facts_start_literal(struct gather *g)
{
	struct host_work work = { 0 };
	union conf_addr a;
	struct facts_host *h;
	uint8_t ip[16];
	int family;
	bool literal;

	g->plan->facts.via = FACTS_VIA_LITERAL;
	h = add_host(g, g->plan->domain, 0);
	if (h == NULL)
		return;
	literal = addr_literal_parse(g->plan->domain, strlen(g->plan->domain),
		      &family, ip) == 0;
	if (literal &&
	    facts_is_denied(g, &work, ip, family == AF_INET6, h->port)) {
		h->addr = FACTS_ADDR_DENIED;
		h->denied = work.denied;
		return;
	}
	if (!literal || !verdict_usable_address(ip, family == AF_INET6)) {
		h->bad = "no address that mail can go to";
		return;
	}
	if (family == AF_INET6)
		facts_set_v6(&a, ip, h->port);
	else
		facts_set_v4(&a, ip, h->port);
	set_literal(g, h, &a);
}

void
facts_start_route(struct gather *g)
{
	const struct conf_route *route = g->plan->route;
	struct facts_host *h;
	size_t i;

	g->plan->facts.via = FACTS_VIA_ROUTE;
	for (i = 0; i < route->n_hosts; i++) {
		const struct conf_route_host *rh = &route->hosts[i];

		if (rh->addr.sa.sa_family == AF_UNSPEC && !rh->no_mx) {
			gather_ask(g, rh->name, DNS_MX, i);
			continue;
		}
		h = add_host(g, rh->name, (uint32_t)rh->priority << 16);
		if (h == NULL)
			continue; /* a better one may come */
		h->preference = rh->priority;
		h->port = rh->port;
		if (rh->addr.sa.sa_family != AF_UNSPEC)
			set_literal(g, h, &rh->addr);
	}
}
