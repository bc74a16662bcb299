/*
 * The queue as its peers see it: submit, hand out, results, retries, worker
 * lost, hold and the rest, restart.
 */
#include "tests/queue/rig.h"

enum { MAP = 64 << 20 };

static struct rig *
simple(void)
{
	return rig_new(RIG_SETTINGS, NULL, MAP);
}

static void
test_delivered(void **state)
{
	struct rig *r = simple();
	uint64_t mid, dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	mid = rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(r->last_code, 250);
	dest = rig_offer(r, 0, 0);
	assert_string_equal(r->w[0].offer_domain, "d.example");
	rig_pull(r, 0, dest, 10, 100);
	assert_int_equal(r->w[0].n_got, 1);
	assert_int_equal(r->w[0].got[0].mid, mid);
	assert_string_equal(r->w[0].got[0].sender, "a@b.example");
	assert_string_equal(r->w[0].got[0].address, "c@d.example");
	assert_memory_equal(
	    r->w[0].got[0].body, rig_text, sizeof(rig_text) - 1);
	assert_int_equal(r->w[0].last_ready, 0);
	/* not twice */
	rig_pull(r, 0, dest, 10, 100);
	assert_int_equal(r->w[0].n_got, 1);
	rig_check_law(r);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	assert_int_equal(rig_count(r, DB_BODY), 0);
	assert_int_equal(rig_count(r, DB_RCPT), 0);
	assert_int_equal(rig_count(r, DB_EXP), 0);
	assert_int_equal(rig_count(r, DB_SCHED), 0);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 1);
	rig_check_law(r);
	rig_release(r, 0, dest);
	assert_int_equal(r->q.n_dests, 0);
	assert_int_equal(r->broken, 0);
	rig_free(r);
}

static void
test_more_at_held(void **state)
{
	struct rig *r = simple();
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 10, 100);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	(void)rig_send(r, "a@b.example", "e@d.example");
	RIG_UNTIL(r, r->w[0].n_more == 1);
	assert_int_equal(r->w[0].n_offers, 1);
	rig_pull(r, 0, dest, 10, 100);
	assert_int_equal(r->w[0].n_got, 2);
	rig_free(r);
}

static void
test_deferred_then_delivered(void **state)
{
	struct rig *r = simple();
	uint64_t dest;
	const char *doc;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 10, 100);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DEFERRED);
	rig_check_law(r);
	doc = rig_ask(r, ADM_WHY, r->w[0].got[0].mid, "", "");
	assert_int_equal(r->answer_code, 0);
	assert_non_null(strstr(doc, "\"state\":\"deferred\""));
	assert_non_null(strstr(doc, "\"reason\":\"remote-4xx\""));
	assert_non_null(strstr(doc, "\"attempts\":1"));
	assert_non_null(strstr(doc, "\"last_reply\":\"451 try again later\""));
	rig_pull(r, 0, dest, 10, 100);
	assert_int_equal(r->w[0].n_got, 1); /* not due */
	rig_release(r, 0, dest);
	assert_int_equal(r->q.n_dests, 0); /* nothing in memory */
	rig_advance(r, 50);
	assert_int_equal(r->w[0].n_offers, 1); /* 60 s - 10 % at the least */
	rig_advance(r, 17);
	assert_int_equal(rig_offer(r, 0, 1), dest);
	rig_pull(r, 0, dest, 10, 100);
	assert_int_equal(r->w[0].n_got, 2);
	assert_int_equal(r->w[0].got[1].attempts, 1);
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_DELIVERED);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_check_law(r);
	rig_free(r);
}

static void
test_many_recipients(void **state)
{
	struct rig *r = simple();
	uint64_t mid, dest;
	char addr[64];
	uint32_t i;

	(void)state;
	mid = rig_begin(r, "a@b.example", 250, DSN_RET_NONE, 0);
	for (i = 0; i < 250; i++) {
		snprintf(addr, sizeof(addr), "r%u@%s.example", i,
		    i < 150 ? "one" : "two");
		rig_rcpt(r, mid, i, addr, 0, "");
	}
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	rig_check_law(r);
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	(void)rig_offer(r, 0, 1);
	rig_pull(r, 0, dest, 1, 100);
	assert_int_equal(r->w[0].n_got, 1);
	assert_int_equal(r->w[0].got[0].n, 100);
	assert_int_equal(r->w[0].last_ready, 50);
	rig_pull(r, 0, dest, 5, 40);
	assert_int_equal(r->w[0].n_got, 3);
	assert_int_equal(r->w[0].got[1].n, 40);
	assert_int_equal(r->w[0].got[2].n, 10);
	rig_pull(r, 0, r->w[0].offers[1].dest_id, 5, 100);
	assert_int_equal(r->w[0].n_got, 4);
	assert_int_equal(r->w[0].got[3].n, 100);
	for (i = 0; i < 4; i++)
		rig_result(r, 0, &r->w[0].got[i], OUTCOME_DELIVERED);
	rig_check_law(r);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 250);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_free(r);
}

