/*
 * policyd.h - this process: its parts, and what its files ask of each other.
 */
#ifndef POSTERN_POLICYD_POLICYD_H
#define POSTERN_POLICYD_POLICYD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "lib/dns/dns.h"
#include "lib/proto/roles.h"
#include "lib/sts/fetch.h"
#include "policyd/policy.h"
#include "policyd/store.h"

struct admin;
struct child;
struct conf;
struct ipc_chan;
struct worker;

enum {
	EARLY_PEERS_MAX = 256,
	ASKS_MAX = 4096, /* questions to the resolver, open */
};

struct early_peer {
	enum role role;
	uint32_t instance;
	int fd;
};

/* ---- peer_resolver.c ---- */

/* One question; its answer comes once, never inside ask_start(). */
struct ask;
typedef void ask_done(void *arg, const struct dns_answer *answer);
TAILQ_HEAD(ask_list, ask);

struct resolver_peer {
	struct ipc_chan *chan; /* NULL: it is away */
	uint32_t instance;
	uv_timer_t timer;
	struct ask_list asks; /* oldest first */
	uint32_t n_asks;
	uint64_t next_id;
};

struct counters {
	uint64_t asked, fresh, cache_hits, kept, indeterminate, grace_over,
	    healed, refreshes, refresh_failures, corrupt, expired, busy,
	    save_failures;
	uint64_t fetches[STS_FETCH_WHY_COUNT];
};

/* The last policy that could not be stored. */
struct save_failed {
	bool ever;
	int64_t at_ms;
	char text[64];
};

struct app {
	struct child *child;
	struct policy_clock clock;
	struct store *store;	     /* NULL until setup */
	struct sts_fetcher *fetcher; /* the same */
	struct policy *policy;
	struct resolver_peer resolver;
	LIST_HEAD(worker_list, worker) workers;
	LIST_HEAD(admin_list, admin) admins;
	LIST_HEAD(job_list, job) jobs; /* fetches under way */
	uv_timer_t tick, drain;
	bool started;
	struct counters n;
	struct save_failed save_failed;
	size_t n_early; /* channels that came before start() */
	struct early_peer early[EARLY_PEERS_MAX];
};

int64_t app_now_s(struct app *app);

/* While draining: a worker has gone; the last one ends the process. */
void app_worker_gone(struct app *app);

/* A new channel; fd is taken. Failures are logged. */
void worker_open(struct app *app, enum role role, uint32_t instance, int fd);
void admin_open(struct app *app, uint32_t instance, int fd);
void resolver_open(struct app *app, uint32_t instance, int fd);
void resolver_init(struct app *app);

/* NULL: memory, or too many. fresh: past the cache of the resolver. */
struct ask *ask_start(struct app *app, const char *name, uint16_t type,
    bool fresh, ask_done *done, void *arg);
void ask_cancel(struct ask *a);

/* ---- discover.c ---- */

/* The ops of policy.h. */
extern const struct policy_ops app_ops;

/* One lookup of a TXT record, or of the policy host's addresses and a fetch
 * from there. cb comes once, never inside (unless memory is short); what it
 * gets is borrowed, the policy may be taken. 0, or negative: no cb. */
struct job;
typedef void discover_txt_cb(
    void *arg, const char *domain, const struct sts_txt *txt);
typedef void discover_fetch_cb(void *arg, const char *domain,
    struct sts_fetch_result *res, const struct sts_addr *addrs, size_t n_addrs);
int discover_txt(struct app *app, const char *domain, bool fresh,
    discover_txt_cb *cb, void *arg, struct job **ret_job);
int discover_fetch(struct app *app, const char *domain, discover_fetch_cb *cb,
    void *arg, struct job **ret_job);
/* Are the addresses known, and is it being fetched? NULL is fine. */
bool discover_is_fetching(const struct job *j);
/* No cb any more; not after it came. NULL is fine. */
void discover_cancel(struct job *j);
void jobs_cancel(struct app *app);

/* ---- check.c: sts check, our part ---- */

struct buf;
struct check;
/* doc is borrowed; the check is gone. */
typedef void check_done(void *arg, const struct buf *doc, int err);
/* 0, PE_SYNTAX, PE_FULL, -ENOMEM. */
int check_start(struct app *app, const char *domain, check_done *done,
    void *arg, struct check **ret_check);
void check_cancel(struct check *c); /* NULL is fine */
void checks_stop(void);		    /* all are answered by an error */

/* ---- check_keep.c: a check's fetch serves the delivery after it ---- */

void check_keep(const char *domain, const char *id,
    const struct sts_fetch_result *res); /* copies */
/* True: cb comes once, later, with what a check fetched for this id. */
bool check_keep_take(struct app *app, const char *domain, const char *id,
    discover_fetch_cb *cb, void *arg);
void check_keep_done(void);

/* ---- events.c: what happened, into the log and the counters ---- */

void app_event(void *arg, const struct policy_event *ev);
/* "": policies have been stored well for a while. Returns buf. */
const char *app_save_alert(
    const struct app *app, int64_t mono_ms, char *buf, size_t len);

#endif
