/*
 * test_client_key.c - which addresses are one client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/base/client_key.h"

static bool
key_of(const char *text, uint8_t ret_key[CLIENT_KEY_LEN])
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = 25,
		.sin6_flowinfo = 7,
		.sin6_scope_id = 2 };

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		return client_key((struct sockaddr *)&in, ret_key);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return client_key((struct sockaddr *)&in6, ret_key);
}

static void
test_pairs(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "192.0.2.1", "::ffff:192.0.2.1", true },
		{ "::ffff:192.0.2.1", "::ffff:192.0.2.2", false },
		{ "2001:db8:0:1::1", "2001:db8:0:1:ffff:eeee:dddd:cccc", true },
		{ "2001:db8:0:1::1", "2001:db8:0:2::1", false },
		{ "::1", "::2", true },
		{ "::1", "0.0.0.1", false },
		/* the old form of an IPv4 address in IPv6 is plain IPv6 */
		{ "::192.0.2.1", "192.0.2.1", false },
	};
	uint8_t a[CLIENT_KEY_LEN], b[CLIENT_KEY_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(key_of(rows[i].a, a));
		assert_true(key_of(rows[i].b, b));
		if ((memcmp(a, b, sizeof(a)) == 0) != rows[i].same)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
	}
}

static void
test_format(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64" },
		{ "2001:db8:1111:2222:3333:4444:5555:6666",
		    "2001:db8:1111:2222::/64" },
		{ "::1", "::/64" },
	};
	uint8_t key[CLIENT_KEY_LEN];
	char text[CLIENT_KEY_TEXT];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(key_of(rows[i].in, key));
		assert_string_equal(
		    client_key_format(key, text, sizeof(text)), rows[i].want);
	}
}

static void
test_other_families(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = "/x" };
	static const uint8_t none[CLIENT_KEY_LEN];
	uint8_t key[CLIENT_KEY_LEN];

	(void)state;
	assert_false(client_key((struct sockaddr *)&sun, key));
	assert_memory_equal(key, none, sizeof(key));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_other_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
