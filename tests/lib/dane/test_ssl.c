/*
 * test_ssl.c - TLSA records against real certificates: a table over a chain at
 * hand, and handshakes in memory. Certificates are made here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <openssl/sha.h>
#include <openssl/ssl.h>

#include "lib/dane/ssl.h"
#include "lib/tls/tls.h"
#include "tests/lib/tls/tls_certs.h"

enum { C_LEAF, C_MID, C_ROOT, C_OTHER, C_OLD, C_CN, C_SELF, C_NOT_CA, N_CERTS };
static struct test_cert certs[N_CERTS];

/* Make the record that matches a certificate. data has room for any. */
static struct facts_tlsa_rr
record(int usage, int selector, int mtype, const struct test_cert *c,
    uint8_t *data)
{
	struct facts_tlsa_rr rr = { (uint8_t)usage, (uint8_t)selector,
		(uint8_t)mtype, data, 0 };
	unsigned char *der = NULL;
	int len =
	    selector == 0 ? i2d_X509(c->x, &der) : i2d_PUBKEY(c->key, &der);

	assert_true(len > 0);
	if (mtype == 1)
		(void)SHA256(der, (size_t)len, data);
	else if (mtype == 2)
		(void)SHA512(der, (size_t)len, data);
	else
		memcpy(data, der, (size_t)len);
	rr.data_len = mtype == 1 ? 32 : mtype == 2 ? 64 : (size_t)len;
	OPENSSL_free(der);
	return rr;
}

/* ---- a chain at hand ------------------------------------------------------------------ */

#define DAY 86400L
#define NO  X509_V_ERR_DANE_NO_MATCH
static const char base[] = "mx.example";

