/*
 * query.c - what happens to a question: a place, servers in turn, CNAME chains
 * that leave the packet, its answer or its deadline.
 *
 * A question waits (no place is free), is ready (its next query is to be sent),
 * asks (one query is on its way), or is done. question_on_soon() alone sends, a bounded
 * number in each turn of the loop: a burst, also one of repeats after many have
 * timed out together, would fill the socket's buffer, which c-ares takes for a
 * failure of the server. All callbacks to askers come from the loop.
 *
 * What an answer is worth is decided in question_take() only: secure needs AD
 * from a trusted server on this reply and on every CNAME link before it
 * (RFC 7672, 2.1.3). An error of one server is asked of the next, except
 * "bogus": a server that validates said no, and another one that does not
 * validate must not be able to turn that into an insecure yes. Nor must it when
 * the former is away, or stops to validate: while the chain is secure so far, an
 * answer without AD is taken only from a server that shows after it that it
 * validates, or where none is expected to.
 */
#include "resolver/question.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "resolver/cache.h"
#include "resolver/upstream.h"
#include "resolver/validate.h"

enum { BURST = 64 /* queries per turn */ };

static void question_send(struct question *q);

/* ---- tables ----------------------------------------------------------------
 */

static struct question_bucket *
bucket_of(struct resolver *r, const char *name, uint16_t type)
{
	return &r->open[cache_hash(name, type) % QUESTION_BUCKETS];
}

struct question *
question_find(struct resolver *r, const char *name, uint16_t type, bool plain)
{
	struct question *q;

	LIST_FOREACH(q, bucket_of(r, name, type), bucket) {
		if (q->type == type && q->plain == plain &&
		    strcmp(q->name, name) == 0)
			return q;
	}
	return NULL;
}

