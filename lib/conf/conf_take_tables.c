/*
 * conf_take_tables.c - what a section of bounce.conf, gateways.conf,
 * destinations.conf or routes.conf means. Called by conf_take() of conf_take.c,
 * which has the sections of postern.conf; rules as there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/conf/conf_take.h"

int
conf_take_profile(struct conf_where *w, void *base)
{
	struct conf_profile *p = base;
	struct conf *conf = w->b->conf;
	int r;

	p->name = conf_sect_name(w);
	if (p->initial_retry_s > p->max_retry_s && w->bad == 0)
		conf_where_error(w,
		    conf_where_given(w, "initial_retry") ? "initial_retry"
							 : "max_retry",
		    false,
		    "found initial_retry above max_retry, wanted it below");
	if (w->sect != NULL && strcmp(p->name, "default") == 0) {
		conf->profiles[0] = *p;
		return 0;
	}
	r = conf_push(w->b, w->id, &conf->profiles, &conf->n_profiles, p);
	return conf_put_name(&conf->index->profiles, p->name, r);
}

/* One pattern of a gateway; two gateways cannot have the same. */
static int
put_pattern(const struct conf_where *w, struct conf_map *map, const void *key,
    size_t len, uint32_t index, const char *name, const char *text)
{
	uint32_t other;
	int r;

	r = conf_map_put(map, key, len, index, &other);
	if (r < 0)
		return r;
	if (r == 1)
		conf_where_error(w, name, false,
		    "%s: found '%s', which gateway %s has already, wanted it "
		    "once",
		    name, text, w->b->conf->gateways[other].name);
	return 0;
}

int
conf_take_gateway(struct conf_where *w, void *base)
{
	struct conf_gateway *g = base;
	struct conf *conf = w->b->conf;
	struct conf_index *ix = conf->index;
	uint8_t *key;
	char text[64];
	size_t i;
	int r = 0;

	g->name = conf_sect_name(w);
	if (g->hostname == NULL)
		g->hostname = conf->node.hostname;
	if (w->sect != NULL && strcmp(g->name, "default") == 0) {
		g->index = 0;
		conf->gateways[0] = *g;
	} else {
		g->index = (uint32_t)conf->n_gateways;
		r = conf_push(
		    w->b, w->id, &conf->gateways, &conf->n_gateways, g);
		r = conf_put_name(&ix->gateways, g->name, r);
	}
	for (i = 0; r == 0 && i < g->senders.n; i++)
		r = put_pattern(w, &ix->senders, g->senders.v[i],
		    strlen(g->senders.v[i]), g->index, "senders",
		    g->senders.v[i]);
	for (i = 0; r == 0 && i < g->clients.n; i++) {
		key = conf_alloc(conf, CONF_NET_KEY);
		if (key == NULL)
			return -ENOMEM;
		conf_net_key(&g->clients.v[i], key);
		r = put_pattern(w, &ix->clients, key, CONF_NET_KEY, g->index,
		    "clients",
		    conf_net_format(&g->clients.v[i], text, sizeof(text)));
		if (g->clients.v[i].family == AF_INET)
			ix->prefix4[g->clients.v[i].prefix] = true;
		else
			ix->prefix6[g->clients.v[i].prefix] = true;
	}
	return r;
}

bool
conf_dest_name(const char *text, size_t len, bool sites, char *out, char *why,
    size_t why_len)
{
	const char *reason, *prefix = "";
	char literal[64], name[256];
	uint8_t ip[16];
	size_t skip = 0;
	bool v6;

	if (len >= 3 && text[0] == '[' && text[len - 1] == ']' && len < 60) {
		v6 = len > 7 && strncasecmp(text, "[IPv6:", 6) == 0;
		memcpy(literal, text + (v6 ? 6 : 1), len - (v6 ? 7 : 2));
		literal[len - (v6 ? 7 : 2)] = '\0';
		if (inet_pton(v6 ? AF_INET6 : AF_INET, literal, ip) == 1) {
			(void)inet_ntop(v6 ? AF_INET6 : AF_INET, ip, literal,
			    sizeof(literal));
			(void)snprintf(
			    out, 300, v6 ? "[ipv6:%s]" : "[%s]", literal);
			return true;
		}
		(void)snprintf(why, why_len,
		    "[192.0.2.1] or [IPv6:2001:db8::1] between the brackets");
		return false;
	}
	if (sites && len >= 3 && strncasecmp(text, "mx:", 3) == 0) {
		prefix = "mx:";
		skip = 3;
		if (len > 5 && memcmp(text + 3, "*.", 2) == 0) {
			prefix = "mx:*.";
			skip = 5;
		} else if (len > 4 && text[3] == '.') {
			prefix = "mx:*.";
			skip = 4;
		}
	} else if (len > 2 && memcmp(text, "*.", 2) == 0) {
		(void)snprintf(why, why_len,
		    "a leading dot for all names below: [.%.*s]",
		    (int)(len - 2 > 80 ? 80 : len - 2), text + 2);
		return false;
	} else if (len > 1 && text[0] == '.') {
		prefix = ".";
		skip = 1;
	}
	if (!conf_domain_normalise(text + skip, len - skip, name, &reason)) {
		(void)snprintf(
		    why, why_len, "a domain name (it has %s)", reason);
		return false;
	}
	(void)snprintf(out, 300, "%s%s", prefix, name);
	return true;
}

