/*
 * fetch_int.h - what the files of the policy fetcher share.
 *
 * fetch.c has the loop and a fetch's life, fetch_conf.c the settings that all
 * fetches have in common, fetch_why.c the words for how a fetch ended.
 */
#ifndef POSTERN_STS_FETCH_INT_H
#define POSTERN_STS_FETCH_INT_H

#include "lib/sts/fetch.h"

#include <curl/curl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct sts_fetch {
	LIST_ENTRY(sts_fetch) link;
	struct sts_fetcher *f;
	CURL *easy; /* NULL: failed before it began */
	sts_fetch_cb *cb;
	void *arg;
	char host[STS_HOST_SIZE];
	struct curl_slist *resolve, *connect_to;
	X509_STORE *store;
	char error[CURL_ERROR_SIZE];
	enum sts_fetch_why why; /* found by a callback of ours */
	char reason[160];
	size_t head_len, body_len;
	char *body;
};

struct sts_fetcher {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer; /* curl's */
	uv_timer_t soon;  /* fetches that failed before they began */
	unsigned handles; /* open, or being closed */
	bool closing;
	LIST_HEAD(sts_fetch_list, sts_fetch) fetches;
	/* settings */
	int64_t total_ms, connect_ms;
	uint16_t port;
	char *proxy;	  /* "" without */
	char *proxy_host; /* its name, NULL when it is an address */
	char *proxy_port;
	X509_STORE *store;
	size_t n_cas;
};

/* fetch_why.c: fill why and reason of a fetch that curl ended with this code. */
void sts_fetch_explain(
    struct sts_fetch *fe, CURLcode code, struct sts_fetch_result *res);

/* fetch_conf.c: free what sts_fetcher_configure() set. */
void sts_fetcher_forget(struct sts_fetcher *f);

#endif
