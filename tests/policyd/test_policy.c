/*
 * test_policy.c - the engine of discovery, cache and refresh, against a world
 * that is played by the test: DNS, policy host, store and clock are variables.
 * Test names carry the lines of the checklist (docs/mta-sts.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/base/hash.h"
#include "lib/sts/fetch.h"
#include "policyd/policy.h"

#define D "a.example"

enum { DAY = 86400, MIN_MS = 60 * 1000, STORED = 8 };

struct world {
	struct policy *p;
	struct policy_clock clock;
	int64_t mono_ms, wall_s;
	/* what is asked of it, and not answered yet */
	unsigned txt_asked, fresh_asked, fetches_begun, saves, forgets;
	bool txt_open, fetch_open, save_open, txt_refused, fetch_refused;
	int save_result, load_result;
	char fetching[DNS_NAME_SIZE]; /* the last one */
	char fetch_id[STS_ID_MAX + 1];
	struct policy_record stored[STORED];
	size_t n_stored;
	unsigned events[EVENT_COUNT];
	char event_text[256];
	/* the last answer */
	unsigned answers, seen;
	enum policy_state state;
	enum policy_source source;
	enum sts_mode mode;
	char id[STS_ID_MAX + 1], reason[256], list[256];
	int64_t age_s;
	bool stale;
	struct policy_waiter waiter; /* of ask() */
};

static const struct policy_settings settings = {
	.grace_ms = 15 * MIN_MS, .refresh_s = DAY, .max_fetches = 2
};

/* ---- ops --------------------------------------------------------------------
 */

static int64_t
w_now_s(void *arg)
{
	struct world *w = arg;

	return policy_clock_now(&w->clock, w->wall_s, w->mono_ms);
}

static int64_t
w_mono_ms(void *arg)
{
	return ((struct world *)arg)->mono_ms;
}

static uint32_t
w_random(void *arg)
{
	(void)arg;
	return 0; /* no jitter: refresh at the very end of the span */
}

static int
w_txt(void *arg, const char *domain, bool fresh)
{
	struct world *w = arg;

	(void)domain;
	if (w->txt_refused)
		return PE_FULL;
	w->txt_asked++;
	w->fresh_asked += fresh;
	w->txt_open = true;
	return 0;
}

static int
w_fetch(void *arg, const char *domain, const char *id)
{
	struct world *w = arg;

	(void)snprintf(w->fetch_id, sizeof(w->fetch_id), "%s", id);
	if (w->fetch_refused)
		return -ENOMEM;
	w->fetches_begun++;
	w->fetch_open = true;
	(void)snprintf(w->fetching, sizeof(w->fetching), "%s", domain);
	return 0;
}

static struct policy_record *
stored(struct world *w, const char *domain)
{
	size_t i;

	for (i = 0; i < w->n_stored; i++)
		if (strcmp(w->stored[i].domain, domain) == 0)
			return &w->stored[i];
	return NULL;
}

static int
w_load(void *arg, const char *domain, struct policy_record *ret)
{
	struct world *w = arg;
	struct policy_record *rec = stored(w, domain);

	if (w->load_result < 0)
		return w->load_result;
	return rec == NULL ? PE_NOT_FOUND : record_copy(rec, ret);
}

static void
w_forget(void *arg, const char *domain)
{
	struct world *w = arg;
	struct policy_record *rec = stored(w, domain);

	w->forgets++;
	w->load_result = 0;
	if (rec == NULL)
		return;
	record_done(rec);
	*rec = w->stored[--w->n_stored];
}

static int
w_save(void *arg, const struct policy_record *rec, bool wait)
{
	struct world *w = arg;
	struct policy_record *old = stored(w, rec->domain);

	w->saves++;
	w->save_open = w->save_open || wait;
	if (w->save_result < 0)
		return 0; /* told by policy_on_saved() */
	if (old == NULL) {
		assert_true(w->n_stored < STORED);
		old = &w->stored[w->n_stored++];
	} else {
		record_done(old);
	}
	return record_copy(rec, old);
}

static void
w_event(void *arg, const struct policy_event *ev)
{
	struct world *w = arg;

	w->events[ev->kind]++;
	(void)snprintf(w->event_text, sizeof(w->event_text), "%s", ev->text);
}

static const struct policy_ops ops = {
	.now_s = w_now_s,
	.mono_ms = w_mono_ms,
	.random = w_random,
	.txt = w_txt,
	.fetch = w_fetch,
	.load = w_load,
	.save = w_save,
	.forget = w_forget,
	.event = w_event,
};

