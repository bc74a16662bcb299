/*
 * test_ledger.c - permits: limits hold, waiting is in order, the dead hold none,
 * other settings take effect at once, and it costs the same with many names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"
#include "lib/proto/control.h"
#include "supervisor/ledger.h"

static uint64_t granted_req[64], granted_permit[64];
static unsigned n_granted;

static void
on_granted(void *arg, uint32_t holder, uint64_t req_id, uint64_t permit_id)
{
	(void)arg;
	(void)holder;
	granted_req[n_granted] = req_id;
	granted_permit[n_granted] = permit_id;
	n_granted++;
}

static struct ledger *
fresh(void)
{
	struct ledger *l = ledger_new(on_granted, NULL);

	assert_non_null(l);
	n_granted = 0;
	return l;
}

/* One or two counters, the narrow one first. */
static enum ledger_answer
ask2(struct ledger *l, uint32_t holder, uint64_t req, const char *narrow,
    uint32_t max, const char *wide, uint32_t wide_max, uint64_t *ret_permit)
{
	struct ledger_keys keys = { wide == NULL ? 1 : 2,
		{ { narrow, max }, { wide, wide_max } } };
	uint32_t full = 9;

	return ledger_ask(l, holder, req, &keys, NULL, 0, ret_permit, &full);
}

static enum ledger_answer
ask(struct ledger *l, uint32_t holder, uint64_t req, const char *key,
    uint32_t max, uint64_t *ret_permit)
{
	return ask2(l, holder, req, key, max, "system", 100, ret_permit);
}

static uint32_t
held(const struct ledger *l, const char *name)
{
	struct ledger_use u;

	ledger_look(l, name, &u);
	return u.held;
}

static void
test_limit_and_order(void **state)
{
	struct ledger *l = fresh();
	uint64_t p[4] = { 0 };

	(void)state;
	assert_int_equal(ask(l, 1, 1, "domain:a", 2, &p[0]), LEDGER_GRANTED);
	assert_int_equal(ask(l, 1, 2, "domain:a", 2, &p[1]), LEDGER_GRANTED);
	assert_int_equal(ask(l, 1, 3, "domain:a", 2, &p[2]), LEDGER_WAITS);
	assert_int_equal(ask(l, 2, 4, "domain:a", 2, &p[2]), LEDGER_WAITS);
	assert_int_equal(ask(l, 1, 5, "domain:b", 2, &p[3]), LEDGER_GRANTED);
	assert_int_equal(held(l, "domain:a"), 2);
	assert_int_equal(ledger_permit_of(l, 1, 1), p[0]);
	assert_int_equal(ledger_permit_of(l, 1, 3), 0);
	assert_int_equal(ledger_release(l, 2, p[0]), PE_NOT_FOUND);
	assert_int_equal(ledger_release(l, 1, p[0]), 0);
	assert_int_equal(n_granted, 1);
	assert_int_equal(granted_req[0], 3);
	assert_int_equal(ledger_release(l, 1, p[1]), 0);
	assert_int_equal(granted_req[1], 4);
	assert_int_equal(held(l, "domain:a"), 2);
	assert_int_equal(ledger_release(l, 1, p[0]), PE_NOT_FOUND);
	ledger_free(l);
}

/* The wide counter is not kept by one that waits for a narrow one; the narrow
 * one is, by one that waits for the wide. */
static void
test_two_counters(void **state)
{
	struct ledger *l = fresh();
	struct ledger_use u;
	uint64_t a = 0, b = 0, none = 0;

	(void)state;
	assert_int_equal(
	    ask2(l, 1, 1, "domain:a", 1, "site:s", 2, &a), LEDGER_GRANTED);
	assert_int_equal(
	    ask2(l, 1, 2, "domain:a", 1, "site:s", 2, &none), LEDGER_WAITS);
	/* the room at the site is for others */
	assert_int_equal(
	    ask2(l, 1, 3, "domain:b", 2, "site:s", 2, &b), LEDGER_GRANTED);
	assert_int_equal(
	    ask2(l, 1, 4, "domain:b", 2, "site:s", 2, &none), LEDGER_WAITS);
	ledger_look(l, "domain:b", &u);
	assert_int_equal(u.held, 1);
	assert_int_equal(u.kept, 1);
	ledger_look(l, "site:s", &u);
	assert_int_equal(u.held, 2);
	assert_int_equal(u.waiting, 1);
	/* 2 gets its domain now, and stands behind 4 at the site */
	assert_int_equal(ledger_release(l, 1, a), 0);
	assert_int_equal(n_granted, 1);
	assert_int_equal(granted_req[0], 4);
	assert_int_equal(ledger_release(l, 1, b), 0);
	assert_int_equal(n_granted, 2);
	assert_int_equal(granted_req[1], 2);
	ledger_free(l);
}

