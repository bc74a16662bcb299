/*
 * upstream.c - the servers that are asked, and their health.
 *
 * Never decides what an answer means; knows who validates, and logs when a
 * server goes down, when it is back, and when one that does not validate has to
 * stand in for one that does.
 */
#include "resolver/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/log/log.h"
#include "resolver/resolver.h"

enum {
	TRY_MS_MIN = 100,
	TRY_MS_MAX = 2000,
	FAILS_DOWN = 3,
	DOWN_MS_MIN = 1000,
	DOWN_MS_MAX = 30000,
	RENEW_MS = 10000,   /* a channel that lost EDNS is renewed that often */
	INVALID_MS = 5000,  /* a server that failed the check is spared it */
	FOLDS_MAX = 4,	    /* then the server changes case, nobody forges */
	PORT_QUERIES = 256, /* that leave from one source port */
};

struct upstream {
	struct channel *ch;
	unsigned fails;	 /* in a row */
	int64_t down_ms; /* length of this pause; 0: up */
	int64_t down_until_ms;
	bool probing;		/* one question tries whether it is back */
	int64_t probe_until_ms; /* should that question be given up */
	int64_t renewed_ms;
	bool network;
	unsigned folds;	    /* replies in a row that changed the name's case */
	unsigned on_port;   /* queries sent from the port in use */
	bool plain;	    /* no OPT in queries until the channel is renewed */
	bool checked_bad;   /* the newest check said: it does not validate */
	int64_t checked_ms; /* when it said so */
	int64_t ad_ms;	    /* the newest reply with AD; 0: none */
	struct resolver_server_stats stats;
};

struct upstreams {
	uv_loop_t *loop;
	int64_t try_ms;
	char signed_name[DNS_NAME_SIZE]; /* "": none seen */
	uint16_t signed_type;
	char anchor[DNS_NAME_SIZE]; /* ought to be signed; "": none */
	bool anchor_ok;		    /* and was seen to be */
	bool demand, lets_bogus;
	void (*on_seen)(void *arg);
	void *on_seen_arg;
	uint64_t doubted;
	struct log_limit doubt_log;
	bool told_mixed;
	size_t n;
	struct upstream v[];
};

int64_t
upstreams_try_ms(const struct resolver_settings *settings)
{
	int64_t ms = settings->timeout_ms /
	    (int64_t)(settings->tries *
		(settings->n_servers > 0 ? settings->n_servers : 1));

	if (ms < TRY_MS_MIN)
		return TRY_MS_MIN;
	return ms > TRY_MS_MAX ? TRY_MS_MAX : ms;
}

int
upstreams_new(uv_loop_t *loop, const struct resolver_settings *settings,
    struct upstreams **ret_upstreams)
{
	struct upstreams *us;
	struct upstream *u;
	size_t i;
	int r;

	us = calloc(1, sizeof(*us) + settings->n_servers * sizeof(us->v[0]));
	if (us == NULL)
		return -ENOMEM;
	us->loop = loop;
	us->try_ms = upstreams_try_ms(settings);
	us->demand = settings->demand;
	memcpy(us->anchor, settings->check_name, sizeof(us->anchor));
	for (i = 0; i < settings->n_servers; i++) {
		u = &us->v[i];
		(void)snprintf(u->stats.text, sizeof(u->stats.text), "%s",
		    settings->servers[i].text);
		u->stats.trust_ad = settings->servers[i].trust_ad;
		u->network = settings->servers[i].network;
		u->renewed_ms = clock_mono_ms() - RENEW_MS;
		r = channel_new(loop, u->stats.text, us->try_ms, &u->ch);
		if (r < 0) {
			upstreams_free(us);
			return r;
		}
		us->n++;
	}
	*ret_upstreams = us;
	return 0;
}

void
upstreams_free(struct upstreams *us)
{
	size_t i;

	if (us == NULL)
		return;
	for (i = 0; i < us->n; i++)
		channel_free(us->v[i].ch);
	free(us);
}

size_t
upstreams_count(const struct upstreams *us)
{
	return us->n;
}

