/*
 * addr.c - mail addresses: check, take apart without copying, compare. Pure.
 *
 * Called by intake for envelopes, by the queue for notices, by delivery and
 * routes for domains, and by `posternctl addr check`. Sources: RFC 5321 4.1.2,
 * 4.1.3, 4.5.3.1; RFC 6531 3.3; RFC 5890.
 */
#include "lib/mail/addr.h"
#include "lib/base/err.h"
#include "lib/mail/utf8.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static const char too_long_local[] = "local part is longer than 64 octets";
static const char too_long_domain[] = "domain is longer than 255 octets";
static const char too_long_all[] = "address is longer than 254 octets";

static int
refuse(const char **ret_reason, int err, const char *why)
{
	if (ret_reason != NULL)
		*ret_reason = why;
	return err;
}

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9');
}

static bool
is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* ---- local part ---- */

/*
 * One non-ASCII character, as RFC 6531 admits it. C1 controls are UTF-8, but
 * nobody's name: RFC 5198 section 2 forbids them in text for the net. Returns
 * its bytes, or 0 and the reason.
 */
static size_t
take_utf8(const char *text, size_t len, unsigned flags, const char **why)
{
	uint32_t cp;
	size_t used;

	if ((flags & ADDR_UTF8) == 0) {
		*why = "non-ASCII characters need SMTPUTF8";
		return 0;
	}
	used = utf8_decode(text, len, &cp);
	if (used == 0)
		*why = "not valid UTF-8";
	else if (cp < 0xa0) {
		*why = "control character";
		return 0;
	}
	return used;
}

/* Quoted-string at text[0..len), text[0] is the quote. Bytes used, or 0. */
static size_t
take_quoted(const char *text, size_t len, unsigned flags, struct addr *a,
    const char **why)
{
	size_t at = 1, used;
	unsigned char c;

	while (at < len) {
		c = (unsigned char)text[at];
		if (c == '"')
			return at + 1;
		if (c == '\\') {
			if (at + 1 >= len)
				break;
			c = (unsigned char)text[at + 1];
			if (c < ' ' || c > '~') {
				*why = "backslash before a character that "
				       "cannot be quoted";
				return 0;
			}
			at += 2;
			continue;
		}
		if (c > 0x7f) {
			used = take_utf8(text + at, len - at, flags, why);
			if (used == 0)
				return 0;
			a->local_utf8 = true;
			at += used;
			continue;
		}
		if (c < ' ' || c == 0x7f) {
			*why = "control character in the local part";
			return 0;
		}
		at++;
	}
	*why = "quoted local part without its closing quote";
	return 0;
}

/* Dot-string, up to '@' or stop. Bytes used, or 0. */
static size_t
take_dots(const char *text, size_t len, char stop, unsigned flags,
    struct addr *a, const char **why)
{
	size_t at = 0, used;
	bool atom = false; /* the atom has a character */

	for (; at < len && text[at] != '@'; at += used) {
		if (stop != '\0' && text[at] == stop)
			break;
		used = 1;
		if ((unsigned char)text[at] > 0x7f) {
			used = take_utf8(text + at, len - at, flags, why);
			if (used == 0)
				return 0;
			a->local_utf8 = true;
			atom = true;
		} else if (is_atext(text[at])) {
			atom = true;
		} else if (text[at] == '.') {
			if (!atom) {
				*why = at == 0
				    ? "local part starts with a dot"
				    : "two dots in a row in the local part";
				return 0;
			}
			atom = false;
		} else if ((unsigned char)text[at] < ' ' || text[at] == 0x7f) {
			*why = "control character in the local part";
			return 0;
		} else if (text[at] == '(' || text[at] == ')') {
			*why =
			    "comments are not allowed in an envelope address";
			return 0;
		} else if (text[at] == ' ') {
			*why = "space in the local part without quotes";
			return 0;
		} else if (text[at] == '"') {
			*why = "quote within the local part; only the whole of "
			       "it can be quoted";
			return 0;
		} else {
			*why = "character in the local part that must be "
			       "quoted";
			return 0;
		}
	}
	if (at == 0) {
		*why = "local part is empty";
		return 0;
	}
	if (!atom) {
		*why = "local part ends with a dot";
		return 0;
	}
	return at;
}