/* ---- playing -----------------------------------------------------------------
 */

static void
begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->wall_s = 1800000000;
	w->mono_ms = 5000;
	policy_clock_init(&w->clock, 0, 0, w->wall_s, w->mono_ms);
	w->p = policy_new(&ops, w, &settings);
	assert_non_null(w->p);
}

static void
end(struct world *w)
{
	struct policy_stats st;

	policy_stats(w->p, &st);
	assert_int_equal(st.waiters, 0);
	assert_int_equal(st.refreshing, 0);
	policy_free(w->p);
	while (w->n_stored > 0)
		record_done(&w->stored[--w->n_stored]);
}

/* policyd dies and comes back: memory is lost, the store is not. */
static void
restart(struct world *w)
{
	int64_t last = w_now_s(w);

	policy_free(w->p);
	w->mono_ms = 77; /* a rebooted host counts anew */
	policy_clock_init(&w->clock, last, w->wall_s, w->wall_s, w->mono_ms);
	w->p = policy_new(&ops, w, &settings);
}

static void
pass(struct world *w, int64_t seconds)
{
	w->mono_ms += seconds * 1000;
	w->wall_s += seconds;
}

static void
on_answer(void *arg, const struct policy_answer *a)
{
	struct world *w = arg;

	w->answers++;
	w->state = a->state;
	w->source = a->source;
	w->mode = a->mode;
	w->age_s = a->age_s;
	w->stale = a->stale;
	(void)snprintf(w->id, sizeof(w->id), "%s", a->id);
	(void)snprintf(w->reason, sizeof(w->reason), "%s", a->reason);
	(void)sts_list_text(a->list, a->list_len, w->list, sizeof(w->list));
}

static void
answer_txt(struct world *w, enum sts_txt_outcome outcome, const char *id)
{
	struct sts_txt t = { .outcome = outcome };

	assert_true(w->txt_open);
	w->txt_open = false;
	(void)snprintf(t.id, sizeof(t.id), "%s", id);
	(void)snprintf(
	    t.reason, sizeof(t.reason), "%s", sts_txt_outcome_word(outcome));
	policy_on_txt(w->p, D, &t);
}

static void
txt(struct world *w, const char *id)
{
	answer_txt(w, STS_TXT_USABLE, id);
}

static void
txt_gone(struct world *w)
{
	answer_txt(w, STS_TXT_NONE, "");
}

static void
txt_fails(struct world *w)
{
	answer_txt(w, STS_TXT_TEMPORARY, "");
}

/* A policy of this mode arrives, and is saved; fetched some time ago. */
static void
fetched_before(
    struct world *w, const char *mode, unsigned max_age, int64_t age_s)
{
	char text[256];
	struct sts_fetch_result res = {
		.why = STS_FETCH_OK, .text = text, .age_s = age_s
	};

	(void)snprintf(text, sizeof(text),
	    "version: STSv1\nmode: %s\nmax_age: %u\nmx: mx.a.example\n", mode,
	    max_age);
	res.text_len = strlen(text);
	assert_true(w->fetch_open);
	w->fetch_open = false;
	assert_int_equal(
	    sts_policy_parse(text, strlen(text), &res.policy, NULL, 0), 0);
	policy_on_fetch(w->p, w->fetching, &res);
	sts_policy_done(&res.policy);
	if (w->save_open) {
		w->save_open = false;
		policy_on_saved(w->p, w->fetching, w->save_result);
	}
}

static void
fetched(struct world *w, const char *mode, unsigned max_age)
{
	fetched_before(w, mode, max_age, 0);
}

static void
fetch_fails(struct world *w, enum sts_fetch_why why)
{
	struct sts_fetch_result res = { .why = why, .reason = "it is broken" };

	assert_true(w->fetch_open);
	w->fetch_open = false;
	policy_on_fetch(w->p, w->fetching, &res);
}

/* Nobody knows whether there is a policy: the address could not be looked up. */
static void
fetch_in_doubt(struct world *w)
{
	struct sts_fetch_result res = { .why = STS_FETCH_DNS,
		.doubt = true,
		.reason = "no answer in time" };

	assert_true(w->fetch_open);
	w->fetch_open = false;
	policy_on_fetch(w->p, w->fetching, &res);
}

static void
ask(struct world *w, unsigned flags)
{
	assert_int_equal(
	    policy_ask(w->p, &w->waiter, D, flags, on_answer, w), 0);
}

