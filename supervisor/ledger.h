/*
 * ledger.h - the count of outbound connections, and the permits to hold one.
 *
 * A permit raises every counter that its request names; it is granted when all
 * of them are below their limits. Who cannot have one now waits in order behind
 * the first counter that is full. Pure: no loop, no I/O; grants come out of a
 * callback. DESIGN section 6.
 */
#ifndef POSTERN_SUPERVISOR_LEDGER_H
#define POSTERN_SUPERVISOR_LEDGER_H

#include "lib/proto/control.h"

#include <stddef.h>
#include <stdint.h>

enum {
	LEDGER_WAITERS_MAX = 20000, /* of all holders together */
	/* What one holder may make us keep, so that a process that was taken
	 * over does not fill the memory: as many permits as it could have
	 * sockets, and these bytes of names of counters. */
	LEDGER_HOLDERS_MAX = 64,
	LEDGER_HELD_MAX = 65536,
	LEDGER_NAMES_MAX = 32 * 1024 * 1024,
};

struct ledger;

/* Called for a request that waited and now has its permit. */
typedef void ledger_granted(
    void *arg, uint32_t holder, uint64_t req_id, uint64_t permit_id);

/* system_limit: connections of the whole node, checked for every permit. NULL
 * when memory is short. */
struct ledger *ledger_new(
    uint32_t system_limit, ledger_granted *on_granted, void *arg);
void ledger_free(struct ledger *l);

/* After a reload. More room may grant waiting requests at once. */
void ledger_set_system_limit(struct ledger *l, uint32_t system_limit);

enum ledger_answer { LEDGER_GRANTED, LEDGER_WAITS, LEDGER_FULL };

/*
 * One request of a holder (a process). GRANTED: *ret_permit; WAITS: on_granted
 * comes later, *ret_key is the counter that is full (n_keys: the whole node);
 * FULL: too many wait, the holder has too much, or memory is short; nothing is
 * kept. holder is below LEDGER_HOLDERS_MAX.
 */
enum ledger_answer ledger_ask(struct ledger *l, uint32_t holder,
    uint64_t req_id, const struct ctl_permit_ask *ask, uint64_t *ret_permit,
    uint32_t *ret_key);

/* Give back. 0, or PE_NOT_FOUND when this holder has no such permit. */
int ledger_release(struct ledger *l, uint32_t holder, uint64_t permit_id);

/* Stop waiting. A grant that crossed the cancel is given back; unknown requests
 * are fine. */
void ledger_cancel(struct ledger *l, uint32_t holder, uint64_t req_id);

/* The holder died: all its permits and requests are gone. */
void ledger_drop_holder(struct ledger *l, uint32_t holder);

struct ledger_stats {
	uint32_t system_limit;
	uint32_t held, waiting, keys;
	uint64_t granted, waited, refused; /* since the start */
};
void ledger_stats(const struct ledger *l, struct ledger_stats *ret);

/* Connections counted under a key now; 0 for an unknown one. */
uint32_t ledger_count(const struct ledger *l, const char *key);

#endif
