/*
 * ask.h - one question to one or several owners; done when all have answered.
 */
#ifndef POSTERN_ADMIN_ASK_H
#define POSTERN_ADMIN_ASK_H

#include "admin/owners.h"
#include "lib/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ASK_MAX = 2 * OWNERS_MAX,
	ASK_TIMEOUT_MS = 5000,
	ASK_EXPLAIN_TIMEOUT_MS = 30000, /* may look up names */
	ASK_CHECK_TIMEOUT_MS = 22000,	/* policyd's part of sts check; with the
					 * one above within the front's 60 s */
};

struct ask_answer {
	enum role role;
	uint32_t instance;
	enum adm_op op;
	struct buf doc; /* with code 0 */
	uint16_t code;	/* 0, or an HTTP status */
	char text[160]; /* why not, without the name of the process */
};

struct ask;
typedef void ask_cb(void *arg, struct ask *ask);

/* NULL without memory. cb comes once, when ask_wait() said true. */
struct ask *ask_new(struct owners *owners, ask_cb *cb, void *arg);

/* Put it to one process. A process that cannot be asked has answered: 503. */
int ask_one(struct ask *ask, enum role role, uint32_t instance,
    const struct adm_call *m, int64_t timeout_ms);
/* To all of that role, or with ROLE_COUNT to everyone. */
int ask_all(struct ask *ask, enum role role, const struct adm_call *m,
    int64_t timeout_ms);

/* All has been put. True: cb comes later; false: the answers are complete. */
bool ask_wait(struct ask *ask);

size_t ask_count(const struct ask *ask);
struct ask_answer *ask_at(struct ask *ask, size_t i);

/* Also while answers are missing: no callback follows. NULL is fine. */
void ask_free(struct ask *ask);

#endif
