/*
 * test_settings.c - settings whose certificates and keys cannot be used.
 *
 * What a process would refuse at its start is refused by check, run and reload.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "supervisor/supervisor.h"
#include "tests/lib/tls/tls_certs.h"

static char dir[64];
static struct test_cert mine, other;

static void
put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) < 0, 0);
	assert_int_equal(fclose(f), 0);
}

static const struct {
	const char *name;
	const char *cert, *key, *ca; /* which of the PEM files below */
	const char *want;	     /* in the one error, or NULL */
} cases[] = {
	{ "all fits", "mine.crt", "mine.key", "mine.crt", NULL },
	{ "another key", "mine.crt", "other.key", "mine.crt",
	    "[certificate default] cannot be used: key does not belong" },
	{ "a certificate for a key", "mine.crt", "mine.crt", "mine.crt",
	    "[certificate default] cannot be used: key:" },
	{ "a key for a certificate", "mine.key", "mine.key", "mine.crt",
	    "[certificate default] cannot be used: certificate:" },
	{ "an empty certificate", "empty", "mine.key", "mine.crt",
	    "[certificate default] cannot be used: certificate:" },
	{ "broken CA certificates", "mine.crt", "mine.key", "broken",
	    "[trust] ca_file" },
};

static void
test_files(void **state)
{
	char text[1024];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conf_errors errs = { 0 };
		struct conf *conf = NULL;
		int r;

		(void)snprintf(text, sizeof(text),
		    "[postern]\nhostname = gw1.example.net\n"
		    "[listener a]\naddress = 127.0.0.1:2525\n"
		    "relay_from = 127.0.0.0/8\ncertificate = default\n"
		    "[certificate default]\ncert_file = %s/%s\n"
		    "key_file = %s/%s\n[trust]\nca_file = %s/%s\n",
		    dir, cases[i].cert, dir, cases[i].key, dir, cases[i].ca);
		put("postern.conf", text);
		r = settings_load(dir, &errs, &conf);
		if (cases[i].want == NULL) {
			assert_int_equal(r, 0);
			assert_non_null(conf);
		} else {
			assert_int_equal(r, PE_CONFIG);
			assert_null(conf);
			assert_int_equal(errs.errors, 1);
			if (strstr(errs.v[0].text, cases[i].want) == NULL)
				fail_msg("%s: found \"%s\", wanted \"%s\"",
				    cases[i].name, errs.v[0].text,
				    cases[i].want);
		}
		conf_errors_done(&errs);
		conf_unref(conf);
	}
}

static int
set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/postern-settings-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	mine = test_cert_new("gw1.example.net", NULL, NULL, 1, 10);
	other = test_cert_new("other.example", NULL, NULL, 0, 10);
	put("mine.crt", mine.cert_pem);
	put("mine.key", mine.key_pem);
	put("other.key", other.key_pem);
	put("empty", "");
	put("broken",
	    "-----BEGIN CERTIFICATE-----\nAAAA\n"
	    "-----END CERTIFICATE-----\n");
	return 0;
}

static int
tear_down(void **state)
{
	static const char *const names[] = { "mine.crt", "mine.key",
		"other.key", "empty", "broken", "postern.conf" };
	char path[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	test_cert_done(&mine);
	test_cert_done(&other);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
