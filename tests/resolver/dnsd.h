/*
 * dnsd.h - a scripted DNS server on the test's own loop, UDP and TCP on one
 * port of 127.0.0.1. What it answers is a function of the test; it can stay
 * silent, lie, answer twice or break the format. Header only.
 */
#ifndef POSTERN_TESTS_RESOLVER_DNSD_H
#define POSTERN_TESTS_RESOLVER_DNSD_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/lib/dns/packet.h"

struct dnsd;

/* One query. Answer with dnsd_send(), any number of times. */
struct dnsd_query {
	struct dnsd *d;
	const uint8_t *b; /* the query */
	size_t len;
	bool tcp;
	char name[256]; /* lower case, without last dot */
	unsigned type;
	bool ad, cd, dopt, opt; /* bits, and whether OPT is there */
	const struct sockaddr *to;
	uv_stream_t *stream;
};

typedef void dnsd_script(struct dnsd_query *q, struct packet *pk);

struct dnsd {
	uv_udp_t udp;
	uv_tcp_t tcp;
	char text[64]; /* "127.0.0.1:port" */
	dnsd_script *script;
	const char *ignore; /* a name that is not counted, or NULL */
	unsigned udp_queries, tcp_queries, cd_queries;
	void *arg;
	uint8_t in[4096];
};

struct dnsd_conn {
	uv_tcp_t tcp;
	struct dnsd *d;
	uint8_t b[4096];
	size_t len;
};

struct dnsd_write {
	union {
		uv_write_t tcp;
		uv_udp_send_t udp;
	} req;
	uint8_t b[65537];
};

static inline void
dnsd_tcp_sent(uv_write_t *w, int status)
{
	(void)status;
	free(w);
}

static inline void
dnsd_udp_sent(uv_udp_send_t *w, int status)
{
	(void)status;
	free(w);
}

static inline void
dnsd_send(struct dnsd_query *q, const struct packet *pk)
{
	struct dnsd_write *w = calloc(1, sizeof(*w));
	uv_buf_t buf;

	if (w == NULL)
		abort();
	w->b[0] = (uint8_t)(pk->len >> 8);
	w->b[1] = (uint8_t)pk->len;
	memcpy(&w->b[2], pk->b, pk->len);
	if (q->tcp) {
		buf = uv_buf_init((char *)w->b, (unsigned)pk->len + 2);
		if (uv_write(&w->req.tcp, q->stream, &buf, 1, dnsd_tcp_sent) <
		    0)
			abort();
	} else {
		buf = uv_buf_init((char *)&w->b[2], (unsigned)pk->len);
		if (uv_udp_send(&w->req.udp, &q->d->udp, &buf, 1, q->to,
			dnsd_udp_sent) < 0)
			abort();
	}
}

static inline void
dnsd_query(struct dnsd *d, struct dnsd_query *q)
{
	static struct packet pk;
	size_t at = 12, n = 0, i;

	while (at < q->len && q->b[at] != 0) {
		if (n > 0)
			q->name[n++] = '.';
		for (i = 1; i <= q->b[at]; i++)
			q->name[n++] = (char)(q->b[at + i] | 0x20);
		at += (size_t)q->b[at] + 1;
	}
	q->type = (unsigned)(q->b[at + 1] << 8 | q->b[at + 2]);
	q->ad = (q->b[3] & 0x20) != 0;
	q->cd = (q->b[3] & 0x10) != 0;
	q->opt = q->b[11] == 1;
	q->dopt = q->opt && (q->b[at + 12] & 0x80) != 0;
	q->d = d;
	if (d->ignore == NULL || strcmp(q->name, d->ignore) != 0) {
		d->tcp_queries += q->tcp;
		d->udp_queries += !q->tcp;
	}
	d->cd_queries += q->cd;
	if (d->script != NULL)
		d->script(q, &pk);
}

static inline void
dnsd_udp_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	struct dnsd *d = h->data;

	(void)want;
	*buf = uv_buf_init((char *)d->in, sizeof(d->in));
}

