/*
 * conn.c - one client: its socket, TLS, and the session between them.
 *
 * Called by listen.c, by the answers of peer_queue.c and auth.c, and by the
 * loop. Never parses a byte itself. Back-pressure is one rule: the socket is
 * read only while the session wants input and everything read before is used
 * up, so a connection holds at most one read buffer, and an idle one none.
 *
 * The end: the last reply goes out, then FIN, and what still comes is thrown
 * away until the client closes too (bounded), because closing a socket with
 * unread input makes the kernel reset it, and the client might lose the reply.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/tls/tls.h"
#include "smtpd/smtpd.h"

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

/* ---- life ------------------------------------------------------------------------ */

void
conn_on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	struct smtpd *d = c->d;

	if (--c->handles > 0)
		return;
	buf_done(&c->wire);
	free(c);
	smtpd_check_drained(d);
}

/* What the session will not take any more; a password may be in it. */
static void
forget_rest(struct conn *c)
{
	if (buf_len(&c->rest) > 0)
		explicit_bzero(buf_data(&c->rest), buf_len(&c->rest));
	buf_reset(&c->rest, 0);
}

void
conn_close(struct conn *c)
{
	struct smtpd *d = c->d;

	if (c->closing)
		return;
	c->closing = true;
	if (c->stage == CONN_ASKED) {
		TAILQ_REMOVE(&d->asked, c, room_link);
		(void)child_permit_cancel(d->child, c->icid);
	}
	if (c->permit != 0)
		(void)child_permit_free(d->child, c->permit);
	peer_queue_unwait(&d->queue, c);
	if (c->s != NULL) {
		session_free(c->s);
		log_event(LOG_INFO, "smtp_close",
		    &(struct log_fields){ .icid = c->icid }, "ICID %llu close",
		    (unsigned long long)c->icid);
	}
	c->s = NULL;
	assert(c->sub == NULL && c->job == NULL);
	tls_free(c->tls);
	c->tls = NULL;
	forget_rest(c);
	if (c->limit != NULL)
		limits_drop(&d->limits, c->limit);
	site_unref(c->site);
	TAILQ_REMOVE(&d->conns, c, link);
	d->n_conns--;
	if (d->n_conns < d->max_conns)
		listen_resume(d, PAUSE_FULL);
	uv_close((uv_handle_t *)&c->tcp, conn_on_closed);
	uv_close((uv_handle_t *)&c->timer, conn_on_closed);
}

/* The client is gone, or what it sends is not worth an answer. */
static void
conn_lost(struct conn *c, const char *why)
{
	session_lost(c->s, why);
	conn_close(c);
}

/* ---- output ------------------------------------------------------------------------ */

static void
on_written(uv_write_t *req, int status)
{
	struct conn *c = req->data;

	c->writing = false;
	buf_reset(&c->wire, 0);
	if (c->closing)
		return;
	if (status < 0) {
		conn_lost(c, uv_strerror(status));
		return;
	}
	conn_turn(c);
}

/* Replies to ciphertext, as long as there is room for it. */
static bool
encrypt(struct conn *c)
{
	struct buf *out = session_output(c->s);
	int r;

	if (buf_len(out) == 0 || !tls_is_up(c->tls))
		return true;
	r = tls_write(c->tls, buf_data(out), buf_len(out));
	if (r == PE_FULL)
		return true; /* what waits goes first */
	buf_reset(out, 0);
	return r == 0;
}

/*
 * Give all of data[0..len) to the socket: at once what it takes, the rest under
 * way in c->wire. 0 or a libuv error.
 */
static int
send_all(struct conn *c, const uint8_t *data, size_t len)
{
	uv_buf_t b;
	int n, r;

	/* uv_buf_t knows no const */
	b = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
	n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
	if (n < 0 && n != UV_EAGAIN)
		return n;
	if (n < 0)
		n = 0;
	if ((size_t)n == len)
		return 0;
	if (buf_put(&c->wire, data + n, len - (size_t)n) < 0)
		return UV_ENOMEM;
	b = uv_buf_init(
	    (char *)buf_data(&c->wire), (unsigned)buf_len(&c->wire));
	r = uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written);
	c->writing = r == 0;
	return r;
}

