/*
 * test_rates.c - growth over windows, restarts, labels, the ring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "admin/rates.h"
#include "lib/base/buf.h"
#include "lib/metrics/metrics.h"

static void
add(struct rates *r, uint32_t instance, int64_t value)
{
	const struct metric m = { "m_total", "x=\"1\"", "", METRIC_COUNTER,
		value };
	const struct metric half = { "m_total", "x=\"2\"", "", METRIC_COUNTER,
		value };
	const struct metric gauge = { "g", "", "", METRIC_GAUGE, 5 };
	struct ipc_wr w = { 0 };
	struct buf b;

	buf_init(&b, 4096);
	w.b = &b;
	metric_encode(&w, &m);
	metric_encode(&w, &gauge);
	metric_encode(&w, &m); /* the same twice is added up */
	metric_encode(&w, &half);
	assert_int_equal(
	    rates_add(r, ROLE_SMTPD, instance, buf_data(&b), buf_len(&b)), 0);
	buf_done(&b);
}

static int64_t
per_hour(const struct rates *r, int64_t window_ms)
{
	double rate = -1;

	return rates_per_hour(r, 0, window_ms, &rate) ? (int64_t)(rate + 0.5)
						      : -1;
}

static void
test_windows(void **state)
{
	struct rates *r = malloc(sizeof(*r));
	int64_t t, v = 1000; /* what came before the first sample is no rate */

	(void)state;
	rates_init(r);
	assert_int_equal(per_hour(r, 60000), -1);
	/* ten minutes of 2 a second, then silence */
	for (t = 0; t <= 600; t += 10, v += 10) {
		add(r, 0, v);
		rates_sample(r, t * 1000);
		if (t == 0)
			assert_int_equal(per_hour(r, 60000), -1);
	}
	assert_int_equal(r->n, 2); /* no gauge */
	assert_string_equal(r->v[0].name, "m_total{x=\"1\"}");
	assert_int_equal(per_hour(r, 60 * 1000), 7200);
	assert_int_equal(per_hour(r, 15 * 60 * 1000), 7200);
	v -= 10;
	for (; t <= 900; t += 10) {
		add(r, 0, v);
		rates_sample(r, t * 1000);
	}
	assert_int_equal(per_hour(r, 60 * 1000), 0);
	assert_int_equal(per_hour(r, 300 * 1000), 0);
	assert_int_equal(per_hour(r, 900 * 1000), 1200 * 4);
	/* round the ring twice: the 15 minutes stay 15 minutes */
	for (; t <= 4000; t += 10) {
		v += 10;
		add(r, 0, v);
		rates_sample(r, t * 1000);
	}
	assert_int_equal(per_hour(r, 900 * 1000), 7200);
	rates_done(r);
	free(r);
}

static void
test_restart(void **state)
{
	struct rates *r = malloc(sizeof(*r));

	(void)state;
	rates_init(r);
	add(r, 0, 100);
	add(r, 1, 500);
	rates_sample(r, 0);
	add(r, 0, 103); /* 3 more, sent twice */
	/* instance 1 does not answer: nothing is taken away */
	rates_sample(r, 10 * 1000);
	assert_int_equal(r->v[0].total, 6);
	add(r, 0, 103);
	add(r, 1, 2); /* restarted, began at zero */
	rates_sample(r, 20 * 1000);
	assert_int_equal(r->v[0].total, 10);
	assert_int_equal(per_hour(r, 10 * 1000), 4 * 360);
	/* hostile numbers stay defined */
	add(r, 0, INT64_MAX);
	add(r, 0, 0);
	add(r, 0, INT64_MAX);
	assert_true(r->v[0].total == INT64_MAX);
	rates_done(r);
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
