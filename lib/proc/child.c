/*
 * child.c - start, lock-down, reload and end of every child process.
 *
 * Called by each main.c. Never knows what the process is for. Never reads a
 * byte from outside before the last lock is on: until START it only listens to
 * the supervisor.
 */
#include "lib/proc/child.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proc/exit.h"
#include "lib/proto/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	CTL_FD = 3,
	BLOB_MAX = 512 * 1024 * 1024,
	ORPHAN_DEADLINE_MS = 5000,
	DRAIN_SLACK_MS = 2000,
};

static int exit_code; /* of the one child in this process */

/* ---- end ------------------------------------------------------------------- */

void
child_done(struct child *c)
{
	c->stopping = true;
	uv_stop(c->loop);
}

static void
on_drain_timeout(uv_timer_t *timer)
{
	struct child *c = timer->data;

	log_warn("drain_timeout",
	    "%s: not finished within the deadline; "
	    "what is open is given up",
	    role_name(c->role));
	child_done(c);
}

static void
drain(struct child *c, int64_t deadline_ms)
{
	if (c->draining)
		return;
	c->draining = true;
	if (!c->started || c->spec->on_drain == NULL) {
		child_done(c);
		return;
	}
	(void)uv_timer_start(&c->drain_timer, on_drain_timeout,
	    (uint64_t)(deadline_ms + DRAIN_SLACK_MS), 0);
	c->spec->on_drain(c, c->arg, deadline_ms);
}

/* ---- settings -------------------------------------------------------------- */

/* The blob is sealed, so that its size cannot change under us. */
static int
read_blob(int fd, uint8_t **ret_data, size_t *ret_len)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct stat st;
	uint8_t *data;
	size_t done = 0;
	ssize_t n;

	if ((fcntl(fd, F_GET_SEALS) & want) != want || fstat(fd, &st) < 0 ||
	    st.st_size <= 0 || st.st_size > BLOB_MAX)
		return PE_PROTO;
	data = malloc((size_t)st.st_size);
	if (data == NULL)
		return -ENOMEM;
	while (done < (size_t)st.st_size) {
		n = pread(
		    fd, data + done, (size_t)st.st_size - done, (off_t)done);
		if (n <= 0) {
			free(data);
			return n < 0 ? -errno : PE_PROTO;
		}
		done += (size_t)n;
	}
	*ret_data = data;
	*ret_len = done;
	return 0;
}

static int
parse_blob(int fd, struct conf **ret_conf)
{
	uint8_t *data = NULL;
	size_t len = 0;
	int r;

	r = read_blob(fd, &data, &len);
	if (r < 0)
		return r;
	r = conf_blob_parse(data, len, ret_conf);
	if (data != NULL)
		explicit_bzero(data, len); /* may hold keys */
	free(data);
	return r;
}

static void
use_log_settings(const struct child *c)
{
	const struct conf_log *l = &c->conf->log;

	log_set(l->target == CONF_LOG_SYSLOG ? LOG_SYSLOG
					     : (enum log_format)l->format,
	    (enum log_level)l->level);
}

static void
tell_config(struct child *c, uint64_t generation, const char *why_not)
{
	struct ctl_config_done m = { generation, why_not == NULL, why_not };

	ctl_config_done_encode(ipc_send_begin(c->ctl, CTL_CONFIG_DONE, 0), &m);
	(void)ipc_send_end(c->ctl, -1); /* a lost supervisor shows itself */
}

static int
on_config(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_config msg;
	struct conf *conf = NULL, *old = c->conf;
	int r;

	if (ctl_config_decode(rd, &msg) < 0)
		return PE_PROTO;
	r = parse_blob(m->fd, &conf);
	if (r < 0) {
		if (!c->started)
			fatal("settings from the supervisor: %s", err_str(r));
		tell_config(c, msg.generation, err_str(r));
		return 0;
	}
	if (c->started && c->spec->on_reload != NULL) {
		r = c->spec->on_reload(c, c->arg, old, conf);
		if (r < 0) {
			conf_unref(conf);
			tell_config(c, msg.generation, err_str(r));
			return 0;
		}
	}
	c->conf = conf;
	c->generation = msg.generation;
	conf_unref(old);
	use_log_settings(c);
	if (c->started)
		tell_config(c, msg.generation, NULL);
	return 0;
}

/* ---- what is handed down ---------------------------------------------------- */

static int
on_listener(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_listener msg;
	struct child_listener *l;

	if (ctl_listener_decode(rd, &msg) < 0 || c->started ||
	    c->n_listeners == CHILD_LISTENERS_MAX)
		return PE_PROTO;
	l = &c->listeners[c->n_listeners++];
	(void)snprintf(l->kind, sizeof(l->kind), "%s", msg.kind);
	(void)snprintf(l->name, sizeof(l->name), "%s", msg.name);
	(void)snprintf(l->address, sizeof(l->address), "%s", msg.address);
	l->fd = m->fd;
	m->fd = -1;
	return 0;
}

