/*
 * chan.c - frames over a socketpair: reading, rules, credit, descriptors.
 *
 * Used by every process for every peer. Never trusts the peer: a frame that the
 * rules do not list breaks the channel and nothing else. Never blocks. The
 * accounting of descriptors is exact: SCM_RIGHTS may arrive together with plain
 * bytes that were sent earlier, so they wait in a FIFO for the frame that
 * claims them (measured; see docs/protocol.md).
 */
#include "lib/ipc/chan.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_SIZE = 64 * 1024,
	READS_PER_TURN = 8, /* then others get their turn */
	FDS_IN = 64,	    /* received, not yet claimed by a frame */
	FDS_OUT = 256,	    /* waiting to be sent */
	FDS_PER_READ = 16,
	OUT_KEEP = 256 * 1024,
	FLAG_CREDIT = 1, /* header flag */
};

struct fd_out {
	uint64_t at; /* stream offset of the frame that carries it */
	int fd;
};

struct ipc_chan {
	uv_poll_t poll;
	struct ipc_hub *hub;
	LIST_ENTRY(ipc_chan) dirty_link;
	bool is_dirty;
	const struct ipc_spec *spec;
	void *peer;
	int fd;
	bool up, down, freed, write_broken, wants_room, hold;
	int events; /* what the poll handle waits for */

	struct buf in;
	int fds_in[FDS_IN];
	size_t n_fds_in;

	struct buf out;
	uint64_t out_at; /* stream offset of the first waiting byte */
	struct fd_out fds_out[FDS_OUT];
	size_t fds_out_head, n_fds_out;
	struct ipc_wr wr;
	size_t frame_start; /* of the frame under construction, in out */
	bool frame_credit;

	uint64_t credit;      /* what we may still send */
	uint64_t granted;     /* what the peer may still send */
	uint64_t credit_back; /* consumed, not yet given back */

	const struct ipc_rule *by_type[IPC_TYPES];
};

/* ---- header --------------------------------------------------------------- */

int
ipc_head_parse(const uint8_t data[IPC_HEADER_LEN], struct ipc_head *ret)
{
	uint32_t len;
	uint16_t type;
	uint64_t req_id;

	memcpy(&len, data, 4);
	memcpy(&type, data + 4, 2);
	memcpy(&req_id, data + 8, 8);
	ret->len = be32toh(len);
	ret->type = be16toh(type);
	ret->nfds = data[6];
	ret->flags = data[7];
	ret->req_id = be64toh(req_id);
	if (ret->len > IPC_FRAME_MAX || ret->nfds > 1 ||
	    (ret->flags & ~FLAG_CREDIT) != 0)
		return PE_SYNTAX;
	return 0;
}

void
ipc_head_format(const struct ipc_head *h, uint8_t ret[IPC_HEADER_LEN])
{
	uint32_t len = htobe32(h->len);
	uint16_t type = htobe16(h->type);
	uint64_t req_id = htobe64(h->req_id);

	memcpy(ret, &len, 4);
	memcpy(ret + 4, &type, 2);
	ret[6] = h->nfds;
	ret[7] = h->flags;
	memcpy(ret + 8, &req_id, 8);
}

/* ---- life ------------------------------------------------------------------ */

int
ipc_pair(int ret_fd[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		ret_fd) < 0)
		return -errno;
	return 0;
}

static void give_room(struct ipc_chan *c);

static void
on_prepare(uv_prepare_t *handle)
{
	struct ipc_hub *hub = handle->data;
	struct ipc_chan *c;

	if (hub->on_turn != NULL)
		hub->on_turn(hub->arg);
	/* a flush takes the channel off the list, and may put others on it */
	while ((c = LIST_FIRST(&hub->dirty)) != NULL) {
		ipc_chan_flush(c);
		give_room(c);
	}
}

int
ipc_hub_init(struct ipc_hub *hub, uv_loop_t *loop)
{
	int r;

	memset(hub, 0, sizeof(*hub));
	LIST_INIT(&hub->dirty);
	r = uv_prepare_init(loop, &hub->prepare);
	if (r < 0)
		return r;
	hub->prepare.data = hub;
	r = uv_prepare_start(&hub->prepare, on_prepare);
	uv_unref((uv_handle_t *)&hub->prepare);
	return r;
}

