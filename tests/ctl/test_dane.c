/*
 * test_dane.c - dane verify and dane plan: the contract of scripts and corpora,
 * and wrong calls. What is decided is tested in tests/lib/dane, and against real
 * servers in tests/e2e/test_dane.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/sha.h>

#include "tests/ctl/run.h"
#include "tests/lib/tls/tls_certs.h"

static void
expect(struct run *r, int code, const char *out)
{
	if (r->code != code || strcmp(r->out, out) != 0)
		fail_msg("code %d: %s%s", r->code, r->out, r->err);
	run_done(r);
}

static struct test_cert cert;
static char path[] = "/tmp/postern-test-XXXXXX";
static char ee[16 + 64 + 1]; /* "3 1 1 …" */

static void
verify(void **state)
{
	struct run r;
	char want[512], other[sizeof(ee)];

	(void)state;
	RUN(&r, "dane", "verify", "--chain", path, "--tlsa", ee,
	    "--base-domain", "MX.example.");
	(void)snprintf(want, sizeof(want),
	    "{\"outcome\":\"authenticated\",\"reason\":\"\",\"depth\":0,"
	    "\"name\":\"\",\"record\":\"%s\"}\n",
	    ee);
	expect(&r, 0, want);
	(void)strcpy(other, ee);
	other[6] = ee[6] == '0' ? '1' : '0';
	RUN(&r, "dane", "verify", "--chain", path, "--tlsa", other,
	    "--base-domain", "mx.example", "--name", "a.example", "--name",
	    "b.example", "--now", "0");
	assert_int_equal(r.code, 1);
	assert_non_null(strstr(r.out, "{\"outcome\":\"fail\",\"reason\":\""));
	assert_non_null(strstr(r.out, "\"depth\":null"));
	run_done(&r);
	RUN(&r, "dane", "verify", "--chain", path, "--tlsa", "3 1 1 ab",
	    "--base-domain", "mx.example");
	expect(&r, 1,
	    "{\"outcome\":\"unusable\",\"reason\":\"3 1 1: its data has not "
	    "the length of the digest\",\"depth\":null}\n");
}

static void
wrong_calls(void **state)
{
	struct run r;

	(void)state;
	RUN(&r, "dane", "verify", "--chain", path, "--base-domain", "a");
	expect(&r, 2, "");
	RUN(&r, "dane", "verify", "--chain", path, "--tlsa", ee);
	expect(&r, 2, "");
	RUN(&r, "dane", "verify", "--tlsa", ee, "--base-domain", "a");
	expect(&r, 2, "");
	RUN(&r, "dane", "verify", "--chain", "/nowhere", "--tlsa", ee,
	    "--base-domain", "a");
	expect(&r, 2, "");
	RUN(&r, "dane", "verify", "--chain", "/dev/null", "--tlsa", ee,
	    "--base-domain", "a");
	expect(&r, 2, "");
	RUN(&r, "dane", "verify", "--chain", path, "--tlsa", "3 1 1 abc",
	    "--base-domain", "a");
	expect(&r, 2, "");
	RUN(&r, "dane", "verify", "--chain", path, "--tlsa", ee,
	    "--base-domain", "a", "--now", "soon");
	expect(&r, 2, "");
	RUN(&r, "dane", "plan", "--domain", "a.example");
	expect(&r, 2, "");
	RUN(&r, "dane", "plan", "--domain", "[192.0.2.1]", "--resolver",
	    "127.0.0.1:1");
	expect(&r, 2, "");
	RUN(&r, "dane", "plan", "--domain", "a.example", "--resolver", "there");
	expect(&r, 2, "");
	RUN(&r, "dane", "plan", "--domain", "a.example", "--resolver",
	    "127.0.0.1:1,127.0.0.2:1");
	expect(&r, 2, "");
	RUN(&r, "dane", "plan", "--domain", "a.example", "--resolver",
	    "127.0.0.1:1", "--port", "0");
	expect(&r, 2, "");
	RUN(&r, "dane", "plan", "--domain", "a.example", "--resolver",
	    "127.0.0.1:1", "--trust-ad", "maybe");
	expect(&r, 2, "");
}

/* Numbers come as numbers or as text; the chain may come as text. */
static void
json_lines(void **state)
{
	static const char *const words[] = { "dane", "verify", "--stdin",
		NULL };
	char in[4096], pem[2048];
	struct run r;
	size_t i, n = 0;

	(void)state;
	for (i = 0; cert.cert_pem[i] != '\0'; i++) {
		if (cert.cert_pem[i] == '\n') {
			pem[n++] = '\\';
			pem[n++] = 'n';
		} else {
			pem[n++] = cert.cert_pem[i];
		}
	}
	pem[n] = '\0';
	(void)snprintf(in, sizeof(in),
	    "{\"id\":\"7\",\"chain\":\"%s\",\"tlsa\":[\"%s\"],"
	    "\"base_domain\":\"mx.example\",\"now\":1700000000}\n"
	    "{\"id\":8,\"chain_pem\":\"%s\",\"tlsa\":[],"
	    "\"base_domain\":\"mx.example\",\"now\":\"1700000000\"}\n"
	    "{\"id\":9,\"chain_pem\":\"x\",\"tlsa\":[3],"
	    "\"base_domain\":\"mx.example\"}\n",
	    path, ee, pem);
	run_ctl(&r, in, strlen(in), words);
	if (r.code != 2 || strstr(r.out, "authenticated") == NULL)
		fail_msg("code %d: %s", r.code, r.out);
	assert_non_null(strstr(r.out, "\"authenticated\""));
	assert_non_null(strstr(r.out, "\"id\":\"7\""));
	assert_non_null(strstr(r.out,
	    "{\"outcome\":\"unusable\",\"reason\":\"there is no TLSA "
	    "record\",\"depth\":null,\"id\":8}\n"));
	assert_non_null(strstr(r.out, "\"line\":3"));
	run_done(&r);
}

static void
no_server(void **state)
{
	struct run r;

	(void)state;
	/* port 1 of loopback is closed: the answer is "could not find out" */
	RUN(&r, "dane", "plan", "--domain", "a.example", "--resolver",
	    "127.0.0.1:1");
	assert_int_equal(r.code, 1);
	assert_non_null(strstr(r.out,
	    "{\"domain\":\"a.example\",\"mx_security\":\"indeterminate\","
	    "\"outcome\":\"defer\",\"reason\":\"dns-indeterminate\""));
	assert_non_null(strstr(r.out, "\"hosts\":[]"));
	run_done(&r);
}

static int
setup(void **state)
{
	unsigned char *key = NULL, sum[32];
	int fd = mkstemp(path), len, i;

	(void)state;
	cert = test_cert_new("mx.example", "DNS:mx.example", NULL, 0, -1);
	if (fd < 0 || write(fd, cert.cert_pem, strlen(cert.cert_pem)) < 0)
		return -1;
	(void)close(fd);
	len = i2d_PUBKEY(cert.key, &key);
	(void)SHA256(key, (size_t)len, sum);
	OPENSSL_free(key);
	(void)strcpy(ee, "3 1 1 ");
	for (i = 0; i < 32; i++)
		(void)sprintf(ee + 6 + 2 * i, "%02x", sum[i]);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	test_cert_done(&cert);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verify),
		cmocka_unit_test(wrong_calls),
		cmocka_unit_test(json_lines),
		cmocka_unit_test(no_server),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
