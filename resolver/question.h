/*
 * question.h - the inside of the resolver, shared by query.c (what happens to a
 * question) and resolver.c (asking, settings, life). Nobody else includes it.
 */
#ifndef POSTERN_RESOLVER_QUESTION_H
#define POSTERN_RESOLVER_QUESTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "lib/dns/wire.h"
#include "lib/log/log.h"
#include "resolver/resolver.h"

struct cache;
struct flight;
struct upstreams;
struct validation;
struct validator;

enum { QUESTION_BUCKETS = 4096 };

enum question_state { Q_WAITING, Q_READY, Q_ASKING, Q_DONE };

struct question {
	LIST_ENTRY(question) bucket;
	TAILQ_ENTRY(question) by_deadline;
	TAILQ_ENTRY(question) queue; /* waiting or ready */
	TAILQ_HEAD(resolver_req_list, resolver_req) reqs;
	struct resolver *r;
	enum question_state state;
	char name[DNS_NAME_SIZE];
	uint16_t type;
	bool no_store; /* flushed while it was asked */
	bool plain;    /* the state is not needed (RESOLVER_PLAIN) */
	bool fresh;    /* not to be answered by a cache of libunbound */
	bool inside;   /* while libunbound is called */
	bool stale;    /* it answered at once, so out of its cache */
	int64_t deadline_ms;

	/* where the chain stands */
	char target[DNS_NAME_SIZE];
	unsigned links;
	bool secure; /* every link so far */
	uint32_t ttl_s;

	/* who was asked for target */
	uint32_t done;	/* servers whose reply was an error */
	uint32_t tried; /* servers that failed in this round */
	unsigned round;
	bool probe;	/* the query on its way has CD set: bogus or outage? */
	unsigned check; /* not 0: it asks for upstreams_check_name(check - 1):
			 * does the server validate? */
	struct dns_reply kept; /* what waits for the outcome of the check */
	int64_t sent_ms;
	bool mixed; /* the case of the name in query (0x20) */
	int server;
	struct flight *flight;
	struct validation *validation; /* instead, when r->va is there */
	uint8_t query[DNS_QUERY_SIZE];
	size_t query_len;

	/* the most telling failure */
	enum dns_why why;
	uint16_t ede;
	char reason[DNS_REASON_SIZE];
};

TAILQ_HEAD(questions, question);
LIST_HEAD(question_bucket, question);

struct resolver {
	uv_loop_t *loop;
	struct resolver_settings set;
	struct upstreams *us;
	struct validator *va;	/* NULL unless dnssec = validate */
	char *anchors;		/* what it was made of */
	unsigned failed_in_row; /* validations: no answer was to be had */
	struct cache *cache;
	struct question_bucket open[QUESTION_BUCKETS];
	struct questions by_deadline;
	struct questions waiting, ready;
	size_t n_places; /* taken by ready and asking ones */
	size_t n_waiting, n_reqs;
	uv_timer_t deadline;
	uv_timer_t soon; /* send what is ready, start what waits */
	unsigned handles;
	bool stopping;
	struct resolver_stats stats;
	struct log_limit fail_log;
};

/* The open question, or NULL. */
struct question *question_find(
    struct resolver *r, const char *name, uint16_t type, bool plain);

/* A new one that waits for a place; NULL when memory is short. */
struct question *question_new(
    struct resolver *r, const char *name, uint16_t type, bool plain);

/* From the beginning: the name itself, no server asked, no flight. */
void question_rewind(struct question *q);

/* Out of every table; the caller frees it. */
void question_unlink(struct question *q);

/* Keep this finding unless the one before says more. */
void question_note(struct question *q, enum dns_why why, uint16_t ede,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Answer all who wait with what was noted; q is gone. */
void question_fail(struct question *q);

/* Take what is in the reply, which is secure or not; q may be gone. */
void question_take(
    struct question *q, const struct dns_reply *reply, bool secure);

/* local.c: ask libunbound; q may be gone. */
void question_validate(struct question *q);

/* libunbound begins anew, and all who wait for it with it. 0, or the error of
 * validator_new(): then the old one goes on. */
int resolver_renew(struct resolver *r);

/* Answer all who wait with this finding, whatever was noted; q is gone. */
void question_fail_as(struct question *q, enum dns_why why, const char *text);

/* Timer callbacks: deadlines; what is ready is sent, what waits is started. */
void question_on_deadline(uv_timer_t *t);
void question_on_soon(uv_timer_t *t);

#endif
