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
 * Here are the rounds; how entries are found and bounded is policy_table.c,
 * what is done with their records policy_record.c.
 *
 * Sources: RFC 8461 sections 3.1, 3.3, 5.1, 8.1, 10.2, 10.3; docs/mta-sts.md.
 */
#include "policyd/policy_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/sts/fetch.h"

static void round_begin(struct policy_entry *e);
static void fetch_next(struct policy *p);

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
		entry_drop_record(e);
	entry_set_phase(e, IDLE);
	if (!TAILQ_EMPTY(&e->waiters))
		round_begin(e);
	else if (!entry_worth_keeping(e))
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
		.age_s = policy_now_s(e->p) - e->rec.fetched_s,
		.max_age_s = e->rec.policy.max_age_s,
		.stale = e->rec.failures > 0,
		.list = e->rec.policy.list,
		.list_len = e->rec.policy.list_len };

	entry_touch(e);
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
	entry_tell(e, EVENT_KEPT, reason);
	answer_policy(e, POLICY_FROM_CACHE, reason);
}

/* There may be a policy, and nobody can say: wait, but not for ever. */
static void
in_doubt(struct policy_entry *e, const char *reason)
{
	struct policy *p = e->p;

	if (!e->grace ||
	    policy_mono_ms(p) - e->grace_last_ms > POLICY_GRACE_MS) {
		e->grace = true;
		e->grace_told = false;
		e->grace_ms = policy_mono_ms(p);
	}
	e->grace_last_ms = policy_mono_ms(p);
	if (policy_mono_ms(p) - e->grace_ms < p->set.grace_ms) {
		entry_tell(e, EVENT_WAITING, reason);
		answer_without(e, POLICY_INDETERMINATE, reason);
		return;
	}
	if (!e->grace_told)
		entry_tell(e, EVENT_GRACE_OVER, reason);
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
		e->fail_ms = policy_mono_ms(e->p) + POLICY_FAIL_MS;
	}
	(void)snprintf(e->fail_text, sizeof(e->fail_text), "%s", text);
	e->p->ops->event(e->p->arg, &ev);
	(void)snprintf(
	    reason, sizeof(reason), "fetch failed: %s", e->fail_text);
	if (!entry_valid(e)) {
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
	e->rec.refresh_s = entry_retry_time(e);
	entry_save(e);
	if (e->rec.policy.mode != STS_MODE_NONE &&
	    policy_now_s(e->p) - e->rec.fetched_s > e->rec.policy.max_age_s / 2)
		entry_tell(e, EVENT_REFRESH_LATE, text);
	answer_kept(e, reason);
}

static void
fetch_begin(struct policy_entry *e)
{
	int r;

	entry_set_phase(e, FETCH);
	entry_tell(e, EVENT_FETCH, NULL);
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

	entry_tell(e, EVENT_BUSY, text);
	if (entry_valid(e))
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
	e->place_ms = policy_mono_ms(p);
	entry_set_phase(e, PLACE);
	fetch_next(p);
}

/* ---- a round -------------------------------------------------------------------------
 */

static void
on_no_answer(struct policy_entry *e, const struct sts_txt *txt)
{
	if (entry_valid(e)) {
		if (e->refresh || e->force)
			want_fetch(e); /* whatever TXT says */
		else
			answer_kept(e, txt->reason);
		return;
	}
	if (e->damaged && policy_mono_ms(e->p) >= e->fail_ms)
		want_fetch(e);
	else
		in_doubt(e, txt->reason);
}

static void
on_usable(struct policy_entry *e)
{
	bool same = entry_valid(e) && strcmp(e->rec.id, e->id) == 0;
	char reason[sizeof(e->fail_text) + 64];

	if (e->force || e->refresh) {
		want_fetch(e);
		return;
	}
	if (same) {
		grace_end(e);
		entry_tell(e, EVENT_CACHE_HIT, NULL);
		answer_policy(e, POLICY_FROM_CACHE, "");
		return;
	}
	if (strcmp(e->fail_id, e->id) != 0 ||
	    policy_mono_ms(e->p) >= e->fail_ms) {
		want_fetch(e);
		return;
	}
	(void)snprintf(reason, sizeof(reason),
	    "fetch failed, next try in %lld s: %s",
	    (long long)((e->fail_ms - policy_mono_ms(e->p)) / 1000),
	    e->fail_text);
	if (entry_valid(e))
		answer_kept(e, reason);
	else if (e->damaged)
		in_doubt(e, reason);
	else
		answer_without(e, POLICY_NONE, reason);
}

