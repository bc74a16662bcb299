/*
 * plan.c - a plan as such: the settings that hold for a domain, and its life.
 *
 * Called by facts.c, which fills it, and by all who hold one. Counted; what it
 * shows does not change while it lives.
 */
#include "deliver/facts_int.h"

#include "deliver/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plan *
plan_ref(struct plan *p)
{
	p->refs++;
	return p;
}

void
plan_unref(struct plan *p)
{
	size_t i;

	if (p == NULL || --p->refs > 0)
		return;
	verdict_free(p->verdict);
	for (i = 0; i < p->n_dane; i++)
		dane_host_done(&p->dane[i]);
	free(p->dane);
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

struct plan *
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

/* Which families may be used: the control's wish, and where a gateway has
 * source addresses only the families of those. */
void
plan_families(const struct plan *p, bool *ret_v4, bool *ret_v6)
{
	enum conf_ip_preference pref = p->control->ip_preference;
	bool s4 = p->gateway->ipv4.sa.sa_family == AF_INET;
	bool s6 = p->gateway->ipv6.sa.sa_family == AF_INET6;

	*ret_v4 = pref != CONF_IP_REQUIRE_IPV6 && (s4 || !s6);
	*ret_v6 = pref != CONF_IP_REQUIRE_IPV4 && (s6 || !s4);
}
