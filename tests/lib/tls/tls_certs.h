/*
 * tls_certs.h - keys and certificates made on the fly for the TLS tests.
 *
 * Everything is PEM in memory, as the processes get it. P-256, serials count
 * up. A test program includes this once.
 */
#ifndef POSTERN_TESTS_TLS_CERTS_H
#define POSTERN_TESTS_TLS_CERTS_H

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct test_cert {
	X509 *x;
	EVP_PKEY *key;
	char *cert_pem, *key_pem;
};

static char *
test_pem(BIO *bio)
{
	char *data, *copy;
	long n = BIO_get_mem_data(bio, &data);

	copy = malloc((size_t)n + 1);
	assert(copy != NULL);
	memcpy(copy, data, (size_t)n);
	copy[n] = '\0';
	BIO_free(bio);
	return copy;
}

static void
test_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert(e != NULL);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/*
 * alt: "DNS:a.example,email:b@c.example" or NULL. ca NULL: self-signed (and a
 * CA when is_ca). days may be negative: expired.
 */
static struct test_cert
test_cert_new(const char *cn, const char *alt, const struct test_cert *ca,
    int is_ca, int days)
{
	static long serial = 1;
	struct test_cert c = { 0 };
	X509_NAME *name;
	BIO *bio;

	c.key = EVP_EC_gen("P-256");
	c.x = X509_new();
	assert(c.key != NULL && c.x != NULL);
	X509_set_version(c.x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c.x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(c.x), -86400L * 30);
	X509_gmtime_adj(X509_getm_notAfter(c.x), 86400L * days);
	name = X509_get_subject_name(c.x);
	X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(
	    c.x, ca != NULL ? X509_get_subject_name(ca->x) : name);
	X509_set_pubkey(c.x, c.key);
	test_ext(c.x, ca != NULL ? ca->x : c.x, NID_basic_constraints,
	    is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (alt != NULL)
		test_ext(c.x, c.x, NID_subject_alt_name, alt);
	assert(X509_sign(c.x, ca != NULL ? ca->key : c.key, EVP_sha256()) > 0);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, c.x);
	c.cert_pem = test_pem(bio);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, c.key, NULL, NULL, 0, NULL, NULL);
	c.key_pem = test_pem(bio);
	return c;
}

static void
test_cert_done(struct test_cert *c)
{
	X509_free(c->x);
	EVP_PKEY_free(c->key);
	free(c->cert_pem);
	free(c->key_pem);
}

#endif
