/*
 * packet.h - hand-made DNS packets for tests: nothing of lib/dns makes them, so
 * a mistake there is not repeated here. Header only: a test is one file.
 */
#ifndef POSTERN_TESTS_DNS_PACKET_H
#define POSTERN_TESTS_DNS_PACKET_H

#include <stdint.h>
#include <string.h>

struct packet {
	uint8_t b[65535];
	size_t len;
	size_t rd_at; /* of the record that is open */
};

enum { SEC_AN = 6, SEC_NS = 8, SEC_AR = 10 }; /* offsets of the counts */
enum {
	F_QR = 0x8000,
	F_AA = 0x0400,
	F_TC = 0x0200,
	F_RA = 0x0080,
	F_AD = 0x20
};

static inline void
pk_u8(struct packet *p, unsigned v)
{
	p->b[p->len++] = (uint8_t)v;
}

static inline void
pk_u16(struct packet *p, unsigned v)
{
	pk_u8(p, v >> 8 & 0xff);
	pk_u8(p, v & 0xff);
}

static inline void
pk_u32(struct packet *p, uint32_t v)
{
	pk_u16(p, v >> 16);
	pk_u16(p, v & 0xffff);
}

static inline void
pk_bytes(struct packet *p, const void *data, size_t n)
{
	memcpy(&p->b[p->len], data, n);
	p->len += n;
}

/* "a.b" or "" for the root; "@" is a pointer to the question's name. */
static inline void
pk_name(struct packet *p, const char *name)
{
	const char *dot;
	size_t n;

	if (strcmp(name, "@") == 0) {
		pk_u16(p, 0xc00c);
		return;
	}
	while (*name != '\0') {
		dot = strchr(name, '.');
		n = dot == NULL ? strlen(name) : (size_t)(dot - name);
		pk_u8(p, (unsigned)n);
		pk_bytes(p, name, n);
		name += n + (dot != NULL);
	}
	pk_u8(p, 0);
}

/* A reply to query (as sent): header and question are taken over from it. */
static inline void
pk_reply(struct packet *p, const uint8_t *query, unsigned flags, unsigned rcode)
{
	size_t n = 12;

	while (query[n] != 0)
		n += (size_t)query[n] + 1;
	n += 5;
	memset(p, 0, 64);
	memcpy(p->b, query, n);
	p->b[2] = (uint8_t)((F_QR | flags) >> 8 | (query[2] & 1));
	p->b[3] = (uint8_t)((flags & 0xff) | rcode);
	memset(&p->b[6], 0, 6);
	p->len = n;
}

static inline void
pk_rr(struct packet *p, unsigned section, const char *owner, unsigned type,
    uint32_t ttl)
{
	unsigned n = (unsigned)(p->b[section] << 8 | p->b[section + 1]) + 1;

	p->b[section] = (uint8_t)(n >> 8);
	p->b[section + 1] = (uint8_t)n;
	pk_name(p, owner);
	pk_u16(p, type);
	pk_u16(p, 1);
	pk_u32(p, ttl);
	p->rd_at = p->len;
	pk_u16(p, 0);
}

static inline void
pk_rr_end(struct packet *p)
{
	size_t n = p->len - p->rd_at - 2;

	p->b[p->rd_at] = (uint8_t)(n >> 8);
	p->b[p->rd_at + 1] = (uint8_t)n;
}

static inline void
pk_a(struct packet *p, const char *owner, uint32_t ttl, unsigned last)
{
	pk_rr(p, SEC_AN, owner, 1, ttl);
	pk_u32(p, 0xc0000200u | last); /* 192.0.2.last */
	pk_rr_end(p);
}

static inline void
pk_cname(struct packet *p, const char *owner, uint32_t ttl, const char *to)
{
	pk_rr(p, SEC_AN, owner, 5, ttl);
	pk_name(p, to);
	pk_rr_end(p);
}

static inline void
pk_mx(struct packet *p, const char *owner, uint32_t ttl, unsigned pref,
    const char *host)
{
	pk_rr(p, SEC_AN, owner, 15, ttl);
	pk_u16(p, pref);
	pk_name(p, host);
	pk_rr_end(p);
}

static inline void
pk_soa(struct packet *p, const char *owner, uint32_t ttl, uint32_t minimum)
{
	pk_rr(p, SEC_NS, owner, 6, ttl);
	pk_name(p, "ns.example");
	pk_name(p, "hostmaster.example");
	pk_u32(p, 1);
	pk_u32(p, 3600);
	pk_u32(p, 600);
	pk_u32(p, 86400);
	pk_u32(p, minimum);
	pk_rr_end(p);
}

/* OPT; ede < 0 for none. */
static inline void
pk_opt(struct packet *p, unsigned upper_rcode, int ede, const char *text)
{
	pk_rr(p, SEC_AR, "", 41, upper_rcode << 24);
	if (ede >= 0) {
		pk_u16(p, 15);
		pk_u16(p, (unsigned)(2 + strlen(text)));
		pk_u16(p, (unsigned)ede);
		pk_bytes(p, text, strlen(text));
	}
	pk_rr_end(p);
	p->b[p->rd_at - 6] = 1232 >> 8;
	p->b[p->rd_at - 5] = 1232 & 0xff;
}

#endif
