/*
 * api.c - every resource of the HTTP interface: one table, small handlers.
 *
 * Called by http.c with whole requests. A handler checks what was given, puts
 * the question to the owner and says who makes the answer. docs/api.md tells
 * the same in prose.
 */
#include "admin/admin.h"
#include "admin/api.h"
#include "lib/base/err.h"
#include "lib/mail/addr.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_DEFAULT = 100, LIST_MAX = 10000 };

struct route {
	const char *method, *path; /* a path may end in a star */
	unsigned kinds;		   /* HTTP_CONTROL | HTTP_WEB */
	void (*handler)(struct work *w);
	const char *args[8]; /* query arguments it knows */
};

/* ---- asking --------------------------------------------------------------------------- */

static void
work_free(void *arg)
{
	struct work *w = arg;

	ask_free(w->ask);
	free(w);
}

static void
on_asked(void *arg, struct ask *ask)
{
	struct work *w = arg;

	(void)ask;
	w->finish(w);
}

bool
api_want_ask(struct work *w)
{
	if (w->ask == NULL)
		w->ask = ask_new(w->admin->owners, on_asked, w);
	if (w->ask == NULL)
		http_error(w->req, 503, "admin", "out of memory");
	return w->ask != NULL;
}

/* The questions are put: finish now, or when the last answer is here. */
void
api_go(struct work *w, void (*finish)(struct work *w))
{
	w->finish = finish;
	if (!ask_wait(w->ask))
		finish(w);
}

/* One owner's document as it is. */
void
api_pass(struct work *w)
{
	struct ask_answer *ans = ask_at(w->ask, 0);
	static const uint16_t known[] = { 400, 403, 404, 409, 500, 502, 503,
		504 };
	char name[64];
	size_t i;

	if (ans->code == 0) {
		/* short of memory: without its last byte, never wrong */
		(void)buf_puts(
		    &ans->doc, buf_len(&ans->doc) == 0 ? "{}\n" : "\n");
		http_reply(w->req, 200, "application/json", &ans->doc);
		return;
	}
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == ans->code)
			break;
	http_error(w->req,
	    i < sizeof(known) / sizeof(known[0]) ? ans->code : 502,
	    process_name(ans->role, ans->instance, name, sizeof(name)),
	    ans->text);
}

static void
ask_owner(struct work *w, enum role role, const struct adm_call *m)
{
	if (!api_want_ask(w))
		return;
	if (ask_one(w->ask, role, 0, m, ASK_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, api_pass);
}

/* ---- what was given ------------------------------------------------------------------ */

bool
api_bad(struct work *w, const char *text)
{
	http_error(w->req, 400, "admin", text);
	return false;
}

bool
api_parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (*text == '\0')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return false;
	*ret = v;
	return *text == '\0' && v <= max;
}

static bool
want_mid(struct work *w, const char *text, uint64_t *ret_mid)
{
	if (!api_parse_u64(text, UINT64_MAX, ret_mid) || *ret_mid == 0)
		return api_bad(w, "a MID is a number in decimal");
	return true;
}

static bool
want_limit(struct work *w, uint64_t *ret_limit)
{
	const char *text = http_arg(w->req, "limit");

	*ret_limit = LIST_DEFAULT;
	if (text == NULL)
		return true;
	if (!api_parse_u64(text, LIST_MAX, ret_limit) || *ret_limit == 0)
		return api_bad(w, "limit is a number from 1 to 10000");
	return true;
}

/* A domain in its one form, in w->domain. */
static bool
want_domain(struct work *w, const char *text)
{
	if (addr_domain_normalise(text, strlen(text), w->domain) < 0)
		return api_bad(w, "this is no domain name");
	return true;
}

bool
api_fits(struct work *w, const char *text)
{
	return strlen(text) <= ADM_ARG_MAX ||
	    api_bad(w, "an argument is over 1024 bytes");
}

