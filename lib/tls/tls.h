/*
 * tls.h - one TLS connection as a pump: bytes in, bytes out, no socket, no loop.
 *
 * Called by smtpd (server side) and deliver (client side), and by tests that
 * wire two of them together. Ciphertext that came from the socket is given in
 * with tls_feed(); what must go to the socket waits in tls_out(). After every
 * call of tls_feed(), tls_handshake(), tls_read(), tls_write() or
 * tls_shutdown(), send what waits. Whoever stops calling tls_read() stops
 * reading the socket too, so that nothing piles up.
 *
 *	tls_feed(t, buf, n);
 *	if (!tls_is_up(t)) {
 *		r = tls_handshake(t);	     1 done, 0 more bytes needed, < 0
 *		...
 *	}
 *	while ((n = tls_read(t, plain, sizeof(plain))) > 0)
 *		...
 *	send tls_out(t), also after an error: it may hold an alert
 *
 * An idle connection keeps no buffers (SSL_MODE_RELEASE_BUFFERS, and ours are
 * freed when empty). No renegotiation, no compression, no early data, TLS 1.2
 * or later. What is verified, and how, is set on the SSL_CTX or on tls_ssl()
 * before the first tls_handshake(). Sources: RFC 3207, 8446, 9325;
 * SSL_read(3), bio(7).
 */
#ifndef POSTERN_TLS_TLS_H
#define POSTERN_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ssl_st;	   /* SSL */
struct ssl_ctx_st; /* SSL_CTX */
struct tls;

enum {
	TLS_IN_MAX = 256 * 1024,    /* ciphertext fed and not yet read */
	TLS_OUT_MAX = 512 * 1024,   /* ciphertext not yet sent */
	TLS_WRITE_MAX = 256 * 1024, /* plaintext that always fits into an empty
				     * output with its overhead */
};

enum tls_side { TLS_CLIENT, TLS_SERVER };

/*
 * A context with the settings both sides share: TLS 1.2 or later (with min_13:
 * TLS 1.3 only), options and modes as described above, no session cache inside.
 * The caller adds certificates, stores and verification, and frees it with
 * SSL_CTX_free(). 0, -ENOMEM or PE_TLS.
 */
int tls_ctx_new(enum tls_side side, bool min_13, struct ssl_ctx_st **ret_ctx);

/* A connection under ctx (which it keeps counted). 0, -ENOMEM or PE_TLS. */
int tls_new(struct ssl_ctx_st *ctx, enum tls_side side, struct tls **ret_tls);

/*
 * NULL is fine. A session that is not broken stays resumable even when the peer
 * left without close_notify, as mail servers do (see SSL_set_shutdown(3)).
 */
void tls_free(struct tls *t);

/* For what is set before the handshake (SNI, DANE, session) and asked after. */
struct ssl_st *tls_ssl(struct tls *t);

/* Ciphertext from the socket; copied. 0, PE_FULL over TLS_IN_MAX, -ENOMEM. */
int tls_feed(struct tls *t, const void *data, size_t len);

/*
 * Go on with the handshake. 1: done (tls_is_up()); 0: more bytes are needed;
 * PE_TLS: failed, tls_error() says why. A client calls it once before anything
 * was fed, to send its hello.
 */
int tls_handshake(struct tls *t);
bool tls_is_up(const struct tls *t);

/*
 * Plaintext. The bytes read (at most len); 0: no more for now; PE_GONE: the
 * peer said close_notify; PE_TLS: broken. Only after the handshake.
 */
ssize_t tls_read(struct tls *t, void *buf, size_t len);

/* Bytes were fed that tls_read() has not looked at yet. */
bool tls_has_input(const struct tls *t);

/*
 * Encrypt all of data. 0; PE_FULL when the output would go over TLS_OUT_MAX
 * (nothing was taken; send first); PE_TLS. Only after the handshake.
 */
int tls_write(struct tls *t, const void *data, size_t len);

/* What waits for the socket: borrowed until the next call. Returns its length.
 * After sending (or copying into the write request) n bytes, drop them. */
size_t tls_out(const struct tls *t, const uint8_t **ret_data);
void tls_out_drop(struct tls *t, size_t n);

/* Put close_notify into the output. Harmless when broken or not up. */
void tls_shutdown(struct tls *t);

/*
 * Why it failed, for a log line: "no shared cipher", "certificate verify failed
 * (self-signed certificate)". Never NULL, owned by t. "" when nothing failed.
 */
const char *tls_error(const struct tls *t);

/* Facts of an established connection. Strings are owned by t or static. */
struct tls_info {
	const char *protocol; /* "TLSv1.3" */
	const char *cipher;   /* "TLS_AES_256_GCM_SHA384" */
	const char *sni;      /* name the client asked for, or NULL */
	bool resumed;
	bool peer_cert;	    /* the peer showed a certificate */
	long verify_result; /* X509_V_OK is 0; the first error otherwise */
	const char *verify_text;
};
void tls_info(const struct tls *t, struct tls_info *ret_info);

/*
 * Names in the peer's certificate: DNS and e-mail alternative names, and the
 * common name only when there are none of them. Lower case except the local
 * part of addresses. Names with bytes outside printable ASCII are left out.
 */
enum { TLS_NAMES_MAX = 64 };
struct tls_names {
	size_t n;
	char *v[TLS_NAMES_MAX];
};
/* 0 (n may be 0) or -ENOMEM. Done with tls_names_done(). */
int tls_peer_names(const struct tls *t, struct tls_names *ret_names);
void tls_names_done(struct tls_names *names);

/*
 * The newest entry of OpenSSL's error queue as text, and the queue emptied;
 * "unknown error" when it holds none. Copies into buf, returns buf.
 */
const char *tls_errors_take(char *buf, size_t len);

#endif
