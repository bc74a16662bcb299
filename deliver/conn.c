/*
 * conn.c - one outbound connection: permit, id, socket, TLS, session, and the
 * messages that go over it.
 *
 * Called by dest.c, permits.c, peer_queue.c and the loop. The SMTP itself is
 * session.c; here bytes are moved, the one timer is kept, and events become
 * calls. A connection leaves its destination's list when it begins to close,
 * tells the destination once, and is freed in its last close callback.
 */
#include "deliver/deliver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/log/log.h"
#include "lib/tls/tls.h"

enum {
	READ_SIZE = 64 * 1024,
	TLS_PIECE = 128 * 1024, /* clear text encrypted at once */
	FLUSH_TURNS = 4,	/* pieces given to the socket at once */
};

static void drive(struct conn *c);
static void close_conn(struct conn *c);

const struct verdict_host *
conn_host(const struct conn *c)
{
	return &c->plan->verdict->hosts[c->host];
}

bool
conn_is_good(const struct conn *c)
{
	return c->session != NULL &&
	    (c->state == CONN_PULL || c->state == CONN_IDLE ||
		c->n_started > 0);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void
set_timer(struct conn *c, int64_t ms)
{
	if (ms > 0)
		(void)uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
	else
		(void)uv_timer_stop(&c->timer);
}

static struct conn *
conn_make(struct deliver *d, struct plan *plan, size_t host, size_t addr_at)
{
	struct conn *c = calloc(1, sizeof(*c));
	union conf_addr a;

	if (c == NULL)
		return NULL;
	c->d = d;
	c->plan = plan_ref(plan);
	c->host = host;
	c->addr_at = addr_at;
	c->addr = conn_host(c)->host->addrs[addr_at];
	c->port = conn_host(c)->host->port;
	a = c->addr;
	a.in.sin_port = 0; /* the same place in both families */
	(void)conf_addr_format(&a, c->address, sizeof(c->address));
	(void)snprintf(c->interface, sizeof(c->interface), "default");
	TAILQ_INIT(&c->mails);
	buf_init(&c->wire, SESSION_OUT_MAX);
	c->max_messages = permit_max_messages(c->plan, host);
	c->state = CONN_PERMIT;
	if (uv_timer_init(c->d->child->loop, &c->timer) < 0) {
		plan_unref(c->plan);
		free(c);
		return NULL;
	}
	c->timer.data = c;
	c->handles = 1;
	d->n_conns++;
	return c;
}

static void
conn_begin(struct conn *c)
{
	if (permit_ask(c) < 0)
		set_timer(c, 1000); /* the supervisor is gone or slow */
}

struct conn *
conn_new(struct dest *dst, size_t host, size_t addr_at, bool clear)
{
	struct conn *c = conn_make(dst->d, dst->plan, host, addr_at);

	if (c == NULL)
		return NULL;
	c->clear = clear;
	c->dest = dst;
	LIST_INSERT_HEAD(&dst->conns, c, link);
	dst->n_conns++;
	conn_begin(c);
	return c;
}

struct conn *
conn_probe(struct deliver *d, struct plan *plan, size_t host, size_t addr_at,
    struct probe_host *probe)
{
	struct conn *c = conn_make(d, plan, host, addr_at);

	if (c == NULL)
		return NULL;
	c->probe = probe;
	LIST_INSERT_HEAD(&d->probes, c, link);
	conn_begin(c);
	return c;
}

static void
on_handle_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	struct deliver *d = c->d;

	if (--c->handles > 0)
		return;
	session_free(c->session);
	tls_link_free(c->link_tls);
	buf_done(&c->wire);
	explicit_bzero(c->secret, sizeof(c->secret));
	plan_unref(c->plan);
	free(c);
	d->n_closing--;
	deliver_check_done(d);
}

