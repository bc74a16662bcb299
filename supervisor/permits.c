/*
 * permits.c - who may hold a connection: what deliver and smtpd ask of the
 * ledgers, and what the settings say to it.
 *
 * Called by control.c's table. deliver says where it connects to, and no more:
 * which counters that raises and how far they go is taken from the settings
 * here, so that a worker that was taken over cannot raise a limit. It can lie
 * about the place; then it has a permit for that place, and the limit of the
 * whole node still holds.
 */
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/limits/limits.h"
#include "lib/proto/control.h"
#include "supervisor/ledger.h"
#include "supervisor/rates.h"
#include "supervisor/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

enum { ASK_AGAIN_MS = 1000, PLACE_MAX = 2048, RATES_TICK_MS = 1000 };

/* Connections out and clients in are counted apart. */
static struct ledger *
ledger_of(const struct process *p)
{
	return p->role == ROLE_SMTPD ? p->node->intake : p->node->ledger;
}

/* ---- places, as the ledger keeps them ---------------------------------------------- */

struct packed {
	size_t len;
	char bytes[PLACE_MAX];
};

static void
pack_text(struct packed *to, const char *text)
{
	size_t len = strlen(text) + 1;

	assert(to->len + len <= sizeof(to->bytes));
	memcpy(to->bytes + to->len, text, len);
	to->len += len;
}

/* Lengths are bounded by ctl_connect_ask_decode(). */
static void
pack(const struct ctl_connect_ask *m, struct packed *ret)
{
	ret->len = 0;
	ret->bytes[ret->len++] = m->tls ? 1 : 0;
	pack_text(ret, m->domain);
	pack_text(ret, m->gateway);
	pack_text(ret, m->host);
	pack_text(ret, m->address);
}

_Static_assert(
    PLACE_MAX >= 2 * TEXT_DOMAIN_MAX + TEXT_NAME_MAX + TEXT_ADDRESS_MAX + 5,
    "a place fits");

/* Borrowed from bytes. */
static void
unpack(const char *bytes, struct limits_place *ret)
{
	ret->tls = *bytes++ != 0;
	ret->domain = bytes;
	bytes += strlen(bytes) + 1;
	ret->gateway = bytes;
	bytes += strlen(bytes) + 1;
	ret->host = bytes;
	ret->address = bytes + strlen(bytes) + 1;
}

/* One loop, never nested: the names that keys point to. */
static struct limits now;

static void
keys_of(void *arg, const void *place, size_t place_len, struct ledger_keys *ret)
{
	const struct node *n = arg;
	struct limits_place at;
	size_t i;

	(void)place_len;
	unpack(place, &at);
	limits_of(n->conf, &at, &now);
	ret->n = 0;
	for (i = 0; i < now.n; i++) {
		if (!now.keys[i].counts)
			continue;
		ret->keys[ret->n].name = now.keys[i].name;
		ret->keys[ret->n++].max = now.keys[i].max;
	}
}

_Static_assert((int)LIMITS_KEYS_MAX <= (int)LEDGER_KEYS_MAX, "keys fit");
_Static_assert((int)PERMIT_KEYS_MAX <= (int)LEDGER_KEYS_MAX, "keys fit");

/* ---- answers ------------------------------------------------------------------------- */

static void
send_grant(struct process *p, uint64_t req_id, uint64_t permit_id)
{
	struct ctl_permit_grant m = { permit_id };

	ctl_permit_grant_encode(
	    ipc_send_begin(p->chan, CTL_PERMIT_GRANT, req_id), &m);
	if (ipc_send_end(p->chan, -1) == PE_FULL)
		process_kill(p, SIGKILL); /* it does not read any more */
}

static int
send_wait(struct process *p, uint64_t req_id, uint32_t key, uint32_t retry_ms)
{
	struct ctl_permit_wait m = { key, retry_ms };

	ctl_permit_wait_encode(
	    ipc_send_begin(p->chan, CTL_PERMIT_WAIT, req_id), &m);
	return ipc_send_end(p->chan, -1);
}

static void
on_granted(void *arg, uint32_t holder, uint64_t req_id, uint64_t permit_id)
{
	struct node *n = arg;

	if (n->processes[holder].chan != NULL)
		send_grant(&n->processes[holder], req_id, permit_id);
}

/* ---- what is asked ---------------------------------------------------------------------- */

int
permits_on_connect_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer;
	struct ctl_connect_ask ask;
	struct ledger_keys keys;
	struct packed place;
	uint64_t permit_id = 0;
	uint32_t key = 0;

	if (ctl_connect_ask_decode(rd, &ask) < 0)
		return PE_PROTO;
	pack(&ask, &place);
	keys_of(p->node, place.bytes, place.len, &keys);
	switch (ledger_ask(p->node->ledger, p->holder, m->req_id, &keys,
	    place.bytes, place.len, &permit_id, &key)) {
	case LEDGER_GRANTED:
		send_grant(p, m->req_id, permit_id);
		return 0;
	case LEDGER_FULL:
		return send_wait(p, m->req_id, 0, ASK_AGAIN_MS);
	case LEDGER_WAITS:
	default:
		return send_wait(p, m->req_id, key, 0);
	}
}