/* One that needs two counters, among endless others that need either of them. */
static void
test_no_starving(void **state)
{
	struct ledger *l = fresh();
	uint64_t a = 0, s = 0, p = 0, req = 100, *free_now;
	int turns;

	(void)state;
	assert_int_equal(
	    ask2(l, 1, 1, "domain:a", 1, NULL, 0, &a), LEDGER_GRANTED);
	assert_int_equal(
	    ask2(l, 1, 2, "site:s", 1, NULL, 0, &s), LEDGER_GRANTED);
	assert_int_equal(
	    ask2(l, 2, 3, "domain:a", 1, "site:s", 1, &p), LEDGER_WAITS);
	for (turns = 0; turns < 6; turns++) {
		assert_int_equal(ask2(l, 1, req++, "domain:a", 1, NULL, 0, &p),
		    LEDGER_WAITS);
		assert_int_equal(
		    ask2(l, 1, req++, "site:s", 1, NULL, 0, &p), LEDGER_WAITS);
		n_granted = 0;
		/* the two are never free at the same time */
		free_now = turns % 2 == 0 && a != 0 ? &a : &s;
		assert_int_equal(ledger_release(l, 1, *free_now), 0);
		*free_now = n_granted > 0 ? granted_permit[0] : 0;
		if (n_granted > 0 && granted_req[0] == 3)
			break;
	}
	assert_true(turns < 6);
	ledger_free(l);
}

static void
test_dead_holder(void **state)
{
	struct ledger *l = fresh();
	struct ledger_stats st;
	uint64_t p = 0;

	(void)state;
	assert_int_equal(ask(l, 7, 1, "domain:a", 1, &p), LEDGER_GRANTED);
	assert_int_equal(ask(l, 7, 2, "domain:a", 1, &p), LEDGER_WAITS);
	assert_int_equal(ask(l, 8, 3, "domain:a", 1, &p), LEDGER_WAITS);
	ledger_drop_holder(l, 7);
	assert_int_equal(n_granted, 1);
	assert_int_equal(granted_req[0], 3);
	ledger_drop_holder(l, 8);
	ledger_stats(l, &st);
	assert_int_equal(st.held, 0);
	assert_int_equal(st.waiting, 0);
	assert_int_equal(st.keys, 0);
	ledger_free(l);
}

static void
test_cancel(void **state)
{
	struct ledger *l = fresh();
	struct ledger_stats st;
	uint64_t p = 0, q = 0;

	(void)state;
	assert_int_equal(ask(l, 1, 1, "domain:a", 1, &p), LEDGER_GRANTED);
	assert_int_equal(ask(l, 1, 2, "domain:a", 1, &q), LEDGER_WAITS);
	ledger_cancel(l, 1, 2);
	ledger_cancel(l, 1, 99);
	assert_int_equal(ledger_release(l, 1, p), 0);
	assert_int_equal(n_granted, 0);
	/* a cancel that crosses its grant gives the permit back */
	assert_int_equal(ask(l, 1, 3, "domain:a", 1, &p), LEDGER_GRANTED);
	ledger_cancel(l, 1, 3);
	ledger_stats(l, &st);
	assert_int_equal(st.held, 0);
	/* what was kept while waiting is free again, and wakes others */
	assert_int_equal(
	    ask2(l, 1, 4, "domain:x", 1, "site:s", 1, &p), LEDGER_GRANTED);
	assert_int_equal(
	    ask2(l, 1, 5, "domain:y", 1, "site:s", 1, &p), LEDGER_WAITS);
	assert_int_equal(
	    ask2(l, 1, 6, "domain:y", 1, NULL, 0, &p), LEDGER_WAITS);
	ledger_cancel(l, 1, 5);
	assert_int_equal(n_granted, 1);
	assert_int_equal(granted_req[0], 6);
	ledger_free(l);
}

static void
test_waiting_room(void **state)
{
	struct ledger *l = fresh();
	uint64_t p = 0, i;

	(void)state;
	assert_int_equal(ask(l, 1, 0, "domain:a", 1, &p), LEDGER_GRANTED);
	for (i = 1; i <= LEDGER_WAITERS_MAX; i++)
		assert_int_equal(ask(l, 1, i, "domain:a", 1, &p), LEDGER_WAITS);
	assert_int_equal(ask(l, 1, i, "domain:a", 1, &p), LEDGER_FULL);
	ledger_free(l);
}

