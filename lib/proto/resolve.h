/*
 * resolve.h - deliver (later policyd) -> resolver: one question, one answer.
 *
 * The request id pairs them. Every question is answered, at the latest when the
 * resolver's own deadline passes (then as indeterminate).
 */
#ifndef POSTERN_PROTO_RESOLVE_H
#define POSTERN_PROTO_RESOLVE_H

#include "lib/ipc/wire.h"
#include "lib/proto/roles.h"

#include <stdint.h>

enum {
	RESOLVE_ASK = 16, /* client -> resolver */
	RESOLVE_ANSWER, /* resolver -> client: the flat bytes of lib/dns/dns.h,
			   * dns_answer_encode() */
};

enum {
	RESOLVE_FRESH = 1, /* ask past the cache */
	/* The security state is not needed: an answer that may not be believed
	 * to be unsigned (DNS_WHY_UNVALIDATED) is given as insecure all the
	 * same. What failed validation is not. */
	RESOLVE_PLAIN = 2,
};
enum { RESOLVE_IN_FLIGHT_MAX = 4096 /* questions open per client */ };

struct resolve_ask {
	const char *name; /* lower-case A-label, no trailing dot; '_' allowed */
	uint16_t type;	  /* DNS type number: A, AAAA, MX, TXT, TLSA, CNAME */
	uint32_t flags;	  /* RESOLVE_* */
};
void resolve_ask_encode(struct ipc_wr *w, const struct resolve_ask *m);
int resolve_ask_decode(struct ipc_rd *r, struct resolve_ask *ret);

#endif
