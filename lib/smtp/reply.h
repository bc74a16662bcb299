/*
 * reply.h - SMTP replies: read one from a byte stream, judge it, write ours.
 *
 * Sources: RFC 5321 sections 4.2, 4.3.2, 4.5.3.1.5; RFC 2034 section 4.
 */
#ifndef POSTERN_SMTP_REPLY_H
#define POSTERN_SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/smtp/status.h"

struct buf;

enum {
	SMTP_REPLY_LINE_MAX =
	    2048,		/* bytes of a line with CRLF; RFC says 512 */
	SMTP_REPLY_MAX = 16384, /* bytes of a whole reply on the wire */
	SMTP_REPLY_LINES_MAX = 256,
};

/*
 * One reply. Large: keep it on the stack, and keep only parts of it.
 * text is what stood behind the codes, lines joined by '\n', enhanced codes
 * included, terminated; it may hold NUL and any control byte but LF: escape
 * it before it goes anywhere (log, DSN).
 */
struct smtp_reply {
	int code;		   /* 200..599 */
	struct smtp_status status; /* the first one whose class agrees with the
				      code (RFC 2034, 4), or none */
	unsigned lines;
	const char *error; /* after a negative return: what is wrong, static */
	size_t text_len;
	char text[SMTP_REPLY_MAX];
};

/*
 * Parse the next reply in buf[0..len). Borrows buf; copies the text.
 *
 * Returns the bytes consumed when *ret_reply was filled; 0 when more are
 * needed; PE_SYNTAX when the bytes are no reply (code not three digits or its
 * first not 2-5, something other than SP, '-' or CRLF behind it, codes that
 * differ within one reply, a line ended by bare LF); PE_TOO_LONG over one of
 * the limits above. An error is told as soon as the bytes that make it are
 * there, so nobody ever has to hold more than SMTP_REPLY_MAX bytes.
 * A code without text, with or without SP, is fine (RFC 5321, 4.2). The end of
 * a line is CRLF only (2.3.8); a lone CR is text.
 */
ssize_t smtp_reply_parse(
    const void *buf, size_t len, struct smtp_reply *ret_reply);

/*
 * The text without the enhanced codes, lines joined by '\n', terminated and
 * cut at cap. Codes are removed where they are what reply->status says.
 * Returns the length written.
 */
size_t smtp_reply_bare_text(
    const struct smtp_reply *reply, char *buf, size_t cap);

/* The next line of text: *at starts at 0; NULL at the end. */
const char *smtp_reply_line(
    const struct smtp_reply *reply, size_t *at, size_t *ret_len);

/* What the first digit says (RFC 5321, 4.2.1; unknown codes too, 4.3.2). */
enum smtp_kind {
	SMTP_KIND_OK = 2,    /* 2yz */
	SMTP_KIND_MORE = 3,  /* 3yz: go on */
	SMTP_KIND_LATER = 4, /* 4yz: try again later */
	SMTP_KIND_NEVER = 5, /* 5yz: do not repeat */
};

/* Which command a reply answers, as far as it changes the judgement. */
enum smtp_stage {
	SMTP_STAGE_GREETING,
	SMTP_STAGE_EHLO,
	SMTP_STAGE_STARTTLS,
	SMTP_STAGE_AUTH,
	SMTP_STAGE_MAIL,
	SMTP_STAGE_RCPT,       /* no recipient accepted yet */
	SMTP_STAGE_RCPT_AFTER, /* at least one was accepted before */
	SMTP_STAGE_DATA,
	SMTP_STAGE_DOT, /* the final answer, also to BDAT LAST */
	SMTP_STAGE_OTHER,
};

/*
 * Judge code in its place. Beyond the first digit: 552 to RCPT after others
 * were accepted means "too many" and is LATER (RFC 5321, 4.5.3.1.10); a reply
 * of 2yz to DATA or of 3yz where no data is asked for is out of place and
 * LATER, because doubt means deferred.
 */
enum smtp_kind smtp_reply_kind(int code, enum smtp_stage stage);

/*
 * The server goes away with this reply: 421 anywhere (3.8), and 521 or 554 as
 * greeting (RFC 7504, 3; 5321, 3.1). A 421 is never a verdict on a recipient.
 */
bool smtp_reply_closes(int code, enum smtp_stage stage);

/*
 * Append a reply of ours. text may have several lines parted by '\n'; each
 * becomes a line of the reply, and each repeats the status unless it is none
 * (RFC 2034, 4). Bytes other than printable ASCII become '?', since a client may
 * not have asked for UTF-8 (RFC 6531, 3.7.4). Lines are cut into more lines, at a space where there is one, so
 * that none is over 512 octets. 0, PE_FULL or -ENOMEM.
 */
int smtp_reply_format(
    struct buf *out, int code, struct smtp_status st, const char *text);

#endif
