/*
 * suspend.c - listeners that an operator suspended: their clients get 421.
 *
 * The supervisor keeps this, since an intake process that is restarted must not
 * accept again by that. A reload does not change it; the end of the node does.
 * The sockets stay open, so that clients are told at once.
 */
#include "supervisor/supervisor.h"

#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/proto/control.h"

#include <string.h>

static int
tell(struct process *p, const struct node_socket *s)
{
	struct ctl_suspend m = { s->suspended, s->name };

	ctl_suspend_encode(ipc_send_begin(p->chan, CTL_SUSPEND, 0), &m);
	return ipc_send_end(p->chan, -1);
}

int
suspend_tell_all(struct process *p)
{
	const struct node *n = p->node;
	size_t i;
	int r = 0;

	for (i = 0; i < n->n_sockets && r == 0; i++)
		if (n->sockets[i].role == p->role && n->sockets[i].suspended)
			r = tell(p, &n->sockets[i]);
	return r;
}

static void
change(struct node *n, struct node_socket *s, bool suspend)
{
	size_t i;

	s->suspended = suspend;
	for (i = 0; i < n->n_processes; i++)
		if (n->processes[i].role == ROLE_SMTPD &&
		    n->processes[i].chan != NULL)
			/* one that cannot be told is gone, and its successor
			 * is told all of it */
			(void)tell(&n->processes[i], s);
}

int
suspend_listener(struct node *n, const char *name, bool suspend)
{
	const char *last = "";
	struct node_socket *s;
	bool known = false;
	int changed = 0;
	size_t i;

	for (i = 0; i < n->n_sockets; i++) {
		s = &n->sockets[i];
		if (s->role != ROLE_SMTPD ||
		    (name[0] != '\0' && strcmp(name, s->name) != 0))
			continue;
		known = true;
		if (s->suspended == suspend)
			continue;
		change(n, s, suspend);
		/* the addresses of a listener stand together */
		if (strcmp(s->name, last) == 0)
			continue;
		last = s->name;
		changed++;
		log_info(suspend ? "listener_suspended" : "listener_resumed",
		    "listener %s %s by an operator", s->name,
		    suspend ? "suspended: clients get 421" : "resumed");
	}
	return known || name[0] == '\0' ? changed : -1;
}

void
suspend_json(const struct node *n, struct json *j)
{
	const char *last = "";
	size_t i;

	json_put_arr(j, "suspended_listeners");
	for (i = 0; i < n->n_sockets; i++) {
		if (!n->sockets[i].suspended ||
		    strcmp(n->sockets[i].name, last) == 0)
			continue;
		last = n->sockets[i].name;
		json_put_str(j, NULL, last);
	}
	json_put_end_arr(j);
}
