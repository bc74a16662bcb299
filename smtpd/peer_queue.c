/*
 * peer_queue.c - what smtpd asks of the queue, and what the queue may answer.
 *
 * Called by conn_ops.c for each session. Holds the submissions that wait for their
 * answer, the leased numbers, and the line of clients that wait for room. The
 * queue is trusted with mail and with nothing else: an answer that fits no
 * submission of ours breaks the channel. Order of messages: lib/proto/submit.h.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "smtpd/smtpd.h"

enum {
	LEASE_MIN = 1000,
	LEASE_PATIENCE_MS = 10 * 1000, /* then the question was lost */
	LEASE_MAX = 20000,
	LEASE_QUICK_MS = 1000,	   /* used up sooner: ask for more next time */
	BACKLOG_MAX = 1024 * 1024, /* of envelopes waiting to be sent */
};

static void on_room(void *peer);

/* ---- numbers --------------------------------------------------------------- */

static void
ask_ids(struct peer_queue *q, enum id_kind kind)
{
	struct lease *l = &q->leases[kind];
	struct ids_ask m = { kind, 0 };
	int64_t now = clock_mono_ms();

	if ((l->asked && now - l->asked_ms < LEASE_PATIENCE_MS) ||
	    !ipc_chan_is_up(q->chan) || l->left[1] > 0 ||
	    (l->left[0] > 0 && l->left[0] > l->size / 2))
		return;
	if (l->size == 0)
		l->size = LEASE_MIN;
	else if (now - l->asked_ms < LEASE_QUICK_MS && l->size < LEASE_MAX)
		l->size *= 2;
	m.count = l->size;
	ids_ask_encode(ipc_send_begin(q->chan, IDS_ASK, 0), &m);
	if (ipc_send_end(q->chan, -1) < 0)
		return; /* again with the next number that is taken */
	l->asked = true;
	l->asked_ms = now;
}

static bool
have_ids(const struct peer_queue *q, enum id_kind kind)
{
	return q->leases[kind].left[0] > 0;
}

/* Clients are let in when a channel and numbers are there. */
static void
check_ready(struct peer_queue *q)
{
	if (ipc_chan_is_up(q->chan) && have_ids(q, ID_ICID) &&
	    have_ids(q, ID_MID))
		listen_resume(q->d, PAUSE_QUEUE);
	else
		listen_pause(q->d, PAUSE_QUEUE);
}

uint64_t
peer_queue_id(struct peer_queue *q, enum id_kind kind)
{
	struct lease *l = &q->leases[kind];
	uint64_t id = 0;

	if (l->left[0] > 0) {
		id = l->next[0]++;
		l->left[0]--;
	}
	if (l->left[0] == 0) {
		l->next[0] = l->next[1];
		l->left[0] = l->left[1];
		l->left[1] = 0;
	}
	ask_ids(q, kind);
	if (kind == ID_ICID && l->left[0] == 0)
		check_ready(q);
	return id;
}

static int
on_ids_grant(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct peer_queue *q = peer;
	struct ids_grant g;
	struct lease *l;

	(void)m;
	if (ids_grant_decode(rd, &g) < 0 || g.first == 0 ||
	    (g.kind != ID_MID && g.kind != ID_ICID) || !q->leases[g.kind].asked)
		return PE_PROTO;
	l = &q->leases[g.kind];
	l->asked = false;
	if (l->left[0] == 0) {
		l->next[0] = g.first;
		l->left[0] = g.count;
	} else if (l->left[1] == 0) {
		l->next[1] = g.first;
		l->left[1] = g.count;
	} /* else it is one too many, asked for twice; numbers are plenty */
	ask_ids(q, g.kind);
	check_ready(q);
	on_room(q); /* MAIL may wait for a number */
	return 0;
}

/* ---- submissions ------------------------------------------------------------ */

static struct submission_bucket *
bucket_of(struct peer_queue *q, uint64_t mid)
{
	return &q->subs[mid % SUBMISSION_BUCKETS]; /* numbers we chose */
}

/* Out of the table; its session does not know it any more. */
static void
sub_remove(struct peer_queue *q, struct submission *sub)
{
	LIST_REMOVE(sub, link);
	q->n_subs--;
	if (sub->c != NULL)
		sub->c->sub = NULL;
}

static void
sub_free(struct submission *sub)
{
	free(sub->sender);
	free(sub);
}

static int
send_end(struct peer_queue *q)
{
	return ipc_send_end(q->chan, -1);
}

enum session_queue
peer_queue_state(struct peer_queue *q, const char **ret_text)
{
	*ret_text = q->text;
	if (!ipc_chan_is_up(q->chan))
		return SESSION_QUEUE_DOWN;
	return q->accepting ? SESSION_QUEUE_READY : SESSION_QUEUE_REFUSES;
}

bool
peer_queue_envelope_room(struct peer_queue *q)
{
	if (ipc_chan_backlog(q->chan) < BACKLOG_MAX)
		return true;
	ipc_chan_want_room(q->chan);
	return false;
}

