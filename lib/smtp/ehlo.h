/*
 * ehlo.h - what a server offers in its EHLO reply: read theirs, write ours.
 *
 * Sources: RFC 5321 4.1.1.1, 1870 (SIZE), 4954 (AUTH), 9422 (LIMITS), 3207,
 * 3030, 3461, 6152, 6531, 2034, 2920, 8689.
 */
#ifndef POSTERN_SMTP_EHLO_H
#define POSTERN_SMTP_EHLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct smtp_reply;

/* Service extensions, as a set. */
enum smtp_ext {
	SMTP_EXT_PIPELINING = 1 << 0,
	SMTP_EXT_8BITMIME = 1 << 1,
	SMTP_EXT_SMTPUTF8 = 1 << 2,
	SMTP_EXT_DSN = 1 << 3,
	SMTP_EXT_CHUNKING = 1 << 4,
	SMTP_EXT_BINARYMIME = 1 << 5,
	SMTP_EXT_ENHANCEDSTATUSCODES = 1 << 6,
	SMTP_EXT_STARTTLS = 1 << 7,
	SMTP_EXT_REQUIRETLS = 1 << 8,
	SMTP_EXT_SIZE = 1 << 9,
	SMTP_EXT_AUTH = 1 << 10,
	SMTP_EXT_LIMITS = 1 << 11,
	SMTP_EXT_HELP = 1 << 12,
	SMTP_EXT_ALL = (1 << 13) - 1,
};

enum {
	SMTP_EHLO_HOST_MAX = 255,
	SMTP_EHLO_AUTH_MAX = 511, /* bytes of mechanism names kept */
};

/* All zero: nothing offered. */
struct smtp_ehlo {
	uint32_t ext; /* set of enum smtp_ext */
	/* SIZE in bytes; 0 = no fixed limit, or SIZE not offered (1870, 4) */
	uint64_t size;
	/* LIMITS (RFC 9422); 0 = not given */
	uint32_t mailmax;	/* transactions in a session */
	uint32_t rcptmax;	/* RCPT in a transaction */
	uint32_t rcptdomainmax; /* different recipient domains in a session */
	char host[SMTP_EHLO_HOST_MAX + 1]; /* as greeted; "" when unusable */
	/* AUTH mechanisms, upper case, one space between, each once */
	char auth[SMTP_EHLO_AUTH_MAX + 1];
};

/*
 * Read the reply to EHLO. Only a 2yz reply offers something; for another code
 * the result is all zero and the call fails with PE_SYNTAX. Keywords count in
 * any case, unknown ones and malformed lines are skipped, a keyword given
 * twice: the first counts, but AUTH lists are joined ("AUTH=LOGIN" of old
 * servers is read as AUTH). SIZE with a value that is no number of at most 20
 * digits is skipped. LIMITS: skipped whole on a syntax error, single bad
 * values and unknown names are ignored (RFC 9422). Returns 0.
 */
int smtp_ehlo_parse(const struct smtp_reply *reply, struct smtp_ehlo *ret_ehlo);

/* Does it offer this mechanism (upper case)? */
bool smtp_ehlo_has_auth(const struct smtp_ehlo *ehlo, const char *mechanism);

/* Name of one extension bit ("PIPELINING"), or NULL. Static. */
const char *smtp_ext_name(uint32_t bit);

/*
 * Append our reply to EHLO: "250-HOST" and one line for each
 * extension in ehlo->ext (SIZE with its number when not 0, AUTH with its
 * mechanisms when there are any, LIMITS when a value is set). No enhanced
 * codes (RFC 2034, 4). 0, PE_FULL or -ENOMEM.
 */
int smtp_ehlo_format(struct buf *out, const struct smtp_ehlo *ehlo);

#endif
