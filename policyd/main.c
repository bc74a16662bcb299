/*
 * main.c - postern-policyd: MTA-STS policies for the workers.
 *
 * Knows domains and policies, not mail. Resolves no name itself and opens no
 * file after setup(): the CA certificates come with the settings, the store is
 * open, and libcurl has read what it reads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "policyd/policyd.h"
#include "policyd/store_db.h"

enum {
	TICK_MS = 1000,
	DUE_BATCH = 256,      /* more than can be busy with hosts that hang */
	CLOCK_AHEAD_S = 3600, /* of the store's clock: worth a line */
};

int64_t
app_now_s(struct app *app)
{
	return policy_clock_now(&app->clock, clock_now_s(), clock_mono_ms());
}

/* ---- settings --------------------------------------------------------------
 */

static void
policy_settings_fill(struct policy_settings *set, const struct conf_mta_sts *c)
{
	set->grace_ms = c->discovery_grace_ms;
	set->refresh_s = c->refresh_ms / 1000;
	set->max_fetches = c->max_fetches;
}

/* Without certificates no policy can be fetched: the stored ones still hold,
 * and mail to other domains that announce one waits. */
static void
fetch_settings_fill(struct sts_fetch_settings *set, const struct conf *conf)
{
	const struct conf_mta_sts *c = &conf->mta_sts;

	memset(set, 0, sizeof(*set));
	if (c->ca_file != NULL)
		(void)conf_file(conf, c->ca_file, &set->ca, &set->ca_len);
	set->total_ms = c->fetch_timeout_ms;
	set->connect_ms = c->connect_timeout_ms;
	set->port = c->port;
	set->proxy = c->proxy;
}

/* 0, or why the settings cannot be had. */
static int
configure(struct app *app, const struct conf *conf)
{
	const char *file = conf->mta_sts.ca_file;
	struct sts_fetch_settings set;
	int r;

	fetch_settings_fill(&set, conf);
	r = app->fetcher == NULL
	    ? sts_fetcher_new(app->child->loop, &set, &app->fetcher)
	    : sts_fetcher_configure(app->fetcher, &set);
	if (r == PE_TLS) { /* the file is there, and holds none */
		set.ca = NULL;
		set.ca_len = 0;
		r = app->fetcher == NULL
		    ? sts_fetcher_new(app->child->loop, &set, &app->fetcher)
		    : sts_fetcher_configure(app->fetcher, &set);
	}
	if (r == 0 && !sts_fetcher_can(app->fetcher))
		log_event(LOG_CRITICAL, "sts_ca", NULL,
		    "policyd: no CA certificates from %s: no MTA-STS policy "
		    "can be fetched, and mail to domains that announce one "
		    "waits, unless it is stored; wanted [mta-sts] ca_file or "
		    "[trust] ca_file",
		    file != NULL ? LOG_Q(file) : "any file");
	return r;
}

static int
on_reload(struct child *c, void *arg, const struct conf *old_conf,
    struct conf *new_conf)
{
	struct app *app = arg;
	struct policy_settings set;
	int r;

	(void)c;
	(void)old_conf;
	r = configure(app, new_conf);
	if (r < 0) {
		log_warn("reload_failed", "policyd: %s", err_str(r));
		return r;
	}
	policy_settings_fill(&set, &new_conf->mta_sts);
	policy_set(app->policy, &set);
	store_set_max(app->store, new_conf->mta_sts.max_policies);
	return 0;
}

/* ---- refreshing --------------------------------------------------------------
 */

static void
look_for_due(struct app *app)
{
	static struct store_due due[DUE_BATCH]; /* large; used in here only */
	int64_t now = app_now_s(app);
	size_t n, i;

	if (policy_refresh_room(app->policy) == 0)
		return;
	n = store_due(app->store, now, DUE_BATCH, due);
	for (i = 0; i < n; i++)
		if (policy_refresh(app->policy, due[i].domain) ==
		    POLICY_DUE_LIES)
			/* full or no memory: named again next time */
			(void)store_drop_due(app->store, &due[i], now);
}

static void
on_tick(uv_timer_t *t)
{
	struct app *app = t->data;

	policy_tick(app->policy);
	if (!app->child->draining)
		look_for_due(app);
}

/* ---- life ------------------------------------------------------------------
 */

