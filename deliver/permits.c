/*
 * permits.c - the right to hold one connection: the asking. The ledger is the
 * supervisor's, and so is the word on which counters a place raises
 * (lib/limits); here is only what we asked for.
 *
 * Sources: DESIGN 6; destination controls, section 1.
 */
#include "deliver/deliver.h"

void
permit_place(const struct plan *p, size_t host, const char *address, bool tls,
    struct limits_place *ret)
{
	ret->domain = p->domain;
	ret->gateway = p->gateway->name;
	ret->host = p->verdict->hosts[host].host->name;
	ret->address = address;
	ret->tls = tls;
}

uint32_t
permit_max_messages(const struct plan *p, size_t host)
{
	return limits_messages(
	    p->env->conf, p->domain, p->verdict->hosts[host].host->name);
}

/* ---- asking ----------------------------------------------------------------------- */

int
permit_ask(struct conn *c)
{
	struct deliver *d = c->d;
	struct limits_place at;
	struct ctl_connect_ask ask;
	int r;

	permit_place(c->plan, c->host, c->address,
	    !c->clear && conn_host(c)->level != LEVEL_NONE, &at);
	ask = (struct ctl_connect_ask){ at.domain, at.gateway, at.host,
		at.address, at.tls };
	c->permit_req = ++d->next_req;
	LIST_INSERT_HEAD(
	    &d->permit_waits[c->permit_req % DEST_BUCKETS], c, waits);
	r = child_connect_ask(d->child, c->permit_req, &ask);
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
