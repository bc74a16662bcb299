/*
 * act.c - commands that change something. Each is one request to the node, which
 * asks the owner; what it changed is printed.
 */
#include "ctl/ctl.h"
#include "ctl/show.h"

#include <stdlib.h>
#include <string.h>

/* Print "N recipients deferred" and the like, when the node counted. */
static int
act(struct ctl *ctl, const char *method, const char *path, json_t *body,
    const char *what)
{
	json_t *doc, *changed;
	int code = ctl_ask_show(ctl, method, path, body, &doc);

	if (doc == NULL)
		return code;
	changed = json_object_get(doc, "changed");
	if (json_is_integer(changed)) {
		char *n = show_count(changed);

		(void)fprintf(ctl->out, "%s: %s\n", what, n);
		free(n);
	} else {
		(void)fprintf(ctl->out, "%s\n", what);
	}
	json_decref(doc);
	return CTL_DONE;
}

/* One argument, or the word for everybody. */
static json_t *
hosts_body(const struct args *a)
{
	if (a->n_pos > 0)
		return json_pack("{s:s}", "host", a->pos[0]);
	return json_pack("{s:b}", "all", 1);
}

/* An argument that is no UTF-8 cannot be a name in JSON. */
static bool
body_ok(struct ctl *ctl, const json_t *body)
{
	if (body == NULL)
		(void)fputs(
		    "posternctl: the argument is no UTF-8 text\n", ctl->err);
	return body != NULL;
}

static int
act_on_hosts(
    struct ctl *ctl, const struct args *a, const char *path, const char *what)
{
	json_t *body = hosts_body(a);

	if (!body_ok(ctl, body))
		return CTL_USAGE;
	return act(ctl, "POST", path, body, what);
}

int
cmd_delivernow(struct ctl *ctl, const struct args *a)
{
	if ((a->n_pos > 0) == (args_opt(a, "--all") != NULL)) {
		(void)fputs("posternctl: delivernow: one of HOST and --all\n",
		    ctl->err);
		return CTL_USAGE;
	}
	return act_on_hosts(ctl, a, "/v1/deliver", "due now");
}

int
cmd_suspenddel(struct ctl *ctl, const struct args *a)
{
	return act_on_hosts(ctl, a, "/v1/suspend", "suspended");
}

int
cmd_resumedel(struct ctl *ctl, const struct args *a)
{
	return act_on_hosts(ctl, a, "/v1/resume", "resumed");
}

static int
act_on_listener(
    struct ctl *ctl, const struct args *a, const char *path, const char *what)
{
	json_t *body = a->n_pos > 0 ? json_pack("{s:s}", "name", a->pos[0])
				    : json_pack("{s:b}", "all", 1);

	if (!body_ok(ctl, body))
		return CTL_USAGE;
	return act(ctl, "POST", path, body, what);
}

int
cmd_suspendlistener(struct ctl *ctl, const struct args *a)
{
	return act_on_listener(
	    ctl, a, "/v1/suspendlistener", "listeners suspended");
}

int
cmd_resumelistener(struct ctl *ctl, const struct args *a)
{
	return act_on_listener(
	    ctl, a, "/v1/resumelistener", "listeners resumed");
}

static int
act_on_message(struct ctl *ctl, const struct args *a, const char *method,
    const char *path, const char *what)
{
	const char *mid = a->pos[0];
	char whole[128];

	if (mid[0] == '\0' || strspn(mid, "0123456789") != strlen(mid) ||
	    strlen(mid) > 20) {
		(void)fprintf(
		    ctl->err, "posternctl: MID is a number, not '%s'\n", mid);
		return CTL_USAGE;
	}
	if (strcmp(method, "DELETE") != 0)
		return act(
		    ctl, method, path, json_pack("{s:s}", "mid", mid), what);
	(void)snprintf(whole, sizeof(whole), "%s%s", path, mid);
	return act(ctl, method, whole, NULL, what);
}

