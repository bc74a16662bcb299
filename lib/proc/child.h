/*
 * child.h - the life of a child process, the same for all of them.
 *
 * main.c of each process is a table of hooks and one call. Order: take settings,
 * listeners and directories from the supervisor; setup() opens what needs
 * privilege; lock down (chroot, limits, user, no_new_privs); start(); report
 * ready; loop; drain; exit. No byte from outside is read before the last lock.
 * Losing the supervisor means drain and exit (EXIT_CODE_ORPHAN).
 */
#ifndef POSTERN_PROC_CHILD_H
#define POSTERN_PROC_CHILD_H

#include "lib/ipc/chan.h"
#include "lib/proto/control.h"
#include "lib/proto/roles.h"

#include <stdint.h>
#include <uv.h>

struct conf;

enum { CHILD_LISTENERS_MAX = 128 };

/* A listening socket handed down; fd is the child's, non-blocking. */
struct child_listener {
	char kind[16];	   /* "smtp", "http", "control" */
	char name[256];	   /* settings section */
	char address[256]; /* "10.0.0.1:25" or a path */
	int fd;
	bool suspended; /* its clients are to be refused, for now */
};

struct child {
	uv_loop_t *loop;
	struct ipc_hub hub;
	struct ipc_chan *ctl; /* to the supervisor; replies below */
	enum role role;
	uint32_t instance; /* 0, 1, 2 … among processes of this role */
	struct conf *conf; /* the set in force; replaced by reload */
	struct child_listener listeners[CHILD_LISTENERS_MAX];
	size_t n_listeners;
	int dir_fd;	     /* own directory, or -1 */
	char dir_path[4096]; /* its path before the chroot, or "" */
	bool draining;
	/* private to child.c */
	const struct child_spec *spec;
	void *arg;
	bool started, stopping, said_log_gone;
	uint64_t generation;
	uint32_t uid, gid;
	uv_timer_t drain_timer;
	uv_signal_t sigterm, sigint, sighup;
	char missing[256];
};

/* Hooks; arg is what child_run() was given. NULL where there is nothing to do.
 * Those that return int: 0, or negative after having logged why. */
struct child_spec {
	enum role role;
	/* before the lock-down, as the starting user; see child_as_user() */
	int (*setup)(struct child *c, void *arg);
	/* after it: create handles, start listening */
	int (*start)(struct child *c, void *arg);
	/* a peer's channel: fd is taken. May come before start() (the peer may
	 * not have said hello yet) and again when the peer was restarted. */
	void (*on_peer)(struct child *c, void *arg, enum role role,
	    uint32_t instance, int fd);
	/* new is the child's when 0 is returned and c->conf is switched to it
	 * afterwards; old is freed by the caller after this. */
	int (*on_reload)(struct child *c, void *arg,
	    const struct conf *old_conf, struct conf *new_conf);
	/* take nothing new; call child_done() when all is finished. Called
	 * once. */
	void (*on_drain)(struct child *c, void *arg, int64_t deadline_ms);
	/* replies to permit requests (deliver, smtpd); req_id as asked */
	void (*on_permit_grant)(
	    struct child *c, void *arg, uint64_t req_id, uint64_t permit_id);
	void (*on_permit_wait)(struct child *c, void *arg, uint64_t req_id,
	    const struct ctl_permit_wait *m);
	/* reply to child_rcpt_ask() (deliver) */
	void (*on_rcpt_grant)(struct child *c, void *arg, uint64_t req_id,
	    const struct ctl_rcpt_grant *m);
	/* replies of the supervisor to child_adm_call() (admin only) */
	void (*on_adm_data)(struct child *c, void *arg, uint64_t req_id,
	    const uint8_t *data, size_t len);
	void (*on_adm_end)(struct child *c, void *arg, uint64_t req_id,
	    uint16_t code, const char *text);
};

/* The whole life; returns the exit code for main(). */
int child_run(const struct child_spec *spec, void *arg, int argc, char **argv);

/* Everything is finished: leave the loop with exit code 0. */
void child_done(struct child *c);

/* A peer broke a rule: tell the supervisor, who restarts it. From on_down with
 * why other than PE_GONE. Logs one warning. */
void child_peer_broken(
    struct child *c, enum role role, uint32_t instance, const char *text);

/*
 * Between these two (setup() only) the effective user is the one that the child
 * will have, so that files are created and opened with its rights. No-ops when
 * not started as root. 0 or a negative errno.
 */
int child_as_user(struct child *c);
int child_as_root(struct child *c);

/* Permits (deliver asks for a place, smtpd by counters): ask, give back, give up
 * waiting. 0 or an ipc error. */
int child_connect_ask(
    struct child *c, uint64_t req_id, const struct ctl_connect_ask *m);
int child_permit_ask(
    struct child *c, uint64_t req_id, const struct ctl_permit_ask *m);
int child_rcpt_ask(
    struct child *c, uint64_t req_id, const struct ctl_rcpt_ask *m);
int child_rcpt_done(struct child *c, const struct ctl_rcpt_done *m);
int child_permit_free(struct child *c, uint64_t permit_id);
int child_permit_cancel(struct child *c, uint64_t req_id);

/* A call of lib/proto/admin.h to the supervisor (admin only). */
struct adm_call;
int child_adm_call(struct child *c, uint64_t req_id, const struct adm_call *m);

#endif
