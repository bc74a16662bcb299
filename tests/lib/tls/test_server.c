/*
 * test_server.c - the TLS pump and the listener's context: two pumps wired
 * together, whole and byte by byte; client certificates; what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "lib/base/err.h"
#include "lib/tls/server.h"
#include "lib/tls/tls.h"
#include "tests/lib/tls/tls_certs.h"

static struct test_cert ca, other_ca, server, client, bad_client, old_client,
    cn_client;

static int
setup(void **state)
{
	(void)state;
	ca = test_cert_new("Test CA", NULL, NULL, 1, 30);
	other_ca = test_cert_new("Other CA", NULL, NULL, 1, 30);
	server =
	    test_cert_new("gw1.example.net", "DNS:gw1.example.net", &ca, 0, 30);
	client = test_cert_new("ignored.example",
	    "DNS:Host.Example,email:Anna@Example.NET", &ca, 0, 30);
	bad_client =
	    test_cert_new("evil", "DNS:host.example", &other_ca, 0, 30);
	old_client = test_cert_new("old", "DNS:host.example", &ca, 0, -1);
	cn_client = test_cert_new("CN.Example", NULL, &ca, 0, 30);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	test_cert_done(&ca);
	test_cert_done(&other_ca);
	test_cert_done(&server);
	test_cert_done(&client);
	test_cert_done(&bad_client);
	test_cert_done(&old_client);
	test_cert_done(&cn_client);
	return 0;
}

static struct tls_server_conf
conf_of(const struct test_cert *c, const struct test_cert *client_ca)
{
	struct tls_server_conf conf = { .name = "internal",
		.cert = (const uint8_t *)c->cert_pem,
		.cert_len = strlen(c->cert_pem),
		.key = (const uint8_t *)c->key_pem,
		.key_len = strlen(c->key_pem) };

	if (client_ca != NULL) {
		conf.client_ca = (const uint8_t *)client_ca->cert_pem;
		conf.client_ca_len = strlen(client_ca->cert_pem);
	}
	return conf;
}

static SSL_CTX *
server_ctx(const struct test_cert *client_ca, bool min_13)
{
	struct tls_server_conf conf = conf_of(&server, client_ca);
	SSL_CTX *ctx = NULL;
	char why[160];

	conf.min_13 = min_13;
	assert_int_equal(tls_server_ctx(&conf, &ctx, why, sizeof(why)), 0);
	return ctx;
}

static SSL_CTX *
client_ctx(const struct test_cert *cert)
{
	SSL_CTX *ctx = NULL;

	assert_int_equal(tls_ctx_new(TLS_CLIENT, false, &ctx), 0);
	if (cert != NULL) {
		assert_int_equal(SSL_CTX_use_certificate(ctx, cert->x), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, cert->key), 1);
	}
	return ctx;
}

/* Move what waits, at most step bytes at a time. True when something moved. */
static bool
move(struct tls *from, struct tls *to, size_t step)
{
	const uint8_t *data;
	size_t n = tls_out(from, &data);

	if (n == 0)
		return false;
	if (n > step)
		n = step;
	assert_int_equal(tls_feed(to, data, n), 0);
	tls_out_drop(from, n);
	return true;
}

/* Both handshakes to their end; 1 or the first error of the server, or of the
 * client. */
static int
shake(struct tls *c, struct tls *s, size_t step)
{
	int rc = tls_handshake(c), rs = 0;
	bool more = true;

	while (more && rc >= 0 && rs >= 0) {
		more = move(c, s, step);
		rs = tls_handshake(s);
		more = move(s, c, step) || more;
		rc = tls_handshake(c);
	}
	if (rs < 0)
		return rs;
	return rc < 0 ? rc : rc == 1 && rs == 1;
}

/* Say text from one side, hear it whole on the other. */
static void
say(struct tls *from, struct tls *to, const char *text, size_t len, size_t step)
{
	char *got = malloc(len + 1);
	size_t at = 0;
	ssize_t n;

	assert_non_null(got);
	assert_int_equal(tls_write(from, text, len), 0);
	do {
		n = tls_read(to, got + at, len + 1 - at);
		assert_true(n >= 0);
		at += (size_t)n;
	} while (n > 0 || move(from, to, step));
	assert_int_equal(at, len);
	assert_memory_equal(got, text, len);
	free(got);
}

