/*
 * What may go wrong under the store: map full, disk full, failing syncs, death
 * at every step, records that cannot be read. Accepted means kept.
 */
#include "tests/queue/rig.h"
#include "tests/queue/script.h"

#include <errno.h>
#include <sys/wait.h>

enum { MAP = 64 << 20, STEPS_MAX = 400 };

/* ---- failing steps ----------------------------------------------------------- */

struct fault {
	enum store_point at;
	int err;
	_Atomic int left; /* times it still fails; negative: for ever */
	_Atomic int hits;
	_Atomic bool hold; /* the writer stops at the point, and passes it */
	_Atomic bool held;
};

static int
fail_point(void *arg, enum store_point point)
{
	struct fault *f = arg;

	if (point == f->at && f->hold) {
		f->held = true;
		while (f->hold)
			(void)usleep(1000);
		return 0;
	}
	if (point != f->at || f->left == 0)
		return 0;
	if (f->left > 0)
		f->left--;
	f->hits++;
	return f->err;
}

static void
inject(struct rig *r, struct fault *f)
{
	r->store->point_arg = f;
	r->store->on_point = fail_point;
}

static void
test_map_full(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, 256 << 10);
	char addr[64], body[8000];
	int i;

	(void)state;
	memset(body, 'x', sizeof(body));
	for (i = 0; i < 500; i++) {
		uint64_t mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);

		snprintf(addr, sizeof(addr), "u@h%d.example", i);
		rig_rcpt(r, mid, 0, addr, 0, "");
		rig_data(r, mid, body, sizeof(body));
		rig_commit(r, mid, sizeof(body), 0);
	}
	RIG_UNTIL(r, r->n_ok + r->n_later == 500);
	assert_int_equal(r->n_ok, 500); /* the map grew under it */
	assert_true(r->store->grown >= 3);
	rig_check_law(r);
	rig_stop(r);
	rig_start(r); /* with the small size again: the file is larger */
	assert_int_equal(rig_count(r, DB_MSG), 500);
	rig_check_law(r);
	rig_free(r);
}

static void
test_map_at_its_bound(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, 512 << 10);
	char body[12000];
	uint32_t ok;
	uint64_t mid, dest;
	int i;

	(void)state;
	memset(body, 'x', sizeof(body));
	r->store->map_max = r->store->map_size;
	for (i = 0; i < 100 && r->n_later == 0; i++) {
		mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
		rig_rcpt(r, mid, 0, "c@d.example", 0, "");
		rig_data(r, mid, body, sizeof(body));
		rig_commit(r, mid, sizeof(body), 0);
		RIG_UNTIL(r, r->n_ok + r->n_later == (uint32_t)i + 1);
	}
	assert_int_equal(r->n_later, 1);
	assert_int_equal(r->last_code, 452);
	RIG_UNTIL(r, !r->accepting);
	assert_non_null(
	    strstr(rig_ask(r, ADM_STATUS, 0, "", ""), "\"accepting\":false"));
	rig_check_law(r);
	/* the cause goes away: it recovers by itself */
	r->store->map_max = (size_t)1 << 30;
	RIG_UNTIL(r, r->accepting);
	ok = r->n_ok;
	(void)rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(rig_count(r, DB_MSG), ok + 1);
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 1000, 1);
	assert_int_equal(r->w[0].n_got, ok + 1);
	rig_free(r);
}

/* The address space has no room for a larger map: the old one stays. */
static void
test_map_cannot_grow(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, 512 << 10);
	char body[12000];
	size_t real = r->store->map_size;
	uint64_t mid;
	uint32_t i, ok;

	(void)state;
	memset(body, 'x', sizeof(body));
	/* twice this is more than any process can map */
	r->store->map_size = (size_t)1 << 47;
	r->store->map_max = (size_t)1 << 62;
	for (i = 0; i < 100 && r->n_later == 0; i++) {
		mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
		rig_rcpt(r, mid, 0, "c@d.example", 0, "");
		rig_data(r, mid, body, sizeof(body));
		rig_commit(r, mid, sizeof(body), 0);
		RIG_UNTIL(r, r->n_ok + r->n_later == i + 1);
	}
	assert_int_equal(r->n_later, 1);
	assert_int_equal(r->last_code, 452);
	RIG_UNTIL(r, !r->accepting);
	ok = r->n_ok;
	assert_int_equal(rig_count(r, DB_MSG), ok);
	rig_check_law(r);
	r->store->map_size = real;
	RIG_UNTIL(r, r->accepting);
	(void)rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(rig_count(r, DB_MSG), ok + 1);
	rig_free(r);
}

