/*
 * config_impact.c - what staged settings would change for mail that waits.
 *
 * Used by showchanges and commit: the busiest destinations of the queue go with
 * the question, so that its cost is bounded however much waits.
 */
#include "ctl/config.h"
#include "ctl/ctl.h"
#include "ctl/show.h"
#include "lib/proto/admin.h"

#include <stdlib.h>
#include <string.h>

enum {
	ASKED = 1000,
	LINE_MORE = 24, /* the number and what ends the line */
};

/* {"domain": recipients} of the busiest destinations; NULL without the queue. */
static json_t *
waiting(struct ctl *ctl, bool *ret_all)
{
	json_t *doc = NULL, *queued, *hosts, *old;
	const json_t *h;
	const char *domain;
	char path[64];
	size_t i, left = ADM_TEXT_MAX - LINE_MORE;

	(void)snprintf(
	    path, sizeof(path), "/v1/tophosts?sort=active&limit=%d", ASKED);
	if (ctl_ask_quiet(ctl, "GET", path, NULL, &doc) != CTL_DONE)
		return NULL;
	hosts = json_object_get(doc, "hosts");
	*ret_all = json_array_size(hosts) < ASKED;
	queued = json_object();
	json_array_foreach(hosts, i, h) {
		json_int_t n = json_integer_value(json_object_get(h, "active"));

		domain = json_string_value(json_object_get(h, "domain"));
		if (domain == NULL || n == 0)
			continue;
		if (strlen(domain) + LINE_MORE > left) {
			*ret_all = false; /* names as long as this many */
			break;
		}
		left -= strlen(domain) + LINE_MORE;
		old = json_object_get(queued, domain); /* another gateway */
		(void)json_object_set_new(
		    queued, domain, json_integer(n + json_integer_value(old)));
	}
	json_decref(doc);
	return queued;
}

int
config_changes(struct ctl *ctl, json_t **ret_doc)
{
	bool all = true;
	json_t *queued = waiting(ctl, &all), *doc;
	int code;

	if (queued == NULL)
		return ctl_ask(ctl, "GET", "/v1/changes", NULL, ret_doc);
	code = ctl_ask(ctl, "POST", "/v1/changes",
	    json_pack("{s:o}", "queued", queued), ret_doc);
	doc = json_object_get(*ret_doc, "impact");
	if (doc != NULL)
		(void)json_object_set_new(doc, "whole", json_boolean(all));
	return code;
}

static void
show_touched(FILE *out, const json_t *t)
{
	char *domain = show_value(json_object_get(t, "domain"));
	char *n = show_count(json_object_get(t, "recipients"));
	char *entry = show_value(json_object_get(t, "entry"));
	const json_t *k;
	size_t i;

	(void)fprintf(out, "  %s, %s waiting, by [%s]:", domain, n, entry);
	json_array_foreach(json_object_get(t, "keys"), i, k) {
		char *key = show_value(json_object_get(k, "key"));
		char *from = show_value(json_object_get(k, "from"));
		char *to = show_value(json_object_get(k, "to"));

		(void)fprintf(
		    out, "%s %s %s -> %s", i > 0 ? "," : "", key, from, to);
		free(key);
		free(from);
		free(to);
	}
	(void)fputc('\n', out);
	if (json_is_string(json_object_get(t, "outcome"))) {
		char *what = show_value(json_object_get(t, "outcome"));

		(void)fprintf(out, "    %s\n", what);
		free(what);
	}
	free(domain);
	free(n);
	free(entry);
}

void
config_show_impact(FILE *out, const json_t *doc)
{
	const json_t *im = json_object_get(doc, "impact"), *t;
	json_int_t n = json_integer_value(json_object_get(im, "destinations"));
	char *recipients;
	size_t i;

	if (im == NULL) {
		if (json_is_true(json_object_get(doc, "staged")))
			(void)fputs("impact: unknown, the queue does not "
				    "answer\n",
			    out);
		return;
	}
	recipients = show_count(json_object_get(im, "recipients"));
	(void)fprintf(out,
	    "impact: %lld destinations with %s waiting recipients%s\n",
	    (long long)n, recipients,
	    json_is_false(json_object_get(im, "whole")) ? ", of the busiest"
							: "");
	free(recipients);
	json_array_foreach(json_object_get(im, "touched"), i, t)
		show_touched(out, t);
	if ((json_int_t)i < n)
		(void)fprintf(
		    out, "  and %lld more\n", (long long)(n - (json_int_t)i));
}
