/*
 * test_events.c - what happened to policies: the alert about those that could
 * not be stored.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "policyd/policyd.h"

enum { WINDOW_MS = 15 * 60 * 1000 };

static void
test_save_alert(void **state)
{
	const struct policy_event failed = { .kind = EVENT_SAVE_FAILED,
		.domain = "a.example",
		.text = err_str(PE_FULL) };
	int64_t now_ms = clock_mono_ms();
	struct app app = { 0 };
	char text[256];

	(void)state;
	assert_string_equal(
	    app_save_alert(&app, now_ms, text, sizeof(text)), "");
	app_event(&app, &failed);
	assert_int_equal(app.n.save_failures, 1);
	/* not later than now: it was noted after now_ms was read */
	(void)app_save_alert(&app, now_ms + WINDOW_MS - 1, text, sizeof(text));
	assert_non_null(strstr(text, err_str(PE_FULL)));
	assert_non_null(strstr(text, "[mta-sts] max_policies"));
	assert_true(strlen(text) < sizeof(text) - 1);
	now_ms = clock_mono_ms();
	assert_string_equal(
	    app_save_alert(&app, now_ms + WINDOW_MS, text, sizeof(text)), "");
	/* the next one begins anew */
	app_event(&app, &failed);
	assert_string_not_equal(
	    app_save_alert(&app, now_ms, text, sizeof(text)), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_save_alert),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
