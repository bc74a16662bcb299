/*
 * keep.c - which open connections outlive a reload of the settings.
 *
 * A limit that changes ends no connection that works: the ledger grants no more
 * until the count is below it. What the other settings say was settled when the
 * connection began, so one of them that changed ends it; when in doubt, too.
 * The verdict itself is held against the connection later, with the new facts
 * (conn_adopt()).
 *
 * Sources: DESIGN 6 and 7; destination controls, section 1.
 */
#include "deliver/deliver.h"

#include <string.h>

/* Keys of a destination control that say nothing about a connection as such. */
static bool
is_limit(const char *key)
{
	static const char *const limits[] = { "max_connections",
		"max_messages_per_connection", "recipient_limit", "limit_scope",
		"limit_apply", "bounce_profile", "until", "ticket" };
	size_t i;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strcmp(key, limits[i]) == 0)
			return true;
	return false;
}

static bool
same_control(const struct conf_dest *a, const struct conf_dest *b)
{
	char x[256], y[256];
	size_t i;

	for (i = 0; i < conf_dest_keys(); i++)
		if (!is_limit(conf_dest_key_name(i)) &&
		    strcmp(conf_dest_value(a, i, x, sizeof(x)),
			conf_dest_value(b, i, y, sizeof(y))) != 0)
			return false;
	return true;
}

/* A file that both sets name, with the same contents. */
static bool
same_file(const struct conf *a, const char *in_a, const struct conf *b,
    const char *in_b)
{
	const uint8_t *x, *y;
	size_t x_len, y_len;

	if (in_a == NULL || in_b == NULL)
		return in_a == in_b;
	return conf_file(a, in_a, &x, &x_len) == 0 &&
	    conf_file(b, in_b, &y, &y_len) == 0 && x_len == y_len &&
	    memcmp(x, y, x_len) == 0;
}

static bool
same_certificate(const struct conf *a, const struct conf_certificate *of_a,
    const struct conf *b, const struct conf_certificate *of_b)
{
	if (of_a == NULL || of_b == NULL)
		return of_a == of_b;
	return same_file(a, of_a->cert_file, b, of_b->cert_file) &&
	    same_file(a, of_a->key_file, b, of_b->key_file);
}

static bool
same_gateway(const struct conf_gateway *a, const struct conf_gateway *b)
{
	return b != NULL && strcmp(a->hostname, b->hostname) == 0 &&
	    memcmp(&a->ipv4, &b->ipv4, sizeof(a->ipv4)) == 0 &&
	    memcmp(&a->ipv6, &b->ipv6, sizeof(a->ipv6)) == 0;
}

static bool
same_nets(const struct conf_nets *a, const struct conf_nets *b)
{
	return a->n == b->n && a->special == b->special &&
	    (a->n == 0 || memcmp(a->v, b->v, a->n * sizeof(a->v[0])) == 0);
}

bool
plan_keeps(const struct plan *p, const struct env *env)
{
	const struct conf *old = p->env->conf, *now = env->conf;
	const struct conf_dest *control;
	const struct conf_route *route;

	if (p->env == env)
		return true;
	control = conf_dest_lookup(now, p->domain);
	route = conf_route_lookup(now, p->domain);
	return p->route == NULL &&
	    (route == NULL || route->kind == CONF_ROUTE_USEDNS) &&
	    same_control(p->control, control) &&
	    same_certificate(old, p->control->cert, now, control->cert) &&
	    same_gateway(
		p->gateway, conf_gateway_lookup(now, p->gateway->name)) &&
	    same_file(old, old->trust.ca_file, now, now->trust.ca_file) &&
	    old->delivery.port == now->delivery.port &&
	    same_nets(
		&old->delivery.deny_networks, &now->delivery.deny_networks) &&
	    same_nets(
		&old->delivery.allow_networks, &now->delivery.allow_networks);
}
