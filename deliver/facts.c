/*
 * facts.c - what DNS and the routes say of a domain, brought into the order of
 * use and judged: a plan.
 *
 * Called for each destination and by explain. Asks the resolver: first MX (of
 * the domain, or of each route host that is a name), then the addresses of the
 * hosts that may be used; and policyd meanwhile, where MTA-STS may apply. Never connects to anything, never believes a name
 * without looking at it. Bounds: VERDICT_HOSTS_MAX hosts, the first
 * [delivery] max_hosts of which get addresses, ADDRS_PER_HOST each.
 *
 * Sources: RFC 5321 5.1, 7505; standards SMTP-30 … 32, SMTP-36, SMTP-43,
 * DNS-08; destination controls, section 2 (routes).
 */
#include "deliver/deliver.h"
#include "deliver/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "lib/mail/addr.h"

/* The addresses of one host while they come in. */
struct host_work {
	union conf_addr v4[ADDRS_PER_HOST], v6[ADDRS_PER_HOST];
	size_t n4, n6;
	bool asked, failed; /* one family could not be found out */
	enum dns_state security;
	char why[160];
};

struct lookup {
	LIST_ENTRY(lookup) link;
	struct gather *g;
	struct ask *ask;
	uint16_t type;
	size_t index; /* of the route host, or of the facts' host */
};

struct gather {
	struct deliver *d;
	struct plan *plan;
	gather_done *done;
	void *arg;
	uv_timer_t timer; /* ends it outside of all calls */
	LIST_HEAD(lookup_list, lookup) lookups;
	size_t n_lookups; /* those, and want */
	struct want *want;
	bool fresh;
	bool starting, short_of_memory, addresses;
	uint32_t ttl_s;
	struct facts_host hosts[VERDICT_HOSTS_MAX];
	size_t n_hosts;
	struct host_work *work; /* as many as get addresses */
	size_t n_work;
};

/* ---- plans ------------------------------------------------------------------------------ */

struct plan *
plan_ref(struct plan *p)
{
	p->refs++;
	return p;
}

void
plan_unref(struct plan *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	verdict_free(p->verdict);
	arena_free(p->arena);
	env_unref(p->env);
	free(p);
}

static bool
control_gives(const struct conf_dest *c, const char *key)
{
	size_t i;

	for (i = 0; i < conf_dest_keys(); i++)
		if (strcmp(conf_dest_key_name(i), key) == 0)
			return conf_dest_given(c, i);
	return false;
}

static void
fill_settings(struct plan *p)
{
	const struct conf *conf = p->env->conf;
	struct verdict_settings *s = &p->set;
	bool own = control_gives(p->control, "tls");

	s->tls = p->control->tls;
	s->dane = p->control->dane;
	s->mta_sts = p->control->mta_sts;
	(void)snprintf(p->tls_source, sizeof(p->tls_source), "[%s] tls",
	    own ? p->control->name : conf->dests[0].name);
	if (p->route != NULL && p->route->has_tls) {
		s->tls = p->route->tls;
		(void)snprintf(p->tls_source, sizeof(p->tls_source),
		    "routes.conf [%s] tls", p->route->name);
	}
	s->tls_source = p->tls_source;
	s->max_hosts = conf->delivery.max_hosts;
	s->own_names[0] = conf->node.hostname;
	s->own_names[1] = p->gateway->hostname;
}

static struct plan *
plan_new(struct env *env, const char *domain, const char *gateway)
{
	struct plan *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->refs = 1;
	p->env = env_ref(env);
	p->arena = arena_new();
	if (p->arena == NULL) {
		plan_unref(p);
		return NULL;
	}
	(void)snprintf(p->domain, sizeof(p->domain), "%s", domain);
	p->gateway = conf_gateway_lookup(env->conf, gateway);
	if (p->gateway == NULL)
		p->gateway = &env->conf->gateways[0];
	p->control = conf_dest_lookup(env->conf, domain);
	p->route = conf_route_lookup(env->conf, domain);
	if (p->route != NULL && p->route->kind == CONF_ROUTE_USEDNS)
		p->route = NULL;
	p->facts.domain = p->domain;
	p->facts.sts.state = FACTS_STS_NOT_ASKED;
	fill_settings(p);
	return p;
}

