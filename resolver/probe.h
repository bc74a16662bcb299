/*
 * probe.h - does the configured resolver validate? (tls-policy.md, section 2)
 *
 * Two names of the settings are asked: a signed one must come back secure, a
 * deliberately broken one must not come back at all. Runs at start, after each
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

enum probe_finding {
	PROBE_NONE,	  /* the settings name no probe */
	PROBE_RUNNING,	  /* no finding yet */
	PROBE_VALIDATES,  /* DANE can be used */
	PROBE_UNSIGNED,	  /* the good name came back without AD, or untrusted */
	PROBE_LETS_BOGUS, /* the broken name was answered: no validation */
	PROBE_UNREACHABLE, /* the good name could not be looked up */
};

struct probe {
	struct resolver *r;
	uv_timer_t timer;
	char good[DNS_NAME_SIZE], bad[DNS_NAME_SIZE]; /* "" : not asked */
	struct resolver_req good_req, bad_req;
	unsigned open; /* requests */
	enum probe_finding now, next;
};

void probe_init(struct probe *p, uv_loop_t *loop, struct resolver *r);

/* Names may be NULL. Starts at once. */
void probe_start(struct probe *p, const char *good, const char *bad);

/* What STATUS says: "validates", "unsigned", ... */
const char *probe_str(enum probe_finding finding);

#endif