static void
test_large_body(void **state)
{
	struct rig *r = simple();
	size_t len = 300000, i;
	char *body = malloc(len);
	uint64_t mid, dest;

	(void)state;
	for (i = 0; i < len; i++)
		body[i] = i % 70 == 69 ? '\n' : i % 70 == 68 ? '\r' : 'x';
	mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	rig_rcpt(r, mid, 0, "c@d.example", 0, "");
	rig_data(r, mid, body, len);
	rig_commit(r, mid, len, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	assert_true(rig_body_exists(r, mid));
	assert_int_equal(rig_count(r, DB_BODY), 0);
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 1, 100);
	assert_int_equal(r->w[0].got[0].fd_size, len);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	assert_false(rig_body_exists(r, mid));
	assert_int_equal(rig_count(r, DB_MSG), 0);
	/* given up before the commit: no file stays */
	mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	rig_rcpt(r, mid, 0, "c@d.example", 0, "");
	rig_data(r, mid, body, len);
	RIG_UNTIL(r, rig_body_exists(r, mid));
	(void)ipc_send_begin(r->smtpd, SUBMIT_ABORT, mid);
	assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
	RIG_UNTIL(r, !rig_body_exists(r, mid));
	free(body);
	rig_free(r);
}

static void
test_return_and_lost(void **state)
{
	struct rig *r = simple();
	struct hand_return m = { 0 };
	uint64_t dest, mid;
	const char *doc;

	(void)state;
	rig_worker_up(r, 0, 10);
	mid = rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 10, 100);
	m.dest_id = dest;
	m.mid = mid;
	m.n_rids = 1;
	hand_return_encode(ipc_send_begin(r->w[0].chan, HAND_RETURN, 0), &m);
	assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	rig_pull(r, 0, dest, 10, 100);
	assert_int_equal(r->w[0].n_got, 2);
	assert_int_equal(r->w[0].got[1].attempts, 0);
	/* the worker dies: due again at once, no attempt counted; its
	 * destination rests for a second */
	rig_worker_kill(r, 0);
	rig_check_law(r);
	doc = rig_ask(r, ADM_WHY, mid, "", "");
	assert_non_null(strstr(doc, "\"reason\":\"worker-lost\""));
	assert_non_null(strstr(doc, "\"attempts\":0"));
	rig_worker_up(r, 1, 10);
	rig_advance(r, 2);
	assert_int_equal(rig_offer(r, 1, 0), dest);
	rig_pull(r, 1, dest, 10, 100);
	assert_int_equal(r->w[1].n_got, 1);
	rig_result(r, 1, &r->w[1].got[0], OUTCOME_DELIVERED);
	rig_check_law(r);
	rig_free(r);
}

static void
test_lost_again_waits(void **state)
{
	struct rig *r = simple();
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 1, 1);
	rig_worker_kill(r, 0);
	rig_worker_up(r, 0, 10);
	rig_advance(r, 2);
	rig_pull(r, 0, rig_offer(r, 0, 1), 1, 1);
	assert_int_equal(r->w[0].n_got, 2);
	rig_worker_kill(r, 0);
	/* the second time it does not go straight to the next worker */
	rig_worker_up(r, 0, 10);
	rig_advance(r, 5);
	assert_int_equal(r->w[0].n_offers, 2);
	rig_advance(r, LOST_WAIT_S);
	(void)rig_offer(r, 0, 2);
	rig_free(r);
}

/* Seconds until a destination may be tried, as the store has it. */
static int64_t
pause_of(struct rig *r, uint64_t dest)
{
	struct rec_dest rec;
	struct sview v;
	int64_t until_s;

	rig_settle(r);
	assert_int_equal(store_read_begin(r->store, &v), 0);
	assert_int_equal(sview_dest(&v, dest, &rec), 0);
	until_s = rec.until_s;
	store_read_end(&v);
	return until_s - clock_now_s();
}

/* A destination that kills each worker before it has pulled anything. */
static void
test_poison_destination(void **state)
{
	struct rig *r = simple();
	uint64_t poison, good = 0;
	int64_t want = 1, pause;
	uint32_t offers;
	int i;

	(void)state;
	(void)rig_send(r, "a@b.example", "c@poison.example");
	rig_worker_up(r, 0, 10);
	poison = rig_offer(r, 0, 0);
	for (i = 0; i < 11; i++) {
		/* a good connection alone proves nothing */
		rig_dest_state(r, 0, poison, DEST_UP, REASON_NONE);
		rig_worker_kill(r, 0);
		pause = pause_of(r, poison);
		assert_in_range(pause, want, want + 1);
		want = want * 2 > 300 ? 300 : want * 2;
		rig_worker_up(r, 0, 10);
		/* others flow meanwhile */
		offers = r->w[0].n_offers;
		(void)rig_send(r, "a@b.example", "c@good.example");
		good = rig_offer(r, 0, offers);
		assert_int_not_equal(good, poison);
		rig_pull(r, 0, good, 10, 10);
		rig_result(
		    r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_DELIVERED);
		rig_release(r, 0, good);
		assert_int_equal(r->w[0].n_offers, offers + 1);
		rig_advance(r, pause + 1);
		assert_int_equal(rig_offer(r, 0, offers + 1), poison);
	}
	assert_non_null(
	    strstr(rig_ask(r, ADM_HOSTSTATUS, 0, "poison.example", ""),
		"worker-lost"));
	/* a delivery begins anew, after a while without a death */
	(void)rig_send(r, "a@b.example", "c2@poison.example");
	rig_pull(r, 0, poison, 1, 1);
	rig_result(r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_DELIVERED);
	assert_true(r->q.n_lost > 0);
	clock_test_advance_ms(700000);
	rig_pull(r, 0, poison, 1, 1);
	rig_result(r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_DELIVERED);
	(void)rig_send(r, "a@b.example", "c@poison.example");
	rig_pull(r, 0, poison, 10, 10);
	rig_worker_kill(r, 0);
	assert_in_range(pause_of(r, poison), 1, 2);
	rig_check_law(r);
	rig_free(r);
}