/* A process that was taken over asks and asks: what it is kept has an end, and
 * others do not feel it. */
static void
test_bounds(void **state)
{
	static char name[PERMIT_KEY_LEN_MAX + 1];
	struct ledger *l = fresh();
	struct ledger_keys keys = { .n = LEDGER_KEYS_MAX };
	struct ledger_stats st;
	uint64_t p;
	uint32_t full, i, k, n = 0;

	(void)state;
	for (i = 0; i <= LEDGER_HELD_MAX; i++)
		n += ask2(l, 1, 1, "intake:a", UINT32_MAX, NULL, 0, &p) ==
		    LEDGER_GRANTED;
	assert_int_equal(n, LEDGER_HELD_MAX);
	assert_int_equal(ask(l, 2, 1, "intake:b", 1, &p), LEDGER_GRANTED);
	ledger_drop_holder(l, 1);
	assert_int_equal(ask(l, 1, 1, "intake:a", 1, &p), LEDGER_GRANTED);
	ledger_drop_holder(l, 1);
	/* new names each time */
	memset(name, 'x', PERMIT_KEY_LEN_MAX);
	for (k = 0; k < LEDGER_KEYS_MAX; k++) {
		keys.keys[k].name = name;
		keys.keys[k].max = UINT32_MAX;
	}
	for (i = 0, n = 0; i < LEDGER_HELD_MAX; i++) {
		(void)snprintf(name, 16, "%15u", i);
		name[15] = 'x';
		if (ledger_ask(l, 1, i, &keys, NULL, 0, &p, &full) ==
		    LEDGER_GRANTED)
			n++;
	}
	assert_in_range(n, 1000, 16000);
	ledger_stats(l, &st);
	assert_true(st.keys <= n + 3);
	ledger_drop_holder(l, 1);
	ledger_drop_holder(l, 2);
	ledger_stats(l, &st);
	assert_int_equal(st.keys, 0);
	ledger_free(l);
}

/* ---- other settings ---------------------------------------------------------- */

/* A place is one byte; the settings are these. */
static struct {
	bool per_ip;
	uint32_t max;
} rules;

static void
keys_of(void *arg, const void *place, size_t place_len, struct ledger_keys *ret)
{
	static char name[2][16];
	char c = *(const char *)place;

	(void)arg;
	assert_int_equal(place_len, 1);
	(void)snprintf(
	    name[0], sizeof(name[0]), rules.per_ip ? "ip:%c" : "domain", c);
	(void)snprintf(name[1], sizeof(name[1]), "system");
	ret->n = 2;
	ret->keys[0].name = name[0];
	ret->keys[0].max = rules.max;
	ret->keys[1].name = name[1];
	ret->keys[1].max = 100;
}

static enum ledger_answer
ask_place(struct ledger *l, uint64_t req, char place, uint64_t *ret_permit)
{
	struct ledger_keys keys;
	uint32_t full;

	keys_of(NULL, &place, 1, &keys);
	return ledger_ask(l, 1, req, &keys, &place, 1, ret_permit, &full);
}

static void
test_rekey(void **state)
{
	struct ledger *l = fresh();
	uint64_t p[4];

	(void)state;
	rules.per_ip = false;
	rules.max = 3;
	assert_int_equal(ask_place(l, 1, 'a', &p[0]), LEDGER_GRANTED);
	assert_int_equal(ask_place(l, 2, 'a', &p[1]), LEDGER_GRANTED);
	assert_int_equal(ask_place(l, 3, 'b', &p[2]), LEDGER_GRANTED);
	assert_int_equal(ask_place(l, 4, 'a', &p[3]), LEDGER_WAITS);
	/* fewer: nobody is thrown out, nobody gets in until it is below */
	rules.max = 1;
	ledger_rekey(l, keys_of, NULL);
	assert_int_equal(held(l, "domain"), 3);
	assert_int_equal(ledger_release(l, 1, p[0]), 0);
	assert_int_equal(ledger_release(l, 1, p[1]), 0);
	assert_int_equal(n_granted, 0);
	assert_int_equal(ask_place(l, 5, 'b', &p[0]), LEDGER_WAITS);
	/* counted by another name, those that hold included */
	rules.per_ip = true;
	ledger_rekey(l, keys_of, NULL);
	assert_int_equal(n_granted, 1);
	assert_int_equal(granted_req[0], 4);
	assert_int_equal(held(l, "domain"), 0);
	assert_int_equal(held(l, "ip:a"), 1);
	assert_int_equal(held(l, "ip:b"), 1);
	/* more: who waits is let in at once */
	rules.max = 2;
	ledger_rekey(l, keys_of, NULL);
	assert_int_equal(n_granted, 2);
	assert_int_equal(granted_req[1], 5);
	assert_int_equal(held(l, "system"), 3);
	ledger_free(l);
}

