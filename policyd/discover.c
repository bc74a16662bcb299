/*
 * discover.c - TXT lookups, and fetches with the addresses they need; and the
 * ops of the policy engine, made of these, the store and the clock.
 */
#include "policyd/policyd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"

/* What one domain waits for: a TXT answer, or addresses and then a fetch. */
struct job {
	LIST_ENTRY(job) link;
	struct app *app;
	discover_txt_cb *txt_cb;
	discover_fetch_cb *fetch_cb;
	void *arg;
	struct ask *asks[2]; /* TXT; or A and AAAA */
	struct sts_addr addrs[STS_FETCH_ADDRS_MAX];
	size_t n_addrs;
	struct sts_fetch *fetch;
	char why[128]; /* why there is no address */
	bool doubt;    /* one family could not be found out */
	char domain[DNS_NAME_SIZE];
};

static struct job *
job_new(struct app *app, const char *domain, void *arg)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->app = app;
	j->arg = arg;
	(void)snprintf(j->domain, sizeof(j->domain), "%s", domain);
	LIST_INSERT_HEAD(&app->jobs, j, link);
	return j;
}

void
discover_cancel(struct job *j)
{
	if (j == NULL)
		return;
	ask_cancel(j->asks[0]);
	ask_cancel(j->asks[1]);
	sts_fetch_cancel(j->fetch);
	LIST_REMOVE(j, link);
	free(j);
}

bool
discover_is_fetching(const struct job *j)
{
	return j != NULL && j->fetch != NULL;
}

void
jobs_cancel(struct app *app)
{
	while (!LIST_EMPTY(&app->jobs))
		discover_cancel(LIST_FIRST(&app->jobs));
}

/* ---- TXT ----------------------------------------------------------------------
 */

static void
on_txt(void *arg, const struct dns_answer *a)
{
	struct job *j = arg;
	discover_txt_cb *cb = j->txt_cb;
	void *cb_arg = j->arg;
	char domain[DNS_NAME_SIZE], text[300];
	struct sts_txt txt;

	j->asks[0] = NULL;
	memcpy(domain, j->domain, sizeof(domain));
	discover_cancel(j);
	if (log_wants(LOG_DEBUG))
		log_debug("dns_answer",
		    "DNS encache (%s, TXT, [(%u, '%s', %s)])", a->name,
		    a->ttl_s, dns_state_str(a->state),
		    a->kind == DNS_DATA ? dns_answer_text(a, text, sizeof(text))
					: dns_kind_str(a->kind));
	sts_txt_from_answer(a, &txt);
	cb(cb_arg, domain, &txt);
}

int
discover_txt(struct app *app, const char *domain, bool fresh,
    discover_txt_cb *cb, void *arg, struct job **ret_job)
{
	char name[DNS_NAME_SIZE + 16];
	struct job *j = job_new(app, domain, arg);

	if (j == NULL)
		return -ENOMEM;
	j->txt_cb = cb;
	(void)snprintf(name, sizeof(name), "_mta-sts.%s", domain);
	log_debug("dns_query", "DNS query: Q(%s, 'TXT')", name);
	j->asks[0] = ask_start(app, name, DNS_TXT, fresh, on_txt, j);
	if (j->asks[0] == NULL) {
		discover_cancel(j);
		return PE_FULL;
	}
	*ret_job = j;
	return 0;
}

/* ---- fetch ---------------------------------------------------------------------
 */

static void
on_fetched(void *arg, struct sts_fetch_result *res)
{
	struct job *j = arg, done = *j;

	j->fetch = NULL;
	discover_cancel(j);
	if (done.why[0] != '\0' &&
	    (res->why == STS_FETCH_DNS ||
		(res->why == STS_FETCH_PROXY && done.n_addrs == 0))) {
		(void)snprintf(
		    res->reason, sizeof(res->reason), "%s", done.why);
		res->doubt = done.doubt;
	}
	done.fetch_cb(done.arg, done.domain, res, done.addrs, done.n_addrs);
}

static void
begin_fetch(struct job *j)
{
	struct sts_fetch_result failed = { .why = STS_FETCH_INTERNAL,
		.reason = "out of memory" };
	struct app *app = j->app;

	if (sts_fetch_start(app->fetcher, j->domain, j->addrs, j->n_addrs,
		&app->child->conf->mta_sts.policy_host_allow, on_fetched, j,
		&j->fetch) < 0)
		on_fetched(j, &failed);
}

