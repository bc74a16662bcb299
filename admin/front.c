/*
 * front.c - connections before the HTTP library.
 *
 * Called by main.c with the listening sockets of the supervisor. Never parses
 * beyond the head, never answers but to refuse. One connection is two
 * descriptors and two bounded buffers: client -> library (checked bytes only)
 * and library -> client.
 */
#include "admin/front.h"
#include "admin/http_head.h"
#include "lib/base/buf.h"
#include "lib/base/client_key.h"
#include "lib/base/err.h"
#include "lib/log/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PUMP_MAX = 64 * 1024, /* waiting bytes, each way */
	READ_SIZE = 16 * 1024,
	LINGER_MS = 2000, /* for the client to read why it was refused */
	ACCEPT_PAUSE_MS = 200,
};

enum conn_state {
	CONN_IDLE,   /* no byte of the next head yet */
	CONN_HEAD,   /* inside a head */
	CONN_BODY,   /* inside a body */
	CONN_DEAF,   /* nothing more is read: end of input, or refused */
	CONN_LINGER, /* the refusal is out; bytes are read and forgotten */
};

struct side {
	uv_poll_t poll;
	int fd; /* -1: none */
	int events;
	bool eof, open; /* open: the handle is initialised */
};

struct conn {
	LIST_ENTRY(conn) link;
	struct front *front;
	struct side client, lib;
	uv_timer_t timer;
	enum conn_state state;
	struct buf head; /* of the request that is being read */
	size_t looked;	 /* bytes of it without an end */
	uint64_t body_left;
	bool asked;	 /* a request went to the library */
	struct buf in;	 /* to the library */
	struct buf out;	 /* to the client */
	struct buf last; /* the refusal, sent when the library is done */
	uint8_t key[CLIENT_KEY_LEN];
	bool refused, closing;
	int handles; /* that still close */
};

struct front {
	uv_poll_t poll;
	uv_timer_t pause;
	int fd;
	struct front_opts opts;
	LIST_HEAD(conn_list, conn) conns;
	size_t n_conns;
	bool draining, freeing;
	int handles;
	void (*on_empty)(void *arg);
	void *empty_arg;
	struct log_limit limit;
};

static void conn_turn(struct conn *c);
static void on_front_closed(uv_handle_t *handle);

/* ---- end of a connection -------------------------------------------------------- */

static void
maybe_empty(struct front *f)
{
	void (*cb)(void *arg) = f->on_empty;

	if (f->n_conns > 0)
		return;
	if (cb != NULL && !f->freeing) {
		f->on_empty = NULL;
		cb(f->empty_arg);
	}
	if (f->freeing && f->handles == 0)
		free(f);
}

static void
on_conn_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	struct front *f = c->front;

	if (--c->handles > 0)
		return;
	if (c->client.fd >= 0)
		(void)close(c->client.fd);
	if (c->lib.fd >= 0)
		(void)close(c->lib.fd);
	buf_done(&c->head);
	buf_done(&c->in);
	buf_done(&c->out);
	buf_done(&c->last);
	LIST_REMOVE(c, link);
	f->n_conns--;
	free(c);
	maybe_empty(f);
}

static void
close_side(struct conn *c, struct side *s)
{
	if (s->open) {
		s->open = false;
		c->handles++;
		uv_close((uv_handle_t *)&s->poll, on_conn_closed);
	}
}

static void
conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	c->handles++;
	uv_close((uv_handle_t *)&c->timer, on_conn_closed);
	close_side(c, &c->client);
	close_side(c, &c->lib);
}

static void
on_timeout(uv_timer_t *timer)
{
	struct conn *c = timer->data;

	if (c->state != CONN_IDLE && c->state != CONN_LINGER)
		c->front->opts.stats->timeouts++;
	conn_close(c);
}

static void
arm(struct conn *c, int64_t ms)
{
	(void)uv_timer_start(&c->timer, on_timeout, (uint64_t)ms, 0);
}

