/*
 * test_rates.c - in no interval more recipients than the limit, whoever dies and
 * whatever comes back; and nearly as many while somebody wants them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/base/hash.h"
#include "supervisor/rates.h"

static uint32_t got_n, got_wait;
static uint64_t got_req;
static int answers;

static void
on_answer(
    void *arg, uint32_t holder, uint64_t req_id, uint32_t n, uint32_t wait_ms)
{
	(void)arg;
	(void)holder;
	got_req = req_id;
	got_n = n;
	got_wait = wait_ms;
	answers++;
}

static const struct rates_keys ten = { 1, { { "domain:a", 10, 1, false } } };

static struct rates *
fresh(void)
{
	struct rates *r = rates_new(on_answer, NULL);

	assert_non_null(r);
	answers = 0;
	return r;
}

static void
test_window(void **state)
{
	struct rates *r = fresh();
	struct rates_use u;
	int64_t t = 1000000;

	(void)state;
	/* it starts empty: all may go at once */
	assert_int_equal(rates_ask(r, 1, 7, 1, 100, &ten, t), 0);
	assert_int_equal(got_n, 10);
	assert_int_equal(rates_done(r, 7, 8, 2, t + 30500), 0);
	assert_int_equal(rates_ask(r, 1, 7, 2, 100, &ten, t + 30500), 0);
	assert_int_equal(got_n, 2); /* what came back unused */
	assert_int_equal(rates_done(r, 7, 2, 0, t + 31500), 0);
	/* from the use, not from the taking */
	assert_int_equal(rates_ask(r, 1, 7, 3, 100, &ten, t + 61000), 0);
	assert_int_equal(got_n, 0);
	assert_in_range(got_wait, 29500, 31000);
	rates_look(r, "domain:a", t + 61000, &u);
	assert_int_equal(u.used, 10);
	assert_int_equal(u.out, 0);
	assert_int_equal(
	    rates_ask(r, 1, 7, 4, 100, &ten, t + 61000 + got_wait), 0);
	assert_int_equal(got_n, 8);
	/* more than it has is a lie */
	assert_int_equal(rates_done(r, 7, 9, 0, t + 91000), PE_PROTO);
	rates_free(r);
}

/* What another one holds may come back: nobody is sent to sleep for it. */
static void
test_others_hold(void **state)
{
	struct rates *r = fresh();
	int64_t t = 1000000;

	(void)state;
	assert_int_equal(rates_ask(r, 1, 7, 1, 10, &ten, t), 0);
	assert_int_equal(rates_ask(r, 1, 8, 2, 10, &ten, t), 0);
	assert_int_equal(answers, 1);
	assert_int_equal(rates_ask(r, 1, 8, 3, 10, &ten, t), PE_PROTO);
	assert_int_equal(rates_done(r, 7, 4, 6, t + 1000), 0);
	assert_int_equal(answers, 2);
	assert_int_equal(got_req, 2);
	assert_int_equal(got_n, 6);
	assert_true(!rates_tick(r, t + 1000));
	/* the dead have used theirs */
	assert_int_equal(rates_ask(r, 2, 9, 4, 10, &ten, t + 2000), 0);
	assert_int_equal(answers, 2);
	rates_drop_holder(r, 1, t + 2000);
	assert_int_equal(answers, 3);
	assert_int_equal(got_req, 4);
	assert_int_equal(got_n, 0);
	assert_in_range(got_wait, 59000, 61000);
	rates_free(r);
}

static void
test_other_settings(void **state)
{
	static const struct rates_keys more = { 1,
		{ { "domain:a", 15, 2, false } } };
	static const struct rates_keys none = { .n = 0 };
	struct rates *r = fresh();
	int64_t t = 1000000;

	(void)state;
	assert_int_equal(rates_ask(r, 1, 7, 1, 10, &ten, t), 0);
	assert_int_equal(rates_done(r, 7, 10, 0, t), 0);
	assert_int_equal(rates_ask(r, 1, 7, 2, 10, &more, t + 1000), 0);
	assert_int_equal(got_n, 5);
	assert_int_equal(rates_done(r, 7, 5, 0, t + 1000), 0);
	assert_int_equal(rates_ask(r, 1, 7, 3, 10, &more, t + 100000), 0);
	assert_int_equal(got_n, 0);
	assert_int_equal(rates_ask(r, 1, 8, 4, 10, &none, t), 0);
	assert_int_equal(got_n, 10);
	rates_free(r);
}

