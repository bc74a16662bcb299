/*
 * conn.c - one outbound connection: permit, id, socket, session, and its end.
 *
 * Called by dest.c, permits.c, peer_queue.c and the loop. The SMTP itself is
 * session.c; here the one timer is kept, and events become calls. Bytes are
 * moved in conn_io.c, TLS is judged in conn_tls.c, messages are in conn_mail.c.
 * A connection leaves its destination's list when it begins to close, tells the
 * destination once, and is freed in its last close callback.
 */
#include "deliver/conn_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/log/log.h"
#include "lib/tls/tls.h"

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

void
conn_set_timer(struct conn *c, int64_t ms)
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
	c->paced = pace_holds(c);
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
	if (!fds_take(c) || permit_ask(c) < 0)
		/* no descriptors, or the supervisor is gone or slow */
		conn_set_timer(c, 1000);
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
	env_unref(c->env);
	tls_link_free(c->link_tls);
	buf_done(&c->wire);
	explicit_bzero(c->secret, sizeof(c->secret));
	plan_unref(c->plan);
	free(c);
	d->n_closing--;
	deliver_check_done(d);
}

/* The end, once. The destination has heard why, or does not care. */
void
conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSING)
		return;
	c->state = CONN_CLOSING;
	conn_return_mails(c);
	queue_forget_pull(c->d, c);
	pace_forget(c);
	permit_drop(c);
	fds_give(c);
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
	conn_close(c);
}
/* ---- failing before it was any use -------------------------------------------------------------- */

void
conn_fail(struct conn *c, enum reason reason, const char *status,
    const char *text, bool next_host)
{
	struct dest *dst = c->dest;

	if (c->state == CONN_CLOSING)
		return;
	if (dst != NULL)
		dest_conn_failed(c, reason, status, text, next_host);
	if (c->probe != NULL)
		probe_failed(c->probe, c, reason, text, next_host);
	else if (reason_is_tls(reason))
		dest_count_refused(c->d, conn_host(c), reason);
	conn_close(c);
	if (dst != NULL)
		dest_run(dst);
}

void
conn_fail_connect(struct conn *c, const char *details)
{
	c->d->n.connect_errors++;
	report_connect_error(c, details, "network error");
	conn_fail(c, REASON_HOST_DOWN, "4.4.1", details, false);
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
	struct env *env = c->plan->env;
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
	if (c->session == NULL)
		return -ENOMEM;
	c->env = env_ref(env);
	return 0;
}

static void
on_connect(uv_connect_t *req, int status)
{
	struct conn *c = req->data;
	int r;

	if (c->state == CONN_CLOSING)
		return; /* UV_ECANCELED */
	if (status < 0) {
		conn_fail_connect(c, uv_strerror(status));
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
		conn_fail(c, REASON_MAIL_LOOP, "4.4.6",
		    "the host is this host itself", true);
		return;
	}
	(void)uv_tcp_nodelay(&c->tcp, 1); /* slower without, not wrong */
	r = start_session(c);
	if (r == PE_CONFIG) {
		conn_fail(c, REASON_CONTENT, "4.3.5",
		    "the secret file of the route's credential is unreadable",
		    true);
		return;
	}
	if (r == 0)
		r = uv_read_start(
		    (uv_stream_t *)&c->tcp, conn_on_alloc, conn_on_read);
	if (r < 0) {
		conn_fail_connect(c, err_str(r));
		return;
	}
	c->began_ms = clock_mono_ms();
	c->state = CONN_TALK;
	conn_drive(c);
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
		conn_fail_connect(c, uv_strerror(r));
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
			conn_fail_connect(c, text);
			return;
		}
	}
	c->connect_req.data = c;
	r = uv_tcp_connect(&c->connect_req, &c->tcp, &c->addr.sa, on_connect);
	if (r < 0) {
		conn_fail_connect(c, uv_strerror(r));
		return;
	}
	conn_set_timer(c, c->plan->env->session.connect_timeout_ms);
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
	conn_set_timer(c, 0);
	conn_have_dcid(c);
}