/* Give back what was pulled and not begun. */
static void
return_mails(struct conn *c)
{
	struct mail *m;

	while ((m = TAILQ_FIRST(&c->mails)) != NULL) {
		TAILQ_REMOVE(&c->mails, m, link);
		queue_return(c->d, m);
		mail_free(m);
	}
}

/* The end, once. The destination has heard why, or does not care. */
static void
close_conn(struct conn *c)
{
	if (c->state == CONN_CLOSING)
		return;
	c->state = CONN_CLOSING;
	return_mails(c);
	queue_forget_pull(c->d, c);
	permit_drop(c);
	if (c->logged_open)
		report_close(c);
	if (c->dest != NULL) {
		LIST_REMOVE(c, link);
		c->dest->n_conns--;
		c->dest = NULL;
	}
	if (c->probe != NULL)
		LIST_REMOVE(c, link);
	c->d->n_conns--;
	c->d->n_closing++;
	if (c->tcp_open)
		uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&c->timer, on_handle_closed);
	if (c->probe != NULL)
		probe_closed(c->probe);
	c->probe = NULL;
}

void
conn_abort(struct conn *c)
{
	/* what it holds was taken over by somebody else */
	mail_free(c->current);
	c->current = NULL;
	close_conn(c);
}

/* ---- failing before it was any use -------------------------------------------------------------- */

static void
fail(struct conn *c, enum reason reason, const char *status, const char *text,
    bool next_host)
{
	struct dest *dst = c->dest;

	if (c->state == CONN_CLOSING)
		return;
	if (dst != NULL)
		dest_conn_failed(c, reason, status, text, next_host);
	if (c->probe != NULL)
		probe_failed(c->probe, c, reason, text, next_host);
	else if (dest_tls_reason(reason) && conn_host(c)->rule != NULL &&
	    strcmp(conn_host(c)->rule, "sts-enforce") == 0)
		c->d->n.sts_refused[reason]++;
	close_conn(c);
	if (dst != NULL)
		dest_run(dst);
}

static void
fail_connect(struct conn *c, const char *details)
{
	c->d->n.connect_errors++;
	report_connect_error(c, details, "network error");
	fail(c, REASON_HOST_DOWN, "4.4.1", details, false);
}

/*
 * A policy in mode testing is held against what the connection proved: said and
 * counted, once for a connection, never acted upon (STS-47). known: the reason
 * where it is not the lack of TLS. A host that is not listed was told with the
 * plan, and a second try in clear text with the first.
 */
static void
shadow(struct conn *c, enum reason known, const char *text)
{
	enum reason why =
	    verdict_shadow(&c->plan->facts, conn_host(c), &c->proof);

	if (why == REASON_NONE || why == REASON_STS_MX_MISMATCH || c->clear)
		return;
	c->d->n.testing_failures++;
	report_shadow(c, known != REASON_NONE ? known : why, text);
}

/* The handshake did not succeed. Without a demand: once more in clear text, on
 * a new connection (dest.c). */
static void
fail_tls(struct conn *c, const char *text)
{
	c->d->n.tls_failed++;
	report_tls_refused(c, REASON_TLS_HANDSHAKE_FAILED, text);
	shadow(c, REASON_TLS_HANDSHAKE_FAILED, text);
	fail(c, REASON_TLS_HANDSHAKE_FAILED, "4.7.5", text, false);
}

/* ---- opening ------------------------------------------------------------------------------------- */

static const union conf_addr *
source_for(const struct conn *c)
{
	const struct conf_gateway *gw = c->plan->gateway;
	const union conf_addr *a =
	    c->addr.sa.sa_family == AF_INET6 ? &gw->ipv6 : &gw->ipv4;

	return a->sa.sa_family == AF_UNSPEC ? NULL : a;
}

static void
note_interface(struct conn *c)
{
	union conf_addr a;
	int len = sizeof(a);

	memset(&a, 0, sizeof(a));
	if (uv_tcp_getsockname(&c->tcp, &a.sa, &len) == 0) {
		a.in.sin_port = 0; /* the same place in both families */
		(void)conf_addr_format(&a, c->interface, sizeof(c->interface));
	}
}

