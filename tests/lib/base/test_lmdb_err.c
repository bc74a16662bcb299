/*
 * test_lmdb_err.c - the table of LMDB's results.
 */
#include "lib/base/lmdb_err.h"

#include "lib/base/err.h"

#include <errno.h>
#include <lmdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	int rc, want;
} cases[] = {
	{ 0, 0 },
	{ MDB_NOTFOUND, PE_NOT_FOUND },
	{ MDB_MAP_FULL, PE_FULL },
	{ MDB_CORRUPTED, PE_CORRUPT },
	{ MDB_PAGE_NOTFOUND, PE_CORRUPT },
	{ MDB_INVALID, PE_CORRUPT },
	{ MDB_VERSION_MISMATCH, PE_CORRUPT },
	{ MDB_BAD_VALSIZE, PE_CORRUPT },
	{ MDB_PANIC, -ENOTRECOVERABLE },
	{ MDB_MAP_RESIZED, -EIO },
	{ MDB_TXN_FULL, -EIO },
	{ ENOSPC, -ENOSPC },
	{ EIO, -EIO },
};

static void
test_table(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(err_from_lmdb(cases[i].rc), cases[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_table) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
