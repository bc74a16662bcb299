/*
 * fetch.c - libcurl's multi interface on libuv, with everything switched off
 * that a policy fetch must not do.
 *
 * Facts that shape this file (measured with libcurl 7.88):
 *  - curl accepts a certificate by its common name when there is no
 *    subjectAltName: the name is set on OpenSSL's own verifier instead, which
 *    is told never to look at the subject;
 *  - MAXFILESIZE does not stop a chunked body, so bytes are counted here;
 *  - without RESOLVE a name makes curl start a thread that calls getaddrinfo;
 *  - PROXY "" or the environment's http_proxy would be used;
 *  - CAINFO and CAPATH have compiled-in defaults that it would open;
 *  - never call into the multi handle from its own callbacks: the timer of 0 ms
 *    does it on the next turn.
 */
#include "lib/sts/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "lib/base/err.h"
#include "lib/dns/dns.h"
#include "lib/sts/fetch_int.h"

struct poll {
	uv_poll_t handle;
	struct sts_fetcher *f;
	curl_socket_t fd;
};

/* ---- ends -------------------------------------------------------------------
 */

/* Out of the loop: curl knows nothing of it any more. */
static void
fetch_detach(struct sts_fetch *fe)
{
	LIST_REMOVE(fe, link);
	if (fe->easy == NULL)
		return;
	(void)curl_multi_remove_handle(fe->f->multi, fe->easy);
	curl_easy_cleanup(fe->easy);
	fe->easy = NULL;
}

/* Detached before. */
static void
fetch_free(struct sts_fetch *fe)
{
	curl_slist_free_all(fe->resolve);
	curl_slist_free_all(fe->connect_to);
	X509_STORE_free(fe->store);
	free(fe->body);
	free(fe);
}

void
sts_fetch_cancel(struct sts_fetch *fe)
{
	if (fe == NULL)
		return;
	fetch_detach(fe);
	fetch_free(fe);
}

static void
printable(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

/* An answer came whole. */
static void
take_body(struct sts_fetch *fe, struct sts_fetch_result *res)
{
	char reason[160];
	int r;

	if (res->status != 200) {
		res->why = res->status / 100 == 3 ? STS_FETCH_REDIRECT
						  : STS_FETCH_STATUS;
		(void)snprintf(res->reason, sizeof(res->reason),
		    "HTTP status %ld%s", res->status,
		    res->status / 100 == 3 ? ": redirects are not followed"
					   : "");
		return;
	}
	r = sts_policy_parse(fe->body != NULL ? fe->body : "", fe->body_len,
	    &res->policy, reason, sizeof(reason));
	if (r == 0) {
		res->why = STS_FETCH_OK;
		res->text = fe->body;
		res->text_len = fe->body_len;
		return;
	}
	res->why = r == -ENOMEM ? STS_FETCH_INTERNAL : STS_FETCH_INVALID;
	(void)snprintf(res->reason, sizeof(res->reason), "invalid policy: %s",
	    r == -ENOMEM ? "out of memory" : reason);
}

static void
finish(struct sts_fetch *fe, CURLcode code)
{
	struct sts_fetch_result res = { .why = fe->why };

	if (fe->easy != NULL)
		(void)curl_easy_getinfo(
		    fe->easy, CURLINFO_RESPONSE_CODE, &res.status);
	if (fe->why != STS_FETCH_OK)
		(void)snprintf(
		    res.reason, sizeof(res.reason), "%s", fe->reason);
	else if (code != CURLE_OK)
		sts_fetch_explain(fe, code, &res);
	else
		take_body(fe, &res);
	printable(res.reason);
	fetch_detach(fe); /* the callback may free the fetcher */
	fe->cb(fe->arg, &res);
	sts_policy_done(&res.policy);
	fetch_free(fe);
}

/* ---- the loop ------------------------------------------------------------------
 */

static void
handle_closed(struct sts_fetcher *f)
{
	if (--f->handles == 0)
		free(f);
}

static void
on_timer_closed(uv_handle_t *h)
{
	handle_closed(h->data);
}

static void
on_poll_closed(uv_handle_t *h)
{
	struct poll *p = h->data;

	handle_closed(p->f);
	free(p);
}

/* Hand out what is finished. A callback may start, cancel, or free us. */
static void
settle(struct sts_fetcher *f)
{
	struct sts_fetch *fe;
	CURLMsg *msg;
	char *private;
	int left;

	while (!f->closing &&
	    (msg = curl_multi_info_read(f->multi, &left)) != NULL) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(
		    msg->easy_handle, CURLINFO_PRIVATE, &private);
		fe = (struct sts_fetch *)(void *)private;
		finish(fe, msg->data.result);
	}
}