/* Send what waits. False: the connection is closed now. */
static bool
flush(struct conn *c)
{
	struct buf *out = session_output(c->s);
	const uint8_t *data;
	size_t len;
	int r;

	while (!c->writing) {
		if (c->tls != NULL && !encrypt(c)) {
			conn_lost(c, tls_error(c->tls));
			return false;
		}
		if (c->tls != NULL) {
			len = tls_out(c->tls, &data);
		} else {
			data = buf_data(out);
			len = buf_len(out);
		}
		if (len == 0)
			return true;
		r = send_all(c, data, len);
		if (r < 0) {
			conn_lost(c, uv_strerror(r));
			return false;
		}
		if (c->tls != NULL)
			tls_out_drop(c->tls, len);
		else
			buf_reset(out, 0);
	}
	return true;
}

/* ---- TLS ---------------------------------------------------------------------------- */

static bool
start_tls(struct conn *c)
{
	if (c->site->tls == NULL ||
	    tls_new(c->site->tls, TLS_SERVER, &c->tls) < 0) {
		conn_lost(c, "no memory for TLS");
		return false;
	}
	c->stage = CONN_HANDSHAKE;
	c->deadline_ms = clock_mono_ms() + c->site->l->tls_timeout_ms;
	return true;
}

static void
tls_failed(struct conn *c, const char *why)
{
	const uint8_t *data;
	size_t len = tls_out(c->tls, &data);

	c->d->stats.tls_failed++;
	log_event(LOG_INFO, "tls_failed",
	    &(struct log_fields){ .icid = c->icid, .reason = why },
	    "ICID %llu TLS failed: %s", (unsigned long long)c->icid,
	    LOG_Q(why));
	/* the alert, if the socket takes it */
	if (len > 0 && !c->writing) {
		uv_buf_t b =
		    uv_buf_init((char *)(uintptr_t)data, (unsigned)len);

		(void)uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
	}
	conn_close(c);
}

/* False: the connection is closed now. */
static bool
handshake(struct conn *c)
{
	struct tls_names names = { 0 };
	struct tls_info info;
	int r;

	r = tls_handshake(c->tls);
	if (r < 0) {
		tls_failed(c, tls_error(c->tls));
		return false;
	}
	if (r == 0)
		return true;
	c->stage = CONN_TLS;
	c->d->stats.tls++;
	tls_info(c->tls, &info);
	if (tls_peer_names(c->tls, &names) < 0) {
		conn_lost(c, "out of memory");
		return false;
	}
	session_tls_up(c->s, &info, &names);
	tls_names_done(&names);
	if (!c->greeted) {
		c->greeted = true;
		session_start(c->s, false);
	}
	return true;
}

/* ---- input ---------------------------------------------------------------------------- */

/* Bytes for the session; what it does not take waits in c->rest. */
static bool
to_session(struct conn *c, const uint8_t *data, size_t len)
{
	size_t used = session_input(c->s, data, len);

	if (used == len)
		return true;
	if (buf_put(&c->rest, data + used, len - used) == 0)
		return true;
	conn_lost(c, "out of memory");
	return false;
}

/* Go on with what the session left before. */
static void
from_rest(struct conn *c)
{
	bool secret = session_secret_may_come(c->s);
	size_t used =
	    session_input(c->s, buf_data(&c->rest), buf_len(&c->rest));

	if (secret)
		explicit_bzero(buf_data(&c->rest), used);
	buf_drop(&c->rest, used);
	if (buf_len(&c->rest) == 0)
		buf_reset(&c->rest, 0);
}

/* One piece of plaintext out of TLS. 1: there was one, 0: no more, -1: the
 * connection is closed or ended now. */
static int
from_tls(struct conn *c)
{
	uint8_t *data = c->d->plain_buf;
	ssize_t n = tls_read(c->tls, data, PLAIN_BUF);
	bool secret = session_secret_may_come(c->s), ok;

	if (n == 0)
		return 0;
	if (n < 0) {
		conn_lost(
		    c, n == PE_GONE ? "client ended TLS" : tls_error(c->tls));
		return -1;
	}
	ok = to_session(c, data, (size_t)n);
	if (secret)
		explicit_bzero(data, (size_t)n);
	return ok ? 1 : -1;
}

