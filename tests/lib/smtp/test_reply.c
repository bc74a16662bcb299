/*
 * test_reply.c - replies of servers, whole and a byte at a time; judgement;
 * replies of ours.
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
#include "lib/smtp/reply.h"

#define S(text) text, sizeof(text) - 1

static const struct {
	const char *name, *in;
	size_t len;
	ssize_t want;
	int code;
	unsigned lines;
	const char *status, *text, *bare;
} cases[] = {
	{ "one line", S("250 ok\r\n"), 8, 250, 1, "", "ok", "ok" },
	{ "no text, SP", S("250 \r\n"), 6, 250, 1, "", "", "" },
	{ "no text, no SP", S("250\r\n"), 5, 250, 1, "", "", "" },
	{ "needs more", S("250-first\r\n"), 0, 0, 0, "", "", "" },
	{ "nothing", S(""), 0, 0, 0, "", "", "" },
	{ "half a code", S("25"), 0, 0, 0, "", "", "" },
	{ "half an end", S("250 ok\r"), 0, 0, 0, "", "", "" },
	{ "three lines", S("250-a\r\n250-b\r\n250 c\r\n"), 21, 250, 3, "",
	    "a\nb\nc", "a\nb\nc" },
	{ "bare code ends", S("250-a\r\n250\r\n"), 12, 250, 2, "", "a\n",
	    "a\n" },
	{ "empty lines", S("250-\r\n250-\r\n250 \r\n"), 18, 250, 3, "", "\n\n",
	    "\n\n" },
	{ "only the first", S("220 a\r\n250 b\r\n"), 7, 220, 1, "", "a", "a" },
	{ "code changes", S("250-a\r\n550 b\r\n"), PE_SYNTAX, 0, 0, "", "",
	    "" },
	{ "code changes late", S("250-a\r\n251-b\r\n250 c\r\n"), PE_SYNTAX, 0,
	    0, "", "", "" },
	{ "first digit 1", S("150 a\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "first digit 6", S("650 a\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "first digit 0", S("050 a\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "no digits", S("hello\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "two digits", S("25 ok\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "four digits", S("2500 ok\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "no space", S("250ok\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "tab", S("250\tok\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "space first", S(" 250 ok\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "empty line", S("\r\n250 ok\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "bare LF", S("250 ok\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "bare LF, no text", S("250\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "bare LF in the middle", S("250-a\n250 b\r\n"), PE_SYNTAX, 0, 0, "",
	    "", "" },
	{ "code and CR", S("250\r250 b\r\n"), PE_SYNTAX, 0, 0, "", "", "" },
	{ "CR is text", S("250 a\rb\r\r\n"), 10, 250, 1, "", "a\rb\r",
	    "a\rb\r" },
	{ "unknown codes", S("299 x\r\n"), 7, 299, 1, "", "x", "x" },
	{ "8 bit", S("550 \xc3\xa9\xff\r\n"), 9, 550, 1, "", "\xc3\xa9\xff",
	    "\xc3\xa9\xff" },
	{ "status", S("250 2.1.5 ok\r\n"), 14, 250, 1, "2.1.5", "2.1.5 ok",
	    "ok" },
	{ "status alone", S("250 2.0.0\r\n"), 11, 250, 1, "2.0.0", "2.0.0",
	    "" },
	{ "status disagrees", S("550 2.1.5 ok\r\n"), 14, 550, 1, "", "2.1.5 ok",
	    "2.1.5 ok" },
	{ "status disagrees 4/5", S("450 5.7.1 no\r\n"), 14, 450, 1, "",
	    "5.7.1 no", "5.7.1 no" },
	{ "status in 354", S("354 3.0.0 go\r\n"), 14, 354, 1, "", "3.0.0 go",
	    "3.0.0 go" },
	{ "status on each line",
	    S("550-5.7.1 no\r\n550-5.7.1  never\r\n550 5.7.1 bye\r\n"), 47, 550,
	    3, "5.7.1", "5.7.1 no\n5.7.1  never\n5.7.1 bye",
	    "no\n never\nbye" },
	{ "status on the second line", S("550-see\r\n550 5.7.1 no\r\n"), 23,
	    550, 2, "5.7.1", "see\n5.7.1 no", "see\nno" },
	{ "statuses differ", S("550-5.1.1 a\r\n550 5.2.2 b\r\n"), 26, 550, 2,
	    "5.1.1", "5.1.1 a\n5.2.2 b", "a\n5.2.2 b" },
	{ "status leading zero", S("550 5.07.1 no\r\n"), 15, 550, 1, "",
	    "5.07.1 no", "5.07.1 no" },
};

static void
check(const char *name, const struct smtp_reply *r, ssize_t got, size_t i)
{
	char status[SMTP_STATUS_TEXT], bare[64];

	if (got != cases[i].want)
		fail_msg(
		    "%s: returned %zd, wanted %zd", name, got, cases[i].want);
	if (got < 0) {
		assert_non_null(r->error);
		return;
	}
	if (got == 0)
		return;
	assert_int_equal(r->code, cases[i].code);
	assert_int_equal(r->lines, cases[i].lines);
	assert_string_equal(r->text, cases[i].text);
	assert_int_equal(r->text_len, strlen(cases[i].text));
	assert_string_equal(
	    smtp_status_format(r->status, status), cases[i].status);
	assert_int_equal(
	    smtp_reply_bare_text(r, bare, sizeof(bare)), strlen(cases[i].bare));
	assert_string_equal(bare, cases[i].bare);
}

static void
test_whole(void **state)
{
	struct smtp_reply r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(cases[i].name, &r,
		    smtp_reply_parse(cases[i].in, cases[i].len, &r), i);
}

static void
test_bytes(void **state)
{
	struct smtp_reply r;
	ssize_t got;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		got = 0;
		for (n = 0; n <= cases[i].len && got == 0; n++)
			got = smtp_reply_parse(cases[i].in, n, &r);
		check(cases[i].name, &r, got, i);
	}
}

/* A megabyte on one line is an error once the cap is there, not before. */
static void
test_long_line(void **state)
{
	static char big[1 << 20];
	struct smtp_reply r;
	size_t n;

	(void)state;
	memset(big, 'x', sizeof(big));
	memcpy(big, "250 ", 4);
	assert_int_equal(smtp_reply_parse(big, sizeof(big), &r), PE_TOO_LONG);
	assert_int_equal(
	    smtp_reply_parse(big, SMTP_REPLY_LINE_MAX, &r), PE_TOO_LONG);
	assert_int_equal(smtp_reply_parse(big, SMTP_REPLY_LINE_MAX - 1, &r), 0);

	/* the longest line there is */
	memcpy(big + SMTP_REPLY_LINE_MAX - 2, "\r\n", 2);
	assert_int_equal(
	    smtp_reply_parse(big, sizeof(big), &r), SMTP_REPLY_LINE_MAX);
	assert_int_equal(r.text_len, SMTP_REPLY_LINE_MAX - 6);

	/* many lines, each of them short */
	for (n = 0; n + 7 <= sizeof(big); n += 7)
		memcpy(big + n, "250-a\r\n", 7);
	assert_int_equal(smtp_reply_parse(big, sizeof(big), &r), PE_TOO_LONG);

	/* many bytes in not so many lines; an answer within the limit */
	for (n = 0; n + 2000 <= sizeof(big); n += 2000) {
		memset(big + n, 'x', 2000);
		memcpy(big + n, "250-", 4);
		memcpy(big + n + 1998, "\r\n", 2);
	}
	assert_int_equal(smtp_reply_parse(big, sizeof(big), &r), PE_TOO_LONG);
	assert_int_equal(
	    smtp_reply_parse(big, SMTP_REPLY_MAX, &r), PE_TOO_LONG);
	assert_int_equal(smtp_reply_parse(big, SMTP_REPLY_MAX - 1, &r), 0);
	big[7 * 2000 + 3] = ' ';
	assert_int_equal(smtp_reply_parse(big, sizeof(big), &r), 8 * 2000);
}

