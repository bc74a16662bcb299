/*
 * permits.c - the right to hold one connection: which counters it raises, and
 * the asking. The ledger is the supervisor's; here is only what we asked for.
 *
 * Sources: DESIGN 6; destination controls, section 1.
 */
#include "deliver/deliver.h"

#include <stdio.h>
#include <string.h>

static void add_key(struct permit_names *names, struct ctl_permit_ask *ask,
    uint32_t limit, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void
add_key(struct permit_names *names, struct ctl_permit_ask *ask, uint32_t limit,
    const char *fmt, ...)
{
	char *text = names->text[ask->n_keys];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, PERMIT_KEY_LEN_MAX + 1, fmt, ap);
	va_end(ap);
	ask->keys[ask->n_keys].name = text;
	ask->keys[ask->n_keys++].limit = limit;
}

/* "@marketing" where each virtual gateway has its own counter. */
static const char *
at_gateway(
    const struct plan *p, enum conf_limit_apply apply, char *buf, size_t len)
{
	if (apply == CONF_APPLY_GATEWAY)
		(void)snprintf(buf, len, "@%s", p->gateway->name);
	else
		buf[0] = '\0';
	return buf;
}

static const struct conf_dest *
site_of(const struct plan *p, size_t host)
{
	return conf_mx_site_lookup(
	    p->env->conf, p->verdict->hosts[host].host->name);
}

void
permit_keys(const struct plan *p, size_t host, const union conf_addr *addr,
    bool tls, struct permit_names *names, struct ctl_permit_ask *ret)
{
	const struct conf_delivery *d = &p->env->conf->delivery;
	const struct conf_dest *c = p->control, *site = site_of(p, host);
	char gw[TEXT_NAME_MAX + 2], ip[64];
	union conf_addr a = *addr;

	memset(ret, 0, sizeof(*ret));
	add_key(names, ret, d->max_connections, "system");
	if (tls)
		add_key(names, ret, d->max_tls_connections, "tls");
	(void)at_gateway(p, c->limit_apply, gw, sizeof(gw));
	if (c->limit_scope == CONF_SCOPE_MX_IP) {
		a.in.sin_port = 0; /* the same place in both families */
		add_key(names, ret, c->max_connections, "ip%s:%s/%s", gw,
		    p->domain, conf_addr_format(&a, ip, sizeof(ip)));
	} else {
		add_key(names, ret, c->max_connections, "domain%s:%s", gw,
		    p->domain);
	}
	if (site != NULL) {
		(void)at_gateway(p, site->limit_apply, gw, sizeof(gw));
		add_key(names, ret, site->max_connections, "site%s:%s", gw,
		    site->name);
	}
}

uint32_t
permit_max_messages(const struct plan *p, size_t host)
{
	const struct conf_dest *site = site_of(p, host);
	uint32_t n = p->control->max_messages_per_connection;
	size_t i;

	/* a site counts where it says so itself, not by DEFAULT's value */
	for (i = 0; site != NULL && i < conf_dest_keys(); i++)
		if (strcmp(conf_dest_key_name(i),
			"max_messages_per_connection") == 0 &&
		    conf_dest_given(site, i) &&
		    site->max_messages_per_connection < n)
			n = site->max_messages_per_connection;
	return n;
}

/* ---- asking ----------------------------------------------------------------------- */

int
permit_ask(struct conn *c)
{
	struct deliver *d = c->d;
	struct permit_names names;
	struct ctl_permit_ask ask;
	bool tls = !c->clear && conn_host(c)->level != LEVEL_NONE;
	int r;

	permit_keys(c->plan, c->host, &c->addr, tls, &names, &ask);
	c->permit_req = ++d->next_req;
	LIST_INSERT_HEAD(
	    &d->permit_waits[c->permit_req % DEST_BUCKETS], c, waits);
	r = child_permit_ask(d->child, c->permit_req, &ask);
	if (r < 0) {
		LIST_REMOVE(c, waits);
		c->permit_req = 0;
	}
	return r;
}

void
permit_drop(struct conn *c)
{
	struct deliver *d = c->d;

	/* a supervisor that does not hear this is gone, and so are we soon */
	if (c->permit_req != 0) {
		LIST_REMOVE(c, waits);
		(void)child_permit_cancel(d->child, c->permit_req);
		c->permit_req = 0;
	}
	if (c->permit != 0) {
		(void)child_permit_free(d->child, c->permit);
		c->permit = 0;
	}
}

static struct conn *
waiting(struct deliver *d, uint64_t req_id)
{
	struct conn *c;

	LIST_FOREACH(c, &d->permit_waits[req_id % DEST_BUCKETS], waits)
		if (c->permit_req == req_id)
			return c;
	return NULL;
}

void
permits_granted(struct deliver *d, uint64_t req_id, uint64_t permit_id)
{
	struct conn *c = waiting(d, req_id);

	if (c == NULL)
		return; /* crossed our cancel, which gave it back */
	LIST_REMOVE(c, waits);
	c->permit_req = 0;
	conn_permit_granted(c, permit_id);
}

void
permits_wait(
    struct deliver *d, uint64_t req_id, const struct ctl_permit_wait *m)
{
	struct conn *c = waiting(d, req_id);

	d->n.permits_waited++;
	if (c == NULL || m->retry_ms == 0)
		return; /* a grant follows */
	LIST_REMOVE(c, waits);
	c->permit_req = 0;
	conn_permit_later(c, m->retry_ms);
}
