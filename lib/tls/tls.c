/*
 * tls.c - the pump around an SSL: see tls.h. Never touches a socket, never
 * blocks, never logs.
 *
 * The BIO is our own small one over two bounded buffers rather than OpenSSL's
 * memory BIO, whose storage never shrinks again: ten thousand idle clients
 * would each keep the largest record they ever saw.
 */
#include "lib/tls/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

struct tls {
	SSL *ssl;
	struct buf in, out;
	bool up, broken;
	char error[160];
};

/* ---- the BIO --------------------------------------------------------------- */

static int
bio_read(BIO *bio, char *data, size_t len, size_t *ret_n)
{
	struct tls *t = BIO_get_data(bio);
	size_t n = buf_len(&t->in);

	BIO_clear_retry_flags(bio);
	*ret_n = 0;
	if (n == 0) {
		/* never the end of file: whoever reads the socket knows that */
		BIO_set_retry_read(bio);
		return -1;
	}
	if (n > len)
		n = len;
	memcpy(data, buf_data(&t->in), n);
	buf_drop(&t->in, n);
	if (buf_len(&t->in) == 0)
		buf_reset(&t->in, 0);
	*ret_n = n;
	return 1;
}

static int
bio_write(BIO *bio, const char *data, size_t len, size_t *ret_n)
{
	struct tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*ret_n = 0;
	if (buf_put(&t->out, data, len) < 0)
		return -1; /* not retried: tls_write() looks at the room */
	*ret_n = len;
	return 1;
}

static long
bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	struct tls *t = BIO_get_data(bio);

	(void)num;
	(void)ptr;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
	case BIO_CTRL_DUP:
		return 1;
	case BIO_CTRL_PENDING:
		return (long)buf_len(&t->in);
	case BIO_CTRL_WPENDING:
		return (long)buf_len(&t->out);
	default:
		return 0;
	}
}

/* One method for the process: OpenSSL counts on it to stay. */
static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void
bio_setup(void)
{
	BIO_METHOD *m = BIO_meth_new(
	    BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "postern buffers");

	if (m == NULL)
		return;
	if (BIO_meth_set_read_ex(m, bio_read) != 1 ||
	    BIO_meth_set_write_ex(m, bio_write) != 1 ||
	    BIO_meth_set_ctrl(m, bio_ctrl) != 1) {
		BIO_meth_free(m);
		return;
	}
	bio_method = m;
}

/* ---- errors ---------------------------------------------------------------- */

const char *
tls_errors_take(char *buf, size_t len)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

	if (reason != NULL)
		(void)snprintf(buf, len, "%s", reason);
	else if (code != 0)
		ERR_error_string_n(code, buf, len);
	else
		(void)snprintf(buf, len, "unknown error");
	ERR_clear_error();
	return buf;
}

static void
set_error(struct tls *t)
{
	unsigned long code = ERR_peek_last_error();
	long verify = SSL_get_verify_result(t->ssl);
	char text[100];

	t->broken = true;
	if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
	    ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		ERR_clear_error();
		(void)snprintf(t->error, sizeof(t->error),
		    "certificate verify failed (%s)",
		    X509_verify_cert_error_string(verify));
		return;
	}
	(void)snprintf(t->error, sizeof(t->error), "%s",
	    tls_errors_take(text, sizeof(text)));
}

const char *
tls_error(const struct tls *t)
{
	return t->error;
}

/* ---- life ------------------------------------------------------------------ */

int
tls_ctx_new(enum tls_side side, bool min_13, SSL_CTX **ret_ctx)
{
	SSL_CTX *ctx;

	ERR_clear_error();
	ctx = SSL_CTX_new(
	    side == TLS_SERVER ? TLS_server_method() : TLS_client_method());
	if (ctx == NULL)
		return -ENOMEM;
	if (SSL_CTX_set_min_proto_version(
		ctx, min_13 ? TLS1_3_VERSION : TLS1_2_VERSION) != 1) {
		SSL_CTX_free(ctx);
		return PE_TLS;
	}
	SSL_CTX_set_options(ctx,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_CLEANSE_PLAINTEXT);
	SSL_CTX_set_mode(ctx,
	    SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_max_early_data(ctx, 0);
	/* the server's tickets need none; the client's cache is its own */
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	*ret_ctx = ctx;
	return 0;
}

int
tls_new(SSL_CTX *ctx, enum tls_side side, struct tls **ret_tls)
{
	struct tls *t;
	BIO *bio;

	if (pthread_once(&bio_once, bio_setup) != 0 || bio_method == NULL)
		return -ENOMEM;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	buf_init(&t->in, TLS_IN_MAX);
	buf_init(&t->out, TLS_OUT_MAX);
	ERR_clear_error();
	t->ssl = SSL_new(ctx);
	bio = t->ssl == NULL ? NULL : BIO_new(bio_method);
	if (bio == NULL) {
		ERR_clear_error();
		tls_free(t);
		return -ENOMEM;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio); /* takes it, both sides */
	if (side == TLS_SERVER)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	*ret_tls = t;
	return 0;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	if (t->ssl != NULL && t->up && !t->broken)
		SSL_set_shutdown(
		    t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->ssl);
	buf_done(&t->in);
	buf_done(&t->out);
	free(t);
}

SSL *
tls_ssl(struct tls *t)
{
	return t->ssl;
}

/* ---- bytes ----------------------------------------------------------------- */

int
tls_feed(struct tls *t, const void *data, size_t len)
{
	return buf_put(&t->in, data, len);
}

int
tls_handshake(struct tls *t)
{
	int r;

	if (t->up)
		return 1;
	if (t->broken)
		return PE_TLS;
	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (r == 1) {
		t->up = true;
		return 1;
	}
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return 0;
	default:
		set_error(t);
		return PE_TLS;
	}
}

