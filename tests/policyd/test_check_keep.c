/*
 * test_check_keep.c - what a check fetched serves one delivery after it: once,
 * for the same id, never what failed on our side; and nothing leaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/proc/child.h"
#include "policyd/policyd.h"

enum { KEPT = 16 };

static uv_loop_t loop;
static struct child child;
static struct app app;
static uint32_t max_age_s = 60;
static int n_called;
static char called_for[DNS_NAME_SIZE], called_list[64];

static void
on_fetch(void *arg, const char *domain, struct sts_fetch_result *res,
    const struct sts_addr *addrs, size_t n_addrs)
{
	assert_ptr_equal(arg, &app);
	assert_null(addrs);
	assert_int_equal(n_addrs, 0);
	n_called++;
	(void)snprintf(called_for, sizeof(called_for), "%s", domain);
	(void)sts_list_text(res->policy.list, res->policy.list_len, called_list,
	    sizeof(called_list));
}

static void
keep(const char *domain, const char *id, enum sts_fetch_why why, bool doubt)
{
	char list[] = "mx.a.example"; /* borrowed: gone when this returns */
	struct sts_fetch_result res = { .why = why, .doubt = doubt };

	if (why == STS_FETCH_OK) {
		res.text = list;
		res.text_len = 4;
		res.policy.mode = STS_MODE_ENFORCE;
		res.policy.max_age_s = max_age_s;
		res.policy.list = list;
		res.policy.list_len = sizeof(list);
	}
	check_keep(domain, id, &res);
	memset(list, 'x', sizeof(list));
}

/* True: taken; then cb came from the loop, not inside. */
static bool
take(const char *domain, const char *id)
{
	n_called = 0;
	if (!check_keep_take(&app, domain, id, on_fetch, &app))
		return false;
	assert_int_equal(n_called, 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	return true;
}

static int
begin(void **state)
{
	(void)state;
	child.loop = &loop;
	app.child = &child;
	app.policy = (struct policy *)&app; /* there, and not looked into */
	return uv_loop_init(&loop);
}

static int
end(void **state)
{
	(void)state;
	check_keep_done();
	return uv_loop_close(&loop);
}

static void
test_once(void **state)
{
	(void)state;
	keep("a.example", "1", STS_FETCH_OK, false);
	assert_false(take("a.example", "2"));
	assert_false(take("b.example", "1"));
	assert_false(take("a.example", ""));
	assert_true(take("a.example", "1"));
	assert_int_equal(n_called, 1);
	assert_string_equal(called_for, "a.example");
	assert_string_equal(called_list, "mx.a.example");
	assert_false(take("a.example", "1"));
}

/* What the owner did wrong is kept, our own trouble and doubt are not. */
static void
test_failures(void **state)
{
	(void)state;
	keep("a.example", "", STS_FETCH_OK, false);
	assert_false(take("a.example", ""));
	keep("a.example", "1", STS_FETCH_INTERNAL, false);
	assert_false(take("a.example", "1"));
	keep("a.example", "1", STS_FETCH_DNS, true);
	assert_false(take("a.example", "1"));
	keep("a.example", "1", STS_FETCH_STATUS, false);
	assert_true(take("a.example", "1"));
	assert_string_equal(called_list, "");
}

static void
test_bound(void **state)
{
	char domain[32];
	int i;

	(void)state;
	for (i = 0; i <= KEPT; i++) {
		(void)snprintf(domain, sizeof(domain), "d%d.example", i);
		keep(domain, "1", STS_FETCH_OK, false);
	}
	assert_false(take("d0.example", "1"));
	assert_true(take("d1.example", "1"));
	assert_true(take("d16.example", "1"));
}

/* A policy that has ended already serves nobody. */
static void
test_over(void **state)
{
	(void)state;
	max_age_s = 0;
	keep("a.example", "1", STS_FETCH_OK, false);
	max_age_s = 60;
	assert_false(take("a.example", "1"));
}

/* The engine went while it was on its way. */
static void
test_stopped(void **state)
{
	(void)state;
	keep("a.example", "1", STS_FETCH_OK, false);
	app.policy = NULL;
	assert_true(take("a.example", "1"));
	assert_int_equal(n_called, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_once, begin, end),
		cmocka_unit_test_setup_teardown(test_failures, begin, end),
		cmocka_unit_test_setup_teardown(test_bound, begin, end),
		cmocka_unit_test_setup_teardown(test_over, begin, end),
		cmocka_unit_test_setup_teardown(test_stopped, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