/* ---- the end of a gather ------------------------------------------------------------------- */

static void
on_closed(uv_handle_t *handle)
{
	struct gather *g = handle->data;
	struct deliver *d = g->d;

	free(g->work);
	free(g);
	d->n_closing--;
	deliver_check_done(d);
}

static void
drop(struct gather *g)
{
	struct lookup *l;

	want_cancel(g->want);
	g->want = NULL;
	while ((l = LIST_FIRST(&g->lookups)) != NULL) {
		LIST_REMOVE(l, link);
		ask_cancel(l->ask);
		free(l);
	}
	plan_unref(g->plan);
	g->plan = NULL;
	g->d->n_closing++;
	uv_close((uv_handle_t *)&g->timer, on_closed);
}

void
gather_cancel(struct gather *g)
{
	if (g != NULL)
		drop(g);
}

/* Keep the hosts for good and judge. */
static int
conclude(struct gather *g)
{
	struct plan *p = g->plan;
	uint32_t ttl = g->ttl_s;

	p->facts.hosts =
	    arena_alloc(p->arena, (g->n_hosts + 1) * sizeof(g->hosts[0]));
	if (p->facts.hosts == NULL || g->short_of_memory)
		return -1;
	memcpy(p->facts.hosts, g->hosts, g->n_hosts * sizeof(g->hosts[0]));
	p->facts.n_hosts = g->n_hosts;
	if (ttl < PLAN_MIN_S)
		ttl = PLAN_MIN_S;
	if (ttl > PLAN_MAX_S)
		ttl = PLAN_MAX_S;
	p->until_ms = clock_mono_ms() + (int64_t)ttl * 1000;
	return verdict_make(&p->set, &p->facts, p->loop, 0, &p->verdict);
}

static void
on_finish(uv_timer_t *timer)
{
	struct gather *g = timer->data;
	struct plan *p = NULL;
	gather_done *done = g->done;
	void *arg = g->arg;

	if (conclude(g) == 0)
		p = plan_ref(g->plan);
	drop(g);
	done(arg, p);
}

static void
finish(struct gather *g)
{
	(void)uv_timer_start(&g->timer, on_finish, 0, 0);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void on_mx(struct lookup *l, const struct dns_answer *a);
static void on_address(struct lookup *l, const struct dns_answer *a);
static void next_step(struct gather *g);

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct lookup *l = arg;
	struct gather *g = l->g;

	LIST_REMOVE(l, link);
	g->n_lookups--;
	if (a->state != DNS_INDETERMINATE) {
		if (a->ttl_s < g->ttl_s)
			g->ttl_s = a->ttl_s;
	} else {
		g->ttl_s = 0;
	}
	if (l->type == DNS_MX)
		on_mx(l, a);
	else
		on_address(l, a);
	free(l);
	if (g->n_lookups == 0)
		next_step(g);
}

static void
ask(struct gather *g, const char *name, uint16_t type, size_t index)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		g->short_of_memory = true;
		return;
	}
	l->g = g;
	l->type = type;
	l->index = index;
	l->ask = ask_start(g->d, name, type, on_answer, l);
	if (l->ask == NULL) {
		g->short_of_memory = true;
		free(l);
		return;
	}
	LIST_INSERT_HEAD(&g->lookups, l, link);
	g->n_lookups++;
}

/* Text that lives as long as the plan; "" when memory is short. */
static const char *
keep(struct gather *g, const char *text)
{
	const char *copy = arena_strdup(g->plan->arena, text);

	if (copy != NULL)
		return copy;
	g->short_of_memory = true;
	return "";
}