/* Exactly one more answer has come, and it is this. */
static void
expect(struct world *w, enum policy_state state, const char *id)
{
	assert_int_equal(w->answers, w->seen + 1);
	w->seen = w->answers;
	if (w->state != state)
		fail_msg("%s (%s)", policy_state_word(w->state), w->reason);
	assert_string_equal(w->id, id);
	assert_string_equal(
	    w->list, state == POLICY_FOUND ? "mx.a.example" : "");
}

/* The first discovery: id 1, enforce. */
static void
discover(struct world *w, unsigned max_age)
{
	ask(w, 0);
	txt(w, "1");
	fetched(w, "enforce", max_age);
	expect(w, POLICY_FOUND, "1");
	assert_int_equal(w->source, POLICY_FROM_FETCH);
	assert_int_equal(w->mode, STS_MODE_ENFORCE);
}

/* ---- discovery and cache -----------------------------------------------------------
 */

static void
test_sts34_fetch_fails(void **state)
{
	struct world w;
	int why;

	(void)state;
	for (why = STS_FETCH_OK + 1; why < STS_FETCH_WHY_COUNT; why++) {
		begin(&w);
		ask(&w, 0);
		txt(&w, "1");
		fetch_fails(&w, (enum sts_fetch_why)why);
		/* what failed on our side says nothing about them */
		expect(&w,
		    why == STS_FETCH_INTERNAL ? POLICY_INDETERMINATE
					      : POLICY_NONE,
		    "");
		assert_non_null(strstr(w.reason, "it is broken"));
		assert_int_equal(w.events[EVENT_FETCH_FAILED], 1);
		end(&w);
	}
}

/* STS-32: five minutes per id; another id at once. */
static void
test_sts32_pause_per_id(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	ask(&w, 0);
	txt(&w, "1");
	fetch_fails(&w, STS_FETCH_TIMEOUT);
	expect(&w, POLICY_NONE, "");
	pass(&w, 299);
	ask(&w, 0);
	txt(&w, "1");
	expect(&w, POLICY_NONE, "");
	assert_int_equal(w.fetches_begun, 1);
	ask(&w, 0);
	txt(&w, "2");
	assert_int_equal(w.fetches_begun, 2);
	fetch_fails(&w, STS_FETCH_TIMEOUT);
	expect(&w, POLICY_NONE, "");
	pass(&w, 300);
	ask(&w, 0);
	txt(&w, "2");
	assert_int_equal(w.fetches_begun, 3);
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "2");
	end(&w);
}

/* STS-35, STS-36, STS-37: an unexpired policy survives everything. */
static void
test_sts35_survives(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, 7 * DAY);
	pass(&w, 60);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.source, POLICY_FROM_CACHE);
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.events[EVENT_KEPT], 2);
	assert_int_equal(w.fetches_begun, 1);
	/* a new id whose policy is invalid, or cannot be had */
	ask(&w, 0);
	txt(&w, "2");
	fetch_fails(&w, STS_FETCH_INVALID);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.mode, STS_MODE_ENFORCE);
	assert_true(w.stale);
	/* in the pause the old one goes on */
	ask(&w, 0);
	txt(&w, "2");
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.fetches_begun, 2);
	/* and then it is tried again, because the old id was kept */
	pass(&w, 300);
	ask(&w, 0);
	txt(&w, "2");
	assert_int_equal(w.fetches_begun, 3);
	fetched(&w, "testing", DAY);
	expect(&w, POLICY_FOUND, "2");
	assert_int_equal(w.mode, STS_MODE_TESTING);
	assert_false(w.stale);
	end(&w);
}

/* The announced id is the stored one: no fetch, no word at info. */
static void
test_cache_hit(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, 7 * DAY);
	pass(&w, 3600);
	ask(&w, 0);
	txt(&w, "1");
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.age_s, 3600);
	assert_int_equal(w.source, POLICY_FROM_CACHE);
	assert_int_equal(w.events[EVENT_CACHE_HIT], 1);
	assert_int_equal(w.fetches_begun, 1);
	assert_int_equal(w.saves, 1);
	/* that it is used is written down, but not each time */
	pass(&w, DAY);
	ask(&w, 0);
	txt(&w, "1");
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.saves, 2);
	assert_int_equal(w.stored[0].used_s, w.wall_s);
	end(&w);
}

/* STS-48: only a fetched policy replaces one, mode none included. */
static void
test_sts48_none_replaces(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, 7 * DAY);
	ask(&w, 0);
	txt(&w, "2");
	fetched(&w, "none", DAY);
	expect(&w, POLICY_FOUND, "2");
	assert_int_equal(w.mode, STS_MODE_NONE);
	end(&w);
}