static const struct {
	const char *name;
	int usage, selector, mtype, of; /* the record */
	int chain[4];			/* certificates, -1 ends */
	const char *names[3];		/* instead of base */
	long later_s;
	int depth;   /* -1: fails */
	long verify; /* then */
} rows[] = {
	/* DANE-EE: all selectors and matching types; DANE-25, DANE-26 */
	{ "3 1 1", 3, 1, 1, C_LEAF, { C_LEAF, C_MID, -1 }, { 0 }, 0, 0, 0 },
	{ "3 0 1", 3, 0, 1, C_LEAF, { C_LEAF, -1 }, { 0 }, 0, 0, 0 },
	{ "3 1 2", 3, 1, 2, C_LEAF, { C_LEAF, -1 }, { 0 }, 0, 0, 0 },
	{ "3 0 2", 3, 0, 2, C_LEAF, { C_LEAF, -1 }, { 0 }, 0, 0, 0 },
	{ "3 0 0", 3, 0, 0, C_LEAF, { C_LEAF, -1 }, { 0 }, 0, 0, 0 },
	{ "3 1 0", 3, 1, 0, C_LEAF, { C_LEAF, -1 }, { 0 }, 0, 0, 0 },
	{ "expired, self-signed, other name", 3, 1, 1, C_OLD, { C_OLD, -1 },
	    { 0 }, 0, 0, 0 },
	{ "in ten years", 3, 1, 1, C_LEAF, { C_LEAF, -1 }, { 0 }, 3650 * DAY, 0,
	    0 },
	{ "before it is valid", 3, 1, 1, C_LEAF, { C_LEAF, -1 }, { 0 },
	    -3650 * DAY, 0, 0 },
	{ "another certificate", 3, 1, 1, C_OTHER, { C_LEAF, C_MID, -1 }, { 0 },
	    0, -1, NO },
	{ "usage 3 of the CA is none", 3, 1, 1, C_MID,
	    { C_LEAF, C_MID, C_ROOT, -1 }, { 0 }, 0, -1, NO },
	/* DANE-TA; DANE-27, DANE-28 */
	{ "2 1 1 of the issuer", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 }, { 0 },
	    0, 1, 0 },
	{ "2 0 1 of the issuer", 2, 0, 1, C_MID, { C_LEAF, C_MID, -1 }, { 0 },
	    0, 1, 0 },
	{ "2 1 1 of the root", 2, 1, 1, C_ROOT, { C_LEAF, C_MID, C_ROOT, -1 },
	    { 0 }, 0, 2, 0 },
	{ "2 1 1 of a CA that was not sent", 2, 1, 1, C_ROOT,
	    { C_LEAF, C_MID, -1 }, { 0 }, 0, -1, NO },
	{ "2 0 0 of a CA that was not sent", 2, 0, 0, C_ROOT,
	    { C_LEAF, C_MID, -1 }, { 0 }, 0, 2, 0 },
	{ "2 1 0 of a CA that was not sent", 2, 1, 0, C_ROOT,
	    { C_LEAF, C_MID, -1 }, { 0 }, 0, 1, 0 },
	{ "2 1 1 of the leaf is none", 2, 1, 1, C_LEAF, { C_LEAF, C_MID, -1 },
	    { 0 }, 0, -1, NO },
	{ "2 1 1, in ten years", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 }, { 0 },
	    3650 * DAY, -1, X509_V_ERR_CERT_HAS_EXPIRED },
	{ "2 1 1, before it is valid", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 },
	    { 0 }, -3650 * DAY, -1, X509_V_ERR_CERT_NOT_YET_VALID },
	{ "2 1 1 of an issuer that is no CA", 2, 1, 1, C_NOT_CA,
	    { C_SELF, C_NOT_CA, -1 }, { "self.example" }, 0, -1,
	    X509_V_ERR_INVALID_CA },
	/* names: DANE-30, DANE-33 */
	{ "2 1 1, other name", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 },
	    { "other.example" }, 0, -1, X509_V_ERR_HOSTNAME_MISMATCH },
	{ "2 1 1, the second name", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 },
	    { "other.example", "mx.example" }, 0, 1, 0 },
	{ "2 1 1, the third name", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 },
	    { "other.example", "next.example", "mx.example" }, 0, 1, 0 },
	{ "2 1 1, a wildcard is one label", 2, 1, 1, C_MID,
	    { C_LEAF, C_MID, -1 }, { "a.wild.example" }, 0, 1, 0 },
	{ "2 1 1, not two", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 },
	    { "b.a.wild.example" }, 0, -1, X509_V_ERR_HOSTNAME_MISMATCH },
	{ "2 1 1, no partial wildcard", 2, 1, 1, C_MID, { C_LEAF, C_MID, -1 },
	    { "parts.part.example" }, 0, -1, X509_V_ERR_HOSTNAME_MISMATCH },
	{ "2 1 1, a common name beside DNS names is none", 2, 1, 1, C_MID,
	    { C_LEAF, C_MID, -1 }, { "leaf.cn.example" }, 0, -1,
	    X509_V_ERR_HOSTNAME_MISMATCH },
	{ "2 1 1, a common name alone", 2, 1, 1, C_MID, { C_CN, C_MID, -1 },
	    { "cn.example" }, 0, 1, 0 },
};

static STACK_OF(X509) * chain_of(const int *list)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	size_t i;

	for (i = 0; i < 4 && list[i] >= 0; i++)
		sk_X509_push(chain, certs[list[i]].x);
	return chain;
}

static void
chains(void **state)
{
	uint8_t data[4096];
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct facts_tlsa_rr rr = record(rows[i].usage,
		    rows[i].selector, rows[i].mtype, &certs[rows[i].of], data);
		struct dane_want want = { .rrs = &rr, .n_rrs = 1 };
		STACK_OF(X509) *chain = chain_of(rows[i].chain);
		struct dane_proof p;
		int r;

		for (k = 0; k < 3 && rows[i].names[k] != NULL; k++)
			want.names[want.n_names++] = rows[i].names[k];
		if (want.n_names == 0)
			want.names[want.n_names++] = base;
		r = dane_chain_verify(
		    &want, chain, (int64_t)time(NULL) + rows[i].later_s, &p);
		if (r != 1 || p.ok != (rows[i].depth >= 0) ||
		    p.depth != rows[i].depth || p.verify != rows[i].verify ||
		    p.record != (p.ok ? 0 : -1))
			fail_msg("%s: %d, depth %d, verify %ld (%s)",
			    rows[i].name, r, p.depth, p.verify,
			    X509_verify_cert_error_string(p.verify));
		/* DANE-EE has no need of a name */
		assert_true((p.name[0] != '\0') == (p.ok && rr.usage == 2));
		sk_X509_free(chain);
	}
}

