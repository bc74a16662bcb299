/*
 * match.h - does a policy name this MX host? (RFC 8461, section 4.1)
 *
 * Called by lib/verdict, posternctl, tests and the fuzzer. Pure.
 */
#ifndef POSTERN_STS_MATCH_H
#define POSTERN_STS_MATCH_H

#include <stdbool.h>
#include <stddef.h>

enum { STS_PATTERN_SIZE = 2 + 255 + 1 }; /* "*." domain NUL */

/*
 * The form in which patterns are compared: lower case, A-labels. 0, or
 * PE_SYNTAX for what is no pattern and so matches nothing: a bare "*", a
 * wildcard elsewhere than as the whole first label, a trailing dot, an
 * address, anything that is no host name (STS-23).
 */
int sts_pattern_normalise(
    const char *text, size_t len, char ret[STS_PATTERN_SIZE]);

/*
 * Does the pattern name the host? host is the MX record's target before any
 * CNAME, or the domain itself without MX records (STS-41, STS-56). A wildcard
 * stands for exactly one label.
 */
bool sts_pattern_match(const char *pattern, const char *host);

/* The first pattern of a list (policy.h) that names the host, as it stands in
 * the list, or NULL. */
const char *sts_list_match(const char *list, size_t list_len, const char *host);

#endif