/* STS-40: lifetime from the last fetch, over a restart; expired is absent. */
static void
test_sts40_expiry(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, DAY);
	pass(&w, DAY - 2);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_FOUND, "1");
	restart(&w);
	pass(&w, 1);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.age_s, DAY - 1);
	pass(&w, 1);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	assert_int_equal(w.events[EVENT_EXPIRED], 1);
	assert_int_equal(w.n_stored, 0);
	end(&w);
}

/* STS-40: its life counts from the fetch, also where an operator's look was the
 * fetch and mail came a moment later. */
static void
test_sts40_fetched_before(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	ask(&w, 0);
	txt(&w, "1");
	fetched_before(&w, "enforce", 60, 25);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.age_s, 25);
	pass(&w, 35);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	end(&w);
}

/* STS-40: the wall clock goes back, also while we are away. */
static void
test_sts40_clock_jumps(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, DAY);
	w.wall_s -= 300 * DAY;
	pass(&w, DAY - 1);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_FOUND, "1");
	restart(&w);
	pass(&w, 1);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	end(&w);
}

/* The wall clock was ahead once and is right again: ours stays ahead, and goes
 * on while the node is down, restart after restart. */
static void
test_sts40_clock_ahead(void **state)
{
	enum { YEAR = 365 * DAY };
	struct policy_clock c;
	int64_t wall = 1800000000, ours, i;

	(void)state;
	policy_clock_init(&c, 0, 0, wall + YEAR, 5000); /* wrong */
	ours = policy_clock_now(&c, wall + YEAR, 5000);
	assert_int_equal(ours, wall + YEAR);
	/* stored as a pair; set right while down */
	policy_clock_init(&c, ours, wall + YEAR, wall, 70);
	ours = policy_clock_now(&c, wall + 10, 10070);
	assert_int_equal(ours, wall + YEAR + 10);
	wall += 10;
	for (i = 1; i <= 5; i++) {
		policy_clock_init(&c, ours, wall, wall + 1000, 70);
		wall += 1000;
		ours = policy_clock_now(&c, wall, 70);
		assert_int_equal(ours, wall + YEAR);
	}
	/* a store from before the pair was kept */
	policy_clock_init(&c, ours, 0, wall + 5, 70);
	assert_int_equal(policy_clock_now(&c, wall + 5, 70), ours);
}

/* A store that is full of policies in use takes no new one: each is used as
 * long as memory has room, and nobody else waits because of them. */
static void
test_store_full(void **state)
{
	struct world w;
	unsigned i;

	(void)state;
	begin(&w);
	w.save_result = PE_FULL;
	discover(&w, DAY);
	assert_int_equal(w.events[EVENT_SAVE_FAILED], 1);
	ask(&w, 0);
	txt(&w, "1");
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.source, POLICY_FROM_CACHE);
	assert_int_equal(w.fetches_begun, 1);
	for (i = 0; i < POLICY_ENTRIES_MAX; i++) {
		struct policy_waiter other;
		struct sts_txt none = { .outcome = STS_TXT_TEMPORARY };
		char name[32];

		(void)snprintf(name, sizeof(name), "d%u.example", i);
		assert_int_equal(
		    policy_ask(w.p, &other, name, 0, on_answer, &w), 0);
		policy_on_txt(w.p, name, &none); /* its grace is kept */
		w.seen++;
	}
	/* it was the one used longest ago */
	ask(&w, 0);
	txt(&w, "1");
	assert_int_equal(w.fetches_begun, 2);
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	end(&w);
}

/* Of a long text only the beginning is kept; what it says counts in full. */
static void
test_long_text(void **state)
{
	static char text[3 * RECORD_TEXT_MAX];
	struct sts_fetch_result res = { .why = STS_FETCH_OK, .text = text };
	struct world w;
	size_t n;

	(void)state;
	begin(&w);
	n = (size_t)snprintf(text, sizeof(text),
	    "version: STSv1\nmode: enforce\nmax_age: 86400\n");
	while (n < 2 * RECORD_TEXT_MAX)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "x: y\n");
	n += (size_t)snprintf(text + n, sizeof(text) - n, "mx: mx.a.example\n");
	res.text_len = n;
	assert_int_equal(sts_policy_parse(text, n, &res.policy, NULL, 0), 0);
	ask(&w, 0);
	txt(&w, "1");
	w.fetch_open = false;
	policy_on_fetch(w.p, D, &res);
	w.save_open = false;
	policy_on_saved(w.p, D, 0);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(stored(&w, D)->text_len, RECORD_TEXT_MAX);
	end(&w);
}