/* ---- anything may happen ------------------------------------------------------- */

enum { MODEL = 400, DOMAINS = 12, SITES = 3, HOLDERS = 4 };

/* What the test knows by itself. Place: domain, site or -1, tls. */
static struct {
	struct ledger *l;
	struct {
		enum { M_FREE, M_WAITS, M_HELD } is;
		int8_t place[3];
		uint32_t holder;
		uint64_t req, permit, since;
	} m[MODEL];
	uint32_t domain_max[DOMAINS], site_max[SITES], tls_max, system_max;
	uint64_t step, next_req, longest;
} model;

static void
model_keys(
    void *arg, const void *place, size_t place_len, struct ledger_keys *ret)
{
	static char name[LEDGER_KEYS_MAX][16];
	const int8_t *at = place;
	uint32_t n = 0;

	(void)arg;
	assert_int_equal(place_len, 3);
	(void)snprintf(name[n], 16, "domain:%d", at[0]);
	ret->keys[n].name = name[n];
	ret->keys[n++].max = model.domain_max[at[0]];
	if (at[1] >= 0) {
		(void)snprintf(name[n], 16, "site:%d", at[1]);
		ret->keys[n].name = name[n];
		ret->keys[n++].max = model.site_max[at[1]];
	}
	if (at[2]) {
		ret->keys[n].name = "tls";
		ret->keys[n++].max = model.tls_max;
	}
	ret->keys[n].name = "system";
	ret->keys[n++].max = model.system_max;
	ret->n = n;
}

/* Held by the model's own count, in what this place shares. */
static void
check_limits(size_t at)
{
	const int8_t *p = model.m[at].place;
	uint32_t domain = 0, site = 0, tls = 0, all = 0;
	size_t i;

	for (i = 0; i < MODEL; i++) {
		if (model.m[i].is != M_HELD)
			continue;
		all++;
		domain += model.m[i].place[0] == p[0];
		site += model.m[i].place[1] == p[1];
		tls += model.m[i].place[2] != 0;
	}
	assert_true(domain <= model.domain_max[p[0]]);
	assert_true(p[1] < 0 || site <= model.site_max[p[1]]);
	assert_true(!p[2] || tls <= model.tls_max);
	assert_true(all <= model.system_max);
}

static void
model_granted(void *arg, uint32_t holder, uint64_t req_id, uint64_t permit_id)
{
	size_t i;

	(void)arg;
	for (i = 0; i < MODEL; i++)
		if (model.m[i].is == M_WAITS && model.m[i].req == req_id &&
		    model.m[i].holder == holder)
			break;
	if (i == MODEL) /* also: not to the dead */
		fail_msg("granted to nobody who waits");
	model.m[i].is = M_HELD;
	model.m[i].permit = permit_id;
	if (model.step - model.m[i].since > model.longest)
		model.longest = model.step - model.m[i].since;
	check_limits(i);
}

static void
model_ask(size_t i)
{
	struct ledger_keys keys;
	uint32_t full;

	model.m[i].place[0] = (int8_t)arc4random_uniform(DOMAINS);
	model.m[i].place[1] = (int8_t)arc4random_uniform(SITES + 1) - 1;
	model.m[i].place[2] = (int8_t)arc4random_uniform(2);
	model.m[i].holder = arc4random_uniform(HOLDERS);
	model.m[i].req = model.next_req++;
	model.m[i].since = model.step;
	model_keys(NULL, model.m[i].place, 3, &keys);
	switch (ledger_ask(model.l, model.m[i].holder, model.m[i].req, &keys,
	    model.m[i].place, 3, &model.m[i].permit, &full)) {
	case LEDGER_GRANTED:
		model.m[i].is = M_HELD;
		check_limits(i);
		break;
	case LEDGER_WAITS:
		model.m[i].is = M_WAITS;
		break;
	default:
		fail();
	}
}

/* Nobody waits who could go, whatever was lost on the way. */
static void
check_waiting(void)
{
	struct ledger_keys keys;
	struct ledger_use u;
	uint32_t k;
	size_t i;
	bool room;

	for (i = 0; i < MODEL; i++) {
		if (model.m[i].is != M_WAITS)
			continue;
		model_keys(NULL, model.m[i].place, 3, &keys);
		for (k = 0, room = true; k < keys.n; k++) {
			ledger_look(model.l, keys.keys[k].name, &u);
			room = room && u.held + u.kept < u.max;
		}
		assert_false(room);
	}
}

