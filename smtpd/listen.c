/*
 * listen.c - accept clients, and stop accepting when that is wiser.
 *
 * Called by main.c, and by whoever finds a reason to pause. The sockets are
 * shared with the other intake processes: who is paused leaves the clients to
 * them, or in the kernel's line. Never waits, and never spins when the system
 * has no descriptors left.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "smtpd/smtpd.h"

enum {
	ACCEPTS_PER_TURN = 32, /* then the clients that are here */
	FDS_PAUSE_MS = 1000,
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void
arm(struct smtpd *d)
{
	size_t i;

	for (i = 0; i < d->n_acceptors; i++) {
		struct acceptor *a = &d->acceptors[i];

		if (d->paused == 0)
			(void)uv_poll_start(&a->poll, UV_READABLE, on_poll);
		else
			(void)uv_poll_stop(&a->poll);
	}
}

void
listen_pause(struct smtpd *d, unsigned why)
{
	unsigned before = d->paused;

	d->paused |= why;
	if (before == 0)
		arm(d);
}

void
listen_resume(struct smtpd *d, unsigned why)
{
	unsigned before = d->paused;

	d->paused &= ~why;
	if (before != 0 && d->paused == 0)
		arm(d);
}

static void
on_acceptor_closed(uv_handle_t *handle)
{
	struct acceptor *a = handle->data;

	(void)close(a->fd);
	a->fd = -1;
}

void
listen_stop(struct smtpd *d)
{
	size_t i;

	listen_pause(d, PAUSE_DRAIN);
	for (i = 0; i < d->n_acceptors; i++)
		uv_close(
		    (uv_handle_t *)&d->acceptors[i].poll, on_acceptor_closed);
	d->n_acceptors = 0;
	if (d->spare_fd >= 0)
		(void)close(d->spare_fd); /* the same socket once more */
	d->spare_fd = -1;
}

static void
on_fds_timer(uv_timer_t *timer)
{
	listen_resume(timer->data, PAUSE_FDS);
}

/*
 * No descriptors. The spare one lets one client in to be told; then a rest, so
 * that a line of waiting clients does not wake us for nothing.
 */
static void
out_of_fds(struct acceptor *a, int err)
{
	static const char text[] =
	    "421 Too many connections, try again later\r\n";
	struct smtpd *d = a->d;
	uint32_t skipped = 0;
	int fd;

	d->stats.fds_short++;
	d->fds_short_ms = clock_mono_ms();
	if (log_limit_ok(&d->emfile_log, 1, 60 * 1000, &skipped))
		log_warn("out_of_descriptors",
		    "smtpd: accept: %s; clients wait for %d ms (%u more times)",
		    strerror(err), FDS_PAUSE_MS, skipped);
	if (d->spare_fd >= 0) {
		(void)close(d->spare_fd);
		fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			(void)send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
			(void)close(fd);
		}
		d->spare_fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 0);
	}
	listen_pause(d, PAUSE_FDS);
	(void)uv_timer_start(&d->fds_timer, on_fds_timer, FDS_PAUSE_MS, 0);
}

/* Errors that belong to the client that was about to come (accept(2)). */
static bool
is_clients_error(int err)
{
	return err == EINTR || err == ECONNABORTED || err == EPERM ||
	    err == EPROTO || err == ENETDOWN || err == ENOPROTOOPT ||
	    err == EHOSTDOWN || err == ENONET || err == EHOSTUNREACH ||
	    err == EOPNOTSUPP || err == ENETUNREACH;
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct acceptor *a = poll->data;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, i;

	(void)status;
	(void)events;
	for (i = 0; i < ACCEPTS_PER_TURN && a->d->paused == 0; i++) {
		len = sizeof(ss);
		ss.ss_family = AF_UNSPEC;
		fd = accept4(a->fd, (struct sockaddr *)&ss, &len,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			conn_accept(a, fd, (struct sockaddr *)&ss);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (is_clients_error(errno))
			continue;
		out_of_fds(a, errno);
		return;
	}
}

static int
add(struct smtpd *d, struct child_listener *cl)
{
	struct acceptor *a = &d->acceptors[d->n_acceptors];
	size_t i;
	int r;

	a->d = d;
	a->from = cl;
	a->fd = cl->fd;
	(void)snprintf(a->name, sizeof(a->name), "%s", cl->name);
	(void)snprintf(a->address, sizeof(a->address), "%s", cl->address);
	/* several addresses of one listener are one listener */
	a->number = (uint16_t)d->n_acceptors;
	for (i = 0; i < d->n_acceptors; i++)
		if (strcmp(d->acceptors[i].name, a->name) == 0)
			a->number = d->acceptors[i].number;
	a->site = site_new(d->child->conf, a->name);
	if (a->site == NULL)
		return PE_CONFIG;
	r = uv_poll_init(d->child->loop, &a->poll, a->fd);
	if (r < 0) {
		log_warn("listen", "listener %s on %s: %s", a->name, a->address,
		    uv_strerror(r));
		return r;
	}
	a->poll.data = a;
	d->n_acceptors++;
	return 0;
}

int
listen_start(struct smtpd *d)
{
	struct rlimit rl;
	size_t i;
	int r;

	for (i = 0; i < d->child->n_listeners; i++) {
		if (strcmp(d->child->listeners[i].kind, "smtp") != 0)
			continue;
		r = add(d, &d->child->listeners[i]);
		if (r < 0)
			return r;
	}
	r = uv_timer_init(d->child->loop, &d->fds_timer);
	if (r < 0)
		return r;
	d->fds_timer.data = d;
	d->spare_fd = d->n_acceptors == 0
	    ? -1
	    : fcntl(d->acceptors[0].fd, F_DUPFD_CLOEXEC, 0);
	d->max_conns = 1024;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur > 2 * FDS_KEPT)
		d->max_conns = (size_t)rl.rlim_cur - FDS_KEPT;
	arm(d);
	return 0;
}
