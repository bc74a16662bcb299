/*
 * check.c - policyd's part of `posternctl sts check`: TXT past the DNS cache,
 * the policy host's address and certificate, the policy text, and what is
 * stored.
 *
 * Called by peer_admin.c. The same lookups and the same fetch as for delivery
 * (discover.c), but nothing comes of them: the store and the engine do not hear
 * of it. Answers within CHECK_MS, whatever the policy host does.
 */
#include "policyd/policyd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/json/json.h"
#include "lib/proc/child.h"
#include "lib/proto/diag.h"

enum { CHECK_MS = 18 * 1000, CHECKS_MAX = 16 };

struct check {
	LIST_ENTRY(check) link;
	struct app *app;
	check_done *done;
	void *arg;
	uv_timer_t timer;
	struct job *job;
	bool have_txt, fetched;
	struct sts_txt txt;
	enum sts_fetch_why why;
	char reason[256], addresses[512];
	struct sts_policy policy; /* when why is OK */
	struct policy_record rec;
	bool stored;
	char domain[DNS_NAME_SIZE];
};

static LIST_HEAD(check_list, check) checks = LIST_HEAD_INITIALIZER(checks);
static size_t n_checks; /* file scope: one bound for all admins */

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void
check_cancel(struct check *c)
{
	if (c == NULL)
		return;
	LIST_REMOVE(c, link);
	n_checks--;
	discover_cancel(c->job);
	sts_policy_done(&c->policy);
	if (c->stored)
		record_done(&c->rec);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

/* ---- the document -------------------------------------------------------------------- */

/* Nobody says that there is a policy: then it is no fault either. */
static bool
not_used(const struct check *c)
{
	return c->have_txt && c->txt.outcome == STS_TXT_NONE &&
	    c->txt.announced == 0 && !c->stored && c->addresses[0] == '\0';
}

static void
put_txt(struct json *j, const struct check *c)
{
	char name[DNS_NAME_SIZE + 16], todo[2 * DNS_NAME_SIZE];

	(void)snprintf(name, sizeof(name), "_mta-sts.%s", c->domain);
	(void)snprintf(todo, sizeof(todo),
	    "ask its name servers: dig TXT %s; meanwhile %s", name,
	    c->stored ? "the stored policy holds"
		      : "no policy can be found, and mail waits");
	if (!c->have_txt)
		diag_put(j, "txt", name, DIAG_ERROR, todo,
		    "TXT lookup failed: no answer in time");
	else if (c->txt.outcome == STS_TXT_USABLE)
		diag_put(j, "txt", name, DIAG_OK, NULL, "id %s", c->txt.id);
	else if (c->txt.outcome == STS_TXT_TEMPORARY)
		diag_put(j, "txt", name, DIAG_ERROR, todo, "%s", c->txt.reason);
	else if (not_used(c))
		diag_put(j, "txt", name, DIAG_WARNING,
		    "nothing, if the domain is not meant to use MTA-STS; else "
		    "its owner publishes \"v=STSv1; id=...;\" there, and a "
		    "policy on its policy host",
		    "%s: the domain does not use MTA-STS", c->txt.reason);
	else
		diag_put(j, "txt", name, DIAG_ERROR,
		    "its owner publishes exactly one record that begins with "
		    "v=STSv1; and has an id; until then a policy that is not "
		    "stored yet is not used",
		    "%s", c->txt.reason);
}

/* How far did the fetch come? */
enum stage { ADDRESS, CONNECT, CERTIFICATE, POLICY, STAGES };

static enum stage
stage_of(const struct check *c)
{
	switch (c->why) {
	case STS_FETCH_DNS:
	case STS_FETCH_REFUSED:
		return ADDRESS;
	case STS_FETCH_CONNECT:
	case STS_FETCH_TIMEOUT:
	case STS_FETCH_TLS:
	case STS_FETCH_PROXY:
		return CONNECT;
	case STS_FETCH_CERT:
		return CERTIFICATE;
	default:
		return POLICY;
	}
}

static const char *
fetch_todo(enum sts_fetch_why why)
{
	static const char *const texts[STS_FETCH_WHY_COUNT] = {
		[STS_FETCH_DNS] = "the owner publishes an address (or a CNAME) "
				  "for this name",
		[STS_FETCH_REFUSED] =
		    "the owner publishes public addresses; if a private one is "
		    "meant here: [mta-sts] policy_host_allow",
		[STS_FETCH_CONNECT] =
		    "the owner repairs the policy host; from "
		    "this node: curl -v with the address below",
		[STS_FETCH_TIMEOUT] =
		    "the owner repairs the policy host, or a "
		    "firewall on the way drops port 443; "
		    "from this node: curl -v with the address below",
		[STS_FETCH_TLS] = "the owner enables TLS 1.2 or later on the "
				  "policy host",
		[STS_FETCH_CERT] = "the owner installs a valid certificate "
				   "from a public CA that names the policy "
				   "host",
		[STS_FETCH_PROXY] = "look at the proxy of [mta-sts] proxy",
		[STS_FETCH_REDIRECT] = "the owner serves the policy at exactly "
				       "this address: redirects are never "
				       "followed",
		[STS_FETCH_STATUS] = "the owner serves the policy at this "
				     "address with status 200",
		[STS_FETCH_TYPE] = "the owner serves it as text/plain",
		[STS_FETCH_SIZE] = "the owner makes the policy smaller than "
				   "64 KiB",
		[STS_FETCH_HTTP] = "the owner repairs the web server of the "
				   "policy host",
		[STS_FETCH_INVALID] = "the owner repairs the text (RFC 8461, "
				      "3.2); posternctl sts parse judges a "
				      "new one",
		[STS_FETCH_INTERNAL] = "see the log of policyd",
	};

	return texts[why];
}

static void
put_policy(struct json *j, const struct check *c, const char *url)
{
	char mx[DIAG_TEXT / 2] = "";
	const char *text;
	size_t at = 0, n = 0;

	while ((text = sts_list_next(
		    c->policy.list, c->policy.list_len, &at)) != NULL &&
	    n < sizeof(mx))
		n += (size_t)snprintf(
		    mx + n, sizeof(mx) - n, "%s%s", n > 0 ? ", " : "", text);
	diag_put(j, "policy", url, DIAG_OK, NULL,
	    "mode %s, max_age %u s, mx %s", sts_mode_word(c->policy.mode),
	    c->policy.max_age_s, n > 0 ? mx : "-");
}

static void
put_fetch(struct json *j, const struct check *c)
{
	static const char *const words[STAGES] = { "address", "connect",
		"certificate", "policy" };
	char host[STS_HOST_SIZE], url[STS_HOST_SIZE + 64];
	bool absent = not_used(c) && c->why == STS_FETCH_DNS;
	enum stage at = stage_of(c);
	size_t i;

	(void)snprintf(host, sizeof(host), "mta-sts.%s", c->domain);
	(void)snprintf(
	    url, sizeof(url), "https://%s/.well-known/mta-sts.txt", host);
	for (i = 0; i < STAGES; i++) {
		const char *subject = i == POLICY ? url : host;

		if (i == at && c->why != STS_FETCH_OK)
			diag_put(j, words[i], subject,
			    absent ? DIAG_SKIPPED : DIAG_ERROR,
			    absent ? NULL : fetch_todo(c->why), "%s",
			    c->reason);
		else if (i > at)
			diag_put(j, words[i], subject, DIAG_SKIPPED, NULL,
			    "not reached");
		else if (i == ADDRESS)
			diag_put(j, words[i], subject, DIAG_OK, NULL, "%s",
			    c->addresses[0] != '\0' ? c->addresses
						    : "by the proxy");
		else if (i == CONNECT)
			diag_put(j, words[i], subject, DIAG_OK, NULL,
			    "connected, TLS 1.2 or later");
		else if (i == CERTIFICATE)
			diag_put(j, words[i], subject, DIAG_OK, NULL,
			    "trusted, and names %s", host);
		else
			put_policy(j, c, url);
	}
}

static void
put_list(struct json *j, const char *list, size_t len)
{
	const char *text;
	size_t at = 0;

	json_put_arr(j, "mx");
	while ((text = sts_list_next(list, len, &at)) != NULL)
		json_put_str(j, NULL, text);
	json_put_end_arr(j);
}

static void
put_facts(struct json *j, const struct check *c)
{
	bool ok = c->fetched && c->why == STS_FETCH_OK;

	json_put_obj(j, "txt");
	json_put_str(j, "outcome",
	    sts_txt_outcome_word(
		c->have_txt ? c->txt.outcome : STS_TXT_TEMPORARY));
	json_put_str(j, "id",
	    c->have_txt && c->txt.outcome == STS_TXT_USABLE ? c->txt.id : NULL);
	json_put_str(j, "reason", c->txt.reason);
	json_put_end_obj(j);
	json_put_obj(j, "fetch");
	json_put_str(j, "result", sts_fetch_why_word(c->why));
	json_put_str(j, "reason", c->reason);
	json_put_str(j, "mode", ok ? sts_mode_word(c->policy.mode) : NULL);
	if (ok)
		json_put_uint(j, "max_age_s", c->policy.max_age_s);
	else
		json_put_null(j, "max_age_s");
	put_list(j, c->policy.list, c->policy.list_len);
	json_put_end_obj(j);
	if (!c->stored) {
		json_put_null(j, "stored");
		return;
	}
	json_put_obj(j, "stored");
	json_put_str(j, "mode", sts_mode_word(c->rec.policy.mode));
	json_put_str(j, "id", c->rec.id);
	json_put_int(j, "age_s", app_now_s(c->app) - c->rec.fetched_s);
	json_put_uint(j, "max_age_s", c->rec.policy.max_age_s);
	json_put_uint(j, "failures", c->rec.failures);
	json_put_str(
	    j, "last_error", c->rec.error[0] != '\0' ? c->rec.error : NULL);
	put_list(j, c->rec.policy.list, c->rec.policy.list_len);
	json_put_end_obj(j);
}

static void
answer(struct check *c)
{
	check_done *done = c->done;
	void *arg = c->arg;
	struct buf doc;
	struct json j;

	buf_init(&doc, 256 * 1024);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_str(&j, "domain", c->domain);
	put_facts(&j, c);
	json_put_arr(&j, "steps");
	put_txt(&j, c);
	put_fetch(&j, c);
	json_put_end_arr(&j);
	json_put_end_obj(&j);
	check_cancel(c);
	done(arg, &doc, j.err);
	buf_done(&doc);
}

/* ---- the steps --------------------------------------------------------------------------- */

static void
on_fetched(void *arg, const char *domain, struct sts_fetch_result *res,
    const struct sts_addr *addrs, size_t n_addrs)
{
	struct check *c = arg;
	char text[64];
	size_t i, at = 0;

	(void)domain;
	c->job = NULL;
	c->fetched = true;
	c->why = res->why;
	(void)snprintf(c->reason, sizeof(c->reason), "%s", res->reason);
	for (i = 0; i < n_addrs && at < sizeof(c->addresses); i++)
		at += (size_t)snprintf(c->addresses + at,
		    sizeof(c->addresses) - at, "%s%s", i > 0 ? ", " : "",
		    sts_addr_text(&addrs[i], text, sizeof(text)));
	if (res->why == STS_FETCH_OK) {
		c->policy = res->policy;
		memset(&res->policy, 0, sizeof(res->policy)); /* ours now */
	}
	answer(c);
}

static void
failed_here(struct check *c, const char *text)
{
	c->why = STS_FETCH_INTERNAL;
	(void)snprintf(c->reason, sizeof(c->reason), "%s", text);
	answer(c);
}

/* Also without a usable record: then the owner sees what is there already. */
static void
on_txt(void *arg, const char *domain, const struct sts_txt *txt)
{
	struct check *c = arg;
	int r;

	(void)domain;
	c->job = NULL;
	c->have_txt = true;
	c->txt = *txt;
	r = discover_fetch(c->app, c->domain, on_fetched, c, &c->job);
	if (r < 0)
		failed_here(c, err_str(r));
}

static void
on_timer(uv_timer_t *timer)
{
	struct check *c = timer->data;

	c->why = STS_FETCH_TIMEOUT;
	(void)snprintf(c->reason, sizeof(c->reason),
	    "no policy within %d s (for delivery the node waits for up to "
	    "%lld s)",
	    CHECK_MS / 1000,
	    (long long)c->app->child->conf->mta_sts.fetch_timeout_ms / 1000);
	answer(c);
}

void
checks_stop(void)
{
	struct buf none;

	buf_init(&none, 0);
	while (!LIST_EMPTY(&checks)) {
		struct check *c = LIST_FIRST(&checks);
		check_done *done = c->done;
		void *arg = c->arg;

		check_cancel(c);
		done(arg, &none, PE_GONE);
	}
}

int
check_start(struct app *app, const char *domain, check_done *done, void *arg,
    struct check **ret_check)
{
	struct check *c;
	int r;

	if (n_checks == CHECKS_MAX)
		return PE_FULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	(void)uv_timer_init(app->child->loop, &c->timer); /* never fails */
	c->timer.data = c;
	c->app = app;
	c->done = done;
	c->arg = arg;
	LIST_INSERT_HEAD(&checks, c, link);
	n_checks++;
	r = dns_name_normalise(domain, c->domain) < 0 ? PE_SYNTAX : 0;
	if (r == 0) {
		c->stored = store_get(app->store, c->domain, &c->rec) == 0;
		r = discover_txt(app, c->domain, true, on_txt, c, &c->job);
	}
	if (r < 0) {
		check_cancel(c);
		return r;
	}
	(void)uv_timer_start(&c->timer, on_timer, CHECK_MS, 0);
	*ret_check = c;
	return 0;
}