static void
model_limits(void)
{
	size_t i;

	for (i = 0; i < DOMAINS; i++)
		model.domain_max[i] = 1 + arc4random_uniform(20);
	for (i = 0; i < SITES; i++)
		model.site_max[i] = 1 + arc4random_uniform(30);
	model.tls_max = 1 + arc4random_uniform(50);
	model.system_max = 1 + arc4random_uniform(80);
}

static void
model_step(void)
{
	size_t i = arc4random_uniform(MODEL), k;
	uint32_t what = arc4random_uniform(1000), h;

	model.step++;
	if (what < 2) {
		h = arc4random_uniform(HOLDERS);
		for (k = 0; k < MODEL; k++)
			if (model.m[k].holder == h)
				model.m[k].is = M_FREE;
		ledger_drop_holder(model.l, h);
	} else if (what < 4) {
		model_limits();
		ledger_rekey(model.l, model_keys, NULL);
	} else if (model.m[i].is == M_FREE) {
		model_ask(i);
	} else if (model.m[i].is == M_HELD) {
		model.m[i].is = M_FREE;
		assert_int_equal(ledger_release(model.l, model.m[i].holder,
				     model.m[i].permit),
		    0);
	} else if (what < 30) {
		model.m[i].is = M_FREE;
		ledger_cancel(model.l, model.m[i].holder, model.m[i].req);
	}
}

static void
test_anything(void **state)
{
	struct ledger_stats st;
	size_t i, turn;
	bool some = true;

	(void)state;
	memset(&model, 0, sizeof(model));
	model.l = ledger_new(model_granted, NULL);
	model_limits();
	for (i = 0; i < 60000; i++) {
		model_step();
		if (i % 50 == 0)
			check_waiting();
	}
	/* nobody asks any more: all that wait get through */
	for (turn = 0; some && turn < MODEL + 1; turn++) {
		some = false;
		for (i = 0; i < MODEL; i++)
			if (model.m[i].is == M_HELD) {
				some = true;
				model.m[i].is = M_FREE;
				assert_int_equal(
				    ledger_release(model.l, model.m[i].holder,
					model.m[i].permit),
				    0);
			}
	}
	for (i = 0; i < MODEL; i++)
		assert_int_equal(model.m[i].is, M_FREE);
	ledger_stats(model.l, &st);
	assert_int_equal(st.held + st.waiting + st.keys, 0);
	ledger_free(model.l);
	print_message(
	    "longest wait: %llu steps\n", (unsigned long long)model.longest);
}

/* ---- cost ------------------------------------------------------------------------- */

/* ns for one ask and one release, with this many destinations known. */
static int64_t
cost(uint32_t n)
{
	static uint64_t permits[100000];
	struct ledger *l = fresh();
	char name[64];
	uint64_t p = 0;
	int64_t t;
	uint32_t i;

	for (i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "domain:d%u.example", i);
		/* four processes share them */
		assert_int_equal(ask2(l, i % 4, i, name, 10, "system",
				     UINT32_MAX, &permits[i]),
		    LEDGER_GRANTED);
	}
	t = clock_mono_ms();
	for (i = 0; i < 200000; i++) {
		(void)snprintf(name, sizeof(name), "domain:d%u.example", i % n);
		assert_int_equal(
		    ask2(l, 5, n + i, name, 10, "system", UINT32_MAX, &p),
		    LEDGER_GRANTED);
		assert_int_equal(ledger_release(l, 5, p), 0);
	}
	t = clock_mono_ms() - t;
	ledger_free(l);
	return t * 1000000 / 200000;
}

static void
test_cost(void **state)
{
	int64_t few, many;

	(void)state;
	few = cost(1000);
	many = cost(100000);
	print_message("ask and release: %lld ns with 1,000 destinations, "
		      "%lld ns with 100,000\n",
	    (long long)few, (long long)many);
	/* memory is further away; nothing is walked through */
	assert_true(many < few * 20 + 5000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_limit_and_order),
		cmocka_unit_test(test_two_counters),
		cmocka_unit_test(test_no_starving),
		cmocka_unit_test(test_dead_holder),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_waiting_room),
		cmocka_unit_test(test_rekey),
		cmocka_unit_test(test_anything),
		cmocka_unit_test(test_cost),
	};

	hash_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
