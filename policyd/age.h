/*
 * age.h - how old the stored policies are: one counter per mode and quarter of a
 * day of their last fetch, kept with each write, so that nobody scans.
 *
 * Called by store.c, on its thread within a write, and on the loop to read.
 */
#ifndef POSTERN_POLICYD_AGE_H
#define POSTERN_POLICYD_AGE_H

#include <lmdb.h>
#include <stdint.h>

struct policy_record;

enum { AGE_CLASSES = 4 };

/* "under_1d", "1d_to_7d", "7d_to_30d", "over_30d". */
const char *age_word(int age_class);

/* One more (by 1) or less (by -1). An LMDB code. */
int age_count(
    MDB_txn *txn, MDB_dbi dbi, const struct policy_record *rec, int by);

/* Policies of each mode and class, exact to a quarter of a day. */
void age_read(MDB_txn *txn, MDB_dbi dbi, int64_t now_s,
    uint64_t (*ret)[AGE_CLASSES], int modes);

#endif