static int
start_session(struct conn *c)
{
	const struct env *env = c->plan->env;
	const struct conf_route *route = c->plan->route;
	struct session_conf sc = { .ehlo_name = c->plan->gateway->hostname,
		.delivery = &env->session };
	enum verdict_level level = conn_host(c)->level;

	/* what is demanded first: no second try can undo it */
	sc.tls = level > LEVEL_OPPORTUNISTIC  ? SESSION_TLS_MUST
	    : level == LEVEL_NONE || c->clear ? SESSION_TLS_NEVER
					      : SESSION_TLS_MAY;
	if (route != NULL && route->cred != NULL) {
		if (!env_secret(env, route->cred, c->secret, sizeof(c->secret)))
			return PE_CONFIG;
		sc.auth_user = route->cred->user;
		sc.auth_secret = c->secret;
	}
	c->session = session_new(&sc);
	return c->session == NULL ? -ENOMEM : 0;
}

/* Input is looked at before the loop turns again, so one buffer serves all. */
static uint8_t read_buf[READ_SIZE];

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	buf->base = (char *)read_buf;
	buf->len = sizeof(read_buf);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

static void
on_connect(uv_connect_t *req, int status)
{
	struct conn *c = req->data;
	int r;

	if (c->state == CONN_CLOSING)
		return; /* UV_ECANCELED */
	if (status < 0) {
		fail_connect(c, uv_strerror(status));
		return;
	}
	c->d->n.connections++;
	note_interface(c);
	report_open(c);
	c->logged_open = true;
	if (c->probe != NULL)
		probe_connected(c->probe, c);
	/* both ends at one address: this machine, though the settings did not
	 * tell; a listener on all addresses would take its mail in again */
	if (address_is_own(c->plan->env->conf, &c->addr,
		strcmp(c->interface, c->address) == 0)) {
		report_connect_error(c, "the host is this host itself", "loop");
		fail(c, REASON_MAIL_LOOP, "4.4.6",
		    "the host is this host itself", true);
		return;
	}
	(void)uv_tcp_nodelay(&c->tcp, 1); /* slower without, not wrong */
	r = start_session(c);
	if (r == PE_CONFIG) {
		fail(c, REASON_CONTENT, "4.3.5",
		    "the secret file of the route's credential is unreadable",
		    true);
		return;
	}
	if (r == 0)
		r = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
	if (r < 0) {
		fail_connect(c, err_str(r));
		return;
	}
	c->state = CONN_TALK;
	drive(c);
}

static void
start_connect(struct conn *c)
{
	const union conf_addr *src = source_for(c);
	char text[160], addr[64];
	int r;

	c->state = CONN_CONNECT;
	r = uv_tcp_init(c->d->child->loop, &c->tcp);
	if (r < 0) {
		fail_connect(c, uv_strerror(r));
		return;
	}
	c->tcp.data = c;
	c->tcp_open = true;
	c->handles++;
	if (src != NULL) {
		(void)conf_addr_format(src, addr, sizeof(addr));
		(void)snprintf(c->interface, sizeof(c->interface), "%s", addr);
		r = uv_tcp_bind(&c->tcp, &src->sa, 0);
		if (r < 0) {
			(void)snprintf(text, sizeof(text),
			    "source address %s of gateway %s: %s", addr,
			    c->plan->gateway->name, uv_strerror(r));
			log_warn("gateway_address", "%s", text);
			fail_connect(c, text);
			return;
		}
	}
	c->connect_req.data = c;
	r = uv_tcp_connect(&c->connect_req, &c->tcp, &c->addr.sa, on_connect);
	if (r < 0) {
		fail_connect(c, uv_strerror(r));
		return;
	}
	set_timer(c, c->plan->env->session.connect_timeout_ms);
}