/* Everything that can be done without the socket. False: closed now. */
static bool
work(struct conn *c)
{
	enum session_want want;
	size_t before;
	int r;

	for (;;) {
		if (c->stage == CONN_LINGER)
			return true;
		if (c->stage == CONN_HANDSHAKE)
			return handshake(c) &&
			    (c->stage == CONN_HANDSHAKE || work(c));
		want = session_wants(c->s);
		if (want == SESSION_CLOSE)
			return true;
		if (want == SESSION_STARTTLS) {
			/* the 220 goes out in clear, before TLS exists; what
			 * the client sent behind STARTTLS is gone (TLS-08) */
			if (!flush(c))
				return false;
			if (c->writing)
				return true;
			forget_rest(c);
			return start_tls(c);
		}
		if (want == SESSION_FLUSH) {
			if (!flush(c))
				return false;
			if (session_wants(c->s) == SESSION_FLUSH)
				return true;
			continue;
		}
		if (want == SESSION_WAIT)
			return true;
		if (buf_len(&c->rest) > 0 || want == SESSION_ROOM) {
			before = buf_len(&c->rest);
			from_rest(c);
			if (buf_len(&c->rest) == before &&
			    session_wants(c->s) == want)
				return true; /* no step further */
			continue;
		}
		if (c->stage != CONN_TLS)
			return true;
		r = from_tls(c);
		if (r <= 0)
			return r == 0;
	}
}

/* A session may leave all of one read untaken: the sum of these is bounded. */
static unsigned
read_size(const struct smtpd *d)
{
	size_t size = LEFTOVERS_MAX / (d->n_conns + 1);

	return size > READ_BUF ? READ_BUF
	    : size < READ_MIN  ? READ_MIN
			       : (unsigned)size;
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = handle->data;

	(void)suggested;
	*buf = uv_buf_init(NULL, 0); /* then on_read() gets UV_ENOBUFS */
	if ((c->stage == CONN_PLAIN || c->stage == CONN_TLS) &&
	    !session_can_take(c->s))
		return;
	*buf = uv_buf_init((char *)c->d->read_buf, read_size(c->d));
}

static void
read_data(struct conn *c, const uint8_t *data, size_t len)
{
	if (c->stage == CONN_LINGER) {
		c->lingered += len;
		if (c->lingered > LINGER_MAX)
			conn_close(c);
		return;
	}
	if (c->stage == CONN_PLAIN) {
		if (!to_session(c, data, len))
			return;
	} else if (tls_feed(c->tls, data, len) < 0) {
		conn_lost(c, "out of memory");
		return;
	}
	conn_turn(c);
}

static void
on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (nread == 0 || c->closing)
		return;
	if (nread > 0)
		read_data(c, (const uint8_t *)buf->base, (size_t)nread);
	else if (nread == UV_ENOBUFS)
		conn_turn(c); /* no room: it waits in line */
	else if (c->stage == CONN_LINGER)
		conn_close(c);
	else if (c->stage == CONN_HANDSHAKE)
		tls_failed(c, "client closed the connection");
	else if (nread == UV_EOF) {
		/* what it sent before is answered first */
		c->eof = true;
		conn_turn(c);
	} else
		conn_lost(c, uv_strerror((int)nread));
	/* c may be closing now: do not touch it again */
}

/* ---- the end ------------------------------------------------------------------------ */

static void
on_shutdown(uv_shutdown_t *req, int status)
{
	struct conn *c = req->data;

	if (status < 0 && !c->closing)
		conn_close(c);
}

/* The last reply is out: FIN, and wait for the client's. */
static void
linger(struct conn *c)
{
	if (c->stage == CONN_TLS) {
		tls_shutdown(c->tls);
		if (!flush(c) || c->writing)
			return; /* once more when it is written */
	}
	c->stage = CONN_LINGER;
	c->deadline_ms =
	    clock_mono_ms() + (c->d->draining ? LINGER_DRAIN_MS : LINGER_MS);
	forget_rest(c);
	if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) < 0)
		conn_close(c);
}

/* ---- time ---------------------------------------------------------------------------- */

static int64_t
deadline(const struct conn *c)
{
	return c->stage == CONN_PLAIN || c->stage == CONN_TLS
	    ? session_deadline_ms(c->s)
	    : c->deadline_ms;
}

