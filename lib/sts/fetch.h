/*
 * fetch.h - get a policy over HTTPS (RFC 8461, section 3.3), on the loop.
 *
 * Called by policyd and posternctl. Opens no file, asks no name server, starts
 * no thread: the CA certificates come as bytes and the addresses with each
 * fetch. Believes only status 200 with text/plain, never follows, never reads
 * more than STS_TEXT_MAX; who it speaks to must show a certificate that names
 * mta-sts.<domain> in its subjectAltName, under TLS 1.2 or later.
 */
#ifndef POSTERN_STS_FETCH_H
#define POSTERN_STS_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/sts/hostaddr.h"
#include "lib/sts/policy.h"

struct conf_nets;
struct sts_fetch;
struct sts_fetcher;

enum {
	STS_FETCH_ADDRS_MAX = 16,
	STS_FETCH_HEADERS_MAX = 32 * 1024, /* bytes of an answer's head */
	STS_HOST_SIZE = sizeof("mta-sts.") + 253,
};

/* How a fetch ended; each has a word for metrics and JSON. */
enum sts_fetch_why {
	STS_FETCH_OK,
	STS_FETCH_DNS,	    /* no address of the policy host */
	STS_FETCH_REFUSED,  /* only addresses that are not public */
	STS_FETCH_CONNECT,  /* refused, unreachable, closed early */
	STS_FETCH_TIMEOUT,  /* connect, or all in all */
	STS_FETCH_TLS,	    /* handshake */
	STS_FETCH_CERT,	    /* untrusted, expired, another name */
	STS_FETCH_PROXY,    /* the proxy refused */
	STS_FETCH_REDIRECT, /* 3xx: never followed */
	STS_FETCH_STATUS,   /* other than 200 */
	STS_FETCH_TYPE,	    /* not text/plain */
	STS_FETCH_SIZE,	    /* head or body over its bound */
	STS_FETCH_HTTP,	    /* no HTTP, or cut short */
	STS_FETCH_INVALID,  /* 200, but no policy */
	STS_FETCH_INTERNAL, /* memory, or the library */
	STS_FETCH_WHY_COUNT
};

/* "ok", "dns", "address-refused", "connect", … */
const char *sts_fetch_why_word(enum sts_fetch_why why);
/* Result type of RFC 8460 section 4.3; NULL when ok. */
const char *sts_fetch_tlsrpt(enum sts_fetch_why why);

struct sts_fetch_result {
	enum sts_fetch_why why;
	bool doubt;	  /* it failed on the way: nobody asked the owner */
	char reason[256]; /* for people, printable; "" when ok */
	long status;	  /* HTTP, 0 when there was no answer */
	const char *text; /* body, borrowed for the call; NULL unless ok */
	size_t text_len;
	struct sts_policy policy; /* when ok; zero it to keep it */
	int64_t age_s; /* it came so long ago: 0, unless somebody kept it */
};
typedef void sts_fetch_cb(void *arg, struct sts_fetch_result *res);

struct sts_fetch_settings {
	int64_t total_ms, connect_ms;
	uint16_t port;	   /* of policy hosts: 443 */
	const char *proxy; /* "http://[user:password@]host:port", or NULL */
	/* PEM; NULL: nobody is trusted, and every fetch fails as INTERNAL, for
	 * a policy that cannot be judged is not one that is missing */
	const uint8_t *ca;
	size_t ca_len;
};

/* Once per process, before the lock-down: libcurl and what it links read
 * files. 0 or -EIO. */
int sts_fetch_library_init(void);

/* Copies the settings. 0, -ENOMEM, -EINVAL (proxy), PE_TLS (no certificate in
 * ca), -EIO. */
int sts_fetcher_new(uv_loop_t *loop, const struct sts_fetch_settings *settings,
    struct sts_fetcher **ret_fetcher);

/* New settings for fetches that start from now on. On failure the old stay. */
int sts_fetcher_configure(
    struct sts_fetcher *f, const struct sts_fetch_settings *settings);

/* Open fetches end without a callback; memory goes when the loop has closed
 * the handles. NULL is fine. */
void sts_fetcher_free(struct sts_fetcher *f);

/*
 * The name whose addresses sts_fetch_start() wants: that of the policy host,
 * or of the proxy; NULL when the proxy is an address itself (none are wanted).
 * Writes at most STS_HOST_SIZE bytes into buf.
 */
const char *sts_fetcher_host(
    const struct sts_fetcher *f, const char *domain, char buf[STS_HOST_SIZE]);
bool sts_fetcher_has_proxy(const struct sts_fetcher *f);
/* Has CA certificates: fetches can succeed. */
bool sts_fetcher_can(const struct sts_fetcher *f);

/*
 * Fetch the policy of domain (normalised). addrs as sts_fetcher_host() says;
 * those of a policy host that are not public are left out unless allow (may be
 * NULL) has them. Borrows everything. cb comes once, never inside this call.
 * 0, or -ENOMEM (no callback).
 */
int sts_fetch_start(struct sts_fetcher *f, const char *domain,
    const struct sts_addr *addrs, size_t n_addrs, const struct conf_nets *allow,
    sts_fetch_cb *cb, void *arg, struct sts_fetch **ret_fetch);

/* No callback any more. Not after it came. */
void sts_fetch_cancel(struct sts_fetch *fetch);

#endif
