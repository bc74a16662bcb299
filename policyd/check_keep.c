/*
 * check_keep.c - what checks have just fetched, for a delivery that would fetch
 * the same in the next moment: one look at a policy host is enough for both.
 *
 * Kept are the last KEPT_MAX results, for KEPT_MS each, with the id that TXT had
 * when it was fetched; taken once, and only for that id. Never kept is what
 * failed on our side. Decides nothing: who takes a result treats it as fetched.
 */
#include "policyd/policyd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/proc/child.h"

enum { KEPT_MAX = 16, KEPT_MS = 30 * 1000 };

struct kept {
	char domain[DNS_NAME_SIZE], id[STS_ID_MAX + 1]; /* "": free */
	int64_t at_ms;
	struct sts_fetch_result res; /* text and policy are owned */
};

/* One that is on its way to who took it. */
struct handing {
	uv_timer_t timer;
	struct app *app;
	struct kept kept;
	discover_fetch_cb *cb;
	void *arg;
};

/* File scope: one bound for the process, as for the checks themselves. */
static struct kept kept[KEPT_MAX];
static size_t next;

static void
kept_done(struct kept *k)
{
	free((void *)(uintptr_t)k->res.text);
	sts_policy_done(&k->res.policy);
	memset(k, 0, sizeof(*k));
}

/* Its own copies of what res borrows. False: memory. */
static bool
copy_result(struct sts_fetch_result *to, const struct sts_fetch_result *res)
{
	char *text = NULL, *list = NULL;

	if (res->why == STS_FETCH_OK) {
		text = malloc(res->text_len + 1);
		list = malloc(res->policy.list_len + 1);
		if (text == NULL || list == NULL) {
			free(text);
			free(list);
			return false;
		}
		if (res->text_len > 0)
			memcpy(text, res->text, res->text_len);
		if (res->policy.list_len > 0)
			memcpy(list, res->policy.list, res->policy.list_len);
	}
	*to = *res;
	to->text = text;
	to->policy.list = list;
	return true;
}

void
check_keep(
    const char *domain, const char *id, const struct sts_fetch_result *res)
{
	struct kept *k = &kept[next];

	if (id[0] == '\0' || res->why == STS_FETCH_INTERNAL || res->doubt)
		return;
	kept_done(k);
	if (!copy_result(&k->res, res))
		return;
	next = (next + 1) % KEPT_MAX;
	(void)snprintf(k->domain, sizeof(k->domain), "%s", domain);
	(void)snprintf(k->id, sizeof(k->id), "%s", id);
	k->at_ms = clock_mono_ms();
}

void
check_keep_done(void)
{
	size_t i;

	for (i = 0; i < KEPT_MAX; i++)
		kept_done(&kept[i]);
}

static void
on_closed(uv_handle_t *handle)
{
	struct handing *h = handle->data;

	kept_done(&h->kept);
	free(h);
}

static void
on_soon(uv_timer_t *timer)
{
	struct handing *h = timer->data;

	if (h->app->policy != NULL)
		h->cb(h->arg, h->kept.domain, &h->kept.res, NULL, 0);
	uv_close((uv_handle_t *)timer, on_closed);
}

/* A policy that lives shorter than it is kept here. */
static bool
is_over(const struct kept *k)
{
	return k->res.why == STS_FETCH_OK &&
	    clock_mono_ms() - k->at_ms >=
	    (int64_t)k->res.policy.max_age_s * 1000;
}

bool
check_keep_take(struct app *app, const char *domain, const char *id,
    discover_fetch_cb *cb, void *arg)
{
	int64_t oldest = clock_mono_ms() - KEPT_MS;
	struct handing *h;
	size_t i;

	for (i = 0; i < KEPT_MAX; i++)
		if (id[0] != '\0' && strcmp(kept[i].id, id) == 0 &&
		    strcmp(kept[i].domain, domain) == 0 &&
		    kept[i].at_ms > oldest && !is_over(&kept[i]))
			break;
	if (i == KEPT_MAX)
		return false;
	h = calloc(1, sizeof(*h));
	if (h == NULL || uv_timer_init(app->child->loop, &h->timer) < 0) {
		free(h);
		return false;
	}
	h->timer.data = h;
	h->app = app;
	h->kept = kept[i];
	h->kept.res.age_s = (clock_mono_ms() - kept[i].at_ms + 999) / 1000;
	memset(&kept[i], 0, sizeof(kept[i]));
	h->cb = cb;
	h->arg = arg;
	/* the answer comes later, never inside */
	(void)uv_timer_start(&h->timer, on_soon, 0, 0);
	return true;
}
