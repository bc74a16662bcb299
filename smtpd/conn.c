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
#include <arpa/inet.h>
#include <assert.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/tls/tls.h"
#include "smtpd/smtpd.h"

static void conn_close(struct conn *c);
static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);
static void update(struct conn *c);
static void refuse(struct conn *c, const char *why);

/* ---- what the session asks for ------------------------------------------------ */

static enum session_queue
op_queue_state(void *arg, const char **ret_text)
{
	struct conn *c = arg;

	return peer_queue_state(&c->d->queue, ret_text);
}

static uint64_t
op_mid_take(void *arg)
{
	struct conn *c = arg;

	return peer_queue_id(&c->d->queue, ID_MID);
}

static bool
op_envelope_room(void *arg)
{
	struct conn *c = arg;

	return peer_queue_envelope_room(&c->d->queue);
}

static size_t
op_data_room(void *arg)
{
	struct conn *c = arg;

	return peer_queue_data_room(&c->d->queue);
}

static int
op_begin(void *arg, uint64_t mid, const struct submit_begin *m)
{
	struct conn *c = arg;

	return peer_queue_begin(&c->d->queue, c, mid, m);
}

static int
op_rcpt(void *arg, uint64_t mid, const struct submit_rcpt *m)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	return peer_queue_rcpt(&c->d->queue, c->sub, m);
}

static int
op_data(void *arg, uint64_t mid, const struct iovec *iov, size_t n)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	return peer_queue_data(&c->d->queue, c->sub, iov, n);
}

static int
op_commit(void *arg, uint64_t mid, const struct submit_commit *m)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	return peer_queue_commit(&c->d->queue, c->sub, m);
}

static void
op_abort(void *arg, uint64_t mid)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	peer_queue_abort(&c->d->queue, c->sub);
}

static void
op_leave(void *arg, uint64_t mid)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	peer_queue_leave(&c->d->queue, c->sub);
}

static void
count_auth(struct smtpd *d, enum session_auth result)
{
	if (result == SESSION_AUTH_OK)
		d->stats.auth_ok++;
	else if (result == SESSION_AUTH_FAILED)
		d->stats.auth_failed++;
	else if (result == SESSION_AUTH_BUSY)
		d->stats.auth_busy++;
}

/* Too many wrong ones from this client: whatever it says now is not looked at,
 * so that a right guess does not show. */
static bool
may_guess(struct conn *c)
{
	const struct conf_rate *rate =
	    &c->site->l->max_auth_failures_per_client;
	uint32_t skipped = 0;

	if (guesses_take(
		c->d->guesses, c->limit->listener, c->limit->key, rate))
		return true;
	c->d->stats.auth_limited++;
	if (log_limit_ok(&c->d->guess_log, 5, 60 * 1000, &skipped))
		log_event(LOG_WARNING, "auth_limited",
		    &(struct log_fields){
			.icid = c->icid, .address = c->address },
		    "ICID %llu authentication of %s not tried: %u failures in "
		    "%u minutes from there (%u more not logged)",
		    (unsigned long long)c->icid, c->address, rate->count,
		    rate->minutes, skipped);
	return false;
}

/* What did not fail is no guess. */
static void
no_guess(struct conn *c, enum session_auth result)
{
	if (result != SESSION_AUTH_FAILED && result != SESSION_AUTH_PENDING)
		guesses_give_back(
		    c->d->guesses, c->limit->listener, c->limit->key);
}

static enum session_auth
op_auth(void *arg, const char *user, const char *password)
{
	struct conn *c = arg;
	enum session_auth result;

	if (c->site->users == NULL)
		return SESSION_AUTH_FAILED;
	if (!may_guess(c))
		return SESSION_AUTH_BUSY;
	result =
	    auth_check(c->d->auth, c->site->users, user, password, c, &c->job);
	count_auth(c->d, result);
	no_guess(c, result);
	return result;
}

static void
op_auth_cancel(void *arg)
{
	struct conn *c = arg;

	if (c->job != NULL)
		auth_job_cancel(c->job);
	c->job = NULL;
}

void
conn_auth_done(void *owner, enum session_auth result)
{
	struct conn *c = owner;

	c->job = NULL;
	count_auth(c->d, result);
	no_guess(c, result);
	session_auth_done(c->s, result);
	conn_turn(c);
}

static bool
op_reserve(void *arg, ptrdiff_t bytes)
{
	struct smtpd *d = ((struct conn *)arg)->d;

	if (bytes < 0) {
		d->envelopes -= (size_t)-bytes;
		return true;
	}
	if (d->envelopes + (size_t)bytes > ENVELOPES_MAX)
		return false;
	d->envelopes += (size_t)bytes;
	return true;
}