/* What was fetched a moment ago is only good for a delivery that sees the same
 * id, never for an operator, a timer, or a look at what has changed. */
static void
test_fetch_id(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, DAY);
	assert_string_equal(w.fetch_id, "1");
	ask(&w, POLICY_ASK_FORCE);
	txt(&w, "1");
	assert_string_equal(w.fetch_id, "");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	ask(&w, POLICY_ASK_FRESH);
	txt(&w, "2");
	assert_string_equal(w.fetch_id, "");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "2");
	pass(&w, DAY / 2);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	txt(&w, "2");
	assert_string_equal(w.fetch_id, "");
	fetched(&w, "enforce", DAY);
	end(&w);
}

static void
test_sts19_max_age_zero(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, 0); /* used once */
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	end(&w);
}

/* STS-13: nothing cached and TXT fails: wait, but not for ever. */
static void
test_sts13_grace(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	pass(&w, 15 * 60 - 1);
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	pass(&w, 1);
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_NONE, "");
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_NONE, "");
	assert_int_equal(w.events[EVENT_GRACE_OVER], 1);
	/* an answer ends it, the next failure begins another */
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	/* so does more than a day without a question */
	pass(&w, DAY + 1);
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	end(&w);
}

/* TXT announces a policy, and what would lead to it could not be found out: as
 * doubtful as a TXT lookup that fails. It is tried at each question. */
static void
test_sts13_fetch_in_doubt(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	ask(&w, 0);
	txt(&w, "1");
	fetch_in_doubt(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	assert_non_null(strstr(w.reason, "no answer in time"));
	pass(&w, 60);
	ask(&w, 0);
	txt(&w, "1");
	assert_int_equal(w.fetches_begun, 2);
	fetch_in_doubt(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	/* the grace is one, whichever of the two lookups fails */
	pass(&w, 60);
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	pass(&w, 13 * 60 - 1);
	ask(&w, 0);
	txt(&w, "1");
	fetch_in_doubt(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	assert_int_equal(w.events[EVENT_GRACE_OVER], 0);
	pass(&w, 1);
	ask(&w, 0);
	txt(&w, "1");
	fetch_in_doubt(&w);
	expect(&w, POLICY_NONE, "");
	assert_int_equal(w.events[EVENT_GRACE_OVER], 1);
	ask(&w, 0);
	txt(&w, "1");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	/* what is stored stays, and a new doubt has a grace of its own */
	ask(&w, 0);
	txt(&w, "2");
	fetch_in_doubt(&w);
	expect(&w, POLICY_FOUND, "1");
	pass(&w, DAY);
	ask(&w, 0);
	txt(&w, "2");
	fetch_in_doubt(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	/* a fetch that fails for certain ends it (STS-34) */
	ask(&w, 0);
	txt(&w, "2");
	fetch_fails(&w, STS_FETCH_STATUS);
	expect(&w, POLICY_NONE, "");
	end(&w);
}

/* What cannot even be asked is doubt; never a callback inside policy_ask(). */
static void
test_not_asked(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	w.txt_refused = true;
	ask(&w, 0);
	assert_int_equal(w.answers, 0);
	policy_tick(w.p);
	expect(&w, POLICY_INDETERMINATE, "");
	w.txt_refused = false;
	w.fetch_refused = true;
	ask(&w, 0);
	txt(&w, "1");
	expect(&w, POLICY_INDETERMINATE, "");
	/* it was never tried: no pause */
	w.fetch_refused = false;
	ask(&w, 0);
	txt(&w, "1");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	/* and with one that is stored, that one holds */
	w.fetch_refused = true;
	ask(&w, 0);
	txt(&w, "2");
	expect(&w, POLICY_FOUND, "1");
	end(&w);
}

/* ---- refresh ---------------------------------------------------------------------
 */

/* STS-38: in use, refreshed whatever TXT says; success restarts max_age. */
static void
test_sts38_refresh(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, DAY); /* due at half of it */
	pass(&w, DAY / 2 - 1);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_LIES);
	pass(&w, 1);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_LATER);
	txt_gone(&w);
	fetched(&w, "enforce", DAY);
	assert_int_equal(w.answers, 1);
	pass(&w, DAY - 1);
	ask(&w, 0);
	txt_fails(&w);
	expect(&w, POLICY_FOUND, "1");
	/* with TXT failing, and with the same id */
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	txt_fails(&w);
	fetched(&w, "enforce", DAY);
	pass(&w, DAY / 2);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	txt(&w, "1");
	fetched(&w, "enforce", 30 * DAY);
	/* never later than the setting says */
	pass(&w, DAY);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	txt(&w, "2");
	fetched(&w, "enforce", 30 * DAY);
	assert_string_equal(w.stored[0].id, "2");
	assert_int_equal(policy_refresh(w.p, "b.example"), POLICY_DUE_LIES);
	end(&w);
}

/* STS-39: it fails for more than half of the lifetime, unless mode none. */
static void
test_sts39_warning(void **state)
{
	struct world w;
	int64_t passed;
	unsigned tries = 0, last_hours = 0;

	(void)state;
	begin(&w);
	discover(&w, DAY);
	for (passed = 60; passed < DAY; passed += 60) {
		pass(&w, 60);
		if (policy_refresh(w.p, D) != POLICY_DUE_TAKEN)
			continue;
		txt(&w, "1");
		fetch_fails(&w, STS_FETCH_CONNECT);
		tries++;
		last_hours += passed > DAY - 2 * 3600;
	}
	assert_in_range(tries, 10, 20);
	assert_in_range(last_hours, 1, 2); /* ever less often */
	assert_in_range(w.events[EVENT_REFRESH_LATE], tries - 1, tries);
	assert_int_equal(w.n_stored, 1);
	pass(&w, 60);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	assert_int_equal(w.n_stored, 0); /* expired */
	end(&w);

	begin(&w);
	ask(&w, 0);
	txt(&w, "1");
	fetched(&w, "none", DAY);
	pass(&w, DAY / 2 + 100);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	txt(&w, "1");
	fetch_fails(&w, STS_FETCH_CONNECT);
	assert_int_equal(w.events[EVENT_FETCH_FAILED], 1);
	assert_int_equal(w.events[EVENT_REFRESH_LATE], 0);
	end(&w);
}

/* Nobody sends there: no refresh, it expires and goes. */
static void
test_unused(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, 60 * DAY);
	pass(&w, 31 * DAY);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	assert_false(w.txt_open);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_LIES);
	assert_int_equal(w.n_stored, 1);
	pass(&w, 29 * DAY);
	/* its index entry goes with it, there is nothing to look for */
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_TAKEN);
	assert_int_equal(w.n_stored, 0);
	assert_int_equal(policy_refresh(w.p, D), POLICY_DUE_LIES);
	end(&w);
}

