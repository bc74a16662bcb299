/*
 * events.c - what happened to policies, as log lines and counters.
 *
 * The lines are those of the gateway that operators come from, where it has
 * one (docs/mta-sts.md lists them).
 */
#include "policyd/policyd.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/log/log.h"

/* How long an alert speaks of it. */
enum { SAVE_ALERT_MS = 15 * 60 * 1000 };

static void
say_fetched(const struct policy_event *ev, const struct log_fields *f)
{
	char list[400];

	log_event(LOG_INFO, "sts_policy_fetched", f,
	    "Successfully fetched MTA-STS policy for the domain (%s): id %s "
	    "mode %s max_age %u mx %s",
	    ev->domain, ev->rec->id, sts_mode_word(ev->rec->policy.mode),
	    ev->rec->policy.max_age_s,
	    sts_list_text(ev->rec->policy.list, ev->rec->policy.list_len, list,
		sizeof(list)));
}

static void
on_txt(const struct policy_event *ev, const struct log_fields *f)
{
	bool known = ev->rec != NULL && strcmp(ev->rec->id, ev->id) == 0;

	/* at each delivery to a domain whose policy is cached: debug */
	log_event(known ? LOG_DEBUG : LOG_INFO, "sts_txt_fetched", f,
	    "Successfully fetched MTA-STS TXT record for domain (%s)",
	    ev->domain);
}

static void
on_failed(
    struct app *app, const struct policy_event *ev, const struct log_fields *f)
{
	app->n.fetches[ev->why]++;
	app->n.refresh_failures += ev->rec != NULL;
	log_event(LOG_DEBUG, "sts_fetch_failed", f,
	    "STS policy fetch request failed due to %s, for domain %s",
	    ev->text, ev->domain);
	log_event(LOG_INFO, "sts_policy_failed", f,
	    "Failed to fetch MTA-STS policy for the domain (%s): %s",
	    ev->domain, ev->text);
}

static void
on_fetch(
    struct app *app, const struct policy_event *ev, const struct log_fields *f)
{
	app->n.refreshes += ev->refresh;
	log_event(LOG_DEBUG, "sts_fetch", f,
	    "Fetch MTA-STS policy for the domain (%s)", ev->domain);
	if (sts_fetcher_has_proxy(app->fetcher))
		log_debug("sts_fetch_proxy",
		    "Requesting MTA-STS policy fetch via proxy");
}

static void
note_save_failed(struct app *app, const char *text)
{
	struct save_failed *f = &app->save_failed;

	f->ever = true;
	f->at_ms = clock_mono_ms();
	(void)snprintf(f->text, sizeof(f->text), "%s", text);
}

const char *
app_save_alert(const struct app *app, int64_t mono_ms, char *buf, size_t len)
{
	const struct save_failed *f = &app->save_failed;

	buf[0] = '\0';
	if (f->ever && mono_ms - f->at_ms < SAVE_ALERT_MS)
		(void)snprintf(buf, len,
		    "MTA-STS policies could not be stored within the last %d "
		    "minutes (%s): memory holds them until the process stops; "
		    "when the store is full: [mta-sts] max_policies",
		    SAVE_ALERT_MS / 60000, f->text);
	return buf;
}

static void
on_rare(
    struct app *app, const struct policy_event *ev, const struct log_fields *f)
{
	switch (ev->kind) {
	case EVENT_HEALED:
		app->n.healed++;
		log_event(LOG_INFO, "sts_healed", f,
		    "MTA-STS policy for the domain (%s) healed by refresh: "
		    "id %s to %s",
		    ev->domain, ev->text, ev->rec->id);
		break;
	case EVENT_REFRESH_LATE:
		log_event(LOG_WARNING, "sts_refresh_late", f,
		    "MTA-STS policy for the domain (%s) could not be "
		    "refreshed for %lld s of its %u s: %s",
		    ev->domain, (long long)ev->age_s, ev->rec->policy.max_age_s,
		    ev->text);
		break;
	case EVENT_EXPIRED:
		app->n.expired++;
		log_event(LOG_INFO, "sts_expired", f,
		    "MTA-STS policy for the domain (%s) has expired: id %s "
		    "mode %s",
		    ev->domain, ev->rec->id,
		    sts_mode_word(ev->rec->policy.mode));
		break;
	case EVENT_CORRUPT:
		app->n.corrupt++;
		log_event(LOG_WARNING, "sts_corrupt", f,
		    "MTA-STS cache entry of the domain (%s) is damaged: "
		    "dropped, to be fetched again",
		    ev->domain);
		break;
	case EVENT_SAVE_FAILED:
		app->n.save_failures++;
		note_save_failed(app, ev->text);
		log_event(LOG_WARNING, "sts_save_failed", f,
		    "MTA-STS policy for the domain (%s) could not be stored: "
		    "%s",
		    ev->domain, ev->text);
		break;
	default:
		app->n.busy++;
		log_event(LOG_WARNING, "sts_busy", f,
		    "MTA-STS policy for the domain (%s) waits: %s", ev->domain,
		    ev->text);
	}
}

void
app_event(void *arg, const struct policy_event *ev)
{
	struct app *app = arg;
	const struct log_fields fields = { .domain = ev->domain,
		.policy_id = ev->rec != NULL		  ? ev->rec->id
		    : ev->id != NULL && ev->id[0] != '\0' ? ev->id
							  : NULL,
		.reason =
		    ev->text != NULL && ev->text[0] != '\0' ? ev->text : NULL };

	switch (ev->kind) {
	case EVENT_TXT:
		on_txt(ev, &fields);
		break;
	case EVENT_CACHE_HIT:
		app->n.cache_hits++;
		log_event(LOG_DEBUG, "sts_cache_hit", &fields,
		    "Valid cache entry found for the domain (%s).", ev->domain);
		break;
	case EVENT_FETCH:
		on_fetch(app, ev, &fields);
		break;
	case EVENT_FETCHED:
		app->n.fetches[STS_FETCH_OK]++;
		say_fetched(ev, &fields);
		break;
	case EVENT_FETCH_FAILED:
		on_failed(app, ev, &fields);
		break;
	case EVENT_KEPT:
		app->n.kept++;
		log_event(LOG_INFO, "sts_kept", &fields,
		    "MTA-STS cached policy for the domain (%s) kept: %s",
		    ev->domain, ev->text);
		break;
	case EVENT_WAITING:
		app->n.indeterminate++;
		log_event(LOG_INFO, "sts_discovery_wait", &fields,
		    "MTA-STS discovery for the domain (%s) waits: %s",
		    ev->domain, ev->text);
		break;
	case EVENT_GRACE_OVER:
		app->n.grace_over++;
		log_event(LOG_WARNING, "sts_grace_over", &fields,
		    "MTA-STS discovery for the domain (%s) given up for now, "
		    "delivering as without a policy: %s",
		    ev->domain, ev->text);
		break;
	default:
		on_rare(app, ev, &fields);
	}
}