static const struct session_ops ops = {
	.queue_state = op_queue_state,
	.mid_take = op_mid_take,
	.envelope_room = op_envelope_room,
	.data_room = op_data_room,
	.begin = op_begin,
	.rcpt = op_rcpt,
	.data = op_data,
	.commit = op_commit,
	.abort = op_abort,
	.leave = op_leave,
	.auth = op_auth,
	.auth_cancel = op_auth_cancel,
	.reserve = op_reserve,
};

/* ---- life ------------------------------------------------------------------------ */

static void
on_closed(uv_handle_t *handle)
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

/* From anywhere; c is gone at the next turn of the loop. */
static void
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
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->timer, on_closed);
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
		update(c);
		return;
	}
	switch (c->stage) {
	case CONN_ASKED:
		refuse(c, "Not now, try again later");
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
static void
update(struct conn *c)
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
	update(c);
}

void
conn_drain(struct conn *c, bool now)
{
	if (c->closing)
		return;
	if (c->stage == CONN_LINGER) {
		c->deadline_ms = clock_mono_ms() + LINGER_DRAIN_MS;
		update(c);
		return;
	}
	if (c->stage == CONN_ASKED) {
		refuse(c, "Shutting down");
		return;
	}
	if (c->stage == CONN_HANDSHAKE) {
		conn_lost(c, "shutting down");
		return;
	}
	session_drain(c->s, now);
	conn_turn(c);
}

/* ---- coming in ------------------------------------------------------------------------ */

/* Address without port; IPv4 that came in by an IPv6 socket as IPv4. */
static void
format_address(union conf_addr *a, char *buf, size_t len)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	if (a->sa.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		memcpy(&in.sin_addr, &a->in6.sin6_addr.s6_addr[12], 4);
		memset(a, 0, sizeof(*a));
		a->in = in;
	}
	if (a->sa.sa_family == AF_INET6)
		(void)inet_ntop(
		    AF_INET6, &a->in6.sin6_addr, buf, (socklen_t)len);
	else
		(void)inet_ntop(AF_INET, &a->in.sin_addr, buf, (socklen_t)len);
}

static void
copy_address(union conf_addr *to, const struct sockaddr *sa)
{
	memset(to, 0, sizeof(*to));
	if (sa->sa_family == AF_INET6)
		memcpy(&to->in6, sa, sizeof(to->in6));
	else
		memcpy(&to->in, sa, sizeof(to->in));
}

/* Over a limit: say so. Rare ones are logged each, floods not. */
static void
log_refused(const struct conn *c, const char *why)
{
	struct smtpd *d = c->d;
	struct log_fields f = {
		.icid = c->icid, .address = c->address, .reason = why
	};
	uint32_t skipped = 0;
	char more[48] = "";

	if (!log_limit_ok(&d->limit_log, 20, 10 * 1000, &skipped))
		return;
	if (skipped > 0)
		(void)snprintf(
		    more, sizeof(more), " (and %u others before)", skipped);
	log_event(LOG_INFO, "refused", &f,
	    "ICID %llu REJECT listener %s address %s: %s%s",
	    (unsigned long long)c->icid, c->site->l->name, c->address, why,
	    more);
}

static void
refuse(struct conn *c, const char *why)
{
	char line[400];
	uv_buf_t b;
	int n;

	log_refused(c, why);
	if (c->site->l->tls != CONF_LTLS_IMPLICIT) {
		n = snprintf(line, sizeof(line), "421 %s %s\r\n",
		    c->site->l->hostname != NULL ? c->site->l->hostname
						 : c->site->conf->node.hostname,
		    why);
		b = uv_buf_init(line, (unsigned)n);
		/* a new socket takes one line, or nobody is there */
		(void)uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
	}
	conn_close(c);
}

static void
refuse_limit(struct conn *c, bool listener)
{
	if (listener)
		c->d->stats.refused_listener++;
	else
		c->d->stats.refused_client++;
	refuse(c,
	    listener ? "Too many connections"
		     : "Too many connections from you");
}

