/*
 * test_mass.c - deleterecipients, bouncerecipients, oldmessage and the text of
 * a message, on a real store.
 */
#include "tests/queue/rig.h"

#include "lib/base/base64.h"

enum { MANY = 1300 }; /* more than two batches */

static struct rig *
simple(void)
{
	return rig_new(RIG_SETTINGS, NULL, (size_t)1 << 30);
}

static const char *
end_them(struct rig *r, uint64_t how, const char *what, const char *value)
{
	const char *doc = rig_ask(r, ADM_ENDRECIPIENTS, how, what, value);

	rig_check_law(r);
	return doc;
}

#define SAYS(doc, text)                                            \
	do {                                                       \
		const char *doc_ = (doc);                          \
		if (strstr(doc_, (text)) == NULL)                  \
			fail_msg("%s is not in %s", (text), doc_); \
	} while (0)

static void
fill(struct rig *r)
{
	char addr[64];
	int i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(addr, sizeof(addr), "u%d@%s.example", i,
		    i % 2 == 0 ? "even" : "odd");
		(void)rig_post(
		    r, i % 10 == 0 ? "Ten@b.example" : "a@b.example", addr);
	}
	rig_settle(r);
	RIG_UNTIL(r, writer_counters(r->q.writer)->accepted == MANY);
}

static void
test_delete(void **state)
{
	struct rig *r = simple();

	(void)state;
	fill(r);
	SAYS(end_them(r, ADM_END_DRY_RUN, "host", "even.example"),
	    "{\"changed\":0,\"recipients\":650,\"messages\":650,"
	    "\"in_flight\":0,\"dry_run\":true}");
	assert_int_equal(writer_counters(r->q.writer)->removed, 0);
	SAYS(end_them(r, 0, "from", "ten@B.example"),
	    "{\"changed\":130,\"recipients\":130,\"messages\":130,"
	    "\"in_flight\":0,\"dry_run\":false}");
	SAYS(end_them(r, 0, "host", "even.example"), "\"changed\":520,");
	assert_int_equal(writer_counters(r->q.writer)->removed, 650);
	assert_int_equal(rig_count(r, DB_MSG), 650);
	SAYS(end_them(r, 0, "host", "even.example"), "\"changed\":0,");
	SAYS(end_them(r, 0, "all", ""), "\"changed\":650,");
	assert_int_equal(rig_count(r, DB_RCPT), 0);
	assert_int_equal(rig_count(r, DB_DQ), 0);
	assert_int_equal(rig_count(r, DB_EXP), 0);
	assert_int_equal(rig_count(r, DB_BODY), 0);
	assert_int_equal(rig_count(r, DB_NOTICE), 0);
	assert_int_equal(writer_counters(r->q.writer)->bounced, 0);
	rig_free(r);
}

/* Held ones end too; what a worker has is left to it. */
static void
test_in_flight_and_held(void **state)
{
	struct rig *r = simple();
	uint64_t held;

	(void)state;
	(void)rig_send(r, "a@b.example", "one@d.example");
	rig_worker_up(r, 0, 10);
	rig_pull(r, 0, rig_offer(r, 0, 0), 10, 100);
	assert_int_equal(r->w[0].n_got, 1);
	held = rig_send(r, "a@b.example", "two@d.example");
	(void)rig_ask(r, ADM_HOLD, held, "", "");
	SAYS(end_them(r, ADM_END_DRY_RUN, "host", "d.example"),
	    "\"recipients\":1,\"messages\":1,\"in_flight\":1,");
	SAYS(end_them(r, 0, "host", "d.example"),
	    "\"changed\":1,\"recipients\":1,\"messages\":1,\"in_flight\":1,");
	assert_int_equal(rig_count(r, DB_MSG), 1);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	rig_check_law(r);
	assert_int_equal(writer_counters(r->q.writer)->delivered, 1);
	assert_int_equal(writer_counters(r->q.writer)->removed, 1);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_free(r);
}

