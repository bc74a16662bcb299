/*
 * match.c - MX patterns against host names. Pure.
 */
#include "lib/sts/match.h"

#include <string.h>

#include "lib/base/err.h"
#include "lib/dns/dns.h"
#include "lib/mail/addr.h"
#include "lib/sts/policy.h"

/* A host name in the form that is compared. No literal, no address. */
static int
host_normalise(const char *text, size_t len, char ret[ADDR_DOMAIN_MAX + 1])
{
	char copy[DNS_NAME_SIZE];

	if (len == 0 || len > ADDR_DOMAIN_MAX || text[0] == '[' ||
	    text[len - 1] == '.' || memchr(text, '\0', len) != NULL)
		return PE_SYNTAX;
	if (addr_domain_normalise(text, len, ret) < 0) {
		/* names with '_' are no Domain, but mail hosts have them */
		if (len > DNS_NAME_MAX || memchr(text, '_', len) == NULL)
			return PE_SYNTAX;
		memcpy(copy, text, len);
		copy[len] = '\0';
		if (dns_name_normalise(copy, ret) < 0)
			return PE_SYNTAX;
	}
	return dns_name_is_numeric(ret) ? PE_SYNTAX : 0;
}

int
sts_pattern_normalise(const char *text, size_t len, char ret[STS_PATTERN_SIZE])
{
	size_t star = len >= 2 && text[0] == '*' && text[1] == '.' ? 2 : 0;

	memcpy(ret, "*.", star);
	return host_normalise(text + star, len - star, ret + star);
}

/* Both are normalised. */
static bool
match(const char *pattern, const char *host)
{
	const char *rest;

	if (pattern[0] != '*')
		return strcmp(pattern, host) == 0;
	rest = strchr(host, '.');
	return rest != NULL && rest > host && strcmp(pattern + 1, rest) == 0;
}

/* A host may end in a dot, as names in zone files do. */
static int
take_host(const char *host, char ret[ADDR_DOMAIN_MAX + 1])
{
	size_t len = strnlen(host, ADDR_DOMAIN_MAX + 2);

	if (len > 1 && host[len - 1] == '.')
		len--;
	return host_normalise(host, len, ret);
}

bool
sts_pattern_match(const char *pattern, const char *host)
{
	char p[STS_PATTERN_SIZE], h[ADDR_DOMAIN_MAX + 1];

	return sts_pattern_normalise(pattern, strlen(pattern), p) == 0 &&
	    take_host(host, h) == 0 && match(p, h);
}

const char *
sts_list_match(const char *list, size_t list_len, const char *host)
{
	char p[STS_PATTERN_SIZE], h[ADDR_DOMAIN_MAX + 1];
	const char *text;
	size_t at = 0;

	if (take_host(host, h) < 0)
		return NULL;
	while ((text = sts_list_next(list, list_len, &at)) != NULL)
		if (sts_pattern_normalise(text, strlen(text), p) == 0 &&
		    match(p, h))
			return text;
	return NULL;
}
