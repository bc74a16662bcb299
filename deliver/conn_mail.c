/*
 * conn_mail.c - the messages of a connection: pulled, sent, told back; and when it leaves.
 *
 * Called by conn.c, dest.c and peer_queue.c. What is not begun here goes back to
 * queue.
 */
#include "deliver/conn_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

/* Give back what was pulled and not begun. */
void
conn_return_mails(struct conn *c)
{
	struct mail *m;

	while ((m = TAILQ_FIRST(&c->mails)) != NULL) {
		TAILQ_REMOVE(&c->mails, m, link);
		queue_return(c->d, m);
		mail_free(m);
	}
}

/* ---- messages --------------------------------------------------------------------------------------------- */

/* The same end for all of a message, without the host having a say. */
static void
settle_here(struct mail *m, enum outcome outcome, enum reason reason,
    const char *status, const char *text)
{
	size_t i;

	for (i = 0; i < m->msg.n_rcpts; i++) {
		struct session_rcpt *rc = &m->msg.rcpts[i];

		rc->settled = true;
		rc->outcome = outcome;
		rc->reason = reason;
		(void)snprintf(rc->status, sizeof(rc->status), "%s", status);
		free(rc->reply);
		rc->reply = strdup(text);
	}
}

static void
tell_result(struct conn *c, struct mail *m)
{
	report_result(c, m);
	queue_result(c->d, m, c->dcid, conn_host(c)->host->name, c->address);
}

/* Is the verdict of the connection that of the message? queue mixes no classes;
 * one that asks for less may use what there is, one that asks for more waits. */
static bool
fits_plan(struct conn *c, struct mail *m)
{
	uint32_t cls = msg_class(m->msg.flags);

	if (cls == c->plan->cls ||
	    (cls == MSG_TLS_OPTIONAL && c->plan->cls == 0))
		return true;
	settle_here(m, OUTCOME_DEFERRED, REASON_STORE, "4.3.0",
	    "the message does not belong to this destination");
	tell_result(c, m);
	return false;
}

static uint32_t
message_limit(const struct conn *c)
{
	uint32_t n = c->max_messages;
	uint32_t theirs = session_ehlo(c->session)->mailmax;

	if (theirs > 0 && theirs < n)
		n = theirs;
	if (c->dest != NULL && c->dest->mailmax > 0 && c->dest->mailmax < n)
		n = c->dest->mailmax;
	return n;
}

static uint32_t
rcpt_limit(const struct conn *c)
{
	uint32_t n = c->plan->env->conf->delivery.max_recipients_per_message;
	uint32_t theirs = session_ehlo(c->session)->rcptmax;

	if (theirs > 0 && theirs < n)
		n = theirs;
	return n < HAND_RCPTS_MAX ? n : HAND_RCPTS_MAX;
}

/* Ask for messages, as many as are fair to have at once. */
static void
pull(struct conn *c)
{
	struct dest *dst = c->dest;
	uint32_t room = message_limit(c) - c->n_started;
	uint32_t share = dst->ready / (dst->n_conns > 0 ? dst->n_conns : 1);
	uint32_t n = share < 1 ? 1 : share > PULL_BATCH ? PULL_BATCH : share;

	if (n > room)
		n = room;
	n = fds_for_messages(c->d, n);
	if (c->paced) {
		pace_ask(c, n * rcpt_limit(c));
		return;
	}
	c->pull_granted = false;
	c->pull_empty = true;
	queue_pull(c->d, c, dst->id, n, rcpt_limit(c));
}

/* So many recipients are ours: whole messages as far as they go, and what a
 * larger one has more than that waits. */
static void
pull_paced(struct conn *c, uint32_t n)
{
	uint32_t most = rcpt_limit(c), room = message_limit(c) - c->n_started;
	uint32_t messages = n / most;

	c->pace_got = n;
	c->pull_granted = true;
	c->pull_empty = true;
	if (messages > room)
		messages = room;
	if (messages > 0)
		queue_pull(c->d, c, c->dest->id, messages, most);
	else
		queue_pull(c->d, c, c->dest->id, 1, n);
}

