/*
 * dest.c - one destination while this worker holds it: from facts to verdict to
 * connections, and what is told to queue of it as a whole.
 *
 * Called by peer_queue.c (offers, more, close), facts.c (plans) and conn.c (how
 * connections fare). dest_run() decides what is next, from the state alone, and
 * may be called at any time. Cost is per destination: when no host can be used,
 * one DEST_STATE speaks for all its messages.
 */
#include "deliver/deliver.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/log/log.h"

static void end(struct dest *dst);

struct dest *
dest_find(struct deliver *d, uint64_t id)
{
	struct dest *dst;

	LIST_FOREACH(dst, &d->by_id[id % DEST_BUCKETS], bucket)
		if (dst->id == id)
			return dst;
	return NULL;
}

/* ---- what the memo shows ------------------------------------------------------------------ */

static void
remember_hosts(struct dest *dst)
{
	struct memo *m = dst->memo;
	const struct verdict *v;
	size_t i;

	if (m == NULL || dst->plan == NULL)
		return;
	v = dst->plan->verdict;
	m->n_hosts = v->n_hosts < MEMO_HOSTS ? v->n_hosts : MEMO_HOSTS;
	for (i = 0; i < m->n_hosts; i++) {
		const struct facts_host *h = v->hosts[i].host;
		struct memo_host *out = &m->hosts[i];
		size_t at = dst->hosts[i].addr_at;
		union conf_addr a;

		(void)snprintf(out->host, sizeof(out->host), "%.127s", h->name);
		out->address[0] = '\0';
		if (h->n_addrs > 0) {
			a = h->addrs[at < h->n_addrs ? at : h->n_addrs - 1];
			a.in.sin_port = 0; /* the same place in both families */
			(void)conf_addr_format(
			    &a, out->address, sizeof(out->address));
		}
		out->state = !v->hosts[i].attempt || dst->hosts[i].down
		    ? "down"
		    : "unknown";
	}
}

static void
remember_up(struct conn *c)
{
	struct memo *m = c->dest->memo;

	remember_hosts(c->dest);
	if (m == NULL)
		return;
	m->state = "up";
	if (c->plan == c->dest->plan && c->host < m->n_hosts) {
		m->hosts[c->host].state = "up";
		(void)snprintf(m->hosts[c->host].address,
		    sizeof(m->hosts[0].address), "%s", c->address);
	}
}

/* ---- life ------------------------------------------------------------------------------------- */

/* True: it had a slot that another may have now. */
static bool
dest_free(struct dest *dst)
{
	bool room = slots_give(dst);

	LIST_REMOVE(dst, all);
	LIST_REMOVE(dst, bucket);
	gather_cancel(dst->gather);
	plan_unref(dst->plan);
	free(dst->hosts);
	memo_drop(dst->memo);
	free(dst);
	return room;
}

void
dest_offer(struct deliver *d, const struct hand_offer *m)
{
	struct dest *dst = calloc(1, sizeof(*dst));

	if (dst == NULL)
		fatal("out of memory for a destination");
	dst->d = d;
	dst->id = m->dest_id;
	(void)snprintf(dst->domain, sizeof(dst->domain), "%s", m->domain);
	(void)snprintf(dst->gateway, sizeof(dst->gateway), "%s", m->gateway);
	dst->cls = m->cls;
	dst->ready = m->ready > 0 ? m->ready : 1;
	dst->retries = m->retries;
	dst->cap = 1;
	dst->state = DEST_ST_OPEN;
	LIST_INIT(&dst->conns);
	LIST_INSERT_HEAD(&d->dests, dst, all);
	LIST_INSERT_HEAD(&d->by_id[dst->id % DEST_BUCKETS], dst, bucket);
	slots_take(dst);
	dst->memo = memo_hold(d, dst->domain, dst->gateway);
	dst->turn = dst->memo != NULL ? dst->memo->turn : arc4random();
	if (d->draining)
		end(dst);
	else
		dest_run(dst);
}

