/*
 * smtpd.h - what the files of the intake process share.
 *
 * main.c starts; site.c makes the settings of a [listener] usable; listen.c
 * accepts; conn_admit.c lets a client in, conn.c is the client with its socket,
 * TLS and session, conn_ops.c what that session asks for; limits.c counts
 * connections and guesses.c wrong passwords; peer_queue.c and peer_admin.c
 * speak to the other processes; auth.c checks passwords on a thread of its own.
 * session.h is the protocol and knows nothing of this.
 */
#ifndef POSTERN_SMTPD_SMTPD_H
#define POSTERN_SMTPD_SMTPD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "lib/base/buf.h"
#include "lib/base/client_key.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/mail/prvs.h"
#include "lib/proc/child.h"
#include "lib/proto/admin.h"
#include "lib/proto/submit.h"
#include "smtpd/session.h"

struct iovec;
struct ssl_ctx_st;
struct tls;
struct smtpd;

enum {
	READ_BUF = 64 * 1024,
	READ_MIN = 4096,
	/* all that sessions have not taken yet, bytes: with many clients each
	 * reads less at a time */
	LEFTOVERS_MAX = 64 * 1024 * 1024,
	PLAIN_BUF = 16 * 1024,		   /* one TLS record */
	ENVELOPES_MAX = 128 * 1024 * 1024, /* bytes of all open envelopes */
	FDS_KEPT = 64, /* descriptors that are not for clients */
	LINGER_MS = 3000,
	LINGER_DRAIN_MS = 300,	  /* the same at shutdown */
	ASK_MS = 5 * 1000,	  /* for the supervisor to count a client */
	LINGER_MAX = 1024 * 1024, /* bytes read after the last reply */
};

/* ---- limits.c: connections by listener and client ------------------------- */

enum { LIMIT_BUCKETS = 4096 };

struct limit_client {
	LIST_ENTRY(limit_client) link;
	uint16_t listener;
	uint8_t key[CLIENT_KEY_LEN];
	uint32_t n;
};
LIST_HEAD(limit_bucket, limit_client);

/* As many entries as there are clients connected: bounded by the connections.
 * Zero-initialise. */
struct limits {
	struct limit_bucket buckets[LIMIT_BUCKETS];
	uint32_t by_listener[CHILD_LISTENERS_MAX];
};

enum limit_answer { LIMIT_OK, LIMIT_LISTENER, LIMIT_CLIENT, LIMIT_MEMORY };

/* One connection more; listener is a number below CHILD_LISTENERS_MAX. With
 * LIMIT_OK *ret_client is to be given back by limits_drop(). */
enum limit_answer limits_take(struct limits *l, uint16_t listener,
    const struct sockaddr *sa, uint32_t max, uint32_t max_per_client,
    struct limit_client **ret_client);
void limits_drop(struct limits *l, struct limit_client *client);

/* ---- guesses.c: passwords that were wrong, by client ------------------------ */

enum { GUESSERS_MAX = 65536 /* clients; the oldest is forgotten first */ };

struct guesses;

struct guesses *guesses_new(void); /* NULL: no memory */
void guesses_free(struct guesses *g);
size_t guesses_clients(const struct guesses *g);

/* May this client try once more? True counts a failure; it is given back when
 * it turns out to be none. */
bool guesses_take(struct guesses *g, uint16_t listener,
    const uint8_t key[CLIENT_KEY_LEN], const struct conf_rate *rate);
void guesses_give_back(
    struct guesses *g, uint16_t listener, const uint8_t key[CLIENT_KEY_LEN]);

/* ---- auth.c: passwords ----------------------------------------------------- */

struct auth;	   /* the worker, its queue and the cache */
struct auth_job;   /* one check that waits or runs */
struct auth_users; /* names and hashes of one file */

/* Text of an auth_file: lines "name:hash", '#' begins a comment. what names it
 * in warnings; bad lines are left out. NULL: no memory. */
struct auth_users *auth_users_new(
    const uint8_t *text, size_t len, const char *what);
void auth_users_free(struct auth_users *u);
size_t auth_users_count(const struct auth_users *u);

/* Start the thread: before the lock-down. on_done runs on the loop; owner is
 * what auth_check() was given. 0 or a negative errno. */
int auth_start(uv_loop_t *loop,
    void (*on_done)(void *owner, enum session_auth result),
    struct auth **ret_auth);
/* Ends the thread; no callback follows. Tests only: the process just exits. */
void auth_stop(struct auth *a);