/* ---- domains ---- */

/*
 * The domain in lower-case A-labels, after the conversion of RFC 5891. Strict:
 * a label that maps to plain ASCII (full-width letters, ligatures) is no
 * U-label but a disguise, and neither are dots that only look like dots.
 */
static const char *
to_ascii(const char *domain, size_t len, char ret_domain[ADDR_DOMAIN_MAX + 1])
{
	const char *in, *in_end, *out, *out_end;
	const char *why = NULL;
	uint8_t *ascii = NULL;
	char text[ADDR_DOMAIN_MAX + 1];
	size_t ascii_len;

	if (len > ADDR_DOMAIN_MAX)
		return too_long_domain;
	memcpy(text, domain, len);
	text[len] = '\0';
	if (idn2_lookup_u8((const uint8_t *)text, &ascii,
		IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return "domain has a label that IDNA does not allow";
	ascii_len = strlen((const char *)ascii);
	if (ascii_len > ADDR_DOMAIN_MAX) {
		idn2_free(ascii);
		return too_long_domain;
	}
	in = text;
	out = (const char *)ascii;
	for (;;) {
		in_end = strchrnul(in, '.');
		out_end = strchrnul(out, '.');
		if (*in_end != *out_end ||
		    (utf8_has_8bit(in, (size_t)(in_end - in)) &&
			strncasecmp(out, "xn--", 4) != 0)) {
			why = "domain has a label that is no U-label";
			break;
		}
		if (*in_end == '\0')
			break;
		in = in_end + 1;
		out = out_end + 1;
	}
	if (why == NULL)
		memcpy(ret_domain, ascii, ascii_len + 1);
	idn2_free(ascii);
	return why;
}

/* Domain, ASCII only. NULL or what is wrong. */
static const char *
check_ascii_domain(const char *d, size_t len)
{
	size_t at = 0, n;

	if (len == 0)
		return "domain is empty";
	if (len > ADDR_DOMAIN_MAX)
		return too_long_domain;
	if (d[0] == '.')
		return "domain starts with a dot";
	if (d[len - 1] == '.')
		return "domain ends with a dot";
	while (at < len) {
		for (n = 0; at + n < len && d[at + n] != '.'; n++) {
			if (is_alnum(d[at + n]) || d[at + n] == '-')
				continue;
			if (d[at + n] == '_')
				return "underscore in the domain";
			if (d[at + n] == '(' || d[at + n] == ')')
				return "comments are not allowed in an "
				       "envelope address";
			return "character that no domain can have";
		}
		if (n == 0)
			return "two dots in a row in the domain";
		if (n > ADDR_LABEL_MAX)
			return "label of the domain is longer than 63 octets";
		if (d[at] == '-')
			return "label of the domain starts with a hyphen";
		if (d[at + n - 1] == '-')
			return "label of the domain ends with a hyphen";
		at += n + 1;
	}
	return NULL;
}

static const char *
check_domain(const char *d, size_t len, unsigned flags, bool *ret_utf8)
{
	char ascii[ADDR_DOMAIN_MAX + 1];
	const char *why;
	size_t i;

	*ret_utf8 = utf8_has_8bit(d, len);
	if (!*ret_utf8)
		return check_ascii_domain(d, len);
	if ((flags & ADDR_UTF8) == 0)
		return "non-ASCII characters need SMTPUTF8";
	for (i = 0; i < len; i++) {
		/* the mapping of IDNA must not repair the ASCII part */
		if ((unsigned char)d[i] < 0x80 && !is_alnum(d[i]) &&
		    d[i] != '-' && d[i] != '.')
			return "character that no domain can have";
	}
	if (!utf8_valid(d, len))
		return "not valid UTF-8";
	why = to_ascii(d, len, ascii);
	return why != NULL ? why : check_ascii_domain(ascii, strlen(ascii));
}

bool
addr_domain_is_literal(const char *domain, size_t len)
{
	return len >= 2 && domain[0] == '[' && domain[len - 1] == ']';
}

bool
addr_domain_valid(const char *domain, size_t len, unsigned flags)
{
	bool utf8;

	return check_domain(domain, len, flags, &utf8) == NULL;
}

/* ---- address literals ---- */

/* IPv4-address-literal: four decimal numbers up to 255. */
static bool
parse_ipv4(const char *p, size_t len, uint8_t ip[4])
{
	unsigned value;
	size_t at = 0, digits;
	int i;

	for (i = 0; i < 4; i++) {
		value = 0;
		for (digits = 0; at < len && p[at] >= '0' && p[at] <= '9';
		     digits++)
			value = value * 10 + (unsigned)(p[at++] - '0');
		if (digits == 0 || digits > 3 || value > 255)
			return false;
		ip[i] = (uint8_t)value;
		if (i < 3 && (at >= len || p[at++] != '.'))
			return false;
	}
	return at == len;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * IPv6-addr of RFC 5321 4.1.3: eight groups, or six and an IPv4 address; or
 * with one "::" at most six groups, or four and an IPv4 address, because there
 * "::" stands for two groups or more.
 */
static bool
parse_ipv6(const char *p, size_t len, uint8_t ip[16])
{
	uint8_t groups[16] = { 0 };
	size_t at = 0, n = 0, gap = SIZE_MAX, digits, k, room;
	unsigned value;

	/* n is bytes of groups read; gap is n where the "::" stood */
	if (len >= 2 && p[0] == ':' && p[1] == ':') {
		gap = 0;
		at = 2;
	}
	while (at < len) {
		value = 0;
		for (digits = 0; at + digits < len &&
		     hex_digit(p[at + digits]) >= 0 && digits < 5;
		     digits++)
			value =
			    value << 4 | (unsigned)hex_digit(p[at + digits]);
		if (at + digits < len && p[at + digits] == '.') {
			/* an IPv4 address, and it is the last thing */
			if (n > 12 || !parse_ipv4(p + at, len - at, groups + n))
				return false;
			n += 4;
			break;
		}
		if (digits == 0 || digits > 4 || n == 16)
			return false;
		groups[n] = (uint8_t)(value >> 8);
		groups[n + 1] = (uint8_t)value;
		n += 2;
		at += digits;
		if (at == len)
			break;
		if (p[at++] != ':')
			return false;
		if (at == len)
			return false; /* one colon at the end */
		if (p[at] == ':') {
			if (gap != SIZE_MAX)
				return false;
			gap = n;
			at++;
		}
	}
	room = gap == SIZE_MAX ? 16 : 12;
	if (gap == SIZE_MAX ? n != room : n > room)
		return false;
	memset(ip, 0, 16);
	if (gap == SIZE_MAX)
		gap = n;
	memcpy(ip, groups, gap);
	for (k = n; k > gap; k--)
		ip[16 - (n - k) - 1] = groups[k - 1];
	return true;
}

static const char *
check_literal(const char *d, size_t len, int *ret_family, uint8_t ip[16])
{
	static const char tag[] = "IPv6:";

	if (len < 2 || d[0] != '[' || d[len - 1] != ']')
		return "address literal without its closing bracket";
	d++;
	len -= 2;
	if (len >= 5 && strncasecmp(d, tag, 5) == 0) {
		*ret_family = AF_INET6;
		return parse_ipv6(d + 5, len - 5, ip)
		    ? NULL
		    : "IPv6 address literal is malformed";
	}
	*ret_family = AF_INET;
	if (parse_ipv4(d, len, ip))
		return NULL;
	/* General-address-literal: the tag must be registered, and IPv6 is the
	 * only one that is */
	if (memchr(d, ':', len) != NULL)
		return "address literal with an unknown tag";
	return "IPv4 address literal is malformed";
}

int
addr_literal_parse(
    const char *domain, size_t len, int *ret_family, uint8_t ret_ip[16])
{
	uint8_t ip[16];
	int family;

	if (check_literal(domain, len, &family, ip) != NULL)
		return PE_SYNTAX;
	*ret_family = family;
	memcpy(ret_ip, ip, family == AF_INET ? 4 : 16);
	return 0;
}

int
addr_domain_normalise(
    const char *domain, size_t len, char ret_domain[ADDR_DOMAIN_MAX + 1])
{
	char text[INET6_ADDRSTRLEN];
	uint8_t ip[16];
	const char *why;
	size_t i, n;
	int family;

	if (len > ADDR_DOMAIN_MAX)
		return PE_TOO_LONG;
	if (len > 0 && domain[0] == '[') {
		if (check_literal(domain, len, &family, ip) != NULL ||
		    inet_ntop(family, ip, text, sizeof(text)) == NULL)
			return PE_SYNTAX;
		n = strlen(text);
		i = 0;
		ret_domain[i++] = '[';
		if (family == AF_INET6) {
			memcpy(ret_domain + i, "ipv6:", 5);
			i += 5;
		}
		memcpy(ret_domain + i, text, n);
		memcpy(ret_domain + i + n, "]", 2);
		return 0;
	}
	if (utf8_has_8bit(domain, len)) {
		bool utf8;

		if (check_domain(domain, len, ADDR_UTF8, &utf8) != NULL)
			return PE_SYNTAX;
		why = to_ascii(domain, len, ret_domain);
		if (why != NULL)
			return why == too_long_domain ? PE_TOO_LONG : PE_SYNTAX;
		n = strlen(ret_domain);
	} else {
		if (check_ascii_domain(domain, len) != NULL)
			return PE_SYNTAX;
		memcpy(ret_domain, domain, len);
		n = len;
	}
	for (i = 0; i < n; i++) {
		if (ret_domain[i] >= 'A' && ret_domain[i] <= 'Z')
			ret_domain[i] = (char)(ret_domain[i] - 'A' + 'a');
	}
	ret_domain[n] = '\0';
	return 0;
}

/* ---- whole addresses ---- */

/*
 * Mailbox at text[0..len), ended by the end or, when stop is not NUL, by stop.
 * Returns the bytes used without the stop, or 0 and the reason.
 */
static size_t
take_mailbox(const char *text, size_t len, char stop, unsigned flags,
    struct addr *a, const char **why)
{
	uint8_t ip[16];
	const char *end;
	size_t n, at;
	int family;

	memset(a, 0, sizeof(*a));
	if (len == 0) {
		*why = "address is empty";
		return 0;
	}
	a->text = a->local = text;
	a->quoted = text[0] == '"';
	n = a->quoted ? take_quoted(text, len, flags, a, why)
		      : take_dots(text, len, stop, flags, a, why);
	if (n == 0)
		return 0;
	a->local_len = n;
	if (n >= len || text[n] != '@') {
		*why = a->quoted && n < len && text[n] != stop
		    ? "characters after the quoted local part"
		    : "address has no domain";
		return 0;
	}
	at = n + 1;
	a->domain = text + at;
	if (at < len && text[at] == '[') {
		end = memchr(text + at, ']', len - at);
		n = end == NULL ? len - at : (size_t)(end - text) + 1 - at;
		*why = check_literal(text + at, n, &family, ip);
		a->literal = true;
		if (*why == NULL && at + n < len &&
		    (stop == '\0' || text[at + n] != stop))
			*why = "characters after the address literal";
	} else {
		end = stop == '\0' ? NULL : memchr(text + at, stop, len - at);
		n = end == NULL ? len - at : (size_t)(end - text) - at;
		*why = check_domain(text + at, n, flags, &a->domain_utf8);
	}
	if (*why != NULL)
		return 0;
	a->domain_len = n;
	a->len = at + n;
	if (a->local_len > ADDR_LOCAL_MAX)
		*why = too_long_local;
	else if (a->len > ADDR_MAX)
		*why = too_long_all;
	return *why == NULL ? a->len : 0;
}

static int
why_code(const char *why)
{
	return why == too_long_all || why == too_long_local ||
		why == too_long_domain
	    ? PE_TOO_LONG
	    : PE_SYNTAX;
}

int
addr_parse(const char *text, size_t len, unsigned flags, struct addr *ret_addr,
    const char **ret_reason)
{
	const char *why = NULL;

	if (take_mailbox(text, len, '\0', flags, ret_addr, &why) == 0)
		return refuse(ret_reason, why_code(why), why);
	return 0;
}

/*
 * A-d-l ":" at text[0..len): "@one,@two:". Returns the bytes used, or 0.
 */
static size_t
take_route(const char *text, size_t len, unsigned flags, const char **why)
{
	size_t at = 0, n;
	uint8_t ip[16];
	bool utf8;
	int family;

	for (;;) {
		if (at >= len || text[at] != '@')
			break;
		at++;
		n = 0;
		if (at < len && text[at] == '[') {
			while (at + n < len && text[at + n] != ']')
				n++;
			n += at + n < len;
			*why = check_literal(text + at, n, &family, ip);
		} else {
			while (at + n < len && text[at + n] != ',' &&
			    text[at + n] != ':' && text[at + n] != '>')
				n++;
			*why = check_domain(text + at, n, flags, &utf8);
		}
		if (*why != NULL)
			return 0;
		at += n;
		if (at < len && text[at] == ':')
			return at + 1;
		if (at >= len || text[at] != ',')
			break;
		at++;
	}
	*why = "source route is malformed";
	return 0;
}

ssize_t
addr_parse_path(const char *text, size_t len, unsigned flags,
    struct addr *ret_addr, const char **ret_reason)
{
	static const char pm[] = "postmaster";
	const char *why = NULL;
	size_t at = 1, n;

	memset(ret_addr, 0, sizeof(*ret_addr));
	if (len == 0 || text[0] != '<')
		return refuse(
		    ret_reason, PE_SYNTAX, "address is not in angle brackets");
	if (len >= 2 && text[1] == '>') {
		ret_addr->text = ret_addr->local = ret_addr->domain = text + 1;
		return 2;
	}
	n = sizeof(pm) - 1;
	if (len >= n + 2 && text[n + 1] == '>' &&
	    strncasecmp(text + 1, pm, n) == 0) {
		ret_addr->text = ret_addr->local = text + 1;
		ret_addr->len = ret_addr->local_len = n;
		ret_addr->domain = text + 1 + n;
		return (ssize_t)n + 2;
	}
	if (len >= 2 && text[1] == '@') {
		n = take_route(text + 1, len - 1, flags, &why);
		if (n == 0)
			return refuse(ret_reason, why_code(why), why);
		at += n;
	}
	n = take_mailbox(text + at, len - at, '>', flags, ret_addr, &why);
	if (n == 0)
		return refuse(ret_reason, why_code(why), why);
	at += n;
	if (at >= len || text[at] != '>')
		return refuse(ret_reason, PE_SYNTAX,
		    "address without its closing angle bracket");
	return (ssize_t)at + 1;
}

void
addr_check(const char *text, size_t len, struct addr_verdict *ret_verdict)
{
	struct addr a;
	const char *why = NULL;

	ret_verdict->needs_utf8 = false;
	ret_verdict->valid = addr_parse(text, len, ADDR_UTF8, &a, &why) == 0;
	if (!ret_verdict->valid) {
		ret_verdict->reason = why;
		return;
	}
	ret_verdict->needs_utf8 = a.local_utf8 || a.domain_utf8;
	ret_verdict->reason = ret_verdict->needs_utf8
	    ? "a mailbox of RFC 6531; needs SMTPUTF8 as it is written"
	    : "a mailbox of RFC 5321";
}

size_t
addr_local_unquote(const struct addr *a, char ret_local[ADDR_LOCAL_MAX + 1])
{
	const char *p = a->local;
	size_t len = a->local_len, n = 0, i;

	if (a->quoted && len >= 2) {
		p++;
		len -= 2;
	}
	for (i = 0; i < len && n < ADDR_LOCAL_MAX; i++) {
		if (a->quoted && p[i] == '\\' && i + 1 < len)
			i++;
		ret_local[n++] = p[i];
	}
	ret_local[n] = '\0';
	return n;
}

bool
addr_equal(const struct addr *a, const struct addr *b)
{
	char la[ADDR_LOCAL_MAX + 1], lb[ADDR_LOCAL_MAX + 1];
	char da[ADDR_DOMAIN_MAX + 1], db[ADDR_DOMAIN_MAX + 1];
	size_t na = addr_local_unquote(a, la), nb = addr_local_unquote(b, lb);

	if (na != nb || memcmp(la, lb, na) != 0)
		return false;
	if (a->domain_len == 0 || b->domain_len == 0)
		return a->domain_len == b->domain_len;
	return addr_domain_normalise(a->domain, a->domain_len, da) == 0 &&
	    addr_domain_normalise(b->domain, b->domain_len, db) == 0 &&
	    strcmp(da, db) == 0;
}
