/*
 * admin.c - the parts of this process put together, and the samples for rates.
 *
 * Called by main.c, and by tests that bring their own owners. Never acts: every
 * command goes to the process that owns the thing.
 */
#include "admin/admin.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *
process_name(enum role role, uint32_t instance, char *buf, size_t len)
{
	if (role == ROLE_SMTPD || role == ROLE_DELIVER)
		(void)snprintf(buf, len, "%s %u", role_name(role), instance);
	else
		(void)snprintf(buf, len, "%s", role_name(role));
	return buf;
}

/* ---- samples ---------------------------------------------------------------------- */

static void
take_sample(struct admin *a)
{
	size_t i;

	for (i = 0; i < ask_count(a->sample); i++) {
		struct ask_answer *ans = ask_at(a->sample, i);

		if (ans->code == 0)
			(void)rates_add(&a->rates, ans->role, ans->instance,
			    buf_data(&ans->doc), buf_len(&ans->doc));
	}
	rates_sample(&a->rates, clock_mono_ms());
	ask_free(a->sample);
	a->sample = NULL;
}

static void
on_sampled(void *arg, struct ask *ask)
{
	(void)ask;
	take_sample(arg);
}

static void
on_sample_timer(uv_timer_t *timer)
{
	struct admin *a = timer->data;
	const struct adm_call call = { .op = ADM_METRICS,
		.args = { "", "", "" } };

	if (a->sample != NULL)
		return; /* a slow process: the next turn has it */
	a->sample = ask_new(a->owners, on_sampled, a);
	if (a->sample == NULL)
		return;
	(void)ask_all(a->sample, ROLE_COUNT, &call, ASK_TIMEOUT_MS);
	if (!ask_wait(a->sample))
		take_sample(a);
}

/* ---- life --------------------------------------------------------------------------- */

int
admin_open(struct admin *a, uv_loop_t *loop, struct ipc_hub *hub,
    const struct owners_hooks *hooks)
{
	a->loop = loop;
	a->started_ms = clock_mono_ms();
	a->started_s = clock_now_s();
	rates_init(&a->rates);
	a->owners = owners_new(loop, hub, hooks);
	a->control =
	    http_new(loop, HTTP_CONTROL, api_handle, a, &a->http_stats);
	a->web = http_new(loop, HTTP_WEB, api_handle, a, &a->http_stats);
	a->sample_timer = malloc(sizeof(*a->sample_timer));
	if (a->owners == NULL || a->control == NULL || a->web == NULL ||
	    a->sample_timer == NULL) {
		log_warn("admin_start", "admin: the HTTP library: %s",
		    err_str(-ENOMEM));
		free(a->sample_timer);
		a->sample_timer = NULL;
		return -ENOMEM;
	}
	(void)uv_timer_init(loop, a->sample_timer); /* cannot fail */
	a->sample_timer->data = a;
	return uv_timer_start(
	    a->sample_timer, on_sample_timer, 1000, RATES_EVERY_MS);
}

int
admin_listen(struct admin *a, enum http_kind kind, int fd, uid_t owner_uid)
{
	struct front_opts opts = {
		.name = kind == HTTP_CONTROL ? "control" : "http",
		.check_peer = kind == HTTP_CONTROL,
		.owner_uid = owner_uid,
		.on_conn = http_take,
		.arg = kind == HTTP_CONTROL ? a->control : a->web,
		.stats = &a->front_stats,
	};
	struct front *f;

	if (a->n_fronts == ADMIN_LISTENERS_MAX) {
		log_warn("admin_listener",
		    "admin: more than %d listeners: one is left out",
		    ADMIN_LISTENERS_MAX);
		(void)close(fd);
		return PE_FULL;
	}
	f = front_new(a->loop, fd, &opts);
	if (f == NULL)
		return -ENOMEM;
	a->fronts[a->n_fronts++] = f;
	return 0;
}

static void
on_front_empty(void *arg)
{
	struct admin *a = arg;

	if (--a->n_draining == 0)
		a->on_drained(a->drained_arg);
}

void
admin_drain(struct admin *a, void (*on_drained)(void *arg), void *arg)
{
	size_t i;

	a->on_drained = on_drained;
	a->drained_arg = arg;
	a->n_draining = a->n_fronts + 1;
	for (i = 0; i < a->n_fronts; i++)
		front_drain(a->fronts[i], on_front_empty, a);
	on_front_empty(a);
}

static void
on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

void
admin_close(struct admin *a)
{
	size_t i;

	for (i = 0; i < a->n_fronts; i++)
		front_free(a->fronts[i]);
	a->n_fronts = 0;
	ask_free(a->sample);
	a->sample = NULL;
	if (a->sample_timer != NULL)
		uv_close((uv_handle_t *)a->sample_timer, on_timer_closed);
	a->sample_timer = NULL;
	http_free(a->control);
	http_free(a->web);
	a->control = a->web = NULL;
	owners_free(a->owners);
	a->owners = NULL;
	rates_done(&a->rates);
}
