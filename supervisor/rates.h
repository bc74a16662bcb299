/*
 * rates.h - recipients per minutes: in no interval of that length more than so
 * many, as the receiving side counts.
 *
 * A worker takes recipients before it pulls a message for them, and says when
 * they were used or that they were not. From the taking until an interval after
 * the use each counts, and one whose holder died counts as used at that moment:
 * so the count is never below the truth. Uses are kept in slots of a sixtieth of
 * the interval, rounded to the later side. Pure: the time is an argument.
 * Destination controls, section 1; DESIGN section 6.
 */
#ifndef POSTERN_SUPERVISOR_RATES_H
#define POSTERN_SUPERVISOR_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RATES_KEYS_MAX = 2,	/* of one connection: domain or address, site */
	RATES_MAX = 200000,	/* windows; more: ask later */
	RATES_LATER_MS = 60000, /* then */
};

struct rates;

struct rates_keys {
	uint32_t n;
	struct {
		const char *name;
		uint32_t count, minutes;
		bool shared; /* wake its users one by one */
	} keys[RATES_KEYS_MAX];
};

/* The answer to rates_ask(), inside it or later: n recipients, or 0 and the
 * time after which some are free. Must not call rates. */
typedef void rates_answer(
    void *arg, uint32_t holder, uint64_t req_id, uint32_t n, uint32_t wait_ms);

/* NULL when memory is short. */
struct rates *rates_new(rates_answer *on_answer, void *arg);
void rates_free(struct rates *r);

/*
 * Up to want recipients for the connection with this permit. When none are free
 * but others hold some, the answer waits for what becomes of those. 0, or
 * PE_PROTO when the permit still has a question open.
 */
int rates_ask(struct rates *r, uint32_t holder, uint64_t permit_id,
    uint64_t req_id, uint32_t want, const struct rates_keys *keys,
    int64_t now_ms);

/* Of what the permit has taken: used now, or given back because they certainly
 * were not. 0, or PE_PROTO when it has not as many. */
int rates_done(struct rates *r, uint64_t permit_id, uint32_t used,
    uint32_t unused, int64_t now_ms);

/* The permit, or all of a holder, is gone: what it had counts as used now. */
void rates_gone(struct rates *r, uint64_t permit_id, int64_t now_ms);
void rates_drop_holder(struct rates *r, uint32_t holder, int64_t now_ms);

/* While somebody waits for an answer: about once a second. True: go on. */
bool rates_tick(struct rates *r, int64_t now_ms);

struct rates_use {
	uint64_t used, out; /* in the interval; taken and open */
	int64_t free_ms;    /* until some are free, 0 when there is no use */
};
void rates_look(
    struct rates *r, const char *name, int64_t now_ms, struct rates_use *ret);
uint32_t rates_known(const struct rates *r); /* windows */

#endif
