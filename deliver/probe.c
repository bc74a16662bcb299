/*
 * probe.c - connect to the hosts of a plan as for mail, and send none.
 *
 * For explain --live, tlsverify and sts check. Each host gets a connection of
 * conn.c (permit, DCID, source address, TLS and verdict as for mail) that
 * leaves with QUIT when it is ready for mail; addresses that do not answer are
 * passed over as for mail. What came of it is noted; nothing is decided here,
 * and no destination hears of it.
 */
#include "deliver/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log/log.h"
#include "lib/tls/tls.h"

struct probe {
	struct deliver *d;
	struct plan *plan;
	probe_done *done;
	void *arg;
	uv_timer_t timer; /* the deadline; ends it outside of all calls */
	size_t n, open;
	struct probe_host hosts[];
};

static void
on_closed(uv_handle_t *handle)
{
	struct probe *p = handle->data;
	struct deliver *d = p->d;

	free(p);
	d->n_closing--;
	deliver_check_done(d);
}

void
probe_cancel(struct probe *p)
{
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->n; i++) {
		struct conn *c = p->hosts[i].conn;

		p->hosts[i].conn = NULL;
		p->hosts[i].over = true;
		if (c != NULL)
			conn_abort(c);
	}
	plan_unref(p->plan);
	p->plan = NULL;
	p->d->n_closing++;
	uv_close((uv_handle_t *)&p->timer, on_closed);
}

static void
on_timer(uv_timer_t *timer)
{
	struct probe *p = timer->data;
	size_t i;

	for (i = 0; i < p->n; i++) {
		struct probe_host *ph = &p->hosts[i];

		if (ph->conn == NULL)
			continue;
		if (ph->stage != PROBE_GOOD)
			(void)snprintf(ph->text, sizeof(ph->text), "%s",
			    ph->conn->state == CONN_PERMIT
				? "no free connection in time"
				: "no answer in time");
		if (ph->stage < PROBE_CONNECTED)
			ph->reason = REASON_HOST_DOWN;
	}
	p->done(p->arg, p->hosts, p->n);
}

static void
finish_soon(struct probe *p)
{
	(void)uv_timer_start(&p->timer, on_timer, 0, 0);
}

static void
host_over(struct probe_host *ph)
{
	struct probe *p = ph->probe;

	if (ph->over)
		return;
	ph->over = true;
	if (--p->open == 0)
		finish_soon(p);
}

static void
host_begin(struct probe_host *ph)
{
	struct probe *p = ph->probe;

	ph->conn = conn_probe(p->d, p->plan, ph->host, ph->addr_at, ph);
	if (ph->conn == NULL) {
		(void)snprintf(ph->text, sizeof(ph->text), "out of memory");
		host_over(ph);
	}
}

struct probe *
probe_start(struct deliver *d, struct plan *plan, const char *only,
    int64_t time_ms, probe_done *done, void *arg)
{
	const struct verdict *v = plan->verdict;
	struct probe *p =
	    calloc(1, sizeof(*p) + v->n_hosts * sizeof(p->hosts[0]));
	size_t i;

	if (p == NULL || uv_timer_init(d->child->loop, &p->timer) < 0) {
		free(p);
		return NULL;
	}
	p->d = d;
	p->plan = plan_ref(plan);
	p->done = done;
	p->arg = arg;
	p->timer.data = p;
	for (i = 0; i < v->n_hosts; i++) {
		if (only != NULL && strcmp(v->hosts[i].host->name, only) != 0)
			continue;
		p->hosts[p->n].probe = p;
		p->hosts[p->n].host = i;
		p->hosts[p->n].vh = &v->hosts[i];
		p->n++;
	}
	p->open = p->n;
	for (i = 0; i < p->n; i++) {
		if (p->hosts[i].vh->attempt)
			host_begin(&p->hosts[i]);
		else
			host_over(&p->hosts[i]);
	}
	if (p->open > 0)
		(void)uv_timer_start(&p->timer, on_timer,
		    time_ms > 0 ? (uint64_t)time_ms : 0, 0);
	else
		finish_soon(p);
	return p;
}

/* ---- what conn.c tells ----------------------------------------------------------- */

void
probe_connected(struct probe_host *ph, const struct conn *c)
{
	ph->stage = PROBE_CONNECTED;
	ph->dcid = c->dcid;
	(void)snprintf(ph->address, sizeof(ph->address), "%s", c->address);
}

void
probe_tls(struct probe_host *ph, const struct conn *c,
    const struct tls_info *info, const struct tls_proved *proved)
{
	ph->stage = PROBE_TLS;
	ph->proof = c->proof;
	ph->resumed = c->resumed;
	(void)snprintf(
	    ph->protocol, sizeof(ph->protocol), "%s", info->protocol);
	(void)snprintf(ph->cipher, sizeof(ph->cipher), "%s", info->cipher);
	(void)tls_link_cert_names(
	    c->link_tls, ph->cert_names, sizeof(ph->cert_names));
	if (!proved->trusted)
		(void)snprintf(ph->cert_error, sizeof(ph->cert_error), "%s",
		    proved->peer_cert ? info->verify_text : "no certificate");
}

void
probe_usable(struct probe_host *ph)
{
	ph->stage = PROBE_GOOD;
}

void
probe_failed(struct probe_host *ph, const struct conn *c, enum reason reason,
    const char *text, bool next_host)
{
	ph->reason = reason;
	ph->dcid = c->dcid;
	ph->next_host = next_host;
	(void)snprintf(ph->address, sizeof(ph->address), "%s", c->address);
	(void)snprintf(ph->text, sizeof(ph->text), "%s", text);
}

/* Would mail try the next address? As dest_conn_failed() has it. */
static bool
more_to_try(const struct probe_host *ph)
{
	if (ph->reason == REASON_NONE || ph->next_host ||
	    ph->addr_at + 1 >= ph->vh->host->n_addrs)
		return false;
	/* there it would go on in clear text */
	return ph->reason != REASON_TLS_HANDSHAKE_FAILED ||
	    ph->vh->level > LEVEL_OPPORTUNISTIC;
}

/* Begin again at the next address. */
static void
next_address(struct probe_host *ph)
{
	size_t at = strlen(ph->passed);

	(void)snprintf(ph->passed + at, sizeof(ph->passed) - at, "%s%s: %s",
	    at > 0 ? "; " : "", ph->address, ph->text);
	ph->addr_at++;
	ph->stage = PROBE_NOTHING;
	ph->reason = REASON_NONE;
	ph->resumed = false;
	memset(&ph->proof, 0, sizeof(ph->proof));
	ph->text[0] = ph->protocol[0] = ph->cipher[0] = '\0';
	ph->cert_names[0] = ph->cert_error[0] = '\0';
	host_begin(ph);
}

void
probe_closed(struct probe_host *ph)
{
	ph->conn = NULL;
	if (ph->over)
		return; /* cancelled */
	if (more_to_try(ph))
		next_address(ph);
	else
		host_over(ph);
}