/* Suspended, deferred and held mail comes back, with one notice a message. */
static void
test_bounce(void **state)
{
	struct rig *r = simple();
	uint64_t mid, held;

	(void)state;
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "d.example", "");
	mid = rig_begin(r, "a@b.example", 2, DSN_RET_NONE, 0);
	rig_rcpt(r, mid, 0, "x@d.example", 0, "");
	rig_rcpt(r, mid, 1, "y@d.example", 0, "");
	rig_data(r, mid, "x: y\r\n\r\nz\r\n", 11);
	rig_commit(r, mid, 11, 0);
	rig_settle(r);
	held = rig_send(r, "a@b.example", "h@d.example");
	(void)rig_ask(r, ADM_HOLD, held, "", "");
	SAYS(end_them(r, ADM_END_BOUNCE, "host", "d.example"),
	    "\"changed\":3,\"recipients\":3,\"messages\":2,\"in_flight\":0,");
	RIG_UNTIL(r, writer_counters(r->q.writer)->generated == 2);
	rig_check_law(r);
	assert_int_equal(writer_counters(r->q.writer)->bounced, 3);
	/* the notices wait for their own destination, and nothing else */
	RIG_UNTIL(r, rig_count(r, DB_MSG) == 2);
	SAYS(rig_ask(r, ADM_SHOWRECIPIENTS, 0, "from", ""), "a@b.example");
	/* notices that are bounced are told nobody */
	SAYS(end_them(r, ADM_END_BOUNCE, "from", ""), "\"changed\":2,");
	assert_int_equal(writer_counters(r->q.writer)->double_bounces, 2);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	rig_free(r);
}

/* A profile without notices for failures. */
static void
test_bounce_without_notice(void **state)
{
	struct rig *r = rig_new(RIG_SETTINGS,
	    "[profile default]\nhard_bounces = none\n", (size_t)1 << 30);

	(void)state;
	(void)rig_send(r, "a@b.example", "c@d.example");
	SAYS(end_them(r, ADM_END_BOUNCE, "all", ""), "\"changed\":1,");
	assert_int_equal(writer_counters(r->q.writer)->bounced, 1);
	assert_int_equal(writer_counters(r->q.writer)->generated, 0);
	assert_int_equal(rig_count(r, DB_MSG), 0);
	(void)rig_ask(r, ADM_ENDRECIPIENTS, 4, "all", "");
	assert_int_equal(r->answer_code, 400);
	(void)rig_ask(r, ADM_ENDRECIPIENTS, 0, "some", "");
	assert_int_equal(r->answer_code, 400);
	rig_free(r);
}

/* The asker dies in the middle, and the process after it: what is done is done,
 * nothing is half. */
static void
test_asker_gone(void **state)
{
	struct rig *r = simple();
	struct adm_call m = { ADM_ENDRECIPIENTS, 0, { "all", "", "" } };

	(void)state;
	fill(r);
	adm_call_encode(ipc_send_begin(r->admin, ADM_CALL, 3), &m);
	assert_int_equal(ipc_send_end(r->admin, -1), 0);
	RIG_UNTIL(r, writer_counters(r->q.writer)->removed > 0);
	rig_stop(r);
	rig_start(r);
	rig_check_law(r);
	SAYS(end_them(r, 0, "all", ""), "\"in_flight\":0,");
	assert_int_equal(rig_count(r, DB_RCPT), 0);
	rig_free(r);
}

static void
test_oldest(void **state)
{
	struct rig *r = simple();
	uint64_t first, second;
	char want[64];

	(void)state;
	(void)rig_ask(r, ADM_OLDMESSAGE, 0, "", "");
	assert_int_equal(r->answer_code, 404);
	first = rig_send(r, "a@b.example", "c@d.example");
	rig_advance(r, 5);
	second = rig_send(r, "a@b.example", "e@d.example");
	(void)snprintf(want, sizeof(want), "{\"mid\":%" PRIu64 ",", first);
	SAYS(rig_ask(r, ADM_OLDMESSAGE, 0, "", ""), want);
	(void)rig_ask(r, ADM_REMOVEMESSAGE, first, "", "");
	(void)snprintf(want, sizeof(want), "{\"mid\":%" PRIu64 ",", second);
	SAYS(rig_ask(r, ADM_OLDMESSAGE, 0, "", ""), want);
	rig_free(r);
}

static void
test_body(void **state)
{
	struct rig *r = simple();
	uint64_t mid = rig_send(r, "a@b.example", "c@d.example");

	(void)state;
	SAYS(rig_ask(r, ADM_BODY, mid, "0", ""), "\"offset\":0,\"data\":\"");
	(void)rig_ask(r, ADM_BODY, mid, "999999", "");
	assert_int_equal(r->answer_code, 400);
	(void)rig_ask(r, ADM_BODY, mid, "-1", "");
	assert_int_equal(r->answer_code, 400);
	(void)rig_ask(r, ADM_BODY, mid + 1, "0", "");
	assert_int_equal(r->answer_code, 404);
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_in_flight_and_held),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_bounce_without_notice),
		cmocka_unit_test(test_asker_gone),
		cmocka_unit_test(test_oldest),
		cmocka_unit_test(test_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
