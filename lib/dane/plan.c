/*
 * plan.c - MX, then for each host in order: A, AAAA, and what host.c asks. See
 * plan.h. Never does I/O, never logs.
 */
#include "lib/dane/plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRS_PER_FAMILY = 8 };

enum plan_step { STEP_MX, STEP_A, STEP_AAAA, STEP_TLSA, STEP_DONE };

/* One host while it is looked up, and after. */
struct plan_host {
	union conf_addr addrs[2 * ADDRS_PER_FAMILY];
	char text[192];
	struct dane_host tlsa;
};

struct dane_plan {
	enum plan_step step;
	uint16_t port;
	char domain[DNS_NAME_SIZE], canon[DNS_NAME_SIZE];
	char mx_text[DNS_REASON_SIZE];
	struct facts facts;
	struct dns_answer *mx;	/* owns the names of the hosts */
	struct plan_host *work; /* as many as facts.n_hosts */
	size_t at;		/* the host that is looked up now */
	struct dns_answer *a;	/* its IPv4 addresses, until AAAA is there */
};

int
dane_plan_new(const char *domain, uint16_t port, struct dane_plan **ret_plan)
{
	struct dane_plan *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	(void)snprintf(p->domain, sizeof(p->domain), "%s", domain);
	p->port = port;
	p->facts.domain = p->domain;
	p->facts.via = FACTS_VIA_MX;
	p->facts.sts.state = FACTS_STS_NOT_ASKED;
	*ret_plan = p;
	return 0;
}

void
dane_plan_free(struct dane_plan *p)
{
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; p->work != NULL && i < p->facts.n_hosts; i++)
		dane_host_done(&p->work[i].tlsa);
	free(p->work);
	free(p->facts.hosts);
	dns_answer_free(p->mx);
	dns_answer_free(p->a);
	free(p);
}

/* ---- hosts ----------------------------------------------------------------------- */

static void
set_host(
    struct dane_plan *p, const char *name, uint16_t preference, const char *bad)
{
	struct facts_host *h = &p->facts.hosts[p->facts.n_hosts];

	h->name = name;
	h->rank = h->preference = preference;
	h->shuffle = (uint32_t)p->facts.n_hosts++; /* as they came */
	h->port = p->port;
	h->bad = bad;
	h->addr_security = DNS_INSECURE; /* until addresses say otherwise */
	h->tlsa = FACTS_TLSA_NOT_ASKED;
}

/* To the next host that has a name to look up, or to the end. */
static void
next_host(struct dane_plan *p)
{
	while (p->at < p->facts.n_hosts && p->facts.hosts[p->at].bad != NULL)
		p->at++;
	p->step = p->at < p->facts.n_hosts ? STEP_A : STEP_DONE;
}

static int
take_hosts(struct dane_plan *p, const struct dns_answer *a)
{
	static const struct verdict_settings none;
	size_t i, n = a->kind == DNS_DATA ? a->rrs_len : 1;

	if (n > VERDICT_HOSTS_MAX)
		n = VERDICT_HOSTS_MAX;
	if (dns_answer_dup(a, &p->mx) < 0)
		return -ENOMEM;
	p->facts.hosts = calloc(n, sizeof(p->facts.hosts[0]));
	if (p->facts.hosts == NULL)
		return -ENOMEM;
	if (a->kind == DNS_NODATA) {
		/* the domain itself (RFC 5321, 5.1) */
		p->facts.via = FACTS_VIA_IMPLICIT;
		set_host(p, p->domain, 0,
		    dns_name_is_numeric(p->domain)
			? "the domain is an address without brackets"
			: NULL);
	}
	for (i = 0; a->kind == DNS_DATA && i < n; i++)
		set_host(p, p->mx->rrs[i].host, p->mx->rrs[i].preference,
		    verdict_bad_target(p->mx->rrs[i].host));
	(void)verdict_order_hosts(&none, &p->facts);
	p->work = calloc(p->facts.n_hosts, sizeof(p->work[0]));
	if (p->work == NULL)
		return -ENOMEM;
	next_host(p);
	return 0;
}

static int
take_mx(struct dane_plan *p, const struct dns_answer *a)
{
	struct facts *f = &p->facts;

	f->mx_state = a->state;
	f->mx_kind = a->kind;
	p->step = STEP_DONE;
	/* the next hop is an alias: both names count (DANE-23) */
	if (a->chain && dns_name_normalise(a->canon, p->canon) == 0)
		f->canon = p->canon;
	if (a->state == DNS_INDETERMINATE) {
		(void)snprintf(p->mx_text, sizeof(p->mx_text), "%s", a->reason);
		f->mx_text = p->mx_text;
		return 0;
	}
	f->null_mx =
	    a->kind == DNS_DATA && a->rrs_len == 1 && a->rrs[0].host[0] == '\0';
	if (a->kind == DNS_NXDOMAIN || f->null_mx)
		return 0;
	return take_hosts(p, a);
}

/* ---- addresses --------------------------------------------------------------------- */