/* STS-45, STS-53, STS-55: a fresh look, once in five minutes. */
static void
test_sts45_heal(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, 30 * DAY);
	ask(&w, POLICY_ASK_FRESH);
	assert_int_equal(w.fresh_asked, 1);
	txt(&w, "2");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "2");
	assert_int_equal(w.events[EVENT_HEALED], 1);
	assert_string_equal(w.event_text, "1");
	pass(&w, 299);
	ask(&w, POLICY_ASK_FRESH);
	txt(&w, "2");
	expect(&w, POLICY_FOUND, "2");
	assert_int_equal(w.fresh_asked, 1);
	pass(&w, 1);
	ask(&w, POLICY_ASK_FRESH);
	txt(&w, "2");
	expect(&w, POLICY_FOUND, "2");
	assert_int_equal(w.fresh_asked, 2);
	assert_int_equal(w.events[EVENT_HEALED], 1);
	/* doubt changes nothing */
	pass(&w, 300);
	ask(&w, POLICY_ASK_FRESH);
	txt_fails(&w);
	expect(&w, POLICY_FOUND, "2");
	end(&w);
}

/* ---- many at once -------------------------------------------------------------------
 */

/* One fetch for all who ask; who wants a fresh look gets a round of his own. */
static void
test_single_flight(void **state)
{
	struct policy_waiter more[3];
	struct world w;
	int i;

	(void)state;
	begin(&w);
	ask(&w, 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(
		    policy_ask(w.p, &more[i], D, 0, on_answer, &w), 0);
	txt(&w, "1");
	assert_int_equal(
	    policy_ask(w.p, &more[2], D, POLICY_ASK_FRESH, on_answer, &w), 0);
	policy_cancel(&more[1]);
	policy_cancel(&more[1]); /* not open any more: fine */
	fetched(&w, "enforce", DAY);
	assert_int_equal(w.answers, 2);
	assert_int_equal(w.txt_asked, 2);
	assert_int_equal(w.fresh_asked, 1);
	txt(&w, "1");
	assert_int_equal(w.answers, 3);
	assert_int_equal(w.fetches_begun, 1);
	end(&w);
}

/* An operator: past every pause, and fetched anyway. */
static void
test_force(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	ask(&w, 0);
	txt(&w, "1");
	fetch_fails(&w, STS_FETCH_CONNECT);
	expect(&w, POLICY_NONE, "");
	ask(&w, POLICY_ASK_FORCE);
	txt(&w, "1");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	ask(&w, POLICY_ASK_FORCE);
	assert_int_equal(w.fresh_asked, 2);
	txt_gone(&w);
	fetched(&w, "testing", DAY);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.mode, STS_MODE_TESTING);
	ask(&w, POLICY_ASK_FORCE);
	txt(&w, "1");
	fetch_fails(&w, STS_FETCH_CONNECT);
	expect(&w, POLICY_FOUND, "1");
	end(&w);
}