void
conn_have_dcid(struct conn *c)
{
	c->dcid = queue_dcid(c->d);
	if (c->dcid != 0)
		start_connect(c);
}

void
conn_permit_granted(struct conn *c, uint64_t permit_id)
{
	c->permit = permit_id;
	c->state = CONN_DCID;
	set_timer(c, 0);
	conn_have_dcid(c);
}

void
conn_permit_later(struct conn *c, uint32_t retry_ms)
{
	set_timer(c, retry_ms);
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
	drive(c);
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

static void
flush(struct conn *c)
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

/* ---- TLS ----------------------------------------------------------------------------------------------- */

/* A route's host may be an address; it has no name to show or to prove. */
static bool
is_address(const char *host)
{
	uint8_t ip[16];

	return host[0] == '[' || inet_pton(AF_INET, host, ip) == 1 ||
	    inet_pton(AF_INET6, host, ip) == 1;
}

static void
fill_want(struct conn *c, struct tls_want *want, char *peer, size_t len)
{
	const struct verdict_host *vh = conn_host(c);
	const char *host = vh->host->name;
	bool literal = is_address(host);
	size_t i, n = 0;

	memset(want, 0, sizeof(*want));
	(void)conf_addr_format(&c->addr, peer, len);
	want->peer = peer;
	want->sni = literal ? NULL : host;
	/* a probe sees the certificate itself, whatever was proved before */
	want->claim =
	    c->probe != NULL ? "probe" : verdict_level_name(vh->level);
	for (i = 0; i < vh->n_names; i++)
		want->names[n++] = vh->names[i].name;
	if (!literal)
		want->names[n++] = host; /* for the log, and for AUTH */
	want->identity = env_identity(c->plan->env, c->plan->control->cert);
	want->any_strength = vh->level <= LEVEL_OPPORTUNISTIC;
}

_Static_assert(VERDICT_NAMES_MAX + 2 <= TLS_WANT_NAMES, "names to look for");

static void
start_tls(struct conn *c)
{
	struct tls_want want;
	char peer[64];
	int r;

	fill_want(c, &want, peer, sizeof(peer));
	r = tls_link_new(c->plan->env->tls, &want, &c->link_tls);
	if (r < 0) {
		c->link_tls = NULL;
		fail_tls(c, err_str(r));
		return;
	}
	if (tls_handshake(tls_link_pump(c->link_tls)) < 0)
		fail_tls(c, tls_error(tls_link_pump(c->link_tls)));
}

static void
set_proof(struct conn *c, const struct tls_proved *p, const char *protocol)
{
	struct verdict_proof *out = &c->proof;
	size_t i;

	memset(out, 0, sizeof(*out));
	out->tls = true;
	out->tls12 = strcmp(protocol, "TLSv1.2") == 0 ||
	    strcmp(protocol, "TLSv1.3") == 0;
	out->trusted = p->trusted;
	out->expired = p->expired;
	for (i = 0; i < p->n_names && i < VERDICT_NAMES_MAX; i++)
		(void)snprintf(out->names[out->n_names++], DNS_NAME_SIZE,
		    "%.*s", DNS_NAME_SIZE - 1, p->names[i]);
}

static bool
proved_name(const struct conn *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->proof.n_names; i++)
		if (strcmp(c->proof.names[i], name) == 0)
			return true;
	return false;
}

enum { JUDGE_TEXT = 256 };

/* What a certificate lacks, for people. */
static const char *
judge_text(struct conn *c, enum reason why, bool peer_cert,
    const struct tls_info *info, char text[JUDGE_TEXT])
{
	char names[160];

	if (why == REASON_CERT_NAME_MISMATCH)
		(void)snprintf(text, JUDGE_TEXT, "certificate of %s is for %s",
		    conn_host(c)->host->name,
		    tls_link_cert_names(c->link_tls, names, sizeof(names)));
	else
		(void)snprintf(text, JUDGE_TEXT, "%s",
		    peer_cert ? info->verify_text : "no certificate");
	return text;
}

