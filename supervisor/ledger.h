/*
 * ledger.h - the count of connections, and the permits to hold one.
 *
 * A permit raises every counter of its place, from the narrowest to the widest.
 * Who finds one full waits in line behind it, and keeps the narrower ones that
 * it has: so nobody who needs several is overtaken for ever by those who need
 * one, and as all take them in the same order nobody waits in a circle. A
 * counter that is wide is never kept by one that waits for a narrow one, so
 * that a full domain does not stand in the way of others. Pure: no loop, no
 * I/O; grants come out of a callback. DESIGN section 6.
 */
#ifndef POSTERN_SUPERVISOR_LEDGER_H
#define POSTERN_SUPERVISOR_LEDGER_H

#include <stddef.h>
#include <stdint.h>

enum {
	LEDGER_KEYS_MAX = 4,
	LEDGER_WAITERS_MAX = 20000, /* of all holders together */
	/* What one holder may make us keep, so that a process that was taken
	 * over does not fill the memory: as many permits as it could have
	 * sockets, and these bytes of names. */
	LEDGER_HOLDERS_MAX = 64,
	LEDGER_HELD_MAX = 65536,
	LEDGER_NAMES_MAX = 32 * 1024 * 1024,
};

struct ledger;

/* The counters of one permit, narrow to wide. max of a counter is that of the
 * last one who named it. */
struct ledger_keys {
	uint32_t n;
	struct {
		const char *name;
		uint32_t max; /* 0 is taken as 1: it would wait for ever */
	} keys[LEDGER_KEYS_MAX];
};

/* Called for a request that waited and now has its permit. Must not call the
 * ledger. */
typedef void ledger_granted(
    void *arg, uint32_t holder, uint64_t req_id, uint64_t permit_id);

/* NULL when memory is short. */
struct ledger *ledger_new(ledger_granted *on_granted, void *arg);
void ledger_free(struct ledger *l);

enum ledger_answer { LEDGER_GRANTED, LEDGER_WAITS, LEDGER_FULL };

/*
 * One request of a holder (a process). place is copied, for ledger_place() and
 * ledger_rekey(). GRANTED: *ret_permit; WAITS: on_granted comes later, *ret_key
 * is the index of the counter that is full; FULL: too many wait, the holder has
 * too much, or memory is short; nothing is kept. holder is below
 * LEDGER_HOLDERS_MAX.
 */
enum ledger_answer ledger_ask(struct ledger *l, uint32_t holder,
    uint64_t req_id, const struct ledger_keys *keys, const void *place,
    size_t place_len, uint64_t *ret_permit, uint32_t *ret_key);

/* Give back. 0, or PE_NOT_FOUND when this holder has no such permit. */
int ledger_release(struct ledger *l, uint32_t holder, uint64_t permit_id);

/* The permit of this request, 0 while it waits or when there is none. */
uint64_t ledger_permit_of(
    const struct ledger *l, uint32_t holder, uint64_t req_id);

/* Stop waiting. A grant that crossed the cancel is given back; unknown requests
 * are fine. */
void ledger_cancel(struct ledger *l, uint32_t holder, uint64_t req_id);

/* The holder died: all its permits and requests are gone. */
void ledger_drop_holder(struct ledger *l, uint32_t holder);

/* The place of a permit of this holder, borrowed until the next call; NULL. */
const void *ledger_place(const struct ledger *l, uint32_t holder,
    uint64_t permit_id, size_t *ret_len);

/*
 * The settings changed: each permit and each request gets the counters that fn
 * gives for its place. Nobody loses a permit; a counter that is over its limit
 * now grants nothing until it is below. Who waits starts again in the order in
 * which he came.
 */
typedef void ledger_keys_of(
    void *arg, const void *place, size_t place_len, struct ledger_keys *ret);
void ledger_rekey(struct ledger *l, ledger_keys_of *fn, void *arg);

struct ledger_stats {
	uint32_t held, waiting, keys;
	uint64_t granted, waited, refused; /* since the start */
};
void ledger_stats(const struct ledger *l, struct ledger_stats *ret);

/* One counter now; all 0 for an unknown one. */
struct ledger_use {
	uint32_t max;
	uint32_t held;	  /* connections */
	uint32_t kept;	  /* by those that wait for a wider one */
	uint32_t waiting; /* in line behind this one */
};
void ledger_look(
    const struct ledger *l, const char *name, struct ledger_use *ret);

#endif
