/*
 * The wall clock is moved while mail waits: nothing ends by that alone, and
 * nothing is left lying for years.
 */
#include "tests/queue/rig.h"

enum { MAP = 64 << 20, YEARS = 10 * 365 * 86400, DAY = 86400 };

/* The clock is moved, and the timers find out. */
static void
jump(struct rig *r, int64_t s)
{
	rig_settle(r);
	clock_test_jump_wall_s(s);
	rig_advance(r, 0);
}

static uint64_t
pulled(struct rig *r, const char *to)
{
	uint32_t offers = r->w[0].n_offers, got = r->w[0].n_got;
	uint64_t dest;

	(void)rig_send(r, "a@b.example", to);
	dest = rig_offer(r, 0, offers);
	rig_pull(r, 0, dest, 10, 10);
	assert_int_equal(r->w[0].n_got, got + 1);
	return dest;
}

/* A message is attempted and deferred while the clock is years ahead; then it is
 * set right. */
static void
test_back(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	clock_test_jump_wall_s(YEARS);
	dest = pulled(r, "c@d.example");
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DEFERRED);
	rig_release(r, 0, dest);
	clock_test_jump_wall_s(-YEARS);
	queue_repair_times(&r->q);
	rig_settle(r);
	rig_advance(r, 1);
	dest = rig_offer(r, 0, 1);
	rig_pull(r, 0, dest, 10, 10);
	assert_int_equal(r->w[0].n_got, 2);
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_DELIVERED);
	rig_check_law(r);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_free(r);
}

/* The same of a host that went down then, and after a restart. */
static void
test_back_down(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	clock_test_jump_wall_s(YEARS);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_dest_state(r, 0, dest, DEST_DOWN, REASON_HOST_DOWN);
	rig_release(r, 0, dest);
	rig_stop(r);
	clock_test_jump_wall_s(-YEARS);
	rig_start(r);
	rig_worker_up(r, 0, 10);
	(void)rig_offer(r, 0, 1);
	rig_check_law(r);
	rig_free(r);
}

/* What a busy destination deferred then stands behind what is due next. */
static void
test_back_behind(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	clock_test_jump_wall_s(YEARS);
	dest = pulled(r, "c@d.example");
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DEFERRED);
	clock_test_jump_wall_s(-YEARS);
	(void)rig_send(r, "a@b.example", "e@d.example");
	rig_pull(r, 0, dest, 1, 1);
	RIG_UNTIL(r, writer_waiting(r->q.writer) == 0);
	rig_pull(r, 0, dest, 10, 10);
	RIG_UNTIL(r,
	    r->w[0].n_got == 3 ||
		(rig_pull(r, 0, dest, 10, 10), r->w[0].n_got == 3));
	rig_check_law(r);
	rig_free(r);
}

/* The notice of a failure in the wrong year is written all the same. */
static void
test_back_notice(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct got g;
	uint64_t mid;

	(void)state;
	rig_worker_up(r, 0, 10);
	clock_test_jump_wall_s(YEARS);
	mid = rig_begin(r, "a@b.example", 2, DSN_RET_NONE, 0);
	rig_rcpt(r, mid, 0, "c@d.example", 0, "");
	rig_rcpt(r, mid, 1, "e@d.example", 0, "");
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	rig_pull(r, 0, rig_offer(r, 0, 0), 1, 1);
	g = r->w[0].got[0];
	rig_result(r, 0, &g, OUTCOME_FAILED);
	assert_int_equal(rig_count(r, DB_NOTICE), 1); /* it collects */
	clock_test_jump_wall_s(-YEARS);
	queue_repair_times(&r->q);
	RIG_UNTIL(r, writer_counters(r->q.writer)->notices == 1);
	rig_check_law(r);
	rig_free(r);
}

/* The clock is set years ahead: what waits keeps the rest of its time. */
static void
test_forward(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);

	(void)state;
	(void)rig_send(r, "", "old@d.example");
	rig_advance(r, DAY);
	jump(r, YEARS);
	(void)rig_send(r, "", "new@d.example");
	rig_advance(r, 2 * DAY - 60);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_worker_up(r, 0, 10);
	rig_pull(r, 0, rig_offer(r, 0, 0), 1, 1);
	assert_string_equal(r->w[0].got[0].address, "old@d.example");
	rig_worker_kill(r, 0);
	rig_advance(r, 120);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	rig_advance(r, DAY - 120);
	rig_settle(r);
	assert_int_equal(writer_counters(r->q.writer)->expired, 1);
	rig_advance(r, 120);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 2);
	rig_check_law(r);
	rig_free(r);
}

/* Ahead, and right again: as if nothing had been. */
static void
test_forward_and_back(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);

	(void)state;
	(void)rig_send(r, "", "c@d.example");
	jump(r, YEARS);
	jump(r, -YEARS);
	assert_int_equal(r->q.expiry_lag_s, 0);
	rig_advance(r, 3 * DAY - 60);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_advance(r, 120);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	rig_free(r);
}

/* Accepted in the wrong year, never deliverable: it ends all the same, though
 * not before the clock was left alone for a day. */
static void
test_accepted_ahead(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);

	(void)state;
	jump(r, YEARS);
	(void)rig_send(r, "", "c@d.example");
	jump(r, -YEARS);
	queue_repair_times(&r->q);
	rig_advance(r, DAY / 2);
	queue_repair_times(&r->q);
	rig_advance(r, DAY);
	queue_repair_times(&r->q);
	rig_settle(r);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_advance(r, 3 * DAY + 60);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	rig_check_law(r);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_back_down),
		cmocka_unit_test(test_back_behind),
		cmocka_unit_test(test_back_notice),
		cmocka_unit_test(test_forward),
		cmocka_unit_test(test_forward_and_back),
		cmocka_unit_test(test_accepted_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