/* The handshake is done: is what it proved enough? (RFC 3207, 4.1) */
static void
judge_tls(struct conn *c)
{
	const struct verdict_host *vh = conn_host(c);
	struct tls *t = tls_link_pump(c->link_tls);
	struct tls_proved proved;
	struct tls_info info;
	char text[JUDGE_TEXT];
	enum reason why;

	tls_info(t, &info);
	tls_link_prove(c->link_tls, &proved);
	set_proof(c, &proved, info.protocol);
	c->resumed = proved.resumed;
	if (c->probe != NULL)
		probe_tls(c->probe, c, &info, &proved);
	why = verdict_satisfied(vh, &c->proof);
	if (why == REASON_NONE) {
		c->d->n.tls_ok++;
		if (c->probe == NULL)
			tls_link_keep(c->link_tls);
		report_tls(c, vh, info.protocol, info.cipher, REASON_NONE);
		why = verdict_shadow(&c->plan->facts, vh, &c->proof);
		if (why != REASON_NONE)
			shadow(c, why,
			    judge_text(c, why, proved.peer_cert, &info, text));
		session_tls_done(c->session,
		    c->proof.trusted && proved_name(c, vh->host->name));
		return;
	}
	c->d->n.verify_failed++;
	(void)judge_text(c, why, proved.peer_cert, &info, text);
	report_tls_refused(c, why, text);
	session_refuse(c->session, why, text);
}

/* Ciphertext came. */
static void
feed_tls(struct conn *c, const void *data, size_t len)
{
	struct tls *t = tls_link_pump(c->link_tls);
	uint8_t plain[16 * 1024];
	ssize_t n;
	int r;

	if (tls_feed(t, data, len) < 0) {
		session_lost(c->session, "more TLS records than can be kept");
		return;
	}
	if (!tls_is_up(t)) {
		r = tls_handshake(t);
		if (r < 0) {
			flush(c); /* the alert */
			if (c->state != CONN_CLOSING)
				fail_tls(c, tls_error(t));
			return;
		}
		if (r == 0)
			return;
		judge_tls(c);
	}
	while ((n = tls_read(t, plain, sizeof(plain))) > 0)
		session_input(c->session, plain, (size_t)n);
	if (n == PE_GONE)
		session_lost(c->session, "closed by the host");
	else if (n < 0)
		session_lost(c->session, tls_error(t));
}

static bool
in_handshake(const struct conn *c)
{
	return c->link_tls != NULL && !tls_is_up(tls_link_pump(c->link_tls));
}

static void
on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (nread == 0 || c->state == CONN_CLOSING)
		return;
	if (nread < 0 && in_handshake(c)) {
		fail_tls(c, "connection closed in the handshake");
		return;
	}
	if (nread < 0)
		session_lost(c->session,
		    nread == UV_EOF ? "closed by the host"
				    : uv_strerror((int)nread));
	else if (c->link_tls != NULL)
		feed_tls(c, buf->base, (size_t)nread);
	else
		session_input(c->session, buf->base, (size_t)nread);
	if (c->state != CONN_CLOSING)
		drive(c);
}

/* ---- messages --------------------------------------------------------------------------------------------- */

/* The same end for all of a message, without the host having a say. */
static void
settle_here(
    struct mail *m, enum reason reason, const char *status, const char *text)
{
	size_t i;

	for (i = 0; i < m->msg.n_rcpts; i++) {
		struct session_rcpt *rc = &m->msg.rcpts[i];

		rc->settled = true;
		rc->outcome = OUTCOME_DEFERRED;
		rc->reason = reason;
		(void)snprintf(rc->status, sizeof(rc->status), "%s", status);
		free(rc->reply);
		rc->reply = strdup(text);
	}
}

static void
tell_result(struct conn *c, struct mail *m)
{
	report_result(c, m);
	queue_result(c->d, m, c->dcid, conn_host(c)->host->name, c->address);
}

