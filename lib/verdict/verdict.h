/*
 * verdict.h - from what is known of a domain to what may be done with its hosts.
 *
 * (settings of the destination, facts, message flags) -> verdict. Pure C: no
 * I/O, no clock, no randomness. deliver acts on it, `posternctl explain` tells
 * it, the tests prove it. Every answer carries the rules that led to it and
 * those that lost. Doubt may delay mail, it never weakens a check: the zero of
 * each enum here is the one that promises least.
 *
 * Sources: the decision table of docs/tls-policy.md (rows 1 to 12), RFC 5321
 * section 5.1, RFC 7505, RFC 7672 section 2.2, RFC 8461 sections 4 and 5,
 * RFC 8689 section 4.
 */
#ifndef POSTERN_VERDICT_VERDICT_H
#define POSTERN_VERDICT_VERDICT_H

#include "lib/conf/conf.h"
#include "lib/dns/dns.h"
#include "lib/proto/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

enum {
	VERDICT_RULES_MAX = 8,	 /* in the chain of one host */
	VERDICT_NAMES_MAX = 6,	 /* a certificate may be asked for */
	VERDICT_TEXT = 256,	 /* twice it fits TEXT_REASON_MAX */
	VERDICT_HOSTS_MAX = 256, /* that facts may hold */
	FACTS_TLSA_DIGEST_LEN = 32,
};

/* ---- facts ----------------------------------------------------------------- */

enum facts_via {
	FACTS_VIA_MX,	    /* MX records */
	FACTS_VIA_IMPLICIT, /* no MX record: the domain itself (5321, 5.1) */
	FACTS_VIA_ROUTE,    /* configured hosts */
	FACTS_VIA_LITERAL,  /* address literal */
	FACTS_VIA_DISCARD,  /* route /dev/null */
};

enum facts_addr {
	FACTS_ADDR_INDETERMINATE,
	FACTS_ADDR_NONE, /* the name has no address that may be used */
	FACTS_ADDR_DATA,
	FACTS_ADDR_DENIED, /* all it has, the operator's settings refuse */
};

enum facts_tlsa {
	FACTS_TLSA_INDETERMINATE, /* looked up, could not find out */
	FACTS_TLSA_NOT_ASKED,	  /* dane is none, or a route, or a literal */
	FACTS_TLSA_INSECURE,	  /* host or answer not secure */
	FACTS_TLSA_ABSENT,	  /* secure: there is none */
	FACTS_TLSA_UNUSABLE, /* secure records, none of which can be used */
	FACTS_TLSA_USABLE,
};

struct facts_tlsa_rr {
	uint8_t usage, selector, mtype;
	const uint8_t *data;
	size_t data_len;
};

enum facts_sts {
	FACTS_STS_INDETERMINATE, /* nothing cached, and could not find out */
	FACTS_STS_NOT_ASKED,
	FACTS_STS_NONE,
	FACTS_STS_POLICY,
};
enum facts_sts_mode {
	FACTS_STS_ENFORCE,
	FACTS_STS_TESTING,
	FACTS_STS_MODE_NONE
};

struct facts_sts_policy {
	enum facts_sts state;
	enum facts_sts_mode mode;
	const char *const *mx; /* patterns: "mx1.example", "*.example" */
	size_t n_mx;
	const char *id;
	int64_t age_s, max_age_s;
	bool stale;	    /* valid, but the last refresh failed */
	const char *source; /* "fetched", "cache"; NULL when no policy */
	const char *reason; /* why none, only cached, or in doubt; or NULL */
};

