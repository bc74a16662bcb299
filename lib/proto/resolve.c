/*
 * resolve.c - encode and decode of resolve.h. Pure.
 */
#include "lib/proto/resolve.h"
#include "lib/base/err.h"

void
resolve_ask_encode(struct ipc_wr *w, const struct resolve_ask *m)
{
	ipc_wr_str(w, m->name);
	ipc_wr_u16(w, m->type);
	ipc_wr_u32(w, m->flags);
}

int
resolve_ask_decode(struct ipc_rd *r, struct resolve_ask *ret)
{
	ret->name = ipc_rd_str(r, TEXT_DOMAIN_MAX);
	ret->type = ipc_rd_u16(r);
	ret->flags = ipc_rd_u32(r);
	if ((ret->flags & ~(uint32_t)(RESOLVE_FRESH | RESOLVE_PLAIN)) != 0)
		r->err = PE_SYNTAX;
	return ipc_rd_end(r);
}
