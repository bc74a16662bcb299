/*
 * hostaddr.c - which addresses a policy host may have. Pure.
 */
#include "lib/sts/hostaddr.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/err.h"
#include "lib/base/special.h"
#include "lib/conf/conf.h"

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
	return addr_is_special(addr->ip, addr->family == AF_INET6);
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
