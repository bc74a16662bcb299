/*
 * exceptions.c - destination controls with an end: said when they begin and
 * when they are over.
 *
 * An entry with `until` reverts by itself: every process passes it by from that
 * second on (lib/conf). Here is only what people are told, in the log and in
 * status. One timer sleeps until the next end.
 */
#include "lib/base/clock.h"
#include "lib/conf/conf.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "supervisor/supervisor.h"

#include <string.h>

enum {
	TOLD_MAX = 100,		  /* lines of a kind at one time */
	LISTED_MAX = 1000,	  /* in status */
	LOOK_MS = 60 * 60 * 1000, /* the wall clock may be moved */
};

static bool
same(const struct conf_dest *a, const struct conf_dest *b)
{
	return b != NULL && a->until_s == b->until_s &&
	    strcmp(a->ticket == NULL ? "" : a->ticket,
		b->ticket == NULL ? "" : b->ticket) == 0;
}

static void
tell(const struct conf_dest *d, const char *event, const char *what)
{
	char when[32];

	(void)clock_format_rfc3339(d->until_s * 1000, when, sizeof(when));
	log_info(event, "exception [%s] of destinations.conf %s %s%s%s",
	    d->name, what, when, d->ticket != NULL ? ", ticket " : "",
	    d->ticket != NULL ? d->ticket : "");
}

static void
on_time(uv_timer_t *timer)
{
	exceptions_look(timer->data);
	permits_reload(timer->data); /* other limits hold from now on */
}

void
exceptions_look(struct node *n)
{
	const struct conf *conf = n->conf;
	int64_t now_s = clock_now_s(), next_s = INT64_MAX, wait_ms;
	const struct conf_dest *d;
	size_t i, told = 0;

	for (i = 0; i < conf->n_dests; i++) {
		d = &conf->dests[i];
		if (d->until_s == 0)
			continue;
		if (d->until_s > now_s) {
			if (d->until_s < next_s)
				next_s = d->until_s;
		} else if (d->until_s > n->exceptions_seen_s &&
		    told++ < TOLD_MAX) {
			tell(d, "exception_end", "is over since");
		}
	}
	if (told > TOLD_MAX)
		log_info("exception_end", "%zu more exceptions are over",
		    told - TOLD_MAX);
	n->exceptions_seen_s = now_s;
	(void)uv_timer_stop(&n->exception_timer);
	if (next_s == INT64_MAX)
		return;
	wait_ms = (next_s - now_s) * 1000;
	(void)uv_timer_start(&n->exception_timer, on_time,
	    (uint64_t)(wait_ms < LOOK_MS ? wait_ms : LOOK_MS), 0);
}

void
exceptions_loaded(struct node *n, const struct conf *old)
{
	const struct conf *conf = n->conf;
	int64_t now_s = clock_now_s();
	const struct conf_dest *d;
	size_t i, told = 0;

	for (i = 0; i < conf->n_dests && told <= TOLD_MAX; i++) {
		d = &conf->dests[i];
		if (d->until_s == 0)
			continue;
		if (old != NULL && same(d, conf_dest_entry(old, d->name)))
			continue;
		if (told++ == TOLD_MAX)
			log_info("exception_start",
			    "there are more exceptions: see status detail");
		else if (d->until_s > now_s)
			tell(d, "exception_start", "holds until");
		else
			tell(d, "exception_end", "was over at");
	}
	n->exceptions_seen_s = now_s;
	exceptions_look(n);
}

void
exceptions_json(const struct node *n, struct json *j)
{
	const struct conf *conf = n->conf;
	int64_t now_s = clock_now_s();
	const struct conf_dest *d;
	size_t i, listed = 0;
	char when[32];

	json_put_arr(j, "exceptions");
	for (i = 0; i < conf->n_dests && listed < LISTED_MAX; i++) {
		d = &conf->dests[i];
		if (d->until_s == 0)
			continue;
		listed++;
		json_put_obj(j, NULL);
		json_put_str(j, "entry", d->name);
		json_put_str(j, "until",
		    clock_format_rfc3339(
			d->until_s * 1000, when, sizeof(when)));
		json_put_str(j, "ticket", d->ticket == NULL ? "" : d->ticket);
		json_put_bool(j, "active", d->until_s > now_s);
		json_put_end_obj(j);
	}
	json_put_end_arr(j);
}
