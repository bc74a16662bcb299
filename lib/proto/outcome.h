/*
 * outcome.h - how an attempt ended, and the words for why (tls-policy section 7).
 *
 * One enum from the socket to the log line. Doubt means deferred.
 */
#ifndef POSTERN_PROTO_OUTCOME_H
#define POSTERN_PROTO_OUTCOME_H

#include <stdbool.h>

enum outcome {
	OUTCOME_DEFERRED, /* zero on purpose: what is not known is deferred */
	OUTCOME_DELIVERED,
	OUTCOME_FAILED,
	OUTCOME_EXPIRED,
	OUTCOME_REMOVED,
	OUTCOME_COUNT
};

/* "deferred", "delivered", "failed", "expired", "deleted". */
const char *outcome_word(enum outcome o);

enum reason {
	REASON_NONE,
	REASON_DNS_INDETERMINATE,
	REASON_TLSA_INDETERMINATE,
	REASON_DANE_REQUIRED,
	REASON_DANE_FAILED,
	REASON_STS_MX_MISMATCH,
	REASON_STS_REQUIRED,
	REASON_STS_DISCOVERY_WAIT,
	REASON_STARTTLS_MISSING,
	REASON_TLS_HANDSHAKE_FAILED,
	REASON_CERT_UNTRUSTED,
	REASON_CERT_EXPIRED,
	REASON_CERT_NAME_MISMATCH,
	REASON_REQUIRETLS_MISSING,
	REASON_HOST_DOWN,
	REASON_NO_HOSTS,
	REASON_NULL_MX,
	REASON_NXDOMAIN,
	REASON_THROTTLED,
	REASON_SUSPENDED,
	REASON_REMOTE_4XX,
	REASON_REMOTE_5XX,
	REASON_EXPIRED,
	/* ours, in the same manner */
	REASON_CONNECTION_LOST, /* mid-transaction, or after the dot: in doubt */
	REASON_WORKER_LOST,	/* our worker died while it held the message */
	REASON_MAIL_LOOP,	/* our own name among the best hosts */
	REASON_CONTENT,		/* the hop cannot take this content (8BITMIME,
				 * SMTPUTF8, SIZE) */
	REASON_PROTOCOL,	/* the hop broke SMTP */
	REASON_DISCARDED,	/* route /dev/null */
	REASON_REMOVED,		/* by an operator */
	REASON_HELD,
	REASON_STORE, /* our own store refused */
	REASON_DRAINING,
	REASON_ADDRESS_DENIED, /* DNS names addresses that settings refuse */
	REASON_COUNT
};

/* The stable word: "remote-4xx"; "" for REASON_NONE. */
const char *reason_word(enum reason r);
/* The reverse; REASON_NONE when unknown. */
enum reason reason_parse(const char *word);
/* Did TLS, or what a policy demands of it, keep the mail away? DSNs then say
 * 4.7.5, and another host may do better. */
bool reason_is_tls(enum reason r);

#endif
