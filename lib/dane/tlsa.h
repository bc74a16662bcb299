/*
 * tlsa.h - TLSA records: which of them count.
 *
 * Called by whoever turns a DNS answer into facts, by the code that gives the
 * records to OpenSSL, by posternctl, tests and the fuzzer. Pure: no I/O. A record
 * that cannot be used never makes the others unusable, and a set without a usable
 * record is never "no records" (RFC 7672, 2.2): the caller is told which it is.
 *
 * Sources: RFC 6698 sections 2 and 4.1; RFC 7671 sections 5 and 9; RFC 7672
 * section 3; standards DANE-24, DANE-34, DANE-35.
 */
#ifndef POSTERN_DANE_TLSA_H
#define POSTERN_DANE_TLSA_H

#include "lib/verdict/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* that count for one host; what is over it is left out, which can only
	 * make fewer certificates match */
	DANE_RECORDS_MAX = 64,
};

/* What becomes of a record. */
enum dane_fate {
	DANE_COUNTS,	/* one of those that one must match */
	DANE_SHORT,	/* no data behind the three numbers */
	DANE_USAGE,	/* 0 and 1 (PKIX), or not known */
	DANE_SELECTOR,	/* not known */
	DANE_MATCHING,	/* not known */
	DANE_LENGTH,	/* not the length of its digest */
	DANE_UNDECODED, /* Full(0): neither certificate nor key in DER */
	DANE_WEAKER,	/* a stronger digest stands beside it (7671, 9) */
	DANE_OVER,	/* over DANE_RECORDS_MAX */
};

/* A sentence without its end; static. */
const char *dane_fate_text(enum dane_fate fate);

/*
 * RDATA of a TLSA record. Borrows the bytes: ret_rr->data points into them. 0,
 * or PE_SYNTAX when there are fewer than three (such a record is unusable).
 */
int dane_rdata_parse(
    const uint8_t *rdata, size_t len, struct facts_tlsa_rr *ret_rr);

/*
 * "3 1 1 0AB1…", as in a zone file: the digits may have spaces between them.
 * data (of size bytes) takes the decoded data and must live as long as ret_rr.
 * 0, PE_SYNTAX, PE_TOO_LONG.
 */
int dane_text_parse(
    const char *text, uint8_t *data, size_t size, struct facts_tlsa_rr *ret_rr);

/* Can the record be used, looked at by itself? Never WEAKER or OVER. */
enum dane_fate dane_rr_fate(const struct facts_tlsa_rr *rr);

/*
 * Those of n records that count: usable, and for each usage and selector Full(0)
 * and the strongest digest. ret_rrs has room for DANE_RECORDS_MAX; its records
 * point to the same data. ret_fates (n of them) may be NULL. Returns how many; 0
 * means that TLS is a must and authentication impossible (7672, 2.2).
 */
size_t dane_select(const struct facts_tlsa_rr *rrs, size_t n,
    struct facts_tlsa_rr *ret_rrs, enum dane_fate *ret_fates);

/* Does a certificate need one of the names? Not when each record is DANE-EE. */
bool dane_needs_name(const struct facts_tlsa_rr *rrs, size_t n);

/*
 * A digest of base domain and set, whatever its order: the label under which a
 * connection or a session that was proven with it may be used again (DANE-39).
 * 0 or -ENOMEM.
 */
int dane_digest(const char *base, const struct facts_tlsa_rr *rrs, size_t n,
    uint8_t ret_digest[FACTS_TLSA_DIGEST_LEN]);

#endif