size_t
peer_queue_data_room(struct peer_queue *q)
{
	return q->chan == NULL ? 0 : ipc_chan_credit(q->chan);
}

int
peer_queue_begin(struct peer_queue *q, struct conn *c, uint64_t mid,
    const struct submit_begin *m)
{
	struct submission *sub;
	int r;

	assert(c->sub == NULL);
	if (!ipc_chan_is_up(q->chan))
		return PE_GONE;
	sub = calloc(1, sizeof(*sub));
	if (sub == NULL)
		return PE_FULL;
	sub->sender = strdup(m->sender);
	if (sub->sender == NULL) {
		sub_free(sub);
		return PE_FULL;
	}
	submit_begin_encode(ipc_send_begin(q->chan, SUBMIT_BEGIN, mid), m);
	r = send_end(q);
	if (r < 0) {
		sub_free(sub);
		return r;
	}
	sub->mid = mid;
	sub->icid = m->icid;
	sub->n_rcpts = m->n_rcpts;
	sub->c = c;
	LIST_INSERT_HEAD(bucket_of(q, mid), sub, link);
	q->n_subs++;
	c->sub = sub;
	return 0;
}

int
peer_queue_rcpt(
    struct peer_queue *q, struct submission *sub, const struct submit_rcpt *m)
{
	submit_rcpt_encode(ipc_send_begin(q->chan, SUBMIT_RCPT, sub->mid), m);
	return send_end(q);
}

