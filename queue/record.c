/*
 * record.c - keys and values of the store as bytes. Pure: no I/O, no clock, no
 * allocation beyond the caller's buffer. Bytes from disk are not trusted.
 */
#include "queue/record.h"

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ipc/wire.h"
#include "lib/proto/outcome.h"
#include "lib/proto/submit.h"

#include <endian.h>
#include <string.h>

/* ---- keys ---------------------------------------------------------------- */

static void
key_start(struct key *k)
{
	k->len = 0;
}

static void
key_add_u64(struct key *k, uint64_t v)
{
	v = htobe64(v);
	memcpy(k->b + k->len, &v, 8);
	k->len += 8;
}

static void
key_add_u32(struct key *k, uint32_t v)
{
	v = htobe32(v);
	memcpy(k->b + k->len, &v, 4);
	k->len += 4;
}

static uint64_t
get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

static uint32_t
get_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

void
key_u64(struct key *k, uint64_t v)
{
	key_start(k);
	key_add_u64(k, v);
}

void
key_rcpt(struct key *k, uint64_t mid, uint32_t rid)
{
	key_start(k);
	key_add_u64(k, mid);
	key_add_u32(k, rid);
}

void
key_time(struct key *k, int64_t time_s, uint64_t id)
{
	key_start(k);
	key_add_u64(k, time_s < 0 ? 0 : (uint64_t)time_s);
	key_add_u64(k, id);
}

void
key_dq(struct key *k, uint64_t dest_id, const struct dq_entry *e)
{
	key_start(k);
	key_add_u64(k, dest_id);
	key_add_u64(k, e->due_s < 0 ? 0 : (uint64_t)e->due_s);
	key_add_u64(k, e->mid);
	key_add_u32(k, e->rid);
}

int
key_dname(struct key *k, const char *domain, const char *gateway, uint32_t cls)
{
	size_t d = strlen(domain), g = strlen(gateway), c = cls != 0 ? 2 : 0;

	if (d + g + 1 + c > KEY_MAX)
		return PE_TOO_LONG;
	memcpy(k->b, domain, d + 1);
	memcpy(k->b + d + 1, gateway, g);
	k->len = d + g + 1;
	if (cls != 0) {
		k->b[k->len++] = '\0';
		k->b[k->len++] = (uint8_t)cls;
	}
	return 0;
}

int
key_u64_parse(const void *p, size_t len, uint64_t *ret)
{
	if (len != 8)
		return PE_CORRUPT;
	*ret = get_u64(p);
	return 0;
}

int
key_rcpt_parse(const void *p, size_t len, uint64_t *ret_mid, uint32_t *ret_rid)
{
	if (len != 12)
		return PE_CORRUPT;
	*ret_mid = get_u64(p);
	*ret_rid = get_u32((const uint8_t *)p + 8);
	return 0;
}

int
key_time_parse(const void *p, size_t len, int64_t *ret_time_s, uint64_t *ret_id)
{
	uint64_t t;

	if (len != 16)
		return PE_CORRUPT;
	t = get_u64(p);
	if (t > INT64_MAX)
		return PE_CORRUPT;
	*ret_time_s = (int64_t)t;
	*ret_id = get_u64((const uint8_t *)p + 8);
	return 0;
}

int
key_dq_parse(
    const void *p, size_t len, uint64_t *ret_dest_id, struct dq_entry *ret)
{
	const uint8_t *b = p;
	uint64_t t;

	if (len != 28)
		return PE_CORRUPT;
	t = get_u64(b + 8);
	if (t > INT64_MAX)
		return PE_CORRUPT;
	*ret_dest_id = get_u64(b);
	ret->due_s = (int64_t)t;
	ret->mid = get_u64(b + 16);
	ret->rid = get_u32(b + 24);
	return 0;
}

int
dq_entry_cmp(const struct dq_entry *a, const struct dq_entry *b)
{
	if (a->due_s != b->due_s)
		return a->due_s < b->due_s ? -1 : 1;
	if (a->mid != b->mid)
		return a->mid < b->mid ? -1 : 1;
	if (a->rid != b->rid)
		return a->rid < b->rid ? -1 : 1;
	return 0;
}

/* ---- values -------------------------------------------------------------- */

static void
start(struct ipc_wr *w, struct buf *b)
{
	w->b = b;
	w->err = 0;
	ipc_wr_u8(w, REC_VERSION);
}

static void
open_record(struct ipc_rd *r, const void *p, size_t len)
{
	ipc_rd_init(r, p, len);
	if (ipc_rd_u8(r) != REC_VERSION)
		r->err = PE_SYNTAX;
}

static void
require(struct ipc_rd *r, bool ok)
{
	if (!ok)
		r->err = PE_SYNTAX;
}

static int
close_record(struct ipc_rd *r)
{
	return ipc_rd_end(r) < 0 ? PE_CORRUPT : 0;
}

