/*
 * peer_queue.c - what queue sends us, and what we tell it (lib/proto/handoff.h).
 *
 * Every pulled recipient goes back exactly once: in RESULT or in RETURN. A
 * result that cannot be told would be a message in limbo, so then this process
 * ends, and queue takes what it held as in doubt. May send us: OFFER, MORE,
 * MESSAGE, MESSAGE_FD, PULL_END, CLOSE, IDS_GRANT.
 */
#include "deliver/deliver.h"
#include "lib/log/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- telling ---------------------------------------------------------------------------- */

bool
queue_is_up(const struct deliver *d)
{
	return ipc_chan_is_up(d->queue.chan);
}

static void
must(int r, const char *what)
{
	/* PE_GONE: the queue is gone, and on_down drops all that was held */
	if (r < 0 && r != PE_GONE)
		fatal("cannot tell the queue (%s): %s", what, err_str(r));
}

void
queue_want(struct deliver *d, uint32_t slots)
{
	struct hand_want m = { slots };

	if (slots == 0 || !queue_is_up(d) || d->draining)
		return;
	hand_want_encode(ipc_send_begin(d->queue.chan, HAND_WANT, 0), &m);
	must(ipc_send_end(d->queue.chan, -1), "want");
}

void
queue_pull(struct deliver *d, struct conn *c, uint64_t dest_id,
    uint32_t max_messages, uint32_t max_rcpts)
{
	struct hand_pull m = { dest_id, max_messages, max_rcpts };

	if (!queue_is_up(d))
		return;
	c->pull_req = ++d->next_req;
	LIST_INSERT_HEAD(&d->pulls[c->pull_req % DEST_BUCKETS], c, pulls);
	c->dest->open_pulls++;
	c->asked = max_messages;
	d->n_asked += max_messages;
	hand_pull_encode(
	    ipc_send_begin(d->queue.chan, HAND_PULL, c->pull_req), &m);
	must(ipc_send_end(d->queue.chan, -1), "pull");
}

void
queue_forget_pull(struct deliver *d, struct conn *c)
{
	if (c->pull_req == 0)
		return;
	LIST_REMOVE(c, pulls);
	d->n_asked -= c->asked;
	c->pull_req = 0;
}

static void
send_return(struct deliver *d, const struct mail *mail, bool again_only)
{
	struct hand_return m = { .dest_id = mail->dest_id, .mid = mail->mid };
	size_t i;

	for (i = 0; i < mail->msg.n_rcpts; i++)
		if (!again_only || mail->msg.rcpts[i].again)
			m.rids[m.n_rids++] = mail->msg.rcpts[i].rid;
	if (m.n_rids == 0 || !queue_is_up(d))
		return;
	d->n.returned += m.n_rids;
	hand_return_encode(ipc_send_begin(d->queue.chan, HAND_RETURN, 0), &m);
	must(ipc_send_end(d->queue.chan, -1), "return");
}

void
queue_return(struct deliver *d, const struct mail *mail)
{
	send_return(d, mail, false);
}

void
queue_result(struct deliver *d, const struct mail *mail, uint64_t dcid,
    const char *host, const char *address)
{
	struct hand_result m = { .dest_id = mail->dest_id,
		.mid = mail->mid,
		.dcid = dcid,
		.host = host,
		.address = address };
	size_t i;

	send_return(d, mail, true);
	for (i = 0; i < mail->msg.n_rcpts; i++) {
		const struct session_rcpt *rc = &mail->msg.rcpts[i];
		struct hand_rcpt_result *out = &m.rcpts[m.n_rcpts];

		if (rc->again)
			continue;
		m.n_rcpts++;
		out->rid = rc->rid;
		out->outcome = rc->outcome;
		out->reason = rc->reason;
		out->code = rc->code;
		out->status = rc->status;
		out->reply = rc->reply != NULL ? rc->reply : "";
		out->relayed = rc->relayed;
		d->n.delivered += rc->outcome == OUTCOME_DELIVERED;
		d->n.deferred += rc->outcome == OUTCOME_DEFERRED;
		d->n.failed += rc->outcome == OUTCOME_FAILED;
	}
	if (m.n_rcpts == 0 || !queue_is_up(d))
		return;
	d->n.messages++;
	hand_result_encode(ipc_send_begin(d->queue.chan, HAND_RESULT, 0), &m);
	must(ipc_send_end(d->queue.chan, -1), "result");
}

