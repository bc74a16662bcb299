/*
 * supervisor.h - what the files of the supervisor share: the node, its processes.
 */
#ifndef POSTERN_SUPERVISOR_SUPERVISOR_H
#define POSTERN_SUPERVISOR_SUPERVISOR_H

#include "lib/ipc/chan.h"
#include "lib/proto/admin.h"
#include "lib/proto/roles.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <uv.h>

enum {
	PROCESSES_MAX = 64,
	SOCKETS_MAX = 128,
	FDS_WANTED = 65536, /* RLIMIT_NOFILE, or what the system allows */
};

enum process_state {
	PROCESS_STOPPED,  /* not running, restart timer may run */
	PROCESS_STARTING, /* running, not READY yet */
	PROCESS_READY,
	PROCESS_DRAINING,
};

struct conf;
struct conf_errors;
struct node;

/* One child process, or the place for it between two lives. */
struct process {
	struct node *node;
	enum role role;
	uint32_t instance;
	uint32_t holder; /* in the ledger; index in node->processes */
	enum process_state state;
	bool said_ready; /* in this life */
	pid_t pid;
	struct ipc_chan *chan;
	struct adm_peer adm; /* replies to admin; only that role calls */
	uint32_t starts, fast_deaths;
	int64_t started_ms;
	int64_t accused_ms; /* when it last reported a peer; 0: never */
	uv_timer_t restart;
	uid_t uid; /* 0: keeps ours */
	gid_t gid;
};

/* A socket bound at start, handed to every process that serves it. */
struct node_socket {
	enum role role;
	char kind[16], name[256], address[256];
	int fd;
	bool suspended; /* by an operator, see suspend.c */
};

/* A directory below state_dir that belongs to one process. */
enum { NODE_DIRS = 3 };
struct node_dir {
	enum role role;
	char path[4096];
	int fd;
};

enum node_state { NODE_STARTING, NODE_RUNNING, NODE_DRAINING, NODE_LEAVING };

struct node {
	uv_loop_t *loop;
	struct ipc_hub hub;
	struct conf *conf;
	const char *conf_dir;
	uint64_t generation;
	enum node_state state;
	int exit_code;
	bool as_root;
	bool said_missing; /* what no child could apply: said once */
	int64_t started_s, started_mono_ms;

	char bin_dir[4096]; /* where the children's programs are */
	struct node_dir dirs[NODE_DIRS];
	char empty_path[4096];	/* chroot of the children */
	char socket_path[4096]; /* control socket, removed at the end */
	bool has_socket;	/* socket_path was made by this process */
	int lock_fd, run_lock_fd, log_fd;
	uint32_t max_fds;

	struct process processes[PROCESSES_MAX];
	size_t n_processes;
	struct node_socket sockets[SOCKETS_MAX];
	size_t n_sockets;
	struct ledger *ledger; /* of outbound connections */
	struct ledger *intake; /* of clients, for all smtpd together */
	struct rates *rates;   /* recipients per minutes */
	uint64_t restarts;

	uv_signal_t sigchld, sigterm, sigint, sighup;
	uv_timer_t drain_timer;
	uv_timer_t log_timer;
	uv_timer_t rates_timer; /* while somebody waits for recipients */
	uv_timer_t exception_timer;
	struct staging *staging;   /* settings that are not in force yet */
	int64_t exceptions_seen_s; /* ends up to then have been told */
};

/* node.c: directories, lock, users, log target, limits. 0 or an exit code for
 * main(), after saying why on stderr. */
int node_open(struct node *n);
void node_close(struct node *n);
/* The directory of a role, or NULL. */
const struct node_dir *node_dir_of(const struct node *n, enum role role);
/* What the supervisor itself may still do once all is open. */
int node_lock_down(struct node *n);
/* Open the log target of the settings; -1 and errno. */
int node_open_log(const struct node *n);

/* listen.c: bind every address of the settings. 0 or an exit code. */
int node_listen(struct node *n);
/* Close what takes mail; new connections are then refused, not parked. */
void node_stop_listening(struct node *n);

