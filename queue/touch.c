/*
 * touch.c - see touch.h. The reading is what counts: a page that is looked at
 * here waits for the disk here.
 */
#include "queue/touch.h"

#include "lib/proto/handoff.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	PER_VIEW = 16, /* entries, with all that follows */
	PER_VIEW_ENTRIES = 512,
	PAGE = 4096,
	DUE_FIRST = 256,	 /* entries of dq that the loop reads of one */
	DUE_DOWN = 8,		 /* of one that is down */
	RCPTS_LOOKED = 500,	 /* of one message */
	HEAD_BYTES = 256 * 1024, /* of a body file, asked for ahead */
	PIECE = 64 * 1024,
};

/* ---- bytes ------------------------------------------------------------------- */

/* Ask for the pages of a value; the kernel reads them in one go. */
static void
ask_for(const MDB_val *val, size_t max)
{
	uintptr_t from = (uintptr_t)val->mv_data & ~(uintptr_t)(PAGE - 1);
	size_t len = val->mv_size < max ? val->mv_size : max;

	/* advice only: what it does not bring is waited for below */
	if (len > 0)
		(void)madvise((void *)from,
		    (uintptr_t)val->mv_data + len - from, MADV_WILLNEED);
}

static void
wait_for(const MDB_val *val, size_t max)
{
	const volatile uint8_t *p = val->mv_data;
	size_t len = val->mv_size < max ? val->mv_size : max, i;

	for (i = 0; i < len; i += PAGE)
		(void)p[i];
	if (len > 0)
		(void)p[len - 1];
}

/* A body file: its inode, its first bytes asked for, and up to max read. */
static void
touch_file(struct store *st, uint64_t mid, uint64_t size, uint64_t max)
{
	uint8_t *piece;
	uint64_t at;
	int fd;

	if (store_body_open(st, mid, size, &fd) < 0)
		return; /* the loop will find the same */
	(void)posix_fadvise(fd, 0, HEAD_BYTES, POSIX_FADV_WILLNEED);
	piece = max == 0 ? NULL : malloc(PIECE);
	for (at = 0; piece != NULL && at < max && at < size; at += PIECE)
		if (pread(fd, piece, PIECE, (off_t)at) <= 0)
			break;
	free(piece);
	(void)close(fd);
}

/* ---- one message ----------------------------------------------------------------- */

/* A body file that is to be opened when no view is. */
struct file {
	uint64_t mid, size;
};

static bool
touch_msg(
    struct sview *v, uint64_t mid, MDB_val *ret_body, struct file *ret_file)
{
	struct rec_msg m;
	struct key k;

	memset(ret_body, 0, sizeof(*ret_body));
	ret_file->mid = 0;
	if (sview_msg(v, mid, &m) < 0)
		return false;
	if (m.body == REC_BODY_FILE) {
		ret_file->mid = mid;
		ret_file->size = m.size;
		return true;
	}
	key_u64(&k, mid);
	if (sview_get(v, DB_BODY, &k, ret_body) < 0)
		memset(ret_body, 0, sizeof(*ret_body));
	return true;
}

/* Its recipients from rid on. */
static void
touch_rcpts(struct sview *v, uint64_t mid, uint32_t rid, uint32_t max)
{
	struct rec_rcpt rc;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t n = 0;
	int r;

	key_rcpt(&k, mid, rid);
	r = siter_first(&it, v->txn, v->st, DB_RCPT, &k);
	for (; r == 0 && n < max; r = siter_next(&it), n++) {
		if (key_rcpt_parse(it.k.mv_data, it.k.mv_size, &id, &rid) < 0 ||
		    id != mid)
			break;
		(void)rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc);
	}
	siter_end(&it);
}

/* ---- what is due at a destination ---------------------------------------------------- */

static uint32_t
due_in_view(struct sview *v, uint64_t dest_id, const struct dq_entry *from,
    int64_t now_s, uint32_t max, struct dq_entry *ret, uint32_t ret_max)
{
	struct dq_entry e;
	struct siter it;
	struct key k;
	uint64_t id;
	uint32_t n = 0;
	int r;

	key_dq(&k, dest_id, from);
	r = siter_first(&it, v->txn, v->st, DB_DQ, &k);
	for (; r == 0 && n < max; r = siter_next(&it), n++) {
		if (key_dq_parse(it.k.mv_data, it.k.mv_size, &id, &e) < 0 ||
		    id != dest_id || e.due_s > now_s)
			break;
		if (n < ret_max)
			ret[n] = e;
	}
	siter_end(&it);
	return n < ret_max ? n : ret_max;
}

uint32_t
touch_window(struct pool_ctx *ctx, uint64_t dest_id,
    const struct dq_entry *from, int64_t now_s, uint32_t max,
    struct dq_entry *ret, uint32_t ret_max)
{
	struct sview v;
	uint32_t n;

	if (store_view_begin(ctx->st, &ctx->txn, &v) < 0)
		return 0;
	n = due_in_view(&v, dest_id, from, now_s, max, ret, ret_max);
	store_read_end(&v);
	return n;
}

