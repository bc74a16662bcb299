/*
 * lmdb_err.h - the result of an LMDB call in our own terms: the one table, for
 * the stores of queue and policyd.
 */
#ifndef POSTERN_BASE_LMDB_ERR_H
#define POSTERN_BASE_LMDB_ERR_H

/*
 * 0, a negative errno, or PE_NOT_FOUND, PE_FULL (the map), PE_CORRUPT (pages or
 * sizes that cannot be), -ENOTRECOVERABLE (the environment is unusable from now
 * on; opening it again may help), -EIO for what has no better name.
 */
int err_from_lmdb(int rc);

#endif