void
queue_dest_state(struct deliver *d, uint64_t dest_id, enum dest_verdict verdict,
    enum reason reason, const char *status, const char *text, const char *host)
{
	char cut[TEXT_REPLY_MAX + 1];
	struct hand_dest_state m = { dest_id, verdict, reason, status, cut,
		host, 0 };

	(void)snprintf(cut, sizeof(cut), "%s", text);
	if (!queue_is_up(d))
		return;
	hand_dest_state_encode(
	    ipc_send_begin(d->queue.chan, HAND_DEST_STATE, 0), &m);
	must(ipc_send_end(d->queue.chan, -1), "state");
}

void
queue_dest_throttled(
    struct deliver *d, uint64_t dest_id, const char *text, uint32_t wait_ms)
{
	struct hand_dest_state m = { .dest_id = dest_id,
		.verdict = DEST_THROTTLED,
		.reason = REASON_THROTTLED,
		.status = "",
		.text = text,
		.host = "",
		.wait_ms = wait_ms };

	if (!queue_is_up(d))
		return;
	hand_dest_state_encode(
	    ipc_send_begin(d->queue.chan, HAND_DEST_STATE, 0), &m);
	must(ipc_send_end(d->queue.chan, -1), "state");
}

void
queue_release(struct deliver *d, uint64_t dest_id)
{
	struct hand_dest m = { dest_id };

	if (!queue_is_up(d))
		return;
	hand_dest_encode(ipc_send_begin(d->queue.chan, HAND_RELEASE, 0), &m);
	must(ipc_send_end(d->queue.chan, -1), "release");
}

/* ---- DCIDs ---------------------------------------------------------------------------------- */

static void
ask_ids(struct deliver *d)
{
	struct ids_ask m = { ID_DCID, DCID_LEASE };

	if (d->dcid_asked || !queue_is_up(d))
		return;
	d->dcid_asked = true;
	ids_ask_encode(ipc_send_begin(d->queue.chan, IDS_ASK, 0), &m);
	must(ipc_send_end(d->queue.chan, -1), "ids");
}

uint64_t
queue_dcid(struct deliver *d)
{
	if (d->dcid_next == d->dcid_end) {
		d->dcid_next = d->dcid_next2;
		d->dcid_end = d->dcid_end2;
		d->dcid_next2 = d->dcid_end2 = 0;
	}
	if (d->dcid_end - d->dcid_next < DCID_LOW &&
	    d->dcid_next2 == d->dcid_end2)
		ask_ids(d);
	return d->dcid_next == d->dcid_end ? 0 : d->dcid_next++;
}

static struct conn *
waits_for_dcid(struct deliver *d)
{
	struct dest *dst;
	struct conn *c;

	LIST_FOREACH(dst, &d->dests, all)
		LIST_FOREACH(c, &dst->conns, link)
			if (c->state == CONN_DCID)
				return c;
	LIST_FOREACH(c, &d->probes, link)
		if (c->state == CONN_DCID)
			return c;
	return NULL;
}

static int
on_ids(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct queue_peer *p = peer;
	struct deliver *d = p->d;
	struct ids_grant msg;
	struct conn *c;

	(void)m;
	if (ids_grant_decode(rd, &msg) < 0 || msg.kind != ID_DCID ||
	    msg.first == 0 || msg.count == 0 ||
	    msg.first > UINT64_MAX - msg.count || !d->dcid_asked)
		return PE_PROTO;
	d->dcid_asked = false;
	if (d->dcid_next == d->dcid_end) {
		d->dcid_next = msg.first;
		d->dcid_end = msg.first + msg.count;
	} else {
		d->dcid_next2 = msg.first;
		d->dcid_end2 = msg.first + msg.count;
	}
	/* each may end in a failure that frees more than itself */
	while (d->dcid_next != d->dcid_end && (c = waits_for_dcid(d)) != NULL)
		conn_have_dcid(c);
	return 0;
}

/* ---- what comes --------------------------------------------------------------------------------- */

static int
on_offer(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct queue_peer *p = peer;
	struct hand_offer msg;

	(void)m;
	if (hand_offer_decode(rd, &msg) < 0 ||
	    dest_find(p->d, msg.dest_id) != NULL)
		return PE_PROTO;
	dest_offer(p->d, &msg);
	return 0;
}

static int
on_more(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct queue_peer *p = peer;
	struct hand_more msg;

	(void)m;
	if (hand_more_decode(rd, &msg) < 0)
		return PE_PROTO;
	dest_more(p->d, &msg); /* one that crossed our release is dropped */
	return 0;
}

