/*
 * chan.h - one IPC channel: frames over a stream socketpair, on the loop.
 *
 * A channel has a table of the messages its peer may send, with their size,
 * the states in which they are legal, and their handler. What is not in the
 * table breaks the channel; the process lives on. See docs/protocol.md.
 *
 * Frame: u32 payload length, u16 type, u8 nfds (0 or 1), u8 flags, u64 request
 * id, payload. Everything that is sent in one turn of the loop leaves in one
 * sendmsg(2). Frames marked IPC_CREDIT count against a byte window that the
 * receiver grants and refills (back-pressure).
 */
#ifndef POSTERN_IPC_CHAN_H
#define POSTERN_IPC_CHAN_H

#include "lib/ipc/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum {
	IPC_VERSION = 1,
	IPC_FRAME_MAX = 1024 * 1024, /* payload bytes, every type */
	IPC_HEADER_LEN = 16,
	IPC_OUT_MAX = 16 * 1024 * 1024, /* waiting output bytes per channel */
	IPC_WINDOW = 1024 * 1024,	/* credit granted to the peer, bytes */
	IPC_TYPES = 128,		/* types are below this */
	/* types every channel has; messages start at IPC_TYPE_FIRST */
	IPC_HELLO = 1,
	IPC_CREDIT_BACK = 2,
	IPC_TYPE_FIRST = 16,
};

enum {
	IPC_FD = 1,	/* exactly one descriptor comes along */
	IPC_CREDIT = 2, /* the payload counts against the window */
};

/* One message as its handler sees it. */
struct ipc_msg {
	uint16_t type;
	uint64_t req_id;
	size_t len; /* payload bytes */
	int fd;	    /* -1, or ours to steal (set to -1); closed otherwise */
};

/*
 * Handler: reads rd, acts, returns 0; a negative value breaks the channel.
 * Borrowed pointers out of rd do not survive the return. The handler may call
 * ipc_chan_free() on its own channel.
 */
typedef int ipc_handler(void *peer, struct ipc_msg *m, struct ipc_rd *rd);

struct ipc_rule {
	uint16_t type;
	uint32_t min, max; /* payload bytes */
	uint32_t when;	   /* states in which it is legal, see ->state */
	uint32_t flags;
	ipc_handler *handler;
};

#define IPC_ANY UINT32_MAX

struct ipc_spec {
	const char *name; /* of the peer, for logs: "queue" */
	const struct ipc_rule *rules;
	size_t n_rules;
	/* NULL: everything is legal always. Else one bit of the state masks. */
	uint32_t (*state)(void *peer);
	void (*on_up)(void *peer); /* hello came and fits; may be NULL */
	/*
	 * The channel ended: PE_GONE when the peer closed or died, PE_PROTO
	 * and others when it broke a rule. Everything the peer sent before is
	 * handled already. The channel is unusable; the owner calls
	 * ipc_chan_free(), here or later.
	 */
	void (*on_down)(void *peer, int why, const char *text);
	/* Output or credit that was short is there again; may be NULL. */
	void (*on_room)(void *peer);
};

struct ipc_chan;

/* All channels of one loop; flushes them once per turn. One per process. */
struct ipc_hub {
	uv_prepare_t prepare;
	LIST_HEAD(ipc_chan_list, ipc_chan) dirty;
	void (*on_turn)(void *arg); /* called each turn before the flush */
	void *arg;
};

int ipc_hub_init(struct ipc_hub *hub, uv_loop_t *loop);
/* Stop flushing; channels must be freed before. The handle is closed. */
void ipc_hub_done(struct ipc_hub *hub);

/*
 * Take fd (also on failure) and start the channel; hello goes out at once.
 * spec and peer are kept. 0, -ENOMEM or a negative errno.
 */
int ipc_chan_new(struct ipc_hub *hub, int fd, const struct ipc_spec *spec,
    void *peer, struct ipc_chan **ret_chan);

/* Close and free, from anywhere; what waits to be sent is tried once more.
 * NULL is fine. No callback follows. */
void ipc_chan_free(struct ipc_chan *c);

/*
 * Send one message: begin, write values into the returned writer, end.
 * Nothing else may be sent between begin and end. ipc_send_end() returns 0;
 * PE_GONE when the channel is down; PE_FULL when the output bound is reached
 * (the frame is dropped whole); PE_TOO_LONG over IPC_FRAME_MAX. fd -1: none;
 * else it is taken, also on failure.
 */
struct ipc_wr *ipc_send_begin(
    struct ipc_chan *c, uint16_t type, uint64_t req_id);
int ipc_send_end(struct ipc_chan *c, int fd);

/* The same for a frame that counts against the peer's window. Check
 * ipc_chan_credit() first; sending beyond it is PE_FULL. */
struct ipc_wr *ipc_send_begin_credit(
    struct ipc_chan *c, uint16_t type, uint64_t req_id);

/* Payload bytes that may be sent as IPC_CREDIT now. */
size_t ipc_chan_credit(const struct ipc_chan *c);

/* Bytes that wait to be sent. Producers stop above their own mark and go on in
 * on_room, which comes when this falls under half of IPC_WINDOW. */
size_t ipc_chan_backlog(const struct ipc_chan *c);

/* Ask for on_room once the backlog is under that mark; for producers that stop
 * by ipc_chan_backlog() before anything was refused. */
void ipc_chan_want_room(struct ipc_chan *c);

/* While held, consumed credit is not given back: the peer runs dry. */
void ipc_chan_hold(struct ipc_chan *c, bool hold);

bool ipc_chan_is_up(const struct ipc_chan *c);

/* Write what waits now instead of at the end of the turn. */
void ipc_chan_flush(struct ipc_chan *c);

/* A stream socketpair, non-blocking, close-on-exec. 0 or a negative errno. */
int ipc_pair(int ret_fd[2]);

/* Pure part, for tests and fuzzing: parse one frame header. */
struct ipc_head {
	uint32_t len;
	uint16_t type;
	uint8_t nfds, flags;
	uint64_t req_id;
};
/* 0; PE_SYNTAX with nfds over 1, unknown flags or a length over the cap. */
int ipc_head_parse(const uint8_t data[IPC_HEADER_LEN], struct ipc_head *ret);
void ipc_head_format(const struct ipc_head *h, uint8_t ret[IPC_HEADER_LEN]);

#endif