void
conn_permit_later(struct conn *c, uint32_t retry_ms)
{
	conn_set_timer(c, retry_ms);
}

/* ---- events ------------------------------------------------------------------------------------------------- */

static void
on_session_end(struct conn *c)
{
	const struct session_end *e = session_end(c->session);
	struct dest *dst = c->dest;
	bool lost = e->reason != REASON_NONE;

	if (conn_in_handshake(c)) {
		conn_fail_tls(c, e->text);
		return;
	}
	if (e->reason == REASON_PROTOCOL)
		c->d->n.protocol_errors++;
	if ((e->before_ready || e->reason == REASON_REQUIRETLS_MISSING) &&
	    lost) {
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
		conn_fail(c, e->reason, e->status, e->text, e->code >= 500);
		return;
	}
	if (lost && dst != NULL)
		memo_note(dst->memo, MEMO_ERROR, "%s: %s", c->address, e->text);
	if (!lost && c->link_tls != NULL)
		tls_shutdown(tls_link_pump(c->link_tls));
	if (dst != NULL)
		dest_conn_closed(c, lost);
	conn_close(c);
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
			conn_start_tls(c);
			break;
		case SESSION_EV_READY:
			if (c->n_started == 0) {
				if (!conn_offers_enough(c))
					break;
				if (c->link_tls == NULL) {
					c->d->n.clear++;
					conn_shadow(c, REASON_NONE,
					    "the host did not offer STARTTLS, "
					    "or refused it");
				}
				if (c->dest != NULL)
					dest_conn_ready(c);
				if (c->probe != NULL)
					probe_usable(c->probe);
			}
			if (c->state != CONN_CLOSING)
				conn_next_message(c);
			break;
		case SESSION_EV_DONE:
			conn_transaction_done(c);
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

/* Of the time for all of it, what is left; INT64_MAX when nothing bounds it. */
static int64_t
left_ms(const struct conn *c)
{
	int64_t total = session_total_ms(c->session);

	return total == 0 ? INT64_MAX : c->began_ms + total - clock_mono_ms();
}

/* For the next event, which is progress or the end. */
static int64_t
wait_ms(const struct conn *c)
{
	int64_t wait = session_timeout_ms(c->session), left = left_ms(c);

	if (left < 1)
		return 1;
	return wait > 0 && wait < left ? wait : left < INT64_MAX ? left : wait;
}

static void
arm(struct conn *c)
{
	uint64_t progress = session_progress(c->session);

	if (c->state == CONN_IDLE)
		conn_set_timer(c,
		    fds_are_short(c->d) ? 1
					: c->plan->env->session.idle_ms + 1);
	else if (c->state == CONN_PULL)
		conn_set_timer(c, 0); /* queue answers, or goes */
	else if (progress != c->progress)
		conn_set_timer(c, wait_ms(c));
	c->progress = progress;
}

/* After anything happened: events, output, timer. c may be closing after. */
void
conn_drive(struct conn *c)
{
	int turns;

	/* a broken write makes one more event; more turns are not needed */
	for (turns = 0; turns < 3; turns++) {
		handle_events(c);
		if (c->state == CONN_CLOSING)
			return;
		conn_flush(c);
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
		conn_begin(c);
		return;
	case CONN_CONNECT:
		(void)snprintf(text, sizeof(text), "no answer within %lld s",
		    (long long)c->plan->env->session.connect_timeout_ms / 1000);
		conn_fail_connect(c, text);
		return;
	case CONN_IDLE:
		c->state = CONN_TALK;
		session_quit(c->session);
		break;
	case CONN_TALK:
		if (conn_in_handshake(c)) {
			conn_fail_tls(c, "timeout in the handshake");
			return;
		}
		if (left_ms(c) <= 0)
			session_overdue(c->session);
		else
			session_timeout(c->session);
		break;
	case CONN_DCID:
	case CONN_PULL:
	case CONN_CLOSING:
	default:
		return;
	}
	conn_drive(c);
}
