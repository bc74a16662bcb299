/*
 * test_limits.c - connections counted by listener and by client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hash.h"
#include "smtpd/smtpd.h"

static union conf_addr
addr(const char *text)
{
	union conf_addr a;

	memset(&a, 0, sizeof(a));
	if (strchr(text, ':') != NULL) {
		a.in6.sin6_family = AF_INET6;
		assert_int_equal(
		    inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
	} else {
		a.in.sin_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, text, &a.in.sin_addr), 1);
	}
	return a;
}

static void
test_limits(void **state)
{
	struct limits *l = calloc(1, sizeof(*l));
	union conf_addr a = addr("10.1.1.2"), b = addr("10.1.1.3"),
			v6 = addr("2001:db8::1"),
			mapped = addr("::ffff:10.1.1.2"),
			near = addr("2001:db8::2:3:4"),
			far = addr("2001:db8:0:1::1");
	struct limit_client *c[8];

	(void)state;
	assert_non_null(l);
	assert_int_equal(limits_take(l, 0, &a.sa, 4, 2, &c[0]), LIMIT_OK);
	assert_int_equal(limits_take(l, 0, &a.sa, 4, 2, &c[1]), LIMIT_OK);
	assert_int_equal(limits_take(l, 0, &a.sa, 4, 2, &c[2]), LIMIT_CLIENT);
	/* the same client by another socket family */
	assert_int_equal(
	    limits_take(l, 0, &mapped.sa, 4, 2, &c[2]), LIMIT_CLIENT);
	/* another listener has its own count */
	assert_int_equal(limits_take(l, 1, &a.sa, 4, 2, &c[2]), LIMIT_OK);
	assert_int_equal(limits_take(l, 0, &b.sa, 4, 2, &c[3]), LIMIT_OK);
	assert_int_equal(limits_take(l, 0, &v6.sa, 4, 2, &c[4]), LIMIT_OK);
	assert_int_equal(limits_take(l, 0, &b.sa, 4, 2, &c[5]), LIMIT_LISTENER);
	limits_drop(l, c[0]);
	assert_int_equal(limits_take(l, 0, &a.sa, 4, 2, &c[0]), LIMIT_OK);
	/* who has one address of a /64 has them all */
	assert_int_equal(limits_take(l, 2, &v6.sa, 4, 1, &c[5]), LIMIT_OK);
	assert_int_equal(
	    limits_take(l, 2, &near.sa, 4, 1, &c[6]), LIMIT_CLIENT);
	assert_int_equal(limits_take(l, 2, &far.sa, 4, 1, &c[6]), LIMIT_OK);
	limits_drop(l, c[5]);
	limits_drop(l, c[6]);
	limits_drop(l, c[0]);
	limits_drop(l, c[1]);
	limits_drop(l, c[2]);
	limits_drop(l, c[3]);
	limits_drop(l, c[4]);
	assert_int_equal(l->by_listener[0], 0);
	assert_int_equal(l->by_listener[1], 0);
	free(l);
}

/* Many clients: every entry goes with its last connection. */
static void
test_many(void **state)
{
	enum { N = 20000 };
	struct limits *l = calloc(1, sizeof(*l));
	struct limit_client **c = calloc(N, sizeof(*c));
	union conf_addr a = addr("10.0.0.0");
	uint32_t i;

	(void)state;
	assert_non_null(l);
	assert_non_null(c);
	for (i = 0; i < N; i++) {
		a.in.sin_addr.s_addr = htonl(0x0a000000 + i);
		assert_int_equal(
		    limits_take(l, 0, &a.sa, N, 1, &c[i]), LIMIT_OK);
	}
	assert_int_equal(l->by_listener[0], N);
	for (i = 0; i < N; i++)
		limits_drop(l, c[i]);
	for (i = 0; i < LIMIT_BUCKETS; i++)
		assert_true(LIST_EMPTY(&l->buckets[i]));
	free(c);
	free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many),
	};

	hash_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