/* The body as an object with no fields but these; NULL after the answer. */
json_t *
api_want_body(struct work *w, const char *const *known)
{
	struct buf *b = &w->req->body;
	json_error_t err;
	json_t *doc, *value;
	const char *key;
	char text[256];
	size_t i;

	if (buf_len(b) == 0)
		return json_object();
	doc = json_loadb((const char *)buf_data(b), buf_len(b),
	    JSON_REJECT_DUPLICATES, &err);
	if (!json_is_object(doc)) {
		(void)snprintf(text, sizeof(text),
		    "the body is no JSON object: line %d column %d: %s",
		    doc == NULL ? err.line : 1, doc == NULL ? err.column : 1,
		    doc == NULL ? err.text : "another kind of value");
		json_decref(doc);
		(void)api_bad(w, text);
		return NULL;
	}
	json_object_foreach(doc, key, value) {
		for (i = 0; known[i] != NULL; i++)
			if (strcmp(known[i], key) == 0)
				break;
		if (known[i] == NULL) {
			(void)snprintf(text, sizeof(text),
			    "unknown field \"%s\" in the body", key);
			json_decref(doc);
			(void)api_bad(w, text);
			return NULL;
		}
	}
	return doc;
}

/* ---- looking ---------------------------------------------------------------------------- */

static void
finish_status(struct work *w)
{
	status_finish(w->admin, w->req, w->ask, w->detail);
}

static void
finish_metrics(struct work *w)
{
	metrics_finish(w->admin, w->req, w->ask);
}

static void
finish_health(struct work *w)
{
	health_finish(w->admin, w->req, w->ask);
}

static bool
ask_everyone(struct work *w, enum adm_op op)
{
	const struct adm_call call = { .op = op, .args = { "", "", "" } };

	if (!api_want_ask(w))
		return false;
	if (ask_all(w->ask, ROLE_COUNT, &call, ASK_TIMEOUT_MS) < 0) {
		http_error(w->req, 503, "admin", "out of memory");
		return false;
	}
	return true;
}

static void
get_status(struct work *w)
{
	const char *detail = http_arg(w->req, "detail");

	w->detail = detail != NULL && strcmp(detail, "0") != 0;
	if (ask_everyone(w, ADM_STATUS) && ask_everyone(w, ADM_METRICS))
		api_go(w, finish_status);
}

static void
get_metrics(struct work *w)
{
	if (!w->admin->metrics) {
		http_error(
		    w->req, 404, "admin", "switched off: [admin] metrics = no");
		return;
	}
	if (ask_everyone(w, ADM_METRICS))
		api_go(w, finish_metrics);
}

static void
get_health(struct work *w)
{
	if (ask_everyone(w, ADM_STATUS))
		api_go(w, finish_health);
}

static void
get_version(struct work *w)
{
	struct buf out;

	buf_init(&out, 1024);
	if (buf_puts(
		&out, "{\"version\":\"" POSTERN_VERSION "\",\"api\":1}\n") < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		http_reply(w->req, 200, "application/json", &out);
	buf_done(&out);
}

static void
get_tophosts(struct work *w)
{
	static const char *const words[] = { "active", "connections",
		"delivered", "soft", "hard" };
	struct adm_call call = { .op = ADM_TOPHOSTS,
		.args = { "active", "", "" } };
	const char *sort = http_arg(w->req, "sort");
	size_t i;

	if (sort != NULL) {
		for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strcmp(words[i], sort) == 0)
				break;
		if (i == sizeof(words) / sizeof(words[0])) {
			(void)api_bad(w,
			    "sort is active, connections, delivered, "
			    "soft or hard");
			return;
		}
		call.args[0] = sort;
	}
	if (want_limit(w, &call.num))
		ask_owner(w, ROLE_QUEUE, &call);
}

static void
finish_host(struct work *w)
{
	host_finish(w->req, w->ask, w->domain);
}

