/*
 * peer_resolver.c - questions to the resolver, and its answers.
 *
 * Every question gets exactly one answer, at the latest when its deadline
 * passes: then as indeterminate. A resolver that was restarted is asked again
 * what the old one still owed. May send us: RESOLVE_ANSWER, nothing else.
 */
#include "deliver/deliver.h"
#include "lib/base/clock.h"
#include "lib/log/log.h"
#include "lib/proto/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLACK_MS = 5000, /* beyond the resolver's own deadline */
	/* what was cancelled still counts there: over its bound the channel
	 * would be closed, and over ours the rest waits here */
	OWED_MAX = RESOLVE_IN_FLIGHT_MAX / 2,
};

struct ask {
	TAILQ_ENTRY(ask) link;
	struct deliver *d;
	uint64_t id;
	int64_t until_ms;
	uint16_t type;
	uint32_t flags;
	bool sent;
	ask_done *done;
	void *arg;
	char name[DNS_NAME_SIZE];
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
	struct resolve_ask m = { a->name, a->type, a->flags };

	if (!ipc_chan_is_up(p->chan) || p->n_owed >= OWED_MAX)
		return; /* sent when there is room, or answered by the clock */
	resolve_ask_encode(ipc_send_begin(p->chan, RESOLVE_ASK, a->id), &m);
	if (ipc_send_end(p->chan, -1) < 0)
		return;
	a->sent = true;
	p->n_waiting--;
	p->n_owed++;
}

static void
unlink_ask(struct resolver_peer *p, struct ask *a)
{
	TAILQ_REMOVE(&p->asks, a, link);
	p->n_waiting -= !a->sent;
}

/* Take it off the list and give the answer. */
static void
finish(struct resolver_peer *p, struct ask *a, const struct dns_answer *answer)
{
	unlink_ask(p, a);
	a->done(a->arg, answer);
	free(a);
}

static void
finish_failed(struct resolver_peer *p, struct ask *a, enum dns_why why)
{
	struct dns_answer *answer =
	    dns_answer_failed(a->name, a->type, why, DNS_EDE_NONE, NULL);
	/* what is left when even that cannot be had: nothing is known */
	struct dns_answer none = { .type = a->type,
		.why = why,
		.ede = DNS_EDE_NONE,
		.name = a->name,
		.canon = a->name,
		.reason = dns_why_str(why) };

	finish(p, a, answer != NULL ? answer : &none);
	dns_answer_free(answer);
}

static void
on_deadline(uv_timer_t *timer)
{
	struct resolver_peer *p = timer->data;
	int64_t now = clock_mono_ms();
	struct ask *a;

	while ((a = TAILQ_FIRST(&p->asks)) != NULL && a->until_ms <= now)
		finish_failed(p, a, DNS_WHY_TIMEOUT);
	arm(p);
}

struct ask *
ask_start(struct deliver *d, const char *name, uint16_t type, uint32_t flags,
    ask_done *done, void *arg)
{
	struct resolver_peer *p = &d->resolver;
	struct ask *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->d = d;
	a->id = ++p->next_id;
	a->type = type;
	a->flags = flags;
	a->done = done;
	a->arg = arg;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	a->until_ms =
	    clock_mono_ms() + SLACK_MS + d->env->conf->resolver.timeout_ms;
	TAILQ_INSERT_TAIL(&p->asks, a, link);
	p->n_waiting++;
	send_ask(p, a);
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
	p = &a->d->resolver;
	unlink_ask(p, a);
	free(a); /* its answer, when it comes, belongs to nobody */
}

/* ---- the channel --------------------------------------------------------------------- */

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

static void
send_waiting(struct resolver_peer *p)
{
	struct ask *a;

	TAILQ_FOREACH(a, &p->asks, link) {
		if (p->n_waiting == 0 || p->n_owed >= OWED_MAX)
			break;
		if (!a->sent)
			send_ask(p, a);
	}
}

/* Nothing of what was sent will be answered by this channel. */
static void
forget_sent(struct resolver_peer *p)
{
	struct ask *a;

	p->n_owed = p->n_waiting = 0;
	TAILQ_FOREACH(a, &p->asks, link) {
		a->sent = false;
		p->n_waiting++;
	}
}

static int
on_answer(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct resolver_peer *p = peer;
	struct ask *a = find(p, m->req_id);
	struct dns_answer *answer = NULL;
	int r;

	if (p->n_owed == 0)
		return PE_PROTO; /* to nothing */
	p->n_owed--;
	if (a == NULL) {
		send_waiting(p); /* that one was cancelled, or is late */
		return 0;
	}
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
	send_waiting(p);
	arm(p);
	return 0;
}

static void
on_up(void *peer)
{
	struct resolver_peer *p = peer;

	forget_sent(p);
	send_waiting(p);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct resolver_peer *p = peer;

	ipc_chan_free(p->chan);
	p->chan = NULL;
	forget_sent(p);
	if (why != PE_GONE)
		child_peer_broken(
		    p->d->child, ROLE_RESOLVER, p->instance, text);
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
resolver_peer_new(struct deliver *d, uint32_t instance, int fd)
{
	struct resolver_peer *p = &d->resolver;

	ipc_chan_free(p->chan); /* a restarted resolver replaces the old one */
	p->chan = NULL;
	p->instance = instance;
	if (ipc_chan_new(&d->child->hub, fd, &spec, p, &p->chan) < 0) {
		p->chan = NULL;
		log_warn("peer_error", "deliver: no channel to resolver");
	}
}

void
resolver_peer_close(struct deliver *d)
{
	ipc_chan_free(d->resolver.chan);
	d->resolver.chan = NULL;
}
