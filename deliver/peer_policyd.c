/*
 * peer_policyd.c - which MTA-STS policy holds for a domain? Asked of policyd.
 *
 * Every question gets exactly one answer. While policyd is away it waits for a
 * while, then the answer is indeterminate: mail waits, it never goes unguarded.
 * May send us: POLICY_ANSWER, nothing else.
 */
#include "deliver/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/log/log.h"

enum {
	AWAY_MS = 15 * 1000, /* for policyd to come back */
	TICK_MS = 1000,
	SENT_MAX = POLICY_IN_FLIGHT_MAX / 2, /* cancelled ones count there */
};

struct want {
	TAILQ_ENTRY(want) link;
	struct deliver *d;
	uint64_t id;
	int64_t until_ms;
	bool fresh, sent;
	want_done *done;
	void *arg;
	char domain[TEXT_DOMAIN_MAX + 1];
};

static void
send_want(struct policyd_peer *p, struct want *w)
{
	struct policy_ask m = { w->domain, w->fresh ? POLICY_FRESH : 0 };

	if (!ipc_chan_is_up(p->chan) || p->n_sent >= SENT_MAX)
		return; /* sent when there is room, or answered by the clock */
	policy_ask_encode(ipc_send_begin(p->chan, POLICY_ASK, w->id), &m);
	if (ipc_send_end(p->chan, -1) < 0)
		return;
	w->sent = true;
	p->n_sent++;
	w->until_ms = clock_mono_ms() + POLICY_ANSWER_MS;
}

static void
unlink_want(struct policyd_peer *p, struct want *w)
{
	TAILQ_REMOVE(&p->wants, w, link);
	p->n_sent -= w->sent;
	if (TAILQ_EMPTY(&p->wants))
		(void)uv_timer_stop(&p->timer);
}

static void
finish(struct policyd_peer *p, struct want *w, const struct policy_answer *a)
{
	unlink_want(p, w);
	w->done(w->arg, a);
	free(w);
}

static void
on_tick(uv_timer_t *timer)
{
	static const struct policy_answer late = {
		.state = POLICY_INDETERMINATE,
		.reason = "policyd does not answer",
		.id = "",
	};
	struct policyd_peer *p = timer->data;
	int64_t now = clock_mono_ms();
	struct want *w, *next;

	/* a callback asks at most for more, which go to the end */
	for (w = TAILQ_FIRST(&p->wants); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->until_ms > now)
			continue;
		finish(p, w, &late);
		next = TAILQ_FIRST(&p->wants);
	}
}

struct want *
want_start(struct deliver *d, const char *domain, bool fresh, want_done *done,
    void *arg)
{
	struct policyd_peer *p = &d->policyd;
	struct want *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->d = d;
	w->id = ++p->next_id;
	w->fresh = fresh;
	w->done = done;
	w->arg = arg;
	(void)snprintf(w->domain, sizeof(w->domain), "%s", domain);
	w->until_ms = clock_mono_ms() + AWAY_MS;
	if (TAILQ_EMPTY(&p->wants))
		(void)uv_timer_start(&p->timer, on_tick, TICK_MS, TICK_MS);
	TAILQ_INSERT_TAIL(&p->wants, w, link);
	send_want(p, w);
	return w;
}

void
want_cancel(struct want *w)
{
	if (w == NULL)
		return;
	/* its answer, when it comes, belongs to nobody */
	unlink_want(&w->d->policyd, w);
	free(w);
}

/* ---- the channel --------------------------------------------------------------------- */

static struct want *
find(struct policyd_peer *p, uint64_t id)
{
	struct want *w;

	TAILQ_FOREACH(w, &p->wants, link)
		if (w->id == id)
			return w;
	return NULL;
}

static void
send_waiting(struct policyd_peer *p)
{
	struct want *w;

	TAILQ_FOREACH(w, &p->wants, link)
		if (!w->sent)
			send_want(p, w);
}

static int
on_answer(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct policyd_peer *p = peer;
	struct want *w = find(p, m->req_id);
	struct policy_answer a;

	if (policy_answer_decode(rd, &a) < 0)
		return PE_PROTO;
	if (w == NULL)
		return 0; /* cancelled, or late */
	finish(p, w, &a);
	send_waiting(p);
	return 0;
}

static void
on_up(void *peer)
{
	send_waiting(peer);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct policyd_peer *p = peer;
	struct want *w;

	ipc_chan_free(p->chan);
	p->chan = NULL;
	p->n_sent = 0;
	TAILQ_FOREACH(w, &p->wants, link) {
		w->sent = false; /* its successor is asked */
		w->until_ms = clock_mono_ms() + AWAY_MS;
	}
	if (why != PE_GONE)
		child_peer_broken(p->d->child, ROLE_POLICYD, p->instance, text);
}

static const struct ipc_rule rules[] = {
	{ POLICY_ANSWER, 4, STS_LIST_MAX + 2048, IPC_ANY, 0, on_answer },
};

static const struct ipc_spec spec = {
	.name = "policyd",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_up = on_up,
	.on_down = on_down,
};

void
policyd_peer_init(struct deliver *d)
{
	struct policyd_peer *p = &d->policyd;

	p->d = d;
	TAILQ_INIT(&p->wants);
	(void)uv_timer_init(d->child->loop, &p->timer); /* never fails */
	p->timer.data = p;
}

void
policyd_peer_new(struct deliver *d, uint32_t instance, int fd)
{
	struct policyd_peer *p = &d->policyd;

	if (p->chan != NULL) /* a restarted policyd replaces the old one */
		on_down(p, PE_GONE, "");
	p->instance = instance;
	if (ipc_chan_new(&d->child->hub, fd, &spec, p, &p->chan) < 0) {
		p->chan = NULL;
		log_warn("peer_error", "deliver: no channel to policyd");
	}
}

void
policyd_peer_close(struct deliver *d)
{
	ipc_chan_free(d->policyd.chan);
	d->policyd.chan = NULL;
}