/* STS-04: a policy that nobody announces is none, whoever asks. */
static void
test_sts04_force_needs_txt(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	ask(&w, POLICY_ASK_FORCE);
	txt_gone(&w);
	assert_false(w.fetch_open);
	expect(&w, POLICY_NONE, "");
	ask(&w, POLICY_ASK_FORCE);
	txt_fails(&w);
	assert_false(w.fetch_open);
	expect(&w, POLICY_INDETERMINATE, "");
	end(&w);
}

/* STS-33: all places taken by hosts that hang. Others wait, and what cannot
 * get one is in doubt, never "no policy". */
static void
test_sts33_places(void **state)
{
	static const char *const names[] = { "h1.example", "h2.example", D };
	struct sts_txt t = { .outcome = STS_TXT_USABLE, .id = "1" };
	struct policy_waiter ws[3];
	struct policy_stats st;
	struct world w;
	int i;

	(void)state;
	begin(&w);
	for (i = 0; i < 3; i++) {
		assert_int_equal(
		    policy_ask(w.p, &ws[i], names[i], 0, on_answer, &w), 0);
		policy_on_txt(w.p, names[i], &t);
	}
	policy_stats(w.p, &st);
	assert_int_equal(st.fetching, 2);
	assert_int_equal(st.waiting, 1);
	pass(&w, 59);
	policy_tick(w.p);
	assert_int_equal(w.answers, 0);
	pass(&w, 1);
	policy_tick(w.p);
	expect(&w, POLICY_INDETERMINATE, "");
	assert_int_equal(w.events[EVENT_BUSY], 1);
	/* a place becomes free */
	w.txt_open = true;
	ask(&w, 0);
	txt(&w, "1");
	(void)snprintf(w.fetching, sizeof(w.fetching), "h1.example");
	fetch_fails(&w, STS_FETCH_TIMEOUT);
	expect(&w, POLICY_NONE, "");
	assert_string_equal(w.fetching, D);
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	(void)snprintf(w.fetching, sizeof(w.fetching), "h2.example");
	w.fetch_open = true;
	fetch_fails(&w, STS_FETCH_TIMEOUT);
	expect(&w, POLICY_NONE, "");
	end(&w);
}

/* A callback that asks again, and cancels another that waits. */
struct again {
	struct world *w;
	struct policy_waiter first, other, next;
};

static void
on_again(void *arg, const struct policy_answer *a)
{
	struct again *g = arg;

	on_answer(g->w, a);
	policy_cancel(&g->other);
	assert_int_equal(
	    policy_ask(g->w->p, &g->next, D, 0, on_answer, g->w), 0);
}

static void
test_ask_inside(void **state)
{
	struct world w;
	struct again g = { .w = &w };

	(void)state;
	begin(&w);
	assert_int_equal(policy_ask(w.p, &g.first, D, 0, on_again, &g), 0);
	assert_int_equal(policy_ask(w.p, &g.other, D, 0, on_answer, &w), 0);
	txt_gone(&w);
	assert_int_equal(w.answers, 1);
	txt_gone(&w);
	assert_int_equal(w.answers, 2);
	end(&w);
}

/* ---- things that break ---------------------------------------------------------------
 */

/* STS-58: a damaged record is dropped and fetched again. */
static void
test_sts58_corrupt(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, DAY);
	w.load_result = PE_CORRUPT;
	ask(&w, 0);
	assert_int_equal(w.events[EVENT_CORRUPT], 1);
	assert_int_equal(w.forgets, 1);
	txt(&w, "1");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	/* the TXT record is hidden at the same time */
	w.load_result = PE_CORRUPT;
	ask(&w, 0);
	txt_gone(&w);
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "");
	assert_int_equal(w.forgets, 2);
	/* one that cannot be read just now is not dropped, and is no "none" */
	w.load_result = -EIO;
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_INDETERMINATE, "");
	ask(&w, 0);
	txt(&w, "1");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "1");
	assert_int_equal(w.forgets, 2);
	end(&w);
}