static void
on_poll(uv_poll_t *h, int status, int events)
{
	struct poll *p = h->data;
	struct sts_fetcher *f = p->f;
	int flags = 0, running;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if ((events & UV_READABLE) != 0)
		flags |= CURL_CSELECT_IN;
	if ((events & UV_WRITABLE) != 0)
		flags |= CURL_CSELECT_OUT;
	(void)curl_multi_socket_action(f->multi, p->fd, flags, &running);
	/* p may be gone */
	settle(f);
}

static void
on_timeout(uv_timer_t *t)
{
	struct sts_fetcher *f = t->data;
	int running;

	(void)curl_multi_socket_action(
	    f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	settle(f);
}

static int
on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct sts_fetcher *f = arg;

	(void)multi;
	if (f->closing)
		return 0;
	if (timeout_ms < 0)
		(void)uv_timer_stop(&f->timer);
	else
		/* 0 would run again in the turn that on_timeout() is in, and
		 * again while curl says so, before any socket is looked at */
		(void)uv_timer_start(&f->timer, on_timeout,
		    timeout_ms > 0 ? (uint64_t)timeout_ms : 1, 0);
	return 0;
}

static int
on_curl_socket(
    CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct sts_fetcher *f = arg;
	struct poll *p = socket_arg;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (p == NULL)
			return 0;
		/* curl closes fd when we return */
		(void)curl_multi_assign(f->multi, fd, NULL);
		(void)uv_poll_stop(&p->handle);
		uv_close((uv_handle_t *)&p->handle, on_poll_closed);
		return 0;
	}
	if (p == NULL) {
		p = calloc(1, sizeof(*p));
		if (p == NULL || uv_poll_init(f->loop, &p->handle, fd) < 0) {
			free(p);
			return -1;
		}
		p->handle.data = p;
		p->f = f;
		p->fd = fd;
		f->handles++;
		(void)curl_multi_assign(f->multi, fd, p);
	}
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= UV_READABLE;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= UV_WRITABLE;
	(void)uv_poll_start(&p->handle, events, on_poll);
	return 0;
}

static void
on_soon(uv_timer_t *t)
{
	struct sts_fetcher *f = t->data;
	struct sts_fetch *fe;

	for (;;) {
		LIST_FOREACH(fe, &f->fetches, link)
			if (fe->easy == NULL)
				break;
		if (fe == NULL || f->closing)
			return;
		finish(fe, CURLE_OK);
	}
}

/* ---- what curl asks while it works -------------------------------------------------
 */

static size_t
give_up(struct sts_fetch *fe, enum sts_fetch_why why, const char *reason)
{
	fe->why = why;
	(void)snprintf(fe->reason, sizeof(fe->reason), "%s", reason);
	return 0; /* anything but the length ends the transfer */
}

static size_t
on_head(char *data, size_t size, size_t n, void *arg)
{
	struct sts_fetch *fe = arg;

	(void)data;
	(void)size;
	fe->head_len += n;
	if (fe->head_len > STS_FETCH_HEADERS_MAX)
		return give_up(
		    fe, STS_FETCH_SIZE, "the head of the answer is too long");
	return n;
}

/* text/plain in any case, whatever parameters (RFC 8461, 3.2). */
static bool
is_text_plain(const char *type)
{
	static const char want[] = "text/plain";

	if (type == NULL)
		return false;
	type += strspn(type, " \t");
	if (strncasecmp(type, want, sizeof(want) - 1) != 0)
		return false;
	type += sizeof(want) - 1;
	type += strspn(type, " \t");
	return *type == '\0' || *type == ';';
}

/* The head is complete when this comes. */
static bool
head_fits(struct sts_fetch *fe)
{
	char *type = NULL, text[120];
	long status = 0;

	(void)curl_easy_getinfo(fe->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) {
		(void)snprintf(text, sizeof(text), "HTTP status %ld%s", status,
		    status / 100 == 3 ? ": redirects are not followed" : "");
		(void)give_up(fe,
		    status / 100 == 3 ? STS_FETCH_REDIRECT : STS_FETCH_STATUS,
		    text);
		return false;
	}
	(void)curl_easy_getinfo(fe->easy, CURLINFO_CONTENT_TYPE, &type);
	if (is_text_plain(type))
		return true;
	(void)snprintf(text, sizeof(text),
	    "media type is %.60s, wanted text/plain",
	    type != NULL ? type : "not told");
	(void)give_up(fe, STS_FETCH_TYPE, text);
	return false;
}

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
	struct sts_fetch *fe = arg;

	(void)size; /* 1 */
	if (fe->body == NULL) {
		if (!head_fits(fe))
			return 0;
		fe->body = malloc(STS_TEXT_MAX);
		if (fe->body == NULL)
			return give_up(fe, STS_FETCH_INTERNAL, "out of memory");
	}
	/* decoded bytes; over the bound is a failure, never a cut (STS-29) */
	if (n > STS_TEXT_MAX - fe->body_len)
		return give_up(
		    fe, STS_FETCH_SIZE, "the policy is over 65536 bytes");
	memcpy(fe->body + fe->body_len, data, n);
	fe->body_len += n;
	return n;
}