static void
run_both(SSL_CTX *sctx, SSL_CTX *cctx, size_t step)
{
	static char big[100000];
	struct tls *s = NULL, *c = NULL;
	struct tls_info info;
	const uint8_t *none;

	memset(big, 'x', sizeof(big));
	assert_int_equal(tls_new(sctx, TLS_SERVER, &s), 0);
	assert_int_equal(tls_new(cctx, TLS_CLIENT, &c), 0);
	SSL_set_tlsext_host_name(tls_ssl(c), "gw1.example.net");
	assert_int_equal(shake(c, s, step), 1);
	say(c, s, "EHLO a\r\n", 8, step);
	say(s, c, "250 b\r\n", 7, step);
	say(c, s, big, sizeof(big), step);
	tls_info(s, &info);
	assert_string_equal(info.sni, "gw1.example.net");
	assert_non_null(strstr(info.protocol, "TLSv1."));
	assert_false(info.peer_cert);
	/* idle: nothing is kept in our buffers */
	assert_int_equal(tls_out(s, &none), 0);
	assert_null(none);
	assert_false(tls_has_input(s));
	/* close_notify is told apart from silence */
	tls_shutdown(c);
	while (move(c, s, step))
		;
	assert_int_equal(tls_read(s, big, 1), PE_GONE);
	tls_free(c);
	tls_free(s);
}

static void
test_dialogue(void **state)
{
	SSL_CTX *sctx = server_ctx(NULL, false), *cctx = client_ctx(NULL);

	(void)state;
	run_both(sctx, cctx, 1 << 20);
	run_both(sctx, cctx, 1);
	SSL_CTX_set_max_proto_version(cctx, TLS1_2_VERSION);
	run_both(sctx, cctx, 1 << 20);
	SSL_CTX_free(sctx);
	SSL_CTX_free(cctx);
}

static void
test_versions(void **state)
{
	SSL_CTX *sctx = server_ctx(NULL, true), *cctx = client_ctx(NULL);
	struct tls *s = NULL, *c = NULL;

	(void)state;
	SSL_CTX_set_max_proto_version(cctx, TLS1_2_VERSION);
	assert_int_equal(tls_new(sctx, TLS_SERVER, &s), 0);
	assert_int_equal(tls_new(cctx, TLS_CLIENT, &c), 0);
	assert_int_equal(shake(c, s, 1 << 20), PE_TLS);
	assert_string_equal(tls_error(s), "unsupported protocol");
	/* broken stays broken, and the alert is there to be sent */
	assert_int_equal(tls_handshake(s), PE_TLS);
	assert_int_equal(tls_write(s, "x", 1), PE_TLS);
	tls_free(s);
	tls_free(c);
	/* bytes that are no TLS at all */
	assert_int_equal(tls_new(sctx, TLS_SERVER, &s), 0);
	assert_int_equal(tls_feed(s, "EHLO plain.example\r\n", 20), 0);
	assert_int_equal(tls_handshake(s), PE_TLS);
	assert_true(strlen(tls_error(s)) > 0);
	tls_free(s);
	SSL_CTX_free(sctx);
	SSL_CTX_free(cctx);
}

static void
test_bounds(void **state)
{
	SSL_CTX *sctx = server_ctx(NULL, false), *cctx = client_ctx(NULL);
	static char piece[TLS_WRITE_MAX];
	struct tls *s = NULL, *c = NULL;
	const uint8_t *out;
	int r = 0, n = 0;

	(void)state;
	assert_int_equal(tls_new(sctx, TLS_SERVER, &s), 0);
	assert_int_equal(tls_new(cctx, TLS_CLIENT, &c), 0);
	assert_int_equal(shake(c, s, 1 << 20), 1);
	while (tls_out(s, &out) > 0)
		tls_out_drop(s, tls_out(s, &out));
	/* a whole piece fits into an empty output; it fills up; it recovers */
	assert_int_equal(tls_write(s, piece, sizeof(piece)), 0);
	while ((r = tls_write(s, piece, sizeof(piece))) == 0)
		n++;
	assert_int_equal(r, PE_FULL);
	assert_true(n < 3);
	assert_true(tls_out(s, &out) <= TLS_OUT_MAX);
	tls_out_drop(s, tls_out(s, &out));
	assert_int_equal(tls_write(s, piece, sizeof(piece)), 0);
	/* input as well */
	while ((r = tls_feed(s, piece, sizeof(piece))) == 0)
		;
	assert_int_equal(r, PE_FULL);
	tls_free(s);
	tls_free(c);
	SSL_CTX_free(sctx);
	SSL_CTX_free(cctx);
}

static void
check_client(
    const struct test_cert *cert, bool shown, long verify, const char *names)
{
	SSL_CTX *sctx = server_ctx(&ca, false), *cctx = client_ctx(cert);
	struct tls *s = NULL, *c = NULL;
	struct tls_names got;
	struct tls_info info;
	char text[200] = "";
	size_t i;

	assert_int_equal(tls_new(sctx, TLS_SERVER, &s), 0);
	assert_int_equal(tls_new(cctx, TLS_CLIENT, &c), 0);
	assert_int_equal(shake(c, s, 1 << 20), 1);
	tls_info(s, &info);
	assert_int_equal(info.peer_cert, shown);
	assert_int_equal(info.verify_result, verify);
	assert_int_equal(tls_peer_names(s, &got), 0);
	for (i = 0; i < got.n; i++) {
		strcat(text, got.v[i]);
		strcat(text, " ");
	}
	assert_string_equal(text, names);
	tls_names_done(&got);
	tls_free(s);
	tls_free(c);
	SSL_CTX_free(sctx);
	SSL_CTX_free(cctx);
}