static void
touch_some(struct pool_ctx *ctx, const struct dq_entry *e, uint32_t n)
{
	struct file files[PER_VIEW];
	MDB_val bodies[PER_VIEW];
	struct sview v;
	uint32_t i;

	if (store_view_begin(ctx->st, &ctx->txn, &v) < 0)
		return;
	for (i = 0; i < n; i++) {
		(void)touch_msg(&v, e[i].mid, &bodies[i], &files[i]);
		ask_for(&bodies[i], HAND_INLINE_MAX);
	}
	for (i = 0; i < n; i++) {
		/* the last one may have more that are not in the list */
		touch_rcpts(
		    &v, e[i].mid, e[i].rid, i + 1 < n ? 1 : HAND_RCPTS_MAX);
		wait_for(&bodies[i], HAND_INLINE_MAX);
	}
	store_read_end(&v);
	for (i = 0; i < n; i++)
		if (files[i].mid != 0)
			touch_file(ctx->st, files[i].mid, files[i].size, 0);
}

void
touch_messages(struct pool_ctx *ctx, const struct dq_entry *e, uint32_t n)
{
	uint32_t i, k;

	for (i = 0; i < n; i += k) {
		k = n - i < PER_VIEW ? n - i : PER_VIEW;
		touch_some(ctx, e + i, k);
	}
}

/* ---- a part of a table ----------------------------------------------------------------- */

/* One entry with what follows from it; a file is left to the caller. */
static void
follow(struct sview *v, const struct touch *t, const struct siter *it,
    struct file *ret_file)
{
	static const struct dq_entry first = { 0, 0, 0 };
	uint64_t id = 0, body_max = PAGE;
	struct rec_rcpt rc;
	struct rec_dest d;
	struct dq_entry e;
	MDB_val body;
	int64_t at_s;

	switch (t->follow) {
	case TOUCH_ENTRY:
		wait_for(&it->v, SIZE_MAX);
		break;
	case TOUCH_DEST:
		if (key_time_parse(it->k.mv_data, it->k.mv_size, &at_s, &id) ==
			0 &&
		    sview_dest(v, id, &d) == 0)
			(void)due_in_view(v, id, &first, t->until_s,
			    d.retries > 0 ? DUE_DOWN : DUE_FIRST, NULL, 0);
		break;
	case TOUCH_BODY:
		body_max = t->body_max;
		/* fall through */
	case TOUCH_MSG:
		if (key_time_parse(it->k.mv_data, it->k.mv_size, &at_s, &id) <
			0 ||
		    !touch_msg(v, id, &body, ret_file))
			break;
		ask_for(&body, body_max);
		touch_rcpts(v, id, 0, RCPTS_LOOKED);
		wait_for(&body, body_max);
		break;
	case TOUCH_RCPT:
		if (key_dq_parse(it->k.mv_data, it->k.mv_size, &id, &e) == 0 &&
		    sview_rcpt(v, e.mid, e.rid, &rc) == 0)
			(void)touch_msg(v, e.mid, &body, ret_file);
		ret_file->mid = 0;
		break;
	case TOUCH_OWNER:
		if (rec_rcpt_decode(it->v.mv_data, it->v.mv_size, &rc) == 0)
			(void)sview_dest(v, rc.dest_id, &d);
		if (key_rcpt_parse(it->k.mv_data, it->k.mv_size, &id, &e.rid) ==
		    0)
			(void)touch_msg(v, id, &body, ret_file);
		ret_file->mid = 0;
		break;
	}
}

static bool
is_past(const struct touch *t, const struct siter *it)
{
	int64_t at_s;
	uint64_t id;

	if (t->same > 0 &&
	    (it->k.mv_size < t->same ||
		memcmp(it->k.mv_data, t->from.b, t->same) != 0))
		return true;
	if (t->until_s == 0 ||
	    (t->db != DB_SCHED && t->db != DB_EXP && t->db != DB_NOTICE))
		return false;
	return key_time_parse(it->k.mv_data, it->k.mv_size, &at_s, &id) < 0 ||
	    at_s > t->until_s;
}

/* The entries from at on, as many as one view may take; at is the last one
 * then. Returns how many, less than max at the end. */
static uint32_t
range_in_view(struct pool_ctx *ctx, const struct touch *t, struct key *at,
    bool first, uint32_t max)
{
	struct file files[PER_VIEW + 1]; /* the last one is scratch */
	uint32_t n = 0, n_files = 0, i;
	struct siter it;
	struct sview v;
	int r;

	if (store_view_begin(ctx->st, &ctx->txn, &v) < 0)
		return 0;
	r = siter_first(&it, v.txn, v.st, t->db, at->len == 0 ? NULL : at);
	if (r == 0 && !first && it.k.mv_size == at->len &&
	    memcmp(it.k.mv_data, at->b, at->len) == 0)
		r = siter_next(&it);
	for (; r == 0 && n < max && !is_past(t, &it); r = siter_next(&it)) {
		files[n_files].mid = 0;
		follow(&v, t, &it, &files[n_files]);
		if (n_files < PER_VIEW && files[n_files].mid != 0)
			n_files++;
		n++;
		at->len = it.k.mv_size < KEY_MAX ? it.k.mv_size : KEY_MAX;
		memcpy(at->b, it.k.mv_data, at->len);
	}
	siter_end(&it);
	store_read_end(&v);
	for (i = 0; i < n_files; i++)
		touch_file(ctx->st, files[i].mid, files[i].size, t->body_max);
	return n;
}

void
touch_range(struct pool_ctx *ctx, const struct touch *t)
{
	uint32_t per = t->follow == TOUCH_ENTRY ? PER_VIEW_ENTRIES : PER_VIEW;
	uint32_t n = 0, max, got;
	struct key at = t->from;

	do {
		max = t->max - n < per ? t->max - n : per;
		got = range_in_view(ctx, t, &at, n == 0, max);
		n += got;
	} while (got == max && n < t->max);
}
