/*
 * Notices against golden files. With GOLDEN_WRITE=1 in the environment they are
 * written anew; look at the difference before you keep it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "queue/bounce.h"

#define ORIGINAL                                                     \
	"Received: from client by gw.example.net; Tue, 24 Nov 2026 " \
	"07:40:00 +0000\r\n"                                         \
	"From: Alice <alice@sender.example>\r\n"                     \
	"To: bob@rcpt.example\r\n"                                   \
	"Subject: Minutes of the meeting\r\n"                        \
	"Message-ID: <1@sender.example>\r\n"                         \
	"\r\n"                                                       \
	"Dear Bob,\r\nhere they are.\r\n"

#define ORIGINAL_UTF8                                        \
	"From: J\303\266rg <j\303\266rg@sender.example>\r\n" \
	"Subject: Gr\303\274\303\237e\r\n"                   \
	"\r\n"                                               \
	"Sch\303\266ne Gr\303\274\303\237e\r\n"

#define ORIGINAL_8BIT                                 \
	"From: Alice <alice@sender.example>\r\n"      \
	"Subject: Greetings\r\n"                      \
	"MIME-Version: 1.0\r\n"                       \
	"Content-Type: text/plain; charset=utf-8\r\n" \
	"Content-Transfer-Encoding: 8bit\r\n"         \
	"\r\n"                                        \
	"Sch\303\266ne Gr\303\274\303\237e\r\n"

static const struct bounce_rcpt failed_one[] = { {
    .action = BOUNCE_FAILED,
    .address = "Bob@rcpt.example",
    .orcpt = "rfc822;Bob+40rcpt.example",
    .reason = REASON_REMOTE_5XX,
    .code = 550,
    .status = "5.1.1",
    .reply = "5.1.1 <Bob@rcpt.example>: Recipient address rejected: User "
	     "unknown in virtual mailbox table\n5.1.1 see "
	     "https://rcpt.example/help",
    .host = "mx1.rcpt.example",
    .last_s = 1795506000,
} };

static const struct bounce_rcpt mixed[] = {
	{ .action = BOUNCE_FAILED,
	    .address = "bob@rcpt.example",
	    .orcpt = "",
	    .reason = REASON_REMOTE_5XX,
	    .code = 550,
	    .status = "",
	    .reply = "no such user",
	    .host = "mx1.rcpt.example",
	    .last_s = 1795506000 },
	{ .action = BOUNCE_FAILED,
	    .address = "carol@slow.example",
	    .orcpt = "",
	    .expired = true,
	    .reason = REASON_REMOTE_4XX,
	    .code = 421,
	    .status = "4.3.2",
	    .reply = "try again later",
	    .host = "mx.slow.example",
	    .last_s = 1795506000 },
	{ .action = BOUNCE_FAILED,
	    .address = "dave@tls.example",
	    .orcpt = "",
	    .expired = true,
	    .reason = REASON_CERT_NAME_MISMATCH,
	    .status = "4.7.5",
	    .reply = "certificate of mx.tls.example is for other.example",
	    .host = "",
	    .last_s = 0 },
	{ .action = BOUNCE_DELAYED,
	    .address = "erin@busy.example",
	    .orcpt = "",
	    .reason = REASON_REMOTE_4XX,
	    .code = 451,
	    .status = "4.2.1",
	    .reply = "mailbox busy",
	    .host = "mx.busy.example",
	    .last_s = 1795506000,
	    .until_s = 1795765200 },
	{ .action = BOUNCE_RELAYED,
	    .address = "frank@old.example",
	    .orcpt = "",
	    .reason = REASON_NONE,
	    .code = 250,
	    .status = "",
	    .reply = "ok",
	    .host = "mx.old.example",
	    .last_s = 1795506000 },
};

static const struct bounce_rcpt null_mx[] = { {
    .action = BOUNCE_FAILED,
    .address = "x@null.example",
    .orcpt = "",
    .reason = REASON_NULL_MX,
    .code = 0,
    .status = "5.1.10",
    .reply = "the domain accepts no mail (null MX)",
    .host = "",
    .last_s = 1795506000,
} };

static const struct bounce_rcpt utf8_rcpt[] = { {
    .action = BOUNCE_FAILED,
    .address = "\303\274ser@rcpt.example",
    .orcpt = "utf-8;\\x{FC}ser@rcpt.example",
    .reason = REASON_REMOTE_5XX,
    .code = 550,
    .status = "5.1.1",
    .reply = "unbekannter Empf\303\244nger",
    .host = "mx1.rcpt.example",
    .last_s = 1795506000,
} };

static const struct bounce_rcpt hostile[] = { {
    .action = BOUNCE_FAILED,
    .address = "bob@rcpt.example",
    .orcpt = "rfc822;bob+0D+0AX-Evil:+20yes",
    .reason = REASON_REMOTE_5XX,
    .code = 554,
    .status = "4.0.0 nonsense",
    .reply = "no\r\n\r\n--=_77.1795506001/postern\r\nX-Evil: yes\r\n\t\001\377",
    .host = "mx1.rcpt.example",
    .last_s = 1795506000,
} };

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X1000                                                               \
	X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50 \
	    X50 X50 X50
static const struct bounce_rcpt endless[] = { {
    .action = BOUNCE_FAILED,
    .address = "bob@rcpt.example",
    .orcpt = "",
    .reason = REASON_REMOTE_5XX,
    .code = 554,
    .status = "5.7.1",
    .reply = X1000,
    .host = "mx1.rcpt.example",
    .last_s = 1795506000,
} };

#define TEXT(s) (const uint8_t *)(s), sizeof(s) - 1

static const struct {
	const char *name, *to, *subject, *intro, *envid;
	const uint8_t *original;
	size_t original_len;
	bool full;
	const struct bounce_rcpt *rcpts;
	size_t n;
	bool want_eight_bit, want_utf8;
} cases[] = {
	{ "failed-full", "alice@sender.example", NULL, NULL, "QQ+2B314",
	    TEXT(ORIGINAL), true, failed_one, 1, false, false },
	{ "failed-full-8bit", "alice@sender.example", NULL, NULL, "",
	    TEXT(ORIGINAL_8BIT), true, failed_one, 1, true, false },
	{ "failed-headers-8bit", "alice@sender.example", NULL, NULL, "",
	    TEXT(ORIGINAL_8BIT), false, failed_one, 1, false, false },
	{ "failed-headers", "alice@sender.example", NULL, NULL, "",
	    TEXT(ORIGINAL), false, failed_one, 1, false, false },
	{ "mixed", "alice@sender.example", NULL, NULL, "", TEXT(ORIGINAL),
	    false, mixed, 5, false, false },
	{ "delayed", "alice@sender.example", NULL, NULL, "", TEXT(ORIGINAL),
	    false, mixed + 3, 1, false, false },
	{ "relayed", "alice@sender.example", NULL, NULL, "", TEXT(ORIGINAL),
	    false, mixed + 4, 1, false, false },
	{ "null-mx", "alice@sender.example", NULL, NULL, "", TEXT(ORIGINAL),
	    true, null_mx, 1, false, false },
	{ "utf8-to-ascii", "alice@sender.example", NULL, NULL, "",
	    TEXT(ORIGINAL_UTF8), false, utf8_rcpt, 1, false, false },
	{ "utf8-to-utf8", "j\303\266rg@sender.example", NULL, NULL, "",
	    TEXT(ORIGINAL_UTF8), true, utf8_rcpt, 1, true, true },
	{ "hostile", "alice@sender.example", NULL, NULL, "a+0Ab",
	    TEXT("From: x\r\nNo-End: of header"), true, hostile, 1, false,
	    false },
	{ "template", "alice@sender.example", "Mail is back",
	    "Please call the help desk,\nextension 42.", "", TEXT(ORIGINAL),
	    true, failed_one, 1, false, false },
	{ "endless", "alice@sender.example", NULL, NULL, "", TEXT(ORIGINAL),
	    false, endless, 1, false, false },
	{ "no-body", "alice@sender.example", NULL, NULL, "", TEXT(""), false,
	    failed_one, 1, false, false },
};

static char *
read_file(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "rb");
	char *p;

	if (f == NULL)
		return NULL;
	p = malloc((1 << 20) + 1);
	assert_non_null(p);
	*ret_len = fread(p, 1, 1 << 20, f);
	(void)fclose(f);
	return p;
}

static void
write_file(const char *path, const struct buf *b)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(buf_data(b), 1, buf_len(b), f), buf_len(b));
	(void)fclose(f);
}

/* What every notice must be, whatever the golden file says. */
static void
check_form(const struct buf *b, bool eight_bit)
{
	const uint8_t *p = buf_data(b);
	size_t i, line = 0;

	for (i = 0; i < buf_len(b); i++) {
		assert_true(p[i] != '\n' || (i > 0 && p[i - 1] == '\r'));
		assert_true(eight_bit || p[i] < 0x80);
		line = p[i] == '\n' ? 0 : line + 1;
		assert_true(line <= 998);
	}
}

