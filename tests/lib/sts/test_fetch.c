/*
 * test_fetch.c - fetches against a policy host that misbehaves in one way each.
 *
 * The host is a thread with OpenSSL's blocking server on a free port; what it
 * does is a row of the table. Row names begin with the line of the checklist
 * that they hold (docs/mta-sts.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/sts/fetch.h"
#include "tests/lib/tls/tls_certs.h"

#define HOST	"mta-sts.a.example"
#define POLICY	"version: STSv1\nmode: enforce\nmax_age: 60\nmx: mx.a.example\n"
#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define CLOSE	"Connection: close\r\n\r\n"
#define GOOD	OK_HEAD CLOSE POLICY

enum cert_kind {
	GOOD_CERT,
	CN_ONLY,
	OTHER_NAME,
	EXPIRED,
	SELF,
	WILD,
	WILD_PART,
	WILD_DEEP,
	CERTS
};
enum manner {
	SEND,
	HANG_BEFORE_TLS,
	HANG_AFTER_REQUEST,
	DRIP,
	BIG_LENGTH,
	BIG_CHUNKED,
	FULL_SIZE,
	BIG_HEAD,
	CLOSE_AT_ONCE,
	OLD_TLS,
};

static struct test_cert ca, certs[CERTS];
static const struct conf_net loopback = {
	.family = AF_INET, .prefix = 8, .bits = { 127 }
};
static const struct conf_nets allow = { .n = 1, .v = &loopback };

/* ---- the host ----------------------------------------------------------------
 */

struct host {
	int fd, stop[2];
	uint16_t port;
	enum cert_kind cert;
	enum manner manner;
	const char *answer;
	bool clear;	    /* no TLS: an HTTP proxy */
	uint16_t tunnel_to; /* of the proxy, 0: it refuses */
	char request[4096]; /* the first one */
	char sni[256];
	pthread_t thread;
	atomic_int served;
};

/* True when the test is over. */
static bool
stopped(struct host *h, int ms)
{
	struct pollfd p = { h->stop[0], POLLIN, 0 };

	return poll(&p, 1, ms) > 0;
}

static int
on_sni(SSL *ssl, int *alert, void *arg)
{
	struct host *h = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	(void)snprintf(h->sni, sizeof(h->sni), "%s", name != NULL ? name : "");
	return SSL_TLSEXT_ERR_OK;
}

static void
put(SSL *ssl, const char *text, size_t len)
{
	(void)SSL_write(ssl, text, (int)len); /* the client may be gone */
}

static void
put_many(SSL *ssl, const char *before, const char *text, size_t times)
{
	put(ssl, before, strlen(before));
	while (times-- > 0)
		if (SSL_write(ssl, text, (int)strlen(text)) <= 0)
			return;
}

static void
answer(struct host *h, SSL *ssl)
{
	static const char kilo[] = "x: 34567890123456789012345678901234567890"
				   "12345678901234567890\r\n"; /* 64 */
	static char big[STS_TEXT_MAX + 1];

	switch (h->manner) {
	case HANG_AFTER_REQUEST:
		(void)stopped(h, 20000);
		return;
	case DRIP:
		put(ssl, OK_HEAD CLOSE, sizeof(OK_HEAD CLOSE) - 1);
		while (!stopped(h, 20) && SSL_write(ssl, "x", 1) > 0)
			;
		return;
	case BIG_LENGTH:
		put_many(ssl, OK_HEAD "Content-Length: 65600\r\n" CLOSE POLICY,
		    kilo, 1025);
		return;
	case BIG_CHUNKED:
		put_many(ssl, OK_HEAD "Transfer-Encoding: chunked\r\n" CLOSE,
		    "40\r\n"
		    "x: 4567890123456789012345678901234567890123456789012345"
		    "67890123\n\r\n",
		    1025);
		return;
	case FULL_SIZE:
		memset(big, '\n', sizeof(big) - 1);
		memcpy(big, POLICY, sizeof(POLICY) - 1);
		put_many(ssl, OK_HEAD CLOSE, big, 1);
		return;
	case BIG_HEAD:
		put_many(ssl, OK_HEAD, kilo, 1024);
		return;
	case SEND:
	case OLD_TLS:
	default:
		put(ssl, h->answer, strlen(h->answer));
	}
}

