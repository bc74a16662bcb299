/*
 * name.c - names in their one form, and words for the enums of dns.h.
 *
 * Never allocates. Sources: RFC 1035 section 2.3, RFC 5890 (A-labels).
 */
#include "lib/dns/dns.h"

#include <string.h>

#include "lib/base/err.h"

static bool
host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	    c == '_';
}

int
dns_name_normalise(const char *in, char ret_name[DNS_NAME_SIZE])
{
	char out[DNS_NAME_SIZE];
	size_t len = 0, label = 0;
	char c;

	for (; *in != '\0'; in++) {
		c = *in;
		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (c == '.') {
			if (label == 0)
				return PE_SYNTAX;
			if (in[1] == '\0')
				break; /* the root's dot */
			label = 0;
		} else if (!host_char(c)) {
			return PE_SYNTAX;
		} else if (++label > DNS_LABEL_MAX) {
			return PE_TOO_LONG;
		}
		if (len == DNS_NAME_MAX)
			return PE_TOO_LONG;
		out[len++] = c;
	}
	if (len == 0)
		return PE_SYNTAX;
	memcpy(ret_name, out, len);
	ret_name[len] = '\0';
	return 0;
}

bool
dns_name_is_normal(const char *name)
{
	char out[DNS_NAME_SIZE];

	return dns_name_normalise(name, out) == 0 && strcmp(name, out) == 0;
}

bool
dns_name_under(const char *name, const char *parent)
{
	size_t n = strlen(name), p = strlen(parent);

	if (p == 0)
		return true;
	if (n < p || strcmp(name + (n - p), parent) != 0)
		return false;
	return n == p || name[n - p - 1] == '.';
}

bool
dns_name_is_numeric(const char *name)
{
	const char *label = strrchr(name, '.');

	label = label == NULL ? name : label + 1;
	return *label != '\0' && label[strspn(label, "0123456789")] == '\0';
}

const char *
dns_state_str(enum dns_state state)
{
	switch (state) {
	case DNS_SECURE:
		return "secure";
	case DNS_INSECURE:
		return "insecure";
	case DNS_INDETERMINATE:
		break;
	}
	return "indeterminate";
}

const char *
dns_kind_str(enum dns_kind kind)
{
	switch (kind) {
	case DNS_DATA:
		return "data";
	case DNS_NODATA:
		return "nodata";
	case DNS_NXDOMAIN:
		return "nxdomain";
	case DNS_NONE:
		break;
	}
	return "none";
}

const char *
dns_why_str(enum dns_why why)
{
	static const char *const text[] = {
		[DNS_WHY_NONE] = "none",
		[DNS_WHY_TIMEOUT] = "timeout",
		[DNS_WHY_NETWORK] = "network",
		[DNS_WHY_SERVFAIL] = "servfail",
		[DNS_WHY_BOGUS] = "bogus",
		[DNS_WHY_REFUSED] = "refused",
		[DNS_WHY_TRUNCATED] = "truncated",
		[DNS_WHY_MALFORMED] = "malformed",
		[DNS_WHY_CHAIN] = "chain",
		[DNS_WHY_BUSY] = "busy",
		[DNS_WHY_NAME] = "name",
		[DNS_WHY_GONE] = "gone",
		[DNS_WHY_UNVALIDATED] = "unvalidated",
	};

	if ((unsigned)why >= sizeof(text) / sizeof(text[0]))
		return "?";
	return text[why];
}

static const struct {
	uint16_t type;
	const char *text;
} types[] = {
	{ DNS_A, "A" },
	{ DNS_CNAME, "CNAME" },
	{ DNS_MX, "MX" },
	{ DNS_TXT, "TXT" },
	{ DNS_AAAA, "AAAA" },
	{ DNS_TLSA, "TLSA" },
};

const char *
dns_type_str(uint16_t type)
{
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].text;
	return "?";
}

bool
dns_type_known(uint16_t type)
{
	return dns_type_str(type)[0] != '?';
}
