/*
 * session.h - the protocol of one client, without a socket and without a loop.
 *
 * Bytes of the client go in by session_input(), replies come out of
 * session_output(), and what others must do (queue, AUTH check) is asked for
 * through a table of functions, so that tests and the fuzzer bring their own
 * queue. Called by conn.c. Sources: RFC 5321, 1870, 2034, 2920, 3030, 3207,
 * 3461, 4954, 6152, 6531, 8689, 9422; checklist SMUG, PIPE, BDAT, IN, AUTH.
 *
 * A caller's turn: give input (or none, to go on after an answer), send what
 * waits in the output, look at session_wants(), arm a timer for
 * session_deadline_ms().
 */
#ifndef POSTERN_SMTPD_SESSION_H
#define POSTERN_SMTPD_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct conf;
struct conf_listener;
struct iovec;
struct session;
struct sockaddr;
struct submit_begin;
struct submit_commit;
struct submit_done;
struct submit_rcpt;
struct tls_info;
struct tls_names;

enum session_queue {
	SESSION_QUEUE_READY,
	SESSION_QUEUE_REFUSES, /* QUEUE_STATE said so: 452 */
	SESSION_QUEUE_DOWN     /* no channel: 451 */
};

enum session_auth {
	SESSION_AUTH_OK,
	SESSION_AUTH_FAILED,
	SESSION_AUTH_BUSY,   /* too many checks wait: 454 */
	SESSION_AUTH_PENDING /* session_auth_done() follows */
};

/*
 * What a session asks of its surroundings. None of these may call back into
 * the session before it returns. Every int is 0, or negative: the submission
 * is then lost and the session gives 451.
 */
struct session_ops {
	/* Are new messages taken? *ret_text is the queue's reason, borrowed. */
	enum session_queue (*queue_state)(void *arg, const char **ret_text);
	/* A message id from the lease; 0: none is there, and the caller calls
	 * session_input() when there is. */
	uint64_t (*mid_take)(void *arg);
	/* May the frames of one envelope be sent now? false: wait, the caller
	 * calls session_input() when there is room. */
	bool (*envelope_room)(void *arg);
	/* Message bytes that may be sent now. */
	size_t (*data_room)(void *arg);
	int (*begin)(void *arg, uint64_t mid, const struct submit_begin *m);
	int (*rcpt)(void *arg, uint64_t mid, const struct submit_rcpt *m);
	int (*data)(void *arg, uint64_t mid, const struct iovec *iov, size_t n);
	int (*commit)(void *arg, uint64_t mid, const struct submit_commit *m);
	/* Before commit: forget it. After commit: nobody waits any more. */
	void (*abort)(void *arg, uint64_t mid);
	void (*leave)(void *arg, uint64_t mid);
	/* Borrows both texts; they are wiped after the call. */
	enum session_auth (*auth)(
	    void *arg, const char *user, const char *password);
	void (*auth_cancel)(void *arg);
	/* Memory for envelopes, bounded for the process; false: 452. A
	 * negative number gives back. */
	bool (*reserve)(void *arg, ptrdiff_t bytes);
};

/* Who and where; everything is borrowed as long as the session lives. */
struct session_client {
	uint64_t icid;
	const struct conf *conf;
	const struct conf_listener *listener;
	const struct prvs_keys *bounce_keys;
	const struct sockaddr *sa;
	const char *address;	   /* of the client, as text */
	const char *local_address; /* where it came in, as text */
};

enum {
	SESSION_OUT_HIGH = 16 * 1024, /* replies that wait: input stops */
	SESSION_PIECE_MAX = 65536,    /* bytes in one call of data() */
	SESSION_QUEUE_TIMEOUT_MS = 120 * 1000, /* then 451 */
	SESSION_AUTH_TIMEOUT_MS = 60 * 1000,   /* then 454 */
};

/* 0 or -ENOMEM. */
int session_new(const struct session_client *client,
    const struct session_ops *ops, void *arg, struct session **ret_session);

/* NULL is fine. An open transaction is aborted without a word to anybody. */
void session_free(struct session *s);

/* Log the connection and the relay right by network; write the greeting.
 * early: bytes came before it (SMUG-06), so the greeting is a refusal. */
void session_start(struct session *s, bool early);

/*
 * Take bytes of the client. Returns how many were used; the caller keeps the
 * rest and gives it again when session_wants() is SESSION_READ once more.
 * len 0 goes on after an answer or after room came back.
 */
size_t session_input(struct session *s, const void *data, size_t len);

/*
 * Asked before bytes are read for it: would message data find room in the
 * queue now? When not, the session waits (SESSION_ROOM), and the bytes stay
 * where they are, in the client's and the kernel's buffers.
 */
bool session_can_take(struct session *s);

/* Replies to send; the caller drops what it sent. */
struct buf *session_output(struct session *s);

enum session_want {
	SESSION_READ,	  /* more input */
	SESSION_WAIT,	  /* no input: an answer comes first */
	SESSION_ROOM,	  /* no input: the queue has no room */
	SESSION_FLUSH,	  /* no input: replies go out first */
	SESSION_STARTTLS, /* send the output, then TLS, then session_tls_up() */
	SESSION_CLOSE	  /* send the output, then close */
};
enum session_want session_wants(const struct session *s);

/* The handshake is done. Everything from before is forgotten (RFC 3207, 4.2).
 * names: of the client certificate. Also for implicit TLS, before
 * session_start(). */
void session_tls_up(struct session *s, const struct tls_info *info,
    const struct tls_names *names);

/* The answer to auth(); anything but OK and FAILED is "not now". */
void session_auth_done(struct session *s, enum session_auth result);

/* The queue's answer for mid; also before commit, then it is a refusal. */
void session_submit_done(
    struct session *s, uint64_t mid, const struct submit_done *m);

/* The channel is gone: what was submitted on it is lost or in doubt. */
void session_queue_lost(struct session *s);

/* Monotonic time after which session_timeout() is to be called. */
int64_t session_deadline_ms(const struct session *s);
void session_timeout(struct session *s);

/* The client is gone without a word (why is for the log). */
void session_lost(struct session *s, const char *why);

/* The process drains: 421 after the transaction that is open, or at once with
 * now; only what the queue has in hand is waited for in any case. */
void session_drain(struct session *s, bool now);

/* May a password be in what the client sends now? AUTH is offered and has not
 * succeeded. Asked before session_input(); the caller then wipes its copies,
 * whatever the session took of them. */
bool session_secret_may_come(const struct session *s);

/* For ADM_STATUS and tests. */
bool session_in_transaction(const struct session *s);
uint64_t session_messages(const struct session *s);

#endif
