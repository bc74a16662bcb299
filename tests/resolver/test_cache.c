/*
 * test_cache.c - TTLs on a clock that the test moves, the bound, flushing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/dns/dns.h"
#include "resolver/cache.h"

static struct dns_answer *
answer(const char *name, uint16_t type)
{
	struct dns_answer a = { .state = DNS_SECURE,
		.kind = DNS_NODATA,
		.type = type,
		.name = name,
		.canon = name,
		.reason = "",
		.ede = DNS_EDE_NONE },
			  *copy = NULL;

	assert_int_equal(dns_answer_dup(&a, &copy), 0);
	return copy;
}

static void
test_ttl(void **state)
{
	struct cache *c = cache_new(1 << 20);
	const struct dns_answer *a;

	(void)state;
	assert_non_null(c);
	assert_null(cache_get(c, "a.example", DNS_MX));
	cache_put(c, answer("a.example", DNS_MX), 10000);
	cache_put(c, answer("a.example", DNS_A), 20000);
	clock_test_advance_ms(4000);
	a = cache_get(c, "a.example", DNS_MX);
	assert_non_null(a);
	assert_int_equal(a->type, DNS_MX);
	assert_in_range(a->ttl_s, 5, 6); /* what remains, never more */
	clock_test_advance_ms(6000);
	assert_null(cache_get(c, "a.example", DNS_MX));
	assert_non_null(cache_get(c, "a.example", DNS_A));
	cache_put(c, answer("b.example", DNS_A), 0);
	assert_null(cache_get(c, "b.example", DNS_A));
	/* a newer answer without time replaces the older one all the same */
	cache_put(c, answer("a.example", DNS_A), 0);
	assert_null(cache_get(c, "a.example", DNS_A));
	cache_free(c);
	cache_free(NULL);
}

static void
test_bound(void **state)
{
	struct cache *c = cache_new(16 * 1024);
	struct cache_stats st;
	char name[64];
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "n%d.example", i);
		cache_put(c, answer(name, DNS_A), 60000);
		cache_stats(c, &st);
		assert_true(st.bytes <= 16 * 1024);
		/* what is used stays */
		assert_non_null(cache_get(c, "n0.example", DNS_A));
	}
	cache_stats(c, &st);
	assert_true(st.entries > 10 && st.entries < 200);
	assert_int_equal(st.entries + st.evicted, 1000);
	assert_null(cache_get(c, "n1.example", DNS_A));
	assert_non_null(cache_get(c, "n999.example", DNS_A));
	cache_resize(c, 1024);
	cache_stats(c, &st);
	assert_true(st.bytes <= 1024);
	cache_resize(c, 0);
	cache_stats(c, &st);
	assert_int_equal(st.entries, 0);
	assert_int_equal(st.bytes, 0);
	cache_put(c, answer("a.example", DNS_A), 60000);
	assert_null(cache_get(c, "a.example", DNS_A));
	cache_free(c);
}

static void
test_too_large(void **state)
{
	static uint8_t big[5000];
	const struct dns_rr rr = {
		.host = "", .data = big, .data_len = sizeof(big)
	};
	struct dns_answer a = { .state = DNS_SECURE,
		.kind = DNS_DATA,
		.type = DNS_TXT,
		.name = "big.example",
		.canon = "big.example",
		.reason = "",
		.rrs = &rr,
		.rrs_len = 1 },
			  *copy;
	struct cache *c = cache_new(16 * 1024);

	(void)state;
	cache_put(c, answer("a.example", DNS_A), 60000);
	assert_int_equal(dns_answer_dup(&a, &copy), 0);
	cache_put(c, copy, 60000);
	assert_null(cache_get(c, "big.example", DNS_TXT));
	assert_non_null(cache_get(c, "a.example", DNS_A));
	cache_free(c);
}

static void
test_flush(void **state)
{
	struct cache *c = cache_new(1 << 20);

	(void)state;
	cache_put(c, answer("example", DNS_A), 60000);
	cache_put(c, answer("example", DNS_MX), 60000);
	cache_put(c, answer("_25._tcp.mx.example", DNS_TLSA), 60000);
	cache_put(c, answer("myexample", DNS_A), 60000);
	assert_int_equal(cache_flush(c, "other"), 0);
	assert_int_equal(cache_flush(c, "mx.example"), 1);
	assert_int_equal(cache_flush(c, "example"), 2);
	assert_non_null(cache_get(c, "myexample", DNS_A));
	assert_int_equal(cache_flush(c, ""), 1);
	cache_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ttl),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
