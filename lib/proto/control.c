/*
 * control.c - encode and decode of control.h. Pure.
 */
#include "lib/proto/control.h"
#include "lib/base/err.h"

enum { PATH_LEN_MAX = 4096 };

void
ctl_config_encode(struct ipc_wr *w, const struct ctl_config *m)
{
	ipc_wr_u64(w, m->generation);
}

int
ctl_config_decode(struct ipc_rd *r, struct ctl_config *ret)
{
	ret->generation = ipc_rd_u64(r);
	return ipc_rd_end(r);
}

void
ctl_listener_encode(struct ipc_wr *w, const struct ctl_listener *m)
{
	ipc_wr_str(w, m->kind);
	ipc_wr_str(w, m->name);
	ipc_wr_str(w, m->address);
}

int
ctl_listener_decode(struct ipc_rd *r, struct ctl_listener *ret)
{
	ret->kind = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->name = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->address = ipc_rd_str(r, PATH_LEN_MAX);
	return ipc_rd_end(r);
}

void
ctl_suspend_encode(struct ipc_wr *w, const struct ctl_suspend *m)
{
	ipc_wr_u8(w, m->suspended);
	ipc_wr_str(w, m->name);
}

int
ctl_suspend_decode(struct ipc_rd *r, struct ctl_suspend *ret)
{
	ret->suspended = ipc_rd_enum(r, 1) != 0;
	ret->name = ipc_rd_str(r, TEXT_NAME_MAX);
	return ipc_rd_end(r);
}

void
ctl_dir_encode(struct ipc_wr *w, const struct ctl_dir *m)
{
	ipc_wr_str(w, m->path);
}

int
ctl_dir_decode(struct ipc_rd *r, struct ctl_dir *ret)
{
	ret->path = ipc_rd_str(r, PATH_LEN_MAX);
	return ipc_rd_end(r);
}

void
ctl_peer_encode(struct ipc_wr *w, const struct ctl_peer *m)
{
	ipc_wr_u8(w, (uint8_t)m->role);
	ipc_wr_u32(w, m->instance);
}

