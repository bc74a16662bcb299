/*
 * requiretls.c - when mail with REQUIRETLS can go nowhere (RFC 8689, 4.2.1).
 *
 * Called by dest.c when every host was tried, or may not be. Pure. The RFC lets
 * such mail fail at once or wait; here it fails when each host said for itself
 * that it will not do, and waits when any trouble may pass (RTLS-15).
 */
#include "deliver/deliver.h"

bool
requiretls_final(enum reason r)
{
	switch (r) {
	case REASON_REQUIRETLS_MISSING:
	case REASON_STARTTLS_MISSING:
	case REASON_CERT_UNTRUSTED:
	case REASON_CERT_EXPIRED:
	case REASON_CERT_NAME_MISMATCH:
	case REASON_DANE_FAILED:
		return true;
	default:
		return false;
	}
}

const char *
requiretls_over(const struct dest *dst)
{
	const struct verdict *v = dst->plan->verdict;
	bool proved = false;
	size_t i;

	/* hosts beyond max_hosts were not looked at */
	if (dst->cls != MSG_REQUIRETLS || v->n_hosts == 0 ||
	    v->n_hosts != dst->plan->facts.n_hosts)
		return NULL;
	for (i = 0; i < v->n_hosts; i++) {
		const struct verdict_host *vh = &v->hosts[i];
		const struct host_state *hs = &dst->hosts[i];

		if (!vh->attempt
			? !vh->definitive
			: hs->temporary || !requiretls_final(hs->reason))
			return NULL;
		proved = proved ||
		    (vh->attempt && hs->reason == REASON_REQUIRETLS_MISSING);
	}
	return proved ? "5.7.30" : "5.7.10";
}