/* Our store, and the name by its subjectAltName only (STS-26). */
static CURLcode
on_ssl_ctx(CURL *easy, void *ssl_ctx, void *arg)
{
	struct sts_fetch *fe = arg;
	SSL_CTX *ctx = ssl_ctx;
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);

	(void)easy;
	if (X509_STORE_up_ref(fe->store) != 1)
		return CURLE_OUT_OF_MEMORY;
	SSL_CTX_set_cert_store(ctx, fe->store); /* takes the reference */
	X509_VERIFY_PARAM_set_hostflags(param,
	    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
		X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_host(param, fe->host, 0) != 1)
		return CURLE_OUT_OF_MEMORY;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return CURLE_OK;
}

/* ---- start ---------------------------------------------------------------------------
 */

static int
append(struct curl_slist **list, const char *text)
{
	struct curl_slist *more = curl_slist_append(*list, text);

	if (more == NULL)
		return -ENOMEM;
	*list = more;
	return 0;
}

/* "name:port:ip,ip": what curl would otherwise ask a name server for. */
static int
set_addresses(struct sts_fetch *fe, const char *name, const char *port,
    const struct sts_addr *addrs, size_t n)
{
	char text[512 + STS_FETCH_ADDRS_MAX * 50], ip[48];
	size_t i, at;
	int r;

	r = snprintf(text, sizeof(text), "%s:%s:", name, port);
	if (r < 0 || (size_t)r >= 512)
		return -EINVAL;
	at = (size_t)r;
	for (i = 0; i < n && i < STS_FETCH_ADDRS_MAX; i++) {
		(void)sts_addr_text(&addrs[i], ip, sizeof(ip));
		at += (size_t)snprintf(text + at, sizeof(text) - at,
		    addrs[i].family == AF_INET6 ? "%s[%s]" : "%s%s",
		    i > 0 ? "," : "", ip);
	}
	return append(&fe->resolve, text);
}

/* The URL has no port, so that Host and SNI are as the standard has them; the
 * port of the settings goes in here. */
static int
set_port(struct sts_fetch *fe, uint16_t port)
{
	char text[2 * STS_HOST_SIZE + 32];

	if (port == 443)
		return 0;
	(void)snprintf(
	    text, sizeof(text), "%s:443:%s:%u", fe->host, fe->host, port);
	return append(&fe->connect_to, text);
}

static int
set_options(struct sts_fetch *fe)
{
	const struct sts_fetcher *f = fe->f;
	CURL *e = fe->easy;
	char url[STS_HOST_SIZE + 64];
	int bad = 0;

	(void)snprintf(
	    url, sizeof(url), "https://%s/.well-known/mta-sts.txt", fe->host);
#define SET(option, value) bad |= (int)curl_easy_setopt(e, option, value)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PRIVATE, fe);
	SET(CURLOPT_ERRORBUFFER, fe->error);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTPGET, 1L);
	SET(CURLOPT_USERAGENT, "Postern");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	SET(CURLOPT_TIMEOUT_MS, (long)f->total_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)f->connect_ms);
	SET(CURLOPT_MAXFILESIZE, (long)STS_TEXT_MAX);
	SET(CURLOPT_HEADERFUNCTION, on_head);
	SET(CURLOPT_HEADERDATA, fe);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, fe);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_CAINFO, NULL);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
	SET(CURLOPT_SSL_CTX_DATA, fe);
	SET(CURLOPT_PROXY, f->proxy); /* "": none, whatever the environment */
	SET(CURLOPT_NOPROXY, "");
	SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_RESOLVE, fe->resolve);
	SET(CURLOPT_CONNECT_TO, fe->connect_to);
#undef SET
	return bad != 0 ? -EIO : 0;
}

/* Those that may be connected to. */
static size_t
public_addrs(const struct sts_addr *addrs, size_t n,
    const struct conf_nets *allow, struct sts_addr ret[STS_FETCH_ADDRS_MAX])
{
	size_t i, kept = 0;

	for (i = 0; i < n && kept < STS_FETCH_ADDRS_MAX; i++)
		if (!sts_addr_refused(&addrs[i], allow))
			ret[kept++] = addrs[i];
	return kept;
}

