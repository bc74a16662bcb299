/*
 * special.c - the table of addresses that are not of the public internet.
 *
 * Called by lib/sts/hostaddr.c and deliver/address.c. Pure; see special.h.
 */
#include "lib/base/special.h"

#include <stddef.h>
#include <string.h>

struct net {
	uint8_t bits[16];
	uint8_t prefix;
};

/* clang-format off */
static const struct net nets4[] = {
	{ { 0 },             8 },  /* this network */
	{ { 10 },            8 },  /* private */
	{ { 100, 64 },       10 }, /* shared, behind carriers' NAT */
	{ { 127 },           8 },  /* loopback */
	{ { 169, 254 },      16 }, /* link-local, metadata services */
	{ { 172, 16 },       12 }, /* private */
	{ { 192, 0, 0 },     24 }, /* protocol assignments */
	{ { 192, 168 },      16 }, /* private */
	{ { 198, 18 },       15 }, /* benchmarks */
	{ { 224 },           4 },  /* multicast */
	{ { 240 },           4 },  /* reserved, broadcast */
};

static const struct net nets6[] = {
	{ { 0 },             96 }, /* unspecified, loopback, IPv4-compatible */
	{ { 0, 0x64, 0xff, 0x9b, 0, 0x01 }, 48 }, /* NAT64 of a network: hides an
						   * address, nobody knows where */
	{ { 0x01, 0 },       64 }, /* discard */
	{ { 0x20, 0x01, 0, 0 }, 32 }, /* Teredo: hides an address */
	{ { 0xfc },          7 },  /* unique local, metadata services */
	{ { 0xfe, 0x80 },    10 }, /* link-local */
	{ { 0xfe, 0xc0 },    10 }, /* site-local, deprecated */
	{ { 0xff },          8 },  /* multicast */
};

/* Where an IPv4 address is inside an IPv6 address. */
static const struct {
	struct net net;
	size_t at;
} hidden4[] = {
	{ { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96 }, 12 },
	{ { { 0, 0x64, 0xff, 0x9b }, 96 }, 12 },          /* NAT64 */
	{ { { 0x20, 0x02 }, 16 }, 2 },                    /* 6to4 */
};
/* clang-format on */

static bool
inside(const uint8_t *ip, const struct net *n)
{
	size_t whole = n->prefix / 8;
	unsigned rest = n->prefix % 8;

	if (memcmp(ip, n->bits, whole) != 0)
		return false;
	return rest == 0 || ((ip[whole] ^ n->bits[whole]) >> (8 - rest)) == 0;
}

const uint8_t *
addr_hidden4(const uint8_t *ip)
{
	size_t i;

	for (i = 0; i < sizeof(hidden4) / sizeof(hidden4[0]); i++)
		if (inside(ip, &hidden4[i].net))
			return ip + hidden4[i].at;
	return NULL;
}

static bool
listed(const uint8_t *ip, const struct net *nets, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (inside(ip, &nets[i]))
			return true;
	return false;
}

bool
addr_is_special(const uint8_t *ip, bool v6)
{
	const uint8_t *hidden = v6 ? addr_hidden4(ip) : ip;

	if (hidden != NULL)
		return listed(hidden, nets4, sizeof(nets4) / sizeof(nets4[0]));
	return listed(ip, nets6, sizeof(nets6) / sizeof(nets6[0]));
}
