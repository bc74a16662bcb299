/* Records: round trips, every cut, every flipped byte, key order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "queue/record.h"

#include "lib/proto/submit.h"

static const struct rec_msg msg = {
	.sender = "a@b.example",
	.envid = "QQ314159",
	.gateway = "default",
	.listener = "in",
	.profile = "default",
	.client = "192.0.2.1",
	.message_id = "<1@x>",
	.ret = 1,
	.flags = 33,
	.size = 12345,
	.icid = 7,
	.origin = 3,
	.accepted_ms = 1700000000123,
	.body = REC_BODY_FILE,
	.held = true,
	.n_total = 5,
	.n_left = 3,
	.n_live = 2,
	.exp_s = 1700259200,
	.notice_s = 0,
};

static const struct rec_rcpt rcpt = {
	.state = RCPT_QUEUED,
	.delay_pending = true,
	.delays = 1,
	.lost = 2,
	.dest_id = 77,
	.due_s = 1700000060,
	.expires_s = 1700259200,
	.attempts = 4,
	.notify = 12,
	.last_s = 1700000000,
	.reason = 20,
	.code = 451,
	.status = "4.3.2",
	.reply = "later",
	.host = "mx1.c.example",
	.address = "c@d.example",
	.domain = "d.example",
	.orcpt = "rfc822;c@d.example",
};

static const struct rec_dest dest = {
	.domain = "d.example",
	.gateway = "default",
	.sched_s = 9,
	.queued = 3,
	.retries = 2,
	.until_s = 10,
	.since_s = 5,
	.reason = 15,
	.suspended = true,
	.cls = MSG_REQUIRETLS,
	.used_s = 4,
	.delivered = 1,
	.soft = 2,
	.hard = 3,
	.status = "4.4.1",
	.text = "no answer",
	.host = "mx1",
	.last_error = "no such user",
};

static void
encode(int what, struct buf *b)
{
	struct rec_counters c = { 9, 1, 3, 2, 1, 1, 3, 0, 1, 4 };

	buf_init(b, 65536);
	switch (what) {
	case 0:
		assert_int_equal(rec_msg_encode(b, &msg), 0);
		break;
	case 1:
		assert_int_equal(rec_rcpt_encode(b, &rcpt), 0);
		break;
	case 2:
		assert_int_equal(rec_dest_encode(b, &dest), 0);
		break;
	default:
		assert_int_equal(rec_counters_encode(b, &c), 0);
		break;
	}
}

/* 0 or PE_CORRUPT; a success must encode to the same bytes again. */
static int
decode(int what, const uint8_t *p, size_t len)
{
	struct rec_msg m;
	struct rec_rcpt rc;
	struct rec_dest d;
	struct rec_counters c;
	struct buf b;
	int r;

	buf_init(&b, 65536);
	switch (what) {
	case 0:
		r = rec_msg_decode(p, len, &m);
		if (r == 0)
			assert_int_equal(rec_msg_encode(&b, &m), 0);
		break;
	case 1:
		r = rec_rcpt_decode(p, len, &rc);
		if (r == 0)
			assert_int_equal(rec_rcpt_encode(&b, &rc), 0);
		break;
	case 2:
		r = rec_dest_decode(p, len, &d);
		if (r == 0)
			assert_int_equal(rec_dest_encode(&b, &d), 0);
		break;
	default:
		r = rec_counters_decode(p, len, &c);
		if (r == 0)
			assert_int_equal(rec_counters_encode(&b, &c), 0);
		break;
	}
	if (r == 0) {
		assert_int_equal(buf_len(&b), len);
		assert_memory_equal(buf_data(&b), p, len);
	} else {
		assert_int_equal(r, PE_CORRUPT);
	}
	buf_done(&b);
	return r;
}

