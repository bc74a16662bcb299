/*
 * test_client.c - the client side of TLS against a server in memory: proof by
 * chain, name and date; sessions that are resumed only for their own claim.
 * Certificates are made here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <openssl/sha.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/dane/ssl.h"
#include "lib/tls/client.h"
#include "lib/tls/server.h"
#include "lib/tls/tls.h"

/* ---- certificates ------------------------------------------------------------------ */

struct pem {
	char *cert, *key;
	X509 *x509;
	EVP_PKEY *pkey;
};
static struct pem ca, other_ca;

static char *
pem_of(X509 *cert, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *copy;
	long n;

	if (cert != NULL)
		assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
	else
		assert_int_equal(PEM_write_bio_PrivateKey(
				     bio, key, NULL, NULL, 0, NULL, NULL),
		    1);
	n = BIO_get_mem_data(bio, &data);
	copy = strndup(data, (size_t)n);
	BIO_free(bio);
	return copy;
}

static void
add_ext(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(ext);
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

/* issuer NULL: self-signed. san like "DNS:a.example,DNS:b". */
static struct pem
make(const char *cn, const char *san, const struct pem *issuer, bool is_ca,
    long from_s, long until_s)
{
	static long serial = 1;
	struct pem p;
	X509_NAME *name;

	p.pkey = EVP_EC_gen("P-256");
	p.x509 = X509_new();
	assert_non_null(p.pkey);
	assert_non_null(p.x509);
	assert_int_equal(X509_set_version(p.x509, 2), 1);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(p.x509), serial++);
	(void)X509_gmtime_adj(X509_getm_notBefore(p.x509), from_s);
	(void)X509_gmtime_adj(X509_getm_notAfter(p.x509), until_s);
	name = X509_get_subject_name(p.x509);
	(void)X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	(void)X509_set_issuer_name(p.x509,
	    issuer == NULL ? name : X509_get_subject_name(issuer->x509));
	(void)X509_set_pubkey(p.x509, p.pkey);
	add_ext(p.x509, NID_basic_constraints,
	    is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (san != NULL)
		add_ext(p.x509, NID_subject_alt_name, san);
	assert_true(X509_sign(p.x509, issuer == NULL ? p.pkey : issuer->pkey,
			EVP_sha256()) > 0);
	p.cert = pem_of(p.x509, NULL);
	p.key = pem_of(NULL, p.pkey);
	return p;
}

static void
drop(struct pem *p)
{
	free(p->cert);
	free(p->key);
	X509_free(p->x509);
	EVP_PKEY_free(p->pkey);
}

/* ---- two ends -------------------------------------------------------------------------- */

static SSL_CTX *
server_of(const struct pem *p, bool only_12)
{
	struct tls_server_conf conf = { .name = "test",
		.cert = (const uint8_t *)p->cert,
		.cert_len = strlen(p->cert),
		.key = (const uint8_t *)p->key,
		.key_len = strlen(p->key),
		.client_ca = (const uint8_t *)ca.cert,
		.client_ca_len = strlen(ca.cert) };
	SSL_CTX *ctx = NULL;
	char why[200] = "";

	if (tls_server_ctx(&conf, &ctx, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	if (only_12)
		(void)SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	return ctx;
}

static struct tls_client *
client_of(const struct pem *trust)
{
	struct tls_client *c = NULL;
	size_t n = 99;
	char why[200];

	assert_int_equal(
	    tls_client_new((const uint8_t *)(trust == NULL ? "" : trust->cert),
		trust == NULL ? 0 : strlen(trust->cert), &c, &n, why,
		sizeof(why)),
	    0);
	assert_int_equal(n, trust != NULL);
	return c;
}

static void
carry(struct tls *from, struct tls *to)
{
	const uint8_t *data;
	size_t n = tls_out(from, &data);

	if (n > 0)
		assert_int_equal(tls_feed(to, data, n), 0);
	tls_out_drop(from, n);
}

/* Shake hands and exchange a line, so that tickets arrive. */
static int
talk(struct tls_link *l, SSL_CTX *ctx, struct tls_proved *ret_proved, bool keep,
    bool *ret_client_cert)
{
	struct tls *c = tls_link_pump(l), *s = NULL;
	struct tls_info info;
	char buf[64];
	int rc = 0, rs = 0, i;

	assert_int_equal(tls_new(ctx, TLS_SERVER, &s), 0);
	for (i = 0; i < 10 && (rc == 0 || rs == 0); i++) {
		if (rc == 0)
			rc = tls_handshake(c);
		carry(c, s);
		if (rs == 0)
			rs = tls_handshake(s);
		carry(s, c);
	}
	if (rc == 1 && rs == 1) {
		tls_link_prove(l, ret_proved);
		if (keep)
			tls_link_keep(l);
		assert_int_equal(tls_write(s, "220 hi\r\n", 8), 0);
		carry(s, c);
		assert_int_equal(tls_read(c, buf, sizeof(buf)), 8);
		tls_info(s, &info);
		if (ret_client_cert != NULL)
			*ret_client_cert =
			    info.peer_cert && info.verify_result == 0;
	}
	tls_free(s);
	return rc == 1 && rs == 1 ? 0 : -1;
}

static struct tls_want
want_of(const char *claim, const char *name)
{
	struct tls_want w = { .peer = "192.0.2.1:25",
		.sni = name,
		.claim = claim,
		.names = { name } };

	return w;
}

static struct tls_proved
proof_of(struct tls_client *client, SSL_CTX *ctx, const struct tls_want *want)
{
	struct tls_proved p;
	struct tls_link *l;

	assert_int_equal(tls_link_new(client, want, &l), 0);
	assert_int_equal(talk(l, ctx, &p, true, NULL), 0);
	tls_link_free(l);
	return p;
}

/* ---- proof ------------------------------------------------------------------------------- */

static void
proof_table(void **state)
{
	static const struct {
		const char *name, *cn, *san;
		int signer; /* 0 ca, 1 other, 2 itself */
		long from_s, until_s;
		const char *ask;
		bool trusted, expired;
		size_t names;
	} rows[] = {
		{ "good", "x", "DNS:mx1.example.com", 0, -60, 3600,
		    "mx1.example.com", true, false, 1 },
		{ "case", "x", "DNS:MX1.Example.COM", 0, -60, 3600,
		    "mx1.example.com", true, false, 1 },
		{ "wildcard", "x", "DNS:*.example.com", 0, -60, 3600,
		    "mx1.example.com", true, false, 1 },
		{ "wildcard is one label", "x", "DNS:*.com", 0, -60, 3600,
		    "mx1.example.com", true, false, 0 },
		{ "partial wildcard", "x", "DNS:mx*.example.com", 0, -60, 3600,
		    "mx1.example.com", true, false, 0 },
		{ "wildcard is not its base", "x", "DNS:*.example.com", 0, -60,
		    3600, "example.com", true, false, 0 },
		{ "CN does not count", "mx1.example.com", NULL, 0, -60, 3600,
		    "mx1.example.com", true, false, 0 },
		{ "CN does not count beside SAN", "mx1.example.com",
		    "DNS:other.example", 0, -60, 3600, "mx1.example.com", true,
		    false, 0 },
		{ "other CA", "x", "DNS:mx1.example.com", 1, -60, 3600,
		    "mx1.example.com", false, false, 1 },
		{ "self-signed", "x", "DNS:mx1.example.com", 2, -60, 3600,
		    "mx1.example.com", false, false, 1 },
		{ "expired", "x", "DNS:mx1.example.com", 0, -7200, -3600,
		    "mx1.example.com", false, true, 1 },
		{ "not yet", "x", "DNS:mx1.example.com", 0, 3600, 7200,
		    "mx1.example.com", false, true, 1 },
		{ "several names", "x", "DNS:a.example,DNS:mx1.example.com", 0,
		    -60, 3600, "mx1.example.com", true, false, 1 },
		{ "an address is no name", "x", "IP:192.0.2.1", 0, -60, 3600,
		    "192.0.2.1", true, false, 0 },
	};
	struct tls_client *client = client_of(&ca);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pem leaf = make(rows[i].cn, rows[i].san,
		    rows[i].signer == 0	      ? &ca
			: rows[i].signer == 1 ? &other_ca
					      : NULL,
		    false, rows[i].from_s, rows[i].until_s);
		SSL_CTX *ctx = server_of(&leaf, false);
		struct tls_want want = want_of(rows[i].name, rows[i].ask);
		struct tls_proved p = proof_of(client, ctx, &want);

		if (p.trusted != rows[i].trusted ||
		    p.expired != rows[i].expired ||
		    p.n_names != rows[i].names || p.resumed || !p.peer_cert)
			fail_msg("%s: trusted %d expired %d names %zu "
				 "resumed %d verify %ld",
			    rows[i].name, p.trusted, p.expired, p.n_names,
			    p.resumed, p.verify);
		SSL_CTX_free(ctx);
		drop(&leaf);
	}
	tls_client_unref(client);
}

static void
without_a_ca_list_nobody_is_trusted(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", &ca, false, -60, 3600);
	struct tls_client *client = client_of(NULL);
	SSL_CTX *ctx = server_of(&leaf, false);
	struct tls_want want = want_of("verify", "mx1.example.com");
	struct tls_proved p = proof_of(client, ctx, &want);

	(void)state;
	assert_false(p.trusted);
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
}

static void
bad_ca_lists_are_refused(void **state)
{
	static const char bad[] = "-----BEGIN CERTIFICATE-----\nAAAA\n"
				  "-----END CERTIFICATE-----\n";
	struct tls_client *c = NULL;
	char why[200] = "";

	(void)state;
	assert_int_equal(tls_client_new((const uint8_t *)bad, sizeof(bad) - 1,
			     &c, NULL, why, sizeof(why)),
	    PE_TLS);
	assert_null(c);
	assert_non_null(strstr(why, "CA list"));
}

/* ---- sessions --------------------------------------------------------------------------------- */

/* libraries.md 2.2: a session made with an untrusted server would resume, and
 * be called verified, under any other claim. */
static void
sessions_serve_their_own_claim(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", NULL, false, -60, 3600);
	struct tls_client *client = client_of(&ca);
	bool only_12 = *(bool *)*state;
	SSL_CTX *ctx = server_of(&leaf, only_12);
	struct tls_want weak = want_of("opportunistic", "mx1.example.com");
	struct tls_want strong = want_of("verify", "mx1.example.com");
	struct tls_want other = want_of("opportunistic", "mx2.example.com");
	struct tls_proved p;

	p = proof_of(client, ctx, &weak);
	assert_false(p.resumed);
	assert_false(p.trusted);
	p = proof_of(client, ctx, &weak);
	assert_true(p.resumed);
	assert_false(p.trusted); /* the label, not what OpenSSL says now */
	p = proof_of(client, ctx, &strong);
	assert_false(p.resumed);
	assert_false(p.trusted);
	p = proof_of(client, ctx, &other);
	assert_false(p.resumed);
	assert_int_equal(p.n_names, 0);
	weak.peer = "192.0.2.2:25";
	p = proof_of(client, ctx, &weak);
	assert_false(p.resumed);
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
}

static void
a_resumed_session_keeps_its_names(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", &ca, false, -60, 3600);
	struct tls_client *client = client_of(&ca);
	SSL_CTX *ctx = server_of(&leaf, false);
	struct tls_want want = want_of("verify", "mx1.example.com");
	struct tls_client_stats st;
	struct tls_proved p;

	(void)state;
	(void)proof_of(client, ctx, &want);
	p = proof_of(client, ctx, &want);
	assert_true(p.resumed);
	assert_true(p.trusted);
	assert_int_equal(p.n_names, 1);
	assert_string_equal(p.names[0], "mx1.example.com");
	tls_client_stats(client, &st);
	assert_int_equal(st.full, 1);
	assert_int_equal(st.resumed, 1);
	assert_int_equal(st.sessions, 1);
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
}

/* What was not good enough leaves nothing behind. */
static void
without_keep_nothing_is_kept(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", NULL, false, -60, 3600);
	struct tls_client *client = client_of(&ca);
	bool only_12 = *(bool *)*state;
	SSL_CTX *ctx = server_of(&leaf, only_12);
	struct tls_want want = want_of("verify", "mx1.example.com");
	struct tls_client_stats st;
	struct tls_proved p;
	struct tls_link *l;

	assert_int_equal(tls_link_new(client, &want, &l), 0);
	assert_int_equal(talk(l, ctx, &p, false, NULL), 0);
	tls_link_free(l);
	tls_client_stats(client, &st);
	assert_int_equal(st.sessions, 0);
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
}

/* Connections that open at once have each their own session, and a peer never
 * fills the store. */
static void
several_sessions_of_a_claim(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", &ca, false, -60, 3600);
	struct tls_client *client = client_of(&ca);
	SSL_CTX *ctx = server_of(&leaf, false);
	struct tls_want want = want_of("verify", "mx1.example.com");
	struct tls_link *links[2 * TLS_SESSIONS_PER_CLAIM];
	enum { N = sizeof(links) / sizeof(links[0]) };
	struct tls_client_stats st;
	struct tls_proved p;
	size_t i, round;

	(void)state;
	for (round = 0; round < 2; round++) {
		for (i = 0; i < N; i++)
			assert_int_equal(
			    tls_link_new(client, &want, &links[i]), 0);
		for (i = 0; i < N; i++) {
			assert_int_equal(
			    talk(links[i], ctx, &p, true, NULL), 0);
			assert_int_equal(p.resumed,
			    round == 1 && i < TLS_SESSIONS_PER_CLAIM);
			assert_true(p.trusted);
			tls_link_free(links[i]);
		}
		tls_client_stats(client, &st);
		assert_int_equal(st.sessions, TLS_SESSIONS_PER_CLAIM);
	}
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
}

/* Shake hands; both ends stay. */
static struct tls *
meet(struct tls_link *l, SSL_CTX *ctx)
{
	struct tls *c = tls_link_pump(l), *s = NULL;
	int rc = 0, rs = 0, i;

	assert_int_equal(tls_new(ctx, TLS_SERVER, &s), 0);
	for (i = 0; i < 10 && (rc == 0 || rs == 0); i++) {
		rc = tls_handshake(c);
		carry(c, s);
		rs = tls_handshake(s);
		carry(s, c);
	}
	assert_int_equal(rc, 1);
	assert_int_equal(rs, 1);
	return s;
}

/* What was proven in the handshake stays what holds: a server that asks for
 * another one (TLS 1.2) is told no, and the connection goes on. */
static void
no_second_handshake(void **state)
{
	struct pem mx = make("mx", "DNS:mx.example", &ca, false, -60, 3600);
	SSL_CTX *ctx = server_of(&mx, true);
	struct tls_client *client = client_of(&ca);
	struct tls_want want = want_of("verify", "mx.example");
	struct tls_link *l;
	struct tls *c, *s;
	const uint8_t *data;
	char buf[64];

	(void)state;
	(void)SSL_CTX_clear_options(ctx, SSL_OP_NO_RENEGOTIATION);
	assert_int_equal(tls_link_new(client, &want, &l), 0);
	s = meet(l, ctx);
	c = tls_link_pump(l);
	/* the answer is a warning, and the connection goes on */
	assert_int_equal(SSL_renegotiate(tls_ssl(s)), 1);
	(void)SSL_do_handshake(tls_ssl(s));
	assert_true(tls_out(s, &data) > 0);
	carry(s, c);
	assert_int_equal(tls_read(c, buf, sizeof(buf)), 0);
	assert_in_range(tls_out(c, &data), 1, 100);
	assert_string_equal(tls_error(c), "");
	tls_free(s);
	tls_link_free(l);
	tls_client_unref(client);
	SSL_CTX_free(ctx);
	drop(&mx);
}

static void
client_certificate_is_shown(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", &ca, false, -60, 3600);
	struct pem mine =
	    make("gw1", "DNS:gw1.example.net", &ca, false, -60, 3600);
	struct tls_client *client = client_of(&ca);
	SSL_CTX *ctx = server_of(&leaf, false);
	struct tls_want want = want_of("verify", "mx1.example.com");
	struct tls_identity *id = NULL;
	struct tls_proved p;
	struct tls_link *l;
	char why[200] = "";
	bool shown = false;

	(void)state;
	assert_int_equal(tls_identity_new((const uint8_t *)mine.cert,
			     strlen(mine.cert), (const uint8_t *)mine.key,
			     strlen(mine.key), &id, why, sizeof(why)),
	    0);
	want.identity = id;
	assert_int_equal(tls_link_new(client, &want, &l), 0);
	assert_int_equal(talk(l, ctx, &p, true, &shown), 0);
	assert_true(shown);
	tls_link_free(l);
	tls_identity_free(id);
	/* another key is told apart when it is loaded */
	assert_int_equal(tls_identity_new((const uint8_t *)mine.cert,
			     strlen(mine.cert), (const uint8_t *)leaf.key,
			     strlen(leaf.key), &id, why, sizeof(why)),
	    PE_TLS);
	assert_non_null(strstr(why, "key"));
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
	drop(&mine);
}

static int
setup(void **state)
{
	(void)state;
	ca = make("Test CA", NULL, NULL, true, -3600, 86400);
	other_ca = make("Other CA", NULL, NULL, true, -3600, 86400);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	drop(&ca);
	drop(&other_ca);
	return 0;
}

/* ---- DANE --------------------------------------------------------------------------------- */

struct dane_case {
	uint8_t data[SHA256_DIGEST_LENGTH], label[FACTS_TLSA_DIGEST_LEN];
	struct facts_tlsa_rr rr;
	struct dane_want want;
};

/* A record of this usage for the key of a certificate. */
static void
dane_for(struct dane_case *d, uint8_t usage, const struct pem *p)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(p->pkey, &der);

	(void)SHA256(der, (size_t)len, d->data);
	OPENSSL_free(der);
	d->rr = (struct facts_tlsa_rr){ usage, 1, 1, d->data, 32 };
	d->want = (struct dane_want){ .names = { "mx1.example.com" },
		.n_names = 1,
		.rrs = &d->rr,
		.n_rrs = 1 };
	assert_int_equal(
	    dane_digest("mx1.example.com", &d->rr, 1, d->label), 0);
}

static struct tls_want
want_dane(const struct dane_case *d)
{
	struct tls_want w = want_of("dane", "mx1.example.com");

	w.dane = &d->want;
	w.dane_label = d->label;
	return w;
}

/* A match is the proof; trust by the CA list is none, and is not told as one. */
static void
dane_is_a_match(void **state)
{
	struct pem good =
		       make("x", "DNS:mx1.example.com", &ca, false, -60, 3600),
		   own = make(
		       "x", "DNS:other.example", NULL, false, -7200, -3600);
	static const struct {
		const char *name;
		int server, of; /* 0 good, 1 own, 2 ca */
		uint8_t usage;
		bool dane, unusable;
		int depth;
	} rows[] = {
		{ "3 1 1", 0, 0, 3, true, false, 0 },
		{ "3 1 1, expired, self-signed, other name", 1, 1, 3, true,
		    false, 0 },
		{ "3 1 1 of another", 0, 1, 3, false, false, -1 },
		{ "2 1 1 of a CA that was not sent", 0, 2, 2, false, false,
		    -1 },
		{ "1 1 1 is no record", 0, 0, 1, false, true, -1 },
	};
	const struct pem *pems[] = { &good, &own, &ca };
	struct tls_client *client = client_of(&ca);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		SSL_CTX *ctx = server_of(pems[rows[i].server], false);
		struct dane_case d;
		struct tls_want want;
		struct tls_proved p;

		/* else it sends the CA along, which it knows for clients */
		(void)SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
		dane_for(&d, rows[i].usage, pems[rows[i].of]);
		want = want_dane(&d);
		want.claim = rows[i].name;
		p = proof_of(client, ctx, &want);
		if (p.dane != rows[i].dane || p.trusted ||
		    p.dane_unusable != rows[i].unusable ||
		    p.dane_depth != rows[i].depth || p.resumed)
			fail_msg("%s: dane %d unusable %d trusted %d depth %d",
			    rows[i].name, p.dane, p.dane_unusable, p.trusted,
			    p.dane_depth);
		if (p.dane)
			assert_memory_equal(p.dane_rr, "\3\1\1", 3);
		SSL_CTX_free(ctx);
	}
	tls_client_unref(client);
	drop(&good);
	drop(&own);
}

