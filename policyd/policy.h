/*
 * policy.h - which policy holds for a domain: discovery, cache, refresh.
 *
 * Pure: it sees no loop, no clock, no socket. What it wants done it says to
 * its ops, what came of it is told to it by policy_on_*(); so the tests can
 * play every order of events. The rules are tls-policy.md section 3; above all:
 * a cached, unexpired policy survives everything but a validly fetched one.
 */
#ifndef POSTERN_POLICYD_POLICY_H
#define POSTERN_POLICYD_POLICY_H

#include "lib/proto/policy.h"
#include "policyd/record.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct policy;
struct sts_fetch_result;

enum {
	POLICY_ENTRIES_MAX = 65536,	/* domains of which something is kept */
	POLICY_WAITING_MAX = 16384,	/* domains that wait for a fetch */
	POLICY_FAIL_MS = 5 * 60 * 1000, /* before an id is fetched again */
	POLICY_FRESH_MS = 5 * 60 * 1000, /* between looks past the DNS cache */
	POLICY_WAIT_MS = 60 * 1000,	 /* for a free place to fetch */
	POLICY_GRACE_MS = 24 * 3600 * 1000, /* without a question a grace that
					     * ran begins anew */
	POLICY_USED_S = 24 * 3600,	    /* exactness of used_s */
	POLICY_IDLE_S = 30 * 24 * 3600, /* not used for so long: no refresh */
	POLICY_RETRY_S = 5 * 60,	/* first pause after a failed refresh */
	POLICY_RETRY_MAX_S = 3600,
};

/* What happened, for logs and counters. Strings are borrowed. */
enum policy_event_kind {
	EVENT_TXT,	    /* a usable record was found: id */
	EVENT_CACHE_HIT,    /* answered by the stored policy */
	EVENT_FETCH,	    /* a fetch begins */
	EVENT_FETCHED,	    /* it gave a policy: rec */
	EVENT_FETCH_FAILED, /* why, text; rec when one is kept */
	EVENT_KEPT,	    /* no live policy, the stored one holds: text */
	EVENT_HEALED,	    /* a fresh look found another id: text is the old */
	EVENT_REFRESH_LATE, /* fails for more than half of the lifetime */
	EVENT_WAITING,	    /* indeterminate: discovery_grace runs; text */
	EVENT_GRACE_OVER,   /* goes on as without a policy; text */
	EVENT_EXPIRED,	    /* a stored policy is no longer valid */
	EVENT_CORRUPT,	    /* a stored record was damaged and dropped */
	EVENT_SAVE_FAILED,  /* text */
	EVENT_BUSY,	    /* no place to fetch; text */
	EVENT_COUNT
};
struct policy_event {
	enum policy_event_kind kind;
	const char *domain;
	const char *id;
	const char *text;
	int why;      /* enum sts_fetch_why */
	bool refresh; /* nobody waits for it */
	const struct policy_record *rec;
	int64_t age_s;
};

struct policy_ops {
	int64_t (*now_s)(void *arg); /* Unix time that never goes back */
	int64_t (*mono_ms)(void *arg);
	/* 0 to 2^32-1, for jitter */
	uint32_t (*random)(void *arg);
	/* Answered by policy_on_txt(), never inside. Negative: not asked, which
	 * policy_tick() takes for a failed lookup. */
	int (*txt)(void *arg, const char *domain, bool fresh);
	/* Answered by policy_on_fetch(), never inside. Negative: not begun. id:
	 * what was fetched a moment ago for this id will do; "": nothing. */
	int (*fetch)(void *arg, const char *domain, const char *id);
	/* store_get(), store_put() with policy_on_saved() when wait is true,
	 * store_delete(). */
	int (*load)(void *arg, const char *domain, struct policy_record *ret);
	int (*save)(void *arg, const struct policy_record *rec, bool wait);
	void (*forget)(void *arg, const char *domain);
	void (*event)(void *arg, const struct policy_event *ev);
};

struct policy_settings {
	int64_t grace_ms; /* discovery_grace */
	int64_t refresh_s;
	uint32_t max_fetches;
};

/* ops and arg are kept. NULL when memory is short. */
struct policy *policy_new(const struct policy_ops *ops, void *arg,
    const struct policy_settings *settings);
void policy_set(struct policy *p, const struct policy_settings *settings);
/* Open questions end without an answer. NULL is fine. */
void policy_free(struct policy *p);

/* One question, in the asker's storage. */
typedef void policy_answer_cb(void *arg, const struct policy_answer *answer);
struct policy_waiter {
	TAILQ_ENTRY(policy_waiter) link;
	struct policy_entry *entry; /* NULL when not open */
	policy_answer_cb *cb;
	void *arg;
	bool fresh, force, ready;
};

enum {
	POLICY_ASK_FRESH = 1, /* past the DNS cache, within its limit */
	POLICY_ASK_FORCE = 2, /* an operator: past it, and fetch anyway */
};

/*
 * Ask. cb comes once, later, never inside; what the answer points to is
 * borrowed for the call. 0, PE_FULL, -ENOMEM (then no cb).
 */
int policy_ask(struct policy *p, struct policy_waiter *w, const char *domain,
    unsigned flags, policy_answer_cb *cb, void *arg);
/* No callback any more. Fine when not open. */
void policy_cancel(struct policy_waiter *w);

/* A domain of store_due(): taken; busy, to be named again; or the index lies
 * (store_drop_due()), for its record says otherwise or is gone. */
enum policy_due { POLICY_DUE_TAKEN, POLICY_DUE_LATER, POLICY_DUE_LIES };
enum policy_due policy_refresh(struct policy *p, const char *domain);

/* Places for more refreshes: half of those for fetches are for them at most, so
 * that neither deliveries nor refreshes starve behind hosts that hang. */
uint32_t policy_refresh_room(const struct policy *p);

/* What came of the ops. Unknown or unexpected: ignored. */
void policy_on_txt(
    struct policy *p, const char *domain, const struct sts_txt *txt);
/* Takes res->policy when it keeps it. */
void policy_on_fetch(
    struct policy *p, const char *domain, struct sts_fetch_result *res);
void policy_on_saved(struct policy *p, const char *domain, int result);

/* About every second: deadlines of what waits for a place. */
void policy_tick(struct policy *p);

struct policy_stats {
	uint64_t entries, waiters, fetching, waiting, refreshing;
};
void policy_stats(const struct policy *p, struct policy_stats *ret);

/*
 * Unix time that never goes back, whatever the wall clock does: lifetimes are
 * never lengthened by a jump (STS-40). Start with the latest time that was
 * stored, and what the wall clock said then (0: not known).
 */
struct policy_clock {
	int64_t now_s, at_ms;
};
void policy_clock_init(struct policy_clock *c, int64_t stored_s,
    int64_t stored_wall_s, int64_t wall_s, int64_t mono_ms);
int64_t policy_clock_now(
    struct policy_clock *c, int64_t wall_s, int64_t mono_ms);

#endif