static void
get_host(struct work *w)
{
	const struct adm_call call = { .op = ADM_HOSTSTATUS,
		.args = { w->domain, "", "" } };
	const struct adm_call policy = { .op = ADM_STS_SHOW,
		.args = { w->domain, "", "" } };

	if (!want_domain(w, w->param) || !api_want_ask(w))
		return;
	if (ask_one(w->ask, ROLE_QUEUE, 0, &call, ASK_TIMEOUT_MS) < 0 ||
	    ask_all(w->ask, ROLE_DELIVER, &call, ASK_TIMEOUT_MS) < 0 ||
	    ask_all(w->ask, ROLE_POLICYD, &policy, ASK_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, finish_host);
}

static void
get_recipients(struct work *w)
{
	struct adm_call call = { .op = ADM_SHOWRECIPIENTS,
		.args = { "", "", "" } };
	const char *host = http_arg(w->req, "host");
	const char *from = http_arg(w->req, "from");
	const char *all = http_arg(w->req, "all");

	if ((host != NULL) + (from != NULL) + (all != NULL) != 1) {
		(void)api_bad(w, "one of host=DOMAIN, from=ADDRESS and all=1");
		return;
	}
	if (!want_limit(w, &call.num))
		return;
	if (host != NULL) {
		if (!want_domain(w, host))
			return;
		call.args[0] = "host";
		call.args[1] = w->domain;
	} else if (from != NULL) {
		if (!api_fits(w, from))
			return;
		call.args[0] = "from";
		call.args[1] = strcmp(from, "<>") == 0 ? "" : from;
	} else {
		call.args[0] = "all";
	}
	ask_owner(w, ROLE_QUEUE, &call);
}

static void
about_message(struct work *w, enum adm_op op)
{
	struct adm_call call = { .op = op, .args = { "", "", "" } };

	if (want_mid(w, w->param, &call.num))
		ask_owner(w, ROLE_QUEUE, &call);
}

static void
get_message(struct work *w)
{
	about_message(w, ADM_SHOWMESSAGE);
}

static void
delete_message(struct work *w)
{
	about_message(w, ADM_REMOVEMESSAGE);
}

static void
get_why(struct work *w)
{
	about_message(w, ADM_WHY);
}

static void
finish_explain(struct work *w)
{
	explain_finish(w->req, w->ask);
}

/* The first worker that runs; they all know the same. */
static uint32_t
any_deliver(const struct owners *o)
{
	enum role role;
	uint32_t instance;
	bool running;
	size_t i;

	for (i = 0; i < owners_count(o); i++) {
		owners_at(o, i, &role, &instance, &running);
		if (role == ROLE_DELIVER && running)
			return instance;
	}
	return 0;
}

static void
get_explain(struct work *w)
{
	const char *target = http_arg(w->req, "target");
	const char *from = http_arg(w->req, "from");
	const char *client = http_arg(w->req, "client");
	const char *live = http_arg(w->req, "live");
	const char *with = http_arg(w->req, "with");
	struct adm_call host = { .op = ADM_HOSTSTATUS,
		.args = { w->domain, "", "" } };
	struct adm_call call = { .op = ADM_EXPLAIN };
	const char *at;

	if (target == NULL || *target == '\0') {
		(void)api_bad(w, "target is missing: an address or a domain");
		return;
	}
	at = strrchr(target, '@');
	if (!want_domain(w, at != NULL ? at + 1 : target))
		return;
	call.args[0] = target;
	call.args[1] = from != NULL ? from : "";
	call.args[2] = client != NULL ? client : "";
	call.args[3] = with != NULL ? with : "";
	call.num = live != NULL && strcmp(live, "0") != 0;
	if (!api_fits(w, target) || !api_fits(w, call.args[1]) ||
	    !api_fits(w, call.args[2]) || !api_fits(w, call.args[3]) ||
	    !api_want_ask(w))
		return;
	if (ask_one(w->ask, ROLE_DELIVER, any_deliver(w->admin->owners), &call,
		ASK_EXPLAIN_TIMEOUT_MS) < 0 ||
	    ask_one(w->ask, ROLE_QUEUE, 0, &host, ASK_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, finish_explain);
}

/* ---- acting ---------------------------------------------------------------------------- */

/* {"host": D} or {"all": true}, nothing else. */
static void
act_on_hosts(struct work *w, enum adm_op op)
{
	static const char *const known[] = { "host", "all", NULL };
	struct adm_call call = { .op = op, .args = { "", "", "" } };
	json_t *doc = api_want_body(w, known), *host, *all;
	bool ok;

	if (doc == NULL)
		return;
	host = json_object_get(doc, "host");
	all = json_object_get(doc, "all");
	if (host != NULL && all == NULL && json_is_string(host)) {
		ok = want_domain(w, json_string_value(host));
		call.args[0] = w->domain;
	} else if (host == NULL && json_is_true(all)) {
		ok = true;
	} else {
		ok =
		    api_bad(w, "one of {\"host\": DOMAIN} and {\"all\": true}");
	}
	json_decref(doc);
	if (ok)
		ask_owner(w, ROLE_QUEUE, &call);
}

static void
post_deliver(struct work *w)
{
	act_on_hosts(w, ADM_DELIVERNOW);
}

static void
post_suspend(struct work *w)
{
	act_on_hosts(w, ADM_SUSPENDDEL);
}

static void
post_resume(struct work *w)
{
	act_on_hosts(w, ADM_RESUMEDEL);
}

/* {"mid": number or its text}. */
static void
act_on_message(struct work *w, enum adm_op op)
{
	static const char *const known[] = { "mid", NULL };
	struct adm_call call = { .op = op, .args = { "", "", "" } };
	json_t *doc = api_want_body(w, known), *mid;
	bool ok = false;

	if (doc == NULL)
		return;
	mid = json_object_get(doc, "mid");
	if (json_is_integer(mid) && json_integer_value(mid) > 0) {
		call.num = (uint64_t)json_integer_value(mid);
		ok = true;
	} else if (json_is_string(mid)) {
		ok = want_mid(w, json_string_value(mid), &call.num);
	} else {
		(void)api_bad(w, "wanted {\"mid\": MID}");
	}
	json_decref(doc);
	if (ok)
		ask_owner(w, ROLE_QUEUE, &call);
}

static void
post_hold(struct work *w)
{
	act_on_message(w, ADM_HOLD);
}

static void
post_unhold(struct work *w)
{
	act_on_message(w, ADM_UNHOLD);
}

static void
post_reload(struct work *w)
{
	static const char *const known[] = { NULL };
	const struct adm_call call = { .op = ADM_RELOAD,
		.args = { "", "", "" } };
	json_t *doc = api_want_body(w, known);

	if (doc == NULL)
		return;
	json_decref(doc);
	if (!api_want_ask(w))
		return;
	/* every child reads the new set before this is answered */
	if (ask_one(w->ask, ROLE_SUPERVISOR, 0, &call, ASK_EXPLAIN_TIMEOUT_MS) <
	    0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, api_pass);
}

static void
post_drain(struct work *w)
{
	static const char *const known[] = { "deadline_ms", NULL };
	struct adm_call call = { .op = ADM_DRAIN, .args = { "", "", "" } };
	json_t *doc = api_want_body(w, known), *ms;
	bool ok = true;

	if (doc == NULL)
		return;
	ms = json_object_get(doc, "deadline_ms");
	if (ms != NULL) {
		ok = json_is_integer(ms) && json_integer_value(ms) >= 0 &&
		    json_integer_value(ms) <= UINT32_MAX;
		call.num = ok ? (uint64_t)json_integer_value(ms) : 0;
	}
	json_decref(doc);
	if (!ok)
		(void)api_bad(w, "deadline_ms is a number of milliseconds");
	else
		ask_owner(w, ROLE_SUPERVISOR, &call);
}

static void
post_dnsflush(struct work *w)
{
	static const char *const known[] = { "name", NULL };
	struct adm_call call = { .op = ADM_DNSFLUSH, .args = { "", "", "" } };
	json_t *doc = api_want_body(w, known), *name;
	bool ok = true;

	if (doc == NULL)
		return;
	name = json_object_get(doc, "name");
	if (name != NULL && !json_is_string(name))
		ok = api_bad(w, "name is the name to forget");
	else if (name != NULL)
		ok = api_fits(w, json_string_value(name));
	if (ok) {
		call.args[0] = name != NULL ? json_string_value(name) : "";
		ask_owner(w, ROLE_RESOLVER, &call);
	}
	json_decref(doc);
}

/* ---- MTA-STS ------------------------------------------------------------------------------ */

static void
get_policies(struct work *w)
{
	const char *after = http_arg(w->req, "after");
	struct adm_call call = { .op = ADM_STS_LIST, .args = { "", "", "" } };

	if (!want_limit(w, &call.num))
		return;
	if (after != NULL) {
		if (!want_domain(w, after))
			return;
		call.args[0] = w->domain;
	}
	ask_owner(w, ROLE_POLICYD, &call);
}

static void
get_policy(struct work *w)
{
	struct adm_call call = { .op = ADM_STS_SHOW, .args = { "", "", "" } };

	if (!want_domain(w, w->param))
		return;
	call.args[0] = w->domain;
	ask_owner(w, ROLE_POLICYD, &call);
}

/* {"domain": D}; answered when the fetch has ended. */
static void
post_policy_refresh(struct work *w)
{
	static const char *const known[] = { "domain", NULL };
	struct adm_call call = { .op = ADM_STS_REFRESH,
		.args = { "", "", "" } };
	json_t *doc = api_want_body(w, known), *domain;
	bool ok;

	if (doc == NULL)
		return;
	domain = json_object_get(doc, "domain");
	if (json_is_string(domain))
		ok = want_domain(w, json_string_value(domain));
	else
		ok = api_bad(w, "wanted {\"domain\": DOMAIN}");
	json_decref(doc);
	call.args[0] = w->domain;
	if (!ok || !api_want_ask(w))
		return;
	if (ask_one(w->ask, ROLE_POLICYD, 0, &call, ASK_EXPLAIN_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, api_pass);
}

static void
finish_check(struct work *w)
{
	check_finish(w->req, w->ask, w->domain);
}

static bool
ask_deliver(struct work *w, const struct adm_call *call)
{
	if (ask_one(w->ask, ROLE_DELIVER, any_deliver(w->admin->owners), call,
		ASK_EXPLAIN_TIMEOUT_MS) == 0)
		return true;
	http_error(w->req, 503, "admin", "out of memory");
	return false;
}

/* policyd has looked past the DNS cache: what deliver finds comes after it. */
static void
check_hosts(struct work *w)
{
	const struct adm_call call = { .op = ADM_STS_CHECK,
		.args = { w->domain } };

	if (ask_at(w->ask, 0)->code != 0)
		finish_check(w);
	else if (ask_deliver(w, &call))
		api_go(w, finish_check);
}

static void
get_check(struct work *w)
{
	const struct adm_call call = { .op = ADM_STS_CHECK,
		.args = { w->domain } };

	if (!want_domain(w, w->param) || !api_want_ask(w))
		return;
	if (ask_one(w->ask, ROLE_POLICYD, 0, &call, ASK_CHECK_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, check_hosts);
}

static void
get_dane_check(struct work *w)
{
	const struct adm_call call = { .op = ADM_DANE_CHECK,
		.args = { w->domain } };

	if (want_domain(w, w->param) && api_want_ask(w) &&
	    ask_deliver(w, &call))
		api_go(w, finish_check);
}

static void
get_tlsverify(struct work *w)
{
	const char *host = http_arg(w->req, "host");
	const struct adm_call call = { .op = ADM_TLSVERIFY,
		.args = { w->domain, host != NULL ? host : "" } };

	if (want_domain(w, w->param) && api_fits(w, call.args[1]) &&
	    api_want_ask(w) && ask_deliver(w, &call))
		api_go(w, api_pass);
}

/* ---- the table ---------------------------------------------------------------------------- */

#define LOOK HTTP_CONTROL
#define OPEN (HTTP_CONTROL | HTTP_WEB)

/* clang-format off */
static const struct route routes[] = {
	{ "GET",    "/healthz",       OPEN, get_health,     { NULL } },
	{ "GET",    "/metrics",       OPEN, get_metrics,    { NULL } },
	{ "GET",    "/v1/version",    LOOK, get_version,    { NULL } },
	{ "GET",    "/v1/status",     LOOK, get_status,     { "detail", NULL } },
	{ "GET",    "/v1/tophosts",   LOOK, get_tophosts,   { "sort", "limit", NULL } },
	{ "GET",    "/v1/hosts/*",    LOOK, get_host,       { NULL } },
	{ "GET",    "/v1/recipients", LOOK, get_recipients, { "host", "from", "all", "limit", NULL } },
	{ "GET",    "/v1/messages/*", LOOK, get_message,    { NULL } },
	{ "DELETE", "/v1/messages/*", LOOK, delete_message, { NULL } },
	{ "GET",    "/v1/oldmessage", LOOK, operate_oldest, { NULL } },
	{ "GET",    "/v1/body/*",     LOOK, operate_body,   { "offset", NULL } },
	{ "GET",    "/v1/why/*",      LOOK, get_why,        { NULL } },
	{ "GET",    "/v1/explain",    LOOK, get_explain,    { "target", "from", "client", "live", "with", NULL } },
	{ "POST",   "/v1/deliver",    LOOK, post_deliver,   { NULL } },
	{ "POST",   "/v1/suspend",    LOOK, post_suspend,   { NULL } },
	{ "POST",   "/v1/resume",     LOOK, post_resume,    { NULL } },
	{ "POST",   "/v1/hold",       LOOK, post_hold,      { NULL } },
	{ "POST",   "/v1/unhold",     LOOK, post_unhold,    { NULL } },
	{ "POST",   "/v1/deleterecipients", LOOK, operate_delete, { NULL } },
	{ "POST",   "/v1/bouncerecipients", LOOK, operate_bounce, { NULL } },
	{ "POST",   "/v1/suspendlistener", LOOK, operate_suspend_listener, { NULL } },
	{ "POST",   "/v1/resumelistener", LOOK, operate_resume_listener, { NULL } },
	{ "POST",   "/v1/reload",     LOOK, post_reload,    { NULL } },
	{ "POST",   "/v1/drain",      LOOK, post_drain,     { NULL } },
	{ "POST",   "/v1/dnsflush",   LOOK, post_dnsflush,  { NULL } },
	{ "GET",    "/v1/sts",        LOOK, get_policies,   { "after", "limit", NULL } },
	{ "GET",    "/v1/sts/*",      LOOK, get_policy,     { NULL } },
	{ "GET",    "/v1/danecheck/*", LOOK, get_dane_check, { NULL } },
	{ "GET",    "/v1/stscheck/*", LOOK, get_check,      { NULL } },
	{ "GET",    "/v1/tlsverify/*", LOOK, get_tlsverify, { "host", NULL } },
	{ "POST",   "/v1/stsrefresh", LOOK, post_policy_refresh, { NULL } },
	{ "GET",    "/v1/config/*",   LOOK, config_get,     { "name", "after", "limit", NULL } },
	{ "POST",   "/v1/config/*",   LOOK, config_post,    { NULL } },
	{ "GET",    "/v1/changes",    LOOK, config_changes, { NULL } },
	{ "POST",   "/v1/changes",    LOOK, config_impact,  { NULL } },
	{ "POST",   "/v1/commit",     LOOK, config_commit,  { NULL } },
	{ "POST",   "/v1/clearchanges", LOOK, config_discard, { NULL } },
	{ "POST",   "/v1/rollback",   LOOK, config_rollback, { NULL } },
	{ "GET",    "/v1/history",    LOOK, config_history, { NULL } },
};
/* clang-format on */

/* Does the path fit? *ret_param is what stands for the star. */
static bool
fits_path(const char *pattern, const char *path, const char **ret_param)
{
	size_t n = strlen(pattern);

	*ret_param = "";
	if (n == 0 || pattern[n - 1] != '*')
		return strcmp(pattern, path) == 0;
	n--;
	if (strncmp(pattern, path, n) != 0 || path[n] == '\0' ||
	    strchr(path + n, '/') != NULL)
		return false;
	*ret_param = path + n;
	return true;
}

static void
call_route(struct admin *a, struct http_req *req, const struct route *rt,
    const char *param)
{
	const char *other = http_arg_unknown(req, rt->args);
	struct work *w;
	char text[128];

	if (other != NULL) {
		(void)snprintf(text, sizeof(text),
		    "unknown argument \"%.64s\" in the query", other);
		http_error(req, 400, "admin", text);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		http_error(req, 503, "admin", "out of memory");
		return;
	}
	w->admin = a;
	w->req = req;
	w->param = param;
	req->work = w;
	req->abandon = work_free;
	rt->handler(w);
}

void
api_handle(void *arg, struct http_req *req)
{
	const struct route *found = NULL, *other = NULL;
	const char *param, *found_param = "";
	size_t i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!fits_path(routes[i].path, req->path, &param))
			continue;
		if (strcmp(routes[i].method, req->method) == 0) {
			found = &routes[i];
			found_param = param;
		} else {
			other = &routes[i];
		}
	}
	if (found == NULL && other == NULL)
		http_error(req, 404, "admin", "there is no such resource");
	else if (((found != NULL ? found : other)->kinds &
		     (unsigned)req->kind) == 0)
		http_error(req, 403, "admin",
		    "only over the control socket of the node");
	else if (found == NULL)
		http_not_allowed(req,
		    strcmp(other->method, "DELETE") == 0 ? "GET, DELETE"
							 : other->method);
	else
		call_route(arg, req, found, found_param);
}
