/*
 * conf_value_net.c - values that name hosts, addresses, networks, mailboxes and
 * routes.
 *
 * Readers like those of conf_value.c, which calls them. Names become lower-case
 * A-labels here, once. Never does I/O; no name is looked up.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <idn2.h>

#include "lib/base/err.h"
#include "lib/conf/conf_value.h"

/* ---- names, addresses ---------------------------------------------------- */

bool
conf_domain_normalise(
    const char *text, size_t len, char *out, const char **ret_why)
{
	char in[512];
	uint8_t *ace = NULL;
	size_t i, label = 0;
	bool ascii = true, letters = false;

	*ret_why = "longer than 253 characters";
	if (len >= sizeof(in))
		return false;
	memcpy(in, text, len);
	in[len] = '\0';
	for (i = 0; i < len; i++)
		if ((unsigned char)in[i] >= 0x80)
			ascii = false;
	if (!ascii) {
		*ret_why = "not a valid internationalised name";
		if (idn2_lookup_u8((const uint8_t *)in, &ace,
			IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
			return false;
		len = strlen((char *)ace);
		if (len < sizeof(in))
			memcpy(in, ace, len + 1);
		idn2_free(ace);
		if (len >= sizeof(in))
			return false;
	}
	if (len > 1 && in[len - 1] == '.')
		len--;
	*ret_why = "longer than 253 characters";
	if (len > 253)
		return false;
	*ret_why = "an empty label, or one longer than 63 characters";
	for (i = 0; i <= len; i++) {
		if (i == len || in[i] == '.') {
			if (label == 0 || label > 63)
				return false;
			if (in[i - 1] == '-' || in[i - label] == '-') {
				*ret_why = "a label that starts or ends "
					   "with '-'";
				return false;
			}
			label = 0;
			if (i < len) {
				out[i] = '.';
				letters = false;
			}
			continue;
		}
		label++;
		out[i] = (char)tolower((unsigned char)in[i]);
		if (!isalnum((unsigned char)in[i]) && in[i] != '-' &&
		    in[i] != '_') {
			*ret_why = "a character that names do not have";
			return false;
		}
		if (!isdigit((unsigned char)in[i]))
			letters = true;
	}
	if (!letters) {
		*ret_why = "an address rather than a name";
		return false;
	}
	out[len] = '\0';
	return true;
}

static int
parse_host_text(struct conf_value *v, const char *text, const char **ret)
{
	char name[256];
	const char *why;

	if (!conf_domain_normalise(text, strlen(text), name, &why))
		return conf_value_bad(v, text, "a host name (it has %s)", why);
	return conf_value_keep(v, name, ret);
}

int
conf_read_host(struct conf_value *v, char *text)
{
	return parse_host_text(v, text, v->out);
}

/* An IP address without port; brackets and "IPv6:" are stripped by callers. */
static bool
parse_ip(const char *text, union conf_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &ret->in.sin_addr) == 1) {
		ret->in.sin_family = AF_INET;
		return true;
	}
	if (inet_pton(AF_INET6, text, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		return true;
	}
	return false;
}

static void
set_port(union conf_addr *addr, uint16_t port)
{
	if (addr->sa.sa_family == AF_INET)
		addr->in.sin_port = htons(port);
	else
		addr->in6.sin6_port = htons(port);
}

/*
 * "host", "host:port", "[x]", "[x]:port", "2001:db8::1": cut into host and
 * port (0 when there is none). *ret_bracket tells of [ ].
 */
static bool
split_port(char *text, char **ret_host, uint16_t *ret_port, bool *ret_bracket)
{
	char *host = text, *colon, *port = NULL;
	uint64_t n;

	*ret_bracket = text[0] == '[';
	if (*ret_bracket) {
		host = text + 1;
		port = strchr(host, ']');
		if (port == NULL)
			return false;
		*port++ = '\0';
		if (*port == '\0')
			port = NULL;
		else if (*port++ != ':')
			return false;
	} else {
		colon = strchr(text, ':');
		if (colon != NULL && strchr(colon + 1, ':') == NULL) {
			*colon = '\0';
			port = colon + 1;
		}
	}
	*ret_port = 0;
	if (port != NULL) {
		if (!conf_value_digits(port, strlen(port), 65535, &n) || n == 0)
			return false;
		*ret_port = (uint16_t)n;
	}
	*ret_host = host;
	return *host != '\0';
}

static int
parse_addr(struct conf_value *v, char *text, union conf_addr *ret)
{
	char copy[80], *host;
	uint16_t port;
	bool bracket;

	if (strlen(text) >= sizeof(copy))
		return conf_value_bad(v, text, "an address IP[:port]");
	memcpy(copy, text, strlen(text) + 1);
	if (!split_port(copy, &host, &port, &bracket) || !parse_ip(host, ret) ||
	    (bracket && ret->sa.sa_family != AF_INET6))
		return conf_value_bad(v, text,
		    "an address and port such as 192.0.2.1:25 or "
		    "[2001:db8::1]:25");
	set_port(ret, port != 0 ? port : (uint16_t)v->key->min);
	return 0;
}

int
conf_read_ip(struct conf_value *v, char *text)
{
	int family = v->key->type == CONF_V_IP4 ? AF_INET : AF_INET6;
	union conf_addr addr;

	if (!parse_ip(text, &addr) || addr.sa.sa_family != family)
		return conf_value_bad(v, text, "an %s address",
		    family == AF_INET ? "IPv4" : "IPv6");
	*(union conf_addr *)v->out = addr;
	return 0;
}

static int
parse_net(struct conf_value *v, char *text, struct conf_net *ret)
{
	char copy[80], proper[64], *slash;
	union conf_addr addr;
	struct conf_net full;
	uint64_t prefix;

	if (strlen(text) >= sizeof(copy))
		return conf_value_bad(v, text, "a network such as 10.0.0.0/8");
	memcpy(copy, text, strlen(text) + 1);
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash++ = '\0';
	if (!parse_ip(copy, &addr) || !conf_net_from_sa(&addr.sa, &full))
		return conf_value_bad(v, text,
		    "an address or network such as 192.0.2.1, 10.0.0.0/8 or "
		    "2001:db8::/32");
	prefix = full.prefix;
	if (slash != NULL &&
	    !conf_value_digits(slash, strlen(slash), full.prefix, &prefix))
		return conf_value_bad(v, text, "a prefix length from 0 to %u",
		    (unsigned)full.prefix);
	*ret = full;
	conf_net_mask(ret, (unsigned)prefix);
	if (memcmp(ret->bits, full.bits, sizeof(full.bits)) != 0)
		return conf_value_bad(v, text,
		    "no bits behind the prefix (that network is %s)",
		    conf_net_format(ret, proper, sizeof(proper)));
	return 0;
}

int
conf_read_hostport(struct conf_value *v, char *text)
{
	char copy[300], *host, name[256];
	const char *why;
	union conf_addr addr;
	uint16_t port;
	bool bracket;

	if (strlen(text) >= sizeof(copy))
		return conf_value_bad(v, text, "HOST:PORT");
	memcpy(copy, text, strlen(text) + 1);
	if (!split_port(copy, &host, &port, &bracket) || port == 0 ||
	    (!parse_ip(host, &addr) &&
		!conf_domain_normalise(host, strlen(host), name, &why)))
		return conf_value_bad(v, text, "HOST:PORT");
	return conf_value_keep(v, text, v->out);
}

int
conf_read_url(struct conf_value *v, char *text)
{
	size_t i;

	if (strncmp(text, "http://", 7) != 0 || text[7] == '\0')
		return conf_value_bad(v, text, "http://HOST:PORT");
	for (i = 0; text[i] != '\0'; i++)
		if (!isgraph((unsigned char)text[i]))
			return conf_value_bad(v, text, "http://HOST:PORT");
	if (strchr(text, '@') != NULL)
		return conf_value_bad(v, text,
		    "http://HOST:PORT without user and password (secrets are "
		    "never values)");
	return conf_value_keep(v, text, v->out);
}

/* local@domain with both parts in order; the domain becomes A-labels. */
static int
parse_mailbox_text(
    struct conf_value *v, char *text, bool lower, const char **ret)
{
	char domain[256], *whole, *at = strrchr(text, '@');
	const char *why;
	size_t local, i;

	if (at == NULL || at == text || at - text > 64)
		return conf_value_bad(v, text, "an address local@domain");
	local = (size_t)(at - text);
	for (i = 0; i < local; i++)
		if (!isgraph((unsigned char)text[i]) &&
		    (unsigned char)text[i] < 0x80)
			return conf_value_bad(
			    v, text, "an address without blanks");
	if (memchr(text, '<', local) != NULL ||
	    memchr(text, '@', local) != NULL)
		return conf_value_bad(v, text, "a bare address local@domain");
	if (!conf_domain_normalise(at + 1, strlen(at + 1), domain, &why))
		return conf_value_bad(
		    v, text, "a valid domain behind '@' (it has %s)", why);
	whole = conf_alloc(v->conf, local + 1 + strlen(domain) + 1);
	if (whole == NULL)
		return -ENOMEM;
	memcpy(whole, text, local + 1);
	memcpy(whole + local + 1, domain, strlen(domain));
	for (i = 0; lower && i < local; i++)
		whole[i] = (char)tolower((unsigned char)whole[i]);
	*ret = whole;
	return 0;
}

int
conf_read_mailbox(struct conf_value *v, char *text)
{
	if (conf_word_index(v->key->words, text) == 0)
		return 0; /* NULL */
	return parse_mailbox_text(v, text, false, v->out);
}

/* user@domain, user@, @domain, @.partial */
static int
parse_sender(struct conf_value *v, char *text, const char **ret)
{
	static const char wanted[] =
	    "user@example.com, user@, @example.com or @.example.com";
	char domain[256], whole[320];
	const char *why;
	size_t len = strlen(text), i, skip;

	if (text[0] != '@' && len > 0 && text[len - 1] != '@')
		return parse_mailbox_text(v, text, true, ret);
	if (text[0] != '@') { /* user@ */
		if (len > 65 || len < 2 || memchr(text, '@', len - 1) != NULL)
			return conf_value_bad(v, text, "%s", wanted);
		for (i = 0; i < len; i++) {
			if (!isgraph((unsigned char)text[i]) &&
			    (unsigned char)text[i] < 0x80)
				return conf_value_bad(v, text, "%s", wanted);
			whole[i] = (char)tolower((unsigned char)text[i]);
		}
		whole[len] = '\0';
		return conf_value_keep(v, whole, ret);
	}
	skip = text[1] == '.' ? 2 : 1;
	if (!conf_domain_normalise(text + skip, len - skip, domain, &why))
		return conf_value_bad(v, text, "%s", wanted);
	(void)snprintf(
	    whole, sizeof(whole), "%s%s", skip == 2 ? "@." : "@", domain);
	return conf_value_keep(v, whole, ret);
}

/* ---- lists --------------------------------------------------------------- */

static int
one_sender(struct conf_value *v, char *text, void *out)
{
	return parse_sender(v, text, out);
}

static int
one_addr(struct conf_value *v, char *text, void *out)
{
	return parse_addr(v, text, out);
}

/* The word is kept as a network of no family, which nothing matches. */
static int
one_net(struct conf_value *v, char *text, void *out)
{
	struct conf_net *net = out;

	if (v->key->words != NULL && strcmp(text, "none") == 0)
		return conf_value_bad(v, text, "none to stand alone");
	if (v->key->words != NULL && strcmp(text, "special") == 0) {
		memset(net, 0, sizeof(*net));
		((struct conf_nets *)v->out)->special = true;
		return 0;
	}
	return parse_net(v, text, net);
}

int
conf_read_senders(struct conf_value *v, char *text)
{
	struct conf_strs *s = v->out;
	size_t n = 0;
	void *elems = NULL;
	int r;

	r = conf_value_list(v, text, sizeof(char *), one_sender, &n, &elems);
	if (r == 0)
		*s = (struct conf_strs){ n, elems };
	return r;
}

int
conf_read_addrs(struct conf_value *v, char *text)
{
	struct conf_addrs *s = v->out;
	size_t n = 0;
	void *elems = NULL;
	int r;

	r = conf_value_list(
	    v, text, sizeof(union conf_addr), one_addr, &n, &elems);
	if (r == 0)
		*s = (struct conf_addrs){ n, elems };
	return r;
}

int
conf_read_nets(struct conf_value *v, char *text)
{
	struct conf_nets *s = v->out;
	size_t n = 0;
	void *elems = NULL;
	int r;

	*s = (struct conf_nets){ 0 };
	if (v->key->words != NULL && strcmp(text, "none") == 0)
		return 0;
	r = conf_value_list(
	    v, text, sizeof(struct conf_net), one_net, &n, &elems);
	if (r == 0) {
		s->n = n;
		s->v = elems;
	}
	return r;
}

/* ---- routes -------------------------------------------------------------- */

/* name[:port][/pri=N], an address in place of the name, or [name]. */
static int
one_route_host(struct conf_value *v, char *text, void *out)
{
	static const char wanted[] =
	    "NAME[:PORT][/pri=N], an IP address, [NAME], USEDNS or /dev/null";
	struct conf_route_host *h = out;
	char copy[320], *host, *pri;
	uint64_t n = 0;
	bool bracket;

	memset(h, 0, sizeof(*h));
	if (strcasecmp(text, "USEDNS") == 0 || strcmp(text, "/dev/null") == 0)
		return conf_value_bad(v, text, "%s to stand alone", text);
	if (strlen(text) >= sizeof(copy))
		return conf_value_bad(v, text, "%s", wanted);
	memcpy(copy, text, strlen(text) + 1);
	pri = strchr(copy, '/');
	if (pri != NULL) {
		*pri++ = '\0';
		if (strncasecmp(pri, "pri=", 4) != 0 ||
		    !conf_value_digits(pri + 4, strlen(pri + 4), 65535, &n))
			return conf_value_bad(
			    v, text, "/pri=0 to /pri=65535 behind '/'");
	}
	h->priority = (uint16_t)n;
	if (!split_port(copy, &host, &h->port, &bracket))
		return conf_value_bad(v, text, "%s", wanted);
	if (bracket && strncasecmp(host, "IPv6:", 5) == 0)
		host += 5;
	if (parse_ip(host, &h->addr)) {
		set_port(&h->addr, h->port);
		return conf_value_keep(v, host, &h->name);
	}
	h->no_mx = bracket;
	return parse_host_text(v, host, &h->name);
}

int
conf_read_route(struct conf_value *v, char *text)
{
	struct conf_route *route = v->base;
	struct conf_route_host *h, tmp;
	size_t i, k, n = 0;
	void *elems = NULL;
	int r;

	route->kind = CONF_ROUTE_HOSTS;
	route->n_hosts = 0;
	route->hosts = NULL;
	if (*text == '\0')
		return conf_value_bad(
		    v, text, "at least one host, USEDNS or /dev/null");
	if (strcasecmp(text, "USEDNS") == 0) {
		route->kind = CONF_ROUTE_USEDNS;
		return 0;
	}
	if (strcmp(text, "/dev/null") == 0) {
		route->kind = CONF_ROUTE_DISCARD;
		return 0;
	}
	if (conf_value_count(text) > 1000)
		return conf_value_bad(v, "a longer list", "at most 1000 hosts");
	r = conf_value_list(v, text, sizeof(*h), one_route_host, &n, &elems);
	if (r < 0)
		return r;
	/* stable, and short: insertion sort */
	h = elems;
	for (i = 1; i < n; i++) {
		tmp = h[i];
		for (k = i; k > 0 && h[k - 1].priority > tmp.priority; k--)
			h[k] = h[k - 1];
		h[k] = tmp;
	}
	route->hosts = h;
	route->n_hosts = n;
	return 0;
}
