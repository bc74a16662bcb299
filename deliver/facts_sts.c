/*
 * facts_sts.c - the MTA-STS policy of a domain, as policyd tells it.
 *
 * Called by facts.c. Until there is an answer nothing is known, which is not the
 * same as that there is none.
 */
#include "deliver/facts_int.h"

#include "deliver/arena.h"

/* The patterns as the verdict wants them. */
static void
keep_patterns(struct gather *g, const struct policy_answer *a)
{
	struct facts_sts_policy *sts = &g->plan->facts.sts;
	const char *text, **mx;
	size_t at = 0, n = 0;

	while (sts_list_next(a->list, a->list_len, &at) != NULL)
		n++;
	mx = arena_alloc(g->plan->arena, (n + 1) * sizeof(mx[0]));
	if (mx == NULL) {
		g->short_of_memory = true;
		return;
	}
	for (at = 0, n = 0;
	     (text = sts_list_next(a->list, a->list_len, &at)) != NULL; n++)
		mx[n] = gather_keep(g, text);
	sts->mx = mx;
	sts->n_mx = n;
}

static void
take_policy(struct gather *g, const struct policy_answer *a)
{
	static const enum facts_sts_mode modes[] = {
		[STS_MODE_NONE] = FACTS_STS_MODE_NONE,
		[STS_MODE_TESTING] = FACTS_STS_TESTING,
		[STS_MODE_ENFORCE] = FACTS_STS_ENFORCE,
	};
	struct facts_sts_policy *sts = &g->plan->facts.sts;
	int64_t left = (int64_t)a->max_age_s - a->age_s;

	sts->state = FACTS_STS_POLICY;
	sts->mode = modes[a->mode];
	sts->id = gather_keep(g, a->id);
	sts->age_s = a->age_s;
	sts->max_age_s = a->max_age_s;
	sts->stale = a->stale;
	sts->source = policy_source_word(a->source);
	keep_patterns(g, a);
	/* the plan must not outlive it */
	if (left < g->ttl_s)
		g->ttl_s = left > 0 ? (uint32_t)left : 0;
}

static void
on_policy(void *arg, const struct policy_answer *a)
{
	struct gather *g = arg;
	struct facts_sts_policy *sts = &g->plan->facts.sts;

	g->want = NULL;
	g->n_lookups--;
	sts->reason = gather_keep(g, a->reason);
	switch (a->state) {
	case POLICY_FOUND:
		take_policy(g, a);
		break;
	case POLICY_NONE:
		sts->state = FACTS_STS_NONE;
		break;
	case POLICY_INDETERMINATE:
	default:
		sts->state = FACTS_STS_INDETERMINATE;
		g->ttl_s = 0;
	}
	/* a changed id is to be seen soon, whatever the TTL of the MX */
	if (g->ttl_s > PLAN_POLICY_S)
		g->ttl_s = PLAN_POLICY_S;
	if (g->n_lookups == 0)
		gather_next_step(g);
}

void
facts_ask_policy(struct gather *g)
{
	if (g->plan->set.mta_sts == CONF_STS_OFF)
		return;
	/* until there is an answer nothing is known */
	g->plan->facts.sts.state = FACTS_STS_INDETERMINATE;
	g->want = want_start(g->d, g->plan->domain, g->fresh, on_policy, g);
	if (g->want != NULL)
		g->n_lookups++;
}
