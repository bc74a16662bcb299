/*
 * Expiry, notices and who gets one: NOTIFY, RET, null senders, profiles,
 * collecting, delay warnings. Real store, real clock moved forward.
 */
#include "tests/queue/rig.h"

enum { MAP = 64 << 20 };

/* One message to one recipient with DSN parameters, pulled by worker 0. */
static struct got *
send_and_pull(struct rig *r, const char *sender, const char *rcpt,
    uint32_t notify, enum dsn_ret ret, uint32_t flags)
{
	uint32_t ok = r->n_ok, n = r->w[0].n_got, offers = r->w[0].n_offers;
	uint64_t mid = rig_begin(r, sender, 1, ret, flags);

	rig_rcpt(r, mid, 0, rcpt, notify, "rfc822;orig+40d.example");
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, flags);
	RIG_UNTIL(r, r->n_ok > ok);
	if (r->w[0].chan == NULL)
		rig_worker_up(r, 0, 1000);
	rig_pull(r, 0, rig_offer(r, 0, offers), 1, 100);
	assert_int_equal(r->w[0].n_got, n + 1);
	r->w[0].taken = r->w[0].n_offers;
	return &r->w[0].got[n];
}

/* The notice that comes next, as its worker sees it; NULL when none does. */
static const char *
next_notice(struct rig *r, const char *to)
{
	uint32_t n = r->w[0].n_got, offers = r->w[0].taken;
	const struct got *g;

	rig_settle(r);
	queue_notices(&r->q);
	rig_settle(r);
	queue_offer(&r->q);
	rig_settle(r);
	if (r->w[0].n_offers == offers)
		return NULL;
	r->w[0].taken = r->w[0].n_offers;
	rig_pull(r, 0, r->w[0].offers[offers].dest_id, 1, 100);
	assert_int_equal(r->w[0].n_got, n + 1);
	g = &r->w[0].got[n];
	assert_string_equal(g->sender, "");
	assert_string_equal(g->address, to);
	assert_true((g->flags & MSG_GENERATED) != 0);
	return (const char *)g->body;
}

static void
end_last(struct rig *r)
{
	struct got *g = &r->w[0].got[r->w[0].n_got - 1];
	uint64_t dest = g->dest_id;

	rig_result(r, 0, g, OUTCOME_DELIVERED);
	rig_release(r, 0, dest);
}

/* NOTIFY, outcome: is the sender told, and what? */
static const struct {
	const char *name;
	uint32_t notify;
	enum outcome outcome;
	bool relayed;
	const char *want; /* NULL: nothing */
} rules[] = {
	{ "failed, absent", 0, OUTCOME_FAILED, false, "Action: failed" },
	{ "failed, never", DSN_NOTIFY_NEVER, OUTCOME_FAILED, false, NULL },
	{ "failed, success only", DSN_NOTIFY_SUCCESS, OUTCOME_FAILED, false,
	    NULL },
	{ "failed, failure", DSN_NOTIFY_FAILURE, OUTCOME_FAILED, false,
	    "Action: failed" },
	{ "delivered, absent", 0, OUTCOME_DELIVERED, true, NULL },
	{ "delivered, success, hop tells", DSN_NOTIFY_SUCCESS,
	    OUTCOME_DELIVERED, false, NULL },
	{ "delivered, success, hop does not", DSN_NOTIFY_SUCCESS,
	    OUTCOME_DELIVERED, true, "Action: relayed" },
	{ "delivered, failure only", DSN_NOTIFY_FAILURE, OUTCOME_DELIVERED,
	    true, NULL },
};

