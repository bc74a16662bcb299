/*
 * test_data.c - the body on the wire: only CRLF.CRLF ends it, wherever the
 * bytes are cut; stuffing and back; what the scan sees.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/smtp/data.h"

#define S(text) text, sizeof(text) - 1
#define CR	SMTP_DATA_BARE_CR
#define LF	SMTP_DATA_BARE_LF
#define NUL	SMTP_DATA_NUL

static const struct {
	const char *name, *in;
	size_t len;
	const char *body;
	size_t body_len;
	size_t consumed;
	bool done;
	unsigned bad;
} cases[] = {
	{ "empty message", S(".\r\n"), S(""), 3, true, 0 },
	{ "one line", S("a\r\n.\r\n"), S("a\r\n"), 6, true, 0 },
	{ "not yet", S("a\r\n.\r"), S("a\r\n"), 5, false, 0 },
	{ "not yet, dot", S("a\r\n."), S("a\r\n"), 4, false, 0 },
	{ "not yet, CR", S("a\r"), S("a\r"), 2, false, 0 },
	{ "pipelined behind", S("a\r\n.\r\nQUIT\r\n"), S("a\r\n"), 6, true, 0 },
	{ "unstuffed", S("..a\r\n...\r\n.b\r\n.\r\n"), S(".a\r\n..\r\nb\r\n"),
	    17, true, 0 },
	{ "dot within", S("a.\r\n.\r\n"), S("a.\r\n"), 7, true, 0 },
	{ "lone stuffed dot", S("..\r\n.\r\n"), S(".\r\n"), 7, true, 0 },
	{ "blank lines", S("\r\n\r\n.\r\n"), S("\r\n\r\n"), 7, true, 0 },
	/* smuggling: none of these ends the data, each is told */
	{ "LF.LF", S("a\n.\nMAIL FROM:<x@y>\r\n.\r\n"),
	    S("a\n.\nMAIL FROM:<x@y>\r\n"), 24, true, LF },
	{ "LF.CRLF", S("a\n.\r\nb\r\n.\r\n"), S("a\n.\r\nb\r\n"), 11, true,
	    LF },
	{ "CRLF.LF", S("a\r\n.\nb\r\n.\r\n"), S("a\r\n\nb\r\n"), 11, true, LF },
	{ "CRLF.CR", S("a\r\n.\rb\r\n.\r\n"), S("a\r\n\rb\r\n"), 11, true, CR },
	{ "CR.CRLF", S("a\r.\r\nb\r\n.\r\n"), S("a\r.\r\nb\r\n"), 11, true,
	    CR },
	{ "CR.CR", S("a\r.\rb\r\n.\r\n"), S("a\r.\rb\r\n"), 10, true, CR },
	{ "CRLF.CRCRLF", S("a\r\n.\r\r\nb\r\n.\r\n"), S("a\r\n\r\r\nb\r\n"), 13,
	    true, CR },
	{ "CRCRLF.CRLF", S("a\r\r\n.\r\n"), S("a\r\r\n"), 7, true, CR },
	{ "CRLF.NUL CRLF", S("a\r\n.\0\r\nb\r\n.\r\n"), S("a\r\n\0\r\nb\r\n"),
	    13, true, NUL },
	{ "CRLF NUL.CRLF", S("a\r\n\0.\r\nb\r\n.\r\n"), S("a\r\n\0.\r\nb\r\n"),
	    13, true, NUL },
	{ "CRLF. CRLF", S("a\r\n. \r\n.\r\n"), S("a\r\n \r\n"), 10, true, 0 },
	{ "LF first", S("\n.\r\n.\r\n"), S("\n.\r\n"), 7, true, LF },
	{ "CR LF CR", S("a\r\n\r.\r\n.\r\n"), S("a\r\n\r.\r\n"), 10, true, CR },
	{ "bare LF in a line", S("a\nb\r\n.\r\n"), S("a\nb\r\n"), 8, true, LF },
	{ "bare CR in a line", S("a\rb\r\n.\r\n"), S("a\rb\r\n"), 8, true, CR },
	{ "both", S("a\rb\n\r\n.\r\n"), S("a\rb\n\r\n"), 9, true, CR | LF },
	{ "NUL", S("a\0b\r\n.\r\n"), S("a\0b\r\n"), 8, true, NUL },
};

