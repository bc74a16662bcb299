/*
 * wire.h - how values look inside an IPC frame: a writer and a cursor.
 *
 * Network byte order, no padding, no pointers. Text is u16 length, bytes, NUL,
 * so that a reader can borrow it as char *; bytes are u32 length and data. The
 * error of a cursor sticks: read everything, then ask ipc_rd_end() once.
 */
#ifndef POSTERN_IPC_WIRE_H
#define POSTERN_IPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

struct ipc_wr {
	struct buf *b; /* borrowed; values are appended */
	int err;       /* 0, or the first failure; sticks */
};

void ipc_wr_u8(struct ipc_wr *w, uint8_t v);
void ipc_wr_u16(struct ipc_wr *w, uint16_t v);
void ipc_wr_u32(struct ipc_wr *w, uint32_t v);
void ipc_wr_u64(struct ipc_wr *w, uint64_t v);
void ipc_wr_i64(struct ipc_wr *w, int64_t v);
void ipc_wr_bool(struct ipc_wr *w, bool v);
/* NULL is written as the empty text. Over 65535 bytes: PE_TOO_LONG. */
void ipc_wr_str(struct ipc_wr *w, const char *text);
void ipc_wr_strn(struct ipc_wr *w, const char *text, size_t len);
void ipc_wr_bytes(struct ipc_wr *w, const void *data, size_t len);

struct ipc_rd {
	const uint8_t *p, *end; /* what is left; borrowed */
	int err;		/* 0 or PE_SYNTAX; sticks */
};

static inline void
ipc_rd_init(struct ipc_rd *r, const void *data, size_t len)
{
	r->p = data;
	r->end = len > 0 ? r->p + len : r->p;
	r->err = 0;
}

/* After an error every read gives 0, false, "" or an empty range. */
uint8_t ipc_rd_u8(struct ipc_rd *r);
uint16_t ipc_rd_u16(struct ipc_rd *r);
uint32_t ipc_rd_u32(struct ipc_rd *r);
uint64_t ipc_rd_u64(struct ipc_rd *r);
int64_t ipc_rd_i64(struct ipc_rd *r);
bool ipc_rd_bool(struct ipc_rd *r); /* anything but 0 and 1 is an error */

/* A value that must be at most max; else the error sticks. */
uint32_t ipc_rd_enum(struct ipc_rd *r, uint8_t max);

/* Borrowed, NUL-terminated, never NULL. Longer than max_len, or with a NUL
 * inside: error. */
const char *ipc_rd_str(struct ipc_rd *r, size_t max_len);

/* Borrowed range. More than max_len: error. */
const uint8_t *ipc_rd_bytes(struct ipc_rd *r, size_t max_len, size_t *ret_len);

/* 0 when all was read without error and nothing is left, else PE_SYNTAX. */
int ipc_rd_end(struct ipc_rd *r);

#endif