static void
test_disk_full_accept(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct fault f = { .at = POINT_COMMIT, .err = -ENOSPC };

	(void)state;
	(void)rig_send(r, "a@b.example", "c@d.example");
	inject(r, &f);
	f.left = -1;
	(void)rig_post(r, "a@b.example", "c@d.example");
	RIG_UNTIL(r, r->n_later == 1);
	assert_int_equal(r->last_code, 452);
	RIG_UNTIL(r, !r->accepting);
	/* refused at once from now on */
	(void)rig_post(r, "a@b.example", "c@d.example");
	RIG_UNTIL(r, r->n_later == 2);
	f.left = 0;
	RIG_UNTIL(r, r->accepting);
	(void)rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(rig_count(r, DB_MSG), 2);
	rig_check_law(r);
	rig_free(r);
}

static void
test_disk_full_result(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct fault f = { .at = POINT_COMMIT, .err = -ENOSPC };
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 1, 1);
	inject(r, &f);
	f.left = -1;
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	RIG_UNTIL(r, f.hits >= 2);
	/* the result waits in memory; the message is not sent again */
	rig_pull(r, 0, dest, 1, 1);
	assert_int_equal(r->w[0].n_got, 1);
	assert_int_equal(rig_count(r, DB_MSG), 1);
	f.left = 0;
	RIG_UNTIL(r, rig_count(r, DB_MSG) == 0);
	rig_settle(r);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 1);
	rig_check_law(r);
	rig_free(r);
}

/* What cannot be recorded although there is room: given up after some tries,
 * said, never sent again by this process, and nobody waits for it. */
static void
test_result_refused(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct fault f = { .at = POINT_COMMIT, .err = PE_CORRUPT };
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 1, 1);
	inject(r, &f);
	f.left = -1;
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	RIG_UNTIL(r, r->q.n_stuck == 1);
	f.left = 0;
	assert_int_equal(r->q.n_retry, 0);
	rig_settle(r);
	assert_non_null(
	    strstr(rig_ask(r, ADM_STATUS, 0, "", ""), "1 results could not"));
	/* others go on, it does not */
	(void)rig_send(r, "a@b.example", "e@d.example");
	rig_advance(r, 4000);
	rig_pull(r, 0, dest, 10, 10);
	assert_int_equal(r->w[0].n_got, 2);
	assert_string_equal(r->w[0].got[1].address, "e@d.example");
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_DELIVERED);
	queue_drain(&r->q);
	rig_release(r, 0, dest);
	assert_true(r->drained);
	rig_free(r);
}

static void
send_large(struct rig *r)
{
	char body[40000];
	uint64_t mid;
	uint32_t before = r->n_ok + r->n_later;

	memset(body, 'x', sizeof(body));
	mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	rig_rcpt(r, mid, 0, "c@d.example", 0, "");
	rig_data(r, mid, body, sizeof(body));
	rig_commit(r, mid, sizeof(body), 0);
	RIG_UNTIL(r, r->n_ok + r->n_later > before);
}

