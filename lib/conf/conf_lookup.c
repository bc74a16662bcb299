/*
 * conf_lookup.c - which entry applies: destinations, sites, routes, gateways.
 *
 * Cost is one hash lookup per label of the name, whatever the table's size.
 * Keys come from outside, so the hash is keyed (lib/base/hash). Never allocates
 * after the set was built.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "lib/conf/conf.h"
#include "lib/conf/conf_int.h"
#include "lib/mail/prvs.h"

/* ---- the map ------------------------------------------------------------- */

static struct conf_map_entry *
map_slot(const struct conf_map *map, const void *key, size_t len)
{
	size_t i = (size_t)hash_bytes(key, len) & (map->cap - 1);
	struct conf_map_entry *e;

	for (;; i = (i + 1) & (map->cap - 1)) {
		e = &map->v[i];
		if (e->value_plus_1 == 0 ||
		    (e->len == len && memcmp(e->key, key, len) == 0))
			return e;
	}
}

static int
map_grow(struct conf_map *map)
{
	struct conf_map bigger = { .n = map->n,
		.cap = map->cap == 0 ? 64 : map->cap * 2 };
	size_t i;

	bigger.v = calloc(bigger.cap, sizeof(*bigger.v));
	if (bigger.v == NULL)
		return -ENOMEM;
	for (i = 0; i < map->cap; i++)
		if (map->v[i].value_plus_1 != 0)
			*map_slot(&bigger, map->v[i].key, map->v[i].len) =
			    map->v[i];
	free(map->v);
	*map = bigger;
	return 0;
}

int
conf_map_put(struct conf_map *map, const void *key, size_t len, uint32_t value,
    uint32_t *ret_value)
{
	struct conf_map_entry *e;

	if (map->n >= map->cap / 2 && map_grow(map) < 0)
		return -ENOMEM;
	e = map_slot(map, key, len);
	if (e->value_plus_1 != 0) {
		*ret_value = e->value_plus_1 - 1;
		return 1;
	}
	*e = (struct conf_map_entry){ key, (uint32_t)len, value + 1 };
	map->n++;
	return 0;
}

bool
conf_map_get(const struct conf_map *map, const void *key, size_t len,
    uint32_t *ret_value)
{
	const struct conf_map_entry *e;

	if (map->n == 0)
		return false;
	e = map_slot(map, key, len);
	if (e->value_plus_1 == 0)
		return false;
	*ret_value = e->value_plus_1 - 1;
	return true;
}

void
conf_map_done(struct conf_map *map)
{
	free(map->v);
	memset(map, 0, sizeof(*map));
}

void
conf_index_free(struct conf_index *index)
{
	if (index == NULL)
		return;
	conf_map_done(&index->dests);
	conf_map_done(&index->sites);
	conf_map_done(&index->routes);
	conf_map_done(&index->senders);
	conf_map_done(&index->tagged);
	conf_map_done(&index->clients);
	conf_map_done(&index->gateways);
	conf_map_done(&index->profiles);
	conf_map_done(&index->listeners);
	free(index);
}