bool
tls_is_up(const struct tls *t)
{
	return t->up;
}

ssize_t
tls_read(struct tls *t, void *buf, size_t len)
{
	size_t n = 0;
	int r;

	if (t->broken || !t->up)
		return PE_TLS;
	ERR_clear_error();
	r = SSL_read_ex(t->ssl, buf, len, &n);
	if (r == 1)
		return (ssize_t)n;
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return PE_GONE;
	default:
		set_error(t);
		return PE_TLS;
	}
}

bool
tls_has_input(const struct tls *t)
{
	return buf_len(&t->in) > 0 || SSL_has_pending(t->ssl) == 1;
}

int
tls_write(struct tls *t, const void *data, size_t len)
{
	/* each record of up to 16384 bytes has 22 to about 64 bytes around it */
	size_t n = 0, need = len + (len / 16384 + 1) * 128;

	if (len == 0)
		return 0;
	if (t->broken || !t->up)
		return PE_TLS;
	if (need > TLS_OUT_MAX || buf_len(&t->out) > TLS_OUT_MAX - need)
		return PE_FULL;
	ERR_clear_error();
	if (SSL_write_ex(t->ssl, data, len, &n) != 1 || n != len) {
		set_error(t);
		return PE_TLS;
	}
	return 0;
}

size_t
tls_out(const struct tls *t, const uint8_t **ret_data)
{
	*ret_data = buf_data(&t->out);
	return buf_len(&t->out);
}

void
tls_out_drop(struct tls *t, size_t n)
{
	buf_drop(&t->out, n);
	if (buf_len(&t->out) == 0)
		buf_reset(&t->out, 0);
}

void
tls_shutdown(struct tls *t)
{
	if (t->broken || !t->up)
		return;
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl); /* the peer's answer is not waited for */
	ERR_clear_error();
}

/* ---- facts ----------------------------------------------------------------- */

void
tls_info(const struct tls *t, struct tls_info *ret_info)
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);

	ret_info->protocol = SSL_get_version(t->ssl);
	ret_info->cipher = SSL_get_cipher_name(t->ssl);
	ret_info->sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
	ret_info->resumed = SSL_session_reused(t->ssl) == 1;
	ret_info->peer_cert = cert != NULL;
	ret_info->verify_result = SSL_get_verify_result(t->ssl);
	ret_info->verify_text =
	    X509_verify_cert_error_string(ret_info->verify_result);
}

/* Copy one name in lower case (but a local part), when it is fit to be used. */
static int
add_name(struct tls_names *names, const unsigned char *p, int len)
{
	char *copy, *c;
	int i;

	if (len <= 0 || len > 255 || names->n == TLS_NAMES_MAX)
		return 0;
	for (i = 0; i < len; i++)
		if (p[i] <= 0x20 || p[i] >= 0x7f)
			return 0;
	copy = strndup((const char *)p, (size_t)len);
	if (copy == NULL)
		return -ENOMEM;
	c = strrchr(copy, '@');
	for (c = c == NULL ? copy : c; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + ('a' - 'A'));
	names->v[names->n++] = copy;
	return 0;
}

static int
add_alt_names(struct tls_names *names, X509 *cert)
{
	GENERAL_NAMES *alt =
	    X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const ASN1_STRING *s;
	const GENERAL_NAME *gn;
	int i, r = 0;

	for (i = 0; r == 0 && alt != NULL && i < sk_GENERAL_NAME_num(alt);
	     i++) {
		gn = sk_GENERAL_NAME_value(alt, i);
		if (gn->type == GEN_DNS)
			s = gn->d.dNSName;
		else if (gn->type == GEN_EMAIL)
			s = gn->d.rfc822Name;
		else
			continue;
		r = add_name(
		    names, ASN1_STRING_get0_data(s), ASN1_STRING_length(s));
	}
	GENERAL_NAMES_free(alt);
	return r;
}

int
tls_peer_names(const struct tls *t, struct tls_names *ret_names)
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);
	X509_NAME_ENTRY *e;
	unsigned char *utf8 = NULL;
	int r, at, len;

	memset(ret_names, 0, sizeof(*ret_names));
	if (cert == NULL)
		return 0;
	ERR_clear_error();
	r = add_alt_names(ret_names, cert);
	if (r == 0 && ret_names->n == 0) {
		at = X509_NAME_get_index_by_NID(
		    X509_get_subject_name(cert), NID_commonName, -1);
		e = at < 0
		    ? NULL
		    : X509_NAME_get_entry(X509_get_subject_name(cert), at);
		if (e != NULL) {
			len = ASN1_STRING_to_UTF8(
			    &utf8, X509_NAME_ENTRY_get_data(e));
			if (len > 0)
				r = add_name(ret_names, utf8, len);
			OPENSSL_free(utf8);
		}
	}
	ERR_clear_error();
	if (r < 0)
		tls_names_done(ret_names);
	return r;
}

void
tls_names_done(struct tls_names *names)
{
	while (names->n > 0)
		free(names->v[--names->n]);
}
