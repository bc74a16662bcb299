/*
 * test_young.c - fresh mail has tables of its own, and nobody can tell.
 */
#include "tests/queue/rig.h"

enum { MAP = 64 << 20 };

static size_t
entries(struct rig *r, MDB_dbi dbi)
{
	struct sview v;
	MDB_stat stat;

	rig_settle(r);
	assert_int_equal(store_read_begin(r->store, &v), 0);
	assert_int_equal(mdb_stat(v.txn, dbi, &stat), 0);
	store_read_end(&v);
	return stat.ms_entries;
}

/* So many messages of one recipient among the young and among the old. */
static void
check(struct rig *r, size_t young, size_t old)
{
	static const enum store_db dbs[] = { DB_MSG, DB_RCPT, DB_DQ, DB_EXP };
	size_t i;

	for (i = 0; i < sizeof(dbs) / sizeof(dbs[0]); i++) {
		assert_int_equal(entries(r, r->store->young[dbs[i]]), young);
		assert_int_equal(entries(r, r->store->dbi[dbs[i]]), old);
	}
	rig_check_law(r);
}

static void
test_life(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	(void)rig_send(r, "a@b.example", "e@d.example");
	check(r, 2, 0);
	dest = rig_offer(r, 0, 0);
	while (r->w[0].n_got < 2)
		rig_pull(r, 0, dest, 5, 5);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	check(r, 1, 0);
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_DEFERRED);
	check(r, 0, 1);
	/* the other of the two is young again, and both are handed out */
	(void)rig_send(r, "a@b.example", "g@d.example");
	check(r, 1, 1);
	rig_advance(r, 86400);
	while (r->w[0].n_got < 4)
		rig_pull(r, 0, dest, 5, 5);
	rig_result(r, 0, &r->w[0].got[2], OUTCOME_DELIVERED);
	rig_result(r, 0, &r->w[0].got[3], OUTCOME_DELIVERED);
	check(r, 0, 0);
	rig_free(r);
}

static void
test_down(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t dest;
	int i;

	(void)state;
	for (i = 0; i < OP_AGE_MAX + 10; i++)
		(void)rig_send(r, "", "c@d.example");
	check(r, OP_AGE_MAX + 10, 0);
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_dest_state(r, 0, dest, DEST_DEFER, REASON_HOST_DOWN);
	rig_release(r, 0, dest);
	check(r, 10, OP_AGE_MAX);
	/* what comes while it is down, too */
	(void)rig_send(r, "", "c@d.example");
	check(r, 10, OP_AGE_MAX + 1);
	/* and all of it ends in its time */
	rig_stop(r);
	rig_start(r);
	check(r, 10, OP_AGE_MAX + 1);
	rig_advance(r, 5 * 86400);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == OP_AGE_MAX + 11);
	check(r, 0, 0);
	rig_free(r);
}

/* A store of the format before, which had none of these tables. */
static void
test_older_format(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct store *st;
	struct stxn x;
	struct key k, v;
	char err[256];

	(void)state;
	(void)rig_send(r, "a@b.example", "c@d.example");
	rig_settle(r);
	rig_stop(r);
	assert_int_equal(
	    store_open(r->dir, r->dir_fd, MAP, &st, err, sizeof(err)), 0);
	stx_init(&x, st);
	assert_int_equal(stx_begin(&x, 1), 0);
	assert_int_equal(stx_age(&x, 1), 0);
	memcpy(k.b, "format", 6);
	k.len = 6;
	key_u64(&v, 1);
	assert_int_equal(stx_put(&x, DB_META, &k, v.b, v.len), 0);
	assert_int_equal(stx_commit(&x), 0);
	stx_done(&x);
	store_close(st);
	rig_start(r);
	check(r, 0, 1);
	(void)rig_send(r, "a@b.example", "e@d.example");
	check(r, 1, 1);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_older_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
