/*
 * owners.c - channels to the processes that admin may ask, and calls under way.
 *
 * Used by ask.c. Never interprets a document. Never believes a peer: an answer
 * without a call is dropped (it is late), one over the bound ends its call.
 */
#include "admin/owners.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

struct owner {
	struct owners *owners;
	enum role role;
	uint32_t instance;
	struct ipc_chan *chan; /* NULL: supervisor, or not running */
};

struct owner_call {
	TAILQ_ENTRY(owner_call) link;
	struct owner *owner;
	uint64_t req_id;
	int64_t deadline_ms, timeout_ms;
	owner_cb *cb;
	void *arg;
	struct buf doc;
	uint16_t over; /* not 0: the answer is refused already */
};

struct owners {
	uv_timer_t *timer; /* freed in its close callback */
	struct ipc_hub *hub;
	struct owners_hooks hooks;
	struct owner *v[OWNERS_MAX];
	size_t n;
	TAILQ_HEAD(owner_call_list, owner_call) calls;
	size_t n_calls, n_bytes;
	uint64_t last_req_id, timeouts;
	bool stopping;
};

static void arm(struct owners *o);

static struct owner *
find(struct owners *o, enum role role, uint32_t instance)
{
	size_t i;

	for (i = 0; i < o->n; i++)
		if (o->v[i]->role == role && o->v[i]->instance == instance)
			return o->v[i];
	return NULL;
}

static struct owner *
add(struct owners *o, enum role role, uint32_t instance)
{
	struct owner *ow;

	if (o->n == OWNERS_MAX)
		return NULL;
	ow = calloc(1, sizeof(*ow));
	if (ow == NULL)
		return NULL;
	ow->owners = o;
	ow->role = role;
	ow->instance = instance;
	o->v[o->n++] = ow;
	return ow;
}

/* ---- ends of calls ---------------------------------------------------------- */

void
owner_call_cancel(struct owner_call *call)
{
	struct owners *o;

	if (call == NULL)
		return;
	o = call->owner->owners;
	TAILQ_REMOVE(&o->calls, call, link);
	o->n_calls--;
	o->n_bytes -= buf_len(&call->doc);
	buf_done(&call->doc);
	free(call);
}

static void
finish(struct owner_call *call, uint16_t code, const char *text)
{
	struct owners *o = call->owner->owners;
	struct buf doc = call->doc;
	struct owner_reply r = { code, text, &doc };
	owner_cb *cb = call->cb;
	void *arg = call->arg;

	o->n_bytes -= buf_len(&doc);
	buf_init(&call->doc, OWNER_REPLY_MAX);
	owner_call_cancel(call);
	cb(arg, &r);
	buf_done(&doc);
}

static void
fail_calls_of(struct owner *ow, const char *text)
{
	struct owner_call *call;

	/* a callback may start and cancel calls: look again each time */
	do {
		TAILQ_FOREACH(call, &ow->owners->calls, link)
			if (call->owner == ow)
				break;
		if (call != NULL)
			finish(call, 503, text);
	} while (call != NULL);
}

static void
on_timer(uv_timer_t *timer)
{
	struct owners *o = timer->data;
	struct owner_call *call;
	int64_t now = clock_mono_ms();
	char text[96];

	do {
		TAILQ_FOREACH(call, &o->calls, link)
			if (call->deadline_ms <= now)
				break;
		if (call != NULL) {
			o->timeouts++;
			(void)snprintf(text, sizeof(text),
			    "no answer within %lld s",
			    (long long)((call->timeout_ms + 999) / 1000));
			finish(call, 504, text);
		}
	} while (call != NULL);
	arm(o);
}

/* One timer for all, at the nearest deadline. */
static void
arm(struct owners *o)
{
	struct owner_call *call;
	int64_t next = INT64_MAX, now = clock_mono_ms();

	if (o->stopping)
		return;
	TAILQ_FOREACH(call, &o->calls, link)
		if (call->deadline_ms < next)
			next = call->deadline_ms;
	if (next == INT64_MAX)
		(void)uv_timer_stop(o->timer);
	else
		(void)uv_timer_start(o->timer, on_timer,
		    next > now ? (uint64_t)(next - now) : 0, 0);
}

/* ---- answers ------------------------------------------------------------------ */

static struct owner_call *
find_call(struct owners *o, const struct owner *ow, uint64_t req_id)
{
	struct owner_call *call;

	TAILQ_FOREACH(call, &o->calls, link)
		if (call->req_id == req_id)
			return call->owner == ow ? call : NULL;
	return NULL;
}

static void
take_data(struct owner *ow, uint64_t req_id, const uint8_t *data, size_t len)
{
	struct owners *o = ow->owners;
	struct owner_call *call = find_call(o, ow, req_id);

	if (call == NULL || call->over != 0)
		return; /* late, or refused: read and forgotten */
	if (o->n_bytes + len > OWNER_REPLIES_MAX) {
		call->over = 503;
	} else if (buf_put(&call->doc, data, len) < 0) {
		call->over = 502;
	} else {
		o->n_bytes += len;
		return;
	}
	o->n_bytes -= buf_len(&call->doc);
	buf_reset(&call->doc, 0);
}

static void
take_end(struct owner *ow, uint64_t req_id, uint16_t code, const char *text)
{
	struct owner_call *call = find_call(ow->owners, ow, req_id);

	if (call == NULL)
		return;
	if (call->over != 0) {
		code = call->over;
		text = code == 503 ? "too many large answers at one time"
				   : "the answer is too large: ask for less";
	}
	finish(call, code, text);
	arm(ow->owners);
}

static int
on_data(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	take_data(peer, m->req_id, rd->p, m->len);
	return 0;
}