static void
add_addresses(
    struct facts_host *h, struct plan_host *w, const struct dns_answer *a)
{
	bool v6 = a->type == DNS_AAAA;
	size_t i, n = 0;

	for (i = 0; i < a->rrs_len && n < ADDRS_PER_FAMILY; i++) {
		union conf_addr *to = &w->addrs[h->n_addrs];
		const uint8_t *ip = a->rrs[i].data;

		if (a->rrs[i].data_len != (v6 ? 16u : 4u) ||
		    !verdict_usable_address(ip, v6))
			continue;
		if (v6) {
			to->in6.sin6_family = AF_INET6;
			memcpy(&to->in6.sin6_addr, ip, 16);
		} else {
			to->in.sin_family = AF_INET;
			memcpy(&to->in.sin_addr, ip, 4);
		}
		to->in.sin_port = htons(h->port); /* one place in both */
		h->n_addrs++;
		n++;
	}
	if (n > 0 && a->state < h->addr_security)
		h->addr_security = a->state;
}

static void
settle_addresses(struct dane_plan *p, const struct dns_answer *aaaa)
{
	struct facts_host *h = &p->facts.hosts[p->at];
	struct plan_host *w = &p->work[p->at];
	const struct dns_answer *failed = p->a->state == DNS_INDETERMINATE
	    ? p->a
	    : aaaa->state == DNS_INDETERMINATE ? aaaa
					       : NULL;

	h->addr_security = DNS_SECURE;
	add_addresses(h, w, p->a);
	add_addresses(h, w, aaaa);
	h->addrs = w->addrs;
	/* one family failing does not fail the host, but without the other it
	 * is not known that there is nothing */
	h->addr = h->n_addrs > 0 ? FACTS_ADDR_DATA
	    : failed != NULL	 ? FACTS_ADDR_INDETERMINATE
				 : FACTS_ADDR_NONE;
	if (h->addr == FACTS_ADDR_DATA)
		return;
	h->addr_security = failed != NULL ? DNS_INDETERMINATE
	    : p->a->state < aaaa->state	  ? p->a->state
					  : aaaa->state;
	(void)snprintf(w->text, sizeof(w->text), "%s",
	    failed != NULL ? failed->reason : "no address");
	h->addr_text = w->text;
}

static void
end_host(struct dane_plan *p)
{
	dane_host_facts(&p->work[p->at].tlsa, &p->facts.hosts[p->at]);
	p->at++;
	next_host(p);
}

static int
take_address(struct dane_plan *p, const struct dns_answer *a)
{
	struct facts_host *h = &p->facts.hosts[p->at];
	struct dane_host *tlsa = &p->work[p->at].tlsa;
	struct dane_question q;

	if (p->step == STEP_A) {
		p->step = STEP_AAAA;
		return dns_answer_dup(a, &p->a) < 0 ? -ENOMEM : 0;
	}
	settle_addresses(p, a);
	/* addresses that nobody may use are none */
	dane_host_start(tlsa, h->name, h->port, h->n_addrs > 0 ? p->a : NULL,
	    h->n_addrs > 0 ? a : NULL);
	dns_answer_free(p->a);
	p->a = NULL;
	p->step = STEP_TLSA;
	if (!dane_host_next(tlsa, &q))
		end_host(p);
	return 0;
}

static int
take_tlsa(struct dane_plan *p, const struct dns_answer *a)
{
	struct dane_host *tlsa = &p->work[p->at].tlsa;
	struct dane_question q;
	int r = dane_host_take(tlsa, a);

	if (r == 0 && !dane_host_next(tlsa, &q))
		end_host(p);
	return r;
}

/* ---- steps ------------------------------------------------------------------------- */

bool
dane_plan_next(const struct dane_plan *p, struct dane_question *ret_q)
{
	static const uint16_t types[] = {
		[STEP_MX] = DNS_MX, [STEP_A] = DNS_A, [STEP_AAAA] = DNS_AAAA
	};

	if (p->step == STEP_DONE)
		return false;
	if (p->step == STEP_TLSA)
		return dane_host_next(&p->work[p->at].tlsa, ret_q);
	(void)snprintf(ret_q->name, sizeof(ret_q->name), "%s",
	    p->step == STEP_MX ? p->domain : p->facts.hosts[p->at].name);
	ret_q->type = types[p->step];
	return true;
}

int
dane_plan_take(struct dane_plan *p, const struct dns_answer *a)
{
	struct dane_question q;

	if (!dane_plan_next(p, &q) || a->type != q.type ||
	    strcmp(a->name, q.name) != 0)
		return -EINVAL;
	switch (p->step) {
	case STEP_MX:
		return take_mx(p, a);
	case STEP_A:
	case STEP_AAAA:
		return take_address(p, a);
	case STEP_TLSA:
	case STEP_DONE:
	default:
		return take_tlsa(p, a);
	}
}

const struct facts *
dane_plan_facts(const struct dane_plan *p)
{
	return &p->facts;
}

const struct dane_host *
dane_plan_host(const struct dane_plan *p, size_t i)
{
	return &p->work[i].tlsa;
}