/* tls = none and what it does to DANE and MTA-STS (tls-policy, section 7). */
static void
check_dest_tls(const struct conf_where *w, struct conf_dest *d)
{
	bool entry = w->id == CONF_S_DESTINATION;
	const char *key;

	if (d->tls != CONF_TLS_NONE)
		return;
	if (entry && conf_where_given(w, "tls")) {
		if (!conf_where_given(w, "dane"))
			d->dane = CONF_DANE_NONE;
		if (!conf_where_given(w, "mta_sts"))
			d->mta_sts = CONF_STS_OFF;
	}
	if (d->dane == CONF_DANE_NONE && d->mta_sts == CONF_STS_OFF)
		return;
	key = d->dane != CONF_DANE_NONE ? "dane" : "mta_sts";
	conf_where_error(w, conf_where_given(w, key) ? key : "tls", false,
	    "found tls = none%s together with %s = %s, wanted %s = %s or "
	    "another tls",
	    conf_where_given(w, "tls") ? "" : " (from DEFAULT)", key,
	    d->dane != CONF_DANE_NONE ? conf_dane_name(d->dane)
				      : conf_sts_name(d->mta_sts),
	    key, d->dane != CONF_DANE_NONE ? "none" : "off");
}

/* An mx: entry binds many domains: only limits make sense in it. */
static void
check_site(const struct conf_where *w)
{
	static const char *const allowed[] = { "max_connections",
		"max_messages_per_connection", "recipient_limit", "limit_apply",
		"until", "ticket" };
	size_t i, k;

	/* an absent key binds nobody here: DEFAULT's would be shared by all
	 * domains of the site, which nobody asked for */
	if (!conf_where_given(w, "max_connections") &&
	    !conf_where_given(w, "max_messages_per_connection") &&
	    !conf_where_given(w, "recipient_limit"))
		conf_where_error(w, NULL, true,
		    "this mx: entry binds nothing, wanted max_connections, "
		    "max_messages_per_connection or recipient_limit in it: "
		    "DEFAULT's limits are not shared by the domains of a site");
	for (i = 0; i < w->schema->n_keys; i++) {
		if ((w->given >> i & 1) == 0)
			continue;
		for (k = 0; k < sizeof(allowed) / sizeof(allowed[0]); k++)
			if (strcmp(w->schema->keys[i].name, allowed[k]) == 0)
				break;
		if (k == sizeof(allowed) / sizeof(allowed[0]))
			conf_where_error(w, w->schema->keys[i].name, false,
			    "found %s in an mx: entry, wanted only limits "
			    "there (max_connections, "
			    "max_messages_per_connection, recipient_limit, "
			    "limit_apply, until, ticket)",
			    w->schema->keys[i].name);
	}
}

