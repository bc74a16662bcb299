/*
 * operate.c - resources for operators that concern more than one recipient, or
 * the text of a message. As api.c: check, ask the owner, pass its answer on.
 */
#include "admin/api.h"

#include <string.h>

static void
ask_owner(struct work *w, enum role role, const struct adm_call *call)
{
	if (!api_want_ask(w))
		return;
	/* walks over the whole queue take their time */
	if (ask_one(w->ask, role, 0, call, ASK_EXPLAIN_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, api_pass);
}

void
operate_oldest(struct work *w)
{
	const struct adm_call call = { .op = ADM_OLDMESSAGE,
		.args = { "", "", "", "" } };

	ask_owner(w, ROLE_QUEUE, &call);
}

void
operate_body(struct work *w)
{
	const char *offset = http_arg(w->req, "offset");
	struct adm_call call = { .op = ADM_BODY,
		.args = { offset != NULL ? offset : "0", "", "", "" } };
	uint64_t n;

	if (!api_parse_u64(w->param, UINT64_MAX, &call.num) || call.num == 0)
		(void)api_bad(w, "a MID is a number in decimal");
	else if (!api_parse_u64(call.args[0], INT64_MAX, &n))
		(void)api_bad(w, "offset is a number of bytes");
	else
		ask_owner(w, ROLE_QUEUE, &call);
}

/* One of host, from and all, and its value; borrows from doc and w. */
static bool
want_selector(struct work *w, json_t *doc, struct adm_call *call)
{
	static const char *const words[] = { "host", "from", "all" };
	const json_t *value = NULL, *v;
	const char *text = "";
	size_t i, n = 0;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		v = json_object_get(doc, words[i]);
		if (v == NULL)
			continue;
		n++;
		value = v;
		call->args[0] = words[i];
	}
	if (n == 1 && strcmp(call->args[0], "all") == 0 && json_is_true(value))
		return true;
	if (n == 1 && strcmp(call->args[0], "all") != 0)
		text = json_string_value(value);
	if (n != 1 || text == NULL || *text == '\0')
		return api_bad(w,
		    "one of {\"host\": DOMAIN}, {\"from\": ADDRESS} and "
		    "{\"all\": true}");
	if (*call->args[0] == 'h') {
		if (addr_domain_normalise(text, strlen(text), w->domain) < 0)
			return api_bad(w, "this is no domain name");
		call->args[1] = w->domain;
	} else {
		call->args[1] = strcmp(text, "<>") == 0 ? "" : text;
	}
	return api_fits(w, call->args[1]);
}

/* {selector, "dry_run": true}. */
static void
end_recipients(struct work *w, uint64_t how)
{
	static const char *const known[] = { "host", "from", "all", "dry_run",
		NULL };
	struct adm_call call = {
		.op = ADM_ENDRECIPIENTS, .num = how, .args = { "", "", "", "" }
	};
	json_t *doc = api_want_body(w, known), *dry;
	bool ok = true;

	if (doc == NULL)
		return;
	dry = json_object_get(doc, "dry_run");
	if (dry != NULL && !json_is_boolean(dry))
		ok = api_bad(w, "dry_run is true or false");
	if (json_is_true(dry))
		call.num |= ADM_END_DRY_RUN;
	if (ok && want_selector(w, doc, &call))
		ask_owner(w, ROLE_QUEUE, &call);
	json_decref(doc);
}

void
operate_delete(struct work *w)
{
	end_recipients(w, 0);
}

void
operate_bounce(struct work *w)
{
	end_recipients(w, ADM_END_BOUNCE);
}

/* {"name": listener} or {"all": true}. */
static void
on_listener(struct work *w, enum adm_op op)
{
	static const char *const known[] = { "name", "all", NULL };
	struct adm_call call = { .op = op, .args = { "", "", "", "" } };
	json_t *doc = api_want_body(w, known), *name, *all;
	const char *text;

	if (doc == NULL)
		return;
	name = json_object_get(doc, "name");
	all = json_object_get(doc, "all");
	text = json_string_value(name);
	if (all == NULL && text != NULL && *text != '\0') {
		call.args[0] = text;
		if (api_fits(w, text))
			ask_owner(w, ROLE_SUPERVISOR, &call);
	} else if (name == NULL && json_is_true(all)) {
		ask_owner(w, ROLE_SUPERVISOR, &call);
	} else {
		(void)api_bad(
		    w, "one of {\"name\": LISTENER} and {\"all\": true}");
	}
	json_decref(doc);
}

void
operate_suspend_listener(struct work *w)
{
	on_listener(w, ADM_SUSPENDLISTENER);
}

void
operate_resume_listener(struct work *w)
{
	on_listener(w, ADM_RESUMELISTENER);
}
