/*
 * conn_admit.c - a client comes in, or is told why not.
 *
 * Called by listen.c with new sockets and by main.c with the supervisor's
 * answers. Counts before anything else happens; from conn_begin() on the client
 * is conn.c's. Never reads a byte of what it sends.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/tls/tls.h"
#include "smtpd/smtpd.h"

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

void
conn_refuse(struct conn *c, const char *why)
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
	conn_refuse(c,
	    listener ? "Too many connections"
		     : "Too many connections from you");
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
		conn_refuse(c, "Not now, try again later");
		return;
	}
	conn_update(c);
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
	conn_begin(c);
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
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
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
		uv_close((uv_handle_t *)&c->timer, conn_on_closed);
	uv_close((uv_handle_t *)&c->tcp, conn_on_closed);
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
	if (a->from->suspended) {
		conn_refuse(c, "Service not available, try again later");
		return;
	}
	l = c->site->l;
	switch (limits_take(&a->d->limits, a->number, &c->peer.sa,
	    l->max_connections, l->max_connections_per_client, &c->limit)) {
	case LIMIT_OK:
		if (is_alone(a->d))
			conn_begin(c);
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
		conn_refuse(c, "Out of memory");
		break;
	}
}