/* A busy destination: one message kills each worker that takes it, others are
 * delivered between the deaths. The deaths become rare all the same. */
static void
test_poison_message(void **state)
{
	struct rig *r = simple();
	uint32_t deaths = 0, minutes, offers = 0, i;
	uint64_t dest;
	bool killed;

	(void)state;
	(void)rig_send(r, "a@b.example", "poison@busy.example");
	rig_worker_up(r, 0, 1000);
	for (minutes = 0; minutes < 24 * 60; minutes += 10) {
		(void)rig_send(r, "a@b.example", "good@busy.example");
		rig_advance(r, 600);
		if (r->w[0].n_offers == offers)
			continue;
		offers = r->w[0].n_offers;
		dest = r->w[0].offers[(offers - 1) % GOT_MAX].dest_id;
		i = r->w[0].n_got;
		rig_pull(r, 0, dest, 10, 1);
		for (killed = false; i < r->w[0].n_got; i++) {
			struct got *g = &r->w[0].got[i];

			if (strncmp(g->address, "poison", 6) == 0)
				killed = true;
			else
				rig_result(r, 0, g, OUTCOME_DELIVERED);
		}
		if (killed) {
			deaths++;
			rig_worker_kill(r, 0);
			rig_worker_up(r, 0, 1000);
		} else {
			rig_release(r, 0, dest);
		}
	}
	/* 0, 0, 1, 2, 4, ... 240 minutes: at most a dozen in a day */
	assert_in_range(deaths, 5, 14);
	assert_true(writer_counters(r->q.writer)->delivered >= 100);
	rig_check_law(r);
	rig_free(r);
}

/* A destination that kills often, and delivers between: it waits longer too. */
static void
test_poison_between(void **state)
{
	struct rig *r = simple();
	uint64_t dest;
	uint32_t offers, i;
	int64_t pause = 0;

	(void)state;
	rig_worker_up(r, 0, 10);
	for (i = 0, offers = 0; i < 6; i++) {
		(void)rig_send(r, "a@b.example", "good@busy.example");
		(void)rig_send(r, "a@b.example", "bad@busy.example");
		dest = rig_offer(r, 0, offers);
		offers = r->w[0].n_offers;
		rig_pull(r, 0, dest, 1, 1);
		rig_result(
		    r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_DELIVERED);
		rig_pull(r, 0, dest, 1, 1);
		rig_worker_kill(r, 0);
		pause = pause_of(r, dest);
		rig_worker_up(r, 0, 10);
		rig_advance(r, pause + 1);
	}
	assert_in_range(pause, 30, 33);
	rig_free(r);
}

/* What a lost worker only kept open is not to blame. */
static void
test_lost_while_idle(void **state)
{
	struct rig *r = simple();
	uint64_t dest;

	(void)state;
	(void)rig_send(r, "a@b.example", "c@d.example");
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 10, 10);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	rig_pull(r, 0, dest, 10, 10);
	rig_worker_kill(r, 0);
	assert_true(pause_of(r, dest) <= 0);
	assert_int_equal(r->q.n_lost, 0);
	rig_free(r);
}

static void
test_protocol_breaks(void **state)
{
	struct rig *r = simple();
	struct hand_pull pull = { 99, 1, 1 };
	struct got g = { .dest_id = 1, .mid = 1, .n = 1 };

	(void)state;
	/* a destination that it does not hold */
	rig_worker_up(r, 0, 10);
	hand_pull_encode(ipc_send_begin(r->w[0].chan, HAND_PULL, 0), &pull);
	assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	RIG_UNTIL(r, r->broken == 1);
	/* a result for something it was not given */
	rig_worker_up(r, 1, 10);
	g.mid = rig_send(r, "a@b.example", "c@d.example");
	g.dest_id = rig_offer(r, 1, 0);
	rig_result_full(
	    r, 1, &g, OUTCOME_DELIVERED, REASON_NONE, 250, "2.0.0", "", false);
	RIG_UNTIL(r, r->broken == 2);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 0);
	/* a MID that was never leased */
	r->next_mid = 1000000;
	r->end_mid = 2000000;
	(void)rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	RIG_UNTIL(r, r->broken == 3);
	assert_int_equal(rig_count(r, DB_MSG), 1);
	rig_check_law(r);
	rig_free(r);
}