int
permits_on_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer;
	struct ctl_permit_ask ask;
	struct ledger_keys keys;
	uint64_t permit_id = 0;
	uint32_t key = 0, i;

	if (ctl_permit_ask_decode(rd, &ask) < 0)
		return PE_PROTO;
	for (i = 0; i < ask.n_keys; i++) {
		keys.keys[i].name = ask.keys[i].name;
		keys.keys[i].max = ask.keys[i].limit;
	}
	keys.n = ask.n_keys;
	switch (ledger_ask(p->node->intake, p->holder, m->req_id, &keys, NULL,
	    0, &permit_id, &key)) {
	case LEDGER_GRANTED:
		send_grant(p, m->req_id, permit_id);
		return 0;
	case LEDGER_FULL:
		return send_wait(p, m->req_id, 0, ASK_AGAIN_MS);
	case LEDGER_WAITS:
	default:
		/* a client is not kept waiting: smtpd tells it so */
		ledger_cancel(p->node->intake, p->holder, m->req_id);
		return send_wait(p, m->req_id, key, 0);
	}
}

int
permits_on_free(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer;
	struct ctl_permit_free msg;

	if (ctl_permit_free_decode(rd, &msg) < 0)
		return PE_PROTO;
	if (msg.permit_id == 0) {
		ledger_cancel(ledger_of(p), p->holder, m->req_id);
		return 0;
	}
	/* a permit that is not its own is a broken rule */
	if (ledger_release(ledger_of(p), p->holder, msg.permit_id) < 0)
		return PE_PROTO;
	if (p->role == ROLE_DELIVER)
		rates_gone(p->node->rates, msg.permit_id, clock_mono_ms());
	return 0;
}

/* ---- recipients per minutes -------------------------------------------------------------- */

static void
on_rates_answer(
    void *arg, uint32_t holder, uint64_t req_id, uint32_t n, uint32_t wait_ms)
{
	struct node *node = arg;
	struct process *p = &node->processes[holder];
	struct ctl_rcpt_grant m = { n, wait_ms };

	if (p->chan == NULL)
		return;
	ctl_rcpt_grant_encode(
	    ipc_send_begin(p->chan, CTL_RCPT_GRANT, req_id), &m);
	if (ipc_send_end(p->chan, -1) == PE_FULL)
		process_kill(p, SIGKILL); /* it does not read any more */
}

static void
on_rates_tick(uv_timer_t *timer)
{
	struct node *n = timer->data;

	if (!rates_tick(n->rates, clock_mono_ms()))
		(void)uv_timer_stop(timer);
}

static void
rates_of(const struct node *n, const void *place, struct rates_keys *ret)
{
	struct limits_place at;
	size_t i;

	unpack(place, &at);
	limits_of(n->conf, &at, &now);
	ret->n = 0;
	for (i = 0; i < now.n && ret->n < RATES_KEYS_MAX; i++) {
		if (!now.keys[i].rate.limited)
			continue;
		ret->keys[ret->n].name = now.keys[i].name;
		ret->keys[ret->n].count = now.keys[i].rate.count;
		ret->keys[ret->n].minutes = now.keys[i].rate.minutes;
		ret->keys[ret->n++].shared = now.keys[i].shared;
	}
}

int
permits_on_rcpt_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer;
	struct node *n = p->node;
	struct ctl_rcpt_ask ask;
	struct rates_keys keys;
	const void *place;
	size_t len;

	if (ctl_rcpt_ask_decode(rd, &ask) < 0)
		return PE_PROTO;
	place = ledger_place(n->ledger, p->holder, ask.permit_id, &len);
	if (place == NULL)
		return PE_PROTO;
	rates_of(n, place, &keys);
	if (rates_ask(n->rates, p->holder, ask.permit_id, m->req_id, ask.want,
		&keys, clock_mono_ms()) < 0)
		return PE_PROTO;
	if (!uv_is_active((uv_handle_t *)&n->rates_timer))
		(void)uv_timer_start(&n->rates_timer, on_rates_tick,
		    RATES_TICK_MS, RATES_TICK_MS);
	return 0;
}

int
permits_on_rcpt_done(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer;
	struct ctl_rcpt_done msg;
	size_t len;

	(void)m;
	if (ctl_rcpt_done_decode(rd, &msg) < 0 ||
	    ledger_place(p->node->ledger, p->holder, msg.permit_id, &len) ==
		NULL)
		return PE_PROTO;
	return rates_done(p->node->rates, msg.permit_id, msg.used, msg.unused,
	    clock_mono_ms());
}

/* ---- life ---------------------------------------------------------------------------------- */

int
permits_init(struct node *n)
{
	n->ledger = ledger_new(on_granted, n);
	n->intake = ledger_new(on_granted, n);
	n->rates = rates_new(on_rates_answer, n);
	if (uv_timer_init(n->loop, &n->rates_timer) < 0)
		return -ENOMEM;
	n->rates_timer.data = n;
	return n->ledger == NULL || n->intake == NULL || n->rates == NULL
	    ? -ENOMEM
	    : 0;
}

void
permits_done(struct node *n)
{
	ledger_free(n->ledger);
	ledger_free(n->intake);
	rates_free(n->rates);
	n->ledger = n->intake = NULL;
	n->rates = NULL;
}

void
permits_drop(struct process *p)
{
	ledger_drop_holder(ledger_of(p), p->holder);
	if (p->role == ROLE_DELIVER)
		rates_drop_holder(p->node->rates, p->holder, clock_mono_ms());
}

void
permits_reload(struct node *n)
{
	ledger_rekey(n->ledger, keys_of, n);
}
