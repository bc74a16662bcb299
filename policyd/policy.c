/*
 * policy.c - one small state machine per domain that something is known of.
 *
 *	IDLE -> TXT -> (answer)		(LOST: the lookup could not be asked)
 *	            -> PLACE -> FETCH -> SAVE -> (answer)
 *	                              -> (answer)
 *
 * Everyone who asks while a round runs waits for its end: one TXT lookup and
 * one fetch per domain at a time. An entry that has nothing left to remember
 * (a grace that runs, an id that failed, a fresh look just taken) goes away
 * when its round ends.
 *
 * Sources: RFC 8461 sections 3.1, 3.3, 5.1, 8.1, 10.2, 10.3; docs/mta-sts.md.
 */
#include "policyd/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/hash.h"
#include "lib/sts/fetch.h"

enum { BUCKETS = 16384 };

enum phase { IDLE, TXT, LOST, PLACE, FETCH, SAVE };

struct policy_entry {
	LIST_ENTRY(policy_entry) bucket;
	TAILQ_ENTRY(policy_entry)
	order; /* IDLE: least recent first; PLACE and
					  * LOST: first come, first served */
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

static void round_begin(struct policy_entry *e);
static void fetch_next(struct policy *p);

/* ---- clock -------------------------------------------------------------------
 */

void
policy_clock_init(struct policy_clock *c, int64_t stored_s,
    int64_t stored_wall_s, int64_t wall_s, int64_t mono_ms)
{
	/* a wall clock that was ahead once leaves ours ahead for good; it still
	 * has to go while nobody runs, or each restart would lengthen lives */
	if (stored_s > 0 && stored_wall_s > 0 && wall_s > stored_wall_s)
		stored_s += wall_s - stored_wall_s;
	c->now_s = stored_s > wall_s ? stored_s : wall_s;
	c->at_ms = mono_ms;
}

int64_t
policy_clock_now(struct policy_clock *c, int64_t wall_s, int64_t mono_ms)
{
	int64_t passed = (mono_ms - c->at_ms) / 1000;

	if (passed > 0) {
		c->now_s += passed;
		c->at_ms += passed * 1000;
	}
	if (wall_s > c->now_s)
		c->now_s = wall_s;
	return c->now_s;
}

static int64_t
now_s(const struct policy *p)
{
	return p->ops->now_s(p->arg);
}

static int64_t
mono_ms(const struct policy *p)
{
	return p->ops->mono_ms(p->arg);
}

/* ---- entries -------------------------------------------------------------------
 */

static size_t
bucket_of(const char *domain)
{
	return hash_bytes(domain, strlen(domain)) % BUCKETS;
}

static struct policy_entry *
find(struct policy *p, const char *domain)
{
	struct policy_entry *e;

	LIST_FOREACH(e, &p->buckets[bucket_of(domain)], bucket)
		if (strcmp(e->domain, domain) == 0)
			return e;
	return NULL;
}

static void
rec_drop(struct policy_entry *e)
{
	if (e->have)
		record_done(&e->rec);
	e->have = e->held = e->full = false;
}

static void
entry_free(struct policy_entry *e)
{
	struct policy *p = e->p;

	if (e->phase == IDLE)
		TAILQ_REMOVE(&p->idle, e, order);
	if (e->phase == PLACE)
		TAILQ_REMOVE(&p->places, e, order);
	if (e->phase == LOST)
		TAILQ_REMOVE(&p->lost, e, order);
	LIST_REMOVE(e, bucket);
	p->n_entries--;
	rec_drop(e);
	free(e);
}

/* The idle entry that was used longest ago. Not one that holds the only copy
 * of a policy, as far as a short look finds another. */
static struct policy_entry *
dispensable(struct policy *p)
{
	struct policy_entry *e;
	int n = 0;

	TAILQ_FOREACH(e, &p->idle, order)
		if ((!e->held || e->full) && !e->damaged)
			return e;
		else if (++n == 64)
			break;
	return NULL;
}

/* An idle entry, new or known. NULL: the table is full of busy ones. */
static struct policy_entry *
entry_get(struct policy *p, const char *domain)
{
	struct policy_entry *e = find(p, domain);

	if (e != NULL)
		return e;
	if (p->n_entries >= POLICY_ENTRIES_MAX) {
		/* what is forgotten here is asked or fetched once too often,
		 * or a grace begins anew: nothing gets weaker */
		e = dispensable(p);
		if (e == NULL)
			return NULL;
		entry_free(e);
	}
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->p = p;
	TAILQ_INIT(&e->waiters);
	TAILQ_INIT(&e->ready);
	(void)snprintf(e->domain, sizeof(e->domain), "%s", domain);
	LIST_INSERT_HEAD(&p->buckets[bucket_of(domain)], e, bucket);
	TAILQ_INSERT_TAIL(&p->idle, e, order);
	p->n_entries++;
	return e;
}

static bool
worth_keeping(const struct policy_entry *e)
{
	int64_t now = mono_ms(e->p);

	return e->held || e->damaged || e->grace ||
	    (e->fail_id[0] != '\0' && now < e->fail_ms) ||
	    (e->looked && now - e->looked_ms < POLICY_FRESH_MS);
}

static void
set_phase(struct policy_entry *e, enum phase to)
{
	struct policy *p = e->p;

	if (e->phase == IDLE)
		TAILQ_REMOVE(&p->idle, e, order);
	if (e->phase == PLACE) {
		TAILQ_REMOVE(&p->places, e, order);
		p->n_places--;
	}
	if (e->phase == LOST)
		TAILQ_REMOVE(&p->lost, e, order);
	if (e->phase == FETCH)
		p->n_fetches--;
	e->phase = to;
	if (to == IDLE)
		TAILQ_INSERT_TAIL(&p->idle, e, order);
	if (to == PLACE) {
		TAILQ_INSERT_TAIL(&p->places, e, order);
		p->n_places++;
	}
	if (to == LOST)
		TAILQ_INSERT_TAIL(&p->lost, e, order);
	if (to == FETCH)
		p->n_fetches++;
}

/* ---- events ---------------------------------------------------------------------
 */

static void
tell(struct policy_entry *e, enum policy_event_kind kind, const char *text)
{
	struct policy_event ev = { .kind = kind,
		.domain = e->domain,
		.id = e->id,
		.text = text != NULL ? text : "",
		.refresh = e->refresh,
		.rec = e->have ? &e->rec : NULL,
		.age_s = e->have ? now_s(e->p) - e->rec.fetched_s : 0 };

	e->p->ops->event(e->p->arg, &ev);
}

/* ---- records ----------------------------------------------------------------------
 */

/* Unexpired. A policy from the future was stored under another clock: ours
 * never goes back, so there is none. */
static bool
valid(const struct policy_entry *e)
{
	return e->have && now_s(e->p) < record_expires_s(&e->rec);
}

static void
save_quietly(struct policy_entry *e)
{
	int r;

	if (e->held)
		return;
	r = e->p->ops->save(e->p->arg, &e->rec, false);
	if (r < 0)
		tell(e, EVENT_SAVE_FAILED, err_str(r));
}

/* When to look at it again: well before it ends, not all at once. */
static int64_t
refresh_time(struct policy *p, const struct policy_record *rec)
{
	int64_t span = rec->policy.max_age_s / 2;
	uint32_t jitter = p->ops->random(p->arg);

	if (span > p->set.refresh_s)
		span = p->set.refresh_s;
	/* 80 to 100 percent */
	span -= (int64_t)(((uint64_t)span / 5) * (jitter >> 12) >> 20);
	return rec->fetched_s + (span > 0 ? span : rec->policy.max_age_s);
}

/* A refresh failed: soon again, but ever less often, and not beyond the end. */
static int64_t
retry_time(const struct policy_entry *e)
{
	uint32_t i;
	int64_t pause = POLICY_RETRY_S, now = now_s(e->p);

	for (i = 1; i < e->rec.failures && pause < POLICY_RETRY_MAX_S; i++)
		pause *= 2;
	if (pause > POLICY_RETRY_MAX_S)
		pause = POLICY_RETRY_MAX_S;
	if (now + pause > record_expires_s(&e->rec))
		return record_expires_s(&e->rec);
	return now + pause;
}

/* Read what is stored; an expired one is absent. True: it was there, and went
 * with all that names it. */
static bool
load(struct policy_entry *e)
{
	bool gone = false;
	int r = 0;

	if (!e->held) {
		r = e->p->ops->load(e->p->arg, e->domain, &e->rec);
		e->have = r == 0;
	}
	e->unread = r < 0 && r != PE_NOT_FOUND && r != PE_CORRUPT;
	if (r == PE_CORRUPT) {
		/* there was a policy: fetch it, whatever TXT says */
		e->damaged = true;
		tell(e, EVENT_CORRUPT, NULL);
		e->p->ops->forget(e->p->arg, e->domain);
	}
	if (e->have && !valid(e)) {
		tell(e, EVENT_EXPIRED, NULL);
		gone = !e->held;
		if (gone)
			e->p->ops->forget(e->p->arg, e->domain);
		rec_drop(e);
	}
	return gone;
}

static void
touch(struct policy_entry *e)
{
	if (e->refresh || !e->have ||
	    now_s(e->p) - e->rec.used_s < POLICY_USED_S)
		return;
	e->rec.used_s = now_s(e->p);
	save_quietly(e);
}

/* ---- answers -----------------------------------------------------------------------
 */

/* The end of a round: everyone whose wish it fulfilled is answered, and for
 * the others (who wanted a fresh look and came too late) another begins. */
static void
finish(struct policy_entry *e, const struct policy_answer *answer)
{
	struct policy *p = e->p;
	struct policy_waiter *w, *next;

	for (w = TAILQ_FIRST(&e->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if ((w->fresh && !e->fresh) || (w->force && !e->force))
			continue;
		TAILQ_REMOVE(&e->waiters, w, link);
		TAILQ_INSERT_TAIL(&e->ready, w, link);
		w->ready = true;
	}
	if (e->refresh)
		p->n_refreshes--;
	e->refresh = false;
	/* the entry stays busy until all callbacks have returned: they may
	 * ask, and cancel others */
	while ((w = TAILQ_FIRST(&e->ready)) != NULL) {
		TAILQ_REMOVE(&e->ready, w, link);
		w->entry = NULL;
		p->n_waiters--;
		w->cb(w->arg, answer);
	}
	if (!e->held)
		rec_drop(e);
	set_phase(e, IDLE);
	if (!TAILQ_EMPTY(&e->waiters))
		round_begin(e);
	else if (!worth_keeping(e))
		entry_free(e);
}

static void
answer_policy(
    struct policy_entry *e, enum policy_source source, const char *reason)
{
	struct policy_answer a = { .state = POLICY_FOUND,
		.reason = reason,
		.source = source,
		.mode = e->rec.policy.mode,
		.id = e->rec.id,
		.fetched_s = e->rec.fetched_s,
		.age_s = now_s(e->p) - e->rec.fetched_s,
		.max_age_s = e->rec.policy.max_age_s,
		.stale = e->rec.failures > 0,
		.list = e->rec.policy.list,
		.list_len = e->rec.policy.list_len };

	touch(e);
	finish(e, &a);
}

static void
answer_without(
    struct policy_entry *e, enum policy_state state, const char *reason)
{
	struct policy_answer a = { .state = state, .reason = reason, .id = "" };

	if (state == POLICY_NONE && e->unread) {
		a.state = POLICY_INDETERMINATE;
		a.reason = "the policy store cannot be read";
	}
	finish(e, &a);
}

/* No live policy: the stored one where there is one, whatever the reason. */
static void
answer_kept(struct policy_entry *e, const char *reason)
{
	tell(e, EVENT_KEPT, reason);
	answer_policy(e, POLICY_FROM_CACHE, reason);
}

/* There may be a policy, and nobody can say: wait, but not for ever. */
static void
in_doubt(struct policy_entry *e, const char *reason)
{
	struct policy *p = e->p;

	if (!e->grace || mono_ms(p) - e->grace_last_ms > POLICY_GRACE_MS) {
		e->grace = true;
		e->grace_told = false;
		e->grace_ms = mono_ms(p);
	}
	e->grace_last_ms = mono_ms(p);
	if (mono_ms(p) - e->grace_ms < p->set.grace_ms) {
		tell(e, EVENT_WAITING, reason);
		answer_without(e, POLICY_INDETERMINATE, reason);
		return;
	}
	if (!e->grace_told)
		tell(e, EVENT_GRACE_OVER, reason);
	e->grace_told = true;
	e->damaged = false;
	answer_without(e, POLICY_NONE, reason);
}

/* ---- fetching -----------------------------------------------------------------------
 */

/* The doubt is over: what is known now is known. */
static void
grace_end(struct policy_entry *e)
{
	if (!e->damaged)
		e->grace = false;
}

/* doubt: it failed before anyone could say that there is no policy. */
static void
fetch_failed(struct policy_entry *e, int why, bool doubt, const char *text)
{
	struct policy_event ev = { .kind = EVENT_FETCH_FAILED,
		.domain = e->domain,
		.id = e->id,
		.text = text,
		.why = why,
		.refresh = e->refresh,
		.rec = e->have ? &e->rec : NULL };
	char reason[sizeof(e->fail_text) + 32];

	if (why != STS_FETCH_INTERNAL && !doubt) {
		if (!e->blind)
			grace_end(e);
		(void)snprintf(e->fail_id, sizeof(e->fail_id), "%s", e->id);
		e->fail_ms = mono_ms(e->p) + POLICY_FAIL_MS;
	}
	(void)snprintf(e->fail_text, sizeof(e->fail_text), "%s", text);
	e->p->ops->event(e->p->arg, &ev);
	(void)snprintf(
	    reason, sizeof(reason), "fetch failed: %s", e->fail_text);
	if (!valid(e)) {
		if (why == STS_FETCH_INTERNAL)
			/* our trouble: it was not even tried */
			answer_without(e, POLICY_INDETERMINATE, reason);
		else if (e->damaged || e->blind || doubt)
			in_doubt(e, reason);
		else
			/* TXT says there is one, nobody can get it: as without
			 * one (RFC 8461, 3.3) */
			answer_without(e, POLICY_NONE, reason);
		return;
	}
	e->rec.failures++;
	(void)snprintf(e->rec.error, sizeof(e->rec.error), "%s", text);
	e->rec.refresh_s = retry_time(e);
	save_quietly(e);
	if (e->rec.policy.mode != STS_MODE_NONE &&
	    now_s(e->p) - e->rec.fetched_s > e->rec.policy.max_age_s / 2)
		tell(e, EVENT_REFRESH_LATE, text);
	answer_kept(e, reason);
}

static void
fetch_begin(struct policy_entry *e)
{
	int r;

	set_phase(e, FETCH);
	tell(e, EVENT_FETCH, NULL);
	r = e->p->ops->fetch(e->p->arg, e->domain,
	    e->force || e->refresh || e->fresh ? "" : e->id);
	if (r < 0)
		fetch_failed(e, STS_FETCH_INTERNAL, false, err_str(r));
}

/* Places are for those who wait first; refreshes leave room for them. */
static void
fetch_next(struct policy *p)
{
	struct policy_entry *e;

	while (p->n_fetches < p->set.max_fetches &&
	    (e = TAILQ_FIRST(&p->places)) != NULL)
		fetch_begin(e);
}

/* Our own trouble, not theirs: it must not look like "no policy". */
static void
busy(struct policy_entry *e)
{
	static const char text[] = "too many policy fetches at once";

	tell(e, EVENT_BUSY, text);
	if (valid(e))
		answer_kept(e, text);
	else
		answer_without(e, POLICY_INDETERMINATE, text);
}

static void
want_fetch(struct policy_entry *e)
{
	struct policy *p = e->p;

	if (p->n_places >= POLICY_WAITING_MAX) {
		busy(e);
		return;
	}
	e->place_ms = mono_ms(p);
	set_phase(e, PLACE);
	fetch_next(p);
}

/* ---- a round -------------------------------------------------------------------------
 */

static void
on_no_answer(struct policy_entry *e, const struct sts_txt *txt)
{
	if (valid(e)) {
		if (e->refresh || e->force)
			want_fetch(e); /* whatever TXT says */
		else
			answer_kept(e, txt->reason);
		return;
	}
	if (e->damaged && mono_ms(e->p) >= e->fail_ms)
		want_fetch(e);
	else
		in_doubt(e, txt->reason);
}

static void
on_usable(struct policy_entry *e)
{
	bool same = valid(e) && strcmp(e->rec.id, e->id) == 0;
	char reason[sizeof(e->fail_text) + 64];

	if (e->force || e->refresh) {
		want_fetch(e);
		return;
	}
	if (same) {
		grace_end(e);
		tell(e, EVENT_CACHE_HIT, NULL);
		answer_policy(e, POLICY_FROM_CACHE, "");
		return;
	}
	if (strcmp(e->fail_id, e->id) != 0 || mono_ms(e->p) >= e->fail_ms) {
		want_fetch(e);
		return;
	}
	(void)snprintf(reason, sizeof(reason),
	    "fetch failed, next try in %lld s: %s",
	    (long long)((e->fail_ms - mono_ms(e->p)) / 1000), e->fail_text);
	if (valid(e))
		answer_kept(e, reason);
	else if (e->damaged)
		in_doubt(e, reason);
	else
		answer_without(e, POLICY_NONE, reason);
}

void
policy_on_txt(struct policy *p, const char *domain, const struct sts_txt *txt)
{
	struct policy_entry *e = find(p, domain);

	if (e == NULL || e->phase != TXT)
		return;
	(void)snprintf(e->id, sizeof(e->id), "%s", txt->id);
	e->blind = txt->outcome == STS_TXT_TEMPORARY;
	if (e->blind) {
		on_no_answer(e, txt);
		return;
	}
	if (txt->outcome == STS_TXT_USABLE) {
		tell(e, EVENT_TXT, NULL);
		on_usable(e);
		return;
	}
	grace_end(e);
	if (e->damaged) {
		on_no_answer(e, txt);
	} else if (!valid(e)) {
		/* also for an operator who asks: nobody announces it (STS-04) */
		answer_without(e, POLICY_NONE, txt->reason);
	} else if (e->refresh || e->force) {
		want_fetch(e); /* whatever TXT says (STS-38) */
	} else {
		answer_kept(e, txt->reason);
	}
}

static void
round_begin(struct policy_entry *e)
{
	struct policy *p = e->p;
	struct policy_waiter *w;
	bool past;

	e->fresh = e->force = false;
	TAILQ_FOREACH(w, &e->waiters, link) {
		e->fresh = e->fresh || w->fresh;
		e->force = e->force || w->force;
	}
	/* the fresh look may have been taken a moment ago (STS-55) */
	past = e->force ||
	    (e->fresh &&
		(!e->looked || mono_ms(p) - e->looked_ms >= POLICY_FRESH_MS));
	if (past) {
		e->looked = true;
		e->looked_ms = mono_ms(p);
	}
	e->id[0] = '\0';
	set_phase(e, TXT);
	(void)load(e);
	if (p->ops->txt(p->arg, e->domain, past) < 0)
		set_phase(e, LOST); /* no callback inside policy_ask() */
}

/* ---- after a fetch ---------------------------------------------------------------------
 */

/* The new record of the entry, in place of the old. 0 or -ENOMEM. */
static int
take_fetched(struct policy_entry *e, struct sts_fetch_result *res)
{
	/* for people; what counts is the parsed form */
	size_t text_len =
	    res->text_len > RECORD_TEXT_MAX ? RECORD_TEXT_MAX : res->text_len;
	char old_id[STS_ID_MAX + 1] = "", *text;
	struct policy *p = e->p;
	int64_t used = now_s(p);

	text = malloc(text_len > 0 ? text_len : 1);
	if (text == NULL)
		return -ENOMEM;
	if (text_len > 0)
		memcpy(text, res->text, text_len);
	if (e->have) {
		memcpy(old_id, e->rec.id, sizeof(old_id));
		if (e->refresh)
			used = e->rec.used_s;
		rec_drop(e);
	}
	memset(&e->rec, 0, sizeof(e->rec));
	e->have = true;
	memcpy(e->rec.domain, e->domain, sizeof(e->rec.domain));
	/* the id that was announced when it was fetched; without one the old
	 * stays, so that the next announcement is compared with it */
	(void)snprintf(e->rec.id, sizeof(e->rec.id), "%s",
	    e->id[0] != '\0' ? e->id : old_id);
	e->rec.fetched_s = now_s(p);
	e->rec.used_s = used;
	e->rec.policy = res->policy;
	memset(&res->policy, 0, sizeof(res->policy)); /* ours now */
	e->rec.text = text;
	e->rec.text_len = text_len;
	e->rec.refresh_s = refresh_time(p, &e->rec);
	e->fail_id[0] = '\0';
	e->damaged = e->grace = false;
	tell(e, EVENT_FETCHED, NULL);
	if (e->fresh && old_id[0] != '\0' && strcmp(old_id, e->rec.id) != 0)
		tell(e, EVENT_HEALED, old_id);
	return 0;
}

void
policy_on_fetch(
    struct policy *p, const char *domain, struct sts_fetch_result *res)
{
	struct policy_entry *e = find(p, domain);
	int r;

	if (e == NULL || e->phase != FETCH)
		return;
	/* the place is free from here on */
	set_phase(e, SAVE);
	if (res->why != STS_FETCH_OK) {
		fetch_failed(e, (int)res->why, res->doubt, res->reason);
	} else if (take_fetched(e, res) < 0) {
		fetch_failed(e, STS_FETCH_INTERNAL, false, "out of memory");
	} else {
		/* on disk before it is believed: what was enforced once
		 * outlives every crash */
		r = p->ops->save(p->arg, &e->rec, true);
		if (r < 0)
			policy_on_saved(p, domain, r);
	}
	fetch_next(p);
}

void
policy_on_saved(struct policy *p, const char *domain, int result)
{
	struct policy_entry *e = find(p, domain);

	if (e == NULL || e->phase != SAVE)
		return;
	if (result < 0)
		tell(e, EVENT_SAVE_FAILED, err_str(result));
	/* then memory holds it as long as it can */
	e->held = result < 0;
	e->full = result == PE_FULL;
	answer_policy(e, POLICY_FROM_FETCH, "");
}

/* ---- what is asked of us -----------------------------------------------------------------
 */

int
policy_ask(struct policy *p, struct policy_waiter *w, const char *domain,
    unsigned flags, policy_answer_cb *cb, void *arg)
{
	struct policy_entry *e;

	memset(w, 0, sizeof(*w));
	if (strlen(domain) >= DNS_NAME_SIZE)
		return -EINVAL;
	e = entry_get(p, domain);
	if (e == NULL)
		return PE_FULL;
	w->entry = e;
	w->cb = cb;
	w->arg = arg;
	w->force = (flags & POLICY_ASK_FORCE) != 0;
	w->fresh = (flags & (POLICY_ASK_FRESH | POLICY_ASK_FORCE)) != 0;
	TAILQ_INSERT_TAIL(&e->waiters, w, link);
	p->n_waiters++;
	if (e->phase == IDLE)
		round_begin(e);
	return 0;
}

void
policy_cancel(struct policy_waiter *w)
{
	struct policy_entry *e = w->entry;

	if (e == NULL)
		return;
	if (w->ready)
		TAILQ_REMOVE(&e->ready, w, link);
	else
		TAILQ_REMOVE(&e->waiters, w, link);
	e->p->n_waiters--;
	w->entry = NULL;
}

uint32_t
policy_refresh_room(const struct policy *p)
{
	uint32_t most = (p->set.max_fetches + 1) / 2;

	return p->n_refreshes < most ? most - p->n_refreshes : 0;
}

enum policy_due
policy_refresh(struct policy *p, const char *domain)
{
	struct policy_entry *e;
	bool gone;

	if (policy_refresh_room(p) == 0)
		return POLICY_DUE_LATER;
	e = entry_get(p, domain);
	if (e == NULL || e->phase != IDLE)
		return POLICY_DUE_LATER;
	gone = load(e);
	if (!e->have || e->rec.refresh_s > now_s(p)) {
		/* expired, damaged, deleted or changed */
		if (!e->held)
			rec_drop(e);
		if (!worth_keeping(e))
			entry_free(e);
		return gone ? POLICY_DUE_TAKEN : POLICY_DUE_LIES;
	}
	if (now_s(p) - e->rec.used_s > POLICY_IDLE_S) {
		/* nobody sends there: let it expire, then it is deleted */
		e->rec.refresh_s = record_expires_s(&e->rec);
		save_quietly(e);
		if (!e->held)
			rec_drop(e);
		if (!worth_keeping(e))
			entry_free(e);
		return POLICY_DUE_TAKEN;
	}
	if (!e->held)
		rec_drop(e);
	e->refresh = true;
	p->n_refreshes++;
	round_begin(e);
	return POLICY_DUE_TAKEN;
}

void
policy_tick(struct policy *p)
{
	static const struct sts_txt not_asked = { .outcome = STS_TXT_TEMPORARY,
		.reason = "TXT lookup failed: could not be asked" };
	size_t n = p->n_entries; /* what is lost again has to wait */
	struct policy_entry *e;

	while (n-- > 0 && (e = TAILQ_FIRST(&p->lost)) != NULL) {
		set_phase(e, TXT);
		policy_on_txt(p, e->domain, &not_asked);
	}
	while ((e = TAILQ_FIRST(&p->places)) != NULL &&
	    mono_ms(p) - e->place_ms >= POLICY_WAIT_MS)
		busy(e);
	fetch_next(p);
}

/* ---- life ----------------------------------------------------------------------------------
 */

struct policy *
policy_new(const struct policy_ops *ops, void *arg,
    const struct policy_settings *settings)
{
	struct policy *p = calloc(1, sizeof(*p));
	size_t i;

	if (p == NULL)
		return NULL;
	p->ops = ops;
	p->arg = arg;
	p->set = *settings;
	for (i = 0; i < BUCKETS; i++)
		LIST_INIT(&p->buckets[i]);
	TAILQ_INIT(&p->idle);
	TAILQ_INIT(&p->places);
	TAILQ_INIT(&p->lost);
	return p;
}

void
policy_set(struct policy *p, const struct policy_settings *settings)
{
	p->set = *settings;
	fetch_next(p);
}

void
policy_free(struct policy *p)
{
	struct policy_entry *e;
	struct policy_waiter *w;
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < BUCKETS; i++)
		while ((e = LIST_FIRST(&p->buckets[i])) != NULL) {
			while ((w = TAILQ_FIRST(&e->waiters)) != NULL) {
				TAILQ_REMOVE(&e->waiters, w, link);
				w->entry = NULL;
			}
			entry_free(e);
		}
	free(p);
}

void
policy_stats(const struct policy *p, struct policy_stats *ret)
{
	ret->entries = p->n_entries;
	ret->waiters = p->n_waiters;
	ret->fetching = p->n_fetches;
	ret->waiting = p->n_places;
	ret->refreshing = p->n_refreshes;
}
