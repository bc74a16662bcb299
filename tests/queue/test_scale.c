/*
 * A large backlog must cost nothing: start, fresh mail, lists, memory. The
 * default is small enough for every run; SCALE=1000000 in the environment makes
 * it a million messages, RIG_DIR puts them on a disk.
 */
#include "queue/peer_admin.h"
#include "tests/queue/rig.h"

#include <malloc.h>

enum { PER_TXN = 2000, BODY = 2000 };

static uint32_t
scale(void)
{
	const char *text = getenv("SCALE");

	return text == NULL ? 50000 : (uint32_t)strtoul(text, NULL, 10);
}

static int64_t
ms(void)
{
	return (int64_t)(uv_hrtime() / 1000000);
}

/* n messages to n / 10 destinations, by the real operation. due: from then on,
 * one destination a second, or all at once. */
static void
fill(struct rig *r, uint32_t n, int64_t due_s, bool spread)
{
	static uint8_t body[BODY];
	struct op_accept op;
	struct op_rcpt rc;
	struct stxn x;
	char addr[96], domain[64];
	uint32_t i;
	int64_t now_s = clock_now_s();

	memset(body, 'x', sizeof(body));
	stx_init(&x, r->store);
	assert_int_equal(stx_begin(&x, now_s), 0);
	for (i = 0; i < n; i++) {
		memset(&op, 0, sizeof(op));
		memset(&rc, 0, sizeof(rc));
		snprintf(domain, sizeof(domain), "h%u.example", i % (n / 10));
		snprintf(addr, sizeof(addr), "u%u@%s", i, domain);
		rc.address = addr;
		rc.domain = domain;
		rc.orcpt = "";
		rc.expires_s = now_s + 3 * 86400;
		op.mid = x.next_id[ID_MID]++;
		x.ids_dirty = true;
		op.msg.sender = "a@b.example";
		op.msg.envid = op.msg.listener = op.msg.client = "";
		op.msg.gateway = op.msg.profile = "default";
		op.msg.message_id = "<1@x>";
		op.msg.size = BODY;
		op.msg.accepted_ms = now_s * 1000;
		op.rcpts = &rc;
		op.n_rcpts = 1;
		op.body = body;
		op.body_len = BODY;
		op.body_fd = -1;
		op.due_s = due_s + (spread ? i % (n / 10) : 0);
		assert_int_equal(op_accept_run(&x, &op.job), 0);
		if (i % PER_TXN == PER_TXN - 1) {
			assert_int_equal(stx_commit(&x), 0);
			assert_int_equal(stx_begin(&x, now_s), 0);
		}
	}
	assert_int_equal(stx_commit(&x), 0);
	stx_done(&x);
}

/* Room for all of it, so that the table itself is tested. */
#define SCALE_SETTINGS RIG_SETTINGS "max_in_memory = 20000000\n"