static void
test_notify_rules(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	const char *text;
	struct got *g;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		g = send_and_pull(r, "a@b.example", "c@d.example",
		    rules[i].notify, DSN_RET_NONE, 0);
		if (rules[i].outcome == OUTCOME_FAILED)
			rig_result_full(r, 0, g, OUTCOME_FAILED,
			    REASON_REMOTE_5XX, 550, "5.1.1", "no such user",
			    false);
		else
			rig_result_full(r, 0, g, OUTCOME_DELIVERED, REASON_NONE,
			    250, "2.0.0", "ok", rules[i].relayed);
		rig_settle(r);
		rig_release(r, 0, g->dest_id);
		text = next_notice(r, "a@b.example");
		if ((text == NULL) != (rules[i].want == NULL) ||
		    (text != NULL && strstr(text, rules[i].want) == NULL))
			fail_msg("%s: %s", rules[i].name,
			    text == NULL ? "nothing" : text);
		if (text != NULL) {
			assert_non_null(strstr(text,
			    "Original-Recipient: rfc822; orig@d.example"));
			end_last(r);
		}
		rig_check_law(r);
		assert_int_equal(rig_count(r, DB_MSG), 0);
		assert_int_equal(rig_count(r, DB_NOTICE), 0);
	}
	rig_free(r);
}

static void
test_double_bounce(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct got *g;

	(void)state;
	g = send_and_pull(r, "", "c@d.example", 0, DSN_RET_NONE, 0);
	rig_result(r, 0, g, OUTCOME_FAILED);
	assert_null(next_notice(r, ""));
	assert_int_equal(writer_counters(r->q.writer)->double_bounces, 1);
	rig_release(r, 0, g->dest_id);
	/* and of our own notice */
	g = send_and_pull(r, "a@b.example", "c@d.example", 0, DSN_RET_NONE, 0);
	rig_result(r, 0, g, OUTCOME_FAILED);
	assert_non_null(next_notice(r, "a@b.example"));
	rig_result(r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_FAILED);
	assert_int_equal(writer_counters(r->q.writer)->double_bounces, 2);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_check_law(r);
	rig_free(r);
}

static void
test_ret(void **state)
{
	static const struct {
		enum dsn_ret ret;
		uint32_t flags;
		bool want_body;
	} t[] = {
		{ DSN_RET_NONE, 0, true },
		{ DSN_RET_FULL, 0, true },
		{ DSN_RET_HDRS, 0, false },
		{ DSN_RET_FULL, MSG_REQUIRETLS, false },
		{ DSN_RET_NONE, MSG_8BIT | MSG_BODY_8BITMIME, false },
		{ DSN_RET_FULL, MSG_8BIT | MSG_BODY_8BITMIME, true },
	};
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	const char *text;
	struct got *g;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		g = send_and_pull(
		    r, "a@b.example", "c@d.example", 0, t[i].ret, t[i].flags);
		rig_result(r, 0, g, OUTCOME_FAILED);
		rig_release(r, 0, g->dest_id);
		text = next_notice(r, "a@b.example");
		assert_non_null(text);
		assert_non_null(strstr(text, "Subject: test\r\n"));
		assert_int_equal(
		    strstr(text, "Hello.") != NULL, t[i].want_body);
		end_last(r);
	}
	rig_free(r);
}

static void
test_collects(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	const char *text;
	uint64_t mid;
	uint32_t i;
	char addr[40];

	(void)state;
	mid = rig_begin(r, "a@b.example", 4, DSN_RET_NONE, 0);
	for (i = 0; i < 4; i++) {
		snprintf(addr, sizeof(addr), "u%u@h%u.example", i, i);
		rig_rcpt(r, mid, i, addr, 0, "");
	}
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	rig_worker_up(r, 0, 100);
	RIG_UNTIL(r, r->w[0].n_offers == 4);
	r->w[0].taken = 4;
	for (i = 0; i < 4; i++)
		rig_pull(r, 0, r->w[0].offers[i].dest_id, 1, 1);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_FAILED);
	/* another one may follow: not yet */
	assert_null(next_notice(r, "a@b.example"));
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_FAILED);
	rig_result(r, 0, &r->w[0].got[2], OUTCOME_DEFERRED);
	assert_null(next_notice(r, "a@b.example"));
	rig_advance(r, NOTICE_COLLECT_S + 1);
	RIG_UNTIL(r, r->w[0].n_offers == 5);
	rig_pull(r, 0, r->w[0].offers[4].dest_id, 1, 1);
	text = (const char *)r->w[0].got[4].body;
	assert_non_null(strstr(text, "u0@h0.example"));
	assert_non_null(strstr(text, "u1@h1.example"));
	assert_null(strstr(text, "u2@h2.example"));
	assert_non_null(strstr(text, "Subject: test"));
	end_last(r);
	rig_check_law(r);
	/* when the last one ends, there is nothing to wait for */
	rig_result(r, 0, &r->w[0].got[3], OUTCOME_FAILED);
	rig_advance(r, 70);
	rig_pull(r, 0, r->w[0].got[2].dest_id, 1, 1);
	rig_result(r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_DELIVERED);
	rig_settle(r);
	assert_int_equal(writer_counters(r->q.writer)->generated, 2);
	rig_check_law(r);
	rig_free(r);
}