/* DANE-39: another set, or none, is another claim; the same set is not. */
static void
dane_sessions_serve_their_own_set(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", &ca, false, -60, 3600);
	struct tls_client *client = client_of(&ca);
	bool only_12 = *(bool *)*state;
	SSL_CTX *ctx = server_of(&leaf, only_12);
	struct dane_case mine, other;
	struct tls_want want, wants_other, plain;
	struct tls_proved p;

	dane_for(&mine, 3, &leaf);
	dane_for(&other, 3, &ca);
	want = want_dane(&mine);
	wants_other = want_dane(&other);
	plain = want_of("dane", "mx1.example.com");
	p = proof_of(client, ctx, &want);
	assert_true(p.dane && !p.resumed);
	p = proof_of(client, ctx, &want);
	assert_true(p.dane && p.resumed); /* with the proof of the first */
	assert_int_equal(p.dane_depth, 0);
	p = proof_of(client, ctx, &wants_other);
	assert_false(p.resumed);
	assert_false(p.dane);
	p = proof_of(client, ctx, &plain);
	assert_false(p.resumed);
	assert_false(p.dane);
	assert_true(p.trusted);
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
}

/* 6698, 8.2: no session outlives the records that proved it. */
static void
sessions_live_no_longer_than_wanted(void **state)
{
	struct pem leaf =
	    make("x", "DNS:mx1.example.com", &ca, false, -60, 3600);
	struct tls_client *client = client_of(&ca);
	SSL_CTX *ctx = server_of(&leaf, false);
	struct dane_case d;
	struct tls_want want;

	(void)state;
	dane_for(&d, 3, &leaf);
	want = want_dane(&d);
	want.life_s = 600;
	assert_false(proof_of(client, ctx, &want).resumed);
	clock_test_advance_ms(500 * 1000);
	assert_true(proof_of(client, ctx, &want).resumed);
	clock_test_advance_ms(601 * 1000);
	assert_false(proof_of(client, ctx, &want).resumed);
	SSL_CTX_free(ctx);
	tls_client_unref(client);
	drop(&leaf);
}

