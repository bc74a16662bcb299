/*
 * touch.h - read what the loop is about to read, so that it is in memory then.
 *
 * Runs on the threads of pool.h. Gives back nothing but which entries it saw:
 * the loop reads all of it again in a snapshot of its own, and decides. What
 * cannot be read is left to that reading. A view is open for a few entries at
 * a time, since growing the map waits for it.
 */
#ifndef POSTERN_QUEUE_TOUCH_H
#define POSTERN_QUEUE_TOUCH_H

#include "queue/pool.h"
#include "queue/record.h"
#include "queue/store.h"

#include <stddef.h>
#include <stdint.h>

enum touch_follow {
	TOUCH_ENTRY, /* nothing but the entries */
	TOUCH_DEST,  /* sched: the destination and what is due first there */
	TOUCH_MSG, /* exp: the message, its recipients, where its body begins */
	TOUCH_BODY,  /* notice: the same, and its body up to body_max */
	TOUCH_RCPT,  /* dq: the recipient and its message */
	TOUCH_OWNER, /* rcpt: its message and its destination */
};

/* A part of a table. */
struct touch {
	enum store_db db;
	enum touch_follow follow;
	struct key from; /* len 0: the beginning */
	size_t same;	 /* as long as the key begins with so much of from */
	int64_t until_s; /* tables by time: nothing later */
	uint32_t max;	 /* entries */
	uint64_t body_max;
};
void touch_range(struct pool_ctx *ctx, const struct touch *t);

/* What is due at a destination from an entry on, up to max entries; the first
 * ones into ret. Returns how many these are. */
uint32_t touch_window(struct pool_ctx *ctx, uint64_t dest_id,
    const struct dq_entry *from, int64_t now_s, uint32_t max,
    struct dq_entry *ret, uint32_t ret_max);

/* All that it takes to hand these out: records, bodies in the store, and the
 * inodes of body files, whose first bytes are asked for. */
void touch_messages(struct pool_ctx *ctx, const struct dq_entry *e, uint32_t n);

#endif