/* Does this message ask for more, or for less, than the connection gives? Its
 * flags are part of its verdict (DESIGN 5). */
static bool
fits_proof(struct conn *c, struct mail *m)
{
	const struct plan *p = c->plan;
	struct verdict *v = NULL;
	enum reason why = REASON_STORE;
	const char *text = "out of memory";

	if ((m->msg.flags & (MSG_REQUIRETLS | MSG_TLS_OPTIONAL)) == 0)
		return true;
	if (verdict_make(&p->set, &p->facts, p->loop, m->msg.flags, &v) == 0) {
		const struct verdict_host *vh = &v->hosts[c->host];

		why = verdict_satisfied(vh, &c->proof);
		if (why != REASON_NONE && vh->n_rules > 0)
			text = vh->rules[vh->n_rules - 1].text;
	}
	if (why != REASON_NONE) {
		settle_here(m, why, "4.7.5", text);
		tell_result(c, m);
	}
	verdict_free(v);
	return why == REASON_NONE;
}

static uint32_t
message_limit(const struct conn *c)
{
	uint32_t n = c->max_messages;
	uint32_t theirs = session_ehlo(c->session)->mailmax;

	if (theirs > 0 && theirs < n)
		n = theirs;
	if (c->dest != NULL && c->dest->mailmax > 0 && c->dest->mailmax < n)
		n = c->dest->mailmax;
	return n;
}

static uint32_t
rcpt_limit(const struct conn *c)
{
	uint32_t n = c->plan->env->conf->delivery.max_recipients_per_message;
	uint32_t theirs = session_ehlo(c->session)->rcptmax;

	if (theirs > 0 && theirs < n)
		n = theirs;
	return n < HAND_RCPTS_MAX ? n : HAND_RCPTS_MAX;
}

/* Ask for messages, as many as are fair to have at once. */
static void
pull(struct conn *c)
{
	struct dest *dst = c->dest;
	uint32_t room = message_limit(c) - c->n_started;
	uint32_t share = dst->ready / (dst->n_conns > 0 ? dst->n_conns : 1);
	uint32_t n = share < 1 ? 1 : share > PULL_BATCH ? PULL_BATCH : share;

	c->pull_empty = true;
	queue_pull(c->d, c, dst->id, n < room ? n : room, rcpt_limit(c));
}

static bool
may_pull(const struct conn *c)
{
	return c->pull_req == 0 && c->dest != NULL && !c->leaving &&
	    c->dest->state == DEST_ST_OPEN && c->dest->ready > 0 &&
	    c->n_started < message_limit(c) && queue_is_up(c->d);
}

static void
begin_message(struct conn *c, struct mail *m)
{
	c->current = m;
	c->n_started++;
	c->state = CONN_TALK;
	report_start(c, m);
	session_send(c->session, &m->msg);
	/* the next ones come while this one goes out */
	if (TAILQ_EMPTY(&c->mails) && may_pull(c))
		pull(c);
}

/* The session is ready: the next message, or more of them, or leave. */
static void
next_message(struct conn *c)
{
	struct mail *m;

	if (c->dest == NULL || c->dest->state == DEST_ST_ENDING)
		c->leaving = true;
	while (!c->leaving && (m = TAILQ_FIRST(&c->mails)) != NULL &&
	    c->n_started < message_limit(c)) {
		TAILQ_REMOVE(&c->mails, m, link);
		if (m->msg.read == NULL) {
			settle_here(m, REASON_STORE, "4.3.0",
			    "the stored message cannot be read");
			tell_result(c, m);
		} else if (fits_proof(c, m)) {
			begin_message(c, m);
			return;
		}
		mail_free(m);
	}
	if (c->leaving || c->n_started >= message_limit(c)) {
		return_mails(c); /* others need not wait for our QUIT */
		c->state = CONN_TALK;
		session_quit(c->session);
	} else if (c->pull_req != 0) {
		c->state = CONN_PULL;
	} else if (may_pull(c)) {
		c->state = CONN_PULL;
		pull(c);
	} else {
		c->state = CONN_IDLE;
	}
}