static void
throttled(struct conn *c, uint32_t wait_ms)
{
	c->dest->ready = 0;
	queue_dest_throttled(c->d, c->dest->id, "recipient_limit", wait_ms);
}

void
conn_paced(struct conn *c, uint32_t n, uint32_t wait_ms)
{
	bool waits = c->state == CONN_PULL;

	if (n > 0 && c->dest != NULL && !c->leaving &&
	    c->dest->state == DEST_ST_OPEN && queue_is_up(c->d) &&
	    c->n_started < message_limit(c)) {
		pull_paced(c, n);
		return;
	}
	c->pace_got = n;
	pace_rest(c);
	if (n == 0 && c->dest != NULL)
		throttled(c, wait_ms);
	if (waits) {
		conn_next_message(c);
		conn_drive(c);
	}
}

static bool
may_pull(const struct conn *c)
{
	return c->pull_req == 0 && c->pace_req == 0 && c->dest != NULL &&
	    !c->leaving && c->dest->state == DEST_ST_OPEN &&
	    c->dest->ready > 0 && c->n_started < message_limit(c) &&
	    queue_is_up(c->d);
}

/* Bounce verification: this destination wants it and this sender has it. */
static void
choose_tag(const struct conn *c, struct session_msg *m)
{
	const struct conf *conf = c->plan->env->conf;

	m->tag.keys = NULL;
	if (!c->plan->control->bounce_tagging ||
	    c->plan->env->bounce_keys.current < 0 ||
	    !conf_bounce_verifies(conf, m->sender))
		return;
	m->tag.keys = &c->plan->env->bounce_keys;
	m->tag.day = clock_now_ms() / CLOCK_DAY_MS;
	m->tag.lifetime_days =
	    (unsigned)(conf->verification.lifetime_s * 1000 / CLOCK_DAY_MS);
}

static void
begin_message(struct conn *c, struct mail *m)
{
	choose_tag(c, &m->msg);
	c->current = m;
	c->n_started++;
	c->state = CONN_TALK;
	c->began_ms = clock_mono_ms();
	report_start(c, m);
	session_send(c->session, &m->msg);
	/* the next ones come while this one goes out */
	if (TAILQ_EMPTY(&c->mails) && may_pull(c))
		pull(c);
}

/* The session is ready: the next message, or more of them, or leave. */
void
conn_next_message(struct conn *c)
{
	struct mail *m;

	if (c->dest == NULL || c->dest->state == DEST_ST_ENDING)
		c->leaving = true;
	while (!c->leaving && (m = TAILQ_FIRST(&c->mails)) != NULL &&
	    c->n_started < message_limit(c)) {
		TAILQ_REMOVE(&c->mails, m, link);
		if (m->msg.read == NULL) {
			settle_here(m, OUTCOME_DEFERRED, REASON_STORE, "4.3.0",
			    "the stored message cannot be read");
			pace_done(c, m, false);
			tell_result(c, m);
		} else if (fits_plan(c, m)) {
			begin_message(c, m);
			return;
		} else {
			pace_done(c, m, false);
		}
		mail_free(m);
	}
	if (c->leaving || c->n_started >= message_limit(c)) {
		conn_return_mails(c); /* others need not wait for our QUIT */
		c->state = CONN_TALK;
		session_quit(c->session);
	} else if (c->pull_req != 0 || c->pace_req != 0) {
		c->state = CONN_PULL;
	} else if (may_pull(c)) {
		c->state = CONN_PULL;
		pull(c);
	} else {
		c->state = CONN_IDLE;
	}
}

