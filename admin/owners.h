/*
 * owners.h - the processes that admin may ask, and the calls under way.
 *
 * Every process but admin owns something; admin asks, with a deadline, and never
 * acts itself. A process that is away answers 503 at once, one that is silent
 * 504 at its deadline. Calls and the bytes of their answers are bounded.
 */
#ifndef POSTERN_ADMIN_OWNERS_H
#define POSTERN_ADMIN_OWNERS_H

#include "lib/proto/admin.h"
#include "lib/proto/roles.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct buf;
struct ipc_hub;

enum {
	OWNERS_MAX = 256,
	OWNER_CALLS_MAX = 512,		      /* in flight, all owners */
	OWNER_REPLY_MAX = 8 * 1024 * 1024,    /* bytes of one answer */
	OWNER_REPLIES_MAX = 64 * 1024 * 1024, /* bytes of all answers */
};

/* An answer. code 0: doc holds the whole document and may be emptied by the
 * receiver; else code is an HTTP status and text says why. Borrowed. */
struct owner_reply {
	uint16_t code;
	const char *text;
	struct buf *doc;
};
typedef void owner_cb(void *arg, const struct owner_reply *r);

struct owners;
struct owner_call;

/* How main.c reaches what is not a channel of admin's own. */
struct owners_hooks {
	void *arg;
	/* send a call to the supervisor; its answer comes back by
	 * owners_supervisor_data() and _end(). NULL: no supervisor. */
	int (*supervisor_call)(
	    void *arg, uint64_t req_id, const struct adm_call *m);
	/* a peer broke a rule (its channel is closed already) */
	void (*on_broken)(
	    void *arg, enum role role, uint32_t instance, const char *text);
};

/* NULL without memory. hub and hooks are kept. */
struct owners *owners_new(
    uv_loop_t *loop, struct ipc_hub *hub, const struct owners_hooks *hooks);
/* Every call under way ends with 503 first. NULL is fine. */
void owners_free(struct owners *o);

/* A channel to a process, new or again after its restart. fd is taken. */
int owners_peer(struct owners *o, enum role role, uint32_t instance, int fd);

void owners_supervisor_data(
    struct owners *o, uint64_t req_id, const uint8_t *data, size_t len);
void owners_supervisor_end(
    struct owners *o, uint64_t req_id, uint16_t code, const char *text);

/* Who is known, the supervisor first; running: its channel is up. */
size_t owners_count(const struct owners *o);
void owners_at(const struct owners *o, size_t i, enum role *ret_role,
    uint32_t *ret_instance, bool *ret_running);

/*
 * Ask. cb comes exactly once and never inside this call, unless the call is
 * cancelled. 0, PE_NOT_FOUND (no such process), PE_GONE (not running now),
 * PE_FULL (too much under way), -ENOMEM.
 */
int owners_call(struct owners *o, enum role role, uint32_t instance,
    const struct adm_call *m, int64_t timeout_ms, owner_cb *cb, void *arg,
    struct owner_call **ret_call);
void owner_call_cancel(struct owner_call *call);

/* Counted since the start: calls that ended at their deadline. */
uint64_t owners_timeouts(const struct owners *o);

#endif
