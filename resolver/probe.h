/*
 * probe.h - does the configured resolver validate? (tls-policy.md, section 2)
 *
 * Two names are asked: a signed one must come back secure, a deliberately broken
 * one, where the settings name it, must not come back at all. Runs at start, after each
 * reload and every PROBE_EVERY_MS; the finding is logged when it changes and
 * shown in `status`.
 */
#ifndef POSTERN_RESOLVER_PROBE_H
#define POSTERN_RESOLVER_PROBE_H

#include <stdint.h>
#include <uv.h>

#include "lib/dns/dns.h"
#include "resolver/resolver.h"

enum { PROBE_EVERY_MS = 15 * 60 * 1000, PROBE_AGAIN_MS = 60 * 1000 };

/* A name of the signed root: any server that validates says so. */
#define PROBE_DEFAULT "arpa"

enum probe_finding {
	PROBE_NONE,	  /* DNSSEC is off */
	PROBE_RUNNING,	  /* no finding yet */
	PROBE_VALIDATES,  /* DANE can be used */
	PROBE_UNSIGNED,	  /* the good name came back without AD, or untrusted */
	PROBE_LETS_BOGUS, /* the broken name was answered: no validation */
	PROBE_UNREACHABLE, /* the good name could not be looked up */
	PROBE_UNTRUSTED,   /* nobody's AD is believed: nothing to ask */
};

struct probe {
	struct resolver *r;
	uv_timer_t timer;
	char good[DNS_NAME_SIZE], bad[DNS_NAME_SIZE]; /* "" : not asked */
	struct resolver_req good_req, bad_req;
	unsigned open; /* requests */
	enum probe_finding now, next;
	bool tell; /* somebody wants DANE */
};

void probe_init(struct probe *p, uv_loop_t *loop, struct resolver *r);

/* trusted: some server's AD is believed. Names may be NULL. Starts at once. */
void probe_start(struct probe *p, bool trusted, bool tell, const char *good,
    const char *bad);

/* What STATUS says: "validates", "unsigned", ... */
const char *probe_str(enum probe_finding finding);

#endif
