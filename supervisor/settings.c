/*
 * settings.c - a set of settings with certificates and keys that can be used.
 *
 * Called for check, run and reload. Asks of the PEM files what the processes
 * ask of them when they start, by the same code: a set that one of them would
 * refuse is refused as a whole, before anybody has it. Keeps no key.
 */
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/tls/client.h"
#include "lib/tls/server.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>

/* A file that is missing is not ours to tell: the reader has done so. */
static int
check_certificate(const struct conf *conf, const struct conf_certificate *c,
    struct conf_errors *errs)
{
	struct tls_server_conf tc = { .name = c->name };
	SSL_CTX *ctx = NULL;
	char why[192] = "";
	int r;

	if (conf_file(conf, c->cert_file, &tc.cert, &tc.cert_len) < 0 ||
	    conf_file(conf, c->key_file, &tc.key, &tc.key_len) < 0)
		return 0;
	r = tls_server_ctx(&tc, &ctx, why, sizeof(why));
	SSL_CTX_free(ctx);
	if (r == PE_TLS)
		conf_errors_tell(errs, "postern.conf",
		    "[certificate %s] cannot be used: %s; cert_file %s, "
		    "key_file %s, wanted PEM: the certificate and its chain, "
		    "and its key without a password",
		    c->name, why, c->cert_file, c->key_file);
	return r == PE_TLS ? 0 : r;
}

static int
check_cas(const struct conf *conf, const char *section, const char *key,
    const char *path, struct conf_errors *errs)
{
	struct tls_client *client = NULL;
	const uint8_t *data;
	char why[192] = "";
	size_t len;
	int r;

	if (path == NULL || conf_file(conf, path, &data, &len) < 0)
		return 0;
	r = tls_client_new(data, len, &client, NULL, why, sizeof(why));
	tls_client_unref(client);
	if (r == PE_TLS)
		conf_errors_tell(errs, "postern.conf",
		    "[%s] %s %s cannot be used: %s; wanted certificates in PEM",
		    section, key, path, why);
	return r == PE_TLS ? 0 : r;
}

static int
check_files(const struct conf *conf, struct conf_errors *errs)
{
	char section[256];
	size_t i;
	int r;

	r = check_cas(conf, "trust", "ca_file", conf->trust.ca_file, errs);
	if (r == 0 && conf->mta_sts.ca_file != conf->trust.ca_file)
		r = check_cas(
		    conf, "mta-sts", "ca_file", conf->mta_sts.ca_file, errs);
	for (i = 0; r == 0 && i < conf->n_listeners; i++) {
		(void)snprintf(section, sizeof(section), "listener %s",
		    conf->listeners[i].name);
		r = check_cas(conf, section, "client_ca_file",
		    conf->listeners[i].client_ca_file, errs);
	}
	for (i = 0; r == 0 && i < conf->n_certificates; i++)
		r = check_certificate(conf, &conf->certificates[i], errs);
	return r;
}

int
settings_load(const char *dir, struct conf_errors *errs, struct conf **ret_conf)
{
	return settings_load_tables(dir, NULL, errs, ret_conf);
}

int
settings_load_tables(const char *dir, const struct conf_tables *tables,
    struct conf_errors *errs, struct conf **ret_conf)
{
	struct conf *conf = NULL;
	int r = conf_load_tables(dir, tables, errs, &conf);

	if (r == 0)
		r = check_files(conf, errs);
	if (r == 0 && errs->errors > 0)
		r = PE_CONFIG;
	if (r < 0) {
		conf_unref(conf);
		return r;
	}
	*ret_conf = conf;
	return 0;
}

int
settings_check(const char *dir, bool json, FILE *out)
{
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	int r;

	r = settings_load(dir, &errs, &conf);
	if (json)
		conf_errors_print_json(&errs, out);
	else
		conf_errors_print(&errs, dir, out);
	if (r < 0 && r != PE_CONFIG)
		(void)fprintf(out, "%s: %s\n", dir, err_str(r));
	conf_errors_done(&errs);
	conf_unref(conf);
	return r == 0 ? 0 : 1;
}
