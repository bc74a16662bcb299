/*
 * env.c - one set of settings at work: the settings themselves, the trust store
 * built from the CA list in memory, and our client certificates.
 *
 * Made at start and at each reload; whoever works under an old one keeps a
 * reference, so a reload changes nothing in the middle of a connection.
 */
#include "deliver/deliver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log/log.h"

struct env *
env_ref(struct env *env)
{
	env->refs++;
	return env;
}

void
env_unref(struct env *env)
{
	size_t i;

	if (env == NULL || --env->refs > 0)
		return;
	for (i = 0; env->identities != NULL && i < env->conf->n_certificates;
	     i++)
		tls_identity_free(env->identities[i]);
	free(env->identities);
	tls_client_unref(env->tls);
	conf_unref(env->conf);
	explicit_bzero(&env->bounce_keys, sizeof(env->bounce_keys));
	free(env);
}

static int
load_trust(struct env *env)
{
	const char *path = env->conf->trust.ca_file;
	const uint8_t *pem = (const uint8_t *)"";
	size_t len = 0;
	char why[192] = "";
	int r;

	if (path != NULL) {
		r = conf_file(env->conf, path, &pem, &len);
		if (r < 0) {
			log_warn("trust_error", "CA list %s: %s", LOG_Q(path),
			    err_str(r));
			return r;
		}
	}
	r = tls_client_new(pem, len, &env->tls, &env->n_cas, why, sizeof(why));
	if (r < 0)
		log_warn("trust_error", "CA list %s: %s",
		    path == NULL ? "(none)" : LOG_Q(path),
		    r == PE_TLS ? why : err_str(r));
	else if (path != NULL && env->n_cas == 0)
		log_warn("trust_empty",
		    "CA list %s holds no certificate: no host can be verified",
		    LOG_Q(path));
	return r;
}

/* Only the certificates that a destination names have their files here. */
static int
load_identity(struct env *env, size_t i)
{
	const struct conf_certificate *c = &env->conf->certificates[i];
	const uint8_t *cert, *key;
	size_t cert_len, key_len;
	char why[192] = "";
	int r;

	if (conf_file(env->conf, c->cert_file, &cert, &cert_len) < 0 ||
	    conf_file(env->conf, c->key_file, &key, &key_len) < 0)
		return 0;
	r = tls_identity_new(cert, cert_len, key, key_len, &env->identities[i],
	    why, sizeof(why));
	if (r < 0)
		log_warn("certificate_error", "certificate %s: %s",
		    LOG_Q(c->name), r == PE_TLS ? why : err_str(r));
	return r;
}

int
env_new(struct conf *conf, struct env **ret_env)
{
	struct env *env = calloc(1, sizeof(*env));
	size_t i;
	int r;

	if (env == NULL)
		return -ENOMEM;
	env->refs = 1;
	env->conf = conf_ref(conf);
	env->session = conf->delivery;
	conf_bounce_keys(conf, &env->bounce_keys);
	r = load_trust(env);
	if (r < 0)
		goto out;
	r = -ENOMEM;
	env->identities =
	    calloc(conf->n_certificates + 1, sizeof(env->identities[0]));
	if (env->identities == NULL)
		goto out;
	r = 0;
	for (i = 0; i < conf->n_certificates && r == 0; i++)
		r = load_identity(env, i);
out:
	if (r < 0) {
		env_unref(env);
		return r;
	}
	*ret_env = env;
	return 0;
}

const struct tls_identity *
env_identity(const struct env *env, const struct conf_certificate *cert)
{
	if (cert == NULL || cert < env->conf->certificates ||
	    cert >= env->conf->certificates + env->conf->n_certificates)
		return NULL;
	return env->identities[cert - env->conf->certificates];
}

bool
env_secret(const struct env *env, const struct conf_credential *cred, char *buf,
    size_t len)
{
	const uint8_t *data;
	size_t n, i;

	if (conf_file(env->conf, cred->secret_file, &data, &n) < 0)
		return false;
	for (i = 0; i < n && data[i] != '\n' && data[i] != '\r'; i++)
		continue;
	if (i == 0 || i >= len || memchr(data, '\0', i) != NULL)
		return false;
	memcpy(buf, data, i);
	buf[i] = '\0';
	return true;
}
