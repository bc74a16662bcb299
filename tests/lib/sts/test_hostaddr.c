/*
 * test_hostaddr.c - which addresses of policy hosts are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "lib/conf/conf.h"
#include "lib/sts/hostaddr.h"

static const struct {
	const char *ip;
	bool refused;
} cases[] = {
	{ "8.8.8.8", false },
	{ "0.0.0.0", true },
	{ "9.255.255.255", false },
	{ "10.0.0.1", true },
	{ "10.255.255.255", true },
	{ "11.0.0.0", false },
	{ "100.63.255.255", false },
	{ "100.64.0.1", true },
	{ "100.127.255.255", true },
	{ "100.128.0.0", false },
	{ "127.0.0.1", true },
	{ "169.254.169.254", true },
	{ "172.15.255.255", false },
	{ "172.16.0.1", true },
	{ "172.31.255.255", true },
	{ "172.32.0.0", false },
	{ "192.0.0.1", true },
	{ "192.0.1.1", false },
	{ "192.168.1.1", true },
	{ "192.169.0.0", false },
	{ "198.18.0.1", true },
	{ "198.19.255.255", true },
	{ "198.20.0.0", false },
	{ "224.0.0.1", true },
	{ "255.255.255.255", true },
	{ "2001:db8::1", false },
	{ "2606:4700::1111", false },
	{ "::", true },
	{ "::1", true },
	{ "::10.0.0.1", true },
	{ "::ffff:10.0.0.1", true },
	{ "::ffff:8.8.8.8", false },
	{ "64:ff9b::a00:1", true },
	{ "64:ff9b::808:808", false },
	{ "64:ff9b:1:a00:0:100:808:808", true },
	{ "2002:7f00:1::", true },
	{ "2002:808:808::", false },
	{ "2001::1", true },
	{ "100::1", true },
	{ "fc00::1", true },
	{ "fd00:ec2::254", true },
	{ "fe80::1", true },
	{ "febf::1", true },
	{ "fec0::1", true },
	{ "ff02::1", true },
};

static void
test_table(void **state)
{
	struct sts_addr a;
	char text[48];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(sts_addr_parse(cases[i].ip, &a), 0);
		if (sts_addr_refused(&a, NULL) != cases[i].refused)
			fail_msg("%s", cases[i].ip);
		(void)sts_addr_text(&a, text, sizeof(text));
		assert_string_equal(text, cases[i].ip);
	}
	assert_true(sts_addr_parse("10.0.0", &a) < 0);
	assert_true(sts_addr_parse("example.com", &a) < 0);
}

static void
test_allow(void **state)
{
	static const struct conf_net net = {
		.family = AF_INET, .prefix = 8, .bits = { 127 }
	};
	static const struct conf_nets nets = { .n = 1, .v = &net };
	struct sts_addr a;

	(void)state;
	assert_int_equal(sts_addr_parse("127.0.0.1", &a), 0);
	assert_false(sts_addr_refused(&a, &nets));
	assert_int_equal(sts_addr_parse("10.0.0.1", &a), 0);
	assert_true(sts_addr_refused(&a, &nets));
	assert_int_equal(sts_addr_parse("::1", &a), 0);
	assert_true(sts_addr_refused(&a, &nets));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_allow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
