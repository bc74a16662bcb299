/*
 * peer_smtpd.c - what smtpd may ask of us: submit messages, lease ids.
 *
 * smtpd parses bytes from the network and may be taken over. What it says is
 * checked against its lease, the order of submit.h, and our own count of bytes;
 * it can never touch a message that is already ours. Memory is bounded:
 * envelopes up to a sum; small bodies up to a sum, then files; when the writer falls behind, credit is held
 * back and the clients slow down.
 */
#include "queue/queue.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/mail/addr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct qsmtpd {
	LIST_ENTRY(qsmtpd) link;
	struct queue *q;
	uint32_t instance;
	struct ipc_chan *chan;
	LIST_HEAD(qintake_list, qintake) intakes;
	uint32_t n_intakes;
};

/* One message on its way in. */
struct qintake {
	uint64_t mid;
	struct qintake *hash_next;
	LIST_ENTRY(qintake) link;
	struct qsmtpd *from; /* NULL: gone */
	struct op_accept *op;
	uint32_t want_rcpts;
	uint32_t cap_rcpts;
	size_t envelope; /* its share of envelope_bytes */
	uint64_t size;
	struct buf body;
	int fd;	       /* the body file, or -1 */
	bool has_file; /* counted; fd may be the writer's by now */
	bool in_writer;
	size_t committing;
};

/* ---- the table ------------------------------------------------------------------- */

static size_t
slot(const struct queue *q, uint64_t mid)
{
	return (size_t)(mid * 0x9e3779b97f4a7c15ULL >> 20) &
	    (q->intakes_cap - 1);
}

static struct qintake *
find(struct queue *q, uint64_t mid)
{
	struct qintake *in;

	if (q->intakes_cap == 0)
		return NULL;
	for (in = q->intakes[slot(q, mid)]; in != NULL; in = in->hash_next)
		if (in->mid == mid)
			return in;
	return NULL;
}

bool
queue_intake_open(struct queue *q, uint64_t mid)
{
	return find(q, mid) != NULL;
}

static bool
table_grow(struct queue *q)
{
	size_t i, old_cap = q->intakes_cap;
	struct qintake **old = q->intakes, **more, *in;

	if (q->n_intakes < old_cap)
		return true;
	more = calloc(old_cap == 0 ? 256 : old_cap * 2, sizeof(*more));
	if (more == NULL)
		return old_cap > 0;
	q->intakes = more;
	q->intakes_cap = old_cap == 0 ? 256 : old_cap * 2;
	for (i = 0; i < old_cap; i++)
		while ((in = old[i]) != NULL) {
			struct qintake **to;

			old[i] = in->hash_next;
			to = &q->intakes[slot(q, in->mid)];
			in->hash_next = *to;
			*to = in;
		}
	free(old);
	return true;
}

static void
op_free(struct op_accept *op)
{
	if (op == NULL)
		return;
	arena_done(&op->arena);
	free(op->rcpts);
	free(op);
}

static void
intake_free(struct queue *q, struct qintake *in, bool remove_file)
{
	struct qintake **at;

	for (at = &q->intakes[slot(q, in->mid)]; *at != in;)
		at = &(*at)->hash_next;
	*at = in->hash_next;
	q->n_intakes--;
	if (in->from != NULL) {
		LIST_REMOVE(in, link);
		in->from->n_intakes--;
	}
	q->envelope_bytes -= in->envelope;
	q->inline_bytes -= buf_len(&in->body);
	q->committing_bytes -= in->committing;
	if (in->fd >= 0)
		(void)close(in->fd);
	q->n_files -= in->has_file;
	if (remove_file)
		(void)body_unlink(q->store->dir_fd, in->mid); /* or sweep */
	buf_done(&in->body);
	op_free(in->op);
	free(in);
}

static void
send_done(struct qsmtpd *p, uint64_t mid, enum submit_result result,
    uint16_t code, const char *enhanced, const char *text)
{
	struct submit_done m = { result, code, enhanced, text };

	if (p == NULL || !ipc_chan_is_up(p->chan))
		return;
	submit_done_encode(ipc_send_begin(p->chan, SUBMIT_DONE, mid), &m);
	(void)ipc_send_end(p->chan, -1); /* full: smtpd's deadline tells */
}