static void
test_kind(void **state)
{
	static const struct {
		int code;
		enum smtp_stage stage;
		enum smtp_kind want;
		bool closes;
	} rows[] = {
		{ 220, SMTP_STAGE_GREETING, SMTP_KIND_OK, false },
		{ 554, SMTP_STAGE_GREETING, SMTP_KIND_NEVER, true },
		{ 521, SMTP_STAGE_GREETING, SMTP_KIND_NEVER, true },
		{ 421, SMTP_STAGE_GREETING, SMTP_KIND_LATER, true },
		{ 450, SMTP_STAGE_GREETING, SMTP_KIND_LATER, false },
		{ 250, SMTP_STAGE_RCPT, SMTP_KIND_OK, false },
		{ 251, SMTP_STAGE_RCPT, SMTP_KIND_OK, false },
		{ 299, SMTP_STAGE_RCPT, SMTP_KIND_OK, false },
		{ 450, SMTP_STAGE_RCPT, SMTP_KIND_LATER, false },
		{ 550, SMTP_STAGE_RCPT, SMTP_KIND_NEVER, false },
		{ 552, SMTP_STAGE_RCPT, SMTP_KIND_NEVER, false },
		{ 552, SMTP_STAGE_RCPT_AFTER, SMTP_KIND_LATER, false },
		{ 550, SMTP_STAGE_RCPT_AFTER, SMTP_KIND_NEVER, false },
		{ 421, SMTP_STAGE_RCPT, SMTP_KIND_LATER, true },
		{ 554, SMTP_STAGE_RCPT, SMTP_KIND_NEVER, false },
		{ 354, SMTP_STAGE_RCPT, SMTP_KIND_LATER, false },
		{ 354, SMTP_STAGE_DATA, SMTP_KIND_MORE, false },
		{ 250, SMTP_STAGE_DATA, SMTP_KIND_LATER, false },
		{ 334, SMTP_STAGE_AUTH, SMTP_KIND_MORE, false },
		{ 235, SMTP_STAGE_AUTH, SMTP_KIND_OK, false },
		{ 250, SMTP_STAGE_DOT, SMTP_KIND_OK, false },
		{ 354, SMTP_STAGE_DOT, SMTP_KIND_LATER, false },
		{ 552, SMTP_STAGE_DOT, SMTP_KIND_NEVER, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (smtp_reply_kind(rows[i].code, rows[i].stage) !=
			rows[i].want ||
		    smtp_reply_closes(rows[i].code, rows[i].stage) !=
			rows[i].closes)
			fail_msg("row %zu, code %d", i, rows[i].code);
	}
}

static void
test_format(void **state)
{
	static const struct {
		int code;
		struct smtp_status st;
		const char *text, *want;
	} rows[] = {
		{ 250, { 2, 1, 5 }, "ok", "250 2.1.5 ok\r\n" },
		{ 354, { 0, 0, 0 }, "go ahead", "354 go ahead\r\n" },
		{ 250, { 2, 0, 0 }, "", "250 2.0.0 \r\n" },
		{ 550, { 5, 7, 1 }, "no\nnever\nbye",
		    "550-5.7.1 no\r\n550-5.7.1 never\r\n550 5.7.1 bye\r\n" },
		{ 250, { 0, 0, 0 }, "a\n", "250-a\r\n250 \r\n" },
		{ 250, { 2, 0, 0 }, "a\rb\tc\x7f\xc3\xa9",
		    "250 2.0.0 a?b?c???\r\n" },
	};
	struct smtp_reply r;
	struct buf b;
	char *text, *line;
	size_t i, n;

	(void)state;
	buf_init(&b, 65536);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_drop(&b, buf_len(&b));
		assert_int_equal(smtp_reply_format(&b, rows[i].code, rows[i].st,
				     rows[i].text),
		    0);
		assert_int_equal(buf_len(&b), strlen(rows[i].want));
		assert_memory_equal(buf_data(&b), rows[i].want, buf_len(&b));
		/* what we write, we read */
		assert_int_equal(
		    smtp_reply_parse(buf_data(&b), buf_len(&b), &r),
		    buf_len(&b));
		assert_int_equal(r.code, rows[i].code);
	}

	/* a long text: no line over 512, none of it lost, cut at spaces */
	buf_drop(&b, buf_len(&b));
	text = malloc(4001);
	for (i = 0; i < 4000; i++)
		text[i] = i % 10 == 9 ? ' ' : 'x';
	text[4000] = '\0';
	assert_int_equal(
	    smtp_reply_format(&b, 550, SMTP_STATUS(5, 7, 1), text), 0);
	assert_int_equal(
	    smtp_reply_parse(buf_data(&b), buf_len(&b), &r), buf_len(&b));
	assert_true(r.lines >= 8);
	n = smtp_reply_bare_text(&r, text, 4001);
	for (line = text;
	     (line = memchr(line, '\n', n - (size_t)(line - text)));)
		*line = ' ';
	for (i = 0; i < 3999; i++)
		assert_int_equal(text[i], i % 10 == 9 ? ' ' : 'x');
	text[0] = '\0';
	memset(text, 'y', 1500);
	text[1500] = '\0';
	buf_drop(&b, buf_len(&b));
	assert_int_equal(
	    smtp_reply_format(&b, 550, SMTP_STATUS(5, 7, 1), text), 0);
	line = (char *)buf_data(&b);
	for (i = 0; i < buf_len(&b); i += n) {
		n = (size_t)((char *)memchr(line + i, '\n', buf_len(&b) - i) -
			(line + i)) +
		    1;
		assert_true(n <= 512);
	}
	free(text);
	buf_done(&b);

	/* no half reply is left behind */
	buf_init(&b, 20);
	assert_int_equal(buf_puts(&b, "before"), 0);
	assert_int_equal(smtp_reply_format(&b, 250, SMTP_STATUS(2, 0, 0),
			     "a\nlonger than the buffer"),
	    PE_FULL);
	assert_int_equal(buf_len(&b), 6);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_kind),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