static void
on_transaction_done(struct conn *c)
{
	struct mail *m = c->current;
	bool over = !session_is_ready(c->session) &&
	    session_end(c->session)->stage != NULL;

	c->current = NULL;
	if (m == NULL)
		return;
	if (m->msg.untouched && c->n_ok > 0 && over) {
		/* the host only ended the connection, as some do after so many
		 * messages: nothing was attempted (session.h) */
		if (c->dest != NULL)
			c->dest->mailmax = c->n_started - 1;
		queue_return(c->d, m);
	} else {
		tell_result(c, m);
		if (!over) {
			c->n_ok++;
			if (c->dest != NULL)
				dest_conn_progress(c);
		}
	}
	mail_free(m);
}

void
conn_message(struct conn *c, struct mail *m)
{
	c->pull_empty = false;
	TAILQ_INSERT_TAIL(&c->mails, m, link);
	if (c->state == CONN_PULL || c->state == CONN_IDLE) {
		next_message(c);
		drive(c);
	}
}

void
conn_pull_end(struct conn *c)
{
	/* none came although some were due: others have them */
	if (c->dest != NULL && c->pull_empty)
		c->dest->ready = 0;
	if (c->state != CONN_PULL)
		return; /* a message is under way */
	next_message(c);
	drive(c);
}

void
conn_wake(struct conn *c)
{
	if (c->state == CONN_IDLE) {
		next_message(c);
		drive(c);
	}
}

void
conn_leave(struct conn *c)
{
	struct dest *dst = c->dest;

	c->leaving = true;
	switch (c->state) {
	case CONN_PERMIT:
	case CONN_DCID:
	case CONN_CONNECT:
		close_conn(c);
		if (dst != NULL)
			dest_run(dst);
		break;
	case CONN_PULL:
	case CONN_IDLE:
		return_mails(c);
		c->state = CONN_TALK;
		session_quit(c->session);
		drive(c);
		break;
	case CONN_TALK:
		/* before the first message nothing is lost; else it leaves by
		 * itself when the session is ready again */
		if (c->n_started == 0) {
			session_quit(c->session);
			drive(c);
		}
		break;
	case CONN_CLOSING:
		break;
	}
}

/* Where the address stands among the host's; n_addrs when it does not. */
static size_t
address_at(const struct facts_host *h, const union conf_addr *a)
{
	size_t i;

	for (i = 0; i < h->n_addrs; i++)
		if (address_same(&h->addrs[i], a))
			break;
	return i;
}

void
conn_adopt(struct conn *c, struct plan *plan)
{
	const struct facts_host *h = conn_host(c)->host;
	const struct verdict *v = plan->verdict;
	size_t i, at = 0;

	for (i = 0; i < v->n_hosts; i++) {
		const struct facts_host *other = v->hosts[i].host;

		at = address_at(other, &c->addr);
		if (v->hosts[i].attempt && other->port == h->port &&
		    at < other->n_addrs && strcmp(other->name, h->name) == 0)
			break;
	}
	/* one that still opens is held to the verdict it began under */
	if (i == v->n_hosts || c->n_started == 0 || c->plan->env != plan->env ||
	    verdict_satisfied(&v->hosts[i], &c->proof) != REASON_NONE) {
		conn_leave(c);
		return;
	}
	plan_unref(c->plan);
	c->plan = plan_ref(plan);
	c->host = i;
	c->addr_at = at;
}

/* ---- events ------------------------------------------------------------------------------------------------- */