/* (!) None that can be used: never a silent PKIX check. */
static void
unusable_sets(void **state)
{
	static const struct {
		const char *name;
		int usage, selector, mtype, cut;
	} sets[] = {
		{ "PKIX-TA", 0, 1, 1, 0 },
		{ "PKIX-EE", 1, 1, 1, 0 },
		{ "unknown usage", 7, 1, 1, 0 },
		{ "unknown selector", 3, 5, 1, 0 },
		{ "unknown matching type", 3, 1, 9, 0 },
		{ "short digest", 3, 1, 1, 1 },
		{ "broken certificate", 2, 0, 0, 1 },
		{ "broken key", 3, 1, 0, 1 },
	};
	const int list[] = { C_LEAF, C_MID, C_ROOT, -1 };
	STACK_OF(X509) *chain = chain_of(list);
	uint8_t data[4096];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct facts_tlsa_rr rr = record(sets[i].usage,
		    sets[i].selector, sets[i].mtype, &certs[C_LEAF], data);
		struct dane_want want = {
			.names = { base }, .n_names = 1, .rrs = &rr, .n_rrs = 1
		};
		struct dane_proof p;
		int r;

		rr.data_len -= (size_t)sets[i].cut;
		r = dane_chain_verify(&want, chain, (int64_t)time(NULL), &p);
		if (r != 0)
			fail_msg("%s: %d", sets[i].name, r);
	}
	sk_X509_free(chain);
}

/* Any of several may match; the record that did is told. */
static void
several_records(void **state)
{
	const int list[] = { C_LEAF, C_MID, -1 };
	STACK_OF(X509) *chain = chain_of(list);
	uint8_t data[4][4096];
	struct facts_tlsa_rr rrs[4];
	struct dane_want want = {
		.names = { base }, .n_names = 1, .rrs = rrs, .n_rrs = 4
	};
	struct dane_proof p;

	(void)state;
	rrs[0] = record(1, 1, 1, &certs[C_LEAF], data[0]);
	rrs[1] = record(3, 1, 1, &certs[C_OTHER], data[1]);
	rrs[2] = record(2, 1, 1, &certs[C_MID], data[2]);
	rrs[3] = record(3, 0, 1, &certs[C_OTHER], data[3]);
	assert_int_equal(
	    dane_chain_verify(&want, chain, (int64_t)time(NULL), &p), 3);
	assert_true(p.ok);
	assert_int_equal(p.record, 2);
	assert_int_equal(p.depth, 1);
	assert_string_equal(p.name, base);
	/* a stronger digest that does not match beside a weaker one that does:
	 * OpenSSL itself looks at the stronger only */
	rrs[0] = record(3, 1, 1, &certs[C_LEAF], data[0]);
	rrs[1] = record(3, 1, 2, &certs[C_OTHER], data[1]);
	want.n_rrs = 2;
	assert_int_equal(
	    dane_chain_verify(&want, chain, (int64_t)time(NULL), &p), 2);
	assert_false(p.ok);
	sk_X509_free(chain);
}

/* ---- handshakes --------------------------------------------------------------------------- */

struct ends {
	SSL_CTX *cctx, *sctx;
	struct tls *c, *s;
};

static void
move(struct tls *from, struct tls *to)
{
	const uint8_t *data;
	size_t n = tls_out(from, &data);

	if (n > 0) {
		assert_int_equal(tls_feed(to, data, n), 0);
		tls_out_drop(from, n);
	}
}