/* Settings may change, and exceptions end, under a connection that goes on
 * asking: by both sides' books it may use what it was given. */
static void
test_limit_ends(void **state)
{
	static const struct rates_keys none = { .n = 0 };
	struct rates *r = fresh();
	struct rates_use u;
	int64_t t = 1000000;

	(void)state;
	assert_int_equal(rates_ask(r, 1, 7, 1, 10, &ten, t), 0);
	assert_int_equal(rates_ask(r, 1, 7, 2, 100, &none, t), 0);
	assert_int_equal(got_n, 100);
	/* what came without a limit is no part of what it holds under one */
	assert_int_equal(rates_done(r, 7, 0, 50, t), 0);
	rates_look(r, "domain:a", t, &u);
	assert_int_equal(u.out, 10);
	assert_int_equal(rates_done(r, 7, 10, 0, t), 0);
	assert_int_equal(rates_done(r, 7, 50, 0, t), 0);
	rates_look(r, "domain:a", t, &u);
	assert_int_equal(u.out, 0);
	assert_int_equal(u.used, 10);
	assert_int_equal(rates_done(r, 7, 1, 0, t), PE_PROTO);
	/* and the other way: the limit comes when some are on their way */
	assert_int_equal(rates_ask(r, 1, 8, 3, 20, &none, t), 0);
	t += 200000;
	assert_int_equal(rates_ask(r, 1, 8, 4, 3, &ten, t), 0);
	assert_int_equal(got_n, 3);
	assert_int_equal(rates_done(r, 8, 20, 0, t), 0);
	assert_int_equal(rates_done(r, 8, 3, 0, t), 0);
	rates_free(r);
}

/* One that always has some in hand is held to the new numbers too. */
static void
test_new_numbers_in_hand(void **state)
{
	static const struct rates_keys more = { 1,
		{ { "domain:a", 15, 2, false } } };
	static const struct rates_keys less = { 1,
		{ { "domain:a", 12, 2, false } } };
	struct rates *r = fresh();
	int64_t t = 1000000;

	(void)state;
	assert_int_equal(rates_ask(r, 1, 7, 1, 10, &ten, t), 0);
	assert_int_equal(rates_done(r, 7, 5, 0, t), 0);
	assert_int_equal(rates_ask(r, 1, 7, 2, 1, &more, t + 1000), 0);
	assert_int_equal(got_req, 2);
	assert_int_equal(got_n, 1);
	assert_int_equal(rates_ask(r, 1, 7, 3, 10, &less, t + 1000), 0);
	assert_int_equal(got_req, 3);
	assert_int_equal(got_n, 1);
	rates_free(r);
}

/* Windows go when nothing in them counts. */
static void
test_forgets(void **state)
{
	struct rates *r = fresh();
	struct rates_keys k = ten;
	char name[32];
	uint64_t i;

	(void)state;
	k.keys[0].name = name;
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "domain:%u", (unsigned)i);
		assert_int_equal(rates_ask(r, 1, i, i, 1, &k, 1000000), 0);
		assert_int_equal(rates_done(r, i, 1, 0, 1000000), 0);
		rates_gone(r, i, 1000000);
	}
	assert_int_equal(rates_known(r), 1000);
	for (i = 0; i < 1000; i++) {
		int64_t t = 2000000 + (int64_t)i * 70000;

		assert_int_equal(rates_ask(r, 1, 5000, i, 1, &ten, t), 0);
		assert_int_equal(rates_done(r, 5000, 1, 0, t), 0);
	}
	assert_in_range(rates_known(r), 1, 10);
	rates_free(r);
}

/* ---- anything may happen ----------------------------------------------------- */

