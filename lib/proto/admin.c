/*
 * admin.c - encode and decode of admin.h, and replies in pieces under credit.
 */
#include "lib/proto/admin.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ipc/chan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
adm_call_encode(struct ipc_wr *w, const struct adm_call *m)
{
	int i;

	ipc_wr_u8(w, (uint8_t)m->op);
	ipc_wr_u64(w, m->num);
	for (i = 0; i < ADM_ARGS; i++)
		ipc_wr_str(w, m->args[i]);
}

int
adm_call_decode(struct ipc_rd *r, struct adm_call *ret)
{
	int i;

	ret->op = (enum adm_op)ipc_rd_enum(r, ADM_OP_COUNT - 1);
	ret->num = ipc_rd_u64(r);
	for (i = 0; i < ADM_ARGS; i++)
		ret->args[i] = ipc_rd_str(r,
		    ret->op == ADM_CONFIG && i == ADM_TEXT_ARG ? ADM_TEXT_MAX
							       : ADM_ARG_MAX);
	return ipc_rd_end(r);
}

void
adm_end_encode(struct ipc_wr *w, const struct adm_end *m)
{
	ipc_wr_u16(w, m->code);
	ipc_wr_str(w, m->text);
}

int
adm_end_decode(struct ipc_rd *r, struct adm_end *ret)
{
	ret->code = ipc_rd_u16(r);
	ret->text = ipc_rd_str(r, TEXT_REASON_MAX);
	return ipc_rd_end(r);
}

void
adm_peer_init(struct adm_peer *p, struct ipc_chan *chan)
{
	p->chan = chan;
	p->first = NULL;
	p->last = &p->first;
}

static void
pop(struct adm_peer *p)
{
	struct adm_reply *rep = p->first;

	p->first = rep->next;
	if (p->first == NULL)
		p->last = &p->first;
	free(rep);
}

void
adm_peer_done(struct adm_peer *p)
{
	while (p->first != NULL)
		pop(p);
	p->chan = NULL;
}

int
adm_refuse(struct adm_peer *p, uint64_t req_id, uint16_t code, const char *text)
{
	struct adm_end end = { code, text };

	adm_end_encode(ipc_send_begin(p->chan, ADM_END, req_id), &end);
	return ipc_send_end(p->chan, -1);
}

void
adm_peer_room(struct adm_peer *p)
{
	struct adm_reply *rep;
	struct ipc_wr *w;
	struct buf *out;
	size_t n, credit;

	while ((rep = p->first) != NULL) {
		while (rep->sent < rep->len) {
			n = rep->len - rep->sent;
			credit = ipc_chan_credit(p->chan);
			if (n > ADM_PIECE_MAX)
				n = ADM_PIECE_MAX;
			if (n > credit)
				return; /* on_room comes with credit */
			w = ipc_send_begin_credit(
			    p->chan, ADM_DATA, rep->req_id);
			out = w->b;
			if (w->err == 0)
				w->err = buf_put(out, rep->data + rep->sent, n);
			if (ipc_send_end(p->chan, -1) < 0)
				return;
			rep->sent += n;
		}
		if (adm_refuse(p, rep->req_id, 0, "") < 0)
			return;
		pop(p);
	}
}

int
adm_reply(struct adm_peer *p, uint64_t req_id, const struct buf *doc)
{
	struct adm_reply *rep = malloc(sizeof(*rep) + buf_len(doc));

	if (rep == NULL)
		return -ENOMEM;
	rep->next = NULL;
	rep->req_id = req_id;
	rep->sent = 0;
	rep->len = buf_len(doc);
	if (rep->len > 0)
		memcpy(rep->data, buf_data(doc), rep->len);
	*p->last = rep;
	p->last = &rep->next;
	adm_peer_room(p);
	return 0;
}
