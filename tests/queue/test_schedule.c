/* Retry times: doubling, bounds, jitter, delay notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/schedule.h"

static const struct {
	int64_t first_ms, max_ms;
	uint32_t attempts;
	int64_t want_ms; /* without jitter */
} waits[] = {
	{ 60000, 3600000, 1, 60000 },
	{ 60000, 3600000, 2, 120000 },
	{ 60000, 3600000, 3, 240000 },
	{ 60000, 3600000, 6, 1920000 },
	{ 60000, 3600000, 7, 3600000 }, /* 3840 s would be over */
	{ 60000, 3600000, 8, 3600000 },
	{ 60000, 3600000, UINT32_MAX, 3600000 },
	{ 60000, 60000, 5, 60000 },
	{ 5000, 1000, 1, 1000 },
	{ 1, 1, 1, 1000 }, /* never a busy circle */
	{ INT64_MAX / 2, INT64_MAX, 3, INT64_MAX },
};

static void
test_waits(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		struct schedule s = { waits[i].first_ms, waits[i].max_ms, 0 };

		assert_int_equal(schedule_wait_ms(&s, waits[i].attempts, i),
		    waits[i].want_ms);
	}
}

static void
test_jitter(void **state)
{
	struct schedule s = { 100000, 100000, 10 };
	int64_t w, low = INT64_MAX, high = 0, sum = 0;
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < 10000; seed++) {
		w = schedule_wait_ms(&s, 1, seed);
		assert_in_range(w, 90000, 110000);
		assert_int_equal(w, schedule_wait_ms(&s, 1, seed));
		low = w < low ? w : low;
		high = w > high ? w : high;
		sum += w;
	}
	assert_true(low < 90500 && high > 109500);
	assert_in_range(sum / 10000, 99500, 100500);
}

static void
test_over(void **state)
{
	(void)state;
	assert_false(schedule_over(1, 100));
	assert_false(schedule_over(100, 100));
	assert_true(schedule_over(101, 100));
	assert_true(schedule_over(1, 0));
}

static void
test_delay_notice(void **state)
{
	(void)state;
	/* now, accepted, interval, sent, max, attempts */
	assert_false(schedule_delay_notice(20000, 0, 0, 0, 1, 5));
	assert_false(schedule_delay_notice(14399, 0, 14400, 0, 1, 5));
	assert_true(schedule_delay_notice(14400, 0, 14400, 0, 1, 5));
	assert_false(schedule_delay_notice(14400, 0, 14400, 0, 1, 1));
	assert_false(schedule_delay_notice(99999, 0, 14400, 1, 1, 5));
	assert_false(schedule_delay_notice(28799, 0, 14400, 1, 2, 5));
	assert_true(schedule_delay_notice(28800, 0, 14400, 1, 2, 5));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_over),
		cmocka_unit_test(test_delay_notice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
