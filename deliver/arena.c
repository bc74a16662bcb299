/*
 * arena.c - blocks in a list; see arena.h. For the texts and arrays of a plan,
 * of which there are a few dozen.
 */
#include "deliver/arena.h"

#include <stdlib.h>
#include <string.h>

struct block {
	struct block *next;
	max_align_t data[];
};
struct arena {
	struct block *first;
};

struct arena *
arena_new(void)
{
	return calloc(1, sizeof(struct arena));
}

void
arena_free(struct arena *a)
{
	struct block *b;

	if (a == NULL)
		return;
	while ((b = a->first) != NULL) {
		a->first = b->next;
		free(b);
	}
	free(a);
}

void *
arena_alloc(struct arena *a, size_t len)
{
	struct block *b = calloc(1, sizeof(*b) + len);

	if (b == NULL)
		return NULL;
	b->next = a->first;
	a->first = b;
	return b->data;
}

char *
arena_strdup(struct arena *a, const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = arena_alloc(a, len);

	if (copy != NULL)
		memcpy(copy, text, len);
	return copy;
}
