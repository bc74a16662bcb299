/*
 * facts_addr.c - the addresses of the hosts that may be used, and whether one of
 * them is ourselves.
 *
 * Called by facts.c. One family that fails does not fail the host (SMTP-43).
 */
#include "deliver/facts_int.h"

#include "deliver/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
facts_set_v4(union conf_addr *a, const uint8_t *ip, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons(port);
	memcpy(&a->in.sin_addr, ip, 4);
}

void
facts_set_v6(union conf_addr *a, const uint8_t *ip, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons(port);
	memcpy(&a->in6.sin6_addr, ip, 16);
}

/* Whoever publishes the records must not choose whom we talk to inside. */
bool
facts_is_denied(struct gather *g, struct host_work *w, const uint8_t *ip,
    bool v6, uint16_t port)
{
	const struct conf *conf = g->plan->env->conf;
	union conf_addr a;
	char text[64];

	if (g->plan->route != NULL || !address_denied(&conf->delivery, ip, v6))
		return false;
	if (v6)
		facts_set_v6(&a, ip, port);
	else
		facts_set_v4(&a, ip, port);
	w->own = w->own || address_is_own(conf, &a, false);
	a.in.sin_port = 0; /* the same place in both families */
	if (w->denied == NULL)
		w->denied =
		    gather_keep(g, conf_addr_format(&a, text, sizeof(text)));
	return true;
}

static void
take_addresses(struct lookup *l, const struct dns_answer *a)
{
	struct gather *g = l->g;
	struct host_work *w = &g->work[l->index];
	uint16_t port = g->hosts[l->index].port;
	size_t i;

	if (a->state == DNS_INDETERMINATE) {
		w->failed = true;
		(void)snprintf(w->why, sizeof(w->why), "%s: %s",
		    dns_type_str(a->type), a->reason);
		return;
	}
	if (a->kind != DNS_DATA)
		return;
	if (a->state < w->security)
		w->security = a->state;
	for (i = 0; i < a->rrs_len; i++) {
		const uint8_t *ip = a->rrs[i].data;
		bool v6 = l->type == DNS_AAAA;

		if (a->rrs[i].data_len != (v6 ? 16u : 4u) ||
		    facts_is_denied(g, w, ip, v6, port) ||
		    !verdict_usable_address(ip, v6))
			continue;
		if (v6 && w->n6 < ADDRS_PER_HOST)
			facts_set_v6(&w->v6[w->n6++], ip, port);
		else if (!v6 && w->n4 < ADDRS_PER_HOST)
			facts_set_v4(&w->v4[w->n4++], ip, port);
	}
}

/* All that was asked for one host is in: put the families into the order of
 * use, and go on with its TLSA records. */
static void
settle_host(struct gather *g, size_t i)
{
	bool v6_first = g->plan->control->ip_preference == CONF_IP_PREFER_IPV6;
	struct host_work *w = &g->work[i];
	struct facts_host *h = &g->hosts[i];
	size_t first = v6_first ? w->n6 : w->n4, n = w->n4 + w->n6;
	union conf_addr *all;

	h->denied = w->denied;
	if (n == 0) {
		/* one family failing does not fail the host, but then it is not
		 * known that there is nothing (SMTP-43) */
		h->addr = w->failed	? FACTS_ADDR_INDETERMINATE
		    : w->denied != NULL ? FACTS_ADDR_DENIED
					: FACTS_ADDR_NONE;
		h->addr_text =
		    w->why[0] != '\0' ? gather_keep(g, w->why) : "no address";
		h->tlsa = FACTS_TLSA_NOT_ASKED;
		return;
	}
	all = arena_alloc(g->plan->arena, n * sizeof(all[0]));
	if (all == NULL) {
		g->short_of_memory = true;
		return;
	}
	memcpy(all, v6_first ? w->v6 : w->v4, first * sizeof(all[0]));
	memcpy(all + first, v6_first ? w->v4 : w->v6,
	    (n - first) * sizeof(all[0]));
	h->addr = FACTS_ADDR_DATA;
	h->addr_security = w->security;
	h->addrs = all;
	h->n_addrs = n;
	facts_dane_start(g, i);
}

/* For DANE, which looks at both answers (DANE-14, DANE-18). */
static void
keep_answer(struct gather *g, struct host_work *w, const struct dns_answer *a)
{
	if (g->plan->n_dane > 0 &&
	    dns_answer_dup(a, a->type == DNS_AAAA ? &w->aaaa : &w->a) < 0)
		g->short_of_memory = true;
}

void
facts_on_address(struct lookup *l, const struct dns_answer *a)
{
	struct host_work *w = &l->g->work[l->index];

	take_addresses(l, a);
	keep_answer(l->g, w, a);
	if (--w->open == 0)
		settle_host(l->g, l->index);
}

void
facts_ask_addresses(struct gather *g)
{
	struct plan *p = g->plan;
	uint32_t max = p->set.max_hosts;
	bool v4, v6;
	size_t i;

	plan_families(p, &v4, &v6);
	g->n_work = g->n_hosts < max ? g->n_hosts : max;
	g->work = calloc(g->n_work + 1, sizeof(g->work[0]));
	if (g->work == NULL) {
		g->short_of_memory = true;
		g->n_work = 0;
		return;
	}
	facts_dane_prepare(g);
	for (i = 0; i < g->n_work; i++) {
		struct facts_host *h = &g->hosts[i];

		if (h->bad != NULL || h->n_addrs > 0 || h->addr_text != NULL ||
		    h->denied != NULL)
			continue; /* no name, a literal, or known to fail */
		g->work[i].security = DNS_SECURE;
		g->work[i].open = (unsigned)v4 + v6;
		if (g->plan->n_dane > 0)
			h->tlsa = FACTS_TLSA_INDETERMINATE;
		if (v4)
			gather_ask(g, h->name, DNS_A, i);
		if (v6)
			gather_ask(g, h->name, DNS_AAAA, i);
		if (v4 || v6)
			continue;
		(void)snprintf(g->work[i].why, sizeof(g->work[i].why),
		    "the gateway has no source address of the family that "
		    "ip_preference wants");
		settle_host(g, i);
	}
}

/* ---- ourselves ------------------------------------------------------------------------------------ */

/*
 * A host whose address is one of our listeners is we ourselves, under whatever
 * name: it and all that are not better go (RFC 5321, 5.1), or mail would come
 * back until its hops are used up.
 */
void
facts_drop_own(struct gather *g)
{
	const struct facts_host *h;
	uint32_t rank = UINT32_MAX;
	size_t i, k, n = 0;
	bool found = false;

	for (i = 0; i < g->n_work; i++) {
		bool own = g->work[i].own;

		h = &g->hosts[i];
		for (k = 0; k < h->n_addrs && !own; k++)
			own = address_is_own(
			    g->plan->env->conf, &h->addrs[k], false);
		if (!own)
			continue;
		found = true;
		if (h->rank < rank)
			rank = h->rank;
	}
	if (!found)
		return;
	while (n < g->n_hosts && g->hosts[n].rank < rank)
		n++;
	g->n_hosts = n;
	g->plan->loop = g->plan->loop || n == 0;
}