static void
set_state(struct conn *c, enum conn_state state)
{
	const int64_t head_ms = c->front->opts.head_timeout_ms > 0
	    ? c->front->opts.head_timeout_ms
	    : FRONT_HEAD_TIMEOUT_MS;
	const int64_t ms[] = {
		[CONN_IDLE] = c->asked ? FRONT_WORK_TIMEOUT_MS : head_ms,
		[CONN_HEAD] = head_ms,
		[CONN_BODY] = FRONT_BODY_TIMEOUT_MS,
		[CONN_DEAF] = FRONT_WORK_TIMEOUT_MS,
		[CONN_LINGER] = LINGER_MS,
	};

	if (c->state == state && state != CONN_IDLE)
		return;
	c->state = state;
	arm(c, ms[state]);
}

/* ---- refusing ------------------------------------------------------------------- */

static const char *
status_words(uint16_t status)
{
	switch (status) {
	case 403:
		return "Forbidden";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 417:
		return "Expectation Failed";
	case 431:
		return "Request Header Fields Too Large";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Bad Request";
	}
}

/* The library is told that no more comes; it finishes what it has, and then the
 * refusal follows. why is our own text and needs no escaping. */
static void
conn_refuse(struct conn *c, uint16_t status, const char *why)
{
	char body[256];
	int n;

	n = snprintf(body, sizeof(body),
	    "{\"error\":{\"code\":%u,\"process\":\"admin\",\"text\":\"%s\"}}\n",
	    status, why);
	(void)buf_printf(&c->last,
	    "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\n"
	    "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
	    status, status_words(status), n, body); /* fits: new and bounded */
	c->refused = true;
	set_state(c, CONN_DEAF);
}

/* ---- bytes ------------------------------------------------------------------------ */

static void
on_side(uv_poll_t *poll, int status, int events)
{
	(void)status; /* reading tells */
	(void)events;
	conn_turn(poll->data);
}

/* Wait for these events; 0 stops. */
static void
wait_for(struct conn *c, struct side *s, int events)
{
	if (!s->open || s->events == events)
		return;
	s->events = events;
	if (events == 0)
		(void)uv_poll_stop(&s->poll);
	else
		(void)uv_poll_start(&s->poll, events, on_side);
}

static int
open_side(struct conn *c, struct side *s, int fd)
{
	int r;

	s->fd = fd;
	r = uv_poll_init(c->front->poll.loop, &s->poll, fd);
	if (r < 0)
		return r;
	s->poll.data = c;
	s->open = true;
	return 0;
}

