/*
 * txt.h - what a domain's _mta-sts TXT records say (RFC 8461, section 3.1).
 *
 * Called by policyd, posternctl, tests and the fuzzer. Pure: borrows records
 * whose strings are joined already (lib/dns does that), keeps nothing.
 */
#ifndef POSTERN_STS_TXT_H
#define POSTERN_STS_TXT_H

#include <stddef.h>

struct dns_answer;

enum { STS_ID_MAX = 32 };

/* The zero is the one that promises least. */
enum sts_txt_outcome {
	STS_TXT_TEMPORARY, /* could not find out: says nothing (STS-13) */
	STS_TXT_NONE,	   /* no policy is announced (STS-04, STS-05) */
	STS_TXT_USABLE,	   /* exactly one valid record: id is set */
};

struct sts_txt {
	enum sts_txt_outcome outcome;
	char id[STS_ID_MAX + 1]; /* "" unless usable */
	char reason[128];	 /* for people, printable; "" when usable */
	size_t announced;	 /* records that begin with v=STSv1; */
};

/* One joined record: any bytes, not terminated. */
struct sts_record {
	const char *data;
	size_t len;
};

/* Which of the records is the announcement, and what it says. */
void sts_txt_select(
    const struct sts_record *records, size_t n, struct sts_txt *ret);

/* The same from a DNS answer: indeterminate is temporary, no data is none. */
void sts_txt_from_answer(const struct dns_answer *answer, struct sts_txt *ret);

/* "usable", "no-policy", "temporary-error". */
const char *sts_txt_outcome_word(enum sts_txt_outcome outcome);

#endif
