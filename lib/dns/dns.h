/*
 * dns.h - DNS names and answers as every process sees them.
 *
 * resolver makes answers, the others read them. An answer always says how far
 * it may be trusted (RFC 7672, 2.1.1), and one that could not be had carries
 * nothing that could be mistaken for "there is no such record". The zero of
 * each enum here is the one that promises least.
 *
 * Sources: RFC 1035, 2181, 2308, 4035, 6698, 7672, 8914.
 */
#ifndef POSTERN_DNS_DNS_H
#define POSTERN_DNS_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum {
	DNS_NAME_MAX = 253,	     /* characters of a name without last dot */
	DNS_LABEL_MAX = 63,	     /* octets of a label */
	DNS_NAME_SIZE = 254,	     /* storage for a normalised name */
	DNS_TEXT_SIZE = 1024,	     /* storage for any name, escaped */
	DNS_CHAIN_MAX = 16,	     /* CNAME links that are followed */
	DNS_ANSWER_MAX = 256 * 1024, /* bytes of an encoded answer */
	DNS_ANSWER_RRS_MAX = 1024,   /* records of one answer */
	DNS_REASON_SIZE = 320,	     /* storage for the reason text */
	DNS_EDE_NONE = 0xffff,	     /* no extended error (RFC 8914) came */
};

/* Types that can be asked for; the numbers are those of the wire. */
enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_TLSA = 52,
};

enum dns_state {
	DNS_INDETERMINATE, /* could not find out: outage, bogus, malformed */
	DNS_INSECURE,	   /* an answer that nobody vouches for */
	DNS_SECURE,	   /* validated by a resolver that we trust */
};

enum dns_kind {
	DNS_NONE,     /* only with DNS_INDETERMINATE: nothing is known */
	DNS_DATA,     /* at least one record */
	DNS_NODATA,   /* the name exists, not with this type */
	DNS_NXDOMAIN, /* the name does not exist */
};

/* Why an answer is indeterminate. */
enum dns_why {
	DNS_WHY_NONE,	     /* it is not */
	DNS_WHY_TIMEOUT,     /* no server answered in time */
	DNS_WHY_NETWORK,     /* no server could be reached */
	DNS_WHY_SERVFAIL,    /* outage behind the server */
	DNS_WHY_BOGUS,	     /* validation failed (TLSRPT: dnssec-invalid) */
	DNS_WHY_REFUSED,     /* REFUSED, NOTIMP, FORMERR, other rcodes */
	DNS_WHY_TRUNCATED,   /* TC, and TCP did not help */
	DNS_WHY_MALFORMED,   /* the reply breaks the format, or is too large */
	DNS_WHY_CHAIN,	     /* CNAME chain too long, or a loop */
	DNS_WHY_BUSY,	     /* a bound of the resolver was reached */
	DNS_WHY_NAME,	     /* the name cannot be asked for */
	DNS_WHY_GONE,	     /* the resolver went away or stops */
	DNS_WHY_UNVALIDATED, /* only a server answered that does not validate,
			      * while another one does */
};

/*
 * One record. host is never NULL: "" is the root (a null MX, RFC 7505) or "not
 * of this type". A host out of a reply may be no host name at all: bytes that
 * are not letter, digit, '-' or '_' stand as \DDD, so check it with
 * dns_name_normalise() before use (standards DNS-08).
 */
struct dns_rr {
	uint16_t preference; /* MX */
	uint8_t usage;	     /* TLSA */
	uint8_t selector;    /* TLSA */
	uint8_t mtype;	     /* TLSA */
	const char *host;    /* MX, CNAME: lower case, no trailing dot */
	const uint8_t *data; /* A: 4 bytes, AAAA: 16, network order;
				* TXT: strings joined without spaces, any byte;
				* TLSA: certificate association data */
	size_t data_len;     /* bytes */
};

