/*
 * views.c - answers of several processes about one thing, side by side.
 *
 * Called by api.c. hoststatus: queue's part, each worker's, and the stored
 * policy. sts check: the steps of policyd and of deliver, dane check those of
 * deliver alone. explain: the
 * worker's verdict, with the state of the destination from queue.
 */
#include "admin/admin.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
reply_json(struct http_req *req, json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(12));
	struct buf out;

	buf_init(&out, HTTP_RESPONSE_MAX);
	if (text == NULL || buf_puts(&out, text) < 0 ||
	    buf_puts(&out, "\n") < 0)
		http_error(req, 500, "admin", "the answer does not fit");
	else
		http_reply(req, 200, "application/json", &out);
	buf_done(&out);
	free(text);
}

/* The document of an answer, or NULL when it has none or it is no object. */
static json_t *
document(struct ask_answer *ans)
{
	json_t *doc;

	if (ans->code != 0)
		return NULL;
	doc = json_loadb((const char *)buf_data(&ans->doc), buf_len(&ans->doc),
	    JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(doc)) {
		json_decref(doc);
		ans->code = 502;
		(void)snprintf(ans->text, sizeof(ans->text),
		    "its answer is no JSON object");
		return NULL;
	}
	return doc;
}

static json_t *
error_object(const struct ask_answer *ans)
{
	char name[64];

	return json_pack("{s:i, s:s, s:s}", "code", (int)ans->code, "process",
	    process_name(ans->role, ans->instance, name, sizeof(name)), "text",
	    ans->text);
}

static void
refuse(struct http_req *req, const struct ask_answer *ans)
{
	char name[64];

	http_error(req, ans->code,
	    process_name(ans->role, ans->instance, name, sizeof(name)),
	    ans->text);
}

/* What one owner adds to the document of a host. */
static void
add_host_part(struct ask_answer *ans, json_t *host)
{
	json_t *doc = document(ans), *list;

	if (doc == NULL) {
		if (ans->code != 404)
			(void)json_array_append_new(
			    json_object_get(host, "errors"), error_object(ans));
		return;
	}
	list = json_object_get(doc, "destinations");
	if (ans->role == ROLE_QUEUE)
		(void)json_array_extend(
		    json_object_get(host, "destinations"), list);
	else if (ans->role == ROLE_POLICYD)
		(void)json_object_set(host, "policy", doc);
	else if (json_array_size(list) > 0)
		(void)json_array_append_new(json_object_get(host, "workers"),
		    json_pack("{s:i, s:O}", "instance", (int)ans->instance,
			"destinations", list));
	json_decref(doc);
}

/* {domain, destinations, workers, policy, errors}; 404 when nobody knows the
 * domain. */
void
host_finish(struct http_req *req, struct ask *ask, const char *domain)
{
	json_t *host = json_pack("{s:s, s:[], s:[], s:n, s:[]}", "domain",
	    domain, "destinations", "workers", "policy", "errors");
	struct ask_answer *queue = ask_at(ask, 0);
	size_t i;

	for (i = 0; i < ask_count(ask); i++)
		add_host_part(ask_at(ask, i), host);
	if (queue->code == 0 ||
	    json_array_size(json_object_get(host, "workers")) > 0 ||
	    (queue->code == 404 &&
		json_is_object(json_object_get(host, "policy"))))
		reply_json(req, host);
	else
		refuse(req, queue);
	json_decref(host);
}

/* The destination of queue's hoststatus that has this gateway, or NULL. */
static json_t *
destination(json_t *host, json_t *gateway)
{
	json_t *list = json_object_get(host, "destinations"), *d;
	size_t i;

	json_array_foreach(list, i, d) {
		json_t *at = json_object_get(d, "gateway");

		if (!json_is_string(gateway) || json_equal(at, gateway))
			return d;
	}
	return NULL;
}

/* state and next_attempt are queue's to say; without it they stay null. */
static void
add_state(json_t *doc, json_t *host)
{
	static const char *const names[] = { "state", "next_attempt" };
	json_t *d = destination(host, json_object_get(doc, "gateway"));
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		json_t *have = json_object_get(doc, names[i]);
		json_t *got = json_object_get(d, names[i]);

		if (have != NULL && !json_is_null(have))
			continue;
		if (got != NULL)
			(void)json_object_set(doc, names[i], got);
		else
			(void)json_object_set_new(doc, names[i], json_null());
	}
}

void
explain_finish(struct http_req *req, struct ask *ask)
{
	struct ask_answer *deliver = ask_at(ask, 0);
	json_t *doc = document(deliver), *host;

	if (doc == NULL) {
		refuse(req, deliver);
		return;
	}
	host = ask_count(ask) > 1 ? document(ask_at(ask, 1)) : NULL;
	add_state(doc, host);
	json_decref(host);
	reply_json(req, doc);
	json_decref(doc);
}

/* ---- sts check ----------------------------------------------------------------- */

/* The worst of the steps: "ok", "warning" or "error". */
static const char *
worst(const json_t *steps)
{
	const char *word, *found = "ok";
	json_t *step;
	size_t i;

	json_array_foreach(steps, i, step) {
		word = json_string_value(json_object_get(step, "result"));
		if (word != NULL && strcmp(word, "error") == 0)
			return "error";
		if (word != NULL && strcmp(word, "warning") == 0)
			found = "warning";
	}
	return found;
}

/* policyd looked for a policy, deliver at what holds and at the hosts. */
void
check_finish(struct http_req *req, struct ask *ask, const char *domain)
{
	static const char *const taken[] = { "txt", "fetch", "stored", "sts" };
	json_t *doc =
	    json_pack("{s:s, s:n, s:[]}", "domain", domain, "result", "steps");
	json_t *steps = json_object_get(doc, "steps"), *part, *value;
	size_t i, k;

	for (i = 0; i < ask_count(ask); i++) {
		part = document(ask_at(ask, i));
		if (part == NULL) {
			refuse(req, ask_at(ask, i));
			json_decref(doc);
			return;
		}
		for (k = 0; k < sizeof(taken) / sizeof(taken[0]); k++) {
			value = json_object_get(part, taken[k]);
			if (value != NULL)
				(void)json_object_set(doc, taken[k], value);
		}
		(void)json_array_extend(steps, json_object_get(part, "steps"));
		json_decref(part);
	}
	(void)json_object_set_new(doc, "result", json_string(worst(steps)));
	reply_json(req, doc);
	json_decref(doc);
}
