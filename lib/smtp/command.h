/*
 * command.h - one command line of a client, taken apart and checked.
 *
 * Called by smtpd with a line as it came (without its CRLF), by tests and the
 * fuzzer. What depends on the session (order of commands, rights, limits of
 * recipients) is not here; what depends on the line alone is, with the reply
 * to give. Sources: RFC 5321 4.1.1 and 4.1.2, 1870, 3030, 3207, 3461, 4954,
 * 6152, 6531, 8689.
 *
 * Tolerated on purpose: spaces behind the colon of "MAIL FROM:" and "RCPT
 * TO:", which many clients of an organisation send against RFC 5321 3.3;
 * several spaces where the grammar has one; white space at the end (4.1.1);
 * underscores in the name of EHLO and HELO. Not tolerated: a path without
 * brackets, a space before the colon, control bytes anywhere.
 */
#ifndef POSTERN_SMTP_COMMAND_H
#define POSTERN_SMTP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/mail/addr.h"
#include "lib/smtp/status.h"

enum smtp_verb {
	SMTP_VERB_NONE, /* not known, or no command at all */
	SMTP_VERB_HELO,
	SMTP_VERB_EHLO,
	SMTP_VERB_MAIL,
	SMTP_VERB_RCPT,
	SMTP_VERB_DATA,
	SMTP_VERB_BDAT,
	SMTP_VERB_RSET,
	SMTP_VERB_NOOP,
	SMTP_VERB_QUIT,
	SMTP_VERB_VRFY,
	SMTP_VERB_EXPN,
	SMTP_VERB_HELP,
	SMTP_VERB_STARTTLS,
	SMTP_VERB_AUTH,
	SMTP_VERB_COUNT,
};

/* Limits of a line, in bytes without CRLF. */
enum {
	SMTP_LINE_MAX = 510,	    /* RFC 5321 4.5.3.1.4 */
	SMTP_LINE_PATH_MAX = 2046,  /* MAIL, RCPT: room for all parameters */
	SMTP_LINE_AUTH_MAX = 12286, /* RFC 4954, 4 */
	SMTP_ENVID_MAX = 100,	    /* RFC 3461, 4.4 */
	SMTP_ORCPT_MAX = 500,	    /* RFC 3461, 4.2 */
	SMTP_AUTH_PARAM_MAX = 500,  /* RFC 4954, 3 */
};

/* Bytes of the caller's line, not terminated. p is NULL when absent. */
struct smtp_span {
	const char *p;
	size_t len;
};

enum smtp_body {
	SMTP_BODY_NONE,
	SMTP_BODY_7BIT,
	SMTP_BODY_8BIT,
	SMTP_BODY_BINARY
};
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };

/* NOTIFY as a set; 0 = not given. NEVER stands alone (RFC 3461, 4.1). */
enum smtp_notify {
	SMTP_NOTIFY_NEVER = 1 << 0,
	SMTP_NOTIFY_SUCCESS = 1 << 1,
	SMTP_NOTIFY_FAILURE = 1 << 2,
	SMTP_NOTIFY_DELAY = 1 << 3,
};

/* A refusal, ready for smtp_reply_format(). code 0: there is none. */
struct smtp_refusal {
	int code;
	struct smtp_status status;
	const char *text; /* static */
};

struct smtp_command {
	enum smtp_verb verb;

	/* HELO, EHLO: name or literal. VRFY, EXPN, HELP, NOOP: the rest.
	 * AUTH: the mechanism as written. */
	struct smtp_span arg;
	bool arg_literal; /* HELO, EHLO: an address literal */

	/* AUTH: the base64 behind the mechanism; p NULL when there is none;
	 * "=" gives an empty response: p set, len 0 (RFC 4954, 4). */
	struct smtp_span initial;

	/* MAIL, RCPT */
	struct addr path;
	bool null_path;	 /* MAIL FROM:<> */
	bool postmaster; /* RCPT TO:<Postmaster>, without domain */

	/* MAIL */
	bool has_size;
	uint64_t size; /* UINT64_MAX when larger than that */
	enum smtp_body body;
	bool smtputf8;
	bool requiretls;
	enum smtp_ret ret;
	struct smtp_span envid; /* checked xtext, as received */
	struct smtp_span auth;	/* checked xtext, or "<>" */

	/* RCPT */
	unsigned notify;	/* set of enum smtp_notify */
	struct smtp_span orcpt; /* checked "type;xtext", as received */

	/* BDAT */
	uint64_t chunk_len;
	bool last;
};

/*
 * Take line[0..len) apart. Borrows the line; *ret_cmd points into it.
 *
 * offered is the set of enum smtp_ext (lib/smtp/ehlo.h) that our EHLO reply
 * offered in this session: a parameter of another extension is unknown (555),
 * and so is a verb (STARTTLS, AUTH, BDAT: 502). utf8_rcpt says that the MAIL
 * of this transaction had SMTPUTF8, so RCPT may hold UTF-8.
 *
 * Returns 0, or PE_SYNTAX, and then *ret_refusal is the reply to give:
 *   500 5.5.1 verb not known      500 5.5.2 line too long, control bytes
 *   501 5.5.4 arguments           501 5.1.7 / 5.1.3 MAIL / RCPT path
 *   502 5.5.1 verb not offered    553 5.6.7 UTF-8 path without SMTPUTF8
 *   555 5.5.4 parameter not known
 * ret_cmd->verb is set in both cases, as far as it could be read.
 */
int smtp_command_parse(const char *line, size_t len, uint32_t offered,
    bool utf8_rcpt, struct smtp_command *ret_cmd,
    struct smtp_refusal *ret_refusal);

/* "MAIL"; "?" for SMTP_VERB_NONE. Static. */
const char *smtp_verb_name(enum smtp_verb verb);

/*
 * NOTIFY as it is written on the wire ("SUCCESS,DELAY"), into buf; "" for 0.
 * 32 bytes are enough. Returns buf.
 */
const char *smtp_notify_format(unsigned notify, char buf[32]);

/* "7BIT", "8BITMIME", "BINARYMIME", or NULL for none. Static. */
const char *smtp_body_name(enum smtp_body body);

#endif
