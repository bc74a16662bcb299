/*
 * test_auth.c - password checks on their thread: users, right and wrong, the
 * bound of the line, the memory of what was right, and cancelling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <crypt.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "smtpd/smtpd.h"

static char hash_a[CRYPT_OUTPUT_SIZE], hash_b[CRYPT_OUTPUT_SIZE];
static uv_loop_t loop;
static int done_count;
static enum session_auth last;

/* a cheap yescrypt: the test is about the machinery */
static void
make_hash(const char *password, char *ret_hash)
{
	struct crypt_data *cd = calloc(1, sizeof(*cd));
	char *setting = crypt_gensalt_ra("$y$", 1, "0123456789abcdef", 16);

	assert_non_null(cd);
	assert_non_null(setting);
	(void)snprintf(
	    ret_hash, CRYPT_OUTPUT_SIZE, "%s", crypt_r(password, setting, cd));
	assert_int_equal(ret_hash[0], '$');
	free(setting);
	free(cd);
}

static void
on_done(void *owner, enum session_auth result)
{
	assert_ptr_equal(owner, &done_count);
	done_count++;
	last = result;
	uv_stop(&loop);
}

static struct auth_users *
users_of(const char *text)
{
	return auth_users_new((const uint8_t *)text, strlen(text), "users");
}

static int
setup(void **state)
{
	struct auth *a = NULL;

	make_hash("sesam", hash_a);
	make_hash("oeffne", hash_b);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(auth_start(&loop, on_done, &a), 0);
	*state = a;
	return 0;
}

static int
teardown(void **state)
{
	auth_stop(*state);
	while (uv_loop_close(&loop) != 0)
		uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}

/* The loop has nothing but the unreferenced async handle: hold it open. */
static void
on_tick(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("no answer within 30 s");
}

static void
wait_for(int count)
{
	uv_timer_t t;

	assert_int_equal(uv_timer_init(&loop, &t), 0);
	assert_int_equal(uv_timer_start(&t, on_tick, 30000, 0), 0);
	while (done_count < count)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&t, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static enum session_auth
check(struct auth *a, struct auth_users *u, const char *user,
    const char *password)
{
	struct auth_job *job = NULL;
	enum session_auth r;

	done_count = 0;
	r = auth_check(a, u, user, password, &done_count, &job);
	if (r != SESSION_AUTH_PENDING)
		return r;
	assert_non_null(job);
	wait_for(1);
	return last;
}

static void
test_users(void **state)
{
	char text[4000];
	struct auth_users *u;

	(void)state;
	(void)snprintf(text, sizeof(text),
	    "# comment\n\nanna:%s\r\nbad\n:%s\nplain:sesam\nanna:%s\n"
	    "otto:%s:1:2:3\nlast:%s",
	    hash_a, hash_a, hash_b, hash_b, hash_a);
	u = users_of(text);
	assert_int_equal(auth_users_count(u), 3);
	auth_users_free(u);
	u = users_of("");
	assert_int_equal(auth_users_count(u), 0);
	auth_users_free(u);
}

static void
test_check(void **state)
{
	struct auth *a = *state;
	struct auth_users *u, *changed, *none;
	struct auth_job *job;
	char text[4000];

	(void)snprintf(
	    text, sizeof(text), "anna:%s\notto:%s\n", hash_a, hash_b);
	u = users_of(text);
	(void)snprintf(text, sizeof(text), "anna:%s\n", hash_b);
	changed = users_of(text);
	none = users_of("");
	assert_int_equal(check(a, u, "anna", "sesam"), SESSION_AUTH_OK);
	assert_int_equal(check(a, u, "otto", "oeffne"), SESSION_AUTH_OK);
	assert_int_equal(check(a, u, "anna", "oeffne"), SESSION_AUTH_FAILED);
	assert_int_equal(check(a, u, "Anna", "sesam"), SESSION_AUTH_FAILED);
	assert_int_equal(check(a, u, "nobody", "sesam"), SESSION_AUTH_FAILED);
	assert_int_equal(check(a, none, "anna", "sesam"), SESSION_AUTH_FAILED);
	/* what was right is remembered: an answer at once, and only for it */
	assert_int_equal(
	    auth_check(a, u, "anna", "sesam", a, &job), SESSION_AUTH_OK);
	assert_int_equal(check(a, u, "anna", "sesam2"), SESSION_AUTH_FAILED);
	assert_int_equal(
	    check(a, changed, "anna", "sesam"), SESSION_AUTH_FAILED);
	assert_int_equal(check(a, changed, "anna", "oeffne"), SESSION_AUTH_OK);
	/* but not for ever */
	clock_test_advance_ms(6 * 60 * 1000);
	done_count = 0;
	assert_int_equal(auth_check(a, u, "anna", "sesam", &done_count, &job),
	    SESSION_AUTH_PENDING);
	wait_for(1);
	assert_int_equal(last, SESSION_AUTH_OK);
	auth_users_free(u);
	auth_users_free(changed);
	auth_users_free(none);
}

static void
test_bound(void **state)
{
	struct auth *a = *state;
	struct auth_job *job, *first = NULL;
	struct auth_users *u;
	char text[4000];
	int n;

	(void)snprintf(text, sizeof(text), "anna:%s\n", hash_a);
	u = users_of(text);
	assert_int_equal(check(a, u, "anna", "sesam"), SESSION_AUTH_OK);
	done_count = 0;
	for (n = 0; n < 1000; n++) {
		if (auth_check(a, u, "anna", "wrong", &done_count, &job) !=
		    SESSION_AUTH_PENDING)
			break;
		if (first == NULL)
			first = job;
	}
	assert_true(n >= 32 && n < 1000);
	/* a full line keeps out who was right a moment ago no more than before */
	assert_int_equal(
	    auth_check(a, u, "anna", "sesam", a, &job), SESSION_AUTH_OK);
	/* the loop has not run: nobody was told, and one is not interested */
	assert_int_equal(done_count, 0);
	auth_job_cancel(first);
	wait_for(n - 1);
	assert_int_equal(done_count, n - 1);
	assert_int_equal(check(a, u, "anna", "sesam"), SESSION_AUTH_OK);
	auth_users_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_bound),
	};

	hash_seed();
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_DEBUG,
	    "smtpd");
	return cmocka_run_group_tests(tests, setup, teardown);
}
