/*
 * policy_clock.c - Unix time that never goes back (policy.h).
 *
 * Pure: the wall clock, the monotonic one and what was stored are told to it.
 * Source: RFC 8461 section 3.2 (max_age), docs/mta-sts.md.
 */
#include "policyd/policy.h"

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
