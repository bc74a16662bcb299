/*
 * fetch_why.c - how a fetch ended: our word, TLSRPT's (RFC 8460, 4.3), and a text.
 *
 * Called by fetch.c when curl is done. Never touches the loop.
 */
#include "lib/sts/fetch.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>

#include "lib/sts/fetch_int.h"

static const struct {
	const char *word, *tlsrpt;
} whys[STS_FETCH_WHY_COUNT] = {
	[STS_FETCH_OK] = { "ok", NULL },
	[STS_FETCH_DNS] = { "dns", "sts-policy-fetch-error" },
	[STS_FETCH_REFUSED] = { "address-refused", "sts-policy-fetch-error" },
	[STS_FETCH_CONNECT] = { "connect", "sts-policy-fetch-error" },
	[STS_FETCH_TIMEOUT] = { "timeout", "sts-policy-fetch-error" },
	[STS_FETCH_TLS] = { "tls", "sts-policy-fetch-error" },
	[STS_FETCH_CERT] = { "certificate", "sts-webpki-invalid" },
	[STS_FETCH_PROXY] = { "proxy", "sts-policy-fetch-error" },
	[STS_FETCH_REDIRECT] = { "redirect", "sts-policy-fetch-error" },
	[STS_FETCH_STATUS] = { "status", "sts-policy-fetch-error" },
	[STS_FETCH_TYPE] = { "media-type", "sts-policy-fetch-error" },
	[STS_FETCH_SIZE] = { "size", "sts-policy-fetch-error" },
	[STS_FETCH_HTTP] = { "http", "sts-policy-fetch-error" },
	[STS_FETCH_INVALID] = { "invalid", "sts-policy-invalid" },
	[STS_FETCH_INTERNAL] = { "internal", "sts-policy-fetch-error" },
};

const char *
sts_fetch_why_word(enum sts_fetch_why why)
{
	return whys[why].word;
}

const char *
sts_fetch_tlsrpt(enum sts_fetch_why why)
{
	return whys[why].tlsrpt;
}

/* What curl's code means to us. */
static enum sts_fetch_why
why_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return STS_FETCH_TIMEOUT;
	case CURLE_COULDNT_CONNECT:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
		return STS_FETCH_CONNECT;
	case CURLE_PEER_FAILED_VERIFICATION:
		return STS_FETCH_CERT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CIPHER:
		return STS_FETCH_TLS;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_PROXY:
		return STS_FETCH_PROXY;
	case CURLE_COULDNT_RESOLVE_HOST:
		return STS_FETCH_DNS;
	case CURLE_FILESIZE_EXCEEDED:
		return STS_FETCH_SIZE;
	case CURLE_OK:
	case CURLE_OUT_OF_MEMORY:
	case CURLE_FAILED_INIT:
	case CURLE_NOT_BUILT_IN:
	case CURLE_BAD_FUNCTION_ARGUMENT:
	case CURLE_UNKNOWN_OPTION:
	case CURLE_SSL_ENGINE_NOTFOUND:
	case CURLE_SSL_ENGINE_SETFAILED:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
		/* only what cannot come from them: it keeps mail waiting */
		return STS_FETCH_INTERNAL;
	default:
		/* PARTIAL_FILE, WEIRD_SERVER_REPLY, HTTP/0.9, ... */
		return STS_FETCH_HTTP;
	}
}

void
sts_fetch_explain(
    struct sts_fetch *fe, CURLcode code, struct sts_fetch_result *res)
{
	bool proxy = sts_fetcher_has_proxy(fe->f);
	long verify = 0, connect = 0;

	res->why = why_of(code);
	if (code == CURLE_COULDNT_CONNECT && proxy)
		res->why = STS_FETCH_PROXY; /* whom else it connects to */
	if (code == CURLE_RECV_ERROR && res->status != 0)
		res->why = STS_FETCH_HTTP; /* broken chunks are this */
	(void)curl_easy_getinfo(fe->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
	(void)curl_easy_getinfo(fe->easy, CURLINFO_HTTP_CONNECTCODE, &connect);
	res->doubt = res->why == STS_FETCH_PROXY;
	if (connect != 0 && connect / 100 != 2) {
		res->why = STS_FETCH_PROXY;
		/* 502 to 504 speak of the policy host, this one of us */
		res->doubt = connect == 407;
		(void)snprintf(res->reason, sizeof(res->reason),
		    "the proxy answered %ld", connect);
	} else if (res->why == STS_FETCH_CERT && verify != X509_V_OK) {
		(void)snprintf(res->reason, sizeof(res->reason),
		    "certificate of %.120s: %s", fe->host,
		    X509_verify_cert_error_string(verify));
	} else {
		(void)snprintf(res->reason, sizeof(res->reason), "%.250s",
		    fe->error[0] != '\0' ? fe->error
					 : curl_easy_strerror(code));
	}
}