static void
test_golden(void **state)
{
	char path[256];
	struct bounce_out out;
	struct buf b;
	size_t i, len = 0;
	char *want;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bounce in = {
			.hostname = "gw.example.net",
			.mid = 77,
			.now_s = 1795506001,
			.to = cases[i].to,
			.subject = cases[i].subject,
			.intro = cases[i].intro,
			.origin = 6,
			.arrival_s = 1795246800,
			.envid = cases[i].envid,
			.original = cases[i].original,
			.original_len = cases[i].original_len,
			.full = cases[i].full,
			.rcpts = cases[i].rcpts,
			.n_rcpts = cases[i].n,
		};

		buf_init(&b, 1 << 20);
		assert_int_equal(bounce_format(&b, &in, &out), 0);
		assert_int_equal(out.eight_bit, cases[i].want_eight_bit);
		assert_int_equal(out.utf8, cases[i].want_utf8);
		check_form(&b, out.eight_bit);
		snprintf(path, sizeof(path), "tests/queue/golden/%s.eml",
		    cases[i].name);
		if (getenv("GOLDEN_WRITE") != NULL)
			write_file(path, &b);
		want = read_file(path, &len);
		if (want == NULL)
			fail_msg("no %s", path);
		if (len != buf_len(&b) || memcmp(want, buf_data(&b), len) != 0)
			fail_msg("%s differs:\n%.*s", path, (int)buf_len(&b),
			    (const char *)buf_data(&b));
		free(want);
		buf_done(&b);
	}
}