static void
on_timer(uv_timer_t *timer)
{
	struct conn *c = timer->data;

	c->timer_ms = 0;
	if (clock_mono_ms() < deadline(c)) {
		conn_update(c);
		return;
	}
	switch (c->stage) {
	case CONN_ASKED:
		conn_refuse(c, "Not now, try again later");
		return;
	case CONN_LINGER:
		conn_close(c);
		return;
	case CONN_HANDSHAKE:
		tls_failed(c, "timeout");
		return;
	case CONN_PLAIN:
	case CONN_TLS:
		break;
	}
	if (session_wants(c->s) == SESSION_CLOSE) {
		conn_close(c); /* it does not even take the last reply */
		return;
	}
	session_timeout(c->s);
	conn_turn(c);
}

/*
 * While an answer is awaited the socket stays in the loop's set until bytes
 * come: they wait in c->rest, and only then the set is changed. That saves two
 * system calls for each message of a client that waits for its reply.
 */
static bool
wants_input(const struct conn *c)
{
	enum session_want want;

	if (c->stage == CONN_LINGER || c->stage == CONN_HANDSHAKE)
		return true;
	if (c->stage == CONN_ASKED || c->writing || c->eof)
		return false;
	want = session_wants(c->s);
	return want == SESSION_READ ||
	    (want == SESSION_WAIT && buf_len(&c->rest) == 0 &&
		(c->tls == NULL || !tls_has_input(c->tls)));
}

/* Read or not, and when to wake up. The timer is only moved when it would fire
 * too late; one that fires early looks and is armed again. */
void
conn_update(struct conn *c)
{
	bool want = wants_input(c);
	int64_t at = deadline(c), now;

	if (want && !c->reading)
		c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc,
				 on_read) == 0;
	else if (!want && c->reading) {
		(void)uv_read_stop((uv_stream_t *)&c->tcp);
		c->reading = false;
	}
	if (c->timer_ms != 0 && c->timer_ms <= at)
		return;
	now = clock_mono_ms();
	(void)uv_timer_start(
	    &c->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
	c->timer_ms = at;
}

void
conn_turn(struct conn *c)
{
	if (c->closing)
		return;
	if (!work(c) || !flush(c))
		return;
	if (c->stage != CONN_LINGER && c->stage != CONN_HANDSHAKE) {
		if (session_wants(c->s) == SESSION_ROOM)
			peer_queue_wait(&c->d->queue, c);
		if (session_wants(c->s) == SESSION_CLOSE && !c->writing &&
		    buf_len(session_output(c->s)) == 0)
			linger(c);
		if (c->closing)
			return;
		if (c->eof && c->stage != CONN_LINGER &&
		    session_wants(c->s) == SESSION_READ &&
		    buf_len(&c->rest) == 0) {
			conn_lost(c, "client closed the connection");
			return;
		}
	}
	conn_update(c);
}

void
conn_drain(struct conn *c, bool now)
{
	if (c->closing)
		return;
	if (c->stage == CONN_LINGER) {
		c->deadline_ms = clock_mono_ms() + LINGER_DRAIN_MS;
		conn_update(c);
		return;
	}
	if (c->stage == CONN_ASKED) {
		conn_refuse(c, "Shutting down");
		return;
	}
	if (c->stage == CONN_HANDSHAKE) {
		conn_lost(c, "shutting down");
		return;
	}
	session_drain(c->s, now);
	conn_turn(c);
}

/* ---- the beginning ---------------------------------------------------------------- */

void
conn_begin(struct conn *c)
{
	struct session_client client = { .icid = c->icid,
		.conf = c->site->conf,
		.listener = c->site->l,
		.bounce_keys = &c->site->bounce_keys,
		.sa = &c->peer.sa,
		.address = c->address,
		.local_address = c->local };
	uv_os_fd_t fd;
	bool early;
	char byte;

	c->d->stats.connections++;
	c->stage = CONN_PLAIN;
	if (session_new(&client, &conn_ops, c, &c->s) < 0) {
		conn_close(c);
		return;
	}
	if (c->site->l->tls == CONF_LTLS_IMPLICIT) {
		if (!start_tls(c))
			return;
	} else {
		c->greeted = true;
		early = uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0 &&
		    recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
		session_start(c->s, early);
	}
	conn_turn(c);
}
