/*
 * wire.h - DNS packets: build a question, walk a reply.
 *
 * Called by resolver/, by tests and by the fuzzer. Pure: bytes in, values out.
 * A reply is either understood whole or not at all: one broken record of the
 * RRset that was asked for makes the reply malformed (standards DNS-03).
 *
 * Sources: RFC 1035 section 4, 2181 sections 5 and 8, 2308, 3225, 6604, 6840
 * section 5.7, 6891, 8914.
 */
#ifndef POSTERN_DNS_WIRE_H
#define POSTERN_DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/dns/dns.h"

enum {
	DNS_EDNS_UDP_SIZE = 1232,
	DNS_QUERY_SIZE = 12 + 255 + 4 + 11, /* the largest question */
};

/* Bits of a question; RD is always set. */
enum {
	DNS_Q_AD = 1, /* "tell me whether you validated" (RFC 6840, 5.7) */
	DNS_Q_DO = 2, /* send signatures too (RFC 3225) */
	DNS_Q_CD = 4, /* answer even if validation fails (RFC 4035, 3.2.2) */
	DNS_Q_NO_OPT = 8, /* for servers without EDNS; no DO then */
};

enum {
	DNS_RCODE_NOERROR = 0,
	DNS_RCODE_FORMERR = 1,
	DNS_RCODE_SERVFAIL = 2,
	DNS_RCODE_NXDOMAIN = 3,
	DNS_RCODE_NOTIMP = 4,
	DNS_RCODE_REFUSED = 5,
};

/*
 * Build a question for a normalised name. mix, when not NULL, is 32 random
 * bytes that decide the case of each letter (0x20). Returns the length, or
 * -EINVAL when the name is not normalised.
 */
int dns_query_build(const char *name, uint16_t type, uint16_t id,
    unsigned flags, const uint8_t *mix, uint8_t ret_query[DNS_QUERY_SIZE]);

enum dns_reply_kind {
	DNS_REPLY_ERROR,  /* why says what; there is no answer */
	DNS_REPLY_ANSWER, /* answer is complete */
	DNS_REPLY_CHAIN,  /* the chain leaves the packet: ask answer->canon */
};

struct dns_reply {
	enum dns_reply_kind kind;
	enum dns_why why;   /* with DNS_REPLY_ERROR */
	const char *detail; /* static text to why, or "" */
	uint16_t rcode;	    /* with the upper bits of OPT */
	uint16_t ede;	    /* first EDE option, or DNS_EDE_NONE */
	char ede_text[128]; /* its text, made printable, cut */
	bool ad, aa, tc;
	bool has_opt;
	unsigned links; /* CNAMEs followed inside the packet */
	/*
	 * Owned by the reply: steal it by setting it to NULL. Its state is
	 * DNS_INSECURE; whoever knows what ad is worth here raises it. With
	 * DNS_REPLY_CHAIN its kind is DNS_NODATA and ttl_s the smallest of the
	 * links.
	 */
	struct dns_answer *answer;
};

/*
 * Walk the reply to query (as dns_query_build() made it). Borrows both. Returns
 * 0 when *ret_reply was filled (dns_reply_done() it), also for all kinds of
 * broken replies; -EINVAL when query is not ours; PE_NOT_FOUND when this is no
 * reply to that question (other id, name, type; with mixed case: other case);
 * -ENOMEM.
 */
int dns_reply_parse(const uint8_t *pkt, size_t len, const uint8_t *query,
    size_t query_len, struct dns_reply *ret_reply);

void dns_reply_done(struct dns_reply *reply);

/* EDE code that says "validation failed": 6 to 12 and 25 (RFC 8914). */
bool dns_ede_is_bogus(uint16_t ede);

/* Name of an EDE code, or "" */
const char *dns_ede_str(uint16_t ede);

#endif
