/*
 * policy_record.c - the stored policy of an entry: read, judged by its age, put
 * back; and what is told of it.
 *
 * Called by policy.c only. Never looks anything up.
 * Sources: RFC 8461 sections 3.3, 10.2; docs/mta-sts.md.
 */
#include "policyd/policy_int.h"

#include "lib/base/err.h"

int64_t
policy_now_s(const struct policy *p)
{
	return p->ops->now_s(p->arg);
}

int64_t
policy_mono_ms(const struct policy *p)
{
	return p->ops->mono_ms(p->arg);
}

void
entry_tell(
    struct policy_entry *e, enum policy_event_kind kind, const char *text)
{
	struct policy_event ev = { .kind = kind,
		.domain = e->domain,
		.id = e->id,
		.text = text != NULL ? text : "",
		.refresh = e->refresh,
		.rec = e->have ? &e->rec : NULL,
		.age_s = e->have ? policy_now_s(e->p) - e->rec.fetched_s : 0 };

	e->p->ops->event(e->p->arg, &ev);
}

/* Unexpired. A policy from the future was stored under another clock: ours
 * never goes back, so there is none. */
bool
entry_valid(const struct policy_entry *e)
{
	return e->have && policy_now_s(e->p) < record_expires_s(&e->rec);
}

void
entry_save(struct policy_entry *e)
{
	int r;

	if (e->held)
		return;
	r = e->p->ops->save(e->p->arg, &e->rec, false);
	if (r < 0)
		entry_tell(e, EVENT_SAVE_FAILED, err_str(r));
}

/* When to look at it again: well before it ends, not all at once. */
int64_t
entry_refresh_time(struct policy *p, const struct policy_record *rec)
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
int64_t
entry_retry_time(const struct policy_entry *e)
{
	uint32_t i;
	int64_t pause = POLICY_RETRY_S, now = policy_now_s(e->p);

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
bool
entry_load(struct policy_entry *e)
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
		entry_tell(e, EVENT_CORRUPT, NULL);
		e->p->ops->forget(e->p->arg, e->domain);
	}
	if (e->have && !entry_valid(e)) {
		entry_tell(e, EVENT_EXPIRED, NULL);
		gone = !e->held;
		if (gone)
			e->p->ops->forget(e->p->arg, e->domain);
		entry_drop_record(e);
	}
	return gone;
}

void
entry_touch(struct policy_entry *e)
{
	if (e->refresh || !e->have ||
	    policy_now_s(e->p) - e->rec.used_s < POLICY_USED_S)
		return;
	e->rec.used_s = policy_now_s(e->p);
	entry_save(e);
}