int
upstreams_pick(struct upstreams *us, uint32_t mask)
{
	int64_t now = clock_mono_ms();
	struct upstream *u;
	int best = -1;
	size_t i;

	for (i = 0; i < us->n; i++) {
		if ((mask & 1u << i) != 0)
			continue;
		u = &us->v[i];
		if (u->down_ms == 0)
			return (int)i;
		if (u->down_until_ms <= now &&
		    (!u->probing || u->probe_until_ms <= now)) {
			u->probing = true;
			u->probe_until_ms = now + 2 * us->try_ms;
			return (int)i;
		}
		if (best < 0 || u->down_until_ms < us->v[best].down_until_ms)
			best = (int)i;
	}
	return best;
}

/*
 * c-ares gives up EDNS for a whole channel after one FORMERR, and with it EDE
 * and replies over 512 bytes. Whether the server or one packet was at fault is
 * not known: get a new channel, but not for every question. A server that does
 * it again is asked without OPT until the next channel is due.
 */
static void
renew(struct upstreams *us, struct upstream *u)
{
	struct channel *ch;

	u->plain = true;
	if (clock_mono_ms() - u->renewed_ms < RENEW_MS)
		return;
	u->renewed_ms = clock_mono_ms();
	if (channel_new(us->loop, u->stats.text, us->try_ms, &ch) < 0)
		return; /* the old one goes on, without EDNS */
	channel_retire(u->ch);
	u->ch = ch;
	u->plain = false;
}

bool
upstreams_wants_opt(struct upstreams *us, int i)
{
	if (us->v[i].plain)
		renew(us, &us->v[i]);
	return !us->v[i].plain;
}

bool
upstreams_wants_mix(const struct upstreams *us, int i)
{
	return us->v[i].network && us->v[i].folds < FOLDS_MAX;
}

void
upstreams_case(struct upstreams *us, int i, bool same)
{
	struct upstream *u = &us->v[i];

	u->folds = same ? 0 : u->folds + 1;
	if (u->folds == FOLDS_MAX)
		log_warn("resolver_case",
		    "DNS server %s does not repeat a name as it was asked: "
		    "mix_case is not used with it",
		    u->stats.text);
}

/*
 * A channel keeps its socket as long as anything is on its way, so that under
 * load all queries would leave from one port, and who forges replies had to
 * guess the id alone (RFC 5452, 9.2): another channel is another port. Not for
 * a channel without EDNS, whose renewal has a pace of its own.
 */
static void
change_port(struct upstreams *us, struct upstream *u)
{
	struct channel *ch;

	if (u->on_port < PORT_QUERIES || u->plain ||
	    channel_new(us->loop, u->stats.text, us->try_ms, &ch) < 0)
		return;
	channel_retire(u->ch);
	u->ch = ch;
	u->on_port = 0;
}

struct flight *
upstreams_send(struct upstreams *us, int i, uint8_t *query, size_t len,
    flight_cb *cb, void *arg)
{
	struct upstream *u = &us->v[i];
	struct flight *f;

	change_port(us, u);
	f = channel_send(u->ch, query, len, cb, arg);
	if (f != NULL) {
		u->stats.sent++;
		u->on_port++;
	}
	return f;
}

/* ---- who validates ---------------------------------------------------------
 */

/* Has one of the others ever validated? It may be away now. */
static const struct upstream *
other_validates(const struct upstreams *us, int i)
{
	size_t k;

	for (k = 0; k < us->n; k++)
		if ((int)k != i && us->v[k].stats.seen_ad)
			return &us->v[k];
	return NULL;
}

/* Is validation something to count on here? */
bool
upstreams_expected(const struct upstreams *us)
{
	bool trusted = false;
	size_t i;

	for (i = 0; i < us->n; i++) {
		if (us->v[i].stats.seen_ad)
			return true;
		trusted = trusted || us->v[i].stats.trust_ad;
	}
	return us->demand && trusted;
}

enum upstream_word
upstreams_word(const struct upstreams *us, int i, int64_t sent_ms)
{
	const struct upstream *u = &us->v[i];
	uint16_t type;

	if (!upstreams_expected(us))
		return UPSTREAM_BELIEVED;
	if (!u->stats.trust_ad || us->lets_bogus)
		return UPSTREAM_DOUBTED;
	if (u->ad_ms != 0 && u->ad_ms >= sent_ms)
		return UPSTREAM_BELIEVED;
	if (u->checked_bad && clock_mono_ms() - u->checked_ms < INVALID_MS)
		return UPSTREAM_DOUBTED;
	return upstreams_check_name(us, 0, &type) == NULL ? UPSTREAM_DOUBTED
							  : UPSTREAM_CHECK;
}