static void
test_expiry(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	const char *text;
	struct got *g;

	(void)state;
	g = send_and_pull(r, "a@b.example", "c@d.example", 0, DSN_RET_NONE, 0);
	rig_result(r, 0, g, OUTCOME_DEFERRED);
	rig_release(r, 0, g->dest_id);
	/* suspended, so that nothing but the clock can end it */
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "d.example", "");
	rig_advance(r, 3 * 86400 - 100);
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_advance(r, 200);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	text = next_notice(r, "a@b.example");
	assert_non_null(text);
	assert_non_null(strstr(text, "Status: 4.4.7"));
	assert_non_null(strstr(text, "Action: failed"));
	assert_non_null(
	    strstr(text, "Diagnostic-Code: smtp; 451 try again later"));
	end_last(r);
	rig_check_law(r);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	assert_int_equal(rig_count(r, DB_EXP), 0);
	rig_free(r);
}

static void
test_expiry_down_host(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t dest;
	const char *text;

	(void)state;
	rig_worker_up(r, 0, 100);
	(void)rig_send(r, "a@b.example", "c@tls.example");
	dest = rig_offer(r, 0, 0);
	r->w[0].taken = 1;
	rig_dest_state(r, 0, dest, DEST_DEFER, REASON_CERT_UNTRUSTED);
	rig_release(r, 0, dest);
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "tls.example", "");
	rig_advance(r, 3 * 86400 + 1);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	text = next_notice(r, "a@b.example");
	assert_non_null(text);
	/* the last obstacle was TLS, and it is told */
	assert_non_null(strstr(text, "Status: 4.7.5"));
	assert_non_null(strstr(text, "not from a"));
	assert_non_null(strstr(text, "no answer from mx1"));
	rig_free(r);
}

static void
test_expiry_in_flight(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	struct got *g;

	(void)state;
	g = send_and_pull(r, "a@b.example", "c@d.example", 0, DSN_RET_NONE, 0);
	rig_advance(r, 4 * 86400);
	/* a worker has it: its result counts */
	assert_int_equal(writer_counters(r->q.writer)->expired, 0);
	rig_result(r, 0, g, OUTCOME_DELIVERED);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 1);
	rig_check_law(r);
	rig_free(r);
}

/* Recipients of one message with different lifetimes: when the first one to
 * expire is delivered, the message is out of the way until the next one's time.
 * More of them than are looked at in one go, and one behind them. */
static void
test_expiry_not_blocked(void **state)
{
	struct rig *r;
	struct got *g;
	uint64_t mid, dest = 0;
	uint32_t i, n = 2100;

	(void)state;
	rig_destinations = "[short.example]\nbounce_profile = short\n";
	r = rig_new(RIG_SETTINGS,
	    "[profile default]\n[profile short]\nmax_queue_time = 1h\n", MAP);
	rig_destinations = NULL;
	for (i = 0; i < n; i++) {
		mid = rig_begin(r, "", 2, DSN_RET_NONE, 0);
		rig_rcpt(r, mid, 0, "a@long.example", 0, "");
		rig_rcpt(r, mid, 1, "a@short.example", 0, "");
		rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
		rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	}
	RIG_UNTIL(r, r->n_ok == n);
	rig_worker_up(r, 0, 10);
	(void)rig_offer(r, 0, 1);
	for (i = 0; i < 2; i++) {
		dest = r->w[0].offers[i].dest_id;
		rig_pull(r, 0, dest, n, 1);
		g = &r->w[0].got[r->w[0].n_got - 1];
		if (strcmp(g->address, "a@short.example") == 0)
			break;
		rig_dest_state(r, 0, dest, DEST_DOWN, REASON_HOST_DOWN);
	}
	assert_int_equal(g->rids[0], 1);
	for (i = r->w[0].n_got - n; i < r->w[0].n_got; i++)
		rig_result_full(r, 0, &r->w[0].got[i], OUTCOME_DELIVERED,
		    REASON_NONE, 250, "2.0.0", "ok", false);
	rig_settle(r);
	assert_int_equal(writer_counters(r->q.writer)->delivered, n);
	(void)rig_send(r, "", "late@short.example");
	rig_advance(r, 3601);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	rig_check_law(r);
	rig_free(r);
}

