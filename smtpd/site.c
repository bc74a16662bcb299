/*
 * site.c - what a [listener] needs beside its settings: TLS context, users.
 *
 * Called at start and at reload. Contents of files come out of the set of
 * settings; no file is opened here. A site lives as long as a connection that
 * came in under it.
 */
#include <openssl/ssl.h>
#include <stdlib.h>

#include "lib/base/err.h"
#include "lib/tls/server.h"
#include "smtpd/smtpd.h"

static int
site_tls(struct site *site)
{
	const struct conf_listener *l = site->l;
	struct tls_server_conf tc = { .name = l->name,
		.min_13 = l->tls_min == CONF_TLS_1_3 };
	char why[200];
	int r;

	if (l->tls == CONF_LTLS_NONE || l->cert == NULL)
		return 0;
	r = conf_file(site->conf, l->cert->cert_file, &tc.cert, &tc.cert_len);
	if (r == 0)
		r = conf_file(
		    site->conf, l->cert->key_file, &tc.key, &tc.key_len);
	if (r == 0 && l->client_ca_file != NULL)
		r = conf_file(site->conf, l->client_ca_file, &tc.client_ca,
		    &tc.client_ca_len);
	if (r < 0) {
		log_warn("site_tls",
		    "listener %s: files of its certificate: %s", l->name,
		    err_str(r));
		return r;
	}
	r = tls_server_ctx(&tc, &site->tls, why, sizeof(why));
	if (r < 0)
		log_warn("site_tls", "listener %s: certificate %s: %s", l->name,
		    l->cert->name, why);
	return r;
}

static int
site_users(struct site *site)
{
	const struct conf_listener *l = site->l;
	const uint8_t *text;
	size_t len;
	int r;

	if (l->auth == CONF_AUTH_NO || l->auth_file == NULL)
		return 0;
	r = conf_file(site->conf, l->auth_file, &text, &len);
	if (r < 0) {
		log_warn("site_users", "listener %s: auth_file %s: %s", l->name,
		    l->auth_file, err_str(r));
		return r;
	}
	site->users = auth_users_new(text, len, l->auth_file);
	return site->users == NULL ? -1 : 0;
}

struct site *
site_new(struct conf *conf, const char *name)
{
	struct site *site = calloc(1, sizeof(*site));

	if (site == NULL)
		return NULL;
	site->refs = 1;
	site->conf = conf_ref(conf);
	conf_bounce_keys(conf, &site->bounce_keys);
	site->l = conf_listener_lookup(conf, name);
	if (site->l == NULL) {
		log_warn("site", "listener %s is not in the settings", name);
		site_unref(site);
		return NULL;
	}
	if (site_tls(site) < 0 || site_users(site) < 0) {
		site_unref(site);
		return NULL;
	}
	return site;
}

struct site *
site_ref(struct site *site)
{
	site->refs++;
	return site;
}

void
site_unref(struct site *site)
{
	if (site == NULL || --site->refs > 0)
		return;
	SSL_CTX_free(site->tls);
	auth_users_free(site->users);
	conf_unref(site->conf);
	explicit_bzero(&site->bounce_keys, sizeof(site->bounce_keys));
	free(site);
}
