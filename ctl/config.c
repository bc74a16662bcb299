/*
 * config.c - settings tables: list, show, new, edit, delete; and what is staged:
 * showchanges, commit, clearchanges, rollbackconfig, history.
 *
 * One engine for every table: the command's name is the table's. Nothing is in
 * force before commit.
 */
#include "ctl/config.h"
#include "ctl/ctl.h"
#include "ctl/show.h"
#include "ctl/terminal.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who is at the keyboard; for the record, not for a right. */
const char *
config_who(void)
{
	const char *sudo = getenv("SUDO_USER");
	const struct passwd *pw;

	if (sudo != NULL && sudo[0] != '\0' && strlen(sudo) <= 64)
		return sudo;
	pw = getpwuid(getuid());
	return pw != NULL && pw->pw_name[0] != '\0' ? pw->pw_name : "-";
}

static int
usage(struct ctl *ctl, const char *name, const char *text)
{
	(void)fprintf(ctl->err, "posternctl: %s: %s\n", name, text);
	return CTL_USAGE;
}

/* ---- entries ---------------------------------------------------------------------- */

static void
show_entry(FILE *out, const json_t *entry)
{
	char *name = show_value(json_object_get(entry, "name")), *value;
	const char *key;
	json_t *v;

	(void)fprintf(out, "[%s]\n", name);
	json_object_foreach(json_object_get(entry, "keys"), key, v) {
		value = show_value(v);
		(void)fprintf(out, "  %-28s %s\n", key, value);
		free(value);
	}
	free(name);
}

int
config_list(
    struct ctl *ctl, const char *kin, const char *after, json_t **ret_doc)
{
	char *word = ctl_escape(after), path[2048];

	(void)snprintf(path, sizeof(path), "/v1/config/%s?limit=1000%s%.1500s",
	    kin, after[0] != '\0' ? "&after=" : "",
	    word == NULL || after[0] == '\0' ? "" : word);
	free(word);
	return ctl_ask(ctl, "GET", path, NULL, ret_doc);
}

int
config_show_list(struct ctl *ctl, const char *kin)
{
	char path[128];
	const json_t *entry;
	json_t *doc;
	size_t i;
	int code;

	(void)snprintf(path, sizeof(path), "/v1/config/%s", kin);
	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	if (doc == NULL)
		return code;
	json_array_foreach(json_object_get(doc, "entries"), i, entry)
		show_entry(ctl->out, entry);
	if (json_is_true(json_object_get(doc, "truncated")))
		(void)fprintf(ctl->out,
		    "(the first %zu; more: %s show NAME, or the file)\n", i,
		    kin);
	if (json_is_true(json_object_get(doc, "staged")))
		(void)fputs("There are staged changes: showchanges, commit.\n",
		    ctl->out);
	json_decref(doc);
	return CTL_DONE;
}

int
config_show(struct ctl *ctl, const char *kin, const char *name)
{
	char *word = ctl_escape(name), path[2048];
	json_t *doc;
	int code;

	(void)snprintf(path, sizeof(path), "/v1/config/%s?name=%.1500s", kin,
	    word == NULL ? "" : word);
	free(word);
	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	if (doc != NULL)
		show_entry(ctl->out, doc);
	json_decref(doc);
	return code;
}

/* key=value words as {"key": "value"}; "key=" takes the key away. */
static json_t *
keys_of(struct ctl *ctl, const struct args *a, int from)
{
	json_t *keys = json_object();
	char key[128];
	const char *eq;
	int i;

	for (i = from; i < a->n_pos; i++) {
		eq = strchr(a->pos[i], '=');
		if (eq == NULL || eq == a->pos[i] ||
		    (size_t)(eq - a->pos[i]) >= sizeof(key)) {
			(void)fprintf(ctl->err,
			    "posternctl: %s: wanted key=value, not '%s'\n",
			    a->cmd->name, a->pos[i]);
			json_decref(keys);
			return NULL;
		}
		(void)snprintf(
		    key, sizeof(key), "%.*s", (int)(eq - a->pos[i]), a->pos[i]);
		if (json_object_set_new(keys, key,
			eq[1] == '\0' ? json_null() : json_string(eq + 1)) <
		    0) {
			(void)fputs("posternctl: the argument is no UTF-8 "
				    "text\n",
			    ctl->err);
			json_decref(keys);
			return NULL;
		}
	}
	return keys;
}

int
config_edit(struct ctl *ctl, const char *kin, const char *verb,
    const char *name, json_t *keys, json_t **ret_doc)
{
	json_t *body = json_pack("{s:s, s:s, s:o, s:s}", "verb", verb, "name",
	    name, "keys", keys, "who", config_who());
	char path[128];

	*ret_doc = NULL;
	if (body == NULL) {
		(void)fputs(
		    "posternctl: the argument is no UTF-8 text\n", ctl->err);
		return CTL_USAGE;
	}
	(void)snprintf(path, sizeof(path), "/v1/config/%s", kin);
	return ctl_ask(ctl, "POST", path, body, ret_doc);
}

