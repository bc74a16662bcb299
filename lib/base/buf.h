/*
 * buf.h - a byte buffer that grows up to a bound and never beyond.
 *
 * Bytes are taken from the front with buf_drop(); the storage is kept, so a
 * buffer in steady use allocates nothing. Used wherever bytes wait.
 */
#ifndef POSTERN_BASE_BUF_H
#define POSTERN_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *mem; /* storage, or NULL */
	size_t head;  /* first waiting byte */
	size_t tail;  /* one past the last */
	size_t cap;   /* bytes of storage */
	size_t max;   /* never more waiting bytes than this */
};

/* An empty buffer without storage. max is in bytes. */
void buf_init(struct buf *b, size_t max);

/* Free the storage; the buffer is as after buf_init(). */
void buf_done(struct buf *b);

static inline size_t
buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

static inline uint8_t *
buf_data(const struct buf *b)
{
	return b->mem == NULL ? NULL : b->mem + b->head;
}

/*
 * Room for len more bytes at the end. Returns where they go; the caller then
 * says buf_added(). NULL when the bound or memory says no: nothing changed.
 */
uint8_t *buf_room(struct buf *b, size_t len);
void buf_added(struct buf *b, size_t len);

/* Append. 0, or PE_FULL when the bound is reached, or -ENOMEM. */
int buf_put(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Forget the first len bytes (at most all of them). */
void buf_drop(struct buf *b, size_t len);

/* Empty it; when the storage is over keep bytes it is freed. */
void buf_reset(struct buf *b, size_t keep);

#endif
