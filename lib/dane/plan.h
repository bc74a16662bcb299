/*
 * plan.h - the facts of one domain for DANE: MX, addresses, TLSA records.
 *
 * A step machine without I/O, for `posternctl dane plan`: it says which question
 * to ask next, takes the answer, and ends with facts that lib/verdict judges. For
 * each host it runs dane_host (host.h), which the node runs too. No policy, no
 * route, no settings: what DNS says and nothing else.
 *
 * Sources: RFC 5321 section 5.1, RFC 7505, RFC 7672 section 2.2; standards
 * DANE-05, DANE-22, DANE-23.
 */
#ifndef POSTERN_DANE_PLAN_H
#define POSTERN_DANE_PLAN_H

#include "lib/dane/host.h"

struct dane_plan;

/* domain is normalised. 0 or -ENOMEM. */
int dane_plan_new(
    const char *domain, uint16_t port, struct dane_plan **ret_plan);

/* The question to ask now. False: done. */
bool dane_plan_next(const struct dane_plan *p, struct dane_question *ret_q);

/* Its answer; borrowed. 0, -ENOMEM (the plan is of no use any more), -EINVAL. */
int dane_plan_take(struct dane_plan *p, const struct dns_answer *a);

/* When it is done: the facts, hosts in order of use; and what was found of the
 * TLSA records of the host at that place. Borrowed from the plan. */
const struct facts *dane_plan_facts(const struct dane_plan *p);
const struct dane_host *dane_plan_host(const struct dane_plan *p, size_t i);

void dane_plan_free(struct dane_plan *p); /* NULL is fine */

#endif