static int
on_suspend(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_suspend msg;
	size_t i;

	(void)m;
	if (ctl_suspend_decode(rd, &msg) < 0)
		return PE_PROTO;
	for (i = 0; i < c->n_listeners; i++)
		if (strcmp(c->listeners[i].name, msg.name) == 0)
			c->listeners[i].suspended = msg.suspended;
	return 0;
}

static int
on_dir(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_dir msg;

	if (ctl_dir_decode(rd, &msg) < 0 || c->started || c->dir_fd >= 0)
		return PE_PROTO;
	(void)snprintf(c->dir_path, sizeof(c->dir_path), "%s", msg.path);
	c->dir_fd = m->fd;
	m->fd = -1;
	return 0;
}

static int
on_peer(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_peer msg;
	int fd;

	if (ctl_peer_decode(rd, &msg) < 0 || c->conf == NULL ||
	    !role_talks(c->role, msg.role) || c->spec->on_peer == NULL)
		return PE_PROTO;
	fd = m->fd;
	m->fd = -1;
	c->spec->on_peer(c, c->arg, msg.role, msg.instance, fd);
	return 0;
}

static int
on_log(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;

	if (ipc_rd_end(rd) < 0)
		return PE_PROTO;
	log_flush();
	/* the old target stays in use when this fails */
	(void)dup2(m->fd, STDOUT_FILENO);
	(void)dup2(m->fd, STDERR_FILENO);
	log_set_fd(STDOUT_FILENO);
	c->said_log_gone = false;
	return 0;
}

/* ---- lock-down --------------------------------------------------------------- */

int
child_as_user(struct child *c)
{
	if (c->uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setegid(c->gid) < 0 ||
	    seteuid(c->uid) < 0)
		return -errno;
	return 0;
}

int
child_as_root(struct child *c)
{
	if (c->uid == 0)
		return 0;
	if (seteuid(0) < 0 || setegid(0) < 0)
		return -errno;
	return 0;
}

static void
limit(int what, rlim_t value)
{
	struct rlimit rl = { value, value };

	if (setrlimit((__rlimit_resource_t)what, &rl) < 0)
		fatal("resource limit %d of %llu: %s", what,
		    (unsigned long long)value, strerror(errno));
}

#ifdef __SANITIZE_ADDRESS__
/* The leak checker reads /proc, which the empty root directory has not: it would
 * end every child with a false alarm. Starts as an ordinary user are checked. */
static bool without_proc;
int __lsan_is_turned_off(void);
int
__lsan_is_turned_off(void)
{
	return without_proc;
}
#endif

static void
change_user(struct child *c, const char *chroot_dir)
{
	if (c->uid == 0) {
		(void)snprintf(c->missing, sizeof(c->missing), "%s",
		    "separate users, chroot (not started as root)");
		return;
	}
	if (chroot_dir[0] != '\0') {
		if (chroot(chroot_dir) < 0 || chdir("/") < 0)
			fatal("chroot to %s: %s", chroot_dir, strerror(errno));
#ifdef __SANITIZE_ADDRESS__
		without_proc = true;
#endif
	}
	if (setgroups(0, NULL) < 0 || setresgid(c->gid, c->gid, c->gid) < 0 ||
	    setresuid(c->uid, c->uid, c->uid) < 0)
		fatal("change to uid %u: %s", c->uid, strerror(errno));
	if (setuid(0) == 0)
		fatal("root came back after the change to uid %u", c->uid);
}

static void
lock_down(struct child *c, const struct ctl_start *m)
{
	if (m->max_fds > 0)
		limit(RLIMIT_NOFILE, m->max_fds);
	limit(RLIMIT_CORE, 0);
	change_user(c, m->chroot_dir);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fatal("no_new_privs: %s", strerror(errno));
#ifndef POSTERN_DEBUG
	/* debug builds let the leak checker and the debugger look */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fatal("not dumpable: %s", strerror(errno));
#endif
}

static int
on_start(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_start msg;
	struct ctl_ready ready;

	(void)m;
	if (ctl_start_decode(rd, &msg) < 0 || c->started || c->conf == NULL)
		return PE_PROTO;
	c->uid = msg.uid;
	c->gid = msg.gid;
	if (c->spec->setup != NULL && c->spec->setup(c, c->arg) < 0) {
		exit_code = EXIT_CODE_START;
		child_done(c);
		return 0;
	}
	lock_down(c, &msg);
	c->started = true;
	if (c->spec->start != NULL && c->spec->start(c, c->arg) < 0) {
		exit_code = EXIT_CODE_START;
		child_done(c);
		return 0;
	}
	ready.missing = c->missing;
	ctl_ready_encode(ipc_send_begin(c->ctl, CTL_READY, 0), &ready);
	return ipc_send_end(c->ctl, -1);
}

