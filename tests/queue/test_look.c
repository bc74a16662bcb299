/*
 * test_look.c - the last look before a bounce for a policy's sake (STS-45).
 */
#include "tests/queue/rig.h"

enum { LIFE_S = 4 * 86400 };

/* Mail that its destination's policy held back until its time was over; the
 * worker has it no more. */
static struct rig *
held_back(enum reason reason, uint64_t *ret_dest)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, (size_t)1 << 30);

	(void)rig_send(r, "a@b.example", "c@d.example");
	rig_worker_up(r, 0, 10);
	*ret_dest = rig_offer(r, 0, 0);
	rig_dest_state(r, 0, *ret_dest, DEST_DEFER, reason);
	rig_release(r, 0, *ret_dest);
	return r;
}

static void
test_healed(void **state)
{
	uint64_t dest;
	struct rig *r = held_back(REASON_STS_MX_MISMATCH, &dest);

	(void)state;
	rig_advance(r, LIFE_S);
	assert_int_equal(rig_offer(r, 0, 1), dest);
	rig_pull(r, 0, dest, 5, 1);
	assert_int_equal(r->w[0].n_got, 1);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 1);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_check_law(r);
	rig_free(r);
}

static void
test_as_before(void **state)
{
	uint64_t dest;
	struct rig *r = held_back(REASON_DANE_FAILED, &dest);

	(void)state;
	rig_advance(r, LIFE_S);
	assert_int_equal(rig_offer(r, 0, 1), dest);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_dest_state(r, 0, dest, DEST_DEFER, REASON_DANE_FAILED);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	rig_check_law(r);
	rig_free(r);
}

/* A worker that does nothing, or dies, does not keep it for ever. */
static void
test_no_answer(void **state)
{
	uint64_t dest;
	struct rig *r = held_back(REASON_STS_REQUIRED, &dest);

	(void)state;
	rig_advance(r, LIFE_S);
	assert_int_equal(rig_offer(r, 0, 1), dest);
	rig_advance(r, 119);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_advance(r, 2);
	assert_int_equal(writer_counters(r->q.writer)->expired, 1);
	rig_check_law(r);
	rig_free(r);

	r = held_back(REASON_STS_REQUIRED, &dest);
	rig_advance(r, LIFE_S);
	rig_worker_kill(r, 0);
	rig_advance(r, 121);
	assert_int_equal(writer_counters(r->q.writer)->expired, 1);
	rig_free(r);
}

/* Other reasons, nobody to look, and no room for another look: it expires. */
static void
test_no_look(void **state)
{
	uint64_t dest;
	struct rig *r = held_back(REASON_HOST_DOWN, &dest);
	uint32_t i;

	(void)state;
	rig_advance(r, LIFE_S);
	assert_int_equal(writer_counters(r->q.writer)->expired, 1);
	rig_free(r);

	r = held_back(REASON_STS_REQUIRED, &dest);
	rig_worker_kill(r, 0);
	rig_advance(r, LIFE_S);
	assert_int_equal(writer_counters(r->q.writer)->expired, 1);
	rig_free(r);

	r = held_back(REASON_STS_REQUIRED, &dest);
	rig_settle(r);
	clock_test_advance_ms((int64_t)LIFE_S * 1000);
	for (i = 0; i < LOOKS_MAX; i++)
		r->q.looks[i] =
		    (struct qlook){ 1000 + i, clock_mono_ms(), false, false };
	r->q.n_looks = LOOKS_MAX;
	queue_expire(&r->q);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healed),
		cmocka_unit_test(test_as_before),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_no_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
