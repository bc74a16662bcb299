/*
 * metrics.c - one metric as bytes. Pure.
 */
#include "lib/metrics/metrics.h"

void
metric_encode(struct ipc_wr *w, const struct metric *m)
{
	ipc_wr_str(w, m->name);
	ipc_wr_str(w, m->labels);
	ipc_wr_str(w, m->help);
	ipc_wr_u8(w, (uint8_t)m->kind);
	ipc_wr_i64(w, m->value);
}

int
metric_decode(struct ipc_rd *r, struct metric *ret)
{
	if (r->err == 0 && r->p == r->end)
		return 0;
	ret->name = ipc_rd_str(r, 128);
	ret->labels = ipc_rd_str(r, 256);
	ret->help = ipc_rd_str(r, 512);
	ret->kind = (enum metric_kind)ipc_rd_enum(r, METRIC_GAUGE);
	ret->value = ipc_rd_i64(r);
	return r->err != 0 ? r->err : 1;
}