void
dest_more(struct deliver *d, const struct hand_more *m)
{
	struct dest *dst = dest_find(d, m->dest_id);

	if (dst == NULL || dst->state == DEST_ST_ENDING)
		return;
	dst->ready = m->ready;
	dest_run(dst);
}

void
dest_pull_end(struct dest *dst, uint32_t ready)
{
	dst->open_pulls--;
	dst->ready = ready;
	if (dst->state == DEST_ST_ENDING || dst->n_conns == 0)
		dest_run(dst);
}

/* Back to queue, when nothing of it is open here any more. */
static void
release_if_over(struct dest *dst)
{
	struct deliver *d = dst->d;

	/* a pull that is still open would bring messages after the release */
	if (dst->state != DEST_ST_ENDING || dst->n_conns > 0 ||
	    dst->open_pulls > 0 || dst->running)
		return;
	queue_release(d, dst->id);
	queue_want(d, dest_free(dst) ? 1 : 0);
	deliver_check_done(d);
}

/* No more connections; those that are open leave after their message. */
static void
end(struct dest *dst)
{
	struct conn *c, *next;
	bool was = dst->running;

	if (dst->state == DEST_ST_ENDING)
		return;
	remember_hosts(dst);
	dst->state = DEST_ST_ENDING;
	gather_cancel(dst->gather);
	dst->gather = NULL;
	dst->running = true; /* what closes now must not free us */
	for (c = LIST_FIRST(&dst->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		conn_leave(c);
	}
	dst->running = was; /* then dest_run() releases at its end */
	release_if_over(dst);
}

void
dest_close(struct dest *dst)
{
	end(dst);
}

void
dest_drop_all(struct deliver *d)
{
	struct dest *dst;
	struct conn *c;

	while ((dst = LIST_FIRST(&d->dests)) != NULL) {
		while ((c = LIST_FIRST(&dst->conns)) != NULL)
			conn_abort(c);
		(void)dest_free(dst); /* a new queue is asked for all */
	}
}

/* ---- telling ------------------------------------------------------------------------------------ */

void
dest_count_refused(
    struct deliver *d, const struct verdict_host *vh, enum reason reason)
{
	if (reason == REASON_REQUIRETLS_MISSING)
		return; /* the message's demand, not the domain's */
	if (vh->level == LEVEL_DANE || reason == REASON_TLSA_INDETERMINATE ||
	    reason == REASON_DANE_REQUIRED)
		d->n.dane_refused[reason]++;
	else if (reason == REASON_STS_MX_MISMATCH ||
	    reason == REASON_STS_REQUIRED ||
	    reason == REASON_STS_DISCOVERY_WAIT || verdict_by_sts(vh))
		d->n.sts_refused[reason]++;
}

/* Hosts that DANE and MTA-STS leave out; those that fail by them: conn.c. */
static void
count_refused(struct deliver *d, const struct verdict *v)
{
	size_t i;

	for (i = 0; i < v->n_hosts; i++)
		if (!v->hosts[i].attempt)
			dest_count_refused(d, &v->hosts[i], v->hosts[i].reason);
}

/* One word for the destination as a whole, then it goes back. */
static void
conclude(struct dest *dst, enum dest_verdict verdict, enum reason reason,
    const char *status, const char *text, const char *host)
{
	static const char *const words[] = {
		[DEST_UP] = "up",
		[DEST_DOWN] = "down",
		[DEST_DEFER] = "deferred",
		[DEST_FAILED] = "failed",
		[DEST_DISCARD] = "discarded",
	};
	struct deliver *d = dst->d;
	struct log_fields f = { .domain = dst->domain,
		.gateway = dst->gateway,
		.host = host[0] != '\0' ? host : NULL,
		.status = status,
		.reason = reason_word(reason) };

	d->n.dest_down += verdict == DEST_DOWN;
	d->n.dest_deferred += verdict == DEST_DEFER;
	d->n.dest_failed += verdict == DEST_FAILED;
	d->n.dest_discarded += verdict == DEST_DISCARD;
	if (verdict != DEST_DISCARD)
		memo_note(
		    dst->memo, MEMO_ERROR, "%s: %s", reason_word(reason), text);
	if (dst->memo != NULL &&
	    (verdict == DEST_DOWN || verdict == DEST_DEFER) &&
	    dst->cls == 0) /* the others may well be delivered */
		dst->memo->state = "down";
	/* queue has the line for operators: when it tries again, or what failed */
	log_event(LOG_DEBUG, "destination", &f,
	    "Destination %s gateway %s %s: %s: %s", dst->domain, dst->gateway,
	    words[verdict], reason_word(reason), LOG_Q(text));
	queue_dest_state(d, dst->id, verdict, reason, status, text, host);
	end(dst);
}

/* The verdict leaves nothing to connect to. */
static void
conclude_verdict(struct dest *dst)
{
	const struct verdict *v = dst->plan->verdict;
	enum dest_verdict dv = v->outcome == VERDICT_FAIL ? DEST_FAILED
	    : v->outcome == VERDICT_DISCARD		  ? DEST_DISCARD
							  : DEST_DEFER;

	conclude(dst, dv, v->reason, v->status, v->text, "");
}

static void on_fresh(void *arg, struct plan *plan);

/*
 * It fails by an MTA-STS policy: has that changed? Asked for once in a hold
 * (RFC 8461, 5.1 and 10.3); policyd limits what comes of it. True when the
 * answer is waited for.
 */
static bool
look_again(struct dest *dst)
{
	const struct plan *p = dst->plan;
	const struct verdict *v = p->verdict;
	bool blamed = false;
	size_t i;

	if (dst->looked || p->facts.sts.state != FACTS_STS_POLICY)
		return false;
	for (i = 0; i < v->n_hosts; i++)
		blamed = blamed ||
		    (v->hosts[i].attempt
			    ? verdict_by_sts(&v->hosts[i]) &&
				reason_is_tls(dst->hosts[i].reason)
			    : v->hosts[i].reason == REASON_STS_MX_MISMATCH);
	if (!blamed)
		return false;
	dst->looked = true;
	dst->gather = gather_start(dst->d, p->env, dst->domain, dst->gateway,
	    dst->cls, GATHER_FRESH, on_fresh, dst);
	return dst->gather != NULL;
}

/* Every host was tried, or may not be. Each has its word in the text; a TLS
 * policy outweighs an outage as the reason, since it does not go by itself. */
static void
conclude_down(struct dest *dst)
{
	const struct verdict *v = dst->plan->verdict;
	enum reason reason = REASON_HOST_DOWN;
	const char *status = "4.4.1", *host = "";
	char text[TEXT_REASON_MAX] = "";
	size_t i, at = 0;
	bool all_refuse = v->n_hosts > 0, tls = false;
	const char *end_status = requiretls_over(dst);

	for (i = 0; i < v->n_hosts; i++) {
		const struct verdict_host *vh = &v->hosts[i];
		const struct host_state *hs = &dst->hosts[i];
		bool skipped = !vh->attempt;
		enum reason r = skipped ? vh->reason : hs->reason;

		all_refuse = all_refuse && !skipped && hs->refused;
		if (!skipped && (!tls || reason_is_tls(r))) {
			reason = r;
			status = hs->status;
			host = vh->host->name;
		} else if (skipped && reason_is_tls(r)) {
			reason = r;
			status = verdict_status(r);
			host = vh->host->name;
		}
		tls = tls || reason_is_tls(r);
		if (at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at,
			    "%s%s: %s", at > 0 ? "; " : "", vh->host->name,
			    skipped ? vh->rules[vh->n_rules - 1].text
				: hs->text[0] != '\0' ? hs->text
						      : "not tried");
	}
	if (end_status != NULL)
		conclude(dst, DEST_FAILED, REASON_REQUIRETLS_MISSING,
		    end_status, text, host);
	else if (all_refuse)
		/* RFC 7504: such hosts never take mail */
		conclude(
		    dst, DEST_FAILED, REASON_REMOTE_5XX, "5.3.2", text, host);
	else if (tls)
		conclude(dst, DEST_DEFER, reason, verdict_status(reason), text,
		    host);
	else
		conclude(dst, DEST_DOWN, reason,
		    status[0] == '4' ? status : "4.4.1", text, host);
}

static uint32_t
good_others(const struct dest *dst, const struct conn *self)
{
	const struct conn *c;
	uint32_t n = 0;

	LIST_FOREACH(c, &dst->conns, link)
		if (c != self && conn_is_good(c))
			n++;
	return n;
}

/* ---- facts ------------------------------------------------------------------------------------------ */

/* Hold the open connections to the new verdict (DESIGN 5). */
static void
adopt_all(struct dest *dst)
{
	struct conn *c, *next;

	dst->running = true; /* what closes now must not change the list */
	for (c = LIST_FIRST(&dst->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		conn_adopt(c, dst->plan);
	}
	dst->running = false;
}

static void
on_plan(void *arg, struct plan *plan)
{
	struct dest *dst = arg;
	struct host_state *hosts;

	dst->gather = NULL;
	hosts = plan == NULL ? NULL : hosts_new(dst, plan);
	if (hosts == NULL) {
		plan_unref(plan);
		conclude(dst, DEST_DEFER, REASON_STORE, "4.3.0",
		    "out of memory for the facts", "");
		return;
	}
	if (plan->verdict->outcome == VERDICT_DEFER &&
	    (plan->verdict->reason == REASON_DNS_INDETERMINATE ||
		plan->verdict->reason == REASON_STS_DISCOVERY_WAIT) &&
	    good_others(dst, NULL) > 0) {
		/* doubt ends no connection that proved itself, but no new one
		 * is made until there is an answer */
		dst->stale = true;
		dst->plan->until_ms = clock_mono_ms() + PLAN_MIN_S * 1000;
		plan_unref(plan);
		free(hosts);
		dest_run(dst);
		return;
	}
	dst->stale = false;
	plan_unref(dst->plan);
	free(dst->hosts);
	dst->plan = plan;
	dst->hosts = hosts;
	report_plan(plan);
	report_denied(plan);
	count_refused(dst->d, plan->verdict);
	if (plan->verdict->outcome != VERDICT_DELIVER) {
		if (!look_again(dst))
			conclude_verdict(dst);
		return;
	}
	adopt_all(dst);
	dest_run(dst);
}

/* The fresh look: only another policy is a reason to try again. */
static void
on_fresh(void *arg, struct plan *plan)
{
	struct dest *dst = arg;

	if (plan != NULL && !plan_same_policy(plan, dst->plan)) {
		on_plan(dst, plan);
		return;
	}
	plan_unref(plan);
	dst->gather = NULL;
	if (dst->plan->verdict->outcome != VERDICT_DELIVER)
		conclude_verdict(dst);
	else if (dst->n_conns == 0)
		conclude_down(dst);
	else
		dest_run(dst);
}

void
dest_reload(struct deliver *d)
{
	struct dest *dst;
	struct conn *c, *next;

	LIST_FOREACH(dst, &d->dests, all) {
		gather_cancel(dst->gather); /* it asks by the old ones */
		dst->gather = NULL;
		if (dst->plan != NULL)
			dst->plan->until_ms = 0;
		dst->failing_ms = 0; /* each host has another chance */
		dst->running = true; /* the list of destinations stays */
		for (c = LIST_FIRST(&dst->conns); c != NULL; c = next) {
			next = LIST_NEXT(c, link);
			conn_reload(c);
		}
		dst->running = false;
	}
	/* now each decides anew, and may go back to queue */
	for (dst = LIST_FIRST(&d->dests); dst != NULL;) {
		struct dest *following = LIST_NEXT(dst, all);

		dest_run(dst);
		dst = following;
	}
}

/* ---- choosing ------------------------------------------------------------------------------------------ */

static bool
may_try(const struct dest *dst, size_t i)
{
	return dst->plan->verdict->hosts[i].attempt && !dst->hosts[i].down;
}

/* Hosts of the best rank that has one left. */
static size_t
equal_hosts(const struct dest *dst)
{
	const struct verdict *v = dst->plan->verdict;
	uint32_t rank = 0;
	size_t i, n = 0;

	for (i = 0; i < v->n_hosts; i++) {
		if (!may_try(dst, i))
			continue;
		if (n > 0 && v->hosts[i].host->rank != rank)
			break;
		rank = v->hosts[i].host->rank;
		n++;
	}
	return n;
}

/*
 * The host for the next connection: the best rank that has one left; among
 * equals in turn. The order of equal MX hosts is random in each plan (RFC 5321,
 * 5.1); that of a route's hosts stays, and the turn goes on where the last hold
 * left it, so that they take turns by connection. False: none is left.
 */
static bool
pick(struct dest *dst, size_t *ret_host)
{
	const struct verdict *v = dst->plan->verdict;
	size_t i, n = equal_hosts(dst), want;

	if (n == 0)
		return false;
	want = dst->turn++ % n;
	if (dst->memo != NULL)
		dst->memo->turn = dst->turn;
	for (i = 0; i < v->n_hosts; i++)
		if (may_try(dst, i) && want-- == 0)
			break;
	*ret_host = i;
	return true;
}

/* What the control allows: with limit_scope = mx-ip so many for each host that
 * they are spread over. */
static uint32_t
max_conns(const struct dest *dst)
{
	const struct conf_dest *control = dst->plan->control;
	size_t hosts = 1;

	if (control->limit_scope == CONF_SCOPE_MX_IP)
		hosts = equal_hosts(dst);
	return control->max_connections * (uint32_t)(hosts > 0 ? hosts : 1);
}

/* How many connections the due mail is worth now. */
static uint32_t
wanted_conns(struct dest *dst)
{
	uint32_t n = (dst->ready + RCPTS_PER_CONN - 1) / RCPTS_PER_CONN;

	if (dst->cap_max > 0 && clock_mono_ms() >= dst->cap_until_ms)
		dst->cap_max = 0;
	if (dst->cap_max > 0 && dst->cap > dst->cap_max)
		dst->cap = dst->cap_max;
	if (dst->plan != NULL && n > max_conns(dst))
		n = max_conns(dst);
	if (dst->plan != NULL && n > pace_conns(dst->plan))
		n = pace_conns(dst->plan);
	return n < dst->cap ? n : dst->cap;
}

static void
wake_idle(struct dest *dst)
{
	struct conn *c, *next;
	uint32_t n = wanted_conns(dst);

	for (c = LIST_FIRST(&dst->conns); c != NULL && n > 0; c = next) {
		next = LIST_NEXT(c, link);
		if (c->state == CONN_IDLE) {
			conn_wake(c);
			n--;
		}
	}
}

/* Facts, when there are none, or when their time is over. */
static bool
needs_plan(const struct dest *dst)
{
	return dst->plan == NULL || clock_mono_ms() >= dst->plan->until_ms ||
	    (dst->stale && dst->n_conns == 0);
}

static void
run_once(struct dest *dst)
{
	size_t host;

	if (dst->ready == 0) {
		if (dst->n_conns == 0 && dst->open_pulls == 0)
			end(dst);
		return;
	}
	if (dst->gather != NULL)
		return;
	if (needs_plan(dst)) {
		if (hosts_fruitless(dst)) {
			conclude_down(dst);
			return;
		}
		/* idle connections wait too: they are held to what comes */
		dst->gather = gather_start(dst->d, dst->d->env, dst->domain,
		    dst->gateway, dst->cls, 0, on_plan, dst);
		if (dst->gather == NULL && dst->n_conns == 0)
			conclude(dst, DEST_DEFER, REASON_STORE, "4.3.0",
			    "out of memory for the facts", "");
		return;
	}
	wake_idle(dst);
	if (dst->stale)
		return;
	while (dst->n_conns < wanted_conns(dst) && pick(dst, &host)) {
		if (conn_new(dst, host, dst->hosts[host].addr_at,
			dst->hosts[host].clear) == NULL)
			break;
	}
	if (dst->n_conns == 0 && !look_again(dst))
		conclude_down(dst);
}

void
dest_run(struct dest *dst)
{
	if (dst->running) {
		dst->rerun = true;
		return;
	}
	dst->running = true;
	do {
		dst->rerun = false;
		if (dst->state == DEST_ST_OPEN)
			run_once(dst);
	} while (dst->rerun && dst->state == DEST_ST_OPEN);
	dst->running = false;
	release_if_over(dst);
}

/* ---- how connections fare ----------------------------------------------------------------------------------- */

/* The state of the host that a connection went to, or NULL when the plan has
 * changed since. */
static struct host_state *
state_of(const struct conn *c)
{
	return c->plan == c->dest->plan ? &c->dest->hosts[c->host] : NULL;
}

/* The host has connections that work and takes no more: be content with what
 * there is for a while. False: it has none, so it is the host that is away. */
static bool
spare_host(struct dest *dst, const struct conn *self)
{
	const struct conn *c;

	LIST_FOREACH(c, &dst->conns, link)
		if (c != self && c->plan == self->plan &&
		    c->host == self->host && conn_is_good(c))
			break;
	if (c == NULL)
		return false;
	dst->cap_max = good_others(dst, self);
	dst->cap_until_ms = clock_mono_ms() + CAP_REST_S * 1000;
	return true;
}

void
dest_conn_failed(struct conn *c, enum reason reason, const char *status,
    const char *text, bool next_host)
{
	struct dest *dst = c->dest;
	struct host_state *hs = state_of(c);
	const struct session_end *e =
	    c->session != NULL ? session_end(c->session) : NULL;

	memo_note(dst->memo, reason_is_tls(reason) ? MEMO_TLS : MEMO_ERROR,
	    "%s: %s", c->address, text);
	if (hs == NULL)
		return;
	if (reason == REASON_TLS_HANDSHAKE_FAILED && !c->clear &&
	    conn_host(c)->level <= LEVEL_OPPORTUNISTIC) {
		hs->clear = true; /* once more, without TLS */
		hosts_failing(dst);
		return;
	}
	if (spare_host(dst, c) || c->addr_at != hs->addr_at)
		return; /* another one moved on already */
	hosts_mark(dst, hs, reason, status, text);
	if (!requiretls_final(reason) || (e != NULL && e->code / 100 == 4))
		hs->temporary = true;
	/* where the host must prove itself only its own word is final: anybody
	 * on the way can say 521 in clear text */
	hs->refused = e != NULL && e->code == 521 &&
	    (conn_host(c)->level <= LEVEL_OPPORTUNISTIC || c->proof.tls);
	hs->clear = false; /* that was about this address */
	if (next_host || ++hs->addr_at >= conn_host(c)->host->n_addrs)
		hs->down = true;
}

void
dest_conn_closed(struct conn *c, bool lost)
{
	struct dest *dst = c->dest;
	struct host_state *hs = state_of(c);
	const struct session_end *e = session_end(c->session);

	/* it took us in and then did nothing for us: others may do better */
	if (!lost || c->n_ok > 0 || hs == NULL || spare_host(dst, c))
		return;
	hosts_mark(dst, hs, e->reason, e->status, e->text);
	hs->temporary = true;
	hs->down = true;
}

void
dest_conn_ready(struct conn *c)
{
	struct dest *dst = c->dest;

	remember_up(c);
	dst->retries = 0;
	if (!dst->told_up) {
		dst->told_up = true;
		dst->d->n.dest_up++;
		queue_dest_state(dst->d, dst->id, DEST_UP, REASON_NONE, "", "",
		    conn_host(c)->host->name);
	}
}

void
dest_conn_progress(struct conn *c)
{
	struct dest *dst = c->dest;

	slots_moved(dst);
	dst->failing_ms = 0;
	/* doubles with each round of messages, up to the control's limit */
	if (dst->cap < max_conns(dst))
		dst->cap++;
	/* one that is never out of work must not outlive its facts */
	if (dst->n_conns < wanted_conns(dst) || needs_plan(dst))
		dest_run(dst);
}