/* More than are looked at in one go are with a worker: those behind them end
 * all the same. */
static void
test_expiry_behind_held(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint32_t i, n = 2100;
	uint64_t dest;

	(void)state;
	for (i = 0; i < n; i++)
		(void)rig_post(r, "", "c@d.example");
	RIG_UNTIL(r, r->n_ok == n);
	rig_worker_up(r, 0, 10);
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, n, 1);
	while (r->w[0].n_got < n)
		rig_pull(r, 0, dest, n, 1);
	rig_advance(r, 60);
	(void)rig_send(r, "", "late@other.example");
	rig_advance(r, 3 * 86400 + 1);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 1);
	/* and what comes back late ends too */
	rig_worker_kill(r, 0);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == n + 1);
	rig_check_law(r);
	rig_free(r);
}

static void
test_many_expire(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	char addr[40];
	int i;

	(void)state;
	for (i = 0; i < 3000; i++) {
		snprintf(addr, sizeof(addr), "u@h%d.example", i % 37);
		(void)rig_post(r, "", addr);
	}
	RIG_UNTIL(r, r->n_ok == 3000);
	rig_advance(r, 4 * 86400);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == 3000);
	rig_settle(r);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	assert_int_equal(rig_count(r, DB_DQ), 0);
	assert_int_equal(rig_count(r, DB_SCHED), 0);
	rig_check_law(r);
	rig_free(r);
}

static void
test_retries_used_up(void **state)
{
	struct rig *r =
	    rig_new(RIG_SETTINGS, "[profile default]\nmax_retries = 1\n", MAP);
	const char *text;
	struct got *g;

	(void)state;
	g = send_and_pull(r, "a@b.example", "c@d.example", 0, DSN_RET_NONE, 0);
	rig_result(r, 0, g, OUTCOME_DEFERRED);
	rig_release(r, 0, g->dest_id);
	rig_advance(r, 70);
	rig_pull(r, 0, rig_offer(r, 0, 1), 1, 1);
	r->w[0].taken = 2;
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_DEFERRED);
	rig_release(r, 0, g->dest_id);
	assert_int_equal(writer_counters(r->q.writer)->expired, 1);
	text = next_notice(r, "a@b.example");
	assert_non_null(text);
	assert_non_null(strstr(text, "451 try again later"));
	rig_check_law(r);
	rig_free(r);
}