static void
serve_tls(struct host *h, int fd)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	struct test_cert *c = &certs[h->cert];
	SSL *ssl;

	SSL_CTX_use_certificate(ctx, c->x);
	SSL_CTX_use_PrivateKey(ctx, c->key);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_sni);
	SSL_CTX_set_tlsext_servername_arg(ctx, h);
	if (h->manner == OLD_TLS) {
		SSL_CTX_set_security_level(ctx, 0);
		SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
		SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
	}
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1 &&
	    SSL_read(ssl, h->request, sizeof(h->request) - 1) > 0) {
		h->served++;
		answer(h, ssl);
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

static void
pump(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n <= 0)
		(void)shutdown(to, SHUT_WR);
	else
		(void)!write(to, buf, (size_t)n);
}

/* A proxy: CONNECT, then both ways until one side ends. */
static void
serve_proxy(struct host *h, int fd)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(h->tunnel_to),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	static const char yes[] = "HTTP/1.1 200 OK\r\n\r\n",
			  no[] = "HTTP/1.1 407 Proxy Authentication "
				 "Required\r\nContent-Length: 0\r\n\r\n";
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
		{ .events = POLLIN } };

	if (read(fd, h->request, sizeof(h->request) - 1) <= 0)
		return;
	h->served++;
	if (h->tunnel_to == 0) {
		(void)!write(fd, no, sizeof(no) - 1);
		return;
	}
	(void)!write(fd, yes, sizeof(yes) - 1);
	p[1].fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(p[1].fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
		while (poll(p, 2, 5000) > 0 && (p[0].revents & POLLHUP) == 0 &&
		    (p[1].revents & POLLHUP) == 0) {
			if ((p[0].revents & POLLIN) != 0)
				pump(fd, p[1].fd);
			if ((p[1].revents & POLLIN) != 0)
				pump(p[1].fd, fd);
		}
	}
	(void)close(p[1].fd);
}

static void *
host_run(void *arg)
{
	struct host *h = arg;
	struct pollfd p[2] = { { h->fd, POLLIN, 0 },
		{ h->stop[0], POLLIN, 0 } };
	int fd;

	while (poll(p, 2, -1) > 0 && p[1].revents == 0) {
		fd = accept(h->fd, NULL, NULL);
		if (fd < 0)
			continue;
		if (h->manner == HANG_BEFORE_TLS)
			(void)stopped(h, 20000);
		else if (h->clear)
			serve_proxy(h, fd);
		else if (h->manner != CLOSE_AT_ONCE)
			serve_tls(h, fd);
		(void)close(fd);
	}
	return NULL;
}

static void
host_start(struct host *h)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);

	h->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(h->fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(h->fd, 8), 0);
	assert_int_equal(getsockname(h->fd, (struct sockaddr *)&sin, &len), 0);
	h->port = ntohs(sin.sin_port);
	assert_int_equal(pipe(h->stop), 0);
	assert_int_equal(pthread_create(&h->thread, NULL, host_run, h), 0);
}

static void
host_stop(struct host *h)
{
	(void)close(h->stop[1]);
	(void)pthread_join(h->thread, NULL);
	(void)close(h->stop[0]);
	(void)close(h->fd);
}

/* ---- a fetch ------------------------------------------------------------------
 */

struct got {
	bool done, doubt;
	enum sts_fetch_why why;
	char reason[256], mx[128];
};

static void
on_done(void *arg, struct sts_fetch_result *res)
{
	struct got *g = arg;

	g->done = true;
	g->why = res->why;
	g->doubt = res->doubt;
	memcpy(g->reason, res->reason, sizeof(g->reason));
	(void)sts_list_text(
	    res->policy.list, res->policy.list_len, g->mx, sizeof(g->mx));
	assert_int_equal(res->why == STS_FETCH_OK, res->text != NULL);
}