void
ipc_hub_done(struct ipc_hub *hub)
{
	uv_close((uv_handle_t *)&hub->prepare, NULL);
}

static void on_poll(uv_poll_t *handle, int status, int events);

static void
poll_for(struct ipc_chan *c, int events)
{
	if (c->freed || c->down || c->events == events)
		return;
	c->events = events;
	(void)uv_poll_start(&c->poll, events, on_poll); /* fd is valid */
}

static void
mark_dirty(struct ipc_chan *c)
{
	if (!c->is_dirty && !c->freed) {
		LIST_INSERT_HEAD(&c->hub->dirty, c, dirty_link);
		c->is_dirty = true;
	}
}

static void
unmark_dirty(struct ipc_chan *c)
{
	if (c->is_dirty) {
		LIST_REMOVE(c, dirty_link);
		c->is_dirty = false;
	}
}

static void
send_hello(struct ipc_chan *c)
{
	struct ipc_wr *w = ipc_send_begin(c, IPC_HELLO, 0);

	ipc_wr_u32(w, IPC_VERSION);
	ipc_wr_u32(w, IPC_WINDOW);
	(void)ipc_send_end(c, -1); /* an empty buffer has room */
}

static int
index_rules(struct ipc_chan *c)
{
	size_t i;

	for (i = 0; i < c->spec->n_rules; i++) {
		const struct ipc_rule *rule = &c->spec->rules[i];

		if (rule->type < IPC_TYPE_FIRST || rule->type >= IPC_TYPES ||
		    rule->max > IPC_FRAME_MAX || c->by_type[rule->type] != NULL)
			return -EINVAL;
		c->by_type[rule->type] = rule;
	}
	return 0;
}

int
ipc_chan_new(struct ipc_hub *hub, int fd, const struct ipc_spec *spec,
    void *peer, struct ipc_chan **ret_chan)
{
	struct ipc_chan *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		(void)close(fd);
		return -ENOMEM;
	}
	c->hub = hub;
	c->spec = spec;
	c->peer = peer;
	c->fd = fd;
	c->granted = IPC_WINDOW;
	buf_init(&c->in, IPC_FRAME_MAX + IPC_HEADER_LEN + READ_SIZE);
	buf_init(&c->out, IPC_OUT_MAX);
	r = index_rules(c);
	if (r == 0) {
		int fl = fcntl(fd, F_GETFL);

		if (fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0)
			r = -errno;
	}
	if (r == 0)
		r = uv_poll_init(hub->prepare.loop, &c->poll, fd);
	if (r < 0) {
		(void)close(fd);
		free(c);
		return r;
	}
	c->poll.data = c;
	poll_for(c, UV_READABLE);
	send_hello(c);
	*ret_chan = c;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	struct ipc_chan *c = handle->data;

	(void)close(c->fd);
	buf_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static void
drop_fds(struct ipc_chan *c)
{
	while (c->n_fds_in > 0)
		(void)close(c->fds_in[--c->n_fds_in]);
	for (; c->n_fds_out > 0; c->n_fds_out--) {
		(void)close(c->fds_out[c->fds_out_head].fd);
		c->fds_out_head = (c->fds_out_head + 1) % FDS_OUT;
	}
}