/*
 * Check a password. PENDING: *ret_job, and on_done follows unless
 * auth_job_cancel() comes first. OK comes at once for what was right a moment
 * ago; BUSY when too many wait.
 */
enum session_auth auth_check(struct auth *a, const struct auth_users *users,
    const char *user, const char *password, void *owner,
    struct auth_job **ret_job);
void auth_job_cancel(struct auth_job *job);

/* ---- site.c: a [listener] under one set of settings ------------------------ */

struct site {
	unsigned refs;
	struct conf *conf; /* counted */
	const struct conf_listener *l;
	struct ssl_ctx_st *tls;	      /* NULL: none */
	struct auth_users *users;     /* NULL: no AUTH */
	struct prvs_keys bounce_keys; /* current -1: nothing is checked */
};

/* NULL and logged when there is no such listener, its certificate does not
 * work, or memory is short. One reference, the caller's. */
struct site *site_new(struct conf *conf, const char *name);
struct site *site_ref(struct site *site);
void site_unref(struct site *site); /* NULL is fine */

/* ---- listen.c: accepting ---------------------------------------------------- */

struct acceptor {
	struct smtpd *d;
	const struct child_listener *from; /* suspended or not */
	uv_poll_t poll;
	uint16_t number; /* of the listener, for limits */
	int fd;
	struct site *site; /* of connections to come */
	char name[256];
	char address[256]; /* where it listens */
};

/* Why nobody is accepted now; a set. */
enum {
	PAUSE_QUEUE = 1, /* no channel to the queue, or no numbers */
	PAUSE_FULL = 2,	 /* as many clients as descriptors allow */
	PAUSE_FDS = 4,	 /* the system is out of descriptors */
	PAUSE_DRAIN = 8,
};

int listen_start(struct smtpd *d); /* 0, or negative after having logged */
void listen_pause(struct smtpd *d, unsigned why);
void listen_resume(struct smtpd *d, unsigned why);
/* For good: close the sockets, so that new clients are refused. */
void listen_stop(struct smtpd *d);

/* ---- peer_queue.c ------------------------------------------------------------ */

struct conn;

/* A submission between begin and the queue's answer. */
struct submission {
	LIST_ENTRY(submission) link;
	struct conn *c; /* NULL: nobody waits any more */
	uint64_t mid, icid, size;
	uint32_t n_rcpts;
	bool committed;
	char *sender;
};
enum { SUBMISSION_BUCKETS = 4096 };
LIST_HEAD(submission_bucket, submission);

/* Numbers at hand: the range in use and the one behind it. */
struct lease {
	uint64_t next[2];
	uint32_t left[2];
	uint32_t size; /* asked for at one time; grows with the use */
	int64_t asked_ms;
	bool asked;
};

struct peer_queue {
	struct smtpd *d;
	struct ipc_chan *chan; /* NULL: none */
	bool accepting;
	char text[TEXT_REASON_MAX + 1];
	struct lease leases[ID_KINDS];
	struct submission_bucket subs[SUBMISSION_BUCKETS];
	size_t n_subs;
	struct submission_bucket aborted;    /* the queue was not told yet */
	TAILQ_HEAD(conn_list, conn) waiting; /* for room */
	size_t n_waiting;
	uint64_t down_count;
};

void peer_queue_init(struct peer_queue *q, struct smtpd *d);
void peer_queue_set(struct peer_queue *q, int fd); /* takes fd */
enum session_queue peer_queue_state(
    struct peer_queue *q, const char **ret_text);
uint64_t peer_queue_id(struct peer_queue *q, enum id_kind kind); /* or 0 */
bool peer_queue_envelope_room(struct peer_queue *q);
size_t peer_queue_data_room(struct peer_queue *q);
/* 0 and c->sub, or negative */
int peer_queue_begin(struct peer_queue *q, struct conn *c, uint64_t mid,
    const struct submit_begin *m);
int peer_queue_rcpt(
    struct peer_queue *q, struct submission *sub, const struct submit_rcpt *m);
int peer_queue_data(struct peer_queue *q, struct submission *sub,
    const struct iovec *iov, size_t n);
int peer_queue_commit(struct peer_queue *q, struct submission *sub,
    const struct submit_commit *m);
void peer_queue_abort(struct peer_queue *q, struct submission *sub);
void peer_queue_leave(struct peer_queue *q, struct submission *sub);
/* Wait in line for room; conn_turn() follows. */
void peer_queue_wait(struct peer_queue *q, struct conn *c);
void peer_queue_unwait(struct peer_queue *q, struct conn *c);

