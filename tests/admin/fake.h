/*
 * fake.h - processes that answer admin as a script says, on one loop with it.
 */
#ifndef POSTERN_TESTS_ADMIN_FAKE_H
#define POSTERN_TESTS_ADMIN_FAKE_H

#include "lib/base/buf.h"
#include "lib/ipc/chan.h"
#include "lib/metrics/metrics.h"
#include "lib/proto/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake {
	enum role role;
	uint32_t instance;
	struct ipc_chan *chan;
	struct adm_peer peer;
	unsigned calls;
	uint64_t last_req_id;
	/* fills doc and returns 0, or an HTTP status; -1: stay silent; -2: die */
	int (*script)(
	    struct fake *f, const struct adm_call *m, struct buf *doc);
};

static int
fake_on_call(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct fake *f = peer;
	struct adm_call call;
	struct buf doc;
	int r;

	if (adm_call_decode(rd, &call) < 0)
		return -1;
	f->calls++;
	f->last_req_id = m->req_id;
	buf_init(&doc, 64 * 1024 * 1024);
	r = f->script(f, &call, &doc);
	if (r == 0)
		(void)adm_reply(&f->peer, m->req_id, &doc);
	else if (r > 0)
		(void)adm_refuse(
		    &f->peer, m->req_id, (uint16_t)r, "as the script says");
	buf_done(&doc);
	if (r == -2) {
		adm_peer_done(&f->peer);
		ipc_chan_free(f->chan);
		f->chan = NULL;
	}
	return 0;
}

static void
fake_on_down(void *peer, int why, const char *text)
{
	struct fake *f = peer;

	(void)why;
	(void)text;
	adm_peer_done(&f->peer);
	ipc_chan_free(f->chan);
	f->chan = NULL;
}

static void
fake_on_room(void *peer)
{
	struct fake *f = peer;

	adm_peer_room(&f->peer);
}

static const struct ipc_rule fake_rules[] = {
	{ ADM_CALL, 15, 8192, IPC_ANY, 0, fake_on_call },
};
static const struct ipc_spec fake_spec = {
	.name = "admin",
	.rules = fake_rules,
	.n_rules = 1,
	.on_down = fake_on_down,
	.on_room = fake_on_room,
};

/* Returns the descriptor for admin's end. */
static int
fake_start(struct fake *f, struct ipc_hub *hub)
{
	int fd[2];

	if (ipc_pair(fd) < 0 ||
	    ipc_chan_new(hub, fd[0], &fake_spec, f, &f->chan) < 0)
		abort();
	adm_peer_init(&f->peer, f->chan);
	return fd[1];
}

static void
fake_stop(struct fake *f)
{
	adm_peer_done(&f->peer);
	ipc_chan_free(f->chan);
	f->chan = NULL;
}

#endif
