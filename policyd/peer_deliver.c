/*
 * peer_deliver.c - what a worker may ask of us: the policy of a domain.
 *
 * Each question is answered once, under its request id. The number of open
 * questions is part of the contract: who breaks it loses the channel. A domain
 * that is none is a break too, for workers know only normalised ones (STS-57).
 */
#include "policyd/policyd.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "lib/proto/policy.h"

struct pending {
	LIST_ENTRY(pending) link;
	struct policy_waiter waiter;
	struct worker *worker;
	uint64_t req_id;
};

struct worker {
	LIST_ENTRY(worker) link;
	struct app *app;
	struct ipc_chan *chan;
	enum role role;
	uint32_t instance;
	LIST_HEAD(pending_list, pending) pending;
	unsigned n_pending;
};

static int
send_answer(struct worker *wk, uint64_t req_id, const struct policy_answer *a)
{
	policy_answer_encode(
	    ipc_send_begin(wk->chan, POLICY_ANSWER, req_id), a);
	return ipc_send_end(wk->chan, -1);
}

static void
worker_close(struct worker *wk)
{
	struct app *app = wk->app;
	struct pending *p;

	while ((p = LIST_FIRST(&wk->pending)) != NULL) {
		policy_cancel(&p->waiter);
		LIST_REMOVE(p, link);
		free(p);
	}
	LIST_REMOVE(wk, link);
	ipc_chan_free(wk->chan);
	free(wk);
	app_worker_gone(app);
}

static void
on_answer(void *arg, const struct policy_answer *a)
{
	struct pending *p = arg;
	struct worker *wk = p->worker;
	uint64_t req_id = p->req_id;
	int r;

	LIST_REMOVE(p, link);
	free(p);
	wk->n_pending--;
	r = send_answer(wk, req_id, a);
	if (r < 0) {
		/* an answer that is owed and cannot be given: a worker that
		 * does not read. It asks again when it is back. */
		child_peer_broken(
		    wk->app->child, wk->role, wk->instance, err_str(r));
		worker_close(wk);
	}
}

static int
on_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	static const struct policy_answer full = {
		.state = POLICY_INDETERMINATE,
		.reason = "policyd is busy: too many domains at once",
		.id = "",
	};
	struct worker *wk = peer;
	struct policy_ask msg;
	struct pending *p;
	int r;

	if (policy_ask_decode(rd, &msg) < 0 ||
	    !dns_name_is_normal(msg.domain) ||
	    wk->n_pending >= POLICY_IN_FLIGHT_MAX)
		return PE_PROTO;
	wk->app->n.asked++;
	wk->app->n.fresh += (msg.flags & POLICY_FRESH) != 0;
	if (wk->app->policy == NULL)
		return 0; /* we are leaving, and owe nothing */
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return send_answer(wk, m->req_id, &full);
	p->worker = wk;
	p->req_id = m->req_id;
	r = policy_ask(wk->app->policy, &p->waiter, msg.domain,
	    (msg.flags & POLICY_FRESH) != 0 ? POLICY_ASK_FRESH : 0, on_answer,
	    p);
	if (r < 0) {
		free(p);
		wk->app->n.busy++;
		return send_answer(wk, m->req_id, &full);
	}
	LIST_INSERT_HEAD(&wk->pending, p, link);
	wk->n_pending++;
	return 0;
}

static void
on_down(void *peer, int why, const char *text)
{
	struct worker *wk = peer;

	if (why != PE_GONE)
		child_peer_broken(wk->app->child, wk->role, wk->instance, text);
	worker_close(wk);
}

static const struct ipc_rule rules[] = {
	/* type       min max when     flags handler */
	{ POLICY_ASK, 7, 264, IPC_ANY, 0, on_ask },
};

static const struct ipc_spec spec = {
	.name = "deliver",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_down = on_down,
};

void
worker_open(struct app *app, enum role role, uint32_t instance, int fd)
{
	struct worker *wk = calloc(1, sizeof(*wk));
	int r = -ENOMEM;

	if (wk != NULL) {
		wk->app = app;
		wk->role = role;
		wk->instance = instance;
		LIST_INIT(&wk->pending);
		r = ipc_chan_new(&app->child->hub, fd, &spec, wk, &wk->chan);
	} else {
		(void)close(fd);
	}
	if (r < 0) {
		/* the peer sees its end closed and is given another */
		log_warn("peer_failed", "policyd: channel to %s %u: %s",
		    role_name(role), instance, err_str(r));
		free(wk);
		return;
	}
	LIST_INSERT_HEAD(&app->workers, wk, link);
}
