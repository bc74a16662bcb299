/*
 * arena.h - small pieces of memory that live and die together.
 */
#ifndef POSTERN_DELIVER_ARENA_H
#define POSTERN_DELIVER_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void); /* NULL: memory is short */
void arena_free(struct arena *a);
/* Zeroed; NULL when memory is short. */
void *arena_alloc(struct arena *a, size_t len);
char *arena_strdup(struct arena *a, const char *text);

#endif
