/*
 * test_header.c - fields walked and watched (whole, then a byte at a time),
 * and our Received field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/mail/header.h"

static const struct {
	const char *in;
	size_t header_len;
	unsigned fields, received;
	bool tls_required_no, eight_bit;
	const char *message_id, *subject, *from;
} cases[] = {
	{ "", 0, 0, 0, false, false, "", "", "" },
	{ "\r\n", 2, 0, 0, false, false, "", "", "" },
	{ "\r\nSubject: body\r\n", 2, 0, 0, false, false, "", "", "" },
	{ "Subject: hi\r\n\r\nbody", 15, 1, 0, false, false, "", "hi", "" },
	{ "Subject: hi", 11, 1, 0, false, false, "", "hi", "" },
	{ "Subject: hi\r\n", 13, 1, 0, false, false, "", "hi", "" },
	{ "Subject:\r\n\r\n", 12, 1, 0, false, false, "", "", "" },
	{ "Subject:hi \t \r\n\r\n", 17, 1, 0, false, false, "", "hi", "" },
	{ "SUBJECT \t: hi\r\n\r\n", 17, 1, 0, false, false, "", "hi", "" },
	{ "Received: a\r\nReceived: b\r\n\tc\r\nreceived:d\r\n"
	  "Message-ID: <1@x>\r\nFrom: a@b\r\nDate: x\r\n"
	  "Subject: one\r\n two\r\n\t\tthree\r\n\r\nReceived: no\r\n",
	    112, 7, 3, false, false, "<1@x>", "one two three", "a@b" },
	/* the first of each counts */
	{ "Subject: a\r\nSubject: b\r\n\r\n", 26, 2, 0, false, false, "", "a",
	    "" },
	/* a line that is no field ends the header */
	{ "Subject: a\r\nno field\r\nFrom: x\r\n", 12, 1, 0, false, false, "",
	    "a", "" },
	{ "Subject: a\r\nnofield", 12, 1, 0, false, false, "", "a", "" },
	{ "Subject: a\r\n: x\r\nFrom: x\r\n", 12, 1, 0, false, false, "", "a",
	    "" },
	{ "From someone Mon\r\nSubject: a\r\n\r\n", 0, 0, 0, false, false, "",
	    "", "" },
	{ " leading\r\nSubject: a\r\n\r\n", 0, 0, 0, false, false, "", "", "" },
	{ "Subject: a\r\n\xc3\xa9: x\r\n", 12, 1, 0, false, false, "", "a",
	    "" },
	{ "Subject: a\r\n\rFrom: x\r\n", 12, 1, 0, false, false, "", "a", "" },
	/* bare LF is a line end when reading what is stored */
	{ "Subject: a\n b\nFrom: c\n\nbody", 23, 2, 0, false, false, "", "a b",
	    "c" },
	/* a fold of white space only, and bytes that are no text */
	{ "Subject: a\r\n \r\n b\r\n\r\n", 21, 1, 0, false, false, "", "a b",
	    "" },
	{ "Subject: a\r\n \rb\r\n\r\n", 19, 1, 0, false, false, "", "a b", "" },
	{ "Subject: a\x01\x02z\r\n\r\n", 17, 1, 0, false, false, "", "az", "" },
	{ "Subject: caf\xc3\xa9\r\n\r\n", 18, 1, 0, false, true, "",
	    "caf\xc3\xa9", "" },
	{ "X: \xe9\r\n\r\n\xe9", 8, 1, 0, false, true, "", "", "" },
	{ "X: y\r\n\r\n\xe9", 8, 1, 0, false, false, "", "", "" },
	/* TLS-Required (RFC 8689, 5): No, in any case, and only once */
	{ "TLS-Required: No\r\n\r\n", 20, 1, 0, true, false, "", "", "" },
	{ "tls-required:\r\n nO \r\n\r\n", 23, 1, 0, true, false, "", "", "" },
	{ "TLS-Required: Yes\r\n\r\n", 21, 1, 0, false, false, "", "", "" },
	{ "TLS-Required: No way\r\n\r\n", 24, 1, 0, false, false, "", "", "" },
	{ "TLS-Required:\r\n\r\n", 17, 1, 0, false, false, "", "", "" },
	{ "TLS-Required: No\r\nTLS-Required: No\r\n\r\n", 38, 2, 0, false,
	    false, "", "", "" },
	{ "TLS-Required: No\r\nTLS-Required: x\r\n\r\n", 37, 2, 0, false, false,
	    "", "", "" },
	{ "X-TLS-Required: No\r\n\r\n", 22, 1, 0, false, false, "", "", "" },
	{ "\r\nTLS-Required: No\r\n", 2, 0, 0, false, false, "", "", "" },
};

