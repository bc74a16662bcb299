/*
 * explain.c - explain: how mail to an address or a domain would be delivered.
 *
 * Prints the document of control.md ("explain") for people: what was decided
 * first, then each host in order of use with the rules that won and lost.
 */
#include "ctl/ctl.h"
#include "ctl/show.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 14 };

static const char *
word(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s == NULL ? "" : s;
}

static void
show_rules(FILE *out, const json_t *host)
{
	static const struct show_column cols[] = { { "", false },
		{ "rule", false }, { "source", false }, { "", false } };
	const json_t *rules = json_object_get(host, "rules"), *r;
	struct show_table *t;
	size_t i;

	if (json_array_size(rules) == 0)
		return;
	t = show_table_new(cols, 4);
	json_array_foreach(rules, i, r) {
		show_cell_text(t,
		    json_is_true(json_object_get(r, "won")) ? "won" : "lost");
		show_cell(t, show_value(json_object_get(r, "id")));
		show_cell(t, show_value(json_object_get(r, "source")));
		show_cell(t, show_value(json_object_get(r, "text")));
	}
	show_table_print(t, out, 5);
}

static void
show_host(FILE *out, const json_t *h)
{
	const json_t *tlsa = json_object_get(h, "tlsa");
	char *name = show_value(json_object_get(h, "host"));
	char *preference = show_value(json_object_get(h, "preference"));
	char *security = show_value(json_object_get(h, "security"));
	char *verdict = show_value(json_object_get(h, "verdict"));
	char *level = show_value(json_object_get(h, "level"));

	(void)fprintf(out, "\n%4s %s: %s", preference, name, verdict);
	if (strcmp(verdict, "attempt") == 0)
		(void)fprintf(out, ", TLS level %s", level);
	if (word(h, "reason")[0] != '\0') {
		char *reason = show_value(json_object_get(h, "reason"));

		(void)fprintf(out, " (%s)", reason);
		free(reason);
	}
	(void)fprintf(out, "\n     DNS answers %s\n", security);
	(void)fputs("     ", out);
	show_line(out, 9, "addresses", json_object_get(h, "addresses"));
	if (json_is_object(tlsa)) {
		(void)fputs("     ", out);
		show_line(out, 9, "TLSA", json_object_get(tlsa, "state"));
	}
	if (json_array_size(json_object_get(h, "names")) > 0) {
		(void)fputs("     ", out);
		show_line(out, 9, "names", json_object_get(h, "names"));
	}
	show_rules(out, h);
	free(name);
	free(preference);
	free(security);
	free(verdict);
	free(level);
}

static void
show(FILE *out, json_t *doc)
{
	static const char *const plain[][2] = { { "recipient", "recipient" },
		{ "domain", "domain" }, { "gateway", "gateway" },
		{ "MX", "mx_security" }, { "outcome", "outcome" },
		{ "reason", "reason" }, { "text", "text" },
		{ "state", "state" }, { "next attempt", "next_attempt" } };
	json_t *h;
	size_t i;

	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		show_line(
		    out, WIDTH, plain[i][0], json_object_get(doc, plain[i][1]));
	show_flat(out, WIDTH, "route", json_object_get(doc, "route"), "none");
	(void)fputs("control\n", out);
	show_tree(out, 2, json_object_get(doc, "control"));
	show_flat(out, WIDTH, "MTA-STS", json_object_get(doc, "sts"), "-");
	if (word(doc, "facts_replaced")[0] != '\0')
		show_line(out, WIDTH, "given",
		    json_object_get(doc, "facts_replaced"));
	json_array_foreach(json_object_get(doc, "limits"), i, h)
		show_flat(out, WIDTH, i == 0 ? "limits" : "", h, "-");
	json_array_foreach(json_object_get(doc, "hosts"), i, h)
		show_host(out, h);
	if (json_object_get(doc, "live") != NULL) {
		(void)fputs("\nconnected now, no mail sent:\n", out);
		show_live(out, json_object_get(doc, "live"));
	}
}

/* The values of --with, a line each, as part of the query. */
static char *
with_facts(const struct args *a)
{
	char text[1100] = "";
	size_t at = 0;
	int i;

	for (i = 0; i < a->n_opts && at < sizeof(text); i++)
		if (strcmp(a->opts[i].name, "--with") == 0)
			at += (size_t)snprintf(text + at, sizeof(text) - at,
			    "%s%s", at > 0 ? "\n" : "", a->opts[i].value);
	return ctl_escape(text);
}

int
cmd_explain(struct ctl *ctl, const struct args *a)
{
	static const char *const names[][2] = { { "--from", "from" },
		{ "--client", "client" } };
	char path[8192], *esc = ctl_escape(a->pos[0]);
	size_t i, n;
	json_t *doc;
	int code;

	n = (size_t)snprintf(
	    path, sizeof(path), "/v1/explain?target=%.3000s", esc);
	free(esc);
	for (i = 0; i < 2; i++) {
		const char *value = args_opt(a, names[i][0]);

		if (value == NULL)
			continue;
		esc = ctl_escape(strcmp(value, "<>") == 0 ? "" : value);
		n += (size_t)snprintf(path + n, sizeof(path) - n, "&%s=%.2000s",
		    names[i][1], esc);
		free(esc);
	}
	esc = with_facts(a);
	if (esc[0] != '\0')
		n += (size_t)snprintf(
		    path + n, sizeof(path) - n, "&with=%.3300s", esc);
	free(esc);
	if (args_opt(a, "--live") != NULL)
		(void)snprintf(path + n, sizeof(path) - n, "&live=1");
	code = ctl_ask(ctl, "GET", path, NULL, &doc);
	if (code != CTL_DONE)
		return code;
	if (strcmp(word(doc, "outcome"), "deliver") != 0)
		code = CTL_NO;
	if (ctl->json)
		ctl_print_json(ctl, doc);
	else
		show(ctl->out, doc);
	json_decref(doc);
	return code;
}
