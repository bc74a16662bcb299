/*
 * hosts.c - what a hold of a destination knows of each host: which address is
 * next, what failed and why.
 *
 * Called by dest.c. Facts may be short-lived, and hosts slow: what failed must
 * outlive the plan that it was tried under, or a hold would begin again for ever
 * with its first host, while its mail is never tried elsewhere nor deferred.
 */
#include "deliver/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

static const struct host_state *
state_before(const struct dest *dst, const struct verdict_host *vh)
{
	const struct verdict *v;
	size_t i;

	if (dst->plan == NULL || dst->hosts == NULL)
		return NULL;
	v = dst->plan->verdict;
	for (i = 0; i < v->n_hosts; i++)
		if (v->hosts[i].attempt && v->hosts[i].level == vh->level &&
		    v->hosts[i].host->port == vh->host->port &&
		    strcmp(v->hosts[i].host->name, vh->host->name) == 0)
			return &dst->hosts[i];
	return NULL;
}

struct host_state *
hosts_new(const struct dest *dst, const struct plan *plan)
{
	const struct verdict *v = plan->verdict;
	struct host_state *hosts = calloc(v->n_hosts + 1, sizeof(hosts[0]));
	size_t i;

	if (hosts == NULL || dst->failing_ms == 0)
		return hosts;
	for (i = 0; i < v->n_hosts; i++) {
		const struct host_state *old = v->hosts[i].attempt
		    ? state_before(dst, &v->hosts[i])
		    : NULL;

		/* what TLS failed by may be other records now */
		if (old == NULL || reason_is_tls(old->reason))
			continue;
		hosts[i] = *old;
		if (old->addr_at >= v->hosts[i].host->n_addrs)
			hosts[i].down = true;
	}
	return hosts;
}

void
hosts_failing(struct dest *dst)
{
	if (dst->failing_ms == 0)
		dst->failing_ms = clock_mono_ms();
}

void
hosts_mark(struct dest *dst, struct host_state *hs, enum reason reason,
    const char *status, const char *text)
{
	hosts_failing(dst);
	if (reason_is_tls(hs->reason) && !reason_is_tls(reason))
		return;
	hs->reason = reason;
	(void)snprintf(hs->status, sizeof(hs->status), "%s", status);
	(void)snprintf(hs->text, sizeof(hs->text), "%.*s",
	    (int)sizeof(hs->text) - 1, text);
}

bool
hosts_fruitless(const struct dest *dst)
{
	return dst->failing_ms != 0 && dst->n_conns == 0 && dst->plan != NULL &&
	    clock_mono_ms() - dst->failing_ms >=
	    (int64_t)FRUITLESS_MAX_S * 1000;
}