static void
test_body_faults(void **state)
{
	static const enum store_point points[] = { POINT_BODY_WRITE,
		POINT_BODY_SYNC, POINT_DIR_SYNC };
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct fault f = { .at = POINT_BODY_WRITE, .err = -EIO };
	uint64_t mid;
	size_t i;

	(void)state;
	inject(r, &f);
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		f.at = points[i];
		f.left = 1;
		f.hits = 0;
		mid = r->next_mid;
		send_large(r);
		assert_int_equal(f.hits, 1);
		assert_int_equal(r->n_ok, i);
		assert_int_equal(r->last_code, 452);
		RIG_UNTIL(r, !rig_body_exists(r, mid));
		RIG_UNTIL(r, r->accepting && r->q.store_error == 0);
		send_large(r);
		assert_int_equal(r->n_ok, i + 1);
	}
	rig_check_law(r);
	rig_free(r);
}

static void
test_low_space(void **state)
{
	struct rig *r = rig_new("[postern]\nhostname = gw.example.net\n"
				"[listener in]\naddress = 127.0.0.1:2525\n"
				"[queue]\nmin_free_space = 15t\n",
	    NULL, MAP);

	(void)state;
	RIG_UNTIL(r, !r->accepting);
	(void)rig_post(r, "a@b.example", "c@d.example");
	RIG_UNTIL(r, r->n_later == 1);
	assert_int_equal(r->last_code, 452);
	rig_free(r);
}

/* ---- formats --------------------------------------------------------------------- */

static void
test_newer_format(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct store *st = NULL;
	struct stxn x;
	struct key k, v;
	char err[256];

	(void)state;
	rig_settle(r);
	rig_stop(r);
	assert_int_equal(
	    store_open(r->dir, r->dir_fd, MAP, &st, err, sizeof(err)), 0);
	stx_init(&x, st);
	assert_int_equal(stx_begin(&x, 1), 0);
	memcpy(k.b, "format", 6);
	k.len = 6;
	key_u64(&v, STORE_FORMAT + 1);
	assert_int_equal(stx_put(&x, DB_META, &k, v.b, v.len), 0);
	assert_int_equal(stx_commit(&x), 0);
	stx_done(&x);
	store_close(st);
	assert_int_equal(
	    store_open(r->dir, r->dir_fd, MAP, &st, err, sizeof(err)),
	    PE_VERSION);
	assert_non_null(strstr(err, "newer"));
	rig_free(r);
}

/* ---- what cannot be read ------------------------------------------------------------ */

/* Overwrite or delete (len 0) one entry behind the queue's back. */
static void
tamper(struct rig *r, enum store_db db, const struct key *k, const void *data,
    size_t len)
{
	struct stxn x;

	rig_settle(r);
	stx_init(&x, r->store);
	assert_int_equal(stx_begin(&x, clock_now_s()), 0);
	if (len == 0)
		assert_int_equal(stx_del(&x, db, k), 0);
	else
		assert_int_equal(stx_put(&x, db, k, data, len), 0);
	assert_int_equal(stx_commit(&x), 0);
	stx_done(&x);
}

/* The same of many messages in one job: the others of it go through. */
static void
test_expiry_refused(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct fault f = { .at = POINT_COMMIT, .err = PE_CORRUPT };
	char to[40];
	int i;

	(void)state;
	for (i = 0; i < 20; i++) {
		snprintf(to, sizeof(to), "c@d%d.example", i);
		(void)rig_send(r, "", to);
	}
	rig_settle(r);
	inject(r, &f);
	f.left = -1;
	rig_advance(r, 4 * 86400);
	RIG_UNTIL(r, r->q.n_retry == 20); /* each alone now */
	/* they come together: the writer is busy until all are there */
	r->q.retry_at_ms = INT64_MAX;
	f.left = 2; /* all of them, then the first of them */
	f.hold = true;
	(void)rig_post(r, "", "c@busy.example");
	RIG_UNTIL(r, f.held);
	r->q.retry_at_ms = 1;
	RIG_UNTIL(r, writer_waiting(r->q.writer) == 21);
	f.hold = false;
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 19);
	RIG_UNTIL(r, r->q.n_stuck == 1);
	(void)rig_send(r, "", "c@d1.example");
	rig_advance(r, 4 * 86400);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 21);
	assert_int_equal(r->q.n_stuck, 1);
	rig_free(r);
}

