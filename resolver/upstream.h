/*
 * upstream.h - the servers that are asked: which one next, and how they fare.
 *
 * Called by query.c. c-ares 1.18 knows no health of servers, so each has its
 * own channel and its state is kept here: after FAILS_DOWN failures in a row a
 * server is down for a while that doubles, then one question tries it.
 */
#ifndef POSTERN_RESOLVER_UPSTREAM_H
#define POSTERN_RESOLVER_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "resolver/channel.h"

struct resolver_server_stats;
struct resolver_settings;
struct upstreams;

/* Milliseconds of one try, so that all fit into the time of a question. */
int64_t upstreams_try_ms(const struct resolver_settings *settings);

/* 0, or an error of channel_new(). */
int upstreams_new(uv_loop_t *loop, const struct resolver_settings *settings,
    struct upstreams **ret_upstreams);

/* Nobody may wait for a flight any more. NULL is fine. */
void upstreams_free(struct upstreams *us);

size_t upstreams_count(const struct upstreams *us);

/*
 * The first server in order that is up and not in the mask; when none is up,
 * the one that will be first: a question is never refused unasked. -1 when the
 * mask holds them all.
 */
int upstreams_pick(struct upstreams *us, uint32_t mask);

/* Does a query to server i carry OPT? Ask just before building it. */
bool upstreams_wants_opt(struct upstreams *us, int i);

/* Is the case of the name to be mixed (0x20)? And did the reply repeat it: a
 * server that never does is asked without. */
bool upstreams_wants_mix(const struct upstreams *us, int i);
void upstreams_case(struct upstreams *us, int i, bool same);

/* Send to server i. NULL when it is not possible now. */
struct flight *upstreams_send(struct upstreams *us, int i, uint8_t *query,
    size_t len, flight_cb *cb, void *arg);

/* How it went: each send is followed by one of these, or by neither when the
 * question was given up. has_opt: the reply carried OPT. */
void upstreams_replied(struct upstreams *us, int i, bool has_opt, bool ad);
void upstreams_failed(struct upstreams *us, int i, int status);

/* A reply came but was no answer (SERVFAIL, REFUSED, malformed, ...). */
void upstreams_count_error(struct upstreams *us, int i);

bool upstreams_trusted(const struct upstreams *us, int i);

/*
 * What is an answer without AD from server i worth, to a query that was sent at
 * sent_ms? Where nobody demands validation and no server ever validated, it is
 * what it says: insecure. Else it may be a signed name asked of a server that
 * does not look, or looks no more: then it is believed only when that server
 * validated something since (doubt never weakens security). A server may be
 * exchanged at any moment, so what it did before proves nothing.
 */
enum upstream_word {
	UPSTREAM_BELIEVED,
	UPSTREAM_DOUBTED,
	UPSTREAM_CHECK, /* ask it for upstreams_check_name() and see */
};
enum upstream_word upstreams_word(
    const struct upstreams *us, int i, int64_t sent_ms);

/* Names that are or ought to be signed, the most reliable first: n 0, 1, ... up
 * to NULL. One may be away, or signed no more. */
const char *upstreams_check_name(
    const struct upstreams *us, unsigned n, uint16_t *ret_type);

/* A name that some server validated; and remember the newest. */
const char *upstreams_signed(const struct upstreams *us, uint16_t *ret_type);
void upstreams_note_signed(
    struct upstreams *us, const char *name, uint16_t type);

/* No such name came back with AD. */
void upstreams_check_failed(struct upstreams *us, int i);

/* Why it is not believed; text for people. */
const char *upstreams_doubt(const struct upstreams *us, int i);

/* See resolver.h. */
void upstreams_remember(
    struct upstreams *us, const char *server, const char *name, uint16_t type);
void upstreams_lets_bogus(struct upstreams *us, bool lets);
void upstreams_on_seen(struct upstreams *us, void (*cb)(void *arg), void *arg);
bool upstreams_expected(const struct upstreams *us);
bool upstreams_closed(const struct upstreams *us);

/* An answer of server i was not believed: counted, and warned about. */
void upstreams_count_doubted(struct upstreams *us, int i);

/* Are there servers that validate and servers that do not? */
bool upstreams_mixed(const struct upstreams *us);
uint64_t upstreams_doubted(const struct upstreams *us);

/* A new set of servers takes over what the old one knew of the same ones. */
void upstreams_inherit(struct upstreams *us, const struct upstreams *old);
const char *upstreams_text(const struct upstreams *us, int i);
void upstreams_stats(
    const struct upstreams *us, int i, struct resolver_server_stats *ret);

#endif