/* The client trusts the root: PKIX would say yes to the usual chain. */
static void
start(struct ends *e, const int *list)
{
	size_t i;

	memset(e, 0, sizeof(*e));
	assert_int_equal(tls_ctx_new(TLS_CLIENT, false, &e->cctx), 0);
	assert_int_equal(tls_ctx_new(TLS_SERVER, false, &e->sctx), 0);
	SSL_CTX_set_verify(e->cctx, SSL_VERIFY_NONE, NULL);
	assert_int_equal(X509_STORE_add_cert(
			     SSL_CTX_get_cert_store(e->cctx), certs[C_ROOT].x),
	    1);
	assert_int_equal(SSL_CTX_use_certificate(e->sctx, certs[list[0]].x), 1);
	assert_int_equal(
	    SSL_CTX_use_PrivateKey(e->sctx, certs[list[0]].key), 1);
	for (i = 1; list[i] >= 0; i++)
		assert_int_equal(
		    SSL_CTX_add1_chain_cert(e->sctx, certs[list[i]].x), 1);
	assert_int_equal(tls_new(e->cctx, TLS_CLIENT, &e->c), 0);
	assert_int_equal(tls_new(e->sctx, TLS_SERVER, &e->s), 0);
}

static void
shake(struct ends *e)
{
	int i;

	for (i = 0; i < 10 && !(tls_is_up(e->c) && tls_is_up(e->s)); i++) {
		if (!tls_is_up(e->c))
			assert_true(tls_handshake(e->c) >= 0);
		move(e->c, e->s);
		if (!tls_is_up(e->s))
			assert_true(tls_handshake(e->s) >= 0);
		move(e->s, e->c);
	}
	assert_true(tls_is_up(e->c));
	assert_true(tls_is_up(e->s));
}

static void
stop(struct ends *e)
{
	tls_free(e->c);
	tls_free(e->s);
	SSL_CTX_free(e->cctx);
	SSL_CTX_free(e->sctx);
}

static void
handshakes(void **state)
{
	const int list[] = { C_LEAF, C_MID, -1 };
	static const struct {
		int usage, of, taken, depth;
	} sets[] = {
		{ 3, C_LEAF, 1, 0 },
		{ 3, C_OTHER, 1, -1 },
		{ 2, C_MID, 1, 1 },
		{ 2, C_OTHER, 1, -1 },
		{ 1, C_LEAF, 0, -1 },
	};
	uint8_t data[4096];
	struct dane_proof p;
	struct tls_info info;
	struct ends e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct facts_tlsa_rr rr =
		    record(sets[i].usage, 1, 1, &certs[sets[i].of], data);
		struct dane_want want = { .names = { "next.example", base },
			.n_names = 2,
			.rrs = &rr,
			.n_rrs = 1 };

		start(&e, list);
		assert_int_equal(
		    dane_ssl_apply(tls_ssl(e.c), &want), sets[i].taken);
		shake(&e);
		dane_ssl_result(tls_ssl(e.c), &want, &p);
		if (p.ok != (sets[i].depth >= 0) || p.depth != sets[i].depth)
			fail_msg("row %zu: ok %d, depth %d, verify %ld", i,
			    p.ok, p.depth, p.verify);
		/* DANE-36 */
		tls_info(e.s, &info);
		assert_string_equal(info.sni, "next.example");
		if (p.ok && sets[i].usage == 2)
			assert_string_equal(p.name, base);
		stop(&e);
	}
}

/* (!) The edge itself: where no record was taken OpenSSL reports success by
 * PKIX, which is why its result is not the proof. */
