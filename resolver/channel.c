/*
 * channel.c - one c-ares channel to one server, on uv_poll and one timer.
 *
 * Called by upstream.c. c-ares calls back from inside ares_send() and
 * ares_process_fd(); finished queries are put on a list there and handed out
 * when c-ares has returned, so that nobody calls into it from its own callback.
 *
 * The traps of c-ares 1.18.1 that shape this file:
 *  - NOCHECKRESP, or a SERVFAIL arrives as "no server" without its packet;
 *  - EDNS on the channel, or UDP replies over 512 bytes are repeated over TCP;
 *  - every option that resolv.conf could set is set, or ares_init reads that
 *    file each time. It still tries /dev/urandom, for query ids that are never
 *    used (ours are from getrandom(2)), and does without when it is not there:
 *    so a channel can be made in an empty root directory;
 *  - sock_state_cb(fd, 0, 0) comes just before close(fd): the poll handle must
 *    be stopped there and then;
 *  - no STAYOPEN: an idle channel holds no socket, and the next burst of
 *    questions gets another source port.
 */
#include "resolver/channel.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "lib/dns/wire.h"

enum { SOCKET_BUFFER = 1 << 20 };

struct flight {
	TAILQ_ENTRY(flight) link; /* of done */
	struct channel *ch;
	flight_cb *cb; /* NULL: forgotten */
	void *arg;
	uint16_t id;
	int status;
	uint8_t *pkt;
	size_t len;
};

struct poll {
	uv_poll_t handle;
	LIST_ENTRY(poll) link;
	struct channel *ch;
	ares_socket_t fd;
};

struct channel {
	uv_loop_t *loop;
	ares_channel ares;
	uv_timer_t timer; /* c-ares' next time-out */
	uv_timer_t soon;  /* hand out what finished inside ares_send() */
	LIST_HEAD(poll_list, poll) polls;
	TAILQ_HEAD(flight_list, flight) done;
	unsigned handles; /* open, or being closed */
	unsigned flights; /* not handed out yet */
	bool closing, retiring;
	uint8_t ids[65536 / 8]; /* in use */
};

static void rearm(struct channel *ch);

int
channel_library_init(void)
{
	return ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS ? 0 : -EIO;
}

/* ---- handles ---------------------------------------------------------------
 */

static void
handle_closed(struct channel *ch)
{
	if (--ch->handles == 0)
		free(ch);
}

static void
on_timer_closed(uv_handle_t *h)
{
	handle_closed(h->data);
}

static void
on_poll_closed(uv_handle_t *h)
{
	struct poll *p = h->data;
	struct channel *ch = p->ch;

	free(p);
	handle_closed(ch);
}

/* Hand out what is finished. A callback may send, or free the channel. */
static void
settle(struct channel *ch)
{
	struct flight *f;

	while (!ch->closing && (f = TAILQ_FIRST(&ch->done)) != NULL) {
		TAILQ_REMOVE(&ch->done, f, link);
		ch->flights--;
		if (f->cb != NULL)
			f->cb(f->arg, f->status, f->pkt, f->len);
		free(f->pkt);
		free(f);
	}
	if (!ch->closing && ch->retiring && ch->flights == 0)
		channel_free(ch);
	if (!ch->closing)
		rearm(ch);
}

static void
on_poll(uv_poll_t *h, int status, int events)
{
	struct poll *p = h->data;
	struct channel *ch = p->ch;
	ares_socket_t fd = p->fd;

	/* an error of the poll is for c-ares to find out on the socket */
	if (status < 0)
		events = UV_READABLE | UV_WRITABLE;
	ares_process_fd(ch->ares,
	    (events & UV_READABLE) != 0 ? fd : ARES_SOCKET_BAD,
	    (events & UV_WRITABLE) != 0 ? fd : ARES_SOCKET_BAD);
	/* p may be gone */
	settle(ch);
}

static void
on_timeout(uv_timer_t *t)
{
	struct channel *ch = t->data;

	ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	settle(ch);
}

static void
on_soon(uv_timer_t *t)
{
	settle(t->data);
}

static void
rearm(struct channel *ch)
{
	struct timeval tv, *next = ares_timeout(ch->ares, NULL, &tv);

	if (next == NULL) {
		(void)uv_timer_stop(&ch->timer);
		return;
	}
	(void)uv_timer_start(&ch->timer, on_timeout,
	    (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1,
	    0);
}

static struct poll *
poll_find(struct channel *ch, ares_socket_t fd)
{
	struct poll *p;

	LIST_FOREACH(p, &ch->polls, link) {
		if (p->fd == fd)
			return p;
	}
	return NULL;
}

static struct poll *
poll_new(struct channel *ch, ares_socket_t fd)
{
	struct poll *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	if (uv_poll_init_socket(ch->loop, &p->handle, fd) < 0) {
		free(p);
		return NULL;
	}
	p->handle.data = p;
	p->ch = ch;
	p->fd = fd;
	LIST_INSERT_HEAD(&ch->polls, p, link);
	ch->handles++;
	return p;
}

static void
on_sock_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct channel *ch = data;
	struct poll *p = poll_find(ch, fd);
	int events =
	    (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);

	if (events == 0) {
		if (p == NULL)
			return;
		/* c-ares closes fd when we return */
		(void)uv_poll_stop(&p->handle);
		LIST_REMOVE(p, link);
		uv_close((uv_handle_t *)&p->handle, on_poll_closed);
		return;
	}
	if (p == NULL)
		p = poll_new(ch, fd);
	if (p == NULL)
		return; /* out of memory: the query will time out */
	(void)uv_poll_start(&p->handle, events, on_poll);
}

/* ---- life ------------------------------------------------------------------
 */

