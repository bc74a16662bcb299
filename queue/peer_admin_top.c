/*
 * peer_admin_top.c - the destinations with the most of something. One pass over
 * the table of destinations in slices, one per turn of the loop, so that mail
 * does not wait for it however many there are.
 */
#include "queue/peer_admin.h"

#include "lib/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct top {
	uint64_t id, key;
};

static uint64_t
top_key(const struct rec_dest *d, const char *sort)
{
	if (strcmp(sort, "delivered") == 0)
		return d->delivered;
	if (strcmp(sort, "soft") == 0)
		return d->soft;
	if (strcmp(sort, "hard") == 0)
		return d->hard;
	return d->queued; /* "active"; connections are deliver's to count */
}

/* Smallest on top. */
static void
sift_down(struct top *h, size_t n, size_t i)
{
	for (;;) {
		size_t c = 2 * i + 1;
		struct top t;

		if (c >= n)
			return;
		if (c + 1 < n && h[c + 1].key < h[c].key)
			c++;
		if (h[i].key <= h[c].key)
			return;
		t = h[i];
		h[i] = h[c];
		h[c] = t;
		i = c;
	}
}

static int
top_cmp(const void *a, const void *b)
{
	const struct top *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* A pass under way. */
struct top_act {
	struct qact act;
	uv_timer_t timer;
	char sort[32];
	uint64_t next;	 /* destination */
	struct top *top; /* a heap once it is full */
	size_t n, max;
};

static void
consider(struct top_act *ta, uint64_t id, uint64_t key)
{
	size_t i;

	if (ta->n < ta->max) {
		ta->top[ta->n++] = (struct top){ id, key };
		if (ta->n == ta->max)
			for (i = ta->n; i-- > 0;)
				sift_down(ta->top, ta->n, i);
	} else if (key > ta->top[0].key) {
		ta->top[0] = (struct top){ id, key };
		sift_down(ta->top, ta->n, 0);
	}
}

/* True when there is more. */
static bool
top_slice(struct top_act *ta, struct sview *v)
{
	struct rec_dest rec;
	struct siter it;
	struct key k;
	uint64_t id;
	int n = 0, r;

	key_u64(&k, ta->next);
	r = siter_first(&it, v->txn, v->st, DB_DEST, &k);
	for (; r == 0 && n < SCAN_SLICE; r = siter_next(&it), n++) {
		if (key_u64_parse(it.k.mv_data, it.k.mv_size, &id) < 0)
			continue;
		ta->next = id + 1;
		if (rec_dest_decode(it.v.mv_data, it.v.mv_size, &rec) == 0)
			consider(ta, id, top_key(&rec, ta->sort));
	}
	siter_end(&it);
	return r == 0;
}

static void
tophosts_json(struct queue *q, struct sview *v, struct json *j,
    const struct top *top, size_t n)
{
	struct rec_dest rec;
	size_t i;

	json_put_obj(j, NULL);
	json_put_arr(j, "hosts");
	for (i = 0; i < n; i++) {
		if (sview_dest(v, top[i].id, &rec) < 0)
			continue;
		json_put_obj(j, NULL);
		json_put_str(j, "domain", rec.domain);
		json_put_str(j, "gateway", rec.gateway);
		json_put_str(j, "class", admin_class(rec.cls));
		json_put_str(j, "state", admin_dest_state(q, &rec));
		json_put_uint(j, "active", rec.queued);
		json_put_null(j, "connections"); /* deliver counts them */
		json_put_uint(j, "delivered", rec.delivered);
		json_put_uint(j, "soft", rec.soft);
		json_put_uint(j, "hard", rec.hard);
		json_put_end_obj(j);
	}
	json_put_end_arr(j);
	json_put_end_obj(j);
}

static void
top_free(uv_handle_t *handle)
{
	struct top_act *ta = handle->data;

	free(ta->top);
	free(ta);
}

static void
top_end(struct top_act *ta, struct sview *v)
{
	struct qadmin *a = ta->act.admin;
	struct buf doc;
	struct json j;

	qsort(ta->top, ta->n, sizeof(*ta->top), top_cmp);
	buf_init(&doc, DOC_MAX);
	json_init(&j, &doc);
	tophosts_json(a->q, v, &j, ta->top, ta->n);
	(void)admin_answer(a, ta->act.req_id, &j, &doc);
	admin_act_end(&ta->act);
}

static void
on_top_slice(uv_timer_t *timer)
{
	struct top_act *ta = timer->data;
	struct sview v;
	int r;

	/* its channel may be gone, and with it all that it may look at */
	if (ta->act.admin != NULL) {
		r = store_read_begin(ta->act.q->store, &v);
		if (r < 0) {
			admin_act_refuse(&ta->act, 503, err_str(r));
		} else if (top_slice(ta, &v)) {
			store_read_end(&v);
			(void)uv_timer_start(
			    &ta->timer, on_top_slice, NEXT_TURN_MS, 0);
			return;
		} else {
			top_end(ta, &v);
			store_read_end(&v);
		}
	}
	uv_close((uv_handle_t *)&ta->timer, top_free);
}

int
admin_tophosts(struct qadmin *a, uint64_t req_id, const struct adm_call *m)
{
	struct top_act *ta;

	ta = (struct top_act *)(void *)admin_act_new(a, req_id, sizeof(*ta));
	if (ta == NULL)
		return adm_refuse(
		    &a->peer, req_id, 503, "too many calls at one time");
	ta->max = m->num == 0 ? 20 : admin_limit(m->num);
	ta->top = calloc(ta->max, sizeof(*ta->top));
	(void)snprintf(ta->sort, sizeof(ta->sort), "%s", m->args[0]);
	ta->timer.data = ta;
	if (uv_timer_init(a->q->loop, &ta->timer) < 0 || ta->top == NULL) {
		admin_act_refuse(&ta->act, 503, err_str(-ENOMEM));
		uv_close((uv_handle_t *)&ta->timer, top_free);
		return 0;
	}
	on_top_slice(&ta->timer);
	return 0;
}