/* STS-58: there was a policy, and nobody can say which. That is doubt, for as
 * long as a failing lookup is: whoever blocks TXT and HTTPS gains nothing. */
static void
test_sts58_corrupt_and_blocked(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	discover(&w, DAY);
	w.load_result = PE_CORRUPT;
	ask(&w, 0);
	txt_fails(&w); /* fetched whatever TXT says */
	fetch_fails(&w, STS_FETCH_CONNECT);
	expect(&w, POLICY_INDETERMINATE, "");
	ask(&w, 0);
	txt_gone(&w);
	assert_false(w.fetch_open); /* the pause of STS-32 */
	expect(&w, POLICY_INDETERMINATE, "");
	pass(&w, 301);
	ask(&w, 0);
	txt(&w, "1");
	fetch_fails(&w, STS_FETCH_CONNECT);
	expect(&w, POLICY_INDETERMINATE, "");
	pass(&w, 601);
	ask(&w, 0);
	txt(&w, "1");
	fetch_fails(&w, STS_FETCH_CONNECT);
	expect(&w, POLICY_NONE, "");
	assert_int_equal(w.events[EVENT_GRACE_OVER], 1);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	end(&w);
}

/* The disk refuses: memory holds it. */
static void
test_not_saved(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	w.save_result = -ENOSPC;
	discover(&w, DAY);
	assert_int_equal(w.events[EVENT_SAVE_FAILED], 1);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_FOUND, "1");
	ask(&w, 0);
	txt(&w, "2");
	fetch_fails(&w, STS_FETCH_CONNECT);
	expect(&w, POLICY_FOUND, "1");
	w.save_result = 0;
	pass(&w, 300);
	ask(&w, 0);
	txt(&w, "2");
	fetched(&w, "enforce", DAY);
	expect(&w, POLICY_FOUND, "2");
	assert_int_equal(w.n_stored, 1);
	pass(&w, DAY);
	ask(&w, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	end(&w);
}

/* Late, unasked or for nobody: ignored. */
static void
test_stray(void **state)
{
	struct sts_fetch_result res = { .why = STS_FETCH_TIMEOUT };
	struct sts_txt t = { .outcome = STS_TXT_USABLE, .id = "1" };
	struct world w;

	(void)state;
	begin(&w);
	policy_on_txt(w.p, D, &t);
	policy_on_fetch(w.p, D, &res);
	policy_on_saved(w.p, D, 0);
	ask(&w, 0);
	policy_on_fetch(w.p, D, &res);
	policy_on_saved(w.p, D, 0);
	assert_int_equal(w.answers, 0);
	txt_gone(&w);
	expect(&w, POLICY_NONE, "");
	ask(&w, 0);
	policy_free(w.p); /* with a question open */
	assert_null(w.waiter.entry);
	assert_int_equal(w.answers, 1);
}

static int
setup(void **state)
{
	(void)state;
	hash_seed();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sts34_fetch_fails),
		cmocka_unit_test(test_sts32_pause_per_id),
		cmocka_unit_test(test_sts35_survives),
		cmocka_unit_test(test_cache_hit),
		cmocka_unit_test(test_sts48_none_replaces),
		cmocka_unit_test(test_sts40_expiry),
		cmocka_unit_test(test_sts40_fetched_before),
		cmocka_unit_test(test_sts40_clock_jumps),
		cmocka_unit_test(test_sts40_clock_ahead),
		cmocka_unit_test(test_store_full),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_fetch_id),
		cmocka_unit_test(test_sts19_max_age_zero),
		cmocka_unit_test(test_sts13_grace),
		cmocka_unit_test(test_sts13_fetch_in_doubt),
		cmocka_unit_test(test_not_asked),
		cmocka_unit_test(test_sts38_refresh),
		cmocka_unit_test(test_sts39_warning),
		cmocka_unit_test(test_unused),
		cmocka_unit_test(test_sts45_heal),
		cmocka_unit_test(test_single_flight),
		cmocka_unit_test(test_force),
		cmocka_unit_test(test_sts04_force_needs_txt),
		cmocka_unit_test(test_sts33_places),
		cmocka_unit_test(test_ask_inside),
		cmocka_unit_test(test_sts58_corrupt),
		cmocka_unit_test(test_sts58_corrupt_and_blocked),
		cmocka_unit_test(test_not_saved),
		cmocka_unit_test(test_stray),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
