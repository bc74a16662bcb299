/*
 * channel.h - one c-ares channel to one server, on the loop.
 *
 * c-ares does what is tedious (sockets, TCP when truncated, matching replies to
 * queries, one time-out); packets are made and read by lib/dns. One try per
 * query: what to do after a failure is upstream.c's and query.c's business.
 */
#ifndef POSTERN_RESOLVER_CHANNEL_H
#define POSTERN_RESOLVER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct channel;
struct flight; /* one query on its way */

/* status is 0 with the whole reply in pkt (borrowed), -ETIMEDOUT,
 * -ECONNREFUSED or another negative errno without. */
typedef void flight_cb(void *arg, int status, const uint8_t *pkt, size_t len);

/* Must run once per process before the first channel. 0 or -EIO. */
int channel_library_init(void);

/* server is "192.0.2.1:53" or "[2001:db8::1]:53". 0, -ENOMEM, -EINVAL, -EIO.
 * Opens no configuration file and no socket. */
int channel_new(uv_loop_t *loop, const char *server, int64_t try_ms,
    struct channel **ret_channel);

/* No callback follows; the memory goes when its handles are closed. Allowed in
 * a callback of this channel. NULL is fine. */
void channel_free(struct channel *ch);

/* Take nothing new; freed by itself when the last query has ended. */
void channel_retire(struct channel *ch);

/*
 * Send a query; its first two bytes are overwritten with an id that is random
 * and not in use on this channel, so keep the query for reading the reply. The
 * callback never runs inside this call. Borrows query. NULL: memory, or no id.
 */
struct flight *channel_send(
    struct channel *ch, uint8_t *query, size_t len, flight_cb *cb, void *arg);

/* The callback will not come any more (c-ares cannot take a query back). */
void flight_forget(struct flight *f);

/*
 * True when c-ares gave up EDNS for this channel, as it does after one FORMERR
 * (libraries.md 2.1, trap 3): then no more AD or EDE comes. Get another one.
 */
bool channel_lost_edns(const struct channel *ch);

#endif