/* process.c: the children's lives. */
int processes_plan(struct node *n); /* which ones, from the settings */
void process_start(struct process *p);
/* The process that waitpid() reported. */
void process_exited(struct node *n, pid_t pid, int status);
void process_kill(struct process *p, int signum);
struct process *process_find(struct node *n, enum role role, uint32_t instance);
bool processes_all(const struct node *n, enum process_state state);
bool processes_running(const struct node *n);
int process_send_config(struct process *p);

/* spawn.c: fork and execute. fd: its control channel, not taken. -1 and errno. */
pid_t process_spawn(const struct process *p, int fd);

/* control.c: the channel to each child. */
extern const struct ipc_spec control_spec;

/* permits.c: connections out (deliver) and clients in (smtpd). */
int permits_init(struct node *n); /* 0 or -ENOMEM; needs the loop */
void permits_done(struct node *n);
/* Handlers of CTL_CONNECT_ASK, CTL_PERMIT_ASK, CTL_PERMIT_FREE; peer is the
 * process. */
int permits_on_connect_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd);
int permits_on_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd);
int permits_on_free(void *peer, struct ipc_msg *m, struct ipc_rd *rd);
int permits_on_rcpt_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd);
int permits_on_rcpt_done(void *peer, struct ipc_msg *m, struct ipc_rd *rd);
/* The process died; what it held is free. */
void permits_drop(struct process *p);
/* n->conf is a new one: its limits hold from now on. */
void permits_reload(struct node *n);

/*
 * settings.c: conf_load_dir(), and the certificates and keys can be used too.
 * Results as there.
 */
int settings_load(
    const char *dir, struct conf_errors *errs, struct conf **ret_conf);
/* `postern check`: print every problem. 0: no errors, 1: errors (exit codes). */
int settings_check(const char *dir, bool json, FILE *out);

/* reload.c */
/* Put a set in force that was loaded and found good; takes it. Returns how many
 * processes could not be given it and go on with the old one, as the log says. */
size_t node_take(struct node *n, struct conf *new);
/* Load the directory and take it. 0 done; PE_CONFIG: the new set is refused and
 * the old one stays; says why in the log. */
int node_reload(struct node *n, size_t *ret_left);
/* Nobody reads the log any more (a syslog daemon that was restarted): open it
 * anew for everyone, as soon as that works. */
void node_log_gone(struct node *n);

/* exceptions.c: destination controls with an end. */
struct json;
/* A set was loaded; old is the one before, or NULL. */
void exceptions_loaded(struct node *n, const struct conf *old);
/* Tell what has ended, and sleep until the next end. */
void exceptions_look(struct node *n);
void exceptions_json(const struct node *n, struct json *j);

/* staging.c: settings that are staged, committed, rolled back. */
struct staging;
struct buf;
/* Open the history below state_dir, finish a commit that was not finished. 0 or
 * an exit code for main(), after saying why on stderr. */
int staging_open(struct node *n);
void staging_close(struct node *n);
/* Write the tables of a commit that could not be written when it was made. */
void staging_finish(struct node *n);
/* Do what admin asks. 0: the answer is in doc; else an HTTP-like code, and why. */
int staging_call(struct node *n, const struct adm_call *m, struct buf *doc,
    char *why, size_t why_len);
/* settings.c: settings_load() with these tables. */
struct conf_tables;
int settings_load_tables(const char *dir, const struct conf_tables *tables,
    struct conf_errors *errs, struct conf **ret_conf);

/* drain.c */
void node_drain(struct node *n, int64_t deadline_ms);
void node_drain_step(struct node *n); /* a process has ended */

/* setup.c: `postern setup`, make the users. An exit code. */
int setup_users(const char *conf_dir);

/* User and group of a role; 0 when our own is kept. False: missing, said. */
bool setup_find_user(
    const struct conf *conf, enum role role, uid_t *ret_uid, gid_t *ret_gid);

/* ---- suspend.c: listeners whose clients get 421 ------------------------------------ */

/* Which ones are, to a process that was just given its sockets. */
int suspend_tell_all(struct process *p);
/* name "": all. How many listeners were changed; -1 when there is none of that
 * name. */
int suspend_listener(struct node *n, const char *name, bool suspend);
/* "suspended_listeners": their names. */
void suspend_json(const struct node *n, struct json *j);

#endif
