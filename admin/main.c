/*
 * main.c - postern-admin: the control socket, the HTTP interface and /metrics.
 *
 * Started by the supervisor. Holds its listening sockets and a channel to every
 * process; acts by asking the owner. See postern(8), docs/api.md.
 */
#include "admin/admin.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
	struct admin admin;
	struct child *child;
	uid_t owner_uid;
	bool open;
} state; /* one per process, like the child */

static int
supervisor_call(void *arg, uint64_t req_id, const struct adm_call *m)
{
	(void)arg;
	return child_adm_call(state.child, req_id, m);
}

static void
on_broken(void *arg, enum role role, uint32_t instance, const char *text)
{
	(void)arg;
	child_peer_broken(state.child, role, instance, text);
}

/* The channels come before START. */
static int
open_once(struct child *c)
{
	const struct owners_hooks hooks = { NULL, supervisor_call, on_broken };

	if (state.open)
		return 0;
	state.child = c;
	state.open = true;
	return admin_open(&state.admin, c->loop, &c->hub, &hooks);
}

static void
on_peer(struct child *c, void *arg, enum role role, uint32_t instance, int fd)
{
	(void)arg;
	if (open_once(c) < 0)
		fatal("admin cannot start");
	(void)owners_peer(state.admin.owners, role, instance, fd);
}

static int
setup(struct child *c, void *arg)
{
	(void)c;
	(void)arg;
	json_object_seed(0);	    /* reads /dev/urandom: before the chroot */
	state.owner_uid = getuid(); /* of who started the node */
	return 0;
}

static void
use_conf(const struct conf *conf)
{
	state.admin.metrics = conf->admin.metrics;
	(void)snprintf(state.admin.hostname, sizeof(state.admin.hostname), "%s",
	    conf->node.hostname);
}

static int
start(struct child *c, void *arg)
{
	size_t i;
	int r = open_once(c);

	(void)arg;
	if (r < 0)
		return r;
	use_conf(c->conf);
	for (i = 0; i < c->n_listeners && r == 0; i++)
		r = admin_listen(&state.admin,
		    strcmp(c->listeners[i].kind, "control") == 0 ? HTTP_CONTROL
								 : HTTP_WEB,
		    c->listeners[i].fd, state.owner_uid);
	return r;
}

static int
on_reload(struct child *c, void *arg, const struct conf *old_conf,
    struct conf *new_conf)
{
	(void)c;
	(void)arg;
	(void)old_conf;
	use_conf(new_conf);
	return 0;
}

static void
on_drained(void *arg)
{
	child_done(arg);
}

static void
on_drain(struct child *c, void *arg, int64_t deadline_ms)
{
	(void)arg;
	(void)deadline_ms;
	admin_drain(&state.admin, on_drained, c);
}

static void
on_adm_data(struct child *c, void *arg, uint64_t req_id, const uint8_t *data,
    size_t len)
{
	(void)c;
	(void)arg;
	owners_supervisor_data(state.admin.owners, req_id, data, len);
}

static void
on_adm_end(struct child *c, void *arg, uint64_t req_id, uint16_t code,
    const char *text)
{
	(void)c;
	(void)arg;
	owners_supervisor_end(state.admin.owners, req_id, code, text);
}

static const struct child_spec spec = {
	.role = ROLE_ADMIN,
	.setup = setup,
	.start = start,
	.on_peer = on_peer,
	.on_reload = on_reload,
	.on_drain = on_drain,
	.on_adm_data = on_adm_data,
	.on_adm_end = on_adm_end,
};

int
main(int argc, char **argv)
{
	return child_run(&spec, NULL, argc, argv);
}
