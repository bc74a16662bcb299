/*
 * arena.h - memory that is freed all at once: of one write transaction, or of
 * one job with its strings.
 */
#ifndef POSTERN_QUEUE_ARENA_H
#define POSTERN_QUEUE_ARENA_H

#include <stddef.h>

struct arena_chunk;
struct arena {
	struct arena_chunk *head;
	size_t size; /* bytes taken from the system */
};

/* Zeroed by the caller before first use. NULL when memory is short. */
void *arena_alloc(struct arena *a, size_t len);
char *arena_strdup(struct arena *a, const char *text); /* NULL as "" */
void *arena_memdup(struct arena *a, const void *data, size_t len);

/* Free everything but at most one chunk, for the next round. */
void arena_reset(struct arena *a);
void arena_done(struct arena *a);

#endif
