/*
 * addr.h - mail addresses: check, take apart without copying, compare.
 *
 * Grammar: RFC 5321 sections 4.1.2 (Mailbox, Path) and 4.1.3 (address
 * literals), extended for UTF-8 by RFC 6531 section 3.3. This is the grammar
 * of the envelope: no comments, no folding space, none of the obsolete forms
 * of RFC 5322. Limits of RFC 5321 4.5.3.1: local-part 64 octets, domain 255,
 * path 256 with its brackets, so a mailbox has at most 254; label 63.
 */
#ifndef POSTERN_MAIL_ADDR_H
#define POSTERN_MAIL_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	ADDR_LOCAL_MAX = 64,
	ADDR_DOMAIN_MAX = 255,
	ADDR_MAX = 254,	     /* local@domain */
	ADDR_PATH_MAX = 256, /* <local@domain> */
	ADDR_LABEL_MAX = 63,
};

/* What beside plain RFC 5321 is allowed. */
enum addr_flags {
	ADDR_UTF8 = 1 << 0, /* RFC 6531 local parts and U-labels */
};

/* Pointers into the caller's text, none terminated. */
struct addr {
	const char *text; /* local@domain, without a source route */
	size_t len;
	const char *local; /* as written, quotes and all */
	size_t local_len;
	const char *domain; /* as written; a literal with its brackets */
	size_t domain_len;
	bool quoted;	  /* local is a quoted string */
	bool literal;	  /* domain is an address literal */
	bool local_utf8;  /* local has non-ASCII: needs SMTPUTF8 */
	bool domain_utf8; /* domain has U-labels: an A-label form exists */
};

/*
 * Take apart text[0..len), a Mailbox and nothing else (no brackets). Borrows
 * text, and *ret_addr points into it. 0 or PE_SYNTAX or PE_TOO_LONG, then
 * *ret_reason (may be NULL) is a static sentence for people.
 */
int addr_parse(const char *text, size_t len, unsigned flags,
    struct addr *ret_addr, const char **ret_reason);

/*
 * Take a Path from the start of text[0..len): "<" [source route] mailbox ">".
 * The route is checked and left out (RFC 5321, appendix C). "<>" gives an
 * address with len 0. "<postmaster>" in any case, without domain, is taken
 * too (4.1.1.3): domain_len is 0; callers that do not want it look there.
 * Returns the bytes used, or a negative code as addr_parse() does.
 */
ssize_t addr_parse_path(const char *text, size_t len, unsigned flags,
    struct addr *ret_addr, const char **ret_reason);

/* The verdict on an address for people: `posternctl addr check`. */
struct addr_verdict {
	bool valid;	    /* a Mailbox by RFC 5321, or by RFC 6531 */
	bool needs_utf8;    /* valid only with SMTPUTF8 */
	const char *reason; /* why (not), static */
};
void addr_check(const char *text, size_t len, struct addr_verdict *ret_verdict);

/* Is it "[...]"? Looks at the brackets only. */
bool addr_domain_is_literal(const char *domain, size_t len);

/*
 * Is it a Domain by the grammar: letters, digits, inner hyphens, labels of 1
 * to 63, no dot at the end, with ADDR_UTF8 also U-labels? One label is fine.
 */
bool addr_domain_valid(const char *domain, size_t len, unsigned flags);

/*
 * The form that everything compares and stores: lower case, A-labels; for an
 * address literal "[192.0.2.1]" or "[ipv6:...]" in RFC 5952 form. Writes at
 * most 256 bytes with the terminator. 0, PE_SYNTAX when it is neither a domain
 * nor a literal, or PE_TOO_LONG.
 */
int addr_domain_normalise(
    const char *domain, size_t len, char ret_domain[ADDR_DOMAIN_MAX + 1]);

/*
 * The address in a literal. *ret_family is AF_INET or AF_INET6 and ret_ip gets
 * 4 or 16 bytes. 0 or PE_SYNTAX. Strict: RFC 5321 4.1.3, so "::" stands for
 * two groups or more, no zone, the only tag known is IPv6.
 */
int addr_literal_parse(
    const char *domain, size_t len, int *ret_family, uint8_t ret_ip[16]);

/*
 * The local part's meaning: quotes and backslashes taken away (RFC 5321,
 * 4.1.2: "a\b" and "ab" and ab are one). Writes at most ADDR_LOCAL_MAX bytes
 * and a terminator; returns the length.
 */
size_t addr_local_unquote(
    const struct addr *addr, char ret_local[ADDR_LOCAL_MAX + 1]);

/* Same mailbox? Local parts by meaning and case, domains normalised. */
bool addr_equal(const struct addr *a, const struct addr *b);

#endif
