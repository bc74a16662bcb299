/*
 * views.c - answers of several processes about one thing, side by side.
 *
 * Called by api.c. hoststatus: queue's part and each worker's. explain: the
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

/* {domain, destinations, workers, errors}; 404 when nobody knows the domain. */
void
host_finish(struct http_req *req, struct ask *ask, const char *domain)
{
	json_t *destinations = json_array(), *workers = json_array();
	json_t *errors = json_array(), *doc, *list;
	struct ask_answer *queue = ask_at(ask, 0);
	size_t i;

	for (i = 0; i < ask_count(ask); i++) {
		struct ask_answer *ans = ask_at(ask, i);

		doc = document(ans);
		if (doc == NULL) {
			if (ans->code != 404)
				(void)json_array_append_new(
				    errors, error_object(ans));
			continue;
		}
		list = json_object_get(doc, "destinations");
		if (ans->role == ROLE_QUEUE)
			(void)json_array_extend(destinations, list);
		else if (json_array_size(list) > 0)
			(void)json_array_append_new(workers,
			    json_pack("{s:i, s:O}", "instance",
				(int)ans->instance, "destinations", list));
		json_decref(doc);
	}
	if (queue->code != 0 && json_array_size(workers) == 0) {
		if (queue->code == 404)
			http_error(req, 404, "queue", queue->text);
		else
			refuse(req, queue);
		json_decref(destinations);
		json_decref(workers);
		json_decref(errors);
		return;
	}
	doc = json_pack("{s:s, s:o, s:o, s:o}", "domain", domain,
	    "destinations", destinations, "workers", workers, "errors", errors);
	reply_json(req, doc);
	json_decref(doc);
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
