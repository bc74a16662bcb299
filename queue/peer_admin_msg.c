/*
 * peer_admin_msg.c - the oldest message, and the text of one, for operators.
 * Reads only; the walk over all messages goes in slices.
 */
#include "queue/peer_admin.h"

#include "lib/base/base64.h"
#include "lib/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the oldest ----------------------------------------------------------------------- */

enum { WALKS_MAX = 3 }; /* when what was found is done meanwhile */

struct oldest {
	struct qact act;
	uint64_t next; /* MID */
	uint64_t mid;  /* the oldest so far; 0: none */
	int64_t accepted_ms;
	int walks;
	uv_timer_t timer;
};

static void
oldest_free(uv_handle_t *handle)
{
	free(handle->data);
}

/* MIDs are leased in ranges, so that their order is that of time only nearly:
 * every message is looked at. True when there is more. */
static bool
oldest_slice(struct oldest *o, struct sview *v)
{
	struct rec_msg m;
	struct siter it;
	struct key k;
	uint64_t mid;
	int n = 0, r;

	key_u64(&k, o->next);
	r = siter_first(&it, v->txn, v->st, DB_MSG, &k);
	for (; r == 0; r = siter_next(&it)) {
		if (key_u64_parse(it.k.mv_data, it.k.mv_size, &mid) < 0)
			continue;
		o->next = mid;
		if (n++ == SCAN_SLICE)
			break;
		if (rec_msg_decode(it.v.mv_data, it.v.mv_size, &m) < 0 ||
		    (o->mid != 0 && m.accepted_ms >= o->accepted_ms))
			continue;
		o->mid = mid;
		o->accepted_ms = m.accepted_ms;
	}
	siter_end(&it);
	return r == 0;
}

static bool
is_there(struct oldest *o)
{
	struct rec_msg m;
	struct sview v;
	int r = store_read_begin(o->act.q->store, &v);

	if (r < 0)
		return true; /* who answers says why not */
	r = sview_msg(&v, o->mid, &m);
	store_read_end(&v);
	return r != PE_NOT_FOUND;
}

static void
on_oldest(uv_timer_t *timer)
{
	struct oldest *o = timer->data;
	struct qadmin *a = o->act.admin;
	struct sview v;
	bool more = false;

	if (a != NULL && store_read_begin(a->q->store, &v) == 0) {
		more = oldest_slice(o, &v);
		store_read_end(&v);
	}
	if (a != NULL && !more && o->mid != 0 && ++o->walks < WALKS_MAX &&
	    !is_there(o)) {
		o->next = o->mid = 0;
		more = true;
	}
	if (more) {
		(void)uv_timer_start(&o->timer, on_oldest, NEXT_TURN_MS, 0);
		return;
	}
	if (a != NULL && o->mid == 0)
		admin_act_refuse(&o->act, 404, "no message is in the queue");
	else if (a != NULL)
		(void)admin_one_message(a, o->act.req_id, o->mid, true);
	admin_act_end(&o->act);
	uv_close((uv_handle_t *)&o->timer, oldest_free);
}

int
admin_oldmessage(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	struct oldest *o;

	(void)m;
	o = (struct oldest *)(void *)admin_act_new(a, req_id, sizeof(*o));
	if (o == NULL)
		return adm_refuse(
		    &a->peer, req_id, 503, "too many calls at one time");
	if (uv_timer_init(a->q->loop, &o->timer) < 0) {
		admin_act_refuse(&o->act, 503, err_str(-ENOMEM));
		free(o);
		return 0;
	}
	o->timer.data = o;
	on_oldest(&o->timer);
	return 0;
}

/* ---- its text -------------------------------------------------------------------------- */

/* Up to ADM_BODY_PIECE bytes from offset on, into buf. */
static ssize_t
read_piece(struct queue *q, struct sview *v, uint64_t mid,
    const struct rec_msg *m, uint64_t offset, uint8_t *buf)
{
	size_t want = ADM_BODY_PIECE, at = 0;
	ssize_t got = 0;
	struct key k;
	MDB_val val;
	int fd, r;

	if (m->size - offset < want)
		want = (size_t)(m->size - offset);
	if (m->body != REC_BODY_FILE) {
		key_u64(&k, mid);
		r = sview_get(v, DB_BODY, &k, &val);
		if (r == 0 && val.mv_size != m->size)
			r = PE_CORRUPT;
		if (r < 0)
			return r;
		memcpy(buf, (const uint8_t *)val.mv_data + offset, want);
		return (ssize_t)want;
	}
	r = store_body_open(q->store, mid, m->size, &fd);
	if (r < 0)
		return r;
	for (; at < want; at += (size_t)got) {
		got = pread(fd, buf + at, want - at, (off_t)(offset + at));
		if (got <= 0)
			break;
	}
	r = got < 0 ? -errno : 0;
	(void)close(fd);
	return r < 0 ? r : at < want ? PE_CORRUPT : (ssize_t)at;
}

static int
answer_piece(struct qadmin *a, uint64_t req_id, uint64_t mid, uint64_t size,
    uint64_t offset, const uint8_t *data, size_t len)
{
	char *text = malloc(BASE64_LEN(len) + 1);
	struct buf doc;
	struct json j;

	if (text == NULL)
		return adm_refuse(&a->peer, req_id, 503, err_str(-ENOMEM));
	base64_encode(data, len, text);
	buf_init(&doc, DOC_MAX);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_uint(&j, "mid", mid);
	json_put_uint(&j, "size", size);
	json_put_uint(&j, "offset", offset);
	json_put_strn(&j, "data", text, BASE64_LEN(len));
	json_put_end_obj(&j);
	free(text);
	return admin_answer(a, req_id, &j, &doc);
}

static bool
parse_offset(const char *text, uint64_t *ret)
{
	char *end;

	if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 19)
		return false;
	*ret = strtoull(text, &end, 10);
	return true;
}

int
admin_body(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	uint64_t offset, size = 0;
	struct rec_msg rec;
	struct sview v;
	uint8_t *data;
	ssize_t n;

	if (!parse_offset(m->args[0], &offset))
		return adm_refuse(&a->peer, req_id, 400, "no such offset");
	data = malloc(ADM_BODY_PIECE);
	if (data == NULL)
		return adm_refuse(&a->peer, req_id, 503, err_str(-ENOMEM));
	n = store_read_begin(a->q->store, &v);
	if (n == 0) {
		n = sview_msg(&v, m->num, &rec);
		if (n == 0) {
			size = rec.size;
			n = offset > size
			    ? -ERANGE
			    : read_piece(a->q, &v, m->num, &rec, offset, data);
		}
		store_read_end(&v);
	}
	if (n >= 0)
		n = answer_piece(
		    a, req_id, m->num, size, offset, data, (size_t)n);
	else if (n == PE_NOT_FOUND)
		n = adm_refuse(&a->peer, req_id, 404,
		    "no such message in the queue: it is done, or never was");
	else if (n == -ERANGE)
		n = adm_refuse(
		    &a->peer, req_id, 400, "the message ends before that");
	else
		n = adm_refuse(&a->peer, req_id, 503, err_str((int)n));
	free(data);
	return (int)n;
}
