/*
 * config.c - resources of staged settings: each is one question to the
 * supervisor, which owns the settings directory.
 *
 * Called from the table in api.c. Checks the form of what was given; whether
 * names and values are good is the owner's to say.
 */
#include "admin/api.h"
#include "lib/base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void
ask(struct work *w, enum config_verb verb, uint64_t number, const char *kin,
    const char *name, const char *pairs, const char *who)
{
	const struct adm_call m = { .op = ADM_CONFIG,
		.num = (uint64_t)verb | number << 8,
		.args = { kin, name, pairs, who } };
	/* whose callers have looked at its length */
	bool text = verb == CONFIG_IMPORT || verb == CONFIG_CHANGES;

	if (!api_fits(w, kin) || !api_fits(w, name) ||
	    (!text && !api_fits(w, pairs)) || !api_fits(w, who) ||
	    !api_want_ask(w))
		return;
	/* a commit reads and checks the whole set */
	if (ask_one(w->ask, ROLE_SUPERVISOR, 0, &m, ASK_EXPLAIN_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, api_pass);
}

void
config_get(struct work *w)
{
	const char *name = http_arg(w->req, "name");
	const char *after = http_arg(w->req, "after");
	const char *limit = http_arg(w->req, "limit");
	uint64_t n = 0;

	if (limit != NULL && (!api_parse_u64(limit, 1000, &n) || n == 0)) {
		(void)api_bad(w, "limit is a number from 1 to 1000");
		return;
	}
	if (name != NULL)
		ask(w, CONFIG_SHOW, 0, w->param, name, "", "");
	else
		ask(w, CONFIG_LIST, n, w->param, after != NULL ? after : "", "",
		    "");
}

/* A text field of a body; def when it is absent, NULL when it is no text. */
static const char *
text_of(json_t *doc, const char *field, const char *def)
{
	json_t *v = json_object_get(doc, field);

	return v == NULL ? def : json_string_value(v);
}

/* {"key": "value", "other": null} as pairs. */
static bool
put_pairs(json_t *keys, struct buf *out)
{
	const char end[] = { CONFIG_PAIR_END, '\0' };
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach(keys, key, value) {
		if (strchr(key, '=') != NULL ||
		    strchr(key, CONFIG_PAIR_END) != NULL ||
		    (!json_is_string(value) && !json_is_null(value)) ||
		    (json_is_string(value) &&
			strchr(json_string_value(value), CONFIG_PAIR_END) !=
			    NULL))
			return false;
		if (json_is_string(value))
			r = buf_printf(
			    out, "%s=%s%s", key, json_string_value(value), end);
		else
			r = buf_printf(out, "%s%s", key, end);
		if (r < 0)
			return false;
	}
	return buf_put(out, "", 1) == 0;
}

/* {"text": T, "part": N, "last": BOOL}: a part of an import. */
static void
import(struct work *w, json_t *doc, const char *who)
{
	const char *text = text_of(doc, "text", NULL);
	json_t *part = json_object_get(doc, "part");
	bool last = json_is_true(json_object_get(doc, "last"));

	if (text == NULL || strlen(text) > ADM_TEXT_MAX || who == NULL ||
	    !json_is_integer(part) || json_integer_value(part) < 0 ||
	    json_integer_value(part) > 100000)
		(void)api_bad(w,
		    "import wants {\"text\" of at most 61440 bytes, "
		    "\"part\": a number from 0, \"last\", \"who\"}");
	else
		ask(w, CONFIG_IMPORT,
		    (uint64_t)json_integer_value(part) << 1 | last, w->param,
		    "", text, who);
}

void
config_post(struct work *w)
{
	static const char *const known[] = { "verb", "name", "keys", "who",
		"text", "part", "last", NULL };
	static const struct {
		const char *word;
		enum config_verb verb;
	} words[] = { { "new", CONFIG_NEW }, { "edit", CONFIG_EDIT },
		{ "delete", CONFIG_DELETE }, { "clear", CONFIG_CLEAR } };
	json_t *doc = api_want_body(w, known), *keys;
	const char *verb, *name, *who;
	struct buf pairs;
	size_t i, n = sizeof(words) / sizeof(words[0]);

	if (doc == NULL)
		return;
	buf_init(&pairs, ADM_ARG_MAX + 1);
	verb = text_of(doc, "verb", "");
	name = text_of(doc, "name", "");
	who = text_of(doc, "who", "-");
	keys = json_object_get(doc, "keys");
	for (i = 0; verb != NULL && i < n; i++)
		if (strcmp(words[i].word, verb) == 0)
			break;
	if (verb != NULL && strcmp(verb, "import") == 0)
		import(w, doc, who);
	else if (verb == NULL || i == n)
		(void)api_bad(w, "verb is new, edit, delete, clear or import");
	else if (name == NULL || who == NULL ||
	    (keys != NULL && !json_is_object(keys)))
		(void)api_bad(w,
		    "wanted {\"verb\", \"name\", \"keys\": {\"key\": "
		    "\"value\" or null}, \"who\"}");
	else if (!put_pairs(keys, &pairs))
		(void)api_bad(
		    w, "keys hold texts or null, at most 1024 bytes in all");
	else
		ask(w, words[i].verb, 0, w->param, name,
		    (const char *)buf_data(&pairs), who);
	buf_done(&pairs);
	json_decref(doc);
}

void
config_changes(struct work *w)
{
	ask(w, CONFIG_CHANGES, 0, "", "", "", "");
}

/* {"queued": {"domain": recipients}}: what would change for these, too. */
void
config_impact(struct work *w)
{
	static const char *const known[] = { "queued", NULL };
	json_t *doc = api_want_body(w, known), *n;
	const char *domain;
	struct buf text;
	int r;

	if (doc == NULL)
		return;
	buf_init(&text, ADM_TEXT_MAX);
	r = buf_puts(&text, "\n"); /* nothing waits: asked all the same */
	json_object_foreach(json_object_get(doc, "queued"), domain, n)
		if (r == 0 && json_is_integer(n) && json_integer_value(n) >= 0)
			r = buf_printf(&text, "%lld %s\n",
			    (long long)json_integer_value(n), domain);
	if (r == 0)
		r = buf_put(&text, "", 1);
	if (r < 0)
		(void)api_bad(
		    w, "queued holds numbers by domain, at most 61440 bytes");
	else
		ask(w, CONFIG_CHANGES, 0, "", "", (const char *)buf_data(&text),
		    "");
	buf_done(&text);
	json_decref(doc);
}

void
config_history(struct work *w)
{
	ask(w, CONFIG_HISTORY, 0, "", "", "", "");
}

/* {"message": TEXT, "who": TEXT, "revision": N}, all may be absent. */
static void
act(struct work *w, enum config_verb verb)
{
	static const char *const known[] = { "message", "who", "revision",
		NULL };
	json_t *doc = api_want_body(w, known), *n;
	const char *message, *who;

	if (doc == NULL)
		return;
	message = text_of(doc, "message", "");
	who = text_of(doc, "who", "-");
	n = json_object_get(doc, "revision");
	if (message == NULL || who == NULL || strlen(who) > 128 ||
	    strlen(message) > 1000 ||
	    (n != NULL &&
		(!json_is_integer(n) || json_integer_value(n) <= 0 ||
		    /* it goes beside the verb, in one number */
		    json_integer_value(n) > INT64_MAX >> 8)))
		(void)api_bad(w,
		    "message and who are texts (at most 1000 and 128 bytes), "
		    "revision a number");
	else
		ask(w, verb, (uint64_t)json_integer_value(n), "", message, "",
		    who);
	json_decref(doc);
}

void
config_commit(struct work *w)
{
	act(w, CONFIG_COMMIT);
}

void
config_discard(struct work *w)
{
	act(w, CONFIG_DISCARD);
}

void
config_rollback(struct work *w)
{
	act(w, CONFIG_ROLLBACK);
}