static int
prepare(struct sts_fetch *fe, const struct sts_addr *addrs, size_t n,
    const struct conf_nets *allow)
{
	struct sts_fetcher *f = fe->f;
	struct sts_addr ok[STS_FETCH_ADDRS_MAX];
	char port[8], text[96], ip[48];
	size_t n_ok = n;
	int r = 0;

	if (!sts_fetcher_can(f)) {
		(void)give_up(fe, STS_FETCH_INTERNAL,
		    "this node has no CA certificates: [mta-sts] ca_file");
		return -ENOENT;
	}
	if (f->proxy[0] == '\0') {
		n_ok = public_addrs(addrs, n, allow, ok);
		(void)snprintf(port, sizeof(port), "%u", f->port);
	}
	if (n_ok == 0 && (f->proxy[0] == '\0' || f->proxy_host != NULL)) {
		(void)snprintf(text, sizeof(text), "no address");
		if (n > 0)
			(void)snprintf(text, sizeof(text),
			    "address %s is not public (policy_host_allow)",
			    sts_addr_text(&addrs[0], ip, sizeof(ip)));
		(void)give_up(fe,
		    n > 0		      ? STS_FETCH_REFUSED
			: f->proxy[0] != '\0' ? STS_FETCH_PROXY
					      : STS_FETCH_DNS,
		    text);
		return -ENOENT;
	}
	if (f->proxy[0] == '\0')
		r = set_addresses(fe, fe->host, port, ok, n_ok);
	else if (f->proxy_host != NULL)
		r = set_addresses(fe, f->proxy_host, f->proxy_port, addrs, n);
	if (r == 0)
		r = set_port(fe, f->port);
	return r;
}

int
sts_fetch_start(struct sts_fetcher *f, const char *domain,
    const struct sts_addr *addrs, size_t n_addrs, const struct conf_nets *allow,
    sts_fetch_cb *cb, void *arg, struct sts_fetch **ret_fetch)
{
	struct sts_fetch *fe = calloc(1, sizeof(*fe));
	int r;

	if (fe == NULL)
		return -ENOMEM;
	fe->f = f;
	fe->cb = cb;
	fe->arg = arg;
	fe->store = f->store;
	(void)X509_STORE_up_ref(fe->store);
	(void)snprintf(fe->host, sizeof(fe->host), "mta-sts.%s", domain);
	LIST_INSERT_HEAD(&f->fetches, fe, link);
	r = prepare(fe, addrs, n_addrs, allow);
	if (r == 0) {
		fe->easy = curl_easy_init();
		r = fe->easy == NULL ? -ENOMEM : set_options(fe);
		if (r == 0 && curl_multi_add_handle(f->multi, fe->easy) != 0)
			r = -EIO;
		if (r != 0 && fe->easy != NULL) {
			curl_easy_cleanup(fe->easy);
			fe->easy = NULL;
		}
	}
	if (r != 0) {
		if (fe->why == STS_FETCH_OK)
			(void)give_up(fe, STS_FETCH_INTERNAL, err_str(r));
		(void)uv_timer_start(&f->soon, on_soon, 0, 0);
	}
	*ret_fetch = fe;
	return 0;
}

/* ---- life ----------------------------------------------------------------------------------
 */

int
sts_fetch_library_init(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == 0 ? 0 : -EIO;
}

int
sts_fetcher_new(uv_loop_t *loop, const struct sts_fetch_settings *settings,
    struct sts_fetcher **ret_fetcher)
{
	struct sts_fetcher *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return -ENOMEM;
	f->loop = loop;
	LIST_INIT(&f->fetches);
	r = sts_fetcher_configure(f, settings);
	if (r == 0) {
		f->multi = curl_multi_init();
		r = f->multi == NULL ? -ENOMEM : 0;
	}
	if (r != 0) {
		sts_fetcher_forget(f);
		free(f);
		return r;
	}
	(void)curl_multi_setopt(
	    f->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	(void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	(void)curl_multi_setopt(
	    f->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	(void)curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	(void)uv_timer_init(loop, &f->timer); /* cannot fail */
	(void)uv_timer_init(loop, &f->soon);
	f->timer.data = f->soon.data = f;
	f->handles = 2;
	*ret_fetcher = f;
	return 0;
}

void
sts_fetcher_free(struct sts_fetcher *f)
{
	if (f == NULL || f->closing)
		return;
	f->closing = true;
	while (!LIST_EMPTY(&f->fetches))
		sts_fetch_cancel(LIST_FIRST(&f->fetches));
	(void)curl_multi_cleanup(f->multi);
	sts_fetcher_forget(f);
	uv_close((uv_handle_t *)&f->timer, on_timer_closed);
	uv_close((uv_handle_t *)&f->soon, on_timer_closed);
}
