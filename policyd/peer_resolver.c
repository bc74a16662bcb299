/*
 * peer_resolver.c - questions to the resolver, and its answers.
 *
 * Every question gets exactly one answer, at the latest when its deadline
 * passes: then as indeterminate. A resolver that was restarted is asked again
 * what the old one still owed. May send us: RESOLVE_ANSWER, nothing else.
 */
#include "policyd/policyd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/ipc/chan.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "lib/proto/resolve.h"

enum { SLACK_MS = 5000 /* beyond the resolver's own deadline */ };

struct ask {
	TAILQ_ENTRY(ask) link;
	struct app *app;
	uint64_t id;
	int64_t until_ms;
	uint16_t type;
	bool fresh;
	ask_done *done;
	void *arg;
	char name[DNS_TEXT_SIZE];
};

static void on_deadline(uv_timer_t *timer);

static void
arm(struct resolver_peer *p)
{
	struct ask *a = TAILQ_FIRST(&p->asks);
	int64_t left;

	if (a == NULL) {
		(void)uv_timer_stop(&p->timer);
		return;
	}
	left = a->until_ms - clock_mono_ms();
	(void)uv_timer_start(
	    &p->timer, on_deadline, left > 0 ? (uint64_t)left : 0, 0);
}

static void
send_ask(struct resolver_peer *p, struct ask *a)
{
	/* MTA-STS does without DNSSEC (RFC 8461, 10.1) */
	struct resolve_ask m = { a->name, a->type,
		RESOLVE_PLAIN | (a->fresh ? RESOLVE_FRESH : 0u) };

	if (p->chan == NULL || !ipc_chan_is_up(p->chan))
		return; /* sent when it is up, or answered by the deadline */
	resolve_ask_encode(ipc_send_begin(p->chan, RESOLVE_ASK, a->id), &m);
	(void)ipc_send_end(p->chan, -1); /* lost: the deadline answers */
}

/* Take it off the list and give the answer. */
static void
finish(struct resolver_peer *p, struct ask *a, const struct dns_answer *answer)
{
	TAILQ_REMOVE(&p->asks, a, link);
	p->n_asks--;
	a->done(a->arg, answer);
	free(a);
}

static void
finish_failed(struct resolver_peer *p, struct ask *a, enum dns_why why)
{
	/* what needs no memory: nothing is known */
	struct dns_answer none = { .type = a->type,
		.why = why,
		.ede = DNS_EDE_NONE,
		.name = a->name,
		.canon = a->name,
		.reason = dns_why_str(why) };

	finish(p, a, &none);
}

static void
on_deadline(uv_timer_t *timer)
{
	struct app *app = timer->data;
	struct resolver_peer *p = &app->resolver;
	int64_t now = clock_mono_ms();
	struct ask *a;

	while ((a = TAILQ_FIRST(&p->asks)) != NULL && a->until_ms <= now)
		finish_failed(p, a,
		    strlen(a->name) > DNS_NAME_MAX ? DNS_WHY_NAME
						   : DNS_WHY_TIMEOUT);
	arm(p);
}

struct ask *
ask_start(struct app *app, const char *name, uint16_t type, bool fresh,
    ask_done *done, void *arg)
{
	struct resolver_peer *p = &app->resolver;
	bool too_long = strlen(name) > DNS_NAME_MAX;
	struct ask *a;

	if (p->n_asks >= ASKS_MAX)
		return NULL;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return NULL;
	a->app = app;
	a->id = ++p->next_id;
	a->type = type;
	a->fresh = fresh;
	a->done = done;
	a->arg = arg;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	a->until_ms = clock_mono_ms();
	if (too_long) {
		/* no such name can exist: answered by the timer */
		TAILQ_INSERT_HEAD(&p->asks, a, link);
	} else {
		a->until_ms += SLACK_MS + app->child->conf->resolver.timeout_ms;
		TAILQ_INSERT_TAIL(&p->asks, a, link);
		send_ask(p, a);
	}
	p->n_asks++;
	if (TAILQ_FIRST(&p->asks) == a)
		arm(p);
	return a;
}

void
ask_cancel(struct ask *a)
{
	struct resolver_peer *p;

	if (a == NULL)
		return;
	p = &a->app->resolver;
	TAILQ_REMOVE(&p->asks, a, link);
	p->n_asks--;
	free(a); /* its answer, when it comes, belongs to nobody */
}

/* ---- the channel --------------------------------------------------------------
 */

static struct ask *
find(struct resolver_peer *p, uint64_t id)
{
	struct ask *a;

	/* answers come nearly in order */
	TAILQ_FOREACH(a, &p->asks, link)
		if (a->id == id)
			return a;
	return NULL;
}

static int
on_answer(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct app *app = peer;
	struct resolver_peer *p = &app->resolver;
	struct ask *a = find(p, m->req_id);
	struct dns_answer *answer = NULL;
	int r;

	if (a == NULL)
		return 0; /* cancelled, or late */
	r = dns_answer_decode(rd->p, m->len, &answer);
	if (r < 0 && r != -ENOMEM)
		return PE_PROTO;
	if (answer != NULL &&
	    (answer->type != a->type || strcmp(answer->name, a->name) != 0)) {
		dns_answer_free(answer);
		return PE_PROTO; /* an answer to something else */
	}
	if (answer != NULL)
		finish(p, a, answer);
	else
		finish_failed(p, a, DNS_WHY_BUSY);
	dns_answer_free(answer);
	arm(p);
	return 0;
}

static void
on_up(void *peer)
{
	struct app *app = peer;
	struct ask *a;

	TAILQ_FOREACH(a, &app->resolver.asks, link)
		if (strlen(a->name) <= DNS_NAME_MAX)
			send_ask(&app->resolver, a);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct app *app = peer;

	ipc_chan_free(app->resolver.chan);
	app->resolver.chan = NULL;
	if (why != PE_GONE)
		child_peer_broken(
		    app->child, ROLE_RESOLVER, app->resolver.instance, text);
}

static const struct ipc_rule rules[] = {
	{ RESOLVE_ANSWER, 1, DNS_ANSWER_MAX, IPC_ANY, 0, on_answer },
};

static const struct ipc_spec spec = {
	.name = "resolver",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_up = on_up,
	.on_down = on_down,
};

void
resolver_init(struct app *app)
{
	TAILQ_INIT(&app->resolver.asks);
	(void)uv_timer_init(app->child->loop, &app->resolver.timer);
	app->resolver.timer.data = app;
}

void
resolver_open(struct app *app, uint32_t instance, int fd)
{
	struct resolver_peer *p = &app->resolver;
	int r;

	ipc_chan_free(p->chan); /* a restarted resolver replaces the old one */
	p->chan = NULL;
	p->instance = instance;
	r = ipc_chan_new(&app->child->hub, fd, &spec, app, &p->chan);
	if (r < 0) {
		p->chan = NULL;
		log_warn("peer_failed", "policyd: channel to resolver: %s",
		    err_str(r));
	}
}
