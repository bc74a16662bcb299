/*
 * control.h - supervisor <-> child: how a child gets what it may have, and permits.
 *
 * Order for the supervisor: CONFIG, then any of LISTENER, DIR, PEER, then START.
 * The child locks itself down, then says READY. Later: PEER (a restarted peer),
 * CONFIG (reload), LOG (rotated), DRAIN. On admin's channel the messages of
 * admin.h travel too; the supervisor is their owner. Losing this channel means drain and exit.
 */
#ifndef POSTERN_PROTO_CONTROL_H
#define POSTERN_PROTO_CONTROL_H

#include "lib/ipc/wire.h"
#include "lib/proto/roles.h"

#include <stdint.h>

enum {
	/* supervisor -> child */
	CTL_CONFIG = 16, /* + memfd with the settings blob */
	CTL_LISTENER,	 /* + listening socket */
	CTL_DIR,	 /* + directory */
	CTL_PEER,	 /* + stream socket to a peer */
	CTL_START,
	CTL_DRAIN,
	CTL_PERMIT_GRANT, /* reply, same request id */
	CTL_PERMIT_WAIT,  /* reply: not now; a grant follows when it is free */
	CTL_LOG,	  /* + descriptor: write the log there from now on */
	/* child -> supervisor */
	CTL_READY,
	CTL_CONFIG_DONE,
	CTL_BROKEN, /* a peer of mine broke a rule */
	CTL_PERMIT_ASK,
	CTL_PERMIT_FREE,
	CTL_LOG_GONE,	 /* nobody reads my log any more: LOG follows in time */
	CTL_CONNECT_ASK, /* a permit for a connection out (deliver) */
	CTL_RCPT_ASK,	 /* deliver: recipients for a connection */
	CTL_RCPT_GRANT,	 /* supervisor: the reply, same request id */
	CTL_RCPT_DONE,	 /* deliver: what became of them */
	CTL_SUSPEND,	 /* supervisor -> smtpd: a listener, on or off */
};

/* supervisor -> child: settings. The first one before START, later ones are
 * reloads, answered by CONFIG_DONE with the same generation. */
struct ctl_config {
	uint64_t generation;
};
void ctl_config_encode(struct ipc_wr *w, const struct ctl_config *m);
int ctl_config_decode(struct ipc_rd *r, struct ctl_config *ret);

/* A listening socket of a [listener NAME] (smtpd), or kind "http" / "control"
 * (admin). */
struct ctl_listener {
	const char *kind;    /* "smtp", "http", "control" */
	const char *name;    /* of the settings section, or "" */
	const char *address; /* "10.0.0.1:25", "[::]:25" or a path */
};
void ctl_listener_encode(struct ipc_wr *w, const struct ctl_listener *m);
int ctl_listener_decode(struct ipc_rd *r, struct ctl_listener *ret);

/* To smtpd, after its LISTENERs and at any time later: the clients of this
 * [listener NAME] get 421, or are taken again. */
struct ctl_suspend {
	bool suspended;
	const char *name;
};
void ctl_suspend_encode(struct ipc_wr *w, const struct ctl_suspend *m);
int ctl_suspend_decode(struct ipc_rd *r, struct ctl_suspend *ret);

/* A directory of the child's own (queue: state_dir/queue). path is for opening
 * by name before the lock-down (LMDB) and for messages. */
struct ctl_dir {
	const char *path;
};
void ctl_dir_encode(struct ipc_wr *w, const struct ctl_dir *m);
int ctl_dir_decode(struct ipc_rd *r, struct ctl_dir *ret);

struct ctl_peer {
	enum role role;
	uint32_t instance;
};
void ctl_peer_encode(struct ipc_wr *w, const struct ctl_peer *m);
int ctl_peer_decode(struct ipc_rd *r, struct ctl_peer *ret);

/* All is there: lock down and work. uid and gid are 0 when the child keeps its
 * user (not started as root); chroot_dir is then "". */
struct ctl_start {
	uint32_t uid, gid;
	const char *chroot_dir;
	uint32_t max_fds; /* RLIMIT_NOFILE */
};
void ctl_start_encode(struct ipc_wr *w, const struct ctl_start *m);
int ctl_start_decode(struct ipc_rd *r, struct ctl_start *ret);

/* Take nothing new, finish what is open within the deadline, exit 0. */
struct ctl_drain {
	uint32_t deadline_ms;
};
void ctl_drain_encode(struct ipc_wr *w, const struct ctl_drain *m);
int ctl_drain_decode(struct ipc_rd *r, struct ctl_drain *ret);

/* child -> supervisor. locks: what could not be applied, for one log line. */
struct ctl_ready {
	const char *missing; /* "" or "chroot, separate user" */
};
void ctl_ready_encode(struct ipc_wr *w, const struct ctl_ready *m);
int ctl_ready_decode(struct ipc_rd *r, struct ctl_ready *ret);

