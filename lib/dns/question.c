/*
 * question.c - build the packet of a question. Pure.
 */
#include "lib/dns/wire.h"

#include <errno.h>
#include <string.h>

#include "lib/dns/wire_int.h"

static void
put_u16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

int
dns_query_build(const char *name, uint16_t type, uint16_t id, unsigned flags,
    const uint8_t *mix, uint8_t ret_query[DNS_QUERY_SIZE])
{
	uint8_t *q = ret_query, *label;
	size_t i, n = HEADER;
	char c;

	if (!dns_name_is_normal(name))
		return -EINVAL;
	memset(q, 0, DNS_QUERY_SIZE);
	put_u16(q, id);
	q[2] = 0x01; /* RD */
	q[3] = (uint8_t)((flags & DNS_Q_AD ? 0x20 : 0) |
	    (flags & DNS_Q_CD ? 0x10 : 0));
	q[5] = 1;			     /* one question */
	q[11] = (flags & DNS_Q_NO_OPT) == 0; /* one additional: OPT */
	label = &q[n++];
	for (i = 0; name[i] != '\0'; i++) {
		c = name[i];
		if (c == '.') {
			label = &q[n++];
			continue;
		}
		if (mix != NULL && c >= 'a' && c <= 'z' &&
		    (mix[i / 8] >> (i % 8) & 1) != 0)
			c = (char)(c - 'a' + 'A');
		q[n++] = (uint8_t)c;
		++*label;
	}
	n++; /* root */
	put_u16(&q[n], type);
	put_u16(&q[n + 2], CLASS_IN);
	n += 4;
	if ((flags & DNS_Q_NO_OPT) != 0)
		return (int)n;
	q[n++] = 0; /* owner of OPT */
	put_u16(&q[n], TYPE_OPT);
	put_u16(&q[n + 2], DNS_EDNS_UDP_SIZE);
	q[n + 6] = (uint8_t)(flags & DNS_Q_DO ? 0x80 : 0);
	/* no options: c-ares cuts exactly 11 bytes off when it gives up EDNS */
	return (int)n + 10;
}
