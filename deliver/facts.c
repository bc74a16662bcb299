/*
 * facts.c - what DNS, the routes and policyd say of a domain, gathered, brought
 * into the order of use and judged: a plan.
 *
 * Called for each destination and by explain. Asks the resolver: first MX (of
 * the domain, or of each route host that is a name; facts_mx.c), then the
 * addresses of the hosts that may be used (facts_addr.c) and the TLSA records of
 * each (facts_dane.c); and policyd meanwhile, where MTA-STS may apply
 * (facts_sts.c). Never connects to anything, never
 * believes a name without looking at it. Bounds: VERDICT_HOSTS_MAX hosts, the
 * first [delivery] max_hosts of which get addresses, ADDRS_PER_HOST each.
 *
 * Sources: RFC 5321 5.1, 7505; standards SMTP-30 … 32, SMTP-36, SMTP-43,
 * DNS-08; destination controls, section 2 (routes).
 */
#include "deliver/facts_int.h"

#include "deliver/arena.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/mail/addr.h"
#include "lib/proto/resolve.h"

/* ---- asking --------------------------------------------------------------------------------- */

static void on_answer(void *arg, const struct dns_answer *a);

/*
 * The answer is there, and only whether the name is signed cannot be found out.
 * Where no DANE depends on that, mail does not wait for it: asked again, without
 * the state. True when another answer follows.
 */
static bool
ask_plain(struct lookup *l, const struct dns_answer *a)
{
	const struct plan *p = l->g->plan;

	if (a->why != DNS_WHY_UNVALIDATED || l->plain ||
	    (p->route == NULL && p->set.dane != CONF_DANE_NONE))
		return false;
	l->plain = true;
	l->ask =
	    ask_start(l->g->d, a->name, l->type, RESOLVE_PLAIN, on_answer, l);
	return l->ask != NULL;
}

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct lookup *l = arg;
	struct gather *g = l->g;

	if (ask_plain(l, a))
		return;
	if (l->type == DNS_MX && l->plain)
		g->plan->facts.mx_unchecked = true;
	LIST_REMOVE(l, link);
	g->n_lookups--;
	if (a->state != DNS_INDETERMINATE) {
		if (a->ttl_s < g->ttl_s)
			g->ttl_s = a->ttl_s;
	} else {
		g->ttl_s = 0;
	}
	switch (l->type) {
	case DNS_MX:
		facts_on_mx(l, a);
		break;
	case DNS_A:
	case DNS_AAAA:
		facts_on_address(l, a);
		break;
	default: /* TLSA, and CNAME for it */
		facts_on_dane(l, a);
	}
	free(l);
	if (g->n_lookups == 0)
		gather_next_step(g);
}

void
gather_ask(struct gather *g, const char *name, uint16_t type, size_t index)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		g->short_of_memory = true;
		return;
	}
	l->g = g;
	l->type = type;
	l->index = index;
	l->ask = ask_start(g->d, name, type, 0, on_answer, l);
	if (l->ask == NULL) {
		g->short_of_memory = true;
		free(l);
		return;
	}
	LIST_INSERT_HEAD(&g->lookups, l, link);
	g->n_lookups++;
}

const char *
gather_keep(struct gather *g, const char *text)
{
	const char *copy = arena_strdup(g->plan->arena, text);

	if (copy != NULL)
		return copy;
	g->short_of_memory = true;
	return "";
}

/* ---- the end of a gather ------------------------------------------------------------------- */

static void
on_closed(uv_handle_t *handle)
{
	struct gather *g = handle->data;
	struct deliver *d = g->d;
	size_t i;

	for (i = 0; i < g->n_work; i++) {
		dns_answer_free(g->work[i].a);
		dns_answer_free(g->work[i].aaaa);
	}
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

/* For so long the settings are as they are: an entry with an end is not there
 * any more from that second on. */
static int64_t
control_left_s(const struct plan *p)
{
	int64_t left_s = p->control->until_s - clock_now_s();

	if (p->control->until_s == 0)
		return INT64_MAX;
	return left_s > 0 ? left_s : 1;
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
	/* records that a certificate must match are not kept past their time
	 * (RFC 6698, 8.2) */
	if (ttl > g->records_ttl_s)
		ttl = g->records_ttl_s > 0 ? g->records_ttl_s : 1;
	if (ttl > control_left_s(p))
		ttl = (uint32_t)control_left_s(p);
	p->until_ms = clock_mono_ms() + (int64_t)ttl * 1000;
	return verdict_make(&p->set, &p->facts, p->loop, p->cls, &p->verdict);
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

/* ---- the steps -------------------------------------------------------------------------------------- */

void
gather_next_step(struct gather *g)
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
		facts_ask_addresses(g);
		if (g->n_lookups > 0)
			return;
	}
	/* a route may lead to ourselves only by mistake; see on_connect() */
	if (p->facts.via == FACTS_VIA_MX || p->facts.via == FACTS_VIA_IMPLICIT)
		facts_drop_own(g);
	finish(g);
}

struct gather *
gather_start(struct deliver *d, struct env *env, const char *domain,
    const char *gateway, uint32_t cls, unsigned flags, gather_done *done,
    void *arg)
{
	struct gather *g = calloc(1, sizeof(*g));
	const struct conf_route *route;

	if (g == NULL)
		return NULL;
	g->d = d;
	g->done = done;
	g->arg = arg;
	g->ttl_s = PLAN_MAX_S;
	g->records_ttl_s = PLAN_MAX_S;
	LIST_INIT(&g->lookups);
	g->plan = plan_new(env, domain, gateway);
	if (g->plan != NULL)
		g->plan->cls = cls;
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
		facts_start_route(g);
	else if (addr_domain_is_literal(domain, strlen(domain)))
		facts_start_literal(g);
	else if (dns_name_is_normal(domain)) {
		gather_ask(g, domain, DNS_MX, 0);
		facts_ask_policy(g);
	} else
		g->plan->facts.mx_text = "the domain cannot be asked for";
	g->starting = false;
	if (g->n_lookups == 0)
		gather_next_step(g);
	return g;
}