struct ctl_config_done {
	uint64_t generation;
	bool ok;
	const char *text; /* why not */
};
void ctl_config_done_encode(struct ipc_wr *w, const struct ctl_config_done *m);
int ctl_config_done_decode(struct ipc_rd *r, struct ctl_config_done *ret);

/* The peer at the other end of one of my channels broke a rule: restart it. */
struct ctl_broken {
	enum role role;
	uint32_t instance;
	const char *text;
};
void ctl_broken_encode(struct ipc_wr *w, const struct ctl_broken *m);
int ctl_broken_decode(struct ipc_rd *r, struct ctl_broken *ret);

/*
 * deliver: the right to hold one outbound connection (DESIGN 6). It says where
 * it goes; which counters that raises, and how far they may go, the supervisor
 * takes from its own settings (lib/limits). Answered by PERMIT_GRANT or
 * PERMIT_WAIT. Texts are lower case.
 */
struct ctl_connect_ask {
	const char *domain;  /* of the recipients */
	const char *gateway; /* "" counts as "default" */
	const char *host;    /* the hop's name, or its address in brackets */
	const char *address; /* without port */
	bool tls;	     /* TLS may be spoken on it */
};
void ctl_connect_ask_encode(struct ipc_wr *w, const struct ctl_connect_ask *m);
int ctl_connect_ask_decode(struct ipc_rd *r, struct ctl_connect_ask *ret);

/*
 * smtpd: the right to hold one client connection, by counters "intake:LISTENER"
 * and "intake:LISTENER/ADDRESS", each with its limit. WAIT then means no, and
 * nothing is kept.
 */
enum { PERMIT_KEYS_MAX = 4, PERMIT_KEY_LEN_MAX = 700 };
struct permit_key {
	const char *name;
	uint32_t limit;
};
struct ctl_permit_ask {
	uint32_t n_keys;
	struct permit_key keys[PERMIT_KEYS_MAX];
};
void ctl_permit_ask_encode(struct ipc_wr *w, const struct ctl_permit_ask *m);
int ctl_permit_ask_decode(struct ipc_rd *r, struct ctl_permit_ask *ret);

/* A lease; it dies with its holder. permit_id is never 0. */
struct ctl_permit_grant {
	uint64_t permit_id;
};
void ctl_permit_grant_encode(
    struct ipc_wr *w, const struct ctl_permit_grant *m);
int ctl_permit_grant_decode(struct ipc_rd *r, struct ctl_permit_grant *ret);

/* The request waits in order behind this key; a grant follows, or the child
 * gives up with PERMIT_FREE{0} and the same request id. retry_ms > 0: the
 * waiting room is full; ask again then, nothing is kept. */
struct ctl_permit_wait {
	uint32_t key; /* index of the key that is full */
	uint32_t retry_ms;
};
void ctl_permit_wait_encode(struct ipc_wr *w, const struct ctl_permit_wait *m);
int ctl_permit_wait_decode(struct ipc_rd *r, struct ctl_permit_wait *ret);

/*
 * Recipients where recipient_limit holds: asked for before mail is pulled, told
 * when the transaction is over. What a permit has when it is given back, or when
 * its holder dies, counts as used.
 */
struct ctl_rcpt_ask {
	uint64_t permit_id;
	uint32_t want;
};
void ctl_rcpt_ask_encode(struct ipc_wr *w, const struct ctl_rcpt_ask *m);
int ctl_rcpt_ask_decode(struct ipc_rd *r, struct ctl_rcpt_ask *ret);

struct ctl_rcpt_grant {
	uint32_t n;	  /* may be fewer than wanted; 0: none now */
	uint32_t wait_ms; /* with 0: until some are free */
};
void ctl_rcpt_grant_encode(struct ipc_wr *w, const struct ctl_rcpt_grant *m);
int ctl_rcpt_grant_decode(struct ipc_rd *r, struct ctl_rcpt_grant *ret);

struct ctl_rcpt_done {
	uint64_t permit_id;
	uint32_t used;	 /* the host may have seen them */
	uint32_t unused; /* it certainly did not */
};
void ctl_rcpt_done_encode(struct ipc_wr *w, const struct ctl_rcpt_done *m);
int ctl_rcpt_done_decode(struct ipc_rd *r, struct ctl_rcpt_done *ret);

struct ctl_permit_free {
	uint64_t permit_id;
};
void ctl_permit_free_encode(struct ipc_wr *w, const struct ctl_permit_free *m);
int ctl_permit_free_decode(struct ipc_rd *r, struct ctl_permit_free *ret);

#endif
