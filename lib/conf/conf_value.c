/*
 * conf_value.c - one value from text to its stored form, and back to text.
 *
 * One reader per type; ranges, words and defaults come from the schema. A
 * refusal says what was found and what was wanted. Never does I/O.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <idn2.h>

#include "lib/base/err.h"
#include "lib/conf/conf_int.h"
#include "lib/log/log.h"

/* What the readers share for one value. */
struct value {
	struct conf *conf;
	const struct conf_key *key;
	const char *dir;
	void *base; /* the section's struct */
	void *out;  /* the field in it */
	char *err;
	size_t err_len;
};

#define WORDS_MAX 16

/* Say what was found and what was wanted. */
static int __attribute__((format(printf, 3, 4)))
bad(struct value *v, const char *found, const char *fmt, ...)
{
	char wanted[256], quoted[100];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(wanted, sizeof(wanted), fmt, ap);
	va_end(ap);
	(void)snprintf(v->err, v->err_len, "%s: found '%s', wanted %s",
	    v->key->name, log_quote(quoted, sizeof(quoted), found), wanted);
	return PE_SYNTAX;
}

static char *
trim(char *s)
{
	size_t n;

	while (*s == ' ' || *s == '\t' || *s == '\n')
		s++;
	n = strlen(s);
	while (
	    n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\n'))
		s[--n] = '\0';
	return s;
}

/* Decimal digits only, no more than max. */
static bool
digits(const char *s, size_t len, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	size_t i;

	if (len == 0 || len > 18)
		return false;
	for (i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(s[i] - '0');
	}
	*ret = n;
	return n <= max;
}

static int
keep_string(struct value *v, const char *text, const char **ret)
{
	*ret = conf_strndup(v->conf, text, strlen(text));
	return *ret == NULL ? -ENOMEM : 0;
}

/* ---- units and words ------------------------------------------------------ */

static int
parse_unit(struct value *v, const char *text, const struct conf_unit *units,
    const char *what, uint64_t *ret)
{
	const struct conf_unit *u;
	size_t n = strspn(text, "0123456789");
	char range[80];
	uint64_t number;

	conf_unit_range(units, v->key, range, sizeof(range));
	for (u = units; u->suffix != NULL; u++)
		if (strcasecmp(text + n, u->suffix) == 0)
			break;
	if (n == 0 || u->suffix == NULL)
		return bad(v, text, "%s %s", what, range);
	if (!digits(text, n, (uint64_t)v->key->max / u->factor, &number) ||
	    number * u->factor < (uint64_t)v->key->min)
		return bad(v, text, "%s %s", what, range);
	*ret = number * u->factor;
	return 0;
}

static int
parse_ms(struct value *v, char *text)
{
	uint64_t n;
	int r;

	r = parse_unit(
	    v, text, conf_units_ms, "a duration (500ms, 30s, 5m, 2h, 3d)", &n);
	if (r == 0)
		*(int64_t *)v->out = (int64_t)n;
	return r;
}

static int
parse_s(struct value *v, char *text)
{
	uint64_t n;
	int r;

	r = parse_unit(
	    v, text, conf_units_s, "a duration (30s, 5m, 2h, 3d)", &n);
	if (r == 0)
		*(int64_t *)v->out = (int64_t)n;
	return r;
}

static int
parse_size(struct value *v, char *text)
{
	return parse_unit(
	    v, text, conf_units_size, "a size (4096, 64k, 10m, 1g)", v->out);
}

/* ---- numbers and words --------------------------------------------------- */

static int
parse_number(struct value *v, const char *text, uint64_t *ret)
{
	if (!digits(text, strlen(text), (uint64_t)v->key->max, ret) ||
	    *ret < (uint64_t)v->key->min)
		return bad(v, text,
		    "a whole number from %" PRId64 " to %" PRId64, v->key->min,
		    v->key->max);
	return 0;
}

static int
parse_int(struct value *v, char *text)
{
	uint64_t n;
	int r = parse_number(v, text, &n);

	if (r == 0)
		*(uint32_t *)v->out = (uint32_t)n;
	return r;
}

static int
parse_int64(struct value *v, char *text)
{
	return parse_number(v, text, v->out);
}

static int
parse_auto(struct value *v, char *text)
{
	uint64_t n = 0;

	if (strcasecmp(text, "auto") != 0 &&
	    (!digits(text, strlen(text), (uint64_t)v->key->max, &n) ||
		n < (uint64_t)v->key->min))
		return bad(v, text,
		    "auto or a whole number from %" PRId64 " to %" PRId64,
		    v->key->min, v->key->max);
	*(uint32_t *)v->out = (uint32_t)n;
	return 0;
}

static int
parse_port(struct value *v, char *text)
{
	uint64_t n;

	if (!digits(text, strlen(text), 65535, &n) || n == 0)
		return bad(v, text, "a port from 1 to 65535");
	*(uint16_t *)v->out = (uint16_t)n;
	return 0;
}

/* Position of text in "a|b|c", or -1. */
static int
word_index(const char *words, const char *text)
{
	size_t len = strlen(text), n;
	int i = 0;

	for (;; i++) {
		n = strcspn(words, "|");
		if (n == len && strncasecmp(words, text, n) == 0)
			return i;
		if (words[n] == '\0')
			return -1;
		words += n + 1;
	}
}

static int
parse_enum(struct value *v, char *text)
{
	char list[160], hint[100], copies[WORDS_MAX][40];
	const char *words[WORDS_MAX];
	size_t n = 0;
	int i;

	i = word_index(v->key->words, text);
	if (i >= 0) {
		*(int *)v->out = i; /* an enum is as wide as an int here */
		return 0;
	}
	conf_words_list(v->key->words, list, sizeof(list));
	while (n < WORDS_MAX &&
	    conf_word_at(v->key->words, (int)n, copies[n], sizeof(copies[n])) !=
		NULL) {
		words[n] = copies[n];
		n++;
	}
	conf_hint(text, words, n, hint, sizeof(hint));
	return bad(v, text, "%s%s", list, hint);
}

static int
parse_bool(struct value *v, char *text)
{
	static const char *const yes[] = { "yes", "on", "true" };
	static const char *const no[] = { "no", "off", "false" };
	char list[32];
	size_t i;

	for (i = 0; i < 3; i++) {
		if (strcasecmp(text, yes[i]) == 0 ||
		    strcasecmp(text, no[i]) == 0) {
			*(bool *)v->out = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	conf_words_list(v->key->words, list, sizeof(list));
	return bad(v, text, "%s", list);
}

static int
parse_later(struct value *v, char *text)
{
	if (word_index(v->key->words, text) == 0)
		return 0; /* the field stays zero */
	return bad(v, text,
	    "%s (this version has no keys that it could work with)",
	    v->key->words);
}

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
parse_host_text(struct value *v, const char *text, const char **ret)
{
	char name[256];
	const char *why;

	if (!conf_domain_normalise(text, strlen(text), name, &why))
		return bad(v, text, "a host name (it has %s)", why);
	return keep_string(v, name, ret);
}

static int
parse_host(struct value *v, char *text)
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
		if (!digits(port, strlen(port), 65535, &n) || n == 0)
			return false;
		*ret_port = (uint16_t)n;
	}
	*ret_host = host;
	return *host != '\0';
}

static int
parse_addr(struct value *v, char *text, union conf_addr *ret)
{
	char copy[80], *host;
	uint16_t port;
	bool bracket;

	if (strlen(text) >= sizeof(copy))
		return bad(v, text, "an address IP[:port]");
	memcpy(copy, text, strlen(text) + 1);
	if (!split_port(copy, &host, &port, &bracket) || !parse_ip(host, ret) ||
	    (bracket && ret->sa.sa_family != AF_INET6))
		return bad(v, text,
		    "an address and port such as 192.0.2.1:25 or "
		    "[2001:db8::1]:25");
	set_port(ret, port != 0 ? port : (uint16_t)v->key->min);
	return 0;
}

static int
parse_ip_family(struct value *v, char *text)
{
	int family = v->key->type == CONF_V_IP4 ? AF_INET : AF_INET6;
	union conf_addr addr;

	if (!parse_ip(text, &addr) || addr.sa.sa_family != family)
		return bad(v, text, "an %s address",
		    family == AF_INET ? "IPv4" : "IPv6");
	*(union conf_addr *)v->out = addr;
	return 0;
}

static int
parse_net(struct value *v, char *text, struct conf_net *ret)
{
	char copy[80], proper[64], *slash;
	union conf_addr addr;
	struct conf_net full;
	uint64_t prefix;

	if (strlen(text) >= sizeof(copy))
		return bad(v, text, "a network such as 10.0.0.0/8");
	memcpy(copy, text, strlen(text) + 1);
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash++ = '\0';
	if (!parse_ip(copy, &addr) || !conf_net_from_sa(&addr.sa, &full))
		return bad(v, text,
		    "an address or network such as 192.0.2.1, 10.0.0.0/8 or "
		    "2001:db8::/32");
	prefix = full.prefix;
	if (slash != NULL &&
	    !digits(slash, strlen(slash), full.prefix, &prefix))
		return bad(v, text, "a prefix length from 0 to %u",
		    (unsigned)full.prefix);
	*ret = full;
	conf_net_mask(ret, (unsigned)prefix);
	if (memcmp(ret->bits, full.bits, sizeof(full.bits)) != 0)
		return bad(v, text,
		    "no bits behind the prefix (that network is %s)",
		    conf_net_format(ret, proper, sizeof(proper)));
	return 0;
}

static int
parse_hostport(struct value *v, char *text)
{
	char copy[300], *host, name[256];
	const char *why;
	union conf_addr addr;
	uint16_t port;
	bool bracket;

	if (strlen(text) >= sizeof(copy))
		return bad(v, text, "HOST:PORT");
	memcpy(copy, text, strlen(text) + 1);
	if (!split_port(copy, &host, &port, &bracket) || port == 0 ||
	    (!parse_ip(host, &addr) &&
		!conf_domain_normalise(host, strlen(host), name, &why)))
		return bad(v, text, "HOST:PORT");
	return keep_string(v, text, v->out);
}

static int
parse_url(struct value *v, char *text)
{
	size_t i;

	if (strncmp(text, "http://", 7) != 0 || text[7] == '\0')
		return bad(v, text, "http://HOST:PORT");
	for (i = 0; text[i] != '\0'; i++)
		if (!isgraph((unsigned char)text[i]))
			return bad(v, text, "http://HOST:PORT");
	if (strchr(text, '@') != NULL)
		return bad(v, text,
		    "http://HOST:PORT without user and password (secrets are "
		    "never values)");
	return keep_string(v, text, v->out);
}

/* local@domain with both parts in order; the domain becomes A-labels. */
static int
parse_mailbox_text(struct value *v, char *text, bool lower, const char **ret)
{
	char domain[256], *whole, *at = strrchr(text, '@');
	const char *why;
	size_t local, i;

	if (at == NULL || at == text || at - text > 64)
		return bad(v, text, "an address local@domain");
	local = (size_t)(at - text);
	for (i = 0; i < local; i++)
		if (!isgraph((unsigned char)text[i]) &&
		    (unsigned char)text[i] < 0x80)
			return bad(v, text, "an address without blanks");
	if (memchr(text, '<', local) != NULL ||
	    memchr(text, '@', local) != NULL)
		return bad(v, text, "a bare address local@domain");
	if (!conf_domain_normalise(at + 1, strlen(at + 1), domain, &why))
		return bad(
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

static int
parse_mailbox(struct value *v, char *text)
{
	if (word_index(v->key->words, text) == 0)
		return 0; /* NULL */
	return parse_mailbox_text(v, text, false, v->out);
}

/* user@domain, user@, @domain, @.partial */
static int
parse_sender(struct value *v, char *text, const char **ret)
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
			return bad(v, text, "%s", wanted);
		for (i = 0; i < len; i++) {
			if (!isgraph((unsigned char)text[i]) &&
			    (unsigned char)text[i] < 0x80)
				return bad(v, text, "%s", wanted);
			whole[i] = (char)tolower((unsigned char)text[i]);
		}
		whole[len] = '\0';
		return keep_string(v, whole, ret);
	}
	skip = text[1] == '.' ? 2 : 1;
	if (!conf_domain_normalise(text + skip, len - skip, domain, &why))
		return bad(v, text, "%s", wanted);
	(void)snprintf(
	    whole, sizeof(whole), "%s%s", skip == 2 ? "@." : "@", domain);
	return keep_string(v, whole, ret);
}

/* ---- strings and lists --------------------------------------------------- */

static int
parse_text(struct value *v, char *text)
{
	return keep_string(v, text, v->out);
}

static int
parse_string(struct value *v, char *text)
{
	char *p;

	for (p = text; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	if (v->key->max > 0 && strlen(text) > (size_t)v->key->max)
		return bad(v, text, "at most %" PRId64 " bytes", v->key->max);
	return keep_string(v, text, v->out);
}

static int
parse_name(struct value *v, char *text)
{
	if (!conf_name_ok(text))
		return bad(
		    v, text, "a name of letters, digits, '.', '_' and '-'");
	return keep_string(v, text, v->out);
}

static int
keep_path(struct value *v, const char *path, const char **ret)
{
	size_t dir_len = v->dir == NULL ? 0 : strlen(v->dir);
	size_t len = strlen(path);
	char *whole;

	if (strchr(path, '\n') != NULL || len > 1000)
		return bad(v, path, "a path of at most 1000 bytes");
	if (path[0] == '/' || dir_len == 0)
		return keep_string(v, path, ret);
	whole = conf_alloc(v->conf, dir_len + 1 + len + 1);
	if (whole == NULL)
		return -ENOMEM;
	memcpy(whole, v->dir, dir_len);
	whole[dir_len] = '/';
	memcpy(whole + dir_len + 1, path, len);
	*ret = whole;
	return 0;
}

static int
parse_path(struct value *v, char *text)
{
	return keep_path(v, text, v->out);
}

static int
parse_target(struct value *v, char *text)
{
	struct conf_log *log = v->base;

	log->path = NULL;
	if (strcasecmp(text, "stdout") == 0) {
		log->target = CONF_LOG_STDOUT;
	} else if (strcasecmp(text, "syslog") == 0) {
		log->target = CONF_LOG_SYSLOG;
	} else if (strncasecmp(text, "file:", 5) == 0 && text[5] != '\0') {
		log->target = CONF_LOG_FILE;
		return keep_path(v, text + 5, &log->path);
	} else {
		return bad(v, text, "stdout, syslog or file:PATH");
	}
	return 0;
}

/* How many elements a list has, at most. */
static size_t
list_count(const char *text)
{
	size_t n = 1;

	for (; *text != '\0'; text++)
		if (*text == ',')
			n++;
	return n;
}

/*
 * Elements of size each into the arena, each read by one(); an empty element
 * is refused except behind the last comma.
 */
static int
parse_list(struct value *v, char *text, size_t size,
    int (*one)(struct value *v, char *text, void *out), size_t *ret_n,
    void **ret_v)
{
	size_t max = list_count(text), n = 0;
	uint8_t *elems = conf_alloc(v->conf, max * size);
	char *next = text, *elem;
	int r;

	if (elems == NULL)
		return -ENOMEM;
	while ((elem = strsep(&next, ",")) != NULL) {
		elem = trim(elem);
		if (*elem == '\0') {
			if (next == NULL && n > 0)
				break;
			return bad(v, ",", "a list without empty elements");
		}
		r = one(v, elem, elems + n * size);
		if (r < 0)
			return r;
		n++;
	}
	*ret_n = n;
	*ret_v = elems;
	return 0;
}

static int
one_string(struct value *v, char *text, void *out)
{
	return keep_string(v, text, out);
}

static int
one_sender(struct value *v, char *text, void *out)
{
	return parse_sender(v, text, out);
}

static int
one_addr(struct value *v, char *text, void *out)
{
	return parse_addr(v, text, out);
}

static int
one_net(struct value *v, char *text, void *out)
{
	return parse_net(v, text, out);
}

static int
parse_strings(struct value *v, char *text)
{
	struct conf_strs *s = v->out;
	size_t n = 0;
	void *elems = NULL;
	int r;

	r = parse_list(v, text, sizeof(char *),
	    v->key->type == CONF_V_SENDERS ? one_sender : one_string, &n,
	    &elems);
	if (r == 0)
		*s = (struct conf_strs){ n, elems };
	return r;
}

static int
parse_addrs(struct value *v, char *text)
{
	struct conf_addrs *s = v->out;
	size_t n = 0;
	void *elems = NULL;
	int r;

	r = parse_list(v, text, sizeof(union conf_addr), one_addr, &n, &elems);
	if (r == 0)
		*s = (struct conf_addrs){ n, elems };
	return r;
}

static int
parse_nets(struct value *v, char *text)
{
	struct conf_nets *s = v->out;
	size_t n = 0;
	void *elems = NULL;
	int r;

	r = parse_list(v, text, sizeof(struct conf_net), one_net, &n, &elems);
	if (r == 0)
		*s = (struct conf_nets){ n, elems };
	return r;
}

/* ---- rates and routes ---------------------------------------------------- */

static int
parse_rate(struct value *v, char *text)
{
	static const char wanted[] =
	    "none or N/Mm such as 1000/60m (0-1000000000 in 1-60 minutes)";
	struct conf_rate *rate = v->out;
	char *slash, *end;
	uint64_t count, minutes;
	size_t len;

	memset(rate, 0, sizeof(*rate));
	if (strcasecmp(text, "none") == 0)
		return 0;
	slash = strchr(text, '/');
	if (slash == NULL)
		return bad(v, text, "%s", wanted);
	end = text + strlen(text) - 1;
	len = (size_t)(end - slash) - (end > slash);
	if (!digits(text, (size_t)(slash - text), 1000000000, &count) ||
	    (*end != 'm' && *end != 'h') ||
	    !digits(slash + 1, len, 60, &minutes) || minutes == 0 ||
	    (*end == 'h' && minutes != 1))
		return bad(v, text, "%s", wanted);
	rate->limited = true;
	rate->count = (uint32_t)count;
	rate->minutes = *end == 'h' ? 60 : (uint32_t)minutes;
	return 0;
}

/* name[:port][/pri=N], an address in place of the name, or [name]. */
static int
one_route_host(struct value *v, char *text, void *out)
{
	static const char wanted[] =
	    "NAME[:PORT][/pri=N], an IP address, [NAME], USEDNS or /dev/null";
	struct conf_route_host *h = out;
	char copy[320], *host, *pri;
	uint64_t n = 0;
	bool bracket;

	memset(h, 0, sizeof(*h));
	if (strcasecmp(text, "USEDNS") == 0 || strcmp(text, "/dev/null") == 0)
		return bad(v, text, "%s to stand alone", text);
	if (strlen(text) >= sizeof(copy))
		return bad(v, text, "%s", wanted);
	memcpy(copy, text, strlen(text) + 1);
	pri = strchr(copy, '/');
	if (pri != NULL) {
		*pri++ = '\0';
		if (strncasecmp(pri, "pri=", 4) != 0 ||
		    !digits(pri + 4, strlen(pri + 4), 65535, &n))
			return bad(v, text, "/pri=0 to /pri=65535 behind '/'");
	}
	h->priority = (uint16_t)n;
	if (!split_port(copy, &host, &h->port, &bracket))
		return bad(v, text, "%s", wanted);
	if (bracket && strncasecmp(host, "IPv6:", 5) == 0)
		host += 5;
	if (parse_ip(host, &h->addr)) {
		set_port(&h->addr, h->port);
		return keep_string(v, host, &h->name);
	}
	h->no_mx = bracket;
	return parse_host_text(v, host, &h->name);
}

static int
parse_route(struct value *v, char *text)
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
		return bad(v, text, "at least one host, USEDNS or /dev/null");
	if (strcasecmp(text, "USEDNS") == 0) {
		route->kind = CONF_ROUTE_USEDNS;
		return 0;
	}
	if (strcmp(text, "/dev/null") == 0) {
		route->kind = CONF_ROUTE_DISCARD;
		return 0;
	}
	if (list_count(text) > 1000)
		return bad(v, "a longer list", "at most 1000 hosts");
	r = parse_list(v, text, sizeof(*h), one_route_host, &n, &elems);
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

/* ---- by type ------------------------------------------------------------- */

static int (*const readers[])(struct value *, char *) = {
	[CONF_V_BOOL] = parse_bool,
	[CONF_V_INT] = parse_int,
	[CONF_V_INT64] = parse_int64,
	[CONF_V_AUTO] = parse_auto,
	[CONF_V_PORT] = parse_port,
	[CONF_V_MS] = parse_ms,
	[CONF_V_S] = parse_s,
	[CONF_V_SIZE] = parse_size,
	[CONF_V_ENUM] = parse_enum,
	[CONF_V_STRING] = parse_string,
	[CONF_V_TEXT] = parse_text,
	[CONF_V_NAME] = parse_name,
	[CONF_V_HOST] = parse_host,
	[CONF_V_HOSTPORT] = parse_hostport,
	[CONF_V_URL] = parse_url,
	[CONF_V_MAILBOX] = parse_mailbox,
	[CONF_V_PATH] = parse_path,
	[CONF_V_STRINGS] = parse_strings,
	[CONF_V_SENDERS] = parse_strings,
	[CONF_V_ADDRS] = parse_addrs,
	[CONF_V_IP4] = parse_ip_family,
	[CONF_V_IP6] = parse_ip_family,
	[CONF_V_NETS] = parse_nets,
	[CONF_V_RATE] = parse_rate,
	[CONF_V_ROUTE] = parse_route,
	[CONF_V_TARGET] = parse_target,
	[CONF_V_LATER] = parse_later,
};

/* An empty value switches these off; the others want something. */
static bool
empty_is_none(struct value *v)
{
	switch (v->key->type) {
	case CONF_V_STRING:
	case CONF_V_TEXT:
	case CONF_V_NAME:
	case CONF_V_HOST:
	case CONF_V_HOSTPORT:
	case CONF_V_URL:
	case CONF_V_MAILBOX:
	case CONF_V_PATH:
		*(const char **)v->out = NULL;
		return true;
	case CONF_V_STRINGS:
	case CONF_V_SENDERS:
		*(struct conf_strs *)v->out = (struct conf_strs){ 0 };
		return true;
	case CONF_V_ADDRS:
		*(struct conf_addrs *)v->out = (struct conf_addrs){ 0 };
		return true;
	case CONF_V_NETS:
		*(struct conf_nets *)v->out = (struct conf_nets){ 0 };
		return true;
	case CONF_V_IP4:
	case CONF_V_IP6:
		memset(v->out, 0, sizeof(union conf_addr));
		return true;
	default:
		return false;
	}
}

int
conf_value_parse(struct conf *conf, const struct conf_key *key, char *text,
    const char *dir, void *base, char *err, size_t err_len)
{
	struct value v = { conf, key, dir, base, (char *)base + key->offset,
		err, err_len };

	if (*text == '\0' && empty_is_none(&v))
		return 0;
	return readers[key->type](&v, text);
}
