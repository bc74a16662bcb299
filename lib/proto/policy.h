/*
 * policy.h - deliver -> policyd: which MTA-STS policy holds for this domain?
 *
 * The request id pairs question and answer. Every question is answered: at once
 * from the cache, or when discovery has ended (a TXT lookup and at most one
 * fetch; POLICY_ANSWER_MS at the latest). A policyd that goes away owes nothing:
 * the asker asks its successor, or goes on as with INDETERMINATE.
 */
#ifndef POSTERN_PROTO_POLICY_H
#define POSTERN_PROTO_POLICY_H

#include "lib/ipc/wire.h"
#include "lib/proto/roles.h"
#include "lib/sts/policy.h"
#include "lib/sts/txt.h"

#include <stdint.h>

enum {
	POLICY_ASK = 16, /* deliver -> policyd */
	POLICY_ANSWER,	 /* policyd -> deliver */
};

enum {
	/* delivery has failed by the policy, or a message is about to bounce:
	 * look past the DNS cache whether it has changed ("fast heal"). policyd
	 * does so once per domain in five minutes at most. */
	POLICY_FRESH = 1,
};
enum {
	POLICY_IN_FLIGHT_MAX = 4096, /* questions open per worker */
	POLICY_ANSWER_MS = 180 * 1000,
};

struct policy_ask {
	const char *domain; /* recipient domain, lower-case A-labels */
	uint32_t flags;	    /* POLICY_* */
};
void policy_ask_encode(struct ipc_wr *w, const struct policy_ask *m);
int policy_ask_decode(struct ipc_rd *r, struct policy_ask *ret);

/* The zero is the one that promises least. */
enum policy_state {
	POLICY_INDETERMINATE, /* nothing cached, and could not find out: wait */
	POLICY_NONE,	      /* go on as without MTA-STS */
	POLICY_FOUND,
};
enum policy_source {
	POLICY_FROM_NOWHERE,
	POLICY_FROM_CACHE,
	POLICY_FROM_FETCH
};

struct policy_answer {
	enum policy_state state;
	const char *reason; /* why none or indeterminate; why only cached; "" */
	/* with POLICY_FOUND only */
	enum policy_source source;
	enum sts_mode mode;
	const char *id;
	int64_t fetched_s;  /* Unix seconds of the last successful fetch */
	int64_t age_s;	    /* since then, on policyd's clock */
	uint32_t max_age_s; /* more than age_s, except straight from a fetch */
	bool stale;	    /* valid, but the last refresh failed */
	const char *list;   /* patterns, lib/sts/policy.h; NULL without one */
	size_t list_len;
};
void policy_answer_encode(struct ipc_wr *w, const struct policy_answer *m);
int policy_answer_decode(struct ipc_rd *r, struct policy_answer *ret);

/* "indeterminate", "none", "policy"; "nowhere", "cache", "fetched". */
const char *policy_state_word(enum policy_state state);
const char *policy_source_word(enum policy_source source);

#endif