struct facts_host {
	const char *name;    /* MX target before any CNAME; a literal's text */
	const char *via;     /* configured route host it came from, or NULL */
	uint32_t rank;	     /* lower is used first */
	uint32_t shuffle;    /* order among equal ranks: random, or in turn */
	uint16_t preference; /* of the MX record or the route */
	uint16_t port;
	const char *bad; /* why the name cannot be used at all, or NULL */
	enum facts_addr addr;
	const char *addr_text; /* why there is none */
	const char *denied;    /* one that deny_networks refuses, or NULL */
	enum dns_state addr_security; /* of the address answers in use */
	const union conf_addr *addrs; /* in order of use, port filled in */
	size_t n_addrs;
	enum facts_tlsa tlsa;
	const char *tlsa_text; /* why it is so, or NULL */
	const char *tlsa_base; /* base domain, NULL: name */
	/* usable: those that count; unusable: all */
	const struct facts_tlsa_rr *tlsa_rrs;
	size_t n_tlsa_rrs;
	/* of the base domain and the records that count (dane_digest()) */
	uint8_t tlsa_digest[FACTS_TLSA_DIGEST_LEN];
};

struct facts {
	const char *domain; /* as written, A-labels, or "[192.0.2.1]" */
	const char *canon;  /* what it expands to as an alias, or NULL */
	enum facts_via via;
	/* the MX answer, where one was asked for */
	enum dns_state mx_state;
	bool mx_unchecked; /* it is insecure because nobody looked */
	enum dns_kind mx_kind;
	const char *mx_text; /* why it is indeterminate */
	bool null_mx;	     /* RFC 7505 */
	struct facts_host *hosts;
	size_t n_hosts;
	struct facts_sts_policy sts;
};

/* Why the target of an MX record cannot be a host of ours (standards DNS-08), or
 * NULL. Static text. */
const char *verdict_bad_target(const char *target);

/* False for addresses at which nobody listens for mail of others: unspecified,
 * multicast, broadcast, link-local without a link, or an IPv4 address in IPv6
 * clothes, which would go round what is said of either family. 4 or 16 bytes. */
bool verdict_usable_address(const uint8_t *ip, bool v6);

/* ---- settings -------------------------------------------------------------- */

struct verdict_settings {
	enum conf_tls tls; /* the route's own where it has one */
	enum conf_dane dane;
	enum conf_sts mta_sts;
	const char *tls_source; /* "[DEFAULT] tls", for the chain */
	/* names that are ourselves: a host of this name and all worse ones are
	 * dropped (5321, 5.1); not applied to routes. NULL ends the list */
	const char *own_names[3];
	uint32_t max_hosts; /* used in one round; 0: all */
};

/* ---- the verdict ----------------------------------------------------------- */

enum verdict_level {
	LEVEL_NONE,	     /* STARTTLS is not used */
	LEVEL_OPPORTUNISTIC, /* TLS when it works, clear text when not */
	LEVEL_ENCRYPT,	     /* TLS, whoever it is */
	LEVEL_VERIFY,	     /* TLS with a trusted certificate for a name */
	LEVEL_DANE,	     /* TLS with a certificate that TLSA names */
};
const char *verdict_level_name(enum verdict_level level);

/* One step of the chain. won: it decided something that still holds. */
struct verdict_rule {
	const char *id;	    /* "tls-preferred", "sts-enforce"; static */
	const char *source; /* "RFC 8461 5", "[DEFAULT] tls" */
	char text[VERDICT_TEXT];
	bool won;
};

/* For each group at least one of its names must be in the certificate: the
 * operator's demand and the policy's may both hold. */
struct verdict_name {
	const char *name; /* borrowed from facts */
	uint8_t group;	  /* enum verdict_group */
};

enum verdict_group {
	NAMES_OPERATOR, /* the destination's TLS mode */
	NAMES_POLICY,	/* MTA-STS, REQUIRETLS */
	NAMES_DANE,	/* reference names of DANE-TA (RFC 7672, 3.2.2): the
			 * matching itself looks at them, level dane is all */
};

struct verdict_host {
	const struct facts_host *host; /* borrowed */
	bool attempt;		       /* false: skip, reason says why */
	enum reason reason;
	enum verdict_level level;
	bool record;	 /* verify names for the log even if not demanded */
	bool requiretls; /* EHLO after TLS must offer REQUIRETLS */
	/* a skip that no later attempt can change (RFC 8689: the notice is due
	 * at once when all hosts are so) */
	bool definitive;
	struct verdict_name names[VERDICT_NAMES_MAX];
	size_t n_names;
	const char *rule; /* id of the rule that set the level */
	struct verdict_rule rules[VERDICT_RULES_MAX];
	size_t n_rules;
};

