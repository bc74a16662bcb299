/*
 * notice.c - delivery status notices: which messages need one now, and the way
 * of the notice into the store.
 *
 * The text is made here from a snapshot; the transaction checks that nothing
 * changed meanwhile, puts the notice in and lets the told recipients go, all or
 * nothing. A crash before that commit only means that it is written later.
 */
#include "queue/queue.h"

#include "queue/bounce.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/mail/addr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The largest max_copy, and NOTICE_RCPTS_MAX recipients whose servers answered
 * with nothing but bytes to be escaped: 15 KB each. */
enum { NOTICE_MAX = 24 << 20 };

/* A notice on its way: the job, its message, its bytes. */
struct notice {
	struct op_notice op;
	struct op_accept dsn;
	struct op_rcpt rcpt;
	struct op_noticed told[NOTICE_RCPTS_MAX];
	struct bounce_rcpt rcpts[NOTICE_RCPTS_MAX];
	struct buf text;
	bool has_dsn, in_file;
	const char *why_not; /* told to nobody, because */
};

/* ---- one at a time per message ------------------------------------------------------ */

static bool
is_noticing(const struct queue *q, uint64_t mid)
{
	uint32_t i;

	for (i = 0; i < q->n_noticing; i++)
		if (q->noticing[i] == mid)
			return true;
	return false;
}

static void
noticing_end(struct queue *q, uint64_t mid)
{
	uint32_t i;

	for (i = 0; i < q->n_noticing; i++)
		if (q->noticing[i] == mid) {
			q->noticing[i] = q->noticing[--q->n_noticing];
			return;
		}
}

static void
notice_free(struct notice *n)
{
	if (n->dsn.body_fd >= 0)
		(void)close(n->dsn.body_fd);
	arena_done(&n->op.arena);
	arena_done(&n->dsn.arena);
	buf_done(&n->text);
	free(n);
}

/* ---- the commit ------------------------------------------------------------------------ */

static void
log_notice(const struct notice *n)
{
	const struct op_accept *a = &n->dsn;

	if (!n->has_dsn && n->why_not == NULL)
		return; /* there was nothing to tell any more */
	if (!n->has_dsn) {
		log_event(LOG_WARNING, "notice_undeliverable",
		    &(struct log_fields){ .mid = n->op.mid },
		    "MID %" PRIu64 ": no notice can be sent: %s", n->op.mid,
		    n->why_not);
		return;
	}
	log_event(LOG_INFO, "start", &(struct log_fields){ .mid = a->mid },
	    "Start MID %" PRIu64 " ICID 0", a->mid);
	log_event(LOG_INFO, "generated", &(struct log_fields){ .mid = a->mid },
	    "MID %" PRIu64 " was generated based on MID %" PRIu64 " by bounce",
	    a->mid, n->op.mid);
	log_event(LOG_INFO, "from",
	    &(struct log_fields){ .mid = a->mid, .from = "" },
	    "MID %" PRIu64 " ICID 0 From: <>", a->mid);
	log_event(LOG_INFO, "to",
	    &(struct log_fields){
		.mid = a->mid, .has_rid = true, .to = a->rcpts[0].address },
	    "MID %" PRIu64 " ICID 0 RID 0 To: <%s>", a->mid,
	    LOG_Q(a->rcpts[0].address));
	log_event(LOG_INFO, "ready",
	    &(struct log_fields){
		.mid = a->mid, .has_size = true, .size = a->msg.size },
	    "MID %" PRIu64 " ready %" PRIu64 " bytes from <>", a->mid,
	    a->msg.size);
	log_event(LOG_INFO, "queued", &(struct log_fields){ .mid = a->mid },
	    "MID %" PRIu64 " queued for delivery", a->mid);
}

static void
notice_done(void *arg, struct job *job)
{
	struct queue *q = arg;
	struct notice *n = (struct notice *)job;
	uint64_t mid = n->op.mid;
	int r = job->result;

	noticing_end(q, mid);
	/* not committed: its entry in the store stands, and it is written anew */
	if (n->in_file && (r < 0 || n->op.ret_stale))
		(void)body_unlink(q->store->dir_fd, n->dsn.mid);
	if (queue_store_failed(q, r)) {
		notice_free(n);
		return;
	}
	if (r == PE_CORRUPT || r == PE_NOT_FOUND)
		queue_set_aside(q, mid, DB_MSG, NULL, false, "at its notice");
	else if (r == 0 && !n->op.ret_stale) {
		log_notice(n);
		if (n->has_dsn)
			queue_accepted(q, &n->dsn);
	}
	notice_free(n);
	if (r == 0 && !q->closing)
		queue_notices(q); /* else with the next tick */
	queue_drain_check(q);
}

