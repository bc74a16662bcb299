/*
 * test_base64.c - RFC 4648 section 10, all bytes there and back, what is refused.
 */
#include "lib/base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

static void
test_vectors(void **state)
{
	static const char *const rows[][2] = { { "", "" }, { "f", "Zg==" },
		{ "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
	uint8_t back[16];
	char text[16];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = strlen(rows[i][0]);
		base64_encode((const uint8_t *)rows[i][0], n, text);
		assert_int_equal(BASE64_LEN(n), strlen(rows[i][1]));
		assert_memory_equal(text, rows[i][1], BASE64_LEN(n));
		assert_int_equal(
		    base64_decode(rows[i][1], strlen(rows[i][1]), back, &n), 0);
		assert_int_equal(n, strlen(rows[i][0]));
		assert_memory_equal(back, rows[i][0], n);
	}
}

static void
test_all_bytes(void **state)
{
	uint8_t in[256], back[256 + 3];
	char text[BASE64_LEN(256)];
	size_t i, n, got;

	(void)state;
	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(255 - i);
	for (n = 0; n <= sizeof(in); n++) {
		base64_encode(in, n, text);
		assert_int_equal(
		    base64_decode(text, BASE64_LEN(n), back, &got), 0);
		assert_int_equal(got, n);
		assert_memory_equal(back, in, n);
	}
}

static void
test_refused(void **state)
{
	static const char *const rows[] = { "Zg", "Zg=", "Zg==Zg==", "=g==",
		"Z===", "====", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm-_",
		"Z=8=" };
	uint8_t back[16];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (base64_decode(rows[i], strlen(rows[i]), back, &n) !=
		    -EBADMSG)
			fail_msg("%s", rows[i]);
	assert_int_equal(base64_decode("Zg\0=", 4, back, &n), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_all_bytes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
