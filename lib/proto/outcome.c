/*
 * outcome.c - words for outcomes and reasons. They are a contract: logs, `why`,
 * `explain` and metrics use them.
 */
#include "lib/proto/outcome.h"

#include <string.h>

static const char *const outcomes[OUTCOME_COUNT] = {
	[OUTCOME_DEFERRED] = "deferred",
	[OUTCOME_DELIVERED] = "delivered",
	[OUTCOME_FAILED] = "failed",
	[OUTCOME_EXPIRED] = "expired",
	[OUTCOME_REMOVED] = "deleted",
};

static const char *const reasons[REASON_COUNT] = {
	[REASON_NONE] = "",
	[REASON_DNS_INDETERMINATE] = "dns-indeterminate",
	[REASON_TLSA_INDETERMINATE] = "tlsa-indeterminate",
	[REASON_DANE_REQUIRED] = "dane-required",
	[REASON_DANE_FAILED] = "dane-failed",
	[REASON_STS_MX_MISMATCH] = "sts-mx-mismatch",
	[REASON_STS_REQUIRED] = "sts-required",
	[REASON_STS_DISCOVERY_WAIT] = "sts-discovery-wait",
	[REASON_STARTTLS_MISSING] = "starttls-missing",
	[REASON_TLS_HANDSHAKE_FAILED] = "tls-handshake-failed",
	[REASON_CERT_UNTRUSTED] = "cert-untrusted",
	[REASON_CERT_EXPIRED] = "cert-expired",
	[REASON_CERT_NAME_MISMATCH] = "cert-name-mismatch",
	[REASON_REQUIRETLS_MISSING] = "requiretls-missing",
	[REASON_HOST_DOWN] = "host-down",
	[REASON_NO_HOSTS] = "no-hosts",
	[REASON_NULL_MX] = "null-mx",
	[REASON_NXDOMAIN] = "nxdomain",
	[REASON_THROTTLED] = "throttled",
	[REASON_SUSPENDED] = "suspended",
	[REASON_REMOTE_4XX] = "remote-4xx",
	[REASON_REMOTE_5XX] = "remote-5xx",
	[REASON_EXPIRED] = "expired",
	[REASON_CONNECTION_LOST] = "connection-lost",
	[REASON_WORKER_LOST] = "worker-lost",
	[REASON_MAIL_LOOP] = "mail-loop",
	[REASON_CONTENT] = "content-not-supported",
	[REASON_PROTOCOL] = "protocol-error",
	[REASON_DISCARDED] = "discarded",
	[REASON_REMOVED] = "removed",
	[REASON_HELD] = "held",
	[REASON_STORE] = "store-error",
	[REASON_DRAINING] = "draining",
	[REASON_ADDRESS_DENIED] = "address-denied",
};

const char *
outcome_word(enum outcome o)
{
	return (unsigned)o < OUTCOME_COUNT ? outcomes[o] : "deferred";
}

const char *
reason_word(enum reason r)
{
	return (unsigned)r < REASON_COUNT ? reasons[r] : "";
}

enum reason
reason_parse(const char *word)
{
	unsigned i;

	for (i = 1; i < REASON_COUNT; i++)
		if (strcmp(reasons[i], word) == 0)
			return (enum reason)i;
	return REASON_NONE;
}

bool
reason_is_tls(enum reason r)
{
	switch (r) {
	case REASON_TLSA_INDETERMINATE:
	case REASON_DANE_REQUIRED:
	case REASON_DANE_FAILED:
	case REASON_STS_MX_MISMATCH:
	case REASON_STS_REQUIRED:
	case REASON_STS_DISCOVERY_WAIT:
	case REASON_STARTTLS_MISSING:
	case REASON_TLS_HANDSHAKE_FAILED:
	case REASON_CERT_UNTRUSTED:
	case REASON_CERT_EXPIRED:
	case REASON_CERT_NAME_MISMATCH:
	case REASON_REQUIRETLS_MISSING:
		return true;
	default:
		return false;
	}
}