static int
open_store(struct child *c, struct app *app)
{
	struct store_clock stored = { 0, 0 };
	char err[4200];
	int r, back;

	if (c->dir_fd < 0) {
		log_event(LOG_CRITICAL, "store_open", NULL,
		    "policyd: no directory was handed down");
		return -ENOENT;
	}
	/* as the user that we shall have, so that the files are its own */
	r = child_as_user(c);
	if (r == 0) {
		r = store_open(c->loop, c->dir_path,
		    c->conf->mta_sts.max_policies, &app->store, &stored, err,
		    sizeof(err));
		if (r < 0)
			log_event(LOG_CRITICAL, "store_open", NULL,
			    "MTA-STS store: %s", err);
	}
	back = child_as_root(c);
	policy_clock_init(&app->clock, stored.stored_s, stored.wall_s,
	    clock_now_s(), clock_mono_ms());
	if (r == 0 && app_now_s(app) - clock_now_s() > CLOCK_AHEAD_S)
		log_warn("sts_clock",
		    "MTA-STS store: its clock is %lld s ahead of the system's, "
		    "which was wrong then or is now; policies age by the "
		    "former",
		    (long long)(app_now_s(app) - clock_now_s()));
	return r < 0 ? r : back;
}

static int
setup(struct child *c, void *arg)
{
	struct app *app = arg;
	struct policy_settings set;
	int r;

	app->child = c;
	resolver_init(app);
	(void)uv_timer_init(c->loop, &app->tick); /* cannot fail */
	(void)uv_timer_init(c->loop, &app->drain);
	app->tick.data = app->drain.data = app;
	r = open_store(c, app);
	if (r < 0)
		return r;
	r = sts_fetch_library_init();
	if (r == 0)
		r = configure(app, c->conf);
	if (r < 0) {
		log_warn("start_failed", "policyd: fetching: %s", err_str(r));
		return r;
	}
	policy_settings_fill(&set, &c->conf->mta_sts);
	app->policy = policy_new(&app_ops, app, &set);
	return app->policy == NULL ? -ENOMEM : 0;
}

static void
peer_open(struct app *app, const struct early_peer *p)
{
	if (p->role == ROLE_ADMIN)
		admin_open(app, p->instance, p->fd);
	else if (p->role == ROLE_RESOLVER)
		resolver_open(app, p->instance, p->fd);
	else
		worker_open(app, p->role, p->instance, p->fd);
}

static void
on_peer(struct child *c, void *arg, enum role role, uint32_t instance, int fd)
{
	struct app *app = arg;
	const struct early_peer p = { role, instance, fd };

	(void)c;
	if (app->started) {
		peer_open(app, &p);
	} else if (app->n_early < EARLY_PEERS_MAX) {
		/* nothing of it is read before the last lock is on */
		app->early[app->n_early++] = p;
	} else {
		log_warn("peer_failed", "policyd: more than %d peers",
		    EARLY_PEERS_MAX);
		(void)close(fd);
	}
}

static int
start(struct child *c, void *arg)
{
	struct app *app = arg;
	size_t i;

	(void)c;
	app->started = true;
	for (i = 0; i < app->n_early; i++)
		peer_open(app, &app->early[i]);
	(void)uv_timer_start(&app->tick, on_tick, TICK_MS, TICK_MS);
	return 0;
}

static void
finish(struct app *app)
{
	checks_stop();
	check_keep_done();
	jobs_cancel(app);
	/* what was fetched is on disk before we go */
	policy_free(app->policy);
	app->policy = NULL;
	store_free(app->store);
	app->store = NULL;
	sts_fetcher_free(app->fetcher);
	app->fetcher = NULL;
	(void)uv_timer_stop(&app->tick);
	child_done(app->child);
}

static void
on_drain_end(uv_timer_t *t)
{
	struct app *app = t->data;

	if (app->policy != NULL)
		finish(app);
}

/* The timer, as this may be called from inside a callback of what ends. */
void
app_worker_gone(struct app *app)
{
	if (app->child->draining && LIST_EMPTY(&app->workers))
		(void)uv_timer_start(&app->drain, on_drain_end, 0, 0);
}

/* Workers need policies until they have finished. */
static void
on_drain(struct child *c, void *arg, int64_t deadline_ms)
{
	struct app *app = arg;

	(void)c;
	(void)uv_timer_start(&app->drain, on_drain_end,
	    deadline_ms > 0 && !LIST_EMPTY(&app->workers)
		? (uint64_t)deadline_ms
		: 0,
	    0);
}

static const struct child_spec spec = {
	.role = ROLE_POLICYD,
	.setup = setup,
	.start = start,
	.on_peer = on_peer,
	.on_reload = on_reload,
	.on_drain = on_drain,
};

int
main(int argc, char **argv)
{
	static struct app app; /* large, and one per process */

	LIST_INIT(&app.workers);
	LIST_INIT(&app.admins);
	LIST_INIT(&app.jobs);
	return child_run(&spec, &app, argc, argv);
}