static void
test_delay_warning(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS,
	    "[profile default]\ndelay_warnings = on\n"
	    "delay_warning_interval = 100s\ninitial_retry = 60s\n"
	    "max_retry = 60s\n",
	    MAP);
	const char *text;
	struct got *g;
	int i;

	(void)state;
	g = send_and_pull(r, "a@b.example", "c@d.example", 0, DSN_RET_FULL, 0);
	rig_result(r, 0, g, OUTCOME_DEFERRED);
	for (i = 0; i < 2; i++) {
		rig_advance(r, 70);
		rig_pull(r, 0, g->dest_id, 1, 1);
		rig_result(
		    r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_DEFERRED);
	}
	rig_advance(r, NOTICE_COLLECT_S + 1);
	RIG_UNTIL(r, r->w[0].n_offers == 2);
	rig_pull(r, 0, r->w[0].offers[1].dest_id, 1, 1);
	text = (const char *)r->w[0].got[r->w[0].n_got - 1].body;
	assert_non_null(strstr(text, "Action: delayed"));
	assert_non_null(strstr(text, "Will-Retry-Until: "));
	assert_null(strstr(text, "Hello.")); /* headers only */
	end_last(r);
	/* one is enough by the profile, and the mail still waits */
	rig_advance(r, 70);
	rig_pull(r, 0, g->dest_id, 1, 1);
	rig_result(r, 0, &r->w[0].got[r->w[0].n_got - 1], OUTCOME_DEFERRED);
	rig_advance(r, NOTICE_COLLECT_S + 1);
	assert_int_equal(writer_counters(r->q.writer)->generated, 1);
	assert_int_equal(writer_counters(r->q.writer)->queued, 1);
	rig_check_law(r);
	rig_free(r);
}

static void
test_profile(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS,
	    "[profile default]\nbounce_recipient = desk@help.example\n"
	    "subject = Mail came back\n",
	    MAP);
	const char *text;
	struct got *g;

	(void)state;
	g = send_and_pull(r, "a@b.example", "c@d.example", 0, DSN_RET_NONE, 0);
	rig_result(r, 0, g, OUTCOME_FAILED);
	text = next_notice(r, "desk@help.example");
	assert_non_null(text);
	assert_non_null(strstr(text, "Subject: Mail came back\r\n"));
	rig_free(r);

	r = rig_new(
	    RIG_SETTINGS, "[profile default]\nhard_bounces = none\n", MAP);
	g = send_and_pull(r, "a@b.example", "c@d.example", 0, DSN_RET_NONE, 0);
	rig_result(r, 0, g, OUTCOME_FAILED);
	assert_null(next_notice(r, ""));
	assert_int_equal(rig_count(r, DB_MSG), 0);
	assert_int_equal(writer_counters(r->q.writer)->bounced, 1);
	rig_free(r);
}

static void
test_large_notice(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t mid, dest;
	char addr[80];
	uint32_t i;

	(void)state;
	/* more recipients than one notice tells of; each text over 16 KiB */
	mid = rig_begin(r, "a@b.example", 700, DSN_RET_NONE, 0);
	for (i = 0; i < 700; i++) {
		snprintf(addr, sizeof(addr), "user%u@null.example", i);
		rig_rcpt(r, mid, i, addr, 0, "");
	}
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	rig_worker_up(r, 0, 100);
	dest = rig_offer(r, 0, 0);
	rig_dest_state(r, 0, dest, DEST_FAILED, REASON_NULL_MX);
	RIG_UNTIL(r, writer_counters(r->q.writer)->bounced == 700);
	rig_advance(r, NOTICE_COLLECT_S + 1);
	rig_advance(r, NOTICE_COLLECT_S + 1);
	RIG_UNTIL(r, writer_counters(r->q.writer)->generated >= 2);
	RIG_UNTIL(r, rig_count(r, DB_NOTICE) == 0);
	RIG_UNTIL(r, r->w[0].n_offers == 2);
	rig_pull(r, 0, r->w[0].offers[1].dest_id, 10, 1);
	assert_true(r->w[0].n_got >= 2);
	assert_true(r->w[0].got[0].fd_size > HAND_INLINE_MAX);
	assert_null(strstr(
	    rig_ask(r, ADM_SHOWRECIPIENTS, 0, "host", "null.example"), "rid"));
	rig_check_law(r);
	rig_free(r);
}

/* The notice about the one message in the store: its size. */
static int64_t
only_notice(struct rig *r)
{
	uint32_t n = r->w[0].n_got;

	RIG_UNTIL(r, writer_counters(r->q.writer)->generated == 1);
	rig_pull(r, 0, rig_offer(r, 0, 1), 1, 1);
	assert_int_equal(r->w[0].n_got, n + 1);
	assert_string_equal(r->w[0].got[n].sender, "");
	rig_check_law(r);
	return r->w[0].got[n].fd_size;
}

