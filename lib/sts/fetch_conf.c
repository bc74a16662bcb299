/*
 * fetch_conf.c - certificates, proxy and times that all fetches have in common.
 *
 * Called at the start and at each reload: a new set replaces the old one whole,
 * and fetches under way keep what they began with.
 */
#include "lib/sts/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/sts/fetch_int.h"

/* The certificates of a bundle. 0, -ENOMEM, PE_TLS without a single one. */
static int
store_from_pem(
    const uint8_t *pem, size_t len, X509_STORE **ret_store, size_t *ret_n)
{
	BIO *bio =
	    BIO_new_mem_buf(pem != NULL ? pem : (const uint8_t *)"", (int)len);
	X509_STORE *store = X509_STORE_new();
	X509 *x;
	size_t n = 0;

	if (bio == NULL || store == NULL) {
		BIO_free(bio);
		X509_STORE_free(store);
		return -ENOMEM;
	}
	while ((x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_cert(store, x) == 1;
		X509_free(x);
	}
	ERR_clear_error(); /* the end of the bundle is one */
	BIO_free(bio);
	if (n == 0 && pem != NULL) {
		X509_STORE_free(store);
		return PE_TLS;
	}
	*ret_store = store;
	*ret_n = n;
	return 0;
}

/* The proxy's name and port, when it has a name. */
static int
split_proxy(const char *proxy, char **ret_host, char **ret_port)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL;
	struct sts_addr addr;
	int r = -EINVAL;

	if (u == NULL)
		return -ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, proxy, CURLU_DEFAULT_SCHEME) == 0 &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == 0) {
		if (curl_url_get(u, CURLUPART_PORT, &port, 0) != 0)
			port = NULL;
		r = 0;
		if (host[0] != '[' && sts_addr_parse(host, &addr) < 0) {
			/* curl's own default for proxies */
			*ret_host = strdup(host);
			*ret_port = strdup(port != NULL ? port : "1080");
			if (*ret_host == NULL || *ret_port == NULL)
				r = -ENOMEM;
		}
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return r;
}

int
sts_fetcher_configure(struct sts_fetcher *f, const struct sts_fetch_settings *s)
{
	char *proxy = NULL, *host = NULL, *port = NULL;
	X509_STORE *store = NULL;
	size_t n_cas = 0;
	int r;

	r = store_from_pem(s->ca, s->ca_len, &store, &n_cas);
	if (r == 0) {
		proxy = strdup(s->proxy != NULL ? s->proxy : "");
		r = proxy == NULL ? -ENOMEM : 0;
	}
	if (r == 0 && proxy[0] != '\0')
		r = split_proxy(proxy, &host, &port);
	if (r != 0) {
		X509_STORE_free(store);
		free(proxy);
		free(host);
		free(port);
		return r;
	}
	X509_STORE_free(f->store);
	free(f->proxy);
	free(f->proxy_host);
	free(f->proxy_port);
	f->store = store;
	f->n_cas = n_cas;
	f->proxy = proxy;
	f->proxy_host = host;
	f->proxy_port = port;
	f->total_ms = s->total_ms;
	f->connect_ms = s->connect_ms;
	f->port = s->port;
	return 0;
}

bool
sts_fetcher_has_proxy(const struct sts_fetcher *f)
{
	return f->proxy[0] != '\0';
}

bool
sts_fetcher_can(const struct sts_fetcher *f)
{
	return f->n_cas > 0;
}

const char *
sts_fetcher_host(
    const struct sts_fetcher *f, const char *domain, char buf[STS_HOST_SIZE])
{
	if (f->proxy[0] != '\0' && f->proxy_host == NULL)
		return NULL;
	if (f->proxy_host != NULL)
		(void)snprintf(buf, STS_HOST_SIZE, "%s", f->proxy_host);
	else
		(void)snprintf(buf, STS_HOST_SIZE, "mta-sts.%s", domain);
	return buf;
}

void
sts_fetcher_forget(struct sts_fetcher *f)
{
	X509_STORE_free(f->store);
	free(f->proxy);
	free(f->proxy_host);
	free(f->proxy_port);
}
