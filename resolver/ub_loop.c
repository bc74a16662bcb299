/*
 * ub_loop.c - the event base that libunbound asks for (unbound-event.h), made
 * of uv_poll_t and uv_timer_t.
 *
 * It behaves as libevent does: events are level-triggered; one that is not
 * persistent is off before its callback runs; the time-out of a persistent one
 * starts anew with each event. A callback may free its own event. Signals are
 * never asked for.
 *
 * A descriptor is watched by a handle of its own each time an event is added:
 * libunbound closes descriptors itself, right after del(), and libuv must have
 * let go of them by then.
 */
#ifdef POSTERN_UNBOUND

#include "resolver/ub_loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

#include <unbound-event.h>

typedef void event_cb(int fd, short bits, void *arg);

struct ub_loop {
	struct ub_event_base base; /* first: libunbound knows us by it */
	uv_loop_t *loop;
	size_t n_open; /* events and watches that are not closed */
	bool freed;
};

struct event;

struct watch {
	uv_poll_t poll;
	struct event *ev; /* NULL: stopped */
	struct ub_loop *l;
};

struct event {
	struct ub_event pub; /* first */
	struct ub_loop *l;
	uv_timer_t timer;
	struct watch *watch; /* NULL: not watched */
	int fd;		     /* -1: a timer */
	short bits;
	uint64_t timeout_ms;
	bool timed;
	event_cb *cb;
	void *arg;
};

static void
one_closed(struct ub_loop *l)
{
	if (--l->n_open == 0 && l->freed)
		free(l);
}

/* ---- watching --------------------------------------------------------------
 */

static void
on_watch_closed(uv_handle_t *h)
{
	struct watch *w = h->data;
	struct ub_loop *l = w->l;

	free(w);
	one_closed(l);
}