static void
fetch_with(const char *cas, uint16_t port, const char *proxy, const char *ip,
    struct got *g)
{
	struct sts_fetch_settings set = { .total_ms = 2000,
		.connect_ms = 1000,
		.port = port,
		.proxy = proxy,
		.ca = (const uint8_t *)cas,
		.ca_len = cas != NULL ? strlen(cas) : 0 };
	struct sts_fetcher *f;
	struct sts_fetch *fe;
	struct sts_addr a;
	uv_loop_t loop;

	memset(g, 0, sizeof(*g));
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(sts_fetcher_new(&loop, &set, &f), 0);
	assert_int_equal(sts_addr_parse(ip, &a), 0);
	assert_int_equal(
	    sts_fetch_start(f, "a.example", &a, 1, &allow, on_done, g, &fe), 0);
	assert_false(g->done);
	while (!g->done)
		if (uv_run(&loop, UV_RUN_ONCE) == 0 && !g->done)
			fail_msg("the fetch was lost");
	sts_fetcher_free(f);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void
fetch(uint16_t port, const char *proxy, const char *ip, struct got *g)
{
	fetch_with(ca.cert_pem, port, proxy, ip, g);
}

static const struct {
	const char *name;
	enum cert_kind cert;
	enum manner manner;
	const char *answer;
	enum sts_fetch_why want;
} cases[] = {
	{ "STS-25 good", GOOD_CERT, SEND, GOOD, STS_FETCH_OK },
	{ "STS-25 with a length", GOOD_CERT, SEND,
	    OK_HEAD "Content-Length: 58\r\n\r\n" POLICY, STS_FETCH_OK },
	{ "STS-25 chunked", GOOD_CERT, SEND,
	    OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3a\r\n" POLICY
		    "\r\n0\r\n\r\n",
	    STS_FETCH_OK },
	{ "STS-26 common name only", CN_ONLY, SEND, GOOD, STS_FETCH_CERT },
	{ "STS-26 another name", OTHER_NAME, SEND, GOOD, STS_FETCH_CERT },
	{ "STS-26 expired", EXPIRED, SEND, GOOD, STS_FETCH_CERT },
	{ "STS-26 self-signed", SELF, SEND, GOOD, STS_FETCH_CERT },
	{ "STS-26 wildcard as first label", WILD, SEND, GOOD, STS_FETCH_OK },
	{ "STS-26 wildcard in a label", WILD_PART, SEND, GOOD, STS_FETCH_CERT },
	{ "STS-26 wildcard for two labels", WILD_DEEP, SEND, GOOD,
	    STS_FETCH_CERT },
	{ "STS-27 204", GOOD_CERT, SEND, "HTTP/1.1 204 No Content\r\n" CLOSE,
	    STS_FETCH_STATUS },
	{ "STS-27 206 with a good body", GOOD_CERT, SEND,
	    "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\n" CLOSE
		POLICY,
	    STS_FETCH_STATUS },
	{ "STS-27 404 with a good body", GOOD_CERT, SEND,
	    "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n" CLOSE
		POLICY,
	    STS_FETCH_STATUS },
	{ "STS-27 500", GOOD_CERT, SEND,
	    "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
	    STS_FETCH_STATUS },
	{ "STS-28 302 with a good body", GOOD_CERT, SEND,
	    "HTTP/1.1 302 Found\r\nLocation: https://" HOST "/x\r\n"
	    "Content-Type: text/plain\r\n" CLOSE POLICY,
	    STS_FETCH_REDIRECT },
	{ "STS-28 301 without a body", GOOD_CERT, SEND,
	    "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\n"
	    "Content-Length: 0\r\n\r\n",
	    STS_FETCH_REDIRECT },
	{ "STS-28 304", GOOD_CERT, SEND, "HTTP/1.1 304 Not Modified\r\n" CLOSE,
	    STS_FETCH_REDIRECT },
	{ "STS-29 as long as allowed", GOOD_CERT, FULL_SIZE, NULL,
	    STS_FETCH_OK },
	{ "STS-29 longer, told", GOOD_CERT, BIG_LENGTH, NULL, STS_FETCH_SIZE },
	{ "STS-29 longer, chunked", GOOD_CERT, BIG_CHUNKED, NULL,
	    STS_FETCH_SIZE },
	{ "STS-29 endless head", GOOD_CERT, BIG_HEAD, NULL, STS_FETCH_SIZE },
	{ "STS-29 drips", GOOD_CERT, DRIP, NULL, STS_FETCH_TIMEOUT },
	{ "STS-29 hangs after the request", GOOD_CERT, HANG_AFTER_REQUEST, NULL,
	    STS_FETCH_TIMEOUT },
	{ "STS-29 hangs before TLS", GOOD_CERT, HANG_BEFORE_TLS, NULL,
	    STS_FETCH_TIMEOUT },
	{ "STS-29 cut short", GOOD_CERT, SEND,
	    OK_HEAD "Content-Length: 100\r\n" CLOSE POLICY, STS_FETCH_HTTP },
	{ "STS-30 case and parameters", GOOD_CERT, SEND,
	    "HTTP/1.1 200 OK\r\ncontent-type:  Text/PLAIN ; "
	    "charset=utf-8; x=y\r\n" CLOSE POLICY,
	    STS_FETCH_OK },
	{ "STS-30 HTML", GOOD_CERT, SEND,
	    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" CLOSE POLICY,
	    STS_FETCH_TYPE },
	{ "STS-30 only begins so", GOOD_CERT, SEND,
	    "HTTP/1.1 200 OK\r\nContent-Type: text/plainly\r\n" CLOSE POLICY,
	    STS_FETCH_TYPE },
	{ "STS-30 none", GOOD_CERT, SEND, "HTTP/1.1 200 OK\r\n" CLOSE POLICY,
	    STS_FETCH_TYPE },
	{ "STS-31 TLS 1.1", GOOD_CERT, OLD_TLS, GOOD, STS_FETCH_TLS },
	{ "STS-24 no policy", GOOD_CERT, SEND, OK_HEAD CLOSE "hello\n",
	    STS_FETCH_INVALID },
	{ "STS-24 empty", GOOD_CERT, SEND, OK_HEAD "Content-Length: 0\r\n\r\n",
	    STS_FETCH_INVALID },
	{ "broken chunks", GOOD_CERT, SEND,
	    OK_HEAD "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" POLICY,
	    STS_FETCH_HTTP },
	{ "no HTTP", GOOD_CERT, SEND, "hello\n", STS_FETCH_HTTP },
};

static void
test_cases(void **state)
{
	struct host h;
	struct got g;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&h, 0, sizeof(h));
		h.cert = cases[i].cert;
		h.manner = cases[i].manner;
		h.answer = cases[i].answer;
		host_start(&h);
		fetch(h.port, NULL, "127.0.0.1", &g);
		host_stop(&h);
		if (g.why != cases[i].want ||
		    (g.why == STS_FETCH_OK) != (g.reason[0] == '\0') ||
		    (g.why == STS_FETCH_OK) !=
			(strcmp(g.mx, "mx.a.example") == 0))
			fail_msg("%s: %s (%s), wanted %s", cases[i].name,
			    sts_fetch_why_word(g.why), g.reason,
			    sts_fetch_why_word(cases[i].want));
		assert_int_equal(
		    g.why == STS_FETCH_OK, sts_fetch_tlsrpt(g.why) == NULL);
		assert_int_equal(g.why == STS_FETCH_CERT,
		    sts_fetch_tlsrpt(g.why) != NULL &&
			strcmp(sts_fetch_tlsrpt(g.why), "sts-webpki-invalid") ==
			    0);
	}
}