/* Many that expired and were not swept yet: one pull does not go over all of
 * them, and the one behind them is reached all the same. */
static void
test_stale_backlog(void **state)
{
	struct rig *r = simple();
	struct qdest *d;
	uint64_t dest;
	uint32_t i, n = 12000, more;
	static uint64_t mids[12000];

	(void)state;
	for (i = 0; i < n; i++) {
		RIG_UNTIL(r, ipc_chan_backlog(r->smtpd) < 1 << 20);
		mids[i] = rig_post(r, "", "c@d.example");
	}
	RIG_UNTIL(r, r->n_ok == n);
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	d = qdest_find(&r->q, dest);
	r->q.expire_job = true; /* it does not come to it for now */
	clock_test_advance_ms((int64_t)4 * 86400 * 1000);
	(void)rig_send(r, "", "last@d.example");
	for (i = 0; i < n; i++) /* as long as they come from memory */
		queue_warm_note(&r->q, mids[i]);
	more = r->w[0].n_more;
	rig_pull(r, 0, dest, 1, 1);
	assert_int_equal(r->w[0].n_got, 0);
	assert_false(d->all_loaded);
	for (i = 0; i < 10 && r->w[0].n_got == 0; i++) {
		RIG_UNTIL(r, r->w[0].n_more > more);
		more = r->w[0].n_more;
		rig_pull(r, 0, dest, 1, 1);
	}
	assert_in_range(i, 2, 4);
	assert_string_equal(r->w[0].got[0].address, "last@d.example");
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	r->q.expire_job = false;
	queue_expire(&r->q);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == n);
	rig_settle(r);
	rig_check_law(r);
	rig_free(r);
}

/* Peers that repeat themselves without end do not fill the memory. */
static void
test_floods(void **state)
{
	struct rig *r = simple();
	struct hand_dest_state down = { 0, DEST_DOWN, REASON_HOST_DOWN, "4.4.1",
		"no answer", "", 0 };
	struct hand_dest_state up = { 0, DEST_UP, REASON_NONE, "", "", "", 0 };
	struct ids_ask ask = { ID_MID, 1 };
	int i;

	(void)state;
	(void)rig_send(r, "a@b.example", "c@d.example");
	rig_worker_up(r, 0, 10);
	down.dest_id = up.dest_id = rig_offer(r, 0, 0);
	for (i = 0; i < 3000; i++) {
		hand_dest_state_encode(
		    ipc_send_begin(r->w[0].chan, HAND_DEST_STATE, 0),
		    i % 2 == 0 ? &down : &up);
		assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	}
	while (ipc_chan_backlog(r->w[0].chan) > 0) {
		uv_run(&r->loop, UV_RUN_NOWAIT);
		assert_true(writer_waiting(r->q.writer) < 100);
	}
	rig_settle(r);
	assert_int_equal(r->broken, 0);
	rig_check_law(r);
	for (i = 0; i < 1000; i++) {
		ids_ask_encode(ipc_send_begin(r->smtpd, IDS_ASK, 1), &ask);
		assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
	}
	RIG_UNTIL(r, r->broken == 1);
	rig_settle(r);
	rig_free(r);
}

/* Submissions that are opened, and never end. */
static void
test_open_envelopes(void **state)
{
	struct rig *r = simple();
	char orcpt[TEXT_XTEXT_MAX + 1], addr[400];
	uint64_t mid[20];
	uint32_t i, k;

	(void)state;
	snprintf(orcpt, sizeof(orcpt), "rfc822;%01500d", 0);
	snprintf(addr, sizeof(addr), "%0300d@d.example", 0);
	for (i = 0; i < 20 && r->n_later == 0; i++) {
		mid[i] = rig_begin(r, "", 10000, DSN_RET_NONE, 0);
		for (k = 0; k < 10000; k++) {
			RIG_UNTIL(r, ipc_chan_backlog(r->smtpd) < 1 << 20);
			rig_rcpt(r, mid[i], k, addr, 0, orcpt);
		}
		RIG_UNTIL(r, ipc_chan_backlog(r->smtpd) == 0);
		uv_run(&r->loop, UV_RUN_NOWAIT);
	}
	RIG_UNTIL(r, r->n_later > 0);
	assert_in_range(i, 5, 10);
	assert_int_equal(r->last_code, 452);
	assert_in_range(r->q.envelope_bytes, 1, INTAKE_ENVELOPES + (1 << 20));
	/* one of them is given up: there is room again, for everybody */
	(void)ipc_send_begin(r->smtpd, SUBMIT_ABORT, mid[0]);
	assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
	(void)rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(r->broken, 0);
	rig_free(r);
}

