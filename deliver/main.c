/*
 * main.c - postern-deliver: takes destinations from queue, finds out where and
 * how they may be reached, and hands their messages over by SMTP.
 *
 * Holds outbound sockets and our client certificates. Never opens the store,
 * never resolves a name itself, never connects without a permit.
 */
#include "deliver/deliver.h"

#include <string.h>

#include "lib/log/log.h"

static void
on_done_timer(uv_timer_t *timer)
{
	struct deliver *d = timer->data;

	d->done = false;
	deliver_check_done(d);
}

void
deliver_check_done(struct deliver *d)
{
	struct ipc_chan *queue = d->queue.chan;

	if (!d->draining || d->done || d->n_dests > 0 || d->n_conns > 0 ||
	    d->n_closing > 0)
		return;
	d->done = true;
	/* the last results must be out, or their messages go out twice */
	if (ipc_chan_is_up(queue)) {
		ipc_chan_flush(queue);
		if (ipc_chan_backlog(queue) > 0) {
			(void)uv_timer_start(
			    &d->done_timer, on_done_timer, 20, 0);
			return;
		}
	}
	queue_peer_close(d);
	resolver_peer_close(d);
	policyd_peer_close(d);
	admin_peers_close(d);
	memo_done(d);
	env_unref(d->env);
	d->env = NULL;
	child_done(d->child);
}

static void
init(struct deliver *d, struct child *c)
{
	if (d->child != NULL)
		return;
	d->child = c;
	d->queue.d = d;
	d->resolver.d = d;
	TAILQ_INIT(&d->resolver.asks);
	TAILQ_INIT(&d->memos);
	d->resolver.timer.data = d->done_timer.data = NULL;
	(void)uv_timer_init(c->loop, &d->resolver.timer); /* never fails */
	(void)uv_timer_init(c->loop, &d->done_timer);
	d->resolver.timer.data = &d->resolver;
	d->done_timer.data = d;
	policyd_peer_init(d);
	slots_init(d);
}

/* Before the lock-down only because a broken certificate should be told before
 * anything else; nothing here needs a right. */
static int
on_setup(struct child *c, void *arg)
{
	struct deliver *d = arg;

	init(d, c);
	return env_new(c->conf, &d->env);
}

static int
on_start(struct child *c, void *arg)
{
	(void)c;
	queue_start(arg);
	return 0;
}

static void
on_peer(struct child *c, void *arg, enum role role, uint32_t instance, int fd)
{
	struct deliver *d = arg;

	init(d, c);
	switch (role) {
	case ROLE_QUEUE:
		queue_peer_new(d, instance, fd);
		break;
	case ROLE_RESOLVER:
		resolver_peer_new(d, instance, fd);
		break;
	case ROLE_POLICYD:
		policyd_peer_new(d, instance, fd);
		break;
	default:
		admin_peer_new(d, instance, fd);
		break;
	}
}

static int
on_reload(struct child *c, void *arg, const struct conf *old_conf,
    struct conf *new_conf)
{
	struct deliver *d = arg;
	struct env *env = NULL;
	int r;

	(void)c;
	(void)old_conf;
	r = env_new(new_conf, &env);
	if (r < 0)
		return r;
	env_unref(d->env);
	d->env = env;
	dest_reload(d);
	return 0;
}

static void
on_drain(struct child *c, void *arg, int64_t deadline_ms)
{
	struct deliver *d = arg;
	struct dest *dst, *next;

	(void)c;
	(void)deadline_ms;
	d->draining = true;
	for (dst = LIST_FIRST(&d->dests); dst != NULL; dst = next) {
		next = LIST_NEXT(dst, all);
		dest_close(dst);
	}
	deliver_check_done(d);
}

static void
on_permit_grant(struct child *c, void *arg, uint64_t req_id, uint64_t permit_id)
{
	(void)c;
	permits_granted(arg, req_id, permit_id);
}

static void
on_rcpt_grant(
    struct child *c, void *arg, uint64_t req_id, const struct ctl_rcpt_grant *m)
{
	(void)c;
	pace_granted(arg, req_id, m);
}

static void
on_permit_wait(struct child *c, void *arg, uint64_t req_id,
    const struct ctl_permit_wait *m)
{
	(void)c;
	permits_wait(arg, req_id, m);
}

static const struct child_spec spec = {
	.role = ROLE_DELIVER,
	.setup = on_setup,
	.start = on_start,
	.on_peer = on_peer,
	.on_reload = on_reload,
	.on_drain = on_drain,
	.on_rcpt_grant = on_rcpt_grant,
	.on_permit_grant = on_permit_grant,
	.on_permit_wait = on_permit_wait,
};

int
main(int argc, char **argv)
{
	static struct deliver deliver; /* one per process, and large */

	return child_run(&spec, &deliver, argc, argv);
}