static void
event_stop(struct event *ev)
{
	struct watch *w = ev->watch;

	(void)uv_timer_stop(&ev->timer);
	ev->timed = false;
	ev->watch = NULL;
	if (w == NULL)
		return;
	w->ev = NULL;
	(void)uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_timer(uv_timer_t *t);

static void
timer_again(struct event *ev)
{
	(void)uv_timer_start(&ev->timer, on_timer, ev->timeout_ms, 0);
}

/* Not to be touched afterwards: the callback may have freed it. */
static void
event_fire(struct event *ev, short bits)
{
	if ((ev->bits & UB_EV_PERSIST) == 0)
		event_stop(ev);
	else if (ev->timed)
		timer_again(ev);
	ev->cb(ev->fd, bits, ev->arg);
}

static void
on_timer(uv_timer_t *t)
{
	event_fire(t->data, UB_EV_TIMEOUT);
}

static void
on_poll(uv_poll_t *p, int status, int events)
{
	struct watch *w = p->data;
	short bits = 0;

	if (w->ev == NULL)
		return;
	if (status < 0) /* the next read or write tells which error */
		events = UV_READABLE | UV_WRITABLE;
	if ((events & UV_READABLE) != 0)
		bits |= UB_EV_READ;
	if ((events & UV_WRITABLE) != 0)
		bits |= UB_EV_WRITE;
	bits &= w->ev->bits;
	if (bits != 0)
		event_fire(w->ev, bits);
}

static int
watch_start(struct event *ev)
{
	struct watch *w = calloc(1, sizeof(*w));
	int events = 0;

	if (w == NULL)
		return -1;
	if (uv_poll_init(ev->l->loop, &w->poll, ev->fd) < 0) {
		free(w);
		return -1;
	}
	w->poll.data = w;
	w->ev = ev;
	w->l = ev->l;
	ev->l->n_open++;
	ev->watch = w;
	if ((ev->bits & UB_EV_READ) != 0)
		events |= UV_READABLE;
	if ((ev->bits & UB_EV_WRITE) != 0)
		events |= UV_WRITABLE;
	if (uv_poll_start(&w->poll, events, on_poll) < 0) {
		event_stop(ev);
		return -1;
	}
	return 0;
}

/* ---- what libunbound calls -------------------------------------------------
 */

static struct event *
event_of(struct ub_event *pub)
{
	return (struct event *)pub;
}

static void
add_bits(struct ub_event *pub, short bits)
{
	event_of(pub)->bits |= bits;
}

static void
del_bits(struct ub_event *pub, short bits)
{
	event_of(pub)->bits &= (short)~bits;
}

static void
set_fd(struct ub_event *pub, int fd)
{
	event_of(pub)->fd = fd;
}

static void
on_event_closed(uv_handle_t *h)
{
	struct event *ev = h->data;
	struct ub_loop *l = ev->l;

	free(ev);
	one_closed(l);
}

static void
event_free(struct ub_event *pub)
{
	struct event *ev = event_of(pub);

	event_stop(ev);
	uv_close((uv_handle_t *)&ev->timer, on_event_closed);
}

static int
event_add(struct ub_event *pub, struct timeval *tv)
{
	struct event *ev = event_of(pub);

	event_stop(ev);
	if (ev->fd >= 0 && (ev->bits & (UB_EV_READ | UB_EV_WRITE)) != 0 &&
	    watch_start(ev) < 0)
		return -1;
	if (tv != NULL && (ev->bits & UB_EV_TIMEOUT) != 0) {
		ev->timed = true;
		ev->timeout_ms = (uint64_t)tv->tv_sec * 1000 +
		    ((uint64_t)tv->tv_usec + 999) / 1000;
		timer_again(ev);
	}
	return 0;
}

static int
event_del(struct ub_event *pub)
{
	event_stop(event_of(pub));
	return 0;
}

static int
add_timer(struct ub_event *pub, struct ub_event_base *base, event_cb *cb,
    void *arg, struct timeval *tv)
{
	struct event *ev = event_of(pub);

	(void)base; /* an event has one for life */
	ev->cb = cb;
	ev->arg = arg;
	ev->bits |= UB_EV_TIMEOUT;
	return event_add(pub, tv);
}

static int
no_signal(struct ub_event *pub, struct timeval *tv)
{
	(void)pub;
	(void)tv;
	return -1;
}

static struct ub_event_vmt event_vmt = {
	.add_bits = add_bits,
	.del_bits = del_bits,
	.set_fd = set_fd,
	.free = event_free,
	.add = event_add,
	.del = event_del,
	.add_timer = add_timer,
	.del_timer = event_del,
	.add_signal = no_signal,
	.del_signal = event_del,
};

static struct ub_event *
new_event(
    struct ub_event_base *base, int fd, short bits, event_cb *cb, void *arg)
{
	struct ub_loop *l = (struct ub_loop *)base;
	struct event *ev = calloc(1, sizeof(*ev));

	if (ev == NULL)
		return NULL;
	ev->pub.magic = UB_EVENT_MAGIC;
	ev->pub.vmt = &event_vmt;
	ev->l = l;
	ev->fd = fd;
	ev->bits = bits;
	ev->cb = cb;
	ev->arg = arg;
	(void)uv_timer_init(l->loop, &ev->timer); /* cannot fail */
	ev->timer.data = ev;
	l->n_open++;
	return &ev->pub;
}

static struct ub_event *
new_signal(struct ub_event_base *base, int fd, event_cb *cb, void *arg)
{
	(void)base;
	(void)fd;
	(void)cb;
	(void)arg;
	return NULL;
}

static void
base_free(struct ub_event_base *base)
{
	(void)base; /* ub_loop_free() does it */
}

static int
base_dispatch(struct ub_event_base *base)
{
	(void)base; /* the loop is ours */
	return 0;
}

static int
base_loopexit(struct ub_event_base *base, struct timeval *tv)
{
	(void)base;
	(void)tv;
	return 0;
}

static struct ub_event_base_vmt base_vmt = {
	.free = base_free,
	.dispatch = base_dispatch,
	.loopexit = base_loopexit,
	.new_event = new_event,
	.new_signal = new_signal,
};

/* ---- life ------------------------------------------------------------------
 */

struct ub_loop *
ub_loop_new(uv_loop_t *loop)
{
	struct ub_loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->base.magic = UB_EVENT_MAGIC;
	l->base.vmt = &base_vmt;
	l->loop = loop;
	return l;
}

struct ub_event_base *
ub_loop_base(struct ub_loop *l)
{
	return &l->base;
}

void
ub_loop_free(struct ub_loop *l)
{
	if (l == NULL)
		return;
	l->freed = true;
	if (l->n_open == 0)
		free(l);
}

#else
typedef int ub_loop_is_empty; /* ISO C wants something */
#endif