int
ctl_peer_decode(struct ipc_rd *r, struct ctl_peer *ret)
{
	ret->role = (enum role)ipc_rd_enum(r, ROLE_COUNT - 1);
	ret->instance = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
ctl_start_encode(struct ipc_wr *w, const struct ctl_start *m)
{
	ipc_wr_u32(w, m->uid);
	ipc_wr_u32(w, m->gid);
	ipc_wr_str(w, m->chroot_dir);
	ipc_wr_u32(w, m->max_fds);
}

int
ctl_start_decode(struct ipc_rd *r, struct ctl_start *ret)
{
	ret->uid = ipc_rd_u32(r);
	ret->gid = ipc_rd_u32(r);
	ret->chroot_dir = ipc_rd_str(r, PATH_LEN_MAX);
	ret->max_fds = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
ctl_drain_encode(struct ipc_wr *w, const struct ctl_drain *m)
{
	ipc_wr_u32(w, m->deadline_ms);
}

int
ctl_drain_decode(struct ipc_rd *r, struct ctl_drain *ret)
{
	ret->deadline_ms = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
ctl_ready_encode(struct ipc_wr *w, const struct ctl_ready *m)
{
	ipc_wr_str(w, m->missing);
}

int
ctl_ready_decode(struct ipc_rd *r, struct ctl_ready *ret)
{
	ret->missing = ipc_rd_str(r, TEXT_REASON_MAX);
	return ipc_rd_end(r);
}

void
ctl_config_done_encode(struct ipc_wr *w, const struct ctl_config_done *m)
{
	ipc_wr_u64(w, m->generation);
	ipc_wr_bool(w, m->ok);
	ipc_wr_str(w, m->text);
}

int
ctl_config_done_decode(struct ipc_rd *r, struct ctl_config_done *ret)
{
	ret->generation = ipc_rd_u64(r);
	ret->ok = ipc_rd_bool(r);
	ret->text = ipc_rd_str(r, TEXT_REASON_MAX);
	return ipc_rd_end(r);
}

void
ctl_broken_encode(struct ipc_wr *w, const struct ctl_broken *m)
{
	ipc_wr_u8(w, (uint8_t)m->role);
	ipc_wr_u32(w, m->instance);
	ipc_wr_str(w, m->text);
}

int
ctl_broken_decode(struct ipc_rd *r, struct ctl_broken *ret)
{
	ret->role = (enum role)ipc_rd_enum(r, ROLE_COUNT - 1);
	ret->instance = ipc_rd_u32(r);
	ret->text = ipc_rd_str(r, TEXT_REASON_MAX);
	return ipc_rd_end(r);
}

void
ctl_connect_ask_encode(struct ipc_wr *w, const struct ctl_connect_ask *m)
{
	ipc_wr_str(w, m->domain);
	ipc_wr_str(w, m->gateway);
	ipc_wr_str(w, m->host);
	ipc_wr_str(w, m->address);
	ipc_wr_bool(w, m->tls);
}

/* In capitals it would be another counter of the same place. */
static const char *
lower_str(struct ipc_rd *r, size_t max)
{
	const char *text = ipc_rd_str(r, max), *at;

	for (at = text; *at != '\0'; at++)
		if (*at >= 'A' && *at <= 'Z')
			r->err = PE_SYNTAX;
	return text;
}

int
ctl_connect_ask_decode(struct ipc_rd *r, struct ctl_connect_ask *ret)
{
	ret->domain = lower_str(r, TEXT_DOMAIN_MAX);
	ret->gateway = ipc_rd_str(r, TEXT_NAME_MAX);
	ret->host = lower_str(r, TEXT_DOMAIN_MAX);
	ret->address = lower_str(r, TEXT_ADDRESS_MAX);
	ret->tls = ipc_rd_bool(r);
	return ipc_rd_end(r);
}

void
ctl_permit_ask_encode(struct ipc_wr *w, const struct ctl_permit_ask *m)
{
	uint32_t i;

	ipc_wr_u8(w, (uint8_t)m->n_keys);
	for (i = 0; i < m->n_keys; i++) {
		ipc_wr_str(w, m->keys[i].name);
		ipc_wr_u32(w, m->keys[i].limit);
	}
}

int
ctl_permit_ask_decode(struct ipc_rd *r, struct ctl_permit_ask *ret)
{
	uint32_t i;

	ret->n_keys = ipc_rd_enum(r, PERMIT_KEYS_MAX);
	for (i = 0; i < ret->n_keys; i++) {
		ret->keys[i].name = ipc_rd_str(r, PERMIT_KEY_LEN_MAX);
		ret->keys[i].limit = ipc_rd_u32(r);
	}
	if (ret->n_keys == 0)
		r->err = PE_SYNTAX;
	return ipc_rd_end(r);
}

void
ctl_permit_grant_encode(struct ipc_wr *w, const struct ctl_permit_grant *m)
{
	ipc_wr_u64(w, m->permit_id);
}

int
ctl_permit_grant_decode(struct ipc_rd *r, struct ctl_permit_grant *ret)
{
	ret->permit_id = ipc_rd_u64(r);
	return ipc_rd_end(r);
}

void
ctl_permit_wait_encode(struct ipc_wr *w, const struct ctl_permit_wait *m)
{
	ipc_wr_u32(w, m->key);
	ipc_wr_u32(w, m->retry_ms);
}

int
ctl_permit_wait_decode(struct ipc_rd *r, struct ctl_permit_wait *ret)
{
	ret->key = ipc_rd_u32(r);
	ret->retry_ms = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
ctl_permit_free_encode(struct ipc_wr *w, const struct ctl_permit_free *m)
{
	ipc_wr_u64(w, m->permit_id);
}

int
ctl_permit_free_decode(struct ipc_rd *r, struct ctl_permit_free *ret)
{
	ret->permit_id = ipc_rd_u64(r);
	return ipc_rd_end(r);
}

void
ctl_rcpt_ask_encode(struct ipc_wr *w, const struct ctl_rcpt_ask *m)
{
	ipc_wr_u64(w, m->permit_id);
	ipc_wr_u32(w, m->want);
}

int
ctl_rcpt_ask_decode(struct ipc_rd *r, struct ctl_rcpt_ask *ret)
{
	ret->permit_id = ipc_rd_u64(r);
	ret->want = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
ctl_rcpt_grant_encode(struct ipc_wr *w, const struct ctl_rcpt_grant *m)
{
	ipc_wr_u32(w, m->n);
	ipc_wr_u32(w, m->wait_ms);
}

int
ctl_rcpt_grant_decode(struct ipc_rd *r, struct ctl_rcpt_grant *ret)
{
	ret->n = ipc_rd_u32(r);
	ret->wait_ms = ipc_rd_u32(r);
	return ipc_rd_end(r);
}

void
ctl_rcpt_done_encode(struct ipc_wr *w, const struct ctl_rcpt_done *m)
{
	ipc_wr_u64(w, m->permit_id);
	ipc_wr_u32(w, m->used);
	ipc_wr_u32(w, m->unused);
}

int
ctl_rcpt_done_decode(struct ipc_rd *r, struct ctl_rcpt_done *ret)
{
	ret->permit_id = ipc_rd_u64(r);
	ret->used = ipc_rd_u32(r);
	ret->unused = ipc_rd_u32(r);
	return ipc_rd_end(r);
}