static size_t
heap(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void
test_deferred_backlog(void **state)
{
	uint32_t n = scale();
	struct rig *r = rig_new(RIG_SETTINGS, NULL, (size_t)64 << 30);
	int64_t t, fill_ms, first_ms, top_ms, fresh_ms;
	size_t before, after;

	(void)state;
	rig_settle(r);
	t = ms();
	fill(r, n, clock_now_s() + 3600, true);
	fill_ms = ms() - t;
	rig_stop(r);
	before = heap();
	t = ms();
	rig_start(r);
	rig_worker_up(r, 0, 1000);
	(void)rig_send(r, "a@b.example", "c@live.example");
	(void)rig_offer(r, 0, 0);
	first_ms = ms() - t;
	assert_string_equal(r->w[0].offer_domain, "live.example");
	rig_settle(r);
	after = heap();
	/* nothing of the backlog is in memory */
	assert_int_equal(r->q.n_dests, 1);
	assert_true(after < before + (8 << 20));
	t = ms();
	(void)rig_ask(r, ADM_TOPHOSTS, 20, "active", "");
	top_ms = ms() - t;
	assert_int_equal(r->answer_code, 0);
	t = ms();
	for (uint32_t i = 0; i < 200; i++)
		(void)rig_send(r, "a@b.example", "c@live.example");
	fresh_ms = ms() - t;
	print_message("%u messages filled in %d ms; restart to first offer "
		      "%d ms; tophosts %d ms; 200 fresh one by one %d ms; "
		      "heap %zu KB\n",
	    n, (int)fill_ms, (int)first_ms, (int)top_ms, (int)fresh_ms,
	    (after - before) / 1024);
	rig_free(r);
}

static void
test_all_due_at_once(void **state)
{
	uint32_t n = scale(), total = 0, i;
	struct rig *r = rig_new(SCALE_SETTINGS, NULL, (size_t)64 << 30);
	int64_t t = ms();

	(void)state;
	rig_settle(r);
	fill(r, n, clock_now_s(), false);
	rig_stop(r);
	rig_start(r);
	t = ms();
	rig_worker_up(r, 0, n);
	RIG_UNTIL(r, r->w[0].n_offers == n / 10);
	print_message("%u due at %u destinations, all offered in %d ms\n", n,
	    n / 10, (int)(ms() - t));
	for (i = 0; i < n / 10 && i < 1000; i++)
		rig_pull(r, 0, r->w[0].offers[i].dest_id, 100, 1);
	total = r->w[0].n_got;
	assert_int_equal(total, 10 * (n / 10 < 1000 ? n / 10 : 1000));
	rig_free(r);
}

static void
test_dead_domains(void **state)
{
	uint32_t n = scale() / 10 < GOT_MAX ? scale() / 10 : GOT_MAX, i, before;
	struct rig *r = rig_new(SCALE_SETTINGS, NULL, (size_t)64 << 30);
	int64_t t;

	(void)state;
	rig_settle(r);
	fill(r, n * 10, clock_now_s(), false);
	rig_stop(r);
	rig_start(r);
	rig_worker_up(r, 0, n + 10);
	RIG_UNTIL(r, r->w[0].n_offers == n);
	t = ms();
	for (i = 0; i < n; i++) {
		uint64_t id = r->w[0].offers[i % GOT_MAX].dest_id;
		struct hand_dest_state m = { id, DEST_DOWN, REASON_HOST_DOWN,
			"4.4.1", "no answer", "mx", 0 };
		struct hand_dest rel = { id };

		hand_dest_state_encode(
		    ipc_send_begin(r->w[0].chan, HAND_DEST_STATE, 0), &m);
		assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
		hand_dest_encode(
		    ipc_send_begin(r->w[0].chan, HAND_RELEASE, 0), &rel);
		assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	}
	rig_settle(r);
	RIG_UNTIL(r, r->q.n_dests == 0);
	print_message("%u destinations with %u messages went down in %d ms\n",
	    n, n * 10, (int)(ms() - t));
	before = r->w[0].n_offers;
	(void)rig_send(r, "a@b.example", "c@live.example");
	(void)rig_offer(r, 0, before);
	assert_string_equal(r->w[0].offer_domain, "live.example");
	rig_check_law(r);
	rig_free(r);
}

/* More is due than memory may hold: the rest waits in the store, fresh mail
 * still finds room, and all of it goes in the end. */
static void
test_memory_bound(void **state)
{
	enum { MAX = 2000 };
	struct rig *r =
	    rig_new(RIG_SETTINGS "max_in_memory = 2000\n", NULL, 1 << 30);
	uint32_t n = 5000, done = 0, before;

	(void)state;
	rig_settle(r);
	fill(r, n, clock_now_s(), false);
	rig_stop(r);
	rig_start(r);
	rig_worker_up(r, 0, n);
	rig_settle(r);
	assert_in_range(r->q.n_dests + r->q.n_window, MAX / 2, MAX);
	before = r->w[0].n_offers;
	assert_true(before < n / 10);
	(void)rig_send(r, "a@b.example", "c@live.example");
	(void)rig_offer(r, 0, before);
	assert_string_equal(r->w[0].offer_domain, "live.example");
	while (writer_counters(r->q.writer)->delivered < n + 1) {
		uint64_t id = rig_offer(r, 0, done++);
		uint32_t got = r->w[0].n_got, i;

		rig_pull(r, 0, id, 100, 1);
		for (i = got; i < r->w[0].n_got; i++)
			rig_result_full(r, 0, &r->w[0].got[i],
			    OUTCOME_DELIVERED, REASON_NONE, 250, "2.0.0", "ok",
			    false);
		rig_release(r, 0, id);
		assert_true(r->q.n_dests + r->q.n_window <= MAX + WINDOW_MAX);
		if (done == r->w[0].n_offers) {
			r->q.sched_rescan = true; /* what the timer does */
			queue_sched(&r->q);
		}
	}
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_check_law(r);
	rig_free(r);
}

/* A list of the largest does not keep mail waiting: it takes as many turns of the
 * loop as the table is long, and other calls come between. */
static void
test_tophosts_in_slices(void **state)
{
	struct rig *r = rig_new(SCALE_SETTINGS, NULL, (size_t)1 << 30);
	struct adm_call m = { ADM_TOPHOSTS, 3, { "active", "", "" } };
	uint32_t n = 100000, slices = 0;
	struct qadmin *a;
	const char *text;

	(void)state;
	rig_settle(r);
	fill(r, n, clock_now_s() + 3600, false);
	(void)rig_send(r, "a@b.example", "u@h77.example");
	(void)rig_ask(r, ADM_STATUS, 0, "", "");
	buf_reset(&r->doc, 1 << 20);
	r->answered = false;
	adm_call_encode(ipc_send_begin(r->admin, ADM_CALL, 3), &m);
	assert_int_equal(ipc_send_end(r->admin, -1), 0);
	a = LIST_FIRST(&r->q.admins);
	RIG_UNTIL(r, (slices += a->n_acts > 0, r->answered));
	assert_true(slices >= 1); /* it was seen half done */
	assert_int_equal(buf_put(&r->doc, "", 1), 0);
	text = (const char *)buf_data(&r->doc);
	assert_non_null(strstr(text, "\"hosts\":[{\"domain\":\"h77.example\""));
	/* and nobody there any more when it ends */
	buf_reset(&r->doc, 1 << 20);
	adm_call_encode(ipc_send_begin(r->admin, ADM_CALL, 4), &m);
	assert_int_equal(ipc_send_end(r->admin, -1), 0);
	uv_run(&r->loop, UV_RUN_NOWAIT);
	rig_stop(r);
	rig_free(r);
}

/* A start with more dead domains due than memory may hold, and a live one behind
 * them: it does not wait for their probes. */
static void
test_dead_at_start(void **state)
{
	struct rig *r =
	    rig_new(RIG_SETTINGS "max_in_memory = 2000\n", NULL, 1 << 30);
	uint32_t n = 50000, i, last;
	struct op_dest op;
	struct stxn x;

	(void)state;
	rig_settle(r);
	fill(r, n, clock_now_s() - 100, false);
	stx_init(&x, r->store);
	assert_int_equal(stx_begin(&x, clock_now_s()), 0);
	for (i = 1; i <= n / 10; i++) {
		memset(&op, 0, sizeof(op));
		op.what = OP_DEST_DOWN;
		op.dest_id = i;
		op.until_s = clock_now_s() - 50;
		op.status = op.text = op.host = "";
		assert_int_equal(op_dest_run(&x, &op.job), 0);
	}
	assert_int_equal(stx_commit(&x), 0);
	stx_done(&x);
	(void)rig_send(r, "a@b.example", "c@live.example");
	rig_stop(r);
	rig_start(r);
	assert_true(r->q.n_dests < 1000);
	rig_worker_up(r, 0, 4);
	RIG_UNTIL(r, r->w[0].n_offers == 3); /* it, and probes in half */
	for (i = last = 0; i < 3; i++)
		last += r->w[0].offers[i].retries == 0;
	assert_int_equal(last, 1);
	/* those that found no place come when others are through */
	for (i = 0; i < 500; i++) {
		struct hand_want m = { 1 };
		uint64_t id;

		if (r->w[0].n_offers == i) {
			r->q.sched_rescan = true;
			queue_sched(&r->q);
		}
		id = rig_offer(r, 0, i);
		rig_dest_state(r, 0, id, DEST_DOWN, REASON_HOST_DOWN);
		rig_release(r, 0, id);
		hand_want_encode(
		    ipc_send_begin(r->w[0].chan, HAND_WANT, 0), &m);
		assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	}
	rig_check_law(r);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deferred_backlog),
		cmocka_unit_test(test_all_due_at_once),
		cmocka_unit_test(test_dead_domains),
		cmocka_unit_test(test_memory_bound),
		cmocka_unit_test(test_dead_at_start),
		cmocka_unit_test(test_tophosts_in_slices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
