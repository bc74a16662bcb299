/*
 * control.c - what each child may say to the supervisor: one table.
 *
 * Permits only for deliver, calls only from admin, everything else once or with
 * a bound. Whoever breaks a rule is killed and started again.
 */
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/metrics/metrics.h"
#include "lib/proto/control.h"
#include "supervisor/ledger.h"
#include "supervisor/supervisor.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_MAX = 1024 * 1024, ACCUSER_MS = 60 * 1000 };

/* States of the rules below: which child speaks, and is it locked down yet. A
 * child that starts while the node drains says so all the same. */
enum {
	WHEN_STARTING = 1,
	WHEN_READY = 2,
	WHEN_ADMIN = 4,
	WHEN_DELIVER = 8,
	WHEN_SMTPD = 16,
};

static uint32_t
state_of(void *peer)
{
	const struct process *p = peer;

	if (!p->said_ready)
		return WHEN_STARTING;
	return WHEN_READY |
	    (p->role == ROLE_DELIVER	    ? WHEN_DELIVER
		    : p->role == ROLE_SMTPD ? WHEN_SMTPD
		    : p->role == ROLE_ADMIN ? WHEN_ADMIN
					    : 0);
}

/* ---- life ------------------------------------------------------------------------ */

/* Tell a service manager, when there is one: one datagram (sd_notify(3)). */
static void
notify_manager(const char *text)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len;
	int fd;

	if (path == NULL || (len = strlen(path)) == 0 ||
	    len >= sizeof(sun.sun_path))
		return;
	memcpy(sun.sun_path, path, len);
	if (sun.sun_path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* nobody listens: nobody is told */
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL,
	    (struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	(void)close(fd);
}

static int
on_ready(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer;
	struct node *n = p->node;
	struct ctl_ready msg;

	(void)m;
	if (ctl_ready_decode(rd, &msg) < 0)
		return PE_PROTO;
	p->said_ready = true;
	if (p->state == PROCESS_STARTING)
		p->state = PROCESS_READY;
	log_info("process_ready", "%s %u is ready (pid %d)", role_name(p->role),
	    p->instance, (int)p->pid);
	if (msg.missing[0] != '\0' && !n->said_missing) {
		n->said_missing = true;
		log_event(LOG_INFO, "not_applied", NULL, "not applied: %s",
		    msg.missing);
	}
	if (n->state == NODE_STARTING && processes_all(n, PROCESS_READY)) {
		n->state = NODE_RUNNING;
		log_info("ready",
		    "postern ready: version %s, %zu processes, settings %s",
		    POSTERN_VERSION, n->n_processes, n->conf_dir);
		notify_manager("READY=1");
	}
	return 0;
}

static int
on_config_done(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	const struct process *p = peer;
	struct ctl_config_done msg;

	(void)m;
	if (ctl_config_done_decode(rd, &msg) < 0)
		return PE_PROTO;
	if (!msg.ok)
		log_warn("reload_refused", "%s %u keeps its old settings: %s",
		    role_name(p->role), p->instance, msg.text);
	return 0;
}

static int
on_broken(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer, *offender;
	int64_t now_ms = clock_mono_ms();
	struct ctl_broken msg;

	(void)m;
	if (ctl_broken_decode(rd, &msg) < 0 || !role_talks(p->role, msg.role))
		return PE_PROTO;
	offender = process_find(p->node, msg.role, msg.instance);
	if (offender == NULL)
		return PE_PROTO;
	log_warn("process_broke_rule",
	    "%s %u broke the protocol with %s %u and is restarted: %s",
	    role_name(offender->role), offender->instance, role_name(p->role),
	    p->instance, msg.text);
	process_kill(offender, SIGKILL);
	/* Who lies cannot be told. Both ends pay for the second time, so that
	 * a process that was taken over cannot keep another one down. */
	if (p->accused_ms != 0 && now_ms - p->accused_ms < ACCUSER_MS) {
		log_warn("process_broke_rule",
		    "%s %u accuses again and is restarted too",
		    role_name(p->role), p->instance);
		process_kill(p, SIGKILL);
	}
	p->accused_ms = now_ms;
	return 0;
}

static int
on_log_gone(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	const struct process *p = peer;

	(void)m;
	if (ipc_rd_end(rd) < 0)
		return PE_PROTO;
	node_log_gone(p->node);
	return 0;
}

/* ---- calls of admin ------------------------------------------------------------------- */

static void
status_json(const struct node *n, struct json *j)
{
	static const char *const states[] = { "stopped", "starting", "ready",
		"draining" };
	struct ledger_stats st;
	const struct process *p;
	size_t i;

	ledger_stats(n->ledger, &st);
	json_put_obj(j, NULL);
	json_put_str(j, "version", POSTERN_VERSION);
	json_put_str(j, "hostname", n->conf->node.hostname);
	json_put_int(j, "started", n->started_s);
	json_put_int(
	    j, "uptime_s", (clock_mono_ms() - n->started_mono_ms) / 1000);
	json_put_uint(j, "generation", n->generation);
	json_put_bool(j, "draining",
	    n->state == NODE_DRAINING || n->state == NODE_LEAVING);
	json_put_bool(j, "as_root", n->as_root);
	json_put_uint(j, "restarts", n->restarts);
	json_put_obj(j, "connections");
	json_put_uint(j, "held", st.held);
	json_put_uint(j, "limit", n->conf->delivery.max_connections);
	json_put_uint(j, "waiting", st.waiting);
	json_put_end_obj(j);
	json_put_arr(j, "processes");
	for (i = 0; i < n->n_processes; i++) {
		p = &n->processes[i];
		json_put_obj(j, NULL);
		json_put_str(j, "role", role_name(p->role));
		json_put_uint(j, "instance", p->instance);
		json_put_int(j, "pid", p->pid);
		json_put_str(j, "state", states[p->state]);
		json_put_uint(j, "starts", p->starts);
		json_put_end_obj(j);
	}
	json_put_end_arr(j);
	exceptions_json(n, j);
	suspend_json(n, j);
	json_put_end_obj(j);
}

static void
metrics_list(const struct node *n, struct buf *doc)
{
	struct ledger_stats st;
	struct ipc_wr w = { .b = doc };
	size_t i;

	ledger_stats(n->ledger, &st);
	const struct metric list[] = {
		{ "postern_process_restarts_total", "",
		    "Child processes started again", METRIC_COUNTER,
		    (int64_t)n->restarts },
		{ "postern_permits_granted_total", "",
		    "Permits for outbound connections", METRIC_COUNTER,
		    (int64_t)st.granted },
		{ "postern_permits_waited_total", "",
		    "Permit requests that had to wait", METRIC_COUNTER,
		    (int64_t)st.waited },
		{ "postern_permits_refused_total", "",
		    "Permit requests sent away, the waiting room being full",
		    METRIC_COUNTER, (int64_t)st.refused },
		{ "postern_permits_held", "", "Outbound connections permitted",
		    METRIC_GAUGE, st.held },
		{ "postern_permits_waiting", "", "Permit requests waiting",
		    METRIC_GAUGE, st.waiting },
		{ "postern_settings_generation", "",
		    "Settings loaded since the start", METRIC_GAUGE,
		    (int64_t)n->generation },
	};

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		metric_encode(&w, &list[i]);
}

static int
answer_status(struct process *p, uint64_t req_id)
{
	struct json j;
	struct buf doc;
	int r;

	buf_init(&doc, REPLY_MAX);
	json_init(&j, &doc);
	status_json(p->node, &j);
	r = adm_reply(&p->adm, req_id, &doc);
	buf_done(&doc);
	return r;
}

static int
answer_metrics(struct process *p, uint64_t req_id)
{
	struct buf doc;
	int r;

	buf_init(&doc, REPLY_MAX);
	metrics_list(p->node, &doc);
	r = adm_reply(&p->adm, req_id, &doc);
	buf_done(&doc);
	return r;
}

static int
answer_config(struct process *p, uint64_t req_id, const struct adm_call *m)
{
	char why[160] = "";
	struct buf doc;
	int code, r;

	buf_init(&doc, REPLY_MAX);
	code = staging_call(p->node, m, &doc, why, sizeof(why));
	r = code == 0 ? adm_reply(&p->adm, req_id, &doc)
		      : adm_refuse(&p->adm, req_id, (uint16_t)code, why);
	buf_done(&doc);
	return r;
}

static int
answer_reload(struct process *p, uint64_t req_id)
{
	size_t left = 0;

	if (node_reload(p->node, &left) < 0)
		return adm_refuse(&p->adm, req_id, 409,
		    "the new settings are refused and the old ones "
		    "stay; the log and `postern check` say why");
	if (left > 0)
		return adm_refuse(&p->adm, req_id, 503,
		    "not every process could be given the settings, and the "
		    "log names those that keep the old ones: reload again");
	return adm_refuse(&p->adm, req_id, 0, "");
}

static int
answer_suspend(struct process *p, uint64_t req_id, const struct adm_call *m)
{
	int n =
	    suspend_listener(p->node, m->args[0], m->op == ADM_SUSPENDLISTENER);
	struct json j;
	struct buf doc;
	int r;

	if (n < 0)
		return adm_refuse(
		    &p->adm, req_id, 404, "there is no such listener");
	buf_init(&doc, REPLY_MAX);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_int(&j, "changed", n);
	json_put_end_obj(&j);
	r = adm_reply(&p->adm, req_id, &doc);
	buf_done(&doc);
	return r;
}

static int
on_adm_call(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct process *p = peer;
	struct adm_call msg;

	if (adm_call_decode(rd, &msg) < 0)
		return PE_PROTO;
	switch (msg.op) {
	case ADM_STATUS:
		return answer_status(p, m->req_id);
	case ADM_METRICS:
		return answer_metrics(p, m->req_id);
	case ADM_RELOAD:
		return answer_reload(p, m->req_id);
	case ADM_CONFIG:
		return answer_config(p, m->req_id, &msg);
	case ADM_SUSPENDLISTENER:
	case ADM_RESUMELISTENER:
		return answer_suspend(p, m->req_id, &msg);
	case ADM_DRAIN:
		(void)adm_refuse(&p->adm, m->req_id, 0, "");
		ipc_chan_flush(p->chan);
		node_drain(p->node,
		    msg.num > 0 && msg.num < INT32_MAX
			? (int64_t)msg.num
			: p->node->conf->node.drain_deadline_ms);
		return 0;
	default:
		return adm_refuse(&p->adm, m->req_id, 400,
		    "the supervisor does not know this call");
	}
}

/* ---- the table -------------------------------------------------------------------------- */

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type             min  max   when           flags handler */
	{ CTL_READY,        3,   1024, WHEN_STARTING, 0,    on_ready },
	{ CTL_CONFIG_DONE,  12,  1024, WHEN_READY,    0,    on_config_done },
	{ CTL_BROKEN,       8,   1024, IPC_ANY,       0,    on_broken },
	{ CTL_LOG_GONE,     0,   0,    IPC_ANY,       0,    on_log_gone },
	{ CTL_CONNECT_ASK,  13,  4096, WHEN_DELIVER,  0,    permits_on_connect_ask },
	{ CTL_PERMIT_ASK,   8,   8192, WHEN_SMTPD,    0,    permits_on_ask },
	{ CTL_RCPT_ASK,     12,  12,   WHEN_DELIVER,  0,    permits_on_rcpt_ask },
	{ CTL_RCPT_DONE,    16,  16,   WHEN_DELIVER,  0,    permits_on_rcpt_done },
	{ CTL_PERMIT_FREE,  8,   8,    WHEN_DELIVER | WHEN_SMTPD, 0, permits_on_free },
	{ ADM_CALL,         18,  4608 + ADM_TEXT_MAX, WHEN_ADMIN,    0,    on_adm_call },
};
/* clang-format on */

static void
on_down(void *peer, int why, const char *text)
{
	struct process *p = peer;

	if (why != PE_GONE)
		log_warn("process_broke_rule",
		    "%s %u broke the protocol with the supervisor and is "
		    "restarted: %s",
		    role_name(p->role), p->instance, text);
	/* a child without this channel drains by itself; one that broke a rule
	 * is not asked. Either way SIGCHLD tells the end. */
	if (why != PE_GONE)
		process_kill(p, SIGKILL);
}

static void
on_room(void *peer)
{
	struct process *p = peer;

	adm_peer_room(&p->adm);
}

const struct ipc_spec control_spec = {
	.name = "child",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.state = state_of,
	.on_down = on_down,
	.on_room = on_room,
};
