/*
 * policy.c - encode and decode of policy.h. Pure.
 */
#include "lib/proto/policy.h"

#include "lib/base/err.h"

void
policy_ask_encode(struct ipc_wr *w, const struct policy_ask *m)
{
	ipc_wr_str(w, m->domain);
	ipc_wr_u32(w, m->flags);
}

int
policy_ask_decode(struct ipc_rd *r, struct policy_ask *ret)
{
	ret->domain = ipc_rd_str(r, TEXT_DOMAIN_MAX);
	ret->flags = ipc_rd_u32(r);
	if ((ret->flags & ~(uint32_t)POLICY_FRESH) != 0)
		r->err = PE_SYNTAX;
	return ipc_rd_end(r);
}

void
policy_answer_encode(struct ipc_wr *w, const struct policy_answer *m)
{
	ipc_wr_u8(w, (uint8_t)m->state);
	ipc_wr_str(w, m->reason);
	if (m->state != POLICY_FOUND)
		return;
	ipc_wr_u8(w, (uint8_t)m->source);
	ipc_wr_u8(w, (uint8_t)m->mode);
	ipc_wr_str(w, m->id);
	ipc_wr_i64(w, m->fetched_s);
	ipc_wr_i64(w, m->age_s);
	ipc_wr_u32(w, m->max_age_s);
	ipc_wr_bool(w, m->stale);
	ipc_wr_bytes(w, m->list, m->list_len);
}

int
policy_answer_decode(struct ipc_rd *r, struct policy_answer *ret)
{
	ret->state = (enum policy_state)ipc_rd_enum(r, POLICY_FOUND);
	ret->reason = ipc_rd_str(r, TEXT_REASON_MAX);
	ret->source = POLICY_FROM_NOWHERE;
	ret->mode = STS_MODE_NONE;
	ret->id = "";
	ret->fetched_s = ret->age_s = 0;
	ret->max_age_s = 0;
	ret->stale = false;
	ret->list = NULL;
	ret->list_len = 0;
	if (ret->state != POLICY_FOUND)
		return ipc_rd_end(r);
	ret->source = (enum policy_source)ipc_rd_enum(r, POLICY_FROM_FETCH);
	ret->mode = (enum sts_mode)ipc_rd_enum(r, STS_MODE_ENFORCE);
	ret->id = ipc_rd_str(r, STS_ID_MAX);
	ret->fetched_s = ipc_rd_i64(r);
	ret->age_s = ipc_rd_i64(r);
	ret->max_age_s = ipc_rd_u32(r);
	ret->stale = ipc_rd_bool(r);
	ret->list = (const char *)ipc_rd_bytes(r, STS_LIST_MAX, &ret->list_len);
	/* every pattern is ended; only mode none may have no pattern */
	if (ret->list_len > 0 && r->err == 0 &&
	    ret->list[ret->list_len - 1] != '\0')
		r->err = PE_SYNTAX;
	if (ret->list_len == 0 && ret->mode != STS_MODE_NONE)
		r->err = PE_SYNTAX;
	if (ret->age_s < 0 || ret->max_age_s > STS_MAX_AGE_MAX)
		r->err = PE_SYNTAX;
	return ipc_rd_end(r);
}

const char *
policy_state_word(enum policy_state state)
{
	switch (state) {
	case POLICY_NONE:
		return "none";
	case POLICY_FOUND:
		return "policy";
	case POLICY_INDETERMINATE:
	default:
		return "indeterminate";
	}
}

const char *
policy_source_word(enum policy_source source)
{
	switch (source) {
	case POLICY_FROM_CACHE:
		return "cache";
	case POLICY_FROM_FETCH:
		return "fetched";
	case POLICY_FROM_NOWHERE:
	default:
		return "nowhere";
	}
}