static int
notice_prepare(struct writer *w, struct job *job)
{
	struct notice *n = (struct notice *)job;

	return n->has_dsn ? op_accept_prepare(w, &n->dsn.job) : 0;
}

static const struct job_type notice_job = {
	.name = "notice",
	.prepare = notice_prepare,
	.run = op_notice_run,
	.done = notice_done,
};

/* ---- gathering --------------------------------------------------------------------------- */

static int
add_rcpt(struct notice *n, uint32_t rid, const struct rec_rcpt *rc)
{
	struct bounce_rcpt *b = &n->rcpts[n->op.n];
	struct arena *a = &n->op.arena;

	memset(b, 0, sizeof(*b));
	b->action = rc->state == RCPT_QUEUED ? BOUNCE_DELAYED
	    : rc->state == RCPT_RELAYED	     ? BOUNCE_RELAYED
					     : BOUNCE_FAILED;
	b->expired = rc->state == RCPT_EXPIRED;
	b->reason = (enum reason)rc->reason;
	b->code = rc->code;
	b->last_s = rc->last_s;
	b->until_s = rc->expires_s;
	b->address = arena_strdup(a, rc->address);
	b->orcpt = arena_strdup(a, rc->orcpt);
	b->status = arena_strdup(a, rc->status);
	b->reply = arena_strdup(a, rc->reply);
	b->host = arena_strdup(a, rc->host);
	if (b->address == NULL || b->orcpt == NULL || b->status == NULL ||
	    b->reply == NULL || b->host == NULL)
		return -ENOMEM;
	n->told[n->op.n].rid = rid;
	n->told[n->op.n].delayed = rc->state == RCPT_QUEUED;
	n->op.n++;
	return 0;
}

/* All that ended, and all that a delay is to be told of; the profile is that
 * of the first. */
static int
gather(struct queue *q, struct sview *v, struct notice *n,
    const struct rec_msg *m, const struct conf_profile **ret_profile)
{
	struct rec_rcpt rc;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t rid;
	int r;

	key_rcpt(&k, n->op.mid, 0);
	r = siter_first(&it, v->txn, v->st, DB_RCPT, &k);
	for (; r == 0 && n->op.n < NOTICE_RCPTS_MAX; r = siter_next(&it)) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &id, &rid) < 0 ||
		    id != n->op.mid)
			break;
		r = rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc);
		if (r < 0)
			break;
		if (rc.state == RCPT_QUEUED && !rc.delay_pending)
			continue;
		if (n->op.n == 0)
			*ret_profile = queue_profile(q, rc.domain, m->profile);
		r = add_rcpt(n, rid, &rc);
		if (r < 0)
			break;
	}
	siter_end(&it);
	return r == PE_NOT_FOUND ? 0 : r;
}

/* What of the original comes along: DSN-26, RTLS-12, max_copy. */
static bool
wants_full(const struct rec_msg *m, const struct conf_profile *profile,
    const struct notice *n)
{
	uint32_t i;
	bool failed = false;

	for (i = 0; i < n->op.n; i++)
		failed = failed || n->rcpts[i].action == BOUNCE_FAILED;
	if (!failed || (m->flags & MSG_REQUIRETLS) != 0 ||
	    m->ret == DSN_RET_HDRS || m->size > profile->max_copy)
		return false;
	/* nobody asked for it, and its way back may not take 8 bits */
	if (m->ret == DSN_RET_NONE && (m->flags & MSG_8BIT) != 0)
		return false;
	return true;
}

/* Up to the end of a line at or before max. */
static size_t
cut_at_line(const uint8_t *p, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max > 0 && p[max - 1] != '\n')
		max--;
	return max;
}

static int
format_with(struct notice *n, struct bounce *b, const uint8_t *body, size_t len,
    struct bounce_out *ret)
{
	size_t head;

	b->original = body;
	b->original_len = len;
	if (!b->full) {
		head = bounce_header_len(
		    body, cut_at_line(body, len, BOUNCE_HEADERS_MAX));
		b->original_len = head;
	}
	return bounce_format(&n->text, b, ret);
}

static int
format_from_file(struct queue *q, struct notice *n, struct bounce *b,
    const struct rec_msg *m, struct bounce_out *ret)
{
	uint8_t *mem;
	size_t want = m->size < BOUNCE_HEADERS_MAX + 1 ? (size_t)m->size
						       : BOUNCE_HEADERS_MAX + 1;
	ssize_t got;
	int fd, r;

	if (b->full)
		want = (size_t)m->size;
	r = store_body_open(q->store, n->op.mid, m->size, &fd);
	if (r < 0)
		return r;
	mem = malloc(want + 1);
	if (mem == NULL) {
		(void)close(fd);
		return -ENOMEM;
	}
	got = pread(fd, mem, want, 0);
	r = got < 0 ? -errno : format_with(n, b, mem, (size_t)got, ret);
	free(mem);
	(void)close(fd);
	return r;
}

