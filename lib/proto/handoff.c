/*
 * handoff.c - encode and decode of handoff.h. Pure.
 */
#include "lib/proto/handoff.h"
#include "lib/base/err.h"

static void
require(struct ipc_rd *r, bool ok)
{
	if (!ok)
		r->err = PE_SYNTAX;
}

void
hand_want_encode(struct ipc_wr *w, const struct hand_want *m)
{
	ipc_wr_u32(w, m->slots);
}

int
hand_want_decode(struct ipc_rd *r, struct hand_want *ret)
{
	ret->slots = ipc_rd_u32(r);
	require(r, ret->slots <= 1000000);
	return ipc_rd_end(r);
}

void
hand_offer_encode(struct ipc_wr *w, const struct hand_offer *m)
{
	ipc_wr_u64(w, m->dest_id);
	ipc_wr_str(w, m->domain);
	ipc_wr_str(w, m->gateway);
	ipc_wr_u32(w, m->ready);
	ipc_wr_u32(w, m->retries);
	ipc_wr_u32(w, m->cls);
}

int
hand_offer_decode(struct ipc_rd *r, struct hand_offer *ret)
{
	ret->dest_id = ipc_rd_u64(r);
	ret->domain = ipc_rd_str(r, TEXT_DOMAIN_MAX);
	ret->gateway = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->ready = ipc_rd_u32(r);
	ret->retries = ipc_rd_u32(r);
	ret->cls = ipc_rd_u32(r);
	require(r, ret->domain[0] != '\0' && msg_class_valid(ret->cls));
	return ipc_rd_end(r);
}

void
hand_more_encode(struct ipc_wr *w, const struct hand_more *m)
{
	ipc_wr_u64(w, m->dest_id);
	ipc_wr_u32(w, m->ready);
}

