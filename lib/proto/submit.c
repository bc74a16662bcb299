/*
 * submit.c - encode and decode of submit.h. Pure.
 */
#include "lib/proto/submit.h"
#include "lib/base/err.h"

static void
require(struct ipc_rd *r, bool ok)
{
	if (!ok)
		r->err = PE_SYNTAX;
}

void
submit_begin_encode(struct ipc_wr *w, const struct submit_begin *m)
{
	ipc_wr_u64(w, m->icid);
	ipc_wr_str(w, m->listener);
	ipc_wr_str(w, m->gateway);
	ipc_wr_str(w, m->sender);
	ipc_wr_str(w, m->envid);
	ipc_wr_str(w, m->client);
	ipc_wr_str(w, m->profile);
	ipc_wr_u8(w, (uint8_t)m->ret);
	ipc_wr_u32(w, m->flags);
	ipc_wr_u32(w, m->n_rcpts);
	ipc_wr_u64(w, m->size_hint);
}

int
submit_begin_decode(struct ipc_rd *r, struct submit_begin *ret)
{
	ret->icid = ipc_rd_u64(r);
	ret->listener = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->gateway = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->sender = ipc_rd_str(r, TEXT_ADDRESS_MAX);
	ret->envid = ipc_rd_str(r, TEXT_XTEXT_MAX);
	ret->client = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->profile = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->ret = (enum dsn_ret)ipc_rd_enum(r, DSN_RET_HDRS);
	ret->flags = ipc_rd_u32(r);
	ret->n_rcpts = ipc_rd_u32(r);
	ret->size_hint = ipc_rd_u64(r);
	require(r, (ret->flags & ~(uint32_t)MSG_FLAGS_ALL) == 0);
	require(r, ret->n_rcpts > 0);
	return ipc_rd_end(r);
}

void
submit_rcpt_encode(struct ipc_wr *w, const struct submit_rcpt *m)
{
	ipc_wr_u32(w, m->rid);
	ipc_wr_str(w, m->address);
	ipc_wr_str(w, m->domain);
	ipc_wr_str(w, m->orcpt);
	ipc_wr_u32(w, m->notify);
}

int
submit_rcpt_decode(struct ipc_rd *r, struct submit_rcpt *ret)
{
	ret->rid = ipc_rd_u32(r);
	ret->address = ipc_rd_str(r, TEXT_ADDRESS_MAX);
	ret->domain = ipc_rd_str(r, TEXT_DOMAIN_MAX);
	ret->orcpt = ipc_rd_str(r, TEXT_XTEXT_MAX);
	ret->notify = ipc_rd_u32(r);
	require(r, ret->notify <= DSN_NOTIFY_ALL);
	require(r, ret->address[0] != '\0' && ret->domain[0] != '\0');
	return ipc_rd_end(r);
}

void
submit_commit_encode(struct ipc_wr *w, const struct submit_commit *m)
{
	ipc_wr_u64(w, m->size);
	ipc_wr_u32(w, m->flags);
	ipc_wr_str(w, m->message_id);
	ipc_wr_str(w, m->subject);
}

int
submit_commit_decode(struct ipc_rd *r, struct submit_commit *ret)
{
	ret->size = ipc_rd_u64(r);
	ret->flags = ipc_rd_u32(r);
	ret->message_id = ipc_rd_str(r, TEXT_REPLY_MAX);
	ret->subject = ipc_rd_str(r, TEXT_REPLY_MAX);
	require(r, (ret->flags & ~(uint32_t)MSG_FLAGS_ALL) == 0);
	return ipc_rd_end(r);
}

void
submit_done_encode(struct ipc_wr *w, const struct submit_done *m)
{
	ipc_wr_u8(w, (uint8_t)m->result);
	ipc_wr_u16(w, m->code);
	ipc_wr_str(w, m->enhanced);
	ipc_wr_str(w, m->text);
}

int
submit_done_decode(struct ipc_rd *r, struct submit_done *ret)
{
	ret->result = (enum submit_result)ipc_rd_enum(r, SUBMIT_REFUSED);
	ret->code = ipc_rd_u16(r);
	ret->enhanced = ipc_rd_str(r, 16);
	ret->text = ipc_rd_str(r, TEXT_REASON_MAX);
	require(r, ret->code >= 200 && ret->code < 600);
	return ipc_rd_end(r);
}

void
ids_ask_encode(struct ipc_wr *w, const struct ids_ask *m)
{
	ipc_wr_u8(w, (uint8_t)m->kind);
	ipc_wr_u32(w, m->count);
}

int
ids_ask_decode(struct ipc_rd *r, struct ids_ask *ret)
{
	ret->kind = (enum id_kind)ipc_rd_enum(r, ID_KINDS - 1);
	ret->count = ipc_rd_u32(r);
	require(r, ret->count > 0 && ret->count <= IDS_MAX);
	return ipc_rd_end(r);
}

void
ids_grant_encode(struct ipc_wr *w, const struct ids_grant *m)
{
	ipc_wr_u8(w, (uint8_t)m->kind);
	ipc_wr_u64(w, m->first);
	ipc_wr_u32(w, m->count);
}

int
ids_grant_decode(struct ipc_rd *r, struct ids_grant *ret)
{
	ret->kind = (enum id_kind)ipc_rd_enum(r, ID_KINDS - 1);
	ret->first = ipc_rd_u64(r);
	ret->count = ipc_rd_u32(r);
	require(r, ret->count > 0 && ret->count <= IDS_MAX);
	return ipc_rd_end(r);
}

void
queue_state_encode(struct ipc_wr *w, const struct queue_state *m)
{
	ipc_wr_bool(w, m->accepting);
	ipc_wr_str(w, m->text);
}

int
queue_state_decode(struct ipc_rd *r, struct queue_state *ret)
{
	ret->accepting = ipc_rd_bool(r);
	ret->text = ipc_rd_str(r, TEXT_REASON_MAX);
	return ipc_rd_end(r);
}