/* What is larger than anybody expects must not stop the notices behind it. */
static void
test_huge_copy(void **state)
{
	struct rig *r =
	    rig_new(RIG_SETTINGS, "[profile default]\nmax_copy = 10m\n", MAP);
	size_t len = 10 << 20, i;
	char *body = malloc(len);
	uint64_t mid;

	(void)state;
	for (i = 0; i < len; i++)
		body[i] = i % 70 == 69 ? '\n' : i % 70 == 68 ? '\r' : 'x';
	mid = rig_begin(r, "a@b.example", 1, DSN_RET_FULL, 0);
	rig_rcpt(r, mid, 0, "c@d.example", 0, "");
	rig_data(r, mid, body, len);
	rig_commit(r, mid, len, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	rig_worker_up(r, 0, 100);
	rig_pull(r, 0, rig_offer(r, 0, 0), 1, 100);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_FAILED);
	assert_true(only_notice(r) > (int64_t)len);
	free(body);
	rig_free(r);
}

static void
test_hostile_replies(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	char reply[TEXT_REPLY_MAX + 1], addr[80], orcpt[1000];
	uint64_t mid, dest;
	uint32_t i;

	(void)state;
	memset(reply, 1, TEXT_REPLY_MAX);
	reply[TEXT_REPLY_MAX] = '\0';
	snprintf(orcpt, sizeof(orcpt), "rfc822;%0980d", 0);
	mid = rig_begin(r, "a@b.example", NOTICE_RCPTS_MAX, DSN_RET_NONE, 0);
	for (i = 0; i < NOTICE_RCPTS_MAX; i++) {
		snprintf(addr, sizeof(addr), "%u%060d@d.example", i, 0);
		rig_rcpt(r, mid, i, addr, 0, orcpt);
	}
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	rig_worker_up(r, 0, 100);
	dest = rig_offer(r, 0, 0);
	rig_pull(r, 0, dest, 100, 100);
	for (i = 0; i < NOTICE_RCPTS_MAX / 100; i++)
		rig_result_full(r, 0, &r->w[0].got[i], OUTCOME_FAILED,
		    REASON_REMOTE_5XX, 550, "5.1.1", reply, false);
	assert_in_range(only_notice(r), 4 << 20, 8 << 20);
	rig_free(r);
}

static void
test_notice_survives_restart(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);
	uint64_t mid;
	uint32_t i;
	char addr[40];

	(void)state;
	mid = rig_begin(r, "a@b.example", 2, DSN_RET_NONE, 0);
	for (i = 0; i < 2; i++) {
		snprintf(addr, sizeof(addr), "u%u@h%u.example", i, i);
		rig_rcpt(r, mid, i, addr, 0, "");
	}
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	RIG_UNTIL(r, r->n_ok == 1);
	rig_worker_up(r, 0, 100);
	RIG_UNTIL(r, r->w[0].n_offers == 2);
	rig_pull(r, 0, r->w[0].offers[0].dest_id, 1, 1);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_FAILED);
	rig_stop(r); /* while others may still end */
	rig_start(r);
	rig_advance(r, NOTICE_COLLECT_S + 1);
	RIG_UNTIL(r, writer_counters(r->q.writer)->generated == 1);
	rig_settle(r);
	rig_check_law(r);
	assert_int_equal(rig_count(r, DB_NOTICE), 0);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify_rules),
		cmocka_unit_test(test_double_bounce),
		cmocka_unit_test(test_ret),
		cmocka_unit_test(test_collects),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_expiry_down_host),
		cmocka_unit_test(test_expiry_in_flight),
		cmocka_unit_test(test_expiry_not_blocked),
		cmocka_unit_test(test_expiry_behind_held),
		cmocka_unit_test(test_many_expire),
		cmocka_unit_test(test_retries_used_up),
		cmocka_unit_test(test_delay_warning),
		cmocka_unit_test(test_profile),
		cmocka_unit_test(test_large_notice),
		cmocka_unit_test(test_huge_copy),
		cmocka_unit_test(test_hostile_replies),
		cmocka_unit_test(test_notice_survives_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