void
policy_on_txt(struct policy *p, const char *domain, const struct sts_txt *txt)
{
	struct policy_entry *e = entry_find(p, domain);

	if (e == NULL || e->phase != TXT)
		return;
	(void)snprintf(e->id, sizeof(e->id), "%s", txt->id);
	e->blind = txt->outcome == STS_TXT_TEMPORARY;
	if (e->blind) {
		on_no_answer(e, txt);
		return;
	}
	if (txt->outcome == STS_TXT_USABLE) {
		entry_tell(e, EVENT_TXT, NULL);
		on_usable(e);
		return;
	}
	grace_end(e);
	if (e->damaged) {
		on_no_answer(e, txt);
	} else if (!entry_valid(e)) {
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
		(!e->looked ||
		    policy_mono_ms(p) - e->looked_ms >= POLICY_FRESH_MS));
	if (past) {
		e->looked = true;
		e->looked_ms = policy_mono_ms(p);
	}
	e->id[0] = '\0';
	entry_set_phase(e, TXT);
	(void)entry_load(e);
	if (p->ops->txt(p->arg, e->domain, past) < 0)
		entry_set_phase(e, LOST); /* no callback inside policy_ask() */
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
	int64_t used = policy_now_s(p);

	text = malloc(text_len > 0 ? text_len : 1);
	if (text == NULL)
		return -ENOMEM;
	if (text_len > 0)
		memcpy(text, res->text, text_len);
	if (e->have) {
		memcpy(old_id, e->rec.id, sizeof(old_id));
		if (e->refresh)
			used = e->rec.used_s;
		entry_drop_record(e);
	}
	memset(&e->rec, 0, sizeof(e->rec));
	e->have = true;
	memcpy(e->rec.domain, e->domain, sizeof(e->rec.domain));
	/* the id that was announced when it was fetched; without one the old
	 * stays, so that the next announcement is compared with it */
	(void)snprintf(e->rec.id, sizeof(e->rec.id), "%s",
	    e->id[0] != '\0' ? e->id : old_id);
	e->rec.fetched_s = policy_now_s(p) - res->age_s;
	e->rec.used_s = used;
	e->rec.policy = res->policy;
	memset(&res->policy, 0, sizeof(res->policy)); /* ours now */
	e->rec.text = text;
	e->rec.text_len = text_len;
	e->rec.refresh_s = entry_refresh_time(p, &e->rec);
	e->fail_id[0] = '\0';
	e->damaged = e->grace = false;
	entry_tell(e, EVENT_FETCHED, NULL);
	if (e->fresh && old_id[0] != '\0' && strcmp(old_id, e->rec.id) != 0)
		entry_tell(e, EVENT_HEALED, old_id);
	return 0;
}

void
policy_on_fetch(
    struct policy *p, const char *domain, struct sts_fetch_result *res)
{
	struct policy_entry *e = entry_find(p, domain);
	int r;

	if (e == NULL || e->phase != FETCH)
		return;
	/* the place is free from here on */
	entry_set_phase(e, SAVE);
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
	struct policy_entry *e = entry_find(p, domain);

	if (e == NULL || e->phase != SAVE)
		return;
	if (result < 0)
		entry_tell(e, EVENT_SAVE_FAILED, err_str(result));
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

/* No round after all. */
static void
settle(struct policy_entry *e)
{
	if (!e->held)
		entry_drop_record(e);
	if (!entry_worth_keeping(e))
		entry_free(e);
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
	gone = entry_load(e);
	if (!e->have || e->rec.refresh_s > policy_now_s(p)) {
		/* expired, damaged, deleted or changed */
		settle(e);
		return gone ? POLICY_DUE_TAKEN : POLICY_DUE_LIES;
	}
	if (policy_now_s(p) - e->rec.used_s > POLICY_IDLE_S) {
		/* nobody sends there: let it expire, then it is deleted */
		e->rec.refresh_s = record_expires_s(&e->rec);
		entry_save(e);
		settle(e);
		return POLICY_DUE_TAKEN;
	}
	if (!e->held)
		entry_drop_record(e);
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
		entry_set_phase(e, TXT);
		policy_on_txt(p, e->domain, &not_asked);
	}
	while ((e = TAILQ_FIRST(&p->places)) != NULL &&
	    policy_mono_ms(p) - e->place_ms >= POLICY_WAIT_MS)
		busy(e);
	fetch_next(p);
}

void
policy_set(struct policy *p, const struct policy_settings *settings)
{
	p->set = *settings;
	fetch_next(p);
}