/* The client is in: session, TLS or greeting. */
static void
begin(struct conn *c)
{
	struct session_client client = { .icid = c->icid,
		.conf = c->site->conf,
		.listener = c->site->l,
		.sa = &c->peer.sa,
		.address = c->address,
		.local_address = c->local };
	uv_os_fd_t fd;
	bool early;
	char byte;

	c->d->stats.connections++;
	c->stage = CONN_PLAIN;
	if (session_new(&client, &ops, c, &c->s) < 0) {
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

/*
 * There are several intake processes and one limit: the supervisor counts. A
 * lone process counts by itself.
 */
static bool
is_alone(const struct smtpd *d)
{
	return d->child->conf->node.smtpd_workers == 1;
}

static void
ask(struct conn *c)
{
	const struct conf_listener *l = c->site->l;
	uint8_t key[CLIENT_KEY_LEN];
	char listener[300], client[360], text[CLIENT_KEY_TEXT];
	struct ctl_permit_ask m = { .n_keys = 2,
		.keys = { { listener, l->max_connections },
		    { client, l->max_connections_per_client } } };

	(void)snprintf(listener, sizeof(listener), "intake:%s", l->name);
	(void)client_key(&c->peer.sa, key);
	(void)snprintf(client, sizeof(client), "intake:%s/%s", l->name,
	    client_key_format(key, text, sizeof(text)));
	c->stage = CONN_ASKED;
	c->deadline_ms = clock_mono_ms() + ASK_MS;
	TAILQ_INSERT_TAIL(&c->d->asked, c, room_link);
	if (child_permit_ask(c->d->child, c->icid, &m) < 0) {
		refuse(c, "Not now, try again later");
		return;
	}
	update(c);
}

/* Answers come in the order of asking: it is the first one. */
static struct conn *
asked(struct smtpd *d, uint64_t icid)
{
	struct conn *c;

	TAILQ_FOREACH(c, &d->asked, room_link)
		if (c->icid == icid)
			return c;
	return NULL; /* it left, and the request with it */
}

void
conn_permitted(struct smtpd *d, uint64_t icid, uint64_t permit)
{
	struct conn *c = asked(d, icid);

	if (c == NULL)
		return;
	TAILQ_REMOVE(&d->asked, c, room_link);
	c->permit = permit;
	begin(c);
}

void
conn_not_permitted(struct smtpd *d, uint64_t icid, uint32_t key)
{
	struct conn *c = asked(d, icid);

	if (c == NULL)
		return;
	TAILQ_REMOVE(&d->asked, c, room_link);
	c->stage = CONN_PLAIN; /* nothing to cancel */
	refuse_limit(c, key == 0);
}

static int
open_handles(struct conn *c, int fd)
{
	union conf_addr local;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int r;

	r = uv_tcp_init(c->d->child->loop, &c->tcp);
	if (r == 0) {
		c->handles++;
		r = uv_timer_init(c->d->child->loop, &c->timer);
	}
	if (r == 0) {
		c->handles++;
		r = uv_tcp_open(&c->tcp, fd);
	}
	c->tcp.data = c->timer.data = c->write.data = c->shutdown.data = c;
	if (r < 0)
		return r;
	(void)uv_tcp_nodelay(&c->tcp, 1);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) {
		copy_address(&local, (struct sockaddr *)&ss);
		format_address(&local, c->local, sizeof(c->local));
	}
	return 0;
}

/* libuv fails here only without memory; what was initialised is closed. */
static void
free_unopened(struct conn *c)
{
	site_unref(c->site);
	if (c->handles == 0) {
		free(c);
		return;
	}
	c->closing = true;
	if (c->handles > 1)
		uv_close((uv_handle_t *)&c->timer, on_closed);
	uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static struct conn *
conn_new(struct acceptor *a, int fd, const struct sockaddr *sa)
{
	struct smtpd *d = a->d;
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		(void)close(fd);
		return NULL;
	}
	c->d = d;
	c->site = site_ref(a->site);
	c->stage = CONN_PLAIN;
	buf_init(&c->rest, READ_BUF);
	buf_init(&c->wire, TLS_OUT_MAX);
	copy_address(&c->peer, sa);
	format_address(&c->peer, c->address, sizeof(c->address));
	if (open_handles(c, fd) < 0) {
		(void)close(fd);
		free_unopened(c);
		return NULL;
	}
	c->icid = peer_queue_id(&d->queue, ID_ICID);
	TAILQ_INSERT_TAIL(&d->conns, c, link);
	d->n_conns++;
	if (d->n_conns >= d->max_conns) {
		log_warn("connections_full",
		    "smtpd: %zu clients, as many as descriptors allow; others "
		    "wait",
		    d->n_conns);
		listen_pause(d, PAUSE_FULL);
	}
	return c;
}

void
conn_accept(struct acceptor *a, int fd, const struct sockaddr *sa)
{
	struct conn *c = conn_new(a, fd, sa);
	const struct conf_listener *l;

	if (c == NULL)
		return;
	l = c->site->l;
	switch (limits_take(&a->d->limits, a->number, &c->peer.sa,
	    l->max_connections, l->max_connections_per_client, &c->limit)) {
	case LIMIT_OK:
		if (is_alone(a->d))
			begin(c);
		else
			ask(c);
		break;
	case LIMIT_LISTENER:
		refuse_limit(c, true);
		break;
	case LIMIT_CLIENT:
		refuse_limit(c, false);
		break;
	case LIMIT_MEMORY:
		refuse(c, "Out of memory");
		break;
	}
}