/* ---- the policy ------------------------------------------------------------------------------- */

/* The patterns as the verdict wants them. */
static void
keep_patterns(struct gather *g, const struct policy_answer *a)
{
	struct facts_sts_policy *sts = &g->plan->facts.sts;
	const char *text, **mx;
	size_t at = 0, n = 0;

	while (sts_list_next(a->list, a->list_len, &at) != NULL)
		n++;
	mx = arena_alloc(g->plan->arena, (n + 1) * sizeof(mx[0]));
	if (mx == NULL) {
		g->short_of_memory = true;
		return;
	}
	for (at = 0, n = 0;
	     (text = sts_list_next(a->list, a->list_len, &at)) != NULL; n++)
		mx[n] = keep(g, text);
	sts->mx = mx;
	sts->n_mx = n;
}

static void
take_policy(struct gather *g, const struct policy_answer *a)
{
	static const enum facts_sts_mode modes[] = {
		[STS_MODE_NONE] = FACTS_STS_MODE_NONE,
		[STS_MODE_TESTING] = FACTS_STS_TESTING,
		[STS_MODE_ENFORCE] = FACTS_STS_ENFORCE,
	};
	struct facts_sts_policy *sts = &g->plan->facts.sts;
	int64_t left = (int64_t)a->max_age_s - a->age_s;

	sts->state = FACTS_STS_POLICY;
	sts->mode = modes[a->mode];
	sts->id = keep(g, a->id);
	sts->age_s = a->age_s;
	sts->max_age_s = a->max_age_s;
	sts->stale = a->stale;
	sts->source = policy_source_word(a->source);
	keep_patterns(g, a);
	/* the plan must not outlive it */
	if (left < g->ttl_s)
		g->ttl_s = left > 0 ? (uint32_t)left : 0;
}

static void
on_policy(void *arg, const struct policy_answer *a)
{
	struct gather *g = arg;
	struct facts_sts_policy *sts = &g->plan->facts.sts;

	g->want = NULL;
	g->n_lookups--;
	sts->reason = keep(g, a->reason);
	switch (a->state) {
	case POLICY_FOUND:
		take_policy(g, a);
		break;
	case POLICY_NONE:
		sts->state = FACTS_STS_NONE;
		break;
	case POLICY_INDETERMINATE:
	default:
		sts->state = FACTS_STS_INDETERMINATE;
		g->ttl_s = 0;
	}
	/* a changed id is to be seen soon, whatever the TTL of the MX */
	if (g->ttl_s > PLAN_POLICY_S)
		g->ttl_s = PLAN_POLICY_S;
	if (g->n_lookups == 0)
		next_step(g);
}

static void
ask_policy(struct gather *g)
{
	if (g->plan->set.mta_sts == CONF_STS_OFF)
		return;
	/* until there is an answer nothing is known */
	g->plan->facts.sts.state = FACTS_STS_INDETERMINATE;
	g->want = want_start(g->d, g->plan->domain, g->fresh, on_policy, g);
	if (g->want != NULL)
		g->n_lookups++;
}

static bool
same_patterns(
    const struct facts_sts_policy *a, const struct facts_sts_policy *b)
{
	size_t i;

	for (i = 0; i < a->n_mx && i < b->n_mx; i++)
		if (strcmp(a->mx[i], b->mx[i]) != 0)
			return false;
	return a->n_mx == b->n_mx;
}

bool
plan_same_policy(const struct plan *p, const struct plan *q)
{
	const struct facts_sts_policy *a = &p->facts.sts, *b = &q->facts.sts;

	return a->state == b->state &&
	    (a->state != FACTS_STS_POLICY ||
		(a->mode == b->mode && strcmp(a->id, b->id) == 0 &&
		    same_patterns(a, b)));
}

/* ---- hosts ------------------------------------------------------------------------------------ */

