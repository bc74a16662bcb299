/*
 * client.h - the client side of TLS: trust, what a server proved, and sessions
 * that are only resumed for what they proved.
 *
 * Called by deliver for each STARTTLS, by posternctl's checks and by tests. No
 * file is opened: certificates come as PEM bytes. Verification never breaks the
 * handshake (SSL_VERIFY_NONE): what was proven is recorded, and the caller
 * decides by its verdict before a single command follows (RFC 3207, 4.1).
 *
 * OpenSSL resumes a session without looking at certificates again, and then
 * says "verified" (measured). So a session is kept under everything its proof
 * depends on, with the proof as a label; a resumed connection has that proof
 * and no other. Sources: RFC 3207, 8446, 9325, 9525; X509_check_host(3).
 */
#ifndef POSTERN_TLS_CLIENT_H
#define POSTERN_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dane_want;
struct tls;
struct tls_client;
struct tls_link;
struct tls_identity;

enum {
	TLS_WANT_NAMES = 8,
	TLS_NAME_SIZE = 256,
	TLS_SESSIONS_MAX = 4096, /* kept in one client */
	/* of those, for one peer and claim: each serves one connection, and
	 * several connections to a host open at once */
	TLS_SESSIONS_PER_CLAIM = 8,
	TLS_SESSION_LIFE_S = 3600, /* at most; less when the ticket says */
};

/*
 * A client with this CA list (PEM, any number of certificates; len 0: nobody
 * is trusted). Counted; -ENOMEM, or PE_TLS with why (of why_len bytes).
 * *ret_cas (may be NULL) is how many certificates were taken.
 */
int tls_client_new(const uint8_t *ca_pem, size_t len,
    struct tls_client **ret_client, size_t *ret_cas, char *why, size_t why_len);
void tls_client_unref(struct tls_client *c); /* NULL is fine */

/* A client certificate. 0, -ENOMEM, PE_TLS with why. */
int tls_identity_new(const uint8_t *cert_pem, size_t cert_len,
    const uint8_t *key_pem, size_t key_len, struct tls_identity **ret_identity,
    char *why, size_t why_len);
void tls_identity_free(struct tls_identity *id);

/* What a connection is made for. Borrowed for the call. */
struct tls_want {
	const char *peer;  /* "192.0.2.1:25": whom we speak to */
	const char *sni;   /* host name, or NULL (an address) */
	const char *claim; /* level and policy that the session serves, as text:
			    * no session is resumed for another claim */
	const char *names[TLS_WANT_NAMES];   /* names to look for; NULL ends */
	const struct tls_identity *identity; /* or NULL; outlives the link */
	bool any_strength; /* without a demand, weak keys beat clear text */
	/* level dane (RFC 7672): records and names, with their label: 32 bytes
	 * of dane_digest(), so that no session is resumed for another set.
	 * NULL: no DANE; then the label is not looked at */
	const struct dane_want *dane;
	const uint8_t *dane_label;
	/* sessions live no longer than this; 0: TLS_SESSION_LIFE_S. Under DANE
	 * the remaining TTL of the records */
	uint32_t life_s;
};

/* A connection to be; keeps the client counted. 0, -ENOMEM, PE_TLS. */
int tls_link_new(struct tls_client *c, const struct tls_want *want,
    struct tls_link **ret_link);
void tls_link_free(struct tls_link *l); /* NULL is fine */

/* The pump: feed, handshake, read, write. Owned by the link. */
struct tls *tls_link_pump(struct tls_link *l);

/* What the server proved; valid when the handshake is done. */
struct tls_proved {
	bool resumed;
	bool peer_cert;
	bool trusted; /* chain to the CA list, dates and purpose good */
	bool expired; /* not trusted because of a date */
	/* with want.dane: a record matched. trusted is then false whatever
	 * OpenSSL says: with records it checks those, and with none that it can
	 * use it checks by PKIX without a word */
	bool dane;
	bool dane_unusable; /* OpenSSL took none of the records */
	int dane_depth;	    /* with dane: of the certificate that matched */
	uint8_t dane_rr[3]; /* usage, selector, matching type of the record */
	long verify;	    /* X509_V_*: the first error, 0 for none */
	size_t n_names;
	/* those of want.names that are in the certificate: SAN dNSName only,
	 * a wildcard covers one whole label (RFC 9525, 6.3) */
	char names[TLS_WANT_NAMES][TLS_NAME_SIZE];
};
void tls_link_prove(struct tls_link *l, struct tls_proved *ret_proved);

/* The proof was enough: its sessions may be resumed for the same claim. Before
 * this call none is kept. */
void tls_link_keep(struct tls_link *l);

/* The names of a certificate in one line, for a log: "mx1.example, …". */
const char *tls_link_cert_names(struct tls_link *l, char *buf, size_t len);

/* Counters for metrics. */
struct tls_client_stats {
	uint64_t full, resumed;
	size_t sessions;
};
void tls_client_stats(const struct tls_client *c, struct tls_client_stats *ret);

#endif
