/*
 * target.c - what an MX record may name, and where mail may go at all. Pure.
 */
#include "lib/verdict/verdict.h"

#include <string.h>

const char *
verdict_bad_target(const char *target)
{
	char name[DNS_NAME_SIZE];

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

bool
verdict_usable_address(const uint8_t *ip, bool v6)
{
	static const uint8_t zero[16], mapped[12] = { [10] = 0xff, 0xff };

	if (v6)
		return memcmp(ip, zero, 16) != 0 && ip[0] != 0xff &&
		    (ip[0] != 0xfe || (ip[1] & 0xc0) != 0x80) &&
		    memcmp(ip, mapped, 12) != 0;
	return ip[0] != 0 && ip[0] < 224;
}