enum verdict_outcome {
	VERDICT_DEFER,
	VERDICT_DELIVER,
	VERDICT_FAIL,
	VERDICT_DISCARD,
};

struct verdict {
	enum verdict_outcome outcome;
	enum reason reason;
	const char *status;	     /* "4.4.3"; "" when deliver; static */
	char text[2 * VERDICT_TEXT]; /* readable reason, one line */
	size_t n_hosts;
	struct verdict_host *hosts; /* in order of use */
};

/*
 * Bring facts->hosts into the order of use, drop the hosts that are ourselves
 * and all that are not better, and names that occur twice. Returns false when
 * that left none of what was there (a mail loop). Call it once, before the
 * addresses are asked for; only the first max_hosts need them.
 */
bool verdict_order_hosts(
    const struct verdict_settings *set, struct facts *facts);

/*
 * The verdict for messages with these MSG_* flags. facts must be ordered; loop
 * is what verdict_order_hosts() found (true: it returned false). 0 and
 * *ret_verdict, which borrows facts, or -ENOMEM.
 */
int verdict_make(const struct verdict_settings *set, const struct facts *facts,
    bool loop, uint32_t msg_flags, struct verdict **ret_verdict);
void verdict_free(struct verdict *v);

/* The status code of a destination that waits for this reason: "4.4.3" where
 * something could not be found out, "4.7.5" for what a policy demands. Static. */
const char *verdict_status(enum reason reason);

/* ---- what a connection proved ------------------------------------------------ */

struct verdict_proof {
	bool tls;
	bool tls12;   /* TLS 1.2 or later */
	bool trusted; /* the chain leads to the CA list, dates are good */
	bool expired; /* when not trusted: that is the reason */
	bool dane;    /* a TLSA record matched, of the set with this digest */
	uint8_t tlsa_digest[FACTS_TLSA_DIGEST_LEN];
	bool requiretls; /* EHLO after TLS offered REQUIRETLS */
	/* names asked for that are in the certificate (SAN dNSName) */
	size_t n_names;
	char names[VERDICT_NAMES_MAX][DNS_NAME_SIZE];
};

/*
 * Is the proof enough for this host's verdict? REASON_NONE, or the reason why
 * not. Also the test for reuse of a connection or a session.
 */
enum reason verdict_satisfied(
    const struct verdict_host *vh, const struct verdict_proof *proof);

/*
 * What a policy of mode testing would have said of this connection, were it in
 * force: REASON_NONE also where there is none, and where DANE decides (RFC 8461,
 * section 5; tls-policy.md row 10). Never part of a verdict.
 */
enum reason verdict_shadow(const struct facts *f, const struct verdict_host *vh,
    const struct verdict_proof *proof);

/* Is a policy of mode enforce part of what the host must prove? Also where a
 * demand of the operator set the level. */
bool verdict_by_sts(const struct verdict_host *vh);

/* The pattern of a policy that lists the host, or NULL. Borrowed. */
const char *verdict_listed(const struct facts_sts_policy *p, const char *host);

/* The patterns for people, printable, cut with "..." at len. Returns buf. */
const char *verdict_patterns(
    const struct facts_sts_policy *p, char *buf, size_t len);

/* The name for SNI: under DANE the TLSA base domain (RFC 7672, 8.1), else the
 * MX host (RFC 8461, 7.1). Borrowed; an address where the host is one. */
const char *verdict_sni(const struct verdict_host *vh);

/* What it proved, as a level. */
enum verdict_level verdict_proven(const struct verdict_proof *proof);

/* ---- telling it -------------------------------------------------------------- */

/* Fields mx_security, sts, outcome, reason, text and hosts of control.md's
 * `explain`, into the object that is open. */
void verdict_json(
    struct json *j, const struct facts *facts, const struct verdict *v);
/* The same without hosts. */
void verdict_json_head(
    struct json *j, const struct facts *facts, const struct verdict *v);

#endif