/* A time in seconds, never negative. */
static int64_t
rd_time(struct ipc_rd *r)
{
	int64_t t = ipc_rd_i64(r);

	require(r, t >= 0);
	return t < 0 ? 0 : t;
}

int
rec_msg_encode(struct buf *b, const struct rec_msg *m)
{
	struct ipc_wr w;

	start(&w, b);
	ipc_wr_str(&w, m->sender);
	ipc_wr_str(&w, m->envid);
	ipc_wr_str(&w, m->gateway);
	ipc_wr_str(&w, m->listener);
	ipc_wr_str(&w, m->profile);
	ipc_wr_str(&w, m->client);
	ipc_wr_str(&w, m->message_id);
	ipc_wr_u8(&w, m->ret);
	ipc_wr_u32(&w, m->flags);
	ipc_wr_u64(&w, m->size);
	ipc_wr_u64(&w, m->icid);
	ipc_wr_u64(&w, m->origin);
	ipc_wr_i64(&w, m->accepted_ms);
	ipc_wr_u8(&w, m->body);
	ipc_wr_bool(&w, m->held);
	ipc_wr_u32(&w, m->n_total);
	ipc_wr_u32(&w, m->n_left);
	ipc_wr_u32(&w, m->n_live);
	ipc_wr_i64(&w, m->exp_s);
	ipc_wr_i64(&w, m->notice_s);
	return w.err;
}

int
rec_msg_decode(const void *p, size_t len, struct rec_msg *ret)
{
	struct ipc_rd r;

	open_record(&r, p, len);
	ret->sender = ipc_rd_str(&r, TEXT_ADDRESS_MAX);
	ret->envid = ipc_rd_str(&r, TEXT_XTEXT_MAX);
	ret->gateway = ipc_rd_str(&r, TEXT_NAME_MAX);
	ret->listener = ipc_rd_str(&r, TEXT_NAME_MAX);
	ret->profile = ipc_rd_str(&r, TEXT_NAME_MAX);
	ret->client = ipc_rd_str(&r, TEXT_NAME_MAX);
	ret->message_id = ipc_rd_str(&r, TEXT_REPLY_MAX);
	ret->ret = (uint8_t)ipc_rd_enum(&r, DSN_RET_HDRS);
	ret->flags = ipc_rd_u32(&r);
	ret->size = ipc_rd_u64(&r);
	ret->icid = ipc_rd_u64(&r);
	ret->origin = ipc_rd_u64(&r);
	ret->accepted_ms = rd_time(&r);
	ret->body = (uint8_t)ipc_rd_enum(&r, REC_BODY_FILE);
	ret->held = ipc_rd_bool(&r);
	ret->n_total = ipc_rd_u32(&r);
	ret->n_left = ipc_rd_u32(&r);
	ret->n_live = ipc_rd_u32(&r);
	ret->exp_s = rd_time(&r);
	ret->notice_s = rd_time(&r);
	require(&r, (ret->flags & ~(uint32_t)MSG_FLAGS_ALL) == 0);
	require(&r, ret->n_live <= ret->n_left && ret->n_left <= ret->n_total);
	require(&r, ret->n_left > 0);
	return close_record(&r);
}

int
rec_rcpt_encode(struct buf *b, const struct rec_rcpt *m)
{
	struct ipc_wr w;

	start(&w, b);
	ipc_wr_u8(&w, m->state);
	ipc_wr_bool(&w, m->delay_pending);
	ipc_wr_u8(&w, m->delays);
	ipc_wr_u8(&w, m->lost);
	ipc_wr_u64(&w, m->dest_id);
	ipc_wr_i64(&w, m->due_s);
	ipc_wr_i64(&w, m->expires_s);
	ipc_wr_u32(&w, m->attempts);
	ipc_wr_u8(&w, (uint8_t)m->notify);
	ipc_wr_i64(&w, m->last_s);
	ipc_wr_u8(&w, m->reason);
	ipc_wr_u16(&w, m->code);
	ipc_wr_str(&w, m->status);
	ipc_wr_str(&w, m->reply);
	ipc_wr_str(&w, m->host);
	ipc_wr_str(&w, m->address);
	ipc_wr_str(&w, m->domain);
	ipc_wr_str(&w, m->orcpt);
	return w.err;
}

