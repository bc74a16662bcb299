/*
 * bounce.h - the text of a delivery status notice. Pure: facts in, bytes out.
 *
 * Sources: RFC 3464 (the report), RFC 3461 section 6 (its envelope and fields),
 * RFC 6522 (multipart/report), RFC 6533 (UTF-8 addresses), RFC 3834 (labels),
 * RFC 8689 section 5 (REQUIRETLS). Clause numbers in the code are theirs.
 */
#ifndef POSTERN_QUEUE_BOUNCE_H
#define POSTERN_QUEUE_BOUNCE_H

#include "lib/proto/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum bounce_action { BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_RELAYED };

enum { BOUNCE_HEADERS_MAX = 64 * 1024 }; /* of the original; cut above */

struct bounce_rcpt {
	enum bounce_action action;
	const char *address;		   /* as it was in RCPT */
	const char *orcpt;		   /* as received, "" when absent */
	bool expired;			   /* failed because time ran out */
	enum reason reason;		   /* of the last attempt */
	uint16_t code;			   /* SMTP code of it, 0: no reply */
	const char *status, *reply, *host; /* of it; "" */
	int64_t last_s;			   /* last attempt; 0: never */
	int64_t until_s;		   /* delayed: tried until then */
};

struct bounce {
	const char *hostname; /* ours: Reporting-MTA, From, Message-ID */
	uint64_t mid;	      /* of the notice */
	int64_t now_s;
	const char *to;	     /* who is told */
	const char *subject; /* of the profile; NULL: built in */
	const char *intro;   /* text of the profile; NULL: built in */
	/* the message it is about */
	uint64_t origin;
	int64_t arrival_s;
	const char *envid; /* xtext as received, "" when absent */
	/* what of it comes along: its bytes (may be cut at the end of the
	 * header), and whether these are all */
	const uint8_t *original;
	size_t original_len;
	bool full;
	const struct bounce_rcpt *rcpts;
	size_t n_rcpts;
};

struct bounce_out {
	bool eight_bit; /* MSG_8BIT and MSG_BODY_8BITMIME */
	bool utf8;	/* MSG_SMTPUTF8: the reader's path has it */
};

/* Append the whole message, CRLF lines. 0, PE_FULL or -ENOMEM. */
int bounce_format(
    struct buf *out, const struct bounce *b, struct bounce_out *ret);

/* Length of the header section of a message, with its empty line. */
size_t bounce_header_len(const uint8_t *data, size_t len);

/* The status that a notice gives (RFC 3463): our own where the failure is
 * ours, else the remote's, else 5.0.0 or 4.0.0. Writes up to 16 bytes. */
const char *bounce_status(const struct bounce_rcpt *rc, char buf[16]);

/* One sentence for people. */
const char *bounce_reason_text(enum reason reason);

#endif