/* Read into b. 1 bytes came, 0 none wait, -1 the end. */
static int
fill(int fd, struct buf *b)
{
	size_t room = b->max - buf_len(b);
	uint8_t *to;
	ssize_t n;

	if (room > READ_SIZE)
		room = READ_SIZE;
	to = buf_room(b, room);
	if (to == NULL)
		return -1;
	do {
		n = recv(fd, to, room, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		buf_added(b, (size_t)n);
	return n > 0 ? 1 : n < 0 && errno == EAGAIN ? 0 : -1;
}

/* Write what waits. 1 something went, 0 nothing could, -1 broken. */
static int
spill(int fd, struct buf *b)
{
	int went = 0;
	ssize_t n;

	while (buf_len(b) > 0) {
		n = send(fd, buf_data(b), buf_len(b), MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? went : -1;
		buf_drop(b, (size_t)n);
		went = 1;
	}
	return went;
}

static int
open_lib(struct conn *c)
{
	int sv[2], r;

	if (socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return -errno;
	r = open_side(c, &c->lib, sv[0]);
	if (r < 0) {
		(void)close(sv[1]);
		return r;
	}
	return c->front->opts.on_conn(c->front->opts.arg, sv[1]);
}

/* A whole head of len bytes stands in c->head: judge it, pass it on. */
static void
take_head(struct conn *c, size_t len)
{
	struct http_head h;

	if (http_head_check(buf_data(&c->head), len, &h) < 0) {
		c->front->opts.stats->refused_head++;
		conn_refuse(c, h.status, h.why);
		return;
	}
	if (c->lib.fd < 0 && open_lib(c) < 0) {
		conn_refuse(c, 503, "no descriptors left; try again");
		return;
	}
	/* in has room for a head: feed() looked */
	(void)buf_put(&c->in, buf_data(&c->head), len);
	buf_drop(&c->head, len);
	c->looked = 0;
	c->asked = true;
	c->body_left = h.body_len;
	set_state(c, c->body_left > 0 ? CONN_BODY : CONN_IDLE);
}

static void
feed_body(struct conn *c)
{
	size_t n = buf_len(&c->head);

	if (n > c->body_left)
		n = (size_t)c->body_left;
	if (n > PUMP_MAX - buf_len(&c->in))
		n = PUMP_MAX - buf_len(&c->in);
	(void)buf_put(&c->in, buf_data(&c->head), n); /* there is room */
	buf_drop(&c->head, n);
	c->body_left -= n;
	if (c->body_left == 0)
		set_state(c, CONN_IDLE);
}

/* Pass on what was read, as far as it is checked. False: nothing moved. */
static bool
feed(struct conn *c)
{
	struct http_head h;
	ssize_t n;

	if (c->state == CONN_BODY) {
		if (buf_len(&c->head) == 0 || buf_len(&c->in) == PUMP_MAX)
			return false;
		feed_body(c);
		return true;
	}
	if (c->state > CONN_BODY || buf_len(&c->head) == 0 ||
	    buf_len(&c->in) > PUMP_MAX - HTTP_HEAD_MAX)
		return false;
	set_state(c, CONN_HEAD);
	n = http_head_find(
	    buf_data(&c->head), buf_len(&c->head), c->looked, &h);
	if (n < 0) {
		c->front->opts.stats->refused_head++;
		conn_refuse(c, h.status, h.why);
		return true;
	}
	if (n == 0) {
		c->looked = buf_len(&c->head);
		return false;
	}
	take_head(c, (size_t)n);
	return true;
}

static void
read_client(struct conn *c)
{
	if (c->client.eof)
		return;
	if (c->state >= CONN_DEAF) {
		buf_reset(&c->head, READ_SIZE);
		if (c->state == CONN_DEAF)
			return;
	}
	if (buf_len(&c->head) >= HTTP_HEAD_MAX)
		return;
	if (fill(c->client.fd, &c->head) < 0) {
		c->client.eof = true;
		if (c->state == CONN_LINGER)
			conn_close(c);
	}
}

/* Checked bytes go to the library, as far as it takes them now. */
static void
pump_in(struct conn *c)
{
	bool moved;
	int r;

	do {
		moved = false;
		while (feed(c))
			moved = true;
		if (c->lib.fd < 0 || c->lib.eof)
			return;
		r = spill(c->lib.fd, &c->in);
		if (r < 0)
			buf_reset(&c->in, 0); /* its answer tells why */
		else if (r > 0)
			moved = true; /* room for what stood behind */
	} while (moved);
}

/* No more comes from the client, and all that came has gone on. */
static void
client_ended(struct conn *c)
{
	if (c->state == CONN_IDLE && c->lib.fd >= 0)
		set_state(c, CONN_DEAF); /* answers are still due */
	else
		conn_close(c); /* nothing asked, or cut off in a request */
}

/* Everything the library will say is said. */
static void
lib_ended(struct conn *c)
{
	if (c->state == CONN_LINGER)
		return;
	if (buf_len(&c->last) > 0) {
		(void)buf_put(&c->out, buf_data(&c->last),
		    buf_len(&c->last)); /* out is larger by this */
		buf_reset(&c->last, 0);
		if (spill(c->client.fd, &c->out) < 0) {
			conn_close(c);
			return;
		}
	}
	if (buf_len(&c->out) > 0)
		return; /* goes on when the client takes more */
	if (!c->refused) {
		conn_close(c);
		return;
	}
	set_state(c, CONN_LINGER);
	(void)shutdown(c->client.fd, SHUT_WR); /* the client sees it */
}

/* One turn: move every byte that can move, then wait for the rest. */
static void
conn_turn(struct conn *c)
{
	int r;

	if (c->closing)
		return;
	read_client(c);
	if (c->closing)
		return;
	pump_in(c);
	if (c->client.eof && c->state < CONN_DEAF && buf_len(&c->in) == 0) {
		client_ended(c);
		if (c->closing)
			return;
	}
	if (c->lib.fd >= 0 && !c->lib.eof) {
		if (c->state == CONN_DEAF && buf_len(&c->in) == 0)
			(void)shutdown(c->lib.fd, SHUT_WR); /* again is fine */
		if (buf_len(&c->out) < PUMP_MAX && fill(c->lib.fd, &c->out) < 0)
			c->lib.eof = true;
	}
	r = spill(c->client.fd, &c->out);
	if (r < 0) {
		conn_close(c);
		return;
	}
	if (r > 0 && (c->state == CONN_IDLE || c->state == CONN_DEAF))
		arm(c, FRONT_IDLE_TIMEOUT_MS); /* answered, or answering */
	if (c->lib.eof || (c->lib.fd < 0 && c->refused)) {
		lib_ended(c);
		if (c->closing)
			return;
	}
	wait_for(c, &c->client,
	    (!c->client.eof && c->state != CONN_DEAF &&
			buf_len(&c->head) < HTTP_HEAD_MAX
		    ? UV_READABLE
		    : 0) |
		(buf_len(&c->out) > 0 ? UV_WRITABLE : 0));
	wait_for(c, &c->lib,
	    (!c->lib.eof && buf_len(&c->out) < PUMP_MAX ? UV_READABLE : 0) |
		(!c->lib.eof && buf_len(&c->in) > 0 ? UV_WRITABLE : 0));
}

/* ---- accepting ---------------------------------------------------------------------- */

/* May this process control the node? Says so in *ret_why when not. */
static bool
peer_allowed(struct front *f, int fd, char *ret_why, size_t len)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);
	uint32_t skipped;

	if (!f->opts.check_peer)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		cred.uid = (uid_t)-1;
	if (cred.uid == 0 || cred.uid == f->opts.owner_uid)
		return true;
	f->opts.stats->refused_peer++;
	(void)snprintf(ret_why, len,
	    "user id %u may not control this node: only root and user id %u",
	    cred.uid, f->opts.owner_uid);
	if (log_limit_ok(&f->limit, 5, 60 * 1000, &skipped))
		log_warn("control_refused",
		    "Control connection of uid %u pid %d refused"
		    " (%u more not logged)",
		    cred.uid, cred.pid, skipped);
	return false;
}

static bool
too_many(const struct front *f, const uint8_t key[CLIENT_KEY_LEN], bool has_ip)
{
	const struct conn *c;
	size_t n = 0;

	if (f->n_conns >= FRONT_CONNS_MAX)
		return true;
	if (!has_ip)
		return false;
	LIST_FOREACH(c, &f->conns, link)
		n += memcmp(c->key, key, CLIENT_KEY_LEN) == 0;
	return n >= FRONT_CONNS_PER_CLIENT;
}

static void
take_conn(struct front *f, int fd, const struct sockaddr_storage *ss)
{
	static const char full[] =
	    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
	    "Content-Length: 0\r\nRetry-After: 1\r\n\r\n";
	struct conn *c = NULL;
	uint8_t key[CLIENT_KEY_LEN];
	/* a Unix socket has no address to count by */
	bool has_ip = client_key((const struct sockaddr *)ss, key);
	char why[128];

	if (!too_many(f, key, has_ip))
		c = calloc(1, sizeof(*c));
	if (c == NULL) {
		f->opts.stats->refused_full++;
		(void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
		(void)close(fd); /* whether it was read or not */
		return;
	}
	c->front = f;
	c->client.fd = c->lib.fd = -1;
	memcpy(c->key, key, sizeof(key));
	buf_init(&c->head, HTTP_HEAD_MAX);
	buf_init(&c->in, PUMP_MAX);
	buf_init(&c->out, PUMP_MAX + 1024); /* and a refusal */
	buf_init(&c->last, 1024);
	LIST_INSERT_HEAD(&f->conns, c, link);
	f->n_conns++;
	f->opts.stats->accepted++;
	(void)uv_timer_init(f->poll.loop, &c->timer); /* cannot fail */
	c->timer.data = c;
	if (open_side(c, &c->client, fd) < 0) {
		conn_close(c);
		return;
	}
	c->state = CONN_LINGER; /* so that the next line is a change */
	set_state(c, CONN_IDLE);
	if (!peer_allowed(f, fd, why, sizeof(why)))
		conn_refuse(c, 403, why);
	conn_turn(c);
}

static void on_listen(uv_poll_t *poll, int status, int events);

static void
on_pause_over(uv_timer_t *timer)
{
	struct front *f = timer->data;

	if (!f->draining && !f->freeing)
		(void)uv_poll_start(&f->poll, UV_READABLE, on_listen);
}

static void
on_listen(uv_poll_t *poll, int status, int events)
{
	struct front *f = poll->data;
	struct sockaddr_storage ss;
	socklen_t len;
	uint32_t skipped;
	int fd, i;

	(void)status;
	(void)events;
	for (i = 0; i < 16; i++) {
		len = sizeof(ss);
		memset(&ss, 0, sizeof(ss));
		fd = accept4(f->fd, (struct sockaddr *)&ss, &len,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			take_conn(f, fd, &ss);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS) {
			if (log_limit_ok(&f->limit, 1, 60 * 1000, &skipped))
				log_warn("admin_accept",
				    "admin: %s listener: %s; trying again",
				    f->opts.name, strerror(errno));
			(void)uv_poll_stop(&f->poll);
			(void)uv_timer_start(
			    &f->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
			return;
		}
	}
}

/* ---- life ----------------------------------------------------------------------------- */

struct front *
front_new(uv_loop_t *loop, int fd, const struct front_opts *opts)
{
	struct front *f = calloc(1, sizeof(*f));
	int r = f == NULL ? -ENOMEM : uv_poll_init(loop, &f->poll, fd);

	if (r < 0) {
		log_warn("admin_listener", "admin: %s listener: %s", opts->name,
		    err_str(r));
		(void)close(fd);
		free(f);
		return NULL;
	}
	f->fd = fd;
	f->opts = *opts;
	LIST_INIT(&f->conns);
	f->poll.data = f;
	(void)uv_timer_init(loop, &f->pause); /* cannot fail */
	f->pause.data = f;
	(void)uv_poll_start(&f->poll, UV_READABLE, on_listen);
	return f;
}

void
front_drain(struct front *f, void (*on_empty)(void *arg), void *arg)
{
	struct conn *c, *next;

	f->draining = true;
	(void)uv_poll_stop(&f->poll);
	for (c = LIST_FIRST(&f->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (!c->asked)
			conn_close(c);
		else if (c->state == CONN_IDLE)
			set_state(c, CONN_DEAF);
		conn_turn(c);
	}
	f->on_empty = on_empty;
	f->empty_arg = arg;
	maybe_empty(f);
}

static void
on_front_closed(uv_handle_t *handle)
{
	struct front *f = handle->data;

	if (--f->handles > 0)
		return;
	(void)close(f->fd);
	maybe_empty(f);
}

void
front_free(struct front *f)
{
	struct conn *c;

	if (f == NULL || f->freeing)
		return;
	f->freeing = true;
	f->handles = 2;
	uv_close((uv_handle_t *)&f->poll, on_front_closed);
	uv_close((uv_handle_t *)&f->pause, on_front_closed);
	LIST_FOREACH(c, &f->conns, link)
		conn_close(c);
}
