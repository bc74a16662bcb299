/*
 * reload.c - a new set of settings replaces the old one whole, or not at all.
 */
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proto/control.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
say_errors(const struct conf_errors *errs, const char *dir)
{
	size_t i;

	for (i = 0; i < errs->n; i++)
		log_warn("settings_error", "%s/%s:%u: %s: %s", dir,
		    errs->v[i].file, errs->v[i].line,
		    errs->v[i].warning ? "warning" : "error", errs->v[i].text);
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_sockets(const struct conf *a, const struct conf *b)
{
	char x[64], y[64];
	size_t i, k;

	if (a->n_listeners != b->n_listeners)
		return false;
	for (i = 0; i < a->n_listeners; i++) {
		const struct conf_listener *p = &a->listeners[i];
		const struct conf_listener *q = &b->listeners[i];

		if (!same_text(p->name, q->name) ||
		    p->address.n != q->address.n)
			return false;
		for (k = 0; k < p->address.n; k++)
			if (strcmp(conf_addr_format(
				       &p->address.v[k], x, sizeof(x)),
				conf_addr_format(
				    &q->address.v[k], y, sizeof(y))) != 0)
				return false;
	}
	return true;
}

/* What only a restart changes is named, and the rest takes effect. */
static void
say_restart_needed(const struct conf *old, const struct conf *new)
{
	if (!same_text(old->node.state_dir, new->node.state_dir))
		log_warn(
		    "restart_needed", "state_dir changed: needs a restart");
	if (!same_text(old->node.run_dir, new->node.run_dir))
		log_warn("restart_needed", "run_dir changed: needs a restart");
	if (old->node.smtpd_workers != new->node.smtpd_workers ||
	    old->delivery.workers != new->delivery.workers)
		log_warn("restart_needed",
		    "number of workers changed: needs a restart");
	if (!same_sockets(old, new))
		log_warn("restart_needed",
		    "listeners or their addresses "
		    "changed: needs a restart");
}

enum { LOG_AGAIN_MS = 1000 };

/* The target may have been rotated or changed: open it anew, for everyone. */
static bool
renew_log(struct node *n)
{
	int fd = node_open_log(n), copy;
	size_t i;

	if (fd < 0) {
		log_warn("log_target",
		    "log target cannot be opened, the old "
		    "one stays: %s",
		    strerror(errno));
		return false;
	}
	for (i = 0; i < n->n_processes; i++) {
		struct process *p = &n->processes[i];

		if (p->chan == NULL)
			continue;
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);
		if (copy < 0)
			continue; /* this one goes on with the old target */
		(void)ipc_send_begin(p->chan, CTL_LOG, 0);
		(void)ipc_send_end(p->chan, copy); /* gone: it is restarted */
	}
	log_flush();
	(void)close(n->log_fd);
	n->log_fd = fd;
	log_init(fd,
	    n->conf->log.target == CONF_LOG_SYSLOG
		? LOG_SYSLOG
		: (enum log_format)n->conf->log.format,
	    (enum log_level)n->conf->log.level, "postern");
	return true;
}

static void
on_log_again(uv_timer_t *timer)
{
	struct node *n = timer->data;

	if (renew_log(n)) {
		(void)uv_timer_stop(timer);
		log_warn("log_target",
		    "the log target was gone and has been opened anew");
	}
}

void
node_log_gone(struct node *n)
{
	/* what else can go, a pipe's reader, does not come back */
	if (n->conf->log.target != CONF_LOG_SYSLOG)
		return;
	/* at most once in a while, whoever says so and however often */
	if (!uv_is_active((uv_handle_t *)&n->log_timer))
		(void)uv_timer_start(
		    &n->log_timer, on_log_again, LOG_AGAIN_MS, LOG_AGAIN_MS);
}

size_t
node_take(struct node *n, struct conf *new)
{
	struct conf *old = n->conf;
	size_t i, left = 0;
	int r;

	say_restart_needed(old, new);
	n->conf = new;
	n->generation++;
	exceptions_loaded(n, old);
	conf_unref(old);
	permits_reload(n);
	for (i = 0; i < n->n_processes; i++) {
		struct process *p = &n->processes[i];

		if (p->chan == NULL)
			continue; /* it gets them when it starts */
		r = process_send_config(p);
		if (r == 0)
			continue;
		left++;
		log_warn("reload_refused",
		    "%s %u could not be given the settings and keeps its old "
		    "ones: %s",
		    role_name(p->role), p->instance, err_str(r));
	}
	(void)renew_log(n); /* the old one stays, as it says */
	log_info("reloaded", "settings loaded from %s, generation %llu",
	    n->conf_dir, (unsigned long long)n->generation);
	return left;
}

int
node_reload(struct node *n, size_t *ret_left)
{
	struct conf_errors errs = { 0 };
	struct conf *new = NULL;
	int r;

	staging_finish(n);
	r = settings_load(n->conf_dir, &errs, &new);
	say_errors(&errs, n->conf_dir);
	conf_errors_done(&errs);
	if (r < 0) {
		log_warn("reload_refused",
		    "settings in %s are refused, the running set stays: %s",
		    n->conf_dir, err_str(r));
		return r;
	}
	*ret_left = node_take(n, new);
	return 0;
}
