/*
 * wire.c - values of IPC frames. Never reads outside the given range.
 */
#include "lib/ipc/wire.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

#include <endian.h>
#include <string.h>

static void
put(struct ipc_wr *w, const void *data, size_t len)
{
	int r;

	if (w->err != 0)
		return;
	r = buf_put(w->b, data, len);
	if (r < 0)
		w->err = r;
}

void
ipc_wr_u8(struct ipc_wr *w, uint8_t v)
{
	put(w, &v, 1);
}

void
ipc_wr_bool(struct ipc_wr *w, bool v)
{
	ipc_wr_u8(w, v ? 1 : 0);
}

void
ipc_wr_u16(struct ipc_wr *w, uint16_t v)
{
	v = htobe16(v);
	put(w, &v, sizeof(v));
}

void
ipc_wr_u32(struct ipc_wr *w, uint32_t v)
{
	v = htobe32(v);
	put(w, &v, sizeof(v));
}

void
ipc_wr_u64(struct ipc_wr *w, uint64_t v)
{
	v = htobe64(v);
	put(w, &v, sizeof(v));
}

void
ipc_wr_i64(struct ipc_wr *w, int64_t v)
{
	ipc_wr_u64(w, (uint64_t)v);
}

void
ipc_wr_strn(struct ipc_wr *w, const char *text, size_t len)
{
	if (len > UINT16_MAX) {
		if (w->err == 0)
			w->err = PE_TOO_LONG;
		return;
	}
	ipc_wr_u16(w, (uint16_t)len);
	put(w, text, len);
	ipc_wr_u8(w, 0);
}

void
ipc_wr_str(struct ipc_wr *w, const char *text)
{
	ipc_wr_strn(w, text, text == NULL ? 0 : strlen(text));
}

void
ipc_wr_bytes(struct ipc_wr *w, const void *data, size_t len)
{
	if (len > UINT32_MAX) {
		if (w->err == 0)
			w->err = PE_TOO_LONG;
		return;
	}
	ipc_wr_u32(w, (uint32_t)len);
	put(w, data, len);
}

/* The next len bytes, or NULL with the error set. */
static const uint8_t *
take(struct ipc_rd *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->err != 0 || (size_t)(r->end - r->p) < len) {
		r->err = PE_SYNTAX;
		return NULL;
	}
	r->p += len;
	return p;
}

uint8_t
ipc_rd_u8(struct ipc_rd *r)
{
	const uint8_t *p = take(r, 1);

	return p == NULL ? 0 : *p;
}

uint16_t
ipc_rd_u16(struct ipc_rd *r)
{
	const uint8_t *p = take(r, 2);
	uint16_t v;

	if (p == NULL)
		return 0;
	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

uint32_t
ipc_rd_u32(struct ipc_rd *r)
{
	const uint8_t *p = take(r, 4);
	uint32_t v;

	if (p == NULL)
		return 0;
	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

uint64_t
ipc_rd_u64(struct ipc_rd *r)
{
	const uint8_t *p = take(r, 8);
	uint64_t v;

	if (p == NULL)
		return 0;
	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

int64_t
ipc_rd_i64(struct ipc_rd *r)
{
	return (int64_t)ipc_rd_u64(r);
}

bool
ipc_rd_bool(struct ipc_rd *r)
{
	return ipc_rd_enum(r, 1) == 1;
}

uint32_t
ipc_rd_enum(struct ipc_rd *r, uint8_t max)
{
	uint8_t v = ipc_rd_u8(r);

	if (v > max) {
		r->err = PE_SYNTAX;
		return 0;
	}
	return v;
}

const char *
ipc_rd_str(struct ipc_rd *r, size_t max_len)
{
	size_t len = ipc_rd_u16(r);
	const uint8_t *p = take(r, len + 1);

	if (p == NULL)
		return "";
	if (len > max_len || p[len] != 0 || memchr(p, 0, len) != NULL) {
		r->err = PE_SYNTAX;
		return "";
	}
	return (const char *)p;
}

const uint8_t *
ipc_rd_bytes(struct ipc_rd *r, size_t max_len, size_t *ret_len)
{
	size_t len = ipc_rd_u32(r);
	const uint8_t *p;

	*ret_len = 0;
	if (len > max_len) {
		r->err = PE_SYNTAX;
		return NULL;
	}
	p = take(r, len);
	if (p != NULL)
		*ret_len = len;
	return p;
}

int
ipc_rd_end(struct ipc_rd *r)
{
	if (r->err == 0 && r->p != r->end)
		r->err = PE_SYNTAX;
	return r->err;
}