static void
check(const struct mail_scan *s, size_t i)
{
	assert_true(s->done);
	if (s->header_len != cases[i].header_len)
		fail_msg("row %zu (%s): header of %zu, wanted %zu", i,
		    cases[i].in, (size_t)s->header_len, cases[i].header_len);
	assert_int_equal(s->len, strlen(cases[i].in));
	assert_int_equal(s->received, cases[i].received);
	assert_int_equal(s->tls_required_no, cases[i].tls_required_no);
	assert_int_equal(s->eight_bit, cases[i].eight_bit);
	assert_string_equal(s->message_id, cases[i].message_id);
	assert_string_equal(s->subject, cases[i].subject);
	assert_string_equal(s->from, cases[i].from);
}

static void
test_scan(void **state)
{
	struct mail_scan s;
	size_t i, k, len;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		len = strlen(cases[i].in);
		mail_scan_init(&s);
		mail_scan(&s, cases[i].in, len);
		mail_scan_end(&s);
		check(&s, i);
		mail_scan_init(&s);
		for (k = 0; k < len; k++)
			mail_scan(&s, cases[i].in + k, 1);
		mail_scan_end(&s);
		check(&s, i);
	}
}

static void
test_walk(void **state)
{
	struct mail_walk w;
	struct mail_field f;
	char subject[64], *text;
	unsigned fields, received;
	bool seen;
	size_t i, len, at;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		len = strlen(cases[i].in);
		text = malloc(len + (len == 0));
		memcpy(text, cases[i].in, len);
		mail_walk_init(&w, text, len);
		fields = received = 0;
		seen = false;
		at = 0;
		while (mail_walk_next(&w, &f) == 1) {
			assert_ptr_equal(f.raw, text + at);
			at += f.raw_len;
			assert_int_equal(w.at, at);
			fields++;
			received += mail_field_is(&f, "received");
			if (mail_field_is(&f, "Subject") && !seen) {
				seen = true;
				(void)mail_field_unfold(&f, subject, 64);
				assert_string_equal(subject, cases[i].subject);
			}
		}
		assert_int_equal(mail_walk_next(&w, &f), 0); /* stays so */
		if (fields != cases[i].fields || w.at != cases[i].header_len)
			fail_msg(
			    "row %zu: %u fields, %zu bytes", i, fields, w.at);
		assert_int_equal(received, cases[i].received);
		free(text);
	}
}

static void
test_parts(void **state)
{
	static const char in[] = "A-Name\t:  one\r\n\t two \r\nB:\r\n\r\n";
	struct mail_walk w;
	struct mail_field f;
	char small[6];

	(void)state;
	mail_walk_init(&w, in, sizeof(in) - 1);
	assert_int_equal(mail_walk_next(&w, &f), 1);
	assert_int_equal(f.name_len, 6);
	assert_int_equal(f.value_len, 10);
	assert_memory_equal(f.value, "one\r\n\t two", 10);
	assert_int_equal(f.raw_len, 23);
	assert_true(f.folded);
	assert_false(mail_field_is(&f, "A-Nam"));
	assert_int_equal(mail_field_unfold(&f, small, sizeof(small)), 5);
	assert_string_equal(small, "one t");
	assert_int_equal(mail_walk_next(&w, &f), 1);
	assert_int_equal(f.value_len, 0);
	assert_false(f.folded);
	assert_int_equal(mail_walk_next(&w, &f), 0);
	assert_true(w.blank_line);
	assert_int_equal(w.at, sizeof(in) - 1);
}

/* However long a name or a value is, memory is bounded and it goes on. */
static void
test_bounds(void **state)
{
	struct mail_scan s;
	char *big = malloc(100000);
	size_t i;

	(void)state;
	memset(big, 'x', 100000);
	mail_scan_init(&s);
	mail_scan(&s, "Subject: ", 9);
	for (i = 0; i < 10; i++)
		mail_scan(&s, big, 100000);
	mail_scan(&s, "\r\n", 2);
	mail_scan(&s, big, 100000); /* a name */
	mail_scan(&s, ": v\r\nMessage-ID: <m>\r\n\r\n", 24);
	assert_true(s.done);
	assert_int_equal(strlen(s.subject), MAIL_CAPTURE);
	assert_string_equal(s.message_id, "<m>");
	assert_int_equal(s.header_len, 9 + 1000000 + 2 + 100000 + 24);
	free(big);
}

