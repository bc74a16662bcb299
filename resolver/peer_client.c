/*
 * peer_client.c - what deliver (and policyd) may ask of us: names, nothing else.
 *
 * Each question is answered once, under its request id. The type and the number
 * of open questions are part of the contract: who breaks it loses the channel.
 * A name that cannot be asked for is no break, it came from outside.
 */
#include "resolver/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "lib/proto/resolve.h"

struct pending {
	LIST_ENTRY(pending) link;
	struct resolver_req req;
	struct client *client;
	uint64_t req_id;
};

struct client {
	LIST_ENTRY(client) link;
	struct app *app;
	struct ipc_chan *chan;
	enum role role;
	uint32_t instance;
	LIST_HEAD(pending_list, pending) pending;
	unsigned n_pending;
};

/* 0, or negative when the channel cannot go on. */
static int
send_answer(struct client *cl, uint64_t req_id, const struct dns_answer *a)
{
	struct ipc_wr *w;

	w = ipc_send_begin(cl->chan, RESOLVE_ANSWER, req_id);
	if (w->err == 0)
		w->err = dns_answer_encode(a, w->b);
	return ipc_send_end(cl->chan, -1);
}

static int
send_failed(struct client *cl, uint64_t req_id, const struct resolve_ask *m,
    enum dns_why why, const char *reason)
{
	struct dns_answer *a;
	int r;

	a = dns_answer_failed(m->name, m->type, why, DNS_EDE_NONE, reason);
	if (a == NULL)
		return -ENOMEM;
	r = send_answer(cl, req_id, a);
	dns_answer_free(a);
	return r;
}

static void
client_close(struct client *cl)
{
	struct app *app = cl->app;
	struct pending *p;

	while ((p = LIST_FIRST(&cl->pending)) != NULL) {
		resolver_cancel(app->r, &p->req);
		LIST_REMOVE(p, link);
		free(p);
	}
	LIST_REMOVE(cl, link);
	ipc_chan_free(cl->chan);
	free(cl);
	app_client_gone(app);
}

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct pending *p = arg;
	struct client *cl = p->client;
	uint64_t req_id = p->req_id;
	int r;

	LIST_REMOVE(p, link);
	free(p);
	cl->n_pending--;
	r = send_answer(cl, req_id, a);
	if (r < 0) {
		/* an answer that is owed and cannot be given: a peer that does
		 * not read. It asks again when it is back. */
		child_peer_broken(
		    cl->app->child, cl->role, cl->instance, err_str(r));
		client_close(cl);
	}
}

static int
on_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct client *cl = peer;
	const struct dns_answer *now;
	struct resolve_ask msg;
	struct pending *p;
	int r;

	if (resolve_ask_decode(rd, &msg) < 0 || !dns_type_known(msg.type) ||
	    cl->n_pending >= RESOLVE_IN_FLIGHT_MAX)
		return PE_PROTO;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return send_failed(cl, m->req_id, &msg, DNS_WHY_BUSY,
		    "resolver busy: no memory");
	r = resolver_ask(cl->app->r, &p->req, msg.name, msg.type,
	    ((msg.flags & RESOLVE_FRESH) != 0 ? RESOLVER_FRESH : 0u) |
		((msg.flags & RESOLVE_PLAIN) != 0 ? RESOLVER_PLAIN : 0u),
	    on_answer, p, &now);
	if (r == 0) {
		p->client = cl;
		p->req_id = m->req_id;
		LIST_INSERT_HEAD(&cl->pending, p, link);
		cl->n_pending++;
		return 0;
	}
	free(p);
	switch (r) {
	case 1:
		return send_answer(cl, m->req_id, now);
	case -EINVAL:
		return send_failed(
		    cl, m->req_id, &msg, DNS_WHY_NAME, "not a host name");
	case PE_GONE:
		return send_failed(
		    cl, m->req_id, &msg, DNS_WHY_GONE, "resolver stops");
	default:
		return send_failed(cl, m->req_id, &msg, DNS_WHY_BUSY,
		    "resolver busy: too many questions");
	}
}

static void
on_down(void *peer, int why, const char *text)
{
	struct client *cl = peer;

	if (why != PE_GONE)
		child_peer_broken(cl->app->child, cl->role, cl->instance, text);
	client_close(cl);
}

static const struct ipc_rule rules[] = {
	/* type        min max when     flags handler */
	{ RESOLVE_ASK, 9, 264, IPC_ANY, 0, on_ask },
};

static const struct ipc_spec spec = {
	.name = "client",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_down = on_down,
};

void
client_open(struct app *app, enum role role, uint32_t instance, int fd)
{
	struct client *cl = calloc(1, sizeof(*cl));
	int r = -ENOMEM;

	if (cl != NULL) {
		cl->app = app;
		cl->role = role;
		cl->instance = instance;
		LIST_INIT(&cl->pending);
		r = ipc_chan_new(&app->child->hub, fd, &spec, cl, &cl->chan);
	} else {
		(void)close(fd);
	}
	if (r < 0) {
		/* the peer sees its end closed and is given another */
		log_warn("peer_failed", "resolver: channel to %s %u: %s",
		    role_name(role), instance, err_str(r));
		free(cl);
		return;
	}
	LIST_INSERT_HEAD(&app->clients, cl, link);
}