/* A new host, or NULL when there are enough. name must live with the plan. */
static struct facts_host *
add_host(struct gather *g, const char *name, uint32_t rank)
{
	struct facts_host *h;

	if (g->n_hosts == VERDICT_HOSTS_MAX)
		return NULL;
	h = &g->hosts[g->n_hosts++];
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

/* Why a target cannot be a host, or NULL and its normal form (DNS-08). */
static const char *
bad_target(const char *target, char name[DNS_NAME_SIZE])
{
	if (target[0] == '\0')
		return "the MX names no host";
	if (dns_name_normalise(target, name) < 0)
		return "the MX is no host name";
	if (dns_name_is_numeric(name))
		return "the MX is an address, not a name";
	if (strcmp(name, "localhost") == 0 || dns_name_under(name, "localhost"))
		return "the MX is localhost";
	return NULL;
}

static void
add_mx(struct gather *g, const struct dns_rr *rr, uint32_t rank,
    const char *via, uint16_t port)
{
	char name[DNS_NAME_SIZE];
	const char *bad = bad_target(rr->host, name);
	struct facts_host *h;

	h = add_host(g, keep(g, bad != NULL ? rr->host : name), rank);
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
	struct facts_host *h;
	size_t i;

	f->mx_state = a->state;
	f->mx_kind = a->kind;
	if (a->state == DNS_INDETERMINATE) {
		f->mx_text = keep(g, a->reason);
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

/* How many different better preferences there are: MX sets of several route
 * hosts compare by that, whatever numbers their owners chose. */
static uint32_t
dense_rank(const struct dns_answer *a, size_t at)
{
	uint32_t n = 0;
	size_t i, j;

	for (i = 0; i < a->rrs_len; i++) {
		if (a->rrs[i].preference >= a->rrs[at].preference)
			continue;
		for (j = 0; j < i; j++)
			if (a->rrs[j].preference == a->rrs[i].preference)
				break;
		n += j == i;
	}
	return n;
}

/* The MX answer of a route host: "looked up without consulting routes again";
 * no MX means its own address. */
static void
on_route_mx(struct gather *g, size_t index, const struct dns_answer *a)
{
	const struct conf_route_host *rh = &g->plan->route->hosts[index];
	uint32_t rank = (uint32_t)rh->priority << 16;
	struct facts_host *h;
	size_t i;

	if (a->kind == DNS_DATA &&
	    !(a->rrs_len == 1 && a->rrs[0].host[0] == '\0')) {
		for (i = 0; i < a->rrs_len && i < VERDICT_HOSTS_MAX; i++)
			add_mx(g, &a->rrs[i], rank + dense_rank(a, i), rh->name,
			    rh->port);
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
		h->addr_text = keep(g, a->reason);
	} else if (a->kind == DNS_DATA) {
		h->bad = "the route's host does not accept mail (null MX)";
	}
}

static void
on_mx(struct lookup *l, const struct dns_answer *a)
{
	if (l->g->plan->route != NULL)
		on_route_mx(l->g, l->index, a);
	else
		on_domain_mx(l->g, a);
}

/* ---- addresses ----------------------------------------------------------------------------------- */

static void
set_v4(union conf_addr *a, const uint8_t *ip, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons(port);
	memcpy(&a->in.sin_addr, ip, 4);
}

static void
set_v6(union conf_addr *a, const uint8_t *ip, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons(port);
	memcpy(&a->in6.sin6_addr, ip, 16);
}

static void
on_address(struct lookup *l, const struct dns_answer *a)
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
		    !address_usable(ip, v6))
			continue;
		if (v6 && w->n6 < ADDRS_PER_HOST)
			set_v6(&w->v6[w->n6++], ip, port);
		else if (!v6 && w->n4 < ADDRS_PER_HOST)
			set_v4(&w->v4[w->n4++], ip, port);
	}
}

/* Which families may be used: the control's wish, and where a gateway has
 * source addresses only the families of those. */
