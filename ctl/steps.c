/*
 * steps.c - sts check, dane check and tlsverify: what was looked at, how it
 * stands, and what to do. Prints documents of the node; judges nothing itself.
 */
#include "ctl/ctl.h"
#include "ctl/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 14 };

static const char *
word(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s == NULL ? "" : s;
}

void
show_steps(FILE *out, int indent, const json_t *steps)
{
	json_t *s;
	size_t i;

	json_array_foreach(steps, i, s) {
		char *result = show_value(json_object_get(s, "result"));
		char *step = show_value(json_object_get(s, "step"));
		char *subject = show_value(json_object_get(s, "subject"));
		char *text = show_value(json_object_get(s, "text"));
		char *todo = show_value(json_object_get(s, "do"));

		(void)fprintf(out, "%*s%-8s %-14s %s: %s\n", indent, "", result,
		    step, subject, text);
		if (strcmp(todo, "-") != 0)
			(void)fprintf(
			    out, "%*sdo: %s\n", indent + 24, "", todo);
		free(result);
		free(step);
		free(subject);
		free(text);
		free(todo);
	}
}

/* resource: "stscheck" or "danecheck". */
static int
check(struct ctl *ctl, const struct args *a, const char *resource)
{
	char path[2048], *esc = ctl_escape(a->pos[0]);
	json_t *doc;
	int code;

	(void)snprintf(path, sizeof(path), "/v1/%s/%.1000s", resource, esc);
	free(esc);
	code = ctl_ask(ctl, "GET", path, NULL, &doc);
	if (code != CTL_DONE)
		return code;
	code = strcmp(word(doc, "result"), "ok") == 0 ? CTL_DONE : CTL_NO;
	if (ctl->json) {
		ctl_print_json(ctl, doc);
	} else {
		show_line(
		    ctl->out, WIDTH, "domain", json_object_get(doc, "domain"));
		show_line(
		    ctl->out, WIDTH, "result", json_object_get(doc, "result"));
		(void)fputc('\n', ctl->out);
		show_steps(ctl->out, 0, json_object_get(doc, "steps"));
	}
	json_decref(doc);
	return code;
}

int
cmd_sts_check(struct ctl *ctl, const struct args *a)
{
	return check(ctl, a, "stscheck");
}

int
cmd_dane_check(struct ctl *ctl, const struct args *a)
{
	return check(ctl, a, "danecheck");
}

/* ---- tlsverify ------------------------------------------------------------------------- */

static void
show_one(FILE *out, const json_t *h)
{
	static const char *const lines[][2] = { { "address", "address" },
		{ "level wanted", "level_wanted" }, { "rule", "rule" },
		{ "names wanted", "names_wanted" },
		{ "level proven", "level_proven" }, { "protocol", "protocol" },
		{ "cipher", "cipher" }, { "verified name", "verified_name" } };
	const json_t *cert = json_object_get(h, "certificate");
	char *host = show_value(json_object_get(h, "host"));
	char *port = show_value(json_object_get(h, "port"));
	char *result = show_value(json_object_get(h, "result"));
	char *reason = show_value(json_object_get(h, "reason"));
	bool skip = strcmp(word(h, "verdict"), "skip") == 0;
	size_t i;

	(void)fprintf(out, "\n%s port %s: %s", host, port,
	    skip ? "not connected to" : result);
	if (reason[0] != '\0' && strcmp(reason, "-") != 0)
		(void)fprintf(out, " (%s)", reason);
	(void)fputc('\n', out);
	for (i = 0; !skip && i < sizeof(lines) / sizeof(lines[0]); i++) {
		(void)fputs("  ", out);
		show_line(
		    out, WIDTH, lines[i][0], json_object_get(h, lines[i][1]));
	}
	if (json_is_object(cert)) {
		(void)fputs("  ", out);
		show_line(
		    out, WIDTH, "certificate", json_object_get(cert, "names"));
	}
	if (word(h, "text")[0] != '\0') {
		(void)fputs("  ", out);
		show_line(out, WIDTH, "why", json_object_get(h, "text"));
	}
	show_steps(out, 2, json_object_get(h, "steps"));
	free(host);
	free(port);
	free(result);
	free(reason);
}

void
show_live(FILE *out, const json_t *hosts)
{
	json_t *h;
	size_t i;

	json_array_foreach(hosts, i, h) {
		show_one(out, h);
	}
}

/* Done when every host that was connected to would get mail, and one was. */
static int
verified(const json_t *doc)
{
	const json_t *hosts = json_object_get(doc, "hosts");
	size_t i, n = 0;
	json_t *h;

	json_array_foreach(hosts, i, h) {
		if (strcmp(word(h, "verdict"), "attempt") != 0)
			continue;
		if (strcmp(word(h, "result"), "ok") != 0)
			return CTL_NO;
		n++;
	}
	return n > 0 ? CTL_DONE : CTL_NO;
}

int
cmd_tlsverify(struct ctl *ctl, const struct args *a)
{
	char path[4096], *esc = ctl_escape(a->pos[0]), *host = NULL;
	json_t *doc;
	int code;

	if (a->n_pos > 1)
		host = ctl_escape(a->pos[1]);
	(void)snprintf(path, sizeof(path), "/v1/tlsverify/%.1000s%s%.1000s",
	    esc, host != NULL ? "?host=" : "", host != NULL ? host : "");
	free(esc);
	free(host);
	code = ctl_ask(ctl, "GET", path, NULL, &doc);
	if (code != CTL_DONE)
		return code;
	code = verified(doc);
	if (ctl->json) {
		ctl_print_json(ctl, doc);
	} else {
		show_line(
		    ctl->out, WIDTH, "domain", json_object_get(doc, "domain"));
		show_line(ctl->out, WIDTH, "gateway",
		    json_object_get(doc, "gateway"));
		show_line(ctl->out, WIDTH, "outcome",
		    json_object_get(doc, "outcome"));
		show_line(
		    ctl->out, WIDTH, "reason", json_object_get(doc, "text"));
		show_live(ctl->out, json_object_get(doc, "hosts"));
	}
	json_decref(doc);
	return code;
}