int
rec_rcpt_decode(const void *p, size_t len, struct rec_rcpt *ret)
{
	struct ipc_rd r;

	open_record(&r, p, len);
	ret->state = (uint8_t)ipc_rd_enum(&r, RCPT_STATES - 1);
	ret->delay_pending = ipc_rd_bool(&r);
	ret->delays = ipc_rd_u8(&r);
	ret->lost = ipc_rd_u8(&r);
	ret->dest_id = ipc_rd_u64(&r);
	ret->due_s = rd_time(&r);
	ret->expires_s = rd_time(&r);
	ret->attempts = ipc_rd_u32(&r);
	ret->notify = ipc_rd_enum(&r, DSN_NOTIFY_ALL);
	ret->last_s = rd_time(&r);
	ret->reason = (uint8_t)ipc_rd_enum(&r, REASON_COUNT - 1);
	ret->code = ipc_rd_u16(&r);
	ret->status = ipc_rd_str(&r, 16);
	ret->reply = ipc_rd_str(&r, TEXT_REPLY_MAX);
	ret->host = ipc_rd_str(&r, TEXT_DOMAIN_MAX);
	ret->address = ipc_rd_str(&r, TEXT_ADDRESS_MAX);
	ret->domain = ipc_rd_str(&r, TEXT_DOMAIN_MAX);
	ret->orcpt = ipc_rd_str(&r, TEXT_XTEXT_MAX);
	require(&r, ret->state == RCPT_QUEUED || ret->due_s == 0);
	require(&r, ret->domain[0] != '\0');
	return close_record(&r);
}

int
rec_dest_encode(struct buf *b, const struct rec_dest *m)
{
	struct ipc_wr w;

	start(&w, b);
	ipc_wr_str(&w, m->domain);
	ipc_wr_str(&w, m->gateway);
	ipc_wr_i64(&w, m->sched_s);
	ipc_wr_u32(&w, m->queued);
	ipc_wr_u32(&w, m->retries);
	ipc_wr_i64(&w, m->until_s);
	ipc_wr_i64(&w, m->since_s);
	ipc_wr_u8(&w, m->reason);
	ipc_wr_u8(&w, (uint8_t)((m->suspended ? 1U : 0U) | m->cls));
	ipc_wr_i64(&w, m->used_s);
	ipc_wr_u64(&w, m->delivered);
	ipc_wr_u64(&w, m->soft);
	ipc_wr_u64(&w, m->hard);
	ipc_wr_str(&w, m->status);
	ipc_wr_str(&w, m->text);
	ipc_wr_str(&w, m->host);
	ipc_wr_str(&w, m->last_error);
	return w.err;
}

int
rec_dest_decode(const void *p, size_t len, struct rec_dest *ret)
{
	struct ipc_rd r;
	uint8_t bits;

	open_record(&r, p, len);
	ret->domain = ipc_rd_str(&r, TEXT_DOMAIN_MAX);
	ret->gateway = ipc_rd_str(&r, TEXT_NAME_MAX);
	ret->sched_s = rd_time(&r);
	ret->queued = ipc_rd_u32(&r);
	ret->retries = ipc_rd_u32(&r);
	ret->until_s = rd_time(&r);
	ret->since_s = rd_time(&r);
	ret->reason = (uint8_t)ipc_rd_enum(&r, REASON_COUNT - 1);
	bits = ipc_rd_u8(&r);
	ret->suspended = (bits & 1) != 0;
	ret->cls = bits & ~1U;
	require(&r, msg_class_valid(ret->cls));
	ret->used_s = rd_time(&r);
	ret->delivered = ipc_rd_u64(&r);
	ret->soft = ipc_rd_u64(&r);
	ret->hard = ipc_rd_u64(&r);
	ret->status = ipc_rd_str(&r, 16);
	ret->text = ipc_rd_str(&r, TEXT_REPLY_MAX);
	ret->host = ipc_rd_str(&r, TEXT_DOMAIN_MAX);
	ret->last_error = ipc_rd_str(&r, TEXT_REPLY_MAX);
	require(&r, ret->domain[0] != '\0' && ret->gateway[0] != '\0');
	return close_record(&r);
}

int
rec_counters_encode(struct buf *b, const struct rec_counters *m)
{
	struct ipc_wr w;

	start(&w, b);
	ipc_wr_u64(&w, m->accepted);
	ipc_wr_u64(&w, m->generated);
	ipc_wr_u64(&w, m->delivered);
	ipc_wr_u64(&w, m->bounced);
	ipc_wr_u64(&w, m->expired);
	ipc_wr_u64(&w, m->removed);
	ipc_wr_u64(&w, m->queued);
	ipc_wr_u64(&w, m->double_bounces);
	ipc_wr_u64(&w, m->notices);
	ipc_wr_u64(&w, m->deferred);
	return w.err;
}

int
rec_counters_decode(const void *p, size_t len, struct rec_counters *ret)
{
	struct ipc_rd r;

	open_record(&r, p, len);
	ret->accepted = ipc_rd_u64(&r);
	ret->generated = ipc_rd_u64(&r);
	ret->delivered = ipc_rd_u64(&r);
	ret->bounced = ipc_rd_u64(&r);
	ret->expired = ipc_rd_u64(&r);
	ret->removed = ipc_rd_u64(&r);
	ret->queued = ipc_rd_u64(&r);
	ret->double_bounces = ipc_rd_u64(&r);
	ret->notices = ipc_rd_u64(&r);
	ret->deferred = ipc_rd_u64(&r);
	return close_record(&r);
}