/* ---- later ------------------------------------------------------------------- */

static int
on_drain_msg(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_drain msg;

	(void)m;
	if (ctl_drain_decode(rd, &msg) < 0)
		return PE_PROTO;
	drain(c, msg.deadline_ms);
	return 0;
}

static int
on_permit_grant(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_permit_grant msg;

	if (ctl_permit_grant_decode(rd, &msg) < 0 ||
	    c->spec->on_permit_grant == NULL)
		return PE_PROTO;
	c->spec->on_permit_grant(c, c->arg, m->req_id, msg.permit_id);
	return 0;
}

static int
on_rcpt_grant(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_rcpt_grant msg;

	if (ctl_rcpt_grant_decode(rd, &msg) < 0 ||
	    c->spec->on_rcpt_grant == NULL)
		return PE_PROTO;
	c->spec->on_rcpt_grant(c, c->arg, m->req_id, &msg);
	return 0;
}

static int
on_permit_wait(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct ctl_permit_wait msg;

	if (ctl_permit_wait_decode(rd, &msg) < 0 ||
	    c->spec->on_permit_wait == NULL)
		return PE_PROTO;
	c->spec->on_permit_wait(c, c->arg, m->req_id, &msg);
	return 0;
}

static int
on_adm_data(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;

	if (c->spec->on_adm_data == NULL)
		return PE_PROTO;
	c->spec->on_adm_data(c, c->arg, m->req_id, rd->p, m->len);
	return 0;
}

static int
on_adm_end(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct child *c = peer;
	struct adm_end msg;

	if (adm_end_decode(rd, &msg) < 0 || c->spec->on_adm_end == NULL)
		return PE_PROTO;
	c->spec->on_adm_end(c, c->arg, m->req_id, msg.code, msg.text);
	return 0;
}

/* clang-format off */
static const struct ipc_rule rules[] = {
	/* type              min  max            when     flags       handler */
	{ CTL_CONFIG,        8,   8,             IPC_ANY, IPC_FD,     on_config },
	{ CTL_LISTENER,      9,   8192,          IPC_ANY, IPC_FD,     on_listener },
	{ CTL_SUSPEND,       3,   1024,          IPC_ANY, 0,          on_suspend },
	{ CTL_DIR,           3,   8192,          IPC_ANY, IPC_FD,     on_dir },
	{ CTL_PEER,          5,   5,             IPC_ANY, IPC_FD,     on_peer },
	{ CTL_START,         15,  8192,          IPC_ANY, 0,          on_start },
	{ CTL_DRAIN,         4,   4,             IPC_ANY, 0,          on_drain_msg },
	{ CTL_LOG,           0,   0,             IPC_ANY, IPC_FD,     on_log },
	{ CTL_PERMIT_GRANT,  8,   8,             IPC_ANY, 0,          on_permit_grant },
	{ CTL_PERMIT_WAIT,   8,   8,             IPC_ANY, 0,          on_permit_wait },
	{ CTL_RCPT_GRANT,    8,   8,             IPC_ANY, 0,          on_rcpt_grant },
	{ ADM_DATA,          0,   ADM_PIECE_MAX, IPC_ANY, IPC_CREDIT, on_adm_data },
	{ ADM_END,           5,   2048,          IPC_ANY, 0,          on_adm_end },
};
/* clang-format on */

static void
on_ctl_down(void *peer, int why, const char *text)
{
	struct child *c = peer;

	if (why != PE_GONE)
		log_warn("supervisor_broken", "%s: supervisor: %s",
		    role_name(c->role), text);
	else if (!c->draining && c->started)
		log_warn("supervisor_gone",
		    "%s: the supervisor is gone: draining", role_name(c->role));
	exit_code = EXIT_CODE_ORPHAN;
	drain(c, ORPHAN_DEADLINE_MS);
}

static const struct ipc_spec ctl_spec = {
	.name = "supervisor",
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
	.on_down = on_ctl_down,
};

void
child_peer_broken(
    struct child *c, enum role role, uint32_t instance, const char *text)
{
	struct ctl_broken m = { role, instance, text };

	log_warn("peer_broken", "%s: %s %u broke the protocol: %s",
	    role_name(c->role), role_name(role), instance, text);
	ctl_broken_encode(ipc_send_begin(c->ctl, CTL_BROKEN, 0), &m);
	(void)ipc_send_end(c->ctl, -1); /* a lost supervisor shows itself */
}