static inline void
dnsd_udp_read(uv_udp_t *u, ssize_t n, const uv_buf_t *buf,
    const struct sockaddr *from, unsigned flags)
{
	struct dnsd_query q = { .b = (const uint8_t *)buf->base, .to = from };

	(void)flags;
	if (n <= 0)
		return;
	q.len = (size_t)n;
	dnsd_query(u->data, &q);
}

static inline void
dnsd_conn_closed(uv_handle_t *h)
{
	free(h->data);
}

static inline void
dnsd_tcp_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	struct dnsd_conn *c = h->data;

	(void)want;
	*buf = uv_buf_init(
	    (char *)c->b + c->len, (unsigned)(sizeof(c->b) - c->len));
}

static inline void
dnsd_tcp_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct dnsd_conn *c = s->data;
	size_t want;

	(void)buf;
	if (n < 0) {
		uv_close((uv_handle_t *)s, dnsd_conn_closed);
		return;
	}
	c->len += (size_t)n;
	while (c->len >= 2) {
		struct dnsd_query q = {
			.b = &c->b[2], .tcp = true, .stream = s
		};

		want = (size_t)(c->b[0] << 8 | c->b[1]);
		if (c->len < want + 2)
			return;
		q.len = want;
		dnsd_query(c->d, &q);
		c->len -= want + 2;
		memmove(c->b, c->b + want + 2, c->len);
	}
}

static inline void
dnsd_accept(uv_stream_t *s, int status)
{
	struct dnsd_conn *c = calloc(1, sizeof(*c));

	if (status < 0 || c == NULL)
		abort();
	c->d = s->data;
	c->tcp.data = c;
	if (uv_tcp_init(s->loop, &c->tcp) < 0 ||
	    uv_accept(s, (uv_stream_t *)&c->tcp) < 0 ||
	    uv_read_start(
		(uv_stream_t *)&c->tcp, dnsd_tcp_alloc, dnsd_tcp_read) < 0)
		abort();
}

static inline void
dnsd_start(struct dnsd *d, uv_loop_t *loop, dnsd_script *script)
{
	struct sockaddr_in sin;
	int len = sizeof(sin), tries, room = 4 << 20;

	memset(d, 0, sizeof(*d));
	d->script = script;
	/* the port that UDP gets may be taken for TCP: another one then */
	for (tries = 0;; tries++) {
		if (tries == 20 || uv_ip4_addr("127.0.0.1", 0, &sin) < 0 ||
		    uv_udp_init(loop, &d->udp) < 0 ||
		    uv_udp_bind(&d->udp, (struct sockaddr *)&sin, 0) < 0 ||
		    uv_udp_getsockname(&d->udp, (struct sockaddr *)&sin, &len) <
			0 ||
		    uv_tcp_init(loop, &d->tcp) < 0)
			abort();
		if (uv_tcp_bind(&d->tcp, (struct sockaddr *)&sin, 0) == 0 &&
		    uv_listen((uv_stream_t *)&d->tcp, 8, dnsd_accept) == 0)
			break;
		uv_close((uv_handle_t *)&d->udp, NULL);
		uv_close((uv_handle_t *)&d->tcp, NULL);
		(void)uv_run(loop, UV_RUN_NOWAIT); /* closes them */
	}
	d->udp.data = d->tcp.data = d;
	/* this server reads in the turns of the test: do not lose queries */
	(void)uv_recv_buffer_size((uv_handle_t *)&d->udp, &room);
	if (uv_udp_recv_start(&d->udp, dnsd_udp_alloc, dnsd_udp_read) < 0)
		abort();
	(void)snprintf(
	    d->text, sizeof(d->text), "127.0.0.1:%d", ntohs(sin.sin_port));
}

static inline void
dnsd_stop(struct dnsd *d)
{
	uv_close((uv_handle_t *)&d->udp, NULL);
	uv_close((uv_handle_t *)&d->tcp, NULL);
}

#endif
