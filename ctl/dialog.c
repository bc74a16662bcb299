/*
 * dialog.c - a settings table at a terminal: the operations, and the questions
 * of questions.c about one entry.
 *
 * Called by config.c when a command stands alone at a terminal. Every answer is
 * checked at once by the settings' own rules; an entry is staged when its last
 * question is answered, and never in part.
 */
#include "ctl/config.h"
#include "ctl/ctl.h"
#include "ctl/questions.h"
#include "ctl/show.h"
#include "ctl/terminal.h"
#include "lib/conf/conf_edit.h"
#include "lib/conf/conf_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct dialog {
	struct ctl *ctl;
	const struct dialog_table *t;
	struct terminal *term;
	bool over; /* the input has ended */
	char name[CONF_EDIT_NAME];
	json_t *old;	  /* keys of the entry; NULL: a new one */
	json_t *defaults; /* keys of the special entry, or NULL */
	json_t *keys;	  /* what is asked to be staged */
};

static void __attribute__((format(printf, 2, 3)))
say(struct dialog *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(d->ctl->out, fmt, ap);
	va_end(ap);
	(void)fputc('\n', d->ctl->out);
}

/* A text of the tables, whose only conversion is the entry's name. */
static void
say_named(struct dialog *d, const char *text)
{
	const char *at = strstr(text, "%s");

	if (at == NULL)
		say(d, "%s", text);
	else
		say(d, "%.*s%s%s", (int)(at - text), text, d->name, at + 2);
}

static bool
ask(struct dialog *d, const char *def, char *out, size_t len)
{
	if (!d->over && !terminal_ask(d->term, def, out, len)) {
		d->over = true;
		(void)fputc('\n', d->ctl->out);
	}
	return !d->over;
}

static bool
ask_yes(struct dialog *d, bool def, bool *ret_yes)
{
	char word[16];

	for (;;) {
		if (!ask(d, def ? "Y" : "N", word, sizeof(word)))
			return false;
		*ret_yes =
		    strcasecmp(word, "y") == 0 || strcasecmp(word, "yes") == 0;
		if (*ret_yes || strcasecmp(word, "n") == 0 ||
		    strcasecmp(word, "no") == 0)
			return true;
		say(d, "Please answer Y or N.");
	}
}

/* ---- the node ---------------------------------------------------------------- */

/* The keys of an entry; NULL when there is none. Says nothing. */
static json_t *
fetch(struct dialog *d, const char *kin, const char *name)
{
	char *word = ctl_escape(name), path[2048];
	json_t *doc = NULL, *keys;

	(void)snprintf(path, sizeof(path), "/v1/config/%s?name=%.1500s", kin,
	    word == NULL ? "" : word);
	free(word);
	(void)ctl_ask_quiet(d->ctl, "GET", path, NULL, &doc);
	keys = json_incref(json_object_get(doc, "keys"));
	json_decref(doc);
	return keys;
}

static void
stage(struct dialog *d, const char *verb, const char *name)
{
	json_t *doc = NULL;
	const char *others;

	(void)config_edit(
	    d->ctl, d->t->kin, verb, name, json_incref(d->keys), &doc);
	if (doc == NULL)
		return; /* it was told why */
	others = json_string_value(json_object_get(doc, "others"));
	say(d, "Staged; nothing is in force before commit.");
	if (others != NULL && others[0] != '\0')
		say(d, "Note: %s has staged changes too; commit takes both.",
		    others);
	json_decref(doc);
}

/* ---- one question -------------------------------------------------------------- */

static const struct conf_section *
section(const struct dialog *d)
{
	switch (d->t->table) {
	case CONF_T_ROUTES:
		return &conf_schema[CONF_S_ROUTE];
	case CONF_T_GATEWAYS:
		return &conf_schema[CONF_S_GATEWAY];
	case CONF_T_BOUNCE:
		return &conf_schema[CONF_S_PROFILE];
	default:
		return &conf_schema[CONF_S_DESTINATION];
	}
}

/* What holds now: the entry's own value, DEFAULT's, the built-in one; or "". */
static const char *
holds(const struct dialog *d, const char *key)
{
	const struct conf_section *s = section(d);
	const char *v = json_string_value(json_object_get(d->old, key));
	int i;

	/* only destinations inherit from their DEFAULT */
	if (v == NULL && d->t->table == CONF_T_DESTINATIONS)
		v = json_string_value(json_object_get(d->defaults, key));
	if (v != NULL)
		return v;
	i = conf_key_find(s, key, strlen(key));
	return i >= 0 && s->keys[i].def != NULL ? s->keys[i].def : "";
}