/* A key that is none, before all others of its index, stops nobody. */
static void
test_bad_keys(void **state)
{
	static const enum store_db dbs[] = { DB_DQ, DB_SCHED, DB_EXP,
		DB_NOTICE };
	static const struct dq_entry first = { 1, 1, 0 };
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint32_t offers;
	uint64_t dest;
	struct key k;
	size_t i;

	(void)state;
	(void)rig_send(r, "a@b.example", "c@d.example");
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_release(r, 0, dest);
	for (i = 0; i < sizeof(dbs) / sizeof(dbs[0]); i++) {
		key_time(&k, 1, 1);
		if (dbs[i] == DB_DQ)
			key_dq(&k, dest, &first);
		k.b[k.len++] = 0;
		tamper(r, dbs[i], &k, "junk", 4);
	}
	rig_worker_kill(r, 0);
	rig_stop(r);
	rig_start(r);
	offers = r->w[0].n_offers;
	rig_worker_up(r, 0, 10);
	/* what was there, and what comes */
	assert_int_equal(rig_offer(r, 0, offers), dest);
	(void)rig_send(r, "a@b.example", "e@d.example");
	rig_pull(r, 0, dest, 5, 5);
	if (r->w[0].n_got < 2)
		rig_pull(r, 0, dest, 5, 5);
	assert_int_equal(r->w[0].n_got, 2);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_FAILED);
	rig_release(r, 0, dest);
	(void)rig_send(r, "", "f@g.example");
	rig_advance(r, 5 * 86400);
	/* f@g.example and the notice about e@d.example */
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 2);
	RIG_UNTIL(r, rig_count(r, DB_BAD) == 4);
	for (i = 0; i < sizeof(dbs) / sizeof(dbs[0]); i++)
		assert_int_equal(rig_count(r, dbs[i]), 0);
	rig_check_law(r);
	rig_free(r);
}

static void
test_bad_entries(void **state)
{
	static const struct {
		const char *name;
		enum store_db db;
		bool rcpt_key, gone;
		uint64_t want_bad;
	} t[] = {
		{ "message record", DB_MSG, false, false, 3 },
		{ "message gone", DB_MSG, false, true, 2 },
		{ "recipient record", DB_RCPT, true, false, 1 },
		{ "recipient gone", DB_RCPT, true, true, 2 },
		{ "body gone", DB_BODY, false, true, 2 },
	};
	uint64_t mid, dest;
	struct rig *r;
	struct key k;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		r = rig_new(RIG_SETTINGS, NULL, MAP);
		mid = rig_send(r, "a@b.example", "c@d.example");
		(void)rig_send(r, "a@b.example", "good@d.example");
		if (t[i].rcpt_key)
			key_rcpt(&k, mid, 0);
		else
			key_u64(&k, mid);
		tamper(r, t[i].db, &k, "junk", t[i].gone ? 0 : 4);
		rig_worker_up(r, 0, 10);
		dest = rig_offer(r, 0, 0);
		rig_pull(r, 0, dest, 10, 10);
		if (r->w[0].n_got != 1)
			fail_msg("%s: %u messages", t[i].name, r->w[0].n_got);
		assert_string_equal(r->w[0].got[0].address, "good@d.example");
		rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
		rig_settle(r);
		if (rig_count(r, DB_BAD) != t[i].want_bad)
			fail_msg("%s: %llu set aside", t[i].name,
			    (unsigned long long)rig_count(r, DB_BAD));
		assert_int_equal(rig_count(r, DB_DQ), 0);
		/* what is left of indexes goes when its time comes */
		rig_advance(r, 4 * 86400);
		RIG_UNTIL(r, rig_count(r, DB_EXP) == 0);
		RIG_UNTIL(r, rig_count(r, DB_SCHED) == 0);
		rig_free(r);
	}
}

