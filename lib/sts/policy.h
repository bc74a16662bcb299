/*
 * policy.h - the text of an MTA-STS policy (RFC 8461, section 3.2).
 *
 * Called by the fetcher, policyd's store, posternctl, tests and the fuzzer.
 * Pure. A text that is not wholly a policy is invalid, never half a policy.
 */
#ifndef POSTERN_STS_POLICY_H
#define POSTERN_STS_POLICY_H

#include <stddef.h>
#include <stdint.h>

enum {
	STS_TEXT_MAX = 64 * 1024,    /* bytes of a policy text (STS-29) */
	STS_MAX_AGE_MAX = 31557600,  /* a year; above it is cut (STS-20) */
	STS_LIST_MAX = STS_TEXT_MAX, /* bytes of a pattern list */
};

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };

/*
 * Patterns in the order of the text, each ended by NUL, back to back: the form
 * in which they are stored, sent and matched. U-labels are A-labels already;
 * what is no pattern at all is kept as written and never matches (STS-23).
 */
struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age_s; /* cut to STS_MAX_AGE_MAX */
	uint32_t n_mx;
	size_t list_len;
	char *list; /* owned; NULL without patterns */
};

/*
 * Parse text[0..len). 0; PE_SYNTAX and why in reason (printable, may be NULL);
 * PE_TOO_LONG over STS_TEXT_MAX; -ENOMEM. *ret is zeroed unless 0.
 */
int sts_policy_parse(const char *text, size_t len, struct sts_policy *ret,
    char *reason, size_t reason_len);

/* Free what it holds; zeroed is fine. */
void sts_policy_done(struct sts_policy *p);

/* "none", "testing", "enforce". */
const char *sts_mode_word(enum sts_mode mode);

/* The next pattern of a list: start with *at = 0; NULL at the end. */
const char *sts_list_next(const char *list, size_t list_len, size_t *at);

/* The patterns for people: "a.example, *.b.example", cut with "..." at len.
 * Bytes that are not printable stand as '?'. Returns buf. */
const char *sts_list_text(
    const char *list, size_t list_len, char *buf, size_t len);

#endif