static bool
good(struct dialog *d, const char *key, const char *value)
{
	char name[CONF_EDIT_NAME], why[200] = "";

	(void)snprintf(name, sizeof(name), "%s%.200s", d->t->prefix, d->name);
	if (conf_edit_check(d->t->table, name, key, value, why, sizeof(why)) ==
	    0)
		return true;
	say(d, "%s", why[0] != '\0' ? why : "That cannot be taken.");
	return false;
}

static void
take(struct dialog *d, const char *key, const char *value)
{
	(void)json_object_set_new(d->keys, key, json_string(value));
}

static bool
ask_value(struct dialog *d, const struct question *q)
{
	char value[900];

	do {
		say_named(d, q->prompt);
		if (!ask(d, holds(d, q->key), value, sizeof(value)))
			return false;
	} while (value[0] == '\0' || !good(d, q->key, value));
	/* without a gate an empty answer leaves things as they are */
	if (q->gate != NULL || strcmp(value, holds(d, q->key)) != 0)
		take(d, q->key, value);
	return true;
}

static bool
ask_choice(struct dialog *d, const struct question *q)
{
	size_t i, n, at = 0;
	char word[64], def[8], *end;

	for (n = 0; q->choices[n].value != NULL; n++)
		if (strcmp(q->choices[n].value, holds(d, q->key)) == 0)
			at = n;
	(void)snprintf(def, sizeof(def), "%zu", at + 1);
	for (;;) {
		say_named(d, q->prompt);
		for (i = 0; i < n; i++)
			say(d, "%zu. %s", i + 1, q->choices[i].text);
		if (!ask(d, def, word, sizeof(word)))
			return false;
		i = strtoul(word, &end, 10);
		if (*end != '\0')
			for (i = 1; i <= n &&
			     strcasecmp(q->choices[i - 1].value, word) != 0;)
				i++;
		if (i >= 1 && i <= n)
			break;
		say(d, "Please enter a number from 1 to %zu.", n);
	}
	if (q->gate != NULL || i - 1 != at)
		take(d, q->key, q->choices[i - 1].value);
	return true;
}

static bool
ask_rate(struct dialog *d, const struct question *q)
{
	unsigned long count = 0, minutes = 60;
	char text[32], value[64];

	(void)sscanf(holds(d, q->key), "%lu/%lum", &count, &minutes);
	for (;;) {
		say(d,
		    "Enter the number of minutes used to measure the recipient "
		    "limit.");
		(void)snprintf(text, sizeof(text), "%lu", minutes);
		if (!ask(d, text, text, sizeof(text)))
			return false;
		minutes = strtoul(text, NULL, 10);
		say(d,
		    "Enter the max number of recipients per %lu minutes for "
		    "\"%s\".",
		    minutes, d->name);
		(void)snprintf(text, sizeof(text), "%lu", count);
		if (count == 0)
			text[0] = '\0';
		if (!ask(d, text, text, sizeof(text)))
			return false;
		(void)snprintf(value, sizeof(value), "%s/%lum", text, minutes);
		if (good(d, q->key, value))
			break;
		if (minutes < 1 || minutes > 60)
			minutes = 60;
	}
	take(d, q->key, value);
	return true;
}

static bool
ask_on(struct dialog *d, const struct question *q)
{
	const char *now = holds(d, q->key);
	bool was = strcmp(now, "on") == 0 || strcmp(now, "yes") == 0, yes;

	say_named(d, q->prompt);
	if (!ask_yes(d, was, &yes))
		return false;
	if (!good(d, q->key, yes ? "on" : "off"))
		return true;
	if (q->gate != NULL || yes != was)
		take(d, q->key, yes ? "on" : "off");
	return true;
}

/* The route for the domain, exact, by its parents, ALL. */
static bool
route_of(struct dialog *d, char *ret_name, size_t len, bool *ret_dns)
{
	const char *at = d->name, *hosts;
	json_t *keys = NULL;
	bool found;

	while (keys == NULL && at != NULL) {
		(void)snprintf(ret_name, len, "%s", at);
		keys = fetch(d, "smtproutes", at);
		at = strchr(at + 1, '.');
	}
	if (keys == NULL) {
		(void)snprintf(ret_name, len, "ALL");
		keys = fetch(d, "smtproutes", "ALL");
	}
	hosts = json_string_value(json_object_get(keys, "hosts"));
	*ret_dns = hosts != NULL && strcasecmp(hosts, "USEDNS") == 0;
	found = keys != NULL;
	json_decref(keys);
	return found;
}

static void
note_route(struct dialog *d)
{
	char route[CONF_EDIT_NAME];
	bool dns;

	if (strcmp(d->name, "DEFAULT") == 0 || strncmp(d->name, "mx:", 3) == 0)
		return;
	if (route_of(d, route, sizeof(route), &dns) && !dns)
		say(d,
		    "Note: the route [%s] of smtproutes covers %s: DANE and "
		    "MTA-STS are not enforced for it.",
		    route, d->name);
}