/* Exact name, else ".rest" from the longest to the shortest. */
static bool
lookup_domain(const struct conf_map *map, const char *domain, uint32_t *ret)
{
	const char *dot;

	if (map->n == 0)
		return false;
	if (conf_map_get(map, domain, strlen(domain), ret))
		return true;
	if (domain[0] == '[') /* an address literal has no labels */
		return false;
	for (dot = strchr(domain, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
		if (conf_map_get(map, dot, strlen(dot), ret))
			return true;
	return false;
}

/* ---- destinations, sites, routes ----------------------------------------- */

/* As lookup_domain(), and entries whose time is over do not exist. */
static const struct conf_dest *
lookup_dest(const struct conf *conf, const struct conf_map *map,
    const char *domain, int64_t now_s)
{
	const struct conf_dest *d;
	const char *at;
	uint32_t i;

	if (!conf->index->expiring)
		return lookup_domain(map, domain, &i) ? &conf->dests[i] : NULL;
	for (at = domain; at != NULL;
	     at = domain[0] == '[' ? NULL : strchr(at + 1, '.')) {
		if (!conf_map_get(map, at, strlen(at), &i))
			continue;
		d = &conf->dests[i];
		if (d->until_s == 0 || d->until_s > now_s)
			return d;
	}
	return NULL;
}

const struct conf_dest *
conf_dest_lookup_at(const struct conf *conf, const char *domain, int64_t now_s)
{
	const struct conf_dest *d =
	    lookup_dest(conf, &conf->index->dests, domain, now_s);

	return d != NULL ? d : &conf->dests[0];
}

const struct conf_dest *
conf_dest_lookup(const struct conf *conf, const char *domain)
{
	return conf_dest_lookup_at(
	    conf, domain, conf->index->expiring ? clock_now_s() : 0);
}

const struct conf_dest *
conf_dest_entry(const struct conf *conf, const char *name)
{
	const struct conf_map *map = &conf->index->dests;
	uint32_t i;

	if (strcmp(name, "DEFAULT") == 0)
		return &conf->dests[0];
	if (strncmp(name, "mx:", 3) == 0) {
		map = &conf->index->sites;
		name += name[3] == '*' ? 4 : 3;
	}
	return conf_map_get(map, name, strlen(name), &i) ? &conf->dests[i]
							 : NULL;
}

const struct conf_dest *
conf_mx_site_lookup(const struct conf *conf, const char *mx_host)
{
	return lookup_dest(conf, &conf->index->sites, mx_host,
	    conf->index->expiring ? clock_now_s() : 0);
}

const struct conf_route *
conf_route_lookup(const struct conf *conf, const char *domain)
{
	uint32_t i;

	if (lookup_domain(&conf->index->routes, domain, &i) ||
	    conf_map_get(&conf->index->routes, "ALL", 3, &i))
		return &conf->routes[i];
	return NULL;
}

/* ---- gateways, profiles, listeners --------------------------------------- */

static const struct conf_gateway *
gateway_by_client(const struct conf *conf, const struct sockaddr *sa)
{
	const struct conf_index *ix = conf->index;
	struct conf_net net;
	uint8_t key[CONF_NET_KEY];
	uint32_t i;
	unsigned prefix;

	if (ix->clients.n == 0 || !conf_net_from_sa(sa, &net))
		return NULL;
	for (prefix = net.prefix + 1U; prefix-- > 0;) {
		if (net.family == AF_INET ? !ix->prefix4[prefix]
					  : !ix->prefix6[prefix])
			continue;
		conf_net_mask(&net, prefix);
		conf_net_key(&net, key);
		if (conf_map_get(&ix->clients, key, sizeof(key), &i))
			return &conf->gateways[i];
	}
	return NULL;
}

/* The value of the longest pattern that has this address. */
static bool
lookup_sender(const struct conf_map *map, const char *sender, uint32_t *ret)
{
	char low[512], part[512];
	const char *at, *dot;
	size_t len = strlen(sender), i, n;

	if (map->n == 0 || len == 0 || len >= sizeof(low))
		return false;
	for (i = 0; i <= len; i++)
		low[i] = (char)tolower((unsigned char)sender[i]);
	at = strrchr(low, '@');
	if (at == NULL)
		return false;
	if (conf_map_get(map, low, len, ret) ||
	    conf_map_get(map, low, (size_t)(at - low) + 1, ret) ||
	    conf_map_get(map, at, strlen(at), ret))
		return true;
	part[0] = '@';
	for (dot = strchr(at, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
		n = strlen(dot);
		memcpy(part + 1, dot, n);
		if (conf_map_get(map, part, n + 1, ret))
			return true;
	}
	return false;
}

static const struct conf_gateway *
gateway_by_sender(const struct conf *conf, const char *sender)
{
	uint32_t i;

	return lookup_sender(&conf->index->senders, sender, &i)
	    ? &conf->gateways[i]
	    : NULL;
}

bool
conf_bounce_verifies(const struct conf *conf, const char *address)
{
	uint32_t tagged;

	return conf->verification.key_file != NULL &&
	    lookup_sender(&conf->index->tagged, address, &tagged) &&
	    tagged == 1;
}

void
conf_bounce_keys(const struct conf *conf, struct prvs_keys *ret_keys)
{
	const uint8_t *text;
	const char *why;
	unsigned line;
	size_t len;

	if (conf->verification.key_file == NULL ||
	    conf_file(conf, conf->verification.key_file, &text, &len) < 0 ||
	    prvs_keys_parse((const char *)text, len, ret_keys, &line, &why) <
		0) {
		memset(ret_keys, 0, sizeof(*ret_keys));
		ret_keys->current = -1;
	}
}

const struct conf_gateway *
conf_gateway_choose(
    const struct conf *conf, const char *sender, const struct sockaddr *sa)
{
	const struct conf_gateway *gw = NULL;

	if (sa != NULL)
		gw = gateway_by_client(conf, sa);
	if (gw == NULL)
		gw = gateway_by_sender(conf, sender);
	return gw != NULL ? gw : &conf->gateways[0];
}

const struct conf_gateway *
conf_gateway_lookup(const struct conf *conf, const char *name)
{
	uint32_t i;

	if (!conf_map_get(&conf->index->gateways, name, strlen(name), &i))
		return NULL;
	return &conf->gateways[i];
}

const struct conf_profile *
conf_profile_lookup(const struct conf *conf, const char *name)
{
	uint32_t i;

	if (!conf_map_get(&conf->index->profiles, name, strlen(name), &i))
		return NULL;
	return &conf->profiles[i];
}

const struct conf_listener *
conf_listener_lookup(const struct conf *conf, const char *name)
{
	uint32_t i;

	if (!conf_map_get(&conf->index->listeners, name, strlen(name), &i))
		return NULL;
	return &conf->listeners[i];
}

const struct conf_profile *
conf_profile_choose(const struct conf *conf, const struct conf_dest *dest,
    const char *listener_profile)
{
	const struct conf_profile *p = dest->profile;

	if (p == NULL && listener_profile != NULL)
		p = conf_profile_lookup(conf, listener_profile);
	return p != NULL ? p : &conf->profiles[0];
}

/* ---- addresses ----------------------------------------------------------- */

socklen_t
conf_addr_len(const union conf_addr *addr)
{
	if (addr->sa.sa_family == AF_INET)
		return sizeof(addr->in);
	if (addr->sa.sa_family == AF_INET6)
		return sizeof(addr->in6);
	return 0;
}

bool
conf_net_from_sa(const struct sockaddr *sa, struct conf_net *ret_net)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memset(ret_net, 0, sizeof(*ret_net));
	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		ret_net->family = AF_INET;
		ret_net->prefix = 32;
		memcpy(ret_net->bits, &in.sin_addr, 4);
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(&in6, sa, sizeof(in6));
	if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
		ret_net->family = AF_INET;
		ret_net->prefix = 32;
		memcpy(ret_net->bits, in6.sin6_addr.s6_addr + 12, 4);
		return true;
	}
	ret_net->family = AF_INET6;
	ret_net->prefix = 128;
	memcpy(ret_net->bits, &in6.sin6_addr, 16);
	return true;
}

void
conf_net_mask(struct conf_net *net, unsigned prefix)
{
	size_t i = prefix / 8;

	if (prefix % 8 != 0) {
		net->bits[i] &= (uint8_t)(0xff00U >> (prefix % 8));
		i++;
	}
	memset(net->bits + i, 0, sizeof(net->bits) - i);
	net->prefix = (uint8_t)prefix;
}

void
conf_net_key(const struct conf_net *net, uint8_t out[CONF_NET_KEY])
{
	out[0] = net->family;
	out[1] = net->prefix;
	memcpy(out + 2, net->bits, 16);
}

const struct conf_net *
conf_nets_match(const struct conf_nets *nets, const struct sockaddr *sa)
{
	const struct conf_net *best = NULL, *net;
	struct conf_net full, masked;
	size_t i;

	if (!conf_net_from_sa(sa, &full))
		return NULL;
	for (i = 0; i < nets->n; i++) {
		net = &nets->v[i];
		if (net->family != full.family ||
		    (best != NULL && best->prefix >= net->prefix))
			continue;
		masked = full;
		conf_net_mask(&masked, net->prefix);
		if (memcmp(masked.bits, net->bits, 16) == 0)
			best = net;
	}
	return best;
}

const char *
conf_net_format(const struct conf_net *net, char *buf, size_t len)
{
	char ip[INET6_ADDRSTRLEN];
	unsigned full = net->family == AF_INET ? 32 : 128;

	if (inet_ntop(net->family, net->bits, ip, sizeof(ip)) == NULL)
		ip[0] = '\0';
	if (net->prefix == full)
		(void)snprintf(buf, len, "%s", ip);
	else
		(void)snprintf(buf, len, "%s/%u", ip, net->prefix);
	return buf;
}

bool
conf_addr_is_loopback(const union conf_addr *addr)
{
	if (addr->sa.sa_family == AF_INET)
		return ntohl(addr->in.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&addr->in6.sin6_addr);
}

bool
conf_resolver_trusts(
    const struct conf_resolver *rs, const union conf_addr *server)
{
	return rs->dnssec != CONF_DNSSEC_OFF &&
	    rs->dnssec != CONF_DNSSEC_VALIDATE &&
	    (rs->trust_ad == CONF_AD_YES ||
		(rs->trust_ad == CONF_AD_LOOPBACK &&
		    conf_addr_is_loopback(server)));
}

const char *
conf_addr_format(const union conf_addr *addr, char *buf, size_t len)
{
	char ip[INET6_ADDRSTRLEN] = "";
	unsigned port = ntohs(addr->in.sin_port); /* same place in both */

	if (addr->sa.sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &addr->in.sin_addr, ip, sizeof(ip));
	else if (addr->sa.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &addr->in6.sin6_addr, ip, sizeof(ip));
	else
		port = 0;
	if (port == 0)
		(void)snprintf(buf, len, "%s", ip);
	else if (addr->sa.sa_family == AF_INET6)
		(void)snprintf(buf, len, "[%s]:%u", ip, port);
	else
		(void)snprintf(buf, len, "%s:%u", ip, port);
	return buf;
}
