/*
 * header.h - the header section of a message: walk it, watch it go by, and
 * write our Received field.
 *
 * Sources: RFC 5322 2.2, 3.6; RFC 5321 4.4; RFC 3848 and 6531 4.3 (with);
 * RFC 8689 section 5 (TLS-Required).
 */
#ifndef POSTERN_MAIL_HEADER_H
#define POSTERN_MAIL_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* One field; pointers into the caller's bytes. */
struct mail_field {
	const char *name; /* as written, without colon and space before it */
	size_t name_len;
	const char *value; /* behind the colon, white space at both ends left
			      out, folds (CRLF SP) inside */
	size_t value_len;
	const char *raw; /* the whole field with its last line end */
	size_t raw_len;
	bool folded; /* more than one line */
};

struct mail_walk {
	const char *buf;
	size_t len;
	size_t at;	 /* next byte; after the end: where the body starts */
	bool blank_line; /* the empty line that ends the header was there */
};

/* Start at the first byte of a message. Borrows buf for the whole walk. */
void mail_walk_init(struct mail_walk *w, const void *buf, size_t len);

/*
 * The next field. 1 with *ret_field filled; 0 at the end of the header: at the
 * empty line (w->at is behind it), at the end of the bytes, or at a line that
 * is no field (w->at is that line, which RFC 5322 leaves undefined and which
 * belongs to the body for everybody who reads mail). Lines end in CRLF; a bare
 * LF counts as well, since stored local mail may have it.
 */
int mail_walk_next(struct mail_walk *w, struct mail_field *ret_field);

/* Does the field have this name, in any case? */
bool mail_field_is(const struct mail_field *f, const char *name);

/*
 * The value unfolded into buf: line ends removed, each fold one space, control
 * bytes left out, cut at cap - 1, terminated. Returns the length.
 */
size_t mail_field_unfold(const struct mail_field *f, char *buf, size_t cap);

/*
 * Watch a message go by in pieces of any size, with bounded memory, and learn
 * what intake and queue need of its header.
 */
enum { MAIL_CAPTURE = 512 }; /* bytes kept of a value, unfolded, + NUL */

struct mail_scan {
	/* results */
	unsigned received;    /* fields Received: so far */
	bool done;	      /* the header is over; more bytes are ignored */
	bool tls_required_no; /* TLS-Required: No, and nothing but (RFC 8689,
				 5: at most once, else it does not count) */
	bool eight_bit;	      /* the header has bytes over 127 */
	bool has_message_id, has_subject, has_from, has_date;
	uint64_t header_len; /* bytes up to and with the empty line */
	uint64_t len;	     /* bytes seen in all */
	char message_id[MAIL_CAPTURE + 1]; /* first one; "" when absent */
	char subject[MAIL_CAPTURE + 1];
	char from[MAIL_CAPTURE + 1];

	/* inside */
	uint8_t state;
	uint8_t field;	  /* which of the known fields is open, or none */
	uint64_t line_at; /* where the line that is being read began */
	size_t name_len, value_len;
	char name[32];
	char value[MAIL_CAPTURE + 1];
	unsigned tls_required; /* fields seen */
};

void mail_scan_init(struct mail_scan *s);
void mail_scan(struct mail_scan *s, const void *data, size_t len);

/* No more bytes: a message may end within its header. */
void mail_scan_end(struct mail_scan *s);

/* Our Received field (RFC 5321, 4.4). Strings are borrowed, NULL = absent. */
struct mail_received {
	const char *helo;	 /* as the client gave it; NULL for none */
	const char *client_name; /* its name by DNS, or NULL */
	const char *client_ip;	 /* text; a ':' makes it an IPv6 literal */
	const char *by;		 /* our host name */
	bool esmtp;		 /* EHLO, not HELO */
	bool tls, auth, utf8;	 /* of the transaction */
	const char *tls_text;	 /* "TLSv1.3 TLS_AES_256_GCM_SHA384": comment */
	const char *id;		 /* our name for the message */
	const char *rcpt; /* FOR: only with a single recipient, so that no
				    recipient learns of another */
	int64_t time_s;	  /* Unix seconds */
};

/*
 * Append the field, folded, with its CRLF. Text from outside cannot break it:
 * control bytes, brackets and backslashes within comments, and spaces where
 * none may be become '?'. 0, PE_FULL or -ENOMEM.
 */
int mail_received_format(struct buf *out, const struct mail_received *r);

/* The with-keyword: SMTP, ESMTP(S)(A), UTF8SMTP(S)(A). Static. */
const char *mail_received_with(bool esmtp, bool tls, bool auth, bool utf8);

#endif