enum { CONNS = 12, STEPS = 200000, MS = 137 };

/* Connections of two domains at one site, by request id. */
static struct {
	uint32_t has;
	int64_t sleeps_until;
	bool asked;
} conns[CONNS];
static int64_t now_ms;

static void
on_any_answer(
    void *arg, uint32_t holder, uint64_t req_id, uint32_t n, uint32_t wait_ms)
{
	(void)arg;
	(void)holder;
	assert_true(conns[req_id].asked);
	assert_true((n > 0) != (wait_ms > 0));
	conns[req_id].asked = false;
	conns[req_id].has = n;
	conns[req_id].sleeps_until = now_ms + wait_ms;
}

static const struct rates_keys any_keys[2] = {
	{ 2, { { "domain:a", 50, 1, true }, { "site:s", 70, 2, true } } },
	{ 2, { { "domain:b", 30, 1, true }, { "site:s", 70, 2, true } } },
};
/* when each recipient really went out, by domain */
static int64_t sent[2][100000];
static size_t n_sent[2];

static void
use(size_t d, uint32_t n)
{
	while (n-- > 0)
		sent[d][n_sent[d]++] = now_ms;
	assert_true(n_sent[d] < 99000);
}

static void
any_step(struct rates *r)
{
	uint32_t k = (uint32_t)arc4random() % CONNS, used;
	size_t d = k % 2;

	if (arc4random() % 500 == 0) {
		/* dies; what it had may have gone out just now */
		use(d, conns[k].has);
		rates_gone(r, k + 1, now_ms);
		memset(&conns[k], 0, sizeof(conns[k]));
	} else if (conns[k].has > 0) {
		used = (uint32_t)arc4random() % (conns[k].has + 1);
		use(d, used);
		k = conns[k].has << 8 | k;
		conns[k & 255].has = 0;
		assert_int_equal(
		    rates_done(r, (k & 255) + 1, used, (k >> 8) - used, now_ms),
		    0);
	} else if (!conns[k].asked && conns[k].sleeps_until <= now_ms) {
		conns[k].asked = true;
		assert_int_equal(
		    rates_ask(r, 1, k + 1, k, 1 + (uint32_t)arc4random() % 40,
			&any_keys[d], now_ms),
		    0);
	}
	(void)rates_tick(r, now_ms);
}

static void
test_anything(void **state)
{
	struct rates *r = rates_new(on_any_answer, NULL);
	size_t lo, i, j, d, b;
	double share;

	(void)state;
	now_ms = 5000000;
	for (i = 0; i < STEPS; i++, now_ms += MS)
		any_step(r);
	for (d = 0; d < 2; d++)
		for (i = 0, lo = 0; i < n_sent[d]; i++) {
			while (sent[d][lo] <= sent[d][i] - 60000)
				lo++;
			assert_true(i - lo < any_keys[d].keys[0].count);
		}
	/* the site: both, in two minutes */
	for (i = 0, lo = 0, b = 0, j = 0; i < n_sent[0]; i++) {
		while (sent[0][lo] <= sent[0][i] - 120000)
			lo++;
		while (b < n_sent[1] && sent[1][b] <= sent[0][i] - 120000)
			b++;
		while (j < n_sent[1] && sent[1][j] <= sent[0][i])
			j++;
		assert_true((i - lo + 1) + (j - b) <= 70);
	}
	share = (double)(n_sent[0] + n_sent[1]) /
	    (70.0 * (double)STEPS * MS / 120000.0);
	print_message("site: %.1f %% of its limit, %zu and %zu\n",
	    100.0 * share, n_sent[0], n_sent[1]);
	assert_true(share > 0.9);
	/* neither domain takes all of the site */
	assert_true(n_sent[0] > n_sent[1] / 4 && n_sent[1] > n_sent[0] / 4);
	rates_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_others_hold),
		cmocka_unit_test(test_other_settings),
		cmocka_unit_test(test_limit_ends),
		cmocka_unit_test(test_new_numbers_in_hand),
		cmocka_unit_test(test_forgets),
		cmocka_unit_test(test_anything),
	};

	hash_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
