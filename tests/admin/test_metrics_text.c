/*
 * test_metrics_text.c - merging, printing, and what is not believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "admin/metrics_text.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

#define C METRIC_COUNTER
#define G METRIC_GAUGE

static char *
text_of(struct metrics_set *s)
{
	static char text[8192];
	struct buf b;

	buf_init(&b, sizeof(text) - 1);
	assert_int_equal(metrics_set_format(s, &b), 0);
	memcpy(text, buf_data(&b), buf_len(&b));
	text[buf_len(&b)] = '\0';
	buf_done(&b);
	return text;
}

static void
test_merge(void **state)
{
	static const struct metric in[] = {
		{ "postern_b_total", "result=\"ok\"", "B.", C, 5 },
		{ "postern_a", "", "A \\ line\nbreak.", G, -2 },
		{ "postern_b_total", "result=\"bad\"", "", C, 1 },
		{ "postern_b_total", "result=\"ok\"", "other help", C, 7 },
		{ "postern_a", "", "A.", G, 12 },
	};
	struct metrics_set *s = metrics_set_new();
	bool found;
	size_t i;

	(void)state;
	assert_non_null(s);
	for (i = 0; i < sizeof(in) / sizeof(in[0]); i++)
		assert_int_equal(metrics_set_add(s, &in[i]), 0);
	assert_int_equal(metrics_set_total(s, "postern_b_total", &found), 13);
	assert_true(found);
	assert_int_equal(metrics_set_total(s, "postern_c", &found), 0);
	assert_false(found);
	assert_string_equal(text_of(s),
	    "# HELP postern_a A \\\\ line\\nbreak.\n"
	    "# TYPE postern_a gauge\n"
	    "postern_a 10\n"
	    "# HELP postern_b_total B.\n"
	    "# TYPE postern_b_total counter\n"
	    "postern_b_total{result=\"bad\"} 1\n"
	    "postern_b_total{result=\"ok\"} 12\n");
	metrics_set_free(s);
}

static void
test_refused(void **state)
{
	static const struct metric in[] = {
		{ "", "", "", C, 1 }, { "9a", "", "", C, 1 },
		{ "a b", "", "", C, 1 }, { "a\nb", "", "", C, 1 },
		{ "a", "x", "", C, 1 }, { "a", "x=1", "", C, 1 },
		{ "a", "x=\"1", "", C, 1 }, { "a", "x=\"1\",", "", C, 1 },
		{ "a", "x=\"1\" ", "", C, 1 },
		{ "a", "x=\"1\"} 5\nevil{y=\"2\"", "", C, 1 },
		{ "a", "x=\"a\nb\"", "", C, 1 },
		{ "a", "x=\"a\\q\"", "", C, 1 }, { "a", "x=\"a\\", "", C, 1 },
		{ "kept", "", "", G, 1 }, /* another kind than before */
		{ "full", "", "", C, 1 }, /* would overflow */
	};
	const struct metric kept = { "kept", "", "", C, 1 };
	const struct metric full = { "full", "", "", C, INT64_MAX };
	struct metrics_set *s = metrics_set_new();
	size_t i, n = sizeof(in) / sizeof(in[0]);

	(void)state;
	assert_int_equal(metrics_set_add(s, &kept), 0);
	assert_int_equal(metrics_set_add(s, &full), 0);
	for (i = 0; i < n; i++)
		if (metrics_set_add(s, &in[i]) != PE_SYNTAX)
			fail_msg("row %zu was taken", i);
	assert_int_equal(metrics_set_dropped(s), n);
	assert_true(metrics_labels_valid("a=\"\\\\ \\\" \\n\",b_1=\"\""));
	metrics_set_free(s);
}

/* One name, counter here and gauge there, under different labels. */
static void
test_two_kinds(void **state)
{
	const struct metric a = { "m", "x=\"1\"", "h", C, 1 };
	const struct metric b = { "m", "x=\"2\"", "h", G, 2 };
	struct metrics_set *s = metrics_set_new();

	(void)state;
	(void)metrics_set_add(s, &a);
	(void)metrics_set_add(s, &b);
	assert_string_equal(
	    text_of(s), "# HELP m h\n# TYPE m counter\nm{x=\"1\"} 1\n");
	metrics_set_free(s);
}

static void
test_list(void **state)
{
	const struct metric m = { "m", "", "h", C, 3 };
	struct metrics_set *s = metrics_set_new();
	struct ipc_wr w = { 0 };
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	w.b = &b;
	metric_encode(&w, &m);
	metric_encode(&w, &m);
	assert_int_equal(metrics_set_add_list(s, buf_data(&b), buf_len(&b)), 0);
	assert_int_equal(metrics_set_total(s, "m", NULL), 6);
	/* cut inside the second: the first still counts */
	assert_true(metrics_set_add_list(s, buf_data(&b), buf_len(&b) - 1) < 0);
	assert_int_equal(metrics_set_total(s, "m", NULL), 9);
	assert_int_equal(metrics_set_dropped(s), 1);
	assert_int_equal(metrics_set_add_list(s, NULL, 0), 0);
	buf_done(&b);
	metrics_set_free(s);
}

static void
test_bound(void **state)
{
	struct metrics_set *s = metrics_set_new();
	char labels[32];
	struct metric m = { "m", labels, "", C, 1 };
	int i;

	(void)state;
	for (i = 0; i < METRICS_MAX; i++) {
		(void)snprintf(labels, sizeof(labels), "x=\"%d\"", i);
		assert_int_equal(metrics_set_add(s, &m), 0);
	}
	(void)snprintf(labels, sizeof(labels), "x=\"over\"");
	assert_int_equal(metrics_set_add(s, &m), PE_FULL);
	(void)snprintf(labels, sizeof(labels), "x=\"5\"");
	assert_int_equal(metrics_set_add(s, &m), 0); /* a known one */
	assert_int_equal(metrics_set_total(s, "m", NULL), METRICS_MAX + 1);
	metrics_set_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_two_kinds),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