static struct conn *
pulling(struct deliver *d, uint64_t req_id)
{
	struct conn *c;

	LIST_FOREACH(c, &d->pulls[req_id % DEST_BUCKETS], pulls)
		if (c->pull_req == req_id)
			return c;
	return NULL;
}

static int
on_message(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct queue_peer *p = peer;
	struct conn *c = pulling(p->d, m->req_id);
	struct hand_message msg;
	struct mail *mail;
	bool inline_body = m->type == HAND_MESSAGE;
	int fd = m->fd;

	if (hand_message_decode(rd, &msg) < 0 || msg.n_rcpts == 0 ||
	    (inline_body && msg.body_len != msg.size))
		return PE_PROTO;
	m->fd = -1;
	mail = mail_new(&msg, fd);
	if (mail == NULL)
		fatal("out of memory for a message");
	if (fd >= 0) {
		mail->files = &p->d->n_files;
		p->d->n_files++;
	}
	if (c == NULL || c->dest == NULL || c->dest->id != msg.dest_id) {
		/* the connection that pulled it is gone */
		queue_return(p->d, mail);
		mail_free(mail);
		return 0;
	}
	conn_message(c, mail);
	return 0;
}

static int
on_pull_end(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct queue_peer *p = peer;
	struct hand_pull_end msg;
	struct conn *c = pulling(p->d, m->req_id);
	struct dest *dst;

	if (hand_pull_end_decode(rd, &msg) < 0)
		return PE_PROTO;
	dst = dest_find(p->d, msg.dest_id);
	if (dst == NULL || dst->open_pulls == 0)
		return PE_PROTO; /* a destination stays while a pull is open */
	dest_pull_end(dst, msg.ready);
	if (c != NULL) {
		queue_forget_pull(p->d, c);
		conn_pull_end(c);
	}
	return 0;
}

static int
on_close(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct queue_peer *p = peer;
	struct hand_dest msg;
	struct dest *dst;

	(void)m;
	if (hand_dest_decode(rd, &msg) < 0)
		return PE_PROTO;
	dst = dest_find(p->d, msg.dest_id);
	if (dst != NULL)
		dest_close(dst);
	return 0;
}

void
queue_start(struct deliver *d)
{
	d->started = true;
	if (!queue_is_up(d))
		return;
	d->dcid_asked = false; /* an older queue may owe us an answer */
	if (d->dcid_next == d->dcid_end)
		ask_ids(d);
	queue_want(d, DEST_SLOTS);
}

static void
on_up(void *peer)
{
	struct queue_peer *p = peer;

	/* before the last lock is on nothing is taken in */
	if (p->d->started)
		queue_start(p->d);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct queue_peer *p = peer;
	struct deliver *d = p->d;

	ipc_chan_free(p->chan);
	p->chan = NULL;
	/* queue takes what we held as in doubt; going on would send twice */
	dest_drop_all(d);
	if (why != PE_GONE)
		child_peer_broken(d->child, ROLE_QUEUE, p->instance, text);
	deliver_check_done(d);
}

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type            min  max            when     flags   handler */
	{ HAND_OFFER,      26,  1024,          IPC_ANY, 0,      on_offer },
	{ HAND_MORE,       12,  12,            IPC_ANY, 0,      on_more },
	{ HAND_MESSAGE,    64,  IPC_FRAME_MAX, IPC_ANY, 0,      on_message },
	{ HAND_MESSAGE_FD, 64,  IPC_FRAME_MAX, IPC_ANY, IPC_FD, on_message },
	{ HAND_PULL_END,   12,  12,            IPC_ANY, 0,      on_pull_end },
	{ HAND_CLOSE,      8,   8,             IPC_ANY, 0,      on_close },
	{ IDS_GRANT,       13,  13,            IPC_ANY, 0,      on_ids },
};
/* clang-format on */

static const struct ipc_spec spec = {
	.name = "queue",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_up = on_up,
	.on_down = on_down,
};

void
queue_peer_new(struct deliver *d, uint32_t instance, int fd)
{
	struct queue_peer *p = &d->queue;

	if (p->chan != NULL) {
		/* a restarted queue; the end of the old one did not show yet */
		ipc_chan_free(p->chan);
		p->chan = NULL;
		dest_drop_all(d);
	}
	p->instance = instance;
	if (ipc_chan_new(&d->child->hub, fd, &spec, p, &p->chan) < 0) {
		p->chan = NULL;
		log_warn("peer_error", "deliver: no channel to queue");
	}
}

void
queue_peer_close(struct deliver *d)
{
	ipc_chan_free(d->queue.chan);
	d->queue.chan = NULL;
}