int
peer_queue_data(struct peer_queue *q, struct submission *sub,
    const struct iovec *iov, size_t n)
{
	struct ipc_wr *w =
	    ipc_send_begin_credit(q->chan, SUBMIT_DATA, sub->mid);
	size_t i, len = 0;
	int r;

	for (i = 0; i < n && w->err == 0; i++) {
		w->err = buf_put(w->b, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	r = send_end(q);
	if (r == 0)
		sub->size += len;
	return r;
}

int
peer_queue_commit(
    struct peer_queue *q, struct submission *sub, const struct submit_commit *m)
{
	int r;

	submit_commit_encode(
	    ipc_send_begin(q->chan, SUBMIT_COMMIT, sub->mid), m);
	r = send_end(q);
	if (r == 0)
		sub->committed = true;
	return r;
}

/*
 * Tell the queue of aborts, as far as the channel takes them. One that is
 * dropped would leave half a message there for as long as the channel lives.
 */
static void
say_aborts(struct peer_queue *q)
{
	struct submission *sub;
	int r;

	while ((sub = LIST_FIRST(&q->aborted)) != NULL) {
		(void)ipc_send_begin(q->chan, SUBMIT_ABORT, sub->mid);
		r = send_end(q);
		if (r < 0 && r != PE_GONE) {
			ipc_chan_want_room(q->chan); /* then the rest */
			return;
		}
		LIST_REMOVE(sub, link);
		sub_free(sub);
	}
}

void
peer_queue_abort(struct peer_queue *q, struct submission *sub)
{
	assert(!sub->committed);
	sub_remove(q, sub);
	LIST_INSERT_HEAD(&q->aborted, sub, link);
	say_aborts(q);
	smtpd_check_drained(q->d);
}

void
peer_queue_leave(struct peer_queue *q, struct submission *sub)
{
	(void)q;
	sub->c->sub = NULL;
	sub->c = NULL;
}

static void
log_accepted(const struct submission *sub)
{
	struct log_fields f = { .icid = sub->icid,
		.mid = sub->mid,
		.from = sub->sender,
		.size = sub->size,
		.has_size = true };

	log_event(LOG_INFO, "message_ready", &f,
	    "MID %llu ready %llu bytes from <%s>", (unsigned long long)sub->mid,
	    (unsigned long long)sub->size, LOG_Q(sub->sender));
	log_event(LOG_INFO, "message_queued",
	    &(struct log_fields){ .icid = sub->icid, .mid = sub->mid },
	    "MID %llu queued for delivery", (unsigned long long)sub->mid);
}

static void
log_refused(const struct submission *sub, const struct submit_done *done)
{
	log_event(LOG_WARNING, "message_refused",
	    &(struct log_fields){ .icid = sub->icid,
		.mid = sub->mid,
		.status = done->enhanced,
		.reason = done->text },
	    "MID %llu not taken by the queue: %u %s %s",
	    (unsigned long long)sub->mid, done->code, done->enhanced,
	    LOG_Q(done->text));
}

static int
on_done(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct peer_queue *q = peer;
	struct smtpd *d = q->d;
	struct submit_done done;
	struct submission *sub;
	struct conn *c;

	if (submit_done_decode(rd, &done) < 0)
		return PE_PROTO;
	LIST_FOREACH(sub, bucket_of(q, m->req_id), link)
		if (sub->mid == m->req_id)
			break;
	if (sub == NULL)
		return 0; /* a refusal that crossed our ABORT */
	if (done.result == SUBMIT_OK && !sub->committed)
		return PE_PROTO;
	c = sub->c;
	sub_remove(q, sub);
	if (done.result == SUBMIT_OK) {
		d->stats.messages++;
		d->stats.recipients += sub->n_rcpts;
		d->stats.bytes += sub->size;
		log_accepted(sub);
	} else {
		d->stats.not_accepted++;
		log_refused(sub, &done);
	}
	if (c != NULL) {
		session_submit_done(c->s, sub->mid, &done);
		sub_free(sub);
		conn_turn(c);
	} else {
		sub_free(sub);
	}
	smtpd_check_drained(d);
	return 0;
}

/* ---- room --------------------------------------------------------------------- */

void
peer_queue_wait(struct peer_queue *q, struct conn *c)
{
	if (c->in_room_line)
		return;
	c->in_room_line = true;
	TAILQ_INSERT_TAIL(&q->waiting, c, room_link);
	q->n_waiting++;
}

void
peer_queue_unwait(struct peer_queue *q, struct conn *c)
{
	if (!c->in_room_line)
		return;
	c->in_room_line = false;
	TAILQ_REMOVE(&q->waiting, c, room_link);
	q->n_waiting--;
}

/* Everyone in line once, in order; who still finds no room is last again. */
static void
on_room(void *peer)
{
	struct peer_queue *q = peer;
	size_t n = q->n_waiting;
	struct conn *c;

	say_aborts(q);
	while (n-- > 0 && (c = TAILQ_FIRST(&q->waiting)) != NULL) {
		peer_queue_unwait(q, c);
		conn_turn(c);
	}
}

/* ---- the channel ---------------------------------------------------------------- */

static int
on_queue_state(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct peer_queue *q = peer;
	struct queue_state st;

	(void)m;
	if (queue_state_decode(rd, &st) < 0)
		return PE_PROTO;
	if (q->accepting != st.accepting)
		log_info("queue_state", "smtpd: the queue %s new messages%s%s",
		    st.accepting ? "takes" : "does not take",
		    st.text[0] != '\0' ? ": " : "", LOG_Q(st.text));
	q->accepting = st.accepting;
	(void)snprintf(q->text, sizeof(q->text), "%s", st.text);
	return 0;
}

static void
on_up(void *peer)
{
	struct peer_queue *q = peer;

	q->accepting = true; /* QUEUE_STATE follows */
	q->text[0] = '\0';
	ask_ids(q, ID_MID);
	ask_ids(q, ID_ICID);
	check_ready(q);
}

/* The channel is no more: tell everyone who put hope in it. */
static void
lost(struct peer_queue *q)
{
	struct submission *sub;
	struct conn *c;
	size_t i;

	ipc_chan_free(q->chan);
	q->chan = NULL;
	/* leased numbers stay ours: the store knows them as given away */
	for (i = 0; i < ID_KINDS; i++)
		q->leases[i].asked = false;
	check_ready(q);
	while ((sub = LIST_FIRST(&q->aborted)) != NULL) {
		LIST_REMOVE(sub, link); /* it forgets them all */
		sub_free(sub);
	}
	for (i = 0; i < SUBMISSION_BUCKETS; i++) {
		while ((sub = LIST_FIRST(&q->subs[i])) != NULL) {
			c = sub->c;
			sub_remove(q, sub);
			if (sub->committed)
				log_event(LOG_WARNING, "message_in_doubt",
				    &(struct log_fields){
					.icid = sub->icid, .mid = sub->mid },
				    "MID %llu in doubt: the queue went before "
				    "it answered",
				    (unsigned long long)sub->mid);
			sub_free(sub);
			if (c == NULL)
				continue;
			session_queue_lost(c->s);
			conn_turn(c);
		}
	}
	on_room(q);
	smtpd_check_drained(q->d);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct peer_queue *q = peer;

	q->down_count++;
	if (why != PE_GONE)
		child_peer_broken(q->d->child, ROLE_QUEUE, 0, text);
	else if (!q->d->draining)
		log_warn("queue_gone",
		    "smtpd: the queue is gone: clients wait until it is back");
	lost(q);
}

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type          min  max   when     flags  handler */
	{ SUBMIT_DONE,    9,  1024, IPC_ANY, 0,     on_done },
	{ IDS_GRANT,     13,    13, IPC_ANY, 0,     on_ids_grant },
	{ QUEUE_STATE,    4,  1024, IPC_ANY, 0,     on_queue_state },
};
/* clang-format on */

static const struct ipc_spec spec = {
	.name = "queue",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_up = on_up,
	.on_down = on_down,
	.on_room = on_room,
};

void
peer_queue_init(struct peer_queue *q, struct smtpd *d)
{
	q->d = d;
	TAILQ_INIT(&q->waiting);
}

void
peer_queue_set(struct peer_queue *q, int fd)
{
	int r;

	if (q->chan != NULL)
		lost(q); /* a new queue: the old one is no more */
	r = ipc_chan_new(&q->d->child->hub, fd, &spec, q, &q->chan);
	if (r < 0)
		fatal("channel to the queue: %s", err_str(r));
}
