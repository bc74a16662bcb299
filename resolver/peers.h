/*
 * peers.h - this process: its resolver, and the channels of those who ask.
 */
#ifndef POSTERN_RESOLVER_PEERS_H
#define POSTERN_RESOLVER_PEERS_H

#include <sys/queue.h>
#include <uv.h>

#include "lib/proto/roles.h"
#include "resolver/probe.h"
#include "resolver/resolver.h"

struct admin;
struct child;
struct client;

enum { EARLY_PEERS_MAX = 256 };

struct early_peer {
	enum role role;
	uint32_t instance;
	int fd;
};

struct app {
	struct child *child;
	struct resolver *r; /* NULL until setup */
	struct probe probe;
	bool wants_dane; /* some destination does */
	int seen_fd;	 /* who validated, or -1 */
	uv_timer_t seen_timer;
	LIST_HEAD(client_list, client) clients; /* deliver, later policyd */
	LIST_HEAD(admin_list, admin) admins;
	uv_timer_t drain;
	bool started;
	size_t n_early; /* channels that came before start() */
	struct early_peer early[EARLY_PEERS_MAX];
};

/*
 * Which servers validated, kept over restarts (seen.c). load: before the
 * lock-down, and from then on what is new is written. save: now; failing costs
 * the memory only and is logged.
 */
void seen_load(struct app *app);
void seen_save(struct app *app);

/* A new channel; fd is taken. Failures are logged. */
void client_open(struct app *app, enum role role, uint32_t instance, int fd);
void admin_open(struct app *app, uint32_t instance, int fd);

/* While draining: a client has gone; the last one ends the process. */
void app_client_gone(struct app *app);

#endif