const char *
upstreams_check_name(const struct upstreams *us, unsigned n, uint16_t *ret_type)
{
	bool seen = us->signed_name[0] != '\0', ought = us->anchor[0] != '\0';

	if (seen && ought && us->signed_type == DNS_A &&
	    strcmp(us->signed_name, us->anchor) == 0)
		ought = false;
	/* one that was never seen to be signed comes last */
	if (ought && n == (us->anchor_ok || !seen ? 0u : 1u)) {
		*ret_type = DNS_A;
		return us->anchor;
	}
	if (!seen || n > (ought ? 1u : 0u))
		return NULL;
	*ret_type = us->signed_type;
	return us->signed_name;
}

const char *
upstreams_signed(const struct upstreams *us, uint16_t *ret_type)
{
	*ret_type = us->signed_type;
	return us->signed_name;
}

void
upstreams_note_signed(struct upstreams *us, const char *name, uint16_t type)
{
	if (type == DNS_A && strcmp(name, us->anchor) == 0)
		us->anchor_ok = true;
	(void)snprintf(us->signed_name, sizeof(us->signed_name), "%s", name);
	us->signed_type = type;
}

void
upstreams_remember(
    struct upstreams *us, const char *server, const char *name, uint16_t type)
{
	size_t i;

	for (i = 0; i < us->n; i++) {
		if (!us->v[i].stats.trust_ad ||
		    strcmp(us->v[i].stats.text, server) != 0)
			continue;
		us->v[i].stats.seen_ad = true;
		if (us->signed_name[0] == '\0' && dns_name_is_normal(name) &&
		    dns_type_known(type))
			upstreams_note_signed(us, name, type);
	}
}

void
upstreams_on_seen(struct upstreams *us, void (*cb)(void *arg), void *arg)
{
	us->on_seen = cb;
	us->on_seen_arg = arg;
}

void
upstreams_lets_bogus(struct upstreams *us, bool lets)
{
	us->lets_bogus = lets;
}

/* Once, when it turns out: the operator may not know. */
static void
tell_mixed(struct upstreams *us)
{
	if (us->told_mixed || !upstreams_mixed(us))
		return;
	us->told_mixed = true;
	log_warn("resolver_mixed",
	    "DNS servers are mixed: some validate and some do not. While the "
	    "former do not answer, nothing is found out and mail waits");
}

void
upstreams_check_failed(struct upstreams *us, int i)
{
	struct upstream *u = &us->v[i];

	u->checked_ms = clock_mono_ms();
	u->checked_bad = true;
	tell_mixed(us);
}

const char *
upstreams_doubt(const struct upstreams *us, int i)
{
	const struct upstream *u = &us->v[i];

	if (!u->stats.trust_ad)
		return "is not trusted to validate";
	if (us->lets_bogus)
		return "lets answers through that fail validation";
	return u->stats.seen_ad ? "does not validate any more"
				: "does not validate";
}

void
upstreams_count_doubted(struct upstreams *us, int i)
{
	const struct upstream *other = other_validates(us, i);
	uint32_t skipped;

	us->doubted++;
	if (!log_limit_ok(&us->doubt_log, 1, 60000, &skipped))
		return;
	if (other != NULL)
		log_warn("resolver_mixed",
		    "DNS servers are mixed: %s validates and does not answer, "
		    "%s answers and %s: what it says is not believed, and mail "
		    "waits (%u more such answers)",
		    other->stats.text, us->v[i].stats.text,
		    upstreams_doubt(us, i), skipped);
	else
		log_warn("resolver_gate",
		    "DANE is configured but the resolver does not validate: %s "
		    "%s. What it says of unsigned names is not believed, and "
		    "mail waits (%u more such answers). Mend it, or set "
		    "[resolver] dnssec = off to go on without DANE",
		    us->v[i].stats.text, upstreams_doubt(us, i), skipped);
}

bool
upstreams_closed(const struct upstreams *us)
{
	size_t i;

	if (!upstreams_expected(us))
		return false;
	for (i = 0; i < us->n; i++)
		if (us->v[i].stats.trust_ad && !us->v[i].checked_bad &&
		    us->v[i].stats.seen_ad)
			return us->lets_bogus;
	return true;
}

