/*
 * wire_name.c - names as they stand in packets. Pure; work is bounded by 255
 * octets and pointers that only go backwards (RFC 1035, 4.1.4).
 */
#include "lib/dns/wire_int.h"

#include <stdio.h>
#include <string.h>

#include "lib/dns/dns.h"

bool
wire_name_read(const struct pkt *k, size_t *off, struct name *ret)
{
	size_t at = *off, segment = *off, n = 0, i;
	bool jumped = false;
	uint8_t c;

	for (;;) {
		if (at >= k->len)
			return false;
		c = k->p[at];
		if ((c & 0xc0) == 0xc0) {
			if (at + 1 >= k->len)
				return false;
			if (!jumped)
				*off = at + 2;
			jumped = true;
			at = (size_t)(wire_u16_at(&k->p[at]) & 0x3fff);
			if (at >= segment || at < HEADER)
				return false;
			segment = at;
			continue;
		}
		if (c > DNS_LABEL_MAX)
			return false;
		if (k->len - at < (size_t)c + 1 || n + c + 1 > NAME_WIRE_MAX)
			return false;
		ret->w[n++] = c;
		for (i = 1; i <= c; i++)
			ret->w[n++] = wire_lower(k->p[at + i]);
		at += (size_t)c + 1;
		if (c == 0)
			break;
	}
	if (!jumped)
		*off = at;
	ret->len = n;
	return true;
}

bool
wire_name_skip(const struct pkt *k, size_t *off)
{
	struct name n;

	return wire_name_read(k, off, &n);
}

bool
wire_name_eq(const struct name *a, const struct name *b)
{
	return a->len == b->len && memcmp(a->w, b->w, a->len) == 0;
}

bool
wire_name_under(const struct name *n, const struct name *parent)
{
	size_t at = 0;

	for (; n->len - at > parent->len; at += (size_t)n->w[at] + 1)
		;
	return n->len - at == parent->len &&
	    memcmp(&n->w[at], parent->w, parent->len) == 0;
}

size_t
wire_name_text(const struct name *n, char *ret)
{
	char esc[5];
	size_t at, i, len = 0;
	uint8_t c;

	for (at = 0; n->w[at] != 0; at += (size_t)n->w[at] + 1) {
		if (at > 0) {
			if (ret != NULL)
				ret[len] = '.';
			len++;
		}
		for (i = 1; i <= n->w[at]; i++) {
			c = n->w[at + i];
			if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    c == '-' || c == '_') {
				if (ret != NULL)
					ret[len] = (char)c;
				len++;
				continue;
			}
			if (ret != NULL) {
				(void)snprintf(esc, sizeof(esc), "\\%03u", c);
				memcpy(&ret[len], esc, 4);
			}
			len += 4;
		}
	}
	if (ret != NULL)
		ret[len] = '\0';
	return len;
}