static void
test_round_trip_and_cuts(void **state)
{
	uint8_t copy[4096];
	struct buf b;
	size_t i, len;
	int what;

	(void)state;
	for (what = 0; what < 4; what++) {
		encode(what, &b);
		len = buf_len(&b);
		memcpy(copy, buf_data(&b), len);
		assert_int_equal(decode(what, copy, len), 0);
		for (i = 0; i < len; i++)
			assert_int_equal(decode(what, copy, i), PE_CORRUPT);
		copy[len] = 0;
		assert_int_equal(decode(what, copy, len + 1), PE_CORRUPT);
		copy[0] = REC_VERSION + 1;
		assert_int_equal(decode(what, copy, len), PE_CORRUPT);
		buf_done(&b);
	}
}

static void
test_flips(void **state)
{
	struct buf b;
	size_t i, k;
	int what;

	(void)state;
	for (what = 0; what < 4; what++) {
		encode(what, &b);
		for (i = 0; i < buf_len(&b); i++)
			for (k = 0; k < 8; k++) {
				buf_data(&b)[i] ^= (uint8_t)(1u << k);
				(void)decode(what, buf_data(&b), buf_len(&b));
				buf_data(&b)[i] ^= (uint8_t)(1u << k);
			}
		buf_done(&b);
	}
}

static int
cmp(const struct key *a, const struct key *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int r = memcmp(a->b, b->b, n);

	return r != 0 ? r : a->len < b->len ? -1 : a->len > b->len;
}

static void
test_key_order(void **state)
{
	static const struct dq_entry e[] = { { 1, 5, 0 }, { 1, 5, 1 },
		{ 1, 256, 0 }, { 2, 1, 0 }, { 255, 0, 0 }, { 256, 0, 0 },
		{ INT64_MAX, UINT64_MAX, UINT32_MAX } };
	struct dq_entry got;
	struct key a, b;
	uint64_t id;
	int64_t t;
	size_t i;

	(void)state;
	for (i = 0; i + 1 < sizeof(e) / sizeof(e[0]); i++) {
		key_dq(&a, 7, &e[i]);
		key_dq(&b, 7, &e[i + 1]);
		assert_true(cmp(&a, &b) < 0);
		assert_int_equal(dq_entry_cmp(&e[i], &e[i + 1]), -1);
		assert_int_equal(dq_entry_cmp(&e[i], &e[i]), 0);
		assert_int_equal(key_dq_parse(b.b, b.len, &id, &got), 0);
		assert_int_equal(id, 7);
		assert_int_equal(dq_entry_cmp(&got, &e[i + 1]), 0);
		key_dq(&a, 8, &e[0]);
		assert_true(cmp(&b, &a) < 0);
	}
	key_time(&a, 255, 9);
	key_time(&b, 256, 1);
	assert_true(cmp(&a, &b) < 0);
	assert_int_equal(key_time_parse(a.b, a.len, &t, &id), 0);
	assert_int_equal(t, 255);
	assert_int_equal(id, 9);
	assert_int_equal(key_time_parse(a.b, 15, &t, &id), PE_CORRUPT);
	a.b[0] = 0x80; /* a negative time */
	assert_int_equal(key_time_parse(a.b, a.len, &t, &id), PE_CORRUPT);
	/* all gateways of a domain, and nothing else, share a prefix */
	assert_int_equal(key_dname(&a, "d.example", "", 0), 0);
	assert_int_equal(key_dname(&b, "d.example", "gw", 0), 0);
	assert_memory_equal(a.b, b.b, a.len);
	assert_int_equal(key_dname(&b, "d.example", "gw", MSG_REQUIRETLS), 0);
	assert_memory_equal(a.b, b.b, a.len);
	assert_int_equal(b.len, strlen("d.example") + 1 + 2 + 2);
	assert_int_equal(key_dname(&b, "d.example.net", "gw", 0), 0);
	assert_memory_not_equal(a.b, b.b, a.len);
}

static void
test_longest_name_fits(void **state)
{
	char d[256], g[257];
	struct key k;

	(void)state;
	memset(d, 'd', 255);
	memset(g, 'g', 256);
	d[255] = g[256] = '\0';
	assert_int_equal(key_dname(&k, d, g, 0), PE_TOO_LONG);
	g[255] = '\0';
	assert_int_equal(key_dname(&k, d, g, 0), 0);
	assert_int_equal(k.len, KEY_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_and_cuts),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_key_order),
		cmocka_unit_test(test_longest_name_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