void
ipc_chan_free(struct ipc_chan *c)
{
	if (c == NULL || c->freed)
		return;
	if (!c->down && !c->write_broken)
		ipc_chan_flush(c);
	unmark_dirty(c);
	c->freed = true;
	(void)uv_poll_stop(&c->poll);
	drop_fds(c);
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

/* The end of a channel, told once. The owner may free it in the callback. */
static void
go_down(struct ipc_chan *c, int why, const char *text)
{
	if (c->down || c->freed)
		return;
	c->down = true;
	c->up = false;
	unmark_dirty(c);
	(void)uv_poll_stop(&c->poll);
	drop_fds(c);
	c->spec->on_down(c->peer, why, text);
}

/* ---- sending --------------------------------------------------------------- */

static struct ipc_wr *
begin(struct ipc_chan *c, uint16_t type, uint64_t req_id, uint8_t flags)
{
	struct ipc_head h = { .type = type, .flags = flags, .req_id = req_id };
	uint8_t raw[IPC_HEADER_LEN];

	c->frame_start = buf_len(&c->out);
	c->frame_credit = (flags & FLAG_CREDIT) != 0;
	c->wr.b = &c->out;
	c->wr.err = c->down || c->freed || c->write_broken ? PE_GONE : 0;
	if (c->wr.err == 0) {
		ipc_head_format(&h, raw);
		c->wr.err = buf_put(&c->out, raw, sizeof(raw));
	}
	return &c->wr;
}

struct ipc_wr *
ipc_send_begin(struct ipc_chan *c, uint16_t type, uint64_t req_id)
{
	return begin(c, type, req_id, 0);
}

struct ipc_wr *
ipc_send_begin_credit(struct ipc_chan *c, uint16_t type, uint64_t req_id)
{
	return begin(c, type, req_id, FLAG_CREDIT);
}

int
ipc_send_end(struct ipc_chan *c, int fd)
{
	size_t len = 0;
	uint8_t *raw;
	uint32_t be;
	int r = c->wr.err;

	if (r == 0) {
		len = buf_len(&c->out) - c->frame_start - IPC_HEADER_LEN;
		if (len > IPC_FRAME_MAX)
			r = PE_TOO_LONG;
		else if (c->frame_credit && len > c->credit)
			r = PE_FULL;
		else if (fd >= 0 && c->n_fds_out == FDS_OUT)
			r = PE_FULL;
	}
	if (r < 0) {
		if (c->wr.err != PE_GONE)
			c->out.tail = c->out.head + c->frame_start;
		if (fd >= 0)
			(void)close(fd);
		if (r == PE_FULL)
			c->wants_room = true;
		return r;
	}
	raw = buf_data(&c->out) + c->frame_start;
	be = htobe32((uint32_t)len);
	memcpy(raw, &be, 4);
	raw[6] = fd >= 0 ? 1 : 0;
	if (c->frame_credit)
		c->credit -= len;
	if (fd >= 0) {
		size_t i = (c->fds_out_head + c->n_fds_out++) % FDS_OUT;

		c->fds_out[i].at = c->out_at + c->frame_start;
		c->fds_out[i].fd = fd;
	}
	mark_dirty(c);
	return 0;
}

/*
 * One sendmsg: up to the next descriptor's frame, with the descriptor when its
 * frame is first. Returns what sendmsg returns.
 */
static ssize_t
send_some(struct ipc_chan *c)
{
	union {
		char mem[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { buf_data(&c->out), buf_len(&c->out) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t k = c->fds_out_head, next = 0;
	bool with_fd = c->n_fds_out > 0 && c->fds_out[k].at == c->out_at;
	struct cmsghdr *cm;
	ssize_t n;

	if (with_fd)
		next = 1;
	if (c->n_fds_out > next) {
		uint64_t until =
		    c->fds_out[(k + next) % FDS_OUT].at - c->out_at;

		if (until < iov.iov_len)
			iov.iov_len = (size_t)until;
	}
	if (with_fd) {
		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.mem;
		mh.msg_controllen = sizeof(ctl.mem);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &c->fds_out[k].fd, sizeof(int));
	}
	n = sendmsg(c->fd, &mh, MSG_NOSIGNAL);
	if (n > 0 && with_fd) {
		/* the descriptor went with the first byte */
		(void)close(c->fds_out[k].fd);
		c->fds_out_head = (k + 1) % FDS_OUT;
		c->n_fds_out--;
	}
	return n;
}

void
ipc_chan_flush(struct ipc_chan *c)
{
	ssize_t n;

	unmark_dirty(c);
	while (!c->down && !c->write_broken && buf_len(&c->out) > 0) {
		n = send_some(c);
		if (n > 0) {
			c->out_at += (uint64_t)n;
			buf_drop(&c->out, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 &&
		    (errno == EAGAIN || errno == ETOOMANYREFS ||
			errno == ENOBUFS)) {
			poll_for(c, UV_READABLE | UV_WRITABLE);
			return;
		}
		/* the peer is gone; what it sent before is read first, and
		 * the end of that stream tells the owner */
		c->write_broken = true;
	}
	if (buf_len(&c->out) == 0)
		buf_reset(&c->out, OUT_KEEP);
	if (!c->freed)
		poll_for(c, UV_READABLE);
}

size_t
ipc_chan_credit(const struct ipc_chan *c)
{
	return c->down || c->freed ? 0 : (size_t)c->credit;
}

size_t
ipc_chan_backlog(const struct ipc_chan *c)
{
	return buf_len(&c->out);
}

void
ipc_chan_want_room(struct ipc_chan *c)
{
	c->wants_room = true;
	mark_dirty(c); /* the next turn looks, also when all is sent by then */
}

bool
ipc_chan_is_up(const struct ipc_chan *c)
{
	return c != NULL && c->up && !c->down && !c->freed;
}

static void
give_room(struct ipc_chan *c)
{
	if (!c->wants_room || c->down || c->freed ||
	    buf_len(&c->out) > IPC_WINDOW / 2)
		return;
	c->wants_room = false;
	if (c->spec->on_room != NULL)
		c->spec->on_room(c->peer);
}

static void
give_credit_back(struct ipc_chan *c)
{
	struct ipc_wr *w;

	if (c->hold || c->credit_back < IPC_WINDOW / 4 || c->down || c->freed)
		return;
	w = ipc_send_begin(c, IPC_CREDIT_BACK, 0);
	ipc_wr_u32(w, (uint32_t)c->credit_back);
	if (ipc_send_end(c, -1) == 0) {
		c->granted += c->credit_back;
		c->credit_back = 0;
	}
}

void
ipc_chan_hold(struct ipc_chan *c, bool hold)
{
	c->hold = hold;
	give_credit_back(c);
}

/* ---- receiving ------------------------------------------------------------- */

static int
on_hello(struct ipc_chan *c, struct ipc_rd *rd)
{
	uint32_t version = ipc_rd_u32(rd);
	uint32_t window = ipc_rd_u32(rd);

	if (ipc_rd_end(rd) < 0 || c->up || window > 64u * 1024 * 1024)
		return PE_PROTO;
	if (version != IPC_VERSION)
		return PE_VERSION;
	c->credit = window;
	c->up = true;
	if (c->spec->on_up != NULL)
		c->spec->on_up(c->peer);
	return 0;
}

static int
on_credit_back(struct ipc_chan *c, struct ipc_rd *rd)
{
	uint32_t n = ipc_rd_u32(rd);

	if (ipc_rd_end(rd) < 0 || !c->up || c->credit + n > 64u * 1024 * 1024)
		return PE_PROTO;
	c->credit += n;
	c->wants_room = true;
	give_room(c);
	return 0;
}

/* Is this frame one that the peer may send now? */
static int
check_rule(struct ipc_chan *c, const struct ipc_head *h,
    const struct ipc_rule **ret_rule)
{
	const struct ipc_rule *rule;
	bool credit = (h->flags & FLAG_CREDIT) != 0;

	if (h->type == IPC_HELLO || h->type == IPC_CREDIT_BACK) {
		*ret_rule = NULL;
		return h->nfds == 0 && !credit && h->len <= 16 ? 0 : PE_PROTO;
	}
	rule = h->type < IPC_TYPES ? c->by_type[h->type] : NULL;
	if (rule == NULL || !c->up || h->len < rule->min || h->len > rule->max)
		return PE_PROTO;
	if ((h->nfds == 1) != ((rule->flags & IPC_FD) != 0) ||
	    credit != ((rule->flags & IPC_CREDIT) != 0))
		return PE_PROTO;
	if (credit && h->len > c->granted)
		return PE_PROTO;
	if (c->spec->state != NULL &&
	    (c->spec->state(c->peer) & rule->when) == 0)
		return PE_PROTO;
	*ret_rule = rule;
	return 0;
}

static int
take_fd(struct ipc_chan *c)
{
	int fd;

	if (c->n_fds_in == 0)
		return -1;
	fd = c->fds_in[0];
	c->n_fds_in--;
	memmove(c->fds_in, c->fds_in + 1, c->n_fds_in * sizeof(int));
	return fd;
}

static int
dispatch(struct ipc_chan *c, const struct ipc_head *h,
    const struct ipc_rule *rule, const uint8_t *payload)
{
	struct ipc_msg m = { h->type, h->req_id, h->len, -1 };
	struct ipc_rd rd;
	int r;

	ipc_rd_init(&rd, payload, h->len);
	if (h->type == IPC_HELLO)
		return on_hello(c, &rd);
	if (h->type == IPC_CREDIT_BACK)
		return on_credit_back(c, &rd);
	if ((rule->flags & IPC_FD) != 0) {
		m.fd = take_fd(c);
		if (m.fd < 0)
			return PE_PROTO;
	}
	if ((rule->flags & IPC_CREDIT) != 0) {
		c->granted -= h->len;
		c->credit_back += h->len;
	}
	r = rule->handler(c->peer, &m, &rd);
	if (m.fd >= 0)
		(void)close(m.fd);
	if (r == 0)
		give_credit_back(c);
	return r;
}

/* Handle every whole frame that waits. Tells the end itself. */
static void
parse_frames(struct ipc_chan *c)
{
	const struct ipc_rule *rule = NULL;
	struct ipc_head h;
	char text[96];
	int r;

	while (!c->down && !c->freed && buf_len(&c->in) >= IPC_HEADER_LEN) {
		r = ipc_head_parse(buf_data(&c->in), &h);
		if (r == 0)
			r = check_rule(c, &h, &rule);
		if (r == 0) {
			if (buf_len(&c->in) < IPC_HEADER_LEN + (size_t)h.len)
				return;
			r = dispatch(
			    c, &h, rule, buf_data(&c->in) + IPC_HEADER_LEN);
		}
		if (r < 0) {
			(void)snprintf(text, sizeof(text),
			    "message type %u of %u bytes: %s", h.type, h.len,
			    err_str(r));
			go_down(c, r, text);
			return;
		}
		buf_drop(&c->in, IPC_HEADER_LEN + (size_t)h.len);
	}
}

/* Queue the descriptors of one recvmsg; false when the accounting breaks. */
static bool
collect_fds(struct ipc_chan *c, struct msghdr *mh)
{
	struct cmsghdr *cm;
	size_t i, n;
	bool ok = (mh->msg_flags & MSG_CTRUNC) == 0;
	int fd;

	for (cm = CMSG_FIRSTHDR(mh); cm != NULL; cm = CMSG_NXTHDR(mh, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(
			    &fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			if (ok && c->n_fds_in < FDS_IN) {
				c->fds_in[c->n_fds_in++] = fd;
			} else {
				(void)close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

/* 1 when bytes came, 0 when none wait, negative at the end. */
static int
read_some(struct ipc_chan *c)
{
	union {
		char mem[CMSG_SPACE(sizeof(int) * FDS_PER_READ)];
		struct cmsghdr align;
	} ctl;
	struct iovec iov;
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctl.mem,
		.msg_controllen = sizeof(ctl.mem) };
	ssize_t n;

	iov.iov_base = buf_room(&c->in, READ_SIZE);
	iov.iov_len = READ_SIZE;
	if (iov.iov_base == NULL)
		return -ENOMEM;
	do {
		n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : PE_GONE;
	if (!collect_fds(c, &mh))
		return PE_PROTO;
	if (n == 0)
		return PE_GONE;
	buf_added(&c->in, (size_t)n);
	return 1;
}

static void
read_turn(struct ipc_chan *c)
{
	int i, r = 1;

	for (i = 0; i < READS_PER_TURN && r > 0; i++) {
		r = read_some(c);
		if (r > 0)
			parse_frames(c);
		if (c->down || c->freed)
			return;
	}
	if (r == PE_GONE && buf_len(&c->in) > 0)
		go_down(c, PE_GONE, "closed inside a message");
	else if (r == PE_GONE && c->n_fds_in > 0)
		go_down(c, PE_PROTO, "descriptors that no message claims");
	else if (r < 0)
		go_down(c, r, r == PE_GONE ? "closed" : err_str(r));
	else if (buf_len(&c->in) == 0 && c->n_fds_in > 0)
		go_down(c, PE_PROTO, "descriptors that no message claims");
}

static void
on_poll(uv_poll_t *handle, int status, int events)
{
	struct ipc_chan *c = handle->data;

	/* status < 0 is an error on the socket: reading tells which */
	if (status < 0 || (events & UV_READABLE) != 0)
		read_turn(c);
	if (!c->down && !c->freed && (events & UV_WRITABLE) != 0) {
		ipc_chan_flush(c);
		give_room(c);
	}
}