int
child_connect_ask(
    struct child *c, uint64_t req_id, const struct ctl_connect_ask *m)
{
	ctl_connect_ask_encode(
	    ipc_send_begin(c->ctl, CTL_CONNECT_ASK, req_id), m);
	return ipc_send_end(c->ctl, -1);
}

int
child_permit_ask(
    struct child *c, uint64_t req_id, const struct ctl_permit_ask *m)
{
	ctl_permit_ask_encode(
	    ipc_send_begin(c->ctl, CTL_PERMIT_ASK, req_id), m);
	return ipc_send_end(c->ctl, -1);
}

int
child_rcpt_ask(struct child *c, uint64_t req_id, const struct ctl_rcpt_ask *m)
{
	ctl_rcpt_ask_encode(ipc_send_begin(c->ctl, CTL_RCPT_ASK, req_id), m);
	return ipc_send_end(c->ctl, -1);
}

int
child_rcpt_done(struct child *c, const struct ctl_rcpt_done *m)
{
	ctl_rcpt_done_encode(ipc_send_begin(c->ctl, CTL_RCPT_DONE, 0), m);
	return ipc_send_end(c->ctl, -1);
}

static int
send_free(struct child *c, uint64_t req_id, uint64_t permit_id)
{
	struct ctl_permit_free m = { permit_id };

	ctl_permit_free_encode(
	    ipc_send_begin(c->ctl, CTL_PERMIT_FREE, req_id), &m);
	return ipc_send_end(c->ctl, -1);
}

int
child_permit_free(struct child *c, uint64_t permit_id)
{
	return send_free(c, 0, permit_id);
}

int
child_permit_cancel(struct child *c, uint64_t req_id)
{
	return send_free(c, req_id, 0);
}

int
child_adm_call(struct child *c, uint64_t req_id, const struct adm_call *m)
{
	adm_call_encode(ipc_send_begin(c->ctl, ADM_CALL, req_id), m);
	return ipc_send_end(c->ctl, -1);
}

/* ---- life ---------------------------------------------------------------------- */

static void
on_sigterm(uv_signal_t *handle, int signum)
{
	struct child *c = handle->data;

	(void)signum;
	drain(c, c->conf == NULL ? 0 : c->conf->node.drain_deadline_ms);
}

static void
on_turn(void *arg)
{
	struct child *c = arg;

	log_flush();
	if (!log_target_gone() || c->said_log_gone || !ipc_chan_is_up(c->ctl))
		return;
	/* locked in as it is, it cannot open another one */
	c->said_log_gone = true;
	(void)ipc_send_begin(c->ctl, CTL_LOG_GONE, 0);
	(void)ipc_send_end(c->ctl, -1); /* a lost supervisor shows itself */
}

static bool
is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int
open_loop(struct child *c)
{
	int r;

	c->loop = uv_default_loop();
	if (c->loop == NULL)
		return -ENOMEM;
	r = ipc_hub_init(&c->hub, c->loop);
	if (r == 0)
		r = uv_timer_init(c->loop, &c->drain_timer);
	if (r == 0)
		r = uv_signal_init(c->loop, &c->sigterm);
	if (r == 0)
		r = uv_signal_start(&c->sigterm, on_sigterm, SIGTERM);
	if (r < 0)
		return r;
	uv_unref((uv_handle_t *)&c->sigterm);
	c->drain_timer.data = c;
	c->sigterm.data = c;
	c->hub.on_turn = on_turn;
	c->hub.arg = c;
	return ipc_chan_new(&c->hub, CTL_FD, &ctl_spec, c, &c->ctl);
}

int
child_run(const struct child_spec *spec, void *arg, int argc, char **argv)
{
	static struct child child; /* large, and one per process */
	struct child *c = &child;
	char name[32];
	int r;

	c->spec = spec;
	c->arg = arg;
	c->role = spec->role;
	c->dir_fd = -1;
	c->instance = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	(void)snprintf(name, sizeof(name), "%s", role_name(spec->role));
	log_init(STDOUT_FILENO, LOG_TEXT, LOG_INFO, name);
	if (!is_socket(CTL_FD)) {
		(void)fprintf(stderr,
		    "postern-%s is started by postern, never by hand: "
		    "see postern(8)\n",
		    name);
		return 64;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN); /* the terminal's goes to postern */
	(void)signal(SIGHUP, SIG_IGN);
	hash_seed();
	r = open_loop(c);
	if (r < 0)
		fatal("%s: event loop: %s", name, err_str(r));
	while (!c->stopping && uv_run(c->loop, UV_RUN_DEFAULT) != 0)
		continue;
	/* what was decided in the last turn still goes out */
	if (ipc_chan_is_up(c->ctl))
		ipc_chan_flush(c->ctl);
	log_flush();
	return exit_code;
}