/* STS-25, STS-28, STS-31: what the host sees. */
static void
test_request(void **state)
{
	struct host h = { .answer = GOOD };
	struct got g;

	(void)state;
	/* nothing of the environment may matter */
	(void)setenv("https_proxy", "http://127.0.0.1:1", 1);
	(void)setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	host_start(&h);
	fetch(h.port, NULL, "127.0.0.1", &g);
	host_stop(&h);
	(void)unsetenv("https_proxy");
	(void)unsetenv("ALL_PROXY");
	assert_int_equal(g.why, STS_FETCH_OK);
	assert_string_equal(h.sni, HOST);
	assert_int_equal(strncmp(h.request,
			     "GET /.well-known/mta-sts.txt HTTP/1.1\r\n"
			     "Host: " HOST "\r\n",
			     39 + 6 + sizeof(HOST) - 1 + 2),
	    0);
	assert_null(strcasestr(h.request, "\r\nif-"));
	assert_null(strcasestr(h.request, "\r\ncookie"));
	assert_null(strcasestr(h.request, "\r\nauthorization"));
	assert_null(strcasestr(h.request, "\r\naccept-encoding"));
}

static void
test_unreachable(void **state)
{
	struct host h = { .manner = CLOSE_AT_ONCE };
	struct got g;

	(void)state;
	host_start(&h);
	fetch(h.port, NULL, "127.0.0.1", &g);
	host_stop(&h);
	/* closed inside the handshake */
	assert_true(g.why == STS_FETCH_TLS || g.why == STS_FETCH_CONNECT);
	fetch(h.port, NULL, "127.0.0.1", &g);
	assert_int_equal(g.why, STS_FETCH_CONNECT);
	/* only 127.0.0.0/8 is allowed here */
	fetch(h.port, NULL, "10.0.0.1", &g);
	assert_int_equal(g.why, STS_FETCH_REFUSED);
	assert_non_null(strstr(g.reason, "10.0.0.1"));
	fetch(h.port, NULL, "::1", &g);
	assert_int_equal(g.why, STS_FETCH_REFUSED);
}

