/*
 * front.h - connections before the HTTP library: who may come, how many, how
 * long, and with which bytes.
 *
 * A listening socket is accepted here. Each request head is read and checked
 * (http_head.h); only then do its bytes, and exactly as many body bytes as it
 * announced, go on to the library over a socketpair. The same pump carries TLS
 * once there is any.
 */
#ifndef POSTERN_ADMIN_FRONT_H
#define POSTERN_ADMIN_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

enum {
	FRONT_CONNS_MAX = 128, /* per listening socket */
	FRONT_CONNS_PER_CLIENT = 32,
	FRONT_HEAD_TIMEOUT_MS = 10 * 1000, /* the whole head */
	FRONT_BODY_TIMEOUT_MS = 30 * 1000, /* the whole body */
	FRONT_IDLE_TIMEOUT_MS = 30 * 1000, /* between requests */
	FRONT_WORK_TIMEOUT_MS = 60 * 1000, /* without an answer, or without
					    * the client taking any of it */
};

struct front_stats {
	uint64_t accepted, refused_peer, refused_full, refused_head, timeouts;
};

struct front;

struct front_opts {
	const char *name; /* for log lines: "control", "http" */
	/* Unix socket: only root and this user (SO_PEERCRED) */
	bool check_peer;
	uid_t owner_uid;
	/* a checked connection: fd is taken; 0 or negative */
	int (*on_conn)(void *arg, int fd);
	void *arg;
	struct front_stats *stats; /* counted here; kept */
	int64_t head_timeout_ms;   /* 0: FRONT_HEAD_TIMEOUT_MS (tests) */
};

/* Start accepting on fd (taken, also on failure). NULL after a log line. */
struct front *front_new(uv_loop_t *loop, int fd, const struct front_opts *opts);

/* Take no new connection; those without a request under way are closed.
 * on_empty comes when the last is gone, perhaps at once. */
void front_drain(struct front *f, void (*on_empty)(void *arg), void *arg);

/* Close everything; freed when the loop has closed the handles. NULL is fine. */
void front_free(struct front *f);

#endif
