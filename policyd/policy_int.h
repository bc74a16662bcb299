/*
 * policy_int.h - the entries of policy.h, shared by policy.c (rounds),
 * policy_table.c and policy_record.c. Nobody else includes it.
 */
#ifndef POSTERN_POLICYD_POLICY_INT_H
#define POSTERN_POLICYD_POLICY_INT_H

#include "lib/sts/txt.h"
#include "policyd/policy.h"

enum { BUCKETS = 16384 };

enum phase { IDLE, TXT, LOST, PLACE, FETCH, SAVE };

struct policy_entry {
	LIST_ENTRY(policy_entry) bucket;
	/* IDLE: least recent first; PLACE, LOST: as they came */
	TAILQ_ENTRY(policy_entry) order;
	TAILQ_HEAD(policy_waiter_list, policy_waiter) waiters, ready;
	struct policy *p;
	enum phase phase;
	/* this round */
	bool fresh, force, refresh;
	bool have;   /* rec is valid or at least there */
	bool unread; /* the store could not say whether there is one */
	bool blind;  /* the TXT lookup failed */
	struct policy_record rec; /* as stored */
	char id[STS_ID_MAX + 1];  /* of the TXT record, "" without */
	int64_t place_ms;	  /* since when it waits */
	/* longer */
	bool held;    /* rec could not be saved: memory has it */
	bool full;    /* as there was no room: others are worth as much */
	bool damaged; /* there was a policy: its record was dropped */
	bool grace;   /* in doubt since grace_ms */
	bool grace_told;
	int64_t grace_ms, grace_last_ms;
	char fail_id[STS_ID_MAX + 1]; /* not to be fetched before fail_ms */
	int64_t fail_ms;
	char fail_text[128];
	bool looked; /* past the DNS cache, at looked_ms */
	int64_t looked_ms;
	char domain[DNS_NAME_SIZE];
};

TAILQ_HEAD(entry_list, policy_entry);

struct policy {
	const struct policy_ops *ops;
	void *arg;
	struct policy_settings set;
	LIST_HEAD(policy_entry_list, policy_entry) buckets[BUCKETS];
	struct entry_list idle, places, lost;
	size_t n_entries, n_places, n_waiters;
	uint32_t n_fetches, n_refreshes;
};

int64_t policy_now_s(const struct policy *p);
int64_t policy_mono_ms(const struct policy *p);

/* ---- policy_table.c ---- */

/* NULL: nothing is known of this domain. */
struct policy_entry *entry_find(struct policy *p, const char *domain);
/* The known one, or a new one, IDLE. NULL: the table is full of busy ones. */
struct policy_entry *entry_get(struct policy *p, const char *domain);
void entry_free(struct policy_entry *e);
void entry_set_phase(struct policy_entry *e, enum phase to);
/* Is there anything left to remember? */
bool entry_worth_keeping(const struct policy_entry *e);
/* Forget rec, in memory. */
void entry_drop_record(struct policy_entry *e);

/* ---- policy_record.c ---- */

/* A record is there and unexpired. */
bool entry_valid(const struct policy_entry *e);
/* Read what is stored; an expired one is absent. True: it was there, and went
 * with all that names it. */
bool entry_load(struct policy_entry *e);
/* Changed times and counts of rec: nobody waits; a failure is told. */
void entry_save(struct policy_entry *e);
/* Note that mail uses rec. */
void entry_touch(struct policy_entry *e);
/* When to fetch again: after a fetch, and after one that failed. */
int64_t entry_refresh_time(struct policy *p, const struct policy_record *rec);
int64_t entry_retry_time(const struct policy_entry *e);
/* An event of this entry. text: NULL is fine. */
void entry_tell(
    struct policy_entry *e, enum policy_event_kind kind, const char *text);

#endif