/* Large bodies that never end do not take the descriptors of all others. */
static void
test_open_files(void **state)
{
	struct rig *r = simple();
	static char body[40000];
	uint64_t mid[3];
	int i;

	(void)state;
	assert_true(r->q.files_max > 100);
	r->q.files_max = 2;
	memset(body, 'x', sizeof(body));
	for (i = 0; i < 3; i++) {
		mid[i] = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
		rig_rcpt(r, mid[i], 0, "c@d.example", 0, "");
		rig_data(r, mid[i], body, sizeof(body));
	}
	RIG_UNTIL(r, r->n_later == 1);
	assert_int_equal(r->last_code, 452);
	assert_false(rig_body_exists(r, mid[2]));
	/* small ones go on, and the place of a finished one is free again */
	(void)rig_send(r, "a@b.example", "c@d.example");
	rig_commit(r, mid[0], sizeof(body), 0);
	RIG_UNTIL(r, r->n_ok == 2);
	mid[2] = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	rig_rcpt(r, mid[2], 0, "c@d.example", 0, "");
	rig_data(r, mid[2], body, sizeof(body));
	rig_commit(r, mid[2], sizeof(body), 0);
	RIG_UNTIL(r, r->n_ok == 3);
	assert_int_equal(r->q.n_files, 1);
	rig_free(r);
}

/* Names that no settings have. */
static void
test_unknown_names(void **state)
{
	struct rig *r = simple();
	struct submit_begin m = { .icid = 5,
		.listener = "in",
		.gateway = "default",
		.sender = "",
		.envid = "",
		.client = "192.0.2.1",
		.profile = "nobody",
		.n_rcpts = 1 };
	int i;

	(void)state;
	for (i = 1; i <= 2; i++) {
		submit_begin_encode(
		    ipc_send_begin(r->smtpd, SUBMIT_BEGIN, r->next_mid++), &m);
		assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
		RIG_UNTIL(r, r->n_later == (uint32_t)i);
		assert_int_equal(r->last_code, 451);
		m.profile = "";
		m.gateway = "elsewhere";
	}
	assert_int_equal(r->broken, 0);
	rig_free(r);
}

/* Which numbers an intake process may use: its leases; what a lease from before a
 * restart may have left; not any number of the past, nor one given up. */
static void
test_old_leases(void **state)
{
	struct rig *r = simple();
	uint64_t first, last;
	int i;

	(void)state;
	for (i = 0; i < 102; i++)
		rig_ask_ids(r, 100000);
	last = r->end_mid - 1;
	rig_stop(r);
	rig_start(r);
	first = r->next_mid;
	r->next_mid = last;
	(void)rig_send(r, "a@b.example", "c@d.example");
	assert_int_equal(r->broken, 0);
	r->next_mid = 5;
	(void)rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	RIG_UNTIL(r, r->smtpd_down);
	assert_int_equal(r->broken, 1);
	rig_stop(r);
	rig_start(r);
	assert_true(r->next_mid > first);
	first = r->next_mid;
	for (i = 0; i < 70; i++)
		rig_ask_ids(r, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	r->next_mid = first;
	(void)rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	RIG_UNTIL(r, r->smtpd_down);
	assert_int_equal(r->broken, 1);
	assert_int_equal(rig_count(r, DB_MSG), 2);
	rig_free(r);
}

static void
test_mid_taken(void **state)
{
	struct rig *r = simple();
	uint64_t mid;

	(void)state;
	mid = rig_send(r, "a@b.example", "c@d.example");
	r->next_mid = mid;
	(void)rig_post(r, "evil@b.example", "x@d.example");
	RIG_UNTIL(r, r->n_later == 1);
	assert_int_equal(r->last_code, 451);
	assert_non_null(
	    strstr(rig_ask(r, ADM_SHOWMESSAGE, mid, "", ""), "a@b.example"));
	rig_check_law(r);
	rig_free(r);
}

static void
test_host_down(void **state)
{
	struct rig *r = simple();
	uint64_t dest, commits;
	char addr[64];
	const char *doc;
	int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		snprintf(addr, sizeof(addr), "r%d@dead.example", i);
		(void)rig_send(r, "a@b.example", addr);
	}
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_settle(r);
	commits = r->store->commits;
	rig_dest_state(r, 0, dest, DEST_DOWN, REASON_HOST_DOWN);
	/* one change for all of them */
	assert_true(r->store->commits <= commits + 1);
	rig_release(r, 0, dest);
	assert_int_equal(r->q.n_dests, 0);
	doc = rig_ask(r, ADM_HOSTSTATUS, 0, "dead.example", "");
	assert_non_null(strstr(doc, "\"state\":\"down\""));
	assert_non_null(strstr(doc, "\"active\":50"));
	assert_non_null(strstr(doc, "\"retries\":1"));
	/* new mail for it does not wake it */
	(void)rig_send(r, "a@b.example", "new@dead.example");
	assert_int_equal(r->q.n_dests, 0);
	assert_int_equal(r->w[0].n_offers, 1);
	rig_advance(r, 70);
	(void)rig_offer(r, 0, 1);
	assert_int_equal(r->w[0].offers[1].retries, 1); /* a probe */
	rig_dest_state(r, 0, dest, DEST_UP, REASON_NONE);
	rig_pull(r, 0, dest, 100, 1);
	assert_int_equal(r->w[0].n_got, 51);
	for (i = 0; i < 51; i++)
		rig_result(r, 0, &r->w[0].got[i], OUTCOME_DELIVERED);
	doc = rig_ask(r, ADM_HOSTSTATUS, 0, "dead.example", "");
	assert_non_null(strstr(doc, "\"state\":\"up\""));
	rig_check_law(r);
	rig_free(r);
}

