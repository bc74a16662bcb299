/*
 * client_key.c - see client_key.h. Called by smtpd and admin. Pure.
 */
#include "lib/base/client_key.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { PREFIX_LEN = 8 /* bytes of an IPv6 address that count */ };

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

bool
client_key(const struct sockaddr *sa, uint8_t ret_key[CLIENT_KEY_LEN])
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memset(ret_key, 0, CLIENT_KEY_LEN);
	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		memcpy(ret_key, mapped, sizeof(mapped));
		memcpy(ret_key + sizeof(mapped), &in.sin_addr, 4);
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(&in6, sa, sizeof(in6));
	memcpy(ret_key, &in6.sin6_addr,
	    IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) ? CLIENT_KEY_LEN : PREFIX_LEN);
	return true;
}

const char *
client_key_format(const uint8_t key[CLIENT_KEY_LEN], char *buf, size_t len)
{
	char text[INET6_ADDRSTRLEN] = "";
	bool v4 = memcmp(key, mapped, sizeof(mapped)) == 0;

	if (v4)
		(void)inet_ntop(
		    AF_INET, key + sizeof(mapped), text, sizeof(text));
	else
		(void)inet_ntop(AF_INET6, key, text, sizeof(text));
	(void)snprintf(buf, len, "%s%s", text, v4 ? "" : "/64");
	return buf;
}