static void
via_proxy(const char *user, uint16_t refuse, struct host *p, struct got *g)
{
	struct host h = { .answer = GOOD };
	char url[128];

	host_start(&h);
	p->clear = true;
	p->tunnel_to = refuse ? 0 : h.port;
	host_start(p);
	(void)snprintf(
	    url, sizeof(url), "http://%s127.0.0.1:%u", user, p->port);
	fetch(443, url, "127.0.0.1", g);
	host_stop(p);
	host_stop(&h);
}

static void
test_proxy(void **state)
{
	struct host p = { 0 };
	struct got g;
	char url[64];

	(void)state;
	via_proxy("", 0, &p, &g);
	assert_int_equal(g.why, STS_FETCH_OK);
	/* the proxy is asked for the name, and resolves it */
	assert_int_equal(
	    strncmp(p.request, "CONNECT " HOST ":443 HTTP/1.1\r\n", 39), 0);
	assert_null(strstr(p.request, "Proxy-Authorization"));

	memset(&p, 0, sizeof(p));
	via_proxy("user:pass@", 0, &p, &g);
	assert_int_equal(g.why, STS_FETCH_OK);
	assert_non_null(strstr(
	    p.request, "\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n"));

	memset(&p, 0, sizeof(p));
	via_proxy("", 1, &p, &g);
	assert_int_equal(g.why, STS_FETCH_PROXY);
	assert_true(g.doubt);
	assert_non_null(strstr(g.reason, "407"));

	/* nobody there: that is our side, and says nothing of a policy */
	host_start(&p);
	host_stop(&p);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", p.port);
	fetch(443, url, "127.0.0.1", &g);
	assert_int_equal(g.why, STS_FETCH_PROXY);
	assert_true(g.doubt);
}

/* Without CA certificates nobody can say whether there is a policy: our own
 * trouble, never "no policy", and nobody is asked. */
static void
test_no_ca(void **state)
{
	struct host h = { .answer = GOOD };
	struct got g;

	(void)state;
	host_start(&h);
	fetch_with(NULL, h.port, NULL, "127.0.0.1", &g);
	assert_int_equal(h.served, 0);
	host_stop(&h);
	assert_int_equal(g.why, STS_FETCH_INTERNAL);
	assert_non_null(strstr(g.reason, "ca_file"));
}