/* An unreadable recipient does not keep the others of its message back. */
static void
test_hold_with_bad_recipient(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t mid;
	struct key k;
	uint32_t i;

	(void)state;
	mid = rig_begin(r, "a@b.example", 3, DSN_RET_NONE, 0);
	for (i = 0; i < 3; i++)
		rig_rcpt(r, mid, i, "c@d.example", 0, "");
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	key_rcpt(&k, mid, 1);
	tamper(r, DB_RCPT, &k, "junk", 4);
	(void)rig_ask(r, ADM_HOLD, mid, "", "");
	assert_int_equal(r->answer_code, 0);
	assert_int_equal(rig_count(r, DB_DQ), 1); /* of the bad one */
	(void)rig_ask(r, ADM_UNHOLD, mid, "", "");
	assert_int_equal(r->answer_code, 0);
	assert_int_equal(rig_count(r, DB_DQ), 3);
	rig_worker_up(r, 0, 10);
	rig_pull(r, 0, rig_offer(r, 0, 0), 10, 10);
	rig_settle(r);
	rig_pull(r, 0, r->w[0].offers[0].dest_id, 10, 10);
	for (i = 0; i < r->w[0].n_got; i++)
		rig_result(r, 0, &r->w[0].got[i], OUTCOME_DELIVERED);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 2);
	rig_settle(r);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_free(r);
}

/* What an operator removes is gone, readable or not. */
static void
test_remove_unreadable(void **state)
{
	static const enum store_db broken[] = { DB_RCPT, DB_MSG };
	struct rig *r;
	struct key k;
	uint64_t mid;
	size_t t;
	uint32_t i;

	(void)state;
	for (t = 0; t < 2; t++) {
		r = rig_new(RIG_SETTINGS, NULL, MAP);
		mid = rig_begin(r, "a@b.example", 3, DSN_RET_NONE, 0);
		for (i = 0; i < 3; i++)
			rig_rcpt(r, mid, i, "c@d.example", 0, "");
		rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
		rig_commit(r, mid, sizeof(rig_text) - 1, 0);
		RIG_UNTIL(r, r->n_ok == 1);
		if (broken[t] == DB_RCPT)
			key_rcpt(&k, mid, 1);
		else
			key_u64(&k, mid);
		tamper(r, broken[t], &k, "junk", 4);
		assert_non_null(
		    strstr(rig_ask(r, ADM_REMOVEMESSAGE, mid, "", ""), "3"));
		assert_int_equal(r->answer_code, 0);
		assert_int_equal(rig_count(r, DB_MSG), 0);
		assert_int_equal(rig_count(r, DB_RCPT), 0);
		assert_int_equal(writer_counters(r->q.writer)->queued, 0);
		assert_int_equal(writer_counters(r->q.writer)->removed, 3);
		/* the entry of the one that could not say where it waits */
		rig_worker_up(r, 0, 10);
		rig_advance(r, 1);
		if (r->w[0].n_offers > 0)
			rig_pull(r, 0, r->w[0].offers[0].dest_id, 10, 10);
		rig_settle(r);
		assert_int_equal(r->w[0].n_got, 0);
		assert_int_equal(rig_count(r, DB_DQ), 0);
		rig_advance(r, 4 * 86400);
		RIG_UNTIL(r, rig_count(r, DB_EXP) == 0);
		rig_free(r);
	}
}

static void
test_bad_dest(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct key k;
	uint64_t id;

	(void)state;
	(void)rig_send(r, "a@b.example", "c@d.example");
	(void)rig_send(r, "a@b.example", "e@d.example");
	rig_worker_up(r, 0, 10);
	id = rig_offer(r, 0, 0);
	key_u64(&k, id);
	tamper(r, DB_DEST, &k, "junk", 4);
	rig_stop(r);
	rig_start(r);
	rig_worker_up(r, 0, 10);
	rig_settle(r);
	rig_advance(r, 1);
	assert_int_equal(rig_offer(r, 0, 1), id);
	assert_string_equal(r->w[0].offer_domain, "d.example");
	rig_pull(r, 0, id, 10, 10);
	assert_int_equal(r->w[0].n_got, 2);
	assert_int_equal(rig_count(r, DB_BAD), 1);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	rig_check_law(r);
	rig_free(r);
}

/* ---- death at every step ------------------------------------------------------------- */