/* ---- peer_admin.c ------------------------------------------------------------ */

struct peer_admin {
	struct smtpd *d;
	struct adm_peer adm; /* adm.chan NULL: none */
};
void peer_admin_set(struct peer_admin *p, struct smtpd *d, int fd);

/* ---- conn.c, conn_admit.c, conn_ops.c ------------------------------------------ */

enum conn_stage {
	CONN_ASKED, /* the supervisor counts it; no session yet */
	CONN_PLAIN,
	CONN_HANDSHAKE,
	CONN_TLS,
	CONN_LINGER,
};

struct conn {
	TAILQ_ENTRY(conn) link;
	TAILQ_ENTRY(conn) room_link; /* in that line, or among the asked */
	bool in_room_line;
	bool reading, writing, closing;
	bool eof;	 /* no more input; told once the session wants some */
	bool greeted;	 /* implicit TLS: not before the handshake */
	uint8_t handles; /* open ones */
	enum conn_stage stage;
	struct smtpd *d;
	struct site *site;
	struct session *s;
	struct tls *tls;
	struct submission *sub;
	struct auth_job *job;
	struct limit_client *limit;
	uint64_t permit; /* 0: none */
	uint64_t icid;
	int64_t deadline_ms; /* of asking, handshake and linger */
	int64_t timer_ms;    /* when the timer fires; 0: not armed */
	size_t lingered;     /* bytes read since the last reply */
	struct buf rest;     /* input that the session did not take yet */
	struct buf wire;     /* bytes under way in a write request */
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_write_t write;
	uv_shutdown_t shutdown;
	union conf_addr peer;
	char address[48];
	char local[48];
};

/* From anywhere; c is gone at the next turn of the loop. */
void conn_close(struct conn *c);
/* Read or not, and when to wake up. */
void conn_update(struct conn *c);
/* The close callback of both handles; the second one frees. */
void conn_on_closed(uv_handle_t *handle);
/* The client is in: session, TLS or greeting. */
void conn_begin(struct conn *c);
extern const struct session_ops conn_ops; /* arg is the conn */

/* conn_admit.c */
/* 421 and the end, before there is a session. */
void conn_refuse(struct conn *c, const char *why);
/* Take the socket (always). A client over a limit gets 421. */
void conn_accept(struct acceptor *a, int fd, const struct sockaddr *sa);
/* The supervisor's answers; the request id is the ICID. */
void conn_permitted(struct smtpd *d, uint64_t icid, uint64_t permit);
void conn_not_permitted(struct smtpd *d, uint64_t icid, uint32_t key);

/* Go on after an answer, room, or the end of a write. */
void conn_turn(struct conn *c);
/* 421 as soon as no message is open, or now. */
void conn_drain(struct conn *c, bool now);
/* auth_check()'s on_done; owner is the conn. */
void conn_auth_done(void *owner, enum session_auth result);

/* ---- the process -------------------------------------------------------------- */

struct stats {
	uint64_t connections, refused_listener, refused_client;
	uint64_t tls, tls_failed;
	uint64_t auth_ok, auth_failed, auth_busy, auth_limited;
	uint64_t messages, recipients, bytes; /* accepted, after the sync */
	uint64_t not_accepted;		      /* the queue said no */
	uint64_t fds_short;
};

struct smtpd {
	struct child *child;
	struct acceptor acceptors[CHILD_LISTENERS_MAX];
	size_t n_acceptors;
	unsigned paused; /* PAUSE_* */
	uv_timer_t fds_timer;
	int spare_fd; /* closed to accept one more when there are none */
	struct conn_list conns;
	struct conn_list asked; /* in the order of asking */
	size_t n_conns, max_conns;
	size_t envelopes; /* bytes, see ENVELOPES_MAX */
	struct limits limits;
	struct peer_queue queue;
	struct peer_admin admin;
	struct auth *auth;
	struct guesses *guesses;
	struct stats stats;
	int64_t
	    fds_short_ms; /* when there was none left for a client; 0: never */
	struct log_limit limit_log, guess_log, emfile_log;
	bool draining;
	uv_timer_t drain_timer;
	/* one for all connections: an idle one keeps none */
	uint8_t read_buf[READ_BUF], plain_buf[PLAIN_BUF];
};

/* After a connection or a submission ended. */
void smtpd_check_drained(struct smtpd *d);

#endif