/* Decode in pieces of step bytes with room for room slices. */
static size_t
decode(struct smtp_data_dec *d, const char *in, size_t len, size_t step,
    size_t room, char *out, size_t *out_len)
{
	struct iovec iov[16];
	size_t at = 0, n, i, used, piece;
	char *copy;

	smtp_data_dec_init(d);
	*out_len = 0;
	while (at < len && !d->done) {
		piece = len - at < step ? len - at : step;
		copy = malloc(piece); /* its own memory: slices stay inside */
		memcpy(copy, in + at, piece);
		used = smtp_data_dec(d, copy, piece, iov, room, &n);
		assert_true(n <= room);
		assert_true(used > 0);
		for (i = 0; i < n; i++) {
			memcpy(out + *out_len, iov[i].iov_base, iov[i].iov_len);
			*out_len += iov[i].iov_len;
		}
		free(copy);
		at += used;
	}
	return at;
}

static void
test_decode(void **state)
{
	static const size_t rooms[] = { 2, 3, 16 };
	struct smtp_data_dec d;
	char out[256];
	size_t i, step, room, n, used;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (step = 1; step <= cases[i].len; step++) {
			for (room = 0; room < 3; room++) {
				used = decode(&d, cases[i].in, cases[i].len,
				    step, rooms[room], out, &n);
				if (used != cases[i].consumed ||
				    d.done != cases[i].done ||
				    (d.scan.seen & SMTP_DATA_BAD) !=
					cases[i].bad)
					fail_msg("%s by %zu: used %zu done %d "
						 "seen %x",
					    cases[i].name, step, used, d.done,
					    d.scan.seen);
				if (n != cases[i].body_len ||
				    memcmp(out, cases[i].body, n) != 0)
					fail_msg("%s by %zu: body of %zu",
					    cases[i].name, step, n);
				assert_int_equal(d.scan.len, n);
			}
		}
	}
}

/* A long body without dots comes through as one slice, not copied. */
static void
test_no_copy(void **state)
{
	struct smtp_data_dec d;
	struct smtp_data_enc e;
	struct iovec iov[8];
	static char big[100 * 1000];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(big); i += 100) {
		memset(big + i, 'x', 98);
		memcpy(big + i + 98, "\r\n", 2);
	}
	smtp_data_dec_init(&d);
	assert_int_equal(
	    smtp_data_dec(&d, big, sizeof(big), iov, 8, &n), sizeof(big));
	assert_int_equal(n, 1);
	assert_ptr_equal(iov[0].iov_base, big);
	assert_int_equal(iov[0].iov_len, sizeof(big));
	smtp_data_enc_init(&e, true);
	assert_int_equal(
	    smtp_data_enc(&e, big, sizeof(big), iov, 8, &n), sizeof(big));
	assert_int_equal(n, 1);
	assert_ptr_equal(iov[0].iov_base, big);
	assert_int_equal(iov[0].iov_len, sizeof(big));
}

static void
test_scan(void **state)
{
	struct smtp_body_scan s;
	static char line[2000];

	(void)state;
	memset(line, 'x', sizeof(line));
	smtp_body_scan_init(&s);
	smtp_body_scan(&s, line, 998);
	smtp_body_scan(&s, S("\r\n"));
	assert_int_equal(s.seen, 0);
	assert_int_equal(s.line_max, 998);
	smtp_body_scan(&s, line, 500);
	smtp_body_scan(&s, line, 499);
	assert_int_equal(s.seen, SMTP_DATA_LONG_LINE);
	smtp_body_scan_end(&s);
	assert_int_equal(s.line_max, 999);
	assert_int_equal(s.len, 998 + 2 + 999);
	assert_false(s.bol);

	smtp_body_scan_init(&s);
	smtp_body_scan(&s, S("caf\xc3\xa9\r"));
	assert_int_equal(s.seen, SMTP_DATA_8BIT);
	smtp_body_scan_end(&s); /* the CR has nothing behind it */
	assert_int_equal(s.seen, SMTP_DATA_8BIT | SMTP_DATA_BARE_CR);

	smtp_body_scan_init(&s);
	smtp_body_scan(&s, S("a\r"));
	smtp_body_scan(&s, S("\nb\r\n"));
	smtp_body_scan_end(&s);
	assert_int_equal(s.seen, 0);
	assert_true(s.bol);
	assert_int_equal(s.line_max, 1);
}