static void
test_dest_failed(void **state)
{
	struct rig *r = simple();
	uint64_t dest;
	char addr[64];
	int i;

	(void)state;
	for (i = 0; i < 450; i++) {
		snprintf(addr, sizeof(addr), "r%d@null.example", i);
		(void)rig_post(r, i % 2 ? "" : "a@b.example", addr);
	}
	RIG_UNTIL(r, r->n_ok == 450);
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_dest_state(r, 0, dest, DEST_FAILED, REASON_NULL_MX);
	RIG_UNTIL(r, writer_counters(r->q.writer)->bounced == 450);
	assert_int_equal(writer_counters(r->q.writer)->double_bounces, 225);
	/* and the senders are told: 225 notices to one destination */
	RIG_UNTIL(r, writer_counters(r->q.writer)->generated == 225);
	rig_settle(r);
	assert_int_equal(rig_count(r, DB_MSG), 225);
	rig_check_law(r);
	rig_free(r);
}

static bool
rig_is_held(struct rig *r, uint64_t mid)
{
	struct rec_msg m;
	struct sview v;
	bool held;

	assert_int_equal(store_read_begin(r->store, &v), 0);
	held = sview_msg(&v, mid, &m) == 0 && m.held;
	store_read_end(&v);
	return held;
}

/* A hold that is committed after the recipients were read, before they fail. */
static void
test_hold_before_failing(void **state)
{
	struct rig *r = simple();
	uint64_t mid, dest;
	struct adm_call m = { ADM_HOLD, 0, { "", "", "" } };
	struct hand_dest_state st = { 0, DEST_FAILED, REASON_NULL_MX, "5.1.10",
		"the domain has a null MX", "", 0 };

	(void)state;
	mid = rig_send(r, "a@b.example", "c@d.example");
	(void)rig_send(r, "a@b.example", "e@d.example");
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	/* both under way at one time: the hold is first */
	m.num = mid;
	adm_call_encode(ipc_send_begin(r->admin, ADM_CALL, 3), &m);
	assert_int_equal(ipc_send_end(r->admin, -1), 0);
	RIG_UNTIL(r, rig_is_held(r, mid));
	st.dest_id = dest;
	hand_dest_state_encode(
	    ipc_send_begin(r->w[0].chan, HAND_DEST_STATE, 0), &st);
	assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	rig_settle(r);
	assert_int_equal(writer_counters(r->q.writer)->bounced, 1);
	assert_true(rig_is_held(r, mid));
	rig_check_law(r);
	(void)rig_ask(r, ADM_UNHOLD, mid, "", "");
	assert_int_equal(rig_count(r, DB_DQ), 2); /* it and the notice */
	rig_free(r);
}

static void
test_discard(void **state)
{
	struct rig *r = simple();
	uint64_t dest;

	(void)state;
	(void)rig_send(r, "a@b.example", "c@hole.example");
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_dest_state(r, 0, dest, DEST_DISCARD, REASON_DISCARDED);
	RIG_UNTIL(r, writer_counters(r->q.writer)->removed == 1);
	rig_settle(r);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_check_law(r);
	rig_free(r);
}

static void
test_hold_remove(void **state)
{
	struct rig *r = simple();
	uint64_t one, two;

	(void)state;
	one = rig_send(r, "a@b.example", "c@d.example");
	two = rig_send(r, "a@b.example", "e@d.example");
	assert_non_null(
	    strstr(rig_ask(r, ADM_HOLD, one, "", ""), "\"changed\":1"));
	assert_non_null(
	    strstr(rig_ask(r, ADM_WHY, one, "", ""), "\"state\":\"held\""));
	rig_worker_up(r, 0, 10);
	rig_pull(r, 0, rig_offer(r, 0, 0), 10, 100);
	assert_int_equal(r->w[0].n_got, 1);
	assert_int_equal(r->w[0].got[0].mid, two);
	/* it does not expire while it is held */
	rig_advance(r, 4 * 86400);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	assert_non_null(
	    strstr(rig_ask(r, ADM_UNHOLD, one, "", ""), "\"changed\":1"));
	RIG_UNTIL(r, r->w[0].n_more == 1);
	rig_pull(r, 0, r->w[0].offers[0].dest_id, 10, 100);
	assert_int_equal(r->w[0].n_got, 2);
	assert_int_equal(r->w[0].got[1].mid, one);
	/* removed while a worker has it: its result comes too late */
	assert_non_null(strstr(
	    rig_ask(r, ADM_REMOVEMESSAGE, one, "", ""), "\"changed\":1"));
	rig_check_law(r);
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_DELIVERED);
	rig_check_law(r);
	assert_int_equal(writer_counters(r->q.writer)->removed, 1);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 0);
	(void)rig_ask(r, ADM_REMOVEMESSAGE, one, "", "");
	assert_int_equal(r->answer_code, 404);
	rig_free(r);
}