int
cmd_removemessage(struct ctl *ctl, const struct args *a)
{
	return act_on_message(
	    ctl, a, "DELETE", "/v1/messages/", "recipients removed");
}

int
cmd_hold(struct ctl *ctl, const struct args *a)
{
	return act_on_message(ctl, a, "POST", "/v1/hold", "recipients held");
}

int
cmd_unhold(struct ctl *ctl, const struct args *a)
{
	return act_on_message(
	    ctl, a, "POST", "/v1/unhold", "recipients due now");
}

/* {"host": D}, {"from": A} or {"all": true}; NULL: not one of them. */
static json_t *
selector_body(const struct args *a)
{
	const char *host = args_opt(a, "--host"), *from = args_opt(a, "--from");

	if ((host != NULL) + (from != NULL) + (args_opt(a, "--all") != NULL) !=
	    1)
		return NULL;
	return host != NULL ? json_pack("{s:s}", "host", host)
	    : from != NULL  ? json_pack("{s:s}", "from", from)
			    : json_pack("{s:b}", "all", 1);
}

static int
end_recipients(struct ctl *ctl, const struct args *a, const char *path,
    const char *done, const char *would)
{
	json_t *body = selector_body(a), *doc;
	char *n, *of, *left;
	bool dry = args_opt(a, "--dry-run") != NULL;
	int code;

	if (body == NULL) {
		(void)fprintf(ctl->err,
		    "posternctl: %s: one of --host D, --from A and --all, in "
		    "UTF-8\n",
		    a->cmd->name);
		return CTL_USAGE;
	}
	if (dry)
		(void)json_object_set_new(body, "dry_run", json_true());
	code = ctl_ask_show(ctl, "POST", path, body, &doc);
	if (doc == NULL)
		return code;
	n = show_count(json_object_get(doc, dry ? "recipients" : "changed"));
	of = show_count(json_object_get(doc, "messages"));
	(void)fprintf(ctl->out, "recipients %s: %s, of %s messages\n",
	    dry ? would : done, n, of);
	if (json_integer_value(json_object_get(doc, "in_flight")) > 0) {
		left = show_count(json_object_get(doc, "in_flight"));
		(void)fprintf(ctl->out,
		    "left alone, since they are being delivered now: %s\n",
		    left);
		free(left);
	}
	free(n);
	free(of);
	json_decref(doc);
	return CTL_DONE;
}

int
cmd_deleterecipients(struct ctl *ctl, const struct args *a)
{
	return end_recipients(
	    ctl, a, "/v1/deleterecipients", "removed", "that would be removed");
}

int
cmd_bouncerecipients(struct ctl *ctl, const struct args *a)
{
	return end_recipients(
	    ctl, a, "/v1/bouncerecipients", "bounced", "that would be bounced");
}

int
cmd_reload(struct ctl *ctl, const struct args *a)
{
	(void)a;
	return act(ctl, "POST", "/v1/reload", json_object(),
	    "the new settings are in force");
}

int
cmd_drain(struct ctl *ctl, const struct args *a)
{
	const char *deadline = args_opt(a, "--deadline");
	json_t *body = json_object();
	unsigned long ms;

	if (deadline != NULL) {
		if (!args_duration_ms(deadline, &ms)) {
			json_decref(body);
			(void)fprintf(ctl->err,
			    "posternctl: --deadline is a time like 30s or 5m, "
			    "not '%s'\n",
			    deadline);
			return CTL_USAGE;
		}
		(void)json_object_set_new(
		    body, "deadline_ms", json_integer((json_int_t)ms));
	}
	return act(ctl, "POST", "/v1/drain", body,
	    "draining: the node stops when it is done");
}

int
cmd_dnsflush(struct ctl *ctl, const struct args *a)
{
	json_t *body = a->n_pos > 0 ? json_pack("{s:s}", "name", a->pos[0])
				    : json_object();

	if (!body_ok(ctl, body))
		return CTL_USAGE;
	return act(ctl, "POST", "/v1/dnsflush", body, "answers forgotten");
}
