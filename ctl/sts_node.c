/*
 * sts_node.c - sts list, show, refresh: the policies that the node holds.
 */
#include "ctl/ctl.h"
#include "ctl/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 14 };

static const struct {
	const char *label, *key;
} lines[] = {
	{ "domain", "domain" },
	{ "state", "state" },
	{ "reason", "reason" },
	{ "source", "source" },
	{ "mode", "mode" },
	{ "id", "id" },
	{ "mx", "mx" },
	{ "age (s)", "age_s" },
	{ "max_age (s)", "max_age_s" },
	{ "fetched", "fetched" },
	{ "expires", "expires" },
	{ "used", "used" },
	{ "next refresh", "next_refresh" },
	{ "failures", "failures" },
	{ "last error", "last_error" },
};

static void
show_policy(FILE *out, const json_t *doc)
{
	const json_t *v;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		v = json_object_get(doc, lines[i].key);
		if (v != NULL)
			show_line(out, WIDTH, lines[i].label, v);
	}
}

int
cmd_sts_list(struct ctl *ctl, const struct args *a)
{
	static const struct show_column cols[] = { { "domain", false },
		{ "mode", false }, { "id", false }, { "age s", true },
		{ "max_age s", true }, { "failures", true } };
	static const char *const keys[] = { "domain", "mode", "id", "age_s",
		"max_age_s", "failures" };
	const char *limit = args_opt(a, "--limit"),
		   *after = args_opt(a, "--after");
	char path[2048], *esc_limit, *esc_after = NULL;
	const json_t *p;
	struct show_table *t;
	json_t *doc;
	size_t i, k;
	int code;

	esc_limit = ctl_escape(limit != NULL ? limit : "100");
	if (after != NULL)
		esc_after = ctl_escape(after);
	(void)snprintf(path, sizeof(path), "/v1/sts?limit=%.64s%s%.1000s",
	    esc_limit, after != NULL ? "&after=" : "",
	    esc_after != NULL ? esc_after : "");
	free(esc_limit);
	free(esc_after);
	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	if (doc == NULL)
		return code;
	t = show_table_new(cols, 6);
	json_array_foreach(json_object_get(doc, "policies"), i, p)
		for (k = 0; k < 6; k++)
			show_cell(t, show_value(json_object_get(p, keys[k])));
	show_table_print(t, ctl->out, 0);
	if (json_is_true(json_object_get(doc, "truncated")))
		(void)fputs("there are more: --after the last one\n", ctl->out);
	json_decref(doc);
	return code;
}

int
cmd_sts_show(struct ctl *ctl, const struct args *a)
{
	char path[2048], *esc = ctl_escape(a->pos[0]), *text;
	json_t *doc;
	int code;

	(void)snprintf(path, sizeof(path), "/v1/sts/%.1000s", esc);
	free(esc);
	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	if (doc == NULL)
		return code;
	show_policy(ctl->out, doc);
	/* escaped: one line of a hostile policy stays one line */
	text = show_value(json_object_get(doc, "text"));
	(void)fprintf(ctl->out, "%-*s %s\n", WIDTH, "text", text);
	free(text);
	json_decref(doc);
	return code;
}

int
cmd_sts_refresh(struct ctl *ctl, const struct args *a)
{
	json_t *body = json_pack("{s:s}", "domain", a->pos[0]), *doc;
	const char *source;
	int code;

	if (body == NULL) {
		(void)fputs(
		    "posternctl: the argument is no UTF-8 text\n", ctl->err);
		return CTL_USAGE;
	}
	code = ctl_ask(ctl, "POST", "/v1/stsrefresh", body, &doc);
	if (code != CTL_DONE)
		return code;
	source = json_string_value(json_object_get(doc, "source"));
	if (source == NULL || strcmp(source, "fetched") != 0)
		code = CTL_NO;
	if (ctl->json)
		ctl_print_json(ctl, doc);
	else
		show_policy(ctl->out, doc);
	json_decref(doc);
	return code;
}