static int
change(struct ctl *ctl, const char *kin, const char *verb, const char *name,
    json_t *keys)
{
	json_t *doc = NULL;
	const char *others;
	int code;

	code = config_edit(ctl, kin, verb, name, keys, &doc);
	if (doc == NULL)
		return code;
	others = json_string_value(json_object_get(doc, "others"));
	if (ctl->json)
		ctl_print_json(ctl, doc);
	else
		(void)fputs("staged; see showchanges, then commit\n", ctl->out);
	if (!ctl->json && others != NULL && others[0] != '\0')
		(void)fprintf(ctl->out,
		    "note: %s has staged changes too; commit takes both\n",
		    others);
	json_decref(doc);
	return code;
}

int
cmd_config(struct ctl *ctl, const struct args *a)
{
	const char *kin = a->cmd->name, *verb, *name;
	json_t *keys;

	if (a->n_pos == 0 && !ctl->json && terminal_is(ctl))
		return config_dialog(ctl, kin);
	if (a->n_pos == 0)
		return config_show_list(ctl, kin);
	verb = a->pos[0];
	name = a->n_pos > 1 ? a->pos[1] : NULL;
	if ((strcmp(verb, "list") == 0 || strcmp(verb, "print") == 0) &&
	    a->n_pos == 1)
		return config_show_list(ctl, kin);
	if (strcmp(verb, "clear") == 0 && a->n_pos == 1)
		return change(ctl, kin, verb, "", json_object());
	if (strcmp(verb, "import") == 0 && a->n_pos == 2)
		return config_import(ctl, kin, name);
	if (strcmp(verb, "export") == 0)
		return config_export(ctl, kin, name);
	if (strcmp(verb, "show") == 0 && a->n_pos == 2)
		return config_show(ctl, kin, name);
	if (strcmp(verb, "delete") == 0 && a->n_pos == 2)
		return change(ctl, kin, verb, name, json_object());
	if (strcmp(verb, "default") == 0 && strcmp(kin, "destconfig") == 0) {
		keys = keys_of(ctl, a, 1);
		return keys == NULL ? CTL_USAGE
				    : change(ctl, kin, "edit", "DEFAULT", keys);
	}
	if ((strcmp(verb, "new") != 0 && strcmp(verb, "edit") != 0) ||
	    name == NULL)
		return usage(ctl, kin,
		    "wanted list, show NAME, new NAME key=value ..., edit NAME "
		    "key=value ..., delete NAME, clear, import FILE or export "
		    "[FILE]; see --help");
	keys = keys_of(ctl, a, 2);
	return keys == NULL ? CTL_USAGE : change(ctl, kin, verb, name, keys);
}

/* ---- what is staged ---------------------------------------------------------------- */

static void
show_problems(FILE *out, const json_t *doc, const char *field, const char *word)
{
	const json_t *e;
	size_t i;

	json_array_foreach(json_object_get(doc, field), i, e) {
		char *file = show_value(json_object_get(e, "file"));
		char *text = show_value(json_object_get(e, "text"));

		(void)fprintf(out, "%s:%lld: %s: %s\n", file,
		    (long long)json_integer_value(json_object_get(e, "line")),
		    word, text);
		free(file);
		free(text);
	}
}

static void
show_change(FILE *out, const json_t *c)
{
	char *kin = show_value(json_object_get(c, "kin"));
	char *entry = show_value(json_object_get(c, "entry"));
	char *what = show_value(json_object_get(c, "change"));
	const json_t *k, *from, *to;
	size_t i;

	(void)fprintf(out, "%s [%s] %s\n", kin, entry, what);
	json_array_foreach(json_object_get(c, "keys"), i, k) {
		char *key = show_value(json_object_get(k, "key")), *v;

		from = json_object_get(k, "from");
		to = json_object_get(k, "to");
		if (json_is_string(from)) {
			v = show_value(from);
			(void)fprintf(out, "  - %s = %s\n", key, v);
			free(v);
		}
		if (json_is_string(to)) {
			v = show_value(to);
			(void)fprintf(out, "  + %s = %s\n", key, v);
			free(v);
		}
		free(key);
	}
	free(kin);
	free(entry);
	free(what);
}

int
cmd_showchanges(struct ctl *ctl, const struct args *a)
{
	json_t *doc;
	const json_t *c;
	bool ok;
	size_t i;
	int code = config_changes(ctl, &doc);

	(void)a;
	if (code != CTL_DONE)
		return code;
	ok = !json_is_false(json_object_get(doc, "ok"));
	if (ctl->json) {
		ctl_print_json(ctl, doc);
	} else if (!json_is_true(json_object_get(doc, "staged"))) {
		(void)fputs("nothing is staged\n", ctl->out);
	} else {
		char *by = show_value(json_object_get(doc, "who"));
		const json_t *others = json_object_get(doc, "others");
		bool more = json_string_length(others) > 0;
		char *also = show_value(others); /* "-" when there is none */

		(void)fprintf(ctl->out, "staged by %s%s%s\n", by,
		    more ? " and " : "", more ? also : "");
		json_array_foreach(json_object_get(doc, "changes"), i, c)
			show_change(ctl->out, c);
		if ((json_int_t)i <
		    json_integer_value(json_object_get(doc, "count")))
			(void)fprintf(ctl->out, "and %lld more\n",
			    (long long)(json_integer_value(
					    json_object_get(doc, "count")) -
				(json_int_t)i));
		show_problems(ctl->out, doc, "errors", "error");
		show_problems(ctl->out, doc, "warnings", "warning");
		if (ok)
			config_show_impact(ctl->out, doc);
		free(by);
		free(also);
	}
	json_decref(doc);
	return ok ? CTL_DONE : CTL_NO;
}

