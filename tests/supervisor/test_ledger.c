/*
 * test_ledger.c - permits: limits hold, waiting is in order, the dead hold none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/base/err.h"
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
fresh(uint32_t limit)
{
	struct ledger *l = ledger_new(limit, on_granted, NULL);

	assert_non_null(l);
	n_granted = 0;
	return l;
}

static enum ledger_answer
ask(struct ledger *l, uint32_t holder, uint64_t req, const char *key,
    uint32_t limit, uint64_t *ret_permit)
{
	struct ctl_permit_ask a = { 2, { { "system", 1 }, { key, limit } } };
	uint32_t full;

	return ledger_ask(l, holder, req, &a, ret_permit, &full);
}

static void
test_limit_and_order(void **state)
{
	struct ledger *l = fresh(100);
	uint64_t p[4] = { 0 };

	(void)state;
	assert_int_equal(ask(l, 1, 1, "domain:a", 2, &p[0]), LEDGER_GRANTED);
	assert_int_equal(ask(l, 1, 2, "domain:a", 2, &p[1]), LEDGER_GRANTED);
	assert_int_equal(ask(l, 1, 3, "domain:a", 2, &p[2]), LEDGER_WAITS);
	assert_int_equal(ask(l, 2, 4, "domain:a", 2, &p[2]), LEDGER_WAITS);
	assert_int_equal(ask(l, 1, 5, "domain:b", 2, &p[3]), LEDGER_GRANTED);
	assert_int_equal(ledger_count(l, "domain:a"), 2);
	assert_int_equal(ledger_release(l, 2, p[0]), PE_NOT_FOUND);
	assert_int_equal(ledger_release(l, 1, p[0]), 0);
	assert_int_equal(n_granted, 1);
	assert_int_equal(granted_req[0], 3);
	assert_int_equal(ledger_release(l, 1, p[1]), 0);
	assert_int_equal(granted_req[1], 4);
	assert_int_equal(ledger_count(l, "domain:a"), 2);
	assert_int_equal(ledger_release(l, 1, p[0]), PE_NOT_FOUND);
	ledger_free(l);
}

static void
test_system_limit(void **state)
{
	struct ledger *l = fresh(1);
	struct ctl_permit_ask a = { 1, { { "domain:c", 5 } } };
	uint64_t p = 0;
	uint32_t full = 9;

	(void)state;
	assert_int_equal(ask(l, 1, 1, "domain:a", 5, &p), LEDGER_GRANTED);
	assert_int_equal(ledger_ask(l, 1, 2, &a, &p, &full), LEDGER_WAITS);
	assert_int_equal(full, a.n_keys); /* the node, none of the keys */
	ledger_set_system_limit(l, 2);
	assert_int_equal(n_granted, 1);
	assert_int_equal(ledger_count(l, "system"), 2);
	ledger_free(l);
}

/* A waiter that gets past one counter may wait behind the next; never lost. */
static void
test_two_keys(void **state)
{
	struct ledger *l = fresh(100);
	struct ctl_permit_ask both = { 2,
		{ { "domain:a", 1 }, { "ip:1", 1 } } };
	uint64_t pa = 0, pip = 0, none = 0;
	uint32_t full;

	(void)state;
	assert_int_equal(ask(l, 1, 1, "domain:a", 1, &pa), LEDGER_GRANTED);
	assert_int_equal(ask(l, 1, 2, "ip:1", 1, &pip), LEDGER_GRANTED);
	assert_int_equal(
	    ledger_ask(l, 1, 3, &both, &none, &full), LEDGER_WAITS);
	assert_int_equal(ledger_release(l, 1, pa), 0);
	assert_int_equal(n_granted, 0);
	assert_int_equal(ledger_release(l, 1, pip), 0);
	assert_int_equal(n_granted, 1);
	assert_int_equal(granted_req[0], 3);
	ledger_free(l);
}

static void
test_dead_holder(void **state)
{
	struct ledger *l = fresh(100);
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
	assert_int_equal(st.keys, 1); /* "system" itself */
	ledger_free(l);
}

static void
test_cancel(void **state)
{
	struct ledger *l = fresh(100);
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
	ledger_free(l);
}

static void
test_waiting_room(void **state)
{
	struct ledger *l = fresh(1);
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
	struct ledger *l = fresh(UINT32_MAX);
	struct ctl_permit_ask a = { .n_keys = PERMIT_KEYS_MAX };
	struct ledger_stats st;
	uint64_t p;
	uint32_t full, i, k, n = 0;

	(void)state;
	for (i = 0; i <= LEDGER_HELD_MAX; i++)
		n += ask(l, 1, 1, "intake:a", UINT32_MAX, &p) == LEDGER_GRANTED;
	assert_int_equal(n, LEDGER_HELD_MAX);
	assert_int_equal(ask(l, 2, 1, "intake:b", 1, &p), LEDGER_GRANTED);
	ledger_drop_holder(l, 1);
	assert_int_equal(ask(l, 1, 1, "intake:a", 1, &p), LEDGER_GRANTED);
	ledger_drop_holder(l, 1);
	/* new names each time */
	memset(name, 'x', PERMIT_KEY_LEN_MAX);
	for (k = 0; k < PERMIT_KEYS_MAX; k++)
		a.keys[k] = (struct permit_key){ name, UINT32_MAX };
	for (i = 0, n = 0; i < LEDGER_HELD_MAX; i++) {
		(void)snprintf(name, 16, "%15u", i);
		name[15] = 'x';
		if (ledger_ask(l, 1, i, &a, &p, &full) == LEDGER_GRANTED)
			n++;
	}
	assert_in_range(n, 1000, 8000);
	ledger_stats(l, &st);
	assert_true(st.keys <= n + 3);
	ledger_drop_holder(l, 1);
	ledger_drop_holder(l, 2);
	ledger_stats(l, &st);
	assert_int_equal(st.keys, 1); /* the whole node */
	ledger_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_limit_and_order),
		cmocka_unit_test(test_system_limit),
		cmocka_unit_test(test_two_keys),
		cmocka_unit_test(test_dead_holder),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_waiting_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