static int
ares_open(struct channel *ch, const char *server, int64_t try_ms)
{
	struct in_addr nobody = { htonl(INADDR_LOOPBACK) };
	char lookups[] = "b";
	struct ares_options o = {
		.flags = ARES_FLAG_EDNS | ARES_FLAG_NOCHECKRESP |
		    ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = (int)try_ms,
		.tries = 1,
		.ednspsz = DNS_EDNS_UDP_SIZE,
		.lookups = lookups,
		/* the kernel cuts them to its maximum */
		.socket_send_buffer_size = SOCKET_BUFFER,
		.socket_receive_buffer_size = SOCKET_BUFFER,
		.sock_state_cb = on_sock_state,
		.sock_state_cb_data = ch,
		/* only so that nothing is left to read from resolv.conf */
		.ndots = 1,
		.servers = &nobody,
		.nservers = 1,
	};
	int r;

	r = ares_init_options(&ch->ares, &o,
	    ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
		ARES_OPT_SOCK_SNDBUF | ARES_OPT_SOCK_RCVBUF | ARES_OPT_NDOTS |
		ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST |
		ARES_OPT_NOROTATE);
	if (r != ARES_SUCCESS)
		return r == ARES_ENOMEM ? -ENOMEM : -EIO;
	r = ares_set_servers_ports_csv(ch->ares, server);
	if (r == ARES_SUCCESS)
		return 0;
	ares_destroy(ch->ares);
	return r == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

int
channel_new(uv_loop_t *loop, const char *server, int64_t try_ms,
    struct channel **ret_channel)
{
	struct channel *ch = calloc(1, sizeof(*ch));
	int r;

	if (ch == NULL)
		return -ENOMEM;
	ch->loop = loop;
	LIST_INIT(&ch->polls);
	TAILQ_INIT(&ch->done);
	r = ares_open(ch, server, try_ms);
	if (r < 0) {
		free(ch);
		return r;
	}
	(void)uv_timer_init(loop, &ch->timer); /* cannot fail */
	(void)uv_timer_init(loop, &ch->soon);
	ch->timer.data = ch->soon.data = ch;
	ch->handles = 2;
	*ret_channel = ch;
	return 0;
}

void
channel_free(struct channel *ch)
{
	struct flight *f;

	if (ch == NULL || ch->closing)
		return;
	ch->closing = true;
	ares_destroy(ch->ares); /* every query ends in on_ares() below */
	while ((f = TAILQ_FIRST(&ch->done)) != NULL) {
		TAILQ_REMOVE(&ch->done, f, link);
		free(f->pkt);
		free(f);
	}
	uv_close((uv_handle_t *)&ch->timer, on_timer_closed);
	uv_close((uv_handle_t *)&ch->soon, on_timer_closed);
}

void
channel_retire(struct channel *ch)
{
	ch->retiring = true;
	(void)uv_timer_start(&ch->soon, on_soon, 0, 0);
}

bool
channel_lost_edns(const struct channel *ch)
{
	struct ares_options o;
	int mask;
	bool lost;

	if (ares_save_options(ch->ares, &o, &mask) != ARES_SUCCESS)
		return false;
	lost = (o.flags & ARES_FLAG_EDNS) == 0;
	ares_destroy_options(&o);
	return lost;
}

/* ---- queries ---------------------------------------------------------------
 */

static int
errno_of(int ares_status)
{
	switch (ares_status) {
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ENOMEM:
		return -ENOMEM;
	case ARES_ECONNREFUSED:
		return -ECONNREFUSED;
	case ARES_ECANCELLED:
	case ARES_EDESTRUCTION:
		return -ECANCELED;
	default:
		return -EIO;
	}
}

static void
on_ares(void *arg, int status, int timeouts, unsigned char *abuf, int alen)
{
	struct flight *f = arg;
	struct channel *ch = f->ch;

	(void)timeouts;
	ch->ids[f->id / 8] &= (uint8_t) ~(1u << (f->id % 8));
	f->status = -EIO;
	if (abuf != NULL && alen > 0) {
		f->pkt = malloc((size_t)alen);
		f->status = f->pkt == NULL ? -ENOMEM : 0;
		if (f->pkt != NULL) {
			memcpy(f->pkt, abuf, (size_t)alen);
			f->len = (size_t)alen;
		}
	} else if (status != ARES_SUCCESS) {
		f->status = errno_of(status);
	}
	TAILQ_INSERT_TAIL(&ch->done, f, link);
}

static int
id_take(struct channel *ch, uint16_t *ret_id)
{
	uint16_t id;
	int i;

	/* a few hundred of 65536 are in use: a few draws are enough */
	for (i = 0; i < 64; i++) {
		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			return -EIO;
		if ((ch->ids[id / 8] & 1u << (id % 8)) == 0) {
			ch->ids[id / 8] |= (uint8_t)(1u << (id % 8));
			*ret_id = id;
			return 0;
		}
	}
	return -EBUSY;
}

struct flight *
channel_send(
    struct channel *ch, uint8_t *query, size_t len, flight_cb *cb, void *arg)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	if (id_take(ch, &f->id) < 0) {
		free(f);
		return NULL;
	}
	f->ch = ch;
	f->cb = cb;
	f->arg = arg;
	ch->flights++;
	query[0] = (uint8_t)(f->id >> 8);
	query[1] = (uint8_t)f->id;
	ares_send(ch->ares, query, (int)len, on_ares, f);
	if (!TAILQ_EMPTY(&ch->done))
		(void)uv_timer_start(&ch->soon, on_soon, 0, 0);
	rearm(ch);
	return f;
}

void
flight_forget(struct flight *f)
{
	if (f != NULL)
		f->cb = NULL;
}