static void
take_addresses(struct job *j, const struct dns_answer *a)
{
	size_t i, want = a->type == DNS_A ? 4 : 16;
	struct sts_addr *addr;

	if (a->kind != DNS_DATA) {
		if (a->state != DNS_INDETERMINATE && j->doubt)
			return; /* the doubt is what is to be told */
		j->doubt = a->state == DNS_INDETERMINATE;
		(void)snprintf(j->why, sizeof(j->why), "address of %.60s: %s",
		    a->name,
		    a->state == DNS_INDETERMINATE ? dns_why_str(a->why)
						  : dns_kind_str(a->kind));
		return;
	}
	for (i = 0; i < a->rrs_len && j->n_addrs < STS_FETCH_ADDRS_MAX; i++) {
		if (a->rrs[i].data_len != want)
			continue;
		addr = &j->addrs[j->n_addrs++];
		addr->family = a->type == DNS_A ? AF_INET : AF_INET6;
		memcpy(addr->ip, a->rrs[i].data, want);
	}
}

static void
on_address(void *arg, const struct dns_answer *a)
{
	struct job *j = arg;

	j->asks[a->type == DNS_A ? 0 : 1] = NULL;
	take_addresses(j, a);
	if (j->asks[0] == NULL && j->asks[1] == NULL)
		begin_fetch(j);
}

int
discover_fetch(struct app *app, const char *domain, discover_fetch_cb *cb,
    void *arg, struct job **ret_job)
{
	struct job *j = job_new(app, domain, arg);
	char buf[STS_HOST_SIZE];
	const char *host;

	if (j == NULL)
		return -ENOMEM;
	j->fetch_cb = cb;
	*ret_job = j;
	host = sts_fetcher_host(app->fetcher, domain, buf);
	if (host == NULL) {
		begin_fetch(j); /* a proxy by address */
		return 0;
	}
	j->asks[0] = ask_start(app, host, DNS_A, false, on_address, j);
	j->asks[1] = ask_start(app, host, DNS_AAAA, false, on_address, j);
	if (j->asks[0] == NULL || j->asks[1] == NULL) {
		discover_cancel(j);
		return PE_FULL;
	}
	return 0;
}

/* ---- for the engine ---------------------------------------------------------------
 */

static void
engine_txt(void *arg, const char *domain, const struct sts_txt *txt)
{
	struct app *app = arg;

	policy_on_txt(app->policy, domain, txt);
}

static int
op_txt(void *arg, const char *domain, bool fresh)
{
	struct job *j;

	return discover_txt(arg, domain, fresh, engine_txt, arg, &j);
}

static void
engine_fetched(void *arg, const char *domain, struct sts_fetch_result *res,
    const struct sts_addr *addrs, size_t n_addrs)
{
	struct app *app = arg;

	(void)addrs;
	(void)n_addrs;
	policy_on_fetch(app->policy, domain, res);
}

static int
op_fetch(void *arg, const char *domain, const char *id)
{
	struct job *j;

	if (check_keep_take(arg, domain, id, engine_fetched, arg))
		return 0;
	return discover_fetch(arg, domain, engine_fetched, arg, &j);
}

/* ---- store and clock -------------------------------------------------------------
 */

static int
op_load(void *arg, const char *domain, struct policy_record *ret)
{
	struct app *app = arg;
	int r = store_get(app->store, domain, ret);

	if (r < 0 && r != PE_NOT_FOUND && r != PE_CORRUPT)
		log_warn(
		    "sts_store", "MTA-STS store: %s: %s", domain, err_str(r));
	return r;
}

struct saving {
	struct app *app;
	char domain[DNS_NAME_SIZE];
};

static void
on_saved(void *arg, int result)
{
	struct saving *s = arg;

	if (s->app->policy != NULL)
		policy_on_saved(s->app->policy, s->domain, result);
	free(s);
}

static int
op_save(void *arg, const struct policy_record *rec, bool wait)
{
	struct app *app = arg;
	struct saving *s;
	int r;

	if (!wait)
		return store_put(app->store, rec, app_now_s(app), NULL, NULL);
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	s->app = app;
	memcpy(s->domain, rec->domain, sizeof(s->domain));
	r = store_put(app->store, rec, app_now_s(app), on_saved, s);
	if (r < 0)
		free(s);
	return r;
}

static void
op_forget(void *arg, const char *domain)
{
	struct app *app = arg;
	int r = store_delete(app->store, domain, app_now_s(app));

	if (r < 0)
		log_warn(
		    "sts_store", "MTA-STS store: %s: %s", domain, err_str(r));
}

static int64_t
op_now_s(void *arg)
{
	return app_now_s(arg);
}

static int64_t
op_mono_ms(void *arg)
{
	(void)arg;
	return clock_mono_ms();
}

static uint32_t
op_random(void *arg)
{
	uint32_t v = 0;

	(void)arg;
	/* jitter only: without entropy there is none */
	(void)!getrandom(&v, sizeof(v), GRND_NONBLOCK);
	return v;
}

const struct policy_ops app_ops = {
	.now_s = op_now_s,
	.mono_ms = op_mono_ms,
	.random = op_random,
	.txt = op_txt,
	.fetch = op_fetch,
	.load = op_load,
	.save = op_save,
	.forget = op_forget,
	.event = app_event,
};
