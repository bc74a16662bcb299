/*
 * drain.c - the end of a node in order: intake and delivery finish first, then
 * the store and the rest; what does not end by the deadline is ended.
 */
#include "lib/log/log.h"
#include "lib/proto/control.h"
#include "supervisor/supervisor.h"

#include <signal.h>

enum { LEAVE_MS = 5000 /* for the second group */ };

/* The first group brings work to the second one, so it leaves first. */
static bool
in_first_group(const struct process *p)
{
	return p->role == ROLE_SMTPD || p->role == ROLE_DELIVER;
}

static bool
group_running(const struct node *n, bool first)
{
	size_t i;

	for (i = 0; i < n->n_processes; i++)
		if (n->processes[i].pid > 0 &&
		    in_first_group(&n->processes[i]) == first)
			return true;
	return false;
}

static void
tell_group(struct node *n, bool first, int64_t deadline_ms)
{
	struct ctl_drain m = { (uint32_t)deadline_ms };
	size_t i;

	for (i = 0; i < n->n_processes; i++) {
		struct process *p = &n->processes[i];

		if (p->pid <= 0 || in_first_group(p) != first)
			continue;
		if (p->chan == NULL)
			continue; /* killed at its start; SIGCHLD comes */
		p->state = PROCESS_DRAINING;
		ctl_drain_encode(ipc_send_begin(p->chan, CTL_DRAIN, 0), &m);
		if (ipc_send_end(p->chan, -1) < 0)
			process_kill(p, SIGTERM);
	}
}

static void
kill_group(struct node *n, bool first)
{
	size_t i;

	for (i = 0; i < n->n_processes; i++)
		if (in_first_group(&n->processes[i]) == first)
			process_kill(&n->processes[i], SIGKILL);
}

static void
on_first_deadline(uv_timer_t *timer)
{
	log_warn("drain_timeout",
	    "smtpd or deliver did not finish within the "
	    "deadline and is ended");
	kill_group(timer->data, true);
}

static void
on_last_deadline(uv_timer_t *timer)
{
	log_warn("drain_timeout",
	    "not all processes ended in time; they are killed");
	kill_group(timer->data, false);
}

static void
leave(struct node *n)
{
	n->state = NODE_LEAVING;
	(void)uv_timer_stop(&n->drain_timer);
	tell_group(n, false, LEAVE_MS);
	(void)uv_timer_start(
	    &n->drain_timer, on_last_deadline, LEAVE_MS + 3000, 0);
	node_drain_step(n);
}

void
node_drain(struct node *n, int64_t deadline_ms)
{
	size_t i;

	if (n->state == NODE_DRAINING || n->state == NODE_LEAVING) {
		/* asked again: now */
		kill_group(n, true);
		if (n->state == NODE_LEAVING)
			kill_group(n, false);
		return;
	}
	log_info("draining", "draining: no new mail is taken; deadline %lld s",
	    (long long)deadline_ms / 1000);
	n->state = NODE_DRAINING;
	node_stop_listening(n);
	for (i = 0; i < n->n_processes; i++)
		if (n->processes[i].starts > 0)
			(void)uv_timer_stop(&n->processes[i].restart);
	tell_group(n, true, deadline_ms);
	(void)uv_timer_start(&n->drain_timer, on_first_deadline,
	    (uint64_t)deadline_ms + 3000, 0);
	node_drain_step(n);
}

void
node_drain_step(struct node *n)
{
	if (n->state == NODE_DRAINING && !group_running(n, true))
		leave(n);
	if (n->state == NODE_LEAVING && !processes_running(n)) {
		(void)uv_timer_stop(&n->drain_timer);
		uv_stop(n->loop);
	}
}
