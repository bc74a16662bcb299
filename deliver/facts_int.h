/*
 * facts_int.h - what the files that gather facts share: facts.c, facts_mx.c,
 * facts_addr.c, facts_dane.c, facts_sts.c, plan.c. Nobody else includes it.
 */
#ifndef POSTERN_DELIVER_FACTS_INT_H
#define POSTERN_DELIVER_FACTS_INT_H

#include "deliver/deliver.h"

#include "lib/dane/host.h"

/* The addresses of one host while they come in. */
struct host_work {
	union conf_addr v4[ADDRS_PER_HOST], v6[ADDRS_PER_HOST];
	size_t n4, n6;
	bool failed;		     /* one family could not be found out */
	unsigned open;		     /* families that are not in yet */
	struct dns_answer *a, *aaaa; /* ours; where DANE looks at them */
	bool own;		     /* a denied address is ours */
	const char *denied;	     /* by deny_networks: the first one */
	enum dns_state security;
	char why[160];
};

struct lookup {
	LIST_ENTRY(lookup) link;
	struct gather *g;
	struct ask *ask;
	uint16_t type;
	bool plain;   /* asked again, without the security state */
	size_t index; /* of the route host, or of the facts' host */
};

struct gather {
	struct deliver *d;
	struct plan *plan;
	gather_done *done;
	void *arg;
	uv_timer_t timer; /* ends it outside of all calls */
	LIST_HEAD(lookup_list, lookup) lookups;
	size_t n_lookups; /* those, and want */
	struct want *want;
	bool fresh;
	bool starting, short_of_memory, addresses;
	uint32_t ttl_s;
	uint32_t records_ttl_s; /* of TLSA records that were found */
	struct facts_host hosts[VERDICT_HOSTS_MAX];
	size_t n_hosts;
	struct host_work *work; /* as many as get addresses */
	size_t n_work;
};

/* ---- facts.c ---- */

/* The answer comes to facts_on_mx(), facts_on_address() or facts_on_dane(). */
void gather_ask(
    struct gather *g, const char *name, uint16_t type, size_t index);
/* Nothing is asked for any more: on with the next step. */
void gather_next_step(struct gather *g);
/* Text that lives as long as the plan; "" when memory is short. */
const char *gather_keep(struct gather *g, const char *text);

/* ---- facts_mx.c ---- */

void facts_on_mx(struct lookup *l, const struct dns_answer *a);
void facts_start_route(struct gather *g);
void facts_start_literal(struct gather *g);

/* ---- facts_addr.c ---- */

void facts_ask_addresses(struct gather *g);
void facts_on_address(struct lookup *l, const struct dns_answer *a);
/* Leave out the hosts that are ourselves, and those behind them. */
void facts_drop_own(struct gather *g);
/* Is it an address of deny_networks? Then w tells so. */
bool facts_is_denied(struct gather *g, struct host_work *w, const uint8_t *ip,
    bool v6, uint16_t port);
void facts_set_v4(union conf_addr *a, const uint8_t *ip, uint16_t port);
void facts_set_v6(union conf_addr *a, const uint8_t *ip, uint16_t port);

/* ---- facts_dane.c ---- */

/* Before any address is asked for: room, where DANE applies. */
void facts_dane_prepare(struct gather *g);
/* The addresses of this host are in. */
void facts_dane_start(struct gather *g, size_t index);
void facts_on_dane(struct lookup *l, const struct dns_answer *a);

/* ---- facts_sts.c ---- */

void facts_ask_policy(struct gather *g);

/* ---- plan.c ---- */

/* NULL: memory is short. */
struct plan *plan_new(struct env *env, const char *domain, const char *gateway);
/* Which families may be used: the control's wish, and where a gateway has
 * source addresses only the families of those. */
void plan_families(const struct plan *p, bool *ret_v4, bool *ret_v6);

#endif