/*
 * An answer. Those that functions return are one heap block that owns all it
 * points to; tests may fill one by hand with borrowed pointers.
 *
 * state == DNS_INDETERMINATE exactly when kind == DNS_NONE and why is not
 * DNS_WHY_NONE; rrs_len > 0 exactly when kind == DNS_DATA.
 */
struct dns_answer {
	enum dns_state state; /* the weakest link of the whole chain */
	enum dns_kind kind;
	enum dns_why why;
	uint16_t type;	    /* enum dns_type: what was asked */
	uint16_t ede;	    /* RFC 8914 code, or DNS_EDE_NONE */
	uint32_t ttl_s;	    /* remaining; smallest of chain and records */
	bool chain;	    /* a CNAME was followed: canon differs from name */
	const char *name;   /* asked, normalised */
	const char *canon;  /* where the chain ended; may be escaped */
	const char *reason; /* for people; "" when not indeterminate */
	const struct dns_rr *rrs; /* in the order of the reply */
	size_t rrs_len;
};

/*
 * Bring a name into the one form in which names are compared, cached and
 * logged: lower case, no trailing dot. Accepts letters, digits, '-' and '_'
 * (conversion to A-labels happens at the edge). 0, PE_SYNTAX (empty label,
 * other bytes, the root), PE_TOO_LONG (label over 63, name over 253).
 */
int dns_name_normalise(const char *in, char ret_name[DNS_NAME_SIZE]);

/* True when normalise would accept it and change nothing. */
bool dns_name_is_normal(const char *name);

/* True when name is parent or below it; "" is the parent of all. Both lower
 * case without trailing dot. */
bool dns_name_under(const char *name, const char *parent);

/* True when the last label is all digits: an address, not a host name. */
bool dns_name_is_numeric(const char *name);

/*
 * Append the flat form of an answer, for IPC. 0, -EINVAL when the answer breaks
 * its own rules (nothing is appended), PE_FULL, -ENOMEM.
 */
int dns_answer_encode(const struct dns_answer *a, struct buf *b);

/*
 * Take an answer out of exactly len bytes. Borrows the bytes; *ret_answer is
 * the caller's, to be given to dns_answer_free(). 0, PE_SYNTAX (short, long, or
 * against any rule above), PE_TOO_LONG, -ENOMEM.
 */
int dns_answer_decode(
    const uint8_t *bytes, size_t len, struct dns_answer **ret_answer);

/* A deep copy in one block. 0, -EINVAL, PE_TOO_LONG, -ENOMEM. */
int dns_answer_dup(const struct dns_answer *a, struct dns_answer **ret_answer);

/*
 * An indeterminate answer for name. reason may be NULL (then the text for why),
 * is cut to DNS_REASON_SIZE and made printable. NULL when memory is short or
 * name is not normalised and not DNS_WHY_NAME.
 */
struct dns_answer *dns_answer_failed(const char *name, uint16_t type,
    enum dns_why why, uint16_t ede, const char *reason);

/*
 * One record for people: "192.0.2.1", "10 mx.example", "3 1 1 ab01...", a TXT
 * between single quotes, escaped. Cut with "..." at size. Returns buf.
 */
const char *dns_rr_text(
    uint16_t type, const struct dns_rr *rr, char *buf, size_t size);

/* All records, with commas between, in parentheses. Returns buf. */
const char *dns_answer_text(const struct dns_answer *a, char *buf, size_t size);

/* For answers of the functions above; NULL is fine. */
void dns_answer_free(struct dns_answer *a);

/* Bytes of memory that an answer of the functions above holds. */
size_t dns_answer_size(const struct dns_answer *a);

/* Words for logs and JSON; static storage, never NULL. */
const char *dns_state_str(enum dns_state state); /* "secure", ... */
const char *dns_kind_str(enum dns_kind kind);	 /* "data", "nxdomain", ... */
const char *dns_why_str(enum dns_why why);	 /* "timeout", "bogus", ... */
const char *dns_type_str(uint16_t type);	 /* "MX", ..., "?" */
bool dns_type_known(uint16_t type);		 /* one of enum dns_type */

#endif