static void
arm_deadline(struct resolver *r)
{
	struct question *q = TAILQ_FIRST(&r->by_deadline);
	int64_t left_ms;

	if (q == NULL) {
		(void)uv_timer_stop(&r->deadline);
		return;
	}
	left_ms = q->deadline_ms - clock_mono_ms();
	(void)uv_timer_start(&r->deadline, question_on_deadline,
	    left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

/* No check is under way any more. */
static void
check_end(struct question *q)
{
	q->check = 0;
	dns_reply_done(&q->kept);
	memset(&q->kept, 0, sizeof(q->kept));
}

void
question_rewind(struct question *q)
{
	flight_forget(q->flight);
	q->flight = NULL;
	validation_forget(q->validation);
	q->validation = NULL;
	memcpy(q->target, q->name, sizeof(q->target));
	q->links = 0;
	q->secure = true;
	q->ttl_s = UINT32_MAX;
	q->done = q->tried = 0;
	q->round = 0;
	q->probe = false;
	check_end(q);
	q->why = DNS_WHY_NONE;
	q->ede = DNS_EDE_NONE;
	q->reason[0] = '\0';
}

struct question *
question_new(struct resolver *r, const char *name, uint16_t type, bool plain)
{
	struct question *q = calloc(1, sizeof(*q)), *before;

	if (q == NULL)
		return NULL;
	TAILQ_INIT(&q->reqs);
	q->r = r;
	(void)snprintf(q->name, sizeof(q->name), "%s", name);
	q->type = type;
	q->plain = plain;
	q->deadline_ms = clock_mono_ms() + r->set.timeout_ms;
	question_rewind(q);
	q->state = Q_WAITING;
	LIST_INSERT_HEAD(bucket_of(r, name, type), q, bucket);
	TAILQ_INSERT_TAIL(&r->waiting, q, queue);
	r->n_waiting++;
	/* at the end, unless a reload has just shortened the time */
	TAILQ_FOREACH_REVERSE(before, &r->by_deadline, questions, by_deadline) {
		if (before->deadline_ms <= q->deadline_ms)
			break;
	}
	if (before == NULL)
		TAILQ_INSERT_HEAD(&r->by_deadline, q, by_deadline);
	else
		TAILQ_INSERT_AFTER(&r->by_deadline, before, q, by_deadline);
	if (TAILQ_FIRST(&r->by_deadline) == q)
		arm_deadline(r);
	(void)uv_timer_start(&r->soon, question_on_soon, 0, 0);
	return q;
}

void
question_unlink(struct question *q)
{
	struct resolver *r = q->r;

	flight_forget(q->flight);
	q->flight = NULL;
	validation_forget(q->validation);
	q->validation = NULL;
	check_end(q);
	if (q->state == Q_WAITING) {
		TAILQ_REMOVE(&r->waiting, q, queue);
		r->n_waiting--;
	} else {
		if (q->state == Q_READY)
			TAILQ_REMOVE(&r->ready, q, queue);
		r->n_places--;
	}
	q->state = Q_DONE;
	LIST_REMOVE(q, bucket);
	TAILQ_REMOVE(&r->by_deadline, q, by_deadline);
	arm_deadline(r);
	if (!TAILQ_EMPTY(&r->waiting))
		(void)uv_timer_start(&r->soon, question_on_soon, 0, 0);
}

/* It has a place: its next query is to be sent. */
static void
question_ready(struct question *q)
{
	struct resolver *r = q->r;

	q->state = Q_READY;
	TAILQ_INSERT_TAIL(&r->ready, q, queue);
	(void)uv_timer_start(&r->soon, question_on_soon, 0, 0);
}

void
question_on_soon(uv_timer_t *t)
{
	struct resolver *r = t->data;
	struct question *q;
	int n;

	for (n = 0; n < BURST; n++) {
		while (r->n_places < r->set.max_queries &&
		    TAILQ_EMPTY(&r->ready) &&
		    (q = TAILQ_FIRST(&r->waiting)) != NULL) {
			TAILQ_REMOVE(&r->waiting, q, queue);
			r->n_waiting--;
			r->n_places++;
			question_ready(q);
			log_debug("dns_query", "DNS query: Q(%s, '%s')",
			    q->name, dns_type_str(q->type));
		}
		q = TAILQ_FIRST(&r->ready);
		if (q == NULL)
			break;
		TAILQ_REMOVE(&r->ready, q, queue);
		q->state = Q_ASKING;
		question_send(q);
	}
	/* the rest in the next turn; 0 ms would run in this one */
	if (n == BURST)
		(void)uv_timer_start(&r->soon, question_on_soon, 1, 0);
	else
		(void)uv_timer_stop(&r->soon);
}

/* ---- the end of a question -------------------------------------------------
 */

static void
count(struct resolver *r, const struct dns_answer *a)
{
	switch (a->state) {
	case DNS_SECURE:
		r->stats.secure++;
		break;
	case DNS_INSECURE:
		r->stats.insecure++;
		break;
	case DNS_INDETERMINATE:
		r->stats.indeterminate++;
		r->stats.bogus += a->why == DNS_WHY_BOGUS;
		r->stats.timeouts += a->why == DNS_WHY_TIMEOUT;
		break;
	}
}

static void
say(struct resolver *r, const struct dns_answer *a)
{
	char text[1024], more[64];
	uint32_t skipped;

	if (a->state == DNS_INDETERMINATE) {
		if (!log_limit_ok(&r->fail_log, 20, 10000, &skipped))
			return;
		more[0] = '\0';
		if (skipped > 0)
			(void)snprintf(more, sizeof(more),
			    " (%u more since the last such line)", skipped);
		log_info("dns_failed", "DNS lookup of %s %s failed: %s%s",
		    a->name, dns_type_str(a->type), a->reason, more);
		return;
	}
	if (log_wants(LOG_DEBUG))
		log_debug("dns_encache",
		    "DNS encache (%s, %s, [(%u, '%s', %s)])", a->name,
		    dns_type_str(a->type), a->ttl_s, dns_state_str(a->state),
		    dns_answer_text(a, text, sizeof(text)));
}

/* Borrows the answer. The question is gone afterwards. */
static void
question_finish(struct question *q, const struct dns_answer *a)
{
	struct resolver *r = q->r;
	struct resolver_req *req;
	struct dns_answer *copy;

	question_unlink(q);
	count(r, a);
	say(r, a);
	if (!q->no_store && a->why != DNS_WHY_BUSY && a->why != DNS_WHY_GONE &&
	    dns_answer_dup(a, &copy) == 0)
		cache_put(r->cache, copy, (int64_t)a->ttl_s * 1000);
	/* a callback may cancel others of this list, or ask anew */
	while ((req = TAILQ_FIRST(&q->reqs)) != NULL) {
		TAILQ_REMOVE(&q->reqs, req, link);
		req->question = NULL;
		r->n_reqs--;
		req->cb(req->arg, a);
	}
	free(q);
}

/* Without an allocation: this must always work. */
void
question_fail(struct question *q)
{
	struct dns_answer a = {
		.state = DNS_INDETERMINATE,
		.kind = DNS_NONE,
		.why = q->why == DNS_WHY_NONE ? DNS_WHY_TIMEOUT : q->why,
		.type = q->type,
		.ede = q->ede,
		.ttl_s = RESOLVER_FAIL_TTL_S,
		.name = q->name,
		.canon = q->name,
		.reason =
		    q->reason[0] == '\0' ? "no answer in time" : q->reason,
	};

	question_finish(q, &a);
}

/* A reply says more than a time-out, that more than a network error. */
static int
weight(enum dns_why why)
{
	switch (why) {
	case DNS_WHY_NONE:
		return 0;
	case DNS_WHY_NETWORK:
		return 1;
	case DNS_WHY_TIMEOUT:
		return 2;
	case DNS_WHY_UNVALIDATED:
		return 4; /* an outage would not tell why nothing was found */
	case DNS_WHY_BOGUS:
		return 5;
	default:
		return 3;
	}
}

void
question_note(
    struct question *q, enum dns_why why, uint16_t ede, const char *fmt, ...)
{
	va_list ap;

	if (weight(why) <= weight(q->why))
		return;
	q->why = why;
	q->ede = ede;
	va_start(ap, fmt);
	(void)vsnprintf(q->reason, sizeof(q->reason), fmt, ap);
	va_end(ap);
}

void
question_fail_as(struct question *q, enum dns_why why, const char *text)
{
	q->why = DNS_WHY_NONE;
	question_note(q, why, DNS_EDE_NONE, "%s", text);
	question_fail(q);
}

void
question_on_deadline(uv_timer_t *t)
{
	struct resolver *r = t->data;
	struct question *q;

	while ((q = TAILQ_FIRST(&r->by_deadline)) != NULL &&
	    q->deadline_ms <= clock_mono_ms()) {
		if (q->state == Q_WAITING)
			question_note(q, DNS_WHY_BUSY, DNS_EDE_NONE,
			    "resolver busy: no place in time");
		else if (r->va != NULL)
			r->failed_in_row++;
		question_fail(q);
	}
	arm_deadline(r);
}

/* ---- what a reply is worth -------------------------------------------------
 */

static uint32_t
ttl_bound(const struct resolver *r, const struct dns_answer *a, uint32_t ttl_s)
{
	int64_t ttl = ttl_s, max = r->set.max_ttl_s;

	if (a->kind != DNS_DATA && r->set.negative_ttl_s < max)
		max = r->set.negative_ttl_s;
	if (a->kind == DNS_DATA && a->type != DNS_TLSA &&
	    ttl < r->set.min_ttl_s)
		ttl = r->set.min_ttl_s;
	return (uint32_t)(ttl > max ? max : ttl);
}

void
question_take(struct question *q, const struct dns_reply *reply, bool secure)
{
	struct dns_answer a = *reply->answer;

	q->secure = q->secure && secure;
	q->links += reply->links;
	if (a.ttl_s < q->ttl_s)
		q->ttl_s = a.ttl_s;
	if (q->links > DNS_CHAIN_MAX) {
		question_fail_as(q, DNS_WHY_CHAIN, "CNAME chain too long");
		return;
	}
	if (reply->kind == DNS_REPLY_CHAIN) {
		if (dns_name_normalise(a.canon, q->target) < 0) {
			question_fail_as(q, DNS_WHY_MALFORMED,
			    "CNAME to something that is no host name");
			return;
		}
		q->done = q->tried = 0;
		q->round = 0;
		q->why = DNS_WHY_NONE;
		question_ready(q);
		return;
	}
	a.name = q->name;
	a.chain = strcmp(a.name, a.canon) != 0;
	a.state = q->secure ? DNS_SECURE : DNS_INSECURE;
	a.ttl_s = ttl_bound(q->r, &a, q->ttl_s);
	question_finish(q, &a);
}

static void
note_reply(
    struct question *q, const struct dns_reply *reply, const char *server)
{
	if (reply->ede == DNS_EDE_NONE)
		question_note(q, reply->why, reply->ede, "%s from %s",
		    reply->detail, server);
	else
		question_note(q, reply->why, reply->ede,
		    "%s from %s (EDE %u %s%s%s)", reply->detail, server,
		    reply->ede, dns_ede_str(reply->ede),
		    reply->ede_text[0] == '\0' ? "" : ": ", reply->ede_text);
}

/*
 * This answer is not believed: the next server, if there is one. Who does not
 * need the state takes it, and nobody else may have it.
 */
static void
doubt(struct question *q, const struct dns_reply *reply)
{
	struct upstreams *us = q->r->us;

	if (q->plain) {
		q->no_store = true;
		question_take(q, reply, false);
		return;
	}
	upstreams_count_doubted(us, q->server);
	question_note(q, DNS_WHY_UNVALIDATED, DNS_EDE_NONE,
	    "%s answers, and %s: whether the name is signed is not known",
	    upstreams_text(us, q->server), upstreams_doubt(us, q->server));
	q->done |= 1u << q->server;
	question_ready(q);
}

/* An answer: is it one? Takes what is in reply when it has to be kept. */
static void
answer_weigh(struct question *q, struct dns_reply *reply, bool secure)
{
	struct upstreams *us = q->r->us;

	if (secure) {
		upstreams_note_signed(us, q->target, q->type);
	} else if (q->secure) {
		switch (upstreams_word(us, q->server, q->sent_ms)) {
		case UPSTREAM_DOUBTED:
			doubt(q, reply);
			return;
		case UPSTREAM_CHECK:
			q->kept = *reply;
			reply->answer = NULL;
			q->check = 1;
			question_ready(q);
			return;
		case UPSTREAM_BELIEVED:
			break;
		}
	}
	question_take(q, reply, secure);
}

/*
 * The reply to a name that is or ought to be signed. With AD the server
 * validates, and the answer that waits was one; else the next such name is
 * tried: one name may be away, or signed no more.
 */
static void
check_take(struct question *q, const struct dns_reply *reply)
{
	struct upstreams *us = q->r->us;
	bool validates = reply->kind != DNS_REPLY_ERROR && reply->ad;
	struct dns_reply kept;
	uint16_t type;

	if (!validates && upstreams_check_name(us, q->check, &type) != NULL) {
		q->check++;
		question_ready(q);
		return;
	}
	kept = q->kept;
	memset(&q->kept, 0, sizeof(q->kept));
	q->check = 0;
	if (validates) {
		question_take(q, &kept, false);
	} else {
		upstreams_check_failed(us, q->server);
		doubt(q, &kept);
	}
	dns_reply_done(&kept);
}

static void
reply_take(struct question *q, struct dns_reply *reply)
{
	struct upstreams *us = q->r->us;
	const char *server = upstreams_text(us, q->server);
	bool trusted = upstreams_trusted(us, q->server);

	if (q->check != 0) {
		check_take(q, reply);
		return;
	}
	if (q->probe) {
		/* with CD the same question has an answer: only validation
		 * stands in its way. The answer itself is never used. */
		q->probe = false;
		if (reply->kind != DNS_REPLY_ERROR) {
			question_note(q, DNS_WHY_BOGUS, DNS_EDE_NONE,
			    "SERVFAIL from %s, validation failed", server);
			question_fail(q);
			return;
		}
	} else if (reply->kind != DNS_REPLY_ERROR) {
		answer_weigh(q, reply, trusted && reply->ad);
		return;
	} else {
		bool final =
		    reply->why == DNS_WHY_BOGUS || reply->why == DNS_WHY_CHAIN;

		upstreams_count_error(us, q->server);
		if (final)
			q->why = DNS_WHY_NONE;
		note_reply(q, reply, server);
		if (final) {
			question_fail(q);
			return;
		}
		q->probe = trusted && reply->why == DNS_WHY_SERVFAIL;
	}
	if (!q->probe)
		q->done |= 1u << q->server;
	question_ready(q);
}

/* ---- sending ---------------------------------------------------------------
 */

static void
on_flight(void *arg, int status, const uint8_t *pkt, size_t len)
{
	struct question *q = arg;
	struct upstreams *us = q->r->us;
	struct dns_reply reply;
	int r = status;

	q->flight = NULL;
	if (r < 0 && r != -ENOMEM)
		upstreams_failed(us, q->server, r);
	if (r == 0)
		r = dns_reply_parse(pkt, len, q->query, q->query_len, &reply);
	if (r == 0) {
		if (q->mixed)
			upstreams_case(us, q->server, true);
		upstreams_replied(us, q->server, reply.has_opt,
		    reply.ad && !q->probe && reply.kind != DNS_REPLY_ERROR);
		reply_take(q, &reply);
		dns_reply_done(&reply);
		return;
	}
	if (r == PE_NOT_FOUND) {
		upstreams_count_error(us, q->server);
		if (q->mixed)
			upstreams_case(us, q->server, false);
		question_note(q, DNS_WHY_MALFORMED, DNS_EDE_NONE,
		    "%s repeats the question wrongly",
		    upstreams_text(us, q->server));
		if (!q->mixed) /* forged, or its habit: once more */
			q->done |= 1u << q->server;
	} else if (r == -ETIMEDOUT) {
		question_note(q, DNS_WHY_TIMEOUT, DNS_EDE_NONE,
		    "no answer from %s in time", upstreams_text(us, q->server));
	} else {
		question_note(q, DNS_WHY_NETWORK, DNS_EDE_NONE, "%s: %s",
		    upstreams_text(us, q->server), err_str(r));
	}
	/* a probe that failed leaves the SERVFAIL before it as the finding */
	if (q->probe)
		q->done |= 1u << q->server;
	q->probe = false;
	check_end(q);
	q->tried |= 1u << q->server;
	question_ready(q);
}

/* The next server, or -1 when all had their chances. */
static int
server_next(struct question *q)
{
	struct resolver *r = q->r;
	uint32_t all = (1u << upstreams_count(r->us)) - 1;

	if (((q->done | q->tried) & all) == all) {
		q->tried = 0;
		q->round++;
	}
	if (q->round >= r->set.tries || (q->done & all) == all)
		return -1;
	return upstreams_pick(r->us, q->done | q->tried);
}

/* Send the next query for q->target, or finish with what was found. */
static void
question_send(struct question *q)
{
	struct resolver *r = q->r;
	const char *name = q->target;
	uint16_t type = q->type;
	uint8_t mix[32];
	unsigned flags;
	int n;

	if (r->va != NULL) {
		question_validate(q);
		return;
	}
	for (;;) {
		if (!q->probe && q->check == 0)
			q->server = server_next(q);
		if (q->server < 0) {
			question_fail(q);
			return;
		}
		flags = DNS_Q_AD | DNS_Q_DO | (q->probe ? DNS_Q_CD : 0u);
		if (!upstreams_wants_opt(r->us, q->server))
			flags |= DNS_Q_NO_OPT;
		q->mixed = r->set.mix_case &&
		    upstreams_wants_mix(r->us, q->server) &&
		    getrandom(mix, sizeof(mix), 0) == (ssize_t)sizeof(mix);
		if (q->check != 0)
			name = upstreams_check_name(r->us, q->check - 1, &type);
		if (name == NULL) { /* the names have changed meanwhile */
			check_end(q);
			name = q->target;
			type = q->type;
		}
		n = dns_query_build(
		    name, type, 0, flags, q->mixed ? mix : NULL, q->query);
		if (n > 0) {
			q->query_len = (size_t)n;
			q->flight = upstreams_send(r->us, q->server, q->query,
			    q->query_len, on_flight, q);
		}
		if (q->flight != NULL) {
			/* a check belongs to the query before it */
			if (q->check == 0)
				q->sent_ms = clock_mono_ms();
			return;
		}
		question_note(q, DNS_WHY_NETWORK, DNS_EDE_NONE,
		    "cannot send to %s", upstreams_text(r->us, q->server));
		q->probe = false;
		check_end(q);
		q->tried |= 1u << q->server;
		name = q->target;
		type = q->type;
	}
}