static void
openssl_falls_back_to_pkix(void **state)
{
	const int list[] = { C_LEAF, C_MID, -1 };
	uint8_t data[4096];
	struct facts_tlsa_rr rr = record(1, 1, 1, &certs[C_OTHER], data);
	struct dane_want want = {
		.names = { base }, .n_names = 1, .rrs = &rr, .n_rrs = 1
	};
	struct dane_proof p;
	struct ends e;

	(void)state;
	start(&e, list);
	assert_int_equal(dane_ssl_apply(tls_ssl(e.c), &want), 0);
	shake(&e);
	assert_int_equal(SSL_get_verify_result(tls_ssl(e.c)), X509_V_OK);
	dane_ssl_result(tls_ssl(e.c), &want, &p);
	assert_false(p.ok);
	assert_int_equal(p.verify, X509_V_ERR_DANE_NO_MATCH);
	stop(&e);
}

/* (!) A resumed session says "verified" for any set of records. */
static void
resumption_proves_nothing(void **state)
{
	const int list[] = { C_LEAF, C_MID, -1 };
	uint8_t data[2][4096];
	struct facts_tlsa_rr good = record(3, 1, 1, &certs[C_LEAF], data[0]),
			     bad = record(3, 1, 1, &certs[C_OTHER], data[1]);
	struct dane_want want = {
		.names = { base }, .n_names = 1, .rrs = &good, .n_rrs = 1
	};
	SSL_SESSION *session;
	struct dane_proof p;
	struct tls_info info;
	char buf[16];
	struct ends e;

	(void)state;
	start(&e, list);
	assert_int_equal(dane_ssl_apply(tls_ssl(e.c), &want), 1);
	shake(&e);
	(void)tls_read(e.c, buf, sizeof(buf)); /* takes the tickets */
	dane_ssl_result(tls_ssl(e.c), &want, &p);
	assert_true(p.ok);
	session = SSL_get1_session(tls_ssl(e.c));
	assert_int_equal(SSL_SESSION_is_resumable(session), 1);
	tls_free(e.c);
	tls_free(e.s);
	assert_int_equal(tls_new(e.cctx, TLS_CLIENT, &e.c), 0);
	assert_int_equal(tls_new(e.sctx, TLS_SERVER, &e.s), 0);
	want.rrs = &bad;
	assert_int_equal(dane_ssl_apply(tls_ssl(e.c), &want), 1);
	assert_int_equal(SSL_set_session(tls_ssl(e.c), session), 1);
	shake(&e);
	tls_info(e.c, &info);
	assert_true(info.resumed);
	assert_int_equal(info.verify_result, X509_V_OK);
	dane_ssl_result(tls_ssl(e.c), &want, &p);
	assert_false(p.ok);
	SSL_SESSION_free(session);
	stop(&e);
}

static int
setup(void **state)
{
	(void)state;
	certs[C_ROOT] = test_cert_new("Root", NULL, NULL, 1, 365);
	certs[C_MID] = test_cert_new("Mid", NULL, &certs[C_ROOT], 1, 365);
	certs[C_LEAF] = test_cert_new("leaf.cn.example",
	    "DNS:mx.example,DNS:*.wild.example,DNS:p*.part.example",
	    &certs[C_MID], 0, 365);
	certs[C_OTHER] = test_cert_new("other", "DNS:mx.example", NULL, 0, 365);
	certs[C_OLD] = test_cert_new("old", "DNS:old.example", NULL, 0, -1);
	certs[C_CN] = test_cert_new("cn.example", NULL, &certs[C_MID], 0, 365);
	certs[C_NOT_CA] =
	    test_cert_new("no-ca.example", NULL, &certs[C_ROOT], 0, 365);
	certs[C_SELF] = test_cert_new(
	    "self.example", "DNS:self.example", &certs[C_NOT_CA], 0, 365);
	return 0;
}

static int
teardown(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < N_CERTS; i++)
		test_cert_done(&certs[i]);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains),
		cmocka_unit_test(unusable_sets),
		cmocka_unit_test(several_records),
		cmocka_unit_test(handshakes),
		cmocka_unit_test(openssl_falls_back_to_pkix),
		cmocka_unit_test(resumption_proves_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
