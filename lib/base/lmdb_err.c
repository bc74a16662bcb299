/*
 * lmdb_err.c - see lmdb_err.h. Uses LMDB's numbers and none of its functions, so
 * that programs without a store need not be linked with it.
 */
#include "lib/base/lmdb_err.h"

#include "lib/base/err.h"

#include <errno.h>
#include <lmdb.h>

int
err_from_lmdb(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return PE_NOT_FOUND;
	case MDB_MAP_FULL:
		return PE_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_BAD_VALSIZE:
		return PE_CORRUPT;
	case MDB_PANIC:
		return -ENOTRECOVERABLE;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}