void
conn_transaction_done(struct conn *c)
{
	struct mail *m = c->current;
	bool over = !session_is_ready(c->session) &&
	    session_end(c->session)->stage != NULL;

	c->current = NULL;
	if (m == NULL)
		return;
	if (m->msg.untouched && c->n_ok > 0 && over) {
		/* the host only ended the connection, as some do after so many
		 * messages: nothing was attempted (session.h) */
		if (c->dest != NULL)
			c->dest->mailmax = c->n_started - 1;
		queue_return(c->d, m);
		pace_done(c, m, false);
	} else {
		pace_done(c, m, true);
		tell_result(c, m);
		if (!over) {
			c->n_ok++;
			if (c->dest != NULL)
				dest_conn_progress(c);
		}
	}
	mail_free(m);
}

void
conn_message(struct conn *c, struct mail *m)
{
	c->pull_empty = false;
	pace_take(c, m);
	TAILQ_INSERT_TAIL(&c->mails, m, link);
	if (c->state == CONN_PULL || c->state == CONN_IDLE) {
		conn_next_message(c);
		conn_drive(c);
	}
}

void
conn_pull_end(struct conn *c)
{
	pace_rest(c);
	/* none came although some were due: others have them */
	if (c->dest != NULL && c->pull_empty)
		c->dest->ready = 0;
	if (c->state != CONN_PULL)
		return; /* a message is under way */
	conn_next_message(c);
	conn_drive(c);
}

void
conn_wake(struct conn *c)
{
	if (c->state == CONN_IDLE) {
		conn_next_message(c);
		conn_drive(c);
	}
}

void
conn_leave(struct conn *c)
{
	struct dest *dst = c->dest;

	c->leaving = true;
	switch (c->state) {
	case CONN_PERMIT:
	case CONN_DCID:
	case CONN_CONNECT:
		conn_close(c);
		if (dst != NULL)
			dest_run(dst);
		break;
	case CONN_PULL:
	case CONN_IDLE:
		conn_return_mails(c);
		c->state = CONN_TALK;
		session_quit(c->session);
		conn_drive(c);
		break;
	case CONN_TALK:
		/* before the first message nothing is lost; else it leaves by
		 * itself when the session is ready again */
		if (c->n_started == 0) {
			session_quit(c->session);
			conn_drive(c);
		}
		break;
	case CONN_CLOSING:
		break;
	}
}

/* The limits of its place as they are now. */
static void
take_limits(struct conn *c)
{
	c->max_messages = limits_messages(
	    c->d->env->conf, c->plan->domain, conn_host(c)->host->name);
	c->paced = pace_holds(c);
}

void
conn_reload(struct conn *c)
{
	/* before its first message it is not known to be good */
	if (c->n_started == 0 || !plan_keeps(c->plan, c->d->env)) {
		conn_leave(c);
		return;
	}
	take_limits(c);
}

/* Where the address stands among the host's; n_addrs when it does not. */
static size_t
address_at(const struct facts_host *h, const union conf_addr *a)
{
	size_t i;

	for (i = 0; i < h->n_addrs; i++)
		if (address_same(&h->addrs[i], a))
			break;
	return i;
}

void
conn_adopt(struct conn *c, struct plan *plan)
{
	const struct facts_host *h = conn_host(c)->host;
	const struct verdict *v = plan->verdict;
	size_t i, at = 0;

	for (i = 0; i < v->n_hosts; i++) {
		const struct facts_host *other = v->hosts[i].host;

		at = address_at(other, &c->addr);
		if (v->hosts[i].attempt && other->port == h->port &&
		    at < other->n_addrs && strcmp(other->name, h->name) == 0)
			break;
	}
	/* one that still opens is held to the verdict it began under */
	if (i == v->n_hosts || c->n_started == 0 ||
	    !plan_keeps(c->plan, plan->env) ||
	    verdict_satisfied(&v->hosts[i], &c->proof) != REASON_NONE) {
		conn_leave(c);
		return;
	}
	plan_unref(c->plan);
	c->plan = plan_ref(plan);
	c->host = i;
	c->addr_at = at;
	take_limits(c); /* an exception may have ended */
}