static void
on_session_end(struct conn *c)
{
	const struct session_end *e = session_end(c->session);
	struct dest *dst = c->dest;
	bool lost = e->reason != REASON_NONE;

	if (in_handshake(c)) {
		fail_tls(c, e->text);
		return;
	}
	if (e->reason == REASON_PROTOCOL)
		c->d->n.protocol_errors++;
	if (e->before_ready && lost) {
		if (e->reason == REASON_STARTTLS_MISSING)
			report_tls_refused(c, e->reason, e->text);
		else if (strcmp(e->stage, "TLS") != 0) /* told already */
			report_connect_error(c, e->text,
			    e->code != 0 ? "refused by host"
				: e->reason == REASON_CONNECTION_LOST
				? "network error"
				: reason_word(e->reason));
		/* all but a 5yz may be the trouble of this machine only: the
		 * host's other addresses are tried (RFC 5321, 5.1) */
		fail(c, e->reason, e->status, e->text, e->code >= 500);
		return;
	}
	if (lost && dst != NULL)
		memo_note(dst->memo, MEMO_ERROR, "%s: %s", c->address, e->text);
	if (!lost && c->link_tls != NULL)
		tls_shutdown(tls_link_pump(c->link_tls));
	if (dst != NULL)
		dest_conn_closed(c, lost);
	close_conn(c);
	if (dst != NULL)
		dest_run(dst);
}

static void
handle_events(struct conn *c)
{
	enum session_event ev;

	while (c->state != CONN_CLOSING &&
	    (ev = session_next(c->session)) != SESSION_EV_NONE) {
		switch (ev) {
		case SESSION_EV_STARTTLS:
			start_tls(c);
			break;
		case SESSION_EV_READY:
			if (c->n_started == 0) {
				if (c->link_tls == NULL) {
					c->d->n.clear++;
					shadow(c, REASON_NONE,
					    "the host did not offer STARTTLS, "
					    "or refused it");
				}
				if (c->dest != NULL)
					dest_conn_ready(c);
				if (c->probe != NULL)
					probe_usable(c->probe);
			}
			if (c->state != CONN_CLOSING)
				next_message(c);
			break;
		case SESSION_EV_DONE:
			on_transaction_done(c);
			break;
		case SESSION_EV_CLOSE:
			on_session_end(c);
			break;
		case SESSION_EV_NONE:
		default:
			break;
		}
	}
}

static void
arm(struct conn *c)
{
	uint64_t progress = session_progress(c->session);

	if (c->state == CONN_IDLE)
		set_timer(c, c->plan->env->session.idle_ms + 1);
	else if (c->state == CONN_PULL)
		set_timer(c, 0); /* queue answers, or goes */
	else if (progress != c->progress)
		set_timer(c, session_timeout_ms(c->session));
	c->progress = progress;
}

/* After anything happened: events, output, timer. c may be closing after. */
static void
drive(struct conn *c)
{
	int turns;

	/* a broken write makes one more event; more turns are not needed */
	for (turns = 0; turns < 3; turns++) {
		handle_events(c);
		if (c->state == CONN_CLOSING)
			return;
		flush(c);
	}
	handle_events(c);
	if (c->state != CONN_CLOSING)
		arm(c);
}

static void
on_timer(uv_timer_t *timer)
{
	struct conn *c = timer->data;
	char text[96];

	switch (c->state) {
	case CONN_PERMIT:
		if (permit_ask(c) < 0)
			set_timer(c, 1000);
		return;
	case CONN_CONNECT:
		(void)snprintf(text, sizeof(text), "no answer within %lld s",
		    (long long)c->plan->env->session.connect_timeout_ms / 1000);
		fail_connect(c, text);
		return;
	case CONN_IDLE:
		c->state = CONN_TALK;
		session_quit(c->session);
		break;
	case CONN_TALK:
		if (in_handshake(c)) {
			fail_tls(c, "timeout in the handshake");
			return;
		}
		session_timeout(c->session);
		break;
	case CONN_DCID:
	case CONN_PULL:
	case CONN_CLOSING:
	default:
		return;
	}
	drive(c);
}