static int tell_fd = -1;
static _Atomic int step_left;

static int
die_point(void *arg, enum store_point point)
{
	(void)arg;
	(void)point;
	if (--step_left == 0)
		_exit(7);
	return 0;
}

/* What the dying process told the world goes through a pipe. */
static void
tell_pipe(const struct told *t)
{
	if (write(tell_fd, t, sizeof(*t)) != sizeof(*t))
		_exit(9);
}

static pid_t
run_and_die(struct rig *r, int step, int pipe_fd)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	tell_fd = pipe_fd;
	step_left = step;
	script_told = tell_pipe;
	rig_start(r);
	r->store->on_point = die_point;
	script(r);
	_exit(0);
}

static bool
kept(struct rig *r, uint64_t mid)
{
	struct rec_msg m;
	struct sview v;
	bool yes;

	assert_int_equal(store_read_begin(r->store, &v), 0);
	yes = sview_msg(&v, mid, &m) == 0 &&
	    (m.body == REC_BODY_INLINE || rig_body_exists(r, mid));
	store_read_end(&v);
	return yes;
}

/* Every file belongs to a message once the sweep is through. */
static void
check_files(struct rig *r)
{
	struct body_sweep s;
	uint64_t mid;

	RIG_UNTIL(r, !r->q.sweeping);
	rig_settle(r);
	body_sweep_init(&s, r->dir_fd);
	while (body_sweep_next(&s, &mid) == 1)
		assert_true(kept(r, mid));
	body_sweep_done(&s);
}

static void
check_after(struct rig *r, int step, const struct told *told, size_t n)
{
	size_t i, k;
	bool ended;

	for (i = 0; i < n; i++) {
		if (told[i].what != TOLD_KEPT)
			continue;
		ended = false;
		for (k = 0; k < n; k++)
			ended = ended ||
			    (told[k].what == TOLD_END &&
				told[k].mid == told[i].mid);
		if (!ended && !kept(r, told[i].mid))
			fail_msg("step %d: MID %llu is lost", step,
			    (unsigned long long)told[i].mid);
	}
	rig_check_law(r);
	check_files(r);
}

/* The rig without its processes: directory and settings only. */
static struct rig *
bare(void)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);

	rig_settle(r);
	rig_stop(r);
	return r;
}

static void
test_death_at_each_step(void **state)
{
	static struct told told[100];
	int step, status, fd[2];
	struct rig *r;
	ssize_t len;
	pid_t pid;

	(void)state;
	for (step = 1; step < STEPS_MAX; step++) {
		r = bare();
		assert_int_equal(pipe(fd), 0);
		pid = run_and_die(r, step, fd[1]);
		assert_true(pid > 0);
		(void)close(fd[1]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		len = read(fd[0], told, sizeof(told));
		(void)close(fd[0]);
		assert_true(WIFEXITED(status));
		rig_start(r);
		check_after(
		    r, step, told, len < 0 ? 0 : (size_t)len / sizeof(told[0]));
		rig_free(r);
		if (WEXITSTATUS(status) == 0)
			break; /* it got through the whole script */
		assert_int_equal(WEXITSTATUS(status), 7);
	}
	/* there were that many steps, and the end was reached */
	assert_in_range(step, 30, STEPS_MAX - 1);
	print_message("%d steps\n", step - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_full),
		cmocka_unit_test(test_map_at_its_bound),
		cmocka_unit_test(test_map_cannot_grow),
		cmocka_unit_test(test_disk_full_accept),
		cmocka_unit_test(test_disk_full_result),
		cmocka_unit_test(test_result_refused),
		cmocka_unit_test(test_expiry_refused),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_body_faults),
		cmocka_unit_test(test_low_space),
		cmocka_unit_test(test_newer_format),
		cmocka_unit_test(test_bad_entries),
		cmocka_unit_test(test_hold_with_bad_recipient),
		cmocka_unit_test(test_remove_unreadable),
		cmocka_unit_test(test_bad_dest),
		cmocka_unit_test(test_death_at_each_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
