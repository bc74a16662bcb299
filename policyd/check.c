/*
 * check.c - policyd's part of `posternctl sts check`: TXT past the DNS cache,
 * the policy host's address and certificate, the policy text, and what is
 * stored. The document is made in check_doc.c.
 *
 * Called by peer_admin.c. The same lookups and the same fetch as for delivery
 * (discover.c), but nothing comes of them: the store does not hear of it, and
 * the engine only when a delivery asks at once (check_keep.c). Answers within
 * CHECK_MS, whatever the policy host does.
 */
#include "policyd/policyd.h"
#include "policyd/check_doc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/json/json.h"
#include "lib/proc/child.h"

enum { CHECK_MS = 18 * 1000, CHECKS_MAX = 16 };

struct check {
	LIST_ENTRY(check) link;
	struct app *app;
	check_done *done;
	void *arg;
	uv_timer_t timer;
	struct job *job;
	struct check_found found;
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
	sts_policy_done(&c->found.policy);
	if (c->found.stored)
		record_done(&c->found.rec);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

/* ---- the steps --------------------------------------------------------------------------- */

static void
answer(struct check *c)
{
	check_done *done = c->done;
	void *arg = c->arg;
	struct buf doc;
	struct json j;

	buf_init(&doc, 256 * 1024);
	json_init(&j, &doc);
	check_put(&j, &c->found, app_now_s(c->app));
	check_cancel(c);
	done(arg, &doc, j.err);
	buf_done(&doc);
}

static void
on_fetched(void *arg, const char *domain, struct sts_fetch_result *res,
    const struct sts_addr *addrs, size_t n_addrs)
{
	struct check *c = arg;
	char text[64];
	size_t i, at = 0;

	(void)domain;
	c->job = NULL;
	c->found.stage = res->why == STS_FETCH_INTERNAL ? CHECK_POLICY
							: check_stage(res->why);
	c->found.tried = res->why != STS_FETCH_INTERNAL;
	c->found.why = res->why;
	(void)snprintf(
	    c->found.reason, sizeof(c->found.reason), "%s", res->reason);
	for (i = 0; i < n_addrs && at < sizeof(c->found.addresses); i++)
		at += (size_t)snprintf(c->found.addresses + at,
		    sizeof(c->found.addresses) - at, "%s%s", i > 0 ? ", " : "",
		    sts_addr_text(&addrs[i], text, sizeof(text)));
	if (c->found.txt.outcome == STS_TXT_USABLE)
		check_keep(c->found.domain, c->found.txt.id, res);
	if (res->why == STS_FETCH_OK) {
		c->found.policy = res->policy;
		memset(&res->policy, 0, sizeof(res->policy)); /* ours now */
	}
	answer(c);
}

static void
failed_here(struct check *c, const char *text)
{
	c->found.why = STS_FETCH_INTERNAL;
	c->found.stage = CHECK_POLICY;
	(void)snprintf(c->found.reason, sizeof(c->found.reason), "%s", text);
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
	c->found.have_txt = true;
	c->found.txt = *txt;
	r = discover_fetch(c->app, c->found.domain, on_fetched, c, &c->job);
	if (r < 0)
		failed_here(c, err_str(r));
}

/* Too late for the rest: told where it hung. */
static void
on_timer(uv_timer_t *timer)
{
	struct check *c = timer->data;
	struct check_found *f = &c->found;

	f->why = STS_FETCH_TIMEOUT;
	f->tried = f->have_txt;
	f->stage = discover_is_fetching(c->job) ? CHECK_CONNECT : CHECK_ADDRESS;
	(void)snprintf(f->reason, sizeof(f->reason),
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
	r = dns_name_normalise(domain, c->found.domain) < 0 ? PE_SYNTAX : 0;
	if (r == 0) {
		c->found.stored =
		    store_get(app->store, c->found.domain, &c->found.rec) == 0;
		r = discover_txt(
		    app, c->found.domain, true, on_txt, c, &c->job);
	}
	if (r < 0) {
		check_cancel(c);
		return r;
	}
	(void)uv_timer_start(&c->timer, on_timer, CHECK_MS, 0);
	*ret_check = c;
	return 0;
}
