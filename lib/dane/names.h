/*
 * names.h - the names that a certificate under a DANE-TA(2) record may carry.
 *
 * Called by lib/verdict. Pure. Sources: RFC 7672 section 3.2.2; standards
 * DANE-30, DANE-31, DANE-32.
 */
#ifndef POSTERN_DANE_NAMES_H
#define POSTERN_DANE_NAMES_H

#include "lib/verdict/verdict.h"

#include <stddef.h>

enum { DANE_NAMES_MAX = 3 };

/*
 * In order: the TLSA base domain; the next hop (the recipient's domain) when a
 * secure MX led to the host, or when there was no MX and the base domain is what
 * the next hop expands to; the expanded next hop, after a secure MX. Each once.
 * Borrows from facts. Returns how many, at least 1.
 */
size_t dane_names(const struct facts *facts, const struct facts_host *host,
    const char *ret_names[DANE_NAMES_MAX]);

#endif
