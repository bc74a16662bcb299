/*
 * hostaddr.c - addresses that are not of the public internet. Pure.
 */
#include "lib/sts/hostaddr.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"

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

static bool
refused4(const uint8_t *ip)
{
	size_t i;

	for (i = 0; i < sizeof(nets4) / sizeof(nets4[0]); i++)
		if (inside(ip, &nets4[i]))
			return true;
	return false;
}

static bool
refused6(const uint8_t *ip)
{
	size_t i;

	for (i = 0; i < sizeof(hidden4) / sizeof(hidden4[0]); i++)
		if (inside(ip, &hidden4[i].net))
			return refused4(ip + hidden4[i].at);
	for (i = 0; i < sizeof(nets6) / sizeof(nets6[0]); i++)
		if (inside(ip, &nets6[i]))
			return true;
	return false;
}

bool
sts_addr_refused(const struct sts_addr *addr, const struct conf_nets *allow)
{
	union conf_addr a = { .sa.sa_family = AF_UNSPEC };

	if (addr->family == AF_INET) {
		a.in.sin_family = AF_INET;
		memcpy(&a.in.sin_addr, addr->ip, 4);
	} else {
		a.in6.sin6_family = AF_INET6;
		memcpy(&a.in6.sin6_addr, addr->ip, 16);
	}
	if (allow != NULL && conf_nets_match(allow, &a.sa) != NULL)
		return false;
	return addr->family == AF_INET ? refused4(addr->ip)
				       : refused6(addr->ip);
}

const char *
sts_addr_text(const struct sts_addr *addr, char *buf, size_t len)
{
	if (inet_ntop(addr->family, addr->ip, buf, (socklen_t)len) == NULL)
		buf[0] = '\0';
	return buf;
}

int
sts_addr_parse(const char *text, struct sts_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->family = AF_INET;
	if (inet_pton(AF_INET, text, ret->ip) == 1)
		return 0;
	ret->family = AF_INET6;
	return inet_pton(AF_INET6, text, ret->ip) == 1 ? 0 : PE_SYNTAX;
}