/* Not now; nothing is kept. The submission is closed for smtpd. */
static int
refuse(
    struct qintake *in, uint16_t code, const char *enhanced, const char *text)
{
	struct queue *q = in->from->q;

	q->stats.accepts_refused++;
	send_done(in->from, in->mid,
	    code >= 500 ? SUBMIT_REFUSED : SUBMIT_LATER, code, enhanced, text);
	intake_free(q, in, in->fd >= 0);
	return 0;
}

/* No control bytes: these texts come into notices, logs and other sessions. */
static bool
clean(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

/* ---- BEGIN and RCPT ------------------------------------------------------------------ */

static int
copy_envelope(struct op_accept *op, const struct submit_begin *m)
{
	struct rec_msg *r = &op->msg;

	r->sender = arena_strdup(&op->arena, m->sender);
	r->envid = arena_strdup(&op->arena, m->envid);
	r->gateway = arena_strdup(&op->arena, m->gateway);
	r->listener = arena_strdup(&op->arena, m->listener);
	r->profile = arena_strdup(&op->arena, m->profile);
	r->client = arena_strdup(&op->arena, m->client);
	r->message_id = "";
	r->ret = (uint8_t)m->ret;
	r->flags = m->flags;
	r->icid = m->icid;
	return r->sender == NULL || r->envid == NULL || r->gateway == NULL ||
		r->listener == NULL || r->profile == NULL || r->client == NULL
	    ? -ENOMEM
	    : 0;
}

static void
count_envelope(struct queue *q, struct qintake *in)
{
	size_t now = sizeof(*in) + sizeof(*in->op) + in->op->arena.size +
	    (size_t)in->cap_rcpts * sizeof(*in->op->rcpts);

	q->envelope_bytes += now - in->envelope;
	in->envelope = now;
}

static struct qintake *
intake_new(struct qsmtpd *p, uint64_t mid, const struct submit_begin *m)
{
	struct queue *q = p->q;
	struct qintake *in, **to;
	struct op_accept *op;

	if (!table_grow(q))
		return NULL;
	in = calloc(1, sizeof(*in));
	op = calloc(1, sizeof(*op));
	if (in == NULL || op == NULL || copy_envelope(op, m) < 0) {
		op_free(op);
		free(in);
		return NULL;
	}
	op->mid = mid;
	op->body_fd = -1;
	op->owner = in;
	in->op = op;
	in->mid = mid;
	in->from = p;
	in->fd = -1;
	in->want_rcpts = m->n_rcpts;
	buf_init(&in->body, HAND_INLINE_MAX);
	to = &q->intakes[slot(q, mid)];
	in->hash_next = *to;
	*to = in;
	q->n_intakes++;
	LIST_INSERT_HEAD(&p->intakes, in, link);
	p->n_intakes++;
	count_envelope(q, in);
	return in;
}

static int
on_begin(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qsmtpd *p = peer;
	struct queue *q = p->q;
	struct submit_begin m;
	struct qintake *in;

	if (submit_begin_decode(rd, &m) < 0 || m.n_rcpts == 0 ||
	    m.gateway[0] == '\0' || (m.flags & MSG_GENERATED) != 0 ||
	    !clean(m.sender) || !clean(m.envid) || !clean(m.gateway) ||
	    !queue_mid_allowed(q, im->req_id, p->instance) ||
	    find(q, im->req_id) != NULL)
		return PE_PROTO;
	if (!q->accepting || p->n_intakes >= INTAKES_MAX ||
	    m.n_rcpts > INTAKE_RCPTS_MAX ||
	    q->envelope_bytes > INTAKE_ENVELOPES) {
		q->stats.accepts_refused++;
		send_done(p, im->req_id, SUBMIT_LATER, 452, "4.3.1",
		    q->accepting ? "too much at one time" : q->state_text);
		return 0;
	}
	/* it may be a little ahead or behind in settings, but names of its own
	 * making would stay in memory and in the store */
	if (conf_gateway_lookup(q->conf, m.gateway) == NULL ||
	    (m.profile[0] != '\0' &&
		conf_profile_lookup(q->conf, m.profile) == NULL)) {
		q->stats.accepts_refused++;
		send_done(p, im->req_id, SUBMIT_LATER, 451, "4.3.5",
		    "settings changed meanwhile");
		return 0;
	}
	in = intake_new(p, im->req_id, &m);
	if (in == NULL) {
		send_done(
		    p, im->req_id, SUBMIT_LATER, 452, "4.3.1", "out of memory");
		return 0;
	}
	return 0;
}

static int
on_rcpt(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qsmtpd *p = peer;
	struct qintake *in = find(p->q, im->req_id);
	struct submit_rcpt m;
	struct op_accept *op;
	struct op_rcpt *more, *rc;

	if (submit_rcpt_decode(rd, &m) < 0 || !clean(m.address) ||
	    !clean(m.domain) || !clean(m.orcpt))
		return PE_PROTO;
	if (in == NULL)
		return 0; /* refused already */
	op = in->op;
	if (in->from != p || in->in_writer || m.rid != op->n_rcpts ||
	    op->n_rcpts >= in->want_rcpts || in->size > 0)
		return PE_PROTO;
	if (p->q->envelope_bytes > INTAKE_ENVELOPES)
		return refuse(in, 452, "4.3.1", "too much at one time");
	/* powers of two: the announced number is only a claim */
	if (op->n_rcpts == in->cap_rcpts) {
		uint32_t cap = op->n_rcpts == 0 ? 1 : op->n_rcpts * 2;

		more = realloc(op->rcpts, cap * sizeof(*more));
		if (more == NULL)
			return refuse(in, 452, "4.3.1", "out of memory");
		op->rcpts = more;
		in->cap_rcpts = cap;
	}
	rc = &op->rcpts[op->n_rcpts];
	memset(rc, 0, sizeof(*rc));
	rc->rid = m.rid;
	rc->notify = m.notify;
	rc->address = arena_strdup(&op->arena, m.address);
	rc->domain = arena_strdup(&op->arena, m.domain);
	rc->orcpt = arena_strdup(&op->arena, m.orcpt);
	if (rc->address == NULL || rc->domain == NULL || rc->orcpt == NULL)
		return refuse(in, 452, "4.3.1", "out of memory");
	op->n_rcpts++;
	count_envelope(p->q, in);
	return 0;
}

/* ---- DATA ---------------------------------------------------------------------------- */

static int
write_file(struct qintake *in, struct queue *q, const void *data, size_t len)
{
	const uint8_t *p = data;
	ssize_t n;
	int r;

	r = store_point(q->store, POINT_BODY_WRITE);
	if (r < 0)
		return r;
	while (len > 0) {
		n = write(in->fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
to_file(struct qintake *in, struct queue *q)
{
	int r;

	if (q->n_files >= q->files_max)
		return -EMFILE;
	r = body_create(q->store->dir_fd, in->mid, &in->fd);
	if (r < 0)
		return r;
	in->has_file = true;
	q->n_files++;
	r = write_file(in, q, buf_data(&in->body), buf_len(&in->body));
	q->inline_bytes -= buf_len(&in->body);
	buf_done(&in->body);
	return r;
}

static int
add_data(struct qintake *in, struct queue *q, const void *data, size_t len)
{
	size_t inline_max = (size_t)q->conf->queue.inline_body_max;
	int r;

	if (inline_max > HAND_INLINE_MAX)
		inline_max = HAND_INLINE_MAX; /* what fits into one frame */
	if (in->fd < 0 &&
	    (buf_len(&in->body) + len > inline_max ||
		q->inline_bytes + len > INTAKE_INLINE_BYTES)) {
		r = to_file(in, q);
		if (r < 0)
			return r;
	}
	if (in->fd >= 0)
		return write_file(in, q, data, len);
	r = buf_put(&in->body, data, len);
	if (r == 0)
		q->inline_bytes += len;
	return r;
}

static int
on_data(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qsmtpd *p = peer;
	struct queue *q = p->q;
	struct qintake *in = find(q, im->req_id);
	int r;

	if (in == NULL)
		return 0; /* refused already; what was under way is dropped */
	if (in->from != p || in->in_writer || in->op->n_rcpts != in->want_rcpts)
		return PE_PROTO;
	in->size += im->len;
	r = add_data(in, q, rd->p, im->len);
	if (r == 0)
		return 0;
	(void)queue_store_failed(q, r);
	if (r == -EEXIST)
		return refuse(in, 451, "4.3.0", "id in use");
	return refuse(in, 452, "4.3.1",
	    queue_no_fds(q, r) ? "too many large messages at once"
			       : "no room for the message");
}

/* ---- COMMIT ---------------------------------------------------------------------------- */

static void
accept_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct op_accept *op = (struct op_accept *)job;
	struct qintake *in = op->owner;
	int r = job->result;
	bool file = op->body == NULL && op->body_len > 0;

	/* prepare closed it on every path but a cancelled one */
	if (op->body_fd >= 0)
		(void)close(op->body_fd);
	if (r == 0) {
		/* on disk and synced: from here on the message is ours */
		send_done(in->from, in->mid, SUBMIT_OK, 250, "2.0.0", "queued");
		(void)queue_store_failed(q, 0);
		queue_accepted(q, op);
	} else {
		q->stats.accepts_refused++;
		if (queue_store_failed(q, r))
			send_done(in->from, in->mid, SUBMIT_LATER, 452, "4.3.1",
			    q->state_text);
		else if (queue_no_fds(q, r))
			send_done(in->from, in->mid, SUBMIT_LATER, 452, "4.3.1",
			    "too many large messages at once");
		else
			send_done(in->from, in->mid, SUBMIT_LATER, 451, "4.3.0",
			    "the message could not be stored");
	}
	/* the file is ours: it was made with O_EXCL */
	intake_free(q, in, r < 0 && file);
	queue_intake_flow(q);
	queue_drain_check(q);
}

static const struct job_type accept_job = {
	.name = "accept",
	.begin = op_accept_begin,
	.prepare = op_accept_prepare,
	.run = op_accept_run,
	.done = accept_done,
};

/* Each recipient's lifetime, from the profile that applies to it. */
static void
set_expiry(struct queue *q, struct op_accept *op, int64_t now_s)
{
	const struct conf_profile *profile = NULL;
	const char *last = NULL;
	uint32_t i;

	for (i = 0; i < op->n_rcpts; i++) {
		struct op_rcpt *rc = &op->rcpts[i];

		if (last == NULL || strcmp(last, rc->domain) != 0)
			profile = queue_profile(q, rc->domain, op->msg.profile);
		last = rc->domain;
		rc->expires_s = now_s + profile->max_queue_time_s;
	}
}

static int
on_commit(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qsmtpd *p = peer;
	struct queue *q = p->q;
	struct qintake *in = find(q, im->req_id);
	struct submit_commit m;
	struct op_accept *op;

	if (submit_commit_decode(rd, &m) < 0 || (m.flags & MSG_GENERATED) != 0)
		return PE_PROTO;
	if (in == NULL)
		return 0; /* refused already */
	op = in->op;
	if (in->from != p || in->in_writer || m.size != in->size ||
	    op->n_rcpts != in->want_rcpts)
		return PE_PROTO;
	op->msg.flags = m.flags;
	op->msg.size = m.size;
	op->msg.accepted_ms = clock_now_ms();
	op->msg.message_id = arena_strdup(&op->arena, m.message_id);
	if (op->msg.message_id == NULL)
		return refuse(in, 452, "4.3.1", "out of memory");
	op->due_s = op->msg.accepted_ms / 1000;
	set_expiry(q, op, op->due_s);
	op->job.type = &accept_job;
	op->body_len = (size_t)in->size;
	op->body = in->fd < 0 ? buf_data(&in->body) : NULL;
	if (in->fd < 0 && op->body == NULL)
		op->body = (const uint8_t *)"";
	op->body_fd = in->fd;
	in->fd = -1; /* the writer's, to sync and close */
	in->in_writer = true;
	in->committing = op->body_fd < 0 ? buf_len(&in->body) : 4096;
	q->committing_bytes += in->committing;
	writer_put(q->writer, &op->job);
	queue_intake_flow(q);
	return 0;
}

static int
on_abort(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qsmtpd *p = peer;
	struct qintake *in = find(p->q, im->req_id);

	if (ipc_rd_end(rd) < 0)
		return PE_PROTO;
	if (in == NULL)
		return 0;
	if (in->from != p || in->in_writer)
		return PE_PROTO;
	intake_free(p->q, in, in->fd >= 0);
	queue_drain_check(p->q);
	return 0;
}

static int
on_ids(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct qsmtpd *p = peer;
	struct ids_ask m;

	if (ids_ask_decode(rd, &m) < 0)
		return PE_PROTO;
	return queue_ids_ask(p->q, &p->chan, p->instance, true, im->req_id, &m);
}

/* ---- flow and state ------------------------------------------------------------------- */

void
queue_intake_flow(struct queue *q)
{
	bool hold = q->committing_bytes > INTAKE_QUEUED_MAX ||
	    (q->intake_held && q->committing_bytes > INTAKE_QUEUED_MAX / 2);
	struct qsmtpd *p;

	if (hold == q->intake_held)
		return;
	q->intake_held = hold;
	LIST_FOREACH(p, &q->smtpds, link)
		if (p->chan != NULL)
			ipc_chan_hold(p->chan, hold);
}

static void
send_state(struct qsmtpd *p)
{
	struct queue_state m = { p->q->accepting, p->q->state_text };

	if (!ipc_chan_is_up(p->chan))
		return;
	queue_state_encode(ipc_send_begin(p->chan, QUEUE_STATE, 0), &m);
	(void)ipc_send_end(p->chan, -1); /* full or down: BEGIN is refused */
}

void
queue_tell_state(struct queue *q)
{
	struct qsmtpd *p;

	LIST_FOREACH(p, &q->smtpds, link)
		send_state(p);
}

/* ---- the channel ------------------------------------------------------------------------- */

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type            min  max             when     flags       handler */
	{ SUBMIT_BEGIN,    42,  8192,           IPC_ANY, 0,          on_begin },
	{ SUBMIT_RCPT,     14,  4096,           IPC_ANY, 0,          on_rcpt },
	{ SUBMIT_DATA,     1,   IPC_WINDOW / 2, IPC_ANY, IPC_CREDIT, on_data },
	{ SUBMIT_COMMIT,   18,  8192,           IPC_ANY, 0,          on_commit },
	{ SUBMIT_ABORT,    0,   0,              IPC_ANY, 0,          on_abort },
	{ IDS_ASK,         5,   5,              IPC_ANY, 0,          on_ids },
};
/* clang-format on */

static void
on_up(void *peer)
{
	send_state(peer);
}

static void
smtpd_free(struct qsmtpd *p)
{
	struct queue *q = p->q;
	struct qintake *in;

	queue_ids_forget(q, &p->chan);
	while ((in = LIST_FIRST(&p->intakes)) != NULL) {
		if (in->in_writer) {
			/* it may get in without anybody being told: the client
			 * got no answer and sends again, as SMTP has it */
			LIST_REMOVE(in, link);
			in->from = NULL;
		} else {
			intake_free(q, in, in->fd >= 0);
		}
	}
	LIST_REMOVE(p, link);
	ipc_chan_free(p->chan);
	free(p);
}

static void
on_down(void *peer, int why, const char *text)
{
	struct qsmtpd *p = peer;
	struct queue *q = p->q;

	if (why != PE_GONE && q->on_broken != NULL)
		q->on_broken(q->arg, ROLE_SMTPD, p->instance, text);
	smtpd_free(p);
	queue_drain_check(q);
}

static const struct ipc_spec spec = {
	.name = "smtpd",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_up = on_up,
	.on_down = on_down,
};

int
queue_peer_smtpd(struct queue *q, uint32_t instance, int fd)
{
	struct qsmtpd *p = calloc(1, sizeof(*p));
	int r;

	if (p == NULL) {
		(void)close(fd);
		return -ENOMEM;
	}
	p->q = q;
	p->instance = instance;
	LIST_INIT(&p->intakes);
	r = ipc_chan_new(q->hub, fd, &spec, p, &p->chan);
	if (r < 0) {
		free(p);
		return r;
	}
	LIST_INSERT_HEAD(&q->smtpds, p, link);
	if (q->intake_held)
		ipc_chan_hold(p->chan, true);
	return 0;
}

void
queue_peers_close(struct queue *q)
{
	while (!LIST_EMPTY(&q->smtpds))
		smtpd_free(LIST_FIRST(&q->smtpds));
}