/* The proxy has a name: the caller is told, and no name server is asked. */
static void
test_proxy_name(void **state)
{
	struct host h = { .answer = GOOD }, p = { .clear = true };
	struct sts_fetch_settings set = { .port = 443,
		.ca = (const uint8_t *)ca.cert_pem,
		.ca_len = strlen(ca.cert_pem) };
	char url[128], buf[STS_HOST_SIZE];
	struct sts_fetcher *f;
	struct got g;
	uv_loop_t loop;

	(void)state;
	host_start(&h);
	p.tunnel_to = h.port;
	host_start(&p);
	(void)snprintf(url, sizeof(url), "http://proxy.invalid:%u", p.port);
	fetch(443, url, "127.0.0.1", &g);
	host_stop(&p);
	host_stop(&h);
	if (g.why != STS_FETCH_OK)
		fail_msg("%s", g.reason);

	assert_int_equal(uv_loop_init(&loop), 0);
	set.proxy = url;
	assert_int_equal(sts_fetcher_new(&loop, &set, &f), 0);
	assert_true(sts_fetcher_has_proxy(f));
	assert_string_equal(
	    sts_fetcher_host(f, "a.example", buf), "proxy.invalid");
	set.proxy = "http://192.0.2.1:3128";
	assert_int_equal(sts_fetcher_configure(f, &set), 0);
	assert_null(sts_fetcher_host(f, "a.example", buf));
	set.proxy = NULL;
	assert_int_equal(sts_fetcher_configure(f, &set), 0);
	assert_false(sts_fetcher_has_proxy(f));
	assert_string_equal(sts_fetcher_host(f, "a.example", buf), HOST);
	set.ca_len = 0;
	assert_int_equal(sts_fetcher_configure(f, &set), PE_TLS);
	sts_fetcher_free(f);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
}

/* Cancelled, or the fetcher freed, while fetches are open: no callback. */
static void
test_cancel(void **state)
{
	struct host h = { .manner = HANG_AFTER_REQUEST };
	struct sts_fetch_settings set = { .total_ms = 60000,
		.connect_ms = 10000,
		.ca = (const uint8_t *)ca.cert_pem,
		.ca_len = strlen(ca.cert_pem) };
	struct sts_fetch *a, *b, *c;
	struct got g = { 0 };
	struct sts_fetcher *f;
	struct sts_addr addr;
	uv_loop_t loop;

	(void)state;
	host_start(&h);
	set.port = h.port;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(sts_fetcher_new(&loop, &set, &f), 0);
	assert_int_equal(sts_addr_parse("127.0.0.1", &addr), 0);
	assert_int_equal(
	    sts_fetch_start(f, "a.example", &addr, 1, &allow, on_done, &g, &a),
	    0);
	assert_int_equal(
	    sts_fetch_start(f, "b.example", NULL, 0, &allow, on_done, &g, &b),
	    0);
	assert_int_equal(
	    sts_fetch_start(f, "c.example", &addr, 1, &allow, on_done, &g, &c),
	    0);
	sts_fetch_cancel(b); /* had failed before it began */
	while (h.served == 0)
		assert_int_not_equal(uv_run(&loop, UV_RUN_NOWAIT), 0);
	sts_fetch_cancel(a);
	sts_fetcher_free(f);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_false(g.done);
	host_stop(&h);
}

static int
setup(void **state)
{
	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	assert_int_equal(sts_fetch_library_init(), 0);
	ca = test_cert_new("Test CA", NULL, NULL, 1, 10);
	certs[GOOD_CERT] = test_cert_new("x", "DNS:" HOST, &ca, 0, 10);
	certs[CN_ONLY] = test_cert_new(HOST, NULL, &ca, 0, 10);
	certs[OTHER_NAME] =
	    test_cert_new(HOST, "DNS:mta-sts.b.example", &ca, 0, 10);
	certs[EXPIRED] = test_cert_new("x", "DNS:" HOST, &ca, 0, -1);
	certs[SELF] = test_cert_new("x", "DNS:" HOST, NULL, 0, 10);
	certs[WILD] = test_cert_new("x", "DNS:*.a.example", &ca, 0, 10);
	certs[WILD_PART] =
	    test_cert_new("x", "DNS:mta-*.a.example", &ca, 0, 10);
	certs[WILD_DEEP] = test_cert_new("x", "DNS:*.example", &ca, 0, 10);
	return 0;
}

static int
teardown(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < CERTS; i++)
		test_cert_done(&certs[i]);
	test_cert_done(&ca);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_no_ca),
		cmocka_unit_test(test_proxy_name),
		cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
