/*
 * net.h - what the load generator and the sink share: one connection over
 * epoll, with or without TLS, and a few conversions.
 *
 * A header only, because each of the two is a program of one file. It never
 * blocks. Deliberately not lib/tls or libuv: the instrument shares no code
 * with what it measures, apart from lib/base/buf.
 */
#ifndef POSTERN_TESTS_BENCH_NET_H
#define POSTERN_TESTS_BENCH_NET_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "lib/base/buf.h"

struct conn {
	int fd;	  /* -1: none */
	SSL *ssl; /* NULL: clear text */
	bool handshake;
	bool wants_out; /* EPOLLOUT is armed */
	struct buf out;
};

#define NORETURN __attribute__((noreturn))

static inline int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline NORETURN void
die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(2);
}

/* A whole number from min to max, or the end of the program. */
static inline uint64_t
number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
		die(option, "not a number in range");
	return v;
}

/* "127.0.0.1:25" or "[::1]:25"; returns the length of the address. */
static inline socklen_t
address(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	const char *colon = strrchr(text, ':');
	char host[64];
	size_t len;
	uint16_t port;

	if (colon == NULL)
		die(text, "wanted ADDRESS:PORT");
	port = htons((uint16_t)number(text, colon + 1, 0, 65535));
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && colon[-1] == ']') {
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		die(text, "address too long");
	memcpy(host, text, len);
	host[len] = '\0';
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = port;
		return sizeof(*in4);
	}
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = port;
		return sizeof(*in6);
	}
	die(host, "not an IP address");
}

/* Every descriptor the kernel lets us have. */
static inline void
raise_fd_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl); /* best effort */
	}
}

static inline void
conn_init(struct conn *c, size_t out_max)
{
	memset(c, 0, sizeof(*c));
	c->fd = -1;
	buf_init(&c->out, out_max);
}

/* Start watching fd; the connection owns it. 0 or -1. */
static inline int
conn_open(struct conn *c, int epfd, int fd, bool wants_out, void *owner)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = owner };
	int one = 1;

	c->fd = fd;
	c->wants_out = wants_out;
	if (wants_out)
		ev.events |= EPOLLOUT;
	/* a refusal only costs speed */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static inline void
conn_close(struct conn *c)
{
	if (c->ssl != NULL) {
		/* close_notify is a courtesy; the socket closes right after */
		if (!c->handshake)
			(void)SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
		c->ssl = NULL;
		ERR_clear_error();
	}
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	c->handshake = false;
	buf_reset(&c->out, 0);
}

/* From here on the bytes are TLS. 0 or -1. */
static inline int
conn_tls(struct conn *c, SSL_CTX *ctx, bool server)
{
	c->ssl = SSL_new(ctx);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
		return -1;
	c->handshake = true;
	if (server)
		SSL_set_accept_state(c->ssl);
	else
		SSL_set_connect_state(c->ssl);
	return 0;
}

static inline int
conn_arm(struct conn *c, int epfd, bool wants_out, void *owner)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = owner };

	if (c->wants_out == wants_out)
		return 0;
	if (wants_out)
		ev.events |= EPOLLOUT;
	c->wants_out = wants_out;
	return epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &ev);
}

/* Go on with the handshake. 1 done, 0 later, -1 failed. */
static inline int
conn_handshake(struct conn *c, int epfd, void *owner)
{
	int r = SSL_do_handshake(c->ssl);

	if (r == 1) {
		c->handshake = false;
		return conn_arm(c, epfd, false, owner) == 0 ? 1 : -1;
	}
	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return conn_arm(c, epfd, false, owner);
	case SSL_ERROR_WANT_WRITE:
		return conn_arm(c, epfd, true, owner);
	default:
		ERR_clear_error();
		return -1;
	}
}

/* Send what waits. 1 all is with the kernel, 0 the rest later, -1 lost. */
static inline int
conn_flush(struct conn *c, int epfd, void *owner)
{
	while (buf_len(&c->out) > 0) {
		size_t len = buf_len(&c->out);
		ssize_t n;

		if (c->ssl != NULL) {
			n = SSL_write(c->ssl, buf_data(&c->out),
			    (int)(len > 1 << 20 ? 1 << 20 : len));
			if (n <= 0) {
				int e = SSL_get_error(c->ssl, (int)n);

				if (e == SSL_ERROR_WANT_WRITE ||
				    e == SSL_ERROR_WANT_READ)
					return conn_arm(c, epfd, true, owner);
				ERR_clear_error();
				return -1;
			}
		} else {
			n = send(c->fd, buf_data(&c->out), len, MSG_NOSIGNAL);
			if (n < 0) {
				if (errno == EAGAIN)
					return conn_arm(c, epfd, true, owner);
				if (errno == EINTR)
					continue;
				return -1;
			}
		}
		buf_drop(&c->out, (size_t)n);
	}
	return conn_arm(c, epfd, false, owner) == 0 ? 1 : -1;
}

/*
 * Read at most len bytes. > 0 bytes, 0 nothing now, -1 the end or lost. In
 * clear text a short read means that nothing is left; in TLS call again until
 * 0, because bytes inside the library wake nobody.
 */
static inline ssize_t
conn_read(struct conn *c, void *buf, size_t len)
{
	ssize_t n;

	if (c->ssl != NULL) {
		n = SSL_read(c->ssl, buf, (int)len);
		if (n > 0)
			return n;
		switch (SSL_get_error(c->ssl, (int)n)) {
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			return 0;
		default:
			ERR_clear_error();
			return -1;
		}
	}
	do
		n = recv(c->fd, buf, len, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	return n < 0 && errno == EAGAIN ? 0 : -1;
}

/* A growing bit per sequence number: which ones were seen. */
/* The sum of bytes: enough to tell a message from one with a hole. */
static inline uint32_t
sum_bytes(uint32_t sum, const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += (uint8_t)p[i];
	return sum;
}

struct seen {
	uint64_t *bits;
	size_t words;
};

/* True when number was new. Numbers over 2^32 are the sender's mistake. */
static inline bool
seen_add(struct seen *s, uint64_t number)
{
	size_t word = (size_t)(number / 64);
	uint64_t bit = UINT64_C(1) << (number % 64);

	if (word >= s->words) {
		size_t words = s->words == 0 ? 1024 : s->words;
		uint64_t *bits;

		if (word >= 1 << 26)
			die("X-Seq", "number too large");
		while (words <= word)
			words *= 2;
		bits = realloc(s->bits, words * sizeof(*bits));
		if (bits == NULL)
			die("realloc", "no memory");
		memset(bits + s->words, 0, (words - s->words) * sizeof(*bits));
		s->bits = bits;
		s->words = words;
	}
	if (s->bits[word] & bit)
		return false;
	s->bits[word] |= bit;
	return true;
}

#endif