int
main(void)
{
	static bool tls12 = true, tls13 = false;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proof_table),
		cmocka_unit_test(without_a_ca_list_nobody_is_trusted),
		cmocka_unit_test(bad_ca_lists_are_refused),
		{ "sessions_serve_their_own_claim (TLS 1.3)",
		    sessions_serve_their_own_claim, NULL, NULL, &tls13 },
		{ "sessions_serve_their_own_claim (TLS 1.2)",
		    sessions_serve_their_own_claim, NULL, NULL, &tls12 },
		cmocka_unit_test(a_resumed_session_keeps_its_names),
		{ "without_keep_nothing_is_kept (TLS 1.3)",
		    without_keep_nothing_is_kept, NULL, NULL, &tls13 },
		{ "without_keep_nothing_is_kept (TLS 1.2)",
		    without_keep_nothing_is_kept, NULL, NULL, &tls12 },
		cmocka_unit_test(several_sessions_of_a_claim),
		cmocka_unit_test(dane_is_a_match),
		{ "dane_sessions_serve_their_own_set (TLS 1.3)",
		    dane_sessions_serve_their_own_set, NULL, NULL, &tls13 },
		{ "dane_sessions_serve_their_own_set (TLS 1.2)",
		    dane_sessions_serve_their_own_set, NULL, NULL, &tls12 },
		cmocka_unit_test(sessions_live_no_longer_than_wanted),
		cmocka_unit_test(client_certificate_is_shown),
		cmocka_unit_test(no_second_handshake),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