bool
upstreams_mixed(const struct upstreams *us)
{
	size_t i;

	for (i = 0; i < us->n; i++)
		if (other_validates(us, (int)i) != NULL &&
		    (!us->v[i].stats.trust_ad || us->v[i].checked_bad))
			return true;
	return false;
}

uint64_t
upstreams_doubted(const struct upstreams *us)
{
	return us->doubted;
}

void
upstreams_inherit(struct upstreams *us, const struct upstreams *old)
{
	size_t i, k;

	us->doubted = old->doubted;
	us->signed_type = old->signed_type;
	memcpy(us->signed_name, old->signed_name, sizeof(us->signed_name));
	us->anchor_ok = old->anchor_ok && strcmp(us->anchor, old->anchor) == 0;
	us->lets_bogus = old->lets_bogus;
	us->on_seen = old->on_seen;
	us->on_seen_arg = old->on_seen_arg;
	for (i = 0; i < us->n; i++)
		for (k = 0; k < old->n; k++) {
			struct upstream *u = &us->v[i];
			const struct upstream *o = &old->v[k];

			if (strcmp(u->stats.text, o->stats.text) != 0 ||
			    u->stats.trust_ad != o->stats.trust_ad)
				continue;
			u->stats.seen_ad = o->stats.seen_ad;
			u->checked_bad = o->checked_bad;
			u->checked_ms = o->checked_ms;
			u->ad_ms = o->ad_ms;
			u->folds = o->folds;
		}
}

/* ---- how they fare ---------------------------------------------------------
 */

void
upstreams_replied(struct upstreams *us, int i, bool has_opt, bool ad)
{
	struct upstream *u = &us->v[i];

	u->stats.replies++;
	if (ad && u->stats.trust_ad) {
		bool first = !u->stats.seen_ad;

		u->stats.seen_ad = true;
		u->checked_bad = false;
		u->ad_ms = clock_mono_ms();
		tell_mixed(us);
		if (first && us->on_seen != NULL)
			us->on_seen(us->on_seen_arg);
	}
	u->fails = 0;
	u->probing = false;
	if (u->down_ms != 0)
		log_warn("resolver_server_up", "DNS server %s answers again",
		    u->stats.text);
	u->down_ms = 0;
	if (!has_opt && !u->plain && channel_lost_edns(u->ch)) {
		renew(us, u);
		if (u->plain)
			log_warn("resolver_no_edns",
			    "DNS server %s answers FORMERR to EDNS: asked "
			    "without",
			    u->stats.text);
	}
}

void
upstreams_failed(struct upstreams *us, int i, int status)
{
	struct upstream *u = &us->v[i];
	bool was_down = u->down_ms != 0;

	if (status == -ETIMEDOUT)
		u->stats.timeouts++;
	else
		u->stats.errors++;
	u->fails++;
	u->probing = false;
	if (u->fails < FAILS_DOWN && !was_down)
		return;
	/* many questions fail together: that is one failure, not a doubling */
	if (was_down && clock_mono_ms() < u->down_until_ms)
		return;
	u->down_ms = was_down ? u->down_ms * 2 : DOWN_MS_MIN;
	if (u->down_ms > DOWN_MS_MAX)
		u->down_ms = DOWN_MS_MAX;
	u->down_until_ms = clock_mono_ms() + u->down_ms;
	if (!was_down)
		log_warn("resolver_server_down",
		    "DNS server %s does not answer: %s", u->stats.text,
		    err_str(status));
}

void
upstreams_count_error(struct upstreams *us, int i)
{
	us->v[i].stats.errors++;
}

bool
upstreams_trusted(const struct upstreams *us, int i)
{
	return us->v[i].stats.trust_ad;
}

const char *
upstreams_text(const struct upstreams *us, int i)
{
	return us->v[i].stats.text;
}

void
upstreams_stats(
    const struct upstreams *us, int i, struct resolver_server_stats *ret)
{
	const struct upstream *u = &us->v[i];

	*ret = u->stats;
	ret->up = u->down_ms == 0;
	ret->validates = u->checked_bad || !u->stats.trust_ad ? "no"
	    : u->stats.seen_ad				      ? "yes"
							      : "unknown";
}
