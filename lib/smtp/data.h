/*
 * data.h - the body of a message on the wire: check, unstuff, stuff.
 *
 * All three are streams: bytes come in pieces of any size, and where they are
 * cut makes no difference. Nothing is copied: results are slices (struct iovec)
 * of the caller's input, and of constants in between, valid as long as the
 * input is. Sources: RFC 5321 2.3.8, 4.1.1.4, 4.5.2; RFC 3030 section 2.
 */
#ifndef POSTERN_SMTP_DATA_H
#define POSTERN_SMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { SMTP_TEXT_LINE_MAX = 998 }; /* bytes without CRLF (4.5.3.1.6) */

/* What was seen. The first three are reasons to refuse a message. */
enum smtp_data_seen {
	SMTP_DATA_BARE_CR = 1 << 0,
	SMTP_DATA_BARE_LF = 1 << 1,
	SMTP_DATA_NUL = 1 << 2,
	SMTP_DATA_8BIT = 1 << 3,      /* a byte over 127 */
	SMTP_DATA_LONG_LINE = 1 << 4, /* a line over 998 bytes */

	SMTP_DATA_BAD = SMTP_DATA_BARE_CR | SMTP_DATA_BARE_LF | SMTP_DATA_NUL,
};

/*
 * Look at a body as it is stored (no stuffing): for BDAT, which comes by count
 * and must be checked all the same before it may go out by DATA, and inside
 * the decoder.
 */
struct smtp_body_scan {
	uint64_t len;	   /* bytes seen */
	uint64_t line_len; /* of the line that is open, without CRLF */
	uint64_t line_max; /* longest line so far */
	unsigned seen;	   /* set of enum smtp_data_seen */
	bool cr;	   /* the last byte was CR */
	bool bol;	   /* at the beginning of a line */
};

void smtp_body_scan_init(struct smtp_body_scan *s);
void smtp_body_scan(struct smtp_body_scan *s, const void *data, size_t len);

/* No more bytes: a CR at the end is bare, an open line counts as a line. */
void smtp_body_scan_end(struct smtp_body_scan *s);

/*
 * Receive DATA. Only CRLF.CRLF ends it. Bare CR, bare LF and NUL are noted in
 * scan.seen when they come and the input is still eaten up to the true end, so
 * that the 5yz is given in its place and what a smuggler wrote is never read
 * as commands.
 */
struct smtp_data_dec {
	struct smtp_body_scan scan; /* of the decoded body; .len is its size */
	uint8_t state;
	bool done; /* the terminator was read */
};

void smtp_data_dec_init(struct smtp_data_dec *d);

/*
 * Decode data[0..len). The body is iov[0..*ret_n), at most iov_max slices (give
 * 8 or more; at least 2). Returns the bytes consumed: less than len when the
 * end was reached (d->done; the rest are the next commands), or when iov is
 * full (call again with the rest). With d->done nothing is consumed.
 */
size_t smtp_data_dec(struct smtp_data_dec *d, const void *data, size_t len,
    struct iovec *iov, size_t iov_max, size_t *ret_n);

/*
 * Send DATA (or, without stuffing, BDAT). Whatever goes in, only CRLF line
 * ends come out: a bare CR or LF becomes CRLF (RFC 5321 2.3.8), so nothing
 * stored can smuggle. len_out counts what came out, stuffing included.
 */
struct smtp_data_enc {
	uint64_t body_len; /* with CRLF line ends, no stuffing, no terminator:
			      what SIZE= counts (RFC 1870, 6) */
	uint64_t out_len;  /* bytes given out in all */
	bool stuff;
	bool cr;  /* CR went out and its LF did not yet */
	bool bol; /* at the beginning of a line */
};

/* stuff: for DATA. Without: the body as it is, for BDAT. */
void smtp_data_enc_init(struct smtp_data_enc *e, bool stuff);

/*
 * Encode data[0..len) into at most iov_max slices (at least 4). Returns the
 * bytes consumed: less than len when iov is full.
 */
size_t smtp_data_enc(struct smtp_data_enc *e, const void *data, size_t len,
    struct iovec *iov, size_t iov_max, size_t *ret_n);

/*
 * After the last byte: CRLF when the body has no final one (an empty body has
 * none and gets none), and with stuffing the terminator. Fills at most 2
 * slices, returns how many.
 */
size_t smtp_data_enc_end(struct smtp_data_enc *e, struct iovec iov[2]);

#endif