static void
test_client_certs(void **state)
{
	(void)state;
	check_client(NULL, false, X509_V_OK, "");
	check_client(
	    &client, true, X509_V_OK, "host.example Anna@example.net ");
	check_client(&cn_client, true, X509_V_OK, "cn.example ");
	/* not ours, and ours but expired: seen, and never with result 0 */
	check_client(&bad_client, true,
	    X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "host.example ");
	check_client(
	    &old_client, true, X509_V_ERR_CERT_HAS_EXPIRED, "host.example ");
}

/* A session resumed brings its certificate and its verdict with it. */
static void
test_resume(void **state)
{
	const struct test_cert *certs[] = { &client, &bad_client };
	SSL_CTX *sctx = server_ctx(&ca, false), *elsewhere, *cctx;
	struct tls *s = NULL, *c = NULL;
	struct tls_info first, info;
	SSL_SESSION *sess;
	char byte;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		cctx = client_ctx(certs[i]);
		assert_int_equal(tls_new(sctx, TLS_SERVER, &s), 0);
		assert_int_equal(tls_new(cctx, TLS_CLIENT, &c), 0);
		assert_int_equal(shake(c, s, 1 << 20), 1);
		tls_info(s, &first);
		while (move(s, c, 1 << 20))
			;
		assert_int_equal(tls_read(c, &byte, 1), 0);
		sess = SSL_get1_session(tls_ssl(c));
		tls_free(s);
		tls_free(c); /* no close_notify: still resumable */
		assert_int_equal(SSL_SESSION_is_resumable(sess), 1);
		assert_int_equal(tls_new(sctx, TLS_SERVER, &s), 0);
		assert_int_equal(tls_new(cctx, TLS_CLIENT, &c), 0);
		SSL_set_session(tls_ssl(c), sess);
		assert_int_equal(shake(c, s, 1 << 20), 1);
		tls_info(s, &info);
		assert_true(info.resumed);
		assert_true(info.peer_cert);
		assert_int_equal(info.verify_result, first.verify_result);
		tls_free(s);
		tls_free(c);
		/* another listener does not know it */
		elsewhere = server_ctx(NULL, false);
		assert_int_equal(tls_new(elsewhere, TLS_SERVER, &s), 0);
		assert_int_equal(tls_new(cctx, TLS_CLIENT, &c), 0);
		SSL_set_session(tls_ssl(c), sess);
		assert_int_equal(shake(c, s, 1 << 20), 1);
		tls_info(s, &info);
		assert_false(info.resumed);
		tls_free(s);
		tls_free(c);
		SSL_CTX_free(elsewhere);
		SSL_SESSION_free(sess);
		SSL_CTX_free(cctx);
	}
	SSL_CTX_free(sctx);
}

static void
test_refused(void **state)
{
	struct tls_server_conf conf;
	SSL_CTX *ctx = NULL;
	char why[160], *rsa_pem;
	EVP_PKEY *key;
	BIO *bio;

	(void)state;
	conf = conf_of(&server, NULL);
	conf.key = (const uint8_t *)client.key_pem;
	conf.key_len = strlen(client.key_pem);
	assert_int_equal(tls_server_ctx(&conf, &ctx, why, sizeof(why)), PE_TLS);
	assert_non_null(strstr(why, "key does not belong to the certificate"));
	/* of another type, OpenSSL takes it beside the certificate */
	key = EVP_RSA_gen(2048);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	EVP_PKEY_free(key);
	rsa_pem = test_pem(bio);
	conf.key = (const uint8_t *)rsa_pem;
	conf.key_len = strlen(rsa_pem);
	assert_int_equal(tls_server_ctx(&conf, &ctx, why, sizeof(why)), PE_TLS);
	assert_non_null(strstr(why, "key does not belong to the certificate"));
	free(rsa_pem);
	conf = conf_of(&server, NULL);
	conf.cert = (const uint8_t *)"nothing\n";
	conf.cert_len = 8;
	assert_int_equal(tls_server_ctx(&conf, &ctx, why, sizeof(why)), PE_TLS);
	assert_string_equal(why, "certificate: no start line");
	conf = conf_of(&server, NULL);
	conf.key = conf.cert;
	conf.key_len = conf.cert_len;
	assert_int_equal(tls_server_ctx(&conf, &ctx, why, sizeof(why)), PE_TLS);
	assert_non_null(strstr(why, "key: "));
	conf = conf_of(&server, NULL);
	conf.client_ca = (const uint8_t *)"";
	conf.client_ca_len = 0;
	assert_int_equal(tls_server_ctx(&conf, &ctx, why, sizeof(why)), PE_TLS);
	assert_string_equal(why, "client CA: no start line");
	assert_null(ctx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogue),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_client_certs),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