static int
format_text(struct queue *q, struct sview *v, struct notice *n,
    struct bounce *b, const struct rec_msg *m, struct bounce_out *ret)
{
	struct key k;
	MDB_val val;
	int r;

	if (m->body == REC_BODY_FILE)
		r = format_from_file(q, n, b, m, ret);
	else {
		key_u64(&k, n->op.mid);
		r = sview_get(v, DB_BODY, &k, &val);
		if (r == 0)
			r = format_with(n, b, val.mv_data, val.mv_size, ret);
	}
	if (r == 0 || r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return r;
	/* the body is lost, or there is no room for it; the sender learns what
	 * happened all the same, and the notices behind this one go on */
	b->full = false;
	buf_reset(&n->text, NOTICE_MAX);
	return format_with(n, b, (const uint8_t *)"", 0, ret);
}

/* ---- the notice as a message ------------------------------------------------------------------ */

/* Where the notice goes: sender or a fixed address. 0, or why it cannot. */
static int
address_it(struct queue *q, struct notice *n, const char *to,
    const char *gateway, const char *profile)
{
	char domain[ADDR_DOMAIN_MAX + 1];
	struct arena *a = &n->dsn.arena;
	struct addr addr;
	const char *reason;

	if (addr_parse(to, strlen(to), ADDR_UTF8, &addr, &reason) < 0 ||
	    addr_domain_normalise(addr.domain, addr.domain_len, domain) < 0)
		return PE_SYNTAX;
	n->rcpt.rid = 0;
	n->rcpt.notify = DSN_NOTIFY_NEVER; /* DSN-13 */
	n->rcpt.address = arena_strdup(a, to);
	n->rcpt.domain = arena_strdup(a, domain);
	n->rcpt.orcpt = "";
	n->rcpt.expires_s =
	    clock_now_s() + queue_profile(q, domain, profile)->max_queue_time_s;
	n->dsn.msg.gateway = arena_strdup(a, gateway);
	n->dsn.msg.profile = arena_strdup(a, profile);
	return n->rcpt.address == NULL || n->rcpt.domain == NULL ||
		n->dsn.msg.gateway == NULL || n->dsn.msg.profile == NULL
	    ? -ENOMEM
	    : 0;
}

static void
fill_dsn(struct notice *n, uint64_t mid, const struct rec_msg *m,
    const struct bounce_out *o)
{
	struct op_accept *a = &n->dsn;

	a->mid = mid;
	a->rcpts = &n->rcpt;
	a->n_rcpts = 1;
	a->body = buf_data(&n->text);
	a->body_len = buf_len(&n->text);
	a->body_fd = -1;
	a->msg.sender = a->msg.envid = a->msg.listener = "";
	a->msg.client = a->msg.message_id = "";
	a->msg.ret = DSN_RET_NONE;
	a->msg.flags = MSG_GENERATED;
	if (o->eight_bit)
		a->msg.flags |= MSG_8BIT | MSG_BODY_8BITMIME;
	if (o->utf8)
		a->msg.flags |= MSG_SMTPUTF8;
	/* RTLS-11: carried on where the hop has it; see tls-policy */
	a->msg.flags |= m->flags & MSG_REQUIRETLS;
	a->msg.size = a->body_len;
	a->msg.origin = n->op.mid;
	a->msg.accepted_ms = clock_now_ms();
	a->due_s = a->msg.accepted_ms / 1000;
}

/* Too much for one frame: a body file, as for any message. */
static int
text_to_file(struct queue *q, struct notice *n)
{
	struct op_accept *a = &n->dsn;
	const uint8_t *p = buf_data(&n->text);
	size_t len = buf_len(&n->text);
	ssize_t w;
	int r;

	r = body_create(q->store->dir_fd, a->mid, &a->body_fd);
	if (r < 0)
		return r;
	n->in_file = true;
	a->body = NULL;
	while (len > 0) {
		w = write(a->body_fd, p, len);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			r = w < 0 ? -errno : -ENOSPC;
			(void)body_unlink(q->store->dir_fd, a->mid);
			return r;
		}
		p += w;
		len -= (size_t)w;
	}
	buf_done(&n->text); /* not in memory while it waits */
	return 0;
}

