/*
 * record.h - one stored policy: what the cache knows about a domain.
 *
 * Pure. The bytes on disk are versioned and carry a checksum, so that one that
 * was damaged is dropped and fetched again, never applied (STS-58).
 */
#ifndef POSTERN_POLICYD_RECORD_H
#define POSTERN_POLICYD_RECORD_H

#include "lib/dns/dns.h"
#include "lib/sts/policy.h"
#include "lib/sts/txt.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;

enum {
	RECORD_ERROR_SIZE = 256,
	RECORD_TEXT_MAX = 4096, /* of the text as fetched are kept */
	RECORD_MAX = 80 * 1024, /* bytes of an encoded record */
};

struct policy_record {
	char domain[DNS_NAME_SIZE];
	char id[STS_ID_MAX + 1];
	int64_t fetched_s; /* the last successful fetch */
	int64_t used_s;	   /* asked for, to the day */
	int64_t refresh_s; /* when to look at it again */
	uint32_t failures; /* refreshes that failed since fetched_s */
	char error[RECORD_ERROR_SIZE]; /* of the last one, or "" */
	struct sts_policy policy;      /* owned */
	char *text;		       /* as fetched, its beginning; owned */
	size_t text_len;
};

/* Free what it holds; zeroed is fine. */
void record_done(struct policy_record *rec);

/* A deep copy. 0 or -ENOMEM. */
int record_copy(const struct policy_record *rec, struct policy_record *ret);

static inline int64_t
record_expires_s(const struct policy_record *rec)
{
	return rec->fetched_s + rec->policy.max_age_s;
}

/* Append the bytes of a record. 0, PE_FULL, PE_TOO_LONG, -ENOMEM. */
int record_encode(const struct policy_record *rec, struct buf *b);

/* 0; PE_CORRUPT when it is not what was written for this domain; -ENOMEM. */
int record_decode(const char *domain, const uint8_t *data, size_t len,
    struct policy_record *ret);

#endif