int
hand_more_decode(struct ipc_rd *r, struct hand_more *ret)
{
	ret->dest_id = ipc_rd_u64(r);
	ret->ready = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
hand_pull_encode(struct ipc_wr *w, const struct hand_pull *m)
{
	ipc_wr_u64(w, m->dest_id);
	ipc_wr_u32(w, m->max_messages);
	ipc_wr_u32(w, m->max_rcpts);
}

int
hand_pull_decode(struct ipc_rd *r, struct hand_pull *ret)
{
	ret->dest_id = ipc_rd_u64(r);
	ret->max_messages = ipc_rd_u32(r);
	ret->max_rcpts = ipc_rd_u32(r);
	require(r,
	    ret->max_messages > 0 && ret->max_rcpts > 0 &&
		ret->max_rcpts <= HAND_RCPTS_MAX);
	return ipc_rd_end(r);
}

void
hand_message_encode(struct ipc_wr *w, const struct hand_message *m)
{
	uint32_t i;

	ipc_wr_u64(w, m->dest_id);
	ipc_wr_u64(w, m->mid);
	ipc_wr_str(w, m->sender);
	ipc_wr_str(w, m->envid);
	ipc_wr_u8(w, (uint8_t)m->ret);
	ipc_wr_u32(w, m->flags);
	ipc_wr_u64(w, m->size);
	ipc_wr_i64(w, m->accepted_s);
	ipc_wr_i64(w, m->accepted_ms);
	ipc_wr_u8(w, (uint8_t)m->n_rcpts);
	for (i = 0; i < m->n_rcpts; i++) {
		ipc_wr_u32(w, m->rcpts[i].rid);
		ipc_wr_str(w, m->rcpts[i].address);
		ipc_wr_str(w, m->rcpts[i].orcpt);
		ipc_wr_u8(w, (uint8_t)m->rcpts[i].notify);
		ipc_wr_u32(w, m->rcpts[i].attempts);
	}
	ipc_wr_bytes(w, m->body, m->body_len);
}

int
hand_message_decode(struct ipc_rd *r, struct hand_message *ret)
{
	uint32_t i;

	ret->dest_id = ipc_rd_u64(r);
	ret->mid = ipc_rd_u64(r);
	ret->sender = ipc_rd_str(r, TEXT_ADDRESS_MAX);
	ret->envid = ipc_rd_str(r, TEXT_XTEXT_MAX);
	ret->ret = (enum dsn_ret)ipc_rd_enum(r, DSN_RET_HDRS);
	ret->flags = ipc_rd_u32(r);
	ret->size = ipc_rd_u64(r);
	ret->accepted_s = ipc_rd_i64(r);
	ret->accepted_ms = ipc_rd_i64(r);
	ret->n_rcpts = ipc_rd_enum(r, HAND_RCPTS_MAX);
	for (i = 0; i < ret->n_rcpts; i++) {
		ret->rcpts[i].rid = ipc_rd_u32(r);
		ret->rcpts[i].address = ipc_rd_str(r, TEXT_ADDRESS_MAX);
		ret->rcpts[i].orcpt = ipc_rd_str(r, TEXT_XTEXT_MAX);
		ret->rcpts[i].notify = ipc_rd_enum(r, DSN_NOTIFY_ALL);
		ret->rcpts[i].attempts = ipc_rd_u32(r);
	}
	ret->body = ipc_rd_bytes(r, HAND_INLINE_MAX, &ret->body_len);
	require(r, ret->n_rcpts > 0);
	require(r, (ret->flags & ~(uint32_t)MSG_FLAGS_ALL) == 0);
	return ipc_rd_end(r);
}

void
hand_pull_end_encode(struct ipc_wr *w, const struct hand_pull_end *m)
{
	ipc_wr_u64(w, m->dest_id);
	ipc_wr_u32(w, m->ready);
}

int
hand_pull_end_decode(struct ipc_rd *r, struct hand_pull_end *ret)
{
	ret->dest_id = ipc_rd_u64(r);
	ret->ready = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
hand_result_encode(struct ipc_wr *w, const struct hand_result *m)
{
	uint32_t i;

	ipc_wr_u64(w, m->dest_id);
	ipc_wr_u64(w, m->mid);
	ipc_wr_u64(w, m->dcid);
	ipc_wr_str(w, m->host);
	ipc_wr_str(w, m->address);
	ipc_wr_u8(w, (uint8_t)m->n_rcpts);
	for (i = 0; i < m->n_rcpts; i++) {
		ipc_wr_u32(w, m->rcpts[i].rid);
		ipc_wr_u8(w, (uint8_t)m->rcpts[i].outcome);
		ipc_wr_u8(w, (uint8_t)m->rcpts[i].reason);
		ipc_wr_u16(w, m->rcpts[i].code);
		ipc_wr_str(w, m->rcpts[i].status);
		ipc_wr_str(w, m->rcpts[i].reply);
		ipc_wr_bool(w, m->rcpts[i].relayed);
	}
}

int
hand_result_decode(struct ipc_rd *r, struct hand_result *ret)
{
	uint32_t i;

	ret->dest_id = ipc_rd_u64(r);
	ret->mid = ipc_rd_u64(r);
	ret->dcid = ipc_rd_u64(r);
	ret->host = ipc_rd_str(r, TEXT_DOMAIN_MAX);
	ret->address = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->n_rcpts = ipc_rd_enum(r, HAND_RCPTS_MAX);
	for (i = 0; i < ret->n_rcpts; i++) {
		ret->rcpts[i].rid = ipc_rd_u32(r);
		ret->rcpts[i].outcome =
		    (enum outcome)ipc_rd_enum(r, OUTCOME_FAILED);
		ret->rcpts[i].reason =
		    (enum reason)ipc_rd_enum(r, REASON_COUNT - 1);
		ret->rcpts[i].code = ipc_rd_u16(r);
		ret->rcpts[i].status = ipc_rd_str(r, 16);
		ret->rcpts[i].reply = ipc_rd_str(r, TEXT_REPLY_MAX);
		ret->rcpts[i].relayed = ipc_rd_bool(r);
	}
	require(r, ret->n_rcpts > 0);
	return ipc_rd_end(r);
}

void
hand_return_encode(struct ipc_wr *w, const struct hand_return *m)
{
	uint32_t i;

	ipc_wr_u64(w, m->dest_id);
	ipc_wr_u64(w, m->mid);
	ipc_wr_u8(w, (uint8_t)m->n_rids);
	for (i = 0; i < m->n_rids; i++)
		ipc_wr_u32(w, m->rids[i]);
}

int
hand_return_decode(struct ipc_rd *r, struct hand_return *ret)
{
	uint32_t i;

	ret->dest_id = ipc_rd_u64(r);
	ret->mid = ipc_rd_u64(r);
	ret->n_rids = ipc_rd_enum(r, HAND_RCPTS_MAX);
	for (i = 0; i < ret->n_rids; i++)
		ret->rids[i] = ipc_rd_u32(r);
	require(r, ret->n_rids > 0);
	return ipc_rd_end(r);
}

void
hand_dest_state_encode(struct ipc_wr *w, const struct hand_dest_state *m)
{
	ipc_wr_u64(w, m->dest_id);
	ipc_wr_u8(w, (uint8_t)m->verdict);
	ipc_wr_u8(w, (uint8_t)m->reason);
	ipc_wr_str(w, m->status);
	ipc_wr_str(w, m->text);
	ipc_wr_str(w, m->host);
	ipc_wr_u32(w, m->wait_ms);
}

int
hand_dest_state_decode(struct ipc_rd *r, struct hand_dest_state *ret)
{
	ret->dest_id = ipc_rd_u64(r);
	ret->verdict = (enum dest_verdict)ipc_rd_enum(r, DEST_THROTTLED);
	ret->reason = (enum reason)ipc_rd_enum(r, REASON_COUNT - 1);
	ret->status = ipc_rd_str(r, 16);
	ret->text = ipc_rd_str(r, TEXT_REPLY_MAX);
	ret->host = ipc_rd_str(r, TEXT_DOMAIN_MAX);
	ret->wait_ms = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
hand_dest_encode(struct ipc_wr *w, const struct hand_dest *m)
{
	ipc_wr_u64(w, m->dest_id);
}

int
hand_dest_decode(struct ipc_rd *r, struct hand_dest *ret)
{
	ret->dest_id = ipc_rd_u64(r);
	return ipc_rd_end(r);
}