static int
on_end(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct adm_end msg;

	if (adm_end_decode(rd, &msg) < 0)
		return PE_PROTO;
	take_end(peer, m->req_id, msg.code, msg.text);
	return 0;
}

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type     min  max            when     flags       handler */
	{ ADM_DATA, 0,   ADM_PIECE_MAX, IPC_ANY, IPC_CREDIT, on_data },
	{ ADM_END,  5,   2048,          IPC_ANY, 0,          on_end },
};
/* clang-format on */

static void
on_down(void *peer, int why, const char *text)
{
	struct owner *ow = peer;
	struct owners *o = ow->owners;

	ipc_chan_free(ow->chan);
	ow->chan = NULL;
	if (why != PE_GONE && o->hooks.on_broken != NULL)
		o->hooks.on_broken(o->hooks.arg, ow->role, ow->instance, text);
	fail_calls_of(ow, "the process ended before it answered");
	arm(o);
}

static const struct ipc_spec spec = {
	.name = "owner",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_down = on_down,
};

void
owners_supervisor_data(
    struct owners *o, uint64_t req_id, const uint8_t *data, size_t len)
{
	struct owner *ow = find(o, ROLE_SUPERVISOR, 0);

	if (ow != NULL)
		take_data(ow, req_id, data, len);
}

void
owners_supervisor_end(
    struct owners *o, uint64_t req_id, uint16_t code, const char *text)
{
	struct owner *ow = find(o, ROLE_SUPERVISOR, 0);

	if (ow != NULL)
		take_end(ow, req_id, code, text);
}

/* ---- life ------------------------------------------------------------------------ */

struct owners *
owners_new(
    uv_loop_t *loop, struct ipc_hub *hub, const struct owners_hooks *hooks)
{
	struct owners *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return NULL;
	TAILQ_INIT(&o->calls);
	o->hub = hub;
	o->hooks = *hooks;
	o->timer = malloc(sizeof(*o->timer));
	if (o->timer == NULL || uv_timer_init(loop, o->timer) < 0) {
		free(o->timer);
		free(o);
		return NULL;
	}
	o->timer->data = o;
	if (hooks->supervisor_call != NULL &&
	    add(o, ROLE_SUPERVISOR, 0) == NULL) {
		owners_free(o);
		return NULL;
	}
	return o;
}

static void
on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

void
owners_free(struct owners *o)
{
	size_t i;

	if (o == NULL)
		return;
	o->stopping = true;
	for (i = 0; i < o->n; i++) {
		ipc_chan_free(o->v[i]->chan);
		o->v[i]->chan = NULL;
		fail_calls_of(o->v[i], "admin is stopping");
	}
	for (i = 0; i < o->n; i++)
		free(o->v[i]);
	uv_close((uv_handle_t *)o->timer, on_timer_closed);
	free(o);
}

int
owners_peer(struct owners *o, enum role role, uint32_t instance, int fd)
{
	struct owner *ow = find(o, role, instance);
	int r;

	if (ow == NULL)
		ow = add(o, role, instance);
	if (ow == NULL) {
		(void)close(fd);
		return PE_FULL;
	}
	if (ow->chan != NULL) {
		ipc_chan_free(ow->chan);
		ow->chan = NULL;
		fail_calls_of(ow, "the process was restarted");
	}
	r = ipc_chan_new(o->hub, fd, &spec, ow, &ow->chan);
	if (r < 0)
		log_warn("admin_channel", "admin: channel to %s %u: %s",
		    role_name(role), instance, err_str(r));
	return r;
}

size_t
owners_count(const struct owners *o)
{
	return o->n;
}

void
owners_at(const struct owners *o, size_t i, enum role *ret_role,
    uint32_t *ret_instance, bool *ret_running)
{
	const struct owner *ow = o->v[i];

	*ret_role = ow->role;
	*ret_instance = ow->instance;
	*ret_running = ow->role == ROLE_SUPERVISOR || ipc_chan_is_up(ow->chan);
}

static int
send_call(struct owner *ow, uint64_t req_id, const struct adm_call *m)
{
	struct owners *o = ow->owners;

	if (ow->role == ROLE_SUPERVISOR)
		return o->hooks.supervisor_call(o->hooks.arg, req_id, m);
	if (ow->chan == NULL)
		return PE_GONE;
	adm_call_encode(ipc_send_begin(ow->chan, ADM_CALL, req_id), m);
	return ipc_send_end(ow->chan, -1);
}

int
owners_call(struct owners *o, enum role role, uint32_t instance,
    const struct adm_call *m, int64_t timeout_ms, owner_cb *cb, void *arg,
    struct owner_call **ret_call)
{
	struct owner *ow = find(o, role, instance);
	struct owner_call *call;
	int r;

	if (ow == NULL)
		return PE_NOT_FOUND;
	if (o->stopping)
		return PE_GONE;
	if (o->n_calls == OWNER_CALLS_MAX)
		return PE_FULL;
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return -ENOMEM;
	r = send_call(ow, o->last_req_id + 1, m);
	if (r < 0) {
		free(call);
		return r;
	}
	call->req_id = ++o->last_req_id;
	call->owner = ow;
	call->timeout_ms = timeout_ms;
	call->deadline_ms = clock_mono_ms() + timeout_ms;
	call->cb = cb;
	call->arg = arg;
	buf_init(&call->doc, OWNER_REPLY_MAX);
	TAILQ_INSERT_TAIL(&o->calls, call, link);
	o->n_calls++;
	arm(o);
	*ret_call = call;
	return 0;
}

uint64_t
owners_timeouts(const struct owners *o)
{
	return o->timeouts;
}
