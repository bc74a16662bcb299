/*
 * server.h - the TLS settings of a listener, from PEM bytes in memory.
 *
 * Called by smtpd (and whoever serves TLS) at start and at reload, with the
 * contents that conf_file() gives: no file is opened, so it works behind the
 * last lock. Sources: RFC 9325 (BCP 195), RFC 3207.
 */
#ifndef POSTERN_TLS_SERVER_H
#define POSTERN_TLS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_ctx_st; /* SSL_CTX */

struct tls_server_conf {
	/* binds tickets to this listener and its rights; at most 64 KiB */
	const char *name;
	const uint8_t *cert; /* PEM: leaf first, then the chain */
	size_t cert_len;
	const uint8_t *key; /* PEM, not encrypted */
	size_t key_len;
	/* PEM; NULL: no client certificate is asked for. A client may go
	 * without one, or show one that does not verify: the handshake goes
	 * on, and tls_info() tells (peer_cert, verify_result). It gives
	 * rights, so only verify_result 0 counts. */
	const uint8_t *client_ca;
	size_t client_ca_len;
	bool min_13; /* TLS 1.3 only */
};

/*
 * Make the context. 0 and *ret_ctx (the caller's, SSL_CTX_free()); -ENOMEM, or
 * PE_TLS, and then why (of why_len bytes) says what is wrong: "certificate: no
 * start line", "key does not belong to the certificate".
 */
int tls_server_ctx(const struct tls_server_conf *conf,
    struct ssl_ctx_st **ret_ctx, char *why, size_t why_len);

#endif