static const struct {
	const char *in;
	size_t len;
	const char *wire; /* with stuffing and terminator */
	const char *plain;
	size_t plain_len; /* for BDAT: what SIZE counts as well */
} enc_cases[] = {
	{ S(""), ".\r\n", S("") },
	{ S("a\r\n"), "a\r\n.\r\n", S("a\r\n") },
	{ S("a"), "a\r\n.\r\n", S("a\r\n") },
	{ S("."), "..\r\n.\r\n", S(".\r\n") },
	{ S(".a\r\n.\r\n..\r\n"), "..a\r\n..\r\n...\r\n.\r\n",
	    S(".a\r\n.\r\n..\r\n") },
	{ S("a.b\r\n"), "a.b\r\n.\r\n", S("a.b\r\n") },
	{ S("\r\n"), "\r\n.\r\n", S("\r\n") },
	{ S("a\r\n\r\n"), "a\r\n\r\n.\r\n", S("a\r\n\r\n") },
	/* nothing bare gets out (SMUG-03) */
	{ S("a\n.\nb"), "a\r\n..\r\nb\r\n.\r\n", S("a\r\n.\r\nb\r\n") },
	{ S("a\r.\rb"), "a\r\n..\r\nb\r\n.\r\n", S("a\r\n.\r\nb\r\n") },
	{ S("a\r\n.\r"), "a\r\n..\r\n.\r\n", S("a\r\n.\r\n") },
	{ S("a\r\r\n"), "a\r\n\r\n.\r\n", S("a\r\n\r\n") },
	{ S("a\n\rb"), "a\r\n\r\nb\r\n.\r\n", S("a\r\n\r\nb\r\n") },
	{ S("a\r"), "a\r\n.\r\n", S("a\r\n") },
	{ S("a\n"), "a\r\n.\r\n", S("a\r\n") },
	{ S("\n"), "\r\n.\r\n", S("\r\n") },
	{ S("\r"), "\r\n.\r\n", S("\r\n") },
	{ S("\n\n..\n"), "\r\n\r\n...\r\n.\r\n", S("\r\n\r\n..\r\n") },
};

static size_t
encode(struct smtp_data_enc *e, bool stuff, const char *in, size_t len,
    size_t step, size_t room, char *out)
{
	struct iovec iov[16];
	size_t at = 0, total = 0, n, i, used, piece;
	char *copy;

	smtp_data_enc_init(e, stuff);
	while (at < len) {
		piece = len - at < step ? len - at : step;
		copy = malloc(piece);
		memcpy(copy, in + at, piece);
		used = smtp_data_enc(e, copy, piece, iov, room, &n);
		assert_true(n <= room);
		assert_true(used > 0);
		for (i = 0; i < n; i++) {
			memcpy(out + total, iov[i].iov_base, iov[i].iov_len);
			total += iov[i].iov_len;
		}
		free(copy);
		at += used;
	}
	n = smtp_data_enc_end(e, iov);
	assert_true(n <= 2);
	for (i = 0; i < n; i++) {
		memcpy(out + total, iov[i].iov_base, iov[i].iov_len);
		total += iov[i].iov_len;
	}
	assert_int_equal(e->out_len, total);
	return total;
}

static void
test_encode(void **state)
{
	struct smtp_data_enc e;
	struct smtp_data_dec d;
	char out[256], back[256];
	size_t i, step, room, n, m;

	(void)state;
	for (i = 0; i < sizeof(enc_cases) / sizeof(enc_cases[0]); i++) {
		for (step = 1; step <= enc_cases[i].len + 1; step++) {
			for (room = 4; room <= 16; room += 6) {
				n = encode(&e, true, enc_cases[i].in,
				    enc_cases[i].len, step, room, out);
				if (n != strlen(enc_cases[i].wire) ||
				    memcmp(out, enc_cases[i].wire, n) != 0)
					fail_msg("row %zu by %zu: %.*s", i,
					    step, (int)n, out);
				assert_int_equal(
				    e.body_len, enc_cases[i].plain_len);
				(void)decode(&d, out, n, step, 8, back, &m);
				assert_true(d.done);
				assert_int_equal(d.scan.seen, 0);
				assert_int_equal(m, enc_cases[i].plain_len);
				assert_memory_equal(
				    back, enc_cases[i].plain, m);

				n = encode(&e, false, enc_cases[i].in,
				    enc_cases[i].len, step, room, out);
				assert_int_equal(n, enc_cases[i].plain_len);
				assert_memory_equal(out, enc_cases[i].plain, n);
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_no_copy),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