static void
families(const struct plan *p, bool *ret_v4, bool *ret_v6)
{
	enum conf_ip_preference pref = p->control->ip_preference;
	bool s4 = p->gateway->ipv4.sa.sa_family == AF_INET;
	bool s6 = p->gateway->ipv6.sa.sa_family == AF_INET6;

	*ret_v4 = pref != CONF_IP_REQUIRE_IPV6 && (s4 || !s6);
	*ret_v6 = pref != CONF_IP_REQUIRE_IPV4 && (s6 || !s4);
}

static void
ask_addresses(struct gather *g)
{
	struct plan *p = g->plan;
	uint32_t max = p->set.max_hosts;
	bool v4, v6;
	size_t i;

	families(p, &v4, &v6);
	g->n_work = g->n_hosts < max ? g->n_hosts : max;
	g->work = calloc(g->n_work + 1, sizeof(g->work[0]));
	if (g->work == NULL) {
		g->short_of_memory = true;
		g->n_work = 0;
		return;
	}
	for (i = 0; i < g->n_work; i++) {
		struct facts_host *h = &g->hosts[i];

		if (h->bad != NULL || h->n_addrs > 0 || h->addr_text != NULL)
			continue; /* no name, a literal, or known to fail */
		g->work[i].asked = true;
		g->work[i].security = DNS_SECURE;
		if (v4)
			ask(g, h->name, DNS_A, i);
		if (v6)
			ask(g, h->name, DNS_AAAA, i);
		if (!v4 && !v6)
			(void)snprintf(g->work[i].why, sizeof(g->work[i].why),
			    "the gateway has no source address of the family "
			    "that ip_preference wants");
	}
}

/* Put the families into the order of use. */
static void
settle_addresses(struct gather *g)
{
	bool v6_first = g->plan->control->ip_preference == CONF_IP_PREFER_IPV6;
	union conf_addr *all;
	size_t i;

	for (i = 0; i < g->n_work; i++) {
		struct host_work *w = &g->work[i];
		struct facts_host *h = &g->hosts[i];
		size_t first = v6_first ? w->n6 : w->n4;

		if (!w->asked)
			continue;
		h->addr = FACTS_ADDR_DATA;
		h->n_addrs = w->n4 + w->n6;
		if (h->n_addrs == 0) {
			/* one family failing does not fail the host, but then
			 * it is not known that there is nothing (SMTP-43) */
			h->addr = w->failed ? FACTS_ADDR_INDETERMINATE
					    : FACTS_ADDR_NONE;
			h->addr_text =
			    w->why[0] != '\0' ? keep(g, w->why) : "no address";
			continue;
		}
		h->addr_security = w->security;
		all = arena_alloc(g->plan->arena, h->n_addrs * sizeof(all[0]));
		if (all == NULL) {
			g->short_of_memory = true;
			return;
		}
		memcpy(all, v6_first ? w->v6 : w->v4, first * sizeof(all[0]));
		memcpy(all + first, v6_first ? w->v4 : w->v6,
		    (h->n_addrs - first) * sizeof(all[0]));
		h->addrs = all;
	}
}

/* ---- ourselves ------------------------------------------------------------------------------------ */

/*
 * A host whose address is one of our listeners is we ourselves, under whatever
 * name: it and all that are not better go (RFC 5321, 5.1), or mail would come
 * back until its hops are used up.
 */