/* commit and rollback answer alike. */
static int
committed(struct ctl *ctl, const char *path, json_t *body)
{
	json_t *doc;
	bool ok, in_force;
	int code = ctl_ask(ctl, "POST", path, body, &doc);

	if (code != CTL_DONE)
		return code;
	ok = json_is_true(json_object_get(doc, "ok"));
	in_force = !json_is_false(json_object_get(doc, "in_force"));
	if (ctl->json) {
		ctl_print_json(ctl, doc);
	} else {
		show_problems(ctl->out, doc, "errors", "error");
		show_problems(ctl->out, doc, "warnings", "warning");
		if (ok)
			(void)fprintf(ctl->out,
			    "committed as revision %lld, and %s\n",
			    (long long)json_integer_value(
				json_object_get(doc, "revision")),
			    in_force ? "in force"
				     : "not in force everywhere: the log names "
				       "the processes that keep the old "
				       "settings; reload tries again");
		else
			(void)fputs("refused: nothing has changed, and what "
				    "is staged stays staged\n",
			    ctl->out);
	}
	json_decref(doc);
	return ok && in_force ? CTL_DONE : CTL_NO;
}

int
cmd_commit(struct ctl *ctl, const struct args *a)
{
	const char *message = args_opt(a, "-m");
	struct terminal *term;
	char text[900] = "";
	json_t *doc = NULL;

	/* told before, not asked: a script's commit is one too */
	if (!ctl->json && config_changes(ctl, &doc) == CTL_DONE &&
	    json_is_true(json_object_get(doc, "ok")))
		config_show_impact(ctl->out, doc);
	json_decref(doc);

	/* who sits there is asked, as he is used to */
	if (message == NULL && !ctl->json && terminal_is(ctl) &&
	    (term = terminal_new(ctl)) != NULL) {
		(void)fputs(
		    "Please enter some comments describing your changes:\n",
		    ctl->out);
		if (!terminal_ask(term, "", text, sizeof(text))) {
			terminal_free(term);
			(void)fputs("\nnothing is committed\n", ctl->out);
			return CTL_NO;
		}
		terminal_free(term);
		message = text;
	}
	return committed(ctl, "/v1/commit",
	    json_pack("{s:s, s:s}", "message", message == NULL ? "" : message,
		"who", config_who()));
}

int
cmd_rollbackconfig(struct ctl *ctl, const struct args *a)
{
	json_t *body = json_pack("{s:s}", "who", config_who());
	char *end;
	long long n;

	if (a->n_pos > 0) {
		errno = 0;
		n = strtoll(a->pos[0], &end, 10);
		if (errno != 0 || *end != '\0' || n <= 0) {
			json_decref(body);
			return usage(ctl, "rollbackconfig",
			    "the revision is a number: see history");
		}
		(void)json_object_set_new(body, "revision", json_integer(n));
	}
	return committed(ctl, "/v1/rollback", body);
}

int
cmd_clearchanges(struct ctl *ctl, const struct args *a)
{
	json_t *doc;
	int code = ctl_ask_show(ctl, "POST", "/v1/clearchanges",
	    json_pack("{s:s}", "who", config_who()), &doc);

	(void)a;
	if (doc != NULL)
		(void)fputs(json_is_true(json_object_get(doc, "cleared"))
			? "cleared\n"
			: "nothing was staged\n",
		    ctl->out);
	json_decref(doc);
	return code;
}

int
cmd_history(struct ctl *ctl, const struct args *a)
{
	static const struct show_column cols[] = { { "revision", true },
		{ "time", false }, { "who", false }, { "message", false } };
	struct show_table *t;
	const json_t *r;
	json_t *doc;
	size_t i;
	int code = ctl_ask_show(ctl, "GET", "/v1/history", NULL, &doc);

	(void)a;
	if (doc == NULL)
		return code;
	t = show_table_new(cols, sizeof(cols) / sizeof(cols[0]));
	json_array_foreach(json_object_get(doc, "revisions"), i, r) {
		show_cell(t, show_value(json_object_get(r, "revision")));
		show_cell(t, show_value(json_object_get(r, "time")));
		show_cell(t, show_value(json_object_get(r, "who")));
		show_cell(t, show_value(json_object_get(r, "message")));
	}
	show_table_print(t, ctl->out, 0);
	json_decref(doc);
	return code;
}
