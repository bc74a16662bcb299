/*
 * buf.c - bounded byte buffer. Never does I/O.
 */
#include "lib/base/buf.h"
#include "lib/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
buf_init(struct buf *b, size_t max)
{
	memset(b, 0, sizeof(*b));
	b->max = max;
}

void
buf_done(struct buf *b)
{
	size_t max = b->max;

	free(b->mem);
	buf_init(b, max);
}

uint8_t *
buf_room(struct buf *b, size_t len)
{
	size_t waiting = buf_len(b);
	size_t cap;
	uint8_t *mem;

	if (len > b->max || waiting > b->max - len)
		return NULL;
	if (b->mem != NULL && b->cap - b->tail >= len)
		return b->mem + b->tail;
	if (b->mem != NULL && b->cap >= waiting + len && b->head >= waiting) {
		/* enough room once the waiting bytes move to the front; only
		 * when they fit into the gap, so moving stays cheap */
		memcpy(b->mem, b->mem + b->head, waiting);
		b->head = 0;
		b->tail = waiting;
		return b->mem + b->tail;
	}
	cap = b->cap < 256 ? 256 : b->cap;
	while (cap < waiting + len)
		cap *= 2;
	if (b->cap >= waiting + len && b->head > 0)
		cap = b->cap; /* a move is enough */
	if (b->mem != NULL && cap == b->cap) {
		memmove(b->mem, b->mem + b->head, waiting);
	} else {
		mem = malloc(cap);
		if (mem == NULL)
			return NULL;
		if (b->mem != NULL)
			memcpy(mem, b->mem + b->head, waiting);
		free(b->mem);
		b->mem = mem;
		b->cap = cap;
	}
	b->head = 0;
	b->tail = waiting;
	return b->mem + b->tail;
}

void
buf_added(struct buf *b, size_t len)
{
	b->tail += len;
}

int
buf_put(struct buf *b, const void *data, size_t len)
{
	uint8_t *to;

	if (len == 0)
		return 0;
	to = buf_room(b, len);
	if (to == NULL)
		return len > b->max || buf_len(b) > b->max - len ? PE_FULL
								 : -ENOMEM;
	memcpy(to, data, len);
	buf_added(b, len);
	return 0;
}

int
buf_puts(struct buf *b, const char *text)
{
	return buf_put(b, text, strlen(text));
}

int
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	uint8_t *to;
	int need;

	va_copy(again, ap);
	need = vsnprintf(NULL, 0, fmt, ap);
	if (need < 0) {
		va_end(again);
		return -EINVAL;
	}
	to = buf_room(b, (size_t)need + 1); /* with the terminator */
	if (to == NULL) {
		va_end(again);
		return PE_FULL;
	}
	(void)vsnprintf((char *)to, (size_t)need + 1, fmt, again);
	va_end(again);
	buf_added(b, (size_t)need);
	return 0;
}

int
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

void
buf_drop(struct buf *b, size_t len)
{
	if (len >= buf_len(b)) {
		b->head = b->tail = 0;
		return;
	}
	b->head += len;
}

void
buf_reset(struct buf *b, size_t keep)
{
	if (b->cap > keep) {
		buf_done(b);
		return;
	}
	b->head = b->tail = 0;
}
