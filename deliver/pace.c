/*
 * pace.c - recipients per minutes (recipient_limit): asked of the supervisor
 * before mail is pulled, told when a transaction is over.
 *
 * The windows are the supervisor's (supervisor/rates.c). A connection asks for
 * as many as it could use at once, pulls no more than it was granted, and gives
 * the rest back. What a message may have shown to the host counts as used; when
 * in doubt it does. A connection that ends with some in hand has used them, by
 * the end of its permit.
 *
 * Sources: DESIGN 6; destination controls, section 1.
 */
#include "deliver/deliver.h"

static void
limits_here(const struct conn *c, struct limits *ret)
{
	struct limits_place at;

	permit_place(c->plan, c->host, c->address, false, &at);
	limits_of(c->d->env->conf, &at, ret);
}

bool
pace_holds(const struct conn *c)
{
	struct limits l;
	size_t i;

	limits_here(c, &l);
	for (i = 0; i < l.n; i++)
		if (l.keys[i].rate.limited)
			return true;
	return false;
}

uint32_t
pace_conns(const struct plan *plan)
{
	const struct conf_rate *r = &plan->control->recipient_limit;

	return r->limited ? 1 + r->count / RCPTS_PER_CONN : UINT32_MAX;
}

void
pace_ask(struct conn *c, uint32_t want)
{
	struct ctl_rcpt_ask m = { c->permit, want };
	struct deliver *d = c->d;

	c->pace_req = ++d->next_req;
	LIST_INSERT_HEAD(&d->paces[c->pace_req % DEST_BUCKETS], c, paces);
	/* a supervisor that does not hear this is gone, and so are we soon */
	(void)child_rcpt_ask(d->child, c->pace_req, &m);
}

static void
tell(const struct conn *c, uint32_t used, uint32_t unused)
{
	struct ctl_rcpt_done m = { c->permit, used, unused };

	if (used + unused > 0 && c->permit != 0)
		(void)child_rcpt_done(c->d->child, &m); /* as above */
}

void
pace_take(struct conn *c, struct mail *m)
{
	uint32_t n = (uint32_t)m->msg.n_rcpts;

	m->paced = c->pull_granted;
	if (m->paced) /* queue gives no more than it was asked for */
		c->pace_got -= n < c->pace_got ? n : c->pace_got;
}

void
pace_rest(struct conn *c)
{
	tell(c, 0, c->pace_got);
	c->pace_got = 0;
}

void
pace_done(struct conn *c, const struct mail *m, bool seen)
{
	uint32_t n = (uint32_t)m->msg.n_rcpts;

	if (m->paced)
		tell(c, seen ? n : 0, seen ? 0 : n);
}

void
pace_forget(struct conn *c)
{
	if (c->pace_req != 0)
		LIST_REMOVE(c, paces);
	c->pace_req = 0;
}

void
pace_granted(struct deliver *d, uint64_t req_id, const struct ctl_rcpt_grant *m)
{
	struct conn *c;

	LIST_FOREACH(c, &d->paces[req_id % DEST_BUCKETS], paces)
		if (c->pace_req == req_id)
			break;
	if (c == NULL)
		return; /* it is gone, and its permit with it */
	pace_forget(c);
	conn_paced(c, m->n, m->wait_ms);
}
