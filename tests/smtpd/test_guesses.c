/*
 * test_guesses.c - wrong passwords counted by client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "smtpd/smtpd.h"

static const struct conf_rate ten = { true, 10, 5 };
enum { MINUTE = 60 * 1000 };

static const uint8_t *
key(uint32_t n)
{
	static uint8_t k[CLIENT_KEY_LEN];

	memcpy(k, &n, sizeof(n));
	return k;
}

/* How many tries in a row a client has now. */
static unsigned
tries(struct guesses *g, uint32_t client)
{
	unsigned n = 0;

	while (n < 1000 && guesses_take(g, 0, key(client), &ten))
		n++;
	return n;
}

static void
test_limit(void **state)
{
	static const struct conf_rate none = { 0 };
	struct guesses *g = guesses_new();
	int i;

	(void)state;
	assert_non_null(g);
	assert_int_equal(tries(g, 1), 10);
	/* others have their own count, and so has another listener */
	assert_int_equal(tries(g, 2), 10);
	assert_true(guesses_take(g, 1, key(1), &ten));
	/* what was right does not count */
	guesses_give_back(g, 0, key(1));
	assert_int_equal(tries(g, 1), 1);
	for (i = 0; i < 100; i++) {
		assert_true(guesses_take(g, 0, key(3), &ten));
		guesses_give_back(g, 0, key(3));
	}
	assert_int_equal(guesses_clients(g), 3);
	/* nothing there to give back */
	guesses_give_back(g, 0, key(3));
	/* no limit, no count */
	for (i = 0; i < 100; i++)
		assert_true(guesses_take(g, 0, key(4), &none));
	assert_int_equal(guesses_clients(g), 3);
	guesses_free(g);
}

/* In no five minutes more than ten, and none is kept out for ever. */
static void
test_window(void **state)
{
	struct guesses *g = guesses_new();
	unsigned in[200] = { 0 }, sum = 0;
	int i, k;

	(void)state;
	for (i = 0; i < 200; i++) {
		clock_test_advance_ms(MINUTE / 10);
		in[i] = tries(g, 1);
		for (k = i, sum = 0; k >= 0 && k > i - 50; k--)
			sum += in[k];
		assert_true(sum <= 10);
	}
	for (i = 0, sum = 0; i < 200; i++)
		sum += in[i];
	assert_true(sum >= 30); /* of twenty minutes */
	/* a broken device that fails now and then locks out nobody */
	clock_test_advance_ms(10 * MINUTE);
	for (i = 0; i < 100; i++) {
		clock_test_advance_ms(MINUTE);
		assert_true(guesses_take(g, 0, key(1), &ten));
	}
	guesses_free(g);
}

static void
test_bound(void **state)
{
	struct guesses *g = guesses_new();
	uint32_t i;

	(void)state;
	for (i = 0; i < GUESSERS_MAX + 1000; i++)
		assert_true(guesses_take(g, 0, key(i), &ten));
	assert_int_equal(guesses_clients(g), GUESSERS_MAX);
	assert_int_equal(tries(g, 0), 10); /* forgotten */
	assert_int_equal(tries(g, GUESSERS_MAX + 999), 9);
	/* they leave by themselves, as new ones come */
	clock_test_advance_ms(7 * MINUTE);
	for (i = 0; i < 100; i++)
		assert_true(guesses_take(g, 0, key(500000 + i), &ten));
	assert_true(guesses_clients(g) <= GUESSERS_MAX);
	guesses_free(g);
}

/* New settings: the old count says nothing about the new window. */
static void
test_new_rate(void **state)
{
	static const struct conf_rate five = { true, 5, 60 };
	struct guesses *g = guesses_new();

	(void)state;
	assert_int_equal(tries(g, 1), 10);
	assert_true(guesses_take(g, 0, key(1), &five));
	guesses_free(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_new_rate),
	};

	hash_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