/* Is TLS off, by this dialogue or, unless it says otherwise, before it? */
static bool
tls_is_off(const struct dialog *d)
{
	const json_t *v = json_object_get(d->keys, "tls");

	return v != NULL
	    ? json_is_string(v) && strcmp(json_string_value(v), "none") == 0
	    : strcmp(holds(d, "tls"), "none") == 0;
}

static bool
one_question(struct dialog *d, const struct question *q)
{
	bool yes = true, had;

	if (q->kind == Q_NOTE) {
		note_route(d);
		return true;
	}
	had = json_object_get(d->old, q->key) != NULL;
	if (q->needs_tls && tls_is_off(d)) {
		if (had) /* refused beside tls = none */
			(void)json_object_set_new(d->keys, q->key, json_null());
		return true;
	}
	if (q->gate != NULL) {
		say_named(d, q->gate);
		if (!ask_yes(d, d->old != NULL ? had : q->gate_yes, &yes))
			return false;
	}
	if (!yes) {
		if (had)
			(void)json_object_set_new(d->keys, q->key, json_null());
		return true;
	}
	switch (q->kind) {
	case Q_CHOICE:
		return ask_choice(d, q);
	case Q_RATE:
		return ask_rate(d, q);
	case Q_YESNO:
		return ask_on(d, q);
	default:
		return ask_value(d, q);
	}
}

/* mx: entries hold limits only. */
static bool
asked_of(const struct dialog *d, const struct question *q)
{
	return strncmp(d->name, "mx:", 3) != 0 || q->key == NULL ||
	    strcmp(q->key, "max_connections") == 0 ||
	    strcmp(q->key, "max_messages_per_connection") == 0 ||
	    strcmp(q->key, "recipient_limit") == 0 ||
	    strcmp(q->key, "limit_apply") == 0;
}

static void
questions(struct dialog *d, const char *verb)
{
	const struct question *q;
	bool said = false;

	d->keys = json_object();
	if (d->t->special != NULL)
		d->defaults = fetch(d, d->t->kin, d->t->special);
	for (q = d->t->questions; q->prompt != NULL; q++) {
		if (!asked_of(d, q))
			continue;
		if (q->needs_tls && tls_is_off(d) && !said) {
			say(d,
			    "Note: without TLS there is no DANE and no "
			    "MTA-STS; both are off for %s.",
			    d->name);
			said = true;
		}
		if (!one_question(d, q))
			break;
	}
	if (d->over)
		say(d, "Nothing is staged for %s.", d->name);
	else
		stage(d, verb, d->name);
	json_decref(d->keys);
	json_decref(d->defaults);
	json_decref(d->old);
	d->keys = d->defaults = d->old = NULL;
}

/* ---- operations ------------------------------------------------------------------ */

/* A name in its one form, in d->name. */
static bool
ask_name(struct dialog *d, const char *prompt)
{
	char text[CONF_EDIT_NAME], name[CONF_EDIT_NAME], why[200] = "";
	int n;

	for (;;) {
		say(d, "%s", prompt);
		if (!ask(d, "", text, sizeof(text)) || text[0] == '\0')
			return false;
		n = snprintf(
		    name, sizeof(name), "%s%.250s", d->t->prefix, text);
		if (conf_edit_name(d->t->table, name, (size_t)n, d->name, why,
			sizeof(why)))
			break;
		say(d, "Found '%s', wanted %s.", text, why);
	}
	memmove(d->name, d->name + strlen(d->t->prefix),
	    strlen(d->name) - strlen(d->t->prefix) + 1);
	return true;
}

static void
do_new(struct dialog *d)
{
	if (!ask_name(d, d->t->name))
		return;
	d->old = fetch(d, d->t->kin, d->name);
	if (d->old != NULL) {
		say(d, "There is an entry for %s already: use EDIT.", d->name);
		json_decref(d->old);
		d->old = NULL;
		return;
	}
	questions(d, "new");
}

static void
edit_named(struct dialog *d)
{
	d->old = fetch(d, d->t->kin, d->name);
	if (d->old == NULL &&
	    (d->t->special == NULL || strcmp(d->t->special, d->name) != 0)) {
		say(d, "There is no entry for %s.", d->name);
		return;
	}
	if (d->old == NULL)
		d->old = json_object();
	questions(d, "edit");
}

static void
do_edit(struct dialog *d)
{
	if (ask_name(d, "Enter the entry you wish to edit."))
		edit_named(d);
}

static void
do_default(struct dialog *d)
{
	(void)snprintf(d->name, sizeof(d->name), "%s", d->t->special);
	edit_named(d);
}

