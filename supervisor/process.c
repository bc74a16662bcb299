/*
 * process.c - the lives of the children: plan, start, channels, end, restart.
 *
 * Children are forked and executed, so none inherits another's memory or
 * address layout. A child that dies comes back after a pause that doubles with
 * each death in a row; the node goes on meanwhile.
 */
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proto/control.h"
#include "lib/proc/exit.h"
#include "supervisor/ledger.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* each is a holder in the ledgers, by its number */
_Static_assert(PROCESSES_MAX <= (int)LEDGER_HOLDERS_MAX, "holders");

enum {
	RESTART_FIRST_MS = 100,
	RESTART_MAX_MS = 30 * 1000,
	WORKERS_MAX = 16,     /* as the settings allow at most */
	STABLE_MS = 3 * 1000, /* alive this long: the count of deaths ends */
};

/* Which file contents a role may see, and how many of it there are. */
static const struct {
	enum role role;
	enum conf_for files;
	bool many;
} plan[] = {
	{ ROLE_QUEUE, CONF_FOR_NONE, false },
	{ ROLE_RESOLVER, CONF_FOR_RESOLVER, false },
	{ ROLE_POLICYD, CONF_FOR_POLICYD, false },
	{ ROLE_DELIVER, CONF_FOR_DELIVER, true },
	{ ROLE_ADMIN, CONF_FOR_ADMIN, false },
	{ ROLE_SMTPD, CONF_FOR_SMTPD, true },
};

/* ---- plan ------------------------------------------------------------------------ */

static uint32_t
instances(const struct conf *conf, enum role role)
{
	uint32_t n = role == ROLE_SMTPD ? conf->node.smtpd_workers
					: conf->delivery.workers;
	long cpus;

	if (n == 0) {
		cpus = sysconf(_SC_NPROCESSORS_ONLN);
		n = cpus > 0 ? (uint32_t)cpus : 1;
	}
	return n > WORKERS_MAX ? WORKERS_MAX : n; /* auto on large hosts */
}

static void
on_restart(uv_timer_t *timer)
{
	process_start(timer->data);
}

/* Where this program is, so are the others; installed, in libexec. */
static int
find_programs(struct node *n)
{
	char self[4096], probe[4200];
	const char *dir;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t i;

	if (len < 0) {
		(void)fprintf(
		    stderr, "postern: /proc/self/exe: %s\n", strerror(errno));
		return EXIT_CODE_START;
	}
	self[len] = '\0';
	dir = dirname(self);
	for (i = 0; i < 2; i++) {
		(void)snprintf(n->bin_dir, sizeof(n->bin_dir),
		    i == 0 ? "%s" : "%s/../libexec/postern", dir);
		(void)snprintf(
		    probe, sizeof(probe), "%s/postern-queue", n->bin_dir);
		if (access(probe, X_OK) == 0)
			return 0;
	}
	(void)fprintf(stderr,
	    "postern: the other programs (postern-queue, …) are neither in %s "
	    "nor in %s\n",
	    dir, n->bin_dir);
	return EXIT_CODE_START;
}

int
processes_plan(struct node *n)
{
	struct process *p;
	uint32_t k, many;
	size_t i;
	int r = find_programs(n);

	for (i = 0; i < sizeof(plan) / sizeof(plan[0]) && r == 0; i++) {
		many = plan[i].many ? instances(n->conf, plan[i].role) : 1;
		for (k = 0; k < many; k++) {
			p = &n->processes[n->n_processes];
			p->node = n;
			p->role = plan[i].role;
			p->instance = k;
			p->holder = (uint32_t)n->n_processes++;
			if (!setup_find_user(
				n->conf, p->role, &p->uid, &p->gid))
				return EXIT_CODE_CONFIG;
		}
	}
	return r;
}

struct process *
process_find(struct node *n, enum role role, uint32_t instance)
{
	size_t i;

	for (i = 0; i < n->n_processes; i++)
		if (n->processes[i].role == role &&
		    n->processes[i].instance == instance)
			return &n->processes[i];
	return NULL;
}

bool
processes_all(const struct node *n, enum process_state state)
{
	size_t i;

	for (i = 0; i < n->n_processes; i++)
		if (n->processes[i].state != state)
			return false;
	return true;
}