/* References and rules of an entry, DEFAULT or not. */
static void
check_dest(const struct conf_where *w, struct conf_dest *d)
{
	const struct conf *conf = w->b->conf;
	bool all = w->id == CONF_S_DEFAULT;

	if (w->bad != 0)
		return; /* what follows would only confuse */
	if (all || conf_where_given(w, "certificate")) {
		d->cert = conf_find_certificate(conf, d->certificate);
		if (d->cert == NULL && d->certificate != NULL &&
		    strcmp(d->certificate, "default") != 0)
			conf_dangling(w, "certificate", "certificate",
			    "postern.conf", d->certificate);
	}
	if (conf_where_given(w, "bounce_profile")) {
		d->profile = d->bounce_profile == NULL
		    ? NULL
		    : conf_profile_lookup(conf, d->bounce_profile);
		if (d->profile == NULL && d->bounce_profile != NULL)
			conf_dangling(w, "bounce_profile", "profile",
			    "bounce.conf", d->bounce_profile);
	}
	if (conf_where_given(w, "limit_apply") &&
	    d->limit_apply == CONF_APPLY_CLUSTER && conf->cluster.redis == NULL)
		conf_where_error(w, "limit_apply", false,
		    "limit_apply: found cluster, but [cluster] has no redis, "
		    "wanted system or gateway");
	if (conf_where_given(w, "bounce_tagging") && d->bounce_tagging &&
	    conf->verification.key_file == NULL)
		conf_where_error(w, "bounce_tagging", false,
		    "bounce_tagging: found on, but [bounce-verification] of "
		    "postern.conf has no key_file, wanted one, or off");
	check_dest_tls(w, d);
}

int
conf_take_default(struct conf_where *w, void *base)
{
	struct conf_dest *d = base;
	struct conf *conf = w->b->conf;
	int r;

	d->name = "DEFAULT";
	d->kind = CONF_DEST_DEFAULT;
	d->given = w->given;
	check_dest(w, d);
	if (conf_where_given(w, "until"))
		conf_where_error(w, "until", false,
		    "found until in [DEFAULT], wanted it only in entries that "
		    "it can revert to DEFAULT");
	r = conf_push(
	    w->b, CONF_S_DESTINATION, &conf->dests, &conf->n_dests, d);
	if (r < 0)
		return r;
	/* what an entry is for and how long is its own business */
	d->until_s = 0;
	d->ticket = NULL;
	/* the other entries start from here */
	memcpy(w->b->proto[CONF_S_DESTINATION], d, sizeof(*d));
	return 0;
}

int
conf_take_destination(struct conf_where *w, void *base)
{
	struct conf_dest *d = base;
	struct conf *conf = w->b->conf;
	struct conf_map *map = &conf->index->dests;
	const char *key;
	int r;

	d->name = key = conf_sect_name(w);
	d->given = w->given;
	if (d->until_s != 0)
		conf->index->expiring = true;
	if (strncmp(d->name, "mx:", 3) == 0) {
		d->kind = CONF_DEST_MX_SITE;
		map = &conf->index->sites;
		key += d->name[3] == '*' ? 4 : 3; /* ".example.com" */
		check_site(w);
	} else {
		d->kind =
		    d->name[0] == '.' ? CONF_DEST_PARTIAL : CONF_DEST_DOMAIN;
	}
	check_dest(w, d);
	r = conf_push(
	    w->b, CONF_S_DESTINATION, &conf->dests, &conf->n_dests, d);
	return conf_put_name(map, key, r);
}

int
conf_take_route(struct conf_where *w, void *base)
{
	struct conf_route *rt = base;
	struct conf *conf = w->b->conf;
	struct conf_route_host *h = (struct conf_route_host *)rt->hosts;
	size_t i;
	int r;

	rt->name = conf_sect_name(w);
	rt->has_tls = conf_where_given(w, "tls");
	if (!rt->has_tls)
		rt->tls = CONF_TLS_PREFERRED; /* not none, if one forgets */
	conf_need(w, "hosts", conf_where_given(w, "hosts"));
	for (i = 0; i < rt->n_hosts; i++) {
		if (h[i].port == 0)
			h[i].port = conf->delivery.port;
		if (h[i].addr.sa.sa_family != AF_UNSPEC)
			h[i].addr.in.sin_port = htons(h[i].port);
	}
	for (i = 0; rt->credential != NULL && i < conf->n_credentials; i++)
		if (strcmp(conf->credentials[i].name, rt->credential) == 0)
			rt->cred = &conf->credentials[i];
	if (rt->credential != NULL && rt->cred == NULL)
		conf_dangling(w, "credential", "credential", "postern.conf",
		    rt->credential);
	if (rt->credential != NULL && rt->kind != CONF_ROUTE_HOSTS)
		conf_where_error(w, "credential", false,
		    "found credential for a route without hosts, wanted hosts "
		    "by name or address");
	r = conf_push(w->b, w->id, &conf->routes, &conf->n_routes, rt);
	return conf_put_name(&conf->index->routes, rt->name, r);
}
