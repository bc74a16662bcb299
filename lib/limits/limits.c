/*
 * limits.c - from a place to its counters.
 *
 * An mx: entry limits what it says itself; where it is silent the domains' own
 * limits are enough, and DEFAULT's numbers, which are meant for one domain, are
 * not put on all domains of a provider together.
 */
#include "lib/limits/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct limits_key *add(struct limits *l, uint32_t max, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

static struct limits_key *
add(struct limits *l, uint32_t max, const char *fmt, ...)
{
	struct limits_key *k = &l->keys[l->n++];
	va_list ap;

	memset(k, 0, sizeof(*k));
	k->max = max;
	k->counts = true;
	va_start(ap, fmt);
	(void)vsnprintf(k->name, sizeof(k->name), fmt, ap);
	va_end(ap);
	return k;
}

/* "@marketing" where each virtual gateway has its own counter. A name that is
 * not in the settings makes no counter of its own. */
static const char *
at_gateway(const struct conf *conf, const struct conf_dest *d, const char *name,
    char *buf, size_t len)
{
	const struct conf_gateway *gw;

	buf[0] = '\0';
	if (d->limit_apply == CONF_APPLY_GATEWAY) {
		gw = conf_gateway_lookup(conf, name);
		(void)snprintf(buf, len, "@%s",
		    gw != NULL ? gw->name : conf->gateways[0].name);
	}
	return buf;
}

/* Does the entry say this itself? */
static bool
says(const struct conf_dest *d, const char *key)
{
	size_t i;

	for (i = 0; i < conf_dest_keys(); i++)
		if (strcmp(conf_dest_key_name(i), key) == 0)
			return conf_dest_given(d, i);
	return false;
}

static void
add_site(const struct conf *conf, const struct limits_place *place,
    struct limits *ret)
{
	const struct conf_dest *d = conf_mx_site_lookup(conf, place->host);
	bool counts, paces;
	struct limits_key *k;
	char gw[280];

	if (d == NULL)
		return;
	counts = says(d, "max_connections");
	paces = says(d, "recipient_limit") && d->recipient_limit.limited;
	if (!counts && !paces)
		return;
	k = add(ret, d->max_connections, "site%s:%s",
	    at_gateway(conf, d, place->gateway, gw, sizeof(gw)), d->name);
	k->counts = counts;
	k->shared = true;
	if (paces)
		k->rate = d->recipient_limit;
}

void
limits_of(const struct conf *conf, const struct limits_place *place,
    struct limits *ret)
{
	const struct conf_dest *d = conf_dest_lookup(conf, place->domain);
	struct limits_key *k;
	char gw[280];

	ret->n = 0;
	(void)at_gateway(conf, d, place->gateway, gw, sizeof(gw));
	if (d->limit_scope == CONF_SCOPE_MX_IP)
		k = add(ret, d->max_connections, "ip%s:%s/%s", gw,
		    place->domain, place->address);
	else
		k = add(
		    ret, d->max_connections, "domain%s:%s", gw, place->domain);
	k->rate = d->recipient_limit;
	/* the gateways of a domain share its counter, or do not have one */
	k->shared = d->limit_apply != CONF_APPLY_GATEWAY;
	add_site(conf, place, ret);
	if (place->tls)
		(void)add(ret, conf->delivery.max_tls_connections, "tls");
	(void)add(ret, conf->delivery.max_connections, "system");
}

uint32_t
limits_messages(const struct conf *conf, const char *domain, const char *host)
{
	const struct conf_dest *d = conf_dest_lookup(conf, domain);
	const struct conf_dest *site =
	    host == NULL ? NULL : conf_mx_site_lookup(conf, host);
	uint32_t n = d->max_messages_per_connection;

	if (site != NULL && says(site, "max_messages_per_connection") &&
	    site->max_messages_per_connection < n)
		n = site->max_messages_per_connection;
	return n;
}