static void
test_suspend_resume(void **state)
{
	struct rig *r = simple();
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "d.example", "");
	assert_int_equal(r->answer_code, 0);
	RIG_UNTIL(r, r->w[0].n_close == 1);
	rig_pull(r, 0, dest, 1, 1);
	assert_int_equal(r->w[0].n_got, 0);
	rig_release(r, 0, dest);
	(void)rig_send(r, "a@b.example", "e@d.example");
	(void)rig_send(r, "a@b.example", "f@other.example");
	RIG_UNTIL(r, r->w[0].n_offers == 2); /* the other one */
	assert_string_equal(r->w[0].offer_domain, "other.example");
	/* it outlives a restart */
	rig_stop(r);
	rig_start(r);
	rig_worker_up(r, 0, 10);
	(void)rig_offer(r, 0, 2);
	rig_settle(r);
	assert_int_equal(r->w[0].n_offers, 3);
	assert_string_equal(r->w[0].offer_domain, "other.example");
	assert_non_null(strstr(rig_ask(r, ADM_HOSTSTATUS, 0, "d.example", ""),
	    "\"state\":\"suspended\""));
	(void)rig_ask(r, ADM_RESUMEDEL, 0, "d.example", "");
	(void)rig_offer(r, 0, 3);
	assert_string_equal(r->w[0].offer_domain, "d.example");
	/* everything */
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "", "");
	(void)rig_send(r, "a@b.example", "f@third.example");
	rig_settle(r);
	assert_int_equal(r->w[0].n_offers, 4);
	(void)rig_ask(r, ADM_RESUMEDEL, 0, "", "");
	(void)rig_offer(r, 0, 4);
	assert_string_equal(r->w[0].offer_domain, "third.example");
	rig_check_law(r);
	rig_free(r);
}

static void
test_deliver_now(void **state)
{
	struct rig *r = simple();
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 10, 100);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DEFERRED);
	rig_release(r, 0, dest);
	assert_non_null(strstr(
	    rig_ask(r, ADM_DELIVERNOW, 0, "d.example", ""), "\"changed\":1"));
	(void)rig_offer(r, 0, 1);
	rig_dest_state(r, 0, dest, DEST_DOWN, REASON_HOST_DOWN);
	rig_release(r, 0, dest);
	(void)rig_ask(r, ADM_DELIVERNOW, 0, "", "");
	(void)rig_offer(r, 0, 2);
	rig_check_law(r);
	rig_free(r);
}

static void
test_restart(void **state)
{
	struct rig *r = simple();
	uint64_t mid, dest;
	char addr[64];
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		snprintf(addr, sizeof(addr), "u@h%d.example", i);
		(void)rig_post(r, "a@b.example", addr);
	}
	RIG_UNTIL(r, r->n_ok == 100);
	rig_worker_up(r, 0, 1000);
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 10, 100);
	mid = r->w[0].got[0].mid;
	rig_stop(r); /* while it is out */
	rig_start(r);
	assert_true(r->first_mid > mid + 100); /* ids are never reused */
	rig_worker_up(r, 0, 1000);
	r->w[0].n_offers = 0;
	RIG_UNTIL(r, r->w[0].n_offers == 100);
	rig_pull(r, 0, dest, 10, 100);
	assert_int_equal(r->w[0].got[1].mid, mid);
	assert_int_equal(r->w[0].got[1].attempts, 0);
	rig_check_law(r);
	rig_free(r);
}

static void
test_orphans(void **state)
{
	struct rig *r = simple();
	uint64_t mid;
	char *body = calloc(1, 20001);
	int fd;

	(void)state;
	memset(body, 'x', 20000);
	mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
	rig_rcpt(r, mid, 0, "c@d.example", 0, "");
	rig_data(r, mid, body, 20000);
	rig_commit(r, mid, 20000, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	/* what a crash between file and commit leaves */
	assert_int_equal(body_create(r->dir_fd, mid + 1, &fd), 0);
	(void)close(fd);
	assert_int_equal(body_create(r->dir_fd, 1999999, &fd), 0);
	(void)close(fd);
	rig_stop(r);
	rig_start(r);
	RIG_UNTIL(r, !r->q.sweeping);
	assert_true(rig_body_exists(r, mid));
	assert_false(rig_body_exists(r, mid + 1));
	assert_true(rig_body_exists(r, 1999999)); /* not from before us */
	free(body);
	rig_free(r);
}

static void
test_drain(void **state)
{
	struct rig *r = simple();
	uint64_t dest;

	(void)state;
	rig_worker_up(r, 0, 10);
	(void)rig_send(r, "a@b.example", "c@d.example");
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 10, 100);
	queue_drain(&r->q);
	RIG_UNTIL(r, !r->accepting && r->w[0].n_close == 1);
	assert_false(r->drained);
	(void)rig_post(r, "a@b.example", "c@d.example");
	RIG_UNTIL(r, r->n_later == 1);
	assert_int_equal(r->last_code, 452);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	RIG_UNTIL(r, r->drained);
	rig_free(r);
}

