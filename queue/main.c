/*
 * main.c - the queue process: the only one that opens the store.
 *
 * Reading order: store_ops.h says what can happen to a message, store_txn.c how
 * it gets to disk, writer.c when; queue.h what is kept in memory, offer.c who
 * gets what; peer_*.c what the others may ask. docs/queue.md has the tables.
 */
#include "queue/queue.h"

#include "lib/base/err.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "lib/proc/exit.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { EARLY_MAX = 256 };

/* A peer's channel that came before the store was open. */
struct early {
	enum role role;
	uint32_t instance;
	int fd;
};

static struct {
	struct child *child;
	struct store *store;
	struct queue queue;
	struct early early[EARLY_MAX];
	size_t n_early;
	bool started;
} proc; /* one per process */

/* ---- what queue.c tells ---------------------------------------------------------------- */

static void
on_broken(void *arg, enum role role, uint32_t instance, const char *text)
{
	(void)arg;
	child_peer_broken(proc.child, role, instance, text);
}

static void
on_drained(void *arg)
{
	(void)arg;
	child_done(proc.child);
}

static void
on_panic(void *arg, const char *text)
{
	(void)arg;
	/* LMDB takes no more transactions: a new process opens it again */
	fatal("store: %s", text);
}

/* ---- hooks --------------------------------------------------------------------------------- */

/* As the user that the process will have, so that the files are its own. */
static int
open_store(struct child *c)
{
	char err[512];
	int r;

	r = body_dirs_make(c->dir_fd);
	if (r < 0) {
		log_event(LOG_CRITICAL, "store_open", NULL,
		    "store: %s/bodies: %s", c->dir_path, err_str(r));
		return r;
	}
	r = store_open(c->dir_path, c->dir_fd,
	    (size_t)c->conf->queue.store_map_size, &proc.store, err,
	    sizeof(err));
	if (r < 0)
		log_event(LOG_CRITICAL, "store_open", NULL, "store: %s", err);
	return r;
}

static int
setup(struct child *c, void *arg)
{
	int r, back;

	(void)arg;
	if (c->dir_fd < 0) {
		log_event(LOG_CRITICAL, "store_open", NULL,
		    "store: no directory was handed down");
		return -ENOENT;
	}
	r = child_as_user(c);
	if (r == 0)
		r = open_store(c);
	back = child_as_root(c);
	if (r == 0)
		r = back;
	/* threads start before the lock-down, and none after it */
	if (r == 0)
		r = queue_threads_start(&proc.queue, c->loop, proc.store);
	return r;
}

static void
take_peer(enum role role, uint32_t instance, int fd)
{
	struct queue *q = &proc.queue;
	int r = PE_PROTO;

	if (role == ROLE_SMTPD)
		r = queue_peer_smtpd(q, instance, fd);
	else if (role == ROLE_DELIVER)
		r = queue_peer_deliver(q, instance, fd);
	else if (role == ROLE_ADMIN)
		r = queue_peer_admin(q, instance, fd);
	else
		(void)close(fd);
	if (r < 0)
		log_warn("peer_refused", "queue: channel of %s %u: %s",
		    role_name(role), instance, err_str(r));
}

static int
start(struct child *c, void *arg)
{
	struct queue *q = &proc.queue;
	size_t i;
	int r;

	(void)arg;
	proc.child = c;
	q->on_broken = on_broken;
	q->on_drained = on_drained;
	q->on_panic = on_panic;
	r = queue_init(q, c->loop, &c->hub, c->conf, proc.store);
	if (r < 0) {
		log_event(
		    LOG_CRITICAL, "queue_start", NULL, "queue: %s", err_str(r));
		return r;
	}
	proc.started = true;
	for (i = 0; i < proc.n_early; i++)
		take_peer(proc.early[i].role, proc.early[i].instance,
		    proc.early[i].fd);
	proc.n_early = 0;
	return 0;
}

static void
on_peer(struct child *c, void *arg, enum role role, uint32_t instance, int fd)
{
	(void)c;
	(void)arg;
	if (proc.started) {
		take_peer(role, instance, fd);
	} else if (proc.n_early < EARLY_MAX) {
		proc.early[proc.n_early++] =
		    (struct early){ role, instance, fd };
	} else {
		(void)close(fd);
	}
}

static int
on_reload(struct child *c, void *arg, const struct conf *old_conf,
    struct conf *new_conf)
{
	(void)c;
	(void)arg;
	(void)old_conf;
	queue_reload(&proc.queue, new_conf);
	return 0;
}

static void
on_drain(struct child *c, void *arg, int64_t deadline_ms)
{
	(void)c;
	(void)arg;
	(void)deadline_ms; /* child.c keeps it */
	queue_drain(&proc.queue);
}

static const struct child_spec spec = {
	.role = ROLE_QUEUE,
	.setup = setup,
	.start = start,
	.on_peer = on_peer,
	.on_reload = on_reload,
	.on_drain = on_drain,
};

int
main(int argc, char **argv)
{
	int code = child_run(&spec, NULL, argc, argv);

	if (proc.started) {
		/* what is in the writer is finished and synced */
		queue_close(&proc.queue);
		(void)uv_run(proc.child->loop, UV_RUN_NOWAIT);
		store_close(proc.store);
	}
	log_flush();
	return code;
}
