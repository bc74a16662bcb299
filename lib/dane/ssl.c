/*
 * ssl.c - TLSA records and OpenSSL; see ssl.h. Never does I/O, never logs.
 */
#include "lib/dane/ssl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/err.h"

/* ---- before ---------------------------------------------------------------------- */

static int
set_names(SSL *ssl, const struct dane_want *want)
{
	size_t i;

	/* does nothing when it was done */
	if (SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl)) != 1)
		return PE_TLS;
	/* the first name; and SNI, unless it was set */
	if (SSL_dane_enable(ssl, want->names[0]) != 1)
		return PE_TLS;
	(void)SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	/* a common name counts when there is no DNS-ID (DANE-33) */
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	for (i = 1; i < want->n_names; i++)
		if (SSL_add1_host(ssl, want->names[i]) != 1)
			return PE_TLS;
	return 0;
}

int
dane_ssl_apply(SSL *ssl, const struct dane_want *want)
{
	size_t i;
	int r, taken = 0;

	ERR_clear_error();
	r = set_names(ssl, want);
	for (i = 0; r == 0 && i < want->n_rrs; i++) {
		const struct facts_tlsa_rr *rr = &want->rrs[i];

		/* OpenSSL would take usages 0 and 1 */
		if (dane_rr_fate(rr) != DANE_COUNTS)
			continue;
		r = SSL_dane_tlsa_add(ssl, rr->usage, rr->selector, rr->mtype,
		    rr->data, rr->data_len);
		if (r > 0)
			taken++;
		r = r < 0 ? PE_TLS : 0;
	}
	ERR_clear_error();
	return r < 0 ? r : taken;
}

/* ---- after ------------------------------------------------------------------------ */

static int
place_of(const struct dane_want *want, uint8_t usage, uint8_t selector,
    uint8_t mtype, const uint8_t *data, size_t len)
{
	size_t i;

	for (i = 0; i < want->n_rrs; i++) {
		const struct facts_tlsa_rr *rr = &want->rrs[i];

		if (rr->usage == usage && rr->selector == selector &&
		    rr->mtype == mtype && rr->data_len == len &&
		    memcmp(rr->data, data, len) == 0)
			return (int)i;
	}
	return -1;
}

/* ssl holds the result of a verification that was made in full. */
static void
read_result(SSL *ssl, const struct dane_want *want, struct dane_proof *p)
{
	uint8_t usage, selector, mtype;
	const unsigned char *data;
	const char *name;
	size_t len;
	int depth;

	p->verify = SSL_get_verify_result(ssl);
	if (p->verify != X509_V_OK)
		return;
	/* OK by itself may be a PKIX check: only a match is a proof */
	p->verify = X509_V_ERR_DANE_NO_MATCH;
	depth = SSL_get0_dane_authority(ssl, NULL, NULL);
	if (depth < 0 ||
	    SSL_get0_dane_tlsa(ssl, &usage, &selector, &mtype, &data, &len) < 0)
		return;
	if (want != NULL) {
		p->record = place_of(want, usage, selector, mtype, data, len);
		if (p->record < 0)
			return;
	}
	p->ok = true;
	p->usage = usage;
	p->selector = selector;
	p->mtype = mtype;
	p->depth = depth;
	p->verify = X509_V_OK;
	name = SSL_get0_peername(ssl);
	if (name != NULL && usage == 2)
		(void)snprintf(p->name, sizeof(p->name), "%s", name);
}

static const struct dane_proof no_proof = {
	.depth = -1, .record = -1, .verify = X509_V_ERR_DANE_NO_MATCH
};

void
dane_ssl_result(
    SSL *ssl, const struct dane_want *want, struct dane_proof *ret_proof)
{
	*ret_proof = no_proof;
	/* without a certificate, or resumed, OpenSSL says OK */
	if (SSL_get0_peer_certificate(ssl) != NULL && !SSL_session_reused(ssl))
		read_result(ssl, want, ret_proof);
}

/* ---- a chain at hand ---------------------------------------------------------------- */

/* What libssl does with a server's chain. The result goes to ssl, from which
 * read_result() reads. */
static int
verify_chain(SSL *ssl, STACK_OF(X509) * chain, int64_t now_s)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_STORE *store = X509_STORE_new(); /* nobody is trusted (DANE-29) */
	X509_VERIFY_PARAM *param;
	int r = -ENOMEM;

	if (ctx == NULL || store == NULL ||
	    X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) !=
		1)
		goto out;
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_auth_level(param, SSL_get_security_level(ssl));
	X509_STORE_CTX_set0_dane(ctx, SSL_get0_dane(ssl));
	if (X509_STORE_CTX_set_default(ctx, "ssl_server") != 1 ||
	    X509_VERIFY_PARAM_set1(param, SSL_get0_param(ssl)) != 1)
		goto out;
	X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
	if (X509_verify_cert(ctx) < 0)
		goto out;
	SSL_set_verify_result(ssl, X509_STORE_CTX_get_error(ctx));
	X509_VERIFY_PARAM_move_peername(SSL_get0_param(ssl), param);
	r = 0;
out:
	X509_STORE_free(store);
	X509_STORE_CTX_free(ctx);
	return r;
}

int
dane_chain_verify(const struct dane_want *want, STACK_OF(X509) * chain,
    int64_t now_s, struct dane_proof *ret_proof)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = ctx != NULL ? SSL_new(ctx) : NULL;
	int r = -ENOMEM, taken = 0;

	if (ssl == NULL)
		goto out;
	r = taken = dane_ssl_apply(ssl, want);
	if (r > 0)
		r = verify_chain(ssl, chain, now_s);
	if (r == 0 && taken > 0) {
		*ret_proof = no_proof;
		read_result(ssl, want, ret_proof);
		r = taken;
	}
out:
	ERR_clear_error();
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return r;
}

const char *
dane_tlsrpt(long verify)
{
	switch (verify) {
	case X509_V_OK:
		return "";
	case X509_V_ERR_HOSTNAME_MISMATCH:
		return "certificate-host-mismatch";
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "certificate-expired";
	case X509_V_ERR_DANE_NO_MATCH:
		return "tlsa-invalid";
	default:
		return "certificate-not-trusted";
	}
}