/* An 8-bit part makes the whole 8-bit, and says so (RFC 2045, 6.4). */
static void
test_eight_bit_label(void **state)
{
	static const char label[] = "Content-Transfer-Encoding: 8bit\r\n";
	char *text;
	size_t len = 0, i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[256];
		const char *end, *at;

		snprintf(path, sizeof(path), "tests/queue/golden/%s.eml",
		    cases[i].name);
		text = read_file(path, &len);
		assert_non_null(text);
		text[len] = '\0';
		end = strstr(text, "\r\n\r\n");
		at = strstr(text, label);
		assert_int_equal(
		    at != NULL && at < end, cases[i].want_eight_bit);
		free(text);
	}
}

/* Action and class of Status agree; the reply's first digit decides. */
static void
test_status(void **state)
{
	static const struct {
		enum bounce_action action;
		bool expired;
		uint16_t code;
		const char *status, *want;
	} t[] = {
		{ BOUNCE_FAILED, false, 550, "5.1.1", "5.1.1" },
		{ BOUNCE_FAILED, false, 550, "4.2.1", "5.2.1" },
		{ BOUNCE_FAILED, false, 550, "2.0.0", "5.0.0" },
		{ BOUNCE_FAILED, false, 550, "", "5.0.0" },
		{ BOUNCE_FAILED, false, 0, "4.4.4", "5.4.4" },
		{ BOUNCE_FAILED, true, 450, "4.2.1", "4.4.7" },
		{ BOUNCE_DELAYED, false, 450, "5.7.1", "4.7.1" },
		{ BOUNCE_DELAYED, false, 450, "4.7.1", "4.7.1" },
		{ BOUNCE_DELAYED, false, 450, "", "4.0.0" },
		{ BOUNCE_RELAYED, false, 250, "2.1.5", "2.1.5" },
		{ BOUNCE_RELAYED, false, 250, "5.1.5", "2.0.0" },
	};
	char buf[16];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct bounce_rcpt rc = { .action = t[i].action,
			.expired = t[i].expired,
			.code = t[i].code,
			.status = t[i].status };

		assert_string_equal(bounce_status(&rc, buf), t[i].want);
	}
}

/* Names and ids that break out of their line, or are not printable. */
static void
test_no_injection(void **state)
{
	struct bounce_rcpt rc = { .action = BOUNCE_FAILED,
		.address = "c@d.example",
		.orcpt = "rfc822;c+07+40d.example",
		.reason = REASON_REMOTE_5XX,
		.code = 550,
		.status = "5.1.1",
		.reply = "no",
		.host = "mx.d.example\r\nX-Evil: yes" };
	struct bounce in = { .hostname = "gw.example.net",
		.to = "a@b.example",
		.envid = "+1B[31m",
		.original = (const uint8_t *)ORIGINAL,
		.original_len = sizeof(ORIGINAL) - 1,
		.rcpts = &rc,
		.n_rcpts = 1 };
	struct bounce_out out;
	const char *text;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	assert_int_equal(bounce_format(&b, &in, &out), 0);
	assert_int_equal(buf_put(&b, "", 1), 0);
	text = (const char *)buf_data(&b);
	assert_null(strstr(text, "\nX-Evil"));
	assert_null(strpbrk(text, "\007\033"));
	assert_null(strstr(text, "Original-Envelope-Id"));
	assert_non_null(strstr(text, "Final-Recipient: rfc822; c@d.example"));
	buf_done(&b);
}

static void
test_bound(void **state)
{
	struct bounce in = { .hostname = "gw.example.net",
		.to = "a@b.example",
		.envid = "",
		.original = (const uint8_t *)ORIGINAL,
		.original_len = sizeof(ORIGINAL) - 1,
		.rcpts = failed_one,
		.n_rcpts = 1 };
	struct bounce_out out;
	struct buf b;
	size_t max;

	(void)state;
	for (max = 0; max < 1500; max += 7) {
		buf_init(&b, max);
		assert_true(bounce_format(&b, &in, &out) < 0);
		buf_done(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_eight_bit_label),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_no_injection),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