bool
processes_running(const struct node *n)
{
	size_t i;

	for (i = 0; i < n->n_processes; i++)
		if (n->processes[i].pid > 0)
			return true;
	return false;
}

/* ---- what a child is given --------------------------------------------------------- */

static enum conf_for
entitled(enum role role)
{
	size_t i;

	for (i = 0; i < sizeof(plan) / sizeof(plan[0]); i++)
		if (plan[i].role == role)
			return plan[i].files;
	return CONF_FOR_NONE;
}

/* The settings as a sealed memfd. Negative on error. */
static int
settings_fd(const struct node *n, enum role role)
{
	uint8_t *data = NULL;
	size_t len = 0, done = 0;
	ssize_t w;
	int fd, r;

	r = conf_blob_build(n->conf, entitled(role), &data, &len);
	if (r < 0)
		return r;
	fd = memfd_create("settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	while (fd >= 0 && done < len) {
		w = write(fd, data + done, len - done);
		if (w < 0)
			break;
		done += (size_t)w;
	}
	explicit_bzero(data, len);
	free(data);
	if (fd < 0)
		return -errno;
	if (done < len ||
	    fcntl(fd, F_ADD_SEALS,
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	return fd;
}

int
process_send_config(struct process *p)
{
	struct ctl_config m = { p->node->generation };
	int fd = settings_fd(p->node, p->role);

	if (fd < 0)
		return fd;
	ctl_config_encode(ipc_send_begin(p->chan, CTL_CONFIG, 0), &m);
	return ipc_send_end(p->chan, fd);
}

static int
send_sockets(struct process *p)
{
	const struct node *n = p->node;
	struct ctl_listener m;
	size_t i;
	int fd, r = 0;

	for (i = 0; i < n->n_sockets && r == 0; i++) {
		if (n->sockets[i].role != p->role)
			continue;
		fd = fcntl(n->sockets[i].fd, F_DUPFD_CLOEXEC, 10);
		if (fd < 0)
			return -errno;
		m.kind = n->sockets[i].kind;
		m.name = n->sockets[i].name;
		m.address = n->sockets[i].address;
		ctl_listener_encode(
		    ipc_send_begin(p->chan, CTL_LISTENER, 0), &m);
		r = ipc_send_end(p->chan, fd);
	}
	return r;
}

static int
send_dir(struct process *p)
{
	const struct node_dir *dir = node_dir_of(p->node, p->role);
	struct ctl_dir m;
	int fd;

	if (dir == NULL)
		return 0;
	m.path = dir->path;
	fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, 10);
	if (fd < 0)
		return -errno;
	ctl_dir_encode(ipc_send_begin(p->chan, CTL_DIR, 0), &m);
	return ipc_send_end(p->chan, fd);
}

static int
send_peer(struct process *to, const struct process *about, int fd)
{
	struct ctl_peer m = { about->role, about->instance };

	ctl_peer_encode(ipc_send_begin(to->chan, CTL_PEER, 0), &m);
	return ipc_send_end(to->chan, fd);
}

/* A fresh channel between the new process and everyone it talks to. */
static int
connect_peers(struct process *p)
{
	struct node *n = p->node;
	struct process *other;
	int pair[2], r;
	size_t i;

	for (i = 0; i < n->n_processes; i++) {
		other = &n->processes[i];
		if (other == p || other->chan == NULL ||
		    !role_talks(p->role, other->role))
			continue;
		r = ipc_pair(pair);
		if (r < 0)
			return r;
		r = send_peer(p, other, pair[0]);
		if (send_peer(other, p, pair[1]) < 0 && r == 0)
			log_debug("peer_missed",
			    "%s %u could not be told of "
			    "%s %u: it is going away",
			    role_name(other->role), other->instance,
			    role_name(p->role), p->instance);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
send_start(struct process *p)
{
	struct ctl_start m = { .uid = p->uid,
		.gid = p->gid,
		.chroot_dir = p->uid != 0 ? p->node->empty_path : "",
		.max_fds = p->node->max_fds };

	ctl_start_encode(ipc_send_begin(p->chan, CTL_START, 0), &m);
	return ipc_send_end(p->chan, -1);
}

/* ---- start ---------------------------------------------------------------------------- */

static void
restart_later(struct process *p)
{
	uint64_t pause_ms = RESTART_FIRST_MS;
	uint32_t i;

	for (i = 1; i < p->fast_deaths && pause_ms < RESTART_MAX_MS; i++)
		pause_ms *= 2;
	if (pause_ms > RESTART_MAX_MS)
		pause_ms = RESTART_MAX_MS;
	(void)uv_timer_start(&p->restart, on_restart, pause_ms, 0);
}

void
process_start(struct process *p)
{
	struct node *n = p->node;
	int pair[2], r;

	if (n->state != NODE_STARTING && n->state != NODE_RUNNING)
		return;
	if (p->starts++ == 0) {
		(void)uv_timer_init(n->loop, &p->restart);
		p->restart.data = p;
	}
	r = ipc_pair(pair);
	if (r < 0)
		goto failed;
	log_flush();
	p->pid = process_spawn(p, pair[1]);
	(void)close(pair[1]);
	if (p->pid < 0) {
		r = -errno;
		(void)close(pair[0]);
		goto failed;
	}
	p->state = PROCESS_STARTING;
	p->said_ready = false;
	p->started_ms = clock_mono_ms();
	r = ipc_chan_new(&n->hub, pair[0], &control_spec, p, &p->chan);
	if (r == 0) {
		adm_peer_init(&p->adm, p->chan);
		r = process_send_config(p);
	}
	if (r == 0)
		r = send_sockets(p);
	if (r == 0)
		r = suspend_tell_all(p);
	if (r == 0)
		r = send_dir(p);
	if (r == 0)
		r = connect_peers(p);
	if (r == 0)
		r = send_start(p);
	if (r == 0)
		return;
	process_kill(p, SIGKILL); /* and again after its exit */
failed:
	log_warn("start_failed", "%s %u: start failed: %s", role_name(p->role),
	    p->instance, err_str(r));
	if (p->pid <= 0) {
		p->fast_deaths++;
		restart_later(p);
	}
}

void
process_kill(struct process *p, int signum)
{
	if (p->pid > 0)
		(void)kill(p->pid, signum); /* gone already: SIGCHLD comes */
}

/* ---- end ------------------------------------------------------------------------------- */

static void
say_end(const struct process *p, pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_warn("process_died",
		    "%s %u (pid %d) was killed by signal "
		    "%d (%s)",
		    role_name(p->role), p->instance, (int)pid, WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		log_event(WEXITSTATUS(status) == 0 ? LOG_INFO : LOG_WARNING,
		    "process_ended", NULL, "%s %u (pid %d) ended with code %d",
		    role_name(p->role), p->instance, (int)pid,
		    WEXITSTATUS(status));
}

void
process_exited(struct node *n, pid_t pid, int status)
{
	struct process *p = NULL;
	size_t i;

	for (i = 0; i < n->n_processes; i++)
		if (n->processes[i].pid == pid)
			p = &n->processes[i];
	if (p == NULL)
		return;
	say_end(p, pid, status);
	p->pid = 0;
	p->state = PROCESS_STOPPED;
	adm_peer_done(&p->adm);
	ipc_chan_free(p->chan);
	p->chan = NULL;
	permits_drop(p);
	if (n->state == NODE_DRAINING || n->state == NODE_LEAVING) {
		node_drain_step(n);
		return;
	}
	/* only while the node starts: later the settings did work, and no child
	 * stops a running node */
	if (n->state == NODE_STARTING && WIFEXITED(status) &&
	    WEXITSTATUS(status) == EXIT_CODE_CONFIG) {
		log_event(LOG_CRITICAL, "node_stops", NULL,
		    "%s cannot work with these settings: the node stops",
		    role_name(p->role));
		n->exit_code = EXIT_CODE_CONFIG;
		node_drain(n, n->conf->node.drain_deadline_ms);
		return;
	}
	n->restarts++;
	if (clock_mono_ms() - p->started_ms > STABLE_MS)
		p->fast_deaths = 0;
	p->fast_deaths++;
	restart_later(p);
}
