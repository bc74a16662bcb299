/*
 * facts_dane.c - the TLSA records of each host that may be used.
 *
 * Called by facts.c when all addresses of a host are in: addresses come first,
 * and no TLSA question is ever asked for a host whose address is not secure
 * (RFC 7672, 2.2.2). Which question is next is dane_host's to say
 * (lib/dane/host.h); hosts run side by side. From the first address question to
 * the last answer the facts say "indeterminate", so that nothing that goes wrong
 * here weakens a level.
 *
 * Sources: RFC 7672 2.2; standards DANE-14 to DANE-22, DANE-40.
 */
#include "deliver/facts_int.h"

#include <stdlib.h>

void
facts_dane_prepare(struct gather *g)
{
	struct plan *p = g->plan;

	if (p->set.dane == CONF_DANE_NONE || g->n_work == 0 ||
	    (p->facts.via != FACTS_VIA_MX &&
		p->facts.via != FACTS_VIA_IMPLICIT))
		return;
	p->dane = calloc(g->n_work, sizeof(p->dane[0]));
	if (p->dane == NULL)
		g->short_of_memory = true;
	else
		p->n_dane = g->n_work;
}

/* The next question of a host, or its end: the facts. */
static void
go_on(struct gather *g, size_t index)
{
	struct dane_host *h = &g->plan->dane[index];
	struct facts_host *fh = &g->hosts[index];
	struct dane_question q;

	if (dane_host_next(h, &q)) {
		gather_ask(g, q.name, q.type, index);
		return;
	}
	dane_host_facts(h, fh);
	if (fh->n_tlsa_rrs > 0 && h->ttl_s < g->records_ttl_s)
		g->records_ttl_s = h->ttl_s;
}

void
facts_dane_start(struct gather *g, size_t index)
{
	struct host_work *w = &g->work[index];
	const struct facts_host *fh = &g->hosts[index];

	if (index >= g->plan->n_dane || fh->n_addrs == 0)
		return; /* DANE is not looked at, or there is no host */
	dane_host_start(
	    &g->plan->dane[index], fh->name, fh->port, w->a, w->aaaa);
	go_on(g, index);
}

void
facts_on_dane(struct lookup *l, const struct dns_answer *a)
{
	struct gather *g = l->g;

	/* on any fault the facts stay, or become, indeterminate */
	if (dane_host_take(&g->plan->dane[l->index], a) == -EINVAL)
		return;
	go_on(g, l->index);
}
