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
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/limits/limits.h"
#include "lib/proto/control.h"
#include "supervisor/ledger.h"
#include "supervisor/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

enum { ASK_AGAIN_MS = 1000, PLACE_MAX = 2048 };

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
	return ledger_release(ledger_of(p), p->holder, msg.permit_id) == 0
	    ? 0
	    : PE_PROTO;
}

/* ---- life ---------------------------------------------------------------------------------- */

int
permits_init(struct node *n)
{
	n->ledger = ledger_new(on_granted, n);
	n->intake = ledger_new(on_granted, n);
	return n->ledger == NULL || n->intake == NULL ? -ENOMEM : 0;
}

void
permits_done(struct node *n)
{
	ledger_free(n->ledger);
	ledger_free(n->intake);
	n->ledger = n->intake = NULL;
}

void
permits_drop(struct process *p)
{
	ledger_drop_holder(ledger_of(p), p->holder);
}

void
permits_reload(struct node *n)
{
	ledger_rekey(n->ledger, keys_of, n);
}
