/*
 * limits.h - which counters a connection raises, and how far each may go.
 *
 * Pure: from settings and the place that is connected to. The supervisor decides
 * by it, and deliver shows it in explain. Specification: destination controls,
 * section 1; docs/destination-controls.md tells it to operators.
 */
#ifndef POSTERN_LIMITS_LIMITS_H
#define POSTERN_LIMITS_LIMITS_H

#include "lib/conf/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One outbound connection. Texts are normalised: lower case, the address as
 * conf_addr_format() writes it without a port. */
struct limits_place {
	const char *domain;  /* of the recipients */
	const char *gateway; /* unknown ones count as "default" */
	const char *host;    /* MX host, or the route's */
	const char *address;
	bool tls; /* TLS may be spoken on it */
};

enum { LIMITS_KEYS_MAX = 4, LIMITS_NAME_MAX = 700 };

/* One counter. Text of a key: "domain:example.com", "ip:example.com/192.0.2.1",
 * "site:mx:*.google.com", "tls", "system"; with limit_apply = gateway
 * "domain@NAME:example.com" and so on. */
struct limits_key {
	char name[LIMITS_NAME_MAX];
	uint32_t max;	       /* connections */
	bool counts;	       /* false: only its rate holds */
	bool shared;	       /* by several destinations */
	struct conf_rate rate; /* recipients */
};

/* From narrow to wide: domain or ip, site, tls, system. The ledger takes them in
 * this order, which is why nobody can wait in a circle. */
struct limits {
	size_t n;
	struct limits_key keys[LIMITS_KEYS_MAX];
};

void limits_of(const struct conf *conf, const struct limits_place *place,
    struct limits *ret);

/* Messages allowed on one connection to this host (NULL: the domain's own). */
uint32_t limits_messages(
    const struct conf *conf, const char *domain, const char *host);

#endif
