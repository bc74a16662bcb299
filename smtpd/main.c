/*
 * main.c - the intake process: takes mail from clients and gives it to queue.
 *
 * Started by the supervisor, several times on a node. Parses bytes from
 * outside, so it holds no store and no routes: it has its clients, the keys of
 * its listeners and a channel to the queue. Its order is lib/proc/child.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/err.h"
#include "lib/ipc/chan.h"
#include "smtpd/smtpd.h"

static struct smtpd smtpd; /* one per process */

static int
setup(struct child *c, void *arg)
{
	struct smtpd *d = arg;
	int r;

	d->child = c;
	d->guesses = guesses_new();
	if (d->guesses == NULL)
		return -ENOMEM;
	/* the one thread beside the loop starts before the lock-down */
	r = auth_start(c->loop, conn_auth_done, &d->auth);
	if (r < 0)
		log_warn(
		    "auth_start", "smtpd: password checks: %s", err_str(r));
	return r;
}

static int
start(struct child *c, void *arg)
{
	struct smtpd *d = arg;
	int r;

	r = uv_timer_init(c->loop, &d->drain_timer);
	if (r < 0)
		return r;
	d->drain_timer.data = d;
	return listen_start(d);
}

static void
on_peer(struct child *c, void *arg, enum role role, uint32_t instance, int fd)
{
	struct smtpd *d = arg;

	(void)instance;
	d->child = c; /* this may come before setup() */
	if (role == ROLE_QUEUE)
		peer_queue_set(&d->queue, fd);
	else
		peer_admin_set(&d->admin, d, fd);
}

/* All listeners or none: a set that works only in part is refused. */
static int
on_reload(struct child *c, void *arg, const struct conf *old_conf,
    struct conf *new_conf)
{
	struct smtpd *d = arg;
	struct site **sites;
	size_t i;

	(void)c;
	(void)old_conf;
	if (d->n_acceptors == 0)
		return 0;
	sites = calloc(d->n_acceptors, sizeof(struct site *));
	if (sites == NULL)
		return -ENOMEM;
	for (i = 0; i < d->n_acceptors; i++) {
		sites[i] = site_new(new_conf, d->acceptors[i].name);
		if (sites[i] == NULL)
			break;
	}
	if (i < d->n_acceptors) {
		while (i > 0)
			site_unref(sites[--i]);
		free(sites);
		return PE_CONFIG;
	}
	/* clients that are here keep what they came in under */
	for (i = 0; i < d->n_acceptors; i++) {
		site_unref(d->acceptors[i].site);
		d->acceptors[i].site = sites[i];
	}
	free(sites);
	return 0;
}

void
smtpd_check_drained(struct smtpd *d)
{
	if (d->draining && d->n_conns == 0 && d->queue.n_subs == 0)
		child_done(d->child);
}

static void
drain_all(struct smtpd *d, bool now)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&d->conns); c != NULL; c = next) {
		/* conn_drain() may take c off the list, and no other */
		next = TAILQ_NEXT(c, link);
		conn_drain(c, now);
	}
}

static void
on_drain_timer(uv_timer_t *timer)
{
	drain_all(timer->data, true);
}

static void
on_drain(struct child *c, void *arg, int64_t deadline_ms)
{
	struct smtpd *d = arg;

	(void)c;
	d->draining = true;
	listen_stop(d);
	drain_all(d, false);
	(void)uv_timer_start(&d->drain_timer, on_drain_timer,
	    (uint64_t)(deadline_ms > 1000 ? deadline_ms - 1000 : 0), 0);
	smtpd_check_drained(d);
}

static void
on_permit_grant(struct child *c, void *arg, uint64_t req_id, uint64_t permit_id)
{
	(void)c;
	conn_permitted(arg, req_id, permit_id);
}

static void
on_permit_wait(struct child *c, void *arg, uint64_t req_id,
    const struct ctl_permit_wait *m)
{
	(void)c;
	conn_not_permitted(arg, req_id, m->key);
}

static const struct child_spec spec = {
	.role = ROLE_SMTPD,
	.setup = setup,
	.start = start,
	.on_peer = on_peer,
	.on_reload = on_reload,
	.on_drain = on_drain,
	.on_permit_grant = on_permit_grant,
	.on_permit_wait = on_permit_wait,
};

int
main(int argc, char **argv)
{
	struct smtpd *d = &smtpd;

	TAILQ_INIT(&d->conns);
	TAILQ_INIT(&d->asked);
	peer_queue_init(&d->queue, d);
	d->paused = PAUSE_QUEUE; /* until the channel and numbers are there */
	d->spare_fd = -1;
	return child_run(&spec, d, argc, argv);
}
