/*
 * prvs.h - bounce verification: tagged envelope senders (draft-levine-smtp-batv).
 *
 * user@example.com leaves as prvs=KDDDSSSSSS=user@example.com, so that a bounce
 * to user@example.com that is no answer to mail of ours can be told from one
 * that is. K is the digit of the key, DDD the day (since 1970, modulo 1000)
 * until which bounces are taken, SSSSSS the first 24 bits of HMAC-SHA1 over K,
 * DDD and the address. The address is hashed in lower case, since hosts on
 * the way fold it, and without its tag (BATV-02).
 *
 * Pure: no clock, no settings, no log. Called by smtpd (check), deliver (tag)
 * and posternctl.
 */
#ifndef POSTERN_MAIL_PRVS_H
#define POSTERN_MAIL_PRVS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/mail/addr.h"

enum {
	PRVS_KEYS = 10,	       /* a key for each digit */
	PRVS_SECRET_MIN = 16,  /* bytes; shorter ones are refused */
	PRVS_SECRET_MAX = 128, /* bytes */
	PRVS_TAG_LEN = 16,     /* "prvs=KDDDSSSSSS=" */
};

/* Secrets by digit; len 0: there is none. Plain data: wipe it after use. */
struct prvs_keys {
	struct {
		size_t len;
		uint8_t secret[PRVS_SECRET_MAX];
	} key[PRVS_KEYS];
	int current; /* digit of the key that tags; -1 while there is none */
};

/*
 * Keys from text[0..len): lines "DIGIT SECRET"; the first tags, all are good
 * for checking; empty lines and lines that begin with # do not count. 0 with
 * at least one key in *ret_keys, or PE_SYNTAX with the line (from 1; 0: of the
 * whole) and a static sentence that never quotes the text.
 */
int prvs_keys_parse(const char *text, size_t len, struct prvs_keys *ret_keys,
    unsigned *ret_line, const char **ret_why);

/*
 * Tag address (a mailbox, not empty) at day (days since 1970) for lifetime_days
 * (1 to 499) into ret. False, and nothing written, when it may not be tagged:
 * it has a tag, is no mailbox, or the tag would not fit in the 64 bytes of a
 * local part (BATV-04, RFC 5321 4.5.3.1.1).
 */
bool prvs_tag(const struct prvs_keys *keys, const char *address, int64_t day,
    unsigned lifetime_days, char ret[ADDR_MAX + 1]);

enum prvs_result {
	PRVS_UNTAGGED, /* not of this form at all */
	PRVS_GOOD,
	PRVS_EXPIRED, /* one of our keys made it, too long ago */
	PRVS_FORGED,  /* none of our keys made it */
};

/*
 * Check address (a mailbox). Unless it is PRVS_UNTAGGED, ret gets the address
 * without the tag. The day is compared modulo 1000 (BATV-03): a tag is good
 * while its day lies 0 to lifetime_days ahead.
 */
enum prvs_result prvs_check(const struct prvs_keys *keys, const char *address,
    int64_t day, unsigned lifetime_days, char ret[ADDR_MAX + 1]);

#endif
