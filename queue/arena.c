/*
 * arena.c - bump allocation in chunks. Never shared between threads.
 */
#include "queue/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 2048 - 32, CHUNK_MAX = 64 * 1024 - 64, ALIGN = 16 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, cap;
	_Alignas(ALIGN) uint8_t mem[];
};

void *
arena_alloc(struct arena *a, size_t len)
{
	struct arena_chunk *c = a->head;
	size_t cap;

	if (len > SIZE_MAX / 2)
		return NULL;
	len = (len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (c == NULL || c->cap - c->used < len) {
		/* small at first, so that many small jobs cost little */
		cap = c == NULL ? CHUNK : c->cap * 2;
		if (cap > CHUNK_MAX)
			cap = CHUNK_MAX;
		if (cap < len)
			cap = len;
		c = malloc(sizeof(*c) + cap);
		if (c == NULL)
			return NULL;
		c->used = 0;
		c->cap = cap;
		c->next = a->head;
		a->head = c;
		a->size += sizeof(*c) + cap;
	}
	c->used += len;
	return c->mem + c->used - len;
}

void *
arena_memdup(struct arena *a, const void *data, size_t len)
{
	void *to = arena_alloc(a, len);

	if (to != NULL && len > 0)
		memcpy(to, data, len);
	return to;
}

char *
arena_strdup(struct arena *a, const char *text)
{
	if (text == NULL)
		text = "";
	return arena_memdup(a, text, strlen(text) + 1);
}

void
arena_reset(struct arena *a)
{
	struct arena_chunk *c = a->head;

	if (c == NULL)
		return;
	while (c->next != NULL) {
		struct arena_chunk *old = c;

		c = c->next;
		free(old);
	}
	c->used = 0;
	a->head = c;
	a->size = sizeof(*c) + c->cap;
}

void
arena_done(struct arena *a)
{
	struct arena_chunk *c;

	while ((c = a->head) != NULL) {
		a->head = c->next;
		free(c);
	}
	a->size = 0;
}
