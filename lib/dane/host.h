/*
 * host.h - TLSA records of one MX host: which question to ask next.
 *
 * A step machine without I/O. It begins with the answers for the host's
 * addresses, which come first (RFC 7672, 2.2.2), says which question to ask, and
 * takes the answer; in the end it holds the host's TLSA facts. The same code
 * decides in the node and in `posternctl dane plan`.
 *
 *	dane_host_start(&h, "mx1.example", 25, a, aaaa);
 *	while (dane_host_next(&h, &q))
 *		dane_host_take(&h, (the answer to q));
 *	… h.state, h.base, h.rrs …
 *	dane_host_done(&h);
 *
 * No TLSA question is ever asked for a host whose address is insecure: such
 * name servers often fail at it, and mail would wait for ever (DANE-15). An
 * answer that could not be had makes the facts indeterminate, never absent.
 *
 * Sources: RFC 7672 sections 2.1.3, 2.2.2 and 2.2.3; standards DANE-06, DANE-08,
 * DANE-14 to DANE-21.
 */
#ifndef POSTERN_DANE_HOST_H
#define POSTERN_DANE_HOST_H

#include "lib/dane/tlsa.h"
#include "lib/dns/dns.h"
#include "lib/verdict/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dane_question {
	char name[DNS_NAME_SIZE];
	uint16_t type; /* DNS_CNAME, DNS_TLSA; and in plan.h the others */
};

enum dane_step {
	DANE_STEP_DONE,
	DANE_STEP_CNAME, /* is the host's own name secure, as an alias? */
	DANE_STEP_TLSA,
};

struct dane_host {
	enum dane_step step;
	uint16_t port;
	char name[DNS_NAME_SIZE]; /* of the MX, unexpanded */
	size_t n_bases, at;	  /* candidates, and the one asked for now */
	char bases[2][DNS_NAME_SIZE];
	bool insecure; /* a TLSA answer was not secure */

	/* what was found; valid when step is DANE_STEP_DONE */
	enum facts_tlsa state;
	enum dns_why why; /* with FACTS_TLSA_INDETERMINATE */
	char reason[192]; /* for people; "" when there is nothing to say */
	const char *base; /* where the records lie; NULL: there are none */
	uint32_t ttl_s;	  /* of the answers taken; UINT32_MAX: none */
	struct facts_tlsa_rr *found; /* every record of the answer */
	enum dane_fate *fates;	     /* what becomes of each */
	size_t n_found;
	struct facts_tlsa_rr *rrs; /* those that count; one must match */
	size_t n_rrs;
	uint8_t digest[FACTS_TLSA_DIGEST_LEN]; /* of base and rrs */
	struct dns_answer *answer;	       /* owns their data */
};

/*
 * name is normalised. a and aaaa are borrowed; NULL: that family was not asked
 * for. Without a usable address there is nothing to look for: the facts are
 * then FACTS_TLSA_NOT_ASKED (DANE-14). h must stay where it is.
 */
void dane_host_start(struct dane_host *h, const char *name, uint16_t port,
    const struct dns_answer *a, const struct dns_answer *aaaa);

/* The question to ask now. False: done. */
bool dane_host_next(const struct dane_host *h, struct dane_question *ret_q);

/*
 * The answer to that question; borrowed. 0; -ENOMEM, and then the facts are
 * indeterminate; -EINVAL: it answers something else, nothing happened.
 */
int dane_host_take(struct dane_host *h, const struct dns_answer *a);

/* Frees what it holds; zeroed or started. */
void dane_host_done(struct dane_host *h);

/* Put what was found into the facts of the host, which then borrow from h. */
void dane_host_facts(const struct dane_host *h, struct facts_host *fh);

#endif
