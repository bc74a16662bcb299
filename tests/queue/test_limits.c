/*
 * test_limits.c - bounds of the queue that no other test reaches on its way:
 * what is over them is refused, and below them everything goes on.
 */
#include "tests/queue/rig.h"

static struct rig *
fresh(void)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, (size_t)1 << 30);

	rig_settle(r);
	return r;
}

static void
test_open_submissions(void **state)
{
	struct rig *r = fresh();
	uint64_t first = 0;
	uint32_t i;

	(void)state;
	for (i = 0; i < INTAKES_MAX; i++) {
		uint64_t mid;

		RIG_UNTIL(r, ipc_chan_backlog(r->smtpd) < 1 << 20);
		mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
		if (i == 0)
			first = mid;
	}
	RIG_UNTIL(r, r->q.n_intakes == INTAKES_MAX);
	assert_int_equal(r->n_later, 0);
	(void)rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	RIG_UNTIL(r, r->n_later == 1);
	assert_int_equal(r->last_code, 452);
	assert_int_equal(r->q.n_intakes, INTAKES_MAX);
	/* one is given up: there is room for another */
	(void)ipc_send_begin(r->smtpd, SUBMIT_ABORT, first);
	assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
	(void)rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(r->broken, 0);
	rig_free(r);
}

static void
test_recipients(void **state)
{
	struct rig *r = fresh();

	(void)state;
	(void)rig_begin(
	    r, "a@b.example", INTAKE_RCPTS_MAX + 1, DSN_RET_NONE, 0);
	RIG_UNTIL(r, r->n_later == 1);
	assert_int_equal(r->last_code, 452);
	(void)rig_begin(r, "a@b.example", INTAKE_RCPTS_MAX, DSN_RET_NONE, 0);
	(void)rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(r->n_later, 1);
	assert_int_equal(r->broken, 0);
	rig_free(r);
}

static void
suspend_many(struct rig *r, uint32_t n)
{
	struct stxn x;
	char domain[64];

	stx_init(&x, r->store);
	assert_int_equal(stx_begin(&x, clock_now_s()), 0);
	for (uint32_t i = 0; i < n; i++) {
		struct op_suspend op = { .domain = domain, .suspend = true };

		snprintf(domain, sizeof(domain), "s%u.example", i);
		assert_int_equal(op_suspend_run(&x, &op.job), 0);
		arena_done(&op.arena);
	}
	assert_int_equal(stx_commit(&x), 0);
	stx_done(&x);
}

static void
test_suspended(void **state)
{
	struct rig *r = fresh();

	(void)state;
	suspend_many(r, SUSPENDED_MAX);
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "one.more.example", "");
	assert_int_not_equal(r->answer_code, 0);
	/* again is no further one */
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "s7.example", "");
	assert_int_equal(r->answer_code, 0);
	(void)rig_ask(r, ADM_RESUMEDEL, 0, "s7.example", "");
	assert_int_equal(r->answer_code, 0);
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "one.more.example", "");
	assert_int_equal(r->answer_code, 0);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_submissions),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_suspended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
