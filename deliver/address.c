/*
 * address.c - which addresses are the same, and which are our own.
 *
 * Called by facts.c for what DNS says and by conn.c for what it got. Pure; what
 * this machine's addresses are is known from the settings only.
 */
#include "deliver/deliver.h"

#include <string.h>

#include "lib/base/special.h"

static const struct conf_net *
find_net(const struct conf_nets *nets, const uint8_t *ip, bool v6)
{
	union conf_addr a;

	memset(&a, 0, sizeof(a));
	a.sa.sa_family = v6 ? AF_INET6 : AF_INET;
	if (v6)
		memcpy(&a.in6.sin6_addr, ip, 16);
	else
		memcpy(&a.in.sin_addr, ip, 4);
	return conf_nets_match(nets, &a.sa);
}

bool
address_denied(const struct conf_delivery *set, const uint8_t *ip, bool v6)
{
	const uint8_t *hidden = v6 ? addr_hidden4(ip) : NULL;

	if (find_net(&set->allow_networks, ip, v6) != NULL)
		return false;
	if (find_net(&set->deny_networks, ip, v6) != NULL)
		return true;
	if (hidden != NULL)
		return address_denied(set, hidden, false);
	return set->deny_networks.special && addr_is_special(ip, v6);
}

static bool
same_ip(const union conf_addr *a, const union conf_addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
}

bool
address_same(const union conf_addr *a, const union conf_addr *b)
{
	/* not memcmp(): no one says what a union's other bytes are */
	return same_ip(a, b) && a->in.sin_port == b->in.sin_port;
}

static bool
is_any(const union conf_addr *a)
{
	return a->sa.sa_family == AF_INET
	    ? a->in.sin_addr.s_addr == htonl(INADDR_ANY)
	    : IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* An address that this machine has, as far as the settings tell. */
static bool
is_local(const struct conf *conf, const union conf_addr *a)
{
	size_t i;

	if (a->sa.sa_family == AF_INET
		? ntohl(a->in.sin_addr.s_addr) >> 24 == 127
		: IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr))
		return true;
	for (i = 0; i < conf->n_gateways; i++)
		if (same_ip(&conf->gateways[i].ipv4, a) ||
		    same_ip(&conf->gateways[i].ipv6, a))
			return true;
	return false;
}

bool
address_is_own(const struct conf *conf, const union conf_addr *a, bool here)
{
	size_t i, k;

	for (i = 0; i < conf->n_listeners; i++)
		for (k = 0; k < conf->listeners[i].address.n; k++) {
			const union conf_addr *l =
			    &conf->listeners[i].address.v[k];

			/* the port is at the same place in both families */
			if (l->sa.sa_family != a->sa.sa_family ||
			    l->in.sin_port != a->in.sin_port)
				continue;
			if (same_ip(l, a) ||
			    (is_any(l) && (here || is_local(conf, a))))
				return true;
		}
	return false;
}