static int
write_text(struct queue *q, struct sview *v, struct notice *n, uint64_t mid,
    const struct rec_msg *m, const struct conf_profile *profile)
{
	struct bounce b = {
		.hostname = q->conf->node.hostname,
		.mid = mid,
		.now_s = clock_now_s(),
		.subject = profile->subject,
		.intro = profile->template,
		.origin = n->op.mid,
		.arrival_s = m->accepted_ms / 1000,
		.envid = m->envid,
		.full = wants_full(m, profile, n),
		.rcpts = n->rcpts,
		.n_rcpts = n->op.n,
	};
	struct bounce_out out = { 0 };
	int r;

	b.to = n->rcpt.address;
	r = format_text(q, v, n, &b, m, &out);
	if (r < 0)
		return r;
	fill_dsn(n, mid, m, &out);
	return buf_len(&n->text) > HAND_INLINE_MAX ? text_to_file(q, n) : 0;
}

/* ---- which --------------------------------------------------------------------------------------- */

/* 1: a job is on its way; 0: not now; negative: it cannot be read. */
static int
one(struct queue *q, struct sview *v, uint64_t mid)
{
	const struct conf_profile *profile = &q->conf->profiles[0];
	struct rec_msg m;
	struct notice *n;
	uint64_t own;
	const char *to;
	int r;

	r = sview_msg(v, mid, &m);
	if (r < 0)
		return r;
	own = queue_mid_own(q);
	if (own == 0)
		return 0; /* comes back with the ids */
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return 0;
	buf_init(&n->text, NOTICE_MAX);
	n->dsn.body_fd = -1;
	n->op.job.type = &notice_job;
	n->op.job.lazy = true;
	n->op.mid = mid;
	n->op.told = n->told;
	r = gather(q, v, n, &m, &profile);
	if (r == 0 && n->op.n > 0) {
		to = profile->bounce_recipient != NULL
		    ? profile->bounce_recipient
		    : m.sender;
		r = address_it(q, n, to, m.gateway, m.profile);
		n->has_dsn = r == 0;
		if (r == 0)
			r = write_text(q, v, n, own, &m, profile);
		else if (r == PE_SYNTAX)
			n->why_not = "the sender has no usable address";
		if (r == PE_SYNTAX)
			r = 0;
	}
	if (r < 0) {
		notice_free(n);
		/* short of memory, space or descriptors: later */
		return r == PE_CORRUPT ? r : 0;
	}
	n->op.dsn = n->has_dsn ? &n->dsn : NULL;
	q->noticing[q->n_noticing++] = mid;
	writer_put(q->writer, &n->op.job);
	return 1;
}

static void
notices_go(struct queue *q)
{
	int64_t now_s = clock_now_s(), at_s;
	struct siter it;
	struct sview v;
	uint64_t mid;
	int r, n;

	if (q->store_error != 0 || q->n_noticing == NOTICES_AT_ONCE ||
	    store_read_begin(q->store, &v) < 0)
		return;
	r = siter_first(&it, v.txn, v.st, DB_NOTICE, NULL);
	for (; r == 0 && q->n_noticing < NOTICES_AT_ONCE; r = siter_next(&it)) {
		if (key_time_parse(it.k.mv_data, it.k.mv_size, &at_s, &mid) <
		    0) {
			queue_set_aside_key(q, DB_NOTICE, &it.k);
			continue;
		}
		if (at_s > now_s)
			break;
		if (is_noticing(q, mid))
			continue;
		n = one(q, &v, mid);
		if (n == 0)
			break;
		if (n < 0) {
			struct key k;

			key_time(&k, at_s, mid);
			queue_set_aside(q, mid, DB_NOTICE, &k, false,
			    n == PE_NOT_FOUND ? "a notice without a message"
					      : "message record");
			break;
		}
	}
	siter_end(&it);
	store_read_end(&v);
}

/* What of an original may come along, at most. */
static uint64_t
longest_copy(const struct queue *q)
{
	uint64_t max = BOUNCE_HEADERS_MAX + 1;
	size_t i;

	for (i = 0; i < q->conf->n_profiles; i++)
		if (q->conf->profiles[i].max_copy > max)
			max = q->conf->profiles[i].max_copy;
	return max;
}

void
queue_notices(struct queue *q)
{
	struct touch *t;

	if (q->store_error != 0 || q->n_noticing == NOTICES_AT_ONCE ||
	    !queue_round_begin(q, &q->notice_round))
		return;
	t = queue_round_add(&q->notice_round);
	t->db = DB_NOTICE;
	t->follow = TOUCH_BODY;
	t->max = 2 * NOTICES_AT_ONCE; /* some of them are being written */
	t->until_s = clock_now_s();
	t->body_max = longest_copy(q);
	queue_round_start(q, &q->notice_round, notices_go);
}
