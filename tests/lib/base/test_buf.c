/*
 * test_buf.c - the bounded buffer: order of bytes, the bound, reuse of storage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

static void
test_order(void **state)
{
	struct buf b;
	uint8_t in = 0, out = 0;
	int i, k;

	(void)state;
	buf_init(&b, 4096);
	/* a sliding window over 20 times the bound keeps every byte in order */
	for (i = 0; i < 800; i++) {
		for (k = 0; k < 100; k++, in++)
			assert_int_equal(buf_put(&b, &in, 1), 0);
		for (k = 0; k < 100; k++, out++) {
			assert_int_equal(buf_data(&b)[0], out);
			buf_drop(&b, 1);
		}
	}
	assert_int_equal(buf_len(&b), 0);
	assert_true(b.cap <= 4096);
	buf_done(&b);
}

static void
test_bound(void **state)
{
	struct buf b;
	char data[100] = { 0 };

	(void)state;
	buf_init(&b, 150);
	assert_int_equal(buf_put(&b, data, 100), 0);
	assert_int_equal(buf_put(&b, data, 51), PE_FULL);
	assert_int_equal(buf_len(&b), 100);
	assert_int_equal(buf_put(&b, data, 50), 0);
	assert_int_equal(buf_puts(&b, "x"), PE_FULL);
	buf_drop(&b, 1000);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_put(&b, data, 151), PE_FULL);
	buf_done(&b);
}

static void
test_printf(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	assert_int_equal(buf_printf(&b, "%s-%d", "a", 5), 0);
	assert_int_equal(buf_printf(&b, "%s", "b"), 0);
	assert_int_equal(buf_len(&b), 4);
	assert_memory_equal(buf_data(&b), "a-5b", 4);
	assert_int_equal(buf_printf(&b, "%100d", 1), PE_FULL);
	assert_int_equal(buf_len(&b), 4);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_printf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
