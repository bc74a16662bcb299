/*
 * ub_loop.h - libunbound on our event loop: its sockets and timers are handles
 * of libuv, so that it works inside this process and this thread.
 *
 * Called by validate.c only. libunbound can be had in three ways. ub_ctx_async()
 * starts a thread or forks a process, at the first question, which is after the
 * lock-down (docs/architecture.md: neither is done then), and hands each answer
 * through a pipe, copied twice. The event interface does neither; with it a
 * program brings its own loop.
 */
#ifndef POSTERN_RESOLVER_UB_LOOP_H
#define POSTERN_RESOLVER_UB_LOOP_H

#include <uv.h>

struct ub_event_base;
struct ub_loop;

/* NULL when memory is short. */
struct ub_loop *ub_loop_new(uv_loop_t *loop);

/* What ub_ctx_create_ub_event() wants. */
struct ub_event_base *ub_loop_base(struct ub_loop *l);

/* When the context is deleted; the memory goes when the last handle is closed.
 * NULL is fine. */
void ub_loop_free(struct ub_loop *l);

#endif