static void
test_spread(void **state)
{
	struct rig *r = simple();
	char addr[64];
	int i;

	(void)state;
	rig_worker_up(r, 0, 10);
	rig_worker_up(r, 1, 10);
	for (i = 0; i < 1500; i++) {
		snprintf(addr, sizeof(addr), "r%d@big.example", i);
		(void)rig_post(r, "a@b.example", addr);
	}
	RIG_UNTIL(r, r->n_ok == 1500);
	RIG_UNTIL(r, r->w[0].n_offers == 1 && r->w[1].n_offers == 1);
	rig_pull(r, 0, r->w[0].offers[0].dest_id, 1000, 1);
	rig_pull(r, 1, r->w[0].offers[0].dest_id, 1000, 1);
	assert_int_equal(r->w[0].n_got, 1000);
	assert_int_equal(r->w[1].n_got, 500);
	rig_free(r);
}

static void
test_dead_do_not_block(void **state)
{
	struct rig *r = simple();
	char addr[64];
	uint32_t i, n;

	(void)state;
	rig_worker_up(r, 0, 100);
	for (i = 0; i < 50; i++) {
		snprintf(addr, sizeof(addr), "u@dead%u.example", i);
		(void)rig_post(r, "a@b.example", addr);
	}
	RIG_UNTIL(r, r->w[0].n_offers == 50);
	for (i = 0; i < 50; i++) {
		uint64_t id = r->w[0].offers[i].dest_id;

		rig_dest_state(r, 0, id, DEST_DOWN, REASON_HOST_DOWN);
		rig_release(r, 0, id);
	}
	/* 50 slots are left: at most half of them for probes */
	rig_advance(r, 70);
	n = r->w[0].n_offers;
	assert_in_range(n - 50, 20, 26);
	(void)rig_send(r, "a@b.example", "u@live.example");
	(void)rig_offer(r, 0, n);
	assert_string_equal(r->w[0].offer_domain, "live.example");
	rig_free(r);
}

static void
test_lists(void **state)
{
	struct rig *r = simple();
	char addr[64];
	const char *doc, *a, *b;
	int i;

	(void)state;
	for (i = 0; i < 30; i++) {
		snprintf(addr, sizeof(addr), "u%d@h%d.example", i, i % 5);
		(void)rig_post(r, i < 10 ? "a@b.example" : "z@b.example", addr);
		if (i % 5 == 2)
			(void)rig_post(r, "a@b.example", "x@h2.example");
	}
	RIG_UNTIL(r, r->n_ok == 36);
	rig_settle(r);
	doc = rig_ask(r, ADM_TOPHOSTS, 3, "active", "");
	a = strstr(doc, "h2.example");
	b = strstr(doc, "\"domain\":\"h");
	assert_non_null(a);
	assert_ptr_equal(a, b + strlen("\"domain\":\""));
	assert_non_null(strstr(doc, "\"active\":12"));
	doc = rig_ask(r, ADM_SHOWRECIPIENTS, 0, "host", "h2.example");
	for (i = 0, a = doc; (a = strstr(a, "\"rid\"")) != NULL; a++)
		i++;
	assert_int_equal(i, 12);
	doc = rig_ask(r, ADM_SHOWRECIPIENTS, 0, "from", "A@b.example");
	for (i = 0, a = doc; (a = strstr(a, "\"rid\"")) != NULL; a++)
		i++;
	assert_int_equal(i, 16);
	doc = rig_ask(r, ADM_SHOWRECIPIENTS, 7, "all", "");
	for (i = 0, a = doc; (a = strstr(a, "\"rid\"")) != NULL; a++)
		i++;
	assert_int_equal(i, 7);
	assert_non_null(strstr(doc, "\"truncated\":true"));
	(void)rig_ask(r, ADM_HOSTSTATUS, 0, "nowhere.example", "");
	assert_int_equal(r->answer_code, 404);
	(void)rig_ask(r, ADM_STATUS, 0, "", "");
	assert_int_equal(r->answer_code, 0);
	(void)rig_ask(r, ADM_METRICS, 0, "", "");
	assert_int_equal(r->answer_code, 0);
	(void)rig_ask(r, ADM_EXPLAIN, 0, "", "");
	assert_int_equal(r->answer_code, 400);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivered),
		cmocka_unit_test(test_more_at_held),
		cmocka_unit_test(test_deferred_then_delivered),
		cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_large_body),
		cmocka_unit_test(test_return_and_lost),
		cmocka_unit_test(test_lost_again_waits),
		cmocka_unit_test(test_poison_destination),
		cmocka_unit_test(test_poison_message),
		cmocka_unit_test(test_poison_between),
		cmocka_unit_test(test_lost_while_idle),
		cmocka_unit_test(test_protocol_breaks),
		cmocka_unit_test(test_stale_backlog),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_open_envelopes),
		cmocka_unit_test(test_open_files),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_old_leases),
		cmocka_unit_test(test_mid_taken),
		cmocka_unit_test(test_host_down),
		cmocka_unit_test(test_dest_failed),
		cmocka_unit_test(test_hold_before_failing),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_hold_remove),
		cmocka_unit_test(test_suspend_resume),
		cmocka_unit_test(test_deliver_now),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_dead_do_not_block),
		cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
