/*
 * main.c - postern-resolver: DNS for the other processes.
 *
 * Knows names and answers, not mail. Opens no file but the one of seen.c, before
 * the lock-down: the name servers come with the settings, and c-ares is kept from
 * looking for its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "resolver/peers.h"

/* ---- settings --------------------------------------------------------------
 */

static void
settings_fill(struct resolver_settings *set, const struct conf *conf)
{
	const struct conf_resolver *c = &conf->resolver;
	const uint8_t *anchors;
	struct resolver_server *s;
	size_t i, len;

	memset(set, 0, sizeof(*set));
	for (i = 0; i < c->nameservers.n && i < RESOLVER_SERVERS_MAX; i++) {
		s = &set->servers[set->n_servers++];
		(void)conf_addr_format(
		    &c->nameservers.v[i], s->text, sizeof(s->text));
		s->trust_ad = conf_resolver_trusts(c, &c->nameservers.v[i]);
		s->network = !conf_addr_is_loopback(&c->nameservers.v[i]);
	}
	if (c->nameservers.n > RESOLVER_SERVERS_MAX)
		log_warn("resolver_servers",
		    "only the first %d of %zu name servers are used",
		    RESOLVER_SERVERS_MAX, c->nameservers.n);
	set->timeout_ms = c->timeout_ms;
	set->tries = c->tries;
	set->min_ttl_s = c->min_ttl_s;
	set->max_ttl_s = c->max_ttl_s;
	set->negative_ttl_s = c->negative_ttl_s;
	set->cache_size = (size_t)c->cache_size;
	set->max_queries = c->max_queries;
	set->mix_case = c->mix_case;
	/* who names a probe counts on validation */
	set->demand = c->dnssec == CONF_DNSSEC_REQUIRE ||
	    (c->dnssec == CONF_DNSSEC_TRUST &&
		(c->probe_good != NULL || c->probe_bad != NULL));
	if (c->dnssec == CONF_DNSSEC_VALIDATE)
		/* without it the resolver does not start: none is no anchor */
		set->anchors =
		    conf_file(conf, c->trust_anchor, &anchors, &len) == 0
		    ? (const char *)anchors
		    : "";
	(void)dns_name_normalise(
	    c->probe_good != NULL ? c->probe_good : PROBE_DEFAULT,
	    set->check_name);
}

/* Does any destination want DANE? Nobody else misses validation. */
static bool
wants_dane(const struct conf *conf)
{
	size_t i;

	for (i = 0; i < conf->n_dests; i++)
		if (conf->dests[i].dane != CONF_DANE_NONE)
			return true;
	return false;
}

static void
start_probe(struct app *app, const struct conf *conf)
{
	const struct conf_resolver *c = &conf->resolver;
	bool trusted = c->dnssec == CONF_DNSSEC_VALIDATE;
	size_t i;

	for (i = 0; i < c->nameservers.n; i++)
		trusted =
		    trusted || conf_resolver_trusts(c, &c->nameservers.v[i]);
	app->wants_dane = c->dnssec != CONF_DNSSEC_OFF && wants_dane(conf);
	probe_start(&app->probe, trusted, app->wants_dane,
	    c->dnssec == CONF_DNSSEC_OFF ? NULL
		: c->probe_good != NULL	 ? c->probe_good
					 : PROBE_DEFAULT,
	    c->probe_bad);
}

static int
on_reload(struct child *c, void *arg, const struct conf *old_conf,
    struct conf *new_conf)
{
	struct app *app = arg;
	struct resolver_settings set;
	int r;

	(void)c;
	(void)old_conf;
	settings_fill(&set, new_conf);
	r = resolver_configure(app->r, &set);
	if (r < 0) {
		log_warn("reload_failed", "resolver: %s", err_str(r));
		return r;
	}
	start_probe(app, new_conf);
	seen_save(app);
	return 0;
}

/* ---- life ------------------------------------------------------------------
 */

static int
setup(struct child *c, void *arg)
{
	struct app *app = arg;
	struct resolver_settings set;
	int r;

	app->child = c;
	settings_fill(&set, c->conf);
	r = resolver_new(c->loop, &set, &app->r);
	if (r < 0) {
		log_warn("start_failed", "resolver: %s", err_str(r));
		return r;
	}
	(void)uv_timer_init(c->loop, &app->drain); /* cannot fail */
	app->drain.data = app;
	seen_load(app);
	probe_init(&app->probe, c->loop, app->r);
	return 0;
}

static void
peer_open(struct app *app, const struct early_peer *p)
{
	if (p->role == ROLE_ADMIN)
		admin_open(app, p->instance, p->fd);
	else
		client_open(app, p->role, p->instance, p->fd);
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
		log_warn("peer_failed", "resolver: more than %d peers",
		    EARLY_PEERS_MAX);
		(void)close(fd);
	}
}

static int
start(struct child *c, void *arg)
{
	struct app *app = arg;
	size_t i;

	app->started = true;
	for (i = 0; i < app->n_early; i++)
		peer_open(app, &app->early[i]);
	start_probe(app, c->conf);
	return 0;
}

void
app_client_gone(struct app *app)
{
	if (app->child->draining && LIST_EMPTY(&app->clients))
		child_done(app->child);
}

static void
on_drain_end(uv_timer_t *t)
{
	struct app *app = t->data;

	child_done(app->child);
}

/*
 * The others need names until they have finished: answer them until the last
 * has closed its channel, or the time is over.
 */
static void
on_drain(struct child *c, void *arg, int64_t deadline_ms)
{
	struct app *app = arg;

	(void)c;
	(void)uv_timer_start(&app->drain, on_drain_end,
	    deadline_ms > 0 ? (uint64_t)deadline_ms : 0, 0);
	app_client_gone(app);
}

static const struct child_spec spec = {
	.role = ROLE_RESOLVER,
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

	LIST_INIT(&app.clients);
	LIST_INIT(&app.admins);
	return child_run(&spec, &app, argc, argv);
}
