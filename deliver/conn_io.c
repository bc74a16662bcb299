/*
 * conn_io.c - the bytes of a connection: what the socket gives and takes.
 *
 * Called by conn.c and the loop. Clear text and TLS take the same way; nothing
 * is decided here, and nothing is understood.
 */
#include "deliver/conn_int.h"

#include "lib/tls/tls.h"

enum {
	READ_SIZE = 64 * 1024,
	TLS_PIECE = 128 * 1024, /* clear text encrypted at once */
	FLUSH_TURNS = 4,	/* pieces given to the socket at once */
};

/* ---- reading ---- */

/* Input is looked at before the loop turns again, so one buffer serves all. */
static uint8_t read_buf[READ_SIZE];

void
conn_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	buf->base = (char *)read_buf;
	buf->len = sizeof(read_buf);
}

void
conn_on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (nread == 0 || c->state == CONN_CLOSING)
		return;
	if (nread < 0 && conn_in_handshake(c)) {
		conn_fail_tls(c, "connection closed in the handshake");
		return;
	}
	if (nread < 0)
		session_lost(c->session,
		    nread == UV_EOF ? "closed by the host"
				    : uv_strerror((int)nread));
	else if (c->link_tls != NULL)
		conn_feed_tls(c, buf->base, (size_t)nread);
	else
		session_input(c->session, buf->base, (size_t)nread);
	if (c->state != CONN_CLOSING)
		conn_drive(c);
}

/* ---- writing ---------------------------------------------------------------------------------------- */

static void
on_write(uv_write_t *req, int status)
{
	struct conn *c = req->data;

	c->writing = false;
	buf_reset(&c->wire, 2 * (size_t)SESSION_OUT_MARK);
	if (c->state == CONN_CLOSING)
		return;
	/* what it said before, perhaps why, is still to be read; the end of
	 * that tells the session */
	if (status < 0)
		c->write_failed = true;
	conn_drive(c);
}

/* Move what waits towards the socket. False: TLS broke. */
static bool
fill_wire(struct conn *c)
{
	struct buf *out = session_out(c->session);
	struct tls *t;
	const uint8_t *data;
	size_t n;

	if (c->link_tls == NULL) {
		struct buf empty = c->wire;

		/* nothing is in flight: swap the storage, copy nothing */
		c->wire = *out;
		*out = empty;
		return true;
	}
	t = tls_link_pump(c->link_tls);
	n = buf_len(out);
	if (n > TLS_PIECE)
		n = TLS_PIECE;
	if (tls_is_up(t) && n > 0) {
		if (tls_write(t, buf_data(out), n) < 0)
			return false;
		buf_drop(out, n);
	}
	n = tls_out(t, &data);
	if (n > 0) {
		if (buf_put(&c->wire, data, n) < 0)
			return false;
		tls_out_drop(t, n);
	}
	return true;
}

/* Give c->wire to the socket: at once what it takes, and at the last turn or
 * when it is full the rest by the loop. 1 all is gone, 0 under way, or a libuv
 * error. */
static int
send_wire(struct conn *c, bool last)
{
	uv_buf_t b;
	int n, r;

	if (!last) {
		/* a write request costs a turn of the loop and a call to
		 * epoll_ctl() even when the socket takes all of it */
		b = uv_buf_init(
		    (char *)buf_data(&c->wire), (unsigned)buf_len(&c->wire));
		n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
		/* an error comes again below, and is seen by on_write() */
		if (n > 0) {
			c->d->n.bytes += (uint64_t)n;
			buf_drop(&c->wire, (size_t)n);
		}
		if (buf_len(&c->wire) == 0) {
			buf_reset(&c->wire, 2 * (size_t)SESSION_OUT_MARK);
			return 1;
		}
	}
	b = uv_buf_init(
	    (char *)buf_data(&c->wire), (unsigned)buf_len(&c->wire));
	c->write_req.data = c;
	r = uv_write(&c->write_req, (uv_stream_t *)&c->tcp, &b, 1, on_write);
	if (r < 0)
		return r;
	c->d->n.bytes += buf_len(&c->wire);
	c->writing = true;
	return 0;
}

void
conn_flush(struct conn *c)
{
	int turns, r;

	if (c->write_failed)
		return;
	for (turns = 1; !c->writing && c->session != NULL; turns++) {
		if (!fill_wire(c)) {
			session_lost(
			    c->session, tls_error(tls_link_pump(c->link_tls)));
			return;
		}
		session_pump(c->session);
		if (buf_len(&c->wire) == 0)
			return;
		/* a large message on a fast line lets others have a turn */
		r = send_wire(c, turns == FLUSH_TURNS);
		if (r < 0) {
			c->write_failed = true;
			return;
		}
	}
}