static void
test_with(void **state)
{
	(void)state;
	assert_string_equal(
	    mail_received_with(false, true, true, true), "SMTP");
	assert_string_equal(
	    mail_received_with(true, false, false, false), "ESMTP");
	assert_string_equal(
	    mail_received_with(true, true, false, false), "ESMTPS");
	assert_string_equal(
	    mail_received_with(true, false, true, false), "ESMTPA");
	assert_string_equal(
	    mail_received_with(true, true, true, false), "ESMTPSA");
	assert_string_equal(
	    mail_received_with(true, true, true, true), "UTF8SMTPSA");
	assert_string_equal(
	    mail_received_with(true, false, false, true), "UTF8SMTP");
}

static void
test_received(void **state)
{
	static const struct {
		struct mail_received in;
		const char *want;
	} rows[] = {
		{ { .helo = "client.example.com",
		      .client_ip = "192.0.2.1",
		      .client_name = "c.example.com",
		      .by = "gw1.example.net",
		      .esmtp = true,
		      .tls = true,
		      .tls_text = "TLSv1.3 TLS_AES_256_GCM_SHA384",
		      .id = "42",
		      .rcpt = "b@example.org",
		      .time_s = 1000000000 },
		    "Received: from client.example.com\r\n"
		    "\t(c.example.com [192.0.2.1])\r\n"
		    "\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
		    "\tby gw1.example.net with ESMTPS id 42\r\n"
		    "\tfor <b@example.org>;\r\n"
		    "\tSun, 9 Sep 2001 01:46:40 +0000\r\n" },
		{ { .helo = "[IPv6:2001:db8::1]",
		      .client_ip = "2001:db8::1",
		      .by = "gw",
		      .time_s = 0 },
		    "Received: from [IPv6:2001:db8::1]\r\n"
		    "\t([IPv6:2001:db8::1])\r\n"
		    "\tby gw with SMTP;\r\n"
		    "\tThu, 1 Jan 1970 00:00:00 +0000\r\n" },
		/* text from outside stays within its place */
		{ { .helo = "a (b) <c>\r\nX: y;",
		      .client_ip = "1.2.3.4",
		      .client_name = "n) ev(il",
		      .by = "gw",
		      .esmtp = true,
		      .tls = true,
		      .tls_text = "a)b\\c\n",
		      .rcpt = "\"a\r\nb\"@x" },
		    "Received: from a??b???c???X:?y?\r\n"
		    "\t(n??ev?il [1.2.3.4])\r\n"
		    "\t(a?b?c?)\r\n"
		    "\tby gw with ESMTPS\r\n"
		    "\tfor <\"a??b\"@x>;\r\n"
		    "\tThu, 1 Jan 1970 00:00:00 +0000\r\n" },
		/* UTF-8 only where the transaction allows it */
		{ { .helo = "h",
		      .by = "gw",
		      .esmtp = true,
		      .utf8 = true,
		      .rcpt = "\xc3\xa9@x" },
		    "Received: from h\r\n"
		    "\tby gw with UTF8SMTP\r\n"
		    "\tfor <\xc3\xa9@x>;\r\n"
		    "\tThu, 1 Jan 1970 00:00:00 +0000\r\n" },
		{ { .by = "gw", .esmtp = true, .rcpt = "\xc3\xa9@x" },
		    "Received: from unknown\r\n"
		    "\tby gw with ESMTP;\r\n"
		    "\tThu, 1 Jan 1970 00:00:00 +0000\r\n" },
	};
	struct mail_walk w;
	struct mail_field f;
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 4096);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_drop(&b, buf_len(&b));
		assert_int_equal(mail_received_format(&b, &rows[i].in), 0);
		if (buf_len(&b) != strlen(rows[i].want) ||
		    memcmp(buf_data(&b), rows[i].want, buf_len(&b)) != 0)
			fail_msg("%.*s", (int)buf_len(&b), buf_data(&b));
		mail_walk_init(&w, buf_data(&b), buf_len(&b));
		assert_int_equal(mail_walk_next(&w, &f), 1);
		assert_int_equal(f.raw_len, buf_len(&b));
	}
	buf_done(&b);

	buf_init(&b, 30);
	assert_int_equal(buf_puts(&b, "before"), 0);
	assert_int_equal(mail_received_format(&b, &rows[0].in), PE_FULL);
	assert_int_equal(buf_len(&b), 6);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_with),
		cmocka_unit_test(test_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
