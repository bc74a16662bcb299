/*
 * server.c - an SSL_CTX for a listener out of bytes in memory: see server.h.
 */
#include "lib/tls/server.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/tls/tls.h"

static int
fail(char *why, size_t why_len, const char *what)
{
	char text[120];

	(void)snprintf(
	    why, why_len, "%s: %s", what, tls_errors_take(text, sizeof(text)));
	return PE_TLS;
}

/* A PEM file that asks for a pass phrase is refused, never prompted for. */
static int
no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static BIO *
open_mem(const uint8_t *data, size_t len)
{
	return len > INT_MAX ? NULL : BIO_new_mem_buf(data, (int)len);
}

/* Does the error queue only say that the file ended? Then forget it. */
static bool
at_end_of_pem(void)
{
	unsigned long e = ERR_peek_last_error();

	if (ERR_GET_LIB(e) != ERR_LIB_PEM ||
	    ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
		return false;
	ERR_clear_error();
	return true;
}

static int
use_chain(
    SSL_CTX *ctx, const struct tls_server_conf *conf, char *why, size_t why_len)
{
	BIO *bio = open_mem(conf->cert, conf->cert_len);
	X509 *x;
	int r = 0;

	if (bio == NULL)
		return -ENOMEM;
	x = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
	if (x == NULL || SSL_CTX_use_certificate(ctx, x) != 1)
		r = fail(why, why_len, "certificate");
	X509_free(x);
	while (r == 0) {
		x = PEM_read_bio_X509(bio, NULL, no_password, NULL);
		if (x == NULL) {
			if (!at_end_of_pem())
				r = fail(why, why_len, "certificate chain");
			break;
		}
		if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
			X509_free(x);
			r = fail(why, why_len, "certificate chain");
		}
	}
	BIO_free(bio);
	return r;
}

static int
use_key(
    SSL_CTX *ctx, const struct tls_server_conf *conf, char *why, size_t why_len)
{
	BIO *bio = open_mem(conf->key, conf->key_len);
	EVP_PKEY *key;
	int r = 0;

	if (bio == NULL)
		return -ENOMEM;
	key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	if (key == NULL)
		r = fail(why, why_len, "key");
	else if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) !=
		1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1)
		/* the second compares only keys of the certificate's type: one
		 * of another type lies beside it, and no handshake succeeds */
		r = fail(
		    why, why_len, "key does not belong to the certificate");
	EVP_PKEY_free(key);
	BIO_free(bio);
	return r;
}

/*
 * A client that shows a certificate of somebody else's CA (many do with
 * everyone who asks) is a client without one. The error stays in the verify
 * result, where tls_info() finds it.
 */
static int
go_on(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

static int
use_client_ca(
    SSL_CTX *ctx, const struct tls_server_conf *conf, char *why, size_t why_len)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = open_mem(conf->client_ca, conf->client_ca_len);
	X509 *x;
	size_t n = 0;
	int r = 0;

	if (bio == NULL)
		return -ENOMEM;
	while (r == 0 &&
	    (x = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, x) != 1 ||
		    SSL_CTX_add_client_CA(ctx, x) != 1)
			r = fail(why, why_len, "client CA");
		X509_free(x);
		n++;
	}
	if (r == 0 && (!at_end_of_pem() || n == 0)) {
		if (n == 0)
			ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
		r = fail(why, why_len, "client CA");
	}
	BIO_free(bio);
	/* asked for, not demanded: others may relay by network or AUTH */
	if (r == 0)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, go_on);
	return r;
}

/*
 * A ticket is worth what its session proved: name, certificate and client CAs
 * together are its context, so that a session never crosses to a listener or a
 * rule set with other rights.
 */
static int
bind_sessions(SSL_CTX *ctx, const struct tls_server_conf *conf)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(md, conf->name, strlen(conf->name) + 1) == 1 &&
	    EVP_DigestUpdate(md, conf->cert, conf->cert_len) == 1 &&
	    (conf->client_ca == NULL ||
		EVP_DigestUpdate(md, conf->client_ca, conf->client_ca_len) ==
		    1) &&
	    EVP_DigestFinal_ex(md, digest, NULL) == 1 &&
	    SSL_CTX_set_session_id_context(ctx, digest, sizeof(digest)) == 1;

	EVP_MD_CTX_free(md);
	return ok ? 0 : PE_TLS;
}

int
tls_server_ctx(const struct tls_server_conf *conf, SSL_CTX **ret_ctx, char *why,
    size_t why_len)
{
	SSL_CTX *ctx = NULL;
	int r;

	(void)snprintf(why, why_len, "out of memory");
	r = tls_ctx_new(TLS_SERVER, conf->min_13, &ctx);
	if (r < 0)
		return r;
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	/* forward secrecy only in TLS 1.2 (RFC 9325, 4.1); no PSK, no SRP */
	if (SSL_CTX_set_cipher_list(ctx, "DEFAULT:!kRSA:!PSK:!SRP:!aNULL") != 1)
		r = fail(why, why_len, "cipher list");
	if (r == 0)
		r = use_chain(ctx, conf, why, why_len);
	if (r == 0)
		r = use_key(ctx, conf, why, why_len);
	if (r == 0 && conf->client_ca != NULL)
		r = use_client_ca(ctx, conf, why, why_len);
	if (r == 0 && bind_sessions(ctx, conf) < 0)
		r = fail(why, why_len, "session context");
	if (r == 0) {
		(void)SSL_CTX_set_num_tickets(ctx, 1);
		(void)SSL_CTX_set_timeout(ctx, 3600);
		*ret_ctx = ctx;
		ctx = NULL;
	}
	SSL_CTX_free(ctx);
	return r;
}
