/*
 * ssl.h - give a host's TLSA records to OpenSSL, and read what it found.
 *
 * Called by lib/tls for a connection of level dane, by posternctl and by tests.
 * OpenSSL's DANE has edges that cut, all measured: it accepts usages 0 and 1; with
 * no record that it can use it checks by PKIX without a word and reports success;
 * it checks names for DANE-EE unless told otherwise; a resumed session reports
 * success whatever the records say. This file is where they are blunted: only
 * records that count are given, the caller is told when none was taken, and a
 * proof is a match, not a verify result.
 *
 * Sources: RFC 7671, 7672 section 3; SSL_CTX_dane_enable(3); standards DANE-25 to
 * DANE-36.
 */
#ifndef POSTERN_DANE_SSL_H
#define POSTERN_DANE_SSL_H

#include "lib/dane/names.h"
#include "lib/dane/tlsa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st;	      /* SSL */
struct stack_st_X509; /* STACK_OF(X509) */

enum { DANE_SSL_NAMES_MAX = 16, DANE_NAME_SIZE = 256 };

/* What a certificate must satisfy. Borrowed for the call. */
struct dane_want {
	/* names for DANE-TA; the first is the TLSA base domain, and SNI */
	const char *names[DANE_SSL_NAMES_MAX];
	size_t n_names; /* at least 1 */
	const struct facts_tlsa_rr *rrs;
	size_t n_rrs;
};

/*
 * Before the handshake. Returns how many records OpenSSL took. 0: none can be
 * used; the connection must still be encrypted, and proves nothing, whatever
 * SSL_get_verify_result() says. -ENOMEM or PE_TLS (an error that is not the
 * record's: do not connect).
 */
int dane_ssl_apply(struct ssl_st *ssl, const struct dane_want *want);

/* What the handshake proved. */
struct dane_proof {
	bool ok;    /* a record matched, and all that it demands holds */
	int depth;  /* of the certificate that it matched; -1 when not ok */
	int record; /* its place in want->rrs, or -1 */
	uint8_t usage, selector, mtype; /* of the record, when ok */
	long verify; /* X509_V_*: why not; X509_V_ERR_DANE_NO_MATCH */
	/* the name that the certificate has; "" for DANE-EE, which has no need
	 * of one */
	char name[DANE_NAME_SIZE];
};

/*
 * After a full handshake, with the want of dane_ssl_apply(), or NULL: then record
 * is always -1. A resumed handshake proves nothing here: the label of its session
 * is the proof (dane_digest()).
 */
void dane_ssl_result(struct ssl_st *ssl, const struct dane_want *want,
    struct dane_proof *ret_proof);

/*
 * The same for a chain at hand (leaf first), at the time now_s (Unix seconds).
 * Returns as dane_ssl_apply(); ret_proof is filled when that is over 0.
 */
int dane_chain_verify(const struct dane_want *want, struct stack_st_X509 *chain,
    int64_t now_s, struct dane_proof *ret_proof);

/* The result type of RFC 8460 section 4.3 for a proof that failed; static. */
const char *dane_tlsrpt(long verify);

#endif