static void
do_delete(struct dialog *d)
{
	if (!ask_name(d, "Enter the entry you wish to delete."))
		return;
	d->keys = json_object();
	stage(d, "delete", d->name);
	json_decref(d->keys);
	d->keys = NULL;
}

static void
do_clear(struct dialog *d)
{
	bool yes;

	say(d, "Do you really wish to delete every entry%s%s?",
	    d->t->table == CONF_T_DESTINATIONS ? " but " : "",
	    d->t->table == CONF_T_DESTINATIONS ? d->t->special : "");
	if (!ask_yes(d, false, &yes) || !yes)
		return;
	d->keys = json_object();
	stage(d, "clear", "");
	json_decref(d->keys);
	d->keys = NULL;
}

static void
do_list(struct dialog *d)
{
	(void)config_show_list(d->ctl, d->t->kin);
}

static void
do_detail(struct dialog *d)
{
	if (ask_name(d, "Enter the entry you wish to see."))
		(void)config_show(d->ctl, d->t->kin, d->name);
}

static void
do_import(struct dialog *d)
{
	char file[512];

	say(d, "Enter the name of the file to import; it replaces the table.");
	if (ask(d, "", file, sizeof(file)) && file[0] != '\0')
		(void)config_import(d->ctl, d->t->kin, file);
}

static void
do_export(struct dialog *d)
{
	char file[512];

	say(d, "Enter the name of the file to write.");
	if (ask(d, "", file, sizeof(file)) && file[0] != '\0' &&
	    config_export(d->ctl, d->t->kin, file) == CTL_DONE)
		say(d, "Written to %s.", file);
}

static void
do_setup(struct dialog *d)
{
	say(d,
	    "What holds for all destinations stands in DEFAULT. Certificates, "
	    "[delivery] max_connections\nand max_tls_connections stand in "
	    "postern.conf, which is edited by hand. Required TLS that\nfails "
	    "is "
	    "always told in the log, status and metrics.");
}

static const struct {
	const char *word, *help;
	void (*run)(struct dialog *d);
	int only; /* 1: with a special entry, 2: destconfig */
} operations[] = {
	{ "NEW", "Create a new entry.", do_new, 0 },
	{ "EDIT", "Modify an entry.", do_edit, 0 },
	{ "DELETE", "Delete an entry.", do_delete, 0 },
	{ "DEFAULT", "Modify the default entry.", do_default, 1 },
	{ "LIST", "Display the entries.", do_list, 0 },
	{ "DETAIL", "Display one entry.", do_detail, 0 },
	{ "CLEAR", "Delete all entries.", do_clear, 0 },
	{ "IMPORT", "Replace the table by a file.", do_import, 0 },
	{ "EXPORT", "Write the table to a file.", do_export, 0 },
	{ "SETUP", "What is set elsewhere.", do_setup, 2 },
};
enum { N_OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

static bool
has(const struct dialog *d, size_t i)
{
	return operations[i].only == 0 ||
	    (operations[i].only == 1 && d->t->special != NULL) ||
	    (operations[i].only == 2 && d->t->other);
}

/* "PRINT" is what some are used to. */
static size_t
operation(const struct dialog *d, const char *word)
{
	size_t i;

	if (strcasecmp(word, "print") == 0)
		word = "LIST";
	for (i = 0; i < N_OPERATIONS; i++)
		if (has(d, i) && strcasecmp(operations[i].word, word) == 0)
			break;
	return i;
}

int
config_dialog(struct ctl *ctl, const char *kin)
{
	struct dialog d = { .ctl = ctl, .t = dialog_table(kin) };
	char word[32];
	json_t *doc;
	size_t i;
	int code;

	code = config_list(ctl, kin, "", &doc);
	if (doc == NULL)
		return code;
	d.term = terminal_new(ctl);
	if (d.term == NULL) {
		(void)fputs("posternctl: no terminal\n", ctl->err);
		json_decref(doc);
		return CTL_NO;
	}
	say(&d, "There are currently %lld entries.",
	    (long long)json_integer_value(json_object_get(doc, "count")));
	json_decref(doc);
	while (!d.over) {
		say(&d, "\nChoose the operation you want to perform:");
		for (i = 0; i < N_OPERATIONS; i++)
			if (has(&d, i))
				say(&d, "- %s - %s", operations[i].word,
				    operations[i].help);
		if (!ask(&d, "", word, sizeof(word)) || word[0] == '\0')
			break;
		i = operation(&d, word);
		if (i < N_OPERATIONS)
			operations[i].run(&d);
		else
			say(&d, "There is no operation %s.", word);
	}
	terminal_free(d.term);
	return CTL_DONE;
}
