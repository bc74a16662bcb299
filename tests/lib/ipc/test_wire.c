/*
 * test_wire.c - values of frames: round trips, and a cursor that never lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ipc/wire.h"

static void
test_round_trip(void **state)
{
	struct buf b;
	struct ipc_wr w = { .b = &b };
	struct ipc_rd r;
	size_t len;
	const uint8_t *data;

	(void)state;
	buf_init(&b, 4096);
	ipc_wr_u8(&w, 7);
	ipc_wr_u16(&w, 65535);
	ipc_wr_u32(&w, 4000000000u);
	ipc_wr_u64(&w, UINT64_MAX);
	ipc_wr_i64(&w, -5);
	ipc_wr_bool(&w, true);
	ipc_wr_str(&w, "hello");
	ipc_wr_str(&w, NULL);
	ipc_wr_bytes(&w, "\0\1\2", 3);
	assert_int_equal(w.err, 0);
	ipc_rd_init(&r, buf_data(&b), buf_len(&b));
	assert_int_equal(ipc_rd_u8(&r), 7);
	assert_int_equal(ipc_rd_u16(&r), 65535);
	assert_int_equal(ipc_rd_u32(&r), 4000000000u);
	assert_true(ipc_rd_u64(&r) == UINT64_MAX);
	assert_true(ipc_rd_i64(&r) == -5);
	assert_true(ipc_rd_bool(&r));
	assert_string_equal(ipc_rd_str(&r, 5), "hello");
	assert_string_equal(ipc_rd_str(&r, 5), "");
	data = ipc_rd_bytes(&r, 3, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(data, "\0\1\2", 3);
	assert_int_equal(ipc_rd_end(&r), 0);
	buf_done(&b);
}

/* Each row is a text value on the wire, and whether it may be believed. */
static const struct {
	const char *name;
	const char *wire;
	size_t len, max;
	const char *want; /* NULL: refused */
} texts[] = {
	{ "plain", "\0\2hi\0", 5, 2, "hi" },
	{ "empty", "\0\0\0", 3, 0, "" },
	{ "over the cap", "\0\2hi\0", 5, 1, NULL },
	{ "no terminator", "\0\2hix", 5, 9, NULL },
	{ "NUL inside", "\0\2h\0\0", 5, 9, NULL },
	{ "longer than the frame", "\0\x09hi\0", 5, 9, NULL },
	{ "cut length", "\0", 1, 9, NULL },
	{ "bytes behind", "\0\0\0x", 4, 9, NULL },
};

static void
test_texts(void **state)
{
	struct ipc_rd r;
	const char *got;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		ipc_rd_init(&r, texts[i].wire, texts[i].len);
		got = ipc_rd_str(&r, texts[i].max);
		if (texts[i].want != NULL) {
			assert_int_equal(ipc_rd_end(&r), 0);
			assert_string_equal(got, texts[i].want);
		} else {
			assert_int_equal(ipc_rd_end(&r), PE_SYNTAX);
		}
	}
}

static void
test_error_sticks(void **state)
{
	struct ipc_rd r;
	size_t len = 9;

	(void)state;
	ipc_rd_init(&r, "\1\2\3\4\5\6\7\10\11", 9);
	(void)ipc_rd_enum(&r, 0); /* 1 is over the highest value */
	assert_int_equal(ipc_rd_u32(&r), 0);
	assert_int_equal(ipc_rd_u8(&r), 0);
	assert_string_equal(ipc_rd_str(&r, 100), "");
	assert_null(ipc_rd_bytes(&r, 100, &len));
	assert_int_equal(len, 0);
	assert_int_equal(ipc_rd_end(&r), PE_SYNTAX);
	ipc_rd_init(&r, "\2", 1);
	assert_false(ipc_rd_bool(&r));
	assert_int_equal(ipc_rd_end(&r), PE_SYNTAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_error_sticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
