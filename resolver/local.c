/*
 * local.c - a question that this process validates itself: one request to
 * validate.c instead of servers in turn.
 *
 * Called by query.c for each question when dnssec = validate. libunbound follows
 * CNAMEs, tries servers and repeats; what is left is what its finding means. An
 * answer is secure exactly when it says so, and then every link of the chain is.
 */
#include "resolver/question.h"

#include <errno.h>
#include <string.h>

#include "lib/base/err.h"
#include "resolver/validate.h"

enum { EDE_BOGUS = 6 /* RFC 8914, 4.7 */ };

static void
take_packet(struct question *q, const uint8_t *pkt, size_t len, bool secure)
{
	struct dns_reply reply;
	int r;

	r = dns_reply_parse(pkt, len, q->query, q->query_len, &reply);
	if (r < 0) {
		question_fail_as(q, DNS_WHY_MALFORMED,
		    r == -ENOMEM ? "no memory"
				 : "libunbound answers another question");
		return;
	}
	if (reply.kind == DNS_REPLY_ERROR)
		question_fail_as(q, reply.why, reply.detail);
	else
		question_take(q, &reply, secure);
	dns_reply_done(&reply);
}

static void
on_validated(void *arg, enum validated how, const uint8_t *pkt, size_t len,
    const char *text)
{
	struct question *q = arg;
	struct resolver *r = q->r;

	if (q->inside && q->fresh) {
		q->stale = true;
		return;
	}
	if (how != VALIDATED_FAILED)
		r->failed_in_row = 0;
	switch (how) {
	case VALIDATED_FAILED:
		r->failed_in_row++;
		question_note(q, DNS_WHY_SERVFAIL, DNS_EDE_NONE,
		    "no name server that is asked has an answer");
		question_fail(q);
		return;
	case VALIDATED_BOGUS:
		question_note(q, DNS_WHY_BOGUS, EDE_BOGUS, "%s",
		    text[0] == '\0' ? "validation failure" : text);
		question_fail(q);
		return;
	case VALIDATED_INSECURE:
	case VALIDATED_SECURE:
		take_packet(q, pkt, len, how == VALIDATED_SECURE);
		return;
	}
}

/*
 * What is answered before anything can have been sent comes out of a cache, where
 * one message always stays. Who asks past the caches gets a libunbound without.
 */
static void
ask_anew(struct question *q)
{
	q->fresh = q->stale = false;
	if (resolver_renew(q->r) < 0)
		question_fail_as(q, DNS_WHY_BUSY, "resolver busy: no memory");
}

void
question_validate(struct question *q)
{
	/* as libunbound writes it into the reply: id 0, the case as asked */
	int n = dns_query_build(q->target, q->type, 0, 0, NULL, q->query);
	bool fresh;
	int e = -EINVAL;

	if (n > 0) {
		q->query_len = (size_t)n;
		q->inside = q->fresh; /* else q may be gone after the call */
		fresh = q->fresh;
		e = validator_ask(q->r->va, q->target, q->type, &q->validation,
		    on_validated, q);
		if (fresh) {
			q->inside = false;
			if (q->stale) {
				ask_anew(q);
				return;
			}
		}
	}
	if (e < 0)
		question_fail_as(q, DNS_WHY_BUSY,
		    e == PE_FULL ? "resolver busy: too many validations"
				 : "resolver busy: no memory");
}
