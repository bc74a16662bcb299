/*
 * listen.c - bind every listening socket of the settings, once, at start.
 *
 * smtpd gets the [listener NAME] sockets, admin the control socket and the HTTP
 * ones. Each problem is one clear line on stderr.
 */
#include "lib/conf/conf.h"
#include "lib/proc/exit.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static struct node_socket *
add(struct node *n, enum role role, const char *kind, const char *name,
    const char *address, int fd)
{
	struct node_socket *s;

	if (n->n_sockets == SOCKETS_MAX) {
		(void)fprintf(stderr,
		    "postern: more than %d listening addresses\n", SOCKETS_MAX);
		(void)close(fd);
		return NULL;
	}
	s = &n->sockets[n->n_sockets++];
	s->role = role;
	s->fd = fd;
	(void)snprintf(s->kind, sizeof(s->kind), "%s", kind);
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	(void)snprintf(s->address, sizeof(s->address), "%s", address);
	return s;
}

static int
bind_tcp(const union conf_addr *addr)
{
	const int one = 1;
	int fd, saved;

	fd = socket(
	    addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (addr->sa.sa_family == AF_INET6)
		(void)setsockopt(
		    fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &addr->sa, conf_addr_len(addr)) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

static const char *
what_to_do(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "; another program has that port";
	case EACCES:
		return "; ports below 1024 need a start as root";
	case EADDRNOTAVAIL:
		return "; this host has no such address";
	default:
		return "";
	}
}

static int
listen_all(struct node *n, enum role role, const char *kind, const char *name,
    const struct conf_addrs *addrs)
{
	char text[64];
	size_t i;
	int fd;

	for (i = 0; i < addrs->n; i++) {
		(void)conf_addr_format(&addrs->v[i], text, sizeof(text));
		fd = bind_tcp(&addrs->v[i]);
		if (fd < 0) {
			(void)fprintf(stderr,
			    "postern: cannot listen on %s for %s %s: %s%s\n",
			    text, kind, name, strerror(errno),
			    what_to_do(errno));
			return EXIT_CODE_CONFIG;
		}
		if (add(n, role, kind, name, text, fd) == NULL)
			return EXIT_CODE_CONFIG;
	}
	return 0;
}

static int
listen_control(struct node *n)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *path = n->socket_path;
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		(void)fprintf(stderr,
		    "postern: control socket '%s' is %zu bytes long; at most "
		    "%zu fit: choose a shorter run_dir\n",
		    path, strlen(path), sizeof(sun.sun_path) - 1);
		return EXIT_CODE_CONFIG;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* the lock on run_dir is ours, so nobody serves the old one any more */
	(void)unlink(path);
	n->has_socket = true;
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    chmod(path, 0660) < 0 || listen(fd, 128) < 0) {
		(void)fprintf(stderr, "postern: control socket %s: %s\n", path,
		    strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return EXIT_CODE_START;
	}
	return add(n, ROLE_ADMIN, "control", "", path, fd) == NULL
	    ? EXIT_CODE_CONFIG
	    : 0;
}

int
node_listen(struct node *n)
{
	size_t i;
	int r = 0;

	for (i = 0; i < n->conf->n_listeners && r == 0; i++)
		r = listen_all(n, ROLE_SMTPD, "smtp",
		    n->conf->listeners[i].name, &n->conf->listeners[i].address);
	if (r == 0)
		r = listen_all(
		    n, ROLE_ADMIN, "http", "admin", &n->conf->admin.listen);
	if (r == 0)
		r = listen_control(n);
	return r;
}

void
node_stop_listening(struct node *n)
{
	size_t i;

	/* a socket that stays open here would go on filling its backlog */
	for (i = 0; i < n->n_sockets; i++)
		if (n->sockets[i].role == ROLE_SMTPD && n->sockets[i].fd >= 0) {
			(void)close(n->sockets[i].fd);
			n->sockets[i].fd = -1;
		}
}