static void
drop_own(struct gather *g)
{
	const struct facts_host *h;
	uint32_t rank = UINT32_MAX;
	size_t i, k, n = 0;
	bool found = false;

	for (i = 0; i < g->n_work; i++)
		for (h = &g->hosts[i], k = 0; k < h->n_addrs; k++)
			if (address_is_own(
				g->plan->env->conf, &h->addrs[k], false)) {
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

/* ---- the steps -------------------------------------------------------------------------------------- */

static void
next_step(struct gather *g)
{
	struct plan *p = g->plan;

	if (g->starting)
		return;
	if (!g->addresses) {
		g->addresses = true;
		p->facts.hosts = g->hosts; /* for the order; kept at the end */
		p->facts.n_hosts = g->n_hosts;
		p->loop = !verdict_order_hosts(&p->set, &p->facts);
		g->n_hosts = p->facts.n_hosts;
		ask_addresses(g);
		if (g->n_lookups > 0)
			return;
	}
	settle_addresses(g);
	/* a route may lead to ourselves only by mistake; see on_connect() */
	if (p->facts.via == FACTS_VIA_MX || p->facts.via == FACTS_VIA_IMPLICIT)
		drop_own(g);
	finish(g);
}

static void
set_literal(struct gather *g, struct facts_host *h, const union conf_addr *from)
{
	union conf_addr *a = arena_alloc(g->plan->arena, sizeof(*a));
	bool v4, v6;

	families(g->plan, &v4, &v6);
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

static void
start_literal(struct gather *g)
{
	union conf_addr a;
	struct facts_host *h;
	uint8_t ip[16];
	int family;

	g->plan->facts.via = FACTS_VIA_LITERAL;
	h = add_host(g, g->plan->domain, 0);
	if (h == NULL)
		return;
	if (addr_literal_parse(
		g->plan->domain, strlen(g->plan->domain), &family, ip) < 0 ||
	    !address_usable(ip, family == AF_INET6)) {
		h->bad = "no address that mail can go to";
		return;
	}
	if (family == AF_INET6)
		set_v6(&a, ip, h->port);
	else
		set_v4(&a, ip, h->port);
	set_literal(g, h, &a);
}

static void
start_route(struct gather *g)
{
	const struct conf_route *route = g->plan->route;
	struct facts_host *h;
	size_t i;

	g->plan->facts.via = FACTS_VIA_ROUTE;
	for (i = 0; i < route->n_hosts; i++) {
		const struct conf_route_host *rh = &route->hosts[i];

		if (rh->addr.sa.sa_family == AF_UNSPEC && !rh->no_mx) {
			ask(g, rh->name, DNS_MX, i);
			continue;
		}
		h = add_host(g, rh->name, (uint32_t)rh->priority << 16);
		if (h == NULL)
			break;
		h->preference = rh->priority;
		h->port = rh->port;
		if (rh->addr.sa.sa_family != AF_UNSPEC)
			set_literal(g, h, &rh->addr);
	}
}

struct gather *
gather_start(struct deliver *d, struct env *env, const char *domain,
    const char *gateway, unsigned flags, gather_done *done, void *arg)
{
	struct gather *g = calloc(1, sizeof(*g));
	const struct conf_route *route;

	if (g == NULL)
		return NULL;
	g->d = d;
	g->done = done;
	g->arg = arg;
	g->ttl_s = PLAN_MAX_S;
	LIST_INIT(&g->lookups);
	g->plan = plan_new(env, domain, gateway);
	if (g->plan == NULL || uv_timer_init(d->child->loop, &g->timer) < 0) {
		plan_unref(g->plan);
		free(g);
		return NULL;
	}
	g->timer.data = g;
	g->fresh = (flags & GATHER_FRESH) != 0;
	g->starting = true;
	route = g->plan->route;
	if (route != NULL && route->kind == CONF_ROUTE_DISCARD)
		g->plan->facts.via = FACTS_VIA_DISCARD;
	else if (route != NULL)
		start_route(g);
	else if (addr_domain_is_literal(domain, strlen(domain)))
		start_literal(g);
	else if (dns_name_is_normal(domain)) {
		ask(g, domain, DNS_MX, 0);
		ask_policy(g);
	} else
		g->plan->facts.mx_text = "the domain cannot be asked for";
	g->starting = false;
	if (g->n_lookups == 0)
		next_step(g);
	return g;
}
